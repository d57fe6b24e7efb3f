//! Compositions: the model of one paradigm describes rows by latents, and a model of any paradigm describes the
//! latents.
//!
//! A [`Codec`] says which latent z a row has and which row a latent: a [`Vae`](crate::Vae), the linear [`Pca`], a
//! [`Flow`](crate::Flow), or the [`Columns`] of a table in units of their own. Each comes with N(0, I) as the density of z, and leaves the latents of its rows unlike
//! that. [`Latent`] puts another model in its place. Latent diffusion (Rombach et al. 2022) is a VAE with a diffusion.
//!
//! # Formula
//!
//! ```text
//! model        p(x) = ∫ p(x|z) p(z) dz,   p(x|z) of the codec, p(z) of any model: the prior
//! training     first the codec on rows x, then the prior on z ~ q(z|x)
//! sampling     z from the prior, then x ~ p(x|z)
//! likelihood   ln (1/K) Σₖ p(x|zₖ) p(zₖ) / q(zₖ|x),   zₖ ~ q(z|x),   a bound; its mean with K = 1 is
//!              E_q[ln p(x|z) − ln q(z|x) + ln p(z)]
//! flow, PCA    z = f(x) follows from x:   ln p(x) = ln p(f(x)) + ln |det ∂f/∂x|,   as exact as the prior's
//! gain         E_q[ln p(z) − ln N(z; 0, I)],   by which the prior raises the bound
//! ```
//!
//! q(z|x) is the encoder of a VAE. PCA with fewer directions than columns adds ln N of what the directions do not say.
//! [`Columns`] bring each column near to N(0, 1) by a map of its own, with the column's ends, steps and repeated values, so
//! that a model of any paradigm learns incomes, counts and labels, and draws what the columns can hold.
//! A model in the base space of a flow is a [`Warp`], and one composition may be the prior of another: a VAE, a flow of
//! its latents, and a diffusion in the flow's base space are `Latent<Vae, Warp<Diffusion>>`.
//!
//! What a composition's [`Card`](crate::Card) predicts is composed, too ([`Card::composed`](crate::Card::composed)):
//! evaluations and latency laws add up, the likelihood is the weakest kind of its parts, failures unite. Fifty guided
//! steps of a diffusion are a hundred evaluations, and one more of the decoder is not felt. The encoder is not needed
//! for sampling: the noise that a latent diffusion begins with is drawn, not encoded.
//!
//! **Conditions** go to the prior, and the codec describes all rows: as in latent diffusion, one codec serves every
//! condition. A codec with a condition is refused.
//!
//! # Example
//!
//! What a VAE leaves to a prior, in nats, with an interval.
//!
//! ```
//! use quadrivium::hybrid::{Latent, LatentConfig};
//! use quadrivium::{worlds::Toy, prelude::*, seeded};
//!
//! let (mut rng, moons) = (seeded(0), Toy::moons(0.1)?);
//! let data = Dataset::new(moons.sample(2_000, &mut rng))?;
//! // With a small weight of its KL a VAE tells more about a row, and leaves the density of that to be learned.
//! let vae = Vae::new(VaeConfig { beta: 0.1, ..Default::default() }, &mut rng)?;
//! let flow = Flow::new(FlowConfig::default(), &mut rng)?;
//! let mut model = Latent::new(vae, flow, LatentConfig::default())?;
//! model.train(&data, &TrainOptions { steps: 300, ..Default::default() }, &mut rng, &mut NoObserver)?;
//!
//! let test = moons.sample(500, &mut rng);
//! let gain = model.prior_gain(test.view(), &LikelihoodOptions::default())?.expect("a flow has a density");
//! let (mean, error) = (gain.mean().unwrap(), gain.std(1.0) / 500f64.sqrt());
//! assert!(mean > 3.0 * error, "{mean} ± {error} nats");
//! // The bound stays one.
//! let bound = model.log_likelihood(test.view(), &LikelihoodOptions::default())?;
//! assert!(bound.nats().unwrap().mean().unwrap() < -moons.entropy().unwrap());
//! # Ok::<(), quadrivium::Error>(())
//! ```
//!
//! # Fine-tuning
//!
//! [`fine_tune`] is another kind of composition: one network, and two paradigms one after the other. A trained diffusion
//! goes on with a critic that sees what its sampler draws, so that errors of few steps are mended, which no noise MSE
//! sees.
//!
//! ```text
//! implicit   r(x) = −(Λ/2) E_{λ, ε} [‖ε̂(x_λ) − ε‖² − ‖ε̂_ref(x_λ) − ε‖²]   ≈ ln p(x) − ln p_ref(x)
//!            −E ln σ(β r(x)) − α E ln(1 − σ(β r(x̃))),   x̃ drawn by ref: the model before the tuning
//! explicit   x̂₀ = (x_k − σ ε̂(x_k))/α,   x_k: noise that the sampler has taken to its step k
//!            critic     −E ln σ(D(x, k) − D(x̂₀, k)) + (γ/2) (E‖∇D(x, k)‖² + E‖∇D(x̂₀, k)‖²)
//!            diffusion  −E ln σ(D(x̂₀, k) − D(x, k)) + λ_hold · E‖ε − ε̂‖²/d,   ∂/∂ε̂ = −(σ/α) ∂/∂x̂₀
//! ```
//!
//! In the implicit game ([`ImplicitGame`], direct discriminative optimization) r is the logit of a critic that consists
//! of the model and of what it was: λ is uniform over a span of the length Λ, which makes r a difference of two bounds
//! on the log-likelihood (Kingma et al. 2021). A critic that is right has r(x) = ln p_data(x) − ln p_sampler(x), so the
//! model becomes p_ref · p_data/p_sampler: what the sampler draws too often becomes less likely. Its gradient is that of
//! the noise MSE with a weight for each row, β σ(−β r(x)) of the data and −α β σ(β r(x̃)) of the model's own.
//!
//! In the explicit game ([`ExplicitGame`]) a relativistic critic ([`adversarial`](crate::adversarial)) is told the step k and
//! judges what the network takes for the clean row there; at the last step that is what the sampler draws. x_k comes
//! from the sampler itself and not from noised rows of the data: with few steps the two differ, and what is drawn
//! depends on the former (Yin et al. 2024, section 4.5). No gradient flows from one step to another. The noise MSE
//! holds the density, which the critic does not see.
//!
//! The tuned model stays a [`Diffusion`](crate::Diffusion). Its card says hybrid, and names a diffusion and a critic as
//! its parts.
//!
//! ```
//! use quadrivium::hybrid::{FineTuneConfig, Game, ImplicitGame, fine_tune};
//! use quadrivium::{map::Paradigm, worlds::Toy, prelude::*, *};
//!
//! let (mut rng, moons) = (seeded(0), Toy::moons(0.1)?);
//! let data = Dataset::new(moons.sample(2_000, &mut rng))?;
//! let network = NetworkSpec::mlp([32, 32], Activation::Silu, 3);
//! let sampler = Sampler::Ddim { steps: 5, eta: 0.0 };
//! let mut model = Diffusion::new(DiffusionConfig { network, sampler, ..Default::default() }, &mut rng)?;
//! model.train(&data, &TrainOptions { steps: 200, ..Default::default() }, &mut rng, &mut NoObserver)?;
//!
//! let game = Game::Implicit(ImplicitGame { beta: 0.5, ..Default::default() });
//! let config = FineTuneConfig { game, ..Default::default() };
//! let options = TrainOptions { steps: 20, ..Default::default() };
//! let report = fine_tune(&mut model, &config, &data, &options, &mut rng, &mut NoObserver)?;
//! // Before the first step the model is its own reference: twice ln 2.
//! assert!((report.loss[0] - 2.0 * 2f64.ln()).abs() < 1e-3);
//! assert_eq!((model.card().paradigm, model.card().nfe), (Paradigm::Hybrid, 5));
//! # Ok::<(), quadrivium::Error>(())
//! ```
//!
//! # Picture
//!
//! The digit that was asked for, by models in the pixels and in the latents of a VAE:
//!
#![cfg_attr(doc, doc = include_str!("../../docs/pictures/digits.svg"))]
//!
//! # What can go wrong
//!
//! - **The codec bounds the quality.** No prior makes a row that the decoder cannot draw. *See*: rows that are encoded and
//!   decoded again ([`Vae::reconstruct`](crate::Vae::reconstruct)), and their distance to the data. *Change*: the codec, not
//!   the prior; more latents, a smaller [`beta`](crate::VaeConfig::beta).
//! - **A whitened codec** of many columns. In units without correlations all directions of the rows count the same, and a
//!   few latents describe arbitrary ones. *See*: on handwritten digits, rows that are encoded, decoded and given the decoder's
//!   noise are no longer told apart ([measured](crate::results)). *Change*: [`whiten`](crate::VaeConfig::whiten) off, so
//!   that latents describe the largest directions.
//! - **Guidance that is too strong** leads latents to where no row was, and a decoder makes something of any latent. *See*:
//!   a few rows far away from all others, at scales of 3 and more. *Change*: a smaller scale, or guidance in the middle of
//!   the path alone ([`interval`](crate::diffusion::Guidance::interval)).
//! - **A collapsed codec** has latents that are N(0, I) already: [`prior_gain`](Latent::prior_gain) is 0, and the best
//!   prior changes nothing. *Change*: a smaller `beta`. The bound stays a bound for any.
//! - **A prior that learns latents by heart.** A few hundred rows are a few hundred points in latent space. *See*: a bound
//!   on held-out rows that is far below that of the rows learned from. *Change*:
//!   [`encodings`](LatentConfig::encodings), so that each row is many points.
//! - **A stale prior.** It knows the latents of the codec that it was trained with: after the codec has moved, train the
//!   prior again. [`train`](Latent#method.train) does both.
//! - **A bound of an estimate.** With a diffusion as the prior, ln p(zₖ) comes from its ODE, K times for each row. It is
//!   called a bound because that is the larger gap; the solver's error comes on top.
//! - **Tuned for one sampler.** What is judged is drawn by the sampler that the model has in the tuning; the same model in
//!   more or fewer steps can be worse than before. *See*: draw with each. *Change*: tune a clone for each.
//! - **Tuning may cost likelihood.** The ODE of the likelihood asks the network at all levels, and the critic moves it at
//!   a few. *See*: the log-likelihood of held-out rows before and after. *Change*: a larger [`hold`](ExplicitGame::hold), or fewer steps.
//! - **A prior without a density**, such as a GAN or guidance, draws and has no likelihood.
//!
//! # Papers
//!
//! Rombach et al. 2022, [High-resolution image synthesis with latent diffusion
//! models](https://arxiv.org/abs/2112.10752) · Vahdat et al. 2021, [Score-based generative modeling in latent
//! space](https://arxiv.org/abs/2106.05931) · Chen et al. 2017, [Variational lossy
//! autoencoder](https://arxiv.org/abs/1611.02731) · Dai & Wipf 2019, [Diagnosing and enhancing VAE
//! models](https://arxiv.org/abs/1903.05789) · Tipping & Bishop 1999, [Probabilistic principal component
//! analysis](https://doi.org/10.1111/1467-9868.00196) · Tomczak & Welling 2018, [VAE with a
//! VampPrior](https://arxiv.org/abs/1705.07120) · Zheng et al. 2025, [Direct discriminative optimization: your
//! likelihood-based visual generative model is secretly a GAN discriminator](https://arxiv.org/abs/2503.01103) · Huang et
//! al. 2024, [The GAN is dead; long live the GAN!](https://arxiv.org/abs/2501.05441) · Sauer et al. 2023, [Adversarial
//! diffusion distillation](https://arxiv.org/abs/2311.17042) · Yin et al. 2024, [Improved distribution matching
//! distillation](https://arxiv.org/abs/2405.14867) · Kingma et al. 2021, [Variational diffusion
//! models](https://arxiv.org/abs/2107.00630)

mod codec;
mod columns;
mod fine_tune;
mod latent;
mod pca;
#[cfg(feature = "safetensors")]
mod persist;
mod stages;
#[cfg(test)]
mod tests;

pub use self::codec::{Codec, Explanation};
pub use self::columns::{Atoms, Column, ColumnScale, Columns, ColumnsConfig};
pub use self::fine_tune::{ExplicitGame, FineTuneConfig, Game, ImplicitGame, fine_tune};
pub use self::latent::{Latent, LatentConfig, Warp};
pub use self::pca::{Pca, PcaConfig};

//! Compositions: the model of one paradigm describes rows by latents, and a model of any paradigm describes the
//! latents.
//!
//! A [`Codec`] says which latent z a row has and which row a latent: a [`Vae`](crate::Vae), the linear [`Pca`], or a
//! [`Flow`](crate::Flow). Each comes with N(0, I) as the density of z, and leaves the latents of its rows unlike
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
//! VampPrior](https://arxiv.org/abs/1705.07120)

mod codec;
mod latent;
mod pca;
#[cfg(feature = "safetensors")]
mod persist;
mod stages;
#[cfg(test)]
mod tests;

pub use self::codec::{Codec, Explanation};
pub use self::latent::{Latent, LatentConfig, Warp};
pub use self::pca::{Pca, PcaConfig};

//! The adversarial paradigm: a generator that never sees the data learns from a critic that sees them.
//!
//! The generator maps noise to rows. The critic gives each row a number that separates real from generated rows.
//! The two are trained against each other. Drawing a row takes one pass; there is no likelihood.
//!
//! # Formula
//!
//! x̃ = G(z), z ~ N(0, I), is a generated row, x a real one, D the critic, σ the logistic function. They
//! play one of four games ([`AdversarialLoss`]):
//!
//! | game | the critic minimizes | the generator minimizes | which at the optimal critic is |
//! | --- | --- | --- | --- |
//! | minimax (Goodfellow et al. 2014, eq. 1) | −E log σ(D(x)) − E log(1 − σ(D(x̃))) | E log(1 − σ(D(x̃))) | Jensen–Shannon |
//! | non-saturating + R1 (ibid. §3; Mescheder et al. 2018, eq. 9) | the same + (γ/2) E‖∇D(x)‖² | −E log σ(D(x̃)) | a value with the gradient of KL(model‖data) − 2·JS (Arjovsky & Bottou 2017, theorem 2.5), without the penalty |
//! | relativistic + R1 + R2 (Jolicoeur-Martineau 2019; Huang et al. 2024, eq. 2) | −E log σ(D(x) − D(x̃)) + (γ/2) (E‖∇D(x)‖² + E‖∇D(x̃)‖²) | −E log σ(D(x̃) − D(x)) | another divergence, which is 0 only if model and data agree (Jolicoeur-Martineau 2020) |
//! | Wasserstein + gradient penalty (Gulrajani et al. 2017, eq. 3) | E D(x̃) − E D(x) + λ E(‖∇D(x̂)‖ − 1)² | −E D(x̃) | Wasserstein-1, for large λ |
//!
//! where x̂ = εx + (1−ε)x̃, ε uniform on [0, 1]; γ and λ are the weights of the penalties. The gradient in the
//! second row is the generator's with the critic held fixed; the value itself is KL(model‖data) − KL(model‖m) +
//! ln 2, where m is the even mixture of model and data. In each training step the critic takes
//! [`critic_steps`](GanConfig::critic_steps) steps and the generator one. All penalties P are functions of ∇ₓD, so
//! their gradient contains second derivatives of D. It is exact: the reverse of a tangent through the critic along
//! ∂P/∂(∇ₓD).
//!
//! **Conditions**: with a [`condition`](GanConfig::condition) c, the generator takes c along with its noise, x̃ =
//! G(z, c), and the critic judges a row under its condition, D(x, c). [`Conditioning`] says how the critic uses c: as
//! an input along with x (Mirza & Osindero 2014), or as a projection of its last hidden layer (Miyato & Koyama 2018).
//! The generated rows of a minibatch have the conditions of its real rows, and so do the x̂ between them. Penalties
//! apply to ∇ₓD, with c held fixed. [`sample`](crate::Distribution::sample) draws a condition for each row, with its
//! frequency in the training rows.
//!
//! **Likelihood**: none. G gives rows but no density. [`Gan::critic`] and [`Gan::critic_given`] return the critic's
//! values.
//!
//! # Picture
//!
#![cfg_attr(doc, doc = include_str!("../../docs/pictures/adversarial_drift.svg"))]
//!
//! # Example
//!
//! The trained critic gives real rows higher values than rows far from the data.
//!
//! ```
//! use quadrivium::{worlds::Toy, *, seeded};
//!
//! let (mut rng, moons) = (seeded(0), Toy::moons(0.1)?);
//! let data = Dataset::new(moons.sample(2_000, &mut rng))?;
//! let small = vec![32, 32];
//! let network = NetworkSpec::mlp(small, Activation::Silu, 3);
//! let config = GanConfig { generator: network.clone(), critic: network, ..Default::default() };
//! let mut gan = Gan::new(config, &mut rng)?;
//! let options = TrainOptions { steps: 200, ..Default::default() };
//! gan.train(&data, &options, &mut rng, &mut NoObserver)?;
//!
//! let mean = |x| -> Result<f64> { Ok(gan.critic(x)?.mean().unwrap()) };
//! let far = moons.sample(500, &mut rng) + 3.0;
//! assert!(mean(data.x())? > mean(far.view())?);
//! // There is no density, and the type says so.
//! let score = gan.log_likelihood(data.x(), &LikelihoodOptions::default())?;
//! assert_eq!((score.nats(), gan.card().likelihood), (None, LikelihoodKind::Unavailable));
//! # Ok::<(), Error>(())
//! ```
//!
//! # What can go wrong
//!
//! - **Vanishing gradient.** log(1 − σ(D(x̃))) is flat where the critic is certain, so a critic that wins early stops
//!   the generator from learning. *See*: both parts of [`TrainReport`] are near 0, and D of real rows is far above D
//!   of generated ones, as in the minimax game at the default learning rates on many narrow modes. *Change*: use
//!   another game.
//! - **The losses do not measure quality.** They are losses of a game, and may rise while the samples improve.
//!   *See*: draw rows and measure them ([`metrics`](crate::metrics)). Only the negative loss of the Wasserstein critic
//!   estimates a distance, in standard units, and only for large λ. A critic of constant slope c reaches
//!   cW₁ − λ(c − 1)², at best W₁ + W₁²/4λ: at the default λ = 0.1 this is 1.125 for W₁ = 0.5.
//! - **Mode collapse.** Nothing draws the generator back to modes that it has left. *See*:
//!   [`mode_coverage`](crate::metrics::mode_coverage) if the modes are known, otherwise the recall of
//!   [`prdc`](crate::metrics::prdc()). On a grid of 25 modes, the minimax game misses most of the modes, even at
//!   lower learning rates, and the games with a penalty find all of them ([measured](crate::results)). *Change*: use
//!   another game, then train for more steps.
//! - **Oscillation.** Two players that both improve need not converge. *See*: the samples get worse from one check to
//!   the next. Drawing rows with the moving average of the parameters dampens the oscillation. *Change*: lower both
//!   learning rates.
//! - **Rows between modes.** G is continuous and the support of its noise is connected, so some rows fall between
//!   modes. A deep G on Fourier features of z crosses quickly from mode to mode, and with a critic on Fourier
//!   features of x even narrow modes come out sharp.
//!
//! # Papers
//!
//! Goodfellow et al. 2014, [Generative adversarial networks](https://arxiv.org/abs/1406.2661) · Mescheder
//! et al. 2018, [Which training methods for GANs do actually converge?](https://arxiv.org/abs/1801.04406) ·
//! Arjovsky & Bottou 2017, [Towards principled methods for training generative adversarial
//! networks](https://arxiv.org/abs/1701.04862) · Arjovsky et al. 2017, [Wasserstein
//! GAN](https://arxiv.org/abs/1701.07875) · Gulrajani et al. 2017, [Improved training of Wasserstein
//! GANs](https://arxiv.org/abs/1704.00028) · Radford et al. 2016, [Unsupervised representation learning
//! with deep convolutional generative adversarial networks](https://arxiv.org/abs/1511.06434) · Heusel et
//! al. 2017, [GANs trained by a two time-scale update rule converge to a local Nash
//! equilibrium](https://arxiv.org/abs/1706.08500) · Mirza & Osindero 2014, [Conditional generative adversarial
//! nets](https://arxiv.org/abs/1411.1784) · Jolicoeur-Martineau 2019, [The relativistic
//! discriminator](https://arxiv.org/abs/1807.00734); 2020, [On relativistic
//! f-divergences](https://arxiv.org/abs/1901.02474) · Huang et al. 2024, [The GAN is dead; long live the
//! GAN!](https://arxiv.org/abs/2501.05441) · Miyato & Koyama 2018, [cGANs with projection
//! discriminator](https://arxiv.org/abs/1802.05637)

mod config;
mod network;
mod objective;
#[cfg(feature = "onnx")]
mod onnx;
#[cfg(feature = "safetensors")]
mod persist;
mod players;
mod sampling;
#[cfg(test)]
mod tests;

use ndarray::{Array1, Array2, ArrayView2};
use rand::RngCore;

pub use self::config::{AdversarialLoss, Conditioning, GanConfig};

pub(crate) use self::network::{Pass, Player};
pub(crate) use self::objective::{Pairs, pay_in_pairs};
pub(crate) use self::players::{Match, Opposed};
use self::sampling::Buffers;
use crate::engine::{Fitted, Given, Parameters, RowStreams, Rows, tiles};
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::nn::Network;
use crate::numeric::rng::Streams;

/// A generator and its critic.
///
/// ```
/// use quadrivium::{Gan, GanConfig, worlds::Toy, *};
///
/// let (mut rng, toy) = (seeded(0), Toy::moons(0.1)?);
/// let data = Dataset::new(toy.sample(5_000, &mut rng))?;
/// let mut gan = Gan::new(GanConfig::default(), &mut rng)?;
/// let options = TrainOptions { steps: 200, ..Default::default() };
/// let report = gan.train(&data, &options, &mut rng, &mut NoObserver)?;
/// assert_eq!(report.parts.iter().map(|part| part.0).collect::<Vec<_>>(), ["critic", "penalty", "generator"]);
///
/// let samples = gan.sample(1_000, &SampleOptions::default(), &mut rng)?;
/// assert_eq!((samples.x.dim(), samples.nfe), ((1_000, 2), 1));
/// let score = gan.log_likelihood(samples.x.view(), &LikelihoodOptions::default())?;
/// assert_eq!(score, LogLikelihood::Unavailable);
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gan {
    config: GanConfig,
    generator: Player,
    critic: Player,
    generator_parameters: Parameters,
    critic_parameters: Parameters,
    fitted: Fitted,
}

impl Gan {
    /// Creates an untrained generator and critic.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn new(config: GanConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let streams = Streams::from_rng(rng);
        let (generator, critic) = (Player::generator(&config), Player::critic(&config));
        let start = |player: &Player, index| {
            let mut p = vec![0.0; player.net.num_params()];
            player.net.init(&mut p, &mut streams.stream(index));
            Parameters::new(p)
        };
        Ok(Gan {
            generator_parameters: start(&generator, 0),
            critic_parameters: start(&critic, 1),
            fitted: Fitted::new(config.dim, config.condition),
            generator,
            critic,
            config,
        })
    }

    /// The config that the model was made with.
    pub fn config(&self) -> &GanConfig {
        &self.config
    }

    /// G(z) of each row of z, (n, latent_dim), with the moving average of the generator's parameters: shape (n, dim), in
    /// the units of the data. For z ~ N(0, I) it is what [`sample`](Distribution::sample) draws.
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::error::DataError::Shape) for a wrong number of columns,
    /// [`DataError::NonFinite`](crate::error::DataError::NonFinite) for a NaN or an infinity, and
    /// [`Error::Condition`] for a conditional model: use [`generate_given`](Gan::generate_given) instead.
    ///
    /// ```
    /// use quadrivium::{*, ndarray::array, seeded};
    ///
    /// let gan = Gan::new(GanConfig::default(), &mut seeded(0))?;
    /// // A walk through the latent space.
    /// let walk = gan.generate(array![[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]].view())?;
    /// assert_eq!(walk.dim(), (3, 2));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn generate(&self, z: ArrayView2<f32>) -> Result<Array2<f32>> {
        self.generate_rows(z, None)
    }

    /// G(z, c) of each row of z, (n, latent_dim), under a condition.
    ///
    /// # Errors
    /// As [`generate`](Gan::generate), and [`Error::Condition`] for a condition of the wrong kind or number of rows.
    pub fn generate_given(&self, z: ArrayView2<f32>, condition: &Condition) -> Result<Array2<f32>> {
        self.generate_rows(z, Some(condition))
    }

    fn generate_rows(&self, z: ArrayView2<f32>, condition: Option<&Condition>) -> Result<Array2<f32>> {
        let GanConfig { dim, latent_dim, .. } = self.config;
        check_rows("z", z, latent_dim)?;
        let (n, c) = (z.nrows(), self.fitted.conditions.encode_for(condition, z.nrows())?);
        let z = z.as_standard_layout();
        let z = z.as_slice().expect("standard layout");
        let mut out = vec![0.0; n * dim];
        tiles::for_each_tile(&mut out, dim, |buffers: &mut Pass<f32>, first, x| {
            let rows = x.len() / dim;
            let (z, c) = (&z[first * latent_dim..][..rows * latent_dim], Given::of(&c).rows(first, rows));
            self.generator.infer(&self.generator_parameters.average, z, c, x, buffers);
            self.fitted.standardizer.restore(x);
            Ok(())
        })?;
        Ok(Array2::from_shape_vec((n, dim), out).expect("n rows of dim columns"))
    }

    /// The critic's value D(x) for each row of x, (n, dim), with the moving average of its parameters.
    ///
    /// In the logistic games this is the log-odds that a row is real; for the optimal critic it is ln p(x) − ln
    /// p_G(x) (Goodfellow et al. 2014, prop. 1). In the Wasserstein game it is a potential in standard deviations,
    /// defined up to a constant and, unless λ is large, steeper than 1.
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::error::DataError::Shape) for a wrong number of columns,
    /// [`DataError::NonFinite`](crate::error::DataError::NonFinite) for a NaN or an infinity, and
    /// [`Error::Condition`] for a conditional model: use [`critic_given`](Gan::critic_given) instead.
    pub fn critic(&self, x: ArrayView2<f32>) -> Result<Array1<f64>> {
        self.judge_rows(x, None)
    }

    /// The critic's value D(x, c) for each row of x, (n, dim), under a condition.
    ///
    /// # Errors
    /// As [`critic`](Gan::critic), and [`Error::Condition`] for a condition of the wrong kind or number of rows.
    pub fn critic_given(&self, x: ArrayView2<f32>, condition: &Condition) -> Result<Array1<f64>> {
        self.judge_rows(x, Some(condition))
    }

    fn judge_rows(&self, x: ArrayView2<f32>, condition: Option<&Condition>) -> Result<Array1<f64>> {
        check_rows("x", x, self.dim())?;
        let c = self.fitted.conditions.encode_for(condition, x.nrows())?;
        tiles::score(x, |first, buffers, x, scores| {
            self.judge(buffers, x, Given::of(&c).rows(first, scores.len()), scores);
            Ok(())
        })
    }
}

impl Paradigm for Gan {
    type Workspace = Buffers;

    fn place(&self) -> Card {
        let (name, objective) = match self.config.loss {
            AdversarialLoss::Minimax => ("GAN (minimax)", Objective::Minimax),
            AdversarialLoss::NonSaturatingR1 { .. } => ("GAN (NS + R1)", Objective::NonSaturatingR1),
            AdversarialLoss::Relativistic { .. } => ("R3GAN", Objective::Relativistic),
            AdversarialLoss::WassersteinGp { .. } => ("WGAN-GP", Objective::WassersteinGp),
        };
        Card::new(name, objective, Sampling::OnePass)
    }

    fn count_params(&self) -> usize {
        self.generator.net.num_params() + self.critic.net.num_params()
    }

    fn fitted(&self) -> &Fitted {
        &self.fitted
    }

    /// Trains both players for `steps` steps of the generator.
    ///
    /// The report's loss is the critic's loss, including the penalty. Its parts are `critic` (without the penalty),
    /// `penalty` and `generator`, each from its last update in the step. None of them says how good the samples are.
    /// On held-out rows, the critic's loss is measured without the penalty, with the current parameters of both
    /// players and not with the averages that draw rows. It falls behind the training loss when the critic memorizes
    /// the rows (Gulrajani et al. 2017). In the Wasserstein game, the negative of this loss estimates the distance W₁
    /// times the critic's slope c: a critic of slope c gains cW₁ at a penalty of λ(c − 1)², so the best c is 1 +
    /// W₁/2λ, which is near 1 only if λ is much larger than W₁.
    ///
    /// # Errors
    /// As in the trait, and [`Error::Config`] for a `patience`: the loss of a game has no best value.
    fn learn(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        check(
            options.patience.is_none(),
            "TrainOptions::patience",
            options.patience,
            "None: the loss of a game has no best value",
        )?;
        let rows = Rows::prepare(data, &self.fitted, options, rng)?;
        self.fitted = rows.fitted.clone();
        self.play(&rows, options, observer)
    }

    /// x = G(T·z, c), z ~ N(0, I), with the moving average of the generator's parameters.
    fn draw_tile(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        buffers: &mut Buffers,
        x: &mut [f32],
    ) -> usize {
        self.draw_rows(temperature, c, streams, buffers, x);
        1
    }

    /// [`LogLikelihood::Unavailable`], for any valid rows.
    fn score(&self, _: Given<'_>, _: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        Ok(LogLikelihood::Unavailable)
    }
}

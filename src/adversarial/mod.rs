//! The adversarial paradigm: a generator that never sees the data learns from a critic that does.
//!
//! The generator maps noise to rows. The critic gives each row a number that separates real from generated rows,
//! and each is trained against the other. A row is drawn in one pass; there is no likelihood.
//!
//! # Formula
//!
//! x̃ = G(z), z ~ N(0, I), is a generated row, x a real one, D the critic, σ the logistic function. They
//! play one of three games ([`AdversarialLoss`]):
//!
//! | game | the critic minimises | the generator minimises | which at the optimal critic is |
//! | --- | --- | --- | --- |
//! | minimax (Goodfellow et al. 2014, eq. 1) | −E log σ(D(x)) − E log(1 − σ(D(x̃))) | E log(1 − σ(D(x̃))) | Jensen–Shannon |
//! | non-saturating + R1 (ibid. §3; Mescheder et al. 2018, eq. 9) | the same + (γ/2) E‖∇D(x)‖² | −E log σ(D(x̃)) | a value whose gradient is that of KL(model‖data) − 2·JS (Arjovsky & Bottou 2017, theorem 2.5), without the penalty |
//! | Wasserstein + gradient penalty (Gulrajani et al. 2017, eq. 3) | E D(x̃) − E D(x) + λ E(‖∇D(x̂)‖ − 1)² | −E D(x̃) | Wasserstein-1, for large λ |
//!
//! where x̂ = εx + (1−ε)x̃, ε uniform on [0, 1]; γ and λ are the weights of the penalties. The gradient in the
//! second row is the generator's with the critic held fixed; the value itself is KL(model‖data) − KL(model‖m) +
//! ln 2, where m is the even mixture of model and data. In each training step the critic takes
//! [`critic_steps`](GanConfig::critic_steps) steps and the generator one. Both penalties P are functions of ∇ₓD, so
//! their gradient contains second derivatives of D. It is exact: the reverse of a tangent through the critic along
//! ∂P/∂(∇ₓD).
//!
//! **Likelihood**: none. G gives rows but no density. [`Gan::critic`] returns the critic's values.
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
//! use quadrivium::{worlds::Toy, prelude::*, seeded};
//!
//! let (mut rng, moons) = (seeded(0), Toy::moons(0.1)?);
//! let data = Dataset::new(moons.sample(2_000, &mut rng))?;
//! let small = vec![32, 32];
//! let config = GanConfig { generator_hidden: small.clone(), critic_hidden: small, ..Default::default() };
//! let mut gan = Gan::new(config, &mut rng)?;
//! let options = TrainOptions { steps: 200, ..Default::default() };
//! gan.train(&data, &options, &mut rng, &mut Silent)?;
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
//! - **Vanishing gradient.** log(1 − σ(D(x̃))) is flat where the critic is certain, so a critic that wins early
//!   stops the generator. *See*: both parts of [`TrainReport`] are near 0, and D of real rows is far above D of
//!   generated ones, as in the minimax game at the default learning rates on many narrow modes. *Change*: another
//!   game.
//! - **The losses do not measure quality.** They are losses of a game, and may rise while the samples improve.
//!   *See*: draw rows and measure ([`metrics`](crate::metrics)). Only the negative loss of the Wasserstein critic
//!   estimates a distance, in standard units, and only for large λ. A critic of constant slope c reaches cW₁ − λ(c
//!   − 1)², at best W₁ + W₁²/4λ: at the default λ = 0.1 that is 1.125 for W₁ = 0.5.
//! - **Mode collapse.** Nothing draws the generator back to modes that it has left. *See*:
//!   [`mode_coverage`](crate::metrics::mode_coverage) where modes are known, recall of
//!   [`prdc`](crate::metrics::prdc()) where not. On a grid of 25 modes the minimax game neglects most of them, even at
//!   lower learning rates, and the other two games find all ([measured](crate::results)). *Change*: the game, then
//!   more steps.
//! - **Oscillation.** Two players who both improve need not converge. *See*: the samples get worse from one look
//!   to the next. The moving average of the parameters, with which rows are drawn, dampens it. *Change*: lower both
//!   learning rates.
//! - **Rows between modes.** G is continuous and the support of its noise is connected. A deep G on Fourier features
//!   of z crosses quickly from mode to mode, and with a critic on Fourier features of x even narrow modes come
//!   out sharp.
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
//! equilibrium](https://arxiv.org/abs/1706.08500)

mod objective;
#[cfg(feature = "safetensors")]
mod persist;
mod players;
mod sampling;
#[cfg(test)]
mod tests;

use ndarray::{Array1, ArrayView2};
use rand::RngCore;

use self::sampling::Buffers;
use crate::engine::{Fitted, Given, OptimiserConfig, Parameters, RowStreams, Rows, tiles};
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::nn::limits::{check_hidden, check_params, check_width, count_params};
use crate::nn::{Activation, Fourier, Layer, Network, REACH, Sequential, mlp, most_octaves};
use crate::numeric::rng::Streams;

/// The game between generator and critic.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum AdversarialLoss {
    /// Both players on one value, E log σ(D(x)) + E log(1 − σ(D(x̃))) (Goodfellow et al. 2014, eq. 1). At the
    /// default learning rates the critic wins at once and the generator stalls; at 1e-3 and a
    /// [`critic_lr`](GanConfig::critic_lr) of 5e-4 it loses modes instead. Use it to study these failures.
    Minimax,
    /// The generator maximises E log σ(D(x̃)), and the critic is penalised for its slope at the data (Mescheder et
    /// al. 2018, eq. 9).
    NonSaturatingR1 {
        /// γ of (γ/2) E‖∇D(x)‖², x in standard deviations. 0 or more; the paper uses 10 for images. A smaller
        /// value lets the critic be steeper near narrow modes: 0.1 to 1 in two dimensions.
        gamma: f64,
    },
    /// The critic estimates the Wasserstein-1 distance (Arjovsky et al. 2017), and is penalised where its slope
    /// between data and generated rows is not 1 (Gulrajani et al. 2017, eq. 3). The smaller λ, the larger the
    /// estimate.
    WassersteinGp {
        /// λ of λ E(‖∇D(x̂)‖ − 1)², x in standard deviations. 0 or more; the paper uses 10. A smaller value lets the
        /// critic be steeper near narrow modes: 0.1 works well for narrow mixtures in two dimensions.
        lambda: f64,
    },
}

/// The architecture of a [`Gan`] and how it is trained.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct GanConfig {
    /// Columns of a row. 1 to 65,536. Default 2.
    pub dim: usize,
    /// The game. Default [`AdversarialLoss::WassersteinGp`] with λ = 0.1.
    pub loss: AdversarialLoss,
    /// Coordinates of z. 1 to 65,536; with fewer than `dim`, rows lie on a surface. Default 2.
    pub latent_dim: usize,
    /// Units of the generator's hidden layers, each 1 to 65,536, with at most 2²⁸ parameters; none makes it
    /// affine in its features. Default five layers of 64.
    pub generator_hidden: Vec<usize>,
    /// Activation between the generator's layers. Default [`Activation::Silu`].
    pub generator_activation: Activation,
    /// Fourier features of z: sin and cos of 2ᵏ rad per unit, k = 0 … octaves − 1, beside z itself. With more of
    /// them G can change faster from mode to mode. At most 14. Default 3.
    pub generator_octaves: usize,
    /// Units of the critic's hidden layers, bounded likewise; none makes it affine in its features. Default
    /// three layers of 64.
    pub critic_hidden: Vec<usize>,
    /// Activation between the critic's layers. Default [`Activation::LeakyRelu`] of slope 0.2 (Radford et al. 2016).
    pub critic_activation: Activation,
    /// Fourier features of x, at 2ᵏ rad per standard deviation, as for z. At most 14. Default 3.
    pub critic_octaves: usize,
    /// Steps of the critic per step of the generator. 1 to 1000. Default 1; Gulrajani et al. use 5.
    pub critic_steps: usize,
    /// The critic's learning rate, with the schedule of `optimiser`. More than 0. Default 6e-3, twice the
    /// generator's: Heusel et al. 2017 let the critic learn faster.
    pub critic_lr: f64,
    /// The optimiser of both players. Default: lr 3e-3, β = (0.5, 0.9), no clipping, and the rest as in
    /// [`OptimiserConfig`].
    pub optimiser: OptimiserConfig,
}

impl Default for GanConfig {
    fn default() -> Self {
        GanConfig {
            dim: 2,
            loss: AdversarialLoss::WassersteinGp { lambda: 0.1 },
            latent_dim: 2,
            generator_hidden: vec![64; 5],
            generator_activation: Activation::Silu,
            generator_octaves: 3,
            critic_hidden: vec![64; 3],
            critic_activation: Activation::LeakyRelu { slope: 0.2 },
            critic_octaves: 3,
            critic_steps: 1,
            critic_lr: 6e-3,
            optimiser: OptimiserConfig {
                lr: 3e-3,
                beta1: 0.5,
                beta2: 0.9,
                clip_norm: None,
                ..OptimiserConfig::default()
            },
        }
    }
}

impl GanConfig {
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check_width("GanConfig::dim", self.dim)?;
        match self.loss {
            AdversarialLoss::Minimax => {}
            AdversarialLoss::NonSaturatingR1 { gamma } => {
                check(
                    gamma >= 0.0 && gamma.is_finite(),
                    "AdversarialLoss::gamma",
                    gamma,
                    "0 or more, finite",
                )?;
            }
            AdversarialLoss::WassersteinGp { lambda } => {
                check(
                    lambda >= 0.0 && lambda.is_finite(),
                    "AdversarialLoss::lambda",
                    lambda,
                    "0 or more, finite",
                )?;
            }
        }
        check_width("GanConfig::latent_dim", self.latent_dim)?;
        check_hidden("GanConfig::generator_hidden", &self.generator_hidden)?;
        let most = most_octaves(REACH);
        check(
            self.generator_octaves <= most,
            "GanConfig::generator_octaves",
            self.generator_octaves,
            "0 to 14",
        )?;
        let inputs = self.latent_dim * (1 + 2 * self.generator_octaves);
        let params = count_params(inputs, &self.generator_hidden, self.dim);
        check_params("GanConfig::generator_hidden", &self.generator_hidden, params)?;
        check_hidden("GanConfig::critic_hidden", &self.critic_hidden)?;
        check(self.critic_octaves <= most, "GanConfig::critic_octaves", self.critic_octaves, "0 to 14")?;
        let params = count_params(self.dim * (1 + 2 * self.critic_octaves), &self.critic_hidden, 1);
        check_params("GanConfig::critic_hidden", &self.critic_hidden, params)?;
        let steps = (1..=1000).contains(&self.critic_steps);
        check(steps, "GanConfig::critic_steps", self.critic_steps, "1 to 1000")?;
        check(
            self.critic_lr > 0.0 && self.critic_lr.is_finite(),
            "GanConfig::critic_lr",
            self.critic_lr,
            "more than 0, finite",
        )?;
        self.generator_activation.validate()?;
        self.critic_activation.validate()?;
        self.optimiser.validate()
    }

    /// G: z → x.
    fn generator(&self) -> Sequential {
        let (hidden, activation) = (&self.generator_hidden, self.generator_activation);
        player(self.latent_dim, self.generator_octaves, hidden, activation, self.dim)
    }

    /// D: x → a number.
    fn critic(&self) -> Sequential {
        player(self.dim, self.critic_octaves, &self.critic_hidden, self.critic_activation, 1)
    }
}

fn player(
    dim: usize,
    octaves: usize,
    hidden: &[usize],
    activation: Activation,
    outputs: usize,
) -> Sequential {
    let features = Fourier::octaves(dim, 1.0, octaves);
    let sizes = [&[features.out_dim()], hidden, &[outputs]].concat();
    let layers = mlp(&sizes, activation).layers().to_vec();
    Sequential::new([vec![Layer::Fourier(features)], layers].concat())
}

/// A generator and its critic.
///
/// ```
/// use quadrivium::{Gan, GanConfig, worlds::Toy, *};
///
/// let (mut rng, toy) = (seeded(0), Toy::moons(0.1)?);
/// let data = Dataset::new(toy.sample(5_000, &mut rng))?;
/// let mut gan = Gan::new(GanConfig::default(), &mut rng)?;
/// let options = TrainOptions { steps: 200, ..Default::default() };
/// let report = gan.train(&data, &options, &mut rng, &mut Silent)?;
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
    generator: Sequential,
    critic: Sequential,
    generator_parameters: Parameters,
    critic_parameters: Parameters,
    fitted: Fitted,
}

impl Gan {
    /// An untrained generator and critic.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn new(config: GanConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let streams = Streams::from_rng(rng);
        let (generator, critic) = (config.generator(), config.critic());
        let start = |network: &Sequential, index| {
            let mut p = vec![0.0; network.num_params()];
            network.init(&mut p, &mut streams.stream(index));
            Parameters::new(p)
        };
        Ok(Gan {
            generator_parameters: start(&generator, 0),
            critic_parameters: start(&critic, 1),
            fitted: Fitted::new(config.dim, ConditionKind::None),
            generator,
            critic,
            config,
        })
    }

    /// The config it was made with.
    pub fn config(&self) -> &GanConfig {
        &self.config
    }

    /// The critic's value D(x) for each row of x, (n, dim), with the moving average of its parameters.
    ///
    /// In the logistic games this is the log-odds that a row is real, at the optimal critic ln p(x) − ln p_G(x)
    /// (Goodfellow et al. 2014, prop. 1). In the Wasserstein game it is a potential in standard deviations, defined
    /// up to a constant and, unless λ is large, steeper than 1.
    ///
    /// # Errors
    /// [`Error::Shape`] for a wrong number of columns, [`Error::NonFinite`] for a NaN or an infinity.
    pub fn critic(&self, x: ArrayView2<f32>) -> Result<Array1<f64>> {
        check_rows("x", x, self.dim())?;
        tiles::score(x, |_, scratch, x, scores| {
            self.judge(scratch, x, scores);
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
            AdversarialLoss::WassersteinGp { .. } => ("WGAN-GP", Objective::WassersteinGp),
        };
        Card::new(name, objective, Sampling::OnePass)
    }

    fn count_params(&self) -> usize {
        self.generator.num_params() + self.critic.num_params()
    }

    fn fitted(&self) -> &Fitted {
        &self.fitted
    }

    /// Trains both players for `steps` steps of the generator.
    ///
    /// The report's loss is the critic's, including the penalty. Its parts are `critic` (without the penalty),
    /// `penalty` and `generator`, each from its last update in the step. None of them says how good the samples
    /// are. On held-out rows the critic's loss without the penalty is measured, of the players as they stand in the
    /// step, not of the averages with which rows are drawn. It falls behind the training loss when the critic
    /// memorises the rows (Gulrajani et al. 2017). In the Wasserstein game its negative estimates the distance W₁
    /// times the critic's slope c: a critic of slope c gains cW₁ and pays λ(c − 1)², so the best c is 1 + W₁/2λ,
    /// near 1 only if λ is much larger than W₁.
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
            "None: the loss of a game has no best",
        )?;
        let rows = Rows::prepare(data, &self.fitted, options, rng)?;
        self.fitted = rows.fitted.clone();
        self.play(&rows, options, observer)
    }

    /// x = G(T·z), z ~ N(0, I), with the moving average of the generator's parameters.
    fn draw_tile(
        &self,
        temperature: f64,
        _: &[f32],
        streams: RowStreams,
        buffers: &mut Buffers,
        x: &mut [f32],
    ) -> usize {
        self.generate(temperature, streams, buffers, x);
        1
    }

    /// [`LogLikelihood::Unavailable`], for any valid rows.
    fn score(&self, _: Given<'_>, _: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        Ok(LogLikelihood::Unavailable)
    }
}

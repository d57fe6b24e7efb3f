//! A score network on a ladder of noise levels, drawn from by annealed Langevin dynamics (NCSN).
//!
//! A network learns the score s(x, σ) = ∇ ln p_σ(x) of the data blurred by each noise σ of a ladder. Rows are drawn
//! by Langevin moves at every level in turn, from the noisiest to the quietest.
//!
//! # Formula
//!
//! ```text
//! ladder      σ₁ > … > σ_L in one ratio;   s(x, σ) = −ε̂/σ
//! denoising   σ² E‖s(x̃, σ) + ε/σ‖²,   x̃ = x + σε,   ε ~ N(0, I)
//! sliced      2σ² E[vᵀ(∂s/∂x)v + ½‖s‖²],   v a random direction
//! sampling    z ← z + (rσ²/2) s(z, σ) + √r σ ξ at each σ, ξ ~ N(0, I);   last z + σ_L² s(z, σ_L)
//! ```
//!
//! Both losses have the score of p_σ as their minimum (Vincent 2011; Song et al. 2019). With ε̂ = −σs the score
//! network is the noise predictor of a [`Diffusion`](crate::Diffusion), and shares its network and its loss. The two
//! differ in how they draw: the moves of a ladder have no formula for the density of what they draw, so a
//! [`ScoreModel`] has no likelihood. By the probability-flow ODE the same scores have one, and that is the
//! diffusion.
//!
//! # Example
//!
//! ```
//! use quadrivium::{worlds::Toy, *, seeded};
//!
//! let mut rng = seeded(0);
//! let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut rng))?;
//! let network = NetworkSpec::mlp([32, 32], Activation::Silu, 4);
//! let mut model = ScoreModel::new(ScoreConfig { network, ..Default::default() }, &mut rng)?;
//! model.train(&data, &TrainOptions { steps: 50, ..Default::default() }, &mut rng, &mut NoObserver)?;
//! // Fewer moves at each level, by the same network.
//! let quick = model.with_moves(3, 0.5)?;
//! assert_eq!(quick.sample(10, &SampleOptions::default(), &mut rng)?.nfe, 20 * 3 + 1);
//! # Ok::<(), Error>(())
//! ```
//!
//! # What can go wrong
//!
//! - **Slow.** The default ladder spends 201 evaluations on a row. A diffusion's ODE solvers need a tenth.
//! - **A ladder too short.** If σ₁ does not drown the distances between modes, a chain stays near the mode where it
//!   starts, and the shares of the modes are wrong. *Change*: a larger [`ScoreConfig::sigma_max`].
//! - **Steps too long.** With r near 4 a move at a level overshoots, and rows are too wide.
//!
//! # Papers
//!
//! Vincent 2011, [A connection between score matching and denoising
//! autoencoders](https://doi.org/10.1162/NECO_a_00142) · Song et al. 2019, [Sliced score
//! matching](https://arxiv.org/abs/1905.07088) · Song & Ermon 2019, [Generative modeling by estimating gradients of
//! the data distribution](https://arxiv.org/abs/1907.05600) · Song & Ermon 2020, [Improved techniques for training
//! score-based generative models](https://arxiv.org/abs/2006.09011)

mod annealing;
#[cfg(feature = "safetensors")]
mod persist;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ndarray::{Array2, ArrayView2};
use rand::RngCore;

use self::annealing::Annealing;
use super::config::check_dropout;
use super::network::{NoiseNet, Pass};
use super::objective::{Levels, NoiseMse, SlicedScore};
use super::sampling::unconditional;
use super::{Beyond, DiffusionConfig, Learned, NoiseLevel};
use crate::engine::{Fitted, Given, OptimizerConfig, RowStreams, Rows, fit, tiles};
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::check_rows;
use crate::model::*;
use crate::nn::limits::{check_time_features, check_width};
use crate::nn::{Activation, NetworkSpec, VectorField};

/// How a [`ScoreModel`] learns the score of the data blurred by each σ of its ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum ScoreTraining {
    /// From the noise that was added: σ² ‖s(x̃, σ) + ε/σ‖² (Vincent 2011; over the levels NCSN, Song & Ermon
    /// 2019, eq. 6).
    Denoising,
    /// From the blurred rows alone: 2σ² (vᵀ(∂s/∂x)v + ½‖s‖²), one random direction v per row (Song et al.
    /// 2019, variance-reduced). Its gradient takes a second derivative of the network, costs twice as much, and is
    /// noisier.
    Sliced,
}

/// What a [`ScoreModel`] is made of and how it learns. Lengths are in standard deviations of the columns.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct ScoreConfig {
    /// Columns of a row. 1 to 65,536. Default 2.
    pub dim: usize,
    /// The network, as [`DiffusionConfig::network`]; for [`ScoreTraining::Sliced`] with a smooth activation. Default a
    /// perceptron of three layers of 128 with SiLU, and 4 octaves.
    pub network: NetworkSpec,
    /// Sines and cosines that embed the noise level. Even, 2 to 65,536. Default 32.
    pub time_features: usize,
    /// How the score is learned. Default [`ScoreTraining::Denoising`].
    pub training: ScoreTraining,
    /// σ₁, the noise that sampling starts from. At least `sigma_min`, at most 1e6. It should drown the distances
    /// between modes; Song & Ermon 2020 take the largest distance in the data. Default 3.
    pub sigma_max: f64,
    /// σ_L, the smallest noise, below the width of the narrowest detail. 1e-6 to 1e6. Default 0.005.
    pub sigma_min: f64,
    /// L, levels from σ₁ to σ_L in one ratio. 1 to 1,000,000; with 1 only `sigma_min` is there. Default 20.
    pub levels: usize,
    /// Langevin moves at each level. 1 to 1,000,000. Default 10.
    pub steps_per_level: usize,
    /// r, a move's step against the level: z ← z + (rσ²/2) s + √r σ ξ. More than 0, less than 4, where the
    /// chain of a level would no longer stand. Default 0.5.
    pub step: f64,
    /// What rows are conditioned on. Default [`ConditionKind::None`].
    #[cfg_attr(feature = "safetensors", serde(skip_serializing_if = "ConditionKind::is_none"))]
    pub condition: ConditionKind,
    /// The share of training rows whose condition is dropped: what the network learns from them is p(x). Without a
    /// condition it means nothing. 0 up to, not including, 1. Default 0.1.
    pub condition_dropout: f64,
    /// How the parameters move. Default: a learning rate of 5e-3, the rest as [`OptimizerConfig`].
    #[cfg_attr(feature = "safetensors", serde(alias = "optimiser"))]
    pub optimizer: OptimizerConfig,
}

/// Levels, and moves at each, that fit into memory and into any patience.
const MOST: usize = 1_000_000;

impl Default for ScoreConfig {
    fn default() -> Self {
        ScoreConfig {
            dim: 2,
            network: NetworkSpec::mlp([128; 3], Activation::Silu, 4),
            time_features: 32,
            training: ScoreTraining::Denoising,
            sigma_max: 3.0,
            sigma_min: 0.005,
            levels: 20,
            steps_per_level: 10,
            step: 0.5,
            condition: ConditionKind::None,
            condition_dropout: 0.1,
            optimizer: OptimizerConfig { lr: 5e-3, ..OptimizerConfig::default() },
        }
    }
}

impl ScoreConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check_width("ScoreConfig::dim", self.dim)?;
        check_time_features("ScoreConfig::time_features", self.time_features)?;
        self.condition.validate("ScoreConfig::condition")?;
        check_dropout("ScoreConfig::condition_dropout", self.condition_dropout)?;
        let columns = (self.dim, self.condition.width(), self.time_features);
        self.network.check_vector_field("ScoreConfig::network", columns)?;
        let (least, most) = (self.sigma_min, self.sigma_max);
        check((1e-6..=1e6).contains(&least), "ScoreConfig::sigma_min", least, "1e-6 to 1e6")?;
        check(
            most >= least && most <= 1e6,
            "ScoreConfig::sigma_max",
            most,
            "at least sigma_min, at most 1e6",
        )?;
        let (levels, moves) = (self.levels, self.steps_per_level);
        check((1..=MOST).contains(&levels), "ScoreConfig::levels", levels, "1 to 1,000,000")?;
        check((1..=MOST).contains(&moves), "ScoreConfig::steps_per_level", moves, "1 to 1,000,000")?;
        check(
            self.step > 0.0 && self.step < 4.0,
            "ScoreConfig::step",
            self.step,
            "more than 0, less than 4",
        )?;
        self.optimizer.validate()
    }

    /// The noise predictor that is the score.
    pub(super) fn network<F: crate::numeric::Real>(&self) -> Result<NoiseNet<F>> {
        NoiseNet::new(&self.predictor())
    }

    /// The diffusion that has the same network.
    fn predictor(&self) -> DiffusionConfig {
        DiffusionConfig {
            dim: self.dim,
            network: self.network.clone(),
            time_features: self.time_features,
            condition: self.condition,
            // Beyond the reach the score points back to it, so that a chain that is far out returns.
            beyond: Beyond::Point,
            ..DiffusionConfig::default()
        }
    }

    /// The ladder σ₁ > … > σ_L, as levels of the variance-preserving form that the network knows: x + σε is
    /// √(1 + σ²) times αx + σ′ε with α = 1/√(1 + σ²), σ′ = σ/√(1 + σ²).
    pub(super) fn ladder(&self) -> Vec<NoiseLevel> {
        let last = self.levels - 1;
        let ratio = self.sigma_max / self.sigma_min;
        (0..self.levels)
            .map(|i| self.sigma_min * ratio.powf((last - i) as f64 / last.max(1) as f64))
            .map(|sigma| NoiseLevel::at_log_snr(-2.0 * sigma.ln()))
            .collect()
    }
}

/// A network for the score s(x, σ) = ∇ ln p_σ(x) of the data blurred by noise σ, at every σ of a ladder,
/// sampled by annealed Langevin dynamics.
///
/// Its network and its denoising loss are those of [`Diffusion`](crate::Diffusion): the noise predictor is
/// the score, ε̂ = −σ s. They differ in how they sample.
///
/// ```
/// use quadrivium::diffusion::{ScoreConfig, ScoreModel};
/// use quadrivium::{worlds::Toy, *};
///
/// let mut rng = seeded(0);
/// let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut rng))?;
/// let mut model = ScoreModel::new(ScoreConfig::default(), &mut rng)?;
/// model.train(&data, &TrainOptions { steps: 20, ..Default::default() }, &mut rng, &mut NoObserver)?;
/// let samples = model.sample(10, &SampleOptions::default(), &mut rng)?;
/// assert_eq!((samples.x.dim(), samples.nfe), ((10, 2), 201));
/// assert_eq!(model.score(samples.x.view())?.dim(), (10, 2));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ScoreModel {
    config: ScoreConfig,
    net: NoiseNet,
    /// The noisiest first.
    levels: Vec<NoiseLevel>,
    learned: Arc<Learned>,
}

impl ScoreModel {
    /// An untrained model: the score of standard normal rows.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn new(config: ScoreConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let net = config.network()?;
        let learned = Learned::new(&net, config.condition, rng);
        Ok(ScoreModel { levels: config.ladder(), net, learned, config })
    }

    /// The same with a network of your own, as in [`Diffusion::with_network`](crate::Diffusion::with_network).
    ///
    /// # Errors
    /// As there, and for [`ScoreTraining::Sliced`] if the network has no
    /// [`second_order`](VectorField::second_order) function.
    pub fn with_network(
        config: ScoreConfig,
        network: Arc<dyn VectorField>,
        rng: &mut dyn RngCore,
    ) -> Result<Self> {
        config.validate()?;
        let (shape, predictor) = ((config.dim, 1, config.condition.width()), config.predictor());
        let (fades, how) = (NoiseNet::<f32>::fades(&predictor), NoiseNet::<f32>::how(&predictor));
        let net = NoiseNet::foreign(network, shape, fades, how)?;
        check(
            config.training == ScoreTraining::Denoising || net.has_second_order(),
            "ScoreConfig::training",
            config.training,
            "Denoising for a network without a second-order function",
        )?;
        let learned = Learned::new(&net, config.condition, rng);
        Ok(ScoreModel { levels: config.ladder(), net, learned, config })
    }

    /// What it was made with, and the moves that it has now.
    pub fn config(&self) -> &ScoreConfig {
        &self.config
    }

    /// The same score, drawn from by other moves: [`ScoreConfig::steps_per_level`] and [`ScoreConfig::step`].
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for either out of range.
    pub fn with_moves(&self, steps_per_level: usize, step: f64) -> Result<Self> {
        let config = ScoreConfig { steps_per_level, step, ..self.config.clone() };
        config.validate()?;
        Ok(ScoreModel { config, ..self.clone() })
    }

    /// ∇ ln p_σ at the rows x: (n, dim), σ the smallest of the ladder, in the units of the data: nats per
    /// unit of the column.
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::error::DataError::Shape) for a wrong number of columns,
    /// [`DataError::NonFinite`](crate::error::DataError::NonFinite) for a NaN or an infinity,
    /// [`Error::Condition`](crate::Error::Condition) of a model that was trained with conditions alone.
    pub fn score(&self, x: ArrayView2<f32>) -> Result<Array2<f32>> {
        let (d, c) = (self.config.dim, unconditional(self)?);
        let Learned { parameters, fitted } = &*self.learned;
        check_rows("x", x, d)?;
        let mut s = x.as_standard_layout().into_owned();
        let level = *self.levels.last().expect("at least one level");
        let sigma = level.sigma / level.alpha;
        let rows = s.as_slice_mut().expect("standard layout");
        type Kept = (Vec<f32>, Vec<f32>, Vec<f64>, Pass<f32>);
        tiles::for_each_tile(rows, d, |(z, u, s, pass): &mut Kept, _, rows| {
            z.clear();
            z.extend_from_slice(rows);
            fitted.standardizer.standardize(z);
            let eps_hat = self.noise(&parameters.average, &c, level, z, u, pass);
            for (x, eps_hat) in rows.chunks_exact_mut(d).zip(eps_hat.chunks_exact(d)) {
                s.clear();
                s.extend(eps_hat.iter().map(|&eps_hat| f64::from(-eps_hat) / sigma));
                fitted.standardizer.restore_score(x, s);
                x.iter_mut().zip(&*s).for_each(|(x, &s)| *x = s as f32);
            }
            Ok(())
        })?;
        Ok(s)
    }
}

/// A temperature T scales the noise of a draw's start and of every move by √T, as if the chain of a level were to
/// sample p_σ^{1/T}.
impl Paradigm for ScoreModel {
    type Workspace = Annealing;

    fn place(&self) -> Card {
        let (name, objective) = match self.config.training {
            ScoreTraining::Denoising => ("NCSN", Objective::ScoreMatching),
            ScoreTraining::Sliced => ("score (sliced)", Objective::SlicedScoreMatching),
        };
        let steps = self.config.levels * self.config.steps_per_level + 1;
        Card::new(name, objective, Sampling::AnnealedLangevin { steps })
    }

    fn count_params(&self) -> usize {
        self.net.num_params()
    }

    fn fitted(&self) -> &Fitted {
        &self.learned.fitted
    }

    /// Learns the score at every level of the ladder, each as often, weighted by σ².
    ///
    /// The sliced loss is, in the mean, the denoising loss less 1: both are measured per column.
    fn learn(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let rows = Rows::prepare(data, &self.learned.fitted, options, rng)?;
        let ScoreConfig { training, condition_dropout, optimizer, .. } = &self.config;
        let Learned { parameters, fitted } = Arc::make_mut(&mut self.learned);
        *fitted = rows.fitted.clone();
        let ends = Levels::Timesteps(&self.levels);
        let denoising = NoiseMse { net: &self.net, ends, dropout: *condition_dropout };
        match training {
            ScoreTraining::Denoising => fit(denoising, parameters, &rows, optimizer, options, observer),
            ScoreTraining::Sliced => {
                fit(SlicedScore(denoising), parameters, &rows, optimizer, options, observer)
            }
        }
    }

    fn draw_tile(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        annealing: &mut Annealing,
        z: &mut [f32],
    ) -> usize {
        self.draw_rows(temperature, c, streams, annealing, z)
    }

    /// [`LogLikelihood::Unavailable`], for any valid rows: no formula gives the density of what a ladder of
    /// noisy moves draws. The scores have a probability-flow ODE, whose density is what
    /// [`Diffusion`](crate::Diffusion) scores by the same network; its rows are another sampler's.
    fn score(&self, _: Given<'_>, _: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        Ok(LogLikelihood::Unavailable)
    }

    fn knows_no_condition(&self) -> bool {
        self.config.condition_dropout > 0.0
    }
}

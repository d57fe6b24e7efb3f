use std::ops::ControlFlow;

use ndarray::{Array2, ArrayView2};
use rand::RngCore;

use super::objective::SlicedScore;
use crate::diffusion::network::{NoiseNet, Pass};
use crate::diffusion::objective::{Levels, NoiseMse};
use crate::diffusion::{Beyond, DiffusionConfig, NoiseLevel};
use crate::engine::tiles;
use crate::engine::{self, Fitted, OptimiserConfig, Parameters, Rows};
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::nn::limits::{check_params, check_some_hidden, check_time_features, check_width};
use crate::nn::{Activation, timed};
use crate::numeric::rng::Streams;

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
    /// Units of each hidden layer. At least one layer, in each 1 to 65,536 units, with at most 2²⁸ parameters. Default `[128, 128, 128]`.
    pub hidden: Vec<usize>,
    /// Between the layers; for [`ScoreTraining::Sliced`] a smooth one. Default [`Activation::Silu`].
    pub activation: Activation,
    /// Fourier features of each coordinate, as [`DiffusionConfig::octaves`]. 0 to 13. Default 4.
    pub octaves: usize,
    /// Sines and cosines that embed the noise level. Even, 2 to 65,536. Default 32.
    pub time_features: usize,
    /// How the score is learned. Default [`ScoreTraining::Denoising`].
    pub training: ScoreTraining,
    /// σ₁, the noise that sampling starts from. At least `sigma_min`, at most 1e6. It should drown the distances between
    /// modes; Song & Ermon 2020 take the largest distance in the data. Default 3.
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
    /// How the parameters move. Default: a learning rate of 5e-3, the rest as [`OptimiserConfig`].
    pub optimiser: OptimiserConfig,
}

/// Levels, and moves at each, that fit into memory and into any patience.
const MOST: usize = 1_000_000;

impl Default for ScoreConfig {
    fn default() -> Self {
        ScoreConfig {
            dim: 2,
            hidden: vec![128; 3],
            activation: Activation::Silu,
            octaves: 4,
            time_features: 32,
            training: ScoreTraining::Denoising,
            sigma_max: 3.0,
            sigma_min: 0.005,
            levels: 20,
            steps_per_level: 10,
            step: 0.5,
            optimiser: OptimiserConfig { lr: 5e-3, ..OptimiserConfig::default() },
        }
    }
}

impl ScoreConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check_width("ScoreConfig::dim", self.dim)?;
        check_some_hidden("ScoreConfig::hidden", &self.hidden)?;
        check(self.octaves <= timed::OCTAVES, "ScoreConfig::octaves", self.octaves, "0 to 13")?;
        check_time_features("ScoreConfig::time_features", self.time_features)?;
        let params = timed::count_params(self.dim, &self.hidden, self.octaves, self.time_features);
        check_params("ScoreConfig::hidden", &self.hidden, params)?;
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
        self.activation.validate()?;
        self.optimiser.validate()
    }

    /// The noise predictor that is the score.
    pub(super) fn network(&self) -> Result<NoiseNet> {
        NoiseNet::new(&DiffusionConfig {
            dim: self.dim,
            hidden: self.hidden.clone(),
            activation: self.activation,
            octaves: self.octaves,
            time_features: self.time_features,
            // Beyond the reach the score points back to it, so that a chain that is far out returns.
            beyond: Beyond::Point,
            ..DiffusionConfig::default()
        })
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
/// use quadrivium::energy::{ScoreConfig, ScoreModel};
/// use quadrivium::{worlds::Toy, *};
///
/// let mut rng = seeded(0);
/// let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut rng))?;
/// let mut model = ScoreModel::new(ScoreConfig::default(), &mut rng)?;
/// model.train(&data, &TrainOptions { steps: 20, ..Default::default() }, &mut rng, &mut Silent)?;
/// let samples = model.sample(10, &SampleOptions::default(), &mut rng)?;
/// assert_eq!((samples.x.dim(), samples.nfe), ((10, 2), 201));
/// assert_eq!(model.score(samples.x.view())?.dim(), (10, 2));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ScoreModel {
    pub(super) config: ScoreConfig,
    pub(super) net: NoiseNet,
    /// The noisiest first.
    pub(super) levels: Vec<NoiseLevel>,
    pub(super) parameters: Parameters,
    pub(super) fitted: Fitted,
}

impl ScoreModel {
    /// An untrained model: the score of standard normal rows.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn new(config: ScoreConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let net = config.network()?;
        let mut p = vec![0.0; net.num_params()];
        net.init(&mut p, &mut Streams::from_rng(rng).stream(0));
        Ok(ScoreModel {
            levels: config.ladder(),
            net,
            parameters: Parameters::new(p),
            fitted: Fitted::new(config.dim, ConditionKind::None),
            config,
        })
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
    /// [`Error::Shape`](crate::Error::Shape) for a wrong number of columns,
    /// [`Error::NonFinite`](crate::Error::NonFinite) for a NaN or an infinity.
    pub fn score(&self, x: ArrayView2<f32>) -> Result<Array2<f32>> {
        let d = self.config.dim;
        check_rows("x", x, d)?;
        let mut s = x.as_standard_layout().into_owned();
        let level = *self.levels.last().expect("at least one level");
        let sigma = level.sigma / level.alpha;
        let rows = s.as_slice_mut().expect("standard layout");
        type Kept = (Vec<f32>, Vec<f32>, Vec<f64>, Pass<f32>);
        tiles::for_each_tile(rows, d, |(z, u, s, pass): &mut Kept, _, rows| {
            z.clear();
            z.extend_from_slice(rows);
            self.fitted.standardiser.standardise(z);
            let eps_hat = self.noise(&self.parameters.average, level, z, u, pass);
            for (x, eps_hat) in rows.chunks_exact_mut(d).zip(eps_hat.chunks_exact(d)) {
                s.clear();
                s.extend(eps_hat.iter().map(|&eps_hat| f64::from(-eps_hat) / sigma));
                self.fitted.standardiser.restore_score(x, s);
                x.iter_mut().zip(&*s).for_each(|(x, &s)| *x = s as f32);
            }
            Ok(())
        })?;
        Ok(s)
    }
}

impl Distribution for ScoreModel {
    fn card(&self) -> Card {
        let (name, objective) = match self.config.training {
            ScoreTraining::Denoising => ("NCSN", Objective::ScoreMatching),
            ScoreTraining::Sliced => ("score (sliced)", Objective::SlicedScoreMatching),
        };
        let steps = self.config.levels * self.config.steps_per_level + 1;
        Card::new(name, objective, Sampling::AnnealedLangevin { steps })
    }

    fn dim(&self) -> usize {
        self.config.dim
    }

    /// Draws rows. A temperature T scales the noise of the start and of every move by √T, as if the chain of
    /// a level were to sample p_σ^{1/T}.
    fn sample(&self, n: usize, options: &SampleOptions, rng: &mut dyn RngCore) -> Result<Samples> {
        tiles::sample(self, n, options, rng)
    }

    fn sample_each(
        &self,
        n: u64,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
        sink: &mut dyn FnMut(ArrayView2<f32>) -> ControlFlow<()>,
    ) -> Result<()> {
        tiles::sample_each(self, n, options, rng, sink)
    }

    /// [`LogLikelihood::Unavailable`], for any valid rows: no formula gives the density of what a ladder of
    /// noisy moves draws. The scores have a probability-flow ODE, whose density is what
    /// [`Diffusion`](crate::Diffusion) scores by the same network; its rows are another sampler's.
    fn log_likelihood(&self, x: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        check_rows("x", x, self.dim())?;
        Ok(LogLikelihood::Unavailable)
    }
}

impl Generative for ScoreModel {
    fn num_params(&self) -> usize {
        self.net.num_params()
    }

    /// Learns the score at every level of the ladder, each as often, weighted by σ².
    ///
    /// The sliced loss is, in the mean, the denoising loss less 1: both are measured per column.
    fn train(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let rows = Rows::prepare(data, &self.fitted, options, rng)?;
        self.fitted = rows.fitted.clone();
        let denoising = NoiseMse { net: &self.net, levels: Levels::Timesteps(&self.levels) };
        let (parameters, optimiser) = (&mut self.parameters, &self.config.optimiser);
        match self.config.training {
            ScoreTraining::Denoising => {
                engine::fit(denoising, parameters, &rows, optimiser, options, observer)
            }
            ScoreTraining::Sliced => {
                engine::fit(SlicedScore(denoising), parameters, &rows, optimiser, options, observer)
            }
        }
    }
}

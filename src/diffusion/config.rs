use super::sampler::MOST_STEPS;
use super::{Finish, Grid, ReverseVariance, Sampler, Schedule, Solver};
use crate::engine::OptimizerConfig;
use crate::error::{Result, check};
use crate::map::{Card, Objective, Paradigm, Sampling};
use crate::model::{ConditionKind, TraceEstimator};
use crate::nn::limits::{check_time_features, check_width};
use crate::nn::{Activation, NetworkSpec};

/// What a [`Diffusion`](super::Diffusion) is made of. Lengths are in standard deviations of the columns, on
/// which the network works.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct DiffusionConfig {
    /// Columns of a row. 1 to 65,536. Default 2.
    pub dim: usize,
    /// The network v: see [`NetworkSpec`]. Its Fourier features fade out where the noise hides them. At most 2²⁸
    /// parameters. Default a perceptron of three layers of 128 with SiLU, and 4 octaves.
    pub network: NetworkSpec,
    /// Sines and cosines that embed the noise level. Even, 2 to 65,536. Default 32.
    pub time_features: usize,
    /// How fast the noise grows. Default [`Schedule::Cosine`].
    pub schedule: Schedule,
    /// The timesteps T of the schedule, which is what [`Sampler::Ddpm`] takes. 1 to 1,000,000. Default 1000
    /// (Ho et al. 2020).
    pub timesteps: usize,
    /// The smallest noise: training, likelihood and the samplers of continuous time go down to it, and detail
    /// finer than it is not seen. 1e-6 up to, not including, 0.5. Default 0.002.
    pub sigma_min: f64,
    /// Which noise levels training visits. Default [`TrainingNoise::LogSnr`].
    pub training_noise: TrainingNoise,
    /// How rows are drawn. Default [`Sampler::Ddpm`].
    pub sampler: Sampler,
    /// The noise levels that the sampler visits. Default [`Grid::Own`], the sampler's.
    #[cfg_attr(feature = "safetensors", serde(skip_serializing_if = "Grid::is_own"))]
    pub grid: Grid,
    /// The variance of DDPM's steps. Default [`ReverseVariance::Beta`].
    pub reverse_variance: ReverseVariance,
    /// How samplers take the last of the noise away. Default [`Finish::Flow`].
    pub finish: Finish,
    /// How the density goes on beyond the network's reach. Default [`Beyond::Normal`].
    pub beyond: Beyond,
    /// How the likelihood's ODE is solved. Default Dormand–Prince with rtol = atol = 1e-5: on narrow modes on
    /// average within 1e-3 nats of a much finer solution. With [`Solver::Fixed`] the result names ∞ as its
    /// tolerance: nothing watches the error.
    pub solver: Solver,
    /// How its divergence is computed. Default `None`: exact up to 16 columns, with 4 of Hutchinson's probes
    /// above.
    pub divergence: Option<TraceEstimator>,
    /// Whether the first training takes away the correlations of the columns
    /// ([`Standardizer::whitened`](crate::engine::Standardizer::whitened)): an untrained network, whose v = 0 is the
    /// noise of N(0, I), is then right about one Gaussian, and has only to learn what that misses. Lengths are then
    /// in standard deviations of what is left of a column. Default true.
    pub whiten: bool,
    /// What rows are conditioned on. Default [`ConditionKind::None`].
    #[cfg_attr(feature = "safetensors", serde(skip_serializing_if = "ConditionKind::is_none"))]
    pub condition: ConditionKind,
    /// The share of training rows whose condition is dropped (Ho & Salimans 2022): what the network learns from them
    /// is p(x), and [`Guidance`](super::Guidance) against it. Without a condition it means nothing. 0 up to, not
    /// including, 1. Default 0.1.
    pub condition_dropout: f64,
    /// What has gone on with the model after its training: noted by [`fine_tune`](crate::hybrid::fine_tune), for the
    /// model's card. Default `None`.
    #[cfg_attr(feature = "safetensors", serde(skip_serializing_if = "Option::is_none"))]
    pub fine_tuned: Option<FineTuning>,
    /// How the parameters move. Default: a learning rate of 5e-3, the rest as [`OptimizerConfig`].
    #[cfg_attr(feature = "safetensors", serde(alias = "optimiser"))]
    pub optimizer: OptimizerConfig,
}

/// How the density goes on where no data teach the network anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Beyond {
    /// The network's part of ε̂ fades out from 12 to 18 standard deviations. A row with a coordinate beyond has
    /// the density of N(0, I) in standard units.
    Normal,
    /// Beyond 20 standard deviations ε̂ is the noise of a point at 20. The density falls off from there within
    /// `sigma_min`, to −2·10⁵ nats one standard deviation farther. It is what files of format 1 mean.
    Point,
}

/// Which noise levels training visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum TrainingNoise {
    /// Those of the timesteps, each as often (Ho et al. 2020, algorithm 1). Of the cosine schedule's, one in
    /// a hundred has noise below 0.025. Below the first timestep's the network is not trained.
    Timesteps,
    /// λ uniform, from −5 to that of `sigma_min`: every factor of noise as often, which makes the loss a
    /// bound on the likelihood (Kingma et al. 2021). On narrow modes it learns much faster.
    LogSnr,
}

/// By which critic a diffusion was fine-tuned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum FineTuning {
    /// Its own log-ratio to what it was before.
    Implicit,
    /// Another network.
    Explicit,
}

impl FineTuning {
    /// The card of a diffusion that is drawn and scored as before, and has learned from a critic, too.
    pub(super) fn on_card(self, card: Card) -> Card {
        let critic = match self {
            FineTuning::Implicit => Card {
                paradigm: Paradigm::Adversarial,
                ..Card::new("implicit critic", Objective::OffTheMap, Sampling::OnePass)
            },
            FineTuning::Explicit => Card::new("R3GAN", Objective::Relativistic, Sampling::OnePass),
        };
        let Card { sampling, nfe, latency, likelihood, .. } = card;
        let name = format!("{}, fine-tuned", card.name);
        Card { sampling, nfe, latency, likelihood, ..Card::composed(name, vec![card, critic]) }
    }
}

impl Default for DiffusionConfig {
    fn default() -> Self {
        DiffusionConfig {
            dim: 2,
            network: NetworkSpec::mlp([128; 3], Activation::Silu, 4),
            time_features: 32,
            schedule: Schedule::Cosine,
            timesteps: 1000,
            sigma_min: 0.002,
            training_noise: TrainingNoise::LogSnr,
            sampler: Sampler::Ddpm,
            grid: Grid::Own,
            reverse_variance: ReverseVariance::Beta,
            finish: Finish::Flow,
            beyond: Beyond::Normal,
            solver: Solver::DormandPrince { rtol: 1e-5, atol: 1e-5 },
            divergence: None,
            whiten: true,
            condition: ConditionKind::None,
            condition_dropout: 0.1,
            fine_tuned: None,
            optimizer: OptimizerConfig { lr: 5e-3, ..OptimizerConfig::default() },
        }
    }
}

impl DiffusionConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check_width("DiffusionConfig::dim", self.dim)?;
        check_time_features("DiffusionConfig::time_features", self.time_features)?;
        self.condition.validate("DiffusionConfig::condition")?;
        check_dropout("DiffusionConfig::condition_dropout", self.condition_dropout)?;
        let columns = (self.dim, self.condition.width(), self.time_features);
        self.network.check_vector_field("DiffusionConfig::network", columns)?;
        self.schedule.validate()?;
        let counts = (1..=MOST_STEPS).contains(&self.timesteps);
        check(counts, "DiffusionConfig::timesteps", self.timesteps, "1 to 1,000,000")?;
        check(
            (1e-6..0.5).contains(&self.sigma_min),
            "DiffusionConfig::sigma_min",
            self.sigma_min,
            "1e-6 or more, less than 0.5",
        )?;
        let last = self.schedule.levels(self.timesteps)[self.timesteps].sigma;
        check(
            self.sigma_min < last,
            "DiffusionConfig::sigma_min",
            self.sigma_min,
            "less than the noise at the schedule's end",
        )?;
        TraceEstimator::validate(self.divergence, "DiffusionConfig::divergence")?;
        self.check_sampler()?;
        self.solver.validate()?;
        self.optimizer.validate()
    }

    /// That the sampler can be run, on the grid.
    pub(super) fn check_sampler(&self) -> Result<()> {
        self.sampler.validate(self.timesteps)?;
        self.grid.validate(self)
    }
}

/// That a share of conditions can be dropped.
pub(super) fn check_dropout(field: &'static str, share: f64) -> Result<()> {
    check((0.0..1.0).contains(&share), field, share, "0 or more, less than 1")
}

//! Diffusion: learn to take noise away, a little at a time.
//!
//! **Forward.** A row x₀ of data is blurred in T steps, x_t = √(1 − β_t) x_{t−1} + √β_t ε, so that with ᾱ_t =
//! Π (1 − β)
//!
//! x_t = α x₀ + σ ε, α² = ᾱ_t, σ² = 1 − ᾱ_t, ε ~ N(0, I),
//!
//! and x_T is all but standard normal ([`Schedule`]).
//!
//! **Objective.** A network guesses the noise from the noisy row: E ‖ε − ε̂(x_t, t)‖² (Ho et al. 2020, eq.
//! 14). The best guess is ε̂ = −σ ∇ ln p_t(x), so it has learned the score of the blurred data at every level
//! of noise. What tells the network t is the log signal-to-noise ratio λ = ln(α²/σ²): it means the same under
//! every schedule, and training may draw any value of it. Drawn uniformly, the loss is, up to a factor and a
//! constant, the bound on −log p(x₀) itself (Kingma et al. 2021, section 5).
//!
//! **Sampling** ([`Sampler`]). From x_T ~ N(0, I) down. DDPM goes back all T steps (Ho et al. 2020, algorithm
//! 2):
//!
//! x_{t−1} = (x_t − β_t/σ_t · ε̂)/√(1 − β_t) + c ξ.
//!
//! DDIM estimates x₀ and jumps (Song et al. 2021a, eq. 12), so that ten steps may do:
//!
//! x₀ ≈ (x − σ ε̂)/α, x′ = α′ x₀ + √(σ′² − c²) ε̂ + c ξ.
//!
//! The same trained network serves both: [`Diffusion::with_sampler`].
//!
//! **Likelihood.** The probability-flow ODE carries the data to the noise without any chance, and a change of
//! variables along it gives the density (Song et al. 2021b, eq. 39):
//!
//! dz/dt = ½ (d ln ᾱ/dt) (z − ε̂/σ), log p(x₀) = log N(z_T; 0, I) + ∫ ∇·(dz/dt) dt.
//!
//! **What goes wrong.** Sampling costs a network evaluation per step, and few steps lose detail. Detail finer
//! than the smallest noise is not seen. The density of the ODE is that of noiseless sampling: a network whose
//! ε̂ is right on average but rough gives good samples and a poor likelihood, for the divergence feels the
//! roughness.
//!
//! Papers: Ho et al. 2020, *Denoising diffusion probabilistic models*; Song et al. 2021a, *Denoising
//! diffusion implicit models*; Song et al. 2021b, *Score-based generative modeling through SDEs*; Kingma et
//! al. 2021,
//! *Variational diffusion models*.

mod likelihood;
pub(crate) mod network;
pub(crate) mod objective;
mod sampling;
mod schedule;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::ArrayView2;
use rand::RngCore;

pub use self::sampling::{ReverseVariance, Sampler};
pub use self::schedule::{NoiseLevel, Schedule};
pub use crate::numeric::ode::Solver;

use self::likelihood::ByNetwork;
use self::network::{NoiseNet, REACH};
use self::objective::{Levels, NoiseMse};
use self::sampling::Update;
use crate::data::Standardiser;
use crate::error::{Result, check};
use crate::generative::{
    Dataset, Divergence, Generative, LikelihoodOptions, LogLikelihood, Observer, SampleOptions, Samples,
    TrainOptions, TrainReport, check_rows,
};
use crate::map::{Card, Objective, Sampling};
use crate::nn::{Activation, most_octaves};
use crate::numeric::rng::Streams;
use crate::numeric::tiles;
use crate::train::{OptimiserConfig, Parameters, Rows, fit};

/// What a [`Diffusion`] is made of. Lengths are in standard deviations of the columns, on which the network
/// works.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffusionConfig {
    /// Columns of a row. At least 1. Default 2.
    pub dim: usize,
    /// Units of each hidden layer. At least one layer of at least one unit. Default `[128, 128, 128]`.
    pub hidden: Vec<usize>,
    /// Between the layers. Default [`Activation::Silu`].
    pub activation: Activation,
    /// Fourier features of each coordinate: sin and cos of 2ᵏ rad, k = 0 … octaves − 1, beside the coordinate
    /// itself, faded out where the noise hides them. Structure of width w needs 2ᵏ near 1/w. 0 (raw
    /// coordinates) to 13. Default 4.
    pub octaves: usize,
    /// Sines and cosines that embed the noise level. Even, at least 2. Default 32.
    pub time_features: usize,
    /// How fast the noise grows. Default [`Schedule::Cosine`].
    pub schedule: Schedule,
    /// The timesteps T of the schedule, which is what [`Sampler::Ddpm`] takes. At least 1. Default 1000 (Ho
    /// et al. 2020).
    pub steps: usize,
    /// The smallest noise: training and likelihood go down to it, and detail finer than it is not seen. More
    /// than 0, less than 0.5. Default 0.002.
    pub sigma_min: f64,
    /// Which noise levels training visits. Default [`TrainingNoise::LogSnr`].
    pub training_noise: TrainingNoise,
    /// How rows are drawn. Default [`Sampler::Ddpm`].
    pub sampler: Sampler,
    /// The variance of DDPM's steps. Default [`ReverseVariance::Beta`].
    pub reverse_variance: ReverseVariance,
    /// How the likelihood's ODE is solved. Default Dormand–Prince with rtol = atol = 1e-5: on narrow modes on
    /// average within 1e-3 nats of a much finer solution. With [`Solver::Rk4`] the result names ∞ as its
    /// tolerance: nothing watches the error.
    pub solver: Solver,
    /// How its divergence is computed. Default `None`: exact up to 16 columns, with 4 of Hutchinson's probes
    /// above.
    pub divergence: Option<Divergence>,
    /// How the parameters move. Default: a learning rate of 5e-3, the rest as [`OptimiserConfig`].
    pub optimiser: OptimiserConfig,
}

/// Which noise levels training visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainingNoise {
    /// Those of the timesteps, each as often (Ho et al. 2020, algorithm 1). Of the cosine schedule's, one in
    /// a hundred has noise below 0.025.
    Timesteps,
    /// λ uniform, from −5 to that of `sigma_min`: every factor of noise as often, which makes the loss a
    /// bound on the likelihood (Kingma et al. 2021). On narrow modes it learns much faster.
    LogSnr,
}

impl Default for DiffusionConfig {
    fn default() -> Self {
        DiffusionConfig {
            dim: 2,
            hidden: vec![128; 3],
            activation: Activation::Silu,
            octaves: 4,
            time_features: 32,
            schedule: Schedule::Cosine,
            steps: 1000,
            sigma_min: 0.002,
            training_noise: TrainingNoise::LogSnr,
            sampler: Sampler::Ddpm,
            reverse_variance: ReverseVariance::Beta,
            solver: Solver::DormandPrince { rtol: 1e-5, atol: 1e-5 },
            divergence: None,
            optimiser: OptimiserConfig { lr: 5e-3, ..OptimiserConfig::default() },
        }
    }
}

/// Where training with [`TrainingNoise::LogSnr`] ends on the side of the noise (Kingma et al. 2021 start
/// there): beyond it α is at most 0.082, and the network's part in ε̂ fades with α.
const LOG_SNR_END: f64 = -5.0;

/// Columns up to which the divergence is exact by default, and Hutchinson's probes above.
const EXACT_UP_TO: usize = 16;
const PROBES: usize = 4;

impl DiffusionConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check(self.dim >= 1, "DiffusionConfig::dim", self.dim, "at least 1")?;
        check(
            !self.hidden.is_empty() && self.hidden.iter().all(|&h| h >= 1),
            "DiffusionConfig::hidden",
            &self.hidden,
            "at least one layer of at least one unit",
        )?;
        check(self.octaves <= most_octaves(REACH), "DiffusionConfig::octaves", self.octaves, "0 to 13")?;
        check(
            self.time_features >= 2 && self.time_features.is_multiple_of(2),
            "DiffusionConfig::time_features",
            self.time_features,
            "even, at least 2",
        )?;
        check(self.steps >= 1, "DiffusionConfig::steps", self.steps, "at least 1")?;
        check(
            self.sigma_min > 0.0 && self.sigma_min < 0.5,
            "DiffusionConfig::sigma_min",
            self.sigma_min,
            "more than 0, less than 0.5",
        )?;
        check(
            self.divergence != Some(Divergence::Hutchinson { probes: 0 }),
            "DiffusionConfig::divergence",
            self.divergence,
            "at least 1 probe",
        )?;
        self.sampler.validate(self.steps)?;
        self.solver.validate()?;
        self.activation.validate()?;
        self.optimiser.validate()
    }
}

/// A denoising diffusion model: one trained noise predictor, sampled in as many ways as wanted, with a
/// likelihood by the probability-flow ODE.
///
/// ```
/// use quadrivium::data::Toy;
/// use quadrivium::{Dataset, Diffusion, DiffusionConfig, Generative, SampleOptions, Sampler, Silent, TrainOptions};
///
/// let mut rng = quadrivium::seeded(0);
/// let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut rng))?;
/// let mut model = Diffusion::new(DiffusionConfig::default(), &mut rng)?;
/// model.train(&data, &TrainOptions { steps: 20, ..Default::default() }, &mut rng, &mut Silent)?;
///
/// // The same network, sampled in 10 steps instead of 1000.
/// let quick = model.with_sampler(Sampler::Ddim { steps: 10, eta: 0.0 })?;
/// let samples = quick.sample(3, &SampleOptions::default(), &mut rng)?;
/// assert_eq!((samples.x.dim(), samples.nfe), ((3, 2), 10));
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Diffusion {
    config: DiffusionConfig,
    net: NoiseNet,
    /// Of t = 0 … T.
    levels: Vec<NoiseLevel>,
    /// The sampler's steps.
    plan: Vec<Update>,
    fitted: Arc<Fitted>,
}

/// What training changes; views with other samplers share it.
#[derive(Debug, Clone)]
struct Fitted {
    parameters: Parameters,
    standardiser: Standardiser,
}

impl Diffusion {
    /// An untrained model, whose rows are standard normal.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn new(config: DiffusionConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let net = NoiseNet::new(&config)?;
        let mut p = vec![0.0; net.num_params()];
        net.init(&mut p, &mut Streams::from_rng(rng).stream(0));
        let levels = config.schedule.levels(config.steps);
        Ok(Diffusion {
            plan: config.sampler.plan(&levels, config.reverse_variance),
            fitted: Arc::new(Fitted {
                parameters: Parameters::new(p),
                standardiser: Standardiser::identity(config.dim),
            }),
            levels,
            net,
            config,
        })
    }

    /// What it was made with, and the sampler that it has now.
    pub fn config(&self) -> &DiffusionConfig {
        &self.config
    }

    /// The same model, sampled in another way. It shares the parameters until one of the two trains on.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a sampler out of range.
    pub fn with_sampler(&self, sampler: Sampler) -> Result<Self> {
        sampler.validate(self.config.steps)?;
        let plan = sampler.plan(&self.levels, self.config.reverse_variance);
        Ok(Diffusion { config: DiffusionConfig { sampler, ..self.config.clone() }, plan, ..self.clone() })
    }

    /// The log signal-to-noise ratios between which the likelihood's ODE runs: that of `sigma_min`, and that
    /// of the last timestep.
    fn log_snr_span(&self) -> (f64, f64) {
        (NoiseLevel::at_sigma(self.config.sigma_min).log_snr, self.levels[self.config.steps].log_snr)
    }
}

impl Generative for Diffusion {
    fn card(&self) -> Card {
        let steps = self.config.sampler.steps(self.config.steps);
        let name = match self.config.sampler {
            Sampler::Ddpm => format!("DDPM-{steps}"),
            Sampler::Ddim { eta: 0.0, .. } => format!("DDIM-{steps}"),
            Sampler::Ddim { eta, .. } => format!("DDIM-{steps}, η = {eta}"),
        };
        Card::new(name, Objective::NoisePrediction, Sampling::Denoising { steps })
    }

    fn dim(&self) -> usize {
        self.config.dim
    }

    fn num_params(&self) -> usize {
        self.net.num_params()
    }

    fn train(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        options.validate()?;
        let (quietest, noisiest) = self.log_snr_span();
        let timesteps = &self.levels[1..];
        let levels = match self.config.training_noise {
            TrainingNoise::Timesteps => Levels::Timesteps(timesteps),
            // Samplers visit the first timestep, which a fine schedule may set below `sigma_min`.
            TrainingNoise::LogSnr => {
                Levels::LogSnr(noisiest.max(LOG_SNR_END), quietest.max(timesteps[0].log_snr))
            }
        };
        let rows = Rows::prepare(data, &self.fitted.standardiser, options, rng)?;
        let Fitted { parameters, standardiser } = Arc::make_mut(&mut self.fitted);
        *standardiser = rows.standardiser.clone();
        let objective = NoiseMse { net: &self.net, levels };
        fit(&objective, parameters, &rows, &self.config.optimiser, options, observer)
    }

    /// Draws rows. A temperature T scales all noise that enters: x_T ~ N(0, T²I), and T·ξ for the ξ of each
    /// step.
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

    /// ln p(x) by the probability-flow ODE, as precise as the solver; one of its evaluations is a pass of the
    /// network with all tangents of the divergence, d of them where it is exact. A row beyond 10⁶ standard
    /// deviations is given −∞.
    fn log_likelihood(&self, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood> {
        let d = self.config.dim;
        check_rows("x", x, d)?;
        let Fitted { parameters, standardiser } = &*self.fitted;
        let divergence = self.config.divergence.unwrap_or(match d {
            ..=EXACT_UP_TO => Divergence::Exact,
            _ => Divergence::Hutchinson { probes: PROBES },
        });
        let (solver, span) = (self.config.solver, self.log_snr_span());
        let nfe = AtomicUsize::new(0);
        // Two tiles to a block: the solver fills the places of the rows that are done with rows that wait.
        let nats = tiles::score_blocks(2 * tiles::TILE, x, |first, scratch: &mut ScoreScratch, x, nats| {
            let ScoreScratch { z, flow, buffers } = scratch;
            z.clear();
            z.extend_from_slice(x);
            standardiser.standardise(z);
            let streams = Streams::new(options.seed);
            let p = &parameters.average;
            let mut network = ByNetwork::new(&self.net, p, divergence, streams, x, buffers);
            let spent = likelihood::log_density(solver, span, first, d, z, nats, flow, &mut network)?;
            nfe.fetch_max(spent, Ordering::Relaxed);
            nats.iter_mut().for_each(|nats| *nats += standardiser.log_det());
            Ok(())
        })?;
        let rtol = match solver {
            Solver::DormandPrince { rtol, .. } => rtol,
            Solver::Rk4 { .. } => f64::INFINITY,
        };
        Ok(LogLikelihood::OdeEstimate { nats, nfe: nfe.into_inner(), rtol, divergence })
    }
}

/// What a thread keeps from tile to tile.
#[derive(Default)]
struct ScoreScratch {
    z: Vec<f32>,
    flow: likelihood::Scratch,
    buffers: likelihood::Buffers,
}

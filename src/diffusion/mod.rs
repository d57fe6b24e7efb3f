//! Diffusion: learn to take noise away, a little at a time.
//!
//! Rows are blurred by more and more noise until nothing of them is left, and a network learns to guess the
//! noise at every level. Drawing goes the way back in steps, by any of several solvers; the likelihood is
//! an ODE along the same way.
//!
//! # Formula
//!
//! ```text
//! blur        x_t = α x₀ + σ ε,   ε ~ N(0, I),   t = 1 … T
//!             α² = ᾱ_t = Π (1 − β),   σ² = 1 − ᾱ_t
//! objective   E ‖ε − ε̂(x_t, t)‖²,   best guess ε̂ = −σ ∇ ln p_t(x)
//! DDPM        x_{t−1} = (x_t − β_t/σ_t · ε̂)/√(1 − β_t) + c ξ,   T steps
//! DDIM        x₀ ≈ (x − σ ε̂)/α,   x′ = α′ x₀ + √(σ′² − c²) ε̂ + c ξ
//! likelihood  dz/dt = ½ (d ln ᾱ/dt) (z − ε̂/σ)
//!             ln p(x₀) = ln N(z_T; 0, I) + ∫ ∇·(dz/dt) dt
//! ```
//!
//! x₀ is a row, β_t the variance added in step t ([`Schedule`]), ε̂ the network, ξ fresh noise of scale c,
//! p_t the density of the blurred rows, primes mark the next level (Ho et al. 2020, eq. 14 and algorithm 2;
//! Song et al. 2021a, eq. 12; Song et al. 2021b, eq. 39). What tells the network t is the log
//! signal-to-noise ratio λ = ln(α²/σ²): it means the same under every schedule, and training may draw any
//! value of it. Drawn uniformly, the loss is, up to a factor and a constant, the bound on −ln p(x₀) itself
//! (Kingma et al. 2021, section 5).
//!
//! **Sampling**: the same trained network serves every [`Sampler`], those of higher order and the
//! stochastic ones of [continuous time](Sde) too, on any [`Grid`] of noise levels: [`Diffusion::with_sampler`],
//! [`Diffusion::with_grid`]. What a step loses can be told from what the network gets wrong: [`sample_with`] draws with
//! the exact noise of a mixture in the network's place.
//!
//! **Conditions**: with a [`condition`](DiffusionConfig::condition) the network sees c beside x and λ, and a share of
//! the training rows has none, so that one network knows p(x|c) and p(x): [`Generative::given`], and without it p(x).
//! [`Guidance`] draws rows that answer c more strongly: [`Diffusion::with_guidance`]. Here are four of eight classes
//! on a ring, drawn by `examples/guidance.rs`:
//!
#![cfg_attr(doc, doc = include_str!("../../docs/pictures/guidance.svg"))]
//!
//!
//! **Networks**: any [`VectorField`] can take the place of the built-in perceptron: [`Diffusion::with_network`].
//!
//! **The family**: [flow matching](matching), [flow maps](flow_map) and the [score ladder](ladder) share the
//! networks, the losses and the solvers of this folder. They differ in the path from data to noise and in how they
//! draw. A flow map distills a diffusion into one step or a few.
//!
//! # Picture
//!
#![cfg_attr(doc, doc = include_str!("../../docs/pictures/diffusion_paths.svg"))]
//!
//! # Example
//!
//! One network, two samplers. DDIM without noise is a function of the first noise: with more steps the same
//! seed leads to the same rows. DDPM adds noise on the way, and does not.
//!
//! ```
//! use quadrivium::{worlds::Toy, *, seeded};
//!
//! let mut rng = seeded(0);
//! let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut rng))?;
//! let network = NetworkSpec::mlp([32, 32], Activation::Silu, 4);
//! let config = DiffusionConfig { network, timesteps: 200, ..Default::default() };
//! let mut ddpm = Diffusion::new(config, &mut rng)?;
//! ddpm.train(&data, &TrainOptions { steps: 200, ..Default::default() }, &mut rng, &mut NoObserver)?;
//!
//! let rows = |model: &Diffusion| model.sample(200, &SampleOptions::default(), &mut seeded(1));
//! let ddim = |steps| rows(&ddpm.with_sampler(Sampler::Ddim { steps, eta: 0.0 })?);
//! let (few, more, all) = (ddim(50)?, ddim(100)?, rows(&ddpm)?);
//! assert_eq!((few.nfe, more.nfe, all.nfe), (50, 100, 200));
//! let apart = |a: &Samples, b: &Samples| (&a.x - &b.x).mapv(f32::abs).mean().unwrap();
//! assert!(apart(&few, &more) < 0.1 * apart(&more, &all));
//! # Ok::<(), Error>(())
//! ```
//!
//! # What can go wrong
//!
//! - **Slow.** An evaluation per step: DDPM-1000 needs a thousand for a row, a VAE one. *Change*: the sampler.
//!   [`Sampler::DpmSolver`] in 20 steps takes a 50th of the evaluations, and so of the time, and its energy
//!   distance is at the floor, though fewer rows lie within 3σ of a mode than with 50 ([measured](crate::results)).
//! - **DDPM draws narrow modes a little too wide**: [`ReverseVariance`] says why.
//! - **Few steps are biased.** *See*: the spread within a mode ÷ the true one, which grows as DDIM takes fewer
//!   steps. Heun in very few steps fails worse: hardly any of its rows lie in a mode
//!   ([measured](crate::results)).
//! - **Detail finer than the smallest noise** is not seen: [`sigma_min`](DiffusionConfig::sigma_min), in
//!   standard deviations of a column. Samplers differ in how near they come to it: see [`Finish`]. A
//!   mode that is drawn too narrow lies within 3σ more often than the truth: read that share beside the
//!   spread.
//! - **Far rows.** The network learns nothing where there are no data. From 12 to 18 standard deviations its
//!   part of ε̂ fades out, and beyond, the density is the normal one: a row at 21 has −221 nats. Columns with
//!   heavy tails are bent before, so that few rows come there ([`Standardizer`](crate::engine::Standardizer)).
//! - **The likelihood is an estimate,** of noiseless sampling: a network whose ε̂ is right on average but
//!   rough gives good samples and a poor likelihood, for the divergence feels the roughness. A tolerance or
//!   probes come with it in [`LogLikelihood::OdeEstimate`]; beyond 16 columns probes make it noisy.
//! - **Diversity for fidelity.** [`Guidance`] trades them for rows with a condition: the larger its scale, the closer
//!   samples keep to their condition, and the less they vary. It draws from no density that could be named: at p(x|c) =
//!   N(0, 1) and p(x) = N(0, 2), DDIM's rows have the variance 2^(1 − w), DDPM's (2 − 2^(2 − 2w))/(2w − 1), and
//!   p(x|c)ʷ p(x)¹⁻ʷ would have 2/(w + 1) (`examples/guidance.rs`). A [`temperature`](SampleOptions::temperature) below
//!   1 trades them too, but badly where modes are separate: it leaves each mode as wide as before and draws the outer
//!   ones less often.
//!
//! # Papers
//!
//! Ho et al. 2020, [Denoising diffusion probabilistic models](https://arxiv.org/abs/2006.11239) · Nichol &
//! Dhariwal 2021, [Improved denoising diffusion probabilistic models](https://arxiv.org/abs/2102.09672) ·
//! Song et al. 2021a, [Denoising diffusion implicit models](https://arxiv.org/abs/2010.02502) · Song et al.
//! 2021b, [Score-based generative modeling through SDEs](https://arxiv.org/abs/2011.13456) · Kingma et al.
//! 2021, [Variational diffusion models](https://arxiv.org/abs/2107.00630) · Karras et al. 2022,
//! [Elucidating the design space of diffusion-based generative models](https://arxiv.org/abs/2206.00364) ·
//! Lu et al. 2022, [DPM-Solver++](https://arxiv.org/abs/2211.01095) · Ho & Salimans 2022, [Classifier-free diffusion
//! guidance](https://arxiv.org/abs/2207.12598) · Salimans & Ho 2022, [Progressive
//! distillation](https://arxiv.org/abs/2202.00512) · Kynkäänniemi et al. 2024, [Applying guidance in a limited
//! interval](https://arxiv.org/abs/2404.07724) · Karras et al. 2024, [Guiding a diffusion model with a bad version of
//! itself](https://arxiv.org/abs/2406.02507)

mod config;
pub mod flow_map;
mod guidance;
pub mod ladder;
mod likelihood;
pub mod matching;
mod network;
mod objective;
#[cfg(feature = "onnx")]
mod onnx;
mod path;
#[cfg(feature = "safetensors")]
mod persist;
mod predictor;
mod sampler;
mod sampling;
mod schedule;
mod sde;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ndarray::ArrayView2;
use rand::RngCore;

pub use self::config::{Beyond, DiffusionConfig, FineTuning, TrainingNoise};
pub use self::flow_map::{FlowMap, FlowMapConfig, LearnedGuidance, MapObjective, Teacher};
pub use self::guidance::{Against, Guidance};
pub use self::ladder::{ScoreConfig, ScoreModel, ScoreTraining};
pub use self::matching::{FlowMatching, FlowMatchingConfig, FlowSteps, Pairing, Source};
pub use self::predictor::NoisePredictor;
pub use self::sampler::{Finish, Grid, ReverseVariance, Sampler};
pub use self::sampling::sample_with;
pub use self::schedule::{NoiseLevel, Schedule};
pub use self::sde::{ProbabilityFlow, Sde};
pub use crate::numeric::ode::{Method, Solver};

use self::guidance::Guided;
use self::likelihood::Integration;
pub(crate) use self::network::{At, Noise, NoiseNet, Pass};
pub(crate) use self::objective::{Drawn, Ends, Levels, NoiseMse, Scratch as MseScratch, drop_conditions};
pub(crate) use self::path::{Noising, Path};
pub(crate) use self::predictor::Trained;
pub(crate) use self::sampler::{Estimate, Plan, Scratch};
pub(crate) use self::sampling::reverse;
use crate::engine::transport::standard_normal;
use crate::engine::{Fitted, Given, Parameters, RowStreams, Rows, fit};
use crate::error::Result;
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::nn::VectorField;
use crate::numeric::rng::Streams;

/// Where training with [`TrainingNoise::LogSnr`] ends on the side of the noise (Kingma et al. 2021 start
/// there): beyond it α is at most 0.082, and the network's part in ε̂ fades with α.
const LOG_SNR_END: f64 = -5.0;

/// A denoising diffusion model: one trained noise predictor, sampled in as many ways as wanted, with a
/// likelihood by the probability-flow ODE.
///
/// ```
/// use quadrivium::worlds::Toy;
/// use quadrivium::*;
///
/// let mut rng = quadrivium::seeded(0);
/// let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut rng))?;
/// let mut model = Diffusion::new(DiffusionConfig::default(), &mut rng)?;
/// model.train(&data, &TrainOptions { steps: 20, ..Default::default() }, &mut rng, &mut NoObserver)?;
///
/// // The same network, sampled in 10 steps instead of 1000.
/// let quick = model.with_sampler(Sampler::Ddim { steps: 10, eta: 0.0 })?;
/// let samples = quick.sample(3, &SampleOptions::default(), &mut rng)?;
/// assert_eq!((samples.x.dim(), samples.nfe), ((3, 2), 10));
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Diffusion {
    pub(crate) config: DiffusionConfig,
    pub(crate) net: NoiseNet,
    /// Of t = 0 … T.
    pub(crate) levels: Vec<NoiseLevel>,
    /// The sampler's steps.
    pub(crate) plan: Plan,
    pub(crate) guidance: Option<Arc<Guidance<Diffusion>>>,
    pub(crate) learned: Arc<Learned>,
}

/// What training changes; views share it.
#[derive(Debug, Clone)]
pub(crate) struct Learned {
    pub(crate) parameters: Parameters,
    pub(crate) fitted: Fitted,
}

impl Learned {
    /// With random parameters.
    fn new<P: network::Parametrization>(
        net: &network::PathNet<f32, P>,
        condition: ConditionKind,
        rng: &mut dyn RngCore,
    ) -> Arc<Self> {
        let mut p = vec![0.0; net.num_params()];
        net.init(&mut p, &mut Streams::from_rng(rng).stream(0));
        Arc::new(Learned { parameters: Parameters::new(p), fitted: Fitted::new(net.dim(), condition) })
    }
}

impl Diffusion {
    /// An untrained model, whose rows are standard normal.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn new(config: DiffusionConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let net = NoiseNet::new(&config)?;
        let learned = Learned::new(&net, config.condition, rng);
        Ok(Self::of(config, net, learned))
    }

    /// The same with a network of your own: it outputs v at rows x = α x₀ + σ ε, of which the noise ε̂ = σ x + α v is
    /// made, and is told λ as the time and σ as the blur. The config's `hidden`, `activation`, `octaves` and
    /// `time_features` describe the built-in network and mean nothing here. The model cannot be saved to a file.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range, or if the network has other columns
    /// or conditions than the config.
    pub fn with_network(
        config: DiffusionConfig,
        network: Arc<dyn VectorField>,
        rng: &mut dyn RngCore,
    ) -> Result<Self> {
        config.validate()?;
        let shape = (config.dim, 1, config.condition.width());
        let net = NoiseNet::foreign(
            network,
            shape,
            NoiseNet::<f32>::fades(&config),
            NoiseNet::<f32>::how(&config),
        )?;
        let learned = Learned::new(&net, config.condition, rng);
        Ok(Self::of(config, net, learned))
    }

    fn of(config: DiffusionConfig, net: NoiseNet, learned: Arc<Learned>) -> Self {
        let levels = config.schedule.levels(config.timesteps);
        let plan = Plan::new(&config, &levels);
        Diffusion { config, net, levels, plan, guidance: None, learned }
    }

    /// What it was made with, and the sampler that it has now.
    pub fn config(&self) -> &DiffusionConfig {
        &self.config
    }

    /// The same model, sampled in another way. It shares the parameters until one of the two trains on.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a sampler out of range, or one that cannot run on the model's grid.
    pub fn with_sampler(&self, sampler: Sampler) -> Result<Self> {
        self.sampled(DiffusionConfig { sampler, ..self.config.clone() })
    }

    /// The same model, sampled at other noise levels. It shares the parameters until one of the two trains on.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a grid on which the model's sampler cannot run.
    ///
    /// ```
    /// use quadrivium::diffusion::Grid;
    /// use quadrivium::{*, seeded};
    ///
    /// let model = Diffusion::new(DiffusionConfig::default(), &mut seeded(0))?;
    /// let quick = model.with_sampler(Sampler::DpmSolver { steps: 4 })?;
    /// let karras = quick.with_grid(Grid::Karras)?;
    /// let listed = quick.with_grid(Grid::Levels(vec![80.0, 8.0, 0.8, 0.08]))?;
    /// assert_eq!((karras.card().nfe, listed.card().nfe), (4, 4));
    /// assert!(quick.with_grid(Grid::Levels(vec![80.0, 8.0])).is_err(), "a level for each step");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with_grid(&self, grid: Grid) -> Result<Self> {
        self.sampled(DiffusionConfig { grid, ..self.config.clone() })
    }

    fn sampled(&self, config: DiffusionConfig) -> Result<Self> {
        config.check_sampler()?;
        Ok(Diffusion { plan: Plan::new(&config, &self.levels), config, ..self.clone() })
    }

    /// The same model with [`Guidance`]: its draws answer their condition more strongly. It has no likelihood. It
    /// shares the parameters until one of the two trains on.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a field out of range, and for guidance against what the model does
    /// not know.
    ///
    /// ```
    /// use quadrivium::diffusion::Guidance;
    /// use quadrivium::{*, ndarray::{Array1, Array2}};
    ///
    /// // Rows of class k are about k.
    /// let mut rng = quadrivium::seeded(0);
    /// let class = |row: usize| (row % 2) as u32;
    /// let x = Array2::from_shape_fn((400, 1), |(row, _)| class(row) as f32 + 0.3 * (row as f32).sin());
    /// let data = Dataset::new(x)?.with_condition(Condition::Class(Array1::from_shape_fn(400, class)))?;
    /// let config = DiffusionConfig {
    ///     dim: 1,
    ///     network: NetworkSpec::mlp([32, 32], Activation::Silu, 4),
    ///     condition: ConditionKind::Class { classes: 2 },
    ///     sampler: Sampler::Ddim { steps: 20, eta: 0.0 },
    ///     ..Default::default()
    /// };
    /// let mut model = Diffusion::new(config, &mut rng)?;
    /// model.train(&data, &TrainOptions { steps: 200, ..Default::default() }, &mut rng, &mut NoObserver)?;
    ///
    /// let guided = model.with_guidance(Guidance { scale: 3.0, ..Default::default() })?;
    /// assert_eq!((model.card().nfe, guided.card().nfe), (20, 40));
    /// let mean = |model: &Diffusion| -> Result<f32> {
    ///     Ok(model.given(&Condition::class(1))?.draw(200, &mut quadrivium::seeded(1))?.mean().unwrap())
    /// };
    /// assert!(mean(&guided)? > mean(&model)?);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn with_guidance(&self, guidance: Guidance<Diffusion>) -> Result<Self> {
        let alone = self.knows_no_condition() && !self.config.condition.is_none();
        guidance.validate(alone, |weaker| weaker.learned.fitted == self.learned.fitted)?;
        Ok(Diffusion { guidance: Some(Arc::new(guidance)), ..self.clone() })
    }

    /// The averaged parameters, under conditions.
    fn network<'a>(&'a self, c: &'a [f32]) -> Trained<'a, f32, Noise> {
        Trained { net: &self.net, p: &self.learned.parameters.average, c }
    }

    /// The network that draws.
    fn guided<'a>(&'a self, c: &'a [f32]) -> Guided<'a, Noise> {
        let guide = self.guidance.as_ref().map(|guidance| guidance.guide(|weaker| weaker.network(c)));
        Guided { network: self.network(c), guide }
    }

    /// The λ between which training takes its noise levels, from the side of the noise.
    pub(crate) fn training_span(config: &DiffusionConfig, levels: &[NoiseLevel]) -> (f64, f64) {
        let ((quietest, noisiest), first) = (log_snr_span(config, levels), levels[1].log_snr);
        let end = match config.training_noise {
            TrainingNoise::Timesteps => first,
            // Samplers visit the first timestep, which a fine schedule may set below `sigma_min`.
            TrainingNoise::LogSnr => quietest.max(first),
        };
        (noisiest.max(LOG_SNR_END), end)
    }

    /// Where training takes its noise levels from.
    pub(crate) fn training_levels<'a>(config: &DiffusionConfig, levels: &'a [NoiseLevel]) -> Levels<'a> {
        match config.training_noise {
            TrainingNoise::Timesteps => Levels::Timesteps(&levels[1..]),
            TrainingNoise::LogSnr => {
                let (from, to) = Self::training_span(config, levels);
                Levels::LogSnr(from, to)
            }
        }
    }
}

/// The log signal-to-noise ratios between which the likelihood's ODE runs: that of `sigma_min`, and that of the
/// last of the levels.
fn log_snr_span(config: &DiffusionConfig, levels: &[NoiseLevel]) -> (f64, f64) {
    (NoiseLevel::at_sigma(config.sigma_min).log_snr, levels[levels.len() - 1].log_snr)
}

/// A temperature T scales all noise that enters a draw: x_T ~ N(0, T²I), and T·ξ for the ξ of each step.
///
/// ln p(x) is by the probability-flow ODE, as precise as the solver; one of its evaluations is a pass of the network
/// with all tangents of the divergence, d of them where it is exact. A row with a coordinate beyond 18 standard
/// deviations has the normal density in standard units; from 12 on the network's part fades out
/// ([`DiffusionConfig::beyond`]).
impl Paradigm for Diffusion {
    type Workspace = Scratch<f32, guidance::Workspace>;

    fn place(&self) -> Card {
        let name = self.config.sampler.name(self.config.timesteps) + self.config.grid.name();
        let guided = self.guided(&[]);
        let steps = self.plan.levels().map(|level| guided.cost(level)).sum();
        let card = Card::new(name, Objective::NoisePrediction, Sampling::Denoising { steps });
        let card = guidance::on_card(card, self.guidance.as_deref());
        match self.config.fine_tuned {
            None => card,
            Some(how) => how.on_card(card),
        }
    }

    fn count_params(&self) -> usize {
        self.net.num_params()
    }

    fn fitted(&self) -> &Fitted {
        &self.learned.fitted
    }

    fn learn(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let rows = Rows::whitened(data, &self.learned.fitted, self.config.whiten, options, rng)?;
        let Learned { parameters, fitted } = Arc::make_mut(&mut self.learned);
        *fitted = rows.fitted.clone();
        let ends = Self::training_levels(&self.config, &self.levels);
        let loss = NoiseMse { net: &self.net, ends, dropout: self.config.condition_dropout };
        fit(loss, parameters, &rows, &self.config.optimizer, options, observer)
    }

    fn draw_tile(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        scratch: &mut Self::Workspace,
        x: &mut [f32],
    ) -> usize {
        sampling::reverse(&self.guided(c), &self.plan, temperature, streams, scratch, x, |_| {})
    }

    fn score(&self, c: Given<'_>, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood> {
        if self.guidance.is_some() {
            return Ok(LogLikelihood::Unavailable);
        }
        let DiffusionConfig { solver, divergence, .. } = self.config;
        let integration = Integration { span: log_snr_span(&self.config, &self.levels), solver, divergence };
        let Learned { parameters, fitted } = &*self.learned;
        let network = (&self.net, &parameters.average[..]);
        let units = &fitted.standardizer;
        likelihood::log_likelihood(network, integration, units, c, x, options, standard_normal)
    }

    fn knows_no_condition(&self) -> bool {
        self.config.condition_dropout > 0.0
    }
}

//! Flow matching: learn the velocity that carries one distribution to another.
//!
//! A row of a source and a row of the data are joined by a straight line, and a network learns the mean
//! velocity of all such lines at each place and time. Rows are drawn by an ODE along it, from any source;
//! its likelihood is the same ODE backward.
//!
//! # Formula
//!
//! ```text
//! lines       x_t = (1 − t) x₀ + t x₁,   dx_t/dt = x₁ − x₀,   0 ≤ t ≤ 1
//! objective   E ‖v̂(x_t, t) − (x₁ − x₀)‖²,   best guess v = E[x₁ − x₀ | x_t = x]
//! sampling    dx/dt = v̂(x, t) from x₀ at t = 0 to t = 1
//! likelihood  ln p(x₁) = ln p₀(x₀) − ∫ ∇·v̂ dt,   along the ODE
//! ```
//!
//! x₀ is a row of the source with density p₀ ([`Source`]), x₁ a row of the data, v̂ the network (Lipman et
//! al. 2023, eq. 23; Liu et al. 2023, eq. 1; likelihood: Chen et al. 2018, theorem 1). Lines cross, so v̂
//! learns their mean velocity, and that is what makes it right: v moves the source's density through the
//! same densities as the lines (Lipman et al. 2023, theorems 1 and 2).
//!
//! **Pairing**: which x₀ goes with which x₁ is free, as long as each comes with its own distribution
//! ([`Pairing`]). Matched in each minibatch so that the lines are shortest, they hardly cross, the flow's
//! own paths are all but straight, and few steps follow them (Tong et al. 2024; Pooladian et al. 2023).
//!
//! **Conditions** and [`Guidance`] work as in a diffusion: [`FlowMatchingConfig::condition`],
//! [`FlowMatching::with_guidance`]. Rows with a condition are paired independently: matched across conditions, the
//! source rows of one condition would be no draws from the source.
//!
//! # Picture
//!
#![cfg_attr(doc, doc = include_str!("../../../docs/pictures/flow_matching_paths.svg"))]
//!
//! # Example
//!
//! How straight the flow is: what 2 steps lose against 50, with rows matched at random and by optimal
//! transport.
//!
//! ```
//! use quadrivium::diffusion::matching::{FlowSteps, Method};
//! use quadrivium::{worlds::Toy, *, seeded};
//!
//! let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut seeded(0)))?;
//! let lost = |pairing| -> Result<f32> {
//!     let mut rng = seeded(1);
//!     let network = NetworkSpec::mlp([64, 64], Activation::Silu, 4);
//!     let config = FlowMatchingConfig { network, pairing, ..Default::default() };
//!     let mut model = FlowMatching::new(config, &mut rng)?;
//!     model.train(&data, &TrainOptions { steps: 400, ..Default::default() }, &mut rng, &mut NoObserver)?;
//!     let rows = |steps| -> Result<_> {
//!         let quick = model.with_sampler(FlowSteps { method: Method::Euler, steps })?;
//!         Ok(quick.sample(500, &SampleOptions::default(), &mut seeded(2))?.x)
//!     };
//!     Ok((rows(2)? - rows(50)?).mapv(f32::abs).mean().unwrap())
//! };
//! let crossing = lost(Pairing::Independent)?;
//! let straight = lost(Pairing::OptimalTransport { rows: 128 })?;
//! assert!(4.0 * straight < crossing, "{straight} against {crossing}");
//! # Ok::<(), Error>(())
//! ```
//!
//! # What can go wrong
//!
//! - **Slow, or few steps.** As in a diffusion, rows cost a network evaluation a step: [`Samples::nfe`].
//!   *See*: rows of the same seed that move when the steps are doubled. *Change*:
//!   [`Pairing::OptimalTransport`], or [`Method::Rk4`], whose 25 steps (100 evaluations) reach the floor
//!   of the energy distance on a grid of 25 modes ([measured](crate::results)).
//! - **Bridges.** The flow is invertible and continuous: from a source in one piece it joins separate modes
//!   by thin bridges.
//! - **The likelihood is an ODE estimate** and as rough as v̂ is: on a grid of 25 modes it stays further from the
//!   truth than that of a flow in layers ([measured](crate::results)). From [`Source::Rows`], which have no density,
//!   there is none.
//! - **Far rows.** From a Gaussian source v̂ fades out from 12 to 18 standard deviations, and beyond, rows stay
//!   where they are: the density is the normal one. Columns with heavy tails are bent before, so that few rows
//!   come there ([`Standardizer`]).
//! - **Costly matching.** The exact matching costs the cube of its rows; matched in parts of a minibatch it
//!   is biased towards the independent one, the less the more rows.
//!
//! # Papers
//!
//! Lipman et al. 2023, [Flow matching for generative modeling](https://arxiv.org/abs/2210.02747) · Liu et
//! al. 2023, [Flow straight and fast](https://arxiv.org/abs/2209.03003) · Tong et al. 2024, [Improving and
//! generalizing flow-based generative models with minibatch optimal
//! transport](https://arxiv.org/abs/2302.00482) · Pooladian et al. 2023, [Multisample flow
//! matching](https://arxiv.org/abs/2304.14772) · Chen et al. 2018, [Neural ordinary differential
//! equations](https://arxiv.org/abs/1806.07366)

pub(super) mod network;
#[cfg(feature = "onnx")]
mod onnx;
#[cfg(feature = "safetensors")]
pub(super) mod persist;
mod sampling;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ndarray::ArrayView2;
use rand::RngCore;

pub use self::sampling::FlowSteps;
pub use self::source::Source;
pub use crate::numeric::ode::{Method, Solver};

use self::network::Velocity;
pub(super) use self::network::VelocityNet;
use super::Learned;
use super::config::check_dropout;
use super::guidance::{self, Guidance, Guided};
use super::likelihood::{Integration, log_likelihood};
use super::objective::{Ends, Regression};
use super::predictor::Trained;
use super::sampler::Scratch;
use crate::engine::{Fitted, Given, OptimizerConfig, RowStreams, Rows, Standardizer, TILE, fit};
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::nn::limits::{check_time_features, check_width};
use crate::nn::{Activation, NetworkSpec, VectorField};
use crate::numeric::Real;
use crate::numeric::assignment::Assignment;
use crate::numeric::rng::Rng;

/// What a [`FlowMatching`] is made of. Lengths are in standard deviations of the data's columns, on which the
/// network works.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct FlowMatchingConfig {
    /// Columns of a row. 1 to 65,536. Default 2.
    pub dim: usize,
    /// The network v: see [`NetworkSpec`]. At most 2²⁸ parameters. Default a perceptron of three layers of 128 with
    /// SiLU, and 4 octaves.
    pub network: NetworkSpec,
    /// Sines and cosines that embed the time. Even, 2 to 65,536. Default 32.
    pub time_features: usize,
    /// Where the flow starts. Default [`Source::Gaussian`], the only one that a file of a model can hold.
    #[cfg_attr(feature = "safetensors", serde(skip))]
    pub source: Source,
    /// Which source row goes with which row of the data. Default [`Pairing::Independent`].
    pub pairing: Pairing,
    /// How rows are drawn.
    pub sampler: FlowSteps,
    /// How the likelihood's ODE is solved. Default Dormand–Prince with rtol = atol = 1e-5. With
    /// [`Solver::Fixed`] the result names ∞ as its tolerance: nothing watches the error.
    pub solver: Solver,
    /// How its divergence is computed. Default `None`: exact up to 16 columns, with 4 of Hutchinson's probes
    /// above.
    pub divergence: Option<TraceEstimator>,
    /// Whether the first training takes away the correlations of the columns ([`Standardizer::whitened`]): the
    /// flow from N(0, I) then has a shorter way. Lengths are then in standard deviations of what is left of a
    /// column.
    /// Default true.
    pub whiten: bool,
    /// What rows are conditioned on. Default [`ConditionKind::None`].
    #[cfg_attr(feature = "safetensors", serde(skip_serializing_if = "ConditionKind::is_none"))]
    pub condition: ConditionKind,
    /// The share of training rows whose condition is dropped (Ho & Salimans 2022): what the network learns from them
    /// is p(x), and [`Guidance`] against it. Without a condition it means nothing. 0 up to, not including, 1. Default
    /// 0.1.
    pub condition_dropout: f64,
    /// How the parameters move. Default: a learning rate of 1e-2, the rest as [`OptimizerConfig`].
    #[cfg_attr(feature = "safetensors", serde(alias = "optimiser"))]
    pub optimizer: OptimizerConfig,
}

/// Which source row goes with which row of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Pairing {
    /// Any with any.
    Independent,
    /// Rows of a minibatch are matched so that Σ ‖x₁ − x₀‖² is least, in standard units, exactly (Tong et al.
    /// 2024, algorithm 3). The more rows together, the straighter the flow, at a cost that grows with their
    /// cube.
    OptimalTransport {
        /// Rows matched together, at most those of a shard. 2 to 65,536.
        rows: usize,
    },
}

impl Pairing {
    /// Refuses what cannot be matched, and a matching of rows with a condition.
    pub(super) fn validate(self, field: &'static str, condition: ConditionKind) -> Result<()> {
        let counts = !matches!(self, Pairing::OptimalTransport { rows: ..2 | 65_537.. });
        check(counts, field, self, "2 to 65,536 rows")?;
        // Matched across conditions, the source rows of one condition are no draws from the source.
        let alone = condition.is_none() || self == Pairing::Independent;
        check(alone, field, self, "Independent for rows with a condition")
    }

    /// Which of the far ends goes with each of the rows x, both (n, d); `None` where each has its own.
    pub(super) fn partners<'a, F: Real>(
        self,
        d: usize,
        x: &[F],
        ends: &[F],
        assignment: &'a mut Assignment,
    ) -> Option<&'a [usize]> {
        match self {
            // A row too far for this format has no finite cost, and will make the loss infinite.
            Pairing::OptimalTransport { .. } if ends.iter().chain(x).all(|x| x.is_finite()) => {
                Some(assignment.solve_squares(d, x, ends))
            }
            _ => None,
        }
    }

    /// Rows of a tile: those that are matched are seen together.
    pub(super) fn tile(self) -> usize {
        match self {
            Pairing::Independent => TILE,
            Pairing::OptimalTransport { rows } => rows,
        }
    }
}

impl Default for FlowMatchingConfig {
    fn default() -> Self {
        FlowMatchingConfig {
            dim: 2,
            network: NetworkSpec::mlp([128; 3], Activation::Silu, 4),
            time_features: 32,
            source: Source::Gaussian,
            pairing: Pairing::Independent,
            sampler: FlowSteps::default(),
            solver: Solver::DormandPrince { rtol: 1e-5, atol: 1e-5 },
            divergence: None,
            whiten: true,
            condition: ConditionKind::None,
            condition_dropout: 0.1,
            optimizer: OptimizerConfig { lr: 1e-2, ..OptimizerConfig::default() },
        }
    }
}

impl FlowMatchingConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check_width("FlowMatchingConfig::dim", self.dim)?;
        check_time_features("FlowMatchingConfig::time_features", self.time_features)?;
        self.condition.validate("FlowMatchingConfig::condition")?;
        check_dropout("FlowMatchingConfig::condition_dropout", self.condition_dropout)?;
        let columns = (self.dim, self.condition.width(), self.time_features);
        self.network.check_vector_field("FlowMatchingConfig::network", columns)?;
        check(
            self.source.dim().is_none_or(|dim| dim == self.dim),
            "FlowMatchingConfig::source",
            format!("{:?} columns", self.source.dim()),
            "as many columns as FlowMatchingConfig::dim",
        )?;
        self.pairing.validate("FlowMatchingConfig::pairing", self.condition)?;
        TraceEstimator::validate(self.divergence, "FlowMatchingConfig::divergence")?;
        self.sampler.validate()?;
        self.solver.validate()?;
        self.optimizer.validate()
    }
}

/// A continuous normalizing flow trained by flow matching, from any source to the data.
///
/// ```
/// use quadrivium::worlds::Toy;
/// use quadrivium::diffusion::matching::{FlowMatching, FlowMatchingConfig, FlowSteps, Method, Pairing, Source};
/// use quadrivium::{Dataset, Distribution, Generative, SampleOptions, NoObserver, TrainOptions};
///
/// // From two moons to eight Gaussians.
/// let mut rng = quadrivium::seeded(0);
/// let moons = Toy::moons(0.1)?;
/// let data = Dataset::new(Toy::ffjord8().sample(2_000, &mut rng))?;
/// let config = FlowMatchingConfig {
///     source: Source::Toy(moons.clone()),
///     pairing: Pairing::OptimalTransport { rows: 64 },
///     ..Default::default()
/// };
/// let mut model = FlowMatching::new(config, &mut rng)?;
/// model.train(&data, &TrainOptions { steps: 20, ..Default::default() }, &mut rng, &mut NoObserver)?;
///
/// // Where the flow takes these rows of the source.
/// let x0 = moons.sample(5, &mut rng);
/// assert_eq!(model.transport(x0.view())?.dim(), (5, 2));
/// // New rows, in ten steps.
/// let quick = model.with_sampler(FlowSteps { method: Method::Euler, steps: 10 })?;
/// assert_eq!(quick.sample(3, &SampleOptions::default(), &mut rng)?.nfe, 10);
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FlowMatching {
    pub(super) config: FlowMatchingConfig,
    pub(super) net: VelocityNet,
    pub(super) guidance: Option<Arc<Guidance<FlowMatching>>>,
    pub(super) learned: Arc<Learned>,
}

/// What a training draws: times, and source rows.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    pub(super) source: &'a Source,
    pub(super) units: &'a Standardizer,
    pub(super) pairing: Pairing,
}

impl Ends<f64> for Lines<'_> {
    fn level(&self, u: f64) -> f64 {
        u
    }

    fn draw<F: Real>(&self, d: usize, rng: &mut Rng, x0: &mut [F], row: &mut Vec<f64>) {
        row.resize(d, 0.0);
        for x0 in x0.chunks_exact_mut(d) {
            self.source.draw(self.units, rng, row);
            x0.iter_mut().zip(&*row).for_each(|(x0, &row)| *x0 = F::of(row));
        }
    }

    fn pairing(&self) -> Pairing {
        self.pairing
    }
}

impl FlowMatching {
    /// An untrained model, whose rows are those of its source.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn new(config: FlowMatchingConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let net = VelocityNet::new(&config)?;
        Ok(FlowMatching { learned: Learned::new(&net, config.condition, rng), guidance: None, net, config })
    }

    /// The same with a network of your own: it outputs the velocity at rows x_t, and is told the log signal-to-noise
    /// ratio of x_t as the time. The config's `hidden`, `activation`, `octaves` and `time_features` describe the
    /// built-in network and mean nothing here. The model cannot be saved to a file.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range, or if the network has other columns
    /// or conditions than the config.
    pub fn with_network(
        config: FlowMatchingConfig,
        network: Arc<dyn VectorField>,
        rng: &mut dyn RngCore,
    ) -> Result<Self> {
        config.validate()?;
        let (fades, how) = (VelocityNet::<f32>::fades(&config), VelocityNet::<f32>::how(&config));
        let net = VelocityNet::foreign(network, (config.dim, 1, config.condition.width()), fades, how)?;
        Ok(FlowMatching { learned: Learned::new(&net, config.condition, rng), guidance: None, net, config })
    }

    /// What it was made with, and the sampler that it has now.
    pub fn config(&self) -> &FlowMatchingConfig {
        &self.config
    }

    /// The same model, sampled in other steps. It shares the parameters until one of the two trains on.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for no steps.
    pub fn with_sampler(&self, sampler: FlowSteps) -> Result<Self> {
        sampler.validate()?;
        Ok(FlowMatching { config: FlowMatchingConfig { sampler, ..self.config.clone() }, ..self.clone() })
    }

    /// The same model with [`Guidance`]: its draws answer their condition more strongly. It has no likelihood. It
    /// shares the parameters until one of the two trains on.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a field out of range, and for guidance against what the model does
    /// not know.
    pub fn with_guidance(&self, guidance: Guidance<FlowMatching>) -> Result<Self> {
        let alone = self.knows_no_condition() && !self.config.condition.is_none();
        guidance.validate(alone, |weaker| weaker.learned.fitted == self.learned.fitted)?;
        Ok(FlowMatching { guidance: Some(Arc::new(guidance)), ..self.clone() })
    }

    /// The averaged parameters, under conditions.
    fn network<'a>(&'a self, c: &'a [f32]) -> Trained<'a, f32, Velocity> {
        Trained { net: &self.net, p: &self.learned.parameters.average, c }
    }

    /// The network that draws.
    fn guided<'a>(&'a self, c: &'a [f32]) -> Guided<'a, Velocity> {
        let guide = self.guidance.as_ref().map(|guidance| guidance.guide(|weaker| weaker.network(c)));
        Guided { network: self.network(c), guide }
    }
}

/// A temperature T scales the source rows of a draw about the data's mean, in standard units T·x₀; of a Gaussian source
/// that is N(0, T²I).
///
/// ln p(x) is by the ODE, as precise as the solver; one of its evaluations is a pass of the network with all tangents
/// of the divergence, d of them where it is exact. From a Gaussian source, a row with a coordinate beyond 18 standard
/// deviations has the density that it has there, the normal one in standard units; from 12 on v̂ fades out.
/// [`LogLikelihood::Unavailable`] for a source of rows.
impl Paradigm for FlowMatching {
    type Workspace = Scratch<f32, guidance::Workspace>;

    /// Without a density of the source there is no likelihood.
    fn place(&self) -> Card {
        let FlowMatchingConfig { source, pairing, sampler, .. } = &self.config;
        let matching = match pairing {
            Pairing::Independent => "FM",
            Pairing::OptimalTransport { .. } => "OT-FM",
        };
        let guided = self.guided(&[]);
        let steps = sampler.method.times(sampler.steps, SPAN).map(|t| guided.cost(t)).sum();
        let name = format!("{matching}, {:?}-{}", sampler.method, sampler.steps);
        let card = Card::new(name, Objective::FlowMatching, Sampling::Flowing { steps });
        let likelihood = if source.has_density() { card.likelihood } else { LikelihoodKind::Unavailable };
        guidance::on_card(Card { likelihood, ..card }, self.guidance.as_deref())
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
        let FlowMatchingConfig { source, pairing, condition_dropout, whiten, optimizer, .. } = &self.config;
        let rows = Rows::whitened(data, &self.learned.fitted, *whiten, options, rng)?;
        let Learned { parameters, fitted } = Arc::make_mut(&mut self.learned);
        *fitted = rows.fitted.clone();
        let ends = Lines { source, units: &fitted.standardizer, pairing: *pairing };
        let loss = Regression { net: &self.net, ends, dropout: *condition_dropout };
        fit(loss, parameters, &rows, optimizer, options, observer)
    }

    fn draw_tile(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        scratch: &mut Self::Workspace,
        x: &mut [f32],
    ) -> usize {
        self.walk(temperature, c, streams, scratch, x, |_| {})
    }

    fn score(&self, c: Given<'_>, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood> {
        let FlowMatchingConfig { source, solver, divergence, .. } = &self.config;
        if self.guidance.is_some() || !source.has_density() {
            return Ok(LogLikelihood::Unavailable);
        }
        let integration = Integration { span: (SPAN.1, SPAN.0), solver: *solver, divergence: *divergence };
        let Learned { parameters, fitted } = &*self.learned;
        let (network, units) = ((&self.net, &parameters.average[..]), &fitted.standardizer);
        log_likelihood(network, integration, units, c, x, options, |z| {
            source.log_density(units, z).expect("a source with a density")
        })
    }

    fn knows_no_condition(&self) -> bool {
        self.config.condition_dropout > 0.0
    }
}

/// From the source to the data.
const SPAN: (f64, f64) = (0.0, 1.0);

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
//! **Coupling**: which x₀ goes with which x₁ is free, as long as each comes with its own distribution
//! ([`Coupling`]). Matched in each minibatch so that the lines are shortest, they hardly cross, the flow's
//! own paths are all but straight, and few steps follow them (Tong et al. 2024; Pooladian et al. 2023).
//!
//! # Picture
//!
#![cfg_attr(doc, doc = include_str!("../../docs/pictures/flow_matching_paths.svg"))]
//!
//! # Example
//!
//! How straight the flow is: what 2 steps lose against 50, with rows matched at random and by optimal
//! transport.
//!
//! ```
//! use quadrivium::flow_matching::{FlowSteps, Method};
//! use quadrivium::{worlds::Toy, prelude::*, seeded};
//!
//! let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut seeded(0)))?;
//! let lost = |coupling| -> Result<f32> {
//!     let mut rng = seeded(1);
//!     let config = FlowMatchingConfig { hidden: vec![64, 64], coupling, ..Default::default() };
//!     let mut model = FlowMatching::new(config, &mut rng)?;
//!     model.train(&data, &TrainOptions { steps: 400, ..Default::default() }, &mut rng, &mut Silent)?;
//!     let rows = |steps| -> Result<_> {
//!         let quick = model.with_sampler(FlowSteps { method: Method::Euler, steps })?;
//!         Ok(quick.sample(500, &SampleOptions::default(), &mut seeded(2))?.x)
//!     };
//!     Ok((rows(2)? - rows(50)?).mapv(f32::abs).mean().unwrap())
//! };
//! let crossing = lost(Coupling::Independent)?;
//! let straight = lost(Coupling::OptimalTransport { rows: 128 })?;
//! assert!(4.0 * straight < crossing, "{straight} against {crossing}");
//! # Ok::<(), Error>(())
//! ```
//!
//! # What can go wrong
//!
//! - **Slow, or few steps.** As in a diffusion, rows cost a network evaluation a step: [`Samples::nfe`].
//!   *See*: rows of the same seed that move when the steps are doubled. *Change*:
//!   [`Coupling::OptimalTransport`], or [`Method::Rk4`], whose 25 steps (100 evaluations) reach the floor
//!   of the energy distance on the grid.
//! - **Bridges.** The flow is invertible and continuous: from a source in one piece it joins separate modes
//!   by thin bridges.
//! - **The likelihood is an ODE estimate** and as rough as v̂ is: 0.025 nats above the truth on the grid,
//!   where a flow in layers comes to 0.015. From [`Source::Rows`], which have no density, there is none.
//! - **Far rows.** From a Gaussian source v̂ fades out from 12 to 18 standard deviations, and beyond, rows stay
//!   where they are: the density is the normal one. Columns with heavy tails are bent before, so that few rows
//!   come there ([`Standardiser`]).
//! - **Costly matching.** The exact coupling costs the cube of its rows; matched in parts of a minibatch it
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

mod likelihood;
mod network;
mod objective;
#[cfg(feature = "safetensors")]
mod persist;
mod sampling;
mod source;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;

use ndarray::ArrayView2;
use rand::RngCore;

pub use self::sampling::FlowSteps;
pub use self::source::Source;
pub use crate::numeric::ode::{Method, Solver};

use self::network::VelocityNet;
use self::objective::VelocityMse;
use crate::engine::Standardiser;
use crate::engine::tiles;
use crate::engine::{self, Conditions, OptimiserConfig, Parameters, Rows, fit};
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::{
    Dataset, Distribution, Generative, LikelihoodKind, LikelihoodOptions, LogLikelihood, Observer,
    SampleOptions, Samples, TraceEstimator, TrainOptions, TrainReport,
};
use crate::nn::limits::{check_params, check_some_hidden, check_time_features, check_width};
use crate::nn::{Activation, timed};
use crate::numeric::rng::Streams;

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
    /// Units of each hidden layer. At least one layer, in each 1 to 65,536 units, with at most 2²⁸ parameters. Default `[128, 128, 128]`.
    pub hidden: Vec<usize>,
    /// Between the layers. Default [`Activation::Silu`].
    pub activation: Activation,
    /// Fourier features of each coordinate: sin and cos of 2ᵏ rad, k = 0 … octaves − 1, beside the coordinate
    /// itself. Structure of width w needs 2ᵏ near 1/w. 0 (raw coordinates) to 13. Default 4.
    pub octaves: usize,
    /// Sines and cosines that embed the time. Even, 2 to 65,536. Default 32.
    pub time_features: usize,
    /// Where the flow starts. Default [`Source::Gaussian`], the only one that a file of a model can hold.
    #[cfg_attr(feature = "safetensors", serde(skip))]
    pub source: Source,
    /// Which source row goes with which row of the data. Default [`Coupling::Independent`].
    pub coupling: Coupling,
    /// How rows are drawn.
    pub sampler: FlowSteps,
    /// How the likelihood's ODE is solved. Default Dormand–Prince with rtol = atol = 1e-5. With
    /// [`Solver::Fixed`] the result names ∞ as its tolerance: nothing watches the error.
    pub solver: Solver,
    /// How its divergence is computed. Default `None`: exact up to 16 columns, with 4 of Hutchinson's probes
    /// above.
    pub divergence: Option<TraceEstimator>,
    /// Whether the first training takes away the correlations of the columns ([`Standardiser::whitened`]): the
    /// flow from N(0, I) then has a shorter way. Lengths are then in standard deviations of what is left of a
    /// column.
    /// Default true.
    pub whiten: bool,
    /// How the parameters move. Default: a learning rate of 1e-2, the rest as [`OptimiserConfig`].
    pub optimiser: OptimiserConfig,
}

/// Which source row goes with which row of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Coupling {
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

impl Default for FlowMatchingConfig {
    fn default() -> Self {
        FlowMatchingConfig {
            dim: 2,
            hidden: vec![128; 3],
            activation: Activation::Silu,
            octaves: 4,
            time_features: 32,
            source: Source::Gaussian,
            coupling: Coupling::Independent,
            sampler: FlowSteps::default(),
            solver: Solver::DormandPrince { rtol: 1e-5, atol: 1e-5 },
            divergence: None,
            whiten: true,
            optimiser: OptimiserConfig { lr: 1e-2, ..OptimiserConfig::default() },
        }
    }
}

impl FlowMatchingConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check_width("FlowMatchingConfig::dim", self.dim)?;
        check_some_hidden("FlowMatchingConfig::hidden", &self.hidden)?;
        check(self.octaves <= timed::OCTAVES, "FlowMatchingConfig::octaves", self.octaves, "0 to 13")?;
        check_time_features("FlowMatchingConfig::time_features", self.time_features)?;
        let params = timed::count_params(self.dim, &self.hidden, self.octaves, self.time_features);
        check_params("FlowMatchingConfig::hidden", &self.hidden, params)?;
        check(
            self.source.dim().is_none_or(|dim| dim == self.dim),
            "FlowMatchingConfig::source",
            format!("{:?} columns", self.source.dim()),
            "as many columns as FlowMatchingConfig::dim",
        )?;
        check(
            !matches!(self.coupling, Coupling::OptimalTransport { rows: ..2 | 65_537.. }),
            "FlowMatchingConfig::coupling",
            self.coupling,
            "2 to 65,536 rows",
        )?;
        check(
            !matches!(self.divergence, Some(TraceEstimator::Hutchinson { probes: 0 | 4097.. })),
            "FlowMatchingConfig::divergence",
            self.divergence,
            "1 to 4096 probes",
        )?;
        self.sampler.validate()?;
        self.solver.validate()?;
        self.activation.validate()?;
        self.optimiser.validate()
    }
}

/// A continuous normalising flow trained by flow matching, from any source to the data.
///
/// ```
/// use quadrivium::worlds::Toy;
/// use quadrivium::flow_matching::{Coupling, FlowMatching, FlowMatchingConfig, FlowSteps, Method, Source};
/// use quadrivium::{Dataset, Distribution, Generative, SampleOptions, Silent, TrainOptions};
///
/// // From two moons to eight Gaussians.
/// let mut rng = quadrivium::seeded(0);
/// let moons = Toy::moons(0.1)?;
/// let data = Dataset::new(Toy::ffjord8().sample(2_000, &mut rng))?;
/// let config = FlowMatchingConfig {
///     source: Source::Toy(moons.clone()),
///     coupling: Coupling::OptimalTransport { rows: 64 },
///     ..Default::default()
/// };
/// let mut model = FlowMatching::new(config, &mut rng)?;
/// model.train(&data, &TrainOptions { steps: 20, ..Default::default() }, &mut rng, &mut Silent)?;
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
    config: FlowMatchingConfig,
    net: VelocityNet,
    fitted: Arc<Fitted>,
}

/// What training changes; views with other samplers share it.
#[derive(Debug, Clone)]
struct Fitted {
    parameters: Parameters,
    standardiser: Standardiser,
}

impl FlowMatching {
    /// An untrained model, whose rows are those of its source.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn new(config: FlowMatchingConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let net = VelocityNet::new(&config)?;
        let mut p = vec![0.0; net.num_params()];
        net.init(&mut p, &mut Streams::from_rng(rng).stream(0));
        Ok(FlowMatching {
            fitted: Arc::new(Fitted {
                parameters: Parameters::new(p),
                standardiser: Standardiser::identity(config.dim),
            }),
            net,
            config,
        })
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
}

impl Distribution for FlowMatching {
    /// Without a density of the source there is no likelihood.
    fn card(&self) -> Card {
        let FlowMatchingConfig { source, coupling, sampler, .. } = &self.config;
        let matching = match coupling {
            Coupling::Independent => "FM",
            Coupling::OptimalTransport { .. } => "OT-FM",
        };
        let steps = sampler.nfe();
        let name = format!("{matching}, {:?}-{}", sampler.method, sampler.steps);
        let card = Card::new(name, Objective::FlowMatching, Sampling::Flowing { steps });
        let likelihood = if source.has_density() { card.likelihood } else { LikelihoodKind::Unavailable };
        Card { likelihood, ..card }
    }

    fn dim(&self) -> usize {
        self.config.dim
    }

    /// Draws rows. A temperature T scales the source rows about the data's mean, in standard units T·x₀; of a
    /// Gaussian source that is N(0, T²I).
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

    /// ln p(x) by the ODE, as precise as the solver; one of its evaluations is a pass of the network with all
    /// tangents of the divergence, d of them where it is exact. From a Gaussian source, a row with a coordinate
    /// beyond 18 standard deviations has the density that it has there, the normal one in standard units; from
    /// 12 on v̂ fades out. [`LogLikelihood::Unavailable`] for a source of rows.
    fn log_likelihood(&self, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood> {
        self.score(x, options)
    }
}

impl Generative for FlowMatching {
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
        let units = engine::Fitted {
            standardiser: self.fitted.standardiser.clone(),
            conditions: Conditions::default(),
        };
        let rows = Rows::whitened(data, &units, self.config.whiten, options, rng)?;
        let Fitted { parameters, standardiser } = Arc::make_mut(&mut self.fitted);
        *standardiser = rows.fitted.standardiser.clone();
        let FlowMatchingConfig { source, coupling, optimiser, .. } = &self.config;
        let objective = VelocityMse { net: &self.net, source, units: standardiser, coupling: *coupling };
        fit(objective, parameters, &rows, optimiser, options, observer)
    }
}

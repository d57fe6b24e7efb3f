//! Normalizing flows: a density as an invertible map of a normal distribution.
//!
//! A chain of invertible layers carries rows to normal noise. Each layer has a Jacobian whose determinant is cheap.
//! Run forward, the chain gives the exact likelihood; run backward, it draws.
//!
//! # Formula
//!
//! ```text
//! model       ln p(x) = ln N(f(x); 0, I) + ln |det ∂f/∂x|,   f = L⁻¹ ∘ the layers
//! a layer     yᵢ = T(xᵢ; θᵢ),   ln |det| = Σᵢ ln T′(xᵢ; θᵢ)
//! objective   −ln p(x)
//! sampling    x = f⁻¹(u),   u ~ N(0, I)
//! ```
//!
//! f is the chain, T an increasing map of the line, and θᵢ its parameters. A network, the conditioner, computes θᵢ
//! from coordinates that come before xᵢ, so that the Jacobian is triangular. There are two architectures
//! ([`Architecture`]): a coupling (RealNVP, Dinh et al. 2017) moves the second half of the coordinates given the
//! first; a masked autoregressive flow (MAF, Papamakarios et al. 2017) moves each coordinate given all before it. The
//! map of the line ([`Transform`]) is a shift and scale, a monotone rational-quadratic spline (Durkan et al. 2019),
//! or one after the other: shift and scale carry the spline's box to where the rows are, and outside the box the
//! spline continues as straight lines of learned slopes. Between layers the coordinates are mixed ([`Mixing`]), so
//! that each of them is moved. The base, the distribution at the end of the chain, is N(0, LLᵀ): L starts at the
//! correlations of the first training's rows and is trained with the other parameters
//! ([`correlated_base`](FlowConfig::correlated_base)).
//!
//! **Sampling**: the half that passes determines all of a coupling's θ, so drawing takes one pass. An autoregressive
//! layer computes its coordinates one after the other, so drawing takes as many passes as there are coordinates.
//!
//! # Picture
//!
#![cfg_attr(doc, doc = include_str!("../../docs/pictures/flow_density.svg"))]
//!
//! # Example
//!
//! The expected negative log-likelihood is at least the entropy of the data; the difference is KL(data ‖ model).
//!
//! ```
//! use quadrivium::metrics::Nll;
//! use quadrivium::{worlds::Toy, *, seeded};
//!
//! let (mut rng, moons) = (seeded(0), Toy::moons(0.1)?);
//! let data = Dataset::new(moons.sample(5_000, &mut rng))?;
//! let transform = Transform::AffineSpline { bins: 8, bound: 4.0 };
//! let network = NetworkSpec::mlp([32], Activation::Silu, 2);
//! let config = FlowConfig { transform, network, ..Default::default() };
//! let mut flow = Flow::new(config, &mut rng)?;
//!
//! let test = moons.sample(2_000, &mut rng);
//! let gap = |flow: &Flow| -> Result<Nll> {
//!     let score = flow.log_likelihood(test.view(), &LikelihoodOptions::default())?;
//!     Ok(Nll::of(&score).expect("exact").gap(moons.entropy().expect("known")))
//! };
//! let before = gap(&flow)?;
//! flow.train(&data, &TrainOptions { steps: 300, ..Default::default() }, &mut rng, &mut NoObserver)?;
//! let after = gap(&flow)?;
//! assert!(before.mean > 0.8 && after.mean < 0.3, "{before:?} {after:?}");
//! assert!(after.mean > -3.0 * after.std_error, "none beats the truth");
//! # Ok::<(), Error>(())
//! ```
//!
//! # Conditions
//!
//! With a [`condition`](FlowConfig::condition) c, all conditioners see c in addition to their coordinates. So f(x; c)
//! is a different invertible map for each c, and [`given`](Generative::given) is p(x|c), which is also exact. The
//! parameters θ of a coordinate without predecessors depend only on c, so a flow of one column can be conditioned,
//! too, and may then be a coupling. The units and the base come from all rows, regardless of their conditions. The
//! conditioners see numbers more than ten standard deviations from the mean clamped to ten.
//!
//! If no condition is given, such a flow draws one for each row, with its frequency in training, and the likelihood
//! is Σ p(c) p(x|c) over the classes.
//!
//! ```
//! use quadrivium::{worlds::Toy, *};
//!
//! // Moons, conditioned on their height.
//! let mut rng = quadrivium::seeded(0);
//! let moons = Toy::moons(0.1)?.sample(2_000, &mut rng);
//! let (across, height) = moons.view().split_at(quadrivium::ndarray::Axis(1), 1);
//! let data = Dataset::new(across.to_owned())?.with_condition(Condition::Vector(height.to_owned()))?;
//! let condition = ConditionKind::Vector { dim: 1 };
//! let network = NetworkSpec::mlp([32], Activation::Silu, 2);
//! let config = FlowConfig { condition, network, ..FlowConfig::with_dim(1) };
//! let mut flow = Flow::new(config, &mut rng)?;
//! flow.train(&data, &TrainOptions { steps: 300, ..Default::default() }, &mut rng, &mut NoObserver)?;
//!
//! // The top of the upper moon is near x = 0, the bottom of the lower moon near x = 1.
//! for (height, at) in [(1.0, 0.0), (-0.5, 1.0)] {
//!     let drawn = flow.given(&Condition::vector(&[height]))?.draw(500, &mut rng)?;
//!     assert!((drawn.mean().unwrap() - at).abs() < 0.2);
//! }
//! # Ok::<(), Error>(())
//! ```
//!
//! # What can go wrong
//!
//! - **Bridges between modes.** A continuous map cannot tear the single normal bump into separate modes: thin bridges
//!   remain, and they are thicker with fewer layers. *See*: rows drawn between modes. On a grid of 25 modes, affine
//!   couplings put most of their rows there, and splines few ([measured](crate::results)). *Change*: use splines,
//!   then more layers.
//! - **Tails.** A spline bends only within its box. Beyond it, the density falls off like a normal density, with a
//!   width that [`Transform::AffineSpline`] learns and [`Transform::Spline`] takes from the base. *See*: held-out
//!   rows beyond four standard deviations with a far lower likelihood than the others. *Change*: use
//!   [`Transform::AffineSpline`].
//! - **Few rows, many columns.** An exact likelihood overfits without a sign in the training loss. *See*: the
//!   validation loss of [`TrainReport`]. *Change*: use [`patience`](TrainOptions::patience), fewer octaves and bins,
//!   or more [`weight_decay`](OptimizerConfig::weight_decay), which pulls the layers toward the identity and so the
//!   flow toward its base.
//! - **Repeated values** have an unbounded density. *Change*: [`dequantize`](crate::tables::dequantize) them first.
//! - **A temperature below 1** scales u. Outer modes are then drawn less often, and modes do not become sharper.
//!
//! # Papers
//!
//! Dinh et al. 2017, [Density estimation using Real NVP](https://arxiv.org/abs/1605.08803) · Papamakarios
//! et al. 2017, [Masked autoregressive flow](https://arxiv.org/abs/1705.07057) · Kingma & Dhariwal 2018,
//! [Glow](https://arxiv.org/abs/1807.03039) · Durkan et al. 2019, [Neural spline
//! flows](https://arxiv.org/abs/1906.04032)

mod base;
mod chain;
mod conditioner;
mod mixing;
mod objective;
#[cfg(feature = "onnx")]
mod onnx;
#[cfg(feature = "safetensors")]
mod persist;
mod spline;
#[cfg(test)]
mod tests;
mod transform;

use ndarray::ArrayView2;
use rand::RngCore;

use self::chain::{Chain, Pass, has_base};
use self::objective::{ChangeOfVariables, log_density};
use crate::engine::whitening::MOST_COLUMNS;
use crate::engine::{self, Fitted, Given, OptimizerConfig, Parameters, RowStreams, Rows};
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::nn::limits::{check_params, check_some_hidden, check_width};
use crate::nn::{Activation, NetworkSpec, Perceptron};
use crate::numeric::Real;
use crate::numeric::rng::Streams;

/// The architecture of a [`Flow`] and how it is trained.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct FlowConfig {
    /// Columns of a row. 1 to 65,536; at least 2 for couplings without a condition. Default 2.
    pub dim: usize,
    /// Which coordinates a layer moves, given which others. Default [`Architecture::Coupling`].
    pub architecture: Architecture,
    /// How a coordinate moves. Default [`Transform::AffineSpline`] of 24 bins on ±4.
    pub transform: Transform,
    /// Number of layers, each with its own conditioner. 1 to 1024. Default 4.
    pub layers: usize,
    /// What happens to the coordinates between two layers. Default [`Mixing::Reverse`].
    pub mixing: Mixing,
    /// The network of each conditioner: see [`NetworkSpec`]. Octaves let θ depend more sharply on the coordinates,
    /// which narrow modes need, but overfit on few rows; a long chain of affine layers does better without them.
    /// [`Architecture::MaskedAutoregressive`], whose weights are masked, needs a perceptron with at least `dim − 1`
    /// units in each layer, so that every coordinate is seen, or `dim` units with a condition, because some units
    /// then see only the condition. All conditioners and mixings together have at most 2²⁸ parameters. Default: two
    /// layers of 64 with SiLU, and 2 octaves.
    pub network: NetworkSpec,
    /// Whether the base is N(0, Σ), with a covariance matrix Σ that is trained with the other parameters, instead of
    /// N(0, I). Σ starts at the correlations of the first training's rows if they are significant, so that the flow
    /// is one Gaussian before its layers have learned anything. With one column, or more than 512, the base has no
    /// covariances. Default true.
    pub correlated_base: bool,
    /// What rows are conditioned on. Every conditioner sees the condition in addition to the coordinates. The base is
    /// the same for all conditions. Default [`ConditionKind::None`].
    #[cfg_attr(feature = "safetensors", serde(skip_serializing_if = "ConditionKind::is_none"))]
    pub condition: ConditionKind,
    /// How the parameters are updated. Default: a learning rate of 3e-3, and the rest as in [`OptimizerConfig`].
    #[cfg_attr(feature = "safetensors", serde(alias = "optimiser"))]
    pub optimizer: OptimizerConfig,
}

/// Which coordinates a layer moves, given which others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Architecture {
    /// The second half given the first (⌊dim/2⌋ coordinates), which passes unchanged (RealNVP, Dinh et al. 2017).
    /// Drawing takes one pass.
    Coupling,
    /// Each coordinate given all before it (MAF, Papamakarios et al. 2017). Each layer is more flexible, but drawing
    /// takes one pass per coordinate.
    MaskedAutoregressive,
}

/// The increasing map of the line by which a coordinate moves, in standard deviations of the column.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Transform {
    /// y = (x − t)·eˢ, |s| ≤ 3.
    Affine,
    /// A monotone rational-quadratic spline on [−bound, bound], the identity outside (Durkan et al. 2019).
    Spline {
        /// Number of bins: 2 to 256.
        bins: usize,
        /// Half the width of the box, 0.001 to 1000. Standardized data lie mostly within ±3.
        bound: f64,
    },
    /// [`Affine`](Transform::Affine), then a monotone rational-quadratic spline on [−bound, bound]. Outside, the
    /// spline continues as straight lines with the slopes at its ends, which are learned, too.
    AffineSpline {
        /// Number of bins: 2 to 256.
        bins: usize,
        /// Half the width of the box, 0.001 to 1000.
        bound: f64,
    },
}

/// What happens to the coordinates between two layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Mixing {
    /// Their order is reversed: the halves of a coupling take turns.
    Reverse,
    /// A random order for each place between two layers, fixed at construction.
    Permutation,
    /// A learned linear map P·L·(U + diag eˢ) with P the reversal, L and U unit and strictly triangular:
    /// ln |det| = Σ s (Glow, Kingma & Dhariwal 2018, eq. 11). Starts as P.
    Linear,
}

impl Default for FlowConfig {
    fn default() -> Self {
        FlowConfig {
            dim: 2,
            architecture: Architecture::Coupling,
            transform: Transform::AffineSpline { bins: 24, bound: 4.0 },
            layers: 4,
            mixing: Mixing::Reverse,
            network: NetworkSpec::mlp([64, 64], Activation::Silu, 2),
            correlated_base: true,
            condition: ConditionKind::None,
            optimizer: OptimizerConfig { lr: 3e-3, ..Default::default() },
        }
    }
}

/// Bins for rows of `dim` columns, regardless of the number of rows: see [`FlowConfig::with_dim`].
pub(crate) fn most_bins(dim: usize) -> usize {
    (48 / dim.max(1)).clamp(8, 24)
}

impl FlowConfig {
    /// The default for rows of `dim` columns; for two columns it is `FlowConfig::default()`.
    ///
    /// With more columns, there are more parameters per row, and rows are memorized sooner. Therefore the number of
    /// bins is 48/dim, within 8 to 24; the number of octaves is 2 − 0.6 log₂(dim/2), rounded; the weight decay is
    /// 0.3 (1 − 2/dim). From 3 to 512 columns the halves are mixed by learned maps, [`Mixing::Linear`]. The number of
    /// layers is dim + 2, at most 6; from 513 columns on it is 3072/dim, at least 2, so that the parameters fit in
    /// memory. For one column the flow is masked autoregressive, because a coupling needs two columns.
    ///
    /// ```
    /// use quadrivium::{FlowConfig, Transform};
    /// let config = FlowConfig::with_dim(8);
    /// assert_eq!((config.dim, config.network.octaves()), (8, 1));
    /// assert_eq!(config.transform, Transform::AffineSpline { bins: 8, bound: 4.0 });
    /// assert_eq!(FlowConfig::with_dim(2), FlowConfig::default());
    /// ```
    pub fn with_dim(dim: usize) -> Self {
        let default = FlowConfig::default();
        let columns = dim.max(1) as f64;
        let mixed = (3..=MOST_COLUMNS).contains(&dim);
        let bins = most_bins(dim);
        let octaves = (2.0 - 0.6 * (columns / 2.0).log2()).round().clamp(0.0, 2.0) as usize;
        let weight_decay = 0.3 * (1.0 - 2.0 / columns).max(0.0);
        FlowConfig {
            dim,
            architecture: if dim == 1 { Architecture::MaskedAutoregressive } else { default.architecture },
            transform: Transform::AffineSpline { bins, bound: 4.0 },
            layers: if dim > 2 { (dim + 2).min(3072 / dim).clamp(2, 6) } else { default.layers },
            mixing: if mixed { Mixing::Linear } else { default.mixing },
            network: NetworkSpec::mlp([64; 2], Activation::Silu, octaves),
            optimizer: OptimizerConfig { weight_decay, ..default.optimizer.clone() },
            ..default
        }
    }

    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check_width("FlowConfig::dim", self.dim)?;
        self.condition.validate("FlowConfig::condition")?;
        let (masked, given) =
            (self.architecture == Architecture::MaskedAutoregressive, self.condition.width());
        check(
            masked || given > 0 || self.dim >= 2,
            "FlowConfig::dim",
            self.dim,
            "at least 2 for Architecture::Coupling without a condition, which moves one half given the other",
        )?;
        check((1..=1024).contains(&self.layers), "FlowConfig::layers", self.layers, "1 to 1024")?;
        self.network.check("FlowConfig::network")?;
        match self.network.perceptron() {
            Some(Perceptron { hidden, .. }) => {
                check_some_hidden("FlowConfig::network", hidden)?;
                check(
                    !masked || hidden.iter().all(|&units| units + 1 >= self.dim + usize::from(given > 0)),
                    "FlowConfig::network",
                    hidden,
                    "layers of at least dim − 1 units for Architecture::MaskedAutoregressive, dim under a condition",
                )?;
            }
            None => check(
                !masked,
                "FlowConfig::network",
                &self.network,
                "a perceptron for Architecture::MaskedAutoregressive, whose weights are masked",
            )?,
        }
        let spline = match self.transform {
            Transform::Affine => None,
            Transform::Spline { bins, bound } => {
                Some(("Transform::Spline::bins", bins, "Transform::Spline::bound", bound))
            }
            Transform::AffineSpline { bins, bound } => {
                Some(("Transform::AffineSpline::bins", bins, "Transform::AffineSpline::bound", bound))
            }
        };
        if let Some((bins_field, bins, bound_field, bound)) = spline {
            check((2..=256).contains(&bins), bins_field, bins, "2 to 256")?;
            check((1e-3..=1e3).contains(&bound), bound_field, bound, "0.001 to 1000")?;
        }
        let (sees, moves) = match self.architecture {
            Architecture::Coupling => (self.dim / 2, self.dim.div_ceil(2)),
            Architecture::MaskedAutoregressive => ((self.dim - 1).max(1), self.dim),
        };
        let conditioner = self.network.network_params(sees, given, moves * self.transform.params());
        let mixing = if self.mixing == Mixing::Linear { self.dim * self.dim } else { 0 };
        let base = if has_base(self) { self.dim * self.dim } else { 0 };
        let params = conditioner.saturating_add(mixing).saturating_mul(self.layers).saturating_add(base);
        check_params("FlowConfig::network", &self.network, params)?;
        self.optimizer.validate()
    }
}

/// A density by the change of variables.
///
/// ```
/// use quadrivium::{worlds::Toy, *};
///
/// let (mut rng, toy) = (quadrivium::seeded(0), Toy::moons(0.1)?);
/// let data = Dataset::new(toy.sample(5_000, &mut rng))?;
/// let mut model = Flow::new(FlowConfig::default(), &mut rng)?;
/// let options = TrainOptions { steps: 300, ..Default::default() };
/// model.train(&data, &options, &mut rng, &mut NoObserver)?;
///
/// let samples = model.sample(1_000, &SampleOptions::default(), &mut rng)?;
/// assert_eq!(samples.nfe, 1);
/// let score = model.log_likelihood(toy.sample(1_000, &mut rng).view(), &LikelihoodOptions::default())?;
/// let nll = -score.nats().unwrap().mean().unwrap();
/// assert!(nll < 1.15, "the entropy is 1.008, this model's NLL {nll}");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Flow {
    config: FlowConfig,
    chain: Chain,
    parameters: Parameters,
    fitted: Fitted,
}

impl Flow {
    /// Creates a model with random conditioners whose outputs are still 0: p(x|c) = N(x; 0, I).
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn new(config: FlowConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let streams = Streams::from_rng(rng);
        let chain = Chain::new(&config, &mut streams.stream(1));
        let mut p = vec![0.0; chain.num_params()];
        chain.init(&mut p, &mut streams.stream(0));
        let fitted = Fitted::new(config.dim, config.condition);
        Ok(Flow { chain, parameters: Parameters::new(p), fitted, config })
    }

    /// The config that the model was made with.
    pub fn config(&self) -> &FlowConfig {
        &self.config
    }
}

impl Paradigm for Flow {
    type Workspace = Pass<f32>;

    fn place(&self) -> Card {
        let Architecture::MaskedAutoregressive = self.config.architecture else {
            let name = match self.config.transform {
                Transform::Affine => "flow, affine coupling",
                Transform::Spline { .. } | Transform::AffineSpline { .. } => "flow, spline coupling",
            };
            return Card::new(name, Objective::ChangeOfVariables, Sampling::OnePass);
        };
        let name = match self.config.transform {
            Transform::Affine => "flow, affine MAF",
            Transform::Spline { .. } | Transform::AffineSpline { .. } => "flow, spline MAF",
        };
        Card::new(name, Objective::ChangeOfVariables, Sampling::Sequential { dim: self.dim() })
    }

    fn count_params(&self) -> usize {
        self.chain.num_params()
    }

    fn fitted(&self) -> &Fitted {
        &self.fitted
    }

    fn learn(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let rows = Rows::prepare(data, &self.fitted, options, rng)?;
        if !self.fitted.standardizer.is_fitted() {
            self.chain.fit_base(rows.training.x.view(), &mut self.parameters);
        }
        self.fitted = rows.fitted.clone();
        let objective = ChangeOfVariables { chain: &self.chain };
        engine::fit(objective, &mut self.parameters, &rows, &self.config.optimizer, options, observer)
    }

    /// u ~ N(0, T²I), x = f⁻¹(u; c).
    fn draw_tile(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        pass: &mut Pass<f32>,
        x: &mut [f32],
    ) -> usize {
        let n = x.len() / self.config.dim;
        pass.z.resize(x.len(), 0.0);
        for r in 0..n {
            let mut rng = streams.row(r);
            pass.z[r..].iter_mut().step_by(n).for_each(|u| *u = temperature as f32 * f32::normal(&mut rng));
        }
        self.chain.inverse(&self.parameters.average, c, pass, x)
    }

    /// ln p(x|c), exact. There is no noise, so `options` have no effect.
    fn score(&self, given: Given<'_>, x: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        let nats = log_prob(&self.fitted, given, x, |c, pass: &mut Pass<f32>, rows, nats| {
            self.chain.infer(&self.parameters.average, rows.z, c, pass);
            log_density(self.chain.dim(), pass, |r, density| {
                // A NaN can only come from ∞ − ∞, when u overflows f32.
                nats[r] = if density.is_nan() { f64::NEG_INFINITY } else { nats[r] + density };
            });
            Ok(())
        })?;
        Ok(LogLikelihood::Exact(nats))
    }
}

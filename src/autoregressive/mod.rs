//! The autoregressive paradigm: a density as a product of one-dimensional conditionals.
//!
//! One masked network gives the parameters of every p(xᵢ | x₁ … xᵢ₋₁) of a row in one evaluation, so the likelihood
//! is exact and cheap. Rows are drawn coordinate by coordinate, with one evaluation each.
//!
//! # Formula
//!
//! ```text
//! model       p(x) = |∂w/∂x| Πᵢ p(wᵢ | w<ᵢ), w = L⁻¹ z
//! objective   −ln p(x) = −Σᵢ ln p(wᵢ | w<ᵢ) − ln |∂w/∂x|
//! ```
//!
//! z is the standardized row, and L the lower triangular factor of its covariance, computed once by the first
//! training: wᵢ is the residual of zᵢ after a linear regression on the columns before it. Before the first step, the
//! model is therefore about as good as one Gaussian with a full covariance, and the network only has to learn what is
//! not linear ([`whiten`](AutoregressiveConfig::whiten)).
//!
//! w<ᵢ are the coordinates before wᵢ, in the order of the columns. Output i of the network depends only on them
//! (MADE, Germain et al. 2015). It sees them through Fourier features, which narrow modes need. A conditional is a
//! mixture of Gaussians, Σₖ πₖ N(wᵢ; μₖ, σₖ²), where the network gives π, μ and σ
//! (RNADE, Uria et al. 2013), or a histogram trained by next-token cross-entropy, as a language model is
//! (van den Oord et al. 2016): see [`Head`].
//!
//! **Sampling**: w₁ ~ p(w₁), w₂ ~ p(w₂ | w₁), …; each step computes one head and only those units whose last input
//! has just been drawn.
//!
//! # Picture
//!
#![cfg_attr(doc, doc = include_str!("../../docs/pictures/autoregressive_density.svg"))]
//!
//! # Example
//!
//! A density may exceed 1, and then its logarithm exceeds 0; only its integral is 1.
//!
//! ```
//! use quadrivium::ndarray::Array2;
//! use quadrivium::{numeric::Real, *, seeded};
//!
//! // Rows of a narrow N(3, 0.01²).
//! let mut rng = seeded(0);
//! let x = Array2::from_shape_simple_fn((2_000, 1), || 3.0 + 0.01 * f32::normal(&mut rng));
//! let network = NetworkSpec::mlp([16], Activation::Silu, 3);
//! let config = AutoregressiveConfig { dim: 1, network, ..Default::default() };
//! let mut model = Autoregressive::new(config, &mut rng)?;
//! let options = TrainOptions { steps: 200, ..Default::default() };
//! model.train(&Dataset::new(x)?, &options, &mut rng, &mut NoObserver)?;
//!
//! let axis = Array2::from_shape_fn((2_001, 1), |(i, _)| 2.9 + 1e-4 * i as f32);
//! let LogLikelihood::Exact(nats) = model.log_likelihood(axis.view(), &LikelihoodOptions::default())? else {
//!     unreachable!("a chain of conditionals is exact");
//! };
//! let highest = nats.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
//! assert!((3.4..4.0).contains(&highest), "N(3, 0.01²) has ln p(3) = 3.69, this model {highest}");
//! let integral = nats.mapv(f64::exp).sum() * 1e-4;
//! assert!((integral - 1.0).abs() < 0.01, "{integral}");
//! # Ok::<(), Error>(())
//! ```
//!
//! # Conditions
//!
//! With a [`condition`](AutoregressiveConfig::condition) c, each conditional is p(wᵢ | w<ᵢ, c), including the first:
//! all hidden units see c, and some see nothing else. [`given`](Generative::given) is then p(x|c), which is also
//! exact. The units z, L and the starting parameters come from all rows, regardless of their conditions. The network
//! sees numbers more than ten standard deviations from the mean clamped to ten.
//!
//! If no condition is given, such a model draws one for each row, with its frequency in training, and the likelihood
//! is Σ p(c) p(x|c) over the classes.
//!
//! ```
//! use quadrivium::ndarray::{Array1, Array2, array};
//! use quadrivium::{numeric::Real, *, seeded};
//!
//! // Class k is N(3k, 1).
//! let mut rng = seeded(0);
//! let class = Array1::from_shape_fn(2_000, |row| (row % 2) as u32);
//! let x = Array2::from_shape_fn((2_000, 1), |(row, _)| 3.0 * class[row] as f32 + f32::normal(&mut rng));
//! let data = Dataset::new(x)?.with_condition(Condition::Class(class))?;
//! let condition = ConditionKind::Class { classes: 2 };
//! let network = NetworkSpec::mlp([16], Activation::Silu, 3);
//! let config = AutoregressiveConfig { dim: 1, network, condition, ..Default::default() };
//! let mut model = Autoregressive::new(config, &mut rng)?;
//! model.train(&data, &TrainOptions { steps: 200, ..Default::default() }, &mut rng, &mut NoObserver)?;
//!
//! let nats_at_0 = |class| -> Result<f64> {
//!     let given = model.given(&Condition::class(class))?;
//!     let score = given.log_likelihood(array![[0.0]].view(), &LikelihoodOptions::default())?;
//!     Ok(score.nats().expect("exact")[0])
//! };
//! assert!(nats_at_0(0)? - nats_at_0(1)? > 3.0, "of N(0, 1) and N(3, 1) the difference is 4.5");
//! # Ok::<(), Error>(())
//! ```
//!
//! # What can go wrong
//!
//! - **Time grows with the number of columns.** Drawing takes as many evaluations as there are columns:
//!   [`Samples::nfe`] counts them, and the [growth tables](crate::results) list the times. An unlucky early
//!   coordinate is never revised.
//! - **Spikes on repeated values.** On whole numbers, only the floor σ = 0.001 bounds the likelihood. *See*: a
//!   training loss that keeps falling. *Change*: spread the values first with
//!   [`dequantize`](crate::tables::dequantize).
//! - **Few rows** are memorized, and the more columns there are, the more rows it takes to avoid this. *See*: a
//!   held-out loss that is lowest early in the training and rises from there. *Change*: use
//!   [`validation`](TrainOptions::validation) with [`patience`](TrainOptions::patience), or fewer octaves.
//! - **Correlations that differ between modes.** If the modes of a mixture do not share a common direction, the
//!   network has to unlearn the overall linear relation within each mode, and
//!   [`whiten`](AutoregressiveConfig::whiten) can make the fit worse. *Change*: compare the model with and without it
//!   on held-out rows.
//! - **The order of the columns.** Where two modes share x₁, the conditional of x₂ must switch sharply. *See*: fit
//!   the columns in another order and compare the likelihoods, which are exact. *Change*: use more
//!   [octaves](crate::nn::NetworkSpec::Mlp).
//! - **Edges.** Gaussians round off the edges of the data; [`Head::Bins`] can represent them. If the edges run
//!   parallel to the axes but the columns are correlated, as on the checkerboard,
//!   [`whiten`](AutoregressiveConfig::whiten) makes them oblique. *Change*: switch `whiten` off.
//!
//! # Papers
//!
//! Germain et al. 2015, [MADE](https://arxiv.org/abs/1502.03509) · Uria et al. 2013,
//! [RNADE](https://arxiv.org/abs/1306.0186) · van den Oord et al. 2016, [Pixel recurrent neural
//! networks](https://arxiv.org/abs/1601.06759)

mod bins;
mod conditional;
mod likelihood;
mod mixture;
mod network;
mod objective;
#[cfg(feature = "safetensors")]
mod persist;
#[cfg(test)]
mod tests;
pub mod transformer;

pub use self::transformer::{Transformer, TransformerConfig};

use ndarray::ArrayView2;
use rand::RngCore;

use self::conditional::Conditional;
use self::network::{Drawn, Made};
use self::objective::ChainRuleNll;
use crate::engine::{self, Fitted, Given, OptimizerConfig, Parameters, RowStreams, Rows};
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::nn::limits::{check_params, check_some_hidden, check_width, count_params};
use crate::nn::{Activation, NetworkSpec, Perceptron};
use crate::numeric::rng::{Rng, Streams};

/// The architecture of an [`Autoregressive`] model and how it is trained.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct AutoregressiveConfig {
    /// Columns of a row. 1 to 65,536. Default 2.
    pub dim: usize,
    /// The masked network, a perceptron with at least one hidden layer: see [`NetworkSpec::mlp`]. The units of a
    /// layer are shared evenly among the coordinates: unit u of H sees the first 1 + ⌊u (dim − 1)/H⌋ of them. With
    /// fewer than `dim − 1` units, a conditional depends on the last few coordinates before it only through their
    /// linear part. Octaves let a conditional depend more sharply on the coordinates before it, and overfit on few
    /// rows. At most 2²⁸ parameters, including the masked ones. Default: two layers of 128 with SiLU, and 3 octaves.
    pub network: NetworkSpec,
    /// The family of the conditionals. Default [`Head::Mixture`] of 16 components.
    pub head: Head,
    /// Whether the first training removes the correlations of the columns
    /// ([`Standardizer::whitened`](crate::engine::Standardizer::whitened)): the model then starts near one Gaussian
    /// with all covariances. Default true.
    pub whiten: bool,
    /// What rows are conditioned on. Every conditional sees the condition in addition to the coordinates before its
    /// own, through all hidden layers, and one in `dim` of their units then sees nothing else. Default
    /// [`ConditionKind::None`].
    #[cfg_attr(feature = "safetensors", serde(skip_serializing_if = "ConditionKind::is_none"))]
    pub condition: ConditionKind,
    /// How the parameters are updated. Default: a learning rate of 5e-3 and β₂ = 0.95, and the rest as in
    /// [`OptimizerConfig`]. As components become narrower, the gradient grows a hundredfold within a few hundred
    /// steps. With β₂ = 0.999, Adam divides it by its size a thousand steps ago, and the resulting long steps lose
    /// modes.
    #[cfg_attr(feature = "safetensors", serde(alias = "optimiser"))]
    pub optimizer: OptimizerConfig,
}

/// The family of each conditional p(x_i | x_<i). Widths are in standard deviations of the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Head {
    /// Σₖ πₖ N(μₖ, σₖ²), where the network gives π, μ and σ of `components` (1 to 4096) Gaussians. The density is
    /// smooth. The floor σ ≥ 0.001 keeps the likelihood bounded on values that repeat.
    Mixture {
        /// Gaussians per conditional.
        components: usize,
    },
    /// A histogram: `bins` (1 to 65,536) bins, fitted to the rows of the first training, and a tail on either side,
    /// so that no finite row scores −∞. If equal parts of its range, with exponential tails, describe a column well,
    /// they are its bins. Otherwise the bins follow the rows: they are narrow where rows are dense, none narrower
    /// than 0.001, with power-law tails, so that a few rows far away do not matter. A histogram can take any shape,
    /// including edges, but resolves nothing finer than a bin.
    Bins {
        /// Bins per conditional.
        bins: usize,
    },
}

impl Default for AutoregressiveConfig {
    fn default() -> Self {
        AutoregressiveConfig {
            dim: 2,
            network: NetworkSpec::mlp([128, 128], Activation::Silu, 3),
            head: Head::Mixture { components: 16 },
            whiten: true,
            condition: ConditionKind::None,
            optimizer: OptimizerConfig { lr: 5e-3, beta2: 0.95, ..Default::default() },
        }
    }
}

impl AutoregressiveConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check_width("AutoregressiveConfig::dim", self.dim)?;
        self.network.check("AutoregressiveConfig::network")?;
        check(
            self.network.perceptron().is_some(),
            "AutoregressiveConfig::network",
            &self.network,
            "a perceptron: the weights of the network are masked",
        )?;
        let Perceptron { hidden, octaves, .. } = self.perceptron();
        check_some_hidden("AutoregressiveConfig::network", hidden)?;
        match self.head {
            Head::Mixture { components } => {
                let sane = (1..=4096).contains(&components);
                check(sane, "Head::Mixture::components", components, "1 to 4096")?;
            }
            Head::Bins { bins } => {
                check((1..=65_536).contains(&bins), "Head::Bins::bins", bins, "1 to 65536")?
            }
        }
        self.condition.validate("AutoregressiveConfig::condition")?;
        let inputs = self.condition.width() + (self.dim - 1) * (1 + 2 * octaves);
        let outputs = self.dim * Conditional::new(self.head).outputs();
        let params = count_params(inputs, hidden, outputs);
        check_params("AutoregressiveConfig::network", &self.network, params)?;
        self.optimizer.validate()
    }

    fn perceptron(&self) -> Perceptron<'_> {
        self.network.perceptron().expect("validate refuses other networks")
    }
}

/// A density by the chain rule, with one masked network for all conditionals.
///
/// ```
/// use quadrivium::{worlds::Toy, *};
///
/// let (mut rng, toy) = (quadrivium::seeded(0), Toy::moons(0.1)?);
/// let data = Dataset::new(toy.sample(5_000, &mut rng))?;
/// let mut model = Autoregressive::new(AutoregressiveConfig::default(), &mut rng)?;
/// let options = TrainOptions { steps: 300, ..Default::default() };
/// model.train(&data, &options, &mut rng, &mut NoObserver)?;
///
/// let samples = model.sample(1_000, &SampleOptions::default(), &mut rng)?;
/// assert_eq!(samples.nfe, 2);
/// let score = model.log_likelihood(toy.sample(1_000, &mut rng).view(), &LikelihoodOptions::default())?;
/// let nll = -score.nats().unwrap().mean().unwrap();
/// assert!(nll < 1.1, "the entropy is 1.008, this model's NLL {nll}");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Autoregressive {
    config: AutoregressiveConfig,
    made: Made,
    // One per coordinate.
    conditionals: Vec<Conditional>,
    parameters: Parameters,
    fitted: Fitted,
}

impl Autoregressive {
    /// Creates a model with random hidden layers, whose conditionals do not yet depend on anything.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn new(config: AutoregressiveConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let dim = config.dim;
        let conditional = Conditional::new(config.head);
        let made = Made::new(&config, conditional.outputs());
        let mut p = vec![0.0; made.num_params()];
        made.init(&mut p, &mut Streams::from_rng(rng).stream(0));
        (0..dim).for_each(|i| conditional.start(made.bias(i, &mut p)));
        Ok(Autoregressive {
            made,
            conditionals: vec![conditional; dim],
            parameters: Parameters::new(p),
            fitted: Fitted::new(dim, config.condition),
            config,
        })
    }

    /// Each conditional starts as the distribution of its column of w alone, under every condition, so that training
    /// does not have to find the modes.
    fn start_at_marginals(&mut self, w: ArrayView2<f32>) {
        let mut p = self.parameters.p.clone();
        for (i, (conditional, column)) in self.conditionals.iter_mut().zip(w.columns()).enumerate() {
            let mut column = column.to_vec();
            column.sort_unstable_by(f32::total_cmp);
            conditional.fit(&column, self.made.bias(i, &mut p));
        }
        self.parameters = Parameters::new(p);
    }

    /// The config that the model was made with.
    pub fn config(&self) -> &AutoregressiveConfig {
        &self.config
    }
}

/// What a thread keeps from tile to tile.
#[derive(Debug, Default)]
pub struct Drawing {
    drawn: Drawn,
    rngs: Vec<Rng>,
}

impl Paradigm for Autoregressive {
    type Workspace = Drawing;

    fn place(&self) -> Card {
        let name = match self.config.head {
            Head::Mixture { .. } => "autoregressive",
            Head::Bins { .. } => "autoregressive, bins",
        };
        Card::new(name, Objective::ChainRuleNll, Sampling::Sequential { dim: self.dim() })
    }

    fn count_params(&self) -> usize {
        self.made.num_params()
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
        let rows = Rows::whitened(data, &self.fitted, self.config.whiten, options, rng)?;
        if !self.fitted.standardizer.is_fitted() {
            self.start_at_marginals(rows.training.x.view());
        }
        self.fitted = rows.fitted.clone();
        let objective = ChainRuleNll { made: &self.made, conditionals: &self.conditionals };
        let optimizer = &self.config.optimizer;
        engine::fit(objective, &mut self.parameters, &rows, optimizer, options, observer)
    }

    /// For i = 1 … d: y_i = MADE_i(w_<i, c), w_i ~ p(· | y_i). A temperature T takes each conditional to the power
    /// 1/T², which scales the spread of a Gaussian by T. Modes of equal height all remain; among modes of different
    /// height, T < 1 favors the highest.
    fn draw_tile(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        Drawing { drawn, rngs }: &mut Drawing,
        x: &mut [f32],
    ) -> usize {
        let dim = self.conditionals.len();
        streams.fill(x.len() / dim, rngs);
        for (i, conditional) in self.conditionals.iter().enumerate() {
            let y = self.made.step(&self.parameters.average, x, c, i, drawn);
            let rows = y.chunks_exact_mut(conditional.outputs()).zip(x.chunks_exact_mut(dim));
            for ((y, x), rng) in rows.zip(rngs.iter_mut()) {
                x[i] = conditional.draw(y, temperature, rng);
            }
        }
        dim
    }

    /// ln p(x|c), exact: the network runs in f32, its densities in f64. There is no noise, so `options` have no
    /// effect.
    fn score(&self, given: Given<'_>, x: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        let nats = log_prob(&self.fitted, given, x, |c, scratch, rows, nats| {
            self.score_tile(scratch, rows.z, c, nats);
            Ok(())
        })?;
        Ok(LogLikelihood::Exact(nats))
    }
}

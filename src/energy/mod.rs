//! The energy-based paradigm: a density up to its constant.
//!
//! A network gives every row an energy, low where rows are likely, and nothing asks it to be invertible or
//! to generate ([`EnergyModel`]). The price is a constant that no one knows, and chains to draw rows.
//!
//! # Formula
//!
//! ```text
//! model       p(x) = exp(−E(x))/Z,   Z = ∫ exp(−E(x)) dx
//! score       ∇ ln p(x) = −∇E(x), without Z
//! sampling    z′ = z − (h²/2) ∇E(z) + h ξ,   ξ ~ N(0, I)
//! ```
//!
//! E is the network, h the length of a Langevin move, ξ its noise. Two ways around Z ([`EnergyTraining`]):
//!
//! | | minimises | learns |
//! | --- | --- | --- |
//! | persistent chains (Hinton 2002; Tieleman 2008; Du & Mordatch 2019) | E[E(x⁺)] − E[E(x⁻)], x⁺ a row, x⁻ from chains that move along under the present energy | p: with x⁻ ~ exp(−E)/Z the gradient is that of −ln p |
//! | denoising (Vincent 2011, eq. 9) | E‖∇E(x̃) + (x − x̃)/σ²‖², x̃ = x + σε, ε ~ N(0, I) | p blurred by σ |
//!
//! Denoising differentiates a derivative once more, exactly: with g = ∇E, a `jvp` along u = ∂loss/∂g and its
//! reverse. A scalar energy learns at one σ. A network that takes σ as an input and learns the score of a whole
//! ladder of noise levels is a [`ScoreModel`](crate::ScoreModel).
//!
//! **Sampling**: a start chosen among candidates by their weights exp(−E)/q, then Langevin moves, each proposal
//! accepted or refused after Metropolis ([`Langevin`]); the same moves carry the chains in training. Whether
//! the chains draw what the model scores is measured by [`EnergyModel::check_chains`].
//!
//! **Likelihood**: −E(x), up to a constant; in one or two columns [`Normalisation::Quadrature`] finds Z, and
//! in a few columns more `check_chains` estimates it.
//!
//! # Picture
//!
#![cfg_attr(doc, doc = include_str!("../../docs/pictures/energy_density.svg"))]
//!
//! # Example
//!
//! An energy compares rows without its constant; by quadrature the constant is found.
//!
//! ```
//! use quadrivium::energy::Normalisation;
//! use quadrivium::{worlds::Toy, prelude::*, seeded};
//!
//! let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut seeded(0)))?;
//! let score = |normalisation| -> Result<LogLikelihood> {
//!     let mut rng = seeded(1);
//!     let config = EnergyConfig { hidden: vec![32, 32], normalisation, ..Default::default() };
//!     let mut model = EnergyModel::new(config, &mut rng)?;
//!     model.train(&data, &TrainOptions { steps: 30, ..Default::default() }, &mut rng, &mut Silent)?;
//!     model.log_likelihood(data.x(), &LikelihoodOptions::default())
//! };
//! let without = score(Normalisation::None)?;
//! let with = score(Normalisation::Quadrature { intervals: 128 })?;
//! let (LogLikelihood::Unnormalised(energies), LogLikelihood::Estimate { nats, .. }) = (without, with) else {
//!     unreachable!("as the options say");
//! };
//! // In every row they differ by the same: ln Z.
//! let log_z = &energies - &nats;
//! assert!(log_z.std(0.0) < 1e-6 && log_z[0].abs() > 0.01, "{log_z}");
//! # Ok::<(), Error>(())
//! ```
//!
//! # What can go wrong
//!
//! - **Denoising at one σ.** Rows blurred by a small σ never lie between separate modes, so nothing is learned of
//!   the energy there, nor of one mode's weight against another's: on a grid of 25 modes the density is several
//!   nats off, by an amount that differs from seed to seed ([measured](crate::results)). A larger σ joins the modes
//!   and blurs them. *Change*: a ladder of σ ([`ScoreModel`](crate::ScoreModel)) has both.
//! - **Young chains.** If some chains start anew each time, the model learns where young chains go, not where
//!   exp(−E) has its mass (Nijkamp et al. 2019). *See*: good samples beside a poor normalised score. Without
//!   restarts the density improves, but drawing then takes as many moves as the chains made in training.
//! - **A bad start.** Between the data the energy has valleys of little mass that a chain is slow to leave, so
//!   chains from N(0, I) may be far from the truth even though the density is close to it. Evaluations spent on
//!   choosing a start among candidates help. *See*: [`ChainCheck::excess`]. In many columns hardly any candidate
//!   hits the mass, and [`ChainCheck::effective`] says so.
//! - **Slow mixing.** A step that suits a mode does not leave it: with short steps alone the chains stay where
//!   they started, and the energy elsewhere runs away. So the chain also tries steps as long as the data are wide,
//!   some of which land in another mode. In many dimensions none would.
//! - **Unadjusted steps.** Without Metropolis the long steps do not draw from the model, and it is not learned.
//! - **Drift.** Only differences of energies have a gradient, so all may rise or fall together; a small magnitude
//!   penalty holds them.
//!
//! # Papers
//!
//! Rubin 1988, Using the SIR algorithm to simulate posterior distributions, in Bayesian Statistics 3 · Roberts &
//! Tweedie 1996, [Exponential convergence of Langevin distributions and their discrete
//! approximations](https://doi.org/10.2307/3318418) · Hinton 2002, [Training products of
//! experts](https://doi.org/10.1162/089976602760128018) · Tieleman 2008, [Training restricted Boltzmann
//! machines](https://doi.org/10.1145/1390156.1390290) · Vincent 2011, [A connection between score matching
//! and denoising autoencoders](https://doi.org/10.1162/NECO_a_00142) · Du & Mordatch 2019, [Implicit
//! generation and modeling with energy-based models](https://arxiv.org/abs/1903.08689) · Nijkamp et al.
//! 2019, [Learning non-convergent non-persistent short-run MCMC](https://arxiv.org/abs/1904.09770)

mod diagnosis;
mod langevin;
mod likelihood;
mod network;
mod objective;
#[cfg(feature = "safetensors")]
mod persist;
mod sampling;
mod start;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use ndarray::ArrayView2;
use rand::RngCore;

pub use self::diagnosis::ChainCheck;
pub use self::langevin::{Acceptance, Langevin};
use self::langevin::{MOST_STEPS, STEPS};

use self::likelihood::LogPartition;
use self::network::{Energy, Pass};
use self::objective::{Contrast, DenoisingScore};
use self::sampling::Walking;
use crate::engine::{self, Fitted, Given, OptimiserConfig, Parameters, RowStreams, Rows};
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::nn::limits::{check_hidden, check_params, check_width, count_params};
use crate::nn::{Activation, REACH, Weights, most_octaves};
use crate::numeric::rng::Streams;

/// How an [`EnergyModel`] learns. Lengths are in standard deviations of the columns.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum EnergyTraining {
    /// Persistent contrastive divergence (Tieleman 2008; Du & Mordatch 2019): −ln p itself, its gradient
    /// estimated by chains that live through the training.
    PersistentChains {
        /// Chains in all, shared among the shards; at least as many run as a minibatch has rows. 1 to
        /// 16,777,216, with at most 2²⁸ coordinates.
        chains: usize,
        /// Network evaluations of a chain each time it moves, with the step lengths and the acceptance of
        /// [`EnergyConfig::langevin`]. At least 1 (2 for a move with [`Acceptance::Metropolis`]), at most
        /// 1,000,000; Du & Mordatch use 60.
        steps: usize,
        /// The share of chains that start anew each time, from N(0, I). 0 to 1. Du & Mordatch use 0.05; with
        /// steps that mix, 0 is better: a young chain is no draw from the model.
        restart: f64,
        /// The weight α of α (f(x⁺)² + f(x⁻)²), which keeps energies from drifting. 0 or more.
        magnitude: f64,
    },
    /// Denoising score matching (Vincent 2011): ∇E points from a blurred row to where it came from. No
    /// chains, but what is learned is the density blurred by σ.
    DenoisingScoreMatching {
        /// σ, the blur. 1e-6 to 1e6.
        sigma: f64,
    },
}

/// Whether `log_likelihood` knows the constant of the density.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Normalisation {
    /// It does not: [`LogLikelihood::Unnormalised`].
    None,
    /// It integrates exp(−E), in one or two dimensions: [`LogLikelihood::Estimate`].
    Quadrature {
        /// Intervals of an axis of an even grid. Even, 8 to 8192. A mode of standard deviation s is resolved
        /// from about 6/s on. Where the grid and one of the grids of every other node are more than 1e-3 nats
        /// apart, it does not resolve the density, and cells of it are halved where the mass is until ln Z is
        /// known to 1e-4. The first score after a training costs one evaluation per node, and up to 8 million
        /// for the cells.
        intervals: usize,
    },
}

/// What an [`EnergyModel`] is made of and how it learns.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct EnergyConfig {
    /// Columns of a row. 1 to 65,536. Default 2.
    pub dim: usize,
    /// Units of each hidden layer, 1 to 65,536, with at most 2²⁸ parameters; none makes f affine in its
    /// features. Default `[128, 128]`.
    pub hidden: Vec<usize>,
    /// Between the layers. The slope of the energy moves the chains, and denoising takes its derivative: a
    /// smooth one. Default [`Activation::Silu`].
    pub activation: Activation,
    /// Fourier features of each coordinate: sin and cos of 2ᵏ rad per standard deviation, k = 0 … octaves −
    /// 1, beside the coordinate itself. At most 14. Default 5.
    pub octaves: usize,
    /// w of the confinement ‖z‖²/2w², in standard deviations of the columns: the untrained model is
    /// N(0, w²I). 0.01 to 10. Default 1.
    pub width: f64,
    /// The objective. Default [`EnergyTraining::PersistentChains`] with 1024 chains of 20 evaluations, no
    /// restarts and a magnitude of 1e-5.
    pub training: EnergyTraining,
    /// How rows are drawn, and persistent chains moved.
    pub langevin: Langevin,
    /// Default [`Normalisation::None`].
    pub normalisation: Normalisation,
    /// How the parameters move. Default: a learning rate of 3e-3, the rest as [`OptimiserConfig`].
    pub optimiser: OptimiserConfig,
}

impl Default for EnergyConfig {
    fn default() -> Self {
        EnergyConfig {
            dim: 2,
            hidden: vec![128; 2],
            activation: Activation::Silu,
            octaves: 5,
            width: 1.0,
            training: EnergyTraining::PersistentChains {
                chains: 1024,
                steps: 20,
                restart: 0.0,
                magnitude: 1e-5,
            },
            langevin: Langevin::default(),
            normalisation: Normalisation::None,
            optimiser: OptimiserConfig { lr: 3e-3, ..OptimiserConfig::default() },
        }
    }
}

impl EnergyConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check_width("EnergyConfig::dim", self.dim)?;
        check_hidden("EnergyConfig::hidden", &self.hidden)?;
        check(self.octaves <= most_octaves(REACH), "EnergyConfig::octaves", self.octaves, "0 to 14")?;
        let params = count_params(self.dim * (1 + 2 * self.octaves), &self.hidden, 1);
        check_params("EnergyConfig::hidden", &self.hidden, params)?;
        check((0.01..=10.0).contains(&self.width), "EnergyConfig::width", self.width, "0.01 to 10")?;
        match self.training {
            EnergyTraining::PersistentChains { chains, steps, restart, magnitude } => {
                check(
                    (1..=1 << 24).contains(&chains) && chains * self.dim <= 1 << 28,
                    "EnergyTraining::PersistentChains::chains",
                    chains,
                    "1 to 16,777,216, and chains × dim at most 268,435,456",
                )?;
                let least = self.langevin.acceptance.least_steps();
                let field = "EnergyTraining::PersistentChains::steps";
                check((least..=MOST_STEPS).contains(&steps), field, steps, STEPS)?;
                let field = "EnergyTraining::PersistentChains::restart";
                check((0.0..=1.0).contains(&restart), field, restart, "0 to 1")?;
                check(
                    magnitude >= 0.0 && magnitude.is_finite(),
                    "EnergyTraining::PersistentChains::magnitude",
                    magnitude,
                    "0 or more, finite",
                )?;
            }
            EnergyTraining::DenoisingScoreMatching { sigma } => {
                check(
                    (1e-6..=1e6).contains(&sigma),
                    "EnergyTraining::DenoisingScoreMatching::sigma",
                    sigma,
                    "1e-6 to 1e6",
                )?;
            }
        }
        if let Normalisation::Quadrature { intervals } = self.normalisation {
            check(
                (8..=8192).contains(&intervals) && intervals.is_multiple_of(2),
                "Normalisation::Quadrature::intervals",
                intervals,
                "even, 8 to 8192",
            )?;
            check(
                self.dim <= 2,
                "EnergyConfig::normalisation",
                self.normalisation,
                "None for more than two columns",
            )?;
        }
        self.langevin.validate()?;
        self.activation.validate()?;
        self.optimiser.validate()
    }
}

/// A density p(x) = exp(−E(x))/Z with a network for E.
///
/// In standard units z, E = f(z̃) + ‖z‖²/2w²: f is a network, z̃ is z cut to ±10 on each axis, and the
/// confinement makes exp(−E) integrable whatever f is. It is part of the model.
///
/// ```
/// use quadrivium::energy::{Langevin, Normalisation};
/// use quadrivium::{worlds::Toy, *};
///
/// let (mut rng, toy) = (seeded(0), Toy::moons(0.1)?);
/// let data = Dataset::new(toy.sample(5_000, &mut rng))?;
/// let config = EnergyConfig {
///     hidden: vec![32, 32],
///     normalisation: Normalisation::Quadrature { intervals: 256 },
///     ..Default::default()
/// };
/// let mut model = EnergyModel::new(config, &mut rng)?;
/// model.train(&data, &TrainOptions { steps: 50, ..Default::default() }, &mut rng, &mut Silent)?;
///
/// let score = model.log_likelihood(data.x(), &LikelihoodOptions::default())?;
/// assert!(matches!(score, LogLikelihood::Estimate { .. }));
/// // The same energy, sampled by a shorter chain.
/// let quick = model.with_sampler(Langevin { steps: 100, ..Default::default() })?;
/// assert_eq!(quick.sample(10, &SampleOptions::default(), &mut rng)?.nfe, 100);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct EnergyModel {
    config: EnergyConfig,
    energy: Energy,
    parameters: Parameters,
    /// The averaged parameters transposed: what a chain's slope needs.
    transposed: Vec<f32>,
    fitted: Fitted,
    /// ln Z, computed when first asked for.
    log_partition: OnceLock<LogPartition>,
}

impl EnergyModel {
    /// An untrained model: N(0, w²I).
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn new(config: EnergyConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let energy = Energy::new(&config);
        let mut p = vec![0.0; energy.num_params()];
        energy.init(&mut p, &mut Streams::from_rng(rng).stream(0));
        let mut model = EnergyModel {
            transposed: p.clone(),
            parameters: Parameters::new(p),
            fitted: Fitted::new(config.dim, ConditionKind::None),
            log_partition: OnceLock::new(),
            energy,
            config,
        };
        model.refresh();
        Ok(model)
    }

    /// What it was made with, and the sampler that it has now.
    pub fn config(&self) -> &EnergyConfig {
        &self.config
    }

    /// The same energy, sampled by another chain.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a chain out of range.
    pub fn with_sampler(&self, langevin: Langevin) -> Result<Self> {
        langevin.validate()?;
        Ok(EnergyModel { config: EnergyConfig { langevin, ..self.config.clone() }, ..self.clone() })
    }

    /// What follows from the parameters.
    fn refresh(&mut self) {
        self.energy.transpose(&self.parameters.average, &mut self.transposed);
        self.log_partition = OnceLock::new();
    }

    /// Of the averaged parameters, which sample.
    fn weights(&self) -> Weights<'_, f32> {
        Weights { p: &self.parameters.average, t: &self.transposed }
    }
}

impl Paradigm for EnergyModel {
    type Workspace = Walking;

    fn place(&self) -> Card {
        let (name, objective) = match self.config.training {
            EnergyTraining::PersistentChains { .. } => ("EBM (chains)", Objective::ContrastiveDivergence),
            EnergyTraining::DenoisingScoreMatching { .. } => ("EBM (denoising)", Objective::ScoreMatching),
        };
        let card = Card::new(name, objective, Sampling::Langevin { steps: self.config.langevin.steps });
        match self.config.normalisation {
            Normalisation::None => card,
            Normalisation::Quadrature { .. } => Card { likelihood: LikelihoodKind::Estimate, ..card },
        }
    }

    fn count_params(&self) -> usize {
        self.energy.num_params()
    }

    fn fitted(&self) -> &Fitted {
        &self.fitted
    }

    /// Learns the energy by [`EnergyConfig::training`].
    ///
    /// With persistent chains, which start at N(0, I) in each training, the loss is E(x⁺) − E(x⁻) plus the
    /// regulariser; its parts are the two mean energies. It hovers about 0 from the start and says
    /// nothing about the fit; held-out rows are compared with chains that have just started.
    ///
    /// # Errors
    /// As the trait says, and [`Error::Config`](crate::Error::Config) for a `patience` with persistent
    /// chains.
    fn learn(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        if let EnergyTraining::PersistentChains { .. } = self.config.training {
            check(
                options.patience.is_none(),
                "TrainOptions::patience",
                options.patience,
                "None: a contrast with chains has no best",
            )?;
        }
        let rows = Rows::prepare(data, &self.fitted, options, rng)?;
        self.fitted = rows.fitted.clone();
        let trained = match self.config.training {
            EnergyTraining::PersistentChains { chains, steps, restart, magnitude } => {
                let langevin = self.config.langevin.moves(steps);
                let chains = chains.div_ceil(options.shards_of_batch());
                let contrast = Contrast::new(&self.energy, langevin, chains, restart, magnitude);
                let optimiser = &self.config.optimiser;
                engine::fit(contrast, &mut self.parameters, &rows, optimiser, options, observer)
            }
            EnergyTraining::DenoisingScoreMatching { sigma } => {
                let objective = DenoisingScore { energy: &self.energy, sigma };
                let optimiser = &self.config.optimiser;
                engine::fit(objective, &mut self.parameters, &rows, optimiser, options, observer)
            }
        };
        self.refresh();
        trained
    }

    /// A start, then the chain under exp(−E/T), as [`Langevin`] says.
    fn draw_tile(
        &self,
        temperature: f64,
        _: &[f32],
        streams: RowStreams,
        scratch: &mut Walking,
        x: &mut [f32],
    ) -> usize {
        self.draw_standard(temperature, streams, scratch, x)
    }

    /// −E(x) in the units of the data, or, with [`Normalisation::Quadrature`], −E(x) − ln Z. `options` change
    /// nothing.
    ///
    /// The standard error of the estimate is that of ln Z, the same for all rows, plus a millionth of the
    /// energy for f32: how far the grid is from those of every other node, or what halving the cells of a
    /// finer division changed, summed over them without signs. Nothing is cut off: beyond ±10 the energy has
    /// a closed form.
    fn score(&self, c: Given<'_>, x: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        let tile =
            |_: &[f32], (pass, energies): &mut (Pass<f32>, Vec<f64>), rows: Scored<'_>, nats: &mut [f64]| {
                energies.resize(nats.len(), 0.0);
                self.score_tile(rows.z, pass, energies);
                nats.iter_mut().zip(energies).for_each(|(nats, energy)| *nats += *energy);
                Ok(())
            };
        let mut nats = log_prob(&self.fitted, c, x, tile)?;
        let Normalisation::Quadrature { intervals } = self.config.normalisation else {
            return Ok(LogLikelihood::Unnormalised(nats));
        };
        let log_partition = match self.log_partition.get() {
            Some(known) => *known,
            None => {
                let found = self.log_partition(intervals)?;
                *self.log_partition.get_or_init(|| found)
            }
        };
        let std_error = nats.mapv(|energy| log_partition.error + ROUNDING * (1.0 + energy.abs()));
        nats -= log_partition.nats;
        Ok(LogLikelihood::Estimate { nats, std_error })
    }
}

/// What f32 leaves of an energy, relative.
const ROUNDING: f64 = 1e-6;

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
//! | | minimizes | learns |
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
//! **Likelihood**: −E(x), up to a constant; in one or two columns [`Normalization::Quadrature`] finds Z, and
//! in a few columns more `check_chains` estimates it.
//!
//! **Conditions**: with a [`condition`](EnergyConfig::condition) the network takes c beside the row, p(x|c) =
//! exp(−E(x, c))/Z(c). In training, each row x⁺ is compared with a chain x⁻ under the same condition: with classes, a
//! chain that has always had that class; with numbers, the chain whose condition was nearest. The quadrature finds a
//! Z(c) for each condition that is scored, and remembers it.
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
//! use quadrivium::energy::Normalization;
//! use quadrivium::{worlds::Toy, prelude::*, seeded};
//!
//! let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut seeded(0)))?;
//! let score = |normalization| -> Result<LogLikelihood> {
//!     let mut rng = seeded(1);
//!     let config = EnergyConfig { network: NetworkSpec::mlp([32, 32], Activation::Silu, 5), normalization, ..Default::default()  };
//!     let mut model = EnergyModel::new(config, &mut rng)?;
//!     model.train(&data, &TrainOptions { steps: 30, ..Default::default() }, &mut rng, &mut Silent)?;
//!     model.log_likelihood(data.x(), &LikelihoodOptions::default())
//! };
//! let without = score(Normalization::None)?;
//! let with = score(Normalization::Quadrature { intervals: 128 })?;
//! let (LogLikelihood::Unnormalized(energies), LogLikelihood::Estimate { nats, .. }) = (without, with) else {
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
//!   exp(−E) has its mass (Nijkamp et al. 2019). *See*: good samples beside a poor normalized score. Without
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

mod config;
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

use ndarray::{Array1, ArrayView2};
use rand::RngCore;

#[deprecated(note = "use `Normalization`")]
pub use self::config::Normalization as Normalisation;
pub use self::config::{EnergyConfig, EnergyTraining, Normalization};
pub use self::diagnosis::ChainCheck;
pub use self::langevin::{Acceptance, Langevin};

use self::likelihood::Partitions;
use self::network::{Energy, Pass};
use self::objective::{Contrast, DenoisingScore};
use self::sampling::Walking;
use crate::engine::{self, Fitted, Given, Parameters, RowStreams, Rows};
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::nn::Weights;
use crate::numeric::rng::Streams;

/// A density p(x) = exp(−E(x))/Z with a network for E.
///
/// In standard units z, E = f(z̃) + ‖z‖²/2w²: f is a network, z̃ is z cut to ±10 on each axis, and the
/// confinement makes exp(−E) integrable whatever f is. It is part of the model.
///
/// ```
/// use quadrivium::energy::{Langevin, Normalization};
/// use quadrivium::{worlds::Toy, *};
///
/// let (mut rng, toy) = (seeded(0), Toy::moons(0.1)?);
/// let data = Dataset::new(toy.sample(5_000, &mut rng))?;
/// let config = EnergyConfig {
///     hidden: vec![32, 32],
///     normalization: Normalization::Quadrature { intervals: 256 },
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
    partitions: Partitions,
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
            fitted: Fitted::new(config.dim, config.condition),
            partitions: Partitions::default(),
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
        self.partitions = Partitions::default();
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
        match self.config.normalization {
            Normalization::None => card,
            Normalization::Quadrature { .. } => Card { likelihood: LikelihoodKind::Estimate, ..card },
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
    /// regularizer; its parts are the two mean energies. It hovers about 0 from the start and says
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
                let optimizer = &self.config.optimizer;
                engine::fit(contrast, &mut self.parameters, &rows, optimizer, options, observer)
            }
            EnergyTraining::DenoisingScoreMatching { sigma } => {
                let objective = DenoisingScore { energy: &self.energy, sigma };
                let optimizer = &self.config.optimizer;
                engine::fit(objective, &mut self.parameters, &rows, optimizer, options, observer)
            }
        };
        self.refresh();
        trained
    }

    /// A start, then the chain under exp(−E/T), as [`Langevin`] says.
    fn draw_tile(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        scratch: &mut Walking,
        x: &mut [f32],
    ) -> usize {
        self.draw_standard(temperature, c, streams, scratch, x)
    }

    /// −E(x, c) in the units of the data, or, with [`Normalization::Quadrature`], −E(x, c) − ln Z(c). `options`
    /// change nothing.
    ///
    /// The standard error of the estimate is that of ln Z(c), the same for all rows under c, plus a millionth of the
    /// energy for f32: how far the grid is from those of every other node, or what halving the cells of a
    /// finer division changed, summed over them without signs. Nothing is cut off: beyond ±10 the energy has
    /// a closed form.
    fn score(&self, c: Given<'_>, x: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        let tile =
            |c: &[f32], (pass, energies): &mut (Pass<f32>, Vec<f64>), rows: Scored<'_>, nats: &mut [f64]| {
                energies.resize(nats.len(), 0.0);
                self.score_tile(rows.z, c, pass, energies);
                nats.iter_mut().zip(energies).for_each(|(nats, energy)| *nats += *energy);
                Ok(())
            };
        let mut nats = log_prob(&self.fitted, c, x, tile)?;
        let Normalization::Quadrature { intervals } = self.config.normalization else {
            return Ok(LogLikelihood::Unnormalized(nats));
        };
        let mut std_error = Array1::zeros(nats.len());
        // The condition of the row before, and its ln Z.
        let mut last = None;
        for (r, (nats, std_error)) in nats.iter_mut().zip(&mut std_error).enumerate() {
            let c = c.rows(r, 1);
            let log_partition = match last {
                Some((same, log_partition)) if same == c => log_partition,
                _ => self.partitions.of(c, || self.log_partition(intervals, c))?,
            };
            last = Some((c, log_partition));
            *std_error = log_partition.error + ROUNDING * (1.0 + nats.abs());
            *nats -= log_partition.nats;
        }
        Ok(LogLikelihood::Estimate { nats, std_error })
    }
}

/// What f32 leaves of an energy, relative.
const ROUNDING: f64 = 1e-6;

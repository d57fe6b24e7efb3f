//! The contract that every model keeps: [`Generative`], with its inputs and results.

use std::ops::ControlFlow;

use ndarray::{Array1, ArrayView2};
use rand::RngCore;

pub(crate) use crate::engine::check_rows;
pub use crate::engine::{
    Checkpoint, Dataset, HeldOut, LikelihoodOptions, Observer, SampleOptions, Samples, Silent, Step, Stop,
    TraceEstimator, TrainOptions, TrainReport,
};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
pub use crate::map::{Card, LikelihoodKind};

/// A model that learns p(x) from rows of data and draws new rows.
///
/// The trait is dyn-safe: a comparison loops over `Vec<Box<dyn Generative>>`. A model can be used as soon as it
/// is constructed; [`train`](Generative::train) continues from its present parameters.
///
/// `T` is the element type: `f32` for continuous data.
///
/// ```
/// use quadrivium::{prelude::*, worlds::Toy};
///
/// let mut rng = quadrivium::seeded(0);
/// let toy = Toy::moons(0.1)?;
/// let data = Dataset::new(toy.sample(2_000, &mut rng))?;
/// let mut models: Vec<Box<dyn Generative>> = vec![
///     Box::new(Autoregressive::new(AutoregressiveConfig::default(), &mut rng)?),
///     Box::new(Vae::new(VaeConfig::default(), &mut rng)?),
///     Box::new(Gan::new(GanConfig::default(), &mut rng)?),
///     Box::new(Diffusion::new(DiffusionConfig::default(), &mut rng)?),
/// ];
/// for model in &mut models {
///     model.train(&data, &TrainOptions { steps: 20, ..Default::default() }, &mut rng, &mut Silent)?;
///     let samples = model.sample(5, &SampleOptions::default(), &mut rng)?;
///     let score = model.log_likelihood(samples.x.view(), &LikelihoodOptions::default())?;
///     assert_eq!((samples.x.dim(), samples.nfe), ((5, 2), model.card().nfe));
///     assert_eq!(score.kind(), model.card().likelihood);
/// }
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub trait Generative<T = f32>: Send + Sync {
    /// The model's place on the map, with what the literature predicts for it.
    fn card(&self) -> Card;

    /// Number of columns of a row.
    fn dim(&self) -> usize;

    /// Number of trainable parameters, over all networks.
    fn num_params(&self) -> usize;

    /// Fits the model to the rows of `data`, starting from the present parameters.
    ///
    /// The first call also fits the standardiser (shift and scale per column, and in networks the map of a
    /// column with heavy tails: [`Standardiser`](crate::engine::Standardiser)); later calls keep it.
    /// The same build, data, options and state of `rng` give the same bits, whatever the number of threads.
    ///
    /// # Errors
    /// [`Error::Config`] for options out of range, [`Error::Shape`] if `data` does not have
    /// [`dim`](Generative::dim) columns, [`Error::TooFewRows`] if fewer than two rows are left to train on,
    /// [`Error::ConstantColumn`] and [`Error::NarrowColumn`] for a column without a usable spread, and
    /// [`Error::Diverged`] if the loss or its gradient stops being finite; the model then holds its last good
    /// parameters. With a checkpoint, [`Error::Checkpoint`] if it belongs to another training and
    /// [`Error::Io`] if it cannot be read or written.
    fn train(
        &mut self,
        data: &Dataset<T>,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport>;

    /// Draws `n` rows. From the same state of `rng`, `sample(k)` gives the first k rows of `sample(n)`.
    ///
    /// # Errors
    /// [`Error::Config`] for options out of range, or for more rows than fit into memory.
    fn sample(&self, n: usize, options: &SampleOptions, rng: &mut dyn RngCore) -> Result<Samples<T>>;

    /// Draws the rows of [`sample`](Generative::sample) in blocks, in constant memory, until `n` are drawn or
    /// `sink` returns `Break`.
    ///
    /// # Errors
    /// [`Error::Config`] for options out of range.
    fn sample_each(
        &self,
        n: u64,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
        sink: &mut dyn FnMut(ArrayView2<T>) -> ControlFlow<()>,
    ) -> Result<()>;

    /// The log-likelihood of each row, in nats, as a density in the units of the data.
    ///
    /// # Errors
    /// [`Error::Shape`] for a wrong number of columns, [`Error::NonFinite`] for a NaN or an infinity,
    /// [`Error::NotConverged`] if an iteration (a diffusion's ODE) exhausts its budget on a row.
    fn log_likelihood(&self, x: ArrayView2<T>, options: &LikelihoodOptions) -> Result<LogLikelihood>;
}

/// The log-likelihood of each row, in nats, as a density in the units of the data.
///
/// The enum is exhaustive on purpose: an exact value, a bound and an estimate are different claims, and a
/// caller has to handle each. A density may exceed 1, so a log-density may be positive.
#[derive(Debug, Clone, PartialEq)]
pub enum LogLikelihood {
    /// log p(x) itself: autoregressive models, flows.
    Exact(Array1<f64>),
    /// A value that is at most log p(x) on average over its draws: the ELBO (draws = 1), the IWAE bound
    /// (draws > 1).
    LowerBound {
        /// The bound.
        nats: Array1<f64>,
        /// Latent draws per row.
        draws: usize,
    },
    /// log p(x) by integrating the probability-flow ODE.
    OdeEstimate {
        /// The estimate.
        nats: Array1<f64>,
        /// The largest number of network evaluations spent on a row.
        nfe: usize,
        /// The solver's relative tolerance.
        rtol: f64,
        /// How the divergence was computed.
        divergence: TraceEstimator,
    },
    /// A noisy estimate of log p(x).
    Estimate {
        /// The estimate.
        nats: Array1<f64>,
        /// Its standard error.
        std_error: Array1<f64>,
    },
    /// log p(x) up to one unknown constant: energy-based models.
    Unnormalised(Array1<f64>),
    /// The model has no density that can be evaluated: GANs, distilled samplers.
    Unavailable,
}

impl LogLikelihood {
    /// Which case this is.
    pub fn kind(&self) -> LikelihoodKind {
        match self {
            LogLikelihood::Exact(_) => LikelihoodKind::Exact,
            LogLikelihood::LowerBound { .. } => LikelihoodKind::LowerBound,
            LogLikelihood::OdeEstimate { .. } => LikelihoodKind::OdeEstimate,
            LogLikelihood::Estimate { .. } => LikelihoodKind::Estimate,
            LogLikelihood::Unnormalised(_) => LikelihoodKind::Unnormalised,
            LogLikelihood::Unavailable => LikelihoodKind::Unavailable,
        }
    }

    /// Nats per row if they are comparable with log p(x), else (`Unnormalised`, `Unavailable`) `None`.
    pub fn nats(&self) -> Option<&Array1<f64>> {
        match self {
            LogLikelihood::Exact(nats)
            | LogLikelihood::LowerBound { nats, .. }
            | LogLikelihood::OdeEstimate { nats, .. }
            | LogLikelihood::Estimate { nats, .. } => Some(nats),
            LogLikelihood::Unnormalised(_) | LogLikelihood::Unavailable => None,
        }
    }
}

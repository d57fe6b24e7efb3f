//! The contract that every model keeps: [`Generative`], with its inputs and results.

mod options;

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::RngCore;

use crate::error::{Error, Result};
use crate::map::Card;

pub use options::{Checkpoint, LikelihoodOptions, SampleOptions, TrainOptions};

/// A model that learns p(x) from rows of data and draws new rows.
///
/// The trait is dyn-safe: a comparison loops over `Vec<Box<dyn Generative>>`. A model can be used as soon as it
/// is constructed; [`train`](Generative::train) continues from its present parameters.
///
/// `T` is the element type: `f32` for continuous data.
///
/// ```
/// use quadrivium::{prelude::*, data::Toy};
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
    /// column with heavy tails: [`Standardiser`](crate::data::Standardiser)); later calls keep it.
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

/// Rows to learn from, checked when it is made: at least one row and one column, all values finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset<T = f32> {
    x: Array2<T>,
}

impl Dataset<f32> {
    /// Takes the rows of `x`, shape (n, dim).
    ///
    /// # Errors
    /// [`Error::TooFewRows`] for no rows, [`Error::Shape`] for no columns, [`Error::NonFinite`] with the
    /// place of the first NaN or infinity.
    ///
    /// ```
    /// use quadrivium::{Dataset, ndarray::array};
    /// assert_eq!(Dataset::new(array![[0.0, 1.0], [2.0, 3.0]])?.rows(), 2);
    /// let error = Dataset::new(array![[0.0, f32::NAN]]).unwrap_err();
    /// assert_eq!(error.to_string(), "data, row 0, column 1: NaN is not a finite number");
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn new(x: Array2<f32>) -> Result<Self> {
        if x.nrows() == 0 {
            return Err(Error::TooFewRows { what: "data", got: 0, least: 1 });
        }
        if x.ncols() == 0 {
            return Err(Error::Shape {
                what: "data",
                got: x.shape().to_vec(),
                expected: "at least one column".into(),
            });
        }
        check_finite("data", x.view())?;
        // Row-major from here on: minibatches copy rows.
        Ok(Dataset { x: x.as_standard_layout().into_owned() })
    }

    /// Splits into the first `n` rows and the rest. For rows that are not in random order use
    /// [`hold_out`](Dataset::hold_out).
    ///
    /// # Errors
    /// [`Error::TooFewRows`] if either part would be empty.
    pub fn split(&self, n: usize) -> Result<(Self, Self)> {
        if n == 0 || n >= self.rows() {
            return Err(Error::TooFewRows { what: "a part of the split", got: 0, least: 1 });
        }
        let (head, tail) = self.x.view().split_at(Axis(0), n);
        Ok((Dataset { x: head.into_owned() }, Dataset { x: tail.into_owned() }))
    }
}

impl<T> Dataset<T> {
    /// The rows, shape (n, dim).
    pub fn x(&self) -> ArrayView2<'_, T> {
        self.x.view()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.x.nrows()
    }

    /// Number of columns.
    pub fn dim(&self) -> usize {
        self.x.ncols()
    }
}

/// `Error::NonFinite` with the place of the first NaN or infinity.
pub(crate) fn check_finite(what: &'static str, x: ArrayView2<f32>) -> Result<()> {
    match x.indexed_iter().find(|(_, v)| !v.is_finite()) {
        None => Ok(()),
        Some(((row, column), &value)) => Err(Error::NonFinite { what, row, column, value: value.into() }),
    }
}

/// `Error::Shape` unless `x` has `dim` columns, `Error::NonFinite` unless its values are finite.
pub(crate) fn check_rows(what: &'static str, x: ArrayView2<f32>, dim: usize) -> Result<()> {
    if x.ncols() != dim {
        return Err(Error::Shape { what, got: x.shape().to_vec(), expected: format!("(n, {dim})") });
    }
    check_finite(what, x)
}

/// Rows drawn from a model, and what they cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples<T = f32> {
    /// The rows, shape (n, dim), in the units of the data.
    pub x: Array2<T>,
    /// Number of network (function) evaluations spent on each row, as counted.
    pub nfe: usize,
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
        divergence: Divergence,
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

/// How the divergence of an ODE's drift was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Divergence {
    /// The full trace of the Jacobian, one tangent per column.
    Exact,
    /// Hutchinson's estimator with this many probes per row.
    Hutchinson {
        /// Random probes per row. 1 to 4096.
        probes: usize,
    },
}

/// Which [`LogLikelihood`] a model returns, as its [`Card`] predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LikelihoodKind {
    /// [`LogLikelihood::Exact`].
    Exact,
    /// [`LogLikelihood::LowerBound`].
    LowerBound,
    /// [`LogLikelihood::OdeEstimate`].
    OdeEstimate,
    /// [`LogLikelihood::Estimate`].
    Estimate,
    /// [`LogLikelihood::Unnormalised`].
    Unnormalised,
    /// [`LogLikelihood::Unavailable`].
    Unavailable,
}

impl LikelihoodKind {
    /// The claim as one about the negative log-likelihood (NLL): a lower bound on log p is an upper bound on
    /// the NLL, and the other claims are the same.
    ///
    /// ```
    /// use quadrivium::LikelihoodKind;
    /// assert_eq!(LikelihoodKind::LowerBound.to_string(), "lower bound");
    /// assert_eq!(LikelihoodKind::LowerBound.of_nll(), "upper bound");
    /// assert_eq!(LikelihoodKind::Exact.of_nll(), "exact");
    /// ```
    pub fn of_nll(self) -> &'static str {
        match self {
            LikelihoodKind::Exact => "exact",
            LikelihoodKind::LowerBound => "upper bound",
            LikelihoodKind::OdeEstimate => "ODE estimate",
            LikelihoodKind::Estimate => "estimate",
            LikelihoodKind::Unnormalised => "unnormalised",
            LikelihoodKind::Unavailable => "none",
        }
    }
}

impl std::fmt::Display for LikelihoodKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            LikelihoodKind::LowerBound => "lower bound",
            other => other.of_nll(),
        })
    }
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

/// The course of a training.
///
/// [`Objective::loss_unit`](crate::map::Objective::loss_unit) says what unit the losses have. Networks see
/// standardised columns, so their losses in nats differ from the log-likelihood, which is in the units of the
/// data, by the sum of the logarithms of the columns' scales.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainReport {
    /// The loss of each step, mean over the minibatch.
    pub loss: Vec<f64>,
    /// The parts of each step's loss by name (a VAE's reconstruction and KL, a GAN's critic and penalty, …).
    pub parts: Vec<(&'static str, Vec<f64>)>,
    /// Pairs (steps done, loss on the held-out rows).
    pub validation: Vec<(usize, f64)>,
    /// Why the training ended.
    pub stop: Stop,
}

/// Why a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// All steps are done.
    Completed,
    /// The observer returned `Break`.
    Interrupted,
    /// No new best validation loss within the patience; the best parameters are kept.
    Patience,
}

/// What an [`Observer`] sees after each step.
#[derive(Debug, Clone)]
pub struct Step<'a> {
    /// Number of the step just done, from 0.
    pub step: usize,
    /// Number of steps that were asked for.
    pub steps: usize,
    /// Mean loss of this minibatch.
    pub loss: f64,
    /// Names of the loss's parts.
    pub part_names: &'a [&'static str],
    /// Their values, in the order of the names.
    pub parts: &'a [f64],
    /// The latest validation loss, if there is one.
    pub validation: Option<f64>,
}

/// Watches a training: progress bars, logs, interruption. Any `FnMut(&Step) -> ControlFlow<()>` is an observer.
pub trait Observer {
    /// Called after each step. `Break` ends the training, and the model keeps what it has learned.
    fn step(&mut self, step: &Step<'_>) -> ControlFlow<()>;
}

/// The observer that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn step(&mut self, _: &Step<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: FnMut(&Step<'_>) -> ControlFlow<()>> Observer for F {
    fn step(&mut self, step: &Step<'_>) -> ControlFlow<()> {
        self(step)
    }
}

//! The contract that every model implements: [`Distribution`] and [`Generative`], with their inputs and results.

mod boxed;
#[cfg(feature = "safetensors")]
pub mod file;
mod sequence;
mod session;
mod shell;

use std::ops::{ControlFlow, Range};

use ndarray::{Array1, Array2, ArrayView2};
use rand::RngCore;

use crate::engine::RowStreams;
pub(crate) use crate::engine::check_rows;
use crate::engine::tiles::{self, check_whole};
pub use crate::engine::{
    Checkpoint, Condition, ConditionKind, Dataset, HeldOut, LikelihoodOptions, NoObserver, Observer,
    SampleOptions, Samples, Step, Stop, Token, TraceEstimator, TrainOptions, TrainReport,
};
#[cfg(doc)]
use crate::error::Error;
use crate::error::{ConditionError, Result, check};
pub use crate::map::{Card, LikelihoodKind};
use crate::numeric::log_sum_exp;
use crate::numeric::rng::{Streams, seeded};
pub use sequence::{Continuation, Decoder, Histories, NextToken, SequenceParadigm, Sequences, Truncation};
pub use session::Session;
pub use shell::Paradigm;
pub(crate) use shell::{Draws, Scored, log_prob, no_condition};

/// What can be sampled and scored: a trained model, a model under a condition, a composition, or a known truth.
///
/// Dyn-safe, so one table, one set of metrics and one test serve them all. `T` is the element of a row: `f32` for
/// continuous data, [`Token`] for text.
pub trait Distribution<T = f32>: Send + Sync {
    /// Its place on the map, with what the literature predicts for it.
    fn card(&self) -> Card;

    /// Number of columns of a row.
    fn dim(&self) -> usize;

    /// Draws `n` rows. From the same state of `rng`, `sample(k)` gives the first k rows of `sample(n)`.
    ///
    /// A conditional model that was also trained without conditions draws from p(x). Any other conditional model
    /// draws each row's condition with its frequency in the training data.
    ///
    /// # Errors
    /// [`Error::Config`] for options out of range, or for more rows than fit into memory; [`Error::Condition`] if the
    /// condition has neither one row nor `n`.
    fn sample(&self, n: usize, options: &SampleOptions, rng: &mut dyn RngCore) -> Result<Samples<T>>;

    /// Draws the rows of [`sample`](Distribution::sample) in blocks, in constant memory, until `n` are drawn or
    /// `sink` returns `Break`.
    ///
    /// # Errors
    /// As [`sample`](Distribution::sample).
    fn sample_each(
        &self,
        n: u64,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
        sink: &mut dyn FnMut(ArrayView2<T>) -> ControlFlow<()>,
    ) -> Result<()>;

    /// Fills `rows`, whole rows of [`dim`](Distribution::dim) numbers, row r from stream r of `at`; the evaluations
    /// spent on each. A composition draws its parts by it: which other rows are drawn, and in what blocks, changes no
    /// bit. Under a condition with a row for each, the row with the number of the stream holds.
    ///
    /// The default draws row by row with [`sample`](Distribution::sample).
    ///
    /// # Errors
    /// As [`sample`](Distribution::sample), and [`DataError::Shape`](crate::error::DataError::Shape) unless `rows`
    /// holds whole rows.
    ///
    /// ```
    /// use quadrivium::{engine::RowStreams, numeric::rng::Streams, prelude::*};
    ///
    /// let model = Vae::new(VaeConfig::default(), &mut quadrivium::seeded(0))?;
    /// let (at, options) = (RowStreams::new(Streams::new(7), 0), SampleOptions::default());
    /// let (mut three, mut last) = ([0.0; 6], [0.0; 2]);
    /// assert_eq!(model.draw_at(at, &options, &mut three)?, 1);
    /// model.draw_at(at.skip(2), &options, &mut last)?;
    /// assert_eq!(three[4..], last);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    fn draw_at(&self, at: RowStreams, options: &SampleOptions, rows: &mut [T]) -> Result<usize>
    where
        T: Clone,
    {
        let dim = self.dim();
        let mut nfe = 0;
        for r in 0..check_whole(rows, dim)? {
            let drawn = self.sample(1, options, &mut at.row(r))?;
            rows[r * dim..][..dim].iter_mut().zip(drawn.x).for_each(|(to, from)| *to = from);
            nfe = nfe.max(drawn.nfe);
        }
        Ok(nfe)
    }

    /// Draws any range of the rows that [`sample`](Distribution::sample) draws from [`seeded(seed)`](crate::seeded()), shape
    /// (rows, dim): machines that share the rows among them draw, one after the other, the same bits as one alone.
    ///
    /// A distribution that does not implement [`draw_at`](Distribution::draw_at) has rows of its own here.
    ///
    /// ```
    /// use quadrivium::{prelude::*, ndarray::{Axis, concatenate}, seeded};
    ///
    /// let model = Vae::new(VaeConfig::default(), &mut seeded(0))?;
    /// let options = SampleOptions::default();
    /// let shares = [0..30, 30..31, 31..100].map(|rows| model.sample_rows(rows, 7, &options).unwrap().x);
    /// let whole = model.sample(100, &options, &mut seeded(7))?.x;
    /// assert_eq!(concatenate(Axis(0), &shares.each_ref().map(|x| x.view())).unwrap(), whole);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`sample`](Distribution::sample); [`Error::Config`] for a range that ends before it begins.
    fn sample_rows(&self, rows: Range<u64>, seed: u64, options: &SampleOptions) -> Result<Samples<T>>
    where
        T: Clone + Default,
    {
        check(rows.start <= rows.end, "rows", &rows, "a range that ends after it begins")?;
        let n = usize::try_from(rows.end - rows.start).unwrap_or(usize::MAX);
        let mut x = tiles::zeroed(n, self.dim())?;
        let at = RowStreams::new(Streams::from_rng(&mut seeded(seed)), rows.start);
        let nfe = self.draw_at(at, options, &mut x)?;
        Ok(Samples { x: Array2::from_shape_vec((n, self.dim()), x).expect("n rows of dim columns"), nfe })
    }

    /// The log-likelihood of each row, in nats, as a density in the units of the data.
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::error::DataError::Shape) for a wrong number of columns,
    /// [`DataError::NonFinite`](crate::error::DataError::NonFinite) for a NaN or an infinity,
    /// [`TrainingError::NotConverged`](crate::error::TrainingError::NotConverged) if an iteration (a diffusion's ODE)
    /// exhausts its budget on a row, [`Error::Condition`] if a condition is missing or has neither one row nor one
    /// for each.
    fn log_likelihood(&self, x: ArrayView2<T>, options: &LikelihoodOptions) -> Result<LogLikelihood>;

    /// Draws `n` rows with the default options, shape (n, dim).
    ///
    /// # Errors
    /// As [`sample`](Distribution::sample).
    fn draw(&self, n: usize, rng: &mut dyn RngCore) -> Result<Array2<T>> {
        Ok(self.sample(n, &SampleOptions::default(), rng)?.x)
    }
}

/// A model that learns p(x) from rows of data and draws new rows.
///
/// The trait is dyn-safe: a comparison loops over `Vec<Box<dyn Generative>>`. A model can be used as soon as it
/// is constructed; [`train`](Generative::train) continues from its present parameters.
///
/// `T` is the element type: `f32` for continuous data.
///
/// ```
/// use quadrivium::{*, worlds::Toy};
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
///     model.train(&data, &TrainOptions { steps: 20, ..Default::default() }, &mut rng, &mut NoObserver)?;
///     let samples = model.sample(5, &SampleOptions::default(), &mut rng)?;
///     let score = model.log_likelihood(samples.x.view(), &LikelihoodOptions::default())?;
///     assert_eq!((samples.x.dim(), samples.nfe), ((5, 2), model.card().nfe));
///     assert_eq!(score.kind(), model.card().likelihood);
/// }
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub trait Generative<T = f32>: Distribution<T> {
    /// Number of trainable parameters, over all networks.
    fn num_params(&self) -> usize;

    /// What the model is conditioned on.
    fn condition(&self) -> ConditionKind {
        ConditionKind::None
    }

    /// Fits the model to the rows of `data`, starting from the present parameters.
    ///
    /// The first call also fits the standardizer (shift and scale per column, and in networks the map of a
    /// column with heavy tails: [`Standardizer`](crate::engine::Standardizer)); later calls keep it.
    /// The same build, data, options and state of `rng` give the same bits, whatever the number of threads.
    ///
    /// # Errors
    /// [`Error::Config`] for options out of range, [`DataError::Shape`](crate::error::DataError::Shape) if `data`
    /// does not have [`dim`](Distribution::dim) columns, [`Error::Condition`] unless its rows have the model's
    /// kind of condition, [`DataError::TooFewRows`](crate::error::DataError::TooFewRows) if fewer than two rows are
    /// left to train on, [`DataError::ConstantColumn`](crate::error::DataError::ConstantColumn) and
    /// [`DataError::NarrowColumn`](crate::error::DataError::NarrowColumn) for a column without a usable spread, and
    /// [`TrainingError::Diverged`](crate::error::TrainingError::Diverged) if the loss or its gradient stops being
    /// finite; the model then keeps its last good parameters. With a checkpoint,
    /// [`FileError::Checkpoint`](crate::error::FileError::Checkpoint) if it belongs to another training and
    /// [`FileError::Io`](crate::error::FileError::Io) if it cannot be read or written.
    fn train(
        &mut self,
        data: &Dataset<T>,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport>;

    /// p(x|c): the model under a condition. A condition of one row applies to all rows that are drawn or scored;
    /// otherwise row i of the condition belongs to row i.
    ///
    /// # Errors
    /// [`Error::Condition`] for a condition of another kind, class or width.
    ///
    /// ```
    /// use quadrivium::{*, ndarray::{Array1, Array2}};
    ///
    /// // Rows of class k lie near k.
    /// let mut rng = quadrivium::seeded(0);
    /// let class = |row: usize| (row % 2) as u32;
    /// let x = Array2::from_shape_fn((200, 1), |(row, _)| class(row) as f32 + 0.1 * (row as f32).sin());
    /// let data = Dataset::new(x)?.with_condition(Condition::Class(Array1::from_shape_fn(200, class)))?;
    /// let config = VaeConfig { dim: 1, condition: ConditionKind::Class { classes: 2 }, ..Default::default() };
    /// let mut model = Vae::new(config, &mut rng)?;
    /// model.train(&data, &TrainOptions { steps: 200, ..Default::default() }, &mut rng, &mut NoObserver)?;
    ///
    /// let drawn = model.given(&Condition::class(1))?.draw(100, &mut rng)?;
    /// assert!((drawn.mean().unwrap() - 1.0).abs() < 0.2);
    /// let error = model.given(&Condition::class(7)).err().unwrap();
    /// assert_eq!(error.to_string(), "condition, row 0: class 7: expected one from 0 to 1");
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    fn given(&self, condition: &Condition) -> Result<Box<dyn Distribution<T> + '_>> {
        let _ = condition;
        Err(ConditionError::Unexpected.into())
    }

    /// [`train`](Generative::train) with the default options and without an observer.
    ///
    /// # Errors
    /// As [`train`](Generative::train).
    fn fit(&mut self, data: &Dataset<T>, rng: &mut dyn RngCore) -> Result<TrainReport> {
        self.train(data, &TrainOptions::default(), rng, &mut NoObserver)
    }
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
    Unnormalized(Array1<f64>),
    /// The model has no density that can be evaluated: GANs, distilled samplers.
    Unavailable,
}

impl LogLikelihood {
    /// The variant, without its values.
    pub fn kind(&self) -> LikelihoodKind {
        match self {
            LogLikelihood::Exact(_) => LikelihoodKind::Exact,
            LogLikelihood::LowerBound { .. } => LikelihoodKind::LowerBound,
            LogLikelihood::OdeEstimate { .. } => LikelihoodKind::OdeEstimate,
            LogLikelihood::Estimate { .. } => LikelihoodKind::Estimate,
            LogLikelihood::Unnormalized(_) => LikelihoodKind::Unnormalized,
            LogLikelihood::Unavailable => LikelihoodKind::Unavailable,
        }
    }

    /// Nats per row, if they can be compared with log p(x); `None` for `Unnormalized` and `Unavailable`.
    pub fn nats(&self) -> Option<&Array1<f64>> {
        match self {
            LogLikelihood::Exact(nats)
            | LogLikelihood::LowerBound { nats, .. }
            | LogLikelihood::OdeEstimate { nats, .. }
            | LogLikelihood::Estimate { nats, .. } => Some(nats),
            LogLikelihood::Unnormalized(_) | LogLikelihood::Unavailable => None,
        }
    }

    /// The numbers, whatever kind they are of.
    pub(crate) fn values(&self) -> Option<&Array1<f64>> {
        match self {
            LogLikelihood::Unnormalized(nats) => Some(nats),
            other => other.nats(),
        }
    }

    /// The same kind of likelihood with other numbers, which are these shifted by what is known exactly.
    pub(crate) fn with_values(mut self, values: Array1<f64>) -> Self {
        match &mut self {
            LogLikelihood::Exact(nats)
            | LogLikelihood::LowerBound { nats, .. }
            | LogLikelihood::OdeEstimate { nats, .. }
            | LogLikelihood::Estimate { nats, .. }
            | LogLikelihood::Unnormalized(nats) => *nats = values,
            LogLikelihood::Unavailable => {}
        }
        self
    }

    /// ln Σ wₖ pₖ(x), from parts with their ln wₖ. Unnormalized parts cannot be summed: each has its own unknown
    /// constant.
    pub(crate) fn mixture(parts: Vec<(f64, LogLikelihood)>) -> LogLikelihood {
        let Some((_, first)) = parts.first() else { return LogLikelihood::Unavailable };
        let terms: Option<Vec<(f64, &Array1<f64>)>> =
            parts.iter().map(|(weight, part)| Some((*weight, part.nats()?))).collect();
        let Some(terms) = terms else { return LogLikelihood::Unavailable };
        let nats = Array1::from_shape_fn(terms[0].1.len(), |row| {
            let terms: Vec<f64> = terms.iter().map(|(weight, nats)| weight + nats[row]).collect();
            log_sum_exp(&terms)
        });
        let nfe =
            |part: &LogLikelihood| if let LogLikelihood::OdeEstimate { nfe, .. } = part { *nfe } else { 0 };
        match first {
            LogLikelihood::LowerBound { draws, .. } => LogLikelihood::LowerBound { nats, draws: *draws },
            LogLikelihood::OdeEstimate { rtol, divergence, .. } => LogLikelihood::OdeEstimate {
                nats,
                nfe: parts.iter().map(|(_, part)| nfe(part)).sum(),
                rtol: *rtol,
                divergence: *divergence,
            },
            LogLikelihood::Estimate { std_error, .. } => {
                // Cannot exceed the largest error among the parts.
                let std_error = parts.iter().fold(std_error.clone(), |most, (_, part)| match part {
                    LogLikelihood::Estimate { std_error, .. } => {
                        ndarray::Zip::from(&most).and(std_error).map_collect(|a, b| a.max(*b))
                    }
                    _ => most,
                });
                LogLikelihood::Estimate { nats, std_error }
            }
            _ => LogLikelihood::Exact(nats),
        }
    }
}

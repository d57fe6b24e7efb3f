use ndarray::{Array2, ArrayView2};
use rand::RngCore;
use rand::seq::SliceRandom;

use super::condition::{Condition, ConditionKind, Conditions};
use super::dataset::Row;
use super::{Dataset, Standardizer, TrainOptions};
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, check};
use crate::numeric::rng::Streams;

/// What the first training fixes in every model: the units of its rows and of their conditions. Later trainings
/// keep these units.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Fitted {
    /// The units of the rows.
    #[cfg_attr(feature = "safetensors", serde(alias = "standardiser"))]
    pub standardizer: Standardizer,
    /// The units of their conditions, and how often each condition occurred.
    #[cfg_attr(feature = "safetensors", serde(default, skip_serializing_if = "Conditions::are_none"))]
    pub conditions: Conditions,
}

impl Fitted {
    /// The units of a model of `dim` columns that has seen no data.
    pub fn new(dim: usize, condition: ConditionKind) -> Self {
        Fitted { standardizer: Standardizer::identity(dim), conditions: Conditions::new(condition) }
    }

    /// Checks that what was read from a file fits `dim` columns and conditions of that kind.
    #[cfg(feature = "safetensors")]
    pub(crate) fn validate(&self, dim: usize, condition: ConditionKind) -> Result<()> {
        self.standardizer.validate(dim)?;
        self.conditions.validate(condition)
    }
}

/// Rows in standard units with their encoded conditions.
#[derive(Debug, Clone, PartialEq)]
pub struct Part<T = f32> {
    /// (n, dim), row-major.
    pub x: Array2<T>,
    /// (n, width of a condition), row-major.
    pub c: Array2<f32>,
}

impl<T> Part<T> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.x.nrows()
    }
}

/// The rows of a training run in standard units, split into rows to learn from and rows to validate on, with the
/// random streams of the training. All checks of the input happen here, before a model changes.
#[derive(Debug, Clone)]
pub struct Rows<T = f32> {
    /// The rows to learn from.
    pub training: Part<T>,
    /// The held-out rows; none if the validation share is 0.
    pub validation: Part<T>,
    /// The model's units; at its first training, the units of the training rows.
    pub fitted: Fitted,
    pub(crate) streams: Streams,
}

impl Rows<f32> {
    /// [Splits](split) `data` and standardizes both parts. The held-out rows do not influence the units.
    ///
    /// # Errors
    /// [`Error::Config`] for options out of range or a share that leaves no rows to train on,
    /// [`DataError::Shape`](crate::error::DataError::Shape) unless `data` has the standardizer's number of columns,
    /// [`Error::Condition`] for conditions of another kind, and the errors of [`Standardizer::fitted_with_tails`].
    pub fn prepare(
        data: &Dataset,
        fitted: &Fitted,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
    ) -> Result<Self> {
        Self::in_units(data, fitted, options, rng, |x| fitted.standardizer.fitted_with_tails(x))
    }

    /// As [`prepare`](Rows::prepare), but in the units of [`Standardizer::whitened`] if `whiten` is true.
    ///
    /// # Errors
    /// As [`prepare`](Rows::prepare).
    pub fn whitened(
        data: &Dataset,
        fitted: &Fitted,
        whiten: bool,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
    ) -> Result<Self> {
        if !whiten {
            return Self::prepare(data, fitted, options, rng);
        }
        Self::in_units(data, fitted, options, rng, |x| fitted.standardizer.whitened(x))
    }

    fn in_units(
        data: &Dataset,
        fitted: &Fitted,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        units: impl FnOnce(ArrayView2<f32>) -> Result<Standardizer>,
    ) -> Result<Self> {
        let (training, validation, streams) = split(data, options, rng)?;
        let conditions = conditions_of(fitted, training.1.as_ref())?;
        let standardizer = units(training.0.view())?;
        let part = |(x, condition): (Array2<f32>, Option<Condition>)| -> Result<Part> {
            Ok(Part { c: conditions.of_rows(condition.as_ref(), x.nrows())?, x: standardizer.apply(x) })
        };
        let (training, validation) = (part(training)?, part(validation)?);
        Ok(Rows { training, validation, fitted: Fitted { standardizer, conditions }, streams })
    }
}

impl<T: Row> Rows<T> {
    /// [Splits](split) `data` without changing the rows: symbols have no units.
    ///
    /// # Errors
    /// [`Error::Config`] for options out of range or a share that leaves no rows to train on, [`Error::Condition`]
    /// for conditions of another kind.
    pub fn plain(
        data: &Dataset<T>,
        fitted: &Fitted,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
    ) -> Result<Self> {
        let (training, validation, streams) = split(data, options, rng)?;
        let conditions = conditions_of(fitted, training.1.as_ref())?;
        let part = |(x, condition): (Array2<T>, Option<Condition>)| -> Result<Part<T>> {
            Ok(Part { c: conditions.of_rows(condition.as_ref(), x.nrows())?, x })
        };
        let (training, validation) = (part(training)?, part(validation)?);
        Ok(Rows { training, validation, fitted: Fitted { conditions, ..fitted.clone() }, streams })
    }
}

/// The model's units; at its first training, the units of the training rows.
fn conditions_of(fitted: &Fitted, training: Option<&Condition>) -> Result<Conditions> {
    if fitted.standardizer.is_fitted() {
        fitted.conditions.kind().check(training)?;
        return Ok(fitted.conditions.clone());
    }
    fitted.conditions.fitted(training)
}

/// Rows, with the condition of each if there are conditions.
pub type Labeled<T = f32> = (Array2<T>, Option<Condition>);

/// Splits the rows at random according to `options.validation` into rows to learn from and held-out rows, and makes
/// the training's streams. A model's `train` with the same data, options and state of `rng` makes the same split. Where
/// `data` says which rows to validate on ([`Dataset::with_validation`]), these are the held-out ones.
///
/// # Errors
/// [`Error::Config`] for options out of range, for patience without held-out rows, and for a share that leaves no rows
/// to train on.
///
/// ```
/// use quadrivium::{Dataset, TrainOptions, engine, ndarray::Array2, seeded};
/// let data = Dataset::new(Array2::from_shape_fn((10, 1), |(row, _)| row as f32))?;
/// let options = TrainOptions { validation: 0.2, ..Default::default() };
/// let ((learned, _), (held_out, _), _) = engine::split(&data, &options, &mut seeded(0))?;
/// assert_eq!((learned.nrows(), held_out.nrows()), (8, 2));
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn split<T: Row>(
    data: &Dataset<T>,
    options: &TrainOptions,
    rng: &mut dyn RngCore,
) -> Result<(Labeled<T>, Labeled<T>, Streams)> {
    options.validate()?;
    let streams = Streams::from_rng(rng);
    let (share, rows) = (options.validation, data.rows());
    let watched = data.validation().is_some() || share > 0.0;
    let (field, patience) = ("TrainOptions::patience", options.patience);
    check(patience.is_none() || watched, field, patience, "None while validation is 0")?;
    if let Some(chosen) = data.validation() {
        let all = |data: &Dataset<T>| (data.x().to_owned(), data.condition().cloned());
        return Ok((all(data), all(chosen), streams));
    }
    let held_out = (share * rows as f64).ceil() as usize;
    check(held_out < rows, "TrainOptions::validation", share, "a share that leaves rows to train on")?;
    let mut order: Vec<usize> = (0..rows).collect();
    if held_out > 0 {
        order.shuffle(&mut streams.stream(u64::MAX));
    }
    Ok((data.select(&order[held_out..]), data.select(&order[..held_out]), streams))
}

use ndarray::{Array2, ArrayView2, Axis};
use rand::RngCore;
use rand::seq::SliceRandom;

use super::{Dataset, TrainOptions};
use crate::engine::Standardiser;
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, check};
use crate::numeric::rng::Streams;

/// The rows of a training: split into those to learn from and those to validate on, in standard units, with
/// the random streams of the training. Whatever can be refused is refused in making them, before a model
/// changes.
#[derive(Debug, Clone)]
pub struct Rows {
    /// (n, dim), row-major.
    pub training: Array2<f32>,
    /// (m, dim), row-major; no rows for a validation share of 0.
    pub validation: Array2<f32>,
    /// The change of units: the model's own, or, at its first training, that of the training rows.
    pub standardiser: Standardiser,
    pub(crate) streams: Streams,
}

impl Rows {
    /// Splits `data` by `options.validation`, at random, and standardises both parts. The held-out rows have
    /// no say in the units.
    ///
    /// # Errors
    /// [`Error::Config`] for options out of range or a share that leaves no row to train on, [`Error::Shape`]
    /// unless the columns are the standardiser's, and what [`Standardiser::fitted_with_tails`] refuses.
    pub fn prepare(
        data: &Dataset,
        standardiser: &Standardiser,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
    ) -> Result<Self> {
        Self::in_units(data, options, rng, |training| standardiser.fitted_with_tails(training))
    }

    /// As [`prepare`](Rows::prepare), in the units of [`Standardiser::whitened`] if `whiten`.
    ///
    /// # Errors
    /// As [`prepare`](Rows::prepare).
    pub fn whitened(
        data: &Dataset,
        standardiser: &Standardiser,
        whiten: bool,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
    ) -> Result<Self> {
        if !whiten {
            return Self::prepare(data, standardiser, options, rng);
        }
        Self::in_units(data, options, rng, |training| standardiser.whitened(training))
    }

    fn in_units(
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        fit: impl FnOnce(ArrayView2<f32>) -> Result<Standardiser>,
    ) -> Result<Self> {
        let (training, validation, streams) = split(data, options, rng)?;
        let standardiser = fit(training.view())?;
        Ok(Rows {
            training: standardiser.apply(training),
            validation: standardiser.apply(validation),
            standardiser,
            streams,
        })
    }
}

/// The rows to learn from, those held out by `options.validation`, at random, and the training's streams: a model's
/// `train` called with the same data, options and state of `rng` learns from the one part and validates on the other.
///
/// # Errors
/// [`Error::Config`] for options out of range or a share that leaves no row to train on.
///
/// ```
/// use quadrivium::{Dataset, TrainOptions, ndarray::Array2, seeded, train};
/// let data = Dataset::new(Array2::from_shape_fn((10, 1), |(row, _)| row as f32))?;
/// let options = TrainOptions { validation: 0.2, ..Default::default() };
/// let (learned, held_out, _) = engine::split(&data, &options, &mut seeded(0))?;
/// assert_eq!((learned.nrows(), held_out.nrows()), (8, 2));
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn split(
    data: &Dataset,
    options: &TrainOptions,
    rng: &mut dyn RngCore,
) -> Result<(Array2<f32>, Array2<f32>, Streams)> {
    options.validate()?;
    let streams = Streams::from_rng(rng);
    let (share, rows) = (options.validation, data.rows());
    let held_out = (share * rows as f64).ceil() as usize;
    check(held_out < rows, "TrainOptions::validation", share, "a share that leaves rows to train on")?;
    let mut order: Vec<usize> = (0..rows).collect();
    if held_out > 0 {
        order.shuffle(&mut streams.stream(u64::MAX));
    }
    let take = |rows: &[usize]| data.x().select(Axis(0), rows);
    Ok((take(&order[held_out..]), take(&order[..held_out]), streams))
}

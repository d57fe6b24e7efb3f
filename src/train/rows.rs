use ndarray::{Array2, Axis};
use rand::RngCore;
use rand::seq::SliceRandom;

use crate::data::Standardiser;
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, check};
use crate::generative::{Dataset, TrainOptions};
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
        let (training, validation, streams) = split(data, options, rng)?;
        let standardiser = standardiser.fitted_with_tails(training.view())?;
        Ok(Rows {
            training: standardiser.apply(training),
            validation: standardiser.apply(validation),
            standardiser,
            streams,
        })
    }
}

/// The rows to learn from, those held out by `options.validation`, at random, and the training's streams.
///
/// # Errors
/// [`Error::Config`] for options out of range or a share that leaves no row to train on.
pub(crate) fn split(
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

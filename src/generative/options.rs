use std::path::PathBuf;

#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, check};

/// What every training understands. What belongs to a model (learning rate, schedule, …) is in its config.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Optimiser steps (for a GAN: generator steps). At least 1. Default 2000.
    pub steps: usize,
    /// Rows per step, drawn with replacement. 1 to 16,777,216. Default 256.
    pub batch: usize,
    /// Parts of a minibatch with a random stream and a gradient of their own, summed in order: the most
    /// threads that a step can use, and part of the result's definition. 1 to `batch`, at most 1024. Default 2.
    pub shards: usize,
    /// Share of the rows held out to measure the loss on. 0 (none) up to, not including, 1. Default 0.
    pub validation: f64,
    /// Steps between two measurements of the validation loss. At least 1. Default 100.
    pub validate_every: usize,
    /// Stop after this many validations without a new best, and keep the best parameters. `None` (never) or
    /// at least 1. Default `None`.
    pub patience: Option<usize>,
    /// A file to go on from after an interruption. The baselines, which take seconds, write none: they start
    /// anew. Default `None`.
    pub checkpoint: Option<Checkpoint>,
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions {
            steps: 2000,
            batch: 256,
            shards: 2,
            validation: 0.0,
            validate_every: 100,
            patience: None,
            checkpoint: None,
        }
    }
}

impl TrainOptions {
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check(self.steps >= 1, "TrainOptions::steps", self.steps, "at least 1")?;
        check((1..=1 << 24).contains(&self.batch), "TrainOptions::batch", self.batch, "1 to 16,777,216")?;
        let shards = (1..=self.batch.min(1024)).contains(&self.shards);
        check(shards, "TrainOptions::shards", self.shards, "1 to batch, at most 1024")?;
        check(
            (0.0..1.0).contains(&self.validation),
            "TrainOptions::validation",
            self.validation,
            "0 or more, less than 1",
        )?;
        check(self.validate_every >= 1, "TrainOptions::validate_every", self.validate_every, "at least 1")?;
        check(self.patience != Some(0), "TrainOptions::patience", self.patience, "None or at least 1")?;
        check(
            self.patience.is_none() || self.validation > 0.0,
            "TrainOptions::patience",
            self.patience,
            "None while validation is 0",
        )?;
        let every = self.checkpoint.as_ref().map(|checkpoint| checkpoint.every);
        check(every != Some(0), "Checkpoint::every", every, "at least 1")
    }
}

/// A file that a training can go on from.
///
/// If the file is there, the training goes on from it, else it starts. Killed at any moment and called again
/// in the same way — model, data, options, state of `rng` — it ends in the same bits as without the
/// interruption: parameters, averages, report. The observer sees the steps from there on. A training that
/// had ended is not done again: the call returns what it returned.
///
/// The file is replaced as a whole: a crash leaves the old one or the new one. It is no exchange format: only
/// the same version of the crate reads it. For the finished model see `persist`, with the feature
/// `safetensors`.
///
/// ```
/// use quadrivium::{Checkpoint, data::Toy, prelude::*, seeded};
///
/// let path = std::env::temp_dir().join(format!("moons-{}.checkpoint", std::process::id()));
/// let data = Dataset::new(Toy::moons(0.1)?.sample(500, &mut seeded(0)))?;
/// let options = TrainOptions {
///     steps: 20,
///     checkpoint: Some(Checkpoint { path: path.clone(), every: 5 }),
///     ..Default::default()
/// };
/// let fit = |observer: &mut dyn Observer| -> Result<(TrainReport, Vae)> {
///     let mut rng = seeded(1);
///     let mut vae = Vae::new(VaeConfig::default(), &mut rng)?;
///     Ok((vae.train(&data, &options, &mut rng, observer)?, vae))
/// };
/// // Interrupted after seven steps …
/// use std::ops::ControlFlow::{Break, Continue};
/// let (report, _) = fit(&mut |step: &Step<'_>| if step.step == 6 { Break(()) } else { Continue(()) })?;
/// assert_eq!((report.loss.len(), report.stop), (7, Stop::Interrupted));
/// // … and gone on with.
/// let (report, vae) = fit(&mut Silent)?;
/// assert_eq!((report.loss.len(), report.stop), (20, Stop::Completed));
/// # std::fs::remove_file(&path).unwrap();
/// let (whole, at_once) = fit(&mut Silent)?;
/// assert_eq!(report, whole);
/// assert_eq!(vae.reconstruct(data.x())?, at_once.reconstruct(data.x())?);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The file.
    pub path: PathBuf,
    /// Steps between two writings. At least 1. A writing waits for the disk, for some milliseconds: as long as
    /// ten or twenty steps of a small network take.
    pub every: usize,
}

/// What every sampler understands.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleOptions {
    /// Scale of the randomness: 1 samples the model, less draws less varied rows. Each model's `sample`
    /// says what it scales. More than 0, at most 1e6: beyond, f32 runs out of range. Default 1.
    pub temperature: f64,
}

impl Default for SampleOptions {
    fn default() -> Self {
        SampleOptions { temperature: 1.0 }
    }
}

impl SampleOptions {
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check(
            self.temperature > 0.0 && self.temperature <= 1e6,
            "SampleOptions::temperature",
            self.temperature,
            "more than 0, at most 1e6",
        )
    }
}

/// What every likelihood understands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LikelihoodOptions {
    /// Seed of whatever noise the estimate needs (latent draws, divergence probes). The noise is keyed by
    /// this seed and a row's content, so a batch scores as its rows do. Default 0.
    pub seed: u64,
}

use std::path::PathBuf;
use std::sync::Arc;

use super::{Alone, Exchange, Memory};
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, check};

/// The training options that all models share. Options of one kind of model (learning rate, schedule, …) are in its
/// config.
///
/// ```
/// use quadrivium::TrainOptions;
///
/// let short = TrainOptions { steps: 100, batch: 1, ..TrainOptions::default() };
/// assert!(short.validate().is_ok());
/// ```
#[derive(Debug, Clone)]
pub struct TrainOptions {
    /// Number of optimizer steps (for a GAN: generator steps). At least 1. Default 2000.
    pub steps: usize,
    /// Rows per step, drawn with replacement. 1 to 16,777,216. Default 256.
    pub batch: usize,
    /// Number of parts into which a minibatch is cut. Each part has its own random stream and gradient, and the
    /// gradients are summed in order. A step can use at most this many threads, and a different number gives a
    /// different result. 1 to 1024; a minibatch of fewer rows has one part per row. Default 2.
    pub shards: usize,
    /// Share of the rows held out to measure the validation loss. 0 (none) to less than 1. Default 0.
    pub validation: f64,
    /// Steps between two measurements of the validation loss. At least 1. Default 100.
    pub validate_every: usize,
    /// Stop after this many validations without a new best, and keep the best parameters. `None` (never) or
    /// at least 1. Default `None`.
    pub patience: Option<usize>,
    /// A file from which an interrupted training resumes. The baselines train in seconds and ignore it.
    /// Default `None`.
    pub checkpoint: Option<Checkpoint>,
    /// Where a training that is interrupted leaves what it needs to go on, in memory: [`Session`](crate::Session) uses it.
    /// Default `None`.
    pub memory: Option<Memory>,
    /// The processes that train one model together, on one machine or on several: [`Exchange`]. At most as many as
    /// shards. Default [`Alone`].
    pub exchange: Arc<dyn Exchange>,
}

/// Processes are the same if they are as many, and this one has the same place among them.
impl PartialEq for TrainOptions {
    fn eq(&self, other: &Self) -> bool {
        let TrainOptions {
            steps,
            batch,
            shards,
            validation,
            validate_every,
            patience,
            checkpoint,
            memory,
            exchange,
        } = self;
        let numbers = (steps, batch, shards, validation, validate_every, patience);
        let place = |exchange: &dyn Exchange| (exchange.rank(), exchange.ranks());
        numbers
            == (
                &other.steps,
                &other.batch,
                &other.shards,
                &other.validation,
                &other.validate_every,
                &other.patience,
            )
            && (checkpoint, memory) == (&other.checkpoint, &other.memory)
            && place(&**exchange) == place(&*other.exchange)
    }
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
            memory: None,
            exchange: Arc::new(Alone),
        }
    }
}

impl TrainOptions {
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check(self.steps >= 1, "TrainOptions::steps", self.steps, "at least 1")?;
        check((1..=1 << 24).contains(&self.batch), "TrainOptions::batch", self.batch, "1 to 16,777,216")?;
        check((1..=1024).contains(&self.shards), "TrainOptions::shards", self.shards, "1 to 1024")?;
        check(
            (0.0..1.0).contains(&self.validation),
            "TrainOptions::validation",
            self.validation,
            "0 or more, less than 1",
        )?;
        check(self.validate_every >= 1, "TrainOptions::validate_every", self.validate_every, "at least 1")?;
        check(self.patience != Some(0), "TrainOptions::patience", self.patience, "None or at least 1")?;
        let (ranks, most) = (self.exchange.ranks(), self.shards_of_batch());
        check(
            ranks <= most,
            "TrainOptions::exchange",
            ranks,
            "at most as many processes as shards of a minibatch",
        )?;
        let every = self.checkpoint.as_ref().map(|checkpoint| checkpoint.every);
        check(every != Some(0), "Checkpoint::every", every, "at least 1")
    }

    /// The number of shards of a minibatch, none of which is empty.
    pub(crate) fn shards_of_batch(&self) -> usize {
        self.shards.min(self.batch)
    }
}

/// A file from which an interrupted training resumes.
///
/// If the file exists, the training resumes from it; otherwise it starts from the beginning. A training that
/// was killed at any moment and is called again in the same way (model, data, options, state of `rng`) ends
/// with the same bits as one that was not interrupted: parameters, averages and report. The observer sees
/// only the steps after the resumption. If the saved training had already finished, the call
/// returns its report without training again.
///
/// The file is replaced as a whole, so a crash leaves either the old file or the new one. The previous file is kept
/// as `….previous`, and is used if the disk has lost the newest. On Unix the file is locked while the training runs:
/// a second training that names it is refused. If only the last write fails, `train` returns the error, and the
/// model is trained. The file is not an exchange format: only the same version of the crate reads it, on the same
/// [instruction set](crate::instruction_set). To save a finished model, see `persist` (feature `safetensors`).
///
/// ```
/// use quadrivium::{Checkpoint, worlds::Toy, *, seeded};
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
/// // … and resumed.
/// let (report, vae) = fit(&mut NoObserver)?;
/// assert_eq!((report.loss.len(), report.stop), (20, Stop::Completed));
/// # std::fs::remove_file(&path).unwrap();
/// let (whole, at_once) = fit(&mut NoObserver)?;
/// assert_eq!(report, whole);
/// assert_eq!(vae.reconstruct(data.x())?, at_once.reconstruct(data.x())?);
/// # std::fs::remove_file(&path).unwrap();
/// # std::fs::remove_file(path.with_extension("checkpoint.previous")).unwrap();
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Path of the file.
    pub path: PathBuf,
    /// Steps between two writes. At least 1. A write waits for the disk, which takes a few milliseconds: as
    /// long as ten or twenty steps of a small network.
    pub every: usize,
}

/// The options of sampling that all models share.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleOptions {
    /// Scale of the randomness. 1 samples the model; smaller values give less varied samples. Each model's
    /// `sample` says what it scales. More than 0, at most 1e6, beyond which f32 would overflow. Default 1.
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

/// The options of scoring that all models share.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LikelihoodOptions {
    /// Seed of the noise that an estimate needs (latent draws, divergence probes). The noise of a row depends
    /// on this seed and the row's values only, so a row scores the same alone and in a batch. Default 0.
    pub seed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn ranges_end_where_they_are_said_to() {
        let at = |every| Some(Checkpoint { path: PathBuf::new(), every });
        let held = TrainOptions { validation: 0.5, ..TrainOptions::default() };
        for accepted in [
            TrainOptions { steps: 1, ..TrainOptions::default() },
            TrainOptions { batch: 1 << 24, ..TrainOptions::default() },
            TrainOptions { batch: 1, shards: 1024, ..TrainOptions::default() },
            TrainOptions { validation: 1.0 - f64::EPSILON, ..TrainOptions::default() },
            TrainOptions { validate_every: 1, ..TrainOptions::default() },
            TrainOptions { patience: Some(1), ..held.clone() },
            TrainOptions { checkpoint: at(1), ..TrainOptions::default() },
        ] {
            assert!(accepted.validate().is_ok(), "{accepted:?}");
        }
        for (named, refused) in [
            ("TrainOptions::steps", TrainOptions { steps: 0, ..TrainOptions::default() }),
            ("TrainOptions::batch", TrainOptions { batch: 0, ..TrainOptions::default() }),
            ("TrainOptions::batch", TrainOptions { batch: (1 << 24) + 1, ..TrainOptions::default() }),
            ("TrainOptions::shards", TrainOptions { shards: 0, ..TrainOptions::default() }),
            ("TrainOptions::shards", TrainOptions { shards: 1025, ..TrainOptions::default() }),
            ("TrainOptions::validation", TrainOptions { validation: -1e-300, ..TrainOptions::default() }),
            ("TrainOptions::validation", TrainOptions { validation: 1.0, ..TrainOptions::default() }),
            ("TrainOptions::validate_every", TrainOptions { validate_every: 0, ..TrainOptions::default() }),
            ("TrainOptions::patience", TrainOptions { patience: Some(0), ..held }),
            ("Checkpoint::every", TrainOptions { checkpoint: at(0), ..TrainOptions::default() }),
        ] {
            match refused.validate() {
                Err(Error::Config { field, .. }) => assert_eq!(field, named),
                other => panic!("{named}: {other:?}"),
            }
        }
        for (temperature, accepted) in
            [(f64::MIN_POSITIVE, true), (1e6, true), (0.0, false), (1.001e6, false)]
        {
            assert_eq!(SampleOptions { temperature }.validate().is_ok(), accepted, "{temperature}");
        }
    }

    #[test]
    fn shards_are_at_most_the_rows_of_a_batch() {
        let shards =
            |batch, shards| TrainOptions { batch, shards, ..TrainOptions::default() }.shards_of_batch();
        assert_eq!([shards(1, 2), shards(7, 7), shards(8, 7), shards(256, 2)], [1, 7, 7, 2]);
    }
}

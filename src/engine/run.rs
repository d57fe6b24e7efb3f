use ndarray::s;

use super::checkpoint::{Carry, Identity, Saved, agree, back, identity, out};
use super::dataset::Row;
use super::loss::Progress;
use super::rows::{Part, Rows};
use super::{Exchange, Memory, Observer, Step, Stop, TrainOptions, TrainReport};
use crate::engine::tiles::TILE;
use crate::error::{Error, FileError, Result, TrainingError};
use crate::numeric::rng::Streams;

/// What the loop trains: one network, or a game of two.
pub(crate) trait Training<T = f32> {
    /// A description of what is trained and how, without the parameters, the rows and the options.
    fn identity(&self) -> String;

    /// Names of the parts of the loss.
    fn part_names(&self) -> &'static [&'static str];

    /// One step. Returns the mean loss of its minibatch, whose parts are then in [`parts`](Training::parts).
    ///
    /// # Errors
    /// [`TrainingError::Diverged`]: the parameters of the step before are kept.
    fn step(&mut self, progress: Progress, streams: Streams) -> Result<f64>;

    /// The parts of the last step's loss.
    fn parts(&self) -> &[f64];

    /// The mean loss over rows held out.
    fn validate(&mut self, part: &Part<T>, progress: Progress, streams: Streams) -> f64;

    /// The mean losses over some rows, with the parameters as they would be kept now and with the averaged ones. No
    /// step has computed a loss with them yet.
    fn last_losses(&mut self, part: &Part<T>, progress: Progress, streams: Streams) -> [f64; 2];

    /// Marks the present parameters as the best so far, which are kept in the end.
    fn mark_best(&mut self);

    /// Carries everything that later steps depend on to a checkpoint, or back.
    fn carry(&mut self, carry: &mut Carry) -> Result<()>;
}

/// The progress of a training, apart from what it trains.
struct Course {
    report: TrainReport,
    /// The lowest validation loss, and the number of validations up to it. Used only with patience.
    best: Option<(f64, usize)>,
}

impl Course {
    fn new(part_names: &[&'static str], steps: usize) -> Self {
        // A caller that asks for more steps than that may intend to stop early.
        let room = steps.min(1 << 20);
        let report = TrainReport {
            loss: Vec::with_capacity(room),
            parts: part_names.iter().map(|&name| (name, Vec::with_capacity(room))).collect(),
            validation: Vec::new(),
            stop: Stop::Completed,
        };
        Course { report, best: None }
    }

    /// A file may hold the progress of at most `steps` steps.
    fn carry(&mut self, steps: usize, carry: &mut Carry) -> Result<()> {
        let TrainReport { loss, parts, validation, stop } = &mut self.report;
        carry.numbers(loss)?;
        parts.iter_mut().try_for_each(|(_, all)| carry.numbers(all))?;
        let (mut at, mut losses): (Vec<f64>, Vec<f64>) =
            validation.iter().map(|&(at, loss)| (at as f64, loss)).unzip();
        carry.numbers(&mut at)?;
        carry.numbers(&mut losses)?;
        *validation = at.iter().zip(losses).map(|(&at, loss)| (at as usize, loss)).collect();

        let (mut least, mut count) = self.best.unwrap_or_default();
        carry.number(&mut least)?;
        carry.count_up_to(validation.len(), &mut count)?;
        self.best = (count > 0).then_some((least, count));

        // An interrupted training should continue; only a stop for lack of patience is final.
        let mut patience_ended = usize::from(*stop == Stop::Patience);
        carry.count(&mut patience_ended)?;
        if patience_ended == 1 {
            *stop = Stop::Patience;
        }

        let done = loss.len();
        let ordered =
            validation.is_sorted_by(|a, b| a.0 < b.0) && validation.iter().all(|&(at, _)| at <= done);
        if done > steps || parts.iter().any(|(_, all)| all.len() != done) || !ordered {
            return Err(Error::File(FileError::Format {
                what: "numbers that no training can leave behind".into(),
            }));
        }
        Ok(())
    }

    /// Records a validation loss and returns whether it is the best so far. If patience has run out, `report.stop`
    /// says so.
    fn judge(&mut self, loss: f64, patience: Option<usize>) -> bool {
        let Some(patience) = patience else { return false };
        let count = self.report.validation.len();
        let better = self.best.is_none_or(|(least, _)| loss < least);
        if better {
            self.best = Some((loss, count));
        }
        if self.best.is_some_and(|(_, at)| count - at >= patience) {
            self.report.stop = Stop::Patience;
        }
        better
    }
}

/// Runs all steps of a training: validation, patience, the observer, checkpoints. The training counts as finished
/// even if the last checkpoint could not be written.
///
/// # Errors
/// [`TrainingError::Diverged`]; from the checkpoint, [`FileError::Checkpoint`] and [`FileError::Io`].
pub(crate) fn run<T: Row>(
    training: &mut impl Training<T>,
    rows: &Rows<T>,
    options: &TrainOptions,
    observer: &mut dyn Observer,
) -> Result<Ran> {
    let ran = steps(training, rows, options, observer);
    if let Some(memory) = &options.memory {
        memory.ends();
    }
    ran
}

fn steps<T: Row>(
    training: &mut impl Training<T>,
    rows: &Rows<T>,
    options: &TrainOptions,
    observer: &mut dyn Observer,
) -> Result<Ran> {
    let Rows { training: learned, validation, streams, .. } = rows;
    let mut course = Course::new(training.part_names(), options.steps);
    let exchange = &*options.exchange;
    let same: Option<Identity> = match options.checkpoint.is_some() || !exchange.is_alone() {
        true => Some(identity(options, rows, training)?),
        false => None,
    };
    if let Some(same) = &same {
        agree(exchange, same)?;
    }
    let mut saved = match (&options.checkpoint, &same) {
        // Only the first process has a file.
        (Some(checkpoint), Some(same)) if exchange.rank() == 0 => Some(Saved::new(checkpoint, same)),
        _ => None,
    };
    let found = match options.memory.as_ref().and_then(Memory::recall) {
        Some(kept) => Some(kept),
        None => saved.as_mut().map(Saved::read).transpose()?.flatten(),
    };
    let found = shared(exchange, found)?;
    let is_new = found.is_none();
    if let Some(found) = found {
        back(&found, |carry| carry_all(&mut course, training, options.steps, carry)).map_err(
            |error| match (error, &saved) {
                (Error::File(FileError::Format { what }), Some(saved)) => saved.refused(what),
                (error, _) => error,
            },
        )?;
    }
    if options.checkpoint.is_some() && is_new {
        // It is better to learn now than after hours that the file cannot be written.
        let carried = out(|carry| carry_all(&mut course, training, options.steps, carry))?;
        saved.as_mut().map_or(Ok(()), |saved| saved.write(&carried))?;
    }
    let start = if course.report.stop == Stop::Completed { course.report.loss.len() } else { options.steps };
    let mut unwritten = None;
    for step in start..options.steps {
        let progress = Progress { step, steps: options.steps };
        let loss = training.step(progress, streams.family(step as u64))?;
        let report = &mut course.report;
        report.loss.push(loss);
        report.parts.iter_mut().zip(training.parts()).for_each(|((_, all), &part)| all.push(part));

        let done = step + 1;
        let last = done == options.steps;
        if validation.rows() > 0 && (done.is_multiple_of(options.validate_every) || last) {
            let loss = training.validate(validation, progress, *streams);
            if !loss.is_finite() {
                return Err(Error::Training(TrainingError::Diverged {
                    step,
                    what: format!("validation loss = {loss}"),
                }));
            }
            report.validation.push((done, loss));
            if course.judge(loss, options.patience) {
                training.mark_best();
            }
        }
        let seen = Step {
            step,
            steps: options.steps,
            loss,
            part_names: training.part_names(),
            parts: training.parts(),
            validation: course.report.validation.last().map(|&(_, loss)| loss),
        };
        if exchange.any(observer.step(&seen).is_break())? && course.report.stop == Stop::Completed {
            course.report.stop = Stop::Interrupted;
        }
        let ended = last || course.report.stop != Stop::Completed;
        let writes = options.checkpoint.as_ref().is_some_and(|to| ended || done.is_multiple_of(to.every));
        let keeps = options.memory.as_ref().filter(|_| ended);
        if writes || keeps.is_some() {
            let carried = out(|carry| carry_all(&mut course, training, options.steps, carry))?;
            match saved.as_mut().filter(|_| writes).map_or(Ok(()), |saved| saved.write(&carried)) {
                // The training is done, even if the disk fails.
                Err(error) if ended => unwritten = Some(error),
                written => written?,
            }
            if let Some(memory) = keeps {
                memory.keep(carried);
            }
        }
        if ended {
            break;
        }
    }
    // Parameters that a validation has marked as best are known to be good. The last update has had no loss yet.
    if course.best.is_none() {
        let first = s![..TILE.min(learned.rows()), ..];
        let some = Part { x: learned.x.slice(first).to_owned(), c: learned.c.slice(first).to_owned() };
        let step = course.report.loss.len();
        let losses = training.last_losses(&some, Progress { step, steps: options.steps }, *streams);
        if let Some(loss) = losses.iter().find(|loss| !loss.is_finite()) {
            return Err(Error::Training(TrainingError::Diverged { step, what: format!("loss = {loss}") }));
        }
    }
    Ok(Ran { report: course.report, unwritten })
}

/// Carries all that the rest of a training of so many steps depends on.
fn carry_all<T: Row>(
    course: &mut Course,
    training: &mut impl Training<T>,
    steps: usize,
    carry: &mut Carry,
) -> Result<()> {
    course.carry(steps, carry)?;
    training.carry(carry)
}

/// What the first process has found, for all.
fn shared(exchange: &dyn Exchange, found: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    if exchange.is_alone() {
        return Ok(found);
    }
    // Nothing, or what was found behind a byte.
    let said = found.map_or_else(Vec::new, |found| [vec![1], found].concat());
    let first = exchange.all(said)?.swap_remove(0);
    Ok(first.split_first().map(|(_, found)| found.to_vec()))
}

/// A training that has finished.
pub(crate) struct Ran {
    report: TrainReport,
    /// Why its last checkpoint could not be written.
    unwritten: Option<Error>,
}

impl Ran {
    /// # Errors
    /// The error of the last checkpoint.
    pub(crate) fn report(self) -> Result<TrainReport> {
        self.unwritten.map_or(Ok(self.report), Err)
    }
}

use std::ops::ControlFlow;

use ndarray::s;

use super::checkpoint::{Carry, Saved};
use super::dataset::Row;
use super::loss::Progress;
use super::rows::{Part, Rows};
use super::{Observer, Step, Stop, TrainOptions, TrainReport};
use crate::engine::tiles::TILE;
use crate::error::{Error, FileError, Result, TrainingError};
use crate::numeric::rng::Streams;

/// Who learns, as the loop sees it: one network, or a game of two.
pub(crate) trait Training<T = f32> {
    /// What is trained and how, beside the parameters, the rows and the options.
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

    /// The mean losses over some rows with the parameters as they would be kept now, and averaged: no step
    /// has seen them yet.
    fn last_losses(&mut self, part: &Part<T>, progress: Progress, streams: Streams) -> [f64; 2];

    /// Remembers the present parameters as the best so far: those that are kept in the end.
    fn mark_best(&mut self);

    /// Carries all that later steps depend on to a checkpoint, or back.
    fn carry(&mut self, carry: &mut Carry) -> Result<()>;
}

/// Where a training stands, beside what it trains.
struct Course {
    report: TrainReport,
    /// The least validation loss, and how many there were with it. Only with patience.
    best: Option<(f64, usize)>,
}

impl Course {
    fn new(part_names: &[&'static str], steps: usize) -> Self {
        // Who asks for more steps than that may mean to break off.
        let room = steps.min(1 << 20);
        let report = TrainReport {
            loss: Vec::with_capacity(room),
            parts: part_names.iter().map(|&name| (name, Vec::with_capacity(room))).collect(),
            validation: Vec::new(),
            stop: Stop::Completed,
        };
        Course { report, best: None }
    }

    /// What comes back from a file is that of `steps` steps at most.
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

        // An interrupted training is to go on: only the end of patience lasts.
        let mut patience_ended = usize::from(*stop == Stop::Patience);
        carry.count(&mut patience_ended)?;
        if patience_ended == 1 {
            *stop = Stop::Patience;
        }

        let done = loss.len();
        let ordered =
            validation.is_sorted_by(|a, b| a.0 < b.0) && validation.iter().all(|&(at, _)| at <= done);
        if done > steps || parts.iter().any(|(_, all)| all.len() != done) || !ordered {
            return Err(Error::File(FileError::Format { what: "numbers that no training leaves".into() }));
        }
        Ok(())
    }

    /// Takes note of a validation loss. Whether it is the best so far; the end of patience is then in
    /// `report.stop`.
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

/// All steps of a training: validation, patience, the observer, checkpoints. It came to its end even if the last
/// checkpoint could not be written.
///
/// # Errors
/// [`TrainingError::Diverged`]; of the checkpoint, [`FileError::Checkpoint`] and [`FileError::Io`].
pub(crate) fn run<T: Row>(
    training: &mut impl Training<T>,
    rows: &Rows<T>,
    options: &TrainOptions,
    observer: &mut dyn Observer,
) -> Result<Ran> {
    let Rows { training: learned, validation, streams, .. } = rows;
    let mut course = Course::new(training.part_names(), options.steps);
    let mut saved = match &options.checkpoint {
        None => None,
        Some(checkpoint) => {
            let mut saved = Saved::new(checkpoint, options, rows, training)?;
            let mut all =
                |carry: &mut Carry| course.carry(options.steps, carry).and_then(|()| training.carry(carry));
            if !saved.restore(&mut all)? {
                // A file that cannot be written is better known now than after hours.
                saved.write(all)?;
            }
            Some(saved)
        }
    };
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
        if let ControlFlow::Break(()) = observer.step(&seen)
            && course.report.stop == Stop::Completed
        {
            course.report.stop = Stop::Interrupted;
        }
        let ended = last || course.report.stop != Stop::Completed;
        if let Some(saved) = &mut saved
            && (ended || done.is_multiple_of(saved.every()))
        {
            let all =
                |carry: &mut Carry| course.carry(options.steps, carry).and_then(|()| training.carry(carry));
            match saved.write(all) {
                // The training is done, whatever the disk says.
                Err(error) if ended => unwritten = Some(error),
                written => written?,
            }
        }
        if ended {
            break;
        }
    }
    // What a validation has judged best needs no other look; no loss has seen the last update yet.
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

/// A training that came to its end.
pub(crate) struct Ran {
    report: TrainReport,
    /// Why its last checkpoint could not be written.
    unwritten: Option<Error>,
}

impl Ran {
    /// # Errors
    /// That of the last checkpoint.
    pub(crate) fn report(self) -> Result<TrainReport> {
        self.unwritten.map_or(Ok(self.report), Err)
    }
}

use std::ops::ControlFlow;

use crate::error::Result;
use crate::model::*;
use crate::numeric::rng::{Rng, Streams};

/// Trainings one after the other, which look like one to whoever watches: steps are counted on, and so are those of
/// validations. Each has the options of all.
pub(super) struct Stages<'a> {
    options: &'a TrainOptions,
    streams: Streams,
    observer: &'a mut dyn Observer,
    /// How many stages there are, and how many are done.
    count: usize,
    done: usize,
    report: TrainReport,
}

impl<'a> Stages<'a> {
    pub(super) fn new(
        count: usize,
        options: &'a TrainOptions,
        streams: Streams,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let report = TrainReport {
            loss: Vec::new(),
            parts: Vec::new(),
            validation: Vec::new(),
            stop: Stop::Completed,
        };
        Stages { options, streams, observer, count, done: 0, report }
    }

    /// Random numbers of this training beside those of its stages.
    pub(super) fn streams(&self) -> Streams {
        self.streams.family(u64::MAX)
    }

    /// The next one. It resumes from a checkpoint of its own: the first from the one that the options name, each later
    /// one from that with its number behind it. Nothing is done after an interruption.
    pub(super) fn train(
        &mut self,
        stage: impl FnOnce(&TrainOptions, &mut Rng, &mut dyn Observer) -> Result<TrainReport>,
    ) -> Result<()> {
        if self.report.stop == Stop::Interrupted {
            return Ok(());
        }
        self.done += 1;
        let mut options = self.options.clone();
        if let (2.., Some(checkpoint)) = (self.done, &mut options.checkpoint) {
            checkpoint.path.as_mut_os_string().push(format!(".{}", self.done));
        }
        let (before, left) = (self.report.loss.len(), self.count - self.done);
        let to_come = options.steps.saturating_mul(left);
        let observer = &mut *self.observer;
        let mut seen = |step: &Step<'_>| -> ControlFlow<()> {
            let steps = step.steps.saturating_add(before).saturating_add(to_come);
            observer.step(&Step { step: before + step.step, steps, ..step.clone() })
        };
        let TrainReport { loss, parts, validation, stop } =
            stage(&options, &mut self.streams.stream(self.done as u64), &mut seen)?;
        self.report.loss.extend(loss);
        self.report.parts.extend(parts);
        self.report.validation.extend(validation.into_iter().map(|(at, loss)| (before + at, loss)));
        self.report.stop = stop;
        Ok(())
    }

    pub(super) fn report(self) -> TrainReport {
        self.report
    }
}

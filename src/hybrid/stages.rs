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
    /// How many stages there are, how many are done, and how many of these could be interrupted.
    count: usize,
    done: usize,
    long: usize,
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
        Stages { options, streams, observer, count, done: 0, long: 0, report }
    }

    /// Random numbers of this training beside those of its stages.
    pub(super) fn streams(&self) -> Streams {
        self.streams.family(u64::MAX)
    }

    /// The next one. It resumes from a checkpoint of its own: the first of these from the one that the options name, each
    /// later one from that with its number behind it. Nothing is done after an interruption.
    pub(super) fn train(
        &mut self,
        stage: impl FnOnce(&TrainOptions, &mut Rng, &mut dyn Observer) -> Result<TrainReport>,
    ) -> Result<()> {
        if self.report.stop == Stop::Interrupted {
            return Ok(());
        }
        self.long += 1;
        let mut options = self.options.clone();
        if let (2.., Some(checkpoint)) = (self.long, &mut options.checkpoint) {
            checkpoint.path.as_mut_os_string().push(format!(".{}", self.long));
        }
        options.memory = options.memory.map(|memory| memory.of_part(self.long));
        self.run(&options, stage)
    }

    /// The next one, in closed form: it writes no checkpoint, and needs none.
    pub(super) fn train_in_closed_form(
        &mut self,
        stage: impl FnOnce(&TrainOptions, &mut Rng, &mut dyn Observer) -> Result<TrainReport>,
    ) -> Result<()> {
        self.run(&TrainOptions { checkpoint: None, memory: None, ..self.options.clone() }, stage)
    }

    fn run(
        &mut self,
        options: &TrainOptions,
        stage: impl FnOnce(&TrainOptions, &mut Rng, &mut dyn Observer) -> Result<TrainReport>,
    ) -> Result<()> {
        self.done += 1;
        let (before, left) = (self.report.loss.len(), self.count - self.done);
        let to_come = options.steps.saturating_mul(left);
        let observer = &mut *self.observer;
        let mut seen = |step: &Step<'_>| -> ControlFlow<()> {
            let steps = step.steps.saturating_add(before).saturating_add(to_come);
            observer.step(&Step { step: before + step.step, steps, ..step.clone() })
        };
        let TrainReport { loss, parts, validation, stop } =
            stage(options, &mut self.streams.stream(self.done as u64), &mut seen)?;
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

use std::ops::ControlFlow;

use ndarray::ArrayView2;
use rand::RngCore;

use super::*;
use crate::engine::{Memory, Row};
use crate::error::Result;

/// A training that is run some steps at a time, between which its model draws and scores.
///
/// In the end the model has the same bits as after one call of [`train`](Generative::train) with the same arguments. Between
/// two calls of [`step`](Session::step) the training rests in [memory](TrainOptions::memory): a notebook, a window or a
/// browser page stays in charge. A model that is fitted at once leaves nothing there, and takes one step for it all.
///
/// ```
/// use quadrivium::{Session, prelude::*, seeded, worlds::Toy};
///
/// let mut rng = seeded(0);
/// let data = Dataset::new(Toy::moons(0.1)?.sample(500, &mut rng))?;
/// let vae = Vae::new(VaeConfig::default(), &mut rng)?;
/// let options = TrainOptions { steps: 60, ..Default::default() };
/// let mut session = Session::new(vae, data, options, seeded(1))?;
/// while !session.is_done() {
///     session.step(20, &mut NoObserver)?;
///     let report = session.report().expect("a step is done");
///     println!("{} steps, loss {:.3}", report.loss.len(), report.loss[report.loss.len() - 1]);
///     session.model().sample(100, &SampleOptions::default(), &mut rng)?;
/// }
/// let (vae, report) = session.finish(&mut NoObserver)?;
/// assert_eq!(report.loss.len(), 60);
/// # let _ = vae;
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug)]
pub struct Session<M, R, T = f32> {
    model: M,
    data: Dataset<T>,
    options: TrainOptions,
    /// As it was at the start: the training draws all its randomness from it, again for each call.
    rng: R,
    report: Option<TrainReport>,
}

impl<M: Generative<T>, R: RngCore + Clone, T: Row> Session<M, R, T> {
    /// A training of `model` of which no step is done.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for options out of range.
    pub fn new(model: M, data: Dataset<T>, options: TrainOptions, rng: R) -> Result<Self> {
        options.validate()?;
        let options = TrainOptions { memory: Some(Memory::default()), ..options };
        Ok(Session { model, data, options, rng, report: None })
    }

    /// Makes at most n steps more, fewer at the end of the training or if the observer breaks it off. Returns whether the
    /// training is done.
    ///
    /// # Errors
    /// As [`train`](Generative::train).
    pub fn step(&mut self, n: usize, observer: &mut dyn Observer) -> Result<bool> {
        if n == 0 || self.is_done() {
            return Ok(self.is_done());
        }
        let mut left = n;
        let memory = self.options.memory.clone().unwrap_or_default();
        let mut some = |step: &Step<'_>| {
            left = left.saturating_sub(1);
            let go_on = observer.step(step);
            // The last step of all ends the training by itself, and what is fitted at once cannot rest.
            let rests = left == 0 && step.step + 1 < step.steps && memory.is_running();
            if rests { ControlFlow::Break(()) } else { go_on }
        };
        let report = self.model.train(&self.data, &self.options, &mut self.rng.clone(), &mut some)?;
        self.report = Some(report);
        Ok(self.is_done())
    }

    /// The model as it is now.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The rows that it learns from.
    pub fn data(&self) -> ArrayView2<'_, T> {
        self.data.x()
    }

    /// What happened so far; `None` before the first step.
    pub fn report(&self) -> Option<&TrainReport> {
        self.report.as_ref()
    }

    /// Whether all steps are done, or patience has run out.
    pub fn is_done(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.stop != Stop::Interrupted)
    }

    /// The rest of the training, unless the observer breaks it off.
    ///
    /// # Errors
    /// As [`train`](Generative::train).
    pub fn finish(mut self, observer: &mut dyn Observer) -> Result<(M, TrainReport)> {
        let report = match self.report.take() {
            Some(report) if report.stop != Stop::Interrupted => report,
            _ => self.model.train(&self.data, &self.options, &mut self.rng, observer)?,
        };
        Ok((self.model, report))
    }
}

use std::ops::ControlFlow;

/// What happened during training.
///
/// [`Objective::loss_unit`](crate::map::Objective::loss_unit) says what unit the losses have. Networks see
/// standardized columns, so their losses in nats differ from the log-likelihood, which is in the units of the
/// data, by the sum of the logarithms of the columns' scales.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainReport {
    /// The loss of each step, averaged over the minibatch.
    pub loss: Vec<f64>,
    /// The parts of each step's loss by name (a VAE's reconstruction and KL, a GAN's critic and penalty, …).
    pub parts: Vec<(&'static str, Vec<f64>)>,
    /// Pairs (steps done, loss on the held-out rows).
    pub validation: Vec<(usize, f64)>,
    /// Why the training ended.
    pub stop: Stop,
}

impl TrainReport {
    /// Of a training in closed form: one step, which `observer` sees, and after which held-out rows are scored.
    pub(crate) fn in_one_step(loss: f64, validation: Option<f64>, observer: &mut dyn Observer) -> Self {
        let step = Step { step: 0, steps: 1, loss, part_names: &[], parts: &[], validation };
        // There is no second step to keep from.
        let _ = observer.step(&step);
        TrainReport {
            loss: vec![loss],
            parts: Vec::new(),
            validation: validation.map(|loss| (1, loss)).into_iter().collect(),
            stop: Stop::Completed,
        }
    }
}

/// Why a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// All steps are done.
    Completed,
    /// The observer returned `Break`.
    Interrupted,
    /// No new best validation loss within the patience; the best parameters are kept.
    Patience,
}

/// What an [`Observer`] sees after each step.
#[derive(Debug, Clone)]
pub struct Step<'a> {
    /// Number of the step just done, from 0.
    pub step: usize,
    /// Number of steps requested.
    pub steps: usize,
    /// Mean loss of this minibatch.
    pub loss: f64,
    /// Names of the loss's parts.
    pub part_names: &'a [&'static str],
    /// The values of the parts, in the order of the names.
    pub parts: &'a [f64],
    /// The latest validation loss, if there is one.
    pub validation: Option<f64>,
}

/// Watches a training run: progress bars, logs, interruption. Any `FnMut(&Step) -> ControlFlow<()>` is an observer.
pub trait Observer {
    /// Called after each step. `Break` ends the training, and the model keeps what it has learned.
    fn step(&mut self, step: &Step<'_>) -> ControlFlow<()>;
}

/// The observer that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn step(&mut self, _: &Step<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: FnMut(&Step<'_>) -> ControlFlow<()>> Observer for F {
    fn step(&mut self, step: &Step<'_>) -> ControlFlow<()> {
        self(step)
    }
}

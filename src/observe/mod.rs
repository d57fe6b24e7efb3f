//! Ways to watch a training run: a progress bar, a log, a request to stop. Any `FnMut(&Step) -> ControlFlow<()>` is
//! an [`Observer`], too.
//!
//! Early stopping needs no observer: [`patience`](crate::TrainOptions::patience) ends training when the loss on
//! held-out rows no longer falls, and keeps the best parameters.
//!
//! ```
//! use quadrivium::observe::{All, Interrupt, JsonLines};
//! use quadrivium::{worlds::Toy, *, seeded};
//!
//! let mut rng = seeded(0);
//! let data = Dataset::new(Toy::moons(0.1)?.sample(500, &mut rng))?;
//! let mut vae = Vae::new(VaeConfig::default(), &mut rng)?;
//! let held_out = TrainOptions { validation: 0.1, validate_every: 10, patience: Some(2), ..Default::default() };
//! let options = TrainOptions { steps: 30, ..held_out };
//!
//! // A Ctrl-C handler would hold another clone of the flag and raise it.
//! let interrupt = Interrupt::default();
//! let mut log = JsonLines::new(Vec::new(), 10);
//! let report =
//!     vae.train(&data, &options, &mut rng, &mut All(vec![&mut log, &mut interrupt.clone()]))?;
//! assert_eq!(report.stop, Stop::Completed);
//!
//! let log = String::from_utf8(log.finish().unwrap()).unwrap();
//! assert_eq!(log.lines().count(), 3);
//! assert!(log.starts_with(r#"{"step":10,"steps":30,"seconds":0."#));
//! # Ok::<(), quadrivium::Error>(())
//! ```

#[cfg(feature = "progress")]
mod bar;
mod json_lines;
mod sparkline;
mod tensorboard;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::{Observer, Step};

#[cfg(feature = "progress")]
pub use bar::Bar;
pub use json_lines::JsonLines;
pub use sparkline::sparkline;
pub use tensorboard::TensorBoard;

/// Several observers of one training run, called in order. All see every step, and the training ends if any of them
/// returns `Break`.
pub struct All<'a>(pub Vec<&'a mut dyn Observer>);

impl Observer for All<'_> {
    fn step(&mut self, step: &Step<'_>) -> ControlFlow<()> {
        let mut all = ControlFlow::Continue(());
        for observer in &mut self.0 {
            // No short circuit: every observer sees the step.
            if observer.step(step).is_break() {
                all = ControlFlow::Break(());
            }
        }
        all
    }
}

/// A flag that ends a training after the current step, for signal handlers and other threads. The model keeps
/// what it has learned. Clones share one flag.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks the training to end, and returns whether it had been asked before.
    pub fn raise(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }

    /// Whether the training was asked to end.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Observer for Interrupt {
    fn step(&mut self, _: &Step<'_>) -> ControlFlow<()> {
        if self.is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Activation, NetworkSpec};
    use crate::{Autoregressive, AutoregressiveConfig, Dataset, Generative, Stop, TrainOptions, seeded};

    #[test]
    fn one_that_breaks_ends_the_training_and_all_have_seen_it() {
        let mut rng = seeded(0);
        let data = Dataset::new(ndarray::Array2::from_shape_fn((50, 1), |(r, _)| (r * r) as f32)).unwrap();
        let config = AutoregressiveConfig {
            dim: 1,
            network: NetworkSpec::mlp([4], Activation::Silu, 3),
            ..Default::default()
        };
        let mut model = Autoregressive::new(config, &mut rng).unwrap();
        let options = TrainOptions { steps: 10, ..Default::default() };
        let (interrupt, mut before, mut after) = (Interrupt::default(), 0, 0);
        let mut flag = interrupt.clone();
        let mut first = |step: &Step<'_>| {
            before += 1;
            if step.step == 3 {
                assert!(!interrupt.raise() && interrupt.raise());
            }
            ControlFlow::Continue(())
        };
        let mut last = |_: &Step<'_>| {
            after += 1;
            ControlFlow::Continue(())
        };
        let mut all = All(vec![&mut first, &mut flag, &mut last]);
        let report = model.train(&data, &options, &mut rng, &mut all).unwrap();
        assert_eq!((report.stop, report.loss.len()), (Stop::Interrupted, 4));
        assert_eq!((before, after), (4, 4));
    }
}

use std::fmt::Write;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressState, ProgressStyle};

use super::sparkline;
use crate::model::{Observer, Step};

/// The loss is shown as its means over this many parts of the training.
const PARTS: usize = 24;

/// A progress bar on standard error if that is a terminal. It shows the steps, their rate, the time left, the
/// loss as a number and as a curve, and the validation loss.
///
/// ```
/// use quadrivium::{worlds::Toy, observe::Bar, *, seeded};
/// let mut rng = seeded(0);
/// let data = Dataset::new(Toy::moons(0.1)?.sample(500, &mut rng))?;
/// let mut vae = Vae::new(VaeConfig::default(), &mut rng)?;
/// vae.train(&data, &TrainOptions { steps: 20, ..Default::default() }, &mut rng, &mut Bar::new("VAE"))?;
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    /// Sum and number of the losses in each part seen so far.
    losses: Vec<(f64, f64)>,
    /// When the message was last made.
    shown: Option<Instant>,
}

impl Bar {
    /// A bar that starts with a name.
    pub fn new(name: &str) -> Self {
        Bar::on(ProgressDrawTarget::stderr(), name)
    }

    fn on(target: ProgressDrawTarget, name: &str) -> Self {
        let template = "{prefix} {wide_bar} {pos}/{len} {rate} {eta} left {msg}";
        let rate = |state: &ProgressState, out: &mut dyn Write| {
            let _ = write!(out, "{:.0}/s", state.per_sec());
        };
        let style = ProgressStyle::with_template(template).expect("no errors in it").with_key("rate", rate);
        let bar = ProgressBar::with_draw_target(None, target)
            .with_prefix(name.to_string())
            .with_finish(ProgressFinish::Abandon);
        bar.set_style(style);
        Bar { bar, losses: Vec::with_capacity(PARTS), shown: None }
    }

    fn message(&self, validation: Option<f64>) -> String {
        let means: Vec<f64> = self.losses.iter().map(|(sum, n)| sum / n).collect();
        let loss = means.last().copied().unwrap_or(f64::NAN);
        let held_out = validation.map_or(String::new(), |loss| format!(" held out {loss:.4}"));
        format!("loss {loss:.4} {}{held_out}", sparkline(&means))
    }
}

impl Observer for Bar {
    fn step(&mut self, step: &Step<'_>) -> ControlFlow<()> {
        if self.losses.is_empty() {
            // The steps before a checkpoint took no time in this process.
            self.bar.set_length(step.steps as u64);
            self.bar.set_position(step.step as u64);
            self.bar.reset_eta();
        }
        let before = step.step.saturating_sub(1) * PARTS / step.steps;
        if self.losses.is_empty() || step.step * PARTS / step.steps > before {
            self.losses.push((0.0, 0.0));
        }
        if let Some((sum, n)) = self.losses.last_mut() {
            *sum += step.loss;
            *n += 1.0;
        }
        self.bar.inc(1);
        let last = step.step + 1 == step.steps;
        // No more often than it can be read.
        if last || self.shown.is_none_or(|shown| shown.elapsed() > Duration::from_millis(100)) {
            self.shown = Some(Instant::now());
            self.bar.set_message(self.message(step.validation));
        }
        if last {
            self.bar.finish();
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    #[test]
    fn shows_where_the_training_stands() {
        let terminal = InMemoryTerm::new(4, 120);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let mut bar = Bar::on(target, "VAE");
        for step in 40..100 {
            let (loss, validation) = (f64::from(200 - step), (step > 50).then_some(1.25));
            let seen =
                Step { step: step as usize, steps: 100, loss, part_names: &[], parts: &[], validation };
            assert!(bar.step(&seen).is_continue());
        }
        let shown = terminal.contents();
        assert!(shown.starts_with("VAE ") && shown.contains("100/100"), "{shown}");
        // 96 to 99, the last of 24 parts.
        assert!(shown.contains("loss 102.5000 █") && shown.ends_with("▁ held out 1.2500"), "{shown}");
    }
}

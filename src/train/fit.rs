use std::ops::ControlFlow;

use ndarray::{ArrayView2, s};
use rand::Rng as _;

use super::objective::{Gradient, Objective, Progress};
use super::optimiser::{Adam, OptimiserConfig};
use super::rows::Rows;
use crate::error::{Error, Result};
use crate::generative::{Observer, Step, Stop, TrainOptions, TrainReport};
use crate::nn::Weights;
use crate::numeric::rng::{Rng, Streams};
use crate::numeric::tiles::TILE;

/// A network's numbers: those that train, and their moving average, which samples and scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// What the optimiser moves.
    pub p: Vec<f32>,
    /// The moving average of `p`.
    pub average: Vec<f32>,
}

impl Parameters {
    /// Both start at `p`.
    pub fn new(p: Vec<f32>) -> Self {
        Parameters { average: p.clone(), p }
    }
}

/// The parameters in training, with those of the step before: an update whose loss turns out not finite is
/// undone.
pub(crate) struct Trainee {
    now: Parameters,
    before: Parameters,
    adam: Adam,
}

impl Trainee {
    pub(crate) fn new(start: &Parameters) -> Self {
        Trainee { now: start.clone(), before: start.clone(), adam: Adam::new(start.p.len()) }
    }

    pub(crate) fn now(&self) -> &Parameters {
        &self.now
    }

    /// The last parameters whose loss was finite.
    pub(crate) fn last_good(self) -> Parameters {
        self.before
    }

    /// The present parameters.
    pub(crate) fn finish(self) -> Parameters {
        self.now
    }

    /// One optimiser step along a gradient whose mean loss was `loss`.
    ///
    /// # Errors
    /// [`Error::Diverged`] for a loss or a gradient that is not finite: then nothing has moved.
    pub(crate) fn step(
        &mut self,
        config: &OptimiserConfig,
        progress: Progress,
        what: &str,
        loss: f64,
        g: &[f32],
    ) -> Result<()> {
        let diverged = |what: String| Error::Diverged { step: progress.step, what };
        if !loss.is_finite() {
            return Err(diverged(format!("{what} = {loss}")));
        }
        // The loss was finite here, so these are good; what they move to is not known to be.
        std::mem::swap(&mut self.now, &mut self.before);
        let norm = self.adam.step(
            config,
            config.lr_at(progress),
            g,
            (&self.before.p, &self.before.average),
            (&mut self.now.p, &mut self.now.average),
        );
        if !norm.is_finite() {
            return Err(diverged(format!("‖∇ {what}‖ = {norm}")));
        }
        Ok(())
    }
}

/// Draws rows of `x` with replacement.
pub(crate) fn random_rows<'a>(x: ArrayView2<'a, f32>) -> impl Fn(&mut Rng, &mut [f32]) + Sync + 'a {
    let dim = x.ncols();
    let rows = x.nrows();
    move |rng, out| {
        let x = x.to_slice().expect("a dataset is row-major");
        for out in out.chunks_exact_mut(dim) {
            let r = rng.random_range(0..rows);
            out.copy_from_slice(&x[r * dim..(r + 1) * dim]);
        }
    }
}

/// Trains `parameters` on `rows`.
///
/// # Errors
/// [`Error::Diverged`] for a loss or a gradient that is not finite: `parameters` are then the last good ones.
pub fn fit<O: Objective<f32>>(
    objective: &O,
    parameters: &mut Parameters,
    rows: &Rows,
    config: &OptimiserConfig,
    options: &TrainOptions,
    observer: &mut dyn Observer,
) -> Result<TrainReport> {
    let Rows { training, validation, streams, .. } = rows;
    let (dim, names, held_out) = (training.ncols(), objective.part_names(), validation.nrows());
    // The loss as it is when warm-ups are over, with the same noise at every call: differences are the
    // parameters'.
    let end = Progress { step: options.steps, steps: options.steps };
    let loss_of = |p: &[f32], x: ArrayView2<f32>| mean_loss(objective, p, x, end, *streams);

    let mut trainee = Trainee::new(parameters);
    let mut gradient = Gradient::new(objective, parameters.p.len(), options.batch, options.shards);
    let mut report = TrainReport {
        loss: Vec::with_capacity(options.steps),
        parts: names.iter().map(|&name| (name, Vec::with_capacity(options.steps))).collect(),
        validation: Vec::new(),
        stop: Stop::Completed,
    };
    let mut best: Option<(f64, usize, Parameters)> = None;
    let fill = random_rows(training.view());

    for step in 0..options.steps {
        let progress = Progress { step, steps: options.steps };
        let family = streams.family(step as u64);
        let loss = gradient.compute(objective, &trainee.now().p, dim, progress, family, &fill);
        if let Err(error) = trainee.step(config, progress, "loss", loss, gradient.sum()) {
            *parameters = trainee.last_good();
            return Err(error);
        }
        report.loss.push(loss);
        report.parts.iter_mut().zip(gradient.parts()).for_each(|((_, all), &part)| all.push(part));

        let done = step + 1;
        if held_out > 0 && (done.is_multiple_of(options.validate_every) || done == options.steps) {
            let loss = loss_of(&trainee.now().average, validation.view());
            if !loss.is_finite() {
                *parameters = trainee.last_good();
                return Err(Error::Diverged { step, what: format!("validation loss = {loss}") });
            }
            report.validation.push((done, loss));
            if let Some(patience) = options.patience {
                if best.as_ref().is_none_or(|(least, _, _)| loss < *least) {
                    best = Some((loss, report.validation.len(), trainee.now().clone()));
                }
                let since = best.as_ref().map_or(0, |(_, at, _)| report.validation.len() - at);
                if since >= patience {
                    report.stop = Stop::Patience;
                }
            }
        }
        let seen = Step {
            step,
            steps: options.steps,
            loss,
            part_names: names,
            parts: gradient.parts(),
            validation: report.validation.last().map(|&(_, loss)| loss),
        };
        if let ControlFlow::Break(()) = observer.step(&seen) {
            report.stop = Stop::Interrupted;
        }
        if report.stop != Stop::Completed {
            break;
        }
    }
    if let Some((_, _, best)) = best {
        *parameters = best;
        return Ok(report);
    }
    // No loss has seen the last update yet.
    let some = training.slice(s![..TILE.min(training.nrows()), ..]);
    let losses = [loss_of(&trainee.now().p, some), loss_of(&trainee.now().average, some)];
    match losses.iter().find(|loss| !loss.is_finite()) {
        None => *parameters = trainee.finish(),
        Some(loss) => {
            *parameters = trainee.last_good();
            return Err(Error::Diverged { step: report.loss.len(), what: format!("loss = {loss}") });
        }
    }
    Ok(report)
}

/// The mean loss over all rows of x, with noise that depends on `streams` and the row's tile alone.
pub(crate) fn mean_loss<O: Objective<f32>>(
    objective: &O,
    p: &[f32],
    x: ArrayView2<f32>,
    progress: Progress,
    streams: Streams,
) -> f64 {
    let (dim, rows) = (x.ncols(), x.nrows());
    let x = x.to_slice().expect("whole rows, row-major");
    let w = Weights { p, t: &[] };
    let mut parts = vec![0.0; objective.part_names().len()];
    let (mut noise, mut scratch) = (O::Noise::default(), O::Scratch::default());
    let mut sum = 0.0;
    for (tile, x) in x.chunks(objective.tile() * dim).enumerate() {
        let mut rng = streams.family(u64::MAX).stream(tile as u64);
        objective.draw(x.len() / dim, progress, &mut rng, &mut noise);
        sum += objective.loss_grad(w, x, &noise, 0.0, None, &mut parts, &mut scratch);
    }
    sum / rows as f64
}

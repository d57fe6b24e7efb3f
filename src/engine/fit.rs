use ndarray::ArrayView2;
use rand::Rng as _;

use super::checkpoint::Carry;
use super::objective::{Gradient, Objective, Progress};
use super::optimizer::{Adam, OptimiserConfig};
use super::rows::Rows;
use super::run::{Training, run};
use super::{Observer, TrainOptions, TrainReport};
use crate::error::{Error, Result};
use crate::nn::Weights;
use crate::numeric::rng::{Rng, Streams};

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

    fn carry(&mut self, carry: &mut Carry) -> Result<()> {
        carry.parameters(&mut self.p)?;
        carry.parameters(&mut self.average)
    }
}

/// The parameters in training, with those of the step before: an update whose loss turns out not finite is
/// undone.
pub(crate) struct Trainee {
    now: Parameters,
    before: Parameters,
    best: Option<Parameters>,
    adam: Adam,
}

impl Trainee {
    pub(crate) fn new(start: &Parameters) -> Self {
        Trainee { now: start.clone(), before: start.clone(), best: None, adam: Adam::new(start.p.len()) }
    }

    pub(crate) fn now(&self) -> &Parameters {
        &self.now
    }

    /// The last parameters whose loss was finite.
    pub(crate) fn last_good(self) -> Parameters {
        self.before
    }

    /// The parameters marked as best, else the present ones.
    pub(crate) fn finish(self) -> Parameters {
        self.best.unwrap_or(self.now)
    }

    pub(crate) fn mark_best(&mut self) {
        self.best = Some(self.now.clone());
    }

    pub(crate) fn carry(&mut self, carry: &mut Carry) -> Result<()> {
        self.now.carry(carry)?;
        self.before.carry(carry)?;
        let mut marked = usize::from(self.best.is_some());
        carry.count(&mut marked)?;
        if marked == 1 {
            self.best.get_or_insert_with(|| self.now.clone()).carry(carry)?;
        }
        self.adam.carry(carry)
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
/// [`Error::Diverged`] for a loss or a gradient that is not finite, and of a checkpoint [`Error::Checkpoint`]
/// and [`Error::Io`]: `parameters` are then the last good ones; the trained ones if it was the last checkpoint that could
/// not be written.
pub fn fit<O: Objective<f32>>(
    objective: O,
    parameters: &mut Parameters,
    rows: &Rows,
    optimiser: &OptimiserConfig,
    options: &TrainOptions,
    observer: &mut dyn Observer,
) -> Result<TrainReport> {
    let gradient = Gradient::new(&objective, parameters.p.len(), options.batch, options.shards_of_batch());
    let mut descent = Descent {
        objective,
        optimiser,
        rows: rows.training.view(),
        trainee: Trainee::new(parameters),
        gradient,
    };
    let ran = run(&mut descent, rows, options, observer);
    let Descent { trainee, .. } = descent;
    *parameters = if ran.is_ok() { trainee.finish() } else { trainee.last_good() };
    ran?.report()
}

/// One network down the gradient of one objective.
struct Descent<'a, O: Objective<f32>> {
    objective: O,
    optimiser: &'a OptimiserConfig,
    rows: ArrayView2<'a, f32>,
    trainee: Trainee,
    gradient: Gradient<O>,
}

impl<O: Objective<f32>> Training for Descent<'_, O> {
    fn identity(&self) -> String {
        // Pretty, so that arrays are not abridged.
        format!("{:#?} {:?}", self.objective, self.optimiser)
    }

    fn part_names(&self) -> &'static [&'static str] {
        self.objective.part_names()
    }

    fn step(&mut self, progress: Progress, streams: Streams) -> Result<f64> {
        let Descent { objective, optimiser, rows, trainee, gradient } = self;
        let p = &trainee.now().p;
        objective.follow(p);
        let loss = gradient.compute(objective, p, rows.ncols(), progress, streams, random_rows(*rows));
        trainee.step(optimiser, progress, "loss", loss, gradient.sum())?;
        Ok(loss)
    }

    fn parts(&self) -> &[f64] {
        self.gradient.parts()
    }

    /// By the averaged parameters. The loss is as when warm-ups are over, with the same noise at every call:
    /// differences are the parameters'.
    fn validate(&mut self, x: ArrayView2<f32>, progress: Progress, streams: Streams) -> f64 {
        let end = Progress { step: progress.steps, ..progress };
        let p = &self.trainee.now().average;
        self.objective.follow(p);
        mean_loss(&self.objective, p, x, end, streams)
    }

    fn last_losses(&mut self, x: ArrayView2<f32>, progress: Progress, streams: Streams) -> [f64; 2] {
        let end = Progress { step: progress.steps, ..progress };
        let Parameters { p, average } = self.trainee.now();
        [p, average].map(|p| {
            self.objective.follow(p);
            mean_loss(&self.objective, p, x, end, streams)
        })
    }

    fn mark_best(&mut self) {
        self.trainee.mark_best();
    }

    fn carry(&mut self, carry: &mut Carry) -> Result<()> {
        self.trainee.carry(carry)?;
        self.gradient.carry(&self.objective, carry)
    }
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

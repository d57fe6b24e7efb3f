use std::ops::Range;

use rand::Rng as _;

use super::checkpoint::Carry;
use super::dataset::Row;
use super::loss::{Batch, Gradient, Loss, Progress};
use super::optimizer::{Adam, OptimizerConfig};
use super::rows::{Part, Rows};
use super::run::{Training, run};
use super::{Observer, TrainOptions, TrainReport};
use crate::error::{Error, Result, TrainingError};
use crate::nn::Weights;
use crate::numeric::rng::{Rng, Streams};

/// A network's parameters: the ones that are trained, and their moving average, which is used to sample and score.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// The parameters that the optimizer updates.
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

/// The parameters in training, with those of the step before: an update is undone if its loss turns out not to be
/// finite.
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

    /// See [`Adam::without_decay`].
    fn without_decay(self, undecayed: Vec<Range<usize>>) -> Self {
        Trainee { adam: self.adam.without_decay(undecayed), ..self }
    }

    pub(crate) fn now(&self) -> &Parameters {
        &self.now
    }

    /// The last parameters whose loss was finite.
    pub(crate) fn last_good(self) -> Parameters {
        self.before
    }

    /// The parameters marked as best, otherwise the present ones.
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

    /// One optimizer step against a gradient whose mean loss was `loss`.
    ///
    /// # Errors
    /// [`TrainingError::Diverged`] for a loss or a gradient that is not finite; the parameters are then unchanged.
    pub(crate) fn step(
        &mut self,
        config: &OptimizerConfig,
        progress: Progress,
        what: &str,
        loss: f64,
        g: &[f32],
    ) -> Result<()> {
        let diverged = |what: String| Error::Training(TrainingError::Diverged { step: progress.step, what });
        if !loss.is_finite() {
            return Err(diverged(format!("{what} = {loss}")));
        }
        // The loss was finite here, so these are good. The updated ones are not yet known to be.
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

/// Draws rows with replacement.
pub(crate) fn random_rows<T: Row>(
    part: &Part<T>,
) -> impl Fn(&mut Rng, usize, &mut Vec<T>, &mut Vec<f32>) + Sync + '_ {
    let (rows, dim, width) = (part.rows(), part.x.ncols(), part.c.ncols());
    move |rng, n, x, c| {
        let all = part.x.as_slice().expect("a dataset is row-major");
        let conditions = part.c.as_slice().expect("conditions are row-major");
        for _ in 0..n {
            let r = rng.random_range(0..rows);
            x.extend_from_slice(&all[r * dim..(r + 1) * dim]);
            c.extend_from_slice(&conditions[r * width..(r + 1) * width]);
        }
    }
}

/// Trains `parameters` on `rows`.
///
/// # Errors
/// [`TrainingError::Diverged`] for a loss or a gradient that is not finite, and with a checkpoint
/// [`FileError::Checkpoint`](crate::error::FileError::Checkpoint) and [`FileError::Io`](crate::error::FileError::Io); with
/// other processes [`TrainingError::Exchange`] and [`TrainingError::Differs`].
/// `parameters` are then the last good ones, or the trained ones if only the last checkpoint could not be written.
pub fn fit<T: Row, L: Loss<f32, Row = T>>(
    loss: L,
    parameters: &mut Parameters,
    rows: &Rows<T>,
    optimizer: &OptimizerConfig,
    options: &TrainOptions,
    observer: &mut dyn Observer,
) -> Result<TrainReport> {
    let gradient = Gradient::new(&loss, parameters.p.len(), options);
    let trainee = Trainee::new(parameters).without_decay(loss.undecayed());
    let mut descent = Descent { loss, optimizer, rows: &rows.training, trainee, gradient };
    let ran = run(&mut descent, rows, options, observer);
    let Descent { trainee, .. } = descent;
    *parameters = if ran.is_ok() { trainee.finish() } else { trainee.last_good() };
    ran?.report()
}

/// Gradient descent of one network on one loss.
struct Descent<'a, L: Loss<f32>> {
    loss: L,
    optimizer: &'a OptimizerConfig,
    rows: &'a Part<L::Row>,
    trainee: Trainee,
    gradient: Gradient<L>,
}

impl<T: Row, L: Loss<f32, Row = T>> Training<T> for Descent<'_, L> {
    fn identity(&self) -> String {
        // Pretty-printed, so that arrays are not abbreviated.
        format!("{:#?} {:?}", self.loss, self.optimizer)
    }

    fn part_names(&self) -> &'static [&'static str] {
        self.loss.part_names()
    }

    fn step(&mut self, progress: Progress, streams: Streams) -> Result<f64> {
        let Descent { loss, optimizer, rows, trainee, gradient } = self;
        let p = &trainee.now().p;
        loss.follow(p);
        let mean = gradient.compute(loss, p, progress, streams, random_rows(rows))?;
        trainee.step(optimizer, progress, "loss", mean, gradient.sum())?;
        Ok(mean)
    }

    fn parts(&self) -> &[f64] {
        self.gradient.parts()
    }

    /// Uses the averaged parameters. The loss is evaluated as after all warm-ups, with the same noise at every call,
    /// so that differences come from the parameters alone.
    fn validate(&mut self, part: &Part<T>, progress: Progress, streams: Streams) -> f64 {
        let end = Progress { step: progress.steps, ..progress };
        let p = &self.trainee.now().average;
        self.loss.follow(p);
        mean_loss(&self.loss, p, part, end, streams)
    }

    fn last_losses(&mut self, part: &Part<T>, progress: Progress, streams: Streams) -> [f64; 2] {
        let end = Progress { step: progress.steps, ..progress };
        let Parameters { p, average } = self.trainee.now();
        [p, average].map(|p| {
            self.loss.follow(p);
            mean_loss(&self.loss, p, part, end, streams)
        })
    }

    fn mark_best(&mut self) {
        self.trainee.mark_best();
    }

    fn carry(&mut self, carry: &mut Carry) -> Result<()> {
        self.trainee.carry(carry)?;
        self.gradient.carry(&self.loss, carry)
    }
}

/// The mean loss over all rows, with random numbers that depend only on `streams` and the row's tile.
pub(crate) fn mean_loss<T: Row, L: Loss<f32, Row = T>>(
    loss: &L,
    p: &[f32],
    part: &Part<T>,
    progress: Progress,
    streams: Streams,
) -> f64 {
    let (dim, width, rows) = (part.x.ncols(), part.c.ncols(), part.rows());
    let x = part.x.as_slice().expect("whole rows, row-major");
    let c = part.c.as_slice().expect("whole rows, row-major");
    let w = Weights { p, t: &[] };
    let mut parts = vec![0.0; loss.part_names().len()];
    let (mut drawn, mut workspace) = (L::Drawn::default(), L::Workspace::default());
    let mut sum = 0.0;
    for (tile, x) in x.chunks(loss.tile() * dim).enumerate() {
        let (first, n) = (tile * loss.tile(), x.len() / dim);
        let mut rng = streams.family(u64::MAX).stream(tile as u64);
        let batch = Batch { x, c: &c[first * width..(first + n) * width] };
        loss.draw(n, batch.c, progress, &mut rng, &mut drawn);
        sum += loss.loss_grad(w, batch, &drawn, 0.0, None, &mut parts, &mut workspace);
    }
    sum / rows as f64
}

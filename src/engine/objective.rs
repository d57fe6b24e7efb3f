use std::fmt::Debug;

use super::checkpoint::Carry;
use crate::engine::tiles::TILE;
use crate::error::Result;
use crate::nn::Weights;
use crate::numeric::Real;
use crate::numeric::rng::{Rng, Streams};

/// How far a training is: what warm-ups and anneals depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
}

/// A loss and its gradient, with the randomness taken out: first [`draw`](Objective::draw) all noise for some
/// rows, then [`loss_grad`](Objective::loss_grad) is a plain function, which a test can difference.
pub trait Objective<F: Real = f32>: Sync + Debug {
    /// The noise of some rows, and whatever else depends on chance or on the progress.
    type Noise: Default + Send;
    /// Buffers, kept from call to call.
    type Scratch: Default + Send;

    /// Names of the parts that `loss_grad` reports beside the loss.
    fn part_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// Rows that `loss_grad` sees together, at most a shard's: [`TILE`], unless the loss needs more at once.
    fn tile(&self) -> usize {
        TILE
    }

    /// Told the parameters that the next minibatch, or the next measurement, is for: for noise that depends on
    /// them.
    fn follow(&mut self, p: &[F]) {
        let _ = p;
    }

    /// What a shard's noise remembers from step to step, as numbers and a count, of which there are at most as
    /// many: part of a checkpoint. Most remember nothing.
    fn memory<'a>(&self, noise: &'a mut Self::Noise) -> Option<(&'a mut Vec<F>, &'a mut usize)> {
        let _ = noise;
        None
    }

    /// Fills t with p, each matrix transposed: see [`Weights`].
    fn transpose(&self, p: &[F], t: &mut [F]);

    /// Draws the noise of `rows` rows.
    fn draw(&self, rows: usize, progress: Progress, rng: &mut Rng, noise: &mut Self::Noise);

    /// The loss summed over the rows of x: (n, dim), in the model's standardised units; its parts are added
    /// to `parts`, and, where asked, dp += weight · ∂loss/∂p. Where it is not asked, `w.t` is empty.
    fn loss_grad(
        &self,
        w: Weights<F>,
        x: &[F],
        noise: &Self::Noise,
        weight: F,
        dp: Option<&mut [F]>,
        parts: &mut [f64],
        scratch: &mut Self::Scratch,
    ) -> f64;
}

/// The gradient of a minibatch, computed shard by shard on as many threads as there are.
pub struct Gradient<O: Objective<f32>> {
    shards: Vec<Shard<O>>,
    sum: Vec<f32>,
    transposed: Vec<f32>,
    parts: Vec<f64>,
}

struct Shard<O: Objective<f32>> {
    rows: usize,
    x: Vec<f32>,
    noise: O::Noise,
    scratch: O::Scratch,
    dp: Vec<f32>,
    loss: f64,
    parts: Vec<f64>,
}

impl<O: Objective<f32>> Gradient<O> {
    /// Buffers for `batch` rows in `shards` parts.
    pub fn new(objective: &O, num_params: usize, batch: usize, shards: usize) -> Self {
        let parts = vec![0.0; objective.part_names().len()];
        let shard = |s: usize| Shard {
            rows: batch * (s + 1) / shards - batch * s / shards,
            x: Vec::new(),
            noise: O::Noise::default(),
            scratch: O::Scratch::default(),
            dp: vec![0.0; num_params],
            loss: 0.0,
            parts: parts.clone(),
        };
        Gradient {
            shards: (0..shards).map(shard).collect(),
            sum: vec![0.0; num_params],
            transposed: vec![0.0; num_params],
            parts,
        }
    }

    /// The mean loss over a minibatch whose rows `fill(rng, x)` draws, x: (tile, dim); its gradient is then
    /// in [`sum`](Gradient::sum).
    pub fn compute(
        &mut self,
        objective: &O,
        p: &[f32],
        dim: usize,
        progress: Progress,
        streams: Streams,
        fill: impl Fn(&mut Rng, &mut [f32]) + Sync,
    ) -> f64 {
        objective.transpose(p, &mut self.transposed);
        let w = Weights { p, t: &self.transposed };
        let batch: usize = self.shards.iter().map(|s| s.rows).sum();
        let weight = 1.0 / batch as f32;
        for_each_shard(&mut self.shards, |s, shard| {
            let mut rng = streams.stream(s as u64);
            shard.dp.fill(0.0);
            shard.parts.fill(0.0);
            shard.loss = 0.0;
            let tile = objective.tile();
            for start in (0..shard.rows).step_by(tile) {
                let rows = tile.min(shard.rows - start);
                shard.x.resize(rows * dim, 0.0);
                fill(&mut rng, &mut shard.x);
                objective.draw(rows, progress, &mut rng, &mut shard.noise);
                let (dp, parts) = (Some(&mut shard.dp[..]), &mut shard.parts);
                shard.loss +=
                    objective.loss_grad(w, &shard.x, &shard.noise, weight, dp, parts, &mut shard.scratch);
            }
        });
        let (first, rest) = self.shards.split_first().expect("at least one shard");
        self.sum.copy_from_slice(&first.dp);
        self.parts.copy_from_slice(&first.parts);
        for shard in rest {
            self.sum.iter_mut().zip(&shard.dp).for_each(|(sum, &dp)| *sum += dp);
            self.parts.iter_mut().zip(&shard.parts).for_each(|(sum, &part)| *sum += part);
        }
        self.parts.iter_mut().for_each(|part| *part /= batch as f64);
        self.shards.iter().map(|s| s.loss).sum::<f64>() / batch as f64
    }

    /// What the shards remember.
    pub(super) fn carry(&mut self, objective: &O, carry: &mut Carry) -> Result<()> {
        for shard in &mut self.shards {
            if let Some((numbers, count)) = objective.memory(&mut shard.noise) {
                carry.numbers(numbers)?;
                carry.count_up_to(numbers.len(), count)?;
            }
        }
        Ok(())
    }

    /// ∂(mean loss)/∂p of the last `compute`.
    pub fn sum(&self) -> &[f32] {
        &self.sum
    }

    /// The parts of the last mean loss.
    pub fn parts(&self) -> &[f64] {
        &self.parts
    }
}

fn for_each_shard<O: Objective<f32>>(shards: &mut [Shard<O>], work: impl Fn(usize, &mut Shard<O>) + Sync) {
    #[cfg(feature = "rayon")]
    {
        use rayon::prelude::*;
        shards.par_iter_mut().enumerate().for_each(|(s, shard)| work(s, shard));
    }
    #[cfg(not(feature = "rayon"))]
    shards.iter_mut().enumerate().for_each(|(s, shard)| work(s, shard));
}

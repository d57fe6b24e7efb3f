use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use super::TrainOptions;
use super::checkpoint::Carry;
use super::exchange::{Contribution, Exchange, Post, part_of, share_memory};
use crate::engine::tiles::TILE;
use crate::error::Result;
use crate::nn::Weights;
use crate::numeric::Real;
use crate::numeric::rng::{Rng, Streams};

/// How far training has progressed, on which warm-ups and annealing depend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Total number of steps.
    pub steps: usize,
}

/// Some rows with their encoded conditions.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a, F, T = F> {
    /// (n, dim)
    pub x: &'a [T],
    /// (n, width of a condition); empty without conditions.
    pub c: &'a [F],
}

impl<'a, F, T> Batch<'a, F, T> {
    /// Rows without conditions.
    pub fn of(x: &'a [T]) -> Self {
        Batch { x, c: &[] }
    }
}

/// A loss and its gradient, separated from the randomness: [`draw`](Loss::draw) first draws all random numbers for
/// some rows; [`loss_grad`](Loss::loss_grad) is then a plain function, which a test can check by finite differences.
pub trait Loss<F: Real = f32>: Sync + Debug {
    /// The element of a row: F, or a [`Token`](super::Token).
    type Row: Copy + Send + Sync;
    /// The random numbers of some rows, and everything else that depends on them or on the progress.
    type Drawn: Default + Send;
    /// Buffers, kept from call to call.
    type Workspace: Default + Send;

    /// Names of the parts that `loss_grad` reports in addition to the loss.
    fn part_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// The number of rows that `loss_grad` sees together, at most the rows of a shard: [`TILE`], unless the loss
    /// needs more at once.
    fn tile(&self) -> usize {
        TILE
    }

    /// The parameters that [weight decay](super::OptimizerConfig::weight_decay) leaves alone, such as gains whose
    /// neutral value is not 0: ranges in order.
    fn undecayed(&self) -> Vec<Range<usize>> {
        Vec::new()
    }

    /// Receives the parameters with which the next minibatch, or the next measurement, is computed, for noise that
    /// depends on them.
    fn follow(&mut self, p: &[F]) {
        let _ = p;
    }

    /// What a shard's noise remembers from step to step, which becomes part of a checkpoint: numbers, and a count
    /// that is at most their number. Most losses remember nothing.
    fn memory<'a>(&self, drawn: &'a mut Self::Drawn) -> Option<(&'a mut Vec<F>, &'a mut usize)> {
        let _ = drawn;
        None
    }

    /// Fills t with p, each matrix transposed: see [`Weights`].
    fn transpose(&self, p: &[F], t: &mut [F]);

    /// Draws the random numbers of `rows` rows with conditions c: (rows, width), or none.
    fn draw(&self, rows: usize, c: &[F], progress: Progress, rng: &mut Rng, drawn: &mut Self::Drawn);

    /// The loss summed over the rows of the batch, in the model's standardized units. Its parts are added to `parts`.
    /// If dp is given, dp += weight · ∂loss/∂p; otherwise `w.t` is empty.
    fn loss_grad(
        &self,
        w: Weights<F>,
        batch: Batch<F, Self::Row>,
        drawn: &Self::Drawn,
        weight: F,
        dp: Option<&mut [F]>,
        parts: &mut [f64],
        workspace: &mut Self::Workspace,
    ) -> f64;
}

/// The gradient of a minibatch, computed shard by shard on all available threads, and by all processes that train together.
pub struct Gradient<L: Loss<f32>> {
    shards: Vec<Shard<L>>,
    /// The shards that this process computes.
    own: Range<usize>,
    exchange: Arc<dyn Exchange>,
    post: Post,
    sum: Vec<f32>,
    transposed: Vec<f32>,
    parts: Vec<f64>,
}

struct Shard<L: Loss<f32>> {
    rows: usize,
    x: Vec<L::Row>,
    c: Vec<f32>,
    drawn: L::Drawn,
    workspace: L::Workspace,
    dp: Vec<f32>,
    loss: f64,
    parts: Vec<f64>,
}

impl<L: Loss<f32>> Gradient<L> {
    /// Buffers for the minibatches of a training.
    pub fn new(loss: &L, num_params: usize, options: &TrainOptions) -> Self {
        let (batch, shards) = (options.batch, options.shards_of_batch());
        let exchange = options.exchange.clone();
        let own = part_of(shards, exchange.rank(), exchange.ranks());
        let parts = vec![0.0; loss.part_names().len()];
        let shard = |s: usize| Shard {
            rows: batch * (s + 1) / shards - batch * s / shards,
            x: Vec::new(),
            c: Vec::new(),
            drawn: L::Drawn::default(),
            workspace: L::Workspace::default(),
            dp: vec![0.0; if own.contains(&s) { num_params } else { 0 }],
            loss: 0.0,
            parts: parts.clone(),
        };
        Gradient {
            shards: (0..shards).map(shard).collect(),
            post: Post::new(exchange.ranks()),
            exchange,
            own,
            sum: vec![0.0; num_params],
            transposed: vec![0.0; num_params],
            parts,
        }
    }

    /// The mean loss over a minibatch whose rows are drawn by `fill(rng, n, x, c)`, n at a time, into the empty x and
    /// c. Its gradient is then in [`sum`](Gradient::sum).
    ///
    /// # Errors
    /// [`TrainingError::Exchange`](crate::error::TrainingError::Exchange) if another process cannot be reached.
    pub fn compute(
        &mut self,
        loss: &L,
        p: &[f32],
        progress: Progress,
        streams: Streams,
        fill: impl Fn(&mut Rng, usize, &mut Vec<L::Row>, &mut Vec<f32>) + Sync,
    ) -> Result<f64> {
        loss.transpose(p, &mut self.transposed);
        let w = Weights { p, t: &self.transposed };
        let batch: usize = self.shards.iter().map(|s| s.rows).sum();
        let weight = 1.0 / batch as f32;
        let first = self.own.start;
        for_each_shard(&mut self.shards[self.own.clone()], |s, shard| {
            let mut rng = streams.stream((first + s) as u64);
            shard.dp.fill(0.0);
            shard.parts.fill(0.0);
            shard.loss = 0.0;
            let tile = loss.tile();
            for start in (0..shard.rows).step_by(tile) {
                let rows = tile.min(shard.rows - start);
                shard.x.clear();
                shard.c.clear();
                fill(&mut rng, rows, &mut shard.x, &mut shard.c);
                loss.draw(rows, &shard.c, progress, &mut rng, &mut shard.drawn);
                let batch = Batch { x: &shard.x, c: &shard.c };
                let (dp, parts) = (Some(&mut shard.dp[..]), &mut shard.parts);
                shard.loss += loss.loss_grad(w, batch, &shard.drawn, weight, dp, parts, &mut shard.workspace);
            }
        });
        self.add_up()?;
        let (first, rest) = self.shards.split_first().expect("at least one shard");
        self.parts.copy_from_slice(&first.parts);
        for shard in rest {
            self.parts.iter_mut().zip(&shard.parts).for_each(|(sum, &part)| *sum += part);
        }
        self.parts.iter_mut().for_each(|part| *part /= batch as f64);
        Ok(self.shards.iter().map(|s| s.loss).sum::<f64>() / batch as f64)
    }

    /// The sum of the gradients, in the order of the shards.
    fn add_up(&mut self) -> Result<()> {
        if !self.exchange.is_alone() {
            let shards =
                self.shards.iter_mut().map(|Shard { dp, loss, parts, .. }| Contribution { dp, loss, parts });
            return self.post.sum(&*self.exchange, &mut shards.collect::<Vec<_>>(), &mut self.sum);
        }
        let (first, rest) = self.shards.split_first().expect("at least one shard");
        self.sum.copy_from_slice(&first.dp);
        for shard in rest {
            self.sum.iter_mut().zip(&shard.dp).for_each(|(sum, &dp)| *sum += dp);
        }
        Ok(())
    }

    /// What the shards remember.
    pub(super) fn carry(&mut self, loss: &L, carry: &mut Carry) -> Result<()> {
        let mut drawn: Vec<&mut L::Drawn> = self.shards.iter_mut().map(|shard| &mut shard.drawn).collect();
        share_memory(&*self.exchange, loss, &mut drawn)?;
        for shard in &mut self.shards {
            if let Some((numbers, count)) = loss.memory(&mut shard.drawn) {
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

fn for_each_shard<L: Loss<f32>>(shards: &mut [Shard<L>], work: impl Fn(usize, &mut Shard<L>) + Sync) {
    #[cfg(feature = "rayon")]
    {
        use rayon::prelude::*;
        shards.par_iter_mut().enumerate().for_each(|(s, shard)| work(s, shard));
    }
    #[cfg(not(feature = "rayon"))]
    shards.iter_mut().enumerate().for_each(|(s, shard)| work(s, shard));
}

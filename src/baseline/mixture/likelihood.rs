use super::BLOCK;
use super::blocks::Blocks;
use super::gaussians::{Gaussians, Whitened};
use crate::numeric::simd::vectorize;

#[derive(Debug, Default)]
pub(super) struct Scratch {
    rows: Blocks,
    whitened: Whitened,
    /// rₖ(x): (k, rows filled up to full lanes)
    pub responsibility: Vec<f64>,
    /// ln p(x) of as many rows.
    pub nats: Vec<f64>,
}

impl Scratch {
    /// ln p(x) and the responsibilities of the rows of x, (n, d), n at most BLOCK; how many columns the
    /// latter have.
    pub fn score(&mut self, gaussians: &Gaussians, x: &[f32]) -> usize {
        let mut rows = std::mem::take(&mut self.rows);
        rows.refill(gaussians.dim(), x);
        let width = self.posterior(gaussians, rows.get(0).2);
        self.rows = rows;
        width
    }

    /// ln p(x) and the responsibilities of a block of rows, (d, width); its width.
    pub fn posterior(&mut self, gaussians: &Gaussians, columns: &[f64]) -> usize {
        let width = self.log_joint(gaussians, columns);
        vectorize(
            #[inline(always)]
            || gaussians.normalize(&mut self.responsibility, &mut self.nats),
        );
        width
    }

    /// 1 for the likeliest component of each row, the first of equals, 0 for the rest; `nats` are its
    /// ln wₖ N(x; μₖ, Σₖ).
    pub fn nearest(&mut self, gaussians: &Gaussians, columns: &[f64]) -> usize {
        let width = self.log_joint(gaussians, columns);
        vectorize(
            #[inline(always)]
            || harden(&mut self.responsibility, &mut self.nats),
        );
        width
    }

    fn log_joint(&mut self, gaussians: &Gaussians, columns: &[f64]) -> usize {
        let width = columns.len() / gaussians.dim();
        self.responsibility.resize(gaussians.len() * width, 0.0);
        self.nats.resize(width, 0.0);
        gaussians.log_joint(columns, &mut self.whitened, &mut self.responsibility);
        width
    }
}

/// 1 for the largest of each row, the first of equals, 0 for the rest. joint: (k, n), nats: (n), the largest.
#[inline(always)]
fn harden(joint: &mut [f64], nats: &mut [f64]) {
    let n = nats.len();
    let mut best = [0.0; BLOCK];
    nats.fill(f64::NEG_INFINITY);
    for (k, a) in joint.chunks_exact(n).enumerate() {
        for r in 0..n {
            let more = a[r] > nats[r];
            nats[r] = if more { a[r] } else { nats[r] };
            best[r] = if more { k as f64 } else { best[r] };
        }
    }
    for (k, a) in joint.chunks_exact_mut(n).enumerate() {
        for r in 0..n {
            a[r] = if best[r] == k as f64 { 1.0 } else { 0.0 };
        }
    }
}

/// −(1/n) Σ ln p(x), summed in the order of the rows.
pub(super) fn mean_nll(gaussians: &Gaussians, rows: &Blocks) -> f64 {
    let mut scratch = Scratch::default();
    let mut sum = 0.0;
    for block in 0..rows.count() {
        let (_, live, columns) = rows.get(block);
        scratch.posterior(gaussians, columns);
        sum -= scratch.nats[..live].iter().sum::<f64>();
    }
    sum / rows.rows() as f64
}

use ndarray::Array2;
use rand::Rng as _;

use super::blocks::Blocks;
use super::gaussians::Gaussians;
use super::moments::{Assign, Moments, Sums, expect};
use super::objective::Prior;
use super::{BLOCK, Covariance};
use crate::numeric::rng::Rng;
use crate::numeric::simd::vectorize;

/// Lloyd iterations between the seeds and the first M-step: enough to settle most rows.
const LLOYD: usize = 10;

/// Where a run of EM starts: k-means++ seeds, a few Lloyd iterations, and the sums of each row with its
/// nearest center. Distances are in units of the columns' scale.
pub(super) fn start(
    k: usize,
    family: Covariance,
    rows: &Blocks,
    prior: &Prior,
    rng: &mut Rng,
) -> (Gaussians, Sums) {
    let Prior { center, scale, .. } = *prior;
    let mut gaussians = Gaussians::equal(seeds(k, rows, scale, rng), scale);
    for _ in 0..LLOYD {
        // Only the means move: where weights and covariances are equal, the likeliest center is the nearest.
        let sums = expect(&gaussians, rows, center, Assign::Hard, Moments::First);
        gaussians = Gaussians::equal(sums.means(&gaussians, center), scale);
    }
    let sums = expect(&gaussians, rows, center, Assign::Hard, family.moments());
    (gaussians, sums)
}

/// k rows, the first at random, each next one with probability in proportion to its squared distance from the
/// nearest before it; of 2 + ln k such draws the one that leaves the least sum of squared distances (Arthur &
/// Vassilvitskii 2007, the greedy variant of their experiments).
fn seeds(k: usize, rows: &Blocks, scale: &[f64], rng: &mut Rng) -> Array2<f64> {
    let (n, d) = (rows.rows(), scale.len());
    let candidates = 2 + (k as f64).ln() as usize;
    let mut seeds = Array2::zeros((k, d));
    let first: Vec<f64> = rows.row(rng.random_range(0..n)).collect();
    seeds.row_mut(0).assign(&ndarray::aview1(&first));
    // Squared distance to the nearest seed: (n), and what it would be with a candidate.
    let mut nearest = vec![f64::INFINITY; n];
    let (mut with, mut best) = (nearest.clone(), nearest.clone());
    nearest_with(&first, rows, scale, &nearest, &mut with);
    std::mem::swap(&mut nearest, &mut with);
    for s in 1..k {
        let mut least = f64::INFINITY;
        for _ in 0..candidates {
            let seed: Vec<f64> = rows.row(draw(&nearest, rng)).collect();
            let left = nearest_with(&seed, rows, scale, &nearest, &mut with);
            if left < least {
                least = left;
                seeds.row_mut(s).assign(&ndarray::aview1(&seed));
                std::mem::swap(&mut best, &mut with);
            }
        }
        std::mem::swap(&mut nearest, &mut best);
    }
    seeds
}

/// An index with probability in proportion to `weights`; any, if all are 0.
fn draw(weights: &[f64], rng: &mut Rng) -> usize {
    let target = rng.random::<f64>() * weights.iter().sum::<f64>();
    let mut running = 0.0;
    let found = weights.iter().position(|w| {
        running += w;
        target < running
    });
    found.unwrap_or_else(|| rng.random_range(0..weights.len()))
}

/// with = min(nearest, ‖x − seed‖²), and its sum over the rows.
fn nearest_with(seed: &[f64], rows: &Blocks, scale: &[f64], nearest: &[f64], with: &mut [f64]) -> f64 {
    let mut squares = [0.0; BLOCK];
    for block in 0..rows.count() {
        let (first, live, columns) = rows.get(block);
        let width = columns.len() / rows.dim();
        let squares = &mut squares[..width];
        vectorize(
            #[inline(always)]
            || {
                squares.fill(0.0);
                for ((x, seed), scale) in columns.chunks_exact(width).zip(seed).zip(scale) {
                    let inverse = 1.0 / scale;
                    for (x, square) in x.iter().zip(&mut *squares) {
                        let distance = (x - seed) * inverse;
                        *square = distance.mul_add(distance, *square);
                    }
                }
            },
        );
        let range = first..first + live;
        let nearest = nearest[range.clone()].iter().zip(&*squares);
        with[range]
            .iter_mut()
            .zip(nearest)
            .for_each(|(with, (nearest, square))| *with = nearest.min(*square));
    }
    with.iter().sum()
}

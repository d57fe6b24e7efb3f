use ndarray::Array2;
use rand::Rng as _;

use super::Covariance;
use super::gaussians::Gaussians;
use super::moments::{Assign, Moments, Sums, expect, moved_means};
use crate::baseline::lanes::{LANES, Lanes, total};
use crate::numeric::rng::Rng;
use crate::numeric::simd::vectorise;

/// Lloyd iterations between the seeds and the first M-step: enough to settle most rows.
const LLOYD: usize = 10;

/// Where a run of EM starts: k-means++ seeds, a few Lloyd iterations, and the sums of each row with its
/// nearest centre. Distances are in units of `scale`, (d).
pub(super) fn start(
    k: usize,
    family: Covariance,
    rows: &Lanes,
    scale: &[f64],
    rng: &mut Rng,
) -> (Gaussians, Sums) {
    let mut gaussians = Gaussians::equal(seeds(k, rows, scale, rng), scale);
    for _ in 0..LLOYD {
        // Only the means move: where weights and covariances are equal, the likeliest centre is the nearest.
        let sums = expect(&gaussians, rows, Assign::Hard, Moments::Diagonal);
        gaussians = Gaussians::equal(moved_means(&gaussians, &sums), scale);
    }
    let sums = expect(&gaussians, rows, Assign::Hard, family.moments());
    (gaussians, sums)
}

/// k rows, the first at random, each next one with probability in proportion to its squared distance from the
/// nearest before it; of 2 + ln k such draws the one that leaves the least sum of squared distances (Arthur &
/// Vassilvitskii 2007, the greedy variant of their experiments).
fn seeds(k: usize, rows: &Lanes, scale: &[f64], rng: &mut Rng) -> Array2<f64> {
    let (n, d) = (rows.rows(), scale.len());
    let row = |i: usize| -> Vec<f64> {
        (0..d).map(|c| rows.tiles()[((i / LANES) * d + c) * LANES + i % LANES]).collect()
    };
    let candidates = 2 + (k as f64).ln() as usize;
    let mut seeds = Array2::zeros((k, d));
    let first = row(rng.random_range(0..n));
    seeds.row_mut(0).assign(&ndarray::aview1(&first));
    // Squared distance to the nearest seed: (n), and what it would be with a candidate.
    let mut nearest = vec![f64::INFINITY; rows.tiles().len() / d];
    let (mut with, mut best) = (nearest.clone(), nearest.clone());
    nearest_with(&first, rows, scale, &nearest, &mut with);
    std::mem::swap(&mut nearest, &mut with);
    for s in 1..k {
        let mut least = f64::INFINITY;
        for _ in 0..candidates {
            let seed = row(draw(&nearest[..n], rng));
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
fn nearest_with(seed: &[f64], rows: &Lanes, scale: &[f64], nearest: &[f64], with: &mut [f64]) -> f64 {
    let d = scale.len();
    let n = rows.rows();
    let inverse: Vec<f64> = scale.iter().map(|s| 1.0 / s).collect();
    vectorise(
        #[inline(always)]
        || {
            let tiles = rows.tiles().chunks_exact(d * LANES);
            let nearest = nearest.as_chunks::<LANES>().0.iter();
            let mut sum = [0.0; LANES];
            for (t, ((x, nearest), with)) in
                tiles.zip(nearest).zip(with.as_chunks_mut::<LANES>().0).enumerate()
            {
                let mut square = [0.0; LANES];
                for (i, x) in x.as_chunks::<LANES>().0.iter().enumerate() {
                    for l in 0..LANES {
                        let distance = (x[l] - seed[i]) * inverse[i];
                        square[l] += distance * distance;
                    }
                }
                for l in 0..LANES {
                    with[l] = if square[l] < nearest[l] { square[l] } else { nearest[l] };
                }
                // What fills up the last tile is no row.
                let live = LANES.min(n - t * LANES);
                with[live..].fill(0.0);
                for l in 0..LANES {
                    sum[l] += with[l];
                }
            }
            total(&sum)
        },
    )
}

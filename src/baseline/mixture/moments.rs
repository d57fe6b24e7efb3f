//! The E-step: responsibilities, and the sums over the rows that the M-step needs. The rows stand in lanes, so
//! that each line of arithmetic works on [`LANES`] of them.

use ndarray::Array2;

use super::BLOCK;
use super::gaussians::Gaussians;
use crate::baseline::lanes::{LANES, Lanes, total};
use crate::engine::tiles::for_each_block;
use crate::numeric::simd::vectorise;

/// Parts of the rows that are summed by themselves, then in order: what makes the sums the same bits for any
/// number of threads, and the most threads that a step can use.
const PARTS: usize = 16;

/// Σ over the rows of what the M-step needs, about the means of the E-step: no digits are lost where a
/// component is narrow and far from the origin.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    /// −Σ ln p(x)
    pub nll: f64,
    /// nₖ = Σ rₖ: (k)
    pub count: Vec<f64>,
    /// Σ rₖ (x − μₖ): (k, d)
    pub first: Vec<f64>,
    /// Σ rₖ (x − μₖ)(x − μₖ)ᵀ, row by row: the lower triangle, (k, d (d + 1)/2), or the diagonal alone, (k, d)
    pub second: Vec<f64>,
}

/// Which second moments are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moments {
    Triangle,
    Diagonal,
}

impl Moments {
    /// Numbers per component.
    pub fn len(self, d: usize) -> usize {
        match self {
            Moments::Triangle => d * (d + 1) / 2,
            Moments::Diagonal => d,
        }
    }

    /// The first column of row i.
    fn from(self, i: usize) -> usize {
        match self {
            Moments::Triangle => 0,
            Moments::Diagonal => i,
        }
    }

    /// The places (i, j), j ≤ i, in the order of the sums.
    pub fn places(self, d: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..d).flat_map(move |i| (self.from(i)..=i).map(move |j| (i, j)))
    }
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.nll += other.nll;
        let add =
            |to: &mut Vec<f64>, from: &[f64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        add(&mut self.count, &other.count);
        add(&mut self.first, &other.first);
        add(&mut self.second, &other.second);
    }
}

/// Which component a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assign {
    /// To each by its posterior probability: EM.
    Soft,
    /// To the likeliest alone: k-means, if all covariances are one.
    Hard,
}

#[derive(Default)]
struct Scratch {
    // (k, BLOCK)
    responsibility: Vec<f64>,
    // (BLOCK)
    nats: Vec<f64>,
    // (d, LANES)
    centred: Vec<f64>,
    // Lanes of one component's sums: (1 + d + second moments, LANES)
    sums: Vec<f64>,
}

/// The E-step: rₖ = wₖ N(x; μₖ, Σₖ) / p(x) of each row, and the sums.
pub(super) fn expect(gaussians: &Gaussians, rows: &Lanes, assign: Assign, moments: Moments) -> Sums {
    let d = gaussians.dim();
    let blocks = rows.rows().div_ceil(BLOCK);
    let part = blocks.div_ceil(PARTS) * BLOCK;
    let mut parts = vec![Sums::default(); rows.rows().div_ceil(part)];
    let done = for_each_block(&mut parts, 1, 1, |scratch: &mut Scratch, p, sums| {
        let tiles = &rows.tiles()[p * part * d..rows.tiles().len().min((p + 1) * part * d)];
        let live = part.min(rows.rows() - p * part);
        for (b, tiles) in tiles.chunks(BLOCK * d).enumerate() {
            add_block(
                gaussians,
                tiles,
                BLOCK.min(live - b * BLOCK),
                (assign, moments),
                scratch,
                &mut sums[0],
            );
        }
        Ok(())
    });
    debug_assert!(done.is_ok());
    parts.into_iter().reduce(|mut sum, part| (sum.add(&part), sum).1).unwrap_or_default()
}

/// tiles: (t, d, LANES), of which `live` rows are rows.
fn add_block(
    gaussians: &Gaussians,
    tiles: &[f64],
    live: usize,
    (assign, moments): (Assign, Moments),
    scratch: &mut Scratch,
    to: &mut Sums,
) {
    let (k, d) = (gaussians.len(), gaussians.dim());
    let rows = tiles.len() / d;
    let seconds = moments.len(d);
    to.count.resize(k, 0.0);
    to.first.resize(k * d, 0.0);
    to.second.resize(k * seconds, 0.0);
    let Scratch { responsibility, nats, centred, sums } = scratch;
    responsibility.resize(k * rows, 0.0);
    nats.resize(rows, 0.0);
    sums.resize((1 + d + seconds) * LANES, 0.0);
    vectorise(
        #[inline(always)]
        || {
            let r = &mut responsibility[..k * rows];
            gaussians.log_joint(tiles, centred, r);
            match assign {
                Assign::Soft => gaussians.normalise(r, &mut nats[..rows]),
                Assign::Hard => harden(r, &mut nats[..rows]),
            }
            to.nll -= nats[..live].iter().sum::<f64>();
            // What fills up the last tile belongs to none.
            r.chunks_exact_mut(rows).for_each(|r| r[live..].fill(0.0));

            for (k, r) in r.chunks_exact(rows).enumerate() {
                sums.fill(0.0);
                let mean = gaussians.means.row(k);
                let mean = mean.as_slice().expect("standard layout");
                for (x, r) in tiles.chunks_exact(d * LANES).zip(r.as_chunks::<LANES>().0) {
                    add_tile(mean, x, r, moments, centred, sums);
                }
                let (count, rest) = sums.as_chunks::<LANES>().0.split_first().expect("a count");
                let (first, second) = rest.split_at(d);
                to.count[k] += total(count);
                let first = to.first[k * d..].iter_mut().zip(first);
                let second = to.second[k * seconds..].iter_mut().zip(second);
                first.chain(second).for_each(|(to, lanes)| *to += total(lanes));
            }
        },
    );
}

/// Adds r, r (x − μ) and r (x − μ)(x − μ)ᵀ of LANES rows to the lanes of a component's sums. x: (d, LANES)
#[inline(always)]
fn add_tile(
    mean: &[f64],
    x: &[f64],
    r: &[f64; LANES],
    moments: Moments,
    centred: &mut [f64],
    sums: &mut [f64],
) {
    let centred = centred.as_chunks_mut::<LANES>().0;
    let (count, rest) = sums.as_chunks_mut::<LANES>().0.split_first_mut().expect("a count");
    let (first, second) = rest.split_at_mut(mean.len());
    for l in 0..LANES {
        count[l] += r[l];
    }
    let mut second = second.iter_mut();
    for (i, x) in x.as_chunks::<LANES>().0.iter().enumerate() {
        let mut weighted = [0.0; LANES];
        for l in 0..LANES {
            centred[i][l] = x[l] - mean[i];
            weighted[l] = r[l] * centred[i][l];
            first[i][l] += weighted[l];
        }
        for (centred, second) in centred[moments.from(i)..=i].iter().zip(&mut second) {
            for l in 0..LANES {
                second[l] = weighted[l].mul_add(centred[l], second[l]);
            }
        }
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

/// μₖ + δₖ, δₖ = Σ rₖ (x − μₖ)/nₖ: (k, d)
pub(super) fn moved_means(gaussians: &Gaussians, sums: &Sums) -> Array2<f64> {
    let d = gaussians.dim();
    let mut means = gaussians.means.clone();
    for ((k, i), mean) in means.indexed_iter_mut() {
        if sums.count[k] >= f64::MIN_POSITIVE {
            *mean += sums.first[k * d + i] / sums.count[k];
        }
    }
    means
}

//! The E-step: responsibilities, and the sums over the rows that the M-step needs.
//!
//! The sums are one matrix product for all components: Σ rₖ φ(x), of the responsibilities, (k, rows), with the
//! monomials of each row, φ(x) = (1, x, x xᵀ), (rows, monomials).

use std::ops::Range;

use ndarray::{Array1, Array2};

use super::blocks::Blocks;
use super::gaussians::Gaussians;
use super::likelihood::Scratch;
use crate::engine::tiles::for_each_block;
use crate::numeric::gemm::{Init, Strided, gemm, transpose};
use crate::numeric::simd::vectorize;

/// Parts of the rows that are summed by themselves, then in order: what makes the sums the same bits for any
/// number of threads, and the most threads that a step can use.
const PARTS: usize = 16;

/// Monomials that go through a product together, or those of one column if they are more: they stay in L2.
const PANEL: usize = 64;

/// Numbers that are multiplied at once.
const VECTOR: usize = 8;

/// Which moments are summed, beside the rows' number and their first moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moments {
    /// No others.
    First,
    /// The squares of the columns.
    Diagonal,
    /// All products of two columns, the lower triangle row by row.
    Triangle,
}

impl Moments {
    /// The columns that column i is multiplied with.
    fn factors(self, i: usize) -> Range<usize> {
        match self {
            Moments::First => i..i,
            Moments::Diagonal => i..i + 1,
            Moments::Triangle => 0..i + 1,
        }
    }

    /// The places (i, j), j ≤ i, in the order of the sums.
    pub fn places(self, d: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..d).flat_map(move |i| self.factors(i).map(move |j| (i, j)))
    }

    /// Second moments by panels: the columns i of each, and the number of its monomials.
    fn panels(self, d: usize) -> Vec<(Range<usize>, usize)> {
        let (mut panels, mut first, mut width) = (Vec::new(), 0, 0);
        for i in 0..d {
            width += self.factors(i).len();
            if width >= PANEL || (i + 1 == d && width > 0) {
                panels.push((first..i + 1, width));
                (first, width) = (i + 1, 0);
            }
        }
        panels
    }
}

/// Σ over the rows of what the M-step needs, about the center of all rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    /// −Σ ln p(x)
    pub nll: f64,
    // Σ rₖ and Σ rₖ x: (k, 1 + d)
    first: Vec<f64>,
    // Σ rₖ x xᵀ at the places, by panels of them: (panels, k, monomials of the panel)
    second: Vec<Vec<f64>>,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.nll += other.nll;
        let add =
            |to: &mut Vec<f64>, from: &[f64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        add(&mut self.first, &other.first);
        self.second.iter_mut().zip(&other.second).for_each(|(to, from)| add(to, from));
    }

    /// nₖ = Σ rₖ: (k)
    pub fn counts(&self, d: usize) -> impl Iterator<Item = f64> {
        self.first.iter().step_by(1 + d).copied()
    }

    /// Σ rₖ x: (d)
    pub fn first(&self, k: usize, d: usize) -> &[f64] {
        &self.first[k * (1 + d) + 1..][..d]
    }

    /// Σ rₖ xᵢ xⱼ at the places of the moments. components: (k)
    pub fn second(&self, k: usize, components: usize) -> impl Iterator<Item = f64> {
        self.second.iter().flat_map(move |panel| {
            let width = panel.len() / components;
            panel[k * width..][..width].iter().copied()
        })
    }

    /// μₖ = c + Σ rₖ x/nₖ, where x stands about c: (k, d). A component without rows keeps its mean.
    pub fn means(&self, gaussians: &Gaussians, center: &[f64]) -> Array2<f64> {
        let d = center.len();
        let mut means = gaussians.means.clone();
        for ((mut mean, count), k) in means.rows_mut().into_iter().zip(self.counts(d)).zip(0..) {
            if count >= f64::MIN_POSITIVE {
                let moved = self.first(k, d).iter().zip(center).map(|(sum, center)| center + sum / count);
                mean.assign(&Array1::from_iter(moved));
            }
        }
        means
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
struct Buffers {
    scratch: Scratch,
    // Columns about the center, behind one of ones: (1 + d, BLOCK), and their transpose with room for a vector
    columns: Vec<f64>,
    rows: Vec<f64>,
    // Those of a panel, and room for a vector: (BLOCK, monomials)
    monomials: Vec<f64>,
}

/// The E-step: rₖ = wₖ N(x; μₖ, Σₖ) / p(x) of each row, and the sums about `center`, (d).
pub(super) fn expect(
    gaussians: &Gaussians,
    rows: &Blocks,
    center: &[f64],
    assign: Assign,
    moments: Moments,
) -> Sums {
    let panels = moments.panels(rows.dim());
    let blocks = rows.count().div_ceil(PARTS);
    let mut parts = vec![Sums::default(); rows.count().div_ceil(blocks)];
    let done = for_each_block(&mut parts, 1, 1, |buffers: &mut Buffers, part, sums| {
        for block in part * blocks..rows.count().min((part + 1) * blocks) {
            let (_, live, columns) = rows.get(block);
            add_block(gaussians, columns, live, center, (assign, moments, &panels), buffers, &mut sums[0]);
        }
        Ok(())
    });
    debug_assert!(done.is_ok());
    parts.into_iter().reduce(|mut sum, part| (sum.add(&part), sum).1).unwrap_or_default()
}

/// Adds what a block's first `live` columns say. columns: (d, width)
fn add_block(
    gaussians: &Gaussians,
    columns: &[f64],
    live: usize,
    center: &[f64],
    (assign, moments, panels): (Assign, Moments, &[(Range<usize>, usize)]),
    buffers: &mut Buffers,
    to: &mut Sums,
) {
    let (k, d) = (gaussians.len(), gaussians.dim());
    let Buffers { scratch, columns: about, rows, monomials } = buffers;
    let width = match assign {
        Assign::Soft => scratch.posterior(gaussians, columns),
        Assign::Hard => scratch.nearest(gaussians, columns),
    };
    to.nll -= scratch.nats[..live].iter().sum::<f64>();

    about.clear();
    about.resize(width, 1.0);
    for (x, center) in columns.chunks_exact(width).zip(center) {
        about.extend(x.iter().map(|x| x - center));
    }
    rows.resize(about.len() + VECTOR, 0.0);
    transpose((1 + d, width), about, rows);
    let responsibility = Strided::rows(&scratch.responsibility, width);
    to.first.resize(k * (1 + d), 0.0);
    gemm((k, 1 + d, live), responsibility, rows, 1 + d, Init::Accumulate, &mut to.first);
    to.second.resize(panels.len(), Vec::new());
    for ((columns, count), to) in panels.iter().zip(&mut to.second) {
        monomials.resize(live * count + VECTOR, 0.0);
        vectorize(
            #[inline(always)]
            || multiply(&rows[..live * (1 + d) + VECTOR], 1 + d, moments, columns.clone(), monomials),
        );
        to.resize(k * count, 0.0);
        gemm((k, *count, live), responsibility, monomials, *count, Init::Accumulate, to);
    }
}

/// The monomials of some columns: whole vectors are written, whose surplus the next monomials replace.
/// rows: (n, stride), each behind a 1; monomials: (n, those of the columns). Both have room for a vector behind them.
#[inline(always)]
fn multiply(rows: &[f64], stride: usize, moments: Moments, columns: Range<usize>, monomials: &mut [f64]) {
    let vector =
        |x: &[f64], at: usize| -> [f64; VECTOR] { *x[at..].first_chunk().expect("room for a vector") };
    let mut to = 0;
    let mut write = |at: usize, products: [f64; VECTOR]| {
        *monomials[at..].first_chunk_mut().expect("room for a vector") = products;
    };
    for first in (1..rows.len() - VECTOR).step_by(stride) {
        let x = &rows[first..];
        if moments == Moments::Diagonal {
            for (offset, c) in columns.clone().enumerate().step_by(VECTOR) {
                write(to + offset, vector(x, c).map(|x| x * x));
            }
            to += columns.len();
            continue;
        }
        for i in columns.clone() {
            for c in (0..=i).step_by(VECTOR) {
                write(to + c, vector(x, c).map(|x_c| x[i] * x_c));
            }
            to += i + 1;
        }
    }
}

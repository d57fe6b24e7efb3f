//! Kernels that are wide where rows are sparse (Breiman, Meisel & Purcell 1977).
//!
//! The width of kernel j is h·λⱼ with λⱼ = (rⱼ/r)ᵃ: rⱼ is the distance from row j to its nearest rows in units in which
//! kernels are round, r the geometric mean of all rⱼ, and a says how much widths differ: not at all for 0, so that each
//! kernel reaches as many rows for 1. h, a and the kernels' shape are those of the highest likelihood of rows left out.
//! Shape and distances of a fold come from the rows that it learns from alone: with a left-out row's own share in the
//! covariance, kernels along it would look better than they are.

use std::ops::ControlFlow;

use ndarray::{Array2, Axis};

use super::likelihood::nearest_square;
use super::objective::{CrossValidation, scott};
use super::training::{Shape, spread};
use super::{KernelDensity, KernelDensityConfig};
use crate::baseline::lanes::Lanes;
use crate::engine::tiles::for_each_tile;
use crate::error::Result;
use crate::numeric::rng::Rng;

/// Parts of the rows, each of which is left out once.
const FOLDS: usize = 5;

/// a
pub(super) const EXPONENTS: [f64; 3] = [0.0, 0.5, 1.0];

/// r is the distance to so many of the nearest rows.
const NEIGHBORS: usize = 10;

/// Rows among which the nearest are looked for, at most.
const AMONG: usize = 2048;

/// The least r, over the mean of all: that of repeated rows.
const LEAST: f64 = 1e-3;

/// λ of each row, with geometric mean 1. y: (n, d) in units in which kernels are round.
pub(super) fn relative(y: &[f64], dim: usize, exponent: f64) -> Vec<f64> {
    let n = y.len() / dim;
    if exponent == 0.0 || n < 2 {
        return Vec::new();
    }
    let stride = n.div_ceil(AMONG);
    let some: Vec<f64> = y.chunks_exact(dim).step_by(stride).flatten().copied().collect();
    let among = Lanes::new(dim, &some, f64::INFINITY);
    let mut r = vec![0.0; n];
    let done = for_each_tile(&mut r, 1, |squares: &mut Vec<f64>, first, r| {
        for (i, r) in (first..).zip(r) {
            let own = if i % stride == 0 { i / stride } else { usize::MAX };
            *r = nearest_square(&among, &y[i * dim..][..dim], own, NEIGHBORS, squares).sqrt();
        }
        Ok(())
    });
    debug_assert!(done.is_ok());
    let least = (LEAST * r.iter().sum::<f64>() / n as f64).max(f64::MIN_POSITIVE);
    let ln: Vec<f64> = r.iter().map(|r| r.max(least).ln()).collect();
    let mean = ln.iter().sum::<f64>() / n as f64;
    ln.iter().map(|ln| (exponent * (ln - mean)).exp()).collect()
}

/// Rows of a fold: those that it learns from, as many of each class, and those that it is measured on, likewise.
pub(super) struct Fold {
    training: Array2<f32>,
    counts: Vec<usize>,
    left_out: Vec<Array2<f32>>,
}

/// The folds of rows x, (n, d), one class after the other, of which `counts` has the numbers. About `scored` of them
/// are measured on. With fewer rows than folds each leaves out one.
pub(super) fn folds(x: &Array2<f32>, counts: &[usize], scored: usize, rng: &mut Rng) -> Vec<Fold> {
    let n = x.nrows();
    let parts = FOLDS.min(n);
    let order = rand::seq::index::sample(rng, n, n).into_vec();
    let classes = |rows: &[usize]| {
        let (mut rows, mut first) = (rows.to_vec(), 0);
        rows.sort_unstable();
        let of_class = |&count: &usize| {
            let own: Vec<usize> =
                rows.iter().copied().filter(|row| (first..first + count).contains(row)).collect();
            first += count;
            own
        };
        counts.iter().map(of_class).collect::<Vec<_>>()
    };
    let fold = |part: usize| {
        let (start, end) = (part * n / parts, (part + 1) * n / parts);
        let training = classes(&[&order[..start], &order[end..]].concat());
        let measured = (end - start).min(scored.div_ceil(parts));
        Fold {
            training: x.select(Axis(0), &training.concat()),
            counts: training.iter().map(Vec::len).collect(),
            left_out: classes(&order[start..start + measured])
                .iter()
                .map(|own| x.select(Axis(0), own))
                .collect(),
        }
    };
    (0..parts).map(fold).collect()
}

impl Fold {
    /// Kernels of h = 1 on its rows; `None` where they span fewer dimensions than the shape takes.
    fn fitted(&self, config: &KernelDensityConfig, shape: Shape, exponent: f64) -> Option<KernelDensity> {
        let mean = self.training.mapv(f64::from).mean_axis(Axis(0))?.to_vec();
        let (full, within) = spread(&self.training, &self.counts, &mean);
        let sphere = shape.sphere(mean, &full, within)?;
        let classes = if config.condition.is_none() { Vec::new() } else { self.counts.clone() };
        KernelDensity::on(config.clone(), self.training.clone(), classes, sphere, exponent)
    }
}

/// The best widths of a shape of kernels.
pub(super) struct Best {
    /// On the rows left out.
    pub(super) nll: f64,
    /// For all rows in place of a fold's.
    pub(super) bandwidth: f64,
    pub(super) exponent: f64,
    /// Whether the training goes on.
    pub(super) go_on: ControlFlow<()>,
}

/// The widths of a shape of kernels, tried on the folds: `observe` as for
/// [`minimize`](CrossValidation::minimize). A fold's rows stand for `rows`; `None` where the rows span too few dimensions.
pub(super) fn minimize(
    config: &KernelDensityConfig,
    shape: Shape,
    folds: &[Fold],
    rows: usize,
    mut observe: impl FnMut(f64, f64) -> ControlFlow<()>,
) -> Result<Option<Best>> {
    let mut best: Option<(f64, f64, f64)> = None;
    let mut go_on = ControlFlow::Continue(());
    for exponent in EXPONENTS {
        let fitted = folds.iter().map(|fold| fold.fitted(config, shape, exponent));
        let Some(fitted) = fitted.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let measured = fitted.iter().zip(folds).map(|(fitted, fold)| (fitted, &fold.left_out[..]));
        let objective = CrossValidation::held_out(measured, rows)?;
        let about = best.map(|(_, h, _)| h);
        let (nll, h, then) = objective.minimize(about, &mut observe);
        if best.is_none_or(|(least, ..)| nll < least) {
            best = Some((nll, h, exponent));
        }
        go_on = then;
        if go_on.is_break() {
            break;
        }
    }
    let (nll, h, exponent) = best.expect("at least one exponent");
    // Kernels on more rows are narrower, as Scott's rule has it.
    let of_a_fold = rows - rows / folds.len();
    let narrower = scott(rows, config.dim) / scott(of_a_fold.max(1), config.dim);
    Ok(Some(Best { nll, bandwidth: h * narrower, exponent, go_on }))
}

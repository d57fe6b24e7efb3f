//! The width of the kernels.

use std::ops::ControlFlow;

use super::likelihood::log_sums;
use crate::baseline::lanes::Lanes;
use crate::engine::tiles::for_each_tile;

/// Widths tried first, each [`RATIO`] times the one before, down from [`WIDEST`] times Scott's.
const WIDTHS: usize = 14;
const WIDEST: f64 = 2.0;
const RATIO: f64 = 0.5;
/// Golden-section steps between the neighbours of the best: h to 2 %.
const REFINEMENTS: usize = 10;

/// How many bandwidths cross-validation tries.
pub(super) const TRIALS: usize = WIDTHS + REFINEMENTS;

/// n^(−1/(d + 4)) (Scott 1992, eq. 6.42).
pub(super) fn scott(rows: usize, dim: usize) -> f64 {
    (rows as f64).powf(-1.0 / (dim as f64 + 4.0))
}

/// (n (d + 2)/4)^(−1/(d + 4)) (Silverman 1986, eq. 4.14): the least mean integrated squared error where the
/// truth is a Gaussian.
pub(super) fn silverman(rows: usize, dim: usize) -> f64 {
    (rows as f64 * (dim as f64 + 2.0) / 4.0).powf(-1.0 / (dim as f64 + 4.0))
}

/// The leave-one-out NLL in whitened units, up to a constant: the mean over some rows of
/// −ln (1/(n − 1)) Σ_{j≠i} h⁻ᵈ exp(−½ ‖yᵢ − yⱼ‖²/h²).
pub(super) struct LeaveOneOut<'a> {
    pub kernels: &'a Lanes,
    pub dim: usize,
    /// Numbers of the rows that are scored: (m)
    pub scored: Vec<usize>,
    /// The rows themselves: (m, dim)
    pub y: Vec<f64>,
    /// What the mean of all rows' log densities lacks of the units of the data.
    pub constant: f64,
}

impl LeaveOneOut<'_> {
    pub fn nll(&self, h: f64) -> f64 {
        let (n, m, d) = (self.kernels.rows(), self.scored.len(), self.dim);
        let mut sums = vec![0.0; m];
        let done = for_each_tile(&mut sums, 1, |scratch: &mut Vec<f64>, first, sums| {
            let rows = first..first + sums.len();
            let y = &self.y[rows.start * d..rows.end * d];
            log_sums(self.kernels, y, &self.scored[rows], 0.5 / (h * h), scratch, sums);
            Ok(())
        });
        debug_assert!(done.is_ok());
        let mean = sums.iter().sum::<f64>() / m as f64;
        self.constant + (n as f64 - 1.0).ln() + d as f64 * h.ln() - mean
    }

    /// The bandwidth of the least NLL: a geometric sequence of widths, then golden sections of ln h around the
    /// best. `observe(h, nll)` sees each and may end the search with the best so far. The least NLL, its h, and
    /// whether to go on.
    pub fn minimise(
        &self,
        mut observe: impl FnMut(f64, f64) -> ControlFlow<()>,
    ) -> (f64, f64, ControlFlow<()>) {
        let mut best = (f64::INFINITY, 0.0);
        let mut try_width = |h: f64| {
            let nll = self.nll(h);
            if nll < best.0 || best.1 == 0.0 {
                best = (nll, h);
            }
            (nll, best, observe(h, nll))
        };
        let widest = WIDEST * scott(self.kernels.rows(), self.dim);
        let mut at = (f64::INFINITY, widest);
        for i in 0..WIDTHS {
            let (_, best, go_on) = try_width(widest * RATIO.powi(i as i32));
            at = best;
            if go_on.is_break() {
                return (at.0, at.1, go_on);
            }
        }
        // Four points of ln h in golden proportion; of the inner two the worse becomes an end.
        const GOLDEN: f64 = 0.618_033_988_749_894_9;
        let (mut low, mut high) = ((at.1 * RATIO).ln(), (at.1 / RATIO).ln());
        let mut inner = [None, None];
        for _ in 0..REFINEMENTS {
            let place =
                |i: usize| if i == 0 { high - GOLDEN * (high - low) } else { low + GOLDEN * (high - low) };
            let missing = if inner[0].is_none() { 0 } else { 1 };
            let (nll, best, go_on) = try_width(place(missing).exp());
            at = best;
            inner[missing] = Some(nll);
            if go_on.is_break() {
                return (at.0, at.1, go_on);
            }
            if let [Some(left), Some(right)] = inner {
                if left < right {
                    (high, inner) = (place(1), [None, Some(left)]);
                } else {
                    (low, inner) = (place(0), [Some(right), None]);
                }
            }
        }
        (at.0, at.1, ControlFlow::Continue(()))
    }
}

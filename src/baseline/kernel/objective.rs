//! The width of the kernels.

use std::ops::ControlFlow;

use ndarray::Array2;

use super::KernelDensity;
use super::likelihood::{Centers, log_sums};
use crate::engine::tiles::for_each_tile;
use crate::error::{DataError, Error, Result};

/// Widths tried first, each [`RATIO`] times the one before, down from [`WIDEST`] times Scott's.
const WIDTHS: usize = 14;
const WIDEST: f64 = 2.0;
const RATIO: f64 = 0.5;
/// Golden-section steps between the neighbors of the best: h to 2 %.
pub(super) const REFINEMENTS: usize = 10;

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

/// The NLL of rows under others, by leave-one-out the mean over some rows of −ln (1/(n − 1)) Σ_{j≠i} N(xᵢ; xⱼ, h² Σ).
/// Of classes, i and j are of one class; under a vector it is that of (c, x) less that of c.
pub(super) struct CrossValidation<'a> {
    groups: Vec<Group<'a>>,
    dim: usize,
    /// Rows that are scored.
    scored: usize,
    /// How many Scott's rule goes by: all, or of classes the mean number in one.
    rows: usize,
    /// What the mean of all rows' log densities lacks of the units of the data.
    constant: f64,
}

/// Rows that are scored by the same kernels.
struct Group<'a> {
    kernels: &'a Centers,
    /// Those of c alone.
    given: Option<&'a Centers>,
    /// How many.
    count: usize,
    /// Their numbers among the kernels, (m), unless they are others.
    own: Vec<usize>,
    /// The rows themselves: (m, columns)
    y: Vec<f64>,
}

impl<'a> CrossValidation<'a> {
    /// Leave-one-out, of the rows with these numbers, under `model`, whose rules count `rows`.
    ///
    /// # Errors
    /// [`DataError::TooFewRows`] if none of them has another in its class.
    pub fn leave_one_out(model: &'a KernelDensity, scored: &[usize], rows: usize) -> Result<Self> {
        let dim = model.config.dim;
        let group = |kernels: &'a Centers, given, own: Vec<usize>| {
            let y = own.iter().flat_map(|&row| kernels.lanes.row(row)).collect();
            Group { kernels, given, count: own.len(), own, y }
        };
        let groups = match (&model.classes[..], &model.given[..]) {
            ([], [c, joint]) => vec![group(joint, Some(c), scored.to_vec())],
            ([], _) => vec![group(&model.kernels.centers, None, scored.to_vec())],
            (classes, lanes) => {
                let (mut first, mut groups) = (0, Vec::new());
                for (&rows, kernels) in classes.iter().zip(lanes) {
                    // A row alone in its class has no other.
                    let own = scored.iter().filter(|&&row| rows > 1 && (first..first + rows).contains(&row));
                    groups.push(group(kernels, None, own.map(|row| row - first).collect()));
                    first += rows;
                }
                groups
            }
        };
        let scored = groups.iter().map(|group| group.count).sum();
        if scored == 0 {
            return Err(Error::Data(DataError::TooFewRows {
                what: "a class of data for a kernel density",
                got: 1,
                least: 2,
            }));
        }
        let constant = model.sphere.constant(model.sphere.shift.len() - dim);
        Ok(CrossValidation { groups, dim, scored, rows, constant })
    }

    /// Of rows that are not among the kernels: each model has its own, in each class. Its rules count `rows`.
    ///
    /// # Errors
    /// [`DataError::TooFewRows`] if there are none.
    pub fn held_out(
        folds: impl Iterator<Item = (&'a KernelDensity, &'a [Array2<f32>])>,
        rows: usize,
    ) -> Result<Self> {
        let (mut groups, mut constant, mut dim) = (Vec::new(), 0.0, 0);
        for (model, classes) in folds {
            dim = model.config.dim;
            for (class, x) in classes.iter().enumerate().filter(|(_, x)| !x.is_empty()) {
                let mut y = Vec::new();
                model.sphere.apply(x.as_slice().expect("row-major"), &mut y);
                let kernels = model.given.get(class).unwrap_or(&model.kernels.centers);
                groups.push(Group { kernels, given: None, count: x.nrows(), own: Vec::new(), y });
                constant += x.nrows() as f64 * model.sphere.constant(0);
            }
        }
        let scored = groups.iter().map(|group| group.count).sum();
        if scored == 0 {
            return Err(Error::Data(DataError::TooFewRows {
                what: "data for a kernel density",
                got: 1,
                least: 2,
            }));
        }
        Ok(CrossValidation { groups, dim, scored, rows, constant: constant / scored as f64 })
    }

    pub fn nll(&self, h: f64) -> f64 {
        let sum: f64 = self.groups.iter().map(|group| group.log_density(0.5 / (h * h))).sum();
        self.constant + self.dim as f64 * h.ln() - sum / self.scored as f64
    }

    /// The bandwidth of the least NLL: a geometric sequence of widths, then golden sections of ln h around the best,
    /// or around the one it is said to be `about`. `observe(h, nll)` sees each and may end the search with the best
    /// so far. The least NLL, its h, and whether to go on.
    pub fn minimize(
        &self,
        about: Option<f64>,
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
        let widest = WIDEST * scott(self.rows, self.dim);
        let mut at = (f64::INFINITY, about.unwrap_or(widest));
        for i in 0..if about.is_none() { WIDTHS } else { 0 } {
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

impl Group<'_> {
    /// Σᵢ ln (1/(n − 1)) Σ_{j≠i} exp(−s ‖yᵢ − yⱼ‖²), or that sum over the one of c; with rows that are no kernels, over
    /// all n.
    fn log_density(&self, s: f64) -> f64 {
        let m = self.count;
        if m == 0 {
            return 0.0;
        }
        let sums = |kernels: &Centers, y: &[f64]| {
            let (width, mut sums) = (y.len() / m, vec![0.0; m]);
            let done = for_each_tile(&mut sums, 1, |scratch: &mut Vec<f64>, first, sums| {
                let rows = first..first + sums.len();
                let y = &y[rows.start * width..rows.end * width];
                log_sums(kernels, y, self.own.get(rows).unwrap_or(&[]), s, scratch, sums);
                Ok(())
            });
            debug_assert!(done.is_ok());
            sums.iter().sum::<f64>()
        };
        let joint = sums(self.kernels, &self.y);
        match self.given {
            None => {
                let others = self.kernels.rows() - usize::from(!self.own.is_empty());
                joint - m as f64 * (others as f64).ln()
            }
            Some(given) => {
                let y: Vec<f64> = self.own.iter().flat_map(|&row| given.lanes.row(row)).collect();
                joint - sums(given, &y)
            }
        }
    }
}

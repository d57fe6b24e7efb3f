use std::f64::consts::TAU;

use ndarray::{Array2, ArrayView2, s};

use crate::numeric::cholesky::{cholesky, diagonal, invert_lower};
use crate::numeric::gemm::{gram, transpose};

/// The change of units in which Σ = L Lᵀ is I: y = L⁻¹ (x − shift).
#[derive(Debug, Clone)]
pub(super) struct Sphere {
    /// (d)
    pub shift: Vec<f64>,
    /// L, and its inverse: (d, d)
    pub l: Vec<f64>,
    pub whiten: Vec<f64>,
}

impl Sphere {
    /// No change: Σ = I.
    pub fn identity(dim: usize) -> Self {
        Sphere::axes(vec![0.0; dim], &vec![1.0; dim])
    }

    /// Σ diagonal: each column in units of its own spread. sd: (d)
    pub fn axes(shift: Vec<f64>, sd: &[f64]) -> Self {
        let inverse: Vec<f64> = sd.iter().map(|sd| 1.0 / sd).collect();
        Sphere { shift, l: diagonal(sd), whiten: diagonal(&inverse) }
    }

    /// `None` unless the covariance is symmetric and positive definite.
    pub fn new(shift: Vec<f64>, covariance: ArrayView2<f64>) -> Option<Self> {
        let l = cholesky(covariance)?;
        Some(Sphere { whiten: invert_lower(&l, shift.len()), l, shift })
    }

    /// rows: (n, d), y: the same
    pub fn apply(&self, rows: &[f32], y: &mut Vec<f64>) {
        let d = self.shift.len();
        y.clear();
        for row in rows.chunks_exact(d) {
            let centered = || row.iter().zip(&self.shift).map(|(&x, shift)| f64::from(x) - shift);
            y.extend((0..d).map(|i| {
                self.whiten[i * d..=i * d + i].iter().zip(centered()).map(|(w, x)| w * x).sum::<f64>()
            }));
        }
    }

    /// Appends L_cc⁻¹ (c − shift) of the first columns c.
    pub fn extend_first(&self, c: impl ExactSizeIterator<Item = f32> + Clone, y: &mut Vec<f64>) {
        let d = self.shift.len();
        for i in 0..c.len() {
            let centered = c.clone().zip(&self.shift).map(|(c, shift)| f64::from(c) - shift);
            y.push(self.whiten[i * d..=i * d + i].iter().zip(centered).map(|(w, c)| w * c).sum());
        }
    }

    /// Appends a row of y whose first columns are known: those, and L_xx⁻¹ (x − shift − L_xc y_c).
    pub fn extend_rest(&self, known: &[f64], x: &[f32], y: &mut Vec<f64>) {
        let (d, first) = (self.shift.len(), known.len());
        let left = |i: usize| {
            let slope = self.l[i * d..][..first].iter().zip(known).map(|(l, y)| l * y).sum::<f64>();
            f64::from(x[i - first]) - self.shift[i] - slope
        };
        let left: Vec<f64> = (first..d).map(left).collect();
        y.extend_from_slice(known);
        y.extend((first..d).map(|i| {
            self.whiten[i * d + first..=i * d + i].iter().zip(&left).map(|(w, x)| w * x).sum::<f64>()
        }));
    }

    /// ln |L|, and ½ d ln 2π, of the columns from `first` on, given those before: what −ln N(x; ·, Σ) has beside half
    /// the square of y.
    pub fn constant(&self, first: usize) -> f64 {
        let d = self.shift.len();
        let ln_det: f64 = (first..d).map(|i| self.l[i * (d + 1)].ln()).sum();
        ln_det + 0.5 * (d - first) as f64 * TAU.ln()
    }

    /// L Lᵀ of the columns from `first` on: (d − first, d − first)
    pub fn covariance(&self, first: usize) -> Array2<f64> {
        let d = self.shift.len();
        let mut upper = vec![0.0; d * d];
        transpose((d, d), &self.l, &mut upper);
        let all = Array2::from_shape_vec((d, d), gram(&upper, d)).expect("d × d");
        all.slice_move(s![first.., first..])
    }

    /// The change of units of the columns from `first` on alone; `None` where rounding leaves them without a factor.
    pub fn marginal(&self, first: usize) -> Option<Self> {
        Sphere::new(self.shift[first..].to_vec(), self.covariance(first).view())
    }

    /// Kernels `factor` times as wide in the first `numbers` columns, with the same regression of the others on them.
    pub fn stretched(&self, numbers: usize, factor: f64) -> Self {
        let d = self.shift.len();
        let mut stretched = self.clone();
        stretched.whiten[..numbers * d].iter_mut().for_each(|w| *w /= factor);
        for l in stretched.l.chunks_exact_mut(d) {
            l[..numbers].iter_mut().for_each(|l| *l *= factor);
        }
        stretched
    }
}

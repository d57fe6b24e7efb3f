use ndarray::{Array2, ArrayView2};

use crate::numeric::cholesky::{cholesky, diagonal, ln_det};

/// The linear part of the chain: w = L⁻¹ z, where L Lᵀ = Σ̂ is the covariance of the standardised training
/// rows z and L is lower triangular.
///
/// w_i is what is left of z_i after the linear regression on the columns before it, in units of its own spread.
/// It depends on z_1 … z_i alone, so a chain rule over w is one over z, and p(z) = p(w)/|L|. A model whose
/// conditionals p(w_i | w_<i) are all N(0, 1) is one Gaussian with the covariance Σ̂.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decorrelation {
    dim: usize,
    /// L: (d, d), row-major
    l: Vec<f64>,
}

impl Decorrelation {
    /// w = z.
    pub fn identity(dim: usize) -> Self {
        Decorrelation { dim, l: diagonal(&vec![1.0; dim]) }
    }

    /// `None` unless L is lower triangular with a positive diagonal. l: (d, d)
    #[cfg(feature = "safetensors")]
    pub fn new(l: Vec<f64>, dim: usize) -> Option<Self> {
        let lower = l
            .chunks_exact(dim)
            .enumerate()
            .all(|(i, row)| row[i] > 0.0 && row[i + 1..].iter().all(|&above| above == 0.0));
        lower.then_some(Decorrelation { dim, l })
    }

    /// That of the rows z, (n, d).
    pub fn fit(z: ArrayView2<f32>) -> Self {
        // Columns that hardly vary once the others are known are regularised by the shrinkage; should rounding
        // still leave no factor, the rows stay as they are.
        let dim = z.ncols();
        cholesky(shrunk_covariance(z).view())
            .map_or(Decorrelation::identity(dim), |l| Decorrelation { dim, l })
    }

    /// L: (d, d), row-major.
    #[cfg(feature = "safetensors")]
    pub fn l(&self) -> &[f64] {
        &self.l
    }

    /// ln |∂w/∂z| = −ln |L|.
    pub fn log_det(&self) -> f64 {
        -ln_det(&self.l, self.dim)
    }

    /// Rows of z to rows of w, in place, by forward substitution: w_i = (z_i − Σ_{j<i} L_ij w_j)/L_ii.
    pub fn apply(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.dim) {
            for (i, l) in self.l.chunks_exact(self.dim).enumerate() {
                row[i] = bounded((f64::from(row[i]) - dot(&l[..i], row)) / l[i]);
            }
        }
    }

    /// Rows of w to rows of z, in place, from the last column on: z_i = Σ_{j≤i} L_ij w_j.
    pub fn restore(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.dim) {
            for (i, l) in self.l.chunks_exact(self.dim).enumerate().rev() {
                row[i] = bounded(dot(&l[..=i], row));
            }
        }
    }
}

fn dot(l: &[f64], row: &[f32]) -> f64 {
    l.iter().zip(row).map(|(l, &v)| l * f64::from(v)).sum()
}

/// Rows far outside any data stay finite.
fn bounded(v: f64) -> f32 {
    v.clamp(f32::MIN.into(), f32::MAX.into()) as f32
}

/// Σ̂ = (1 − s) S + s m I with S the sample covariance, m the mean of its diagonal and
/// s = min(1, (1/n²) Σ_r ‖z_r z_rᵀ − S‖² / ‖S − m I‖²): the mix of least expected squared error (Ledoit & Wolf
/// 2004, eq. 14). With few rows, or correlations within chance, s is near 1.
///
/// Σ_r ‖z_r z_rᵀ − S‖² = Σ_r ‖z_r‖⁴ − n ‖S‖² needs no matrix per row.
fn shrunk_covariance(z: ArrayView2<f32>) -> Array2<f64> {
    let (n, d) = (z.nrows() as f64, z.ncols());
    let mut z = z.mapv(f64::from);
    z -= &z.mean_axis(ndarray::Axis(0)).expect("a training has rows");
    let mut covariance = z.t().dot(&z) / n;
    let norm = |c: &Array2<f64>| c.iter().map(|v| v * v).sum::<f64>();
    let fourth: f64 = z.rows().into_iter().map(|row| row.dot(&row).powi(2)).sum();
    let mean = covariance.diag().sum() / d as f64;
    let chance = (fourth / n - norm(&covariance)) / n;
    let unlike = norm(&covariance) - d as f64 * mean * mean;
    let s = if unlike > 0.0 { (chance / unlike).clamp(0.0, 1.0) } else { 1.0 };
    covariance *= 1.0 - s;
    covariance.diag_mut().iter_mut().for_each(|v| *v += s * mean);
    covariance
}

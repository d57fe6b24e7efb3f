use ndarray::{Array2, ArrayView2};

use super::mixing::add;
use crate::numeric::Real;
use crate::numeric::cholesky::{cholesky, invert_lower, ln_det};

/// The base N(0, L Lᵀ), L Lᵀ the correlations of the training rows, as the last step of the chain: u = L⁻¹ v.
/// A flow whose layers do not move anything yet is then one Gaussian with all covariances, not N(0, I).
///
/// Fitted once, at the first training, and frozen. It stands behind the layers, so that they see the columns
/// as they are: turned columns would hide edges and clusters that lie along the axes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Whitening {
    dim: usize,
    // L and L⁻¹, lower triangular: (d, d)
    factor: Vec<f64>,
    inverse: Vec<f64>,
}

/// Columns up to which they are whitened: L has d² numbers.
const MOST_COLUMNS: usize = 512;

/// Rows whose correlations are taken, evenly spread over all.
const MOST_ROWS: usize = 1 << 16;

/// Rows for each column that correlations need.
const ROWS_PER_COLUMN: usize = 4;

/// Added to the variances, 1, of the standardised columns: one that others determine keeps this much of its
/// own, so that rounding is not taken for a signal.
const RIDGE: f64 = 1e-6;

impl Whitening {
    /// That of rows z, (n, d), in standard units; `None` where the correlations are not worth their number by
    /// the Bayesian information criterion, −n ln |C| > ½d(d − 1) ln n (Schwarz 1978), so that columns without
    /// correlation stay exactly as they are.
    pub fn fit(z: ArrayView2<f32>) -> Option<Self> {
        let dim = z.ncols();
        let stride = z.nrows().div_ceil(MOST_ROWS).max(1);
        let n = z.nrows().div_ceil(stride);
        if !(2..=MOST_COLUMNS).contains(&dim) || n < ROWS_PER_COLUMN * dim {
            return None;
        }
        let mut products = Array2::<f64>::zeros((dim, dim));
        let mut row = vec![0.0; dim];
        for z in z.rows().into_iter().step_by(stride) {
            row.iter_mut().zip(z).for_each(|(to, &z)| *to = f64::from(z));
            for (i, mut products) in products.rows_mut().into_iter().enumerate() {
                let products = products.as_slice_mut().expect("row-major");
                products[..=i].iter_mut().zip(&row).for_each(|(sum, &v)| *sum += row[i] * v);
            }
        }
        // The columns' means are 0, and their variances 1 but for rounding and the stride.
        let scale: Vec<f64> = (0..dim).map(|i| products[[i, i]].sqrt()).collect();
        let correlations = Array2::from_shape_fn((dim, dim), |(i, j)| {
            let (i, j) = (i.max(j), i.min(j));
            if i == j { 1.0 + RIDGE } else { products[[i, j]] / (scale[i] * scale[j]) }
        });
        let factor = cholesky(correlations.view())?;
        let gain = -2.0 * n as f64 * ln_det(&factor, dim);
        let price = 0.5 * (dim * (dim - 1)) as f64 * (n as f64).ln();
        (gain > price).then(|| Self::of(factor, dim))
    }

    fn of(factor: Vec<f64>, dim: usize) -> Self {
        Whitening { dim, inverse: invert_lower(&factor, dim), factor }
    }

    /// The lines of L, each up to its diagonal.
    #[cfg(feature = "safetensors")]
    pub fn lines(&self) -> Vec<Vec<f64>> {
        self.factor.chunks_exact(self.dim).enumerate().map(|(i, line)| line[..=i].to_vec()).collect()
    }

    /// The same from a file, if they are such lines.
    #[cfg(feature = "safetensors")]
    pub fn from_lines(lines: Vec<Vec<f64>>, dim: usize) -> crate::Result<Self> {
        use crate::error::check;
        let lengths: Vec<usize> = lines.iter().map(Vec::len).collect();
        check(lengths.iter().copied().eq(1..=dim), "whitening", lengths, "lines of 1, 2, … dim numbers")?;
        let sane = lines.iter().all(|line| line[line.len() - 1] > 0.0 && line.iter().all(|l| l.is_finite()));
        check(sane, "whitening", &lines, "finite, more than 0 on the diagonal")?;
        let mut factor = vec![0.0; dim * dim];
        factor.chunks_exact_mut(dim).zip(lines).for_each(|(to, line)| to[..line.len()].copy_from_slice(&line));
        Ok(Self::of(factor, dim))
    }

    /// u = L⁻¹ v, in place. v: (d, n)
    pub fn whiten<F: Real>(&self, v: &mut [F]) {
        self.multiply(&self.inverse, v);
    }

    /// v = L u, in place. u: (d, n)
    pub fn restore<F: Real>(&self, u: &mut [F]) {
        self.multiply(&self.factor, u);
    }

    /// dv = L⁻ᵀ du, in place: row j takes from those below it, which are as they came. du: (d, n)
    pub fn backward<F: Real>(&self, du: &mut [F]) {
        let n = du.len() / self.dim;
        for j in 0..self.dim {
            let (head, below) = du.split_at_mut((j + 1) * n);
            let dv = &mut head[j * n..];
            scale(self.inverse[j * (self.dim + 1)], dv);
            for (i, below) in (j + 1..self.dim).zip(below.chunks_exact(n)) {
                add(F::of(self.inverse[i * self.dim + j]), below, dv);
            }
        }
    }

    /// ln |det ∂u/∂v|.
    pub fn log_det(&self) -> f64 {
        -ln_det(&self.factor, self.dim)
    }

    /// v ← `lower`·v, from the last row up: a row takes from those above it, which are as they came.
    fn multiply<F: Real>(&self, lower: &[f64], v: &mut [F]) {
        let n = v.len() / self.dim;
        for (i, lower) in lower.chunks_exact(self.dim).enumerate().rev() {
            let (above, rest) = v.split_at_mut(i * n);
            let v = &mut rest[..n];
            scale(lower[i], v);
            for (&l, above) in lower.iter().zip(above.chunks_exact(n)) {
                add(F::of(l), above, v);
            }
        }
    }
}

fn scale<F: Real>(by: f64, v: &mut [F]) {
    v.iter_mut().for_each(|v| *v *= F::of(by));
}

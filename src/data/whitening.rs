use ndarray::{Array2, ArrayView2};

use crate::numeric::Real;
use crate::numeric::cholesky::{cholesky, invert_lower, ln_det};

/// v = L⁻¹ z, L Lᵀ the correlations of the training rows: columns without correlation, in which a standard normal is
/// the one Gaussian with all covariances of the data.
///
/// L is lower triangular, so column i of v is what the columns before i of z leave of its own, in units of its
/// standard deviation.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(into = "Lines", try_from = "Lines")
)]
pub struct Whitening {
    dim: usize,
    // L and L⁻¹, lower triangular: (d, d)
    factor: Vec<f64>,
    inverse: Vec<f64>,
}

/// The lines of L, each up to its diagonal: how a file has it.
#[cfg(feature = "safetensors")]
#[derive(serde::Serialize, serde::Deserialize)]
struct Lines(Vec<Vec<f64>>);

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

    /// Columns.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rows of z to rows of v, in place.
    pub fn whiten<F: Real>(&self, rows: &mut [F]) {
        self.multiply(&self.inverse, rows);
    }

    /// Rows of v to rows of z, in place.
    pub fn restore<F: Real>(&self, rows: &mut [F]) {
        self.multiply(&self.factor, rows);
    }

    /// ln |det ∂v/∂z|.
    pub fn log_det(&self) -> f64 {
        -ln_det(&self.factor, self.dim)
    }

    /// Each row becomes `lower` times it, from its last number up. Rows far outside any data stay finite.
    fn multiply<F: Real>(&self, lower: &[f64], rows: &mut [F]) {
        for row in rows.chunks_exact_mut(self.dim) {
            for (i, lower) in lower.chunks_exact(self.dim).enumerate().rev() {
                let sum: f64 = lower[..=i].iter().zip(&*row).map(|(&l, &v)| l * v.f64()).sum();
                row[i] = F::of(sum.clamp(f32::MIN.into(), f32::MAX.into()));
            }
        }
    }
}

#[cfg(feature = "safetensors")]
impl From<Whitening> for Lines {
    fn from(whitening: Whitening) -> Self {
        let lines = whitening.factor.chunks_exact(whitening.dim).enumerate();
        Lines(lines.map(|(i, line)| line[..=i].to_vec()).collect())
    }
}

#[cfg(feature = "safetensors")]
impl TryFrom<Lines> for Whitening {
    type Error = crate::Error;

    fn try_from(Lines(lines): Lines) -> Result<Self, Self::Error> {
        use crate::error::check;
        let lengths: Vec<usize> = lines.iter().map(Vec::len).collect();
        let dim = lines.len();
        check(lengths.iter().copied().eq(1..=dim), "Whitening", lengths, "lines of 1, 2, … numbers")?;
        check(dim <= MOST_COLUMNS, "Whitening", dim, "at most 512 lines")?;
        let sane = lines.iter().all(|line| line[line.len() - 1] > 0.0 && line.iter().all(|l| l.is_finite()));
        check(sane, "Whitening", &lines, "finite, more than 0 on the diagonal")?;
        let mut factor = vec![0.0; dim * dim];
        factor
            .chunks_exact_mut(dim.max(1))
            .zip(lines)
            .for_each(|(to, line)| to[..line.len()].copy_from_slice(&line));
        Ok(Self::of(factor, dim))
    }
}

use ndarray::{Array2, ArrayView2};

use crate::numeric::cholesky::{cholesky, invert_lower, ln_det};

/// Columns up to which the base can have covariances: they are d² numbers.
pub(super) const MOST_CORRELATED: usize = 512;

/// Rows whose correlations are taken, evenly spread over all.
const MOST_ROWS: usize = 1 << 16;

/// Rows for each column that correlations need.
const ROWS_PER_COLUMN: usize = 4;

/// Added to the variances, 1, of the standardised columns: one that others determine keeps this much of its
/// own, so that rounding is not taken for a signal.
const RIDGE: f64 = 1e-6;

/// L⁻¹, lower triangular, (d, d): L Lᵀ the correlations of the rows z, (n, d), in standard units.
///
/// `None` where the correlations are not worth their number by the Bayesian information criterion, −n ln |L
/// Lᵀ| > ½d(d − 1) ln n (Schwarz 1978), so that columns without correlation start exactly as they are.
pub(super) fn whitening(z: ArrayView2<f32>) -> Option<Vec<f64>> {
    let dim = z.ncols();
    let stride = z.nrows().div_ceil(MOST_ROWS).max(1);
    let n = z.nrows().div_ceil(stride);
    if n < ROWS_PER_COLUMN * dim {
        return None;
    }
    let mut products = Array2::<f64>::zeros((dim, dim));
    let mut row = vec![0.0; dim];
    for z in z.rows().into_iter().step_by(stride) {
        row.iter_mut().zip(z).for_each(|(to, &z)| *to = f64::from(z));
        for (i, mut products) in products.rows_mut().into_iter().enumerate() {
            products.iter_mut().zip(&row[..=i]).for_each(|(sum, &v)| *sum += row[i] * v);
        }
    }
    // The columns' means are 0, and their variances 1 but for rounding and the stride.
    let scale: Vec<f64> = (0..dim).map(|i| products[[i, i]].sqrt()).collect();
    let correlations = Array2::from_shape_fn((dim, dim), |(i, j)| match (i.max(j), i.min(j)) {
        (i, j) if i == j => 1.0 + RIDGE,
        (i, j) => products[[i, j]] / (scale[i] * scale[j]),
    });
    let factor = cholesky(correlations.view())?;
    let gain = -2.0 * n as f64 * ln_det(&factor, dim);
    let price = 0.5 * (dim * (dim - 1)) as f64 * (n as f64).ln();
    (gain > price).then(|| invert_lower(&factor, dim))
}

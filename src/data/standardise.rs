use ndarray::{Array2, ArrayView2, Axis};

use super::whitening::Whitening;
use crate::error::{Error, Result};
use crate::generative::check_rows;

/// Columns to mean 0 and standard deviation 1: z = (x − shift)/scale, fitted once and frozen.
///
/// Networks work on z. A density in the units of x is p(x) = p(z)·|dz/dx|, so every log-likelihood adds
/// [`log_det`](Standardiser::log_det).
///
/// ```
/// use quadrivium::{data::Standardiser, ndarray::array};
/// let x = array![[1.0, 10.0], [3.0, 30.0]];
/// let standardiser = Standardiser::identity(2).fitted(x.view())?;
/// assert_eq!(standardiser.apply(x), array![[-1.0, -1.0], [1.0, 1.0]]);
/// assert!((standardiser.log_det() + 10f64.ln()).abs() < 1e-6);
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Standardiser {
    shift: Vec<f64>, // (dim)
    scale: Vec<f64>, // (dim), each more than 0
    fitted: bool,
    /// What takes the columns' correlations away, behind the rest.
    #[cfg_attr(feature = "safetensors", serde(default, skip_serializing_if = "Option::is_none"))]
    whitening: Option<Whitening>,
}

/// A column whose standard deviation is below this share of its mean has about sixteen f32 values across its
/// spread.
const NARROW: f64 = 1e-6;

impl Standardiser {
    /// z = x.
    pub fn identity(dim: usize) -> Self {
        Standardiser { shift: vec![0.0; dim], scale: vec![1.0; dim], fitted: false, whitening: None }
    }

    /// From known moments, as if fitted to them.
    pub(crate) fn of(shift: Vec<f64>, scale: Vec<f64>) -> Self {
        Standardiser { shift, scale, fitted: true, whitening: None }
    }

    /// Of a file: a shift and a scale for each of `dim` columns, finite, the scale more than 0.
    #[cfg(feature = "safetensors")]
    pub(crate) fn validate(&self, dim: usize) -> Result<()> {
        use crate::error::check;
        for (field, numbers) in [("Standardiser::shift", &self.shift), ("Standardiser::scale", &self.scale)] {
            check(numbers.len() == dim, field, numbers.len(), "a number for each column")?;
            check(numbers.iter().all(|v| v.is_finite()), field, numbers, "finite")?;
        }
        check(self.scale.iter().all(|&s| s > 0.0), "Standardiser::scale", &self.scale, "more than 0")?;
        let whitened = self.whitening.as_ref().map(Whitening::dim);
        check(whitened.is_none_or(|d| d == dim), "Standardiser::whitening", whitened, "as many columns")
    }

    /// This one if it has seen data, else the mean and the (population) standard deviation of the columns of
    /// x, (n, dim).
    ///
    /// # Errors
    /// [`Error::Shape`] for a wrong number of columns and [`Error::NonFinite`], in any case;
    /// [`Error::TooFewRows`] below two rows, [`Error::ConstantColumn`] for a column of one value,
    /// [`Error::NarrowColumn`] for one whose spread f32 hardly resolves.
    pub fn fitted(&self, x: ArrayView2<f32>) -> Result<Self> {
        let dim = self.shift.len();
        check_rows("data", x, dim)?;
        if self.fitted {
            return Ok(self.clone());
        }
        let rows = x.nrows();
        if rows < 2 {
            return Err(Error::TooFewRows { what: "data to standardise", got: rows, least: 2 });
        }
        let mut fitted = Standardiser { fitted: true, ..Standardiser::identity(dim) };
        for (column, values) in x.axis_iter(Axis(1)).enumerate() {
            if values.iter().all(|v| *v == values[0]) {
                return Err(Error::ConstantColumn { column, value: values[0].into(), rows });
            }
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / rows as f64;
            let sd =
                (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / rows as f64).sqrt();
            if sd <= NARROW * mean.abs() {
                return Err(Error::NarrowColumn { column, sd, mean });
            }
            (fitted.shift[column], fitted.scale[column]) = (mean, sd);
        }
        Ok(fitted)
    }

    /// As [`fitted`](Standardiser::fitted), with the columns' correlations taken away: v = L⁻¹ z, L Lᵀ the correlations
    /// of z, so that N(0, I) is the one Gaussian with all means and covariances of x. L is lower triangular: a
    /// column becomes what those before it leave of its own. Columns stay as they are where the correlations are
    /// not worth their number by the Bayesian information criterion, for fewer than four rows a column, and beyond
    /// 512 columns.
    ///
    /// # Errors
    /// As [`fitted`](Standardiser::fitted).
    ///
    /// ```
    /// use quadrivium::{data::Standardiser, ndarray::Array2};
    /// // The second column follows the first.
    /// let unrelated = |row: usize| (row as f32 * 0.618).fract();
    /// let x = Array2::from_shape_fn((100, 2), |(row, column)| row as f32 + column as f32 * unrelated(row));
    /// let plain = Standardiser::identity(2).fitted(x.view())?;
    /// let whitened = Standardiser::identity(2).whitened(x.view())?;
    /// let product = |units: &Standardiser| {
    ///     let z = units.apply(x.clone());
    ///     (&z.column(0) * &z.column(1)).mean().unwrap()
    /// };
    /// assert!(product(&plain) > 0.99 && product(&whitened).abs() < 1e-3);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn whitened(&self, x: ArrayView2<f32>) -> Result<Self> {
        let mut fitted = self.fitted(x)?;
        if !self.fitted {
            fitted.whitening = Whitening::fit(fitted.apply(x.to_owned()).view());
        }
        Ok(fitted)
    }

    /// x in standard units.
    pub fn apply(&self, mut x: Array2<f32>) -> Array2<f32> {
        // Row-major: `select` and owned arrays of other layouts are brought to it here, once.
        if !x.is_standard_layout() {
            x = x.as_standard_layout().into_owned();
        }
        self.standardise(x.as_slice_mut().expect("standard layout"));
        x
    }

    /// Whether it has seen data.
    pub fn is_fitted(&self) -> bool {
        self.fitted
    }

    /// Rows of x to rows of z, in place.
    pub fn standardise(&self, rows: &mut [f32]) {
        self.each(rows, |v, shift, scale| (v - shift) / scale);
        if let Some(whitening) = &self.whitening {
            whitening.whiten(rows);
        }
    }

    /// Rows of z to rows of x, in place.
    pub fn restore(&self, rows: &mut [f32]) {
        if let Some(whitening) = &self.whitening {
            whitening.restore(rows);
        }
        self.each(rows, |v, shift, scale| v * scale + shift);
    }

    // In f64, so that a large shift costs no digits. Rows far outside any data stay finite.
    fn each(&self, rows: &mut [f32], f: impl Fn(f64, f64, f64) -> f64) {
        for row in rows.chunks_exact_mut(self.shift.len().max(1)) {
            for ((v, &shift), &scale) in row.iter_mut().zip(&self.shift).zip(&self.scale) {
                *v = f((*v).into(), shift, scale).clamp(f32::MIN.into(), f32::MAX.into()) as f32;
            }
        }
    }

    /// ln |det dz/dx| = −Σ ln scale, and −ln |L| where the columns are whitened.
    pub fn log_det(&self) -> f64 {
        let whitening = self.whitening.as_ref().map_or(0.0, Whitening::log_det);
        whitening - self.scale.iter().map(|s| s.ln()).sum::<f64>()
    }

    /// The scale of each column: x = shift + scale·z, or scale·L·v where the columns are whitened.
    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// The shift of each column.
    pub fn shift(&self) -> &[f64] {
        &self.shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn is_frozen_after_the_first_fit() {
        let first = Standardiser::identity(1).fitted(array![[0.0], [2.0]].view()).unwrap();
        let second = first.fitted(array![[5.0], [7.0]].view()).unwrap();
        assert_eq!(second.apply(array![[5.0], [7.0]]), array![[4.0], [6.0]]);
        let mut rows = [4.0, 6.0];
        second.restore(&mut rows);
        assert_eq!(rows, [5.0, 7.0]);
    }

    #[test]
    fn refuses_columns_without_spread() {
        let fit = |x: Array2<f32>| Standardiser::identity(x.ncols()).fitted(x.view());
        assert!(matches!(
            fit(array![[1.0, 3.0], [2.0, 3.0]]),
            Err(Error::ConstantColumn { column: 1, rows: 2, value: 3.0 })
        ));
        assert!(matches!(fit(array![[1e7], [1e7 + 1.0]]), Err(Error::NarrowColumn { column: 0, .. })));
        assert!(matches!(fit(array![[1.0]]), Err(Error::TooFewRows { got: 1, .. })));
        assert!(matches!(fit(array![[1.0], [f32::NAN]]), Err(Error::NonFinite { row: 1, .. })));
        let wide = Standardiser::identity(2).fitted(array![[1.0], [2.0]].view());
        assert!(matches!(wide, Err(Error::Shape { .. })));
    }
}

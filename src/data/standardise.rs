use ndarray::{Array2, ArrayView2, Axis};

use crate::error::{Error, Result};

/// Columns to mean 0 and standard deviation 1: z = (x − shift)/scale, fitted once and frozen.
///
/// Networks work on z. A density in the units of x is p(x) = p(z)·|dz/dx|, so every log-likelihood adds
/// [`log_det`](Standardiser::log_det).
///
/// ```
/// use quadrivium::{data::Standardiser, ndarray::array};
/// let x = array![[1.0, 10.0], [3.0, 30.0]];
/// let mut standardiser = Standardiser::identity(2);
/// let z = standardiser.fit_once(x.view())?;
/// assert_eq!(z, array![[-1.0, -1.0], [1.0, 1.0]]);
/// assert!((standardiser.log_det() + 10f64.ln()).abs() < 1e-6);
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Standardiser {
    shift: Vec<f64>, // (dim)
    scale: Vec<f64>, // (dim), each more than 0
    fitted: bool,
}

impl Standardiser {
    /// z = x.
    pub fn identity(dim: usize) -> Self {
        Standardiser { shift: vec![0.0; dim], scale: vec![1.0; dim], fitted: false }
    }

    /// Takes mean and (population) standard deviation of the columns of x, (n, dim), at the first call; gives z.
    ///
    /// # Errors
    /// [`Error::Shape`] for a wrong number of columns, [`Error::TooFewRows`] below two rows, [`Error::ConstantColumn`] for a
    /// column whose standard deviation is below 1e-6 of its mean: that is the rounding of f32, not data.
    pub fn fit_once(&mut self, x: ArrayView2<f32>) -> Result<Array2<f32>> {
        let dim = self.shift.len();
        if x.ncols() != dim {
            return Err(Error::Shape {
                what: "data",
                got: x.shape().to_vec(),
                expected: format!("(n, {dim})"),
            });
        }
        if !self.fitted {
            if x.nrows() < 2 {
                return Err(Error::TooFewRows { what: "data to standardise", got: x.nrows(), least: 2 });
            }
            let mut fitted = Standardiser { fitted: true, ..Standardiser::identity(dim) };
            for (column, values) in x.axis_iter(Axis(1)).enumerate() {
                let n = values.len() as f64;
                let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
                let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
                let sd = variance.sqrt();
                if sd <= 1e-6 * mean.abs() {
                    return Err(Error::ConstantColumn {
                        column,
                        value: values[0].into(),
                        rows: values.len(),
                    });
                }
                (fitted.shift[column], fitted.scale[column]) = (mean, sd);
            }
            *self = fitted;
        }
        let mut z = x.as_standard_layout().into_owned();
        self.standardise(z.as_slice_mut().expect("standard layout"));
        Ok(z)
    }

    /// Whether [`fit_once`](Standardiser::fit_once) has seen data.
    pub fn is_fitted(&self) -> bool {
        self.fitted
    }

    /// Rows of x to rows of z, in place.
    pub fn standardise(&self, rows: &mut [f32]) {
        self.each(rows, |v, shift, scale| (v - shift) / scale);
    }

    /// Rows of z to rows of x, in place.
    pub fn restore(&self, rows: &mut [f32]) {
        self.each(rows, |v, shift, scale| v * scale + shift);
    }

    // In f64, so that a large shift costs no digits. Rows far outside any data stay finite.
    fn each(&self, rows: &mut [f32], f: impl Fn(f64, f64, f64) -> f64) {
        for row in rows.chunks_exact_mut(self.shift.len()) {
            for ((v, &shift), &scale) in row.iter_mut().zip(&self.shift).zip(&self.scale) {
                *v = f((*v).into(), shift, scale).clamp(f32::MIN.into(), f32::MAX.into()) as f32;
            }
        }
    }

    /// ln |det dz/dx| = −Σ ln scale.
    pub fn log_det(&self) -> f64 {
        -self.scale.iter().map(|s| s.ln()).sum::<f64>()
    }

    /// The scale of each column: x = shift + scale·z.
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
        let mut s = Standardiser::identity(1);
        s.fit_once(array![[0.0], [2.0]].view()).unwrap();
        assert_eq!(s.fit_once(array![[5.0], [7.0]].view()).unwrap(), array![[4.0], [6.0]]);
        let mut rows = [4.0, 6.0];
        s.restore(&mut rows);
        assert_eq!(rows, [5.0, 7.0]);
    }

    #[test]
    fn refuses_columns_without_spread() {
        let constant = Standardiser::identity(2).fit_once(array![[1.0, 3.0], [2.0, 3.0]].view());
        assert!(matches!(constant, Err(Error::ConstantColumn { column: 1, rows: 2, .. })));
        assert!(matches!(Standardiser::identity(2).fit_once(array![[1.0]].view()), Err(Error::Shape { .. })));
    }
}

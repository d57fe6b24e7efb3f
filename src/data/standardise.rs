//! Shift and scale per column, and what they do to a density.

use ndarray::{Array2, ArrayView2, Axis};

use crate::error::{Error, Result};
use crate::generative::check_rows;

/// z = (x − shift) / scale, column by column: networks see z, users see x.
///
/// A density changes by the map's Jacobian: ln p(x) = ln p(z) + [`log_det`](Standardiser::log_det). The identity until fitted.
///
/// ```
/// use quadrivium::{data::Standardiser, ndarray::array};
///
/// let x = array![[1.0, 10.0], [3.0, 30.0]];
/// let standardiser = Standardiser::fit(x.view())?;
/// assert_eq!(standardiser.apply(x.view())?, array![[-1.0, -1.0], [1.0, 1.0]]);
/// assert_eq!(standardiser.log_det(), -(1f64.ln() + 10f64.ln()));
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Standardiser {
    shift: Vec<f64>, // shift: (d)
    scale: Vec<f64>, // scale: (d), each more than 0
}

/// A column whose standard deviation is below this share of its mean holds rounding errors of f32, not data.
const NEGLIGIBLE: f64 = 1e-6;

impl Standardiser {
    /// The map that changes nothing, for rows of `dim` columns.
    pub fn identity(dim: usize) -> Self {
        Standardiser { shift: vec![0.0; dim], scale: vec![1.0; dim] }
    }

    /// Mean and standard deviation (divided by n) of each column of x, shape (n, d), in f64.
    ///
    /// # Errors
    /// [`Error::TooFewRows`] below two rows, [`Error::NonFinite`], and [`Error::ConstantColumn`] for a column whose standard
    /// deviation is 0 or below 1e-6 of its mean, which is no more than f32 loses.
    pub fn fit(x: ArrayView2<f32>) -> Result<Self> {
        let rows = x.nrows();
        if rows < 2 {
            return Err(Error::TooFewRows { what: "data to standardise", got: rows, least: 2 });
        }
        check_rows("data to standardise", x, x.ncols())?;
        let (mut shift, mut scale) = (Vec::new(), Vec::new());
        for (column, x) in x.axis_iter(Axis(1)).enumerate() {
            let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / rows as f64;
            let square = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / rows as f64;
            let sd = square.sqrt();
            // Of a column of one value, rounding of the mean may leave an sd above 0, below this share.
            if sd <= NEGLIGIBLE * mean.abs() {
                return Err(Error::ConstantColumn { column, value: x[0].into(), rows });
            }
            shift.push(mean);
            scale.push(sd);
        }
        Ok(Standardiser { shift, scale })
    }

    /// Columns of a row.
    pub fn dim(&self) -> usize {
        self.shift.len()
    }

    /// What is subtracted from each column.
    pub fn shift(&self) -> &[f64] {
        &self.shift
    }

    /// What each column is then divided by.
    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// ln |det ∂z/∂x| = −Σ ln scale, in nats: what to add to ln p(z) for ln p(x).
    pub fn log_det(&self) -> f64 {
        -self.scale.iter().map(|s| s.ln()).sum::<f64>()
    }

    /// z of x, shape (n, d).
    ///
    /// # Errors
    /// [`Error::Shape`] for a wrong number of columns, [`Error::NonFinite`] for a NaN or an infinity.
    pub fn apply(&self, x: ArrayView2<f32>) -> Result<Array2<f32>> {
        check_rows("data to standardise", x, self.dim())?;
        let mut z = x.as_standard_layout().into_owned();
        self.apply_rows(z.as_slice_mut().expect("standard layout"));
        Ok(z)
    }

    /// x of z, shape (n, d).
    ///
    /// # Errors
    /// [`Error::Shape`] for a wrong number of columns, [`Error::NonFinite`] for a NaN or an infinity.
    pub fn invert(&self, z: ArrayView2<f32>) -> Result<Array2<f32>> {
        check_rows("standardised data", z, self.dim())?;
        let mut x = z.as_standard_layout().into_owned();
        self.invert_rows(x.as_slice_mut().expect("standard layout"));
        Ok(x)
    }

    /// [`apply`](Standardiser::apply) in place on whole rows, row-major: a tile or one row.
    pub fn apply_rows(&self, rows: &mut [f32]) {
        self.each(rows, |v, shift, scale| (v - shift) / scale);
    }

    /// [`invert`](Standardiser::invert) in place on whole rows, row-major: a tile or one row.
    pub fn invert_rows(&self, rows: &mut [f32]) {
        self.each(rows, |v, shift, scale| v * scale + shift);
    }

    // In f64, so that a large shift costs no digits; `rows` is (n, d), row-major.
    fn each(&self, rows: &mut [f32], f: impl Fn(f64, f64, f64) -> f64) {
        debug_assert_eq!(rows.len() % self.dim().max(1), 0, "whole rows");
        for row in rows.chunks_exact_mut(self.dim().max(1)) {
            for ((v, &shift), &scale) in row.iter_mut().zip(&self.shift).zip(&self.scale) {
                *v = f((*v).into(), shift, scale) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::data::Toy;
    use crate::numeric::rng::seeded;

    #[test]
    fn columns_get_mean_0_and_sd_1_and_come_back() {
        let mut x = Toy::pinwheel().sample(500, &mut seeded(3));
        x.column_mut(1).mapv_inplace(|v| 1e4 + 50.0 * v);
        let s = Standardiser::fit(x.view()).unwrap();
        let z = s.apply(x.view()).unwrap();
        for column in z.axis_iter(Axis(1)) {
            let column = column.mapv(f64::from);
            assert!(column.mean().unwrap().abs() < 1e-6 && (column.std(0.0) - 1.0).abs() < 1e-6);
        }
        let back = s.invert(z.view()).unwrap();
        // Half a unit in the last place of z, times scale, and half one of x.
        for ((row, column), &v) in back.indexed_iter() {
            let bound = f64::from(f32::EPSILON) * (s.scale()[column] * 4.0 + f64::from(v).abs());
            assert!(f64::from(v - x[[row, column]]).abs() <= bound);
        }
    }

    #[test]
    fn the_log_det_carries_a_density_over() {
        // x = shift + scale z with z standard normal is N(shift, scale²).
        let s = Standardiser { shift: vec![3.0, -1.0], scale: vec![2.0, 0.25] };
        let normal = |v: f64, m: f64, sd: f64| {
            -0.5 * ((v - m) / sd).powi(2) - (sd * std::f64::consts::TAU.sqrt()).ln()
        };
        let z = s.apply(array![[5.0, -0.5]].view()).unwrap();
        let through: f64 = z.iter().map(|&z| normal(z.into(), 0.0, 1.0)).sum::<f64>() + s.log_det();
        assert!((through - normal(5.0, 3.0, 2.0) - normal(-0.5, -1.0, 0.25)).abs() < 1e-12);
        assert_eq!(Standardiser::identity(2).log_det(), 0.0);
    }

    #[test]
    fn tiles_and_any_layout_give_the_same_numbers() {
        let x = array![[1.0, 5.0, -2.0], [2.0, 7.0, -2.5], [4.0, 6.0, 9.0]];
        let s = Standardiser::fit(x.view()).unwrap();
        let z = s.apply(x.view()).unwrap();
        let mut one = x.row(1).to_vec();
        s.apply_rows(&mut one);
        assert_eq!(one, z.row(1).to_vec());
        s.invert_rows(&mut one);
        assert_eq!(one, x.row(1).to_vec());
        // The transpose of a transpose is column-major.
        let column_major = x.t().as_standard_layout().into_owned();
        assert_eq!(s.apply(column_major.t()).unwrap(), z);
        let unfit = Standardiser::identity(3);
        assert_eq!(unfit.apply(x.view()).unwrap(), x);
    }

    #[test]
    fn what_cannot_be_standardised_is_told() {
        assert!(matches!(
            Standardiser::fit(array![[1.0, 2.0]].view()),
            Err(Error::TooFewRows { got: 1, least: 2, .. })
        ));
        for value in [0.0, 0.1, 1e30, -7e-20] {
            let x = Array2::from_shape_fn((99, 2), |(i, j)| if j == 0 { i as f32 } else { value });
            let error = Standardiser::fit(x.view()).unwrap_err();
            assert!(matches!(error, Error::ConstantColumn { column: 1, rows: 99, .. }), "{value}: {error}");
        }
        // Noise of f32's last digit only.
        let x = array![[1e7], [1e7 + 1.0], [1e7], [1e7 + 1.0]];
        assert!(matches!(Standardiser::fit(x.view()), Err(Error::ConstantColumn { .. })));
        let x = array![[1.0], [f32::INFINITY]];
        assert!(matches!(Standardiser::fit(x.view()), Err(Error::NonFinite { row: 1, .. })));
        let s = Standardiser::identity(2);
        assert!(matches!(s.apply(x.view()), Err(Error::Shape { .. })));
        assert!(matches!(s.invert(array![[0.0, f32::NAN]].view()), Err(Error::NonFinite { .. })));
    }
}

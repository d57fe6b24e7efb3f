use ndarray::{Array2, ArrayView2, Axis};

use super::check_rows;
use super::tail::Tail;
#[cfg(feature = "onnx")]
use super::tail::trace_inverse;
use super::whitening::Whitening;
use crate::error::{DataError, Error, Result};
use crate::numeric::Real;
#[cfg(feature = "onnx")]
use crate::onnx::{Element, Graph, Value};

/// Brings columns to mean 0 and standard deviation 1: z = (x − shift)/scale, fitted once and then frozen.
///
/// Networks work on z. A density in the units of x is p(x) = p(z)·|dz/dx|, so every log-likelihood adds
/// [`log_det`](Standardizer::log_det).
///
/// **Heavy tails.** The farthest rows dominate the mean and the standard deviation of a column: one row at 10⁵
/// standard deviations squeezes all others so close together that no network can tell them apart. Models therefore
/// fit their units by [`fitted_with_tails`](Standardizer::fitted_with_tails): a column with rows farther out than
/// exponential tails allow is first mapped by a [`Tail`], which is the identity up to three robust standard
/// deviations from the median and logarithmic beyond; z = (y − shift)/scale for the mapped y. All other columns get
/// the same bits as from [`fitted`](Standardizer::fitted). In a mapped column, a density that falls off like a
/// normal density in z falls off like a lognormal one in x.
///
/// ```
/// use quadrivium::{engine::Standardizer, ndarray::array};
/// let x = array![[1.0, 10.0], [3.0, 30.0]];
/// let standardizer = Standardizer::identity(2).fitted(x.view())?;
/// assert_eq!(standardizer.apply(x), array![[-1.0, -1.0], [1.0, 1.0]]);
/// assert!((standardizer.log_det(&[1.0, 10.0]) + 10f64.ln()).abs() < 1e-6);
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Standardizer {
    shift: Vec<f64>, // (dim)
    scale: Vec<f64>, // (dim), each more than 0
    fitted: bool,
    /// The maps of columns with heavy tails: (dim), or empty if no column has them.
    #[cfg_attr(feature = "safetensors", serde(default, skip_serializing_if = "Vec::is_empty"))]
    tails: Vec<Option<Tail>>,
    /// The last step, which removes the columns' correlations.
    #[cfg_attr(feature = "safetensors", serde(default, skip_serializing_if = "Option::is_none"))]
    whitening: Option<Whitening>,
}

/// A column whose standard deviation is below this share of its mean has only about sixteen f32 values across its
/// spread.
const NARROW: f64 = 1e-6;

impl Standardizer {
    /// The identity, z = x.
    pub fn identity(dim: usize) -> Self {
        Standardizer {
            shift: vec![0.0; dim],
            scale: vec![1.0; dim],
            fitted: false,
            tails: Vec::new(),
            whitening: None,
        }
    }

    /// Makes a standardizer from known moments, as if it had been fitted to data with these moments.
    pub(crate) fn of(shift: Vec<f64>, scale: Vec<f64>) -> Self {
        Standardizer { shift, scale, fitted: true, ..Standardizer::identity(0) }
    }

    /// Checks what was read from a file: a finite shift and scale for each of `dim` columns, with the scale more than
    /// 0, and likewise a tail's center and unit.
    #[cfg(feature = "safetensors")]
    pub(crate) fn validate(&self, dim: usize) -> Result<()> {
        use crate::error::check;
        for (field, numbers) in [("Standardizer::shift", &self.shift), ("Standardizer::scale", &self.scale)] {
            check(numbers.len() == dim, field, numbers.len(), "a number for each column")?;
            check(numbers.iter().all(|v| v.is_finite()), field, numbers, "finite")?;
        }
        check(self.scale.iter().all(|&s| s > 0.0), "Standardizer::scale", &self.scale, "more than 0")?;
        let (field, columns) = ("Standardizer::tails", self.tails.len());
        check(columns == 0 || columns == dim, field, columns, "none, or one for each column")?;
        let sane = |tail: &Tail| tail.center.is_finite() && tail.unit.is_finite() && tail.unit > 0.0;
        check(self.tails.iter().flatten().all(sane), field, &self.tails, "finite, the unit more than 0")?;
        let whitened = self.whitening.as_ref().map(Whitening::dim);
        check(whitened.is_none_or(|d| d == dim), "Standardizer::whitening", whitened, "as many columns")
    }

    /// Returns this standardizer if it has seen data; otherwise fits one to the mean and the (population) standard
    /// deviation of the columns of x, (n, dim).
    ///
    /// # Errors
    /// [`DataError::Shape`] for a wrong number of columns and [`DataError::NonFinite`], in any case;
    /// [`DataError::TooFewRows`] below two rows, [`DataError::ConstantColumn`] for a column of one value,
    /// [`DataError::NarrowColumn`] for one whose spread f32 can barely resolve.
    pub fn fitted(&self, x: ArrayView2<f32>) -> Result<Self> {
        let dim = self.shift.len();
        check_rows("data", x, dim)?;
        if self.fitted {
            return Ok(self.clone());
        }
        let rows = x.nrows();
        if rows < 2 {
            return Err(Error::Data(DataError::TooFewRows {
                what: "data to standardize",
                got: rows,
                least: 2,
            }));
        }
        let mut fitted = Standardizer { fitted: true, ..Standardizer::identity(dim) };
        for (column, values) in x.axis_iter(Axis(1)).enumerate() {
            if values.iter().all(|v| *v == values[0]) {
                return Err(Error::Data(DataError::ConstantColumn { column, value: values[0].into(), rows }));
            }
            let (mean, sd) = moments(values.iter().map(|&v| v.into()));
            if sd <= NARROW * mean.abs() {
                return Err(Error::Data(DataError::NarrowColumn { column, sd, mean }));
            }
            (fitted.shift[column], fitted.scale[column]) = (mean, sd);
        }
        Ok(fitted)
    }

    /// As [`fitted`](Standardizer::fitted), with a [`Tail`] for each column of x, (n, dim), whose tails are heavier
    /// than exponential. The mean and the standard deviation of such a column are those of its mapped values.
    ///
    /// # Errors
    /// As [`fitted`](Standardizer::fitted).
    ///
    /// ```
    /// use quadrivium::{engine::Standardizer, ndarray::Array2};
    /// let mut x = Array2::from_shape_fn((1000, 2), |(row, _)| (row as f32 * 0.618).fract());
    /// x[[17, 1]] = 1e6;
    /// let standardizer = Standardizer::identity(2).fitted_with_tails(x.view())?;
    /// assert!(standardizer.tail(0).is_none() && standardizer.tail(1).is_some());
    /// // The far row is about ten standard deviations away, and the others are still well separated.
    /// let z = standardizer.apply(x);
    /// assert!((5.0..25.0).contains(&z[[17, 1]]) && z.column(1).iter().take(17).any(|z| *z > 0.3));
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn fitted_with_tails(&self, x: ArrayView2<f32>) -> Result<Self> {
        let mut fitted = self.fitted(x)?;
        if self.fitted {
            return Ok(fitted);
        }
        let tails: Vec<_> =
            x.axis_iter(Axis(1)).map(|column| Tail::of(column.iter().map(|&v| v.into()))).collect();
        if tails.iter().all(Option::is_none) {
            return Ok(fitted);
        }
        for (column, (tail, values)) in tails.iter().zip(x.axis_iter(Axis(1))).enumerate() {
            if let Some(tail) = tail {
                (fitted.shift[column], fitted.scale[column]) =
                    moments(values.iter().map(|&v| tail.apply(v.into())));
            }
        }
        fitted.tails = tails;
        Ok(fitted)
    }

    /// As [`fitted_with_tails`](Standardizer::fitted_with_tails), and also removes the columns' correlations: v = L⁻¹
    /// z, where L Lᵀ is the correlation matrix of z, so that N(0, I) is the Gaussian with the data's means and
    /// covariances. L is lower triangular: each column becomes the part of it that the columns before it do not
    /// explain linearly. The correlations are kept if the Bayesian information criterion finds that they are not
    /// worth their number of parameters, if there are fewer than four rows per column, and beyond 512 columns.
    ///
    /// # Errors
    /// As [`fitted`](Standardizer::fitted).
    ///
    /// ```
    /// use quadrivium::{engine::Standardizer, ndarray::Array2};
    /// // The second column follows the first.
    /// let unrelated = |row: usize| (row as f32 * 0.618).fract();
    /// let x = Array2::from_shape_fn((100, 2), |(row, column)| row as f32 + column as f32 * unrelated(row));
    /// let plain = Standardizer::identity(2).fitted(x.view())?;
    /// let whitened = Standardizer::identity(2).whitened(x.view())?;
    /// let product = |units: &Standardizer| {
    ///     let z = units.apply(x.clone());
    ///     (&z.column(0) * &z.column(1)).mean().unwrap()
    /// };
    /// assert!(product(&plain) > 0.99 && product(&whitened).abs() < 1e-3);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn whitened(&self, x: ArrayView2<f32>) -> Result<Self> {
        let mut fitted = self.fitted_with_tails(x)?;
        if !self.fitted {
            fitted.whitening = Whitening::fit(fitted.apply(x.to_owned()).view());
        }
        Ok(fitted)
    }

    /// x in standard units.
    pub fn apply(&self, mut x: Array2<f32>) -> Array2<f32> {
        // `select` and owned arrays may have other layouts; they are made row-major here, once.
        if !x.is_standard_layout() {
            x = x.as_standard_layout().into_owned();
        }
        self.standardize(x.as_slice_mut().expect("standard layout"));
        x
    }

    /// Number of columns.
    pub fn dim(&self) -> usize {
        self.shift.len()
    }

    /// Whether the standardizer has been fitted to data.
    pub fn is_fitted(&self) -> bool {
        self.fitted
    }

    /// Turns rows of x into rows of z, in place.
    pub fn standardize<F: Real>(&self, rows: &mut [F]) {
        self.each(rows, |tail, x, shift, scale| (tail.map_or(x, |tail| tail.apply(x)) - shift) / scale);
        if let Some(whitening) = &self.whitening {
            whitening.whiten(rows);
        }
    }

    /// Turns rows of z into rows of x, in place.
    pub fn restore<F: Real>(&self, rows: &mut [F]) {
        if let Some(whitening) = &self.whitening {
            whitening.restore(rows);
        }
        self.each(rows, |tail, z, shift, scale| {
            let y = z * scale + shift;
            tail.map_or(y, |tail| tail.invert(y))
        });
    }

    /// Rows of x of rows z: (n, dim) in a graph, from f32 or f64 to f32.
    #[cfg(feature = "onnx")]
    pub(crate) fn trace_restore(&self, z: Value, graph: &mut Graph) -> Value {
        let mut rows = graph.cast(z, Element::F64);
        if let Some(whitening) = &self.whitening {
            rows = whitening.trace_restore(rows, graph);
        }
        let [scale, shift] =
            [&self.scale, &self.shift].map(|numbers| graph.constant(&[numbers.len()], numbers));
        rows = graph.mul(rows, scale);
        rows = graph.add(rows, shift);
        if !self.tails.is_empty() {
            rows = trace_inverse(&self.tails, rows, graph);
        }
        let rows = graph.clip(rows, f64::from(f32::MIN), f64::from(f32::MAX));
        graph.cast(rows, Element::F32)
    }

    /// Rows z of rows of x: (n, dim) in a graph, in f32, where no column has a tail and none are whitened, as
    /// in a condition.
    #[cfg(feature = "onnx")]
    pub(super) fn trace_standardize(&self, x: Value, graph: &mut Graph) -> Value {
        let [scale, shift] =
            [&self.scale, &self.shift].map(|numbers| graph.constant(&[numbers.len()], numbers));
        let rows = graph.cast(x, Element::F64);
        let rows = graph.sub(rows, shift);
        let rows = graph.div(rows, scale);
        graph.cast(rows, Element::F32)
    }

    // In f64, so that a large shift costs no digits. Rows far outside any data stay finite.
    #[inline(always)]
    fn each<F: Real>(&self, rows: &mut [F], f: impl Fn(Option<&Tail>, f64, f64, f64) -> f64) {
        let finite = |v: f64| F::of(v.clamp(f32::MIN.into(), f32::MAX.into()));
        for row in rows.chunks_exact_mut(self.shift.len().max(1)) {
            let columns = row.iter_mut().zip(&self.shift).zip(&self.scale);
            if self.tails.is_empty() {
                columns.for_each(|((v, &shift), &scale)| *v = finite(f(None, v.f64(), shift, scale)));
            } else {
                for (((v, &shift), &scale), tail) in columns.zip(&self.tails) {
                    *v = finite(f(tail.as_ref(), v.f64(), shift, scale));
                }
            }
        }
    }

    /// ln |det dz/dx| at the row x: (dim), in the units of the data: −Σ ln scale, plus ln dy/dx of the columns
    /// with a [`Tail`], less ln |L| where the columns are [`whitened`](Standardizer::whitened). Without tails it
    /// is the same for all rows.
    pub fn log_det<F: Real>(&self, x: &[F]) -> f64 {
        self.with_tails(x, self.affine_log_det())
    }

    /// Adds the [`log_det`](Standardizer::log_det) of each row: (n, dim), in the units of the data, to its number in
    /// `nats`: (n).
    pub fn add_log_det<F: Real>(&self, rows: &[F], nats: &mut [f64]) {
        let affine = self.affine_log_det();
        for (nats, x) in nats.iter_mut().zip(rows.chunks_exact(self.shift.len().max(1))) {
            *nats += self.with_tails(x, affine);
        }
    }

    fn affine_log_det(&self) -> f64 {
        let whitening = self.whitening.as_ref().map_or(0.0, Whitening::log_det);
        whitening - self.scale.iter().map(|s| s.ln()).sum::<f64>()
    }

    fn with_tails<F: Real>(&self, x: &[F], affine: f64) -> f64 {
        let bent = self.tails.iter().zip(x).filter_map(|(tail, x)| Some(tail.as_ref()?.ln_slope(x.f64())));
        bent.fold(affine, |sum, nats| sum + nats)
    }

    /// Turns ∇ ln p at a row of z into ∇ ln p at the row x: (dim), in the units of the data, in place: s ← L⁻ᵀ s for
    /// [`whitened`](Standardizer::whitened) columns, then, with z′ = dz/dx of a column, s ← s·z′ + d ln z′/dx.
    pub fn restore_score(&self, x: &[f32], s: &mut [f64]) {
        if let Some(whitening) = &self.whitening {
            whitening.restore_score(s);
        }
        for (column, (s, &scale)) in s.iter_mut().zip(&self.scale).enumerate() {
            *s /= scale;
            if let Some(tail) = self.tail(column) {
                let x = x[column].into();
                *s = *s * tail.slope(x) + tail.bend(x);
            }
        }
    }

    /// The scale of each column: x = shift + scale·z, or y where the column has a [`Tail`].
    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// The shift of each column; the shift of y where the column has a [`Tail`].
    pub fn shift(&self) -> &[f64] {
        &self.shift
    }

    /// The map of a column with heavy tails.
    pub fn tail(&self, column: usize) -> Option<&Tail> {
        self.tails.get(column)?.as_ref()
    }
}

/// Mean and (population) standard deviation.
fn moments(values: impl ExactSizeIterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.clone().sum::<f64>() / n;
    (mean, (values.map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::rng::seeded;
    use ndarray::array;

    #[test]
    fn is_frozen_after_the_first_fit() {
        let first = Standardizer::identity(1).fitted(array![[0.0], [2.0]].view()).unwrap();
        let second = first.fitted(array![[5.0], [7.0]].view()).unwrap();
        assert_eq!(second.apply(array![[5.0], [7.0]]), array![[4.0], [6.0]]);
        let mut rows = [4.0, 6.0];
        second.restore(&mut rows);
        assert_eq!(rows, [5.0, 7.0]);
    }

    /// A normal column and one with a power-law tail on both sides.
    fn one_heavy(n: usize) -> Array2<f32> {
        let mut rng = seeded(3);
        Array2::from_shape_fn((n, 2), |(_, column)| match f32::normal(&mut rng) {
            v if column == 0 => 4.0 + v,
            v => v.powi(3) * (0.5 * v * v).exp(),
        })
    }

    fn bent() -> Standardizer {
        Standardizer::identity(2).fitted_with_tails(one_heavy(3000).view()).unwrap()
    }

    #[test]
    fn only_heavy_columns_change_and_all_come_back() {
        let x = one_heavy(3000);
        let fresh = Standardizer::identity(2);
        let (affine, bent) = (fresh.fitted(x.view()).unwrap(), fresh.fitted_with_tails(x.view()).unwrap());
        assert!(bent.tail(0).is_none() && bent.tail(1).is_some());
        let z = bent.apply(x.clone());
        assert_eq!(z.column(0), affine.apply(x.clone()).column(0));
        for column in z.columns() {
            let (mean, sd) = (column.mean().unwrap(), column.std(0.0));
            assert!(mean.abs() < 1e-5 && (sd - 1.0).abs() < 1e-5, "{mean} ± {sd}");
        }
        assert!(z.iter().all(|z| z.abs() < 20.0));

        let rows: Vec<f64> = x.iter().map(|&v| v.into()).collect();
        let mut there = rows.clone();
        bent.standardize(&mut there);
        bent.restore(&mut there);
        for (back, x) in there.iter().zip(&rows) {
            assert!((back - x).abs() <= 1e-12 * (1.0 + x.abs()), "{back} for {x}");
        }
        // Frozen, and the same where nothing is heavy.
        assert_eq!(bent.fitted_with_tails(array![[0.0, 1.0], [1.0, 2.0]].view()).unwrap(), bent);
        let light = x.slice(ndarray::s![.., ..1]).to_owned();
        let fresh = Standardizer::identity(1);
        assert_eq!(fresh.fitted_with_tails(light.view()).unwrap(), fresh.fitted(light.view()).unwrap());
    }

    #[test]
    fn far_noise_comes_back_finite() {
        let bent = bent();
        let mut z = [1.0, 30.0, 1.0, -30.0, f32::MAX, f32::MAX, f32::MIN, f32::MIN];
        bent.restore(&mut z);
        assert!(z.iter().all(|x| x.is_finite()), "{z:?}");
        assert!(1e10 < z[1] && z[1] < 1e35 && z[3] < -1e10, "{z:?}");
        bent.standardize(&mut z);
        assert!((z[1] - 30.0).abs() < 1e-4 && (z[3] + 30.0).abs() < 1e-4, "{z:?}");
    }

    #[test]
    fn densities_and_scores_change_by_the_slope() {
        let bent = bent();
        // ln p(x) of the z that are standard normal.
        let nats = |x: [f64; 2]| {
            let mut z = x;
            bent.standardize(&mut z);
            -0.5 * (z[0] * z[0] + z[1] * z[1]) + bent.log_det(&x)
        };
        for x in [[4.5, 0.3f32], [3.0, -7.0], [0.0, 90.0], [6.0, -4e5]] {
            let at = x.map(f64::from);
            let slope = |column: usize, f: &dyn Fn([f64; 2]) -> f64| {
                let h = 1e-5 * (1.0 + at[column].abs());
                let (mut low, mut high) = (at, at);
                (low[column], high[column]) = (at[column] - h, at[column] + h);
                (f(high) - f(low)) / (2.0 * h)
            };
            let along = |column: usize| {
                let bent = &bent;
                move |mut x: [f64; 2]| {
                    bent.standardize(&mut x);
                    x[column]
                }
            };
            let det: f64 = (0..2).map(|column| slope(column, &along(column)).ln()).sum();
            assert!((det - bent.log_det(&x)).abs() < 1e-6, "{det} at {x:?}");
            let mut sums = [1.0];
            bent.add_log_det(&x, &mut sums);
            assert_eq!(sums[0], 1.0 + bent.log_det(&x));

            let mut z = at;
            bent.standardize(&mut z);
            let mut score = z.map(|z| -z);
            bent.restore_score(&x, &mut score);
            for (column, score) in score.into_iter().enumerate() {
                let slope = slope(column, &nats);
                assert!((score - slope).abs() < 1e-5 * (1.0 + slope.abs()), "{score}, {slope} at {x:?}");
            }
        }
    }

    #[cfg(feature = "safetensors")]
    #[test]
    fn a_file_without_tails_has_none_and_says_nothing_of_them() {
        let old = r#"{"shift":[1.0],"scale":[2.0],"fitted":true}"#;
        let read: Standardizer = serde_json::from_str(old).unwrap();
        assert_eq!(read, Standardizer::of(vec![1.0], vec![2.0]));
        assert_eq!(serde_json::to_string(&read).unwrap(), old);

        let bent = bent();
        let mut there: Standardizer = serde_json::from_str(&serde_json::to_string(&bent).unwrap()).unwrap();
        assert_eq!(there, bent);
        assert!(there.validate(2).is_ok());
        there.tails[1].as_mut().unwrap().unit = 0.0;
        assert!(there.validate(2).is_err());
        there.tails.pop();
        assert!(there.validate(2).is_err());
    }

    #[test]
    fn refuses_columns_without_spread() {
        let fit = |x: Array2<f32>| Standardizer::identity(x.ncols()).fitted(x.view());
        assert!(matches!(
            fit(array![[1.0, 3.0], [2.0, 3.0]]),
            Err(Error::Data(DataError::ConstantColumn { column: 1, rows: 2, value: 3.0 }))
        ));
        assert!(matches!(
            fit(array![[1e7], [1e7 + 1.0]]),
            Err(Error::Data(DataError::NarrowColumn { column: 0, .. }))
        ));
        assert!(matches!(fit(array![[1.0]]), Err(Error::Data(DataError::TooFewRows { got: 1, .. }))));
        assert!(matches!(
            fit(array![[1.0], [f32::NAN]]),
            Err(Error::Data(DataError::NonFinite { row: 1, .. }))
        ));
        let wide = Standardizer::identity(2).fitted(array![[1.0], [2.0]].view());
        assert!(matches!(wide, Err(Error::Data(DataError::Shape { .. }))));
    }
}

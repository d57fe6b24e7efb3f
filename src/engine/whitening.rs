use ndarray::{Array2, ArrayView2, Axis, s};

use crate::numeric::Real;
use crate::numeric::cholesky::{cholesky, invert_lower, ln_det};
use crate::numeric::gemm::gram;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// v = L⁻¹ z, where L Lᵀ is the correlation matrix of the training rows: the columns of v are uncorrelated, so in
/// them a standard normal is the Gaussian with the covariances of the data.
///
/// L is lower triangular, so column i of v is the part of column i of z that the columns before it do not explain
/// linearly, in units of its standard deviation.
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

/// The rows of L, each up to its diagonal: the form in which a file has L.
#[cfg(feature = "safetensors")]
#[derive(serde::Serialize, serde::Deserialize)]
struct Lines(Vec<Vec<f64>>);

/// The most columns that are whitened: L has d² numbers.
pub(crate) const MOST_COLUMNS: usize = 512;

/// The most rows from which correlations are computed, evenly spread over all rows.
const MOST_ROWS: usize = 1 << 16;

/// The rows per column that correlations need.
const ROWS_PER_COLUMN: usize = 4;

/// Added to the variances, 1, of the standardized columns: a column that the others determine keeps this much
/// variance of its own, so that rounding is not mistaken for a signal.
const RIDGE: f64 = 1e-6;

impl Whitening {
    /// Fits the whitening of rows z, (n, d), in standard units. It is `None` if the correlations are not worth their
    /// number of parameters by the Bayesian information criterion, −n ln |C| > ½d(d − 1) ln n (Schwarz 1978), so that
    /// uncorrelated columns stay exactly as they are, and for fewer than four rows per column.
    pub fn fit(z: ArrayView2<f32>) -> Option<Self> {
        let dim = z.ncols();
        if !(2..=MOST_COLUMNS).contains(&dim) || z.nrows() < ROWS_PER_COLUMN * dim {
            return None;
        }
        let stride = z.nrows().div_ceil(MOST_ROWS).max(1);
        let z = z.slice(s![..;stride, ..]).mapv(f64::from);
        let rows = z.nrows() as f64;
        let factor = cholesky(correlations(z).view())?;
        let gain = -2.0 * rows * ln_det(&factor, dim);
        let price = 0.5 * (dim * (dim - 1)) as f64 * rows.ln();
        (gain > price).then(|| Self::of(factor, dim))
    }

    fn of(factor: Vec<f64>, dim: usize) -> Self {
        Whitening { dim, inverse: invert_lower(&factor, dim), factor }
    }

    /// Number of columns.
    #[cfg(feature = "safetensors")]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// L⁻¹, lower triangular: (d, d)
    pub fn inverse(&self) -> &[f64] {
        &self.inverse
    }

    /// Turns rows of z into rows of v, in place.
    pub fn whiten<F: Real>(&self, rows: &mut [F]) {
        self.multiply(&self.inverse, rows);
    }

    /// Turns rows of v into rows of z, in place.
    pub fn restore<F: Real>(&self, rows: &mut [F]) {
        self.multiply(&self.factor, rows);
    }

    /// Rows of z of rows of v: (n, d) in a graph, in f64.
    #[cfg(feature = "onnx")]
    pub fn trace_restore(&self, v: Value, graph: &mut Graph) -> Value {
        let d = self.dim;
        let transposed: Vec<f64> = (0..d * d).map(|at| self.factor[at % d * d + at / d]).collect();
        let factor = graph.constant(&[d, d], &transposed);
        graph.matmul(v, factor)
    }

    /// Turns ∂/∂v of a row into ∂/∂z, in place: s ← L⁻ᵀ s.
    pub fn restore_score(&self, s: &mut [f64]) {
        for j in 0..self.dim {
            s[j] = (j..self.dim).map(|i| self.inverse[i * self.dim + j] * s[i]).sum();
        }
    }

    /// ln |det ∂v/∂z|.
    pub fn log_det(&self) -> f64 {
        -ln_det(&self.factor, self.dim)
    }

    /// Multiplies each row by `lower`, from its last number up. Rows far outside the data stay finite.
    fn multiply<F: Real>(&self, lower: &[f64], rows: &mut [F]) {
        for row in rows.chunks_exact_mut(self.dim) {
            for (i, lower) in lower.chunks_exact(self.dim).enumerate().rev() {
                let sum: f64 = lower[..=i].iter().zip(&*row).map(|(&l, &v)| l * v.f64()).sum();
                row[i] = F::of(sum.clamp(f32::MIN.into(), f32::MAX.into()));
            }
        }
    }
}

/// The correlations of the rows z: (n, d), with a ridge on the diagonal.
fn correlations(mut z: Array2<f64>) -> Array2<f64> {
    let (rows, d) = z.dim();
    let squares = z.fold_axis(Axis(0), 0.0, |sum, z| z.mul_add(*z, *sum));
    // The columns' means are 0 and their variances 1, up to rounding and the effect of the stride.
    z /= &squares.mapv(|square| (square / rows as f64).sqrt().max(f64::MIN_POSITIVE));
    let c = gram(z.as_standard_layout().as_slice().expect("row-major"), d);
    let mut c = Array2::from_shape_vec((d, d), c).expect("d × d") / rows as f64;
    c.diag_mut().fill(1.0 + RIDGE);
    c
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
    type Error = crate::error::Error;

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
        let whitening = Self::of(factor, dim);
        let finite = whitening.inverse.iter().all(|l| l.is_finite());
        check(finite, "Whitening", finite, "lines whose inverse is finite")?;
        Ok(whitening)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::rng::{Rng, seeded};

    /// Three columns: a, a + noise, and one of its own.
    fn correlated(rows: usize, noise: f32) -> Array2<f32> {
        let rng: &mut Rng = &mut seeded(3);
        let mut x = Array2::zeros((rows, 3));
        for mut row in x.rows_mut() {
            let [a, e, own] = [(); 3].map(|()| f32::normal(rng));
            row.assign(&ndarray::arr1(&[a, (a + noise * e) / (1.0 + noise * noise).sqrt(), own]));
        }
        x
    }

    fn second_moments(x: &Array2<f32>) -> Array2<f32> {
        x.t().dot(x) / x.nrows() as f32
    }

    #[test]
    fn whitened_rows_have_no_correlations_and_come_back() {
        for noise in [1.0, 1e-2] {
            let z = correlated(2000, noise);
            let whitening = Whitening::fit(z.view()).unwrap();
            let mut v = z.clone();
            whitening.whiten(v.as_slice_mut().unwrap());
            let moments = second_moments(&v);
            for ((i, j), &m) in moments.indexed_iter() {
                let expected = if i == j { second_moments(&z)[[0, 0]] } else { 0.0 };
                // The variances here are those of 2000 draws, not 1.
                assert!((m - expected).abs() < 0.1, "noise {noise}, {i} {j}: {m}");
            }
            // The first column stays what it is.
            v.column(0).iter().zip(z.column(0)).for_each(|(v, z)| assert!((v - z).abs() < 1e-5, "{v} {z}"));
            whitening.restore(v.as_slice_mut().unwrap());
            v.iter().zip(&z).for_each(|(v, z)| assert!((v - z).abs() < 1e-5, "{v} {z}"));
        }
    }

    /// ln |det ∂v/∂z| and ∂/∂z by differences, in f64.
    #[test]
    fn the_determinant_and_the_score_are_those_of_the_map() {
        let whitening = Whitening::fit(correlated(500, 0.3).view()).unwrap();
        let h = 1e-4;
        let mut jacobian = Array2::<f64>::zeros((3, 3));
        for j in 0..3 {
            let [mut up, mut down] = [h, -h].map(|h| {
                let mut z = [0.3, -0.2, 0.9];
                z[j] += h;
                z
            });
            whitening.whiten(&mut up);
            whitening.whiten(&mut down);
            (0..3).for_each(|i| jacobian[[i, j]] = (up[i] - down[i]) / (2.0 * h));
        }
        let det = (0..3).map(|i| jacobian[[i, i]].ln()).sum::<f64>();
        assert!((whitening.log_det() - det).abs() < 1e-8);
        // A function with ∂/∂v = (1, −2, 0.5): ∂/∂z = Jᵀ ∂/∂v.
        let mut s = [1.0, -2.0, 0.5];
        let expected = jacobian.t().dot(&ndarray::arr1(&s));
        whitening.restore_score(&mut s);
        s.iter().zip(&expected).for_each(|(s, e)| assert!((s - e).abs() < 1e-8, "{s} {e}"));
    }

    #[test]
    fn columns_without_correlations_stay_as_they_are() {
        let rng: &mut Rng = &mut seeded(5);
        let alone = Array2::from_shape_simple_fn((1000, 4), || f32::normal(rng));
        assert_eq!(Whitening::fit(alone.view()), None);
        // More columns than rows, whose correlations are chance.
        let few = Array2::from_shape_simple_fn((20, 40), || f32::normal(rng));
        assert_eq!(Whitening::fit(few.view()), None);
        assert_eq!(Whitening::fit(correlated(1000, 0.1).slice(ndarray::s![.., ..1])), None);
    }
}

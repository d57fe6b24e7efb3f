//! Fréchet distance between the Gaussians of two samples.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use super::check_pair;
use crate::error::Result;
use crate::numeric::eigen::eigen;

/// The Fréchet distance between two samples by their first two moments: the squared 2-Wasserstein distance between the
/// Gaussians with the samples' means and covariances.
///
/// F = ‖μ − ν‖² + tr(Σ + Τ − 2 (Σ^½ Τ Σ^½)^½) ≥ 0, in the squared unit of the data, with means μ, ν and covariances
/// Σ, Τ of x and y, where sums are divided by one less than the rows (Dowson & Landau 1982). On the features of an
/// image classifier it is known as FID (Heusel et al. 2017). It sees two moments and nothing else: samples that differ
/// only in their modes may be at 0.
///
/// Sampling noise makes it larger. Between samples of n and m rows of N(0, I) in d columns its mean is about (1/n +
/// 1/m)(d + d (d + 1)/4), so compare distances of samples of the same sizes, and report them together with their
/// [`Floor`](super::Floor).
///
/// `x` has shape (n, d), `y` (m, d). Moments are summed in f64; the cost is (n + m) d² + d³.
///
/// # Errors
/// [`DataError::Shape`](crate::error::DataError::Shape) for different numbers of columns or none,
/// [`DataError::TooFewRows`](crate::error::DataError::TooFewRows) for fewer than two rows in either sample,
/// [`DataError::NonFinite`](crate::error::DataError::NonFinite).
///
/// ```
/// use quadrivium::{metrics::frechet_distance, ndarray::array};
/// // Means 0 and 3, standard deviations 1 and 2: (0 − 3)² + (1 − 2)².
/// let unit = 0.5f32.sqrt();
/// let (x, y) = (array![[-unit], [unit]], array![[3.0 - 2.0 * unit], [3.0 + 2.0 * unit]]);
/// assert!((frechet_distance(x.view(), y.view())? - 10.0).abs() < 1e-5);
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn frechet_distance(x: ArrayView2<f32>, y: ArrayView2<f32>) -> Result<f64> {
    check_pair(x, y, 2)?;
    let d = x.ncols();
    let ((mean_x, cov_x), (mean_y, cov_y)) = (moments(x), moments(y));
    let apart: f64 = mean_x.iter().zip(&mean_y).map(|(a, b)| (a - b).powi(2)).sum();
    // Σ^½ = Σₖ √λₖ uₖuₖᵀ.
    let (axes, values) = eigen(cov_x.iter().copied().collect(), d);
    let axes = Array2::from_shape_vec((d, d), axes).expect("d axes of d columns");
    let stretched = &axes * &Array1::from_iter(values.iter().map(|v| v.max(0.0).sqrt())).insert_axis(Axis(1));
    let root = axes.t().dot(&stretched);
    let product = root.dot(&cov_y).dot(&root);
    let (_, values) = eigen(((&product + &product.t()) / 2.0).iter().copied().collect(), d);
    let shared: f64 = values.iter().map(|v| v.max(0.0).sqrt()).sum();
    let traces = cov_x.diag().sum() + cov_y.diag().sum();
    // Never negative in exact arithmetic; rounding may leave −10⁻⁸ of the traces if the samples are equal.
    Ok((apart + traces - 2.0 * shared).max(0.0))
}

/// The mean, and the covariances over n − 1.
fn moments(x: ArrayView2<f32>) -> (Array1<f64>, Array2<f64>) {
    let x = x.mapv(f64::from);
    let mean = x.mean_axis(Axis(0)).expect("two rows");
    let centered = x - &mean;
    let covariance = centered.t().dot(&centered) / (centered.nrows() - 1) as f64;
    (mean, covariance)
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use ndarray::{array, s};

    use super::*;
    use crate::Error;
    use crate::error::DataError;
    use crate::metrics::Floor;
    use crate::metrics::testing::{mean_is, normal, same_on_any_number_of_threads};

    fn frechet(x: &Array2<f32>, y: &Array2<f32>) -> f64 {
        frechet_distance(x.view(), y.view()).unwrap()
    }

    /// Four rows of mean (a, b) and covariance [[p, r], [r, q]].
    fn four_rows([a, b]: [f64; 2], [p, q, r]: [f64; 3]) -> Array2<f32> {
        // Rows ±√1.5 uₖ have the covariance Σ uₖuₖᵀ; the uₖ are the columns of a Cholesky factor.
        let (l, k) = (p.sqrt(), r / p.sqrt());
        let (u, v) = ([l, k], [0.0, (q - k * k).sqrt()]);
        let row = |sign: f64, w: [f64; 2]| {
            [(a + sign * 1.5f64.sqrt() * w[0]) as f32, (b + sign * 1.5f64.sqrt() * w[1]) as f32]
        };
        array![row(1.0, u), row(-1.0, u), row(1.0, v), row(-1.0, v)].to_owned()
    }

    #[test]
    fn frechet_distance_of_two_gaussians_is_the_closed_form() {
        // In two columns tr (ΣΤ)^½ = √(tr ΣΤ + 2 √det ΣΤ). Here tr ΣΤ = 2·1 + 2·0.5·(−0.4) + 1·3 and det ΣΤ =
        // (2 − 0.25)(3 − 0.16), of matrices with different axes.
        let (x, y) = (four_rows([1.0, 0.0], [2.0, 1.0, 0.5]), four_rows([-1.0, 0.5], [1.0, 3.0, -0.4]));
        let shared = (4.6 + 2.0 * (1.75f64 * 2.84).sqrt()).sqrt();
        let expected = 4.25 + 7.0 - 2.0 * shared;
        assert_relative_eq!(frechet(&x, &y), expected, max_relative = 1e-6);
        assert_relative_eq!(frechet(&y, &x), expected, max_relative = 1e-6);
        // Independent columns: Σ (√σ² − √τ²)².
        let (x, y) = (four_rows([0.0, 0.0], [4.0, 9.0, 0.0]), four_rows([0.0, 0.0], [1.0, 1.0, 0.0]));
        assert_relative_eq!(frechet(&x, &y), 5.0, max_relative = 1e-6);
    }

    #[test]
    fn frechet_distance_is_the_cost_of_the_optimal_linear_map() {
        // x → T x + b with a symmetric positive T is the optimal map between the two Gaussians, so that the distance is
        // the mean square of the way that rows go, E ‖x − T x − b‖²; over n − 1 where it varies.
        let d = 5;
        let factor = normal(d, d, 0.0, 3).mapv(f64::from);
        let map = factor.dot(&factor.t()) / d as f64 + Array2::<f64>::eye(d) * 0.3;
        let x = normal(400, d, 1.0, 4);
        let y = (x.mapv(f64::from).dot(&map) - 0.7).mapv(|v| v as f32);
        let way = (&y - &x).mapv(f64::from);
        let mean = way.mean_axis(Axis(0)).unwrap();
        let varying = (&way - &mean).mapv(|v| v * v).sum() / 399.0;
        assert_relative_eq!(frechet(&x, &y), mean.dot(&mean) + varying, max_relative = 1e-5);
    }

    #[test]
    fn frechet_distance_between_samples_of_one_gaussian_has_the_stated_mean() {
        let values: Vec<f64> = (0..120)
            .map(|k| frechet(&normal(400, 6, 0.0, 1000 + k), &normal(600, 6, 0.0, 2000 + k)))
            .collect();
        let expected = (1.0 / 400.0 + 1.0 / 600.0) * (6.0 + 6.0 * 7.0 / 4.0);
        mean_is(&values, expected, 0.2 * expected);
        let floor = Floor::of(&values, 3).unwrap();
        assert!(floor.holds(expected));
        assert!(!floor.holds(frechet(&normal(400, 6, 0.0, 1), &normal(600, 6, 0.2, 2))));
    }

    #[test]
    fn frechet_distance_of_few_rows_in_many_columns_is_finite_and_of_equal_ones_zero() {
        let (x, y) = (normal(3, 20, 0.0, 1), normal(4, 20, 1.0, 2));
        assert!(frechet(&x, &y) > 1.0);
        assert!(frechet(&x, &x.slice(s![..;-1, ..]).to_owned()) < 1e-5);
        let same = Array2::from_elem((3, 2), 7.0);
        assert_eq!(frechet(&same, &same), 0.0);
        same_on_any_number_of_threads(|| frechet(&x, &y));
        let far = array![[0.0], [1e38f32]];
        assert!(frechet(&far, &array![[0.0], [-3e38f32]]).is_finite());
    }

    #[test]
    fn frechet_distance_refuses_one_row_and_other_columns() {
        let x = normal(3, 2, 0.0, 9);
        let refused = |y: &Array2<f32>| frechet_distance(x.view(), y.view()).unwrap_err();
        assert!(matches!(
            refused(&Array2::zeros((1, 2))),
            Error::Data(DataError::TooFewRows { what: "y", got: 1, least: 2 })
        ));
        assert!(matches!(refused(&Array2::zeros((3, 1))), Error::Data(DataError::Shape { .. })));
    }
}

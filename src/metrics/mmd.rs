//! Maximum mean divergence.

use ndarray::ArrayView2;

use super::check_pair;
use super::pairs::{Points, cross_sum, self_sum};
use crate::error::{Result, check};
use crate::numeric::Real;

/// The squared maximum mean divergence under a Gaussian kernel, as the unbiased U-statistic.
///
/// MMD² = E k(X, X') + E k(Y, Y') − 2 E k(X, Y) with k(x, y) the mean over the bandwidths h of exp(−‖x −
/// y‖²/(2h²)), the first two means over pairs of different rows (Gretton et al. 2012, eq. 3). On two samples
/// of one distribution its mean is 0, so it may be negative.
///
/// `x` has shape (n, d), `y` (m, d); `bandwidths` are in the unit of the data: [`median_distance`] is the
/// usual choice.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) unless there are bandwidths, all positive and finite,
/// [`DataError::TooFewRows`](crate::error::DataError::TooFewRows) for fewer than two rows in either sample, and
/// [`DataError::Shape`](crate::error::DataError::Shape), [`DataError::NonFinite`](crate::error::DataError::NonFinite).
///
/// ```
/// use quadrivium::{metrics::mmd_squared, ndarray::array};
/// // Two rows each, at 0 and at 1: k within is 1, k between e^(−1/2).
/// let (x, y) = (array![[0.0], [0.0]], array![[1.0], [1.0]]);
/// let mmd2 = mmd_squared(x.view(), y.view(), &[1.0])?;
/// assert!((mmd2 - (2.0 - 2.0 * (-0.5f64).exp())).abs() < 1e-6);
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn mmd_squared(x: ArrayView2<f32>, y: ArrayView2<f32>, bandwidths: &[f64]) -> Result<f64> {
    let positive = bandwidths.iter().all(|h| *h > 0.0 && h.is_finite());
    check(
        positive && !bandwidths.is_empty(),
        "bandwidths",
        bandwidths,
        "at least one, all positive and finite",
    )?;
    check_pair(x, y, 2)?;
    let (x, y, scale) = Points::pair(x, y);
    let (n, m) = (x.rows as f64, y.rows as f64);
    let sum: f64 = (bandwidths.iter())
        .map(|h| {
            // The bounds prevent 0 · ∞ and an underflow of the exponential.
            let rate = (0.5 * (scale / h).powi(2)).min(1e30) as f32;
            let kernel = move |d2: f32| (-rate * d2).max(-80.0).fast_exp();
            self_sum(&x, kernel) / (n * (n - 1.0)) + self_sum(&y, kernel) / (m * (m - 1.0))
                - 2.0 * cross_sum(&x, &y, kernel) / (n * m)
        })
        .sum();
    Ok(sum / bandwidths.len() as f64)
}

/// The median distance between rows of the two samples together: the usual bandwidth for [`mmd_squared`].
///
/// The median is over all pairs of different rows. Of more than 1,000 rows, at most 1,000 are used, evenly
/// spaced over `x` followed by `y`.
///
/// # Errors
/// As [`mmd_squared`].
///
/// ```
/// use quadrivium::{metrics::median_distance, ndarray::array};
/// // The distances are 1, 2, 2, 3, 3, 5; the upper median is taken.
/// assert_eq!(median_distance(array![[0.0], [3.0]].view(), array![[2.0], [5.0]].view())?, 3.0);
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn median_distance(x: ArrayView2<f32>, y: ArrayView2<f32>) -> Result<f64> {
    check_pair(x, y, 2)?;
    let pooled: Vec<_> = x.rows().into_iter().chain(y.rows()).collect();
    let some: Vec<_> = pooled.iter().step_by(pooled.len().div_ceil(1000)).collect();
    let mut d2 = Vec::with_capacity(some.len() * (some.len() - 1) / 2);
    for (i, p) in some.iter().enumerate() {
        for q in &some[..i] {
            d2.push(
                p.iter().zip(q.iter()).map(|(p, q)| (f64::from(*p) - f64::from(*q)).powi(2)).sum::<f64>(),
            );
        }
    }
    let middle = d2.len() / 2;
    Ok(d2.select_nth_unstable_by(middle, f64::total_cmp).1.sqrt())
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use ndarray::{Array2, array};

    use super::*;
    use crate::Error;
    use crate::error::DataError;
    use crate::metrics::testing::{mean_is, normal, same_on_any_number_of_threads};

    fn naive(x: &Array2<f32>, y: &Array2<f32>, h: f64) -> f64 {
        let mean = |a: &Array2<f32>, b: &Array2<f32>, same: bool| {
            let mut sum = 0.0;
            for (i, p) in a.rows().into_iter().enumerate() {
                for (j, q) in b.rows().into_iter().enumerate() {
                    let d2: f64 = p.iter().zip(q).map(|(p, q)| (*p as f64 - *q as f64).powi(2)).sum();
                    sum += if same && i == j { 0.0 } else { (-d2 / (2.0 * h * h)).exp() };
                }
            }
            sum / (a.nrows() * (b.nrows() - usize::from(same))) as f64
        };
        mean(x, x, true) + mean(y, y, true) - 2.0 * mean(x, y, false)
    }

    #[test]
    fn agrees_with_the_naive_sum_and_averages_the_bandwidths() {
        for (n, m, d) in [(2, 3, 1), (30, 17, 2), (520, 600, 5)] {
            let (x, y) = (normal(n, d, 0.0, 1), normal(m, d, 0.5, 2));
            let got = mmd_squared(x.view(), y.view(), &[0.3, 2.0]).unwrap();
            let expected = 0.5 * (naive(&x, &y, 0.3) + naive(&x, &y, 2.0));
            assert_relative_eq!(got, expected, epsilon = 1e-6);
        }
    }

    /// Independent values of MMD² between N(0, I) and N(shift, I), 60 rows of 2 columns each.
    fn draws(shift: f32, h: f64) -> Vec<f64> {
        (0..300)
            .map(|k| {
                let (x, y) = (normal(60, 2, 0.0, 1000 + k), normal(60, 2, shift, 2000 + k));
                mmd_squared(x.view(), y.view(), &[h]).unwrap()
            })
            .collect()
    }

    #[test]
    fn its_mean_between_gaussians_is_the_closed_form() {
        // x − y is N(μ, 2I), so E k = (h²/(h² + 2))^(d/2) exp(−‖μ‖²/(2(h² + 2))).
        let (h2, mu2): (f64, f64) = (1.5 * 1.5, 2.0 * 0.6 * 0.6);
        let expected = 2.0 * h2 / (h2 + 2.0) * (1.0 - (-mu2 / (2.0 * (h2 + 2.0))).exp());
        mean_is(&draws(0.6, 1.5), expected, 0.2 * expected);
        // No bias on one distribution; a V-statistic's mean would be (2/60)(1 − E k) = 0.016.
        mean_is(&draws(0.0, 1.5), 0.0, 0.005);
    }

    #[test]
    fn the_median_distance_of_normal_rows_is_near_its_law() {
        // ‖x − x'‖² is 2χ² with 2 degrees of freedom: median 4 ln 2.
        let (x, y) = (normal(3000, 2, 0.0, 5), normal(2000, 2, 0.0, 6));
        let got = median_distance(x.view(), y.view()).unwrap();
        assert!((got / (4.0 * 2f64.ln()).sqrt() - 1.0).abs() < 0.05, "{got}");
    }

    #[test]
    fn extreme_values_give_no_nan_and_threads_no_difference() {
        let (x, y) = (array![[0.0], [1e38f32]], array![[0.0], [-1e38]]);
        for h in [1e-300, 1.0, 1e300] {
            assert!(mmd_squared(x.view(), y.view(), &[h]).unwrap().is_finite());
        }
        let (x, y) = (normal(1100, 2, 0.0, 7), normal(700, 2, 0.1, 8));
        same_on_any_number_of_threads(|| mmd_squared(x.view(), y.view(), &[1.0]).unwrap());
    }

    #[test]
    fn bad_input_is_an_error() {
        let x = normal(3, 2, 0.0, 9);
        for bandwidths in [&[][..], &[0.0], &[1.0, f64::NAN]] {
            let error = mmd_squared(x.view(), x.view(), bandwidths).unwrap_err();
            assert!(matches!(error, Error::Config { field: "bandwidths", .. }));
        }
        let one = Array2::zeros((1, 2));
        assert!(matches!(
            mmd_squared(x.view(), one.view(), &[1.0]),
            Err(Error::Data(DataError::TooFewRows { least: 2, .. }))
        ));
        assert!(matches!(
            median_distance(one.view(), x.view()),
            Err(Error::Data(DataError::TooFewRows { least: 2, .. }))
        ));
    }
}

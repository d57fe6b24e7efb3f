//! Energy distance.

use ndarray::ArrayView2;

use super::check_pair;
use super::pairs::{Points, cross_sum, self_sum};
use crate::error::Result;

/// The energy distance between two samples, as a V-statistic and without a root.
///
/// E = 2 E‖X − Y‖ − E‖X − X'‖ − E‖Y − Y'‖ ≥ 0, each mean over all pairs of rows, a row with itself included
/// (Székely & Rizzo 2013), in the unit of the data. It is 0 only between samples with the same empirical
/// distribution. For two samples of one distribution its mean is (1/n + 1/m) E‖X − X'‖: report it beside its
/// [`Floor`](super::Floor).
///
/// `x` has shape (n, d), `y` (m, d). Distances are computed in f32 (relative error 10⁻⁷ each, of random sign)
/// and summed in f64, which leaves an absolute error of about 10⁻⁸ E‖X − Y‖.
///
/// # Errors
/// [`DataError::Shape`](crate::error::DataError::Shape) for different numbers of columns or none,
/// [`DataError::TooFewRows`](crate::error::DataError::TooFewRows) for an empty sample,
/// [`DataError::NonFinite`](crate::error::DataError::NonFinite).
///
/// ```
/// use quadrivium::{metrics::energy_distance, ndarray::array};
/// // 2·5 − 0 − 0
/// assert_eq!(energy_distance(array![[0.0, 0.0]].view(), array![[3.0, 4.0]].view())?, 10.0);
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn energy_distance(x: ArrayView2<f32>, y: ArrayView2<f32>) -> Result<f64> {
    check_pair(x, y, 1)?;
    let (x, y, scale) = Points::pair(x, y);
    let (n, m) = (x.rows as f64, y.rows as f64);
    let between = cross_sum(&x, &y, f32::sqrt) / (n * m);
    let within = self_sum(&x, f32::sqrt) / (n * n) + self_sum(&y, f32::sqrt) / (m * m);
    // Never negative in exact arithmetic; rounding may leave −10⁻⁸ where the samples are equal.
    Ok((scale * (2.0 * between - within)).max(0.0))
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use ndarray::{Array2, array, s};

    use super::*;
    use crate::Error;
    use crate::error::DataError;
    use crate::metrics::testing::{mean_is, normal, same_on_any_number_of_threads};

    fn naive(x: &Array2<f32>, y: &Array2<f32>) -> f64 {
        let mean = |a: &Array2<f32>, b: &Array2<f32>| {
            let mut sum = 0.0;
            for p in a.rows() {
                for q in b.rows() {
                    sum += p.iter().zip(q).map(|(p, q)| (*p as f64 - *q as f64).powi(2)).sum::<f64>().sqrt();
                }
            }
            sum / (a.nrows() * b.nrows()) as f64
        };
        2.0 * mean(x, y) - mean(x, x) - mean(y, y)
    }

    #[test]
    fn agrees_with_the_naive_sum_for_any_shape() {
        // Sizes around a tile (16) and a block (512), and dimensions around a register.
        for (n, m, d) in [(1, 1, 1), (2, 15, 3), (16, 17, 2), (512, 513, 2), (700, 1030, 1), (40, 50, 33)] {
            let (x, y) = (normal(n, d, 0.0, 1), normal(m, d, 0.3, 2));
            assert_relative_eq!(
                energy_distance(x.view(), y.view()).unwrap(),
                naive(&x, &y),
                epsilon = 3e-8 * d as f64,
                max_relative = 1e-6
            );
        }
    }

    #[test]
    fn in_one_dimension_it_is_twice_the_area_between_the_squared_cdfs() {
        // E = 2 ∫ (F − G)² (Székely & Rizzo 2013), here between empirical distributions, so exactly.
        let (x, y) = (normal(900, 1, 0.0, 3), normal(1100, 1, 0.2, 4));
        let mut steps: Vec<(f64, f64)> = x.iter().map(|&v| (v.into(), 1.0 / 900.0)).collect();
        steps.extend(y.iter().map(|&v| (f64::from(v), -1.0 / 1100.0)));
        steps.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut difference, mut area) = (0.0, 0.0);
        for pair in steps.windows(2) {
            difference += pair[0].1;
            area += difference * difference * (pair[1].0 - pair[0].0);
        }
        assert_relative_eq!(energy_distance(x.view(), y.view()).unwrap(), 2.0 * area, max_relative = 1e-5);
    }

    #[test]
    fn between_samples_of_one_distribution_the_mean_is_the_stated_floor() {
        // Standard normals: E|X − X'| = 2/√π. A U-statistic's mean would be 0.
        let values: Vec<f64> = (0..200)
            .map(|k| {
                let (x, y) = (normal(100, 1, 0.0, 1000 + k), normal(150, 1, 0.0, 2000 + k));
                energy_distance(x.view(), y.view()).unwrap()
            })
            .collect();
        let floor = (1.0 / 100.0 + 1.0 / 150.0) * 2.0 / std::f64::consts::PI.sqrt();
        mean_is(&values, floor, 0.5 * floor);
    }

    #[test]
    fn equal_samples_are_at_zero_and_the_order_of_rows_and_arguments_does_not_matter() {
        let (x, y) = (normal(600, 2, 0.0, 5), normal(600, 2, 1.0, 6));
        let reversed = x.slice(s![..;-1, ..]);
        assert!(energy_distance(x.view(), reversed).unwrap() < 1e-7);
        let forth = energy_distance(x.view(), y.view()).unwrap();
        assert_relative_eq!(forth, energy_distance(y.view(), reversed).unwrap(), max_relative = 1e-6);
    }

    #[test]
    fn scales_with_the_data_up_to_the_ends_of_f32() {
        let (x, y) = (normal(50, 2, 0.0, 7), normal(60, 2, 1.0, 8));
        let unit = energy_distance(x.view(), y.view()).unwrap();
        for factor in [2f32.powi(-100), 3.0, 2f32.powi(125)] {
            let scaled = energy_distance((&x * factor).view(), (&y * factor).view()).unwrap();
            assert_relative_eq!(scaled, unit * f64::from(factor), max_relative = 1e-5);
        }
        assert_eq!(
            energy_distance(array![[f32::MAX]].view(), array![[f32::MIN]].view()).unwrap(),
            4.0 * f64::from(f32::MAX)
        );
        assert_eq!(energy_distance(array![[0.0]].view(), array![[0.0]].view()).unwrap(), 0.0);
    }

    #[test]
    fn same_bits_on_any_number_of_threads() {
        let (x, y) = (normal(1500, 2, 0.0, 9), normal(1700, 2, 0.1, 10));
        same_on_any_number_of_threads(|| energy_distance(x.view(), y.view()).unwrap());
    }

    #[test]
    fn bad_input_is_an_error() {
        let x = normal(3, 2, 0.0, 11);
        let bad = |y: Array2<f32>| energy_distance(x.view(), y.view()).unwrap_err();
        assert!(matches!(bad(Array2::zeros((3, 1))), Error::Data(DataError::Shape { what: "y", .. })));
        assert!(matches!(
            bad(Array2::zeros((0, 2))),
            Error::Data(DataError::TooFewRows { what: "y", got: 0, least: 1 })
        ));
        assert!(matches!(
            bad(array![[0.0, f32::NAN]]),
            Error::Data(DataError::NonFinite { row: 0, column: 1, .. })
        ));
        let none = Array2::<f32>::zeros((3, 0));
        assert!(matches!(
            energy_distance(none.view(), none.view()),
            Err(Error::Data(DataError::Shape { what: "x", .. }))
        ));
    }
}

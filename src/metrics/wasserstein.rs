//! Wasserstein distances: exact on a line, exact between samples of equal size, and sliced.

use ndarray::{ArrayView1, ArrayView2, Axis};
use rand::RngCore;

use super::{check_pair, map};
use crate::error::{DataError, Error, Result, check};
use crate::numeric::Real;
use crate::numeric::assignment::Assignment;
use crate::numeric::rng::Streams;

/// The exact Wasserstein-p distance between two samples on a line, root included, in the unit of the data.
///
/// W_p = (∫₀¹ |F⁻¹(u) − G⁻¹(u)|^p du)^(1/p) with F⁻¹, G⁻¹ the empirical quantiles (Villani 2003, theorem
/// 2.18). The samples may differ in size.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) unless 1 ≤ `p` < ∞,
/// [`DataError::TooFewRows`] for an empty sample,
/// [`DataError::NonFinite`].
///
/// ```
/// use quadrivium::{metrics::wasserstein_1d, ndarray::array};
/// // Half the mass stays at 0, half moves from 0 to 4.
/// let (x, y) = (array![0.0], array![4.0, 0.0]);
/// assert_eq!(wasserstein_1d(x.view(), y.view(), 1.0)?, 2.0);
/// assert_eq!(wasserstein_1d(x.view(), y.view(), 2.0)?, 8f64.sqrt());
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn wasserstein_1d(x: ArrayView1<f32>, y: ArrayView1<f32>, p: f64) -> Result<f64> {
    check(p >= 1.0 && p.is_finite(), "p", p, "at least 1, finite")?;
    check_pair(x.insert_axis(Axis(1)), y.insert_axis(Axis(1)), 1)?;
    let sorted = |x: ArrayView1<f32>| sort(x.iter().map(|&v| f64::from(v)).collect());
    let (x, y) = (sorted(x), sorted(y));
    // Relative to the longest path, so that no power overflows.
    let mut longest = 0f64;
    transport(&x, &y, |way, _| longest = longest.max(way));
    let mut cost = 0.0;
    if longest > 0.0 {
        transport(&x, &y, |way, mass| cost += (way / longest).powf(p) * mass);
    }
    Ok(longest * cost.powf(1.0 / p))
}

/// The exact Wasserstein-2 distance between two samples of equal size, root included, in the unit of the data.
///
/// W₂² = min over permutations σ of (1/n) Σᵢ ‖xᵢ − y_σ(i)‖², found by the [`Assignment`] of least cost: between
/// samples of equal size no transport plan is better than the best permutation (Birkhoff). x and y: (n, d).
/// Memory is linear in n, and the time grows between n² and n³: 10,000 rows take about ten seconds.
///
/// # Errors
/// [`DataError::Shape`] unless the shapes are the same,
/// [`DataError::TooFewRows`] for empty samples,
/// [`DataError::NonFinite`].
///
/// ```
/// use quadrivium::{metrics::wasserstein2, ndarray::array};
/// // Each row finds its nearest: 3 and 4 apart.
/// let (x, y) = (array![[0.0, 0.0], [9.0, 0.0]], array![[9.0, 4.0], [3.0, 0.0]]);
/// assert_eq!(wasserstein2(x.view(), y.view())?, 12.5f64.sqrt());
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn wasserstein2(x: ArrayView2<f32>, y: ArrayView2<f32>) -> Result<f64> {
    check_pair(x, y, 1)?;
    if x.nrows() != y.nrows() {
        let expected = format!("{:?}, as x", x.shape());
        return Err(Error::Data(DataError::Shape { what: "y", got: y.shape().to_vec(), expected }));
    }
    let (n, d) = x.dim();
    let (x, y) = (x.as_standard_layout(), y.as_standard_layout());
    let (x, y) = (x.as_slice().expect("standard layout"), y.as_slice().expect("standard layout"));
    let mut assignment = Assignment::default();
    let square = |(i, &j): (usize, &usize)| -> f64 {
        let pairs = x[i * d..(i + 1) * d].iter().zip(&y[j * d..(j + 1) * d]);
        pairs.map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum()
    };
    let cost: f64 = assignment.solve_squares(d, x, y).iter().enumerate().map(square).sum();
    Ok((cost / n as f64).sqrt())
}

/// The sliced Wasserstein-2 distance between two samples, root included, in the unit of the data.
///
/// SW₂² = the mean over random unit vectors θ of the exact W₂² between the projections ⟨θ, x⟩ and ⟨θ, y⟩
/// (Bonneel et al. 2015), so SW₂ ≤ W₂/√d; a shift by v counts ‖v‖/√d.
///
/// `x` has shape (n, d), `y` (m, d). One draw from `rng` seeds all `directions`.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) for no directions, [`DataError::TooFewRows`]
/// for an empty sample, [`DataError::Shape`], [`DataError::NonFinite`].
///
/// ```
/// use quadrivium::{metrics::sliced_wasserstein2, ndarray::array};
/// let (x, y) = (array![[0.0, 0.0]], array![[3.0, 4.0]]);
/// let sw2 = sliced_wasserstein2(x.view(), y.view(), 1000, &mut quadrivium::seeded(0))?;
/// assert!((sw2 - 5.0 / 2f64.sqrt()).abs() < 0.2);
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn sliced_wasserstein2(
    x: ArrayView2<f32>,
    y: ArrayView2<f32>,
    directions: usize,
    rng: &mut dyn RngCore,
) -> Result<f64> {
    check(directions >= 1, "directions", directions, "at least 1")?;
    check_pair(x, y, 1)?;
    let streams = Streams::from_rng(rng);
    let costs = map(directions, |k| {
        let theta = unit_vector(x.ncols(), streams.stream(k as u64));
        let project = |x: ArrayView2<f32>| {
            sort(
                x.rows()
                    .into_iter()
                    .map(|row| row.iter().zip(&theta).map(|(&v, t)| f64::from(v) * t).sum())
                    .collect(),
            )
        };
        let mut cost = 0.0;
        transport(&project(x), &project(y), |way, mass| cost += way * way * mass);
        cost
    });
    Ok((costs.iter().sum::<f64>() / directions as f64).sqrt())
}

/// Uniform on the sphere: a standard normal vector, normalized; drawn again in the unlikely case that it is
/// 0.
fn unit_vector(dim: usize, mut rng: impl RngCore) -> Vec<f64> {
    loop {
        let v: Vec<f64> = (0..dim).map(|_| f64::normal(&mut rng)).collect();
        let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm > 0.0 {
            return v.iter().map(|v| v / norm).collect();
        }
    }
}

fn sort(mut x: Vec<f64>) -> Vec<f64> {
    x.sort_unstable_by(f64::total_cmp);
    x
}

/// The optimal plan between two sorted samples on a line: calls `each(way, mass)` for every piece of mass
/// that moves together.
fn transport(x: &[f64], y: &[f64], mut each: impl FnMut(f64, f64)) {
    let (n, m) = (x.len() as u128, y.len() as u128);
    // In units of 1/(n·m), row i of x holds the mass from i·m to (i + 1)·m, row j of y that from j·n to (j +
    // 1)·n.
    let (mut i, mut j, mut done) = (0, 0, 0u128);
    while done < n * m {
        let (end_x, end_y) = ((i as u128 + 1) * m, (j as u128 + 1) * n);
        let end = end_x.min(end_y);
        each((x[i] - y[j]).abs(), (end - done) as f64 / (n * m) as f64);
        done = end;
        i += usize::from(end == end_x);
        j += usize::from(end == end_y);
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use ndarray::{Array1, Array2, array};

    use super::*;
    use crate::Error;
    use crate::metrics::testing::{normal, same_on_any_number_of_threads};

    #[test]
    fn unlike_sizes_split_the_mass() {
        // x: ½ at 0, ½ at 6; y: ⅓ each at 0, 3, 9. Ways: ⅓·0, ⅙·3, ⅙·3, ⅓·3.
        let (x, y) = (array![6.0, 0.0], array![9.0, 0.0, 3.0]);
        assert_relative_eq!(wasserstein_1d(x.view(), y.view(), 1.0).unwrap(), 2.0, max_relative = 1e-14);
        assert_relative_eq!(
            wasserstein_1d(y.view(), x.view(), 2.0).unwrap(),
            6f64.sqrt(),
            max_relative = 1e-14
        );
        // Repeating every row changes nothing.
        let twice = array![0.0, 6.0, 0.0, 6.0];
        assert_relative_eq!(wasserstein_1d(twice.view(), y.view(), 1.0).unwrap(), 2.0, max_relative = 1e-14);
    }

    #[test]
    fn w1_is_the_area_between_the_cdfs_and_wp_grows_with_p() {
        let (x, y) =
            (normal(300, 1, 0.0, 1).remove_axis(Axis(1)), normal(170, 1, 0.5, 2).remove_axis(Axis(1)));
        let mut steps: Vec<(f64, f64)> = x.iter().map(|&v| (v.into(), 1.0 / 300.0)).collect();
        steps.extend(y.iter().map(|&v| (f64::from(v), -1.0 / 170.0)));
        steps.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut difference, mut area) = (0f64, 0.0);
        for pair in steps.windows(2) {
            difference += pair[0].1;
            area += difference.abs() * (pair[1].0 - pair[0].0);
        }
        let w = [1.0, 1.5, 2.0, 8.0].map(|p| wasserstein_1d(x.view(), y.view(), p).unwrap());
        assert_relative_eq!(w[0], area, max_relative = 1e-12);
        assert!(w.is_sorted() && w[0] < w[3], "{w:?}");
    }

    #[test]
    fn between_gaussians_w2_is_near_the_closed_form() {
        // W₂² = (μ − μ')² + (σ − σ')² = 9 + 1.
        let x = normal(20_000, 1, 0.0, 3).remove_axis(Axis(1));
        let y = normal(20_000, 1, 0.0, 4).remove_axis(Axis(1)) * 2.0 + 3.0;
        let w2 = wasserstein_1d(x.view(), y.view(), 2.0).unwrap();
        assert!((w2 - 10f64.sqrt()).abs() < 0.08, "{w2}");
    }

    #[test]
    fn the_ends_of_f32_do_not_overflow() {
        let (x, y) = (array![f32::MAX], array![f32::MIN]);
        let way = 2.0 * f64::from(f32::MAX);
        assert_relative_eq!(wasserstein_1d(x.view(), y.view(), 20.0).unwrap(), way, max_relative = 1e-14);
        assert_eq!(wasserstein_1d(x.view(), x.view(), 3.0).unwrap(), 0.0);
    }

    #[test]
    fn a_shift_counts_its_length_over_root_dim() {
        for shift in [[3.0, 4.0], [-5.0, 0.0]] {
            let x = normal(200, 2, 0.0, 5);
            let y = &x + &Array1::from_vec(shift.to_vec());
            let sw2 = sliced_wasserstein2(x.view(), y.view(), 4000, &mut crate::seeded(6)).unwrap();
            // SW₂² = 25 · mean of cos²θ: mean ½, standard deviation 1/√8 per direction; four standard errors.
            assert!((sw2 * sw2 / 25.0 - 0.5).abs() < 4.0 * (1.0f64 / 8.0 / 4000.0).sqrt(), "{sw2}");
        }
    }

    #[test]
    fn on_a_line_sliced_is_exact_and_threads_make_no_difference() {
        let (x, y) = (normal(90, 1, 0.0, 7), normal(70, 1, 1.0, 8));
        let sliced = sliced_wasserstein2(x.view(), y.view(), 3, &mut crate::seeded(9)).unwrap();
        let exact = wasserstein_1d(x.column(0), y.column(0), 2.0).unwrap();
        assert_relative_eq!(sliced, exact, max_relative = 1e-12);
        let (x, y) = (normal(90, 3, 0.0, 10), normal(70, 3, 1.0, 11));
        same_on_any_number_of_threads(|| {
            sliced_wasserstein2(x.view(), y.view(), 20, &mut crate::seeded(12)).unwrap()
        });
    }

    #[test]
    fn bad_input_is_an_error() {
        let x = array![1.0f32];
        for p in [0.5, f64::NAN, f64::INFINITY] {
            assert!(matches!(wasserstein_1d(x.view(), x.view(), p), Err(Error::Config { field: "p", .. })));
        }
        assert!(matches!(
            wasserstein_1d(x.view(), array![].view(), 1.0),
            Err(Error::Data(DataError::TooFewRows { what: "y", .. }))
        ));
        let nan = array![f32::NAN];
        assert!(matches!(
            wasserstein_1d(nan.view(), x.view(), 1.0),
            Err(Error::Data(DataError::NonFinite { what: "x", .. }))
        ));
        let x = Array2::zeros((2, 2));
        let none = sliced_wasserstein2(x.view(), x.view(), 0, &mut crate::seeded(0));
        assert!(matches!(none, Err(Error::Config { field: "directions", .. })));
    }

    #[test]
    fn the_exact_plan_agrees_with_sorting_and_bounds_the_sliced() {
        let (x, y) = (normal(400, 1, 0.0, 1), normal(400, 1, 0.7, 2));
        let sorted = wasserstein_1d(x.column(0), y.column(0), 2.0).unwrap();
        assert_relative_eq!(wasserstein2(x.view(), y.view()).unwrap(), sorted, max_relative = 1e-10);
        // A shift of the same rows in another order is its own plan.
        let x = normal(300, 3, 0.0, 3);
        let mut moved = x.slice(ndarray::s![..;-1, ..]).to_owned();
        moved.column_mut(1).mapv_inplace(|v| v + 2.0);
        assert_relative_eq!(wasserstein2(x.view(), moved.view()).unwrap(), 2.0, max_relative = 1e-6);
        // SW₂ ≤ W₂/√d.
        let y = normal(300, 3, 0.4, 4);
        let exact = wasserstein2(x.view(), y.view()).unwrap();
        let sliced = sliced_wasserstein2(x.view(), y.view(), 200, &mut crate::seeded(0)).unwrap();
        assert!(sliced < exact / 3f64.sqrt(), "{sliced}, exact {exact}");
        let other = wasserstein2(x.view(), y.slice(ndarray::s![..299, ..]));
        assert!(matches!(other, Err(Error::Data(DataError::Shape { what: "y", .. }))));
    }
}

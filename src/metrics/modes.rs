//! Mode coverage, for mixtures whose modes are known.

use ndarray::{Array2, ArrayView2, Axis};

use super::check_count;
use crate::error::{DataError, Error, Result, check};
use crate::model::check_rows;

/// What [`mode_coverage`] finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModeReport {
    /// Modes with at least one high-quality row. This measure is lenient: a sampler with 2 % high-quality rows
    /// can reach 24 of 25.
    pub modes: usize,
    /// Modes that hold at least 20 % of their fair share of the high-quality rows: count ≥ 0.2 · high-quality
    /// rows / modes.
    pub modes_fair: usize,
    /// Number of modes of the mixture.
    pub total: usize,
    /// Share of rows within 3σ (L2) of their nearest center. More than
    /// [`perfect_high_quality`](ModeReport::perfect_high_quality) means that the modes are too narrow, not that
    /// the sampler is better.
    pub high_quality: f64,
    /// What a perfect sampler scores for `high_quality`: P(χ²_dim ≤ 9), in 2D 1 − e^(−9/2) = 0.98889.
    pub perfect_high_quality: f64,
    /// Standard deviation of the rows within their modes ÷ σ. A perfect sampler scores 1, more is blur, less
    /// is under-dispersion. `None` if no mode holds two rows.
    ///
    /// Pooled over modes and coordinates, each about the mode's own sample mean, with one degree of freedom
    /// per mode: √(Σ ‖x − x̄_mode‖² / (dim · (rows − modes))) / σ. Rows further than 10σ from every center are
    /// left out: they lie between the modes, and a few of them would hide how sharp the modes are. So
    /// 10/√(dim + 2), the value of rows spread evenly in the ball (5 in 2D), means "no modes at all".
    pub spread_ratio: Option<f64>,
    /// Whether the modes are narrower than the truth's by more than chance: `spread_ratio` below 1 or
    /// `high_quality` above `perfect_high_quality`, by more than three standard errors of a perfect sampler
    /// (1/√(2 · dim · (rows − modes)) and √(p(1 − p)/n)). The share of rows in 3σ of such a sample says
    /// nothing good about it.
    pub too_narrow: bool,
    /// KL(shares of the modes ‖ uniform) in nats, each row counted at its nearest center: 0 when all modes
    /// hold equally many rows, ln(total) when one holds all. It measures the balance of the modes only, not
    /// their shape. A perfect sampler scores (total − 1)/(2n) on average.
    pub mode_kl: f64,
}

/// Which modes of an equal-weight mixture of round Gaussians a sample covers: the protocol of PacGAN (Lin et
/// al. 2018).
///
/// `x` has shape (n, dim), `centers` (modes, dim); `sigma` is the standard deviation of every mode in each
/// coordinate. The protocol uses 2,500 rows. It is made for two dimensions, where nearly all rows of a
/// Gaussian lie within 3σ (L2); in nine dimensions fewer than half do. The figures of a perfect sampler hold for
/// modes at least 6σ apart.
///
/// # Errors
/// [`DataError::TooFewRows`] for no rows or no centers, [`DataError::Shape`] for unlike or no columns,
/// [`DataError::NonFinite`], and [`Error::Config`] unless `sigma` is positive and finite.
///
/// ```
/// use quadrivium::{metrics::mode_coverage, ndarray::array};
/// let centers = array![[-1.0, 0.0], [1.0, 0.0]];
/// let x = array![[1.0, 0.1], [1.0, -0.1], [0.9, 0.0], [0.3, 0.0]];
/// let report = mode_coverage(x.view(), centers.view(), 0.1)?;
/// assert_eq!((report.modes, report.total, report.high_quality), (1, 2, 0.75));
/// assert_eq!(report.mode_kl, 2f64.ln());
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn mode_coverage(x: ArrayView2<f32>, centers: ArrayView2<f64>, sigma: f64) -> Result<ModeReport> {
    let (total, dim) = centers.dim();
    check_count("centers", total, 1)?;
    if dim == 0 {
        let expected = "at least one column".into();
        return Err(Error::Data(DataError::Shape { what: "centers", got: vec![total, dim], expected }));
    }
    if let Some(((row, column), &value)) = centers.indexed_iter().find(|(_, v)| !v.is_finite()) {
        return Err(Error::Data(DataError::NonFinite { what: "centers", row, column, value }));
    }
    check(sigma > 0.0 && sigma.is_finite(), "sigma", sigma, "more than 0, finite")?;
    check_count("x", x.nrows(), 1)?;
    check_rows("x", x, dim)?;

    let mut held = vec![0usize; total]; // rows by nearest center
    let mut good = vec![0usize; total]; // those within 3σ
    let mut near = vec![0usize; total]; // those within 10σ
    let mut sum = Array2::<f64>::zeros((total, dim)); // Σ (x − center)/σ over near rows
    let mut sum2 = 0.0; // Σ ‖x − center‖²/σ² over near rows
    for row in x.rows() {
        let (k, d2) = nearest(row, centers);
        let d2 = d2 / (sigma * sigma);
        held[k] += 1;
        good[k] += usize::from(d2 <= 9.0);
        if d2 <= 100.0 {
            near[k] += 1;
            sum2 += d2;
            for ((s, &v), &c) in sum.row_mut(k).iter_mut().zip(row).zip(centers.row(k)) {
                *s += (f64::from(v) - c) / sigma;
            }
        }
    }

    let n = x.nrows() as f64;
    let all_good: usize = good.iter().sum();
    // About the mode's mean: Σ‖z − z̄‖² = Σ‖z‖² − ‖Σz‖²/count. No cancellation to fear: |z| ≤ 10.
    let between: f64 = (sum.axis_iter(Axis(0)).zip(&near))
        .filter(|(_, count)| **count > 0)
        .map(|(s, &count)| s.dot(&s) / count as f64)
        .sum();
    let freedom = near.iter().map(|count| count.saturating_sub(1)).sum::<usize>() * dim;
    let spread_ratio = (freedom > 0).then(|| ((sum2 - between).max(0.0) / freedom as f64).sqrt());
    let (high_quality, perfect) = (all_good as f64 / n, within_three_sigma(dim));
    Ok(ModeReport {
        modes: good.iter().filter(|count| **count > 0).count(),
        modes_fair: good.iter().filter(|count| **count > 0 && 5 * total * **count >= all_good).count(),
        total,
        high_quality,
        perfect_high_quality: perfect,
        spread_ratio,
        // √(χ²_ν/ν) has the standard deviation 1/√(2ν), a share p of n rows √(p(1 − p)/n).
        too_narrow: spread_ratio.is_some_and(|ratio| ratio < 1.0 - 3.0 / (2.0 * freedom as f64).sqrt())
            || high_quality > perfect + 3.0 * (perfect * (1.0 - perfect) / n).sqrt(),
        mode_kl: (held.iter().filter(|count| **count > 0))
            .map(|&count| count as f64 / n)
            .map(|share| share * (share * total as f64).ln())
            .sum::<f64>()
            .max(0.0),
    })
}

/// P(χ²_dim ≤ 9), the share of a standard normal within 3 of its mean.
///
/// With a = dim/2 and x = 9/2 it is e^(−x) Σₙ x^(a+n)/Γ(a + n + 1), n = 0, 1, … (DLMF 8.7.1).
fn within_three_sigma(dim: usize) -> f64 {
    let x = 4.5f64;
    // x^b/Γ(b + 1) at b = 0 or ½, and from there in steps of one.
    let (mut b, mut term) = match dim % 2 {
        0 => (0.0, 1.0),
        _ => (0.5, 2.0 * (x / std::f64::consts::PI).sqrt()),
    };
    let (mut sum, a) = (0.0, dim as f64 / 2.0);
    // The terms fall from b = x on; 60 later none is above 1e-30.
    while b < a.max(x) + 60.0 {
        if b >= a {
            sum += term;
        }
        b += 1.0;
        term *= x / b;
    }
    sum * (-x).exp()
}

/// The nearest center and the squared distance to it.
fn nearest(row: ndarray::ArrayView1<f32>, centers: ArrayView2<f64>) -> (usize, f64) {
    let squared = |center: ndarray::ArrayView1<f64>| -> f64 {
        row.iter().zip(center).map(|(&v, c)| (f64::from(v) - c).powi(2)).sum()
    };
    (centers.rows().into_iter().map(squared).enumerate())
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .expect("at least one center")
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use rand::Rng;

    use super::*;
    use crate::numeric::Real;

    const SIGMA: f64 = 0.05;

    fn grid() -> Array2<f64> {
        Array2::from_shape_fn((25, 2), |(k, c)| [k / 5, k % 5][c] as f64 * 2.0 - 4.0)
    }

    /// `n` rows of the grid's mixture with the standard deviation `spread`, from the first `modes` modes,
    /// moved by `shift`.
    fn draw(n: usize, modes: usize, spread: f64, shift: f64, seed: u64) -> Array2<f32> {
        let (mut rng, centers) = (crate::seeded(seed), grid());
        let mut x = Array2::zeros((n, 2));
        for mut row in x.rows_mut() {
            let k = rng.random_range(0..modes);
            for c in 0..2 {
                row[c] = (centers[[k, c]] + shift + spread * f64::normal(&mut rng)) as f32;
            }
        }
        x
    }

    fn report(x: &Array2<f32>) -> ModeReport {
        mode_coverage(x.view(), grid().view(), SIGMA).unwrap()
    }

    #[test]
    fn a_perfect_sampler_scores_what_the_formulas_say() {
        let n = 100_000;
        let r = report(&draw(n, 25, SIGMA, 0.0, 1));
        assert_eq!((r.modes, r.modes_fair, r.total), (25, 25, 25));
        // Four standard deviations of a binomial share: one false alarm in 16,000 seeds.
        let p = 1.0 - (-4.5f64).exp();
        assert!((r.high_quality - p).abs() < 4.0 * (p * (1.0 - p) / n as f64).sqrt(), "{r:?}");
        assert!((r.spread_ratio.unwrap() - 1.0).abs() < 0.01, "{r:?}");
        // 2n·KL is χ² with 24 degrees of freedom: mean 24, variance 48; its 0.001 % points are 3.5 and 67.
        let chi2 = 2.0 * n as f64 * r.mode_kl;
        assert!((3.5..67.0).contains(&chi2), "{r:?}");
    }

    #[test]
    fn spread_shows_width_about_the_modes_own_mean_at_the_protocols_size() {
        for (ratio, tolerance) in [(0.1, 0.005), (0.7, 0.03), (1.0, 0.05), (2.0, 0.1)] {
            // Even when the modes sit off their centers.
            let got = report(&draw(2500, 25, ratio * SIGMA, 2.0 * SIGMA, 2)).spread_ratio.unwrap();
            assert!((got - ratio).abs() < tolerance, "{got} for {ratio}");
        }
        // Eight times too wide: a coarse sampler. The cut at 10σ bounds the figure by 5, and it is near that
        // bound.
        let wide = report(&draw(2500, 25, 8.0 * SIGMA, 0.0, 3));
        assert!((4.0..5.0).contains(&wide.spread_ratio.unwrap()), "{wide:?}");
        assert!(wide.high_quality < 0.1);
        // A few rows between the modes do not hide that the modes are too sharp.
        let mut x = draw(2500, 25, 0.5 * SIGMA, 0.0, 4);
        x.slice_mut(ndarray::s![..100, ..]).fill(1.0);
        assert!((report(&x).spread_ratio.unwrap() - 0.5).abs() < 0.03);
    }

    #[test]
    fn a_collapsed_sampler_is_seen() {
        let r = report(&Array2::from_elem((2500, 2), 2.01));
        assert_eq!((r.modes, r.modes_fair, r.high_quality, r.mode_kl), (1, 1, 1.0, 25f64.ln()));
        assert!(r.spread_ratio.unwrap() < 1e-6);
        // Half the modes, evenly: KL = ln(25/5).
        let r = report(&draw(50_000, 5, SIGMA, 0.0, 5));
        assert_eq!((r.modes, r.modes_fair), (5, 5));
        assert!((r.mode_kl - 5f64.ln()).abs() < 1e-3);
    }

    #[test]
    fn fog_captures_modes_but_is_not_high_quality() {
        let mut rng = crate::seeded(6);
        let x = Array2::from_shape_simple_fn((2500, 2), || rng.random_range(-5.0..5.0f32));
        let r = report(&x);
        // A 3σ disc is π·0.15²/4 = 1.77 % of its cell: 44 of 2,500 rows, 1.77 a mode, so most modes are
        // "captured".
        assert!((r.high_quality - 0.0177).abs() < 4.0 * (0.0177f64 / 2500.0).sqrt(), "{r:?}");
        assert!(r.modes >= 15, "{r:?}");
        assert!((4.0..5.5).contains(&r.spread_ratio.unwrap()), "{r:?}");
    }

    #[test]
    fn a_mode_is_fair_from_a_fifth_of_its_share_on() {
        // 2 modes, 100 high-quality rows: the fair share is 50, a fifth of it 10.
        let centers = array![[0.0], [10.0]];
        for (minor, fair) in [(9, 1), (10, 2)] {
            let x = Array2::from_shape_fn((100, 1), |(i, _)| if i < minor { 0.0 } else { 10.0 });
            let r = mode_coverage(x.view(), centers.view(), 1.0).unwrap();
            assert_eq!((r.modes, r.modes_fair), (2, fair));
            // Rows outside of 3σ have no say: 10 of 600 rows would not be a fifth of a fair share of all.
            let fog = Array2::from_shape_fn((600, 1), |(i, _)| if i < 100 { x[[i, 0]] } else { 5.5 });
            let r = mode_coverage(fog.view(), centers.view(), 1.0).unwrap();
            assert_eq!((r.modes, r.modes_fair, r.high_quality), (2, fair, 1.0 / 6.0));
        }
    }

    #[test]
    fn the_share_in_three_sigma_is_the_chi_squared_law() {
        // P(χ²_dim ≤ 9): erf(3/√2); even dim by the Poisson sum; the rest as scipy.stats.chi2.cdf.
        let x = 4.5f64;
        let even = |dim: u32| {
            let (mut term, mut sum) = (1.0, 1.0);
            for k in 1..dim / 2 {
                term *= x / f64::from(k);
                sum += term;
            }
            1.0 - (-x).exp() * sum
        };
        for dim in [2, 4, 10, 30] {
            let got = within_three_sigma(dim as usize);
            assert!((got / even(dim) - 1.0).abs() < 1e-9, "{dim}: {got}");
        }
        for (dim, share) in [(1, 0.9973002039367398), (3, 0.9707091134651117), (5, 0.8909358420502275)] {
            assert!((within_three_sigma(dim) - share).abs() < 1e-12, "{dim}");
        }
        assert!(within_three_sigma(5000) < 1e-300);
    }

    #[test]
    fn spread_has_a_degree_of_freedom_less_for_each_mode() {
        // Two rows in each of two modes, ±1 and ±2 about the modes' own means: Σ = 2·1 + 2·4 over 4 − 2 degrees.
        let centers = array![[0.0], [100.0]];
        let x = array![[2.0f32], [4.0], [98.0], [102.0]];
        let r = mode_coverage(x.view(), centers.view(), 1.0).unwrap();
        assert!((r.spread_ratio.unwrap() - 5f64.sqrt()).abs() < 1e-12, "{r:?}");
    }

    #[test]
    fn too_narrow_begins_at_three_standard_errors() {
        // n rows at ±a: a spread of a·√(n/(n − 1)), whose standard error is 1/√(2(n − 1)) = 0.050.
        let narrow = |a: f32| {
            let x = Array2::from_shape_fn((200, 1), |(i, _)| if i % 2 == 0 { a } else { -a });
            mode_coverage(x.view(), array![[0.0]].view(), 1.0).unwrap().too_narrow
        };
        assert!(narrow(0.84) && !narrow(0.86));
        // 10,000 rows, most on a circle that is as wide as the truth: a share of 0.98889 ± 0.00105.
        let narrow = |inside: usize| {
            let x = Array2::from_shape_fn((10_000, 2), |(i, c)| {
                let (sin, cos) = (i as f64).sin_cos();
                let radius = if i < inside { 2f64.sqrt() } else { 4.0 };
                (radius * [sin, cos][c]) as f32
            });
            mode_coverage(x.view(), array![[0.0, 0.0]].view(), 1.0).unwrap().too_narrow
        };
        assert!(narrow(9922) && !narrow(9918));
    }

    #[test]
    fn modes_that_are_too_narrow_are_told() {
        let n = 10_000;
        for (spread, narrow) in [(0.5, true), (0.97, true), (1.0, false), (1.2, false)] {
            for seed in 0..5 {
                let r = report(&draw(n, 25, spread * SIGMA, 0.0, 20 + seed));
                assert_eq!(r.too_narrow, narrow, "spread {spread}: {r:?}");
            }
        }
        // All rows on circles of radius √2 σ: as wide as the truth in each coordinate, and all within 3σ.
        let circle = Array2::from_shape_fn((n, 2), |(i, c)| {
            let (sin, cos) = (i as f64).sin_cos();
            (grid()[[i % 25, c]] + 2f64.sqrt() * SIGMA * [sin, cos][c]) as f32
        });
        let r = report(&circle);
        assert!(r.too_narrow && r.high_quality == 1.0 && r.spread_ratio.unwrap() > 0.999, "{r:?}");
        // One row in each mode has no width.
        let alone = report(&draw(1, 1, SIGMA, 0.0, 1));
        assert_eq!((alone.spread_ratio, alone.too_narrow), (None, false));
        // A few rows may well be closer together than the truth's.
        assert!(!report(&draw(30, 1, 0.9 * SIGMA, 0.0, 2)).too_narrow);
    }

    #[test]
    fn rows_far_from_everything_count_nowhere_and_make_no_nan() {
        let r = report(&Array2::from_elem((3, 2), f32::MAX));
        assert_eq!((r.modes, r.modes_fair, r.high_quality, r.spread_ratio), (0, 0, 0.0, None));
        assert_eq!(r.mode_kl, 25f64.ln());
        let one = report(&array![[0.0, 0.0]]);
        assert_eq!((one.modes, one.spread_ratio), (1, None));
    }

    #[test]
    fn bad_input_is_an_error() {
        let (x, c) = (array![[0.0f32, 0.0]], array![[0.0, 0.0]]);
        let call =
            |x: &Array2<f32>, c: &Array2<f64>, sigma| mode_coverage(x.view(), c.view(), sigma).unwrap_err();
        assert!(matches!(
            call(&Array2::zeros((0, 2)), &c, 1.0),
            Error::Data(DataError::TooFewRows { what: "x", .. })
        ));
        assert!(matches!(
            call(&x, &Array2::zeros((0, 2)), 1.0),
            Error::Data(DataError::TooFewRows { what: "centers", .. })
        ));
        assert!(matches!(
            call(&Array2::zeros((4, 3)), &c, 1.0),
            Error::Data(DataError::Shape { what: "x", .. })
        ));
        assert!(matches!(
            call(&Array2::zeros((4, 0)), &Array2::zeros((1, 0)), 1.0),
            Error::Data(DataError::Shape { .. })
        ));
        assert!(matches!(
            call(&array![[0.0, f32::INFINITY]], &c, 1.0),
            Error::Data(DataError::NonFinite { what: "x", .. })
        ));
        assert!(matches!(
            call(&x, &array![[f64::NAN, 0.0]], 1.0),
            Error::Data(DataError::NonFinite { what: "centers", .. })
        ));
        for sigma in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(call(&x, &c, sigma), Error::Config { field: "sigma", .. }));
        }
    }
}

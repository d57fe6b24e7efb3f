//! Every density is held against its own samples, its own mass, and independent formulas.

use ndarray::{Array3, array};

use super::*;
use crate::error::{DataError, Error};
use crate::numeric::quadrature::{gauss_legendre, trapezoid};
use crate::numeric::rng::seeded;

fn tilted() -> Toy {
    let covariances = Array3::from_shape_vec(
        (3, 2, 2),
        vec![1.0, 0.6, 0.6, 0.5, 0.2, -0.1, -0.1, 0.3, 0.05, 0.0, 0.0, 0.05],
    );
    let means = array![[0.0, 0.0], [1.5, -0.5], [-0.7, 0.2]];
    Toy::mixture(&[2.0, 1.0, 1.0], means.view(), covariances.unwrap().view()).unwrap()
}

/// Each smooth toy, with the half side of a box that holds all of it and a spacing that resolves it.
fn smooth() -> Vec<(Toy, f64, f64)> {
    vec![
        (Toy::ring8(), 1.1, 0.007),
        (Toy::ring(3, 0.5, 0.2).unwrap(), 2.4, 0.1),
        (Toy::ffjord8(), 6.2, 0.2),
        (Toy::grid25(), 4.5, 0.03),
        (tilted(), 9.2, 0.1),
        (Toy::moons(0.1).unwrap(), 2.9, 0.07),
        (Toy::moons(0.3).unwrap(), 4.8, 0.2),
        (Toy::concentric(&[1.0], 0.5).unwrap(), 5.5, 0.3),
        (Toy::circles(), 5.2, 0.15),
        (Toy::rings(), 3.8, 0.07),
        (Toy::swiss_roll(), 4.7, 0.17),
        (Toy::two_spirals(), 4.3, 0.1),
        (Toy::pinwheel(), 6.6, 0.07),
    ]
}

#[test]
fn entropies_are_the_known_ones() {
    for (toy, entropy, digits) in [
        (Toy::ring8(), -4.293, 1e-3),
        (Toy::grid25(), 0.0653, 1e-4),
        (Toy::grid(10, 1.0, 0.03).unwrap(), 0.4299, 1e-4),
        (Toy::ffjord8(), 2.832, 1e-3),
        (Toy::checkerboard(), 32f64.ln(), 1e-14),
        (Toy::moons(0.1).unwrap(), 1.0076, 1e-4),
    ] {
        let found = toy.entropy().unwrap();
        assert!((found - entropy).abs() < digits, "{}: {found}, known {entropy}", toy.name());
    }
}

/// Samples, density and entropy come from three pieces of code; −mean ln p of the samples is the entropy
/// within 4 standard errors (false alarm 6e-5 a toy).
#[test]
fn samples_score_the_entropy_on_average() {
    for (seed, toy) in smooth().into_iter().map(|s| s.0).chain([Toy::checkerboard()]).enumerate() {
        let n = 4_000;
        let x = toy.sample(n, &mut seeded(seed as u64));
        let nats = toy.log_density(x.view()).unwrap();
        let (found, error) = (-nats.mean().unwrap(), nats.std(1.0) / (n as f64).sqrt());
        let entropy = toy.entropy().unwrap();
        assert!(
            (found - entropy).abs() <= 4.0 * error + 1e-12,
            "{}: {found} ± {error}, {entropy}",
            toy.name()
        );
    }
}

#[test]
fn densities_integrate_to_one() {
    for (toy, half, h) in smooth() {
        let mass = trapezoid(&[-half; 2], &[half; 2], h, |x| toy.log_density_at(x).exp());
        assert!((mass - 1.0).abs() < 1e-6, "{}: {mass}", toy.name());
    }
    let centers_of_cells = (0..64).map(|i| array![[(i % 8) as f32 - 3.5, (i / 8) as f32 - 3.5]]);
    let board = Toy::checkerboard();
    let mass: f64 = centers_of_cells.map(|x| board.log_density(x.view()).unwrap()[0].exp()).sum();
    assert!((mass - 1.0).abs() < 1e-14, "{mass}");
}

/// A blurred circle is exp(−(ρ − R)²/2σ²) e⁻ᶻ I₀(z) / 2πσ², z = ρR/σ².
#[test]
fn a_circle_has_the_density_of_its_bessel_function() {
    let (radius, sigma) = (1.5, 0.24);
    let toy = Toy::concentric(&[radius], sigma).unwrap();
    // e⁻ᶻ I₀(z) is the mean of exp(z (cos θ − 1)); the trapezoidal rule on a circle converges geometrically.
    let scaled_i0 =
        |z: f64| (0..2000).map(|k| (z * ((TAU * k as f64 / 2e3).cos() - 1.0)).exp()).sum::<f64>() / 2e3;
    for rho in [0.0f64, 0.3, 1.4, 1.5, 2.0, 4.0, 5.8] {
        let z = rho * radius / (sigma * sigma);
        let exact = -0.5 * ((rho - radius) / sigma).powi(2) + scaled_i0(z).ln() - (TAU * sigma * sigma).ln();
        let found = toy.log_density_at(&[rho * 0.6, rho * 0.8]);
        assert!((found - exact).abs() < 1e-8, "ρ = {rho}: {found}, {exact}");
    }
}

/// ∫ f over [a, b] in 4,000 panels.
fn integrate(a: f64, b: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (nodes, weights) = gauss_legendre(8);
    let half = 0.5 * (b - a) / 4000.0;
    let panel = |k: usize| {
        let middle = a + half * (2 * k + 1) as f64;
        nodes.iter().zip(&weights).map(|(x, w)| half * w * f(middle + half * x)).sum::<f64>()
    };
    (0..4000).map(panel).sum()
}

#[test]
fn curves_are_integrated_to_1e_minus_8() {
    let gauss = |u: f64, v: f64, s: f64| (-0.5 * (u * u + v * v) / (s * s)).exp() / (TAU * s * s);
    let moons = |x: f64, y: f64| {
        let arcs = |a: f64| {
            let (sin, cos) = a.sin_cos();
            gauss(x - cos, y - sin, 0.1) + gauss(x - 1.0 + cos, y - 0.5 + sin, 0.1)
        };
        integrate(0.0, PI, |a| arcs(a) / TAU)
    };
    let roll = |x: f64, y: f64| {
        let at = |t: f64| gauss(x - t * t.cos() / 5.0, y - t * t.sin() / 5.0, 0.2);
        integrate(1.5 * PI, 4.5 * PI, |t| at(t) / (3.0 * PI))
    };
    // Inside, on an end, between, outside, and 18 σ beyond an end and beside an arc.
    for (x, y) in [(0.3, 0.2), (1.0, 0.0), (0.5, 0.25), (-0.8, 0.7), (1.5, 1.0), (1.0, -1.8), (-2.8, 0.0)] {
        let (found, exact) = (Toy::moons(0.1).unwrap().log_density_at(&[x, y]), moons(x, y).ln());
        assert!((found - exact).abs() < 1e-8, "moons at {x}, {y}: {found}, {exact}");
    }
    for (x, y) in [(0.0, 0.0), (0.0, 2.8), (2.0, -1.0), (-1.5, 4.0), (6.0, 1.0)] {
        let (found, exact) = (Toy::swiss_roll().log_density_at(&[x, y]), roll(x, y).ln());
        assert!((found - exact).abs() < 1e-8, "swiss roll at {x}, {y}: {found}, {exact}");
    }
}

/// The spirals' uniform number, integrated as it is drawn.
#[test]
fn the_spirals_blur_is_a_square_and_a_gaussian() {
    let (nodes, weights) = gauss_legendre(16);
    let side = |u: f64| {
        let v = |node: f64| (1.0 + node) / 12.0;
        let term = |(x, w): (&f64, &f64)| 0.5 * w * (-0.5 * ((u - v(*x)) / 0.1).powi(2)).exp();
        nodes.iter().zip(&weights).map(term).sum::<f64>() / (TAU.sqrt() * 0.1)
    };
    let branch = |x: f64, y: f64| {
        integrate(0.0, 3.0 * PI, |n| {
            side(x + n * n.cos() / 3.0) * side(y - n * n.sin() / 3.0) * 2.0 * n / (9.0 * PI * PI)
        })
    };
    for (x, y) in [(0.0, 0.0), (0.1, 0.2), (-1.3, 0.8), (2.0, 2.0), (3.6, 0.1), (-3.7, 1.5)] {
        let exact = (0.5 * (branch(x, y) + branch(-x, -y))).ln();
        let found = Toy::two_spirals().log_density_at(&[x, y]);
        assert!((found - exact).abs() < 1e-8, "{x}, {y}: {found}, {exact}");
    }
}

#[test]
fn far_points_are_unlikely_and_never_nan() {
    for toy in smooth().into_iter().map(|s| s.0).chain([Toy::checkerboard()]) {
        let x = array![[30.0, 40.0], [-1e4, 3.0], [0.0, 1e20], [f32::MAX, f32::MIN], [1e-30, -1e-40]];
        let nats = toy.log_density(x.view()).unwrap();
        assert!(nats.iter().all(|v| !v.is_nan()), "{}: {nats}", toy.name());
        assert!(nats.iter().take(4).all(|&v| v < -1000.0), "{}: {nats}", toy.name());
    }
    // Where an arc is nearest, and where its end is, ln p is −d²/2σ² and a few logarithms.
    let moons = Toy::moons(0.1).unwrap();
    for far in [30.0f64, 300.0, 3000.0] {
        for (x, d) in [([0.5, far], far.hypot(0.5) - 1.0), ([-2.0 * far, -far], (2.0 * far - 1.0).hypot(far))]
        {
            let (found, lead) = (moons.log_density_at(&x), -0.5 * (d / 0.1).powi(2));
            assert!((found / lead - 1.0).abs() < 1e-3, "{x:?}: {found}, {lead}");
        }
    }
}

#[test]
fn the_checkerboard_has_ffjords_squares() {
    let board = Toy::checkerboard();
    let dark = array![[0.5, 0.5], [2.5, 2.5], [-1.0, -1.9], [-4.0, -4.0], [3.0, -1.0], [-3.0, 1.9]];
    assert!(board.log_density(dark.view()).unwrap().iter().all(|&v| v == -32f64.ln()));
    let light = array![[2.5, 0.5], [0.5, 2.5], [-1.0, 1.0], [4.0, 4.0], [-4.1, -4.1], [-3.0, 2.0]];
    assert!(board.log_density(light.view()).unwrap().iter().all(|&v| v == f64::NEG_INFINITY));
}

#[test]
fn samples_are_reproducible_and_have_prefixes() {
    for toy in smooth().into_iter().map(|s| s.0).chain([Toy::checkerboard()]) {
        let (few, many) = (toy.sample(3, &mut seeded(1)), toy.sample(50, &mut seeded(1)));
        assert_eq!(few, many.slice(ndarray::s![..3, ..]), "{}", toy.name());
        assert_ne!(few, toy.sample(3, &mut seeded(2)));
        assert_eq!(toy.sample(0, &mut seeded(1)).dim(), (0, 2));
        assert_eq!(toy.log_density(toy.sample(0, &mut seeded(1)).view()).unwrap().len(), 0);
    }
}

#[test]
fn modes_are_those_of_rings_and_grids() {
    let modes = Toy::grid25().modes().unwrap();
    assert_eq!((modes.centers.dim(), modes.sigma), ((25, 2), 0.05));
    assert_eq!(modes.centers.row(0), array![-4.0, -4.0]);
    assert_eq!(modes.centers.row(7), array![-2.0, 0.0]);
    let modes = Toy::ring8().modes().unwrap();
    assert!((&modes.centers.row(2) - &array![0.0, 1.0]).iter().all(|v| v.abs() < 1e-15));
    assert!((Toy::ffjord8().modes().unwrap().centers[[0, 0]] - 8f64.sqrt()).abs() < 1e-15);
    assert_eq!(tilted().modes(), None);
    assert_eq!(Toy::moons(0.1).unwrap().modes(), None);
    // A mixture given by its covariances has modes too, if they are all alike.
    let alike =
        Toy::mixture(&[3.0, 3.0], array![[0.0], [9.0]].view(), array![[[4.0]], [[4.0]]].view()).unwrap();
    assert_eq!(alike.modes().unwrap().sigma, 2.0);
}

#[test]
fn mixtures_of_other_dimensions() {
    // Three dimensions, overlapping: N(0, I) split in two equal halves is still N(0, I).
    let eye = Array3::from_shape_fn((2, 3, 3), |(_, i, j)| f64::from(i == j));
    let whole = Toy::mixture(&[0.4, 0.6], Array2::zeros((2, 3)).view(), eye.view()).unwrap();
    let entropy = 1.5 * (TAU * std::f64::consts::E).ln();
    assert!((whole.entropy().unwrap() - entropy).abs() < 1e-9);
    let at = whole.log_density(array![[1.0, -2.0, 0.5]].view()).unwrap()[0];
    assert!((at + 1.5 * TAU.ln() + 0.5 * 5.25).abs() < 1e-12);
    assert_eq!(whole.sample(4, &mut seeded(0)).dim(), (4, 3));
    // Four, overlapping: no quadrature; one component: closed form.
    let eye = Array3::from_shape_fn((2, 4, 4), |(_, i, j)| f64::from(i == j));
    let zeros = Array2::zeros((2, 4));
    assert_eq!(Toy::mixture(&[1.0, 1.0], zeros.view(), eye.view()).unwrap().entropy(), None);
    let one = ndarray::s![..1, .., ..];
    let single = Toy::mixture(&[5.0], zeros.slice(ndarray::s![..1, ..]), eye.slice(one)).unwrap();
    assert!((single.entropy().unwrap() - 2.0 * (TAU * std::f64::consts::E).ln()).abs() < 1e-12);
}

#[test]
fn very_narrow_curves_have_a_density_but_no_entropy() {
    let thin = Toy::moons(1e-4).unwrap();
    assert_eq!(thin.entropy(), None);
    // On a straight enough stretch: the arc's density 1/2π times the noise across it.
    let exact = -(TAU.ln()) - (TAU.sqrt() * 1e-4).ln();
    assert!((thin.log_density_at(&[0.0, 1.0]) - exact).abs() < 1e-6);
}

#[test]
fn bad_arguments_are_told() {
    let config = |toy: Result<Toy>, name: &str| match toy {
        Err(Error::Config { field, .. }) => assert_eq!(field, name),
        other => panic!("{name}: {other:?}"),
    };
    config(Toy::ring(0, 1.0, 0.1), "modes");
    config(Toy::ring(8, -1.0, 0.1), "radius");
    config(Toy::ring(8, 1.0, 0.0), "sigma");
    config(Toy::grid(0, 1.0, 0.1), "side");
    config(Toy::grid(5, f64::NAN, 0.1), "spacing");
    config(Toy::grid(5, 1.0, f64::INFINITY), "sigma");
    config(Toy::moons(0.0), "sigma");
    config(Toy::moons(1e-9), "sigma");
    config(Toy::concentric(&[], 0.1), "radii");
    config(Toy::concentric(&[1.0, 0.0], 0.1), "radii");
    let (mean, unit) = (array![[0.0]], array![[[1.0]]]);
    config(Toy::mixture(&[0.0], mean.view(), unit.view()), "weights");
    config(Toy::mixture(&[f64::INFINITY], mean.view(), unit.view()), "weights");
    config(Toy::mixture(&[1.0], mean.view(), array![[[-1.0]]].view()), "covariances");
    let shape = |toy: Result<Toy>, name: &str| {
        assert!(matches!(toy, Err(Error::Data(DataError::Shape { what, .. })) if what == name), "{name}");
    };
    shape(Toy::mixture(&[], Array2::zeros((0, 1)).view(), unit.view()), "means");
    shape(Toy::mixture(&[1.0, 2.0], mean.view(), unit.view()), "weights");
    shape(Toy::mixture(&[1.0], mean.view(), Array3::zeros((1, 1, 2)).view()), "covariances");
    let nan = Toy::mixture(&[1.0], array![[f64::NAN]].view(), unit.view());
    assert!(matches!(nan, Err(Error::Data(DataError::NonFinite { row: 0, column: 0, .. }))));

    let moons = Toy::moons(0.1).unwrap();
    assert!(matches!(moons.log_density(array![[1.0]].view()), Err(Error::Data(DataError::Shape { .. }))));
    let nan = array![[0.0, 0.0], [0.0, f32::NAN]];
    assert!(matches!(
        moons.log_density(nan.view()),
        Err(Error::Data(DataError::NonFinite { row: 1, column: 1, .. }))
    ));
}

#[test]
fn a_truth_answers_as_a_model_does() {
    let toy = Toy::moons(0.1).unwrap();
    let known: &dyn Distribution = &toy;
    let all = toy.sample(20_000, &mut seeded(3));
    assert_eq!(known.sample(20_000, &SampleOptions::default(), &mut seeded(3)).unwrap().x, all);
    let mut blocks = Vec::new();
    let mut sink = |x: ndarray::ArrayView2<f32>| {
        blocks.extend(x.iter().copied());
        std::ops::ControlFlow::Continue(())
    };
    known.sample_each(20_000, &SampleOptions::default(), &mut seeded(3), &mut sink).unwrap();
    assert_eq!(blocks, all.into_raw_vec_and_offset().0);
    let cold = SampleOptions { temperature: 0.5 };
    assert!(matches!(known.sample(1, &cold, &mut seeded(0)), Err(crate::Error::Config { .. })));
}

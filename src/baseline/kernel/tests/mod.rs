mod adaptive;
mod conditional;

use crate::error::DataError;
use std::f64::consts::TAU;

use ndarray::{Array2, array, s};

use super::objective::{TRIALS, scott, silverman};
use super::*;
use crate::baseline::covariance;
use crate::engine;
use crate::numeric::Real;
use crate::seeded;
use crate::worlds::Toy;

fn rows(toy: &Toy, n: usize, seed: u64) -> Dataset {
    Dataset::new(toy.sample(n, &mut seeded(seed))).unwrap()
}

fn fitted(bandwidth: Bandwidth, data: &Dataset) -> (KernelDensity, TrainReport) {
    let mut model =
        KernelDensity::new(KernelDensityConfig { dim: data.dim(), bandwidth, ..Default::default() }).unwrap();
    let report = model.train(data, &TrainOptions::default(), &mut seeded(0), &mut NoObserver).unwrap();
    (model, report)
}

/// ln (1/m) Σⱼ N(x; xⱼ, H) as it is defined, over the kernels but one; two columns.
fn naive(model: &KernelDensity, x: [f64; 2], but: Option<usize>) -> f64 {
    let h = model.covariance();
    let det = h[[0, 0]] * h[[1, 1]] - h[[0, 1]] * h[[1, 0]];
    let others: Vec<usize> = (0..model.rows().nrows()).filter(|j| Some(*j) != but).collect();
    let kernel = |&j: &usize| {
        let (u, v) = (x[0] - f64::from(model.rows()[[j, 0]]), x[1] - f64::from(model.rows()[[j, 1]]));
        let square = (h[[1, 1]] * u * u - 2.0 * h[[0, 1]] * u * v + h[[0, 0]] * v * v) / det;
        (-0.5 * square).exp() / (TAU * det.sqrt())
    };
    (others.iter().map(kernel).sum::<f64>() / others.len() as f64).ln()
}

fn point(x: &Array2<f32>, r: usize) -> [f64; 2] {
    [x[[r, 0]].into(), x[[r, 1]].into()]
}

#[test]
fn the_density_is_its_formula() {
    // More kernels than a block of tiles, and no multiple of the lanes.
    for n in [3, 15, 1_500] {
        let (model, _) = fitted(Bandwidth::Scott, &rows(&Toy::moons(0.1).unwrap(), n, 0));
        let x = Toy::moons(0.1).unwrap().sample(100, &mut seeded(1));
        let nats = model.score(x.view()).unwrap();
        for r in 0..100 {
            let want = naive(&model, point(&x, r), None);
            assert!((nats[r] - want).abs() < 1e-10 * (1.0 + want.abs()), "{n}: {} {want}", nats[r]);
        }
    }
}

/// Where every kernel underflows, the largest is taken out first.
#[test]
fn the_tails_are_a_gaussian_s() {
    let model = KernelDensity::from_parameters(
        &Dataset::new(array![[0.0, 0.0], [1.0, 0.0]]).unwrap(),
        Array2::eye(2).view(),
    )
    .unwrap();
    for x in [30.0, 60.0, 1e3, 1e6] {
        let nats = model.score(array![[x, 0.0]].view()).unwrap()[0];
        let d = f64::from(x) - 1.0;
        let want = -0.5 * d * d - TAU.ln() - 2f64.ln() + (-d - 0.5).exp().ln_1p();
        assert!((nats - want).abs() < 1e-12 * want.abs(), "{x}: {nats} {want}");
    }
    let far = model.score(array![[f32::MAX, f32::MIN]].view()).unwrap()[0];
    assert!(far < -1e70 && !far.is_nan());
    // Even where a square overflows.
    let narrow = Array2::eye(2) * 1e-280;
    let model =
        KernelDensity::from_parameters(&Dataset::new(array![[0.0, 0.0]]).unwrap(), narrow.view()).unwrap();
    assert_eq!(model.score(array![[1e30, 1.0]].view()).unwrap()[0], f64::NEG_INFINITY);
}

#[test]
fn leave_one_out_is_its_formula() {
    let data = rows(&Toy::moons(0.1).unwrap(), 300, 0);
    for bandwidth in [Bandwidth::Fixed(0.1), Bandwidth::Fixed(1e-4), Bandwidth::Silverman] {
        let mut model = KernelDensity::new(KernelDensityConfig { bandwidth, ..Default::default() }).unwrap();
        // All rows are scored: the batch holds them.
        let options = TrainOptions { batch: 300, ..TrainOptions::default() };
        let report = model.train(&data, &options, &mut seeded(0), &mut NoObserver).unwrap();
        let x = data.x().to_owned();
        if bandwidth != Bandwidth::Fixed(1e-4) {
            let want = -(0..300).map(|r| naive(&model, point(&x, r), Some(r))).sum::<f64>() / 300.0;
            assert!((report.loss[0] - want).abs() < 1e-10, "{} {want}", report.loss[0]);
        } else {
            assert!(report.loss[0].is_finite() && report.loss[0] > 1e3, "narrow kernels: {}", report.loss[0]);
        }
        assert_eq!(report.parts, [("bandwidth", vec![model.bandwidth()])]);
        assert_eq!((report.loss.len(), report.stop), (1, Stop::Completed));
    }
}

#[test]
fn the_rules_are_their_formulas() {
    let data = rows(&Toy::pinwheel(), 500, 0);
    let h = |bandwidth| fitted(bandwidth, &data).0.bandwidth();
    assert!((h(Bandwidth::Scott) - 500f64.powf(-1.0 / 6.0)).abs() < 1e-15);
    // In two columns the two rules are one.
    assert!((h(Bandwidth::Silverman) - h(Bandwidth::Scott)).abs() < 1e-15);
    assert_eq!(h(Bandwidth::Fixed(0.3)), 0.3);
    assert!((silverman(500, 1) - 375f64.powf(-0.2)).abs() < 1e-15);
    assert!((scott(500, 1) - 500f64.powf(-0.2)).abs() < 1e-15);
}

#[test]
fn cross_validation_finds_the_best_of_a_fine_grid() {
    // One mode, many narrow modes, a curve.
    for toy in [Toy::ring(1, 0.0, 1.0).unwrap(), Toy::grid25(), Toy::moons(0.1).unwrap()] {
        let data = rows(&toy, 1_200, 0);
        let (model, report) = fitted(Bandwidth::CrossValidated { rows: 1_200 }, &data);
        assert_eq!((report.loss.len(), report.stop), (2 * TRIALS, Stop::Completed));
        let least = |losses: &[f64]| losses.iter().copied().fold(f64::INFINITY, f64::min);
        let width =
            |loss: f64| report.parts[0].1[report.loss.iter().position(|&other| other == loss).unwrap()];
        assert_eq!(width(least(&report.loss)), model.bandwidth());
        // Kernels of the shape of the covariance come first: the shape of a given width.
        let best = least(&report.loss[..TRIALS]);
        let loss = |h| {
            let mut model = KernelDensity::new(KernelDensityConfig {
                bandwidth: Bandwidth::Fixed(h),
                ..Default::default()
            })
            .unwrap();
            let options = TrainOptions { batch: 1_200, ..TrainOptions::default() };
            model.train(&data, &options, &mut seeded(0), &mut NoObserver).unwrap().loss[0]
        };
        assert_eq!(loss(width(best)), best);
        for i in -20..=20 {
            let h = width(best) * 1.1f64.powi(i);
            assert!(loss(h) > best - 1e-4, "{}: {} at {h}, {best}", toy.name(), loss(h));
        }
    }
}

#[test]
fn cross_validation_chooses_between_the_covariance_and_its_diagonal() {
    let rng = &mut seeded(3);
    // Round modes along a slant, and one slanted mode.
    let modes = Array2::from_shape_fn((600, 2), |(r, _)| (r % 4) as f32 + 0.1 * f32::normal(rng));
    let slant = Array2::from_shape_simple_fn((600, 1), || f32::normal(rng));
    let slant = &slant + &Array2::from_shape_simple_fn((600, 2), || 0.2 * f32::normal(rng));
    for (x, diagonal) in [(modes, true), (slant, false)] {
        let (model, _) = fitted(Bandwidth::CrossValidated { rows: 600 }, &Dataset::new(x).unwrap());
        assert_eq!(model.covariance()[[0, 1]] == 0.0, diagonal, "{}", model.covariance());
    }
}

#[test]
fn what_each_rule_is_worth() {
    // A Gaussian is what the rules are for; on modes they are far too wide.
    let nll = |toy: &Toy, bandwidth| {
        let (model, _) = fitted(bandwidth, &rows(toy, 2_000, 0));
        -model.score(toy.sample(2_000, &mut seeded(5)).view()).unwrap().mean().unwrap()
    };
    let cross_validated = Bandwidth::CrossValidated { rows: 500 };
    let one = Toy::ring(1, 0.0, 1.0).unwrap();
    let gap = nll(&one, Bandwidth::Scott) - one.entropy().unwrap();
    assert!(gap < 0.08, "{gap}");
    assert!((nll(&one, cross_validated) - nll(&one, Bandwidth::Scott)).abs() < 0.03);
    let grid = Toy::grid25();
    assert!(nll(&grid, Bandwidth::Scott) > 3.0);
    let gap = nll(&grid, cross_validated) - grid.entropy().unwrap();
    assert!(gap < 0.5, "{gap}");
}

#[test]
fn fewer_scored_rows_estimate_the_same() {
    let data = rows(&Toy::moons(0.1).unwrap(), 2_000, 0);
    let h = |rows| fitted(Bandwidth::CrossValidated { rows }, &data).0.bandwidth();
    let (some, all) = (h(400), h(2_000));
    assert_ne!(some, all);
    assert!((some / all).ln().abs() < 0.2, "{some} {all}");
}

#[test]
fn held_out_rows_are_scored_once() {
    let data = rows(&Toy::moons(0.1).unwrap(), 1_000, 0);
    let mut model =
        KernelDensity::new(KernelDensityConfig { bandwidth: Bandwidth::Scott, ..Default::default() })
            .unwrap();
    let options = TrainOptions { validation: 0.2, ..TrainOptions::default() };
    let report = model.train(&data, &options, &mut seeded(0), &mut NoObserver).unwrap();
    assert_eq!((model.rows().dim(), report.validation.len()), ((800, 2), 1));
    let (_, held_out, _) = engine::split(&data, &options, &mut seeded(0)).unwrap();
    assert_eq!(report.validation[0], (1, -model.score(held_out.0.view()).unwrap().sum() / 200.0));
}

#[test]
fn breaking_off_keeps_the_best_so_far() {
    let data = rows(&Toy::grid25(), 500, 0);
    let mut model = KernelDensity::new(KernelDensityConfig::default()).unwrap();
    let mut observer =
        |step: &Step<'_>| if step.step == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let report = model.train(&data, &TrainOptions::default(), &mut seeded(0), &mut observer).unwrap();
    assert_eq!((report.stop, report.loss.len()), (Stop::Interrupted, 5));
    assert_eq!(model.bandwidth(), report.parts[0].1[4], "on the grid each narrower one is better still");
}

#[test]
fn degenerate_rows_are_errors_or_bounded() {
    let by_rule = |x: Array2<f32>, bandwidth| {
        let mut model =
            KernelDensity::new(KernelDensityConfig { dim: x.ncols(), bandwidth, ..Default::default() })
                .unwrap();
        let done =
            model.train(&Dataset::new(x).unwrap(), &TrainOptions::default(), &mut seeded(0), &mut NoObserver);
        (model, done)
    };
    let train = |x| by_rule(x, Bandwidth::CrossValidated { rows: 1000 });
    let line = Array2::from_shape_fn((50, 3), |(r, c)| (r as f32) * (c as f32 + 1.0));
    match by_rule(line.clone(), Bandwidth::Scott) {
        (model, Err(Error::Data(DataError::SingularCovariance { sd }))) => {
            assert!(sd.len() == 3 && (sd[1] / sd[0] - 2.0).abs() < 1e-12);
            assert_eq!(model.rows(), Array2::<f32>::zeros((1, 3)), "as it was");
        }
        (_, other) => panic!("{other:?}"),
    }
    let few = Toy::moons(0.1).unwrap().sample(2, &mut seeded(0));
    let scott = by_rule(few.clone(), Bandwidth::Scott).1;
    assert!(matches!(scott, Err(Error::Data(DataError::TooFewRows { got: 2, least: 3, .. }))));
    // Kernels along the axes need no more rows than two.
    assert!(train(line).1.is_ok() && train(few).1.is_ok());
    let constant = Array2::from_shape_fn((20, 2), |(r, c)| if c == 1 { 3.0 } else { r as f32 });
    assert!(matches!(train(constant).1, Err(Error::Data(DataError::ConstantColumn { column: 1, .. }))));
    // Each row twice: cross-validation ends at its narrowest, and nothing is infinite.
    let x = Toy::moons(0.1).unwrap().sample(100, &mut seeded(0));
    let (model, done) = train(ndarray::concatenate![ndarray::Axis(0), x, x]);
    assert!(done.unwrap().loss.iter().all(|v| v.is_finite()));
    assert!(model.bandwidth() < 2e-4);
    assert!(model.score(x.view()).unwrap().iter().all(|v| v.is_finite()));
}

#[test]
fn bad_settings_are_errors() {
    let make =
        |dim, bandwidth| KernelDensity::new(KernelDensityConfig { dim, bandwidth, ..Default::default() });
    assert!(matches!(
        make(0, Bandwidth::Scott),
        Err(Error::Config { field: "KernelDensityConfig::dim", .. })
    ));
    for bad in [Bandwidth::Fixed(0.0), Bandwidth::Fixed(f64::NAN), Bandwidth::CrossValidated { rows: 0 }] {
        let field = "KernelDensityConfig::bandwidth";
        assert!(matches!(make(2, bad), Err(Error::Config { field: f, .. }) if f == field), "{bad:?}");
    }
    let data = rows(&Toy::pinwheel(), 10, 0);
    let given = |covariance: &Array2<f64>| KernelDensity::from_parameters(&data, covariance.view());
    assert!(matches!(given(&Array2::eye(3)), Err(Error::Data(DataError::Shape { what: "covariance", .. }))));
    for bad in [array![[1.0, 2.0], [2.0, 1.0]], array![[1.0, 0.5], [0.4, 1.0]]] {
        assert!(matches!(given(&bad), Err(Error::Config { field: "covariance", .. })));
    }
}

#[test]
fn other_dimensions() {
    // ∫ p = 1 in one dimension, by the trapezoidal rule.
    let x = Toy::grid25().sample(400, &mut seeded(0)).slice(s![.., ..1]).to_owned();
    let (model, _) = fitted(Bandwidth::Silverman, &Dataset::new(x).unwrap());
    let points = Array2::from_shape_fn((4_001, 1), |(i, _)| (i as f32 - 2_000.0) * 0.01);
    let mass: f64 = 0.01 * model.score(points.view()).unwrap().mapv(f64::exp).sum();
    assert!((mass - 1.0).abs() < 1e-6, "{mass}");
    // Five: a Gaussian's entropy is 2.5 ln 2πe.
    let normal = |n, seed| {
        let mut rng = seeded(seed);
        Array2::from_shape_simple_fn((n, 5), || <f32 as crate::numeric::Real>::normal(&mut rng))
    };
    let (model, _) =
        fitted(Bandwidth::CrossValidated { rows: 500 }, &Dataset::new(normal(3_000, 0)).unwrap());
    let nll = -model.score(normal(1_000, 1).view()).unwrap().mean().unwrap();
    let entropy = 2.5 * (TAU.ln() + 1.0);
    assert!((0.0..0.5).contains(&(nll - entropy)), "{nll} {entropy}");
}

#[test]
fn samples_are_rows_and_noise() {
    let data = rows(&Toy::moons(0.1).unwrap(), 500, 0);
    let (model, _) = fitted(Bandwidth::Fixed(0.5), &data);
    let n = 40_000;
    let draw = |temperature| model.sample(n, &SampleOptions { temperature }, &mut seeded(0)).unwrap().x;
    // Σ of the samples is that of the rows, n − 1 against n, and H T².
    for temperature in [1.0, 2.0] {
        let x = draw(temperature);
        let mean = x.mapv(f64::from).mean_axis(Axis(0)).unwrap();
        let found = covariance(x.view(), mean.as_slice().unwrap(), n as f64 - 1.0);
        let spread = 499.0 / 500.0 + 0.25 * temperature * temperature;
        let want = (model.covariance() / 0.25) * spread;
        assert!((&found - &want).iter().all(|v| v.abs() < 0.03 * spread), "{found} {want}");
    }
    // Hardly warm, they are rows.
    let cold = draw(1e-9);
    let is_row = |x: ndarray::ArrayView1<f32>| {
        data.x().rows().into_iter().any(|row| (&row - &x).iter().all(|v| v.abs() < 1e-6))
    };
    assert!(cold.rows().into_iter().take(300).all(is_row));
}

use rand::Rng as _;

use super::*;
use crate::model::Condition;

const ADAPTIVE: Bandwidth = Bandwidth::Adaptive { rows: 1000 };

/// Student's t with 2 degrees of freedom in each column: long tails.
fn tailed(n: usize, dim: usize, seed: u64) -> Array2<f32> {
    let rng = &mut seeded(seed);
    Array2::from_shape_simple_fn((n, dim), || {
        let u = rng.random_range(1e-6..1.0 - 1e-6f64);
        ((2.0 * u - 1.0) / (2.0 * u * (1.0 - u)).sqrt()) as f32
    })
}

/// ln (1/m) Σⱼ N(x; xⱼ, λⱼ² H) over some of the kernels, of two columns.
fn naive_over(model: &KernelDensity, x: [f64; 2], kernels: std::ops::Range<usize>) -> f64 {
    let h = model.covariance();
    let det = h[[0, 0]] * h[[1, 1]] - h[[0, 1]] * h[[1, 0]];
    let kernel = |j: usize| {
        let (u, v) = (x[0] - f64::from(model.rows()[[j, 0]]), x[1] - f64::from(model.rows()[[j, 1]]));
        let square = (h[[1, 1]] * u * u - 2.0 * h[[0, 1]] * u * v + h[[0, 0]] * v * v) / det;
        let width = model.width(j);
        (-0.5 * square / (width * width)).exp() / (TAU * det.sqrt() * width * width)
    };
    (kernels.clone().map(kernel).sum::<f64>() / kernels.len() as f64).ln()
}

#[test]
fn adaptive_density_is_its_formula() {
    let data = Dataset::new(tailed(601, 2, 0)).unwrap();
    let (model, report) = fitted(ADAPTIVE, &data);
    assert_eq!(report.loss.len(), report.parts[0].1.len());
    let x = tailed(100, 2, 1);
    let nats = model.score(x.view()).unwrap();
    for r in 0..100 {
        let want = naive_over(&model, point(&x, r), 0..601);
        assert!((nats[r] - want).abs() < 1e-9 * (1.0 + want.abs()), "{} {want}", nats[r]);
    }
    // Far from all rows the widest kernel is what remains.
    let far = model.score(array![[1e5, -3e4]].view()).unwrap()[0];
    assert!(far.is_finite() && far < -30.0, "{far}");
}

#[test]
fn adaptive_widths_are_distances_to_neighbors() {
    let data = Dataset::new(tailed(300, 2, 2)).unwrap();
    let (model, _) = fitted(ADAPTIVE, &data);
    assert!(model.exponent > 0.0, "tails want kernels of different widths");
    let y = |r: usize| model.kernels.centers.lanes.row(r).collect::<Vec<_>>();
    let tenth = |r: usize| {
        let square = |j: usize| y(r).iter().zip(y(j)).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let mut squares: Vec<f64> = (0..300).filter(|&j| j != r).map(square).collect();
        squares.sort_by(f64::total_cmp);
        squares[9].sqrt()
    };
    let ln: Vec<f64> = (0..300).map(|r| model.exponent * tenth(r).ln()).collect();
    let mean = ln.iter().sum::<f64>() / 300.0;
    for (r, ln) in ln.iter().enumerate() {
        assert!((model.width(r).ln() - (ln - mean)).abs() < 1e-9, "{r}");
    }
}

#[test]
fn adaptive_kernels_are_ahead_in_the_tails() {
    let truth = |x: &Array2<f32>| {
        x.mapv(|x| -1.5 * (0.5 * f64::from(x).powi(2)).ln_1p() - 0.5 * 8f64.ln()).sum() / x.nrows() as f64
    };
    for seed in 0..3 {
        let data = Dataset::new(tailed(1_000, 2, seed)).unwrap();
        let test = tailed(1_000, 2, 100 + seed);
        let gap =
            |bandwidth| truth(&test) - fitted(bandwidth, &data).0.score(test.view()).unwrap().mean().unwrap();
        let (adaptive, alike) = (gap(ADAPTIVE), gap(Bandwidth::CrossValidated { rows: 1000 }));
        assert!((0.0..0.25).contains(&adaptive) && adaptive + 0.2 < alike, "{adaptive} {alike}");
    }
}

/// With its own share in the covariance, a row looks near to the others along it: 13 columns that have nothing to do
/// with each other would get slanted kernels.
#[test]
fn adaptive_shape_is_not_that_of_the_rows_left_out() {
    for seed in 0..3 {
        let rng = &mut seeded(seed);
        let x = Array2::from_shape_simple_fn((70, 13), || f32::normal(rng));
        let (model, _) = fitted(ADAPTIVE, &Dataset::new(x).unwrap());
        assert_eq!(model.covariance()[[0, 1]], 0.0, "{seed}");
    }
    let rng = &mut seeded(3);
    let slant = Array2::from_shape_simple_fn((300, 1), || f32::normal(rng));
    let slant = &slant + &Array2::from_shape_simple_fn((300, 2), || 0.2 * f32::normal(rng));
    assert!(fitted(ADAPTIVE, &Dataset::new(slant).unwrap()).0.covariance()[[0, 1]] > 0.0);
}

#[test]
fn adaptive_draws_are_as_wide_as_their_kernels() {
    let rng = &mut seeded(4);
    // A dense and a sparse half.
    let x = Array2::from_shape_fn((400, 2), |(r, _)| {
        if r < 200 { 0.1 * f32::normal(rng) } else { 40.0 + f32::normal(rng) }
    });
    let (model, _) = fitted(ADAPTIVE, &Dataset::new(x).unwrap());
    let n = 40_000;
    let drawn = model.sample(n, &SampleOptions::default(), &mut seeded(5)).unwrap().x;
    for half in 0..2 {
        let rows = half * 200..(half + 1) * 200;
        let own: Vec<f64> = drawn
            .rows()
            .into_iter()
            .filter(|x| (x[0] > 20.0) == (half == 1))
            .map(|x| f64::from(x[0]))
            .collect();
        let spread = |x: &[f64]| {
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64
        };
        let centers: Vec<f64> = rows.clone().map(|r| f64::from(model.rows()[[r, 0]])).collect();
        let kernels = rows.map(|r| model.width(r).powi(2)).sum::<f64>() / 200.0 * model.covariance()[[0, 0]];
        let want = spread(&centers) + kernels;
        assert!((spread(&own) / want - 1.0).abs() < 0.05, "{half}: {} {want}", spread(&own));
    }
}

#[test]
fn adaptive_kernels_of_a_class_are_its_own() {
    let x = tailed(400, 2, 6);
    let classes = (0..400).map(|r| u32::from(r % 4 == 0)).collect();
    let data = Dataset::new(x).unwrap().with_condition(Condition::Class(classes)).unwrap();
    let condition = crate::model::ConditionKind::Class { classes: 2 };
    let config = KernelDensityConfig { bandwidth: ADAPTIVE, condition, ..Default::default() };
    let mut model = KernelDensity::new(config).unwrap();
    model.train(&data, &TrainOptions::default(), &mut seeded(0), &mut NoObserver).unwrap();
    let test = tailed(20, 2, 7);
    for (class, rows) in [(0, 0..300), (1, 300..400)] {
        let given = Condition::Class(ndarray::arr1(&[class]));
        let given = model.given(&given).unwrap();
        let nats = given.log_likelihood(test.view(), &LikelihoodOptions::default()).unwrap();
        for (r, nats) in nats.nats().unwrap().iter().enumerate() {
            let want = naive_over(&model, point(&test, r), rows.clone());
            assert!((nats - want).abs() < 1e-9 * (1.0 + want.abs()), "{class}: {nats} {want}");
        }
    }
}

#[test]
fn adaptive_takes_any_rows() {
    let train = |x: Array2<f32>| fitted(ADAPTIVE, &Dataset::new(x).unwrap()).0;
    let moons = |n| Toy::moons(0.1).unwrap().sample(n, &mut seeded(0));
    for n in [2, 3, 5, 9] {
        let x = moons(n);
        assert!(train(x.clone()).score(x.view()).unwrap().iter().all(|v| v.is_finite()), "{n} rows");
    }
    // Each row twelve times: the tenth neighbor is the row itself.
    let repeated = Array2::from_shape_fn((240, 2), |(r, c)| moons(20)[[r / 12, c]]);
    assert!(train(repeated.clone()).score(repeated.view()).unwrap().iter().all(|v| v.is_finite()));
    let line = Array2::from_shape_fn((50, 3), |(r, c)| (r as f32) * (c as f32 + 1.0));
    assert!(train(line.clone()).score(line.view()).unwrap().iter().all(|v| v.is_finite()));
    // A column that varies in one row alone is constant in a fold.
    let rare = Array2::from_shape_fn((30, 2), |(r, c)| if c == 0 { r as f32 } else { f32::from(r == 7) });
    assert!(train(rare.clone()).score(rare.view()).unwrap().iter().all(|v| v.is_finite()));
    // More columns than rows.
    let rng = &mut seeded(8);
    let wide = Array2::from_shape_simple_fn((12, 30), || f32::normal(rng));
    assert!(train(wide.clone()).score(wide.view()).unwrap().iter().all(|v| v.is_finite()));
}

#[cfg(feature = "safetensors")]
#[test]
fn adaptive_files_keep_the_bits() {
    use crate::model::file::Persist;
    let (model, _) = fitted(ADAPTIVE, &Dataset::new(tailed(300, 2, 9)).unwrap());
    let again = KernelDensity::from_bytes(&model.to_bytes().unwrap()).unwrap();
    let x = tailed(50, 2, 10);
    assert_eq!(again.score(x.view()).unwrap(), model.score(x.view()).unwrap());
    assert!(model.exponent > 0.0 && again.widths == model.widths);
}

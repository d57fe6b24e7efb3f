use ndarray::{Array1, Array2, Axis, array};
use rand::Rng as _;

use super::map::ColumnMap;
use super::*;
use crate::baseline::{GaussianMixture, GaussianMixtureConfig};
use crate::hybrid::{Latent, LatentConfig};
use crate::numeric::normal::ln_density;
use crate::numeric::quadrature::gauss_legendre;
use crate::numeric::rng::{Rng, seeded};

type Draw = fn(&mut Rng) -> f32;

fn income(rng: &mut Rng) -> f32 {
    (10.3 + 0.9 * f64::normal(rng)).exp() as f32
}

fn gain(rng: &mut Rng) -> f32 {
    if rng.random_bool(0.8) { 0.0 } else { (f64::normal(rng) + 7.0).exp() as f32 }
}

fn cauchy(rng: &mut Rng) -> f32 {
    (f64::normal(rng) / f64::normal(rng)) as f32
}

fn children(rng: &mut Rng) -> f32 {
    (0..6).filter(|_| rng.random_bool(0.2)).count() as f32
}

/// A spike in the middle of other numbers.
fn spike(rng: &mut Rng) -> f32 {
    if rng.random_bool(0.3) { 0.5 } else { f32::normal(rng) }
}

/// Prices in steps of a quarter.
fn quarters(rng: &mut Rng) -> f32 {
    ((100.0 + 20.0 * f64::normal(rng)) * 4.0).round() as f32 / 4.0
}

fn share(rng: &mut Rng) -> f32 {
    rng.random::<f32>().powi(2).max(1e-6)
}

fn values(n: usize, draw: Draw) -> Vec<f32> {
    let mut rng = seeded(4);
    (0..n).map(|_| draw(&mut rng)).collect()
}

fn fit(column: &Column, values: &[f32]) -> ColumnMap {
    column.fit(values, &mut seeded(5)).unwrap()
}

fn scaled(scale: ColumnScale) -> Column {
    Column { scale, ..Column::default() }
}

/// Columns of every kind, with what they are taken for.
fn kinds() -> Vec<(Column, Draw, &'static str)> {
    let step = Some(Step { width: 0.25, offset: 0.0 });
    vec![
        (Column::default(), |rng| f32::normal(rng), "numbers"),
        (Column::default(), income, "numbers above 0, logarithmic"),
        (
            Column::default(),
            gain,
            "numbers above 0, logarithmic, gaussianized, and with a probability of their own 0",
        ),
        (Column::default(), cauchy, "numbers with heavy tails, gaussianized"),
        (Column::default(), children, "6 values, each with its probability: 0, 1, 2, 3, 4, 5"),
        (Column::default(), spike, "numbers, gaussianized, and with a probability of their own 0.5"),
        (Column::default(), share, "numbers between 0 and 1"),
        (scaled(ColumnScale::Robust), cauchy, "numbers"),
        (scaled(ColumnScale::Gaussianized), share, "numbers with heavy tails, gaussianized"),
        (Column { step, ..Column::default() }, quarters, "numbers above 0, in steps of 0.25"),
        (Column { low: Some(-1e6), ..scaled(ColumnScale::Affine) }, cauchy, "numbers above -1000000"),
        (Column { high: Some(2.0), ..Column::default() }, share, "numbers below 2"),
    ]
}

#[test]
fn columns_are_taken_for_what_they_are() {
    for (column, draw, says) in kinds() {
        assert_eq!(fit(&column, &values(3_000, draw)).to_string(), says, "{column:?}");
    }
}

/// z, and what the value is worth where z is N(0, 1).
#[test]
fn whole_columns_are_those_without_any_fraction() {
    let ones = Some(Step { width: 1.0, offset: 0.0 });
    let stepped = |atoms: Atoms| Column { step: ones, atoms, ..Column::default() };
    let counts = |rng: &mut Rng| income(rng).round();
    assert!(fit(&stepped(Atoms::Found), &values(500, children)).is_whole());
    assert!(fit(&stepped(Atoms::Without), &values(500, counts)).is_whole());
    assert!(!fit(&stepped(Atoms::At(vec![0.5])), &values(500, counts)).is_whole());
    assert!(!fit(&Column::default(), &values(500, counts)).is_whole(), "without a grid, fractions are drawn");
    let gaps: Vec<f32> = values(500, children).into_iter().chain([crate::tables::MISSING; 20]).collect();
    assert!(fit(&stepped(Atoms::Found), &gaps).is_whole());
}

fn encoded(map: &ColumnMap, x: f32, v: f64) -> (f32, f64) {
    let (z, nats) = map.encode(x, v);
    (z, ln_density(z.into()) + nats)
}

/// Atoms have latents that depend on the noise, and a probability that does not.
fn is_atom(map: &ColumnMap, x: f32) -> bool {
    let ((low, nats), (high, same)) = (encoded(map, x, 0.1), encoded(map, x, 0.9));
    low != high && (nats - same).abs() < 1e-12 * (1.0 + nats.abs())
}

#[test]
fn every_value_comes_back() {
    for (column, draw, says) in kinds() {
        let values = values(3_000, draw);
        let map = fit(&column, &values);
        let mut rng = seeded(6);
        for &x in &values {
            let (z, nats) = encoded(&map, x, rng.random());
            assert!(nats.is_finite() && z.is_finite(), "{says}: {x}");
            let back = map.decode(z);
            // An atom or a place on a grid comes back as it was; a number as well as the digits of z in f32 tell it, next to an
            // atom's interval less well.
            let digits = 3e-7 * (1.0 + f64::from(z).abs()) * (ln_density(z.into()) - nats).exp();
            let felt = if column.step.is_some() || is_atom(&map, x) {
                0.0
            } else {
                digits + 1e-6 * f64::from(x.abs())
            };
            assert!(f64::from(back - x).abs() <= felt, "{says}: {back} for {x}");
        }
    }
}

#[test]
fn latents_of_the_training_rows_are_near_to_normal() {
    for (column, draw, says) in kinds() {
        // A power law in units that are not bent stays one.
        if column.scale == ColumnScale::Robust || column.scale == ColumnScale::Affine {
            continue;
        }
        let values = values(5_000, draw);
        let map = fit(&column, &values);
        let mut rng = seeded(6);
        let z: Vec<f64> = values.iter().map(|&x| map.encode(x, rng.random()).0.into()).collect();
        let mean = z.iter().sum::<f64>() / 5e3;
        let variance = z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / 5e3;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.1, "{says}: {mean}, {variance}");
    }
}

/// Σ over atoms and ∫ over the rest of what a column says of its values.
#[test]
fn columns_integrate_to_one() {
    let (nodes, weights) = gauss_legendre(20);
    for (column, draw, says) in kinds() {
        let values = values(3_000, draw);
        let map = fit(&column, &values);
        let mut different = values.clone();
        different.sort_by(f32::total_cmp);
        different.dedup();
        let atoms = different.iter().filter(|&&x| is_atom(&map, x));
        let mut total: f64 = atoms.map(|&x| encoded(&map, x, 0.5).1.exp()).sum();
        // Cut at the quantiles of z, so that from one cut to the next the density changes little. Without noise a number
        // on a grid has the density of the spread ones.
        let cuts: Vec<f64> =
            (-300..=300).map(|k| f64::from(k) * 0.02).map(|z| map.decode(z as f32).into()).collect();
        for pair in cuts.windows(2).filter(|pair| says.starts_with("numbers") && pair[0] < pair[1]) {
            let half = 0.5 * (pair[1] - pair[0]);
            let at = |node: f64| match (pair[0] + half * (1.0 + node)) as f32 {
                x if is_atom(&map, x) => 0.0,
                x => encoded(&map, x, 0.5).1.exp(),
            };
            total += half * nodes.iter().zip(&weights).map(|(&node, weight)| weight * at(node)).sum::<f64>();
        }
        assert!((total - 1.0).abs() < 2e-3, "{says}: {total}");
    }
}

/// Counts whose greatest value is a single row: a greater one is improbable, and not impossible.
#[test]
fn counts_go_on_beyond_the_greatest_of_the_rows() {
    let poisson = |rng: &mut Rng| {
        let (mut count, mut product) = (0.0, rng.random::<f64>());
        while product > (-1.3f64).exp() {
            product *= rng.random::<f64>();
            count += 1.0;
        }
        count as f32
    };
    let step = Some(Step { width: 1.0, offset: 0.0 });
    let column = Column { step, ..Column::default() };
    for seed in 0..20 {
        let mut rng = seeded(seed);
        let values: Vec<f32> = (0..2_000).map(|_| poisson(&mut rng)).collect();
        let most = values.iter().copied().fold(0.0, f32::max);
        let map = fit(&column, &values);
        let open = values.iter().filter(|&&x| x == most).count() == 1;
        assert_eq!(map.to_string().starts_with("numbers above 0"), open, "{map}");
        let probability = |x: f32| {
            let nats = |v: f64| encoded(&map, x, v).1;
            (0..100).map(|k| nats((f64::from(k) + 0.5) / 100.0).exp()).sum::<f64>() / 100.0
        };
        // Nothing is lost between atoms and numbers, but for numbers on the place of an atom.
        let total: f64 = (0..60u8).map(|x| probability(x.into())).sum();
        assert!(total < 1.0 + 1e-6 && total > 0.995, "{map}: {total}");
        assert_eq!(probability(most + 1.0) > 0.0, open);
        assert!(probability(most + 1.0) < 3e-3 && encoded(&map, -1.0, 0.5).1 == f64::NEG_INFINITY);
        let drawn: Vec<f32> = (0..20_000).map(|_| map.decode(f32::normal(&mut rng))).collect();
        assert!(drawn.iter().all(|x| *x >= 0.0 && x.fract() == 0.0));
    }
}

/// The distributional transform: the share of N(0, 1) that decodes to an atom is its probability.
#[test]
fn atoms_are_as_probable_as_they_are_drawn() {
    for draw in [gain, children, spike] {
        let values = values(3_000, draw);
        let map = fit(&Column::default(), &values);
        let mut rng = seeded(9);
        let drawn: Vec<f32> = (0..100_000).map(|_| map.decode(f32::normal(&mut rng))).collect();
        let often = *values.iter().max_by_key(|&&x| values.iter().filter(|&&y| y == x).count()).unwrap();
        let frequency = drawn.iter().filter(|&&x| x == often).count() as f64 / 1e5;
        let probability = encoded(&map, often, 0.3).1.exp();
        assert!((frequency - probability).abs() < 0.006, "{often}: {frequency}, {probability}");
    }
}

/// For any model of z: shares of numbers drawn too wide and too far to the right, and of z that never reach an interval.
#[test]
fn calibrated_atoms_are_drawn_as_often_as_they_are() {
    let models: [Draw; 4] = [
        |rng| 1.3 * f32::normal(rng) + 0.2,
        |rng| rng.random::<f32>() + 0.9,
        |rng| f32::normal(rng).abs(),
        |rng| 0.01 * f32::normal(rng) - 0.7,
    ];
    for draw in [gain, children, spike] {
        let values = values(3_000, draw);
        let often = *values.iter().max_by_key(|&&x| values.iter().filter(|&&y| y == x).count()).unwrap();
        let share = values.iter().filter(|&&x| x == often).count() as f64 / 3e3;
        for model in models {
            let mut rng = seeded(7);
            let mut z = || (0..40_000).map(|_| model(&mut rng)).collect::<Vec<f32>>();
            let frequency = |map: &ColumnMap, z: &[f32]| {
                z.iter().filter(|&&z| map.decode(z) == often).count() as f64 / z.len() as f64
            };
            let mut map = fit(&Column::default(), &values);
            let (mut learned, others) = (z(), z());
            assert!((frequency(&map, &learned) - share).abs() > 0.02);
            learned.sort_by(f32::total_cmp);
            map.calibrate(&learned);
            assert!((frequency(&map, &others) - share).abs() < 0.01, "{often}: {share}");
            // And the values still come back.
            for &x in &values[..200] {
                let back = map.decode(map.encode(x, rng.random()).0);
                assert!((back - x).abs() <= 1e-3 * x.abs(), "{back} for {x}");
            }
        }
    }
}

#[test]
fn models_that_have_learned_nothing_leave_maps_that_work() {
    for draw in [gain, children, spike] {
        let values = values(3_000, draw);
        for z in [-1e30, -40.0, 0.0, 40.0, 1e30] {
            let mut map = fit(&Column::default(), &values);
            map.calibrate(&[z; 1000]);
            for &x in &values[..100] {
                let (z, nats) = map.encode(x, 0.3);
                assert!(z.is_finite() && nats.is_finite(), "{x}: {z}, {nats}");
            }
        }
    }
}

#[test]
fn far_rows_have_finite_latents_and_impossible_ones_no_probability() {
    let map = fit(&Column::default(), &values(3_000, gain));
    for x in [1e-30, 1e30, f32::MAX] {
        let (z, nats) = map.encode(x, 0.5);
        assert!(z.is_finite() && nats.is_finite(), "{x}: {z}, {nats}");
    }
    assert_eq!(map.encode(-1.0, 0.5).1, f64::NEG_INFINITY);
    for z in [-1e30, -40.0, 40.0, 1e30] {
        assert!(map.decode(z).is_finite() && map.decode(z) >= 0.0, "{z}");
    }
    let map = fit(&Column::default(), &values(3_000, children));
    assert_eq!(map.encode(2.5, 0.5).1, f64::NEG_INFINITY);
    assert_eq!([map.decode(-50.0), map.decode(50.0)], [0.0, 5.0]);
}

#[test]
fn what_is_said_of_a_column_is_checked() {
    let fails = |column: Column| column.fit(&[-1.0, 2.0, 3.0], &mut seeded(0)).is_err();
    let plain = || Column { atoms: Atoms::Without, ..Column::default() };
    assert!(fails(Column { low: Some(-0.5), ..plain() }) && fails(Column { high: Some(2.5), ..plain() }));
    assert!(fails(Column { scale: ColumnScale::Logarithmic, ..plain() }));
    assert!(fails(Column { atoms: Atoms::Among(vec![2.0, 3.0]), ..plain() }));
    assert!(fails(Column { atoms: Atoms::At(vec![f32::NAN]), ..plain() }));
    assert!(!fails(Column { low: Some(-1.5), high: Some(3.5), ..plain() }));

    let refused = |column: Column| ColumnsConfig { dim: 1, columns: vec![column] }.validate().is_err();
    assert!(refused(Column { low: Some(1.0), high: Some(1.0), ..plain() }));
    assert!(refused(Column { high: Some(f64::NAN), ..plain() }));
    assert!(refused(Column { step: Some(Step { width: 0.0, offset: 0.0 }), ..plain() }));
    assert!(!refused(plain()));
    assert!(ColumnsConfig { dim: 3, columns: vec![Column::default()] }.validate().is_err());
}

/// Independent columns, exactly: entropies in closed form.
#[test]
fn columns_alone_have_the_entropy_of_independent_columns() {
    let rows = |n: usize, seed: u64| {
        let mut rng = seeded(seed);
        Array2::from_shape_fn((n, 3), |(_, column)| [income, gain, children][column](&mut rng))
    };
    let mut model = Columns::new(ColumnsConfig { dim: 3, columns: Vec::new() }).unwrap();
    model.fit(&Dataset::new(rows(20_000, 1)).unwrap(), &mut seeded(2)).unwrap();
    let score = model.log_likelihood(rows(20_000, 3).view(), &LikelihoodOptions::default()).unwrap();
    let nll = -score.nats().unwrap().mean().unwrap();
    // ½ ln 2πe + ln σ + μ of a lognormal; the parts of a Bernoulli; a binomial.
    let normal = 0.5 * (std::f64::consts::TAU.ln() + 1.0);
    let zero = -0.8 * 0.8f64.ln() - 0.2 * 0.2f64.ln() + 0.2 * (normal + 7.0);
    // 6 trials that succeed with 0.2.
    let binomial =
        |k: i32| [1.0, 6.0, 15.0, 20.0, 15.0, 6.0, 1.0][k as usize] * 0.2f64.powi(k) * 0.8f64.powi(6 - k);
    let count: f64 = (0..7).map(binomial).map(|p| -p * p.ln()).sum();
    let entropy = normal + 0.9f64.ln() + 10.3 + zero + count;
    assert!((nll - entropy).abs() < 0.05, "{nll}, {entropy}");
}

/// The bound of a composition is one, and close: columns that depend on each other through a category.
#[test]
fn a_model_of_the_latents_finds_what_columns_have_in_common() {
    let rows = |n: usize, seed: u64| {
        let mut rng = seeded(seed);
        let mut x = Array2::zeros((n, 2));
        for mut row in x.rows_mut() {
            let class = rng.random_range(0..3u8);
            row[0] = f32::from(class);
            row[1] = 4.0 * f32::from(class) + f32::normal(&mut rng);
        }
        x
    };
    let data = Dataset::new(rows(6_000, 1)).unwrap();
    let columns = Columns::new(ColumnsConfig::default()).unwrap();
    let mixture = GaussianMixture::new(GaussianMixtureConfig::default()).unwrap();
    let mut model = Latent::new(columns, mixture, LatentConfig::default()).unwrap();
    model.fit(&data, &mut seeded(2)).unwrap();
    let test = rows(2_000, 3);
    let score = model.log_likelihood(test.view(), &LikelihoodOptions::default()).unwrap();
    assert!(matches!(score, LogLikelihood::LowerBound { draws: 10, .. }));
    let nll = -score.nats().unwrap().mean().unwrap();
    let entropy = 3f64.ln() + 0.5 * (std::f64::consts::TAU.ln() + 1.0);
    assert!(nll > entropy - 0.03 && nll < entropy + 0.15, "{nll}, {entropy}");
    let drawn = model.draw(3_000, &mut seeded(4)).unwrap();
    let close = drawn.rows().into_iter().filter(|row| (row[1] - 4.0 * row[0]).abs() < 3.0).count();
    assert!(drawn.column(0).iter().all(|x| [0.0, 1.0, 2.0].contains(x)) && close > 2_900, "{close}");
}

/// Rows of labels alone, of which many are equal: the entropy is ln 2 + H(0.1).
#[test]
fn equal_rows_are_learned_as_their_probability() {
    let draw = |n: usize, rng: &mut Rng| {
        let mut x = Array2::zeros((n, 2));
        for mut row in x.rows_mut() {
            let first = rng.random_bool(0.5);
            row[0] = f32::from(u8::from(first));
            row[1] = f32::from(u8::from(first != rng.random_bool(0.1)));
        }
        x
    };
    let rng = &mut seeded(3);
    let columns = Columns::new(ColumnsConfig::default()).unwrap();
    let mixture = GaussianMixture::new(GaussianMixtureConfig::default()).unwrap();
    let mut model = Latent::new(columns, mixture, LatentConfig::default()).unwrap();
    model.fit(&Dataset::new(draw(2000, rng)).unwrap(), rng).unwrap();
    let x = draw(1000, rng);
    // A bound by one draw for each row, and equal rows have the same: over seeds it is that of many.
    let nll = |seed| {
        let options = LikelihoodOptions { seed };
        -model.log_likelihood(x.view(), &options).unwrap().nats().unwrap().mean().unwrap()
    };
    let mean = (0..40).map(nll).sum::<f64>() / 40.0;
    let entropy = 2f64.ln() - 0.1 * 0.1f64.ln() - 0.9 * 0.9f64.ln();
    assert!((-0.02..0.25).contains(&(mean - entropy)), "{mean}, entropy {entropy}");
}

#[test]
fn maps_are_fitted_to_the_rows_that_are_not_held_out_and_frozen() {
    let x = Array1::from_vec(values(400, income)).insert_axis(Axis(1));
    let data = Dataset::new(x).unwrap();
    let options = TrainOptions { validation: 0.5, ..TrainOptions::default() };
    let mut model = Columns::new(ColumnsConfig { dim: 1, columns: Vec::new() }).unwrap();
    model.train(&data, &options, &mut seeded(1), &mut NoObserver).unwrap();
    let ((learned, _), _, streams) = crate::engine::split(&data, &options, &mut seeded(1)).unwrap();
    let map = Column::default().fit(&learned.column(0).to_vec(), &mut streams.stream(0)).unwrap();
    assert_eq!(model.maps, [map]);
    let before = model.maps.clone();
    model.fit(&Dataset::new(array![[5.0], [7.0]]).unwrap(), &mut seeded(2)).unwrap();
    assert_eq!(model.maps, before);
}

mod derivatives;
mod given;
mod heads;

use ndarray::{Array2, Axis, array, s};

use self::derivatives::shaken;
use super::bins::{Adapted, Grid, TAIL};
use super::*;
use crate::error::Error;
use crate::nn::Activation::LeakyRelu;
use crate::numeric::Real;
use crate::numeric::rng::{Rng, seeded};
use crate::testing::normals;
use crate::worlds::Toy;

const MIXTURE: Head = Head::Mixture { components: 5 };
const BINS: Head = Head::Bins { bins: 12 };

fn nats(model: &Autoregressive, x: &Array2<f32>) -> Vec<f64> {
    let score = model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
    score.nats().unwrap().to_vec()
}

fn mean_nll(model: &Autoregressive, x: &Array2<f32>) -> f64 {
    -nats(model, x).iter().sum::<f64>() / x.nrows() as f64
}

fn trained(config: AutoregressiveConfig, data: &Dataset, steps: usize) -> Autoregressive {
    let mut model = Autoregressive::new(config, &mut seeded(0)).unwrap();
    let options = TrainOptions { steps, ..Default::default() };
    model.train(data, &options, &mut seeded(1), &mut Silent).unwrap();
    model
}

fn draw(model: &Autoregressive, n: usize, temperature: f64) -> Array2<f32> {
    model.sample(n, &SampleOptions { temperature }, &mut seeded(2)).unwrap().x
}

/// Midpoints of parts of the line, (w, dw): of equal parts of each bin, and of a tail of equal parts of its
/// distribution function, where its density is constant.
fn axis(conditional: &Conditional, fineness: usize) -> Vec<(f64, f64)> {
    let share = |i: usize| (i as f64 + 0.5) / fineness as f64;
    let Conditional::Bins(bins) = conditional else {
        let step = 16.0 / (24 * fineness) as f64;
        return (0..24 * fineness).map(|i| (-8.0 + step * (i as f64 + 0.5), step)).collect();
    };
    // The distance beyond an edge with the share s of its tail farther out, and minus its slope in s.
    type Excess = fn(f64, f64) -> (f64, f64);
    let (edges, tails, excess): (Vec<f64>, [f64; 2], Excess) = match &bins.grid {
        Grid::Equal { low, high } => {
            let edge = |i: usize| low + (high - low) * i as f64 / (bins.outputs() - 2) as f64;
            let edges = (0..bins.outputs() - 1).map(edge).collect();
            (edges, [TAIL; 2], |s, tail| (-tail * s.ln(), tail / s))
        }
        Grid::Adapted(Adapted { edges, tails }) => {
            let excess: Excess = |s, tail| (2.0 * tail * (s.powf(-0.5) - 1.0), tail * s.powf(-1.5));
            (edges.clone(), *tails, excess)
        }
    };
    let mut nodes = Vec::new();
    for pair in edges.windows(2) {
        let width = pair[1] - pair[0];
        nodes.extend((0..fineness).map(|i| (pair[0] + width * share(i), width / fineness as f64)));
    }
    for (edge, tail, sign) in [(edges[0], tails[0], -1.0), (edges[edges.len() - 1], tails[1], 1.0)] {
        let node = |s: f64| {
            let (excess, slope) = excess(s, tail);
            (edge + sign * excess, slope / fineness as f64)
        };
        nodes.extend((0..fineness).map(|i| node(share(i))));
    }
    nodes
}

/// The rows x of rows w, (n, d), and dx/dw.
fn restored(model: &Autoregressive, w: Vec<f64>) -> (Array2<f32>, f64) {
    let mut x: Vec<f32> = w.into_iter().map(|w| w as f32).collect();
    model.fitted.standardizer.restore(&mut x);
    let dim = model.dim();
    let log_det = model.fitted.standardizer.log_det(&x[..dim]);
    (Array2::from_shape_vec((x.len() / dim, dim), x).unwrap(), (-log_det).exp())
}

#[test]
fn densities_on_the_line_integrate_to_one() {
    let column = Toy::moons(0.1).unwrap().sample(2_000, &mut seeded(7)).slice(s![.., ..1]).to_owned();
    let data = Dataset::new(column).unwrap();
    for head in [Head::Mixture { components: 8 }, BINS] {
        let config = AutoregressiveConfig { dim: 1, head, ..Default::default() };
        let model = trained(config, &data, 50);
        let nodes = axis(&model.conditionals[0], 400);
        let (x, scale) = restored(&model, nodes.iter().map(|node| node.0).collect());
        let p = nats(&model, &x).into_iter().zip(&nodes).map(|(nats, (_, dw))| nats.exp() * dw);
        let total = p.sum::<f64>() * scale;
        assert!((total - 1.0).abs() < 1e-3, "{head:?}: {total}");
    }
}

/// ∫ p = 1 over the plane, and samples come from that p: the mean of ln p over them is ∫ p ln p.
#[test]
fn densities_on_the_plane_integrate_to_one_and_are_sampled() {
    let data = Dataset::new(Toy::moons(0.1).unwrap().sample(4_000, &mut seeded(8))).unwrap();
    for head in [MIXTURE, BINS] {
        let model = trained(AutoregressiveConfig { head, ..Default::default() }, &data, 150);
        let (a, b) = (axis(&model.conditionals[0], 20), axis(&model.conditionals[1], 20));
        let pairs: Vec<_> = a.iter().flat_map(|a| b.iter().map(move |b| (a, b))).collect();
        let (x, scale) = restored(&model, pairs.iter().flat_map(|(a, b)| [a.0, b.0]).collect());
        let grid = nats(&model, &x);
        let integral = |f: &dyn Fn(f64) -> f64| {
            let parts = grid.iter().zip(&pairs).map(|(nats, (a, b))| nats.exp() * f(*nats) * a.1 * b.1);
            scale * parts.sum::<f64>()
        };
        let total = integral(&|_| 1.0);
        assert!((total - 1.0).abs() < 2e-3, "{head:?}: {total}");

        let mean = integral(&|nats| nats);
        let variance = integral(&|nats| (nats - mean).powi(2));
        let n = 20_000;
        let sampled = -mean_nll(&model, &draw(&model, n, 1.0));
        // Four standard errors: one false alarm in 16,000, and quadrature's own error.
        let bound = 4.0 * (variance / n as f64).sqrt() + 5e-3;
        assert!((sampled - mean).abs() < bound, "{head:?}: ⟨ln p⟩ {sampled} over samples, {mean} over p");
    }
}

/// A correlated Gaussian of 6 columns, (n, 6), and its entropy.
fn correlated(n: usize, seed: u64) -> (Array2<f32>, f64) {
    let rng = &mut seeded(seed);
    let mut x = Array2::zeros((n, 6));
    for mut row in x.rows_mut() {
        let mut last = 0.0;
        for v in &mut row {
            last = 0.95f32 * last + 0.3 * f32::normal(rng);
            *v = last;
        }
    }
    (x, 6.0 * (0.5 * (std::f64::consts::TAU.ln() + 1.0) + 0.3f64.ln()))
}

#[test]
fn a_model_starts_at_one_full_gaussian() {
    let (test, entropy) = correlated(4_000, 1);
    let optimizer = OptimizerConfig { lr: 1e-12, ..Default::default() };
    for (whiten, rows, gap) in [(true, 100, 0.4), (true, 5_000, 0.02), (false, 5_000, 2.0)] {
        let config =
            AutoregressiveConfig { dim: 6, whiten, optimizer: optimizer.clone(), ..Default::default() };
        let model = trained(config, &Dataset::new(correlated(rows, 0).0).unwrap(), 1);
        let excess = mean_nll(&model, &test) - entropy;
        // Without the linear part, only the columns' own spreads are known.
        assert_eq!(excess < gap, whiten, "{rows} rows: {excess} above the entropy");
        assert!(excess > -0.05, "{excess}");
    }
}

#[test]
fn fewer_units_than_columns_still_train() {
    let (x, entropy) = correlated(1_000, 5);
    let config = AutoregressiveConfig {
        dim: 6,
        network: NetworkSpec::mlp([2, 3], Activation::Silu, 3),
        ..Default::default()
    };
    let model = trained(config, &Dataset::new(x).unwrap(), 20);
    assert!(mean_nll(&model, &correlated(1_000, 6).0) - entropy < 0.3);
    assert_eq!(draw(&model, 10, 1.0).dim(), (10, 6));
}

/// Eight modes of two thousandths: with Adam's usual memory of a thousand steps half of such trainings lost one or
/// more, each a gap of 1.3 nats.
#[test]
fn narrow_modes_are_not_lost() {
    let toy = Toy::ring(8, 1.0, 0.002).unwrap();
    let data = Dataset::new(toy.sample(10_000, &mut seeded(20))).unwrap();
    let config = AutoregressiveConfig {
        network: NetworkSpec::mlp([64, 64], Activation::Silu, 3),
        ..Default::default()
    };
    let model = trained(config, &data, 600);
    let excess = mean_nll(&model, &toy.sample(4_000, &mut seeded(21))) - toy.entropy().unwrap();
    assert!((-0.05..0.3).contains(&excess), "{excess}");
}

#[test]
fn far_points_score_low_and_never_nan() {
    let data = Dataset::new(Toy::moons(0.1).unwrap().sample(500, &mut seeded(9))).unwrap();
    for head in [MIXTURE, BINS] {
        let model = trained(AutoregressiveConfig { head, ..Default::default() }, &data, 20);
        let far = array![[1e6, 0.0], [0.0, -1e6], [-1e6, 1e6], [30.0, 30.0]];
        for (row, nats) in nats(&model, &far).iter().enumerate() {
            assert!(*nats < -15.0 && nats.is_finite(), "{head:?}, row {row}: {nats}");
        }
        let beyond = nats(&model, &array![[f32::MAX, 0.0], [0.0, f32::MIN], [f32::MIN, f32::MAX]]);
        // The tails of bins fall as a power.
        let most = if head == BINS { -200.0 } else { -1e10 };
        assert!(beyond.iter().all(|nats| *nats < most), "{head:?}: {beyond:?}");
    }
}

#[test]
fn a_known_density_is_recovered() {
    // (toy, head, rows, steps, most that the NLL may be above the truth)
    let cases = [
        (Toy::grid25(), Head::Mixture { components: 16 }, 600, 0.08),
        (Toy::moons(0.1).unwrap(), Head::Mixture { components: 16 }, 300, 0.025),
        (Toy::checkerboard(), Head::Bins { bins: 64 }, 600, 0.04),
    ];
    for (toy, head, steps, gap) in cases {
        let data = Dataset::new(toy.sample(20_000, &mut seeded(10))).unwrap();
        // Its edges run along the axes, where bins can follow them.
        let whiten = !matches!(head, Head::Bins { .. });
        let model = trained(AutoregressiveConfig { head, whiten, ..Default::default() }, &data, steps);
        let test = toy.sample(4_000, &mut seeded(11));
        let excess = mean_nll(&model, &test) + toy.log_density(test.view()).unwrap().mean().unwrap();
        // The truth is the best density on its own rows, but for their noise.
        assert!((-0.02..gap).contains(&excess), "{}: {excess} nats above the truth", toy.name());
    }
}

#[test]
fn training_starts_at_the_marginals() {
    // One step at a learning rate of nothing: what is left is the start.
    let toy = Toy::grid25();
    let data = Dataset::new(toy.sample(20_000, &mut seeded(12))).unwrap();
    for (head, most) in [(Head::Mixture { components: 40 }, 0.5), (Head::Bins { bins: 400 }, 0.1)] {
        let optimizer = OptimizerConfig { lr: 1e-12, ..Default::default() };
        let model = trained(AutoregressiveConfig { head, optimizer, ..Default::default() }, &data, 1);
        // The grid's columns are independent: their marginals are the whole truth. One Gaussian per column is
        // 4.9 above it.
        let excess = mean_nll(&model, &toy.sample(4_000, &mut seeded(13))) - toy.entropy().unwrap();
        assert!(excess < most, "{head:?}: {excess} nats above the entropy");
    }
}

#[test]
fn a_first_training_fits_and_a_second_goes_on() {
    let data = Dataset::new(Toy::moons(0.1).unwrap().sample(2_000, &mut seeded(14))).unwrap();
    let mut model = trained(AutoregressiveConfig { head: BINS, ..Default::default() }, &data, 100);
    let (before, conditionals) = (mean_nll(&model, &data.x().to_owned()), model.conditionals.clone());
    // Rows elsewhere: the bins stay where they are, and so, after one small step, do the parameters.
    let elsewhere = Dataset::new(data.x().mapv(|v| 0.5 * v)).unwrap();
    let options = TrainOptions { steps: 1, ..Default::default() };
    model.train(&elsewhere, &options, &mut seeded(15), &mut Silent).unwrap();
    assert_eq!(model.conditionals, conditionals);
    assert!((mean_nll(&model, &data.x().to_owned()) - before).abs() < 0.1);
}

#[test]
fn temperature_scales_what_it_says() {
    let data = Dataset::new(Toy::grid25().sample(5_000, &mut seeded(16))).unwrap();
    // One Gaussian per column, of the data's own spread: half the temperature, half the spread.
    let one = AutoregressiveConfig { head: Head::Mixture { components: 1 }, ..Default::default() };
    let model = trained(one, &data, 50);
    let sd = |temperature| draw(&model, 4_000, temperature).std_axis(Axis(0), 0.0);
    let (cold, warm) = (sd(0.5), sd(1.0));
    for (cold, warm) in cold.iter().zip(&warm) {
        assert!((cold / warm - 0.5).abs() < 0.05, "{cold} {warm}");
    }
    // Nearly no temperature, nearly one bin: the likeliest.
    let model = trained(AutoregressiveConfig { head: BINS, ..Default::default() }, &data, 20);
    let width = f64::from(draw(&model, 500, 1e-3).std_axis(Axis(0), 0.0)[0]);
    assert!(width < 1.0, "{width}: a bin is 8.6/12 wide");
    assert!(draw(&model, 500, 1e6).iter().all(|v| v.is_finite()));
}

#[test]
fn every_option_matters() {
    let data = Dataset::new(Toy::moons(0.1).unwrap().sample(500, &mut seeded(17))).unwrap();
    let score = |config: AutoregressiveConfig| nats(&trained(config, &data, 5), &array![[0.3, 0.1]])[0];
    let base = AutoregressiveConfig {
        network: NetworkSpec::mlp([16, 16], Activation::Silu, 3),
        ..Default::default()
    };
    let variants = [
        AutoregressiveConfig { network: NetworkSpec::mlp([16], Activation::Silu, 3), ..base.clone() },
        AutoregressiveConfig { network: NetworkSpec::mlp([16, 17], Activation::Silu, 3), ..base.clone() },
        AutoregressiveConfig { network: NetworkSpec::mlp([16, 16], Activation::Tanh, 3), ..base.clone() },
        AutoregressiveConfig { network: NetworkSpec::mlp([16, 16], Activation::Silu, 4), ..base.clone() },
        AutoregressiveConfig { whiten: false, ..base.clone() },
        AutoregressiveConfig { head: MIXTURE, ..base.clone() },
        AutoregressiveConfig { head: BINS, ..base.clone() },
        AutoregressiveConfig { head: Head::Bins { bins: 13 }, ..base.clone() },
        AutoregressiveConfig {
            optimizer: OptimizerConfig { lr: 2e-3, ..Default::default() },
            ..base.clone()
        },
    ];
    let mut scores = vec![score(base)];
    for variant in variants {
        let what = format!("{variant:?}");
        let got = score(variant);
        assert!(scores.iter().all(|other| *other != got), "{what} changes nothing");
        scores.push(got);
    }
}

#[test]
fn a_config_out_of_range_is_named() {
    let base = AutoregressiveConfig::default;
    let bad = [
        ("AutoregressiveConfig::dim", AutoregressiveConfig { dim: 0, ..base() }),
        (
            "AutoregressiveConfig::network",
            AutoregressiveConfig { network: NetworkSpec::mlp([], Activation::Silu, 3), ..base() },
        ),
        (
            "AutoregressiveConfig::network",
            AutoregressiveConfig { network: NetworkSpec::mlp([8, 0], Activation::Silu, 3), ..base() },
        ),
        (
            "AutoregressiveConfig::network",
            AutoregressiveConfig { network: NetworkSpec::mlp([128; 2], Activation::Silu, 15), ..base() },
        ),
        (
            "Activation::LeakyRelu::slope",
            AutoregressiveConfig {
                network: NetworkSpec::mlp([128; 2], LeakyRelu { slope: f64::INFINITY }, 3),
                ..base()
            },
        ),
        (
            "Head::Mixture::components",
            AutoregressiveConfig { head: Head::Mixture { components: 0 }, ..base() },
        ),
        (
            "Head::Mixture::components",
            AutoregressiveConfig { head: Head::Mixture { components: usize::MAX }, ..base() },
        ),
        ("Head::Bins::bins", AutoregressiveConfig { head: Head::Bins { bins: usize::MAX }, ..base() }),
        ("Head::Bins::bins", AutoregressiveConfig { head: Head::Bins { bins: 0 }, ..base() }),
    ];
    for (expected, config) in bad {
        match Autoregressive::new(config, &mut seeded(0)) {
            Err(Error::Config { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn samples_are_a_prefix_and_cost_what_the_card_says() {
    for dim in [1, 2, 5] {
        let (model, _, _) = shaken(dim, MIXTURE, ConditionKind::None);
        let drawn = model.sample(60, &SampleOptions::default(), &mut seeded(2)).unwrap();
        assert_eq!((drawn.nfe, model.card().nfe), (dim, dim));
        for k in [0, 1, 50] {
            assert_eq!(draw(&model, k, 1.0), drawn.x.slice(s![..k, ..]));
        }
    }
}

#[cfg(feature = "rayon")]
#[test]
fn threads_do_not_move_a_bit() {
    let data = Dataset::new(Toy::moons(0.1).unwrap().sample(500, &mut seeded(18))).unwrap();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut model = Autoregressive::new(AutoregressiveConfig::default(), &mut seeded(0)).unwrap();
            let options = TrainOptions { steps: 5, shards: 4, ..Default::default() };
            let report = model.train(&data, &options, &mut seeded(1), &mut Silent).unwrap();
            let x = draw(&model, 150, 1.0);
            (report, nats(&model, &x), x)
        })
    };
    let one = run(1);
    assert!(one == run(2) && one == run(5));
}

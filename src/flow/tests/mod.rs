mod derivatives;
mod given;

use ndarray::{Array2, Axis, array, s};

use super::*;
use crate::error::Error;
use crate::nn::Activation::LeakyRelu;
use crate::numeric::Real;
use crate::numeric::rng::{Rng, seeded};
use crate::testing::{moons, normals, residual};
use crate::worlds::Toy;

const SPLINE: Transform = Transform::Spline { bins: 5, bound: 2.0 };
const AFFINE_SPLINE: Transform = Transform::AffineSpline { bins: 5, bound: 2.0 };
const TRANSFORMS: [Transform; 3] = [Transform::Affine, SPLINE, AFFINE_SPLINE];

fn small(dim: usize) -> FlowConfig {
    FlowConfig {
        dim,
        layers: 3,
        network: NetworkSpec::mlp([7, 6], Activation::Silu, 1),
        transform: SPLINE,
        ..FlowConfig::default()
    }
}

/// Each architecture with each transform and each mixing, where `dim` allows.
fn variants(dim: usize) -> Vec<FlowConfig> {
    let mut all = Vec::new();
    for architecture in [Architecture::Coupling, Architecture::MaskedAutoregressive] {
        for transform in TRANSFORMS {
            for mixing in [Mixing::Reverse, Mixing::Permutation, Mixing::Linear] {
                let correlated_base = mixing != Mixing::Permutation;
                all.push(FlowConfig { architecture, transform, mixing, correlated_base, ..small(dim) });
            }
        }
    }
    all.retain(|config| config.validate().is_ok());
    assert_eq!(all.len(), if dim == 1 { 9 } else { 18 });
    all
}

/// Each architecture with each transform, under a condition of three columns.
fn given(dim: usize) -> Vec<FlowConfig> {
    let mut all = Vec::new();
    for architecture in [Architecture::Coupling, Architecture::MaskedAutoregressive] {
        for transform in TRANSFORMS {
            let condition = ConditionKind::Vector { dim: 2 };
            all.push(FlowConfig { architecture, transform, condition, ..small(dim) });
        }
    }
    all
}

fn trained(config: FlowConfig, data: &Dataset, steps: usize) -> Flow {
    let mut model = Flow::new(config, &mut seeded(0)).unwrap();
    let options = TrainOptions { steps, ..Default::default() };
    model.train(data, &options, &mut seeded(1), &mut Silent).unwrap();
    model
}

fn nats(model: &Flow, x: &Array2<f32>) -> Vec<f64> {
    let score = model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
    score.nats().unwrap().to_vec()
}

fn draw(model: &Flow, n: usize, temperature: f64) -> Array2<f32> {
    model.sample(n, &SampleOptions { temperature }, &mut seeded(2)).unwrap().x
}

/// ∫ p = 1 over the plane, and samples come from that p: the mean of ln p over them is ∫ p ln p.
#[test]
fn densities_on_the_plane_integrate_to_one_and_are_sampled() {
    let data = moons(4_000, 8);
    // Midpoints; beyond, a standardized row is 8 standard deviations out.
    let (low, high, nodes) = ([-7.0, -4.0], [8.0, 4.5], 350);
    let step: Vec<f64> =
        low.iter().zip(high).map(|(low, high): (&f64, f64)| (high - low) / nodes as f64).collect();
    let x = Array2::from_shape_fn((nodes * nodes, 2), |(r, c)| {
        let at = if c == 0 { r / nodes } else { r % nodes };
        (low[c] + step[c] * (at as f64 + 0.5)) as f32
    });
    for config in variants(2) {
        let what = format!("{config:?}");
        let model = trained(config, &data, 100);
        let grid = nats(&model, &x);
        let integral = |f: &dyn Fn(f64) -> f64| {
            step[0] * step[1] * grid.iter().map(|&nats| nats.exp() * f(nats)).sum::<f64>()
        };
        let total = integral(&|_| 1.0);
        assert!((total - 1.0).abs() < 1e-3, "{what}: {total}");

        let mean = integral(&|nats| nats);
        let variance = integral(&|nats| (nats - mean).powi(2));
        let n = 20_000;
        let sampled = nats(&model, &draw(&model, n, 1.0)).iter().sum::<f64>() / n as f64;
        // Four standard errors: one false alarm in 16,000 a variant, and quadrature's own error.
        let bound = 4.0 * (variance / n as f64).sqrt() + 3e-3;
        assert!((sampled - mean).abs() < bound, "{what}: ⟨ln p⟩ {sampled} over samples, {mean} over p");
    }
}

#[test]
fn densities_on_the_line_integrate_to_one() {
    let column = Toy::moons(0.1).unwrap().sample(2_000, &mut seeded(7)).slice(s![.., ..1]).to_owned();
    let data = Dataset::new(column).unwrap();
    for config in variants(1) {
        let what = format!("{config:?}");
        let model = trained(config, &data, 100);
        let (nodes, low, high) = (20_000, -8.0, 9.0);
        let step = (high - low) / nodes as f64;
        let x = Array2::from_shape_fn((nodes, 1), |(i, _)| (low + step * (i as f64 + 0.5)) as f32);
        let total = step * nats(&model, &x).iter().map(|nats| nats.exp()).sum::<f64>();
        assert!((total - 1.0).abs() < 1e-3, "{what}: {total}");
    }
}

#[test]
fn an_untrained_flow_is_its_base() {
    for config in variants(3) {
        let model = Flow::new(config, &mut seeded(0)).unwrap();
        let x = array![[0.3, -1.2, 0.7], [1.99, 0.0, -2.5]];
        for (row, nats) in x.rows().into_iter().zip(nats(&model, &x)) {
            let square: f64 = row.iter().map(|&x: &f32| f64::from(x).powi(2)).sum();
            let want = -0.5 * square - 1.5 * std::f64::consts::TAU.ln();
            assert!((nats - want).abs() < 1e-5, "{nats}, ln N = {want}");
        }
    }
}

#[test]
fn far_points_score_low_and_never_nan() {
    let data = moons(500, 8);
    for config in variants(2) {
        let what = format!("{config:?}");
        let model = trained(config, &data, 30);
        let far = array![[1e6, 0.0], [0.0, -1e6], [-1e6, 1e6], [30.0, 30.0]];
        for (row, nats) in nats(&model, &far).iter().enumerate() {
            assert!(*nats < -50.0 && nats.is_finite(), "{what}, row {row}: {nats}");
        }
        let beyond = nats(&model, &array![[f32::MAX, 0.0], [0.0, f32::MIN], [f32::MIN, f32::MAX]]);
        assert!(beyond.iter().all(|nats| *nats < -1e10), "{what}: {beyond:?}");
    }
}

#[test]
fn a_known_density_is_recovered() {
    // (toy, architecture, transform, layers, steps, most that the NLL may be above the truth)
    let affine = Transform::Affine;
    let spline = FlowConfig::default().transform;
    use Architecture::*;
    let cases = [
        (Toy::moons(0.1).unwrap(), Coupling, spline, 4, 400, 0.05),
        (Toy::moons(0.1).unwrap(), MaskedAutoregressive, spline, 3, 400, 0.05),
        (Toy::moons(0.1).unwrap(), Coupling, affine, 8, 500, 0.1),
        (Toy::moons(0.1).unwrap(), MaskedAutoregressive, affine, 6, 500, 0.1),
        (Toy::checkerboard(), Coupling, spline, 4, 500, 0.15),
    ];
    for (toy, architecture, transform, layers, steps, gap) in cases {
        let data = Dataset::new(toy.sample(20_000, &mut seeded(10))).unwrap();
        let config = FlowConfig { architecture, transform, layers, ..FlowConfig::default() };
        let model = trained(config, &data, steps);
        let test = toy.sample(4_000, &mut seeded(11));
        let truth = toy.log_density(test.view()).unwrap();
        let nats = nats(&model, &test);
        let excess = truth.iter().zip(&nats).map(|(truth, nats)| truth - nats).sum::<f64>() / 4_000.0;
        // The truth is the best density on its own rows, but for their noise.
        let what = format!("{}, {architecture:?}, {transform:?}", toy.name());
        assert!((-0.01..gap).contains(&excess), "{what}: {excess} nats above the truth");
    }
}

/// The mean of ln p_true − ln p over fresh rows, and the part of it that rows beyond four standard deviations of a
/// column make. `draw` gives a row and its ln p_true.
fn gap(config: FlowConfig, steps: usize, draw: &dyn Fn(&mut Rng) -> ([f64; 2], f64)) -> [f64; 2] {
    let rows = |n: usize, seed: u64| {
        let rng = &mut seeded(seed);
        let rows: Vec<([f64; 2], f64)> = (0..n).map(|_| draw(rng)).collect();
        (Array2::from_shape_fn((n, 2), |(r, c)| rows[r].0[c] as f32), rows)
    };
    let (train, test) = (rows(20_000, 12).0, rows(10_000, 13));
    let model = trained(config, &Dataset::new(train).unwrap(), steps);
    let (mean, sd) = (test.0.mean_axis(Axis(0)).unwrap(), test.0.std_axis(Axis(0), 0.0));
    let mut gap = [0.0; 2];
    for ((x, nats), (_, truth)) in test.0.rows().into_iter().zip(nats(&model, &test.0)).zip(&test.1) {
        let far = (0..2).any(|c| ((x[c] - mean[c]) / sd[c]).abs() > 4.0);
        gap[0] += (truth - nats) / 1e4;
        gap[1] += if far { (truth - nats) / 1e4 } else { 0.0 };
    }
    gap
}

/// Rows far outside the box, but not rare: some 3 in 1000 lie beyond four standard deviations.
#[test]
fn splines_learn_what_lies_beyond_their_box() {
    let ln_normal = |x: f64| -0.5 * x * x - 0.5 * std::f64::consts::TAU.ln();
    let banana = |rng: &mut Rng| {
        let (a, b) = (f64::normal(rng), f64::normal(rng));
        ([a, a * a + 0.5 * b], ln_normal(a) + ln_normal(b) - 0.5f64.ln())
    };
    let laplace = |rng: &mut Rng| {
        let exponential = |rng: &mut Rng| 0.5 * (f64::normal(rng).powi(2) + f64::normal(rng).powi(2));
        let x = [0; 2].map(|_| exponential(rng) - exponential(rng));
        (x, x.iter().map(|x| -x.abs() - 2f64.ln()).sum())
    };
    for (name, draw) in [("banana", &banana as &dyn Fn(&mut Rng) -> _), ("Laplace", &laplace)] {
        let [all, far] = gap(FlowConfig::default(), 400, draw);
        assert!((-0.01..0.03).contains(&all) && far < 0.01, "{name}: {all}, {far} of it far out");
        // With identity tails and a fixed base nothing out there can learn.
        let transform = Transform::Spline { bins: 24, bound: 4.0 };
        let config = FlowConfig { transform, correlated_base: false, ..FlowConfig::default() };
        let [_, fixed] = gap(config, 400, draw);
        assert!(fixed > 0.02, "{name}: {fixed}");
    }
}

/// x_i = 0.8 x_{i−1} + 0.6 N(0, 1), x_0 ~ N(0, 1), and its ln p.
fn autoregression(n: usize, dim: usize, rng: &mut Rng) -> (Array2<f32>, Vec<f64>) {
    let (mut x, mut truth) = (Array2::zeros((n, dim)), vec![0.0; n]);
    for (mut x, truth) in x.rows_mut().into_iter().zip(&mut truth) {
        let mut before = 0.0;
        for (i, x) in x.iter_mut().enumerate() {
            let (e, sd) = (f64::normal(rng), if i == 0 { 1.0 } else { 0.6f64 });
            before = 0.8 * before + sd * e;
            *truth += -0.5 * e * e - sd.ln() - 0.5 * std::f64::consts::TAU.ln();
            *x = before as f32;
        }
    }
    (x, truth)
}

/// After one step that moves next to nothing.
fn untouched(config: FlowConfig, data: &Dataset) -> Flow {
    let optimizer = OptimizerConfig { lr: 1e-9, ..Default::default() };
    trained(FlowConfig { optimizer, ..config }, data, 1)
}

#[test]
fn a_flow_starts_at_one_gaussian_with_all_covariances() {
    let dim = 6;
    let (x, _) = autoregression(5_000, dim, &mut seeded(14));
    let (test, truth) = autoregression(5_000, dim, &mut seeded(15));
    let data = Dataset::new(x.clone()).unwrap();
    let excess = |model: &Flow| {
        nats(model, &test).iter().zip(&truth).map(|(nats, truth)| truth - nats).sum::<f64>() / 5_000.0
    };
    let model = untouched(small(dim), &data);
    // A Gaussian of d columns fitted to n rows is d(d + 3)/4n above the truth.
    let start = excess(&model);
    assert!((0.0..0.01).contains(&start), "{start}");
    let (mean, sd) = (x.mean_axis(Axis(0)).unwrap(), x.std_axis(Axis(0), 0.0));
    let drawn = (draw(&model, 20_000, 1.0) - mean) / sd;
    let correlation = (&drawn.column(2) * &drawn.column(3)).mean().unwrap();
    assert!((correlation - 0.8).abs() < 0.03, "{correlation}");
    let plain = excess(&untouched(FlowConfig { correlated_base: false, ..small(dim) }, &data));
    // −½ ln |correlations|.
    assert!((plain + 5.0 * 0.6f64.ln()).abs() < 0.1, "{plain}");
}

/// Whatever order the mixers leave the columns in, the base has the correlations where they belong.
#[test]
fn the_base_follows_the_order_of_the_columns() {
    let rng = &mut seeded(21);
    let mut x = Array2::from_shape_vec((4_000, 4), normals(16_000, rng)).unwrap();
    for mut row in x.rows_mut() {
        row[1] = 0.8 * row[0] + 0.6 * row[1];
    }
    let data = Dataset::new(x.clone()).unwrap();
    let mean = |config| nats(&untouched(config, &data), &x).iter().sum::<f64>() / 4_000.0;
    let plain = mean(FlowConfig { correlated_base: false, ..small(4) });
    for layers in [1, 2, 3, 4] {
        for mixing in [Mixing::Reverse, Mixing::Permutation, Mixing::Linear] {
            let gain = mean(FlowConfig { layers, mixing, ..small(4) }) - plain;
            // −½ ln(1 − 0.8²), and chance in six correlations.
            assert!((gain + 0.6f64.ln()).abs() < 0.03, "{layers} layers, {mixing:?}: {gain}");
        }
    }
}

#[test]
fn correlations_that_may_be_chance_leave_the_base_as_it_is() {
    let score = |model: &Flow| nats(model, &array![[0.3, -1.2, 0.7], [1.9, 0.0, -2.5]]);
    let plain = |data: &Dataset| score(&untouched(FlowConfig { correlated_base: false, ..small(3) }, data));
    let independent = Array2::from_shape_vec((2_000, 3), normals(6_000, &mut seeded(16))).unwrap();
    let data = Dataset::new(independent).unwrap();
    for (with, without) in score(&untouched(small(3), &data)).iter().zip(plain(&data)) {
        assert!((with - without).abs() < 1e-5, "{with} and {without}");
    }
    let data = Dataset::new(autoregression(2_000, 3, &mut seeded(18)).0).unwrap();
    assert!((score(&untouched(small(3), &data))[1] - plain(&data)[1]).abs() > 0.1);
    // A column that others determine does not break the start.
    let mut sum = autoregression(2_000, 3, &mut seeded(19)).0;
    for mut row in sum.rows_mut() {
        row[2] = row[0] + row[1];
    }
    let data = Dataset::new(sum.clone()).unwrap();
    let mean = |config| nats(&untouched(config, &data), &sum).iter().sum::<f64>() / 2_000.0;
    let gain = mean(small(3)) - mean(FlowConfig { correlated_base: false, ..small(3) });
    assert!(gain > 1.0 && gain.is_finite(), "{gain}");
}

/// What a trained flow draws, scores and is validated by: the averages, not the last parameters.
#[test]
fn the_averaged_parameters_draw_score_and_are_validated() {
    let data = moons(400, 8);
    let config = FlowConfig { network: NetworkSpec::mlp([16], Activation::Silu, 2), ..FlowConfig::default() };
    let options = TrainOptions { steps: 6, validation: 0.25, validate_every: 6, ..Default::default() };
    let mut model = Flow::new(config, &mut seeded(0)).unwrap();
    let rows = Rows::prepare(&data, &model.fitted, &options, &mut seeded(1)).unwrap();
    let report = model.train(&data, &options, &mut seeded(1), &mut Silent).unwrap();
    let x = data.x().to_owned();
    let answers = |model: &Flow| (draw(model, 10, 1.0), nats(model, &x));

    let mut averages = model.clone();
    averages.parameters.p = averages.parameters.average.clone();
    assert!(averages.parameters != model.parameters);
    assert_eq!(answers(&averages), answers(&model));
    let mut last = model.clone();
    last.parameters.average = last.parameters.p.clone();
    let ((drawn, scored), others) = (answers(&last), answers(&model));
    assert!(drawn != others.0 && scored != others.1);

    // The validation loss is in standard units.
    let loss = |parameters: &[f32]| {
        let mut pass = chain::Pass::default();
        model.chain.infer(parameters, rows.validation.x.as_slice().unwrap(), &[], &mut pass);
        let mut sum = 0.0;
        objective::log_density(2, &pass, |_, nats| sum -= nats);
        sum / rows.validation.rows() as f64
    };
    let (validated, [last, average]) =
        (report.validation[0].1, [&model.parameters.p, &model.parameters.average].map(|p| loss(p)));
    assert!((validated - average).abs() < 1e-6, "{validated}, by the averages {average}");
    assert!((validated - last).abs() > 1e-4, "{validated}, by the last parameters {last}");
}

#[test]
fn temperature_scales_the_base() {
    for config in variants(2) {
        let untrained = Flow::new(config, &mut seeded(0)).unwrap();
        let sd = |temperature| draw(&untrained, 4_000, temperature).std_axis(Axis(0), 0.0);
        for (cold, warm) in sd(0.5).iter().zip(&sd(1.0)) {
            assert!((cold / warm - 0.5).abs() < 1e-4, "{cold} {warm}");
        }
        assert!(draw(&untrained, 500, 1e6).iter().all(|v| v.is_finite()));
    }
}

#[test]
fn every_option_matters() {
    let data = moons(500, 8);
    let score = |config: FlowConfig| nats(&trained(config, &data, 5), &array![[0.3, 0.1]])[0];
    let base =
        || FlowConfig { network: NetworkSpec::mlp([16, 16], Activation::Silu, 2), ..FlowConfig::default() };
    let variants = [
        FlowConfig { architecture: Architecture::MaskedAutoregressive, ..base() },
        FlowConfig { transform: Transform::Affine, ..base() },
        FlowConfig { transform: Transform::Spline { bins: 24, bound: 4.0 }, ..base() },
        FlowConfig { transform: Transform::AffineSpline { bins: 25, bound: 4.0 }, ..base() },
        FlowConfig { transform: Transform::AffineSpline { bins: 24, bound: 3.0 }, ..base() },
        FlowConfig { layers: 3, ..base() },
        FlowConfig { mixing: Mixing::Linear, ..base() },
        FlowConfig { network: NetworkSpec::mlp([16], Activation::Silu, 2), ..base() },
        FlowConfig { network: NetworkSpec::mlp([16, 17], Activation::Silu, 2), ..base() },
        FlowConfig { network: NetworkSpec::mlp([16, 16], Activation::Tanh, 2), ..base() },
        FlowConfig { network: residual(), ..base() },
        FlowConfig { network: NetworkSpec::mlp([16, 16], Activation::Silu, 0), ..base() },
        FlowConfig { network: NetworkSpec::mlp([16, 16], Activation::Silu, 4), ..base() },
        FlowConfig { correlated_base: false, ..base() },
        FlowConfig { optimizer: OptimizerConfig { lr: 2e-3, ..Default::default() }, ..base() },
    ];
    let mut scores = vec![score(base())];
    for variant in variants {
        let what = format!("{variant:?}");
        let got = score(variant);
        assert!(scores.iter().all(|other| *other != got), "{what} changes nothing");
        scores.push(got);
    }
    // On the plane there is one order that swaps the halves; with more columns a random one is another.
    let x = Array2::from_shape_fn((300, 5), |(r, c)| ((r * (c + 3)) % 37) as f32);
    let data = Dataset::new(x.clone()).unwrap();
    let score = |mixing| nats(&trained(FlowConfig { mixing, ..small(5) }, &data, 5), &x);
    let all = [Mixing::Reverse, Mixing::Permutation, Mixing::Linear].map(score);
    assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
}

#[test]
fn a_config_out_of_range_is_named() {
    let base = FlowConfig::default;
    let masked = Architecture::MaskedAutoregressive;
    let spline = |bins, bound| FlowConfig { transform: Transform::Spline { bins, bound }, ..base() };
    let affine_spline =
        |bins, bound| FlowConfig { transform: Transform::AffineSpline { bins, bound }, ..base() };
    let bad = [
        ("FlowConfig::dim", FlowConfig { dim: 0, architecture: masked, ..base() }),
        ("FlowConfig::dim", FlowConfig { dim: 1, ..base() }),
        ("FlowConfig::layers", FlowConfig { layers: 0, ..base() }),
        ("FlowConfig::layers", FlowConfig { layers: usize::MAX, ..base() }),
        ("FlowConfig::network", FlowConfig { network: NetworkSpec::mlp([], Activation::Silu, 2), ..base() }),
        (
            "FlowConfig::network",
            FlowConfig { network: NetworkSpec::mlp([8, 0], Activation::Silu, 2), ..base() },
        ),
        (
            "FlowConfig::network",
            FlowConfig {
                network: NetworkSpec::mlp([3], Activation::Silu, 2),
                dim: 5,
                architecture: masked,
                ..base()
            },
        ),
        (
            "FlowConfig::network",
            FlowConfig { network: NetworkSpec::mlp([64; 2], Activation::Silu, 15), ..base() },
        ),
        ("Transform::Spline::bins", spline(1, 4.0)),
        ("Transform::Spline::bins", spline(usize::MAX, 4.0)),
        ("Transform::Spline::bound", spline(8, 0.0)),
        ("Transform::Spline::bound", spline(8, f64::NAN)),
        ("Transform::AffineSpline::bins", affine_spline(257, 4.0)),
        ("Transform::AffineSpline::bound", affine_spline(8, 1e4)),
        (
            "Activation::LeakyRelu::slope",
            FlowConfig {
                network: NetworkSpec::mlp([64; 2], LeakyRelu { slope: f64::INFINITY }, 2),
                ..base()
            },
        ),
    ];
    for (expected, config) in bad {
        match Flow::new(config, &mut seeded(0)) {
            Err(Error::Config { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let error = Flow::new(FlowConfig { dim: 1, ..base() }, &mut seeded(0)).unwrap_err();
    assert!(error.to_string().contains("at least 2 for Architecture::Coupling"), "{error}");
}

#[test]
fn samples_are_a_prefix_and_cost_what_the_card_says() {
    for dim in [1, 2, 5] {
        for config in variants(dim) {
            let passes = if config.architecture == Architecture::Coupling { 1 } else { dim };
            let model = Flow::new(config, &mut seeded(0)).unwrap();
            let drawn = model.sample(60, &SampleOptions::default(), &mut seeded(2)).unwrap();
            assert_eq!((drawn.nfe, model.card().nfe), (passes, passes));
            for k in [0, 1, 50] {
                assert_eq!(draw(&model, k, 1.0), drawn.x.slice(s![..k, ..]));
            }
        }
    }
}

#[cfg(feature = "rayon")]
#[test]
fn threads_do_not_move_a_bit() {
    let data = moons(500, 8);
    for config in [FlowConfig::default(), FlowConfig { mixing: Mixing::Linear, ..small(2) }] {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut model = Flow::new(config.clone(), &mut seeded(0)).unwrap();
                let options = TrainOptions { steps: 5, shards: 4, ..Default::default() };
                let report = model.train(&data, &options, &mut seeded(1), &mut Silent).unwrap();
                let x = draw(&model, 150, 1.0);
                (report, nats(&model, &x), x)
            })
        };
        let one = run(1);
        assert!(one == run(2) && one == run(5));
    }
}

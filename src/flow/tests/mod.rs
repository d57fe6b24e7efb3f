mod derivatives;

use ndarray::{Array2, Axis, array, s};

use super::*;
use crate::data::Toy;
use crate::error::Error;
use crate::nn::Activation::LeakyRelu;
use crate::numeric::Real;
use crate::numeric::rng::{Rng, seeded};

const SPLINE: Transform = Transform::Spline { bins: 5, bound: 2.0 };

fn normals<F: Real>(n: usize, rng: &mut Rng) -> Vec<F> {
    (0..n).map(|_| F::normal(rng)).collect()
}

fn small(dim: usize) -> FlowConfig {
    FlowConfig { dim, layers: 3, hidden: vec![7, 6], octaves: 1, transform: SPLINE, ..FlowConfig::default() }
}

/// Each architecture with each transform and each mixing, where `dim` allows.
fn variants(dim: usize) -> Vec<FlowConfig> {
    let mut all = Vec::new();
    for architecture in [Architecture::Coupling, Architecture::MaskedAutoregressive] {
        for transform in [Transform::Affine, SPLINE] {
            for mixing in [Mixing::Reverse, Mixing::Permutation, Mixing::Linear] {
                all.push(FlowConfig { architecture, transform, mixing, ..small(dim) });
            }
        }
    }
    all.retain(|config| config.validate().is_ok());
    assert_eq!(all.len(), if dim == 1 { 6 } else { 12 });
    all
}

fn trained(config: FlowConfig, data: &Dataset, steps: usize) -> Flow {
    let mut model = Flow::new(config, &mut seeded(0)).unwrap();
    let options = TrainOptions { steps, ..Default::default() };
    model.train(data, &options, &mut seeded(1), &mut Silent).unwrap();
    model
}

fn moons(n: usize) -> Dataset {
    Dataset::new(Toy::moons(0.1).unwrap().sample(n, &mut seeded(8))).unwrap()
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
    let data = moons(4_000);
    // Midpoints; beyond, a standardised row is 8 standard deviations out.
    let (low, high, nodes) = ([-7.0, -4.0], [8.0, 4.5], 500);
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
    let data = moons(500);
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
    let data = moons(500);
    let score = |config: FlowConfig| nats(&trained(config, &data, 5), &array![[0.3, 0.1]])[0];
    let base = || FlowConfig { hidden: vec![16, 16], ..FlowConfig::default() };
    let variants = [
        FlowConfig { architecture: Architecture::MaskedAutoregressive, ..base() },
        FlowConfig { transform: Transform::Affine, ..base() },
        FlowConfig { transform: Transform::Spline { bins: 25, bound: 4.0 }, ..base() },
        FlowConfig { transform: Transform::Spline { bins: 24, bound: 3.0 }, ..base() },
        FlowConfig { layers: 3, ..base() },
        FlowConfig { mixing: Mixing::Linear, ..base() },
        FlowConfig { hidden: vec![16], ..base() },
        FlowConfig { hidden: vec![16, 17], ..base() },
        FlowConfig { activation: Activation::Tanh, ..base() },
        FlowConfig { octaves: 0, ..base() },
        FlowConfig { octaves: 4, ..base() },
        FlowConfig { optimiser: OptimiserConfig { lr: 2e-3, ..Default::default() }, ..base() },
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
    let bad = [
        ("FlowConfig::dim", FlowConfig { dim: 0, architecture: masked, ..base() }),
        ("FlowConfig::dim", FlowConfig { dim: 1, ..base() }),
        ("FlowConfig::layers", FlowConfig { layers: 0, ..base() }),
        ("FlowConfig::layers", FlowConfig { layers: usize::MAX, ..base() }),
        ("FlowConfig::hidden", FlowConfig { hidden: vec![], ..base() }),
        ("FlowConfig::hidden", FlowConfig { hidden: vec![8, 0], ..base() }),
        ("FlowConfig::hidden", FlowConfig { hidden: vec![3], dim: 5, architecture: masked, ..base() }),
        ("FlowConfig::octaves", FlowConfig { octaves: 15, ..base() }),
        ("Transform::Spline::bins", spline(1, 4.0)),
        ("Transform::Spline::bins", spline(usize::MAX, 4.0)),
        ("Transform::Spline::bound", spline(8, 0.0)),
        ("Transform::Spline::bound", spline(8, f64::NAN)),
        (
            "Activation::LeakyRelu::slope",
            FlowConfig { activation: LeakyRelu { slope: f64::INFINITY }, ..base() },
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
    let data = moons(500);
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

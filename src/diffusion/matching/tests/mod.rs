mod objective;

use crate::testing::residual;
use approx::assert_relative_eq;
use ndarray::{Array1, Array2, array};

use super::*;
use crate::engine::transport::standard_normal;
use crate::error::{DataError, Error};
use crate::model::NoObserver;
use crate::nn::Activation::LeakyRelu;
use crate::numeric::rng::seeded;
use crate::worlds::Toy;

const MATCHED: Pairing = Pairing::OptimalTransport { rows: 64 };

fn small() -> FlowMatchingConfig {
    FlowMatchingConfig {
        network: NetworkSpec::mlp([8, 6], Activation::Silu, 2),
        time_features: 4,
        ..Default::default()
    }
}

/// A quick training on two narrow modes.
fn trained(config: FlowMatchingConfig, steps: usize) -> (FlowMatching, Toy) {
    let toy = Toy::ring(2, 2.0, 0.2).unwrap();
    let data = Dataset::new(toy.sample(4_000, &mut seeded(10))).unwrap();
    let mut model = FlowMatching::new(config, &mut seeded(11)).unwrap();
    let options = TrainOptions { steps, batch: 128, ..TrainOptions::default() };
    model.train(&data, &options, &mut seeded(12), &mut NoObserver).unwrap();
    (model, toy)
}

fn nats(model: &FlowMatching, x: &Array2<f32>) -> Array1<f64> {
    model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap().nats().unwrap().clone()
}

fn draw(model: &FlowMatching, n: usize) -> Array2<f32> {
    model.sample(n, &SampleOptions::default(), &mut seeded(14)).unwrap().x
}

#[test]
fn recovers_a_known_density() {
    let base =
        FlowMatchingConfig { network: NetworkSpec::mlp([64, 64], Activation::Silu, 3), ..Default::default() };
    // From N(0, I), matched or not; and from a Gaussian beside the data.
    let (mean, covariance) = (array![[1.0, 0.0]], array![[[1.0, 0.0], [0.0, 0.09]]]);
    let beside = Source::Toy(Toy::mixture(&[1.0], mean.view(), covariance.view()).unwrap());
    for config in [
        base.clone(),
        FlowMatchingConfig { pairing: MATCHED, ..base.clone() },
        FlowMatchingConfig { source: beside, ..base },
    ] {
        let (model, toy) = trained(config, 1000);
        let name = format!("{} from {:?}", model.card().name, model.config.source.dim());
        let test = toy.sample(500, &mut seeded(13));
        let truth = toy.log_density(test.view()).unwrap();
        let gap = (&truth - &nats(&model, &test)).mean().unwrap();
        assert!((-0.02..0.1).contains(&gap), "{name}: gap {gap}");

        // Mass on a lattice over ±3.2 × ±1.2, whose cells are a quarter of σ.
        let cell = 0.05;
        let lattice = Array2::from_shape_fn((128 * 48, 2), |(k, c)| {
            if c == 0 { -3.175 + cell * (k / 48) as f32 } else { -1.175 + cell * (k % 48) as f32 }
        });
        let mass =
            nats(&model, &lattice).iter().map(|nats| nats.exp()).sum::<f64>() * f64::from(cell).powi(2);
        assert!((mass - 1.0).abs() < 0.02, "{name}: mass {mass}");

        // What it draws is as likely under the truth as the truth's own rows are.
        let drawn = draw(&model, 400);
        let likely = toy.log_density(drawn.view()).unwrap().mean().unwrap();
        let fair = truth.mean().unwrap();
        assert!((likely - fair).abs() < 0.25, "{name}: {likely}, truth {fair}");
        let right = drawn.column(0).iter().filter(|x| **x > 0.0).count();
        assert!((150..250).contains(&right), "{name}: {right} of 400 on the right");
    }
}

#[test]
fn any_number_of_columns() {
    for dim in [1, 5] {
        // Each coordinate of variance 1, correlation ½ between any two.
        let covariance =
            ndarray::Array3::from_shape_fn((1, dim, dim), |(_, i, j)| if i == j { 1.0 } else { 0.5 });
        let toy = Toy::mixture(&[1.0], Array2::zeros((1, dim)).view(), covariance.view()).unwrap();
        let data = Dataset::new(toy.sample(4_000, &mut seeded(1))).unwrap();
        let config = FlowMatchingConfig {
            dim,
            network: NetworkSpec::mlp([32, 32], Activation::Silu, 0),
            pairing: MATCHED,
            ..Default::default()
        };
        let mut model = FlowMatching::new(config, &mut seeded(2)).unwrap();
        let options = TrainOptions { steps: 600, batch: 128, ..Default::default() };
        model.train(&data, &options, &mut seeded(3), &mut NoObserver).unwrap();
        let test = toy.sample(400, &mut seeded(4));
        let gap = (toy.log_density(test.view()).unwrap() - nats(&model, &test)).mean().unwrap();
        assert!((-0.01..0.06).contains(&gap), "{dim} columns: gap {gap}");
        assert_eq!(draw(&model, 3).dim(), (3, dim));
    }
}

/// The matched flow's paths are straighter: where one Euler step ends, against the exact end.
#[test]
fn a_matched_flow_needs_fewer_steps() {
    let bend = |pairing| {
        let config = FlowMatchingConfig {
            network: NetworkSpec::mlp([32, 32], Activation::Silu, 2),
            pairing,
            ..Default::default()
        };
        let (model, _) = trained(config, 600);
        let end = |method, steps| draw(&model.with_sampler(FlowSteps { method, steps }).unwrap(), 500);
        let fine = end(Method::Rk4, 50);
        [1, 8].map(|steps| (end(Method::Euler, steps) - &fine).mapv(|v| v * v).mean().unwrap())
    };
    let (independent, matched) = (bend(Pairing::Independent), bend(MATCHED));
    assert!(independent.iter().zip(matched).all(|(i, m)| *i > 5.0 * m), "{independent:?} {matched:?}");
}

/// A network that has learned nothing leaves rows where they are, so in the units of the data samples and
/// density are the source's, although the standardizer has seen other data.
#[test]
fn source_rows_are_in_the_units_of_the_data() {
    let moons = Toy::moons(0.1).unwrap();
    let rows = Arc::new(Dataset::new(moons.sample(50, &mut seeded(0))).unwrap());
    let still = |source| {
        let optimizer = OptimizerConfig { lr: 1e-300, ..Default::default() };
        trained(FlowMatchingConfig { source, optimizer, ..small() }, 2).0
    };
    let from_toy = still(Source::Toy(moons.clone()));
    let x = moons.sample(20, &mut seeded(1));
    let pairs = nats(&from_toy, &x).into_iter().zip(moons.log_density(x.view()).unwrap());
    pairs.for_each(|(got, want)| assert_relative_eq!(got, want, max_relative = 1e-4));
    let drawn = draw(&from_toy, 500);
    let drawn_nll = moons.log_density(drawn.view()).unwrap().mean().unwrap();
    assert!((drawn_nll + 1.0076).abs() < 0.2, "{drawn_nll}");

    let from_rows = still(Source::Rows(rows.clone()));
    for drawn in draw(&from_rows, 100).rows() {
        let near = |row: &ndarray::ArrayView1<f32>| (row - &drawn).iter().all(|d| d.abs() < 1e-5);
        assert!(rows.x().rows().into_iter().any(|row| near(&row)), "{drawn}");
    }
    // Those of a Gaussian source have the data's variances.
    let spread = draw(&still(Source::Gaussian), 2_000).std_axis(ndarray::Axis(0), 0.0);
    assert!((spread[0] - 2.0).abs() < 0.15 && (spread[1] - 0.2).abs() < 0.015, "{spread}");
}

#[test]
fn a_source_of_rows_has_no_likelihood() {
    let data = Dataset::new(Toy::ffjord8().sample(100, &mut seeded(0))).unwrap();
    let (model, _) = trained(FlowMatchingConfig { source: Source::Rows(data.into()), ..small() }, 3);
    let score = model.log_likelihood(array![[0.0, 0.0]].view(), &LikelihoodOptions::default()).unwrap();
    assert_eq!(score, LogLikelihood::Unavailable);
    assert_eq!(model.card().likelihood, LikelihoodKind::Unavailable);
    assert_eq!(
        FlowMatching::new(small(), &mut seeded(0)).unwrap().card().likelihood,
        LikelihoodKind::OdeEstimate
    );
}

#[test]
fn samples_are_source_rows_carried_along() {
    let config = FlowMatchingConfig { source: Source::Toy(Toy::moons(0.1).unwrap()), ..small() };
    // An untrained model's rows are those of the source.
    let x0 = draw(&FlowMatching::new(config.clone(), &mut seeded(0)).unwrap(), 100);
    let (model, _) = trained(config, 50);
    let carried = model.transport(x0.view()).unwrap();
    assert!(draw(&model, 100).iter().zip(&carried).all(|(a, b)| (a - b).abs() < 1e-4));
    assert!((&carried - &x0).iter().any(|d| d.abs() > 0.1));
    assert_eq!(model.transport(x0.slice(ndarray::s![..0, ..])).unwrap().dim(), (0, 2));
    assert!(matches!(
        model.transport(array![[0.0]].view()),
        Err(Error::Data(DataError::Shape { what: "x0", .. }))
    ));
    assert!(matches!(
        model.transport(array![[0.0, f32::NAN]].view()),
        Err(Error::Data(DataError::NonFinite { .. }))
    ));
}

#[test]
fn ways_lead_from_the_source_to_the_rows_that_are_drawn() {
    let (model, _) = trained(small(), 50);
    let path = model.sample_path(150, &SampleOptions::default(), &mut seeded(14)).unwrap();
    assert_eq!(path.dim(), (150, 26, 2));
    let at = |state| path.index_axis(ndarray::Axis(1), state);
    assert_eq!(at(25), draw(&model, 150));
    let carried = model.transport(at(0)).unwrap();
    assert!(at(25).iter().zip(&carried).all(|(a, b)| (a - b).abs() < 1e-4));
    let sampler = FlowSteps { method: crate::numeric::ode::Method::Euler, steps: 2 };
    let (model, _) = trained(FlowMatchingConfig { sampler, ..small() }, 50);
    let path = model.sample_path(3, &SampleOptions::default(), &mut seeded(14)).unwrap();
    assert_eq!(path.dim(), (3, 3, 2));
    (1..3).for_each(|state| {
        let at = |state| path.index_axis(ndarray::Axis(1), state);
        assert!(at(state).iter().zip(&at(state - 1)).all(|(a, b)| a != b));
    });
}

#[test]
fn every_option_changes_something() {
    let base = FlowMatchingConfig {
        network: NetworkSpec::mlp([16, 16], Activation::Silu, 4),
        ..FlowMatchingConfig::default()
    };
    let x = array![[2.0, 0.1], [0.5, -0.3]];
    let outcome = |config: &FlowMatchingConfig| {
        let (model, _) = trained(config.clone(), 30);
        (draw(&model, 5), nats(&model, &x))
    };
    let (drawn, scored) = outcome(&base);
    assert_eq!((&drawn, &scored), (&outcome(&base).0, &outcome(&base).1));
    let with = |change: &dyn Fn(&mut FlowMatchingConfig)| {
        let mut config = base.clone();
        change(&mut config);
        config
    };
    for config in [
        with(&|c| c.network = NetworkSpec::mlp([16], Activation::Silu, 4)),
        with(&|c| c.network = NetworkSpec::mlp([16, 16], Activation::Tanh, 4)),
        with(&|c| c.network = NetworkSpec::mlp([16, 16], Activation::Silu, 2)),
        with(&|c| c.network = residual()),
        with(&|c| c.time_features = 8),
        with(&|c| c.source = Source::Toy(Toy::checkerboard())),
        with(&|c| c.pairing = MATCHED),
        with(&|c| c.pairing = Pairing::OptimalTransport { rows: 8 }),
        with(&|c| c.optimizer.lr = 1e-3),
    ] {
        let (other_drawn, other_scored) = outcome(&config);
        assert!(other_drawn != drawn && other_scored != scored, "{config:?}");
    }
    for config in [
        with(&|c| c.sampler.steps = 24),
        with(&|c| c.sampler.method = Method::Heun),
        with(&|c| c.sampler.method = Method::Euler),
    ] {
        let (other_drawn, other_scored) = outcome(&config);
        assert!(other_drawn != drawn && other_scored == scored, "{config:?}");
    }
    for config in [
        with(&|c| c.solver = Solver::Fixed { method: Method::Rk4, steps: 20 }),
        with(&|c| c.solver = Solver::DormandPrince { rtol: 1e-3, atol: 1e-3 }),
        with(&|c| c.divergence = Some(TraceEstimator::Hutchinson { probes: 1 })),
    ] {
        let (other_drawn, other_scored) = outcome(&config);
        assert!(other_drawn == drawn && other_scored != scored, "{config:?}");
    }
}

#[test]
fn the_cost_is_as_the_card_says() {
    let model = FlowMatching::new(small(), &mut seeded(0)).unwrap();
    for (method, steps, name, nfe) in [
        (Method::Euler, 7, "FM, Euler-7", 7),
        (Method::Heun, 5, "FM, Heun-5", 10),
        (Method::Rk4, 3, "FM, Rk4-3", 12),
    ] {
        let view = model.with_sampler(FlowSteps { method, steps }).unwrap();
        let drawn = view.sample(2, &SampleOptions::default(), &mut seeded(0)).unwrap();
        assert_eq!((view.card().name.as_ref(), view.card().nfe, drawn.nfe), (name, nfe, nfe));
        assert!(Arc::ptr_eq(&model.learned, &view.learned));
        assert_eq!(view.config().sampler, FlowSteps { method, steps });
    }
}

#[test]
fn far_rows_score_low_and_the_farther_the_lower() {
    let (model, _) = trained(
        FlowMatchingConfig { network: NetworkSpec::mlp([32, 32], Activation::Silu, 4), ..Default::default() },
        100,
    );
    let distances = [10.0, 30.0, 1e2, 1e3, 1e5, 1e9, f32::MAX];
    let scores = nats(&model, &Array2::from_shape_fn((7, 2), |(r, _)| distances[r]));
    assert!(scores[0] < -10.0, "{scores}");
    assert!(scores.iter().zip(scores.iter().skip(1)).all(|(near, far)| far <= near), "{scores}");
    assert!(scores[6].is_finite());
}

#[test]
fn beyond_the_reach_the_density_is_the_normal_one() {
    let (model, _) = trained(small(), 200);
    let units = &model.learned.fitted.standardizer;
    // In standard units.
    let far = [19.0, 21.0, -68.0, 150.0, 1e4, 2e6, -1e20];
    let mut x = Array2::from_shape_fn((7, 2), |(r, c)| if c == r % 2 { far[r] } else { 0.7 });
    units.restore(x.as_slice_mut().unwrap());
    let scores = nats(&model, &x);
    for (row, (nats, x)) in scores.iter().zip(x.rows()).enumerate() {
        let mut z = x.to_vec();
        units.standardize(&mut z);
        let normal = standard_normal(&[z[0].into(), z[1].into()]) + units.log_det(&x.to_vec());
        assert_relative_eq!(*nats, normal, max_relative = 1e-12);
        assert_eq!(self::nats(&model, &x.insert_axis(ndarray::Axis(0)).to_owned())[0], scores[row], "alone");
    }
    // A wide source is carried from beyond, too.
    let toy = Toy::mixture(&[1.0], array![[40.0, 0.0]].view(), array![[[1.0, 0.0], [0.0, 1.0]]].view());
    let source = Source::Toy(toy.unwrap());
    let (model, _) = trained(
        FlowMatchingConfig {
            source,
            network: NetworkSpec::mlp([32, 32], Activation::Silu, 4),
            ..Default::default()
        },
        300,
    );
    let drawn = draw(&model, 200).column(0).mean().unwrap();
    assert!(drawn.abs() < 10.0, "{drawn}");
}

#[test]
fn options_out_of_range_name_their_field() {
    let base = FlowMatchingConfig::default;
    let line = Toy::mixture(&[1.0], array![[0.0]].view(), array![[[1.0]]].view()).unwrap();
    let row = Dataset::new(array![[0.0, 1.0, 2.0]]).unwrap();
    let no_steps = FlowSteps { method: Method::Euler, steps: 0 };
    let cases = [
        ("FlowMatchingConfig::dim", FlowMatchingConfig { dim: 0, ..base() }),
        (
            "FlowMatchingConfig::network",
            FlowMatchingConfig { network: NetworkSpec::mlp([], Activation::Silu, 4), ..base() },
        ),
        (
            "FlowMatchingConfig::network",
            FlowMatchingConfig { network: NetworkSpec::mlp([8, 0], Activation::Silu, 4), ..base() },
        ),
        (
            "FlowMatchingConfig::network",
            FlowMatchingConfig { network: NetworkSpec::mlp([128; 3], Activation::Silu, 14), ..base() },
        ),
        ("FlowMatchingConfig::time_features", FlowMatchingConfig { time_features: 3, ..base() }),
        ("FlowMatchingConfig::time_features", FlowMatchingConfig { time_features: 0, ..base() }),
        ("FlowMatchingConfig::source", FlowMatchingConfig { source: Source::Toy(line), ..base() }),
        ("FlowMatchingConfig::source", FlowMatchingConfig { source: Source::Rows(row.into()), ..base() }),
        (
            "FlowMatchingConfig::pairing",
            FlowMatchingConfig { pairing: Pairing::OptimalTransport { rows: 1 }, ..base() },
        ),
        (
            "FlowMatchingConfig::divergence",
            FlowMatchingConfig { divergence: Some(TraceEstimator::Hutchinson { probes: 0 }), ..base() },
        ),
        ("FlowSteps::steps", FlowMatchingConfig { sampler: no_steps, ..base() }),
        (
            "Solver::Fixed::steps",
            FlowMatchingConfig { solver: Solver::Fixed { method: Method::Rk4, steps: 0 }, ..base() },
        ),
        (
            "Activation::LeakyRelu::slope",
            FlowMatchingConfig {
                network: NetworkSpec::mlp([128; 3], LeakyRelu { slope: 1e39 }, 4),
                ..base()
            },
        ),
        (
            "OptimizerConfig::lr",
            FlowMatchingConfig { optimizer: OptimizerConfig { lr: 0.0, ..base().optimizer }, ..base() },
        ),
    ];
    for (expected, config) in cases {
        match FlowMatching::new(config, &mut seeded(0)) {
            Err(Error::Config { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let model = FlowMatching::new(small(), &mut seeded(0)).unwrap();
    assert!(matches!(model.with_sampler(no_steps), Err(Error::Config { field: "FlowSteps::steps", .. })));
}

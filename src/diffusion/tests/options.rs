use super::*;
use crate::engine::OptimizerConfig;
use crate::error::Error;
use crate::nn::Activation;
use crate::nn::Activation::LeakyRelu;
use crate::nn::NetworkSpec;
use crate::testing::residual;

#[test]
fn every_option_changes_something() {
    let base = DiffusionConfig {
        network: NetworkSpec::mlp([16, 16], Activation::Silu, 4),
        timesteps: 50,
        ..DiffusionConfig::default()
    };
    let x = ndarray::array![[2.0, 0.1], [0.5, -0.3]];
    let outcome = |config: &DiffusionConfig| {
        let (model, _) = trained(config.clone(), 30);
        let drawn = model.sample(5, &SampleOptions::default(), &mut seeded(1)).unwrap().x;
        (drawn, nats(&model, &x))
    };
    let (drawn, scored) = outcome(&base);
    assert_eq!((&drawn, &scored), (&outcome(&base).0, &outcome(&base).1));
    let with = |change: &dyn Fn(&mut DiffusionConfig)| {
        let mut config = base.clone();
        change(&mut config);
        config
    };
    let trains = [
        with(&|c| c.network = NetworkSpec::mlp([16], Activation::Silu, 4)),
        with(&|c| c.network = NetworkSpec::mlp([16, 16], Activation::Tanh, 4)),
        with(&|c| c.network = NetworkSpec::mlp([16, 16], Activation::Silu, 2)),
        with(&|c| c.network = residual()),
        with(&|c| c.time_features = 8),
        with(&|c| c.schedule = Schedule::Linear),
        with(&|c| c.schedule = Schedule::Continuous(Sde::PRESERVING)),
        with(&|c| c.schedule = Schedule::Continuous(Sde::EXPLODING)),
        with(&|c| c.timesteps = 51),
        with(&|c| c.sigma_min = 0.01),
        with(&|c| c.training_noise = TrainingNoise::Timesteps),
        with(&|c| c.optimizer.lr = 1e-3),
    ];
    for config in &trains {
        let (other_drawn, other_scored) = outcome(config);
        assert!(other_drawn != drawn && other_scored != scored, "{config:?}");
    }
    let samplers = [
        Sampler::Ddim { steps: 50, eta: 0.0 },
        Sampler::Ddim { steps: 50, eta: 0.5 },
        Sampler::Ddim { steps: 49, eta: 0.0 },
        Sampler::Heun { steps: 20 },
        Sampler::Heun { steps: 21 },
        Sampler::DpmSolver { steps: 20 },
        Sampler::DpmSolver { steps: 21 },
        Sampler::EulerMaruyama { steps: 20 },
        Sampler::EulerMaruyama { steps: 21 },
        Sampler::PredictorCorrector { steps: 20, snr: 0.16 },
        Sampler::PredictorCorrector { steps: 20, snr: 0.2 },
        Sampler::PredictorCorrector { steps: 21, snr: 0.2 },
        Sampler::Ode { method: Method::Euler, steps: 20 },
        Sampler::Ode { method: Method::Heun, steps: 20 },
        Sampler::Ode { method: Method::Heun, steps: 21 },
    ];
    let mut seen = vec![drawn.clone()];
    let sampled = samplers.map(|sampler| with(&|c| c.sampler = sampler));
    let others = [
        with(&|c| c.reverse_variance = ReverseVariance::Posterior),
        with(&|c| c.finish = Finish::Estimate),
        with(&|c| c.grid = Grid::Quadratic),
        with(&|c| c.grid = Grid::LogSnr),
        with(&|c| c.grid = Grid::Karras),
    ];
    for config in sampled.iter().chain(&others) {
        let (other_drawn, other_scored) = outcome(config);
        assert!(!seen.contains(&other_drawn) && other_scored == scored, "{config:?}");
        seen.push(other_drawn);
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
fn the_config_tells_the_present_sampler() {
    let model = Diffusion::new(small(), &mut seeded(0)).unwrap();
    assert_eq!(*model.config(), small());
    let sampler = Sampler::Ddim { steps: 3, eta: 0.5 };
    assert_eq!(*model.with_sampler(sampler).unwrap().config(), DiffusionConfig { sampler, ..small() });
}

#[test]
fn options_out_of_range_name_their_field() {
    let base = DiffusionConfig::default;
    let cases = [
        ("DiffusionConfig::dim", DiffusionConfig { dim: 0, ..base() }),
        (
            "DiffusionConfig::network",
            DiffusionConfig { network: NetworkSpec::mlp([], Activation::Silu, 4), ..base() },
        ),
        (
            "DiffusionConfig::network",
            DiffusionConfig { network: NetworkSpec::mlp([8, 0], Activation::Silu, 4), ..base() },
        ),
        (
            "DiffusionConfig::network",
            DiffusionConfig { network: NetworkSpec::mlp([128; 3], Activation::Silu, 14), ..base() },
        ),
        (
            "Activation::LeakyRelu::slope",
            DiffusionConfig { network: NetworkSpec::mlp([128; 3], LeakyRelu { slope: 1e39 }, 4), ..base() },
        ),
        ("DiffusionConfig::time_features", DiffusionConfig { time_features: 3, ..base() }),
        ("DiffusionConfig::time_features", DiffusionConfig { time_features: 0, ..base() }),
        ("DiffusionConfig::timesteps", DiffusionConfig { timesteps: 0, ..base() }),
        ("DiffusionConfig::sigma_min", DiffusionConfig { sigma_min: 0.0, ..base() }),
        ("DiffusionConfig::sigma_min", DiffusionConfig { sigma_min: f64::NAN, ..base() }),
        ("DiffusionConfig::condition_dropout", DiffusionConfig { condition_dropout: 1.0, ..base() }),
        (
            "DiffusionConfig::condition",
            DiffusionConfig { condition: ConditionKind::Class { classes: 0 }, ..base() },
        ),
        (
            "DiffusionConfig::divergence",
            DiffusionConfig { divergence: Some(TraceEstimator::Hutchinson { probes: 0 }), ..base() },
        ),
        (
            "Sampler::Ddim::steps",
            DiffusionConfig { sampler: Sampler::Ddim { steps: 1001, eta: 0.0 }, ..base() },
        ),
        (
            "Solver::Fixed::steps",
            DiffusionConfig { solver: Solver::Fixed { method: Method::Rk4, steps: 0 }, ..base() },
        ),
        (
            "OptimizerConfig::lr",
            DiffusionConfig { optimizer: OptimizerConfig { lr: 0.0, ..base().optimizer }, ..base() },
        ),
    ];
    for (expected, config) in cases {
        match Diffusion::new(config, &mut seeded(0)) {
            Err(Error::Config { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let model = Diffusion::new(small(), &mut seeded(0)).unwrap();
    let wrong = model.with_sampler(Sampler::Ddim { steps: 0, eta: 0.0 });
    assert!(matches!(wrong, Err(Error::Config { field: "Sampler::Ddim::steps", .. })));
}

//! What each option does, and the options that are refused.

use super::*;
use crate::nn::NetworkSpec;
use crate::testing::residual;

#[test]
fn every_option_of_an_energy_matters() {
    type Change = fn(&mut EnergyConfig);
    let rows = |config| drawn(&trained(config, &moons(500, 0), &options(4)), 20);
    let denoising = EnergyTraining::DenoisingScoreMatching { sigma: 0.2 };
    let changes: [Change; 11] = [
        |c| c.network = residual(),
        |c| c.network = NetworkSpec::mlp([12, 9], Activation::Silu, 1),
        |c| c.network = NetworkSpec::mlp([12, 10], Activation::Tanh, 1),
        |c| c.network = NetworkSpec::mlp([12, 10], Activation::Silu, 2),
        |c| c.width = 1.5,
        |c| c.langevin.steps = 31,
        |c| c.langevin.candidates = 0.5,
        |c| c.langevin.first = 0.9,
        |c| c.langevin.last = 0.03,
        |c| c.langevin.acceptance = Acceptance::Always,
        |c| c.optimizer.lr *= 2.0,
    ];
    for base in [small(CHAINS), small(denoising)] {
        let unchanged = rows(base.clone());
        assert_eq!(rows(base.clone()), unchanged);
        for (i, change) in changes.iter().enumerate() {
            let mut config = base.clone();
            change(&mut config);
            assert_ne!(rows(config), unchanged, "{:?}, change {i}", base.training);
        }
    }
    let of = |chains, steps, restart, magnitude| {
        rows(small(EnergyTraining::PersistentChains { chains, steps, restart, magnitude }))
    };
    let unchanged = of(256, 8, 0.0, 0.0);
    for other in [of(512, 8, 0.0, 0.0), of(256, 9, 0.0, 0.0), of(256, 8, 0.5, 0.0), of(256, 8, 0.0, 1.0)] {
        assert_ne!(other, unchanged);
    }
    assert_ne!(rows(small(denoising)), rows(small(EnergyTraining::DenoisingScoreMatching { sigma: 0.3 })));
}

#[test]
fn held_out_rows_are_measured_and_patience_is_refused_where_it_means_nothing() {
    let held = TrainOptions { validation: 0.2, validate_every: 2, ..options(5) };
    let mut model = EnergyModel::new(small(CHAINS), &mut seeded(1)).unwrap();
    let report = model.train(&moons(500, 0), &held, &mut seeded(2), &mut Silent).unwrap();
    assert_eq!(report.validation.iter().map(|v| v.0).collect::<Vec<_>>(), [2, 4, 5]);
    let patient = TrainOptions { patience: Some(3), ..held };
    let refused = model.train(&moons(500, 0), &patient, &mut seeded(2), &mut Silent);
    assert!(matches!(refused, Err(Error::Config { field: "TrainOptions::patience", .. })), "{refused:?}");
    let denoising = EnergyTraining::DenoisingScoreMatching { sigma: 0.2 };
    let mut model = EnergyModel::new(small(denoising), &mut seeded(1)).unwrap();
    assert!(model.train(&moons(500, 0), &patient, &mut seeded(2), &mut Silent).is_ok());
}

#[test]
fn a_divergence_leaves_the_last_good_parameters() {
    for training in [CHAINS, EnergyTraining::DenoisingScoreMatching { sigma: 0.2 }] {
        let mut config = small(training);
        (config.optimizer.lr, config.optimizer.warmup) = (1e30, 0);
        let mut model = EnergyModel::new(config, &mut seeded(1)).unwrap();
        let run = model.train(&moons(500, 0), &options(50), &mut seeded(2), &mut Silent);
        assert!(matches!(run, Err(Error::Diverged { .. })), "{training:?}: {run:?}");
        assert!(model.parameters.p.iter().chain(&model.parameters.average).all(|p| p.is_finite()));
        assert!(drawn(&model, 50).iter().all(|x| x.is_finite()));
    }
}

#[test]
fn a_config_out_of_range_is_named() {
    type Spoil = fn(&mut EnergyConfig);
    let chains = |chains, steps, restart, magnitude| EnergyTraining::PersistentChains {
        chains,
        steps,
        restart,
        magnitude,
    };
    for (name, training) in [
        ("EnergyTraining::PersistentChains::chains", chains(0, 8, 0.0, 0.0)),
        ("EnergyTraining::PersistentChains::steps", chains(9, 0, 0.0, 0.0)),
        ("EnergyTraining::PersistentChains::steps", chains(9, 1_000_001, 0.0, 0.0)),
        ("EnergyTraining::PersistentChains::restart", chains(9, 8, 1.1, 0.0)),
        ("EnergyTraining::PersistentChains::magnitude", chains(9, 8, 0.0, f64::NAN)),
        (
            "EnergyTraining::DenoisingScoreMatching::sigma",
            EnergyTraining::DenoisingScoreMatching { sigma: 0.0 },
        ),
    ] {
        match EnergyModel::new(small(training), &mut seeded(0)) {
            Err(Error::Config { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let bad: [(&str, Spoil); 14] = [
        ("EnergyConfig::dim", |c| c.dim = 0),
        ("EnergyConfig::network", |c| c.network = NetworkSpec::mlp([4, 0], Activation::Silu, 5)),
        ("EnergyConfig::network", |c| c.network = c.network.clone().with_octaves(15)),
        ("EnergyConfig::width", |c| c.width = 0.0),
        ("Langevin::steps", |c| c.langevin.steps = 0),
        ("Langevin::steps", |c| c.langevin.steps = usize::MAX - 1),
        ("Langevin::candidates", |c| c.langevin.candidates = 1.0),
        ("Langevin::candidates", |c| c.langevin.candidates = f64::NAN),
        ("Langevin::first", |c| c.langevin.first = f64::INFINITY),
        ("Langevin::last", |c| c.langevin.last = 0.0),
        ("Normalization::Quadrature::intervals", |c| {
            c.normalization = Normalization::Quadrature { intervals: 9 }
        }),
        ("EnergyConfig::normalization", |c| {
            (c.dim, c.normalization) = (3, Normalization::Quadrature { intervals: 8 })
        }),
        ("Activation::LeakyRelu::slope", |c| {
            c.network = NetworkSpec::mlp([4], Activation::LeakyRelu { slope: f64::NAN }, 5)
        }),
        ("OptimizerConfig::lr", |c| c.optimizer.lr = -1.0),
    ];
    for (name, spoil) in bad {
        let mut config = EnergyConfig::default();
        spoil(&mut config);
        match EnergyModel::new(config, &mut seeded(0)) {
            Err(Error::Config { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

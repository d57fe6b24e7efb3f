//! What the scores learn, held against what is known, and what the ladder draws.

mod derivatives;
mod law;

use ndarray::{Array2, Axis, array, s};

use super::*;
use crate::engine::{Progress, mean_loss};
use crate::error::Error;
use crate::numeric::rng::seeded;
use crate::testing::{moons, residual};
use crate::worlds::Toy;

fn small_score(training: ScoreTraining) -> ScoreConfig {
    ScoreConfig {
        network: NetworkSpec::mlp([12, 10], Activation::Silu, 1),
        levels: 4,
        steps_per_level: 2,
        training,
        ..Default::default()
    }
}

fn options(steps: usize) -> TrainOptions {
    TrainOptions { steps, ..Default::default() }
}

fn drawn(model: &ScoreModel, n: usize) -> Array2<f32> {
    model.sample(n, &SampleOptions::default(), &mut seeded(3)).unwrap().x
}

#[test]
fn both_trainings_find_the_score_of_a_known_mixture() {
    let (sd, centers) = (0.3f64, [[-1.0, 0.0], [1.0, 0.5]]);
    let cover = Array2::from_diag(&array![sd * sd, sd * sd]).insert_axis(Axis(0));
    let cover = ndarray::concatenate![Axis(0), cover, cover];
    let toy = Toy::mixture(&[1.0, 1.0], Array2::from(centers.to_vec()).view(), cover.view()).unwrap();
    let data = Dataset::new(toy.sample(20_000, &mut seeded(0))).unwrap();
    let x = toy.sample(4_000, &mut seeded(9));
    for (training, bound) in [(ScoreTraining::Denoising, 0.03), (ScoreTraining::Sliced, 0.05)] {
        let config = ScoreConfig {
            network: NetworkSpec::mlp([32, 32], Activation::Silu, 2),
            sigma_min: 0.1,
            levels: 8,
            ..small_score(training)
        };
        let mut model = ScoreModel::new(config, &mut seeded(1)).unwrap();
        // Nothing learned but the moments: the first step's learning rate is all but 0.
        model.train(&data, &options(1), &mut seeded(2), &mut Silent).unwrap();
        // ∇ ln Σₖ N(x; μₖ, C), C diagonal: the noise is 0.1 standard deviations of each column.
        let variance: Vec<f64> = model
            .learned
            .fitted
            .standardizer
            .scale()
            .iter()
            .map(|scale| sd * sd + (0.1 * scale).powi(2))
            .collect();
        let fisher_error = |model: &ScoreModel| {
            let (mut error, mut total) = (0.0, 0.0);
            for (x, s) in x.rows().into_iter().zip(model.score(x.view()).unwrap().rows()) {
                let pull = |k: usize, i: usize| (centers[k][i] - f64::from(x[i])) / variance[i];
                let log = |k: usize| -0.5 * (0..2).map(|i| pull(k, i).powi(2) * variance[i]).sum::<f64>();
                let share = 1.0 / (1.0 + (log(0) - log(1)).exp());
                for i in 0..2 {
                    let truth = (1.0 - share) * pull(0, i) + share * pull(1, i);
                    error += (f64::from(s[i]) - truth).powi(2);
                    total += truth * truth;
                }
            }
            error / total
        };
        let before = fisher_error(&model);
        model.train(&data, &options(2500), &mut seeded(2), &mut Silent).unwrap();
        let after = fisher_error(&model);
        assert!(after < bound, "{training:?}: relative Fisher error {after}, bound {bound}");
        assert!(before > 10.0 * bound, "{training:?}: {before} before training");
    }
}

#[test]
fn the_ladder_falls_in_one_ratio() {
    for levels in [1, 2, 7] {
        let config = ScoreConfig { levels, ..Default::default() };
        let ladder = ScoreModel::new(config.clone(), &mut seeded(0)).unwrap().levels;
        let sigma: Vec<f64> = ladder.iter().map(|l| l.sigma / l.alpha).collect();
        assert!((sigma[levels - 1] - config.sigma_min).abs() < 1e-12);
        if levels > 1 {
            assert!((sigma[0] - config.sigma_max).abs() < 1e-12);
            let ratio = sigma[1] / sigma[0];
            assert!(sigma.windows(2).all(|w| (w[1] / w[0] - ratio).abs() < 1e-12));
        }
        assert!(ladder.iter().all(|l| (l.alpha.powi(2) + l.sigma.powi(2) - 1.0).abs() < 1e-12));
    }
}

#[test]
fn any_number_of_columns() {
    for dim in [1, 5] {
        let data =
            Dataset::new(Array2::from_shape_fn((200, dim), |(r, c)| ((r * (c + 3)) as f32).sin())).unwrap();
        for training in [ScoreTraining::Denoising, ScoreTraining::Sliced] {
            let rng = &mut seeded(0);
            let mut model = ScoreModel::new(ScoreConfig { dim, ..small_score(training) }, rng).unwrap();
            model.train(&data, &options(3), rng, &mut Silent).unwrap();
            let x = drawn(&model, 60);
            assert!(x.dim() == (60, dim) && x.iter().all(|x| x.is_finite()));
            let score = model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
            assert_eq!(score.kind(), model.card().likelihood);
        }
    }
}

#[test]
fn samples_are_a_prefix_and_any_temperature_gives_numbers() {
    let score = ScoreModel::new(small_score(ScoreTraining::Denoising), &mut seeded(1)).unwrap();
    assert_eq!(drawn(&score, 49), drawn(&score, 100).slice(s![..49, ..]));
    for temperature in [f64::MIN_POSITIVE, 1e6] {
        let x = score.sample(50, &SampleOptions { temperature }, &mut seeded(3)).unwrap().x;
        assert!(x.iter().all(|x| x.is_finite()), "{temperature}: {x}");
    }
    let shorter = score.with_moves(1, 0.5).unwrap();
    assert_eq!((shorter.card().nfe, score.card().nfe), (5, 9));
    assert_eq!(shorter.score(moons(500, 0).x()).unwrap(), score.score(moons(500, 0).x()).unwrap());
    assert!(matches!(score.with_moves(2, 4.0), Err(Error::Config { field: "ScoreConfig::step", .. })));
}

#[test]
fn every_option_matters() {
    type Change = fn(&mut ScoreConfig);
    let rows = |config| {
        let mut model = ScoreModel::new(config, &mut seeded(1)).unwrap();
        model.train(&moons(500, 0), &options(4), &mut seeded(2), &mut Silent).unwrap();
        drawn(&model, 20)
    };
    let changes: [Change; 12] = [
        |c| c.network = residual(),
        |c| c.network = NetworkSpec::mlp([12, 9], Activation::Silu, 1),
        |c| c.network = NetworkSpec::mlp([12, 10], Activation::Tanh, 1),
        |c| c.network = NetworkSpec::mlp([12, 10], Activation::Silu, 2),
        |c| c.time_features = 16,
        |c| c.training = ScoreTraining::Sliced,
        |c| c.sigma_max = 2.0,
        |c| c.sigma_min = 0.02,
        |c| c.levels = 5,
        |c| c.steps_per_level = 3,
        |c| c.step = 0.2,
        |c| c.optimizer.lr *= 2.0,
    ];
    let base = small_score(ScoreTraining::Denoising);
    let unchanged = rows(base.clone());
    for (i, change) in changes.iter().enumerate() {
        let mut config = base.clone();
        change(&mut config);
        assert_ne!(rows(config), unchanged, "change {i}");
    }
}

#[test]
fn a_config_out_of_range_is_named() {
    type Spoil = fn(&mut ScoreConfig);
    let bad: [(&str, Spoil); 9] = [
        ("ScoreConfig::dim", |c| c.dim = 0),
        ("ScoreConfig::network", |c| c.network = NetworkSpec::mlp([], Activation::Silu, 4)),
        ("ScoreConfig::network", |c| c.network = c.network.clone().with_octaves(14)),
        ("ScoreConfig::time_features", |c| c.time_features = 3),
        ("ScoreConfig::sigma_min", |c| c.sigma_min = 0.0),
        ("ScoreConfig::sigma_max", |c| c.sigma_max = 0.001),
        ("ScoreConfig::levels", |c| c.levels = 0),
        ("ScoreConfig::steps_per_level", |c| c.steps_per_level = 0),
        ("ScoreConfig::step", |c| c.step = 4.0),
    ];
    for (name, spoil) in bad {
        let mut config = ScoreConfig::default();
        spoil(&mut config);
        match ScoreModel::new(config, &mut seeded(0)) {
            Err(Error::Config { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn draws_and_scores_use_the_average() {
    let mut config = small_score(ScoreTraining::Denoising);
    // Steps so long that the last parameters are far from their average, and rows held out at the end.
    config.optimizer = OptimizerConfig { lr: 0.02, warmup: 0, ema: 0.9, ..Default::default() };
    let options = TrainOptions { validation: 0.3, validate_every: 6, ..options(6) };
    let mut model = ScoreModel::new(config, &mut seeded(1)).unwrap();
    let report = model.train(&moons(500, 0), &options, &mut seeded(2), &mut Silent).unwrap();
    let answers = |model: &ScoreModel| (drawn(model, 20), model.score(moons(500, 0).x()).unwrap());
    let before = answers(&model);

    let Rows { validation, streams, .. } =
        Rows::prepare(&moons(500, 0), &Fitted::new(2, ConditionKind::None), &options, &mut seeded(2))
            .unwrap();
    let objective = NoiseMse { net: &model.net, ends: Levels::Timesteps(&model.levels), dropout: 0.1 };
    let loss = |p: &[f32]| mean_loss(&objective, p, &validation, Progress { step: 6, steps: 6 }, streams);
    assert_eq!(report.validation.last().unwrap().1, loss(&model.learned.parameters.average));
    assert_ne!(loss(&model.learned.parameters.average), loss(&model.learned.parameters.p));

    Arc::make_mut(&mut model.learned).parameters.p.fill(f32::NAN);
    assert_eq!(answers(&model), before);
    Arc::make_mut(&mut model.learned).parameters.average.iter_mut().for_each(|p| *p *= 1.1);
    assert!(answers(&model).0 != before.0 && answers(&model).1 != before.1);
}

//! What the players learn, held against what is known; the contract; bad input.

mod conditions;
mod derivatives;

use crate::nn::NetworkSpec;
use ndarray::{Array2, array};

use super::*;
use crate::error::ConditionError;
use crate::metrics::mode_coverage;
use crate::nn::Activation::{self, LeakyRelu};
use crate::numeric::Real;
use crate::testing::{moons, residual};
use crate::worlds::Toy;
use crate::{Error, seeded};

const GAMES: [AdversarialLoss; 3] = [
    AdversarialLoss::Minimax,
    AdversarialLoss::NonSaturatingR1 { gamma: 0.7 },
    AdversarialLoss::WassersteinGp { lambda: 3.0 },
];

type Change = fn(&mut GanConfig);

fn small(loss: AdversarialLoss) -> GanConfig {
    GanConfig {
        loss,
        generator: NetworkSpec::mlp([6, 5], Activation::Silu, 1),
        critic: NetworkSpec::mlp([7, 5], Activation::LeakyRelu { slope: 0.2 }, 1),
        ..GanConfig::default()
    }
}

/// A standard normal in one column.
fn normal(n: usize) -> Dataset {
    let toy = Toy::mixture(&[1.0], array![[0.0]].view(), array![[[1.0]]].view()).unwrap();
    Dataset::new(toy.sample(n, &mut seeded(1))).unwrap()
}

/// A critic of N(0, 1) against a generator that stands still at N(shift, scale²).
fn against_a_fixed_generator(loss: AdversarialLoss, scale: f32, shift: f32) -> (Gan, TrainReport) {
    let mut config = GanConfig {
        dim: 1,
        latent_dim: 1,
        loss,
        generator: NetworkSpec::mlp([], Activation::Silu, 0),
        critic: NetworkSpec::mlp([32, 32], Activation::Silu, 0),
        critic_lr: 1e-2,
        ..GanConfig::default()
    };
    config.optimizer.lr = 1e-30;
    let mut gan = Gan::new(config, &mut seeded(0)).unwrap();
    gan.generator_parameters = Parameters::new(vec![scale, shift]);
    let options = TrainOptions { steps: 800, batch: 512, ..Default::default() };
    let report = gan.train(&normal(20_000), &options, &mut seeded(2), &mut Silent).unwrap();
    (gan, report)
}

#[test]
fn the_best_critic_knows_the_log_ratio_of_the_densities() {
    // Goodfellow et al. 2014, proposition 1: D* = ln p − ln p_G = −x²/2 + 2x² + ln ½.
    let (gan, _) = against_a_fixed_generator(AdversarialLoss::Minimax, 0.5, 0.0);
    let x = array![[-1.2], [-0.7], [0.0], [0.4], [1.0]];
    for (x, d) in x.iter().zip(gan.critic(x.view()).unwrap()) {
        let want = 1.5 * f64::from(x * x) - 2f64.ln();
        assert!((d - want).abs() < 0.15, "D({x}) = {d}, expected {want}");
    }
}

#[test]
fn the_wasserstein_critic_measures_the_distance() {
    // W₁ = 1.5. A critic of slope c wins cW₁ and pays λ(c−1)²: the best c is 1 + W₁/2λ.
    let (distance, lambda) = (1.5, 5.0);
    let (_, report) =
        against_a_fixed_generator(AdversarialLoss::WassersteinGp { lambda }, 1.0, distance as f32);
    let mean = |part: usize| report.parts[part].1[600..].iter().sum::<f64>() / 200.0;
    let c = 1.0 + distance / (2.0 * lambda);
    assert!((-mean(0) - c * distance).abs() < 0.05, "{}, expected {}", -mean(0), c * distance);
    let penalty = lambda * (c - 1.0).powi(2);
    assert!((mean(1) - penalty).abs() < 0.05, "{}, expected {penalty}", mean(1));
}

#[test]
fn known_modes_are_recovered() {
    let toy = Toy::ring(8, 1.0, 0.08).unwrap();
    let modes = toy.modes().unwrap();
    let data = Dataset::new(toy.sample(10_000, &mut seeded(0))).unwrap();
    for loss in [AdversarialLoss::NonSaturatingR1 { gamma: 1.0 }, GanConfig::default().loss] {
        let config = GanConfig {
            loss,
            generator: NetworkSpec::mlp([32; 3], Activation::Silu, 3),
            critic: NetworkSpec::mlp([32; 2], Activation::LeakyRelu { slope: 0.2 }, 3),
            ..Default::default()
        };
        let mut gan = Gan::new(config, &mut seeded(1)).unwrap();
        let options = TrainOptions { steps: 1000, ..Default::default() };
        gan.train(&data, &options, &mut seeded(2), &mut Silent).unwrap();
        let x = gan.sample(2_500, &SampleOptions::default(), &mut seeded(3)).unwrap().x;
        let found = mode_coverage(x.view(), modes.centers.view(), modes.sigma).unwrap();
        assert!(found.modes_fair == 8 && found.high_quality > 0.7, "{loss:?}: {found:?}");
    }
}

fn options() -> TrainOptions {
    TrainOptions { steps: 4, batch: 64, ..Default::default() }
}

fn trained(config: GanConfig) -> (Gan, TrainReport) {
    let mut gan = Gan::new(config, &mut seeded(1)).unwrap();
    let report = gan.train(&moons(500, 0), &options(), &mut seeded(2), &mut Silent).unwrap();
    (gan, report)
}

fn drawn(gan: &Gan, n: usize) -> Array2<f32> {
    gan.sample(n, &SampleOptions::default(), &mut seeded(3)).unwrap().x
}

#[test]
fn the_averages_draw_and_judge() {
    let (gan, _) = trained(small(GAMES[2]));
    let data = moons(500, 0);
    let seen = |gan: &Gan| (drawn(gan, 20), gan.critic(data.x()).unwrap());
    // The last parameters have no say …
    let mut forgetful = gan.clone();
    forgetful.generator_parameters.p.fill(0.0);
    forgetful.critic_parameters.p.fill(0.0);
    assert_eq!(seen(&forgetful), seen(&gan));
    // … and are others than the averages.
    let mut last = gan.clone();
    for parameters in [&mut last.generator_parameters, &mut last.critic_parameters] {
        parameters.average.clone_from(&parameters.p);
    }
    let (ours, theirs) = (seen(&gan), seen(&last));
    assert!(ours.0 != theirs.0 && ours.1 != theirs.1);
}

#[test]
fn held_out_rows_watch_the_players_as_they_stand() {
    let run = |ema| {
        let mut config = small(GAMES[1]);
        config.optimizer.ema = ema;
        let mut gan = Gan::new(config, &mut seeded(1)).unwrap();
        let options = TrainOptions { validation: 0.2, validate_every: 2, ..options() };
        let report = gan.train(&moons(500, 0), &options, &mut seeded(2), &mut Silent).unwrap();
        (report, gan.generator_parameters)
    };
    let (averaged, last) = (run(0.9), run(0.0));
    assert_eq!(averaged.0, last.0);
    assert_eq!(averaged.1.p, last.1.p);
    assert_ne!(averaged.1.average, last.1.average);
}

#[test]
fn the_units_of_the_data_do_not_matter() {
    let run = |data: Dataset| {
        let mut gan = Gan::new(small(GAMES[1]), &mut seeded(1)).unwrap();
        gan.train(&data, &options(), &mut seeded(2), &mut Silent).unwrap();
        (drawn(&gan, 20), gan.critic(data.x()).unwrap())
    };
    let far = Dataset::new(moons(500, 0).x().mapv(|x| 8.0 * x + 64.0)).unwrap();
    let (near, far) = (run(moons(500, 0)), run(far));
    let off = |a: f64, b: f64| (a - b).abs();
    assert!(near.0.iter().zip(&far.0).all(|(&x, &y)| off(8.0 * f64::from(x) + 64.0, y.into()) < 0.02));
    assert!(near.1.iter().zip(&far.1).all(|(&x, &y)| off(x, y) < 0.01));
}

#[test]
fn the_wasserstein_penalty_is_taken_between_real_and_generated_rows() {
    // Real rows at ±1, generated ones at −40, and a critic whose slope is 1 above −20 and 0.2 below: of points spread
    // evenly between them half pay λ·0.8².
    let lambda = 3.0;
    let mut config = GanConfig {
        dim: 1,
        latent_dim: 1,
        loss: AdversarialLoss::WassersteinGp { lambda },
        generator: NetworkSpec::mlp([], Activation::Silu, 0),
        critic: NetworkSpec::mlp([1], Activation::LeakyRelu { slope: 0.2 }, 0),
        ..GanConfig::default()
    };
    (config.optimizer.lr, config.critic_lr) = (1e-30, 1e-30);
    let mut gan = Gan::new(config, &mut seeded(0)).unwrap();
    gan.generator_parameters = Parameters::new(vec![1e-6, -40.0]);
    gan.critic_parameters = Parameters::new(vec![1.0, 20.0, 1.0, 0.0]);
    let data = Dataset::new(Array2::from_shape_fn((100, 1), |(i, _)| (i % 2) as f32 * 2.0 - 1.0)).unwrap();
    let options = TrainOptions { steps: 1, batch: 4096, ..Default::default() };
    let report = gan.train(&data, &options, &mut seeded(2), &mut Silent).unwrap();
    let penalty = report.parts[1].1[0];
    assert!((penalty / lambda - 0.32).abs() < 0.03, "{penalty}");
}

#[test]
fn each_move_has_rows_and_noise_of_its_own() {
    // Players who stand still: only what a move draws makes a difference.
    let losses = |critic_steps| {
        let mut config = GanConfig { critic_steps, critic_lr: 1e-30, ..small(GAMES[1]) };
        config.optimizer.lr = 1e-30;
        let mut gan = Gan::new(config, &mut seeded(1)).unwrap();
        let one = TrainOptions { steps: 1, ..options() };
        let report = gan.train(&moons(500, 0), &one, &mut seeded(2), &mut Silent).unwrap();
        [report.parts[0].1[0], report.parts[2].1[0]]
    };
    let (one, two) = (losses(1), losses(2));
    assert!(one[0] != two[0] && one[1] != two[1], "{one:?} {two:?}");
}

#[test]
fn every_option_matters() {
    let rows = |config| drawn(&trained(config).0, 20);
    for base in GAMES.map(small) {
        let changes: [Change; 12] = [
            |c| c.latent_dim = 3,
            |c| c.generator = NetworkSpec::mlp([6, 6], Activation::Silu, 1),
            |c| c.generator = residual(),
            |c| c.critic = residual(),
            |c| c.generator = NetworkSpec::mlp([6, 5], Activation::Tanh, 1),
            |c| c.generator = c.generator.clone().with_octaves(2),
            |c| c.critic = NetworkSpec::mlp([7, 6], c.critic.activation(), 1),
            |c| c.critic = NetworkSpec::mlp([7, 5], Activation::Tanh, 1),
            |c| c.critic = c.critic.clone().with_octaves(2),
            |c| c.critic_steps = 2,
            |c| c.critic_lr *= 2.0,
            |c| c.optimizer.lr *= 2.0,
        ];
        let unchanged = rows(base.clone());
        assert_eq!(rows(base.clone()), unchanged);
        for (i, change) in changes.iter().enumerate() {
            let mut config = base.clone();
            change(&mut config);
            assert_ne!(rows(config), unchanged, "{:?}, change {i}", base.loss);
        }
    }
    let different = |a, b| rows(small(a)) != rows(small(b));
    use AdversarialLoss::*;
    assert!(different(NonSaturatingR1 { gamma: 0.5 }, NonSaturatingR1 { gamma: 1.0 }));
    assert!(different(WassersteinGp { lambda: 0.5 }, WassersteinGp { lambda: 1.0 }));
    assert!(different(Minimax, NonSaturatingR1 { gamma: 0.0 }));
}

#[test]
fn more_critic_steps_bring_the_critic_further() {
    let last = |critic_steps| {
        let config = GanConfig { critic_steps, ..small(AdversarialLoss::WassersteinGp { lambda: 1.0 }) };
        let options = TrainOptions { steps: 60, ..options() };
        let mut gan = Gan::new(config, &mut seeded(1)).unwrap();
        let report = gan.train(&moons(500, 0), &options, &mut seeded(2), &mut Silent).unwrap();
        report.loss[40..].iter().sum::<f64>()
    };
    let (one, five) = (last(1), last(5));
    assert!(five < one, "{five} with five steps, {one} with one");
}

#[cfg(feature = "rayon")]
#[test]
fn threads_do_not_move_a_bit() {
    let run = |loss, threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut gan = Gan::new(small(loss), &mut seeded(1)).unwrap();
            let options = TrainOptions { shards: 3, validation: 0.2, ..options() };
            let report = gan.train(&moons(500, 0), &options, &mut seeded(2), &mut Silent).unwrap();
            (report, drawn(&gan, 130), gan.critic(moons(500, 0).x()).unwrap())
        })
    };
    for loss in GAMES {
        let one = run(loss, 1);
        assert!(one == run(loss, 2) && one == run(loss, 5), "{loss:?}");
    }
}

#[test]
fn samples_are_a_prefix_scale_with_temperature_and_have_no_density() {
    let (gan, _) = trained(small(GAMES[2]));
    let all = drawn(&gan, 100);
    assert_eq!(drawn(&gan, 49), all.slice(ndarray::s![..49, ..]));
    assert_eq!(drawn(&gan, 0).dim(), (0, 2));
    let cold = gan.sample(100, &SampleOptions { temperature: 1e-3 }, &mut seeded(3)).unwrap().x;
    let spread = |x: &Array2<f32>| x.std_axis(ndarray::Axis(0), 0.0).sum();
    assert!(spread(&cold) < 0.01 * spread(&all));
    let score = gan.log_likelihood(all.view(), &LikelihoodOptions::default()).unwrap();
    assert_eq!((score, gan.card().nfe), (LogLikelihood::Unavailable, 1));
    let far = gan.critic(array![[f32::MAX, f32::MIN], [1e20, 0.0]].view()).unwrap();
    assert!(far.iter().all(|d| d.is_finite()), "{far}");
}

#[test]
fn held_out_rows_measure_the_critic_without_its_penalty() {
    let mut gan = Gan::new(small(AdversarialLoss::WassersteinGp { lambda: 1e6 }), &mut seeded(1)).unwrap();
    let options = TrainOptions { steps: 5, validation: 0.1, validate_every: 2, ..options() };
    let report = gan.train(&moons(500, 0), &options, &mut seeded(2), &mut Silent).unwrap();
    assert_eq!(report.validation.iter().map(|v| v.0).collect::<Vec<_>>(), [2, 4, 5]);
    assert!(report.validation.iter().all(|v| v.1.abs() < 100.0), "{:?}", report.validation);
    assert!(report.loss[0] > 1e4);

    let patient = TrainOptions { patience: Some(2), ..options };
    let refused = gan.train(&moons(500, 0), &patient, &mut seeded(2), &mut Silent);
    assert!(matches!(refused, Err(Error::Config { field: "TrainOptions::patience", .. })), "{refused:?}");
}

#[test]
fn a_divergence_leaves_both_players_at_their_last_good_parameters() {
    for loss in GAMES {
        for (lr, critic_lr) in [(1e30, 1e-3), (1e-3, 1e30)] {
            let mut config = GanConfig { critic_lr, ..small(loss) };
            (config.optimizer.lr, config.optimizer.warmup) = (lr, 0);
            let mut gan = Gan::new(config, &mut seeded(1)).unwrap();
            let run = gan.train(
                &moons(500, 0),
                &TrainOptions { steps: 50, ..options() },
                &mut seeded(2),
                &mut Silent,
            );
            assert!(matches!(run, Err(Error::Diverged { .. })), "{loss:?} {lr} {critic_lr}: {run:?}");
            for parameters in [&gan.generator_parameters, &gan.critic_parameters] {
                assert!(parameters.p.iter().chain(&parameters.average).all(|p| p.is_finite()));
            }
            assert!(drawn(&gan, 50).iter().all(|x| x.is_finite()));
        }
    }
}

#[test]
fn a_config_out_of_range_is_named() {
    let bad: [(&str, Change); 15] = [
        ("GanConfig::dim", |c| c.dim = 0),
        ("GanConfig::latent_dim", |c| c.latent_dim = 0),
        ("AdversarialLoss::gamma", |c| c.loss = AdversarialLoss::NonSaturatingR1 { gamma: -1.0 }),
        ("AdversarialLoss::lambda", |c| c.loss = AdversarialLoss::WassersteinGp { lambda: f64::NAN }),
        ("GanConfig::generator", |c| c.generator = NetworkSpec::mlp([4, 0], Activation::Silu, 3)),
        ("GanConfig::generator", |c| c.generator = c.generator.clone().with_octaves(15)),
        ("Activation::LeakyRelu::slope", |c| {
            c.generator = NetworkSpec::mlp([4], LeakyRelu { slope: f64::NAN }, 3)
        }),
        ("Activation::LeakyRelu::slope", |c| {
            c.critic = NetworkSpec::mlp([4], LeakyRelu { slope: f64::NAN }, 3)
        }),
        ("GanConfig::critic", |c| c.critic = NetworkSpec::mlp([0], Activation::Silu, 3)),
        ("GanConfig::critic", |c| c.critic = c.critic.clone().with_octaves(15)),
        ("GanConfig::critic_steps", |c| c.critic_steps = 0),
        ("GanConfig::critic_lr", |c| c.critic_lr = 0.0),
        ("OptimizerConfig::lr", |c| c.optimizer.lr = -1.0),
        ("GanConfig::condition", |c| c.condition = ConditionKind::Class { classes: 0 }),
        ("GanConfig::critic", |c| {
            (c.condition, c.conditioning) = (ConditionKind::Vector { dim: 65_536 }, Conditioning::Projection);
            c.generator = NetworkSpec::mlp([], Activation::Silu, 3);
            c.critic = NetworkSpec::mlp([8_192], Activation::Silu, 3);
        }),
    ];
    for (name, spoil) in bad {
        let mut config = GanConfig::default();
        spoil(&mut config);
        match Gan::new(config, &mut seeded(0)) {
            Err(Error::Config { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

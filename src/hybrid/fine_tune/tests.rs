//! Losses against differences and closed forms; what a tuning reaches, keeps and refuses.

use std::ops::ControlFlow::{Break, Continue};

use ndarray::Array1;
use rand::Rng as _;

use super::*;
use crate::diffusion::{
    Against, Drawn, Guidance, Levels, Method, NoiseNet, Plan, Sampler, Scratch, Trained, reverse,
};
use crate::engine::{Batch, Loss, Stop};
use crate::error::Error;
use crate::map::Paradigm as Way;
use crate::metrics::energy_distance;
use crate::nn::{Activation, NetworkSpec};
use crate::numeric::rng::{Rng, seeded};
use crate::testing::{PROGRESS, assert_close, check_gradient, loss_grad, normals};
use crate::worlds::Toy;
use crate::{Checkpoint, DiffusionConfig, NoObserver, Step};

const FEW: Sampler = Sampler::Ddim { steps: 3, eta: 0.0 };

fn tiny(condition: ConditionKind, sampler: Sampler) -> DiffusionConfig {
    DiffusionConfig {
        network: NetworkSpec::mlp([6, 5], Activation::Silu, 1),
        time_features: 4,
        timesteps: 50,
        condition,
        condition_dropout: 0.3,
        sampler,
        ..Default::default()
    }
}

/// Both players in f64.
struct Both {
    config: DiffusionConfig,
    net: NoiseNet<f64>,
    plan: Plan,
    estimates: Vec<Estimate>,
    critic: Player,
    p: Vec<f64>,
    of_critic: Vec<f64>,
}

impl Both {
    fn new(config: DiffusionConfig) -> Self {
        let plan = Diffusion::new(config.clone(), &mut seeded(0)).unwrap().plan;
        let (net, estimates) = (NoiseNet::new(&config).unwrap(), plan.estimates().unwrap());
        let spec = NetworkSpec::mlp([7, 5], Activation::Tanh, 1);
        let critic = Player::joined(&spec, (2, config.condition.width() + estimates.len()), 1);
        let some = |n, seed| normals::<f64>(n, &mut seeded(seed)).iter().map(|p| 0.4 * p).collect();
        let (p, of_critic) = (some(net.num_params(), 1), some(critic.net.num_params(), 2));
        Both { config, net, plan, estimates, critic, p, of_critic }
    }

    fn steps(&self) -> Steps<'_, f64> {
        let dropout = self.config.condition_dropout;
        Steps { net: &self.net, plan: &self.plan, estimates: &self.estimates, dropout }
    }

    fn rows(&self, n: usize, rng: &mut Rng) -> (Vec<f64>, Vec<f64>) {
        (normals(2 * n, rng), normals(n * self.config.condition.width(), rng))
    }
}

/// Samplers of few and more steps, with noise and memory, whose last step is an estimate or not; conditions.
fn all() -> Vec<Both> {
    let vector = ConditionKind::Vector { dim: 2 };
    let samplers = [
        (ConditionKind::None, FEW),
        (vector, Sampler::Ddim { steps: 2, eta: 1.0 }),
        (ConditionKind::Class { classes: 3 }, Sampler::DpmSolver { steps: 3 }),
        (ConditionKind::None, Sampler::Heun { steps: 2 }),
    ];
    samplers.into_iter().map(|(condition, sampler)| Both::new(tiny(condition, sampler))).collect()
}

const R3: AdversarialLoss = AdversarialLoss::Relativistic { gamma: 0.7 };

#[test]
fn judge_gradient_is_that_of_its_loss() {
    for both in all() {
        let judge = Judge { loss: R3, critic: &both.critic, steps: both.steps(), opponent: both.p.clone() };
        let (x, c) = both.rows(5, &mut seeded(3));
        let (what, batch) = (format!("{:?}", both.config.sampler), Batch { x: &x, c: &c });
        let checked = check_gradient(&what, &judge, &both.of_critic, 5, batch, |_| false);
        assert!(checked.parts[1] > 1e-3, "{what}: {:?}", checked.parts);
    }
}

#[test]
fn pupil_gradient_is_that_of_its_loss() {
    for both in all() {
        for hold in [0.0, 1.5] {
            let mut of_critic = vec![0.0; both.of_critic.len()];
            both.critic.net.transpose(&both.of_critic, &mut of_critic);
            let (ends, dropout) = (Levels::LogSnr(-5.0, 8.0), both.config.condition_dropout);
            let pupil = Pupil {
                loss: R3,
                critic: &both.critic,
                steps: both.steps(),
                noise: NoiseMse { net: &both.net, ends, dropout },
                hold,
                opponent: (both.of_critic.clone(), of_critic),
                own: both.p.clone(),
            };
            let (x, c) = both.rows(5, &mut seeded(3));
            let (what, batch) = (format!("{:?}, λ = {hold}", both.config.sampler), Batch { x: &x, c: &c });
            let checked = check_gradient(&what, &pupil, &both.p, 5, batch, |_| false);
            assert!(checked.dp.iter().any(|dp| dp.abs() > 1e-3), "{what}");
        }
    }
}

#[test]
fn rows_at_the_last_step_become_what_the_sampler_draws() {
    for sampler in [FEW, Sampler::Ddim { steps: 20, eta: 0.0 }, Sampler::Ddim { steps: 4, eta: 0.6 }] {
        let both = Both::new(tiny(ConditionKind::None, sampler));
        let (n, steps) = (60, both.estimates.len());
        let judge = Judge { loss: R3, critic: &both.critic, steps: both.steps(), opponent: both.p.clone() };
        let mut made = Default::default();
        judge.draw(n, &[], PROGRESS, &mut seeded(5), &mut made);

        let mut rng = seeded(5);
        let _: f64 = rng.random();
        let streams = RowStreams::new(Streams::from_rng(&mut rng), 0);
        let (mut drawn, mut states) = (vec![0.0; 2 * n], Vec::new());
        let network = Trained { net: &both.net, p: &both.p, c: &[] };
        reverse(&network, &both.plan, 1.0, streams, &mut Scratch::default(), &mut drawn, |x| {
            states.push(x.to_vec());
        });
        let mut of_step = vec![0; steps];
        for (r, told) in made.states.told.chunks_exact(steps).enumerate() {
            let row = 2 * r..2 * r + 2;
            let step = told.iter().position(|&told| told == 1.0).unwrap();
            of_step[step] += 1;
            assert_eq!(made.states.x[row.clone()], states[step][row.clone()], "{sampler:?}, step {step}");
            if step + 1 == steps {
                assert_close(&format!("{sampler:?}"), 1e-9, &made.clean[row.clone()], &drawn[row]);
            }
        }
        assert!(of_step.iter().all(|&rows| rows == n / steps), "{of_step:?}");
        for (k, Estimate { level, keep, eps }) in both.estimates.iter().enumerate() {
            let share = if k + 1 == steps && steps == 20 { 0.5 } else { 1.0 };
            let want = [level.alpha.recip(), -share * level.sigma / level.alpha];
            assert_close(&format!("{sampler:?}, step {k}"), 1e-9, &[*keep, *eps], &want);
        }
    }
}

/// Of a game of β and α at M levels, for pairs of rows.
fn contrast<'a>(both: &'a Both, reference: &'a [f64], game: &'a ImplicitGame) -> Contrast<'a, f64> {
    Contrast { net: &both.net, reference, span: (-4.0, 6.0), dropout: both.config.condition_dropout, game }
}

#[test]
fn contrast_gradient_is_that_of_its_loss() {
    for both in all() {
        let reference: Vec<f64> = both.p.iter().map(|p| 0.9 * p + 0.02).collect();
        for draws in [1, 3] {
            let game = ImplicitGame { alpha: 0.6, beta: 0.8, draws };
            let (x, rng) = (normals(4 * 5, &mut seeded(3)), &mut seeded(4));
            let c = both.rows(5, rng).1;
            let (what, batch) = (format!("{:?}, M = {draws}", both.config.sampler), Batch { x: &x, c: &c });
            let checked =
                check_gradient(&what, &contrast(&both, &reference, &game), &both.p, 5, batch, |_| false);
            assert_close(&what, 1e-12, &[checked.parts.iter().sum()], &[checked.loss]);
        }
    }
}

/// Zheng et al. 2025: the noise MSE of each row, weighted by β σ(−β r) or −α β σ(β r).
#[test]
fn contrast_gradient_is_a_noise_mse_of_signed_weights() {
    let both = Both::new(tiny(ConditionKind::None, FEW));
    let reference: Vec<f64> = both.p.iter().map(|p| 0.9 * p + 0.02).collect();
    let (n, alpha, beta) = (4, 0.6, 0.8);
    let game = ImplicitGame { alpha, beta, draws: 1 };
    let loss = contrast(&both, &reference, &game);
    let (x, mut probes) = (normals::<f64>(4 * n, &mut seeded(3)), Default::default());
    loss.draw(n, &[], PROGRESS, &mut seeded(4), &mut probes);
    let (got, dp) = loss_grad(&loss, &both.p, Batch::of(&x), &probes);

    let mse = NoiseMse { net: &both.net, ends: Levels::LogSnr(-4.0, 6.0), dropout: 0.0 };
    let (mut total, mut want) = (0.0, vec![0.0; dp.len()]);
    for (side, r) in (0..2).flat_map(|side| (0..n).map(move |r| (side, r))) {
        let ends = probes.eps[2 * (side * n + r)..][..2].to_vec();
        let drawn = Drawn { levels: vec![probes.levels[r]], ends, c: Vec::new(), row: Vec::new() };
        let row = Batch::of(&x[4 * r + 2 * side..][..2]);
        let (now, slope) = loss_grad(&mse, &both.p, row, &drawn);
        let (before, _) = loss_grad(&mse, &reference, row, &drawn);
        // Half of Λ = 10, of two columns' squares instead of their mean.
        let ratio = -10.0 * (now - before);
        let sigma = |a: f64| 1.0 / (1.0 + (-a).exp());
        let weight = [beta * sigma(-beta * ratio), -alpha * beta * sigma(beta * ratio)][side];
        total += [-sigma(beta * ratio).ln(), -alpha * (1.0 - sigma(beta * ratio)).ln()][side];
        want.iter_mut().zip(slope).for_each(|(want, slope)| *want += 10.0 * weight * slope);
    }
    assert_close("loss", 1e-9, &[got], &[total]);
    assert_close("gradient", 1e-9, &dp, &want);

    // Before the first step the model is its reference, which a critic cannot tell from itself.
    let (start, _) = loss_grad(&contrast(&both, &both.p, &game), &both.p, Batch::of(&x), &probes);
    assert_close("at the reference", 1e-12, &[start], &[n as f64 * (1.0 + alpha) * 2f64.ln()]);
}

fn ring(n: usize, seed: u64) -> Dataset {
    Dataset::new(Toy::ring(4, 1.0, 0.1).unwrap().sample(n, &mut seeded(seed))).unwrap()
}

/// Trained on four modes on a ring, drawn in few steps.
fn trained(steps: usize) -> Diffusion {
    let network = NetworkSpec::mlp([32, 32], Activation::Silu, 3);
    let config = DiffusionConfig { network, sampler: FEW, ..tiny(ConditionKind::None, FEW) };
    let mut model = Diffusion::new(config, &mut seeded(0)).unwrap();
    let options = TrainOptions { steps, batch: 128, ..Default::default() };
    model.train(&ring(2_000, 0), &options, &mut seeded(1), &mut NoObserver).unwrap();
    model
}

fn explicit() -> FineTuneConfig {
    let critic = NetworkSpec::mlp([32, 32], Activation::LeakyRelu { slope: 0.2 }, 3);
    let game = Game::Explicit(ExplicitGame { critic, ..Default::default() });
    FineTuneConfig { game, ..Default::default() }
}

fn implicit() -> FineTuneConfig {
    FineTuneConfig { game: Game::Implicit(ImplicitGame::default()), ..Default::default() }
}

fn tune(model: &mut Diffusion, config: &FineTuneConfig, options: &TrainOptions) -> Result<TrainReport> {
    fine_tune(model, config, &ring(2_000, 0), options, &mut seeded(2), &mut NoObserver)
}

#[test]
fn tuned_sampler_comes_closer_to_the_data() {
    let model = trained(600);
    let truth = ring(2_000, 7);
    let distance = |model: &Diffusion| {
        energy_distance(model.draw(2_000, &mut seeded(3)).unwrap().view(), truth.x()).unwrap()
    };
    let before = distance(&model);
    // A game takes longer than a contrast with rows that are drawn once.
    for (config, steps, most) in [(explicit(), 800, 0.5), (implicit(), 300, 0.9)] {
        let mut tuned = model.clone();
        let options = TrainOptions { steps, batch: 128, ..Default::default() };
        tune(&mut tuned, &config, &options).unwrap();
        let after = distance(&tuned);
        assert!(after < most * before, "{config:?}: from {before} to {after}");
    }
}

#[cfg(feature = "rayon")]
#[test]
fn tuning_is_the_same_with_any_threads() {
    let model = trained(20);
    for config in [explicit(), implicit()] {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let options =
                TrainOptions { steps: 4, batch: 200, shards: 3, validation: 0.1, ..Default::default() };
            let mut tuned = model.clone();
            let report = pool.install(|| tune(&mut tuned, &config, &options).unwrap());
            (report, tuned.learned.parameters.clone())
        };
        assert_eq!(run(1), run(3));
    }
}

#[test]
fn tuning_resumes_from_its_checkpoint() {
    let model = trained(20);
    for (name, config) in [("explicit", explicit()), ("implicit", implicit())] {
        let path = std::env::temp_dir().join(format!("quadrivium-tune-{name}-{}", std::process::id()));
        let checkpoint = Some(Checkpoint { path: path.clone(), every: 2 });
        let options = TrainOptions { steps: 7, batch: 64, checkpoint, ..Default::default() };
        let run = |observer: &mut dyn Observer| {
            let mut tuned = model.clone();
            let data = ring(500, 0);
            let report = fine_tune(&mut tuned, &config, &data, &options, &mut seeded(2), observer).unwrap();
            (report, tuned.learned.parameters.clone())
        };
        let (stopped, _) = run(&mut |step: &Step<'_>| if step.step == 3 { Break(()) } else { Continue(()) });
        assert_eq!((stopped.stop, stopped.loss.len()), (Stop::Interrupted, 4));
        let resumed = run(&mut NoObserver);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(resumed, run(&mut NoObserver), "{name}");
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(path.with_extension("previous")).ok();
    }
}

#[test]
fn tuned_diffusion_is_a_hybrid_that_draws_and_scores_as_before() {
    let model = trained(20);
    let before = model.card();
    let options = TrainOptions { steps: 2, ..Default::default() };
    for config in [explicit(), implicit()] {
        let mut tuned = model.clone();
        tune(&mut tuned, &config, &options).unwrap();
        let card = tuned.card();
        assert_eq!((card.paradigm, card.nfe, card.likelihood), (Way::Hybrid, 3, before.likelihood));
        assert_eq!(
            card.parts.iter().map(|part| part.paradigm).collect::<Vec<_>>(),
            [Way::Diffusion, Way::Adversarial]
        );
        assert!(before.failures.iter().all(|failure| card.failures.contains(failure)));
        // The model that it was made from stays, and a view in more steps is a hybrid, too.
        assert_eq!(model.card(), before);
        let slow = tuned.with_sampler(Sampler::Ddim { steps: 20, eta: 0.0 }).unwrap();
        assert_eq!((slow.card().nfe, slow.card().parts.len()), (20, 2));
        assert!(tuned.log_likelihood(ring(20, 1).x(), &Default::default()).unwrap().nats().is_some());
        #[cfg(feature = "safetensors")]
        {
            use crate::model::file::Persist;
            let again = Diffusion::from_bytes(&tuned.to_bytes().unwrap()).unwrap();
            assert_eq!((again.card(), &again.learned.parameters), (card, &tuned.learned.parameters));
        }
    }
}

#[test]
fn tuned_conditions_are_kept() {
    // Rows of class k are about 4 k.
    let class = |row: usize| (row % 2) as u32;
    let noise = normals::<f32>(1_000, &mut seeded(0));
    let x = Array2::from_shape_fn((1_000, 1), |(row, _)| 4.0 * class(row) as f32 + 0.3 * noise[row]);
    let classes = Condition::Class(Array1::from_shape_fn(1_000, class));
    let data = Dataset::new(x).unwrap().with_condition(classes).unwrap();
    let network = NetworkSpec::mlp([32, 32], Activation::Silu, 1);
    let config = DiffusionConfig { dim: 1, network, ..tiny(ConditionKind::Class { classes: 2 }, FEW) };
    let mut model = Diffusion::new(config, &mut seeded(0)).unwrap();
    let options = TrainOptions { steps: 300, batch: 64, ..Default::default() };
    model.train(&data, &options, &mut seeded(1), &mut NoObserver).unwrap();
    for config in [explicit(), implicit()] {
        let mut tuned = model.clone();
        let options = TrainOptions { steps: 60, batch: 64, ..Default::default() };
        fine_tune(&mut tuned, &config, &data, &options, &mut seeded(2), &mut NoObserver).unwrap();
        assert!(tuned.learned.parameters != model.learned.parameters);
        for class in [0, 1] {
            let drawn = tuned.given(&Condition::class(class)).unwrap().draw(400, &mut seeded(3)).unwrap();
            let mean = drawn.mean().unwrap();
            assert!((mean - 4.0 * class as f32).abs() < 0.5, "{config:?}, class {class}: {mean}");
        }
        // It still knows its rows without a class.
        let (n, all) = (400, tuned.draw(400, &mut seeded(3)).unwrap());
        let low = all.iter().filter(|x| **x < 2.0).count();
        assert!((n / 4..3 * n / 4).contains(&low), "{config:?}: {low} of {n}");

        let blind = Dataset::new(data.x().to_owned()).unwrap();
        let refused = fine_tune(&mut tuned, &config, &blind, &options, &mut seeded(2), &mut NoObserver);
        assert!(matches!(refused, Err(Error::Condition(_))), "{refused:?}");
    }
}

#[test]
fn tuning_refuses_what_it_cannot_do() {
    let (model, options) = (trained(2), TrainOptions { steps: 1, batch: 8, ..Default::default() });
    let field = |mut model: Diffusion, config: &FineTuneConfig, options: &TrainOptions| match tune(
        &mut model, config, options,
    ) {
        Err(Error::Config { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let untrained = Diffusion::new(tiny(ConditionKind::None, FEW), &mut seeded(0)).unwrap();
    assert_eq!(field(untrained, &explicit(), &options), "fine_tune::model");
    let weaker = Against::Weaker(model.clone());
    let guided = model.with_guidance(Guidance { against: weaker, ..Default::default() }).unwrap();
    assert_eq!(field(guided, &implicit(), &options), "fine_tune::model");
    for sampler in [Sampler::Ode { method: Method::Rk4, steps: 5 }, Sampler::EulerMaruyama { steps: 101 }] {
        let slow = model.with_sampler(sampler).unwrap();
        assert_eq!(field(slow.clone(), &explicit(), &options), "DiffusionConfig::sampler");
        assert!(tune(&mut slow.clone(), &implicit(), &options).is_ok());
    }
    let patient = TrainOptions { validation: 0.1, patience: Some(1), ..options.clone() };
    assert_eq!(field(model.clone(), &explicit(), &patient), "TrainOptions::patience");

    let of = |game| FineTuneConfig { game, ..Default::default() };
    let own = |game| of(Game::Implicit(game));
    let other = |game| of(Game::Explicit(game));
    let thin = NetworkSpec::mlp([0], Activation::Silu, 1);
    for (config, named) in [
        (own(ImplicitGame { alpha: -0.1, ..Default::default() }), "ImplicitGame::alpha"),
        (own(ImplicitGame { beta: 0.0, ..Default::default() }), "ImplicitGame::beta"),
        (own(ImplicitGame { draws: 0, ..Default::default() }), "ImplicitGame::draws"),
        (other(ExplicitGame { gamma: f64::NAN, ..Default::default() }), "ExplicitGame::gamma"),
        (other(ExplicitGame { hold: -1.0, ..Default::default() }), "ExplicitGame::hold"),
        (other(ExplicitGame { critic: thin, ..Default::default() }), "ExplicitGame::critic"),
        (other(ExplicitGame { critic_steps: 0, ..Default::default() }), "ExplicitGame::critic_steps"),
        (other(ExplicitGame { critic_lr: 0.0, ..Default::default() }), "ExplicitGame::critic_lr"),
    ] {
        assert_eq!(field(model.clone(), &config, &options), named);
    }
    assert_eq!(model.card().parts.len(), 0);
}

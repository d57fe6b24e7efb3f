mod conditions;
mod options;
mod theory;

use crate::nn::{Activation, Direction, NetworkSpec};
use std::f64::consts::TAU;

use approx::assert_relative_eq;
use ndarray::{Array2, Axis};

use super::network::{At, Pass};
use super::objective::{Drawn, Ends as _};
use super::*;
use crate::engine::transport;
use crate::engine::{Batch, Loss as _, Progress};
use crate::model::{NoObserver, TraceEstimator};
use crate::numeric::Real;
use crate::numeric::rng::{Rng, seeded};
use crate::testing::{assert_close, check_gradient, normals};
use crate::worlds::Toy;

const START: Progress = Progress { step: 0, steps: 1 };

pub(super) fn small() -> DiffusionConfig {
    DiffusionConfig {
        network: NetworkSpec::mlp([8, 6], Activation::Silu, 2),
        time_features: 4,
        timesteps: 20,
        ..Default::default()
    }
}

/// Parameters none of which is zero, so that every path carries something.
pub(super) fn random_params(net: &NoiseNet<f64>) -> Vec<f64> {
    let mut rng = seeded(5);
    let mut p = vec![0.0; net.num_params()];
    net.init(&mut p, &mut rng);
    p.iter_mut().for_each(|p| *p += 0.2 * f64::normal(&mut rng));
    p
}

#[test]
fn diffusion_gradient_is_that_of_its_loss() {
    for dim in [1, 3] {
        for condition in [ConditionKind::None, ConditionKind::Vector { dim: 2 }] {
            let net = NoiseNet::new(&DiffusionConfig { dim, condition, ..small() }).unwrap();
            let levels = Schedule::Cosine.levels(20);
            for levels in [Levels::Timesteps(&levels[1..]), Levels::LogSnr(-5.0, 6.0)] {
                let loss = NoiseMse { net: &net, ends: levels, dropout: 0.3 };
                let (p, rng, rows) = (random_params(&net), &mut seeded(1), 5);
                let (mut x, c) = (normals(rows * dim, rng), normals(rows * condition.width(), rng));
                // A row out of reach, and one where the network fades out.
                (x[0], x[2 * dim]) = (90.0, 21.0);
                let what = format!("{dim} columns, {condition:?}");
                check_gradient(&what, &loss, &p, rows, Batch { x: &x, c: &c }, |_| false);
            }
        }
    }
}

#[test]
fn the_predictor_is_one_function_by_every_door() {
    for beyond in [Beyond::Normal, Beyond::Point] {
        is_one_function(&NoiseNet::new(&DiffusionConfig { dim: 3, beyond, ..small() }).unwrap());
    }
}

fn is_one_function(net: &NoiseNet<f64>) {
    let (p, mut rng, rows) = (random_params(net), seeded(2), 7);
    let level = NoiseLevel::at_log_snr(1.5);
    let mut normals = || -> Vec<f64> { (0..rows * 3).map(|_| f64::normal(&mut rng)).collect() };
    let (mut x, xdot) = (normals(), normals());
    // A row out of reach, and rows where the network fades out, one of them along two columns.
    (x[4], x[7], x[9], x[10]) = (-60.0, 15.0, -13.0, 14.5);
    let mut pass = Pass::default();
    let one = At { x: &x, c: &[], levels: &[level] };
    let along = Direction { x: &xdot, moments: &[] };
    let eps = net.forward(&p, one, &mut pass).to_vec();
    let epsdot = net.jvp(&p, one, along, &mut pass).to_vec();
    // A level for each row and a single one give the same bits, and so does `infer`.
    let each = vec![level; rows];
    let all = At { levels: &each, ..one };
    assert_eq!(eps, net.forward(&p, all, &mut pass));
    assert_eq!(epsdot, net.jvp(&p, all, along, &mut pass));
    assert_relative_eq!(eps[..], net.infer(&p, one, &mut pass)[..], max_relative = 1e-13);
    // The tangent is the slope along ẋ.
    let mut moved = |h: f64| {
        let x: Vec<f64> = x.iter().zip(&xdot).map(|(x, xdot)| x + h * xdot).collect();
        net.forward(&p, At { x: &x, ..all }, &mut pass).to_vec()
    };
    let slope: Vec<f64> = moved(1e-5).iter().zip(moved(-1e-5)).map(|(a, b)| (a - b) / 2e-5).collect();
    assert_close("jvp", 1e-6, &epsdot, &slope);
}

fn draw(objective: &NoiseMse<f64>, rows: usize, rng: &mut Rng, noise: &mut Drawn<NoiseLevel, f64>) {
    objective.draw(rows, &[], START, rng, noise);
}

#[test]
fn the_levels_of_a_batch_leave_no_gap() {
    let net = NoiseNet::<f64>::new(&small()).unwrap();
    let objective = NoiseMse { net: &net, ends: Levels::LogSnr(-5.0, 11.0), dropout: 0.0 };
    let (mut noise, mut rng, rows) = (Default::default(), seeded(3), 64);
    let mut sum = 0.0;
    for _ in 0..200 {
        draw(&objective, rows, &mut rng, &mut noise);
        let mut log_snr: Vec<f64> = noise.levels.iter().map(|l| l.log_snr).collect();
        log_snr.sort_by(f64::total_cmp);
        assert!(log_snr.windows(2).all(|w| (w[1] - w[0] - 0.25).abs() < 1e-9));
        sum += log_snr.iter().sum::<f64>();
    }
    // Each is uniform: the mean of a batch is 3 with standard deviation 0.25/√12.
    assert!((sum / (200.0 * 64.0) - 3.0).abs() < 4.0 * 0.25 / (12.0f64 * 200.0).sqrt());
    let timesteps = Schedule::Linear.levels(64);
    let objective = NoiseMse { net: &net, ends: Levels::Timesteps(&timesteps[1..]), dropout: 0.0 };
    draw(&objective, rows, &mut rng, &mut noise);
    let mut drawn = noise.levels.to_vec();
    drawn.sort_by(|a, b| a.sigma.total_cmp(&b.sigma));
    assert_eq!(drawn, timesteps[1..], "64 rows visit each of 64 timesteps once");
}

/// A quick training on two narrow modes and its score on fresh rows.
fn trained(config: DiffusionConfig, steps: usize) -> (Diffusion, Toy) {
    let toy = Toy::ring(2, 2.0, 0.2).unwrap();
    // A ring of two has no height but its noise.
    let data = Dataset::new(toy.sample(4_000, &mut seeded(10))).unwrap();
    let mut model = Diffusion::new(config, &mut seeded(11)).unwrap();
    let options = TrainOptions { steps, batch: 128, ..TrainOptions::default() };
    model.train(&data, &options, &mut seeded(12), &mut NoObserver).unwrap();
    (model, toy)
}

fn nats(model: &Diffusion, x: &Array2<f32>) -> ndarray::Array1<f64> {
    model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap().nats().unwrap().clone()
}

#[test]
fn recovers_a_known_density() {
    let config = DiffusionConfig {
        network: NetworkSpec::mlp([64, 64], Activation::Silu, 3),
        ..DiffusionConfig::default()
    };
    let (model, toy) = trained(config, 1200);
    let test = toy.sample(500, &mut seeded(13));
    let truth = toy.log_density(test.view()).unwrap();
    let scores = nats(&model, &test);
    let gap = (&truth - &scores).mean().unwrap();
    assert!((-0.02..0.08).contains(&gap), "gap {gap}");
    // Row by row too, in the middle of a mode.
    let center = ndarray::array![[2.0, 0.0], [-2.0, 0.0]];
    let (at, true_at) = (nats(&model, &center), toy.log_density(center.view()).unwrap());
    assert!((&at - &true_at).iter().all(|d| d.abs() < 0.3), "{at}, truth {true_at}");

    for sampler in [
        Sampler::Ddpm,
        Sampler::Ddim { steps: 50, eta: 0.0 },
        Sampler::Ddim { steps: 50, eta: 1.0 },
        Sampler::Heun { steps: 18 },
        Sampler::DpmSolver { steps: 20 },
        Sampler::EulerMaruyama { steps: 100 },
        Sampler::PredictorCorrector { steps: 100, snr: 0.16 },
        Sampler::Ode { method: Method::Rk4, steps: 30 },
    ] {
        draws_as_likely_rows(&model.with_sampler(sampler).unwrap(), &toy);
    }
}

/// What it draws is as likely under the truth as the truth's own rows are, and falls on both modes.
fn draws_as_likely_rows(model: &Diffusion, toy: &Toy) {
    let fair = toy.log_density(toy.sample(500, &mut seeded(13)).view()).unwrap().mean().unwrap();
    let drawn = model.sample(400, &SampleOptions::default(), &mut seeded(14)).unwrap();
    assert_eq!(drawn.nfe, model.card().nfe);
    let likely = toy.log_density(drawn.x.view()).unwrap().mean().unwrap();
    assert!((likely - fair).abs() < 0.25, "{}: {likely}, truth {fair}", model.card().name);
    let right = drawn.x.column(0).iter().filter(|x| **x > 0.0).count();
    assert!((150..250).contains(&right), "{}: {right} of 400 on the right", model.card().name);
}

#[test]
fn an_exploding_process_trains_and_draws_too() {
    let config = DiffusionConfig {
        network: NetworkSpec::mlp([64, 64], Activation::Silu, 3),
        schedule: Schedule::Continuous(Sde::EXPLODING),
        ..DiffusionConfig::default()
    };
    let (model, toy) = trained(config, 600);
    for sampler in [
        Sampler::Ddpm,
        Sampler::EulerMaruyama { steps: 200 },
        Sampler::PredictorCorrector { steps: 100, snr: 0.16 },
    ] {
        draws_as_likely_rows(&model.with_sampler(sampler).unwrap(), &toy);
    }
}

/// Untrained, v = 0: the data are standard normal, and every step is linear.
#[test]
fn an_untrained_model_draws_what_its_steps_say() {
    let spread = |reverse_variance, temperature: f64| {
        let (schedule, timesteps) = (Schedule::Cosine, 10);
        let config = DiffusionConfig {
            reverse_variance,
            schedule,
            timesteps,
            network: NetworkSpec::mlp([2], Activation::Silu, 4),
            ..Default::default()
        };
        let config = DiffusionConfig { finish: Finish::Estimate, ..config };
        let model = Diffusion::new(config, &mut seeded(0)).unwrap();
        let x = model.sample(3_000, &SampleOptions { temperature }, &mut seeded(1)).unwrap().x;
        (x.mapv(|x| f64::from(x).powi(2)).mean().unwrap(), x)
    };
    // x ← √(1 − β) x + c ξ, and the last step adds no noise: with c² = β the variance stays 1 until then,
    // with β̃ it follows V ← (1 − β) V + β̃.
    let (betas, levels) = (Schedule::Cosine.betas(10), Schedule::Cosine.levels(10));
    let mut variance = 1.0;
    for t in (1..=10).rev() {
        let share = (levels[t - 1].sigma / levels[t].sigma).powi(2);
        variance = (1.0 - betas[t - 1]) * variance + betas[t - 1] * share;
    }
    // Four standard errors of the mean of 6000 squares.
    let margin = 4.0 * (2.0 / 6000.0f64).sqrt();
    let (beta, warm) = spread(ReverseVariance::Beta, 1.0);
    assert!((beta - (1.0 - betas[0])).abs() < margin, "{beta}");
    let (posterior, _) = spread(ReverseVariance::Posterior, 1.0);
    assert!((posterior / variance - 1.0).abs() < margin, "{posterior}, expected {variance}");
    assert!(variance < 0.85, "{variance}: the two choices differ");
    // The temperature scales all noise, and the steps are linear.
    let (_, cold) = spread(ReverseVariance::Beta, 0.25);
    assert!(cold.iter().zip(&warm).all(|(cold, warm)| (cold - 0.25 * warm).abs() < 1e-5));
}

#[test]
fn an_untrained_model_is_standard_normal() {
    let model = Diffusion::new(DiffusionConfig::default(), &mut seeded(0)).unwrap();
    let x = ndarray::array![[0.0, 0.0], [1.0, -2.0], [3.0, 4.0]];
    for (x, nats) in x.axis_iter(Axis(0)).zip(nats(&model, &x)) {
        let normal = -TAU.ln() - 0.5 * f64::from(x.dot(&x));
        assert_relative_eq!(nats, normal, max_relative = 1e-4);
    }
}

#[test]
fn the_seed_of_the_likelihood_moves_its_probes_alone() {
    let config = |divergence| DiffusionConfig {
        network: NetworkSpec::mlp([16], Activation::Silu, 2),
        divergence,
        ..small()
    };
    let score = |divergence, seed, x: &Array2<f32>| {
        let (model, _) = trained(config(divergence), 30);
        match model.log_likelihood(x.view(), &LikelihoodOptions { seed }).unwrap() {
            LogLikelihood::OdeEstimate { nats, divergence, rtol, .. } => {
                assert_eq!(rtol, 1e-5);
                (nats.to_vec(), divergence)
            }
            other => panic!("{other:?}"),
        }
    };
    // In two columns two probes have three values, so many rows must not agree by chance.
    let x = Array2::from_shape_fn((10, 2), |(r, j)| 0.3 * r as f32 - 0.7 * j as f32 - 1.0);
    let (exact, method) = score(None, 0, &x);
    assert_eq!((exact, method), (score(Some(TraceEstimator::Exact), 1, &x).0, TraceEstimator::Exact));
    let probes = Some(TraceEstimator::Hutchinson { probes: 2 });
    let (first, second) = (score(probes, 0, &x).0, score(probes, 1, &x).0);
    assert_ne!(first, second);
    // The noise goes with the row, not with its place.
    let turned = x.slice(ndarray::s![..;-1, ..]).to_owned();
    assert!(score(probes, 0, &turned).0.iter().eq(first.iter().rev()));
    // Nor with its zeros' signs.
    let zeros = |zero: f32| score(probes, 0, &ndarray::array![[zero, 0.4], [0.2, zero]]).0;
    assert_eq!(zeros(0.0), zeros(-0.0));
}

#[test]
fn wide_rows_are_probed() {
    let model = Diffusion::new(DiffusionConfig { dim: 17, ..small() }, &mut seeded(0)).unwrap();
    let score = model.log_likelihood(Array2::zeros((1, 17)).view(), &LikelihoodOptions::default()).unwrap();
    assert!(matches!(
        score,
        LogLikelihood::OdeEstimate { divergence: TraceEstimator::Hutchinson { probes: 4 }, .. }
    ));
}

#[test]
fn a_view_shares_the_parameters_until_one_trains() {
    let (mut model, toy) = trained(small(), 5);
    let view = model.with_sampler(Sampler::Ddim { steps: 4, eta: 0.0 }).unwrap();
    assert!(Arc::ptr_eq(&model.learned, &view.learned));
    assert_eq!((view.card().name.as_ref(), view.card().nfe), ("DDIM-4", 4));
    assert_eq!((model.card().name.as_ref(), model.card().nfe), ("DDPM-20", 20));
    let x = toy.sample(5, &mut seeded(0));
    let before = nats(&view, &x);
    let data = Dataset::new(toy.sample(100, &mut seeded(0))).unwrap();
    let options = TrainOptions { steps: 3, ..TrainOptions::default() };
    model.train(&data, &options, &mut seeded(0), &mut NoObserver).unwrap();
    assert_eq!(nats(&view, &x), before);
    assert_ne!(nats(&model, &x), before);
}

#[test]
fn paths_end_in_the_rows_that_are_drawn() {
    let (model, _) = trained(small(), 5);
    let (options, n) = (SampleOptions { temperature: 0.7 }, 150);
    let rk4 = crate::numeric::ode::Method::Rk4;
    for (sampler, states) in [
        (Sampler::Ddpm, 21),
        (Sampler::Ddim { steps: 9, eta: 0.5 }, 10),
        (Sampler::Heun { steps: 5 }, 10),
        (Sampler::DpmSolver { steps: 6 }, 7),
        (Sampler::PredictorCorrector { steps: 4, snr: 0.16 }, 8),
        (Sampler::Ode { method: rk4, steps: 7 }, 8),
    ] {
        let view = model.with_sampler(sampler).unwrap();
        let path = view.sample_path(n, &options, &mut seeded(5)).unwrap();
        assert_eq!(path.dim(), (n, states, 2), "{sampler:?}");
        let at = |state| path.index_axis(Axis(1), state);
        assert_eq!(at(states - 1), view.sample(n, &options, &mut seeded(5)).unwrap().x, "{sampler:?}");
        // The first state is noise as wide as the temperature, in the units of the data.
        let (noise, scale) = (at(0).column(0).std(0.0), view.learned.fitted.standardizer.scale()[0] as f32);
        assert!((noise / scale - 0.7).abs() < 0.15, "{sampler:?}: {noise}");
        (1..states).for_each(|state| assert_ne!(at(state - 1), at(state), "{sampler:?}, {state}"));
    }
    assert_eq!(model.sample_path(0, &options, &mut seeded(5)).unwrap().dim(), (0, 21, 2));
    assert!(model.sample_path(usize::MAX / 8, &options, &mut seeded(5)).is_err());
    assert!(model.sample_path(1, &SampleOptions { temperature: 0.0 }, &mut seeded(5)).is_err());
}

#[test]
fn far_rows_score_low_and_the_farther_the_lower() {
    let (model, _) = trained(
        DiffusionConfig {
            network: NetworkSpec::mlp([32, 32], Activation::Silu, 4),
            ..DiffusionConfig::default()
        },
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
    let data = Array2::from_shape_simple_fn((2000, 2), {
        let mut rng = seeded(1);
        move || f32::normal(&mut rng)
    });
    let mut model = Diffusion::new(small(), &mut seeded(0)).unwrap();
    let options = TrainOptions { steps: 200, ..TrainOptions::default() };
    model.train(&Dataset::new(data).unwrap(), &options, &mut seeded(2), &mut NoObserver).unwrap();
    let units = &model.learned.fitted.standardizer;
    let far = [19.0, 21.0, -68.0, 150.0, 1e4, 2e6, -1e20];
    let mut x = Array2::from_shape_fn((7, 2), |(r, c)| if c == r % 2 { far[r] } else { 0.7 });
    let scores = nats(&model, &x);
    for (row, (nats, x)) in scores.iter().zip(x.rows()).enumerate() {
        let mut z = x.to_vec();
        units.standardize(&mut z);
        let normal = transport::standard_normal(&[z[0].into(), z[1].into()]) + units.log_det(&x.to_vec());
        assert_relative_eq!(*nats, normal, max_relative = 1e-12);
        assert_eq!(self::nats(&model, &x.insert_axis(Axis(0)).to_owned())[0], scores[row], "alone");
    }
    // On the way there nothing falls off a cliff: a normal loses 0.9 nats from 18 to 18.05.
    x = Array2::from_shape_fn((160, 2), |(r, c)| if c == 0 { 11.0 + 0.05 * r as f32 } else { 0.0 });
    let scores = self::nats(&model, &x);
    let steps = scores.iter().zip(scores.iter().skip(1)).map(|(near, far)| (far - near).abs());
    assert!(steps.fold(0.0, f64::max) < 20.0, "{scores}");
}

/// An untrained v is 0, so what is left is the closed form of [`Beyond`].
#[test]
fn beyond_a_point_ends_at_20_standard_deviations() {
    let config = DiffusionConfig { beyond: Beyond::Point, ..small() };
    let model = Diffusion::new(config, &mut seeded(0)).unwrap();
    let (alpha, sigma) = (0.8, 0.6f64);
    let level = NoiseLevel { alpha, sigma, log_snr: 2.0 * (alpha / sigma).ln() };
    let eps = model.predict_noise(ndarray::array![[19.0, -25.0], [90.0, 110.0]].view(), level).unwrap();
    let beyond = |x: f64| 20.0 * sigma * x.signum() + (x.abs() - 20.0) * x.signum() / sigma;
    for (eps, want) in eps.iter().zip([19.0 * sigma, beyond(-25.0), beyond(90.0), beyond(110.0)]) {
        assert_relative_eq!(f64::from(*eps), want, max_relative = 1e-6);
    }
}

#[test]
fn training_visits_the_levels_that_it_says() {
    let levels = |training_noise, sigma_min, schedule| {
        let config = DiffusionConfig { training_noise, sigma_min, schedule, ..small() };
        let model = Diffusion::new(config, &mut seeded(0)).unwrap();
        let all = Diffusion::training_levels(&model.config, &model.levels);
        [0.0, 1.0 - 1e-12].map(|u| all.level(u))
    };
    // The first timestep to the last.
    let timesteps = Schedule::Linear.levels(20);
    assert_eq!(levels(TrainingNoise::Timesteps, 0.002, Schedule::Linear), [timesteps[1], timesteps[20]]);
    // λ from −5 to that of the smallest noise, ln((1 − σ²)/σ²).
    let [noisy, quiet] = levels(TrainingNoise::LogSnr, 0.002, Schedule::Cosine).map(|level| level.log_snr);
    assert_eq!(noisy, -5.0);
    assert!((quiet - ((1.0 - 4e-6f64) / 4e-6).ln()).abs() < 1e-9, "{quiet}");
    // Not beyond a schedule's own end, and to the first timestep where that is below.
    let process = Sde::VarianceExploding { sigma_min: 0.001, sigma_max: 3.0 };
    let schedule = Schedule::Continuous(process);
    let ends = levels(TrainingNoise::LogSnr, 0.3, schedule);
    let timesteps = schedule.levels(20);
    assert!((ends[0].log_snr - timesteps[20].log_snr).abs() < 1e-9);
    assert!((ends[1].log_snr - timesteps[1].log_snr).abs() < 1e-9 && timesteps[1].sigma < 0.3);
}

#[test]
fn the_likelihood_runs_from_the_smallest_noise_to_the_last_timestep() {
    let (model, toy) = trained(small(), 30);
    let x = toy.sample(20, &mut seeded(0));
    let solver = Solver::DormandPrince { rtol: 1e-5, atol: 1e-5 };
    let span = (((1.0 - 4e-6f64) / 4e-6).ln(), Schedule::Cosine.levels(20)[20].log_snr);
    let z = model.learned.fitted.standardizer.apply(x.clone());
    let mut nats = vec![0.0; 20];
    transport::log_density(
        &model.network(&[]),
        solver,
        span,
        (TraceEstimator::Exact, Streams::new(0)),
        z.as_slice().unwrap(),
        transport::standard_normal,
        &mut nats,
        &mut Default::default(),
    )
    .unwrap();
    let log_det = model.learned.fitted.standardizer.log_det(&[0f32; 2]);
    for (nats, scored) in nats.iter().zip(self::nats(&model, &x)) {
        assert!((nats + log_det - scored).abs() < 1e-6, "{nats}, {scored}");
    }
}

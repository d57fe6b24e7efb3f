use approx::assert_relative_eq;

use super::grid::CLEAN;
use super::*;
use crate::diffusion::{Schedule, Sde};

#[test]
fn ddpm_takes_the_steps_of_its_paper() {
    let (betas, levels) = (Schedule::Linear.betas(1000), Schedule::Linear.levels(1000));
    for variance in [ReverseVariance::Posterior, ReverseVariance::Beta] {
        let plan = ancestral(&levels, variance);
        assert_eq!(plan.len(), 1000);
        for (step, t) in plan.iter().zip((1..=1000).rev()) {
            // Algorithm 2: x ← (x − β/√(1 − ᾱ) ε̂)/√(1 − β) + c ξ.
            let beta = betas[t - 1];
            let keep = (1.0 - beta).sqrt().recip();
            assert_eq!((step.level, step.recall, step.store), (levels[t], 0.0, None));
            assert_relative_eq!(step.keep, keep, max_relative = 1e-9);
            assert_relative_eq!(step.eps, -keep * beta / levels[t].sigma, max_relative = 1e-9);
            let c = match variance {
                _ if t == 1 => 0.0,
                ReverseVariance::Beta => beta,
                ReverseVariance::Posterior => beta * (levels[t - 1].sigma / levels[t].sigma).powi(2),
            };
            assert_relative_eq!(step.noise.powi(2), c, max_relative = 1e-9);
        }
    }
}

#[test]
fn ddim_visits_a_falling_grid_of_any_length() {
    let levels = |timesteps| Schedule::Cosine.levels(timesteps);
    for timesteps in [1, 2, 7, 40, 1000] {
        let levels = levels(timesteps);
        for steps in 1..=timesteps {
            let grid = visited(&levels, steps, 2, None);
            assert_eq!((grid[0], grid[steps], grid.len()), (levels[0], levels[timesteps], steps + 1));
            assert!(grid.windows(2).all(|w| w[0].sigma < w[1].sigma), "{steps} of {timesteps}");
        }
    }
    let levels = levels(1000);
    assert_eq!(visited(&levels, 5, 2, None), [0, 40, 160, 360, 640, 1000].map(|t: usize| levels[t]));
}

#[test]
fn ddim_takes_the_steps_of_its_paper() {
    let levels = Schedule::Cosine.levels(100);
    let plan = implicit(&visited(&levels, 10, 2, None), 0.0);
    // Without noise: x′ = α′ (x − σ ε̂)/α + σ′ ε̂.
    for (step, i) in plan.iter().zip((1..=10usize).rev()) {
        let (from, to) = (levels[(i * i).max(i)], levels[(i - 1).pow(2).max(i - 1)]);
        assert_eq!((step.level, step.noise), (from, 0.0));
        assert_relative_eq!(step.keep, to.alpha / from.alpha, max_relative = 1e-9);
        let eps = to.sigma - to.alpha / from.alpha * from.sigma;
        assert_relative_eq!(step.eps, eps, max_relative = 1e-9);
    }
    // The noise is η times DDPM's with variance β̃ (eq. 16).
    for (step, i) in implicit(&visited(&levels, 10, 2, None), 0.5).iter().zip((1..=10usize).rev()) {
        let (from, to) = (levels[(i * i).max(i)], levels[(i - 1).pow(2).max(i - 1)]);
        let posterior = (to.sigma / from.sigma).powi(2) * (1.0 - (from.alpha / to.alpha).powi(2));
        assert_relative_eq!(step.noise, 0.5 * posterior.sqrt(), max_relative = 1e-9);
        let eps = (to.sigma.powi(2) - step.noise.powi(2)).sqrt() - to.alpha / from.alpha * from.sigma;
        assert_relative_eq!(step.eps, eps, max_relative = 1e-9, epsilon = 1e-12);
    }
    // At η = 1 over all timesteps it is DDPM.
    let all = implicit(&visited(&levels, 100, 2, None), 1.0);
    assert_eq!(all, ancestral(&levels, ReverseVariance::Posterior));
}

#[test]
fn timesteps_go_on_to_the_smallest_noise() {
    let levels = Schedule::Cosine.levels(1000);
    let below = NoiseLevel::at_sigma(0.002).log_snr;
    for (steps, power, least) in [(1000, 1, 10), (1000, 2, 10), (100, 2, 10), (50, 2, 6), (8, 2, 1)] {
        let visited = visited(&levels, steps, power, Some(below));
        assert_eq!((visited.len(), visited[0], visited[steps]), (steps + 1, levels[0], levels[1000]));
        assert!(visited.windows(2).all(|w| w[0].sigma < w[1].sigma), "{steps}");
        assert_relative_eq!(visited[1].log_snr, below, max_relative = 1e-12);
        let extra = visited[1..].iter().filter(|level| !levels.contains(level)).count();
        assert!(extra >= least && extra <= steps / 8, "{extra} of {steps}");
        let gaps: Vec<f64> = visited[1..extra + 2].windows(2).map(|w| w[0].log_snr - w[1].log_snr).collect();
        assert!(gaps.iter().all(|gap| (gap - gaps[0]).abs() < 1e-9), "{gaps:?}");
        assert!(gaps[0] <= 0.2 || extra == steps / 8, "{gaps:?}");
    }
    // Too few steps, or a first timestep that is quiet enough.
    assert_eq!(visited(&levels, 7, 2, Some(below)), visited(&levels, 7, 2, None));
    let fine = Schedule::Cosine.levels(20_000);
    assert_eq!(visited(&fine, 20_000, 1, Some(below)), fine);
}

#[test]
fn the_last_step_is_as_the_config_says() {
    let plan = |sampler: Sampler, finish, training_noise| {
        let config = DiffusionConfig { sampler, finish, training_noise, ..Default::default() };
        match sampler.plan(&config, &config.schedule.levels(1000)) {
            Plan::Steps(steps) => steps[steps.len() - 1],
            Plan::Ode { .. } => unreachable!(),
        }
    };
    let samplers = [
        Sampler::Ddpm,
        Sampler::Ddim { steps: 50, eta: 1.0 },
        Sampler::Heun { steps: 18 },
        Sampler::DpmSolver { steps: 20 },
        Sampler::EulerMaruyama { steps: 30 },
        Sampler::PredictorCorrector { steps: 30, snr: 0.16 },
    ];
    let first = Schedule::Cosine.levels(1000)[1].sigma;
    for sampler in samplers {
        let timesteps = matches!(sampler, Sampler::Ddpm | Sampler::Ddim { .. });
        for (finish, noise, sigma, share) in [
            (Finish::Flow, TrainingNoise::LogSnr, 0.002, 0.5),
            (Finish::Estimate, TrainingNoise::LogSnr, if timesteps { first } else { 0.002 }, 1.0),
            // A network that has not seen less noise is not asked about it.
            (
                Finish::Flow,
                TrainingNoise::Timesteps,
                if timesteps { first } else { 0.002 },
                if timesteps { 1.0 } else { 0.5 },
            ),
        ] {
            let last = plan(sampler, finish, noise);
            assert_relative_eq!(last.level.sigma, sigma, max_relative = 1e-6);
            assert_relative_eq!(last.keep, last.level.alpha.recip(), max_relative = 1e-12);
            assert_relative_eq!(last.eps, -share * sigma / last.level.alpha, max_relative = 1e-6);
            assert_eq!((last.noise, last.recall.abs()), (0.0, 0.0));
        }
    }
    // From far more noise only the estimate is near.
    let one = plan(Sampler::Heun { steps: 1 }, Finish::Flow, TrainingNoise::LogSnr);
    assert_relative_eq!(one.eps, -one.level.sigma / one.level.alpha, max_relative = 1e-9);
}

#[test]
fn continuous_grids_fall_from_end_to_end_and_then_to_nothing() {
    for grid in [even_in_log_snr, karras] {
        let levels = grid(-8.0, 12.0, 6);
        assert_eq!((levels.len(), levels[6]), (7, CLEAN));
        assert_relative_eq!(levels[0].log_snr, -8.0, max_relative = 1e-12);
        assert_relative_eq!(levels[5].log_snr, 12.0, max_relative = 1e-12);
        assert!(levels.windows(2).all(|w| w[1].sigma < w[0].sigma));
        assert_eq!(grid(-8.0, 12.0, 1)[1], CLEAN);
    }
    // Karras et al. 2022, eq. 5, at σ from 80 to 0.002 with 18 steps: the second σ.
    let ends = [80f64, 0.002].map(|s| -2.0 * s.ln());
    let second = karras(ends[0], ends[1], 18)[1];
    assert_relative_eq!(second.sigma / second.alpha, 57.586, max_relative = 1e-4);
}

#[test]
fn the_solvers_take_the_steps_of_their_papers() {
    let levels = even_in_log_snr(-4.0, 6.0, 4);
    // Any x, ε̂, m.
    let (x, eps, m) = (0.7, -1.3, 0.4);
    let run = |step: &Update| step.keep * x + step.eps * eps + step.recall * m;
    let estimate = |at: NoiseLevel| (x - at.sigma * eps) / at.alpha;
    // Multistep: from level 1 to level 2, half λ steps all alike: r = 1.
    let step = &multistep(&levels)[1];
    let (from, to) = (levels[1], levels[2]);
    let h = 0.5 * (to.log_snr - from.log_snr);
    let d = 1.5 * estimate(from) - 0.5 * m;
    let want = to.sigma / from.sigma * x - to.alpha * (-h).exp_m1() * d;
    assert_relative_eq!(run(step), want, max_relative = 1e-12);
    let (of_x, of_eps) = step.store.unwrap();
    assert_relative_eq!(of_x * x + of_eps * eps, estimate(from), max_relative = 1e-12);
    // In uneven steps, r is the step before relative to this one.
    let uneven = [-4.0, -1.0, 4.0].map(NoiseLevel::at_log_snr);
    let (step, (from, to)) = (&multistep(&uneven)[1], (uneven[1], uneven[2]));
    let (h, r) = (2.5, 1.5 / 2.5);
    let d = (1.0 + 0.5 / r) * estimate(from) - 0.5 / r * m;
    let want = to.sigma / from.sigma * x - to.alpha * f64::exp_m1(-h) * d;
    assert_relative_eq!(run(step), want, max_relative = 1e-12);
    // Its first and last step are DDIM's.
    for at in [0, 3] {
        let (step, ddim) = (multistep(&levels)[at], Update::by_estimate(levels[at], levels[at + 1], 0.0));
        assert_eq!(step.recall.abs(), 0.0);
        assert_relative_eq!(step.keep, ddim.keep, max_relative = 1e-12);
        assert_relative_eq!(step.eps, ddim.eps, max_relative = 1e-12);
    }
    // Heun, in x/α and σ/α: x̃ + h ε̂, then x̃ + ½ h (ε̂ + ε̂′).
    let plan = heun(&levels);
    assert_eq!(plan.len(), 7);
    let (euler, half) = (plan[0], plan[1]);
    let (from, to) = (levels[0], levels[1]);
    let h = to.sigma / to.alpha - from.sigma / from.alpha;
    assert_relative_eq!(run(&euler) / to.alpha, x / from.alpha + h * eps, max_relative = 1e-12);
    let (of_x, of_eps) = euler.store.unwrap();
    let stored = of_x * x + of_eps * eps;
    assert_eq!(half.level, to);
    let corrected = half.recall * stored + half.eps * 0.9;
    assert_relative_eq!(corrected / to.alpha, x / from.alpha + 0.5 * h * (eps + 0.9), max_relative = 1e-12);
    // The corrector comes after each step but the jump.
    let plan = euler_maruyama(Schedule::Cosine, &levels, Some(0.2));
    assert_eq!(plan.len(), 7);
    assert_eq!((plan[1].level, plan[1].keep), (levels[1], 1.0));
    // x + ε ∇ ln p + √(2ε) ξ with ε = 2 (snr·σ)² and ∇ ln p = −ε̂/σ.
    let epsilon = 2.0 * (0.2 * levels[1].sigma).powi(2);
    assert_relative_eq!(plan[1].eps, -epsilon / levels[1].sigma, max_relative = 1e-12);
    assert_relative_eq!(plan[1].noise, (2.0 * epsilon).sqrt(), max_relative = 1e-12);
}

/// DDPM with β_i = β(i/T)/T is the reverse SDE of the preserving process, and the timesteps of an exploding
/// one are its own, in the limit of many: the steps differ by O(1/T²) each, and so, over T of them, the
/// ways to the end by O(1/T).
#[test]
fn ancestral_steps_become_those_of_euler_and_maruyama() {
    for schedule in [Schedule::Linear, Schedule::Continuous(Sde::EXPLODING)] {
        let difference = |timesteps: usize| -> f64 {
            let levels = schedule.levels(timesteps);
            let falling: Vec<_> = levels[1..].iter().rev().copied().collect();
            let reverse = euler_maruyama(schedule, &falling, None);
            let ancestral = ancestral(&levels, ReverseVariance::Posterior);
            // Where there is noise enough: at its end the relative step of σ does not shrink with T.
            let pairs = ancestral.iter().zip(&reverse).filter(|(_, e)| e.level.sigma > 0.2);
            pairs
                .map(|(a, e)| {
                    (a.keep - e.keep).abs()
                        + (a.eps - e.eps).abs()
                        + (a.noise.powi(2) - e.noise.powi(2)).abs()
                })
                .sum()
        };
        let errors = [1000, 2000, 4000, 8000].map(difference);
        for pair in errors.windows(2) {
            let order = (pair[0] / pair[1]).log2();
            assert!((order - 1.0).abs() < 0.1, "{schedule:?}: {errors:?}");
        }
        assert!(errors[3] < 0.1, "{errors:?}");
    }
    // β_i = β(i/T)/T: the linear schedule is the process's, at any T up to 1/T.
    let levels = Schedule::Linear.levels(4000);
    for i in [400, 2000, 4000] {
        let (alpha, sigma) = Sde::PRESERVING.marginal(i as f64 / 4000.0);
        assert_relative_eq!(levels[i].sigma, sigma, max_relative = 2e-3);
        assert_relative_eq!(levels[i].alpha.ln(), alpha.ln(), max_relative = 2e-2);
    }
}

#[test]
fn refuses_steps_and_noise_out_of_range() {
    let ok = [
        Sampler::Ddpm,
        Sampler::Ddim { steps: 5, eta: 1.0 },
        Sampler::Heun { steps: 1 },
        Sampler::DpmSolver { steps: 99 },
        Sampler::EulerMaruyama { steps: 1 },
        Sampler::PredictorCorrector { steps: 1, snr: 0.16 },
        Sampler::Ode { method: Method::Euler, steps: 1 },
    ];
    assert!(ok.into_iter().all(|s| s.validate(5).is_ok()));
    let bad = [
        Sampler::Ddim { steps: 0, eta: 0.0 },
        Sampler::Ddim { steps: 6, eta: 0.0 },
        Sampler::Ddim { steps: 5, eta: -0.1 },
        Sampler::Ddim { steps: 5, eta: f64::NAN },
        Sampler::Heun { steps: 0 },
        Sampler::Heun { steps: usize::MAX },
        Sampler::DpmSolver { steps: 0 },
        Sampler::EulerMaruyama { steps: 0 },
        Sampler::PredictorCorrector { steps: 0, snr: 0.16 },
        Sampler::PredictorCorrector { steps: 3, snr: 0.0 },
        Sampler::PredictorCorrector { steps: 3, snr: 1.0 },
        Sampler::Ode { method: Method::Rk4, steps: 0 },
    ];
    for sampler in bad {
        assert!(sampler.validate(5).is_err(), "{sampler:?}");
    }
}

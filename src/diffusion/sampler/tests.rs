use approx::assert_relative_eq;

use super::grid::CLEAN;
use super::steps::{ancestral, euler_maruyama, heun, implicit, multistep};
use super::*;
use crate::diffusion::{Schedule, Sde};
use crate::error::Error;

#[test]
fn ddpm_takes_the_steps_of_its_paper() {
    let (betas, levels) = (Schedule::Linear.betas(1000), Schedule::Linear.levels(1000));
    let falling: Vec<_> = levels.iter().rev().copied().collect();
    for variance in [ReverseVariance::Posterior, ReverseVariance::Beta] {
        let plan = ancestral(&falling, variance);
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

fn of_timesteps(grid: Grid, levels: &[NoiseLevel], steps: usize, below: Option<f64>) -> Vec<NoiseLevel> {
    // The ends of continuous time are nothing to it.
    grid.levels(steps, (f64::NAN, f64::NAN), levels, below)
}

#[test]
fn ddim_visits_a_falling_grid_of_any_length() {
    let levels = |timesteps| Schedule::Cosine.levels(timesteps);
    for timesteps in [1, 2, 7, 40, 1000] {
        let levels = levels(timesteps);
        for steps in 1..=timesteps {
            let grid = of_timesteps(Grid::Quadratic, &levels, steps, None);
            assert_eq!((grid[steps], grid[0], grid.len()), (levels[0], levels[timesteps], steps + 1));
            assert!(grid.windows(2).all(|w| w[0].sigma > w[1].sigma), "{steps} of {timesteps}");
        }
    }
    let levels = levels(1000);
    let five = of_timesteps(Grid::Quadratic, &levels, 5, None);
    assert_eq!(five, [1000, 640, 360, 160, 40, 0].map(|t: usize| levels[t]));
    let even = of_timesteps(Grid::Timesteps, &levels, 5, None);
    assert_eq!(even, [1000, 800, 600, 400, 200, 0].map(|t: usize| levels[t]));
}

#[test]
fn ddim_takes_the_steps_of_its_paper() {
    let levels = Schedule::Cosine.levels(100);
    let plan = implicit(&of_timesteps(Grid::Quadratic, &levels, 10, None), 0.0);
    // Without noise: x′ = α′ (x − σ ε̂)/α + σ′ ε̂.
    for (step, i) in plan.iter().zip((1..=10usize).rev()) {
        let (from, to) = (levels[(i * i).max(i)], levels[(i - 1).pow(2).max(i - 1)]);
        assert_eq!((step.level, step.noise), (from, 0.0));
        assert_relative_eq!(step.keep, to.alpha / from.alpha, max_relative = 1e-9);
        let eps = to.sigma - to.alpha / from.alpha * from.sigma;
        assert_relative_eq!(step.eps, eps, max_relative = 1e-9);
    }
    // The noise is η times DDPM's with variance β̃ (eq. 16).
    for (step, i) in
        implicit(&of_timesteps(Grid::Quadratic, &levels, 10, None), 0.5).iter().zip((1..=10usize).rev())
    {
        let (from, to) = (levels[(i * i).max(i)], levels[(i - 1).pow(2).max(i - 1)]);
        let posterior = (to.sigma / from.sigma).powi(2) * (1.0 - (from.alpha / to.alpha).powi(2));
        assert_relative_eq!(step.noise, 0.5 * posterior.sqrt(), max_relative = 1e-9);
        let eps = (to.sigma.powi(2) - step.noise.powi(2)).sqrt() - to.alpha / from.alpha * from.sigma;
        assert_relative_eq!(step.eps, eps, max_relative = 1e-9, epsilon = 1e-12);
    }
    // At η = 1 over all timesteps it is DDPM.
    let all = implicit(&of_timesteps(Grid::Quadratic, &levels, 100, None), 1.0);
    let falling: Vec<_> = levels.iter().rev().copied().collect();
    assert_eq!(all, ancestral(&falling, ReverseVariance::Posterior));
}

#[test]
fn timesteps_go_on_to_the_smallest_noise() {
    let levels = Schedule::Cosine.levels(1000);
    let below = NoiseLevel::at_sigma(0.002).log_snr;
    for (steps, grid, least) in [
        (1000, Grid::Timesteps, 10),
        (1000, Grid::Quadratic, 10),
        (100, Grid::Quadratic, 6),
        (50, Grid::Quadratic, 3),
        (16, Grid::Quadratic, 1),
    ] {
        let mut visited = of_timesteps(grid, &levels, steps, Some(below));
        visited.reverse();
        assert_eq!((visited.len(), visited[0], visited[steps]), (steps + 1, levels[0], levels[1000]));
        assert!(visited.windows(2).all(|w| w[0].sigma < w[1].sigma), "{steps}");
        assert_relative_eq!(visited[1].log_snr, below, max_relative = 1e-12);
        let extra = visited[1..].iter().filter(|level| !levels.contains(level)).count();
        assert!(extra >= least && extra <= steps / 16, "{extra} of {steps}");
        let gaps: Vec<f64> = visited[1..extra + 2].windows(2).map(|w| w[0].log_snr - w[1].log_snr).collect();
        assert!(gaps.iter().all(|gap| (gap - gaps[0]).abs() < 1e-9), "{gaps:?}");
        assert!(gaps[0] <= 0.2 || extra == steps / 16, "{gaps:?}");
    }
    // In few steps none can be spared for it, and where the first timestep is quiet enough, none is needed.
    for steps in [5, 10, 15] {
        let visited = |below| of_timesteps(Grid::Quadratic, &levels, steps, below);
        assert_eq!(visited(Some(below)), visited(None));
        assert!(visited(Some(below))[steps - 1].sigma >= levels[1].sigma);
    }
    let fine: Vec<_> = Schedule::Cosine.levels(20_000);
    let visited = of_timesteps(Grid::Timesteps, &fine, 20_000, Some(below));
    assert!(visited.iter().rev().eq(&fine));
}

#[test]
fn the_last_step_is_as_the_config_says() {
    let plan = |sampler: Sampler, finish, training_noise| {
        let config = DiffusionConfig { sampler, finish, training_noise, ..Default::default() };
        match Plan::new(&config, &config.schedule.levels(1000)) {
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

fn continuous(grid: &Grid, noisiest: f64, quietest: f64, steps: usize) -> Vec<NoiseLevel> {
    grid.levels(steps, (noisiest, quietest), &[], None)
}

#[test]
fn continuous_grids_fall_from_end_to_end_and_then_to_nothing() {
    for grid in [Grid::LogSnr, Grid::Karras] {
        let levels = continuous(&grid, -8.0, 12.0, 6);
        assert_eq!((levels.len(), levels[6]), (7, CLEAN));
        assert_relative_eq!(levels[0].log_snr, -8.0, max_relative = 1e-12);
        assert_relative_eq!(levels[5].log_snr, 12.0, max_relative = 1e-12);
        assert!(levels.windows(2).all(|w| w[1].sigma < w[0].sigma));
        assert_eq!(continuous(&grid, -8.0, 12.0, 1)[1], CLEAN);
    }
    // Karras et al. 2022, eq. 5, at σ from 80 to 0.002 with 18 steps: the second σ.
    let ends = [80f64, 0.002].map(|s| -2.0 * s.ln());
    let second = continuous(&Grid::Karras, ends[0], ends[1], 18)[1];
    assert_relative_eq!(second.sigma / second.alpha, 57.586, max_relative = 1e-4);
}

/// The σ/α of the steps of a plan.
fn ratios(sampler: Sampler, grid: Grid) -> Vec<f64> {
    let config = DiffusionConfig { sampler, grid, ..Default::default() };
    config.validate().unwrap();
    match Plan::new(&config, &config.schedule.levels(1000)) {
        Plan::Steps(steps) => steps.iter().map(|step| step.level.sigma / step.level.alpha).collect(),
        Plan::Ode { .. } => unreachable!(),
    }
}

#[test]
fn a_sampler_visits_the_grid_that_it_is_given() {
    let smallest = 0.002 / (1.0f64 - 4e-6).sqrt();
    // By hand: in λ even from σ/α = 80 on, and after Karras et al. 2022, eq. 5.
    let along = |i: usize| i as f64 / 9.0;
    let even: Vec<f64> = (0..10).map(|i| 80f64.powf(1.0 - along(i)) * smallest.powf(along(i))).collect();
    let root = |v: f64| v.powf(1.0 / 7.0);
    let karras: Vec<f64> =
        (0..10).map(|i| (root(80.0) + along(i) * (root(smallest) - root(80.0))).powi(7)).collect();
    let levels = Schedule::Cosine.levels(1000);
    let timesteps: Vec<f64> = (1..=10).rev().map(|i| levels[100 * i].sigma / levels[100 * i].alpha).collect();
    let own = vec![40.0, 11.0, 5.0, 3.0, 2.0, 1.0, 0.5, 0.1, 0.02, 0.003];
    for (grid, want) in [
        (Grid::LogSnr, &even),
        (Grid::Karras, &karras),
        (Grid::Timesteps, &timesteps),
        (Grid::Levels(own.clone()), &own),
    ] {
        let close = |got: &[f64]| {
            assert_eq!(got.len(), want.len(), "{grid:?}");
            got.iter().zip(want).for_each(|(got, want)| {
                assert_relative_eq!(got, want, max_relative = 1e-9);
            });
        };
        close(&ratios(Sampler::Ddim { steps: 10, eta: 0.3 }, grid.clone()));
        close(&ratios(Sampler::DpmSolver { steps: 10 }, grid.clone()));
        close(&ratios(Sampler::EulerMaruyama { steps: 10 }, grid.clone()));
        // Both stages of a step, the jump but one.
        let heun = ratios(Sampler::Heun { steps: 10 }, grid.clone());
        assert_eq!(heun.len(), 19);
        let starts: Vec<f64> = heun.iter().step_by(2).copied().collect();
        close(&starts);
    }
}

#[test]
fn a_sampler_refuses_a_grid_on_which_it_cannot_run() {
    let of = |sampler, grid| DiffusionConfig { sampler, grid, ..Default::default() }.validate();
    let three = Sampler::DpmSolver { steps: 3 };
    assert!(of(three, Grid::Levels(vec![3.0, 1.0, 0.002_000_004_1])).is_ok());
    for (sampler, grid) in [
        (three, Grid::Levels(vec![3.0, 1.0])),
        (three, Grid::Levels(vec![3.0, 3.0, 1.0])),
        (three, Grid::Levels(vec![1.0, 2.0, 3.0])),
        (three, Grid::Levels(vec![1.0, f64::NAN, 0.1])),
        (three, Grid::Levels(vec![f64::INFINITY, 1.0, 0.1])),
        (three, Grid::Levels(vec![3.0, 1.0, 0.001])),
        (Sampler::DpmSolver { steps: 1001 }, Grid::Timesteps),
        (Sampler::Heun { steps: 1001 }, Grid::Quadratic),
        (Sampler::Ode { method: Method::Rk4, steps: 3 }, Grid::Karras),
    ] {
        let refused = of(sampler, grid.clone());
        let named = matches!(refused, Err(Error::Config { field: "DiffusionConfig::grid", .. }));
        assert!(named, "{sampler:?}, {grid:?}: {refused:?}");
    }
}

#[test]
fn the_solvers_take_the_steps_of_their_papers() {
    let levels = continuous(&Grid::LogSnr, -4.0, 6.0, 4);
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
            let all: Vec<_> = levels.iter().rev().copied().collect();
            let ancestral = ancestral(&all, ReverseVariance::Posterior);
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

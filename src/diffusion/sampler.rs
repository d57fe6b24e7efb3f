use super::schedule::NoiseLevel;
use super::sde::reverse_step;
use super::{DiffusionConfig, Schedule};
use crate::error::{Result, check};
use crate::numeric::ode::Method;

/// How a row is drawn from noise: which equation is discretised, in which steps.
///
/// The first two walk down timesteps T = τ_K > … > τ₀ = 0 of the schedule. The others live in continuous time:
/// they start at the schedule's last level or at σ/α = 80 (Karras et al. 2022), whichever is quieter, walk down
/// to [`DiffusionConfig::sigma_min`], and (but for the last) jump from there to the estimate (x − σ ε̂)/α of x₀.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampler {
    /// Ancestral sampling over all T timesteps (Ho et al. 2020, algorithm 2): T evaluations.
    Ddpm,
    /// Any number of steps (Song et al. 2021a, eq. 12), on the grid τᵢ = max(i, T·(i/K)²), rounded: their
    /// quadratic grid (appendix D.2), close where the noise is low and detail forms. With the exact score of
    /// 25 narrow modes, 50 even steps leave the modes half their width, these 0.96 of it. K evaluations; at
    /// η = 0 the probability-flow ODE by a method of order 1.
    Ddim {
        /// K, the steps. 1 to the timesteps T.
        steps: usize,
        /// The noise put back in each step, relative to DDPM's with variance β̃. 0 (none: the row is a
        /// function of its first noise) to 1.
        eta: f64,
    },
    /// The probability-flow ODE by Heun's method, order 2 (Karras et al. 2022, algorithm 1), on their grid
    /// σ̃ᵢ = (σ̃₀^⅐ + i/(K − 1)·(σ̃_{K−1}^⅐ − σ̃₀^⅐))⁷ of σ̃ = σ/α (eq. 5): 2K − 1 evaluations.
    Heun {
        /// K, the steps, the jump included. At least 1.
        steps: usize,
    },
    /// DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): the same ODE with its linear part solved exactly, order
    /// 2 by the estimate of x₀ from the step before, in equal steps of λ. The first and the last step are of
    /// order 1. K evaluations.
    DpmSolver {
        /// K, the steps, the jump included. At least 1.
        steps: usize,
    },
    /// The reverse SDE by Euler and Maruyama (Song et al. 2021b, eq. 6), in equal steps of λ: K evaluations.
    EulerMaruyama {
        /// K, the steps, the jump included. At least 1.
        steps: usize,
    },
    /// As Euler–Maruyama, with one step of Langevin dynamics at each level it comes to (Song et al. 2021b,
    /// algorithms 2 and 3): 2K − 1 evaluations. The Langevin step is ε = 2 (snr·σ)², theirs with the norms of
    /// noise and score replaced by their expectations, so that a row does not depend on its batch.
    PredictorCorrector {
        /// K, the steps of the predictor, the jump included. At least 1.
        steps: usize,
        /// The corrector's signal-to-noise ratio. More than 0, less than 1; Song et al. take 0.16.
        snr: f64,
    },
    /// The probability-flow ODE in λ by a method of Runge and Kutta, in equal steps, without the jump: what it
    /// draws is, up to its error, what the model's likelihood is the density of.
    Ode {
        /// Of which order: 1, 2 or 4 evaluations a step.
        method: Method,
        /// At least 1.
        steps: usize,
    },
}

/// The variance of DDPM's reverse steps: the two choices of Ho et al. 2020, §3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReverseVariance {
    /// β̃_t = β_t (1 − ᾱ_{t−1}) / (1 − ᾱ_t): right for data that are one point.
    Posterior,
    /// β_t: right for data that are standard normal.
    Beta,
}

/// σ/α beyond which continuous samplers do not start: data are lost in it (Karras et al. 2022, table 1).
const NOISIEST: f64 = 80.0;

/// Karras et al. 2022, table 1.
const RHO: f64 = 7.0;

impl Sampler {
    pub(super) fn validate(self, timesteps: usize) -> Result<()> {
        let positive = |steps, field| check(steps >= 1, field, steps, "at least 1");
        match self {
            Sampler::Ddpm => Ok(()),
            Sampler::Ddim { steps, eta } => {
                let most = "1 to DiffusionConfig::timesteps";
                check((1..=timesteps).contains(&steps), "Sampler::Ddim::steps", steps, most)?;
                check((0.0..=1.0).contains(&eta), "Sampler::Ddim::eta", eta, "0 to 1")
            }
            Sampler::Heun { steps } => positive(steps, "Sampler::Heun::steps"),
            Sampler::DpmSolver { steps } => positive(steps, "Sampler::DpmSolver::steps"),
            Sampler::EulerMaruyama { steps } => positive(steps, "Sampler::EulerMaruyama::steps"),
            Sampler::PredictorCorrector { steps, snr } => {
                positive(steps, "Sampler::PredictorCorrector::steps")?;
                let field = "Sampler::PredictorCorrector::snr";
                check(snr > 0.0 && snr < 1.0, field, snr, "more than 0, less than 1")
            }
            Sampler::Ode { steps, .. } => positive(steps, "Sampler::Ode::steps"),
        }
    }

    /// Network evaluations per row.
    pub(super) fn nfe(self, timesteps: usize) -> usize {
        match self {
            Sampler::Ddpm => timesteps,
            Sampler::Ddim { steps, .. } | Sampler::DpmSolver { steps } | Sampler::EulerMaruyama { steps } => {
                steps
            }
            Sampler::Heun { steps } | Sampler::PredictorCorrector { steps, .. } => 2 * steps - 1,
            Sampler::Ode { method, steps } => method.evaluations() * steps,
        }
    }

    /// As a table's row shows it.
    pub(super) fn name(self, timesteps: usize) -> String {
        match self {
            Sampler::Ddpm => format!("DDPM-{timesteps}"),
            Sampler::Ddim { steps, eta: 0.0 } => format!("DDIM-{steps}"),
            Sampler::Ddim { steps, eta } => format!("DDIM-{steps}, η = {eta}"),
            Sampler::Heun { steps } => format!("Heun-{steps}"),
            Sampler::DpmSolver { steps } => format!("DPM-Solver++-{steps}"),
            Sampler::EulerMaruyama { steps } => format!("Euler–Maruyama-{steps}"),
            Sampler::PredictorCorrector { steps, .. } => format!("predictor–corrector-{steps}"),
            Sampler::Ode { method, steps } => format!("ODE-{steps} ({method:?})"),
        }
    }

    /// Its steps for a model of this config, whose levels of t = 0 … T are `levels`.
    pub(super) fn plan(self, config: &DiffusionConfig, levels: &[NoiseLevel]) -> Plan {
        let noisiest = levels[levels.len() - 1].log_snr.max(-2.0 * NOISIEST.ln());
        let quietest = NoiseLevel::at_sigma(config.sigma_min).log_snr;
        let grid = |steps| even_in_log_snr(noisiest, quietest, steps);
        let schedule = config.schedule;
        Plan::Steps(match self {
            Sampler::Ddpm => ancestral(levels, config.reverse_variance),
            Sampler::Ddim { steps, eta } => implicit(&quadratic(levels, steps), eta),
            Sampler::Heun { steps } => heun(&karras(noisiest, quietest, steps)),
            Sampler::DpmSolver { steps } => multistep(&grid(steps)),
            Sampler::EulerMaruyama { steps } => euler_maruyama(schedule, &grid(steps), None),
            Sampler::PredictorCorrector { steps, snr } => euler_maruyama(schedule, &grid(steps), Some(snr)),
            Sampler::Ode { method, steps } => {
                return Plan::Ode { method, steps, span: (noisiest, quietest) };
            }
        })
    }
}

/// What a sampler does, made once.
#[derive(Debug, Clone)]
pub(super) enum Plan {
    Steps(Vec<Update>),
    /// dz/dλ over a span of λ.
    Ode {
        method: Method,
        steps: usize,
        span: (f64, f64),
    },
}

/// One evaluation of the network and what is made of it, linear in the row x, the prediction ε̂, the row's
/// memory m and fresh noise ξ:
///
/// x′ = keep·x + eps·ε̂ + recall·m + noise·ξ, m′ = store·(x, ε̂).
///
/// Every sampler here is a list of these.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Update {
    /// Of x, which the network is told.
    pub(super) level: NoiseLevel,
    pub(super) keep: f64,
    pub(super) eps: f64,
    pub(super) recall: f64,
    pub(super) noise: f64,
    /// `None`: m stays.
    pub(super) store: Option<(f64, f64)>,
}

impl Update {
    /// From one level to another along the estimate x₀ ≈ (x − σ ε̂)/α: x′ = α′ x₀ + √(σ′² − c²) ε̂ + c ξ, which
    /// has the right amount of noise for any c ≤ σ′.
    fn by_estimate(from: NoiseLevel, to: NoiseLevel, c: f64) -> Self {
        let keep = to.alpha / from.alpha;
        let eps = (to.sigma.powi(2) - c * c).max(0.0).sqrt() - keep * from.sigma;
        Update { level: from, keep, eps, recall: 0.0, noise: c, store: None }
    }
}

/// β of the step from one level to the next noisier one.
fn beta(to: NoiseLevel, from: NoiseLevel) -> f64 {
    1.0 - (from.alpha / to.alpha).powi(2)
}

/// DDIM (Song et al. 2021a, eq. 12 and 16), c = η (σ′/σ) √(1 − (α/α′)²); the noisiest step first, though the
/// levels rise.
fn implicit(levels: &[NoiseLevel], eta: f64) -> Vec<Update> {
    let step = |pair: &[NoiseLevel]| {
        let (to, from) = (pair[0], pair[1]);
        Update::by_estimate(from, to, eta * to.sigma / from.sigma * beta(to, from).sqrt())
    };
    levels.windows(2).rev().map(step).collect()
}

/// DDPM over all timesteps. With c² = β̃ it is DDIM at η = 1; c² = β keeps that step's mean. The last step adds
/// no noise (Ho et al. 2020, algorithm 2, line 3).
fn ancestral(levels: &[NoiseLevel], variance: ReverseVariance) -> Vec<Update> {
    let mut steps = implicit(levels, 1.0);
    if variance == ReverseVariance::Beta {
        for (step, pair) in steps.iter_mut().zip(levels.windows(2).rev()) {
            step.noise = if pair[0].sigma > 0.0 { beta(pair[0], pair[1]).sqrt() } else { 0.0 };
        }
    }
    steps
}

/// Heun's method on dx̃/dσ̃ = ε̂ for x̃ = x/α, σ̃ = σ/α, h = σ̃′ − σ̃: Euler's x̃ + h ε̂ is a step of DDIM, and m =
/// x̃ + ½ h ε̂ waits for the other half, ½ h ε̂′. The jump to σ̃ = 0, where ε̂ is not known, is Euler's.
fn heun(levels: &[NoiseLevel]) -> Vec<Update> {
    let mut steps = Vec::new();
    for pair in levels.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let euler = Update::by_estimate(from, to, 0.0);
        if to.sigma == 0.0 {
            steps.push(euler);
        } else {
            // α′ ½ h: half of what Euler takes of ε̂.
            let half = 0.5 * euler.eps;
            steps.push(Update { store: Some((euler.keep, half)), ..euler });
            steps.push(Update { level: to, keep: 0.0, eps: half, recall: 1.0, noise: 0.0, store: None });
        }
    }
    steps
}

/// DPM-Solver++(2M). With D = (x − σ ε̂)/α, h the step of ½ λ and r the step before relative to it (Lu et al.
/// 2022, algorithm 2),
///
/// x′ = (σ′/σ) x + α′ (1 − e^−h) ((1 + 1/2r) D − (1/2r) D₋), m = D₋.
fn multistep(levels: &[NoiseLevel]) -> Vec<Update> {
    let mut before = None;
    let step = |pair: &[NoiseLevel]| {
        let (from, to) = (pair[0], pair[1]);
        let h = 0.5 * (to.log_snr - from.log_snr);
        // Order 1 where there is no D₋, and to σ′ = 0, where h is infinite.
        let ahead = match before {
            Some(before) if to.sigma > 0.0 => h / (2.0 * before),
            _ => 0.0,
        };
        before = Some(h);
        let growth = to.alpha - to.sigma * from.alpha / from.sigma;
        let weight = growth * (1.0 + ahead);
        Update {
            level: from,
            keep: to.sigma / from.sigma + weight / from.alpha,
            eps: -weight * from.sigma / from.alpha,
            recall: -growth * ahead,
            noise: 0.0,
            store: Some((from.alpha.recip(), -from.sigma / from.alpha)),
        }
    };
    levels.windows(2).map(step).collect()
}

/// Euler–Maruyama, then, with `snr`, a Langevin step x + ε ∇ ln p + √(2ε) ξ at each level but the last: ε = 2
/// (snr·σ)² and ∇ ln p = −ε̂/σ. Both scale with x, so that one formula serves both processes.
fn euler_maruyama(schedule: Schedule, levels: &[NoiseLevel], snr: Option<f64>) -> Vec<Update> {
    let mut steps = Vec::new();
    for pair in levels.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        if to.sigma == 0.0 {
            steps.push(Update::by_estimate(from, to, 0.0));
            break;
        }
        let (keep, eps, noise) = reverse_step(schedule, from, to);
        steps.push(Update { level: from, keep, eps, recall: 0.0, noise, store: None });
        if let Some(snr) = snr {
            let (eps, noise) = (-2.0 * snr * snr * to.sigma, 2.0 * snr * to.sigma);
            steps.push(Update { level: to, keep: 1.0, eps, recall: 0.0, noise, store: None });
        }
    }
    steps
}

/// The levels τ₀ … τ_K of DDIM.
fn quadratic(levels: &[NoiseLevel], steps: usize) -> Vec<NoiseLevel> {
    let timesteps = (levels.len() - 1) as f64;
    let square = |i: usize| (timesteps * (i as f64 / steps as f64).powi(2)).round() as usize;
    (0..=steps).map(|i| levels[square(i).max(i)]).collect()
}

const CLEAN: NoiseLevel = NoiseLevel { alpha: 1.0, sigma: 0.0, log_snr: f64::INFINITY };

/// `steps` levels from the noisiest λ to the quietest, then none.
fn grid(steps: usize, log_snr: impl Fn(f64) -> f64) -> Vec<NoiseLevel> {
    let along = |i: usize| i as f64 / (steps - 1).max(1) as f64;
    (0..steps).map(|i| NoiseLevel::at_log_snr(log_snr(along(i)))).chain([CLEAN]).collect()
}

fn even_in_log_snr(noisiest: f64, quietest: f64, steps: usize) -> Vec<NoiseLevel> {
    grid(steps, |u| noisiest + u * (quietest - noisiest))
}

/// λ = −2 ln σ̃.
fn karras(noisiest: f64, quietest: f64, steps: usize) -> Vec<NoiseLevel> {
    let root = |log_snr: f64| (-0.5 * log_snr / RHO).exp();
    grid(steps, |u| -2.0 * RHO * (root(noisiest) + u * (root(quietest) - root(noisiest))).ln())
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;
    use crate::diffusion::Sde;

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
                let grid = quadratic(&levels, steps);
                assert_eq!((grid[0], grid[steps], grid.len()), (levels[0], levels[timesteps], steps + 1));
                assert!(grid.windows(2).all(|w| w[0].sigma < w[1].sigma), "{steps} of {timesteps}");
            }
        }
        let levels = levels(1000);
        assert_eq!(quadratic(&levels, 5), [0, 40, 160, 360, 640, 1000].map(|t: usize| levels[t]));
    }

    #[test]
    fn ddim_takes_the_steps_of_its_paper() {
        let levels = Schedule::Cosine.levels(100);
        let plan = implicit(&quadratic(&levels, 10), 0.0);
        // Without noise: x′ = α′ (x − σ ε̂)/α + σ′ ε̂.
        for (step, i) in plan.iter().zip((1..=10usize).rev()) {
            let (from, to) = (levels[(i * i).max(i)], levels[(i - 1).pow(2).max(i - 1)]);
            assert_eq!((step.level, step.noise), (from, 0.0));
            assert_relative_eq!(step.keep, to.alpha / from.alpha, max_relative = 1e-9);
            let eps = to.sigma - to.alpha / from.alpha * from.sigma;
            assert_relative_eq!(step.eps, eps, max_relative = 1e-9);
        }
        // At η = 1 over all timesteps it is DDPM.
        let all = implicit(&quadratic(&levels, 100), 1.0);
        assert_eq!(all, ancestral(&levels, ReverseVariance::Posterior));
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
        assert_relative_eq!(
            corrected / to.alpha,
            x / from.alpha + 0.5 * h * (eps + 0.9),
            max_relative = 1e-12
        );
        // The corrector comes after each step but the jump.
        let plan = euler_maruyama(Schedule::Cosine, &levels, Some(0.2));
        assert_eq!(plan.len(), 7);
        assert_eq!((plan[1].level, plan[1].keep), (levels[1], 1.0));
        assert_relative_eq!(
            plan[1].noise.powi(2),
            -2.0 * plan[1].eps * levels[1].sigma,
            max_relative = 1e-12
        );
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
}

mod grid;
mod run;
mod steps;
#[cfg(test)]
mod tests;

pub(crate) use self::run::{Scratch, denoise, follow};

pub use self::grid::Grid;
use self::grid::{CLEAN, ROUNDING};
use self::steps::{Update, ancestral, euler_maruyama, heun, implicit, multistep};
use super::path::{Noising, Path};
use super::schedule::NoiseLevel;
use super::{DiffusionConfig, TrainingNoise};
use crate::error::{Result, check};
use crate::numeric::ode::Method;

/// How a row is drawn from noise: which equation is discretized, in how many steps. On which levels says
/// [`DiffusionConfig::grid`]; what is said here holds for each sampler's own grid.
///
/// The first two walk down timesteps T = τ_K > … > τ₀ = 0 of the schedule. The others live in continuous time, from the
/// end of the schedule or σ/α = 80 down to [`DiffusionConfig::sigma_min`]. How all but the last come from there to no
/// noise at all, and the first two come to `sigma_min`, says [`DiffusionConfig::finish`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Sampler {
    /// Ancestral sampling in T steps, over all timesteps unless a grid says otherwise (Ho et al. 2020, algorithm 2): T
    /// evaluations.
    Ddpm,
    /// Any number of steps (Song et al. 2021a, eq. 12), on the grid τᵢ = max(i, T·(i/K)²), rounded: their
    /// quadratic grid (appendix D.2), close where the noise is low and detail forms. K evaluations; at η = 0
    /// the probability-flow ODE by a method of order 1.
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
        /// K, the steps, the jump included. 1 to 1,000,000.
        steps: usize,
    },
    /// DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): the same ODE with its linear part solved exactly, order
    /// 2 by the estimate of x₀ from the step before, in equal steps of λ. The first and the last step are of
    /// order 1. K evaluations.
    DpmSolver {
        /// K, the steps, the jump included. 1 to 1,000,000.
        steps: usize,
    },
    /// The reverse SDE by Euler and Maruyama (Song et al. 2021b, eq. 6), in equal steps of λ: K evaluations.
    EulerMaruyama {
        /// K, the steps, the jump included. 1 to 1,000,000.
        steps: usize,
    },
    /// As Euler–Maruyama, with one step of Langevin dynamics at each level it comes to (Song et al. 2021b,
    /// algorithms 2 and 3): 2K − 1 evaluations. The Langevin step is ε = 2 (snr·σ)², theirs with the norms of
    /// noise and score replaced by their expectations, so that a row does not depend on its batch, and
    /// without the factor α that they give the variance-preserving process.
    PredictorCorrector {
        /// K, the steps of the predictor, the jump included. 1 to 1,000,000.
        steps: usize,
        /// The corrector's signal-to-noise ratio. More than 0, less than 1; Song et al. take 0.16.
        snr: f64,
    },
    /// The probability-flow ODE in λ by a method of Runge and Kutta, in equal steps, without the jump: what it
    /// draws is, up to its error, what the model's likelihood is the density of.
    Ode {
        /// Of which order: 1, 2 or 4 evaluations a step.
        method: Method,
        /// 1 to 1,000,000.
        steps: usize,
    },
}

/// How a sampler takes the last of the noise away.
///
/// A mode of width s is drawn as wide as s only if the sampler evaluates it at noise levels below s and does not
/// remove more noise than there is. A mode hardly wider than `sigma_min` is drawn too narrow by an estimate and about
/// as wide as it is by the flow; on a mode several times as wide the two agree. A single point is drawn as a point by
/// an estimate, and with a spread of half of `sigma_min` by the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Finish {
    /// The last step is the estimate (x − σ ε̂)/α of x₀, from the level where the steps end: that of
    /// `sigma_min`, or of the first timestep for DDPM and DDIM (Ho et al. 2020, algorithm 2). It is the mean of
    /// x₀ given x, and so draws what is as narrow as the last level's noise too narrow.
    Estimate,
    /// The last step follows the probability flow from `sigma_min`, by Euler's method in σ̃² = σ²/α²,
    ///
    /// dx̃/dσ̃² = ε̂/2σ̃ = −½ ∇ ln p for x̃ = x/α, so x₀ ≈ (x − ½ σ ε̂)/α,
    ///
    /// whose slope, unlike that in σ̃, stays the same to the end. On a grid of timesteps, up to a sixteenth of the
    /// steps are spent below the first timestep, in even steps of λ of at most 0.2 where that suffices, and the others
    /// spread over the timesteps. With fewer than 16 steps, or with a network that is trained at timesteps
    /// alone ([`TrainingNoise::Timesteps`](super::TrainingNoise)), they end as with an estimate.
    Flow,
}

/// The variance of DDPM's reverse steps: the two choices of Ho et al. 2020, §3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum ReverseVariance {
    /// β̃_t = β_t (1 − ᾱ_{t−1}) / (1 − ᾱ_t): right for data that are one point, and too little for any other. A mode of
    /// width s is drawn too narrow where the steps are long at noise near s: with the exact score and T = 1000, a mode
    /// of 0.018 by a factor of 0.93.
    Posterior,
    /// β_t: right for data that are standard normal, and too much for narrower modes: the same one is drawn too wide by
    /// a factor of 1.04.
    Beta,
}

/// Steps, and timesteps of a schedule, that fit into memory and into any patience.
pub(super) const MOST_STEPS: usize = 1_000_000;

impl Sampler {
    pub(super) fn validate(self, timesteps: usize) -> Result<()> {
        let counts = |steps, field| check((1..=MOST_STEPS).contains(&steps), field, steps, "1 to 1,000,000");
        match self {
            Sampler::Ddpm => Ok(()),
            Sampler::Ddim { steps, eta } => {
                let most = "1 to DiffusionConfig::timesteps";
                check((1..=timesteps).contains(&steps), "Sampler::Ddim::steps", steps, most)?;
                check((0.0..=1.0).contains(&eta), "Sampler::Ddim::eta", eta, "0 to 1")
            }
            Sampler::Heun { steps } => counts(steps, "Sampler::Heun::steps"),
            Sampler::DpmSolver { steps } => counts(steps, "Sampler::DpmSolver::steps"),
            Sampler::EulerMaruyama { steps } => counts(steps, "Sampler::EulerMaruyama::steps"),
            Sampler::PredictorCorrector { steps, snr } => {
                counts(steps, "Sampler::PredictorCorrector::steps")?;
                let field = "Sampler::PredictorCorrector::snr";
                check(snr > 0.0 && snr < 1.0, field, snr, "more than 0, less than 1")
            }
            Sampler::Ode { steps, .. } => counts(steps, "Sampler::Ode::steps"),
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

    /// K.
    fn steps(self, timesteps: usize) -> usize {
        match self {
            Sampler::Ddpm => timesteps,
            Sampler::Ddim { steps, .. }
            | Sampler::Heun { steps }
            | Sampler::DpmSolver { steps }
            | Sampler::EulerMaruyama { steps }
            | Sampler::PredictorCorrector { steps, .. }
            | Sampler::Ode { steps, .. } => steps,
        }
    }

    /// What [`Grid::Own`] is.
    fn own_grid(self) -> Grid {
        match self {
            Sampler::Ddpm => Grid::Timesteps,
            Sampler::Ddim { .. } => Grid::Quadratic,
            Sampler::Heun { .. } => Grid::Karras,
            Sampler::DpmSolver { .. }
            | Sampler::EulerMaruyama { .. }
            | Sampler::PredictorCorrector { .. }
            | Sampler::Ode { .. } => Grid::LogSnr,
        }
    }
}

/// What a sampler does, made once.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    Steps(Vec<Update>),
    /// dz/dλ over a span of λ.
    Ode {
        method: Method,
        steps: usize,
        span: (f64, f64),
    },
}

/// The clean row by a prediction at a level, keep·x + eps·ε̂: (x − σ ε̂)/α before the last step of a sampler, and
/// what it draws at the last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimate {
    pub(crate) level: NoiseLevel,
    pub(crate) keep: f64,
    pub(crate) eps: f64,
}

impl Plan {
    /// The steps of a config's sampler on its grid, for a model whose levels of t = 0 … T are `timesteps`.
    pub(super) fn new(config: &DiffusionConfig, timesteps: &[NoiseLevel]) -> Self {
        let (sampler, schedule) = (config.sampler, config.schedule);
        let own = sampler.own_grid();
        let grid = if config.grid.is_own() { &own } else { &config.grid };
        let ends = grid::ends(config, timesteps);
        let below = match (config.finish, config.training_noise) {
            (Finish::Flow, TrainingNoise::LogSnr) => Some(ends.1),
            _ => None,
        };
        let levels = |steps| grid.levels(steps, ends, timesteps, below);
        let mut steps = match sampler {
            Sampler::Ddpm => ancestral(&levels(timesteps.len() - 1), config.reverse_variance),
            Sampler::Ddim { steps, eta } => implicit(&levels(steps), eta),
            Sampler::Heun { steps } => heun(&levels(steps)),
            Sampler::DpmSolver { steps } => multistep(&levels(steps)),
            Sampler::EulerMaruyama { steps } => euler_maruyama(schedule, &levels(steps), None),
            Sampler::PredictorCorrector { steps, snr } => euler_maruyama(schedule, &levels(steps), Some(snr)),
            Sampler::Ode { method, steps } => return Plan::Ode { method, steps, span: ends },
        };
        // From `sigma_min`, up to the rounding of a grid, or below.
        let flows = config.finish == Finish::Flow && !(grid.is_of_timesteps() && below.is_none());
        match steps.last_mut() {
            Some(last) if flows && last.level.log_snr > ends.1 - ROUNDING => {
                *last = Update::along_flow(last.level);
            }
            _ => {}
        }
        Plan::Steps(steps)
    }

    /// The levels at which a predictor is asked.
    pub(super) fn levels(&self) -> Box<dyn Iterator<Item = NoiseLevel> + '_> {
        match self {
            Plan::Steps(steps) => Box::new(steps.iter().map(|step| step.level)),
            Plan::Ode { method, steps, span } => Box::new(method.times(*steps, *span).map(Noising::level)),
        }
    }

    /// What each step takes for the clean row; `None` of an ODE.
    pub(crate) fn estimates(&self) -> Option<Vec<Estimate>> {
        let Plan::Steps(steps) = self else { return None };
        let last = steps.len() - 1;
        let estimate = |(k, step): (usize, &Update)| {
            let Update { level, keep, eps, .. } =
                if k == last { *step } else { Update::by_estimate(step.level, CLEAN, 0.0) };
            Estimate { level, keep, eps }
        };
        Some(steps.iter().enumerate().map(estimate).collect())
    }

    /// Steps, after each of which rows are shown.
    pub(super) fn steps(&self) -> usize {
        match self {
            Plan::Steps(steps) => steps.len(),
            Plan::Ode { steps, .. } => *steps,
        }
    }
}

use super::schedule::NoiseLevel;
use super::sde::reverse_step;
use super::{DiffusionConfig, Schedule, TrainingNoise};
use crate::error::{Result, check};
use crate::numeric::ode::Method;

/// How a row is drawn from noise: which equation is discretised, in which steps.
///
/// The first two walk down timesteps T = τ_K > … > τ₀ = 0 of the schedule. The others live in continuous time:
/// they start at the schedule's last level or at σ/α = 80 (Karras et al. 2022), whichever is quieter, and walk
/// down to [`DiffusionConfig::sigma_min`]. How all but the last come from there to no noise at all, and the
/// first two come to `sigma_min`, says [`DiffusionConfig::finish`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Sampler {
    /// Ancestral sampling over all T timesteps (Ho et al. 2020, algorithm 2): T evaluations.
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
/// At the end, a mode of width s is drawn as wide as s only if the sampler looks at it from noise below s, and
/// does not take more away than there is. With the exact score of a mode of 1.4 times the default `sigma_min`
/// of 0.002, DDPM-1000 draws it 0.51 times as wide as it is by an estimate and 1.14 times by the flow, DDIM-100
/// 0.40 and 1.00, Heun-50 0.83 and 1.05, DPM-Solver++-50 0.81 and 1.02; on a mode of nine times `sigma_min` the
/// two differ by at most 0.06. A single point is drawn as a point by an estimate, and with half of `sigma_min`
/// for its spread by the flow.
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
    /// whose slope, unlike that in σ̃, stays the same to the end. DDPM and DDIM spend up to an eighth of their
    /// steps below the first timestep, in even steps of λ of at most 0.2 where that suffices, and spread the
    /// others over the timesteps. With fewer than eight steps, or with a network that is trained at timesteps
    /// alone ([`TrainingNoise::Timesteps`](super::TrainingNoise)), they end as with an estimate.
    Flow,
}

/// The variance of DDPM's reverse steps: the two choices of Ho et al. 2020, §3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum ReverseVariance {
    /// β̃_t = β_t (1 − ᾱ_{t−1}) / (1 − ᾱ_t): right for data that are one point.
    Posterior,
    /// β_t: right for data that are standard normal.
    Beta,
}

/// Steps, and timesteps of a schedule, that fit into memory and into any patience.
pub(super) const MOST_STEPS: usize = 1_000_000;

/// σ/α beyond which continuous samplers do not start: data are lost in it (Karras et al. 2022, table 1).
const NOISIEST: f64 = 80.0;

/// Karras et al. 2022, table 1.
const RHO: f64 = 7.0;

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
        let below = match (config.finish, config.training_noise) {
            (Finish::Flow, TrainingNoise::LogSnr) => Some(quietest),
            _ => None,
        };
        let mut steps = match self {
            Sampler::Ddpm => ancestral(&visited(levels, levels.len() - 1, 1, below), config.reverse_variance),
            Sampler::Ddim { steps, eta } => implicit(&visited(levels, steps, 2, below), eta),
            Sampler::Heun { steps } => heun(&karras(noisiest, quietest, steps)),
            Sampler::DpmSolver { steps } => multistep(&grid(steps)),
            Sampler::EulerMaruyama { steps } => euler_maruyama(schedule, &grid(steps), None),
            Sampler::PredictorCorrector { steps, snr } => euler_maruyama(schedule, &grid(steps), Some(snr)),
            Sampler::Ode { method, steps } => {
                return Plan::Ode { method, steps, span: (noisiest, quietest) };
            }
        };
        // From `sigma_min`, up to the rounding of a grid, or below.
        let by_timesteps = matches!(self, Sampler::Ddpm | Sampler::Ddim { .. });
        let flows = config.finish == Finish::Flow && !(by_timesteps && below.is_none());
        match steps.last_mut() {
            Some(last) if flows && last.level.log_snr > quietest - 1e-6 => {
                *last = Update::along_flow(last.level);
            }
            _ => {}
        }
        Plan::Steps(steps)
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

    /// [`Finish::Flow`].
    fn along_flow(from: NoiseLevel) -> Self {
        let (keep, eps) = (from.alpha.recip(), -0.5 * from.sigma / from.alpha);
        Update { level: from, keep, eps, recall: 0.0, noise: 0.0, store: None }
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

/// The most of λ that a step below the first timestep covers, where an eighth of the steps are enough for it.
const LAST_STEPS: f64 = 0.2;

/// The levels that `steps` steps visit, rising from none: the timesteps T·(i/K)^`power`, and below them, down to
/// the λ of `below`, as [`Finish::Flow`] says.
fn visited(levels: &[NoiseLevel], steps: usize, power: i32, below: Option<f64>) -> Vec<NoiseLevel> {
    let timesteps = (levels.len() - 1) as f64;
    let tau = |i: usize, count: usize| {
        levels[((timesteps * (i as f64 / count as f64).powi(power)).round() as usize).max(i)]
    };
    let gap = |extra: usize| below.map_or(0.0, |below| below - tau(1, steps - extra).log_snr);
    let most = steps / 8;
    let extra = (0..most).find(|&extra| gap(extra) <= LAST_STEPS * extra as f64).unwrap_or(most);
    let (kept, first) = (steps - extra, tau(1, steps - extra).log_snr + gap(extra));
    let between = (0..extra).map(|i| first - gap(extra) * (i as f64 / extra as f64));
    let clean = std::iter::once(levels[0]);
    clean.chain(between.map(NoiseLevel::at_log_snr)).chain((1..=kept).map(|i| tau(i, kept))).collect()
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
mod tests;

use super::Sampler;
use crate::diffusion::DiffusionConfig;
use crate::diffusion::schedule::NoiseLevel;
use crate::error::{Result, check};

/// The noise levels that a sampler visits in its K steps, from the noisiest to the last, after which no noise is left.
///
/// Grids of timesteps start at the schedule's end; the others start there or at σ/α = 80 (Karras et al. 2022),
/// whichever is quieter, and end at [`DiffusionConfig::sigma_min`].
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub enum Grid {
    /// The one that each [`Sampler`] names.
    #[default]
    Own,
    /// Even in t: the timesteps τᵢ = T·i/K, rounded. K is at most T.
    Timesteps,
    /// Close where the noise is low and detail forms: τᵢ = max(i, T·(i/K)²), rounded (Song et al. 2021a, appendix
    /// D.2). K is at most T.
    Quadratic,
    /// Even in λ.
    LogSnr,
    /// σ̃ᵢ = (σ̃₀^⅐ + i/(K − 1)·(σ̃_{K−1}^⅐ − σ̃₀^⅐))⁷ of σ̃ = σ/α (Karras et al. 2022, eq. 5 with ρ = 7).
    Karras,
    /// These σ/α, one for each step: they fall, and are at least that of [`DiffusionConfig::sigma_min`].
    Levels(Vec<f64>),
}

/// Karras et al. 2022, table 1.
const RHO: f64 = 7.0;

/// σ/α beyond which continuous samplers do not start: data are lost in it (Karras et al. 2022, table 1).
const NOISIEST: f64 = 80.0;

/// The most of λ that a step below the first timestep covers, where a sixteenth of the steps are enough for it.
const LAST_STEPS: f64 = 0.2;

/// How far rounding may take a level below the smallest noise, in λ.
pub(super) const ROUNDING: f64 = 1e-6;

pub(super) const CLEAN: NoiseLevel = NoiseLevel { alpha: 1.0, sigma: 0.0, log_snr: f64::INFINITY };

/// The noisiest and the quietest λ of samplers in continuous time, for a model whose levels of t = 0 … T are `levels`.
pub(super) fn ends(config: &DiffusionConfig, levels: &[NoiseLevel]) -> (f64, f64) {
    let noisiest = levels[levels.len() - 1].log_snr.max(-2.0 * NOISIEST.ln());
    (noisiest, NoiseLevel::at_sigma(config.sigma_min).log_snr)
}

impl Grid {
    /// Whether it is [`Grid::Own`].
    pub fn is_own(&self) -> bool {
        *self == Grid::Own
    }

    /// Whether its levels are timesteps.
    pub(super) fn is_of_timesteps(&self) -> bool {
        matches!(self, Grid::Timesteps | Grid::Quadratic)
    }

    /// As a table's row shows it.
    pub(in crate::diffusion) fn name(&self) -> &'static str {
        match self {
            Grid::Own => "",
            Grid::Timesteps => ", even in t",
            Grid::Quadratic => ", quadratic in t",
            Grid::LogSnr => ", even in λ",
            Grid::Karras => ", Karras' grid",
            Grid::Levels(_) => ", own levels",
        }
    }

    pub(in crate::diffusion) fn validate(&self, config: &DiffusionConfig) -> Result<()> {
        let (field, steps) = ("DiffusionConfig::grid", config.sampler.steps(config.timesteps));
        if let Sampler::Ode { .. } = config.sampler {
            return check(matches!(self, Grid::Own | Grid::LogSnr), field, self, "LogSnr for Sampler::Ode");
        }
        match self {
            Grid::Timesteps | Grid::Quadratic => {
                let most = "for samplers of at most DiffusionConfig::timesteps steps";
                check(steps <= config.timesteps, field, self, most)
            }
            Grid::Levels(ratios) => {
                check(ratios.len() == steps, field, ratios.len(), "a level for each step of the sampler")?;
                let quietest = NoiseLevel::at_sigma(config.sigma_min).log_snr + ROUNDING;
                let levels = ratios.iter().map(|&ratio| log_snr(ratio));
                let sane = ratios.iter().all(|ratio| (1e-6..=1e6).contains(ratio))
                    && levels.clone().zip(levels.clone().skip(1)).all(|(from, to)| from < to)
                    && levels.max_by(f64::total_cmp).is_some_and(|last| last <= quietest);
                check(sane, field, self, "σ/α that fall from at most 1e6 to at least that of sigma_min")
            }
            Grid::Own | Grid::LogSnr | Grid::Karras => Ok(()),
        }
    }

    /// The levels of `steps` steps, then none, for a model whose levels of t = 0 … T are `timesteps`. `below` is the λ
    /// down to which a grid of timesteps goes on, as [`Finish::Flow`](super::Finish::Flow) says.
    pub(super) fn levels(
        &self,
        steps: usize,
        (noisiest, quietest): (f64, f64),
        timesteps: &[NoiseLevel],
        below: Option<f64>,
    ) -> Vec<NoiseLevel> {
        let along = |i: usize| i as f64 / (steps - 1).max(1) as f64;
        let continuous = |log_snr: &dyn Fn(usize) -> f64| {
            (0..steps).map(|i| NoiseLevel::at_log_snr(log_snr(i))).chain([CLEAN]).collect()
        };
        match self {
            Grid::Own => unreachable!("a sampler names its own"),
            Grid::Timesteps => visited(timesteps, steps, 1, below),
            Grid::Quadratic => visited(timesteps, steps, 2, below),
            Grid::LogSnr => continuous(&|i| noisiest + along(i) * (quietest - noisiest)),
            Grid::Karras => {
                let root = |log_snr: f64| (-0.5 * log_snr / RHO).exp();
                let (from, to) = (root(noisiest), root(quietest));
                continuous(&|i| -2.0 * RHO * (from + along(i) * (to - from)).ln())
            }
            Grid::Levels(ratios) => continuous(&|i| log_snr(ratios[i])),
        }
    }
}

/// λ = −2 ln σ̃.
fn log_snr(ratio: f64) -> f64 {
    -2.0 * ratio.ln()
}

/// The levels that `steps` steps visit, falling to none: the timesteps T·(i/K)^`power`, and below them, down to the λ
/// of `below`, up to a sixteenth of the steps.
fn visited(levels: &[NoiseLevel], steps: usize, power: i32, below: Option<f64>) -> Vec<NoiseLevel> {
    let timesteps = (levels.len() - 1) as f64;
    let tau = |i: usize, count: usize| {
        levels[((timesteps * (i as f64 / count as f64).powi(power)).round() as usize).max(i)]
    };
    let gap = |extra: usize| below.map_or(0.0, |below| below - tau(1, steps - extra).log_snr);
    let most = steps / 16;
    let extra = (0..most).find(|&extra| gap(extra) <= LAST_STEPS * extra as f64).unwrap_or(most);
    let (kept, first) = (steps - extra, tau(1, steps - extra).log_snr + gap(extra));
    let between = (0..extra).map(|i| first - gap(extra) * (i as f64 / extra as f64));
    let kept = (1..=kept).rev().map(|i| tau(i, kept));
    kept.chain(between.rev().map(NoiseLevel::at_log_snr)).chain([levels[0]]).collect()
}

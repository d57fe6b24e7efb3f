use crate::diffusion::schedule::NoiseLevel;

/// Karras et al. 2022, table 1.
const RHO: f64 = 7.0;

/// The most of λ that a step below the first timestep covers, where an eighth of the steps are enough for it.
const LAST_STEPS: f64 = 0.2;

/// The levels that `steps` steps visit, rising from none: the timesteps T·(i/K)^`power`, and below them, down to
/// the λ of `below`, as [`Finish::Flow`] says.
pub(super) fn visited(
    levels: &[NoiseLevel],
    steps: usize,
    power: i32,
    below: Option<f64>,
) -> Vec<NoiseLevel> {
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

pub(super) const CLEAN: NoiseLevel = NoiseLevel { alpha: 1.0, sigma: 0.0, log_snr: f64::INFINITY };

/// `steps` levels from the noisiest λ to the quietest, then none.
fn grid(steps: usize, log_snr: impl Fn(f64) -> f64) -> Vec<NoiseLevel> {
    let along = |i: usize| i as f64 / (steps - 1).max(1) as f64;
    (0..steps).map(|i| NoiseLevel::at_log_snr(log_snr(along(i)))).chain([CLEAN]).collect()
}

pub(super) fn even_in_log_snr(noisiest: f64, quietest: f64, steps: usize) -> Vec<NoiseLevel> {
    grid(steps, |u| noisiest + u * (quietest - noisiest))
}

/// λ = −2 ln σ̃.
pub(super) fn karras(noisiest: f64, quietest: f64, steps: usize) -> Vec<NoiseLevel> {
    let root = |log_snr: f64| (-0.5 * log_snr / RHO).exp();
    grid(steps, |u| -2.0 * RHO * (root(noisiest) + u * (root(quietest) - root(noisiest))).ln())
}

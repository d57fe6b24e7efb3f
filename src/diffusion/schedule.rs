use std::f64::consts::FRAC_PI_2;

use super::Sde;
use crate::error::Result;

/// How fast the noise grows over the timesteps t = 1 … T.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Schedule {
    /// β from 1e-4 to 0.02, evenly spaced (Ho et al. 2020, §4), at T = 1000; other T keep the total noise: β
    /// · 1000/T.
    Linear,
    /// ᾱ(t) = cos²(π/2 · (t/T + s)/(1 + s)) / cos²(π/2 · s/(1 + s)), s = 0.008 (Nichol & Dhariwal 2021, eq.
    /// 17).
    Cosine,
    /// A process in continuous time, at t/T. Of the variance-exploding one the rows are divided by √(1 + σ²),
    /// which leaves them at the same signal-to-noise ratio.
    Continuous(Sde),
}

/// No step destroys more than this (Nichol & Dhariwal 2021, §3.2).
const BETA_MAX: f64 = 0.999;

impl Schedule {
    pub(super) fn validate(self) -> Result<()> {
        match self {
            Schedule::Linear | Schedule::Cosine => Ok(()),
            Schedule::Continuous(sde) => sde.validate(),
        }
    }

    /// β₁ … β_T, the variance that each step adds: x_t = √(1 − β_t) x_{t−1} + √β_t ε.
    ///
    /// ```
    /// use quadrivium::diffusion::Schedule;
    /// let betas = Schedule::Linear.betas(1000);
    /// assert_eq!((betas[0], betas[999]), (1e-4, 0.02));
    /// ```
    pub fn betas(self, timesteps: usize) -> Vec<f64> {
        let last = timesteps as f64;
        let beta = |t: f64| match self {
            Schedule::Linear => {
                let along = if timesteps > 1 { (t - 1.0) / (last - 1.0) } else { 1.0 };
                (1e-4 * (1.0 - along) + 0.02 * along) * (1000.0 / last)
            }
            Schedule::Cosine => {
                let alpha_bar = |t: f64| (FRAC_PI_2 * (t / last + 0.008) / 1.008).cos().powi(2);
                1.0 - alpha_bar(t) / alpha_bar(t - 1.0)
            }
            Schedule::Continuous(sde) => {
                // The first step comes from the data themselves.
                let ln_alpha_bar = |t: f64| if t > 0.0 { sde.ln_alpha_bar(t / last) } else { 0.0 };
                -(ln_alpha_bar(t) - ln_alpha_bar(t - 1.0)).exp_m1()
            }
        };
        (1..=timesteps).map(|t| beta(t as f64).min(BETA_MAX)).collect()
    }

    /// The noise levels at t = 0 … T; the first is no noise.
    pub fn levels(self, timesteps: usize) -> Vec<NoiseLevel> {
        // ln ᾱ_t = Σ ln(1 − β): neither ᾱ near 0 nor 1 − ᾱ near 0 loses digits.
        let mut ln_alpha_bar = 0.0;
        let mut levels = vec![NoiseLevel { alpha: 1.0, sigma: 0.0, log_snr: f64::INFINITY }];
        levels.extend(self.betas(timesteps).into_iter().map(|beta| {
            ln_alpha_bar += (-beta).ln_1p();
            let sigma = (-ln_alpha_bar.exp_m1()).sqrt();
            let log_snr = ln_alpha_bar - 2.0 * sigma.ln();
            NoiseLevel { alpha: (0.5 * ln_alpha_bar).exp(), sigma, log_snr }
        }));
        levels
    }
}

/// How much of a noisy row is signal and how much is noise: x_t = α x₀ + σ ε with α² = ᾱ_t, σ² = 1 − ᾱ_t.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseLevel {
    /// √ᾱ.
    pub alpha: f64,
    /// √(1 − ᾱ).
    pub sigma: f64,
    /// λ = ln(α²/σ²), the log signal-to-noise ratio (Kingma et al. 2021, eq. 3); ∞ without noise.
    pub log_snr: f64,
}

impl NoiseLevel {
    /// The level at λ: α² = 1/(1 + e^−λ), σ² = 1/(1 + e^λ).
    pub fn at_log_snr(log_snr: f64) -> Self {
        let root = |exponent: f64| (1.0 + exponent.exp()).sqrt().recip();
        NoiseLevel { alpha: root(-log_snr), sigma: root(log_snr), log_snr }
    }

    /// The level at σ, between 0 and 1.
    pub fn at_sigma(sigma: f64) -> Self {
        let variance = sigma * sigma;
        NoiseLevel { alpha: (1.0 - variance).sqrt(), sigma, log_snr: (-variance).ln_1p() - variance.ln() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn endpoints_are_the_papers() {
        let linear = Schedule::Linear.betas(1000);
        assert_eq!((linear[0], linear[999]), (1e-4, 0.02));
        assert_relative_eq!(linear[499], 1e-4 + 499.0 * (0.02 - 1e-4) / 999.0, max_relative = 1e-12);
        // Π (1 − β) by hand.
        let alpha_bar: f64 = linear.iter().map(|b| 1.0 - b).product();
        assert_relative_eq!(
            Schedule::Linear.levels(1000)[1000].alpha.powi(2),
            alpha_bar,
            max_relative = 1e-10
        );
        assert_relative_eq!(alpha_bar, 4.036e-5, max_relative = 1e-3);

        let cosine = Schedule::Cosine.betas(1000);
        assert_eq!(cosine[999], BETA_MAX);
        let f = |t: f64| (FRAC_PI_2 * (t / 1000.0 + 0.008) / 1.008).cos().powi(2);
        assert_relative_eq!(
            Schedule::Cosine.levels(1000)[500].alpha.powi(2),
            f(500.0) / f(0.0),
            max_relative = 1e-10
        );
    }

    #[test]
    fn alpha_bar_falls_from_one_at_any_length() {
        let continuous = [Sde::PRESERVING, Sde::EXPLODING].map(Schedule::Continuous);
        for schedule in [Schedule::Linear, Schedule::Cosine].into_iter().chain(continuous) {
            for timesteps in [1, 2, 10, 100, 1000, 4000] {
                let betas = schedule.betas(timesteps);
                assert!(betas.iter().all(|b| (0.0..=BETA_MAX).contains(b) && *b > 0.0));
                let levels = schedule.levels(timesteps);
                assert_eq!(levels.len(), timesteps + 1);
                assert_eq!((levels[0].alpha, levels[0].sigma), (1.0, 0.0));
                assert!(levels.windows(2).all(|w| w[1].alpha < w[0].alpha && w[1].sigma > w[0].sigma));
                assert!(levels.iter().all(|l| (l.alpha.powi(2) + l.sigma.powi(2) - 1.0).abs() < 1e-12));
            }
        }
        // The total noise does not depend on the number of steps.
        let end = |timesteps: usize| Schedule::Linear.levels(timesteps)[timesteps].alpha;
        assert!(end(1000) < 0.01 && end(100) < 0.01 && end(4000) < 0.01);
    }

    #[test]
    fn a_level_is_the_same_by_any_name() {
        for level in &Schedule::Linear.levels(1000)[1..] {
            for same in [NoiseLevel::at_log_snr(level.log_snr), NoiseLevel::at_sigma(level.sigma)] {
                assert_relative_eq!(same.alpha, level.alpha, max_relative = 1e-9);
                assert_relative_eq!(same.sigma, level.sigma, max_relative = 1e-12);
                assert_relative_eq!(same.log_snr, level.log_snr, max_relative = 1e-9, epsilon = 1e-9);
            }
        }
    }
}

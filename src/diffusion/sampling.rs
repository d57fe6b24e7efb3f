use super::network::Pass;
use super::schedule::NoiseLevel;
use super::{Diffusion, Fitted};
use crate::error::{Result, check};
use crate::numeric::Real;
use crate::numeric::rng::Rng;
use crate::numeric::tiles::{DrawTile, RowStreams};

/// How a row is drawn from noise. Both walk down a grid of timesteps T = τ_K > … > τ₁ > τ₀ = 0, one network
/// evaluation a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampler {
    /// Ancestral sampling over all T timesteps (Ho et al. 2020, algorithm 2).
    Ddpm,
    /// Any number of steps (Song et al. 2021a, eq. 12), on the grid τᵢ = max(i, T·(i/K)²), rounded: their
    /// quadratic grid (appendix D.2), close where the noise is low and detail forms. With the exact score of
    /// 25 narrow modes, 50 even steps leave the modes half their width, these 0.96 of it.
    Ddim {
        /// K, the steps. 1 to the timesteps T.
        steps: usize,
        /// The noise put back in each step, relative to DDPM's with variance β̃. 0 (none: the row is a
        /// function of its first noise) to 1.
        eta: f64,
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

impl Sampler {
    pub(super) fn validate(self, timesteps: usize) -> Result<()> {
        let Sampler::Ddim { steps, eta } = self else { return Ok(()) };
        check(
            (1..=timesteps).contains(&steps),
            "Sampler::Ddim::steps",
            steps,
            "1 to DiffusionConfig::steps",
        )?;
        check((0.0..=1.0).contains(&eta), "Sampler::Ddim::eta", eta, "0 to 1")
    }

    /// Network evaluations.
    pub(super) fn steps(self, timesteps: usize) -> usize {
        match self {
            Sampler::Ddpm => timesteps,
            Sampler::Ddim { steps, .. } => steps,
        }
    }

    /// τ₀ … τ_K.
    fn grid(self, timesteps: usize) -> Vec<usize> {
        let k = self.steps(timesteps);
        let square = |i: usize| (timesteps as f64 * (i as f64 / k as f64).powi(2)).round() as usize;
        match self {
            Sampler::Ddpm => (0..=k).collect(),
            Sampler::Ddim { .. } => (0..=k).map(|i| square(i).max(i)).collect(),
        }
    }

    /// The steps over the levels of t = 0 … T, the noisiest first.
    ///
    /// From α, σ to α′, σ′: x₀ is estimated by (x − σ ε̂)/α, and x′ = α′ x₀ + √(σ′² − c²) ε̂ + c ξ has the
    /// right amount of noise for any c ≤ σ′. DDIM takes c = η (σ′/σ) √(1 − (α/α′)²) (Song et al. 2021a, eq.
    /// 16), which at η = 1 and neighbouring timesteps is DDPM with c² = β̃. DDPM with c² = β keeps that
    /// step's mean.
    pub(super) fn plan(self, levels: &[NoiseLevel], variance: ReverseVariance) -> Vec<Update> {
        let grid = self.grid(levels.len() - 1);
        let eta = match self {
            Sampler::Ddpm => 1.0,
            Sampler::Ddim { eta, .. } => eta,
        };
        let update = |pair: &[usize]| {
            let (to, from) = (levels[pair[0]], levels[pair[1]]);
            let beta = 1.0 - (from.alpha / to.alpha).powi(2);
            let c = eta * to.sigma / from.sigma * beta.sqrt();
            let keep = to.alpha / from.alpha;
            let eps = (to.sigma.powi(2) - c * c).max(0.0).sqrt() - keep * from.sigma;
            let noise = match (self, variance) {
                // The last step adds none (Ho et al. 2020, algorithm 2, line 3).
                (Sampler::Ddpm, ReverseVariance::Beta) if to.sigma > 0.0 => beta.sqrt(),
                _ => c,
            };
            Update { level: from, keep: keep as f32, eps: eps as f32, noise: noise as f32 }
        };
        grid.windows(2).rev().map(update).collect()
    }
}

/// One step: x ← keep·x + eps·ε̂(x, level) + noise·ξ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Update {
    level: NoiseLevel,
    keep: f32,
    eps: f32,
    noise: f32,
}

/// What a thread keeps from tile to tile.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    rngs: Vec<Rng>,
    pass: Pass<f32>,
}

impl DrawTile for Diffusion {
    type Scratch = Scratch;

    fn columns(&self) -> usize {
        self.config.dim
    }

    /// z ~ N(0, T²I), then the steps of the plan with T·ξ for ξ.
    fn draw_tile(
        &self,
        temperature: f64,
        streams: RowStreams,
        Scratch { rngs, pass }: &mut Scratch,
        x: &mut [f32],
    ) -> usize {
        let (d, temperature) = (self.config.dim, temperature as f32);
        let Fitted { parameters, standardiser } = &*self.fitted;
        streams.fill(x.len() / d, rngs);
        for (x, rng) in x.chunks_exact_mut(d).zip(&mut *rngs) {
            x.fill_with(|| temperature * f32::normal(rng));
        }
        let mut nfe = 0;
        for &Update { level, keep, eps, noise } in &self.plan {
            let eps_hat = self.net.infer(&parameters.average, x, level, pass);
            nfe += 1;
            x.iter_mut().zip(eps_hat).for_each(|(x, eps_hat)| *x = keep * *x + eps * eps_hat);
            if noise > 0.0 {
                for (x, rng) in x.chunks_exact_mut(d).zip(&mut *rngs) {
                    x.iter_mut().for_each(|x| *x += noise * temperature * f32::normal(rng));
                }
            }
        }
        standardiser.restore(x);
        nfe
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;
    use crate::diffusion::Schedule;

    #[test]
    fn ddpm_takes_the_steps_of_its_paper() {
        let (betas, levels) = (Schedule::Linear.betas(1000), Schedule::Linear.levels(1000));
        for variance in [ReverseVariance::Posterior, ReverseVariance::Beta] {
            let plan = Sampler::Ddpm.plan(&levels, variance);
            assert_eq!(plan.len(), 1000);
            for (step, t) in plan.iter().zip((1..=1000).rev()) {
                // Algorithm 2: x ← (x − β/√(1 − ᾱ) ε̂)/√(1 − β) + c ξ.
                let beta = betas[t - 1];
                let keep = (1.0 - beta).sqrt().recip();
                assert_eq!(step.level, levels[t]);
                assert_relative_eq!(f64::from(step.keep), keep, max_relative = 1e-6);
                assert_relative_eq!(f64::from(step.eps), -keep * beta / levels[t].sigma, max_relative = 1e-4);
                let c = match variance {
                    _ if t == 1 => 0.0,
                    ReverseVariance::Beta => beta,
                    ReverseVariance::Posterior => beta * (levels[t - 1].sigma / levels[t].sigma).powi(2),
                };
                assert_relative_eq!(f64::from(step.noise).powi(2), c, max_relative = 1e-6);
            }
        }
    }

    #[test]
    fn ddim_visits_a_falling_grid_of_any_length() {
        for timesteps in [1, 2, 7, 40, 1000] {
            for steps in 1..=timesteps {
                let grid = Sampler::Ddim { steps, eta: 0.0 }.grid(timesteps);
                assert_eq!((grid[0], grid[steps], grid.len()), (0, timesteps, steps + 1));
                assert!(grid.windows(2).all(|w| w[0] < w[1]), "{steps} of {timesteps}: {grid:?}");
            }
        }
        assert_eq!(Sampler::Ddim { steps: 5, eta: 0.0 }.grid(1000), [0, 40, 160, 360, 640, 1000]);
    }

    #[test]
    fn ddim_takes_the_steps_of_its_paper() {
        let levels = Schedule::Cosine.levels(100);
        let plan = Sampler::Ddim { steps: 10, eta: 0.0 }.plan(&levels, ReverseVariance::Beta);
        // Without noise: x′ = α′ (x − σ ε̂)/α + σ′ ε̂.
        for (step, i) in plan.iter().zip((1..=10usize).rev()) {
            let (from, to) = (levels[(i * i).max(i)], levels[(i - 1).pow(2).max(i - 1)]);
            assert_eq!((step.level, step.noise), (from, 0.0));
            assert_relative_eq!(f64::from(step.keep), to.alpha / from.alpha, max_relative = 1e-6);
            let eps = to.sigma - to.alpha / from.alpha * from.sigma;
            assert_relative_eq!(f64::from(step.eps), eps, max_relative = 1e-5);
        }
        // At η = 1 over all timesteps it is DDPM.
        let ddpm = Sampler::Ddpm.plan(&levels, ReverseVariance::Posterior);
        let ddim = Sampler::Ddim { steps: 100, eta: 1.0 }.plan(&levels, ReverseVariance::Posterior);
        for (a, b) in ddpm.iter().zip(ddim) {
            assert_eq!((a.level, a.keep, a.eps, a.noise), (b.level, b.keep, b.eps, b.noise));
        }
    }

    #[test]
    fn refuses_steps_and_noise_out_of_range() {
        assert!(
            Sampler::Ddpm.validate(5).is_ok() && Sampler::Ddim { steps: 5, eta: 1.0 }.validate(5).is_ok()
        );
        for (steps, eta) in [(0, 0.0), (6, 0.0), (5, -0.1), (5, 1.1), (5, f64::NAN)] {
            assert!(Sampler::Ddim { steps, eta }.validate(5).is_err(), "{steps} {eta}");
        }
    }
}

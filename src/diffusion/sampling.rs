use rand_distr::{Distribution, StandardNormal};

use super::network::{NoiseNet, Pass};
use super::schedule::NoiseLevel;
use crate::error::{Result, check};
use crate::numeric::rng::Rng;
use crate::numeric::tiles::RowStreams;

/// How a row is drawn from noise. Both walk down a grid of timesteps T = τ_K > … > τ₁ > τ₀ = 0, one network evaluation a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampler {
    /// Ancestral sampling over all T timesteps (Ho et al. 2020, algorithm 2).
    Ddpm,
    /// Any number of steps (Song et al. 2021, eq. 12), on the grid τᵢ = max(i, T·(i/K)²), rounded: their quadratic grid (appendix D.2),
    /// close where the noise is low and detail forms. On a mixture of narrow modes, 10 of its steps beat 50 even ones.
    Ddim {
        /// K, the steps. 1 to the timesteps T.
        steps: usize,
        /// The noise put back in each step, relative to DDPM's with variance β̃. 0 (none: the row is a function of its first
        /// noise) to 1.
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
    /// From α, σ to α′, σ′: x₀ is estimated by (x − σ ε̂)/α, and x′ = α′ x₀ + √(σ′² − c²) ε̂ + c ξ has the right amount of noise for
    /// any c ≤ σ′. DDIM takes c = η (σ′/σ) √(1 − (α/α′)²) (Song et al. 2021, eq. 16), which at η = 1 and neighbouring timesteps is
    /// DDPM with c² = β̃. DDPM with c² = β keeps that step's mean.
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
pub(super) struct Scratch {
    rngs: Vec<Rng>,
    pass: Pass<f32>,
}

/// Draws the rows of a tile, x: (n, d), through all steps; how often the network ran.
pub(super) fn denoise(
    net: &NoiseNet,
    p: &[f32],
    plan: &[Update],
    temperature: f32,
    streams: RowStreams,
    Scratch { rngs, pass }: &mut Scratch,
    x: &mut [f32],
) -> usize {
    let d = net.dim();
    streams.fill(x.len() / d, rngs);
    for (x, rng) in x.chunks_exact_mut(d).zip(&mut *rngs) {
        x.fill_with(|| temperature * normal(rng));
    }
    let mut nfe = 0;
    for &Update { level, keep, eps, noise } in plan {
        let eps_hat = net.infer(p, x, level, pass);
        nfe += 1;
        x.iter_mut().zip(eps_hat).for_each(|(x, eps_hat)| *x = keep * *x + eps * eps_hat);
        if noise > 0.0 {
            for (x, rng) in x.chunks_exact_mut(d).zip(&mut *rngs) {
                x.iter_mut().for_each(|x| *x += noise * temperature * normal(rng));
            }
        }
    }
    nfe
}

fn normal(rng: &mut Rng) -> f32 {
    StandardNormal.sample(rng)
}

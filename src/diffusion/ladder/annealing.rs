use super::{ScoreConfig, ScoreModel};
use crate::diffusion::NoiseLevel;
use crate::diffusion::network::{At, Pass};
use crate::engine::RowStreams;
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// What a thread keeps from tile to tile.
#[derive(Debug, Default)]
pub struct Annealing {
    rngs: Vec<Rng>,
    u: Vec<f32>, // (rows, d)
    pass: Pass<f32>,
    eps_hat: Vec<f32>, // (rows, d)
}

/// Annealed Langevin dynamics of the rows z: (n, d): z ~ N(0, T(1 + σ₁²)I); at each level `steps_per_level`
/// times z ← z + (rσ²/2) s(z, σ) + √(Tr) σ ξ (Song & Ermon 2019, algorithm 1, with α = rσ²); then the mean
/// of the clean row, z + σ_L² s(z, σ_L) (Tweedie). Here s = −ε̂/σ, and `noise` fills in ε̂. How often it was
/// called.
pub(super) fn anneal(
    config: &ScoreConfig,
    levels: &[NoiseLevel],
    temperature: f64,
    rngs: &mut [Rng],
    z: &mut [f32],
    eps_hat: &mut Vec<f32>,
    mut noise: impl FnMut(NoiseLevel, &[f32], &mut Vec<f32>),
) -> usize {
    let (d, root) = (config.dim, temperature.sqrt());
    let wide = (root * (1.0 + config.sigma_max * config.sigma_max).sqrt()) as f32;
    for (z, rng) in z.chunks_exact_mut(d).zip(&mut *rngs) {
        z.fill_with(|| wide * f32::normal(rng));
    }
    let mut nfe = 0;
    for (i, level) in levels.iter().enumerate() {
        let sigma = level.sigma / level.alpha;
        let (pull, sd) = ((0.5 * config.step * sigma) as f32, (root * config.step.sqrt() * sigma) as f32);
        for _ in 0..config.steps_per_level {
            noise(*level, z, eps_hat);
            nfe += 1;
            for ((z, eps_hat), rng) in z.chunks_exact_mut(d).zip(eps_hat.chunks_exact(d)).zip(&mut *rngs) {
                for (z, eps_hat) in z.iter_mut().zip(eps_hat) {
                    *z += sd * f32::normal(rng) - pull * eps_hat;
                }
            }
        }
        if i + 1 == levels.len() {
            noise(*level, z, eps_hat);
            nfe += 1;
            z.iter_mut().zip(&*eps_hat).for_each(|(z, eps_hat)| *z -= sigma as f32 * eps_hat);
        }
    }
    nfe
}

impl ScoreModel {
    /// Fills z: (n, d) by annealed Langevin dynamics; the evaluations spent on each row.
    pub(super) fn draw_rows(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        Annealing { rngs, u, pass, eps_hat }: &mut Annealing,
        z: &mut [f32],
    ) -> usize {
        let p = &self.learned.parameters.average;
        streams.fill(z.len() / self.config.dim, rngs);
        anneal(&self.config, &self.levels, temperature, rngs, z, eps_hat, |level, z, eps_hat| {
            eps_hat.clear();
            eps_hat.extend_from_slice(self.noise(p, c, level, z, u, pass));
        })
    }

    /// ε̂ at the rows z: (n, d), blurred by σ = σ′/α, under conditions c; the network sees u = αz.
    pub(super) fn noise<'a>(
        &self,
        p: &[f32],
        c: &[f32],
        level: NoiseLevel,
        z: &[f32],
        u: &mut Vec<f32>,
        pass: &'a mut Pass<f32>,
    ) -> &'a [f32] {
        u.clear();
        u.extend(z.iter().map(|z| level.alpha as f32 * z));
        self.net.infer(p, At { x: u, c, levels: &[level] }, pass)
    }
}

use std::f64::consts::{PI, TAU};

use rand::Rng as _;
use rand_distr::Exp1;

use super::EnergyModel;
use super::network::Pass;
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// The density q of candidates for a start, in standard units: Student's t in d columns with two degrees of
/// freedom,
///
/// q(z) = Γ(1 + d/2) (2πs²)^(−d/2) (1 + ‖z‖²/2s²)^(−1 − d/2),
///
/// which is the density of sξ/√e, ξ ~ N(0, I), e ~ Exp(1). Its tails are heavier than those of an energy with its
/// confinement, so that the weights exp(−E)/q are bounded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base {
    square: f64, // s²
    ln_peak: f64,
}

impl Base {
    /// As wide as the standardized data, or as exp(−E/T) if a high temperature makes that wider.
    pub(super) fn new(dim: usize, temperature: f64) -> Self {
        let square = temperature.max(1.0);
        // Γ(1 + d/2) = d/2 · (d/2 − 1) ⋯, down to Γ(1) = 1 or Γ(½) = √π.
        let halves = (1..=dim).rev().step_by(2).map(|k| (0.5 * k as f64).ln()).sum::<f64>();
        let ln_gamma = halves + if dim % 2 == 1 { 0.5 * PI.ln() } else { 0.0 };
        Base { square, ln_peak: ln_gamma - 0.5 * dim as f64 * (TAU * square).ln() }
    }

    pub(super) fn draw(&self, rng: &mut Rng, z: &mut [f32]) {
        let stretch = (self.square / rng.sample::<f64, _>(Exp1)).sqrt() as f32;
        z.fill_with(|| stretch * f32::normal(rng));
    }

    pub(super) fn ln_density(&self, z: &[f32]) -> f64 {
        let norm: f64 = z.iter().map(|&z| f64::from(z).powi(2)).sum();
        self.ln_peak - (1.0 + 0.5 * z.len() as f64) * (0.5 * norm / self.square).ln_1p()
    }
}

/// The buffers of the starts of a tile.
#[derive(Debug, Default)]
pub(super) struct Start {
    candidates: Vec<f32>, // (n, d)
    nats: Vec<f64>,       // −E: (n)
    /// ln Σ exp(−E/T)/q over the candidates so far: (n)
    total: Vec<f64>,
    pass: Pass<f32>,
}

impl EnergyModel {
    /// Fills z: (n, d) with starts under conditions c, each chosen among `count` candidates from the row's stream.
    ///
    /// The candidates are drawn one after another. Each replaces the present one with a probability equal to its
    /// share of all weights so far, so that in the end each is chosen with its share of the total.
    pub(super) fn start(
        &self,
        temperature: f64,
        count: usize,
        z: &mut [f32],
        c: &[f32],
        rngs: &mut [Rng],
        Start { candidates, nats, total, pass }: &mut Start,
    ) {
        let (d, base) = (self.config.dim, Base::new(self.config.dim, temperature));
        candidates.resize(z.len(), 0.0);
        nats.resize(rngs.len(), 0.0);
        total.clear();
        total.resize(rngs.len(), f64::NEG_INFINITY);
        // If no candidate has a finite energy.
        z.fill(0.0);
        for _ in 0..count {
            for (z, rng) in candidates.chunks_exact_mut(d).zip(&mut *rngs) {
                base.draw(rng, z);
            }
            self.score_tile(candidates, c, pass, nats);
            for (r, rng) in rngs.iter_mut().enumerate() {
                let candidate = &candidates[r * d..(r + 1) * d];
                let weight = nats[r] / temperature - base.ln_density(candidate);
                let chance = rng.random::<f64>().ln();
                if weight.is_finite() {
                    let most = total[r].max(weight);
                    total[r] = most + ((total[r] - most).exp() + (weight - most).exp()).ln();
                    if chance < weight - total[r] {
                        z[r * d..(r + 1) * d].copy_from_slice(candidate);
                    }
                }
            }
        }
    }
}

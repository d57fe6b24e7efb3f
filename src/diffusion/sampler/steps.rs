use crate::diffusion::schedule::{NoiseLevel, Schedule};
use crate::diffusion::sde::reverse_step;
use crate::numeric::Real;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

use super::ReverseVariance;

/// One evaluation of the network and what is made of it, linear in the row x, the prediction ε̂, the row's
/// memory m and fresh noise ξ:
///
/// x′ = keep·x + eps·ε̂ + recall·m + noise·ξ, m′ = store·(x, ε̂).
///
/// Every sampler here is a list of these.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Update {
    /// Of x, which the network is told.
    pub(in crate::diffusion) level: NoiseLevel,
    pub(super) keep: f64,
    pub(super) eps: f64,
    pub(super) recall: f64,
    pub(in crate::diffusion) noise: f64,
    /// `None`: m stays.
    pub(super) store: Option<(f64, f64)>,
}

impl Update {
    /// From one level to another along the estimate x₀ ≈ (x − σ ε̂)/α: x′ = α′ x₀ + √(σ′² − c²) ε̂ + c ξ, which
    /// has the right amount of noise for any c ≤ σ′.
    pub(super) fn by_estimate(from: NoiseLevel, to: NoiseLevel, c: f64) -> Self {
        let keep = to.alpha / from.alpha;
        let eps = (to.sigma.powi(2) - c * c).max(0.0).sqrt() - keep * from.sigma;
        Update { level: from, keep, eps, recall: 0.0, noise: c, store: None }
    }

    /// [`Finish::Flow`](super::Finish::Flow).
    pub(super) fn along_flow(from: NoiseLevel) -> Self {
        let (keep, eps) = (from.alpha.recip(), -0.5 * from.sigma / from.alpha);
        Update { level: from, keep, eps, recall: 0.0, noise: 0.0, store: None }
    }

    /// x ← keep·x + eps·ε̂ + recall·m, and m's new value of the old x.
    pub(super) fn apply<F: Real>(&self, x: &mut [F], eps_hat: &[F], memory: &mut [F]) {
        let [keep, eps, recall] = [self.keep, self.eps, self.recall].map(F::of);
        match self.store {
            None if self.recall == 0.0 => {
                x.iter_mut().zip(eps_hat).for_each(|(x, &eps_hat)| *x = keep * *x + eps * eps_hat);
            }
            store => {
                for ((x, &eps_hat), m) in x.iter_mut().zip(eps_hat).zip(memory) {
                    let (old, remembered) = (*x, *m);
                    *x = keep * old + eps * eps_hat + recall * remembered;
                    if let Some((of_x, of_eps)) = store {
                        *m = F::of(of_x) * old + F::of(of_eps) * eps_hat;
                    }
                }
            }
        }
    }

    /// keep·x + eps·ε̂ + recall·m, with noise·ξ if the step has any, and m's new value, in a graph. There is no m
    /// before the first step that stores one.
    #[cfg(feature = "onnx")]
    pub(in crate::diffusion) fn trace(
        &self,
        x: Value,
        eps_hat: Value,
        memory: Option<Value>,
        fresh: impl FnOnce(&mut Graph) -> Value,
        graph: &mut Graph,
    ) -> (Value, Option<Value>) {
        let linear = |parts: [(f64, Option<Value>); 3], graph: &mut Graph| {
            let parts = parts.into_iter().filter(|(share, _)| *share != 0.0);
            let parts: Vec<Value> =
                parts.filter_map(|(share, part)| Some(graph.scaled(share as f32, part?))).collect();
            parts.into_iter().reduce(|sum, part| graph.add(sum, part))
        };
        let next = linear([(self.keep, Some(x)), (self.eps, Some(eps_hat)), (self.recall, memory)], graph);
        let mut next = next.unwrap_or(x);
        if self.noise > 0.0 {
            let fresh = fresh(graph);
            let fresh = graph.scaled(self.noise as f32, fresh);
            next = graph.add(next, fresh);
        }
        let stored = self.store.and_then(|(of_x, of_eps)| {
            linear([(of_x, Some(x)), (of_eps, Some(eps_hat)), (0.0, None)], graph)
        });
        (next, stored.or(memory))
    }
}

/// β of the step from one level to the next noisier one.
fn beta(to: NoiseLevel, from: NoiseLevel) -> f64 {
    1.0 - (from.alpha / to.alpha).powi(2)
}

/// DDIM (Song et al. 2021a, eq. 12 and 16), c = η (σ′/σ) √(1 − (α/α′)²).
pub(super) fn implicit(levels: &[NoiseLevel], eta: f64) -> Vec<Update> {
    let step = |pair: &[NoiseLevel]| {
        let (from, to) = (pair[0], pair[1]);
        Update::by_estimate(from, to, eta * to.sigma / from.sigma * beta(to, from).sqrt())
    };
    levels.windows(2).map(step).collect()
}

/// DDPM. With c² = β̃ it is DDIM at η = 1; c² = β keeps that step's mean. The last step adds
/// no noise (Ho et al. 2020, algorithm 2, line 3).
pub(super) fn ancestral(levels: &[NoiseLevel], variance: ReverseVariance) -> Vec<Update> {
    let mut steps = implicit(levels, 1.0);
    if variance == ReverseVariance::Beta {
        for (step, pair) in steps.iter_mut().zip(levels.windows(2)) {
            step.noise = if pair[1].sigma > 0.0 { beta(pair[1], pair[0]).sqrt() } else { 0.0 };
        }
    }
    steps
}

/// Heun's method on dx̃/dσ̃ = ε̂ for x̃ = x/α, σ̃ = σ/α, h = σ̃′ − σ̃: Euler's x̃ + h ε̂ is a step of DDIM, and m =
/// x̃ + ½ h ε̂ waits for the other half, ½ h ε̂′. The jump to σ̃ = 0, where ε̂ is not known, is Euler's.
pub(super) fn heun(levels: &[NoiseLevel]) -> Vec<Update> {
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
pub(super) fn multistep(levels: &[NoiseLevel]) -> Vec<Update> {
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
pub(super) fn euler_maruyama(schedule: Schedule, levels: &[NoiseLevel], snr: Option<f64>) -> Vec<Update> {
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

use ndarray::ArrayView2;

use super::network::Pass;
use super::sampling::Network;
use super::schedule::NoiseLevel;
use super::{Diffusion, log_snr_span};
use crate::engine::transport::{self, Tangents, Velocity, divergence_for, standard_normal};
use crate::error::Result;
use crate::model::{LikelihoodOptions, LogLikelihood, check_rows};
use crate::numeric::rng::Streams;

/// A coordinate of the probability-flow ODE, in the log signal-to-noise ratio λ as time.
///
/// It moves rows so that they have at each level the density of the noisy data (Song et al. 2021b, eq. 13).
/// For the variance-preserving process dx = ½ (d ln ᾱ/dt) x dt + g dw it is dz/dt = ½ (d ln ᾱ/dt) (z − ε̂/σ).
/// In λ, d ln ᾱ/dλ = σ², so
///
/// dz/dλ = ½ σ (σ z − ε̂), ∇·(dz/dλ) = ½ σ (σ d − ∇·ε̂),
///
/// and no term grows at either end.
pub(super) fn probability_flow(sigma: f64, z: f64, eps: f64) -> f64 {
    0.5 * sigma * (sigma * z - eps)
}

/// What the network keeps from call to call on its way along the ODE.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    levels: Vec<NoiseLevel>, // (m), or (1) where all rows share a level
    x: Vec<f32>,             // (m, d)
    xdot: Vec<f32>,          // (m, d)
    pass: Pass<f32>,
}

impl Scratch {
    fn sigma(&self, row: usize) -> f64 {
        self.levels[row.min(self.levels.len() - 1)].sigma
    }
}

impl Velocity for Network<'_, f32> {
    type Scratch = Scratch;

    fn dim(&self) -> usize {
        self.net.dim()
    }

    fn velocity(&self, lambda: &[f64], z: &[f64], v: &mut [f64], s: &mut Scratch) {
        let d = self.net.dim();
        let alike = lambda.iter().all(|l| *l == lambda[0]);
        s.levels.clear();
        s.levels.extend(
            lambda[..if alike { 1 } else { lambda.len() }].iter().map(|&l| NoiseLevel::at_log_snr(l)),
        );
        s.x.clear();
        s.x.extend(z.iter().map(|&z| z as f32));
        let eps_hat = self.net.forward(self.p, &s.x, &s.levels, &mut s.pass);
        v.iter_mut().zip(eps_hat).for_each(|(v, &eps)| *v = eps.into());
        for (r, (v, z)) in v.chunks_exact_mut(d).zip(z.chunks_exact(d)).enumerate() {
            // Exactly, so that the farthest row keeps all digits of its density.
            if s.pass.is_normal(r) {
                v.fill(0.0);
                continue;
            }
            let sigma = s.sigma(r);
            v.iter_mut().zip(z).for_each(|(v, z)| *v = probability_flow(sigma, *z, *v));
        }
    }

    fn divergence(
        &self,
        _: &[f64],
        _: &[f64],
        tangents: Tangents<'_>,
        divergence: &mut [f64],
        s: &mut Scratch,
    ) {
        divergence.fill(0.0);
        for k in 0..tangents.count() {
            tangents.direction(k, &mut s.xdot);
            let epsdot = self.net.jvp(self.p, &s.x, &s.xdot, &mut s.pass);
            tangents.add(&s.xdot, epsdot, divergence);
        }
        for (r, div) in divergence.iter_mut().enumerate() {
            let sigma = s.sigma(r);
            let flow = 0.5 * sigma * (sigma * self.net.dim() as f64 - *div);
            *div = if s.pass.is_normal(r) { 0.0 } else { flow };
        }
    }
}

impl Diffusion {
    /// ln p(x) = ln p(z) + ln |dz/dx|, where the ODE carries z to the last timestep's N(0, I).
    pub(super) fn score(&self, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood> {
        let d = self.config.dim;
        check_rows("x", x, d)?;
        let standardiser = &self.fitted.standardiser;
        let (solver, divergence) = (self.config.solver, self.config.divergence.unwrap_or(divergence_for(d)));
        let (nats, nfe) = transport::score(
            &self.predictor(),
            solver,
            log_snr_span(&self.config, &self.levels),
            (divergence, Streams::new(options.seed)),
            x,
            (|z| standardiser.standardise(z), |x, nats| standardiser.add_log_det(x, nats)),
            standard_normal,
        )?;
        Ok(LogLikelihood::OdeEstimate { nats, nfe, rtol: solver.rtol(), divergence })
    }
}

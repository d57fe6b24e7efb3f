use std::f64::consts::TAU;

use super::network::{Gaussians, Networks};
use crate::engine::{Batch, Loss, Progress};
use crate::nn::Weights;
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// The negative ELBO with one draw of z per row, z = μ + σ·ε, ε ~ N(0, I), with the noise held fixed:
///
/// loss = R + β·KL
/// R = −ln N(x; m(z), s²) = Σ ½e² + ln s + ½ ln 2π, e = (x − m)/s
/// KL = KL(N(μ, σ²) ‖ N(0, I)) = Σ ½(μ² + σ² − 1) − ln σ
#[derive(Debug)]
pub(super) struct Elbo<'a> {
    pub networks: &'a Networks,
    /// β after the warm-up.
    pub beta: f64,
    /// Share of the steps over which β rises from 0.
    pub warmup: f64,
}

#[derive(Debug, Default)]
pub(super) struct Noise<F> {
    // (n, latent)
    pub epsilon: Vec<F>,
    pub beta: F,
}

#[derive(Debug, Default)]
pub(super) struct Scratch<F> {
    // The encoder's input: (n, dim)
    near: Vec<F>,
    q: Gaussians<F>,
    likelihood: Gaussians<F>,
    // (n, latent)
    z: Vec<F>,
    dz: Vec<F>,
    // of the decoder's mean and sd: (n, dim)
    dm: Vec<F>,
    ds: Vec<F>,
    // of the encoder's: (n, latent)
    dmu: Vec<F>,
    dsigma: Vec<F>,
}

impl Elbo<'_> {
    fn beta_at(&self, progress: Progress) -> f64 {
        let warmup = self.warmup * progress.steps as f64;
        let share = if warmup > 0.0 { progress.step as f64 / warmup } else { 1.0 };
        self.beta * share.min(1.0)
    }
}

impl<F: Real> Loss<F> for Elbo<'_> {
    type Row = F;
    type Drawn = Noise<F>;
    type Workspace = Scratch<F>;

    fn part_names(&self) -> &'static [&'static str] {
        &["reconstruction", "kl"]
    }

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.networks.transpose(p, t);
    }

    fn draw(&self, rows: usize, _: &[F], progress: Progress, rng: &mut Rng, noise: &mut Noise<F>) {
        noise.beta = F::of(self.beta_at(progress));
        noise.epsilon.clear();
        noise.epsilon.extend((0..rows * self.networks.encoder.dim()).map(|_| F::normal(rng)));
    }

    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x, c }: Batch<F>,
        noise: &Noise<F>,
        weight: F,
        dp: Option<&mut [F]>,
        parts: &mut [f64],
        scratch: &mut Scratch<F>,
    ) -> f64 {
        let Networks { encoder, decoder } = self.networks;
        let Scratch { near, q, likelihood, z, dz, dm, ds, dmu, dsigma } = scratch;
        let (half, one) = (F::of(0.5), F::one());

        Networks::within_reach(x, near);
        encoder.forward(w.p, near, c, q);
        z.clear();
        z.extend(q.mean.iter().zip(&q.sd).zip(&noise.epsilon).map(|((&mu, &sigma), &e)| mu + sigma * e));
        decoder.forward(w.p, z, c, likelihood);

        // ∂R/∂m = −e/s, ∂R/∂s = (1 − e²)/s.
        let mut reconstruction = 0.5 * TAU.ln() * x.len() as f64;
        dm.clear();
        ds.clear();
        for ((&x, &m), &s) in x.iter().zip(&likelihood.mean).zip(&likelihood.sd) {
            let e = (x - m) / s;
            reconstruction += (half * e * e + s.ln()).f64();
            dm.push(-weight * e / s);
            ds.push(weight * (one - e * e) / s);
        }
        let mut kl = 0.0;
        for (&mu, &sigma) in q.mean.iter().zip(&q.sd) {
            kl += (half * (mu * mu + sigma * sigma - one) - sigma.ln()).f64();
        }

        if let Some(dp) = dp {
            dz.resize(z.len(), F::zero());
            decoder.backward(w, dm, ds, likelihood, dp, Some(dz));
            // z = μ + σε, so R adds ∂R/∂z to ∂/∂μ and ε·∂R/∂z to ∂/∂σ: the noise does not depend on p, and no
            // derivative of the density that z is drawn from appears. ∂KL/∂μ = μ, ∂KL/∂σ = σ − 1/σ.
            let beta = weight * noise.beta;
            dmu.clear();
            dmu.extend(dz.iter().zip(&q.mean).map(|(&dz, &mu)| dz + beta * mu));
            dsigma.clear();
            let path = dz.iter().zip(&noise.epsilon).map(|(&dz, &e)| dz * e);
            dsigma.extend(path.zip(&q.sd).map(|(path, &sigma)| path + beta * (sigma - sigma.recip())));
            encoder.backward(w, dmu, dsigma, q, dp, None);
        }
        parts[0] += reconstruction;
        parts[1] += kl;
        reconstruction + noise.beta.f64() * kl
    }
}

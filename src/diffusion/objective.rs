use rand::Rng as _;

use super::network::{NoiseNet, Pass};
use super::schedule::NoiseLevel;
use crate::engine::{Batch, Loss, Progress};
use crate::nn::Weights;
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// E ‖ε − ε̂(α x₀ + σ ε, λ)‖² / d over rows x₀, noise ε ~ N(0, I) and levels (Ho et al. 2020, eq. 14).
#[derive(Debug)]
pub(crate) struct NoiseMse<'a> {
    pub(crate) net: &'a NoiseNet,
    pub(crate) levels: Levels<'a>,
}

/// Where training takes its noise levels from, uniformly.
#[derive(Debug)]
pub(crate) enum Levels<'a> {
    /// The levels of t = 1 … T.
    Timesteps(&'a [NoiseLevel]),
    /// λ between two ends.
    LogSnr(f64, f64),
}

impl Levels<'_> {
    /// The level at the share u, in [0, 1), of the way.
    pub(super) fn at(&self, u: f64) -> NoiseLevel {
        match *self {
            Levels::Timesteps(levels) => levels[((u * levels.len() as f64) as usize).min(levels.len() - 1)],
            Levels::LogSnr(from, to) => NoiseLevel::at_log_snr(from + u * (to - from)),
        }
    }
}

/// The chance in a batch of rows.
pub(crate) struct Noise<F> {
    pub(crate) levels: Vec<NoiseLevel>, // (n)
    pub(crate) eps: Vec<F>,             // (n, d)
}

impl<F> Default for Noise<F> {
    fn default() -> Self {
        Noise { levels: Vec::new(), eps: Vec::new() }
    }
}

impl<F: Real> Noise<F> {
    /// α x₀ + σ ε of rows x₀: (n, d).
    pub(crate) fn blur(&self, x: &[F], blurred: &mut Vec<F>) {
        let d = x.len() / self.levels.len().max(1);
        blurred.clear();
        for ((x, eps), level) in x.chunks_exact(d).zip(self.eps.chunks_exact(d)).zip(&self.levels) {
            let (alpha, sigma) = (F::of(level.alpha), F::of(level.sigma));
            blurred.extend(x.iter().zip(eps).map(|(&x, &eps)| alpha * x + sigma * eps));
        }
    }
}

#[derive(Default)]
pub(crate) struct Scratch<F> {
    x: Vec<F>,    // the noisy rows: (n, d)
    deps: Vec<F>, // (n, d)
    pass: Pass<F>,
}

impl<F: Real> Loss<F> for NoiseMse<'_> {
    type Row = F;
    type Drawn = Noise<F>;
    type Workspace = Scratch<F>;

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.net.transpose(p, t);
    }

    fn draw(&self, rows: usize, _: &[F], _: Progress, rng: &mut Rng, noise: &mut Noise<F>) {
        // One draw shifts an even comb of levels: each is uniform, and together they leave no gap, which
        // quiets the gradient (Kingma et al. 2021, appendix I).
        let shift: f64 = rng.random();
        noise.levels.clear();
        noise.levels.extend((0..rows).map(|r| self.levels.at((shift + r as f64 / rows as f64).fract())));
        noise.eps.clear();
        noise.eps.extend((0..rows * self.net.dim()).map(|_| F::normal(rng)));
    }

    /// With the residual r = ε̂ − ε: loss = Σ r²/d, dε̂ = weight · 2r/d.
    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x, .. }: Batch<F>,
        noise: &Noise<F>,
        weight: F,
        dp: Option<&mut [F]>,
        _: &mut [f64],
        scratch: &mut Scratch<F>,
    ) -> f64 {
        let d = self.net.dim();
        noise.blur(x, &mut scratch.x);
        let eps_hat = self.net.forward(w.p, &scratch.x, &noise.levels, &mut scratch.pass);
        let slope = weight * F::of(2.0 / d as f64);
        let mut loss = 0.0;
        scratch.deps.clear();
        scratch.deps.extend(eps_hat.iter().zip(&noise.eps).map(|(&eps_hat, &eps)| {
            let residual = eps_hat - eps;
            loss += residual.f64().powi(2);
            slope * residual
        }));
        if let Some(dp) = dp {
            self.net.backward(w, &scratch.deps, dp, &mut scratch.pass);
        }
        loss / d as f64
    }
}

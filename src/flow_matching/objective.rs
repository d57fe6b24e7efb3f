use rand::Rng as _;

use super::network::VelocityNet;
use super::{Coupling, Source};
use crate::engine::Standardiser;
use crate::engine::{Batch, Loss, Progress, TILE};
use crate::nn::Weights;
use crate::nn::timed::Pass;
use crate::numeric::Real;
use crate::numeric::assignment::Assignment;
use crate::numeric::rng::Rng;

/// E ‖v̂(x_t, t) − (x₁ − x₀)‖² / d with x_t = (1 − t) x₀ + t x₁, over data x₁, source rows x₀ and times t
/// (Lipman et al. 2023, eq. 23 with σ_min = 0; Liu et al. 2023, eq. 1).
#[derive(Debug)]
pub(super) struct VelocityMse<'a> {
    pub(super) net: &'a VelocityNet,
    pub(super) source: &'a Source,
    pub(super) units: &'a Standardiser,
    pub(super) coupling: Coupling,
}

/// The chance in a batch of rows.
#[derive(Default)]
pub(super) struct Noise {
    pub(super) t: Vec<f64>,  // (n)
    pub(super) x0: Vec<f64>, // (n, d)
}

#[derive(Default)]
pub(super) struct Scratch<F> {
    x0: Vec<F>, // (n, d)
    xt: Vec<F>, // (n, d)
    u: Vec<F>,  // x₁ − x₀: (n, d)
    dv: Vec<F>, // (n, d)
    pass: Pass<F>,
    assignment: Assignment,
}

impl<F: Real> Loss<F> for VelocityMse<'_> {
    type Row = F;
    type Drawn = Noise;
    type Workspace = Scratch<F>;

    fn tile(&self) -> usize {
        match self.coupling {
            Coupling::Independent => TILE,
            Coupling::OptimalTransport { rows } => rows,
        }
    }

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.net.transpose(p, t);
    }

    fn draw(&self, rows: usize, _: &[F], _: Progress, rng: &mut Rng, noise: &mut Noise) {
        // One draw shifts an even comb of times: each is uniform, and together they leave no gap, which
        // quiets the gradient (Kingma et al. 2021, appendix I).
        let shift: f64 = rng.random();
        noise.t.clear();
        noise.t.extend((0..rows).map(|r| (shift + r as f64 / rows as f64).fract()));
        noise.x0.resize(rows * self.net.dim(), 0.0);
        for x0 in noise.x0.chunks_exact_mut(self.net.dim()) {
            self.source.draw(self.units, rng, x0);
        }
    }

    /// With the residual r = v̂ − (x₁ − x₀): loss = Σ r²/d, dv̂ = weight · 2r/d. Which x₀ goes with which x₁
    /// does not depend on p.
    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x: x1, .. }: Batch<F>,
        noise: &Noise,
        weight: F,
        dp: Option<&mut [F]>,
        _: &mut [f64],
        scratch: &mut Scratch<F>,
    ) -> f64 {
        let d = self.net.dim();
        let Scratch { x0, xt, u, dv, pass, assignment } = scratch;
        x0.clear();
        x0.extend(noise.x0.iter().map(|&x0| F::of(x0)));
        let partner = match self.coupling {
            // A row too far for this format has no finite cost, and will make the loss infinite.
            Coupling::OptimalTransport { .. } if x0.iter().chain(x1).all(|x| x.is_finite()) => {
                Some(assignment.solve_squares(d, x1, x0))
            }
            _ => None,
        };
        xt.clear();
        u.clear();
        for (r, (x1, &t)) in x1.chunks_exact(d).zip(&noise.t).enumerate() {
            let x0 = &x0[partner.map_or(r, |partner| partner[r]) * d..][..d];
            let t = F::of(t);
            xt.extend(x0.iter().zip(x1).map(|(&x0, &x1)| x0 + t * (x1 - x0)));
            u.extend(x0.iter().zip(x1).map(|(&x0, &x1)| x1 - x0));
        }
        let v = self.net.forward(w.p, xt, &noise.t, pass);
        let slope = weight * F::of(2.0 / d as f64);
        let mut loss = 0.0;
        dv.clear();
        dv.extend(v.iter().zip(&*u).map(|(&v, &u)| {
            let residual = v - u;
            loss += residual.f64().powi(2);
            slope * residual
        }));
        if let Some(dp) = dp {
            self.net.backward(w, dv, dp, pass);
        }
        loss / d as f64
    }
}

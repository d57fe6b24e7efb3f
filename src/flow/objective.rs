use std::f64::consts::TAU;

use super::chain::{Chain, Pass};
use crate::engine::{Batch, Loss, Progress};
use crate::nn::Weights;
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// −ln N(u; 0, I) − ln |det ∂u/∂x|, u = f(x; c, p): the loss of a row is exactly its negative log-likelihood,
/// and draws no noise.
#[derive(Debug)]
pub(super) struct ChangeOfVariables<'m> {
    pub chain: &'m Chain,
}

/// ln N(u; 0, I) + ln |det ∂u/∂x| of each row of d columns, after a pass.
pub(super) fn log_density<F: Real>(d: usize, pass: &Pass<F>, mut each: impl FnMut(usize, f64)) {
    let n = pass.log_det.len();
    let constant = 0.5 * d as f64 * TAU.ln();
    for (r, log_det) in pass.log_det.iter().enumerate() {
        let square: f64 = pass.z[r..].iter().step_by(n).map(|u| u.f64() * u.f64()).sum();
        each(r, log_det.f64() - 0.5 * square - constant);
    }
}

impl<F: Real> Loss<F> for ChangeOfVariables<'_> {
    type Row = F;
    type Drawn = ();
    type Workspace = Pass<F>;

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.chain.transpose(p, t);
    }

    fn draw(&self, _: usize, _: &[F], _: Progress, _: &mut Rng, _: &mut ()) {}

    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x, c }: Batch<F>,
        _: &(),
        weight: F,
        dp: Option<&mut [F]>,
        _: &mut [f64],
        pass: &mut Pass<F>,
    ) -> f64 {
        if dp.is_some() {
            self.chain.forward(w.p, x, c, pass);
        } else {
            self.chain.infer(w.p, x, c, pass);
        }
        let mut loss = 0.0;
        log_density(self.chain.dim(), pass, |_, nats| loss -= nats);
        if let Some(dp) = dp {
            // ∂(½u²)/∂u = u.
            pass.z.iter_mut().for_each(|u| *u *= weight);
            self.chain.backward(w, -weight, dp, pass);
        }
        loss
    }
}

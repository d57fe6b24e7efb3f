use super::conditional::Conditional;
use super::network::{Made, Pass};
use crate::engine::{Batch, Loss, Progress};
use crate::nn::Weights;
use crate::numeric::Real;
use crate::numeric::gemm::transpose;
use crate::numeric::rng::Rng;
use crate::numeric::simd::vectorize;

/// −Σᵢ ln p(x_i | y_i), y = MADE(x, c; p): the loss of a row is exactly its negative log-likelihood, and draws
/// no noise.
#[derive(Debug)]
pub(super) struct ChainRuleNll<'m> {
    pub made: &'m Made,
    pub conditionals: &'m [Conditional],
}

#[derive(Debug, Default)]
pub(super) struct Scratch<F> {
    pass: Pass<F>,
    // The rows of a tile run along the vectors. One y_i, then dy_i: (outputs, n)
    y: Vec<F>,
    // x_i and ln p(x_i | y_i): (n)
    x: Vec<F>,
    nats: Vec<F>,
    // (outputs + 2, n)
    work: Vec<F>,
}

impl<F: Real> Loss<F> for ChainRuleNll<'_> {
    type Row = F;
    type Drawn = ();
    type Workspace = Scratch<F>;

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.made.transpose(p, t);
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
        scratch: &mut Scratch<F>,
    ) -> f64 {
        let (dim, outputs) = (self.conditionals.len(), self.conditionals[0].outputs());
        let n = x.len() / dim;
        let Scratch { pass, y, x: column, nats, work } = scratch;
        y.resize(outputs * n, F::zero());
        nats.resize(n, F::zero());
        work.resize((outputs + 2) * n, F::zero());
        if dp.is_some() {
            self.made.forward(w.p, x, c, pass);
        } else {
            self.made.infer(w.p, x, c, pass);
        }
        let mut loss = 0.0;
        for (i, block) in pass.y.chunks_exact_mut(n * outputs).enumerate() {
            column.clear();
            column.extend(x.chunks_exact(dim).map(|x| x[i]));
            transpose((n, outputs), block, y);
            vectorize(
                #[inline(always)]
                || self.conditionals[i].log_density(y, column, work, nats),
            );
            loss -= nats.iter().map(|nats| nats.f64()).sum::<f64>();
            if dp.is_some() {
                vectorize(
                    #[inline(always)]
                    || self.conditionals[i].gradient(y, column, weight, work),
                );
                transpose((outputs, n), y, block);
            }
        }
        if let Some(dp) = dp {
            self.made.backward(w, n, dp, pass);
        }
        loss
    }
}

use rand::Rng as _;

use super::ImplicitGame;
use crate::diffusion::{At, Ends as _, Levels, NoiseLevel, NoiseNet, Noising, Pass, Path, drop_conditions};
use crate::engine::{Batch, Loss, Progress};
use crate::nn::Weights;
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// Direct discriminative optimization (Zheng et al. 2025): with r(x) the log-ratio of the model to its frozen reference,
/// which is the logit of the discriminator that the two make,
///
/// −log σ(β r(x)) − α log(1 − σ(β r(x̃))),
///
/// for a row x of the data and a row x̃ of the reference, which stand behind each other in one row of the batch. r is a
/// difference of bounds on the log-likelihood, −(Λ/2) E_{λ, ε} (‖ε̂ − ε‖² − ‖ε̂_ref − ε‖²) with λ uniform on a span of
/// the length Λ (Kingma et al. 2021), estimated by M levels.
#[derive(Debug)]
pub(super) struct Contrast<'a, F> {
    pub(super) net: &'a NoiseNet<F>,
    pub(super) reference: &'a [F],
    /// Between which λ rows are judged.
    pub(super) span: (f64, f64),
    /// The share of rows whose condition is dropped.
    pub(super) dropout: f64,
    pub(super) game: &'a ImplicitGame,
}

/// Of each row, M levels with their noise.
#[derive(Default)]
pub(super) struct Probes<F> {
    pub(super) levels: Vec<NoiseLevel>, // (n, M)
    pub(super) eps: Vec<F>,             // of real and generated rows: (2, n, M, d)
    c: Vec<F>,                          // (n, k)
    repeated: Vec<F>,                   // (n, M, k)
}

#[derive(Default)]
pub(super) struct ContrastScratch<F> {
    place: Vec<F>, // (n, M, d)
    deps: Vec<F>,  // (n, M, d)
    pass: Pass<F>,
    reference: Pass<F>,
}

impl<F: Real> Loss<F> for Contrast<'_, F> {
    type Row = F;
    type Drawn = Probes<F>;
    type Workspace = ContrastScratch<F>;

    fn part_names(&self) -> &'static [&'static str] {
        &["real", "generated"]
    }

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.net.transpose(p, t);
    }

    fn draw(&self, rows: usize, c: &[F], _: Progress, rng: &mut Rng, probes: &mut Probes<F>) {
        let Probes { levels, eps, c: left, repeated } = probes;
        let (d, k, m) = (self.net.dim(), self.net.width(), self.game.draws);
        let ends = Levels::LogSnr(self.span.0, self.span.1);
        levels.clear();
        for _ in 0..rows {
            // An even comb for each row.
            let shift: f64 = rng.random();
            levels.extend((0..m).map(|i| ends.level((shift + i as f64) / m as f64)));
        }
        eps.clear();
        eps.extend((0..2 * rows * m * d).map(|_| F::normal(rng)));
        drop_conditions(c, k, self.dropout, rng, left);
        repeated.clear();
        if k > 0 {
            for c in left.chunks_exact(k) {
                (0..m).for_each(|_| repeated.extend_from_slice(c));
            }
        }
    }

    /// With r = −(Λ/2M) Σ (‖ε̂ − ε‖² − ‖ε̂_ref − ε‖²), a slope s in r is the slope −s (Λ/M) (ε̂ − ε) in ε̂. The slopes in r
    /// are −β σ(−β r) of a real row and α β σ(β r) of a generated one: what remains is the gradient of the noise MSE,
    /// each row with a weight, which is positive of a real row and negative of a generated one.
    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x, .. }: Batch<F>,
        Probes { levels, eps, repeated, .. }: &Probes<F>,
        weight: F,
        mut dp: Option<&mut [F]>,
        parts: &mut [f64],
        scratch: &mut ContrastScratch<F>,
    ) -> f64 {
        let ContrastScratch { place, deps, pass, reference } = scratch;
        let &ImplicitGame { alpha, beta, draws } = self.game;
        let (d, per_row) = (self.net.dim(), draws * self.net.dim());
        let span = (self.span.1 - self.span.0) / draws as f64;
        let mut loss = 0.0;
        // β ∂r, with the sign by which the row's loss softplus(sign · β r) falls or grows.
        let sides = [(-1.0, 1.0), (1.0, alpha)];
        for ((side, (sign, share)), eps) in sides.into_iter().enumerate().zip(eps.chunks_exact(eps.len() / 2))
        {
            place.clear();
            let rows = x.chunks_exact(2 * d).map(|pair| &pair[side * d..][..d]);
            for ((x, levels), eps) in rows.zip(levels.chunks_exact(draws)).zip(eps.chunks_exact(per_row)) {
                for (&level, eps) in levels.iter().zip(eps.chunks_exact(d)) {
                    Noising::place(level, x, eps, place);
                }
            }
            let at = At { x: place, c: repeated, levels };
            let known = self.net.infer(self.reference, at, reference);
            let predicted = self.net.forward(w.p, at, pass);
            deps.clear();
            let rows = predicted.chunks_exact(per_row).zip(known.chunks_exact(per_row));
            for ((predicted, known), eps) in rows.zip(eps.chunks_exact(per_row)) {
                let squares = |eps_hat: &[F]| -> f64 {
                    eps_hat.iter().zip(eps).map(|(&eps_hat, &eps)| (eps_hat - eps).f64().powi(2)).sum()
                };
                let ratio = -0.5 * span * (squares(predicted) - squares(known));
                let a = sign * beta * ratio;
                let pays = share * a.fast_softplus();
                parts[side] += pays;
                loss += pays;
                let slope = weight * F::of(-sign * share * beta * a.fast_sigmoid() * span);
                deps.extend(predicted.iter().zip(eps).map(|(&eps_hat, &eps)| slope * (eps_hat - eps)));
            }
            if let Some(dp) = dp.as_deref_mut() {
                self.net.backward(w, at, deps, dp, pass);
            }
        }
        loss
    }
}

use rand::Rng as _;

use super::AdversarialLoss;
use crate::engine::{Batch, Loss, Progress};
use crate::nn::{Network, Sequential, Tape, Weights};
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// What a player pays at a row with D(x) = a, and its slope in a.
type Value<F> = fn(AdversarialLoss, F) -> (F, F);

/// The games' values. In the logistic ones D is the logit: the probability that a row is real is σ(D(x)), so
/// −log σ(a) = softplus(−a) and −log(1 − σ(a)) = softplus(a).
impl AdversarialLoss {
    /// The critic, at a real row.
    pub(super) fn on_real<F: Real>(self, a: F) -> (F, F) {
        match self {
            AdversarialLoss::WassersteinGp { .. } => (-a, -F::one()),
            _ => ((-a).fast_softplus(), -(-a).fast_sigmoid()),
        }
    }

    /// The critic, at a generated row.
    pub(super) fn on_fake<F: Real>(self, a: F) -> (F, F) {
        match self {
            AdversarialLoss::WassersteinGp { .. } => (a, F::one()),
            _ => (a.fast_softplus(), a.fast_sigmoid()),
        }
    }

    /// The generator, at a row of its own.
    pub(super) fn on_generated<F: Real>(self, a: F) -> (F, F) {
        match self {
            // log(1 − σ(a)): what the critic wins, the generator loses.
            AdversarialLoss::Minimax => (-a.fast_softplus(), -a.fast_sigmoid()),
            AdversarialLoss::NonSaturatingR1 { .. } => ((-a).fast_softplus(), -(-a).fast_sigmoid()),
            AdversarialLoss::WassersteinGp { .. } => (-a, -F::one()),
        }
    }

    /// The penalty P(g) of one row's g = ∇D(x), and g ← u = ∂P/∂g.
    fn penalty<F: Real>(self, g: &mut [F]) -> F {
        let square: F = g.iter().map(|&g| g * g).sum();
        let (penalty, scale) = match self {
            AdversarialLoss::Minimax => (F::zero(), F::zero()),
            AdversarialLoss::NonSaturatingR1 { gamma } => {
                let gamma = F::of(gamma);
                (F::of(0.5) * gamma * square, gamma)
            }
            // u = 2λ(‖g‖ − 1) g/‖g‖. At g = 0 the norm has no slope; 0 is in its subgradient and is what
            // g·(…) gives as long as the quotient is finite.
            AdversarialLoss::WassersteinGp { lambda } => {
                let (lambda, norm) = (F::of(lambda), square.sqrt());
                let excess = norm - F::one();
                (
                    lambda * excess * excess,
                    F::of(2.0) * lambda * excess / norm.max(F::min_positive_value().sqrt()),
                )
            }
        };
        g.iter_mut().for_each(|g| *g = scale * *g);
        penalty
    }
}

/// The critic's side of the game: mean of on_real(D(x)) + on_fake(D(G(z))) + penalty.
#[derive(Debug)]
pub(super) struct Critic<'a, F> {
    pub(super) loss: AdversarialLoss,
    pub(super) critic: &'a Sequential,
    pub(super) generator: &'a Sequential,
    /// The generator's parameters, as they stand in this step.
    pub(super) opponent: Vec<F>,
}

/// What chance gives to the critic's step, beside the real rows.
#[derive(Default)]
pub(super) struct Fakes<F> {
    z: Vec<F>, // (n, latent)
    x: Vec<F>, // (n, dim): G(z)
    // (n): how much of a real row its interpolate holds, uniform on [0, 1). Only the Wasserstein game
    // interpolates.
    share: Vec<F>,
    scratch: Vec<F>,
}

#[derive(Default)]
pub(super) struct CriticScratch<F> {
    between: Vec<F>, // (n, dim)
    pass: Pass<F>,
}

#[derive(Default)]
struct Pass<F> {
    tape: Tape<F>,
    dy: Vec<F>,    // (n, 1)
    dydot: Vec<F>, // (n, 1)
    g: Vec<F>,     // (n, dim): ∇D(x), then u
}

impl<F: Real> Loss<F> for Critic<'_, F> {
    type Row = F;
    type Drawn = Fakes<F>;
    type Workspace = CriticScratch<F>;

    fn part_names(&self) -> &'static [&'static str] {
        &["critic", "penalty"]
    }

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.critic.transpose(p, t);
    }

    fn draw(&self, rows: usize, _: &[F], _: Progress, rng: &mut Rng, noise: &mut Fakes<F>) {
        let Fakes { z, x, share, scratch } = noise;
        draw_latent(rows * self.generator.in_dim(), rng, z);
        x.resize(rows * self.generator.out_dim(), F::zero());
        scratch.resize(rows * self.generator.scratch_width(), F::zero());
        self.generator.infer(&self.opponent, z, x, scratch);
        share.clear();
        if let AdversarialLoss::WassersteinGp { .. } = self.loss {
            share.extend((0..rows).map(|_| F::of(rng.random())));
        }
    }

    /// Without `dp` the penalty is left out: it shapes the training and says nothing about held-out rows.
    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x, .. }: Batch<F>,
        noise: &Fakes<F>,
        weight: F,
        mut dp: Option<&mut [F]>,
        parts: &mut [f64],
        scratch: &mut CriticScratch<F>,
    ) -> f64 {
        let CriticScratch { between, pass } = scratch;
        let mut pay = |rows: &[F], value, penalised| {
            self.pay(w, rows, value, penalised, weight, dp.as_deref_mut(), parts, pass)
        };
        let r1 = matches!(self.loss, AdversarialLoss::NonSaturatingR1 { .. });
        let loss =
            pay(x, Some(AdversarialLoss::on_real), r1) + pay(&noise.x, Some(AdversarialLoss::on_fake), false);
        let AdversarialLoss::WassersteinGp { .. } = self.loss else { return loss };
        let dim = self.critic.in_dim();
        between.clear();
        for ((x, fake), &share) in x.chunks_exact(dim).zip(noise.x.chunks_exact(dim)).zip(&noise.share) {
            between.extend(x.iter().zip(fake).map(|(&x, &fake)| fake + share * (x - fake)));
        }
        loss + pay(between, None, true)
    }
}

impl<F: Real> Critic<'_, F> {
    /// Σ value(D(x)) over some rows, where it has a value, and, if they are `penalised`, Σ P(∇D(x)); dp +=
    /// weight · its gradient.
    ///
    /// P depends on θ through g = ∇ₓD(x; θ): ∂P/∂θ = ⟨u, ∂g/∂θ⟩ with u = ∂P/∂g, which for a fixed u is the
    /// gradient of ⟨u, ∇ₓD⟩, the derivative of D along u. So: one backward pass for weight·g, one `jvp` along
    /// u, and one `jvp_backward` that carries the value (by dy) and the penalty (by dẏ = weight) together. Its
    /// part in ẋ is that first pass, which has kept it.
    fn pay(
        &self,
        w: Weights<F>,
        rows: &[F],
        value: Option<Value<F>>,
        penalised: bool,
        weight: F,
        dp: Option<&mut [F]>,
        parts: &mut [f64],
        pass: &mut Pass<F>,
    ) -> f64 {
        let Pass { tape, dy, dydot, g } = pass;
        let mut loss = 0.0;
        dy.clear();
        let scores = tape.forward(self.critic, w.p, rows);
        let n = scores.len();
        if let Some(value) = value {
            for &a in scores {
                let (pays, slope) = value(self.loss, a);
                loss += pays.f64();
                dy.push(weight * slope);
            }
        }
        parts[0] += loss;
        let Some(dp) = dp else { return loss };
        if !penalised {
            tape.backward(self.critic, w, dy, Some(dp), None);
            return loss;
        }
        dydot.clear();
        dydot.resize(n, weight);
        g.resize(rows.len(), F::zero());
        tape.backward_keeping(self.critic, w, dydot, g);
        g.iter_mut().for_each(|g| *g /= weight);
        let penalty: f64 = g.chunks_exact_mut(self.critic.in_dim()).map(|g| self.loss.penalty(g).f64()).sum();
        parts[1] += penalty;
        tape.jvp(self.critic, w.p, g);
        tape.jvp_backward_kept(self.critic, w, value.is_some().then_some(dy), dydot, dp);
        loss + penalty
    }
}

/// The generator's side of the game: mean of on_generated(D(G(z))). It sees no data.
#[derive(Debug)]
pub(super) struct Generator<'a, F> {
    pub(super) loss: AdversarialLoss,
    pub(super) critic: &'a Sequential,
    pub(super) generator: &'a Sequential,
    /// The critic's parameters as they stand in this step, and the same transposed.
    pub(super) opponent: (Vec<F>, Vec<F>),
}

#[derive(Default)]
pub(super) struct GeneratorScratch<F> {
    generator: Tape<F>,
    critic: Tape<F>,
    dy: Vec<F>, // (n, 1)
    dx: Vec<F>, // (n, dim)
}

impl<F: Real> Loss<F> for Generator<'_, F> {
    // z: (n, latent)
    type Row = F;
    type Drawn = Vec<F>;
    type Workspace = GeneratorScratch<F>;

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.generator.transpose(p, t);
    }

    fn draw(&self, rows: usize, _: &[F], _: Progress, rng: &mut Rng, z: &mut Vec<F>) {
        draw_latent(rows * self.generator.in_dim(), rng, z);
    }

    fn loss_grad(
        &self,
        w: Weights<F>,
        _: Batch<F>,
        z: &Vec<F>,
        weight: F,
        dp: Option<&mut [F]>,
        _: &mut [f64],
        scratch: &mut GeneratorScratch<F>,
    ) -> f64 {
        let GeneratorScratch { generator, critic, dy, dx } = scratch;
        let (p, t) = &self.opponent;
        let x = generator.forward(self.generator, w.p, z);
        let mut loss = 0.0;
        dy.clear();
        for &a in critic.forward(self.critic, p, x) {
            let (pays, slope) = self.loss.on_generated(a);
            loss += pays.f64();
            dy.push(weight * slope);
        }
        if dp.is_some() {
            dx.resize(x.len(), F::zero());
            critic.backward(self.critic, Weights { p, t }, dy, None, Some(dx));
            generator.backward(self.generator, w, dx, dp, None);
        }
        loss
    }
}

fn draw_latent<F: Real>(n: usize, rng: &mut Rng, z: &mut Vec<F>) {
    z.clear();
    z.extend((0..n).map(|_| F::normal(rng)));
}

use rand::Rng as _;

use super::AdversarialLoss;
use super::network::{Pass, Player};
use crate::engine::{Batch, Loss, Progress};
use crate::nn::{Network, Weights};
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// What a player pays at a row with D(x) = a, and its slope in a.
type Value<F> = fn(AdversarialLoss, F) -> (F, F);

/// The games' values. In the logistic ones D is the logit: the probability that a row is real is σ(D(x)), so −log
/// σ(a) = softplus(−a) and −log(1 − σ(a)) = softplus(a). In the relativistic game a = D(x) − D(x̃) is the logit that
/// of two rows the first is the real one; the generator pays for it with the sign reversed.
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
            AdversarialLoss::NonSaturatingR1 { .. } | AdversarialLoss::Relativistic { .. } => {
                ((-a).fast_softplus(), -(-a).fast_sigmoid())
            }
            AdversarialLoss::WassersteinGp { .. } => (-a, -F::one()),
        }
    }

    /// Whether what a row pays depends on the row of the other kind that it is paired with.
    pub(super) fn pairs(self) -> bool {
        matches!(self, AdversarialLoss::Relativistic { .. })
    }

    /// The penalty P(g) of one row's g = ∇D(x), and g ← u = ∂P/∂g.
    fn penalty<F: Real>(self, g: &mut [F]) -> F {
        let square: F = g.iter().map(|&g| g * g).sum();
        let (penalty, scale) = match self {
            AdversarialLoss::Minimax => (F::zero(), F::zero()),
            AdversarialLoss::NonSaturatingR1 { gamma } | AdversarialLoss::Relativistic { gamma } => {
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

/// The critic's side of the game: mean of on_real(D(x, c)) + on_fake(D(G(z, c), c)) + penalty, the generated rows under
/// the same conditions as the real ones.
#[derive(Debug)]
pub(super) struct Critic<'a, F> {
    pub(super) loss: AdversarialLoss,
    pub(super) critic: &'a Player,
    pub(super) generator: &'a Player,
    /// The generator's parameters, as they stand in this step.
    pub(super) opponent: Vec<F>,
}

/// What chance gives to the critic's step, beside the real rows.
#[derive(Default)]
pub(super) struct Fakes<F> {
    pub(super) z: Vec<F>, // (n, latent)
    pub(super) x: Vec<F>, // (n, dim): G(z, c)
    // (n): how much of a real row its interpolate holds, uniform on [0, 1). Only the Wasserstein game
    // interpolates.
    share: Vec<F>,
    pass: Pass<F>,
}

#[derive(Default)]
pub(super) struct CriticScratch<F> {
    between: Vec<F>, // (n, dim)
    slopes: Vec<F>,  // (n)
    pass: Pass<F>,
    // Of the generated rows, where they are paired with the real ones.
    fake: Pass<F>,
}

impl<F: Real> Loss<F> for Critic<'_, F> {
    type Row = F;
    type Drawn = Fakes<F>;
    type Workspace = CriticScratch<F>;

    fn part_names(&self) -> &'static [&'static str] {
        &["critic", "penalty"]
    }

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.critic.net.transpose(p, t);
    }

    fn draw(&self, rows: usize, c: &[F], _: Progress, rng: &mut Rng, noise: &mut Fakes<F>) {
        let Fakes { z, x, share, pass } = noise;
        draw_latent(rows * self.generator.dim, rng, z);
        x.resize(rows * self.critic.dim, F::zero());
        self.generator.infer(&self.opponent, z, c, x, pass);
        share.clear();
        if let AdversarialLoss::WassersteinGp { .. } = self.loss {
            share.extend((0..rows).map(|_| F::of(rng.random())));
        }
    }

    /// Without `dp` the penalty is left out: it shapes the training and says nothing about held-out rows.
    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x, c }: Batch<F>,
        noise: &Fakes<F>,
        weight: F,
        mut dp: Option<&mut [F]>,
        parts: &mut [f64],
        scratch: &mut CriticScratch<F>,
    ) -> f64 {
        if self.loss.pairs() {
            return self.pay_in_pairs(w, Batch { x, c }, &noise.x, weight, dp, parts, scratch);
        }
        let CriticScratch { between, slopes, pass, .. } = scratch;
        let mut pay = |x: &[F], value, penalized| {
            let rows = Batch { x, c };
            self.pay(w, rows, value, penalized, weight, dp.as_deref_mut(), parts, slopes, pass)
        };
        let r1 = matches!(self.loss, AdversarialLoss::NonSaturatingR1 { .. });
        let loss =
            pay(x, Some(AdversarialLoss::on_real), r1) + pay(&noise.x, Some(AdversarialLoss::on_fake), false);
        let AdversarialLoss::WassersteinGp { .. } = self.loss else { return loss };
        let dim = self.critic.dim;
        between.clear();
        for ((x, fake), &share) in x.chunks_exact(dim).zip(noise.x.chunks_exact(dim)).zip(&noise.share) {
            between.extend(x.iter().zip(fake).map(|(&x, &fake)| fake + share * (x - fake)));
        }
        loss + pay(between, None, true)
    }
}

impl<F: Real> Critic<'_, F> {
    /// Σ on_real(D(x, c) − D(x̃, c)) over pairs of rows, and Σ P(∇ₓD(x, c)) + P(∇ₓD(x̃, c)); dp += weight · its
    /// gradient. The value's slope in D(x̃) is that in D(x), reversed.
    fn pay_in_pairs(
        &self,
        w: Weights<F>,
        Batch { x, c }: Batch<F>,
        generated: &[F],
        weight: F,
        dp: Option<&mut [F]>,
        parts: &mut [f64],
        CriticScratch { slopes, pass, fake, .. }: &mut CriticScratch<F>,
    ) -> f64 {
        let real = self.critic.forward(w.p, x, c, pass);
        let fakes = self.critic.forward(w.p, generated, c, fake);
        let mut loss = 0.0;
        slopes.clear();
        for (&real, &fake) in real.iter().zip(fakes) {
            let (pays, slope) = self.loss.on_real(real - fake);
            loss += pays.f64();
            slopes.push(weight * slope);
        }
        parts[0] += loss;
        let Some(dp) = dp else { return loss };
        let penalty = |g: &mut [F]| self.loss.penalty(g);
        let r1 = self.critic.penalized_backward(w, c, Some(slopes), weight, penalty, dp, pass);
        slopes.iter_mut().for_each(|slope| *slope = -*slope);
        let r2 = self.critic.penalized_backward(w, c, Some(slopes), weight, penalty, dp, fake);
        parts[1] += r1 + r2;
        loss + r1 + r2
    }

    /// Σ value(D(x, c)) over some rows, where it has a value, and, if they are `penalized`, Σ P(∇ₓD(x, c)); dp +=
    /// weight · its gradient.
    fn pay(
        &self,
        w: Weights<F>,
        Batch { x, c }: Batch<F>,
        value: Option<Value<F>>,
        penalized: bool,
        weight: F,
        dp: Option<&mut [F]>,
        parts: &mut [f64],
        slopes: &mut Vec<F>,
        pass: &mut Pass<F>,
    ) -> f64 {
        let mut loss = 0.0;
        slopes.clear();
        let scores = self.critic.forward(w.p, x, c, pass);
        if let Some(value) = value {
            for &a in scores {
                let (pays, slope) = value(self.loss, a);
                loss += pays.f64();
                slopes.push(weight * slope);
            }
        }
        parts[0] += loss;
        let Some(dp) = dp else { return loss };
        if !penalized {
            self.critic.backward(w, c, slopes, Some(dp), None, pass);
            return loss;
        }
        let slopes = value.is_some().then_some(&slopes[..]);
        let penalty = |g: &mut [F]| self.loss.penalty(g);
        let penalty = self.critic.penalized_backward(w, c, slopes, weight, penalty, dp, pass);
        parts[1] += penalty;
        loss + penalty
    }
}

/// The generator's side of the game: mean of on_generated(D(G(z, c), c)). It sees no data, only conditions that go with
/// some; in the relativistic game it sees what the critic says of real rows: mean of on_generated(D(G(z, c), c) −
/// D(x, c)).
#[derive(Debug)]
pub(super) struct Generator<'a, F> {
    pub(super) loss: AdversarialLoss,
    pub(super) critic: &'a Player,
    pub(super) generator: &'a Player,
    /// The critic's parameters as they stand in this step, and the same transposed.
    pub(super) opponent: (Vec<F>, Vec<F>),
}

#[derive(Default)]
pub(super) struct GeneratorScratch<F> {
    generator: Pass<F>,
    critic: Pass<F>,
    slopes: Vec<F>, // (n)
    dx: Vec<F>,     // (n, dim)
    // D(x, c) of real rows: (n); 0 where the game does not ask.
    real: Vec<F>,
}

impl<F: Real> Loss<F> for Generator<'_, F> {
    // z: (n, latent)
    type Row = F;
    type Drawn = Vec<F>;
    type Workspace = GeneratorScratch<F>;

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.generator.net.transpose(p, t);
    }

    fn draw(&self, rows: usize, _: &[F], _: Progress, rng: &mut Rng, z: &mut Vec<F>) {
        draw_latent(rows * self.generator.dim, rng, z);
    }

    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x: data, c }: Batch<F>,
        z: &Vec<F>,
        weight: F,
        dp: Option<&mut [F]>,
        _: &mut [f64],
        scratch: &mut GeneratorScratch<F>,
    ) -> f64 {
        let GeneratorScratch { generator, critic, slopes, dx, real } = scratch;
        let (p, t) = &self.opponent;
        real.clear();
        real.resize(z.len() / self.generator.dim, F::zero());
        if self.loss.pairs() {
            self.critic.infer(p, data, c, real, critic);
        }
        let x = self.generator.forward(w.p, z, c, generator);
        dx.resize(x.len(), F::zero());
        let mut loss = 0.0;
        slopes.clear();
        for (&a, &real) in self.critic.forward(p, x, c, critic).iter().zip(&*real) {
            let (pays, slope) = self.loss.on_generated(a - real);
            loss += pays.f64();
            slopes.push(weight * slope);
        }
        if dp.is_some() {
            self.critic.backward(Weights { p, t }, c, slopes, None, Some(dx), critic);
            self.generator.backward(w, c, dx, dp, None, generator);
        }
        loss
    }
}

fn draw_latent<F: Real>(n: usize, rng: &mut Rng, z: &mut Vec<F>) {
    z.clear();
    z.extend((0..n).map(|_| F::normal(rng)));
}

use rand::Rng as _;

use super::AdversarialLoss;
use super::network::{Pass, Player};
use super::players::Opposed;
use crate::engine::{Batch, Loss, Progress};
use crate::nn::{Network, Weights};
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// A player's loss at a row with D(x) = a, and the derivative of this loss in a.
type Value<F> = fn(AdversarialLoss, F) -> (F, F);

/// The losses of the games. In the logistic games D is the logit: the probability that a row is real is σ(D(x)), so
/// −log σ(a) = softplus(−a) and −log(1 − σ(a)) = softplus(a). In the relativistic game, a = D(x) − D(x̃) is the logit
/// that the first of two rows is the real one; the generator's loss has the opposite sign of a.
impl AdversarialLoss {
    /// The critic's loss at a real row.
    pub(super) fn on_real<F: Real>(self, a: F) -> (F, F) {
        match self {
            AdversarialLoss::WassersteinGp { .. } => (-a, -F::one()),
            _ => ((-a).fast_softplus(), -(-a).fast_sigmoid()),
        }
    }

    /// The critic's loss at a generated row.
    pub(super) fn on_fake<F: Real>(self, a: F) -> (F, F) {
        match self {
            AdversarialLoss::WassersteinGp { .. } => (a, F::one()),
            _ => (a.fast_softplus(), a.fast_sigmoid()),
        }
    }

    /// The generator's loss at a generated row.
    pub(crate) fn on_generated<F: Real>(self, a: F) -> (F, F) {
        match self {
            // log(1 − σ(a)): the critic's gain is the generator's loss.
            AdversarialLoss::Minimax => (-a.fast_softplus(), -a.fast_sigmoid()),
            AdversarialLoss::NonSaturatingR1 { .. } | AdversarialLoss::Relativistic { .. } => {
                ((-a).fast_softplus(), -(-a).fast_sigmoid())
            }
            AdversarialLoss::WassersteinGp { .. } => (-a, -F::one()),
        }
    }

    /// Whether a row's loss depends on the row of the other kind with which it is paired.
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
            // u = 2λ(‖g‖ − 1) g/‖g‖. At g = 0 the norm has no derivative; 0 is in its subdifferential, and g·(…) is 0
            // as long as the quotient is finite.
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

/// The critic's loss: the mean of on_real(D(x, c)) + on_fake(D(G(z, c), c)) + penalty, with the generated rows under
/// the same conditions as the real ones.
#[derive(Debug)]
pub(super) struct Critic<'a, F> {
    pub(super) loss: AdversarialLoss,
    pub(super) critic: &'a Player,
    pub(super) generator: &'a Player,
    /// The generator's parameters in this step.
    pub(super) opponent: Vec<F>,
}

/// The random numbers drawn for the critic's step.
#[derive(Default)]
pub(super) struct Fakes<F> {
    pub(super) z: Vec<F>, // (n, latent)
    pub(super) x: Vec<F>, // (n, dim): G(z, c)
    // (n): the weight of the real row in its interpolate, uniform on [0, 1). Only the Wasserstein game
    // interpolates.
    share: Vec<F>,
    pass: Pass<F>,
}

#[derive(Default)]
pub(super) struct CriticScratch<F> {
    between: Vec<F>, // (n, dim)
    slopes: Vec<F>,  // (n)
    pass: Pass<F>,
    pairs: Pairs<F>,
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

    /// Without `dp` the penalty is omitted: it matters for training only, and says nothing about held-out rows.
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
            let (rows, pairs) = (Batch { x, c }, &mut scratch.pairs);
            return pay_in_pairs((self.loss, self.critic), w, rows, &noise.x, weight, dp, parts, pairs);
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

impl Opposed for Critic<'_, f32> {
    fn face(&mut self, generator: &[f32]) {
        self.opponent.clear();
        self.opponent.extend_from_slice(generator);
    }
}

/// The buffers of [`pay_in_pairs`].
#[derive(Default)]
pub(crate) struct Pairs<F> {
    slopes: Vec<F>, // (n)
    real: Pass<F>,
    fake: Pass<F>,
}

/// Σ on_real(D(x, c) − D(x̃, c)) over pairs of rows, and Σ P(∇ₓD(x, c)) + P(∇ₓD(x̃, c)), without the penalty if there
/// is no dp; dp += weight · its gradient. The loss's derivative in D(x̃) is the negative of that in D(x).
pub(crate) fn pay_in_pairs<F: Real>(
    (loss, critic): (AdversarialLoss, &Player),
    w: Weights<F>,
    Batch { x, c }: Batch<F>,
    generated: &[F],
    weight: F,
    dp: Option<&mut [F]>,
    parts: &mut [f64],
    Pairs { slopes, real, fake }: &mut Pairs<F>,
) -> f64 {
    let reals = critic.forward(w.p, x, c, real);
    let fakes = critic.forward(w.p, generated, c, fake);
    let mut pays = 0.0;
    slopes.clear();
    for (&real, &fake) in reals.iter().zip(fakes) {
        let (pair, slope) = loss.on_real(real - fake);
        pays += pair.f64();
        slopes.push(weight * slope);
    }
    parts[0] += pays;
    let Some(dp) = dp else { return pays };
    let penalty = |g: &mut [F]| loss.penalty(g);
    let r1 = critic.penalized_backward(w, c, Some(slopes), weight, penalty, dp, real);
    slopes.iter_mut().for_each(|slope| *slope = -*slope);
    let r2 = critic.penalized_backward(w, c, Some(slopes), weight, penalty, dp, fake);
    parts[1] += r1 + r2;
    pays + r1 + r2
}

impl<F: Real> Critic<'_, F> {
    /// Σ value(D(x, c)) over some rows, if there is a value, and, if they are `penalized`, Σ P(∇ₓD(x, c)); dp +=
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

/// The generator's loss: the mean of on_generated(D(G(z, c), c)). It uses no data, only the conditions of some rows.
/// In the relativistic game it also uses the critic's values of real rows: the mean of on_generated(D(G(z, c), c) −
/// D(x, c)).
#[derive(Debug)]
pub(super) struct Generator<'a, F> {
    pub(super) loss: AdversarialLoss,
    pub(super) critic: &'a Player,
    pub(super) generator: &'a Player,
    /// The critic's parameters in this step, and the same transposed.
    pub(super) opponent: (Vec<F>, Vec<F>),
}

#[derive(Default)]
pub(super) struct GeneratorScratch<F> {
    generator: Pass<F>,
    critic: Pass<F>,
    slopes: Vec<F>, // (n)
    dx: Vec<F>,     // (n, dim)
    // D(x, c) of real rows: (n); 0 if the game does not use it.
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

impl Opposed for Generator<'_, f32> {
    fn face(&mut self, critic: &[f32]) {
        let (p, t) = &mut self.opponent;
        p.clear();
        p.extend_from_slice(critic);
        t.resize(p.len(), 0.0);
        self.critic.net.transpose(p, t);
    }
}

fn draw_latent<F: Real>(n: usize, rng: &mut Rng, z: &mut Vec<F>) {
    z.clear();
    z.extend((0..n).map(|_| F::normal(rng)));
}

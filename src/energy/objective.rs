use rand::{Rng as _, RngCore, SeedableRng};

use super::langevin::{Langevin, Walk};
use super::network::{Energy, Pass};
use crate::engine::{Batch, Loss, Progress};
use crate::nn::Weights;
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// E ‖ε − σ ∇ₓE(x + σε, c)‖² / d over rows x with their conditions c and noise ε ~ N(0, I): σ² times
/// ‖s(x̃) − (x − x̃)/σ²‖² with s = −∇E (Vincent 2011, eq. 9). The factor keeps the loss bounded as σ → 0.
#[derive(Debug)]
pub(super) struct DenoisingScore<'a> {
    pub(super) energy: &'a Energy,
    pub(super) sigma: f64,
}

#[derive(Default)]
pub(super) struct DenoisingScratch<F> {
    x: Vec<F>, // x̃: (n, d)
    u: Vec<F>, // (n, d)
    t: Vec<F>, // p transposed, where the caller has none
    pass: Pass<F>,
}

impl<F: Real> Loss<F> for DenoisingScore<'_> {
    // ε: (n, d)
    type Row = F;
    type Drawn = Vec<F>;
    type Workspace = DenoisingScratch<F>;

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.energy.transpose(p, t);
    }

    fn draw(&self, rows: usize, _: &[F], _: Progress, rng: &mut Rng, eps: &mut Vec<F>) {
        eps.clear();
        eps.extend((0..rows * self.energy.dim()).map(|_| F::normal(rng)));
    }

    /// With the residual r = ε − σg, g = ∇E(x̃): loss = Σ r²/d and u = weight · ∂loss/∂g = −weight · 2σr/d; then dp
    /// += ∂⟨u, ∇E⟩/∂p for that u held fixed.
    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x, c }: Batch<F>,
        eps: &Vec<F>,
        weight: F,
        dp: Option<&mut [F]>,
        _: &mut [f64],
        scratch: &mut DenoisingScratch<F>,
    ) -> f64 {
        let DenoisingScratch { x: noisy, u, t, pass } = scratch;
        let (d, sigma) = (self.energy.dim() as f64, F::of(self.sigma));
        noisy.clear();
        noisy.extend(x.iter().zip(eps).map(|(&x, &eps)| x + sigma * eps));
        // The loss itself needs ∇E, and so a backward pass.
        let w = if w.t.is_empty() {
            t.resize(w.p.len(), F::zero());
            self.energy.transpose(w.p, t);
            Weights { p: w.p, t }
        } else {
            w
        };
        self.energy.evaluate_keeping(w, noisy, c, pass);
        let slope = weight * F::of(-2.0 * self.sigma / d);
        let mut loss = 0.0;
        u.clear();
        u.extend(pass.g.iter().zip(eps).map(|(&g, &eps)| {
            let r = eps - sigma * g;
            loss += r.f64().powi(2);
            slope * r
        }));
        if let Some(dp) = dp {
            self.energy.backward_slope(w, noisy, u, dp, pass);
        }
        loss / d
    }
}

/// E(x⁺) − E(x⁻) + magnitude · (f(x⁺)² + f(x⁻)²), means over rows x⁺ of data and rows x⁻ of the chains (Du &
/// Mordatch 2019, algorithm 1). For x⁻ ~ exp(−E)/Z and no magnitude its gradient is that of −ln p(x⁺).
///
/// Persistent contrastive divergence (Tieleman 2008): in each step the chains move a little under the present energy
/// and serve as draws from exp(−E)/Z; the energy falls at the data and rises at the chains. Each shard owns its share
/// of the chains, so they are determined by the shards' streams.
///
/// In a conditional model each row is compared with a chain under the row's condition c, so that both means are over
/// the same conditions, and any part of E that depends only on c cancels: E[E(x⁺, c)] − E[E(x⁻, c)]. For classes, a
/// row is matched with a chain of its class if there is one, so that chain keeps its condition. For numbers, the
/// chain with the nearest condition takes over the row's condition: it comes from a similar density.
#[derive(Debug)]
pub(super) struct Contrast<'a, F> {
    pub(super) energy: &'a Energy,
    pub(super) langevin: Langevin,
    /// Number of chains per shard.
    pub(super) chains: usize,
    pub(super) restart: f64,
    pub(super) magnitude: f64,
    /// The parameters in this step, and the same transposed, which move the chains.
    pub(super) now: (Vec<F>, Vec<F>),
}

/// The chains of a shard, which persist from step to step.
#[derive(Default)]
pub(super) struct Chains<F> {
    /// Each chain, followed by its condition: (chains, d + k)
    all: Vec<F>,
    /// The next chain to use.
    next: usize,
    /// The chains that move with this tile: (n)
    turn: Vec<usize>,
    /// For each chain, whether it is among them.
    taken: Vec<bool>,
    /// The rows x⁻ of this tile: (n, d)
    pub(super) x: Vec<F>,
    rngs: Vec<Rng>,
    walk: Walk<F>,
}

#[derive(Default)]
pub(super) struct ContrastScratch<F> {
    dy: Vec<F>, // (n)
    pass: Pass<F>,
}

impl<F: Real> Chains<F> {
    /// Matches chains with rows of conditions c: (rows, k): each row gets the first chain, from `next` on, whose
    /// condition is nearest.
    fn choose(&mut self, rows: usize, c: &[F], d: usize, k: usize) {
        let Chains { all, next, turn, taken, .. } = self;
        let count = all.len() / (d + k);
        turn.clear();
        taken.clear();
        taken.resize(count, false);
        for r in 0..rows {
            let c = &c[r * k..(r + 1) * k];
            let (mut nearest, mut least) = (0, F::infinity());
            for chain in (0..count).map(|i| (*next + i) % count).filter(|&chain| !taken[chain]) {
                let condition = &all[chain * (d + k) + d..(chain + 1) * (d + k)];
                let distance: F = c.iter().zip(condition).map(|(&a, &b)| (a - b) * (a - b)).sum();
                if distance < least {
                    (nearest, least) = (chain, distance);
                }
                if least == F::zero() {
                    break;
                }
            }
            taken[nearest] = true;
            turn.push(nearest);
        }
        *next = (*next + rows) % count;
    }
}

impl<'a, F: Real> Contrast<'a, F> {
    /// Creates the loss with `chains` chains per shard.
    pub(super) fn new(
        energy: &'a Energy,
        langevin: Langevin,
        chains: usize,
        restart: f64,
        magnitude: f64,
    ) -> Self {
        let unknown = vec![F::zero(); energy.num_params()];
        Contrast { energy, langevin, chains, restart, magnitude, now: (unknown.clone(), unknown) }
    }
}

impl<F: Real> Loss<F> for Contrast<'_, F> {
    type Row = F;
    type Drawn = Chains<F>;
    type Workspace = ContrastScratch<F>;

    fn follow(&mut self, params: &[F]) {
        let (p, t) = &mut self.now;
        p.copy_from_slice(params);
        self.energy.transpose(p, t);
    }

    /// The state of the chains, and the next one to use.
    fn memory<'a>(&self, chains: &'a mut Chains<F>) -> Option<(&'a mut Vec<F>, &'a mut usize)> {
        Some((&mut chains.all, &mut chains.next))
    }

    fn part_names(&self) -> &'static [&'static str] {
        &["data energy", "chain energy"]
    }

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.energy.transpose(p, t);
    }

    /// Takes the next `rows` chains, restarts some, moves them under the present energy, and puts them back.
    fn draw(&self, rows: usize, c: &[F], _: Progress, rng: &mut Rng, chains: &mut Chains<F>) {
        let (d, k) = (self.energy.dim(), self.energy.condition());
        // Without conditions, all chains start at once; with conditions, each starts when it first gets a row's
        // condition.
        let missing = self.chains.max(rows).saturating_sub(chains.all.len() / (d + k));
        let starting = if k == 0 { missing } else { missing.min(rows) };
        for r in 0..starting {
            chains.all.extend((0..d).map(|_| F::normal(rng)));
            chains.all.extend_from_slice(&c[r * k..(r + 1) * k]);
        }
        chains.choose(rows, c, d, k);
        let Chains { all, turn, x, rngs, walk, .. } = chains;
        x.clear();
        rngs.clear();
        for chain in &*turn {
            let chain = chain * (d + k);
            if rng.random::<f64>() < self.restart {
                x.extend((0..d).map(|_| F::normal(rng)));
            } else {
                x.extend_from_slice(&all[chain..chain + d]);
            }
            rngs.push(Rng::seed_from_u64(rng.next_u64()));
        }
        let (p, t) = &self.now;
        self.langevin.walk(self.energy, Weights { p, t }, 1.0, x, c, rngs, walk);
        for (r, (chain, x)) in turn.iter().zip(x.chunks_exact(d)).enumerate() {
            let (to, condition) = all[chain * (d + k)..(chain + 1) * (d + k)].split_at_mut(d);
            to.copy_from_slice(x);
            condition.copy_from_slice(&c[r * k..(r + 1) * k]);
        }
    }

    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x, c }: Batch<F>,
        chains: &Chains<F>,
        weight: F,
        mut dp: Option<&mut [F]>,
        parts: &mut [f64],
        scratch: &mut ContrastScratch<F>,
    ) -> f64 {
        let ContrastScratch { dy, pass } = scratch;
        let d = self.energy.dim();
        let mut loss = 0.0;
        for (i, (rows, sign)) in [(x, 1.0), (&chains.x[..], -1.0)].into_iter().enumerate() {
            dy.clear();
            for (&f, z) in self.energy.forward(w.p, rows, c, pass).iter().zip(rows.chunks_exact(d)) {
                let e = (f + self.energy.confinement(z)).f64();
                loss += sign * e + self.magnitude * f.f64().powi(2);
                parts[i] += e;
                dy.push(weight * (F::of(sign) + F::of(2.0 * self.magnitude) * f));
            }
            if let Some(dp) = dp.as_deref_mut() {
                self.energy.backward(w, dy, dp, pass);
            }
        }
        loss
    }
}

use rand::Rng as _;

use super::network::{Energy, Pass};
use crate::error::{Result, check};
use crate::nn::Weights;
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// A chain under exp(−E/T): a start chosen among candidates, then Langevin moves whose step lengths decrease
/// geometrically from `first` to `last`.
///
/// **Start.** Candidates z₁ … z_M come from a broad density q, Student's t with two degrees of freedom. One of them
/// is kept, with probability proportional to exp(−E(zᵢ)/T)/q(zᵢ) (sampling by importance resampling, Rubin 1988).
/// As M grows, the start becomes a draw from exp(−E/T) for any energy, while a chain with an arbitrary start can stay
/// for a long time in a valley of little mass. This works only if some candidates hit the mass, so only in a few
/// columns. If `candidates` is 0, the chain starts from N(0, T·I).
///
/// **Moves.** A move with step h proposes z′ = z + δ(z) + √T h ξ, ξ ~ N(0, I), δ = −(h²/2) ∇E truncated to the length
/// h (Roberts & Tweedie 1996); h² is the ε of the usual form. The truncation makes long steps possible where the
/// energy is steep. Long steps find the modes, short steps their shape.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Langevin {
    /// Network evaluations of a chain. Each evaluation that is not spent on a candidate is a move. With
    /// [`Acceptance::Metropolis`] there is one move less, because the start is evaluated, too. At least one move, at
    /// most 1,000,000 evaluations. Default 400.
    pub steps: usize,
    /// The share of the evaluations that is spent on candidates for the start, rounded down. A candidate needs no
    /// gradient, and therefore takes about a third of the time of a move. Persistent chains continue from where they
    /// are, without candidates. 0 or more, less than 1. Default 0.3.
    pub candidates: f64,
    /// h of the first move, in standard deviations of the columns. More than 0, at most 100. Default 2.
    pub first: f64,
    /// h of the last move, best near the width of the narrowest mode. More than 0, at most 100. Default 0.02.
    pub last: f64,
    /// How proposals are accepted. Default [`Acceptance::Metropolis`].
    pub acceptance: Acceptance,
}

/// The most network evaluations of a chain.
pub(super) const MOST_STEPS: usize = 1_000_000;

/// What the number of evaluations has to be.
pub(super) const STEPS: &str = "enough for a move (1, or 2 with Metropolis), at most 1,000,000";

/// How the proposal of a Langevin move is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Acceptance {
    /// Every proposal is accepted: the unadjusted Langevin algorithm. Its density has an error of O(h²) and blurs
    /// modes narrower than h.
    Always,
    /// A proposal is accepted with probability min(1, exp((E − E′)/T) q(z|z′)/q(z′|z)), so that the chain preserves
    /// exp(−E/T) for steps of any length (MALA, Roberts & Tweedie 1996).
    Metropolis,
}

impl Acceptance {
    /// Network evaluations of a single move: with Metropolis, the energy at its origin is needed, too.
    pub(super) fn least_steps(self) -> usize {
        match self {
            Acceptance::Always => 1,
            Acceptance::Metropolis => 2,
        }
    }
}

impl Default for Langevin {
    fn default() -> Self {
        Langevin { steps: 400, candidates: 0.3, first: 2.0, last: 0.02, acceptance: Acceptance::Metropolis }
    }
}

/// The buffers of the chains of a tile.
#[derive(Debug, Clone, Default)]
pub(super) struct Walk<F> {
    pub(super) pass: Pass<F>,
    proposal: Vec<F>, // z′: (n, d)
    noise: Vec<F>,    // ξ: (n, d)
    e: Vec<F>,        // E(z): (n)
    g: Vec<F>,        // ∇E(z): (n, d)
    /// Number of accepted proposals, over all chains and moves.
    pub(super) accepted: usize,
}

/// δ = −(h²/2) g, no longer than h.
fn drift<F: Real>(g: &[F], h: F) -> impl Iterator<Item = F> {
    let norm = g.iter().map(|&g| g * g).sum::<F>().sqrt();
    let half = F::of(0.5) * h;
    // A gradient that is NaN moves nothing.
    let scale = if norm.is_finite() { half.min(norm.recip()) } else { F::zero() };
    g.iter().map(move |&g| -h * scale * g)
}

impl Langevin {
    pub(super) fn validate(self) -> Result<()> {
        let length = |h: f64| h > 0.0 && h <= 100.0;
        let least = self.acceptance.least_steps();
        check((least..=MOST_STEPS).contains(&self.steps), "Langevin::steps", self.steps, STEPS)?;
        check(
            (0.0..1.0).contains(&self.candidates),
            "Langevin::candidates",
            self.candidates,
            "0 or more, less than 1",
        )?;
        check(length(self.first), "Langevin::first", self.first, "more than 0, at most 100")?;
        check(length(self.last), "Langevin::last", self.last, "more than 0, at most 100")
    }

    /// The number of candidates for a start, which leaves at least one move.
    pub(super) fn candidates(self) -> usize {
        ((self.candidates * self.steps as f64) as usize).min(self.steps - self.acceptance.least_steps())
    }

    /// The same without candidates: a chain that continues from where it is, for `steps` evaluations.
    pub(super) fn moves(self, steps: usize) -> Self {
        Langevin { steps, candidates: 0.0, ..self }
    }

    /// The steps h of `moves` moves.
    fn lengths(self, moves: usize) -> impl Iterator<Item = f64> {
        let ratio = self.last / self.first;
        (0..moves).map(move |k| self.first * ratio.powf(k as f64 / moves.saturating_sub(1).max(1) as f64))
    }

    /// Moves the rows z: (n, d), each a chain with its own stream and condition, c: (n, k) or (1, k), without
    /// candidates. Returns how often the network ran on each row.
    pub(super) fn walk<F: Real>(
        self,
        energy: &Energy,
        w: Weights<F>,
        temperature: f64,
        z: &mut [F],
        c: &[F],
        rngs: &mut [Rng],
        walk: &mut Walk<F>,
    ) -> usize {
        walk.accepted = 0;
        let moves = self.steps + 1 - self.acceptance.least_steps();
        for (k, length) in self.lengths(moves).enumerate() {
            // Judging a proposal has already computed the energy and the gradient where the chain is now.
            if k == 0 || self.acceptance == Acceptance::Always {
                energy.evaluate(w, z, c, &mut walk.pass);
                std::mem::swap(&mut walk.e, &mut walk.pass.e);
                std::mem::swap(&mut walk.g, &mut walk.pass.g);
            }
            match self.acceptance {
                Acceptance::Always => walk.go(length, temperature, z, rngs),
                Acceptance::Metropolis => {
                    walk.propose(length, temperature, z, rngs);
                    energy.evaluate(w, &walk.proposal, c, &mut walk.pass);
                    walk.judge(length, temperature, z, rngs);
                }
            }
        }
        self.steps
    }
}

/// One move of every chain. The energies and gradients at the present z: (n, d) are in `e` and `g`.
impl<F: Real> Walk<F> {
    /// z ← z + δ(z) + √T h ξ.
    fn go(&mut self, length: f64, temperature: f64, z: &mut [F], rngs: &mut [Rng]) {
        let (d, h, sd) = (z.len() / rngs.len(), F::of(length), F::of(length * temperature.sqrt()));
        for ((z, g), rng) in z.chunks_exact_mut(d).zip(self.g.chunks_exact(d)).zip(&mut *rngs) {
            for (z, delta) in z.iter_mut().zip(drift(g, h)) {
                *z += delta + sd * F::normal(rng);
            }
        }
        self.accepted += rngs.len();
    }

    /// z′ = z + δ(z) + √T h ξ.
    fn propose(&mut self, length: f64, temperature: f64, z: &[F], rngs: &mut [Rng]) {
        let Walk { proposal, noise, g, .. } = self;
        let (d, h, sd) = (z.len() / rngs.len(), F::of(length), F::of(length * temperature.sqrt()));
        proposal.clear();
        noise.clear();
        for ((z, g), rng) in z.chunks_exact(d).zip(g.chunks_exact(d)).zip(rngs) {
            for (&z, delta) in z.iter().zip(drift(g, h)) {
                let xi = F::normal(rng);
                noise.push(xi);
                proposal.push(z + delta + sd * xi);
            }
        }
    }

    /// z ← z′ with the Metropolis probability. The energies and gradients at z′ are in `pass`.
    fn judge(&mut self, length: f64, temperature: f64, z: &mut [F], rngs: &mut [Rng]) {
        let Walk { pass, proposal, noise, e, g, accepted } = self;
        let (d, h) = (z.len() / rngs.len(), F::of(length));
        for (r, rng) in rngs.iter_mut().enumerate() {
            let row = r * d..(r + 1) * d;
            let (to, g_to, xi) = (&proposal[row.clone()], &pass.g[row.clone()], &noise[row.clone()]);
            // ln q(z|z′) − ln q(z′|z) = ‖ξ‖²/2 − ‖z − z′ − δ(z′)‖²/2Th².
            let (mut there, mut back) = (0.0, 0.0);
            for (((&z, &to), &xi), delta) in z[row.clone()].iter().zip(to).zip(xi).zip(drift(g_to, h)) {
                there += xi.f64().powi(2);
                back += (z - to - delta).f64().powi(2);
            }
            let downhill = (e[r] - pass.e[r]).f64() / temperature;
            let log_ratio = downhill + 0.5 * (there - back / (temperature * length * length));
            // NaN at a temperature near 0, or where the energy overflows: such a move is rejected.
            if rng.random::<f64>().ln() < log_ratio {
                *accepted += 1;
                z[row.clone()].copy_from_slice(to);
                g[row].copy_from_slice(g_to);
                e[r] = pass.e[r];
            }
        }
    }
}

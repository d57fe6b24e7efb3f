use rand::Rng as _;

use crate::adversarial::{AdversarialLoss, Opposed, Pairs, Pass as CriticPass, Player, pay_in_pairs};
use crate::diffusion::{
    At, Drawn, Estimate, MseScratch, NoiseLevel, NoiseMse, NoiseNet, Pass, Plan, Scratch, Trained,
    drop_conditions, reverse,
};
use crate::engine::{Batch, Loss, Progress, RowStreams};
use crate::nn::{Network, Weights};
use crate::numeric::Real;
use crate::numeric::rng::{Rng, Streams};

/// A sampler of K steps as a generator: rows of noise taken to one of its steps by the present parameters, and what
/// the network makes of them there.
#[derive(Debug)]
pub(super) struct Steps<'a, F> {
    pub(super) net: &'a NoiseNet<F>,
    pub(super) plan: &'a Plan,
    /// Of each step.
    pub(super) estimates: &'a [Estimate],
    /// The share of rows whose condition is dropped.
    pub(super) dropout: f64,
}

/// Rows on their way.
#[derive(Default)]
pub(super) struct States<F> {
    steps: Vec<usize>,       // (n): the step before which the row is
    levels: Vec<NoiseLevel>, // (n): of that step
    pub(super) x: Vec<F>,    // (n, d)
    c: Vec<F>,               // (n, k)
    pub(super) told: Vec<F>, // what the critic is told, c and which step: (n, k + K)
    walk: Vec<F>,            // (n, d)
    scratch: Scratch<F, Pass<F>>,
}

impl<F: Real> Steps<'_, F> {
    fn draw(&self, p: &[F], rows: usize, c: &[F], rng: &mut Rng, states: &mut States<F>) {
        let States { steps, levels, x, c: left, told, walk, scratch } = states;
        let (d, k, count) = (self.net.dim(), self.net.width(), self.estimates.len());
        drop_conditions(c, k, self.dropout, rng, left);
        // An even comb, as of noise levels: each step has its share of the rows.
        let shift: f64 = rng.random();
        steps.clear();
        steps.extend((0..rows).map(|r| {
            let share = (shift + r as f64 / rows as f64).fract();
            ((share * count as f64) as usize).min(count - 1)
        }));
        levels.clear();
        levels.extend(steps.iter().map(|&step| self.estimates[step].level));
        told.clear();
        for (r, &step) in steps.iter().enumerate() {
            told.extend_from_slice(&left[r * k..][..k]);
            told.extend((0..count).map(|at| if at == step { F::one() } else { F::zero() }));
        }
        x.resize(rows * d, F::zero());
        walk.resize(rows * d, F::zero());
        let streams = RowStreams::new(Streams::from_rng(rng), 0);
        let mut before = 0;
        let trained = Trained { net: self.net, p, c: left };
        reverse(&trained, self.plan, 1.0, streams, scratch, walk, |rows| {
            let all = x.chunks_exact_mut(d).zip(rows.chunks_exact(d)).zip(&*steps);
            all.filter(|(_, step)| **step == before).for_each(|((x, row), _)| x.copy_from_slice(row));
            before += 1;
        });
    }

    fn at<'a>(&self, states: &'a States<F>) -> At<'a, F, NoiseLevel> {
        At { x: &states.x, c: &states.c, levels: &states.levels }
    }

    /// Appends the clean rows by the predictions ε̂.
    fn estimate(&self, states: &States<F>, eps_hat: &[F], clean: &mut Vec<F>) {
        let d = self.net.dim();
        for (r, (x, eps_hat)) in states.x.chunks_exact(d).zip(eps_hat.chunks_exact(d)).enumerate() {
            let Estimate { keep, eps, .. } = self.estimates[states.steps[r]];
            let [keep, eps] = [keep, eps].map(F::of);
            clean.extend(x.iter().zip(eps_hat).map(|(&x, &eps_hat)| keep * x + eps * eps_hat));
        }
    }
}

/// The critic's loss: real rows against what the present parameters make of noise at each step.
#[derive(Debug)]
pub(super) struct Judge<'a, F> {
    pub(super) loss: AdversarialLoss,
    pub(super) critic: &'a Player,
    pub(super) steps: Steps<'a, F>,
    /// The diffusion's parameters in this step.
    pub(super) opponent: Vec<F>,
}

/// The rows that a critic sees.
#[derive(Default)]
pub(super) struct Made<F> {
    pub(super) states: States<F>,
    pub(super) clean: Vec<F>, // (n, d)
    pass: Pass<F>,
}

impl<F: Real> Loss<F> for Judge<'_, F> {
    type Row = F;
    type Drawn = Made<F>;
    type Workspace = Pairs<F>;

    fn part_names(&self) -> &'static [&'static str] {
        &["critic", "penalty"]
    }

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.critic.net.transpose(p, t);
    }

    fn draw(&self, rows: usize, c: &[F], _: Progress, rng: &mut Rng, made: &mut Made<F>) {
        let Made { states, clean, pass } = made;
        self.steps.draw(&self.opponent, rows, c, rng, states);
        clean.clear();
        let eps_hat = self.steps.net.infer(&self.opponent, self.steps.at(states), pass);
        self.steps.estimate(states, eps_hat, clean);
    }

    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x, .. }: Batch<F>,
        Made { states, clean, .. }: &Made<F>,
        weight: F,
        dp: Option<&mut [F]>,
        parts: &mut [f64],
        pairs: &mut Pairs<F>,
    ) -> f64 {
        let rows = Batch { x, c: &states.told };
        pay_in_pairs((self.loss, self.critic), w, rows, clean, weight, dp, parts, pairs)
    }
}

impl Opposed for Judge<'_, f32> {
    fn face(&mut self, diffusion: &[f32]) {
        self.opponent.clear();
        self.opponent.extend_from_slice(diffusion);
    }
}

/// The diffusion's loss: the generator's of the game at the clean rows x̂₀ of the steps, + λ · noise MSE.
#[derive(Debug)]
pub(super) struct Pupil<'a, F> {
    pub(super) loss: AdversarialLoss,
    pub(super) critic: &'a Player,
    pub(super) steps: Steps<'a, F>,
    pub(super) noise: NoiseMse<'a, F>,
    /// λ
    pub(super) hold: f64,
    /// The critic's parameters in this step, and the same transposed.
    pub(super) opponent: (Vec<F>, Vec<F>),
    /// The diffusion's own, which take rows to their steps.
    pub(super) own: Vec<F>,
}

#[derive(Default)]
pub(super) struct Taken<F> {
    pub(super) states: States<F>,
    pub(super) noise: Drawn<NoiseLevel, F>,
}

#[derive(Default)]
pub(super) struct PupilScratch<F> {
    clean: Vec<F>,  // x̂₀, then ε̂'s gradient: (n, d)
    dclean: Vec<F>, // (n, d)
    slopes: Vec<F>, // (n)
    real: Vec<F>,   // D(x): (n)
    pass: Pass<F>,
    critic: CriticPass<F>,
    noise: MseScratch<F>,
}

impl<F: Real> Loss<F> for Pupil<'_, F> {
    type Row = F;
    type Drawn = Taken<F>;
    type Workspace = PupilScratch<F>;

    fn part_names(&self) -> &'static [&'static str] {
        &["noise"]
    }

    fn follow(&mut self, p: &[F]) {
        self.own.clear();
        self.own.extend_from_slice(p);
    }

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.steps.net.transpose(p, t);
    }

    fn draw(&self, rows: usize, c: &[F], progress: Progress, rng: &mut Rng, taken: &mut Taken<F>) {
        self.steps.draw(&self.own, rows, c, rng, &mut taken.states);
        self.noise.draw(rows, c, progress, rng, &mut taken.noise);
    }

    /// The states are held fixed, as if they had been given: what a step gets is not its own doing. Then x̂₀ = keep·x +
    /// eps·ε̂ gives dε̂ = eps · dx̂₀, which is −(σ/α) dx̂₀ but at the last step of some samplers.
    fn loss_grad(
        &self,
        w: Weights<F>,
        batch: Batch<F>,
        Taken { states, noise }: &Taken<F>,
        weight: F,
        mut dp: Option<&mut [F]>,
        parts: &mut [f64],
        scratch: &mut PupilScratch<F>,
    ) -> f64 {
        let PupilScratch { clean, dclean, slopes, real, pass, critic, noise: mse } = scratch;
        let (steps, (p, t)) = (&self.steps, &self.opponent);
        let d = steps.net.dim();
        real.resize(batch.x.len() / d, F::zero());
        self.critic.infer(p, batch.x, &states.told, real, critic);
        clean.clear();
        steps.estimate(states, steps.net.forward(w.p, steps.at(states), pass), clean);
        let mut pays = 0.0;
        slopes.clear();
        for (&fake, &real) in self.critic.forward(p, clean, &states.told, critic).iter().zip(&*real) {
            let (pair, slope) = self.loss.on_generated(fake - real);
            pays += pair.f64();
            slopes.push(weight * slope);
        }
        if let Some(dp) = dp.as_deref_mut() {
            dclean.resize(clean.len(), F::zero());
            self.critic.backward(Weights { p, t }, &states.told, slopes, None, Some(dclean), critic);
            for (dclean, &step) in dclean.chunks_exact_mut(d).zip(&states.steps) {
                let eps = F::of(steps.estimates[step].eps);
                dclean.iter_mut().for_each(|dclean| *dclean = eps * *dclean);
            }
            steps.net.backward(w, steps.at(states), dclean, dp, pass);
        }
        let hold = weight * F::of(self.hold);
        let squares = self.noise.loss_grad(w, batch, noise, hold, dp, &mut [], mse);
        parts[0] += squares;
        pays + self.hold * squares
    }
}

impl Opposed for Pupil<'_, f32> {
    fn face(&mut self, critic: &[f32]) {
        let (p, t) = &mut self.opponent;
        p.clear();
        p.extend_from_slice(critic);
        t.resize(p.len(), 0.0);
        self.critic.net.transpose(p, t);
    }
}

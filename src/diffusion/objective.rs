use std::fmt::Debug;

use rand::Rng as _;

use super::matching::Pairing;
use super::network::{At, Level, Noise, Parametrization, Pass, PathNet};
use super::path::{Noising, Path};
use super::schedule::NoiseLevel;
use crate::engine::{Batch, Loss, Progress};
use crate::nn::{Direction, Weights};
use crate::numeric::Real;
use crate::numeric::assignment::Assignment;
use crate::numeric::rng::Rng;

/// E ‖ŷ(x_t) − y‖² / d over rows x, far ends z of their paths and levels: x_t is the place on the path and y what
/// the path has to predict of x and z. For noise y = ε (Ho et al. 2020, eq. 14), for lines y = x₁ − x₀ (Lipman et
/// al. 2023, eq. 23 with σ_min = 0).
///
/// Some rows lose their condition, so that the network learns its prediction without one, too (Ho & Salimans 2022,
/// algorithm 1).
#[derive(Debug)]
pub(crate) struct Regression<'a, F, P, E> {
    pub(crate) net: &'a PathNet<F, P>,
    pub(crate) ends: E,
    /// The share of rows whose condition is dropped.
    pub(crate) dropout: f64,
}

/// The regression of the noise in rows.
pub(crate) type NoiseMse<'a, F = f32> = Regression<'a, F, Noise, Levels<'a>>;

/// What a training draws for its rows: levels of the path, and where it ends.
pub(crate) trait Ends<L>: Debug + Sync {
    /// The level at the share u, in [0, 1), of all.
    fn level(&self, u: f64) -> L;

    /// Fills z: (n, d) with the far ends of n rows; `row` is a buffer of a row.
    fn draw<F: Real>(&self, d: usize, rng: &mut Rng, z: &mut [F], row: &mut Vec<f64>);

    /// Which end goes with which row.
    fn pairing(&self) -> Pairing {
        Pairing::Independent
    }
}

/// Fills `left` with the conditions c: (n, width), a share of them with zeros in their place.
pub(crate) fn drop_conditions<F: Real>(c: &[F], width: usize, share: f64, rng: &mut Rng, left: &mut Vec<F>) {
    left.clear();
    left.extend_from_slice(c);
    if !c.is_empty() {
        for c in left.chunks_exact_mut(width) {
            if rng.random::<f64>() < share {
                c.fill(F::zero());
            }
        }
    }
}

/// Where the training of a noise predictor takes its levels from, uniformly.
#[derive(Debug)]
pub(crate) enum Levels<'a> {
    /// The levels of t = 1 … T.
    Timesteps(&'a [NoiseLevel]),
    /// λ between two ends.
    LogSnr(f64, f64),
}

impl Ends<NoiseLevel> for Levels<'_> {
    fn level(&self, u: f64) -> NoiseLevel {
        match *self {
            Levels::Timesteps(levels) => levels[((u * levels.len() as f64) as usize).min(levels.len() - 1)],
            Levels::LogSnr(from, to) => NoiseLevel::at_log_snr(from + u * (to - from)),
        }
    }

    fn draw<F: Real>(&self, _: usize, rng: &mut Rng, eps: &mut [F], _: &mut Vec<f64>) {
        eps.fill_with(|| F::normal(rng));
    }
}

/// The levels and the far ends of some rows, and what is left of their conditions.
pub(crate) struct Drawn<L, F> {
    pub(crate) levels: Vec<L>, // (n)
    pub(crate) ends: Vec<F>,   // (n, d)
    pub(crate) c: Vec<F>,      // (n, k)
    pub(crate) row: Vec<f64>,  // (d)
}

impl<L, F> Default for Drawn<L, F> {
    fn default() -> Self {
        Drawn { levels: Vec::new(), ends: Vec::new(), c: Vec::new(), row: Vec::new() }
    }
}

#[derive(Default)]
pub(crate) struct Scratch<F> {
    place: Vec<F>,  // x_t: (n, d)
    target: Vec<F>, // y: (n, d)
    dy: Vec<F>,     // (n, d)
    assignment: Assignment,
    pass: Pass<F>,
}

impl<F: Real, P: Parametrization, E: Ends<Level<P>>> Loss<F> for Regression<'_, F, P, E> {
    type Row = F;
    type Drawn = Drawn<Level<P>, F>;
    type Workspace = Scratch<F>;

    fn tile(&self) -> usize {
        self.ends.pairing().tile()
    }

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.net.transpose(p, t);
    }

    fn draw(&self, rows: usize, c: &[F], _: Progress, rng: &mut Rng, drawn: &mut Self::Drawn) {
        // One draw shifts an even comb of levels: each is uniform, and together they leave no gap, which
        // quiets the gradient (Kingma et al. 2021, appendix I).
        let shift: f64 = rng.random();
        drawn.levels.clear();
        drawn.levels.extend((0..rows).map(|r| self.ends.level((shift + r as f64 / rows as f64).fract())));
        drawn.ends.resize(rows * self.net.dim(), F::zero());
        self.ends.draw(self.net.dim(), rng, &mut drawn.ends, &mut drawn.row);
        drop_conditions(c, self.net.width(), self.dropout, rng, &mut drawn.c);
    }

    /// With the residual r = ŷ − y: loss = Σ r²/d, dŷ = weight · 2r/d. Which end goes with which row does not
    /// depend on p.
    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x, .. }: Batch<F>,
        drawn: &Self::Drawn,
        weight: F,
        dp: Option<&mut [F]>,
        _: &mut [f64],
        scratch: &mut Self::Workspace,
    ) -> f64 {
        let d = self.net.dim();
        let Scratch { place, target, dy, assignment, pass } = scratch;
        let ends = &drawn.ends;
        let partner = self.ends.pairing().partners(d, x, ends, assignment);
        place.clear();
        target.clear();
        for (r, (x, &level)) in x.chunks_exact(d).zip(&drawn.levels).enumerate() {
            let end = &ends[partner.map_or(r, |partner| partner[r]) * d..][..d];
            P::Path::place(level, x, end, place);
            target.extend(x.iter().zip(end).map(|(&x, &end)| P::Path::target(x, end)));
        }
        let at = At { x: place, c: &drawn.c, levels: &drawn.levels };
        let predicted = self.net.forward(w.p, at, pass);
        let slope = weight * F::of(2.0 / d as f64);
        let mut loss = 0.0;
        dy.clear();
        dy.extend(predicted.iter().zip(&*target).map(|(&predicted, &target)| {
            let residual = predicted - target;
            loss += residual.f64().powi(2);
            slope * residual
        }));
        if let Some(dp) = dp {
            self.net.backward(w, at, dy, dp, pass);
        }
        loss / d as f64
    }
}

/// Sliced score matching of a noise predictor at the levels of a ladder, with one direction v per row:
///
/// E [‖ε̂‖² − 2σ vᵀ(∂ε̂/∂x)v] / d, x = αx₀ + σε, v uniform on {−1, 1}ᵈ.
///
/// With s = −ε̂/σ this is 2σ² (vᵀ(∂s/∂x)v + ½‖s‖²) (Song et al. 2019, variance-reduced). Unlike [`NoiseMse`] it never
/// looks at ε. In the mean, Eᵥ vᵀJv = tr J and Stein's identity E⟨ε, ε̂⟩ = σ E tr(∂ε̂/∂x) make it that
/// loss less 1, the mean of ‖ε‖²/d.
#[derive(Debug)]
pub(crate) struct SlicedScore<'a, F = f32>(pub(crate) NoiseMse<'a, F>);

/// The levels, the noise, and v.
#[derive(Default)]
pub(crate) struct Sliced<F> {
    pub(crate) noisy: Drawn<NoiseLevel, F>,
    pub(crate) v: Vec<F>, // (n, d)
}

#[derive(Default)]
pub(crate) struct SlicedScratch<F> {
    x: Vec<F>,       // (n, d)
    deps: Vec<F>,    // (n, d)
    depsdot: Vec<F>, // (n, d)
    pass: Pass<F>,
}

impl<F: Real> Loss<F> for SlicedScore<'_, F> {
    type Row = F;
    type Drawn = Sliced<F>;
    type Workspace = SlicedScratch<F>;

    fn transpose(&self, p: &[F], t: &mut [F]) {
        self.0.net.transpose(p, t);
    }

    fn draw(&self, rows: usize, c: &[F], progress: Progress, rng: &mut Rng, noise: &mut Sliced<F>) {
        self.0.draw(rows, c, progress, rng, &mut noise.noisy);
        noise.v.clear();
        let sign = |up| if up { F::one() } else { -F::one() };
        noise.v.extend((0..rows * self.0.net.dim()).map(|_| sign(rng.random())));
    }

    /// dε̂ = weight · 2ε̂/d, and of the tangent ε̂˙ = (∂ε̂/∂x)v: dε̂˙ = −weight · 2σv/d.
    fn loss_grad(
        &self,
        w: Weights<F>,
        Batch { x, .. }: Batch<F>,
        noise: &Sliced<F>,
        weight: F,
        dp: Option<&mut [F]>,
        _: &mut [f64],
        scratch: &mut Self::Workspace,
    ) -> f64 {
        let SlicedScratch { x: blurred, deps, depsdot, pass } = scratch;
        let (net, Sliced { noisy, v }) = (self.0.net, noise);
        let d = net.dim();
        blurred.clear();
        for ((x, eps), &level) in x.chunks_exact(d).zip(noisy.ends.chunks_exact(d)).zip(&noisy.levels) {
            Noising::place(level, x, eps, blurred);
        }
        let at = At { x: blurred, c: &noisy.c, levels: &noisy.levels };
        let slope = weight * F::of(2.0 / d as f64);
        let mut loss = 0.0;
        deps.clear();
        deps.extend(net.forward(w.p, at, pass).iter().map(|&eps_hat| {
            loss += eps_hat.f64().powi(2);
            slope * eps_hat
        }));
        depsdot.clear();
        let along = Direction { x: v, moments: &[] };
        let epsdot = net.jvp(w.p, at, along, pass);
        for (i, (&v, &epsdot)) in v.iter().zip(epsdot).enumerate() {
            let sigma = F::of(noisy.levels[i / d].sigma);
            loss -= (F::of(2.0) * sigma * v * epsdot).f64();
            depsdot.push(-slope * sigma * v);
        }
        if let Some(dp) = dp {
            net.jvp_backward(w, at, along, (deps, depsdot), dp, pass);
        }
        loss / d as f64
    }
}

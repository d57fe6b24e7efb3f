use super::schedule::NoiseLevel;
use super::{Beyond, DiffusionConfig};
use crate::error::Result;
use crate::nn::fade::Fade;
use crate::nn::timed::{Timed, clamp};
use crate::nn::{Direction, Inputs, Moment, SecondOrder, VectorField, Weights, Workspace, grow};
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// The noise predictor ε̂(x, λ) of rows x: (n, d), at a level each.
///
/// With v a network of x and λ, blurred by σ:
///
/// ε̂ = σ x + α v.
///
/// A network that outputs v (the velocity of Salimans & Ho 2022) need not repeat its input: v = 0 is the
/// noise of data that are standard normal, and at high noise, where α is small, its errors do not count.
/// From 12 to 18 standard deviations, where there are no data, v fades out, and beyond ε̂ is that noise: the
/// density goes on as the normal one. With [`Beyond::Point`] v does not fade, and beyond x̃ = clamp(x, ±20) ε̂
/// goes on as the noise of a point there, σ x̃ + α v + (x − x̃)/σ.
#[derive(Debug, Clone)]
pub(crate) struct NoiseNet {
    velocity: Timed,
    beyond: Beyond,
}

/// The buffers of one batch of rows, sized on first use and kept: `forward` may be followed by the others.
#[derive(Debug, Default)]
pub(crate) struct Pass<F> {
    levels: Vec<[F; 2]>,  // (α, σ) of each level: (n) or (1)
    moments: Vec<Moment>, // as many
    eps: Vec<F>,          // v, then ε̂: (n, d)
    epsdot: Vec<F>,       // v̇, then ε̇: (n, d)
    dv: Vec<F>,           // (n, d)
    dvdot: Vec<F>,        // (n, d)
    fade: Fade<F>,
    workspace: Workspace,
}

impl<F: Real> Pass<F> {
    /// Whether ε̂ = σ x at a row and about it: it is too far for v.
    pub(super) fn is_normal(&self, row: usize) -> bool {
        self.fade.rests(row)
    }

    fn at(&mut self, levels: &[NoiseLevel]) {
        self.levels.clear();
        self.levels.extend(levels.iter().map(|l| [l.alpha, l.sigma].map(F::of)));
        self.moments.clear();
        self.moments.extend(levels.iter().map(|l| Moment { time: l.log_snr, blur: l.sigma }));
    }
}

impl NoiseNet {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for an odd or no number of time features.
    pub(crate) fn new(config: &DiffusionConfig) -> Result<Self> {
        let DiffusionConfig { dim, hidden, activation, octaves, time_features, .. } = config;
        let velocity = Timed::new(*dim, hidden, *activation, *octaves, *time_features)?;
        Ok(NoiseNet { velocity, beyond: config.beyond })
    }

    pub(crate) fn dim(&self) -> usize {
        self.velocity.dim()
    }

    pub(crate) fn num_params(&self) -> usize {
        self.velocity.num_params()
    }

    /// The table of p.
    #[cfg(feature = "safetensors")]
    pub(crate) fn layout(&self) -> crate::nn::Layout {
        self.velocity.layout()
    }

    pub(crate) fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        self.velocity.init(p, rng);
    }

    /// Fills the part of t that `backward` reads.
    pub(crate) fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        self.velocity.transpose(p, t);
    }

    /// x, or with [`Beyond::Point`] x̃.
    fn near<F: Real>(&self, x: F) -> F {
        match self.beyond {
            Beyond::Normal => x,
            Beyond::Point => clamp(x),
        }
    }

    /// From v to ε̂ in place.
    fn to_noise<F: Real>(&self, x: &[F], levels: &[[F; 2]], v: &mut [F], fade: &mut Fade<F>) {
        let dim = self.dim();
        if self.beyond == Beyond::Normal {
            fade.apply(dim, x, v);
        }
        let shared = levels.len() * dim < x.len();
        for (r, (x, v)) in x.chunks_exact(dim).zip(v.chunks_exact_mut(dim)).enumerate() {
            let [alpha, sigma] = levels[if shared { 0 } else { r }];
            for (&x, v) in x.iter().zip(v) {
                let near = self.near(x);
                *v = sigma * near + alpha * *v + (x - near) / sigma;
            }
        }
    }

    /// ε̂ of rows x: (n, d), all at one level, nothing kept.
    pub(crate) fn infer<'a, F: Real>(
        &self,
        p: &[F],
        x: &[F],
        level: NoiseLevel,
        pass: &'a mut Pass<F>,
    ) -> &'a [F] {
        pass.at(&[level]);
        let v = grow(&mut pass.eps, x.len());
        let at = Inputs { x, moments: &pass.moments, condition: &[] };
        self.velocity.infer(p, at, v, &mut pass.workspace);
        self.to_noise(x, &pass.levels, v, &mut pass.fade);
        v
    }

    /// ε̂ of rows x: (n, d), at `levels`, one for each row or a single one for all.
    pub(crate) fn forward<'a, F: Real>(
        &self,
        p: &[F],
        x: &[F],
        levels: &[NoiseLevel],
        pass: &'a mut Pass<F>,
    ) -> &'a [F] {
        pass.at(levels);
        let v = grow(&mut pass.eps, x.len());
        let at = Inputs { x, moments: &pass.moments, condition: &[] };
        self.velocity.forward(p, at, v, &mut pass.workspace);
        self.to_noise(x, &pass.levels, v, &mut pass.fade);
        v
    }

    /// dp += ∂⟨dε, ε̂⟩/∂p after `forward` on the same x with a level for each row: dv = α dε.
    pub(crate) fn backward<F: Real>(
        &self,
        w: Weights<F>,
        x: &[F],
        deps: &[F],
        dp: &mut [F],
        pass: &mut Pass<F>,
    ) {
        let dv = pass.fade.backward(self.dim(), self.scaled(deps, &pass.levels, &mut pass.dv));
        let at = Inputs { x, moments: &pass.moments, condition: &[] };
        self.velocity.backward(w, at, dv, Some(dp), None, &mut pass.workspace);
    }

    /// dp += ∂(⟨dε, ε̂⟩ + ⟨dε̇, ε̇⟩)/∂p after `forward` with a level for each row, and `jvp`, on the same x and ẋ:
    /// dv = α dε, dv̇ = α dε̇. The levels have no tangent.
    pub(crate) fn jvp_backward<F: Real>(
        &self,
        w: Weights<F>,
        (x, xdot): (&[F], &[F]),
        deps: &[F],
        depsdot: &[F],
        dp: &mut [F],
        pass: &mut Pass<F>,
    ) {
        let dv = self.scaled(deps, &pass.levels, &mut pass.dv);
        let dvdot = self.scaled(depsdot, &pass.levels, &mut pass.dvdot);
        let (dv, dvdot) = pass.fade.jvp_backward(self.dim(), dv, dvdot);
        let at = Inputs { x, moments: &pass.moments, condition: &[] };
        let dot = Direction { x: xdot, moments: &[] };
        self.velocity.jvp_backward(w, at, dot, dv, dvdot, dp, &mut pass.workspace);
    }

    /// α dε, row by row: what reaches v.
    fn scaled<'a, F: Real>(&self, deps: &[F], levels: &[[F; 2]], dv: &'a mut Vec<F>) -> &'a [F] {
        let (d, dv) = (self.dim(), grow(dv, deps.len()));
        for ((dv, deps), &[alpha, _]) in dv.chunks_exact_mut(d).zip(deps.chunks_exact(d)).zip(levels) {
            dv.iter_mut().zip(deps).for_each(|(dv, &deps)| *dv = alpha * deps);
        }
        dv
    }

    /// ε̇ = (∂ε̂/∂x) ẋ after `forward` on the same x.
    pub(crate) fn jvp<'a, F: Real>(&self, p: &[F], x: &[F], xdot: &[F], pass: &'a mut Pass<F>) -> &'a [F] {
        let d = self.dim();
        let epsdot = grow(&mut pass.epsdot, x.len());
        let at = Inputs { x, moments: &pass.moments, condition: &[] };
        self.velocity.jvp(p, at, Direction { x: xdot, moments: &[] }, epsdot, &mut pass.workspace);
        pass.fade.jvp(d, x, xdot, epsdot);
        let shared = pass.levels.len() * d < x.len();
        for (i, ((&x, &xdot), v)) in x.iter().zip(xdot).zip(&mut *epsdot).enumerate() {
            let [alpha, sigma] = pass.levels[if shared { 0 } else { i / d }];
            let skip = if self.near(x) == x { sigma } else { sigma.recip() };
            *v = skip * xdot + alpha * *v;
        }
        epsdot
    }
}

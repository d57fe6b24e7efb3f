use super::path::Noising;
use super::predictor::{NoisePredictor, PathNet, Trained};
use super::schedule::NoiseLevel;
use super::{Beyond, DiffusionConfig};
use crate::error::Result;
use crate::nn::timed::{self, Moment, Timed, clamp};
use crate::nn::{Weights, grow};
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
#[derive(Debug, Clone, Default)]
pub(crate) struct Pass<F> {
    levels: Vec<[F; 2]>, // (α, σ) of each level: (n) or (1)
    dv: Vec<F>,          // (n, d)
    dvdot: Vec<F>,       // (n, d)
    velocity: timed::Pass<F>,
}

impl<F: Real> Pass<F> {
    fn at(&mut self, levels: &[NoiseLevel]) {
        self.levels.clear();
        self.levels.extend(levels.iter().map(|l| [l.alpha, l.sigma].map(F::of)));
    }
}

fn moment(level: &NoiseLevel) -> Moment {
    Moment { time: level.log_snr, blur: level.sigma }
}

impl NoiseNet {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for an odd or no number of time features.
    pub(crate) fn new(config: &DiffusionConfig) -> Result<Self> {
        let DiffusionConfig { dim, hidden, activation, octaves, time_features, .. } = config;
        let velocity = Timed::new(*dim, hidden, *activation, *octaves, *time_features)?;
        let beyond = config.beyond;
        Ok(NoiseNet { velocity: if beyond == Beyond::Normal { velocity.fading() } else { velocity }, beyond })
    }

    /// The table of p.
    #[cfg(feature = "safetensors")]
    pub(crate) fn layout(&self) -> crate::nn::Layout {
        self.velocity.layout()
    }

    /// x, or with [`Beyond::Point`] x̃.
    fn near<F: Real>(&self, x: F) -> F {
        match self.beyond {
            Beyond::Normal => x,
            Beyond::Point => clamp(x),
        }
    }

    /// From v to ε̂ in place.
    fn to_noise<F: Real>(&self, x: &[F], levels: &[[F; 2]], v: &mut [F]) {
        let dim = self.dim();
        let shared = levels.len() * dim < x.len();
        for (r, (x, v)) in x.chunks_exact(dim).zip(v.chunks_exact_mut(dim)).enumerate() {
            let [alpha, sigma] = levels[if shared { 0 } else { r }];
            for (&x, v) in x.iter().zip(v) {
                let near = self.near(x);
                *v = sigma * near + alpha * *v + (x - near) / sigma;
            }
        }
    }

    /// dp += ∂(⟨dε, ε̂⟩ + ⟨dε̇, ε̇⟩)/∂p after `forward` with a level for each row, and `jvp`: dv = α dε, dv̇ =
    /// α dε̇. The levels have no tangent.
    pub(crate) fn jvp_backward<F: Real>(
        &self,
        w: Weights<F>,
        deps: &[F],
        depsdot: &[F],
        dp: &mut [F],
        pass: &mut Pass<F>,
    ) {
        let dv = self.scaled(deps, &pass.levels, &mut pass.dv);
        let dvdot = self.scaled(depsdot, &pass.levels, &mut pass.dvdot);
        self.velocity.jvp_backward(w, dv, dvdot, dp, &mut pass.velocity);
    }

    /// α dε, row by row: what reaches v.
    fn scaled<'a, F: Real>(&self, deps: &[F], levels: &[[F; 2]], dv: &'a mut Vec<F>) -> &'a [F] {
        let (d, dv) = (self.dim(), grow(dv, deps.len()));
        for ((dv, deps), &[alpha, _]) in dv.chunks_exact_mut(d).zip(deps.chunks_exact(d)).zip(levels) {
            dv.iter_mut().zip(deps).for_each(|(dv, &deps)| *dv = alpha * deps);
        }
        dv
    }
}

/// The path from data to noise, in λ.
impl PathNet for NoiseNet {
    type Path = Noising;
    type Workspace<F: Real> = Pass<F>;

    fn dim(&self) -> usize {
        self.velocity.dim()
    }

    fn num_params(&self) -> usize {
        self.velocity.num_params()
    }

    fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        self.velocity.init(p, rng);
    }

    fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        self.velocity.transpose(p, t);
    }

    fn infer<'a, F: Real>(&self, p: &[F], x: &[F], level: NoiseLevel, pass: &'a mut Pass<F>) -> &'a [F] {
        pass.at(&[level]);
        let v = self.velocity.infer(p, x, moment(&level), &mut pass.velocity);
        self.to_noise(x, &pass.levels, v);
        v
    }

    fn forward<'a, F: Real>(
        &self,
        p: &[F],
        x: &[F],
        levels: &[NoiseLevel],
        pass: &'a mut Pass<F>,
    ) -> &'a [F] {
        pass.at(levels);
        let v = self.velocity.forward(p, x, levels.iter().map(moment), &mut pass.velocity);
        self.to_noise(x, &pass.levels, v);
        v
    }

    /// dv = α dε.
    fn backward<F: Real>(&self, w: Weights<F>, deps: &[F], dp: &mut [F], pass: &mut Pass<F>) {
        let dv = self.scaled(deps, &pass.levels, &mut pass.dv);
        self.velocity.backward(w, dv, dp, &mut pass.velocity);
    }

    fn jvp<'a, F: Real>(&self, p: &[F], x: &[F], xdot: &[F], pass: &'a mut Pass<F>) -> &'a [F] {
        let d = self.dim();
        let epsdot = self.velocity.jvp(p, x, xdot, &mut pass.velocity);
        let shared = pass.levels.len() * d < x.len();
        for (i, ((&x, &xdot), v)) in x.iter().zip(xdot).zip(&mut *epsdot).enumerate() {
            let [alpha, sigma] = pass.levels[if shared { 0 } else { i / d }];
            let skip = if self.near(x) == x { sigma } else { sigma.recip() };
            *v = skip * xdot + alpha * *v;
        }
        epsdot
    }

    fn rests<F: Real>(pass: &Pass<F>, row: usize) -> bool {
        pass.velocity.rests(row)
    }
}

impl<F: Real> NoisePredictor<F> for Trained<'_, F, NoiseNet> {
    type Scratch = Pass<F>;

    fn dim(&self) -> usize {
        self.net.dim()
    }

    fn noise<'a>(&self, x: &[F], level: NoiseLevel, pass: &'a mut Pass<F>) -> &'a [F] {
        self.net.infer(self.p, x, level, pass)
    }
}

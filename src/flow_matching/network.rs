use super::{Coupling, FlowMatchingConfig, Source};
use crate::error::Result;
use crate::nn::fade::Fade;
use crate::nn::timed::Timed;
use crate::nn::{Direction, Inputs, Moment, VectorField, Weights, Workspace, grow};
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// The velocity v̂(x, t) of rows x: (n, d), at a time each: a network of x and of the time
///
/// τ = 2 ln((t + δ)/(1 − t + δ)),
///
/// the log signal-to-noise ratio of x_t, which resolves both ends. Where the source is independent Gaussian
/// noise, features that its share 1 − t of x_t hides are faded out; where it is matched to the data it hides
/// nothing, and v has edges between the rows that go to one mode and to the next. v̂ starts at 0: an untrained
/// model leaves every row where it is. From a Gaussian source every model does so with rows beyond 18 standard
/// deviations, where v̂ has faded out; from others, which may be as wide as that, v̂ stays there what it is at 20.
#[derive(Debug, Clone)]
pub(super) struct VelocityNet {
    net: Timed,
    fades: bool,
    /// Whether v̂ comes to rest far from all data.
    rests: bool,
}

/// The buffers of one batch of rows, sized on first use and kept: `forward` may be followed by the others.
#[derive(Debug, Default)]
pub(super) struct Pass<F> {
    moments: Vec<Moment>, // (n) or (1)
    v: Vec<F>,            // (n, d)
    vdot: Vec<F>,         // (n, d)
    fade: Fade<F>,
    workspace: Workspace,
}

/// δ: times nearer to an end than this look alike.
const RESOLUTION: f64 = 1e-3;

impl VelocityNet {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for an odd or no number of time features.
    pub(super) fn new(config: &FlowMatchingConfig) -> Result<Self> {
        let FlowMatchingConfig { dim, hidden, activation, octaves, time_features, .. } = config;
        Ok(VelocityNet {
            net: Timed::new(*dim, hidden, *activation, *octaves, *time_features)?,
            rests: matches!(config.source, Source::Gaussian),
            fades: matches!((&config.source, config.coupling), (Source::Gaussian, Coupling::Independent)),
        })
    }

    fn moment(&self, t: f64) -> Moment {
        let time = 2.0 * ((t + RESOLUTION) / (1.0 - t + RESOLUTION)).ln();
        Moment { time, blur: if self.fades { 1.0 - t } else { 0.0 } }
    }

    pub(super) fn dim(&self) -> usize {
        self.net.dim()
    }

    pub(super) fn num_params(&self) -> usize {
        self.net.num_params()
    }

    /// The table of p.
    #[cfg(feature = "safetensors")]
    pub(super) fn layout(&self) -> crate::nn::Layout {
        self.net.layout()
    }

    pub(super) fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        self.net.init(p, rng);
    }

    /// Fills the part of t that `backward` reads.
    pub(super) fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        self.net.transpose(p, t);
    }

    /// v̂ of rows x: (n, d), all at time t, nothing kept.
    pub(super) fn infer<'a, F: Real>(&self, p: &[F], x: &[F], t: f64, pass: &'a mut Pass<F>) -> &'a [F] {
        let v = grow(&mut pass.v, x.len());
        let at = Inputs { x, moments: &[self.moment(t)], condition: &[] };
        self.net.infer(p, at, v, &mut pass.workspace);
        self.fade(x, v, &mut pass.fade);
        v
    }

    /// v̂ of rows x: (n, d), at the times t: (n), or (1) for all.
    pub(super) fn forward<'a, F: Real>(&self, p: &[F], x: &[F], t: &[f64], pass: &'a mut Pass<F>) -> &'a [F] {
        pass.moments.clear();
        pass.moments.extend(t.iter().map(|&t| self.moment(t)));
        let v = grow(&mut pass.v, x.len());
        let at = Inputs { x, moments: &pass.moments, condition: &[] };
        self.net.forward(p, at, v, &mut pass.workspace);
        self.fade(x, v, &mut pass.fade);
        v
    }

    fn fade<F: Real>(&self, x: &[F], v: &mut [F], fade: &mut Fade<F>) {
        if self.rests {
            fade.apply(self.dim(), x, v);
        }
    }

    /// dp += ∂⟨dv, v̂⟩/∂p after `forward` on the same x.
    pub(super) fn backward<F: Real>(
        &self,
        w: Weights<F>,
        x: &[F],
        dv: &[F],
        dp: &mut [F],
        pass: &mut Pass<F>,
    ) {
        let at = Inputs { x, moments: &pass.moments, condition: &[] };
        let dv = pass.fade.backward(self.dim(), dv);
        self.net.backward(w, at, dv, Some(dp), None, &mut pass.workspace);
    }

    /// v̇ = (∂v̂/∂x) ẋ after `forward` on the same x.
    pub(super) fn jvp<'a, F: Real>(&self, p: &[F], x: &[F], xdot: &[F], pass: &'a mut Pass<F>) -> &'a [F] {
        let vdot = grow(&mut pass.vdot, x.len());
        let at = Inputs { x, moments: &pass.moments, condition: &[] };
        self.net.jvp(p, at, Direction { x: xdot, moments: &[] }, vdot, &mut pass.workspace);
        pass.fade.jvp(self.dim(), x, xdot, vdot);
        vdot
    }
}

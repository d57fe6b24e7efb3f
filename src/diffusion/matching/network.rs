use super::{FlowMatchingConfig, Pairing, Source};
use crate::diffusion::path::Line;
use crate::diffusion::predictor::{PathNet, Predictor, Trained};
use crate::error::Result;
use crate::nn::Weights;
use crate::nn::timed::{Moment, Pass, Timed};
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
pub(crate) struct VelocityNet {
    net: Timed,
    fades: bool,
}

/// δ: times nearer to an end than this look alike.
const RESOLUTION: f64 = 1e-3;

impl VelocityNet {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for an odd or no number of time features.
    pub(super) fn new(config: &FlowMatchingConfig) -> Result<Self> {
        let FlowMatchingConfig { dim, hidden, activation, octaves, time_features, .. } = config;
        let net = Timed::new(*dim, hidden, *activation, *octaves, *time_features)?;
        Ok(VelocityNet {
            net: if let Source::Gaussian = config.source { net.fading() } else { net },
            fades: matches!((&config.source, config.coupling), (Source::Gaussian, Pairing::Independent)),
        })
    }

    fn moment(&self, t: f64) -> Moment {
        let time = 2.0 * ((t + RESOLUTION) / (1.0 - t + RESOLUTION)).ln();
        Moment { time, blur: if self.fades { 1.0 - t } else { 0.0 } }
    }

    /// The table of p.
    #[cfg(feature = "safetensors")]
    pub(super) fn layout(&self) -> crate::nn::Layout {
        self.net.layout()
    }
}

impl PathNet for VelocityNet {
    type Path = Line;
    type Workspace<F: Real> = Pass<F>;

    fn dim(&self) -> usize {
        self.net.dim()
    }

    fn num_params(&self) -> usize {
        self.net.num_params()
    }

    fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        self.net.init(p, rng);
    }

    fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        self.net.transpose(p, t);
    }

    fn infer<'a, F: Real>(&self, p: &[F], x: &[F], t: f64, pass: &'a mut Pass<F>) -> &'a [F] {
        self.net.infer(p, x, self.moment(t), pass)
    }

    fn forward<'a, F: Real>(&self, p: &[F], x: &[F], t: &[f64], pass: &'a mut Pass<F>) -> &'a [F] {
        self.net.forward(p, x, t.iter().map(|&t| self.moment(t)), pass)
    }

    fn backward<F: Real>(&self, w: Weights<F>, dv: &[F], dp: &mut [F], pass: &mut Pass<F>) {
        self.net.backward(w, dv, dp, pass);
    }

    fn jvp<'a, F: Real>(&self, p: &[F], x: &[F], xdot: &[F], pass: &'a mut Pass<F>) -> &'a [F] {
        self.net.jvp(p, x, xdot, pass)
    }

    fn rests<F: Real>(pass: &Pass<F>, row: usize) -> bool {
        pass.rests(row)
    }
}

impl<F: Real> Predictor<F, f64> for Trained<'_, F, VelocityNet> {
    type Workspace = Pass<F>;

    fn dim(&self) -> usize {
        self.net.dim()
    }

    fn predict<'a>(&self, x: &[F], t: f64, pass: &'a mut Pass<F>) -> &'a [F] {
        self.net.infer(self.p, x, t, pass)
    }
}

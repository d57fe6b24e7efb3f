use super::{FlowMatchingConfig, Pairing, Source};
use crate::diffusion::network::{Parametrization, PathNet};
#[cfg(feature = "onnx")]
use crate::diffusion::onnx::{Told, tell_time};
use crate::diffusion::path::Line;
use crate::error::Result;
use crate::nn::Moment;
use crate::numeric::Real;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// The velocity v̂(x, t) of rows at a time each, which is what the network outputs. It is told the time as
///
/// τ = 2 ln((t + δ)/(1 − t + δ)),
///
/// the log signal-to-noise ratio of x_t, which resolves both ends. Where the source is independent Gaussian
/// noise, features that its share 1 − t of x_t hides are faded out; where it is matched to the data it hides
/// nothing, and v has edges between the rows that go to one mode and to the next.
#[derive(Debug, Clone)]
pub(crate) struct Velocity {
    /// Whether noise hides features.
    blurs: bool,
}

/// δ: times nearer to an end than this look alike.
const RESOLUTION: f64 = 1e-3;

/// v̂ starts at 0: an untrained model leaves every row where it is. From a Gaussian source every model does so with
/// rows beyond 18 standard deviations, where v̂ has faded out; from others, which may be as wide as that, v̂ stays
/// there what it is at 20.
pub(crate) type VelocityNet<F = f32> = PathNet<F, Velocity>;

impl<F: Real> VelocityNet<F> {
    /// The built-in network of a config.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a network that cannot be made.
    pub(crate) fn new(config: &FlowMatchingConfig) -> Result<Self> {
        let &FlowMatchingConfig { dim, ref network, time_features, condition, .. } = config;
        let field = network.vector_field(dim, condition.width(), time_features)?;
        Ok(PathNet::built_in(field, Self::fades(config), Self::how(config)))
    }

    pub(super) fn fades(config: &FlowMatchingConfig) -> bool {
        matches!(config.source, Source::Gaussian)
    }

    pub(super) fn how(config: &FlowMatchingConfig) -> Velocity {
        Velocity {
            blurs: matches!((&config.source, config.pairing), (Source::Gaussian, Pairing::Independent)),
        }
    }
}

impl Parametrization for Velocity {
    type Path = Line;

    fn tell(&self, t: f64, moments: &mut Vec<Moment>) {
        let time = 2.0 * ((t + RESOLUTION) / (1.0 - t + RESOLUTION)).ln();
        moments.push(Moment { time, blur: if self.blurs { 1.0 - t } else { 0.0 } });
    }

    fn predict<F: Real>(&self, _: f64, _: &[F], _: &mut [F]) {}

    fn pull_back<F: Real>(&self, _: f64, _: &mut [F]) {}

    fn tangent<F: Real>(&self, _: f64, _: &[F], _: &[F], _: &mut [F]) {}

    #[cfg(feature = "onnx")]
    fn numbers(t: f64) -> Vec<f64> {
        vec![t]
    }

    #[cfg(feature = "onnx")]
    fn trace_tell(&self, level: &[Value], graph: &mut Graph) -> Told {
        let [time, blur] = tell_time(level[0], RESOLUTION, self.blurs, graph);
        Told { times: vec![time], blur, alpha: None }
    }

    #[cfg(feature = "onnx")]
    fn trace_predict(&self, _: &Told, _: Value, v: Value, _: &mut Graph) -> Value {
        v
    }
}

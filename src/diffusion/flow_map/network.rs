use super::FlowMapConfig;
use crate::diffusion::matching::{Pairing, Source};
use crate::diffusion::network::{Parametrization, PathNet};
#[cfg(feature = "onnx")]
use crate::diffusion::onnx::{Told, tell_time};
use crate::diffusion::path::{Line, Path};
use crate::error::Result;
use crate::nn::Moment;
use crate::numeric::Real;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// A jump along the path of a row: from time s to time t ≥ s. On the diagonal, s = t, it is the velocity at s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Span {
    /// The diagonal at a time.
    pub(crate) fn at(time: f64) -> Self {
        Span { from: time, to: time }
    }

    /// t − s.
    pub(crate) fn length(self) -> f64 {
        self.to - self.from
    }
}

/// The straight [`Line`] from a source row to a row of the data, of which a network predicts the mean velocity over a
/// jump. The ODE of its likelihood runs along the diagonal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Jumps {}

impl Path for Jumps {
    type Level = Span;

    fn level(time: f64) -> Span {
        Span::at(time)
    }

    fn mark(span: Span) -> f64 {
        span.from
    }

    fn place<F: Real>(span: Span, x1: &[F], x0: &[F], place: &mut Vec<F>) {
        Line::place(span.from, x1, x0, place);
    }

    fn target<F: Real>(x1: F, x0: F) -> F {
        Line::target(x1, x0)
    }

    fn velocity(_: Span, _: f64, velocity: f64) -> f64 {
        velocity
    }

    fn divergence(_: Span, _: usize, divergence: f64) -> f64 {
        divergence
    }
}

/// The mean velocity û(x, s, t) of rows over the jump from s to t, which is what the network outputs. It is told both
/// times as
///
/// τ(t) = 2 ln((t + δ)/(1 − t + δ)),
///
/// for δ → 0 the log signal-to-noise ratio of x_t. Its rate, at most 2/δ, enters the tangents in time, so δ is wider
/// than a flow matching has it. Of s it is told as the blur how much of x_s is independent Gaussian noise.
#[derive(Debug, Clone)]
pub(crate) struct MeanVelocity {
    /// Whether noise hides features.
    blurs: bool,
}

/// δ: times nearer to an end than this look alike.
const RESOLUTION: f64 = 1e-2;

fn tau(t: f64) -> f64 {
    2.0 * ((t + RESOLUTION) / (1.0 - t + RESOLUTION)).ln()
}

/// dτ/dt.
fn tau_rate(t: f64) -> f64 {
    2.0 * ((t + RESOLUTION).recip() + (1.0 - t + RESOLUTION).recip())
}

impl MeanVelocity {
    /// Appends the rates of the moments of a span whose ends move at `from` and `to`.
    pub(super) fn tell_rates(&self, span: Span, (from, to): (f64, f64), rates: &mut Vec<Moment>) {
        let blur = if self.blurs { -from } else { 0.0 };
        rates.push(Moment { time: tau_rate(span.from) * from, blur });
        rates.push(Moment { time: tau_rate(span.to) * to, blur: 0.0 });
    }
}

impl Parametrization for MeanVelocity {
    type Path = Jumps;

    fn tell(&self, Span { from, to }: Span, moments: &mut Vec<Moment>) {
        moments.push(Moment { time: tau(from), blur: if self.blurs { 1.0 - from } else { 0.0 } });
        moments.push(Moment { time: tau(to), blur: 0.0 });
    }

    fn predict<F: Real>(&self, _: Span, _: &[F], _: &mut [F]) {}

    fn pull_back<F: Real>(&self, _: Span, _: &mut [F]) {}

    fn tangent<F: Real>(&self, _: Span, _: &[F], _: &[F], _: &mut [F]) {}

    #[cfg(feature = "onnx")]
    fn numbers(Span { from, to }: Span) -> Vec<f64> {
        vec![from, to]
    }

    #[cfg(feature = "onnx")]
    fn trace_tell(&self, level: &[Value], graph: &mut Graph) -> Told {
        let [from, blur] = tell_time(level[0], RESOLUTION, self.blurs, graph);
        let [to, _] = tell_time(level[1], RESOLUTION, false, graph);
        Told { times: vec![from, to], blur, alpha: None }
    }

    #[cfg(feature = "onnx")]
    fn trace_predict(&self, _: &Told, _: Value, v: Value, _: &mut Graph) -> Value {
        v
    }
}

/// û starts at 0: an untrained model leaves every row where it is. From a Gaussian source every model does so with rows
/// beyond 18 standard deviations, where û has faded out.
pub(crate) type MapNet<F = f32> = PathNet<F, MeanVelocity>;

impl<F: Real> MapNet<F> {
    /// The built-in network of a config.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) as [`two_time_field`](crate::nn::NetworkSpec::two_time_field).
    pub(super) fn new(config: &FlowMapConfig) -> Result<Self> {
        let FlowMapConfig { dim, network, time_features, .. } = config;
        let field = network.two_time_field(*dim, config.condition_width(), *time_features)?;
        Ok(PathNet::built_in(field, Self::fades(config), Self::how(config)))
    }

    pub(super) fn fades(config: &FlowMapConfig) -> bool {
        matches!(config.source, Source::Gaussian)
    }

    pub(super) fn how(config: &FlowMapConfig) -> MeanVelocity {
        let blurs = matches!((&config.source, config.pairing), (Source::Gaussian, Pairing::Independent));
        MeanVelocity { blurs }
    }

    /// Appends the rates of the moments of jumps whose ends move at `from` and `to`.
    pub(super) fn tell_rates(&self, spans: &[Span], ends: (f64, f64), rates: &mut Vec<Moment>) {
        spans.iter().for_each(|&span| self.how.tell_rates(span, ends, rates));
    }
}

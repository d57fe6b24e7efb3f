use super::schedule::NoiseLevel;
use crate::numeric::Real;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// The path of a row x from the data to a far end z, which is noise or a row of a source, in a time of its own.
///
/// A path says where the row is at a time, what a network is to predict about the two ends, and how rows move
/// that follow the prediction: by an ODE whose density at each time is that of the rows on their paths.
pub(crate) trait Path {
    /// What a network is told about a time.
    type Level: Copy + Send + Sync;

    /// The level at a time of the ODE.
    fn level(time: f64) -> Self::Level;

    /// Where a level stands for an interval of levels: its noise-to-signal ratio, or its time.
    fn mark(level: Self::Level) -> f64;

    /// Appends the place of a row x: (d) whose path ends at z: (d).
    fn place<F: Real>(level: Self::Level, x: &[F], z: &[F], place: &mut Vec<F>);

    /// What the network is to predict, a coordinate each.
    fn target<F: Real>(x: F, z: F) -> F;

    /// The velocity of a coordinate where the network predicts `predicted`.
    fn velocity(level: Self::Level, place: f64, predicted: f64) -> f64;

    /// The divergence of the velocity of a row of d columns, where the prediction has the divergence `predicted`.
    fn divergence(level: Self::Level, d: usize, predicted: f64) -> f64;
}

/// From data to Gaussian noise: α x + σ ε with α² + σ² = 1, of which a network predicts ε. Its time is the log
/// signal-to-noise ratio λ.
///
/// The ODE is the probability flow (Song et al. 2021b, eq. 13). For the variance-preserving process dx =
/// ½ (d ln ᾱ/dt) x dt + g dw it is dz/dt = ½ (d ln ᾱ/dt) (z − ε̂/σ). In λ, d ln ᾱ/dλ = σ², so
///
/// dz/dλ = ½ σ (σ z − ε̂), ∇·(dz/dλ) = ½ σ (σ d − ∇·ε̂),
///
/// and no term grows at either end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Noising {}

impl Path for Noising {
    type Level = NoiseLevel;

    fn level(time: f64) -> NoiseLevel {
        NoiseLevel::at_log_snr(time)
    }

    fn mark(level: NoiseLevel) -> f64 {
        level.sigma / level.alpha
    }

    fn place<F: Real>(level: NoiseLevel, x: &[F], eps: &[F], place: &mut Vec<F>) {
        let (alpha, sigma) = (F::of(level.alpha), F::of(level.sigma));
        place.extend(x.iter().zip(eps).map(|(&x, &eps)| alpha * x + sigma * eps));
    }

    fn target<F: Real>(_: F, eps: F) -> F {
        eps
    }

    fn velocity(NoiseLevel { sigma, .. }: NoiseLevel, z: f64, eps: f64) -> f64 {
        0.5 * sigma * (sigma * z - eps)
    }

    fn divergence(NoiseLevel { sigma, .. }: NoiseLevel, d: usize, eps: f64) -> f64 {
        0.5 * sigma * (sigma * d as f64 - eps)
    }
}

impl Noising {
    /// [`velocity`](Path::velocity) in a graph, in f64.
    #[cfg(feature = "onnx")]
    pub(super) fn trace_velocity(
        NoiseLevel { sigma, .. }: NoiseLevel,
        z: Value,
        eps: Value,
        graph: &mut Graph,
    ) -> Value {
        let z = graph.scaled(sigma, z);
        let difference = graph.sub(z, eps);
        graph.scaled(0.5 * sigma, difference)
    }
}

/// A straight line from a source row x₀ at t = 0 to a row x₁ of the data at t = 1, x_t = (1 − t) x₀ + t x₁, of
/// which a network predicts the velocity x₁ − x₀. The mean of it over all lines through a place is the velocity
/// of the flow (Lipman et al. 2023, theorems 1 and 2).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Line {}

impl Path for Line {
    type Level = f64;

    fn level(time: f64) -> f64 {
        time
    }

    fn mark(t: f64) -> f64 {
        t
    }

    fn place<F: Real>(t: f64, x1: &[F], x0: &[F], place: &mut Vec<F>) {
        let t = F::of(t);
        place.extend(x0.iter().zip(x1).map(|(&x0, &x1)| x0 + t * (x1 - x0)));
    }

    fn target<F: Real>(x1: F, x0: F) -> F {
        x1 - x0
    }

    fn velocity(_: f64, _: f64, velocity: f64) -> f64 {
        velocity
    }

    fn divergence(_: f64, _: usize, divergence: f64) -> f64 {
        divergence
    }
}

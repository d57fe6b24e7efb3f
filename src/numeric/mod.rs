//! The foundations of the crate: number types, random streams, kernels.

pub mod assignment;
pub(crate) mod cholesky;
pub(crate) mod eigen;
pub mod gemm;
pub(crate) mod lanes;
pub(crate) mod normal;
pub mod ode;
pub mod quadrature;
pub mod real;
pub mod rng;
pub(crate) mod simd;
pub(crate) mod softmax;
mod special;

pub use real::Real;

/// The number of rows that go through a network together, in sampling, scoring and training: enough to reuse each
/// weight often, and few enough that their activations at width 128, with everything that training keeps, fit into a
/// 1 MiB L2 cache.
pub const TILE: usize = 64;

/// ln Σ eᵘ, with the largest term factored out, so that nothing under- or overflows; −∞ for no terms.
pub fn log_sum_exp(u: &[f64]) -> f64 {
    log_sum(u.iter().map(|&u| (1.0, u)))
}

/// ln Σ w eᵘ over pairs (w, u), w ≥ 0, computed in the same way.
pub(crate) fn log_sum(terms: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let (most, sum) = scaled_sum(terms);
    most + sum.ln()
}

/// ln (1/n) Σ eᵘ of n numbers, as [`log_sum_exp`].
pub fn log_mean_exp(u: &[f64]) -> f64 {
    let (most, sum) = scaled_sum(u.iter().map(|&u| (1.0, u)));
    most + (sum / u.len().max(1) as f64).ln()
}

/// The largest u of a positive w, and Σ w e^(u − largest); −∞ and 1 where every term is 0.
fn scaled_sum(terms: impl Iterator<Item = (f64, f64)> + Clone) -> (f64, f64) {
    let most = terms.clone().filter(|term| term.0 > 0.0).map(|term| term.1).fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return (most, 1.0);
    }
    (most, terms.map(|(w, u)| w * (u - most).exp()).sum())
}

//! What the rest stands on: number types, random streams, kernels.

pub mod quadrature;
pub mod real;
pub mod rng;
pub(crate) mod simd;

pub use real::Real;

//! What the rest stands on: number types, random streams, kernels.

pub mod real;
pub mod rng;
pub(crate) mod simd;
mod special;

pub use real::Real;

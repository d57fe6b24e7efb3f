//! What the rest stands on: number types, random streams, kernels.

pub mod assignment;
pub(crate) mod cholesky;
pub mod gemm;
pub mod ode;
pub mod quadrature;
pub mod real;
pub mod rng;
pub(crate) mod simd;
pub(crate) mod softmax;
mod special;
pub(crate) mod tiles;
pub mod transport;

pub use real::Real;

//! What the rest stands on: number types, random streams, kernels.

pub mod rng;

//! Classical references under the same trait: densities in closed form, without a network. They are the
//! yardstick that a neural model must beat to be worth its cost, and where rows are few they often win.
//!
//! | model | p(x) | fitted by | what goes wrong |
//! | --- | --- | --- | --- |
//! | [`GaussianMixture`] | Σₖ wₖ N(x; μₖ, Σₖ) | EM | stops at a local optimum; edges and curves need many components |
//! | [`KernelDensity`] | (1/n) Σⱼ N(x; xⱼ, H) | a rule, or cross-validation, for H | one width for all places; rows needed grow exponentially with dimension |
//!
//! Both sum in f64 from the rows as they stand, score exactly, and draw in one pass.

mod kernel;
mod lanes;
mod mixture;

pub use kernel::{Bandwidth, KernelDensity, KernelDensityConfig};
pub use mixture::{ComponentCount, GaussianMixture, GaussianMixtureConfig};

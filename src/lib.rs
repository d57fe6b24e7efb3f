//! The four ways to learn a distribution — autoregressive, latent-variable, adversarial, diffusion — behind one trait.

pub mod data;
pub mod diffusion;
pub mod error;
pub mod generative;
pub mod map;
pub mod metrics;
pub mod nn;
pub mod numeric;
pub mod train;

pub use diffusion::{Diffusion, DiffusionConfig, Sampler, Schedule};
pub use error::{Error, Result};
pub use generative::*;
pub use map::Card;
pub use numeric::rng::seeded;

pub use ndarray;
pub use rand;

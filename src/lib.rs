//! The four ways to learn a distribution — autoregressive, latent-variable, adversarial, diffusion — behind one trait.

pub mod autoregressive;
pub mod data;
pub mod error;
pub mod generative;
pub mod latent;
pub mod map;
pub mod metrics;
pub mod nn;
pub mod numeric;
pub mod train;

pub use autoregressive::{Autoregressive, AutoregressiveConfig, Head};
pub use error::{Error, Result};
pub use generative::*;
pub use latent::{DecoderVariance, Posterior, Vae, VaeConfig};
pub use map::Card;
pub use numeric::rng::seeded;

pub use ndarray;
pub use rand;

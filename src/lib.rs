//! The four ways to learn a distribution — autoregressive, latent-variable, adversarial, diffusion — behind one trait.

pub mod adversarial;
pub mod autoregressive;
pub mod data;
pub mod diffusion;
pub mod error;
pub mod generative;
pub mod latent;
pub mod map;
pub mod metrics;
pub mod nn;
pub mod numeric;
pub mod train;

pub use adversarial::{AdversarialLoss, Gan, GanConfig};
pub use autoregressive::{Autoregressive, AutoregressiveConfig, Head};
pub use diffusion::{Diffusion, DiffusionConfig, Sampler, Schedule};
pub use error::{Error, Result};
pub use generative::*;
pub use latent::{DecoderVariance, Posterior, Vae, VaeConfig};
pub use map::Card;
pub use numeric::rng::seeded;
pub use train::OptimiserConfig;

pub use ndarray;
pub use rand;

/// What most programs need: the trait, its options and results, the models and their configs.
pub mod prelude {
    pub use crate::{
        AdversarialLoss, Autoregressive, AutoregressiveConfig, Card, Dataset, Diffusion, DiffusionConfig,
        Error, Gan, GanConfig, Generative, Head, LikelihoodKind, LikelihoodOptions, LogLikelihood, Observer,
        OptimiserConfig, Result, SampleOptions, Sampler, Samples, Schedule, Silent, Step, Stop, TrainOptions,
        TrainReport,
    };
}

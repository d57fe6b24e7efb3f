//! Compositions of any models: a prior of any paradigm in the latents of a codec, or in the base space of a flow.

mod codec;
mod latent;
mod pca;
mod stages;

pub use self::codec::{Codec, Explanation};
pub use self::latent::{Latent, LatentConfig, Warp};
pub use self::pca::{Pca, PcaConfig};

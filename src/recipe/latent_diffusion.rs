use rand::RngCore;

use super::{Extent, Kind, ModelConfig};
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, check};
use crate::hybrid::{Latent, LatentConfig};
use crate::model::ConditionKind;
use crate::nn::{Activation, NetworkSpec};
use crate::*;

/// What a latent diffusion is made of: a [`Vae`] that describes rows, and a [`Diffusion`] of its latents
/// ([`Latent`](crate::hybrid::Latent)). In its file it is a composition of these two.
///
/// Each part has a config of its own, which says columns and conditions, too: those have to agree.
///
/// ```
/// use quadrivium::recipe::{LatentDiffusionConfig, ModelConfig};
/// use quadrivium::seeded;
///
/// let config = LatentDiffusionConfig { dim: 3, ..Default::default() };
/// // Columns of the rows are columns of the codec.
/// assert!(config.validate().is_err());
/// let config = LatentDiffusionConfig::with_dim(3);
/// let model = ModelConfig::LatentDiffusion(config).build(&mut seeded(0))?;
/// assert_eq!((model.dim(), model.card().parts.len()), (3, 2));
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct LatentDiffusionConfig {
    /// Columns of a row. 1 to 65,536. Default 2.
    pub dim: usize,
    /// What rows are conditioned on. The diffusion gets it; the codec describes all rows. Default
    /// [`ConditionKind::None`].
    pub condition: ConditionKind,
    /// The codec, without a condition. Default: a VAE with a `beta` of 0.1 and without whitening, with which all
    /// directions of the rows would count the same: latents are to describe the largest.
    pub codec: VaeConfig,
    /// The density of the latents, drawn by [`Sampler::Ddim`] in 50 steps by default.
    pub prior: DiffusionConfig,
    /// How the two learn and score together.
    pub latent: LatentConfig,
}

impl Default for LatentDiffusionConfig {
    fn default() -> Self {
        let codec = VaeConfig { beta: 0.1, whiten: false, ..Default::default() };
        let prior = DiffusionConfig { sampler: Sampler::Ddim { steps: 50, eta: 0.0 }, ..Default::default() };
        LatentDiffusionConfig {
            dim: codec.dim,
            condition: ConditionKind::None,
            codec,
            prior,
            latent: LatentConfig::default(),
        }
    }
}

impl LatentDiffusionConfig {
    /// The defaults for rows of `dim` columns, of which z has as many, and at most 16.
    pub fn with_dim(dim: usize) -> Self {
        let mut config = LatentDiffusionConfig { dim, ..Default::default() };
        config.codec.dim = dim;
        config.codec.latent_dim = dim.min(16);
        config.prior.dim = config.codec.latent_dim;
        config
    }

    /// # Errors
    /// [`Error::Config`] naming the first field out of range, or that does not agree with another one.
    pub fn validate(&self) -> Result<()> {
        let LatentDiffusionConfig { dim, condition, codec, prior, latent } = self;
        codec.validate()?;
        prior.validate()?;
        latent.validate()?;
        let field = "LatentDiffusionConfig::codec.dim";
        check(codec.dim == *dim, field, codec.dim, "as many columns as the rows have")?;
        let field = "LatentDiffusionConfig::prior.dim";
        check(prior.dim == codec.latent_dim, field, prior.dim, "as many columns as z has")?;
        let field = "LatentDiffusionConfig::codec.condition";
        check(codec.condition.is_none(), field, codec.condition, "none: the prior has the condition")?;
        let field = "LatentDiffusionConfig::prior.condition";
        check(prior.condition == *condition, field, prior.condition, "that of the whole")
    }

    /// The same config for rows with another condition.
    pub(super) fn with_condition(mut self, condition: ConditionKind) -> Self {
        (self.condition, self.prior.condition) = (condition, condition);
        self
    }

    /// The untrained model.
    ///
    /// # Errors
    /// As [`validate`](LatentDiffusionConfig::validate).
    pub fn build(self, rng: &mut dyn RngCore) -> Result<Latent<Vae, Diffusion>> {
        self.validate()?;
        Latent::new(Vae::new(self.codec, rng)?, Diffusion::new(self.prior, rng)?, self.latent)
    }
}

impl Extent {
    /// A codec as wide as the other networks, and the recipe of a diffusion for its latents.
    pub(super) fn latent_diffusion(&self, dim: usize) -> LatentDiffusionConfig {
        let mut config = LatentDiffusionConfig::with_dim(dim);
        let codec = &mut config.codec;
        codec.encoder = NetworkSpec::mlp([self.width(); 2], Activation::Silu, self.octaves(4));
        codec.decoder = codec.encoder.clone();
        // Rows that are learned by heart are described well; the prior is what has to be held back.
        (codec.optimizer.lr, codec.optimizer.weight_decay) = (4e-3 * self.pace(), 0.01);
        let latents = Extent { rows: self.rows, dim: codec.latent_dim as f64 };
        let ModelConfig::Diffusion(prior) = latents.config(Kind::Diffusion, codec.latent_dim) else {
            unreachable!("a diffusion's recipe")
        };
        config.prior = prior;
        config
    }
}

use std::fmt;
use std::str::FromStr;

use rand::RngCore;

use super::LatentDiffusionConfig;
use crate::error::{Error, Result};
#[cfg(feature = "safetensors")]
use crate::persist::Persist;
use crate::*;

/// Defines [`Kind`] and [`ModelConfig`] from one line for each kind of model: variant, name, what it is, config, and
/// the constructor of the model.
macro_rules! kinds {
    ($($kind:ident, $name:literal, $about:literal, $config:ident, |$made:ident, $rng:pat_param| $new:expr;)*) => {
        /// The kinds of model, named as in a model's file; in that of a latent diffusion, `latent` with its parts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind {
            $(#[doc = $about] $kind,)*
        }

        impl Kind {
            /// All kinds, by name.
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            /// `autoregressive`, `diffusion`, …: the name that [`FromStr`] reads.
            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)*
                }
            }

            /// What it is, in one sentence.
            pub fn about(self) -> &'static str {
                match self {
                    $(Kind::$kind => $about,)*
                }
            }
        }

        /// The config of a model of any kind.
        #[derive(Debug, Clone, PartialEq)]
        #[cfg_attr(
            feature = "safetensors",
            derive(serde::Serialize, serde::Deserialize),
            serde(rename_all = "snake_case")
        )]
        pub enum ModelConfig {
            $(#[doc = $about] $kind($config),)*
        }

        impl ModelConfig {
            /// The defaults of a kind's own config, for `dim` columns: a flow's are those of
            /// [`FlowConfig::with_dim`], a latent diffusion's those of [`LatentDiffusionConfig::with_dim`].
            pub fn defaults(kind: Kind, dim: usize) -> Self {
                match kind {
                    Kind::Flow => return ModelConfig::Flow(FlowConfig::with_dim(dim)),
                    Kind::LatentDiffusion => {
                        return ModelConfig::LatentDiffusion(LatentDiffusionConfig::with_dim(dim));
                    }
                    _ => {}
                }
                match kind {
                    $(Kind::$kind => ModelConfig::$kind($config { dim, ..$config::default() }),)*
                }
            }

            /// Which kind of model it makes.
            pub fn kind(&self) -> Kind {
                match self {
                    $(ModelConfig::$kind(_) => Kind::$kind,)*
                }
            }

            /// What rows are conditioned on.
            pub fn condition(&self) -> ConditionKind {
                match self {
                    $(ModelConfig::$kind(config) => config.condition,)*
                }
            }

            fn condition_mut(&mut self) -> &mut ConditionKind {
                match self {
                    $(ModelConfig::$kind(config) => &mut config.condition,)*
                }
            }

            /// # Errors
            /// [`Error::Config`] naming the first field out of range.
            pub fn validate(&self) -> Result<()> {
                match self {
                    $(ModelConfig::$kind(config) => config.validate(),)*
                }
            }

            /// The untrained model.
            ///
            /// # Errors
            /// [`Error::Config`] naming the first field out of range.
            pub fn build(self, rng: &mut dyn RngCore) -> Result<Box<dyn Generative>> {
                match self {
                    $(ModelConfig::$kind($made) => {
                        let $rng = rng;
                        Ok(Box::new($new?))
                    })*
                }
            }

            /// The untrained model, as one that can be saved.
            ///
            /// # Errors
            /// [`Error::Config`] naming the first field out of range.
            #[cfg(feature = "safetensors")]
            pub fn build_to_save(self, rng: &mut dyn RngCore) -> Result<Box<dyn Persist>> {
                match self {
                    $(ModelConfig::$kind($made) => {
                        let $rng = rng;
                        Ok(Box::new($new?))
                    })*
                }
            }
        }
    };
}

kinds! {
    Autoregressive, "autoregressive", "The chain rule with one masked network: exact likelihood.",
        AutoregressiveConfig, |config, rng| Autoregressive::new(config, rng);
    Diffusion, "diffusion", "Denoising diffusion: likelihood by the probability-flow ODE.",
        DiffusionConfig, |config, rng| Diffusion::new(config, rng);
    Energy, "energy", "An energy by persistent chains: normalized up to two columns.",
        EnergyConfig, |config, rng| EnergyModel::new(config, rng);
    Flow, "flow", "A normalizing flow of splines: exact likelihood.",
        FlowConfig, |config, rng| Flow::new(config, rng);
    FlowMap, "flow_map", "Jumps along a continuous flow, in few steps: likelihood by its ODE.",
        FlowMapConfig, |config, rng| FlowMap::new(config, rng);
    FlowMatching, "flow_matching", "A continuous flow: likelihood by its ODE.",
        FlowMatchingConfig, |config, rng| FlowMatching::new(config, rng);
    Gan, "gan", "A Wasserstein GAN with gradient penalty: no likelihood.",
        GanConfig, |config, rng| Gan::new(config, rng);
    GaussianMixture, "gaussian_mixture", "Gaussians by EM: exact likelihood, no network.",
        GaussianMixtureConfig, |config, _| GaussianMixture::new(config);
    KernelDensity, "kernel_density", "A kernel on each row: exact likelihood, no network.",
        KernelDensityConfig, |config, _| KernelDensity::new(config);
    LatentDiffusion, "latent_diffusion", "A diffusion of a VAE's latents: a lower bound on the likelihood.",
        LatentDiffusionConfig, |config, rng| config.build(rng);
    Score, "score", "A score network on a ladder of noise: no likelihood.",
        ScoreConfig, |config, rng| ScoreModel::new(config, rng);
    Vae, "vae", "A variational autoencoder: a lower bound on the likelihood.",
        VaeConfig, |config, rng| Vae::new(config, rng);
}

impl Kind {
    /// Whether it is fitted in one go, by no steps: the baselines.
    pub fn in_one_go(self) -> bool {
        matches!(self, Kind::GaussianMixture | Kind::KernelDensity)
    }
}

impl ModelConfig {
    /// The same config for rows with a condition. A flow matching then pairs its source rows independently: the source
    /// rows matched with those of one condition would not be draws from the source.
    ///
    /// # Errors
    /// [`Error::Config`] for numbers of the condition out of range.
    ///
    /// ```
    /// use quadrivium::{ConditionKind, recipe::{Kind, ModelConfig}};
    /// let config = ModelConfig::defaults(Kind::Vae, 2).with_condition(ConditionKind::Class { classes: 10 })?;
    /// assert_eq!(config.condition(), ConditionKind::Class { classes: 10 });
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn with_condition(mut self, condition: ConditionKind) -> Result<Self> {
        condition.validate("condition")?;
        if let ModelConfig::LatentDiffusion(config) = self {
            return Ok(ModelConfig::LatentDiffusion(config.with_condition(condition)));
        }
        if let ModelConfig::FlowMatching(config) = &mut self
            && !condition.is_none()
        {
            config.pairing = Pairing::Independent;
        }
        *self.condition_mut() = condition;
        Ok(self)
    }

    /// How the parameters move, of a latent diffusion those of the prior; `None` for the baselines, which have no
    /// network.
    pub fn optimizer_mut(&mut self) -> Option<&mut OptimizerConfig> {
        match self {
            ModelConfig::Autoregressive(AutoregressiveConfig { optimizer, .. })
            | ModelConfig::Diffusion(DiffusionConfig { optimizer, .. })
            | ModelConfig::Energy(EnergyConfig { optimizer, .. })
            | ModelConfig::Flow(FlowConfig { optimizer, .. })
            | ModelConfig::FlowMap(FlowMapConfig { optimizer, .. })
            | ModelConfig::FlowMatching(FlowMatchingConfig { optimizer, .. })
            | ModelConfig::Gan(GanConfig { optimizer, .. })
            | ModelConfig::LatentDiffusion(LatentDiffusionConfig {
                prior: DiffusionConfig { optimizer, .. },
                ..
            })
            | ModelConfig::Score(ScoreConfig { optimizer, .. })
            | ModelConfig::Vae(VaeConfig { optimizer, .. }) => Some(optimizer),
            ModelConfig::GaussianMixture(_) | ModelConfig::KernelDensity(_) => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = Error;

    /// # Errors
    /// [`Error::Config`] for a name that no kind has.
    fn from_str(name: &str) -> Result<Self> {
        let named = Kind::ALL.iter().find(|kind| kind.name() == name);
        named.copied().ok_or_else(|| {
            Error::config(
                "Kind",
                name,
                "the name of a kind of model, as Kind::ALL has them: autoregressive, …",
            )
        })
    }
}

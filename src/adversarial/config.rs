#[cfg(doc)]
use super::Gan;
use crate::engine::{ConditionKind, OptimizerConfig};
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, check};
use crate::nn::limits::check_width;
use crate::nn::{Activation, NetworkSpec};

/// The game between generator and critic.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum AdversarialLoss {
    /// Both players optimize one value, E log σ(D(x)) + E log(1 − σ(D(x̃))) (Goodfellow et al. 2014, eq. 1). At the
    /// default learning rates the critic wins at once and the generator stalls; at a learning rate of 1e-3 and a
    /// [`critic_lr`](GanConfig::critic_lr) of 5e-4 the generator loses modes instead. Use this game to study these
    /// failures.
    Minimax,
    /// The generator maximizes E log σ(D(x̃)), and the critic is penalized for its slope at the data (Mescheder et
    /// al. 2018, eq. 9).
    NonSaturatingR1 {
        /// γ of (γ/2) E‖∇D(x)‖², x in standard deviations. 0 or more; the paper uses 10 for images. A smaller
        /// value lets the critic be steeper near narrow modes: use 0.1 to 1 in two dimensions.
        gamma: f64,
    },
    /// Critic and generator both compare each real row with a generated one, D(x) − D(x̃) (Jolicoeur-Martineau 2019).
    /// The critic is penalized for its slope at both kinds of rows (R1 and R2), which makes the game converge locally
    /// (Huang et al. 2024, R3GAN). Every real row is in the generator's loss, so a generator that covers only one
    /// mode is still penalized for the others.
    Relativistic {
        /// γ of (γ/2) (E‖∇D(x)‖² + E‖∇D(x̃)‖²), x in standard deviations. 0 or more. A smaller value lets the critic
        /// be steeper near narrow modes: use 0.01 to 1 in two dimensions.
        gamma: f64,
    },
    /// The critic estimates the Wasserstein-1 distance (Arjovsky et al. 2017), and is penalized where its slope
    /// between data and generated rows differs from 1 (Gulrajani et al. 2017, eq. 3). A smaller λ gives a larger
    /// estimate.
    WassersteinGp {
        /// λ of λ E(‖∇D(x̂)‖ − 1)², x in standard deviations. 0 or more; the paper uses 10. A smaller value lets the
        /// critic be steeper near narrow modes: 0.1 works well for narrow mixtures in two dimensions.
        lambda: f64,
    },
}

/// How the critic of a [`Gan`] uses the condition of a row. The generator always gets it as an input, along with its
/// noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Conditioning {
    /// As an input, concatenated with the row: D([x | c]) (Mirza & Osindero 2014).
    #[default]
    Concatenation,
    /// As a projection of its last hidden layer h: D(x, c) = v·h(x) + ⟨E·c, h(x)⟩, plus a number that depends only on
    /// c, with a trained row of E for each class (Miyato & Koyama 2018, eq. 3).
    Projection,
}

impl Conditioning {
    #[cfg(feature = "safetensors")]
    fn is_default(&self) -> bool {
        *self == Conditioning::default()
    }
}

/// The architecture of a [`Gan`] and how it is trained.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct GanConfig {
    /// Columns of a row. 1 to 65,536. Default 2.
    pub dim: usize,
    /// The game. Default [`AdversarialLoss::WassersteinGp`] with λ = 0.1.
    pub loss: AdversarialLoss,
    /// Coordinates of z. 1 to 65,536; with fewer than `dim`, rows lie on a surface. Default 2.
    pub latent_dim: usize,
    /// The generator's network: see [`NetworkSpec`]. With more octaves of z it can change faster from mode to mode;
    /// without hidden layers it is affine in its features. At most 2²⁸ parameters. Default: five layers of 64 with
    /// SiLU, and 3 octaves.
    pub generator: NetworkSpec,
    /// The critic's network, under the same rules. Default: three layers of 64 with a leaky ReLU of slope 0.2
    /// (Radford et al. 2016), and 3 octaves.
    pub critic: NetworkSpec,
    /// Steps of the critic per step of the generator. 1 to 1000. Default 1; Gulrajani et al. use 5.
    pub critic_steps: usize,
    /// The critic's learning rate, with the schedule of `optimizer`. More than 0. Default 6e-3, twice the
    /// generator's: Heusel et al. 2017 also let the critic learn faster.
    pub critic_lr: f64,
    /// What rows are conditioned on. Both players see the condition. Default [`ConditionKind::None`].
    #[cfg_attr(feature = "safetensors", serde(skip_serializing_if = "ConditionKind::is_none"))]
    pub condition: ConditionKind,
    /// How the critic uses the condition, if there is one. Default [`Conditioning::Concatenation`].
    #[cfg_attr(feature = "safetensors", serde(skip_serializing_if = "Conditioning::is_default"))]
    pub conditioning: Conditioning,
    /// The optimizer of both players. Default: lr 3e-3, β = (0.5, 0.9), no clipping, and the rest as in
    /// [`OptimizerConfig`].
    #[cfg_attr(feature = "safetensors", serde(alias = "optimiser"))]
    pub optimizer: OptimizerConfig,
}

impl Default for GanConfig {
    fn default() -> Self {
        GanConfig {
            dim: 2,
            loss: AdversarialLoss::WassersteinGp { lambda: 0.1 },
            latent_dim: 2,
            generator: NetworkSpec::mlp([64; 5], Activation::Silu, 3),
            critic: NetworkSpec::mlp([64; 3], Activation::LeakyRelu { slope: 0.2 }, 3),
            critic_steps: 1,
            critic_lr: 6e-3,
            condition: ConditionKind::None,
            conditioning: Conditioning::default(),
            optimizer: OptimizerConfig {
                lr: 3e-3,
                beta1: 0.5,
                beta2: 0.9,
                clip_norm: None,
                ..OptimizerConfig::default()
            },
        }
    }
}

impl GanConfig {
    /// The relativistic game with γ = 0.02, and an optimizer without momentum, β = (0, 0.99), as Huang et al. 2024 use
    /// it. It covers narrow modes at their own width where the default game makes them too narrow; minibatches of 256
    /// rows or more suit it.
    ///
    /// ```
    /// use quadrivium::*;
    /// let gan = Gan::new(GanConfig::relativistic(), &mut seeded(0))?;
    /// assert_eq!(gan.card().name, "R3GAN");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn relativistic() -> Self {
        let default = GanConfig::default();
        GanConfig {
            loss: AdversarialLoss::Relativistic { gamma: 0.02 },
            optimizer: OptimizerConfig { beta1: 0.0, beta2: 0.99, ..default.optimizer.clone() },
            ..default
        }
    }

    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check_width("GanConfig::dim", self.dim)?;
        match self.loss {
            AdversarialLoss::Minimax => {}
            AdversarialLoss::NonSaturatingR1 { gamma } | AdversarialLoss::Relativistic { gamma } => {
                check(
                    gamma >= 0.0 && gamma.is_finite(),
                    "AdversarialLoss::gamma",
                    gamma,
                    "0 or more, finite",
                )?;
            }
            AdversarialLoss::WassersteinGp { lambda } => {
                check(
                    lambda >= 0.0 && lambda.is_finite(),
                    "AdversarialLoss::lambda",
                    lambda,
                    "0 or more, finite",
                )?;
            }
        }
        check_width("GanConfig::latent_dim", self.latent_dim)?;
        self.condition.validate("GanConfig::condition")?;
        let given = self.condition.width();
        self.generator.check_network("GanConfig::generator", (self.latent_dim, given, self.dim))?;
        let (joined, projected) = self.critics_condition();
        self.critic.check_network("GanConfig::critic", (self.dim, joined, 1 + projected))?;
        let steps = (1..=1000).contains(&self.critic_steps);
        check(steps, "GanConfig::critic_steps", self.critic_steps, "1 to 1000")?;
        check(
            self.critic_lr > 0.0 && self.critic_lr.is_finite(),
            "GanConfig::critic_lr",
            self.critic_lr,
            "more than 0, finite",
        )?;
        self.optimizer.validate()
    }

    /// Columns of the condition that the critic takes as an input, and that it uses for the projection.
    pub(super) fn critics_condition(&self) -> (usize, usize) {
        match (self.condition.width(), self.conditioning) {
            (width, Conditioning::Concatenation) => (width, 0),
            (width, Conditioning::Projection) => (0, width),
        }
    }
}

use super::langevin::{Langevin, MOST_STEPS, STEPS};
#[cfg(doc)]
use super::{Acceptance, EnergyModel};
use crate::engine::{ConditionKind, OptimizerConfig};
use crate::error::{Result, check};
#[cfg(doc)]
use crate::model::LogLikelihood;
use crate::nn::limits::check_width;
use crate::nn::{Activation, NetworkSpec};

/// How an [`EnergyModel`] learns. Lengths are in standard deviations of the columns.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum EnergyTraining {
    /// Persistent contrastive divergence (Tieleman 2008; Du & Mordatch 2019): −ln p itself, its gradient
    /// estimated by chains that live through the training.
    PersistentChains {
        /// Chains in all, shared among the shards; at least as many run as a minibatch has rows. 1 to
        /// 16,777,216, with at most 2²⁸ coordinates, their conditions' among them.
        chains: usize,
        /// Network evaluations of a chain each time it moves, with the step lengths and the acceptance of
        /// [`EnergyConfig::langevin`]. At least 1 (2 for a move with [`Acceptance::Metropolis`]), at most
        /// 1,000,000; Du & Mordatch use 60.
        steps: usize,
        /// The share of chains that start anew each time, from N(0, I). 0 to 1. Du & Mordatch use 0.05; with
        /// steps that mix well, 0 is better: a chain that has just started is not yet a draw from the model.
        restart: f64,
        /// The weight α of α (f(x⁺)² + f(x⁻)²), which keeps energies from drifting. 0 or more.
        magnitude: f64,
    },
    /// Denoising score matching (Vincent 2011): ∇E points from a blurred row to where it came from. No
    /// chains, but what is learned is the density blurred by σ.
    DenoisingScoreMatching {
        /// σ, the blur. 1e-6 to 1e6.
        sigma: f64,
    },
}

/// Whether `log_likelihood` computes the constant of the density.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Normalization {
    /// It does not: [`LogLikelihood::Unnormalized`].
    None,
    /// It integrates exp(−E), in one or two dimensions: [`LogLikelihood::Estimate`].
    Quadrature {
        /// Intervals of an axis of an even grid. Even, 8 to 8192. A mode of standard deviation s is resolved
        /// from about 6/s on. If a grid of every other node gives a result that differs by more than 1e-3 nats, the
        /// grid does not resolve the density: its cells are then halved where the mass is, until ln Z is known to
        /// 1e-4 nats. The first score after a training costs one evaluation per node, and up to 8 million if cells
        /// are halved; under conditions, so does the first score of each condition.
        intervals: usize,
    },
}

/// What an [`EnergyModel`] is made of and how it learns.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct EnergyConfig {
    /// Columns of a row. 1 to 65,536. Default 2.
    pub dim: usize,
    /// The network f: see [`NetworkSpec`]. A perceptron without hidden layers is affine in its features. Its activation
    /// should be smooth: the slope of the energy moves the chains, and denoising differentiates that slope once more. At
    /// most 2²⁸ parameters. Default two layers of 128 with SiLU, and 5 octaves.
    pub network: NetworkSpec,
    /// w of the confinement ‖z‖²/2w², in standard deviations of the columns: the untrained model is
    /// N(0, w²I). 0.01 to 10. Default 1.
    pub width: f64,
    /// The objective. Default [`EnergyTraining::PersistentChains`] with 1024 chains of 20 evaluations, no
    /// restarts and a magnitude of 1e-5.
    pub training: EnergyTraining,
    /// How rows are drawn, and persistent chains moved.
    pub langevin: Langevin,
    /// Whether scores are normalized. Default [`Normalization::None`].
    #[cfg_attr(feature = "safetensors", serde(alias = "normalisation"))]
    pub normalization: Normalization,
    /// What rows are conditioned on: the network takes it beside them. Default [`ConditionKind::None`].
    #[cfg_attr(feature = "safetensors", serde(skip_serializing_if = "ConditionKind::is_none"))]
    pub condition: ConditionKind,
    /// How the parameters move. Default: a learning rate of 3e-3, the rest as [`OptimizerConfig`].
    #[cfg_attr(feature = "safetensors", serde(alias = "optimiser"))]
    pub optimizer: OptimizerConfig,
}

impl Default for EnergyConfig {
    fn default() -> Self {
        EnergyConfig {
            dim: 2,
            network: NetworkSpec::mlp([128; 2], Activation::Silu, 5),
            width: 1.0,
            training: EnergyTraining::PersistentChains {
                chains: 1024,
                steps: 20,
                restart: 0.0,
                magnitude: 1e-5,
            },
            langevin: Langevin::default(),
            normalization: Normalization::None,
            condition: ConditionKind::None,
            optimizer: OptimizerConfig { lr: 3e-3, ..OptimizerConfig::default() },
        }
    }
}

impl EnergyConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check_width("EnergyConfig::dim", self.dim)?;
        self.condition.validate("EnergyConfig::condition")?;
        self.network.check_network("EnergyConfig::network", (self.dim, self.condition.width(), 1))?;
        check((0.01..=10.0).contains(&self.width), "EnergyConfig::width", self.width, "0.01 to 10")?;
        match self.training {
            EnergyTraining::PersistentChains { chains, steps, restart, magnitude } => {
                check(
                    (1..=1 << 24).contains(&chains)
                        && chains * (self.dim + self.condition.width()) <= 1 << 28,
                    "EnergyTraining::PersistentChains::chains",
                    chains,
                    "1 to 16,777,216, and chains × columns, the condition's among them, at most 268,435,456",
                )?;
                let least = self.langevin.acceptance.least_steps();
                let field = "EnergyTraining::PersistentChains::steps";
                check((least..=MOST_STEPS).contains(&steps), field, steps, STEPS)?;
                let field = "EnergyTraining::PersistentChains::restart";
                check((0.0..=1.0).contains(&restart), field, restart, "0 to 1")?;
                check(
                    magnitude >= 0.0 && magnitude.is_finite(),
                    "EnergyTraining::PersistentChains::magnitude",
                    magnitude,
                    "0 or more, finite",
                )?;
            }
            EnergyTraining::DenoisingScoreMatching { sigma } => {
                check(
                    (1e-6..=1e6).contains(&sigma),
                    "EnergyTraining::DenoisingScoreMatching::sigma",
                    sigma,
                    "1e-6 to 1e6",
                )?;
            }
        }
        if let Normalization::Quadrature { intervals } = self.normalization {
            check(
                (8..=8192).contains(&intervals) && intervals.is_multiple_of(2),
                "Normalization::Quadrature::intervals",
                intervals,
                "even, 8 to 8192",
            )?;
            check(
                self.dim <= 2,
                "EnergyConfig::normalization",
                self.normalization,
                "None for more than two columns",
            )?;
        }
        self.langevin.validate()?;
        self.optimizer.validate()
    }
}

#[cfg(doc)]
use crate::diffusion::DiffusionConfig;
use crate::engine::OptimizerConfig;
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, check};
use crate::nn::{Activation, NetworkSpec};

/// How [`fine_tune`](super::fine_tune) goes on with a trained diffusion.
#[derive(Debug, Clone, PartialEq)]
pub struct FineTuneConfig {
    /// What tells the diffusion how its rows differ from the data. Default [`ExplicitGame`].
    pub game: Game,
    /// How the parameters of the diffusion move, and with another learning rate those of a critic. Default: a learning
    /// rate of 5e-4, β = (0, 0.99), the rest as [`OptimizerConfig`].
    pub optimizer: OptimizerConfig,
}

/// What a diffusion is fine-tuned by.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Game {
    /// The diffusion is its own critic.
    Implicit(ImplicitGame),
    /// Another network is the critic.
    Explicit(ExplicitGame),
}

/// Direct discriminative optimization (Zheng et al. 2025): the critic's logit is the log-ratio r of the diffusion to
/// itself before the tuning. [The page](crate::hybrid) has the formula.
#[derive(Debug, Clone, PartialEq)]
pub struct ImplicitGame {
    /// α, the weight of generated rows. 0 or more. Default 1.
    pub alpha: f64,
    /// β, by which r is scaled. More than 0. Default 1.
    pub beta: f64,
    /// Noise levels at which r is estimated for each row. Few make a noisy estimate, whose loss has more of a bias.
    /// 1 to 1000. Default 4.
    pub draws: usize,
}

/// A critic of clean rows x̂₀ at each step of the diffusion's sampler. [The page](crate::hybrid) has the formula.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplicitGame {
    /// γ, the weight of the penalties on the critic's slope, in standard deviations of the data. 0 or more. Default
    /// 0.02.
    pub gamma: f64,
    /// λ, the weight of the noise MSE, which holds the density. 0 or more. Default 0.1.
    pub hold: f64,
    /// The critic's network. Default: three layers of 64 with a leaky ReLU of slope 0.2, and 4 octaves.
    pub critic: NetworkSpec,
    /// Steps of the critic per step of the diffusion. 1 to 1000. Default 1.
    pub critic_steps: usize,
    /// The critic's learning rate. More than 0. Default 2e-3.
    pub critic_lr: f64,
}

impl Default for FineTuneConfig {
    fn default() -> Self {
        FineTuneConfig {
            game: Game::Explicit(ExplicitGame::default()),
            optimizer: OptimizerConfig { lr: 5e-4, beta1: 0.0, beta2: 0.99, ..OptimizerConfig::default() },
        }
    }
}

impl Default for ImplicitGame {
    fn default() -> Self {
        ImplicitGame { alpha: 1.0, beta: 1.0, draws: 4 }
    }
}

impl Default for ExplicitGame {
    fn default() -> Self {
        ExplicitGame {
            gamma: 0.02,
            hold: 0.1,
            critic: NetworkSpec::mlp([64; 3], Activation::LeakyRelu { slope: 0.2 }, 4),
            critic_steps: 1,
            critic_lr: 2e-3,
        }
    }
}

impl FineTuneConfig {
    /// That all fields are in range, for a diffusion of `dim` columns; `told` is what a critic is told beside a row.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub(super) fn validate(&self, dim: usize, told: usize) -> Result<()> {
        let weight = |v: f64| v >= 0.0 && v.is_finite();
        let positive = |v: f64| v > 0.0 && v.is_finite();
        match &self.game {
            Game::Implicit(ImplicitGame { alpha, beta, draws }) => {
                check(weight(*alpha), "ImplicitGame::alpha", alpha, "0 or more, finite")?;
                check(positive(*beta), "ImplicitGame::beta", beta, "more than 0, finite")?;
                check((1..=1000).contains(draws), "ImplicitGame::draws", draws, "1 to 1000")?;
            }
            Game::Explicit(ExplicitGame { gamma, hold, critic, critic_steps, critic_lr }) => {
                check(weight(*gamma), "ExplicitGame::gamma", gamma, "0 or more, finite")?;
                check(weight(*hold), "ExplicitGame::hold", hold, "0 or more, finite")?;
                critic.check_network("ExplicitGame::critic", (dim, told, 1))?;
                let steps = (1..=1000).contains(critic_steps);
                check(steps, "ExplicitGame::critic_steps", critic_steps, "1 to 1000")?;
                check(positive(*critic_lr), "ExplicitGame::critic_lr", critic_lr, "more than 0, finite")?;
            }
        }
        self.optimizer.validate()
    }
}

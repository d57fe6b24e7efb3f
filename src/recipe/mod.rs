//! One recipe for each kind of model, by the rows and columns of a table: how large, how long, how fast.

mod kinds;

pub use self::kinds::{Kind, ModelConfig};

use rand::RngCore;

use crate::error::Result;
use crate::generative::{Generative, TrainOptions};
use crate::*;

/// A model's config and its training, for a table of so many rows and columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// What to make.
    pub config: ModelConfig,
    /// How to train it.
    pub options: TrainOptions,
}

impl Recipe {
    /// The recipe for a kind of model and a table of `rows` and `dim` columns.
    pub fn of(kind: Kind, rows: usize, dim: usize) -> Self {
        let table = Extent { rows: rows as f64, dim: dim as f64 };
        Recipe { config: table.config(kind, dim), options: table.options(kind, rows) }
    }

    /// The untrained model.
    ///
    /// # Errors
    /// As [`ModelConfig::build`].
    pub fn build(&self, rng: &mut dyn RngCore) -> Result<Box<dyn Generative>> {
        self.config.clone().build(rng)
    }
}

struct Extent {
    rows: f64,
    dim: f64,
}

/// The nearest multiple of `unit`, at least one.
fn round_to(unit: f64, value: f64) -> usize {
    (unit * (value / unit).round().max(1.0)) as usize
}

impl Extent {
    /// Units of a hidden layer.
    fn width(&self) -> usize {
        round_to(8.0, 32.0 * (self.rows / 200.0).powf(0.25) + self.dim)
    }

    /// Octaves of Fourier features.
    fn octaves(&self, most: usize) -> usize {
        let octaves = 0.5 * (self.rows / 300.0).log2() - 0.75 * (self.dim / 2.0).log2();
        (octaves.round().max(0.0) as usize).min(most)
    }

    fn config(&self, kind: Kind, dim: usize) -> ModelConfig {
        let mut config = ModelConfig::defaults(kind, dim);
        let width = self.width();
        match &mut config {
            ModelConfig::Autoregressive(config) => {
                config.hidden = vec![width; 2];
                config.octaves = self.octaves(3);
                let components = (16.0 * (self.rows / 5000.0).cbrt()).round().clamp(3.0, 24.0);
                config.head = Head::Mixture { components: components as usize };
                config.optimiser.lr = 2e-3;
            }
            ModelConfig::Diffusion(config) => {
                config.hidden = vec![width; 3];
                config.octaves = self.octaves(4);
                config.sampler = Sampler::Ddim { steps: 50, eta: 0.0 };
            }
            ModelConfig::Energy(config) => config.octaves = self.octaves(5),
            ModelConfig::Flow(config) => {
                config.octaves = self.octaves(2);
                let bins = (8.0 * (self.rows / 1000.0).cbrt()).round().clamp(4.0, 24.0);
                config.transform = Transform::Spline { bins: bins as usize, bound: 4.0 };
                if dim == 1 {
                    config.architecture = Architecture::MaskedAutoregressive;
                }
                config.hidden = vec![width; 2];
            }
            ModelConfig::FlowMatching(config) => {
                config.hidden = vec![width; 3];
                config.octaves = self.octaves(4);
                config.coupling = Coupling::OptimalTransport { rows: 64 };
            }
            ModelConfig::Gan(config) => config.latent_dim = dim,
            ModelConfig::GaussianMixture(_) | ModelConfig::KernelDensity(_) => {}
            ModelConfig::Score(config) => {
                config.hidden = vec![width; 3];
                config.octaves = self.octaves(4);
            }
            ModelConfig::Vae(config) => {
                config.latent_dim = dim;
                config.hidden = vec![width; 3];
                config.encoder_octaves = self.octaves(4);
                config.decoder_octaves = self.octaves(4);
            }
        }
        config
    }

    fn options(&self, kind: Kind, rows: usize) -> TrainOptions {
        let length = match kind {
            Kind::Diffusion | Kind::Vae => 2.0,
            _ => 1.0,
        };
        let steps = round_to(10.0, length * 500.0 * (self.rows / 100.0).powf(0.35));
        let batch = round_to(16.0, 128.0 * (self.rows / 1000.0).powf(0.25)).min(rows);
        let held_out = 0.15 / (1.0 + self.rows / 10_000.0);
        let validates = rows >= 10 && !kind.in_one_go();
        TrainOptions {
            steps,
            batch,
            shards: batch.min(2),
            validation: if validates { held_out } else { 0.0 },
            validate_every: (steps / 50).max(1),
            patience: (validates && !matches!(kind, Kind::Energy | Kind::Gan)).then_some(15),
            ..TrainOptions::default()
        }
    }
}

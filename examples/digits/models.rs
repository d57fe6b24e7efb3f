//! The models, all under the condition which digit.

use std::time::Instant;

use quadrivium::diffusion::{Guidance, LearnedGuidance};
use quadrivium::hybrid::{Latent, LatentConfig};
use quadrivium::numeric::rng::{Rng, Streams};
use quadrivium::prelude::*;
use quadrivium::{
    Activation, AdversarialLoss, ConditionKind, Conditioning, NetworkSpec, OptimizerConfig, Sampler,
};

use crate::Outcome;
use crate::data::Digits;

const CLASSES: ConditionKind = ConditionKind::Class { classes: 10 };

/// Columns of the latents.
const LATENTS: usize = 16;

/// Scales of guidance.
const SCALES: [f64; 4] = [1.0, 1.5, 2.0, 3.0];

pub struct Workshop<'a> {
    pub digits: &'a Digits,
    pub quick: bool,
    pub streams: Streams,
}

/// What a model is shown with: its name and the seconds of its training.
pub type Each<'a> = &'a mut dyn FnMut(&str, &dyn Generative, f64) -> Outcome<()>;

fn wide(layers: usize) -> NetworkSpec {
    NetworkSpec::mlp(vec![128; layers], Activation::Silu, 0)
}

/// Few rows are learned by heart: decay holds the weights to what many of them share.
fn optimizer(lr: f64, weight_decay: f64) -> OptimizerConfig {
    OptimizerConfig { lr, weight_decay, ..Default::default() }
}

impl Workshop<'_> {
    fn rng(&self, index: u64) -> Rng {
        self.streams.stream(index)
    }

    /// So many steps, of as many rows.
    fn options(&self, steps: usize, batch: usize) -> TrainOptions {
        TrainOptions { steps: if self.quick { 60 } else { steps }, batch, shards: 2, ..Default::default() }
    }

    /// A VAE of the pixels. In whitened units all 64 directions would count the same, and 16 latents describe arbitrary
    /// ones; without whitening they describe the largest, which tell one digit from another.
    fn vae(&self, beta: f64, condition: ConditionKind) -> Result<Vae> {
        let config = VaeConfig {
            dim: 64,
            latent_dim: LATENTS,
            encoder: wide(2),
            decoder: wide(2),
            beta,
            whiten: false,
            condition,
            optimizer: optimizer(2e-3, 0.01),
            ..Default::default()
        };
        let mut vae = Vae::new(config, &mut self.rng(0))?;
        let train = match condition {
            ConditionKind::None => &Dataset::new(self.digits.train.x().to_owned())?,
            _ => &self.digits.train,
        };
        vae.train(train, &self.options(3_000, 128), &mut self.rng(1), &mut NoObserver)?;
        Ok(vae)
    }

    fn diffusion(&self, dim: usize) -> Result<Diffusion> {
        let config = DiffusionConfig {
            dim,
            network: wide(3),
            sampler: Sampler::Ddim { steps: 50, eta: 0.0 },
            condition: CLASSES,
            optimizer: optimizer(3e-3, 0.006),
            ..Default::default()
        };
        Diffusion::new(config, &mut self.rng(2))
    }

    /// Every model, shown to `each` as soon as it is trained.
    pub fn models(&self, each: Each) -> Outcome<()> {
        self.alone(each)?;
        self.in_pixels(each)?;
        self.in_latents(each)?;
        self.game(each)
    }

    fn alone(&self, each: Each) -> Outcome<()> {
        let start = Instant::now();
        let vae = self.vae(1.0, CLASSES)?;
        each("VAE", &vae, start.elapsed().as_secs_f64())
    }

    fn in_pixels(&self, each: Each) -> Outcome<()> {
        let start = Instant::now();
        let mut diffusion = self.diffusion(64)?;
        let options = self.options(8_000, 256);
        diffusion.train(&self.digits.train, &options, &mut self.rng(3), &mut NoObserver)?;
        each("diffusion of pixels, DDIM-50", &diffusion, start.elapsed().as_secs_f64())
    }

    fn in_latents(&self, each: Each) -> Outcome<()> {
        let start = Instant::now();
        let vae = self.vae(0.1, ConditionKind::None)?;
        let config = LatentConfig { encodings: 8, ..Default::default() };
        let mut model = Latent::new(vae, self.diffusion(LATENTS)?, config)?;
        let options = self.options(8_000, 256);
        model.train_prior(&self.digits.train, &options, &mut self.rng(4), &mut NoObserver)?;
        let train_s = start.elapsed().as_secs_f64();
        for scale in SCALES {
            let name = format!("latent diffusion, DDIM-50, w = {scale}");
            match scale {
                1.0 => each(&name, &model, train_s)?,
                _ => {
                    let guided = model.prior().with_guidance(Guidance { scale, ..Default::default() })?;
                    each(&name, &model.with_prior(guided)?, train_s)?;
                }
            }
        }
        // One pass a step, whatever the scale: the map has learned to be guided.
        let config = FlowMapConfig {
            network: wide(3),
            guidance: Some(LearnedGuidance { scales: (1.0, 3.0), scale: 1.0 }),
            optimizer: optimizer(3e-3, 0.006),
            ..Default::default()
        };
        let map = FlowMap::distill(model.prior(), config, &mut self.rng(5))?;
        let mut map = model.with_prior(map)?;
        let options = self.options(8_000, 256);
        map.train_prior(&self.digits.train, &options, &mut self.rng(6), &mut NoObserver)?;
        let train_s = start.elapsed().as_secs_f64();
        for (steps, scale) in [(1, 1.0), (1, 1.5), (4, 1.0), (4, 1.5)] {
            let view = map.prior().with_steps(steps)?.with_scale(scale)?;
            let name = format!("latent flow map-{steps}, w = {scale}");
            each(&name, &map.with_prior(view)?, train_s)?;
        }
        Ok(())
    }

    fn game(&self, each: Each) -> Outcome<()> {
        let start = Instant::now();
        let base = GanConfig::relativistic();
        let config = GanConfig {
            dim: 64,
            latent_dim: 32,
            generator: wide(3),
            critic: NetworkSpec::mlp([128; 3], Activation::LeakyRelu { slope: 0.2 }, 0),
            loss: AdversarialLoss::Relativistic { gamma: 0.5 },
            critic_lr: 1e-3,
            condition: CLASSES,
            conditioning: Conditioning::Projection,
            optimizer: OptimizerConfig { lr: 1e-3, ..base.optimizer.clone() },
            ..base
        };
        let mut gan = Gan::new(config, &mut self.rng(7))?;
        gan.train(&self.digits.train, &self.options(6_000, 256), &mut self.rng(8), &mut NoObserver)?;
        each("R3GAN", &gan, start.elapsed().as_secs_f64())
    }
}

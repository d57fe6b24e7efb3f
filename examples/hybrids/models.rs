//! Compositions of one data set, trained part by part: every codec once, every prior once in its latents.

use std::time::Instant;

use quadrivium::diffusion::Guidance;
use quadrivium::hybrid::{Codec, Latent, LatentConfig, Pca, PcaConfig};
use quadrivium::ndarray::{Array1, s};
use quadrivium::numeric::rng::{Rng, Streams};
use quadrivium::prelude::*;
use quadrivium::recipe::{Kind, ModelConfig, Recipe};
use quadrivium::{Activation, AdversarialLoss, ConditionKind, DecoderVariance, NetworkSpec};

use crate::cells::{Cell, Part, cell};
use crate::world::World;

/// A trained model, how long that took in all, and its place in the table of cells.
pub struct Trained {
    pub model: Box<dyn Generative>,
    pub train_s: f64,
    pub cell: Option<(Option<Part>, Part)>,
    /// What a prior adds to the bound of the codec's own N(0, I) on test rows, in nats; where it has a density.
    pub gain: Option<Array1<f64>>,
}

/// Steps of a training, at most: a flow's and a game's cost more, the more columns there are.
fn most_steps(kind: Kind, dim: usize) -> usize {
    match kind {
        Kind::Flow => (30_000 / dim).min(2_500),
        Kind::Gan => (32_000 / dim).min(4_000),
        _ => 2_500,
    }
}

/// Scales of guidance at which a latent diffusion is asked for its class.
const GUIDED: [f64; 4] = [2.0, 3.0, 4.0, 6.0];

/// Test rows of a gain.
const GAINED: usize = 150;

pub struct Workshop<'a> {
    pub world: &'a World,
    pub quick: bool,
    pub streams: Streams,
}

impl Workshop<'_> {
    /// The recipe of a kind for rows of `dim` columns.
    fn recipe(&self, kind: Kind, dim: usize, condition: ConditionKind) -> Result<Recipe> {
        let mut recipe = Recipe::of(kind, self.world.train.rows(), dim).with_condition(condition)?;
        recipe.options.steps = recipe.options.steps.min(if self.quick { 60 } else { most_steps(kind, dim) });
        if self.quick {
            recipe.options.patience = None;
        }
        if let ModelConfig::Gan(config) = &mut recipe.config {
            config.loss = AdversarialLoss::WassersteinGp { lambda: 10.0 };
        }
        Ok(recipe)
    }

    /// So many steps on all rows.
    fn to_the_end(&self, options: TrainOptions, steps: usize) -> TrainOptions {
        let steps = if self.quick { options.steps } else { steps };
        TrainOptions { steps, validation: 0.0, patience: None, ..options }
    }

    fn rng(&self, index: u64) -> Rng {
        self.streams.stream(index)
    }

    /// Columns of the latents: those of the rows, or a few of many.
    fn latent_dim(&self) -> usize {
        self.world.train.dim().min(16)
    }

    /// Rows without conditions, for the parts that describe all of them.
    fn bare(&self) -> Result<Dataset> {
        Dataset::new(self.world.train.x().to_owned())
    }

    fn vae(&self) -> Result<(Vae, f64)> {
        let mut recipe = self.recipe(Kind::Vae, self.world.train.dim(), ConditionKind::None)?;
        let ModelConfig::Vae(config) = &mut recipe.config else { unreachable!("a VAE's recipe") };
        config.latent_dim = self.latent_dim();
        if self.world.toy.is_none() {
            // A recipe holds few rows to one Gaussian, which does not tell a digit from another; a codec has to, and
            // what it leaves of N(0, I) is the prior's to learn. In whitened units all directions of the pixels would
            // count the same, and few latents describe arbitrary ones instead of the largest.
            let network = NetworkSpec::mlp([128, 128], Activation::Silu, 0);
            (config.encoder, config.decoder, config.beta) = (network.clone(), network, 0.1);
            config.whiten = false;
            config.decoder_variance = DecoderVariance::Shared;
            (config.optimizer.lr, config.optimizer.weight_decay) = (2e-3, 0.01);
            recipe.options = self.to_the_end(recipe.options, 1_500);
        }
        let start = Instant::now();
        let mut vae = Vae::new(config.clone(), &mut self.rng(1))?;
        vae.train(&self.bare()?, &recipe.options, &mut self.rng(2), &mut NoObserver)?;
        Ok((vae, start.elapsed().as_secs_f64()))
    }

    fn flow(&self, data: &Dataset, condition: ConditionKind) -> Result<(Flow, f64)> {
        let recipe = self.recipe(Kind::Flow, data.dim(), condition)?;
        let ModelConfig::Flow(config) = &recipe.config else { unreachable!("a flow's recipe") };
        let start = Instant::now();
        let mut flow = Flow::new(config.clone(), &mut self.rng(3))?;
        flow.train(data, &recipe.options, &mut self.rng(4), &mut NoObserver)?;
        Ok((flow, start.elapsed().as_secs_f64()))
    }

    fn diffusion(&self, dim: usize) -> Result<(Diffusion, TrainOptions)> {
        let recipe = self.recipe(Kind::Diffusion, dim, self.world.kind())?;
        let ModelConfig::Diffusion(mut config) = recipe.config else { unreachable!("a diffusion's recipe") };
        let mut options = recipe.options;
        if self.world.toy.is_none() {
            config.optimizer.weight_decay = 0.006;
            options = self.to_the_end(options, 4_000);
        }
        Ok((Diffusion::new(config, &mut self.rng(5))?, options))
    }

    /// How latents are drawn: of few rows often, so that they are not learned by heart.
    fn config(&self) -> LatentConfig {
        LatentConfig { draws: 5, encodings: if self.world.train.rows() < 2_000 { 8 } else { 1 } }
    }

    /// Every composition, shown to `each` as soon as it is trained.
    pub fn compositions(&self, mut each: impl FnMut(Trained) -> crate::Outcome<()>) -> crate::Outcome<()> {
        let (dim, kind) = (self.world.train.dim(), self.world.kind());
        for part in Part::ALL {
            let recipe = self.recipe(part.kind(), dim, kind)?;
            let start = Instant::now();
            let mut model = recipe.build(&mut self.rng(6))?;
            model.train(&self.world.train, &recipe.options, &mut self.rng(7), &mut NoObserver)?;
            each(Trained {
                model,
                train_s: start.elapsed().as_secs_f64(),
                cell: Some((None, part)),
                gain: None,
            })?;
        }
        let (vae, vae_s) = self.vae()?;
        self.priors_of(&vae, vae_s, Part::Latent, &mut each)?;
        self.three_parts(&vae, vae_s, &mut each)?;
        let (flow, flow_s) = self.flow(&self.bare()?, ConditionKind::None)?;
        self.priors_of(&flow, flow_s, Part::Flow, &mut each)?;
        // The linear codec, whose likelihood stays exact.
        let start = Instant::now();
        let mut pca = Pca::new(PcaConfig { dim, latent_dim: self.latent_dim() })?;
        pca.fit(&self.bare()?, &mut self.rng(8))?;
        let pca = Latent::new(
            pca,
            Flow::new(FlowConfig::with_dim(self.latent_dim()), &mut self.rng(9))?,
            self.config(),
        )?;
        let (flow, _) = self.flow(&pca.latents(&self.world.train, 0)?, kind)?;
        let model = Box::new(pca.with_prior(flow)?);
        each(Trained { model, train_s: start.elapsed().as_secs_f64(), cell: None, gain: None })
    }

    /// What the prior adds. A flow's N(0, I) is its own model, and a VAE's what the ELBO asks for.
    fn gain<C: Codec, P: Generative>(&self, model: &Latent<C, P>) -> Result<Option<Array1<f64>>> {
        let test = self.world.test.x();
        let rows = test.nrows().min(if self.quick { 16 } else { GAINED });
        model.prior_gain(test.slice(s![..rows, ..]), &LikelihoodOptions::default())
    }

    /// A codec with every prior that the table has for it.
    fn priors_of<C: Codec>(
        &self,
        codec: &C,
        codec_s: f64,
        outer: Part,
        each: &mut impl FnMut(Trained) -> crate::Outcome<()>,
    ) -> crate::Outcome<()> {
        for part in Part::ALL {
            let (Cell::Run, place) = (cell(Some(outer), part), Some((Some(outer), part))) else { continue };
            let start = Instant::now();
            let took = |start: Instant| codec_s + start.elapsed().as_secs_f64();
            if part == Part::Diffusion {
                let (prior, options) = self.diffusion(codec.latent_dim())?;
                let mut model = Latent::new(codec.clone(), prior, self.config())?;
                model.train_prior(&self.world.train, &options, &mut self.rng(10), &mut NoObserver)?;
                let train_s = took(start);
                if !self.world.kind().is_none() && outer == Part::Latent {
                    for scale in GUIDED {
                        let guided = model.prior().with_guidance(Guidance { scale, ..Default::default() })?;
                        let model = Box::new(model.with_prior(guided)?);
                        each(Trained { model, train_s, cell: None, gain: None })?;
                    }
                }
                let gain = self.gain(&model)?;
                each(Trained { model: Box::new(model), train_s, cell: place, gain })?;
                continue;
            }
            let recipe = self.recipe(part.kind(), codec.latent_dim(), self.world.kind())?;
            let mut model = Latent::new(codec.clone(), recipe.build(&mut self.rng(11))?, self.config())?;
            model.train_prior(&self.world.train, &recipe.options, &mut self.rng(12), &mut NoObserver)?;
            let (train_s, gain) = (took(start), self.gain(&model)?);
            each(Trained { model: Box::new(model), train_s, cell: place, gain })?;
        }
        Ok(())
    }

    /// A VAE, a flow that learns its latents, and a diffusion in the flow's base space.
    fn three_parts(
        &self,
        vae: &Vae,
        vae_s: f64,
        each: &mut impl FnMut(Trained) -> crate::Outcome<()>,
    ) -> crate::Outcome<()> {
        let start = Instant::now();
        let (diffusion, options) = self.diffusion(vae.latent_dim())?;
        let outer = Latent::new(vae.clone(), diffusion.clone(), self.config())?;
        let latents = outer.latents(&self.world.train, 0)?;
        let (flow, _) = self.flow(&Dataset::new(latents.x().to_owned())?, ConditionKind::None)?;
        let mut warp = Latent::new(flow, diffusion, LatentConfig::default())?;
        warp.train_prior(&latents, &options, &mut self.rng(13), &mut NoObserver)?;
        let (model, train_s) = (outer.with_prior(warp)?, vae_s + start.elapsed().as_secs_f64());
        let gain = self.gain(&model)?;
        each(Trained { model: Box::new(model), train_s, cell: None, gain })
    }
}

//! The rows of the table: which models, and how long each trains on which data.

use quadrivium::numeric::rng::Rng;
use quadrivium::prelude::*;

use crate::source::{Name, Source};

/// A model to train; a trained diffusion is sampled in more than one way.
pub enum Candidate {
    One(Box<dyn Generative>),
    Diffusion(Box<Diffusion>),
    FlowMatching(Box<FlowMatching>),
}

impl Candidate {
    pub fn model(&mut self) -> &mut dyn Generative {
        match self {
            Candidate::One(model) => model.as_mut(),
            Candidate::Diffusion(model) => model.as_mut(),
            Candidate::FlowMatching(model) => model.as_mut(),
        }
    }

    /// The model as it is.
    #[cfg(feature = "plot")]
    pub fn view(&self) -> &dyn Generative {
        match self {
            Candidate::One(model) => model.as_ref(),
            Candidate::Diffusion(model) => model.as_ref(),
            Candidate::FlowMatching(model) => model.as_ref(),
        }
    }

    pub fn diffusion(&self) -> Option<&Diffusion> {
        match self {
            Candidate::Diffusion(model) => Some(model),
            _ => None,
        }
    }

    /// The rows of the table that this model gives.
    pub fn into_views(self, all: bool) -> Result<Vec<Box<dyn Generative>>> {
        let model = match self {
            Candidate::One(model) => return Ok(vec![model]),
            Candidate::FlowMatching(model) => return Ok(vec![model]),
            Candidate::Diffusion(model) => model,
        };
        let mut samplers =
            vec![Sampler::Ddpm, Sampler::Ddim { steps: 50, eta: 0.0 }, Sampler::Ddim { steps: 10, eta: 0.0 }];
        if all {
            samplers.extend([Sampler::Heun { steps: 35 }, Sampler::DpmSolver { steps: 20 }]);
        }
        let view = |sampler| Ok(Box::new(model.with_sampler(sampler)?) as Box<dyn Generative>);
        samplers.into_iter().map(view).collect()
    }
}

/// How long to train, by how much there is to learn from.
#[derive(Clone, Copy)]
pub struct Rule {
    /// A few hundred real rows are learned in a second, and then by heart. How long is long enough was found
    /// on other random splits of Old Faithful.
    pub small: bool,
    rows: usize,
}

impl Rule {
    pub fn new(rows: usize) -> Self {
        Rule { small: rows < 5_000, rows }
    }

    /// Steps and batch on many rows, and on few.
    pub fn options(self, steps: usize, batch: usize, (few_steps, few_batch): (usize, usize)) -> TrainOptions {
        let (steps, batch) = if self.small { (few_steps, few_batch.min(self.rows)) } else { (steps, batch) };
        TrainOptions { steps, batch, shards: batch.min(2), ..TrainOptions::default() }
    }

    /// Few rows do not show detail, and a network that could follow it follows their noise.
    pub fn octaves(self, many: usize, few: usize) -> usize {
        if self.small { few } else { many }
    }
}

/// The models of the table, untrained, each with its training.
pub fn candidates(
    source: &Source,
    dim: usize,
    rule: Rule,
    rng: &mut Rng,
) -> Result<Vec<(Candidate, TrainOptions)>> {
    let options = |steps, batch, few| rule.options(steps, batch, few);
    // Edges that no Gaussian has, along the axes: a histogram follows them.
    let (head, whiten) = match source {
        Source::Named(Name::Checkerboard) => (Head::Bins { bins: 64 }, false),
        _ => (AutoregressiveConfig::default().head, true),
    };
    let (ar, ddpm) = (AutoregressiveConfig::default(), DiffusionConfig::default());
    let autoregressive = AutoregressiveConfig {
        dim,
        head,
        whiten,
        network: ar.network.clone().with_octaves(rule.octaves(ar.network.octaves(), 2)),
        ..ar
    };
    let vae = VaeConfig { dim, ..Default::default() };
    let (gan, long) = wasserstein(dim, rule);
    // At the rates that suit the other games this one stalls at once; slower, it shows what it is known for.
    let slow = OptimizerConfig { lr: 1e-3, ..gan.optimizer.clone() };
    let minimax =
        GanConfig { loss: AdversarialLoss::Minimax, critic_lr: 5e-4, optimizer: slow, ..gan.clone() };
    let r1 = GanConfig { loss: AdversarialLoss::NonSaturatingR1 { gamma: 1.0 }, ..gan.clone() };
    let games =
        [(minimax, options(5000, 128, (1000, 128))), (r1, options(8000, 128, (1000, 128))), (gan, long)];
    let diffusion = DiffusionConfig {
        dim,
        network: ddpm.network.clone().with_octaves(rule.octaves(ddpm.network.octaves(), 1)),
        ..ddpm
    };

    let mut all: Vec<(Candidate, TrainOptions)> = vec![
        (Candidate::One(Box::new(Autoregressive::new(autoregressive, rng)?)), options(3000, 256, (30, 128))),
        (Candidate::One(Box::new(Vae::new(vae, rng)?)), options(8000, 512, (1000, 128))),
    ];
    for (config, options) in games {
        all.push((Candidate::One(Box::new(Gan::new(config, rng)?)), options));
    }
    all.push((
        Candidate::Diffusion(Box::new(Diffusion::new(diffusion, rng)?)),
        options(8000, 256, (500, 128)),
    ));
    Ok(all)
}

/// The WGAN-GP of the table, with its training.
pub fn wasserstein(dim: usize, rule: Rule) -> (GanConfig, TrainOptions) {
    (GanConfig { dim, ..Default::default() }, rule.options(12_000, 128, (2000, 128)))
}

//! The rows of the table: which models, and how long each trains on which data.

use quadrivium::numeric::rng::Rng;
use quadrivium::prelude::*;

use crate::source::{Name, Source};

/// A model to train; a trained diffusion is sampled in more than one way.
pub enum Candidate {
    One(Box<dyn Generative>),
    Diffusion(Box<Diffusion>),
}

impl Candidate {
    pub fn model(&mut self) -> &mut dyn Generative {
        match self {
            Candidate::One(model) => model.as_mut(),
            Candidate::Diffusion(model) => model.as_mut(),
        }
    }

    /// The rows of the table that this model gives.
    pub fn into_views(self) -> Result<Vec<Box<dyn Generative>>> {
        Ok(match self {
            Candidate::One(model) => vec![model],
            Candidate::Diffusion(model) => vec![
                Box::new(model.with_sampler(Sampler::Ddpm)?),
                Box::new(model.with_sampler(Sampler::Ddim { steps: 50, eta: 0.0 })?),
                Box::new(model.with_sampler(Sampler::Ddim { steps: 10, eta: 0.0 })?),
            ],
        })
    }
}

/// The models of the table, untrained, each with its training.
pub fn candidates(
    source: &Source,
    dim: usize,
    rows: usize,
    rng: &mut Rng,
) -> Result<Vec<(Candidate, TrainOptions)>> {
    // A few hundred real rows are learned in a second, and then by heart. How long is long enough was found on other random
    // splits of Old Faithful.
    let small = rows < 5_000;
    let options = |steps: usize, batch: usize, (few_steps, few_batch): (usize, usize)| {
        let (steps, batch) = if small { (few_steps, few_batch.min(rows)) } else { (steps, batch) };
        TrainOptions { steps, batch, ..TrainOptions::default() }
    };
    // Edges that no Gaussian has: a histogram follows them.
    let head = match source {
        Source::Named(Name::Checkerboard) => Head::Bins { bins: 64 },
        _ => AutoregressiveConfig::default().head,
    };
    // Few rows do not show detail, and a network that could follow it follows their noise.
    let octaves = |many: usize, few: usize| if small { few } else { many };
    let (ar, ddpm) = (AutoregressiveConfig::default(), DiffusionConfig::default());
    let autoregressive = AutoregressiveConfig { dim, head, octaves: octaves(ar.octaves, 2), ..ar };
    let vae = VaeConfig { dim, ..Default::default() };
    let gan = GanConfig { dim, ..Default::default() };
    // At the rates that suit the other games this one stalls at once; slower, it shows what it is known for.
    let slow = OptimiserConfig { lr: 1e-3, ..gan.optimiser.clone() };
    let minimax =
        GanConfig { loss: AdversarialLoss::Minimax, critic_lr: 5e-4, optimiser: slow, ..gan.clone() };
    let r1 = GanConfig { loss: AdversarialLoss::NonSaturatingR1 { gamma: 1.0 }, ..gan.clone() };
    let games = [
        (minimax, options(5000, 128, (1000, 128))),
        (r1, options(8000, 128, (1000, 128))),
        (gan, options(12_000, 128, (2000, 128))),
    ];
    let diffusion = DiffusionConfig { dim, octaves: octaves(ddpm.octaves, 1), ..ddpm };

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

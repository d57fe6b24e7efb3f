//! How often trainings succeed: a ring of eight modes, small networks, five learning rates, five seeds.

use std::rc::Rc;

use quadrivium::error::TrainingError;
use quadrivium::metrics::energy_distance;
use quadrivium::ndarray::Array2;
use quadrivium::prelude::*;
use quadrivium::worlds::Toy;
use quadrivium::{Activation, AdversarialLoss, Error, NetworkSpec, OptimizerConfig, Sampler};

use crate::claim::{Bound, Estimate, Finding};
use crate::lab::{Lab, Outcome};
use crate::statistics;

const RATES: [f64; 5] = [3e-4, 1e-3, 3e-3, 1e-2, 3e-2];
const STEPS: usize = 3_000;
const ROWS: usize = 1_000;
/// Draws of which a distance is the mean.
const DRAWS: usize = 4;

fn ring() -> Result<Toy> {
    Toy::ring(8, 1.0, 0.05)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Minimax,
    WassersteinGp,
    NonSaturatingR1,
    Relativistic,
    Diffusion,
}

impl Kind {
    const ALL: [Kind; 5] =
        [Kind::Minimax, Kind::WassersteinGp, Kind::NonSaturatingR1, Kind::Relativistic, Kind::Diffusion];

    fn name(self) -> &'static str {
        match self {
            Kind::Minimax => "minimax",
            Kind::WassersteinGp => "WGAN-GP",
            Kind::NonSaturatingR1 => "NS + R1",
            Kind::Relativistic => "R3GAN",
            Kind::Diffusion => "diffusion",
        }
    }

    /// The game at the library's defaults but for small networks, and the critic's rate at twice the generator's.
    fn game(self, lr: f64) -> GanConfig {
        let base = if self == Kind::Relativistic { GanConfig::relativistic() } else { GanConfig::default() };
        let loss = match self {
            Kind::Minimax => AdversarialLoss::Minimax,
            Kind::NonSaturatingR1 => AdversarialLoss::NonSaturatingR1 { gamma: 0.1 },
            _ => base.loss,
        };
        GanConfig {
            loss,
            generator: NetworkSpec::mlp([32; 3], Activation::Silu, 2),
            critic: NetworkSpec::mlp([32; 3], Activation::LeakyRelu { slope: 0.2 }, 2),
            critic_lr: 2.0 * lr,
            optimizer: OptimizerConfig { lr, ..base.optimizer.clone() },
            ..base
        }
    }

    fn model(self, lab: &Lab, seed: u64, lr: f64) -> Result<Box<dyn Generative>> {
        let rng = &mut lab.streams(seed).stream(1);
        if self != Kind::Diffusion {
            return Ok(Box::new(Gan::new(self.game(lr), rng)?));
        }
        let config = DiffusionConfig::default();
        let config = DiffusionConfig {
            network: NetworkSpec::mlp([32; 3], Activation::Silu, 2),
            sampler: Sampler::DpmSolver { steps: 20 },
            optimizer: OptimizerConfig { lr, ..config.optimizer.clone() },
            ..config
        };
        Ok(Box::new(Diffusion::new(config, rng)?))
    }
}

fn data(lab: &Lab, seed: u64) -> Outcome<Dataset> {
    Ok(Dataset::new(ring()?.sample(20_000, &mut lab.streams(seed).stream(0)))?)
}

fn options(steps: usize) -> TrainOptions {
    TrainOptions { steps, batch: 64, shards: 1, ..Default::default() }
}

/// The energy distance of what a model draws.
fn distance(lab: &Lab, seed: u64, model: &dyn Generative) -> Outcome<f64> {
    let (toy, mut truth, mut rng) = (ring()?, lab.streams(seed).stream(3), lab.streams(seed).stream(4));
    let mut sum = 0.0;
    for _ in 0..DRAWS {
        sum += energy_distance(model.draw(ROWS, &mut rng)?.view(), toy.sample(ROWS, &mut truth).view())?;
    }
    Ok(sum / DRAWS as f64)
}

/// The distance of a model once it is trained; of one that diverges, that of its mean alone.
fn trained(lab: &Lab, seed: u64, mut model: Box<dyn Generative>) -> Outcome<f64> {
    let rng = &mut lab.streams(seed).stream(2);
    match model.train(&data(lab, seed)?, &options(STEPS), rng, &mut NoObserver) {
        Ok(_) => distance(lab, seed, model.as_ref()),
        Err(Error::Training(TrainingError::Diverged { .. })) => {
            let truth = ring()?.sample(ROWS, &mut lab.streams(seed).stream(3));
            Ok(energy_distance(Array2::zeros((ROWS, 2)).view(), truth.view())?)
        }
        Err(error) => Err(error.into()),
    }
}

/// The distance at each rate.
fn runs(lab: &Lab, kind: Kind, seed: u64) -> Outcome<Rc<Vec<f64>>> {
    lab.kept(kind.name(), seed, || {
        RATES.into_iter().map(|lr| trained(lab, seed, kind.model(lab, seed, lr)?)).collect()
    })
}

/// The share of rates, of each seed, at which a kind of model is no more than twice as far from the truth as the best
/// kind at its best rate is in the mean over the seeds.
fn success(lab: &Lab, kind: Kind) -> Outcome<Vec<f64>> {
    let mut best = f64::INFINITY;
    for kind in Kind::ALL {
        let all = lab.each(|seed| runs(lab, kind, seed))?;
        for rate in 0..RATES.len() {
            best = best.min(all.iter().map(|runs| runs[rate]).sum::<f64>() / all.len() as f64);
        }
    }
    lab.each(|seed| {
        let runs = runs(lab, kind, seed)?;
        Ok(runs.iter().filter(|&&distance| distance <= 2.0 * best).count() as f64 / runs.len() as f64)
    })
}

fn share(lab: &Lab, kind: Kind) -> Outcome<Estimate> {
    Ok(statistics::mean(&success(lab, kind)?))
}

pub fn stable(lab: &Lab) -> Outcome<Finding> {
    let more = |one, other| -> Outcome<Estimate> {
        let (one, other) = (success(lab, one)?, success(lab, other)?);
        Ok(statistics::mean(&one.iter().zip(other).map(|(a, b)| a - b).collect::<Vec<_>>()))
    };
    let mut finding = Finding::new()
        .claim(
            "share of good trainings, NS + R1 less WGAN-GP",
            more(Kind::NonSaturatingR1, Kind::WassersteinGp)?,
            Bound::AtLeast(0.0),
        )
        .claim("NS + R1 less minimax", more(Kind::NonSaturatingR1, Kind::Minimax)?, Bound::AtLeast(0.0))
        .limit("R3GAN less WGAN-GP", more(Kind::Relativistic, Kind::WassersteinGp)?, Bound::AtLeast(0.0));
    for kind in Kind::ALL {
        finding = finding.beside(kind.name(), share(lab, kind)?);
    }
    Ok(finding.because(
        "On eight modes in two dimensions, with the penalties that suit them, the games with a penalty differ little from \
         one another; the claim comes from large images.",
    ))
}

/// Spearman's correlation of the loss with the distance over one training, looked at after 25, 75, 175, … steps.
fn told_by_loss(lab: &Lab, kind: Kind) -> Outcome<Estimate> {
    lab.mean(|seed| {
        let (data, mut model) = (data(lab, seed)?, kind.model(lab, seed, 3e-3)?);
        let (mut losses, mut distances) = (Vec::new(), Vec::new());
        for k in 0..7 {
            let rng = &mut lab.streams(seed).stream(5 + k);
            let report = model.train(&data, &options(25 << k), rng, &mut NoObserver)?;
            let last = &report.loss[report.loss.len() / 2..];
            losses.push(last.iter().sum::<f64>() / last.len() as f64);
            distances.push(distance(lab, seed, model.as_ref())?);
        }
        Ok(crate::ranks::spearman(&losses, &distances))
    })
}

pub fn babysitting(lab: &Lab) -> Outcome<Finding> {
    Ok(Finding::new()
        .claim("share of good trainings, diffusion", share(lab, Kind::Diffusion)?, Bound::AtLeast(0.8))
        .claim("minimax", share(lab, Kind::Minimax)?, Bound::AtMost(0.5))
        .limit("NS + R1", share(lab, Kind::NonSaturatingR1)?, Bound::AtMost(0.5))
        .claim("rank correlation of loss and distance, diffusion", told_by_loss(lab, Kind::Diffusion)?, Bound::AtLeast(0.9))
        .limit("NS + R1", told_by_loss(lab, Kind::NonSaturatingR1)?, Bound::Within(-0.5, 0.5))
        .because(
            "The loss of a diffusion says how good it is; the critic's loss says how hard the critic's task is, which grows \
             as the draws improve. But no objective is good at every learning rate: within the same number of steps, low \
             rates do not finish and high ones do not settle. With a penalty, a game on this small ring is little more \
             trouble than a diffusion.",
        ))
}

pub fn unstable(lab: &Lab) -> Outcome<Finding> {
    let few = Bound::AtMost(0.5);
    Ok(Finding::new()
        .claim("share of good trainings, minimax", share(lab, Kind::Minimax)?, few)
        .limit("WGAN-GP", share(lab, Kind::WassersteinGp)?, few)
        .limit("NS + R1", share(lab, Kind::NonSaturatingR1)?, few)
        .limit("R3GAN", share(lab, Kind::Relativistic)?, few)
        .because("The notoriety is the original game's; with a penalty on the critic's slope most trainings can succeed."))
}

/// A GAN at the rate in the middle, with something changed.
fn changed(lab: &Lab, seed: u64, kind: Kind, change: impl Fn(&mut GanConfig)) -> Outcome<f64> {
    let mut config = kind.game(RATES[2]);
    change(&mut config);
    trained(lab, seed, Box::new(Gan::new(config, &mut lab.streams(seed).stream(1))?))
}

pub fn tricks(lab: &Lab) -> Outcome<Finding> {
    let without = |kind: Kind, change: fn(&mut GanConfig)| {
        lab.mean(|seed| Ok((changed(lab, seed, kind, change)? / runs(lab, kind, seed)?[2]).ln()))
    };
    let worse = Bound::AtLeast(0.0);
    let r1 = without(Kind::NonSaturatingR1, |c| c.loss = AdversarialLoss::NonSaturatingR1 { gamma: 0.0 })?;
    let both = without(Kind::Relativistic, |c| c.loss = AdversarialLoss::Relativistic { gamma: 0.0 })?;
    let average = without(Kind::NonSaturatingR1, |c| c.optimizer.ema = 0.0)?;
    let rates = without(Kind::NonSaturatingR1, |c| c.critic_lr = c.optimizer.lr)?;
    Ok(Finding::new()
        .claim("log of the distance without R1 over that with it, NS + R1", r1, worse)
        .claim("without R1 and R2, R3GAN", both, worse)
        .claim("without averaged weights, NS + R1", average, worse)
        .claim("without a faster critic, NS + R1", rates, worse)
        .because("The penalties decide. Averaging the weights adds little where the learning rate falls to zero, and which of the \
             players should learn faster depends on the game."))
}

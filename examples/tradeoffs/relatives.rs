//! The other models, for `--all`: flows, energy and score models, and the baselines without a network.

use quadrivium::energy::Normalization;
use quadrivium::numeric::rng::Rng;
use quadrivium::prelude::*;
use quadrivium::{
    Activation, Architecture, Bandwidth, ComponentCount, EnergyTraining, NetworkSpec, Pairing, ScoreTraining,
    Transform,
};

use crate::models::{Candidate, Rule};
use crate::source::{Name, Source};

/// The models other than the four paradigms, untrained, each with its training.
pub fn relatives(
    source: &Source,
    dim: usize,
    rule: Rule,
    rng: &mut Rng,
) -> Result<Vec<(Candidate, TrainOptions)>> {
    let mut all: Vec<(Candidate, TrainOptions)> = Vec::new();
    let mut add = |candidate, options| all.push((candidate, options));

    // Yardsticks. Twenty-five components are the grid's own number, and enough for the rest.
    let components = if rule.small { ComponentCount::Bic { max: 10 } } else { ComponentCount::Fixed(25) };
    let mixture = GaussianMixtureConfig { dim, components, restarts: 1, ..Default::default() };
    add(one(GaussianMixture::new(mixture)?), rule.options(1, 1, (1, 1)));
    let bandwidth = Bandwidth::CrossValidated { rows: 300 };
    let kernel = KernelDensity::new(KernelDensityConfig { dim, bandwidth, ..Default::default() })?;
    add(one(kernel), rule.options(1, 256, (1, 128)));

    // Flows. A coupling needs two columns.
    let spline = match rule.small {
        true => FlowConfig {
            dim,
            transform: Transform::AffineSpline { bins: 8, bound: 4.0 },
            network: NetworkSpec::mlp([64; 2], Activation::Silu, 1),
            ..FlowConfig::default()
        },
        false => FlowConfig { dim, ..FlowConfig::default() },
    };
    let affine = FlowConfig {
        transform: Transform::Affine,
        layers: 8,
        network: NetworkSpec::mlp([64; 2], Activation::Silu, 0),
        ..spline.clone()
    };
    let masked = FlowConfig { architecture: Architecture::MaskedAutoregressive, ..spline.clone() };
    for (config, steps) in [(affine, 4000), (spline, 3000), (masked, 3000)] {
        if dim > 1 || config.architecture == Architecture::MaskedAutoregressive {
            add(one(Flow::new(config, rng)?), rule.options(steps, 256, (100, 128)));
        }
    }
    let matching = match rule.small {
        true => FlowMatchingConfig {
            dim,
            network: NetworkSpec::mlp([64; 2], Activation::Silu, 1),
            ..Default::default()
        },
        false => {
            let pairing = Pairing::OptimalTransport { rows: 64 };
            FlowMatchingConfig { dim, pairing, ..Default::default() }
        }
    };
    let matching = Candidate::FlowMatching(Box::new(FlowMatching::new(matching, rng)?));
    add(matching, rule.options(4000, 512, (300, 256)));

    // Energies and scores. The density's constant is known where the plane can be summed over.
    let normalization = match dim {
        1 | 2 => Normalization::Quadrature { intervals: if rule.small { 256 } else { 1024 } },
        _ => Normalization::None,
    };
    let chains = EnergyConfig { dim, normalization, ..EnergyConfig::default() };
    let sigma = match source {
        Source::Named(Name::Grid | Name::Ring) => 0.02,
        _ => 0.1,
    };
    let training = EnergyTraining::DenoisingScoreMatching { sigma };
    let denoised = EnergyConfig { training, ..chains.clone() };
    add(one(EnergyModel::new(chains, rng)?), rule.options(3000, 256, (200, 128)));
    add(one(EnergyModel::new(denoised, rng)?), rule.options(4000, 256, (300, 128)));
    for training in [ScoreTraining::Denoising, ScoreTraining::Sliced] {
        let config = ScoreConfig {
            dim,
            training,
            network: NetworkSpec::mlp([128; 3], Activation::Silu, rule.octaves(4, 1)),
            ..Default::default()
        };
        add(one(ScoreModel::new(config, rng)?), rule.options(5000, 256, (500, 128)));
    }
    Ok(all)
}

fn one(model: impl Generative + 'static) -> Candidate {
    Candidate::One(Box::new(model))
}

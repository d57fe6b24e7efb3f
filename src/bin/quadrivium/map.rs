use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use quadrivium::map::{Card, Objective, Sampling};

use crate::failure::{Outcome, of_writing};

/// Print the map: objective, sampling, likelihood, latency and failures of each paradigm.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Outcome<()> {
    let sequential = Sampling::Sequential { dim: 1 };
    let places = [
        ("autoregressive", Objective::ChainRuleNll, sequential),
        ("VAE", Objective::Elbo, Sampling::OnePass),
        ("GAN", Objective::Minimax, Sampling::OnePass),
        ("GAN, R1", Objective::NonSaturatingR1, Sampling::OnePass),
        ("GAN, R1 and R2", Objective::Relativistic, Sampling::OnePass),
        ("WGAN-GP", Objective::WassersteinGp, Sampling::OnePass),
        ("DDIM-50", Objective::NoisePrediction, Sampling::Denoising { steps: 50 }),
        ("flow", Objective::ChangeOfVariables, Sampling::OnePass),
        ("flow matching", Objective::FlowMatching, Sampling::Flowing { steps: 50 }),
        ("flow map", Objective::FlowMap, Sampling::Flowing { steps: 1 }),
        ("consistency model", Objective::Consistency, Sampling::Flowing { steps: 1 }),
        ("score ladder", Objective::ScoreMatching, Sampling::AnnealedLangevin { steps: 1_000 }),
        ("energy", Objective::ContrastiveDivergence, Sampling::Langevin { steps: 100 }),
    ];
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header([
        "model",
        "paradigm",
        "minimizes",
        "measures",
        "samples by",
        "latency",
        "likelihood",
        "can fail by",
    ]);
    for (name, objective, sampling) in places {
        let card = Card::new(name, objective, sampling);
        let failures: Vec<String> = card.failures.iter().map(ToString::to_string).collect();
        table.add_row([
            card.name.to_string(),
            card.paradigm.to_string(),
            card.objective.to_string(),
            card.divergence.to_string(),
            card.sampling.to_string(),
            card.latency.to_string(),
            card.likelihood.to_string(),
            failures.join(", "),
        ]);
    }
    let told = format!(
        "{table}\n\nA combination adds up evaluations and latencies, and has the weakest likelihood of its parts. \
         `quadrivium read` places a description on this map.\n"
    );
    io::stdout().write_all(told.as_bytes()).map_err(|error| of_writing("standard output", error))
}

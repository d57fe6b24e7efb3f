//! Trains every model with a condition: p(x|c) for a class, for numbers, and for handwritten digits, compared with
//! the truth where it is known.
//!
//! `cargo run --release --example conditional` · `-- --quick` checks that everything runs · `-- --help` explains the
//! options.

#[path = "../digits/data.rs"]
mod digits;
mod world;

use std::path::PathBuf;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use quadrivium::numeric::rng::Streams;
use quadrivium::prelude::*;
use quadrivium::recipe::{Kind, ModelConfig, Recipe};
use quadrivium::{AdversarialLoss, LikelihoodKind};
use serde_json::{Value, json};

use self::world::World;

/// Every model with a condition, compared with the truth.
#[derive(Parser)]
struct Args {
    /// What is learned; all if none is named.
    #[arg(long, value_enum)]
    data: Vec<Data>,
    /// The models, by their names in a model's file; all if none is named.
    #[arg(long)]
    model: Vec<Kind>,
    /// Few rows and few steps, to check that everything runs; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// Seed of the data, the models and the draws.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write every figure to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
enum Data {
    /// 8 Gaussians on a circle; the condition is which (a class).
    Ring,
    /// Two moons turned by an angle; the condition is its cosine and sine (numbers).
    Moons,
    /// Handwritten digits, 8 × 8 pixels; the condition is the digit (a class).
    Digits,
}

/// The results of a model.
struct Row {
    model: String,
    /// E[ln p(x|c) − ln p̂(x|c)] over true rows, in nats: how far the NLL is above h(x|c). `None` where either is not
    /// known.
    gap: Option<f64>,
    /// Which claim the gap makes.
    likelihood: LikelihoodKind,
    /// The share of draws that the classifier gives the class that was asked for.
    asked: f64,
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let data =
        if args.data.is_empty() { vec![Data::Ring, Data::Moons, Data::Digits] } else { args.data.clone() };
    let kinds = if args.model.is_empty() { Kind::ALL.to_vec() } else { args.model.clone() };
    let mut rows: Vec<Value> = Vec::new();
    for data in data {
        let streams = Streams::new(args.seed).family(data as u64);
        let world = match data {
            Data::Ring => World::ring(),
            Data::Moons => World::moons(),
            Data::Digits => World::digits(&mut streams.stream(0))?,
        };
        let name = format!("{data:?}").to_lowercase();
        println!("{name}: {}\n", world.about);
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_header(["model", "gap, nats", "asked"]);
        for column in [1, 2] {
            table.column_mut(column).expect("three columns").set_cell_alignment(CellAlignment::Right);
        }
        let truth = world.truth(&mut streams.stream(1))?;
        table.add_row(["truth", "", &percent(truth)]);
        for &kind in &kinds {
            let row = measure(&world, kind, args.quick, streams.family(2 + kind as u64))?;
            let gap = row.gap.map_or("–".into(), |gap| {
                let most = if row.likelihood == LikelihoodKind::LowerBound { "≤ " } else { "" };
                format!("{most}{gap:+.3}")
            });
            table.add_row([&row.model, &gap, &percent(row.asked)]);
            rows.push(json!({
                "data": name, "model": row.model, "gap_nats": row.gap, "asked_share": row.asked,
                "truth_asked_share": truth, "likelihood": row.likelihood.to_string(),
            }));
        }
        println!("{table}\n");
    }
    if let Some(path) = args.json {
        std::fs::write(path, serde_json::to_string_pretty(&json!({ "seed": args.seed, "rows": rows }))?)?;
    }
    Ok(())
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Trains a model by its recipe, and draws under each condition in turn.
fn measure(world: &World, kind: Kind, quick: bool, streams: Streams) -> Result<Row> {
    let rng = |index| streams.stream(index);
    let data = world.training(if quick { 400 } else { 10_000 }, &mut rng(0))?;
    let mut recipe = Recipe::of(kind, data.rows(), data.dim()).with_condition(world.kind)?;
    if quick {
        recipe.options.steps = recipe.options.steps.min(20);
    }
    // The game that is judged by its draws.
    if let ModelConfig::Gan(config) = &mut recipe.config {
        config.loss = AdversarialLoss::WassersteinGp { lambda: 10.0 };
    }
    let mut model = recipe.build(&mut rng(1))?;
    model.train(&data, &recipe.options, &mut rng(2), &mut NoObserver)?;

    let draws = if quick { 50 } else { 500 };
    let (mut right, mut gaps) = (0, Some(Vec::new()));
    for asked in 0..world.asked() {
        let given = model.given(&world.condition(asked))?;
        let drawn = given.draw(draws, &mut rng(10 + asked as u64))?;
        right += drawn.rows().into_iter().filter(|x| world.classify(*x) == asked).count();
        let x = world.rows(asked, draws, &mut rng(100 + asked as u64));
        // Paired with the truth on the same rows, which takes the chance of the rows out.
        let Some(truth) = world.nats(asked, &x) else {
            gaps = None;
            continue;
        };
        match given.log_likelihood(x.view(), &LikelihoodOptions::default())?.nats() {
            Some(nats) => gaps.iter_mut().for_each(|gaps| gaps.extend(&truth - nats)),
            None => gaps = None,
        }
    }
    let gap = gaps.map(|gaps| gaps.iter().sum::<f64>() / gaps.len() as f64);
    let card = model.card();
    let asked = right as f64 / (draws * world.asked()) as f64;
    Ok(Row { model: card.name.to_string(), gap, likelihood: card.likelihood, asked })
}

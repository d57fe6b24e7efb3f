//! Trains every composition of two paradigms that there is, and holds what its card predicts against what is measured:
//! evaluations, the kind of likelihood, quality.
//!
//! `cargo run --release --example hybrids` · `-- --quick` checks that everything runs · `-- --help` explains the
//! options.

mod cells;
#[path = "../digits/data.rs"]
mod digits;
mod models;
mod report;
mod world;

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use quadrivium::metrics::{self, Nll};
use quadrivium::ndarray::s;
use quadrivium::numeric::rng::Streams;
use quadrivium::prelude::*;

use self::models::{Trained, Workshop};
use self::report::Row;
use self::world::{Data, Outcome, World};

/// Every composition of two paradigms: predicted and measured.
#[derive(Parser)]
struct Args {
    /// What is learned; all if none is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    data: Vec<Data>,
    /// Few rows and few steps, to check that everything runs; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// Seed of the data, the models and the draws.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write every figure to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables, and a picture of digits, to this folder.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let data = match &args.data[..] {
        [] => vec![Data::Ring, Data::Grid, Data::Digits],
        named => named.to_vec(),
    };
    let started = Instant::now();
    let (mut rows, mut tables) = (Vec::new(), Vec::new());
    for data in data {
        let streams = Streams::new(args.seed).family(data as u64);
        let world = World::new(data, args.quick, &mut streams.stream(0))?;
        let workshop = Workshop { world: &world, quick: args.quick, streams: streams.family(1) };
        let first = rows.len();
        workshop.compositions(|trained| {
            let row = measure(&world, trained, args.quick, streams.family(2))?;
            eprintln!("{} · {} · {:.1} s", world.name, row.composition, row.train_s);
            rows.push(row);
            Ok(())
        })?;
        let table = report::table(&world, &rows[first..]);
        println!("{table}\n");
        tables.push(table);
    }
    println!("{}\n\n{:.0} s in all.", report::cells(&rows), started.elapsed().as_secs_f64());
    if let Some(path) = &args.json {
        std::fs::write(path, format!("{:#}\n", report::json(&rows)))?;
    }
    if let Some(dir) = &args.report {
        report::write(dir, &rows, &tables)?;
    }
    Ok(())
}

/// Draws from a model and scores with it.
fn measure(world: &World, trained: Trained, quick: bool, streams: Streams) -> Outcome<Row> {
    let Trained { model, train_s, cell, gain } = trained;
    let (card, options) = (model.card(), SampleOptions::default());
    let test = world.test.rows();
    // As many rows as are judged by, under their conditions.
    let start = Instant::now();
    let drawn = match world.test.condition() {
        Some(condition) => model.given(condition)?.sample(test, &options, &mut streams.stream(0))?,
        None => model.sample(test, &options, &mut streams.stream(0))?,
    };
    let us_bulk = start.elapsed().as_secs_f64() * 1e6 / test as f64;
    let mut single: Vec<f64> = Vec::new();
    for draw in 0..9 {
        let start = Instant::now();
        model.sample(1, &options, &mut streams.stream(1 + draw))?;
        single.push(start.elapsed().as_secs_f64() * 1e6);
    }
    single.sort_by(f64::total_cmp);

    let scored = test.min(if quick { 16 } else { 150 });
    let x = world.test.x().slice(s![..scored, ..]).to_owned();
    let likelihood = LikelihoodOptions::default();
    let score = match world.test.condition() {
        Some(condition) => {
            let under = condition.select(&(0..scored).collect::<Vec<_>>());
            model.given(&under)?.log_likelihood(x.view(), &likelihood)?
        }
        None => model.log_likelihood(x.view(), &likelihood)?,
    };
    let nll = Nll::of(&score).map(|nll| nll.mean);
    // Paired with the truth on the same rows, which takes the chance of the rows out.
    let truth = world.truth.as_ref().and_then(|truth| truth.slice(s![..scored]).mean());
    let modes = match world.toy.as_ref().and_then(|toy| toy.modes()) {
        Some(modes) => Some(metrics::mode_coverage(drawn.x.view(), modes.centers.view(), modes.sigma)?),
        None => None,
    };
    let (mut asked_share, mut pictured) = (None, None);
    if !world.kind().is_none() {
        // A hundred of each class in turn.
        let asked: Vec<u32> = (0..if quick { 100 } else { 1_000 }).map(|row| row % 10).collect();
        let asked = Condition::Class(asked.into());
        let x = model.given(&asked)?.draw(asked.rows(), &mut streams.stream(100))?;
        asked_share = world.asked_share(&x, &asked);
        pictured = Some(x.slice(s![..10, ..]).to_owned());
    }
    Ok(Row {
        composition: card.name.to_string(),
        data: world.name.clone(),
        nfe_predicted: card.nfe,
        nfe_counted: drawn.nfe,
        predicted: card.likelihood,
        likelihood: score.kind(),
        nll,
        gap: nll.zip(truth).map(|(nll, truth)| nll + truth),
        energy_distance: world.distance(drawn.x.view())?,
        floor: world.floor,
        asked_share,
        modes,
        us_single: single[single.len() / 2],
        us_bulk,
        train_s,
        cell,
        gain: gain
            .map(|gain| (gain.mean().unwrap_or(f64::NAN), 1.96 * gain.std(1.0) / (gain.len() as f64).sqrt())),
        pictured,
    })
}

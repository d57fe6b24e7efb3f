//! Trains every paradigm on data of known density and on real data, and prints the trade-off table, all of it
//! measured.
//!
//! `cargo run --release --example tradeoffs` · `-- --help` explains the options.

mod measure;
mod models;
mod relatives;
mod report;
mod source;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use quadrivium::prelude::*;

use measure::{Effort, Figures, measure, score};
use models::Rule;
use report::{Results, Summary};
use source::{Name, Source, Split};

/// Train every paradigm, measure what it costs and how well it does, and print the trade-off table.
#[derive(Parser)]
struct Args {
    /// Data to make the table on. Default: the grid, and Old Faithful as the real part.
    #[arg(long, value_enum, value_delimiter = ',')]
    data: Vec<Name>,
    /// A file of your own: numeric columns and a header. A fifth of its rows is held out.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Repeat with this many seeds and print mean ± standard deviation.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Add the relatives: flows, energies and scores, more samplers, a Gaussian mixture and a kernel density.
    #[arg(long)]
    all: bool,
    /// A twentieth of the training and small draws: shows that everything runs, not how good it gets.
    #[arg(long)]
    quick: bool,
    /// Write every figure to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What `--quick` divides the training steps by.
const QUICK: usize = 20;

fn main() -> std::process::ExitCode {
    match run(&Args::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tradeoffs: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut sources: Vec<Source> = args.data.iter().map(|&name| Source::Named(name)).collect();
    sources.extend(args.csv.clone().map(Source::Csv));
    if sources.is_empty() {
        sources = vec![Source::Named(Name::Grid), Source::Named(Name::Faithful)];
    }
    let effort = match args.quick {
        true => Effort { bulk: 1_000, scored: 100, single: Duration::from_millis(5) },
        false => Effort { bulk: 10_000, scored: 2_000, single: Duration::from_millis(100) },
    };
    let started = Instant::now();
    let mut all = Vec::new();
    for source in &sources {
        let results = compare(source, args, effort)?;
        println!("\n## {}\n", results.data);
        println!("What the field predicts:\n\n{}\n", report::predictions(&results));
        println!("What was measured:\n\n{}\n\n{}\n", results.table(), results.reference());
        results.reading().iter().for_each(|line| println!("- {line}"));
        all.push(results);
    }
    let threads = rayon::current_num_threads();
    println!(
        "\n{} seed(s), {threads} thread(s), {:.0} s in all.",
        args.seeds,
        started.elapsed().as_secs_f64()
    );
    if let Some(path) = &args.json {
        let json = report::json(&all, args.seeds as usize, threads);
        std::fs::write(path, format!("{json:#}\n")).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// The table of one data set: every model, every seed.
fn compare(source: &Source, args: &Args, effort: Effort) -> Result<Results> {
    let mut results = Results { data: source.label(), splits: Vec::new(), figures: Vec::new() };
    for seed in 0..args.seeds {
        let split = source.split(seed, effort.bulk)?;
        let mut rng = quadrivium::seeded(seed);
        let mut figures = Vec::new();
        let (dim, rule) = (split.train.dim(), Rule::new(split.train.rows()));
        let mut candidates = models::candidates(source, dim, rule, &mut rng)?;
        if args.all {
            candidates.extend(relatives::relatives(source, dim, rule, &mut rng)?);
        }
        for (mut candidate, mut options) in candidates {
            if args.quick {
                options.steps = options.steps.div_ceil(QUICK);
            }
            let name = candidate.model().card().name.to_string();
            let bar = bar(&format!("{} · seed {seed} · {name}", results.data), options.steps);
            let start = Instant::now();
            candidate.model().train(&split.train, &options, &mut rng, &mut progress(&bar))?;
            let train_s = start.elapsed().as_secs_f64();
            bar.set_message("drawing and scoring");
            figures.extend(measure_all(candidate.into_views(args.all)?, &split, effort, train_s, seed)?);
            bar.finish_and_clear();
        }
        results.splits.push(Summary::from(&split));
        results.figures.push(figures);
    }
    Ok(results)
}

fn measure_all(
    views: Vec<Box<dyn Generative>>,
    split: &Split,
    effort: Effort,
    train_s: f64,
    seed: u64,
) -> Result<Vec<Figures>> {
    // The views share their parameters, and so their likelihood.
    let score = score(views[0].as_ref(), split, effort)?;
    views.iter().map(|view| measure(view.as_ref(), split, effort, score, train_s, seed)).collect()
}

fn bar(what: &str, steps: usize) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{prefix:44} {bar:30} {pos}/{len} {msg}").expect("a valid template");
    ProgressBar::new(steps as u64).with_style(style).with_prefix(what.to_string())
}

fn progress(bar: &ProgressBar) -> impl FnMut(&Step<'_>) -> ControlFlow<()> {
    move |step| {
        // Drawing a bar is slower than a small step.
        if step.step.is_multiple_of(50) {
            bar.set_position(step.step as u64);
            bar.set_message(format!("loss {:.3}", step.loss));
        }
        ControlFlow::Continue(())
    }
}

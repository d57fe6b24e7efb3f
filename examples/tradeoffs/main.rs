//! Trains every paradigm on data of known density and on real data, and prints the trade-off table. All its figures
//! are measured.
//!
//! `cargo run --release --example tradeoffs` · `-- --help` explains the options.

#[cfg(feature = "plot")]
mod album;
#[cfg(not(feature = "plot"))]
#[path = "no_album.rs"]
mod album;
mod measure;
mod models;
#[cfg(feature = "plot")]
mod page;
mod relatives;
mod report;
mod source;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use album::Album;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use quadrivium::Step;
use quadrivium::observe::{All, Interrupt};
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
    /// A twentieth of the training and small draws, to check that everything runs; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// Print every column. Without it, the tables fit a terminal of 100 columns.
    #[arg(long)]
    wide: bool,
    /// Write every figure to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with the table and pictures to this folder, index.html, and the pictures as SVG and PNG.
    #[arg(long, value_name = "DIR", hide = cfg!(not(feature = "plot")))]
    report: Option<PathBuf>,
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

/// "1 seed", "2 seeds".
fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn run(args: &Args) -> Outcome<()> {
    let interrupt = Interrupt::default();
    let raised = interrupt.clone();
    ctrlc::set_handler(move || {
        // A second Ctrl-C does not wait.
        if raised.raise() {
            std::process::exit(130);
        }
    })?;
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
    let (mut all, mut albums) = (Vec::new(), Vec::new());
    for source in &sources {
        let (results, album) = compare(source, args, effort, &interrupt)?;
        if results.figures.is_empty() {
            break;
        }
        albums.extend(album);
        println!("\n## {}\n", results.data);
        println!("What the literature predicts:\n\n{}\n", report::predictions(&results, args.wide));
        println!("What was measured:\n\n{}\n\n{}\n", results.table(args.wide), results.reference(args.wide));
        results.reading().iter().for_each(|line| println!("- {line}"));
        all.push(results);
    }
    let threads = rayon::current_num_threads();
    let seconds = started.elapsed().as_secs_f64();
    let extent = format!("{}, {}", counted(args.seeds as usize, "seed"), counted(threads, "thread"));
    println!("\n{extent}, {seconds:.0} s in all.");
    if interrupt.is_raised() {
        return Err("interrupted: the figures above were measured before that, and no file is written".into());
    }
    if let Some(dir) = &args.report {
        let how = format!(
            "Each model trained and measured on {}, {extent}, in {seconds:.0} s{}. Pictures are of the first seed.",
            counted(all.len(), "data set"),
            if args.quick {
                "; a quick run, which checks that everything works and whose figures mean little"
            } else {
                ""
            }
        );
        album::write(dir, &all, &albums, &how)?;
        println!("Page and pictures: {}", dir.join("index.html").display());
    }
    if let Some(path) = &args.json {
        let json = report::json(&all, args.seeds as usize, threads);
        std::fs::write(path, format!("{json:#}\n")).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// The table of one data set, with every model and seed (or those before an interruption), and its pictures if a
/// report is requested.
fn compare(
    source: &Source,
    args: &Args,
    effort: Effort,
    interrupt: &Interrupt,
) -> Outcome<(Results, Option<Album>)> {
    let mut album = None;
    let mut results = Results { data: source.label(), splits: Vec::new(), figures: Vec::new() };
    for seed in 0..args.seeds {
        let split = source.split(seed, effort.bulk)?;
        if args.report.is_some() && seed == 0 {
            album = Some(Album::new(&split, effort, args.quick)?);
        }
        // Pictures are of the first seed.
        let mut album = album.as_mut().filter(|_| seed == 0);
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
            let (mut progress, mut interrupted) = (progress(&bar), interrupt.clone());
            let mut observers = All(vec![&mut progress, &mut interrupted]);
            let start = Instant::now();
            let training = candidate.model().train(&split.train, &options, &mut rng, &mut observers)?;
            let train_s = start.elapsed().as_secs_f64();
            // A model that is half trained does not belong in the table.
            if interrupt.is_raised() {
                break;
            }
            bar.set_message("drawing and scoring");
            let diffusion = candidate.diffusion().cloned();
            if let Some(album) = &mut album {
                album.trained(&candidate, &training)?;
            }
            let measured = measure_all(candidate.into_views(args.all)?, &split, effort, train_s, seed)?;
            if let Some((album, diffusion)) = album.as_mut().zip(diffusion) {
                album.steps(&diffusion, &measured)?;
            }
            figures.extend(measured);
            bar.finish_and_clear();
        }
        // A seed on which not all models were trained counts only if it is the first.
        if interrupt.is_raised() && (seed > 0 || figures.is_empty()) {
            break;
        }
        if let Some(album) = album.filter(|_| !interrupt.is_raised()) {
            album.drift(&split, rule, seed)?;
        }
        results.splits.push(Summary::from(&split));
        results.figures.push(figures);
        if interrupt.is_raised() {
            break;
        }
    }
    Ok((results, album))
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

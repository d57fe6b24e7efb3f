//! Which divergence a paradigm descends: both Kullback–Leibler divergences, Jensen–Shannon, Wasserstein-1 and Fisher
//! between model and known truth, along a small training of each.
//!
//! `cargo run --release --example microscope` (a few minutes) · `-- --quick` · with `--features plot`, `-- --plot FILE`
//! draws each paradigm's own divergence · `-- --help` explains the options.

mod course;
mod divergences;
mod ranks;
mod trainings;

use std::path::PathBuf;

use clap::Parser;
use comfy_table::{Table, presets};
use quadrivium::numeric::rng::Streams;

use self::divergences::{Microscope, NAMES};
use self::trainings::{COURSE, Watched, watched};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Which divergence each paradigm descends.
#[derive(Parser)]
struct Args {
    /// Repeat with this many seeds, each with its own data and training, and print means.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// A few steps, to check that everything runs; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// Draw each paradigm's own divergence along its training to this file, as SVG or PNG.
    #[arg(long, value_name = "FILE", hide = cfg!(not(feature = "plot")))]
    plot: Option<PathBuf>,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    if cfg!(not(feature = "plot")) && args.plot.is_some() {
        let command = "cargo run --release --features plot --example microscope";
        return Err(format!("--plot draws a picture: run with `{command}`").into());
    }
    let at = if args.quick { &COURSE[..2] } else { &COURSE[..] };
    let mut seeds = Vec::new();
    for seed in 0..args.seeds {
        seeds.push(watched(at, Streams::new(seed))?);
        eprintln!("seed {seed}");
    }
    println!("{}\n", table(&seeds));
    let floor = (0..args.seeds).map(|seed| {
        let streams = Streams::new(seed);
        Ok(Microscope::new(streams.family(0))?.floor(streams.family(0)))
    });
    let floor = floor.sum::<Outcome<f64>>()? / args.seeds as f64;
    println!(
        "Each cell: the divergence after {} steps → after {} (rank correlation with the steps, −1 where it always falls), means \
         over {} seeds. * marks the divergence that the objective is said to be. Wasserstein-1 of a perfect sampler: {floor:.3}. \
         Games have no density: theirs is that of 20,000 draws under kernels of width 0.2, compared with the truth under the \
         same kernels.",
        at[0],
        at[at.len() - 1],
        args.seeds
    );
    #[cfg(feature = "plot")]
    if let Some(path) = args.plot {
        picture(&seeds, at)?.save(path)?;
    }
    Ok(())
}

/// The mean over seeds of a figure of training `k`.
fn mean(seeds: &[Vec<Watched>], k: usize, figure: impl Fn(&Watched) -> f64) -> f64 {
    seeds.iter().map(|trainings| figure(&trainings[k])).sum::<f64>() / seeds.len() as f64
}

fn table(seeds: &[Vec<Watched>]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["", "density"].into_iter().chain(NAMES));
    for (k, Watched { name, own, density, points }) in seeds[0].iter().enumerate() {
        let cell = |divergence: usize| {
            let at = |point: usize| mean(seeds, k, |training| training.points[point][divergence]);
            let trend = mean(seeds, k, |training| training.trend(divergence));
            let mark = if divergence == *own { "\\*" } else { "" };
            let (first, last) = (short(at(0)), short(at(points.len() - 1)));
            format!("{first} → {last} ({trend:.2}){mark}").replace('-', "−")
        };
        table.add_row([name.to_string(), density.to_string()].into_iter().chain((0..NAMES.len()).map(cell)));
    }
    table
}

/// To three significant digits.
fn short(v: f64) -> String {
    let decimals = (2.0 - v.abs().max(1e-4).log10().floor()).clamp(0.0, 5.0) as usize;
    format!("{v:.decimals$}")
}

/// The own divergence of each paradigm, relative to the first measurement.
#[cfg(feature = "plot")]
fn picture(seeds: &[Vec<Watched>], at: &[usize]) -> Outcome<quadrivium::report::Picture> {
    let curve = |(k, training): (usize, &Watched)| {
        let value = |point: usize| mean(seeds, k, |training| training.points[point][training.own]);
        let points =
            at.iter().enumerate().map(|(point, &step)| (step as f64, value(point) / value(0))).collect();
        // The font of a PNG has no ‖.
        let name = format!("{}: {}", training.name, NAMES[training.own].replace('‖', " to "));
        quadrivium::report::Curve { name, points }
    };
    let curves: Vec<_> = seeds[0].iter().enumerate().map(curve).collect();
    let axes = ("steps of the training", "divergence, relative to the first measurement");
    Ok(quadrivium::report::growth("What each paradigm descends", axes, &curves)?)
}

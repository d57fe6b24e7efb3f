//! A diffusion on the grid of 25 modes, fine-tuned for a few steps of DDIM by its own critic and by another network:
//! what it gains where it draws, and what that costs its likelihood.
//!
//! `cargo run --release --example fine_tune` (some minutes) · `-- --quick` · `-- --json FILE` · `-- --help` explains
//! the options.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use comfy_table::{Table, presets};
use quadrivium::hybrid::{ExplicitGame, FineTuneConfig, Game, ImplicitGame, fine_tune};
use quadrivium::metrics::{energy_distance, mode_coverage};
use quadrivium::ndarray::Array2;
use quadrivium::worlds::Toy;
use quadrivium::{Sampler, prelude::*, seeded};

/// Few steps of a diffusion before and after fine-tuning.
#[derive(Parser)]
struct Args {
    /// Steps of the diffusion's training, 256 rows each.
    #[arg(long, default_value_t = 8_000)]
    steps: usize,
    /// Steps of a round of tuning, 256 rows each.
    #[arg(long, default_value_t = 2_000)]
    tune: usize,
    /// How many times all is repeated, with other data and parameters.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Fewer rows and steps, to check that everything runs; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// Write all figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What was measured of a model at one seed.
struct Figures {
    sampler: String,
    tuning: &'static str,
    seed: u64,
    /// By the columns of [`COLUMNS`].
    values: [f64; 7],
}

/// Of the figures: what a table calls them, what a file calls them, and their decimals.
const COLUMNS: [(&str, &str, usize); 7] = [
    ("in 3σ, %", "in_three_sigma", 1),
    ("spread", "spread", 3),
    ("fair modes", "fair_modes", 1),
    ("KL of mode shares", "mode_kl", 4),
    ("energy distance", "energy_distance", 4),
    ("NLL", "nll", 3),
    ("train s", "train_s", 0),
];

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut args = Args::parse();
    if args.quick {
        (args.steps, args.tune, args.seeds) = (200, 20, 1);
    }
    let mut figures = Vec::new();
    for seed in 0..args.seeds {
        figures.extend(measured(seed, &args)?);
        eprintln!("seed {seed} of {}", args.seeds);
    }
    print_table(&figures);
    if let Some(path) = args.json {
        let row = |Figures { sampler, tuning, seed, values }: &Figures| {
            let named = COLUMNS.iter().zip(values);
            let cells: String = named.map(|((_, name, _), value)| format!(", \"{name}\": {value}")).collect();
            format!("{{\"sampler\": \"{sampler}\", \"tuning\": \"{tuning}\", \"seed\": {seed}{cells}}}")
        };
        let rows: Vec<String> = figures.iter().map(row).collect();
        fs::write(path, format!("{{\"rows\": [{}]}}\n", rows.join(",\n")))?;
    }
    Ok(())
}

/// The tunings, by name, and how often each is repeated: the rows of the implicit game are those of the model before a
/// round, which change.
fn tunings() -> [(&'static str, FineTuneConfig, usize); 2] {
    let implicit = Game::Implicit(ImplicitGame::default());
    let explicit = Game::Explicit(ExplicitGame::default());
    [
        ("implicit critic", FineTuneConfig { game: implicit, ..Default::default() }, 4),
        ("explicit critic", FineTuneConfig { game: explicit, ..Default::default() }, 1),
    ]
}

fn measured(seed: u64, args: &Args) -> Result<Vec<Figures>> {
    let (toy, rng) = (Toy::grid25(), &mut seeded(seed));
    let rows = if args.quick { 1_000 } else { 25_000 };
    let data = Dataset::new(toy.sample(50_000, rng))?;
    let (truth, test) = (toy.sample(rows.min(5_000), rng), toy.sample(rows / 10, rng));
    let began = Instant::now();
    let mut model = Diffusion::new(DiffusionConfig::default(), rng)?;
    let options = TrainOptions { steps: args.steps, ..Default::default() };
    model.train(&data, &options, rng, &mut NoObserver)?;
    let trained = began.elapsed().as_secs_f64();

    let figures = |model: &Diffusion, tuning, seconds| -> Result<Figures> {
        let drawn = model.draw(rows, &mut seeded(seed + 1_000))?;
        let modes = toy.modes().expect("a mixture of round Gaussians");
        let modes = mode_coverage(drawn.view(), modes.centers.view(), modes.sigma)?;
        let some: Array2<f32> = drawn.slice(quadrivium::ndarray::s![..truth.nrows(), ..]).to_owned();
        let score = model.log_likelihood(test.view(), &Default::default())?;
        let values = [
            100.0 * modes.high_quality,
            modes.spread_ratio.unwrap_or(f64::NAN),
            modes.modes_fair as f64,
            modes.mode_kl,
            energy_distance(some.view(), truth.view())?,
            -score.nats().and_then(|nats| nats.mean()).unwrap_or(f64::NAN),
            seconds,
        ];
        let sampler = format!("DDIM-{}", model.card().nfe);
        Ok(Figures { sampler, tuning, seed, values })
    };
    let mut all = Vec::new();
    for steps in [4, 10] {
        let quick = model.with_sampler(Sampler::Ddim { steps, eta: 0.0 })?;
        all.push(figures(&quick, "none", trained)?);
        for (name, config, rounds) in tunings() {
            let (mut tuned, began) = (quick.clone(), Instant::now());
            let options = TrainOptions { steps: args.tune, ..Default::default() };
            for _ in 0..rounds {
                fine_tune(&mut tuned, &config, &data, &options, rng, &mut NoObserver)?;
            }
            all.push(figures(&tuned, name, began.elapsed().as_secs_f64())?);
        }
    }
    Ok(all)
}

/// A row for each sampler and tuning, with mean ± standard deviation over the seeds.
fn print_table(figures: &[Figures]) {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let names = COLUMNS.iter().map(|(name, ..)| *name);
    table.set_header(["sampler", "tuned by"].into_iter().chain(names));
    let first = figures.iter().map(|figure| figure.seed).min();
    for Figures { sampler, tuning, .. } in figures.iter().filter(|figure| Some(figure.seed) == first) {
        let same: Vec<&Figures> =
            figures.iter().filter(|other| other.sampler == *sampler && other.tuning == *tuning).collect();
        let cell = |(column, (_, _, decimals)): (usize, &(&str, &str, usize))| {
            let n = same.len() as f64;
            let mean = same.iter().map(|figure| figure.values[column]).sum::<f64>() / n;
            let square = same.iter().map(|figure| (figure.values[column] - mean).powi(2)).sum::<f64>();
            let sd = if same.len() > 1 { (square / (n - 1.0)).sqrt() } else { 0.0 };
            format!("{mean:.decimals$} ± {sd:.decimals$}")
        };
        let cells = COLUMNS.iter().enumerate().map(cell);
        table.add_row([sampler.clone(), tuning.to_string()].into_iter().chain(cells));
    }
    println!("{table}\n\nA perfect sampler has 98.9 % in 3σ and a spread of 1.");
}

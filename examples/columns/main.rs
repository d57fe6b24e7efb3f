//! Columns as people have them, each model with its own units and with `hybrid::Columns` before it: likelihood beside the
//! truth, and draws that a column cannot hold.
//!
//! `cargo run --release --example columns` (some minutes) · `-- --quick` checks that everything runs · `-- --help`
//! explains the options.

mod tables;

use std::time::Instant;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use quadrivium::hybrid::{Column, Columns, ColumnsConfig, Latent, LatentConfig};
use quadrivium::metrics::Nll;
use quadrivium::ndarray::Array2;
use quadrivium::numeric::rng::Streams;
use quadrivium::prelude::*;
use quadrivium::recipe::{Kind, Recipe};

use self::tables::{Data, Outcome};

/// Columns as people have them, in units of their own.
#[derive(Parser)]
struct Args {
    /// Tables; all if none is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    data: Vec<Data>,
    /// Few steps, to check that everything runs; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// The seed of data, trainings and draws.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

const KINDS: [Kind; 8] = [
    Kind::Autoregressive,
    Kind::Vae,
    Kind::Gan,
    Kind::Diffusion,
    Kind::Flow,
    Kind::FlowMatching,
    Kind::GaussianMixture,
    Kind::KernelDensity,
];

/// What was measured of a model.
struct Row {
    /// Negative log-likelihood of test rows less the truth's, in nats; of a bound at most that.
    gap: Option<f64>,
    /// The share of drawn rows that the columns cannot hold.
    impossible: f64,
    /// The share of zeros among the numbers of which most are, and the same in the rows that it learned from.
    zeros: Option<[f64; 2]>,
    train_s: f64,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let tables = if args.data.is_empty() { Data::ALL.to_vec() } else { args.data.clone() };
    for data in tables {
        println!("{}\n", data.about());
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header([
            "model",
            "gap",
            "gap, own units",
            "impossible, %",
            "impossible, own units, %",
            "zeros − true ones, own units, %",
            "train s",
            "train s, own units",
        ]);
        for kind in KINDS {
            let [plain, mapped] = [None, Some(data.said())].map(|said| measure(&args, data, kind, said));
            let (plain, mapped) = (plain?, mapped?);
            eprintln!("{data:?} · {kind}");
            let nats = |row: &Row| row.gap.map_or("–".into(), |gap| format!("{gap:+.3}"));
            table.add_row([
                kind.name().into(),
                nats(&plain),
                nats(&mapped),
                format!("{:.1}", 100.0 * plain.impossible),
                format!("{:.1}", 100.0 * mapped.impossible),
                mapped
                    .zeros
                    .map_or("–".into(), |[drawn, learned]| format!("{:+.2}", 100.0 * (drawn - learned))),
                format!("{:.0}", plain.train_s),
                format!("{:.0}", mapped.train_s),
            ]);
        }
        for column in 1..8 {
            table.column_mut(column).expect("eight columns").set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}\n");
    }
    Ok(())
}

/// Trains a model of a table, before which stand the units that are `said` of its columns, and measures it.
fn measure(args: &Args, data: Data, kind: Kind, said: Option<Vec<Column>>) -> Outcome<Row> {
    let streams = Streams::new(args.seed).family(data as u64);
    let rows = data.rows(&mut streams.stream(0));
    let mut recipe = Recipe::of(kind, rows.nrows(), rows.ncols());
    if args.quick {
        recipe.options.steps = recipe.options.steps.min(20);
        recipe.options.patience = None;
    }
    let (dim, mut rng) = (rows.ncols(), streams.stream(1));
    let model = recipe.build(&mut rng)?;
    let mut model: Box<dyn Generative> = match &said {
        None => model,
        Some(columns) => {
            let columns = Columns::new(ColumnsConfig { dim, columns: columns.clone() })?;
            Box::new(Latent::new(columns, model, LatentConfig::default())?)
        }
    };
    // Numbers on a grid have no density of their own.
    let spread = said.is_none();
    let zeros = data.zeros(&rows);
    let learned = if spread { data.spread(&rows, &mut streams.stream(2)) } else { rows };
    let start = Instant::now();
    model.train(&Dataset::new(learned)?, &recipe.options, &mut rng, &mut NoObserver)?;
    let train_s = start.elapsed().as_secs_f64();

    let test = data.test(if args.quick { 20 } else { 500 }, &mut streams.stream(3));
    let truth = data.log_density(&test);
    let scored = if spread { data.spread(&test, &mut streams.stream(4)) } else { test.clone() };
    let score = model.log_likelihood(scored.view(), &LikelihoodOptions::default())?;
    let gap = Nll::of(&score).map(|nll| nll.mean + truth.mean().expect("there are rows"));
    let drawn = model.draw(if args.quick { 100 } else { 20_000 }, &mut streams.stream(5))?;
    let drawn = if spread { data.rounded(drawn) } else { drawn };
    let zeros = data.zeros(&drawn).zip(zeros).map(|(drawn, learned)| [drawn, learned]);
    Ok(Row { gap, impossible: impossible(data, &drawn), zeros, train_s })
}

/// The share of rows of which a column is out of its bounds.
fn impossible(data: Data, x: &Array2<f32>) -> f64 {
    let out = x.rows().into_iter().filter(|row| !data.holds(&row.to_vec())).count();
    out as f64 / x.nrows() as f64
}

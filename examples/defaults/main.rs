//! How well the defaults fit: every kind of model, configured by its recipe, on known densities and on real tables.
//!
//! `python3 examples/defaults/tables.py target/defaults` writes the tables (needs scikit-learn);
//! `cargo run --release --example defaults` then prints, for a known density, the gap: the negative log-likelihood of
//! held-out rows minus that of the truth, in nats per row; for a table, the negative log-likelihood minus that of one
//! Gaussian with a full covariance. Both are means over seeds or splits. A perfect gap is 0. A table's figure should
//! be below 0, and the figure of the best model should be below that of scikit-learn.

mod densities;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use quadrivium::LikelihoodKind;
use quadrivium::ndarray::{Array2, s};
use quadrivium::prelude::*;
use quadrivium::recipe::{Kind, ModelConfig, Recipe};
use quadrivium::seeded;
use quadrivium::tables::read_table;
use serde_json::json;

use densities::Density;

/// Measure the defaults.
#[derive(Parser)]
struct Args {
    /// Only these densities, tables and models. Without a model among them all models, and likewise the others.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<String>,
    /// The configs' own defaults, 2000 steps of 256 rows, in place of the recipes.
    #[arg(long)]
    library: bool,
    /// Training rows drawn from a known density.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    rows: usize,
    /// The most held-out rows that are scored.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    test_rows: usize,
    /// Seeds for a known density, splits of a table (three are written).
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: usize,
    /// The folder of the tables.
    #[arg(long, value_name = "FOLDER", default_value = "target/defaults")]
    tables: PathBuf,
    /// Write every figure to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const TABLES: [&str; 8] = ["iris", "wine", "cancer", "diabetes", "digits", "cigars", "incomes", "counts"];

/// The kinds whose likelihood can be compared.
const KINDS: [Kind; 8] = [
    Kind::GaussianMixture,
    Kind::KernelDensity,
    Kind::Autoregressive,
    Kind::Flow,
    Kind::Diffusion,
    Kind::FlowMatching,
    Kind::Vae,
    Kind::Energy,
];

/// The data of one seed or split.
struct Case {
    train: Array2<f32>,
    test: Array2<f32>,
    /// The mean negative log-likelihood that figures are relative to: the truth's, or one Gaussian's.
    zero: f64,
    /// scikit-learn's mixture and kernels, relative to it.
    peers: Option<[f64; 2]>,
}

/// A model on all cases of a density or a table, with the figure and the seconds of training for each.
struct Cell {
    data: String,
    kind: Kind,
    runs: Vec<(f64, f64)>,
}

impl Cell {
    fn mean(&self) -> f64 {
        self.runs.iter().map(|run| run.0).sum::<f64>() / self.runs.len() as f64
    }

    fn seconds(&self) -> f64 {
        self.runs.iter().map(|run| run.1).sum::<f64>() / self.runs.len() as f64
    }
}

fn main() -> std::process::ExitCode {
    match run(&Args::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("defaults: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Outcome<()> {
    let densities = densities::all();
    let known: Vec<&str> = densities.iter().map(|d| d.name).chain(TABLES).collect();
    let is_kind = |name: &&String| KINDS.iter().any(|kind| kind.name() == *name);
    let (kinds, data): (Vec<_>, Vec<_>) = args.only.iter().partition(is_kind);
    if let Some(unknown) = data.iter().find(|name| !known.contains(&name.as_str())) {
        let kinds = KINDS.map(Kind::name).join(", ");
        return Err(
            format!("there is no {unknown}; there are {}, and the models {kinds}", known.join(", ")).into()
        );
    }
    let wanted = |name: &str| data.is_empty() || data.iter().any(|d| *d == name);

    let mut cells = Vec::new();
    let mut peers = Vec::new();
    for name in known.into_iter().filter(|name| wanted(name)) {
        let cases = match densities.iter().find(|d| d.name == name) {
            Some(density) => (0..args.seeds).map(|seed| drawn(density, seed as u64, args)).collect(),
            None => read(&args.tables, name, args.seeds)?,
        };
        for kind in KINDS {
            if kinds.is_empty() || kinds.iter().any(|k| *k == kind.name()) {
                cells.extend(measure(name, kind, &cases, args)?);
            }
        }
        let of_peers = |i: usize| {
            let all: Option<Vec<f64>> = cases.iter().map(|case| case.peers.map(|peers| peers[i])).collect();
            all.map(|all| all.iter().sum::<f64>() / all.len() as f64)
        };
        peers.push((name, [of_peers(0), of_peers(1)]));
    }
    println!("\n{}", table(&cells, &peers));
    if let Some(path) = &args.json {
        let rows: Vec<_> = cells
            .iter()
            .map(|cell| {
                let (figures, seconds): (Vec<_>, Vec<_>) = cell.runs.iter().copied().unzip();
                json!({"data": cell.data, "model": cell.kind.name(), "nats": figures, "train_s": seconds})
            })
            .collect();
        std::fs::write(path, format!("{:#}\n", json!(rows)))
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// Rows of a known density.
fn drawn(density: &Density, seed: u64, args: &Args) -> Case {
    let draw = |seed: u64, rows: usize| {
        let (mut rng, mut x) = (seeded(seed), Array2::zeros((rows, density.dim)));
        let mut row = vec![0.0; density.dim];
        for mut out in x.rows_mut() {
            (density.draw)(&mut rng, &mut row);
            out.iter_mut().zip(&row).for_each(|(to, &from)| *to = from as f32);
        }
        x
    };
    let test = draw(1_000 + seed, args.test_rows);
    let nats = test.rows().into_iter().map(|row| (density.log_density)(&row.mapv(f64::from).to_vec()));
    let zero = -nats.sum::<f64>() / test.nrows() as f64;
    Case { train: draw(seed, args.rows), test, zero, peers: None }
}

/// The splits of a table.
fn read(folder: &Path, name: &str, splits: usize) -> Outcome<Vec<Case>> {
    let open = |part: String| -> Outcome<Array2<f64>> {
        let path = folder.join(format!("{name}-{part}.csv"));
        let read = read_table(&path);
        let table = read.map_err(|e| format!("{e}: python3 examples/defaults/tables.py writes it"))?;
        // Columns of little spread are read relative to one of their values, which differs from file to file.
        Ok(table.restore(table.x.view())?)
    };
    // gaussian, mixture, kernels
    let reference = open("reference".into())?;
    (0..splits.min(reference.nrows()))
        .map(|split| {
            let rows = |part| {
                Ok::<_, Box<dyn std::error::Error>>(open(format!("{split}-{part}"))?.mapv(|x| x as f32))
            };
            let (train, test) = (rows("train")?, rows("test")?);
            let figure = |column| reference[[split, column]];
            let zero = figure(0);
            Ok(Case { train, test, zero, peers: Some([figure(1) - zero, figure(2) - zero]) })
        })
        .collect()
}

/// Trains and scores a kind of model on each case; `None` if its likelihood is not normalized, as for an energy model
/// with more than two columns, where quadrature is not possible.
fn measure(name: &str, kind: Kind, cases: &[Case], args: &Args) -> Outcome<Option<Cell>> {
    let mut runs = Vec::new();
    for (seed, case) in cases.iter().enumerate() {
        let data = Dataset::new(case.train.clone())?;
        let Recipe { config, options } = if args.library {
            let config = ModelConfig::defaults(kind, data.dim());
            Recipe { config, options: TrainOptions::default() }
        } else {
            Recipe::of(kind, data.rows(), data.dim())
        };
        let rng = &mut seeded(seed as u64);
        let start = Instant::now();
        let mut model = config.build(rng)?;
        if !matches!(
            model.card().likelihood,
            LikelihoodKind::Exact
                | LikelihoodKind::LowerBound
                | LikelihoodKind::OdeEstimate
                | LikelihoodKind::Estimate
        ) {
            return Ok(None);
        }
        let report = model.train(&data, &options, rng, &mut NoObserver)?;
        let train_s = start.elapsed().as_secs_f64();
        let test = case.test.slice(s![..args.test_rows.min(case.test.nrows()), ..]);
        let start = Instant::now();
        let score = model.log_likelihood(test, &LikelihoodOptions::default())?;
        let score_s = start.elapsed().as_secs_f64();
        let nats = score.nats().ok_or("no likelihood")?;
        let figure = -nats.mean().unwrap_or(f64::NAN) - case.zero;
        let best = report.validation.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |best| best.0);
        eprintln!(
            "{name} {} {kind}: {figure:.3} nats, {} of {} steps (best {best}), {train_s:.1} s, scoring {score_s:.1} s",
            seed,
            report.loss.len(),
            options.steps,
        );
        runs.push((figure, train_s));
    }
    Ok(Some(Cell { data: name.into(), kind, runs }))
}

fn table(cells: &[Cell], peers: &[(&str, [Option<f64>; 2])]) -> Table {
    let kinds: Vec<Kind> = KINDS.into_iter().filter(|&kind| cells.iter().any(|c| c.kind == kind)).collect();
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let names = kinds.iter().map(|kind| kind.name());
    table.set_header(["nats a row"].into_iter().chain(names).chain(["sklearn mixture", "sklearn kernels"]));
    for (data, peers) in peers {
        let mut row = vec![data.to_string()];
        for &kind in &kinds {
            let cell = cells.iter().find(|cell| cell.data == *data && cell.kind == kind);
            row.push(cell.map_or("–".into(), |c| format!("{:.3} ({:.1} s)", c.mean(), c.seconds())));
        }
        row.extend(peers.iter().map(|peer| peer.map_or("–".into(), |peer| format!("{peer:.3}"))));
        table.add_row(row);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

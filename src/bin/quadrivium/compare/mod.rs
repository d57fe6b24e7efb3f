mod jobs;

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use quadrivium::engine::{HeldOut, Standardizer};
use quadrivium::hybrid::{Columns, ColumnsConfig, Latent, LatentConfig};
use quadrivium::metrics::{self, Nll, Prdc};
use quadrivium::ndarray::{Array1, ArrayView2};
use quadrivium::observe::Bar;
use quadrivium::persist::condition_kind;
use quadrivium::prelude::*;
use quadrivium::recipe::{Kind, Recipe};
use quadrivium::seeded;
use quadrivium::tables::Cells;
use quadrivium::{ConditionKind, LikelihoodKind, LogLikelihood};
use serde_json::{Value, json};

use crate::condition::{self, of_condition};
use crate::failure::{Failure, Outcome, counted, of_columns, of_file, of_writing, say};
use crate::features::{Scale, encoded, scales};
use crate::files;
use crate::input::Data;
use crate::prepare::{Prepared, Treatment, prepare};
use crate::recipe::kind;
use crate::seed::Purpose;
use crate::units;
use crate::values::{positive, share};

/// Train every model on a part of the rows, and rank them on the rest.
///
/// Each model is trained with the defaults of `fit`: columns may hold labels, gaps and repeated values, which have
/// probabilities, and rounded numbers, which are spread over their steps. With --units plain a density can grow without
/// bound on such values, and spikes decide the ranking.
///
/// With --condition, each model learns p(x|c): likelihoods are those of held-out rows given their condition, and each
/// drawn row has the condition of a training row.
///
/// Likelihoods are those of held-out rows, in nats. Their kind is stated, because a bound or an estimate is a weaker
/// claim than an exact value. "=" marks models that differ from the first by at most one standard error, row by row.
/// Distances are between drawn and held-out rows, with columns in units of their standard deviation, and two different
/// labels one such unit apart. The line
/// "(training rows)" measures training rows instead of drawn ones: it shows how far apart two samples are by chance.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: Data,
    /// Compare only these models.
    #[arg(long, value_delimiter = ',', value_name = "KIND,…", value_parser = kind())]
    models: Vec<Kind>,
    /// What to rank by.
    #[arg(long, value_enum, default_value_t = By::Nll)]
    by: By,
    /// Seed of the split into training and held-out rows, and of every model.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Share of the rows held out.
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = 0.2)]
    held_out: f64,
    /// Train for a twentieth of the steps, to check that everything runs; the ranking means little.
    #[arg(long)]
    quick: bool,
    /// Train this many models at a time, each on one thread. The table is the same, but for the times in it.
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 1)]
    jobs: usize,
    /// Folder that keeps what was measured of each model: the same command, killed and run again, goes on from there.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Write JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// File for the result; "-" is standard output.
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    #[command(flatten)]
    condition: condition::Asked,
    #[command(flatten)]
    treatment: Treatment,
    #[command(flatten)]
    units: units::Said,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    /// Negative log-likelihood of held-out rows; models without one follow, by energy distance.
    Nll,
    /// Energy distance.
    Energy,
    /// Sliced Wasserstein-2 distance.
    W2,
    /// Seconds of training.
    Time,
}

/// What `--quick` divides the training steps by.
const QUICK: usize = 20;

/// The most held-out rows that are scored and used for distances, because the cost of distances is quadratic.
const MEASURED: usize = 2000;

/// Neighbors of precision, recall, density and coverage.
const NEIGHBORS: usize = 5;

/// The measurements of one model.
struct Row {
    kind: Kind,
    name: String,
    likelihood: LikelihoodKind,
    nll: Option<Nll>,
    /// The nats of each measured row, if they are comparable.
    nats: Option<Array1<f64>>,
    distances: Distances,
    train_s: f64,
    /// Microseconds per row drawn.
    draw_us: f64,
}

struct Distances {
    energy: f64,
    w2: f64,
    prdc: Option<Prdc>,
}

/// The rows to measure on, and their units.
struct Measured {
    test: Dataset,
    scales: Vec<Scale>,
    /// Training rows: a model draws as many, under their conditions if they have them.
    learned: Dataset,
    /// Converts a log-density of the rows to the units of the data: `Table::log_scale`.
    log_scale: f64,
    /// What the models are conditioned on.
    condition: ConditionKind,
    /// The columns' own units, if they have them.
    columns: Option<ColumnsConfig>,
}

impl Measured {
    fn distances(&self, x: ArrayView2<f32>) -> Result<Distances> {
        let x = encoded(x, &self.scales);
        let test = encoded(self.test.x(), &self.scales);
        let enough = x.nrows().min(test.nrows()) > NEIGHBORS;
        Ok(Distances {
            energy: metrics::energy_distance(x.view(), test.view())?,
            w2: metrics::sliced_wasserstein2(x.view(), test.view(), 100, &mut seeded(0))?,
            prdc: enough.then(|| metrics::prdc(test.view(), x.view(), NEIGHBORS)).transpose()?,
        })
    }
}

pub fn run(args: &Args) -> Outcome<()> {
    files::in_a_folder(&args.output)?;
    files::distinct(&[("the rows", args.data.path())], &[("the table", &args.output)])?;
    let treatment = args.treatment.of(&args.units)?;
    let Prepared { data, names, log_scale, columns, steps } =
        prepare(&args.data, &args.condition, &treatment, args.seed)?;
    let given = units::Given::all(&data, &columns, &steps);
    let maps = treatment.has_maps().then(|| args.units.config(&given)).transpose()?;
    let name = args.data.name();
    let split = data.hold_out(HeldOut::Share(args.held_out), &mut Purpose::Split.stream(args.seed));
    let (train, test) = split.map_err(|error| of_file(&name, error))?;
    if maps.is_none() {
        let usable = Standardizer::identity(train.dim()).fitted(train.x());
        usable.map_err(|error| of_columns(&name, &names, error))?;
    }
    let modeled = columns.iter().filter(|column| column.role.is_modeled());
    let cells: Vec<Cells> = modeled.map(|column| column.cells.clone()).collect();
    let scales = scales(train.x(), &cells);
    let few = |data: &Dataset| data.split(MEASURED).map_or_else(|_| data.clone(), |(few, _)| few);
    let (learned, test_rows) = (few(&train), test.rows());
    let condition = condition_kind(&columns);
    let measured = Measured { test: few(&test), scales, learned, log_scale, condition, columns: maps };

    let all = Kind::ALL.iter();
    let kinds = all.filter(|kind| args.models.is_empty() || args.models.contains(kind));
    let kinds: Vec<Kind> = kinds.copied().collect();
    let kept = args.keep.as_ref().map(|folder| kept(folder, &train, &measured, args)).transpose()?;
    let one = |kind: Kind| {
        let recipe = Recipe::of(kind, train.rows(), train.dim()).with_condition(measured.condition)?;
        let measure = || measure(kind, &recipe, &train, &measured, args);
        match &kept {
            Some(kept) => kept.or(kind, &format!("{recipe:?}"), measure),
            None => measure(),
        }
    };
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    for (&kind, result) in kinds.iter().zip(jobs::each(&kinds, args.jobs, one)) {
        match result {
            Ok(row) => rows.push(row),
            Err(Failure::Operation(message)) => failed.push((kind, message)),
            Err(other) => return Err(other),
        }
    }
    let chance = measured.distances(measured.learned.x())?;
    rows.sort_by(|a, b| order(args.by, a, b));
    for row in rows.iter().filter(|row| row.nll.is_some_and(|nll| nll.mean == f64::INFINITY)) {
        let impossible = row.nats.iter().flatten().filter(|nats| **nats == f64::NEG_INFINITY).count();
        let rows = counted(impossible, "held-out row");
        say(format_args!(
            "{}: {rows} with a value that no training row has, and so with probability 0",
            row.kind
        ));
    }
    for (kind, message) in &failed {
        say(format_args!("{kind}: {message}"));
    }
    if rows.is_empty() {
        return Err(Failure::Operation(format!("{name}: no model could be trained")));
    }

    let conditioned: Vec<&str> = of_condition(&columns).iter().map(|column| column.name.as_str()).collect();
    let text = if args.json {
        let rows: Vec<Value> = rows.iter().map(|row| json_of(row, &rows[0])).collect();
        let failed: Vec<Value> =
            failed.iter().map(|(kind, error)| json!({"kind": kind.name(), "error": error})).collect();
        let result = json!({
            "data": name,
            "columns": names,
            "condition": conditioned,
            "train_rows": train.rows(),
            "held_out_rows": test_rows,
            "measured_rows": measured.test.rows(),
            "seed": args.seed,
            "quick": args.quick,
            "models": rows,
            "failed": failed,
            "training_rows": distances_json(&chance),
        });
        format!("{result:#}\n")
    } else {
        let (learned, held) = (counted(train.rows(), "row"), measured.test.rows());
        let mut text = format!("{}\n\n", table_of(&rows, args.by, &chance));
        text += &format!("Trained on {learned}, measured on {held} held-out rows, seed {}.\n", args.seed);
        if args.quick {
            text += "Quick run: a twentieth of the training steps, so the ranking means little.\n";
        }
        text += &format!("\n{}\n", fit_command(rows[0].kind, std::env::args()));
        text
    };
    files::write_text(&args.output, &text)
}

/// What is kept in a folder for these rows and options.
fn kept(folder: &Path, train: &Dataset, measured: &Measured, args: &Args) -> Outcome<jobs::Kept> {
    std::fs::create_dir_all(folder).map_err(|error| of_writing(folder.display(), error))?;
    let bits = |data: &Dataset| -> Vec<u32> { data.x().iter().map(|x| x.to_bits()).collect() };
    let rows = [train, &measured.test, &measured.learned]
        .map(|data| (bits(data), format!("{:?}", data.condition())));
    let options = format!("{:?} {:?}", measured.columns, measured.log_scale);
    Ok(jobs::Kept::new(folder.to_owned(), (rows, options, args.seed, args.quick)))
}

fn measure(kind: Kind, recipe: &Recipe, train: &Dataset, measured: &Measured, args: &Args) -> Outcome<Row> {
    let mut rng = Purpose::Training.stream(args.seed);
    let mut model = recipe.build(&mut rng)?;
    let name = model.card().name.to_string();
    if let Some(columns) = &measured.columns {
        model = Box::new(Latent::new(Columns::new(columns.clone())?, model, LatentConfig::default())?);
    }
    let mut options = recipe.options.clone();
    if args.quick {
        options.steps = options.steps.div_ceil(QUICK);
    }
    let start = Instant::now();
    match args.jobs {
        1 => model.train(train, &options, &mut rng, &mut Bar::new(&name))?,
        // Bars of several would overwrite each other.
        _ => model.train(train, &options, &mut rng, &mut NoObserver)?,
    };
    let train_s = start.elapsed().as_secs_f64();

    let count = measured.learned.rows();
    let start = Instant::now();
    let drawn = match measured.learned.condition() {
        None => model.sample(count, &SampleOptions::default(), &mut rng)?,
        Some(condition) => model.given(condition)?.sample(count, &SampleOptions::default(), &mut rng)?,
    };
    let draw_us = start.elapsed().as_secs_f64() * 1e6 / count as f64;
    let test = &measured.test;
    let scored = condition::score(model.as_ref(), test.condition(), test.x(), &LikelihoodOptions::default())?;
    let distances = measured.distances(drawn.x.view())?;
    Ok(Row {
        kind,
        name,
        likelihood: scored.kind(),
        nll: Nll::of(&scored).map(|nll| Nll { mean: nll.mean + measured.log_scale, ..nll }),
        nats: scored.nats().cloned(),
        distances,
        train_s,
        draw_us,
    })
}

/// Whether the difference to the first model, taken row by row, is within one standard error of 0: these rows cannot
/// tell the two apart.
fn ties(row: &Row, first: &Row) -> bool {
    let (Some(a), Some(b)) = (&row.nats, &first.nats) else { return false };
    let differences = LogLikelihood::Exact(b - a);
    Nll::of(&differences).is_some_and(|gap| gap.mean.abs() <= gap.std_error)
}

/// The command that fits this kind of model to all rows, with the given options about the data.
fn fit_command(kind: Kind, arguments: impl Iterator<Item = String>) -> String {
    const WITH_VALUE: [&str; 7] = ["--models", "--by", "--held-out", "--jobs", "--keep", "--output", "-o"];
    let mut words = vec!["quadrivium".to_string(), "fit".into(), "-m".into(), kind.name().into()];
    let mut arguments = arguments.skip_while(|argument| argument != "compare").skip(1);
    while let Some(argument) = arguments.next() {
        let name = argument.split_once('=').map_or(argument.as_str(), |(name, _)| name);
        let of_compare = WITH_VALUE.contains(&name) || argument.starts_with("-o");
        if of_compare {
            if WITH_VALUE.contains(&argument.as_str()) {
                arguments.next();
            }
        } else if !["--quick", "--json"].contains(&name) {
            words.push(quoted(&argument));
        }
    }
    words.extend(["-o".into(), format!("{kind}.safetensors")]);
    words.join(" ")
}

/// A word, quoted for a shell if necessary.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn order(by: By, a: &Row, b: &Row) -> Ordering {
    let energy = a.distances.energy.total_cmp(&b.distances.energy);
    match by {
        By::Nll => match (a.nll, b.nll) {
            (Some(a), Some(b)) => a.mean.total_cmp(&b.mean),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => energy,
        },
        By::Energy => energy,
        By::W2 => a.distances.w2.total_cmp(&b.distances.w2),
        By::Time => a.train_s.total_cmp(&b.train_s),
    }
}

fn table_of(rows: &[Row], by: By, chance: &Distances) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "",
        "model",
        "is",
        "NLL is",
        "NLL (nats)",
        "energy",
        "W2",
        "precision",
        "recall",
        "density",
        "coverage",
        "train s",
        "µs a row",
    ]);
    let distances = |d: &Distances| {
        let share =
            |value: fn(&Prdc) -> f64| d.prdc.as_ref().map_or("–".into(), |d| format!("{:.3}", value(d)));
        [
            format!("{:.4}", d.energy),
            format!("{:.3}", d.w2),
            share(|d| d.precision),
            share(|d| d.recall),
            share(|d| d.density),
            share(|d| d.coverage),
        ]
    };
    for (place, row) in rows.iter().enumerate() {
        let nll = row.nll.map_or("–".into(), |nll| match nll.mean.is_finite() {
            true => format!("{:.3} ± {:.3}", nll.mean, nll.std_error),
            false => "∞".into(),
        });
        let tie = if matches!(by, By::Nll) && place > 0 && ties(row, &rows[0]) { "=" } else { "" };
        let mut cells = vec![
            format!("{}{tie}", place + 1),
            row.kind.name().into(),
            row.name.clone(),
            row.likelihood.of_nll().into(),
            nll,
        ];
        cells.extend(distances(&row.distances));
        cells.extend([format!("{:.2}", row.train_s), format!("{:.2}", row.draw_us)]);
        table.add_row(cells);
    }
    let mut last = vec![String::new(), "(training rows)".into(), String::new(), String::new(), String::new()];
    last.extend(distances(chance));
    last.extend([String::new(), String::new()]);
    table.add_row(last);
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn json_of(row: &Row, first: &Row) -> Value {
    json!({
        "kind": row.kind.name(),
        "model": row.name,
        "likelihood": row.likelihood.to_string(),
        "nll_is": row.likelihood.of_nll(),
        "nll": row.nll.map(|nll| nll.mean),
        "nll_std_error": row.nll.map(|nll| nll.std_error),
        "ties_with_first": ties(row, first),
        "distances": distances_json(&row.distances),
        "train_s": row.train_s,
        "draw_us_per_row": row.draw_us,
    })
}

fn distances_json(distances: &Distances) -> Value {
    json!({
        "energy": distances.energy,
        "sliced_w2": distances.w2,
        "precision": distances.prdc.as_ref().map(|d| d.precision),
        "recall": distances.prdc.as_ref().map(|d| d.recall),
        "density": distances.prdc.as_ref().map(|d| d.density),
        "coverage": distances.prdc.as_ref().map(|d| d.coverage),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_for_the_winner_keeps_what_is_about_the_data() {
        let given = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>().into_iter();
        let line =
            "quadrivium compare a.csv --by=energy --models flow,vae --columns x,y -oout.md --seed 3 --quick";
        assert_eq!(
            fit_command(Kind::Flow, given(line)),
            "quadrivium fit -m flow a.csv --columns x,y --seed 3 -o flow.safetensors"
        );
        let files = given("quadrivium compare --held-out 0.3 --json -o out.json a.csv");
        assert_eq!(fit_command(Kind::Gan, files), "quadrivium fit -m gan a.csv -o gan.safetensors");
        let odd = ["quadrivium", "compare", "my rows.csv", "--dequantize"].map(String::from);
        assert_eq!(
            fit_command(Kind::Vae, odd.into_iter()),
            "quadrivium fit -m vae 'my rows.csv' --dequantize -o vae.safetensors"
        );
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}

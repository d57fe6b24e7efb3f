//! Synthetic rows beside real ones.

#[cfg(feature = "plot")]
mod page;

use std::io::{self, Write};
use std::path::PathBuf;

use comfy_table::{CellAlignment, Table as Grid, presets};
use quadrivium::metrics::{nearest_labels, nearest_rows, prdc, two_sample_accuracy};
use quadrivium::ndarray::{Array2, ArrayView2, Axis, s};
use quadrivium::numeric::rng::Rng;
use quadrivium::rand::seq::SliceRandom;
use quadrivium::tables::{Cells, MISSING, Table};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome, counted, of_writing, say};
use crate::features::{encoded, scales};
use crate::input::Data;
use crate::seed::Purpose;

/// Compare synthetic rows with real ones, column by column and as a whole.
///
/// Each figure stands beside the same figure of two halves of the real rows: what even real rows do not reach cannot be
/// asked of synthetic ones. Columns may hold labels and gaps.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    real: Data,
    /// The synthetic rows, with the columns of the real ones.
    synthetic: PathBuf,
    /// Real rows that the model has not seen. With them, copies of the rows that it has seen are told from rows that are
    /// close because the data are dense. A kernel density draws nothing but its training rows plus noise.
    #[arg(long, value_name = "FILE")]
    held_out: Option<PathBuf>,
    /// A column of labels: how well it is predicted for held-out rows, or otherwise for a third of the real rows, by a
    /// classifier that learned from the other real rows, and by one that learned from synthetic rows.
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    /// Write a page with the figures, and pictures of every column, to this folder: index.html, and the pictures as SVG and PNG.
    #[cfg(feature = "plot")]
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Compare at most this many rows of each, chosen at random: the time grows with their square.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    most: u32,
    /// Seed of the choice of rows and halves.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Splits of the real rows into halves, whose figures are averaged.
const HALVES: u64 = 5;

/// Neighbors whose balls make precision and recall, and that vote for a label.
const NEIGHBORS: usize = 5;

/// A figure, and the same of two halves of the real rows.
struct Figure {
    name: String,
    value: f64,
    floor: f64,
}

pub fn run(args: &Args) -> Outcome<()> {
    let (real, cells) = args.real.read_typed()?;
    let others = |path: &PathBuf| args.real.beside(path).read_like(&real, &cells);
    let synthetic = others(&args.synthetic)?;
    let held_out = args.held_out.as_ref().map(others).transpose()?;
    let some = |x: &Array2<f32>, index: u64| {
        let mut order: Vec<usize> = (0..x.nrows()).collect();
        order.shuffle(&mut rng(args.seed, index));
        order.truncate(args.most as usize);
        x.select(Axis(0), &order)
    };
    let (x, y) = (some(&real.x, 0), some(&synthetic, 1));
    let least = 4 * (NEIGHBORS + 1);
    for (rows, what) in [(&x, "real"), (&y, "synthetic")] {
        if rows.nrows() < least {
            let found = counted(rows.nrows(), &format!("{what} row"));
            return Err(Failure::Operation(format!("{found}: expected at least {least}")));
        }
    }
    let scales = scales(x.view(), &cells);
    let halves: Vec<(Array2<f32>, Array2<f32>)> =
        (0..HALVES).map(|half| split(&x, args.seed, half)).collect();

    let mut columns = Vec::new();
    for (at, (name, scale)) in real.names.iter().zip(&scales).enumerate() {
        let distance = |x: &Array2<f32>, y: &Array2<f32>| scale.distance(x.column(at), y.column(at));
        columns.push(figure(name.clone(), &halves, &x, &y, distance)?);
    }
    let features = |x: &Array2<f32>| encoded(x.view(), &scales);
    let whole: Vec<(Array2<f32>, Array2<f32>)> =
        halves.iter().map(|(a, b)| (features(a), features(b))).collect();
    let (fx, fy) = (features(&x), features(&y));
    let correlation = |x: &Array2<f32>, y: &Array2<f32>| -> Outcome<f64> { Ok(correlation_gap(x, y)) };
    let two_sample = |x: &Array2<f32>, y: &Array2<f32>| -> Outcome<f64> {
        // Of as many rows: ½ is then chance.
        let n = x.nrows().min(y.nrows());
        Ok(two_sample_accuracy(x.slice(s![..n, ..]), y.slice(s![..n, ..]))?)
    };
    let ball = |pick: fn(quadrivium::metrics::Prdc) -> f64| {
        move |x: &Array2<f32>, y: &Array2<f32>| -> Outcome<f64> {
            Ok(pick(prdc(x.view(), y.view(), NEIGHBORS)?))
        }
    };
    let mut all = vec![
        figure("largest difference of a correlation".into(), &whole, &fx, &fy, correlation)?,
        figure("told apart by the nearest row, ½ by chance".into(), &whole, &fx, &fy, two_sample)?,
        figure("precision".into(), &whole, &fx, &fy, ball(|found| found.precision))?,
        figure("recall".into(), &whole, &fx, &fy, ball(|found| found.recall))?,
        figure("density".into(), &whole, &fx, &fy, ball(|found| found.density))?,
        figure("coverage".into(), &whole, &fx, &fy, ball(|found| found.coverage))?,
        figure("rows that are real ones".into(), &whole, &fx, &fy, |x, y| {
            let near = nearest_rows(y.view(), x.view(), 1)?;
            Ok(near.distances.iter().filter(|distance| **distance == 0.0).count() as f64 / y.nrows() as f64)
        })?,
    ];
    if let Some(held_out) = &held_out {
        let fresh = features(&some(held_out, 2));
        let floor = closer(&whole[0].0, &fresh, &whole[0].1)?;
        all.push(Figure {
            name: "closer to a row learned from than to a held-out one, ½ by chance".into(),
            value: closer(&fx, &fresh, &fy)?,
            floor,
        });
    }
    let label = args
        .label
        .as_ref()
        .map(|label| predicted(label, &real, &cells, (&x, &y, held_out.as_ref()), args.seed))
        .transpose()?;
    all.extend(label);
    let told = if args.json { format!("{:#}\n", json_of(&columns, &all)) } else { tables(&columns, &all) };
    io::stdout().write_all(told.as_bytes()).map_err(|error| of_writing("standard output", error))?;
    #[cfg(feature = "plot")]
    if let Some(dir) = &args.report {
        let found = page::Found { data: args, names: &real.names, cells: &cells, x: &x, y: &y };
        page::write(dir, &found, &columns, &all)?;
    }
    if held_out.is_none() {
        say(format_args!(
            "--held-out FILE, real rows that the model has not seen, tells copies from dense data"
        ));
    }
    Ok(())
}

fn rng(seed: u64, index: u64) -> Rng {
    Purpose::Choosing.streams(seed).stream(index)
}

/// Two halves of the rows.
fn split(x: &Array2<f32>, seed: u64, index: u64) -> (Array2<f32>, Array2<f32>) {
    let mut order: Vec<usize> = (0..x.nrows()).collect();
    order.shuffle(&mut rng(seed, 100 + index));
    let (first, second) = order.split_at(order.len() / 2);
    (x.select(Axis(0), first), x.select(Axis(0), second))
}

fn figure(
    name: String,
    halves: &[(Array2<f32>, Array2<f32>)],
    x: &Array2<f32>,
    y: &Array2<f32>,
    of: impl Fn(&Array2<f32>, &Array2<f32>) -> Outcome<f64>,
) -> Outcome<Figure> {
    let mut floor = 0.0;
    for (a, b) in halves {
        floor += of(a, b)? / halves.len() as f64;
    }
    Ok(Figure { value: of(x, y)?, name, floor })
}

/// The largest difference between the correlations of two samples; columns of one value have none.
fn correlation_gap(x: &Array2<f32>, y: &Array2<f32>) -> f64 {
    let correlations = |x: &Array2<f32>| {
        let x = x.mapv(f64::from);
        let mean = x.mean_axis(Axis(0)).expect("there are rows");
        let mut z = x - &mean;
        for mut column in z.columns_mut() {
            let length = column.dot(&column).sqrt();
            column.mapv_inplace(|value| if length > 0.0 { value / length } else { 0.0 });
        }
        z.t().dot(&z)
    };
    let gap = correlations(x) - correlations(y);
    gap.indexed_iter().filter(|((i, j), _)| i < j).map(|(_, gap)| gap.abs()).fold(0.0, f64::max)
}

/// The share of the rows of y that are closer to one of x than to one of `fresh`, of as many.
fn closer(x: &Array2<f32>, fresh: &Array2<f32>, y: &Array2<f32>) -> Outcome<f64> {
    let n = x.nrows().min(fresh.nrows());
    let distance =
        |x: ArrayView2<f32>| -> Outcome<Array2<f64>> { Ok(nearest_rows(y.view(), x, 1)?.distances) };
    let (seen, fresh) = (distance(x.slice(s![..n, ..]))?, distance(fresh.slice(s![..n, ..]))?);
    let half = |(seen, fresh): (&f64, &f64)| {
        if seen < fresh { 1.0 } else { f64::from(u8::from(seen == fresh)) / 2.0 }
    };
    Ok(seen.iter().zip(&fresh).map(half).sum::<f64>() / y.nrows() as f64)
}

/// How often a label is predicted for rows that were held out, or otherwise for a third of the real rows: by a classifier
/// that learned from synthetic rows, beside one that learned from the other real rows.
fn predicted(
    label: &str,
    real: &Table,
    cells: &[Cells],
    (x, y, held_out): (&Array2<f32>, &Array2<f32>, Option<&Array2<f32>>),
    seed: u64,
) -> Outcome<Figure> {
    let at = real.names.iter().position(|name| name == label);
    let at = at.ok_or_else(|| {
        Failure::Usage(format!("--label: no column {label}: expected one of {}", real.names.join(", ")))
    })?;
    if x.column(at).iter().chain(held_out.iter().flat_map(|x| x.column(at))).any(|value| *value == MISSING) {
        return Err(Failure::Operation(format!("--label: column {label} has gaps")));
    }
    let mut order: Vec<usize> = (0..x.nrows()).collect();
    order.shuffle(&mut rng(seed, 200));
    let (test, learned) = match held_out {
        Some(fresh) => (fresh.clone(), x.clone()),
        None => {
            let (test, learned) = order.split_at(order.len() / 3);
            (x.select(Axis(0), test), x.select(Axis(0), learned))
        }
    };
    let keep: Vec<usize> = (0..cells.len()).filter(|&column| column != at).collect();
    let of_others: Vec<Cells> = keep.iter().map(|&column| cells[column].clone()).collect();
    let others = scales(x.select(Axis(1), &keep).view(), &of_others);
    let side = |x: &Array2<f32>| -> (Array2<f32>, Vec<u32>) {
        // Numbers as labels, too: by their bits.
        (
            encoded(x.select(Axis(1), &keep).view(), &others),
            x.column(at).iter().map(|value| (value + 0.0).to_bits()).collect(),
        )
    };
    let (test, truth) = side(&test);
    let accuracy = |x: &Array2<f32>| -> Outcome<f64> {
        let (x, labels) = side(x);
        let found = nearest_labels(x.view(), &labels, test.view(), NEIGHBORS)?;
        Ok(found.iter().zip(&truth).filter(|(found, truth)| found == truth).count() as f64
            / truth.len() as f64)
    };
    Ok(Figure {
        name: format!("{label} predicted by what was learned from these rows"),
        value: accuracy(y)?,
        floor: accuracy(&learned)?,
    })
}

const COLUMNS: [&str; 3] =
    ["column: distance in sd, or of the shares of labels", "synthetic", "halves of the real"];
const ROWS: [&str; 3] = ["whole rows", "synthetic", "halves of the real"];

impl Figure {
    /// A line of a table.
    fn cells(&self) -> [String; 3] {
        [self.name.clone(), format!("{:.4}", self.value), format!("{:.4}", self.floor)]
    }
}

fn tables(columns: &[Figure], all: &[Figure]) -> String {
    let grid = |header: [&str; 3], figures: &[Figure]| {
        let mut grid = Grid::new();
        grid.load_preset(presets::ASCII_MARKDOWN).set_header(header);
        for figure in figures {
            grid.add_row(figure.cells());
        }
        for column in 1..3 {
            grid.column_mut(column).expect("three columns").set_cell_alignment(CellAlignment::Right);
        }
        grid
    };
    format!("{}\n\n{}\n", grid(COLUMNS, columns), grid(ROWS, all))
}

fn json_of(columns: &[Figure], all: &[Figure]) -> Value {
    let list = |figures: &[Figure]| -> Vec<Value> {
        let of = |Figure { name, value, floor }: &Figure| json!({ "name": name, "synthetic": value, "real": floor });
        figures.iter().map(of).collect()
    };
    json!({ "columns": list(columns), "rows": list(all) })
}

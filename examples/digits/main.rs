//! Generative models of 8 × 8 handwritten digits: how near they are to held-out digits, whether they draw the digit that
//! is asked for, and whether they copy the digits that they have seen.
//!
//! `cargo run --release --example digits` (some minutes) · `-- --quick` checks that everything runs · `-- --json FILE` ·
//! `-- --help` explains the options.

mod data;
mod models;

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use quadrivium::metrics::{Floor, frechet_distance};
use quadrivium::ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};
use quadrivium::numeric::rng::{Rng, Streams};
use quadrivium::prelude::*;
use quadrivium::tables::shuffle_rows;
use serde_json::json;

use self::data::Digits;
use self::models::Workshop;

/// What can go wrong in an example.
pub type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Train models of handwritten digits and judge what they draw.
#[derive(Parser)]
struct Args {
    /// Few steps, to check that everything runs; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// Seed of the split, the models and the draws.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write every figure to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw a digit of each class by each model, as SVG or PNG.
    #[arg(long, value_name = "FILE", hide = cfg!(not(feature = "plot")))]
    plot: Option<PathBuf>,
}

/// Draws of a model over which its figures are means, each of as many rows as are held out; and pairs of samples of the
/// digits by which the floor is found.
const DRAWS_AND_PAIRS: (usize, usize) = (5, 20);
const QUICK: (usize, usize) = (1, 2);

/// What was measured of a model.
struct Row {
    name: String,
    nfe: usize,
    /// Mean distance to the held-out digits.
    frechet: f64,
    /// The share of rows that the classifier takes for the digit that was asked for.
    asked_share: f64,
    /// How far rows are from the nearest digit that was learned from, over how far from the nearest held-out one.
    nearest: f64,
    us: f64,
    train_s: f64,
    /// A digit of each class.
    /// Drawn with the feature `plot` only.
    #[cfg_attr(not(feature = "plot"), allow(dead_code))]
    pictured: Array2<f32>,
}

/// What rows are held against.
struct Judge {
    digits: Digits,
    floor: Floor,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    if cfg!(not(feature = "plot")) && args.plot.is_some() {
        let command = "cargo run --release --features plot --example digits";
        return Err(format!("--plot draws a picture: run with `{command}`").into());
    }
    let started = Instant::now();
    let streams = Streams::new(args.seed);
    let judge = Judge::new(Digits::read(&mut streams.stream(0))?, args.quick, &mut streams.stream(1))?;
    let workshop = Workshop { digits: &judge.digits, quick: args.quick, streams: streams.family(1) };
    let mut rows = Vec::new();
    workshop.models(&mut |name, model, train_s| {
        rows.push(judge.measure(name, model, train_s, streams.family(2))?);
        eprintln!("{name}: {:.0} s so far", started.elapsed().as_secs_f64());
        Ok(())
    })?;
    println!("{}\n\n{}", judge.table(&rows), judge.remarks());
    if let Some(path) = &args.json {
        std::fs::write(path, format!("{:#}\n", judge.json(&rows)))?;
    }
    #[cfg(feature = "plot")]
    if let Some(path) = &args.plot {
        judge.picture(&rows)?.save(path)?;
    }
    Ok(())
}

impl Judge {
    fn new(digits: Digits, quick: bool, rng: &mut Rng) -> Outcome<Self> {
        let (draws, pairs) = if quick { QUICK } else { DRAWS_AND_PAIRS };
        let (mut pool, n) = (digits.train.x().to_owned(), digits.test.rows());
        let pair = |_| {
            shuffle_rows(&mut pool, rng);
            let (one, rest) = pool.view().split_at(Axis(0), n);
            frechet_distance(one, rest.slice(s![..n, ..]))
        };
        let floor = Floor::of(&(0..pairs).map(pair).collect::<Result<Vec<_>>>()?, draws)?;
        Ok(Judge { digits, floor })
    }

    /// Draws the digits that the held-out ones are, several times.
    fn measure(&self, name: &str, model: &dyn Generative, train_s: f64, streams: Streams) -> Outcome<Row> {
        let test = &self.digits.test;
        let asked = test.condition().expect("labeled");
        let given = model.given(asked)?;
        let (mut frechet, mut asked_share, mut nearest, mut us) = (0.0, 0.0, 0.0, 0.0);
        let mut nfe = 0;
        for draw in 0..self.floor.draws {
            let start = Instant::now();
            let drawn =
                given.sample(test.rows(), &SampleOptions::default(), &mut streams.stream(draw as u64))?;
            us += start.elapsed().as_secs_f64() * 1e6 / test.rows() as f64;
            nfe = drawn.nfe;
            frechet += frechet_distance(drawn.x.view(), test.x())?;
            asked_share += self.digits.asked_share(&drawn.x, asked).expect("classes");
            nearest += self.nearest(drawn.x.view());
        }
        let mean = |sum: f64| sum / self.floor.draws as f64;
        let classes = Condition::Class((0..10).collect());
        Ok(Row {
            name: name.into(),
            nfe,
            frechet: mean(frechet),
            asked_share: mean(asked_share),
            nearest: mean(nearest),
            us: mean(us),
            train_s,
            pictured: model.given(&classes)?.draw(10, &mut streams.stream(u64::MAX))?,
        })
    }

    /// The distance to the nearest digit that was learned from, over that to the nearest held-out digit, in the mean of
    /// rows and of parts of the former that have as many rows as the latter. 1 of a perfect sampler; 0 of copies.
    fn nearest(&self, x: ArrayView2<f32>) -> f64 {
        let Digits { train, test } = &self.digits;
        let (train, n) = (train.x(), test.rows());
        let parts = train.exact_chunks((n, 64)).into_iter().map(|part| to_nearest(x, part));
        let parts: Vec<f64> = parts.collect();
        parts.iter().sum::<f64>() / parts.len() as f64 / to_nearest(x, test.x())
    }

    fn table(&self, rows: &[Row]) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header(["model", "evals", "Fréchet", "asked", "nearest", "µs, bulk", "s"]);
        for row in rows {
            let at_floor = if self.floor.holds(row.frechet) { " *" } else { "" };
            table.add_row([
                row.name.clone(),
                row.nfe.to_string(),
                format!("{:.1}{at_floor}", row.frechet),
                format!("{:.1} %", 100.0 * row.asked_share),
                format!("{:.3}", row.nearest),
                format!("{:.1}", row.us),
                format!("{:.0}", row.train_s),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    /// The share of the digits to learn from that the classifier knows.
    fn classifier_share(&self) -> f64 {
        let train = &self.digits.train;
        let labels = train.condition().expect("labeled");
        self.digits.asked_share(&train.x().to_owned(), labels).expect("classes")
    }

    fn remarks(&self) -> String {
        format!(
            "Fréchet distance of a perfect sampler {:.1} ± {:.1}, of samples of {} rows; * at this floor. Asked: the share \
             of rows that the classifier takes for the digit that was asked for; of the digits to learn from, which it \
             has not seen, it is right about {:.1} %. Nearest: the distance to the nearest digit that was learned from, \
             over that to the nearest of as many held-out ones; 1 of a perfect sampler, 0 of copies.",
            self.floor.mean,
            self.floor.sd,
            self.digits.test.rows(),
            100.0 * self.classifier_share()
        )
    }

    fn json(&self, rows: &[Row]) -> serde_json::Value {
        let classifier_share = self.classifier_share();
        let row = |row: &Row| {
            json!({
                "model": row.name, "nfe": row.nfe, "frechet": row.frechet, "frechet_floor": self.floor.mean,
                "frechet_reach": self.floor.reach(), "asked_share": row.asked_share,
                "classifier_share": classifier_share, "nearest": row.nearest, "train_s": row.train_s,
            })
        };
        json!({ "rows": rows.iter().map(row).collect::<Vec<_>>() })
    }

    #[cfg(feature = "plot")]
    fn picture(&self, rows: &[Row]) -> Result<quadrivium::report::Picture> {
        let test = &self.digits.test;
        let Some(Condition::Class(labels)) = test.condition() else { unreachable!("labeled") };
        let first =
            |class: u32| labels.iter().position(|label| *label == class).expect("a digit of each class");
        let held_out = test.x().select(Axis(0), &(0..10).map(first).collect::<Vec<_>>());
        let classes: Vec<String> = (0..10).map(|class| class.to_string()).collect();
        let captions: Vec<&str> = classes.iter().map(String::as_str).collect();
        let mut lines = vec![("held-out digits", held_out.view())];
        lines.extend(rows.iter().map(|row| (row.name.as_str(), row.pictured.view())));
        let title = "The digit that was asked for, as each model draws it";
        quadrivium::report::images(title, &captions, &lines, (8, 8), (0.0, 16.0))
    }
}

/// The mean distance of rows of x to the nearest row of others.
fn to_nearest(x: ArrayView2<f32>, others: ArrayView2<f32>) -> f64 {
    let square =
        |a: ArrayView1<f32>, b: ArrayView1<f32>| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
    let near = |x: ArrayView1<f32>| {
        others.rows().into_iter().map(|other| square(x, other)).fold(f32::INFINITY, f32::min)
    };
    x.rows().into_iter().map(|x| f64::from(near(x).sqrt())).sum::<f64>() / x.nrows() as f64
}

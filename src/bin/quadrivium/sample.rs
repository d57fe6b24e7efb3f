use std::ops::{ControlFlow, Range};
use std::path::PathBuf;

use quadrivium::engine::RowStreams;
use quadrivium::ndarray::{Array2, ArrayView2, s};
use quadrivium::numeric::rng::Streams;
use quadrivium::persist::{Column, Persist, Role, condition_of};
use quadrivium::tables::{Cells, MISSING};
use quadrivium::{Distribution, Result, SampleOptions};

use crate::columns::{Columns, load};
use crate::condition::{drawn, given};
use crate::failure::{Failure, Outcome, of_file};
use crate::files::distinct;
use crate::input::{block_rows, range};
use crate::interrupt;
use crate::output::{Number, Output};
use crate::seed::Purpose;
use crate::text;
use crate::units;
use crate::values::temperature;

/// Draw rows from a model.
///
/// Rows have the columns of the training data, under the same header. Only a block of rows is in memory at a time,
/// and the first rows do not depend on how many follow.
///
/// If the model has a condition, each row is drawn under the condition of --given, or otherwise under a random
/// condition with the frequencies of the training data, and is written with it.
#[derive(clap::Args)]
pub struct Args {
    /// The model's file.
    pub model: PathBuf,
    /// Number of rows, or of texts. Default: 1000 rows, or one text.
    #[arg(short = 'n', long, value_name = "N")]
    pub count: Option<u64>,
    /// Draw only these of the rows, counted from 0, as in 5000..6000: several machines can share the work, and what they
    /// draw, one after the other, is the same as one of them draws alone.
    #[arg(long, value_name = "A..B", value_parser = range, conflicts_with = "count")]
    rows: Option<Range<u64>>,
    /// Seed: the same seed gives the same rows, bit for bit.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Scale of the randomness: smaller values give less varied samples.
    #[arg(long, value_parser = temperature, allow_negative_numbers = true, default_value_t = 1.0)]
    pub temperature: f64,
    /// Draw rows under this condition, a value for each of its columns: --given label=3, --given angle=0.5,speed=2.
    #[arg(long, value_name = "COLUMN=VALUE,…", value_delimiter = ',')]
    given: Vec<String>,
    /// Do not round the columns to which --dequantize added noise in training.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub text: text::Asked,
}

impl Args {
    fn rows(&self) -> Range<u64> {
        self.rows.clone().unwrap_or(0..self.count.unwrap_or(1000))
    }

    /// Refuses flags that would do nothing for a language model.
    pub fn takes_a_text(&self) -> Outcome<()> {
        let flags = [
            ("--given", !self.given.is_empty()),
            ("--rows", self.rows.is_some()),
            ("--raw", self.raw),
            ("--format", self.output.has_format()),
        ];
        refuse(flags, "the model draws texts, not rows")
    }
}

fn refuse<const N: usize>(flags: [(&str, bool); N], why: &str) -> Outcome<()> {
    match flags.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Failure::Usage(format!("{flag}: {why}"))),
        None => Ok(()),
    }
}

pub fn run(args: &Args) -> Outcome<()> {
    distinct(
        &[("the model", Some(&args.model))],
        &args.output.path().map_or(vec![], |path| vec![("the rows", path)]),
    )?;
    if let Some(loaded) = text::load(&args.model)? {
        return text::sample(args, &loaded);
    }
    refuse(args.text.given(), "the model draws rows, not texts")?;
    let (model, columns) = load(&args.model)?;
    let given = match args.given.is_empty() {
        true => None,
        false => Some(given(&args.given, &columns.all)?),
    };
    if given.is_none() && !columns.condition_is_named && columns.condition().next().is_some() {
        return Err(Failure::Operation(format!(
            "{}: the file does not say how often each condition occurred: choose one with --given, a value for {}",
            args.model.display(),
            columns.condition_names(),
        )));
    }
    let draws = Draws { args, model: model.as_ref(), columns: &columns, given };
    // In f32 a column keeps its digits, unless it is relative to a value that needs f64.
    match columns.all.iter().all(|column| column.units.is_identity()) {
        true => draws.write(|value| value as f32),
        false => draws.write(|value| value),
    }
}

/// Receives some rows of a model, and their conditions.
type Sink<'a> = dyn FnMut(ArrayView2<f32>, ArrayView2<f64>) -> ControlFlow<()> + 'a;

/// What is drawn.
struct Draws<'a> {
    args: &'a Args,
    model: &'a dyn Persist,
    columns: &'a Columns,
    /// The condition of all rows, if it is the same: (1, columns of the condition), in the units of the data.
    given: Option<Array2<f64>>,
}

impl Draws<'_> {
    /// Draws rows and writes them.
    fn write<T: Number>(&self, number: impl Fn(f64) -> T) -> Outcome<()> {
        let args = self.args;
        let interrupt = interrupt::watch("the output is incomplete")?;
        let names: Vec<&str> = self.columns.all.iter().map(|column| column.name.as_str()).collect();
        let cells = self.columns.all.iter().map(|column| column.cells.clone()).collect();
        let count = args.rows().end - args.rows().start;
        let mut rows = args.output.create_as(&names, Some(count), cells, || self.whole())?;
        let mut failure = None;
        let mut sink = |x: ArrayView2<f32>, condition: ArrayView2<f64>| {
            let x = self.rows(x, condition).mapv(&number);
            match rows.write(x.view()).and_then(|()| interrupt.check()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        self.each(&mut sink).map_err(|error| of_file(args.model.display(), error))?;
        match failure {
            Some(failure) => Err(failure),
            None => rows.finish(),
        }
    }

    /// Draws rows in blocks, each with its condition or, if it is the same for all, with one: (n or 1, columns of the
    /// condition). Which rows a block has depends on their numbers alone, and so does each row.
    fn each(&self, sink: &mut Sink<'_>) -> Result<()> {
        let (model, all, seed) = (self.model, &self.columns.all, self.args.seed);
        let of_all =
            self.given.as_ref().map(|given| model.given(&condition_of(all, given.view())?)).transpose()?;
        let is_drawn = of_all.is_none() && self.columns.condition().next().is_some();
        let streams = Streams::from_rng(&mut Purpose::Drawing.stream(seed));
        let (conditions, size) = (Purpose::Conditions.streams(seed), block_rows(model.dim()) as u64);
        let Range { start: mut first, end } = self.args.rows();
        while first < end {
            let (block, place) = (first / size, (first % size) as usize);
            let n = (size - first % size).min(end - first) as usize;
            let flow = if is_drawn {
                let values = drawn(all, size as usize, &mut conditions.stream(block));
                let model = model.given(&condition_of(all, values.view())?)?;
                let x = self.draw(model.as_ref(), RowStreams::new(streams.family(block), place as u64), n)?;
                sink(x.view(), values.slice(s![place..place + n, ..]))
            } else {
                let model: &dyn Distribution = of_all.as_deref().unwrap_or(model);
                let x = self.draw(model, RowStreams::new(streams, first), n)?;
                sink(x.view(), self.given.as_ref().map_or(ArrayView2::from(&[[]]), |given| given.view()))
            };
            if flow.is_break() {
                break;
            }
            first += n as u64;
        }
        Ok(())
    }

    /// The rows of the streams from `at` on.
    fn draw(&self, model: &dyn Distribution, at: RowStreams, n: usize) -> Result<Array2<f32>> {
        let mut x = Array2::zeros((n, model.dim()));
        let options = SampleOptions { temperature: self.args.temperature };
        model.draw_at(at, &options, x.as_slice_mut().expect("standard layout"))?;
        Ok(x)
    }

    /// Rows in the order of the table, in the units of the data: (n, columns).
    fn rows(&self, x: ArrayView2<f32>, condition: ArrayView2<f64>) -> Array2<f64> {
        let mut rows = Array2::zeros((x.nrows(), self.columns.all.len()));
        let (mut modeled, mut given) = (0, 0);
        for (column, mut values) in self.columns.all.iter().zip(rows.columns_mut()) {
            if column.role.is_modeled() {
                values.zip_mut_with(&x.column(modeled), |value, &x| *value = self.value(column, x));
                modeled += 1;
            } else {
                values.assign(&condition.column(given));
                given += 1;
            }
        }
        rows
    }

    /// Whether all values of each column are whole numbers, by the grid that training spread it over, or by its map.
    fn whole(&self) -> Outcome<Vec<bool>> {
        let maps = units::maps_and_model(self.model);
        let is_whole = |value: f64| value.fract() == 0.0;
        let mut modeled = 0..;
        let of_column = |column: &Column| {
            if let Role::Label { values, .. } = &column.role {
                return Ok(values.iter().all(|&value| is_whole(value)));
            }
            let place = if column.role.is_modeled() { modeled.next() } else { None };
            match (column.step().filter(|_| !self.args.raw), &maps, place) {
                (Some(step), ..) => Ok(is_whole(step.width) && is_whole(step.offset)),
                (None, Some(maps), Some(place)) if column.units.is_identity() => {
                    Ok(maps.codec().is_whole(place)?)
                }
                _ => Ok(false),
            }
        };
        self.columns.all.iter().map(of_column).collect()
    }

    /// The value that a model's number stands for, on the grid that training spread it over.
    fn value(&self, column: &Column, x: f32) -> f64 {
        match column.step() {
            _ if column.cells == Cells::Optional && x == MISSING => x.into(),
            Some(step) if !self.args.raw => step.nearest(column.units.restore(x)),
            _ if column.units.is_identity() => x.into(),
            _ => column.units.written(x),
        }
    }
}

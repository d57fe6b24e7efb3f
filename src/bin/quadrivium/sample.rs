use std::ops::ControlFlow;
use std::path::PathBuf;

use quadrivium::SampleOptions;
use quadrivium::ndarray::{Array2, ArrayView2};
use quadrivium::persist::{Column, Persist};

use crate::failure::{Outcome, of_file};
use crate::files::distinct;
use crate::input::load;
use crate::interrupt;
use crate::output::{Number, Output};
use crate::seed::Purpose;
use crate::values::temperature;

/// Draw rows from a model.
///
/// Rows have the columns of the training data, under the same header. Only a block of rows is in memory at a time, and
/// the first rows do not depend on how many follow.
#[derive(clap::Args)]
pub struct Args {
    /// The model's file.
    model: PathBuf,
    /// Number of rows.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1000)]
    count: u64,
    /// Seed: the same seed gives the same rows, bit for bit.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Scale of the randomness: smaller values give less varied samples.
    #[arg(long, value_parser = temperature, allow_negative_numbers = true, default_value_t = 1.0)]
    temperature: f64,
    /// Do not round the columns to which --dequantise added noise in training.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    output: Output,
}

pub fn run(args: &Args) -> Outcome<()> {
    distinct(
        &[("the model", Some(&args.model))],
        &args.output.path().map_or(vec![], |path| vec![("the rows", path)]),
    )?;
    let (model, columns) = load(&args.model)?;
    let numbered: Vec<String> = (1..=model.dim()).map(|column| format!("x{column}")).collect();
    let names: Vec<&str> = match columns.is_empty() {
        true => numbered.iter().map(String::as_str).collect(),
        false => columns.iter().map(|column| column.name.as_str()).collect(),
    };
    // In f32 a column keeps the digits it was learned with, unless it is relative to a value that takes f64.
    match columns.iter().all(|column| column.units.is_identity()) {
        true => draw(args, model.as_ref(), &names, |x| {
            each(x, &columns, |column, x| value(args, column, x) as f32)
        }),
        false => draw(args, model.as_ref(), &names, |x| {
            each(x, &columns, |column, x| match column.step() {
                Some(_) if !args.raw => value(args, column, x),
                _ => column.units.written(x),
            })
        }),
    }
}

/// Draws rows and writes what `rows_of` makes of them.
fn draw<T: Number>(
    args: &Args,
    model: &dyn Persist,
    names: &[&str],
    rows_of: impl Fn(ArrayView2<f32>) -> Array2<T>,
) -> Outcome<()> {
    let interrupt = interrupt::watch("the output is incomplete")?;
    let options = SampleOptions { temperature: args.temperature };
    let mut rows = args.output.create(names, Some(args.count))?;
    let mut failure = None;
    let mut sink = |x: ArrayView2<f32>| match rows.write(rows_of(x).view()).and_then(|()| interrupt.check()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failure = Some(error);
            ControlFlow::Break(())
        }
    };
    model
        .sample_each(args.count, &options, &mut Purpose::Drawing.stream(args.seed), &mut sink)
        .map_err(|error| of_file(args.model.display(), error))?;
    match failure {
        Some(failure) => Err(failure),
        None => rows.finish(),
    }
}

/// Each number of x by its column, if the model's file names them.
fn each<T>(x: ArrayView2<f32>, columns: &[Column], number: impl Fn(&Column, f32) -> T) -> Array2<T> {
    let unnamed = Column::default();
    let column = |column: usize| columns.get(column).unwrap_or(&unnamed);
    Array2::from_shape_fn(x.dim(), |(i, j)| number(column(j), x[[i, j]]))
}

/// The value that a model's number stands for, on the grid that training spread it over.
fn value(args: &Args, column: &Column, x: f32) -> f64 {
    let value = column.units.restore(x);
    match column.step() {
        Some(step) if !args.raw => step.nearest(value),
        _ => value,
    }
}

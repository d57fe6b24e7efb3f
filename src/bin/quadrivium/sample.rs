use std::ops::ControlFlow;
use std::path::PathBuf;

use quadrivium::SampleOptions;
use quadrivium::ndarray::{Array2, ArrayView2};
use quadrivium::persist::Column;

use crate::failure::{Failure, Outcome, of_file};
use crate::input::load;
use crate::interrupt;
use crate::output::Output;
use crate::seed::Purpose;
use crate::values::temperature;

/// Draw rows from a model.
///
/// Rows have the columns of the training's table, under its header. However many are drawn, a block of them is
/// in memory, and the first rows do not depend on how many follow.
#[derive(clap::Args)]
pub struct Args {
    /// The model's file.
    model: PathBuf,
    /// How many rows.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1000)]
    count: u64,
    /// The same seed gives the same rows, to the bit.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Scale of the randomness: below 1, less varied rows.
    #[arg(long, value_parser = temperature, allow_negative_numbers = true, default_value_t = 1.0)]
    temperature: f64,
    /// Columns that --dequantise spread in training: as drawn, not rounded to whole numbers again.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    output: Output,
}

pub fn run(args: &Args) -> Outcome<()> {
    let interrupt = interrupt::watch()?;
    let (model, columns) = load(&args.model)?;
    let options = SampleOptions { temperature: args.temperature };
    let numbered: Vec<String> = (1..=model.dim()).map(|column| format!("x{column}")).collect();
    let names: Vec<&str> = match columns.is_empty() {
        true => numbered.iter().map(String::as_str).collect(),
        false => columns.iter().map(|column| column.name.as_str()).collect(),
    };
    let rounds = !args.raw && columns.iter().any(|column| column.width > 0.0);

    let mut rows = args.output.create(&names, Some(args.count))?;
    let mut failure = None;
    let mut sink = |x: ArrayView2<f32>| {
        let written = if rounds { rows.write(round(x, &columns).view()) } else { rows.write(x) };
        match written {
            Ok(()) if interrupt.is_raised() => {
                failure = Some(Failure::Interrupted);
                ControlFlow::Break(())
            }
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
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

/// To whole multiples of the widths that training spread the columns over.
fn round(x: ArrayView2<f32>, columns: &[Column]) -> Array2<f32> {
    let mut x = x.to_owned();
    for (mut values, column) in x.columns_mut().into_iter().zip(columns) {
        if column.width > 0.0 {
            // + 0: what rounds to -0 is 0.
            values.mapv_inplace(|v| ((f64::from(v) / column.width).round() * column.width + 0.0) as f32);
        }
    }
    x
}

use std::path::PathBuf;

use quadrivium::engine::RowStreams;
use quadrivium::error::{ConditionError, TrainingError};
use quadrivium::ndarray::{Array2, Axis, stack};
use quadrivium::persist::condition_of;
use quadrivium::prelude::*;
use quadrivium::rand::RngCore;
use quadrivium::tables::{Units, dequantize};
use quadrivium::{Error, LikelihoodKind, LogLikelihood};

use crate::columns::{Columns, load};
use crate::condition::{score, values_of};
use crate::failure::{Failure, Outcome, counted, of_file, say};
use crate::files::distinct;
use crate::input::{Data, block_rows};
use crate::interrupt;
use crate::output::Output;
use crate::prepare::tell_rounded;
use crate::seed::Purpose;
use crate::text;

/// Score rows with a model: the log-likelihood of each, in nats, as a density in the units of the data.
///
/// Writes a column `nats`, and a column `std_error` if the value is an estimate. A message says which kind of
/// likelihood it is: exact, a lower bound, an estimate by an ODE or otherwise, or known up to a constant. Only a
/// block of rows is in memory at a time.
///
/// If the model has a condition c, the score is log p(x|c): each row's condition is read from the same columns as in
/// training.
#[derive(clap::Args)]
pub struct Args {
    /// The model's file.
    model: PathBuf,
    #[command(flatten)]
    pub data: Data,
    /// Columns of the condition, by names or by numbers starting at 1, if they have other names than in training.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    condition: Vec<String>,
    /// Seed of the noise that some likelihoods need, and of the noise on columns to which --dequantize added noise in
    /// training. That noise depends on the position of the row in the data and is not the noise of the training.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Score the values as they are, without noise on columns to which --dequantize added noise in training.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    pub output: Output,
}

impl Args {
    /// Refuses flags that would do nothing for a language model.
    pub fn takes_a_text(&self) -> Outcome<()> {
        for (flag, given) in [("--condition", !self.condition.is_empty()), ("--raw", self.raw)] {
            if given {
                return Err(Failure::Usage(format!("{flag}: the model scores a text, not rows")));
            }
        }
        self.data.takes_a_text()
    }
}

pub fn run(args: &Args) -> Outcome<()> {
    let interrupt = interrupt::watch("the output is incomplete")?;
    let read = [("the model", Some(args.model.as_path())), ("the rows", args.data.path())];
    distinct(&read, &args.output.path().map_or(vec![], |path| vec![("the scores", path)]))?;
    if let Some(loaded) = text::load(&args.model)? {
        return text::score(args, &loaded);
    }
    let (model, columns) = load(&args.model)?;
    let kind = model.card().likelihood;
    if kind == LikelihoodKind::Unavailable {
        let message = format!(
            "{}: {} has no likelihood; `quadrivium compare` measures its samples instead",
            args.model.display(),
            model.card().name
        );
        return Err(Failure::Operation(message));
    }
    let mut reader = columns.open(&args.data, &args.condition)?;
    // Converts a density of the model's numbers to one of the data.
    let log_scale: f64 = columns.modeled().map(|column| column.units.scale.ln()).sum();
    let spread = if args.raw { None } else { Spread::of(&columns) };
    let units: Vec<Units> = columns.all.iter().map(|column| column.units).collect();
    let (modeled, given): (Vec<usize>, Vec<usize>) =
        (0..columns.all.len()).partition(|&place| columns.all[place].role.is_modeled());
    let names: &[&str] = match kind {
        LikelihoodKind::Estimate => &["nats", "std_error"],
        _ => &["nats"],
    };
    let wanted = args.data.rows();
    let in_range = |rows: u64| rows.min(wanted.end as u64).saturating_sub(wanted.start as u64);
    let announced = reader.announced_rows().map(in_range);
    let mut out = args.output.create(names, announced)?;
    // A likelihood takes a seed, from which it numbers the streams of its rows.
    let options = LikelihoodOptions { seed: Purpose::Scoring.stream(args.seed).next_u64() };
    let mut total = Total::default();
    let noise = Purpose::SpreadToScore.streams(args.seed);
    let block = block_rows(model.dim());
    loop {
        let x = reader.block(block.min(wanted.len() - total.rows));
        let mut x = x.map_err(|error| of_file(args.data.name(), error))?;
        if x.nrows() == 0 {
            break;
        }
        interrupt.check()?;
        let first = wanted.start + total.rows;
        let failed = |error| of_file(args.data.name(), at(error, first));
        let mut condition = None;
        if !given.is_empty() {
            let values = values_of(x.view(), &given, &units);
            condition = Some(condition_of(&columns.all, values.view()).map_err(failed)?);
            x = x.select(Axis(1), &modeled);
        }
        if let Some(spread) = &spread {
            spread.apply(&mut x, RowStreams::new(noise, first as u64))?;
        }
        let scored = score(model.as_ref(), condition.as_ref(), x.view(), &options).map_err(failed)?;
        let mut nats = numbers(&scored)?;
        nats.column_mut(0).mapv_inplace(|nats| nats - log_scale);
        total.add(&nats);
        out.write(nats.view())?;
    }
    if total.rows == 0 {
        return Err(Failure::Operation(format!("{}: no rows", args.data.name())));
    }
    out.finish()?;
    tell_rounded(&reader.names(), reader.rounded(), &args.data.name());
    if let Some(spread) = spread {
        say(format_args!("{}", spread.explain()));
    }
    say(format_args!("{}", total.explain(kind)));
    Ok(())
}

/// Values, and standard errors if they are estimates: (n, 1) or (n, 2).
fn numbers(scored: &LogLikelihood) -> Outcome<Array2<f64>> {
    match scored {
        LogLikelihood::Estimate { nats, std_error } => {
            Ok(stack(Axis(1), &[nats.view(), std_error.view()]).expect("as many of both"))
        }
        LogLikelihood::Unnormalized(nats) => Ok(nats.view().insert_axis(Axis(1)).to_owned()),
        other => match other.nats() {
            Some(nats) => Ok(nats.view().insert_axis(Axis(1)).to_owned()),
            None => Err(Failure::Operation("the model has no likelihood".into())),
        },
    }
}

/// The error with its row counted from the start of the data.
fn at(error: Error, before: usize) -> Error {
    match error {
        Error::Training(TrainingError::NotConverged { what, budget, row }) => {
            Error::Training(TrainingError::NotConverged { what, budget, row: row + before })
        }
        Error::Condition(ConditionError::UnknownLabel { row, column, value, known }) => {
            let row = row.map(|row| row + before);
            ConditionError::UnknownLabel { row, column, value, known }.into()
        }
        other => other,
    }
}

/// Columns that were spread over their steps in training, and are spread for scoring, too.
struct Spread {
    /// In the model's numbers.
    widths: Vec<f64>,
    names: Vec<String>,
    /// The sum of the logarithms of the widths in the units of the data.
    log_widths: f64,
}

impl Spread {
    fn of(columns: &Columns) -> Option<Self> {
        let widths = columns.modeled().map(|column| column.width / column.units.scale).collect();
        let steps = || columns.modeled().filter_map(|column| Some((&column.name, column.step()?)));
        let names: Vec<String> = steps().map(|(name, step)| format!("{name} ({step})")).collect();
        let log_widths = steps().map(|(_, step)| step.width.ln()).sum();
        (!names.is_empty()).then_some(Spread { widths, names, log_widths })
    }

    /// Adds the noise of each row, from its own stream.
    fn apply(&self, x: &mut Array2<f32>, at: RowStreams) -> Outcome<()> {
        for (row, mut x) in x.axis_iter_mut(Axis(0)).enumerate() {
            let alone = x.view().insert_axis(Axis(0));
            let spread = dequantize(alone, &self.widths, &mut at.row(row))?;
            x.assign(&spread.row(0));
        }
        Ok(())
    }

    fn explain(&self) -> String {
        let widths = match self.log_widths {
            0.0 => String::new(),
            sum => format!(", plus {sum:.4} nats for the widths of the steps,"),
        };
        format!(
            "added uniform noise to rounded columns, as in training: {}. The mean{widths} is a lower bound on the mean \
             log-probability of the rounded values; --raw scores the values as they are",
            self.names.join(", ")
        )
    }
}

/// Running mean and spread of the scores (Welford 1962).
#[derive(Default)]
struct Total {
    rows: usize,
    mean: f64,
    squares: f64,
    /// Rows without any density.
    impossible: usize,
}

impl Total {
    fn add(&mut self, nats: &Array2<f64>) {
        for &value in nats.column(0) {
            self.rows += 1;
            if value == f64::NEG_INFINITY {
                self.impossible += 1;
                continue;
            }
            let off = value - self.mean;
            self.mean += off / (self.rows - self.impossible) as f64;
            self.squares += off * (value - self.mean);
        }
    }

    fn explain(&self, kind: LikelihoodKind) -> String {
        let claim = match kind {
            LikelihoodKind::Exact => "exact log-likelihood",
            LikelihoodKind::LowerBound => "lower bound on the log-likelihood",
            LikelihoodKind::OdeEstimate => "ODE estimate of the log-likelihood",
            LikelihoodKind::Estimate => "estimate of the log-likelihood",
            LikelihoodKind::Unnormalized => {
                "log-likelihood up to an unknown constant (only differences between rows are meaningful)"
            }
            LikelihoodKind::Unavailable => "no log-likelihood",
        };
        let n = self.rows - self.impossible;
        let error = match n {
            // One row has no spread.
            0 | 1 => String::new(),
            n => format!(" ± {:.4}", (self.squares / (n - 1) as f64 / n as f64).sqrt()),
        };
        let impossible = match self.impossible {
            0 => String::new(),
            rows => format!("; {rows} of them have density 0 and are left out of the mean"),
        };
        format!("{claim}: mean {:.4}{error} nats over {}{impossible}", self.mean, counted(self.rows, "row"))
    }
}

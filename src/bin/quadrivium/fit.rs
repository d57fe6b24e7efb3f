use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use quadrivium::observe::{All, Bar, JsonLines};
use quadrivium::persist;
use quadrivium::prelude::*;

use crate::failure::{Failure, Outcome, counted, of_columns, of_file, of_writing, say};
use crate::files::{distinct, in_a_folder, writable};
use crate::input::{Data, Treatment, prepare};
use crate::interrupt;
use crate::recipe::{Extent, Kind, Settings};
use crate::seed::Purpose;
use crate::values::{positive, share};

/// Fit a model to rows, and save it.
///
/// Ctrl-C ends the training and saves what it has learned; a second one ends the program. So does the first if
/// no step comes to its end within two seconds, or within twice the longest step so far.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: Data,
    /// Which model.
    #[arg(short, long, value_enum)]
    model: Kind,
    /// File for the model, in safetensors format.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Optimiser steps. Default: by the kind of model and the number of rows.
    #[arg(long, value_name = "N", value_parser = positive)]
    steps: Option<usize>,
    /// Rows per step. Default: by the kind of model and the number of rows.
    #[arg(long, value_name = "N", value_parser = positive)]
    batch: Option<usize>,
    /// The same seed gives the same model, to the bit.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Share of the rows held out to measure the loss on.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    validation: Option<f64>,
    /// Stop after this many validations without a new best one, and keep the best model.
    #[arg(long, value_name = "N", value_parser = positive, requires = "validation")]
    patience: Option<usize>,
    /// Steps between two validations. Default: 100.
    #[arg(long, value_name = "N", value_parser = positive, requires = "validation")]
    validate_every: Option<usize>,
    /// File to go on from: the same command, killed at any moment and run again, ends in the same model.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Steps between two writings of the checkpoint.
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 500, requires = "checkpoint")]
    checkpoint_every: usize,
    /// File that gets a line of JSON for every tenth step, behind what it holds.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    #[command(flatten)]
    treatment: Treatment,
    #[command(flatten)]
    settings: Settings,
}

impl Args {
    /// Refuses flags that would do nothing.
    fn model_takes_flags(&self) -> Outcome<()> {
        let (mixture, kernels) = (self.model == Kind::GaussianMixture, self.model == Kind::KernelDensity);
        let in_one_go = "this model is fitted in one go, to all rows";
        let refused = [
            ("--steps", self.steps.is_some() && (mixture || kernels), in_one_go),
            ("--batch", self.batch.is_some() && (mixture || kernels), in_one_go),
            ("--checkpoint", self.checkpoint.is_some() && (mixture || kernels), in_one_go),
            ("--patience", self.patience.is_some() && kernels, "kernels are not trained by steps"),
            (
                "--validate-every",
                self.validate_every.is_some() && kernels,
                "kernels are not trained by steps",
            ),
        ];
        match refused.into_iter().find(|(_, given, _)| *given) {
            Some((flag, _, why)) => Err(Failure::Usage(format!("{flag}: {why}"))),
            None => Ok(()),
        }
    }

    /// The files to be written, and what is to be in them.
    fn files(&self) -> Vec<(&'static str, &Path)> {
        let mut files = vec![("the model", self.output.as_path())];
        files.extend(self.checkpoint.as_deref().map(|path| ("the checkpoint", path)));
        files.extend(self.log.as_deref().map(|path| ("the log", path)));
        files
    }
}

pub fn run(args: &Args) -> Outcome<()> {
    let mut interrupt = interrupt::watch()?;
    args.model_takes_flags()?;
    let fields = args.settings.read()?;
    let files = args.files();
    files.iter().try_for_each(|(what, path)| takes(what, path))?;
    let read = [("the rows", args.data.path()), ("the settings", args.settings.path())];
    distinct(&read, &files)?;
    // The log is opened before the training and not replaced: its folder need not be writable.
    [Some(&args.output), args.checkpoint.as_ref()]
        .into_iter()
        .flatten()
        .try_for_each(|path| writable(path))?;
    let (table, columns) = prepare(&args.data, &args.treatment, args.seed)?;
    let extent = Extent { rows: table.x.nrows(), dim: table.x.ncols() };
    let mut rng = Purpose::Training.stream(args.seed);
    let mut model = args.model.untrained(extent, &fields, &mut rng)?;
    let name = args.data.name();
    let data = Dataset::new(table.x).map_err(|error| of_file(&name, error))?;

    let recipe = args.model.training(extent);
    let batch = args.batch.unwrap_or(recipe.batch);
    let options = TrainOptions {
        steps: args.steps.unwrap_or(recipe.steps),
        batch,
        shards: recipe.shards.min(batch),
        validation: args.validation.unwrap_or(0.0),
        validate_every: args.validate_every.unwrap_or(100),
        patience: args.patience,
        checkpoint: args.checkpoint.clone().map(|path| Checkpoint { path, every: args.checkpoint_every }),
    };
    let mut log = args.log.as_deref().map(open_log).transpose()?;
    let mut bar = Bar::new(&model.card().name);
    let mut observers = All(vec![&mut bar, &mut interrupt]);
    if let Some(log) = &mut log {
        observers.0.push(log);
    }
    let start = Instant::now();
    let trained = model.train(&data, &options, &mut rng, &mut observers);
    drop(bar);
    let report = trained.map_err(|error| match error {
        Error::Config { field: "TrainOptions::patience", expected, .. } => {
            // "None: ", and why.
            let why = expected.split_once(": ").map_or(expected, |(_, why)| why);
            Failure::Usage(format!("--patience does not go with this model: {why}"))
        }
        other => of_columns(&name, &table.names, other),
    })?;
    persist::save_with(model.as_ref(), &columns, &args.output)
        .map_err(|error| of_file(args.output.display(), error))?;
    if let (Some(log), Some(path)) = (log, &args.log) {
        log.finish().map_err(|error| of_writing(path.display(), error))?;
    }
    say(format_args!(
        "{}: {} of {} ({}); {}, {:.1} s",
        model.card().name,
        counted(extent.rows, "row"),
        counted(extent.dim, "column"),
        table.names.join(", "),
        summary(args, &report),
        start.elapsed().as_secs_f64(),
    ));
    say(format_args!("saved to {}", args.output.display()));
    if report.stop == Stop::Interrupted { Err(Failure::Interrupted) } else { Ok(()) }
}

fn open_log(path: &Path) -> Outcome<JsonLines<File>> {
    let file = File::options().create(true).append(true).open(path);
    let file = file.map_err(|error| of_writing(path.display(), error))?;
    Ok(JsonLines::new(file, 10))
}

fn takes(what: &str, path: &Path) -> Outcome<()> {
    if path == Path::new("-") {
        return Err(Failure::Usage(format!("{what} goes to a file, not to standard output")));
    }
    in_a_folder(path)
}

fn summary(args: &Args, report: &TrainReport) -> String {
    let steps = report.loss.len();
    let stop = match report.stop {
        Stop::Completed => "",
        Stop::Interrupted => " until Ctrl-C",
        Stop::Patience => " until patience ended, the best kept",
    };
    // The last tenth: a single minibatch says little.
    let last = &report.loss[steps - steps.div_ceil(10).min(steps)..];
    let loss = last.iter().sum::<f64>() / last.len().max(1) as f64;
    format!("{}{stop}, loss {loss:.4}{}", counted(steps, "step"), validated(args, report))
}

/// The validation loss of the model that was kept: the best with patience, else the last.
fn validated(args: &Args, report: &TrainReport) -> String {
    let best = report.validation.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    let (Some((best_at, best)), Some(&(at, last))) = (best, report.validation.last()) else {
        return String::new();
    };
    if args.patience.is_some() {
        return format!(", best validation loss {best:.4}");
    }
    // After Ctrl-C the model has gone on since.
    let at = if at == report.loss.len() { String::new() } else { format!(" at step {at}") };
    let has_best = !matches!(args.model, Kind::Energy | Kind::Gan | Kind::KernelDensity);
    let advice = if has_best { ": --patience keeps it" } else { "" };
    let best = match best < last {
        true => format!(" (best {best:.4} at step {best_at}{advice})"),
        false => String::new(),
    };
    format!(", validation loss {last:.4}{at}{best}")
}

use quadrivium::error::FileError;
use std::env;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quadrivium::engine::{TcpExchange, split};
use quadrivium::hybrid::{self, Latent, LatentConfig};
use quadrivium::metrics::Nll;
use quadrivium::ndarray::s;
use quadrivium::numeric::rng::Rng;
use quadrivium::observe::{All, Bar, JsonLines, TensorBoard};
use quadrivium::persist::{self, Column, Persist, condition_kind};
use quadrivium::prelude::*;
use quadrivium::recipe::{Kind, ModelConfig, Recipe};
use quadrivium::{Checkpoint, Error, LikelihoodKind, Step, Stop, TrainReport};

use crate::condition;
use crate::failure::{Failure, Outcome, counted, of_columns, of_file, of_writing, say};
use crate::files::{distinct, in_a_folder, writable};
use crate::info::components;
use crate::input::Data;
use crate::interrupt::{self, Signal};
use crate::prepare::{Prepared, Treatment, prepare};
use crate::recipe::{Model, Settings, model, of_settings};
use crate::seed::Purpose;
use crate::text;
use crate::units;
use crate::values::{positive, share_or_none};

/// Fit a model to rows, and save it.
///
/// The size of the model and its training options follow from the numbers of rows and columns. A message states what
/// was chosen, and options override any of it. By default some rows are held out, and the model that scored best on
/// them is kept.
///
/// Ctrl-C, SIGTERM or SIGHUP ends the training after the current step and saves the model; a second one quits at
/// once.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub data: Data,
    /// Kind of model. `transformer` and `n_gram` are language models: the data are then a text.
    #[arg(short, long, value_name = "KIND", value_parser = model())]
    model: Model,
    /// Tokens of a text: `characters`, `bytes`, or `pairs:N` for N byte pairs. Default: characters.
    #[arg(long, value_name = "KIND", value_parser = text::Tokens::parse)]
    pub tokens: Option<text::Tokens>,
    /// File for the model, in safetensors format.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Maximum number of training steps. Default: by the kind of model and the number of rows.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub steps: Option<usize>,
    /// Rows per step. Default: by the kind of model and the number of rows.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub batch: Option<usize>,
    /// Seed: the same seed gives the same model, bit for bit.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Share of the rows held out to validate the model; 0 trains on all rows, for all steps. Default: by the kind of
    /// model and the number of rows.
    #[arg(long, value_name = "SHARE", value_parser = share_or_none)]
    pub validation: Option<f64>,
    /// Stop after this many validations without a new best, and keep the best model. Default: 15 if rows are held
    /// out.
    #[arg(long, value_name = "N", value_parser = positive)]
    patience: Option<usize>,
    /// Steps between two validations. Default: a fiftieth of the steps.
    #[arg(long, value_name = "N", value_parser = positive)]
    validate_every: Option<usize>,
    /// Checkpoint file: if the same command is killed at any moment and run again, it resumes from this file and ends
    /// with the same model.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Steps between two checkpoints.
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 500, requires = "checkpoint")]
    checkpoint_every: usize,
    /// Parts of a minibatch, whose gradients are added up in order: so many threads or processes can share a step. Another
    /// number gives another model. Default: 2.
    #[arg(long, value_name = "N", value_parser = positive)]
    shards: Option<usize>,
    /// Train one model together with other processes, here or on other machines: HOST:PORT of each, in the same order
    /// everywhere. Each reads the same rows and is given the same options, and each writes the same model.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', requires = "rank")]
    peers: Vec<String>,
    /// The place of this process among --peers, from 0.
    #[arg(long, value_name = "N", requires = "peers")]
    rank: Option<usize>,
    /// Seconds to wait for another process, which may be longer than its steps take.
    #[arg(long, value_name = "SECONDS", value_parser = positive, default_value_t = 600, requires = "peers")]
    peer_patience: usize,
    /// Log file, to which a line of JSON is appended for every tenth step.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Folder for an event file with every tenth step, which `tensorboard --logdir FOLDER` shows.
    #[arg(long, value_name = "FOLDER")]
    tensorboard: Option<PathBuf>,
    #[command(flatten)]
    condition: condition::Asked,
    #[command(flatten)]
    treatment: Treatment,
    #[command(flatten)]
    units: units::Said,
    #[command(flatten)]
    pub settings: Settings,
}

impl Args {
    /// Refuses flags that would do nothing for a language model.
    pub fn takes_a_text(&self, kind: text::Kind) -> Outcome<()> {
        let (rows, counts) =
            ("a language model learns from a text, not from rows", "counts are not trained in steps");
        let counted = kind == text::Kind::NGram;
        let refused = [
            ("--patience", self.patience.is_some(), "the end of the text is held out, and not watched"),
            ("--tensorboard", self.tensorboard.is_some() && counted, counts),
            (
                "--validate-every",
                self.validate_every.is_some(),
                "the end of the text is held out, and not watched",
            ),
            ("--condition", !self.condition.condition.is_empty(), rows),
            ("--dequantize", self.treatment.spreads(), rows),
            ("--drop-constant", self.treatment.drops_constant(), rows),
            ("--drop-missing", self.treatment.drops_missing(), rows),
            ("--units and --column", self.units.is_given(), rows),
            ("--steps", self.steps.is_some() && counted, counts),
            ("--batch", self.batch.is_some() && counted, counts),
            ("--checkpoint", self.checkpoint.is_some() && counted, counts),
            ("--shards", self.shards.is_some() && counted, counts),
            ("--peers", !self.peers.is_empty() && counted, counts),
        ];
        refuse(refused)?;
        self.data.takes_a_text()
    }

    /// Refuses flags that would do nothing.
    fn model_takes_flags(&self, model: Kind) -> Outcome<()> {
        let in_one_go = model.in_one_go();
        let kernels = model == Kind::KernelDensity;
        let whole = "this model is fitted to all rows at once";
        let by_no_steps = "a kernel density is not trained in steps";
        let refused = [
            ("--steps", self.steps.is_some() && in_one_go, whole),
            ("--batch", self.batch.is_some() && in_one_go, whole),
            ("--checkpoint", self.checkpoint.is_some() && in_one_go, whole),
            ("--shards", self.shards.is_some() && in_one_go, whole),
            ("--peers", !self.peers.is_empty() && in_one_go, whole),
            ("--patience", self.patience.is_some() && kernels, by_no_steps),
            ("--validate-every", self.validate_every.is_some() && kernels, by_no_steps),
            ("--tokens", self.tokens.is_some(), "this model is fitted to rows of numbers"),
        ];
        refuse(refused)
    }

    /// The file from which an interrupted training resumes.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint.clone().map(|path| Checkpoint { path, every: self.checkpoint_every })
    }

    /// The events for TensorBoard, if they are wanted.
    pub fn events(&self) -> Outcome<Option<TensorBoard<File>>> {
        let create = |folder: &PathBuf| {
            TensorBoard::create(folder, 10).map_err(|error| of_writing(folder.display(), error))
        };
        self.tensorboard.as_ref().map(create).transpose()
    }

    /// Reports whether all events were written.
    pub fn finish(&self, events: Option<TensorBoard<File>>) -> Outcome<()> {
        match (events, &self.tensorboard) {
            (Some(events), Some(folder)) => {
                events.finish().map(drop).map_err(|error| of_writing(folder.display(), error))
            }
            _ => Ok(()),
        }
    }

    /// The training options of a recipe, with those of the command line.
    fn options(&self, recipe: &Recipe) -> Outcome<TrainOptions> {
        let options = recipe.training(self.steps, self.batch, self.validation);
        if options.validation == 0.0 {
            let idle = [("--patience", self.patience), ("--validate-every", self.validate_every)];
            if let Some((flag, _)) = idle.iter().find(|(_, given)| given.is_some()) {
                return Err(Failure::Usage(format!("{flag}: needs held-out rows, as with --validation 0.1")));
            }
        }
        self.shared(TrainOptions {
            validate_every: self.validate_every.unwrap_or(options.validate_every),
            patience: self.patience.or(options.patience),
            checkpoint: self.checkpoint(),
            ..options
        })
    }

    /// The same training, shared with the other processes, once they are there.
    pub fn shared(&self, options: TrainOptions) -> Outcome<TrainOptions> {
        let shards = self.shards.map_or(options.shards, |shards| shards.min(options.batch));
        let options = TrainOptions { shards, ..options };
        let Some(rank) = self.rank else { return Ok(options) };
        if self.peers.len() > shards {
            let processes = self.peers.len();
            return Err(Failure::Usage(format!(
                "--peers: {processes} processes share {shards} shards of a minibatch: --shards {processes}"
            )));
        }
        let patience = Duration::from_secs(self.peer_patience as u64);
        let exchange = TcpExchange::connect(rank, &self.peers, patience);
        let exchange = exchange.map_err(|error| Failure::Operation(format!("--peers: {error}")))?;
        Ok(TrainOptions { exchange: Arc::new(exchange), ..options })
    }

    /// The files to be written, and their contents.
    pub fn files(&self) -> Vec<(&'static str, &Path)> {
        let mut files = vec![("the model", self.output.as_path())];
        files.extend(self.checkpoint.as_deref().map(|path| ("the checkpoint", path)));
        files.extend(self.log.as_deref().map(|path| ("the log", path)));
        files
    }
}

/// Refuses the first of these flags that is given, with the reason.
fn refuse<const N: usize>(flags: [(&str, bool, &str); N]) -> Outcome<()> {
    match flags.into_iter().find(|(_, given, _)| *given) {
        Some((flag, _, why)) => Err(Failure::Usage(format!("{flag}: {why}"))),
        None => Ok(()),
    }
}

pub fn run(args: &Args) -> Outcome<()> {
    match args.model {
        Model::Text(kind) => text::fit(args, kind),
        Model::Rows(kind) => fit(args, kind),
    }
}

/// Fits a model of rows of numbers.
fn fit(args: &Args, kind: Kind) -> Outcome<()> {
    let mut interrupt = interrupt::watch("nothing is saved")?;
    args.model_takes_flags(kind)?;
    let settings = args.settings.read()?;
    let files = args.files();
    files.iter().try_for_each(|(what, path)| takes(what, path))?;
    let read = [("the rows", args.data.path()), ("the settings", args.settings.path())];
    distinct(&read, &files)?;
    // The log is opened before the training and not replaced: its folder need not be writable.
    [Some(&args.output), args.checkpoint.as_ref()]
        .into_iter()
        .flatten()
        .try_for_each(|path| writable(path))?;
    let treatment = args.treatment.of(&args.units)?;
    let Prepared { data, names, log_scale, columns, steps } =
        prepare(&args.data, &args.condition, &treatment, args.seed)?;
    let given = units::Given::all(&data, &columns, &steps);
    let maps = treatment.has_maps().then(|| args.units.config(&given)).transpose()?;
    let name = args.data.name();
    let (rows, dim) = (data.rows(), data.dim());
    let recipe = Recipe::of(kind, rows, dim).with_condition(condition_kind(&columns))?;
    let recipe = recipe.with_settings(&settings).map_err(of_settings)?;
    let options = args.options(&recipe)?;
    let config = recipe.config;
    let choice = choice(&config, &options, rows, dim);
    let mut rng = Purpose::Training.stream(args.seed);
    let mut model = config.build_to_save(&mut rng)?;
    if options.patience.is_some() && !model.card().objective.ranks_parameters() {
        let name = model.card().name;
        return Err(Failure::Usage(format!(
            "--patience: the loss of {name} does not tell which parameters are best"
        )));
    }
    if let Some(config) = maps {
        model = Box::new(Latent::new(hybrid::Columns::new(config)?, model, LatentConfig::default())?);
    }
    say(format_args!("{choice}"));
    let before = rng.clone();

    let mut log = args.log.as_deref().map(open_log).transpose()?;
    let mut events = args.events()?;
    let mut bar = Bar::new(&model.card().name);
    let mut done = 0;
    let mut count = |step: &Step<'_>| {
        done = step.step + 1;
        ControlFlow::Continue(())
    };
    // A kernel density's bandwidth is found without asking an observer.
    if kind != Kind::KernelDensity {
        interrupt.training(match args.checkpoint {
            Some(_) => "what it learned since the last checkpoint",
            None => "what it learned",
        });
    }
    let mut observers = All(vec![&mut bar, &mut interrupt, &mut count]);
    if let Some(log) = &mut log {
        observers.0.push(log);
    }
    if let Some(events) = &mut events {
        observers.0.push(events);
    }
    let start = Instant::now();
    let trained = model.train(&data, &options, &mut rng, &mut observers);
    drop(bar);
    interrupt.saving();
    let report = trained.map_err(|error| match error {
        // A checkpoint could not be written, but the trained model is not lost.
        error @ Error::File(FileError::Io { .. }) if done > 0 => {
            let mut path = args.output.clone();
            // A finished model is worth more than one of some steps.
            if path.exists() {
                path.as_mut_os_string().push(".unfinished");
            }
            let saved = match save(model.as_ref(), &columns, &path) {
                Ok(()) => format!("the model of {} is saved to {}", counted(done, "step"), path.display()),
                Err(failure) => failure.to_string(),
            };
            Failure::Operation(format!("{error}; {saved}"))
        }
        other => of_columns(&name, &names, other),
    })?;
    save(model.as_ref(), &columns, &args.output)?;
    if let (Some(log), Some(path)) = (log, &args.log) {
        log.finish().map_err(|error| of_writing(path.display(), error))?;
    }
    args.finish(events)?;
    let seconds = start.elapsed().as_secs_f64();
    // The model is saved, so a likelihood that fails is no reason to end with an error.
    let measured = measured(model.as_ref(), &data, &options, log_scale, before)
        .unwrap_or_else(|failure| format!("likelihood not measured: {failure}"));
    let parts = units::maps_and_model(model.as_ref());
    if let Some(parts) = &parts {
        units::tell(parts.codec(), &columns)?;
    }
    if kind == Kind::GaussianMixture {
        let inner = parts.as_ref().map_or(model.as_ref(), |parts| parts.prior().as_ref());
        let mixture = GaussianMixture::from_bytes(&inner.to_bytes()?)?;
        say(format_args!("{}", components(&mixture)));
        mixture.degenerate().iter().for_each(|found| say(format_args!("note: {found}")));
    }
    say(format_args!(
        "{}: {} of {} ({}); {}{measured}, {seconds:.1} s",
        model.card().name,
        counted(rows, "row"),
        counted(dim, "column"),
        names.join(", "),
        course(kind, &report, interrupt.signal()),
    ));
    say(format_args!("saved to {}", args.output.display()));
    match interrupt.signal() {
        Some(signal) if report.stop == Stop::Interrupted => Err(Failure::Interrupted(signal)),
        _ => Ok(()),
    }
}

/// Saves the model, to another place if it cannot be written to that one: a training may have taken days.
fn save(model: &dyn Persist, columns: &[Column], path: &Path) -> Outcome<()> {
    let error = match persist::save_with(model, columns, path) {
        Err(error @ Error::File(FileError::Io { .. })) => of_file(path.display(), error).to_string(),
        saved => return saved.map_err(|error| of_file(path.display(), error)),
    };
    // A name under which nobody can have planted a link.
    let random = RandomState::new().hash_one(path);
    let elsewhere = env::temp_dir().join(format!("quadrivium-{random:016x}.safetensors"));
    Err(Failure::Operation(match persist::save_with(model, columns, &elsewhere) {
        Ok(()) => format!("{error}; the model is saved to {} instead", elsewhere.display()),
        Err(_) => error,
    }))
}

pub fn open_log(path: &Path) -> Outcome<JsonLines<File>> {
    let file = File::options().create(true).append(true).open(path);
    let file = file.map_err(|error| of_writing(path.display(), error))?;
    Ok(JsonLines::new(file, 10))
}

pub fn takes(what: &str, path: &Path) -> Outcome<()> {
    if path == Path::new("-") {
        return Err(Failure::Usage(format!("{what} goes to a file, not to standard output")));
    }
    in_a_folder(path)
}

/// The recipe's choices, in the form of `--set` and the other options.
fn choice(config: &ModelConfig, options: &TrainOptions, rows: usize, dim: usize) -> String {
    let kind = config.kind();
    let settings = config.differences(dim).join(" ");
    let mut parts = vec![if settings.is_empty() { "default settings".into() } else { settings }];
    let held_out = (options.validation * rows as f64).ceil() as usize;
    if !kind.in_one_go() {
        let most = if options.patience.is_some() { "at most " } else { "" };
        parts.push(format!("{most}{} of {}", counted(options.steps, "step"), counted(options.batch, "row")));
    }
    if held_out > 0 {
        let patience = options.patience.map_or(String::new(), |patience| {
            format!(", stopping after {patience} validations without a new best")
        });
        parts.push(format!("{} held out{patience}", counted(held_out, "row")));
    }
    format!("{kind} for {} of {}: {}", counted(rows, "row"), counted(dim, "column"), parts.join("; "))
}

/// How the training went.
fn course(kind: Kind, report: &TrainReport, signal: Option<Signal>) -> String {
    let steps = report.loss.len();
    let best = report.validation.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    let stop = match (report.stop, best) {
        (Stop::Completed, _) => String::new(),
        (Stop::Interrupted, _) => format!(" until {}", signal.map_or("interrupted", Signal::name)),
        (Stop::Patience, None) => " until patience ran out".into(),
        (Stop::Patience, Some((at, _))) => format!(" until patience ran out, keeping the model of step {at}"),
    };
    match (kind.in_one_go(), report.stop) {
        (true, Stop::Interrupted) => format!("unfinished{stop}, "),
        (true, _) => String::new(),
        (false, _) => format!("{}{stop}, ", counted(steps, "step")),
    }
}

/// The most rows on which a fitted model is measured, because likelihoods by an ODE are slow.
const MEASURED: usize = 1000;

/// The negative log-likelihood, in nats per row in the units of the data, for every kind of model regardless of its
/// training loss. It is measured on held-out rows if there are any, otherwise on training rows.
///
/// `log_scale` converts a log-density of the rows as they are read to the units of the file.
fn measured(
    model: &dyn Persist,
    data: &Dataset,
    options: &TrainOptions,
    log_scale: f64,
    mut rng: Rng,
) -> Outcome<String> {
    let (learned, held_out, _) = split(data, options, &mut rng)?;
    let ((rows, condition), which) = match held_out.0.nrows() {
        0 => (learned, "training row"),
        _ => (held_out, "held-out row"),
    };
    let few: Vec<usize> = (0..rows.nrows().min(MEASURED)).collect();
    let condition = condition.map(|condition| condition.select(&few));
    let some = rows.slice(s![..few.len(), ..]);
    let score = condition::score(model, condition.as_ref(), some, &LikelihoodOptions::default())?;
    let given = if condition.is_some() { ", given their condition" } else { "" };
    let of = format!("{}{given}", counted(few.len(), which));
    Ok(match Nll::of(&score) {
        Some(nll) => {
            let most = if score.kind() == LikelihoodKind::LowerBound { "at most " } else { "" };
            let mean = nll.mean + log_scale;
            format!("negative log-likelihood of {of}: {most}{mean:.4} ± {:.4} nats", nll.std_error)
        }
        None => "no likelihood".into(),
    })
}

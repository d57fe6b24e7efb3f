//! A training with a progress bar, a log, checkpoints and early stopping. Ctrl-C ends it and keeps the model; the
//! same command resumes it.
//!
//! `cargo run --release --features progress,safetensors --example training -- target/training`
//!
//! The folder then contains the model, `moons.safetensors`, and the log, `log.jsonl`, with a line for every tenth step.

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Parser;
use quadrivium::observe::{All, Bar, Interrupt, JsonLines};
use quadrivium::persist::{self, Persist};
use quadrivium::prelude::*;
use quadrivium::worlds::Toy;
use quadrivium::{Checkpoint, Stop};

/// Trains a spline flow on two moons, and can be interrupted.
#[derive(Parser)]
struct Arguments {
    /// Folder for the model, its checkpoint and the log.
    folder: PathBuf,
    /// The most steps; the training ends earlier when the loss on held-out rows stops falling.
    #[arg(long, default_value_t = 4000)]
    steps: usize,
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let Arguments { folder, steps } = Arguments::parse();
    fs::create_dir_all(&folder)?;
    let [model_path, checkpoint_path] =
        ["moons.safetensors", "moons.checkpoint"].map(|name| folder.join(name));

    let mut interrupt = Interrupt::default();
    let raised = interrupt.clone();
    ctrlc::set_handler(move || {
        // A second Ctrl-C does not wait for the step.
        if raised.raise() {
            std::process::exit(130);
        }
    })?;

    let mut rng = quadrivium::seeded(0);
    let moons = Toy::moons(0.1)?;
    let data = Dataset::new(moons.sample(10_000, &mut rng))?;
    let mut flow = Flow::new(FlowConfig::default(), &mut rng)?;
    let options = TrainOptions {
        steps,
        validation: 0.1,
        patience: Some(5),
        checkpoint: Some(Checkpoint { path: checkpoint_path.clone(), every: 100 }),
        ..Default::default()
    };

    let log = File::options().create(true).append(true).open(folder.join("log.jsonl"))?;
    let mut log = JsonLines::new(log, 10);
    let mut bar = Bar::new(&flow.card().name);
    let mut observers = All(vec![&mut bar, &mut log, &mut interrupt]);
    let report = flow.train(&data, &options, &mut rng, &mut observers)?;
    drop(bar);
    log.finish()?;

    flow.save(&model_path)?;
    let again = persist::load(&model_path)?;
    let test = moons.sample(2_000, &mut rng);
    let score = again.log_likelihood(test.view(), &LikelihoodOptions::default())?;
    let nll = |nats: Option<f64>| nats.map_or(f64::NAN, |mean| -mean);
    let (found, truth) =
        (nll(score.nats().and_then(|nats| nats.mean())), nll(moons.log_density(test.view())?.mean()));
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{} after {} steps; the model is in {}",
        match report.stop {
            Stop::Completed => "Completed",
            Stop::Patience => "Stopped early",
            Stop::Interrupted => "Interrupted",
        },
        report.loss.len(),
        model_path.display()
    )?;
    writeln!(out, "On 2000 held-out rows its NLL is {found:.3} nats, the true density's {truth:.3}.")?;
    match report.stop {
        Stop::Interrupted => writeln!(out, "The same command resumes from {}.", checkpoint_path.display())?,
        // A finished training needs no checkpoint.
        Stop::Completed | Stop::Patience => fs::remove_file(&checkpoint_path)?,
    }
    if !std::io::stderr().is_terminal() {
        writeln!(out, "The progress bar is drawn only on a terminal.")?;
    }
    Ok(())
}

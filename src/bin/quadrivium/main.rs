//! Generative models from the command line: fit one to a file of rows, draw from it, score rows with it, and
//! compare all models on your data.

mod compare;
mod failure;
mod files;
mod fit;
mod info;
mod input;
mod interrupt;
mod output;
mod recipe;
mod sample;
mod score;
mod seed;
mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::{Failure, Outcome, say};

/// Fit generative models to your rows, draw new rows, and score them.
///
/// Rows come from text (with commas, tabs, semicolons, bars or spaces between its cells, with or without a header),
/// NPY or NPZ files, or from standard input by "-". Messages go to standard error, results to standard output or to -o.
///
/// The exit code is 0 if it worked, 1 if not, 2 for a command that was not understood, 130 after Ctrl-C.
/// RAYON_NUM_THREADS sets the number of threads; it does not change a bit of any result.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Fit(fit::Args),
    Sample(sample::Args),
    Score(score::Args),
    Compare(compare::Args),
    Info(info::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Fit(args) => fit::run(&args),
        Command::Sample(args) => sample::run(&args),
        Command::Score(args) => score::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Info(args) => info::run(&args),
    };
    exit_code(outcome)
}

fn exit_code(outcome: Outcome<()>) -> ExitCode {
    match outcome {
        // Whoever reads our output has seen enough.
        Ok(()) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(Failure::Operation(message)) => {
            say(format_args!("error: {message}"));
            ExitCode::from(1)
        }
        Err(Failure::Usage(message)) => {
            say(format_args!("error: {message}\n\nFor more information, try '--help'."));
            ExitCode::from(2)
        }
        // What a shell makes of a program that Ctrl-C ended.
        Err(Failure::Interrupted) => ExitCode::from(130),
    }
}

//! Generative models from the command line: fit one to a file of rows, draw from it, score rows with it,
//! compare all models on your data, and read what others say of theirs.

mod check;
mod columns;
mod compare;
mod condition;
mod evaluate;
mod export;
mod failure;
mod features;
mod files;
mod fit;
mod info;
mod input;
mod interrupt;
mod map;
mod output;
mod prepare;
mod quiz;
mod read;
mod recipe;
mod sample;
mod score;
mod seed;
mod text;
mod units;
mod values;

use std::env;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::{Failure, Outcome, say};

/// Fit generative models to your rows, draw new rows, and score them; read descriptions of models.
///
/// Rows come from a text file (cells separated by commas, tabs, semicolons, bars or spaces, with or without a
/// header), an NPY, NPZ or (if built with it) Parquet file, or standard input ("-"). Results go to standard output or
/// to the file given by -o, messages to standard error.
///
/// The exit code is 0 for success, 1 for failure, 2 for a command that was not understood, 141 if the reader of
/// standard output has gone, and 128 plus the number of a signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
///
/// RAYON_NUM_THREADS sets the number of threads, which does not change results. QUADRIVIUM_SIMD (avx512, avx2 or
/// scalar) chooses the instruction set, on which the last digits of results depend.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Fit(Box<fit::Args>),
    Sample(sample::Args),
    Score(score::Args),
    Compare(compare::Args),
    Info(info::Args),
    Read(read::Args),
    Map(map::Args),
    Quiz(quiz::Args),
    Check(check::Args),
    Evaluate(evaluate::Args),
    Export(export::Args),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let outcome = instruction_set().and_then(|()| match command {
        Command::Fit(args) => fit::run(&args),
        Command::Sample(args) => sample::run(&args),
        Command::Score(args) => score::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Read(args) => read::run(&args),
        Command::Map(args) => map::run(&args),
        Command::Quiz(args) => quiz::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Export(args) => export::run(&args),
    });
    exit_code(outcome)
}

/// Checks that the requested instruction set is the one in use.
fn instruction_set() -> Outcome<()> {
    let used = quadrivium::instruction_set();
    match env::var("QUADRIVIUM_SIMD") {
        Ok(asked) if !asked.is_empty() && asked != used => Err(Failure::Usage(format!(
            "QUADRIVIUM_SIMD={asked}: expected avx512, avx2 or scalar, and a processor that has it; this one would \
             compute with {used}"
        ))),
        _ => Ok(()),
    }
}

fn exit_code(outcome: Outcome<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // The code by which a shell reports a program that a closed pipe ended. Nobody would read a message.
        Err(Failure::ClosedPipe) => ExitCode::from(141),
        Err(Failure::Operation(message)) => {
            say(format_args!("error: {message}"));
            ExitCode::from(1)
        }
        Err(Failure::Lines(lines)) => {
            for (line, at) in lines.iter().zip(0..) {
                say(format_args!("{}{line}", if at == 0 { "error: " } else { "" }));
            }
            ExitCode::from(1)
        }
        Err(Failure::Usage(message)) => {
            say(format_args!("error: {message}"));
            say(format_args!(""));
            say(format_args!("For more information, try '--help'."));
            ExitCode::from(2)
        }
        Err(Failure::Interrupted(signal)) => ExitCode::from(signal.exit_code()),
    }
}

//! Measures what is said of the four paradigms, claim by claim, and writes each verdict to `docs/VERDICTS.md`.
//!
//! `cargo run --release --example verdicts` takes most of an hour · `-- --only 12,40` · `-- --quick` holds the claims that take
//! seconds to their verdicts on the page · with `--features plot`, `-- --report DIR` draws what is on the page · `-- --help`
//! explains the options.

mod claim;
mod claims;
mod clock;
#[path = "../microscope/course.rs"]
mod course;
#[path = "../microscope/divergences.rs"]
mod divergences;
mod lab;
mod page;
#[path = "../microscope/ranks.rs"]
mod ranks;
mod record;
#[cfg(feature = "plot")]
mod report;
mod spots;
mod statistics;
#[path = "../microscope/trainings.rs"]
mod trainings;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use self::claim::{Claim, How};
use self::lab::{Lab, Outcome};
use self::record::{Record, Records};

/// Measure what is said of the four paradigms, claim by claim.
#[derive(Parser)]
struct Args {
    /// Measure only these claims; the other verdicts on the page stay.
    #[arg(long, value_delimiter = ',', value_name = "NUMBER,…")]
    only: Vec<u32>,
    /// Measure the claims that take seconds, write nothing, and fail where a verdict is not the one on the page.
    #[arg(long, conflicts_with = "only")]
    quick: bool,
    /// Measure nothing, and write the verdicts that are on the page to this folder, as HTML with pictures (needs the feature
    /// `plot`).
    #[arg(long, value_name = "DIR", conflicts_with_all = ["only", "quick"])]
    report: Option<PathBuf>,
}

#[cfg(not(feature = "plot"))]
mod report {
    /// Without pictures there is no report.
    pub fn write(_: &std::path::Path, _: &crate::record::Records) -> crate::lab::Outcome<()> {
        Err("--report draws pictures: run with `cargo run --release --features plot --example verdicts`"
            .into())
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("verdicts: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Outcome<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let claims = || claims::GROUPS.iter().flat_map(|group| group.claims);
    if let Some(unknown) = args.only.iter().find(|&&number| claims().all(|claim| claim.number != number)) {
        return Err(format!("there is no claim {unknown}").into());
    }
    let known = Records::load(root)?;
    if let Some(dir) = &args.report {
        return report::write(dir, &known);
    }
    let lab = Lab::default();
    let mut records = known.clone();
    let mut changed = Vec::new();
    for claim in claims() {
        let Claim { number, says, how: How::Measured { quick, by } } = claim else { continue };
        let wanted = if args.quick { *quick } else { args.only.is_empty() || args.only.contains(number) };
        if !wanted {
            continue;
        }
        let started = Instant::now();
        let finding = by(&lab).map_err(|error| format!("claim {number}: {error}"))?;
        let is_none = |figure: &&claim::Figure| !(figure.value.mean + figure.value.half_width).is_finite();
        if let Some(figure) = finding.figures.iter().find(is_none) {
            return Err(format!("claim {number}: no number: {figure}").into());
        }
        let verdict = finding.verdict();
        println!("{} {number}. {says} ({:.1} s)", verdict.mark(), started.elapsed().as_secs_f64());
        for figure in &finding.figures {
            println!("      {figure}");
        }
        if known.verdict(*number).is_some_and(|known| known != verdict) {
            changed.push(format!("{number} is {}", verdict.mark()));
        }
        records.insert(*number, Record::new(finding));
        if !args.quick {
            // At once: what is measured is not lost if a later claim fails.
            records.save(root)?;
        }
    }
    if args.quick {
        return match changed.is_empty() {
            true => Ok(()),
            false => {
                Err(format!("verdicts are not those of docs/VERDICTS.md: {}", changed.join(", ")).into())
            }
        };
    }
    page::write(root, &records)
}

use std::io::{self, BufRead, Write};

use quadrivium::map::{Question, questions};

use crate::failure::{Outcome, of_writing};

/// Ask six questions and ten cards about the map, and show where each answer was measured.
///
/// Answer in your own words, or just press Enter; the answer follows. The end of input ends the quiz.
#[derive(clap::Args)]
pub struct Args {
    /// Only the ten cards.
    #[arg(long)]
    cards: bool,
    /// Print all questions with their answers, without asking.
    #[arg(long)]
    all: bool,
}

pub fn run(args: &Args) -> Outcome<()> {
    let asked: Vec<&Question> =
        questions().iter().filter(|question| question.is_card || !args.cards).collect();
    let mut out = io::stdout().lock();
    let mut answers = io::stdin().lock().lines();
    let mut ask = |at: usize, question: &Question| -> io::Result<bool> {
        writeln!(out, "{}/{}  {}", at + 1, asked.len(), question.asks)?;
        out.flush()?;
        // The line that was written is for the one who wrote it.
        if !args.all && answers.next().transpose()?.is_none() {
            return Ok(false);
        }
        writeln!(out, "      {}", question.answer)?;
        writeln!(out, "      measured: docs/RESULTS.md, {}", question.measured.join(", "))?;
        writeln!(out, "      again:    {}\n", question.command)?;
        Ok(true)
    };
    for (at, question) in asked.iter().enumerate() {
        if !ask(at, question).map_err(|error| of_writing("standard output", error))? {
            break;
        }
    }
    Ok(())
}

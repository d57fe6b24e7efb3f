use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use quadrivium::map::read::Rules;

use crate::failure::{Failure, Outcome, of_writing, printable};

/// Read a description of a model: its paradigms, with evidence.
///
/// The description is a release note, an abstract, a model card: text or Markdown, in English. The card quotes the
/// words on which each conclusion rests, and lists what the text does not say.
#[derive(clap::Args)]
pub struct Args {
    /// The description; "-" is standard input.
    text: PathBuf,
    /// Print JSON, with the bytes of the text that are evidence.
    #[arg(long)]
    json: bool,
    /// A table of further rules, one `pattern | evidence | weight` a line.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

pub fn run(args: &Args) -> Outcome<()> {
    let text = text_of(&args.text)?;
    let reading = match &args.rules {
        None => Rules::standard().read(&text),
        Some(path) => {
            let own = text_of(path)?
                .parse()
                .map_err(|error| Failure::Operation(format!("{}: {error}", path.display())))?;
            Rules::standard().extended(own).read(&text)
        }
    };
    let told = if args.json {
        format!("{:#}\n", reading.to_json())
    } else {
        reading.card(&text).lines().map(|line| printable(line) + "\n").collect()
    };
    io::stdout().write_all(told.as_bytes()).map_err(|error| of_writing("standard output", error))
}

/// The text of a file. A byte that is no text is a "?", so that places in the text are places in the file.
fn text_of(path: &Path) -> Outcome<String> {
    let read = || match path == Path::new("-") {
        true => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        }
        false => fs::read(path),
    };
    let bytes = read().map_err(|error| Failure::Operation(format!("{}: {error}", path.display())))?;
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    Ok(text)
}

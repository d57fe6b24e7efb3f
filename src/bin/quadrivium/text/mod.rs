//! Language models of texts: the commands of the program for models of tokens.

mod fit;
mod info;
mod sample;
mod score;

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use clap::ValueEnum;
use quadrivium::persist::{self, Persist};
use quadrivium::text::Tokenizer;
use quadrivium::{Generative, Token};

use crate::failure::{Failure, Outcome, of_file};
use crate::input::Data;

pub use self::fit::fit;
pub use self::info::info;
pub use self::sample::{Asked, sample};
pub use self::score::score;

/// A kind of language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Kind {
    /// causal transformer over the tokens of a text
    Transformer,
    /// counts of what follows each few tokens of a text
    NGram,
}

/// What the tokens of a text are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    Characters,
    Bytes,
    /// Byte pairs, so many merges.
    Pairs(usize),
}

impl Tokens {
    pub fn parse(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("pairs:").map(str::parse)) {
            ("characters", _) => Ok(Tokens::Characters),
            ("bytes", _) => Ok(Tokens::Bytes),
            (_, Some(Ok(merges))) => Ok(Tokens::Pairs(merges)),
            _ => Err("expected characters, bytes, or pairs:N for N byte pairs".into()),
        }
    }
}

/// A language model with its tokenizer.
pub struct Loaded {
    pub kind: Kind,
    pub model: Box<dyn Persist<Token>>,
    pub tokenizer: Tokenizer,
}

/// The language model of a file, if it holds one.
pub fn load(path: &Path) -> Outcome<Option<Loaded>> {
    // A pipe can be read only once: its model is one of rows.
    if !path.is_file() {
        return Ok(None);
    }
    let described = persist::describe(path).map_err(|error| of_file(path.display(), error))?;
    let Ok(kind) = Kind::from_str(&described.kind, false) else { return Ok(None) };
    let (model, tokenizer) = persist::load_text(path).map_err(|error| of_file(path.display(), error))?;
    match tokenizer {
        Some(tokenizer) => Ok(Some(Loaded { kind, model, tokenizer })),
        None => Err(Failure::Operation(format!(
            "{}: the file does not say what its tokens stand for: save the model with `persist::save_text`",
            path.display()
        ))),
    }
}

/// The bytes of a text, which is not empty.
fn read(data: &Data) -> Outcome<Vec<u8>> {
    let bytes = match data.path() {
        Some(path) => fs::read(path),
        None => {
            let mut bytes = Vec::new();
            io::stdin().read_to_end(&mut bytes).map(|_| bytes)
        }
    };
    let bytes = bytes.map_err(|error| Failure::Operation(format!("{}: {error}", data.name())))?;
    match bytes.is_empty() {
        true => Err(Failure::Operation(format!("{}: the text is empty", data.name()))),
        false => Ok(bytes),
    }
}

/// What a model makes of a text, in the units that compare models.
fn measured(
    model: &dyn Generative<Token>,
    tokenizer: &Tokenizer,
    text: &[u8],
    name: &str,
) -> Outcome<quadrivium::text::TextScore> {
    quadrivium::text::measure(model, tokenizer, text).map_err(|error| of_file(name, error))
}

//! Files of models of tokens.

use std::path::Path;

use super::{Persist, Reader, reader, reader_of};
use crate::autoregressive::Transformer;
use crate::baseline::NGram;
use crate::error::Result;
use crate::file;
use crate::model::Token;
use crate::model::file::{Stored, TOKENIZER, annotate, bad_json, broken, read};
use crate::text::Tokenizer;

/// Writes a model of tokens to `path` as [`save`](super::save) does, with the tokenizer that makes its tokens.
///
/// # Errors
/// As [`save`](super::save), and [`FileError::Format`](crate::FileError::Format) if the tokenizer does not have the
/// number of tokens of the model.
pub fn save_text(model: &dyn Persist<Token>, tokenizer: &Tokenizer, path: impl AsRef<Path>) -> Result<()> {
    let bytes = model.to_bytes()?;
    let note = serde_json::to_string(tokenizer).map_err(bad_json)?;
    check(tokenizer, &bytes)?;
    file::write(path.as_ref(), &annotate(&bytes, TOKENIZER, note)?)
}

/// Reads a model of tokens of any kind from `path`, with its tokenizer, if the file has one.
///
/// ```
/// use quadrivium::persist::{load_text, save_text};
/// use quadrivium::text::{self, Tokenizer};
/// use quadrivium::*;
///
/// let line = "to be or not to be";
/// let tokenizer = Tokenizer::characters(line)?;
/// let mut model = NGram::new(NGramConfig { vocabulary: tokenizer.vocabulary(), ..Default::default() })?;
/// model.fit(&text::windows(&tokenizer.encode(line)?, 64, 64)?, &mut seeded(0))?;
/// let path = std::env::temp_dir().join(format!("line-{}.safetensors", std::process::id()));
/// save_text(&model, &tokenizer, &path)?;
///
/// let (loaded, tokenizer) = load_text(&path)?;
/// let score = text::measure(&loaded, &tokenizer.unwrap(), "to be")?;
/// assert!(score.nats_per_char() < 1.5, "{score:?}");
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`Persist::load`], and [`FileError::Format`](crate::FileError::Format) for a tokenizer that is none, or that does
/// not have the number of tokens of the model.
pub fn load_text(path: impl AsRef<Path>) -> Result<(Box<dyn Persist<Token>>, Option<Tokenizer>)> {
    let bytes = read(path.as_ref())?;
    let model = text_from_bytes(&bytes)?;
    let stored = Stored::parse(&bytes)?;
    let Some(note) = stored.note(TOKENIZER) else { return Ok((model, None)) };
    let tokenizer = serde_json::from_str(note).map_err(|error| broken(format!("the tokenizer: {error}")))?;
    check(&tokenizer, &bytes)?;
    Ok((model, Some(tokenizer)))
}

/// Reads a model of tokens of any kind from a file's bytes.
///
/// # Errors
/// As [`Persist::from_bytes`].
pub fn text_from_bytes(bytes: &[u8]) -> Result<Box<dyn Persist<Token>>> {
    let kinds: [(&'static str, Reader<Token>); 2] =
        [reader::<Token, NGram>(), reader::<Token, Transformer>()];
    reader_of(bytes, &kinds)?(bytes)
}

/// That a tokenizer has as many tokens as the config of a model's file says.
fn check(tokenizer: &Tokenizer, bytes: &[u8]) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Symbols {
        vocabulary: usize,
    }
    let (_, _, config) = Stored::parse(bytes)?.said()?;
    let Symbols { vocabulary } = serde_json::from_str(&config).map_err(bad_json)?;
    let got = tokenizer.vocabulary();
    match got == vocabulary {
        true => Ok(()),
        false => Err(broken(format!("a tokenizer of {got} tokens: the model expects {vocabulary}"))),
    }
}

//! Texts as tokens: a [`Tokenizer`], windows to learn from, and the score of a text of any length under a model whose
//! rows are shorter.
//!
//! ```
//! use quadrivium::text::{self, Tokenizer};
//! use quadrivium::*;
//!
//! let fable = "the fox and the crow, the fox and the grapes, the fox and the stork. ".repeat(20);
//! let tokenizer = Tokenizer::characters(&fable)?;
//! let data = text::windows(&tokenizer.encode(&fable)?, 64, 32)?;
//! let mut model = NGram::new(NGramConfig { vocabulary: tokenizer.vocabulary(), context: 3, max_len: 64 })?;
//! model.fit(&data, &mut seeded(0))?;
//!
//! let score = text::measure(&model, &tokenizer, "the crow and the fox")?;
//! assert!(score.nats_per_char() < 1.0, "{score:?}");
//! let prompt = tokenizer.encode("the ")?;
//! let drawn = text::draw(&model, &prompt, 200, &SampleOptions::default(), &mut seeded(1))?;
//! assert!(tokenizer.text(&drawn)?.starts_with("the "));
//! # Ok::<(), Error>(())
//! ```
//!
//! # A text longer than a row
//!
//! A model of rows of L tokens predicts the first L tokens of a text from all that are before them. Then its window
//! moves on by half a row at a time, so each later token is predicted from the L/2 to L − 1 tokens before it.
//! [`score`] and [`draw`] follow this rule, so a text is drawn from the distribution by which it is scored: a product of
//! conditional probabilities, each of which sums to 1.
//!
//! # What can be compared
//!
//! Perplexity and nats per token depend on what a token is, so they compare models of one tokenizer only. Nats per
//! character and bits per byte compare any models of the same text.

mod pairs;
mod tokenizer;

use ndarray::{Array2, ArrayView2};
use rand::RngCore;

pub use self::tokenizer::Tokenizer;
use crate::error::{Error, Result, TextError, check};
use crate::model::{Condition, Dataset, Generative, LikelihoodOptions, LogLikelihood, SampleOptions, Token};

/// The windows of a text as rows to learn from: `len` tokens each, the next one `hop` tokens farther, the last one at
/// the text's end. A shorter text is one shorter row. No row has an [`END`](Token::END): a window is a part of a text
/// that goes on.
///
/// # Errors
/// [`TextError::Empty`] for no tokens; [`Error::Config`] for a `len` or a `hop` of 0.
///
/// ```
/// use quadrivium::{Token, text};
/// let tokens: Vec<Token> = (0..10).map(Token).collect();
/// let data = text::windows(&tokens, 4, 4)?;
/// let firsts: Vec<u32> = data.x().column(0).iter().map(|token| token.0).collect();
/// assert_eq!((data.dim(), firsts), (4, vec![0, 4, 6]));
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn windows(tokens: &[Token], len: usize, hop: usize) -> Result<Dataset<Token>> {
    check(len >= 1, "len", len, "at least 1")?;
    check(hop >= 1, "hop", hop, "at least 1")?;
    if tokens.is_empty() {
        return Err(TextError::Empty.into());
    }
    let len = len.min(tokens.len());
    let last = tokens.len() - len;
    let starts: Vec<usize> = (0..last).step_by(hop).chain([last]).collect();
    Dataset::new(Array2::from_shape_fn((starts.len(), len), |(row, column)| tokens[starts[row] + column]))
}

/// The window of a model of rows of `len` tokens: where it begins when the token number `at` is predicted.
fn start(at: usize, len: usize) -> usize {
    let hop = (len / 2).max(1);
    if at < len { 0 } else { ((at - len) / hop + 1) * hop }
}

/// ln p of a text of any length, in nats: see [the page](self). Its end is not scored.
///
/// # Errors
/// [`TextError::Empty`] for no tokens, and those of [`log_likelihood`](crate::Distribution::log_likelihood), whose rows
/// are the windows of the text. [`Error::NoLikelihood`] for a model without one.
pub fn score(model: &dyn Generative<Token>, tokens: &[Token]) -> Result<f64> {
    if tokens.is_empty() {
        return Err(TextError::Empty.into());
    }
    let (len, options) = (model.dim(), LikelihoodOptions::default());
    let total = |score: LogLikelihood| {
        let nats = score.nats().map(|nats| nats.sum());
        nats.ok_or_else(|| Error::NoLikelihood { model: model.card().name.into_owned() })
    };
    let first = &tokens[..len.min(tokens.len())];
    let mut nats = total(model.log_likelihood(row(first), &options)?)?;
    let (hop, rest) = (start(len, len), &tokens[first.len()..]);
    // All whole windows at once, then the one that the text's end cuts short.
    let (whole, cut) = rest.split_at(rest.len() / hop * hop);
    let mut at = first.len();
    for (part, rows) in [(whole, whole.len() / hop), (cut, usize::from(!cut.is_empty()))] {
        if rows == 0 {
            continue;
        }
        let context = len - hop;
        let prompts = Array2::from_shape_fn((rows, context), |(r, i)| tokens[at + r * hop - context + i]);
        let x = ArrayView2::from_shape((rows, part.len() / rows), part).expect("rows of the same length");
        nats += total(model.given(&Condition::Tokens(prompts))?.log_likelihood(x, &options)?)?;
        at += part.len();
    }
    Ok(nats)
}

/// One row.
fn row(tokens: &[Token]) -> ArrayView2<'_, Token> {
    ArrayView2::from_shape((1, tokens.len()), tokens).expect("one row")
}

/// A text of at most `length` tokens behind a prompt, prompt included: see [the page](self). A drawn
/// [`END`](Token::END) ends it and is not part of it.
///
/// # Errors
/// As [`sample`](crate::Distribution::sample) and [`given`](Generative::given).
pub fn draw(
    model: &dyn Generative<Token>,
    prompt: &[Token],
    length: usize,
    options: &SampleOptions,
    rng: &mut dyn RngCore,
) -> Result<Vec<Token>> {
    let mut text = prompt.to_vec();
    while text.len() < length {
        let context = Condition::tokens(&text[start(text.len(), model.dim())..]);
        let drawn = model.given(&context)?.sample(1, options, rng)?.x;
        let new = drawn.into_iter().take(length - text.len());
        text.extend(new);
        if let Some(end) = text.iter().position(|&token| token == Token::END) {
            text.truncate(end);
            break;
        }
    }
    Ok(text)
}

/// How improbable a text is under a model, by the token, the character and the byte.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextScore {
    /// −ln p of the whole text.
    pub nats: f64,
    /// Tokens of the text.
    pub tokens: usize,
    /// Characters of the text; of bytes that are no UTF-8, those that do not continue a character.
    pub chars: usize,
    /// Bytes of the text.
    pub bytes: usize,
}

impl TextScore {
    /// −ln p per token. Compares models of one tokenizer.
    pub fn nats_per_token(&self) -> f64 {
        self.nats / self.tokens as f64
    }

    /// e^(nats per token): so many equally probable tokens would be as uncertain. Compares models of one tokenizer.
    ///
    /// ```
    /// use quadrivium::text::TextScore;
    /// let even = TextScore { nats: 10.0 * 8f64.ln(), tokens: 10, chars: 30, bytes: 30 };
    /// assert!((even.perplexity_per_token() - 8.0).abs() < 1e-12 && (even.bits_per_byte() - 1.0).abs() < 1e-12);
    /// ```
    pub fn perplexity_per_token(&self) -> f64 {
        self.nats_per_token().exp()
    }

    /// −ln p per character. Compares models of any tokenizer.
    pub fn nats_per_char(&self) -> f64 {
        self.nats / self.chars as f64
    }

    /// −log₂ p per byte: what an arithmetic coder would need. Compares models of any tokenizer.
    pub fn bits_per_byte(&self) -> f64 {
        self.nats / std::f64::consts::LN_2 / self.bytes as f64
    }
}

/// The [`score`] of a text, with the numbers of its tokens, characters and bytes.
///
/// # Errors
/// As [`Tokenizer::encode`] and [`score`].
pub fn measure(
    model: &dyn Generative<Token>,
    tokenizer: &Tokenizer,
    text: impl AsRef<[u8]>,
) -> Result<TextScore> {
    let bytes = text.as_ref();
    let tokens = tokenizer.encode(bytes)?;
    // A byte of the form 10xxxxxx continues a character.
    let chars = bytes.iter().filter(|&&byte| byte & 0b1100_0000 != 0b1000_0000).count();
    Ok(TextScore { nats: -score(model, &tokens)?, tokens: tokens.len(), chars, bytes: bytes.len() })
}

#[cfg(test)]
mod tests;

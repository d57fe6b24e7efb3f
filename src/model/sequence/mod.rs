//! The shell around models of token sequences: prompts, streams, choice of tokens, and the checks of the arguments,
//! written once. Each [`Sequences`] adds its decoder and its score, or as a [`NextToken`] its predictions alone; what
//! learns is a [`SequenceParadigm`].

mod choice;
mod next;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::ops::ControlFlow;

use ndarray::{Array2, ArrayView2, Axis, concatenate};
use rand::RngCore;

use self::choice::Chooser;
pub use self::choice::Truncation;
pub use self::next::{Histories, NextToken};
use super::{Distribution, Generative, LogLikelihood};
use crate::engine::tiles::{self, DrawTile};
use crate::engine::{
    Condition, Dataset, LikelihoodOptions, Observer, RowStreams, SampleOptions, Samples, TILE, Token,
    TrainOptions, TrainReport, check_count, check_reach, check_tokens,
};
use crate::error::{ConditionError, Result};
use crate::map::Card;
use crate::numeric::rng::Rng;

/// Some sequences that grow together, each by one token at a time.
pub trait Decoder {
    /// Appends one token to each sequence, (sequences). The first is [`Token::END`], which begins a sequence. Returns
    /// ln p of the next token up to a constant per sequence: (sequences, vocabulary + 1), the last column that of END.
    ///
    /// A row of numbers depends only on the tokens of its own sequence. A sequence that has ended is given END until
    /// the last of them has, and its numbers are not used.
    fn push(&mut self, tokens: &[Token]) -> &[f32];

    /// Number of tokens of each sequence, the first END included.
    fn len(&self) -> usize;

    /// Whether no sequence has begun.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all but the first `len` tokens of each sequence, of which there are at least as many.
    fn rewind(&mut self, len: usize);
}

/// A distribution of sequences of at most [`max_len`](Sequences::max_len) tokens, p(x) = Π p(xᵢ | x₁…xᵢ₋₁). Its type
/// is then a [`Distribution`] of rows of tokens.
///
/// A row holds one sequence. The first END counts as a token of the sequence and those behind it do not, so the
/// probabilities of all rows of the same number of columns, ended or not, sum to 1. A row of fewer columns than
/// `max_len` is the beginning of a sequence, and may also be scored.
pub trait Sequences: Debug + Send + Sync {
    /// What draws.
    type Decoder<'a>: Decoder
    where
        Self: 'a;

    /// Buffers that a thread keeps from tile to tile when it scores.
    type Workspace: Default;

    /// Its place on the map: [`Distribution::card`].
    fn place(&self) -> Card;

    /// Number of symbols, without END.
    fn vocabulary(&self) -> usize;

    /// Columns of a row: [`Distribution::dim`].
    fn max_len(&self) -> usize;

    /// Which tokens may be drawn.
    fn truncation(&self) -> Truncation {
        Truncation::default()
    }

    /// A decoder of so many empty sequences, each with room for `max_len` tokens, the first END included.
    fn decoder(&self, sequences: usize) -> Self::Decoder<'_>;

    /// Adds ln p(x_from, x_from+1, … | x₁…x_from−1) of each row of x, (rows, columns), to `nats`, (rows). Of the
    /// columns, at most `max_len`, the first is number 0, and `from` is 0 to less than their number. What follows the
    /// first END of a row adds nothing.
    fn score_tile(&self, x: &[Token], from: usize, workspace: &mut Self::Workspace, nats: &mut [f64]);

    /// Number of rows that are drawn or scored together, by one thread. It does not change a bit of a draw.
    fn tile(&self) -> usize {
        TILE
    }

    /// The sequences that begin with the tokens of a prompt: a distribution of what follows it, rows of `max_len`
    /// less the prompt's length.
    ///
    /// # Errors
    /// [`ConditionError::Kind`] unless the condition holds tokens, [`ConditionError::LongPrompt`] for more than
    /// `max_len` − 1 of them, [`ConditionError::UnknownToken`] for one that is not in the vocabulary.
    fn after(&self, prompt: &Condition) -> Result<Continuation<'_, Self>>
    where
        Self: Sized,
    {
        let most = self.max_len() - 1;
        let Condition::Tokens(prompts) = prompt else {
            let expected = format!("a prompt of at most {most} tokens");
            return Err(ConditionError::Kind { got: prompt.name(), expected }.into());
        };
        if prompts.ncols() > most {
            return Err(ConditionError::LongPrompt { got: prompts.ncols(), most }.into());
        }
        let vocabulary = self.vocabulary();
        if let Some(((row, _), token)) = prompts.indexed_iter().find(|(_, t)| t.0 as usize >= vocabulary) {
            return Err(ConditionError::UnknownToken { row, token: token.0, vocabulary }.into());
        }
        Ok(Continuation { model: self, prompts: prompts.clone() })
    }
}

/// What a paradigm of sequences implements in order to learn. Its type is then a [`Generative`] of rows of tokens.
pub trait SequenceParadigm: Sequences + Clone + 'static {
    /// Number of trainable parameters: [`Generative::num_params`].
    fn count_params(&self) -> usize;

    /// [`Generative::train`]. The caller has checked that the rows have no condition, at most
    /// [`max_len`](Sequences::max_len) columns, and tokens of the vocabulary.
    ///
    /// # Errors
    /// The same as there.
    fn learn(
        &mut self,
        data: &Dataset<Token>,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport>;
}

/// Draws after prompts.
struct Draws<'a, S: ?Sized> {
    model: &'a S,
    /// (1, length) for all rows, or one prompt per row.
    prompts: ArrayView2<'a, Token>,
}

/// No prompt.
fn nothing() -> Array2<Token> {
    Array2::default((1, 0))
}

/// Buffers of [`Draws`].
#[derive(Default)]
struct Scratch {
    rngs: Vec<Rng>,
    chooser: Chooser,
    next: Vec<Token>,
}

impl<S: Sequences> DrawTile<Token> for Draws<'_, S> {
    type Scratch = Scratch;

    fn columns(&self) -> usize {
        self.model.max_len() - self.prompts.ncols()
    }

    fn tile(&self) -> usize {
        self.model.tile()
    }

    fn draw_tile(
        &self,
        temperature: f64,
        streams: RowStreams,
        Scratch { rngs, chooser, next }: &mut Scratch,
        rows: &mut [Token],
    ) -> usize {
        let columns = self.columns();
        let (n, width) = (rows.len() / columns, self.model.vocabulary() + 1);
        streams.fill(n, rngs);
        rows.fill(Token::END);
        let mut decoder = self.model.decoder(n);
        next.clear();
        next.resize(n, Token::END);
        let mut logits = decoder.push(next);
        for tokens in self.prompts.columns() {
            let prompt = |r| if tokens.len() == 1 { tokens[0] } else { tokens[streams.first() + r] };
            next.iter_mut().enumerate().for_each(|(r, next)| *next = prompt(r));
            logits = decoder.push(next);
        }
        for column in 0..columns {
            for (r, logits) in logits.chunks_exact(width).enumerate() {
                // A row that has ended stays so.
                if column > 0 && next[r] == Token::END {
                    continue;
                }
                let chosen = chooser.choose(logits, temperature, self.model.truncation(), &mut rngs[r]);
                next[r] = match chosen {
                    Some(column) if column + 1 < width => Token(column as u32),
                    _ => Token::END,
                };
                rows[r * columns + column] = next[r];
            }
            if column + 1 == columns || next.iter().all(|&token| token == Token::END) {
                break;
            }
            logits = decoder.push(next);
        }
        decoder.len()
    }
}

/// ln p of what each row of x holds from the column `from` on, given what is before.
fn score<S: Sequences>(model: &S, x: ArrayView2<Token>, from: usize) -> Result<LogLikelihood> {
    let nats = tiles::score_blocks(model.tile(), x, |_, workspace: &mut S::Workspace, x, nats| {
        model.score_tile(x, from, workspace, nats);
        Ok(())
    })?;
    Ok(LogLikelihood::Exact(nats))
}

impl<S: Sequences> Distribution<Token> for S {
    fn card(&self) -> Card {
        self.place()
    }

    fn dim(&self) -> usize {
        self.max_len()
    }

    fn sample(&self, n: usize, options: &SampleOptions, rng: &mut dyn RngCore) -> Result<Samples<Token>> {
        tiles::sample(&Draws { model: self, prompts: nothing().view() }, n, options, rng)
    }

    fn sample_each(
        &self,
        n: u64,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
        sink: &mut dyn FnMut(ArrayView2<Token>) -> ControlFlow<()>,
    ) -> Result<()> {
        tiles::sample_each(&Draws { model: self, prompts: nothing().view() }, n, options, rng, sink)
    }

    fn draw_at(&self, at: RowStreams, options: &SampleOptions, rows: &mut [Token]) -> Result<usize> {
        tiles::draw_at(&Draws { model: self, prompts: nothing().view() }, at, options, rows)
    }

    fn log_likelihood(&self, x: ArrayView2<Token>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        check_tokens("x", x, self.vocabulary(), self.max_len())?;
        score(self, x, 0)
    }
}

impl<P: SequenceParadigm> Generative<Token> for P {
    fn num_params(&self) -> usize {
        self.count_params()
    }

    fn train(
        &mut self,
        data: &Dataset<Token>,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        self.condition().check(data.condition())?;
        check_tokens("data", data.x(), self.vocabulary(), self.max_len())?;
        self.learn(data, options, rng, observer)
    }

    fn given(&self, condition: &Condition) -> Result<Box<dyn Distribution<Token> + '_>> {
        Ok(Box::new(self.after(condition)?))
    }
}

/// What follows a prompt, or the prompt of each row: [`Sequences::after`].
#[derive(Debug, Clone)]
pub struct Continuation<'a, S> {
    model: &'a S,
    /// (1, length), or one prompt per row.
    prompts: Array2<Token>,
}

impl<S: Sequences> Continuation<'_, S> {
    fn draws(&self) -> Draws<'_, S> {
        Draws { model: self.model, prompts: self.prompts.view() }
    }
}

impl<S: Sequences> Distribution<Token> for Continuation<'_, S> {
    fn card(&self) -> Card {
        self.model.place()
    }

    fn dim(&self) -> usize {
        self.draws().columns()
    }

    fn sample(&self, n: usize, options: &SampleOptions, rng: &mut dyn RngCore) -> Result<Samples<Token>> {
        check_count(self.prompts.nrows(), n)?;
        tiles::sample(&self.draws(), n, options, rng)
    }

    fn sample_each(
        &self,
        n: u64,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
        sink: &mut dyn FnMut(ArrayView2<Token>) -> ControlFlow<()>,
    ) -> Result<()> {
        check_count(self.prompts.nrows(), usize::try_from(n).unwrap_or(usize::MAX))?;
        tiles::sample_each(&self.draws(), n, options, rng, sink)
    }

    fn draw_at(&self, at: RowStreams, options: &SampleOptions, rows: &mut [Token]) -> Result<usize> {
        check_reach(self.prompts.nrows(), at.first().saturating_add(rows.len() / self.dim()))?;
        tiles::draw_at(&self.draws(), at, options, rows)
    }

    fn log_likelihood(&self, x: ArrayView2<Token>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        check_tokens("x", x, self.model.vocabulary(), self.dim())?;
        check_count(self.prompts.nrows(), x.nrows())?;
        let row = |r| if self.prompts.nrows() == 1 { 0 } else { r };
        let prompts = self.prompts.select(Axis(0), &(0..x.nrows()).map(row).collect::<Vec<_>>());
        score(self.model, concatenate![Axis(1), prompts, x].view(), prompts.ncols())
    }
}

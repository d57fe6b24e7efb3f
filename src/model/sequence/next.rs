//! Models that predict the next token from the tokens themselves, without a state that grows with the sequence.

use std::fmt::Debug;

use super::{Decoder, Sequences, Truncation};
use crate::engine::Token;
use crate::map::Card;

/// A distribution of sequences that is told by the probabilities of the next token. Its type is then a [`Sequences`].
pub trait NextToken: Debug + Send + Sync {
    /// [`Sequences::place`].
    fn place(&self) -> Card;

    /// [`Sequences::vocabulary`].
    fn vocabulary(&self) -> usize;

    /// [`Sequences::max_len`].
    fn max_len(&self) -> usize;

    /// [`Sequences::truncation`].
    fn truncation(&self) -> Truncation {
        Truncation::default()
    }

    /// Fills p, (vocabulary + 1), with the probabilities of the token after `tokens`, the last that of END. They are
    /// all 0 after tokens that cannot follow each other. The END before the first token is not among `tokens`.
    fn predict(&self, tokens: &[Token], p: &mut [f64]);

    /// The probability of `token` after `tokens`. `p` is a buffer of vocabulary + 1 numbers.
    fn probability(&self, tokens: &[Token], token: Token, p: &mut [f64]) -> f64 {
        self.predict(tokens, p);
        p[token.column(p.len() - 1)]
    }
}

/// The decoder of a [`NextToken`]: it keeps the tokens.
#[derive(Debug)]
pub struct Histories<'a, M> {
    model: &'a M,
    /// One per sequence, without the END before the first token.
    tokens: Vec<Vec<Token>>,
    /// Tokens pushed.
    len: usize,
    /// (vocabulary + 1)
    p: Vec<f64>,
    /// (sequences, vocabulary + 1)
    logits: Vec<f32>,
}

impl<M: NextToken> Decoder for Histories<'_, M> {
    fn push(&mut self, tokens: &[Token]) -> &[f32] {
        let sequences = self.tokens.iter_mut().zip(tokens);
        for ((sequence, &token), logits) in sequences.zip(self.logits.chunks_exact_mut(self.p.len())) {
            if self.len > 0 {
                sequence.push(token);
            }
            self.model.predict(sequence, &mut self.p);
            logits.iter_mut().zip(&self.p).for_each(|(logit, p)| *logit = p.ln() as f32);
        }
        self.len += 1;
        &self.logits
    }

    fn len(&self) -> usize {
        self.len
    }

    fn rewind(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.tokens.iter_mut().for_each(|tokens| tokens.truncate(len.saturating_sub(1)));
    }
}

impl<M: NextToken> Sequences for M {
    type Decoder<'a>
        = Histories<'a, M>
    where
        M: 'a;
    type Workspace = Vec<f64>;

    fn place(&self) -> Card {
        NextToken::place(self)
    }

    fn vocabulary(&self) -> usize {
        NextToken::vocabulary(self)
    }

    fn max_len(&self) -> usize {
        NextToken::max_len(self)
    }

    fn truncation(&self) -> Truncation {
        NextToken::truncation(self)
    }

    fn decoder(&self, sequences: usize) -> Histories<'_, M> {
        let width = NextToken::vocabulary(self) + 1;
        let logits = vec![0.0; sequences * width];
        Histories { model: self, tokens: vec![Vec::new(); sequences], len: 0, p: vec![0.0; width], logits }
    }

    fn score_tile(&self, x: &[Token], from: usize, p: &mut Vec<f64>, nats: &mut [f64]) {
        p.resize(NextToken::vocabulary(self) + 1, 0.0);
        for (row, nats) in x.chunks_exact(x.len() / nats.len()).zip(nats) {
            for column in from..Token::counted(row).len() {
                *nats += self.probability(&row[..column], row[column], p).ln();
            }
        }
    }
}

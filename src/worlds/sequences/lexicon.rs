use std::collections::BTreeMap;

use super::{card, entropy};
use crate::error::{Result, check};
use crate::map::Card;
use crate::model::{NextToken, Token};

/// Words of a list, each with its probability: what a model of names or words can at best know.
///
/// ```
/// use quadrivium::{Distribution, Token, ndarray::array, text::Tokenizer, worlds::Lexicon};
///
/// let tokenizer = Tokenizer::characters("an")?;
/// let words = [("ann", 3.0), ("anna", 1.0), ("nan", 4.0)];
/// let encoded = words.map(|(word, weight)| (tokenizer.encode(word).unwrap(), weight));
/// let lexicon = Lexicon::new(encoded, tokenizer.vocabulary(), 5)?;
/// assert!((lexicon.entropy() - (-0.375 * 0.375f64.ln() - 0.125 * 0.125f64.ln() - 0.5 * 0.5f64.ln())).abs() < 1e-12);
///
/// let (a, n, end) = (Token(0), Token(1), Token::END);
/// let score = lexicon.log_likelihood(array![[a, n, n, a, end], [n, n, n, n, n]].view(), &Default::default())?;
/// assert!((score.nats().unwrap()[0] - 0.125f64.ln()).abs() < 1e-12);
/// assert_eq!(score.nats().unwrap()[1], f64::NEG_INFINITY);
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Lexicon {
    /// In ascending order, each once.
    words: Vec<Vec<Token>>,
    /// Their probabilities, which sum to 1.
    p: Vec<f64>,
    vocabulary: usize,
    max_len: usize,
}

impl Lexicon {
    /// Words over `vocabulary` symbols with weights, which are taken relative to their sum; those of a word that occurs
    /// more than once add up. Rows of `max_len` tokens.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for no words, a weight that is not positive and finite, a word of more
    /// than `max_len` tokens, or one with a token that is not among the symbols.
    pub fn new(
        words: impl IntoIterator<Item = (Vec<Token>, f64)>,
        vocabulary: usize,
        max_len: usize,
    ) -> Result<Self> {
        let mut weights: BTreeMap<Vec<Token>, f64> = BTreeMap::new();
        for (word, weight) in words {
            check(weight > 0.0 && weight.is_finite(), "weight", weight, "more than 0, finite")?;
            check(word.len() <= max_len, "word", &word, "at most max_len tokens")?;
            let known = word.iter().all(|token| (token.0 as usize) < vocabulary);
            check(known, "word", &word, "tokens of the vocabulary")?;
            *weights.entry(word).or_default() += weight;
        }
        check(!weights.is_empty(), "words", 0, "at least 1")?;
        check(max_len >= 1, "max_len", max_len, "at least 1")?;
        let total: f64 = weights.values().sum();
        let (words, weights): (Vec<_>, Vec<f64>) = weights.into_iter().unzip();
        let p = weights.into_iter().map(|weight| weight / total).collect();
        Ok(Lexicon { words, p, vocabulary, max_len })
    }

    /// Number of different words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are none, which [`new`](Lexicon::new) refuses.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The entropy of a word, in nats.
    pub fn entropy(&self) -> f64 {
        entropy(self.p.iter().copied())
    }
}

impl NextToken for Lexicon {
    fn place(&self) -> Card {
        card("lexicon", self.max_len)
    }

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn max_len(&self) -> usize {
        self.max_len
    }

    fn predict(&self, tokens: &[Token], p: &mut [f64]) {
        p.fill(0.0);
        // In ascending order, the words that begin with the tokens follow each other.
        let first = self.words.partition_point(|word| word[..] < *tokens);
        for (word, weight) in self.words[first..].iter().zip(&self.p[first..]) {
            if !word.starts_with(tokens) {
                break;
            }
            p[word.get(tokens.len()).map_or(self.vocabulary, |token| token.0 as usize)] += weight;
        }
        let all: f64 = p.iter().sum();
        if all > 0.0 {
            p.iter_mut().for_each(|p| *p /= all);
        }
    }
}

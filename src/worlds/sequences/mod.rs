//! Sequences of tokens whose truth is known: each draws rows, and computes their probabilities and the entropy.

mod grammar;
mod lexicon;
mod markov;
#[cfg(test)]
mod tests;

pub use self::grammar::{Grammar, Rule};
pub use self::lexicon::Lexicon;
pub use self::markov::MarkovChain;

use crate::map::{Card, LikelihoodKind, Objective, Sampling};

/// The card of a truth that draws rows of `max_len` tokens.
fn card(name: &'static str, max_len: usize) -> Card {
    let card = Card::new(name, Objective::OffTheMap, Sampling::Sequential { dim: max_len });
    Card { likelihood: LikelihoodKind::Exact, ..card }
}

/// −Σ p ln p.
fn entropy(p: impl IntoIterator<Item = f64>) -> f64 {
    p.into_iter().filter(|&p| p > 0.0).map(|p| -p * p.ln()).sum()
}

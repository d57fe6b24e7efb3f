//! What the contract promises of models of token sequences, held against each of them, and the yardsticks that they are
//! measured by.
//!
//! To add a model is one line in the table below: three symbols, rows of six tokens.

mod promises;
mod yardsticks;

use std::sync::OnceLock;

use quadrivium::prelude::*;
use quadrivium::worlds::{Grammar, Lexicon, MarkovChain, Rule};
use quadrivium::{NGram, NGramConfig, OptimizerConfig, Token, Transformer, TransformerConfig, seeded};

// With files, every model can be one.
#[cfg(not(feature = "safetensors"))]
use quadrivium::Generative as Model;
#[cfg(feature = "safetensors")]
use quadrivium::persist::Persist as Model;

const VOCABULARY: usize = 3;
const MAX_LEN: usize = 6;

/// Rows to learn from: words and longer sequences.
fn rows(n: usize) -> Dataset<Token> {
    Dataset::new(short_sentences().draw(n, &mut seeded(1)).unwrap()).unwrap()
}

fn short_sentences() -> Grammar {
    let rule = |p, first, then: &[usize]| Rule { p, first: Token(first), then: then.to_vec() };
    let parts = vec![
        vec![rule(0.5, 0, &[1]), rule(0.3, 1, &[0, 1]), rule(0.2, 2, &[])],
        vec![rule(0.6, 0, &[]), rule(0.4, 2, &[1])],
    ];
    Grammar::new(parts, VOCABULARY, MAX_LEN).unwrap()
}

/// One model of the contract.
pub struct Subject {
    make: fn() -> Box<dyn Model<Token>>,
    trained: OnceLock<Box<dyn Model<Token>>>,
}

impl Subject {
    fn fresh(&self) -> Box<dyn Model<Token>> {
        (self.make)()
    }

    fn trained(&self) -> &dyn Model<Token> {
        let train = || {
            let mut model = self.fresh();
            let options = TrainOptions { steps: 30, batch: 32, ..Default::default() };
            model.train(&rows(300), &options, &mut seeded(2), &mut NoObserver).unwrap();
            model
        };
        self.trained.get_or_init(train).as_ref()
    }
}

/// A test for each promise of `p`.
macro_rules! promises {
    ($module:ident, $p:expr; $($promise:ident),* $(,)?) => { $(
        #[test]
        fn $promise() {
            $crate::promises::$module::$promise($p);
        }
    )* };
}

macro_rules! models {
    ($($name:ident: $make:expr;)*) => { $(
        mod $name {
            use super::*;

            static SUBJECT: Subject = Subject { make: $make, trained: OnceLock::new() };

            promises!(of_distributions, SUBJECT.trained();
                rows_of_any_number_of_columns_sum_to_one, draws_have_the_probabilities_that_are_scored,
                rows_do_not_depend_on_others_blocks_or_threads, evaluations_are_at_most_those_of_the_card,
                wrong_rows_and_options_are_refused, lower_temperature_draws_more_probable_tokens,
            );
            promises!(of_models, &SUBJECT;
                continuations_have_the_conditional_probabilities, prompts_of_rows_are_their_own,
                wrong_prompts_and_data_are_refused, training_makes_the_rows_more_probable,
            );
            #[cfg(feature = "safetensors")]
            promises!(of_files, &SUBJECT; loaded_model_is_the_saved_one_to_the_bit);
        }
    )* };
}

macro_rules! worlds {
    ($($name:ident: $make:expr;)*) => { $(
        mod $name {
            use super::*;

            promises!(of_distributions, &$make;
                rows_of_any_number_of_columns_sum_to_one, draws_have_the_probabilities_that_are_scored,
                rows_do_not_depend_on_others_blocks_or_threads, evaluations_are_at_most_those_of_the_card,
                wrong_rows_and_options_are_refused, lower_temperature_draws_more_probable_tokens,
            );
        }
    )* };
}

fn n_gram(context: usize) -> NGram {
    NGram::new(NGramConfig { vocabulary: VOCABULARY, context, max_len: MAX_LEN }).unwrap()
}

fn transformer() -> Transformer {
    let optimizer = OptimizerConfig { lr: 1e-2, ..TransformerConfig::default().optimizer };
    let sizes = TransformerConfig { vocabulary: VOCABULARY, len: MAX_LEN, optimizer, ..Default::default() };
    Transformer::new(TransformerConfig { width: 16, heads: 2, blocks: 2, ..sizes }, &mut seeded(3)).unwrap()
}

models! {
    unigram: || Box::new(n_gram(0));
    trigram: || Box::new(n_gram(2));
    long_gram: || Box::new(n_gram(9));
    transformer: || Box::new(super::transformer());
}

worlds! {
    markov_chain: MarkovChain::random(VOCABULARY, 2, MAX_LEN, &mut seeded(0)).unwrap();
    grammar: short_sentences();
    lexicon: {
        let words = [vec![0], vec![0, 1], vec![2, 0, 1, 1], vec![2; 6], vec![]];
        let words = words.map(|word| word.into_iter().map(Token).collect::<Vec<_>>());
        Lexicon::new(words.into_iter().zip([3.0, 1.0, 2.0, 2.0, 0.5]), VOCABULARY, MAX_LEN).unwrap()
    };
}

use std::collections::HashMap;

use ndarray::{Array2, array};

use super::*;
use crate::model::{Distribution, LikelihoodOptions, NextToken, Token};
use crate::numeric::rng::seeded;
use crate::{DataError, Error};

fn nats(world: &dyn Distribution<Token>, x: &Array2<Token>) -> Vec<f64> {
    world.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap().nats().unwrap().to_vec()
}

/// −E ln p over draws, and its standard error.
fn mean_surprise(world: &dyn Distribution<Token>, n: usize) -> (f64, f64) {
    let nats = nats(world, &world.draw(n, &mut seeded(3)).unwrap());
    let mean = -nats.iter().sum::<f64>() / n as f64;
    let variance = nats.iter().map(|nats| (nats + mean).powi(2)).sum::<f64>() / n as f64;
    (mean, (variance / n as f64).sqrt())
}

/// That of a chain of two symbols, 0.1 = p(1|0) and 0.4 = p(0|1): π = (0.8, 0.2).
#[test]
fn entropy_rate_of_a_chain_is_the_known_one() {
    let chain = MarkovChain::new(array![[0.9, 0.1], [0.4, 0.6]].view(), 7).unwrap();
    let h = |p: f64| -p * p.ln() - (1.0 - p) * (1.0 - p).ln();
    let rate = 0.8 * h(0.1) + 0.2 * h(0.4);
    assert!((chain.entropy_rate() - rate).abs() < 1e-12);
    assert!((chain.row_entropy() - h(0.2) - 6.0 * rate).abs() < 1e-12);
    let x = array![[Token(1), Token(0), Token(0), Token(1)], [Token(1), Token(0), Token::END, Token::END]];
    let nats = nats(&chain, &x);
    assert!((nats[0] - (0.2f64 * 0.4 * 0.9 * 0.1).ln()).abs() < 1e-12);
    assert_eq!(nats[1], f64::NEG_INFINITY);
}

#[test]
fn chains_of_any_order_draw_rows_of_their_entropy() {
    for (vocabulary, order) in [(1, 0), (4, 0), (4, 1), (3, 3), (2, 9)] {
        for max_len in [1, 5, 30] {
            let chain = MarkovChain::random(vocabulary, order, max_len, &mut seeded(order as u64)).unwrap();
            assert_eq!((chain.order(), NextToken::vocabulary(&chain)), (order, vocabulary));
            let (mean, error) = mean_surprise(&chain, 4_000);
            let entropy = chain.row_entropy();
            assert!((mean - entropy).abs() < 5.0 * error + 1e-9, "{vocabulary}, {order}: {mean}, {entropy}");
        }
    }
}

#[test]
fn chain_is_stationary() {
    let chain = MarkovChain::random(3, 2, 12, &mut seeded(1)).unwrap();
    let x = chain.draw(60_000, &mut seeded(2)).unwrap();
    let share =
        |column: usize| x.column(column).iter().filter(|token| token.0 == 0).count() as f64 / 60_000.0;
    assert!((share(0) - share(11)).abs() < 0.012, "{} {}", share(0), share(11));
}

#[test]
fn entropy_of_sentences_is_that_of_their_draws() {
    let english = Grammar::english(400).unwrap();
    let (mean, error) = mean_surprise(&english, 20_000);
    assert!((mean - english.entropy()).abs() < 5.0 * error, "{mean} ± {error}, {}", english.entropy());
    let x = english.draw(20_000, &mut seeded(4)).unwrap();
    let len = x.iter().filter(|&&token| token != Token::END).count() as f64 / 20_000.0;
    assert!((len - english.mean_len()).abs() < 0.2, "{len}, {}", english.mean_len());
}

#[test]
fn verbs_agree_with_their_nouns() {
    let english = Grammar::english(9).unwrap();
    let encode = |text: &str| {
        let mut tokens: Vec<Token> = text
            .split(' ')
            .map(|word| Token(grammar::WORDS.iter().position(|known| *known == word).unwrap() as u32))
            .collect();
        assert_eq!(Grammar::english_text(&tokens), text);
        tokens.resize(9, Token::END);
        Array2::from_shape_vec((1, 9), tokens).unwrap()
    };
    let right = nats(&english, &encode("some cats that see a fox sleep"))[0];
    let expected = 0.4 * 0.3 * 0.2 * 0.7 * 0.7 * 0.1 * 0.4f64;
    assert!((right - expected.ln()).abs() < 1e-12);
    assert_eq!(nats(&english, &encode("some cats that see a fox sleeps"))[0], f64::NEG_INFINITY);
    assert_eq!(nats(&english, &encode("a cat"))[0], f64::NEG_INFINITY);
}

#[test]
fn words_are_drawn_by_their_weights() {
    let word = |symbols: &[u32]| symbols.iter().copied().map(Token).collect::<Vec<_>>();
    let table = [(word(&[0, 1]), 1.0), (word(&[0]), 2.0), (word(&[1, 1, 1]), 3.0), (word(&[0]), 4.0)];
    let lexicon = Lexicon::new(table, 2, 4).unwrap();
    assert_eq!(lexicon.len(), 3);
    let x = lexicon.draw(20_000, &mut seeded(0)).unwrap();
    let mut counts: HashMap<Vec<Token>, f64> = HashMap::new();
    x.rows().into_iter().for_each(|row| *counts.entry(row.to_vec()).or_insert(0.0) += 1.0 / 20_000.0);
    assert_eq!(counts.len(), 3);
    for (symbols, share) in [(&[0, 1][..], 0.1), (&[0], 0.6), (&[1, 1, 1], 0.3)] {
        let mut row = word(symbols);
        row.resize(4, Token::END);
        assert!((counts[&row] - share).abs() < 0.02);
    }
    assert!((lexicon.entropy() - entropy([0.1, 0.6, 0.3])).abs() < 1e-12);
}

#[test]
fn impossible_worlds_are_refused() {
    let named = |error: Option<Error>| match error {
        Some(Error::Config { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let chain = |table: Array2<f64>| MarkovChain::new(table.view(), 3).err();
    assert_eq!(named(chain(array![[0.9, 0.1], [1.0, 0.0]])), "table");
    assert_eq!(named(chain(array![[0.9, 0.2], [0.5, 0.5]])), "table");
    assert_eq!(named(chain(Array2::zeros((3, 0)))), "table");
    let three = chain(Array2::from_elem((3, 2), 0.5));
    assert!(matches!(three, Some(Error::Data(DataError::Shape { .. }))), "{three:?}");
    assert_eq!(named(MarkovChain::random(10, 9, 3, &mut seeded(0)).err()), "vocabulary, order");
    assert_eq!(named(MarkovChain::random(2, 2, 0, &mut seeded(0)).err()), "max_len");

    let rule = |p, first, then: &[usize]| Rule { p, first: Token(first), then: then.to_vec() };
    let grammar = |rules: Vec<Rule>| named(Grammar::new(vec![rules], 2, 5).err());
    // Two sentences within each, half of the time: the mean length has no limit.
    assert_eq!(grammar(vec![rule(0.5, 0, &[0, 0]), rule(0.5, 1, &[])]), "rules");
    assert_eq!(grammar(vec![rule(0.9, 0, &[0, 0, 0]), rule(0.1, 1, &[])]), "rules");
    assert_eq!(grammar(vec![rule(0.5, 0, &[]), rule(0.5, 0, &[])]), "rules");
    assert_eq!(grammar(vec![rule(0.5, 0, &[]), rule(0.4, 1, &[])]), "rules");
    assert_eq!(grammar(vec![rule(1.0, 2, &[])]), "rules");
    assert_eq!(grammar(vec![rule(1.0, 0, &[1])]), "rules");

    let words = |word: &[u32], weight| {
        named(Lexicon::new([(word.iter().copied().map(Token).collect(), weight)], 2, 3).err())
    };
    assert_eq!([words(&[0; 4], 1.0), words(&[2], 1.0), words(&[0], 0.0)], ["word", "word", "weight"]);
    assert_eq!(named(Lexicon::new([], 2, 3).err()), "words");
}

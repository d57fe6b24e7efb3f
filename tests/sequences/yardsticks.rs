//! Figures of texts and names, as an independent program computes them.

use std::io::Read as _;
use std::path::Path;

use quadrivium::prelude::*;
use quadrivium::text::{self, Tokenizer};
use quadrivium::worlds::Lexicon;
use quadrivium::{NGram, NGramConfig, seeded};

/// The text of a compressed file below the repository's root, if it is there.
fn read(path: &str) -> Option<String> {
    let file = std::fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    Some(text)
}

/// Nats a character of at most `most` characters behind the first nine tenths, which an n-gram has learned.
fn held_out(text: &str, context: usize, most: usize) -> f64 {
    let tokenizer = Tokenizer::characters(text).unwrap();
    let tokens = tokenizer.encode(text).unwrap();
    let (learned, rest) = tokens.split_at(tokens.len() * 9 / 10);
    let config = NGramConfig { vocabulary: tokenizer.vocabulary(), context, max_len: learned.len() };
    let mut model = NGram::new(config).unwrap();
    model.fit(&text::windows(learned, learned.len(), 1).unwrap(), &mut seeded(0)).unwrap();
    // Windows of 512 are as good as one.
    let model = model.with_max_len(512).unwrap();
    let rest = &rest[..most.min(rest.len())];
    -text::score(&model, rest).unwrap() / rest.len() as f64
}

/// Characters of context, with nats a character.
fn assert_figures(text: &str, most: usize, figures: [(usize, f64); 4]) {
    for (context, expected) in figures {
        let found = held_out(text, context, most);
        assert!((found - expected).abs() < 5e-4, "{context} characters of context: {found}, not {expected}");
    }
}

#[test]
fn n_grams_give_the_devils_dictionary_its_figures() {
    let text = read("examples/data/devils-dictionary.txt.gz").unwrap();
    assert_figures(&text, usize::MAX, [(2, 2.0612), (3, 1.7961), (4, 1.7154), (5, 1.7440)]);
}

/// The text is not part of the repository: where it lies beside it, it is measured.
#[test]
fn n_grams_give_tiny_shakespeare_its_figures() {
    if let Some(text) = read("../shared/data/tinyshakespeare.txt.gz") {
        assert_figures(&text, 60_000, [(2, 1.9882), (3, 1.6841), (4, 1.5620), (5, 1.5809)]);
    }
}

#[test]
fn census_names_have_their_entropy() {
    let table = read("examples/data/names.csv.gz").unwrap();
    let name = |line: &str| {
        let mut cells = line.split(',').map(str::to_owned);
        Some((cells.next()?, cells.nth(1)?.parse::<f64>().ok()?))
    };
    let names: Vec<(String, f64)> = table.lines().skip(1).filter_map(name).collect();
    let letters = Tokenizer::characters("abcdefghijklmnopqrstuvwxyz").unwrap();
    let words = names.iter().map(|(name, share)| (letters.encode(name).unwrap(), *share));
    let lexicon = Lexicon::new(words, letters.vocabulary(), 12).unwrap();
    assert_eq!((names.len(), lexicon.len()), (5_494, 5_163));
    assert!((lexicon.entropy() - 6.7017).abs() < 5e-5, "{}", lexicon.entropy());

    let x = lexicon.draw(20_000, &mut seeded(0)).unwrap();
    let score = lexicon.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
    let surprise = -score.nats().unwrap().mean().unwrap();
    assert!((surprise - lexicon.entropy()).abs() < 0.05, "{surprise}");
}

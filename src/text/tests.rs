use rand::Rng as _;

use super::*;
use crate::error::TextError;
use crate::numeric::rng::seeded;
use crate::{Distribution as _, NGram, NGramConfig, Truncation};

const PROSE: &str = "The rain in Spain stays mainly in the plain,\nand in Maine the rain remains the same.\n";

#[test]
fn any_bytes_come_back() {
    let mut rng = seeded(0);
    let pairs = Tokenizer::byte_pairs(PROSE.repeat(3), 60).unwrap();
    let texts = [vec![], vec![b' '; 300], vec![b'a'; 300], PROSE.into(), "naïve\u{1F98A}\r\n\t".into()];
    let random = (0..20).map(|n| (0..10 * n).map(|_| rng.random_range(0..=255u8)).collect());
    for text in texts.into_iter().chain(random) {
        for tokenizer in [&Tokenizer::bytes(), &pairs] {
            let tokens = tokenizer.encode(&text).unwrap();
            assert!(tokens.iter().all(|token| (token.0 as usize) < tokenizer.vocabulary()));
            assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
        }
    }
    let characters = Tokenizer::characters("naïve \u{1F98A}").unwrap();
    let tokens = characters.encode("\u{1F98A} ïa").unwrap();
    assert_eq!((characters.vocabulary(), tokens.len()), (7, 4));
    assert_eq!(characters.text(&[&tokens[..], &[Token::END, Token(0)]].concat()).unwrap(), "\u{1F98A} ïa");
}

#[test]
fn most_frequent_pair_is_joined_first_and_never_across_words() {
    // "ab" stands there five times, " a" four times; then " ab" four times, and "ab" is gone but for one.
    let pairs = Tokenizer::byte_pairs("ab ab ab ab ab", 10).unwrap();
    let strings: Vec<_> =
        (256..pairs.vocabulary() as u32).map(|t| pairs.text(&[Token(t)]).unwrap()).collect();
    assert_eq!(strings, ["ab", " ab"]);
    assert_eq!(pairs.encode("ab ab").unwrap(), [Token(256), Token(257)]);
    // Three of the same: joined from the left.
    let same = Tokenizer::byte_pairs("aaa aaa", 1).unwrap();
    assert_eq!(same.encode("aaa").unwrap(), [Token(256), Token(97)]);
}

#[test]
fn incremental_counts_learn_the_merges_of_a_count_from_scratch() {
    let text = PROSE.repeat(2).into_bytes();
    let merges = 25;
    let mut words: Vec<Vec<u32>> = Vec::new();
    for byte in &text {
        let begins = byte.is_ascii_whitespace()
            && words.last().and_then(|word| word.last()).is_some_and(|&b| !(b as u8).is_ascii_whitespace());
        if words.is_empty() || begins {
            words.push(Vec::new());
        }
        words.last_mut().unwrap().push((*byte).into());
    }
    let mut expected: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).collect();
    for _ in 0..merges {
        let mut counts = std::collections::BTreeMap::<(u32, u32), usize>::new();
        words
            .iter()
            .flat_map(|word| word.windows(2))
            .for_each(|p| *counts.entry((p[0], p[1])).or_default() += 1);
        let most = *counts.values().max().unwrap();
        let (left, right) = *counts.iter().find(|(_, n)| **n == most).unwrap().0;
        let new = expected.len() as u32;
        expected.push([expected[left as usize].clone(), expected[right as usize].clone()].concat());
        for word in &mut words {
            let mut joined = Vec::new();
            for &token in &*word {
                if token == right && joined.last() == Some(&left) {
                    *joined.last_mut().unwrap() = new;
                } else {
                    joined.push(token);
                }
            }
            *word = joined;
        }
    }
    let pairs = Tokenizer::byte_pairs(&text, merges).unwrap();
    for (token, bytes) in expected.iter().enumerate() {
        assert_eq!(pairs.decode(&[Token(token as u32)]).unwrap(), *bytes, "token {token}");
    }
    let tokens: Vec<u32> = pairs.encode(&text).unwrap().into_iter().map(|token| token.0).collect();
    assert_eq!(tokens, words.concat());
}

#[test]
fn unknown_symbols_and_tokens_are_named_with_their_place() {
    let characters = Tokenizer::characters("abc\n").unwrap();
    let told = |text: &[u8]| match characters.encode(text) {
        Err(Error::Text(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        told("ab\ncä".as_bytes()),
        TextError::UnknownSymbol { symbol: 'ä', line: 2, column: 2, known: 4 }
    );
    assert_eq!(told(b"ab\xff"), TextError::NotUtf8 { at: 2 });
    for tokenizer in [&characters, &Tokenizer::bytes()] {
        let vocabulary = tokenizer.vocabulary();
        let unknown = tokenizer.decode(&[Token(1), Token(vocabulary as u32)]);
        assert!(matches!(unknown, Err(Error::Text(TextError::UnknownToken { at: 1, .. }))), "{unknown:?}");
    }
    assert!(matches!(Tokenizer::characters(""), Err(Error::Text(TextError::Empty))));
    assert!(matches!(Tokenizer::byte_pairs("", 3), Err(Error::Text(TextError::Empty))));
    assert!(matches!(Tokenizer::byte_pairs("a", 70_000), Err(Error::Config { field: "merges", .. })));
    assert!(matches!(windows(&[], 3, 3), Err(Error::Text(TextError::Empty))));
}

#[cfg(feature = "safetensors")]
#[test]
fn tokenizers_are_read_as_they_were_written() {
    let all = [
        Tokenizer::characters("naïve").unwrap(),
        Tokenizer::bytes(),
        Tokenizer::byte_pairs(PROSE, 30).unwrap(),
    ];
    for tokenizer in all {
        let json = serde_json::to_string(&tokenizer).unwrap();
        assert_eq!(serde_json::from_str::<Tokenizer>(&json).unwrap(), tokenizer, "{json}");
    }
    // A later token, the same pair twice, and a token that would double seven times.
    let doubled: Vec<(u32, u32)> =
        [(97, 97)].into_iter().chain((256..262).map(|token| (token, token))).collect();
    for merges in [vec![(97, 256)], vec![(97, 98), (97, 98)], doubled] {
        let json = format!("{{\"byte_pairs\":{}}}", serde_json::to_string(&merges).unwrap());
        assert!(serde_json::from_str::<Tokenizer>(&json).is_err(), "{json}");
    }
    assert!(serde_json::from_str::<Tokenizer>("{\"characters\":\"\"}").is_err());
}

/// A 3-gram of prose, with rows of so many tokens.
fn model(max_len: usize) -> NGram {
    let tokens = Tokenizer::bytes().encode(PROSE.repeat(4)).unwrap();
    let mut all = NGram::new(NGramConfig { context: 2, max_len: tokens.len(), vocabulary: 256 }).unwrap();
    all.fit(&windows(&tokens, tokens.len(), 1).unwrap(), &mut seeded(0)).unwrap();
    all.with_max_len(max_len).unwrap()
}

#[test]
fn long_text_scores_as_in_one_row_where_a_window_holds_all_that_matters() {
    let tokens = Tokenizer::bytes().encode(PROSE).unwrap();
    for length in [1, 3, 6, 7, 8, 9, 23, 24, 25, 84] {
        let text = &tokens[..length];
        let whole = score(&model(500), text).unwrap();
        // Windows of 5 move by 2, so a token has at least 3 before it.
        for len in [5, 6, 8, 84] {
            let found = score(&model(len), text).unwrap();
            assert!((found - whole).abs() < 1e-9, "{length} tokens, rows of {len}: {found}, not {whole}");
        }
    }
    assert!(matches!(score(&model(5), &[]), Err(Error::Text(TextError::Empty))));
}

#[test]
fn each_window_scores_what_the_one_before_it_did_not_reach() {
    // Rows of 2: a window of one token before the one that is scored, END before both.
    let narrow = model(2);
    let tokens = Tokenizer::bytes().encode("rain").unwrap();
    let nats = |prompt: &[Token], x: &[Token]| {
        let given = narrow.given(&Condition::tokens(prompt)).unwrap();
        given.log_likelihood(row(x), &LikelihoodOptions::default()).unwrap().nats().unwrap()[0]
    };
    let expected =
        nats(&[], &tokens[..2]) + nats(&tokens[1..2], &tokens[2..3]) + nats(&tokens[2..3], &tokens[3..]);
    assert!((score(&narrow, &tokens).unwrap() - expected).abs() < 1e-12);
}

#[test]
fn long_draw_is_that_of_one_row() {
    let greedy = |max_len| model(max_len).with_truncation(Truncation::GREEDY).unwrap();
    let (rng, options) = (&mut seeded(0), SampleOptions::default());
    let whole = greedy(60).draw(1, rng).unwrap().row(0).to_vec();
    for (len, prompt, length) in [(6, 0, 60), (7, 3, 60), (8, 20, 33), (60, 1, 60), (9, 12, 5)] {
        let drawn = draw(&greedy(len), &whole[..prompt], length, &options, rng).unwrap();
        assert_eq!(drawn, whole[..length.max(prompt)], "rows of {len}");
    }
}

#[test]
fn drawn_end_is_the_end() {
    let data = Dataset::new(ndarray::array![[Token(1), Token(2), Token::END]]).unwrap();
    let mut short = NGram::new(NGramConfig { context: 1, max_len: 3, vocabulary: 3 }).unwrap();
    short.fit(&data, &mut seeded(0)).unwrap();
    let short = short.with_truncation(Truncation::GREEDY).unwrap();
    let drawn = draw(&short, &[], 50, &SampleOptions::default(), &mut seeded(0)).unwrap();
    assert_eq!(drawn, [Token(1), Token(2)]);
}

#[test]
fn measures_count_tokens_characters_and_bytes() {
    let tokenizer = Tokenizer::byte_pairs("é é é é", 5).unwrap();
    let even = NGram::new(NGramConfig { vocabulary: tokenizer.vocabulary(), ..Default::default() }).unwrap();
    let score = measure(&even, &tokenizer, "é é é").unwrap();
    assert_eq!((score.tokens, score.chars, score.bytes), (3, 5, 8));
    let all = (tokenizer.vocabulary() + 1) as f64;
    assert!((score.perplexity_per_token() - all).abs() < 1e-9);
    assert!((score.nats_per_char() - 0.6 * all.ln()).abs() < 1e-12);
    assert!((score.bits_per_byte() - 3.0 / 8.0 * all.log2()).abs() < 1e-12);
}

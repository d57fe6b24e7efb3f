//! Draws token by token.

use std::cell::RefCell;

use quadrivium::autoregressive::transformer::TransformerDecoder;
use quadrivium::model::{Decoder, Sequences};
use quadrivium::ndarray::ArrayView1;
use quadrivium::prelude::*;
use quadrivium::worlds::MarkovChain;
use quadrivium::{OptimizerConfig, Token, Transformer, TransformerConfig, Truncation, seeded};

use crate::claim::{Bound, Estimate, Finding};
use crate::clock::{self, Work};
use crate::lab::{Lab, Outcome, SEEDS};
use crate::statistics;

/// Tokens of a row up to its end, the end included.
fn pieces<'a>(row: impl IntoIterator<Item = &'a Token>, len: usize) -> usize {
    let text = row.into_iter().take_while(|&&token| token != Token::END).count();
    (text + 1).min(len)
}

pub fn passes(_: &Lab) -> Outcome<Finding> {
    let (mut tokens_differ, mut columns_differ) = (0, 0);
    for len in 1..=256 {
        let config =
            TransformerConfig { vocabulary: 1000, len, width: 4, heads: 1, blocks: 1, ..Default::default() };
        let drawn =
            Transformer::new(config, &mut seeded(0))?.sample(1, &Default::default(), &mut seeded(1))?;
        tokens_differ += usize::from(drawn.nfe != pieces(&drawn.x, len));
    }
    for dim in [1, 2, 4, 8, 16, 32, 64] {
        let model = Autoregressive::new(AutoregressiveConfig { dim, ..Default::default() }, &mut seeded(0))?;
        columns_differ += usize::from(model.sample(1, &SampleOptions::default(), &mut seeded(1))?.nfe != dim);
    }
    let none = Bound::Within(0.0, 0.0);
    Ok(Finding::new()
        .claim(
            "of 256 lengths, those whose passes are not their tokens",
            Estimate::exact(f64::from(tokens_differ as u32)),
            none,
        )
        .claim(
            "of 7 widths of rows, those whose passes are not their columns",
            Estimate::exact(f64::from(columns_differ as u32)),
            none,
        ))
}

/// Untrained, with room for `len` tokens.
fn transformer(width: usize, len: usize) -> Result<Transformer> {
    let config = TransformerConfig { vocabulary: 64, len, width, blocks: 1, ..Default::default() };
    Transformer::new(config, &mut seeded(0))
}

/// Feeds tokens `from` to `to`.
fn feed(decoder: &mut impl Decoder, from: usize, to: usize) {
    for place in from..to {
        decoder.push(&[if place == 0 { Token::END } else { Token(place as u32 % 61) }]);
    }
}

/// Attention over p tokens costs 4·width·p operations per block, and all else about 24·width², so it takes over at
/// 6 widths. The claim is held to lengths up to one width; to be without limits it has to hold beyond.
pub fn length(_: &Lab) -> Outcome<Finding> {
    let cached = |width, lengths: &[usize]| {
        growth(width, lengths, |model, len| {
            feed(&mut model.decoder(1), 0, len);
            Ok(())
        })
    };
    let uncached = growth(64, &[32, 64, 128], |model, len| {
        let tokens: Vec<Token> = (0..len as u32).map(|place| Token(place % 61)).collect();
        Ok((0..len).try_for_each(|place| model.logits(&tokens[..place]).map(drop))?)
    })?;
    let linear = Bound::Within(0.95, 1.05);
    Ok(Finding::new()
        .claim("exponent with a cache, 16 to 256 tokens, 256 wide", cached(256, &[16, 64, 256])?, linear)
        .limit("exponent with a cache, 64 to 1024 tokens, 64 wide", cached(64, &[64, 256, 1024])?, linear)
        .beside("exponent without a cache", uncached)
        .because(
            "Every token attends to all tokens before it. Next to the rest of the network that is little as long as a text \
             has fewer tokens than the network has columns, and it bends the line upward beyond. Without the cache every \
             token costs a pass over all tokens before it, so the time grows faster still.",
        ))
}

fn growth(
    width: usize,
    lengths: &[usize],
    work: impl Fn(&Transformer, usize) -> Outcome<()>,
) -> Outcome<Estimate> {
    let models: Vec<Transformer> =
        lengths.iter().map(|&len| transformer(width, len)).collect::<Result<_>>()?;
    let (work, longest) = (&work, lengths[lengths.len() - 1]);
    let works: Vec<Work> = models
        .iter()
        .zip(lengths)
        .map(|(model, &len)| Work::new(longest / len, move || work(model, len)))
        .collect();
    clock::growth(&lengths.iter().map(|&len| len as f64).collect::<Vec<_>>(), &works)
}

pub fn prefix(_: &Lab) -> Outcome<Finding> {
    // Each time is that of some more tokens behind a prefix.
    const MORE: usize = 16;
    const WIDTH: usize = 128;
    let prefixes = [1, 64, 256, 512, 1024];
    let model = transformer(WIDTH, prefixes[4] + MORE)?;
    let decoders: Vec<_> = prefixes
        .iter()
        .map(|&prefix| {
            let mut decoder = model.decoder(1);
            feed(&mut decoder, 0, prefix);
            RefCell::new(decoder)
        })
        .collect();
    let work = |(decoder, &prefix)| {
        let decoder: &RefCell<TransformerDecoder> = decoder;
        Work::new(1, move || {
            let decoder = &mut *decoder.borrow_mut();
            decoder.rewind(prefix);
            feed(decoder, prefix, prefix + MORE);
            Ok(())
        })
    };
    let works: Vec<Work> = decoders.iter().zip(&prefixes).map(work).collect();
    let later = |place: usize| clock::figure(&works, move |seconds| seconds[place] / seconds[0]);
    let x = prefixes.map(|prefix| (prefix + MORE / 2) as f64);
    let doubled = |seconds: &[f64]| {
        let slope = statistics::slope(&x, seconds).mean;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        (mean(seconds) / slope - mean(&x)) / WIDTH as f64
    };
    Ok(Finding::new()
        .claim("time of a token behind 64 over behind 1", later(1)?, Bound::AtMost(1.15))
        .limit("behind 1024 over behind 1", later(4)?, Bound::AtMost(1.15))
        .beside(
            "prefix that doubles the cost, in widths of the network (6 by operations)",
            clock::figure(&works, doubled)?,
        )
        .because(
            "A token attends to all tokens before it, so its cost grows with their number. By operations that growth is as \
             much as the rest of the network at six times its width; on the clock it is where the figure says.",
        ))
}

/// A chain of order 2 over five symbols, a transformer that has learned it, and a bigram that guesses ahead.
pub fn at_once(lab: &Lab) -> Outcome<Finding> {
    let runs = lab.each(|seed| {
        let (streams, len) = (lab.streams(seed), 64);
        let chain = MarkovChain::random(5, 2, len, &mut streams.stream(20))?;
        let data = Dataset::new(chain.draw(5_000, &mut streams.stream(21))?)?;
        let optimizer = OptimizerConfig { lr: 5e-3, ..TransformerConfig::default().optimizer };
        let config = TransformerConfig { vocabulary: 5, len, width: 32, heads: 2, blocks: 1, optimizer };
        let mut model = Transformer::new(config, &mut streams.stream(22))?;
        let options = TrainOptions { steps: 200, batch: 32, ..Default::default() };
        model.train(&data, &options, &mut streams.stream(23), &mut NoObserver)?;
        let mut draft = NGram::new(NGramConfig { vocabulary: 5, context: 1, max_len: len })?;
        draft.fit(&data, &mut streams.stream(24))?;

        let (greedy, mut tokens, mut passes, mut differ) =
            (model.with_truncation(Truncation::GREEDY)?, 0, 0, 0);
        for first in (0..5).map(Token) {
            let one_by_one = greedy.given(&Condition::tokens(&[first]))?.draw(1, &mut seeded(0))?;
            let (at_once, needed) = speculate(&model, &draft, first)?;
            tokens += pieces(&one_by_one, len - 1);
            passes += needed;
            differ += one_by_one.iter().zip(&at_once).filter(|(a, b)| a != b).count();
        }
        Ok((passes as f64 / tokens as f64, differ))
    })?;
    let per_token: Vec<f64> = runs.iter().map(|run| run.0).collect();
    let differ: usize = runs.iter().map(|run| run.1).sum();
    Ok(Finding::new()
        .claim(
            format!("tokens that differ, {} texts", 5 * SEEDS),
            Estimate::exact(differ as f64),
            Bound::Within(0.0, 0.0),
        )
        .claim("passes per token", statistics::mean(&per_token), Bound::AtMost(0.7))
        .beside("passes per token, one by one", Estimate::exact(1.0))
        .because("How many tokens one pass settles depends on how often the guesses are right."))
}

/// Tokens that are guessed before a pass of the model checks them.
const AHEAD: usize = 4;

/// The most probable tokens behind `first`, one at each place, and the passes that it took: a draft guesses a few tokens
/// ahead, and one pass of the model says up to where they are its own choice, and what it chooses there (Leviathan et
/// al. 2023).
fn speculate(model: &Transformer, draft: &NGram, first: Token) -> Outcome<(Vec<Token>, usize)> {
    let (len, draft) = (model.config().len, draft.with_truncation(Truncation::GREEDY)?);
    let (mut row, mut passes) = (vec![first], 0);
    while row.len() < len && row.last() != Some(&Token::END) {
        let known = row.len();
        let rest = draft.given(&Condition::tokens(&row))?.draw(1, &mut seeded(0))?;
        let most = AHEAD.min(len - known - 1);
        let guesses: Vec<Token> =
            rest.iter().copied().take_while(|&token| token != Token::END).take(most).collect();
        // Row i holds what follows the first i tokens.
        let logits = model.logits(&[&row[..], &guesses].concat())?;
        passes += 1;
        for ahead in 0..=guesses.len() {
            let next = most_probable(logits.row(known + ahead));
            row.push(next);
            if guesses.get(ahead) != Some(&next) {
                break;
            }
        }
    }
    row.resize(len, Token::END);
    Ok((row.split_off(1), passes))
}

fn most_probable(logits: ArrayView1<f32>) -> Token {
    let end = logits.len() - 1;
    let best = (0..=end).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(end);
    if best == end { Token::END } else { Token(best as u32) }
}

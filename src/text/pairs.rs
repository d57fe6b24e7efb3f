//! Byte-pair encoding.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::error::{Error, Result, check};
use crate::model::Token;

/// Bytes of the longest word, and so of the longest token.
const LONGEST: usize = 64;

/// Tokens before the first merge.
const BYTES: usize = 256;

type Pair = (u32, u32);

/// The merges of byte-pair encoding: the k-th joins two tokens to the token 256 + k.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pairs {
    merges: Vec<Pair>,
    /// The token that a pair becomes.
    joined: HashMap<Pair, u32>,
    /// What each token stands for.
    bytes: Vec<Vec<u8>>,
}

impl Pairs {
    /// # Errors
    /// [`Error::Config`] for too many merges, and for one of unknown tokens, of the same tokens as another, or that
    /// makes a token longer than a word.
    pub fn of(merges: Vec<Pair>) -> Result<Self> {
        check_count(merges.len())?;
        let mut bytes: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
        let mut joined = HashMap::new();
        for &(left, right) in &merges {
            let wrong = || {
                Error::config(
                    "merges",
                    (left, right),
                    "pairs of earlier tokens, each once, of at most 64 bytes",
                )
            };
            let part = |token: u32| bytes.get(token as usize).ok_or_else(wrong);
            let both = [&part(left)?[..], part(right)?].concat();
            let new = bytes.len() as u32;
            if both.len() > LONGEST || joined.insert((left, right), new).is_some() {
                return Err(wrong());
            }
            bytes.push(both);
        }
        Ok(Pairs { merges, joined, bytes })
    }

    /// # Errors
    /// [`Error::Config`] for too many merges.
    pub fn train(text: &[u8], merges: usize) -> Result<Self> {
        check_count(merges)?;
        let mut counts: BTreeMap<&[u8], i64> = BTreeMap::new();
        words(text).for_each(|word| *counts.entry(word).or_default() += 1);
        let mut words: Vec<(Vec<u32>, i64)> =
            counts.into_iter().map(|(word, n)| (word.iter().map(|&byte| byte.into()).collect(), n)).collect();
        // How often each pair occurs, and in which words, some of which may have lost it since.
        let mut pairs: HashMap<Pair, (i64, BTreeSet<usize>)> = HashMap::new();
        for (w, (word, n)) in words.iter().enumerate() {
            note(&mut pairs, word, w, *n);
        }
        let mut found = Vec::new();
        while found.len() < merges {
            // Of equally frequent pairs the one of the lowest tokens.
            let best = pairs.iter().max_by_key(|(pair, (n, _))| (*n, Reverse(**pair)));
            let Some((&pair, (2.., _))) = best else { break };
            let (_, places) = pairs.remove(&pair).unwrap_or_default();
            let new = (BYTES + found.len()) as u32;
            found.push(pair);
            for w in places {
                let (word, n) = &mut words[w];
                note(&mut pairs, word, w, -*n);
                join(word, pair, new);
                note(&mut pairs, word, w, *n);
            }
            pairs.remove(&pair);
        }
        Pairs::of(found)
    }

    #[cfg(feature = "safetensors")]
    pub fn merges(&self) -> &[Pair] {
        &self.merges
    }

    pub fn vocabulary(&self) -> usize {
        self.bytes.len()
    }

    /// What a known token stands for.
    pub fn bytes(&self, token: Token) -> &[u8] {
        &self.bytes[token.0 as usize]
    }

    /// In each word, the merge that was learned first is done first.
    pub fn encode(&self, text: &[u8]) -> Vec<Token> {
        let mut known: HashMap<&[u8], Vec<Token>> = HashMap::new();
        let mut tokens = Vec::new();
        for word in words(text) {
            tokens.extend_from_slice(known.entry(word).or_insert_with(|| self.encode_word(word)));
        }
        tokens
    }

    fn encode_word(&self, word: &[u8]) -> Vec<Token> {
        let mut tokens: Vec<u32> = word.iter().map(|&byte| byte.into()).collect();
        let first = |tokens: &[u32]| {
            tokens.windows(2).filter_map(|pair| self.joined.get(&(pair[0], pair[1])).copied()).min()
        };
        while let Some(new) = first(&tokens) {
            join(&mut tokens, self.merges[new as usize - BYTES], new);
        }
        tokens.into_iter().map(Token).collect()
    }
}

fn check_count(merges: usize) -> Result<()> {
    check(merges <= 65_536 - BYTES, "merges", merges, "at most 65,280")
}

/// What stands between blanks, with the blanks before it, in parts of at most [`LONGEST`] bytes.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let begins = |before: &u8, byte: &u8| before.is_ascii_whitespace() || !byte.is_ascii_whitespace();
    text.chunk_by(begins).flat_map(|word| word.chunks(LONGEST))
}

/// Adds `n` to the counts of the pairs in a word.
fn note(pairs: &mut HashMap<Pair, (i64, BTreeSet<usize>)>, word: &[u32], w: usize, n: i64) {
    for pair in word.windows(2) {
        let (count, places) = pairs.entry((pair[0], pair[1])).or_default();
        *count += n;
        places.insert(w);
    }
}

/// Replaces each occurrence of a pair, from the left, by one token.
fn join(tokens: &mut Vec<u32>, (left, right): Pair, new: u32) {
    let (mut from, mut to) = (0, 0);
    while from < tokens.len() {
        let both = tokens[from] == left && tokens.get(from + 1) == Some(&right);
        tokens[to] = if both { new } else { tokens[from] };
        from += 1 + usize::from(both);
        to += 1;
    }
    tokens.truncate(to);
}

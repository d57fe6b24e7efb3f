//! How a text speaks of what it names: of the system itself, of another one, of an earlier version, or to deny it.

use super::rules::{Match, Reach, Rules, Sign, Tone};
use super::text::{Break, Word};

/// The most words that a cue reaches.
const FAR: usize = 14;
/// The most words of an item that continues a list, and of its last two: "no critic, no encoder or chain".
const ITEM: usize = 3;
const LAST_ITEMS: usize = 8;

/// The tone of each word, by the cues of the text. Work is at most [`FAR`] words for each cue.
pub fn tones(words: &[Word], matches: &[Match], rules: &Rules) -> Vec<Tone> {
    let mut tones = vec![Tone::Asserted; words.len()];
    let clauses = clauses(words);
    for found in matches {
        for sign in &rules.rule(found.rule).signs {
            let Sign::Cue(tone, reach) = *sign else { continue };
            let (Some(&first), Some(&last)) = (found.words.first(), found.words.last()) else { continue };
            let explains = tone == Tone::Other && words[first].before == Break::None;
            let range = match reach {
                Reach::Ahead => last + 1..ahead(words, last + 1, explains),
                Reach::Clause => first..ahead(words, last + 1, explains),
                Reach::Behind => clauses[first].max(first.saturating_sub(FAR))..first,
                Reach::WordBefore => first.saturating_sub(1)..first,
                Reach::WordAfter => last + 1..words.len().min(last + 2),
            };
            tones[range].iter_mut().for_each(|word| *word = (*word).max(tone));
        }
    }
    tones
}

/// For each word, the first of its clause.
fn clauses(words: &[Word]) -> Vec<usize> {
    let mut start = 0;
    let starts = words.iter().enumerate().map(|(at, word)| {
        if word.before > Break::None {
            start = at;
        }
        start
    });
    starts.collect()
}

/// Where the reach of a cue ends that stands before the word `from`: at the clause's end or at a word that begins
/// another thought, but not at the commas of a list, before a relative clause, or at what explains a name: "beats Glow
/// (a flow)", "beats Glow, a flow". It does not do so behind a cue that leads its clause: "Unlike Glow, a diffusion …".
fn ahead(words: &[Word], from: usize, explains: bool) -> usize {
    let mut at = from;
    let mut relative = false;
    // Behind a parenthesis, the sentence goes on.
    let mut resumes = None;
    while let Some(word) = words.get(at) {
        let explained = (at > from && explains).then(|| explanation(words, at)).flatten();
        let separated = match word.before {
            Break::None => false,
            Break::Comma if at > from && continues(words, at) => {
                relative = is_one_of(word, &RELATIVE);
                false
            }
            Break::Comma | Break::Clause if explained.is_some() => {
                resumes = explained;
                false
            }
            Break::Comma | Break::Clause if resumes == Some(at) => word.before == Break::Comma,
            Break::Comma | Break::Clause | Break::Sentence => true,
        };
        if separated || at - from >= FAR || (!relative && is_one_of(word, &STOPS)) {
            break;
        }
        at += 1;
    }
    at
}

/// Where the sentence goes on if the words from here on explain the name before them: an article and some words without
/// a verb, up to the next break.
fn explanation(words: &[Word], at: usize) -> Option<usize> {
    let explains = words[at].before > Break::None && is_one_of(&words[at], &ARTICLES);
    let length =
        1 + words[at..].iter().skip(1).take_while(|word| word.before == Break::None).take(LAST_ITEMS).count();
    let verb = words[at..].iter().take(length).any(|word| is_one_of(word, &STOPS));
    let end = at + length;
    (explains && !verb && words.get(end).is_none_or(|word| word.before > Break::None)).then_some(end)
}

// Both in the form by which words are compared.
const ARTICLES: [&str; 3] = ["a", "an", "another"];
const RELATIVE: [&str; 5] = ["which", "whose", "that", "who", "as"];
/// Words that begin another thought.
const STOPS: [&str; 21] = [
    "but", "while", "although", "though", "so", "because", "since", "we", "our", "it", "is", "are", "was",
    "were", "by", "has", "have", "they", "wherea", "yet", "with",
];

fn is_one_of(word: &Word, forms: &[&str]) -> bool {
    forms.contains(&word.form.as_str())
}

/// Whether the comma before this word is one of a list, or introduces a relative clause.
fn continues(words: &[Word], at: usize) -> bool {
    let first = &words[at];
    if is_one_of(first, &RELATIVE) {
        return true;
    }
    let item =
        words[at..].iter().skip(1).take_while(|word| word.before == Break::None).take(LAST_ITEMS).count() + 1;
    let joined = is_one_of(first, &["and", "or", "nor"]);
    let next = words.get(at + item);
    let goes_on = next.is_some_and(|word| word.before == Break::Comma);
    let ends_in_a_pair = words[at..].iter().take(item).any(|word| is_one_of(word, &["and", "or", "nor"]));
    let verb = words[at..].iter().take(item).any(|word| is_one_of(word, &STOPS));
    !verb && ((joined || ends_in_a_pair) && item <= LAST_ITEMS || goes_on && item <= ITEM)
}

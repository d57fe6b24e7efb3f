//! The rules: what a pattern of words is evidence for, as a table that can be read and extended.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use super::text::Word;
use super::{Aim, Claim, Outside, Procedure, Stage};
use crate::map::{LikelihoodKind, Paradigm};

/// The table that [`read`](super::read) uses, `src/map/read/rules.txt`.
const TABLE: &str = include_str!("rules.txt");

static STANDARD: LazyLock<Rules> = LazyLock::new(|| match TABLE.parse() {
    Ok(rules) => rules,
    // The table is a part of the program, and a test parses it.
    Err(error) => unreachable!("rules.txt: {error}"),
});

/// What the words of a pattern are evidence for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sign {
    /// A component of this paradigm: its name, its objective, or how it samples.
    Component {
        /// Of which the pattern speaks.
        paradigm: Paradigm,
        /// What is minimized, if the pattern says so.
        aim: Option<Aim>,
        /// How it is sampled, if the pattern says so.
        procedure: Option<Procedure>,
        /// An encoder and a decoder, which are a generative model only together with a prior.
        codec: bool,
        /// Guidance, which doubles the evaluations.
        guidance: bool,
    },
    /// A reason why there is no generative model of the map.
    Outside(Outside),
    /// A claim that needs a second look.
    Claim(Claim),
    /// A stage of training.
    Stage(Stage),
    /// What the samples are conditioned on.
    Condition(&'static str),
    /// A statement about the likelihood.
    Likelihood(LikelihoodKind),
    /// The pattern's number is one of denoising steps.
    Steps,
    /// The pattern's number is one of elements that are drawn one after the other.
    Tokens,
    /// A solver that evaluates the network twice in each step.
    TwoEvaluations,
    /// Guidance that was distilled into the network, so that it costs no second evaluation.
    GuidanceInOnePass,
    /// Samples are clips: a step costs what all frames cost.
    Clips,
    /// Words that look like evidence and are none.
    Nothing,
    /// Words that change what other words are evidence for.
    Cue(Tone, Reach),
}

/// How a text speaks of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tone {
    /// It says that the system is so.
    Asserted,
    /// It says something about a whole class of models, which begins a sentence ("GANs are …").
    General,
    /// It speaks of another system.
    Other,
    /// It speaks of an earlier version.
    Past,
    /// It denies it.
    Denied,
}

impl fmt::Display for Tone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Tone::Asserted => "said of the system",
            Tone::General => "said of a class of models",
            Tone::Other => "said of another system",
            Tone::Past => "said of an earlier version",
            Tone::Denied => "denied",
        })
    }
}

/// Which words a cue changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Those that follow, to the end of the clause.
    Ahead,
    /// Those before, from the start of the clause.
    Behind,
    /// The cue itself, and what follows to the end of the clause.
    Clause,
    /// One word before.
    WordBefore,
    /// One word behind.
    WordAfter,
}

/// One rule of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The words, as they stand in the table.
    pub pattern: String,
    /// What they are evidence for.
    pub signs: Vec<Sign>,
    /// How strongly: a component needs a sum of 1.
    pub weight: f64,
    /// Where this is from.
    pub source: Arc<str>,
}

/// Why a table of rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the rules: {problem}: {found:?}")]
pub struct RuleError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: &'static str,
    /// With what.
    pub found: String,
}

/// Rules as data: a table of lines `pattern | evidence | weight`, with the source of a group of lines after `@`
/// above it, and comments after `//` at the start of a line.
///
/// **Patterns** are words, compared without regard to case, plural, hyphens, line breaks, and -ise or -ize.
/// `denois*` is any word that begins so, `(a / b c)` one of several, `[a / b]` one of several or nothing, `…` or
/// `...` up to five words of the same sentence, `#` a number or a range. Where one match contains another, the
/// longer one counts: "masked language model" is no language model.
///
/// **Evidence** is, by commas if there are several:
///
/// | evidence | for |
/// | --- | --- |
/// | `diffusion` | a component of this paradigm |
/// | `diffusion = noise MSE` | the same, and its objective, an [`Aim`] |
/// | `diffusion ~ multi-step` | the same, and how it is sampled, a [`Procedure`] |
/// | `diffusion guidance` | the same, guided |
/// | `latent-variable codec` | an encoder and decoder |
/// | `outside = classifier` | no generative model, a reason of [`Outside`] |
/// | `claim = one step` | a [`Claim`] |
/// | `stage = fine-tuning` | a [`Stage`] of what the sentence speaks of |
/// | `condition = text` | what samples are conditioned on |
/// | `likelihood = ODE estimate` | what is said of the likelihood |
/// | `steps`, `tokens` | the number that the pattern has |
/// | `two evaluations a step`, `guidance in one pass`, `clips` | what changes the number of evaluations, or their cost |
/// | `nothing` | hides shorter matches |
/// | `not ahead`, `other behind`, `past clause`, … | a cue: what follows, precedes, … is denied, said of another system, of an earlier version |
///
/// **Weights** add up over the different rules that a text meets; a component needs 1.
///
/// ```
/// use quadrivium::map::read::Rules;
/// let own: Rules = "@ Our own papers\nfrobnicator | adversarial = hinge | 1".parse().unwrap();
/// let rules = Rules::standard().extended(own);
/// let reading = rules.read("Version 3 has a larger Frobnicator.");
/// assert_eq!(reading.components[0].paradigm.to_string(), "adversarial");
/// assert_eq!("frobnicator | adverserial | 1".parse::<Rules>().unwrap_err().line, 1);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: Vec<Arc<Rule>>,
    /// Patterns without alternatives, with the number of their rule.
    sequences: Vec<(Vec<Element>, usize)>,
    /// The sequences that begin with this word, or with a word that begins with these three letters.
    by_word: HashMap<String, Vec<usize>>,
    by_start: HashMap<String, Vec<usize>>,
    by_number: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Element {
    Word(String),
    /// A word that begins so.
    Start(String),
    Number,
    /// Up to [`GAP`] words of the same sentence.
    Gap,
}

/// The most words that `...` stands for.
const GAP: usize = 5;
/// The letters by which prefixes are found.
pub const START: usize = 3;
/// Where a rule is met.
#[derive(Debug, Clone)]
pub struct Match {
    pub rule: usize,
    /// The words of the text, without those of gaps; ascending.
    pub words: Vec<usize>,
    /// The pattern's number, from–to.
    pub number: Option<(f64, f64)>,
}

impl Match {
    /// Whether no other word stands between its words.
    pub fn is_consecutive(&self) -> bool {
        self.words.windows(2).all(|pair| pair[1] == pair[0] + 1)
    }
}

impl Rules {
    /// The table of the crate.
    pub fn standard() -> &'static Rules {
        &STANDARD
    }

    /// The rules, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(Arc::as_ref)
    }

    /// These rules and others.
    pub fn extended(&self, others: Rules) -> Rules {
        let mut all = self.clone();
        let Rules { rules, sequences, .. } = others;
        let first = all.rules.len();
        all.rules.extend(rules);
        sequences.into_iter().for_each(|(elements, rule)| all.add(elements, first + rule));
        all
    }

    pub(super) fn rule(&self, at: usize) -> &Arc<Rule> {
        &self.rules[at]
    }

    /// Adds a rule with the sequences that its pattern stands for.
    pub(super) fn push(&mut self, rule: Rule, sequences: Vec<Vec<Element>>) {
        let number = self.rules.len();
        self.rules.push(Arc::new(rule));
        sequences.into_iter().for_each(|elements| self.add(elements, number));
    }

    fn add(&mut self, elements: Vec<Element>, rule: usize) {
        let at = self.sequences.len();
        match &elements[0] {
            Element::Word(word) => self.by_word.entry(word.clone()).or_default().push(at),
            Element::Start(start) => {
                let letters = start.chars().take(START).collect();
                self.by_start.entry(letters).or_default().push(at);
            }
            Element::Number | Element::Gap => self.by_number.push(at),
        }
        self.sequences.push((elements, rule));
    }

    /// All places where a rule is met, in the order of their first words, and the number of words that were
    /// compared to find them, which is at most a constant of the table times the number of words.
    pub(super) fn matches(&self, words: &[Word]) -> (Vec<Match>, usize) {
        let (mut found, mut compared) = (Vec::new(), 0);
        for (at, word) in words.iter().enumerate() {
            let start: String = word.form.chars().take(START).collect();
            let candidates = [
                self.by_word.get(&word.form).map_or(&[][..], Vec::as_slice),
                self.by_start.get(&start).map_or(&[][..], Vec::as_slice),
                if word.number.is_some() { &self.by_number } else { &[] },
            ];
            let first = found.len();
            for &sequence in candidates.into_iter().flatten() {
                let (elements, rule) = &self.sequences[sequence];
                let mut candidate = Match { rule: *rule, words: Vec::new(), number: None };
                if follow(elements, words, at, &mut candidate, &mut compared) {
                    // A pattern that has several forms is met once, by the longest.
                    match found[first..].iter_mut().find(|other: &&mut Match| other.rule == candidate.rule) {
                        Some(other) if other.words.len() < candidate.words.len() => *other = candidate,
                        Some(_) => (),
                        None => found.push(candidate),
                    }
                }
            }
        }
        (found, compared)
    }
}

/// Whether the elements are met from the word `at` on; notes the words and the number.
fn follow(elements: &[Element], words: &[Word], at: usize, found: &mut Match, compared: &mut usize) -> bool {
    use super::text::Break::Sentence;
    let Some((element, rest)) = elements.split_first() else { return true };
    *compared += 1;
    if let Element::Gap = element {
        return (0..=GAP)
            .map_while(|more| {
                // A gap ends where the sentence does.
                let inside =
                    (at..=at + more).all(|word| words.get(word).is_some_and(|word| word.before < Sentence));
                inside.then_some(at + more)
            })
            .any(|next| follow(rest, words, next, found, compared));
    }
    let Some(word) = words.get(at) else { return false };
    if !found.words.is_empty() && word.before == Sentence {
        return false;
    }
    let mut used = 1;
    let met = match element {
        Element::Word(form) => word.form == *form,
        Element::Start(start) => word.form.starts_with(start.as_str()),
        Element::Number => {
            if let Some(low) = word.number {
                let high = |at: usize| {
                    words.get(at).filter(|word| word.before < Sentence).and_then(|word| word.number)
                };
                let is_to = words.get(at + 1).is_some_and(|word| matches!(word.form.as_str(), "to" | "or"));
                let range = match high(at + 1).filter(|_| words[at + 1].joined) {
                    Some(high) => Some((high, 2)),
                    None => high(at + 2).filter(|_| is_to).map(|high| (high, 3)),
                };
                let (high, words) = range.filter(|(high, _)| *high > low).unwrap_or((low, 1));
                found.number = Some((low, high));
                used = words;
            }
            word.number.is_some()
        }
        Element::Gap => false,
    };
    if !met {
        return false;
    }
    let (kept, number) = (found.words.len(), found.number);
    found.words.extend(at..at + used);
    if follow(rest, words, at + used, found, compared) {
        return true;
    }
    // A gap before it may try another place.
    found.words.truncate(kept);
    found.number = number;
    false
}

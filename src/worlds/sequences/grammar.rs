use super::{card, entropy};
use crate::error::{Error, Result, check};
use crate::map::Card;
use crate::model::{NextToken, Token};

/// A rule of a [`Grammar`]: with probability p, a part of a sentence is the token `first` and the parts `then`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its probability among the rules of its part.
    pub p: f64,
    /// The token that it begins with.
    pub first: Token,
    /// The parts that follow, by their numbers.
    pub then: Vec<usize>,
}

/// Sentences of a probabilistic context-free grammar, whose rules begin with a token: the parts that are still to come
/// are a stack, and each token says which rule was used, so the probability of a sentence is a product.
///
/// Nested clauses make it more than a Markov chain: what agrees with a noun may stand any number of words after it.
///
/// ```
/// use quadrivium::{Distribution, worlds::Grammar};
///
/// let english = Grammar::english(60)?;
/// let x = english.draw(4_000, &mut quadrivium::seeded(0))?;
/// let score = english.log_likelihood(x.view(), &Default::default())?;
/// let nats = -score.nats().unwrap().mean().unwrap();
/// assert!((nats - english.entropy()).abs() < 0.15, "{nats} {}", english.entropy());
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Grammar {
    /// The rules of each part, of which the first is the sentence.
    parts: Vec<Vec<Rule>>,
    /// How often each part occurs in a sentence, in the mean.
    expected: Vec<f64>,
    vocabulary: usize,
    max_len: usize,
}

/// The words of [`Grammar::english`], in the order of their tokens.
pub(super) const WORDS: [&str; 16] = [
    "a", "some", "old", "cat", "dog", "fox", "cats", "dogs", "foxes", "sleeps", "sees", "thinks", "sleep",
    "see", "think", "that",
];

impl Grammar {
    /// The rules of each part, of which the first is the sentence, over `vocabulary` symbols. Rows of `max_len` tokens:
    /// a longer sentence is cut.
    ///
    /// # Errors
    /// [`Error::Config`] for no parts, two rules of a part that begin with the same token, probabilities that are not
    /// positive or do not sum to 1, tokens or parts that do not exist, sentences that grow without end in the mean, or a
    /// `max_len` of 0.
    pub fn new(parts: Vec<Vec<Rule>>, vocabulary: usize, max_len: usize) -> Result<Self> {
        check(max_len >= 1, "max_len", max_len, "at least 1")?;
        check(!parts.is_empty(), "parts", 0, "at least 1")?;
        for rules in &parts {
            let sum: f64 = rules.iter().map(|rule| rule.p).sum();
            let shares = rules.iter().all(|rule| rule.p > 0.0) && (sum - 1.0).abs() < 1e-9;
            check(shares, "rules", rules, "positive probabilities that sum to 1")?;
            let known = |rule: &Rule| {
                (rule.first.0 as usize) < vocabulary && rule.then.iter().all(|&part| part < parts.len())
            };
            check(rules.iter().all(known), "rules", rules, "tokens and parts that exist")?;
            let mut firsts: Vec<Token> = rules.iter().map(|rule| rule.first).collect();
            firsts.sort_unstable();
            firsts.dedup();
            check(firsts.len() == rules.len(), "rules", rules, "a different first token in each")?;
        }
        let expected = expected(&parts)
            .ok_or_else(|| Error::config("rules", &parts, "sentences that end, of a finite mean length"))?;
        Ok(Grammar { parts, expected, vocabulary, max_len })
    }

    /// A little English, whose verbs agree with their nouns: "some old cats that see a fox sleep".
    ///
    /// # Errors
    /// [`Error::Config`] for a `max_len` of 0.
    pub fn english(max_len: usize) -> Result<Self> {
        const SENTENCE: usize = 0;
        const ONE: usize = 1; // a noun in the singular
        const MANY: usize = 2; // a noun in the plural
        const OBJECT: usize = 3;
        const ONE_DOES: usize = 4; // what follows a noun in the singular
        const MANY_DO: usize = 5;
        const ONE_VERB: usize = 6; // what a clause says of it
        const MANY_VERB: usize = 7;
        let rule = |p, word: &str, then: &[usize]| {
            let first = WORDS.iter().position(|known| *known == word).expect("one of the words");
            Rule { p, first: Token(first as u32), then: then.to_vec() }
        };
        let parts = vec![
            vec![rule(0.6, "a", &[ONE, ONE_DOES]), rule(0.4, "some", &[MANY, MANY_DO])],
            vec![
                rule(0.2, "old", &[ONE]),
                rule(0.4, "cat", &[]),
                rule(0.3, "dog", &[]),
                rule(0.1, "fox", &[]),
            ],
            vec![
                rule(0.2, "old", &[MANY]),
                rule(0.3, "cats", &[]),
                rule(0.3, "dogs", &[]),
                rule(0.2, "foxes", &[]),
            ],
            vec![rule(0.7, "a", &[ONE]), rule(0.3, "some", &[MANY])],
            vec![
                rule(0.4, "sleeps", &[]),
                rule(0.3, "sees", &[OBJECT]),
                rule(0.1, "thinks", &[SENTENCE]),
                rule(0.2, "that", &[ONE_VERB, ONE_DOES]),
            ],
            vec![
                rule(0.4, "sleep", &[]),
                rule(0.3, "see", &[OBJECT]),
                rule(0.1, "think", &[SENTENCE]),
                rule(0.2, "that", &[MANY_VERB, MANY_DO]),
            ],
            vec![rule(0.3, "sleeps", &[]), rule(0.7, "sees", &[OBJECT])],
            vec![rule(0.3, "sleep", &[]), rule(0.7, "see", &[OBJECT])],
        ];
        Grammar::new(parts, WORDS.len(), max_len)
    }

    /// The words of [`english`](Grammar::english) for its tokens, up to the first END; other numbers are left out.
    pub fn english_text(tokens: &[Token]) -> String {
        let words = tokens.iter().take_while(|&&token| token != Token::END);
        words.filter_map(|token| WORDS.get(token.0 as usize).copied()).collect::<Vec<_>>().join(" ")
    }

    /// The entropy of a sentence, in nats: Σ over the parts of how often each occurs, times the entropy of its rules.
    /// That of a row is lower by what the sentences longer than a row would add.
    pub fn entropy(&self) -> f64 {
        let parts = self.expected.iter().zip(&self.parts);
        parts.map(|(often, rules)| often * entropy(rules.iter().map(|rule| rule.p))).sum()
    }

    /// The mean number of tokens of a sentence, without END: each rule begins with one.
    pub fn mean_len(&self) -> f64 {
        self.expected.iter().sum()
    }

    /// The parts that are still to come after some tokens, the next one last; `None` if no sentence begins so.
    fn to_come(&self, tokens: &[Token]) -> Option<Vec<usize>> {
        let mut stack = vec![0];
        for token in tokens {
            let rule = self.parts[stack.pop()?].iter().find(|rule| rule.first == *token)?;
            stack.extend(rule.then.iter().rev());
        }
        Some(stack)
    }
}

/// How often each part occurs in a sentence: the limit of e ← (1, 0, …) + Mᵀe, M the mean number of parts that a part
/// brings forth. `None` if there is none.
fn expected(parts: &[Vec<Rule>]) -> Option<Vec<f64>> {
    let mut often = vec![0.0; parts.len()];
    for _ in 0..100_000 {
        let mut next = vec![0.0; parts.len()];
        next[0] = 1.0;
        for (rules, often) in parts.iter().zip(&often) {
            for rule in rules {
                rule.then.iter().for_each(|&part| next[part] += often * rule.p);
            }
        }
        let change: f64 = next.iter().zip(&often).map(|(a, b)| (a - b).abs()).sum();
        let size: f64 = next.iter().sum();
        often = next;
        if !size.is_finite() {
            return None;
        }
        if change <= 1e-13 * size {
            return Some(often);
        }
    }
    None
}

impl NextToken for Grammar {
    fn place(&self) -> Card {
        card("grammar", self.max_len)
    }

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn max_len(&self) -> usize {
        self.max_len
    }

    fn predict(&self, tokens: &[Token], p: &mut [f64]) {
        p.fill(0.0);
        match self.to_come(tokens).as_deref() {
            None => {}
            Some([]) => p[self.vocabulary] = 1.0,
            Some([.., next]) => {
                self.parts[*next].iter().for_each(|rule| p[rule.first.0 as usize] = rule.p);
            }
        }
    }
}

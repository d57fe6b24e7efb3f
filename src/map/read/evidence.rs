//! What the rules found, weighed: which matches count, how the text speaks of each, and what is said for each
//! paradigm.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Evidence;
use super::rules::{Match, Rules, Sign, Tone};
use super::terms::{Aim, Procedure};
use super::text::{Break, Word};
use crate::map::Paradigm;

/// The sum of weights from which on something is taken as said.
pub const ENOUGH: f64 = 0.99;
/// What is said of a class of models counts so much for the system.
const GENERAL: f64 = 0.3;

/// A match, and how the text speaks of it.
pub struct Said<'a> {
    pub found: &'a Match,
    pub sentence: usize,
    pub evidence: Evidence,
}

impl<'a> Said<'a> {
    pub fn new(found: &'a Match, words: &[Word], tones: &[Tone], rules: &Rules) -> Self {
        let (first, last) = (found.words[0], found.words[found.words.len() - 1]);
        let tone = found.words.iter().map(|&word| tones[word]).max().unwrap_or(Tone::Asserted);
        let begins = (first.saturating_sub(1)..=first).any(|word| words[word].before == Break::Sentence);
        let is_name = |sign: &Sign| matches!(sign, Sign::Component { aim: None, procedure: None, .. });
        let named = found.is_consecutive() && rules.rule(found.rule).signs.iter().any(is_name);
        let general = tone == Tone::Asserted && named && begins && words[last].plural;
        let evidence = Evidence {
            span: words[first].span.start..words[last].span.end,
            rule: Arc::clone(rules.rule(found.rule)),
            tone: if general { Tone::General } else { tone },
        };
        Said { found, sentence: words[last].sentence, evidence }
    }

    pub fn is_asserted(&self) -> bool {
        self.evidence.tone <= Tone::General
    }

    /// What this adds to a sum of weights.
    fn weight(&self) -> f64 {
        self.evidence.rule.weight
            * match self.evidence.tone {
                Tone::Asserted => 1.0,
                Tone::General => GENERAL,
                Tone::Other | Tone::Past => 0.0,
                Tone::Denied => -1.0,
            }
    }

    /// Whether it is about this paradigm.
    pub fn speaks_of(&self, of: Paradigm) -> bool {
        self.signs().iter().any(|sign| matches!(sign, Sign::Component { paradigm, .. } if *paradigm == of))
    }

    pub fn signs(&self) -> &[Sign] {
        &self.evidence.rule.signs
    }
}

/// Without the matches that stand within a longer one: "masked language model" is no language model.
pub fn visible(found: Vec<Match>, rules: &Rules) -> Vec<Match> {
    let signs = |found: &Match| &rules.rule(found.rule).signs;
    let hides = |found: &Match| {
        let claims = |sign: &Sign| matches!(sign, Sign::Component { .. } | Sign::Outside(_) | Sign::Nothing);
        found.is_consecutive() && signs(found).iter().any(claims)
    };
    // Of each word, the longest match that hides others and has it.
    let mut longest: HashMap<usize, usize> = HashMap::new();
    for (at, one) in found.iter().enumerate().filter(|(_, one)| hides(one)) {
        for &word in &one.words {
            let other = longest.entry(word).or_insert(at);
            if found[*other].words.len() < one.words.len() {
                *other = at;
            }
        }
    }
    let is_hidden = |one: &Match| {
        let longer = |word: &usize| {
            longest.get(word).map(|&at| &found[at]).filter(|other| other.words.len() > one.words.len())
        };
        let within = longer(&one.words[0])
            .is_some_and(|other| one.words.iter().all(|word| other.words.contains(word)));
        // "By diffusion of ions": what is nothing hides also what reaches into it.
        let by_nothing =
            one.words.iter().filter_map(longer).any(|other| signs(other).contains(&Sign::Nothing));
        let beside = |sign: &Sign| {
            matches!(
                sign,
                Sign::Steps
                    | Sign::Tokens
                    | Sign::Claim(_)
                    | Sign::Stage(_)
                    | Sign::Condition(_)
                    | Sign::Likelihood(_)
                    | Sign::GuidanceInOnePass
                    | Sign::TwoEvaluations
                    | Sign::Clips
            )
        };
        // What is no evidence for a paradigm stands beside it: "50 DDIM steps" is a number and a sampler.
        by_nothing || within && !signs(one).iter().any(beside)
    };
    let kept: Vec<bool> = found.iter().map(|one| !is_hidden(one)).collect();
    found.into_iter().zip(kept).filter_map(|(one, kept)| kept.then_some(one)).collect()
}

/// What is said for and against one paradigm.
#[derive(Default)]
pub struct Sum {
    pub weight: f64,
    /// Of what is more than an encoder and a decoder.
    pub beyond_codec: f64,
    pub aims: BTreeMap<Aim, f64>,
    pub procedures: BTreeMap<Procedure, f64>,
    pub guidance: f64,
}

impl Sum {
    /// What these signs say for and against a paradigm.
    pub fn of(of: Paradigm, weights: &[(Sign, f64)]) -> Sum {
        let mut sum = Sum::default();
        for &(sign, weight) in weights {
            let Sign::Component { paradigm, aim, procedure, codec, guidance } = sign else { continue };
            // "No iterative denoising" or "no codebook" says how, not that there is no diffusion or no encoder.
            let of_another_kind = procedure.is_some() || aim.is_some_and(|aim| aim != Aim::implied(paradigm));
            if paradigm != of || weight < 0.0 && of_another_kind {
                continue;
            }
            sum.weight += weight;
            sum.beyond_codec += if codec { 0.0 } else { weight };
            sum.guidance += if guidance { weight } else { 0.0 };
            aim.into_iter().for_each(|aim| *sum.aims.entry(aim).or_default() += weight);
            procedure
                .into_iter()
                .for_each(|procedure| *sum.procedures.entry(procedure).or_default() += weight);
        }
        sum
    }

    pub fn aim(&self, aim: Aim) -> f64 {
        self.aims.get(&aim).copied().unwrap_or(0.0)
    }

    /// Whether it is more than a name.
    pub fn is_explained(&self) -> bool {
        let most = |weights: &mut dyn Iterator<Item = f64>| weights.fold(0.0, f64::max);
        most(&mut self.aims.values().copied()) >= 0.5 || most(&mut self.procedures.values().copied()) >= 0.5
    }

    pub fn is_enough(&self) -> bool {
        self.weight >= ENOUGH
    }

    /// The objective that the text states, the most specific that has weight.
    pub fn stated(&self) -> Option<Aim> {
        use Aim::*;
        let has = |aim, weight| self.aim(aim) >= weight;
        if has(WassersteinGp, 1.0) || has(WassersteinGp, 0.5) && !has(NonSaturatingR1, 0.5) {
            return Some(WassersteinGp);
        }
        if has(NonSaturatingR1, 0.5) {
            return Some(NonSaturatingR1);
        }
        if let Some(distilled) = [Consistency, DensityDistillation].into_iter().find(|aim| has(*aim, 0.8)) {
            return Some(distilled);
        }
        let best = |vague: bool| {
            let of_kind = self.aims.iter().filter(|(aim, weight)| aim.is_vague() == vague && **weight >= 0.3);
            of_kind.max_by(|a, b| a.1.total_cmp(b.1)).map(|(aim, _)| *aim)
        };
        best(false).or_else(|| best(true))
    }
}

/// The signs of each rule that is met, once, however often it is, with the largest weight that it has somewhere;
/// what is asserted in one place is not denied by another.
pub fn weights(said: &[Said], rules: &Rules) -> Vec<(Sign, f64)> {
    let mut of_rule: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for said in said {
        let weight = said.weight();
        let (low, high) = of_rule.entry(said.found.rule).or_insert((weight, weight));
        (*low, *high) = (low.min(weight), high.max(weight));
    }
    let signs = of_rule.into_iter().flat_map(|(rule, (low, high))| {
        let weight = if high > 0.0 { high } else { low };
        rules.rule(rule).signs.iter().map(move |sign| (*sign, weight))
    });
    signs.collect()
}

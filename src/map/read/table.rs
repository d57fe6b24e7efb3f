//! The table of rules as text: lines, patterns, the words for evidence.

use std::str::FromStr;
use std::sync::Arc;

use super::PARADIGMS;
use super::rules::{Element, Reach, Rule, RuleError, Rules, START, Sign, Tone};
use super::terms::{Aim, Claim, Outside, Procedure, Stage};
use super::text::words;
use crate::map::LikelihoodKind;

/// The most sequences that one pattern may stand for.
const MOST: usize = 2_000;

impl FromStr for Rules {
    type Err = RuleError;

    fn from_str(table: &str) -> Result<Rules, RuleError> {
        let mut rules = Rules::default();
        let mut source: Arc<str> = "".into();
        for (line, text) in (1..).zip(table.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with("//") {
                continue;
            }
            if let Some(named) = text.strip_prefix('@') {
                source = named.trim().into();
                continue;
            }
            let wrong = |problem, found: &str| RuleError { line, problem, found: found.trim().into() };
            let cells: Vec<&str> = text.split('|').map(str::trim).collect();
            let [pattern, evidence, weight] = cells[..] else {
                return Err(wrong("expected pattern | evidence | weight", text));
            };
            let weight = weight.parse().ok().filter(|weight| (0.0..=10.0).contains(weight));
            let weight = weight.ok_or_else(|| wrong("expected a weight from 0 to 10", cells[2]))?;
            let signs = evidence.split(',').map(|sign| sign_of(sign.trim()).ok_or(sign));
            let signs = signs.collect::<Result<_, _>>().map_err(|sign| wrong("unknown evidence", sign))?;
            let sequences = sequences(pattern).map_err(|problem| wrong(problem, pattern))?;
            rules.push(Rule { pattern: pattern.into(), signs, weight, source: source.clone() }, sequences);
        }
        Ok(rules)
    }
}

fn sign_of(text: &str) -> Option<Sign> {
    let after = |name: &str| {
        text.strip_prefix(name).and_then(|rest| rest.trim_start().strip_prefix('=')).map(str::trim)
    };
    let plain = match text {
        "steps" => Some(Sign::Steps),
        "tokens" => Some(Sign::Tokens),
        "two evaluations a step" => Some(Sign::TwoEvaluations),
        "guidance in one pass" => Some(Sign::GuidanceInOnePass),
        "clips" => Some(Sign::Clips),
        "nothing" => Some(Sign::Nothing),
        _ => None,
    };
    let cue = || {
        let (tone, reach) = text.split_once(' ')?;
        let tone = match tone {
            "not" => Tone::Denied,
            "other" => Tone::Other,
            "past" => Tone::Past,
            _ => return None,
        };
        let reach = match reach {
            "ahead" => Reach::Ahead,
            "behind" => Reach::Behind,
            "clause" => Reach::Clause,
            "word before" => Reach::WordBefore,
            "word after" => Reach::WordAfter,
            _ => return None,
        };
        Some(Sign::Cue(tone, reach))
    };
    let of_kind = || {
        let sign = match after("outside") {
            Some(reason) => {
                Sign::Outside(Outside::ALL.into_iter().find(|other| other.to_string() == reason)?)
            }
            None => match (after("claim"), after("stage"), after("condition"), after("likelihood")) {
                (Some(claim), ..) => {
                    Sign::Claim(Claim::ALL.into_iter().find(|other| other.to_string() == claim)?)
                }
                (_, Some(stage), ..) => {
                    Sign::Stage(Stage::ALL.into_iter().find(|other| other.to_string() == stage)?)
                }
                (_, _, Some(condition), _) => {
                    Sign::Condition(CONDITIONS.into_iter().find(|other| *other == condition)?)
                }
                (.., Some(kind)) => {
                    let kinds =
                        [LikelihoodKind::Exact, LikelihoodKind::LowerBound, LikelihoodKind::OdeEstimate];
                    Sign::Likelihood(kinds.into_iter().find(|other| other.to_string() == kind)?)
                }
                _ => return None,
            },
        };
        Some(sign)
    };
    let component = || {
        let (head, aim) = match text.split_once('=') {
            Some((head, aim)) => {
                (head.trim(), Some(Aim::ALL.into_iter().find(|other| other.to_string() == aim.trim())?))
            }
            None => (text, None),
        };
        let (head, procedure) = match head.split_once('~') {
            Some((head, found)) => (
                head.trim(),
                Some(Procedure::ALL.into_iter().find(|other| other.to_string() == found.trim())?),
            ),
            None => (head, None),
        };
        let (head, codec) = head.strip_suffix(" codec").map_or((head, false), |head| (head, true));
        let (head, guidance) = head.strip_suffix(" guidance").map_or((head, false), |head| (head, true));
        let paradigm = PARADIGMS.into_iter().find(|paradigm| paradigm.to_string() == head)?;
        Some(Sign::Component { paradigm, aim, procedure, codec, guidance })
    };
    plain.or_else(cue).or_else(of_kind).or_else(component)
}

/// What a sample can be conditioned on.
const CONDITIONS: [&str; 5] = ["text", "class", "image", "sound", "attributes"];

/// All sequences of words that a pattern stands for.
fn sequences(pattern: &str) -> Result<Vec<Vec<Element>>, &'static str> {
    let mut all: Vec<Vec<Element>> = vec![Vec::new()];
    let mut rest = pattern.trim();
    while !rest.is_empty() {
        let choices = match rest.chars().next() {
            Some(open @ ('(' | '[')) => {
                let close = if open == '(' { ')' } else { ']' };
                let (inside, after) = rest[1..].split_once(close).ok_or("a parenthesis is not closed")?;
                rest = after.trim_start();
                if inside.contains(['(', '[']) {
                    return Err("parentheses within parentheses");
                }
                let mut choices = inside.split('/').map(plain).collect::<Result<Vec<_>, _>>()?;
                if open == '[' {
                    choices.push(Vec::new());
                }
                choices
            }
            _ => {
                let (inside, after) = rest.split_at(rest.find(['(', '[']).unwrap_or(rest.len()));
                rest = after;
                vec![plain(inside)?]
            }
        };
        let longer = |begun: &Vec<Element>| -> Vec<Vec<Element>> {
            choices.iter().map(|choice| [&begun[..], &choice[..]].concat()).collect()
        };
        all = all.iter().flat_map(longer).collect();
        if all.len() > MOST {
            return Err("too many alternatives");
        }
    }
    all.retain(|sequence| !sequence.is_empty());
    let at_the_end = |sequence: &Vec<Element>| {
        sequence.first() == Some(&Element::Gap) || sequence.last() == Some(&Element::Gap)
    };
    match all.iter().any(at_the_end) || all.is_empty() {
        true => Err("a pattern begins and ends with a word or a number"),
        false => Ok(all),
    }
}

fn plain(text: &str) -> Result<Vec<Element>, &'static str> {
    let mut elements = Vec::new();
    for part in text.split_whitespace() {
        match part {
            "..." | "…" => elements.push(Element::Gap),
            "#" => elements.push(Element::Number),
            _ => {
                // Behind a start any letters follow, so that its last one is no plural's.
                let start = part.strip_suffix('*').map(|start| format!("{start}x"));
                let found = words(start.as_deref().unwrap_or(part));
                elements.extend(found.into_iter().map(|word| Element::Word(word.form)));
                if start.is_some() {
                    let last = elements.pop();
                    let Some(Element::Word(form)) = last else { return Err("a start needs three letters") };
                    match form.strip_suffix('x') {
                        Some(form) if form.chars().count() >= START => {
                            elements.push(Element::Start(form.into()))
                        }
                        _ => return Err("a start needs three letters"),
                    }
                }
            }
        }
    }
    Ok(elements)
}

//! From evidence to components: what the rules found is weighed, and what contradicts itself is settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::context::tones;
use super::rules::{Match, Rules, Sign, Tone};
use super::terms::{Aim, Claim, Outside, Passes, Procedure, Stage, Term};
use super::text::{Break, Word, words};
use super::{Component, Evidence, PARADIGMS, Reading, Unusual};
use crate::map::{Divergence, LatencyLaw, LikelihoodKind, Paradigm, Place, Sampling, latency, place};

/// The sum of weights from which on something is taken as said.
const ENOUGH: f64 = 0.99;
/// What is said of a class of models counts so much for the system.
const GENERAL: f64 = 0.3;
/// Steps that are assumed for the order of failures if the text gives none.
const USUAL_STEPS: usize = 50;

/// The reading, and the number of words that were compared with the rules.
pub fn reading(rules: &Rules, text: &str) -> (Reading, usize) {
    let words = words(text);
    let (found, compared) = rules.matches(&words);
    let found = visible(found, rules);
    let tones = tones(&words, &found, rules);
    let said: Vec<Said> = found.iter().map(|found| Said::new(found, &words, &tones, rules)).collect();
    let weights = weights(&said, rules);
    (Findings { said, weights }.reading(), compared)
}

/// A match, and how the text speaks of it.
struct Said<'a> {
    found: &'a Match,
    sentence: usize,
    evidence: Evidence,
}

impl<'a> Said<'a> {
    fn new(found: &'a Match, words: &[Word], tones: &[Tone], rules: &Rules) -> Self {
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

    fn is_asserted(&self) -> bool {
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

    fn signs(&self) -> &[Sign] {
        &self.evidence.rule.signs
    }
}

/// Without the matches that stand within a longer one: "masked language model" is no language model.
fn visible(found: Vec<Match>, rules: &Rules) -> Vec<Match> {
    let signs = |found: &Match| &rules.rule(found.rule).signs;
    let hides = |found: &Match| {
        let claims = |sign: &Sign| matches!(sign, Sign::Component { .. } | Sign::Outside(_) | Sign::Nothing);
        found.is_consecutive() && signs(found).iter().any(claims)
    };
    // Of each word, the longest match that hides others and has it.
    let mut longest: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, one) in found.iter().enumerate().filter(|(_, one)| hides(one)) {
        for &word in &one.words {
            let other = longest.entry(word).or_insert(at);
            if found[*other].words.len() < one.words.len() {
                *other = at;
            }
        }
    }
    let is_hidden = |one: &Match| {
        let Some(longer) = longest.get(&one.words[0]).map(|&at| &found[at]) else { return false };
        let within =
            longer.words.len() > one.words.len() && one.words.iter().all(|word| longer.words.contains(word));
        let by_nothing = signs(longer).contains(&Sign::Nothing);
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
        within && (by_nothing || !signs(one).iter().any(beside))
    };
    let kept: Vec<bool> = found.iter().map(|one| !is_hidden(one)).collect();
    found.into_iter().zip(kept).filter_map(|(one, kept)| kept.then_some(one)).collect()
}

/// What is said for and against one paradigm.
#[derive(Default)]
struct Sum {
    weight: f64,
    /// Of what is more than an encoder and a decoder.
    beyond_codec: f64,
    aims: BTreeMap<Aim, f64>,
    procedures: BTreeMap<Procedure, f64>,
    guidance: f64,
}

impl Sum {
    fn aim(&self, aim: Aim) -> f64 {
        self.aims.get(&aim).copied().unwrap_or(0.0)
    }

    /// Whether it is more than a name.
    fn is_explained(&self) -> bool {
        let most = |weights: &mut dyn Iterator<Item = f64>| weights.fold(0.0, f64::max);
        most(&mut self.aims.values().copied()) >= 0.5 || most(&mut self.procedures.values().copied()) >= 0.5
    }

    fn is_enough(&self) -> bool {
        self.weight >= ENOUGH
    }

    /// The objective that the text states, the most specific that has weight.
    fn stated(&self) -> Option<Aim> {
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

struct Findings<'a> {
    said: Vec<Said<'a>>,
    weights: Vec<(Sign, f64)>,
}

/// The signs of each rule that is met, once, however often it is, with the largest weight that it has somewhere; what is
/// asserted in one place is not denied by another.
fn weights(said: &[Said], rules: &Rules) -> Vec<(Sign, f64)> {
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

impl Findings<'_> {
    fn reading(self) -> Reading {
        let mut sums: Vec<Sum> = PARADIGMS.iter().map(|&paradigm| self.sum(paradigm)).collect();
        let mut outside: BTreeMap<Outside, f64> = BTreeMap::new();
        for &(sign, weight) in &self.weights {
            if let Sign::Outside(reason) = sign {
                *outside.entry(reason).or_default() += weight;
            }
        }
        let of = |paradigm| PARADIGMS.iter().position(|other| *other == paradigm).unwrap_or(0);
        let [ar, flow, latent, energy, diffusion] = [
            Paradigm::Autoregressive,
            Paradigm::Flow,
            Paradigm::Latent,
            Paradigm::Energy,
            Paradigm::Diffusion,
        ]
        .map(of);
        let enough =
            |reason, outside: &BTreeMap<Outside, f64>| outside.get(&reason).is_some_and(|sum| *sum >= ENOUGH);

        let masked = enough(Outside::MaskedPrediction, &outside);
        // A language model that fills in masked words has no chain rule.
        if masked && !sums[ar].is_explained() {
            sums[ar].weight = 0.0;
        }
        // Masking, level by level, is a diffusion on symbols; without the word it is masked prediction.
        let mut discrete = sums[diffusion].aim(Aim::MaskedCrossEntropy) >= 0.5;
        if sums[diffusion].is_enough() && (masked || discrete) && sums[diffusion].aim(Aim::NoiseMse) < 0.8 {
            outside.remove(&Outside::MaskedPrediction);
            sums[ar].weight = if sums[ar].is_explained() { sums[ar].weight } else { 0.0 };
            discrete = true;
        }
        // The objective decides: a "diffusion transformer" that regresses a velocity is a flow.
        let by_name = sums[diffusion].aims.values().sum::<f64>() < 0.5
            && sums[diffusion].procedures.values().sum::<f64>() < 0.5;
        let mut flow_guidance = 0.0;
        if sums[flow].is_enough() && sums[flow].aim(Aim::VelocityMse) >= 0.8 {
            flow_guidance = sums[diffusion].guidance;
            if by_name {
                sums[diffusion].weight = 0.0;
            }
        }
        // A label, a reward, an embedding: a paradigm that is only named is one that is spoken of.
        let judged = [
            Outside::Classifier,
            Outside::Contrastive,
            Outside::Policy,
            Outside::ScoringRule,
            Outside::Representation,
            Outside::Simulation,
        ];
        if let Some(reason) = judged.into_iter().find(|reason| enough(*reason, &outside)) {
            let kept = |at: usize| at == ar && reason == Outside::Policy;
            let explained =
                sums.iter().enumerate().any(|(at, sum)| sum.is_enough() && (sum.is_explained() || kept(at)));
            if !explained {
                sums.iter_mut().for_each(|sum| sum.weight = 0.0);
            }
        }
        // An encoder and a decoder draw nothing unless something draws latents.
        let drawn = [ar, flow, energy, diffusion].iter().any(|&at| sums[at].is_enough())
            || enough(Outside::MaskedPrediction, &outside);
        if !drawn && sums[latent].beyond_codec < 0.5 && sums[latent].aim(Aim::ReconstructionCodebook) < 0.5 {
            sums[latent].weight = 0.0;
        }

        let one_step = self.claim(Claim::OneStep, Paradigm::Diffusion, sums[ar].is_enough());
        let distilled = self.said.iter().any(|said| {
            said.evidence.tone == Tone::Asserted && said.signs().contains(&Sign::Stage(Stage::Distilled))
        });
        let steps = self.number(Sign::Steps, distilled);
        let many = steps.is_some_and(|(_, high)| high > 1);

        let mut components = Vec::new();
        for (at, paradigm) in PARADIGMS.into_iter().enumerate() {
            let sum = &sums[at];
            if !sum.is_enough() {
                continue;
            }
            let stated =
                if at == diffusion && discrete { Some(Aim::MaskedCrossEntropy) } else { sum.stated() };
            let aim = stated.unwrap_or(Aim::implied(paradigm));
            let best = sum.procedures.iter().filter(|(_, weight)| **weight >= 0.3);
            let best = best.max_by(|a, b| a.1.total_cmp(b.1)).map(|(procedure, _)| *procedure);
            let implied = match (paradigm, aim) {
                (Paradigm::Autoregressive, _) => Procedure::Sequential,
                (Paradigm::Diffusion, _) | (_, Aim::VelocityMse) => Procedure::MultiStep,
                (Paradigm::Energy, _) => Procedure::Chain,
                _ => Procedure::OnePass,
            };
            let single = at == diffusion && !many && (one_step.is_some() || steps == Some((1, 1)));
            let counted =
                matches!(paradigm, Paradigm::Diffusion | Paradigm::Energy) || aim == Aim::VelocityMse;
            // A flow's density says how it is trained, not whether it is a chain of layers or an ODE.
            let told = best.filter(|_| paradigm == Paradigm::Flow);
            let procedure = if single { Procedure::OnePass } else { told.unwrap_or(implied) };
            let stage = match paradigm {
                Paradigm::Diffusion if distilled || aim == Aim::Consistency => Stage::Distilled,
                Paradigm::Flow if aim == Aim::DensityDistillation => Stage::Distilled,
                Paradigm::Adversarial => self.stage_of_game(&sums, [ar, flow, latent, diffusion], distilled),
                _ => Stage::Training,
            };
            let in_one_pass = self.has(Sign::GuidanceInOnePass);
            let guidance = if aim == Aim::VelocityMse { flow_guidance } else { sum.guidance };
            components.push(Component {
                paradigm,
                aim,
                aim_stated: stated.is_some(),
                procedure,
                procedure_stated: best.is_some() || single || counted && steps.is_some(),
                stage,
                guided: guidance >= 0.5 && !in_one_pass,
                place: predicted(paradigm, aim, procedure, stage, steps.map_or(USUAL_STEPS, |steps| steps.1)),
                weight: sum.weight,
                evidence: self
                    .evidence(|sign| matches!(sign, Sign::Component { paradigm: of, .. } if *of == paradigm)),
            });
        }
        // A game that tunes a network leaves its sampling as it is.
        let tuned =
            components.iter().find(|part| part.paradigm == Paradigm::Diffusion).map(|part| part.procedure);
        for part in components.iter_mut().filter(|part| part.stage == Stage::FineTuning) {
            part.procedure = tuned.unwrap_or(part.procedure);
        }

        let reason = outside.iter().filter(|(_, sum)| **sum >= ENOUGH).max_by(|a, b| a.1.total_cmp(b.1));
        let outside = match (components.is_empty(), reason) {
            (true, reason) => Some(reason.map_or(Outside::CannotTell, |(reason, _)| *reason)),
            // The codes of an encoder, filled in where they are masked.
            (false, Some((Outside::MaskedPrediction, _)))
                if components.iter().all(|part| part.paradigm == Paradigm::Latent) =>
            {
                Some(Outside::MaskedPrediction)
            }
            _ => None,
        };
        let likelihood = self.likelihood(&components, outside);
        let passes = self.passes(&components, steps);
        let unusual = self.unusual(&components, one_step);
        let mut failures = Vec::new();
        for failure in components.iter().flat_map(|part| part.place.failures) {
            if !failures.contains(failure) {
                failures.push(*failure);
            }
        }
        let conditioning: BTreeSet<&'static str> = self
            .said
            .iter()
            .filter(|said| said.is_asserted())
            .flat_map(|said| {
                said.signs().iter().filter_map(|sign| match sign {
                    Sign::Condition(of) => Some(*of),
                    _ => None,
                })
            })
            .collect();
        let conditioning: Vec<_> = conditioning.into_iter().collect();
        let is_claim = |sign: &Sign| matches!(sign, Sign::Component { .. });
        Reading {
            tradeoffs: super::card::tradeoffs(&components, self.has(Sign::Clips)),
            not_stated: super::card::not_stated(
                &components,
                &conditioning,
                &passes,
                self.states_likelihood(),
            ),
            conditioning,
            likelihood,
            passes,
            failures,
            unusual,
            outside,
            outside_evidence: match outside {
                Some(reason) => self.evidence(|sign| *sign == Sign::Outside(reason)),
                None => Vec::new(),
            },
            set_aside: self
                .said
                .iter()
                .filter(|said| !said.is_asserted() && said.signs().iter().any(is_claim))
                .map(|said| said.evidence.clone())
                .collect(),
            components,
        }
    }

    fn sum(&self, of: Paradigm) -> Sum {
        let mut sum = Sum::default();
        for &(sign, weight) in &self.weights {
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

    fn has(&self, sign: Sign) -> bool {
        self.said.iter().any(|said| said.is_asserted() && said.signs().contains(&sign))
    }

    fn evidence(&self, of: impl Fn(&Sign) -> bool) -> Vec<Evidence> {
        let said = self.said.iter().filter(|said| said.is_asserted() && said.signs().iter().any(&of));
        said.map(|said| said.evidence.clone()).collect()
    }

    fn states_likelihood(&self) -> bool {
        self.said.iter().any(|said| {
            said.is_asserted() && said.signs().iter().any(|sign| matches!(sign, Sign::Likelihood(_)))
        })
    }

    /// Where this is claimed; in a sentence that speaks of the paradigm, if another could be meant.
    fn claim(&self, claim: Claim, of: Paradigm, ambiguous: bool) -> Option<Evidence> {
        let speaks = |sentence: usize| {
            self.said.iter().any(|said| {
                let names = |sign: &Sign| matches!(sign, Sign::Component { paradigm, .. } if *paradigm == of);
                said.sentence == sentence && said.signs().iter().any(names)
            })
        };
        let claims =
            self.said.iter().filter(|said| said.is_asserted() && said.signs().contains(&Sign::Claim(claim)));
        claims.into_iter().find(|said| !ambiguous || speaks(said.sentence)).map(|said| said.evidence.clone())
    }

    /// The number that has the most weight; of equals, the first, or the smallest.
    fn number(&self, of: Sign, smallest: bool) -> Option<(usize, usize)> {
        let mut best: Option<(f64, (usize, usize))> = None;
        for said in
            self.said.iter().filter(|said| said.evidence.tone == Tone::Asserted && said.signs().contains(&of))
        {
            let Some((low, high)) = said.found.number else { continue };
            if !(1.0..=1e5).contains(&low) || low.fract() != 0.0 || high.fract() != 0.0 || high > 1e5 {
                continue;
            }
            let (weight, number) = (said.evidence.rule.weight, (low as usize, high as usize));
            let better = best
                .is_none_or(|(other, known)| weight > other || weight == other && smallest && number < known);
            if better {
                best = Some((weight, number));
            }
        }
        best.map(|(_, number)| number)
    }

    /// Whether a game is the training, tunes what is trained otherwise, or helps a codec.
    fn stage_of_game(&self, sums: &[Sum], others: [usize; 4], distilled: bool) -> Stage {
        let [ar, flow, latent, diffusion] = others;
        let another = [ar, flow, diffusion].iter().any(|&at| sums[at].is_enough());
        let is_game = |sign: &Sign| matches!(sign, Sign::Component { paradigm: Paradigm::Adversarial, .. });
        let tunes =
            |said: &&Said| said.is_asserted() && said.signs().contains(&Sign::Stage(Stage::FineTuning));
        let tuned: BTreeSet<usize> = self.said.iter().filter(tunes).map(|said| said.sentence).collect();
        let mut games =
            self.said.iter().filter(|said| said.is_asserted() && said.signs().iter().any(is_game));
        if another && games.any(|said| tuned.contains(&said.sentence)) {
            return Stage::FineTuning;
        }
        let codec = sums[latent].is_enough() && sums[latent].beyond_codec < sums[latent].weight;
        // A student that is judged against its teacher is no codec.
        if codec && another && !distilled { Stage::Auxiliary } else { Stage::Training }
    }

    /// That of the weakest component, which draw one after the other.
    fn likelihood(&self, components: &[Component], outside: Option<Outside>) -> Option<LikelihoodKind> {
        if components.is_empty() || outside.is_some() {
            return None;
        }
        let kinds = components.iter().map(|part| part.place.likelihood);
        Some(kinds.fold(LikelihoodKind::Exact, LikelihoodKind::weaker))
    }

    fn passes(&self, components: &[Component], steps: Option<(usize, usize)>) -> Passes {
        let mut terms = Vec::new();
        let mut decoder = None;
        let has_diffusion = components.iter().any(|part| part.paradigm == Paradigm::Diffusion);
        for part in components {
            let term = |number, unit| Term { number, unit, factor: 1, because: "" };
            match part.paradigm {
                Paradigm::Autoregressive => terms.push(term(self.number(Sign::Tokens, false), "token")),
                Paradigm::Latent => {
                    decoder =
                        Some(term(Some((1, 1)), if components.len() > 1 { "decoder pass" } else { "pass" }))
                }
                // A game shares the network that it tunes, helps, or distills into.
                Paradigm::Adversarial if part.stage != Stage::Training || has_diffusion => (),
                Paradigm::Adversarial => terms.push(term(Some((1, 1)), "pass")),
                Paradigm::Flow if part.aim != Aim::VelocityMse => terms.push(term(Some((1, 1)), "pass")),
                _ => {
                    let number = if part.procedure == Procedure::OnePass { Some((1, 1)) } else { steps };
                    let heun = self.has(Sign::TwoEvaluations);
                    let (factor, because) = match (part.guided, heun) {
                        (true, true) => (4, "guidance, and two evaluations a step"),
                        (true, false) => (2, "guidance"),
                        (false, true) => (2, "two evaluations a step"),
                        (false, false) => (1, ""),
                    };
                    terms.push(Term { factor, because, ..term(number, "step") });
                }
            }
        }
        terms.extend(decoder);
        Passes { terms }
    }

    fn unusual(&self, components: &[Component], one_step: Option<Evidence>) -> Vec<Unusual> {
        let find = |paradigm| components.iter().find(|part: &&Component| part.paradigm == paradigm);
        let mut unusual = Vec::new();
        if let Some(part) = find(Paradigm::Diffusion).filter(|part| part.procedure == Procedure::OnePass) {
            let probably = match part.stage {
                Stage::Distilled => {
                    "a distilled sampler, as the text says: some quality and the likelihood are lost"
                }
                _ => {
                    "a distilled sampler, a consistency model or a flow map; else a generator that was trained by a game"
                }
            };
            unusual.push(Unusual { claim: Claim::OneStep, probably, evidence: one_step });
        }
        if find(Paradigm::Autoregressive).is_some()
            && let Some(evidence) =
                self.claim(Claim::Parallel, Paradigm::Autoregressive, components.len() > 1)
        {
            let probably = "drafts that are verified in one pass (speculative or Jacobi decoding), several elements that are drawn \
                            as if independent, or masked prediction";
            unusual.push(Unusual { claim: Claim::Parallel, probably, evidence: Some(evidence) });
        }
        let exact = self.evidence(|sign| *sign == Sign::Likelihood(LikelihoodKind::Exact));
        let has_one = components.iter().any(|part| part.place.likelihood == LikelihoodKind::Exact);
        if let Some(evidence) = exact.into_iter().next()
            && !has_one
            && !components.is_empty()
        {
            let probably = match components[0].paradigm {
                Paradigm::Diffusion => "an estimate by the probability-flow ODE",
                Paradigm::Latent => "the bound (ELBO)",
                _ => "another model's likelihood, or an invertible network",
            };
            unusual.push(Unusual { claim: Claim::ExactLikelihood, probably, evidence: Some(evidence) });
        }
        unusual
    }
}

/// What the map predicts for a component.
fn predicted(paradigm: Paradigm, aim: Aim, procedure: Procedure, stage: Stage, steps: usize) -> Place {
    let sampling = match (paradigm, procedure) {
        (Paradigm::Autoregressive, _) => Sampling::Sequential { dim: 1 },
        (Paradigm::Energy, _) => Sampling::Langevin { steps },
        (Paradigm::Diffusion, _) if aim == Aim::Consistency => Sampling::Flowing { steps },
        (Paradigm::Diffusion, _) => Sampling::Denoising { steps },
        (Paradigm::Flow, Procedure::MultiStep) => Sampling::Flowing { steps },
        _ => Sampling::OnePass,
    };
    let known = place(aim.objective(), sampling);
    let mut place = known.unwrap_or(Place {
        paradigm,
        divergence: Divergence::OffTheMap,
        likelihood: LikelihoodKind::Unavailable,
        latency: latency(sampling),
        failures: &[],
    });
    // The map has flow maps and consistency models among the flows; what was a diffusion is read as one.
    place.paradigm = paradigm;
    if !aim.is_on_the_map() {
        place.divergence = Divergence::OffTheMap;
    }
    // By the instantaneous change of variables.
    if paradigm == Paradigm::Flow && procedure == Procedure::MultiStep {
        place.likelihood = LikelihoodKind::OdeEstimate;
    }
    // A jump to the data is no velocity, whose divergence could be integrated.
    if paradigm == Paradigm::Diffusion && (stage == Stage::Distilled || procedure == Procedure::OnePass) {
        place.likelihood = LikelihoodKind::Unavailable;
    }
    if procedure == Procedure::OnePass {
        place.latency = LatencyLaw::Constant;
    }
    if aim == Aim::MaskedCrossEntropy {
        place.likelihood = LikelihoodKind::LowerBound;
        place.divergence = Divergence::ForwardKlBound;
    }
    place
}

//! From evidence to components: what contradicts itself is settled, and what is left is a reading.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::conclude::{likelihood, predicted};
use super::context::tones;
use super::evidence::{ENOUGH, Said, Sum, visible, weights};
use super::rules::{Rules, Sign, Tone};
use super::terms::{Aim, Claim, Outside, Procedure, Stage};
use super::text::words;
use super::{Component, Evidence, PARADIGMS, Reading, card};
use crate::map::Paradigm;

/// Steps that are assumed for the order of failures if the text gives none.
const USUAL_STEPS: usize = 50;

/// The weight of a word that is a paradigm's name only beside another paradigm.
const NAMED: f64 = 0.69;

/// The reading, and the number of words that were compared with the rules.
pub fn reading(rules: &Rules, text: &str) -> (Reading, usize) {
    let words = words(text);
    let (found, compared) = rules.matches(&words);
    let found = visible(found, rules);
    let tones = tones(&words, &found, rules);
    let said: Vec<Said> = found.iter().map(|found| Said::new(found, &words, &tones, rules)).collect();
    let weights = weights(&said, rules);
    let settled = Settled::new(&weights);
    (Findings { said }.reading(settled), compared)
}

/// The sums of all paradigms and of the reasons outside, when what contradicts itself has been settled.
struct Settled {
    sums: Vec<Sum>,
    outside: BTreeMap<Outside, f64>,
    /// The diffusion is one on symbols.
    discrete: bool,
    /// The weight of guidance for a flow.
    flow_guidance: f64,
}

fn at(paradigm: Paradigm) -> usize {
    PARADIGMS.iter().position(|other| *other == paradigm).unwrap_or(0)
}

impl Settled {
    fn new(weights: &[(Sign, f64)]) -> Self {
        let mut outside: BTreeMap<Outside, f64> = BTreeMap::new();
        for &(sign, weight) in weights {
            if let Sign::Outside(reason) = sign {
                *outside.entry(reason).or_default() += weight;
            }
        }
        let sums = PARADIGMS.iter().map(|&paradigm| Sum::of(paradigm, weights)).collect();
        let mut settled = Settled { sums, outside, discrete: false, flow_guidance: 0.0 };
        settled.masked_prediction_or_diffusion();
        settled.velocity_or_noise();
        settled.named_in_company();
        settled.model_or_subject();
        settled.codec_or_autoencoder();
        settled
    }

    fn of(&self, paradigm: Paradigm) -> &Sum {
        &self.sums[at(paradigm)]
    }

    fn drop(&mut self, paradigm: Paradigm) {
        self.sums[at(paradigm)].weight = 0.0;
    }

    fn is_outside(&self, reason: Outside) -> bool {
        self.outside.get(&reason).is_some_and(|sum| *sum >= ENOUGH)
    }

    /// A language model that fills in masked words has no chain rule. Masking, level by level, is a diffusion on
    /// symbols; without the word it is masked prediction.
    fn masked_prediction_or_diffusion(&mut self) {
        let masked = self.is_outside(Outside::MaskedPrediction);
        let diffusion = self.of(Paradigm::Diffusion);
        let discrete = masked || diffusion.aim(Aim::MaskedCrossEntropy) >= 0.5;
        self.discrete = diffusion.is_enough() && discrete && diffusion.aim(Aim::NoiseMse) < 0.8;
        if self.discrete {
            self.outside.remove(&Outside::MaskedPrediction);
        }
        if (masked || self.discrete) && !self.of(Paradigm::Autoregressive).is_explained() {
            self.drop(Paradigm::Autoregressive);
        }
    }

    /// The objective decides: a "diffusion transformer" that regresses a velocity is a flow.
    fn velocity_or_noise(&mut self) {
        let (flow, diffusion) = (self.of(Paradigm::Flow), self.of(Paradigm::Diffusion));
        if !flow.is_enough() || flow.aim(Aim::VelocityMse) < 0.8 {
            return;
        }
        let by_name = diffusion.aims.values().chain(diffusion.procedures.values()).sum::<f64>() < 0.5;
        self.flow_guidance = diffusion.guidance;
        if by_name {
            self.drop(Paradigm::Diffusion);
        }
    }

    /// "Diffusion" and "flow" are words of physics too; beside another paradigm they are names of models.
    fn named_in_company(&mut self) {
        for paradigm in [Paradigm::Diffusion, Paradigm::Flow] {
            let mut others = PARADIGMS.iter().filter(|other| **other != paradigm);
            let company = others.any(|other| self.of(*other).is_enough());
            let sum = &mut self.sums[at(paradigm)];
            if company && sum.weight >= NAMED {
                sum.weight = sum.weight.max(1.0);
            }
        }
    }

    /// Where labels, rewards or embeddings are learned, a paradigm that is only named is one that is spoken of. A
    /// language model that is trained by rewards stays one.
    fn model_or_subject(&mut self) {
        use Outside::*;
        let reasons = [Classifier, Contrastive, Policy, ScoringRule, Representation, Simulation];
        let Some(reason) = reasons.into_iter().find(|reason| self.is_outside(*reason)) else { return };
        let stays = |paradigm| paradigm == Paradigm::Autoregressive && reason == Policy;
        let mut sums = PARADIGMS.iter().zip(&self.sums);
        if !sums.any(|(paradigm, sum)| sum.is_enough() && (sum.is_explained() || stays(*paradigm))) {
            PARADIGMS.into_iter().for_each(|paradigm| self.drop(paradigm));
        }
    }

    /// An encoder and a decoder draw nothing unless something draws latents.
    fn codec_or_autoencoder(&mut self) {
        let priors = [Paradigm::Autoregressive, Paradigm::Flow, Paradigm::Energy, Paradigm::Diffusion];
        let drawn = priors.iter().any(|prior| self.of(*prior).is_enough());
        let latent = self.of(Paradigm::Latent);
        let alone = latent.beyond_codec < 0.5 && latent.aim(Aim::ReconstructionCodebook) < 0.5;
        if alone && !drawn && !self.is_outside(Outside::MaskedPrediction) {
            self.drop(Paradigm::Latent);
        }
    }

    /// Why there is no component, or no prior of a codec's.
    fn reason(&self, components: &[Component]) -> Option<Outside> {
        let most = self.outside.iter().filter(|(_, sum)| **sum >= ENOUGH).max_by(|a, b| a.1.total_cmp(b.1));
        let most = most.map(|(reason, _)| *reason);
        if components.is_empty() {
            return Some(most.unwrap_or(Outside::CannotTell));
        }
        // The codes of an encoder, filled in where they are masked.
        let codec = components.iter().all(|part| part.paradigm == Paradigm::Latent);
        most.filter(|reason| *reason == Outside::MaskedPrediction && codec)
    }
}

/// What a text says, in its order.
pub struct Findings<'a> {
    said: Vec<Said<'a>>,
}

impl Findings<'_> {
    fn reading(self, settled: Settled) -> Reading {
        let distilled = self.asserted().any(|said| {
            said.evidence.tone == Tone::Asserted && said.signs().contains(&Sign::Stage(Stage::Distilled))
        });
        let steps = self.number(Sign::Steps, distilled);
        let ambiguous = settled.of(Paradigm::Autoregressive).is_enough();
        let one_step = self.claim(Claim::OneStep, Paradigm::Diffusion, ambiguous);
        let single = match steps {
            Some((_, high)) if high > 1 => false,
            steps => steps.is_some() || one_step.is_some(),
        };
        let mut components: Vec<Component> = PARADIGMS
            .into_iter()
            .filter(|paradigm| settled.of(*paradigm).is_enough())
            .map(|paradigm| self.component(paradigm, &settled, steps, single, distilled))
            .collect();
        // A game that tunes a network leaves its sampling as it is.
        let tuned = components.iter().find(|part| part.paradigm == Paradigm::Diffusion);
        if let Some(procedure) = tuned.map(|part| part.procedure) {
            let games = components.iter_mut().filter(|part| part.stage == Stage::FineTuning);
            games.for_each(|part| part.procedure = procedure);
        }
        let outside = settled.reason(&components);
        let passes = self.passes(&components, steps);
        let mut failures = Vec::new();
        for failure in components.iter().flat_map(|part| part.place.failures) {
            if !failures.contains(failure) {
                failures.push(*failure);
            }
        }
        let conditions: BTreeSet<&'static str> = self
            .asserted()
            .flat_map(Said::signs)
            .filter_map(|sign| if let Sign::Condition(of) = sign { Some(*of) } else { None })
            .collect();
        let conditioning = Vec::from_iter(conditions);
        let likelihood_stated =
            self.asserted().flat_map(Said::signs).any(|sign| matches!(sign, Sign::Likelihood(_)));
        let is_component = |sign: &Sign| matches!(sign, Sign::Component { .. });
        let set_aside =
            self.said.iter().filter(|said| !said.is_asserted() && said.signs().iter().any(is_component));
        Reading {
            tradeoffs: card::tradeoffs(&components, self.has(Sign::Clips)),
            not_stated: card::not_stated(&components, &conditioning, &passes, likelihood_stated),
            conditioning,
            likelihood: likelihood(&components, outside),
            passes,
            failures,
            unusual: self.unusual(&components, one_step),
            outside,
            outside_evidence: outside
                .map_or(Vec::new(), |reason| self.evidence(|sign| *sign == Sign::Outside(reason))),
            set_aside: set_aside.map(|said| said.evidence.clone()).collect(),
            components,
        }
    }

    fn component(
        &self,
        paradigm: Paradigm,
        settled: &Settled,
        steps: Option<(usize, usize)>,
        single: bool,
        distilled: bool,
    ) -> Component {
        let sum = settled.of(paradigm);
        let is_diffusion = paradigm == Paradigm::Diffusion;
        let discrete = (is_diffusion && settled.discrete).then_some(Aim::MaskedCrossEntropy);
        let stated = discrete.or_else(|| sum.stated());
        let aim = stated.unwrap_or(Aim::implied(paradigm));
        let told = sum.procedures.iter().filter(|(_, weight)| **weight >= 0.3);
        let told = told.max_by(|a, b| a.1.total_cmp(b.1)).map(|(procedure, _)| *procedure);
        let implied = match (paradigm, aim) {
            (Paradigm::Autoregressive, _) => Procedure::Sequential,
            (Paradigm::Diffusion, _) | (_, Aim::VelocityMse) => Procedure::MultiStep,
            (Paradigm::Energy, _) => Procedure::Chain,
            _ => Procedure::OnePass,
        };
        let single = is_diffusion && single;
        let procedure = match paradigm {
            _ if single => Procedure::OnePass,
            // A flow's density says how it is trained, not whether it is a chain of layers or an ODE.
            Paradigm::Flow => told.unwrap_or(implied),
            _ => implied,
        };
        let stage = match paradigm {
            Paradigm::Diffusion if distilled || aim == Aim::Consistency => Stage::Distilled,
            Paradigm::Flow if aim == Aim::DensityDistillation => Stage::Distilled,
            Paradigm::Adversarial => self.stage_of_game(settled, distilled),
            _ => Stage::Training,
        };
        let guidance = if aim == Aim::VelocityMse { settled.flow_guidance } else { sum.guidance };
        let in_steps = matches!(implied, Procedure::MultiStep | Procedure::Chain);
        Component {
            paradigm,
            aim,
            aim_stated: stated.is_some(),
            procedure,
            procedure_stated: told.is_some() || single || in_steps && steps.is_some(),
            stage,
            guided: guidance >= 0.5 && !self.has(Sign::GuidanceInOnePass),
            place: predicted(paradigm, aim, procedure, stage, steps.map_or(USUAL_STEPS, |steps| steps.1)),
            weight: sum.weight,
            evidence: self
                .evidence(|sign| matches!(sign, Sign::Component { paradigm: of, .. } if *of == paradigm)),
        }
    }

    /// Whether a game is the training, tunes what is trained otherwise, or helps a codec.
    fn stage_of_game(&self, settled: &Settled, distilled: bool) -> Stage {
        let others = [Paradigm::Autoregressive, Paradigm::Flow, Paradigm::Diffusion];
        let another = others.iter().any(|other| settled.of(*other).is_enough());
        let tuned: HashSet<usize> = self
            .asserted()
            .filter(|said| said.signs().contains(&Sign::Stage(Stage::FineTuning)))
            .map(|said| said.sentence)
            .collect();
        let mut games = self.asserted().filter(|said| said.speaks_of(Paradigm::Adversarial));
        let latent = settled.of(Paradigm::Latent);
        let codec = latent.is_enough() && latent.beyond_codec < latent.weight;
        match another {
            true if games.any(|said| tuned.contains(&said.sentence)) => Stage::FineTuning,
            // A student that is judged against its teacher is no codec.
            true if codec && !distilled => Stage::Auxiliary,
            _ => Stage::Training,
        }
    }

    fn asserted(&self) -> impl Iterator<Item = &Said<'_>> {
        self.said.iter().filter(|said| said.is_asserted())
    }

    /// Whether this is asserted somewhere.
    pub fn has(&self, sign: Sign) -> bool {
        self.asserted().any(|said| said.signs().contains(&sign))
    }

    /// All that is asserted of such a sign.
    pub fn evidence(&self, of: impl Fn(&Sign) -> bool) -> Vec<Evidence> {
        let said = self.asserted().filter(|said| said.signs().iter().any(&of));
        said.map(|said| said.evidence.clone()).collect()
    }

    /// Where this is claimed; in a sentence that speaks of the paradigm, if another could be meant.
    pub fn claim(&self, claim: Claim, of: Paradigm, ambiguous: bool) -> Option<Evidence> {
        let sentences: HashSet<usize> =
            self.said.iter().filter(|said| said.speaks_of(of)).map(|said| said.sentence).collect();
        let mut claims = self.asserted().filter(|said| said.signs().contains(&Sign::Claim(claim)));
        let claimed = claims.find(|said| !ambiguous || sentences.contains(&said.sentence));
        claimed.map(|said| said.evidence.clone())
    }

    /// The number that has the most weight, of equals the first; or the smallest, since a student takes fewer steps
    /// than its teacher.
    pub fn number(&self, of: Sign, smallest: bool) -> Option<(usize, usize)> {
        let mut best: Option<(f64, (usize, usize))> = None;
        for said in
            self.said.iter().filter(|said| said.evidence.tone == Tone::Asserted && said.signs().contains(&of))
        {
            let Some((low, high)) = said.found.number else { continue };
            if !(1.0..=1e5).contains(&low) || low.fract() != 0.0 || high.fract() != 0.0 || high > 1e5 {
                continue;
            }
            let (weight, number) = (said.evidence.rule.weight, (low as usize, high as usize));
            let better = |(other, known)| if smallest { number < known } else { weight > other };
            let better = best.is_none_or(better);
            if better {
                best = Some((weight, number));
            }
        }
        best.map(|(_, number)| number)
    }
}

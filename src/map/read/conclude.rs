//! What follows from the components: the map's predictions, the evaluations, claims that need a second look.

use super::place::Findings;
use super::rules::Sign;
use super::terms::{Aim, Claim, Outside, Passes, Procedure, Stage, Term};
use super::{Component, Evidence, Unusual};
use crate::map::{Divergence, LatencyLaw, LikelihoodKind, Paradigm, Place, Sampling, latency, place};

/// What the map predicts for a component.
pub fn predicted(paradigm: Paradigm, aim: Aim, procedure: Procedure, stage: Stage, steps: usize) -> Place {
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

/// That of the weakest component, which draw one after the other.
pub fn likelihood(components: &[Component], outside: Option<Outside>) -> Option<LikelihoodKind> {
    if components.is_empty() || outside.is_some() {
        return None;
    }
    let kinds = components.iter().map(|part| part.place.likelihood);
    Some(kinds.fold(LikelihoodKind::Exact, LikelihoodKind::weaker))
}

impl Findings<'_> {
    /// The evaluations of each component that is evaluated to draw a sample.
    pub fn passes(&self, components: &[Component], steps: Option<(usize, usize)>) -> Passes {
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

    /// Claims against the grain of a component's paradigm.
    pub fn unusual(&self, components: &[Component], one_step: Option<Evidence>) -> Vec<Unusual> {
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

//! Cards of compositions: what is said of the parts, added up.

use std::borrow::Cow;
use std::ops::Add;

use super::{Card, Divergence, LatencyLaw, LikelihoodKind, Objective, Paradigm, Sampling};

impl LikelihoodKind {
    /// The kind of a sum: that of its weaker term. An exact number is the strongest, then one that a solver has to
    /// find, then one with noise; a bound is weaker, for how far off it is stays unknown; then comes an unknown
    /// constant, and last nothing at all.
    ///
    /// ```
    /// use quadrivium::LikelihoodKind::*;
    /// assert_eq!(LowerBound.weaker(OdeEstimate), LowerBound);
    /// assert_eq!(Unavailable.weaker(Exact), Unavailable);
    /// ```
    pub fn weaker(self, other: Self) -> Self {
        let order = [
            LikelihoodKind::Exact,
            LikelihoodKind::OdeEstimate,
            LikelihoodKind::Estimate,
            LikelihoodKind::LowerBound,
            LikelihoodKind::Unnormalized,
            LikelihoodKind::Unavailable,
        ];
        let rank = |kind| order.iter().position(|other| *other == kind);
        if rank(self) < rank(other) { other } else { self }
    }
}

/// The law of one part after another: what grows with either.
impl Add for LatencyLaw {
    type Output = LatencyLaw;

    fn add(self, other: LatencyLaw) -> LatencyLaw {
        match (self, other) {
            (LatencyLaw::Constant, law) | (law, LatencyLaw::Constant) => law,
            (law, other) if law == other => law,
            _ => LatencyLaw::LinearInDimAndSteps,
        }
    }
}

impl Card {
    /// The card of parts that draw a row one after the other and score it by a sum: evaluations and latency laws add
    /// up, the likelihood is the weakest kind, failures unite in the order of the parts.
    ///
    /// ```
    /// use quadrivium::map::{Card, LatencyLaw, LikelihoodKind, Objective, Paradigm, Sampling};
    /// let prior = Card::new("DDIM-50", Objective::NoisePrediction, Sampling::Denoising { steps: 50 });
    /// let decoder = Card::new("VAE", Objective::Elbo, Sampling::OnePass);
    /// let card = Card::composed("DDIM-50 → VAE", vec![prior, decoder]);
    /// assert_eq!((card.paradigm, card.nfe, card.latency), (Paradigm::Hybrid, 51, LatencyLaw::LinearInSteps));
    /// assert_eq!((card.likelihood, card.failures.len()), (LikelihoodKind::LowerBound, 4));
    /// assert_eq!(card.parts[1].paradigm, Paradigm::Latent);
    /// ```
    pub fn composed(name: impl Into<Cow<'static, str>>, parts: Vec<Card>) -> Self {
        let evaluations = parts.iter().map(|part| part.nfe).sum();
        let mut failures = Vec::new();
        for failure in parts.iter().flat_map(|part| part.failures.iter()) {
            if !failures.contains(failure) {
                failures.push(*failure);
            }
        }
        Card {
            name: name.into(),
            paradigm: Paradigm::Hybrid,
            objective: Objective::Staged,
            divergence: Divergence::OffTheMap,
            sampling: Sampling::Staged { evaluations },
            nfe: evaluations,
            latency: parts.iter().map(|part| part.latency).fold(LatencyLaw::Constant, Add::add),
            likelihood: parts
                .iter()
                .map(|part| part.likelihood)
                .fold(LikelihoodKind::Exact, LikelihoodKind::weaker),
            failures: failures.into(),
            parts,
        }
    }
}

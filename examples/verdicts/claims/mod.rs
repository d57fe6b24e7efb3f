//! The claims, by what they are about.

mod classifiers;
mod closed_form;
mod conditioning;
mod coverage;
mod distillation;
mod divergences;
mod hybrids;
mod likelihood;
mod map;
mod objectives;
mod priors;
mod sampling;
mod spaces;

use crate::claim::Claim;

pub struct Group {
    pub name: &'static str,
    pub claims: &'static [Claim],
}

/// All claims in the order of the page; their numbers are their names.
pub const GROUPS: &[Group] = &[
    Group { name: "Objectives", claims: objectives::CLAIMS },
    Group { name: "Divergences", claims: divergences::CLAIMS },
    Group { name: "Sampling and latency", claims: sampling::CLAIMS },
    Group { name: "Likelihood", claims: likelihood::CLAIMS },
    Group { name: "Coverage, sharpness, stability", claims: coverage::CLAIMS },
    Group { name: "Conditions and guidance", claims: conditioning::CLAIMS },
    Group { name: "Hybrids", claims: hybrids::CLAIMS },
    Group { name: "The map", claims: map::CLAIMS },
];

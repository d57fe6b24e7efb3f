//! The claims, by what they are about.

mod coverage;
mod objectives;
mod sampling;

use crate::claim::Claim;

pub struct Group {
    pub name: &'static str,
    pub claims: &'static [Claim],
}

/// All claims in the order of the page; their numbers are their names.
pub const GROUPS: &[Group] = &[
    Group { name: "Objectives", claims: objectives::CLAIMS },
    Group { name: "Sampling and latency", claims: sampling::CLAIMS },
    Group { name: "Coverage, sharpness, stability", claims: coverage::CLAIMS },
];

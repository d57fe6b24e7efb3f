//! The claims, by what they are about.

mod likelihood;
mod map;
mod objectives;

use crate::claim::Claim;

pub struct Group {
    pub name: &'static str,
    pub claims: &'static [Claim],
}

/// All claims in the order of the page; their numbers are their names.
pub const GROUPS: &[Group] = &[
    Group { name: "Objectives", claims: objectives::CLAIMS },
    Group { name: "Likelihood", claims: likelihood::CLAIMS },
    Group { name: "The map", claims: map::CLAIMS },
];

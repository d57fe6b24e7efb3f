//! Which divergence a training descends.

use crate::claim::{Bound, Claim, Finding, measured};
use crate::divergences::{Microscope, NAMES};
use crate::lab::{Lab, Outcome};
use crate::statistics;
use crate::trainings::{COURSE, watched};

pub const CLAIMS: &[Claim] = &[measured(
    8,
    "A model trained by its likelihood descends KL(p‖q), one trained on scores the Fisher divergence, and a game \
     Jensen–Shannon or Wasserstein-1.",
    own_divergences,
)];

/// Rank correlations of each paradigm's own divergence with the steps. The statement about games is about a critic that
/// is at its best at each step, which none is: what it says of trainings is a limit.
fn own_divergences(lab: &Lab) -> Outcome<Finding> {
    let seeds = lab.each(|seed| watched(&COURSE, lab.streams(seed).family(8)))?;
    let mut finding = Finding::new();
    for (k, training) in seeds[0].iter().enumerate() {
        let trends: Vec<f64> = seeds.iter().map(|trainings| trainings[k].trend(training.own)).collect();
        let name = format!("{}: rank correlation of {} with steps", training.name, NAMES[training.own]);
        let (trend, falls) = (statistics::mean(&trends), Bound::AtMost(-0.9));
        finding = match training.density {
            "of draws" => finding.limit(name, trend, falls),
            _ => finding.claim(name, trend, falls),
        };
    }
    let floor = lab.mean(|seed| {
        let streams = lab.streams(seed).family(8).family(0);
        Ok(Microscope::new(streams)?.floor(streams))
    })?;
    Ok(finding.beside("Wasserstein-1 of a perfect sampler", floor).because(
        "Models with a density fall on their own divergence. In a game the divergence is that of the best critic, and the \
         critic at hand is not: the divergence rises where the players turn around each other, and where a mode is lost.",
    ))
}

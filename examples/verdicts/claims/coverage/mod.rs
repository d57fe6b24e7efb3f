//! Which modes are covered, how sharp draws are, and how reliably training succeeds.

mod games;
mod knobs;
mod modes;
mod scale;

use crate::claim::{Claim, measured, waits};

pub const CLAIMS: &[Claim] = &[
    measured(47, "Diffusions cover more modes than GANs.", modes::broader),
    measured(48, "A diffusion is penalized for a mode that it misses at all noise levels.", modes::penalty),
    measured(49, "GANs collapse to some of the modes.", modes::collapse),
    measured(50, "Wasserstein training reduces mode collapse but does not end it.", modes::mitigated),
    measured(51, "Of the GANs, the non-saturating one with R1 trains most reliably.", games::stable),
    measured(
        52,
        "A diffusion minimizes one well-behaved loss; a GAN has to be watched and tuned.",
        games::babysitting,
    ),
    measured(53, "Diffusions improve predictably with their size.", scale::widths),
    waits(54, "For faces, sharpness matters more than coverage.", "the library has no pictures of faces"),
    measured(55, "GANs draw sharp images, where VAEs blur them.", scale::sharpness),
    measured(56, "GANs are notorious for unstable training.", games::unstable),
    measured(57, "A GAN trains until its draws cannot be told from the data.", modes::indistinguishable),
    measured(58, "Sharper draws cost coverage, and the reverse.", knobs::sharpness_for_coverage),
    measured(
        59,
        "Each paradigm fails in its own way: GANs lose modes, long texts drift, diffusions need steps for the last quality.",
        knobs::failures,
    ),
    measured(
        60,
        "Trade-offs come with the paradigm, not with the architecture of the network.",
        scale::architectures,
    ),
    measured(
        61,
        "Averaged weights, gradient penalties and two learning rates stabilize a GAN.",
        games::tricks,
    ),
];

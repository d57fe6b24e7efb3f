//! Which models know how probable a row is, and what that costs them.

mod absent;
mod bounds;
mod exact;
mod together;

use crate::claim::{Claim, measured, quick};

pub const CLAIMS: &[Claim] = &[
    measured(
        36,
        "An autoregressive model has an exact log-likelihood: its probabilities sum to 1, and on average it never beats the \
         truth.",
        exact::autoregressive,
    ),
    measured(
        37,
        "Perplexity per token compares models that share a vocabulary, and only those.",
        exact::perplexity,
    ),
    measured(
        38,
        "A normalizing flow has an exact density, and under a condition it has one for each condition.",
        exact::flows,
    ),
    measured(39, "A VAE gives a lower bound on the log-likelihood, never the value.", bounds::variational),
    measured(
        40,
        "A diffusion model has a likelihood by way of its probability-flow ODE, which has to be integrated for each row.",
        bounds::probability_flow,
    ),
    measured(41, "A GAN has no likelihood; there is no density anywhere in it.", absent::games),
    measured(
        42,
        "A diffusion model that was distilled to a few steps has lost its likelihood.",
        absent::distilled,
    ),
    quick(
        43,
        "A generative model can both draw new examples and say how probable an example is.",
        absent::kinds,
    ),
    measured(44, "Exact likelihood and drawing in one parallel pass exclude each other.", together::parallel),
    measured(45, "Exact likelihood and sharp samples exclude each other.", together::sharp),
    measured(
        46,
        "The virtues of the paradigms cannot all be had at once: each gives up something that another one has.",
        together::front,
    ),
];

//! What each paradigm minimizes.

mod games;
mod likelihoods;
mod scores;

use crate::claim::{Claim, measured, quick};

pub const CLAIMS: &[Claim] = &[
    quick(
        1,
        "The loss of an autoregressive model, the next-token cross-entropy, is its negative log-likelihood, and the probabilities \
         of all sequences sum to 1.",
        likelihoods::chain_rule,
    ),
    measured(
        2,
        "The ELBO is a lower bound on the log-likelihood that can be computed, and it falls short by the KL from the \
         encoder's posterior to the true one.",
        likelihoods::lower_bound,
    ),
    measured(
        3,
        "The loss of a VAE is a reconstruction term plus a weighted KL term, and the weight trades one against the other.",
        likelihoods::rate_and_distortion,
    ),
    measured(
        4,
        "At the optimal discriminator, the original GAN objective is the Jensen–Shannon divergence.",
        games::jensen_shannon,
    ),
    measured(5, "The critic of a WGAN-GP measures the Wasserstein-1 distance.", games::wasserstein),
    measured(
        6,
        "Predicting the noise by squared error is denoising score matching at all noise levels.",
        scores::noise_is_score,
    ),
    measured(
        7,
        "One trained noise predictor serves DDPM, DDIM, the reverse SDE and the probability-flow ODE, and all of them draw \
         the same distribution.",
        scores::one_network,
    ),
    quick(
        9,
        "The KL term of the ELBO, between the encoder's posterior and the prior, is known in closed form.",
        likelihoods::closed_form_kl,
    ),
    quick(
        10,
        "Consistency training is derived from the same velocity regression: in small steps, its gradient is that of the \
         continuous-time flow-map objective.",
        scores::consistency,
    ),
];

//! How each paradigm draws, and how long that takes.

mod counts;
mod few_steps;
mod noise;
mod sequences;
mod times;

pub use few_steps::Distances;

use crate::claim::{Claim, measured, quick, waits};

pub const CLAIMS: &[Claim] = &[
    quick(
        11,
        "An autoregressive model runs its network once for each piece of its output, one after the other.",
        sequences::passes,
    ),
    measured(12, "The time of an autoregressive draw is proportional to its length.", sequences::length),
    measured(
        13,
        "With its keys and values cached, one more token costs about the same however many came before.",
        sequences::prefix,
    ),
    measured(14, "A VAE draws any row in one pass of its decoder, and in the same time.", times::vae),
    measured(15, "A GAN draws any row in one pass of its generator, and in the same time.", times::gan),
    measured(16, "The time of a diffusion is proportional to its number of steps.", times::steps),
    measured(
        17,
        "A diffusion needs tens of passes; DDIM in 50 steps is where to stop.",
        few_steps::sweet_spot,
    ),
    measured(
        18,
        "DDIM in 50 steps draws about as well as DDPM in 1000, in a twentieth of the time.",
        few_steps::twentieth,
    ),
    measured(
        19,
        "Distillation brings the number of steps below ten, at some cost in quality.",
        few_steps::distillation,
    ),
    measured(20, "Only distillation allows still fewer steps.", few_steps::without_distillation),
    measured(
        21,
        "GANs and VAEs draw fastest; an autoregressive model slows down with the length, a diffusion with the steps.",
        times::order,
    ),
    quick(22, "Only autoregressive models draw sequentially.", counts::sequential),
    measured(
        23,
        "An autoregressive model that draws several tokens at once uses a procedure that is not the usual one.",
        sequences::at_once,
    ),
    quick(24, "A normalizing flow draws in one pass.", counts::flow),
    quick(25, "A latent diffusion runs its inner sampler and then the decoder once.", counts::latent),
    quick(26, "Fifty guided DDIM steps take a hundred passes per row.", counts::guided),
    measured(27, "Guidance doubles the cost of a draw.", times::guided),
    quick(28, "A latent diffusion starts by encoding noise into the latent space.", counts::encoder),
    measured(
        29,
        "The time of a latent diffusion is that of its decoder plus a fixed amount per step.",
        times::latent,
    ),
    measured(30, "A distilled model needs one pass per row, or two with guidance.", times::one_or_two),
    waits(
        31,
        "The time of a video diffusion is proportional both to its steps and to the size of its latents.",
        "the library has no video, and no network whose cost grows with the frames of a clip",
    ),
    waits(
        32,
        "A language model that hands over to a diffusion takes the sum of both times.",
        "no composition yet lets text condition an image that the text model reads again",
    ),
    measured(
        33,
        "When every microsecond counts, one pass of a GAN beats fifty diffusion steps.",
        times::real_time,
    ),
    quick(34, "A diffusion starts from pure noise.", noise::pure),
    measured(
        35,
        "DDIM is deterministic: the noise decides the row, and the rows follow the same distribution.",
        noise::deterministic,
    ),
];

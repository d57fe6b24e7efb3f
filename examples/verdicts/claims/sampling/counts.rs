//! Passes of networks, counted.

use quadrivium::diffusion::{Grid, Guidance};
use quadrivium::engine::RowStreams;
use quadrivium::hybrid::{Codec, Latent, LatentConfig};
use quadrivium::ndarray::Array2;
use quadrivium::prelude::*;
use quadrivium::{Architecture, ConditionKind, Sampler, seeded};

use crate::claim::{Bound, Estimate, Finding};
use crate::lab::{Lab, Outcome};

const ONE: Bound = Bound::Within(1.0, 1.0);

/// Passes that a row takes.
fn passes(model: &dyn Distribution) -> Outcome<f64> {
    Ok(model.sample(1, &SampleOptions::default(), &mut seeded(0))?.nfe as f64)
}

fn diffusion(dim: usize, sampler: Sampler) -> Result<Diffusion> {
    Diffusion::new(DiffusionConfig { dim, sampler, ..Default::default() }, &mut seeded(0))
}

fn masked_flow(dim: usize) -> Result<Flow> {
    let architecture = Architecture::MaskedAutoregressive;
    Flow::new(FlowConfig { dim, architecture, ..Default::default() }, &mut seeded(0))
}

const DDIM: Sampler = Sampler::Ddim { steps: 50, eta: 0.0 };

/// A model of so many columns.
type Built<'a> = &'a dyn Fn(usize) -> Result<Box<dyn Generative>>;

pub fn sequential(_: &Lab) -> Outcome<Finding> {
    let (few, many) = (2, 16);
    let growth = |model: Built| -> Outcome<Estimate> {
        Ok(Estimate::exact(passes(model(many)?.as_ref())? / passes(model(few)?.as_ref())?))
    };
    let rng = || seeded(0);
    let vae = growth(&|dim| Ok(Box::new(Vae::new(VaeConfig { dim, ..Default::default() }, &mut rng())?)))?;
    let gan = growth(&|dim| Ok(Box::new(Gan::new(GanConfig { dim, ..Default::default() }, &mut rng())?)))?;
    let ddim = growth(&|dim| Ok(Box::new(diffusion(dim, DDIM)?)))?;
    let autoregressive = growth(&|dim| {
        Ok(Box::new(Autoregressive::new(AutoregressiveConfig { dim, ..Default::default() }, &mut rng())?))
    })?;
    let masked = growth(&|dim| Ok(Box::new(masked_flow(dim)?)))?;
    Ok(Finding::new()
        .beside("passes of 16 columns over those of 2: autoregressive", autoregressive)
        .claim("VAE", vae, ONE)
        .claim("GAN", gan, ONE)
        .claim("diffusion", ddim, ONE)
        .limit("masked autoregressive flow", masked, ONE)
        .limit("passes of DDIM-50 that wait for the one before", Estimate::exact(passes(&diffusion(2, DDIM)?)?), ONE)
        .because(
            "VAEs and GANs draw all columns at once, and so does a diffusion, in steps that still follow one another. A \
             masked autoregressive flow learns by the change of variables and draws column by column.",
        ))
}

pub fn flow(_: &Lab) -> Outcome<Finding> {
    let mut finding = Finding::new();
    for dim in [2, 16] {
        let coupling = Flow::new(FlowConfig::with_dim(dim), &mut seeded(0))?;
        finding = finding
            .claim(format!("passes of couplings, {dim} columns"), Estimate::exact(passes(&coupling)?), ONE)
            .limit(
                format!("of a masked flow, {dim} columns"),
                Estimate::exact(passes(&masked_flow(dim)?)?),
                ONE,
            );
    }
    Ok(finding.because(
        "A flow of couplings inverts all its columns together. A masked autoregressive flow scores in one pass and \
         inverts column by column.",
    ))
}

/// Latents of 4 columns for rows of 8.
fn latent_diffusion(sampler: Sampler) -> Result<Latent<Vae, Diffusion>> {
    let vae = Vae::new(VaeConfig { dim: 8, latent_dim: 4, ..Default::default() }, &mut seeded(1))?;
    Latent::new(vae, diffusion(4, sampler)?, LatentConfig::default())
}

pub fn latent(_: &Lab) -> Outcome<Finding> {
    let mut finding = Finding::new();
    let samplers = [
        ("DDIM-1", Sampler::Ddim { steps: 1, eta: 0.0 }),
        ("DDIM-50", DDIM),
        ("DPM-Solver++-20", Sampler::DpmSolver { steps: 20 }),
        ("Heun-18", Sampler::Heun { steps: 18 }),
    ];
    for (name, sampler) in samplers {
        let model = latent_diffusion(sampler)?;
        let more = passes(&model)? - passes(model.prior())?;
        finding = finding.claim(format!("passes beyond those of {name}"), Estimate::exact(more), ONE);
    }
    Ok(finding)
}

pub fn guided(_: &Lab) -> Outcome<Finding> {
    let steps = 50;
    // Levels of our own, so that an interval holds two fifths of them by construction.
    let levels: Vec<f64> = (0..steps).map(|k| 50.0 * 1e-4f64.powf(k as f64 / (steps - 1) as f64)).collect();
    let interval = (levels[34], levels[15]);
    let condition = ConditionKind::Class { classes: 3 };
    let config = DiffusionConfig { sampler: DDIM, condition, ..Default::default() };
    let model = Diffusion::new(config, &mut seeded(0))?.with_grid(Grid::Levels(levels))?;
    let everywhere = model.with_guidance(Guidance::default())?;
    let sometimes = model.with_guidance(Guidance { interval, ..Default::default() })?;
    let of = |model: &Diffusion| -> Outcome<Estimate> {
        Ok(Estimate::exact(passes(model.given(&Condition::class(1))?.as_ref())?))
    };
    Ok(Finding::new()
        .claim("passes with guidance", of(&everywhere)?, Bound::Within(100.0, 100.0))
        .claim("with guidance in 40 % of the steps", of(&sometimes)?, Bound::Within(70.0, 70.0))
        .beside("without guidance", of(&model)?))
}

/// The draw is made once more of the prior and the decoder alone, on the same streams.
pub fn encoder(_: &Lab) -> Outcome<Finding> {
    let (model, n, options) = (latent_diffusion(DDIM)?, 64, SampleOptions::default());
    let at = RowStreams::new(quadrivium::numeric::rng::Streams::new(0), 0);
    let (mut whole, mut parts) = (vec![0.0; n * model.dim()], vec![0.0; n * model.dim()]);
    let spent = model.draw_at(at, &options, &mut whole)?;
    let mut z = vec![0.0; n * model.prior().dim()];
    let mut needed = model.prior().draw_at(at.family(0), &options, &mut z)?;
    let z = Array2::from_shape_vec((n, model.prior().dim()), z)?;
    needed += model.codec().decode_at(z.view(), at.family(1), &options, &mut parts)?;
    let differ = whole.iter().zip(&parts).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    Ok(Finding::new()
        .claim(
            "passes of the encoder per draw",
            Estimate::exact(spent as f64 - needed as f64),
            Bound::AtLeast(1.0),
        )
        .claim("numbers that the prior and the decoder alone leave open", Estimate::exact(differ as f64), Bound::AtLeast(1.0))
        .beside("passes of the prior and the decoder", Estimate::exact(needed as f64))
        .because(
            "The noise is drawn in the latent space, where the diffusion removes it; the decoder does the rest. The encoder \
             is needed for training and for editing given rows, not for draws.",
        ))
}

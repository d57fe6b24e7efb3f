//! What draws cost, by the clock.

use quadrivium::diffusion::{Guidance, LearnedGuidance};
use quadrivium::engine::RowStreams;
use quadrivium::hybrid::{Latent, LatentConfig};
use quadrivium::numeric::rng::Streams;
use quadrivium::prelude::*;
use quadrivium::{Activation, ConditionKind, Head, NetworkSpec, Sampler, seeded};

use crate::claim::{Bound, Estimate, Finding};
use crate::clock::{self, Work};
use crate::lab::{Lab, Outcome};
use crate::statistics;

/// Rows of a draw in bulk: one tile, which one thread draws.
const BULK: usize = 64;

fn ddim(steps: usize) -> Sampler {
    Sampler::Ddim { steps, eta: 0.0 }
}

/// Of two columns, under one of eight classes.
fn conditional() -> Result<Diffusion> {
    let condition = ConditionKind::Class { classes: 8 };
    Diffusion::new(DiffusionConfig { condition, ..Default::default() }, &mut seeded(0))
}

pub fn vae(_: &Lab) -> Outcome<Finding> {
    constant(&Vae::new(VaeConfig::default(), &mut seeded(0))?)
}

pub fn gan(_: &Lab) -> Outcome<Finding> {
    constant(&Gan::new(GanConfig::default(), &mut seeded(0))?)
}

/// The times of different rows, each drawn alone and often, differ by no more than 2 % (one standard deviation).
fn constant(model: &dyn Generative) -> Outcome<Finding> {
    let rows = 20;
    let work = |row: u64| {
        Work::new(100, move || {
            let mut x = [0.0; 2];
            model.draw_at(RowStreams::new(Streams::new(0), row), &SampleOptions::default(), &mut x)?;
            Ok(())
        })
    };
    let works: Vec<Work> = (0..rows).map(work).collect();
    let variation = clock::figure(&works, |seconds| {
        let mean = seconds.iter().sum::<f64>() / rows as f64;
        (seconds.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / rows as f64).sqrt() / mean
    })?;
    let passes = model.sample(1, &SampleOptions::default(), &mut seeded(0))?.nfe as f64;
    Ok(Finding::new().claim("passes", Estimate::exact(passes), Bound::Within(1.0, 1.0)).claim(
        "variation of the time from row to row",
        variation,
        Bound::AtMost(0.02),
    ))
}

pub fn steps(_: &Lab) -> Outcome<Finding> {
    let counts = [10, 32, 100, 316, 1000];
    let sizes = counts.map(|steps| steps as f64);
    let growth = |models: &[Box<dyn Distribution + '_>]| {
        let works: Vec<Work> = models
            .iter()
            .zip(counts)
            .map(|(model, steps)| Work::draw(1000 / steps, model.as_ref(), BULK / 8))
            .collect();
        clock::growth(&sizes, &works)
    };
    let known = conditional()?;
    let plain: Vec<Diffusion> =
        counts.iter().map(|&steps| known.with_sampler(ddim(steps))).collect::<Result<_>>()?;
    let guided: Vec<Diffusion> =
        plain.iter().map(|model| model.with_guidance(Guidance::default())).collect::<Result<_>>()?;
    let vae = Vae::new(VaeConfig { dim: 8, ..Default::default() }, &mut seeded(0))?;
    let latent = Latent::new(vae, plain[0].clone(), LatentConfig::default())?;
    let given = |models: &[Diffusion]| -> Outcome<Estimate> {
        let class = Condition::class(1);
        growth(&models.iter().map(|model| model.given(&class)).collect::<Result<Vec<_>>>()?)
    };
    let mut in_latents: Vec<Box<dyn Distribution>> = Vec::new();
    for model in &plain {
        in_latents.push(Box::new(latent.with_prior(model.clone())?));
    }
    let linear = Bound::Within(0.98, 1.02);
    Ok(Finding::new()
        .claim("exponent of the time, 10 to 1000 steps", given(&plain)?, linear)
        .claim("with guidance", given(&guided)?, linear)
        .claim("in latents", growth(&in_latents)?, linear)
        .because(
            "What a draw costs beside its steps is seen where there are few of them, and it bends the line.",
        ))
}

pub fn order(_: &Lab) -> Outcome<Finding> {
    // Two layers of 128 each, and one Gaussian per column: about as many parameters take part in a draw.
    let (dim, rng) = (64, &mut seeded(0));
    let network = NetworkSpec::mlp([128; 2], Activation::Silu, 0);
    let vae = Vae::new(VaeConfig { dim, decoder: network.clone(), ..Default::default() }, rng)?;
    let gan = Gan::new(GanConfig { dim, generator: network.clone(), ..Default::default() }, rng)?;
    let head = Head::Mixture { components: 1 };
    let by_columns = |dim| AutoregressiveConfig { dim, head, network: network.clone(), ..Default::default() };
    let sequential = Autoregressive::new(by_columns(dim), rng)?;
    let shorter = Autoregressive::new(by_columns(dim / 4), rng)?;
    let config = DiffusionConfig { dim, network: network.clone(), sampler: ddim(200), ..Default::default() };
    let slower = Diffusion::new(config, rng)?;
    let diffusion = slower.with_sampler(ddim(50))?;
    let models: [&dyn Distribution; 4] = [&vae, &gan, &sequential, &diffusion];
    let works = models.map(|model| Work::draw(1, model, BULK));
    let over =
        |model: usize| clock::figure(&works, move |seconds| seconds[model] / seconds[0].max(seconds[1]));
    let passes = |one: &dyn Distribution, other: &dyn Distribution| {
        Estimate::exact(one.card().nfe as f64 / other.card().nfe as f64)
    };
    let (longer, four) = (Bound::AtLeast(1.0), Bound::Within(4.0, 4.0));
    Ok(Finding::new()
        .claim("time of an autoregressive draw, 64 columns, over the slower of VAE and GAN", over(2)?, longer)
        .claim("of DDIM-50 over the same", over(3)?, longer)
        .claim("autoregressive passes, 64 columns over 16", passes(&sequential, &shorter), four)
        .claim("diffusion passes, 200 steps over 50", passes(&slower, &diffusion), four)
        .beside("GAN over VAE", clock::figure(&works, |seconds| seconds[1] / seconds[0])?))
}

pub fn guided(_: &Lab) -> Outcome<Finding> {
    let plain = conditional()?.with_sampler(ddim(50))?;
    let guided = plain.with_guidance(Guidance::default())?;
    let class = Condition::class(1);
    let (guided, plain) = (guided.given(&class)?, plain.given(&class)?);
    let ratio = |n| clock::ratio([Work::draw(1, guided.as_ref(), n), Work::draw(2, plain.as_ref(), n)]);
    let double = Bound::Within(1.9, 2.1);
    Ok(Finding::new()
        .claim("time with guidance over that without, 64 rows", ratio(BULK)?, double)
        .limit("one row", ratio(1)?, double)
        .because(
            "Guidance doubles the operations. The two predictions are made in one batch, so weights are read once for \
             both: a single row, which waits for the weights, takes less than twice the time.",
        ))
}

/// The square of the correlation of y with x.
fn explained(x: &[f64], y: &[f64]) -> f64 {
    let slope = |x: &[f64], y: &[f64]| statistics::slope(x, y).mean;
    slope(x, y) * slope(y, x)
}

pub fn latent(_: &Lab) -> Outcome<Finding> {
    let network = NetworkSpec::mlp([128; 3], Activation::Silu, 0);
    let vae = VaeConfig { dim: 64, latent_dim: 16, decoder: network.clone(), ..Default::default() };
    let prior = Diffusion::new(DiffusionConfig { dim: 16, network, ..Default::default() }, &mut seeded(0))?;
    let latent = Latent::new(Vae::new(vae, &mut seeded(0))?, prior, LatentConfig::default())?;
    let counts = [1, 5, 10, 20, 50, 100];
    let models: Vec<Latent<Vae, Diffusion>> = counts
        .iter()
        .map(|&steps| latent.with_prior(latent.prior().with_sampler(ddim(steps))?))
        .collect::<Result<_>>()?;
    let mut works: Vec<Work> =
        models.iter().zip(counts).map(|(model, steps)| Work::draw(100 / steps, model, BULK)).collect();
    works.push(Work::draw(100, latent.codec(), BULK));
    let x = counts.map(|steps| steps as f64);
    let of_line = |seconds: &[f64]| explained(&x, &seconds[..x.len()]);
    // What a draw without steps would take, over the decoder alone.
    let rest = |seconds: &[f64]| {
        let slope = statistics::slope(&x, &seconds[..x.len()]).mean;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        (mean(&seconds[..x.len()]) - slope * mean(&x)) / seconds[x.len()]
    };
    Ok(Finding::new()
        .claim(
            "share of the time that the line explains",
            clock::figure(&works, of_line)?,
            Bound::AtLeast(0.999),
        )
        .beside("what is left without steps, over the decoder's time", clock::figure(&works, rest)?)
        .because("A draw is one pass of the denoiser per step and one of the decoder; the rest is the noise of the clock."))
}

pub fn one_or_two(_: &Lab) -> Outcome<Finding> {
    let (condition, class) = (ConditionKind::Class { classes: 8 }, Condition::class(1));
    let config = FlowMapConfig { condition, steps: 1, ..Default::default() };
    let learned = FlowMapConfig { guidance: Some(LearnedGuidance::default()), ..config.clone() };
    let once = FlowMap::new(learned, &mut seeded(0))?.with_scale(2.0)?;
    let twice = FlowMap::new(config, &mut seeded(0))?.with_guidance(Guidance::default())?;
    let (once, twice) = (once.given(&class)?, twice.given(&class)?);
    let passes = |model: &dyn Distribution| -> Outcome<Estimate> {
        Ok(Estimate::exact(model.sample(1, &SampleOptions::default(), &mut seeded(0))?.nfe as f64))
    };
    let times = [Work::draw(15, twice.as_ref(), BULK), Work::draw(30, once.as_ref(), BULK)];
    Ok(Finding::new()
        .claim("passes, guidance learned", passes(once.as_ref())?, Bound::Within(1.0, 1.0))
        .claim("passes, guidance by two predictions", passes(twice.as_ref())?, Bound::Within(2.0, 2.0))
        .beside("time of two over that of one, 64 rows", clock::ratio(times)?))
}

pub fn real_time(_: &Lab) -> Outcome<Finding> {
    let gan = Gan::new(GanConfig::default(), &mut seeded(0))?;
    let diffusion = Diffusion::new(DiffusionConfig::default(), &mut seeded(0))?.with_sampler(ddim(50))?;
    let ratio = clock::ratio([Work::draw(2, &diffusion, 1), Work::draw(100, &gan, 1)])?;
    Ok(Finding::new().claim("DDIM-50 over GAN, one row at a time", ratio, Bound::AtLeast(40.0)))
}

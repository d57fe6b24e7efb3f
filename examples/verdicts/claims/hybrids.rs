//! Compositions of paradigms.

use std::rc::Rc;
use std::time::Instant;

use quadrivium::Sampler;
use quadrivium::engine::RowStreams;
use quadrivium::hybrid::{Codec, ExplicitGame, FineTuneConfig, Game, Latent, LatentConfig, fine_tune};
use quadrivium::metrics::mode_coverage;
use quadrivium::ndarray::Array2;
use quadrivium::numeric::rng::Rng;
use quadrivium::prelude::*;
use quadrivium::worlds::Toy;

use super::{distillation, priors, spaces};
use crate::claim::{Bound, Claim, Estimate, Finding, measured, quick, waits};
use crate::lab::{Lab, Outcome};
use crate::spots::{self, COURSE, JUDGED, LATENTS, PIXELS};
use crate::statistics;

pub const CLAIMS: &[Claim] = &[
    measured(
        70,
        "The latents of a picture are far fewer numbers than its pixels, and a step on them is cheaper.",
        smaller,
    ),
    measured(
        71,
        "Diffusion in latents reaches a quality in a fraction of the training that pixels take.",
        feasible,
    ),
    measured(72, "The compression of the autoencoder limits what a latent diffusion can draw.", ceiling),
    quick(
        73,
        "The autoencoder learns by its ELBO and then the diffusion by its noise MSE; no gradient goes from one to the other.",
        two_stages,
    ),
    measured(
        74,
        "A latent diffusion distilled into a few steps keeps its guidance.",
        distillation::distilled,
    ),
    measured(
        75,
        "One step of a distilled model draws somewhat worse than fifty steps of its teacher.",
        distillation::degraded,
    ),
    measured(76, "A distilled model follows the probability-flow ODE of its teacher.", distillation::follows),
    measured(77, "A flow is a richer prior for a VAE than the standard normal distribution.", priors::richer),
    measured(
        78,
        "Behind a VAE, which compresses, a diffusion handles the structure of what is drawn.",
        priors::structured,
    ),
    measured(
        79,
        "Adversarial fine-tuning gives the few steps of a diffusion sharpness and leaves it its coverage.",
        tuned,
    ),
    waits(
        80,
        "A language model steers a diffusion of pictures, once an alignment stage has coupled the two.",
        "scenes described in words, and the hidden states of a language model as a condition",
    ),
    waits(
        81,
        "Feeding what was generated back into the model and drawing again makes it better.",
        "scenes described in words, and a model that reads both words and pictures",
    ),
    waits(
        82,
        "A language model in front of a diffusion understands combinations that neither was shown.",
        "scenes described in words, with pairs of objects held out",
    ),
    waits(
        83,
        "Diffusion of clips learns by the same loss, and its quality grows with the steps.",
        "clips with known motion, and a network of space and time",
    ),
    waits(
        84,
        "What keeps the frames of a clip together are the blocks of its network that look along time.",
        "clips with known motion, and a network of space and time",
    ),
    measured(
        85,
        "The gradient penalty of WGAN-GP holds the slope of the critic near 1, but softly.",
        spaces::slopes,
    ),
    measured(
        86,
        "The latent space of a GAN has a straight direction for each attribute of a picture.",
        spaces::of_gan,
    ),
    measured(
        87,
        "The latent space of a VAE is structured: attributes are linear in it, and it is smooth between pictures.",
        spaces::of_vae,
    ),
];

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn seconds(mut run: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64())
}

/// In turns: draws in fifty steps from untrained models, which take as long as from trained ones.
fn smaller(lab: &Lab) -> Outcome<Finding> {
    let ratio = lab.mean(|seed| {
        let (pixel, latent) = (spots::diffusion(lab, seed, PIXELS)?, spots::diffusion(lab, seed, LATENTS)?);
        let latent =
            Latent::new(Vae::clone(&*spots::shared_codec(lab, seed)?), latent, LatentConfig::default())?;
        let mut times = [vec![], vec![]];
        for repetition in 0..7 {
            let rng = || lab.streams(seed).family(70).stream(20 + repetition);
            times[0].push(seconds(|| Ok(pixel.draw(256, &mut rng()).map(drop)?))?);
            times[1].push(seconds(|| Ok(latent.draw(256, &mut rng()).map(drop)?))?);
        }
        let [pixels, latents] = times.map(median);
        Ok(pixels / latents)
    })?;
    let columns = PIXELS as f64 / LATENTS as f64;
    Ok(Finding::new()
        .claim("pixels : latents", Estimate::exact(columns), Bound::AtLeast(8.0))
        .claim("time of a draw, pixels : latents with the decoder", ratio, Bound::AtLeast(5.0))
        .because("The draw in latents is cheaper, but less than fivefold: the fixed cost of a step and the decoder count, too."))
}

/// Steps to five floors, times the seconds of a step, medians of trainings in turn.
fn feasible(lab: &Lab) -> Outcome<Finding> {
    let (mut ratios, mut missed, mut ends) = (vec![], 0.0, [vec![], vec![]]);
    let mut goal = 0.0;
    lab.each(|seed| {
        let (spots, codec) = (spots::world(lab, seed)?, spots::shared_codec(lab, seed)?);
        let (latent, pixel) = (spots::latent_diffusion(lab, seed)?, spots::pixel_diffusion(lab, seed)?);
        goal = 5.0 * spots.floor.mean;
        let arrived =
            |distances: &[f64]| distances.iter().position(|&distance| distance <= goal).map(|k| COURSE[k]);
        let bare = spots.bare()?;
        let latents = latent.model.latents(&spots.data, seed)?;
        let mut times = [vec![], vec![], vec![]];
        for repetition in 0..5 {
            let rng = || lab.streams(seed).family(71).stream(10 + repetition);
            let short = spots::options(50);
            let mut vae = Vae::clone(&codec);
            times[0]
                .push(seconds(|| Ok(vae.train(&bare, &short, &mut rng(), &mut NoObserver).map(drop)?))?);
            let mut prior = latent.model.prior().clone();
            times[1].push(seconds(|| {
                Ok(prior.train(&latents, &short, &mut rng(), &mut NoObserver).map(drop)?)
            })?);
            let mut alone = pixel.model.clone();
            times[2].push(seconds(|| {
                Ok(alone.train(&spots.data, &short, &mut rng(), &mut NoObserver).map(drop)?)
            })?);
        }
        let [vae, prior, alone] = times.map(|times| median(times) / 50.0);
        let in_latents = arrived(&latent.distances);
        let in_pixels = arrived(&pixel.distances);
        let last = COURSE[COURSE.len() - 1];
        missed += f64::from(u8::from(in_pixels.is_none()));
        // What is not reached takes more than the whole training: in pixels the ratio is then a lower bound, and in
        // latents there is none.
        ratios.push(match in_latents {
            Some(steps) => {
                alone * in_pixels.unwrap_or(last) as f64
                    / (vae * spots::CODEC_STEPS as f64 + prior * steps as f64)
            }
            None => 0.0,
        });
        ends[0].push(latent.distances[COURSE.len() - 1]);
        ends[1].push(pixel.distances[COURSE.len() - 1]);
        Ok(())
    })?;
    let [latents, pixels] = ends.map(|ends| statistics::mean(&ends));
    Ok(Finding::new()
        .claim("seconds to five floors, pixels : latents with the autoencoder", statistics::mean(&ratios), Bound::AtLeast(3.0))
        .beside("seeds in which pixels do not get there, whose ratio is at least this", Estimate::exact(missed))
        .beside("distance in the end, latents", latents)
        .beside("pixels", pixels)
        .beside("five floors", Estimate::exact(goal))
        .because(
            "The ratio counts the training of the autoencoder, too, and ends where the training of the pixels does: at 256 \
             pixels there is not yet much to save.",
        ))
}

/// Pictures decoded from their own latents, and from drawn ones: what is lost in the first cannot be there in the second.
fn ceiling(lab: &Lab) -> Outcome<Finding> {
    let sizes = [8, 4, 2];
    let (mut decoded, mut excess, mut detail) = (vec![vec![]; 3], vec![vec![]; 3], vec![vec![]; 3]);
    for (k, latent_dim) in sizes.into_iter().enumerate() {
        lab.each(|seed| {
            let spots = spots::world(lab, seed)?;
            let streams = lab.streams(seed).family(74);
            let codec = match latent_dim {
                LATENTS => spots::shared_codec(lab, seed)?,
                _ => Rc::new(spots::codec(lab, seed, latent_dim)?),
            };
            let asked = spots::asked(JUDGED);
            let other = spots::pictures(JUDGED, &mut streams.stream(0)).0;
            let z = codec.explain(other.view(), seed)?.z;
            let mut again = Array2::zeros((JUDGED, PIXELS));
            let at = RowStreams::new(streams.family(1), 0);
            let rows = again.as_slice_mut().ok_or("standard layout")?;
            codec.decode_at(z.view(), at, &SampleOptions::default(), rows)?;
            let drawn = if latent_dim == LATENTS {
                spots::latent_diffusion(lab, seed)?
                    .model
                    .given(&asked)?
                    .draw(JUDGED, &mut streams.stream(2))?
            } else {
                let prior = spots::diffusion(lab, seed, latent_dim)?;
                let mut model = Latent::new(Vae::clone(&codec), prior, LatentConfig::default())?;
                model.train_prior(
                    &spots.data,
                    &spots::options(1_500),
                    &mut streams.stream(3),
                    &mut NoObserver,
                )?;
                model.given(&asked)?.draw(JUDGED, &mut streams.stream(2))?
            };
            let distance = spots.distance(again.view())?;
            decoded[k].push(distance);
            excess[k].push(spots.distance(drawn.view())? - distance);
            detail[k].push(
                spots::edges(codec.reconstruct(other.view())?.view(), 0.0)
                    / spots::edges(other.view(), spots::NOISE),
            );
            Ok(())
        })?;
    }
    let mut finding = Finding::new().claim(
        "p of no rise in the distance of decoded pictures with compression",
        Estimate::exact(statistics::rising(&decoded)),
        Bound::AtMost(0.01),
    );
    for (k, latent_dim) in sizes.into_iter().enumerate() {
        let name = format!("{}×: distance drawn less decoded", PIXELS / latent_dim);
        finding = finding
            .claim(name, statistics::mean(&excess[k]), Bound::AtLeast(0.0))
            .beside("distance decoded", statistics::mean(&decoded[k]))
            .beside("slope energy kept", statistics::mean(&detail[k]));
    }
    Ok(finding.because(
        "Where the decoder loses little, drawn and decoded pictures are equally far from the truth within the noise of the \
         distance: the limit is seen only where it binds.",
    ))
}

/// The second stage learns the latents to the bits that it would learn alone, and moves no bit of the first.
fn two_stages(lab: &Lab) -> Outcome<Finding> {
    let streams = lab.streams(0).family(75);
    let data = Dataset::new(spots::pictures(500, &mut streams.stream(0)).0)?;
    let codec = Vae::new(
        VaeConfig {
            dim: PIXELS,
            latent_dim: LATENTS,
            encoder: spots::wide(64, 1),
            decoder: spots::wide(64, 1),
            ..Default::default()
        },
        &mut streams.stream(1),
    )?;
    let network = spots::wide(64, 2);
    let prior = Diffusion::new(
        DiffusionConfig { dim: LATENTS, network, ..Default::default() },
        &mut streams.stream(2),
    )?;
    let mut model = Latent::new(codec, prior, LatentConfig::default())?;
    let options = spots::options(100);
    let whole = model.train(&data, &options, &mut streams.stream(3), &mut NoObserver)?;
    let before = model.codec().reconstruct(data.x())?;
    model.train_prior(&data, &options, &mut streams.stream(4), &mut NoObserver)?;
    let after = model.codec().reconstruct(data.x())?;
    let moved = before.iter().zip(&after).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    let elbo = f64::from(u8::from(model.codec().card().objective.to_string().contains("ELBO")));
    let noise = f64::from(u8::from(model.prior().card().objective.to_string().contains("noise")));
    Ok(Finding::new()
        .claim(
            "numbers of decoded pictures that the second stage changes",
            Estimate::exact(moved as f64),
            Bound::AtMost(0.0),
        )
        .claim("first stage by the ELBO", Estimate::exact(elbo), Bound::AtLeast(1.0))
        .claim("second stage by the noise MSE", Estimate::exact(noise), Bound::AtLeast(1.0))
        .beside("steps of both stages", Estimate::exact(whole.loss.len() as f64)))
}

/// In four steps of DDIM on the grid of 25 modes.
fn tuned(lab: &Lab) -> Outcome<Finding> {
    let figures = lab.each(|seed| {
        let (toy, rng) = (Toy::grid25(), &mut lab.streams(seed).family(81).stream(0));
        let data = Dataset::new(toy.sample(50_000, rng))?;
        let mut model = Diffusion::new(DiffusionConfig::default(), rng)?;
        model.train(&data, &TrainOptions { steps: 4_000, ..Default::default() }, rng, &mut NoObserver)?;
        let before = model.with_sampler(Sampler::Ddim { steps: 4, eta: 0.0 })?;
        let mut after = before.clone();
        let config = FineTuneConfig { game: Game::Explicit(ExplicitGame::default()), ..Default::default() };
        let options = TrainOptions { steps: 1_500, ..Default::default() };
        fine_tune(&mut after, &config, &data, &options, rng, &mut NoObserver)?;
        let modes = toy.modes().ok_or("the grid has modes")?;
        let seen = |model: &Diffusion, rng: &mut Rng| -> Outcome<[f64; 3]> {
            let x = model.draw(10_000, rng)?;
            let report = mode_coverage(x.view(), modes.centers.view(), modes.sigma)?;
            Ok([report.high_quality, report.spread_ratio.unwrap_or(f64::NAN), report.modes_fair as f64])
        };
        Ok((seen(&before, rng)?, seen(&after, rng)?))
    })?;
    /// A figure of what was seen before and after.
    type Figure<'a> = &'a dyn Fn(&([f64; 3], [f64; 3])) -> f64;
    let mean = |figure: Figure| statistics::mean(&figures.iter().map(figure).collect::<Vec<_>>());
    let off = |spread: f64| (spread - 1.0).abs();
    Ok(Finding::new()
        .claim("share of draws in 3σ, gained", mean(&|(before, after)| after[0] - before[0]), Bound::AtLeast(0.0))
        .claim("fair modes of 25", mean(&|(_, after)| after[2]), Bound::AtLeast(24.0))
        .claim("|spread − 1|, after less before", mean(&|(b, a)| off(a[1]) - off(b[1])), Bound::AtMost(0.0))
        .limit("share in 3σ after (a perfect sampler has 0.989)", mean(&|(_, after)| after[0]), Bound::AtLeast(0.98))
        .beside("share in 3σ before", mean(&|(before, _)| before[0]))
        .beside("spread before", mean(&|(before, _)| before[1]))
        .beside("spread after", mean(&|(_, after)| after[1]))
        .beside("fair modes before", mean(&|(before, _)| before[2]))
        .because(
            "The draws become sharper and the modes stay; in four steps they do not become as sharp as the data.",
        ))
}

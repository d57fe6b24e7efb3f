//! Compositions of paradigms.

use std::rc::Rc;
use std::time::Instant;

use quadrivium::diffusion::{Guidance, LearnedGuidance, Method};
use quadrivium::engine::RowStreams;
use quadrivium::hybrid::{Codec, ExplicitGame, FineTuneConfig, Game, Latent, LatentConfig, fine_tune};
use quadrivium::metrics::mode_coverage;
use quadrivium::ndarray::{Array2, s};
use quadrivium::numeric::rng::Rng;
use quadrivium::prelude::*;
use quadrivium::worlds::Toy;
use quadrivium::{OptimizerConfig, Sampler};

use super::spaces;
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
    measured(74, "A latent diffusion distilled into a few steps keeps its guidance.", distilled),
    measured(
        75,
        "One step of a distilled model draws somewhat worse than fifty steps of its teacher.",
        degraded,
    ),
    measured(76, "A distilled model follows the probability-flow ODE of its teacher.", follows),
    measured(77, "A flow is a richer prior for a VAE than the standard normal distribution.", richer),
    measured(
        78,
        "Behind a VAE, which compresses, a diffusion handles the structure of what is drawn.",
        structured,
    ),
    measured(
        79,
        "Adversarial fine-tuning gives the few steps of a diffusion sharpness and leaves it its coverage.",
        tuned,
    ),
    waits(
        80,
        "A language model steers a diffusion of pictures, once an alignment stage has coupled the two.",
        "scenes described in words, and the hidden states of a language model as a condition.",
    ),
    waits(
        81,
        "Feeding what was generated back into the model and drawing again makes it better.",
        "scenes described in words, and a model that reads both words and pictures.",
    ),
    waits(
        82,
        "A language model in front of a diffusion understands combinations that neither was shown.",
        "scenes described in words, with pairs of objects held out.",
    ),
    waits(
        83,
        "Diffusion of clips learns by the same loss, and its quality grows with the steps.",
        "clips with known motion, and a network of space and time.",
    ),
    waits(
        84,
        "What keeps the frames of a clip together are the blocks of its network that look along time.",
        "clips with known motion, and a network of space and time.",
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
            "At 256 pixels the training of the autoencoder, which is counted, takes about as long as what the diffusion \
             saves; the saving is one of large pictures.",
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
            let other = spots::pictures(JUDGED, &mut streams.stream(0)).0;
            let z = codec.explain(other.view(), seed)?.z;
            let mut again = Array2::zeros((JUDGED, PIXELS));
            let at = RowStreams::new(streams.family(1), 0);
            let rows = again.as_slice_mut().ok_or("standard layout")?;
            codec.decode_at(z.view(), at, &SampleOptions::default(), rows)?;
            let drawn = if latent_dim == LATENTS {
                spots::latent_diffusion(lab, seed)?.model.draw(JUDGED, &mut streams.stream(2))?
            } else {
                let prior = spots::diffusion(lab, seed, latent_dim)?;
                let mut model = Latent::new(Vae::clone(&codec), prior, LatentConfig::default())?;
                model.train_prior(
                    &spots.data,
                    &spots::options(1_500),
                    &mut streams.stream(3),
                    &mut NoObserver,
                )?;
                model.draw(JUDGED, &mut streams.stream(2))?
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

/// A flow map distilled from the latent diffusion, with the scale of guidance as an input.
fn map(lab: &Lab, seed: u64) -> Outcome<Rc<FlowMap>> {
    lab.kept("flow map of spots", seed, || {
        let (spots, latent) = (spots::world(lab, seed)?, spots::latent_diffusion(lab, seed)?);
        let streams = lab.streams(seed).family(76);
        let config = FlowMapConfig {
            network: spots::wide(128, 3),
            guidance: Some(LearnedGuidance { scales: (1.0, 3.0), scale: 1.0 }),
            optimizer: OptimizerConfig { lr: 2e-3, ..Default::default() },
            ..Default::default()
        };
        let mut map = FlowMap::distill(latent.model.prior(), config, &mut streams.stream(0))?;
        let latents = latent.model.latents(&spots.data, seed)?;
        map.train(&latents, &spots::options(4_000), &mut streams.stream(1), &mut NoObserver)?;
        Ok(map)
    })
}

/// Adherence and distance of draws of a prior of latents.
fn judged<P: Generative>(lab: &Lab, seed: u64, prior: P) -> Outcome<(f64, f64)> {
    let (spots, model) =
        (spots::world(lab, seed)?, spots::latent_diffusion(lab, seed)?.model.with_prior(prior)?);
    let asked = spots::asked(JUDGED);
    let x = model.given(&asked)?.draw(JUDGED, &mut lab.streams(seed).family(77).stream(0))?;
    Ok((spots::adherence(x.view(), &asked), spots.distance(x.view())?))
}

fn teacher(lab: &Lab, seed: u64, scale: f64) -> Outcome<(f64, f64)> {
    let latent = spots::latent_diffusion(lab, seed)?;
    judged(lab, seed, latent.model.prior().with_guidance(Guidance { scale, ..Default::default() })?)
}

fn pupil(lab: &Lab, seed: u64, steps: usize, scale: f64) -> Outcome<(f64, f64)> {
    judged(lab, seed, map(lab, seed)?.with_steps(steps)?.with_scale(scale)?)
}

fn distilled(lab: &Lab) -> Outcome<Finding> {
    let mut finding = Finding::new();
    for steps in [1, 4] {
        for scale in [1.0, 2.0] {
            let lost =
                lab.mean(|seed| Ok(teacher(lab, seed, scale)?.0 - pupil(lab, seed, steps, scale)?.0))?;
            let name = format!("asked class at w = {scale}, lost in {steps} of 50 steps");
            finding = finding.claim(name, lost, Bound::Within(-0.02, 0.02));
        }
    }
    for steps in [1, 2, 4] {
        let distance = lab.mean(|seed| Ok(pupil(lab, seed, steps, 1.0)?.1))?;
        finding = finding.beside(format!("distance at w = 1, steps {steps}"), distance);
    }
    let distance = lab.mean(|seed| Ok(teacher(lab, seed, 1.0)?.1))?;
    let floor = lab.mean(|seed| Ok(spots::world(lab, seed)?.floor.mean))?;
    Ok(finding.beside("DDIM-50", distance).beside("floor", floor).because(
        "In one step more draws fall between the quarters, so fewer are of the one that was asked for.",
    ))
}

fn degraded(lab: &Lab) -> Outcome<Finding> {
    let excess = |steps| lab.mean(|seed| Ok(pupil(lab, seed, steps, 1.0)?.1 - teacher(lab, seed, 1.0)?.1));
    Ok(Finding::new()
        .claim("distance in 1 step less DDIM-50", excess(1)?, Bound::AtLeast(0.0))
        .beside("in 4 steps less DDIM-50", excess(4)?)
        .because("The difference is no larger than its noise, or the pupil is the better of the two."))
}

/// In the space of the latents, whose standard deviations are about 1, from the same noise.
fn follows(lab: &Lab) -> Outcome<Finding> {
    let figures = lab.each(|seed| {
        let latent = spots::latent_diffusion(lab, seed)?;
        let ode = latent.model.prior().with_sampler(Sampler::Ode { method: Method::Rk4, steps: 100 })?;
        let path =
            ode.sample_path(500, &SampleOptions::default(), &mut lab.streams(seed).family(78).stream(0))?;
        let (start, end) = (path.slice(s![.., 0, ..]), path.slice(s![.., -1, ..]));
        let spread = f64::from(end.var_axis(quadrivium::ndarray::Axis(0), 0.0).mean().ok_or("columns")?);
        let mut ends = Vec::new();
        for steps in 1..=10 {
            ends.push(map(lab, seed)?.with_steps(steps)?.transport(start)?);
        }
        let square = |a: &Array2<f32>| f64::from(a.mapv(|v| v * v).mean().unwrap_or(f32::NAN)) / spread;
        let error = square(&(&ends[0] - &end)).sqrt();
        let mean = ends.iter().fold(Array2::<f32>::zeros(ends[0].dim()), |sum, end| sum + end) / 10.0;
        let apart = (ends.iter().map(|end| square(&(end - &mean))).sum::<f64>() / 9.0).sqrt();
        Ok((error, apart))
    })?;
    let mean =
        |figure: fn(&(f64, f64)) -> f64| statistics::mean(&figures.iter().map(figure).collect::<Vec<_>>());
    Ok(Finding::new()
        .claim("end of one jump against the end of the ODE, in sd", mean(|f| f.0), Bound::AtMost(0.1))
        .limit("spread of the ends of 1 to 10 jumps, in sd", mean(|f| f.1), Bound::AtMost(0.05))
        .because(
            "The pupil leads most noise where the ODE does. Near the borders between quarters the ODE is steep, and there \
             a network of this size and training is not, so the mean error is more than a tenth of a standard deviation.",
        ))
}

/// A flow of the latents of all pictures.
fn flow(lab: &Lab, seed: u64) -> Outcome<Rc<Flow>> {
    lab.kept("flow of latents of spots", seed, || {
        let (spots, latent) = (spots::world(lab, seed)?, spots::latent_diffusion(lab, seed)?);
        let streams = lab.streams(seed).family(79);
        let mut flow =
            Flow::new(FlowConfig { dim: LATENTS, layers: 6, ..Default::default() }, &mut streams.stream(0))?;
        let latents = latent.model.latents(&spots.bare()?, seed)?;
        flow.train(&latents, &spots::options(1_500), &mut streams.stream(1), &mut NoObserver)?;
        Ok(flow)
    })
}

fn richer(lab: &Lab) -> Outcome<Finding> {
    let gain = lab.mean(|seed| {
        let (spots, latent) = (spots::world(lab, seed)?, spots::latent_diffusion(lab, seed)?);
        let model = latent.model.with_prior(Flow::clone(&*flow(lab, seed)?))?;
        let gain = model.prior_gain(spots.test.slice(s![..500, ..]), &LikelihoodOptions::default())?;
        Ok(gain.and_then(|gain| gain.mean()).ok_or("a flow has a density")?)
    })?;
    Ok(Finding::new()
        .claim("nats that the flow adds to the ELBO", gain, Bound::AtLeast(0.0))
        .because("The latents of this autoencoder are about as normal as a flow of this size can tell."))
}

/// Draws with each prior, without a class.
fn structured(lab: &Lab) -> Outcome<Finding> {
    let mut columns = [(); 6].map(|()| Vec::new());
    lab.each(|seed| {
        let (spots, latent) = (spots::world(lab, seed)?, spots::latent_diffusion(lab, seed)?);
        let streams = lab.streams(seed).family(80);
        let bare = latent.model.latents(&spots.bare()?, seed)?;
        let config =
            DiffusionConfig { condition: Default::default(), ..latent.model.prior().config().clone() };
        let mut diffusion = Diffusion::new(config.clone(), &mut streams.stream(0))?;
        diffusion.train(&bare, &spots::options(2_000), &mut streams.stream(1), &mut NoObserver)?;
        let flow = flow(lab, seed)?;
        let mut warp = Latent::new(
            Flow::clone(&flow),
            Diffusion::new(config, &mut streams.stream(2))?,
            LatentConfig::default(),
        )?;
        warp.train_prior(&bare, &spots::options(2_000), &mut streams.stream(3), &mut NoObserver)?;
        let quick = Sampler::Ddim { steps: 5, eta: 0.0 };
        let priors: [Box<dyn Generative>; 5] = [
            Box::new(Flow::clone(&flow)),
            Box::new(diffusion.clone()),
            Box::new(warp.clone()),
            Box::new(diffusion.with_sampler(quick)?),
            Box::new(warp.with_prior(warp.prior().with_sampler(quick)?)?),
        ];
        let distance =
            |model: &dyn Distribution| spots.distance(model.draw(JUDGED, &mut streams.stream(4))?.view());
        columns[0].push(distance(&*spots::shared_codec(lab, seed)?)?);
        for (column, prior) in columns[1..].iter_mut().zip(priors) {
            column.push(distance(&latent.model.with_prior(prior)?)?);
        }
        Ok(())
    })?;
    let less = |a: usize, b: usize| {
        statistics::mean(&columns[a].iter().zip(&columns[b]).map(|(a, b)| a - b).collect::<Vec<_>>())
    };
    let at = |k: usize| statistics::mean(&columns[k]);
    Ok(Finding::new()
        .claim("distance of N(0, I) less diffusion", less(0, 2), Bound::AtLeast(0.0))
        .limit("of a flow less a diffusion in its base space", less(1, 3), Bound::AtLeast(0.0))
        .beside("N(0, I)", at(0))
        .beside("flow", at(1))
        .beside("diffusion", at(2))
        .beside("flow and diffusion", at(3))
        .beside("in five steps: diffusion", at(4))
        .beside("flow and diffusion", at(5))
        .because("Behind a flow that already describes the latents, a diffusion has little left to handle."))
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

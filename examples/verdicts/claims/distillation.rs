//! Few steps that are learned from many.

use std::rc::Rc;

use quadrivium::diffusion::{Guidance, LearnedGuidance, Method};
use quadrivium::ndarray::{Array2, Axis, s};
use quadrivium::numeric::rng::Rng;
use quadrivium::prelude::*;
use quadrivium::worlds::Toy;
use quadrivium::{Activation, NetworkSpec, OptimizerConfig, Sampler};

use crate::claim::{Bound, Finding};
use crate::lab::{Lab, Outcome};
use crate::spots::{self, JUDGED};
use crate::statistics;

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

pub fn distilled(lab: &Lab) -> Outcome<Finding> {
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

pub fn degraded(lab: &Lab) -> Outcome<Finding> {
    let excess = |steps| lab.mean(|seed| Ok(pupil(lab, seed, steps, 1.0)?.1 - teacher(lab, seed, 1.0)?.1));
    Ok(Finding::new()
        .claim("distance in 1 step less DDIM-50", excess(1)?, Bound::AtLeast(0.0))
        .beside("in 4 steps less DDIM-50", excess(4)?)
        .because("The difference is no larger than its noise, or the pupil is the better of the two."))
}

/// From the same noise: how far the end of one jump is from the end of the teacher's ODE, and how far the ends of 1 to 10
/// jumps are from each other, in the standard deviation of the rows.
fn apart(teacher: &Diffusion, map: &FlowMap, rng: &mut Rng) -> Outcome<(f64, f64)> {
    let ode = teacher.with_sampler(Sampler::Ode { method: Method::Rk4, steps: 100 })?;
    let path = ode.sample_path(500, &SampleOptions::default(), rng)?;
    let (start, end) = (path.slice(s![.., 0, ..]), path.slice(s![.., -1, ..]));
    let spread = f64::from(end.var_axis(Axis(0), 0.0).mean().ok_or("there are columns")?);
    let ends: Vec<Array2<f32>> =
        (1..=10).map(|steps| map.with_steps(steps)?.transport(start)).collect::<Result<_>>()?;
    let square = |a: &Array2<f32>| f64::from(a.mapv(|v| v * v).mean().unwrap_or(f32::NAN)) / spread;
    let mean = ends.iter().fold(Array2::<f32>::zeros(end.dim()), |sum, end| sum + end) / 10.0;
    let among = ends.iter().map(|end| square(&(end - &mean))).sum::<f64>() / 9.0;
    Ok((square(&(&ends[0] - &end)).sqrt(), among.sqrt()))
}

/// On two moons, whose latents are themselves, and in the latents of the pictures.
pub fn follows(lab: &Lab) -> Outcome<Finding> {
    let moons = lab.each(|seed| {
        let rng = &mut lab.streams(seed).family(78).stream(0);
        let data = Dataset::new(Toy::moons(0.1)?.sample(20_000, rng))?;
        let options = TrainOptions { steps: 4_000, ..Default::default() };
        let network = NetworkSpec::mlp([64; 3], Activation::Silu, 4);
        let config = DiffusionConfig { network: network.clone(), ..Default::default() };
        let mut teacher = Diffusion::new(config, rng)?;
        teacher.train(&data, &options, rng, &mut NoObserver)?;
        let config = FlowMapConfig { network, ..Default::default() };
        let mut map = FlowMap::distill(&teacher, config, rng)?;
        map.train(&data, &options, rng, &mut NoObserver)?;
        apart(&teacher, &map, rng)
    })?;
    let pictures = lab.each(|seed| {
        let latent = spots::latent_diffusion(lab, seed)?;
        apart(latent.model.prior(), &*map(lab, seed)?, &mut lab.streams(seed).family(78).stream(1))
    })?;
    let mean = |figures: &[(f64, f64)], figure: fn(&(f64, f64)) -> f64| {
        statistics::mean(&figures.iter().map(figure).collect::<Vec<_>>())
    };
    Ok(Finding::new()
        .claim("moons: end of one jump to the end of the ODE, in sd", mean(&moons, |f| f.0), Bound::AtMost(0.1))
        .claim("moons: spread of the ends of 1 to 10 jumps, in sd", mean(&moons, |f| f.1), Bound::AtMost(0.05))
        .limit("latents of pictures: end of one jump, in sd", mean(&pictures, |f| f.0), Bound::AtMost(0.1))
        .beside("latents of pictures: spread of the ends", mean(&pictures, |f| f.1))
        .because(
            "The pupil leads most noise where the ODE does. Where rows of neighboring noise part, as at the borders between the \
             quarters of the pictures, the ODE is steep, and a network of this size and training is less so.",
        ))
}

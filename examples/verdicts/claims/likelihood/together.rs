//! What can be had together: likelihood, speed, sharpness, coverage.

use std::rc::Rc;
use std::time::Instant;

use quadrivium::metrics::{Nll, mode_coverage, prdc};
use quadrivium::ndarray::s;
use quadrivium::worlds::Toy;
use quadrivium::{LikelihoodKind, Sampler, Transform, prelude::*};

use crate::claim::{Bound, Estimate, Finding};
use crate::lab::{Lab, Outcome, SEEDS};
use crate::statistics;

/// A model of the grid of 25 Gaussians, and what it can do.
struct Member {
    name: &'static str,
    nfe: usize,
    kind: LikelihoodKind,
    /// NLL less the truth's on the same rows; infinite without a likelihood.
    gap: f64,
    precision: f64,
    recall: f64,
    in_3_sigma: f64,
    train_s: f64,
}

/// Models of all paradigms, trained for a seed.
fn zoo(lab: &Lab, seed: u64) -> Outcome<Rc<Vec<Member>>> {
    lab.kept("likelihood/zoo", seed, || {
        let (grid, streams) = (Toy::grid25(), lab.streams(seed));
        let data = Dataset::new(grid.sample(50_000, &mut streams.stream(0)))?;
        let mut rng = streams.stream(1);
        let affine = FlowConfig { transform: Transform::Affine, ..Default::default() };
        let models: Vec<(&str, Box<dyn Generative>, usize)> = vec![
            ("autoregressive", Box::new(Autoregressive::new(Default::default(), &mut rng)?), 2_000),
            ("spline coupling", Box::new(Flow::new(Default::default(), &mut rng)?), 2_000),
            ("affine coupling", Box::new(Flow::new(affine, &mut rng)?), 1_000),
            ("VAE", Box::new(Vae::new(VaeConfig { draws: 100, ..Default::default() }, &mut rng)?), 1_500),
            ("GAN", Box::new(Gan::new(Default::default(), &mut rng)?), 1_000),
            ("DDIM-50", Box::new(diffusion(&mut rng)?), 1_500),
        ];
        let test = grid.sample(1_000, &mut streams.stream(2));
        let scored = test.slice(s![..300, ..]);
        let truth = grid.log_density(scored)?.mean().ok_or("no rows")?;
        let modes = grid.modes().ok_or("modes")?;
        models
            .into_iter()
            .map(|(name, mut model, steps)| {
                let start = Instant::now();
                model.train(
                    &data,
                    &TrainOptions { steps, ..Default::default() },
                    &mut rng,
                    &mut NoObserver,
                )?;
                let train_s = start.elapsed().as_secs_f64();
                let drawn = model.sample(2_500, &SampleOptions::default(), &mut rng)?;
                let score = model.log_likelihood(scored, &LikelihoodOptions::default())?;
                let near = prdc(test.view(), drawn.x.slice(s![..1_000, ..]), 5)?;
                Ok(Member {
                    name,
                    nfe: drawn.nfe,
                    kind: score.kind(),
                    gap: Nll::of(&score).map_or(f64::INFINITY, |nll| nll.mean + truth),
                    precision: near.precision,
                    recall: near.recall,
                    in_3_sigma: mode_coverage(drawn.x.view(), modes.centers.view(), modes.sigma)?
                        .high_quality,
                    train_s,
                })
            })
            .collect()
    })
}

fn diffusion(rng: &mut quadrivium::numeric::rng::Rng) -> Result<Diffusion> {
    Diffusion::new(
        DiffusionConfig { sampler: Sampler::Ddim { steps: 50, eta: 0.0 }, ..Default::default() },
        rng,
    )
}

/// A figure of the member with this name, over the seeds.
fn of(lab: &Lab, name: &str, figure: fn(&Member) -> f64) -> Outcome<Estimate> {
    lab.mean(|seed| {
        let zoo = zoo(lab, seed)?;
        Ok(figure(zoo.iter().find(|member| member.name == name).ok_or("a member")?))
    })
}

pub fn parallel(lab: &Lab) -> Outcome<Finding> {
    let both = |member: &&Member| member.nfe == 1 && member.kind == LikelihoodKind::Exact;
    let mut found = Vec::new();
    for seed in 0..SEEDS {
        found.push(zoo(lab, seed)?.iter().filter(both).count() as f64);
    }
    Ok(Finding::new()
        .claim("models of six with both", statistics::mean(&found), Bound::AtMost(0.0))
        .beside("affine coupling, nats behind the truth", of(lab, "affine coupling", |member| member.gap)?)
        .beside("its share of rows in 3σ", of(lab, "affine coupling", |member| member.in_3_sigma)?)
        .beside("spline coupling, nats behind the truth", of(lab, "spline coupling", |member| member.gap)?)
        .beside("its share of rows in 3σ", of(lab, "spline coupling", |member| member.in_3_sigma)?)
        .because(
            "Coupling flows have both. They pay elsewhere: each layer must be invertible, and a continuous \
             invertible map leaves bridges between separate modes, which affine layers show and splines nearly hide.",
        ))
}

pub fn sharp(lab: &Lab) -> Outcome<Finding> {
    let mut best = Vec::new();
    for seed in 0..SEEDS {
        let zoo = zoo(lab, seed)?;
        let exact = zoo.iter().filter(|member| member.kind == LikelihoodKind::Exact);
        best.push(exact.map(|member| member.in_3_sigma).fold(0.0, f64::max));
    }
    Ok(Finding::new()
        .claim(
            "share of rows in 3σ of the sharpest model with an exact likelihood",
            statistics::mean(&best),
            Bound::AtMost(0.95),
        )
        .beside("autoregressive", of(lab, "autoregressive", |member| member.in_3_sigma)?)
        .beside("spline coupling", of(lab, "spline coupling", |member| member.in_3_sigma)?)
        .beside("a perfect sampler", Estimate::exact(1.0 - (-4.5f64).exp()))
        .because(
            "Nothing in a density forbids sharp modes, and in the plane they are learned. The exclusion is a \
             matter of what is affordable for large images, which is not measured here.",
        ))
}

pub fn front(lab: &Lab) -> Outcome<Finding> {
    // Each to be as small as possible.
    let costs =
        |member: &Member| [member.nfe as f64, member.gap, -member.precision, -member.recall, member.train_s];
    let mut found = Vec::new();
    for seed in 0..SEEDS {
        let zoo = zoo(lab, seed)?;
        let dominates = |a: &Member, b: &Member| {
            let (a, b) = (costs(a), costs(b));
            a != b && a.iter().zip(b).all(|(a, b)| *a <= b)
        };
        let front = zoo.iter().filter(|member| !zoo.iter().any(|other| dominates(other, member)));
        found.push(front.count() as f64);
    }
    Ok(Finding::new()
        .claim(
            "models of six that no other one beats in evaluations, likelihood, precision, recall and seconds of \
             training at once",
            statistics::mean(&found),
            Bound::AtLeast(3.0),
        )
        .because("Where few models are on the front, the others could be left alone."))
}

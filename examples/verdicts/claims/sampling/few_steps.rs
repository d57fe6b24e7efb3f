//! How good draws of few steps are: energy distances to a grid of 25 modes.

use std::rc::Rc;

use quadrivium::diffusion::FlowMap;
use quadrivium::metrics::{Floor, energy_distance};
use quadrivium::ndarray::Array2;
use quadrivium::prelude::*;
use quadrivium::worlds::Toy;
use quadrivium::{Sampler, seeded};

use crate::claim::{Bound, Estimate, Finding};
use crate::clock::{self, Work};
use crate::lab::{Lab, Outcome};
use crate::statistics;

/// Rows of a draw, and of the truth that it is held against.
const ROWS: usize = 3_000;

/// Draws of which a distance is the mean.
const DRAWS: u64 = 3;

/// Pairs of samples of the truth per seed, by which the floor is found.
const PAIRS: usize = 4;

fn grid(lab: &Lab, seed: u64) -> Outcome<Dataset> {
    Ok(Dataset::new(Toy::grid25().sample(50_000, &mut lab.streams(seed).stream(0)))?)
}

/// What a seed's draws are held against.
fn truth(lab: &Lab, seed: u64) -> Vec<Array2<f32>> {
    let rng = &mut lab.streams(seed).stream(1);
    (0..DRAWS).map(|_| Toy::grid25().sample(ROWS, rng)).collect()
}

fn options(steps: usize, batch: usize) -> TrainOptions {
    TrainOptions { steps, batch, ..Default::default() }
}

/// A diffusion of the grid.
fn diffusion(lab: &Lab, seed: u64) -> Outcome<Rc<Diffusion>> {
    lab.kept("diffusion of a grid", seed, || {
        let streams = lab.streams(seed);
        let mut model = Diffusion::new(DiffusionConfig::default(), &mut streams.stream(2))?;
        model.train(&grid(lab, seed)?, &options(5_000, 256), &mut streams.stream(3), &mut NoObserver)?;
        Ok(model)
    })
}

/// Distances of a diffusion's draws to the truth.
pub struct Distances {
    /// Between samples of the truth.
    floor: Vec<f64>,
    /// DDPM in 1000 steps.
    ddpm: f64,
    /// DDIM in [`Distances::STEPS`].
    pub ddim: Vec<f64>,
    /// DPM-Solver++ in 16 steps.
    solver: f64,
}

impl Distances {
    pub const STEPS: [usize; 5] = [5, 8, 15, 25, 50];

    pub fn of(lab: &Lab, seed: u64) -> Outcome<Rc<Self>> {
        lab.kept("distances of a grid", seed, || {
            let (model, truth) = (diffusion(lab, seed)?, truth(lab, seed));
            let by = |sampler| distance(&model.with_sampler(sampler)?, &truth, seed);
            let rng = &mut lab.streams(seed).stream(4);
            let pair = |_| {
                let [a, b] = [(); 2].map(|()| Toy::grid25().sample(ROWS, rng));
                Ok(energy_distance(a.view(), b.view())?)
            };
            Ok(Distances {
                floor: (0..PAIRS).map(pair).collect::<Outcome<_>>()?,
                ddpm: by(Sampler::Ddpm)?,
                ddim: Self::STEPS
                    .into_iter()
                    .map(|steps| by(Sampler::Ddim { steps, eta: 0.0 }))
                    .collect::<Outcome<_>>()?,
                solver: by(Sampler::DpmSolver { steps: 16 })?,
            })
        })
    }

    /// The distance of DDIM in so many steps.
    fn ddim(&self, steps: usize) -> f64 {
        Self::STEPS
            .iter()
            .zip(&self.ddim)
            .find(|(known, _)| **known == steps)
            .map_or(f64::NAN, |found| *found.1)
    }
}

fn distance(model: &dyn Distribution, truth: &[Array2<f32>], seed: u64) -> Outcome<f64> {
    let mut rng = seeded(seed);
    let mut sum = 0.0;
    for truth in truth {
        sum += energy_distance(model.draw(ROWS, &mut rng)?.view(), truth.view())?;
    }
    Ok(sum / truth.len() as f64)
}

/// The margin within which two distances count as the same: the largest that the truth is likely to have from itself,
/// mean + 2 sd of the floor.
fn margin(lab: &Lab) -> Outcome<f64> {
    let floors = lab.each(|seed| Ok(Distances::of(lab, seed)?.floor.clone()))?.concat();
    let floor = Floor::of(&floors, 1)?;
    Ok(floor.mean + 2.0 * floor.sd)
}

/// How much farther from the truth one draw is than another, in margins.
fn farther(lab: &Lab, pair: impl Fn(u64) -> Outcome<[f64; 2]>) -> Outcome<Estimate> {
    let margin = margin(lab)?;
    lab.mean(|seed| {
        let [one, other] = pair(seed)?;
        Ok((one - other) / margin)
    })
}

const SAME: Bound = Bound::Within(-1.0, 1.0);

/// How much farther a sampler is than DDPM-1000.
fn than_ddpm(lab: &Lab, by: impl Fn(&Distances) -> f64) -> Outcome<Estimate> {
    farther(lab, |seed| {
        let distances = Distances::of(lab, seed)?;
        Ok([by(&distances), distances.ddpm])
    })
}

pub fn sweet_spot(lab: &Lab) -> Outcome<Finding> {
    let ddim = |steps| than_ddpm(lab, move |distances| distances.ddim(steps));
    Ok(Finding::new()
        .claim("distance beyond that of DDPM-1000, in margins: DDIM-50", ddim(50)?, SAME)
        .limit("DDIM-25", ddim(25)?, Bound::AtLeast(1.0))
        .limit("DPM-Solver++-16", than_ddpm(lab, |distances| distances.solver)?, Bound::AtLeast(1.0))
        .beside("DDIM-8", ddim(8)?)
        .because(
            "How many steps are enough depends on the sampler, on its noise levels, and on how large a difference \
             matters: 50 is no constant of nature.",
        ))
}

pub fn twentieth(lab: &Lab) -> Outcome<Finding> {
    let ddpm = diffusion(lab, 0)?;
    let ddim = ddpm.with_sampler(Sampler::Ddim { steps: 50, eta: 0.0 })?;
    let times = [Work::draw(1, &*ddpm, 8), Work::draw(20, &ddim, 8)];
    let excess = than_ddpm(lab, |distances| distances.ddim(50))?;
    Ok(Finding::new()
        .claim("time of DDPM-1000 over that of DDIM-50", clock::ratio(times)?, Bound::Within(19.0, 21.0))
        .claim("distance beyond that of DDPM-1000, in margins", excess, SAME)
        .because("DDPM also draws noise in each step, which DDIM does not."))
}

/// Distances of maps that draw in 1, 2, 4 and 8 steps: distilled from the diffusion, and learned without a teacher.
struct Maps {
    distilled: [f64; 4],
    untaught: [f64; 4],
}

impl Maps {
    fn of(lab: &Lab, seed: u64) -> Outcome<Rc<Self>> {
        lab.kept("maps of a grid", seed, || {
            let (streams, data, truth) = (lab.streams(seed), grid(lab, seed)?, truth(lab, seed));
            let config = FlowMapConfig::default();
            let by = |mut map: FlowMap| -> Outcome<[f64; 4]> {
                map.train(&data, &options(3_000, 128), &mut streams.stream(6), &mut NoObserver)?;
                let mut distances = [0.0; 4];
                for (distance, steps) in distances.iter_mut().zip([1, 2, 4, 8]) {
                    *distance = self::distance(&map.with_steps(steps)?, &truth, seed)?;
                }
                Ok(distances)
            };
            let teacher = diffusion(lab, seed)?;
            Ok(Maps {
                distilled: by(FlowMap::distill(&*teacher, config.clone(), &mut streams.stream(5))?)?,
                untaught: by(FlowMap::new(config, &mut streams.stream(5))?)?,
            })
        })
    }
}

pub fn distillation(lab: &Lab) -> Outcome<Finding> {
    let maps = lab.each(|seed| Maps::of(lab, seed))?;
    // From 8 steps to 1.
    let groups: Vec<Vec<f64>> =
        (0..4).rev().map(|k| maps.iter().map(|maps| maps.distilled[k]).collect()).collect();
    let over_ddim =
        lab.mean(|seed| Ok(Maps::of(lab, seed)?.distilled[3] / Distances::of(lab, seed)?.ddim(8)))?;
    let than_50 = |k: usize| {
        farther(lab, move |seed| Ok([Maps::of(lab, seed)?.distilled[k], Distances::of(lab, seed)?.ddim(50)]))
    };
    Ok(Finding::new()
        .claim("distance in 8 steps over that of DDIM in 8", over_ddim, Bound::AtMost(0.5))
        .claim(
            "probability of such a trend from 8 steps to 1 by chance",
            Estimate::exact(statistics::rising(&groups)),
            Bound::AtMost(0.01),
        )
        .limit("distance in 4 steps beyond that of DDIM-50, in margins", than_50(2)?, SAME)
        .beside("the same in 1 step", than_50(0)?)
        .because(
            "The distilled map draws far better in a few steps than its teacher does, and loses more the fewer they are. \
             The modes of this grid are narrow, and a map that has to jump to them blurs them.",
        ))
}

pub fn without_distillation(lab: &Lab) -> Outcome<Finding> {
    let one_step = lab.mean(|seed| {
        let maps = Maps::of(lab, seed)?;
        Ok(maps.untaught[0] / maps.distilled[0])
    })?;
    Ok(Finding::new()
        .claim(
            "distance of DPM-Solver++-16 beyond that of DDPM-1000, in margins",
            than_ddpm(lab, |distances| distances.solver)?,
            Bound::AtLeast(1.0),
        )
        .claim("distance of a map without a teacher over that of a distilled one, 1 step", one_step, Bound::AtLeast(1.1))
        .because(
            "A solver of higher order gets by with a third of DDIM's steps from the same network, and flow maps learn to draw \
             in one step from the data alone; how well, next to a distilled map that trained as long, is the other figure.",
        ))
}

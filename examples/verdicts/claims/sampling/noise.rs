//! Where a diffusion starts, and what its draws owe to that start.

use std::f64::consts::TAU;

use quadrivium::diffusion::{NoiseLevel, NoisePredictor, sample_with};
use quadrivium::metrics::{Floor, energy_distance};
use quadrivium::ndarray::{Array2, Axis};
use quadrivium::numeric::quadrature::trapezoid;
use quadrivium::prelude::*;
use quadrivium::worlds::{DiffusedMixture, Toy};
use quadrivium::{Sampler, Schedule, seeded};

use crate::claim::{Bound, Estimate, Finding};
use crate::lab::{Lab, Outcome};
use crate::statistics;

pub fn pure(_: &Lab) -> Outcome<Finding> {
    let mixture = Toy::grid25().diffused().ok_or("a mixture")?;
    // KL(noised data ‖ N(0, I)).
    let divergence = |level: NoiseLevel| {
        let nats = trapezoid(&[-9.0; 2], &[9.0; 2], 0.1, |x| {
            let of_data = mixture.log_density(level.alpha, level.sigma, x);
            let of_noise = -TAU.ln() - 0.5 * (x[0] * x[0] + x[1] * x[1]);
            of_data.exp() * (of_data - of_noise)
        });
        Estimate::exact(nats)
    };
    let end = |schedule: Schedule| divergence(schedule.levels(1000)[1000]);
    let pure = Bound::AtMost(1e-4);
    Ok(Finding::new()
        .claim("KL of the start from noise, cosine schedule", end(Schedule::Cosine), pure)
        .claim("linear schedule", end(Schedule::Linear), pure)
        .claim("σ/α = 80, of the solvers", divergence(NoiseLevel::at_log_snr(-2.0 * 80f64.ln())), pure)
        .beside("halfway through the cosine schedule", divergence(Schedule::Cosine.levels(1000)[500])))
}

/// Draws with the exact noise of a mixture in a network's place.
fn drawn(mixture: &DiffusedMixture, (steps, eta): (usize, f64), n: usize, seed: u64) -> Outcome<Array2<f32>> {
    let config = DiffusionConfig { sampler: Sampler::Ddim { steps, eta }, ..Default::default() };
    Ok(sample_with(mixture, &config, n, &Default::default(), &mut seeded(seed))?.x)
}

/// Draws of which a distance is the mean.
const DRAWS: u64 = 4;

pub fn deterministic(lab: &Lab) -> Outcome<Finding> {
    let toy = Toy::ring(8, 1.0, 0.1)?;
    let mixture = toy.diffused().ok_or("a mixture")?;
    let n = 1_000;
    // The share of rows that twice the steps move by less than a tenth of a standard deviation.
    let stay = |eta: f64| {
        lab.mean(|seed| {
            let [one, other] = [125, 250].map(|steps| drawn(&mixture, (steps, eta), n, seed));
            let moved = (one? - other?).mapv(|d| d * d).sum_axis(Axis(1));
            Ok(moved.iter().filter(|&&square| square < 0.01).count() as f64 / n as f64)
        })
    };
    let truth =
        |seed, stream| mixture.standardizer().apply(toy.sample(n, &mut lab.streams(seed).stream(stream)));
    let floors = lab.each(|seed| {
        (0..4)
            .map(|k| Ok(energy_distance(truth(seed, 10 + 2 * k).view(), truth(seed, 11 + 2 * k).view())?))
            .collect()
    })?;
    let floor = Floor::of(&floors.into_iter().collect::<Vec<Vec<f64>>>().concat(), 1)?;
    let margin = floor.mean + 2.0 * floor.sd;
    let distance = |eta: f64| {
        lab.mean(|seed| {
            let mut sum = 0.0;
            for k in 0..DRAWS {
                let x = drawn(&mixture, (250, eta), n, seed + 100 * k)?;
                sum += energy_distance(x.view(), truth(seed, 10 + k).view())?;
            }
            Ok(sum / DRAWS as f64 / margin)
        })
    };
    let counts = [100, 200, 400, 800];
    let sizes = counts.map(|steps| steps as f64);
    let order = lab.mean(|seed| {
        let x: Vec<f64> = truth(seed, 10).iter().take(128).map(|&x| f64::from(x)).collect();
        Ok(-statistics::exponent(&sizes, &counts.map(|steps| round_trip(&mixture, &x, steps))).mean)
    })?;
    let (here, sure) = (Bound::AtMost(1.0), Bound::AtLeast(0.95));
    Ok(Finding::new()
        .claim("share of rows that the same noise leads to, in 125 and 250 steps", stay(0.0)?, sure)
        .beside("the same with fresh noise in each step, η = 1", stay(1.0)?)
        .claim("distance to the truth, in margins: η = 0", distance(0.0)?, here)
        .claim("η = ½", distance(0.5)?, here)
        .claim("η = 1", distance(1.0)?, here)
        .claim("order of the error of going to the noise and back", order, Bound::Within(0.85, 1.15)))
}

/// How far rows come back from where they were, after so many steps to the noise and as many back.
fn round_trip(mixture: &DiffusedMixture, start: &[f64], steps: usize) -> f64 {
    let mut levels: Vec<NoiseLevel> =
        (0..=steps).map(|k| NoiseLevel::at_log_snr(6.0 - 14.0 * k as f64 / steps as f64)).collect();
    let (mut x, mut scratch) = (start.to_vec(), Default::default());
    for _ in 0..2 {
        for pair in levels.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let noise: &[f64] = mixture.noise(&x.clone(), from, &mut scratch);
            for (x, noise) in x.iter_mut().zip(noise) {
                *x = to.alpha * (*x - from.sigma * noise) / from.alpha + to.sigma * noise;
            }
        }
        levels.reverse();
    }
    (x.iter().zip(start).map(|(x, start)| (x - start).powi(2)).sum::<f64>() / x.len() as f64).sqrt()
}

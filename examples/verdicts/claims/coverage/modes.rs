//! Modes that are found or lost.

use std::rc::Rc;
use std::time::Instant;

use quadrivium::diffusion::NoiseLevel;
use quadrivium::engine::Standardizer;
use quadrivium::metrics::{mode_coverage, nearest_labels};
use quadrivium::ndarray::{Array2, Array3, ArrayView2, Axis, concatenate, s};
use quadrivium::numeric::Real;
use quadrivium::prelude::*;
use quadrivium::worlds::{Modes, Toy};
use quadrivium::{Activation, AdversarialLoss, NetworkSpec, OptimizerConfig, Sampler};

use crate::claim::{Bound, Estimate, Finding};
use crate::lab::{Lab, Outcome};
use crate::statistics;

/// Rows that a model draws.
const ROWS: usize = 10_000;

/// The original game. At the rates that suit the other games it stalls at once; slower, it shows what it is known for.
fn minimax() -> GanConfig {
    let default = GanConfig::default();
    let optimizer = OptimizerConfig { lr: 1e-3, ..default.optimizer.clone() };
    GanConfig { loss: AdversarialLoss::Minimax, critic_lr: 5e-4, optimizer, ..default }
}

/// With about as many parameters as generator and critic together.
fn diffusion() -> DiffusionConfig {
    DiffusionConfig {
        network: NetworkSpec::mlp([96; 3], Activation::Silu, 4),
        sampler: Sampler::DpmSolver { steps: 20 },
        ..Default::default()
    }
}

/// As many steps as in the library's table of trade-offs, but for the diffusion, which needs no more than half of them.
const MINIMAX: Training = Training { steps: 5_000, batch: 128 };
const WASSERSTEIN: Training = Training { steps: 12_000, batch: 128 };
const DIFFUSION: Training = Training { steps: 4_000, batch: 256 };

struct Training {
    steps: usize,
    batch: usize,
}

impl Training {
    fn options(&self) -> TrainOptions {
        TrainOptions { steps: self.steps, batch: self.batch, ..TrainOptions::default() }
    }
}

/// A hundred narrow modes.
fn hundred() -> Result<Toy> {
    Toy::grid(10, 2.0, 0.05)
}

fn modes(toy: &Toy) -> Outcome<Modes> {
    Ok(toy.modes().ok_or("equal modes")?)
}

/// What models of the hundred modes draw, and how long they trained.
pub struct Hundred {
    minimax: (Array2<f32>, f64),
    wasserstein: (Array2<f32>, f64),
    diffusion: (Array2<f32>, f64),
}

impl Hundred {
    fn of(lab: &Lab, seed: u64) -> Outcome<Rc<Self>> {
        lab.kept("hundred modes", seed, || {
            let streams = lab.streams(seed);
            let data = Dataset::new(hundred()?.sample(100_000, &mut streams.stream(0)))?;
            let drawn = |mut model: Box<dyn Generative>, options| -> Outcome<(Array2<f32>, f64)> {
                let began = Instant::now();
                model.train(&data, options, &mut streams.stream(2), &mut NoObserver)?;
                let seconds = began.elapsed().as_secs_f64();
                Ok((model.draw(ROWS, &mut streams.stream(3))?, seconds))
            };
            let rng = || streams.stream(1);
            Ok(Hundred {
                minimax: drawn(Box::new(Gan::new(minimax(), &mut rng())?), &MINIMAX.options())?,
                wasserstein: drawn(
                    Box::new(Gan::new(GanConfig::default(), &mut rng())?),
                    &WASSERSTEIN.options(),
                )?,
                diffusion: drawn(Box::new(Diffusion::new(diffusion(), &mut rng())?), &DIFFUSION.options())?,
            })
        })
    }

    /// Modes with less than a fifth of their share: of the original game, the Wasserstein game, and the diffusion.
    pub fn missing(lab: &Lab, seed: u64) -> Outcome<[f64; 3]> {
        let (drawn, Modes { centers, sigma }) = (Hundred::of(lab, seed)?, modes(&hundred()?)?);
        let missing = |x: &Array2<f32>| -> Outcome<f64> {
            let report = mode_coverage(x.view(), centers.view(), sigma)?;
            Ok((report.total - report.modes_fair) as f64)
        };
        Ok([missing(&drawn.minimax.0)?, missing(&drawn.wasserstein.0)?, missing(&drawn.diffusion.0)?])
    }
}

/// Of the seeds.
fn missing(lab: &Lab) -> Outcome<[Vec<f64>; 3]> {
    let all = lab.each(|seed| Hundred::missing(lab, seed))?;
    Ok([0, 1, 2].map(|model| all.iter().map(|missing| missing[model]).collect()))
}

pub fn broader(lab: &Lab) -> Outcome<Finding> {
    let [minimax, wasserstein, diffusion] = missing(lab)?;
    // Two groups: Mann and Whitney's test.
    let by_chance = |gan: &[f64]| Estimate::exact(statistics::rising(&[diffusion.clone(), gan.to_vec()]));
    let seconds = lab.mean(|seed| {
        let drawn = Hundred::of(lab, seed)?;
        Ok(drawn.minimax.1 / drawn.diffusion.1)
    })?;
    Ok(Finding::new()
        .claim("probability by chance that minimax misses more of 100 modes", by_chance(&minimax), Bound::AtMost(0.01))
        .limit("that WGAN-GP does", by_chance(&wasserstein), Bound::AtMost(0.01))
        .beside("modes that minimax misses", statistics::mean(&minimax))
        .beside("WGAN-GP", statistics::mean(&wasserstein))
        .beside("diffusion", statistics::mean(&diffusion))
        .beside("training time of minimax over that of the diffusion", seconds)
        .because("A GAN with a Wasserstein game and features of its noise finds about as many modes as the diffusion."))
}

pub fn collapse(lab: &Lab) -> Outcome<Finding> {
    let [minimax, wasserstein, _] = missing(lab)?;
    let share = |missing: &[f64]| {
        let collapsed = missing.iter().filter(|&&modes| modes > 0.0).count();
        Estimate::exact(collapsed as f64 / missing.len() as f64)
    };
    Ok(Finding::new()
        .claim("share of seeds in which minimax misses modes", share(&minimax), Bound::AtLeast(0.8))
        .limit("in which WGAN-GP does", share(&wasserstein), Bound::AtLeast(0.8))
        .beside("modes of 100 that minimax misses", statistics::mean(&minimax))
        .because("It depends on the game: the original one loses modes, a Wasserstein game need not."))
}

/// Equal modes but for a few that are a hundred times as rare.
struct Rare {
    toy: Toy,
    /// Of the rare modes.
    centers: Array2<f64>,
    /// Of one of them, among all rows.
    share: f64,
}

impl Rare {
    const SIGMA: f64 = 0.05;
    const ROWS: usize = 40_000;

    fn new() -> Outcome<Self> {
        let centers = modes(&Toy::grid25())?.centers;
        let rare = |mode: usize| mode.is_multiple_of(6);
        let weights: Vec<f64> = (0..25).map(|mode| if rare(mode) { 0.01 } else { 1.0 }).collect();
        let covariances =
            Array3::from_shape_fn(
                (25, 2, 2),
                |(_, i, j)| {
                    if i == j { Self::SIGMA * Self::SIGMA } else { 0.0 }
                },
            );
        let those: Vec<usize> = (0..25).filter(|&mode| rare(mode)).collect();
        Ok(Rare {
            toy: Toy::mixture(&weights, centers.view(), covariances.view())?,
            centers: centers.select(Axis(0), &those),
            share: 0.01 / weights.iter().sum::<f64>(),
        })
    }

    /// The rare modes that hold less than a fifth of their share of a model's rows.
    fn missing(
        &self,
        lab: &Lab,
        seed: u64,
        mut model: impl Generative,
        options: &TrainOptions,
    ) -> Outcome<f64> {
        let streams = lab.streams(seed);
        let data = Dataset::new(self.toy.sample(100_000, &mut streams.stream(10)))?;
        model.train(&data, options, &mut streams.stream(11), &mut NoObserver)?;
        let x = model.draw(Self::ROWS, &mut streams.stream(12))?;
        let least = 0.2 * self.share * Self::ROWS as f64;
        let near = |center: usize| {
            let square = |row: &[f64; 2]| row.iter().map(|d| d * d).sum::<f64>();
            x.rows()
                .into_iter()
                .map(|row| [0, 1].map(|c| f64::from(row[c]) - self.centers[(center, c)]))
                .filter(|row| square(row) <= (3.0 * Self::SIGMA).powi(2))
                .count() as f64
        };
        Ok((0..self.centers.nrows()).filter(|&center| near(center) < least).count() as f64)
    }
}

pub fn mitigated(lab: &Lab) -> Outcome<Finding> {
    let [minimax, wasserstein, _] = missing(lab)?;
    let fewer: Vec<f64> = minimax.iter().zip(&wasserstein).map(|(a, b)| a - b).collect();
    let rare = Rare::new()?;
    let game = lab.mean(|seed| {
        rare.missing(
            lab,
            seed,
            Gan::new(GanConfig::default(), &mut lab.streams(seed).stream(13))?,
            &WASSERSTEIN.options(),
        )
    })?;
    let diffused = lab.mean(|seed| {
        rare.missing(
            lab,
            seed,
            Diffusion::new(diffusion(), &mut lab.streams(seed).stream(13))?,
            &DIFFUSION.options(),
        )
    })?;
    let some = Bound::AtLeast(1.0);
    Ok(Finding::new()
        .claim("modes of 100 that WGAN-GP misses less than minimax", statistics::mean(&fewer), some)
        .claim(
            format!("of {} modes that are rare, those that WGAN-GP misses", rare.centers.nrows()),
            game,
            some,
        )
        .limit("of 100 equal modes, those that WGAN-GP misses", statistics::mean(&wasserstein), some)
        .beside("of the rare modes, those that a diffusion misses", diffused)
        .because(
            "What a Wasserstein game saves depends on the data and on how long it trains: of the grid of 25 modes in \
             docs/RESULTS.md it loses none, of a hundred it may lose some, and rare modes are the first to go.",
        ))
}

/// Noise levels, in distances between modes.
const LEVELS: [f64; 6] = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// ε* of a row z of the whole grid under noise: the best prediction there is, in the units of a model.
fn best_noise(z: [f64; 2], level: NoiseLevel, modes: &Modes, units: &Standardizer) -> [f64; 2] {
    let (shift, scale) = (units.shift(), units.scale());
    let variance = |c: usize| (level.alpha * modes.sigma / scale[c]).powi(2) + level.sigma.powi(2);
    // Σ over the modes of its share, and of its share times what it makes of the noise.
    let mut sums = [0.0; 3];
    let away =
        |center: usize, c: usize| z[c] - level.alpha * (modes.centers[(center, c)] - shift[c]) / scale[c];
    let fit =
        |center: usize| -> f64 { [0, 1].map(|c| -0.5 * away(center, c).powi(2) / variance(c)).iter().sum() };
    let fits: Vec<f64> = (0..modes.centers.nrows()).map(fit).collect();
    let most = fits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for (center, fit) in fits.into_iter().enumerate() {
        let share = (fit - most).exp();
        sums[2] += share;
        for c in [0, 1] {
            sums[c] += share * level.sigma * away(center, c) / variance(c);
        }
    }
    [sums[0] / sums[2], sums[1] / sums[2]]
}

/// The noise error at rows of a mode that was left out of the training over that at the others, at each level, each in
/// units of the least error that is possible there.
fn excess(lab: &Lab, seed: u64) -> Outcome<[f64; 6]> {
    let (streams, toy, left_out) = (lab.streams(seed), Toy::grid25(), (7 * seed as usize + 6) % 25);
    let modes = modes(&toy)?;
    let centers = &modes.centers;
    let of = |x: Array2<f32>, wanted: bool| {
        let inside = |row: &usize| {
            let near = |c: usize| (f64::from(x[(*row, c)]) - centers[(left_out, c)]).abs() < 1.0;
            (near(0) && near(1)) == wanted
        };
        x.select(Axis(0), &(0..x.nrows()).filter(inside).collect::<Vec<_>>())
    };
    let train = of(toy.sample(50_000, &mut streams.stream(0)), false);
    let units = Standardizer::identity(2).fitted(train.view())?;
    let mut model = Diffusion::new(DiffusionConfig { whiten: false, ..diffusion() }, &mut streams.stream(1))?;
    let options = TrainOptions { steps: 3_000, batch: 128, ..Default::default() };
    model.train(&Dataset::new(train)?, &options, &mut streams.stream(2), &mut NoObserver)?;
    let fresh = toy.sample(25_000, &mut streams.stream(4));
    let [missing, known] = [true, false].map(|wanted| units.apply(of(fresh.clone(), wanted)));
    let spacing = 2.0 / units.scale()[0];
    let mut excess = [0.0; 6];
    for (excess, level) in excess.iter_mut().zip(LEVELS) {
        let level = NoiseLevel::at_log_snr(-2.0 * (level * spacing).ln());
        let error = |x: &Array2<f32>| -> Outcome<f64> {
            let x = x.slice(s![..x.nrows().min(900), ..]);
            let rng = &mut streams.stream(5);
            let noise = Array2::from_shape_simple_fn(x.dim(), || f32::normal(rng));
            let z = &x * level.alpha as f32 + &noise * level.sigma as f32;
            let squares = |error: Array2<f32>| error.iter().map(|&e| f64::from(e).powi(2)).sum::<f64>();
            let mut best = z.clone();
            for mut row in best.rows_mut() {
                let noise = best_noise([row[0], row[1]].map(f64::from), level, &modes, &units);
                row.iter_mut().zip(noise).for_each(|(to, noise)| *to = noise as f32);
            }
            Ok(squares(model.predict_noise(z.view(), level)? - &noise) / squares(best - &noise))
        };
        *excess = error(&missing)? / error(&known)?;
    }
    Ok(excess)
}

pub fn penalty(lab: &Lab) -> Outcome<Finding> {
    let all = lab.each(|seed| excess(lab, seed))?;
    let mut finding = Finding::new();
    for (k, level) in LEVELS.into_iter().enumerate() {
        let figure = statistics::mean(&all.iter().map(|excess| excess[k]).collect::<Vec<_>>());
        let name = format!(
            "noise error at a missed mode over that at others, σ/α = {level} distances between modes"
        );
        finding = match level {
            ..1.0 => finding.claim(name, figure, Bound::AtLeast(1.0)),
            // Far beyond the distance, less than a hundredth would teach nothing.
            10.0 => finding.limit(name, figure, Bound::AtLeast(1.01)),
            _ => finding.beside(name, figure),
        };
    }
    Ok(finding.because(
        "A missed mode costs most where the noise is about as wide as the distance between modes. Noise far smaller leaves \
         little to guess; under noise far larger the model only takes the mean of the data to be elsewhere.",
    ))
}

/// Rows of either kind by which the classifier decides, and as many that it has not seen.
const KNOWN: usize = 2_000;
const NEIGHBORS: usize = 5;

/// The accuracy of a classifier by the nearest neighbors, on rows that it has not seen: half where real and drawn rows
/// cannot be told apart (Lopez-Paz & Oquab 2017).
fn told_apart(real: ArrayView2<f32>, drawn: ArrayView2<f32>) -> Outcome<f64> {
    let known = concatenate(Axis(0), &[real.slice(s![..KNOWN, ..]), drawn.slice(s![..KNOWN, ..])])?;
    let labels: Vec<u32> = (0..2 * KNOWN).map(|row| u32::from(row < KNOWN)).collect();
    let right = |x: ArrayView2<f32>, label: u32| -> Outcome<usize> {
        let unseen = x.slice(s![KNOWN..2 * KNOWN, ..]);
        let found = nearest_labels(known.view(), &labels, unseen, NEIGHBORS)?;
        Ok(found.iter().filter(|found| **found == label).count())
    };
    Ok((right(real, 1)? + right(drawn, 0)?) as f64 / (2 * KNOWN) as f64)
}

pub fn indistinguishable(lab: &Lab) -> Outcome<Finding> {
    let accuracy = |drawn: &dyn Fn(&Hundred) -> Array2<f32>| {
        lab.mean(|seed| {
            let real = hundred()?.sample(2 * KNOWN, &mut lab.streams(seed).stream(6));
            told_apart(real.view(), drawn(&*Hundred::of(lab, seed)?).view())
        })
    };
    let truth = lab.mean(|seed| {
        let [one, other] = [6, 7].map(|k| Ok(hundred()?.sample(2 * KNOWN, &mut lab.streams(seed).stream(k))));
        let (one, other): (Array2<f32>, Array2<f32>) = (one.map_err(|e: quadrivium::Error| e)?, other?);
        told_apart(one.view(), other.view())
    })?;
    // Three standard errors of the accuracy of a coin on as many rows.
    let half = Bound::AtMost(0.525);
    Ok(Finding::new()
        .claim("accuracy of a fresh classifier on unseen rows: WGAN-GP", accuracy(&|h| h.wasserstein.0.clone())?, half)
        .limit("minimax", accuracy(&|h| h.minimax.0.clone())?, half)
        .beside("diffusion", accuracy(&|h| h.diffusion.0.clone())?)
        .beside("the truth itself", truth)
        .because(
            "Training stops long before: rows between the modes and modes of the wrong width or weight give the draws of a \
             GAN away to a classifier that is trained against the finished generator.",
        ))
}

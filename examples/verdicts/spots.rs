//! Pictures whose attributes are known, and models of them that several claims share.

use std::rc::Rc;

use quadrivium::hybrid::{Latent, LatentConfig};
use quadrivium::metrics::{Floor, frechet_distance};
use quadrivium::ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use quadrivium::numeric::{Real, rng::Rng};
use quadrivium::prelude::*;
use quadrivium::rand::Rng as _;
use quadrivium::{Activation, ConditionKind, NetworkSpec, OptimizerConfig, Sampler};

use crate::course::course;
use crate::lab::{Lab, Outcome};

/// Pixels along a side.
const SIDE: usize = 16;
pub const PIXELS: usize = SIDE * SIDE;

/// The standard deviation of the noise of a pixel.
pub const NOISE: f64 = 0.05;

/// What counts as a part of a spot: four standard deviations of the noise.
const BACKGROUND: f64 = 0.2;

/// What is read off a picture: where the spot is, its size, its brightness.
pub const ATTRIBUTES: [&str; 4] = ["x", "y", "size", "brightness"];

/// The class of a picture: the quarter in which its spot is.
pub const CLASSES: usize = 4;
pub const KIND: ConditionKind = ConditionKind::Class { classes: CLASSES as u32 };

/// Pictures that a model is judged by.
pub const JUDGED: usize = 1_000;

/// Columns of the latents that the claims about compositions share.
pub const LATENTS: usize = 8;

/// `n` pictures of one bright spot on black, under noise, each with its quarter.
pub fn pictures(n: usize, rng: &mut Rng) -> (Array2<f32>, Array1<u32>) {
    let (mut x, mut quarters) = (Array2::zeros((n, PIXELS)), Array1::zeros(n));
    for (mut row, quarter) in x.rows_mut().into_iter().zip(&mut quarters) {
        *quarter = rng.random_range(0..CLASSES as u32);
        let around = |low: bool| if low { 3.5..6.5 } else { 8.5..11.5 };
        let (across, down) = (around(*quarter % 2 == 0), around(*quarter < 2));
        let (cx, cy) = (rng.random_range(across), rng.random_range(down));
        let (radius, brightness) = (rng.random_range(1.5..3.0), rng.random_range(0.6..1.0));
        for (at, pixel) in row.iter_mut().enumerate() {
            let (dx, dy) = ((at % SIDE) as f64 - cx, (at / SIDE) as f64 - cy);
            let inside: f64 = (dx * dx + dy * dy).sqrt() - radius;
            *pixel = (brightness / (1.0 + (inside / 0.4f64).exp()) + NOISE * f64::normal(rng)) as f32;
        }
    }
    (x, quarters)
}

/// The attributes of a picture: the center of what is bright, its root mean square radius, and its mean brightness.
fn attributes_of(picture: ArrayView1<f32>) -> [f32; 4] {
    let bright = || {
        picture.iter().enumerate().filter_map(|(at, &v)| {
            let weight = f64::from(v) - BACKGROUND;
            (weight > 0.0).then_some(((at % SIDE) as f64, (at / SIDE) as f64, weight))
        })
    };
    let total: f64 = bright().map(|(.., weight)| weight).sum();
    if total == 0.0 {
        // No spot: in the middle, without size.
        let middle = 0.5 * (SIDE - 1) as f32;
        return [middle, middle, 0.0, 0.0];
    }
    let mean = |value: &dyn Fn(f64, f64, f64) -> f64| {
        bright().map(|(x, y, weight)| weight * value(x, y, weight)).sum::<f64>() / total
    };
    let (cx, cy) = (mean(&|x, _, _| x), mean(&|_, y, _| y));
    let square = mean(&|x, y, _| (x - cx).powi(2) + (y - cy).powi(2));
    [cx, cy, square.sqrt(), mean(&|_, _, weight| weight)].map(|v| v as f32)
}

/// (n, 4)
pub fn attributes(x: ArrayView2<f32>) -> Array2<f32> {
    let rows: Vec<f32> = x.rows().into_iter().flat_map(attributes_of).collect();
    Array2::from_shape_vec((x.nrows(), ATTRIBUTES.len()), rows).expect("four numbers a row")
}

/// The sum of the squared slopes along the lines of a picture, less that of noise with this standard deviation.
pub fn edges(x: ArrayView2<f32>, noise: f64) -> f64 {
    let along = || (0..PIXELS).filter(|at| at % SIDE + 1 < SIDE);
    let squares =
        |row: ArrayView1<f32>| along().map(|at| f64::from(row[at + 1] - row[at]).powi(2)).sum::<f64>();
    let mean = x.rows().into_iter().map(squares).sum::<f64>() / x.nrows() as f64;
    mean - 2.0 * noise * noise * along().count() as f64
}

/// The quarters in turn.
pub fn asked(n: usize) -> Condition {
    Condition::Class(Array1::from_shape_fn(n, |row| (row % CLASSES) as u32))
}

/// The share of pictures whose spot is in the quarter that was asked for.
pub fn adherence(x: ArrayView2<f32>, asked: &Condition) -> f64 {
    let Condition::Class(asked) = asked else { unreachable!("quarters are classes") };
    let middle = 0.5 * (SIDE - 1) as f32;
    let right = x.rows().into_iter().zip(asked).filter(|(row, asked)| {
        let [cx, cy, size, _] = attributes_of(row.view());
        size > 0.0 && u32::from(cx > middle) + 2 * u32::from(cy > middle) == **asked
    });
    right.count() as f64 / x.nrows() as f64
}

/// An attribute that is farther off counts as this far, in standard deviations, so that a few pictures without a spot, or
/// with two, do not drown the others. Attributes are about uniform, and of true pictures within two.
const FARTHEST: f32 = 3.0;

fn in_units(x: ArrayView2<f32>, shift: &Array1<f32>, scale: &Array1<f32>) -> Array2<f32> {
    ((attributes(x) - shift) / scale).mapv(|v| v.clamp(-FARTHEST, FARTHEST))
}

/// Pictures to learn from and to judge by.
pub struct Spots {
    pub data: Dataset,
    /// Pictures that no model has seen.
    pub test: Array2<f32>,
    /// Their attributes, in standard deviations.
    truth: Array2<f32>,
    shift: Array1<f32>,
    scale: Array1<f32>,
    /// The distance of a perfect sampler.
    pub floor: Floor,
}

impl Spots {
    fn new(lab: &Lab, seed: u64) -> Outcome<Self> {
        let streams = lab.streams(seed).family(70);
        let (x, quarters) = pictures(10_000, &mut streams.stream(0));
        let data = Dataset::new(x)?.with_condition(Condition::Class(quarters))?;
        let test = pictures(JUDGED, &mut streams.stream(1)).0;
        let seen = attributes(test.view());
        let (shift, scale) =
            (seen.mean_axis(Axis(0)).ok_or("there are pictures")?, seen.std_axis(Axis(0), 1.0));
        let units = |x: ArrayView2<f32>| in_units(x, &shift, &scale);
        let truth = units(test.view());
        let mut distances = Vec::new();
        for pair in 0..8 {
            let other = pictures(JUDGED, &mut streams.stream(2 + pair)).0;
            distances.push(frechet_distance(units(other.view()).view(), truth.view())?);
        }
        Ok(Spots { data, truth, test, shift, scale, floor: Floor::of(&distances, 1)? })
    }

    /// The attributes of pictures, in standard deviations of those of true ones.
    pub fn units(&self, x: ArrayView2<f32>) -> Array2<f32> {
        in_units(x, &self.shift, &self.scale)
    }

    /// The Fréchet distance of attributes to those of true pictures.
    pub fn distance(&self, x: ArrayView2<f32>) -> Outcome<f64> {
        Ok(frechet_distance(self.units(x).view(), self.truth.view())?)
    }

    /// The pictures without their classes, for the parts that describe all of them.
    pub fn bare(&self) -> Outcome<Dataset> {
        Ok(Dataset::new(self.data.x().to_owned())?)
    }
}

pub fn world(lab: &Lab, seed: u64) -> Outcome<Rc<Spots>> {
    lab.kept("spots", seed, || Spots::new(lab, seed))
}

pub fn wide(width: usize, layers: usize) -> NetworkSpec {
    NetworkSpec::mlp(vec![width; layers], Activation::Silu, 0)
}

/// Steps of an autoencoder's training.
pub const CODEC_STEPS: usize = 2_000;

/// An autoencoder with so many latents, trained.
pub fn codec(lab: &Lab, seed: u64, latent_dim: usize) -> Outcome<Vae> {
    let spots = world(lab, seed)?;
    let streams = lab.streams(seed).family(71);
    let config = VaeConfig {
        dim: PIXELS,
        latent_dim,
        encoder: wide(128, 2),
        decoder: wide(128, 2),
        whiten: false,
        optimizer: OptimizerConfig { lr: 2e-3, ..Default::default() },
        ..Default::default()
    };
    let mut vae = Vae::new(config, &mut streams.stream(0))?;
    let options = TrainOptions { steps: CODEC_STEPS, batch: 128, ..Default::default() };
    vae.train(&spots.bare()?, &options, &mut streams.stream(1), &mut NoObserver)?;
    Ok(vae)
}

/// The autoencoder that the claims share.
pub fn shared_codec(lab: &Lab, seed: u64) -> Outcome<Rc<Vae>> {
    lab.kept("codec of spots", seed, || codec(lab, seed, LATENTS))
}

/// An untrained diffusion of rows under their quarter; its layers are half as wide for latents.
pub fn diffusion(lab: &Lab, seed: u64, dim: usize) -> Outcome<Diffusion> {
    let config = DiffusionConfig {
        dim,
        network: wide(if dim < 128 { 128 } else { 256 }, 3),
        sampler: Sampler::Ddim { steps: 50, eta: 0.0 },
        condition: KIND,
        optimizer: OptimizerConfig { lr: 2e-3, ..Default::default() },
        ..Default::default()
    };
    Ok(Diffusion::new(config, &mut lab.streams(seed).family(72).stream(0))?)
}

/// Steps after which a diffusion is judged; the last ends its training.
pub const COURSE: [usize; 5] = [250, 500, 1_000, 2_000, 4_000];

pub fn options(steps: usize) -> TrainOptions {
    TrainOptions { steps, batch: 128, ..Default::default() }
}

/// A model, and how far it was from the truth on its way.
pub struct Trained<M> {
    pub model: M,
    /// At the steps of [`COURSE`].
    pub distances: Vec<f64>,
}

/// Trains a diffusion, judged as what `whole` makes of it.
fn trained<M: Generative>(
    (lab, seed): (&Lab, u64),
    start: Diffusion,
    data: &Dataset,
    whole: impl Fn(Diffusion) -> Outcome<M>,
) -> Outcome<Trained<M>> {
    let (spots, streams) = (world(lab, seed)?, lab.streams(seed).family(73));
    let (mut distances, last) = (Vec::new(), COURSE[COURSE.len() - 1]);
    let end = course(&start, data, &options(last), &COURSE, streams.family(0), |_, diffusion| {
        let quick = whole(diffusion.with_sampler(Sampler::DpmSolver { steps: 20 })?)?;
        let x = quick.given(&asked(JUDGED))?.draw(JUDGED, &mut streams.stream(1))?;
        distances.push(spots.distance(x.view())?);
        Ok(())
    })?;
    Ok(Trained { model: whole(end)?, distances })
}

/// A diffusion of the latents of [`shared_codec`].
pub fn latent_diffusion(lab: &Lab, seed: u64) -> Outcome<Rc<Trained<Latent<Vae, Diffusion>>>> {
    lab.kept("latent diffusion of spots", seed, || {
        let (spots, codec) = (world(lab, seed)?, shared_codec(lab, seed)?);
        let start = diffusion(lab, seed, LATENTS)?;
        let model = Latent::new(Vae::clone(&codec), start.clone(), LatentConfig::default())?;
        let latents = model.latents(&spots.data, seed)?;
        trained((lab, seed), start, &latents, |prior| Ok(model.with_prior(prior)?))
    })
}

/// A diffusion of the pixels.
pub fn pixel_diffusion(lab: &Lab, seed: u64) -> Outcome<Rc<Trained<Diffusion>>> {
    lab.kept("pixel diffusion of spots", seed, || {
        let start = diffusion(lab, seed, PIXELS)?;
        trained((lab, seed), start, &world(lab, seed)?.data, Ok)
    })
}

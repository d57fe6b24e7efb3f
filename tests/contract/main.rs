//! What the contract promises, held against every model: a test for each promise of each model, as
//! `models::vae::batch_scores_as_its_rows`, and under conditions as `conditions::vae::class::…`.
//!
//! To add a model is one line in the table of `models.rs`, and one in that of `conditions.rs`.

/// A test for each of the promises of `SUBJECT`.
macro_rules! kept {
    ($($file:ident::$promise:ident),* $(,)?) => { $(
        #[test]
        fn $promise() {
            crate::$file::$promise(&SUBJECT);
        }
    )* };
}

/// A test of one promise for each of some models.
macro_rules! some_keep {
    ($file:ident::$promise:ident: $($name:ident),* $(,)?) => {
        mod $promise { $(
            #[test]
            fn $name() {
                crate::$file::$promise(&crate::models::$name::SUBJECT);
            }
        )* }
    };
}

mod conditions;
mod drawing;
mod extremes;
#[cfg(feature = "safetensors")]
mod files;
mod models;
mod refusals;
mod scoring;
mod tails;
mod together;
mod training;

use std::ops::ControlFlow;
use std::sync::OnceLock;

use quadrivium::ndarray::{Array2, Axis, array, s};
use quadrivium::prelude::*;
use quadrivium::worlds::Toy;
use quadrivium::{Error, seeded};
use quadrivium::{Samples, TrainReport};

// With files, every model can be one.
#[cfg(not(feature = "safetensors"))]
use quadrivium::Generative as Model;
#[cfg(feature = "safetensors")]
use quadrivium::persist::{self, Persist as Model};

use self::models::{Setting, Subject};

fn moons(n: usize) -> Dataset {
    Dataset::new(Toy::moons(0.1).unwrap().sample(n, &mut seeded(1))).unwrap()
}

fn short(steps: usize) -> TrainOptions {
    TrainOptions { steps, batch: 64, ..TrainOptions::default() }
}

fn train(model: &mut dyn Generative, steps: usize) -> TrainReport {
    model.train(&moons(500), &short(steps), &mut seeded(2), &mut NoObserver).unwrap()
}

fn sample(p: &dyn Distribution, n: usize, seed: u64) -> Samples {
    p.sample(n, &SampleOptions::default(), &mut seeded(seed)).unwrap()
}

/// The rows of `sample`, as the blocks of `sample_each`.
fn blocks(p: &dyn Distribution, n: usize, seed: u64) -> Vec<Array2<f32>> {
    let mut blocks = Vec::new();
    let mut sink = |rows: quadrivium::ndarray::ArrayView2<f32>| {
        blocks.push(rows.to_owned());
        ControlFlow::Continue(())
    };
    p.sample_each(n as u64, &SampleOptions::default(), &mut seeded(seed), &mut sink).unwrap();
    blocks
}

fn joined(blocks: &[Array2<f32>]) -> Array2<f32> {
    let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
    quadrivium::ndarray::concatenate(Axis(0), &views).unwrap()
}

fn nats(p: &dyn Distribution, x: &Array2<f32>) -> Option<Vec<f64>> {
    let score = p.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
    score.nats().map(|nats| nats.to_vec())
}

/// That a row scores the same alone and in a batch, but for the order in which a product is summed.
fn assert_same_score(alone: f64, in_a_batch: f64) {
    let tolerance = 1e-5 * (1.0 + alone.abs());
    assert!((alone - in_a_batch).abs() <= tolerance, "alone {alone}, in a batch {in_a_batch}");
}

/// Points that follow no lattice, in the square from `low` to `high`: multiples of 1/ρ and 1/ρ² modulo 1, ρ³ = ρ + 1
/// (Roberts' sequence), are spread evenly, and a density with steps has edges that a lattice may miss alike.
fn spread_points(n: usize, low: [f64; 2], high: [f64; 2]) -> Array2<f32> {
    let rho = 1.324_717_957_244_746_f64;
    Array2::from_shape_fn((n, 2), |(i, c)| {
        let share = (0.5 + (i + 1) as f64 * rho.powi(-(c as i32 + 1))).fract();
        (low[c] + share * (high[c] - low[c])) as f32
    })
}

/// ∫ p(x) dx over a square, by `points` evenly spread, and the share of `draws` outside of it.
fn mass(p: &dyn Distribution, (low, high): ([f64; 2], [f64; 2]), points: usize, draws: usize) -> (f64, f64) {
    let area = (high[0] - low[0]) * (high[1] - low[1]);
    let nats = nats(p, &spread_points(points, low, high)).unwrap();
    let inside = area * nats.iter().map(|nats| nats.exp()).sum::<f64>() / points as f64;
    let drawn = sample(p, draws, 3).x;
    let beyond = |row: &quadrivium::ndarray::ArrayView1<f32>| {
        (0..2).any(|c| !(low[c]..high[c]).contains(&f64::from(row[c])))
    };
    let outside = drawn.rows().into_iter().filter(beyond).count() as f64 / draws as f64;
    (inside, outside)
}

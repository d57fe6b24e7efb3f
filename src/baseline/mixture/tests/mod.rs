mod conditional;
mod degenerate;
mod density;
mod folds;
mod iterations;
mod options;
mod search;

use std::ops::ControlFlow;

use ndarray::{Array2, array, s};

use super::*;
use crate::engine;
use crate::numeric::Real;
use crate::seeded;
use crate::worlds::Toy;

fn toy_rows(toy: &Toy, n: usize, seed: u64) -> Dataset {
    Dataset::new(toy.sample(n, &mut seeded(seed))).unwrap()
}

fn fitted(config: GaussianMixtureConfig, data: &Dataset, seed: u64) -> (GaussianMixture, TrainReport) {
    let mut model = GaussianMixture::new(config).unwrap();
    let report = model.train(data, &TrainOptions::default(), &mut seeded(seed), &mut NoObserver).unwrap();
    (model, report)
}

fn mean_nats(model: &GaussianMixture, x: ArrayView2<f32>) -> f64 {
    model.score(x).unwrap().mean().unwrap()
}

fn fixed(k: usize) -> GaussianMixtureConfig {
    let components = ComponentCount::Fixed(k);
    GaussianMixtureConfig { components, covariance: Covariance::Full, ..Default::default() }
}

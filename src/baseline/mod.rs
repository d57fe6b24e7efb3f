//! Classical references under the same trait: densities in closed form, without a network.
//!
//! They are the yardstick that a neural model must beat to be worth its cost, and where rows are few they
//! often win. Both score exactly, sum in f64 from the rows as they stand, and draw in one pass.
//!
//! # Formula
//!
//! | model | p(x) | fitted by |
//! | --- | --- | --- |
//! | [`GaussianMixture`] | Σₖ wₖ N(x; μₖ, Σₖ) | expectation–maximization from several starts; the number of components, and what their covariances share, by BIC or cross-validation |
//! | [`KernelDensity`] | (1/n) Σⱼ N(x; xⱼ, Hⱼ), Hⱼ = h² λⱼ² Σ | a rule, or the likelihood of rows left out, for h, and λⱼ = 1 or by the nearest rows |
//!
//! wₖ, μₖ, Σₖ are the weight, mean and covariance of component k; xⱼ are the n training rows, Σ their
//! covariance, h the bandwidth.
//!
//! [`NGram`] is the reference for rows of tokens: p(x) = Π p(xᵢ | the n − 1 tokens before it), from counts.
//!
//! # Picture
//!
#![cfg_attr(doc, doc = include_str!("../../docs/pictures/baseline_density.svg"))]
//!
//! # Example
//!
//! What the bandwidth does: the rule is right for one Gaussian, and blurs two moons; too narrow a kernel
//! learns the rows by heart.
//!
//! ```
//! use quadrivium::{worlds::Toy, *, seeded};
//!
//! let (mut rng, moons) = (seeded(0), Toy::moons(0.1)?);
//! let data = Dataset::new(moons.sample(2_000, &mut rng))?;
//! let test = moons.sample(1_000, &mut rng);
//! // NLL of training rows and of others.
//! let mut nll = |bandwidth| -> Result<(f64, f64)> {
//!     let mut model = KernelDensity::new(KernelDensityConfig { bandwidth, ..Default::default() })?;
//!     model.train(&data, &TrainOptions::default(), &mut rng, &mut NoObserver)?;
//!     let of = |x| -> Result<f64> {
//!         Ok(-model.log_likelihood(x, &LikelihoodOptions::default())?.nats().unwrap().mean().unwrap())
//!     };
//!     Ok((of(data.x())?, of(test.view())?))
//! };
//! let (rule, chosen) = (nll(Bandwidth::Scott)?, nll(Bandwidth::CrossValidated { rows: 500 })?);
//! let narrow = nll(Bandwidth::Fixed(0.01))?;
//! assert!(chosen.1 + 0.2 < rule.1, "the entropy is 1.008: {chosen:?} {rule:?}");
//! assert!(narrow.0 < 0.0 && narrow.1 > 2.0, "by heart: {narrow:?}");
//! # Ok::<(), Error>(())
//! ```
//!
//! # What can go wrong
//!
//! - **One width for all places** is too wide for a peak and too narrow for a tail, and the rules are too
//!   wide for everything with more than one mode. *See*: training rows that score far better than held-out ones
//!   (too narrow), or held-out rows that score far better with half the width (too wide). *Change*:
//!   [`Bandwidth::CrossValidated`], or [`Bandwidth::Adaptive`], whose kernels are wide where rows are sparse.
//! - **The curse of dimension.** A kernel density's error falls as n^(−4/(d + 4)), d columns: each more
//!   wants many times the rows.
//! - **Repeated rows.** Cross-validation narrows the kernels without end, and a component on one repeated
//!   row has an infinite likelihood; [`reg_covar`](GaussianMixtureConfig::reg_covar) bounds it, and
//!   [`shrinkage`](GaussianMixtureConfig::shrinkage) that of a component on a few rows. *Change*:
//!   [`dequantize`](crate::tables::dequantize) rounded columns.
//! - **Local optima.** A component that covers two modes does not split, and two that share a mode do not
//!   part. *See*: likelihoods that differ from seed to seed. *Change*:
//!   [`restarts`](GaussianMixtureConfig::restarts).
//! - **Edges and curves** become chains of ellipses: on the checkerboard a spline flow comes several times closer to
//!   the truth than a mixture of 25 components ([measured](crate::results)).
//!
//! # Papers
//!
//! Dempster, Laird & Rubin 1977, [Maximum likelihood from incomplete data via the EM
//! algorithm](https://doi.org/10.1111/j.2517-6161.1977.tb01600.x) · Schwarz 1978, [Estimating the dimension
//! of a model](https://doi.org/10.1214/aos/1176344136) · Rosenblatt 1956, [Remarks on some nonparametric
//! estimates of a density function](https://doi.org/10.1214/aoms/1177728190) · Parzen 1962, [On estimation
//! of a probability density function and mode](https://doi.org/10.1214/aoms/1177704472) · Silverman 1986,
//! [Density estimation for statistics and data analysis](https://doi.org/10.1007/978-1-4899-3324-9) · Scott
//! 1992, [Multivariate density estimation](https://doi.org/10.1002/9780470316849) · Witten & Bell 1991, [The
//! zero-frequency problem](https://doi.org/10.1109/18.87000)

mod kernel;
mod lanes;
mod mixture;
mod ngram;

use ndarray::{Array2, ArrayView2, Axis};

use crate::error::{Result, check};
use crate::model::{Condition, ConditionKind};
use crate::numeric::gemm::gram;

/// The most columns of a baseline: a covariance has dim² entries, and to factor it takes dim³ operations.
const MOST_COLUMNS: usize = 4096;

/// That a baseline takes such a condition: none, a class, or numbers, at most 4096 with the columns.
fn conditions(kind: ConditionKind, dim: usize, field: &'static str) -> Result<()> {
    kind.validate(field)?;
    let sane = match kind {
        ConditionKind::None | ConditionKind::Class { .. } => true,
        ConditionKind::Vector { dim: numbers } => numbers + dim <= MOST_COLUMNS,
        _ => false,
    };
    check(sane, field, kind, "none, classes, or a vector of at most 4096 numbers with the columns")
}

/// How many numbers a condition has: 0 unless it is a vector.
fn numbers(kind: ConditionKind) -> usize {
    if let ConditionKind::Vector { dim } = kind { dim } else { 0 }
}

/// The numbers of each row's condition, if they are a vector, before the row's own: (n, numbers + dim).
fn joined(x: ArrayView2<f32>, condition: Option<&Condition>) -> Array2<f32> {
    match condition {
        Some(Condition::Vector(c)) => ndarray::concatenate![Axis(1), *c, x],
        _ => x.as_standard_layout().into_owned(),
    }
}

/// The rows of each class: (classes), with their numbers; all rows in one part if the condition is no class.
fn by_class(kind: ConditionKind, condition: Option<&Condition>, rows: usize) -> Vec<Vec<usize>> {
    match (kind, condition) {
        (ConditionKind::Class { classes }, Some(Condition::Class(found))) => {
            let mut parts = vec![Vec::new(); classes as usize];
            found.iter().enumerate().for_each(|(row, &class)| parts[class as usize].push(row));
            parts
        }
        _ => vec![(0..rows).collect()],
    }
}

/// The condition of row i, of which there is one for all rows or one for each.
fn row_of(condition: &Condition, i: usize) -> usize {
    if condition.rows() == 1 { 0 } else { i }
}

/// Σ (x − μ)(x − μ)ᵀ/count over the rows of x, (n, d): (d, d).
fn covariance(x: ArrayView2<f32>, mean: &[f64], count: f64) -> Array2<f64> {
    let d = mean.len();
    let centered: Vec<f64> = x
        .rows()
        .into_iter()
        .flat_map(|row| row.into_iter().zip(mean).map(|(&x, mean)| f64::from(x) - mean))
        .collect();
    Array2::from_shape_vec((d, d), gram(&centered, d)).expect("d × d") / count
}

pub use kernel::{Bandwidth, KernelDensity, KernelDensityConfig};
pub use mixture::{ComponentCount, Covariance, DegenerateComponent, GaussianMixture, GaussianMixtureConfig};
pub use ngram::{NGram, NGramConfig};

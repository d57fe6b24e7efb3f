//! The Gaussian mixture: p(x) = Σₖ wₖ N(x; μₖ, Σₖ), with full, tied, diagonal or spherical covariances.
//!
//! **Objective.** Maximum likelihood by expectation–maximisation (Dempster, Laird & Rubin 1977; Bishop 2006,
//! §9.2). The E-step finds the responsibilities rₖ(x) = wₖ N(x; μₖ, Σₖ) / p(x), the M-step the weighted
//! counts, means and covariances; no iteration lowers the likelihood, but for what the prior takes. It starts
//! from k-means++, or from a mixture of one component less.
//!
//! **Sampling.** One pass: k ~ w, x = μₖ + Lₖ z with Σₖ = Lₖ Lₖᵀ, z ~ N(0, I).
//!
//! **Likelihood.** Exact, in closed form.
//!
//! **What goes wrong.** *Local optima*: a component that covers two modes does not split, and two that share
//! a mode do not part; hence splits and restarts. *Collapse*: a component on a few rows or one repeated row has
//! an infinite likelihood; `shrinkage` and `reg_covar` bound it. *Shape*: an edge or a curve is a chain of ellipses.

mod blocks;
mod gaussians;
mod likelihood;
mod moments;
mod objective;
#[cfg(feature = "safetensors")]
mod persist;
mod sampling;
mod search;
mod start;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayView3, Axis, s};
use rand::RngCore;

use self::blocks::Blocks;
use self::gaussians::Gaussians;
use self::likelihood::Scratch;
use self::objective::{Em, Limits, Prior};
use self::search::{Search, TRIAL_ROWS};
use super::{MOST_COLUMNS, covariance};
use crate::engine;
use crate::engine::Standardiser;
use crate::engine::tiles;
use crate::error::{Error, Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;

/// Rows that go through all components together.
const BLOCK: usize = 256;

/// What a [`GaussianMixture`] is made of and how it learns.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct GaussianMixtureConfig {
    /// Columns of a row. 1 to 4096. Default 2.
    pub dim: usize,
    /// How many components. Default: the best of 1 to 25 by [`ComponentCount::Bic`].
    pub components: ComponentCount,
    /// What the covariances share. Default: the best by the same criterion, [`Covariance::Best`].
    pub covariance: Covariance,
    /// Runs of EM in a first training for each family and number of components, each from another k-means++ start;
    /// where the number is searched for, one of them starts from the mixture of one component less instead. The
    /// one of the highest likelihood is kept. 1 to 1000. Default 3.
    pub restarts: usize,
    /// A run ends when an iteration gains less than this, in nats per row. 0 or more. Default 1e-5.
    pub tol: f64,
    /// The most iterations of a run. 1 to 1,000,000. Default 300.
    pub max_iter: usize,
    /// Added to each component's variances, as a share of the column's variance over all training rows: the
    /// floor of a collapsing component. 0 or more; with 0 a collapse is an error. Default 1e-6, a standard
    /// deviation of a thousandth of the column's.
    pub reg_covar: f64,
    /// λ of a prior on the covariances: a component with nₖ rows has λ/nₖ times the covariance of all training
    /// rows added to its own, as if one more row stood √λ standard deviations away. It keeps components of few
    /// rows broad and leaves those of many as they are. Tied covariances go without. 0 or more. Default 0.01.
    pub shrinkage: f64,
}

/// What the covariances of a mixture share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Covariance {
    /// The family of the four below that the criterion of [`ComponentCount::Bic`] prefers, with its number of
    /// components.
    Best,
    /// Σₖ any: d (d + 1)/2 numbers for each component.
    Full,
    /// One Σ for all components: d (d + 1)/2 numbers.
    Tied,
    /// Σₖ diagonal: d numbers for each component.
    Diagonal,
    /// Σₖ = sₖ² diag(σ²), σ the standard deviations of the columns over the training rows, so that units do not
    /// matter: one number for each component.
    Spherical,
}

impl Covariance {
    /// The families that a training compares.
    fn candidates(&self, dim: usize) -> &[Covariance] {
        use Covariance::*;
        match self {
            // One variance is all of these but tied.
            Best if dim == 1 => &[Full, Tied],
            Best => &[Full, Tied, Diagonal, Spherical],
            one => std::slice::from_ref(one),
        }
    }
}

/// How many components a mixture has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum ComponentCount {
    /// This many. 1 to 65,536, their covariances together at most 2²⁸ numbers.
    Fixed(usize),
    /// The number from 1 to `max` with the least Bayesian information criterion (Schwarz 1978) on the training
    /// rows, −2 ln L + num_params·ln n; where rows are held out
    /// ([`validation`](TrainOptions::validation)), the one with the least NLL of theirs. A first training starts
    /// from one component and ends when three more have not gained.
    Bic {
        /// The most; no more than rows. Bounded likewise.
        max: usize,
    },
}

/// The most numbers in all covariances together: 2 GiB.
const MOST_ENTRIES: usize = 1 << 28;

impl Default for GaussianMixtureConfig {
    fn default() -> Self {
        GaussianMixtureConfig {
            dim: 2,
            components: ComponentCount::Bic { max: 25 },
            covariance: Covariance::Best,
            restarts: 3,
            tol: 1e-5,
            max_iter: 300,
            reg_covar: 1e-6,
            shrinkage: 0.01,
        }
    }
}

impl GaussianMixtureConfig {
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check((1..=MOST_COLUMNS).contains(&self.dim), "GaussianMixtureConfig::dim", self.dim, "1 to 4096")?;
        let most = (MOST_ENTRIES / (self.dim * self.dim)).min(65_536);
        check(
            (1..=most).contains(&self.most_components()),
            "GaussianMixtureConfig::components",
            self.components,
            "1 to 65,536, and components × dim² at most 268,435,456",
        )?;
        let restarts = (1..=1000).contains(&self.restarts);
        check(restarts, "GaussianMixtureConfig::restarts", self.restarts, "1 to 1000")?;
        let tol = self.tol >= 0.0 && self.tol.is_finite();
        check(tol, "GaussianMixtureConfig::tol", self.tol, "0 or more, finite")?;
        let iterations = (1..=1_000_000).contains(&self.max_iter);
        check(iterations, "GaussianMixtureConfig::max_iter", self.max_iter, "1 to 1,000,000")?;
        let ridge = self.reg_covar >= 0.0 && self.reg_covar.is_finite();
        check(ridge, "GaussianMixtureConfig::reg_covar", self.reg_covar, "0 or more, finite")?;
        let shrinkage = self.shrinkage >= 0.0 && self.shrinkage.is_finite();
        check(shrinkage, "GaussianMixtureConfig::shrinkage", self.shrinkage, "0 or more, finite")
    }

    fn most_components(&self) -> usize {
        let (ComponentCount::Fixed(most) | ComponentCount::Bic { max: most }) = self.components;
        most
    }
}

/// A mixture of Gaussians, fitted by EM.
///
/// ```
/// use quadrivium::{worlds::Toy, prelude::*};
///
/// let (mut rng, toy) = (quadrivium::seeded(0), Toy::grid25());
/// let data = Dataset::new(toy.sample(5_000, &mut rng))?;
/// let config = GaussianMixtureConfig { components: ComponentCount::Fixed(25), ..Default::default() };
/// let mut model = GaussianMixture::new(config)?;
/// let report = model.train(&data, &TrainOptions::default(), &mut rng, &mut Silent)?;
/// assert_eq!(report.stop, Stop::Completed);
///
/// let test = toy.sample(2_000, &mut rng);
/// let gap = toy.log_density(test.view())?
///     - model.log_likelihood(test.view(), &LikelihoodOptions::default())?.nats().unwrap();
/// assert!(gap.mean().unwrap() < 0.02, "nats per row below the truth");
/// let r = model.responsibilities(test.view())?;
/// assert_eq!(r.dim(), (2_000, 25));
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GaussianMixture {
    config: GaussianMixtureConfig,
    gaussians: Gaussians,
    /// What the covariances share: one of the four.
    family: Covariance,
    /// Whether the next training goes on from the present parameters.
    started: bool,
}

impl GaussianMixture {
    /// A model that is N(0, I) until its first training.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn new(config: GaussianMixtureConfig) -> Result<Self> {
        config.validate()?;
        let gaussians = Gaussians::equal(Array2::zeros((1, config.dim)), &vec![1.0; config.dim]);
        let family = config.covariance.candidates(config.dim)[0];
        Ok(GaussianMixture { config, gaussians, family, started: false })
    }

    /// The mixture of given parameters; a training goes on from them, in the family of `config.covariance`, which
    /// is [`Covariance::Full`] for [`Covariance::Best`]. weights: (k), means: (k, dim),
    /// covariances: (k, dim, dim), in the units of the data.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit each other, `config.dim` and `config.components`;
    /// [`Error::Config`] for a field of `config` out of range, unless the weights are 0 or more and sum to 1
    /// within 1e-6, and for a covariance that is not symmetric and positive definite; [`Error::NonFinite`]
    /// for a mean.
    ///
    /// ```
    /// use quadrivium::{ndarray::array, baseline::ComponentCount, prelude::*};
    ///
    /// let config = GaussianMixtureConfig { dim: 1, components: ComponentCount::Fixed(2), ..Default::default() };
    /// let (means, variances) = (array![[-1.0], [1.0]], array![[[0.5]], [[0.5]]]);
    /// let model = GaussianMixture::from_parameters(config, &[0.5, 0.5], means.view(), variances.view())?;
    /// let nats = model.log_likelihood(array![[1.0]].view(), &LikelihoodOptions::default())?;
    /// let expected = (0.5 * (1.0 + (-4f64).exp()) / std::f64::consts::PI.sqrt()).ln();
    /// assert!((nats.nats().unwrap()[0] - expected).abs() < 1e-14);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn from_parameters(
        config: GaussianMixtureConfig,
        weights: &[f64],
        means: ArrayView2<f64>,
        covariances: ArrayView3<f64>,
    ) -> Result<Self> {
        config.validate()?;
        let (k, d) = (weights.len(), config.dim);
        let fits = match config.components {
            ComponentCount::Fixed(count) => k == count,
            ComponentCount::Bic { max } => (1..=max).contains(&k),
        };
        let shape = |what, got: &[usize], expected| Err(Error::Shape { what, got: got.to_vec(), expected });
        if !fits {
            return shape("weights", &[k], format!("one for each component, {:?}", config.components));
        }
        if means.dim() != (k, d) {
            return shape("means", means.shape(), format!("({k}, {d})"));
        }
        if covariances.dim() != (k, d, d) {
            return shape("covariances", covariances.shape(), format!("({k}, {d}, {d})"));
        }
        let total: f64 = weights.iter().sum();
        let shares = weights.iter().all(|&w| w >= 0.0) && (total - 1.0).abs() <= 1e-6;
        check(shares, "weights", weights, "each 0 or more, with sum 1")?;
        if let Some(((row, column), &value)) = means.indexed_iter().find(|(_, m)| !m.is_finite()) {
            return Err(Error::NonFinite { what: "means", row, column, value });
        }
        let weights = weights.iter().map(|w| w / total).collect();
        let owned = |means: ArrayView2<f64>| means.as_standard_layout().into_owned();
        let gaussians = Gaussians::new(weights, owned(means), covariances.to_owned()).map_err(|k| {
            let rows: Vec<_> =
                covariances.index_axis(Axis(0), k).rows().into_iter().map(|r| r.to_vec()).collect();
            Error::config("covariances", rows, "symmetric and positive definite")
        })?;
        let family = config.covariance.candidates(config.dim)[0];
        Ok(GaussianMixture { config, gaussians, family, started: true })
    }

    /// What it was made with.
    pub fn config(&self) -> &GaussianMixtureConfig {
        &self.config
    }

    /// The family of its covariances, never [`Covariance::Best`]: the one that the first training chose.
    pub fn covariance(&self) -> Covariance {
        self.family
    }

    /// wₖ, shape (k), with sum 1.
    pub fn weights(&self) -> ArrayView1<'_, f64> {
        self.gaussians.weights.view()
    }

    /// μₖ, shape (k, dim), in the units of the data.
    pub fn means(&self) -> ArrayView2<'_, f64> {
        self.gaussians.means.view()
    }

    /// Σₖ, shape (k, dim, dim), in the units of the data, squared.
    pub fn covariances(&self) -> ArrayView3<'_, f64> {
        self.gaussians.covariances.view()
    }

    /// The probability that a row came from a component: rₖ(x) = wₖ N(x; μₖ, Σₖ) / p(x). x: (n, dim), result:
    /// (n, k), each row with sum 1.
    ///
    /// # Errors
    /// [`Error::Shape`] for a wrong number of columns, [`Error::NonFinite`] for a NaN or an infinity.
    pub fn responsibilities(&self, x: ArrayView2<f32>) -> Result<Array2<f64>> {
        check_rows("x", x, self.config.dim)?;
        let (n, k, dim) = (x.nrows(), self.gaussians.len(), self.config.dim);
        let x = x.as_standard_layout();
        let x = x.as_slice().expect("standard layout");
        let mut all = vec![0.0; n * k];
        tiles::for_each_block(&mut all, BLOCK, k, |scratch: &mut Scratch, first, out| {
            let x = &x[first * dim..][..out.len() / k * dim];
            let width = scratch.score(&self.gaussians, x);
            for (r, out) in out.chunks_exact_mut(k).enumerate() {
                let responsibilities = scratch.responsibility[r..].iter().step_by(width);
                out.iter_mut().zip(responsibilities).for_each(|(to, from)| *to = *from);
            }
            Ok(())
        })?;
        Ok(Array2::from_shape_vec((n, k), all).expect("n rows of k columns"))
    }

    /// The Bayesian information criterion −2 ln L + num_params·ln n on the rows of x, (n, dim): less is
    /// better.
    ///
    /// # Errors
    /// As [`responsibilities`](GaussianMixture::responsibilities).
    pub fn bic(&self, x: ArrayView2<f32>) -> Result<f64> {
        let nats = self.score(x)?;
        let params = self.num_params() as f64;
        Ok(-2.0 * nats.sum() + params * (x.nrows() as f64).ln())
    }

    fn score(&self, x: ArrayView2<f32>) -> Result<Array1<f64>> {
        check_rows("x", x, self.config.dim)?;
        tiles::score_blocks(BLOCK, x, |_, scratch: &mut Scratch, x, nats| {
            scratch.score(&self.gaussians, x);
            nats.copy_from_slice(&scratch.nats[..nats.len()]);
            Ok(())
        })
    }
}

fn num_params(family: Covariance, k: usize, d: usize) -> usize {
    let triangle = d * (d + 1) / 2;
    let covariances = match family {
        Covariance::Best | Covariance::Full => k * triangle,
        Covariance::Tied => triangle,
        Covariance::Diagonal => k * d,
        Covariance::Spherical => k,
    };
    k - 1 + k * d + covariances
}

impl Distribution for GaussianMixture {
    fn card(&self) -> Card {
        let name = match self.config.components {
            ComponentCount::Fixed(_) => "Gaussian mixture",
            ComponentCount::Bic { .. } => "Gaussian mixture (BIC)",
        };
        Card::new(name, Objective::ExpectationMaximisation, Sampling::OnePass)
    }

    fn dim(&self) -> usize {
        self.config.dim
    }

    /// Draws rows. A temperature T scales every covariance by T²; the weights and means stay.
    fn sample(&self, n: usize, options: &SampleOptions, rng: &mut dyn RngCore) -> Result<Samples> {
        tiles::sample(self, n, options, rng)
    }

    fn sample_each(
        &self,
        n: u64,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
        sink: &mut dyn FnMut(ArrayView2<f32>) -> ControlFlow<()>,
    ) -> Result<()> {
        tiles::sample_each(self, n, options, rng, sink)
    }

    /// ln p(x), exact, in f64.
    fn log_likelihood(&self, x: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        Ok(LogLikelihood::Exact(self.score(x)?))
    }
}

impl Generative for GaussianMixture {
    /// k − 1 weights, k·dim means and the numbers of the covariances: see [`Covariance`].
    fn num_params(&self) -> usize {
        num_params(self.family, self.gaussians.len(), self.config.dim)
    }

    /// Runs EM on all rows. The first training chooses what the config leaves open; a later one, and the first
    /// after [`from_parameters`](GaussianMixture::from_parameters), is one run from the present parameters.
    ///
    /// A step is an iteration, on as many threads as there are; `steps`, `batch`, `shards` and `checkpoint`
    /// have no effect: `max_iter` and `tol` end a run. Held-out rows are scored every `validate_every` iterations
    /// and at the end of a run, and decide between runs; `patience` ends a run. The observer sees the iterations
    /// of all runs; the report is of the one that was kept, and `loss` is its mean NLL of the training rows after
    /// each iteration.
    ///
    /// # Errors
    /// Also [`Error::TooFewRows`] for fewer rows than a fixed number of components, and [`Error::Diverged`] if a
    /// covariance collapses, which takes a `reg_covar` of 0 or near it. Then the model is as it was.
    fn train(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let config = &self.config;
        let ((training, _), (held_out, _), streams) = engine::split(data, options, rng)?;
        // k-means, prior and ridge measure by the columns' scale; second moments are taken about their means.
        let units = Standardiser::identity(config.dim).fitted(training.view())?;
        let least = match config.components {
            ComponentCount::Fixed(k) if !self.started => k,
            _ => 1,
        };
        if training.nrows() < least {
            return Err(Error::TooFewRows { what: "data for a mixture", got: training.nrows(), least });
        }
        let blocks = |x: ArrayView2<f32>| {
            Blocks::new(config.dim, x.as_standard_layout().as_slice().expect("standard layout"))
        };
        let held_out = blocks(held_out.view());
        let stride = training.nrows().div_ceil(TRIAL_ROWS);
        let some = training.slice(s![..;stride, ..]);
        let tables = [training.view(), some].map(|x| {
            let covariance = covariance(x, units.shift(), x.nrows() as f64);
            (blocks(x), covariance)
        });
        let [em, trial] = tables.each_ref().map(|(rows, covariance)| {
            let prior = Prior {
                centre: units.shift(),
                scale: units.scale(),
                covariance: covariance.view(),
                shrinkage: config.shrinkage,
                reg_covar: config.reg_covar,
            };
            Em { config, options, rows, held_out: &held_out, prior }
        });
        let run = if self.started {
            let mut step = 0;
            let from = (self.gaussians.clone(), em.expect(&self.gaussians, self.family));
            em.run(self.family, from, Limits::of(config), 0, |loss, validation| {
                let steps = config.max_iter;
                let seen = Step { step, steps, loss, part_names: &[], parts: &[], validation };
                step += 1;
                observer.step(&seen)
            })?
        } else {
            let families = config.covariance.candidates(config.dim).len();
            let runs = match config.components {
                ComponentCount::Fixed(_) => families * config.restarts,
                // Each family once from one component on, and all but the first from the best so far.
                ComponentCount::Bic { max } => (2 * families - 1) * max * config.restarts,
            };
            let steps = runs.saturating_mul(config.max_iter);
            Search { em: &em, trial: &trial, streams, observer, done: 0, steps, starts: 0, best: None }.search()?
        };
        (self.gaussians, self.family, self.started) = (run.gaussians, run.family, true);
        Ok(TrainReport { loss: run.loss, parts: Vec::new(), validation: run.validation, stop: run.stop })
    }
}

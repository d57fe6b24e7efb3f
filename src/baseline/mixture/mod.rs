//! The Gaussian mixture: p(x) = Σₖ wₖ N(x; μₖ, Σₖ), with full, tied, diagonal or spherical covariances.
//!
//! **Objective.** Maximum likelihood by expectation–maximization (Dempster, Laird & Rubin 1977; Bishop 2006,
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
//! an infinite likelihood; `shrinkage` and `reg_covar` bound it, and [`GaussianMixture::degenerate`] tells it. *Shape*:
//! an edge or a curve is a chain of ellipses.
//!
//! **Under a condition.** Of classes, each has a mixture of its own, found by a search of its own; p(x) is their
//! mixture by the classes' shares of the training rows, and a class without rows has the one Gaussian of all. Of
//! vectors c, the mixture is fitted to (c, x), and p(x|c) = Σₖ wₖ(c) N(x; μₖ(c), Sₖ) follows in closed form (Bishop
//! 2006, eq. 2.81 and 2.82):
//!
//! ```text
//! wₖ(c) ∝ wₖ N(c; μ_c, Σ_cc),   μₖ(c) = μ_x + Σ_xc Σ_cc⁻¹ (c − μ_c),   Sₖ = Σ_xx − Σ_xc Σ_cc⁻¹ Σ_cx
//! ```

mod blocks;
mod conditional;
mod config;
mod degenerate;
mod folds;
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
mod training;

use std::ops::ControlFlow;
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayView3, Axis};
use rand::RngCore;

use self::conditional::Conditioned;
use self::config::num_params;
pub use self::config::{ComponentCount, Covariance, GaussianMixtureConfig};
pub use self::degenerate::DegenerateComponent;
use self::gaussians::Gaussians;
use self::likelihood::Scratch;
use super::numbers;
use crate::engine::{RowStreams, tiles};
use crate::error::{DataError, Error, Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;

/// Rows that go through all components together.
const BLOCK: usize = 256;

/// A mixture of Gaussians, fitted by EM.
///
/// ```
/// use quadrivium::{worlds::Toy, *};
///
/// let (mut rng, toy) = (quadrivium::seeded(0), Toy::grid25());
/// let data = Dataset::new(toy.sample(5_000, &mut rng))?;
/// let config = GaussianMixtureConfig { components: ComponentCount::Fixed(25), ..Default::default() };
/// let mut model = GaussianMixture::new(config)?;
/// let report = model.train(&data, &TrainOptions::default(), &mut rng, &mut NoObserver)?;
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
    /// One of all rows, joint with the numbers of a vector before theirs, or one of each class.
    parts: Vec<Part>,
    /// p(x)
    marginal: Arc<Gaussians>,
    /// Whether the next training goes on from the present parameters.
    started: bool,
    /// How many rows it was trained on, if that is known.
    rows: Option<usize>,
}

/// The mixture of some of the rows.
#[derive(Debug, Clone)]
struct Part {
    /// Of all rows.
    share: f64,
    /// What the covariances share: one of the four.
    family: Covariance,
    /// λ of the prior that it was fitted with.
    shrinkage: f64,
    gaussians: Arc<Gaussians>,
}

impl GaussianMixture {
    /// A model that is N(0, I) until its first training.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn new(config: GaussianMixtureConfig) -> Result<Self> {
        config.validate()?;
        let width = config.width();
        let gaussians = Arc::new(Gaussians::equal(Array2::zeros((1, width)), &vec![1.0; width]));
        let parts = if let ConditionKind::Class { classes } = config.condition { classes } else { 1 };
        let family = config.covariance.candidates(width)[0];
        let shrinkage = config.shrinkage;
        let part = Part { share: 1.0 / f64::from(parts), family, shrinkage, gaussians };
        let parts = vec![part; parts as usize];
        Ok(GaussianMixture::of(config, parts, false, None).expect("the identity has a factor"))
    }

    /// With p(x) of the parts; the first component without a factor is the error.
    fn of(
        config: GaussianMixtureConfig,
        parts: Vec<Part>,
        started: bool,
        rows: Option<usize>,
    ) -> Result<Self, usize> {
        let marginal = match &parts[..] {
            [Part { gaussians, .. }] if gaussians.dim() == config.dim => Arc::clone(gaussians),
            _ => {
                let parts: Vec<_> = parts.iter().map(|part| (part.share, &*part.gaussians)).collect();
                Arc::new(Gaussians::marginal(&parts, config.dim)?)
            }
        };
        Ok(GaussianMixture { config, parts, marginal, started, rows })
    }

    /// The mixture of given parameters; a training goes on from them, in the family of `config.covariance`, which
    /// is [`Covariance::Full`] for [`Covariance::Best`]. weights: (k), means: (k, d), covariances: (k, d, d), in the
    /// units of the data. d is `config.dim`, or with a vector as condition its numbers, which come first, and
    /// `config.dim`.
    ///
    /// # Errors
    /// [`DataError::Shape`] if the shapes do not fit each other, the columns and `config.components`;
    /// [`Error::Config`] for a field of `config` out of range and for classes as condition, unless the weights are 0
    /// or more and sum to 1 within 1e-6, and for a covariance that is not symmetric and positive definite;
    /// [`DataError::NonFinite`] for a mean.
    ///
    /// ```
    /// use quadrivium::{ndarray::array, baseline::ComponentCount, *};
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
        let classes = matches!(config.condition, ConditionKind::Class { .. });
        check(!classes, "GaussianMixtureConfig::condition", config.condition, "none or a vector")?;
        let (k, d) = (weights.len(), config.width());
        let fits = match config.components {
            ComponentCount::Fixed(count) => k == count,
            ComponentCount::Bic { max } | ComponentCount::CrossValidated { max } => (1..=max).contains(&k),
        };
        let shape = |what, got: &[usize], expected| {
            Err(Error::Data(DataError::Shape { what, got: got.to_vec(), expected }))
        };
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
            return Err(Error::Data(DataError::NonFinite { what: "means", row, column, value }));
        }
        let weights = weights.iter().map(|w| w / total).collect();
        let owned = |means: ArrayView2<f64>| means.as_standard_layout().into_owned();
        let refused = |k| {
            let rows: Vec<_> =
                covariances.index_axis(Axis(0), k).rows().into_iter().map(|r| r.to_vec()).collect();
            Error::config("covariances", rows, "symmetric and positive definite")
        };
        let gaussians = Gaussians::new(weights, owned(means), covariances.to_owned()).map_err(refused)?;
        let family = config.covariance.candidates(d)[0];
        let shrinkage = config.shrinkage;
        let part = Part { share: 1.0, family, shrinkage, gaussians: gaussians.into() };
        GaussianMixture::of(config, vec![part], true, None).map_err(refused)
    }

    /// What it was made with.
    pub fn config(&self) -> &GaussianMixtureConfig {
        &self.config
    }

    /// The family of its covariances, which the first training chose; [`Covariance::Best`] only where the mixtures of
    /// several classes are of several families.
    pub fn covariance(&self) -> Covariance {
        let family = self.parts[0].family;
        if self.parts.iter().all(|part| part.family == family) { family } else { Covariance::Best }
    }

    /// wₖ of p(x), shape (k), with sum 1; of classes one class after the other, times its share of the training rows.
    pub fn weights(&self) -> ArrayView1<'_, f64> {
        self.marginal.weights.view()
    }

    /// μₖ, shape (k, dim), in the units of the data.
    pub fn means(&self) -> ArrayView2<'_, f64> {
        self.marginal.means.view()
    }

    /// Σₖ, shape (k, dim, dim), in the units of the data, squared.
    pub fn covariances(&self) -> ArrayView3<'_, f64> {
        self.marginal.covariances.view()
    }

    /// The probability that a row came from a component: rₖ(x) = wₖ N(x; μₖ, Σₖ) / p(x). x: (n, dim), result:
    /// (n, k), each row with sum 1.
    ///
    /// # Errors
    /// [`DataError::Shape`] for a wrong number of columns, [`DataError::NonFinite`] for a NaN or an infinity.
    pub fn responsibilities(&self, x: ArrayView2<f32>) -> Result<Array2<f64>> {
        check_rows("x", x, self.config.dim)?;
        let (n, k, dim) = (x.nrows(), self.marginal.len(), self.config.dim);
        let x = x.as_standard_layout();
        let x = x.as_slice().expect("standard layout");
        let mut all = vec![0.0; n * k];
        tiles::for_each_block(&mut all, BLOCK, k, |scratch: &mut Scratch, first, out| {
            let x = &x[first * dim..][..out.len() / k * dim];
            let width = scratch.score(&self.marginal, x);
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
        self.marginal.score(x)
    }
}

impl Distribution for GaussianMixture {
    fn card(&self) -> Card {
        let name = match self.config.components {
            ComponentCount::Fixed(_) => "Gaussian mixture",
            ComponentCount::Bic { .. } => "Gaussian mixture (BIC)",
            ComponentCount::CrossValidated { .. } => "Gaussian mixture (CV)",
        };
        Card::new(name, Objective::ExpectationMaximization, Sampling::OnePass)
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

    fn draw_at(&self, at: RowStreams, options: &SampleOptions, rows: &mut [f32]) -> Result<usize> {
        tiles::draw_at(self, at, options, rows)
    }

    /// ln p(x), exact, in f64.
    fn log_likelihood(&self, x: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        Ok(LogLikelihood::Exact(self.score(x)?))
    }
}

impl Generative for GaussianMixture {
    /// k − 1 weights, k·d means and the numbers of the covariances, see [`Covariance`]; d counts the numbers of a
    /// vector as condition, too. Of classes, those of each and all shares but one.
    fn num_params(&self) -> usize {
        let parts = self.parts.iter();
        let own: usize =
            parts.map(|part| num_params(part.family, part.gaussians.len(), part.gaussians.dim())).sum();
        own + self.parts.len() - 1
    }

    fn condition(&self) -> ConditionKind {
        self.config.condition
    }

    fn given(&self, condition: &Condition) -> Result<Box<dyn Distribution + '_>> {
        Ok(Box::new(Conditioned::new(self, condition)?))
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
    /// Also [`DataError::TooFewRows`] for fewer rows than a fixed number of components, and
    /// [`TrainingError::Diverged`](crate::error::TrainingError::Diverged) if a covariance collapses, which takes a
    /// `reg_covar` of 0 or near it. Then the model is as it was.
    fn train(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        self.learn(data, options, rng, observer)
    }
}

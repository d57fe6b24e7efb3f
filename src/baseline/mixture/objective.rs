//! Expectation–maximization (Dempster, Laird & Rubin 1977; Bishop 2006, §9.2), in four lines:
//!
//! ```text
//! E   rₖ(x) = wₖ N(x; μₖ, Σₖ) / p(x)
//! M   nₖ = Σ rₖ,   wₖ = nₖ/n,   μₖ = Σ rₖ x / nₖ,   Sₖ = Σ rₖ (x − μₖ)(x − μₖ)ᵀ / nₖ
//!     Σₖ = Sₖ + (λ/nₖ) Ŝ + ridge                            (each family keeps what it has of this)
//! ```
//!
//! Sums run over the training rows, whose covariance is Ŝ. The second term is what a prior on Σₖ adds: EM then
//! ascends ln L − ½ λ Σₖ tr(Σₖ⁻¹ Ŝ), which falls without bound where a covariance collapses. A component with few
//! rows is therefore broad, and one with many is as the rows say (after Fraley & Raftery 2007, whose prior of d +
//! 2 rows' strength would blur narrow modes).

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, Array3, ArrayView2, Axis};

use super::blocks::Blocks;
use super::gaussians::Gaussians;
use super::likelihood::mean_nll;
use super::moments::{Assign, Moments, Sums, expect};
use super::{Covariance, GaussianMixtureConfig};
use crate::error::{Error, Result, TrainingError};
use crate::model::{Stop, TrainOptions};

/// What the rows say of covariances before any component is fitted.
#[derive(Clone, Copy)]
pub(super) struct Prior<'a> {
    /// Mean of each column: (d)
    pub center: &'a [f64],
    /// Standard deviation of each column: (d)
    pub scale: &'a [f64],
    /// Ŝ, the covariance of the rows: (d, d)
    pub covariance: &'a Array2<f64>,
    /// λ
    pub shrinkage: f64,
    /// Added to the variances, as a share of the column's.
    pub reg_covar: f64,
}

impl Prior<'_> {
    /// One Gaussian of all rows.
    pub fn one_component(&self) -> Gaussians {
        let mut covariance = self.covariance.clone();
        covariance.diag_mut().iter_mut().zip(self.scale).for_each(|(v, s)| *v += self.reg_covar * s * s);
        let mean = ArrayView2::from_shape((1, self.center.len()), self.center).expect("one row");
        let (mean, covariances) = (mean.to_owned(), covariance.insert_axis(Axis(0)));
        let one = Gaussians::new(ndarray::arr1(&[1.0]), mean.clone(), covariances);
        one.unwrap_or_else(|_| Gaussians::equal(mean, self.scale))
    }
}

impl Covariance {
    pub(super) fn moments(self) -> Moments {
        match self {
            Covariance::Best | Covariance::Full => Moments::Triangle,
            // The pooled covariance is that of all rows less what the means explain.
            Covariance::Tied => Moments::First,
            Covariance::Diagonal | Covariance::Spherical => Moments::Diagonal,
        }
    }
}

/// The M-step: the weights, means and covariances of the family that maximize E[ln p(x, component)] under the
/// responsibilities, regularized by the prior.
///
/// About one center for all, Sₖ = Σ rₖ x xᵀ/nₖ − δₖ δₖᵀ with δₖ = Σ rₖ x/nₖ, and Σₖ (nₖ/n) Sₖ = T − Σₖ (nₖ/n) δₖ δₖᵀ
/// for tied covariances, T = Σ x xᵀ/n being `second`. A component without rows keeps its place. The error is the
/// first component whose covariance is not positive definite.
fn maximize(
    gaussians: &Gaussians,
    sums: &Sums,
    family: Covariance,
    second: &Array2<f64>,
    prior: &Prior,
) -> Result<Gaussians, usize> {
    let (k, d) = gaussians.means.dim();
    let counts = Vec::from_iter(sums.counts(d));
    let weights = Array1::from_vec(counts.clone()) / counts.iter().sum::<f64>();
    let moved = |k: usize| counts[k] >= f64::MIN_POSITIVE;
    let mut covariances: Array3<f64> = gaussians.covariances.clone();
    let mut pooled = second.clone();
    for k in (0..k).filter(|&k| moved(k)) {
        let delta: Vec<f64> = sums.first(k, d).iter().map(|sum| sum / counts[k]).collect();
        if family == Covariance::Tied {
            for (i, j) in Moments::Triangle.places(d) {
                pooled[[i, j]] -= weights[k] * delta[i] * delta[j];
            }
            continue;
        }
        let mut covariance = covariances.index_axis_mut(Axis(0), k);
        covariance.fill(0.0);
        for ((i, j), second) in family.moments().places(d).zip(sums.second(k, counts.len())) {
            let within = second / counts[k] - delta[i] * delta[j];
            let within = if i == j { spread(within, second / counts[k]) } else { within };
            covariance[[i, j]] = within + prior.shrinkage / counts[k] * prior.covariance[[i, j]];
            covariance[[j, i]] = covariance[[i, j]];
        }
        if family == Covariance::Spherical {
            let variance = |i: usize| covariance[[i, i]] / prior.scale[i].powi(2);
            let mean = (0..d).map(variance).sum::<f64>() / d as f64;
            (0..d).for_each(|i| covariance[[i, i]] = mean * prior.scale[i].powi(2));
        }
    }
    if family == Covariance::Tied {
        // Of all rows, a covariance needs no prior.
        for (i, j) in Moments::Triangle.places(d) {
            if i == j {
                pooled[[i, i]] = spread(pooled[[i, i]], second[[i, i]]);
            }
            pooled[[j, i]] = pooled[[i, j]];
        }
        covariances.axis_iter_mut(Axis(0)).for_each(|mut covariance| covariance.assign(&pooled));
    }
    for (k, mut covariance) in covariances.axis_iter_mut(Axis(0)).enumerate() {
        let moved = family == Covariance::Tied || moved(k);
        for (variance, scale) in covariance.diag_mut().iter_mut().zip(prior.scale).filter(|_| moved) {
            *variance += prior.reg_covar * scale * scale;
        }
    }
    Gaussians::new(weights, sums.means(gaussians, prior.center), covariances)
}

/// A variance that is a difference from `of`: 0 where it is what rounding leaves.
fn spread(variance: f64, of: f64) -> f64 {
    if variance < 1e-12 * of { 0.0 } else { variance }
}

/// One run of EM.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub family: Covariance,
    /// λ of the prior.
    pub shrinkage: f64,
    pub gaussians: Gaussians,
    /// Mean NLL of the training rows under them.
    pub nll: f64,
    /// That of the held-out rows, if there are any.
    pub held_out: Option<f64>,
    /// The training loss after each iteration.
    pub loss: Vec<f64>,
    /// (iterations done, mean NLL of the held-out rows)
    pub validation: Vec<(usize, f64)>,
    pub stop: Stop,
}

/// What all runs of a training share.
pub(super) struct Em<'a> {
    pub config: &'a GaussianMixtureConfig,
    pub options: &'a TrainOptions,
    pub rows: &'a Blocks,
    /// Σ x xᵀ/n of the rows about the center: (d, d)
    pub second: &'a Array2<f64>,
    pub held_out: &'a Blocks,
    pub prior: Prior<'a>,
}

/// Iterations after which a run may be given up: from a start, EM often stands still before it gains.
pub(super) const PLATEAU: usize = 10;

/// The tolerance of a search, over that of the config.
const COARSE: f64 = 10.0;

/// Where a run ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// A loss that the run must be able to reach.
    pub target: f64,
    pub tol: f64,
    pub max_iter: usize,
}

impl Limits {
    /// Those of the config.
    pub fn of(config: &GaussianMixtureConfig) -> Self {
        Limits { target: f64::INFINITY, tol: config.tol, max_iter: config.max_iter }
    }

    /// Those of a search.
    pub fn coarse(self) -> Self {
        Limits { tol: COARSE * self.tol, ..self }
    }
}

impl Run {
    /// With the iterations of `earlier` before its own.
    pub fn after(mut self, mut earlier: Run) -> Run {
        let done = earlier.loss.len();
        earlier.loss.append(&mut self.loss);
        earlier.validation.extend(self.validation.iter().map(|&(at, nll)| (done + at, nll)));
        Run { loss: earlier.loss, validation: earlier.validation, ..self }
    }
}

impl Em<'_> {
    /// The E-step.
    pub fn expect(&self, gaussians: &Gaussians, family: Covariance) -> Sums {
        expect(gaussians, self.rows, self.prior.center, Assign::Soft, family.moments())
    }

    /// The M-step.
    pub fn maximize(
        &self,
        gaussians: &Gaussians,
        sums: &Sums,
        family: Covariance,
    ) -> Result<Gaussians, usize> {
        maximize(gaussians, sums, family, self.second, &self.prior)
    }

    /// Iterates from `sums`, an E-step about `gaussians`, until the loss falls by less than `tol`, `max_iter`
    /// is reached, or more of the last gain in all iterations left would still not bring the loss below
    /// its target. `observe(loss, validation)` sees each iteration, the first of which is step `done`.
    pub fn run(
        &self,
        family: Covariance,
        (mut gaussians, mut sums): (Gaussians, Sums),
        Limits { target, tol, max_iter }: Limits,
        done: usize,
        mut observe: impl FnMut(f64, Option<f64>) -> ControlFlow<()>,
    ) -> Result<Run> {
        let (options, rows) = (self.options, self.rows.rows() as f64);
        let (mut loss, mut validation) = (Vec::new(), Vec::<(usize, f64)>::new());
        let mut stop = None;
        // Held-out NLL, number of the validation, training NLL, parameters.
        let mut best: Option<(f64, usize, f64, Gaussians)> = None;
        while stop.is_none() {
            let diverged = |what| Error::Training(TrainingError::Diverged { step: done + loss.len(), what });
            gaussians = self.maximize(&gaussians, &sums, family).map_err(|k| {
                diverged(format!("the covariance of component {k} is not positive definite; raise reg_covar"))
            })?;
            sums = self.expect(&gaussians, family);
            let nll = sums.nll / rows;
            if !nll.is_finite() {
                return Err(diverged(format!("loss = {nll}")));
            }
            let gain = loss.last().map_or(f64::INFINITY, |last| last - nll);
            loss.push(nll);
            let left = (max_iter - loss.len()) as f64;
            let hopeless = loss.len() > PLATEAU && nll - left * gain > target;
            // With a prior, the steps climb the posterior, on whose way the loss may rise.
            if gain.abs() < tol || hopeless || loss.len() == max_iter {
                stop = Some(Stop::Completed);
            }
            let due = loss.len().is_multiple_of(options.validate_every) || stop.is_some();
            if due && self.held_out.rows() > 0 {
                let held_out = mean_nll(&gaussians, self.held_out);
                validation.push((loss.len(), held_out));
                if let Some(patience) = options.patience {
                    if best.as_ref().is_none_or(|(least, ..)| held_out < *least) {
                        best = Some((held_out, validation.len(), nll, gaussians.clone()));
                    }
                    if best.as_ref().is_some_and(|(_, at, ..)| validation.len() - at >= patience) {
                        stop = Some(Stop::Patience);
                    }
                }
            }
            if observe(nll, validation.last().map(|&(_, nll)| nll)).is_break() {
                stop = Some(Stop::Interrupted);
            }
        }
        let last = (validation.last().map(|&(_, nll)| nll), sums.nll / rows, gaussians);
        let (held_out, nll, gaussians) =
            best.map_or(last, |(held_out, _, nll, gaussians)| (Some(held_out), nll, gaussians));
        Ok(Run {
            family,
            shrinkage: self.prior.shrinkage,
            gaussians,
            nll,
            held_out,
            loss,
            validation,
            stop: stop.expect("the loop ends with a reason"),
        })
    }
}

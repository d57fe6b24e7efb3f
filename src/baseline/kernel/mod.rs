//! The kernel density: p(x) = (1/n) Σⱼ N(x; xⱼ, H), a Gaussian on every training row (Rosenblatt 1956; Parzen
//! 1962).
//!
//! **Objective.** H = h² Σ, Σ the covariance of the rows: kernels are isotropic where the rows are sphered
//! (Fukunaga 1972; as scipy's `gaussian_kde`). Cross-validation also tries the diagonal of the covariance, kernels
//! that are isotropic in standard units, which suit rows whose modes do not lie along the slant of the whole.
//! What is left to learn is h: by a rule that is right for one
//! Gaussian, or by the leave-one-out likelihood −Σᵢ ln (1/(n − 1)) Σ_{j≠i} N(xᵢ; xⱼ, h² Σ), which estimates
//! KL(data ‖ model).
//!
//! **Sampling.** One pass: j uniform, x = xⱼ + h L z with Σ = L Lᵀ, z ~ N(0, I).
//!
//! **Likelihood.** Exact: every row is held against all n training rows, in tiles, so scoring m rows costs
//! O(n·m·dim): ten times the rows on both sides take a hundred times as long. Drawing does not depend on n.
//!
//! **What goes wrong.** *Blur*: one width for all places is too wide for a peak and too narrow for a tail,
//! and the rules are too wide for everything with more than one mode. *The curse of dimension*: the error
//! falls as n^(−4/(d + 4)). *Repeated rows*: cross-validation narrows the kernels without end;
//! [`dequantise`](crate::tables::dequantise) rounded columns first.

mod likelihood;
mod objective;
#[cfg(feature = "safetensors")]
mod persist;
mod sampling;
#[cfg(test)]
mod tests;

use std::f64::consts::TAU;
use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::RngCore;

use self::likelihood::log_sums;
use self::objective::{LeaveOneOut, TRIALS, scott, silverman};
use super::{MOST_COLUMNS, covariance};
use super::lanes::Lanes;
use crate::engine;
use crate::engine::Standardiser;
use crate::engine::tiles;
use crate::error::{Error, Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::numeric::cholesky::{cholesky, diagonal, invert_lower, ln_det};
use crate::numeric::gemm::{gram, transpose};

/// How wide the kernels of a [`KernelDensity`] are.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct KernelDensityConfig {
    /// Columns of a row. 1 to 4096. Default 2.
    pub dim: usize,
    /// How h is found. Default [`Bandwidth::CrossValidated`] on 1000 rows.
    pub bandwidth: Bandwidth,
}

/// How h is found: the kernels' width as a share of the rows' spread, H = h² Σ.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Bandwidth {
    /// n^(−1/(dim + 4)) (Scott 1992).
    Scott,
    /// (n (dim + 2)/4)^(−1/(dim + 4)) (Silverman 1986).
    Silverman,
    /// This h. 1e-100 to 1e100.
    Fixed(f64),
    /// The h of the highest leave-one-out likelihood, between 2 and 1e-4 times Scott's, and of Σ the covariance or
    /// its diagonal, whichever scores higher.
    CrossValidated {
        /// Rows whose likelihood under all others is taken: drawn at random, or all where there are no more.
        /// Each of 24 widths of either Σ costs `rows`·n kernels. At least 1.
        rows: usize,
    },
}

/// Any h: 1/h² and the squares of distances over it are within f64.
const WIDTHS: std::ops::RangeInclusive<f64> = 1e-100..=1e100;

impl Default for KernelDensityConfig {
    fn default() -> Self {
        KernelDensityConfig { dim: 2, bandwidth: Bandwidth::CrossValidated { rows: 1000 } }
    }
}

impl KernelDensityConfig {
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check((1..=MOST_COLUMNS).contains(&self.dim), "KernelDensityConfig::dim", self.dim, "1 to 4096")?;
        let (bandwidth, expected) = match self.bandwidth {
            Bandwidth::Fixed(h) => (WIDTHS.contains(&h), "1e-100 to 1e100"),
            Bandwidth::CrossValidated { rows } => (rows >= 1, "at least 1 row"),
            Bandwidth::Scott | Bandwidth::Silverman => (true, ""),
        };
        check(bandwidth, "KernelDensityConfig::bandwidth", self.bandwidth, expected)
    }
}

/// A Gaussian on every training row.
///
/// ```
/// use quadrivium::{worlds::Toy, prelude::*};
///
/// let (mut rng, toy) = (quadrivium::seeded(0), Toy::moons(0.1)?);
/// let data = Dataset::new(toy.sample(2_000, &mut rng))?;
/// let mut model = KernelDensity::new(KernelDensityConfig::default())?;
/// model.train(&data, &TrainOptions::default(), &mut rng, &mut Silent)?;
/// // A rule for one Gaussian would be three times as wide.
/// assert!(3.0 * model.bandwidth() < 2_000f64.powf(-1.0 / 6.0));
///
/// let test = toy.sample(1_000, &mut rng);
/// let nll = -model.log_likelihood(test.view(), &LikelihoodOptions::default())?.nats().unwrap().mean().unwrap();
/// assert!(nll < 1.2, "the entropy is 1.008, this model's NLL {nll}");
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct KernelDensity {
    config: KernelDensityConfig,
    /// xⱼ: (n, d), row-major
    x: Array2<f32>,
    sphere: Sphere,
    /// L⁻¹ (xⱼ − shift), filled up with ∞: (n, d)
    kernels: Lanes,
    /// h
    bandwidth: f64,
}

/// The change of units in which Σ = L Lᵀ is I: y = L⁻¹ (x − shift).
#[derive(Debug, Clone)]
struct Sphere {
    // (d)
    shift: Vec<f64>,
    // L and its inverse: (d, d)
    l: Vec<f64>,
    whiten: Vec<f64>,
}

impl Sphere {
    /// No change: Σ = I.
    fn identity(dim: usize) -> Self {
        Sphere::axes(vec![0.0; dim], &vec![1.0; dim])
    }

    /// Σ diagonal: each column in units of its own spread. sd: (d)
    fn axes(shift: Vec<f64>, sd: &[f64]) -> Self {
        let inverse: Vec<f64> = sd.iter().map(|sd| 1.0 / sd).collect();
        Sphere { shift, l: diagonal(sd), whiten: diagonal(&inverse) }
    }

    /// `None` unless the covariance is symmetric and positive definite.
    fn new(shift: Vec<f64>, covariance: ArrayView2<f64>) -> Option<Self> {
        let l = cholesky(covariance)?;
        Some(Sphere { whiten: invert_lower(&l, shift.len()), l, shift })
    }

    /// rows: (n, d), y: the same
    fn apply(&self, rows: &[f32], y: &mut Vec<f64>) {
        let d = self.shift.len();
        y.clear();
        for row in rows.chunks_exact(d) {
            let centred = || row.iter().zip(&self.shift).map(|(&x, shift)| f64::from(x) - shift);
            y.extend((0..d).map(|i| {
                self.whiten[i * d..=i * d + i].iter().zip(centred()).map(|(w, x)| w * x).sum::<f64>()
            }));
        }
    }

    /// ln |L|, and ½ d ln 2π: what −ln N(x; ·, Σ) has beside half the square of y.
    fn constant(&self) -> f64 {
        let d = self.shift.len();
        ln_det(&self.l, d) + 0.5 * d as f64 * TAU.ln()
    }
}

impl KernelDensity {
    /// A model that is N(0, I), a kernel on the origin, until its first training.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn new(config: KernelDensityConfig) -> Result<Self> {
        config.validate()?;
        let dim = config.dim;
        Ok(KernelDensity::on(config, Array2::zeros((1, dim)), Sphere::identity(dim), 1.0))
    }

    /// Kernels N(·, H) on the rows of `data`; covariance: H, (dim, dim), in the units of the data, squared.
    /// `bandwidth` is 1 then. A later training finds it by the default rule.
    ///
    /// # Errors
    /// [`Error::Shape`] unless H has the shape (dim, dim), [`Error::Config`] unless it is symmetric and positive
    /// definite, and for more than 4096 columns.
    ///
    /// ```
    /// use quadrivium::{ndarray::array, prelude::*};
    ///
    /// let rows = Dataset::new(array![[-1.0], [1.0]])?;
    /// let model = KernelDensity::from_parameters(&rows, array![[0.5]].view())?;
    /// let nats = model.log_likelihood(array![[1.0]].view(), &LikelihoodOptions::default())?;
    /// let expected = (0.5 * (1.0 + (-4f64).exp()) / std::f64::consts::PI.sqrt()).ln();
    /// assert!((nats.nats().unwrap()[0] - expected).abs() < 1e-14);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn from_parameters(data: &Dataset, covariance: ArrayView2<f64>) -> Result<Self> {
        let dim = data.dim();
        let config = KernelDensityConfig { dim, ..Default::default() };
        config.validate()?;
        if covariance.dim() != (dim, dim) {
            return Err(Error::Shape {
                what: "covariance",
                got: covariance.shape().to_vec(),
                expected: format!("({dim}, {dim})"),
            });
        }
        let mean = data.x().mapv(f64::from).mean_axis(Axis(0)).expect("a dataset has rows");
        let sphere = Sphere::new(mean.to_vec(), covariance).ok_or_else(|| {
            let rows: Vec<_> = covariance.rows().into_iter().map(|row| row.to_vec()).collect();
            Error::config("covariance", rows, "symmetric and positive definite")
        })?;
        Ok(KernelDensity::on(config, data.x().to_owned(), sphere, 1.0))
    }

    fn on(config: KernelDensityConfig, x: Array2<f32>, sphere: Sphere, bandwidth: f64) -> Self {
        let mut y = Vec::new();
        sphere.apply(x.as_slice().expect("row-major"), &mut y);
        KernelDensity { kernels: Lanes::new(config.dim, &y, f64::INFINITY), config, x, sphere, bandwidth }
    }

    /// What it was made with.
    pub fn config(&self) -> &KernelDensityConfig {
        &self.config
    }

    /// h: the kernels' width as a share of the rows' spread.
    pub fn bandwidth(&self) -> f64 {
        self.bandwidth
    }

    /// H = h² Σ, shape (dim, dim), in the units of the data, squared.
    pub fn covariance(&self) -> Array2<f64> {
        let d = self.config.dim;
        let mut upper = vec![0.0; d * d];
        transpose((d, d), &self.sphere.l, &mut upper);
        let covariance = Array2::from_shape_vec((d, d), gram(&upper, d)).expect("d × d");
        covariance * (self.bandwidth * self.bandwidth)
    }

    /// Where the kernels stand, shape (n, dim).
    pub fn rows(&self) -> ArrayView2<'_, f32> {
        self.x.view()
    }

    /// ln p(x) = ln Σⱼ exp(−½ ‖y − yⱼ‖²/h²) − ln n − d ln h − ln |L| − ½ d ln 2π.
    fn score(&self, x: ArrayView2<f32>) -> Result<Array1<f64>> {
        check_rows("x", x, self.config.dim)?;
        let (n, h) = (self.x.nrows() as f64, self.bandwidth);
        let constant = n.ln() + self.config.dim as f64 * h.ln() + self.sphere.constant();
        tiles::score(x, |_, (y, scratch): &mut (Vec<f64>, Vec<f64>), x, nats| {
            self.sphere.apply(x, y);
            log_sums(&self.kernels, y, &[], 0.5 / (h * h), scratch, nats);
            nats.iter_mut().for_each(|v| *v -= constant);
            Ok(())
        })
    }
}

impl Distribution for KernelDensity {
    fn card(&self) -> Card {
        let name = match self.config.bandwidth {
            Bandwidth::Scott => "KDE (Scott)",
            Bandwidth::Silverman => "KDE (Silverman)",
            Bandwidth::Fixed(_) => "KDE (fixed)",
            Bandwidth::CrossValidated { .. } => "KDE (CV)",
        };
        Card::new(name, Objective::KernelSmoothing, Sampling::OnePass)
    }

    fn dim(&self) -> usize {
        self.config.dim
    }

    /// Draws rows. A temperature T scales the kernels' covariance by T²; the rows they stand on stay.
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

impl Generative for KernelDensity {
    /// What it stores: the training rows' n·dim values, h and the dim (dim + 1)/2 numbers of Σ.
    fn num_params(&self) -> usize {
        self.x.len() + 1 + self.config.dim * (self.config.dim + 1) / 2
    }

    /// Puts a kernel on each row and finds h. The optimum is in closed form, up to h: a later training does
    /// not go on from an earlier one but replaces it.
    ///
    /// A step is a bandwidth that is tried: one for a rule, up to 24 for each Σ of
    /// cross-validation. `steps`, `shards`,
    /// `validate_every`, `patience` and `checkpoint` have no effect. The loss is the leave-one-out NLL, exact, of the rows
    /// that cross-validation takes; for a rule, of `batch` rows, drawn without replacement. Its part is h.
    /// Held-out rows are scored once, at the end.
    ///
    /// # Errors
    /// Also, without cross-validation, [`Error::TooFewRows`] unless there are more rows than columns, and
    /// [`Error::SingularCovariance`] for columns that depend on each other linearly. Then the model is as it was.
    fn train(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let ((x, _), (held_out, _), streams) = engine::split(data, options, rng)?;
        let units = Standardiser::identity(self.config.dim).fitted(x.view())?;
        let mean = units.shift().to_vec();
        let (n, dim) = x.dim();
        // Unbiased.
        let full = covariance(x.view(), &mean, n as f64 - 1.0);
        // Fewer rows span fewer dimensions, and their covariance has no inverse.
        let sphered = if n > dim { Sphere::new(mean.clone(), full.view()) } else { None };
        let (shapes, steps, scored) = match self.config.bandwidth {
            Bandwidth::CrossValidated { rows } => {
                let sd = full.diag().mapv(f64::sqrt);
                let axes = Sphere::axes(mean, sd.as_slice().expect("one row"));
                (sphered.into_iter().chain([axes]).collect(), 2 * TRIALS, rows.min(n))
            }
            _ if n <= dim => {
                return Err(Error::TooFewRows { what: "data for a kernel density", got: n, least: dim + 1 });
            }
            _ => (Vec::from_iter(sphered), 1, options.batch.min(n)),
        };
        if shapes.is_empty() {
            return Err(Error::SingularCovariance { sd: units.scale().to_vec() });
        }
        let mut numbers = rand::seq::index::sample(&mut streams.stream(0), n, scored).into_vec();
        numbers.sort_unstable();
        let rows = x.select(Axis(0), &numbers);

        let mut report = TrainReport {
            loss: Vec::new(),
            parts: vec![(BANDWIDTH[0], Vec::new())],
            validation: Vec::new(),
            stop: Stop::Completed,
        };
        let mut observe = |h: f64, loss: f64| {
            let step = report.loss.len();
            report.loss.push(loss);
            report.parts[0].1.push(h);
            let seen = Step { step, steps, loss, part_names: &BANDWIDTH, parts: &[h], validation: None };
            let go_on = observer.step(&seen);
            if go_on.is_break() {
                report.stop = Stop::Interrupted;
            }
            go_on
        };
        let mut best: Option<(f64, KernelDensity)> = None;
        for sphere in shapes {
            let mut fitted = KernelDensity::on(self.config.clone(), x.clone(), sphere, 1.0);
            let mut y = Vec::new();
            fitted.sphere.apply(rows.as_slice().expect("row-major"), &mut y);
            let constant = fitted.sphere.constant();
            let leave_one_out =
                LeaveOneOut { kernels: &fitted.kernels, dim, scored: numbers.clone(), y, constant };
            let mut given = |h: f64| {
                let nll = leave_one_out.nll(h);
                (nll, h, observe(h, nll))
            };
            let (nll, h, go_on) = match self.config.bandwidth {
                Bandwidth::Scott => given(scott(n, dim)),
                Bandwidth::Silverman => given(silverman(n, dim)),
                Bandwidth::Fixed(h) => given(h),
                Bandwidth::CrossValidated { .. } => leave_one_out.minimise(&mut observe),
            };
            fitted.bandwidth = h;
            if best.as_ref().is_none_or(|(least, _)| nll < *least) {
                best = Some((nll, fitted));
            }
            if go_on.is_break() {
                break;
            }
        }
        let (_, fitted) = best.expect("at least one shape");
        if held_out.nrows() > 0 {
            let nats = fitted.score(held_out.view())?;
            report.validation.push((report.loss.len(), -nats.sum() / nats.len() as f64));
        }
        *self = fitted;
        Ok(report)
    }
}

const BANDWIDTH: [&str; 1] = ["bandwidth"];

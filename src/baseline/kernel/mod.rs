//! The kernel density: p(x) = (1/n) Σⱼ N(x; xⱼ, H), a Gaussian on every training row (Rosenblatt 1956; Parzen
//! 1962).
//!
//! **Objective.** H = h² Σ, Σ the covariance of the rows: kernels are isotropic where the rows are sphered (Fukunaga
//! 1972; as scipy's `gaussian_kde`). Cross-validation also tries the diagonal of the covariance, kernels that are
//! isotropic in standard units, which suit rows whose modes do not lie along the slant of the whole. What is left to
//! learn is h: by a rule that is right for one Gaussian, or by the leave-one-out likelihood −Σᵢ ln (1/(n − 1))
//! Σ_{j≠i} N(xᵢ; xⱼ, h² Σ), which estimates KL(data ‖ model). [`Bandwidth::Adaptive`] gives each kernel a width of
//! its own, h λⱼ, by how far the nearest rows are.
//!
//! **Sampling.** One pass: j uniform, x = xⱼ + h L z with Σ = L Lᵀ, z ~ N(0, I).
//!
//! **Likelihood.** Exact: every row is held against all n training rows, in tiles, so scoring m rows costs
//! O(n·m·dim): ten times the rows on both sides take a hundred times as long. Drawing does not depend on n.
//!
//! **What goes wrong.** *Blur*: one width for all places is too wide for a peak and too narrow for a tail,
//! and the rules are too wide for everything with more than one mode. *The curse of dimension*: the error
//! falls as n^(−4/(d + 4)). *Repeated rows*: cross-validation narrows the kernels without end;
//! [`dequantize`](crate::tables::dequantize) rounded columns first.
//!
//! **Under a condition.** Of a class, kernels stand on its rows alone, with one H for all classes from their pooled
//! covariance within classes; a class without rows has the kernels of all. Of vectors c, kernels stand on (c, x), and
//! p(x|c) is the joint density over that of c (Rosenblatt 1969; Hyndman, Bashtannyk & Grunwald 1996): each row weighs
//! as its kernel in c says, and where kernels slant, it moves with c along the regression of x on c. The widths are
//! those of the highest leave-one-out likelihood of x given c (Hall, Racine & Li 2004), that in c ¼, ½, 1 or 2 times
//! that in x.

mod conditional;
mod likelihood;
mod objective;
#[cfg(feature = "safetensors")]
mod persist;
mod sampling;
mod sphere;
#[cfg(test)]
mod tests;
mod training;
mod widths;

use std::ops::{ControlFlow, Range};

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rand::RngCore;

use self::conditional::Conditioned;
use self::likelihood::{Centers, log_sums};
use self::sphere::Sphere;
use super::{MOST_COLUMNS, conditions, numbers};
use crate::engine::{RowStreams, tiles};
use crate::error::{DataError, Error, Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;

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
    /// What rows are conditioned on: nothing, a class, or a vector, whose numbers count as columns beside the `dim`.
    /// Default [`ConditionKind::None`].
    #[cfg_attr(feature = "safetensors", serde(skip_serializing_if = "ConditionKind::is_none"))]
    pub condition: ConditionKind,
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
    /// Kernels that are wide where rows are sparse (Breiman, Meisel & Purcell 1977): h_j = h (rⱼ/r)ᵃ, rⱼ the distance
    /// from row j to the tenth nearest of the others, or of 2048 of them, r the geometric mean of all. h, a of 0, ½
    /// and 1, and of Σ the covariance or its diagonal are those of the highest likelihood in cross-validation over
    /// five folds. Under a vector as condition all kernels are alike, as with
    /// [`CrossValidated`](Bandwidth::CrossValidated).
    Adaptive {
        /// Rows that are measured on, as for [`CrossValidated`](Bandwidth::CrossValidated): each of 44 widths of either
        /// Σ costs `rows`·n kernels.
        rows: usize,
    },
}

/// Any h: 1/h² and the squares of distances over it are within f64.
const WIDTHS: std::ops::RangeInclusive<f64> = 1e-100..=1e100;

impl Default for KernelDensityConfig {
    fn default() -> Self {
        KernelDensityConfig {
            dim: 2,
            bandwidth: Bandwidth::CrossValidated { rows: 1000 },
            condition: ConditionKind::None,
        }
    }
}

impl KernelDensityConfig {
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check((1..=MOST_COLUMNS).contains(&self.dim), "KernelDensityConfig::dim", self.dim, "1 to 4096")?;
        conditions(self.condition, self.dim, "KernelDensityConfig::condition")?;
        let (bandwidth, expected) = match self.bandwidth {
            Bandwidth::Fixed(h) => (WIDTHS.contains(&h), "1e-100 to 1e100"),
            Bandwidth::CrossValidated { rows } | Bandwidth::Adaptive { rows } => {
                (rows >= 1, "at least 1 row")
            }
            Bandwidth::Scott | Bandwidth::Silverman => (true, ""),
        };
        check(bandwidth, "KernelDensityConfig::bandwidth", self.bandwidth, expected)
    }
}

/// A Gaussian on every training row.
///
/// ```
/// use quadrivium::{worlds::Toy, *};
///
/// let (mut rng, toy) = (quadrivium::seeded(0), Toy::moons(0.1)?);
/// let data = Dataset::new(toy.sample(2_000, &mut rng))?;
/// let mut model = KernelDensity::new(KernelDensityConfig::default())?;
/// model.train(&data, &TrainOptions::default(), &mut rng, &mut NoObserver)?;
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
    /// xⱼ, one class after the other, each behind the numbers of its condition: (n, numbers + d), row-major
    x: Array2<f32>,
    /// How many rows each class has, if classes are the condition.
    classes: Vec<usize>,
    sphere: Sphere,
    /// h
    bandwidth: f64,
    /// a
    #[cfg_attr(not(feature = "safetensors"), allow(dead_code, reason = "files alone need it"))]
    exponent: f64,
    /// λ of each row, (n), or empty where all are 1.
    widths: Vec<f64>,
    /// Of p(x).
    kernels: Kernels,
    /// Of the rows of each class, or of (c, x) and of c alone, if there is a condition.
    given: Vec<Centers>,
}

/// Kernels, and the change of units in which they are round.
#[derive(Debug, Clone)]
struct Kernels {
    sphere: Sphere,
    centers: Centers,
}

impl KernelDensity {
    /// A model that is N(0, I), a kernel on the origin, until its first training.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn new(config: KernelDensityConfig) -> Result<Self> {
        config.validate()?;
        let width = config.dim + numbers(config.condition);
        let classes = if let ConditionKind::Class { classes } = config.condition { classes } else { 0 };
        let (classes, sphere) = (vec![0; classes as usize], Sphere::identity(width));
        let model = KernelDensity::on(config, Array2::zeros((1, width)), classes, sphere, 0.0);
        Ok(model.expect("the identity has a factor"))
    }

    /// Kernels N(·, H) on the rows of `data`; covariance: H, (dim, dim), in the units of the data, squared.
    /// `bandwidth` is 1 then. A later training finds it by the default rule.
    ///
    /// # Errors
    /// [`Error::Condition`] if the rows have conditions, [`DataError::Shape`] unless H has the shape (dim, dim),
    /// [`Error::Config`] unless it is symmetric and positive definite, and for more than 4096 columns.
    ///
    /// ```
    /// use quadrivium::{ndarray::array, *};
    ///
    /// let rows = Dataset::new(array![[-1.0], [1.0]])?;
    /// let model = KernelDensity::from_parameters(&rows, array![[0.5]].view())?;
    /// let nats = model.log_likelihood(array![[1.0]].view(), &LikelihoodOptions::default())?;
    /// let expected = (0.5 * (1.0 + (-4f64).exp()) / std::f64::consts::PI.sqrt()).ln();
    /// assert!((nats.nats().unwrap()[0] - expected).abs() < 1e-14);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn from_parameters(data: &Dataset, covariance: ArrayView2<f64>) -> Result<Self> {
        ConditionKind::None.check(data.condition())?;
        let dim = data.dim();
        let config = KernelDensityConfig { dim, ..Default::default() };
        config.validate()?;
        if covariance.dim() != (dim, dim) {
            return Err(Error::Data(DataError::Shape {
                what: "covariance",
                got: covariance.shape().to_vec(),
                expected: format!("({dim}, {dim})"),
            }));
        }
        let mean = data.x().mapv(f64::from).mean_axis(Axis(0)).expect("a dataset has rows");
        let refused = || {
            let rows: Vec<_> = covariance.rows().into_iter().map(|row| row.to_vec()).collect();
            Error::config("covariance", rows, "symmetric and positive definite")
        };
        let sphere = Sphere::new(mean.to_vec(), covariance).ok_or_else(refused)?;
        KernelDensity::on(config, data.x().to_owned(), Vec::new(), sphere, 0.0).ok_or_else(refused)
    }

    /// Kernels of h = 1, whose widths differ by the exponent. `None` where rounding leaves them without a factor.
    fn on(
        config: KernelDensityConfig,
        x: Array2<f32>,
        classes: Vec<usize>,
        sphere: Sphere,
        exponent: f64,
    ) -> Option<Self> {
        let numbers = numbers(config.condition);
        let round = |x: ArrayView2<f32>, sphere: &Sphere| {
            let mut y = Vec::new();
            sphere.apply(x.as_standard_layout().as_slice().expect("row-major"), &mut y);
            y
        };
        let y = round(x.view(), &sphere);
        let width = x.ncols();
        let widths = widths::relative(&y, width, exponent);
        let centers = |rows: Range<usize>| {
            Centers::new(width, &y[rows.start * width..rows.end * width], widths.get(rows).unwrap_or(&[]))
        };
        let (mut given, mut first) = (Vec::new(), 0);
        for &rows in &classes {
            // Of a class that is not known, what is known of all.
            given.push(centers(if rows == 0 { 0..x.nrows() } else { first..first + rows }));
            first += rows;
        }
        let joint = centers(0..x.nrows());
        let kernels = if numbers == 0 {
            Kernels { centers: joint, sphere: sphere.clone() }
        } else {
            given = vec![joint.columns(0..numbers), joint];
            let marginal = sphere.marginal(numbers)?;
            let y = round(x.slice(s![.., numbers..]), &marginal);
            Kernels { centers: Centers::new(width - numbers, &y, &[]), sphere: marginal }
        };
        Some(KernelDensity { config, x, classes, sphere, bandwidth: 1.0, exponent, widths, kernels, given })
    }

    /// What it was made with.
    pub fn config(&self) -> &KernelDensityConfig {
        &self.config
    }

    /// h: the kernels' width as a share of the rows' spread.
    pub fn bandwidth(&self) -> f64 {
        self.bandwidth
    }

    /// λⱼ, the width of the kernel on row j of [`rows`](KernelDensity::rows) over that of all: (rⱼ/r)ᵃ of
    /// [`Bandwidth::Adaptive`], else 1.
    pub fn width(&self, row: usize) -> f64 {
        self.widths.get(row).copied().unwrap_or(1.0)
    }

    /// H = h² Σ of p(x), shape (dim, dim), in the units of the data, squared: that of a kernel of
    /// [`width`](KernelDensity::width) 1.
    pub fn covariance(&self) -> Array2<f64> {
        self.kernels.sphere.covariance(0) * (self.bandwidth * self.bandwidth)
    }

    /// Where the kernels stand, shape (n, dim): the training rows, of classes one class after the other.
    pub fn rows(&self) -> ArrayView2<'_, f32> {
        self.x.slice(s![.., numbers(self.config.condition)..])
    }

    /// ln p(x) = ln Σⱼ λⱼ⁻ᵈ exp(−½ ‖y − yⱼ‖²/(h λⱼ)²) − ln n − d ln h − ln |L| − ½ d ln 2π.
    fn score(&self, x: ArrayView2<f32>) -> Result<Array1<f64>> {
        check_rows("x", x, self.config.dim)?;
        let (Kernels { centers, sphere }, h) = (&self.kernels, self.bandwidth);
        let (n, dim) = (centers.rows() as f64, x.ncols());
        let constant = n.ln() + dim as f64 * h.ln() + sphere.constant(0);
        tiles::score(x, |_, (y, scratch): &mut (Vec<f64>, Vec<f64>), x, nats| {
            sphere.apply(x, y);
            log_sums(centers, y, &[], 0.5 / (h * h), scratch, nats);
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
            Bandwidth::Adaptive { .. } => "KDE (adaptive)",
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

    fn draw_at(&self, at: RowStreams, options: &SampleOptions, rows: &mut [f32]) -> Result<usize> {
        tiles::draw_at(self, at, options, rows)
    }

    /// ln p(x), exact, in f64.
    fn log_likelihood(&self, x: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        Ok(LogLikelihood::Exact(self.score(x)?))
    }
}

impl Generative for KernelDensity {
    /// What it stores: the training rows' n·d values, h and the d (d + 1)/2 numbers of Σ; d counts the numbers of a
    /// vector as condition, too.
    fn num_params(&self) -> usize {
        let d = self.x.ncols();
        self.x.len() + 1 + d * (d + 1) / 2
    }

    fn condition(&self) -> ConditionKind {
        self.config.condition
    }

    fn given(&self, condition: &Condition) -> Result<Box<dyn Distribution + '_>> {
        Ok(Box::new(Conditioned::new(self, condition)?))
    }

    /// Puts a kernel on each row and finds h. The optimum is in closed form, up to h: a later training does
    /// not go on from an earlier one but replaces it.
    ///
    /// A step is a bandwidth that is tried: one for a rule, up to 24 for each Σ of cross-validation, and up to 20
    /// more where widths differ. `steps`, `shards`, `validate_every`, `patience` and `checkpoint` have no effect. The
    /// loss is the leave-one-out NLL, exact, of the rows that cross-validation takes; for a rule, of `batch` rows,
    /// drawn without replacement. Its part is h. Held-out rows are scored once, at the end.
    ///
    /// # Errors
    /// Also, without cross-validation, [`DataError::TooFewRows`] unless there are more rows than columns, and
    /// [`DataError::SingularCovariance`] for columns that depend on each other linearly. Then the model is as it was.
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

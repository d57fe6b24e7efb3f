use crate::baseline::{MOST_COLUMNS, conditions, numbers};
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, check};
use crate::model::ConditionKind;
#[cfg(doc)]
use crate::model::TrainOptions;

/// What a [`GaussianMixture`](crate::GaussianMixture) is made of and how it learns.
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
    /// Starts of EM in a first training for each family and number of components. With
    /// [`ComponentCount::Fixed`], each is another k-means++ start, all run to the end, and the one of the highest
    /// likelihood is kept. With [`ComponentCount::Bic`], the first splits a component of the mixture with one component
    /// less, the others are k-means++ starts, and the one that is ahead after ten iterations goes on alone. 1 to 1000.
    /// Default 3.
    pub restarts: usize,
    /// A run ends when an iteration gains less than this, in nats per row; while the number of components is searched
    /// for, less than ten times this. 0 or more. Default 1e-5.
    pub tol: f64,
    /// The most iterations of a run. 1 to 1,000,000. Default 300.
    pub max_iter: usize,
    /// Added to each component's variances, as a share of the column's variance over all training rows: the
    /// floor of a collapsing component. 0 or more; with 0 a collapse is an error. Default 1e-6, a standard
    /// deviation of a thousandth of the column's.
    pub reg_covar: f64,
    /// λ of a prior on the covariances: a component with nₖ rows has λ/nₖ times the covariance of all training
    /// rows added to its own, as if one more row stood √λ standard deviations away. It keeps components of few
    /// rows broad and leaves those of many as they are. Tied covariances go without. With
    /// [`ComponentCount::CrossValidated`] the least of those that are tried. 0 or more. Default 0.01.
    pub shrinkage: f64,
    /// What rows are conditioned on: nothing, a class, or a vector, whose numbers count as columns beside the `dim`.
    /// Default [`ConditionKind::None`].
    #[cfg_attr(feature = "safetensors", serde(skip_serializing_if = "ConditionKind::is_none"))]
    pub condition: ConditionKind,
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
    pub(super) fn candidates(&self, dim: usize) -> &[Covariance] {
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
    /// The number from 1 to `max` with the least NLL in cross-validation over ten folds (Smyth 2000), of the tenth of
    /// the rows that each fold has not learned from. It also chooses the strength of the prior: λ is
    /// [`shrinkage`](GaussianMixtureConfig::shrinkage) or 10, 100 or 300 times that. The winner then learns from all
    /// rows. From 1,000 rows and from 30 columns on, fewer folds are measured, down to one of them from 10,000 rows
    /// or 150 columns on, and from 290 columns on there are fewer than 25 components, the covariances of which have
    /// at most 2²¹ numbers. Where rows are held out ([`validation`](TrainOptions::validation)) those decide, as with
    /// [`Bic`](ComponentCount::Bic), and with fewer than ten rows, or where no fold has the rows that a covariance
    /// takes, the information criterion does.
    CrossValidated {
        /// As for [`Bic`](ComponentCount::Bic).
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
            condition: ConditionKind::None,
        }
    }
}

impl GaussianMixtureConfig {
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check((1..=MOST_COLUMNS).contains(&self.dim), "GaussianMixtureConfig::dim", self.dim, "1 to 4096")?;
        conditions(self.condition, self.dim, "GaussianMixtureConfig::condition")?;
        let most = (MOST_ENTRIES / (self.width() * self.width())).min(65_536);
        check(
            (1..=most).contains(&self.most_components()),
            "GaussianMixtureConfig::components",
            self.components,
            "1 to 65,536, and components × columns² at most 268,435,456",
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

    /// Columns of a component: those of a row, behind the numbers of a vector.
    pub(super) fn width(&self) -> usize {
        self.dim + numbers(self.condition)
    }

    pub(super) fn most_components(&self) -> usize {
        match self.components {
            ComponentCount::Fixed(most)
            | ComponentCount::Bic { max: most }
            | ComponentCount::CrossValidated { max: most } => most,
        }
    }
}

/// Free numbers of k components of d columns.
pub(super) fn num_params(family: Covariance, k: usize, d: usize) -> usize {
    let triangle = d * (d + 1) / 2;
    let covariances = match family {
        Covariance::Best | Covariance::Full => k * triangle,
        Covariance::Tied => triangle,
        Covariance::Diagonal => k * d,
        Covariance::Spherical => k,
    };
    k - 1 + k * d + covariances
}

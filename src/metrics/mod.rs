//! How far samples are from the truth: mode coverage, energy distance, MMD, Fréchet distance, Wasserstein,
//! precision and recall, NLL gap.
//!
//! A distance between finite samples is never 0. Report its [`Floor`] with it: the same distance between two fresh
//! samples of the truth, of the same sizes. Distances are computed between the rows as given, so standardize columns
//! of different units first. All sums run in a fixed order and give the same bits for any number of threads.
//!
//! | question | metric | cost in rows |
//! | --- | --- | --- |
//! | which modes are covered, and how sharp are they? | [`mode_coverage`] | n · modes |
//! | one number, no parameter | [`energy_distance`] | n² |
//! | one number at a chosen length scale | [`mmd_squared`] | n² |
//! | the same for the means and covariances alone | [`frechet_distance`] | n, and columns³ |
//! | how far must mass travel? | [`wasserstein_1d`], [`sliced_wasserstein2`] | n log n |
//! | the same, exactly | [`wasserstein2`] | n² to n³ |
//! | fidelity and diversity, separately | [`prdc`] | n² |
//! | can the samples be told apart, and are rows copies? | [`two_sample_accuracy`], [`nearest_rows`] | n² |
//! | is the density right? | [`Nll`] | n |
//! | could a perfect sampler score the same? | [`Floor`] | |

mod energy;
mod floor;
mod frechet;
mod mmd;
mod modes;
mod neighbors;
mod nll;
mod pairs;
mod prdc;
mod wasserstein;

pub use energy::energy_distance;
pub use floor::Floor;
pub use frechet::frechet_distance;
pub use mmd::{median_distance, mmd_squared};
pub use modes::{ModeReport, mode_coverage};
pub use neighbors::{Neighbors, nearest_labels, nearest_rows, two_sample_accuracy};
pub use nll::Nll;
pub use prdc::{Prdc, prdc};
pub use wasserstein::{sliced_wasserstein2, wasserstein_1d, wasserstein2};

use ndarray::ArrayView2;

use crate::error::{DataError, Error, Result};
use crate::model::check_rows;

/// Checks that two samples can be compared: the same number of columns, at least one; at least `least` rows each; all
/// values finite.
fn check_pair(x: ArrayView2<f32>, y: ArrayView2<f32>, least: usize) -> Result<()> {
    if x.ncols() == 0 {
        return Err(Error::Data(DataError::Shape {
            what: "x",
            got: x.shape().to_vec(),
            expected: "at least one column".into(),
        }));
    }
    check_rows("x", x, x.ncols())?;
    check_rows("y", y, x.ncols())?;
    check_count("x", x.nrows(), least)?;
    check_count("y", y.nrows(), least)
}

fn check_count(what: &'static str, got: usize, least: usize) -> Result<()> {
    if got < least { Err(Error::Data(DataError::TooFewRows { what, got, least })) } else { Ok(()) }
}

/// `f(0), …, f(n − 1)`, in this order, regardless of which thread ran which.
fn map<T: Send>(n: usize, f: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
    #[cfg(feature = "rayon")]
    {
        use rayon::prelude::*;
        (0..n).into_par_iter().map(f).collect()
    }
    #[cfg(not(feature = "rayon"))]
    (0..n).map(f).collect()
}

#[cfg(test)]
mod testing {
    use ndarray::Array2;

    use crate::numeric::Real;

    /// Standard normal rows, shape (n, d), shifted by `shift` in every column.
    pub fn normal(n: usize, d: usize, shift: f32, seed: u64) -> Array2<f32> {
        let mut rng = crate::seeded(seed);
        Array2::from_shape_simple_fn((n, d), || shift + <f32 as Real>::normal(&mut rng))
    }

    /// The mean of `values`, independent draws, must be `expected` within five standard errors (one false
    /// alarm in a million), and those must be below `resolution`, so that the comparison says something.
    pub fn mean_is(values: &[f64], expected: f64, resolution: f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let bound = 5.0 * (variance / n).sqrt();
        assert!((mean - expected).abs() < bound, "{mean} against {expected} ± {bound}");
        assert!(bound < resolution, "the bound {bound} is above {resolution}");
    }

    /// The value of `f` on 1, 2 and 5 threads must have the same bits.
    pub fn same_on_any_number_of_threads(f: impl Fn() -> f64 + Send + Sync) {
        let here = f();
        #[cfg(feature = "rayon")]
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(&f).to_bits(), here.to_bits(), "{threads} threads");
        }
        assert_eq!(f().to_bits(), here.to_bits());
    }
}

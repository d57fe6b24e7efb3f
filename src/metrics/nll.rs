//! Negative log-likelihood, and its gap to the entropy of the data.

use crate::model::LogLikelihood;

/// Mean negative log-likelihood of a sample, in nats per row.
///
/// Its expectation over rows of the truth is the entropy of the truth plus KL(truth ‖ model), so the gap to the
/// entropy estimates that KL. No model's expected NLL can be below the entropy; on a finite test set it may fall
/// below by chance. Computed from a [`LogLikelihood::LowerBound`], the NLL and the gap are upper bounds.
///
/// ```
/// use quadrivium::{LogLikelihood, metrics::Nll, ndarray::array};
/// let nll = Nll::of(&LogLikelihood::Exact(array![-1.0, -2.0, -3.0])).unwrap();
/// assert_eq!((nll.mean, nll.std_error), (2.0, (1.0f64 / 3.0).sqrt()));
/// assert_eq!(nll.gap(1.5).mean, 0.5);
/// assert_eq!(Nll::of(&LogLikelihood::Unavailable), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nll {
    /// Mean over the rows; +∞ if any row has density 0.
    pub mean: f64,
    /// Standard error of the mean: the rows' standard deviation ÷ √n. It includes the noise of an
    /// [`Estimate`](LogLikelihood::Estimate) if that noise is independent from row to row. +∞ for a single row or
    /// an infinite mean.
    pub std_error: f64,
}

impl Nll {
    /// The NLL of the rows of `score`. `None` if there are no rows, or if the values cannot be compared with log p(x)
    /// ([`Unnormalized`](LogLikelihood::Unnormalized), [`Unavailable`](LogLikelihood::Unavailable)).
    pub fn of(score: &LogLikelihood) -> Option<Nll> {
        let nats = score.nats().filter(|nats| !nats.is_empty())?;
        if nats.iter().any(|&v| v == f64::NEG_INFINITY) {
            return Some(Nll { mean: f64::INFINITY, std_error: f64::INFINITY });
        }
        let n = nats.len() as f64;
        let mean = -nats.sum() / n;
        let squares: f64 = nats.iter().map(|v| (v + mean).powi(2)).sum();
        let std_error = if n > 1.0 { (squares / (n - 1.0) / n).sqrt() } else { f64::INFINITY };
        Some(Nll { mean, std_error })
    }

    /// The NLL minus `entropy`, the known entropy of the data in nats, with the same standard error.
    pub fn gap(self, entropy: f64) -> Nll {
        Nll { mean: self.mean - entropy, ..self }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, array};

    use super::*;
    use crate::TraceEstimator;
    use crate::numeric::Real;

    #[test]
    fn the_gap_of_the_truth_to_its_entropy_is_within_the_standard_error() {
        // Standard normal: log p = −½ ln 2π − x²/2, entropy ½ ln 2πe, variance of log p is ½.
        let mut rng = crate::seeded(1);
        let half_ln_2pi = 0.5 * (2.0 * std::f64::consts::PI).ln();
        let nats =
            Array1::from_shape_simple_fn(20_000, || -half_ln_2pi - 0.5 * f64::normal(&mut rng).powi(2));
        let gap = Nll::of(&LogLikelihood::Exact(nats)).unwrap().gap(half_ln_2pi + 0.5);
        assert!((gap.std_error - (0.5f64 / 20_000.0).sqrt()).abs() < 2e-4, "{gap:?}");
        assert!(gap.mean.abs() < 4.0 * gap.std_error, "{gap:?}");
    }

    #[test]
    fn every_comparable_kind_has_an_nll_and_no_other() {
        let nats = array![1.0, 3.0];
        let comparable = [
            LogLikelihood::Exact(nats.clone()),
            LogLikelihood::LowerBound { nats: nats.clone(), draws: 5 },
            LogLikelihood::OdeEstimate {
                nats: nats.clone(),
                nfe: 9,
                rtol: 1e-5,
                divergence: TraceEstimator::Exact,
            },
            LogLikelihood::Estimate { nats: nats.clone(), std_error: array![0.1, 0.1] },
        ];
        for score in comparable {
            assert_eq!(Nll::of(&score), Some(Nll { mean: -2.0, std_error: 1.0 }));
        }
        assert_eq!(Nll::of(&LogLikelihood::Unnormalized(nats)), None);
        assert_eq!(Nll::of(&LogLikelihood::Unavailable), None);
    }

    #[test]
    fn impossible_rows_few_rows_and_no_rows() {
        let of = |nats| Nll::of(&LogLikelihood::Exact(nats));
        let infinite = Some(Nll { mean: f64::INFINITY, std_error: f64::INFINITY });
        assert_eq!(of(array![0.0, f64::NEG_INFINITY, f64::NEG_INFINITY]), infinite);
        assert_eq!(infinite.map(|nll| nll.gap(1.0)), infinite);
        assert_eq!(of(array![2.0]), Some(Nll { mean: -2.0, std_error: f64::INFINITY }));
        assert_eq!(of(array![]), None);
    }
}

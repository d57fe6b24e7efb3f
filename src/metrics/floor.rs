//! The floor of a distance: what a perfect sampler would score.

use crate::error::{DataError, Error, Result};

/// What a distance to the truth is for a perfect sampler, and which scores are no different from it.
///
/// Two fresh samples of the truth are some distance apart by chance. `Floor` holds the mean and the standard
/// deviation of that distance over independent pairs of samples, each of the sizes that models are measured
/// with, and decides which scores are at the floor. The score of a model is its mean distance over `draws`
/// independent draws. For a perfect sampler, score − mean has the standard deviation sd · √(1/draws + 1/pairs),
/// so a score up to
///
/// reach = mean + 2 · sd · √(1/draws + 1/pairs)
///
/// is at the floor. A perfect sampler is within reach about 19 times in 20: the energy distance and its kin are
/// skewed to the right of a normal distribution, which has 98 % below two standard deviations. Among scores at
/// the floor a lower one is not better.
///
/// ```
/// use quadrivium::metrics::Floor;
///
/// // Five pairs of samples of the truth; a model is measured by the mean over three draws.
/// let floor = Floor::of(&[0.8, 1.3, 0.9, 1.1, 0.9], 3)?;
/// assert_eq!((floor.mean, floor.sd, floor.pairs, floor.draws), (1.0, 0.2, 5, 3));
/// assert!((floor.reach() - 1.292).abs() < 1e-3);
/// assert!(floor.holds(0.7) && floor.holds(1.2) && !floor.holds(1.3));
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// Mean distance between two samples of the truth.
    pub mean: f64,
    /// Standard deviation of the distance of one pair.
    pub sd: f64,
    /// Pairs that both are estimated from.
    pub pairs: usize,
    /// Draws of a model that its score is the mean of.
    pub draws: usize,
}

impl Floor {
    /// The floor, from the `distances` of independent pairs of samples of the truth, for scores that are means
    /// over `draws` draws.
    ///
    /// # Errors
    /// [`DataError::TooFewRows`] for fewer than two distances or no draw, [`DataError::NonFinite`] for a distance that
    /// is not finite.
    pub fn of(distances: &[f64], draws: usize) -> Result<Floor> {
        let pairs = distances.len();
        if pairs < 2 {
            return Err(Error::Data(DataError::TooFewRows { what: "distances", got: pairs, least: 2 }));
        }
        if draws == 0 {
            return Err(Error::Data(DataError::TooFewRows { what: "draws", got: 0, least: 1 }));
        }
        if let Some(row) = distances.iter().position(|v| !v.is_finite()) {
            return Err(Error::Data(DataError::NonFinite {
                what: "distances",
                row,
                column: 0,
                value: distances[row],
            }));
        }
        let n = pairs as f64;
        let mean = distances.iter().sum::<f64>() / n;
        let squares: f64 = distances.iter().map(|v| (v - mean).powi(2)).sum();
        Ok(Floor { mean, sd: (squares / (n - 1.0)).sqrt(), pairs, draws })
    }

    /// Standard deviation of a perfect sampler's score about [`mean`](Floor::mean), which is itself estimated.
    pub fn std_error(&self) -> f64 {
        self.sd * (1.0 / self.draws as f64 + 1.0 / self.pairs as f64).sqrt()
    }

    /// The largest score that is at the floor: mean + 2 standard errors.
    pub fn reach(&self) -> f64 {
        self.mean + 2.0 * self.std_error()
    }

    /// Whether a score is at the floor: at most [`reach`](Floor::reach).
    pub fn holds(&self, score: f64) -> bool {
        score <= self.reach()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::energy_distance;
    use crate::metrics::testing::normal;

    /// Distances between independent pairs of samples of a standard normal, the second shifted.
    fn distances(pairs: u64, shift: f32, seed: u64) -> Vec<f64> {
        let pair = |k| {
            let (x, y) = (normal(60, 2, 0.0, seed + 2 * k), normal(60, 2, shift, seed + 2 * k + 1));
            energy_distance(x.view(), y.view()).unwrap()
        };
        (0..pairs).map(pair).collect()
    }

    #[test]
    fn a_perfect_sampler_is_at_the_floor_nineteen_times_in_twenty() {
        for (pairs, draws) in [(10, 1), (20, 3), (60, 5)] {
            let at = (0..300).filter(|k| {
                let seed = 10_000 * (k + 1);
                let floor = Floor::of(&distances(pairs, 0.0, seed), draws).unwrap();
                let scores = distances(draws as u64, 0.0, seed + 5_000);
                floor.holds(scores.iter().sum::<f64>() / draws as f64)
            });
            let share = at.count() as f64 / 300.0;
            // Four standard errors of a share of 0.95.
            assert!((0.9..0.995).contains(&share), "{pairs} pairs, {draws} draws: {share}");
        }
    }

    #[test]
    fn a_shifted_sampler_is_not() {
        let floor = Floor::of(&distances(20, 0.0, 1), 3).unwrap();
        let far = distances(3, 0.8, 77).iter().sum::<f64>() / 3.0;
        assert!(!floor.holds(far), "{far}, {floor:?}");
    }

    #[test]
    fn too_few_and_broken_distances_are_errors() {
        assert!(matches!(
            Floor::of(&[1.0], 1),
            Err(Error::Data(DataError::TooFewRows { got: 1, least: 2, .. }))
        ));
        assert!(matches!(
            Floor::of(&[1.0, 2.0], 0),
            Err(Error::Data(DataError::TooFewRows { what: "draws", .. }))
        ));
        assert!(matches!(
            Floor::of(&[1.0, f64::NAN], 1),
            Err(Error::Data(DataError::NonFinite { row: 1, .. }))
        ));
        let flat = Floor::of(&[1.0, 1.0], 1).unwrap();
        assert!(flat.holds(1.0) && !flat.holds(1.0 + 1e-12));
    }
}

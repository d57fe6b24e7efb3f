//! How the next token is chosen.

use rand::Rng as _;

use crate::error::{Result, check};
use crate::numeric::rng::Rng;

/// Which tokens may be drawn: a view of a model, which is scored without it.
///
/// The logits are first divided by the [`temperature`](crate::SampleOptions::temperature); then all but the `top_k`
/// most probable tokens are dropped (Fan, Lewis & Dauphin 2018), and of those that are left all beyond the most
/// probable ones that together have the share `top_p` (Holtzman et al. 2020, nucleus sampling). END is a token like
/// any other. Of equally probable tokens those with lower numbers come first, so `top_k` = 1 is greedy decoding and
/// does not depend on the random numbers.
///
/// ```
/// use quadrivium::Truncation;
/// assert!(Truncation { top_k: Some(40), top_p: Some(0.9) }.validate().is_ok());
/// assert!(Truncation { top_p: Some(0.0), ..Truncation::default() }.validate().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Truncation {
    /// At least 1, or `None` for all. Default `None`.
    pub top_k: Option<usize>,
    /// More than 0, at most 1, or `None` for all. Default `None`.
    pub top_p: Option<f64>,
}

impl Truncation {
    /// The most probable token alone.
    pub const GREEDY: Truncation = Truncation { top_k: Some(1), top_p: None };

    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check(self.top_k != Some(0), "Truncation::top_k", self.top_k, "None or at least 1")?;
        let share = self.top_p.is_none_or(|p| p > 0.0 && p <= 1.0);
        check(share, "Truncation::top_p", self.top_p, "None, or more than 0, at most 1")
    }

    /// Whether it drops nothing.
    fn is_none(&self) -> bool {
        *self == Truncation::default()
    }
}

/// Chooses tokens, with buffers of its own.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    /// e^((logit − largest)/temperature) of each column; 0 where it is dropped.
    weights: Vec<f64>,
    /// The columns from the most to the least probable.
    order: Vec<usize>,
}

impl Chooser {
    /// A column of `logits`, drawn with one number of `rng`, or `None` where no logit is finite.
    pub fn choose(
        &mut self,
        logits: &[f32],
        temperature: f64,
        truncation: Truncation,
        rng: &mut Rng,
    ) -> Option<usize> {
        let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        self.weights.clear();
        self.weights.extend(logits.iter().map(|&logit| ((f64::from(logit) - most) / temperature).exp()));
        if !truncation.is_none() {
            self.truncate(truncation);
        }
        let total: f64 = self.weights.iter().sum();
        let mut left = rng.random::<f64>() * total;
        // Rounding may leave a small remainder after the last column.
        let last = self.weights.iter().rposition(|&weight| weight > 0.0)?;
        let chosen = self.weights[..last].iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        Some(chosen.unwrap_or(last))
    }

    fn truncate(&mut self, Truncation { top_k, top_p }: Truncation) {
        let weights = &mut self.weights;
        self.order.clear();
        self.order.extend(0..weights.len());
        // Stable: of equal weights the lower column stays first.
        self.order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
        let mut kept = top_k.unwrap_or(weights.len()).min(weights.len());
        if let Some(share) = top_p {
            let total: f64 = self.order[..kept].iter().map(|&column| weights[column]).sum();
            let mut sum = 0.0;
            let enough = self.order[..kept].iter().position(|&column| {
                sum += weights[column];
                sum >= share * total
            });
            kept = enough.map_or(kept, |last| last + 1);
        }
        self.order[kept..].iter().for_each(|&column| weights[column] = 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::rng::seeded;

    /// How often each of four tokens with probabilities 0.4, 0.3, 0.2, 0.1 is drawn.
    fn shares(temperature: f64, truncation: Truncation) -> [f64; 4] {
        let logits = [0.4f32, 0.3, 0.2, 0.1].map(|p| p.ln() + 7.0);
        let (mut chooser, mut rng, mut counts) = (Chooser::default(), seeded(3), [0.0; 4]);
        let n = 40_000;
        for _ in 0..n {
            let chosen = chooser.choose(&logits, temperature, truncation, &mut rng).unwrap();
            counts[chosen] += 1.0 / f64::from(n);
        }
        counts
    }

    fn assert_shares(found: [f64; 4], expected: [f64; 4]) {
        // sd at most 0.0025.
        assert!(
            found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 0.012),
            "{found:?}, not {expected:?}"
        );
    }

    #[test]
    fn truncation_keeps_the_most_probable_tokens_and_their_ratios() {
        let all = Truncation::default();
        assert_shares(shares(1.0, all), [0.4, 0.3, 0.2, 0.1]);
        // Squared, over 0.30.
        assert_shares(shares(0.5, all), [0.16, 0.09, 0.04, 0.01].map(|p| p / 0.30));
        assert_shares(shares(1.0, Truncation { top_k: Some(2), ..all }), [0.4 / 0.7, 0.3 / 0.7, 0.0, 0.0]);
        // 0.4 + 0.3 falls short of 0.75.
        assert_shares(
            shares(1.0, Truncation { top_p: Some(0.75), ..all }),
            [0.4 / 0.9, 0.3 / 0.9, 0.2 / 0.9, 0.0],
        );
        // Of the two most probable ones the first has 4/7.
        assert_eq!(
            shares(1.0, Truncation { top_k: Some(2), top_p: Some(0.55) }).map(|s| s > 0.0),
            [true, false, false, false]
        );
        // At temperature ½ the first has 0.53.
        assert_eq!(
            shares(0.5, Truncation { top_p: Some(0.5), ..all }).map(|s| s > 0.0),
            [true, false, false, false]
        );
        for wide in [Truncation { top_k: Some(9), ..all }, Truncation { top_p: Some(1.0), ..all }] {
            assert_eq!(shares(1.0, wide), shares(1.0, all));
        }
    }

    #[test]
    fn greedy_choice_takes_the_first_of_the_most_probable() {
        let (mut chooser, mut rng) = (Chooser::default(), seeded(0));
        for temperature in [f64::MIN_POSITIVE, 1.0, 1e6] {
            for _ in 0..20 {
                let logits = [-1.0, 2.0, f32::NEG_INFINITY, 2.0];
                let chosen = chooser.choose(&logits, temperature, Truncation::GREEDY, &mut rng);
                assert_eq!(chosen, Some(1));
            }
        }
        let none = [f32::NEG_INFINITY; 2];
        assert_eq!(chooser.choose(&none, 1.0, Truncation::default(), &mut rng), None);
    }
}

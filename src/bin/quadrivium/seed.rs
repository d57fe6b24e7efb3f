//! One `--seed`, and independent streams under it.

use quadrivium::numeric::rng::{Rng, Streams};

/// What random numbers are for. Noise for one thing must not be that of another: a model learns the noise that its
/// training's rows were spread by, and would score them too high with the same noise again.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// A model's first parameters, and its training.
    Training,
    /// Which rows are held out.
    Split,
    /// The noise on whole numbers to learn from.
    SpreadToLearn,
    /// The noise on whole numbers to score.
    SpreadToScore,
    /// Rows to draw.
    Drawing,
    /// The noise that a likelihood needs.
    Scoring,
    /// Conditions for rows to draw.
    Conditions,
}

impl Purpose {
    /// The stream of this purpose under a seed.
    pub fn stream(self, seed: u64) -> Rng {
        Streams::new(seed).stream(self as u64)
    }
}

#[cfg(test)]
mod tests {
    use quadrivium::rand::RngCore;

    use super::*;

    #[test]
    fn no_purpose_has_the_numbers_of_another() {
        use Purpose::*;
        let streams = [Training, Split, SpreadToLearn, SpreadToScore, Drawing, Scoring, Conditions];
        let first = streams.map(|purpose| purpose.stream(0).next_u64());
        let distinct: std::collections::HashSet<u64> = first.into_iter().collect();
        assert_eq!(distinct.len(), streams.len());
    }
}

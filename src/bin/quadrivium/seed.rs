//! One `--seed`, and independent streams under it.

use quadrivium::numeric::rng::{Rng, Streams};

/// The purpose of random numbers. Each purpose needs its own noise: a model learns the noise by which its training
/// rows were spread, and would score rows too high if they were spread by the same noise again.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// A model's initial parameters, and its training.
    Training,
    /// The choice of held-out rows.
    Split,
    /// The noise on whole numbers in training.
    SpreadToLearn,
    /// The noise on whole numbers in scoring.
    SpreadToScore,
    /// Rows to draw.
    Drawing,
    /// The noise that a likelihood needs.
    Scoring,
    /// Conditions for rows to draw.
    Conditions,
    /// The choice of rows to compare.
    Choosing,
}

impl Purpose {
    /// The stream of this purpose under a seed.
    pub fn stream(self, seed: u64) -> Rng {
        Streams::new(seed).stream(self as u64)
    }

    /// Streams of this purpose under a seed.
    pub fn streams(self, seed: u64) -> Streams {
        Streams::new(seed).family(self as u64)
    }
}

#[cfg(test)]
mod tests {
    use quadrivium::rand::RngCore;

    use super::*;

    #[test]
    fn no_purpose_has_the_numbers_of_another() {
        use Purpose::*;
        let streams = [Training, Split, SpreadToLearn, SpreadToScore, Drawing, Scoring, Conditions, Choosing];
        let first = streams.map(|purpose| purpose.stream(0).next_u64());
        let distinct: std::collections::HashSet<u64> = first.into_iter().collect();
        assert_eq!(distinct.len(), streams.len());
    }
}

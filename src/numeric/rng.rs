//! Addressable random streams: the same seed gives the same bits, in any order and on any thread.
//!
//! A public function takes `&mut dyn RngCore` and draws one `u64` from it; that seeds [`Streams`], and each
//! row of a sampler or shard of a training step uses the stream of its index. So neither the tile size nor the number
//! of threads can change a bit, and the first k rows do not depend on how many follow.

use rand::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The generator behind every stream: xoshiro256++ (Blackman & Vigna 2021), named so that it never changes
/// silently.
pub type Rng = Xoshiro256PlusPlus;

/// A generator for examples and tests: the stream of one seed.
///
/// ```
/// use rand::RngCore;
/// assert_eq!(quadrivium::seeded(1).next_u64(), quadrivium::seeded(1).next_u64());
/// ```
pub fn seeded(seed: u64) -> Rng {
    Rng::seed_from_u64(seed)
}

/// A family of independent streams under one seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// The family of `seed`.
    pub fn new(seed: u64) -> Self {
        Streams { seed }
    }

    /// One draw from the caller's generator seeds the family.
    pub fn from_rng(rng: &mut dyn RngCore) -> Self {
        Streams::new(rng.next_u64())
    }

    /// The stream of `index`.
    pub fn stream(self, index: u64) -> Rng {
        Rng::seed_from_u64(self.key(index))
    }

    /// A family below this one: (step, shard) is `streams.family(step).stream(shard)`.
    pub fn family(self, index: u64) -> Streams {
        Streams::new(self.key(index))
    }

    /// The family of a row's content under this seed, for noise that must not depend on the row's position.
    pub fn of_row(self, row: &[f32]) -> Streams {
        // −0 + 0 = 0: the two zeros are one value.
        row.iter().fold(self, |streams, v| streams.family((v + 0.0).to_bits().into()))
    }

    // SplitMix64's finalizer twice: every bit of seed and index reaches every bit of the key.
    fn key(self, index: u64) -> u64 {
        mix(mix(self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15)) ^ index)
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These are the crate's random numbers: if one changes, every seeded result of every user changes.
    #[test]
    fn streams_are_pinned() {
        let first = |mut rng: Rng| rng.next_u64();
        assert_eq!(first(seeded(0)), PINNED[0]);
        assert_eq!(first(Streams::new(0).stream(0)), PINNED[1]);
        assert_eq!(first(Streams::new(0).stream(1)), PINNED[2]);
        assert_eq!(first(Streams::new(7).family(3).stream(2)), PINNED[3]);
        assert_eq!(first(Streams::new(7).of_row(&[1.0, -2.5]).stream(0)), PINNED[4]);
        assert_eq!(first(Streams::from_rng(&mut seeded(5)).stream(9)), PINNED[5]);
        assert_eq!(Streams::new(7).of_row(&[-0.0, 1.0]), Streams::new(7).of_row(&[0.0, 1.0]));
        // What the distributions make of them.
        use crate::numeric::Real;
        assert_eq!(f32::normal(&mut seeded(0)), NORMAL as f32);
        assert_eq!(f64::normal(&mut seeded(0)), NORMAL);
        assert_eq!(rand::Rng::random_range(&mut seeded(0), 0..1000usize), INDEX);
    }

    const NORMAL: f64 = -0.29280329860470816;
    const INDEX: usize = 324;
    const PINNED: [u64; 6] = [
        0x53175d61490b23df,
        0xfeb48c6e8d14c16b,
        0x366aa1aec12080b8,
        0xebf879eccfc6b05f,
        0x10d8be74ce7ea461,
        0xb015607bea09303f,
    ];

    #[test]
    fn neighbors_are_unlike() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..50 {
            for index in 0..50 {
                assert!(
                    seen.insert(Streams::new(seed).stream(index).next_u64()),
                    "seed {seed}, index {index}"
                );
            }
        }
    }
}

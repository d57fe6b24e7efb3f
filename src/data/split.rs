use ndarray::Axis;
use rand::RngCore;
use rand::seq::SliceRandom;

use crate::error::{Error, Result, check};
use crate::generative::Dataset;
use crate::numeric::rng::Streams;

/// How much of the rows to set aside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HeldOut {
    /// This share, rounded up to whole rows: more than 0, less than 1.
    Share(f64),
    /// So many rows.
    Rows(usize),
}

impl Dataset {
    /// Splits at random into rows to learn from and rows held out to measure on.
    ///
    /// # Errors
    /// [`Error::Config`] for a share out of range, [`Error::TooFewRows`] if either part would be empty.
    ///
    /// ```
    /// use quadrivium::{Dataset, data::HeldOut, ndarray::Array2};
    ///
    /// let data = Dataset::new(Array2::from_shape_fn((10, 1), |(i, _)| i as f32))?;
    /// let (train, test) = data.hold_out(HeldOut::Share(0.25), &mut quadrivium::seeded(0))?;
    /// assert_eq!((train.rows(), test.rows()), (7, 3));
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn hold_out(&self, part: HeldOut, rng: &mut dyn RngCore) -> Result<(Dataset, Dataset)> {
        let rows = match part {
            HeldOut::Rows(rows) => rows,
            HeldOut::Share(share) => {
                check(share > 0.0 && share < 1.0, "HeldOut::Share", share, "more than 0, less than 1")?;
                (share * self.rows() as f64).ceil() as usize
            }
        };
        if rows == 0 || rows >= self.rows() {
            return Err(Error::TooFewRows { what: "a part of the split", got: 0, least: 1 });
        }
        let mut order: Vec<usize> = (0..self.rows()).collect();
        order.shuffle(&mut Streams::from_rng(rng).stream(0));
        let part = |rows: &[usize]| Dataset::new(self.x().select(Axis(0), rows));
        Ok((part(&order[rows..])?, part(&order[..rows])?))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::numeric::rng::seeded;

    #[test]
    fn every_row_is_in_one_part_by_chance() {
        let data = Dataset::new(Array2::from_shape_fn((50, 2), |(i, j)| (2 * i + j) as f32)).unwrap();
        let split = |part, seed| data.hold_out(part, &mut seeded(seed)).unwrap();
        let mut counts = [0; 50];
        for seed in 0..400 {
            let (train, test) = split(HeldOut::Rows(10), seed);
            let mut rows: Vec<u32> = test.x().column(0).iter().map(|&v| v as u32 / 2).collect();
            rows.iter().for_each(|&row| counts[row as usize] += 1);
            rows.extend(train.x().rows().into_iter().map(|row| {
                assert_eq!(row[1], row[0] + 1.0);
                row[0] as u32 / 2
            }));
            rows.sort_unstable();
            assert!(rows.into_iter().eq(0..50));
        }
        // 400 draws of a share of 0.2: 80 of sd 8; one of 50 is beyond 5 sd once in 30,000.
        assert!(counts.iter().all(|count: &i32| (count - 80).abs() < 40), "{counts:?}");
        assert_eq!(split(HeldOut::Share(0.2), 3), split(HeldOut::Rows(10), 3));
        assert_ne!(split(HeldOut::Rows(10), 3), split(HeldOut::Rows(10), 4));
    }

    #[test]
    fn no_part_is_empty() {
        let data = Dataset::new(Array2::zeros((3, 1))).unwrap();
        for part in [HeldOut::Rows(0), HeldOut::Rows(3), HeldOut::Share(0.9)] {
            assert!(matches!(data.hold_out(part, &mut seeded(0)), Err(Error::TooFewRows { .. })), "{part:?}");
        }
        for share in [0.0, 1.0, -0.5, f64::NAN] {
            let refused = data.hold_out(HeldOut::Share(share), &mut seeded(0));
            assert!(matches!(refused, Err(Error::Config { field: "HeldOut::Share", .. })), "{share}");
        }
    }
}

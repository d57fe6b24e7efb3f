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

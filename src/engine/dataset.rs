use ndarray::{Array2, ArrayView2, Axis};
use rand::RngCore;
use rand::seq::SliceRandom;

use super::Condition;
use crate::error::{ConditionError, DataError, Error, Result, check};
use crate::numeric::rng::Streams;

/// How much of the rows to set aside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HeldOut {
    /// This share, rounded up to whole rows: more than 0, less than 1.
    Share(f64),
    /// This number of rows.
    Rows(usize),
}

/// An element of a row.
pub trait Row: Copy + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// Checks that a model can learn from all elements of x, (n, dim).
    ///
    /// # Errors
    /// [`DataError::NonFinite`] with the place of the first number that is not finite, [`DataError::AfterEnd`] with
    /// that of the first token after a row's [`END`](super::Token::END).
    fn check(what: &'static str, x: ArrayView2<Self>) -> Result<()>;

    /// The element's bytes, which identify it.
    fn bytes(self) -> [u8; 4];
}

impl Row for f32 {
    fn check(what: &'static str, x: ArrayView2<f32>) -> Result<()> {
        check_finite(what, x)
    }

    fn bytes(self) -> [u8; 4] {
        self.to_le_bytes()
    }
}

/// Rows to learn from, checked when the dataset is made: at least one row and one column, all values finite. Each
/// row may have a [`Condition`].
///
/// ```
/// use quadrivium::{Condition, Dataset, engine::Token, ndarray::array};
/// let labeled = Dataset::new(array![[0.0, 1.0], [2.0, 3.0]])?.with_condition(Condition::Class(array![0, 1]))?;
/// assert_eq!(labeled.condition(), Some(&Condition::Class(array![0, 1])));
/// let text = Dataset::new(array![[Token(7), Token(2), Token(7)]])?;
/// assert_eq!((text.rows(), text.dim()), (1, 3));
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset<T = f32> {
    x: Array2<T>,
    condition: Option<Condition>,
    /// Rows to validate on, if they are chosen beforehand.
    validation: Option<Box<Dataset<T>>>,
}

impl<T: Row> Dataset<T> {
    /// Takes the rows of `x`, shape (n, dim).
    ///
    /// # Errors
    /// [`DataError::TooFewRows`] for no rows, [`DataError::Shape`] for no columns, [`DataError::NonFinite`] with the
    /// place of the first NaN or infinity, [`DataError::AfterEnd`] with that of the first token after a row's
    /// [`END`](super::Token::END).
    ///
    /// ```
    /// use quadrivium::{Dataset, ndarray::array};
    /// assert_eq!(Dataset::new(array![[0.0, 1.0], [2.0, 3.0]])?.rows(), 2);
    /// let error = Dataset::new(array![[0.0, f32::NAN]]).unwrap_err();
    /// assert_eq!(error.to_string(), "data, row 0, column 1: NaN is not a finite number");
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn new(x: Array2<T>) -> Result<Self> {
        if x.nrows() == 0 {
            return Err(Error::Data(DataError::TooFewRows { what: "data", got: 0, least: 1 }));
        }
        if x.ncols() == 0 {
            return Err(Error::Data(DataError::Shape {
                what: "data",
                got: x.shape().to_vec(),
                expected: "at least one column".into(),
            }));
        }
        T::check("data", x.view())?;
        // Row-major from here on, because minibatches copy rows.
        let x = if x.is_standard_layout() { x } else { x.as_standard_layout().into_owned() };
        Ok(Dataset { x, condition: None, validation: None })
    }

    /// The same rows, each with its condition.
    ///
    /// # Errors
    /// [`Error::Condition`] unless there is one condition per row, [`DataError::NonFinite`] for a NaN or an infinity
    /// in it.
    pub fn with_condition(mut self, condition: Condition) -> Result<Self> {
        let (got, expected) = (condition.rows(), self.rows());
        if got != expected {
            return Err(ConditionError::Rows { got, expected }.into());
        }
        if let Condition::Vector(numbers) = &condition {
            check_finite("condition", numbers.view())?;
        }
        self.condition = Some(condition);
        Ok(self)
    }

    /// The condition of each row, if they have one.
    pub fn condition(&self) -> Option<&Condition> {
        self.condition.as_ref()
    }

    /// The same rows to learn from, and these to validate on: a training then holds out no others, whatever
    /// [`TrainOptions::validation`](super::TrainOptions::validation) says. Parts of this dataset have no rows to validate on.
    ///
    /// # Errors
    /// [`DataError::Shape`] for another number of columns.
    ///
    /// ```
    /// use quadrivium::{engine, ndarray::array, seeded, Dataset, TrainOptions};
    /// let data = Dataset::new(array![[0.0], [1.0], [2.0]])?.with_validation(Dataset::new(array![[5.0]])?)?;
    /// let (learned, held_out, _) = engine::split(&data, &TrainOptions::default(), &mut seeded(0))?;
    /// assert_eq!((learned.0, held_out.0), (array![[0.0], [1.0], [2.0]], array![[5.0]]));
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn with_validation(mut self, validation: Dataset<T>) -> Result<Self> {
        if validation.dim() != self.dim() {
            return Err(Error::Data(DataError::Shape {
                what: "rows to validate on",
                got: validation.x.shape().to_vec(),
                expected: format!("(n, {})", self.dim()),
            }));
        }
        self.validation = Some(Box::new(validation));
        Ok(self)
    }

    /// The rows to validate on, if they were chosen.
    pub fn validation(&self) -> Option<&Dataset<T>> {
        self.validation.as_deref()
    }

    /// The rows with these indices, in the given order, with their conditions.
    pub(crate) fn select(&self, rows: &[usize]) -> (Array2<T>, Option<Condition>) {
        (self.x.select(Axis(0), rows), self.condition.as_ref().map(|condition| condition.select(rows)))
    }

    fn part(&self, rows: &[usize]) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::Data(DataError::TooFewRows { what: "a part of the split", got: 0, least: 1 }));
        }
        let (x, condition) = self.select(rows);
        Ok(Dataset { x, condition, validation: None })
    }

    /// Splits into the first `n` rows and the rest. For rows that are not in random order use
    /// [`hold_out`](Dataset::hold_out).
    ///
    /// # Errors
    /// [`DataError::TooFewRows`] if either part would be empty.
    pub fn split(&self, n: usize) -> Result<(Self, Self)> {
        let order: Vec<usize> = (0..self.rows()).collect();
        let (head, tail) = order.split_at(n.min(order.len()));
        Ok((self.part(head)?, self.part(tail)?))
    }

    /// Splits at random into rows to learn from and rows held out to measure on.
    ///
    /// # Errors
    /// [`Error::Config`] for a share out of range, [`DataError::TooFewRows`] if either part would be empty.
    ///
    /// ```
    /// use quadrivium::{Dataset, HeldOut, ndarray::Array2};
    ///
    /// let data = Dataset::new(Array2::from_shape_fn((10, 1), |(i, _)| i as f32))?;
    /// let (train, test) = data.hold_out(HeldOut::Share(0.25), &mut quadrivium::seeded(0))?;
    /// assert_eq!((train.rows(), test.rows()), (7, 3));
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn hold_out(&self, part: HeldOut, rng: &mut dyn RngCore) -> Result<(Self, Self)> {
        let rows = match part {
            HeldOut::Rows(rows) => rows,
            HeldOut::Share(share) => {
                check(share > 0.0 && share < 1.0, "HeldOut::Share", share, "more than 0, less than 1")?;
                (share * self.rows() as f64).ceil() as usize
            }
        };
        if rows == 0 || rows >= self.rows() {
            return Err(Error::Data(DataError::TooFewRows { what: "a part of the split", got: 0, least: 1 }));
        }
        let mut order: Vec<usize> = (0..self.rows()).collect();
        order.shuffle(&mut Streams::from_rng(rng).stream(0));
        Ok((self.part(&order[rows..])?, self.part(&order[..rows])?))
    }
}

impl<T> Dataset<T> {
    /// The rows, shape (n, dim).
    pub fn x(&self) -> ArrayView2<'_, T> {
        self.x.view()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.x.nrows()
    }

    /// Number of columns.
    pub fn dim(&self) -> usize {
        self.x.ncols()
    }
}

/// Returns `DataError::NonFinite` with the place of the first NaN or infinity.
pub(crate) fn check_finite(what: &'static str, x: ArrayView2<f32>) -> Result<()> {
    match x.indexed_iter().find(|(_, v)| !v.is_finite()) {
        None => Ok(()),
        Some(((row, column), &value)) => {
            Err(Error::Data(DataError::NonFinite { what, row, column, value: value.into() }))
        }
    }
}

/// Returns `DataError::Shape` unless `x` has `dim` columns, `DataError::NonFinite` unless its values are finite.
pub(crate) fn check_rows(what: &'static str, x: ArrayView2<f32>, dim: usize) -> Result<()> {
    if x.ncols() != dim {
        return Err(Error::Data(DataError::Shape {
            what,
            got: x.shape().to_vec(),
            expected: format!("(n, {dim})"),
        }));
    }
    check_finite(what, x)
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
        let data = Dataset::<f32>::new(Array2::zeros((3, 1))).unwrap();
        for part in [HeldOut::Rows(0), HeldOut::Rows(3), HeldOut::Share(0.9)] {
            assert!(
                matches!(data.hold_out(part, &mut seeded(0)), Err(Error::Data(DataError::TooFewRows { .. }))),
                "{part:?}"
            );
        }
        for share in [0.0, 1.0, -0.5, f64::NAN] {
            let refused = data.hold_out(HeldOut::Share(share), &mut seeded(0));
            assert!(matches!(refused, Err(Error::Config { field: "HeldOut::Share", .. })), "{share}");
        }
    }
}

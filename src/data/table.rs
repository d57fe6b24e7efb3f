//! A table in memory, and what its columns hold.

use std::io::{BufReader, Read};

use ndarray::{Array2, ArrayView1, Axis};
use rand::RngCore;

use super::csv::Header;
use super::dequantise;
use super::reader::{TableReader, find_columns};
use super::units::Units;
use crate::error::Result;

/// Named columns of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The header, in the order of the columns; no name twice.
    pub names: Vec<String>,
    /// The values, shape (rows, names).
    pub x: Array2<f32>,
    /// What the values of each column stand for: identity for nearly all.
    pub units: Vec<Units>,
    /// For each column, how many whole numbers beyond 16,777,216 were rounded when they were read: f32 does not
    /// hold each of those, and different ones may have become the same. A constant, subtracted first, helps.
    pub rounded: Vec<usize>,
}

/// What the values of a column are like, where that matters to a density.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Numbers with fractions, or so large (2²³ and more) that f32 has none.
    Continuous,
    /// Whole numbers only, more than one. They have no density: a flexible model puts a spike of any height
    /// on each, and its log-likelihood has no upper bound. [`Table::dequantise`] spreads them.
    Whole,
    /// One value in all rows: nothing to learn, and refused by every training. [`Table::drop_constant`].
    Constant,
}

impl ColumnKind {
    /// What `values` are; no values are constant.
    pub fn of(values: ArrayView1<f32>) -> Self {
        // From 2²³ on f32 has no fractions: such values say nothing of the others.
        const WHOLE_ANYWAY: f32 = 8_388_608.0;
        if values.iter().all(|v| *v == values[0]) {
            return ColumnKind::Constant;
        }
        let whole = values.iter().all(|v| v.fract() == 0.0);
        let resolved = values.iter().any(|v| v.abs() < WHOLE_ANYWAY && *v != 0.0);
        if whole && resolved { ColumnKind::Whole } else { ColumnKind::Continuous }
    }
}

impl Table {
    /// Reads a table of finite numbers, text or NPY, whole: a [`TableReader`] reads one in blocks, or a
    /// selection of its columns.
    ///
    /// # Errors
    /// As [`TableReader::new`] and [`TableReader::block`]; [`Error::TooFewRows`] for a header alone.
    ///
    /// [`Error::TooFewRows`]: crate::Error::TooFewRows
    ///
    /// ```
    /// use quadrivium::data::Table;
    ///
    /// let table = Table::from_reader("eruptions,waiting\n3.6,79\n1.8,54\n".as_bytes())?;
    /// assert_eq!(table.names, ["eruptions", "waiting"]);
    /// assert_eq!(table.x[[1, 0]], 1.8);
    /// let error = Table::from_reader("a,b\n1,2\n3,?\n".as_bytes()).unwrap_err();
    /// assert_eq!(error.to_string(), r#"line 3, column 2 (b): "?" in row 2 is a missing value: fill it in, or leave out the row or the column"#);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn from_reader(reader: impl Read) -> Result<Self> {
        TableReader::new(BufReader::new(reader), Header::Detect)?.table(usize::MAX)
    }

    /// The value in a row and a column, both from 0, in the units of the data.
    ///
    /// # Panics
    /// If there is no such row or column.
    pub fn value(&self, row: usize, column: usize) -> f64 {
        self.units[column].restore(self.x[[row, column]])
    }

    /// These columns, in this order: each a name, or else a number from 1.
    ///
    /// # Errors
    /// [`Error::NoColumn`](crate::Error::NoColumn) with the names that there are,
    /// [`Error::Config`](crate::Error::Config) for a column twice or for none.
    pub fn select(&self, columns: &[impl AsRef<str>]) -> Result<Table> {
        Ok(self.take(&find_columns(&self.names, columns)?))
    }

    fn take(&self, columns: &[usize]) -> Table {
        let names = columns.iter().map(|&column| self.names[column].clone()).collect();
        let rounded = columns.iter().map(|&column| self.rounded[column]).collect();
        let units = columns.iter().map(|&column| self.units[column]).collect();
        Table { names, x: self.x.select(Axis(1), columns), units, rounded }
    }

    /// What each column holds.
    ///
    /// ```
    /// use quadrivium::data::{ColumnKind, Table};
    ///
    /// let mut table = Table::from_reader("cm,children,planet\n170.2,2,3\n181,0,3\n".as_bytes())?;
    /// assert_eq!(table.kinds(), [ColumnKind::Continuous, ColumnKind::Whole, ColumnKind::Constant]);
    /// assert_eq!(table.drop_constant(), ["planet"]);
    /// let spread = table.dequantise(&mut quadrivium::seeded(0))?;
    /// assert_eq!(spread.x.column(0), table.x.column(0));
    /// assert_eq!(spread.x.column(1).mapv(f32::round), table.x.column(1));
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn kinds(&self) -> Vec<ColumnKind> {
        self.x.columns().into_iter().map(ColumnKind::of).collect()
    }

    /// Drops the columns of one value, and says which they were.
    pub fn drop_constant(&mut self) -> Vec<String> {
        let kinds = self.kinds();
        let constant = |&column: &usize| kinds[column] == ColumnKind::Constant;
        let (dropped, kept): (Vec<usize>, Vec<usize>) = (0..kinds.len()).partition(constant);
        let names = dropped.iter().map(|&column| self.names[column].clone()).collect();
        *self = self.take(&kept);
        names
    }

    /// The widths that [`dequantise`] spreads the columns over: 1 where all values are whole and as they were
    /// read, else 0. Rounding has moved the others further than ½.
    pub fn widths(&self) -> Vec<f64> {
        let width = |(kind, &rounded)| if kind == ColumnKind::Whole && rounded == 0 { 1.0 } else { 0.0 };
        self.kinds().into_iter().zip(&self.rounded).map(width).collect()
    }

    /// Spreads the columns of whole numbers by uniform noise, k over k − ½ to k + ½, so that they have a
    /// density. A model's mean log-density of spread rows is then at most its mean log-probability of the
    /// whole ones (Theis et al. 2016, §3.1; [`dequantise`]), and a draw rounds to a whole number.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite).
    pub fn dequantise(&self, rng: &mut dyn RngCore) -> Result<Table> {
        let x = dequantise(self.x.view(), &self.widths(), rng)?;
        Ok(Table { x, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::error::Error;

    #[test]
    fn columns_are_told_apart() {
        for (values, kind) in [
            (array![1.0, 2.0, -3.0], ColumnKind::Whole),
            (array![0.0, 1.0, 0.0], ColumnKind::Whole),
            (array![0.0, -1.0, 3e9], ColumnKind::Whole),
            (array![1.0, 2.0, 2.5], ColumnKind::Continuous),
            (array![1e9, 2e9, 3e9], ColumnKind::Continuous),
            (array![2.5, 2.5, 2.5], ColumnKind::Constant),
            (array![0.0, -0.0, 0.0], ColumnKind::Constant),
            (array![4.0], ColumnKind::Constant),
            (array![], ColumnKind::Constant),
        ] {
            assert_eq!(ColumnKind::of(values.view()), kind, "{values}");
        }
    }

    #[test]
    fn whole_numbers_that_f32_rounds_are_counted() {
        let text = "t,id,exact,size\n1700000001,5,16777216,1e8\n1700000002.0,16777217,16777218,123456789.5\n\
                    1700000032,7,1700000000,2.5\n";
        let table = Table::from_reader(text.as_bytes()).unwrap();
        // 1,700,000,032 is no multiple of 128; 16,777,218 and 1,700,000,000 are f32s.
        assert_eq!(table.rounded, [3, 1, 0, 0]);
        // Noise of ±½ is less than what rounding did to ids.
        assert_eq!(table.kinds()[1], ColumnKind::Whole);
        assert_eq!(table.widths(), [0.0; 4]);
        let part = table.select(&["exact", "id"]).unwrap();
        assert_eq!(part.rounded, [0, 1]);
        assert_eq!(part.dequantise(&mut crate::seeded(0)).unwrap(), part);
        let mut reader =
            TableReader::new(text.as_bytes(), Header::Detect).unwrap().select(&["id", "t"]).unwrap();
        reader.block(1).unwrap();
        assert_eq!(reader.rounded(), [0, 1]);
        reader.block(9).unwrap();
        assert_eq!(reader.rounded(), [1, 3]);
    }

    #[test]
    fn columns_are_selected_by_name_or_number() {
        let table = Table::from_reader("a,b,\"3\"\n1,2,3\n4,5,6\n".as_bytes()).unwrap();
        let part = table.select(&["3", "1"]).unwrap();
        assert_eq!((part.names, part.x), (vec!["3".into(), "a".into()], array![[3.0, 1.0], [6.0, 4.0]]));
        let error = table.select(&["a", "d"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"no column "d": expected one of ["a", "b", "3"], or a number from 1 to 3"#
        );
        for none in ["0", "4", "-1", ""] {
            assert!(matches!(table.select(&[none]), Err(Error::NoColumn { .. })), "{none}");
        }
        assert!(matches!(table.select(&["a", "1"]), Err(Error::Config { .. })));
        assert!(matches!(table.select(&[""; 0]), Err(Error::Config { .. })));
    }

    #[test]
    fn all_columns_can_be_constant() {
        let mut table = Table::from_reader("a,b\n1,2\n1,2\n".as_bytes()).unwrap();
        assert_eq!(table.drop_constant(), ["a", "b"]);
        assert_eq!(table.x.dim(), (2, 0));
    }
}

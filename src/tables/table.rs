//! A table in memory, and what its columns hold.

use std::collections::HashSet;
use std::io::{BufReader, Read};

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rand::RngCore;

use super::cells::MISSING;
use super::csv::Header;
use super::dequantize;
use super::diagnose::Runs;
use super::reader::TableReader;
use super::selection::find_columns;
use super::step::Step;
use super::units::Units;
use crate::error::{DataError, Error, Result};

/// Named columns of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The names of the columns, in their order; all are different.
    pub names: Vec<String>,
    /// The values, shape (rows, names), in the `units` of their columns.
    pub x: Array2<f32>,
    /// The units of each column of `x`: [`Units`]. Nearly always the numbers are the values themselves.
    pub units: Vec<Units>,
    /// For each column, how many whole numbers were changed by rounding to f32: different ones may have become equal.
    pub rounded: Vec<usize>,
}

/// The kind of values in a column, as far as it matters to a density.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Numbers with fractions, or so large (2²³ and more) that f32 has none.
    Continuous,
    /// Only whole numbers, with more than one value. They have no density: a flexible model can put a spike of any
    /// height on each, and its log-likelihood has no upper bound. [`Table::dequantize`] spreads them, like numbers
    /// rounded to any other [`Step`].
    Whole,
    /// One value in all rows. There is nothing to learn, and training refuses the column: [`Table::drop_constant`].
    Constant,
}

impl ColumnKind {
    /// The kind of `values`; an empty column counts as constant.
    pub fn of(values: ArrayView1<f32>) -> Self {
        // From 2²³ on, f32 has no fractions, so such values say nothing about the others.
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
    /// Reads a whole table of finite numbers, as text or NPY. A [`TableReader`] reads a table in blocks, or a
    /// selection of its columns.
    ///
    /// # Errors
    /// As [`TableReader::new`] and [`TableReader::block`]; [`DataError::TooFewRows`] for a header without rows.
    ///
    /// [`DataError::TooFewRows`]: crate::error::DataError::TooFewRows
    ///
    /// ```
    /// use quadrivium::tables::Table;
    ///
    /// let table = Table::from_reader("eruptions,waiting\n3.6,79\n1.8,54\n".as_bytes())?;
    /// assert_eq!(table.names, ["eruptions", "waiting"]);
    /// assert_eq!(table.x[[1, 0]], 1.8);
    /// let error = Table::from_reader("a,b\n1,2\n3,?\n".as_bytes()).unwrap_err();
    /// assert!(error.to_string().starts_with(r#"line 3, column 2 (b): "?" in row 2 is a missing value"#));
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn from_reader(reader: impl Read) -> Result<Self> {
        TableReader::new(BufReader::new(reader), Header::Detect)?.table(usize::MAX)
    }

    /// A table of values that are in memory: (rows, names). NaN is a missing value, and becomes [`MISSING`].
    ///
    /// # Errors
    /// [`DataError::Shape`] unless there is a name for each column; [`DataError::TooFewRows`] without rows;
    /// [`DataError::NonFinite`] for an infinity; [`Error::Config`](crate::Error::Config) for two columns of one name.
    ///
    /// ```
    /// use quadrivium::{ndarray::array, tables::{MISSING, Table}};
    ///
    /// let names = vec!["seconds".into(), "orders".into()];
    /// let table = Table::of(names, array![[1_700_000_000.25, 3.0], [1_700_000_000.5, f64::NAN]].view())?;
    /// assert_eq!((table.value(0, 0), table.x[[1, 1]]), (1_700_000_000.25, MISSING));
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn of(names: Vec<String>, values: ArrayView2<f64>) -> Result<Self> {
        let (rows, dim) = values.dim();
        if names.len() != dim || dim == 0 {
            let expected = format!("a name for each column, at least one: {} names", names.len());
            return Err(Error::Data(DataError::Shape { what: "the table", got: vec![rows, dim], expected }));
        }
        if rows == 0 {
            return Err(Error::Data(DataError::TooFewRows { what: "the table", got: 0, least: 1 }));
        }
        let mut seen = HashSet::new();
        if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
            return Err(Error::config("names", name, "a different one for each column"));
        }
        if let Some(((row, column), &value)) = values.indexed_iter().find(|(_, value)| value.is_infinite()) {
            return Err(Error::Data(DataError::NonFinite { what: "the table", row, column, value }));
        }
        let values: Vec<f64> = values.iter().copied().collect();
        let units = Units::fitting(&values, dim);
        let mut rounded = vec![0; dim];
        let number = |(at, &value): (usize, &f64)| {
            let x = units[at % dim].of(value);
            rounded[at % dim] += usize::from(units[at % dim].round(value, x));
            if value.is_nan() { MISSING } else { x }
        };
        let x: Vec<f32> = values.iter().enumerate().map(number).collect();
        Ok(Table {
            names,
            x: Array2::from_shape_vec((rows, dim), x).expect("as many as there are values"),
            units,
            rounded,
        })
    }

    /// The value in a row and a column, both from 0, in the units of the data.
    ///
    /// # Panics
    /// If there is no such row or column.
    pub fn value(&self, row: usize, column: usize) -> f64 {
        self.units[column].written(self.x[[row, column]])
    }

    /// The table of these columns, in this order: each entry is a name, or otherwise a number from 1.
    ///
    /// # Errors
    /// [`TableError::NoColumn`](crate::error::TableError::NoColumn) with the existing names,
    /// [`Error::Config`](crate::Error::Config) for a repeated column or none at all.
    pub fn select(&self, columns: &[impl AsRef<str>]) -> Result<Table> {
        Ok(self.take(&find_columns(&self.names, columns)?))
    }

    fn take(&self, columns: &[usize]) -> Table {
        let names = columns.iter().map(|&column| self.names[column].clone()).collect();
        let rounded = columns.iter().map(|&column| self.rounded[column]).collect();
        let units = columns.iter().map(|&column| self.units[column]).collect();
        Table { names, x: self.x.select(Axis(1), columns), units, rounded }
    }

    /// The kind of each column.
    ///
    /// ```
    /// use quadrivium::tables::{ColumnKind, Table};
    ///
    /// let mut table = Table::from_reader("cm,children,planet\n170.2,2,3\n181,0,3\n".as_bytes())?;
    /// assert_eq!(table.kinds(), [ColumnKind::Continuous, ColumnKind::Whole, ColumnKind::Constant]);
    /// assert_eq!(table.drop_constant(), ["planet"]);
    /// let spread = table.dequantize(&mut quadrivium::seeded(0))?;
    /// assert_eq!(spread.x.column(0), table.x.column(0));
    /// assert_eq!(spread.x.column(1).mapv(f32::round), table.x.column(1));
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn kinds(&self) -> Vec<ColumnKind> {
        self.x.columns().into_iter().map(ColumnKind::of).collect()
    }

    /// Drops the columns that hold only one value, and returns their names.
    pub fn drop_constant(&mut self) -> Vec<String> {
        let kinds = self.kinds();
        let constant = |&column: &usize| kinds[column] == ColumnKind::Constant;
        let (dropped, kept): (Vec<usize>, Vec<usize>) = (0..kinds.len()).partition(constant);
        let names = dropped.iter().map(|&column| self.names[column].clone()).collect();
        *self = self.take(&kept);
        names
    }

    /// The grid, of any width, to which the values of each column were rounded. It is found if all values are whole
    /// and unchanged by f32, or otherwise if values recur, which values from a density do not.
    ///
    /// ```
    /// let rows: String = (0..60).map(|i| format!("{:.1},{},{}\n", f64::from(i).sin(), i % 7,
    /// f64::from(i).cos())).collect(); let table = quadrivium::tables::Table::from_reader(rows.as_bytes())?;
    /// let widths: Vec<f64> = table.steps().iter().map(|step| step.map_or(0.0, |step| step.width)).collect();
    /// assert_eq!(widths, [0.1, 1.0, 0.0]);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn steps(&self) -> Vec<Option<Step>> {
        let kinds = self.kinds();
        let of = |column| match kinds[column] {
            ColumnKind::Constant => None,
            _ => Runs::of(self, column).grid(self, column).0,
        };
        (0..kinds.len()).map(of).collect()
    }

    /// Spreads the columns with a [step](Table::steps) by uniform noise, over half a step to either side, so that
    /// they have a density. A model's mean log-density of spread rows, plus the logarithms of the widths, is then at
    /// most its mean log-probability of the rounded rows (Theis et al. 2016, §3.1; [`dequantize`]). [`Step::nearest`]
    /// rounds draws to the grid.
    ///
    /// # Errors
    /// [`DataError::NonFinite`].
    pub fn dequantize(&self, rng: &mut dyn RngCore) -> Result<Table> {
        let width = |(step, units): (Option<Step>, &Units)| step.map_or(0.0, |step| step.width / units.scale);
        let widths: Vec<f64> = self.steps().into_iter().zip(&self.units).map(width).collect();
        let x = dequantize(self.x.view(), &widths, rng)?;
        Ok(Table { x, ..self.clone() })
    }

    /// Turns rows in the columns' units, (n, columns), into values in the units of the data, in f64.
    ///
    /// # Errors
    /// [`DataError::Shape`] for another number of columns.
    pub fn restore(&self, x: ArrayView2<f32>) -> Result<Array2<f64>> {
        if x.ncols() != self.units.len() {
            let expected = format!("{} columns", self.units.len());
            return Err(Error::Data(DataError::Shape {
                what: "rows to restore",
                got: x.shape().to_vec(),
                expected,
            }));
        }
        Ok(Array2::from_shape_fn(x.dim(), |(row, column)| self.units[column].restore(x[[row, column]])))
    }

    /// Σ ln scale of the columns' [`Units`]. Subtract it from a log-density of rows of `x` to get the log-density in
    /// the units of the data. It is 0 unless a column is beyond the range of f32.
    pub fn log_scale(&self) -> f64 {
        self.units.iter().map(|units| units.scale.ln()).sum()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::error::TableError;

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
    fn values_in_memory_are_those_of_a_file() {
        let text = "t,size\n1700000001,1e200\n1700000002.5,-3e200\n1700000032,2.5\n";
        let read = Table::from_reader(text.as_bytes()).unwrap();
        let values = array![[1700000001.0, 1e200], [1700000002.5, -3e200], [1700000032.0, 2.5]];
        assert_eq!(Table::of(read.names.clone(), values.view()).unwrap(), read);
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        for (names, values) in [
            (names(&["a"]), array![[1.0, 2.0]]),
            (names(&["a", "a"]), array![[1.0, 2.0]]),
            (names(&["a", "b"]), array![[1.0, f64::INFINITY]]),
            (names(&["a"]), Array2::zeros((0, 1))),
            (names(&[]), Array2::zeros((1, 0))),
        ] {
            assert!(Table::of(names, values.view()).is_err(), "{values}");
        }
    }

    #[test]
    fn whole_numbers_that_are_others_in_f32_are_counted() {
        let text = "t,id,exact,size\n1700000001,5,16777216,1e8\n1700000002.0,16777217,16777218,123456789.5\n\
                    1700000032,7,1700000000,2.5\n";
        let table = Table::from_reader(text.as_bytes()).unwrap();
        // Times are relative to one of them: nothing is lost.
        assert_eq!(table.rounded, [0, 1, 0, 0]);
        assert!(
            (0..3).all(|row| table.value(row, 0) == [1_700_000_001.0, 1_700_000_002.0, 1_700_000_032.0][row])
        );
        // Noise of ±½ is less than what rounding did to ids.
        let widths: Vec<f64> = table.steps().iter().map(|step| step.map_or(0.0, |step| step.width)).collect();
        assert_eq!((table.kinds()[1], widths), (ColumnKind::Whole, vec![1.0, 0.0, 0.0, 0.0]));
        let part = table.select(&["exact", "id"]).unwrap();
        assert_eq!((part.rounded.as_slice(), part.units[0]), (&[0, 1][..], table.units[2]));
        assert_eq!(part.dequantize(&mut crate::seeded(0)).unwrap(), part);
        // A block has the values themselves, unless told otherwise.
        let reader =
            || TableReader::new(text.as_bytes(), Header::Detect).unwrap().select(&["id", "t"]).unwrap();
        let mut plain = reader();
        plain.block(1).unwrap();
        assert_eq!(plain.rounded(), [0, 1]);
        plain.block(9).unwrap();
        assert_eq!(plain.rounded(), [1, 3]);
        let mut inside = reader().in_units(&[table.units[1], table.units[0]]).unwrap();
        assert_eq!(inside.block(9).unwrap().column(1), table.x.column(0));
        assert_eq!(inside.rounded(), [1, 0]);
        assert!(matches!(reader().in_units(&table.units), Err(Error::Data(DataError::Shape { .. }))));
    }

    /// Columns whose spread f32 does not hold come back as they stand in the file.
    #[test]
    fn what_f32_would_lose_comes_back() {
        let rows = (0..300).map(|i| {
            let (a, b) = (f64::from(i).sin(), f64::from(i * i).cos());
            (1.7e9 + 40.0 * a, 47.3769 + 2e-4 * b, 1e-43 + 1e-44 * a, 1e200 * b)
        });
        let text: String =
            rows.clone().map(|(t, lat, m, big)| format!("{t:.3},{lat:.8},{m:e},{big:e}\n")).collect();
        let table = Table::from_reader(text.as_bytes()).unwrap();
        let back = table.restore(table.x.view()).unwrap();
        for (i, (t, lat, m, big)) in rows.enumerate() {
            let off = [back[[i, 0]] - t, back[[i, 1]] - lat, back[[i, 2]] - m, back[[i, 3]] - big];
            let felt = [6e-4, 6e-9, 1e-50, 1e194];
            assert!(off.iter().zip(felt).all(|(off, felt)| off.abs() <= felt), "row {i}: {off:?}");
        }
        // Spread 10⁴⁴ and 10⁻²⁰⁰ times as wide in the table's numbers.
        assert!((table.log_scale() / std::f64::consts::LN_10 - 156.0).abs() < 1.5, "{}", table.log_scale());
        assert!(table.restore(array![[1.0]].view()).is_err());
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
            assert!(
                matches!(table.select(&[none]), Err(Error::Table(TableError::NoColumn { .. }))),
                "{none}"
            );
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

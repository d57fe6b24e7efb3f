//! Rows of a file, block by block.

use std::collections::HashSet;
use std::fs::File;
#[cfg(feature = "arrow")]
use std::io::Seek as _;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use ndarray::Array2;

use super::cells::{Cells, MISSING, Parsing};
use super::csv::{Guess, TextOptions, TextRows};
use super::npy::{self, NpyRows};
#[cfg(feature = "cli")]
use super::npz::Entry;
#[cfg(feature = "arrow")]
use super::parquet::ParquetRows;
use super::selection::{Selection, find_columns, numbered};
use super::table::Table;
use super::units::Units;
use crate::error::{DataError, Error, FileError, Result, TableError};

/// Reads a table of numbers block by block, in the memory of one block. The format is text, NPY, or (with the feature
/// `cli`) an NPZ archive of one array, or (with the feature `arrow`) Parquet, and is recognized by the first bytes.
///
/// Text is a table as defined in RFC 4180, in UTF-8 or in UTF-16 with a byte order mark, with or without a header;
/// its cells are separated by commas, tabs, semicolons, bars or spaces: [`TextOptions`].
///
/// ```
/// use quadrivium::tables::{Header, TableReader};
///
/// let text = "species,length,width\nsetosa,5.1,3.5\nvirginica,6.3,3.3\nsetosa,4.9,3\n";
/// let mut reader = TableReader::new(text.as_bytes(), Header::Detect)?.select(&["width", "2"])?;
/// assert_eq!(reader.names(), ["width", "length"]);
/// assert_eq!(reader.block(2)?, quadrivium::ndarray::array![[3.5, 5.1], [3.3, 6.3]]);
/// assert_eq!(reader.block(2)?.nrows(), 1);
/// assert_eq!(reader.block(2)?.nrows(), 0);
/// # Ok::<(), quadrivium::Error>(())
/// ```
///
/// An NPY file in Fortran order cannot be read row by row: the first block reads all of it into memory.
pub struct TableReader<R> {
    rows: Rows<R>,
    selection: Selection,
    named: bool,
    guesses: Vec<Guess>,
    /// The units of the selected columns.
    units: Vec<Units>,
    /// How their cells are read; as numbers, if it is empty.
    parsing: Vec<Parsing>,
    /// Rows handed out.
    read: usize,
    /// For each selected column: the number of whole numbers that f32 cannot represent.
    rounded: Vec<usize>,
}

/// A reader whose first bytes have been examined.
type Begun<R> = io::Chain<Cursor<Vec<u8>>, R>;

enum Rows<R> {
    Text(Box<TextRows<Begun<R>>>),
    Npy(NpyRows<Begun<R>>),
    #[cfg(feature = "cli")]
    Npz(NpyRows<Entry<Begun<R>>>),
    #[cfg(feature = "arrow")]
    Parquet(Box<ParquetRows>),
}

/// Numbers as stored in a file.
pub(super) enum Values {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Single(values) => values.len(),
            Values::Double(values) => values.len(),
        }
    }

    /// Both have the same type, because a file has only one.
    fn append(&mut self, more: Values) {
        match (self, more) {
            (Values::Single(values), Values::Single(more)) => values.extend(more),
            (Values::Double(values), Values::Double(more)) => values.extend(more),
            _ => unreachable!("numbers of two types in one file"),
        }
    }
}

/// What the message expects instead of a number that is too large.
const WITHIN: &str = "a number within ±3.4e38, the range of f32";

impl<R: BufRead> TableReader<R> {
    /// Reads enough of the file to know its columns, and selects all of them. The options are for text.
    ///
    /// # Errors
    /// [`DataError::TooFewRows`] for an empty text, [`TableError::MixedHeader`] for one whose first line may be a
    /// header or a row, [`Error::Config`] for a separator or comment character that numbers contain,
    /// [`TableError::Npy`] for an NPY file that is not a table of numbers, [`FileError::Io`].
    pub fn new(reader: R, options: impl Into<TextOptions>) -> Result<Self> {
        Self::expecting(reader, options, &[])
    }

    /// The same, if the names of the columns are known: with [`Header::Detect`](super::Header::Detect), a first line
    /// of exactly these names is a header, even if they look like numbers or missing values.
    ///
    /// # Errors
    /// As [`new`](TableReader::new).
    pub fn expecting(mut reader: R, options: impl Into<TextOptions>, names: &[&str]) -> Result<Self> {
        let mut start = Vec::new();
        (&mut reader).take(npy::MAGIC.len() as u64).read_to_end(&mut start).map_err(unreadable)?;
        let begun = Cursor::new(start.clone()).chain(reader);
        let (rows, names, dim, guesses) = if start.starts_with(npy::MAGIC) {
            let rows = NpyRows::new(begun)?;
            let dim = rows.dim();
            (Rows::Npy(rows), None, dim, Vec::new())
        } else if start.starts_with(ARCHIVE) {
            Self::archive(begun)?
        } else if start.starts_with(PARQUET) {
            Self::in_parquet(begun)?
        } else {
            let (rows, head) = TextRows::new(begun, &start, options.into(), names)?;
            (Rows::Text(Box::new(rows)), head.names, head.columns, head.guesses)
        };
        Ok(Self::over((rows, names, dim, guesses)))
    }

    /// A reader of all columns of an opened file.
    fn over((rows, names, dim, guesses): Opened<R>) -> Self {
        let named = names.is_some();
        let selection = Selection::all(names.unwrap_or_else(|| numbered(dim)));
        let (units, rounded) = (vec![Units::default(); dim], vec![0; dim]);
        TableReader { rows, selection, named, guesses, units, parsing: Vec::new(), read: 0, rounded }
    }

    /// Reads a file in Parquet format where it lies, so that only a block is in memory; `None` of a file in another
    /// format, which is left at its start, and of a pipe. [`new`](TableReader::new) takes the whole of such a file into
    /// memory, because its columns stand apart.
    ///
    /// # Errors
    /// [`TableError::Parquet`], [`FileError::Io`].
    #[cfg(feature = "arrow")]
    pub fn parquet(file: &File) -> Result<Option<Self>> {
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Ok(None);
        }
        let (mut start, mut reader) = (Vec::new(), file);
        reader.take(PARQUET.len() as u64).read_to_end(&mut start).map_err(unreadable)?;
        reader.rewind().map_err(unreadable)?;
        if start != PARQUET {
            return Ok(None);
        }
        let (rows, names) = ParquetRows::new(file.try_clone().map_err(unreadable)?)?;
        let dim = rows.dim();
        Ok(Some(Self::over((Rows::Parquet(Box::new(rows)), Some(names), dim, Vec::new()))))
    }

    #[cfg(feature = "arrow")]
    fn in_parquet(mut reader: Begun<R>) -> Result<Opened<R>> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(unreadable)?;
        let (rows, names) = ParquetRows::new(bytes::Bytes::from(bytes))?;
        let dim = rows.dim();
        Ok((Rows::Parquet(Box::new(rows)), Some(names), dim, Vec::new()))
    }

    #[cfg(not(feature = "arrow"))]
    fn in_parquet(_: Begun<R>) -> Result<Opened<R>> {
        Err(Error::Table(TableError::Parquet { what: "it needs a build with the feature `arrow`".into() }))
    }

    #[cfg(feature = "cli")]
    fn archive(reader: Begun<R>) -> Result<Opened<R>> {
        let rows = NpyRows::new(Entry::first(reader)?)?;
        let dim = rows.dim();
        Ok((Rows::Npz(rows), None, dim, Vec::new()))
    }

    #[cfg(not(feature = "cli"))]
    fn archive(_: Begun<R>) -> Result<Opened<R>> {
        Err(Error::Table(TableError::Npy {
            what: "it is an archive: take the .npy file out of it, or enable the feature `cli`".into(),
        }))
    }

    /// From now on reads only these columns, in this order; the other columns may hold anything. Each entry is the
    /// name of one of the present columns, or otherwise its number, from 1.
    ///
    /// # Errors
    /// As [`places`](TableReader::places).
    pub fn select(self, wanted: &[impl AsRef<str>]) -> Result<Self> {
        let places = self.places(wanted)?;
        Ok(self.choose(&places))
    }

    /// The positions of these columns among the present ones, from 0. Each entry is a name, or otherwise a number
    /// from 1.
    ///
    /// # Errors
    /// [`TableError::NoColumn`] with the existing names, [`Error::Config`] for a repeated column or none at all,
    /// [`TableError::Parse`] for a name that several columns have.
    pub fn places(&self, wanted: &[impl AsRef<str>]) -> Result<Vec<usize>> {
        let places = find_columns(&self.names_of_all(), wanted)?;
        for (wanted, &place) in wanted.iter().zip(&places) {
            // A name that several columns have is ambiguous.
            let names = self.selection.names();
            let name = &names[self.selection.columns()[place]];
            let others = self.selection.columns().iter().filter(|&&c| names[c] == *name);
            if let (true, Some(&other)) = (wanted.as_ref() == name, others.clone().nth(1)) {
                return Err(self.twice(other));
            }
        }
        Ok(places)
    }

    /// [`select`](TableReader::select) by [positions](TableReader::places).
    ///
    /// # Panics
    /// If a position is out of range.
    pub fn choose(mut self, places: &[usize]) -> Self {
        let columns: Vec<usize> = places.iter().map(|&place| self.selection.columns()[place]).collect();
        self.rounded = vec![0; columns.len()];
        self.units = vec![Units::default(); columns.len()];
        self.parsing.clear();
        self.selection.choose(columns);
        self
    }

    /// From now on reads the selected columns in these units, those of the table that a model was trained on.
    ///
    /// # Errors
    /// [`DataError::Shape`] unless there is one for each selected column.
    pub fn in_units(mut self, units: &[Units]) -> Result<Self> {
        if units.len() != self.selection.dim() {
            let expected = format!("one for each of {} columns", self.selection.dim());
            return Err(Error::Data(DataError::Shape { what: "units", got: vec![units.len()], expected }));
        }
        self.units = units.to_vec();
        Ok(self)
    }

    /// From now on reads the cells of the selected columns in this way, one for each.
    ///
    /// # Errors
    /// [`DataError::Shape`] unless there is one for each selected column; [`TableError::Npy`] for other than numbers in an
    /// array.
    pub fn read_as(mut self, cells: &[Cells]) -> Result<Self> {
        if cells.len() != self.selection.dim() {
            let expected = format!("one for each of {} columns", self.selection.dim());
            return Err(Error::Data(DataError::Shape { what: "cells", got: vec![cells.len()], expected }));
        }
        let array = match self.rows {
            Rows::Text(_) => false,
            Rows::Npy(_) => true,
            #[cfg(feature = "cli")]
            Rows::Npz(_) => true,
            #[cfg(feature = "arrow")]
            Rows::Parquet(_) => false,
        };
        if array && !cells.iter().all(Cells::are_numbers) {
            let what = "an array holds numbers, and no labels or gaps".into();
            return Err(Error::Table(TableError::Npy { what }));
        }
        self.parsing = cells.iter().map(Parsing::from).collect();
        Ok(self)
    }

    /// The sign before the decimals of a text.
    pub(super) fn point(&self) -> char {
        match &self.rows {
            Rows::Text(rows) => rows.point(),
            _ => '.',
        }
    }

    /// Hands the selected cells of all rows of a text or a Parquet file to `f`: place, text and, if it is one, number.
    pub(super) fn each_cell(&mut self, f: &mut dyn FnMut(usize, &str, Option<f64>)) -> Result<()> {
        self.check_names()?;
        match &mut self.rows {
            Rows::Text(rows) => while rows.look(&self.selection, f)? {},
            #[cfg(feature = "arrow")]
            Rows::Parquet(rows) => while rows.look(&self.selection, f)? {},
            Rows::Npy(_) => {}
            #[cfg(feature = "cli")]
            Rows::Npz(_) => {}
        }
        Ok(())
    }

    fn twice(&self, column: usize) -> Error {
        match &self.rows {
            Rows::Text(rows) => rows.twice(column, &self.selection.names()[column]),
            #[cfg(feature = "arrow")]
            Rows::Parquet(_) => {
                let what = format!("two columns are called {:?}", self.selection.names()[column]);
                Error::Table(TableError::Parquet { what })
            }
            _ => unreachable!("arrays name no columns"),
        }
    }

    /// Checks that the names of the columns that are read are unique.
    fn check_names(&self) -> Result<()> {
        let mut seen = HashSet::new();
        for &column in self.selection.columns() {
            let name = self.selection.names()[column].as_str();
            if let (Rows::Text(rows), true) = (&self.rows, name.contains(char::REPLACEMENT_CHARACTER)) {
                return Err(rows.unreadable_name(column));
            }
            if !seen.insert(name) {
                return Err(self.twice(column));
            }
        }
        Ok(())
    }

    fn names_of_all(&self) -> Vec<String> {
        self.selection.chosen().cloned().collect()
    }

    /// The names of the selected columns.
    pub fn names(&self) -> Vec<&str> {
        self.selection.chosen().map(String::as_str).collect()
    }

    /// Whether the file names its columns; otherwise they are called `x1`, `x2`, ….
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// The decisions about a text that could be read in another way.
    pub fn guesses(&self) -> &[Guess] {
        &self.guesses
    }

    /// Number of rows in the file, if it is known in advance, as for an NPY file.
    pub fn announced_rows(&self) -> Option<u64> {
        match &self.rows {
            Rows::Text(_) => None,
            Rows::Npy(rows) => Some(rows.len()),
            #[cfg(feature = "cli")]
            Rows::Npz(rows) => Some(rows.len()),
            #[cfg(feature = "arrow")]
            Rows::Parquet(rows) => Some(rows.len()),
        }
    }

    /// For each selected column, how many of the whole numbers read so far were changed by rounding:
    /// [`Table::rounded`].
    pub fn rounded(&self) -> &[usize] {
        &self.rounded
    }

    /// The next rows, at most `most`: fewer at the end, and then none. Values are as in the file, or in the
    /// [units](TableReader::in_units) that were requested.
    ///
    /// # Errors
    /// [`TableError::Parse`] for two columns of the same name, for text that is not a finite number, and for rows
    /// with too few or too many values, with line and column; [`TableError::MissingValue`];
    /// [`TableError::NumberStyle`] for decimal commas and thousands separators; [`TableError::MixedColumns`] for a
    /// text with columns of something else; [`TableError::Number`] for a number that is not finite in f32;
    /// [`TableError::Npy`] for a file that ends early or continues after its last row; [`FileError::Io`].
    pub fn block(&mut self, most: usize) -> Result<Array2<f32>> {
        let values = self.values(most)?;
        let x = self.convert(values)?;
        Ok(Array2::from_shape_vec((x.len() / self.selection.dim(), self.selection.dim()), x)
            .expect("whole rows"))
    }

    /// Passes over the next rows, at most `most`; how many these were.
    ///
    /// # Errors
    /// As [`block`](TableReader::block).
    pub fn skip(&mut self, most: usize) -> Result<usize> {
        let mut skipped = 0;
        while skipped < most {
            let rows = self.values(BLOCK.min(most - skipped))?.len() / self.selection.dim();
            if rows == 0 {
                break;
            }
            skipped += rows;
            self.read += rows;
        }
        Ok(skipped)
    }

    /// The values of the next rows, in their own units.
    fn values(&mut self, most: usize) -> Result<Values> {
        if self.read == 0 {
            self.check_names()?;
        }
        match &mut self.rows {
            Rows::Text(rows) => {
                let (mut left, mut values) = (most, Vec::new());
                while left > 0 && rows.next(&self.selection, &self.parsing, &mut values, &mut self.rounded)? {
                    left -= 1;
                }
                Ok(Values::Double(values))
            }
            Rows::Npy(rows) => rows.block(most, &self.selection, &mut self.rounded),
            #[cfg(feature = "cli")]
            Rows::Npz(rows) => rows.block(most, &self.selection, &mut self.rounded),
            #[cfg(feature = "arrow")]
            Rows::Parquet(rows) => rows.block(most, &self.selection, &self.parsing, &mut self.rounded),
        }
    }

    /// Values in the units of their columns.
    fn convert(&mut self, values: Values) -> Result<Vec<f32>> {
        let x = match values {
            Values::Single(values) if self.units.iter().all(Units::is_identity) => values,
            Values::Single(values) => self.in_f32(&values)?,
            Values::Double(values) => self.in_f32(&values)?,
        };
        self.read += x.len() / self.selection.dim();
        Ok(x)
    }

    fn in_f32<T: Copy + Into<f64>>(&mut self, values: &[T]) -> Result<Vec<f32>> {
        let mut x = Vec::with_capacity(values.len());
        for (row, values) in values.chunks_exact(self.units.len()).enumerate() {
            for (place, (units, &value)) in self.units.iter().zip(values).enumerate() {
                let (value, column) = (value.into(), self.selection.columns()[place]);
                if value.is_nan() && matches!(self.parsing.get(place), Some(Parsing::Optional)) {
                    x.push(MISSING);
                    continue;
                }
                let inside = units.of(value);
                if !inside.is_finite() {
                    return Err(Error::Table(TableError::Number {
                        row: (self.read + row + 1) as u64,
                        column: column + 1,
                        name: self.selection.names()[column].clone(),
                        found: value,
                        expected: WITHIN,
                    }));
                }
                self.rounded[place] += usize::from(units.round(value, inside));
                x.push(inside);
            }
        }
        Ok(x)
    }

    /// The rest of the rows, at most `most`, in units that lose nothing that matters: [`Table::units`].
    ///
    /// # Errors
    /// As [`block`](TableReader::block); [`DataError::TooFewRows`] if there are no rows.
    pub fn table(mut self, most: usize) -> Result<Table> {
        let dim = self.selection.dim();
        let mut all = self.values(BLOCK.min(most))?;
        let mut rows = all.len() / dim;
        while rows < most {
            let more = self.values(BLOCK.min(most - rows))?;
            if more.len() == 0 {
                break;
            }
            rows += more.len() / dim;
            all.append(more);
        }
        if rows == 0 {
            return Err(Error::Data(DataError::TooFewRows { what: "the table", got: 0, least: 1 }));
        }
        self.units = match &all {
            Values::Single(values) => Units::fitting(values, dim),
            Values::Double(values) => Units::fitting(values, dim),
        };
        let x = Array2::from_shape_vec((rows, dim), self.convert(all)?).expect("whole rows");
        let names = self.names().into_iter().map(str::to_owned).collect();
        Ok(Table { names, x, units: self.units, rounded: self.rounded })
    }
}

/// Number of rows read at a time when all rows are requested.
const BLOCK: usize = 4096;

/// The first bytes of an archive in ZIP format.
const ARCHIVE: &[u8] = b"PK\x03\x04";

/// The first bytes of a file in Parquet format: its name, and the first byte of any of its parts.
const PARQUET: &[u8] = b"PAR1\x15";

/// Rows, names of columns, their number, and what was guessed.
type Opened<R> = (Rows<R>, Option<Vec<String>>, usize, Vec<Guess>);

pub(super) fn unreadable(source: io::Error) -> Error {
    Error::File(FileError::Io { path: "the reader".into(), source })
}

/// Opens a file of numbers, text, NPY or Parquet; the options are for text.
///
/// # Errors
/// As [`TableReader::new`]; [`FileError::Io`] names the path.
pub fn open_table(
    path: impl AsRef<Path>,
    options: impl Into<TextOptions>,
) -> Result<TableReader<BufReader<File>>> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|source| named(path, source))?;
    #[cfg(feature = "arrow")]
    if let Some(reader) = TableReader::parquet(&file).map_err(|error| at(path, error))? {
        return Ok(reader);
    }
    TableReader::new(BufReader::new(file), options).map_err(|error| at(path, error))
}

/// Reads a file of numbers, text, NPY or Parquet, all its columns and rows.
///
/// # Errors
/// As [`TableReader::new`] and [`TableReader::block`]; [`FileError::Io`] names the path.
pub fn read_table(path: impl AsRef<Path>) -> Result<Table> {
    let path = path.as_ref();
    open_table(path, TextOptions::default())?.table(usize::MAX).map_err(|error| at(path, error))
}

fn named(path: &Path, source: std::io::Error) -> Error {
    Error::File(FileError::Io { path: path.display().to_string(), source })
}

fn at(path: &Path, error: Error) -> Error {
    match error {
        Error::File(FileError::Io { source, .. }) => named(path, source),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Header;

    #[test]
    fn columns_that_are_not_selected_may_hold_anything() {
        let text = "id,a,b\nx,1,\ny,2,NA\n";
        let reader = || TableReader::new(text.as_bytes(), Header::Detect).unwrap();
        assert_eq!(reader().select(&["a"]).unwrap().table(9).unwrap().x, ndarray::array![[1.0], [2.0]]);
        // A second selection refers to the first.
        let twice = reader().select(&["b", "a"]).unwrap().select(&["2"]).unwrap();
        assert_eq!(twice.names(), ["a"]);
        let error = reader().select(&["b", "a"]).unwrap().table(9).unwrap_err();
        assert!(
            matches!(error, Error::Table(TableError::MissingValue { line: Some(2), row: 1, column: 3, .. })),
            "{error}"
        );
    }

    #[test]
    fn as_many_rows_as_asked_for() {
        let text: String = (0..10_000).map(|i| format!("{i}\n")).collect();
        let reader = || TableReader::new(text.as_bytes(), Header::Detect).unwrap();
        assert_eq!(reader().table(5000).unwrap().x.nrows(), 5000);
        assert_eq!(reader().table(usize::MAX).unwrap().x[[9999, 0]], 9999.0);
    }

    #[test]
    fn files_are_named_when_they_cannot_be_read() {
        let error = read_table("no/such/file.csv").unwrap_err();
        assert!(error.to_string().starts_with("no/such/file.csv: "), "{error}");
        let folder = std::env::temp_dir();
        let error = read_table(&folder).unwrap_err();
        assert!(
            matches!(&error, Error::File(FileError::Io { path, .. }) if *path == folder.display().to_string()),
            "{error:?}"
        );
    }
}

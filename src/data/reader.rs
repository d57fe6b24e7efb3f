//! Rows of a file, block by block.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use ndarray::Array2;

use super::csv::{Header, TextRows, unreadable};
use super::npy::{self, NpyRows};
use super::table::Table;
use crate::error::{Error, Result};

/// Reads a table of numbers block by block, in the memory of one block: text (comma-, tab- or
/// semicolon-separated, with or without a header) or NPY, told apart by their first bytes.
///
/// ```
/// use quadrivium::data::{Header, TableReader};
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
/// An NPY file in Fortran order cannot be read row by row: its first block takes it into memory whole.
pub struct TableReader<R> {
    rows: Rows<R>,
    selection: Selection,
    named: bool,
    /// Rows handed out.
    read: usize,
    /// Of each selected column: whole numbers that f32 does not hold.
    rounded: Vec<usize>,
}

enum Rows<R> {
    Text(TextRows<R>),
    Npy(NpyRows<R>),
}

/// Which columns of a file are read, and where they go.
pub(super) struct Selection {
    /// All columns of the file.
    names: Vec<String>,
    /// For each of them its place in a row that is read.
    places: Vec<Option<usize>>,
    /// The columns that are read, in their order.
    columns: Vec<usize>,
}

impl Selection {
    fn all(names: Vec<String>) -> Self {
        let columns: Vec<usize> = (0..names.len()).collect();
        Selection { places: columns.iter().map(|&c| Some(c)).collect(), columns, names }
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn place(&self, column: usize) -> Option<usize> {
        self.places[column]
    }

    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    pub fn dim(&self) -> usize {
        self.columns.len()
    }
}

/// The columns of these names, or of these numbers from 1.
pub(super) fn find_columns(names: &[String], wanted: &[impl AsRef<str>]) -> Result<Vec<usize>> {
    let mut columns = Vec::with_capacity(wanted.len());
    for name in wanted.iter().map(AsRef::as_ref) {
        let by_name = || names.iter().position(|n| n == name);
        let by_number = || name.parse::<usize>().ok()?.checked_sub(1).filter(|&c| c < names.len());
        let Some(column) = by_name().or_else(by_number) else {
            return Err(Error::NoColumn { name: name.to_owned(), names: names.to_vec() });
        };
        if columns.contains(&column) {
            return Err(Error::config("columns", name, "each column once"));
        }
        columns.push(column);
    }
    if columns.is_empty() {
        return Err(Error::config("columns", columns, "at least one"));
    }
    Ok(columns)
}

/// Names for columns that have none.
pub(super) fn numbered(dim: usize) -> Vec<String> {
    (1..=dim).map(|column| format!("x{column}")).collect()
}

impl<R: BufRead> TableReader<R> {
    /// Reads as much as it takes to know the columns: all of them are selected. `header` is for text.
    ///
    /// # Errors
    /// [`Error::TooFewRows`] for an empty text, [`Error::MixedHeader`] for one whose first line may be either, [`Error::Parse`]
    /// for one that is not UTF-8, [`Error::Npy`] for an NPY file of anything but a
    /// table of numbers, [`Error::Io`].
    pub fn new(reader: R, header: Header) -> Result<Self> {
        Self::expecting(reader, header, &[])
    }

    /// The same where the names of the columns are known: for [`Header::Detect`], a first line of just these is
    /// a header, even if they look like numbers or missing values.
    ///
    /// # Errors
    /// As [`new`](TableReader::new).
    pub fn expecting(mut reader: R, header: Header, names: &[&str]) -> Result<Self> {
        let start = reader.fill_buf().map_err(unreadable)?;
        let (rows, names, dim) = if start.starts_with(npy::MAGIC) {
            let rows = NpyRows::new(reader)?;
            let dim = rows.dim();
            (Rows::Npy(rows), None, dim)
        } else {
            let (rows, names, dim) = TextRows::new(reader, header, names)?;
            (Rows::Text(rows), names, dim)
        };
        let named = names.is_some();
        let selection = Selection::all(names.unwrap_or_else(|| numbered(dim)));
        let rounded = vec![0; selection.dim()];
        Ok(TableReader { rows, selection, named, read: 0, rounded })
    }

    /// From here on only these columns, in this order; the others may hold anything. Each is a name of the
    /// present columns, or else the number of one, from 1.
    ///
    /// # Errors
    /// [`Error::NoColumn`] with the names that there are, [`Error::Config`] for a column twice or for none,
    /// [`Error::Parse`] for a name that several columns have.
    pub fn select(mut self, wanted: &[impl AsRef<str>]) -> Result<Self> {
        let chosen = find_columns(&self.names_of_all(), wanted)?;
        let columns: Vec<usize> = chosen.iter().map(|&c| self.selection.columns[c]).collect();
        for (wanted, &column) in wanted.iter().zip(&columns) {
            // By a name that stands for several columns: which?
            let name = &self.selection.names[column];
            let others = self.selection.columns.iter().filter(|&&c| self.selection.names[c] == *name);
            if let (true, Some(&other)) = (wanted.as_ref() == name, others.clone().nth(1)) {
                return Err(self.twice(other));
            }
        }
        self.selection.places.fill(None);
        for (place, &column) in columns.iter().enumerate() {
            self.selection.places[column] = Some(place);
        }
        self.rounded = vec![0; columns.len()];
        self.selection.columns = columns;
        Ok(self)
    }

    fn twice(&self, column: usize) -> Error {
        match &self.rows {
            Rows::Text(rows) => rows.twice(column, &self.selection.names[column]),
            Rows::Npy(_) => unreachable!("an NPY file names no columns"),
        }
    }

    /// No two of the columns that are read have the same name.
    fn check_names(&self) -> Result<()> {
        let mut seen = HashSet::new();
        let mut columns = self.selection.columns.iter();
        match columns.find(|&&column| !seen.insert(self.selection.names[column].as_str())) {
            Some(&column) => Err(self.twice(column)),
            None => Ok(()),
        }
    }

    fn names_of_all(&self) -> Vec<String> {
        self.selection.columns.iter().map(|&c| self.selection.names[c].clone()).collect()
    }

    /// The names of the selected columns.
    pub fn names(&self) -> Vec<&str> {
        self.selection.columns.iter().map(|&c| self.selection.names[c].as_str()).collect()
    }

    /// Whether the file names its columns; else they are `x1`, `x2`, ….
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// Rows in the file, where it says so in advance: an NPY file does.
    pub fn announced_rows(&self) -> Option<u64> {
        match &self.rows {
            Rows::Text(_) => None,
            Rows::Npy(rows) => Some(rows.len()),
        }
    }

    /// For each selected column, how many of the whole numbers read so far f32 does not hold: [`Table::rounded`].
    pub fn rounded(&self) -> &[usize] {
        &self.rounded
    }

    /// The next rows, `most` at most: fewer at the end, and then none.
    ///
    /// # Errors
    /// [`Error::Parse`] for two columns of one name. [`Error::MissingValue`], and [`Error::Parse`] for text that is no finite number of f32 and for rows
    /// with too few or too many values, by line and column. [`Error::Number`] for a number of an NPY
    /// file that is no finite one of f32, [`Error::Npy`] for a file that ends early or goes on. [`Error::Io`].
    pub fn block(&mut self, most: usize) -> Result<Array2<f32>> {
        if self.read == 0 {
            self.check_names()?;
        }
        let mut values = Vec::new();
        let dim = self.selection.dim();
        match &mut self.rows {
            Rows::Text(rows) => {
                let mut left = most;
                while left > 0 && rows.next(&self.selection, &mut values, &mut self.rounded)? {
                    left -= 1;
                }
            }
            Rows::Npy(rows) => rows.block(most, &self.selection, &mut values, &mut self.rounded)?,
        }
        let x = Array2::from_shape_vec((values.len() / dim, dim), values).expect("whole rows");
        self.read += x.nrows();
        Ok(x)
    }

    /// The rest of the rows, `most` at most.
    ///
    /// # Errors
    /// As [`block`](TableReader::block); [`Error::TooFewRows`] if there is none.
    pub fn table(mut self, most: usize) -> Result<Table> {
        let mut values = Vec::new();
        let dim = self.selection.dim();
        while values.len() / dim < most {
            let block = self.block(BLOCK.min(most - values.len() / dim))?;
            if block.nrows() == 0 {
                break;
            }
            values.extend_from_slice(block.as_slice().expect("standard layout"));
        }
        if values.is_empty() {
            return Err(Error::TooFewRows { what: "the table", got: 0, least: 1 });
        }
        let names = self.names().into_iter().map(str::to_owned).collect();
        let x = Array2::from_shape_vec((values.len() / dim, dim), values).expect("whole rows");
        Ok(Table { names, x, rounded: self.rounded })
    }
}

/// Rows read at a time where all are wanted.
const BLOCK: usize = 4096;

/// Opens a file of numbers, text or NPY.
///
/// # Errors
/// As [`TableReader::new`]; [`Error::Io`] names the path.
pub fn open_table(path: impl AsRef<Path>, header: Header) -> Result<TableReader<BufReader<File>>> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|source| named(path, source))?;
    TableReader::new(BufReader::new(file), header).map_err(|error| at(path, error))
}

/// Reads a file of numbers, text or NPY, all its columns and rows.
///
/// # Errors
/// As [`TableReader::new`] and [`TableReader::block`]; [`Error::Io`] names the path.
pub fn read_table(path: impl AsRef<Path>) -> Result<Table> {
    let path = path.as_ref();
    open_table(path, Header::Detect)?.table(usize::MAX).map_err(|error| at(path, error))
}

fn named(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.display().to_string(), source }
}

fn at(path: &Path, error: Error) -> Error {
    match error {
        Error::Io { source, .. } => named(path, source),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_are_not_selected_may_hold_anything() {
        let text = "id,a,b\nx,1,\ny,2,NA\n";
        let reader = || TableReader::new(text.as_bytes(), Header::Detect).unwrap();
        assert_eq!(reader().select(&["a"]).unwrap().table(9).unwrap().x, ndarray::array![[1.0], [2.0]]);
        // A second selection is of the first.
        let twice = reader().select(&["b", "a"]).unwrap().select(&["2"]).unwrap();
        assert_eq!(twice.names(), ["a"]);
        let error = reader().select(&["b", "a"]).unwrap().table(9).unwrap_err();
        assert!(matches!(error, Error::MissingValue { line: Some(2), row: 1, column: 3, .. }), "{error}");
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
            matches!(&error, Error::Io { path, .. } if *path == folder.display().to_string()),
            "{error:?}"
        );
    }
}

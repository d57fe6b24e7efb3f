//! Which columns of a table are read.

use crate::error::{Error, Result, TableError};

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
    pub fn all(names: Vec<String>) -> Self {
        let columns: Vec<usize> = (0..names.len()).collect();
        Selection { places: columns.iter().map(|&c| Some(c)).collect(), columns, names }
    }

    /// From here on these columns of the file, in this order.
    pub fn choose(&mut self, columns: Vec<usize>) {
        self.places.fill(None);
        for (place, &column) in columns.iter().enumerate() {
            self.places[column] = Some(place);
        }
        self.columns = columns;
    }

    /// Of all columns of the file.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Of the columns that are read.
    pub fn chosen(&self) -> impl Iterator<Item = &String> {
        self.columns.iter().map(|&column| &self.names[column])
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

    /// Whether a row that is read is one of the file.
    pub fn is_all(&self) -> bool {
        self.columns.iter().copied().eq(0..self.names.len())
    }
}

/// The columns of these names, or of these numbers from 1.
pub(super) fn find_columns(names: &[String], wanted: &[impl AsRef<str>]) -> Result<Vec<usize>> {
    let mut columns = Vec::with_capacity(wanted.len());
    for name in wanted.iter().map(AsRef::as_ref) {
        let by_name = || names.iter().position(|n| n == name);
        let by_number = || name.parse::<usize>().ok()?.checked_sub(1).filter(|&c| c < names.len());
        let Some(column) = by_name().or_else(by_number) else {
            return Err(Error::Table(TableError::NoColumn { name: name.to_owned(), names: names.to_vec() }));
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

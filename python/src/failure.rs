//! The library's errors as Python's.

use std::io;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use quadrivium::{Error, FileError};

/// What users did wrong is a `ValueError`, a file that cannot be read or written an `OSError`, and what went wrong on
/// the way a `RuntimeError`.
pub fn raise(error: Error) -> PyErr {
    match error {
        Error::File(FileError::Io { path, source }) => {
            io::Error::new(source.kind(), format!("{path}: {source}")).into()
        }
        Error::Training(error) => PyRuntimeError::new_err(error.to_string()),
        other => PyValueError::new_err(other.to_string()),
    }
}

/// A `ValueError` that says what was wrong.
pub fn wrong(what: impl Into<String>) -> PyErr {
    PyValueError::new_err(what.into())
}

//! What can go wrong, with the numbers in the message.
//!
//! [`Error`] is one of small enums, one per concern: a caller matches the one that it can do something about.
//!
//! ```
//! use quadrivium::error::{DataError, Error};
//! use quadrivium::{Dataset, ndarray::array};
//!
//! match Dataset::new(array![[1.0, f32::NAN]]) {
//!     Err(Error::Data(DataError::NonFinite { row, column, .. })) => assert_eq!((row, column), (0, 1)),
//!     other => panic!("{other:?}"),
//! }
//! ```

mod condition;
mod data;
mod file;
mod table;
mod training;

pub use self::condition::ConditionError;
pub use self::data::DataError;
pub use self::file::FileError;
pub use self::table::{Content, TableError};
pub use self::training::TrainingError;

/// The crate's result; with a second parameter, the standard one.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything a caller can be told. Each message holds what came and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of a config or of options has a value outside its range.
    #[error("{field} = {value}: expected {expected}")]
    Config {
        /// The field, as written in the struct.
        field: &'static str,
        /// What it held.
        value: String,
        /// Its range.
        expected: &'static str,
    },
    /// Rows are not what the call needs.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A condition is not what the model was made for.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// An iteration ended without a result.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// A picture of a density was asked of a model that has none.
    #[error("{model} has no likelihood: its density cannot be shown")]
    NoLikelihood {
        /// The model, by its card.
        model: String,
    },
    /// A table does not read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A file of a model or of a training does not read, or no file can be written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Error {
    /// `Error::Config` for a field of a config or of options.
    pub(crate) fn config(field: &'static str, value: impl std::fmt::Debug, expected: &'static str) -> Self {
        Error::Config { field, value: format!("{value:?}"), expected }
    }
}

/// `Ok` if `holds`, else the `Error::Config` that names `field`.
pub(crate) fn check(
    holds: bool,
    field: &'static str,
    value: impl std::fmt::Debug,
    expected: &'static str,
) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::config(field, value, expected)) }
}

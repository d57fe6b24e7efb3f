//! What can go wrong, with the numbers in the message.
//!
//! [`Error`] is made of small enums, one per concern, so a caller can match the one that it can handle.
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
#[cfg(feature = "onnx")]
mod export;
mod file;
mod setting;
mod table;
mod text;
mod training;

pub use self::condition::ConditionError;
pub use self::data::DataError;
#[cfg(feature = "onnx")]
pub use self::export::ExportError;
pub use self::file::FileError;
pub use self::setting::SettingError;
pub use self::table::{Content, TableError};
pub use self::text::TextError;
pub use self::training::TrainingError;

/// [`std::result::Result`] with this crate's [`Error`] as the default error type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every error of this crate. Each message says what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of a config or of options has a value outside its range.
    #[error("{field} = {value}: expected {expected}")]
    Config {
        /// The field, as written in the struct.
        field: &'static str,
        /// The value it had.
        value: String,
        /// The values it may have.
        expected: &'static str,
    },
    /// A field of a config was set by name, and cannot be.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Something is wrong with the rows.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The condition does not fit the model.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// An iteration ended without a result.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// A picture of the density was requested of a model that has no density.
    #[error("{model} has no likelihood: its density cannot be shown")]
    NoLikelihood {
        /// The model's name on its card.
        model: String,
    },
    /// A table cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A text cannot become tokens, or tokens a text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The file of a model or of a training run cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The model cannot be exported.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Export(#[from] ExportError),
}

impl Error {
    /// `Error::Config` for a field of a config or of options.
    pub(crate) fn config(field: &'static str, value: impl std::fmt::Debug, expected: &'static str) -> Self {
        Error::Config { field, value: format!("{value:?}"), expected }
    }
}

/// `Ok` if `holds`, otherwise an `Error::Config` that names `field`.
pub(crate) fn check(
    holds: bool,
    field: &'static str,
    value: impl std::fmt::Debug,
    expected: &'static str,
) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::config(field, value, expected)) }
}

/// What is wrong with a file of a model or of a training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A file is no model of this crate, or a damaged one.
    #[error("not a model's file: {what}")]
    Format {
        /// What is wrong with it.
        what: String,
    },
    /// A file was written by a later version of this crate.
    #[error("the file has format {found}, this version reads up to {newest}: update quadrivium")]
    FormatVersion {
        /// The file's format.
        found: u64,
        /// The newest that this version reads.
        newest: u64,
    },
    /// A training cannot go on from the file that its options name.
    #[error("checkpoint {path}: {what}; to start anew, remove it")]
    Checkpoint {
        /// The file.
        path: String,
        /// Why not.
        what: String,
    },
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's word.
        source: std::io::Error,
    },
}

/// What is wrong with the file of a model or of a training run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file is not a model of this crate, or it is damaged.
    #[error("not a model's file: {what}")]
    Format {
        /// What is wrong with it.
        what: String,
    },
    /// A file was written by a later version of this crate.
    #[error("the file has format {found}, but this version reads up to {newest}: update quadrivium")]
    FormatVersion {
        /// The file's format.
        found: u64,
        /// The newest that this version reads.
        newest: u64,
    },
    /// Training cannot resume from the checkpoint that its options name.
    #[error("checkpoint {path}: {what}; to start over, remove it")]
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
        /// The error of the operating system.
        source: std::io::Error,
    },
}

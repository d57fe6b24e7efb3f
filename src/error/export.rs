/// Why a model cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A part of the model has no description as a graph.
    #[error("{what} cannot be exported to ONNX: {why}")]
    Unsupported {
        /// The part.
        what: String,
        /// Why not, and what can be done instead.
        why: &'static str,
    },
    /// The file would be larger than an ONNX file may be.
    #[error("the graph has {bytes} bytes of numbers: an ONNX file has less than 2 GiB")]
    TooLarge {
        /// The bytes of all constants.
        bytes: usize,
    },
}

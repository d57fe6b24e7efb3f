/// What is wrong with rows.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// An array does not have the shape that the call needs.
    #[error("{what} has shape {got:?}: expected {expected}")]
    Shape {
        /// Which array.
        what: &'static str,
        /// Its shape.
        got: Vec<usize>,
        /// The shape needed.
        expected: String,
    },
    /// The data have no rows, or fewer than the call needs.
    #[error("{what} has {got} rows: expected at least {least}")]
    TooFewRows {
        /// Which data.
        what: &'static str,
        /// Rows found.
        got: usize,
        /// Rows needed.
        least: usize,
    },
    /// A value is NaN or infinite.
    #[error("{what}, row {row}, column {column}: {value} is not a finite number")]
    NonFinite {
        /// Which data.
        what: &'static str,
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// The value found there.
        value: f64,
    },
    /// A token that is neither a symbol of the vocabulary nor [`Token::END`](crate::Token::END).
    #[error("{what}, row {row}, column {column}: token {token}: expected one from 0 to {}", vocabulary - 1)]
    UnknownToken {
        /// Which rows.
        what: &'static str,
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// The token.
        token: u32,
        /// Number of symbols.
        vocabulary: usize,
    },
    /// A token after the [`Token::END`](crate::Token::END) of its row.
    #[error("{what}, row {row}, column {column}: token {token} after the end of the row")]
    AfterEnd {
        /// Which rows.
        what: &'static str,
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// The token.
        token: u32,
    },
    /// A column holds only one value, so it has no density and cannot be standardized.
    #[error(
        "column {column} is constant ({value} in all {rows} rows): drop it, or add noise of a stated width"
    )]
    ConstantColumn {
        /// Column, from 0.
        column: usize,
        /// Its only value.
        value: f64,
        /// How many rows hold it.
        rows: usize,
    },
    /// A column's spread is barely larger than the rounding error of f32 at its mean.
    #[error(
        "column {column}: standard deviation {} is too small for f32 beside the mean {}: subtract a constant",
        *sd as f32, *mean as f32
    )]
    NarrowColumn {
        /// Column, from 0.
        column: usize,
        /// Its standard deviation.
        sd: f64,
        /// Its mean.
        mean: f64,
    },
    /// The columns are linearly dependent, or so nearly that their covariance has no inverse.
    #[error(
        "the columns' covariance is singular (standard deviations {sd:?}): drop a column that the others determine"
    )]
    SingularCovariance {
        /// The standard deviation of each column.
        sd: Vec<f64>,
    },
}

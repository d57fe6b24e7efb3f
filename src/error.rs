//! What can go wrong, with the numbers in the message.

use std::fmt;

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
    /// A condition is not what the model was made for.
    #[error("{0}")]
    Condition(#[from] ConditionError),
    /// Data without rows, or with fewer than the call needs.
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
        /// What stands there.
        value: f64,
    },
    /// A column holds one value only, so it has no density and cannot be standardized.
    #[error(
        "column {column} is constant ({value} in all {rows} rows): drop it, or add noise of a stated width"
    )]
    ConstantColumn {
        /// Column, from 0.
        column: usize,
        /// Its one value.
        value: f64,
        /// How many rows hold it.
        rows: usize,
    },
    /// A column's spread is hardly more than the rounding of f32 at its mean.
    #[error(
        "column {column}: standard deviation {} is too little for f32 beside the mean {}: subtract a constant",
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
    /// Columns depend on each other linearly, or so nearly that their covariance has no inverse.
    #[error(
        "the columns' covariance is singular (standard deviations {sd:?}): drop a column that the others determine"
    )]
    SingularCovariance {
        /// The standard deviation of each column.
        sd: Vec<f64>,
    },
    /// The loss or its gradient stopped being finite. The model keeps its last good parameters.
    #[error("training diverged at step {step}: {what}")]
    Diverged {
        /// The step, from 0.
        step: usize,
        /// Which quantity, and its value.
        what: String,
    },
    /// An iteration (an ODE solver, a root search) used up its budget.
    #[error("{what} did not converge within {budget} evaluations (row {row})")]
    NotConverged {
        /// Which iteration.
        what: &'static str,
        /// The evaluations it was allowed.
        budget: usize,
        /// The row it worked on, from 0.
        row: usize,
    },
    /// A picture of a density was asked of a model that has none.
    #[error("{model} has no likelihood: its density cannot be shown")]
    NoLikelihood {
        /// The model, by its card.
        model: String,
    },
    /// A text file does not read as a table of numbers.
    #[error("line {line}, column {column}: found {found:?}, expected {expected}")]
    Parse {
        /// Line, from 1, as an editor shows it.
        line: u64,
        /// Column of the table, from 1.
        column: usize,
        /// The text found.
        found: String,
        /// What should stand there.
        expected: String,
    },
    /// Some cells of a text's first line are numbers and others are not: it may be a header or a row.
    #[error(
        "line {line}: is it a header? Column {column} holds {found:?}, others numbers: Header::Present or Header::Absent decides"
    )]
    MixedHeader {
        /// Line, from 1, as an editor shows it.
        line: u64,
        /// The first column without a number, from 1.
        column: usize,
        /// What stands there.
        found: String,
    },
    /// A cell of a table holds no value, and no model takes rows with gaps.
    #[error(
        "{}column {column} ({name}): {found:?} in row {row} is a missing value: fill it in, or leave out the row or the column",
        line.map_or(String::new(), |line| format!("line {line}, "))
    )]
    MissingValue {
        /// Line of a text, from 1, as an editor shows it.
        line: Option<u64>,
        /// Row of the data, from 1.
        row: u64,
        /// Column of the table, from 1.
        column: usize,
        /// The column's name.
        name: String,
        /// What stands there: nothing, `NA`, `NaN`, `null`, `none`, `?`.
        found: String,
    },
    /// A number is written with a decimal comma, or with something between its thousands.
    #[error(
        "line {line}, column {column}: found {found:?}, expected a finite number ({name}); {}",
        styles(*thousands, *comma)
    )]
    NumberStyle {
        /// Line, from 1, as an editor shows it.
        line: u64,
        /// Column of the table, from 1.
        column: usize,
        /// The column's name.
        name: String,
        /// The text found.
        found: String,
        /// Whether it is a number with something between its thousands.
        thousands: bool,
        /// Whether it is a number with a decimal comma.
        comma: bool,
    },
    /// Columns of a text hold something else than numbers.
    #[error(
        "not all columns hold numbers:{}\nselect the columns of numbers, if they are enough",
        contents(columns)
    )]
    MixedColumns {
        /// Each column that was to be read, and what the beginning of the text shows in it.
        columns: Vec<(String, Content)>,
    },
    /// A number is infinite, or too large for f32.
    #[error("row {row}, column {column} ({name}): found {found:e}, expected {expected}")]
    Number {
        /// Row of the data, from 1.
        row: u64,
        /// Column of the table, from 1.
        column: usize,
        /// The column's name.
        name: String,
        /// The number.
        found: f64,
        /// What should stand there.
        expected: &'static str,
    },
    /// A table has no such column.
    #[error("no column {name:?}: expected one of {}, or a number from 1 to {}", listed(names), names.len())]
    NoColumn {
        /// The column asked for.
        name: String,
        /// Those that there are.
        names: Vec<String>,
    },
    /// A file is no table of numbers in NPY format, or a damaged one.
    #[error("not a table in NPY format: {what}")]
    Npy {
        /// What is wrong with it.
        what: String,
    },
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

/// What is wrong with a condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionError {
    /// The model needs a condition, and none was given.
    #[error("no condition was given: expected {expected}")]
    Missing {
        /// What the model is conditioned on.
        expected: String,
    },
    /// The model takes no condition.
    #[error("a condition was given to a model that takes none")]
    Unexpected,
    /// A condition of another kind.
    #[error("the condition has {got}: expected {expected}")]
    Kind {
        /// What was given: classes, vectors or tokens.
        got: &'static str,
        /// What the model is conditioned on.
        expected: String,
    },
    /// A class that the model does not know.
    #[error("condition, row {row}: class {class}: expected one from 0 to {}", classes - 1)]
    UnknownClass {
        /// Row of the condition, from 0.
        row: usize,
        /// The class.
        class: u32,
        /// Number of classes.
        classes: u32,
    },
    /// Numbers of a vector that a training cannot take.
    #[error("the condition: {what}")]
    Values {
        /// What is wrong with them.
        what: String,
    },
    /// A value of a label's column that stands for no class of the model.
    #[error(
        "{}column {column}: {value} is not a class the model knows: {}",
        row.map_or(String::new(), |row| format!("row {}, ", row + 1)), first_of(known)
    )]
    UnknownLabel {
        /// Row of the data, from 0, if there are several.
        row: Option<usize>,
        /// The column's name.
        column: String,
        /// What stands there.
        value: String,
        /// The values of the classes that the model knows.
        known: Vec<String>,
    },
    /// A token that the model does not know.
    #[error("condition, row {row}: token {token}: expected one from 0 to {}", vocabulary - 1)]
    UnknownToken {
        /// Row of the condition, from 0.
        row: usize,
        /// The token.
        token: u32,
        /// Number of tokens.
        vocabulary: usize,
    },
    /// A vector or a sequence of another length.
    #[error("the condition has {got} columns: expected {expected}")]
    Width {
        /// Columns of the condition.
        got: usize,
        /// Columns needed.
        expected: usize,
    },
    /// Neither one condition for all rows nor one for each.
    #[error("the condition has {got} rows: expected 1, or one for each of {expected} rows")]
    Rows {
        /// Rows of the condition.
        got: usize,
        /// Rows drawn, scored or trained on.
        expected: usize,
    },
}

/// What a column of a text holds, and so what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// Numbers.
    Numbers,
    /// Numbers, and cells without a value.
    Gaps {
        /// Cells without a value.
        missing: usize,
        /// Rows looked at.
        rows: usize,
    },
    /// Numbers with a decimal comma, or with something between thousands: [`Decimal`](crate::tables::Decimal) reads them.
    OtherStyle,
    /// Dates or times.
    Dates,
    /// Yes and no, true and false.
    Truth,
    /// Words of a few kinds.
    Categories(Vec<String>),
    /// Text of many kinds.
    Text {
        /// An example.
        example: String,
    },
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Numbers => f.write_str("numbers"),
            Content::Gaps { missing, rows } => {
                write!(f, "numbers, missing in {missing} of {rows} rows: fill them in, or leave out the rows")
            }
            Content::OtherStyle => {
                f.write_str("numbers with commas or signs between thousands: say how they are written")
            }
            Content::Dates => {
                f.write_str("dates or times: leave it out, or count the days or seconds from one of them")
            }
            Content::Truth => f.write_str("true and false: write 1 and 0"),
            Content::Categories(values) => {
                write!(f, "{}: leave it out, or write a column of 1 and 0 for each", values.join(", "))
            }
            Content::Text { example } => write!(f, "text such as {example:?}: leave it out"),
        }
    }
}

/// Which option reads a number that is not written plainly.
fn styles(thousands: bool, comma: bool) -> &'static str {
    match (thousands, comma) {
        (true, true) => {
            "with thousands separators Decimal::Point reads it, with a decimal comma Decimal::Comma"
        }
        (true, false) => "Decimal::Point reads thousands separators",
        _ => "Decimal::Comma reads decimal commas",
    }
}

/// A line for each of the first columns.
fn contents(columns: &[(String, Content)]) -> String {
    const LISTED: usize = 40;
    let mut text: String =
        columns.iter().take(LISTED).map(|(name, content)| format!("\n  {name}: {content}")).collect();
    if columns.len() > LISTED {
        text += &format!("\n  and {} more", columns.len() - LISTED);
    }
    text
}

/// The first ten of the names: a file can have thousands.
fn listed(names: &[String]) -> String {
    match names.get(..10) {
        Some(first) if names.len() > 10 => format!("{first:?} and {} more", names.len() - 10),
        _ => format!("{names:?}"),
    }
}

/// The first twenty of the values, with commas between them.
fn first_of(values: &[String]) -> String {
    match values.get(..20) {
        Some(first) if values.len() > 20 => format!("{} and {} more", first.join(", "), values.len() - 20),
        _ => values.join(", "),
    }
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

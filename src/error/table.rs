use std::fmt;

/// What is wrong with a table that was read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A text file cannot be read as a table of numbers.
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
    /// Some cells of a text file's first line are numbers and others are not, so it may be a header or a row.
    #[error(
        "line {line}: is it a header? Column {column} holds {found:?}, others hold numbers: choose Header::Present or Header::Absent"
    )]
    MixedHeader {
        /// Line, from 1, as an editor shows it.
        line: u64,
        /// The first column without a number, from 1.
        column: usize,
        /// The text found there.
        found: String,
    },
    /// A cell of a table holds no value. No model accepts rows with missing values.
    #[error(
        "{}column {column} ({name}): {found:?} in row {row} is a missing value: fill it in, or leave out the row or the column",
        line.map_or(String::new(), |line| format!("line {line}, "))
    )]
    MissingValue {
        /// Line of the text file, from 1, as an editor shows it.
        line: Option<u64>,
        /// Row of the data, from 1.
        row: u64,
        /// Column of the table, from 1.
        column: usize,
        /// The column's name.
        name: String,
        /// The text found there: nothing, `NA`, `NaN`, `null`, `none`, `?`.
        found: String,
    },
    /// A number is written with a decimal comma, or with thousands separators.
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
        /// Whether it is a number with thousands separators.
        thousands: bool,
        /// Whether it is a number with a decimal comma.
        comma: bool,
    },
    /// Columns of a text file hold something other than numbers.
    #[error(
        "not all columns hold numbers:{}\nselect the columns that hold numbers, if they are enough",
        contents(columns)
    )]
    MixedColumns {
        /// Each column that was to be read, and what the beginning of the file shows in it.
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
        /// The columns that the table has.
        names: Vec<String>,
    },
    /// The file is not a flat table in Parquet format, or it is damaged, or it cannot be read here.
    #[error("not a table in Parquet format that can be read: {what}")]
    Parquet {
        /// What is wrong with it.
        what: String,
    },
    /// The file is not a table of numbers in NPY format, or it is damaged.
    #[error("not a table in NPY format: {what}")]
    Npy {
        /// What is wrong with it.
        what: String,
    },
}

/// What a column of a text file holds, which decides what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// Numbers.
    Numbers,
    /// Numbers, and cells without a value.
    Gaps {
        /// Cells without a value.
        missing: usize,
        /// Rows examined.
        rows: usize,
    },
    /// Numbers with a decimal comma or thousands separators: [`Decimal`](crate::tables::Decimal) reads them.
    OtherStyle,
    /// Dates or times.
    Dates,
    /// Yes and no, or true and false.
    Truth,
    /// Text with a few different values.
    Categories(Vec<String>),
    /// Text with many different values.
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
                f.write_str("numbers with decimal commas or thousands separators: say how they are written")
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

/// The option that reads a number written in such a way.
fn styles(thousands: bool, comma: bool) -> &'static str {
    match (thousands, comma) {
        (true, true) => {
            "Decimal::Point reads it with thousands separators, Decimal::Comma with a decimal comma"
        }
        (true, false) => "Decimal::Point reads thousands separators",
        _ => "Decimal::Comma reads decimal commas",
    }
}

/// One line for each of the first columns.
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

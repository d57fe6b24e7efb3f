use std::fmt;

/// What is wrong with a table that is read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
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
    /// Numbers with a decimal comma, or with something between thousands: [`Decimal`](crate::tables::Decimal) reads
    /// them.
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

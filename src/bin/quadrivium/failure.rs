//! What can end the program, and its messages.

use quadrivium::error::{DataError, FileError, TableError};
use std::fmt;
use std::io::{self, Write};

use quadrivium::Error;
use quadrivium::tables::Content;

use crate::interrupt::Signal;

/// Why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// It could not be done.
    Operation(String),
    /// The same, with a message of several lines.
    Lines(Vec<String>),
    /// The command makes no sense.
    Usage(String),
    /// A signal; the work that could be saved has been saved.
    Interrupted(Signal),
    /// The reader of standard output is gone.
    ClosedPipe,
}

pub type Outcome<T> = Result<T, Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Operation(message) | Failure::Usage(message) => f.write_str(message),
            Failure::Lines(lines) => f.write_str(&lines.join("\n")),
            Failure::Interrupted(signal) => write!(f, "stopped by {}", signal.name()),
            Failure::ClosedPipe => f.write_str("the reader of the output has gone"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Operation(error.to_string())
    }
}

/// The most columns that one message lists, because a file can have thousands.
const LISTED: usize = 40;

/// A failure that concerns the file or stream with this name.
pub fn of_file(name: impl fmt::Display, error: Error) -> Failure {
    if let Error::Table(TableError::MixedColumns { columns }) = &error {
        let mut lines = vec![format!("{name}: not all columns hold numbers:")];
        lines.extend(columns.iter().take(LISTED).map(|(column, content)| format!("  {column}: {content}")));
        if columns.len() > LISTED {
            lines.push(format!("  and {} more", columns.len() - LISTED));
        }
        lines.push("`fit` models labels and gaps, unless --units plain or --dequantize is given".into());
        let numbers = columns.iter().filter(|(_, content)| *content == Content::Numbers);
        let numbers: Vec<&str> = numbers.map(|(name, _)| name.as_str()).collect();
        if !numbers.is_empty() {
            lines.push(format!("use only the numeric columns: --columns {}", numbers.join(",")));
        }
        return Failure::Lines(lines);
    }
    Failure::Operation(match error {
        Error::File(FileError::Io { source, .. }) => format!("{name}: {source}"),
        Error::Table(TableError::MixedHeader { line, column, found }) => format!(
            "{name}: line {line} may be a header or a row: column {column} holds {found:?}, other columns hold numbers; \
             choose with --header yes or --header no"
        ),
        Error::Table(TableError::NumberStyle { line, column, name: of, found, thousands, comma }) => format!(
            "{name}: line {line}, column {column}: found {found:?}, expected a finite number ({of}){}",
            match (thousands, comma) {
                (true, true) =>
                    "; use --decimal . if it has thousands separators, --decimal , if it has a decimal comma",
                (true, false) => "; use --decimal . to read thousands separators",
                _ => "; use --decimal , to read decimal commas",
            }
        ),
        Error::Table(TableError::MissingValue { .. }) => {
            format!(
                "{name}: {error}; `fit` models gaps, unless --units plain or --dequantize is given, and leaves out such rows \
                 with --drop-missing"
            )
        }
        other => format!("{name}: {other}"),
    })
}

/// A failure to write to the file or stream with this name.
pub fn of_writing(name: impl fmt::Display, error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::Operation(format!("{name}: {error}")),
    }
}

/// A failure of training on the file with this name. Columns are named where the error has their numbers, and another
/// file is named if the error is not about the rows. Columns with one value in all rows have already been refused.
pub fn of_columns(name: impl fmt::Display, names: &[String], error: Error) -> Failure {
    let named = |column: usize| names.get(column).map_or("", String::as_str);
    match error {
        Error::Data(DataError::ConstantColumn { column, value, rows }) => Failure::Operation(format!(
            "{name}: column {} holds {} in all {} to train on, and other values only in held-out rows: leave it out with \
             --columns, or hold out fewer rows",
            named(column),
            value as f32,
            counted(rows, "row"),
        )),
        Error::Data(DataError::NarrowColumn { column, sd, mean }) => Failure::Operation(format!(
            "{name}: the standard deviation of column {} is {}, too small for f32 next to its mean {}: subtract a \
             constant from the column, or leave it out with --columns",
            named(column),
            sd as f32,
            mean as f32,
        )),
        Error::File(FileError::Io { .. }) | Error::File(FileError::Checkpoint { .. }) => error.into(),
        other => of_file(name, other),
    }
}

/// Writes a [`printable`] line to standard error; if that is closed, the line is lost.
pub fn say(message: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{}", printable(&message.to_string()));
}

/// The text with control characters escaped: names that come from a file must not move the terminal's cursor, start a
/// line or reverse the direction of the text.
pub fn printable(text: &str) -> String {
    let hidden = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        match hidden(c) {
            true => printable.extend(c.escape_default()),
            false => printable.push(c),
        }
    }
    printable
}

/// "1 row", "2 rows".
pub fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

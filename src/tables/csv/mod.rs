//! Tables of numbers as text: lines of values with a separator between them.
//!
//! `csv-core` takes records apart; how a text is written, what its first line is and what a cell holds is
//! decided here.

mod dialect;
mod encoding;
mod number;
mod records;
mod survey;
mod write;

use std::io::{self, BufRead, Cursor, Read};

pub use dialect::Guess;
pub use number::Decimal;
pub use write::CsvWriter;

use dialect::{COMMENT, Comments, Sample};
use encoding::Utf8;
use number::{bare, is_missing, is_rounded, number};
use records::Records;

use super::reader::unreadable;
use super::selection::Selection;
use super::units::WHOLE_ANYWAY;
use crate::error::{DataError, Error, Result, TableError};

/// Whether the first line of a text table names its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    /// It does unless it holds nothing but numbers and missing values; what stands in quotes is a name, unless
    /// the second line stands in quotes, too. One of numbers and words is refused. Columns without names are `x1`,
    /// `x2`, ….
    #[default]
    Detect,
    /// It does, even if the names are numbers.
    Present,
    /// It does not.
    Absent,
}

/// How a text table is written. What is not said is found in its first lines.
///
/// ```
/// use quadrivium::tables::{Decimal, TableReader, TextOptions};
///
/// let options = TextOptions { decimal: Decimal::Comma, ..TextOptions::default() };
/// let table = TableReader::new("length;width\n1,5;1.200\n".as_bytes(), options)?.table(usize::MAX)?;
/// assert_eq!(table.x, quadrivium::ndarray::array![[1.5, 1200.0]]);
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TextOptions {
    /// Whether the first line names the columns.
    pub header: Header,
    /// What stands between the cells, an ASCII character; a space stands for a run of them. Without it, that of
    /// comma, tab, semicolon, bar and spaces under which the first lines look most like rows of numbers.
    pub separator: Option<u8>,
    /// How numbers are written.
    pub decimal: Decimal,
    /// What begins a line that is passed over, an ASCII character. Without it, lines that begin with `#` are
    /// passed over before the first row and after the last.
    pub comment: Option<u8>,
}

impl From<Header> for TextOptions {
    fn from(header: Header) -> Self {
        TextOptions { header, ..TextOptions::default() }
    }
}

/// How much of a text is looked at to find out how it is written: 1 MiB.
const SAMPLE: u64 = 1 << 20;

/// A text from its beginning: what was looked at, and the rest.
type Text<R> = io::Chain<Cursor<Vec<u8>>, Utf8<R>>;

/// The rows of a text table.
pub(super) struct TextRows<R> {
    records: Records<Text<R>>,
    options: TextOptions,
    /// The line of the header, or of the first row.
    header: u64,
    /// Rows read.
    row: u64,
    /// A line that began as a comment does, amid the rows or after them.
    comment: Option<u64>,
    separator: u8,
    /// Where the first record begins in what was looked at, and whether it is a header.
    first_at: usize,
    headed: bool,
}

/// What the beginning of a text says.
pub(super) struct Head {
    /// Names of the columns, if it has them.
    pub names: Option<Vec<String>>,
    pub columns: usize,
    pub guesses: Vec<Guess>,
}

impl<R: BufRead> TextRows<R> {
    /// Reads the first line: the names of the columns, if it holds them, and how many columns there are.
    /// A first line of just the `expected` names holds them, whatever they look like. The reader begins with
    /// `start`.
    pub fn new(reader: R, start: &[u8], options: TextOptions, expected: &[&str]) -> Result<(Self, Head)> {
        dialect::check_marks(&options)?;
        let mut reader = Utf8::new(reader, start).map_err(unreadable)?;
        let mut beginning = Vec::new();
        (&mut reader).take(SAMPLE).read_to_end(&mut beginning).map_err(unreadable)?;
        let comments = Comments::of(&beginning, options.comment.unwrap_or(COMMENT));
        let sample = Sample { text: &beginning[comments.bytes..], whole: (beginning.len() as u64) < SAMPLE };
        let separator = options.separator.unwrap_or_else(|| sample.separator(&options));
        let quoted = sample.quoted(separator);
        let may_be_one = matches!(separator, b',' | b' ')
            && options.separator.is_none()
            && sample.may_be_one_column(&options);

        let mut text = Cursor::new(beginning);
        text.set_position(comments.bytes as u64);
        let mut records = Records::new(text.chain(reader), separator, options.comment, comments.lines + 1);
        if !records.advance()? {
            return Err(Error::Data(DataError::TooFewRows { what: "the table", got: 0, least: 1 }));
        }
        let first =
            First { cells: records.cells().map(text_of).collect(), quoted, options, line: records.line() };
        let columns = first.cells.len();
        let mut guesses = Vec::new();
        let mut names = first.are_names(expected, &mut guesses)?.then(|| first.cells.clone());
        if names.is_none() && may_be_one && columns == 2 {
            guesses.push(Guess::TwoColumns);
        }
        if let Some((line, comment)) = comments.last {
            // Where the first line looks like a row, the names may have been written as a comment.
            let cells = cells_of(&comment, separator);
            if columns > 1 && cells.len() == columns && first.holds_values() {
                if names.is_some() {
                    names = Some(cells);
                    guesses.push(Guess::CommentNames { line });
                } else {
                    guesses.push(Guess::CommentPassedOver { line });
                }
            }
        }
        let header = first.line;
        let headed = names.as_ref() == Some(&first.cells);
        if !headed {
            records.step_back();
        }
        if let Some(names) = &mut names {
            guesses.extend(call_by_number(names));
        }
        let first_at = comments.bytes;
        let rows = TextRows { records, options, header, row: 0, comment: None, separator, first_at, headed };
        Ok((rows, Head { names, columns, guesses }))
    }

    /// The error of a name that other columns have, too.
    pub fn twice(&self, column: usize, name: &str) -> Error {
        parse(self.header, column, name, "a name not used before, or columns chosen by number")
    }

    /// The error of a name that is no UTF-8.
    pub fn unreadable_name(&self, column: usize) -> Error {
        parse(self.header, column, NOT_UTF8, UTF8)
    }

    /// Appends the selected values of the next row, and counts those that f64 has `rounded`; false at the end.
    pub fn next(
        &mut self,
        selection: &Selection,
        values: &mut Vec<f64>,
        rounded: &mut [usize],
    ) -> Result<bool> {
        loop {
            if !self.records.advance()? {
                return Ok(false);
            }
            // A line that begins as a comment is none where its first cell is not read.
            let begins = self.options.comment.is_none()
                && self.records.cells().next().is_some_and(|cell| cell.first() == Some(&COMMENT));
            let is_row = selection.place(0).is_none() && self.records.len() == selection.names().len();
            if !begins || is_row {
                break;
            }
            self.comment.get_or_insert(self.records.line());
        }
        if let Some(line) = self.comment {
            let expected = "a row: comments stand before the rows or after them, unless their sign is chosen";
            return Err(parse(line, 0, "#", expected));
        }
        self.row += 1;
        let (dim, line) = (selection.names().len(), self.records.line());
        let start = values.len();
        values.resize(start + selection.dim(), 0.0);
        for (column, cell) in self.records.cells().enumerate() {
            if column == dim {
                return Err(parse(
                    line,
                    column,
                    &text_of(cell),
                    format!("the end of the line after {dim} values"),
                ));
            }
            let Some(place) = selection.place(column) else { continue };
            let text = std::str::from_utf8(cell).map_err(|_| parse(line, column, NOT_UTF8, UTF8))?;
            let Some(value) = number(text, self.options.decimal) else {
                return Err(self.no_number(column, selection, text));
            };
            values[start + place] = value;
            rounded[place] += usize::from(value.abs() >= WHOLE_ANYWAY && is_rounded(text, value));
        }
        match self.records.len() {
            found if found < dim => Err(parse(line, found, "the end of the line", format!("{dim} values"))),
            _ => Ok(true),
        }
    }

    /// The error of a cell that holds no number; of the table, where other columns hold none, either.
    fn no_number(&self, column: usize, selection: &Selection, cell: &str) -> Error {
        let (sample, _) = self.records.reader().get_ref();
        let sample = &sample.get_ref()[self.first_at..];
        if let Some(columns) = survey::mixed(sample, self.headed, self.separator, &self.options, selection) {
            return Error::Table(TableError::MixedColumns { columns });
        }
        let (line, name) = (self.records.line(), selection.names()[column].clone());
        let (found, column) = (shortened(cell.trim()), column + 1);
        if is_missing(cell) {
            return Error::Table(TableError::MissingValue {
                line: Some(line),
                row: self.row,
                column,
                name,
                found,
            });
        }
        let style = |decimal| self.options.decimal == Decimal::Plain && number(cell, decimal).is_some();
        let (thousands, comma) = (style(Decimal::Point), style(Decimal::Comma));
        if thousands || comma {
            return Error::Table(TableError::NumberStyle { line, column, name, found, thousands, comma });
        }
        // What reads as infinite and is not called so.
        let beyond = bare(cell).parse::<f64>().is_ok() && cell.contains(|c: char| c.is_ascii_digit());
        let hint = if cell.contains('\n') { "; is a quote not closed?" } else { "" };
        let expected = match beyond {
            true => format!("a number within ±1.8e308, the range of f64 ({name})"),
            false => format!("a finite number ({name}){hint}"),
        };
        Error::Table(TableError::Parse { line, column, found, expected })
    }
}

const NOT_UTF8: &str = "bytes that are not UTF-8";
const UTF8: &str = "text in UTF-8, or in UTF-16 with its mark, or NPY";

/// The first record of a text.
struct First {
    cells: Vec<String>,
    /// Which cells of this record and of the second stand in quotes.
    quoted: [Vec<bool>; 2],
    options: TextOptions,
    line: u64,
}

impl First {
    fn is_number(&self, cell: &str) -> bool {
        number(cell, self.options.decimal).is_some()
    }

    /// Whether it would do for a row.
    fn holds_values(&self) -> bool {
        self.cells.iter().all(|cell| is_missing(cell) || self.is_number(cell))
    }

    /// Whether a cell would be a number if decimals were commas, or with separators of thousands: then it is no
    /// name, and the row that it begins is refused with a word on how to read it.
    fn is_number_of_another_style(&self, cell: &str) -> bool {
        let styles = [Decimal::Point, Decimal::Comma];
        self.options.decimal == Decimal::Plain
            && styles.into_iter().any(|style| number(cell, style).is_some())
    }

    /// Whether it names the columns.
    fn are_names(&self, expected: &[&str], guesses: &mut Vec<Guess>) -> Result<bool> {
        let detects = self.options.header == Header::Detect;
        if !detects || self.cells.iter().eq(expected) {
            return Ok(self.options.header != Header::Absent);
        }
        let [quoted, below] = &self.quoted;
        let all_quoted =
            [quoted, below].iter().all(|record| !record.is_empty() && record.iter().all(|&quoted| quoted));
        let unquoted = |column: usize| all_quoted || !quoted.get(column).is_some_and(|&quoted| quoted);
        let is_number = |column: usize| {
            let cell = &self.cells[column];
            unquoted(column) && (self.is_number(cell) || self.is_number_of_another_style(cell))
        };
        let is_value =
            |column: usize| unquoted(column) && is_missing(&self.cells[column]) || is_number(column);
        let mut columns = 0..self.cells.len();
        let name = columns.clone().find(|&column| !is_value(column));
        if let (Some(column), true) = (name, columns.any(is_number)) {
            let (column, found) = (column + 1, shortened(&self.cells[column]));
            return Err(Error::Table(TableError::MixedHeader { line: self.line, column, found }));
        }
        if name.is_none() {
            let counts = |from: usize| {
                let values = self.cells.iter().map(|cell| number(cell, self.options.decimal));
                values.eq((from..from + self.cells.len()).map(|count| Some(count as f64)))
            };
            match self.cells.len() {
                2.. if all_quoted => guesses.push(Guess::FirstLineQuoted),
                2.. if [0, 1].into_iter().any(counts) => guesses.push(Guess::FirstLineCounts),
                _ => {}
            }
        }
        Ok(name.is_some())
    }
}

/// Numbers for columns whose names are empty.
fn call_by_number(names: &mut [String]) -> Option<Guess> {
    let columns: Vec<usize> = (1..=names.len()).filter(|&column| names[column - 1].is_empty()).collect();
    for &column in &columns {
        names[column - 1] = format!("x{column}");
    }
    (!columns.is_empty()).then_some(Guess::Unnamed { columns })
}

/// A cell as text, without quotes and the spaces around it.
fn text_of(cell: &[u8]) -> String {
    bare(&String::from_utf8_lossy(cell)).to_owned()
}

/// The cells of a text that is one record.
fn cells_of(text: &str, separator: u8) -> Vec<String> {
    let mut records = Records::new(text.as_bytes(), separator, None, 1);
    match records.advance() {
        Ok(true) => records.cells().map(text_of).collect(),
        _ => Vec::new(),
    }
}

/// `column` counts from 0 here, from 1 in the message.
fn parse(line: u64, column: usize, found: &str, expected: impl Into<String>) -> Error {
    Error::Table(TableError::Parse {
        line,
        column: column + 1,
        found: shortened(found),
        expected: expected.into(),
    })
}

/// A hostile cell is as long as its line.
fn shortened(found: &str) -> String {
    match found.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &found[..end]),
        None => found.to_owned(),
    }
}

#[cfg(test)]
mod tests;

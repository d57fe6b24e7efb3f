//! Tables of numbers as text: lines of values with a separator between them.
//!
//! `csv-core` splits records; this module decides how a text is written, what its first line is and what a cell
//! holds.

mod dialect;
mod encoding;
mod number;
mod records;
mod survey;
mod write;

use std::collections::HashMap;
use std::io::{self, BufRead, Cursor, Read};

pub use dialect::Guess;
pub(super) use dialect::other_style;
pub use number::Decimal;
pub(super) use number::{bare, is_missing};
pub use write::CsvWriter;

use dialect::{COMMENT, Comments, Sample};
use encoding::Utf8;
use number::{is_rounded, number};
use records::Records;

use super::cells::{Parsing, label_of};
use super::reader::unreadable;
use super::selection::Selection;
use super::units::WHOLE_ANYWAY;
use crate::error::{DataError, Error, Result, TableError};

/// Whether the first line of a text table names its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    /// It does, unless it holds only numbers and missing values. Cells in quotes are names, unless the second line is
    /// in quotes, too. A first line with both numbers and words is refused. Columns without names are called `x1`,
    /// `x2`, ….
    #[default]
    Detect,
    /// It does, even if the names are numbers.
    Present,
    /// It does not.
    Absent,
}

/// How a text table is written. Options that are not set are detected from its first lines.
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
    /// The separator of the cells, an ASCII character; a space means one or more spaces. `None`: the one of comma,
    /// tab, semicolon, bar and spaces for which the first lines look most like rows of numbers.
    pub separator: Option<u8>,
    /// How numbers are written.
    pub decimal: Decimal,
    /// The ASCII character that begins a comment line, which is skipped. `None`: lines that begin with `#` are
    /// skipped before the first row and after the last.
    pub comment: Option<u8>,
}

impl From<Header> for TextOptions {
    fn from(header: Header) -> Self {
        TextOptions { header, ..TextOptions::default() }
    }
}

/// How much of a text is examined to find out how it is written: 1 MiB.
const SAMPLE: u64 = 1 << 20;

/// A text from its beginning: the part that was examined, and the rest.
type Text<R> = io::Chain<Cursor<Vec<u8>>, Utf8<R>>;

/// The rows of a text table.
pub(super) struct TextRows<R> {
    records: Records<Text<R>>,
    options: TextOptions,
    /// The line of the header, or of the first row.
    header: u64,
    /// Rows read.
    row: u64,
    /// A line that began like a comment, among the rows or after them.
    comment: Option<u64>,
    separator: u8,
    /// Where the first record begins in the examined part, and whether it is a header.
    first_at: usize,
    headed: bool,
}

/// What the beginning of a text tells about it.
pub(super) struct Head {
    /// Names of the columns, if it has them.
    pub names: Option<Vec<String>>,
    pub columns: usize,
    pub guesses: Vec<Guess>,
}

impl<R: BufRead> TextRows<R> {
    /// Reads the first line: the names of the columns, if it holds them, and how many columns there are.
    /// A first line of exactly the `expected` names is a header, even if they look like numbers. The text begins with
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
            // If the first line looks like a row, the names may be in a comment.
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

    /// The sign before the decimals.
    pub fn point(&self) -> char {
        if self.options.decimal == Decimal::Comma { ',' } else { '.' }
    }

    /// The error for a name that other columns have, too.
    pub fn twice(&self, column: usize, name: &str) -> Error {
        parse(self.header, column, name, "a name not used before, or columns chosen by number")
    }

    /// The error for a name that is not UTF-8.
    pub fn unreadable_name(&self, column: usize) -> Error {
        parse(self.header, column, NOT_UTF8, UTF8)
    }

    /// Appends the selected values of the next row, read as `parsing` says, and counts those that f64 has `rounded`; false
    /// at the end. NaN stands for a value that is missing.
    pub fn next(
        &mut self,
        selection: &Selection,
        parsing: &[Parsing],
        values: &mut Vec<f64>,
        rounded: &mut [usize],
    ) -> Result<bool> {
        if !self.advance(selection)? {
            return Ok(false);
        }
        let start = values.len();
        values.resize(start + selection.dim(), 0.0);
        self.each_cell(selection, |column, place, cell| {
            values[start + place] = match (parsing.get(place), number(cell, self.options.decimal)) {
                (Some(Parsing::Labels(labels)), _) => match labels.get(label_of(cell)) {
                    Some(&label) => label.into(),
                    None => return Err(self.no_label(column, labels, cell)),
                },
                (_, Some(value)) => {
                    rounded[place] += usize::from(value.abs() >= WHOLE_ANYWAY && is_rounded(cell, value));
                    value
                }
                (Some(Parsing::Optional), None) if is_missing(cell) => f64::NAN,
                _ => return Err(self.no_number(column, selection, cell)),
            };
            Ok(())
        })?;
        Ok(true)
    }

    /// Hands the selected cells of the next row to `f`, each with its place and, if it is one, its number; false at the
    /// end.
    pub fn look(
        &mut self,
        selection: &Selection,
        f: &mut dyn FnMut(usize, &str, Option<f64>),
    ) -> Result<bool> {
        if !self.advance(selection)? {
            return Ok(false);
        }
        self.each_cell(selection, |_, place, cell| {
            f(place, cell, number(cell, self.options.decimal));
            Ok(())
        })?;
        Ok(true)
    }

    /// Goes to the next row; false at the end.
    fn advance(&mut self, selection: &Selection) -> Result<bool> {
        loop {
            if !self.records.advance()? {
                return Ok(false);
            }
            // A line that begins like a comment is a row if its first cell is not read.
            let begins = self.options.comment.is_none()
                && self.records.cells().next().is_some_and(|cell| cell.first() == Some(&COMMENT));
            let is_row = selection.place(0).is_none() && self.records.len() == selection.names().len();
            if !begins || is_row {
                break;
            }
            self.comment.get_or_insert(self.records.line());
        }
        if let Some(line) = self.comment {
            let expected =
                "a row: comments may only be before or after the rows, unless their character is chosen";
            return Err(parse(line, 0, "#", expected));
        }
        self.row += 1;
        Ok(true)
    }

    /// Calls `f` with column, place and text of each selected cell of the row.
    fn each_cell(
        &self,
        selection: &Selection,
        mut f: impl FnMut(usize, usize, &str) -> Result<()>,
    ) -> Result<()> {
        let (dim, line) = (selection.names().len(), self.records.line());
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
            f(column, place, text)?;
        }
        match self.records.len() {
            found if found < dim => Err(parse(line, found, "the end of the line", format!("{dim} values"))),
            _ => Ok(()),
        }
    }

    /// The error for a text that is not among the labels of its column.
    fn no_label(&self, column: usize, labels: &HashMap<String, u32>, cell: &str) -> Error {
        let mut known: Vec<&str> = labels.keys().map(String::as_str).collect();
        known.sort_unstable();
        parse(self.records.line(), column, cell, format!("one of the labels {known:?}"))
    }

    /// The error for a cell that is not a number; for the whole table if other columns hold no numbers, either.
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
        // A finite number that is parsed as infinite.
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
const UTF8: &str = "text in UTF-8, or in UTF-16 with a byte order mark, or NPY";

/// The first record of a text.
struct First {
    cells: Vec<String>,
    /// Which cells of this record and of the second are in quotes.
    quoted: [Vec<bool>; 2],
    options: TextOptions,
    line: u64,
}

impl First {
    fn is_number(&self, cell: &str) -> bool {
        number(cell, self.options.decimal).is_some()
    }

    /// Whether it could be a row.
    fn holds_values(&self) -> bool {
        self.cells.iter().all(|cell| is_missing(cell) || self.is_number(cell))
    }

    /// Whether a cell would be a number with a decimal comma or thousands separators. It is then not a name, and the
    /// row is refused with a message that says how to read it.
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

/// Numbers in place of empty column names.
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

/// The cells of a text that is a single record.
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

/// Shortened, because a hostile cell can be as long as its line.
fn shortened(found: &str) -> String {
    match found.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &found[..end]),
        None => found.to_owned(),
    }
}

#[cfg(test)]
mod tests;

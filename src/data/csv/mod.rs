//! Tables of numbers as text: lines of values with a separator between them.

use std::borrow::Cow;
use std::io::{self, BufRead, Read, Write};

use ndarray::ArrayView2;

use super::reader::Selection;
use super::table::EXACT;
use crate::error::{Error, Result};

/// Whether the first line of a text table names its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    /// It does unless it holds nothing but numbers and missing values; what stands in quotes is a name. One of
    /// numbers and words is refused. Columns without names are `x1`, `x2`, ….
    #[default]
    Detect,
    /// It does, even if the names are numbers.
    Present,
    /// It does not.
    Absent,
}

/// What is expected of a number that is too large.
pub(super) const WITHIN: &str = "a number within ±3.4e38, the range of f32";

/// The longest line that is taken into memory: 16 MiB, some million columns.
const LONGEST_LINE: u64 = 1 << 24;

/// Lines of a text, one in memory at a time.
struct Lines<R> {
    reader: R,
    /// The line in `text`, from 1.
    number: u64,
    text: Vec<u8>,
    /// Between the cells, once the first line has told it.
    separator: Option<u8>,
}

impl<R: BufRead> Lines<R> {
    /// The next line that is not empty, and its number.
    fn next(&mut self) -> Result<Option<(u64, &str)>> {
        loop {
            self.text.clear();
            self.number += 1;
            let read = (&mut self.reader).take(LONGEST_LINE + 1).read_until(b'\n', &mut self.text);
            if read.map_err(unreadable)? == 0 {
                return Ok(None);
            }
            if self.text.len() as u64 > LONGEST_LINE {
                let expected = format!("a line of at most {LONGEST_LINE} bytes");
                return Err(parse(self.number, 0, &String::from_utf8_lossy(&self.text[..64]), expected));
            }
            if self.number == 1 && self.text.starts_with(b"\xef\xbb\xbf") {
                self.text.drain(..3);
            }
            if !self.text.trim_ascii().is_empty() {
                break;
            }
        }
        match std::str::from_utf8(&self.text) {
            Ok(text) => Ok(Some((self.number, text.trim_end_matches(['\r', '\n'])))),
            Err(error) => {
                let text = String::from_utf8_lossy(&self.text);
                let separator = self.separator.unwrap_or_else(|| separator(&text));
                let column = Cells { rest: Some(&text[..error.valid_up_to()]), separator }.count() - 1;
                Err(parse(self.number, column, "bytes that are not UTF-8", "UTF-8 text, or NPY"))
            }
        }
    }
}

/// The cells of a line, as written but for the spaces around them.
#[derive(Clone)]
struct Cells<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

impl<'a> Iterator for Cells<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let mut quoted = false;
        let end = rest.bytes().position(|byte| {
            quoted ^= byte == b'"';
            byte == self.separator && !quoted
        });
        let (cell, rest) = match end {
            Some(end) => (&rest[..end], Some(&rest[end + 1..])),
            None => (rest, None),
        };
        self.rest = rest;
        Some(cell.trim())
    }
}

/// A cell without its quotes; a quote within is written twice.
fn unquote(cell: &str) -> Cow<'_, str> {
    match cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"')) {
        Some(within) if within.contains('"') => within.replace("\"\"", "\"").into(),
        Some(within) => within.trim().into(),
        None => cell.into(),
    }
}

/// What people write where there is no value.
fn is_missing(cell: &str) -> bool {
    ["", "na", "n/a", "nan", "null", "none", "?"].iter().any(|word| cell.eq_ignore_ascii_case(word))
}

/// Whether a cell reads as a number or as the lack of one; then it is no name, unless it is told to be.
fn is_value(cell: &str) -> bool {
    is_missing(cell) || is_number(cell)
}

/// A finite one: `nan` is a missing value, and `inf` may be a name.
fn is_number(cell: &str) -> bool {
    cell.parse::<f64>().is_ok_and(f64::is_finite)
}

/// A comma, unless the first line has none outside of quotes and does have a tab or a semicolon.
fn separator(first: &str) -> u8 {
    let mut candidates = [b',', b'\t', b';'].into_iter();
    let separates = |&separator: &u8| Cells { rest: Some(first), separator }.nth(1).is_some();
    candidates.find(separates).unwrap_or(b',')
}

/// The rows of a text table.
pub(super) struct TextRows<R> {
    lines: Lines<R>,
    separator: u8,
    /// The number of the first line.
    header: u64,
    /// A first line that was a row, not a header.
    first: Option<(u64, String)>,
    /// Rows read.
    row: u64,
}

impl<R: BufRead> TextRows<R> {
    /// Reads the first line: the names of the columns, if it holds them, and how many columns there are.
    /// A first line of just the `expected` names holds them, whatever they look like.
    pub fn new(reader: R, header: Header, expected: &[&str]) -> Result<(Self, Option<Vec<String>>, usize)> {
        let mut lines = Lines { reader, number: 0, text: Vec::new(), separator: None };
        let Some((line, first)) = lines.next()?.map(|(line, text)| (line, text.to_owned())) else {
            return Err(Error::TooFewRows { what: "the table", got: 0, least: 1 });
        };
        let separator = separator(&first);
        lines.separator = Some(separator);
        let cells = Cells { rest: Some(&first), separator };
        if let Some(column) = cells.clone().position(|cell| cell.contains('\r') && !cell.starts_with('"')) {
            let found = cells.clone().nth(column).unwrap_or_default();
            return Err(parse(line, column, found, "lines that end in \\n or \\r\\n, not in \\r"));
        }
        let named = match header {
            Header::Present => true,
            Header::Absent => false,
            // A quoted cell does not read as a number here.
            Header::Detect => {
                let as_expected = cells.clone().map(unquote).eq(expected.iter().copied());
                let mut names = cells.clone().enumerate().filter(|(_, cell)| !is_value(cell));
                let name = if as_expected { None } else { names.next() };
                if let (Some((column, found)), true) = (name, cells.clone().any(is_number)) {
                    return Err(Error::MixedHeader { line, column: column + 1, found: shortened(found) });
                }
                as_expected || name.is_some()
            }
        };
        let dim = cells.clone().count();
        let names = named.then(|| names(cells));
        let first = (!named).then_some((line, first));
        Ok((TextRows { lines, separator, header: line, first, row: 0 }, names, dim))
    }

    /// The error of a name that other columns have, too.
    pub fn twice(&self, column: usize, name: &str) -> Error {
        parse(self.header, column, name, "a name not used before, or columns chosen by number")
    }

    /// Appends the selected values of the next row, and counts those that were `rounded`; false at the end.
    pub fn next(
        &mut self,
        selection: &Selection,
        values: &mut Vec<f32>,
        rounded: &mut [usize],
    ) -> Result<bool> {
        let first = self.first.take();
        let (number, line) = match &first {
            Some((number, line)) => (*number, line.as_str()),
            None => match self.lines.next()? {
                Some(line) => line,
                None => return Ok(false),
            },
        };
        self.row += 1;
        let dim = selection.names().len();
        let start = values.len();
        values.resize(start + selection.dim(), 0.0);
        let mut found = 0;
        for (column, cell) in (Cells { rest: Some(line), separator: self.separator }).enumerate() {
            if column == dim {
                let expected = format!("the end of the line after {dim} values");
                return Err(parse(number, column, cell, expected));
            }
            found += 1;
            if let Some(place) = selection.place(column) {
                let Some(value) = number_in(cell) else {
                    return Err(no_number(number, self.row, column, &selection.names()[column], cell));
                };
                values[start + place] = value;
                rounded[place] += usize::from(value.abs() >= EXACT && is_rounded(cell, value));
            }
        }
        if found < dim {
            return Err(parse(number, found, "the end of the line", format!("{dim} values")));
        }
        Ok(true)
    }
}

/// The error of a cell that holds no number.
fn no_number(line: u64, row: u64, column: usize, name: &str, cell: &str) -> Error {
    let bare = unquote(cell);
    if is_missing(&bare) {
        let (name, found) = (name.to_owned(), cell.to_owned());
        return Error::MissingValue { line: Some(line), row, column: column + 1, name, found };
    }
    // What reads as infinite and is not called so.
    let beyond = bare.parse::<f32>().is_ok() && bare.contains(|c: char| c.is_ascii_digit());
    let (expected, hint) = if beyond {
        (WITHIN, "")
    } else if is_number(&bare.replacen(',', ".", 1)) {
        ("a finite number", "; decimals are written with a point")
    } else if bare.split([' ', '|']).all(|part| part.is_empty() || is_number(part)) {
        ("a finite number", "; columns are separated by commas, tabs or semicolons")
    } else {
        ("a finite number", "")
    };
    parse(line, column, cell, format!("{expected} ({name}){hint}"))
}

/// The number in a cell.
fn number_in(cell: &str) -> Option<f32> {
    let cell = if cell.starts_with('"') { unquote(cell) } else { cell.into() };
    cell.parse().ok().filter(|value: &f32| value.is_finite())
}

/// Whether a cell holds a whole number, and f32 another one.
fn is_rounded(cell: &str, value: f32) -> bool {
    let cell = unquote(cell);
    let digits = cell.strip_suffix(".0").unwrap_or(&cell);
    digits.parse::<i128>().is_ok_and(|whole| whole != value as i128)
}

/// The names in a header; an index often has none, and gets its number.
fn names(cells: Cells) -> Vec<String> {
    let name = |(column, cell)| match unquote(cell) {
        name if name.is_empty() => format!("x{}", column + 1),
        name => name.into_owned(),
    };
    cells.enumerate().map(name).collect()
}

/// `column` counts from 0 here, from 1 in the message.
fn parse(line: u64, column: usize, found: &str, expected: impl Into<String>) -> Error {
    Error::Parse { line, column: column + 1, found: shortened(found), expected: expected.into() }
}

/// A hostile cell is as long as its line.
fn shortened(found: &str) -> String {
    match found.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &found[..end]),
        None => found.to_owned(),
    }
}

pub(super) fn unreadable(source: io::Error) -> Error {
    Error::Io { path: "the reader".into(), source }
}

/// Writes rows as comma-separated text under a header, in digits that read as the same bits.
///
/// ```
/// use quadrivium::{data::CsvWriter, ndarray::array};
///
/// let mut text = Vec::new();
/// let mut writer = CsvWriter::new(&mut text, &["a", "b, c"])?;
/// writer.rows(array![[1.0f32, 0.1], [1e-9, 3.0]].view())?;
/// assert_eq!(text, b"a,\"b, c\"\n1,0.1\n1e-9,3\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct CsvWriter<W> {
    writer: W,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// Those of `writer`, here and below.
    pub fn new(mut writer: W, names: &[impl AsRef<str>]) -> io::Result<Self> {
        for (column, name) in names.iter().map(AsRef::as_ref).enumerate() {
            let comma = if column > 0 { "," } else { "" };
            let quoted = name.contains([',', ';', '\t', '"', '\n', '\r']) || name.trim() != name;
            // In quotes `2019` and `none` read as names, too.
            match quoted || is_value(name) {
                true => write!(writer, "{comma}\"{}\"", name.replace('"', "\"\""))?,
                false => write!(writer, "{comma}{name}")?,
            }
        }
        writer.write_all(b"\n")?;
        Ok(CsvWriter { writer })
    }

    /// Writes the rows of x, (n, names): f32 or f64.
    pub fn rows<T: Copy + Into<f64> + std::fmt::Display + std::fmt::LowerExp>(
        &mut self,
        x: ArrayView2<T>,
    ) -> io::Result<()> {
        for row in x.rows() {
            for (column, &value) in row.iter().enumerate() {
                let comma = if column > 0 { "," } else { "" };
                // The shortest digits that read as the same number; without the zeros of an extreme one.
                match value.into().abs() {
                    size if size == 0.0 || (1e-5..1e16).contains(&size) => {
                        write!(self.writer, "{comma}{value}")?
                    }
                    size if size.is_infinite() => write!(self.writer, "{comma}{value}")?,
                    _ => write!(self.writer, "{comma}{value:e}")?,
                }
            }
            self.writer.write_all(b"\n")?;
        }
        Ok(())
    }

    /// What was written to, flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.writer.flush()?;
        Ok(self.writer)
    }
}

#[cfg(test)]
mod tests;

//! Tables of numbers as text: lines of values with a separator between them.

use std::borrow::Cow;
use std::io::{self, BufRead, Read, Write};

use ndarray::ArrayView2;

use super::reader::Selection;
use crate::error::{Error, Result};

/// Whether the first line of a text table names its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    /// It does unless it holds nothing but numbers and missing values. Columns without names are `x1`, `x2`, ….
    #[default]
    Detect,
    /// It does, even if the names are numbers.
    Present,
    /// It does not.
    Absent,
}

/// The longest line that is taken into memory: 16 MiB, some million columns.
const LONGEST_LINE: u64 = 1 << 24;

/// Lines of a text, one in memory at a time.
struct Lines<R> {
    reader: R,
    /// The line in `text`, from 1.
    number: u64,
    text: Vec<u8>,
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
                return Err(parse(self.number, 0, "a longer one", expected));
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
                let before = &self.text[..error.valid_up_to()];
                let column = before.iter().filter(|&&b| b == b',').count();
                Err(parse(self.number, column, "bytes that are not UTF-8", "UTF-8 text"))
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

/// A comma, unless the first line has none and does have a tab or a semicolon.
fn separator(first: &str) -> u8 {
    let mut candidates = [b',', b'\t', b';'].into_iter();
    candidates.find(|&c| first.as_bytes().contains(&c)).unwrap_or(b',')
}

/// The rows of a text table.
pub(super) struct TextRows<R> {
    lines: Lines<R>,
    separator: u8,
    /// A first line that was a row, not a header.
    first: Option<(u64, String)>,
    /// Rows read.
    row: u64,
}

impl<R: BufRead> TextRows<R> {
    /// Reads the first line: the names of the columns, if it holds them, and how many columns there are.
    pub fn new(reader: R, header: Header) -> Result<(Self, Option<Vec<String>>, usize)> {
        let mut lines = Lines { reader, number: 0, text: Vec::new() };
        let Some((line, first)) = lines.next()?.map(|(line, text)| (line, text.to_owned())) else {
            return Err(parse(1, 0, "", "a table: the input is empty"));
        };
        let separator = separator(&first);
        let cells = Cells { rest: Some(&first), separator };
        let is_value = |cell: &str| is_missing(cell) || cell.parse::<f64>().is_ok();
        let named = match header {
            Header::Present => true,
            Header::Absent => false,
            Header::Detect => !cells.clone().all(|cell| is_value(&unquote(cell))),
        };
        let dim = cells.clone().count();
        let names = if named { Some(names(cells, line)?) } else { None };
        let first = (!named).then_some((line, first));
        Ok((TextRows { lines, separator, first, row: 0 }, names, dim))
    }

    /// Appends the selected values of the next row; false at the end.
    pub fn next(&mut self, selection: &Selection, values: &mut Vec<f32>) -> Result<bool> {
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
                let name = &selection.names()[column];
                values[start + place] = number_in(cell).map_err(|missing| match missing {
                    true => Error::MissingValue {
                        line: number,
                        row: self.row,
                        column: column + 1,
                        name: name.clone(),
                        found: cell.to_owned(),
                    },
                    false => parse(number, column, cell, format!("a finite number ({name})")),
                })?;
            }
        }
        if found < dim {
            return Err(parse(number, found, "the end of the line", format!("{dim} values")));
        }
        Ok(true)
    }
}

/// The number in a cell, or whether it is missing.
fn number_in(cell: &str) -> Result<f32, bool> {
    let cell = if cell.starts_with('"') { unquote(cell) } else { cell.into() };
    match cell.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(is_missing(&cell)),
    }
}

fn names(cells: Cells, line: u64) -> Result<Vec<String>> {
    let mut seen = std::collections::HashSet::new();
    cells
        .enumerate()
        .map(|(column, cell)| {
            let name = unquote(cell).into_owned();
            if name.is_empty() {
                return Err(parse(line, column, cell, "the name of a column"));
            }
            if !seen.insert(name.clone()) {
                return Err(parse(line, column, &name, "a name not used before"));
            }
            Ok(name)
        })
        .collect()
}

/// `column` counts from 0 here, from 1 in the message.
fn parse(line: u64, column: usize, found: &str, expected: impl Into<String>) -> Error {
    // A hostile cell is as long as its line.
    let found = match found.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &found[..end]),
        None => found.to_owned(),
    };
    Error::Parse { line, column: column + 1, found, expected: expected.into() }
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
            match name.contains([',', ';', '\t', '"', '\n', '\r']) || name.trim() != name {
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

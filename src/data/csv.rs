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
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::data::{Table, TableReader};

    fn read(text: &str) -> Result<Table> {
        Table::from_reader(text.as_bytes())
    }

    #[test]
    fn reads_what_spreadsheets_write() {
        let plain = read("a,b\n1,-2.5e3\n3,4\n").unwrap();
        assert_eq!(plain.x, array![[1.0, -2500.0], [3.0, 4.0]]);
        for same in [
            "a,b\r\n1,-2500\r\n3,4\r\n",
            "a,b\n1,-2500\n3,4",
            "\u{feff}a, b\n\n 1 ,-2500.0\n \n\"3\",+4\n\n",
            "\"a\",\"b\"\n1e0,-2.5E+3\n3.,4\n",
            "a\tb\n1\t-2500\n3\t4\n",
            "a;b\n1;-2500\n\" 3 \";4\n",
        ] {
            assert_eq!(read(same).unwrap(), plain, "{same:?}");
        }
        let quoted = read("\"a, \"\"b\"\"\",c;d\n1,2\n").unwrap();
        assert_eq!(quoted.names, ["a, \"b\"", "c;d"]);
    }

    #[test]
    fn a_first_line_of_numbers_is_a_row() {
        let table = read("\n1,2\n3,4\n").unwrap();
        assert_eq!((table.names, table.x), (vec!["x1".into(), "x2".into()], array![[1.0, 2.0], [3.0, 4.0]]));
        let with = |header| TableReader::new("0,1\n3,4\n".as_bytes(), header).unwrap();
        assert_eq!(with(Header::Present).names(), ["0", "1"]);
        assert!(with(Header::Present).is_named() && !with(Header::Detect).is_named());
        assert_eq!(with(Header::Present).table(9).unwrap().x, array![[3.0, 4.0]]);
        let named = TableReader::new("a,b\n3,4\n".as_bytes(), Header::Absent).unwrap().table(9);
        assert!(matches!(named, Err(Error::Parse { line: 1, column: 1, .. })));
    }

    #[test]
    fn names_that_look_like_values_are_quoted() {
        let names = ["2019", "None", "nan", "1e3"];
        let mut writer = CsvWriter::new(Vec::new(), &names).unwrap();
        writer.rows(array![[1.0f32, 2.0, 3.0, 4.0]].view()).unwrap();
        let table = Table::from_reader(&writer.finish().unwrap()[..]).unwrap();
        assert_eq!((table.names, table.x), (names.map(String::from).into(), array![[1.0, 2.0, 3.0, 4.0]]));
        // Without quotes only who expects them takes them for names.
        let text = "2019,None\n1,2\n".as_bytes();
        assert!(!TableReader::new(text, Header::Detect).unwrap().is_named());
        let reader = TableReader::expecting(text, Header::Detect, &["2019", "None"]).unwrap();
        assert_eq!(reader.table(9).unwrap().x, array![[1.0, 2.0]]);
        assert!(!TableReader::expecting(text, Header::Absent, &["2019", "None"]).unwrap().is_named());
        assert!(!TableReader::expecting(text, Header::Detect, &["2019"]).unwrap().is_named());
    }

    #[test]
    fn a_first_line_of_numbers_and_words_is_not_guessed_at() {
        for (text, at) in [("1,2x\n3,4\n", 2), ("a,2\n3,4\n", 1), ("\"1\",2\n", 1)] {
            let error = read(text).unwrap_err();
            assert!(matches!(error, Error::MixedHeader { line: 1, column, .. } if column == at), "{error}");
            assert!(TableReader::new(text.as_bytes(), Header::Present).unwrap().is_named());
            assert!(!TableReader::new(text.as_bytes(), Header::Absent).unwrap().is_named());
        }
    }

    #[test]
    fn an_index_without_a_name_gets_its_number() {
        let table = read(",x,y\n0,1,2\n1,3,4\n").unwrap();
        assert_eq!(table.names, ["x1", "x", "y"]);
        assert_eq!(table.select(&["x", "y"]).unwrap().x, array![[1.0, 2.0], [3.0, 4.0]]);
    }

    #[test]
    fn a_name_twice_is_told_where_it_matters() {
        let reader = || TableReader::new("a,b,a\n1,2,3\n".as_bytes(), Header::Detect).unwrap();
        assert_eq!(reader().select(&["b"]).unwrap().block(9).unwrap(), array![[2.0]]);
        assert_eq!(reader().select(&["3", "2"]).unwrap().block(9).unwrap(), array![[3.0, 2.0]]);
        for wrong in [&["a"][..], &["1", "3"], &["b", "a"]] {
            let error = reader().select(wrong).and_then(|mut reader| reader.block(9)).unwrap_err();
            assert!(matches!(error, Error::Parse { line: 1, column: 3, .. }), "{wrong:?}: {error}");
        }
        assert!(matches!(reader().block(9), Err(Error::Parse { line: 1, column: 3, .. })));
    }

    #[test]
    fn every_error_has_its_place() {
        for (text, at, what, wants) in [
            ("a,a\n1,2\n", (1, 2), "a", "not used before"),
            ("a,b\n1,2\n3,x\n", (3, 2), "x", "finite number (b)"),
            ("a,b\n1,-inf\n", (2, 2), "-inf", "finite number (b)"),
            ("a,b\n1,1e39\n", (2, 2), "1e39", "within ±3.4e38, the range of f32 (b)"),
            ("a\n-1e999\n", (2, 1), "-1e999", "within ±3.4e38"),
            ("a,b\n1,2\n3\n", (3, 2), "the end of the line", "2 values"),
            ("a,b\n1,2\n3,4\n5", (4, 2), "the end of the line", "2 values"),
            ("a,b\n1,2,9\n", (2, 3), "9", "the end of the line"),
            ("a;b\n1,5;2\n", (2, 1), "1,5", "finite number (a); decimals are written with a point"),
            ("1 2\n3 4\n", (2, 1), "3 4", "finite number (1 2); columns are separated by commas, tabs or"),
            ("a|b\n-1 | 2e3\n", (2, 1), "-1 | 2e3", "finite number (a|b); columns are separated by"),
            ("a\n1 kg\n", (2, 1), "1 kg", "finite number (a)"),
            ("a,b\r1,2\r3,4\r", (1, 2), "b\r1", "lines that end in \\n or \\r\\n"),
            ("1\r2", (1, 1), "1\r2", "lines that end in"),
            ("a,b\n\"1,2\n", (2, 1), "\"1,2", "finite number (a)"),
            ("a,b\n1,2\n\n\n3,x\n", (5, 2), "x", "finite number (b)"),
            ("a,b\r\n\r\n1,2\r\n3,x\r\n", (4, 2), "x", "finite number (b)"),
            ("1,2\nx,2\n", (2, 1), "x", "finite number (x1)"),
        ] {
            match read(text).unwrap_err() {
                Error::Parse { line, column, found, expected } => {
                    assert_eq!(((line, column), found.as_str()), (at, what), "{text:?}");
                    assert!(expected.contains(wants), "{text:?}: {expected}");
                    assert_eq!(expected.contains(';'), wants.contains(';'), "{text:?}: {expected}");
                }
                other => panic!("{text:?}: {other}"),
            }
        }
        for empty in ["", "\n\n", "a,b\n"] {
            assert!(matches!(read(empty), Err(Error::TooFewRows { got: 0, least: 1, .. })), "{empty:?}");
        }
        for text in [&b"a,b\n1,2\n3,\xe9\n"[..], b"\"a,\";b\n1;2\n3;\xe9\n"] {
            let latin = Table::from_reader(text).unwrap_err();
            assert!(matches!(latin, Error::Parse { line: 3, column: 2, .. }), "{latin}");
        }
    }

    #[test]
    fn missing_values_are_told_by_row_and_column() {
        for cell in ["", "NA", "n/a", "NaN", "null", "None", "?", "\"\"", " "] {
            match read(&format!("a,b\n1,2\n\n3,{cell}\n")).unwrap_err() {
                Error::MissingValue { line: Some(4), row: 2, column: 2, name, .. } => assert_eq!(name, "b"),
                other => panic!("{cell:?}: {other}"),
            }
        }
        // A first line with a gap is a row all the same.
        let error = read("1,NA\n3,4\n").unwrap_err();
        assert!(matches!(error, Error::MissingValue { line: Some(1), row: 1, column: 2, .. }), "{error}");
    }

    /// An endless line of one byte, and how much of it was read.
    struct Endless(u8, usize);

    impl Read for Endless {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            bytes.fill(self.0);
            self.1 += bytes.len();
            Ok(bytes.len())
        }
    }

    #[test]
    fn an_endless_line_is_not_read_through() {
        for byte in *b"\0,1\"" {
            let mut endless = Endless(byte, 0);
            let error = Table::from_reader(&mut endless).unwrap_err();
            assert!(matches!(error, Error::Parse { line: 1, .. }), "{error}");
            assert!(error.to_string().len() < 500 && endless.1 < 2 << 24, "{error}");
        }
    }

    #[test]
    fn what_is_written_reads_as_the_same_bits() {
        let mut rng = crate::seeded(3);
        let mut random = || loop {
            let value = f32::from_bits(rand::RngCore::next_u32(&mut rng));
            if value.is_finite() {
                return value;
            }
        };
        let mut x = Array2::from_shape_simple_fn((500, 3), &mut random);
        x.row_mut(0).assign(&array![0.0, -0.0, f32::MIN_POSITIVE / 4.0]);
        x.row_mut(1).assign(&array![f32::MAX, -1.0, 16_777_216.0]);
        let mut writer = CsvWriter::new(Vec::new(), &["a \"b\"", " c", "d"]).unwrap();
        writer.rows(x.view()).unwrap();
        let text = writer.finish().unwrap();
        assert!(text.len() < 500 * 3 * 17);
        let table = Table::from_reader(&text[..]).unwrap();
        assert!(table.x.iter().zip(&x).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert_eq!(table.names[0], "a \"b\"");

        let mut writer = CsvWriter::new(Vec::new(), &["nats"]).unwrap();
        writer.rows(array![[0.1], [f64::NEG_INFINITY], [-1e-300]].view()).unwrap();
        assert_eq!(writer.finish().unwrap(), b"nats\n0.1\n-inf\n-1e-300\n");
    }
}

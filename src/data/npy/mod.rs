//! Tables in NumPy's NPY format (NEP 1): a short text that says type, order and shape, then the numbers.
//!
//! Written here rather than taken from a crate: a file is untrusted, and those that read it allocate whatever
//! length a header announces, and bring a whole grammar of Python.

use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;

use super::csv::{WITHIN, unreadable};
use super::reader::Selection;
use super::table::EXACT;
use crate::error::{Error, Result};

/// What an NPY file begins with; no UTF-8 text does.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// The longest header that is read: numpy's are 128 bytes, and a table's text is below 200.
const LONGEST_HEADER: u32 = 1 << 14;

fn broken(what: impl Into<String>) -> Error {
    Error::Npy { what: what.into() }
}

/// How a number is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stored {
    /// b(ool), i(nteger), u(nsigned) or f(loat).
    kind: u8,
    bytes: usize,
    big_endian: bool,
}

impl Stored {
    /// Of numpy's word: `<f4`, `|u1`, ….
    fn parse(descr: &str) -> Option<Self> {
        let &[order @ (b'<' | b'>' | b'|' | b'='), kind, size] = descr.as_bytes() else { return None };
        let bytes = usize::from(size.wrapping_sub(b'0'));
        let known = match kind {
            b'b' => bytes == 1,
            b'i' | b'u' => matches!(bytes, 1 | 2 | 4 | 8),
            b'f' => matches!(bytes, 4 | 8),
            _ => false,
        };
        let big_endian = order == b'>' || (order == b'=' && cfg!(target_endian = "big"));
        known.then_some(Stored { kind, bytes, big_endian })
    }

    /// The number in as many bytes.
    fn read(self, bytes: &[u8]) -> Number {
        let mut wide = [0; 8];
        wide[..self.bytes].copy_from_slice(bytes);
        if self.big_endian {
            wide[..self.bytes].reverse();
        }
        let bits = u64::from_le_bytes(wide);
        // Up and down again spreads the sign.
        let shift = 64 - 8 * self.bytes as u32;
        match (self.kind, self.bytes) {
            (b'f', 4) => Number::Float(f32::from_bits(bits as u32).into()),
            (b'f', _) => Number::Float(f64::from_bits(bits)),
            (b'i', _) => Number::Signed(((bits << shift) as i64) >> shift),
            _ => Number::Unsigned(bits),
        }
    }
}

/// A number as it stands in a file.
#[derive(Clone, Copy)]
enum Number {
    Float(f64),
    Signed(i64),
    Unsigned(u64),
}

impl Number {
    fn to_f32(self) -> f32 {
        match self {
            Number::Float(v) => v as f32,
            Number::Signed(v) => v as f32,
            Number::Unsigned(v) => v as f32,
        }
    }

    /// Whether it is a whole number, and `value` another one. From 2⁵³ on f64 has no others: they say nothing.
    fn is_rounded(self, value: f32) -> bool {
        const WHOLE_ANYWAY: f64 = 9_007_199_254_740_992.0;
        match self {
            Number::Float(v) => v.fract() == 0.0 && v.abs() < WHOLE_ANYWAY && v != f64::from(value),
            Number::Signed(v) => i128::from(v) != value as i128,
            Number::Unsigned(v) => i128::from(v) != value as i128,
        }
    }
}

/// What the header says.
#[derive(Debug, PartialEq)]
struct Description {
    stored: Stored,
    fortran: bool,
    rows: u64,
    columns: u64,
}

/// A text being taken apart from its start.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn eat(&mut self, token: &str) -> bool {
        self.0 = self.0.trim_start();
        let rest = self.0.strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        if self.eat(token) { Ok(()) } else { Err(self.wrong(&format!("{token:?}"))) }
    }

    fn wrong(&self, expected: &str) -> Error {
        let found: String = self.0.chars().take(20).collect();
        broken(format!("the header has {found:?} where {expected} should stand"))
    }

    /// A string in quotes of either kind.
    fn string(&mut self) -> Result<&'a str> {
        for quote in ["'", "\""] {
            if self.eat(quote)
                && let Some((string, rest)) = self.0.split_once(quote)
            {
                self.0 = rest;
                return Ok(string);
            }
        }
        Err(self.wrong("a string"))
    }

    fn number(&mut self) -> Result<u64> {
        self.0 = self.0.trim_start();
        let end = self.0.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(self.0.len());
        let number = self.0[..end].parse().map_err(|_| self.wrong("a size"))?;
        self.0 = &self.0[end..];
        Ok(number)
    }
}

impl Description {
    /// Of `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }`.
    fn parse(text: &str) -> Result<Self> {
        let mut text = Cursor(text);
        let (mut stored, mut fortran, mut shape) = (None, None, None);
        text.expect("{")?;
        while !text.eat("}") {
            let key = text.string()?;
            text.expect(":")?;
            match key {
                "descr" => {
                    if !text.0.trim_start().starts_with(['\'', '"']) {
                        return Err(broken("its rows are records: expected one type of number"));
                    }
                    let descr = text.string()?;
                    let of = Stored::parse(descr).ok_or_else(|| {
                        let numbers = "f4, f8, i1 to i8, u1 to u8 or b1";
                        broken(format!("its values have the type {descr:?}: expected {numbers}"))
                    });
                    stored = Some(of?);
                }
                "fortran_order" => match (text.eat("True"), text.eat("False")) {
                    (false, false) => return Err(text.wrong("True or False")),
                    (order, _) => fortran = Some(order),
                },
                "shape" => {
                    text.expect("(")?;
                    let mut sizes = Vec::new();
                    while !text.eat(")") {
                        sizes.push(text.number()?);
                        if !text.eat(",") {
                            text.expect(")")?;
                            break;
                        }
                    }
                    shape = Some(sizes);
                }
                other => return Err(broken(format!("the header has an unknown field {other:?}"))),
            }
            if !text.eat(",") {
                text.expect("}")?;
                break;
            }
        }
        let (Some(stored), Some(fortran), Some(shape)) = (stored, fortran, shape) else {
            return Err(broken("the header lacks one of descr, fortran_order and shape"));
        };
        let (rows, columns) = match shape[..] {
            [rows] => (rows, 1),
            [rows, columns] => (rows, columns),
            _ => return Err(broken(format!("its shape is {shape:?}: expected rows and columns"))),
        };
        let bytes = rows.checked_mul(columns).and_then(|n| n.checked_mul(stored.bytes as u64));
        if columns == 0 || bytes.is_none_or(|bytes| bytes > i64::MAX as u64) {
            return Err(broken(format!("its shape is {shape:?}: expected a table that can be")));
        }
        // One column is the same in either order, and one of the orders can be read row by row.
        Ok(Description { stored, fortran: fortran && columns > 1, rows, columns })
    }
}

/// The rows of an NPY file.
pub(super) struct NpyRows<R> {
    reader: R,
    description: Description,
    /// Rows read.
    row: u64,
    /// The bytes at hand: of a block, or, in Fortran order, of all numbers.
    bytes: Vec<u8>,
}

impl<R: BufRead> NpyRows<R> {
    pub fn new(mut reader: R) -> Result<Self> {
        let mut start = [0; 8];
        let mut short = |bytes: &mut [u8]| match reader.read_exact(bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(broken("it ends within the header"))
            }
            other => other.map_err(unreadable),
        };
        short(&mut start)?;
        let (major, mut length) = (start[6], [0; 4]);
        match major {
            1 => short(&mut length[..2])?,
            2 | 3 => short(&mut length)?,
            _ => return Err(broken(format!("its format is {major}: expected 1 to 3"))),
        }
        let length = u32::from_le_bytes(length);
        if length > LONGEST_HEADER {
            return Err(broken(format!(
                "it announces a header of {length} bytes: expected at most {LONGEST_HEADER}"
            )));
        }
        let mut text = vec![0; length as usize];
        short(&mut text)?;
        let text = std::str::from_utf8(&text).map_err(|_| broken("the header is no text"))?;
        let description = Description::parse(text)?;
        // A selection of columns is taken of them, so they are counted in memory.
        if description.columns > LONGEST_HEADER.into() {
            return Err(broken(format!("it has {} columns: expected at most 16384", description.columns)));
        }
        Ok(NpyRows { reader, description, row: 0, bytes: Vec::new() })
    }

    pub fn dim(&self) -> usize {
        self.description.columns as usize
    }

    pub fn len(&self) -> u64 {
        self.description.rows
    }

    /// Appends the selected values of the next rows, `most` at most, and counts those that were `rounded`.
    pub fn block(
        &mut self,
        most: usize,
        selection: &Selection,
        values: &mut Vec<f32>,
        rounded: &mut [usize],
    ) -> Result<()> {
        let Description { stored, fortran, rows, columns } = self.description;
        let block = (rows - self.row).min(most as u64);
        if fortran && self.bytes.is_empty() {
            self.fill(rows)?;
        }
        if !fortran {
            self.fill(block)?;
        }
        for row in 0..block {
            for (&column, rounded) in selection.columns().iter().zip(&mut *rounded) {
                let place = match fortran {
                    true => column as u64 * rows + self.row + row,
                    false => row * columns + column as u64,
                };
                let start = place as usize * stored.bytes;
                let number = stored.read(&self.bytes[start..start + stored.bytes]);
                let value = number.to_f32();
                if let (false, Number::Float(found)) = (value.is_finite(), number) {
                    let name = selection.names()[column].clone();
                    return Err(no_value(self.row + row + 1, column + 1, name, found));
                }
                *rounded += usize::from(value.abs() >= EXACT && number.is_rounded(value));
                values.push(value);
            }
        }
        self.row += block;
        if self.row == rows && !self.reader.fill_buf().map_err(unreadable)?.is_empty() {
            return Err(broken(format!("it goes on after the {rows} rows that it announces")));
        }
        Ok(())
    }

    /// Takes the bytes of as many rows into memory, which grows with what is there, not with what is announced.
    fn fill(&mut self, rows: u64) -> Result<()> {
        let Description { stored, columns, rows: announced, .. } = self.description;
        let width = columns * stored.bytes as u64;
        self.bytes.clear();
        let got = (&mut self.reader).take(rows * width).read_to_end(&mut self.bytes);
        let got = got.map_err(unreadable)? as u64;
        if got < rows * width {
            let whole = self.row + got / width;
            return Err(broken(format!("it ends after {whole} of the {announced} rows that it announces")));
        }
        Ok(())
    }
}

/// The error of a number that is none in f32. Row and column count from 1.
fn no_value(row: u64, column: usize, name: String, found: f64) -> Error {
    if found.is_nan() {
        return Error::MissingValue { line: None, row, column, name, found: "NaN".into() };
    }
    let expected = if found.is_infinite() { "a finite number" } else { WITHIN };
    Error::Number { row, column, name, found, expected }
}

/// A type of number that is written to an NPY file: f32 or f64.
pub trait NpyNumber: Copy + private::Bytes {}

impl NpyNumber for f32 {}
impl NpyNumber for f64 {}

mod private {
    pub trait Bytes {
        const DESCR: &'static str;
        fn append_to(self, bytes: &mut Vec<u8>);
    }

    impl Bytes for f32 {
        const DESCR: &'static str = "<f4";
        fn append_to(self, bytes: &mut Vec<u8>) {
            bytes.extend(self.to_le_bytes());
        }
    }

    impl Bytes for f64 {
        const DESCR: &'static str = "<f8";
        fn append_to(self, bytes: &mut Vec<u8>) {
            bytes.extend(self.to_le_bytes());
        }
    }
}

/// Writes rows to an NPY file, which `numpy.load` reads, in C order.
///
/// ```
/// use std::io::Cursor;
/// use quadrivium::data::{Header, NpyWriter, TableReader};
///
/// let mut writer = NpyWriter::new(Cursor::new(Vec::new()), 2, 3)?;
/// writer.write(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// let file = writer.finish()?.into_inner();
/// let table = TableReader::new(&file[..], Header::Detect)?.table(usize::MAX)?;
/// assert_eq!(table.x, quadrivium::ndarray::array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct NpyWriter<W, T> {
    writer: W,
    columns: usize,
    /// Rows announced.
    rows: u64,
    /// Numbers written.
    written: u64,
    bytes: Vec<u8>,
    number: PhantomData<T>,
}

/// The header of a table: 128 bytes, whatever its shape, so that a later one can take its place.
fn header(descr: &str, rows: u64, columns: usize) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let mut header = [MAGIC, &[1, 0, 118, 0], text.as_bytes()].concat();
    header.resize(127, b' ');
    header.push(b'\n');
    header
}

impl<W: Write, T: NpyNumber> NpyWriter<W, T> {
    /// Writes the header of `rows` rows of `columns` numbers.
    ///
    /// # Errors
    /// Those of `writer`, here and below. [`io::ErrorKind::InvalidInput`] for more than 2⁶⁴ numbers.
    pub fn new(mut writer: W, rows: u64, columns: usize) -> io::Result<Self> {
        if rows.checked_mul(columns as u64).is_none() {
            let what = format!("{rows} rows of {columns} numbers are more than any file holds");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        writer.write_all(&header(T::DESCR, rows, columns))?;
        Ok(NpyWriter { writer, columns, rows, written: 0, bytes: Vec::new(), number: PhantomData })
    }

    /// Writes numbers, row after row.
    pub fn write(&mut self, numbers: &[T]) -> io::Result<()> {
        self.bytes.clear();
        numbers.iter().for_each(|number| number.append_to(&mut self.bytes));
        self.written += numbers.len() as u64;
        self.writer.write_all(&self.bytes)
    }

    /// What was written to, flushed.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] unless as many rows were written as announced.
    pub fn finish(mut self) -> io::Result<W> {
        if self.written != self.rows * self.columns as u64 {
            let (written, rows, columns) = (self.written, self.rows, self.columns);
            let what = format!("{written} numbers written: {rows} rows of {columns} announced");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        self.writer.flush()?;
        Ok(self.writer)
    }

    /// The same where the number of rows shows only now: it goes into the header, at the start of `writer`.
    pub fn finish_counted(mut self) -> io::Result<W>
    where
        W: Seek,
    {
        self.rows = self.written / self.columns.max(1) as u64;
        self.writer.seek(SeekFrom::Start(0))?;
        self.writer.write_all(&header(T::DESCR, self.rows, self.columns))?;
        self.writer.seek(SeekFrom::End(0))?;
        self.finish()
    }
}

#[cfg(test)]
mod tests;

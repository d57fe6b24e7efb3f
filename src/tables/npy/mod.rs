//! Tables in NumPy's NPY format (NEP 1): a short text with type, order and shape, followed by the numbers.
//!
//! This reader is not taken from a crate because files are not trusted: existing crates allocate whatever length a
//! header announces, and bring a whole Python grammar.

mod header;
mod write;

use std::io::{self, BufRead, Read};

pub use write::{NpyNumber, NpyWriter};

use header::Description;

use super::MOST_COLUMNS;
use super::reader::{Values, unreadable};
use super::selection::Selection;
use crate::error::{Error, Result, TableError};

/// The first bytes of an NPY file, with which no UTF-8 text begins.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// The longest header that is read. Numpy writes 128 bytes, and the text for a table is shorter than 200.
const LONGEST_HEADER: u32 = 1 << 14;

/// The type that is read without converting each number: little-endian f32.
const SINGLE: Stored = Stored { kind: b'f', bytes: 4, big_endian: false };

fn broken(what: impl Into<String>) -> Error {
    Error::Table(TableError::Npy { what: what.into() })
}

/// How a number is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stored {
    /// b(ool), i(nteger), u(nsigned) or f(loat).
    kind: u8,
    pub bytes: usize,
    big_endian: bool,
}

impl Stored {
    /// From numpy's description: `<f4`, `|u1`, ….
    pub fn parse(descr: &str) -> Option<Self> {
        let &[order @ (b'<' | b'>' | b'|' | b'='), kind, size] = descr.as_bytes() else { return None };
        let bytes = usize::from(size.wrapping_sub(b'0'));
        let known = match kind {
            b'b' => bytes == 1,
            b'i' | b'u' => matches!(bytes, 1 | 2 | 4 | 8),
            b'f' => matches!(bytes, 2 | 4 | 8),
            _ => false,
        };
        let big_endian = order == b'>' || (order == b'=' && cfg!(target_endian = "big"));
        known.then_some(Stored { kind, bytes, big_endian })
    }

    /// The number in these bytes.
    fn read(self, bytes: &[u8]) -> Number {
        let mut wide = [0; 8];
        wide[..self.bytes].copy_from_slice(bytes);
        if self.big_endian {
            wide[..self.bytes].reverse();
        }
        let bits = u64::from_le_bytes(wide);
        // Shifting up and down again extends the sign.
        let shift = 64 - 8 * self.bytes as u32;
        match (self.kind, self.bytes) {
            (b'f', 2) => Number::Float(half(bits as u16)),
            (b'f', 4) => Number::Float(f32::from_bits(bits as u32).into()),
            (b'f', _) => Number::Float(f64::from_bits(bits)),
            (b'i', _) => Number::Signed(((bits << shift) as i64) >> shift),
            _ => Number::Unsigned(bits),
        }
    }
}

/// A number as stored in a file.
#[derive(Clone, Copy)]
enum Number {
    Float(f64),
    Signed(i64),
    Unsigned(u64),
}

impl Number {
    fn to_f64(self) -> f64 {
        match self {
            Number::Float(v) => v,
            Number::Signed(v) => v as f64,
            Number::Unsigned(v) => v as f64,
        }
    }

    /// Whether it is a whole number that f64 changes.
    fn is_rounded(self) -> bool {
        match self {
            Number::Float(_) => false,
            Number::Signed(v) => i128::from(v) != v as f64 as i128,
            Number::Unsigned(v) => i128::from(v) != v as f64 as i128,
        }
    }
}

/// The number in 16 bits of IEEE 754: a sign, 5 bits of exponent, 10 of fraction.
pub(super) fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

/// The rows of an NPY file.
pub(super) struct NpyRows<R> {
    reader: R,
    description: Description,
    /// Rows read.
    row: u64,
    /// The bytes in memory: of a block, or, in Fortran order, of all numbers.
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
        let text = std::str::from_utf8(&text).map_err(|_| broken("the header is not text"))?;
        let description = Description::parse(text)?;
        // The selection keeps an entry per column in memory.
        if description.columns > MOST_COLUMNS as u64 {
            let columns = description.columns;
            return Err(broken(format!("it has {columns} columns: expected at most {MOST_COLUMNS}")));
        }
        Ok(NpyRows { reader, description, row: 0, bytes: Vec::new() })
    }

    pub fn dim(&self) -> usize {
        self.description.columns as usize
    }

    pub fn len(&self) -> u64 {
        self.description.rows
    }

    /// The selected values of the next rows, `most` at most; counts those that f64 has `rounded`.
    pub fn block(&mut self, most: usize, selection: &Selection, rounded: &mut [usize]) -> Result<Values> {
        let Description { stored, fortran, rows, .. } = self.description;
        let block = (rows - self.row).min(most as u64);
        if fortran && self.bytes.is_empty() {
            self.fill(rows)?;
        }
        if !fortran {
            self.fill(block)?;
        }
        let as_stored = !fortran && stored == SINGLE && selection.is_all();
        let values = match as_stored {
            true => self.singles(selection).map(Values::Single)?,
            false => self.doubles(block, selection, rounded).map(Values::Double)?,
        };
        self.row += block;
        if self.row == rows && !self.reader.fill_buf().map_err(unreadable)?.is_empty() {
            return Err(broken(format!("it continues after the {rows} rows that it announces")));
        }
        Ok(values)
    }

    /// Numbers that are stored as they are needed.
    fn singles(&self, selection: &Selection) -> Result<Vec<f32>> {
        let (numbers, _) = self.bytes.as_chunks();
        let values: Vec<f32> = numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        // Checks all of them first: a search that stops early is slower.
        if !values.iter().fold(true, |finite, value| finite & value.is_finite()) {
            let at = values.iter().position(|value| !value.is_finite()).unwrap_or_default();
            return Err(self.no_value(
                at / selection.dim(),
                at % selection.dim(),
                selection,
                values[at].into(),
            ));
        }
        Ok(values)
    }

    fn doubles(&self, block: u64, selection: &Selection, rounded: &mut [usize]) -> Result<Vec<f64>> {
        let Description { stored, fortran, rows, columns } = self.description;
        let mut values = Vec::new();
        for row in 0..block {
            for (&column, rounded) in selection.columns().iter().zip(&mut *rounded) {
                let place = match fortran {
                    true => column as u64 * rows + self.row + row,
                    false => row * columns + column as u64,
                };
                let start = place as usize * stored.bytes;
                let bytes = &self.bytes[start..start + stored.bytes];
                if stored.kind == b'b' && bytes[0] > 1 {
                    let row = self.row + row + 1;
                    return Err(broken(format!("row {row} has a boolean of {}: expected 0 or 1", bytes[0])));
                }
                let number = stored.read(bytes);
                let value = number.to_f64();
                if !value.is_finite() {
                    return Err(self.no_value(row as usize, column, selection, value));
                }
                *rounded += usize::from(number.is_rounded());
                values.push(value);
            }
        }
        Ok(values)
    }

    /// The error for a number that is not finite, in a row of the block.
    fn no_value(&self, row: usize, column: usize, selection: &Selection, found: f64) -> Error {
        let (row, name) = (self.row + row as u64 + 1, selection.names()[column].clone());
        let column = column + 1;
        match found.is_nan() {
            true => {
                Error::Table(TableError::MissingValue { line: None, row, column, name, found: "NaN".into() })
            }
            false => {
                Error::Table(TableError::Number { row, column, name, found, expected: "a finite number" })
            }
        }
    }

    /// Reads the bytes of this many rows. Memory grows with the bytes that exist, not with the number that is
    /// announced.
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

#[cfg(test)]
mod tests;

//! Writing rows to an NPY file.

use std::io::{self, Seek, SeekFrom, Write};
use std::marker::PhantomData;

use super::MAGIC;

/// A type of number that can be written to an NPY file: f32 or f64.
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
/// use quadrivium::tables::{Header, NpyWriter, TableReader};
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

/// The header of a table. It has 128 bytes for any shape, so that it can be replaced later.
pub(super) fn header(descr: &str, rows: u64, columns: usize) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let mut header = [MAGIC, &[1, 0, 118, 0], text.as_bytes()].concat();
    header.resize(127, b' ');
    header.push(b'\n');
    header
}

impl<W: Write, T: NpyNumber> NpyWriter<W, T> {
    /// Writes the header for `rows` rows of `columns` numbers.
    ///
    /// # Errors
    /// The errors of `writer`, here and in the other methods. [`io::ErrorKind::InvalidInput`] for more than 2⁶⁴
    /// numbers.
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

    /// Flushes and returns the writer.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] unless the announced number of rows was written.
    pub fn finish(mut self) -> io::Result<W> {
        if self.written != self.rows * self.columns as u64 {
            let (written, rows, columns) = (self.written, self.rows, self.columns);
            let what = format!("{written} numbers written: {rows} rows of {columns} announced");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        self.writer.flush()?;
        Ok(self.writer)
    }

    /// The same if the number of rows is known only now: it is written to the header, at the start of `writer`.
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

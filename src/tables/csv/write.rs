//! Writing rows as text.

use std::io::{self, Write};

use ndarray::ArrayView2;

use super::number::{Decimal, is_missing, number};
use crate::tables::Cells;

/// Writes rows as comma-separated text with a header, in digits that are read back as the same bits.
///
/// ```
/// use quadrivium::{tables::CsvWriter, ndarray::array};
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

/// Writes a cell of text, in quotes where it would be read otherwise without, or if `quoted`.
fn text(writer: &mut impl Write, comma: &str, text: &str, quoted: bool) -> io::Result<()> {
    let special = text.contains([',', ';', '\t', '|', '"', '\n', '\r']);
    match quoted || special || text.trim() != text || text.starts_with('#') {
        true => write!(writer, "{comma}\"{}\"", text.replace('"', "\"\"")),
        false => write!(writer, "{comma}{text}"),
    }
}

impl<W: Write> CsvWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// The errors of `writer`, here and in the other methods.
    pub fn new(mut writer: W, names: &[impl AsRef<str>]) -> io::Result<Self> {
        for (column, name) in names.iter().map(AsRef::as_ref).enumerate() {
            let comma = if column > 0 { "," } else { "" };
            // In quotes, `2019` and `none` are read as names, too.
            let styles = [Decimal::Plain, Decimal::Point, Decimal::Comma];
            let numeric = styles.into_iter().any(|style| number(name, style).is_some());
            text(&mut writer, comma, name, is_missing(name) || numeric)?;
        }
        writer.write_all(b"\n")?;
        Ok(CsvWriter { writer })
    }

    /// Writes the rows of x, (n, names): f32 or f64.
    pub fn rows<T: Copy + Into<f64> + std::fmt::Display + std::fmt::LowerExp>(
        &mut self,
        x: ArrayView2<T>,
    ) -> io::Result<()> {
        self.rows_as(x, &[])
    }

    /// [`rows`](CsvWriter::rows), whose numbers in a column of [`Cells::Labels`] are written as labels, and those that are
    /// missing in one of [`Cells::Optional`] as empty cells; one for each column, or none if all are numbers.
    pub fn rows_as<T: Copy + Into<f64> + std::fmt::Display + std::fmt::LowerExp>(
        &mut self,
        x: ArrayView2<T>,
        cells: &[Cells],
    ) -> io::Result<()> {
        for row in x.rows() {
            for (column, &value) in row.iter().enumerate() {
                let comma = if column > 0 { "," } else { "" };
                if let Some(label) = cells.get(column).and_then(|cells| cells.text(value.into())) {
                    text(&mut self.writer, comma, label, false)?;
                    continue;
                }
                // The shortest digits that are read back as the same number; an exponent avoids the zeros of an
                // extreme one.
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

    /// Flushes and returns the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.writer.flush()?;
        Ok(self.writer)
    }
}

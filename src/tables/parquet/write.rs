use std::io::{self, Write};
use std::marker::PhantomData;
use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::types::Type;
use ndarray::ArrayView2;

use crate::tables::Cells;

/// Rows of a row group.
const GROUP: usize = 1 << 16;

/// A number that a column of fractions can have: `f32` or `f64`.
pub trait ParquetNumber: Copy + Into<f64> + sealed::Sealed {
    /// Its type in the file.
    #[doc(hidden)]
    const DOUBLE: bool;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl ParquetNumber for f32 {
    const DOUBLE: bool = false;
}

impl ParquetNumber for f64 {
    const DOUBLE: bool = true;
}

/// Writes rows in Parquet format, compressed by Snappy, which data frames, databases and spreadsheets read.
///
/// A column has the type of its cells: labels are UTF-8 text, whole numbers `INT64`, others `FLOAT` or `DOUBLE`. A number
/// that is missing, and the label "", is null.
///
/// ```
/// use quadrivium::tables::{Cells, Header, MISSING, ParquetWriter, TableReader};
/// use quadrivium::ndarray::array;
///
/// let cells = [Cells::Labels(vec!["DE".into(), "FR".into()]), Cells::Optional, Cells::Numbers];
/// let mut writer = ParquetWriter::new(Vec::new(), &["country", "weight", "orders"], &cells, &[false, false, true])?;
/// writer.rows(array![[1.0f32, 0.5, 3.0], [0.0, MISSING, 4.0]].view())?;
/// let bytes = writer.finish()?;
///
/// let reader = TableReader::new(&bytes[..], Header::Detect)?.read_as(&cells)?;
/// let table = reader.table(9)?;
/// assert_eq!(table.names, ["country", "weight", "orders"]);
/// assert_eq!(table.x, array![[1.0, 0.5, 3.0], [0.0, MISSING, 4.0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ParquetWriter<W: Write + Send, T> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Column>,
    number: PhantomData<T>,
}

/// A column, and its cells of the row group that is being filled.
struct Column {
    cells: Cells,
    /// 1 where there is a value, 0 for null; empty if the column has no nulls.
    levels: Vec<i16>,
    values: Buffer,
}

enum Buffer {
    Whole(Vec<i64>),
    Single(Vec<f32>),
    Double(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl Buffer {
    fn physical(&self) -> Physical {
        match self {
            Buffer::Whole(_) => Physical::INT64,
            Buffer::Single(_) => Physical::FLOAT,
            Buffer::Double(_) => Physical::DOUBLE,
            Buffer::Text(_) => Physical::BYTE_ARRAY,
        }
    }
}

fn io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

impl<W: Write + Send, T: ParquetNumber> ParquetWriter<W, T> {
    /// Writes the file's beginning. `cells` say what the numbers of each column stand for, as in
    /// [`CsvWriter::rows_as`](crate::tables::CsvWriter::rows_as), and `whole` which columns hold whole numbers alone; both
    /// have an entry for each column, or none.
    ///
    /// # Errors
    /// The errors of `writer`, here and in the other methods, and one for a name that two columns have.
    pub fn new(writer: W, names: &[impl AsRef<str>], cells: &[Cells], whole: &[bool]) -> io::Result<Self> {
        let column = |place: usize| {
            let cells = cells.get(place).cloned().unwrap_or_default();
            let values = match cells {
                Cells::Labels(_) => Buffer::Text(Vec::new()),
                _ if whole.get(place).copied().unwrap_or(false) => Buffer::Whole(Vec::new()),
                _ if T::DOUBLE => Buffer::Double(Vec::new()),
                _ => Buffer::Single(Vec::new()),
            };
            Column { cells, levels: Vec::new(), values }
        };
        let columns: Vec<Column> = (0..names.len()).map(column).collect();
        let field = |(column, name): (&Column, &str)| {
            let repetition = if column.is_nullable() { Repetition::OPTIONAL } else { Repetition::REQUIRED };
            let text = matches!(column.values, Buffer::Text(_)).then_some(LogicalType::String);
            let field = Type::primitive_type_builder(name, column.values.physical());
            field.with_repetition(repetition).with_logical_type(text).build().map(Arc::new)
        };
        let fields = columns.iter().zip(names.iter().map(AsRef::as_ref)).map(field);
        let fields = fields.collect::<Result<_, _>>().map_err(io)?;
        let schema = Type::group_type_builder("rows").with_fields(fields).build().map_err(io)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("quadrivium ", env!("CARGO_PKG_VERSION")).into())
            .build();
        let writer = SerializedFileWriter::new(writer, Arc::new(schema), Arc::new(properties)).map_err(io)?;
        Ok(ParquetWriter { writer, columns, number: PhantomData })
    }

    /// Writes the rows of x, (n, names). A group of rows is kept in memory until it is full.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for a fraction in a column of whole numbers.
    pub fn rows(&mut self, x: ArrayView2<T>) -> io::Result<()> {
        for row in x.rows() {
            for (column, &value) in self.columns.iter_mut().zip(row) {
                column.push(value.into())?;
            }
            if self.buffered() == GROUP {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Rows in memory.
    fn buffered(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut group = self.writer.next_row_group().map_err(io)?;
        for column in &mut self.columns {
            column.write(&mut group).map_err(io)?;
        }
        group.close().map(drop).map_err(io)
    }

    /// Writes the file's end and returns the writer.
    pub fn finish(mut self) -> io::Result<W> {
        if self.buffered() > 0 {
            self.flush()?;
        }
        self.writer.into_inner().map_err(io)
    }
}

impl Column {
    /// Whether a cell may be null.
    fn is_nullable(&self) -> bool {
        match &self.cells {
            Cells::Numbers => false,
            Cells::Optional => true,
            Cells::Labels(labels) => labels.iter().any(String::is_empty),
        }
    }

    fn len(&self) -> usize {
        if self.is_nullable() {
            return self.levels.len();
        }
        match &self.values {
            Buffer::Whole(values) => values.len(),
            Buffer::Single(values) => values.len(),
            Buffer::Double(values) => values.len(),
            Buffer::Text(values) => values.len(),
        }
    }

    fn push(&mut self, value: f64) -> io::Result<()> {
        let text = self.cells.text(value);
        if self.is_nullable() {
            self.levels.push(i16::from(text != Some("")));
            if text == Some("") {
                return Ok(());
            }
        }
        match &mut self.values {
            Buffer::Text(values) => values.push(text.unwrap_or_default().into()),
            Buffer::Single(values) => values.push(value as f32),
            Buffer::Double(values) => values.push(value),
            // Casts between the two saturate.
            Buffer::Whole(values) if value as i64 as f64 == value => values.push(value as i64),
            Buffer::Whole(_) => {
                let message = format!("{value} in a column of whole numbers");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(())
    }

    /// Writes the cells to a row group, and forgets them.
    fn write<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        fn batch<T: DataType, W: Write + Send>(
            group: &mut SerializedRowGroupWriter<'_, W>,
            values: &mut Vec<T::T>,
            levels: Option<&[i16]>,
        ) -> Result<(), ParquetError> {
            let mut column = group.next_column()?.expect("as many columns as in the schema");
            column.typed::<T>().write_batch(values, levels, None)?;
            values.clear();
            column.close()
        }
        let levels = self.is_nullable().then_some(&self.levels[..]);
        match &mut self.values {
            Buffer::Whole(values) => batch::<Int64Type, W>(group, values, levels),
            Buffer::Single(values) => batch::<FloatType, W>(group, values, levels),
            Buffer::Double(values) => batch::<DoubleType, W>(group, values, levels),
            Buffer::Text(values) => batch::<ByteArrayType, W>(group, values, levels),
        }?;
        self.levels.clear();
        Ok(())
    }
}

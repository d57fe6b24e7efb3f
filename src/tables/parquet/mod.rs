//! Tables in Parquet format: row groups of columns, of which only the selected ones are read.

mod write;

use ::parquet::basic::{ConvertedType, LogicalType, Type};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use ::parquet::schema::types::ColumnDescriptor;

pub use self::write::{ParquetNumber, ParquetWriter};
use super::MOST_COLUMNS;
use super::cells::{Parsing, label_of};
use super::npy::half;
use super::reader::{Values, unreadable};
use super::selection::Selection;
use crate::error::{Content, Error, Result, TableError};

/// The error for a file that cannot be read.
fn broken(what: impl Into<String>) -> Error {
    Error::Table(TableError::Parquet { what: what.into() })
}

fn failed(error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast() {
            Ok(source) => unreadable(*source),
            Err(other) => broken(other.to_string()),
        },
        other => broken(other.to_string()),
    }
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Signed,
    Unsigned,
    Float,
    Half,
    Truth,
    /// Whole numbers of units 10^−scale.
    Decimal(i32),
    Text,
    Date,
    /// Values that are no cells: lists, bytes, ….
    Other,
}

impl Kind {
    fn of(column: &ColumnDescriptor) -> Self {
        if column.max_rep_level() > 0 {
            return Kind::Other;
        }
        let (logical, converted) = (column.logical_type_ref(), column.converted_type());
        match (logical, converted) {
            (Some(LogicalType::Decimal(_)), _) | (_, ConvertedType::DECIMAL) => {
                return Kind::Decimal(column.type_scale());
            }
            (Some(LogicalType::Date | LogicalType::Time(_) | LogicalType::Timestamp(_)), _)
            | (
                _,
                ConvertedType::DATE
                | ConvertedType::TIME_MILLIS
                | ConvertedType::TIME_MICROS
                | ConvertedType::TIMESTAMP_MILLIS
                | ConvertedType::TIMESTAMP_MICROS
                | ConvertedType::INTERVAL,
            ) => return Kind::Date,
            (Some(LogicalType::Integer(integer)), _) if !integer.is_signed => return Kind::Unsigned,
            (
                _,
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64,
            ) => return Kind::Unsigned,
            (Some(LogicalType::Float16), _) => return Kind::Half,
            _ => {}
        }
        let text = matches!(
            (logical, converted),
            (Some(LogicalType::String | LogicalType::Enum), _)
                | (_, ConvertedType::UTF8 | ConvertedType::ENUM)
        );
        match column.physical_type() {
            Type::BOOLEAN => Kind::Truth,
            Type::INT32 | Type::INT64 => Kind::Signed,
            Type::FLOAT | Type::DOUBLE => Kind::Float,
            Type::BYTE_ARRAY if text => Kind::Text,
            // Timestamps of earlier writers.
            Type::INT96 => Kind::Date,
            Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY => Kind::Other,
        }
    }

    fn content(self, cells: &[Cell]) -> Content {
        match self {
            Kind::Date => Content::Dates,
            Kind::Text => {
                let text =
                    cells.iter().find_map(|cell| if let Cell::Text(text) = cell { Some(text) } else { None });
                Content::Text { example: text.cloned().unwrap_or_default() }
            }
            _ => Content::Numbers,
        }
    }
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Missing,
    Number {
        value: f64,
        /// Whether it is a whole number that f64 changes.
        rounded: bool,
        /// Whether it has the digits of an f32.
        single: bool,
    },
    Text(String),
}

impl Cell {
    fn whole(value: i128) -> Self {
        Cell::Number { value: value as f64, rounded: value != value as f64 as i128, single: false }
    }

    /// NaN is what data frames write where there is no value.
    fn float(value: f64, single: bool) -> Self {
        if value.is_nan() { Cell::Missing } else { Cell::Number { value, rounded: false, single } }
    }

    fn number(&self) -> Option<f64> {
        if let Cell::Number { value, .. } = self { Some(*value) } else { None }
    }

    /// As a text file would have it.
    fn text(&self) -> String {
        match self {
            Cell::Missing => String::new(),
            Cell::Number { value, single: true, .. } => (*value as f32).to_string(),
            Cell::Number { value, .. } => value.to_string(),
            Cell::Text(text) => text.clone(),
        }
    }
}

/// The whole number in big-endian two's complement, of at most 16 bytes.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let fill = if bytes.first().is_some_and(|byte| byte >> 7 == 1) { 0xff } else { 0 };
    let mut number = [fill; 16];
    number[16_usize.checked_sub(bytes.len())?..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(number))
}

/// The rows of a Parquet file.
pub(super) struct ParquetRows {
    file: Box<dyn FileReader>,
    kinds: Vec<Kind>,
    /// The definition level of a cell with a value: a lower one is that of a null.
    levels: Vec<i16>,
    /// The next row group, and the rows left in that before it.
    group: usize,
    left: usize,
    /// The readers of the selected columns of that group.
    readers: Vec<ColumnReader>,
    /// Rows read.
    row: u64,
}

impl ParquetRows {
    /// The rows, and the names of the columns.
    pub fn new(source: impl ChunkReader + 'static) -> Result<(Self, Vec<String>)> {
        let file = SerializedFileReader::new(source).map_err(failed)?;
        let schema = file.metadata().file_metadata().schema_descr();
        if schema.num_columns() > MOST_COLUMNS {
            let columns = schema.num_columns();
            return Err(broken(format!("it has {columns} columns: expected at most {MOST_COLUMNS}")));
        }
        if schema.num_columns() == 0 {
            return Err(broken("it has no columns"));
        }
        let kinds = schema.columns().iter().map(|column| Kind::of(column)).collect();
        let levels = schema.columns().iter().map(|column| column.max_def_level()).collect();
        let names = schema.columns().iter().map(|column| column.path().string()).collect();
        let rows = ParquetRows {
            file: Box::new(file),
            kinds,
            levels,
            group: 0,
            left: 0,
            readers: Vec::new(),
            row: 0,
        };
        Ok((rows, names))
    }

    pub fn dim(&self) -> usize {
        self.kinds.len()
    }

    pub fn len(&self) -> u64 {
        self.file.metadata().file_metadata().num_rows().max(0) as u64
    }

    /// The selected cells of the next rows, `most` at most, column by column; fewer at the end of a row group, and none
    /// at the end of the file.
    fn cells(&mut self, most: usize, selection: &Selection) -> Result<Vec<Vec<Cell>>> {
        while self.left == 0 && self.group < self.file.num_row_groups() {
            let group = self.file.get_row_group(self.group).map_err(failed)?;
            self.left = group.metadata().num_rows().max(0) as usize;
            let readers = selection.columns().iter().map(|&column| group.get_column_reader(column));
            self.readers = readers.collect::<std::result::Result<_, _>>().map_err(failed)?;
            self.group += 1;
        }
        let rows = most.min(self.left);
        let read = |(reader, &column): (&mut ColumnReader, &usize)| {
            let name = &selection.names()[column];
            let cells = cells(reader, rows, self.kinds[column], self.levels[column]).map_err(failed)?;
            match cells {
                Some(cells) if cells.len() == rows => Ok(cells),
                Some(_) => {
                    Err(broken(format!("column {name} ends before the rows that its group announces")))
                }
                None => Err(broken(format!("column {name} holds neither numbers nor text: leave it out"))),
            }
        };
        let cells = self.readers.iter_mut().zip(selection.columns()).map(read).collect::<Result<_>>()?;
        self.left -= rows;
        Ok(cells)
    }

    /// The selected values of the next rows, `most` at most; counts those that f64 has `rounded`.
    pub fn block(
        &mut self,
        most: usize,
        selection: &Selection,
        parsing: &[Parsing],
        rounded: &mut [usize],
    ) -> Result<Values> {
        let (dim, mut values) = (selection.dim(), Vec::new());
        while values.len() < most.saturating_mul(dim) {
            let columns = self.cells(most - values.len() / dim, selection)?;
            let (start, rows) = (values.len(), columns.first().map_or(0, Vec::len));
            if rows == 0 {
                break;
            }
            values.resize(start + rows * dim, 0.0);
            for (place, cells) in columns.iter().enumerate() {
                for (row, cell) in cells.iter().enumerate() {
                    let value = match (parsing.get(place), cell) {
                        (Some(Parsing::Labels(labels)), cell) => match labels.get(label_of(&cell.text())) {
                            Some(&label) => label.into(),
                            None => return Err(self.no_label(row, place, selection, cell)),
                        },
                        (_, &Cell::Number { value, rounded: is_rounded, .. }) => {
                            rounded[place] += usize::from(is_rounded);
                            value
                        }
                        (Some(Parsing::Optional), Cell::Missing) => f64::NAN,
                        (_, Cell::Missing) => return Err(self.missing(row, place, selection)),
                        (_, Cell::Text(_)) => return Err(self.mixed(selection, &columns)),
                    };
                    values[start + row * dim + place] = value;
                }
            }
            self.row += rows as u64;
        }
        Ok(Values::Double(values))
    }

    /// Hands the selected cells of some rows to `f`, each with its place, its text and, if it is one, its number; false
    /// at the end.
    pub fn look(
        &mut self,
        selection: &Selection,
        f: &mut dyn FnMut(usize, &str, Option<f64>),
    ) -> Result<bool> {
        const ROWS: usize = 1024;
        let columns = self.cells(ROWS, selection)?;
        for (place, cells) in columns.iter().enumerate() {
            cells.iter().for_each(|cell| f(place, &cell.text(), cell.number()));
        }
        Ok(columns.first().is_some_and(|cells| !cells.is_empty()))
    }

    fn missing(&self, row: usize, place: usize, selection: &Selection) -> Error {
        let column = selection.columns()[place];
        Error::Table(TableError::MissingValue {
            line: None,
            row: self.row + row as u64 + 1,
            column: column + 1,
            name: selection.names()[column].clone(),
            found: "null".into(),
        })
    }

    fn no_label(&self, row: usize, place: usize, selection: &Selection, cell: &Cell) -> Error {
        let (row, name) = (self.row + row as u64 + 1, &selection.names()[selection.columns()[place]]);
        broken(format!("row {row} of column {name} holds {:?}, which is none of its labels", cell.text()))
    }

    fn mixed(&self, selection: &Selection, columns: &[Vec<Cell>]) -> Error {
        let content = |(&column, cells): (&usize, &Vec<Cell>)| {
            (selection.names()[column].clone(), self.kinds[column].content(cells))
        };
        let columns = selection.columns().iter().zip(columns).map(content).collect();
        Error::Table(TableError::MixedColumns { columns })
    }
}

/// The next cells of a column; `None` of values that are no cells.
fn cells(
    reader: &mut ColumnReader,
    rows: usize,
    kind: Kind,
    level: i16,
) -> std::result::Result<Option<Vec<Cell>>, ParquetError> {
    let decimal = |number: i128, scale: i32| Cell::float(number as f64 / 10f64.powi(scale), false);
    let bytes = |bytes: &[u8]| match kind {
        Kind::Half => {
            <[u8; 2]>::try_from(bytes).ok().map(|bytes| Cell::float(half(u16::from_le_bytes(bytes)), true))
        }
        Kind::Decimal(scale) => big_endian(bytes).map(|number| decimal(number, scale)),
        Kind::Text => std::str::from_utf8(bytes).ok().map(|text| Cell::Text(text.to_owned())),
        _ => None,
    };
    match (reader, kind) {
        (_, Kind::Other) => Ok(None),
        // A text, for the message that it is no number.
        (_, Kind::Date) => Ok(Some(vec![Cell::Text("a date".into()); rows])),
        (ColumnReader::BoolColumnReader(reader), _) => {
            each(reader, rows, level, |v| Some(Cell::whole((*v).into())))
        }
        (ColumnReader::Int32ColumnReader(reader), kind) => each(reader, rows, level, |&v| {
            Some(match kind {
                Kind::Unsigned => Cell::whole((v as u32).into()),
                Kind::Decimal(scale) => decimal(v.into(), scale),
                _ => Cell::whole(v.into()),
            })
        }),
        (ColumnReader::Int64ColumnReader(reader), kind) => each(reader, rows, level, |&v| {
            Some(match kind {
                Kind::Unsigned => Cell::whole((v as u64).into()),
                Kind::Decimal(scale) => decimal(v.into(), scale),
                _ => Cell::whole(v.into()),
            })
        }),
        (ColumnReader::FloatColumnReader(reader), _) => {
            each(reader, rows, level, |&v| Some(Cell::float(v.into(), true)))
        }
        (ColumnReader::DoubleColumnReader(reader), _) => {
            each(reader, rows, level, |&v| Some(Cell::float(v, false)))
        }
        (ColumnReader::ByteArrayColumnReader(reader), _) => each(reader, rows, level, |v| bytes(v.data())),
        (ColumnReader::FixedLenByteArrayColumnReader(reader), _) => {
            each(reader, rows, level, |v| bytes(v.data()))
        }
        (ColumnReader::Int96ColumnReader(_), _) => Ok(None),
    }
}

/// The next `rows` values of a column as cells, fewer where the column ends early; `None` if one of them is
/// none. A cell is missing where its level is below the highest.
fn each<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    most: i16,
    cell: impl Fn(&T::T) -> Option<Cell>,
) -> std::result::Result<Option<Vec<Cell>>, ParquetError> {
    let (mut levels, mut values, mut read) = (Vec::new(), Vec::new(), 0);
    while read < rows {
        let (records, ..) = reader.read_records(rows - read, Some(&mut levels), None, &mut values)?;
        if records == 0 {
            break;
        }
        read += records;
    }
    let mut values = values.iter();
    if most == 0 {
        return Ok(values.map(cell).collect());
    }
    let cells = levels.iter().map(|level| match *level == most {
        true => values.next().and_then(&cell),
        false => Some(Cell::Missing),
    });
    Ok(cells.collect())
}

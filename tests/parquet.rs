//! Tables in Parquet format, as other programs write them and as this crate does.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{
    BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use quadrivium::error::{Content, TableError};
use quadrivium::ndarray::{Array2, array};
use quadrivium::tables::{Cells, Header, MISSING, ParquetWriter, TableReader, open_table};
use quadrivium::{Error, Result};

fn field(name: &str, physical: Physical, logical: Option<LogicalType>, length: i32, scale: i32) -> TypePtr {
    let field = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
    let field = field.with_logical_type(logical).with_length(length).with_scale(scale).with_precision(9);
    Arc::new(field.build().unwrap())
}

fn column<T: DataType>(group: &mut SerializedRowGroupWriter<'_, Vec<u8>>, values: &[Option<T::T>]) {
    let mut column = group.next_column().unwrap().unwrap();
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = values.iter().flatten().cloned().collect();
    column.typed::<T>().write_batch(&values, Some(&levels), None).unwrap();
    column.close().unwrap();
}

/// Two row groups of a table with a column of each kind.
fn kinds() -> Vec<u8> {
    let decimal = Some(LogicalType::decimal(2, 9));
    let fields = vec![
        field("whole", Physical::INT64, None, -1, -1),
        field("unsigned", Physical::INT32, Some(LogicalType::integer(32, false)), -1, -1),
        field("single", Physical::FLOAT, None, -1, -1),
        field("truth", Physical::BOOLEAN, None, -1, -1),
        field("price", Physical::INT32, decimal.clone(), -1, 2),
        field("wide", Physical::FIXED_LEN_BYTE_ARRAY, decimal, 4, 2),
        field("half", Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Float16), 2, -1),
        field("text", Physical::BYTE_ARRAY, Some(LogicalType::String), -1, -1),
        field("day", Physical::INT32, Some(LogicalType::Date), -1, -1),
        field("gaps", Physical::DOUBLE, None, -1, -1),
    ];
    let schema = Type::group_type_builder("schema").with_fields(fields).build().unwrap();
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), properties).unwrap();
    for first in [0, 2] {
        let mut group = writer.next_row_group().unwrap();
        let two = |value: &dyn Fn(i64) -> i64| [Some(value(first)), Some(value(first + 1))];
        let ints = |value: &dyn Fn(i64) -> i32| [Some(value(first)), Some(value(first + 1))];
        column::<Int64Type>(&mut group, &two(&|row| row - (1 << 53) - 1));
        column::<Int32Type>(&mut group, &ints(&|row| -1 - row as i32));
        column::<FloatType>(&mut group, &[Some(0.1), Some(first as f32)]);
        column::<BoolType>(&mut group, &[Some(true), Some(false)]);
        column::<Int32Type>(&mut group, &ints(&|row| 199 + row as i32));
        let bytes = |bytes: &[u8]| Some(bytes.to_vec().into());
        column::<FixedLenByteArrayType>(
            &mut group,
            &[bytes(&(-250i32).to_be_bytes()), bytes(&(first as i32).to_be_bytes())]
                .map(|v: Option<parquet::data_type::ByteArray>| v.map(Into::into)),
        );
        column::<FixedLenByteArrayType>(
            &mut group,
            &[bytes(&0x3c00u16.to_le_bytes()), bytes(&0xc000u16.to_le_bytes())]
                .map(|v: Option<parquet::data_type::ByteArray>| v.map(Into::into)),
        );
        column::<ByteArrayType>(
            &mut group,
            &[Some("b".into()), if first == 0 { Some("a".into()) } else { None }],
        );
        column::<Int32Type>(&mut group, &ints(&|row| 17_000 + row as i32));
        column::<DoubleType>(&mut group, &[Some(f64::NAN), if first == 0 { None } else { Some(1.5) }]);
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

fn reader(bytes: &[u8]) -> TableReader<&[u8]> {
    TableReader::new(bytes, Header::Detect).unwrap()
}

#[test]
fn numbers_of_all_kinds_are_read() {
    let bytes = kinds();
    let numbers = ["unsigned", "single", "truth", "price", "wide", "half"];
    let x = reader(&bytes).select(&numbers).unwrap().table(9).unwrap().x;
    let max = u32::MAX as f32;
    let rows = array![
        [max, 0.1, 1.0, 1.99, -2.5, 1.0],
        [max - 1.0, 0.0, 0.0, 2.0, 0.0, -2.0],
        [max - 2.0, 0.1, 1.0, 2.01, -2.5, 1.0],
        [max - 3.0, 2.0, 0.0, 2.02, 0.02, -2.0],
    ];
    // The units of so large numbers are their own.
    assert_eq!(x.slice(quadrivium::ndarray::s![.., 1..]), rows.slice(quadrivium::ndarray::s![.., 1..]));
    // Whole numbers that f64 changes are counted: −2⁵³ − 1.
    let mut whole = reader(&bytes).select(&["whole"]).unwrap();
    whole.block(9).unwrap();
    assert!(whole.rounded()[0] > 0);
    assert_eq!((whole.announced_rows(), whole.is_named()), (Some(4), true));
}

#[test]
fn labels_and_gaps_are_read_as_cells() {
    let bytes = kinds();
    let survey = reader(&bytes).select(&["text", "gaps", "single", "price"]).unwrap().survey().unwrap();
    let cells: Vec<_> = survey.iter().map(|column| column.cells()).collect();
    let labels = Cells::Labels(["", "a", "b"].map(String::from).to_vec());
    assert_eq!(
        cells,
        [Some(labels.clone()), Some(Cells::Optional), Some(Cells::Numbers), Some(Cells::Numbers)]
    );
    assert_eq!((survey[2].decimals, survey[3].decimals), (Some(1), Some(2)));
    let reader =
        reader(&bytes).select(&["text", "gaps"]).unwrap().read_as(&[labels, Cells::Optional]).unwrap();
    let x = reader.table(9).unwrap().x;
    assert_eq!(x, array![[2.0, MISSING], [1.0, MISSING], [2.0, MISSING], [0.0, 1.5]]);
}

#[test]
fn blocks_end_where_they_are_asked_to_and_not_with_the_row_group() {
    let bytes = kinds();
    let mut reader = reader(&bytes).select(&["price"]).unwrap();
    assert_eq!(reader.block(3).unwrap(), array![[1.99], [2.0], [2.01]]);
    assert_eq!(reader.block(3).unwrap(), array![[2.02]]);
    assert_eq!(reader.block(3).unwrap().nrows(), 0);
}

#[test]
fn columns_that_hold_no_numbers_are_named() {
    let bytes = kinds();
    let error = |columns: &[&str]| reader(&bytes).select(columns).unwrap().table(9).unwrap_err();
    let Error::Table(TableError::MixedColumns { columns }) = error(&["single", "text", "day"]) else {
        panic!()
    };
    let text = Content::Text { example: "b".into() };
    let wanted = [("single", Content::Numbers), ("text", text), ("day", Content::Dates)];
    assert_eq!(columns, wanted.map(|(name, content)| (name.to_owned(), content)));
    let Error::Table(TableError::MissingValue { row: 1, column: 10, name, .. }) = error(&["gaps"]) else {
        panic!()
    };
    assert_eq!(name, "gaps");
}

#[test]
fn damaged_files_are_errors() {
    let bytes = kinds();
    for end in [5, 100, bytes.len() / 2, bytes.len() - 1] {
        let read = TableReader::new(&bytes[..end], Header::Detect).and_then(|reader| reader.table(9));
        assert!(matches!(read, Err(Error::Table(TableError::Parquet { .. }))), "{end}: {read:?}");
    }
    // A text may begin in the same way.
    assert_eq!(reader(b"PAR1,b\n1,2\n").names(), ["PAR1", "b"]);
}

#[test]
fn written_rows_are_read_back_from_a_file() -> Result<()> {
    let labels = Cells::Labels(["", "x"].map(String::from).to_vec());
    let cells = [labels, Cells::Optional, Cells::Numbers, Cells::Optional];
    let rows = 70_000;
    let x = Array2::from_shape_fn((rows, 4), |(row, column)| match column {
        0 => (row % 2) as f64,
        _ if row % 7 == 3 && column != 2 => f64::from(MISSING),
        3 => row as f64,
        _ => row as f64 + 0.1,
    });
    let whole = [false, false, false, true];
    let mut writer = ParquetWriter::new(Vec::new(), &["a", "b", "c", "d"], &cells, &whole).unwrap();
    writer.rows(x.view()).unwrap();
    let path = std::env::temp_dir().join(format!("quadrivium-{}.parquet", std::process::id()));
    std::fs::write(&path, writer.finish().unwrap()).unwrap();
    let mut reader = open_table(&path, Header::Detect)?.read_as(&cells)?;
    let back = reader.block(rows + 1)?;
    std::fs::remove_file(&path).ok();
    assert_eq!(back, x.mapv(|v| v as f32));
    Ok(())
}

#[test]
fn fraction_among_whole_numbers_is_refused() {
    let mut writer = ParquetWriter::new(Vec::new(), &["a"], &[], &[true]).unwrap();
    let error = writer.rows(array![[0.5f32]].view()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}

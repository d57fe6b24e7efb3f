use crate::error::TableError;
use ndarray::{Array2, Axis, array, s};

use super::write::header;
use super::*;
use crate::tables::{Header, Table, TableReader};

fn file(text: &str, data: &[u8]) -> Vec<u8> {
    [MAGIC, &[1, 0], &(text.len() as u16).to_le_bytes(), text.as_bytes(), data].concat()
}

fn read(bytes: &[u8]) -> Result<Table> {
    TableReader::new(bytes, Header::Detect)?.table(usize::MAX)
}

/// As `numpy.save` writes it.
fn of(descr: &str, order: &str, shape: &str, data: &[u8]) -> Result<Table> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}   \n");
    read(&file(&text, data))
}

fn refused(result: Result<Table>) -> String {
    match result {
        Err(error @ Error::Table(TableError::Npy { .. })) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_type_of_number_is_read() {
    let expected = array![[1.0, 0.0], [3.0, 1.0]];
    macro_rules! check {
        ($($number:ty: $descr:literal),+) => {$({
            let numbers = [1 as $number, 0 as $number, 3 as $number, 1 as $number];
            let little: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
            let big: Vec<u8> = numbers.iter().flat_map(|v| v.to_be_bytes()).collect();
            assert_eq!(of(concat!("<", $descr), "False", "(2, 2)", &little).unwrap().x, expected);
            assert_eq!(of(concat!(">", $descr), "False", "(2, 2)", &big).unwrap().x, expected);
        })+};
    }
    check!(f32: "f4", f64: "f8", i8: "i1", i16: "i2", i32: "i4", i64: "i8");
    check!(u8: "u1", u16: "u2", u32: "u4", u64: "u8");
    assert_eq!(of("|b1", "False", "(2, 2)", &[1, 0, 0, 1]).unwrap().x, array![[1.0, 0.0], [0.0, 1.0]]);
    // As Python 2 wrote it.
    assert_eq!(of("|b1", "False", "(2L, 2L)", &[1, 0, 0, 1]).unwrap().x, array![[1.0, 0.0], [0.0, 1.0]]);
    assert_eq!(of("<i2", "False", "(2,)", &[0xFE, 0xFF, 2, 0]).unwrap().x, array![[-2.0], [2.0]]);
    assert_eq!(of("<i8", "False", "(1,)", &i64::MIN.to_le_bytes()).unwrap().x, array![[i64::MIN as f32]]);
    assert_eq!(of("<u8", "False", "(1,)", &[0xFF; 8]).unwrap().x, array![[u64::MAX as f32]]);
}

#[test]
fn either_order_and_any_block_gives_the_same_rows() {
    let x = Array2::from_shape_fn((7, 3), |(i, j)| (10 * i + j) as f32);
    let rows: Vec<u8> = x.iter().flat_map(|v| v.to_le_bytes()).collect();
    let columns: Vec<u8> = x.t().iter().flat_map(|v| v.to_le_bytes()).collect();
    for (order, data) in [("False", &rows), ("True", &columns)] {
        let text = format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': (7, 3)}}");
        let file = file(&text, data);
        assert_eq!(read(&file).unwrap().x, x);
        let reader = TableReader::new(&file[..], Header::Detect).unwrap();
        assert_eq!((reader.announced_rows(), reader.is_named()), (Some(7), false));
        let mut reader = reader.select(&["3", "x1"]).unwrap();
        let (mut row, part) = (0, x.select(Axis(1), &[2, 0]));
        for expected in [3, 3, 1, 0, 0] {
            assert_eq!(reader.block(3).unwrap(), part.slice(s![row..row + expected, ..]), "{order} {row}");
            row += expected;
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let x = array![[1.5f32, -0.0], [f32::MAX, 1e-40]];
    let write = |rows| {
        let mut writer = NpyWriter::new(io::Cursor::new(Vec::new()), rows, 2).unwrap();
        writer.write(x.as_slice().unwrap()).unwrap();
        writer
    };
    let whole = write(2).finish().unwrap().into_inner();
    assert_eq!(whole.len(), 128 + 16);
    assert_eq!(write(0).finish_counted().unwrap().into_inner(), whole);
    assert!(write(3).finish().is_err());
    let read = read(&whole).unwrap().x;
    assert!(read.iter().zip(&x).all(|(a, b)| a.to_bits() == b.to_bits()));
    // The longest header there can be.
    assert_eq!(header("<f8", u64::MAX, usize::MAX).len(), 128);
}

#[test]
fn values_without_a_place_in_f32_are_told() {
    for (value, says) in [
        (f64::NAN, "column 2 (x2): \"NaN\" in row 2 is a missing value"),
        (f64::NEG_INFINITY, "row 2, column 2 (x2): found -inf, expected a finite number"),
    ] {
        let data: Vec<u8> = [0.0, 0.0, 0.0, value].iter().flat_map(|v: &f64| v.to_le_bytes()).collect();
        for order in ["False", "True"] {
            let error = of("<f8", order, "(2, 2)", &data).unwrap_err();
            assert!(error.to_string().starts_with(says), "{error}");
        }
        // A later block, and a selection, count as the file does.
        let text = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2)}";
        let file = file(text, &data);
        let mut reader = TableReader::new(&file[..], Header::Detect).unwrap().select(&["x2", "x1"]).unwrap();
        reader.block(1).unwrap();
        let error = reader.block(1).unwrap_err();
        assert!(error.to_string().starts_with(says), "{error}");
    }
    // Blocks are in f32; a table finds units for its columns.
    let data: Vec<u8> = [0.0, 0.0, 0.0, 1e300].iter().flat_map(|v: &f64| v.to_le_bytes()).collect();
    let file = file("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2)}", &data);
    let mut reader = TableReader::new(&file[..], Header::Detect).unwrap();
    reader.block(1).unwrap();
    let says = "row 2, column 2 (x2): found 1e300, expected a number within ±3.4e38";
    assert!(reader.block(1).unwrap_err().to_string().starts_with(says));
    let table = read(&file).unwrap();
    assert!(table.units[0].is_identity() && (table.value(1, 1) / 1e300 - 1.0).abs() < 1e-6);
}

/// All columns of little-endian f32 in C order are taken as they stand; a selection goes the other way.
#[test]
fn the_fast_path_reads_what_the_other_does() {
    let mut x = Array2::from_shape_fn((5000, 3), |(i, j)| (i * i + j) as f32 * 0.37 - 9.0);
    x[[4999, 2]] = -0.0;
    let file = |x: &Array2<f32>| {
        let data: Vec<u8> = x.iter().flat_map(|v| v.to_le_bytes()).collect();
        file("{'descr': '<f4', 'fortran_order': False, 'shape': (5000, 3)}", &data)
    };
    let bytes = file(&x);
    let same = |a: &Array2<f32>, b: &Array2<f32>| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    assert!(same(&read(&bytes).unwrap().x, &x));
    let reversed = TableReader::new(&bytes[..], Header::Detect).unwrap().select(&["3", "2", "1"]).unwrap();
    assert!(same(&reversed.table(usize::MAX).unwrap().x, &x.select(Axis(1), &[2, 1, 0])));
    for (value, says) in
        [(f32::NAN, "column 2 (x2): \"NaN\" in row 4322"), (f32::INFINITY, "row 4322, column 2 (x2)")]
    {
        x[[4321, 1]] = value;
        let error = read(&file(&x)).unwrap_err();
        assert!(error.to_string().starts_with(says), "{error}");
    }
}

#[test]
fn half_precision_is_read() {
    // What numpy.float16 makes of these.
    let bits: [u16; 8] = [0x3C00, 0xC000, 0x3555, 0x7BFF, 0x0001, 0x0400, 0x8000, 0x6400];
    let values = [1.0, -2.0, 1365.0 / 4096.0, 65504.0, 2f32.powi(-24), 2f32.powi(-14), -0.0, 1024.0];
    let data: Vec<u8> = bits.iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(of("<f2", "False", "(8,)", &data).unwrap().x.into_raw_vec_and_offset().0, values);
    assert!(matches!(
        of("<f2", "False", "(1,)", &[0, 0x7C]),
        Err(Error::Table(TableError::Number { row: 1, .. }))
    ));
    assert!(matches!(
        of("<f2", "False", "(1,)", &[1, 0x7C]),
        Err(Error::Table(TableError::MissingValue { row: 1, .. }))
    ));
}

#[test]
fn whole_numbers_that_become_others_are_counted() {
    let rounded = |descr, data: &[u8]| of(descr, "False", "(3,)", data).unwrap().rounded[0];
    let bytes = |values: [[u8; 8]; 3]| values.concat();
    assert_eq!(rounded("<u8", &bytes([u64::MAX, 1 << 63, 0].map(u64::to_le_bytes))), 1);
    assert_eq!(rounded("<i8", &bytes([-16_777_217, i64::MIN, i64::MAX].map(i64::to_le_bytes))), 2);
    assert_eq!(rounded("<f8", &bytes([16_777_217f64, -16_777_217.5, 0.0].map(f64::to_le_bytes))), 1);
    assert_eq!(rounded("<f8", &bytes([1.2345678901e30, 0.1, 0.0f64].map(f64::to_le_bytes))), 0);
    // Relative to one of them, all are there.
    assert_eq!(
        rounded("<i8", &bytes([1_700_000_001, 1_700_000_002, 1_700_000_033].map(i64::to_le_bytes))),
        0
    );
}

#[test]
fn damaged_and_hostile_files_are_refused() {
    for (order, shape, says) in [
        ("False", "(4, 2)", "ends after 2 of the 4 rows"),
        ("True", "(4, 2)", "ends after 2 of the 4 rows"),
        ("False", "(1, 2)", "continues after the 1 rows"),
        ("False", "(18446744073709551615, 2)", "less than 2⁶³ bytes"),
        ("False", "(4611686018427387904, 16384)", "less than 2⁶³ bytes"),
        ("False", "(99999999999999999999, 2)", "a size"),
        ("False", "(1, 100000000)", "16384"),
        ("False", "(2, 0)", "at least one column"),
        ("False", "()", "rows and columns"),
        ("False", "(2, 2, 1)", "rows and columns"),
        ("False", "(-1, 2)", "a size"),
        ("False", "4", "\"(\""),
        ("Maybe", "(2, 2)", "True or False"),
    ] {
        let message = refused(of("<f4", order, shape, &[0; 16]));
        assert!(message.contains(says), "{order} {shape}: {message}");
    }
    let message = refused(of("|b1", "False", "(3,)", &[0, 1, 2]));
    assert!(message.contains("row 3 has a boolean of 2"), "{message}");
    for descr in ["<f1", "<c8", "|O", "<U4", "<f9", "f4", "<i3", "<f", "|S7", "", "<é1"] {
        assert!(refused(of(descr, "False", "(1,)", &[0; 4])).contains("type"), "{descr}");
    }
    let nested = "(".repeat(5000);
    for text in [
        "",
        "{",
        "{}",
        "{'descr': '<f4'}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        "{'descr': '<f4",
        &nested,
        &format!("{{'shape': {nested}"),
    ] {
        refused(read(&file(text, &[0; 4])));
    }
    let good = file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", &[0; 4]);
    for end in MAGIC.len()..good.len() {
        refused(read(&good[..end]));
    }
    refused(read(&[MAGIC, &[2, 0, 255, 255, 255, 255]].concat()));
    refused(read(&[MAGIC, &[9, 0, 0, 0]].concat()));
    refused(read(&[MAGIC, &[1, 0, 1, 0, 0xFF]].concat()));
}

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

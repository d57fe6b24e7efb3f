use crate::error::{DataError, TableError};
use ndarray::{Array2, array};

use super::*;
use crate::tables::{Content, Table, TableReader};

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
    assert!(matches!(named, Err(Error::Table(TableError::Parse { line: 1, column: 1, .. }))));
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
        assert!(
            matches!(error, Error::Table(TableError::MixedHeader { line: 1, column, .. }) if column == at),
            "{error}"
        );
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
        assert!(
            matches!(error, Error::Table(TableError::Parse { line: 1, column: 3, .. })),
            "{wrong:?}: {error}"
        );
    }
    assert!(matches!(reader().block(9), Err(Error::Table(TableError::Parse { line: 1, column: 3, .. }))));
}

#[test]
fn every_error_has_its_place() {
    for (text, at, what, wants) in [
        ("a,a\n1,2\n", (1, 2), "a", "not used before"),
        ("a,b\n1,2\n3,x\n", (3, 2), "x", "finite number (b)"),
        ("a,b\n1,-inf\n", (2, 2), "-inf", "finite number (b)"),
        ("a\n-1e999\n", (2, 1), "-1e999", "within ±1.8e308, the range of f64 (a)"),
        ("a,b\n1,2\n3\n", (3, 2), "the end of the line", "2 values"),
        ("a,b\n1,2\n3,4\n5", (4, 2), "the end of the line", "2 values"),
        ("a,b\n1,2,9\n", (2, 3), "9", "the end of the line"),
        ("a\n1 kg\n", (2, 1), "1 kg", "finite number (a)"),
        ("a,b\r1,2\r3,x\r", (3, 2), "x", "finite number (b)"),
        ("a,b\n1,2\n\n\n3,x\n", (5, 2), "x", "finite number (b)"),
        ("a,b\r\n\r\n1,2\r\n3,x\r\n", (4, 2), "x", "finite number (b)"),
        ("# a\n#\n\na,b\n1,2\n3,x\n", (6, 2), "x", "finite number (b)"),
        ("a,\"b\nc\"\n1,2\n3,x\n", (4, 2), "x", "finite number (b\nc)"),
        ("a,b\n\"1,2\n3,4\n", (2, 1), "\"1,2\n3,4", "finite number (a); is a quote not closed?"),
        ("1,2\nx,2\n", (2, 1), "x", "finite number (x1)"),
        ("a,b\n1,2\n# more\n3,4\n", (3, 1), "#", "a row: comments"),
    ] {
        match read(text).unwrap_err() {
            Error::Table(TableError::Parse { line, column, found, expected }) => {
                assert_eq!(((line, column), found.as_str()), (at, what.trim_start_matches('"')), "{text:?}");
                assert!(expected.contains(wants), "{text:?}: {expected}");
                assert_eq!(expected.contains(';'), wants.contains(';'), "{text:?}: {expected}");
            }
            other => panic!("{text:?}: {other}"),
        }
    }
    for empty in ["", "\n\n", "a,b\n"] {
        assert!(
            matches!(read(empty), Err(Error::Data(DataError::TooFewRows { got: 0, least: 1, .. }))),
            "{empty:?}"
        );
    }
    for text in [&b"a,b\n1,2\n3,\xe9\n"[..], b"\"a,\";b\n1;2\n3;\xe9\n"] {
        let latin = Table::from_reader(text).unwrap_err();
        assert!(matches!(latin, Error::Table(TableError::Parse { line: 3, column: 2, .. })), "{latin}");
    }
    let name = Table::from_reader(&b"a,\xe9\n1,2\n"[..]).unwrap_err();
    assert!(matches!(name, Error::Table(TableError::Parse { line: 1, column: 2, .. })), "{name}");
}

#[test]
fn missing_values_are_told_by_row_and_column() {
    for cell in ["", "NA", "n/a", "NaN", "null", "None", "?", "\"\"", " "] {
        match read(&format!("a,b\n1,2\n\n3,{cell}\n")).unwrap_err() {
            Error::Table(TableError::MissingValue { line: Some(4), row: 2, column: 2, name, .. }) => {
                assert_eq!(name, "b")
            }
            other => panic!("{cell:?}: {other}"),
        }
    }
    // A first line with a gap is a row all the same.
    let error = read("1,NA\n3,4\n").unwrap_err();
    assert!(
        matches!(error, Error::Table(TableError::MissingValue { line: Some(1), row: 1, column: 2, .. })),
        "{error}"
    );
}

/// A text, and its rows with the names a and b.
fn rows_of(text: &[u8], options: TextOptions) -> Result<(Vec<String>, Array2<f32>)> {
    let table = TableReader::new(text, options)?.table(usize::MAX)?;
    Ok((table.names, table.x))
}

#[test]
fn text_is_read_as_it_comes() {
    let expected = (vec!["a".to_owned(), "b".into()], array![[1.5, -2.0], [3.0, 4.25]]);
    for text in [
        "# made by a logger\r\na,b\r\n1.5,-2\r\n3,4.25\r\n",
        "\u{feff}# sensor 7, run 2\n\n# units: m, s\na,b\n1.5,-2\n3,4.25\n# end, of run\n#\n",
        "a,b\r1.5,-2\r3,4.25\r",
        "     a      b\n   1.5     -2\n     3   4.25\n\n",
        "a b\n+1.500000e+00 -2.000000e+00\n3 4.25\n",
        "a|b\n1.5|-2\n3 | 4.25\n",
        "a,b\n+1.5D+00,-2.0d0\n3.,.425D1\n",
        "a,b\n1.5,\u{2212}2\n3,4.25\n",
        "a, \"b\"\n1.5, \"-2\"\n3, 4.25\n",
        "\"a\"\t\"b\"\n\"1.5\"\t\"-2\"\n\"3\"\t\"4.25\"\n",
    ] {
        assert_eq!(rows_of(text.as_bytes(), TextOptions::default()).unwrap(), expected, "{text:?}");
        // With the mark of UTF-16, in either order.
        let units: Vec<u16> =
            format!("\u{feff}{}", text.trim_start_matches('\u{feff}')).encode_utf16().collect();
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let wide: Vec<u8> = units.iter().flat_map(|&unit| bytes(unit)).collect();
            assert_eq!(rows_of(&wide, TextOptions::default()).unwrap(), expected, "{text:?}");
        }
    }
    // A separator in a name, and in quotes, is none.
    let (names, x) = rows_of(b"length, cm;width, cm\n1.5;-2\n3;4.25\n", TextOptions::default()).unwrap();
    assert_eq!((names[1].as_str(), x), ("width, cm", expected.1.clone()));
    let (names, x) = rows_of(b"\"height\n(cm)\",b\n1.5,-2\n3,4.25\n", TextOptions::default()).unwrap();
    assert_eq!((names[0].as_str(), x), ("height\n(cm)", expected.1.clone()));
    // What numpy.savetxt writes: a comment with the names.
    let text = "# a,b\n1.5,-2\n3,4.25\n".as_bytes();
    let reader = TableReader::new(text, Header::Detect).unwrap();
    assert_eq!(
        (reader.names(), reader.guesses()),
        (vec!["x1", "x2"], &[Guess::CommentPassedOver { line: 1 }][..])
    );
    let reader = TableReader::new(text, Header::Present).unwrap();
    assert_eq!(reader.guesses(), [Guess::CommentNames { line: 1 }]);
    assert_eq!(reader.table(9).unwrap().names, ["a", "b"]);
}

#[test]
fn characters_of_two_units_are_read_over_the_ends_of_blocks() {
    let names: Vec<String> = (0..40).map(|i| format!("{}{}", "x".repeat(i), "𝛼".repeat(500))).collect();
    let text = format!("\u{feff}{}\n{}\n", names.join(","), ["1"; 40].join(","));
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(Table::from_reader(&wide[..]).unwrap().names, names);
    assert!(Table::from_reader(&wide[..wide.len() - 1]).is_err());
}

#[test]
fn options_decide_how_a_text_is_written() {
    let options = TextOptions::default();
    let comma = TextOptions { decimal: Decimal::Comma, ..options };
    let point = TextOptions { decimal: Decimal::Point, ..options };
    let expected = array![[1000.5, -2.25], [3.0, 0.5]];
    for (text, options) in [
        ("a;b\n1000,5;-2,25\n3;,5\n", comma),
        ("1.000,5;-2,25\n3;0,5\n", comma),
        ("a,b\n\"1.000,5\",\"-2,25\"\n3,\"0,5\"\n", comma),
        ("a b\n1000,5 -2,25\n3 0,5\n", comma),
        ("a,b\n\"1,000.5\",-2.25\n3,0.5\n", point),
        ("a\tb\n1,000.5\t-2.25\n3\t0.5\n", point),
        ("a:b\n1000.5:-2.25\n3:0.5\n", TextOptions { separator: Some(b':'), ..options }),
        ("a b,c\n1000.5 -2.25\n3 0.5\n", TextOptions { separator: Some(b' '), ..options }),
        ("a,b\n%1,2\n1000.5,-2.25\n% more\n3,0.5\n", TextOptions { comment: Some(b'%'), ..options }),
    ] {
        assert_eq!(rows_of(text.as_bytes(), options).unwrap().1, expected, "{text:?}");
    }
    let one = rows_of(b"1,5\n2,25\n", comma).unwrap().1;
    assert_eq!(one, array![[1.5], [2.25]]);
    // Without them, a word of the one that reads it.
    for (text, styles) in [
        ("a;b\n1,5;2\n", (false, true)),
        ("1,5;2,5\n1,25;2\n", (false, true)),
        ("x\n1,5\n", (false, true)),
        ("a,b\n\"1,000\",2\n", (true, true)),
        ("a\tb\n1,000,000\t2\n", (true, false)),
        ("a;b\n1.000,5;2\n", (false, true)),
    ] {
        match read(text).unwrap_err() {
            Error::Table(TableError::NumberStyle { thousands, comma, .. }) => {
                assert_eq!((thousands, comma), styles, "{text:?}")
            }
            other => panic!("{text:?}: {other}"),
        }
    }
    for bad in [b'1', b'.', b'"', b'\n', 0xE9] {
        let options = TextOptions { separator: Some(bad), ..options };
        assert!(matches!(TableReader::new(&b"1"[..], options), Err(Error::Config { .. })), "{bad}");
    }
}

#[test]
fn cells_that_are_not_read_may_hold_anything() {
    let text = b"item,a,b,note\n5\" pipe,1,2,\"first\nsecond, \"\"line\"\"\"\n# 2,3,4,\xE9\xFF\nx,5,6,\n";
    let reader = TableReader::new(&text[..], Header::Detect).unwrap().select(&["a", "b"]).unwrap();
    assert_eq!(reader.table(9).unwrap().x, array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    // Lines are counted through them.
    let mut reader = TableReader::new(&text[..], Header::Detect).unwrap().select(&["a", "note"]).unwrap();
    assert!(matches!(
        reader.block(9),
        Err(Error::Table(TableError::MixedColumns { .. }) | Error::Table(TableError::Parse { line: 2, .. }))
    ));
}

#[test]
fn a_guess_is_told_where_another_reading_was_possible() {
    let told = |text: &str| {
        let reader = TableReader::new(text.as_bytes(), Header::Detect).unwrap();
        (reader.is_named(), reader.guesses().to_vec())
    };
    assert_eq!(told("0,1\n3.5,4\n"), (false, vec![Guess::FirstLineCounts]));
    assert_eq!(told("1,2,3\n3,4,5\n"), (false, vec![Guess::FirstLineCounts]));
    assert_eq!(told("0,2\n3.5,4\n"), (false, vec![]));
    assert_eq!(told("3,5\n4,25\n"), (false, vec![Guess::TwoColumns]));
    assert_eq!(told("3,500\n14,250\n"), (false, vec![Guess::TwoColumns]));
    assert_eq!(told("3 500\n14 250\n"), (false, vec![Guess::TwoColumns]));
    assert_eq!(told("3,-5\n4,25\n"), (false, vec![]));
    assert_eq!(told("a,b\n3,5\n4,25\n"), (true, vec![]));
    assert_eq!(told("\"3\",\"5.5\"\n\"4\",\"6\"\n"), (false, vec![Guess::FirstLineQuoted]));
    assert_eq!(told("\"3\",\"5.5\"\n4,6\n"), (true, vec![]));
    assert_eq!(told("# 3,5\n4.5,6\n"), (false, vec![Guess::CommentPassedOver { line: 1 }]));
    assert_eq!(told("# run 3\n4.5,6\n"), (false, vec![]));
    assert_eq!(told(",a,\n1,2,3\n"), (true, vec![Guess::Unnamed { columns: vec![1, 3] }]));
}

#[test]
fn columns_of_something_else_are_listed() {
    let rows: String = (0..40)
        .map(|i| {
            let (country, active) = (["DE", "FR", "IT"][i % 3], if i % 5 == 0 { "false" } else { "true" });
            let income = if i % 9 == 0 { String::new() } else { format!("{}.25", 100 + i) };
            format!("{},Name {i},2021-03-{:02},{country},{active},{},{income}\n", 1000 + i, 1 + i % 28, i % 4)
        })
        .collect();
    let text = format!("id,name,joined,country,active,orders,income\n{rows}");
    let error = read(&text).unwrap_err();
    let Error::Table(TableError::MixedColumns { columns }) = &error else { panic!("{error}") };
    let countries = ["DE", "FR", "IT"].map(String::from).to_vec();
    let expected = [
        ("id", Content::Numbers),
        ("name", Content::Text { example: "Name 0".into() }),
        ("joined", Content::Dates),
        ("country", Content::Categories(countries)),
        ("active", Content::Truth),
        ("orders", Content::Numbers),
        ("income", Content::Gaps { missing: 5, rows: 40 }),
    ];
    assert!(columns.iter().map(|(name, content)| (name.as_str(), content.clone())).eq(expected), "{error}");
    assert!(error.to_string().contains("\n  income: numbers, missing in 5 of 40 rows"), "{error}");
    // Of one column with gaps, the first gap has its place.
    let one = TableReader::new(text.as_bytes(), Header::Detect).unwrap().select(&["id", "income"]).unwrap();
    assert!(matches!(
        one.table(99),
        Err(Error::Table(TableError::MissingValue { line: Some(2), row: 1, column: 7, .. }))
    ));
}

/// Whatever bytes there are, there is an answer.
#[test]
fn random_bytes_are_read_or_refused() {
    use rand::Rng as _;
    let mut rng = crate::seeded(7);
    let signs = b"0123456789.,;|\t \"\n\r#-+eEdD\xE2\x88\x92\xFF\0abn/";
    let (mut read, mut refused) = (0, 0);
    for round in 0..20_000 {
        let few = 2 + round % (signs.len() - 1);
        let bytes: Vec<u8> = (0..rng.random_range(0..60)).map(|_| signs[rng.random_range(0..few)]).collect();
        let options = TextOptions {
            decimal: [Decimal::Plain, Decimal::Point, Decimal::Comma][round % 3],
            separator: [None, Some(b' '), Some(b',')][round / 3 % 3],
            ..TextOptions::default()
        };
        match rows_of(&bytes, options) {
            Ok((names, x)) => {
                assert!(x.ncols() == names.len() && x.iter().all(|value| value.is_finite()), "{bytes:?}");
                read += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(read > 1000 && refused > 1000, "{read} read, {refused} refused");
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
    for byte in *b"\0,1\"# " {
        let mut endless = Endless(byte, 0);
        let error = Table::from_reader(&mut endless).unwrap_err();
        assert!(matches!(error, Error::Table(TableError::Parse { line: 1.., .. })), "{error}");
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

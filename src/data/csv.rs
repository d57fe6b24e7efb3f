//! Tables of numbers in text files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};
use ndarray::{Array2, Axis};

use crate::error::{Error, Result};

/// Named columns of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The header, in the order of the columns; no name twice.
    pub names: Vec<String>,
    /// The values, shape (rows, names).
    pub x: Array2<f32>,
}

/// Reads a comma-separated file of numbers under a header: [`Table::from_reader`] on a file.
///
/// # Errors
/// As [`Table::from_reader`]; [`Error::Io`] names the path.
pub fn read_csv(path: impl AsRef<Path>) -> Result<Table> {
    let path = path.as_ref();
    let named = |source| Error::Io { path: path.display().to_string(), source };
    let file = File::open(path).map_err(named)?;
    Table::from_reader(file).map_err(|error| match error {
        Error::Io { source, .. } => named(source),
        other => other,
    })
}

impl Table {
    /// Reads a header line and at least one row of comma-separated finite numbers; spaces around them and
    /// empty lines do not count.
    ///
    /// # Errors
    /// [`Error::Parse`] with line, column and what was found: no header, a first line of numbers, a name
    /// twice; a missing value, text, NaN, an infinity, a number beyond f32; a row with too few or too many
    /// values (a truncated file ends in one); bytes that are not UTF-8. [`Error::TooFewRows`] for a header
    /// alone. [`Error::Io`] if reading fails.
    ///
    /// ```
    /// use quadrivium::data::Table;
    ///
    /// let table = Table::from_reader("eruptions,waiting\n3.6,79\n1.8,54\n".as_bytes())?;
    /// assert_eq!(table.names, ["eruptions", "waiting"]);
    /// assert_eq!(table.x[[1, 0]], 1.8);
    /// let error = Table::from_reader("a,b\n1,2\n3,n/a\n".as_bytes()).unwrap_err();
    /// assert_eq!(error.to_string(), r#"line 3, column 2: found "n/a", expected a finite number (b)"#);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn from_reader(mut reader: impl Read) -> Result<Self> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|source| Error::Io { path: "the reader".into(), source })?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let before = &bytes[..error.valid_up_to()];
            let line = before.rsplit(|&b| b == b'\n').next().unwrap_or_default();
            let column = line.iter().filter(|&&b| b == b',').count();
            parse(line_of(&bytes, before.len()), column, "bytes that are not UTF-8", "UTF-8 text")
        })?;

        // Flexible, so that a ragged row is told here, with its column.
        let mut records = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .from_reader(text.as_bytes());
        let mut record = StringRecord::new();
        let mut next = |record: &mut StringRecord| -> Option<usize> {
            let found = records.read_record(record).expect("UTF-8 in memory, any number of fields");
            // A record's position is where the one before it ended; empty lines may lie between.
            let start = record.position().map_or(0, |p| p.byte() as usize);
            let empty = bytes[start..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            found.then_some(start + empty)
        };
        let Some(start) = next(&mut record) else {
            return Err(parse(1, 0, "", "a header of column names"));
        };
        let names = header(&record, line_of(&bytes, start))?;
        let mut values = Vec::new();
        while let Some(start) = next(&mut record) {
            let wrong = |column: usize, found: &str, expected: String| {
                Err(parse(line_of(&bytes, start), column, found, expected))
            };
            for (column, found) in record.iter().enumerate() {
                let Some(name) = names.get(column) else {
                    return wrong(column, found, format!("the end of the line after {column} values"));
                };
                match found.parse::<f32>() {
                    Ok(value) if value.is_finite() => values.push(value),
                    _ => return wrong(column, found, format!("a finite number ({name})")),
                }
            }
            if record.len() < names.len() {
                return wrong(record.len(), "the end of the line", format!("{} values", names.len()));
            }
        }
        if values.is_empty() {
            return Err(Error::TooFewRows { what: "the table", got: 0, least: 1 });
        }
        let shape = (values.len() / names.len(), names.len());
        let x = Array2::from_shape_vec(shape, values).expect("each row has a value for each name");
        Ok(Table { names, x })
    }

    /// The columns of these names, in this order.
    ///
    /// # Errors
    /// [`Error::Config`] with the first name that the table does not have.
    pub fn select(&self, names: &[&str]) -> Result<Table> {
        let find = |name: &&str| {
            let place = self.names.iter().position(|n| n == name);
            place.ok_or_else(|| Error::config("names", name, "a column of the table"))
        };
        let columns = names.iter().map(find).collect::<Result<Vec<_>>>()?;
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Ok(Table { names, x: self.x.select(Axis(1), &columns) })
    }
}

fn header(record: &StringRecord, line: u64) -> Result<Vec<String>> {
    for (column, name) in record.iter().enumerate() {
        if name.parse::<f64>().is_ok() {
            return Err(parse(line, column, name, "a column name: the first line is the header"));
        }
        if record.iter().take(column).any(|earlier| earlier == name) {
            return Err(parse(line, column, name, "a name not used before"));
        }
    }
    Ok(record.iter().map(str::to_owned).collect())
}

/// `column` counts from 0 here, from 1 in the message.
fn parse(line: u64, column: usize, found: &str, expected: impl Into<String>) -> Error {
    Error::Parse { line, column: column + 1, found: found.to_owned(), expected: expected.into() }
}

/// The line, from 1, of the byte at `offset`.
fn line_of(bytes: &[u8], offset: usize) -> u64 {
    1 + bytes[..offset].iter().filter(|&&b| b == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

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
            "\u{feff}a, b\n\n 1 ,-2500.0\n\n\"3\",+4\n\n",
            "\"a\",\"b\"\n1e0,-2.5E+3\n3.,4\n",
        ] {
            assert_eq!(read(same).unwrap(), plain, "{same:?}");
        }
    }

    #[test]
    fn every_error_has_its_place() {
        for (text, at, what, wants) in [
            ("", (1, 1), "", "header"),
            ("\n\n", (1, 1), "", "header"),
            ("1,2\n3,4\n", (1, 1), "1", "column name"),
            ("a,a\n1,2\n", (1, 2), "a", "not used before"),
            ("a,b\n1,2\n3,\n", (3, 2), "", "finite number (b)"),
            ("a,b\n1,2\n,4\n", (3, 1), "", "finite number (a)"),
            ("a,b\n1,2\n3,x\n", (3, 2), "x", "finite number (b)"),
            ("a,b\nNaN,2\n", (2, 1), "NaN", "finite number (a)"),
            ("a,b\n1,-inf\n", (2, 2), "-inf", "finite number (b)"),
            ("a,b\n1,1e39\n", (2, 2), "1e39", "finite number (b)"),
            ("a,b\n1,2\n3\n", (3, 2), "the end of the line", "2 values"),
            ("a,b\n1,2\n3,4\n5", (4, 2), "the end of the line", "2 values"),
            ("a,b\n1,2,9\n", (2, 3), "9", "the end of the line"),
            ("a;b\n1;2\n", (2, 1), "1;2", "finite number (a;b)"),
            ("a,b\n1,2\n\n\n3,x\n", (5, 2), "x", "finite number (b)"),
            ("a,b\r\n\r\n1,2\r\n3,x\r\n", (4, 2), "x", "finite number (b)"),
        ] {
            match read(text).unwrap_err() {
                Error::Parse { line, column, found, expected } => {
                    assert_eq!(((line, column), found.as_str()), (at, what), "{text:?}");
                    assert!(expected.contains(wants), "{text:?}: {expected}");
                }
                other => panic!("{text:?}: {other}"),
            }
        }
        assert!(matches!(read("a,b\n"), Err(Error::TooFewRows { got: 0, least: 1, .. })));
        let latin = Table::from_reader(&b"a,b\n1,2\n3,\xe9\n"[..]).unwrap_err();
        assert!(matches!(latin, Error::Parse { line: 3, column: 2, .. }), "{latin}");
    }

    #[test]
    fn files_are_named_when_they_cannot_be_read() {
        let error = read_csv("no/such/file.csv").unwrap_err();
        assert!(error.to_string().starts_with("no/such/file.csv: "), "{error}");
        let folder = std::env::temp_dir();
        let error = read_csv(&folder).unwrap_err();
        assert!(
            matches!(&error, Error::Io { path, .. } if *path == folder.display().to_string()),
            "{error:?}"
        );
    }

    #[test]
    fn columns_are_selected_by_name() {
        let table = read("a,b,c\n1,2,3\n4,5,6\n").unwrap();
        let part = table.select(&["c", "a"]).unwrap();
        assert_eq!((part.names, part.x), (vec!["c".into(), "a".into()], array![[3.0, 1.0], [6.0, 4.0]]));
        let error = table.select(&["a", "d"]).unwrap_err();
        assert_eq!(error.to_string(), r#"names = "d": expected a column of the table"#);
    }
}

//! Opening files of rows, and reading what their columns hold.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use quadrivium::Error;
use quadrivium::error::TableError;
use quadrivium::ndarray::Array2;
use quadrivium::tables::{
    Cells, Decimal, Guess, Header, Schema, Step, Survey, Table, TableReader, TextOptions,
};

use crate::failure::{Failure, Outcome, counted, of_file, say};

/// A table of numbers, and the part of it to use.
#[derive(Clone, clap::Args)]
pub struct Data {
    /// The rows: text, NPY, NPZ with one array, or (if built with it) Parquet, recognized by content; "-" is standard input.
    data: PathBuf,
    /// Columns to draw and to score, in this order: names, or numbers starting at 1. Default: all columns except
    /// those of a condition.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    columns: Vec<String>,
    /// Whether the first line of a text names the columns.
    #[arg(long, value_enum, default_value_t = HeaderLine::Auto)]
    header: HeaderLine,
    /// Separator of a text's cells: a character, "tab", or "space" for one or more spaces. Default: detected from the
    /// first lines.
    #[arg(long, value_name = "SIGN", value_parser = sign)]
    separator: Option<u8>,
    /// Decimal separator of a text's numbers, "." or ","; the other one, spaces and apostrophes may then separate
    /// thousands. Default: a point, and no thousands separators.
    #[arg(long, value_name = "SIGN", value_parser = decimal)]
    decimal: Option<Decimal>,
    /// Character that starts a comment line of a text. Default: "#", before the first row and after the last.
    #[arg(long, value_name = "SIGN", value_parser = sign)]
    comment: Option<u8>,
    /// Read at most this many rows, or those of a range, counted from 0: --rows 1000, --rows 5000..6000.
    #[arg(long, value_name = "N|A..B", value_parser = rows_to_read)]
    rows: Option<Range<u64>>,
}

fn rows_to_read(text: &str) -> Result<Range<u64>, String> {
    match text.contains("..") {
        true => range(text),
        false => text
            .parse()
            .ok()
            .filter(|&rows| rows > 0)
            .map(|rows| 0..rows)
            .ok_or_else(|| "expected a number of rows, 1 or more, or a range as in 5000..6000".into()),
    }
}

/// Rows A to B − 1, from "A..B".
pub fn range(text: &str) -> Result<Range<u64>, String> {
    let ends = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    ends.filter(|rows: &Range<u64>| rows.start < rows.end)
        .ok_or_else(|| "expected a range of rows, counted from 0, as in 5000..6000".into())
}

#[derive(Clone, Copy, ValueEnum)]
enum HeaderLine {
    /// Yes, unless the line holds only numbers.
    Auto,
    Yes,
    No,
}

pub type Reader = TableReader<Box<dyn BufRead>>;

fn sign(text: &str) -> Result<u8, String> {
    match (text, text.as_bytes()) {
        ("tab" | "\\t", _) => Ok(b'\t'),
        ("space", _) => Ok(b' '),
        (_, &[sign]) => Ok(sign),
        _ => Err("expected one ASCII character, \"tab\" or \"space\"".into()),
    }
}

fn decimal(text: &str) -> Result<Decimal, String> {
    match text {
        "." => Ok(Decimal::Point),
        "," => Ok(Decimal::Comma),
        _ => Err("expected \".\" or \",\"".into()),
    }
}

/// The option that overrides the guess.
fn option_of(guess: &Guess) -> &'static str {
    match guess {
        Guess::FirstLineCounts | Guess::FirstLineQuoted => ": if it is a header, --header yes",
        Guess::CommentPassedOver { .. } => ": --header yes takes it for them",
        Guess::TwoColumns => ": --decimal reads that",
        _ => "",
    }
}

impl Data {
    /// The name of the data in messages.
    pub fn name(&self) -> String {
        if self.is_stdin() { "standard input".into() } else { self.data.display().to_string() }
    }

    /// The file, unless it is standard input.
    pub fn path(&self) -> Option<&Path> {
        (!self.is_stdin()).then_some(self.data.as_path())
    }

    fn is_stdin(&self) -> bool {
        self.data == Path::new("-")
    }

    /// Refuses the flags of tables.
    pub fn takes_a_text(&self) -> Outcome<()> {
        let given = [
            ("--columns", !self.columns.is_empty()),
            ("--header", !matches!(self.header, HeaderLine::Auto)),
            ("--separator", self.separator.is_some()),
            ("--decimal", self.decimal.is_some()),
            ("--comment", self.comment.is_some()),
            ("--rows", self.rows.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(Failure::Usage(format!("{flag}: a text has no rows and columns"))),
            None => Ok(()),
        }
    }

    /// The rows to read.
    pub fn rows(&self) -> Range<usize> {
        let place = |row: u64| row.try_into().unwrap_or(usize::MAX);
        self.rows.as_ref().map_or(0..usize::MAX, |rows| place(rows.start)..place(rows.end))
    }

    /// The most rows to read.
    pub fn most(&self) -> usize {
        self.rows().len()
    }

    /// Passes over the rows before those to read.
    pub fn skip(&self, mut reader: Reader) -> Outcome<Reader> {
        let before = self.rows().start;
        let skipped = reader.skip(before).map_err(|error| of_file(self.name(), error))?;
        match skipped < before {
            true => Err(Failure::Operation(format!(
                "{}: {}, none of them in --rows",
                self.name(),
                counted(skipped, "row")
            ))),
            false => Ok(reader),
        }
    }

    fn source(&self) -> Outcome<Box<dyn BufRead>> {
        if self.is_stdin() {
            return Ok(Box::new(BufReader::with_capacity(BUFFER, io::stdin())));
        }
        let open = File::open(&self.data);
        let failed = |error| Failure::Operation(format!("{}: {error}", self.name()));
        Ok(Box::new(BufReader::with_capacity(BUFFER, open.map_err(failed)?)))
    }

    fn open_all(&self, reader: Box<dyn BufRead>, expected: &[&str]) -> Outcome<Reader> {
        let header = match self.header {
            HeaderLine::Auto => Header::Detect,
            HeaderLine::Yes => Header::Present,
            HeaderLine::No => Header::Absent,
        };
        let options = TextOptions {
            header,
            separator: self.separator,
            decimal: self.decimal.unwrap_or_default(),
            comment: self.comment,
        };
        TableReader::expecting(reader, options, expected).map_err(|error| of_file(self.name(), error))
    }

    /// Opens the data, and tells how it is read; a first line of just the `expected` names is a header.
    pub fn open(&self, expected: &[&str]) -> Outcome<Reader> {
        Ok(self.told(self.opened(expected)?))
    }

    fn opened(&self, expected: &[&str]) -> Outcome<Reader> {
        // A pipe can be opened once.
        #[cfg(feature = "arrow")]
        if let Some(Ok(file)) = self.path().filter(|path| path.is_file()).map(File::open) {
            let reader = TableReader::parquet(&file).map_err(|error| of_file(self.name(), error))?;
            if let Some(reader) = reader {
                return Ok(reader);
            }
        }
        self.open_all(self.source()?, expected)
    }

    fn told(&self, reader: Reader) -> Reader {
        // A user who chooses columns knows them.
        for guess in reader.guesses().iter().filter(|_| self.columns.is_empty()) {
            say(format_args!("{}: {guess}{}", self.name(), option_of(guess)));
        }
        reader
    }

    /// The requested columns, if there are any.
    pub fn columns(&self) -> Option<&[String]> {
        (!self.columns.is_empty()).then_some(&self.columns)
    }

    /// The positions of these columns among those of the data.
    pub fn places(&self, reader: &Reader, columns: &[impl AsRef<str>]) -> Outcome<Vec<usize>> {
        reader.places(columns).map_err(|error| of_file(self.name(), error))
    }

    /// The data, to look at and then to read. What comes from a pipe is kept in memory.
    fn twice(&self) -> Outcome<[Reader; 2]> {
        if self.path().is_some_and(Path::is_file) {
            return Ok([self.opened(&[])?, self.open(&[])?]);
        }
        let mut bytes = Vec::new();
        let read = self.source()?.read_to_end(&mut bytes);
        read.map_err(|error| Failure::Operation(format!("{}: {error}", self.name())))?;
        let bytes: Arc<[u8]> = bytes.into();
        let open = || self.open_all(Box::new(Cursor::new(bytes.clone())), &[]);
        Ok([open()?, self.told(open()?)])
    }

    /// The whole table: the requested columns, otherwise all, and those of the condition.
    pub fn read(&self, condition: &[String], may_hold: &MayHold) -> Outcome<Read> {
        let failed = |error| of_file(self.name(), error);
        let (reader, looked_at) = match may_hold {
            MayHold::Numbers => (self.open(&[])?, None),
            _ => {
                let [first, second] = self.twice()?;
                (second, Some(first))
            }
        };
        let given = if condition.is_empty() { Vec::new() } else { self.places(&reader, condition)? };
        // Chosen columns in their order, otherwise all in the order of the file.
        let places: Vec<usize> = match self.columns.is_empty() {
            true => (0..reader.names().len()).collect(),
            false => {
                let chosen = self.places(&reader, &self.columns)?;
                if let Some(&twice) = given.iter().find(|place| chosen.contains(place)) {
                    let name = reader.names()[twice];
                    let message = format!("--condition: column {name} is among those of --columns, too");
                    return Err(Failure::Usage(message));
                }
                [chosen, given.clone()].concat()
            }
        };
        let survey = match looked_at {
            None => Vec::new(),
            Some(reader) => reader.choose(&places).survey().map_err(failed)?,
        };
        let columns: Vec<(usize, Cells, Option<Step>)> = match may_hold {
            MayHold::Numbers => places.into_iter().map(|place| (place, Cells::Numbers, None)).collect(),
            MayHold::Gaps => {
                let gaps =
                    |column: &Survey| match column.texts == 0 && (1..column.rows).contains(&column.missing) {
                        true => Cells::Optional,
                        false => Cells::Numbers,
                    };
                places.into_iter().zip(&survey).map(|(place, column)| (place, gaps(column), None)).collect()
            }
            MayHold::All { labels } => self.typed(&survey, &places, condition, labels)?,
        };
        let places: Vec<usize> = columns.iter().map(|column| column.0).collect();
        let (cells, steps): (Vec<Cells>, Vec<Option<Step>>) =
            columns.into_iter().map(|(_, cells, step)| (cells, step)).unzip();
        let is_given: Vec<bool> = places.iter().map(|place| given.contains(place)).collect();
        if is_given.iter().all(|given| *given) {
            let message = format!("{}: every column is in the condition: none is left to model", self.name());
            return Err(Failure::Operation(message));
        }
        let reader = self.skip(reader.choose(&places).read_as(&cells).map_err(failed)?)?;
        let table = reader.table(self.most()).map_err(|error| match (may_hold, &error) {
            (MayHold::All { .. }, Error::Table(TableError::Parse { expected, .. }))
                if expected.contains("number (") =>
            {
                Failure::Operation(format!(
                    "{}: {error}; --column NAME:category reads a column's texts as labels",
                    self.name()
                ))
            }
            _ => failed(error),
        })?;
        Ok(Read { table, is_given, cells, steps })
    }

    /// The columns at these places that a model can learn, with what their cells hold and their grids; says of the others
    /// that they are left out.
    fn typed(
        &self,
        survey: &[Survey],
        places: &[usize],
        condition: &[String],
        labels: &[String],
    ) -> Outcome<Vec<(usize, Cells, Option<Step>)>> {
        let mut columns = Vec::new();
        for ((&place, found), column) in places.iter().zip(survey).zip(Schema::of(survey).columns) {
            let said = labels.contains(&column.name) && found.texts > 0;
            match (said.then(|| found.as_labels()).flatten(), column.left_out) {
                (Some(labels), _) => columns.push((place, labels, None)),
                (None, None) => columns.push((place, column.cells, column.step)),
                (None, Some(why)) => {
                    let (data, name) = (self.name(), &column.name);
                    if !self.columns.is_empty() || condition.contains(name) {
                        let message = format!("{data}: column {name} cannot be modeled: {why}");
                        return Err(Failure::Operation(message));
                    }
                    say(format_args!("{data}: column {name} is left out: {why}"));
                }
            }
        }
        Ok(columns)
    }

    /// The whole table, whose columns may hold labels and gaps.
    pub fn read_typed(&self) -> Outcome<(Table, Vec<Cells>)> {
        let Read { table, cells, .. } = self.read(&[], &MayHold::All { labels: Vec::new() })?;
        Ok((table, cells))
    }

    /// Another file that is read in the same way.
    pub fn beside(&self, path: &Path) -> Self {
        Data { data: path.to_owned(), columns: Vec::new(), rows: None, ..self.clone() }
    }

    /// All rows, whose columns and units are those of another table: by name, or by place if the file names none.
    pub fn read_like(&self, table: &Table, cells: &[Cells]) -> Outcome<Array2<f32>> {
        let expected: Vec<&str> = table.names.iter().map(String::as_str).collect();
        let reader = self.open_all(self.source()?, &expected)?;
        let places = match reader.is_named() {
            true => self.places(&reader, &table.names)?,
            false => (0..reader.names().len()).collect(),
        };
        if places.len() != table.names.len() {
            let found = counted(places.len(), "column");
            let message = format!("{}: {found}, and {} in the other file", self.name(), table.names.len());
            return Err(Failure::Operation(message));
        }
        let failed = |error| of_file(self.name(), error);
        let reader = reader.choose(&places).in_units(&table.units).and_then(|reader| reader.read_as(cells));
        self.skip(reader.map_err(failed)?)?.block(self.most()).map_err(failed)
    }
}

/// What columns may hold.
pub enum MayHold {
    Numbers,
    /// Numbers, some of which are missing.
    Gaps,
    /// These, and labels, which those named here hold whatever they look like; a column that no model can learn is left
    /// out.
    All {
        labels: Vec<String>,
    },
}

/// A table that was read.
pub struct Read {
    pub table: Table,
    /// For each column, whether it belongs to the condition.
    pub is_given: Vec<bool>,
    pub cells: Vec<Cells>,
    /// By the decimals with which a text writes them.
    pub steps: Vec<Option<Step>>,
}

const BUFFER: usize = 1 << 16;

/// Number of rows to read at a time: enough for the models' tiles, and at most a few megabytes.
pub fn block_rows(dim: usize) -> usize {
    ((1 << 18) / dim.max(1)).clamp(1, 4096)
}

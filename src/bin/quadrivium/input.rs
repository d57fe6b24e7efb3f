//! Rows and models that come in.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use quadrivium::Error;
use quadrivium::data::{ColumnKind, Header, Table, TableReader};
use quadrivium::persist::{self, Column, Persist};

use crate::failure::{Failure, Outcome, counted, of_file, say};
use crate::seed::Purpose;

/// A table of numbers, and which part of it.
#[derive(clap::Args)]
pub struct Data {
    /// The rows: text or NPY, told apart by content; "-" is standard input.
    data: PathBuf,
    /// Columns to use, in this order: names, or numbers from 1.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    columns: Vec<String>,
    /// Whether the first line of a text names the columns.
    #[arg(long, value_enum, default_value_t = HeaderLine::Auto)]
    header: HeaderLine,
    /// Read this many rows and no more.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rows: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum HeaderLine {
    /// It does unless it holds nothing but numbers.
    Auto,
    Yes,
    No,
}

pub type Reader = TableReader<Box<dyn BufRead>>;

impl Data {
    /// What to call it in a message.
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

    /// The most rows to read.
    pub fn most(&self) -> usize {
        self.rows.map_or(usize::MAX, |rows| rows.try_into().unwrap_or(usize::MAX))
    }

    fn open_all(&self, expected: &[&str]) -> Outcome<Reader> {
        let reader: Box<dyn BufRead> = match self.is_stdin() {
            true => Box::new(BufReader::with_capacity(BUFFER, io::stdin())),
            false => {
                let open = File::open(&self.data);
                let failed = |error| Failure::Operation(format!("{}: {error}", self.name()));
                Box::new(BufReader::with_capacity(BUFFER, open.map_err(failed)?))
            }
        };
        let header = match self.header {
            HeaderLine::Auto => Header::Detect,
            HeaderLine::Yes => Header::Present,
            HeaderLine::No => Header::Absent,
        };
        TableReader::expecting(reader, header, expected).map_err(|error| of_file(self.name(), error))
    }

    /// The rows to be read, of the columns asked for.
    pub fn open(&self) -> Outcome<Reader> {
        self.open_expecting(&[])
    }

    fn open_expecting(&self, expected: &[&str]) -> Outcome<Reader> {
        let reader = self.open_all(expected)?;
        match self.columns.is_empty() {
            true => Ok(reader),
            false => reader.select(&self.columns).map_err(|error| of_file(self.name(), error)),
        }
    }

    /// The rows to be read, in the order of a model's columns: those asked for, or else those with the names
    /// that the model knows, or else, without names, all.
    pub fn open_for(&self, model: &dyn Persist, columns: &[Column]) -> Outcome<Reader> {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let mut reader = self.open_expecting(&names)?;
        if self.columns.is_empty() && reader.is_named() && !columns.is_empty() {
            reader = self.by_name(reader, &names)?;
        }
        let (found, dim) = (reader.names().len(), model.dim());
        if found != dim {
            let found = counted(found, "column");
            let message = format!("{}: {found}, the model has {dim}: choose them by --columns", self.name());
            return Err(Failure::Operation(message));
        }
        Ok(reader)
    }

    /// The columns of a model's names. A name that is a number is not the number of a column here.
    fn by_name(&self, reader: Reader, names: &[&str]) -> Outcome<Reader> {
        let found = reader.names();
        if let Some(name) = names.iter().find(|name| !found.contains(name)) {
            let names_of_all = found.into_iter().map(str::to_owned).collect();
            let error = Error::NoColumn { name: (*name).to_owned(), names: names_of_all };
            return Err(Failure::Operation(format!(
                "{}: {error}; the model's columns are {names:?}, --columns picks others",
                self.name()
            )));
        }
        reader.select(names).map_err(|error| of_file(self.name(), error))
    }

    /// The whole table, and word of a first line that looks like the names of columns without names.
    pub fn read(&self) -> Outcome<Table> {
        let reader = self.open()?;
        let of_text = reader.announced_rows().is_none();
        let guessed = matches!(self.header, HeaderLine::Auto) && !reader.is_named() && of_text;
        let table = reader.table(self.most()).map_err(|error| of_file(self.name(), error))?;
        let first = table.x.row(0);
        let counts_from = |start: usize| first.iter().zip(start..).all(|(v, n)| *v == n as f32);
        if guessed && first.len() > 1 && self.columns.is_empty() && (counts_from(0) || counts_from(1)) {
            say(format_args!(
                "{}: the first line counts the columns and is taken for a row: if it is a header, --header yes",
                self.name()
            ));
        }
        Ok(table)
    }
}

const BUFFER: usize = 1 << 16;

/// What to do with columns that have no density.
#[derive(clap::Args)]
pub struct Treatment {
    /// Spread columns of whole numbers over their rounding by uniform noise: k over k − ½ to k + ½.
    #[arg(long)]
    dequantise: bool,
    /// Leave out columns that hold one value only.
    #[arg(long)]
    drop_constant: bool,
    /// Whether to spread by default, without a word where there is nothing to spread.
    #[arg(skip)]
    by_default: bool,
}

impl Treatment {
    /// The same, with rounded columns spread.
    pub fn spreading(&self) -> Self {
        Treatment { dequantise: true, by_default: !self.dequantise, ..*self }
    }
}

/// The rows as a model shall see them, with their columns, and word of what was done to them.
pub fn prepare(data: &Data, treatment: &Treatment, seed: u64) -> Outcome<(Table, Vec<Column>)> {
    let (mut table, name) = (data.read()?, data.name());
    if table.x.nrows() == 1 {
        return Err(Failure::Operation(format!("{name}: one row: expected at least two")));
    }
    tell_rounded(&table.names, &table.rounded, &name);
    without_constant(&mut table, &name, treatment.drop_constant)?;
    let spread = table.names.iter().zip(table.widths()).filter(|(_, width)| *width > 0.0);
    let whole: Vec<String> = spread.map(|(name, _)| name.clone()).collect();
    let mut widths = vec![0.0; table.names.len()];
    if treatment.dequantise {
        widths = table.widths();
        table = table
            .dequantise(&mut Purpose::SpreadToLearn.stream(seed))
            .map_err(|error| of_file(&name, error))?;
        match whole.is_empty() {
            true if treatment.by_default => {}
            true => say(format_args!(
                "{name}: no column of whole numbers below 8,388,608, where f32 has fractions: --dequantise \
                 changes nothing"
            )),
            false => say(format_args!("{name}: spread over their rounding: {}", whole.join(", "))),
        }
    } else if !whole.is_empty() {
        say(format_args!(
            "{name}: whole numbers only: {}. Their density has no upper bound, so neither has a likelihood: \
             --dequantise spreads them",
            whole.join(", ")
        ));
    }
    let columns =
        table.names.iter().cloned().zip(widths).map(|(name, width)| Column { name, width }).collect();
    Ok((table, columns))
}

/// Word of the columns whose values are not those of the file, and of how many.
pub fn tell_rounded(names: &[impl AsRef<str>], rounded: &[usize], data: &str) {
    let rounded = names.iter().zip(rounded).filter(|(_, values)| **values > 0);
    let columns: Vec<String> =
        rounded.map(|(name, &values)| format!("{} ({})", name.as_ref(), counted(values, "value"))).collect();
    if !columns.is_empty() {
        say(format_args!(
            "{data}: whole numbers beyond 16,777,216 are rounded to f32: {}. Subtract a constant",
            columns.join(", ")
        ));
    }
}

/// Leaves out columns of one value, or refuses them.
fn without_constant(table: &mut Table, name: &str, drop: bool) -> Outcome<()> {
    let kinds = table.names.iter().zip(table.kinds());
    let constant = kinds.filter(|(_, kind)| *kind == ColumnKind::Constant).map(|(name, _)| name.clone());
    let constant: Vec<String> = constant.collect();
    let Some(first) = constant.first() else { return Ok(()) };
    if !drop {
        let column = table.names.iter().position(|name| name == first).unwrap_or_default();
        let once = if table.rounded[column] > 0 { ", once they are rounded to f32" } else { "" };
        return Err(Failure::Operation(format!(
            "{name}: column {first} holds {} in all {} rows{once}, so there is nothing to learn: leave it out \
             by --drop-constant, or choose columns by --columns",
            table.x[[0, column]],
            table.x.nrows(),
        )));
    }
    if constant.len() == table.names.len() {
        return Err(Failure::Operation(format!("{name}: every column holds one value only")));
    }
    say(format_args!("{name}: left out, as they hold one value only: {}", constant.join(", ")));
    table.drop_constant();
    Ok(())
}

/// A model and its columns: none if its file does not name them.
pub fn load(path: &Path) -> Outcome<(Box<dyn Persist>, Vec<Column>)> {
    if path == Path::new("-") {
        return Err(Failure::Usage("a model is read from a file, not from standard input".into()));
    }
    persist::load_with(path).map_err(|error| of_file(path.display(), error))
}

/// Rows to take at a time: enough for the models' tiles, and some megabytes at most.
pub fn block_rows(dim: usize) -> usize {
    ((1 << 18) / dim.max(1)).clamp(1, 4096)
}

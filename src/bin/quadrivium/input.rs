//! Reading rows and models.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use quadrivium::error::TableError;
use quadrivium::ndarray::Array2;
use quadrivium::persist::{Column, Role, condition_of};
use quadrivium::tables::{
    Cells, ColumnKind, Decimal, Finding, Guess, Header, Schema, Step, Survey, Table, TableReader, TextOptions,
};
use quadrivium::{Dataset, Error};

use crate::condition::{Asked, all_values};
use crate::failure::{Failure, Outcome, counted, of_file, say};
use crate::seed::Purpose;
use crate::units;

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
    fn read(&self, condition: &[String], may_hold: &MayHold) -> Outcome<Read> {
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
enum MayHold {
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
struct Read {
    table: Table,
    /// For each column, whether it belongs to the condition.
    is_given: Vec<bool>,
    cells: Vec<Cells>,
    /// By the decimals with which a text writes them.
    steps: Vec<Option<Step>>,
}

const BUFFER: usize = 1 << 16;

/// What to do with columns that have no density.
#[derive(clap::Args)]
pub struct Treatment {
    /// Add uniform noise to rounded columns (whole numbers, tenths, …), up to half a step to either side.
    #[arg(long, alias = "dequantise")]
    dequantize: bool,
    /// Leave out columns that hold only one value.
    #[arg(long)]
    drop_constant: bool,
    /// Leave out rows in which a value is missing.
    #[arg(long)]
    drop_missing: bool,
    /// If the model has maps of its own for columns, which take care of steps and constants: the columns said to hold
    /// labels.
    #[arg(skip)]
    labels: Option<Vec<String>>,
}

impl Treatment {
    /// Whether rounded columns are spread.
    pub fn spreads(&self) -> bool {
        self.dequantize
    }

    /// Whether constant columns are left out.
    pub fn drops_constant(&self) -> bool {
        self.drop_constant
    }

    /// Whether rows with gaps are left out.
    pub fn drops_missing(&self) -> bool {
        self.drop_missing
    }

    fn may_hold(&self) -> MayHold {
        match (&self.labels, self.drop_missing) {
            (Some(labels), _) => MayHold::All { labels: labels.clone() },
            (None, true) => MayHold::Gaps,
            (None, false) => MayHold::Numbers,
        }
    }

    /// The same, for a model of columns of which this is said.
    pub fn of(&self, units: &units::Said) -> Outcome<Self> {
        let labels = units.have_maps(self.dequantize)?.then(|| units.categories());
        Ok(Treatment { labels, ..*self })
    }

    /// Whether the model has maps of its own for columns.
    pub fn has_maps(&self) -> bool {
        self.labels.is_some()
    }
}

/// Rows prepared for a model.
pub struct Prepared {
    /// The modeled columns, and the condition of each row if there is one.
    pub data: Dataset,
    /// The units of the modeled columns.
    pub names: Vec<String>,
    /// Converts a log-density of the rows to the units of the file.
    pub log_scale: f64,
    /// All columns, in the order of the file or of the command line.
    pub columns: Vec<Column>,
    /// The grids of the modeled columns, in the units of the file.
    pub steps: Vec<Option<Step>>,
}

/// Prepares the rows for a model, with their columns. Reports what was done to them and what harms a density.
pub fn prepare(data: &Data, asked: &Asked, treatment: &Treatment, seed: u64) -> Outcome<Prepared> {
    let (Read { mut table, is_given, mut cells, steps: written }, name) =
        (data.read(&asked.condition, &treatment.may_hold())?, data.name());
    if treatment.drop_missing {
        let all = table.x.nrows();
        match table.drop_missing(&mut cells) {
            0 => say(format_args!("{name}: no value is missing: --drop-missing has no effect")),
            dropped if dropped == all => {
                return Err(Failure::Operation(format!("{name}: a value is missing in every row")));
            }
            dropped => {
                let rows = counted(dropped, "row");
                say(format_args!("{name}: {rows} of {all} left out because a value is missing"));
            }
        }
    }
    if table.x.nrows() == 1 {
        return Err(Failure::Operation(format!("{name}: one row: expected at least two")));
    }
    tell_rounded(&table.names, &table.rounded, &name);
    let order = table.names.clone();
    let (mut condition, mut columns) = (None, Vec::new());
    if is_given.contains(&true) {
        let part = |given: bool| {
            let names = order.iter().zip(&is_given).filter(|(_, is_given)| **is_given == given);
            table.select(&names.map(|(name, _)| name).collect::<Vec<_>>())
        };
        let (given, rest) = (part(true)?, part(false)?);
        let of_given = cells.iter().zip(&is_given).filter(|(_, is_given)| **is_given);
        let of_given: Vec<Cells> = of_given.map(|(cells, _)| cells.clone()).collect();
        columns = asked.columns(&given, &of_given, &name)?;
        condition = Some(condition_of(&columns, all_values(&given).view())?);
        table = rest;
    }
    if !treatment.has_maps() || treatment.drop_constant {
        without_constant(&mut table, &name, treatment.drop_constant)?;
    }
    tell_findings(&harm(&table, &order, &cells, treatment.has_maps())?, &name);
    let mut steps = table.steps();
    if treatment.has_maps() {
        // Decimals that f32 does not resolve are none to spread by, but those of what is drawn.
        for (name, step) in table.names.iter().zip(&mut steps) {
            let place = order.iter().position(|other| other == name);
            *step = step.or_else(|| written[place?]);
        }
    }
    let stepped = table.names.iter().zip(&steps);
    let stepped: Vec<String> =
        stepped.filter_map(|(column, step)| step.map(|step| format!("{column} ({step})"))).collect();
    if treatment.dequantize {
        table = table
            .dequantize(&mut Purpose::SpreadToLearn.stream(seed))
            .map_err(|error| of_file(&name, error))?;
        match stepped.is_empty() {
            true => say(format_args!(
                "{name}: no column is rounded to steps that f32 resolves: --dequantize has no effect"
            )),
            false => {
                say(format_args!("{name}: added uniform noise to rounded columns: {}", shortened(&stepped)))
            }
        }
    } else if !stepped.is_empty() && !treatment.has_maps() {
        say(format_args!(
            "{name}: rounded columns: {}. Repeated values have no density and make the likelihood unbounded; \
             --dequantize adds noise to them, and --units auto models them as they are",
            shortened(&stepped)
        ));
    }
    columns.extend(table.names.iter().zip(&steps).zip(&table.units).map(|((name, step), &units)| {
        let step = step.filter(|_| treatment.dequantize);
        let (width, offset) = step.map_or((0.0, 0.0), |step| (step.width, step.offset));
        let place = order.iter().position(|other| other == name);
        let cells = place.map_or(Cells::Numbers, |place| cells[place].clone());
        Column { name: name.clone(), width, offset, units, role: Role::Modeled, cells }
    }));
    columns.sort_by_key(|column| order.iter().position(|name| *name == column.name));
    let log_scale = table.log_scale();
    let data = Dataset::new(table.x).map_err(|error| of_file(&name, error))?;
    let data = match condition {
        None => data,
        Some(condition) => data.with_condition(condition)?,
    };
    Ok(Prepared { data, names: table.names, log_scale, columns, steps })
}

/// What harms a density. If columns have maps, that is what these cannot mend, found in the columns that hold nothing but
/// numbers; `cells` are those of the columns in their `order`.
fn harm(table: &Table, order: &[String], cells: &[Cells], have_maps: bool) -> Outcome<Vec<Finding>> {
    if !have_maps {
        return Ok(table.diagnose());
    }
    let are_numbers =
        |name: &&String| order.iter().zip(cells).any(|(other, cells)| other == *name && cells.are_numbers());
    let numbers: Vec<&String> = table.names.iter().filter(are_numbers).collect();
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = table.select(&numbers)?.diagnose();
    found.retain(|finding| matches!(finding, Finding::CountsRows { .. } | Finding::Dependent { .. }));
    Ok(found)
}

/// Reports what harms a density, if [`prepare`] does not report it itself.
fn tell_findings(findings: &[Finding], name: &str) {
    let told = |finding: &&Finding| {
        !matches!(finding, Finding::Constant { .. } | Finding::Rounded { .. } | Finding::Stepped { .. })
    };
    let findings: Vec<&Finding> = findings.iter().filter(told).collect();
    for (i, finding) in findings.iter().enumerate() {
        let alike = |other: &&&Finding| std::mem::discriminant(**other) == std::mem::discriminant(*finding);
        match findings[..i].iter().filter(alike).count() {
            0..LISTED => say(format_args!("{name}: {finding}")),
            LISTED => {
                let more = findings[i..].iter().filter(alike).count();
                say(format_args!("{name}: and {} more of this kind", counted(more, "column")));
            }
            _ => {}
        }
    }
}

/// The names of at most this many columns.
const LISTED: usize = 8;

fn shortened(columns: &[String]) -> String {
    match columns.get(..LISTED) {
        Some(first) if columns.len() > LISTED => {
            format!("{} and {} more", first.join(", "), columns.len() - LISTED)
        }
        _ => columns.join(", "),
    }
}

/// Reports the columns whose values differ from those of the file, with the number of such values.
pub fn tell_rounded(names: &[impl AsRef<str>], rounded: &[usize], data: &str) {
    let rounded = names.iter().zip(rounded).filter(|(_, values)| **values > 0);
    let columns: Vec<String> =
        rounded.map(|(name, &values)| format!("{} ({})", name.as_ref(), counted(values, "value"))).collect();
    if !columns.is_empty() {
        say(format_args!(
            "{data}: whole numbers that do not fit into the 24 bits of f32 were rounded: {}. Subtract a constant",
            shortened(&columns)
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
        let once = if table.rounded[column] > 0 { ", once they are rounded" } else { "" };
        return Err(Failure::Operation(format!(
            "{name}: column {first} holds {} in all {} rows{once}, so there is nothing to learn: leave it out \
             with --drop-constant, or choose columns with --columns",
            table.value(0, column),
            table.x.nrows(),
        )));
    }
    if constant.len() == table.names.len() {
        return Err(Failure::Operation(format!("{name}: every column holds only one value")));
    }
    say(format_args!("{name}: left out because they hold only one value: {}", constant.join(", ")));
    table.drop_constant();
    Ok(())
}

/// Number of rows to read at a time: enough for the models' tiles, and at most a few megabytes.
pub fn block_rows(dim: usize) -> usize {
    ((1 << 18) / dim.max(1)).clamp(1, 4096)
}

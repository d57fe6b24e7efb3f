//! The columns of a model, and where they are in a file of rows.

use quadrivium::error::TableError;
use std::path::Path;

use quadrivium::Error;
use quadrivium::persist::{self, Column, Persist};
use quadrivium::tables::{Cells, Units};

use crate::failure::{Failure, Outcome, counted, of_file};
use crate::input::{Data, Reader};

/// The columns of the table that a model was trained on.
pub struct Columns {
    /// In the order of the table, those of the condition among them.
    pub all: Vec<Column>,
    /// Whether the model's file names the columns.
    are_named: bool,
    /// Whether it names the columns of the condition, and so holds the frequency of each condition in training.
    pub condition_is_named: bool,
}

/// A model and its columns.
pub fn load(path: &Path) -> Outcome<(Box<dyn Persist>, Columns)> {
    if path == Path::new("-") {
        return Err(Failure::Usage("a model is read from a file, not from standard input".into()));
    }
    let (model, mut all) = persist::load_with(path).map_err(|error| of_file(path.display(), error))?;
    let are_named = !all.is_empty();
    if !are_named {
        let column = |number| Column { name: format!("x{number}"), ..Column::default() };
        all.extend((1..=model.dim()).map(column));
    }
    let condition_is_named = all.iter().any(|column| !column.role.is_modeled());
    if !condition_is_named {
        all.extend(persist::unnamed_columns(model.condition()));
    }
    Ok((model, Columns { all, are_named, condition_is_named }))
}

fn names<'a>(columns: impl Iterator<Item = &'a Column>) -> Vec<&'a str> {
    columns.map(|column| column.name.as_str()).collect()
}

impl Columns {
    /// The columns that are drawn and scored.
    pub fn modeled(&self) -> impl Iterator<Item = &Column> {
        self.all.iter().filter(|column| column.role.is_modeled())
    }

    /// The columns of the condition.
    pub fn condition(&self) -> impl Iterator<Item = &Column> {
        self.all.iter().filter(|column| !column.role.is_modeled())
    }

    /// Opens rows in the order of the table. The columns are the requested ones (`condition` are those of the
    /// condition), otherwise those with the names in the model's file, or all columns if it has no names.
    pub fn open(&self, data: &Data, condition: &[String]) -> Outcome<Reader> {
        let reader = data.open(&if self.are_named { names(self.all.iter()) } else { Vec::new() })?;
        let (dim, width) = (self.modeled().count(), self.condition().count());
        let named = reader.is_named() && self.are_named;
        let found = reader.names().len();
        if !condition.is_empty() && width == 0 {
            let message = "--condition: the model has none: it was fitted without --condition";
            return Err(Failure::Usage(message.into()));
        }
        let places = if !named && data.columns().is_none() && condition.is_empty() {
            if found != dim + width {
                return Err(self.wrong_count(data, found));
            }
            (0..found).collect()
        } else {
            let given: Vec<usize> = match condition.is_empty() {
                true => by_name(data, &reader, &names(self.condition()), "--condition")?,
                false => data.places(&reader, condition)?,
            };
            if given.len() != width {
                let (given, names) = (counted(given.len(), "column"), self.condition_names());
                let message = format!("--condition: {given}, but the condition of the model is {names}");
                return Err(Failure::Usage(message));
            }
            let modeled: Vec<usize> = match data.columns() {
                Some(columns) => data.places(&reader, columns)?,
                None if named => by_name(data, &reader, &names(self.modeled()), "--columns")?,
                None => (0..found).filter(|place| !given.contains(place)).collect(),
            };
            if modeled.len() != dim {
                return Err(self.wrong_count(data, modeled.len()));
            }
            let (mut modeled, mut given) = (modeled.into_iter(), given.into_iter());
            let next = |column: &Column| {
                if column.role.is_modeled() { modeled.next() } else { given.next() }
            };
            self.all.iter().filter_map(next).collect::<Vec<usize>>()
        };
        let units: Vec<Units> = self.all.iter().map(|column| column.units).collect();
        let cells: Vec<Cells> = self.all.iter().map(|column| column.cells.clone()).collect();
        let reader = reader.choose(&places).in_units(&units)?.read_as(&cells);
        data.skip(reader.map_err(|error| of_file(data.name(), error))?)
    }

    /// The names of the condition's columns, separated by commas.
    pub fn condition_names(&self) -> String {
        names(self.condition()).join(", ")
    }

    fn wrong_count(&self, data: &Data, found: usize) -> Failure {
        let (found, dim) = (counted(found, "column"), self.modeled().count());
        let (condition, options) = match self.condition().count() {
            0 => (String::new(), "--columns"),
            _ => (format!(", and the condition {}", self.condition_names()), "--columns and --condition"),
        };
        let message = format!(
            "{}: {found}, but the model has {dim}{condition}: choose them with {options}",
            data.name()
        );
        Failure::Operation(message)
    }
}

/// The positions of the columns with these names. Here, a name that is a number is not the number of a column.
fn by_name(data: &Data, reader: &Reader, names: &[&str], option: &str) -> Outcome<Vec<usize>> {
    let found = reader.names();
    if let Some(name) = names.iter().find(|name| !found.contains(name)) {
        let names_of_all = found.into_iter().map(str::to_owned).collect();
        let error = Error::Table(TableError::NoColumn { name: (*name).to_owned(), names: names_of_all });
        let whose =
            if option == "--condition" { "columns of the model's condition" } else { "model's columns" };
        return Err(Failure::Operation(format!(
            "{}: {error}; the {whose} are {names:?}; choose others with {option}",
            data.name()
        )));
    }
    if names.is_empty() { Ok(Vec::new()) } else { data.places(reader, names) }
}

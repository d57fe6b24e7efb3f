//! What the columns of a table hold, and which of them a model can learn.

use std::fmt;
use std::io::BufRead;

use super::cells::{Cells, Survey};
use super::reader::TableReader;
use super::step::Step;
use crate::error::Result;

/// What the columns of a table hold: found in its cells, and open to correction, since all fields are public.
///
/// It says how cells become numbers. Which numbers a column of them can have (ends, heavy tails, values that repeat, one
/// value alone) is found by [`hybrid::Columns`](crate::hybrid::Columns) in the rows that a model learns from.
///
/// ```
/// use quadrivium::tables::{Cells, Header, LeftOut, Schema, TableReader};
///
/// let text = "id,country,orders,height\n1,DE,3,1.74\n2,FR,,1.8\n3,DE,4,1.66\n";
/// let open = || TableReader::new(text.as_bytes(), Header::Detect);
/// let mut schema = open()?.schema()?;
/// assert_eq!(schema.columns[0].left_out, Some(LeftOut::CountsRows));
/// assert_eq!(schema.columns[1].cells, Cells::Labels(vec!["DE".into(), "FR".into()]));
/// assert_eq!(schema.columns[2].cells, Cells::Optional);
/// assert_eq!(schema.columns[3].step.map(|step| step.width), Some(0.01));
///
/// // Orders are not wanted.
/// schema.columns.remove(2);
/// let table = open()?.with_schema(&schema)?.table(usize::MAX)?;
/// assert_eq!(table.names, ["country", "height"]);
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Schema {
    /// In the order of the table.
    pub columns: Vec<Field>,
}

/// One column of a [`Schema`].
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The column's name.
    pub name: String,
    /// How its cells are read.
    pub cells: Cells,
    /// The grid of its numbers, by the decimals with which a text writes them.
    pub step: Option<Step>,
    /// Why it is left out, if it is.
    pub left_out: Option<LeftOut>,
}

/// Why no model can learn a column.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftOut {
    /// Each number is one more than that before.
    CountsRows,
    /// All cells are empty.
    NoValue,
    /// More different texts than there can be labels.
    Texts {
        /// One of them.
        example: String,
    },
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeftOut::CountsRows => f.write_str("it counts the rows"),
            LeftOut::NoValue => f.write_str("it holds no value"),
            LeftOut::Texts { example } => {
                write!(f, "its texts, such as {example:?}, are too many for labels")
            }
        }
    }
}

impl Schema {
    /// The schema of surveyed columns.
    pub fn of(survey: &[Survey]) -> Self {
        Schema { columns: survey.iter().map(Field::of).collect() }
    }

    /// The columns that are not left out.
    pub fn kept(&self) -> impl Iterator<Item = &Field> {
        self.columns.iter().filter(|column| column.left_out.is_none())
    }
}

impl Field {
    fn of(survey: &Survey) -> Self {
        let cells = survey.cells();
        let left_out = match cells {
            Some(_) => None,
            None if survey.texts > 0 => {
                let example = survey.labels.keys().find(|label| !label.is_empty());
                Some(LeftOut::Texts { example: example.cloned().unwrap_or_default() })
            }
            None if survey.missing == survey.rows => Some(LeftOut::NoValue),
            None => Some(LeftOut::CountsRows),
        };
        Field { name: survey.name.clone(), cells: cells.unwrap_or_default(), step: survey.step(), left_out }
    }
}

impl<R: BufRead> TableReader<R> {
    /// Reads all rows, and says what the selected columns hold.
    ///
    /// # Errors
    /// As [`survey`](TableReader::survey).
    pub fn schema(self) -> Result<Schema> {
        Ok(Schema::of(&self.survey()?))
    }

    /// From now on reads the columns that the schema keeps, in its order and in its way.
    ///
    /// # Errors
    /// As [`select`](TableReader::select) and [`read_as`](TableReader::read_as).
    pub fn with_schema(self, schema: &Schema) -> Result<Self> {
        let names: Vec<&str> = schema.kept().map(|column| column.name.as_str()).collect();
        let cells: Vec<Cells> = schema.kept().map(|column| column.cells.clone()).collect();
        self.select(&names)?.read_as(&cells)
    }
}

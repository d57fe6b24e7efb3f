//! What is said of columns on the command line: their scale, ends, steps and values.

use clap::ValueEnum;
use quadrivium::Dataset;
use quadrivium::hybrid::{Atoms, Column, ColumnScale, Columns, ColumnsConfig, Latent};
use quadrivium::persist::{self, Persist};
use quadrivium::tables::{Cells, Step, Units};

use crate::failure::{Failure, Outcome, say};

#[derive(clap::Args)]
pub struct Said {
    /// How columns are brought near to normal ones before the model sees them, by maps that are part of the likelihood; what
    /// is drawn has the ends, steps and repeated values of its column, and labels and gaps where it has some. `auto` finds
    /// all this in the rows. `plain` has no maps: every cell is a number, and a rounded or repeated one a spike. Default:
    /// auto, or plain with --dequantize.
    #[arg(long, value_name = "SCALE", conflicts_with = "dequantize")]
    units: Option<Scale>,
    /// What one column is: NAME:WHAT,… with `positive`, ends as in `1..31`, `0..` and `..100`, a scale (`affine`, `robust`,
    /// `logarithmic`, `gaussianized`), `step=0.01`, `value=0` for a value with a probability of its own, `category` if it
    /// has no values but those of the rows, `continuous` if none has a probability.
    #[arg(long, value_name = "NAME:WHAT", conflicts_with = "dequantize")]
    column: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Scale {
    Auto,
    Affine,
    Robust,
    Logarithmic,
    Gaussianized,
    Plain,
}

impl Scale {
    /// `None` of plain numbers.
    fn of_column(self) -> Option<ColumnScale> {
        match self {
            Scale::Auto => Some(ColumnScale::Auto),
            Scale::Affine => Some(ColumnScale::Affine),
            Scale::Robust => Some(ColumnScale::Robust),
            Scale::Logarithmic => Some(ColumnScale::Logarithmic),
            Scale::Gaussianized => Some(ColumnScale::Gaussianized),
            Scale::Plain => None,
        }
    }
}

/// A column of the table, as the model gets it.
pub struct Given<'a> {
    pub name: &'a str,
    /// The grid of its values, in the units of the file.
    pub step: Option<Step>,
    pub units: Units,
    /// Its different values.
    pub values: Vec<f32>,
    pub cells: &'a Cells,
}

impl<'a> Given<'a> {
    /// The modeled columns, as they were prepared.
    pub fn all(data: &Dataset, columns: &'a [persist::Column], steps: &[Option<Step>]) -> Vec<Self> {
        let modeled = columns.iter().filter(|column| column.role.is_modeled());
        let given = |((column, &step), place): ((&'a persist::Column, &Option<Step>), usize)| {
            let mut values = data.x().column(place).to_vec();
            values.sort_by(f32::total_cmp);
            values.dedup();
            Given { name: &column.name, step, units: column.units, values, cells: &column.cells }
        };
        modeled.zip(steps).zip(0..).map(given).collect()
    }

    /// The column, of which `what` is said in the units of the file.
    fn said(&self, scale: ColumnScale, what: &str) -> Result<Column, String> {
        let mut column = Column { scale, step: self.step, ..Column::default() };
        for what in what.split(',').map(str::trim) {
            if !self.cells.are_numbers() && *self.cells != Cells::Optional {
                match what {
                    CATEGORY => continue,
                    _ => return Err("its cells are labels, which have no units".into()),
                }
            }
            let number = |text: &str| -> Result<f64, String> {
                let number = text.parse().ok().filter(|number: &f64| number.is_finite());
                number.ok_or_else(|| format!("{text:?} is no number"))
            };
            let end = |text: &str| if text.is_empty() { Ok(None) } else { number(text).map(Some) };
            if let Some(scale) = Scale::from_str(what, false).ok().and_then(Scale::of_column) {
                column.scale = scale;
            } else if what == "positive" {
                column.low = Some(0.0);
            } else if what == CATEGORY {
                column.atoms = Atoms::Among(self.values.clone());
            } else if what == "continuous" {
                column.atoms = Atoms::Without;
            } else if let Some(value) = what.strip_prefix("value=") {
                let value = self.units.of(number(value)?);
                match &mut column.atoms {
                    Atoms::At(values) => values.push(value),
                    atoms => *atoms = Atoms::At(vec![value]),
                }
            } else if let Some(width) = what.strip_prefix("step=") {
                column.step = Some(Step { width: number(width)?, offset: 0.0 });
            } else if let Some((low, high)) = what.split_once("..") {
                (column.low, column.high) = (end(low)?, end(high)?);
            } else {
                let known = "positive, LOW..HIGH, auto, affine, robust, logarithmic, gaussianized, step=WIDTH, value=NUMBER, \
                             category, continuous";
                return Err(format!("{what:?}: expected one of {known}"));
            }
        }
        Ok(column.stored(self.units, self.cells))
    }
}

/// What is said of a column of labels.
const CATEGORY: &str = "category";

impl Said {
    /// Whether anything is said.
    pub fn is_given(&self) -> bool {
        self.units.is_some() || !self.column.is_empty()
    }

    /// Whether columns have maps, if rounded ones may be spread instead.
    pub fn have_maps(&self, spread: bool) -> Outcome<bool> {
        match (self.units, self.column.first()) {
            (Some(Scale::Plain), Some(said)) => {
                Err(Failure::Usage(format!("--column {said}: --units plain takes every column for numbers")))
            }
            (units, _) => Ok(!spread && units != Some(Scale::Plain)),
        }
    }

    /// The columns said to hold labels, whatever they look like.
    pub fn categories(&self) -> Vec<String> {
        let said = self.column.iter().filter_map(|said| said.rsplit_once(':'));
        let of_labels = said.filter(|(_, what)| what.split(',').any(|what| what.trim() == CATEGORY));
        of_labels.map(|(name, _)| name.to_owned()).collect()
    }

    /// What is said of these columns, which have maps.
    pub fn config(&self, columns: &[Given]) -> Outcome<ColumnsConfig> {
        let scale = self.units.and_then(Scale::of_column).unwrap_or_default();
        let bad = |said: &str, what: String| Failure::Usage(format!("--column {said}: {what}"));
        let of_all = |given: &Given| {
            let column = Column { scale, step: given.step, ..Column::default() };
            column.stored(given.units, given.cells)
        };
        let mut all: Vec<Column> = columns.iter().map(of_all).collect();
        for said in &self.column {
            let (name, what) = said.rsplit_once(':').ok_or_else(|| bad(said, "expected NAME:WHAT".into()))?;
            let names = || columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
            let place = columns.iter().position(|column| column.name == name);
            let place =
                place.ok_or_else(|| bad(said, format!("no column {name:?}: expected one of {}", names())))?;
            all[place] = columns[place].said(scale, what).map_err(|what| bad(said, what))?;
        }
        Ok(ColumnsConfig { dim: all.len(), columns: all })
    }
}

/// A model as its maps of columns and the model of what these make of the rows; `None` if it has no maps.
pub fn maps_and_model(model: &dyn Persist) -> Option<Latent<Columns, Box<dyn Persist>>> {
    Latent::from_bytes(&model.to_bytes().ok()?).ok()
}

/// What each column was taken for, by name.
pub fn described(maps: &Columns, columns: &[persist::Column]) -> Outcome<Vec<(String, String)>> {
    let modeled = columns.iter().filter(|column| column.role.is_modeled());
    let of = |(place, persist::Column { name, cells, .. }): (usize, &persist::Column)| {
        let what = match cells {
            Cells::Labels(labels) => format!("labels: {}", labels.join(", ")),
            _ => maps.describe(place)?,
        };
        Ok((name.clone(), what))
    };
    modeled.enumerate().map(of).collect()
}

/// The most columns that a message lists, because a table can have thousands.
const LISTED: usize = 40;

/// Tells what each column was taken for.
pub fn tell(maps: &Columns, columns: &[persist::Column]) -> Outcome<()> {
    let described = described(maps, columns)?;
    described.iter().take(LISTED).for_each(|(name, what)| say(format_args!("{name}: {what}")));
    if let Some(more) = described.len().checked_sub(LISTED).filter(|&more| more > 0) {
        say(format_args!("and {more} more columns, which `quadrivium info` lists"));
    }
    say(format_args!("--column NAME:WHAT says it otherwise, and --units plain takes all for numbers"));
    Ok(())
}

//! What is said of columns on the command line: their scale, ends, steps and values.

use clap::ValueEnum;
use quadrivium::Dataset;
use quadrivium::hybrid::{Atoms, Column, ColumnScale, Columns, ColumnsConfig, Latent};
use quadrivium::persist::{self, Persist};
use quadrivium::tables::{Cells, Step, Units};

use crate::failure::{Failure, Outcome, say};

#[derive(clap::Args)]
pub struct Said {
    /// Bring every column near to a normal one before the model sees it, by a map that is part of the likelihood; what is
    /// drawn has the ends, steps and repeated values of its column. `auto` finds them and the scale in the rows.
    #[arg(long, value_name = "SCALE", conflicts_with = "dequantize")]
    units: Option<Scale>,
    /// What one column is: NAME:WHAT,… with `positive`, ends as in `1..31`, `0..` and `..100`, a scale (`affine`, `robust`,
    /// `logarithmic`, `gaussianized`), `step=0.01`, `value=0` for a value with a probability of its own, `category` if it
    /// has no values but those of the rows, `continuous` if none has a probability. The other columns are `auto`, if
    /// --units does not say otherwise.
    #[arg(long, value_name = "NAME:WHAT", conflicts_with = "dequantize")]
    column: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scale {
    Auto,
    Affine,
    Robust,
    Logarithmic,
    Gaussianized,
}

impl From<Scale> for ColumnScale {
    fn from(scale: Scale) -> Self {
        match scale {
            Scale::Auto => ColumnScale::Auto,
            Scale::Affine => ColumnScale::Affine,
            Scale::Robust => ColumnScale::Robust,
            Scale::Logarithmic => ColumnScale::Logarithmic,
            Scale::Gaussianized => ColumnScale::Gaussianized,
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
    fn said(&self, scale: Option<ColumnScale>, what: &str) -> Result<Column, String> {
        let mut column = Column { scale: scale.unwrap_or_default(), step: self.step, ..Column::default() };
        for what in what.split(',').map(str::trim) {
            if !self.cells.are_numbers() && *self.cells != Cells::Optional {
                return Err("its cells are labels, which have no units".into());
            }
            let number = |text: &str| -> Result<f64, String> {
                let number = text.parse().ok().filter(|number: &f64| number.is_finite());
                number.ok_or_else(|| format!("{text:?} is no number"))
            };
            let end = |text: &str| if text.is_empty() { Ok(None) } else { number(text).map(Some) };
            if let Ok(scale) = Scale::from_str(what, false) {
                column.scale = scale.into();
            } else if what == "positive" {
                column.low = Some(0.0);
            } else if what == "category" {
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
        Ok(self.stored(column))
    }

    /// A column that is said in the units of the file, in those of the model's numbers.
    fn stored(&self, mut column: Column) -> Column {
        if let Cells::Labels(labels) = self.cells {
            // Labels have no numbers but their places.
            let atoms = Atoms::Among((0..labels.len()).map(|label| label as f32).collect());
            return Column { atoms, ..Column::default() };
        }
        let Units { center, scale } = self.units;
        let at = |value: f64| (value - center) / scale;
        (column.low, column.high) = (column.low.map(at), column.high.map(at));
        column.step = column.step.map(|Step { width, offset }| {
            let (width, offset) = (width / scale, at(offset));
            Step { width, offset: offset - width * (offset / width).round() }
        });
        // Of a value with a probability the units of the file say nothing: `log_scale` is for densities.
        if scale != 1.0 && column.atoms == Atoms::Found {
            column.atoms = Atoms::Without;
        }
        column
    }
}

impl Said {
    /// Whether anything is said.
    pub fn is_given(&self) -> bool {
        self.units.is_some() || !self.column.is_empty()
    }

    /// What is said of these columns; `None` if nothing is.
    pub fn config(&self, columns: &[Given]) -> Outcome<Option<ColumnsConfig>> {
        if !self.is_given() {
            return Ok(None);
        }
        let scale = self.units.map(ColumnScale::from);
        let of_all = |given: &Given| {
            given.stored(Column { scale: scale.unwrap_or_default(), step: given.step, ..Column::default() })
        };
        let mut all: Vec<Column> = columns.iter().map(of_all).collect();
        for said in &self.column {
            let bad = |what: String| Failure::Usage(format!("--column {said}: {what}"));
            let (name, what) = said.rsplit_once(':').ok_or_else(|| bad("expected NAME:WHAT".into()))?;
            let names = || columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
            let place = columns.iter().position(|column| column.name == name);
            let place =
                place.ok_or_else(|| bad(format!("no column {name:?}: expected one of {}", names())))?;
            all[place] = columns[place].said(scale, what).map_err(bad)?;
        }
        Ok(Some(ColumnsConfig { dim: all.len(), columns: all }))
    }
}

/// Which of the columns of a model hold whole numbers alone, by the maps of its columns, if it has such maps.
pub fn whole(model: &dyn Persist, columns: usize) -> Vec<bool> {
    let model = model.to_bytes().and_then(|bytes| Latent::<Columns, Box<dyn Persist>>::from_bytes(&bytes));
    let whole = |place| model.as_ref().is_ok_and(|model| model.codec().is_whole(place).unwrap_or(false));
    (0..columns).map(whole).collect()
}

/// Tells what each column was taken for.
pub fn tell(model: &dyn Persist, columns: &[persist::Column]) -> Outcome<()> {
    let model = Latent::<Columns, Box<dyn Persist>>::from_bytes(&model.to_bytes()?)?;
    let modeled = columns.iter().filter(|column| column.role.is_modeled());
    for (place, persist::Column { name, cells, .. }) in modeled.enumerate() {
        match cells {
            Cells::Labels(labels) => say(format_args!("{name}: labels: {}", labels.join(", "))),
            _ => say(format_args!("{name}: {}", model.codec().describe(place)?)),
        }
    }
    say(format_args!("--column NAME:WHAT says it otherwise"));
    Ok(())
}

//! The condition of rows: which columns it is, its values on the command line, and its draws.

use clap::ValueEnum;
use quadrivium::error::ConditionError;
use quadrivium::ndarray::{Array2, ArrayView2};
use quadrivium::numeric::rng::Rng;
use quadrivium::persist::{Column, Role, condition_of};
use quadrivium::prelude::*;
use quadrivium::rand::Rng as _;
use quadrivium::tables::{Cells, Table, Units};
use quadrivium::{Error, LogLikelihood};

use crate::failure::{Failure, Outcome, counted, say};

/// What a model is to be conditioned on.
#[derive(clap::Args)]
pub struct Asked {
    /// Learn p(x|c): the columns of the condition c, by names or by numbers starting at 1. The model draws and scores
    /// the other columns, given these.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    pub condition: Vec<String>,
    /// How to take the condition. Default: as a class if it is one column of at most 100 whole numbers, each in four
    /// rows or more on average; anything else as numbers.
    #[arg(long, value_enum, value_name = "KIND", requires = "condition")]
    condition_kind: Option<Form>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Form {
    /// Each value of the column is a separate class, unrelated to the others.
    Class,
    /// The columns are numbers: nearby values have similar meanings, and --given accepts values between those of the
    /// data.
    Vector,
}

/// At most this many whole numbers are taken for labels, if each has at least this many rows on average.
const MOST_LABELS: usize = 100;
const ROWS_OF_A_LABEL: usize = 4;

/// The most classes of a condition.
const MOST_CLASSES: usize = 1 << 16;

/// The number of rows whose condition is kept for draws without a given condition.
const EXAMPLES: usize = 1024;

impl Asked {
    /// The columns of a condition with their roles. Reports how they are used. `name` is the name of the data.
    pub fn columns(&self, table: &Table, cells: &[Cells], name: &str) -> Outcome<Vec<Column>> {
        for (at, values) in table.x.columns().into_iter().enumerate() {
            if values.iter().all(|value| *value == values[0]) {
                return Err(Failure::Operation(format!(
                    "{name}: column {} holds {} in all {} rows, so it is no condition",
                    table.names[at],
                    table.value(0, at),
                    values.len(),
                )));
            }
        }
        if let Some(at) = cells.iter().position(|cells| *cells == Cells::Optional) {
            let message = format!("{name}: column {} has gaps, so it is no condition", table.names[at]);
            return Err(Failure::Operation(message));
        }
        let texts = cells.iter().position(|cells| !cells.are_numbers());
        if let Some(at) = texts.filter(|_| cells.len() > 1 || self.condition_kind == Some(Form::Vector)) {
            let message = format!(
                "column {} holds labels, so it is a condition by itself, and a class",
                table.names[at]
            );
            return Err(Failure::Usage(message));
        }
        let labels = (table.names.len() == 1).then(|| Labels::of(table, cells));
        let looks =
            labels.as_ref().is_some_and(|labels| texts.is_some() || labels.look_like_labels(table.x.nrows()));
        let guess = if looks { Form::Class } else { Form::Vector };
        match (self.condition_kind.unwrap_or(guess), labels) {
            (Form::Class, Some(labels)) => Ok(vec![self.label(table, labels, name)?]),
            (Form::Class, None) => {
                let columns = counted(table.names.len(), "column");
                let message = format!("--condition-kind class: expected one column, not {columns}");
                Err(Failure::Usage(message))
            }
            (Form::Vector, labels) => {
                let other = match labels.filter(|_| self.condition_kind.is_none()) {
                    Some(_) => "; --condition-kind class takes each value as a class",
                    None => "",
                };
                say(format_args!("{name}: the condition is {}, as numbers{other}", table.names.join(", ")));
                let step = table.x.nrows().div_ceil(EXAMPLES);
                let examples = |at| table.x.column(at).iter().step_by(step).copied().collect();
                let number = |at| column(table, at, Role::Number { examples: examples(at) });
                Ok((0..table.names.len()).map(number).collect())
            }
        }
    }

    fn label(&self, table: &Table, labels: Labels, name: &str) -> Outcome<Column> {
        let (label, Labels { values, rows, cells }) = (&table.names[0], labels);
        if values.len() > MOST_CLASSES {
            return Err(Failure::Operation(format!(
                "{name}: column {label} has {} different values, and there are at most {MOST_CLASSES} classes: \
                 --condition-kind vector takes them as numbers",
                values.len()
            )));
        }
        let other = match self.condition_kind {
            None if cells.are_numbers() => "; --condition-kind vector takes them as numbers",
            _ => "",
        };
        let shown = listed(&cells, &values);
        say(format_args!("{name}: the condition is {label}, a class: {shown}{other}"));
        Ok(Column { cells, ..column(table, 0, Role::Label { values, rows }) })
    }
}

fn column(table: &Table, at: usize, role: Role) -> Column {
    Column { name: table.names[at].clone(), units: table.units[at], role, ..Column::default() }
}

/// The different values of a table's one column, in ascending order, and how many rows have each.
struct Labels {
    values: Vec<f64>,
    rows: Vec<u64>,
    cells: Cells,
}

impl Labels {
    fn of(table: &Table, cells: &[Cells]) -> Self {
        let mut all: Vec<f64> = all_values(table).into_iter().collect();
        all.sort_by(f64::total_cmp);
        let runs = all.chunk_by(|a, b| a == b);
        let (values, rows) = runs.map(|run| (run[0], run.len() as u64)).unzip();
        Labels { values, rows, cells: cells.first().cloned().unwrap_or_default() }
    }

    fn look_like_labels(&self, rows: usize) -> bool {
        let few = MOST_LABELS.min(rows / ROWS_OF_A_LABEL);
        self.values.len() <= few && self.values.iter().all(|value| value.fract() == 0.0)
    }
}

/// Some columns of x, in the units of the data: (n, columns).
pub fn values_of(x: ArrayView2<f32>, columns: &[usize], units: &[Units]) -> Array2<f64> {
    // −0 is 0.
    let value = |(row, at): (usize, usize)| units[columns[at]].written(x[[row, columns[at]]]) + 0.0;
    Array2::from_shape_fn((x.nrows(), columns.len()), value)
}

/// All columns of a table, in the units of the data: (n, columns).
pub fn all_values(table: &Table) -> Array2<f64> {
    let all: Vec<usize> = (0..table.names.len()).collect();
    values_of(table.x.view(), &all, &table.units)
}

/// The values as text; if there are many, only the first.
pub fn listed(cells: &Cells, values: &[f64]) -> String {
    const LISTED: usize = 20;
    let first: Vec<String> = values.iter().take(LISTED).map(|&value| shown(cells, value)).collect();
    let more = values.len().saturating_sub(LISTED);
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}

/// A value as it stands in a table.
fn shown(cells: &Cells, value: f64) -> String {
    cells.text(value).map_or_else(|| value.to_string(), str::to_owned)
}

/// The log-likelihood of x, under a condition if there is one.
pub fn score(
    model: &dyn Generative,
    condition: Option<&Condition>,
    x: ArrayView2<f32>,
    options: &LikelihoodOptions,
) -> Result<LogLikelihood> {
    match condition {
        None => model.log_likelihood(x, options),
        Some(condition) => model.given(condition)?.log_likelihood(x, options),
    }
}

/// The columns of a condition among all of a model's.
pub fn of_condition(columns: &[Column]) -> Vec<&Column> {
    columns.iter().filter(|column| !column.role.is_modeled()).collect()
}

/// One condition, as in `--given label=3`: (1, columns of the condition).
pub fn given(settings: &[String], columns: &[Column]) -> Outcome<Array2<f64>> {
    let condition = of_condition(columns);
    let known = || condition.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    if condition.is_empty() {
        return Err(Failure::Operation(format!("--given: {}", ConditionError::Unexpected)));
    }
    let mut values = vec![None; condition.len()];
    for setting in settings {
        let Some((name, text)) = setting.split_once('=') else {
            return Err(Failure::Usage(format!("--given {setting}: expected COLUMN=VALUE")));
        };
        let Some(at) = condition.iter().position(|column| column.name == name) else {
            let message = format!("--given: no column {name} in the model's condition: expected {}", known());
            return Err(Failure::Operation(message));
        };
        let value = match &condition[at].cells {
            Cells::Labels(labels) => {
                let label = labels.iter().position(|label| label == text.trim());
                let expected = || format!("--given {setting}: expected one of {}", labels.join(", "));
                label.ok_or_else(|| Failure::Operation(expected()))? as f64
            }
            _ => {
                let value = text.trim().parse().ok().filter(|value: &f64| value.is_finite());
                let value = value.filter(|&value| condition[at].units.of(value).is_finite());
                let expected = || format!("--given {setting}: expected a finite number");
                value.ok_or_else(|| Failure::Usage(expected()))?
            }
        };
        if values[at].replace(value).is_some() {
            return Err(Failure::Usage(format!("--given: column {name} has two values")));
        }
    }
    let missing = condition.iter().zip(&values).find(|(_, value)| value.is_none());
    if let Some((column, _)) = missing {
        let message = format!("--given: column {} has no value: the condition is {}", column.name, known());
        return Err(Failure::Operation(message));
    }
    let values = Array2::from_shape_fn((1, values.len()), |(_, at)| values[at].unwrap_or_default());
    // Reported now, without a row number.
    match condition_of(columns, values.view()) {
        Ok(_) => Ok(values),
        Err(Error::Condition(ConditionError::UnknownLabel { column, value, known, .. })) => {
            let error = ConditionError::UnknownLabel { row: None, column, value, known };
            Err(Failure::Operation(format!("--given: {error}")))
        }
        Err(other) => Err(other.into()),
    }
}

/// Random conditions of n rows, with their frequencies in the training rows: (n, columns of the condition).
pub fn drawn(columns: &[Column], n: usize, rng: &mut Rng) -> Array2<f64> {
    let condition = of_condition(columns);
    let mut values = Array2::zeros((n, condition.len()));
    for mut row in values.rows_mut() {
        if let [Column { role: Role::Label { values, rows }, .. }] = condition[..] {
            let mut left = rng.random_range(0..rows.iter().sum());
            let label = rows.iter().position(|&rows| {
                let here = left < rows;
                left = left.saturating_sub(rows);
                here
            });
            row[0] = values[label.unwrap_or_default()];
            continue;
        }
        let mut example = None;
        for (value, column) in row.iter_mut().zip(&condition) {
            if let Role::Number { examples } = &column.role {
                let example = *example.get_or_insert_with(|| rng.random_range(0..examples.len()));
                *value = column.units.written(examples[example]);
            }
        }
    }
    values
}

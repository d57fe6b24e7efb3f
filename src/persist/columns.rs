//! What a model's file says about the table that the model was trained on.

use std::collections::HashSet;
use std::path::Path;

use ndarray::{Array1, Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::{Description, Persist, from_bytes};
use crate::error::{ConditionError, Result};
use crate::model::file::{COLUMNS, Stored, annotate, broken, read};
use crate::model::{Condition, ConditionKind};
use crate::tables::{Cells, Step, Units};

/// A column of the table that a model was trained on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The width over which [`dequantize`](crate::tables::dequantize) spread its values, in the units of the data; 0
    /// if the values were not spread.
    #[serde(default)]
    pub width: f64,
    /// The offset of the grid of that width: [`Step::offset`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: f64,
    /// The units of the model's numbers.
    #[serde(default, skip_serializing_if = "Units::is_identity")]
    pub units: Units,
    /// How the model uses the column.
    #[serde(default, skip_serializing_if = "Role::is_modeled")]
    pub role: Role,
    /// How its cells are read and written.
    #[serde(default, skip_serializing_if = "Cells::are_numbers")]
    pub cells: Cells,
}

/// How a model uses a column: in p(x|c), as a part of x or of the condition c.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Role {
    /// A column of the rows that are drawn and scored.
    #[default]
    Modeled,
    /// The column that holds the class. Class k has the value `values[k]`.
    Label {
        /// The values of the classes, in ascending order.
        values: Vec<f64>,
        /// The number of rows of the table with each value.
        rows: Vec<u64>,
    },
    /// One number of the condition, which is the vector of all columns of this kind.
    Number {
        /// The values in some of the table's rows, the same rows for each such column, in the column's units.
        examples: Vec<f32>,
    },
}

/// Columns of a model's condition that its file does not name: `class`, or `c1`, `c2`, …; how often each condition
/// occurred is not known of them.
///
/// ```
/// use quadrivium::{ConditionKind, persist::unnamed_columns};
///
/// assert_eq!(unnamed_columns(ConditionKind::Vector { dim: 2 })[1].name, "c2");
/// ```
pub fn unnamed_columns(kind: ConditionKind) -> Vec<Column> {
    let column = |name: String, role| Column { name, role, ..Column::default() };
    match kind {
        ConditionKind::Class { classes } => {
            let values = (0..classes).map(f64::from).collect();
            vec![column("class".into(), Role::Label { values, rows: Vec::new() })]
        }
        ConditionKind::Vector { dim } => (1..=dim)
            .map(|number| column(format!("c{number}"), Role::Number { examples: Vec::new() }))
            .collect(),
        _ => Vec::new(),
    }
}

impl Role {
    /// Whether it is part of x.
    pub fn is_modeled(&self) -> bool {
        *self == Role::Modeled
    }
}

impl Column {
    /// The grid to which draws are rounded; none if the values were not spread.
    pub fn step(&self) -> Option<Step> {
        (self.width > 0.0).then_some(Step { width: self.width, offset: self.offset })
    }
}

fn is_zero(offset: &f64) -> bool {
    *offset == 0.0
}

/// What a model with these columns is conditioned on.
///
/// ```
/// use quadrivium::{ConditionKind, persist::{Column, Role, condition_kind, condition_of}, ndarray::array};
///
/// let role = Role::Label { values: vec![3.0, 7.0], rows: vec![50, 50] };
/// let columns = [Column::default(), Column { name: "label".into(), role, ..Column::default() }];
/// assert_eq!(condition_kind(&columns), ConditionKind::Class { classes: 2 });
/// let condition = condition_of(&columns, array![[7.0], [3.0]].view())?;
/// assert_eq!(condition, quadrivium::Condition::Class(array![1, 0]));
/// let error = condition_of(&columns, array![[7.0], [8.0]].view()).unwrap_err();
/// assert_eq!(error.to_string(), "row 2, column label: 8 is not a class the model knows: 3, 7");
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn condition_kind(columns: &[Column]) -> ConditionKind {
    let labels = columns.iter().find_map(|column| match &column.role {
        Role::Label { values, .. } => Some(values.len() as u32),
        _ => None,
    });
    match (labels, columns.iter().filter(|column| !column.role.is_modeled()).count()) {
        (Some(classes), _) => ConditionKind::Class { classes },
        (None, 0) => ConditionKind::None,
        (None, dim) => ConditionKind::Vector { dim },
    }
}

/// The condition of rows whose values in the condition's columns are `values`: (n, those columns), in the units of
/// the data.
///
/// # Errors
/// [`ConditionError::UnknownLabel`] for a value that is not a class, [`ConditionError::Width`] for another number
/// of columns, [`ConditionError::Unexpected`] if the model has no condition.
pub fn condition_of(columns: &[Column], values: ArrayView2<f64>) -> Result<Condition> {
    let columns: Vec<&Column> = columns.iter().filter(|column| !column.role.is_modeled()).collect();
    let (got, expected) = (values.ncols(), columns.len());
    match columns.first() {
        None => Err(ConditionError::Unexpected.into()),
        Some(_) if got != expected => Err(ConditionError::Width { got, expected }.into()),
        Some(Column { name, role: Role::Label { values: known, .. }, .. }) => {
            // −0 is 0.
            let class = |(row, &value): (usize, &f64)| match known
                .binary_search_by(|v| v.total_cmp(&(value + 0.0)))
            {
                Ok(class) => Ok(class as u32),
                Err(_) => Err(ConditionError::UnknownLabel {
                    row: Some(row),
                    column: name.clone(),
                    value: value.to_string(),
                    known: known.iter().map(f64::to_string).collect(),
                }),
            };
            let classes: Result<Array1<u32>, _> = values.column(0).iter().enumerate().map(class).collect();
            Ok(Condition::Class(classes?))
        }
        Some(_) => {
            let number = |(row, column): (usize, usize)| columns[column].units.of(values[[row, column]]);
            Ok(Condition::Vector(Array2::from_shape_fn(values.dim(), number)))
        }
    }
}

/// [`save`](super::save), with the columns of the training table, in the entry `quadrivium.columns` of the file's
/// metadata, as a JSON list. [`load`](super::load) ignores this entry.
///
/// # Errors
/// As [`save`](super::save); [`FileError::Format`](crate::error::FileError::Format) for columns that do not fit the
/// model. There must be one for each column of the model, and none or all of its condition, each with a unique name
/// and a finite width of 0 or more.
pub fn save_with(model: &dyn Persist, columns: &[Column], path: impl AsRef<Path>) -> Result<()> {
    check(columns, model)?;
    let text = serde_json::to_string(columns).map_err(|error| broken(format!("the columns: {error}")))?;
    crate::file::write(path.as_ref(), &annotate(&model.to_bytes()?, COLUMNS, text)?)
}

/// [`load`](super::load), with the columns; there are none if the file does not name them.
///
/// # Errors
/// As [`load`](super::load), and [`FileError::Format`](crate::error::FileError::Format) for columns that do not fit
/// the model.
pub fn load_with(path: impl AsRef<Path>) -> Result<(Box<dyn Persist>, Vec<Column>)> {
    with_columns(&read(path.as_ref())?)
}

/// [`load_with`] and [`describe`](super::describe) in one pass, so that the file may be a pipe.
///
/// # Errors
/// As [`load_with`].
pub fn load_described(path: impl AsRef<Path>) -> Result<(Box<dyn Persist>, Vec<Column>, Description)> {
    let bytes = read(path.as_ref())?;
    let (model, columns) = with_columns(&bytes)?;
    Ok((model, columns, Description::of(&bytes)?))
}

fn with_columns(bytes: &[u8]) -> Result<(Box<dyn Persist>, Vec<Column>)> {
    let model = from_bytes(bytes)?;
    let stored = Stored::parse(bytes)?;
    let Some(text) = stored.note(COLUMNS) else { return Ok((model, Vec::new())) };
    let columns: Vec<Column> =
        serde_json::from_str(text).map_err(|error| broken(format!("the columns: {error}")))?;
    check(&columns, model.as_ref())?;
    Ok((model, columns))
}

fn check(columns: &[Column], model: &dyn Persist) -> Result<()> {
    let (modeled, condition): (Vec<&Column>, Vec<&Column>) =
        columns.iter().partition(|column| column.role.is_modeled());
    if modeled.len() != model.dim() {
        return Err(broken(format!(
            "{} columns are named, but the model has {}",
            modeled.len(),
            model.dim()
        )));
    }
    check_condition(columns, &condition, model.condition())?;
    let mut seen = HashSet::new();
    for Column { name, width, offset, units, cells, .. } in columns {
        if let Cells::Labels(labels) = cells {
            let mut known = HashSet::new();
            if labels.is_empty() || !labels.iter().all(|label| known.insert(label)) {
                return Err(broken(format!(
                    "a column {name:?} with the labels {labels:?}: expected different ones"
                )));
            }
        }
        if !seen.insert(name) || name.is_empty() || !width.is_finite() || *width < 0.0 {
            return Err(broken(format!(
                "a column {name:?} of width {width}: expected a unique name and a width of 0 or more"
            )));
        }
        let Units { center, scale } = units;
        if !offset.is_finite() || !center.is_finite() || !scale.is_normal() || *scale < 0.0 {
            return Err(broken(format!(
                "a column {name:?} of offset {offset}, center {center} and scale {scale}: expected finite numbers \
                 and a scale of more than 0"
            )));
        }
    }
    Ok(())
}

/// Checks that the columns of the condition, if they are named, fit the model's condition.
fn check_condition(columns: &[Column], condition: &[&Column], kind: ConditionKind) -> Result<()> {
    if condition.is_empty() {
        return Ok(());
    }
    let found = condition_kind(columns);
    if found != kind {
        return Err(broken(format!("columns of a condition, {found}: the model expects {kind}")));
    }
    let mut examples = None;
    for Column { name, role, .. } in condition {
        let sound = match role {
            Role::Label { values, rows } => {
                let counted = rows.iter().try_fold(0u64, |all, &rows| all.checked_add(rows));
                let sorted =
                    values.is_sorted_by(|a, b| a < b) && values.iter().all(|value| value.is_finite());
                sorted
                    && condition.len() == 1
                    && rows.len() == values.len()
                    && counted.is_some_and(|all| all > 0)
            }
            Role::Number { examples: found } => {
                let finite = !found.is_empty() && found.iter().all(|value| value.is_finite());
                finite && *examples.get_or_insert(found.len()) == found.len()
            }
            Role::Modeled => true,
        };
        if !sound {
            return Err(broken(format!("the column {name:?} of the condition has invalid values")));
        }
    }
    Ok(())
}

//! What a model's file says of the table that the model was trained on.

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Description, Persist, describe_bytes, from_bytes};
use crate::error::Result;
use crate::model::file::{COLUMNS, Stored, annotate, broken, read};
use crate::tables::{Step, Units};

/// A column of the rows that a model learned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The width that its values were spread over by [`dequantise`](crate::tables::dequantise), in the units of the
    /// data; 0 for values as they stood.
    #[serde(default)]
    pub width: f64,
    /// Where the grid of that width lies: [`Step::offset`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: f64,
    /// What the model's numbers stand for.
    #[serde(default, skip_serializing_if = "Units::is_identity")]
    pub units: Units,
}

impl Column {
    /// The grid that draws go back to; none for values as they stood.
    pub fn step(&self) -> Option<Step> {
        (self.width > 0.0).then_some(Step { width: self.width, offset: self.offset })
    }
}

fn is_zero(offset: &f64) -> bool {
    *offset == 0.0
}

/// [`save`](super::save) with the columns of the training's table beside the model, as the entry
/// `quadrivium.columns` of the file's metadata: a list in JSON. Whoever reads only models does not see it.
///
/// # Errors
/// As [`save`](super::save); [`Error::Format`](crate::Error::Format) for columns that are not the model's:
/// one for each, each with a name of its own and a finite width of 0 or more.
pub fn save_with(model: &dyn Persist, columns: &[Column], path: impl AsRef<Path>) -> Result<()> {
    check(columns, model.dim())?;
    let text = serde_json::to_string(columns).map_err(|error| broken(format!("the columns: {error}")))?;
    crate::file::write(path.as_ref(), &annotate(&model.to_bytes()?, COLUMNS, text)?)
}

/// [`load`](super::load) with the columns: none if the file does not name them.
///
/// # Errors
/// As [`load`](super::load), and [`Error::Format`](crate::Error::Format) for columns that are not the model's.
pub fn load_with(path: impl AsRef<Path>) -> Result<(Box<dyn Persist>, Vec<Column>)> {
    with_columns(&read(path.as_ref())?)
}

/// [`load_with`] and [`describe`](super::describe) by one reading, so that the file may be a pipe.
///
/// # Errors
/// As [`load_with`].
pub fn load_described(path: impl AsRef<Path>) -> Result<(Box<dyn Persist>, Vec<Column>, Description)> {
    let bytes = read(path.as_ref())?;
    let (model, columns) = with_columns(&bytes)?;
    Ok((model, columns, describe_bytes(&bytes)?))
}

fn with_columns(bytes: &[u8]) -> Result<(Box<dyn Persist>, Vec<Column>)> {
    let model = from_bytes(bytes)?;
    let stored = Stored::parse(bytes)?;
    let Some(text) = stored.note(COLUMNS) else { return Ok((model, Vec::new())) };
    let columns: Vec<Column> =
        serde_json::from_str(text).map_err(|error| broken(format!("the columns: {error}")))?;
    check(&columns, model.dim())?;
    Ok((model, columns))
}

fn check(columns: &[Column], dim: usize) -> Result<()> {
    if columns.len() != dim {
        return Err(broken(format!("{} columns are named: the model has {dim}", columns.len())));
    }
    let mut seen = HashSet::new();
    for Column { name, width, offset, units } in columns {
        if !seen.insert(name) || name.is_empty() || !width.is_finite() || *width < 0.0 {
            return Err(broken(format!(
                "a column {name:?} of width {width}: expected a name of its own and a width of 0 or more"
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

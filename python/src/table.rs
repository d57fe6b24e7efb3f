//! Columns of values on their way to a model and back.

use numpy::ndarray::{Array2, ArrayView2, Axis};
use pyo3::prelude::*;
use quadrivium::Condition;
use quadrivium::hybrid::{self, ColumnsConfig};
use quadrivium::persist::{Column, Role, condition_of};
use quadrivium::tables::{Cells, MISSING, Step, Table, Units};

use crate::failure::{raise, wrong};

/// The number of rows whose condition is kept for draws without a given condition.
const EXAMPLES: usize = 1024;

/// Columns to model, as Python has them.
pub struct Given {
    pub table: Table,
    pub columns: Vec<Column>,
}

impl Given {
    /// Values, (rows, names), NaN where one is missing; of a column with labels the places of its labels.
    pub fn new(
        names: Vec<String>,
        values: ArrayView2<f64>,
        labels: Vec<Option<Vec<String>>>,
    ) -> PyResult<Self> {
        let table = Table::of(names, values).map_err(raise)?;
        if labels.len() != table.names.len() {
            return Err(wrong("labels: expected an entry for each column"));
        }
        let cells = labels.into_iter().zip(table.x.columns()).map(|(labels, x)| match labels {
            Some(labels) => Cells::Labels(labels),
            None if x.iter().any(|&x| x == MISSING) => Cells::Optional,
            None => Cells::Numbers,
        });
        let column = |((name, &units), cells): ((&String, &Units), Cells)| Column {
            name: name.clone(),
            units,
            cells,
            ..Column::default()
        };
        let columns = table.names.iter().zip(&table.units).zip(cells).map(column).collect();
        Ok(Given { table, columns })
    }

    /// What is known of the columns, for maps of their own.
    pub fn config(&self) -> ColumnsConfig {
        let columns = (0..self.columns.len()).map(|place| self.known(place)).collect();
        ColumnsConfig { dim: self.columns.len(), columns }
    }

    fn known(&self, place: usize) -> hybrid::Column {
        let column = hybrid::Column { step: self.step(place), ..hybrid::Column::default() };
        column.stored(self.table.units[place], &self.columns[place].cells)
    }

    /// The grid of a column's values, those that are not missing.
    fn step(&self, place: usize) -> Option<Step> {
        let values: Vec<f32> = self.table.x.column(place).iter().copied().filter(|&x| x != MISSING).collect();
        let alone = Table {
            names: vec![self.table.names[place].clone()],
            x: Array2::from_shape_vec((values.len(), 1), values).ok()?,
            units: vec![self.table.units[place]],
            rounded: vec![0],
        };
        alone.steps().into_iter().next().flatten()
    }
}

/// The columns of a condition, from the values in the rows to learn from: a class, whose values may be places of
/// labels, or numbers.
pub fn condition_columns(
    names: Vec<String>,
    values: ArrayView2<f64>,
    labels: Option<Vec<String>>,
    is_class: bool,
) -> PyResult<Vec<Column>> {
    if values.iter().any(|value| !value.is_finite()) {
        return Err(wrong("y contains NaN or infinity: a condition has no gaps"));
    }
    if is_class {
        // −0 is 0.
        let mut all: Vec<f64> = values.iter().map(|value| value + 0.0).collect();
        all.sort_by(f64::total_cmp);
        let (values, rows) = all.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u64)).unzip();
        let cells = labels.map_or(Cells::Numbers, Cells::Labels);
        let name = names.into_iter().next().unwrap_or_default();
        return Ok(vec![Column { name, role: Role::Label { values, rows }, cells, ..Column::default() }]);
    }
    let table = Table::of(names, values).map_err(raise)?;
    let step = table.x.nrows().div_ceil(EXAMPLES);
    let column = |(place, x): (usize, numpy::ndarray::ArrayView1<f32>)| Column {
        name: table.names[place].clone(),
        units: table.units[place],
        role: Role::Number { examples: x.iter().step_by(step).copied().collect() },
        ..Column::default()
    };
    Ok(table.x.axis_iter(Axis(1)).enumerate().map(column).collect())
}

/// The condition of rows, from the values of its columns.
pub fn condition(columns: &[Column], values: ArrayView2<f64>) -> PyResult<Condition> {
    if let Some(((row, _), _)) = values.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(wrong(format!("y, row {row}: expected a finite number")));
    }
    condition_of(columns, values).map_err(raise)
}

/// Rows in the units of a model's numbers.
pub fn inside(columns: &[&Column], values: ArrayView2<f64>) -> PyResult<Array2<f32>> {
    if values.ncols() != columns.len() {
        let (found, expected) = (values.ncols(), columns.len());
        return Err(wrong(format!("X has {found} features, but the model has {expected}")));
    }
    let mut x = Array2::zeros(values.dim());
    for ((row, place), &value) in values.indexed_iter() {
        let Column { name, units, cells, .. } = columns[place];
        let number = if value.is_nan() && *cells == Cells::Optional { MISSING } else { units.of(value) };
        if !number.is_finite() {
            return Err(wrong(format!(
                "X contains NaN, infinity or a number too large, in row {row}, column {name}: {value}"
            )));
        }
        x[[row, place]] = number;
    }
    Ok(x)
}

/// Rows of a model in the units of the data; NaN where a value is missing.
pub fn outside(columns: &[&Column], x: ArrayView2<f32>) -> Array2<f64> {
    Array2::from_shape_fn(x.dim(), |(row, place)| {
        let (column, x) = (columns[place], x[[row, place]]);
        match column.step() {
            _ if column.cells == Cells::Optional && x == MISSING => f64::NAN,
            Some(step) => step.nearest(column.units.restore(x)),
            _ if column.cells.are_numbers() => column.units.written(x),
            _ => column.units.restore(x),
        }
    })
}

//! Training.

use numpy::{PyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use quadrivium::hybrid::{Columns, Latent, LatentConfig};
use quadrivium::persist::{Persist, condition_kind};
use quadrivium::recipe::Kind;
use quadrivium::{Dataset, Stop, TrainReport, seeded};

use crate::config::{self, Asked};
use crate::failure::{raise, wrong};
use crate::model::Model;
use crate::pool;
use crate::table::{Given, condition, condition_columns};

/// Names and values of columns, NaN where one is missing, and the labels of those that have some: their values are the
/// places of their labels.
type Rows<'py> = (Vec<String>, PyReadonlyArray2<'py, f64>, Vec<Option<Vec<String>>>);

/// Names, values and labels of a condition, and whether it is a class.
type Conditions<'py> = (Vec<String>, PyReadonlyArray2<'py, f64>, Option<Vec<String>>, bool);

/// A model of a kind, its config as JSON, what happened in its training, and the exception that ended it.
type Fitted<'py> = (Model, String, Bound<'py, PyDict>, Option<PyErr>);

/// How to train; `None` is as the recipe says.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Options {
    /// Whether the model has maps of its own for columns.
    units: bool,
    /// Fields of the config, as JSON.
    config: String,
    steps: Option<usize>,
    batch: Option<usize>,
    validation: Option<f64>,
    seed: u64,
    jobs: Option<i64>,
}

/// Trains a model of a kind, and calls `callback` with each step and its loss.
#[pyfunction]
#[pyo3(signature = (kind, x, y, options, callback))]
pub fn fit<'py>(
    py: Python<'py>,
    kind: &str,
    x: Rows<'py>,
    y: Option<Conditions<'py>>,
    options: Options,
    callback: Option<Py<PyAny>>,
) -> PyResult<Fitted<'py>> {
    let (names, values, labels) = x;
    let Options { units, config: settings, steps, batch, validation, seed, jobs } = options;
    let kind: Kind = kind.parse().map_err(raise)?;
    let given = Given::new(names, values.as_array(), labels)?;
    let in_units = units.then(|| given.config());
    let Given { table, mut columns } = given;
    let mut data = Dataset::new(table.x).map_err(raise)?;
    if let Some((names, values, labels, is_class)) = y {
        let of_condition = condition_columns(names, values.as_array(), labels, is_class)?;
        if let Some(twice) = of_condition.iter().find(|c| columns.iter().any(|column| column.name == c.name))
        {
            return Err(wrong(format!("y has the name of a column of X: {}", twice.name)));
        }
        data = data.with_condition(condition(&of_condition, values.as_array())?).map_err(raise)?;
        columns.extend(of_condition);
    }
    let asked = Asked { steps, batch, validation, settings: &settings };
    let extent = (data.rows(), data.dim());
    let (config, options) = config::made(kind, extent, condition_kind(&columns), &asked)?;
    let told = config::as_json(&config)?.to_string();
    let mut rng = seeded(seed);
    let mut model = config.build_to_save(&mut rng).map_err(raise)?;
    if let Some(config) = in_units {
        let columns = Columns::new(config).map_err(raise)?;
        model = Box::new(Latent::new(columns, model, LatentConfig::default()).map_err(raise)?);
    }
    let ((model, trained), ended) = pool::run(py, jobs, callback, move |mut watch| {
        let trained = model.train(&data, &options, &mut rng, &mut watch);
        (model as Box<dyn Persist>, trained)
    })?;
    let report = match (trained, &ended) {
        (Ok(report), _) => report,
        // Nothing was learned that could be kept.
        (Err(_), Some(ended)) => return Err(ended.clone_ref(py)),
        (Err(error), None) => return Err(raise(error)),
    };
    Ok((Model::new(model, columns)?, told, as_dict(py, report)?, ended))
}

fn as_dict(py: Python<'_>, report: TrainReport) -> PyResult<Bound<'_, PyDict>> {
    let TrainReport { loss, parts, validation, stop } = report;
    let of_parts = PyDict::new(py);
    for (name, values) in parts {
        of_parts.set_item(name, PyArray1::from_vec(py, values))?;
    }
    let dict = PyDict::new(py);
    dict.set_item("loss", PyArray1::from_vec(py, loss))?;
    dict.set_item("parts", of_parts)?;
    dict.set_item("validation", validation)?;
    let stop = match stop {
        Stop::Completed => "completed",
        Stop::Interrupted => "interrupted",
        Stop::Patience => "patience",
    };
    dict.set_item("stop", stop)?;
    Ok(dict)
}

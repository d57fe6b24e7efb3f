//! A trained model.

use std::ops::Range;
use std::path::PathBuf;

use numpy::ndarray::{Array1, Array2, Axis, concatenate, s};
use numpy::{PyArray1, PyArray2, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use quadrivium::hybrid::{Columns, Latent};
use quadrivium::persist::{self, Column, Persist};
use quadrivium::{
    Condition, Distribution, Error, LikelihoodOptions, LogLikelihood, Result, SampleOptions, TrainingError,
};
use serde_json::Value;

use crate::failure::{raise, wrong};
use crate::pool::{Watch, whole};
use crate::table::{condition, inside, outside};

/// A model and the columns of the table that it was trained on.
#[pyclass(frozen, module = "quadrivium_models._native")]
pub struct Model {
    model: Box<dyn Persist>,
    /// None, or one for each column of the model and of its condition.
    columns: Vec<Column>,
    /// The kind of model, apart from maps of its columns.
    kind: String,
    /// Whether it has such maps.
    in_units: bool,
}

/// Rows that are drawn or scored between two looks at the watch.
fn block(dim: usize) -> usize {
    ((1 << 16) / dim.max(1)).clamp(1, 1024)
}

impl Model {
    pub fn new(model: Box<dyn Persist>, columns: Vec<Column>) -> PyResult<Self> {
        let (codec, kind) = kinds(&model.to_bytes().map_err(raise)?).unwrap_or_default();
        Ok(Model { model, columns, kind, in_units: codec.as_deref() == Some("columns") })
    }

    /// All columns, with names for those that have none.
    fn all(&self) -> Vec<Column> {
        let column = |number| Column { name: format!("x{number}"), ..Column::default() };
        let mut all = self.columns.clone();
        if all.is_empty() {
            all.extend((1..=self.model.dim()).map(column));
        }
        if all.iter().all(|column| column.role.is_modeled()) {
            all.extend(persist::unnamed_columns(self.model.condition()));
        }
        all
    }

    fn condition(&self, y: Option<PyReadonlyArray2<'_, f64>>) -> PyResult<Option<Condition>> {
        y.map(|y| condition(&self.all(), y.as_array())).transpose()
    }
}

/// What is drawn and scored: the model itself, or under a condition.
fn with<T>(
    model: &dyn Persist,
    condition: Option<&Condition>,
    ask: impl FnOnce(&dyn Distribution) -> Result<T>,
) -> Result<T> {
    match condition {
        None => ask(model),
        Some(condition) => ask(model.given(condition)?.as_ref()),
    }
}

fn sampled(
    distribution: &dyn Distribution,
    rows: Range<u64>,
    seed: u64,
    options: &SampleOptions,
    watch: &Watch<'_>,
) -> Result<Array2<f32>> {
    let mut blocks = Vec::new();
    let mut first = rows.start;
    while first < rows.end && !watch.is_raised() {
        let end = rows.end.min(first + 4 * block(distribution.dim()) as u64);
        blocks.push(distribution.sample_rows(first..end, seed, options)?.x);
        first = end;
    }
    let empty = Array2::zeros((0, distribution.dim()));
    let mut views = vec![empty.view()];
    views.extend(blocks.iter().map(|block| block.view()));
    Ok(concatenate(Axis(0), &views).expect("blocks of as many columns"))
}

/// ln p of each row; `None` of a model without a likelihood.
fn scored(
    model: &dyn Persist,
    condition: Option<&Condition>,
    x: &Array2<f32>,
    watch: &Watch<'_>,
) -> Result<Option<Array1<f64>>> {
    let options = LikelihoodOptions::default();
    let mut all = Vec::with_capacity(x.nrows());
    for first in (0..x.nrows()).step_by(block(model.dim())) {
        if watch.is_raised() {
            break;
        }
        let end = x.nrows().min(first + block(model.dim()));
        let rows = x.slice(s![first..end, ..]);
        // One condition may be that of all rows.
        let of_rows = condition.map(|condition| match condition.rows() {
            1 => condition.clone(),
            _ => condition.select(&(first..end).collect::<Vec<_>>()),
        });
        let scored = with(model, of_rows.as_ref(), |model| model.log_likelihood(rows, &options));
        let nats = match scored.map_err(|error| at(error, first))? {
            LogLikelihood::Unnormalized(nats) => nats,
            LogLikelihood::Unavailable => return Ok(None),
            other => other.nats().cloned().unwrap_or_default(),
        };
        all.extend(nats);
    }
    Ok(Some(Array1::from_vec(all)))
}

/// The error with its row counted from the first of all.
fn at(error: Error, before: usize) -> Error {
    match error {
        Error::Training(TrainingError::NotConverged { what, budget, row }) => {
            TrainingError::NotConverged { what, budget, row: row + before }.into()
        }
        other => other,
    }
}

#[pymethods]
impl Model {
    /// Rows from the first to the one before the last, of those that the seed draws.
    #[pyo3(signature = (rows, seed, temperature, y, jobs))]
    fn sample<'py>(
        &self,
        py: Python<'py>,
        rows: (u64, u64),
        seed: u64,
        temperature: f64,
        y: Option<PyReadonlyArray2<'py, f64>>,
        jobs: Option<i64>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let (first, last) = rows;
        if first > last {
            return Err(wrong(format!(
                "rows = ({first}, {last}): expected a range that ends after it begins"
            )));
        }
        let condition = self.condition(y)?;
        let all = self.all();
        let columns: Vec<&Column> = all.iter().filter(|column| column.role.is_modeled()).collect();
        let options = SampleOptions { temperature };
        let model = self.model.as_ref();
        let drawn = whole(py, jobs, |watch| {
            let x =
                with(model, condition.as_ref(), |model| sampled(model, first..last, seed, &options, &watch))?;
            Ok(outside(&columns, x.view()))
        })?;
        Ok(PyArray2::from_owned_array(py, drawn.map_err(raise)?))
    }

    /// ln p of each row, in nats, as a density in the units of the data.
    #[pyo3(signature = (x, y, jobs))]
    fn score<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f64>,
        y: Option<PyReadonlyArray2<'py, f64>>,
        jobs: Option<i64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let condition = self.condition(y)?;
        let all = self.all();
        let columns: Vec<&Column> = all.iter().filter(|column| column.role.is_modeled()).collect();
        let x = inside(&columns, x.as_array())?;
        if let Some(given) =
            condition.as_ref().map(Condition::rows).filter(|&rows| rows != 1 && rows != x.nrows())
        {
            return Err(wrong(format!("y has {given} rows: expected 1, or one for each of {}", x.nrows())));
        }
        let log_scale: f64 = columns.iter().map(|column| column.units.scale.ln()).sum();
        let model = self.model.as_ref();
        let scored = whole(py, jobs, |watch| scored(model, condition.as_ref(), &x, &watch))?;
        let nats = scored.map_err(raise)?.ok_or_else(|| wrong("the model has no likelihood"))?;
        Ok(PyArray1::from_owned_array(py, nats - log_scale))
    }

    /// The columns as JSON, those of the condition among them, and whether the file names them.
    fn columns(&self) -> PyResult<(String, bool)> {
        let text = serde_json::to_string(&self.all()).map_err(|error| wrong(error.to_string()))?;
        Ok((text, !self.columns.is_empty()))
    }

    /// What the model takes each column for, in words; empty without maps of its own for columns.
    fn described(&self) -> PyResult<Vec<String>> {
        if !self.in_units {
            return Ok(Vec::new());
        }
        let bytes = self.model.to_bytes().map_err(raise)?;
        let model = Latent::<Columns, Box<dyn Persist>>::from_bytes(&bytes).map_err(raise)?;
        (0..model.dim()).map(|column| model.codec().describe(column).map_err(raise)).collect()
    }

    /// The kind of model, and whether it has maps of its own for columns.
    fn kind(&self) -> (&str, bool) {
        (&self.kind, self.in_units)
    }

    /// What kind of likelihood it has.
    #[getter]
    fn likelihood(&self) -> String {
        self.model.card().likelihood.to_string()
    }

    /// Evaluations of networks per row drawn.
    #[getter]
    fn nfe(&self) -> usize {
        self.model.card().nfe
    }

    /// Columns of a row.
    #[getter]
    fn dim(&self) -> usize {
        self.model.dim()
    }

    /// Trainable numbers.
    #[getter]
    fn parameters(&self) -> usize {
        self.model.num_params()
    }

    /// Writes the file that the program `quadrivium` reads.
    fn save(&self, path: PathBuf) -> PyResult<()> {
        let saved = match self.columns.is_empty() {
            true => persist::save(self.model.as_ref(), path),
            false => persist::save_with(self.model.as_ref(), &self.columns, path),
        };
        saved.map_err(raise)
    }

    /// Reads such a file.
    #[staticmethod]
    fn load(path: PathBuf) -> PyResult<Self> {
        let (model, columns) = persist::load_with(path).map_err(raise)?;
        Model::new(model, columns)
    }

    /// From its bytes, and its columns as JSON.
    #[staticmethod]
    fn from_bytes(bytes: &[u8], columns: &str) -> PyResult<Self> {
        let columns: Vec<Column> =
            serde_json::from_str(columns).map_err(|error| wrong(format!("the columns: {error}")))?;
        let model = persist::from_bytes(bytes).map_err(raise)?;
        let modeled = columns.iter().filter(|column| column.role.is_modeled()).count();
        if !columns.is_empty() && modeled != model.dim() {
            return Err(wrong(format!("{modeled} columns are named, but the model has {}", model.dim())));
        }
        Model::new(model, columns)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let bytes = PyBytes::new(py, &self.model.to_bytes().map_err(raise)?);
        let columns = serde_json::to_string(&self.columns).map_err(|error| wrong(error.to_string()))?;
        let from_bytes = py.get_type::<Model>().getattr("from_bytes")?;
        Ok((from_bytes, (bytes, columns).into_pyobject(py)?))
    }
}

/// The kind of model in a file, without a codec of columns; and the kind of that codec.
fn kinds(bytes: &[u8]) -> Option<(Option<String>, String)> {
    let (prefix, rest) = bytes.split_first_chunk::<8>()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*prefix)).ok()?)?;
    let header: Value = serde_json::from_slice(header).ok()?;
    let said: Value = serde_json::from_str(header["__metadata__"]["quadrivium"].as_str()?).ok()?;
    Some(kinds_of(&said["model"]))
}

fn kinds_of(model: &Value) -> (Option<String>, String) {
    let kind = |model: &Value| model["kind"].as_str().unwrap_or_default().to_owned();
    let (codec, prior) = (&model["fitted"]["codec"], &model["fitted"]["prior"]);
    match (kind(model).as_str(), kind(codec).as_str(), kind(prior).as_str()) {
        ("latent", "columns", _) => (Some("columns".into()), kinds_of(prior).1),
        ("latent", "vae", "diffusion") => (Some("vae".into()), "latent_diffusion".into()),
        (found, ..) => (None, found.into()),
    }
}

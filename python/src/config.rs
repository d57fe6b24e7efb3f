//! The config and the options of a training: a recipe, and what users say of it.

use pyo3::prelude::*;
use quadrivium::recipe::{Kind, ModelConfig, Recipe, Setting};
use quadrivium::{ConditionKind, Error, TrainOptions};
use serde_json::{Value, json};

use crate::failure::{raise, wrong};

/// What a training is to be, beside its recipe.
#[derive(Default)]
pub struct Asked<'a> {
    pub steps: Option<usize>,
    pub batch: Option<usize>,
    pub validation: Option<f64>,
    /// Fields of the config, as JSON.
    pub settings: &'a str,
}

/// The recipe for a table, changed as asked.
pub fn made(
    kind: Kind,
    (rows, dim): (usize, usize),
    condition: ConditionKind,
    asked: &Asked<'_>,
) -> PyResult<(ModelConfig, TrainOptions)> {
    let of_config = |error: Error| wrong(format!("config: {error}"));
    let settings = Setting::all(asked.settings).map_err(of_config)?;
    let recipe = Recipe::of(kind, rows, dim).with_condition(condition).map_err(raise)?;
    let recipe = recipe.with_settings(&settings).map_err(of_config)?;
    recipe.config.validate().map_err(raise)?;
    let options = recipe.training(asked.steps, asked.batch, asked.validation);
    options.validate().map_err(raise)?;
    Ok((recipe.config, options))
}

/// The config alone, as JSON.
pub fn as_json(config: &ModelConfig) -> PyResult<Value> {
    let bad = |error: serde_json::Error| wrong(format!("config: {error}"));
    let mut all = serde_json::to_value(config).map_err(bad)?;
    Ok(all[config.kind().name()].take())
}

/// The recipe of a kind of model for a table of so many rows and columns: config and options, as JSON.
#[pyfunction]
pub fn recipe(kind: &str, rows: usize, columns: usize) -> PyResult<String> {
    let kind: Kind = kind.parse().map_err(raise)?;
    let asked = Asked { settings: "{}", ..Asked::default() };
    let (config, options) = made(kind, (rows, columns), ConditionKind::None, &asked)?;
    let options = json!({
        "steps": options.steps,
        "batch": options.batch,
        "validation": options.validation,
        "validate_every": options.validate_every,
        "patience": options.patience,
    });
    Ok(json!({ "config": as_json(&config)?, "options": options }).to_string())
}

//! The config and the options of a training: a recipe, and what users say of it.

use pyo3::prelude::*;
use quadrivium::recipe::{Kind, ModelConfig, Recipe};
use quadrivium::{ConditionKind, Sampler, TrainOptions};
use serde_json::{Map, Value, json};

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
    let recipe = Recipe::of(kind, rows, dim).with_condition(condition).map_err(raise)?;
    let bad = |error: serde_json::Error| wrong(format!("config: {error}"));
    let fields: Map<String, Value> = serde_json::from_str(asked.settings).map_err(bad)?;
    let config = with_settings(recipe.config, fields)?;
    config.validate().map_err(raise)?;
    let steps = asked.steps.unwrap_or(recipe.options.steps);
    let batch = asked.batch.unwrap_or(recipe.options.batch);
    let validation = asked.validation.unwrap_or(recipe.options.validation);
    let options = TrainOptions {
        steps,
        batch,
        shards: recipe.options.shards.min(batch).max(1),
        validation,
        // The same number of validations as in the recipe.
        validate_every: recipe
            .options
            .validate_every
            .saturating_mul(steps)
            .div_ceil(recipe.options.steps)
            .max(1),
        patience: recipe.options.patience.filter(|_| validation > 0.0),
        ..recipe.options
    };
    options.validate().map_err(raise)?;
    Ok((config, options))
}

/// A config with these fields replaced, by name, or by a path of names as in `optimizer.lr`. What the recipe derives
/// from another field is still derived from it.
fn with_settings(config: ModelConfig, fields: Map<String, Value>) -> PyResult<ModelConfig> {
    let kind = config.kind().name();
    let bad = |error: serde_json::Error| wrong(format!("config: {error}"));
    let mut all = serde_json::to_value(&config).map_err(bad)?;
    let (dim, condition) = (all[kind]["dim"].clone(), config.condition());
    let mut made = config;
    let mut given = Vec::new();
    for (field, setting) in fields {
        let shown = setting.to_string();
        replace(&mut all[kind], &field, setting)?;
        made = serde_json::from_value(all.clone())
            .map_err(|error| wrong(format!("config: {field} = {shown}: {error}")))?;
        given.push(field);
    }
    if all[kind]["dim"] != dim || made.condition() != condition {
        return Err(wrong("config: dim and condition are those of X and y, and cannot be set"));
    }
    let given =
        |name: &str| given.iter().any(|field| field == name || field.starts_with(&format!("{name}.")));
    if let ModelConfig::Diffusion(config) = &mut made
        && !given("sampler")
        && let Sampler::Ddim { steps, .. } = &mut config.sampler
    {
        *steps = (*steps).min(config.timesteps);
    }
    if let ModelConfig::LatentDiffusion(config) = &mut made
        && !given("prior.dim")
    {
        config.prior.dim = config.codec.latent_dim;
    }
    Ok(made)
}

/// Sets `value` at a path of names.
fn replace(config: &mut Value, field: &str, value: Value) -> PyResult<()> {
    let mut place = config;
    for name in field.split('.') {
        let names = place.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>().join(", "));
        place = place.get_mut(name).ok_or_else(|| match names {
            Some(names) => wrong(format!("config: no field {field:?}: expected one of {names}")),
            None => wrong(format!("config: no field {field:?}: the part before {name:?} has no fields")),
        })?;
    }
    merge(place, value);
    Ok(())
}

/// Replaces the fields that `value` names, and leaves the others. An object with a new field is another variant of an
/// enum, or a mistake, and replaces the old one as a whole.
fn merge(place: &mut Value, value: Value) {
    match (place, value) {
        (Value::Object(fields), Value::Object(new)) if new.keys().all(|name| fields.contains_key(name)) => {
            for (name, value) in new {
                merge(&mut fields[&name], value);
            }
        }
        (place, value) => *place = value,
    }
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

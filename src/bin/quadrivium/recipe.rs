//! The kinds of models and their settings.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use quadrivium::Sampler;
use quadrivium::recipe::{Kind, ModelConfig};
use serde_json::{Map, Value};

use crate::failure::{Failure, Outcome};
use crate::text;

/// Reads the name of a kind of model.
pub fn kind() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.iter().map(|kind| PossibleValue::new(kind.name()).help(kind.about())))
        .try_map(|name| name.parse())
}

/// What can be fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Model {
    /// A model of rows of numbers.
    Rows(Kind),
    /// A language model.
    Text(text::Kind),
}

/// Reads the name of a kind of model, of rows or of texts.
pub fn model() -> impl TypedValueParser<Value = Model> {
    let rows = Kind::ALL.iter().map(|kind| PossibleValue::new(kind.name()).help(kind.about()));
    let texts = text::Kind::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    PossibleValuesParser::new(rows.chain(texts)).try_map(|name| match text::Kind::from_str(&name, false) {
        Ok(kind) => Ok(Model::Text(kind)),
        Err(_) => name.parse().map(Model::Rows),
    })
}

/// The settings of a model's config that differ from those of its recipe.
#[derive(Default, clap::Args)]
pub struct Settings {
    /// File with settings of the model: a JSON object with fields of its config, as `info --json` shows them. Other
    /// fields keep their values.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, its value in JSON: --set 'network.hidden=[64,64]' --set optimizer.lr=1e-3.
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// The file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The fields and their values: those of the file, then those of the command line.
    pub fn read(&self) -> Outcome<Vec<(String, Value)>> {
        let mut fields = Vec::new();
        if let Some(path) = &self.config {
            let failed =
                |error: &dyn std::fmt::Display| Failure::Operation(format!("{}: {error}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
            let object: Map<String, Value> = serde_json::from_str(&text).map_err(|error| failed(&error))?;
            fields.extend(object);
        }
        for setting in &self.set {
            let Some((field, value)) = setting.split_once('=') else {
                return Err(Failure::Usage(format!("--set {setting}: expected FIELD=VALUE")));
            };
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.into()));
            fields.push((field.into(), value));
        }
        Ok(fields)
    }
}

/// Sets `value` at a path of names separated by dots.
pub fn replace(config: &mut Value, field: &str, value: Value) -> Outcome<()> {
    let mut place = config;
    for name in field.split('.') {
        let names = place.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>().join(", "));
        place = match place.get_mut(name) {
            Some(place) => place,
            None => {
                let message = match names {
                    Some(names) => format!("no setting {field:?}: expected one of {names}"),
                    None => format!("no setting {field:?}: the part before {name:?} has no fields"),
                };
                return Err(Failure::Usage(message));
            }
        };
    }
    merge(place, value);
    Ok(())
}

/// Replaces the fields that `value` names. Fields that an object does not name are unchanged. An object with a new
/// field is another variant of an enum, or a mistake, and replaces the old one completely.
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

/// A config with these fields replaced. Fields that the recipe derives from another field are still derived from it.
pub fn with_settings(config: ModelConfig, fields: &[(String, Value)]) -> Outcome<ModelConfig> {
    let kind = config.kind().name();
    let bad = |error: serde_json::Error| Failure::Operation(format!("the settings: {error}"));
    let mut all = serde_json::to_value(&config).map_err(bad)?;
    let dim = all[kind]["dim"].clone();
    let condition = config.condition();
    let mut made = config;
    for (field, setting) in fields {
        let before = all[kind].pointer(&format!("/{}", field.replace('.', "/"))).cloned();
        replace(&mut all[kind], field, setting.clone())?;
        made = serde_json::from_value(all.clone()).map_err(|error| {
            let now = before.map_or(String::new(), |now| format!("; by default it is {now}"));
            Failure::Operation(format!("{field} = {setting}: {error}{now}"))
        })?;
    }
    if all[kind]["dim"] != dim {
        let message = format!("dim = {}: the rows have {dim} columns", all[kind]["dim"]);
        return Err(Failure::Operation(message));
    }
    if made.condition() != condition {
        let message =
            format!("condition = {}: --condition chooses it, by its columns", all[kind]["condition"]);
        return Err(Failure::Operation(message));
    }
    let given = |name: &str| fields.iter().any(|(field, _)| field.split('.').next() == Some(name));
    if let ModelConfig::Diffusion(config) = &mut made
        && !given("sampler")
        && let Sampler::Ddim { steps, .. } = &mut config.sampler
    {
        *steps = (*steps).min(config.timesteps);
    }
    if let ModelConfig::LatentDiffusion(config) = &mut made
        && fields.iter().all(|(field, _)| field != "prior.dim")
    {
        config.prior.dim = config.codec.latent_dim;
    }
    Ok(made)
}

/// How a config differs from the defaults of its kind with the same condition, as `--set` takes it:
/// `network.hidden=[48,48] optimizer.lr=0.001`.
pub fn differences(config: &ModelConfig, dim: usize) -> String {
    fn compare(path: &str, default: &Value, value: &Value, out: &mut Vec<String>) {
        match (default, value) {
            (Value::Object(defaults), Value::Object(fields))
                if fields.keys().all(|name| defaults.contains_key(name)) =>
            {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    compare(&path, &defaults[name], value, out);
                }
            }
            _ if default == value => {}
            _ => out.push(format!("{path}={value}")),
        }
    }
    let value = |config: &ModelConfig| serde_json::to_value(config).unwrap_or_default();
    let kind = config.kind();
    let defaults = ModelConfig::defaults(kind, dim);
    let defaults = defaults.clone().with_condition(config.condition()).unwrap_or(defaults);
    let mut out = Vec::new();
    compare("", &value(&defaults)[kind.name()], &value(config)[kind.name()], &mut out);
    out.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_part_of_an_object_leaves_the_rest_and_another_variant_replaces() {
        let mut config = json!({"optimizer": {"lr": 0.1, "beta1": 0.5}, "transform": {"Spline": {"bins": 8, "bound": 4.0}}});
        let mut set =
            |field: &str, value: Value| replace(&mut config, field, value).map(|()| config.clone()).unwrap();
        assert_eq!(set("optimizer", json!({"lr": 0.01}))["optimizer"], json!({"lr": 0.01, "beta1": 0.5}));
        let bins = set("transform", json!({"Spline": {"bins": 4}}));
        assert_eq!(bins["transform"], json!({"Spline": {"bins": 4, "bound": 4.0}}));
        assert_eq!(set("transform", json!({"Affine": {}}))["transform"], json!({"Affine": {}}));
        assert_eq!(set("transform", json!("Affine"))["transform"], json!("Affine"));
        // The config itself refuses unknown fields.
        let unknown = json!({"lr": 0.01, "rate": 1});
        assert_eq!(set("optimizer", unknown.clone())["optimizer"], unknown);
    }

    fn set(kind: Kind, field: &str, value: Value) -> Outcome<ModelConfig> {
        with_settings(ModelConfig::defaults(kind, 2), &[(field.into(), value)])
    }

    #[test]
    fn a_setting_of_the_wrong_type_is_named_with_what_it_is_by_default() {
        let Err(Failure::Operation(message)) = set(Kind::KernelDensity, "bandwidth", json!(0.1)) else {
            panic!("taken")
        };
        assert!(message.starts_with("bandwidth = 0.1: "), "{message}");
        assert!(message.ends_with(r#"by default it is {"CrossValidated":{"rows":1000}}"#), "{message}");
        let fixed = set(Kind::KernelDensity, "bandwidth", json!({"Fixed": 0.1})).unwrap();
        assert_eq!(differences(&fixed, 2), r#"bandwidth={"Fixed":0.1}"#);
    }

    #[test]
    fn the_recipes_sampler_follows_the_timesteps_that_are_set() {
        let recipe = quadrivium::recipe::Recipe::of(Kind::Diffusion, 1000, 2).config;
        let made = with_settings(recipe.clone(), &[("timesteps".into(), json!(10))]).unwrap();
        let ModelConfig::Diffusion(config) = &made else { panic!("{made:?}") };
        assert_eq!(config.sampler, Sampler::Ddim { steps: 10, eta: 0.0 });
        made.build(&mut quadrivium::seeded(0)).unwrap();
        // A sampler that was asked for stays.
        let fields =
            [("timesteps".into(), json!(10)), ("sampler".into(), json!({"Ddim": {"steps": 50, "eta": 0.0}}))];
        assert!(with_settings(recipe, &fields).unwrap().build(&mut quadrivium::seeded(0)).is_err());
    }

    #[test]
    fn prior_has_the_columns_of_the_codecs_latents() {
        let ModelConfig::LatentDiffusion(config) =
            set(Kind::LatentDiffusion, "codec.latent_dim", json!(1)).unwrap()
        else {
            panic!("another kind")
        };
        assert_eq!((config.codec.latent_dim, config.prior.dim), (1, 1));
        assert!(config.validate().is_ok());
        // What was asked for stays, and is refused.
        let ModelConfig::LatentDiffusion(config) = set(Kind::LatentDiffusion, "prior.dim", json!(1)).unwrap()
        else {
            panic!("another kind")
        };
        assert!(config.validate().is_err());
    }

    #[test]
    fn differences_are_settings_that_make_the_same_config() {
        for &kind in Kind::ALL {
            let recipe = quadrivium::recipe::Recipe::of(kind, 300, 5).config;
            let text = differences(&recipe, 5);
            let fields: Vec<(String, Value)> = text
                .split_whitespace()
                .map(|setting| {
                    let (field, value) = setting.split_once('=').unwrap();
                    (field.into(), serde_json::from_str(value).unwrap())
                })
                .collect();
            assert_eq!(with_settings(ModelConfig::defaults(kind, 5), &fields).unwrap(), recipe, "{text}");
        }
    }
}

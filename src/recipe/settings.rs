//! Fields of a config, set by name.

use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ModelConfig, Recipe};
use crate::diffusion::Sampler;
use crate::error::{Result, SettingError};

/// A field of a config by name, or by a path of names, and its value as JSON.
///
/// ```
/// use quadrivium::recipe::{Kind, Recipe, Setting};
///
/// let recipe = Recipe::of(Kind::Flow, 1000, 2);
/// let recipe = recipe.with_settings(&["optimizer.lr=1e-3".parse()?, "layers=4".parse()?])?;
/// assert!(format!("{:?}", recipe.config).contains("lr: 0.001"));
/// let error = recipe.with_settings(&["optimizer.rate=1".parse()?]).unwrap_err();
/// assert!(error.to_string().starts_with(r#"no setting "optimizer.rate": expected one of "#));
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    field: String,
    value: Value,
}

impl Setting {
    /// The fields of a JSON object.
    ///
    /// # Errors
    /// [`SettingError::Unreadable`] for a text that is no JSON object.
    pub fn all(object: &str) -> Result<Vec<Self>> {
        let unreadable = |error: serde_json::Error| SettingError::Unreadable { why: error.to_string() };
        let fields: Map<String, Value> = serde_json::from_str(object).map_err(unreadable)?;
        Ok(fields.into_iter().map(|(field, value)| Setting { field, value }).collect())
    }

    /// The field, by a path of names separated by points.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Whether it sets this field or a part of it.
    fn is_of(&self, name: &str) -> bool {
        self.field.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// Replaces the field in a config.
    fn apply(&self, config: &mut Value) -> Result<(), SettingError> {
        let mut place = config;
        for name in self.field.split('.') {
            let names: Vec<String> =
                place.as_object().map_or_else(Vec::new, |fields| fields.keys().cloned().collect());
            place = place.get_mut(name).ok_or_else(|| SettingError::NoField {
                field: self.field.clone(),
                part: name.to_owned(),
                names,
            })?;
        }
        merge(place, self.value.clone());
        Ok(())
    }
}

/// "FIELD=VALUE", where a value that is no JSON is a text.
impl FromStr for Setting {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self> {
        let why = || format!("{text}: expected FIELD=VALUE");
        let (field, value) = text.split_once('=').ok_or_else(|| SettingError::Unreadable { why: why() })?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.into()));
        Ok(Setting { field: field.into(), value })
    }
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

fn unreadable(error: serde_json::Error) -> SettingError {
    SettingError::Unreadable { why: error.to_string() }
}

/// A config with fields replaced, in this order.
///
/// # Errors
/// [`Error::Setting`](crate::Error::Setting) for a field that is not there, and for a value that it cannot have. The
/// config itself is not validated.
pub fn with_settings<C: Serialize + DeserializeOwned>(config: C, settings: &[Setting]) -> Result<C> {
    Ok(set(config, None, settings)?)
}

/// The same, where the fields are those of the part of this name, if there is one.
fn set<C: Serialize + DeserializeOwned>(
    config: C,
    part: Option<&str>,
    settings: &[Setting],
) -> Result<C, SettingError> {
    let mut made = config;
    for setting in settings {
        let mut all = serde_json::to_value(&made).map_err(unreadable)?;
        let fields = match part {
            Some(part) => &mut all[part],
            None => &mut all,
        };
        let before = fields.pointer(&format!("/{}", setting.field.replace('.', "/"))).map(Value::to_string);
        setting.apply(fields)?;
        made = serde_json::from_value(all).map_err(|error| SettingError::Value {
            field: setting.field.clone(),
            value: setting.value.to_string(),
            why: error.to_string(),
            before,
        })?;
    }
    Ok(made)
}

impl Recipe {
    /// The recipe with fields of its model's config replaced. What the recipe derives from another field is still derived
    /// from it: the steps of a diffusion's sampler from its timesteps, the columns of a latent diffusion's prior from its
    /// codec.
    ///
    /// # Errors
    /// As [`with_settings`]; [`SettingError::OfRows`] for `dim` and `condition`, which are those of the rows.
    pub fn with_settings(self, settings: &[Setting]) -> Result<Self> {
        Ok(Recipe { config: self.config.with_settings(settings)?, ..self })
    }
}

impl ModelConfig {
    fn with_settings(self, settings: &[Setting]) -> Result<Self, SettingError> {
        let kind = self.kind().name();
        let of_kind = |config: &ModelConfig| -> Result<Value, SettingError> {
            Ok(serde_json::to_value(config).map_err(unreadable)?[kind].take())
        };
        let (before, condition) = (of_kind(&self)?, self.condition());
        let mut made = set(self, Some(kind), settings)?;
        let after = of_kind(&made)?;
        let of_rows = |field: &'static str, expected: String| {
            Err(SettingError::OfRows { field, value: after[field].to_string(), expected })
        };
        if after["dim"] != before["dim"] {
            return of_rows("dim", format!("the rows have {} columns", before["dim"]));
        }
        if made.condition() != condition {
            return of_rows("condition", "the condition is that of the rows".into());
        }
        let given = |name: &str| settings.iter().any(|setting| setting.is_of(name));
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

    /// How it differs from the [defaults](ModelConfig::defaults) of its kind with the same condition, as settings.
    pub fn differences(&self, dim: usize) -> Vec<String> {
        let kind = self.kind();
        let defaults = ModelConfig::defaults(kind, dim);
        let defaults = defaults.clone().with_condition(self.condition()).unwrap_or(defaults);
        let value = |config: &ModelConfig| serde_json::to_value(config).unwrap_or_default();
        let mut out = Vec::new();
        compare("", &value(&defaults)[kind.name()], &value(self)[kind.name()], &mut out);
        out
    }
}

/// Adds what differs, as `PATH=VALUE`.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Kind;
    use super::*;
    use crate::ConditionKind;

    fn setting(field: &str, value: Value) -> Setting {
        Setting { field: field.into(), value }
    }

    #[test]
    fn a_part_of_an_object_leaves_the_rest_and_another_variant_replaces() {
        let mut config = json!({"optimizer": {"lr": 0.1, "beta1": 0.5}, "transform": {"Spline": {"bins": 8, "bound": 4.0}}});
        let mut set = |field: &str, value: Value| {
            setting(field, value).apply(&mut config).map(|()| config.clone()).unwrap()
        };
        assert_eq!(set("optimizer", json!({"lr": 0.01}))["optimizer"], json!({"lr": 0.01, "beta1": 0.5}));
        assert_eq!(set("optimizer.lr", json!(0.02))["optimizer"], json!({"lr": 0.02, "beta1": 0.5}));
        let bins = set("transform", json!({"Spline": {"bins": 4}}));
        assert_eq!(bins["transform"], json!({"Spline": {"bins": 4, "bound": 4.0}}));
        assert_eq!(set("transform", json!({"Affine": {}}))["transform"], json!({"Affine": {}}));
        assert_eq!(set("transform", json!("Affine"))["transform"], json!("Affine"));
        // The config itself refuses unknown fields.
        let unknown = json!({"lr": 0.01, "rate": 1});
        assert_eq!(set("optimizer", unknown.clone())["optimizer"], unknown);
    }

    fn of_two_columns(kind: Kind, field: &str, value: Value) -> Result<ModelConfig, SettingError> {
        ModelConfig::defaults(kind, 2).with_settings(&[setting(field, value)])
    }

    #[test]
    fn what_is_wrong_with_a_setting_is_said_with_what_would_be_right() {
        let said = |field: &str, value: Value| {
            of_two_columns(Kind::KernelDensity, field, value).unwrap_err().to_string()
        };
        let typed = said("bandwidth", json!(0.1));
        assert!(typed.starts_with("bandwidth = 0.1: "), "{typed}");
        assert!(typed.ends_with(r#"by default it is {"CrossValidated":{"rows":1000}}"#), "{typed}");
        assert_eq!(said("dim", json!(3)), "dim = 3: the rows have 2 columns");
        let given = ModelConfig::defaults(Kind::KernelDensity, 2);
        let given = given.with_condition(ConditionKind::Class { classes: 2 }).unwrap();
        let free = given.with_settings(&[setting("condition", json!("None"))]).unwrap_err();
        assert!(free.to_string().ends_with("the condition is that of the rows"), "{free}");
        assert!(said("width", json!(1)).starts_with(r#"no setting "width": expected one of bandwidth, "#));
        assert_eq!(said("dim.x", json!(1)), r#"no setting "dim.x": the part before "x" has no fields"#);
        let fixed = of_two_columns(Kind::KernelDensity, "bandwidth", json!({"Fixed": 0.1})).unwrap();
        assert_eq!(fixed.differences(2), [r#"bandwidth={"Fixed":0.1}"#]);
    }

    #[test]
    fn the_recipes_sampler_follows_the_timesteps_that_are_set() {
        let recipe = Recipe::of(Kind::Diffusion, 1000, 2);
        let made = recipe.clone().with_settings(&[setting("timesteps", json!(10))]).unwrap().config;
        let ModelConfig::Diffusion(config) = &made else { panic!("{made:?}") };
        assert_eq!(config.sampler, Sampler::Ddim { steps: 10, eta: 0.0 });
        made.build(&mut crate::seeded(0)).unwrap();
        // A sampler that was asked for stays.
        let sampler = setting("sampler", json!({"Ddim": {"steps": 50, "eta": 0.0}}));
        let asked = recipe.with_settings(&[setting("timesteps", json!(10)), sampler]).unwrap();
        assert!(asked.config.build(&mut crate::seeded(0)).is_err());
    }

    #[test]
    fn prior_has_the_columns_of_the_codecs_latents() {
        let made = |field: &str| match of_two_columns(Kind::LatentDiffusion, field, json!(1)).unwrap() {
            ModelConfig::LatentDiffusion(config) => config,
            other => panic!("{other:?}"),
        };
        let of_codec = made("codec.latent_dim");
        assert_eq!((of_codec.codec.latent_dim, of_codec.prior.dim), (1, 1));
        assert!(of_codec.validate().is_ok());
        // What was asked for stays, and is refused.
        assert!(made("prior.dim").validate().is_err());
    }

    #[test]
    fn differences_are_settings_that_make_the_same_config() {
        for &kind in Kind::ALL {
            let recipe = Recipe::of(kind, 300, 5).config;
            let text = recipe.differences(5);
            let settings: Vec<Setting> = text.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(ModelConfig::defaults(kind, 5).with_settings(&settings).unwrap(), recipe, "{text:?}");
        }
    }
}

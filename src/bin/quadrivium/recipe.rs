//! The kinds of models and their settings.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use quadrivium::Error;
use quadrivium::error::SettingError;
use quadrivium::recipe::{Kind, Setting};

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

    /// Those of the file, then those of the command line.
    pub fn read(&self) -> Outcome<Vec<Setting>> {
        let mut settings = Vec::new();
        if let Some(path) = &self.config {
            let failed =
                |error: &dyn std::fmt::Display| Failure::Operation(format!("{}: {error}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
            settings.extend(Setting::all(&text).map_err(|error| failed(&error))?);
        }
        for setting in &self.set {
            let setting = setting.parse().map_err(|error| Failure::Usage(format!("--set: {error}")))?;
            settings.push(setting);
        }
        Ok(settings)
    }
}

/// A failure to change a config.
pub fn of_settings(error: Error) -> Failure {
    match error {
        Error::Setting(error @ SettingError::NoField { .. }) => Failure::Usage(error.to_string()),
        Error::Setting(error @ SettingError::OfRows { field: "condition", .. }) => {
            Failure::Operation(format!("{error}: --condition chooses it, by its columns"))
        }
        other => other.into(),
    }
}

//! Which models there are, with which settings, and how long each trains.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use quadrivium::energy::Normalisation;
use quadrivium::persist::Persist;
use quadrivium::prelude::*;
use quadrivium::rand::RngCore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::failure::{Failure, Outcome};

/// The kinds of model, as a model's file names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Kind {
    /// The chain rule with one masked network: exact likelihood.
    Autoregressive,
    /// Denoising diffusion: likelihood by the probability-flow ODE.
    Diffusion,
    /// An energy by persistent chains: normalised up to two columns.
    Energy,
    /// A normalizing flow of splines: exact likelihood.
    Flow,
    /// A continuous flow: likelihood by its ODE.
    FlowMatching,
    /// A Wasserstein GAN with gradient penalty: no likelihood.
    Gan,
    /// Gaussians by EM: exact likelihood, no network.
    GaussianMixture,
    /// A kernel on each row: exact likelihood, no network.
    KernelDensity,
    /// A score network on a ladder of noise: no likelihood.
    Score,
    /// A variational autoencoder: a lower bound on the likelihood.
    Vae,
}

/// The settings of a model's config that differ from those of its recipe.
#[derive(Default, clap::Args)]
pub struct Settings {
    /// Settings of the model: a JSON object with fields of its config, as `info --json` shows them. What it does not
    /// name stays as it is.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, its value in JSON: --set 'hidden=[64,64]' --set optimiser.lr=1e-3.
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

/// Puts `value` at a path of names with dots between them.
fn replace(config: &mut Value, field: &str, value: Value) -> Outcome<()> {
    let mut place = config;
    for name in field.split('.') {
        let names = place.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>().join(", "));
        place = match place.get_mut(name) {
            Some(place) => place,
            None => {
                let message = match names {
                    Some(names) => format!("no setting {field:?}: there are {names}"),
                    None => format!("no setting {field:?}: what is before {name:?} has no fields"),
                };
                return Err(Failure::Usage(message));
            }
        };
    }
    merge(place, value);
    Ok(())
}

/// Replaces what `value` names. Fields that an object does not name stay as they are; an object with a field that
/// is not there yet is another variant of an enum, or a mistake, and is taken whole.
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

/// What there is to learn from: it decides how long to train, and how much detail a network may follow.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    pub rows: usize,
    pub dim: usize,
}

impl Extent {
    /// A few hundred rows are learned in a second, and then by heart: their detail is noise.
    fn small(self) -> bool {
        self.rows < 5_000
    }

    fn choose<T>(self, many: T, few: T) -> T {
        if self.small() { few } else { many }
    }
}

impl Kind {
    /// How long it trains: steps and rows per step. Found on toy data and on small real tables.
    pub fn training(self, extent: Extent) -> TrainOptions {
        let (many, few) = match self {
            Kind::Autoregressive => ((3000, 256), (30, 128)),
            Kind::Diffusion => ((8000, 256), (500, 128)),
            Kind::Energy => ((3000, 256), (200, 128)),
            Kind::Flow => ((3000, 256), (100, 128)),
            Kind::FlowMatching => ((4000, 512), (300, 256)),
            Kind::Gan => ((12_000, 128), (2000, 128)),
            Kind::GaussianMixture | Kind::KernelDensity => ((1, 256), (1, 128)),
            Kind::Score => ((5000, 256), (500, 128)),
            Kind::Vae => ((8000, 512), (1000, 128)),
        };
        let (steps, batch) = extent.choose(many, few);
        let batch = batch.min(extent.rows);
        TrainOptions { steps, batch, shards: batch.min(2), ..TrainOptions::default() }
    }

    /// The model before its training: its recipe with these fields of the config replaced.
    pub fn untrained(
        self,
        extent: Extent,
        fields: &[(String, Value)],
        rng: &mut dyn RngCore,
    ) -> Outcome<Box<dyn Persist>> {
        let dim = extent.dim;
        match self {
            Kind::Autoregressive => {
                let default = AutoregressiveConfig::default();
                let octaves = extent.choose(default.octaves, 2);
                let config = AutoregressiveConfig { dim, octaves, ..default };
                make(config, fields, |config| Autoregressive::new(config, rng))
            }
            Kind::Diffusion => {
                let default = DiffusionConfig::default();
                let octaves = extent.choose(default.octaves, 1);
                // Fifty steps of the same network, where the thousand of its training draw hardly better.
                let sampler = Sampler::Ddim { steps: 50, eta: 0.0 };
                let config = DiffusionConfig { dim, octaves, sampler, ..default };
                make(config, fields, |config| Diffusion::new(config, rng))
            }
            Kind::Energy => {
                // The constant is known where the plane can be summed over.
                let normalisation = match dim {
                    1 | 2 => Normalisation::Quadrature { intervals: extent.choose(1024, 256) },
                    _ => Normalisation::None,
                };
                let config = EnergyConfig { dim, normalisation, ..EnergyConfig::default() };
                make(config, fields, |config| EnergyModel::new(config, rng))
            }
            Kind::Flow => {
                let default = FlowConfig { dim, ..FlowConfig::default() };
                let few = FlowConfig {
                    transform: Transform::Spline { bins: 8, bound: 4.0 },
                    octaves: 1,
                    ..default.clone()
                };
                let mut config = extent.choose(default, few);
                if dim == 1 {
                    // A coupling needs two columns.
                    config.architecture = Architecture::MaskedAutoregressive;
                }
                make(config, fields, |config| Flow::new(config, rng))
            }
            Kind::FlowMatching => {
                let default = FlowMatchingConfig { dim, ..FlowMatchingConfig::default() };
                let few = FlowMatchingConfig { hidden: vec![64; 2], octaves: 1, ..default.clone() };
                let coupling = Coupling::OptimalTransport { rows: 64 };
                let config = extent.choose(FlowMatchingConfig { coupling, ..default }, few);
                make(config, fields, |config| FlowMatching::new(config, rng))
            }
            Kind::Gan => {
                make(GanConfig { dim, ..GanConfig::default() }, fields, |config| Gan::new(config, rng))
            }
            Kind::GaussianMixture => {
                let components = extent.choose(ComponentCount::Fixed(25), ComponentCount::Bic { max: 10 });
                let config = GaussianMixtureConfig {
                    dim,
                    components,
                    restarts: 1,
                    ..GaussianMixtureConfig::default()
                };
                make(config, fields, GaussianMixture::new)
            }
            Kind::KernelDensity => {
                let bandwidth = Bandwidth::CrossValidated { rows: 300 };
                make(KernelDensityConfig { dim, bandwidth }, fields, KernelDensity::new)
            }
            Kind::Score => {
                let config = ScoreConfig { dim, octaves: extent.choose(4, 1), ..ScoreConfig::default() };
                make(config, fields, |config| ScoreModel::new(config, rng))
            }
            Kind::Vae => {
                make(VaeConfig { dim, ..VaeConfig::default() }, fields, |config| Vae::new(config, rng))
            }
        }
    }
}

fn make<C: Serialize + DeserializeOwned, M: Persist + 'static>(
    config: C,
    fields: &[(String, Value)],
    new: impl FnOnce(C) -> Result<M>,
) -> Outcome<Box<dyn Persist>> {
    let bad = |error: serde_json::Error| Failure::Operation(format!("the settings: {error}"));
    let mut value = serde_json::to_value(&config).map_err(bad)?;
    let dim = value["dim"].clone();
    for (field, setting) in fields {
        replace(&mut value, field, setting.clone())?;
    }
    if value["dim"] != dim {
        let message = format!("dim = {}: the rows have {dim} columns", value["dim"]);
        return Err(Failure::Operation(message));
    }
    let config = serde_json::from_value(value).map_err(bad)?;
    Ok(Box::new(new(config)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_part_of_an_object_leaves_the_rest_and_another_variant_replaces() {
        let mut config = json!({"optimiser": {"lr": 0.1, "beta1": 0.5}, "transform": {"Spline": {"bins": 8, "bound": 4.0}}});
        let mut set =
            |field: &str, value: Value| replace(&mut config, field, value).map(|()| config.clone()).unwrap();
        assert_eq!(set("optimiser", json!({"lr": 0.01}))["optimiser"], json!({"lr": 0.01, "beta1": 0.5}));
        let bins = set("transform", json!({"Spline": {"bins": 4}}));
        assert_eq!(bins["transform"], json!({"Spline": {"bins": 4, "bound": 4.0}}));
        assert_eq!(set("transform", json!({"Affine": {}}))["transform"], json!({"Affine": {}}));
        assert_eq!(set("transform", json!("Affine"))["transform"], json!("Affine"));
        // The config itself refuses what it does not know.
        let unknown = json!({"lr": 0.01, "rate": 1});
        assert_eq!(set("optimiser", unknown.clone())["optimiser"], unknown);
    }
}

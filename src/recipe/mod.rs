//! Defaults that fit the table: a config and a training for each kind of model, by rows and columns.
//!
//! A config's own `Default` is for two columns and many rows. A [`Recipe`] says how large a model may be, how fast it
//! learns and when it stops, for a table of n rows and d columns. Every number is a smooth function of n and d, rounded
//! at the end, so that one row or one column more changes little.
//!
//! ```
//! use quadrivium::{worlds::Toy, *, recipe::{Kind, Recipe}, seeded};
//!
//! let mut rng = seeded(0);
//! let data = Dataset::new(Toy::moons(0.1)?.sample(500, &mut rng))?;
//! let recipe = Recipe::of(Kind::Autoregressive, data.rows(), data.dim());
//! let mut model = recipe.build(&mut rng)?;
//! let report = model.train(&data, &recipe.options, &mut rng, &mut NoObserver)?;
//! assert!(!report.validation.is_empty(), "rows were held out, and the model that was best on them is kept");
//! # Ok::<(), quadrivium::Error>(())
//! ```
//!
//! # Formulas
//!
//! | | |
//! | --- | --- |
//! | units of a hidden layer | 32 (n/200)^¼ + d, in eights; of a flow 16 (n/200)^0.45 |
//! | octaves of Fourier features | ½ log₂(n/300) − ¾ log₂(d/2), from 0 to the config's own |
//! | components of an autoregressive conditional | 16 (n/5000)^⅓/(1 + d/100), from 3 to 24 |
//! | bins of a spline | 8 (n/1000)^⅓/(1 + d/100), from 4 to 24, and at most those of [`FlowConfig::with_dim`], whose layers and weight decay a flow has |
//! | columns of a VAE's z | d n/(n + 50 d); of a latent diffusion d, at most 16 |
//! | learning rate | the config's own · (n/20,000)^⅙, at most the config's own |
//! | weight decay of a diffusion, a flow map and a flow matching | 10 d/n, at most 1; of a VAE 60 (d/n)^1.3, at most 3 |
//! | steps | 500 (n/100)^0.35/(1 + d/200), twice as many for a diffusion and a flow map, four times for a GAN, 0.6 times for an energy; for a VAE, and for each part of a latent diffusion, 1000 (n/100)^0.58/(1 + d/200) |
//! | rows of a step | 128 (n/1000)^¼, in sixteens, at most n |
//! | share held out | 0.15/(1 + n/10,000), from ten rows on |
//! | patience | 15 validations of 50 |
//!
//! Detail that n rows do not show is noise, which a network that could follow it would follow: width, octaves, bins
//! and components grow with n. A network that sees few rows many times learns them by heart: steps grow more slowly
//! than n, and what is kept is the model that was best on rows held out. GANs and energy models have no validation
//! loss that two moments of a training share; they train to the end on all rows. A mixture's components, covariances
//! and prior, and a kernel density's widths are those of the best cross-validation, and what is kept has learned from
//! all rows; with fewer than ten rows the Bayesian information criterion chooses the mixture.

mod kinds;
mod latent_diffusion;
#[cfg(feature = "safetensors")]
mod settings;

pub use self::kinds::{Kind, ModelConfig};
pub use self::latent_diffusion::LatentDiffusionConfig;
#[cfg(feature = "safetensors")]
pub use self::settings::{Setting, with_settings};

use rand::RngCore;

use crate::baseline::{Bandwidth, ComponentCount};
use crate::energy::Normalization;
use crate::error::Result;
use crate::flow;
use crate::model::{ConditionKind, Generative, TrainOptions};
use crate::nn::Activation;
use crate::*;

/// A model's config and its training, for a table of so many rows and columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// What to make.
    pub config: ModelConfig,
    /// How to train it.
    pub options: TrainOptions,
}

impl Recipe {
    /// The recipe for a kind of model and a table of `rows` rows and `dim` columns.
    pub fn of(kind: Kind, rows: usize, dim: usize) -> Self {
        let table = Extent { rows: rows.max(1) as f64, dim: dim.max(1) as f64 };
        Recipe { config: table.config(kind, dim), options: table.options(kind, rows) }
    }

    /// The same recipe for rows with a condition: see [`ModelConfig::with_condition`].
    ///
    /// # Errors
    /// As there.
    pub fn with_condition(self, condition: ConditionKind) -> Result<Self> {
        Ok(Recipe { config: self.config.with_condition(condition)?, ..self })
    }

    /// The options of its training with other steps, rows of a step or share held out, where these are given: with as many
    /// validations, and with patience if rows are held out.
    ///
    /// ```
    /// use quadrivium::recipe::{Kind, Recipe};
    ///
    /// let recipe = Recipe::of(Kind::Flow, 2000, 2);
    /// let options = recipe.training(Some(100), None, Some(0.2));
    /// assert_eq!((options.steps, options.batch, options.validate_every), (100, recipe.options.batch, 3));
    /// ```
    pub fn training(
        &self,
        steps: Option<usize>,
        batch: Option<usize>,
        validation: Option<f64>,
    ) -> TrainOptions {
        let own = &self.options;
        let steps = steps.unwrap_or(own.steps);
        let batch = batch.unwrap_or(own.batch);
        let validation = validation.unwrap_or(own.validation);
        TrainOptions {
            steps,
            batch,
            shards: own.shards.min(batch).max(1),
            validation,
            validate_every: own.validate_every.saturating_mul(steps).div_ceil(own.steps.max(1)).max(1),
            patience: own.patience.filter(|_| validation > 0.0),
            ..own.clone()
        }
    }

    /// The untrained model.
    ///
    /// # Errors
    /// As [`ModelConfig::build`].
    pub fn build(&self, rng: &mut dyn RngCore) -> Result<Box<dyn Generative>> {
        self.config.clone().build(rng)
    }
}

/// n and d.
struct Extent {
    rows: f64,
    dim: f64,
}

/// The nearest multiple of `unit`, at least one.
fn round_to(unit: f64, value: f64) -> usize {
    (unit * (value / unit).round().max(1.0)) as usize
}

impl Extent {
    /// The share of a config's own learning rate.
    fn pace(&self) -> f64 {
        (self.rows / 20_000.0).min(1.0).powf(1.0 / 6.0)
    }

    fn width(&self) -> usize {
        round_to(8.0, 32.0 * (self.rows / 200.0).powf(0.25) + self.dim)
    }

    /// A perceptron with that many layers, of the same activation.
    fn network(&self, default: &NetworkSpec, layers: usize) -> NetworkSpec {
        let octaves = self.octaves(default.octaves());
        NetworkSpec::mlp(vec![self.width(); layers], default.activation(), octaves)
    }

    fn octaves(&self, most: usize) -> usize {
        let octaves = 0.5 * (self.rows / 300.0).log2() - 0.75 * (self.dim / 2.0).log2();
        (octaves.round().max(0.0) as usize).min(most)
    }

    /// Pieces of a column's density: `count` of a narrow table of `rows` rows.
    fn pieces(&self, count: f64, rows: f64, (least, most): (f64, f64)) -> usize {
        let pieces = count * (self.rows / rows).cbrt() / (1.0 + self.dim / 100.0);
        pieces.round().clamp(least, most) as usize
    }

    fn config(&self, kind: Kind, dim: usize) -> ModelConfig {
        let mut config = ModelConfig::defaults(kind, dim);
        if let Some(optimizer) = config.optimizer_mut() {
            optimizer.lr *= self.pace();
        }
        // In units without correlations, weights of 0 are one Gaussian: decay holds few rows to it.
        let decay = match kind {
            Kind::Diffusion | Kind::FlowMap | Kind::FlowMatching => {
                Some((10.0 * self.dim / self.rows).min(1.0))
            }
            Kind::Vae => Some((60.0 * (self.dim / self.rows).powf(1.3)).min(3.0)),
            _ => None,
        };
        if let (Some(optimizer), Some(decay)) = (config.optimizer_mut(), decay) {
            optimizer.weight_decay = decay;
        }
        match &mut config {
            ModelConfig::Autoregressive(config) => {
                config.network = self.network(&config.network, 2);
                config.head = Head::Mixture { components: self.pieces(16.0, 5000.0, (3.0, 24.0)) };
            }
            ModelConfig::Diffusion(config) => {
                config.network = self.network(&config.network, 3);
                // Fifty steps of the same network, where the thousand of its training draw hardly better.
                config.sampler = Sampler::Ddim { steps: 50, eta: 0.0 };
            }
            ModelConfig::Energy(config) => {
                let octaves = self.octaves(config.network.octaves());
                config.network = config.network.clone().with_octaves(octaves);
                if dim <= 2 {
                    // The constant is known where the plane can be summed over.
                    config.normalization = Normalization::Quadrature { intervals: 512 };
                }
            }
            ModelConfig::Flow(config) => {
                // Every layer has a network of its own.
                let width = round_to(8.0, 16.0 * (self.rows / 200.0).powf(0.45));
                let octaves = self.octaves(config.network.octaves());
                config.network = NetworkSpec::mlp([width; 2], config.network.activation(), octaves);
                let bins = self.pieces(8.0, 1000.0, (4.0, 24.0)).min(flow::most_bins(dim));
                config.transform = Transform::AffineSpline { bins, bound: 4.0 };
            }
            ModelConfig::FlowMap(config) => {
                config.network = self.network(&config.network, 3);
            }
            ModelConfig::FlowMatching(config) => {
                config.network = self.network(&config.network, 3);
                config.pairing = Pairing::OptimalTransport { rows: 64 };
            }
            // With fewer coordinates than columns, rows would lie on a surface.
            ModelConfig::Gan(config) => config.latent_dim = dim.max(2),
            ModelConfig::GaussianMixture(config) => {
                config.components = ComponentCount::CrossValidated { max: 25 };
            }
            ModelConfig::KernelDensity(config) => config.bandwidth = Bandwidth::Adaptive { rows: 1000 },
            ModelConfig::LatentDiffusion(config) => *config = self.latent_diffusion(dim),
            ModelConfig::Score(config) => {
                config.network = self.network(&config.network, 3);
            }
            ModelConfig::Vae(config) => {
                let latent = self.dim * self.rows / (self.rows + 50.0 * self.dim);
                config.latent_dim = latent.round().max(1.0) as usize;
                let network = |default: &NetworkSpec| {
                    NetworkSpec::mlp([self.width(); 3], Activation::Silu, self.octaves(default.octaves()))
                };
                (config.encoder, config.decoder) = (network(&config.encoder), network(&config.decoder));
                // Noise that differs from place to place is what the linear part of most tables leaves over.
                config.decoder_variance = DecoderVariance::PerRow;
            }
        }
        config
    }

    fn options(&self, kind: Kind, rows: usize) -> TrainOptions {
        let held_out = if rows >= 10 { 0.15 / (1.0 + self.rows / 10_000.0) } else { 0.0 };
        match kind {
            // Cross-validation chooses, and all rows are learned from.
            Kind::GaussianMixture | Kind::KernelDensity => return TrainOptions::default(),
            _ => {}
        }
        let (length, growth) = match kind {
            Kind::Diffusion | Kind::FlowMap => (1000.0, 0.35),
            // What z says of a row takes long to learn, where there is much to say.
            Kind::LatentDiffusion | Kind::Vae => (1000.0, 0.58),
            Kind::Gan => (2000.0, 0.35),
            // A step moves a thousand chains.
            Kind::Energy => (300.0, 0.35),
            _ => (500.0, 0.35),
        };
        let steps = round_to(10.0, length * (self.rows / 100.0).powf(growth) / (1.0 + self.dim / 200.0));
        let batch = round_to(16.0, 128.0 * (self.rows / 1000.0).powf(0.25)).min(rows.max(1));
        let validates = held_out > 0.0 && !matches!(kind, Kind::Energy | Kind::Gan);
        TrainOptions {
            steps,
            batch,
            shards: batch.min(2),
            validation: if validates { held_out } else { 0.0 },
            validate_every: steps.div_ceil(50),
            patience: validates.then_some(15),
            ..TrainOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_is_valid() {
        for &kind in Kind::ALL {
            for rows in [0, 1, 2, 5, 9, 10, 30, 150, 4_999, 5_000, 100_000, 10_000_000] {
                for dim in [1, 2, 3, 10, 30, 61, 300, 800, 2_000] {
                    let Recipe { config, options } = Recipe::of(kind, rows, dim);
                    assert_eq!(config.kind(), kind);
                    config
                        .validate()
                        .and(options.validate())
                        .unwrap_or_else(|e| panic!("{kind}, {rows} × {dim}: {e}"));
                    let held_out = (options.validation * rows as f64).ceil();
                    assert!(
                        rows == 0 || held_out < rows as f64,
                        "{kind}, {rows} × {dim}: {held_out} held out"
                    );
                }
            }
        }
    }

    #[test]
    fn recipes_under_conditions_are_valid() {
        for &kind in Kind::ALL {
            for condition in [ConditionKind::Class { classes: 10 }, ConditionKind::Vector { dim: 3 }] {
                let recipe = Recipe::of(kind, 300, 2).with_condition(condition).unwrap();
                assert_eq!(recipe.config.condition(), condition);
                let model = recipe
                    .build(&mut crate::seeded(0))
                    .unwrap_or_else(|e| panic!("{kind}, {condition}: {e}"));
                assert_eq!(model.condition(), condition, "{kind}");
            }
        }
        let beyond = Recipe::of(Kind::Vae, 300, 2).with_condition(ConditionKind::Vector { dim: 0 });
        assert!(matches!(beyond, Err(crate::Error::Config { field: "condition", .. })));
    }

    /// Numbers in the order of the formulas' table, each over what one unit of its rounding is.
    fn numbers(rows: usize, dim: usize) -> Vec<f64> {
        let config = |kind| Recipe::of(kind, rows, dim).config;
        let ModelConfig::Autoregressive(autoregressive) = config(Kind::Autoregressive) else {
            unreachable!()
        };
        let Head::Mixture { components } = autoregressive.head else { unreachable!() };
        let network = autoregressive.network.perceptron().unwrap();
        let ModelConfig::Vae(vae) = config(Kind::Vae) else { unreachable!() };
        let options = Recipe::of(Kind::Diffusion, rows, dim).options;
        vec![
            network.hidden[0] as f64 / 8.0,
            network.octaves as f64,
            components as f64,
            vae.latent_dim as f64,
            vae.optimizer.lr * 1e4,
            options.steps as f64 / 10.0,
            options.batch as f64 / 16.0,
            options.validation * rows as f64,
        ]
    }

    #[test]
    fn one_row_or_one_column_more_is_one_unit_more_at_most() {
        let apart = |a: &[f64], b: &[f64], what: String| {
            a.iter().zip(b).enumerate().for_each(|(i, (a, b))| {
                // A batch is no more than the rows, and steps shrink by the column.
                let most = 1.0 + 0.02 * a.abs();
                assert!((a - b).abs() <= most, "{what}: number {i} goes from {a} to {b}");
            });
        };
        for dim in [2, 10, 30] {
            let mut last = numbers(16, dim);
            for rows in (17..20_000).chain([50_000, 50_001]) {
                let next = numbers(rows, dim);
                if rows != 50_000 {
                    apart(&last, &next, format!("{rows} × {dim}"));
                }
                last = next;
            }
        }
        for rows in [150, 5_000] {
            (2..100).for_each(|dim| {
                apart(&numbers(rows, dim), &numbers(rows, dim + 1), format!("{rows} × {dim}"));
            });
        }
    }

    /// The baselines train in no time. The others: `cargo run --release --example defaults -- --rows 4999`, and 5000.
    #[test]
    fn a_row_more_moves_no_baseline() {
        let toy = crate::worlds::Toy::pinwheel();
        let x = toy.sample(5_000, &mut crate::seeded(1));
        let test = toy.sample(2_000, &mut crate::seeded(2));
        for kind in [Kind::GaussianMixture, Kind::KernelDensity] {
            let nll = |rows: usize| {
                let data = Dataset::new(x.slice(ndarray::s![..rows, ..]).to_owned()).unwrap();
                let (recipe, rng) = (Recipe::of(kind, rows, 2), &mut crate::seeded(3));
                let mut model = recipe.build(rng).unwrap();
                model.train(&data, &recipe.options, rng, &mut NoObserver).unwrap();
                let nats = model.log_likelihood(test.view(), &LikelihoodOptions::default()).unwrap();
                -nats.nats().unwrap().mean().unwrap()
            };
            for (fewer, rows) in [(4_999, 5_000), (999, 1_000), (9, 10)] {
                // Ten rows less one are a tenth less.
                let most = if rows > 10 { 0.05 } else { 1.5 };
                let (before, after) = (nll(fewer), nll(rows));
                assert!((after - before).abs() < most, "{kind}, {fewer} and {rows} rows: {before}, {after}");
            }
        }
    }

    #[test]
    fn names_are_read_and_written() {
        for &kind in Kind::ALL {
            assert_eq!(kind.name().parse::<Kind>().unwrap(), kind);
            assert_eq!(kind.to_string(), kind.name());
            assert_eq!(ModelConfig::defaults(kind, 3).kind(), kind);
        }
        assert!("flow-matching".parse::<Kind>().is_err());
    }

    /// The best model is kept, and found by rows that are not learned from: no table is trained by a recipe for less.
    #[test]
    fn rows_are_held_out_wherever_there_are_ten() {
        for &kind in Kind::ALL {
            let options = Recipe::of(kind, 10, 2).options;
            let stops = !kind.in_one_go() && !matches!(kind, Kind::Energy | Kind::Gan);
            assert_eq!((options.validation > 0.0, options.patience.is_some()), (stops, stops), "{kind}");
            assert!(kind.in_one_go() || options.steps >= 100);
            assert_eq!(Recipe::of(kind, 9, 2).options.validation, 0.0, "{kind}");
        }
    }
}

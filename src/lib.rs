//! The four ways to learn a distribution p(x) — autoregressive, latent-variable, adversarial, diffusion —
//! train, sample and score behind one trait. All derivatives are written by hand.
//!
//! The density of the crate's toy data is known exactly, so claims about a paradigm can be measured: `cargo run
//! --release --example tradeoffs` prints the table.
//!
//! # Quick start
//!
//! A model learns two moons, draws rows, and scores rows that it has not seen. To use another model, change one
//! line.
//!
//! ```
//! use quadrivium::{worlds::Toy, metrics::Nll, prelude::*};
//!
//! let mut rng = quadrivium::seeded(0);
//! let moons = Toy::moons(0.1)?;
//! let train = Dataset::new(moons.sample(5_000, &mut rng))?;
//! let test = moons.sample(500, &mut rng);
//!
//! let mut model = Autoregressive::new(AutoregressiveConfig::default(), &mut rng)?;
//! let options = TrainOptions { steps: 300, ..TrainOptions::default() };
//! model.train(&train, &options, &mut rng, &mut NoObserver)?;
//! let drawn = model.sample(100, &SampleOptions::default(), &mut rng)?;
//! assert_eq!(drawn.x.dim(), (100, 2));
//!
//! let score = model.log_likelihood(test.view(), &LikelihoodOptions::default())?;
//! assert!(matches!(score, LogLikelihood::Exact(_)));
//! let nll = Nll::of(&score).unwrap();
//! println!("{:.3} ± {:.3} nats, the entropy is {:.3}", nll.mean, nll.std_error, moons.entropy().unwrap());
//! # Ok::<(), quadrivium::Error>(())
//! ```
//!
//! A program that depends on this crate trains in seconds with `cargo run --release`. Its debug builds are many
//! times slower unless its `Cargo.toml` optimizes dependencies:
//!
//! ```toml
//! [profile.dev.package."*"]
//! opt-level = 3
//! ```
//!
//! A VAE is `Vae::new(VaeConfig::default(), &mut rng)?`, and its scores are a `LogLikelihood::LowerBound`:
//!
//! ```
//! # use quadrivium::{worlds::Toy, prelude::*};
//! # let mut rng = quadrivium::seeded(0);
//! # let data = Dataset::new(Toy::moons(0.1)?.sample(500, &mut rng))?;
//! let mut model = Vae::new(VaeConfig::default(), &mut rng)?;
//! # let options = TrainOptions { steps: 5, ..TrainOptions::default() };
//! model.train(&data, &options, &mut rng, &mut NoObserver)?;
//! let latent = model.encode(data.x())?;
//! let score = model.log_likelihood(data.x(), &LikelihoodOptions::default())?;
//! assert!(matches!(score, LogLikelihood::LowerBound { draws: 500, .. }));
//! # Ok::<(), quadrivium::Error>(())
//! ```
//!
//! A GAN draws in one pass and has no density:
//!
//! ```
//! # use quadrivium::{worlds::Toy, prelude::*};
//! # let mut rng = quadrivium::seeded(0);
//! # let data = Dataset::new(Toy::moons(0.1)?.sample(500, &mut rng))?;
//! let mut model = Gan::new(GanConfig::default(), &mut rng)?;
//! # let options = TrainOptions { steps: 5, ..TrainOptions::default() };
//! model.train(&data, &options, &mut rng, &mut NoObserver)?;
//! assert_eq!(model.sample(1_000, &SampleOptions::default(), &mut rng)?.nfe, 1);
//! assert_eq!(model.log_likelihood(data.x(), &LikelihoodOptions::default())?, LogLikelihood::Unavailable);
//! # Ok::<(), quadrivium::Error>(())
//! ```
//!
//! A diffusion model is trained once and can be sampled in many ways:
//!
//! ```
//! # use quadrivium::{worlds::Toy, prelude::*};
//! # let mut rng = quadrivium::seeded(0);
//! # let data = Dataset::new(Toy::moons(0.1)?.sample(500, &mut rng))?;
//! let mut model = Diffusion::new(DiffusionConfig::default(), &mut rng)?;
//! # let options = TrainOptions { steps: 5, ..TrainOptions::default() };
//! model.train(&data, &options, &mut rng, &mut NoObserver)?;
//! let quick = model.with_sampler(quadrivium::Sampler::Ddim { steps: 50, eta: 0.0 })?;
//! assert_eq!(quick.sample(10, &SampleOptions::default(), &mut rng)?.nfe, 50);
//! # Ok::<(), quadrivium::Error>(())
//! ```
//!
//! [`Generative`] is dyn-safe; the example on its page loops over all four.
//!
//! # Modules
//!
//! The modules of the paradigms all have the same layout: the model, its objective, how it draws, and its
//! likelihood if it has one.
//!
//! | module | |
//! | --- | --- |
//! | [`model`] | the contract: [`Distribution`] and [`Generative`], their inputs and results; conditions |
//! | [`map`] | paradigms, objectives and sampling procedures as data; [`Card`]; [`map::read()`], which reads descriptions of models |
//! | [`autoregressive`] | the chain rule with one masked network |
//! | [`autoregressive::transformer`] | the chain rule over the tokens of a text: a causal transformer |
//! | [`latent`] | the variational autoencoder |
//! | [`adversarial`] | GANs: minimax, non-saturating with R1, Wasserstein with gradient penalty |
//! | [`diffusion`] | DDPM, DDIM, diffusion as an SDE and its probability-flow ODE; guidance |
//! | [`diffusion::matching`] | flow matching: continuous flows from any source, with optimal-transport pairings |
//! | [`diffusion::flow_map`] | flow maps: jumps along a flow in one step or a few, learned or distilled; consistency models |
//! | [`diffusion::ladder`] | score models: sliced and denoising score matching, annealed Langevin dynamics |
//! | [`energy`] | energy-based models, trained by chains or denoising |
//! | [`flow`] | normalizing flows: couplings and masked autoregressive, affine and spline |
//! | [`baseline`] | what a network has to beat: Gaussian mixture, kernel density, n-grams |
//! | [`hybrid`] | compositions: a prior of any paradigm in the latents of a VAE, a PCA or a flow |
//! | [`nn`] | networks: a shape, a flat parameter slice, four functions; networks of your own |
//! | [`engine`] | data and training: datasets, units, losses, the sharded loop, Adam, checkpoints |
//! | [`worlds`] | distributions whose density is known |
//! | [`text`] | texts as tokens, and their score under a language model |
//! | [`tables`] | reading and writing tables of your own data |
//! | [`metrics`] | mode coverage, distances and their floors, the gap to the entropy |
//! | [`numeric`] | number types, random streams, kernels, solvers |
//! | [`mod@file`] | files that are written whole or not at all |
//! | [`observe`] | watching a training run: progress bar, log, a request to stop |
//! | [`recipe`] | a config and training options for each kind of model, chosen by the size of the data |
//! | `persist` | saving and loading models, with the feature `safetensors` |
//! | `onnx` | models as ONNX graphs, with the feature `onnx` |
//! | `report` | pictures, with the feature `plot` |
//! | [`error`] | the errors, with the numbers in them |
//! | [`faq`] | questions and answers |
//! | [`results`] | all measurements: quality, speed, growth, each with the command that makes it |
//! | [`verdicts`] | what is said of the four paradigms, claim by claim, and what is true of it here |
//!
//! The page of each paradigm shows its formula, a picture and an example, and says how it can fail.
//!
//! # Conventions
//!
//! Rows are `f32`, shape (n, dim). Log-likelihoods are `f64`, in nats per row. They are logarithms of densities in
//! the units of the data, so they may be positive. The same build, machine and seed give the same bits with any
//! number of threads. The library never prints, and does not panic on user data.
//!
//! # Features
//!
//! `rayon` (on by default): the shards of a training step and the tiles of a sampler run in parallel. To choose
//! the number of threads, call inside `rayon::ThreadPool::install`, or set `RAYON_NUM_THREADS`.
//!
//! `safetensors`: saving models to files and loading them (`persist`).
//!
//! `progress`: a progress bar for training (`observe::Bar`).
//!
//! `onnx`: networks and whole samplers as ONNX graphs, which other programs run (`onnx`).
//!
//! `arrow`: tables in Parquet format, read and written ([`tables`]).
//!
//! `cli`: the program `quadrivium`, which fits, draws, scores, compares and reads on the command line.
//!
//! `plot`: pictures of samples, densities, training curves and trade-offs as SVG and PNG (`report`).

pub mod adversarial;
pub mod autoregressive;
pub mod baseline;
pub mod diffusion;
pub mod energy;
pub mod engine;
pub mod error;
#[doc = include_str!("../docs/FAQ.md")]
///
/// ## Items on this page
///
/// The model types [`Autoregressive`], [`Vae`], [`Gan`], [`Diffusion`], [`Flow`], [`FlowMap`], [`FlowMatching`],
/// [`EnergyModel`], [`ScoreModel`], [`GaussianMixture`] and [`KernelDensity`] implement [`Generative`] and have a
/// [`Card`]. [`TrainOptions`], [`Observer`], [`LogLikelihood`], [`metrics::ModeReport`], [`metrics::Floor`],
/// [`tables::Table`], [`observe::Interrupt`], [`observe::JsonLines`], [`engine::Loss`], [`engine::fit()`],
/// [`nn::Network`], [`nn::Sequential`], [`diffusion::NoisePredictor`] and [`Error`] also appear.
pub mod faq {}
#[doc = include_str!("../docs/RESULTS.md")]
///
#[cfg_attr(doc, doc = include_str!("../docs/pictures/tradeoffs.svg"))]
#[cfg_attr(doc, doc = include_str!("../docs/pictures/steps.svg"))]
pub mod results {}
#[doc = include_str!("../docs/VERDICTS.md")]
pub mod verdicts {}
pub mod file;
pub mod flow;
pub mod hybrid;
pub mod latent;
pub mod map;
pub mod metrics;
pub mod model;
pub mod nn;
pub mod numeric;
pub mod observe;
#[cfg(feature = "onnx")]
pub mod onnx;
#[cfg(feature = "safetensors")]
pub mod persist;
mod protobuf;
pub mod recipe;
#[cfg(feature = "plot")]
pub mod report;
pub mod tables;
#[cfg(test)]
mod testing;
pub mod text;
pub mod worlds;

pub use adversarial::{AdversarialLoss, Conditioning, Gan, GanConfig};
pub use autoregressive::{Autoregressive, AutoregressiveConfig, Head, Transformer, TransformerConfig};
pub use baseline::{
    Bandwidth, ComponentCount, Covariance, GaussianMixture, GaussianMixtureConfig, KernelDensity,
    KernelDensityConfig, NGram, NGramConfig,
};
pub use diffusion::{
    Diffusion, DiffusionConfig, FlowMap, FlowMapConfig, FlowMatching, FlowMatchingConfig, MapObjective,
    Pairing, Sampler, Schedule, ScoreConfig, ScoreModel, ScoreTraining, Sde, Source,
};
pub use energy::{EnergyConfig, EnergyModel, EnergyTraining};
pub use engine::OptimizerConfig;
pub use engine::Silent;
pub use error::{ConditionError, DataError, Error, FileError, Result, TableError, TextError, TrainingError};
pub use flow::{Architecture, Flow, FlowConfig, Mixing, Transform};
pub use latent::{DecoderVariance, Posterior, Vae, VaeConfig};
pub use model::*;
pub use nn::{Activation, NetworkSpec};
pub use numeric::rng::seeded;
pub use numeric::simd::instruction_set;

pub use ndarray;
pub use rand;

/// The first version's name for [`tables`] and [`worlds`].
#[deprecated(note = "use `tables`, `worlds` or `engine`")]
pub mod data {
    #[deprecated(note = "use `engine::Standardizer`")]
    pub use crate::engine::Standardizer as Standardiser;
    pub use crate::engine::{HeldOut, Standardizer, Tail};
    #[deprecated(note = "use `tables::dequantize`")]
    pub use crate::tables::dequantize as dequantise;
    pub use crate::tables::*;
    pub use crate::worlds::*;
}
#[deprecated(note = "use `Pairing`")]
pub use diffusion::Pairing as Coupling;
#[deprecated(note = "use `diffusion::matching`")]
pub use diffusion::matching as flow_matching;
#[deprecated(note = "use `engine`")]
pub use engine as train;
#[deprecated(note = "use `OptimizerConfig`")]
pub use engine::OptimizerConfig as OptimiserConfig;
#[deprecated(note = "use `TraceEstimator`")]
pub use engine::TraceEstimator as Divergence;
#[deprecated(note = "use `model`")]
pub use model as generative;

/// What most programs need: the models and their configs, data, options, and the traits with the models' methods.
pub mod prelude {
    pub use crate::{
        Autoregressive, AutoregressiveConfig, Condition, Dataset, Diffusion, DiffusionConfig, Distribution,
        EnergyConfig, EnergyModel, Flow, FlowConfig, FlowMap, FlowMapConfig, FlowMatching,
        FlowMatchingConfig, Gan, GanConfig, GaussianMixture, GaussianMixtureConfig, Generative,
        KernelDensity, KernelDensityConfig, LikelihoodOptions, LogLikelihood, NGram, NGramConfig, NoObserver,
        Result, SampleOptions, ScoreConfig, ScoreModel, TrainOptions, Vae, VaeConfig,
    };
}

// The README's code compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

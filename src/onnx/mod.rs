//! Models as [ONNX](https://onnx.ai) graphs, which onnxruntime and other engines run without this crate: in Python,
//! JavaScript, C++, on phones and in databases. With the feature `onnx`.
//!
//! A graph takes noise and gives rows in the units of the data: the network, all steps of a sampler, and the change of
//! units are parts of it. The number of rows is free.
//!
//! ```
//! use quadrivium::onnx::{self, Export, Part};
//! use quadrivium::{worlds::Toy, *};
//!
//! let mut rng = seeded(0);
//! let data = Dataset::new(Toy::moons(0.1)?.sample(500, &mut rng))?;
//! let mut model = Diffusion::new(DiffusionConfig::default(), &mut rng)?;
//! model.train(&data, &TrainOptions { steps: 5, ..Default::default() }, &mut rng, &mut NoObserver)?;
//!
//! // Ten steps in one graph.
//! let quick = model.with_sampler(Sampler::Ddim { steps: 10, eta: 0.0 })?;
//! let path = std::env::temp_dir().join("moons.onnx");
//! onnx::save(&quick, Part::Sampler, &path)?;
//! let graph = quick.graph(Part::Sampler)?;
//! assert_eq!(graph.inputs().next().unwrap().0, "noise");
//! # std::fs::remove_file(&path).ok();
//! # Ok::<(), Error>(())
//! ```
//!
//! ```text
//! import numpy, onnxruntime
//! session = onnxruntime.InferenceSession("moons.onnx")
//! noise = numpy.random.standard_normal((1000, 2)).astype("float32")
//! (rows,) = session.run(["rows"], {"noise": noise})
//! ```
//!
//! # Parts
//!
//! | model | [`Part::Sampler`] | [`Part::Network`] |
//! | --- | --- | --- |
//! | [`Vae`](crate::Vae) | `z` (n, latent), `noise` (n, dim) → `rows` | `z` → `rows`, the mean m(z) |
//! | [`Gan`](crate::Gan) | `z` (n, latent) → `rows` | the same |
//! | [`Diffusion`](crate::Diffusion) | `noise` (n, dim), for samplers that add noise on the way `step_noise` (n, noisy steps, dim) → `rows` | `x` (n, dim) in standard units, `log_snr` (n, 1) → `noise`, ε̂ |
//! | [`Flow`](crate::Flow) | `noise` (n, dim) → `rows` | – |
//! | [`FlowMap`](crate::FlowMap) | `noise` (n, dim), of a consistency model `step_noise` (n, steps − 1, dim) → `rows` | `x` (n, dim) in standard units, `from` and `to` (n, 1) → `velocity` |
//! | [`FlowMatching`](crate::FlowMatching) | `noise` (n, dim) → `rows` | `x` (n, dim) in standard units, `time` (n, 1) → `velocity` |
//!
//! All noise is standard normal; scaled by a temperature, it gives draws at that temperature. The numbers of a row's
//! inputs, one input after the other, are those that the model draws from the row's stream, so the same noise gives the
//! same rows as [`sample`](crate::Distribution::sample), up to rounding. The sampler is the one that the model has, with
//! its guidance.
//!
//! A model with a condition takes it as a further input: `class` (n) as integers, `tokens` (n, length), or `condition`
//! (n, columns) in the units of the data. A class that does not exist, such as the number of classes, means no
//! condition, for models that were trained without one, too; so does a `condition` of NaN alone.
//!
//! # What is in the file
//!
//! Operators of version 17, for onnxruntime 1.12 and later. Networks run in 32 bits as in this crate, the change of units
//! and the state of an ODE in 64. Each weight is stored once, however many steps there are; the number of nodes grows
//! with the steps. `examples/python/check_onnx.py` compares the graphs with this crate.
//!
//! # Networks of your own
//!
//! [`Network`](crate::nn::Network) and [`VectorField`](crate::nn::VectorField) have a function `trace` that adds the
//! network's nodes to a [`Graph`]. By default it gives an [`ExportError::Unsupported`](crate::error::ExportError).

mod graph;

use std::path::Path;

pub use self::graph::{Attribute, Element, Graph, Value};
use crate::error::Result;

/// What of a model a graph computes; the module's page says what that is for each model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Noise in, rows in the units of the data out, with all steps of the model's sampler.
    Sampler,
    /// One evaluation of the network that draws: a decoder, a generator, a predictor.
    Network,
}

/// A model that can be written as an ONNX graph.
pub trait Export {
    /// The graph of a part of the model.
    ///
    /// # Errors
    /// [`ExportError::Unsupported`](crate::error::ExportError) for a part without a description as a graph.
    fn graph(&self, part: Part) -> Result<Graph>;
}

/// Writes a part of a model to `path`, replacing an existing file as a whole.
///
/// # Errors
/// As [`Export::graph`] and [`Graph::to_bytes`], and [`FileError::Io`](crate::FileError::Io).
pub fn save(model: &dyn Export, part: Part, path: impl AsRef<Path>) -> Result<()> {
    crate::file::write(path.as_ref(), &model.graph(part)?.to_bytes()?)
}

/// The error for a part that has no graph.
pub(crate) fn unsupported<T>(what: impl Into<String>, why: &'static str) -> Result<T> {
    Err(crate::error::ExportError::Unsupported { what: what.into(), why }.into())
}

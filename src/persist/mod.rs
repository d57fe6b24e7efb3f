//! Models as files.
//!
//! Every model of this crate can be saved and loaded, and a loaded model gives the same bits for the same
//! seed: it draws, scores and trains on as the one that was saved. One exception: of a
//! [`FlowMatching`] only a [Gaussian source](crate::Source::Gaussian) can be saved; one from a toy
//! distribution or from rows is an [`FileError::Format`].
//!
//! ```
//! use quadrivium::persist::{self, Persist};
//! use quadrivium::{worlds::Toy, *};
//!
//! let mut rng = quadrivium::seeded(0);
//! let data = Dataset::new(Toy::moons(0.1)?.sample(500, &mut rng))?;
//! let mut model = Vae::new(VaeConfig::default(), &mut rng)?;
//! model.train(&data, &TrainOptions { steps: 5, ..Default::default() }, &mut rng, &mut NoObserver)?;
//!
//! let folder = std::env::temp_dir();
//! let path = folder.join("moons.safetensors");
//! model.save(&path)?;
//! let vae = Vae::load(&path)?;
//! assert_eq!(vae.decode(vae.encode(data.x())?.mean.view())?, model.reconstruct(data.x())?);
//! // Of whatever kind the file says.
//! let any: Box<dyn Generative> = persist::load(&path)?;
//! assert_eq!(any.card().name, "VAE");
//! # std::fs::remove_file(&path).ok();
//! # Ok::<(), quadrivium::Error>(())
//! ```
//!
//! # The file
//!
//! is a [safetensors](https://github.com/huggingface/safetensors) file, which Python, JavaScript and others
//! read too. A layer is y = x·W + b with W: (in, out).
//!
//! | tensor | |
//! | --- | --- |
//! | `decoder.1.weight`, … | the moving average of the parameters, which samples and scores |
//! | `training.decoder.1.weight`, … | the parameters as the optimizer left them, from which training goes on |
//!
//! A model without networks has its own: `weights`, `means`, `covariances` of a mixture, `rows`, `shift`, `factor` of
//! a kernel density, `directions` and `variances` of principal components. A composition has those of its parts, with
//! the part's name before theirs, as `codec.decoder.1.weight`, and their `model` entries in its own `fitted`. The
//! metadata has one entry, `quadrivium`, a text in JSON:
//!
//! | field | |
//! | --- | --- |
//! | `format` | version of these rules, now 3 |
//! | `checksum` | of all that a reader uses: `format`, `model`, columns, tensors; a tool that changes any leaves it out |
//! | `model.kind` | which model, as [`Persist::kind`] |
//! | `model.library` | the version of this crate that wrote the file |
//! | `model.config` | the model's config |
//! | `model.fitted` | what the first training fixes: the units, with tails and whitening; bins, orders of coordinates, a mixture's family |
//!
//! A second entry, `quadrivium.columns`, may name the columns of the training's table, those of its condition among
//! them: [`save_with`]. The names of other entries do not begin with `quadrivium`.
//!
//! Files of formats 1 and 2 give the model that they gave to the versions that wrote them, bit by bit: a field that
//! came later takes the value by which nothing changes, and what format 3 calls a `network` (or `encoder`, `decoder`,
//! `generator`, `critic`) is put together from the fields `hidden`, `activation` and `octaves`. Three things differ
//! in any file, as they were wrong: the normalization of an energy model on a grid that does not resolve its density,
//! draws of an autoregressive model at a temperature other than 1, and the densities of a flow matching beyond 12
//! standard deviations. Their checksum does not cover the columns.
//!
//! Numbers in JSON have as many digits as it takes to read the same bits. What an optimizer remembers
//! between steps is not saved: every training starts its moments anew.
//!
//! # What is refused
//!
//! A file is untrusted. Its config is validated as by `new`, and the shapes of its tensors are compared with
//! the config's before memory is taken for either (a million noise levels, the most that a config may have, take
//! less than 64 MiB), and no header is longer than 32 MiB; a damaged, truncated or foreign file is an
//! [`FileError::Format`], one of a later format an [`FileError::FormatVersion`]. A file of the same format with a
//! field that this version does not know is refused, too, by the field's name, and so is an entry of the metadata
//! that begins with `quadrivium`; a field that is missing takes its default.

mod columns;

use crate::error::FileError;
use std::path::Path;

use serde::de::IgnoredAny;

pub use self::columns::{Column, Role, condition_kind, condition_of, load_described, load_with, save_with};
use crate::hybrid::{Codec, Latent, Pca};
use crate::model::file::{Composition, Stored, read};
pub use crate::model::file::{FORMAT, Persist};
use crate::{
    Autoregressive, Diffusion, EnergyModel, Error, Flow, FlowMap, FlowMatching, Gan, GaussianMixture,
    KernelDensity, Result, ScoreModel, Vae,
};

/// Writes a model to `path`, replacing what is there. The bytes go to a new file beside it that reaches the
/// disk and then takes its name: a crash leaves the old file or the new one, never a part. A link stays one,
/// and what it leads to is replaced; a file keeps its permissions; a pipe or a device is written to as it is.
///
/// # Errors
/// As [`Persist::to_bytes`], and [`FileError::Io`].
pub fn save(model: &dyn Persist, path: impl AsRef<Path>) -> Result<()> {
    crate::file::write(path.as_ref(), &model.to_bytes()?)
}

/// Reads a model of whatever kind from `path`.
///
/// # Errors
/// As [`from_bytes`], and [`FileError::Io`].
pub fn load(path: impl AsRef<Path>) -> Result<Box<dyn Persist>> {
    from_bytes(&read(path.as_ref())?)
}

/// The model of a file's bytes, of whatever kind.
///
/// # Errors
/// As [`Persist::from_bytes`].
pub fn from_bytes(bytes: &[u8]) -> Result<Box<dyn Persist>> {
    let kinds = [
        reader::<Autoregressive>(),
        reader::<Diffusion>(),
        reader::<EnergyModel>(),
        reader::<Flow>(),
        reader::<FlowMap>(),
        reader::<FlowMatching>(),
        reader::<Gan>(),
        reader::<GaussianMixture>(),
        reader::<KernelDensity>(),
        (<Latent<Vae, Box<dyn Persist>>>::kind(), latent),
        reader::<Pca>(),
        reader::<ScoreModel>(),
        reader::<Vae>(),
    ];
    let found = Stored::parse(bytes)?.kind()?;
    match kinds.iter().find(|(kind, _)| *kind == found) {
        Some((_, from_bytes)) => from_bytes(bytes),
        None => Err(Error::File(FileError::Format {
            what: format!("a model of kind {found:?}: expected one of {:?}", kinds.map(|(kind, _)| kind)),
        })),
    }
}

/// What a model's file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Which model, as [`Persist::kind`].
    pub kind: String,
    /// The version of the file's rules, at most [`FORMAT`].
    pub format: u64,
    /// The version of this crate that wrote it.
    pub library: String,
    /// The file's length.
    pub bytes: usize,
    /// The model's config: a text in JSON, without the fields that the file leaves to their defaults.
    pub config: String,
}

/// Reads what a file says of itself; whether its config and its numbers make a model, [`load`] tells.
///
/// # Errors
/// [`FileError::Io`]; [`FileError::Format`] for a file that is no model's, [`FileError::FormatVersion`] for a later
/// format.
pub fn describe(path: impl AsRef<Path>) -> Result<Description> {
    let bytes = read(path.as_ref())?;
    Stored::parse(&bytes)?.verify()?;
    describe_bytes(&bytes)
}

fn describe_bytes(bytes: &[u8]) -> Result<Description> {
    let stored = Stored::parse(bytes)?;
    let (kind, library, config) = stored.said()?;
    Ok(Description { kind, format: stored.format, library, bytes: bytes.len(), config })
}

type Reader = fn(&[u8]) -> Result<Box<dyn Persist>>;

/// A composition of any prior with one of the codecs.
fn latent(bytes: &[u8]) -> Result<Box<dyn Persist>> {
    let kinds = [composed::<Flow>(), composed::<Pca>(), composed::<Vae>()];
    let parts = Composition::<IgnoredAny>::read(&Stored::parse(bytes)?, "latent")?;
    let found = Stored::parse(parts.part("codec")?)?.kind()?;
    match kinds.iter().find(|(kind, _)| *kind == found) {
        Some((_, from_bytes)) => from_bytes(bytes),
        None => Err(Error::File(FileError::Format {
            what: format!("a codec of kind {found:?}: expected one of {:?}", kinds.map(|(kind, _)| kind)),
        })),
    }
}

fn composed<C: Codec + Persist>() -> (&'static str, Reader) {
    (C::kind(), |bytes| Ok(Box::new(Latent::<C, Box<dyn Persist>>::from_bytes(bytes)?)))
}

/// The parts of a composition may be of any kind.
impl Persist for Box<dyn Persist> {
    /// Any.
    fn kind() -> &'static str {
        "any"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        (**self).to_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        from_bytes(bytes)
    }
}

fn reader<M: Persist + 'static>() -> (&'static str, Reader) {
    (M::kind(), |bytes| Ok(Box::new(M::from_bytes(bytes)?)))
}

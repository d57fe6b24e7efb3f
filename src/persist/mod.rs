//! Models as files.
//!
//! Every model of this crate can be saved and loaded. A loaded model gives the same bits for the same seed: it draws,
//! scores and continues training exactly like the model that was saved. One exception: a [`FlowMatching`] can only be
//! saved with a [Gaussian source](crate::Source::Gaussian); one whose source is a toy distribution or rows gives a
//! [`FileError::Format`].
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
//! // The file says which kind of model it is.
//! let any: Box<dyn Generative> = persist::load(&path)?;
//! assert_eq!(any.card().name, "VAE");
//! # std::fs::remove_file(&path).ok();
//! # Ok::<(), quadrivium::Error>(())
//! ```
//!
//! # The file
//!
//! The file is a [safetensors](https://github.com/huggingface/safetensors) file, which programs in Python, JavaScript
//! and other languages can read, too. A layer is y = x·W + b with W: (in, out).
//!
//! | tensor | |
//! | --- | --- |
//! | `decoder.1.weight`, … | the moving average of the parameters, which is used to sample and score |
//! | `training.decoder.1.weight`, … | the parameters as the optimizer left them, from which training continues |
//!
//! Models without networks have other tensors: `weights`, `means`, `covariances` of a mixture; `rows`, `shift`, `factor`
//! of a kernel density; `grams` and `counts` of an n-gram; `directions` and `variances` of principal components. A composition has the tensors of its parts,
//! with the part's name before theirs, as in `codec.decoder.1.weight`, and their `model` entries in its own `fitted`. The
//! metadata has one entry, `quadrivium`, which is JSON text:
//!
//! | field | |
//! | --- | --- |
//! | `format` | version of this format, now 3 |
//! | `checksum` | of everything that a reader uses: `format`, `model`, columns, tensors; a tool that changes any of them must omit it |
//! | `model.kind` | the kind of model, as in [`Persist::kind`] |
//! | `model.library` | the version of this crate that wrote the file |
//! | `model.config` | the model's config |
//! | `model.fitted` | what the first training fixes: the units, with tails and whitening; bins, orders of coordinates, a mixture's family |
//!
//! A second entry, `quadrivium.columns`, may name the columns of the training table, including those of the
//! condition: [`save_with`]. A model of tokens may have its tokenizer in the entry `quadrivium.tokenizer`:
//! [`save_text`]. The names of other entries must not begin with `quadrivium`.
//!
//! Files of formats 1 and 2 give the same model, bit for bit, as in the versions that wrote them. A field that was
//! added later gets the value that changes nothing, and what format 3 calls a `network` (or `encoder`, `decoder`,
//! `generator`, `critic`) is assembled from the fields `hidden`, `activation` and `octaves`. Three results differ
//! because they were wrong in earlier versions: the normalization of an energy model on a grid that does not resolve
//! its density, draws of an autoregressive model at a temperature other than 1, and the densities of a flow matching
//! model beyond 12 standard deviations. The checksums of formats 1 and 2 do not cover the columns.
//!
//! Numbers in JSON have enough digits to be read back as the same bits. The optimizer's moments are not saved: every
//! training starts them from zero.
//!
//! # What is refused
//!
//! A file is not trusted. Its config is validated as in `new`, and the shapes of its tensors are compared with the
//! config before memory is allocated for either (a million noise levels, the most that a config may have, take less
//! than 64 MiB). No header may be longer than 32 MiB. A damaged, truncated or foreign file gives a
//! [`FileError::Format`], a file of a later format a [`FileError::FormatVersion`]. A file of the same format is also
//! refused if it has a field that this version does not know, which the error names, or another metadata entry that
//! begins with `quadrivium`. A missing field takes its default.

mod columns;
mod text;

use crate::error::FileError;
use std::path::Path;

use serde::de::IgnoredAny;

pub use self::columns::{
    Column, Role, condition_kind, condition_of, load_described, load_with, save_with, unnamed_columns,
};
pub use self::text::{load_text, save_text, text_from_bytes};
use crate::hybrid::{Codec, Columns, Latent, Pca};
use crate::model::file::{Composition, Stored, read};
pub use crate::model::file::{FORMAT, Persist};
use crate::{
    Autoregressive, Diffusion, EnergyModel, Error, Flow, FlowMap, FlowMatching, Gan, GaussianMixture,
    KernelDensity, Result, ScoreModel, Vae,
};

/// Writes a model to `path`, replacing an existing file. The bytes are first written to a new file in the same
/// folder, which is renamed once it is on the disk: a crash leaves the old file or the new one, never a part. If
/// `path` is a link, its target is replaced. The file keeps its permissions. A pipe or a device is written to
/// directly.
///
/// # Errors
/// As [`Persist::to_bytes`], and [`FileError::Io`].
pub fn save(model: &dyn Persist, path: impl AsRef<Path>) -> Result<()> {
    crate::file::write(path.as_ref(), &model.to_bytes()?)
}

/// Reads a model of any kind from `path`.
///
/// # Errors
/// As [`from_bytes`], and [`FileError::Io`].
pub fn load(path: impl AsRef<Path>) -> Result<Box<dyn Persist>> {
    from_bytes(&read(path.as_ref())?)
}

/// Reads a model of any kind from a file's bytes.
///
/// # Errors
/// As [`Persist::from_bytes`].
pub fn from_bytes(bytes: &[u8]) -> Result<Box<dyn Persist>> {
    let kinds = [
        reader::<f32, Autoregressive>(),
        reader::<f32, Columns>(),
        reader::<f32, Diffusion>(),
        reader::<f32, EnergyModel>(),
        reader::<f32, Flow>(),
        reader::<f32, FlowMap>(),
        reader::<f32, FlowMatching>(),
        reader::<f32, Gan>(),
        reader::<f32, GaussianMixture>(),
        reader::<f32, KernelDensity>(),
        (<Latent<Vae, Box<dyn Persist>>>::kind(), latent),
        reader::<f32, Pca>(),
        reader::<f32, ScoreModel>(),
        reader::<f32, Vae>(),
    ];
    reader_of(bytes, &kinds)?(bytes)
}

/// The reader of the kind of model that a file holds.
fn reader_of<T>(bytes: &[u8], kinds: &[(&'static str, Reader<T>)]) -> Result<Reader<T>> {
    let found = Stored::parse(bytes)?.kind()?;
    let reader = kinds.iter().find(|(kind, _)| *kind == found).map(|(_, reader)| *reader);
    reader.ok_or_else(|| {
        let kinds: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
        Error::File(FileError::Format {
            what: format!("a model of kind {found:?}: expected one of {kinds:?}"),
        })
    })
}

/// What a model's file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The kind of model, as in [`Persist::kind`].
    pub kind: String,
    /// The version of the file's format, at most [`FORMAT`].
    pub format: u64,
    /// The version of this crate that wrote it.
    pub library: String,
    /// The file's length.
    pub bytes: usize,
    /// The model's config as JSON text, without the fields that the file leaves at their defaults.
    pub config: String,
}

/// Reads what a file says about itself. Only [`load`] checks that its config and its numbers make a valid model.
///
/// # Errors
/// [`FileError::Io`]; [`FileError::Format`] for a file that is not a model, [`FileError::FormatVersion`] for a later
/// format.
pub fn describe(path: impl AsRef<Path>) -> Result<Description> {
    let bytes = read(path.as_ref())?;
    Stored::parse(&bytes)?.verify()?;
    Description::of(&bytes)
}

impl Description {
    /// The same of a file's content, which may be a part of a composition's.
    ///
    /// # Errors
    /// As [`describe`].
    pub fn of(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (kind, library, config) = stored.said()?;
        Ok(Description { kind, format: stored.format, library, bytes: bytes.len(), config })
    }
}

type Reader<T = f32> = fn(&[u8]) -> Result<Box<dyn Persist<T>>>;

/// A composition of any prior with one of the codecs.
fn latent(bytes: &[u8]) -> Result<Box<dyn Persist>> {
    let kinds = [composed::<Columns>(), composed::<Flow>(), composed::<Pca>(), composed::<Vae>()];
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

fn reader<T, M: Persist<T> + 'static>() -> (&'static str, Reader<T>) {
    (M::kind(), |bytes| Ok(Box::new(M::from_bytes(bytes)?)))
}

//! What all model files have in common: a header in JSON, arrays, a checksum, and the rules of each version.

mod container;
mod parts;
mod read;
mod upgrade;

use std::borrow::Cow;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::container::{Dtype, Entry, Header, join, split};
pub(crate) use self::parts::{Composition, encode_parts};
pub(crate) use self::read::read;
use self::upgrade::upgraded;
use crate::engine::Parameters;
use crate::error::{Error, FileError, Result};
use crate::file::{self, Digest};
use crate::model::Generative;
use crate::nn::Layout;

/// The format that this version writes, and the newest that it reads. It reads every format from 1 on.
pub const FORMAT: u64 = 3;

/// A model of rows of `T` that can be saved to a file. The trait is dyn-safe: `Box<dyn Persist>` is a
/// `Box<dyn Generative>` that can be saved, and `Box<dyn Persist<Token>>` a `Box<dyn Generative<Token>>`.
pub trait Persist<T = f32>: Generative<T> {
    /// The name of the model's kind in a file: `autoregressive`, `diffusion`, `energy`, `flow`, `flow_map`,
    /// `flow_matching`, `gan`, `gaussian_mixture`, `kernel_density`, `latent`, `pca`, `score` or `vae`, and of tokens
    /// `n_gram` or `transformer`.
    fn kind() -> &'static str
    where
        Self: Sized;

    /// The bytes of the model's file. The same model always gives the same bytes.
    ///
    /// # Errors
    /// [`FileError::Format`] for a parameter that is not finite, and for a [`FlowMatching`](crate::FlowMatching)
    /// or a [`FlowMap`](crate::FlowMap) whose source is not Gaussian.
    fn to_bytes(&self) -> Result<Vec<u8>>;

    /// Reads a model from the bytes of its file.
    ///
    /// # Errors
    /// [`FileError::Format`] for bytes that are not a file of this kind, or are damaged; [`FileError::FormatVersion`]
    /// for a later format; [`Error::Config`] for a config that `new` would refuse.
    fn from_bytes(bytes: &[u8]) -> Result<Self>
    where
        Self: Sized;

    /// Writes the model to `path`, replacing an existing file as a whole: see [`save`](crate::persist::save).
    ///
    /// # Errors
    /// As [`to_bytes`](Persist::to_bytes), and [`FileError::Io`].
    fn save(&self, path: impl AsRef<Path>) -> Result<()>
    where
        Self: Sized,
    {
        file::write(path.as_ref(), &self.to_bytes()?)
    }

    /// Reads a model of this kind from `path`.
    ///
    /// # Errors
    /// As [`from_bytes`](Persist::from_bytes), and [`FileError::Io`].
    fn load(path: impl AsRef<Path>) -> Result<Self>
    where
        Self: Sized,
    {
        Self::from_bytes(&read(path.as_ref())?)
    }
}

/// This crate's entry in the file's metadata. The names of its other entries begin with this one.
pub(crate) const ENTRY: &str = "quadrivium";

/// The metadata entry that names the columns.
pub(crate) const COLUMNS: &str = "quadrivium.columns";

/// The metadata entry that holds the tokenizer of a model of tokens.
pub(crate) const TOKENIZER: &str = "quadrivium.tokenizer";

/// Prefix of the names of the parameters that the optimizer updates; their average has the plain names.
const TRAINING: &str = "training.";

pub(crate) fn broken(what: impl Into<String>) -> Error {
    Error::File(FileError::Format { what: what.into() })
}

pub(crate) fn bad_json(error: serde_json::Error) -> Error {
    broken(format!("the header: {error}"))
}

/// A named array on its way to a file.
pub(crate) struct Tensor<'a> {
    name: String,
    shape: Vec<usize>,
    numbers: Numbers<'a>,
}

enum Numbers<'a> {
    F32(Cow<'a, [f32]>),
    F64(Cow<'a, [f64]>),
}

impl<'a> Tensor<'a> {
    pub fn f32(name: impl Into<String>, shape: &[usize], numbers: &'a [f32]) -> Self {
        Tensor { name: name.into(), shape: shape.to_vec(), numbers: Numbers::F32(numbers.into()) }
    }

    pub fn f64(name: impl Into<String>, shape: &[usize], numbers: impl Into<Cow<'a, [f64]>>) -> Self {
        Tensor { name: name.into(), shape: shape.to_vec(), numbers: Numbers::F64(numbers.into()) }
    }

    /// Both copies of a network's parameters.
    pub fn parameters(layout: &Layout, parameters: &'a Parameters) -> Vec<Self> {
        let copies = [("", &parameters.average), (TRAINING, &parameters.p)];
        let named = |(prefix, numbers): (&'static str, &'a Vec<f32>)| {
            let tensor = move |t: &crate::nn::Tensor| {
                Tensor::f32(format!("{prefix}{}", t.name), &t.shape, &numbers[t.range.clone()])
            };
            layout.tensors().iter().map(tensor)
        };
        copies.into_iter().flat_map(named).collect()
    }

    fn dtype(&self) -> Dtype {
        match self.numbers {
            Numbers::F32(_) => Dtype::F32,
            Numbers::F64(_) => Dtype::F64,
        }
    }

    /// Little-endian, row-major.
    fn bytes(&self) -> Vec<u8> {
        match &self.numbers {
            Numbers::F32(numbers) => numbers.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Numbers::F64(numbers) => numbers.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    fn is_finite(&self) -> bool {
        match &self.numbers {
            Numbers::F32(numbers) => numbers.iter().all(|v| v.is_finite()),
            Numbers::F64(numbers) => numbers.iter().all(|v| v.is_finite()),
        }
    }
}

/// Columns of the Fourier features of `dim` coordinates.
pub(crate) fn features(dim: usize, octaves: usize) -> usize {
    dim.saturating_mul(1 + 2 * octaves)
}

/// The JSON text in this crate's metadata entry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    format: u64,
    /// Checksum of everything that is used, in hexadecimal: see [`checksum`]. A tool that changes numbers has to
    /// remove it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
    model: Box<RawValue>,
}

/// The part of the envelope that every version has.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Model<C, F> {
    kind: String,
    /// The version of the crate that wrote the file, for human readers.
    library: String,
    config: C,
    fitted: F,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

/// The parts of [`Model`] that are shown to people.
#[derive(Deserialize)]
struct Said {
    kind: String,
    library: String,
    config: Box<RawValue>,
}

/// Builds the file of a model.
///
/// # Errors
/// [`FileError::Format`] for a number that is not finite: such a model would not load.
pub(crate) fn encode<C: Serialize, F: Serialize>(
    kind: &str,
    config: &C,
    fitted: &F,
    mut tensors: Vec<Tensor>,
) -> Result<Vec<u8>> {
    if let Some(tensor) = tensors.iter().find(|tensor| !tensor.is_finite()) {
        return Err(broken(format!("tensor {} holds a number that is not finite", tensor.name)));
    }
    let library = env!("CARGO_PKG_VERSION").to_string();
    let model = Model { kind: kind.to_string(), library, config, fitted };
    let model = serde_json::value::to_raw_value(&model).map_err(bad_json)?;

    tensors.sort_by_key(Tensor::dtype);
    let mut header = Header::default();
    let mut data = Vec::new();
    for tensor in &tensors {
        let start = data.len();
        data.extend(tensor.bytes());
        let entry =
            Entry { dtype: tensor.dtype(), shape: tensor.shape.clone(), data_offsets: (start, data.len()) };
        header.tensors.insert(tensor.name.clone(), entry);
    }
    seal(model, &mut header, &data)?;
    join(&header, &data)
}

/// Puts this crate's entry into the header, with the checksum of everything else.
fn seal(model: Box<RawValue>, header: &mut Header, data: &[u8]) -> Result<()> {
    header.metadata.remove(ENTRY);
    let checksum = Some(checksum(FORMAT, model.get(), header, data));
    let envelope = Envelope { format: FORMAT, checksum, model };
    header.metadata.insert(ENTRY.into(), serde_json::to_string(&envelope).map_err(bad_json)?);
    Ok(())
}

/// The checksum of the format, the model's text, this crate's other entries, and the names, types, shapes and bytes
/// of the tensors, sorted by name because a tool may write them in another order. `header` lacks the entry that
/// holds the sum.
fn checksum(format: u64, model: &str, header: &Header, data: &[u8]) -> String {
    let mut digest = Digest::new();
    let notes = header.metadata.iter().filter(|(entry, _)| entry.starts_with(ENTRY));
    let count = |n: usize| (n as u64).to_le_bytes();
    if format == 1 {
        digest.add(model.as_bytes());
    } else {
        digest.add(&format.to_le_bytes());
        let notes = notes.flat_map(|(entry, note)| [entry.as_str(), note]);
        for text in [model].into_iter().chain(notes) {
            digest.add(&count(text.len()));
            digest.add(text.as_bytes());
        }
    }
    for (name, entry) in &header.tensors {
        if format > 1 {
            digest.add(&count(name.len()));
            digest.add(&count(entry.shape.len()));
        }
        digest.add(name.as_bytes());
        digest.add(&[0, entry.dtype.width() as u8]);
        entry.shape.iter().for_each(|&n| digest.add(&count(n)));
        digest.add(&data[entry.data_offsets.0..entry.data_offsets.1]);
    }
    format!("{:016x}", digest.sum())
}

/// The file with one more entry of this crate in its metadata.
pub(crate) fn annotate(bytes: &[u8], entry: &str, note: String) -> Result<Vec<u8>> {
    let (mut header, data) = split(bytes)?;
    let Envelope { model, .. } = serde_json::from_str(&header.metadata[ENTRY]).map_err(bad_json)?;
    header.metadata.insert(entry.into(), note);
    seal(model, &mut header, data)?;
    join(&header, data)
}

/// A parsed file: its metadata, and where its numbers are. Nothing is copied yet.
pub(crate) struct Stored<'a> {
    /// The version of the format in which the file was written. In an older file, what later versions added is
    /// missing; [`upgraded`] adds the config fields that came later.
    pub format: u64,
    model: Box<RawValue>,
    checksum: Option<String>,
    /// The header without this crate's main entry.
    header: Header,
    data: &'a [u8],
}

impl<'a> Stored<'a> {
    /// # Errors
    /// [`FileError::Format`] for bytes that are not a model's file, [`FileError::FormatVersion`] for a newer format.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let (mut header, data) = split(bytes)?;
        let envelope = header.metadata.remove(ENTRY).expect("a header of ours has it");
        let Version { format } = serde_json::from_str(&envelope).map_err(bad_json)?;
        if format > FORMAT {
            return Err(Error::File(FileError::FormatVersion { found: format, newest: FORMAT }));
        }
        if format == 0 {
            return Err(broken("format 0: the first format was 1"));
        }
        let notes = [COLUMNS, TOKENIZER];
        let unknown = |entry: &&String| entry.starts_with(ENTRY) && !notes.contains(&entry.as_str());
        if let Some(entry) = header.metadata.keys().find(unknown) {
            return Err(broken(format!(
                "the metadata's entry {entry:?} is unknown: expected one of {notes:?}"
            )));
        }
        let Envelope { checksum, model, .. } = serde_json::from_str(&envelope).map_err(bad_json)?;
        Ok(Stored { format, model, checksum, header, data })
    }

    /// The kind of the model.
    pub fn kind(&self) -> Result<String> {
        let Kind { kind } = serde_json::from_str(self.model.get()).map_err(bad_json)?;
        Ok(kind)
    }

    /// Checks that the file is unchanged since it was written, if it holds a checksum.
    pub fn verify(&self) -> Result<()> {
        let Some(stated) = &self.checksum else { return Ok(()) };
        let sum = checksum(self.format, self.model.get(), &self.header, self.data);
        match *stated == sum {
            true => Ok(()),
            false => Err(broken(format!("checksum {sum}, but the file states {stated}: it is damaged"))),
        }
    }

    /// Kind, library version and config, in the newest format.
    pub fn said(&self) -> Result<(String, String, String)> {
        let model = upgraded(self.format, self.model.get())?;
        let Said { kind, library, config } = serde_json::from_str(&model).map_err(bad_json)?;
        Ok((kind, library, config.get().to_string()))
    }

    /// Another of this crate's metadata entries.
    pub fn note(&self, entry: &str) -> Option<&str> {
        self.header.metadata.get(entry).map(String::as_str)
    }

    /// The config and what training fixed, after checking the file's kind and checksum.
    pub fn read<C: DeserializeOwned, F: DeserializeOwned>(&self, kind: &str) -> Result<(C, F)> {
        let found = self.kind()?;
        if found != kind {
            return Err(broken(format!("a model of kind {found:?}: expected {kind:?}")));
        }
        self.verify()?;
        let model = upgraded(self.format, self.model.get())?;
        let Model { config, fitted, .. } = serde_json::from_str::<Model<C, F>>(&model).map_err(bad_json)?;
        Ok((config, fitted))
    }

    /// Checks that the file has exactly this many tensors.
    pub fn count(&self, expected: usize) -> Result<()> {
        let found = self.header.tensors.len();
        if found == expected { Ok(()) } else { Err(broken(format!("{found} tensors: expected {expected}"))) }
    }

    /// For a model that consists of networks only: refuses a config whose networks have a different number of
    /// parameters than the file, before anything is allocated from its sizes.
    pub fn holds(&self, params: usize) -> Result<()> {
        // The file has each parameter twice: its average, and the one from which training continues.
        let found = self.data.len() / (2 * size_of::<f32>());
        match params == found {
            true => Ok(()),
            false => Err(broken(format!("the config has {params} parameters, but the file has {found}"))),
        }
    }

    /// Refuses a config whose networks the file cannot hold, before anything is allocated from its sizes: `tensors`
    /// are the tensors of the layouts, and each product of neighbors in `chains` is a number of weights.
    pub fn fits(&self, tensors: usize, chains: &[&[usize]]) -> Result<()> {
        // Each tensor of the layouts has a second copy for training.
        self.count(tensors.saturating_mul(2))?;
        let most = self.data.len() / 8;
        for pair in chains.iter().flat_map(|chain| chain.windows(2)) {
            if pair[0].checked_mul(pair[1]).is_none_or(|weights| weights > most) {
                return Err(broken(format!(
                    "the config has layers of {} and {} units, but the file has {most} parameters",
                    pair[0], pair[1]
                )));
            }
        }
        Ok(())
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        let entry = self.header.tensors.get(name).ok_or_else(|| broken(format!("no tensor {name}")))?;
        Ok(&entry.shape)
    }

    fn find(&self, dtype: Dtype, name: &str, shape: &[usize]) -> Result<&'a [u8]> {
        let found = self.shape(name)?;
        if found != shape {
            return Err(broken(format!("tensor {name} has shape {found:?}: expected {shape:?}")));
        }
        let entry = &self.header.tensors[name];
        if entry.dtype != dtype {
            return Err(broken(format!("tensor {name} has type {:?}: expected {dtype:?}", entry.dtype)));
        }
        Ok(&self.data[entry.data_offsets.0..entry.data_offsets.1])
    }

    /// The numbers of a tensor of the given shape, all finite.
    pub fn f64(&self, name: &str, shape: &[usize]) -> Result<Vec<f64>> {
        let bytes = self.find(Dtype::F64, name, shape)?;
        let numbers: Vec<f64> = bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
        all_finite(name, numbers.iter().all(|v| v.is_finite()))?;
        Ok(numbers)
    }

    /// The numbers of a tensor of the given shape, all finite.
    pub fn f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let bytes = self.find(Dtype::F32, name, shape)?;
        let numbers: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        all_finite(name, numbers.iter().all(|v| v.is_finite()))?;
        Ok(numbers)
    }

    /// Both copies of a network's parameters, for a file that holds nothing else.
    pub fn all_parameters(&self, layout: &Layout) -> Result<Parameters> {
        self.count(2 * layout.tensors().len())?;
        self.parameters(layout)
    }

    /// Both copies of a network's parameters. All shapes are compared before the first tensor is read.
    pub fn parameters(&self, layout: &Layout) -> Result<Parameters> {
        let name = |prefix: &str, tensor: &crate::nn::Tensor| format!("{prefix}{}", tensor.name);
        for prefix in ["", TRAINING] {
            for tensor in layout.tensors() {
                self.find(Dtype::F32, &name(prefix, tensor), &tensor.shape)?;
            }
        }
        let copy = |prefix: &str| -> Result<Vec<f32>> {
            let mut numbers = Vec::with_capacity(layout.num_params());
            for tensor in layout.tensors() {
                numbers.extend(self.f32(&name(prefix, tensor), &tensor.shape)?);
            }
            Ok(numbers)
        };
        Ok(Parameters { average: copy("")?, p: copy(TRAINING)? })
    }
}

fn all_finite(name: &str, finite: bool) -> Result<()> {
    if finite { Ok(()) } else { Err(broken(format!("tensor {name} holds a number that is not finite"))) }
}

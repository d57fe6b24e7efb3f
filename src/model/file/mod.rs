//! What all files of models have in common: a header in JSON, arrays, a checksum, and the rules of each version.

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

/// The newest format that this version reads, and the one that it writes. It reads all from 1.
pub const FORMAT: u64 = 3;

/// A model that can be a file. Dyn-safe: `Box<dyn Persist>` is a `Box<dyn Generative>` that can be saved.
pub trait Persist: Generative {
    /// The name of the kind in a file: `autoregressive`, `diffusion`, `energy`, `flow`,
    /// `flow_map`, `flow_matching`, `gan`, `gaussian_mixture`, `kernel_density`, `latent`, `pca`, `score` or `vae`.
    fn kind() -> &'static str
    where
        Self: Sized;

    /// The bytes of the file. The same model gives the same.
    ///
    /// # Errors
    /// [`FileError::Format`] for a parameter that is not finite, and for a [`FlowMatching`](crate::FlowMatching)
    /// or a [`FlowMap`](crate::FlowMap) whose source is not Gaussian.
    fn to_bytes(&self) -> Result<Vec<u8>>;

    /// The model of such bytes.
    ///
    /// # Errors
    /// [`FileError::Format`] for bytes that are no file of this kind, or a damaged one; [`FileError::FormatVersion`]
    /// for a later format; [`Error::Config`] for a config that `new` would refuse.
    fn from_bytes(bytes: &[u8]) -> Result<Self>
    where
        Self: Sized;

    /// Writes the model to `path`, replacing what is there, all or nothing: see [`save`](crate::persist::save).
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

/// The entry of the file's metadata that is ours. Others of ours begin as it does.
pub(crate) const ENTRY: &str = "quadrivium";

/// The entry that names the columns.
pub(crate) const COLUMNS: &str = "quadrivium.columns";

/// Before the names of the numbers that an optimizer moves; their average has the plain names.
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

    /// Both copies of a network's numbers.
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

/// The text of our metadata.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    format: u64,
    /// Of all that is used, in hexadecimal: see [`checksum`]. Whoever changes numbers drops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
    model: Box<RawValue>,
}

/// What any version's envelope has.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Model<C, F> {
    kind: String,
    /// The version of the crate that wrote the file, for people.
    library: String,
    config: C,
    fitted: F,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

/// The parts of [`Model`] that people read.
#[derive(Deserialize)]
struct Said {
    kind: String,
    library: String,
    config: Box<RawValue>,
}

/// The file of a model.
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

/// Puts our entry into the header, with the checksum of all else.
fn seal(model: Box<RawValue>, header: &mut Header, data: &[u8]) -> Result<()> {
    header.metadata.remove(ENTRY);
    let checksum = Some(checksum(FORMAT, model.get(), header, data));
    let envelope = Envelope { format: FORMAT, checksum, model };
    header.metadata.insert(ENTRY.into(), serde_json::to_string(&envelope).map_err(bad_json)?);
    Ok(())
}

/// Of the format, the model's text, the other entries of ours, and names, types, shapes and bytes of the tensors in
/// the order of their names: a tool may write them in another. `header` is without the entry that holds the sum.
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

/// The file with one more entry of ours in its metadata.
pub(crate) fn annotate(bytes: &[u8], entry: &str, note: String) -> Result<Vec<u8>> {
    let (mut header, data) = split(bytes)?;
    let Envelope { model, .. } = serde_json::from_str(&header.metadata[ENTRY]).map_err(bad_json)?;
    header.metadata.insert(entry.into(), note);
    seal(model, &mut header, data)?;
    join(&header, data)
}

/// A file taken apart: what it says, and where its numbers stand. Nothing is copied yet.
pub(crate) struct Stored<'a> {
    /// The version of the rules by which it was written. A reader that finds an older one does without what came
    /// later; fields of the config that came later are put in by [`upgraded`].
    pub format: u64,
    model: Box<RawValue>,
    checksum: Option<String>,
    /// Without our own entry.
    header: Header,
    data: &'a [u8],
}

impl<'a> Stored<'a> {
    /// # Errors
    /// [`FileError::Format`] for bytes that are not such a file, [`FileError::FormatVersion`] for a newer one.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let (mut header, data) = split(bytes)?;
        let envelope = header.metadata.remove(ENTRY).expect("a header of ours has it");
        let Version { format } = serde_json::from_str(&envelope).map_err(bad_json)?;
        if format > FORMAT {
            return Err(Error::File(FileError::FormatVersion { found: format, newest: FORMAT }));
        }
        if format == 0 {
            return Err(broken("format 0: the first was 1"));
        }
        let unknown = |entry: &&String| entry.starts_with(ENTRY) && *entry != COLUMNS;
        if let Some(entry) = header.metadata.keys().find(unknown) {
            return Err(broken(format!("the metadata's entry {entry:?} is unknown: expected {COLUMNS:?}")));
        }
        let Envelope { checksum, model, .. } = serde_json::from_str(&envelope).map_err(bad_json)?;
        Ok(Stored { format, model, checksum, header, data })
    }

    /// Which model it is.
    pub fn kind(&self) -> Result<String> {
        let Kind { kind } = serde_json::from_str(self.model.get()).map_err(bad_json)?;
        Ok(kind)
    }

    /// That the file is as it was written, where it says how that was.
    pub fn verify(&self) -> Result<()> {
        let Some(stated) = &self.checksum else { return Ok(()) };
        let sum = checksum(self.format, self.model.get(), &self.header, self.data);
        match *stated == sum {
            true => Ok(()),
            false => Err(broken(format!("checksum {sum}, stated {stated}: the file is damaged"))),
        }
    }

    /// Kind, library and config, by the rules of the newest format.
    pub fn said(&self) -> Result<(String, String, String)> {
        let model = upgraded(self.format, self.model.get())?;
        let Said { kind, library, config } = serde_json::from_str(&model).map_err(bad_json)?;
        Ok((kind, library, config.get().to_string()))
    }

    /// An entry of the metadata beside ours.
    pub fn note(&self, entry: &str) -> Option<&str> {
        self.header.metadata.get(entry).map(String::as_str)
    }

    /// Config and what training fixed, of a file of that kind whose checksum is right.
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

    /// That there are as many tensors, and no other.
    pub fn count(&self, expected: usize) -> Result<()> {
        let found = self.header.tensors.len();
        if found == expected { Ok(()) } else { Err(broken(format!("{found} tensors: expected {expected}"))) }
    }

    /// Refuses a config of networks that have not as many parameters as the file, where a model is nothing else, before
    /// anything is made of its sizes.
    pub fn holds(&self, params: usize) -> Result<()> {
        // Of each there is the average and the one that training goes on from.
        let found = self.data.len() / (2 * size_of::<f32>());
        match params == found {
            true => Ok(()),
            false => Err(broken(format!("the config has {params} parameters, and the file {found}"))),
        }
    }

    /// Refuses a config whose networks the file cannot hold, before anything is made of its sizes: `tensors`
    /// are those of the layouts, and each product of neighbors in `chains` is a number of weights.
    pub fn fits(&self, tensors: usize, chains: &[&[usize]]) -> Result<()> {
        // Each of the layouts' has a copy in training.
        self.count(tensors.saturating_mul(2))?;
        let most = self.data.len() / 8;
        for pair in chains.iter().flat_map(|chain| chain.windows(2)) {
            if pair[0].checked_mul(pair[1]).is_none_or(|weights| weights > most) {
                return Err(broken(format!(
                    "the config has layers of {} and {} units, and the file {most} parameters",
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
            return Err(broken(format!("tensor {name} is of type {:?}: expected {dtype:?}", entry.dtype)));
        }
        Ok(&self.data[entry.data_offsets.0..entry.data_offsets.1])
    }

    /// The numbers of a tensor of that shape, each finite.
    pub fn f64(&self, name: &str, shape: &[usize]) -> Result<Vec<f64>> {
        let bytes = self.find(Dtype::F64, name, shape)?;
        let numbers: Vec<f64> = bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
        all_finite(name, numbers.iter().all(|v| v.is_finite()))?;
        Ok(numbers)
    }

    /// The numbers of a tensor of that shape, each finite.
    pub fn f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let bytes = self.find(Dtype::F32, name, shape)?;
        let numbers: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        all_finite(name, numbers.iter().all(|v| v.is_finite()))?;
        Ok(numbers)
    }

    /// Both copies of the numbers of a network that is all that the file holds.
    pub fn all_parameters(&self, layout: &Layout) -> Result<Parameters> {
        self.count(2 * layout.tensors().len())?;
        self.parameters(layout)
    }

    /// Both copies of a network's numbers. All shapes are compared before the first is read.
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

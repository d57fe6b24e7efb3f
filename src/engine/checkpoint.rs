//! A training run saved to a file, from which it can resume after a crash.
//!
//! All randomness of a step comes from a stream that is addressed by the training's seed and the step's number, so
//! a checkpoint needs no generator state. The rest of the training depends only on the parameters of this step and
//! the one before, the optimizer's moments, what the objective remembers (chains), the report so far and the number
//! of steps. Another instruction set rounds sums differently, so its name is in the file, too.
//!
//! The file is locked while the training runs. The previous file is kept as `….previous`, in case the disk loses the
//! newest one.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::dataset::Row;
use super::rows::{Part, Rows};
use super::run::Training;
use super::{Checkpoint, Exchange, TrainOptions};
use crate::error::{Error, FileError, Result};
use crate::file::{Digest, Locked, NewFile, end_of_links, named};
use crate::numeric::Real;
use crate::numeric::simd::instruction_set;

/// First in the file; the digit is the format's version.
const MAGIC: &[u8; 24] = b"quadrivium checkpoint 2\n";

/// Carries numbers to a file, or back from one, in a fixed order, so that the same code defines what is written and
/// what is read.
pub(crate) struct Carry<'a>(Way<'a>);

enum Way<'a> {
    Out(Vec<u8>),
    Back(&'a [u8]),
}

impl Carry<'_> {
    fn bytes<const N: usize>(&mut self, bytes: [u8; N]) -> Result<[u8; N]> {
        match &mut self.0 {
            Way::Out(file) => {
                file.extend(bytes);
                Ok(bytes)
            }
            Way::Back(file) => {
                let (first, rest) = file.split_first_chunk().ok_or_else(|| {
                    Error::File(FileError::Format { what: "a checkpoint that ends too early".into() })
                })?;
                *file = rest;
                Ok(*first)
            }
        }
    }

    pub(crate) fn count(&mut self, v: &mut usize) -> Result<()> {
        *v = u64::from_le_bytes(self.bytes((*v as u64).to_le_bytes())?) as usize;
        Ok(())
    }

    /// A count, refused if the file states more than `most`.
    pub(crate) fn count_up_to(&mut self, most: usize, v: &mut usize) -> Result<()> {
        self.count(v)?;
        if *v > most {
            return Err(Error::File(FileError::Format {
                what: format!("a checkpoint that counts {v} of at most {most}"),
            }));
        }
        Ok(())
    }

    /// Any number type, converted to f64, which can represent them all.
    pub(crate) fn number<F: Real>(&mut self, v: &mut F) -> Result<()> {
        *v = F::of(f64::from_le_bytes(self.bytes(v.f64().to_le_bytes())?));
        Ok(())
    }

    /// A known count of numbers.
    pub(crate) fn parameters(&mut self, numbers: &mut [f32]) -> Result<()> {
        for v in numbers {
            *v = f32::from_le_bytes(self.bytes(v.to_le_bytes())?);
        }
        Ok(())
    }

    /// Numbers preceded by their count.
    pub(crate) fn numbers<F: Real>(&mut self, numbers: &mut Vec<F>) -> Result<()> {
        let mut count = numbers.len();
        self.count(&mut count)?;
        if let Way::Back(file) = &self.0 {
            // Never allocates for more numbers than the file holds.
            numbers.resize(count.min(file.len() / size_of::<f64>()), F::zero());
        }
        numbers.iter_mut().try_for_each(|v| self.number(v))
    }
}

/// The checkpoint of one training.
pub(super) struct Saved<'a> {
    checkpoint: &'a Checkpoint,
    identity: &'a Identity,
    /// The file that was last read or written, locked.
    held: Option<Locked>,
}

/// What a training is, as digests of its parts: (name, digest).
pub(super) type Identity = [(&'static str, u64); 7];

/// What a training is, wherever it runs, and by how many processes.
pub(super) fn identity<T: Row>(
    options: &TrainOptions,
    rows: &Rows<T>,
    training: &mut impl Training<T>,
) -> Result<Identity> {
    let text = |what: &dyn Debug| digest([format!("{what:?}").as_bytes()]);
    let here = TrainOptions::default();
    let options = TrainOptions {
        checkpoint: here.checkpoint,
        memory: here.memory,
        exchange: here.exchange,
        ..options.clone()
    };
    let rows_of = |part: &Part<T>| -> Vec<u8> {
        let x = part.x.iter().flat_map(|v| v.bytes());
        x.chain(part.c.iter().flat_map(|v| v.to_le_bytes())).collect()
    };
    Ok([
        ("version of the crate", text(&env!("CARGO_PKG_VERSION"))),
        ("model's config", digest([training.identity().as_bytes()])),
        ("options", text(&options)),
        ("state of the random generator", text(&rows.streams)),
        ("data", digest([&rows_of(&rows.training)[..], &rows_of(&rows.validation)])),
        ("units of the data", text(&rows.fitted)),
        ("parameters at the start", digest([&out(|carry| training.carry(carry))?[..]])),
    ])
}

/// Checks that all processes train the same, and round alike.
///
/// # Errors
/// [`TrainingError::Differs`](crate::error::TrainingError::Differs).
pub(super) fn agree(exchange: &dyn Exchange, identity: &Identity) -> Result<()> {
    let set = [("instruction set", digest([instruction_set().as_bytes()]))];
    exchange.agree(&[&set[..], identity].concat())
}

impl<'a> Saved<'a> {
    /// Creates the checkpoint of a training without reading or writing anything.
    pub(super) fn new(checkpoint: &'a Checkpoint, identity: &'a Identity) -> Self {
        Saved { checkpoint, identity, held: None }
    }

    /// Replaces the file, which becomes the previous one, by what a training [carries](out).
    ///
    /// # Errors
    /// [`FileError::Io`], also if another training has written the file.
    pub(super) fn write(&mut self, carried: &[u8]) -> Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(padded(instruction_set()));
        self.identity.iter().for_each(|(_, digest)| bytes.extend(digest.to_le_bytes()));
        bytes.extend(carried);
        bytes.extend(digest([&bytes[..]]).to_le_bytes());
        let path = &self.checkpoint.path;
        // If the file has been removed, it is written again.
        if self.held.as_ref().is_some_and(|held| path.exists() && !is_at(held, path)) {
            return Err(named(path)(in_use()));
        }
        let written = previous(path).and_then(|previous| {
            let mut file = NewFile::create(path)?;
            file.write_all(&bytes)?;
            file.finish_keeping(Some(&previous))
        });
        // The lock of the old file ends here.
        self.held = Some(written.map_err(named(path))?);
        Ok(())
    }

    /// What the file holds of the training, or `None` if there is no file.
    ///
    /// # Errors
    /// [`FileError::Checkpoint`] for a file of another training or instruction set, or a damaged one;
    /// [`FileError::Io`], also if another training has locked the file.
    pub(super) fn read(&mut self) -> Result<Option<Vec<u8>>> {
        let path = &self.checkpoint.path;
        let mut file = match open_locked(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(named(path))?,
        };
        let mut bytes = read(&file).map_err(named(path))?;
        // A disk that lost the newest file may still have the previous one, which then takes its place. A file that
        // was never a checkpoint of this format is left alone.
        let lost = bytes.starts_with(MAGIC) || bytes.iter().all(|&byte| byte == 0);
        if lost
            && sound(&bytes).is_err()
            && let Ok(previous) = previous(path)
            && File::open(&previous).and_then(|file| read(&file)).is_ok_and(|b| sound(&b).is_ok())
        {
            end_of_links(path).and_then(|path| fs::rename(previous, path)).map_err(named(path))?;
            file = open_locked(path).map_err(named(path))?;
            bytes = read(&file).map_err(named(path))?;
        }

        let refused = |what: String| self.refused(what);
        let mut back = Carry(Way::Back(sound(&bytes).map_err(|what| refused(what.into()))?));
        let damaged = |_| refused("damaged".into());
        let (found, now) = (back.bytes([0; NAME]).map_err(damaged)?, instruction_set());
        if found != padded(now) {
            let found = String::from_utf8_lossy(&found).trim_end().to_owned();
            return Err(refused(format!(
                "written with the instruction set {found:?}, and {now:?} rounds sums differently: \
                 QUADRIVIUM_SIMD={found} goes on, where the processor has it"
            )));
        }
        for &(what, digest) in self.identity {
            if u64::from_le_bytes(back.bytes([0; 8]).map_err(damaged)?) != digest {
                return Err(refused(format!("it belongs to another training: the {what} changed")));
            }
        }
        let Way::Back(carried) = back.0 else { unreachable!("it goes one way") };
        let carried = carried.to_vec();
        self.held = Some(file);
        Ok(Some(carried))
    }

    /// Why the file is not used.
    pub(super) fn refused(&self, what: String) -> Error {
        FileError::Checkpoint { path: self.checkpoint.path.display().to_string(), what }.into()
    }
}

/// Restores a training from what it [carried](out).
///
/// # Errors
/// [`FileError::Format`] for what no training of this kind carries.
pub(super) fn back(carried: &[u8], carry: impl FnOnce(&mut Carry) -> Result<()>) -> Result<()> {
    let mut back = Carry(Way::Back(carried));
    carry(&mut back)?;
    match back.0 {
        Way::Back([]) => Ok(()),
        _ => Err(FileError::Format { what: "longer than its training's".into() }.into()),
    }
}

/// The most bytes of an instruction set's name.
const NAME: usize = 8;

fn padded(name: &str) -> [u8; NAME] {
    std::array::from_fn(|i| name.as_bytes().get(i).copied().unwrap_or(b' '))
}

/// The path of the previous file.
fn previous(path: &Path) -> io::Result<PathBuf> {
    let mut path = end_of_links(path)?.into_os_string();
    path.push(".previous");
    Ok(path.into())
}

fn open_locked(path: &Path) -> io::Result<Locked> {
    loop {
        let file = File::open(path)?;
        let file = Locked::new(file).ok_or_else(in_use)?;
        // Its owner may have replaced it before the lock was free.
        if is_at(&file, path) {
            return Ok(file);
        }
    }
}

fn in_use() -> io::Error {
    io::Error::new(ErrorKind::ResourceBusy, "another running training writes this checkpoint")
}

/// Whether the open file is still the one at this path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |found: io::Result<fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
    place(file.metadata()) == place(fs::metadata(path))
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// The file's bytes; only the first ones if the file is not a checkpoint.
fn read(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut bytes)?;
    if bytes == MAGIC {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// The content between a checkpoint's first words and its checksum, if the checksum is right.
fn sound(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("not a checkpoint, or in another version's format")?;
    let (whole, sum) = bytes.split_last_chunk().ok_or("damaged")?;
    match digest([whole]) == u64::from_le_bytes(*sum) {
        true => rest.strip_suffix(sum).ok_or("damaged"),
        false => Err("damaged"),
    }
}

/// The bytes that `carry` writes.
pub(super) fn out(carry: impl FnOnce(&mut Carry) -> Result<()>) -> Result<Vec<u8>> {
    let mut out = Carry(Way::Out(Vec::new()));
    carry(&mut out)?;
    let Way::Out(bytes) = out.0 else { unreachable!("it goes one way") };
    Ok(bytes)
}

fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut digest = Digest::new();
    parts.into_iter().for_each(|part| digest.add(part));
    digest.sum()
}

/// Resumes from a checkpoint in which each number in turn is replaced by numbers that are too large, with the
/// checksum corrected. Returns what was refused. The first call of `train` starts a new file and stops early; the
/// next one resumes.
#[cfg(test)]
pub(crate) fn refusals_of_forgeries(
    name: &str,
    mut train: impl FnMut(&Checkpoint) -> Result<()>,
) -> Vec<String> {
    const WORD: usize = size_of::<u64>();
    let path = std::env::temp_dir().join(format!("quadrivium-forged-{name}-{}", std::process::id()));
    let checkpoint = Checkpoint { path, every: 1000 };
    train(&checkpoint).unwrap();
    let good = std::fs::read(&checkpoint.path).unwrap();
    // Behind the head, the seven digests of the identity; before the sum.
    let (start, end) = (MAGIC.len() + 7 * WORD, good.len() - WORD);
    let mut refusals = Vec::new();
    for at in (start..=end - WORD).step_by(size_of::<f32>()) {
        for number in [u64::MAX, i32::MAX as u64] {
            let mut bytes = good.clone();
            bytes[at..at + WORD].copy_from_slice(&number.to_le_bytes());
            let sum = digest([&bytes[..end]]);
            bytes[end..].copy_from_slice(&sum.to_le_bytes());
            std::fs::write(&checkpoint.path, &bytes).unwrap();
            match train(&checkpoint) {
                Err(Error::File(FileError::Checkpoint { what, .. })) => refusals.push(what),
                Err(Error::Training(crate::error::TrainingError::Diverged { .. })) | Ok(()) => (),
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }
    std::fs::remove_file(&checkpoint.path).unwrap();
    refusals
}

//! A training as a file, to go on from after a crash.
//!
//! All randomness of a step comes from the stream that the training's seed and the step's number address, so
//! a checkpoint needs no generator's state: the parameters of this step and the one before, the optimizer's
//! moments, what the objective remembers (chains), the report so far and the number of steps are all that the
//! rest of the training depends on. The sums of another instruction set are rounded differently, so its name is in the
//! file, too.
//!
//! The file is locked while the training goes on. The one that it replaced stays as `….previous`, for the case that the
//! disk loses what it had promised to keep.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::dataset::Row;
use super::rows::{Part, Rows};
use super::run::Training;
use super::{Checkpoint, TrainOptions};
use crate::error::{Error, FileError, Result};
use crate::file::{Digest, Locked, NewFile, end_of_links, named};
use crate::numeric::Real;
use crate::numeric::simd::instruction_set;

/// First in the file; the digit is the format's version.
const MAGIC: &[u8; 24] = b"quadrivium checkpoint 2\n";

/// Takes numbers to a file, or back from one, in a fixed order: the same code says what is written and what
/// is read.
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

    /// A count of which a file may ask no more than `most`.
    pub(crate) fn count_up_to(&mut self, most: usize, v: &mut usize) -> Result<()> {
        self.count(v)?;
        if *v > most {
            return Err(Error::File(FileError::Format {
                what: format!("a checkpoint that counts {v} of at most {most}"),
            }));
        }
        Ok(())
    }

    /// Any number type by way of f64, which holds them all.
    pub(crate) fn number<F: Real>(&mut self, v: &mut F) -> Result<()> {
        *v = F::of(f64::from_le_bytes(self.bytes(v.f64().to_le_bytes())?));
        Ok(())
    }

    /// Numbers whose count is known.
    pub(crate) fn parameters(&mut self, numbers: &mut [f32]) -> Result<()> {
        for v in numbers {
            *v = f32::from_le_bytes(self.bytes(v.to_le_bytes())?);
        }
        Ok(())
    }

    /// Numbers, with their count.
    pub(crate) fn numbers<F: Real>(&mut self, numbers: &mut Vec<F>) -> Result<()> {
        let mut count = numbers.len();
        self.count(&mut count)?;
        if let Way::Back(file) = &self.0 {
            // No memory for more than the file holds.
            numbers.resize(count.min(file.len() / size_of::<f64>()), F::zero());
        }
        numbers.iter_mut().try_for_each(|v| self.number(v))
    }
}

/// The checkpoint of one training.
pub(super) struct Saved<'a> {
    checkpoint: &'a Checkpoint,
    /// What the training is, by digests of its parts: (name, digest).
    identity: [(&'static str, u64); 7],
    /// The file as it was read or written last, locked.
    held: Option<Locked>,
}

impl<'a> Saved<'a> {
    /// Nothing is read or written yet.
    pub(super) fn new<T: Row>(
        checkpoint: &'a Checkpoint,
        options: &TrainOptions,
        rows: &Rows<T>,
        training: &mut impl Training<T>,
    ) -> Result<Self> {
        let text = |what: &dyn Debug| digest([format!("{what:?}").as_bytes()]);
        let options = TrainOptions { checkpoint: None, ..options.clone() };
        let rows_of = |part: &Part<T>| -> Vec<u8> {
            let x = part.x.iter().flat_map(|v| v.bytes());
            x.chain(part.c.iter().flat_map(|v| v.to_le_bytes())).collect()
        };
        let identity = [
            ("version of the crate", text(&env!("CARGO_PKG_VERSION"))),
            ("model's config", digest([training.identity().as_bytes()])),
            ("options", text(&options)),
            ("state of the random generator", text(&rows.streams)),
            ("data", digest([&rows_of(&rows.training)[..], &rows_of(&rows.validation)])),
            ("units of the data", text(&rows.fitted)),
            ("parameters at the start", digest([&out(|carry| training.carry(carry))?[..]])),
        ];
        Ok(Saved { checkpoint, identity, held: None })
    }

    pub(super) fn every(&self) -> usize {
        self.checkpoint.every
    }

    /// Replaces the file, which becomes the previous one.
    ///
    /// # Errors
    /// [`FileError::Io`], also where another training has written the file.
    pub(super) fn write(&mut self, carry: impl FnOnce(&mut Carry) -> Result<()>) -> Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(padded(instruction_set()));
        self.identity.iter().for_each(|(_, digest)| bytes.extend(digest.to_le_bytes()));
        bytes.extend(out(carry)?);
        bytes.extend(digest([&bytes[..]]).to_le_bytes());
        let path = &self.checkpoint.path;
        // If somebody has removed it, it is written again.
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

    /// Brings the training to where the file's stood; leaves it where it is if there is no file. Whether
    /// there was one.
    ///
    /// # Errors
    /// [`FileError::Checkpoint`] for a file of another training or instruction set, or a damaged one;
    /// [`FileError::Io`], also where another training has the file.
    pub(super) fn restore(&mut self, carry: impl FnOnce(&mut Carry) -> Result<()>) -> Result<bool> {
        let path = &self.checkpoint.path;
        let mut file = match open_locked(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(named(path))?,
        };
        let mut bytes = read(&file).map_err(named(path))?;
        // A disk that lost the newest may still have the one before, which then takes its place. What never was a
        // checkpoint of this format stays what it is.
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

        let refused =
            |what: String| Error::File(FileError::Checkpoint { path: path.display().to_string(), what });
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
        for (what, digest) in self.identity {
            if u64::from_le_bytes(back.bytes([0; 8]).map_err(damaged)?) != digest {
                return Err(refused(format!("of another training: not the same {what}")));
            }
        }
        carry(&mut back).map_err(|error| match error {
            Error::File(FileError::Format { what }) => refused(what),
            other => other,
        })?;
        let Way::Back([]) = back.0 else { return Err(refused("longer than its training's".into())) };
        self.held = Some(file);
        Ok(true)
    }
}

/// Bytes of the instruction set's name.
const NAME: usize = 8;

fn padded(name: &str) -> [u8; NAME] {
    std::array::from_fn(|i| name.as_bytes().get(i).copied().unwrap_or(b' '))
}

/// The file before the newest.
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
    io::Error::new(ErrorKind::ResourceBusy, "another training that is still running writes this checkpoint")
}

/// Whether this is the file that has that name now.
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

/// The file's bytes; of a file that is none of ours, the first.
fn read(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut bytes)?;
    if bytes == MAGIC {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// What is between the first words of a checkpoint and its sum, if that is right.
fn sound(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("not a checkpoint, or of another version's format")?;
    let (whole, sum) = bytes.split_last_chunk().ok_or("damaged")?;
    match digest([whole]) == u64::from_le_bytes(*sum) {
        true => rest.strip_suffix(sum).ok_or("damaged"),
        false => Err("damaged"),
    }
}

/// The bytes that `carry` takes out.
fn out(carry: impl FnOnce(&mut Carry) -> Result<()>) -> Result<Vec<u8>> {
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

/// Trains on from a checkpoint with each number in turn replaced by ones that are too large, the file's sum
/// made right again; what was refused. `train` starts a new file, breaks off, and the next time goes on.
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

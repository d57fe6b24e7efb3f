//! A training as a file, to go on from after a crash.
//!
//! All randomness of a step comes from the stream that the training's seed and the step's number address, so
//! a checkpoint needs no generator's state: the parameters of this step and the one before, the optimiser's
//! moments, what the objective remembers (chains), the report so far and the number of steps are all that the
//! rest of the training depends on.

use std::fmt::Debug;
use std::fs::File;
use std::io::{ErrorKind, Read};

use ndarray::Array2;

use super::rows::Rows;
use super::run::Training;
use crate::error::{Error, Result};
use crate::file::{self, Digest};
use crate::generative::{Checkpoint, TrainOptions};
use crate::numeric::Real;

/// First in the file; the digit is the format's version.
const MAGIC: &[u8; 24] = b"quadrivium checkpoint 1\n";

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
                let (first, rest) = file
                    .split_first_chunk()
                    .ok_or_else(|| Error::Format { what: "a checkpoint that ends too early".into() })?;
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
            return Err(Error::Format { what: format!("a checkpoint that counts {v} of at most {most}") });
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
}

impl<'a> Saved<'a> {
    /// Nothing is read or written yet.
    pub(super) fn new(
        checkpoint: &'a Checkpoint,
        options: &TrainOptions,
        rows: &Rows,
        training: &mut impl Training,
    ) -> Result<Self> {
        let text = |what: &dyn Debug| digest([format!("{what:?}").as_bytes()]);
        let options = TrainOptions { checkpoint: None, ..options.clone() };
        let rows_of = |x: &Array2<f32>| x.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let identity = [
            ("version of the crate", text(&env!("CARGO_PKG_VERSION"))),
            ("model's config", digest([training.identity().as_bytes()])),
            ("options", text(&options)),
            ("state of the random generator", text(&rows.streams)),
            ("data", digest([&rows_of(&rows.training)[..], &rows_of(&rows.validation)])),
            ("units of the data", text(&rows.standardiser)),
            ("parameters at the start", digest([&out(|carry| training.carry(carry))?[..]])),
        ];
        Ok(Saved { checkpoint, identity })
    }

    pub(super) fn every(&self) -> usize {
        self.checkpoint.every
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn write(&self, carry: impl FnOnce(&mut Carry) -> Result<()>) -> Result<()> {
        let mut bytes = MAGIC.to_vec();
        self.identity.iter().for_each(|(_, digest)| bytes.extend(digest.to_le_bytes()));
        bytes.extend(out(carry)?);
        bytes.extend(digest([&bytes[..]]).to_le_bytes());
        file::write_again(&self.checkpoint.path, &bytes)
    }

    /// Brings the training to where the file's stood; leaves it where it is if there is no file. Whether
    /// there was one.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] for a file of another training, or a damaged one; [`Error::Io`].
    pub(super) fn restore(&self, carry: impl FnOnce(&mut Carry) -> Result<()>) -> Result<bool> {
        let path = self.checkpoint.path.display().to_string();
        let bytes = match self.read() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(Error::Io { path, source }),
            Ok(bytes) => bytes,
        };
        let refused = |what: &str| Error::Checkpoint { path: path.clone(), what: what.into() };
        if !bytes.starts_with(MAGIC) {
            return Err(refused("not a checkpoint, or of another version's format"));
        }
        let Some((whole, sum)) = bytes.split_last_chunk() else { return Err(refused("damaged")) };
        if digest([whole]) != u64::from_le_bytes(*sum) {
            return Err(refused("damaged"));
        }
        let mut back = Carry(Way::Back(whole.strip_prefix(MAGIC).unwrap_or_default()));
        for (what, digest) in self.identity {
            let found = back.bytes([0; 8]).map_err(|_| refused("damaged"))?;
            if u64::from_le_bytes(found) != digest {
                return Err(refused(&format!("of another training: not the same {what}")));
            }
        }
        carry(&mut back).map_err(|error| match error {
            Error::Format { what } => refused(&what),
            other => other,
        })?;
        if let Way::Back([]) = back.0 { Ok(true) } else { Err(refused("longer than its training's")) }
    }

    /// The file's bytes; of a file that is none of ours, the first.
    fn read(&self) -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&self.checkpoint.path)?;
        let mut bytes = Vec::new();
        (&mut file).take(MAGIC.len() as u64).read_to_end(&mut bytes)?;
        if bytes == MAGIC {
            file.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
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
                Err(Error::Checkpoint { what, .. }) => refusals.push(what),
                Err(Error::Diverged { .. }) | Ok(()) => (),
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }
    std::fs::remove_file(&checkpoint.path).unwrap();
    refusals
}

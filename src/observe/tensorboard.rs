use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::{Observer, Step};
use crate::protobuf::Message;

/// Writes the steps of a training as an event file, which `tensorboard --logdir` shows while it grows.
///
/// The tags are `loss/training`, `loss/validation` at each new value, and `part/…` for the parts of the loss. A step's
/// number is the number of steps done. As in [`JsonLines`](super::JsonLines), a training that resumes from a checkpoint
/// repeats the steps since the checkpoint, each event is written and flushed at once, and an event that cannot be
/// written ends the log but not the training: [`finish`](TensorBoard::finish) returns the error.
///
/// ```
/// use quadrivium::{observe::TensorBoard, worlds::Toy, *};
///
/// let folder = std::env::temp_dir().join("quadrivium-events");
/// let mut log = TensorBoard::create(&folder, 10).unwrap();
/// let mut rng = seeded(0);
/// let data = Dataset::new(Toy::moons(0.1)?.sample(500, &mut rng))?;
/// let options = TrainOptions { steps: 30, ..Default::default() };
/// Vae::new(VaeConfig::default(), &mut rng)?.train(&data, &options, &mut rng, &mut log)?;
/// log.finish().unwrap();
/// assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
/// # std::fs::remove_dir_all(&folder).ok();
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct TensorBoard<W> {
    out: W,
    every: usize,
    /// The last validation loss that was written.
    validation: Option<f64>,
    failed: Option<io::Error>,
}

impl TensorBoard<File> {
    /// Logs every `every`-th step (0 counts as 1) and the last one to a new event file in a folder, which is made if it
    /// does not exist. TensorBoard takes each folder for a run, under its path.
    ///
    /// # Errors
    /// If the folder or the file cannot be made or written to.
    pub fn create(folder: impl AsRef<Path>, every: usize) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let (seconds, process) = (wall_time() as u64, process::id());
        let name = |number: u32| format!("events.out.tfevents.{seconds:010}.quadrivium.{process}.{number}");
        let mut number = 0;
        loop {
            let path = folder.as_ref().join(name(number));
            match OpenOptions::new().write(true).create_new(true).open(path) {
                Ok(file) => return Self::new(file, every),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

impl<W: Write> TensorBoard<W> {
    /// The same to any writer, which needs no buffering.
    ///
    /// # Errors
    /// If the file's first record cannot be written.
    pub fn new(mut out: W, every: usize) -> io::Result<Self> {
        // The version of the format.
        write_record(&mut out, &event().text(3, "brain.Event:2").into_bytes())?;
        Ok(TensorBoard { out, every: every.max(1), validation: None, failed: None })
    }

    /// Returns the writer.
    ///
    /// # Errors
    /// The first error in writing.
    pub fn finish(self) -> io::Result<W> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.out),
        }
    }

    fn write(&mut self, step: &Step<'_>, log: bool) -> io::Result<()> {
        // `Summary.Value`: a tag and a number.
        let value = |tag: &str, number: f64| Message::default().text(1, tag).float(2, number as f32);
        let mut summary = Message::default();
        if log {
            summary = summary.message(1, value("loss/training", step.loss));
            for (name, &part) in step.part_names.iter().zip(step.parts) {
                summary = summary.message(1, value(&format!("part/{name}"), part));
            }
        }
        if let Some(validation) = step.validation.filter(|_| step.validation != self.validation) {
            self.validation = step.validation;
            summary = summary.message(1, value("loss/validation", validation));
        } else if !log {
            return Ok(());
        }
        let event = event().int(2, step.step as i64 + 1).message(5, summary);
        write_record(&mut self.out, &event.into_bytes())
    }
}

impl<W: Write> Observer for TensorBoard<W> {
    fn step(&mut self, step: &Step<'_>) -> ControlFlow<()> {
        let done = step.step + 1;
        if self.failed.is_none() {
            let log = done.is_multiple_of(self.every) || done == step.steps;
            self.failed = self.write(step, log).err();
        }
        ControlFlow::Continue(())
    }
}

/// An `Event` with the present time.
fn event() -> Message {
    Message::default().double(1, wall_time())
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// A record of the [TFRecord format](https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details):
/// its length, the checksum of the length, the bytes, and their checksum, in one write.
fn write_record(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(bytes.len() + 16);
    record.extend(length);
    record.extend(masked(crc32c(&length)).to_le_bytes());
    record.extend(bytes);
    record.extend(masked(crc32c(bytes)).to_le_bytes());
    out.write_all(&record)?;
    out.flush()
}

/// CRC-32C (Castagnoli), bit by bit: events are short.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    })
}

/// A checksum that is stored beside the bytes it is of.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

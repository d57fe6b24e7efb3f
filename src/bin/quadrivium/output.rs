//! Rows that go out.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;
use quadrivium::data::{CsvWriter, NpyNumber, NpyWriter};
use quadrivium::ndarray::ArrayView2;

use crate::failure::{Failure, Outcome, of_writing};

/// Where rows go, and how they are written.
#[derive(clap::Args)]
pub struct Output {
    /// File for the result; "-" is standard output.
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// How to write it. Default: NPY for a file that ends in .npy, else CSV.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Csv,
    Npy,
}

/// Numbers that either format takes.
pub trait Number: NpyNumber + Into<f64> + fmt::Display + fmt::LowerExp {}

impl Number for f32 {}
impl Number for f64 {}

impl Output {
    fn is_stdout(&self) -> bool {
        self.output == Path::new("-")
    }

    fn name(&self) -> String {
        if self.is_stdout() { "standard output".into() } else { self.output.display().to_string() }
    }

    fn format(&self) -> Format {
        let npy = self.output.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy"));
        self.format.unwrap_or(if npy { Format::Npy } else { Format::Csv })
    }

    /// Opens it for rows of these columns; their number, where it is known in advance.
    ///
    /// A file takes its name only when all is written: what had that name until then may be the input, and is
    /// kept if anything goes wrong.
    pub fn create<T: Number>(&self, names: &[&str], rows: Option<u64>) -> Outcome<Rows<T>> {
        let (format, name) = (self.format(), self.name());
        if format == Format::Npy && rows.is_none() && self.is_stdout() {
            let message = "NPY begins with the number of rows, which this input does not tell in advance: \
                           name a file by -o, or write CSV";
            return Err(Failure::Usage(message.into()));
        }
        let (file, target) = match self.is_stdout() {
            true => (None, None),
            false => {
                let (file, temporary) = create(&self.output).map_err(|error| of_writing(&name, error))?;
                (Some(BufWriter::with_capacity(BUFFER, file)), Some((temporary, self.output.clone())))
            }
        };
        let opened = match (format, rows, file) {
            (Format::Npy, None, Some(file)) => NpyWriter::new(file, 0, names.len()).map(Writer::Counted),
            (Format::Npy, rows, file) => {
                NpyWriter::new(boxed(file), rows.unwrap_or(0), names.len()).map(Writer::Npy)
            }
            (Format::Csv, _, file) => CsvWriter::new(boxed(file), names).map(Writer::Csv),
        };
        let writer = opened.map_err(|error| of_writing(&name, error))?;
        Ok(Rows { writer: Some(writer), name, target })
    }
}

const BUFFER: usize = 1 << 16;

fn boxed(file: Option<BufWriter<File>>) -> Box<dyn Write> {
    match file {
        Some(file) => Box::new(file),
        None => Box::new(BufWriter::with_capacity(BUFFER, io::stdout())),
    }
}

/// Refuses a path that cannot become a file.
pub fn in_a_folder(path: &Path) -> Outcome<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) || path.is_dir() {
        let message = format!("{}: expected the name of a file in a folder that exists", path.display());
        return Err(Failure::Operation(message));
    }
    Ok(())
}

/// Refuses one file for two things, of which the later would destroy the earlier.
pub fn distinct(data: Option<&Path>, files: &[(&str, &Path)]) -> Outcome<()> {
    let mut seen: Vec<(&str, PathBuf)> = data.map(|path| ("the rows", resolved(path))).into_iter().collect();
    for &(what, path) in files {
        // A device, such as the null device, keeps nothing.
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            continue;
        }
        let file = resolved(path);
        if let Some((other, _)) = seen.iter().find(|(_, other)| *other == file) {
            let message = format!("{}: one file for {other} and for {what}", path.display());
            return Err(Failure::Usage(message));
        }
        seen.push((what, file));
    }
    Ok(())
}

/// The path without links and dots, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(path) = fs::canonicalize(path) {
        return path;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs::canonicalize(folder), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// A text to a file, which takes its name only when all is written; "-" is standard output.
pub fn write_text(path: &Path, text: &str) -> Outcome<()> {
    let written = match path == Path::new("-") {
        true => io::stdout().write_all(text.as_bytes()),
        false => create(path).and_then(|(mut file, temporary)| {
            file.write_all(text.as_bytes())?;
            temporary.map_or(Ok(()), |temporary| fs::rename(temporary, path))
        }),
    };
    written.map_err(|error| {
        remove_unfinished();
        of_writing(path.display(), error)
    })
}

/// A new file that shall become `path`, and its name until then; a device is written to as it is.
fn create(path: &Path) -> io::Result<(File, Option<PathBuf>)> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Ok((File::options().write(true).open(path)?, None));
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let file = File::options().write(true).create_new(true).open(&temporary)?;
    *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) = Some(temporary.clone());
    Ok((file, Some(temporary)))
}

/// The one file that has no name of its own yet.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Before an end of the program that drops nothing.
pub fn remove_unfinished() {
    if let Some(path) = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // It may have got its name by now.
        let _ = fs::remove_file(path);
    }
}

enum Writer<T> {
    Csv(CsvWriter<Box<dyn Write>>),
    Npy(NpyWriter<Box<dyn Write>, T>),
    Counted(NpyWriter<BufWriter<File>, T>),
}

/// Rows on their way out.
pub struct Rows<T> {
    /// None once it is finished.
    writer: Option<Writer<T>>,
    name: String,
    /// The name until all is written, if there is one, and the name then.
    target: Option<(Option<PathBuf>, PathBuf)>,
}

impl<T: Number> Rows<T> {
    /// Writes the rows of x.
    pub fn write(&mut self, x: ArrayView2<T>) -> Outcome<()> {
        let x = x.as_standard_layout();
        let numbers = x.as_slice().expect("standard layout");
        let written = match self.writer.as_mut().expect("not finished") {
            Writer::Csv(writer) => writer.rows(x.view()),
            Writer::Npy(writer) => writer.write(numbers),
            Writer::Counted(writer) => writer.write(numbers),
        };
        written.map_err(|error| of_writing(&self.name, error))
    }

    /// All rows are written.
    pub fn finish(mut self) -> Outcome<()> {
        let finished = match self.writer.take().expect("not finished") {
            Writer::Csv(writer) => writer.finish().map(drop),
            Writer::Npy(writer) => writer.finish().map(drop),
            Writer::Counted(writer) => writer.finish_counted().map(drop),
        };
        let renamed = finished.and_then(|()| match &self.target {
            Some((Some(temporary), path)) => fs::rename(temporary, path),
            _ => Ok(()),
        });
        renamed.map_err(|error| of_writing(&self.name, error))?;
        self.target = None;
        Ok(())
    }
}

impl<T> Drop for Rows<T> {
    fn drop(&mut self) {
        if let Some((Some(temporary), _)) = &self.target {
            // What went wrong has been told.
            let _ = fs::remove_file(temporary);
        }
    }
}

//! Writing rows.

use std::fmt;
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use quadrivium::file::NewFile;
use quadrivium::ndarray::ArrayView2;
use quadrivium::tables::{Cells, CsvWriter, NpyNumber, NpyWriter};
#[cfg(feature = "arrow")]
use quadrivium::tables::{ParquetNumber, ParquetWriter};

use crate::failure::{Failure, Outcome, of_writing};

/// Where rows go, and how they are written.
#[derive(clap::Args)]
pub struct Output {
    /// File for the result; "-" is standard output.
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Format of the output. Default: NPY for a file name that ends in .npy, Parquet for one in .parquet if the program
    /// is built with it, otherwise CSV.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Csv,
    Npy,
    #[cfg(feature = "arrow")]
    Parquet,
}

/// Numbers that all formats accept.
#[cfg(not(feature = "arrow"))]
pub trait Number: NpyNumber + Into<f64> + fmt::Display + fmt::LowerExp {}
/// Numbers that all formats accept.
#[cfg(feature = "arrow")]
pub trait Number: NpyNumber + ParquetNumber + fmt::Display + fmt::LowerExp {}

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
        let ends_in =
            |end| self.output.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(end));
        self.format.unwrap_or(match () {
            () if ends_in("npy") => Format::Npy,
            #[cfg(feature = "arrow")]
            () if ends_in("parquet") => Format::Parquet,
            () => Format::Csv,
        })
    }

    /// The file, unless it is standard output.
    pub fn path(&self) -> Option<&Path> {
        (!self.is_stdout()).then_some(self.output.as_path())
    }

    /// Where the result goes; "-" is standard output.
    pub fn target(&self) -> &Path {
        &self.output
    }

    /// Whether a format was asked for.
    pub fn has_format(&self) -> bool {
        self.format.is_some()
    }

    /// Opens the output for rows of these columns; `rows` is their number, if it is known in advance. A file takes
    /// its name only when everything is written.
    pub fn create<T: Number>(&self, names: &[&str], rows: Option<u64>) -> Outcome<Rows<T>> {
        let numbers = vec![Cells::Numbers; names.len()];
        self.create_as(names, rows, numbers, || Ok(vec![false; names.len()]))
    }

    /// [`create`](Output::create) for numbers of which some stand for labels or gaps and are written as these. A format that
    /// has a type of its own for whole numbers asks for the columns that hold nothing else.
    pub fn create_as<T: Number>(
        &self,
        names: &[&str],
        rows: Option<u64>,
        cells: Vec<Cells>,
        whole: impl FnOnce() -> Outcome<Vec<bool>>,
    ) -> Outcome<Rows<T>> {
        let numbers = cells.iter().all(Cells::are_numbers);
        if !numbers && self.format() == Format::Npy {
            let message = "NPY holds numbers, and columns of the model hold labels or gaps: write CSV";
            return Err(Failure::Usage(message.into()));
        }
        let (format, name) = (self.format(), self.name());
        if format == Format::Npy && rows.is_none() && self.is_stdout() {
            let message = "NPY starts with the number of rows, which is not known in advance for this input: \
                           write to a file with -o, or write CSV";
            return Err(Failure::Usage(message.into()));
        }
        let sink = match self.path() {
            None => Sink::Stdout(BufWriter::with_capacity(BUFFER, io::stdout())),
            Some(path) => {
                let file = NewFile::create(path).map_err(|error| of_writing(&name, error))?;
                Sink::File(BufWriter::with_capacity(BUFFER, file))
            }
        };
        let opened = match (format, rows, sink) {
            (Format::Npy, None, Sink::File(file)) => {
                NpyWriter::new(file, 0, names.len()).map(Writer::Counted)
            }
            (Format::Npy, rows, sink) => {
                NpyWriter::new(sink, rows.unwrap_or(0), names.len()).map(Writer::Npy)
            }
            (Format::Csv, _, sink) => CsvWriter::new(sink, names).map(Writer::Csv),
            #[cfg(feature = "arrow")]
            (Format::Parquet, _, sink) => ParquetWriter::new(sink, names, &cells, &whole()?)
                .map(|writer| Writer::Parquet(Box::new(writer))),
        };
        // Only Parquet has a type of its own for whole numbers.
        #[cfg(not(feature = "arrow"))]
        let _ = whole;
        let writer = opened.map_err(|error| of_writing(&name, error))?;
        Ok(Rows { writer, name, cells: if numbers { Vec::new() } else { cells } })
    }
}

const BUFFER: usize = 1 << 16;

/// The target of the rows.
enum Sink {
    Stdout(BufWriter<Stdout>),
    File(BufWriter<NewFile>),
}

impl Sink {
    /// Finishes the output when everything is written.
    fn finish(self) -> io::Result<()> {
        match self {
            Sink::Stdout(mut stdout) => stdout.flush(),
            Sink::File(file) => file.into_inner().map_err(io::IntoInnerError::into_error)?.finish(),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Stdout(stdout) => stdout.write(bytes),
            Sink::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Stdout(stdout) => stdout.flush(),
            Sink::File(file) => file.flush(),
        }
    }
}

enum Writer<T> {
    Csv(CsvWriter<Sink>),
    Npy(NpyWriter<Sink, T>),
    Counted(NpyWriter<BufWriter<NewFile>, T>),
    #[cfg(feature = "arrow")]
    Parquet(Box<ParquetWriter<Sink, T>>),
}

/// Rows that are being written.
pub struct Rows<T> {
    writer: Writer<T>,
    name: String,
    /// What the numbers of the columns stand for; empty if for themselves.
    cells: Vec<Cells>,
}

impl<T: Number> Rows<T> {
    /// Writes the rows of x.
    pub fn write(&mut self, x: ArrayView2<T>) -> Outcome<()> {
        let x = x.as_standard_layout();
        let numbers = x.as_slice().expect("standard layout");
        let written = match &mut self.writer {
            Writer::Csv(writer) => writer.rows_as(x.view(), &self.cells),
            Writer::Npy(writer) => writer.write(numbers),
            Writer::Counted(writer) => writer.write(numbers),
            #[cfg(feature = "arrow")]
            Writer::Parquet(writer) => writer.rows(x.view()),
        };
        written.map_err(|error| of_writing(&self.name, error))
    }

    /// Finishes the output when all rows are written.
    pub fn finish(self) -> Outcome<()> {
        let finished = match self.writer {
            Writer::Csv(writer) => writer.finish().and_then(Sink::finish),
            Writer::Npy(writer) => writer.finish().and_then(Sink::finish),
            Writer::Counted(writer) => writer.finish_counted().and_then(|file| Sink::File(file).finish()),
            #[cfg(feature = "arrow")]
            Writer::Parquet(writer) => writer.finish().and_then(Sink::finish),
        };
        finished.map_err(|error| of_writing(&self.name, error))
    }
}

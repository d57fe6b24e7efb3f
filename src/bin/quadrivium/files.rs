//! Files that the program writes: which paths it takes, and that they are written whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use quadrivium::file::NewFile;

use crate::failure::{Failure, Outcome, of_writing};

/// Refuses a path that cannot become a file.
pub fn in_a_folder(path: &Path) -> Outcome<()> {
    if !folder(path).is_dir() || path.is_dir() {
        let message = format!("{}: expected the name of a file in a folder that exists", path.display());
        return Err(Failure::Operation(message));
    }
    Ok(())
}

/// Refuses before the work a file that could not be written after it: makes what it would be, and drops it.
pub fn writable(path: &Path) -> Outcome<()> {
    in_a_folder(path)?;
    if is_stream(path) {
        return Ok(());
    }
    NewFile::create(path).map(drop).map_err(|error| of_writing(path.display(), error))
}

/// Refuses one file for two things, of which the later would destroy the earlier: what is read, and what is
/// written; under whatever names.
pub fn distinct(read: &[(&'static str, Option<&Path>)], written: &[(&'static str, &Path)]) -> Outcome<()> {
    let read = read.iter().filter_map(|&(what, path)| Some((what, Place::of(path?))));
    let mut seen: Vec<(&str, Place)> = read.collect();
    for &(what, path) in written {
        // A device, such as the null device, keeps nothing.
        if is_stream(path) {
            continue;
        }
        let place = Place::of(path);
        if let Some((other, _)) = seen.iter().find(|(_, other)| place.is(other)) {
            let message = format!("{}: one file for {other} and for {what}", path.display());
            return Err(Failure::Usage(message));
        }
        seen.push((what, place));
    }
    Ok(())
}

/// Where a file is.
struct Place {
    /// Without links and dots, as far as it exists.
    path: PathBuf,
    /// Disk and number of the file, which all its names share.
    number: Option<(u64, u64)>,
}

impl Place {
    fn of(path: &Path) -> Self {
        Place { path: resolved(path), number: fs::metadata(path).ok().and_then(number) }
    }

    fn is(&self, other: &Place) -> bool {
        self.path == other.path || self.number.is_some() && self.number == other.number
    }
}

#[cfg(unix)]
fn number(found: fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn number(_: fs::Metadata) -> Option<(u64, u64)> {
    None
}

/// Whether it is there and no regular file: a device or a pipe, written to as it is.
fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file())
}

/// The path without links and dots, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let path = end_of_links(path).unwrap_or(path.to_owned());
    match (fs::canonicalize(folder(&path)), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

/// Where a link leads, and links behind it, whether or not anything is there.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    // As many as Linux follows.
    for _ in 0..40 {
        let Ok(next) = fs::read_link(&path) else { return Ok(path) };
        path = folder(&path).join(next);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "a circle of links"))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A text to a file, which takes its name only when all is written; "-" is standard output.
pub fn write_text(path: &Path, text: &str) -> Outcome<()> {
    let written = match path == Path::new("-") {
        true => io::stdout().write_all(text.as_bytes()),
        false => create(path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.finish()
        }),
    };
    written.map_err(|error| of_writing(path.display(), error))
}

/// A new file that [`remove_unfinished`] knows.
pub fn create(path: &Path) -> io::Result<NewFile> {
    let file = NewFile::create(path)?;
    *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) = file.temporary().map(Path::to_owned);
    Ok(file)
}

/// The one file that may have no name of its own yet.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Before an end of the program that drops nothing.
pub fn remove_unfinished() {
    if let Some(path) = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // It may have got its name by now.
        let _ = fs::remove_file(path);
    }
}

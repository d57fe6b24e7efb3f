//! Files that the program writes: which paths it takes, and that they are written whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use quadrivium::file::{NewFile, end_of_links};

use crate::failure::{Failure, Outcome, of_writing};

/// Refuses a path that cannot become a file.
pub fn in_a_folder(path: &Path) -> Outcome<()> {
    if !folder(path).is_dir() || path.is_dir() {
        let message = format!("{}: expected a file name in an existing folder", path.display());
        return Err(Failure::Operation(message));
    }
    Ok(())
}

/// Refuses, before the work, a file that could not be written after it, by creating it and dropping it unfinished.
pub fn writable(path: &Path) -> Outcome<()> {
    in_a_folder(path)?;
    if is_stream(path) {
        return Ok(());
    }
    NewFile::create(path).map(drop).map_err(|error| of_writing(path.display(), error))
}

/// Refuses the same file, even under different names, for two purposes of which one would destroy the other. A file
/// may be read more than once, but not read and written.
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
            let message = format!("{}: given both for {other} and for {what}", path.display());
            return Err(Failure::Usage(message));
        }
        seen.push((what, place));
    }
    Ok(())
}

/// The identity of a file.
struct Place {
    /// The path without links and dots, as far as it exists.
    path: PathBuf,
    /// Device and inode of the file, which all its names share.
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

/// Whether it exists and is not a regular file, but a device or a pipe, which is written to directly.
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

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a text to a file, which gets its name only when everything is written; "-" is standard output.
pub fn write_text(path: &Path, text: &str) -> Outcome<()> {
    let written = match path == Path::new("-") {
        true => io::stdout().write_all(text.as_bytes()),
        false => NewFile::create(path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.finish()
        }),
    };
    written.map_err(|error| of_writing(path.display(), error))
}

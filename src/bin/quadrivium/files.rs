//! Files that the program writes: which paths it takes, and that they are written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, PoisonError};

use crate::failure::{Failure, Outcome, of_writing};

/// Refuses a path that cannot become a file.
pub fn in_a_folder(path: &Path) -> Outcome<()> {
    if !folder(path).is_dir() || path.is_dir() {
        let message = format!("{}: expected the name of a file in a folder that exists", path.display());
        return Err(Failure::Operation(message));
    }
    Ok(())
}

/// Refuses before the work a file that the library could not write after it: tries the name that it has until it
/// is whole.
pub fn writable(path: &Path) -> Outcome<()> {
    in_a_folder(path)?;
    if is_stream(path) {
        return Ok(());
    }
    let tried = end_of_links(path).and_then(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = folder(&path).join(format!(".{name}.{}-0.tmp", process::id()));
        File::create_new(&temporary).and_then(|_| fs::remove_file(&temporary))
    });
    tried.map_err(|error| of_writing(path.display(), error))
}

/// Refuses one file for two things, of which the later would destroy the earlier: what is read, and what is
/// written.
pub fn distinct(read: &[(&'static str, Option<&Path>)], written: &[(&'static str, &Path)]) -> Outcome<()> {
    let read = read.iter().filter_map(|&(what, path)| Some((what, resolved(path?))));
    let mut seen: Vec<(&str, PathBuf)> = read.collect();
    for &(what, path) in written {
        // A device, such as the null device, keeps nothing.
        if is_stream(path) {
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
        false => Whole::create(path).and_then(|(mut file, whole)| {
            file.write_all(text.as_bytes())?;
            whole.finish()
        }),
    };
    written.map_err(|error| of_writing(path.display(), error))
}

/// A file that takes its name when it is whole. Until then what has that name, which may be the input, stays; and
/// for good if this is dropped.
pub struct Whole {
    /// The name until then and the name then. None for a device or a pipe.
    names: Option<(PathBuf, PathBuf)>,
}

impl Whole {
    /// The new file, to be written to. A link stays one, and what it leads to is replaced; the permissions are
    /// those of the file that is replaced.
    pub fn create(path: &Path) -> io::Result<(File, Whole)> {
        let old = fs::metadata(path).ok();
        if is_stream(path) {
            return Ok((File::options().write(true).open(path)?, Whole { names: None }));
        }
        let path = end_of_links(path)?;
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.tmp", process::id()));
        let temporary = PathBuf::from(temporary);
        let file = File::create_new(&temporary)?;
        *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) = Some(temporary.clone());
        let whole = Whole { names: Some((temporary, path)) };
        if let Some(old) = old {
            file.set_permissions(old.permissions())?;
        }
        Ok((file, whole))
    }

    /// All is written.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some((temporary, path)) = &self.names {
            fs::rename(temporary, path)?;
        }
        self.names = None;
        Ok(())
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.names {
            // What went wrong has been told.
            let _ = fs::remove_file(temporary);
        }
    }
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

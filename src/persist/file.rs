use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::format::extent;
use crate::error::{Error, Result};

/// `bytes` under `path`: all of them, or what was there before.
///
/// They go to a new file in the same folder, reach the disk, and take the name: a crash leaves the old file
/// or the new one, never a part.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let named = |source| Error::Io { path: path.display().to_string(), source };
    let temporary = beside(path).map_err(named)?;
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // It may not exist; what went wrong is the error above.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(named)?;
    // The name is on the disk when its folder is. Only Unix opens folders.
    #[cfg(unix)]
    File::open(folder(path)).and_then(|folder| folder.sync_all()).map_err(named)?;
    Ok(())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name that no other writer takes: of this process, and the next of its numbers.
fn beside(path: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
    };
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}-{number}.tmp", std::process::id()));
    Ok(folder(path).join(hidden))
}

/// The bytes of a model's file, and no more than one byte beyond what its header announces: a file of another
/// kind, or an endless one, is not read through.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let named = |source| Error::Io { path: path.display().to_string(), source };
    let file = File::open(path).map_err(named)?;
    let mut bytes = Vec::new();
    loop {
        let (missing, last) = match extent(&bytes)? {
            Err(missing) => (missing, false),
            // One more shows whether the file goes on.
            Ok(end) => ((end - bytes.len() as u64).saturating_add(1), true),
        };
        let got = (&file).take(missing).read_to_end(&mut bytes).map_err(named)?;
        // What ends too early is told from the bytes.
        if last || (got as u64) < missing {
            return Ok(bytes);
        }
    }
}

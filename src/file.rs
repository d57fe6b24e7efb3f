//! What all files of this crate share: they are written whole or not at all, and a digest tells a damaged one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// `bytes` under `path`: all of them, or what was there before.
///
/// They go to a new file in the same folder, reach the disk, and take the name: a crash leaves the old file
/// or the new one, never a part.
#[cfg(feature = "safetensors")]
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // A name that no other writer takes: of this process, and the next of its numbers.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    write_by(path, &format!("{}-{number}.tmp", std::process::id()), bytes)
}

/// The same for a file that has one writer, who may be killed: the new file has one name, so that what a kill
/// leaves of it is written over.
pub(crate) fn write_again(path: &Path, bytes: &[u8]) -> Result<()> {
    write_by(path, "tmp", bytes)
}

fn write_by(path: &Path, ending: &str, bytes: &[u8]) -> Result<()> {
    let named = |source| Error::Io { path: path.display().to_string(), source };
    let temporary = beside(path, ending).map_err(named)?;
    let written = (|| {
        let mut file = File::create(&temporary)?;
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

/// A hidden name in the same folder.
fn beside(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(ending);
    Ok(folder(path).join(hidden))
}

/// FNV-1a, 64 bits. Each step is a bijection of the sum so far, so a change of one byte is always seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) fn new() -> Self {
        Digest(0xCBF2_9CE4_8422_2325)
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    pub(crate) fn sum(self) -> u64 {
        self.0
    }
}

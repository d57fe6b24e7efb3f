//! What all files of this crate share: they are written whole or not at all, and a digest tells a damaged one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// `bytes` under `path`: all of them, or what was there before.
///
/// They go to a new file in the same folder, reach the disk, and take the name: a crash leaves the old file
/// or the new one, never a part. A link stays one, and what it leads to is replaced; the new file has the
/// permissions of the old one. What exists and is no regular file (a pipe, a device) is written to as it is.
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
    let old = fs::metadata(path).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        let written = File::options().write(true).open(path).and_then(|mut file| file.write_all(bytes));
        return written.map_err(named);
    }
    let path = end_of_links(path).map_err(named)?;
    let temporary = beside(&path, ending).map_err(named)?;
    let written = (|| {
        let mut file = File::create(&temporary)?;
        if let Some(old) = old {
            // Before the bytes: nobody who may not read the old ones reads these.
            file.set_permissions(old.permissions())?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    })();
    if written.is_err() {
        // It may not exist; what went wrong is the error above.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(named)?;
    // The name is on the disk when its folder is. Only Unix opens folders.
    #[cfg(unix)]
    File::open(folder(&path)).and_then(|folder| folder.sync_all()).map_err(named)?;
    Ok(())
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

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("quadrivium-file-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn a_link_stays_one_and_permissions_stay() {
        let folder = Folder::new("link");
        let [target, link, second, loose] =
            ["target", "link", "second", "loose"].map(|name| folder.0.join(name));
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        symlink("target", &link).unwrap();
        symlink(&link, &second).unwrap();
        write_again(&second, b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(link.is_symlink() && second.is_symlink());
        // Where nothing is yet.
        symlink("later", &loose).unwrap();
        write_again(&loose, b"new").unwrap();
        assert!(loose.is_symlink() && folder.0.join("later").is_file());
        // Nowhere at all.
        symlink("circle", folder.0.join("circle")).unwrap();
        assert!(write_again(&folder.0.join("circle"), b"new").is_err());
    }

    #[test]
    fn a_pipe_is_written_to_and_stays() {
        let folder = Folder::new("pipe");
        let pipe = folder.0.join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        write_again(&pipe, b"bytes").unwrap();
        assert_eq!(reader.join().unwrap(), b"bytes");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    }
}

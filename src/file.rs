//! Files that are written whole or not at all.

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, FileError};

/// A file that gets its name only when it is complete. Until then, and for good if this value is dropped, an existing
/// file of that name is unchanged.
///
/// The bytes go to a new file with a hidden name in the same folder. [`finish`](NewFile::finish) waits until they are
/// on the disk, and then renames the file: a crash leaves the old file or the new one, never a part. If the path is a
/// link, its target is replaced. The new file has the permissions of the old one. An existing path that is not a
/// regular file (a pipe, a device) is written to directly.
///
/// The hidden name is random and is never the name of an existing file, so nobody can plant a link there. A file that
/// a killed program left under such a name is removed when the same path is written again. A lock distinguishes it
/// from the file of a writer that is still running.
///
/// ```
/// use quadrivium::file::NewFile;
/// use std::io::Write;
///
/// let path = std::env::temp_dir().join("quadrivium-rows.csv");
/// let mut file = NewFile::create(&path)?;
/// file.write_all(b"1,2\n")?;
/// assert!(!path.exists());
/// file.finish()?;
/// assert_eq!(std::fs::read(&path)?, b"1,2\n");
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// The hidden name and the final name. None for a device or a pipe.
    names: Option<(PathBuf, PathBuf)>,
}

impl NewFile {
    /// Creates an empty new file for `path`.
    ///
    /// # Errors
    /// If the folder cannot be written, or `path` is not the name of a file.
    pub fn create(path: &Path) -> io::Result<NewFile> {
        let old = fs::metadata(path).ok();
        if old.as_ref().is_some_and(|old| !old.is_file()) {
            return Ok(NewFile { file: File::options().write(true).open(path)?, names: None });
        }
        let path = end_of_links(path)?;
        let stem = hidden_stem(&path)?;
        remove_stale(&path, &stem);
        let (file, temporary) = create_hidden(&path, &stem)?;
        unfinished().push(temporary.clone());
        let new = NewFile { file, names: Some((temporary, path)) };
        if let Some(old) = old {
            // Before any bytes, so that nobody who may not read the old file can read the new one.
            new.file.set_permissions(old.permissions())?;
        }
        Ok(new)
    }

    /// Gives the complete file its name.
    ///
    /// # Errors
    /// If the bytes do not reach the disk, or the file cannot be renamed. The old file is then unchanged.
    pub fn finish(self) -> io::Result<()> {
        self.finish_keeping(None).map(drop)
    }

    /// As [`finish`](NewFile::finish), but the old file is kept under the name `kept`, if the file system has hard
    /// links. Returns the file, still locked.
    pub(crate) fn finish_keeping(mut self, kept: Option<&Path>) -> io::Result<Locked> {
        if let Some((temporary, path)) = &self.names {
            self.file.sync_all()?;
            if let Some(kept) = kept {
                // A second name for the old file, so that it never loses the first in between.
                let _ = fs::remove_file(kept);
                let _ = fs::hard_link(path, kept);
            }
            fs::rename(temporary, path)?;
            unfinished().retain(|other| other != temporary);
            // The name is on the disk once its folder is. Only Unix can open folders.
            #[cfg(unix)]
            let synced = File::open(folder(path)).and_then(|folder| folder.sync_all());
            self.names = None;
            #[cfg(unix)]
            synced?;
        }
        self.file.try_clone().map(Locked)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.names {
            // The error has already been reported.
            let _ = fs::remove_file(temporary);
            unfinished().retain(|other| other != temporary);
        }
    }
}

/// Removes the unfinished files of this process.
///
/// A [`NewFile`] that is dropped removes its own file. This function is for a program that is about to end without
/// dropping anything, as with [`std::process::exit`] in a signal handler. Files that are unfinished now can no longer
/// be finished.
pub fn remove_unfinished() {
    for temporary in unfinished().drain(..) {
        // The file may have its final name by now.
        let _ = fs::remove_file(temporary);
    }
}

/// The hidden names of this process's unfinished files.
fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is locked as long as this value lives, on Unix and if the file system has locks.
///
/// Closing the file would not be enough: a process that another thread is just starting holds a copy of it, and with
/// it the lock, until it runs its own program.
#[derive(Debug)]
pub(crate) struct Locked(File);

impl Locked {
    /// `None` if another process has locked it. A locked file can only be replaced on Unix, so it stays unlocked on
    /// other systems.
    pub(crate) fn new(file: File) -> Option<Self> {
        let taken = cfg!(unix) && matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        (!taken).then_some(Locked(file))
    }
}

impl std::ops::Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // If it cannot be unlocked, closing it has to suffice.
        let _ = self.0.unlock();
    }
}

/// Writes `bytes` to `path` as a [`NewFile`].
#[cfg(any(feature = "onnx", feature = "safetensors"))]
pub(crate) fn write(path: &Path, bytes: &[u8]) -> crate::error::Result<()> {
    let written = NewFile::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.finish()
    });
    written.map_err(named(path))
}

/// The error for a file.
pub(crate) fn named(path: &Path) -> impl FnOnce(io::Error) -> Error {
    |source| Error::File(FileError::Io { path: path.display().to_string(), source })
}

/// The end of a hidden name.
const ENDING: &str = ".tmp";

/// The beginning of a file's hidden names.
fn hidden_stem(path: &Path) -> io::Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    match (name, path.file_name()) {
        (Some(name), _) => Ok(format!(".{name}.")),
        // The hidden names of a file whose name is not Unicode do not contain that name.
        (None, Some(_)) => Ok(".quadrivium.".into()),
        (None, None) => Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file")),
    }
}

/// A new, locked file under a hidden name that does not exist yet.
fn create_hidden(path: &Path, stem: &str) -> io::Result<(File, PathBuf)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        // The keys of a hasher are random; in a container, a process number is not.
        let random = RandomState::new().hash_one(NEXT.fetch_add(1, Ordering::Relaxed));
        let temporary = folder(path).join(format!("{stem}{random:016x}{ENDING}"));
        let file = match File::create_new(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            created => created?,
        };
        // Another writer may have mistaken it for a stale file before it was locked.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) || !temporary.exists() {
            continue;
        }
        return Ok((file, temporary));
    }
}

/// Removes hidden files of `path` whose writer is gone. Files that cannot be removed do no harm.
fn remove_stale(path: &Path, stem: &str) {
    let Ok(entries) = fs::read_dir(folder(path)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let middle = name.to_str().and_then(|name| name.strip_prefix(stem)?.strip_suffix(ENDING));
        let ours = middle.is_some_and(|middle| middle.len() == 16 && u64::from_str_radix(middle, 16).is_ok());
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        if let Ok(file) = File::options().write(true).open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The target of a link, or of a chain of links, whether or not it exists: the file that [`NewFile`] replaces.
///
/// # Errors
/// If the links form a circle.
pub fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    // The number of links that Linux follows.
    for _ in 0..40 {
        let Ok(next) = fs::read_link(&path) else { return Ok(path) };
        path = folder(&path).join(next);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "a circle of links"))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
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

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = NewFile::create(path)?;
        file.write_all(bytes)?;
        file.finish()
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
        write(&second, b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(link.is_symlink() && second.is_symlink());
        // A link to a file that does not exist yet.
        symlink("later", &loose).unwrap();
        write(&loose, b"new").unwrap();
        assert!(loose.is_symlink() && folder.0.join("later").is_file());
        // A circle of links, and paths that do not name a file.
        symlink("circle", folder.0.join("circle")).unwrap();
        assert!(write(&folder.0.join("circle"), b"new").is_err());
        assert!(write(Path::new("/"), b"new").is_err() && write(Path::new(".."), b"new").is_err());
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
        write(&pipe, b"bytes").unwrap();
        assert_eq!(reader.join().unwrap(), b"bytes");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_nothing_else() {
        let folder = Folder::new("stale");
        let [path, other, elsewhere] = ["m.st", "n.st", "elsewhere"].map(|name| folder.0.join(name));
        let alive = NewFile::create(&path).unwrap();
        let [of_alive] = &folder.names()[..] else { panic!("{:?}", folder.names()) };
        for stale in [".m.st.00000000000000a1.tmp", ".n.st.00000000000000a1.tmp", ".m.st.mine.tmp"] {
            fs::write(folder.0.join(stale), "part").unwrap();
        }
        // A link that was planted under such a name is not a file of this crate.
        fs::write(&elsewhere, "safe").unwrap();
        symlink(&elsewhere, folder.0.join(".m.st.00000000000000b2.tmp")).unwrap();
        write(&path, b"new").unwrap();
        let link = ".m.st.00000000000000b2.tmp";
        let mut left =
            [of_alive.as_str(), link, ".m.st.mine.tmp", ".n.st.00000000000000a1.tmp", "elsewhere", "m.st"];
        left.sort();
        assert_eq!(folder.names(), left);
        assert_eq!(fs::read(&elsewhere).unwrap(), b"safe");
        write(&other, b"new").unwrap();
        assert!(!folder.0.join(".n.st.00000000000000a1.tmp").exists());
        // The other writer finishes undisturbed.
        alive.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn what_is_dropped_leaves_nothing() {
        let folder = Folder::new("dropped");
        let path = folder.0.join("m.st");
        fs::write(&path, "old").unwrap();
        let mut file = NewFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        drop(file);
        assert_eq!((folder.names(), fs::read(&path).unwrap()), (vec!["m.st".to_string()], b"old".to_vec()));
    }

    #[test]
    fn the_old_file_is_kept_under_another_name() {
        let folder = Folder::new("kept");
        let [path, kept] = ["ck", "ck.previous"].map(|name| folder.0.join(name));
        for content in ["one", "two", "three"] {
            let mut file = NewFile::create(&path).unwrap();
            file.write_all(content.as_bytes()).unwrap();
            let file = file.finish_keeping(Some(&kept)).unwrap();
            // Locked as long as the value lives.
            let again = File::open(&path).unwrap();
            assert!(matches!(again.try_lock_shared(), Err(TryLockError::WouldBlock)));
            drop(file);
            again.try_lock_shared().unwrap();
        }
        assert_eq!(
            (fs::read(&path).unwrap(), fs::read(&kept).unwrap()),
            (b"three".to_vec(), b"two".to_vec())
        );
        assert_eq!(folder.names(), ["ck", "ck.previous"]);
    }

    /// Like a process that another thread is just starting.
    #[cfg(unix)]
    #[test]
    fn a_copy_of_the_open_file_does_not_keep_it_locked() {
        let folder = Folder::new("locked");
        let path = folder.0.join("ck");
        fs::write(&path, "one").unwrap();
        let open = || File::open(&path).unwrap();
        let locked = Locked::new(open()).unwrap();
        let _copy = locked.try_clone().unwrap();
        assert!(Locked::new(open()).is_none());
        drop(locked);
        assert!(Locked::new(open()).is_some());
    }
}

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::container::extent;
use crate::error::{Error, FileError, Result};

/// The bytes of a model's file, and no more than one byte beyond what its header announces: a file of another
/// kind, or an endless one, is not read through.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let named = |source| Error::File(FileError::Io { path: path.display().to_string(), source });
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

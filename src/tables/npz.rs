//! The array in an NPZ archive: a ZIP file (APPNOTE 6.3.10) that `numpy.savez` has written.
//!
//! It is read from its start, entry by entry, so that it may come from a pipe and takes the memory of a block.

use std::io::{self, BufRead, BufReader, Read};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::reader::unreadable;
use crate::error::{Error, Result, TableError};

/// What an entry begins with.
const ENTRY: [u8; 4] = *b"PK\x03\x04";

/// A size that stands in a field of its own.
const ELSEWHERE: u32 = u32::MAX;

fn broken(what: impl Into<String>) -> Error {
    Error::Table(TableError::Npy { what: format!("its archive {}", what.into()) })
}

/// The bytes of an archive's only entry, unpacked.
pub struct Entry<R> {
    content: BufReader<Checked<R>>,
}

/// Unpacked bytes whose sum is compared with the archive's at their end.
struct Checked<R> {
    content: Content<R>,
    name: String,
    expected: u32,
    crc: Crc,
}

enum Content<R> {
    Stored(io::Take<R>),
    Deflated(DeflateDecoder<io::Take<R>>),
    /// Read to the end and found right.
    Done,
}

/// A header in front of an entry.
struct Local {
    method: u16,
    crc: u32,
    packed: u64,
    name: String,
}

impl Local {
    /// None at the end of the entries.
    fn read(reader: &mut impl Read) -> Result<Option<Self>> {
        let mut fixed = [0; 30];
        let short = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => broken("ends within a header"),
            _ => unreadable(error),
        };
        reader.read_exact(&mut fixed[..4]).map_err(short)?;
        if fixed[..4] != ENTRY {
            return Ok(None);
        }
        reader.read_exact(&mut fixed[4..]).map_err(short)?;
        let u16_at = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let (flags, method, crc, packed) = (u16_at(6), u16_at(8), u32_at(14), u32_at(18));
        let mut name = vec![0; u16_at(26).into()];
        let mut extra = vec![0; u16_at(28).into()];
        reader.read_exact(&mut name).map_err(short)?;
        reader.read_exact(&mut extra).map_err(short)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        // 1: encrypted; 8: sizes and sum come behind the content.
        if flags & 1 != 0 || flags & 8 != 0 {
            return Err(broken(format!(
                "holds {name:?} encrypted or without its size: take the .npy file out of it"
            )));
        }
        let packed = match packed {
            ELSEWHERE => {
                size_of_zip64(&extra).ok_or_else(|| broken(format!("lacks the size of {name:?}")))?
            }
            packed => packed.into(),
        };
        Ok(Some(Local { method, crc, packed, name }))
    }
}

/// The packed size in the fields behind a header: the second number of the field of kind 1.
fn size_of_zip64(mut fields: &[u8]) -> Option<u64> {
    loop {
        let (kind, rest) = fields.split_first_chunk::<2>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (field, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        if u16::from_le_bytes(*kind) == 1 {
            return Some(u64::from_le_bytes(*field.get(8..)?.first_chunk()?));
        }
        fields = rest;
    }
}

impl<R: BufRead> Entry<R> {
    /// Goes to the first entry.
    pub fn first(mut reader: R) -> Result<Self> {
        let Some(Local { method, crc, packed, name }) = Local::read(&mut reader)? else {
            return Err(broken("is empty"));
        };
        let packed = reader.take(packed);
        let content = match method {
            0 => Content::Stored(packed),
            8 => Content::Deflated(DeflateDecoder::new(packed)),
            _ => {
                return Err(broken(format!(
                    "packs {name:?} by method {method}: expected stored or deflated"
                )));
            }
        };
        let content = Checked { content, name, expected: crc, crc: Crc::new() };
        Ok(Entry { content: BufReader::with_capacity(1 << 16, content) })
    }
}

impl<R: BufRead> Checked<R> {
    /// At the end of the content: its sum is right, and no other entry follows.
    fn finish(&mut self) -> io::Result<()> {
        let packed = match std::mem::replace(&mut self.content, Content::Done) {
            Content::Stored(packed) => packed,
            Content::Deflated(decoder) => decoder.into_inner(),
            Content::Done => return Ok(()),
        };
        let invalid = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        if packed.limit() > 0 || self.crc.sum() != self.expected {
            return invalid(format!("{:?} in the archive is damaged", self.name));
        }
        match Local::read(&mut packed.into_inner()) {
            Ok(None) => Ok(()),
            Ok(Some(next)) => invalid(format!(
                "the archive holds {:?}, {:?} and maybe more arrays: save one alone",
                self.name, next.name
            )),
            Err(error) => invalid(error.to_string()),
        }
    }
}

impl<R: BufRead> Read for Checked<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.content {
            Content::Stored(packed) => packed.read(bytes)?,
            Content::Deflated(decoder) => decoder.read(bytes)?,
            Content::Done => 0,
        };
        self.crc.update(&bytes[..read]);
        if read == 0 && !bytes.is_empty() {
            self.finish()?;
        }
        Ok(read)
    }
}

impl<R: BufRead> Read for Entry<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.content.read(bytes)
    }
}

impl<R: BufRead> BufRead for Entry<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.content.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.content.consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::DeflateEncoder};
    use ndarray::array;

    use super::*;
    use crate::tables::{Header, NpyWriter, Table, TableReader};

    fn npy() -> Vec<u8> {
        let mut writer = NpyWriter::new(Vec::new(), 2, 2).unwrap();
        writer.write(&[1.0, 2.5, -3.0, 4.0f64]).unwrap();
        writer.finish().unwrap()
    }

    /// As numpy writes them: sizes in a field of their own, and a directory behind.
    fn archive(entries: &[(&str, u16, &[u8])]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (name, method, content) in entries {
            let mut crc = Crc::new();
            crc.update(content);
            let packed = match method {
                8 => {
                    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
                    encoder.write_all(content).unwrap();
                    encoder.finish().unwrap()
                }
                _ => content.to_vec(),
            };
            archive.extend(ENTRY);
            archive.extend([45, 0, 0, 0]);
            archive.extend(method.to_le_bytes());
            archive.extend([0; 4]);
            archive.extend(crc.sum().to_le_bytes());
            archive.extend([0xFF; 8]);
            archive.extend((name.len() as u16).to_le_bytes());
            archive.extend([20, 0]);
            archive.extend(name.as_bytes());
            archive.extend([1, 0, 16, 0]);
            archive.extend((content.len() as u64).to_le_bytes());
            archive.extend((packed.len() as u64).to_le_bytes());
            archive.extend(packed);
        }
        archive.extend(b"PK\x01\x02 and so on");
        archive
    }

    fn read(bytes: &[u8]) -> Result<Table> {
        TableReader::new(bytes, Header::Detect)?.table(usize::MAX)
    }

    #[test]
    fn the_only_array_is_read_stored_or_deflated() {
        for method in [0, 8] {
            let bytes = archive(&[("x.npy", method, &npy())]);
            assert_eq!(read(&bytes).unwrap().x, array![[1.0, 2.5], [-3.0, 4.0]]);
            assert_eq!(TableReader::new(&bytes[..], Header::Detect).unwrap().announced_rows(), Some(2));
            let two = archive(&[("x.npy", method, &npy()), ("y.npy", method, &npy())]);
            let message = read(&two).unwrap_err().to_string();
            assert!(message.contains("\"x.npy\", \"y.npy\" and maybe more"), "{message}");
        }
        assert!(matches!(
            read(&archive(&[("x.npy", 12, &npy())])),
            Err(Error::Table(TableError::Npy { .. }))
        ));
        assert!(read(&archive(&[])).is_err());
    }

    /// Wherever a file is cut off or a byte of it is changed, it is refused or gives the numbers that went in.
    #[test]
    fn damaged_archives_are_refused() {
        for method in [0, 8] {
            let bytes = archive(&[("x.npy", method, &npy())]);
            let content = bytes.len() - 16;
            for end in 0..content {
                assert!(read(&bytes[..end]).is_err(), "{end}");
            }
            // Behind the signature.
            for at in ENTRY.len()..content {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x11;
                if let Ok(table) = read(&damaged) {
                    assert_eq!(table.x, array![[1.0, 2.5], [-3.0, 4.0]], "{at}");
                }
            }
        }
    }
}

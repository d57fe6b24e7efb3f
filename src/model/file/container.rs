//! The container: a header in JSON that says where each array is, followed by the bytes of the arrays.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{ENTRY, bad_json, broken};
use crate::error::Result;

/// The number of bytes that hold the length of the header.
const PREFIX: usize = 8;

/// The longest header that is written or read: about 250,000 arrays. Reading takes a few times its length in memory.
const LONGEST_HEADER: u64 = 32 << 20;

/// What the header says about one array.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Where its bytes begin and end, counted from the end of the header.
    pub data_offsets: (usize, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Dtype {
    // The wider types first: all arrays stay aligned if they are written in this order.
    F64,
    F32,
}

impl Dtype {
    pub fn width(self) -> usize {
        match self {
            Dtype::F64 => 8,
            Dtype::F32 => 4,
        }
    }
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Header {
    #[serde(rename = "__metadata__")]
    pub metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    pub tensors: BTreeMap<String, Entry>,
}

// Written by hand: a derived `flatten` would buffer every value in a form that takes many times the memory, and
// would silently keep the last of two arrays with the same name.
impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a header of arrays")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                    } else {
                        let entry = map.next_value()?;
                        if header.tensors.insert(name, entry).is_some() {
                            return Err(de::Error::custom("two tensors with one name"));
                        }
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Builds the file from a header and its arrays' bytes.
pub(super) fn join(header: &Header, data: &[u8]) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec(header).map_err(bad_json)?;
    // The format asks that the data begin at a multiple of 8.
    text.resize(text.len().next_multiple_of(PREFIX), b' ');
    let len = text.len() as u64;
    if len > LONGEST_HEADER {
        return Err(broken(format!(
            "{} tensors need a header of {len} bytes: expected at most {LONGEST_HEADER}",
            header.tensors.len()
        )));
    }
    Ok([&len.to_le_bytes(), &text[..], data].concat())
}

/// Splits a whole file into its header and its data.
pub(super) fn split(bytes: &[u8]) -> Result<(Header, &[u8])> {
    let Ok(end) = extent(bytes)? else {
        return Err(broken(format!("{} bytes end within the header", bytes.len())));
    };
    let (prefix, rest) = bytes.split_first_chunk::<PREFIX>().expect("seen above");
    let (text, data) = rest.split_at(u64::from_le_bytes(*prefix) as usize);
    let header = parse(text)?;
    tile(&header.tensors, data.len(), end)?;
    Ok((header, data))
}

/// The header of a file of this crate. Another program's file may have tensors of types that this crate never
/// writes.
fn parse(text: &[u8]) -> Result<Header> {
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "__metadata__", default)]
        metadata: BTreeMap<String, String>,
    }
    let Metadata { metadata } = serde_json::from_slice(text).map_err(bad_json)?;
    if !metadata.contains_key(ENTRY) {
        return Err(broken("no metadata of this crate: another program wrote the file"));
    }
    serde_json::from_slice(text).map_err(bad_json)
}

/// The length of the whole file, from its first bytes; `Err` holds how many more bytes it takes to tell.
pub(super) fn extent(start: &[u8]) -> Result<Result<u64, u64>> {
    let Some((prefix, rest)) = start.split_first_chunk::<PREFIX>() else {
        return Ok(Err((PREFIX - start.len()) as u64));
    };
    let len = u64::from_le_bytes(*prefix);
    if len > LONGEST_HEADER {
        return Err(broken(format!(
            "the first 8 bytes announce a header of {len} bytes: expected at most {LONGEST_HEADER}"
        )));
    }
    let missing = len.saturating_sub(rest.len() as u64);
    if missing > 0 {
        return Ok(Err(missing));
    }
    let header = parse(&rest[..len as usize])?;
    let end = header.tensors.values().map(|entry| entry.data_offsets.1).max().unwrap_or(0);
    Ok(Ok((PREFIX as u64 + len).saturating_add(end as u64)))
}

/// The tensors must fill the data from end to end, each as long as its shape says.
fn tile(tensors: &BTreeMap<String, Entry>, len: usize, end: u64) -> Result<()> {
    let mut entries: Vec<_> = tensors.iter().collect();
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut at = 0;
    for (name, Entry { dtype, shape, data_offsets: (start, stop) }) in entries {
        let size = shape.iter().try_fold(dtype.width(), |size, &n| size.checked_mul(n));
        if *start != at || size.is_none_or(|size| at.checked_add(size) != Some(*stop)) {
            return Err(broken(format!(
                "tensor {name} of shape {shape:?} stands at bytes {start} to {stop}, the previous one ends at {at}"
            )));
        }
        at = *stop;
    }
    if at != len {
        return Err(broken(format!("{len} bytes of numbers: expected {at} (a file of {end} bytes in all)")));
    }
    Ok(())
}

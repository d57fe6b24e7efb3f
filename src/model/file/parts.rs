//! Compositions as files: the models of the parts stand in what training fixed, by name, and the name of its part is
//! before that of each tensor.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::container::{Entry, Header, join};
use super::{ENTRY, Envelope, Numbers, Stored, Tensor, bad_json, broken, encode};
use crate::error::Result;

/// Parts within parts, in the braces of their text: a reader goes down as deep.
const DEEPEST: usize = 64;

/// The file of a composition of parts, each by its name and the bytes of its own file.
///
/// # Errors
/// [`FileError::Format`](crate::error::FileError::Format) for a part that is no file.
pub(crate) fn encode_parts<C: Serialize>(
    kind: &str,
    config: &C,
    parts: &[(&str, Vec<u8>)],
) -> Result<Vec<u8>> {
    let (mut models, mut tensors) = (BTreeMap::new(), Vec::new());
    for (name, bytes) in parts {
        let stored = Stored::parse(bytes)?;
        for (tensor, Entry { dtype, shape, .. }) in &stored.header.tensors {
            let numbers = match dtype {
                super::Dtype::F32 => Numbers::F32(stored.f32(tensor, shape)?.into()),
                super::Dtype::F64 => Numbers::F64(stored.f64(tensor, shape)?.into()),
            };
            tensors.push(Tensor { name: format!("{name}.{tensor}"), shape: shape.clone(), numbers });
        }
        models.insert(*name, stored.model);
    }
    encode(kind, config, &models, tensors)
}

/// A composition's file, taken apart.
pub(crate) struct Composition<C> {
    pub config: C,
    /// The bytes of each part's file, by its name.
    pub parts: BTreeMap<String, Vec<u8>>,
}

impl<C: DeserializeOwned> Composition<C> {
    /// # Errors
    /// [`FileError::Format`](crate::error::FileError::Format) for a file of another kind, a damaged one, tensors that
    /// belong to no part and parts too deep within each other.
    pub fn read(stored: &Stored, kind: &str) -> Result<Self> {
        let deepest = depth(stored.model.get());
        if deepest > DEEPEST {
            return Err(broken(format!("parts {deepest} braces deep: expected at most {DEEPEST}")));
        }
        let (config, models): (C, BTreeMap<String, Box<RawValue>>) = stored.read(kind)?;
        let (mut parts, mut tensors) = (BTreeMap::new(), 0);
        for (name, model) in models {
            let (header, data) = taken(stored, &name);
            tensors += header.tensors.len();
            parts.insert(name, sealed(stored.format, model, header, &data)?);
        }
        // Names of parts have no dot, or one tensor might be two parts'.
        if parts.keys().any(|name| name.contains('.')) || tensors != stored.header.tensors.len() {
            return Err(broken(format!(
                "{tensors} tensors of parts: expected {}",
                stored.header.tensors.len()
            )));
        }
        Ok(Composition { config, parts })
    }

    /// The bytes of a part's file.
    pub fn part(&self, name: &str) -> Result<&[u8]> {
        self.parts.get(name).map(Vec::as_slice).ok_or_else(|| broken(format!("no part {name:?}")))
    }
}

/// A part's tensors, under their own names, and their bytes one after the other.
fn taken(stored: &Stored, part: &str) -> (Header, Vec<u8>) {
    let own = |name: &str| Some(name.strip_prefix(part)?.strip_prefix('.')?.to_owned());
    let mut found: Vec<(String, &Entry)> =
        stored.header.tensors.iter().filter_map(|(name, entry)| Some((own(name)?, entry))).collect();
    found.sort_by_key(|(_, entry)| entry.data_offsets);
    let (mut header, mut data) = (Header::default(), Vec::new());
    for (name, entry) in found {
        let start = data.len();
        data.extend_from_slice(&stored.data[entry.data_offsets.0..entry.data_offsets.1]);
        header.tensors.insert(name, Entry { data_offsets: (start, data.len()), ..entry.clone() });
    }
    (header, data)
}

/// A part's file, by the rules of the whole one, whose checksum covers it.
fn sealed(format: u64, model: Box<RawValue>, mut header: Header, data: &[u8]) -> Result<Vec<u8>> {
    let envelope = Envelope { format, checksum: None, model };
    header.metadata.insert(ENTRY.into(), serde_json::to_string(&envelope).map_err(bad_json)?);
    join(&header, data)
}

/// How deep the braces of a JSON text are within each other.
fn depth(text: &str) -> usize {
    let (mut now, mut most, mut quoted, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !quoted => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_braces_outside_of_texts() {
        for (text, expected) in
            [("1", 0), ("{}", 1), (r#"{"a":[{"}":1}],"b":{}}"#, 3), (r#"{"\"{[{":[]}"#, 2)]
        {
            assert_eq!(depth(text), expected, "{text}");
        }
    }
}

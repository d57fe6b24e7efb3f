//! Models' files. What loads is asked for rows and scores, and saved again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quadrivium::ndarray::Array2;
use quadrivium::persist;
use quadrivium::*;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let unsealed = without_checksum(bytes);
    for bytes in [bytes, &unsealed] {
        let Ok(model) = persist::from_bytes(bytes) else { continue };
        let again = persist::from_bytes(&model.to_bytes().unwrap()).unwrap();
        assert_eq!(again.card(), model.card());
        // What it may take long to do is no fault of the file's reader.
        if model.card().nfe > 100 || model.dim() > 16 || model.num_params() > 10_000 {
            continue;
        }
        // Weights may be anything finite, so rows and scores may be refused.
        let drawn = model.sample(2, &SampleOptions::default(), &mut seeded(0));
        assert!(drawn.is_ok_and(|drawn| drawn.x.dim() == (2, model.dim())));
        if model.card().likelihood == LikelihoodKind::Exact {
            let rows = Array2::zeros((2, model.dim()));
            let _ = model.log_likelihood(rows.view(), &LikelihoodOptions::default());
        }
    }
});

/// The file without the sum that would hide all behind it from the fuzzer.
fn without_checksum(bytes: &[u8]) -> Vec<u8> {
    let change = || {
        let len = u64::from_le_bytes(*bytes.first_chunk()?) as usize;
        let (text, data) = bytes.get(8..)?.split_at_checked(len)?;
        let mut header: Value = serde_json::from_slice(text).ok()?;
        let entry = header.pointer_mut("/__metadata__/quadrivium")?;
        let mut ours: Value = serde_json::from_str(entry.as_str()?).ok()?;
        ours.as_object_mut()?.remove("checksum")?;
        *entry = ours.to_string().into();
        let text = header.to_string();
        Some([&(text.len() as u64).to_le_bytes(), text.as_bytes(), data].concat())
    };
    change().unwrap_or_default()
}

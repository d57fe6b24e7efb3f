//! Descriptions of models, and tables of rules before them. Whatever is read, evidence lies in the text and what is
//! said of the components is complete.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quadrivium::map::read::{Rules, read};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let reading = read(&text);
    let parts = reading.components.iter().flat_map(|part| &part.evidence);
    for evidence in parts.chain(&reading.outside_evidence).chain(&reading.set_aside) {
        assert!(text.get(evidence.span.clone()).is_some_and(|quote| !quote.is_empty()));
    }
    assert_eq!(
        reading.components.is_empty(),
        reading.likelihood.is_none() && reading.passes.terms.is_empty()
    );
    assert!(!reading.components.is_empty() || reading.outside.is_some());
    assert!(!reading.card(&text).is_empty());
    // The part before an empty line, as rules of its own for the rest.
    if let Some((table, rest)) = text.split_once("\n\n")
        && let Ok(rules) = table.parse::<Rules>()
    {
        rules.read(rest);
    }
});

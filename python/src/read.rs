//! Descriptions of models.

use pyo3::prelude::*;
use quadrivium::map::read::{Component, Evidence, read as read_text};
use serde_json::json;

/// What a description says of a model: the JSON of `quadrivium read --json`, and the card as text.
#[pyfunction]
pub fn read(py: Python<'_>, text: &str) -> (String, String) {
    let (reading, card) = py.detach(|| {
        let reading = read_text(text);
        let card = reading.card(text);
        (reading, card)
    });
    let evidence = |evidence: &Evidence| json!({ "start": evidence.span.start, "end": evidence.span.end, "rule": evidence.rule.pattern });
    let component = |part: &Component| {
        json!({
            "paradigm": part.paradigm.to_string(),
            "objective": part.aim.to_string(),
            "sampling": part.procedure.to_string(),
            "stage": part.stage.to_string(),
            "evidence": part.evidence.iter().map(evidence).collect::<Vec<_>>(),
        })
    };
    let unusual =
        reading.unusual.iter().map(|unusual| format!("{}: probably {}", unusual.claim, unusual.probably));
    let told = json!({
        "components": reading.components.iter().map(component).collect::<Vec<_>>(),
        "likelihood": reading.likelihood.map(|kind| kind.to_string()),
        "passes": (!reading.passes.terms.is_empty()).then(|| reading.passes.to_string()),
        "unusual": unusual.collect::<Vec<_>>(),
        "not_stated": reading.not_stated,
        "outside": reading.outside.map(|outside| outside.reason()),
    });
    (told.to_string(), card)
}

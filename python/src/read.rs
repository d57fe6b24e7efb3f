//! Descriptions of models.

use pyo3::prelude::*;
use quadrivium::map::read::read as read_text;

/// What a description says of a model: the JSON of `quadrivium read --json`, and the card as text.
#[pyfunction]
pub fn read(py: Python<'_>, text: &str) -> (String, String) {
    py.detach(|| {
        let reading = read_text(text);
        (reading.to_json().to_string(), reading.card(text))
    })
}

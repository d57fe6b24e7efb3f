use std::io::{self, Write};
use std::path::Path;

use quadrivium::persist;
use serde_json::{Value, json};

use super::Loaded;
use crate::failure::{Outcome, of_file, of_writing};
use crate::info::page;

/// Describes the file of a language model.
pub fn info(path: &Path, as_json: bool, Loaded { model, tokenizer, .. }: &Loaded) -> Outcome<()> {
    let stored = persist::describe(path).map_err(|error| of_file(path.display(), error))?;
    let card = model.card();
    let failures: Vec<String> = card.failures.iter().map(ToString::to_string).collect();
    let text = if as_json {
        let info = json!({
            "kind": stored.kind,
            "name": card.name,
            "vocabulary": tokenizer.vocabulary(),
            "row": model.dim(),
            "parameters": model.num_params(),
            "paradigm": card.paradigm.to_string(),
            "objective": card.objective.to_string(),
            "measures": card.divergence.to_string(),
            "sampling": card.sampling.to_string(),
            "nfe": card.nfe,
            "latency": card.latency.to_string(),
            "likelihood": card.likelihood.to_string(),
            "failures": failures,
            "format": stored.format,
            "library": stored.library,
            "bytes": stored.bytes,
            "config": serde_json::from_str::<Value>(&stored.config).unwrap_or_default(),
        });
        format!("{info:#}\n")
    } else {
        page(&[
            ("kind", stored.kind),
            ("model", format!("{} ({})", card.name, card.paradigm)),
            ("tokens", format!("{} kinds, at most {} in a row", tokenizer.vocabulary(), model.dim())),
            ("parameters", model.num_params().to_string()),
            ("objective", format!("{}, which measures {}", card.objective, card.divergence)),
            ("sampling", format!("{}; latency {}", card.sampling, card.latency)),
            ("likelihood", card.likelihood.to_string()),
            ("can fail by", failures.join(", ")),
            (
                "file",
                format!(
                    "format {}, {} bytes, written by version {}",
                    stored.format, stored.bytes, stored.library
                ),
            ),
            ("config", stored.config),
        ])
    };
    io::stdout().write_all(text.as_bytes()).map_err(|error| of_writing("standard output", error))
}

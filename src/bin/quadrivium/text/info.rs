use std::path::Path;

use quadrivium::persist;
use serde_json::json;

use super::Loaded;
use crate::failure::{Outcome, of_file};
use crate::info::tell;

/// Describes the file of a language model.
pub fn info(path: &Path, as_json: bool, Loaded { model, tokenizer, .. }: &Loaded) -> Outcome<()> {
    let stored = persist::describe(path).map_err(|error| of_file(path.display(), error))?;
    let (vocabulary, row) = (tokenizer.vocabulary(), model.dim());
    let lines = [("tokens", format!("{vocabulary} kinds, at most {row} in a row"))];
    let own = json!({ "vocabulary": vocabulary, "row": row });
    tell(as_json, &stored, &model.card(), model.num_params(), own, &lines)
}

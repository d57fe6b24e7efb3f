use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use quadrivium::persist::{self, Column, Description, Persist, Role};
use quadrivium::{Card, ConditionKind, GaussianMixture};
use serde_json::{Value, json};

use crate::condition::{listed, of_condition};
use crate::failure::{Failure, Outcome, counted, of_file, of_writing, printable};
use crate::text;
use crate::units;

/// Describe a model file.
#[derive(clap::Args)]
pub struct Args {
    /// The model's file.
    model: PathBuf,
    /// Print JSON, with the full config.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Outcome<()> {
    if args.model == Path::new("-") {
        return Err(Failure::Usage("a model is read from a file, not from standard input".into()));
    }
    if let Some(loaded) = text::load(&args.model)? {
        return text::info(&args.model, args.json, &loaded);
    }
    let loaded = persist::load_described(&args.model);
    let (model, columns, whole) = loaded.map_err(|error| of_file(args.model.display(), error))?;
    let modeled = columns.iter().filter(|column| column.role.is_modeled());
    let names: Vec<&str> = modeled.map(|column| column.name.as_str()).collect();
    let parts = units::maps_and_model(model.as_ref());
    let inner = parts.as_ref().map_or(model.as_ref(), |parts| parts.prior().as_ref());
    // A model in units of its own is of the kind that its rows were fitted with.
    let of_inner = inner.to_bytes().and_then(|bytes| Description::of(&bytes));
    let of_inner = of_inner.map_err(|error| of_file(args.model.display(), error))?;
    let stored = Description { kind: of_inner.kind, config: of_inner.config, ..whole };
    let mixture = inner.to_bytes().ok().and_then(|bytes| GaussianMixture::from_bytes(&bytes).ok());
    let described = match &parts {
        Some(parts) => units::described(parts.codec(), &columns)?,
        None => Vec::new(),
    };
    let own = json!({
        "dim": model.dim(),
        "columns": columns,
        "taken_for": described.iter().cloned().collect::<BTreeMap<_, _>>(),
        "condition": model.condition(),
        "components": mixture.as_ref().map(|mixture| mixture.weights().len()),
        "covariance": mixture.as_ref().map(|mixture| format!("{:?}", mixture.covariance()).to_lowercase()),
    });
    let names = if names.is_empty() { "not named".into() } else { names.join(", ") };
    let mut lines = vec![("columns", format!("{}: {names}", model.dim()))];
    lines.extend(described.iter().map(|(name, what)| ("", format!("{name}: {what}"))));
    lines.extend([
        ("condition", condition(model.condition(), &columns)),
        ("components", mixture.as_ref().map_or(String::new(), components)),
    ]);
    tell(args.json, &stored, &model.card(), model.num_params(), own, &lines)
}

/// Describes the file of a model: what is true of any, and what is its own, as JSON or as lines. Lines without a text
/// are left out.
pub fn tell(
    as_json: bool,
    stored: &Description,
    card: &Card,
    parameters: usize,
    own: Value,
    own_lines: &[(&str, String)],
) -> Outcome<()> {
    let failures: Vec<String> = card.failures.iter().map(ToString::to_string).collect();
    let text = if as_json {
        let mut info = json!({
            "kind": stored.kind,
            "name": card.name,
            "parameters": parameters,
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
        if let (Some(info), Value::Object(own)) = (info.as_object_mut(), own) {
            info.extend(own);
        }
        format!("{info:#}\n")
    } else {
        let first = [
            ("kind", stored.kind.clone()),
            ("model", format!("{} ({})", card.name, card.paradigm)),
            ("parameters", parameters.to_string()),
        ];
        let Description { format, library, bytes, config, .. } = stored;
        let last = [
            ("objective", format!("{}, which measures {}", card.objective, card.divergence)),
            ("sampling", format!("{}; latency {}", card.sampling, card.latency)),
            ("likelihood", card.likelihood.to_string()),
            ("can fail by", failures.join(", ")),
            ("file", format!("format {format}, {bytes} bytes, written by version {library}")),
            ("config", config.clone()),
        ];
        let told = first.iter().chain(own_lines).chain(&last).filter(|(_, text)| !text.is_empty());
        told.map(|(what, text)| format!("{what:<12}{}\n", printable(text))).collect()
    };
    io::stdout().write_all(text.as_bytes()).map_err(|error| of_writing("standard output", error))
}

/// A mixture's number of components, kind of covariances, and weights, the largest first.
pub fn components(mixture: &GaussianMixture) -> String {
    let mut weights = mixture.weights().to_vec();
    weights.sort_by(|a, b| b.total_cmp(a));
    let shares: Vec<String> = weights.iter().take(10).map(|weight| format!("{weight:.3}")).collect();
    let more = if weights.len() > 10 { ", …" } else { "" };
    let family = format!("{:?}", mixture.covariance()).to_lowercase();
    format!(
        "{}, {family} covariances, weights {}{more}",
        counted(weights.len(), "component"),
        shares.join(", ")
    )
}

/// What the model is conditioned on, by the columns of its file if they are named.
fn condition(kind: ConditionKind, columns: &[Column]) -> String {
    let named = of_condition(columns);
    match named[..] {
        [Column { name, role: Role::Label { values, .. }, cells, .. }] => {
            format!("{name}, a class: {}", listed(cells, values))
        }
        [] if kind.is_none() => "none".into(),
        [] => kind.to_string(),
        _ => {
            let names: Vec<&str> = named.iter().map(|column| column.name.as_str()).collect();
            format!("{}, as numbers", names.join(", "))
        }
    }
}

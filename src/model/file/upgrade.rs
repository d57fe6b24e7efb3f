//! Brings the config of an older file to the newest format. A field that was added later gets the value that
//! reproduces the earlier behavior, and fields that were merged into one are put together.

use std::borrow::Cow;

use serde_json::Value;

use super::bad_json;
use crate::error::Result;

/// A field that files of format 1 lack, and whose default differs from what format 1 did.
struct Added {
    /// The kinds of models that have the field; all kinds if the list is empty.
    kinds: &'static [&'static str],
    /// The object that has the field, as a JSON pointer from the model: `/config/transform/Spline`. A file without
    /// that object (an affine flow has no spline) does not get the field.
    place: &'static str,
    field: &'static str,
    /// What format 1 did.
    value: fn() -> Value,
}

/// The fields that format 2 added. A field whose default gives the old behavior is not listed.
const SINCE_2: &[Added] = &[
    Added { kinds: &["diffusion"], place: "/config", field: "finish", value: || "Estimate".into() },
    Added { kinds: &["diffusion"], place: "/config", field: "beyond", value: || "Point".into() },
    Added {
        kinds: &["autoregressive", "diffusion", "flow_matching", "vae"],
        place: "/config",
        field: "whiten",
        value: || false.into(),
    },
    Added {
        kinds: &["energy"],
        place: "/config/langevin",
        field: "candidates",
        value: || serde_json::json!(0.0),
    },
    Added { kinds: &["flow"], place: "/config", field: "correlated_base", value: || false.into() },
    Added { kinds: &["gaussian_mixture"], place: "/config", field: "covariance", value: || "Full".into() },
    Added { kinds: &["gaussian_mixture"], place: "/config", field: "shrinkage", value: || 0.0.into() },
];

/// A perceptron whose settings were separate fields of the config before format 3.
struct Gathered {
    kinds: &'static [&'static str],
    network: &'static str,
    hidden: &'static str,
    activation: &'static str,
    octaves: &'static str,
}

/// The networks of format 3.
const NETWORKS: &[Gathered] = &[
    Gathered {
        kinds: &["autoregressive", "diffusion", "energy", "flow", "flow_matching", "score"],
        network: "network",
        hidden: "hidden",
        activation: "activation",
        octaves: "octaves",
    },
    Gathered {
        kinds: &["vae"],
        network: "encoder",
        hidden: "hidden",
        activation: "activation",
        octaves: "encoder_octaves",
    },
    Gathered {
        kinds: &["vae"],
        network: "decoder",
        hidden: "hidden",
        activation: "activation",
        octaves: "decoder_octaves",
    },
    Gathered {
        kinds: &["gan"],
        network: "generator",
        hidden: "generator_hidden",
        activation: "generator_activation",
        octaves: "generator_octaves",
    },
    Gathered {
        kinds: &["gan"],
        network: "critic",
        hidden: "critic_hidden",
        activation: "critic_activation",
        octaves: "critic_octaves",
    },
];

/// The JSON text of a file's model, in the newest format.
pub(super) fn upgraded(format: u64, model: &str) -> Result<Cow<'_, str>> {
    if format > 2 {
        return Ok(Cow::Borrowed(model));
    }
    let mut model: Value = serde_json::from_str(model).map_err(bad_json)?;
    if format == 1 {
        insert(SINCE_2, &mut model);
    }
    gather(NETWORKS, &mut model);
    rename("flow_matching", "coupling", "pairing", &mut model);
    Ok(Cow::Owned(model.to_string()))
}

/// Gives a field of one kind's config its new name.
fn rename(kind: &str, old: &str, new: &str, model: &mut Value) {
    if model["kind"] == kind
        && let Some(config) = model.get_mut("config").and_then(Value::as_object_mut)
        && let Some(value) = config.remove(old)
    {
        config.insert(new.into(), value);
    }
}

/// Builds the network specifications from the earlier separate fields, all of which every old file has.
fn gather(networks: &[Gathered], model: &mut Value) {
    let kind = model["kind"].as_str().unwrap_or_default().to_string();
    let Some(config) = model.get_mut("config").and_then(Value::as_object_mut) else { return };
    let of_kind = || networks.iter().filter(|network| network.kinds.contains(&kind.as_str()));
    for Gathered { network, hidden, activation, octaves, .. } in of_kind() {
        let mut made = serde_json::Map::from_iter([("kind".to_string(), "Mlp".into())]);
        for (part, field) in [("hidden", hidden), ("activation", activation), ("octaves", octaves)] {
            if let Some(value) = config.get(*field) {
                made.insert(part.into(), value.clone());
            }
        }
        config.insert((*network).into(), made.into());
    }
    for Gathered { hidden, activation, octaves, .. } in of_kind() {
        for field in [hidden, activation, octaves] {
            config.remove(*field);
        }
    }
}

fn insert(added: &[Added], model: &mut Value) {
    let kind = model["kind"].as_str().unwrap_or_default().to_string();
    for Added { kinds, place, field, value } in added {
        if !kinds.is_empty() && !kinds.contains(&kind.as_str()) {
            continue;
        }
        if let Some(Value::Object(fields)) = model.pointer_mut(place) {
            fields.entry(*field).or_insert_with(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_put_where_its_kind_has_the_place() {
        let added = [
            Added { kinds: &[], place: "/config/optimizer", field: "average", value: || json!("slow") },
            Added {
                kinds: &["flow"],
                place: "/config/transform/Spline",
                field: "base",
                value: || json!(0.1),
            },
        ];
        let upgraded = |mut model: Value| {
            insert(&added, &mut model);
            model
        };
        let config = |transform: Value| json!({"optimizer": {"lr": 0.1}, "transform": transform});
        let old = |kind, transform| json!({"kind": kind, "config": config(transform)});
        assert_eq!(
            upgraded(old("flow", json!({"Spline": {"bins": 4}}))),
            json!({"kind": "flow", "config": {
                "optimizer": {"lr": 0.1, "average": "slow"},
                "transform": {"Spline": {"bins": 4, "base": 0.1}},
            }})
        );
        // Another kind, another object, and no such object at all.
        let other = upgraded(old("vae", json!({"Spline": {}})));
        assert_eq!(other["config"]["transform"], json!({"Spline": {}}));
        assert_eq!(upgraded(old("flow", json!("Affine")))["config"]["transform"], json!("Affine"));
        assert_eq!(upgraded(json!([1])), json!([1]));
        // A field that the file has is kept.
        let there = json!({"kind": "gan", "config": {"optimizer": {"average": "fast"}}});
        assert_eq!(upgraded(there.clone()), there);
    }

    #[test]
    fn networks_are_gathered_and_fields_renamed() {
        let config = |value: &str| -> Value { serde_json::from_str(value).unwrap() };
        let text = r#"{"kind":"vae","config":{"dim":3,"hidden":[4,5],"activation":"Tanh","encoder_octaves":1,
            "decoder_octaves":2}}"#;
        let made = config(&upgraded(2, text).unwrap());
        let network =
            |octaves| json!({"kind": "Mlp", "hidden": [4, 5], "activation": "Tanh", "octaves": octaves});
        assert_eq!(made["config"], json!({"dim": 3, "encoder": network(1), "decoder": network(2)}));
        // A field with a new name keeps its value.
        let text = r#"{"kind":"flow_matching","config":{"coupling":"Independent"}}"#;
        assert_eq!(config(&upgraded(2, text).unwrap())["config"]["pairing"], json!("Independent"));
        // A mixture has no such field.
        let text = r#"{"kind":"gaussian_mixture","config":{"dim":3}}"#;
        assert_eq!(config(&upgraded(2, text).unwrap()), config(text));
    }

    #[test]
    fn numbers_stay_to_the_bit() {
        let text =
            r#"{"kind":"kernel_density","config":{"a":0.1,"b":-0.0,"c":5e-324,"d":18446744073709551615}}"#;
        let numbers = |text: &str| {
            let model: Value = serde_json::from_str(text).unwrap();
            let number = |name: &str| model["config"][name].as_f64().unwrap().to_bits();
            (["a", "b", "c"].map(number), model["config"]["d"].as_u64())
        };
        assert_eq!(numbers(&upgraded(1, text).unwrap()), numbers(text));
        assert_eq!(numbers(text).1, Some(u64::MAX));
        assert_eq!(numbers(&upgraded(2, text).unwrap()), numbers(text));
        assert_eq!(upgraded(3, text).unwrap(), text);
    }
}

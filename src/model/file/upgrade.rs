//! What a file of an older format means: a field that came later is put in, with the value that does what the
//! code did before it had the field.

use std::borrow::Cow;

use serde_json::Value;

use super::bad_json;
use crate::error::Result;

/// A field that files of format 1 lack, and whose default is not what format 1 did.
struct Added {
    /// The kinds of models that have it; all if there are none.
    kinds: &'static [&'static str],
    /// Where it stands, as a JSON pointer from the model: `/config/transform/Spline`. A file without that place
    /// (an affine flow has no spline) does not get the field.
    place: &'static str,
    field: &'static str,
    /// What format 1 did.
    value: fn() -> Value,
}

/// The fields that came with format 2. A field that means the old thing by its default need not be here.
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

/// The text of a file's model, by the rules of the newest format.
pub(super) fn upgraded(format: u64, model: &str) -> Result<Cow<'_, str>> {
    if format > 1 {
        return Ok(Cow::Borrowed(model));
    }
    let mut model: Value = serde_json::from_str(model).map_err(bad_json)?;
    insert(SINCE_2, &mut model);
    Ok(Cow::Owned(model.to_string()))
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
        // Not the kind, not the place, and no place at all.
        let other = upgraded(old("vae", json!({"Spline": {}})));
        assert_eq!(other["config"]["transform"], json!({"Spline": {}}));
        assert_eq!(upgraded(old("flow", json!("Affine")))["config"]["transform"], json!("Affine"));
        assert_eq!(upgraded(json!([1])), json!([1]));
        // What is there stays.
        let there = json!({"kind": "gan", "config": {"optimizer": {"average": "fast"}}});
        assert_eq!(upgraded(there.clone()), there);
    }

    #[test]
    fn numbers_stay_to_the_bit() {
        let text = r#"{"kind":"gan","config":{"a":0.1,"b":-0.0,"c":5e-324,"d":18446744073709551615}}"#;
        let numbers = |text: &str| {
            let model: Value = serde_json::from_str(text).unwrap();
            let number = |name: &str| model["config"][name].as_f64().unwrap().to_bits();
            (["a", "b", "c"].map(number), model["config"]["d"].as_u64())
        };
        assert_eq!(numbers(&upgraded(1, text).unwrap()), numbers(text));
        assert_eq!(numbers(text).1, Some(u64::MAX));
        assert_eq!(upgraded(2, text).unwrap(), text);
    }
}

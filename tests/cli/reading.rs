//! Reading descriptions, the map, and the quiz.

use serde_json::Value;

use crate::{Folder, fails, ok, with_stdin};

const TEXT: &str = "Text to image: a VAE at an eighth of the resolution, then 50 DDIM steps with classifier-free guidance. Unlike GANs, it is slow.";

#[test]
fn description_is_read_as_a_card_with_quotes() {
    let folder = Folder::new("read");
    let path = folder.write("release.md", TEXT);
    let card = ok(&["read", &path]);
    for line in [
        "component   latent-variable",
        "component   diffusion",
        "“DDIM”",
        "passes      50 steps × 2 (guidance) + 1 decoder pass = 101",
    ] {
        assert!(card.contains(line), "{line}: {card}");
    }
    assert!(card.contains("“GANs” is said of another system"), "{card}");
    assert_eq!(with_stdin(&["read", "-"], TEXT.as_bytes()).stdout, card.as_bytes());
}

#[test]
fn json_has_its_keys_and_places_in_the_file() {
    let folder = Folder::new("read-json");
    // Bytes that are no text do not move what follows.
    let bytes = [b"\xff\xfe\x80 ".as_slice(), TEXT.as_bytes()].concat();
    let path = folder.write("release.txt", &bytes);
    let json: Value = serde_json::from_str(&ok(&["read", "--json", &path])).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&json), ["components", "likelihood", "not_stated", "outside", "passes", "unusual"]);
    let component = &json["components"][1];
    assert_eq!(keys(component), ["evidence", "objective", "paradigm", "sampling", "stage"]);
    let values = ["paradigm", "objective", "sampling", "stage"].map(|key| component[key].as_str().unwrap());
    assert_eq!(values, ["diffusion", "noise MSE", "multi-step", "training"]);
    let evidence = &component["evidence"][0];
    assert_eq!(keys(evidence), ["end", "rule", "start"]);
    let [start, end] = ["start", "end"].map(|key| evidence[key].as_u64().unwrap() as usize);
    assert_eq!(&bytes[start..end], b"DDIM");
    assert_eq!((json["outside"].is_null(), json["likelihood"].as_str()), (true, Some("lower bound")));

    let nothing = folder.write("nothing.txt", "Good morning.");
    let json: Value = serde_json::from_str(&ok(&["read", "--json", &nothing])).unwrap();
    assert!(json["outside"].as_str().unwrap().starts_with("cannot tell"));
    assert_eq!((json["components"].as_array().unwrap().len(), json["likelihood"].is_null()), (0, true));
}

#[test]
fn further_rules_are_read_from_a_file() {
    let folder = Folder::new("read-rules");
    let text = folder.write("release.txt", "Version 2 has a frobnicator.");
    let rules = folder.write("rules.txt", "frobnicator | adversarial = hinge | 1");
    assert!(ok(&["read", &text]).contains("cannot tell"));
    assert!(ok(&["read", &text, "--rules", &rules]).contains("objective: hinge"));
    let faulty = folder.write("faulty.txt", "\nfrobnicator | sharp | 1");
    assert!(
        fails(&["read", &text, "--rules", &faulty], 1)
            .contains("line 2 of the rules: unknown evidence: \"sharp\"")
    );
    assert!(fails(&["read", &folder.path("absent")], 1).contains("absent"));
}

#[test]
fn map_has_every_paradigm() {
    let map = ok(&["map"]);
    for word in [
        "autoregressive",
        "latent-variable",
        "adversarial",
        "diffusion",
        "flow",
        "energy-based",
        "lower bound",
        "∝ steps",
    ] {
        assert!(map.contains(word), "{word}: {map}");
    }
}

#[test]
fn quiz_answers_after_each_line_and_ends_with_the_input() {
    let asked = with_stdin(&["quiz", "--cards"], b"the autoregressive one\n\n");
    let text = String::from_utf8(asked.stdout).unwrap();
    assert!(asked.status.success() && text.matches("measured: docs/RESULTS.md").count() == 2, "{text}");
    assert!(text.contains("1/10  ") && text.contains("3/10  ") && !text.contains("4/10  "), "{text}");
    assert_eq!(ok(&["quiz", "--all"]).matches("again:").count(), 16);
}

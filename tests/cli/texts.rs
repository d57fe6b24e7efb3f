//! Language models: a text instead of rows.

use super::*;

const PROVERB: &str =
    "Where the cat is not, the mice dance on the table, and the table stands in the hall.\n";

fn proverbs(folder: &Folder) -> String {
    folder.write("proverbs.txt", PROVERB.repeat(40))
}

fn fitted(folder: &Folder, kind: &str, more: &[&str]) -> String {
    let (text, model) = (proverbs(folder), folder.path(&format!("{kind}.safetensors")));
    ok(&[&["fit", "--model", kind, &text, "-o", &model][..], more].concat());
    model
}

/// What it said; it must have failed.
fn refused(args: &[&str]) -> String {
    let output = run(args);
    assert!(!output.status.success(), "{args:?}");
    stderr(&output).to_owned()
}

const SMALL: [&str; 6] = ["--steps", "120", "--set", "width=32", "--set", "blocks=1"];

#[test]
fn a_text_is_learned_continued_and_scored() {
    let folder = Folder::new("texts");
    for (kind, more) in [("transformer", &SMALL[..]), ("n_gram", &[])] {
        let model = fitted(&folder, kind, more);
        let drawn =
            ok(&["sample", &model, "--prompt", "Where the cat", "--length", "30", "-n", "2", "--top-k", "1"]);
        let texts: Vec<&str> = drawn.split("----\n").collect();
        assert_eq!(texts.len(), 2);
        assert!(texts.iter().all(|text| text.starts_with("Where the cat") && text.chars().count() == 44));
        // The most probable text does not depend on the random numbers.
        assert_eq!(texts[0], texts[1]);

        let text = folder.write("more.txt", PROVERB);
        let scored = ok(&["score", &model, &text]);
        let (names, numbers) = scored.trim().split_once('\n').unwrap();
        assert!(names.starts_with("nats,tokens,chars,bytes,nats_per_token,perplexity_per_token"));
        let numbers: Vec<f64> = numbers.split(',').map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers[1..4], [PROVERB.len() as f64; 3]);
        let per_token = numbers[0] / numbers[1];
        assert!((numbers[4] - per_token).abs() < 1e-9 && (numbers[5] - per_token.exp()).abs() < 1e-9);
        assert!((numbers[7] - per_token / std::f64::consts::LN_2).abs() < 1e-9);
        let described = ok(&["info", &model]);
        assert!(described.contains(kind) && described.contains("kinds, at most"), "{described}");
    }
}

#[test]
fn the_same_seed_gives_the_same_text_and_model() {
    let folder = Folder::new("texts-seed");
    let model = fitted(&folder, "transformer", &SMALL);
    let bytes = fs::read(&model).unwrap();
    assert_eq!(fs::read(fitted(&folder, "transformer", &SMALL)).unwrap(), bytes);
    let draw = |seed: &str| ok(&["sample", &model, "--length", "50", "--seed", seed]);
    assert_eq!(draw("1"), draw("1"));
    assert_ne!(draw("1"), draw("2"));
}

#[test]
fn bytes_and_pairs_take_any_file() {
    let folder = Folder::new("texts-bytes");
    let data = folder.write("data.bin", [0xff, 0x00, 0x80, b'a', 0xff, 0x00].repeat(50));
    let model = folder.path("model.safetensors");
    for tokens in ["bytes", "pairs:20"] {
        ok(&["fit", "--model", "n_gram", &data, "-o", &model, "--tokens", tokens]);
        assert!(ok(&["score", &model, &data]).lines().count() == 2);
    }
    let told = refused(&["fit", "--model", "n_gram", &data, "-o", &model]);
    assert!(told.contains("byte 0 of the text is not UTF-8"), "{told}");
}

#[test]
fn what_makes_no_sense_for_a_text_is_refused() {
    let folder = Folder::new("texts-refused");
    let (text, model) = (proverbs(&folder), fitted(&folder, "n_gram", &[]));
    let empty = folder.write("empty.txt", "");
    let other = folder.path("other.safetensors");
    for (args, reason) in [
        (&["fit", "--model", "n_gram", &empty, "-o", &other][..], "the text is empty"),
        (
            &["fit", "--model", "n_gram", &text, "-o", &other, "--columns", "a"],
            "--columns: a text has no rows",
        ),
        (
            &["fit", "--model", "n_gram", &text, "-o", &other, "--steps", "3"],
            "--steps: counts are not trained",
        ),
        (&["fit", "--model", "transformer", &text, "-o", &other, "--patience", "3"], "--patience: the end"),
        (&["fit", "--model", "transformer", &text, "-o", &other, "--set", "depth=3"], "no setting \"depth\""),
        (&["fit", "--model", "vae", FAITHFUL, "-o", &other, "--tokens", "bytes"], "--tokens: this model"),
        (&["sample", &model, "--given", "a=1"], "--given: the model draws texts"),
        (&["sample", &model, "--prompt", "Ω"], "the character 'Ω' is not among"),
        (&["sample", &model, "--format", "npy"], "--format: the model draws texts"),
        (&["score", &model, FAITHFUL, "--rows", "3"], "--rows: a text has no rows"),
        (&["score", &model, FAITHFUL], "is not among"),
    ] {
        let told = refused(args);
        assert!(told.contains(reason), "{args:?}: {told}");
    }
    let rows = folder.fit("vae", &[]);
    let told = refused(&["sample", &rows, "--prompt", "a"]);
    assert!(told.contains("--prompt: the model draws rows, not texts"), "{told}");
}

//! Rows under a condition: fitted, drawn, scored and compared, and what is said of a condition that makes no sense.

use quadrivium::nn::{Activation, NetworkSpec};
use std::fs;

use quadrivium::persist;
use quadrivium::{ConditionKind, Vae, VaeConfig};

use super::{Folder, fails, ok, run, stderr};

const LABELS: [i32; 3] = [3, 5, 9];

/// As a setting of a mixture.
const ONE_GAUSSIAN: &str = r#"components={"Fixed":1}"#;

/// Numbers that fill 0 to 1 evenly, without a period: parts of the multiples of an irrational number.
fn spread(i: usize, step: f64) -> f64 {
    (i as f64 * step).fract()
}

/// Rows of x, label, y, half of them of the first label; rows of a label lie within 0.5 of (2 label, -label).
fn labeled(folder: &Folder) -> String {
    let row = |i: usize| {
        let label = LABELS[[0, 1, 0, 2][i % 4]];
        let (x, y) = (2.0 * f64::from(label) + spread(i, 0.618_034), spread(i, 0.414_214) - f64::from(label));
        format!("{:.6},{label},{:.6}\n", x - 0.5, y - 0.5)
    };
    let rows: String = (0..400).map(row).collect();
    folder.write("labeled.csv", format!("x,label,y\n{rows}"))
}

/// Rows of x, angle, speed with x = angle + 2 speed and 0.1 to either side.
fn measured(folder: &Folder) -> String {
    let row = |i: usize| {
        let (angle, speed) = (spread(i, 0.618_034), spread(i, 0.414_214));
        format!("{:.6},{angle:.6},{speed:.6}\n", angle + 2.0 * speed + 0.2 * spread(i, 0.732_051) - 0.1)
    };
    let rows: String = (0..400).map(row).collect();
    folder.write("measured.csv", format!("x,angle,speed\n{rows}"))
}

fn fit(folder: &Folder, kind: &str, data: &str, more: &[&str]) -> (String, String) {
    let model = folder.path(&format!("{kind}.safetensors"));
    let output = run(&[&["fit", "-m", kind, data, "-o", &model], more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    (model, stderr(&output).to_owned())
}

/// The rows of a text, and its header.
fn rows(text: &str) -> (&str, Vec<[f64; 3]>) {
    let (header, rows) = text.split_once('\n').unwrap();
    let row = |line: &str| {
        let mut numbers = line.split(',').map(|number| number.parse().unwrap());
        std::array::from_fn(|_| numbers.next().unwrap())
    };
    (header, rows.lines().map(row).collect())
}

fn nats(scores: &str) -> Vec<f64> {
    scores.lines().skip(1).map(|line| line.parse().unwrap()).collect()
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

#[test]
fn each_class_is_drawn_where_its_rows_lie() {
    let folder = Folder::new("classes");
    let data = labeled(&folder);
    let (model, message) = fit(&folder, "gaussian_mixture", &data, &["--condition", "label"]);
    assert!(
        message.contains("the condition is label, a class: 3, 5, 9; --condition-kind vector"),
        "{message}"
    );
    assert!(message.contains("training rows, given their condition: "), "{message}");
    assert!(message.contains("2 columns (x, y)"), "{message}");
    let near = |rows: &[[f64; 3]]| {
        let near = |row: &&[f64; 3]| {
            let off = [row[0] - 2.0 * row[1], row[2] + row[1]];
            off.iter().all(|off| off.abs() < 1.0)
        };
        rows.iter().filter(near).count() as f64 / rows.len() as f64
    };
    for label in LABELS {
        let text = ok(&["sample", &model, "-n", "200", "--given", &format!("label={label}")]);
        let (header, rows) = rows(&text);
        assert_eq!((header, rows.len()), ("x,label,y", 200));
        assert!(rows.iter().all(|row| row[1] == f64::from(label)));
        assert!(near(&rows) > 0.98, "{label}: {}", near(&rows));
    }
    // Without one, each label as often as in training: 2000, 1000 and 1000 of standard deviation 32 at most.
    let text = ok(&["sample", &model, "-n", "4000", "--seed", "2"]);
    let (_, drawn) = rows(&text);
    assert!(near(&drawn) > 0.98, "{}", near(&drawn));
    for (label, expected) in LABELS.into_iter().zip([2000.0, 1000.0, 1000.0]) {
        let found = drawn.iter().filter(|row| row[1] == f64::from(label)).count() as f64;
        assert!((found - expected).abs() < 160.0, "{label}: {found}");
    }
    assert!(text.starts_with(&ok(&["sample", &model, "-n", "10", "--seed", "2"])));

    assert!(ok(&["info", &model]).contains("condition   label, a class: 3, 5, 9\n"));
    let json: serde_json::Value = serde_json::from_str(&ok(&["info", "--json", &model])).unwrap();
    assert_eq!(json["condition"], serde_json::json!({"Class": {"classes": 3}}));
    assert_eq!(json["columns"][1]["role"]["label"]["rows"], serde_json::json!([200, 100, 100]));
}

#[test]
fn rows_are_scored_under_the_condition_in_their_columns() {
    let folder = Folder::new("given-scores");
    let data = labeled(&folder);
    let (model, _) = fit(&folder, "gaussian_mixture", &data, &["--condition", "2", "--set", ONE_GAUSSIAN]);
    let scores = ok(&["score", &model, &data]);
    // Where the label of a row is another, its density is nearly 0.
    let text = fs::read_to_string(&data).unwrap();
    let wrong = folder.write("wrong.csv", text.replace(",5,", ",9,"));
    let (right, wrong) = (nats(&scores), nats(&ok(&["score", &model, &wrong])));
    for (row, (right, wrong)) in right.iter().zip(&wrong).enumerate() {
        // The square has the entropy ln 1 = 0, a Gaussian instead costs 0.35 nats.
        assert!(
            *right > -4.0 && if row % 4 == 1 { *wrong < -30.0 } else { wrong == right },
            "{right} {wrong}"
        );
    }
    assert!((-0.6..0.0).contains(&mean(&right)), "{}", mean(&right));

    // Columns in another order and under another name; without names, in the order of the training.
    let moved = |line: &str| {
        let mut cells = line.split(',');
        let (x, label, y) = (cells.next().unwrap(), cells.next().unwrap(), cells.next().unwrap());
        format!("{label},note,{y},{x}\n")
    };
    let moved: String = text.lines().map(moved).collect();
    let moved = folder.write("moved.csv", moved);
    assert_eq!(ok(&["score", &model, &moved]), scores);
    let renamed =
        folder.write("renamed.csv", fs::read_to_string(&moved).unwrap().replacen("label", "kind", 1));
    let message = fails(&["score", &model, &renamed], 1);
    assert!(message.contains("no column \"label\": expected one of [\"kind\", "), "{message}");
    assert!(message.contains("the columns of the model's condition are [\"label\"]"), "{message}");
    assert_eq!(ok(&["score", &model, &renamed, "--condition", "kind"]), scores);
    let unnamed = folder.write("unnamed.csv", text.split_once('\n').unwrap().1);
    assert_eq!(ok(&["score", &model, &unnamed]), scores);
    assert_eq!(ok(&["score", &model, &unnamed, "--columns", "1,3", "--condition", "2"]), scores);
    // What is drawn can be scored, with or without names.
    let (csv, npy) = (folder.path("drawn.csv"), folder.path("drawn.npy"));
    for path in [&csv, &npy] {
        ok(&["sample", &model, "-n", "50", "-o", path]);
    }
    assert_eq!(ok(&["score", &model, &csv]), ok(&["score", &model, &npy]));
}

#[test]
fn numbers_are_a_condition_and_may_lie_between_those_of_the_data() {
    let folder = Folder::new("vectors");
    let data = measured(&folder);
    let (model, message) =
        fit(&folder, "gaussian_mixture", &data, &["--condition", "angle,speed", "--set", ONE_GAUSSIAN]);
    assert!(message.contains("the condition is angle, speed, as numbers\n"), "{message}");
    for (angle, speed) in [("0.5", "0.9"), ("0.123", "0.456")] {
        let given = format!("angle={angle},speed={speed}");
        let text = ok(&["sample", &model, "-n", "200", "--given", &given]);
        let (header, rows) = rows(&text);
        let [angle, speed] = [angle, speed].map(|number| number.parse::<f64>().unwrap());
        let x = mean(&rows.iter().map(|row| row[0]).collect::<Vec<_>>());
        assert_eq!(header, "x,angle,speed");
        assert!((x - angle - 2.0 * speed).abs() < 0.05, "{given}: {x}");
        assert!(rows.iter().all(|row| (row[1], row[2]) == (angle, speed)));
    }
    let text = ok(&["sample", &model, "-n", "300"]);
    let (_, drawn) = rows(&text);
    assert!(drawn.iter().all(|row| (row[0] - row[1] - 2.0 * row[2]).abs() < 0.5));
    // As often as in training: angles are even on 0 to 1, of standard deviation 0.29.
    let angle = mean(&drawn.iter().map(|row| row[1]).collect::<Vec<_>>());
    assert!((angle - 0.5).abs() < 0.09, "{angle}");
    assert!(ok(&["info", &model]).contains("condition   angle, speed, as numbers\n"));

    // A label as a number has values between those of the data.
    let data = labeled(&folder);
    let fit = ["--condition", "label", "--condition-kind", "vector"];
    let (model, message) = self::fit(&folder, "kernel_density", &data, &fit);
    assert!(message.contains("the condition is label, as numbers\n"), "{message}");
    assert_eq!(ok(&["sample", &model, "-n", "3", "--given", "label=7"]).lines().count(), 4);
}

#[test]
fn bad_conditions_are_told_by_column_with_what_is_known() {
    let folder = Folder::new("bad-conditions");
    let (data, numbers) = (labeled(&folder), measured(&folder));
    let model = folder.path("none.safetensors");
    let fit_on = |data: &str, more: &[&str], code| {
        fails(&[&["fit", "-m", "gaussian_mixture", data, "-o", &model], more].concat(), code)
    };
    for (more, code, says) in [
        (&["--condition", "lable"][..], 1, "no column \"lable\": expected one of [\"x\", \"label\", \"y\"]"),
        (&["--condition", "label,label"], 1, "expected each column once"),
        (&["--condition", "x,y,label"], 1, "every column is in the condition: none is left to model"),
        (
            &["--condition", "label", "--columns", "x,label"],
            2,
            "column label is among those of --columns, too",
        ),
        (&["--condition", "x,label", "--condition-kind", "class"], 2, "expected one column, not 2 columns"),
        (&["--condition-kind", "class"], 2, "--condition"),
        (
            &["--condition", "label", "--set", "condition=None"],
            1,
            "the condition is that of the rows: --condition chooses it",
        ),
    ] {
        let message = fit_on(&data, more, code);
        assert!(message.contains(says), "{more:?}: {message}");
    }
    let text = fs::read_to_string(&data).unwrap();
    let constant = folder.write("constant.csv", text.replace(",5,", ",3,").replace(",9,", ",3,"));
    let message = fit_on(&constant, &["--condition", "label"], 1);
    assert!(message.contains("column label holds 3 in all 400 rows, so it is no condition"), "{message}");
    assert!(!fs::exists(&model).unwrap());

    let few = ["--steps", "5"];
    let (classes, _) = fit(&folder, "vae", &data, &[&["--condition", "label"][..], &few].concat());
    let condition = ["--condition", "angle,speed"];
    let (vectors, _) = fit(&folder, "autoregressive", &numbers, &[&condition[..], &few].concat());
    let plain = folder.fit("flow", &[]);
    for (model, given, code, says) in [
        (&classes, "label=7", 1, "column label: 7 is not a class the model knows: 3, 5, 9"),
        (&classes, "lable=3", 1, "no column lable in the model's condition: expected label"),
        (&classes, "label=3,label=5", 2, "column label has two values"),
        (&classes, "label", 2, "expected COLUMN=VALUE"),
        (&classes, "label=three", 2, "expected a finite number"),
        (&vectors, "angle=0.5", 1, "column speed has no value: the condition is angle, speed"),
        (&vectors, "angle=NaN,speed=1", 2, "expected a finite number"),
        (&plain, "label=3", 1, "a condition was given to a model that takes none"),
    ] {
        let message = fails(&["sample", model, "--given", given], code);
        assert!(message.contains(says), "{given}: {message}");
    }
    // In rows to score: by the row, from the start of the data.
    let unknown = folder.write("unknown.csv", text.replace(",9,", ",7,"));
    let message = fails(&["score", &classes, &unknown, "-o", &folder.path("scores.csv")], 1);
    let says = "unknown.csv: row 4, column label: 7 is not a class the model knows: 3, 5, 9";
    assert!(message.contains(says), "{message}");
    let narrow: String =
        text.lines().skip(1).map(|line| format!("{}\n", line.rsplit_once(',').unwrap().0)).collect();
    let narrow = folder.write("narrow.csv", narrow);
    let message = fails(&["score", &classes, &narrow], 1);
    assert!(message.contains("2 columns, but the model has 2, and the condition label"), "{message}");
    let message = fails(&["score", &vectors, &numbers, "--condition", "angle"], 2);
    assert!(message.contains("1 column, but the condition of the model is angle, speed"), "{message}");
    let message = fails(&["score", &plain, &data, "--condition", "label"], 2);
    assert!(message.contains("the model has none"), "{message}");
}

#[test]
fn a_model_whose_file_names_no_columns_is_asked_for_its_class() {
    let folder = Folder::new("unnamed-condition");
    let config = VaeConfig {
        encoder: NetworkSpec::mlp([4], Activation::Tanh, 4),
        decoder: NetworkSpec::mlp([4], Activation::Tanh, 4),
        condition: ConditionKind::Class { classes: 3 },
        ..Default::default()
    };
    let path = folder.path("model.safetensors");
    persist::save(&Vae::new(config, &mut quadrivium::seeded(0)).unwrap(), &path).unwrap();
    assert!(ok(&["info", &path]).contains("condition   a class from 0 to 2\n"));
    let text = ok(&["sample", &path, "-n", "2", "--given", "class=1"]);
    assert!(text.starts_with("x1,x2,class\n") && text.ends_with(",1\n"), "{text}");
    let message = fails(&["sample", &path], 1);
    assert!(message.contains("choose one with --given, a value for class"), "{message}");
    let rows = folder.write("rows.csv", "0.5,0.5,2\n0.25,0.25,0\n");
    assert_eq!(ok(&["score", &path, &rows]).lines().count(), 3);
    let unknown = folder.write("unknown.csv", "0.5,0.5,3\n");
    let message = fails(&["score", &path, &unknown, "-o", &folder.path("scores.csv")], 1);
    assert!(message.contains("row 1, column class: 3 is not a class the model knows: 0, 1, 2"), "{message}");
}

#[test]
fn every_kind_of_model_takes_a_condition() {
    let folder = Folder::new("kinds-given");
    let data = labeled(&folder);
    for kind in [
        "autoregressive",
        "diffusion",
        "energy",
        "flow",
        "flow_map",
        "flow_matching",
        "gan",
        "gaussian_mixture",
        "kernel_density",
        "latent_diffusion",
        "score",
        "vae",
    ] {
        let in_one_go = matches!(kind, "gaussian_mixture" | "kernel_density");
        let steps = if in_one_go { &[][..] } else { &["--steps", "5"] };
        let (model, _) = fit(&folder, kind, &data, &[&["--condition", "label"], steps].concat());
        for given in [&[][..], &["--given", "label=9"]] {
            let text = ok(&[&["sample", &model, "-n", "3"], given].concat());
            assert!(text.starts_with("x,label,y\n") && text.lines().count() == 4, "{kind}: {text}");
        }
        if !matches!(kind, "gan" | "score") {
            assert_eq!(ok(&["score", &model, &data, "--rows", "3"]).lines().count(), 4, "{kind}");
        }
    }
}

#[test]
fn compare_ranks_models_under_a_condition() {
    let folder = Folder::new("compare-given");
    let data = labeled(&folder);
    let models = "gaussian_mixture,kernel_density,vae";
    let compare = ["compare", &data, "--quick", "--condition", "label", "--models", models];
    let result: serde_json::Value = serde_json::from_str(&ok(&[&compare[..], &["--json"]].concat())).unwrap();
    assert_eq!(result["condition"], serde_json::json!(["label"]));
    assert_eq!(result["models"].as_array().unwrap().len(), 3, "{result}");
    // Of a class, the entropy is 0 nats; of all rows, ln 2 + ½ ln 2 = 1.04 more.
    let best = &result["models"][0];
    assert!(best["nll"].as_f64().unwrap() < 0.7, "{best}");
    let table = ok(&compare);
    assert!(table.contains(" --condition label -o "), "{table}");
}

//! Which columns it takes, and what it says of those without a density.

use std::fs;

use super::{FAITHFUL, Folder, fails, ok, run, stderr};

#[test]
fn columns_are_found_by_name_and_chosen_by_number() {
    let folder = Folder::new("columns");
    let model = folder.fit("gaussian_mixture", &[]);
    let faithful = fs::read_to_string(FAITHFUL).unwrap();
    let swapped: String = faithful
        .lines()
        .enumerate()
        .map(|(i, line)| {
            let (a, b) = line.split_once(',').unwrap();
            format!("{b};note {i};{a}\n")
        })
        .collect();
    let swapped = folder.write("swapped.csv", swapped);
    let scores = ok(&["score", &model, FAITHFUL]);
    assert_eq!(ok(&["score", &model, &swapped]), scores);
    assert_eq!(ok(&["score", &model, &swapped, "--columns", "3,1"]), scores);
    assert_ne!(ok(&["score", &model, &swapped, "--columns", "1,eruptions"]), scores);
    assert!(
        fails(&["score", &model, &swapped, "--columns", "waiting"], 1).contains("1 column, the model has 2")
    );
    assert!(fails(&["score", &model, &swapped, "--columns", "3,4"], 1).contains("no column \"4\""));
    let other = folder.write("other.csv", "a,b\n1,2\n");
    assert!(
        fails(&["score", &model, &other], 1).contains("the model's columns are [\"eruptions\", \"waiting\"]")
    );
    // The names of a model are no numbers of columns, even if they look like it.
    let years = folder.write("years.csv", faithful.replacen("eruptions,waiting", "1,2", 1));
    let numbers = folder.path("numbers.safetensors");
    ok(&["fit", "-m", "gaussian_mixture", &years, "-o", &numbers, "--header", "yes"]);
    assert!(
        fails(&["score", &numbers, &other], 1).contains("no column \"1\": expected one of [\"a\", \"b\"]")
    );
    assert_eq!(ok(&["score", &numbers, &other, "--columns", "1,2"]).lines().count(), 2);
    // Without names, by place.
    let unnamed = folder.write("unnamed.csv", faithful.split_once('\n').unwrap().1);
    assert_eq!(ok(&["score", &model, &unnamed]), scores);

    // An index without a name, and a name twice that nobody asked for.
    let rows = faithful.lines().skip(1).enumerate();
    let indexed: String = rows.map(|(i, line)| format!("{i},{line},{i}\n")).collect();
    let indexed = folder.write("indexed.csv", format!(",eruptions,waiting,\n{indexed}"));
    assert_eq!(ok(&["score", &model, &indexed]), scores);
    let twice = folder.write(
        "twice.csv",
        fs::read_to_string(&indexed).unwrap().replacen(",eruptions", "n,eruptions", 1).replacen(
            "waiting,",
            "waiting,n",
            1,
        ),
    );
    assert_eq!(ok(&["score", &model, &twice, "--columns", "eruptions,waiting"]), scores);
    assert!(
        fails(&["score", &model, &twice, "--columns", "n,waiting"], 1).contains("a name not used before")
    );

    let one = folder.path("one.safetensors");
    ok(&["fit", "-m", "gaussian_mixture", &swapped, "-o", &one, "--columns", "3"]);
    assert!(ok(&["sample", &one, "-n", "1"]).starts_with("eruptions\n"));
}

#[test]
fn names_that_look_like_values_stay_names() {
    let folder = Folder::new("names");
    let rows = fs::read_to_string(FAITHFUL).unwrap();
    let rows = rows.split_once('\n').unwrap().1;
    let (model, drawn) = (folder.path("model.safetensors"), folder.path("drawn.csv"));
    for header in ["2019,2020", "None,nan", "2019,b"] {
        let data = folder.write("data.csv", format!("{header}\n{rows}"));
        ok(&["fit", "-m", "gaussian_mixture", &data, "-o", &model, "--header", "yes"]);
        ok(&["sample", &model, "-n", "30", "-o", &drawn]);
        assert_eq!(ok(&["score", &model, &drawn]).lines().count(), 31, "{header}");
        // The model knows the names of its data, quoted or not.
        assert_eq!(ok(&["score", &model, &data]).lines().count(), 273, "{header}");
        assert_eq!(ok(&["score", &model, &data, "--header", "yes"]).lines().count(), 273, "{header}");
        let json: serde_json::Value = serde_json::from_str(&ok(&["info", "--json", &model])).unwrap();
        assert_eq!(json["columns"][0]["name"].as_str(), header.split(',').next(), "{header}");
        // A header that pandas makes up is a row unless somebody says no.
        let (counted, other) = (folder.write("counted.csv", format!("0,1\n{rows}")), folder.path("other"));
        for (more, guessed) in [(&[][..], true), (&["--header", "yes"], false), (&["--header", "no"], false)]
        {
            let output = run(&[&["fit", "-m", "gaussian_mixture", &counted, "-o", &other], more].concat());
            assert_eq!(stderr(&output).contains("counts the columns"), guessed, "{more:?}");
        }
        // Nobody else has to be told, either.
        ok(&["fit", "-m", "gaussian_mixture", &drawn, "-o", &model]);
        let again: serde_json::Value = serde_json::from_str(&ok(&["info", "--json", &model])).unwrap();
        assert_eq!(again["columns"][1]["name"], json["columns"][1]["name"], "{header}");
    }
}

#[test]
fn columns_without_a_density_are_told() {
    let folder = Folder::new("density");
    let rows: String = (0..40).map(|i| format!("{},{},7\n", f64::from(i).sin(), i % 5)).collect();
    let data = folder.write("data.csv", format!("a,count,c\n{rows}"));
    let model = folder.path("model.safetensors");
    let fit = ["fit", "-m", "gaussian_mixture", &data, "-o", &model];
    let message = fails(&fit, 1);
    assert!(
        message.contains("column c holds 7 in all 40 rows") && message.contains("--drop-constant"),
        "{message}"
    );

    let output = run(&[&fit[..], &["--drop-constant"]].concat());
    let message = stderr(&output);
    assert!(output.status.success() && message.contains("hold one value only: c\n"), "{message}");
    assert!(message.contains("whole numbers only: count.") && message.contains("--dequantise"), "{message}");

    let output = run(&[&fit[..], &["--columns", "a,count", "--dequantise"]].concat());
    let message = stderr(&output);
    assert!(output.status.success() && message.contains("spread over their rounding: count\n"), "{message}");
    // Drawn rows are whole again, unless told not to be.
    let whole = |text: &str| {
        text.lines()
            .skip(1)
            .map(|line| line.split_once(',').unwrap().1)
            .all(|v| v.parse::<i32>().is_ok() && v != "-0")
    };
    let drawn = ok(&["sample", &model, "-n", "500"]);
    assert!(whole(&drawn) && drawn.contains(",0\n"), "{drawn}");
    assert!(!whole(&ok(&["sample", &model, "-n", "50", "--raw"])));
    let scored = run(&["score", &model, &data]);
    assert!(stderr(&scored).contains("as in training: count"), "{}", stderr(&scored));
    let raw = run(&["score", &model, &data, "--raw"]);
    assert!(!stderr(&raw).contains("as in training") && raw.stdout != scored.stdout);
}

/// A kernel on each spread row: the training's noise again would hit each row's own kernel.
#[test]
fn rounding_to_f32_is_told() {
    let folder = Folder::new("rounding");
    let model = folder.path("model.safetensors");
    let table = |id: &dyn Fn(u64) -> u64| {
        let rows: String = (0..40).map(|i| format!("{},{}\n", f64::from(i as i32).sin(), id(i))).collect();
        folder.write("data.csv", format!("a,id\n{rows}"))
    };
    let fit = |data: &str| run(&["fit", "-m", "gaussian_mixture", data, "-o", &model, "--dequantise"]);
    for id in [&|i| 20_000_001 + 20 * i, &|i| 1_000_003 * i] as [&dyn Fn(u64) -> u64; 2] {
        let output = fit(&table(id));
        let message = stderr(&output);
        assert!(
            output.status.success() && message.contains("beyond 16,777,216 are rounded to f32: id ("),
            "{message}"
        );
        assert!(message.contains("--dequantise changes nothing") && !message.contains("spread"), "{message}");
    }
    let output = fit(&table(&|i| u64::MAX - i));
    let message = stderr(&output);
    assert!(message.contains("in all 40 rows, once they are rounded to f32"), "{message}");
    let exact = fit(&table(&|i| 16_000_000 + 10 * i));
    assert!(exact.status.success() && !stderr(&exact).contains("rounded"), "{}", stderr(&exact));
}

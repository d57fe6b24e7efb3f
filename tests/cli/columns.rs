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
        fails(&["score", &model, &swapped, "--columns", "waiting"], 1)
            .contains("1 column, but the model has 2")
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
            assert_eq!(
                stderr(&output).contains(
                    "counts the columns and is taken for a row, not for their names: if it is a header"
                ),
                guessed,
                "{more:?}"
            );
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
    // As columns are by default, they have one.
    let fitted = run(&["fit", "-m", "gaussian_mixture", &data, "-o", &model]);
    assert!(stderr(&fitted).contains("c: 1 value, each with its probability: 7\n"), "{}", stderr(&fitted));
    let plain = ["fit", "-m", "gaussian_mixture", &data, "-o", &model, "--units", "plain"];
    let message = fails(&plain, 1);
    assert!(
        message.contains("column c holds 7 in all 40 rows") && message.contains("--drop-constant"),
        "{message}"
    );

    let output = run(&[&plain[..], &["--drop-constant"]].concat());
    let message = stderr(&output);
    assert!(output.status.success() && message.contains("hold only one value: c\n"), "{message}");
    assert!(message.contains("rounded columns: count (1).") && message.contains("--dequantize"), "{message}");

    let output = run(&[&plain[..4], &["-o", &model, "--columns", "a,count", "--dequantize"]].concat());
    let message = stderr(&output);
    assert!(
        output.status.success() && message.contains("noise to rounded columns: count (1)\n"),
        "{message}"
    );
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
    assert!(
        stderr(&scored).contains("as in training: count (1). The mean is a lower bound"),
        "{}",
        stderr(&scored)
    );
    let raw = run(&["score", &model, &data, "--raw"]);
    assert!(!stderr(&raw).contains("as in training") && raw.stdout != scored.stdout);
}

#[test]
fn tenths_are_drawn_as_tenths() {
    let folder = Folder::new("tenths");
    let rows: String = (0..300)
        .map(|i| format!("{:.1},{}\n", 5.0 + f64::from(i * i % 101).sin(), 20 * (i * i % 7) + 1))
        .collect();
    let data = folder.write("data.csv", format!("len,code\n{rows}"));
    let model = folder.path("model.safetensors");
    let output = run(&["fit", "-m", "gaussian_mixture", &data, "-o", &model, "--dequantize"]);
    assert!(
        stderr(&output).contains("noise to rounded columns: len (0.1), code (20)\n"),
        "{}",
        stderr(&output)
    );
    for line in ok(&["sample", &model, "-n", "300"]).lines().skip(1) {
        let (len, code) = line.split_once(',').unwrap();
        let decimals = len.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        assert!(decimals <= 1 && code.parse::<i64>().unwrap().rem_euclid(20) == 1, "{line}");
    }
    // ln 0.1 + ln 20.
    let scored = run(&["score", &model, &data]);
    assert!(
        stderr(&scored).contains("The mean, plus 0.6931 nats for the widths of the steps,"),
        "{}",
        stderr(&scored)
    );
}

/// Times and places keep their fractions from the file to the draws, and shifted columns have the same density.
#[test]
fn what_f32_would_lose_is_learned_and_drawn() {
    let folder = Folder::new("units");
    let write = |name: &str, shift: [f64; 2], scale: f64| {
        let rows = (0..400).map(|i| {
            let (a, b) = (f64::from(i * i % 389).sin(), f64::from(i * 7 % 113).cos());
            format!("{:.6},{:e}\n", shift[0] + 0.25 * (a + b), (shift[1] + b + 0.3 * a * a) * scale)
        });
        folder.write(name, format!("t,m\n{}", rows.collect::<String>()))
    };
    let plain = write("plain.csv", [0.0, 10.0], 1.0);
    let far = write("far.csv", [1_700_000_000.0, 10.0], 1e-44);
    let mean = |data: &str| {
        let model = folder.path("model.safetensors");
        ok(&["fit", "-m", "gaussian_mixture", data, "-o", &model]);
        let scored = ok(&["score", &model, data]);
        let nats: Vec<f64> = scored.lines().skip(1).map(|line| line.parse().unwrap()).collect();
        (nats.iter().sum::<f64>() / nats.len() as f64, ok(&["sample", &model, "-n", "200"]))
    };
    let ((near, _), (moved, drawn)) = (mean(&plain), mean(&far));
    // A scale of 10⁻⁴⁴ adds 44 ln 10.
    let scaled = near + 44.0 * std::f64::consts::LN_10;
    assert!((moved - scaled).abs() < 1e-3, "{moved}, expected {scaled}");
    let rows: Vec<[f64; 2]> = drawn
        .lines()
        .skip(1)
        .map(|line| line.split_once(',').map(|(t, m)| [t.parse().unwrap(), m.parse().unwrap()]).unwrap())
        .collect();
    assert!(rows.iter().all(|[t, m]| (t - 1.7e9).abs() < 3.0 && (5e-44..2e-43).contains(m)), "{drawn}");
    let mut times: Vec<u64> = rows.iter().map(|[t, _]| t.to_bits()).collect();
    times.sort_unstable();
    times.dedup();
    assert!(times.len() > 190, "fractions are drawn: {drawn}");
}

#[test]
fn what_hurts_a_density_is_told_by_name() {
    let folder = Folder::new("findings");
    let rows: String = (0..400)
        .map(|i| {
            let (x, free) = (f64::from(i * i % 389).sin(), f64::from(i * 7 % 397).cos());
            let (mass, far) = (if i % 4 > 0 { 0.125 } else { free }, if i == 17 { 1e5 } else { x });
            format!("{i},{x:.7},{:.7},{mass:.7},{far:.7}\n", 2.0 * x + 1.0)
        })
        .collect();
    let data = folder.write("data.csv", format!(",x,y,mass,far\n{rows}"));
    let model = folder.path("model.safetensors");
    let fit = ["fit", "-m", "kernel_density", &data, "-o", &model, "--set", r#"bandwidth="Scott""#];
    let output = run(&[&fit[..], &["--units", "plain"]].concat());
    for says in [
        "columns without a name in the header are called x1\n",
        "column x1 counts the rows",
        "column y follows from x (",
        "column mass holds 0.125 in 300 of 400 rows",
        "column far has 1 row far from the others, the farthest row 18 with 100000",
    ] {
        assert!(stderr(&output).contains(says), "{says}: {}", stderr(&output));
    }
    // What the maps of columns do not mend.
    let output = run(&fit);
    for says in ["column x1 is left out: it counts the rows", "column y follows from x ("] {
        assert!(stderr(&output).contains(says), "{says}: {}", stderr(&output));
    }
}

#[test]
fn rounding_is_told() {
    let folder = Folder::new("rounding");
    let model = folder.path("model.safetensors");
    let table = |id: &dyn Fn(u64) -> u64| {
        let rows: String = (0..40).map(|i| format!("{},{}\n", f64::from(i as i32).sin(), id(i))).collect();
        folder.write("data.csv", format!("a,id\n{rows}"))
    };
    let fit = |data: &str| run(&["fit", "-m", "gaussian_mixture", data, "-o", &model, "--dequantize"]);
    let output = fit(&table(&|i| 1_000_003 * (i * i % 40)));
    let message = stderr(&output);
    assert!(
        output.status.success() && message.contains("do not fit into the 24 bits of f32 were rounded: id ("),
        "{message}"
    );
    assert!(message.contains("--dequantize has no effect") && !message.contains("added"), "{message}");
    let output = fit(&table(&|i| u64::MAX - i));
    let message = stderr(&output);
    assert!(message.contains("in all 40 rows, once they are rounded"), "{message}");
    for exact in [&|i| 16_000_000 + 10 * i, &|i| 1_700_000_001 + 20 * i] as [&dyn Fn(u64) -> u64; 2] {
        let exact = fit(&table(exact));
        assert!(exact.status.success() && !stderr(&exact).contains("do not fit"), "{}", stderr(&exact));
        assert!(stderr(&exact).contains("noise to rounded columns: id ("), "{}", stderr(&exact));
    }
}

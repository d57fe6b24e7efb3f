//! Columns in units of their own: `--units` and `--column`.

use super::{Folder, fails, ok, run, stderr};

fn hash(number: u32) -> u32 {
    number
        .wrapping_mul(2_654_435_761)
        .rotate_left(13)
        .wrapping_mul(2_246_822_519)
        .rotate_left(11)
        .wrapping_mul(3_266_489_917)
}

/// Incomes, days of a month, children, shares, and gains most of which are zero.
fn people(rows: u32) -> String {
    let mut text = String::from("income,day,children,share,gain\n");
    for row in 0..rows {
        // Numbers without a pattern that the columns would share.
        let random = |column: u32| f64::from(hash(row * 5 + column) >> 8) / f64::from(1u32 << 24);
        let income = 20_000.0 * (3.0 * (random(0) - 0.5)).exp();
        let day = 1 + (31.0 * random(1)) as u32;
        let children = (4.0 * random(2) * random(2)) as u32;
        let gain = if random(4) < 0.8 { 0.0 } else { (5.0 + 4.0 * random(4)).exp() };
        text += &format!("{income:.2},{day},{children},{:.6},{gain:.2}\n", random(3).powi(2).max(1e-6));
    }
    text
}

fn column(table: &str, at: usize) -> Vec<&str> {
    table.lines().skip(1).map(|line| line.split(',').nth(at).unwrap()).collect()
}

#[test]
fn what_is_drawn_is_what_the_columns_can_hold() {
    let folder = Folder::new("units");
    let data = folder.write("people.csv", people(1_500));
    let model = folder.path("people.safetensors");
    let fitted = run(&[
        "fit",
        "-m",
        "gaussian_mixture",
        &data,
        "-o",
        &model,
        "--units",
        "auto",
        "--column",
        "day:1..31",
    ]);
    let said = stderr(&fitted);
    assert!(fitted.status.success(), "{said}");
    for line in [
        "income: numbers above 0, logarithmic, in steps of 0.01",
        "day: 31 values, each with its probability: 1, 2, 3, 4, 5, 6, …",
        "children: 4 values, each with its probability: 0, 1, 2, 3",
        "gain: numbers above 0, logarithmic, gaussianized, in steps of 0.01, and with a probability of their own 0",
        "negative log-likelihood of 1000 training rows: at most ",
        "--column NAME:WHAT",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("--dequantize adds noise"), "{said}");

    let drawn = ok(&["sample", &model, "-n", "2000", "--seed", "1"]);
    let numbers = |at: usize| column(&drawn, at).into_iter().map(|cell| cell.parse::<f64>().unwrap());
    assert!(numbers(0).all(|income| income > 0.0));
    assert!(numbers(1).all(|day| (1.0..=31.0).contains(&day) && day.fract() == 0.0));
    assert!(numbers(2).all(|children| [0.0, 1.0, 2.0, 3.0].contains(&children)));
    assert!(numbers(3).all(|share| (0.0..=1.0).contains(&share)));
    assert!(numbers(4).all(|gain| gain >= 0.0));
    let zeros = |table: &str| {
        let gains = column(table, 4);
        gains.iter().filter(|gain| gain.parse() == Ok(0.0)).count() as f64 / gains.len() as f64
    };
    let (drawn_zeros, real_zeros) = (zeros(&drawn), zeros(&people(1_500)));
    assert!((drawn_zeros - real_zeros).abs() < 0.04, "{drawn_zeros}, {real_zeros}");
    let decimals = |cell: &str| cell.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    assert!(column(&drawn, 0).into_iter().chain(column(&drawn, 4)).all(|cell| decimals(cell) <= 2));

    // Scored as they are, and a row that the columns cannot hold is told.
    let scored = ok(&["score", &model, &data]);
    assert!(scored.lines().skip(1).all(|nats| nats.parse::<f64>().unwrap().is_finite()));
    let odd = folder.write("odd.csv", "income,day,children,share,gain\n100.5,32,0,0.5,0\n100.5,3,0,0.5,-1\n");
    assert_eq!(ok(&["score", &model, &odd]).lines().skip(1).collect::<Vec<_>>(), ["-inf", "-inf"]);
}

#[test]
fn what_is_said_of_columns_is_checked() {
    let folder = Folder::new("units-refused");
    let data = folder.write("people.csv", people(200));
    let model = folder.path("m.safetensors");
    let fit = ["fit", "-m", "gaussian_mixture", &data, "-o", &model];
    for (said, message) in [
        ("day", "expected NAME:WHAT"),
        ("week:1..7", "no column \"week\": expected one of income, day, children, share, gain"),
        ("day:monthly", "\"monthly\": expected one of positive"),
        ("day:1..x", "\"x\" is no number"),
        ("gain:value=", "\"\" is no number"),
    ] {
        let failed = fails(&[&fit[..], &["--column", said]].concat(), 2);
        assert!(failed.contains(message), "{said}: {failed}");
    }
    assert!(fails(&[&fit[..], &["--column", "day:1..20"]].concat(), 1).contains("Column::high"));
    assert!(fails(&[&fit[..], &["--units", "auto", "--dequantize"]].concat(), 2).contains("--dequantize"));
    let both = fails(&[&fit[..], &["--units", "plain", "--column", "day:1..31"]].concat(), 2);
    assert!(both.contains("--units plain takes every column for numbers"), "{both}");
}

/// Labels, gaps, and columns that no model can learn.
fn mixed(rows: u32) -> String {
    let mut text = String::from("id,name,country,active,orders,height\n");
    for row in 0..rows {
        let at = |column: u32| hash(row * 7 + column) >> 8;
        let country = ["DE", "FR", "\"IT, south\"", ""][(at(0) % 4) as usize];
        let active = if at(1) % 3 == 0 { "no" } else { "yes" };
        let orders = if at(2) % 10 == 0 { String::new() } else { (at(2) % 5).to_string() };
        let height = if at(3) % 5 == 0 {
            "NA".into()
        } else {
            format!("{:.3}", 1.5 + f64::from(at(3) % 1000) / 2000.0)
        };
        text += &format!("{},person {row},{country},{active},{orders},{height}\n", row + 1);
    }
    text
}

#[test]
fn labels_and_gaps_are_modeled_and_drawn() {
    let folder = Folder::new("labels");
    let data = folder.write("mixed.csv", mixed(800));
    let model = folder.path("mixed.safetensors");
    let fit = ["fit", "-m", "gaussian_mixture", &data, "-o", &model];
    let plain = fails(&[&fit[..], &["--units", "plain"]].concat(), 1);
    assert!(plain.contains("`fit` models labels and gaps, unless --units plain"), "{plain}");
    let fitted = run(&fit);
    let said = stderr(&fitted);
    assert!(fitted.status.success(), "{said}");
    for line in [
        "column id is left out: it counts the rows",
        "column name is left out: its texts, such as \"person 0\", are too many for labels",
        "country: labels: , DE, FR, IT, south",
        "orders: 6 values, each with its probability: missing, 0, 1, 2, 3, 4",
        "and with a probability of their own missing",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let drawn = ok(&["sample", &model, "-n", "1000", "--seed", "2"]);
    assert!(drawn.starts_with("country,active,orders,height\n"));
    for line in drawn.lines().skip(1) {
        let (country, rest) = line.strip_prefix("\"IT, south\"").map_or_else(
            || line.split_once(',').map(|(country, rest)| (country, rest.to_owned())).unwrap(),
            |rest| ("IT, south", rest[1..].to_owned()),
        );
        let cells: Vec<&str> = rest.split(',').collect();
        assert!(["DE", "FR", "IT, south", ""].contains(&country), "{line}");
        assert!(["yes", "no"].contains(&cells[0]), "{line}");
        assert!(["", "0", "1", "2", "3", "4"].contains(&cells[1]), "{line}");
        let height = cells[2].is_empty() || (1.0..2.6).contains(&cells[2].parse::<f64>().unwrap());
        assert!(height && cells[2].len() <= 5, "{line}");
    }
    let gaps = column(&drawn.replace("\"IT, south\"", "IT"), 3).iter().filter(|cell| cell.is_empty()).count();
    assert!((150..250).contains(&gaps), "{gaps}");
    // What was drawn can be scored, and a label that nobody knows not.
    let back = folder.write("drawn.csv", &drawn);
    assert!(
        ok(&["score", &model, &back]).lines().skip(1).all(|nats| nats.parse::<f64>().unwrap().is_finite())
    );
    let odd = folder.write("odd.csv", "country,active,orders,height\nES,yes,1,1.7\n");
    let refused = run(&["score", &model, &odd]);
    let labels = "one of the labels [\"\", \"DE\", \"FR\", \"IT, south\"]";
    assert!(!refused.status.success() && stderr(&refused).contains(labels), "{}", stderr(&refused));
    assert!(fails(&["sample", &model, "--format", "npy"], 2).contains("write CSV"));
}

#[test]
fn models_with_units_are_compared() {
    let folder = Folder::new("compare-units");
    let data = folder.write("mixed.csv", mixed(400));
    let models = "gaussian_mixture,kernel_density,vae";
    let compare = ["compare", &data, "--quick", "--units", "auto", "--models", models];
    let result: serde_json::Value = serde_json::from_str(&ok(&[&compare[..], &["--json"]].concat())).unwrap();
    assert_eq!(result["columns"], serde_json::json!(["country", "active", "orders", "height"]));
    let models = result["models"].as_array().unwrap();
    assert_eq!(models.len(), 3, "{result}");
    // Columns that are independent: ln 4, ln 3 − ⅔ ln 2, the gaps and values of orders, and a height where there is one.
    let entropy = 1.386 + 0.637 + 0.325 + 0.9 * 1.609 + 0.5 + 0.8 * 0.5f64.ln();
    let best = models[0]["nll"].as_f64().unwrap();
    assert!(best > entropy - 0.15 && best < entropy + 0.6, "{best}, {entropy}");
    let floor = result["training_rows"]["energy"].as_f64().unwrap();
    let energy = models[0]["distances"]["energy"].as_f64().unwrap();
    assert!(energy < 10.0 * floor + 0.05, "{energy}, {floor}");
    let table = ok(&compare);
    assert!(table.contains("--units auto -o ") && !table.contains("--dequantize"), "{table}");
}

#[test]
fn rows_with_gaps_are_left_out_if_asked() {
    const ONE: &str = r#"components={"Fixed":1}"#;
    let folder = Folder::new("gaps");
    let data = folder.write("rows.csv", "x,y\n1,2\n2,\n3,1\n,4\n5,7\n2.5,NA\n4,3\n");
    let model = folder.path("m.safetensors");
    let fit = ["fit", "-m", "gaussian_mixture", &data, "-o", &model, "--set", ONE];
    let plain = fails(&[&fit[..], &["--units", "plain"]].concat(), 1);
    assert!(plain.contains("leaves out such rows with --drop-missing"), "{plain}");
    let fitted = run(&[&fit[..], &["--drop-missing"]].concat());
    assert!(
        stderr(&fitted).contains("3 rows of 7 left out because a value is missing"),
        "{}",
        stderr(&fitted)
    );
    let whole = folder.write("whole.csv", "x,y\n1,2\n3,1\n5,7\n4,3\n");
    let same = folder.path("same.safetensors");
    ok(&["fit", "-m", "gaussian_mixture", &whole, "-o", &same, "--set", ONE]);
    assert_eq!(std::fs::read(&model).unwrap(), std::fs::read(&same).unwrap());
    // Of labels, too.
    let data = folder.write("mixed.csv", mixed(300));
    let mixed = ["fit", "-m", "gaussian_mixture", &data, "-o", &model, "--units", "auto", "--drop-missing"];
    let fitted = run(&mixed);
    let said = stderr(&fitted);
    assert!(said.contains("country: labels: DE, FR, IT, south") && !said.contains("missing, 0"), "{said}");
    let drawn = ok(&["sample", &model, "-n", "300"]);
    assert!(drawn.lines().all(|line| !line.contains(",,") && !line.starts_with(',')), "{drawn}");
}

#[test]
fn a_label_is_a_condition() {
    let folder = Folder::new("label-condition");
    let text: String = (0..400)
        .map(|row| {
            let (name, middle) = [("red", 0.0), ("blue", 10.0)][row % 2];
            format!("{name},{:.3}\n", middle + f64::from(row as u32 * 37 % 100) / 100.0)
        })
        .collect();
    let data = folder.write("colors.csv", format!("color,x\n{text}"));
    let model = folder.path("colors.safetensors");
    let fitted = run(&[
        "fit",
        "-m",
        "gaussian_mixture",
        &data,
        "-o",
        &model,
        "--units",
        "auto",
        "--condition",
        "color",
    ]);
    assert!(stderr(&fitted).contains("the condition is color, a class: blue, red"), "{}", stderr(&fitted));
    assert!(ok(&["info", &model]).contains("color, a class: blue, red"));
    let red = ok(&["sample", &model, "-n", "50", "--given", "color=red"]);
    assert!(
        red.lines().skip(1).all(|line| line.starts_with("red,") && line[4..].parse::<f64>().unwrap() < 5.0),
        "{red}"
    );
    let any = ok(&["sample", &model, "-n", "50"]);
    assert!(any.contains("blue,") && any.contains("red,"));
    assert!(fails(&["sample", &model, "--given", "color=green"], 1).contains("expected one of blue, red"));
    assert_eq!(ok(&["score", &model, &data]).lines().count(), 401);
}

//! Columns in units of their own: `--units` and `--column`.

use super::{Folder, fails, ok, run, stderr};

/// Incomes, days of a month, children, shares, and gains most of which are zero.
fn people(rows: u32) -> String {
    let mut text = String::from("income,day,children,share,gain\n");
    for row in 0..rows {
        // Numbers without a pattern that the columns would share.
        let random = |column: u32| {
            f64::from((row * 5 + column).wrapping_mul(2_654_435_761) >> 8) / f64::from(1u32 << 24)
        };
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
        "income: numbers above",
        "in steps of 0.01",
        "day: 31 values, each with its probability: 1, 2, 3, 4, 5, 6, …",
        "children: 4 values, each with its probability: 0, 1, 2, 3",
        "gain: numbers above",
        "and with a probability of their own 0",
        "negative log-likelihood of 300 held-out rows: at most ",
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
    let zeros = numbers(4).filter(|&gain| gain == 0.0).count() as f64 / 2000.0;
    assert!((zeros - 0.8).abs() < 0.04, "{zeros}");
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
}

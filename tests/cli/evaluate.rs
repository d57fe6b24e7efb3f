//! Synthetic rows beside real ones, and twins beside what is predicted of them.

use serde_json::Value;

use super::{Folder, command, fails, ok};

/// Two groups that a label names, with a gap here and there.
fn flowers(rows: u32, shift: f64) -> String {
    let mut text = String::from("kind,petal,width\n");
    for row in 0..rows {
        // Sums of uniform numbers, from the bits of a hash.
        let noise = |salt: u32| {
            let bits =
                (row * 31 + salt).wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(2_246_822_519);
            (0..4).map(|part| f64::from(bits >> (8 * part) & 255) / 255.0).sum::<f64>() - 2.0
        };
        let (kind, middle) = if noise(9) > 0.0 { ("rose", 3.0) } else { ("iris", 0.0) };
        let width = if row % 20 == 7 { String::new() } else { format!("{:.4}", 1.0 + noise(2)) };
        text += &format!("{kind},{:.4},{width}\n", middle + noise(1) + shift);
    }
    text
}

fn found(report: &Value, list: &str, name: &str) -> (f64, f64) {
    let figures = report[list].as_array().unwrap();
    let figure = figures.iter().find(|figure| figure["name"].as_str().unwrap().starts_with(name)).unwrap();
    (figure["synthetic"].as_f64().unwrap(), figure["real"].as_f64().unwrap())
}

#[test]
fn synthetic_rows_stand_beside_real_ones() {
    let folder = Folder::new("evaluate");
    let all = flowers(1_800, 0.0);
    let lines: Vec<&str> = all.lines().collect();
    let part = |range: std::ops::Range<usize>| format!("{}\n{}\n", lines[0], lines[range].join("\n"));
    let real = folder.write("real.csv", part(1..601));
    let held_out = folder.write("held.csv", part(601..1201));
    let good = folder.write("good.csv", part(1201..1801));
    let off = folder.write("off.csv", flowers(600, 1.5));
    let report = |synthetic: &str| -> Value {
        let more = ["--held-out", &held_out, "--label", "kind", "--json"];
        serde_json::from_str(&ok(&[&["evaluate", &real, synthetic][..], &more].concat())).unwrap()
    };

    let same = report(&good);
    for column in ["kind", "petal", "width"] {
        let (distance, floor) = found(&same, "columns", column);
        assert!(distance < 3.0 * floor + 0.02, "{column}: {distance}, {floor}");
    }
    let (accuracy, _) = found(&same, "rows", "told apart");
    assert!((accuracy - 0.5).abs() < 0.07, "{accuracy}");
    let (closer, _) = found(&same, "rows", "closer to a row");
    assert!((closer - 0.5).abs() < 0.07, "{closer}");
    let (synthetic, real_rows) = found(&same, "rows", "kind predicted");
    assert!(synthetic > 0.9 && (synthetic - real_rows).abs() < 0.06, "{synthetic}, {real_rows}");

    let copied = report(&real);
    assert_eq!(found(&copied, "rows", "rows that are real ones").0, 1.0);
    // A row with a gap may stand in both files.
    assert!(found(&copied, "rows", "closer to a row").0 > 0.95);
    assert!(found(&copied, "rows", "told apart").0 < 0.05);

    let shifted = report(&off);
    let (distance, floor) = found(&shifted, "columns", "petal");
    assert!(distance > 10.0 * floor, "{distance}, {floor}");
    assert!(found(&shifted, "rows", "told apart").0 > 0.7);

    let told = ok(&["evaluate", &real, &good]);
    assert!(told.contains("| petal") && told.contains("| coverage"), "{told}");
    let fewer = folder.write("fewer.csv", "kind,petal\nrose,1\n");
    assert!(fails(&["evaluate", &real, &fewer], 1).contains("no column \"width\""));
    assert!(
        fails(&["evaluate", &real, &good, "--label", "color"], 2)
            .contains("expected one of kind, petal, width")
    );
}

/// Every column has its panel, and every figure is in a table.
#[cfg(feature = "plot")]
#[test]
fn the_report_shows_every_column_and_figure() {
    let folder = Folder::new("evaluate-report");
    let real = folder.write("real.csv", flowers(300, 0.0));
    let drawn = folder.write("drawn.csv", flowers(300, 0.5));
    let report = folder.path("report");
    let told = ok(&["evaluate", &real, &drawn, "--label", "kind", "--report", &report]);
    let page = std::fs::read_to_string(format!("{report}/index.html")).unwrap();
    for shown in ["iris", "rose", "missing", "petal", "300 rows of"] {
        assert!(page.contains(shown), "{shown}");
    }
    let figures = told.lines().filter(|line| line.starts_with("| ") && line.contains("0."));
    for figure in figures {
        let cells: Vec<&str> = figure.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let row =
            format!("<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>", cells[0], cells[1], cells[2]);
        assert!(page.contains(&row), "{row}");
    }
    assert!(std::fs::metadata(format!("{report}/pictures/every-column.png")).unwrap().len() > 1_000);
}

#[test]
fn twins_are_what_was_predicted() {
    for (system, parts) in
        [("A", "autoregressive"), ("b", "diffusion + latent-variable"), ("C", "adversarial")]
    {
        let done = command(&["check", system, "--steps", "5"]).output().unwrap();
        let told = String::from_utf8(done.stdout).unwrap();
        assert!(
            done.status.success() && told.contains(&format!("| {parts}")) && !told.contains('✗'),
            "{told}"
        );
    }
}

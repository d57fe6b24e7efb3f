//! Shares of the work: ranges of rows are, one after the other, the whole.

use super::{FAITHFUL, Folder, fails, ok};

/// Lines of ranges of rows, of which each but the first comes without its header.
fn joined(command: &[&str], ranges: &[&str]) -> String {
    let mut text = String::new();
    for range in ranges {
        let lines = ok(&[command, &["--rows", range]].concat());
        let rows = if text.is_empty() { &lines } else { lines.split_once('\n').unwrap().1 };
        text += rows;
    }
    text
}

#[test]
fn ranges_of_drawn_rows_are_the_whole() {
    let folder = Folder::new("ranges-drawn");
    let model = folder.fit("gaussian_mixture", &[]);
    let sample = ["sample", &model, "--seed", "3"];
    let whole = ok(&[&sample[..], &["-n", "9000"]].concat());
    assert_eq!(joined(&sample, &["0..1", "1..4096", "4096..8500", "8500..9000"]), whole);
    for refused in ["9", "5..5", "7..3", "a..b"] {
        assert!(fails(&[&sample[..], &["--rows", refused]].concat(), 2).contains("--rows"), "{refused}");
    }
    assert!(fails(&["sample", &model, "--rows", "0..3", "-n", "3"], 2).contains("--count"));

    // With a condition that is drawn for each row, and with one for all.
    let text: String =
        (0..60).map(|row| format!("{},{}\n", row % 3, f64::from(row * 37 % 50) / 10.0)).collect();
    let data = folder.write("labeled.csv", format!("label,x\n{text}"));
    let conditional = folder.path("conditional.safetensors");
    ok(&["fit", "-m", "kernel_density", &data, "-o", &conditional, "--condition", "label"]);
    for given in [&["--seed", "1"][..], &["--given", "label=2"]] {
        let sample = [&["sample", &conditional], given].concat();
        let whole = ok(&[&sample[..], &["-n", "5000"]].concat());
        assert_eq!(joined(&sample, &["0..17", "17..4200", "4200..5000"]), whole, "{given:?}");
    }
}

#[test]
fn ranges_of_scored_rows_are_the_whole() {
    let folder = Folder::new("ranges-scored");
    // With noise on rounded values, and noise of the likelihood.
    let spread = folder.fit("gaussian_mixture", &["--dequantize"]);
    let vae = folder.path("vae.safetensors");
    ok(&["fit", "-m", "vae", FAITHFUL, "-o", &vae, "--steps", "20"]);
    for model in [&spread, &vae] {
        let score = ["score", model, FAITHFUL];
        assert_eq!(joined(&score, &["0..100", "100..101", "101..400"]), ok(&score));
        assert_eq!(
            ok(&[&score[..], &["--rows", "7"]].concat()),
            ok(&[&score[..], &["--rows", "0..7"]].concat())
        );
    }
    assert!(
        fails(&["score", &vae, FAITHFUL, "--rows", "400..500"], 1)
            .contains("272 rows, none of them in --rows")
    );
}

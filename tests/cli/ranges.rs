//! Shares of the work: ranges of rows are, one after the other, the whole.

use super::{FAITHFUL, Folder, fails, ok, run, stderr};

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

/// What a comparison has measured, without the seconds.
fn measured(more: &[&str]) -> (serde_json::Value, String) {
    let compare = ["compare", FAITHFUL, "--quick", "--json", "--models", "flow,gan,gaussian_mixture,vae"];
    let output = run(&[&compare[..], more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let mut result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for model in result["models"].as_array_mut().unwrap() {
        let model = model.as_object_mut().unwrap();
        assert!(model.remove("train_s").is_some() && model.remove("draw_us_per_row").is_some());
    }
    (result, stderr(&output).to_owned())
}

#[test]
fn models_are_compared_at_the_same_time_and_only_once() {
    let folder = Folder::new("jobs");
    let kept = folder.path("kept");
    let (one, _) = measured(&[]);
    assert_eq!(measured(&["--jobs", "3"]).0, one);
    let keep = ["--jobs", "2", "--keep", &kept];
    let (first, said) = measured(&keep);
    assert!(first == one && !said.contains("as measured in"), "{said}");
    // One of four is lost, and one was cut off.
    let files = || std::fs::read_dir(&kept).unwrap().map(|file| file.unwrap().path());
    assert_eq!(files().count(), 4);
    std::fs::remove_file(files().next().unwrap()).unwrap();
    std::fs::write(files().next().unwrap(), "{").unwrap();
    let (again, said) = measured(&keep);
    assert_eq!((again == one, said.matches("as measured in").count()), (true, 2), "{said}");
    // Of another seed, nothing is known.
    assert!(!measured(&[&keep[..], &["--seed", "1"]].concat()).1.contains("as measured in"));
    assert_eq!(files().count(), 8);
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

//! What it does not take: rows and commands, told with their place, before any work.

use std::fs;
use std::path::Path;

use super::{FAITHFUL, Folder, fails, ok, run, stderr, with_stdin};

#[test]
fn bad_input_is_told_by_line_and_column() {
    let folder = Folder::new("bad");
    let model = folder.path("model.safetensors");
    for (text, says) in [
        ("a,b\n1,2\n3,x\n", "line 3, column 2: found \"x\", expected a finite number (b)"),
        ("a,b\n1,2\n\n3,NA\n", "line 4, column 2 (b): \"NA\" in row 2 is a missing value"),
        ("a,b\n1,2\n3\n", "line 3, column 2: found \"the end of the line\""),
        ("a,a\n1,2\n", "line 1, column 2: found \"a\", expected a name not used before"),
        ("1,2x\n3,4\n", "line 1 may be a header or a row: column 2 holds \"2x\""),
        ("", "0 rows"),
        ("a,b\n", "0 rows"),
        ("a,b\n1,2\n", "one row"),
    ] {
        let data = folder.write("data.csv", text);
        let message = fails(&["fit", "-m", "vae", &data, "-o", &model, "--units", "plain"], 1);
        assert!(
            message.starts_with(&format!("error: {data}: ")) && message.contains(says),
            "{text:?}: {message}"
        );
    }
    let piped = with_stdin(&["fit", "-m", "vae", "-", "-o", &model, "--units", "plain"], b"a\n1\n?\n");
    assert!(stderr(&piped).starts_with("error: standard input: line 3, column 1 (a)"), "{}", stderr(&piped));
    // Where columns may hold labels, a text among numbers is a mistake.
    for (text, says) in [
        (
            "a,b\n1,2\n3,x\n",
            "line 3, column 2: found \"x\", expected a finite number (b); --column NAME:category",
        ),
        ("a,b\n1,2\n3\n", "line 3, column 2: found \"the end of the line\""),
        ("a,b\n1,2\n", "one row"),
        ("a,b\n", "0 rows"),
    ] {
        let data = folder.write("data.csv", text);
        let message = fails(&["fit", "-m", "vae", &data, "-o", &model], 1);
        assert!(message.contains(says), "{text:?}: {message}");
    }
    let cut = folder.write("cut.npy", b"\x93NUMPY\x01\x00");
    assert!(fails(&["fit", "-m", "vae", &cut, "-o", &model], 1).contains("not a table in NPY format"));
    let absent = folder.path("absent.csv");
    assert!(fails(&["fit", "-m", "vae", &absent, "-o", &model], 1).contains("absent.csv: "));
    assert!(fails(&["info", FAITHFUL], 1).contains("not a model's file"));
    assert!(!Path::new(&model).exists());
}

#[test]
fn columns_without_spread_are_told_by_name() {
    let folder = Folder::new("spread");
    // One row has another value, and is held out with nine in ten.
    let rare = |at: usize| {
        let rows = (0..300).map(|i| format!("{},{}\n", f64::from(i as i32).sin(), 1 + usize::from(i == at)));
        folder.write("rare.csv", format!("b,a\n{}", rows.collect::<String>()))
    };
    let model = folder.path("model.safetensors");
    let fit = |at| {
        run(&[
            "fit",
            "-m",
            "gan",
            &rare(at),
            "--steps",
            "1",
            "--validation",
            "0.9",
            "-o",
            &model,
            "--units",
            "plain",
        ])
    };
    let output = (0..5).map(fit).find(|output| !output.status.success()).unwrap();
    let says = stderr(&output);
    assert!(says.contains("column a holds 1 in all 30 rows to train on"), "{says}");
    assert!(says.contains("--columns"), "{says}");
}

#[test]
fn a_text_is_told_how_it_could_be_read() {
    let folder = Folder::new("styles");
    let model = folder.path("model.safetensors");
    let fit = ["fit", "-m", "gaussian_mixture", "-o", &model];
    let row = |i: i32| (f64::from(i).sin(), f64::from(i * i % 31));
    let comma = |v: f64| format!("{v:.3}").replace('.', ",");
    let decimals = (0..40).map(row).map(|(a, b)| format!("{};{}\n", comma(a), comma(b)));
    let decimals = folder.write("decimals.csv", decimals.collect::<String>());
    let message = fails(&[&fit[..], &[&decimals]].concat(), 1);
    assert!(message.contains("--decimal , if it has a decimal comma"), "{message}");
    ok(&[&fit[..], &[&decimals, "--decimal", ","]].concat());
    let thousands = (0..40).map(row).map(|(a, b)| format!("\"1,{:03}.5\",{a}\n", 100.0 + b));
    let thousands = folder.write("thousands.csv", format!("price,area\n{}", thousands.collect::<String>()));
    let message = fails(&[&fit[..], &[&thousands]].concat(), 1);
    assert!(message.contains("; use --decimal . to read thousands separators"), "{message}");
    ok(&[&fit[..], &[&thousands, "--decimal", "."]].concat());
    assert!(ok(&["sample", &model, "-n", "1"]).starts_with("price,area\n1"));
    let colons = (0..40).map(row).map(|(a, b)| format!("{a}:{b}\n%\n"));
    let colons = folder.write("colons.csv", format!("a:b\n{}", colons.collect::<String>()));
    ok(&[&fit[..], &[&colons, "--separator", ":", "--comment", "%"]].concat());
    let commented = (0..40).map(row).map(|(a, b)| format!("{a} {b}\n")).collect::<String>();
    let commented = folder.write("commented.txt", format!("# a b\n{commented}"));
    let output = run(&[&fit[..], &[&commented]].concat());
    assert!(stderr(&output).contains("line 1 is a comment"), "{}", stderr(&output));
    ok(&[&fit[..], &[&commented, "--header", "yes"]].concat());
    assert!(ok(&["sample", &model, "-n", "0"]).starts_with("a,b\n"));

    let mixed = (0..40).map(row).map(|(a, b)| format!("{a},name {a},{b}\n"));
    let mixed = folder.write("mixed.csv", format!("a,name,b\n{}", mixed.collect::<String>()));
    let message = fails(&[&fit[..], &[&mixed, "--units", "plain"]].concat(), 1);
    assert!(
        message.contains("\n  name: text such as \"name ") && message.ends_with(": --columns a,b\n"),
        "{message}"
    );
    ok(&[&fit[..], &[&mixed, "--columns", "a,b"]].concat());
    let output = run(&[&fit[..], &[&mixed]].concat());
    assert!(stderr(&output).contains("column name is left out: its texts, such as"), "{}", stderr(&output));
    for bad in [["--separator", "1"], ["--separator", "ab"], ["--decimal", ";"]] {
        let output = run(&[&fit[..], &[&colons], &bad].concat());
        assert!(!output.status.success() && stderr(&output).contains("expected"), "{}", stderr(&output));
    }
}

#[test]
fn bad_commands_are_told_before_work_is_done() {
    let folder = Folder::new("usage");
    let model = folder.path("model.safetensors");
    let fit = ["fit", "-m", "vae", FAITHFUL, "-o", &model];
    for more in [
        &["--steps", "0"][..],
        &["--validation", "1"],
        &["--patience", "3", "--validation", "0"],
        &["--validate-every", "3", "--validation", "0"],
        &["--set", "draws"],
        &["--model", "other"],
        &["--rows", "0"],
    ] {
        fails(&[&fit[..], more].concat(), 2);
    }
    for (more, says) in [
        (&["--set", "latent_dim=0"][..], "VaeConfig::latent_dim = 0"),
        (&["--set", "optimizer.lr=-1"], "lr = -1"),
        (&["--set", "dim=3"], "2 columns"),
        (&["--set", "decoder.hidden=64"], "decoder.hidden = 64: invalid type"),
        (&["--set", "decoder={\"kind\":\"Conv\"}"], "unknown variant `Conv`"),
        (&["--config", FAITHFUL], "faithful.csv: "),
    ] {
        let message = fails(&[&fit[..], more].concat(), 1);
        assert!(message.contains(says), "{more:?}: {message}");
    }
    for (setting, says) in [("latnt=0", "latent_dim"), ("optimizer.rate=1", "weight_decay")] {
        assert!(fails(&[&fit[..], &["--set", setting]].concat(), 2).contains(says), "{setting}");
    }
    let nowhere = folder.path("no/such/model.safetensors");
    assert!(fails(&["fit", "-m", "vae", FAITHFUL, "-o", &nowhere], 1).contains("an existing folder"));
    let checkpoint = folder.path("checkpoint");
    let patience = ["--patience", "3", "--validation", "0.2"];
    for (kind, more, says) in [
        ("gaussian_mixture", &["--steps", "9"][..], "--steps"),
        ("gaussian_mixture", &["--batch", "9"], "--batch"),
        ("kernel_density", &["--steps", "9"], "--steps"),
        ("kernel_density", &["--batch", "9"], "--batch"),
        ("kernel_density", &["--validation", "0.1", "--validate-every", "9"], "--validate-every"),
        ("gaussian_mixture", &["--checkpoint", &checkpoint], "--checkpoint"),
        ("kernel_density", &["--checkpoint", &checkpoint], "--checkpoint"),
        ("kernel_density", &patience, "--patience"),
        ("gan", &patience, "--patience: the loss of WGAN-GP"),
        ("energy", &patience, "--patience: the loss of EBM (chains)"),
    ] {
        let message = fails(&[&["fit", "-m", kind, FAITHFUL, "-o", &model], more].concat(), 2);
        assert!(message.contains(&format!("error: {says}")), "{kind}: {message}");
    }
    let text = folder.write("old.checkpoint", "no checkpoint");
    for (more, says) in [
        (&["--checkpoint", &nowhere][..], "an existing folder"),
        (&["--log", folder.0.to_str().unwrap()], "an existing folder"),
        // Not the rows are at fault.
        (&["--checkpoint", &text], "error: checkpoint "),
    ] {
        let message = fails(&[&fit[..], more].concat(), 1);
        assert!(message.contains(says) && !message.contains(&format!("error: {FAITHFUL}")), "{message}");
    }
    let dotted = folder.path("./model.safetensors");
    let copy = folder.write("copy.csv", fs::read(FAITHFUL).unwrap());
    for (files, says) in [
        ([copy.as_str(), &copy, "--seed", "0"], "the rows and for the model"),
        ([copy.as_str(), &model, "--log", &copy], "the rows and for the log"),
        ([copy.as_str(), &model, "--checkpoint", &dotted], "the model and for the checkpoint"),
    ] {
        let [data, output, flag, path] = files;
        let message = fails(&["fit", "-m", "vae", data, "-o", output, flag, path], 2);
        assert!(message.contains(says), "{message}");
    }
    let settings = folder.write("settings.json", "{}");
    let message = fails(&["fit", "-m", "vae", FAITHFUL, "--config", &settings, "-o", &settings], 2);
    assert!(message.contains("the settings and for the model"), "{message}");
    assert_eq!(fs::read_to_string(&settings).unwrap(), "{}");
    assert_eq!(fs::read(&copy).unwrap(), fs::read(FAITHFUL).unwrap());
    assert!(!Path::new(&model).exists());
    fails(&["sample", "-"], 2);
    fails(&["sample", FAITHFUL, "--temperature", "-1"], 2);
    fails(&[], 2);
}

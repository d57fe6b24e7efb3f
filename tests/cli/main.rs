//! The program `quadrivium` as a user runs it: files, pipes, messages and exit codes.

mod columns;
mod conditions;
mod endings;
mod evaluate;
mod files;
mod formats;
mod ranges;
mod reading;
mod refusals;
mod texts;
mod together;
mod units;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const FAITHFUL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/faithful.csv");

/// A folder of a test's own, gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("quadrivium-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A model of the given kind, trained a little on Old Faithful.
    fn fit(&self, kind: &str, more: &[&str]) -> String {
        let model = self.path(&format!("{kind}.safetensors"));
        let fit = ["fit", "--model", kind, FAITHFUL, "-o", &model];
        let by_steps = !matches!(kind, "gaussian_mixture" | "kernel_density");
        let steps = if by_steps { &["--steps", "20"][..] } else { &[] };
        ok(&[&fit[..], steps, more].concat());
        model
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quadrivium"));
    command.args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// What it wrote to standard output; it must have worked.
fn ok(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What it said; it must have failed with that code.
fn fails(args: &[&str], code: i32) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
    assert_eq!(output.stdout, b"", "{args:?}");
    stderr(&output).to_owned()
}

fn with_stdin(args: &[&str], input: &[u8]) -> Output {
    let mut child =
        command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn fit_info_sample_score() {
    let folder = Folder::new("trip");
    let model = folder.fit("vae", &["--seed", "3"]);
    let info = ok(&["info", &model]);
    for word in ["vae", "eruptions, waiting", "lower bound", "posterior collapse", "format 3"] {
        assert!(info.contains(word), "{word}: {info}");
    }
    let json: serde_json::Value = serde_json::from_str(&ok(&["info", "--json", &model])).unwrap();
    assert_eq!((json["kind"].as_str(), json["dim"].as_u64()), (Some("vae"), Some(2)));
    assert_eq!(json["columns"][1]["name"], "waiting");

    let text = ok(&["sample", &model, "-n", "5000", "--seed", "1"]);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("eruptions,waiting"));
    assert_eq!(lines.clone().count(), 5000);
    assert!(lines.all(|line| line.split(',').filter(|v| v.parse::<f32>().is_ok()).count() == 2));
    // The same seed, the same bytes, and more rows begin with fewer.
    assert_eq!(ok(&["sample", &model, "-n", "5000", "--seed", "1"]), text);
    assert!(text.starts_with(&ok(&["sample", &model, "-n", "10", "--seed", "1"])));
    assert_ne!(ok(&["sample", &model, "-n", "5000", "--seed", "2"]), text);
    assert_eq!(ok(&["sample", &model, "-n", "0"]), "eruptions,waiting\n");

    let scored = run(&["score", &model, FAITHFUL]);
    assert!(stderr(&scored).contains("lower bound on the log-likelihood: mean -"), "{}", stderr(&scored));
    let one = run(&["score", &model, FAITHFUL, "--rows", "1"]);
    assert!(stderr(&one).ends_with(" nats over 1 row\n") && !stderr(&one).contains('±'), "{}", stderr(&one));
    let nats = String::from_utf8(scored.stdout).unwrap();
    assert_eq!(nats.lines().next(), Some("nats"));
    let nats: Vec<f64> = nats.lines().skip(1).map(|line| line.parse().unwrap()).collect();
    assert_eq!(nats.len(), 272);

    // The same training, the same bytes.
    let again = folder.path("again.safetensors");
    ok(&["fit", "-m", "vae", FAITHFUL, "-o", &again, "--steps", "20", "--seed", "3"]);
    assert_eq!(fs::read(&again).unwrap(), fs::read(&model).unwrap());
}

#[test]
fn every_kind_of_model_is_fitted_and_says_its_likelihood() {
    let folder = Folder::new("kinds");
    for (kind, says) in [
        ("autoregressive", "exact"),
        ("diffusion", "ODE estimate"),
        ("energy", "estimate of the log-likelihood"),
        ("flow", "exact"),
        ("flow_map", "ODE estimate"),
        ("flow_matching", "ODE estimate"),
        ("gaussian_mixture", "exact"),
        ("kernel_density", "exact"),
        ("latent_diffusion", "lower bound"),
    ] {
        let model = folder.fit(kind, &["--units", "plain"]);
        assert_eq!(ok(&["sample", &model, "-n", "3"]).lines().count(), 4, "{kind}");
        let scored = run(&["score", &model, FAITHFUL, "--rows", "5"]);
        assert!(stderr(&scored).contains(says), "{kind}: {}", stderr(&scored));
        let header = if kind == "energy" { "nats,std_error\n" } else { "nats\n" };
        let text = String::from_utf8(scored.stdout).unwrap();
        assert!(text.starts_with(header) && text.lines().count() == 6, "{kind}: {text}");
    }
    for kind in ["gan", "score"] {
        let model = folder.fit(kind, &["--units", "plain"]);
        assert!(fails(&["score", &model, FAITHFUL], 1).contains("no likelihood"), "{kind}");
    }
    // A composition says so in its file.
    let info = ok(&["info", &folder.path("latent_diffusion.safetensors")]);
    assert!(info.contains("VAE + DDIM-50 (hybrid)"), "{info}");
    // One column: a coupling flow is no choice.
    folder.fit("flow", &["--columns", "waiting"]);
}

#[test]
fn text_npy_and_pipes_carry_the_same_numbers() {
    let folder = Folder::new("formats");
    let model = folder.fit("autoregressive", &[]);
    let (csv, npy) = (folder.path("rows.csv"), folder.path("rows.npy"));
    for path in [&csv, &npy] {
        ok(&["sample", &model, "-n", "9000", "-o", path]);
    }
    let scores = ok(&["score", &model, &csv]);
    assert_eq!(scores.lines().count(), 9001);
    assert_eq!(ok(&["score", &model, &npy]), scores);
    for path in [&csv, &npy] {
        let piped = with_stdin(&["score", &model, "-"], &fs::read(path).unwrap());
        assert_eq!(
            String::from_utf8(piped.stdout).unwrap(),
            scores,
            "{}",
            String::from_utf8_lossy(&piped.stderr)
        );
    }
    let piped = run(&["sample", &model, "-n", "9000", "--format", "npy"]).stdout;
    assert_eq!(piped, fs::read(&npy).unwrap());

    // Scores as NPY: the count is known in advance, or put in when the end is there.
    let (known, counted) = (folder.path("known.npy"), folder.path("counted.npy"));
    ok(&["score", &model, &npy, "-o", &known]);
    ok(&["score", &model, &csv, "-o", &counted]);
    assert_eq!(fs::read(&known).unwrap(), fs::read(&counted).unwrap());
    assert!(fs::read(&known).unwrap().starts_with(b"\x93NUMPY"));
    assert!(fails(&["score", &model, &csv, "--format", "npy"], 2).contains("number of rows"));

    // An output that fails leaves what was there, and nothing else.
    let (empty, kept) = (folder.write("empty.csv", "eruptions,waiting\n"), folder.write("kept.csv", "kept"));
    assert!(fails(&["score", &model, &empty, "-o", &kept], 1).contains("no rows"));
    assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
    let bad = folder.write("bad.csv", "eruptions,waiting\n1,2\n1,x\n");
    let files = || fs::read_dir(&folder.0).unwrap().count();
    let before = files();
    assert!(fails(&["score", &model, &bad, "-o", &kept], 1).contains("line 3, column 2"));
    assert_eq!((fs::read_to_string(&kept).unwrap(), files()), ("kept".into(), before));
}

#[test]
fn rows_are_scored_by_other_noise_than_the_training_had() {
    let folder = Folder::new("noise");
    let model = folder.fit("kernel_density", &["--dequantize", "--set", r#"bandwidth={"Fixed":0.001}"#]);
    let mean = |seed: &str| {
        let scored = ok(&["score", &model, FAITHFUL, "--seed", seed]);
        let nats = scored.lines().skip(1).map(|line| line.parse::<f64>().unwrap().max(-100.0));
        nats.sum::<f64>() / 272.0
    };
    let (same, others) = (mean("0"), ["1", "2", "3"].map(mean));
    let (low, high) = (others.into_iter().reduce(f64::min), others.into_iter().reduce(f64::max));
    // In the training's own noise all rows score about 4.
    assert!(high.unwrap() < -20.0 && same < -20.0, "{same}, {low:?} to {high:?}");
}

#[test]
fn the_best_model_is_kept_and_measured_on_the_rows_held_out() {
    let folder = Folder::new("validation");
    let fit = |every: &str, name: &str| {
        let path = folder.path(name);
        let fit = ["fit", "-m", "flow", FAITHFUL, "--steps", "60", "--validation", "0.2", "--patience", "60"];
        // So large steps that the last is not the best.
        let more = ["--units", "plain", "--set", "optimizer.lr=0.05", "--validate-every", every, "-o", &path];
        let output = run(&[&fit[..], &more].concat());
        let message = stderr(&output);
        let (_, figure) = message.split_once("of 55 held-out rows: ").unwrap_or_else(|| panic!("{message}"));
        (figure.split(' ').next().unwrap().parse::<f64>().unwrap(), fs::read(path).unwrap())
    };
    // The best of sixty, and the last, which is the only one looked at.
    let (best, last) = (fit("1", "best"), fit("60", "last"));
    assert!(best.0 < last.0 && best.1 != last.1, "{} {}", best.0, last.0);
    let all = ["fit", "-m", "vae", FAITHFUL, "--steps", "9", "--validation", "0", "-o", &folder.path("all")];
    assert!(stderr(&run(&all)).contains("of 272 training rows: at most "));
}

/// One line in the words of the options; given back, they make the same model.
#[test]
fn fit_says_what_it_chose() {
    let folder = Folder::new("chose");
    let [model, again] = ["model", "again"].map(|name| folder.path(name));
    let output = run(&["fit", "-m", "autoregressive", FAITHFUL, "-o", &model]);
    let message = stderr(&output);
    let line = message.lines().find(|line| line.starts_with("autoregressive for 272 rows")).unwrap();
    let (_, chosen) = line.split_once("columns: ").unwrap();
    let (settings, training) = chosen.split_once("; ").unwrap();
    assert!(training.contains("at most ") && training.contains(" rows held out"), "{training}");
    let mut fit = vec!["fit", "-m", "autoregressive", FAITHFUL, "-o", &again];
    settings.split(' ').for_each(|setting| fit.extend(["--set", setting]));
    ok(&fit);
    assert_eq!(fs::read(&model).unwrap(), fs::read(&again).unwrap());
    assert!(message.contains("negative log-likelihood of "), "{message}");
}

#[test]
fn info_shows_the_components_of_a_mixture() {
    let folder = Folder::new("components");
    let model = folder.path("mixture.safetensors");
    let run = |components: &str| {
        let fit = ["fit", "-m", "gaussian_mixture", FAITHFUL, "-o", &model, "--set", components];
        let fit = command(&fit).output().unwrap();
        assert!(fit.status.success(), "{fit:?}");
        String::from_utf8(fit.stderr).unwrap()
    };
    let said = run(r#"components={"Fixed": 2}"#);
    assert!(!said.contains("note: component"), "{said}");
    let info = ok(&["info", &model]);
    assert!(info.lines().any(|line| line.starts_with("components  2 components, ")), "{info}");
    let json: serde_json::Value = serde_json::from_str(&ok(&["info", "--json", &model])).unwrap();
    assert_eq!(json["components"], 2);
    assert!(["full", "tied", "diagonal", "spherical"].contains(&json["covariance"].as_str().unwrap()));
    // Of 272 rows, more components than rows can hold up.
    let said = run(r#"components={"Fixed": 120}"#);
    assert!(said.contains("note: component ") && said.contains(" rests on "), "{said}");
}

#[test]
fn settings_reach_the_model() {
    let folder = Folder::new("settings");
    let config = folder.write("config.json", r#"{"decoder": {"hidden": [8]}, "latent_dim": 1}"#);
    let model =
        folder.fit("vae", &["--config", &config, "--set", "latent_dim=3", "--set", "optimizer.lr=0.001"]);
    let json: serde_json::Value = serde_json::from_str(&ok(&["info", "--json", &model])).unwrap();
    let config = &json["config"];
    let set = (&config["decoder"]["hidden"], &config["latent_dim"]);
    assert_eq!(set, (&serde_json::json!([8]), &serde_json::json!(3)));
    assert_eq!(config["optimizer"]["lr"], 0.001);
    // The rest of an object that is named in part stays as the model's recipe has it.
    let part = folder.write("part.json", r#"{"optimizer": {"lr": 0.01}}"#);
    let gan = folder.fit("gan", &["--config", &part]);
    let json_gan: serde_json::Value = serde_json::from_str(&ok(&["info", "--json", &gan])).unwrap();
    let optimizer = &json_gan["config"]["optimizer"];
    assert_eq!((&optimizer["lr"], &optimizer["beta1"]), (&0.01.into(), &0.5.into()));
    // What `info` shows can be given back.
    let whole = folder.write("whole.json", config.to_string());
    let again = folder.path("again.safetensors");
    ok(&["fit", "-m", "vae", FAITHFUL, "-o", &again, "--steps", "20", "--config", &whole]);
    assert_eq!(fs::read(&again).unwrap(), fs::read(&model).unwrap());
}

#[test]
fn compare_ranks_every_model() {
    let table = ok(&["compare", FAITHFUL, "--quick"]);
    for word in [
        "autoregressive",
        "VAE",
        "WGAN-GP",
        "DDIM-50",
        "(training rows)",
        "upper bound",
        "Trained on 217 rows",
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
    // The kinds by the names of the options, and the command for the first of them.
    let first = table.lines().nth(2).unwrap().split('|').nth(2).unwrap().trim();
    let command = table.lines().last().unwrap();
    assert_eq!(command, format!("quadrivium fit -m {first} {FAITHFUL} -o {first}.safetensors"), "{table}");
    let command =
        ["compare", FAITHFUL, "--quick", "--json", "--models", "gaussian_mixture,gan,kernel_density"];
    let result: serde_json::Value = serde_json::from_str(&ok(&command)).unwrap();
    let models = result["models"].as_array().unwrap();
    assert_eq!(models.len(), 3);
    assert!(models[0]["nll"].as_f64().unwrap() <= models[1]["nll"].as_f64().unwrap());
    assert_eq!((models[2]["model"].as_str(), models[2]["nll"].as_f64()), (Some("WGAN-GP"), None));
    assert!(models.iter().all(|model| model["distances"]["energy"].as_f64().unwrap() >= 0.0));
    let by_energy: serde_json::Value =
        serde_json::from_str(&ok(&[&command[..], &["--by", "energy"]].concat())).unwrap();
    let energies: Vec<f64> = by_energy["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["distances"]["energy"].as_f64().unwrap())
        .collect();
    assert!(energies.is_sorted(), "{energies:?}");

    // Twice the same is once; a file that cannot be is told before the work.
    let folder = Folder::new("compare");
    let out = folder.path("ranked.md");
    ok(&["compare", FAITHFUL, "--quick", "--models", "vae,vae", "-o", &out]);
    let ranked = fs::read_to_string(&out).unwrap();
    assert_eq!(ranked.matches("| VAE ").count(), 1, "{ranked}");
    fails(&["compare", FAITHFUL, "-o", &folder.path("none/ranked.md")], 1);
    let copy = folder.write("copy.csv", fs::read(FAITHFUL).unwrap());
    assert!(fails(&["compare", &copy, "-o", &copy], 2).contains("for the rows and for the table"));
}

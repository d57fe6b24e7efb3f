//! What becomes of files that are there: links, permissions, pipes; and of what is left half done.

use std::fs;
use std::path::Path;

use super::{FAITHFUL, Folder, fails, ok};

#[cfg(unix)]
#[test]
fn links_and_permissions_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = Folder::new("links");
    let model = folder.fit("gaussian_mixture", &[]);
    let fit = |output: &str| ok(&["fit", "-m", "gaussian_mixture", FAITHFUL, "-o", output]);
    let sample = |output: &str| ok(&["sample", &model, "-n", "3", "-o", output]);
    let works: [&dyn Fn(&str) -> String; 2] = [&fit, &sample];
    for (work, name) in works.into_iter().zip(["model", "rows"]) {
        let (target, link) = (folder.write(name, "old"), folder.path(&format!("{name}.link")));
        fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(name, &link).unwrap();
        work(&link);
        assert!(Path::new(&link).is_symlink(), "{name}");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        assert_ne!(fs::read(&target).unwrap(), b"old", "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_stays_one() {
    use std::os::unix::fs::FileTypeExt;

    let folder = Folder::new("pipes");
    let model = folder.fit("gaussian_mixture", &[]);
    let pipe = folder.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reads = || {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::read(pipe).unwrap())
    };
    let reader = reads();
    ok(&["fit", "-m", "gaussian_mixture", FAITHFUL, "-o", &pipe]);
    assert_eq!(reader.join().unwrap(), fs::read(&model).unwrap());
    let reader = reads();
    ok(&["sample", &model, "-n", "3", "-o", &pipe]);
    assert_eq!(reader.join().unwrap(), ok(&["sample", &model, "-n", "3"]).into_bytes());
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());

    // A model out of a pipe is read once.
    let writer = std::thread::spawn({
        let (pipe, bytes) = (pipe.clone(), fs::read(&model).unwrap());
        move || fs::write(pipe, bytes).unwrap()
    });
    assert_eq!(ok(&["info", &pipe]), ok(&["info", &model]));
    writer.join().unwrap();
}

#[test]
fn nothing_is_left_half_done() {
    let folder = Folder::new("left");
    let model = folder.fit("gaussian_mixture", &[]);
    let files = || fs::read_dir(&folder.0).unwrap().count();
    let before = files();
    let rows = folder.path("rows.npy");
    fails(&["sample", &model, "-n", "18446744073709551615", "-o", &rows], 1);
    // The name that it has until it is whole is too long: told before a training without an end.
    let long = folder.path(&"n".repeat(250));
    for more in [&["-o", &long][..], &["-o", &rows, "--checkpoint", &long]] {
        let fit = ["fit", "-m", "vae", FAITHFUL, "--steps", "1000000000"];
        assert!(fails(&[&fit[..], more].concat(), 1).contains("nnn"), "{more:?}");
    }
    assert_eq!(files(), before);
}

#[test]
fn what_is_read_is_not_written_over() {
    let folder = Folder::new("over");
    let model = folder.fit("gaussian_mixture", &[]);
    let rows = folder.write("rows.csv", fs::read(FAITHFUL).unwrap());
    let (hard, dotted) = (folder.path("hard"), folder.path("./rows.csv"));
    fs::hard_link(&model, &hard).unwrap();
    let mut works = vec![
        (vec!["sample", &model, "-o", &model], "the model and for the rows"),
        (vec!["sample", &model, "-o", &hard], "the model and for the rows"),
        (vec!["score", &model, &rows, "-o", &rows], "the rows and for the scores"),
        (vec!["score", &model, &rows, "-o", &dotted], "the rows and for the scores"),
        (vec!["score", &hard, &rows, "-o", &model], "the model and for the scores"),
        (vec!["compare", &rows, "-o", &dotted], "the rows and for the table"),
    ];
    let link = folder.path("link");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("rows.csv", &link).unwrap();
        works.push((vec!["score", &model, &rows, "-o", &link], "the rows and for the scores"));
        works.push((vec!["score", &model, &link, "-o", &rows], "the rows and for the scores"));
    }
    let before = fs::read(&model).unwrap();
    for (work, says) in works {
        assert!(fails(&work, 2).contains(says), "{work:?}");
    }
    assert!(fs::read(&model).unwrap() == before && fs::read(&rows).unwrap() == fs::read(FAITHFUL).unwrap());
}

#[test]
fn names_from_files_do_not_reach_the_terminal_as_they_are() {
    let folder = Folder::new("escapes");
    let text = fs::read_to_string(FAITHFUL).unwrap();
    let data = folder.write("rows.csv", text.replacen("waiting", "\u{1b}]0;owned\u{7}\u{202e}w\u{9b}", 1));
    let model = folder.path("model.safetensors");
    let fit = super::run(&["fit", "-m", "gaussian_mixture", &data, "-o", &model]);
    assert!(fit.status.success());
    let bad = folder.write("bad.csv", "a,b\n1,2\n");
    let told = [
        super::stderr(&fit).to_owned(),
        ok(&["info", &model]),
        fails(&["score", &model, &bad], 1),
        super::stderr(&super::run(&["score", &model, &data])).to_owned(),
    ];
    for text in told {
        let hidden = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!text.contains(hidden), "{text:?}");
    }
}

/// A disk that is full when the training ends: the model goes to another place.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_does_not_cost_the_training() {
    let told = fails(&["fit", "-m", "gan", FAITHFUL, "--steps", "20", "-o", "/dev/full"], 1);
    let (_, path) = told.split_once("the model is saved to ").unwrap_or_else(|| panic!("{told}"));
    let path = path.trim_end().trim_end_matches(" instead");
    let folder = Folder::new("full");
    assert_eq!(fs::read(path).unwrap(), fs::read(folder.fit("gan", &[])).unwrap());
    fs::remove_file(path).unwrap();
}

/// What a kill leaves of a log is whole lines.
#[test]
fn a_log_can_be_followed() {
    let folder = Folder::new("log");
    let (model, log) = (folder.path("model.safetensors"), folder.path("log.jsonl"));
    let fit = ["fit", "-m", "gan", FAITHFUL, "-o", &model, "--steps", "1000000000", "--log", &log];
    let mut child = super::command(&fit).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut text = String::new();
    while text.lines().count() < 3 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
        text = fs::read_to_string(&log).unwrap_or_default();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() >= 3, "{text}");
    for (i, line) in text.lines().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["step"].as_u64(), Some(10 * (i as u64 + 1)));
    }
}

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

//! How it ends when nobody reads on, or somebody interrupts it.

use std::io::Read;
use std::process::{Command, Stdio};
#[cfg(unix)]
use std::{fs, path::Path};

use super::{FAITHFUL, Folder, command, ok, stderr};

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let folder = Folder::new("pipe");
    let model = folder.fit("gan", &[]);
    let mut child = command(&["sample", &model, "-n", "100000000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = [0; 18];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    assert_eq!(&start, b"eruptions,waiting\n");
    // Standard output is closed now.
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}

#[cfg(unix)]
#[test]
fn an_interrupt_that_nobody_sees_ends_the_program() {
    let folder = Folder::new("unseen");
    let (data, model) = (folder.path("rows.fifo"), folder.path("model.safetensors"));
    assert!(Command::new("mkfifo").arg(&data).status().unwrap().success());
    let mut child = command(&["fit", "-m", "vae", &data, "-o", &model]).spawn().unwrap();
    // It is open when the program opens it: from then on it waits for rows, and listens to signals.
    let rows = fs::File::options().write(true).open(&data).unwrap();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(rows);
    assert!(!Path::new(&model).exists());
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_the_model() {
    use std::io::{BufRead, BufReader};

    let folder = Folder::new("interrupt");
    let model = folder.path("model.safetensors");
    let mut child = command(&["fit", "-m", "gan", FAITHFUL, "-o", &model, "--steps", "1000000000"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut messages = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // It speaks of the data when it already listens to signals.
    messages.read_line(&mut line).unwrap();
    assert!(line.contains("go in steps"), "{line}");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    messages.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert!(rest.contains("until Ctrl-C") && rest.contains("saved to"), "{rest}");
    assert_eq!(ok(&["sample", &model, "-n", "2"]).lines().count(), 3);
}

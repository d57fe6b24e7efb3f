//! The program `quadrivium` as a user runs it: files, pipes, messages and exit codes.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
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
        let steps = ["fit", "--model", kind, FAITHFUL, "-o", &model, "--steps", "20"];
        ok(&[&steps[..], more].concat());
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
fn placeholder() {
    let folder = Folder::new("first");
    let model = folder.fit("vae", &[]);
    assert!(Path::new(&model).exists());
    let mut text = String::new();
    fs::File::open(FAITHFUL).unwrap().read_to_string(&mut text).unwrap();
    let scored = with_stdin(&["score", &model, "-"], text.as_bytes());
    assert!(scored.status.success());
    fails(&["fit"], 2);
}

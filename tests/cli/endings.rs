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
    // Not all rows have come to somebody, so it has not worked.
    assert_eq!((output.status.code(), stderr(&output)), (Some(141), ""));
}

#[cfg(unix)]
#[test]
fn an_interrupt_that_nobody_sees_ends_the_program() {
    let folder = Folder::new("unseen");
    let (data, model) = (folder.path("rows.fifo"), folder.path("model.safetensors"));
    assert!(Command::new("mkfifo").arg(&data).status().unwrap().success());
    let fit = ["fit", "-m", "vae", &data, "-o", &model];
    let child = listening(&fit).stderr(Stdio::piped()).spawn().unwrap();
    // It is open when the program opens it: from then on it waits for rows, and listens to signals.
    let rows = fs::File::options().write(true).open(&data).unwrap();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(stderr(&output).contains("stopped by Ctrl-C: nothing is saved"), "{}", stderr(&output));
    drop(rows);
    assert!(!Path::new(&model).exists());
}

#[cfg(unix)]
#[test]
fn a_signal_keeps_the_model_and_is_named() {
    for (signal, says, code) in [("INT", "Ctrl-C", 130), ("TERM", "SIGTERM", 143), ("HUP", "SIGHUP", 129)] {
        let folder = Folder::new(signal);
        let model = folder.path("model.safetensors");
        let fit = ["fit", "-m", "gan", FAITHFUL, "-o", &model, "--steps", "1000000000"];
        let said = signaled(listening(&fit), &[signal], code);
        assert!(said.contains(&format!("until {says}")) && said.contains("saved to"), "{said}");
        assert_eq!(ok(&["sample", &model, "-n", "2"]).lines().count(), 3);
    }
}

/// While a program waits for rows, the output has no name of its own yet.
#[cfg(unix)]
#[test]
fn interrupted_program_leaves_no_unfinished_file() {
    use std::io::Write;

    let folder = Folder::new("unfinished");
    let (model, rows) = (folder.fit("gaussian_mixture", &[]), folder.path("rows.fifo"));
    assert!(Command::new("mkfifo").arg(&rows).status().unwrap().success());
    let files = || fs::read_dir(&folder.0).unwrap().count();
    let before = files();
    let score = ["score", &model, &rows, "-o", &folder.path("nats.csv")];
    let child = listening(&score).stderr(Stdio::piped()).spawn().unwrap();
    let mut writer = fs::File::options().write(true).open(&rows).unwrap();
    writer.write_all(b"eruptions,waiting\n").unwrap();
    // It opens its output when it has seen enough of the rows.
    while files() == before {
        writer.write_all("1.5,60\n2.5,70\n".repeat(500).as_bytes()).unwrap();
    }
    // Time to run out of rows: then it is waiting when the signal comes, and ends without dropping anything.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert_eq!(files(), before);
    drop(writer);
}

/// As `nohup` starts it.
#[cfg(target_os = "linux")]
#[test]
fn what_is_ignored_at_the_start_stays_ignored() {
    let folder = Folder::new("nohup");
    let model = folder.path("model.safetensors");
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_quadrivium")]);
    shell.args(["fit", "-m", "gan", FAITHFUL, "-o", &model, "--steps", "1000000000"]);
    // The first signal changes nothing, so the second one is the first.
    let said = signaled(shell, &["HUP", "TERM"], 143);
    assert!(said.contains("until SIGTERM") && said.contains("saved to"), "{said}");
}

/// The program with its signals as they are by default, where `env` can do that: a shell that starts a test in the
/// background has them ignored, and then the program ignores them, too.
#[cfg(unix)]
fn listening(args: &[&str]) -> Command {
    let default = "--default-signal=INT,TERM,HUP";
    if !Command::new("env").args([default, "true"]).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    {
        return command(args);
    }
    let mut program = Command::new("env");
    program.args([default, env!("CARGO_BIN_EXE_quadrivium")]).args(args);
    program
}

/// What a program said that got these signals, one after the other, once it had begun, and ended with that code.
#[cfg(unix)]
fn signaled(mut program: Command, signals: &[&str], code: i32) -> String {
    use std::io::{BufRead, BufReader};

    let mut child = program.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut messages = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // It speaks of the data when it already listens to signals.
    messages.read_line(&mut line).unwrap();
    assert!(line.starts_with("gan for 272 rows of 2 columns"), "{line}");
    for signal in signals {
        let kill = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }
    let mut rest = String::new();
    messages.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(code), "{rest}");
    rest
}

//! One model trained by several processes.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use super::{FAITHFUL, Folder, command, fails, ok};

/// Addresses on which nobody listens.
fn free(count: usize) -> String {
    let bound: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses = bound.iter().map(|listener| listener.local_addr().unwrap().to_string());
    addresses.collect::<Vec<_>>().join(",")
}

/// As many processes, each with a model of its own, and the file of that.
fn start(folder: &Folder, ranks: usize, options: &[&str]) -> Vec<(Child, String)> {
    let peers = free(ranks);
    let start = |rank: usize| {
        let (rank, file) = (rank.to_string(), folder.path(&format!("model-{rank}-of-{ranks}")));
        let fit = ["fit", FAITHFUL, "-o", &file, "--shards", "4", "--peers", &peers, "--rank", &rank];
        let child = command(&[&fit[..], options].concat()).stderr(Stdio::piped()).spawn().unwrap();
        (child, file)
    };
    (0..ranks).map(start).collect()
}

/// The files of processes that end well.
fn finished(processes: Vec<(Child, String)>) -> Vec<Vec<u8>> {
    let finish = |(child, file): (Child, String)| {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(file).unwrap()
    };
    processes.into_iter().map(finish).collect()
}

#[test]
fn processes_write_the_model_of_one_alone() {
    let folder = Folder::new("together");
    let options = ["-m", "flow", "--steps", "40"];
    let alone = folder.path("alone");
    ok(&[&["fit", FAITHFUL, "-o", &alone, "--shards", "4"], &options[..]].concat());
    let alone = fs::read(alone).unwrap();
    for ranks in 1..=4 {
        for model in finished(start(&folder, ranks, &options)) {
            assert!(model == alone, "{ranks} processes");
        }
    }
}

#[test]
fn processes_go_on_without_one_that_was_killed() {
    let folder = Folder::new("killed");
    let (log, checkpoint) = (folder.path("log"), folder.path("checkpoint"));
    let training = ["-m", "vae", "--steps", "4000", "--validation", "0"];
    let alone = folder.path("alone");
    ok(&[&["fit", FAITHFUL, "-o", &alone, "--shards", "4"], &training[..]].concat());

    let resumable = [&training[..], &["--checkpoint", &checkpoint, "--checkpoint-every", "50"]].concat();
    // The first has the checkpoint; all append to one log.
    let mut processes = start(&folder, 3, &[&resumable[..], &["--log", &log]].concat());
    while fs::read_to_string(&log).map_or(0, |log| log.lines().count()) < 60 {
        thread::sleep(Duration::from_millis(1));
    }
    let (mut killed, file) = processes.remove(1);
    killed.kill().unwrap();
    assert!(killed.wait().unwrap().code().is_none() && !fs::exists(file).unwrap(), "it was killed");
    for (process, file) in processes {
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(1) && said.contains("exchange with another process: process "),
            "{said}"
        );
        assert!(!fs::exists(file).unwrap(), "{said}");
    }
    let before = fs::read(&checkpoint).unwrap();
    for model in finished(start(&folder, 2, &resumable)) {
        assert!(model == fs::read(&alone).unwrap());
    }
    assert_ne!(fs::read(&checkpoint).unwrap(), before);
}

#[test]
fn processes_of_different_trainings_are_refused() {
    let folder = Folder::new("different");
    let peers = free(2);
    let fit = |rank: &str, seed: &str| {
        let file = folder.path(rank);
        let fit =
            ["fit", FAITHFUL, "-m", "vae", "-o", &file, "--peers", &peers, "--rank", rank, "--seed", seed];
        command(&fit).stderr(Stdio::piped()).spawn().unwrap()
    };
    for process in [fit("0", "1"), fit("1", "2")] {
        let said = process.wait_with_output().unwrap().stderr;
        assert!(String::from_utf8_lossy(&said).contains(": expected the same in all processes"));
    }
    let file = folder.path("file");
    let fit = ["fit", FAITHFUL, "-o", &file, "--peers", "a:1,b:2,c:3", "--rank", "0", "-m"];
    assert!(fails(&[&fit[..], &["vae"]].concat(), 2).contains("--shards 3"));
    assert!(fails(&[&fit[..], &["gaussian_mixture"]].concat(), 2).contains("fitted to all rows at once"));
    let late =
        ["fit", FAITHFUL, "-o", &file, "-m", "vae", "--peers", &peers, "--rank", "0", "--peer-patience", "1"];
    assert!(fails(&late, 1).contains("process 1 did not come within 1s"));
}

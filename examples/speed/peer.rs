//! JAX in a separate process that makes one measurement at a time, so that the two libraries can take turns.

use std::io::{BufRead, BufReader, Error, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/jax_peer.py");

pub struct Peer {
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// One with default settings, and one that prefers vectors of 512 bits: which is faster depends on the workload.
    pub fn start(python: &str, threads: usize) -> std::io::Result<Vec<Self>> {
        [&[][..], &["512"]].map(|bits| Peer::spawn(python, threads, bits)).into_iter().collect()
    }

    fn spawn(python: &str, threads: usize, bits: &[&str]) -> std::io::Result<Self> {
        let mut process = Command::new(python)
            .args([SCRIPT, &threads.to_string()])
            .args(bits)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| Error::other(format!("{python}: {e}")))?;
        let ask = process.stdin.take().expect("piped");
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        Ok(Peer { process, ask, answers })
    }

    /// Milliseconds per call of a workload, measured for about `seconds`; `None` if it does not know the workload.
    pub fn milliseconds(&mut self, workload: &str, seconds: f64) -> std::io::Result<Option<f64>> {
        writeln!(self.ask, "{workload} {seconds}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match answer.trim() {
            "none" => Ok(None),
            number => number
                .parse()
                .map(Some)
                .map_err(|_| Error::other(format!("the peer answered {number:?} to {workload}"))),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It has no state to save; an error means that it has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

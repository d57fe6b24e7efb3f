use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::Instant;

use crate::model::{Observer, Step};

/// Writes the steps of a training as lines of JSON: `step` (number of steps done), `steps`, `seconds` since the
/// log was created, `loss`, `parts` by name, and `validation`, the latest value or `null`.
///
/// A training that resumes from a checkpoint repeats the steps since the checkpoint was written, and so logs
/// them again; its `seconds` start at 0.
///
/// Each line is written and flushed at once, so a log can be followed while it grows and a killed process leaves
/// no partial line.
///
/// If a line cannot be written, the log ends but the training continues; [`finish`](JsonLines::finish) returns
/// the error.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
    /// The line that is being written.
    line: Vec<u8>,
    every: usize,
    started: Instant,
    failed: Option<io::Error>,
}

impl<W: Write> JsonLines<W> {
    /// Logs every `every`-th step (0 counts as 1) and the last one to `out`, which needs no buffering.
    pub fn new(out: W, every: usize) -> Self {
        JsonLines { out, line: Vec::new(), every: every.max(1), started: Instant::now(), failed: None }
    }

    /// Returns the writer.
    ///
    /// # Errors
    /// The first error in writing.
    pub fn finish(self) -> io::Result<W> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.out),
        }
    }

    fn write(&mut self, step: &Step<'_>) -> io::Result<()> {
        let (done, seconds) = (step.step + 1, self.started.elapsed().as_secs_f64());
        let line = &mut self.line;
        line.clear();
        write!(line, r#"{{"step":{done},"steps":{},"seconds":{seconds:.3},"loss":"#, step.steps)?;
        number(line, Some(step.loss))?;
        line.write_all(br#","parts":{"#)?;
        for (i, (name, &part)) in step.part_names.iter().zip(step.parts).enumerate() {
            let comma = if i > 0 { "," } else { "" };
            // The names are plain words, for which Rust's quoting is JSON's.
            write!(line, "{comma}{name:?}:")?;
            number(line, Some(part))?;
        }
        line.write_all(br#"},"validation":"#)?;
        number(line, step.validation)?;
        line.write_all(b"}\n")?;
        self.out.write_all(line)?;
        self.out.flush()
    }
}

/// JSON has no infinities.
fn number(out: &mut impl Write, v: Option<f64>) -> io::Result<()> {
    match v.filter(|v| v.is_finite()) {
        Some(v) => write!(out, "{v:?}"),
        None => out.write_all(b"null"),
    }
}

impl<W: Write> Observer for JsonLines<W> {
    fn step(&mut self, step: &Step<'_>) -> ControlFlow<()> {
        let done = step.step + 1;
        if self.failed.is_none() && (done.is_multiple_of(self.every) || done == step.steps) {
            self.failed = self.write(step).err();
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Step<'_> = Step {
        step: 0,
        steps: 5,
        loss: 0.1,
        part_names: &["data energy", "kl"],
        parts: &[1e-30, f64::NAN],
        validation: Some(-2.5),
    };

    #[test]
    fn each_line_is_json() {
        let mut log = JsonLines::new(Vec::new(), 2);
        for step in 0..5 {
            assert!(log.step(&Step { step, ..STEP.clone() }).is_continue());
        }
        let lines = String::from_utf8(log.finish().unwrap()).unwrap();
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.iter().map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 4, 5]);
        assert_eq!((&lines[0]["loss"], &lines[0]["steps"]), (&0.1.into(), &5.into()));
        assert_eq!(lines[0]["parts"], serde_json::json!({ "data energy": 1e-30, "kl": null }));
        assert_eq!(lines[0]["validation"], -2.5);
        assert!(lines[0]["seconds"].is_f64());
    }

    #[test]
    fn a_line_is_out_when_its_step_is_done() {
        #[derive(Default)]
        struct Pipe(Vec<u8>, Vec<usize>);
        impl Write for Pipe {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.extend(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                self.1.push(self.0.len());
                Ok(())
            }
        }
        let mut pipe = Pipe::default();
        let mut log = JsonLines::new(io::BufWriter::new(&mut pipe), 2);
        for step in 0..3 {
            assert!(log.step(&Step { step, ..STEP.clone() }).is_continue());
        }
        // Like a process that is killed: a buffer would not be written afterwards.
        std::mem::forget(log);
        assert!(pipe.0.ends_with(b"}\n") && pipe.1 == [pipe.0.len()], "{:?}", pipe.1);
    }

    #[test]
    fn a_full_disk_ends_the_log_and_not_the_training() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut log = JsonLines::new(Full, 1);
        assert!(log.step(&STEP).is_continue() && log.step(&STEP).is_continue());
        assert_eq!(log.finish().err().unwrap().kind(), io::ErrorKind::StorageFull);
    }
}

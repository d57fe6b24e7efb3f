//! Signals that ask the program to end: work stops at the next opportunity, and the program ends by itself if there is
//! none in time.

use std::ops::ControlFlow;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use quadrivium::file::remove_unfinished;
use quadrivium::{Observer, Step};

use crate::failure::{Failure, Outcome, say};

/// How long a signal waits until the work notices it, before it prints a message or ends the program.
const PATIENCE: Duration = Duration::from_secs(2);

/// A signal by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self.0 {
            1 => "SIGHUP",
            15 => "SIGTERM",
            _ => "Ctrl-C",
        }
    }

    /// The exit code by which a shell reports a program that this signal ended.
    pub fn exit_code(self) -> u8 {
        128 + self.0 as u8
    }
}

/// What the program is doing when a signal comes.
enum Phase {
    /// Work that checks the flag now and then and saves nothing if it ends early; the message to print then.
    Early(&'static str),
    /// A training, which checks the flag after each step, however long that takes; what a second signal would lose.
    Training(&'static str),
    /// The result is being written.
    Saving,
}

/// A flag that a signal raises, and whether the work has noticed it.
#[derive(Clone)]
pub struct Watch {
    /// The number of the first signal; 0 before.
    raised: Arc<AtomicI32>,
    seen: Arc<AtomicBool>,
    phase: Arc<Mutex<Phase>>,
}

impl Watch {
    /// The signal, if there was one.
    pub fn signal(&self) -> Option<Signal> {
        let signal = self.raised.load(Ordering::Relaxed);
        if signal != 0 {
            self.seen.store(true, Ordering::Relaxed);
        }
        (signal != 0).then_some(Signal(signal))
    }

    /// Ends a loop that saves nothing if it ends early, with a message.
    pub fn check(&self) -> Outcome<()> {
        let Some(signal) = self.signal() else { return Ok(()) };
        if let Phase::Early(lost) = *self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            say(format_args!("stopped by {}: {lost}", signal.name()));
        }
        Err(Failure::Interrupted(signal))
    }

    /// From here on the flag is checked after each training step, and a signal waits for that.
    pub fn training(&self, lost: &'static str) {
        self.enter(Phase::Training(lost));
    }

    /// From here on signals are ignored: the program is about to end.
    pub fn saving(&self) {
        self.enter(Phase::Saving);
    }

    fn enter(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn raise(&self, signal: Signal) {
        if self.raised.compare_exchange(0, signal.0, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            if matches!(*self.phase.lock().unwrap_or_else(PoisonError::into_inner), Phase::Saving) {
                return;
            }
            end(signal);
        }
        // In a thread of its own: this one has to take the second.
        let watch = self.clone();
        thread::spawn(move || {
            thread::sleep(PATIENCE);
            if !watch.seen.load(Ordering::Relaxed) {
                watch.insist(signal);
            }
        });
    }

    /// The work has not noticed the flag in time.
    fn insist(&self, signal: Signal) {
        let name = signal.name();
        match *self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Early(lost) => {
                say(format_args!("stopped by {name}: {lost}"));
                end(signal);
            }
            Phase::Training(lost) => say(format_args!(
                "{name}: the training will stop after this step and the model will be saved. A second signal quits now and \
                 loses {lost}"
            )),
            Phase::Saving => {}
        }
    }
}

impl Observer for Watch {
    fn step(&mut self, _: &Step<'_>) -> ControlFlow<()> {
        if self.signal().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// From here on the first Ctrl-C, SIGTERM or SIGHUP raises the flag. A second signal ends the program. So does the
/// first if, outside a training, the work does not notice it in time; `lost` is the message then. A signal that the
/// program was started to ignore, as by `nohup`, stays ignored.
pub fn watch(lost: &'static str) -> Outcome<Watch> {
    let watch = Watch {
        raised: Arc::default(),
        seen: Arc::default(),
        phase: Arc::new(Mutex::new(Phase::Early(lost))),
    };
    listen(watch.clone()).map_err(|error| Failure::Operation(format!("signals: {error}")))?;
    Ok(watch)
}

#[cfg(unix)]
fn listen(watch: Watch) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let ignored = ignored();
    let heeded = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = signal_hook::iterator::Signals::new(heeded)?;
    thread::spawn(move || signals.forever().for_each(|signal| watch.raise(Signal(signal))));
    Ok(())
}

/// The signals that this process was started to ignore: signal k by bit k − 1. Only Linux tells.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(not(unix))]
fn listen(watch: Watch) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || watch.raise(Signal(2)))
}

fn end(signal: Signal) -> ! {
    remove_unfinished();
    process::exit(signal.exit_code().into())
}

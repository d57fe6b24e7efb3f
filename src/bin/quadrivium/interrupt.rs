//! Ctrl-C: asked for nicely, and insisted on where nobody listens.

use std::ops::ControlFlow;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use quadrivium::observe::Interrupt;
use quadrivium::{Observer, Step};

use crate::failure::{Failure, Outcome};
use crate::files;

/// How long a signal waits for a loop to see it; or twice as long as the slowest round of the loop took, so that
/// a training of long steps is saved.
const PATIENCE: Duration = Duration::from_secs(2);

/// A flag that Ctrl-C raises, with word of whether anybody looks at it.
#[derive(Clone)]
pub struct Watch {
    raised: Interrupt,
    /// Whether a loop has seen it raised: it ends by itself then.
    acknowledged: Arc<AtomicBool>,
    start: Instant,
    /// Milliseconds from the start to the last look, and the longest time between two.
    last: Arc<AtomicU64>,
    longest: Arc<AtomicU64>,
}

impl Watch {
    /// Whether to end. To be asked in every round of a loop.
    pub fn is_raised(&self) -> bool {
        let now = self.start.elapsed().as_millis() as u64;
        // The first look comes after the preparation, which is not a round.
        let last = self.last.swap(now.max(1), Ordering::Relaxed);
        if last > 0 {
            self.longest.fetch_max(now.saturating_sub(last), Ordering::Relaxed);
        }
        let raised = self.raised.is_raised();
        if raised {
            self.acknowledged.store(true, Ordering::Relaxed);
        }
        raised
    }

    /// Waits for a loop to see the flag, and ends the program if none does.
    fn insist(&self) {
        thread::sleep(PATIENCE.max(Duration::from_millis(2 * self.longest.load(Ordering::Relaxed))));
        if !self.acknowledged.load(Ordering::Relaxed) {
            end();
        }
    }
}

impl Observer for Watch {
    fn step(&mut self, _: &Step<'_>) -> ControlFlow<()> {
        if self.is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// From here on the first Ctrl-C (or SIGTERM) raises the flag; the second, or one that no loop sees in time, ends
/// the program.
pub fn watch() -> Outcome<Watch> {
    let watch = Watch {
        raised: Interrupt::default(),
        acknowledged: Arc::default(),
        start: Instant::now(),
        last: Arc::default(),
        longest: Arc::default(),
    };
    let watched = watch.clone();
    let handler = move || {
        if watched.raised.raise() {
            end();
        }
        // In a thread of its own: this one has to take the second Ctrl-C.
        let watched = watched.clone();
        thread::spawn(move || watched.insist());
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::Operation(format!("Ctrl-C: {error}")))?;
    Ok(watch)
}

fn end() -> ! {
    files::remove_unfinished();
    process::exit(130)
}

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, Outcome};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From here on the first Ctrl-C (or SIGTERM) is for [`interrupted`] to see; the second ends the program.
pub fn watch() -> Outcome<()> {
    let handler = || {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            process::exit(130);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::Operation(format!("Ctrl-C: {error}")))
}

/// Whether there was one.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

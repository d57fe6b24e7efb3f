use std::process;

use quadrivium::observe::Interrupt;

use crate::failure::{Failure, Outcome};

/// From here on the first Ctrl-C (or SIGTERM) raises the flag; the second ends the program.
pub fn watch() -> Outcome<Interrupt> {
    let interrupt = Interrupt::default();
    let raised = interrupt.clone();
    let handler = move || {
        if raised.raise() {
            process::exit(130);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::Operation(format!("Ctrl-C: {error}")))?;
    Ok(interrupt)
}

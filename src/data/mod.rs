//! Where rows come from: toy distributions with exact densities, tables in files, and what is done to both before a model sees them.

mod standardise;
mod toy;

pub use standardise::Standardiser;
pub use toy::{Modes, Toy};

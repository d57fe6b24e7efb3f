//! Data: toy distributions with known densities, file readers, the standardiser.

mod standardise;

pub use standardise::Standardiser;

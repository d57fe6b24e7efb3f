//! Training: an [`Objective`] says what the loss of some rows is; the loop owns the rest — minibatches,
//! shards, Adam, averaging, schedule, clipping, validation and patience, the observer, checkpoints.
//!
//! A minibatch is cut into shards, each with a random stream, a gradient and buffers of its own; the
//! gradients are summed in the order of the shards. So the result is the same bits for any number of threads.
//! A shard goes through its rows in tiles of [`TILE`], forward and backward, so that activations stay in the
//! processor's cache.

mod checkpoint;
mod fit;
mod objective;
mod optimiser;
mod rows;
mod run;

pub(crate) use checkpoint::Carry;
#[cfg(test)]
pub(crate) use checkpoint::refusals_of_forgeries;
pub use fit::{Parameters, fit};
pub(crate) use fit::{Trainee, mean_loss, random_rows};
pub use objective::{Gradient, Objective, Progress};
pub use optimiser::{Adam, Decay, OptimiserConfig};
pub use rows::{Rows, split};
pub(crate) use run::{Training, run};

pub use crate::numeric::tiles::TILE;

#[cfg(test)]
mod tests;

//! Training: an [`Objective`] says what the loss of some rows is; the loop owns the rest — minibatches,
//! shards, Adam, averaging, schedule, clipping, validation and patience, the observer, checkpoints.
//!
//! A minibatch is cut into shards, each with a random stream, a gradient and buffers of its own; the
//! gradients are summed in the order of the shards. So the result is the same bits for any number of threads.
//! A shard goes through its rows in tiles of [`TILE`], forward and backward, so that activations stay in the
//! processor's cache.

mod checkpoint;
mod dataset;
mod fit;
mod objective;
mod observer;
mod optimizer;
mod options;
mod rows;
mod run;
mod standardise;
mod tail;
pub(crate) mod tiles;
pub mod transport;
pub(crate) mod whitening;

pub(crate) use checkpoint::Carry;
#[cfg(test)]
pub(crate) use checkpoint::refusals_of_forgeries;
#[cfg(feature = "plot")]
pub(crate) use dataset::check_finite;
pub(crate) use dataset::check_rows;
pub use dataset::{Dataset, HeldOut};
pub use fit::{Parameters, fit};
pub(crate) use fit::{Trainee, mean_loss, random_rows};
pub use objective::{Gradient, Objective, Progress};
pub use observer::{Observer, Silent, Step, Stop, TrainReport};
pub use optimizer::{Adam, Decay, OptimiserConfig};
pub use options::{Checkpoint, LikelihoodOptions, SampleOptions, TrainOptions};
pub use rows::{Rows, split};
pub(crate) use run::{Training, run};
pub use standardise::Standardiser;
pub use tail::Tail;
pub use tiles::{Samples, TILE};
pub use transport::TraceEstimator;

#[cfg(test)]
mod tests;

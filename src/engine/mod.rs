//! Training: a [`Loss`] defines the loss of some rows; the loop does everything else: minibatches, shards, Adam,
//! averaging, schedule, clipping, validation and patience, the observer, checkpoints.
//!
//! A minibatch is cut into shards, each with its own random stream, gradient and buffers. The gradients are summed
//! in the order of the shards, so the result has the same bits with any number of threads.
//! A shard goes through its rows in tiles of [`TILE`], forward and backward, so that activations stay in the
//! processor's cache.

mod checkpoint;
mod condition;
mod dataset;
mod exchange;
mod fit;
mod loss;
mod memory;
mod observer;
mod optimizer;
mod options;
mod rows;
mod run;
mod standardize;
mod tail;
pub(crate) mod tiles;
mod token;
pub mod transport;
pub(crate) mod whitening;

pub(crate) use checkpoint::Carry;
#[cfg(test)]
pub(crate) use checkpoint::refusals_of_forgeries;
pub use condition::{Condition, ConditionKind, Conditions, Given};
pub(crate) use condition::{check_count, check_reach};
#[cfg(feature = "plot")]
pub(crate) use dataset::check_finite;
pub(crate) use dataset::check_rows;
pub use dataset::{Dataset, HeldOut, Row};
pub use exchange::{Alone, Exchange, TcpExchange};
pub use fit::{Parameters, fit};
pub(crate) use fit::{Trainee, mean_loss, random_rows};
pub use loss::{Batch, Gradient, Loss, Progress};
pub use memory::Memory;
/// The former name of [`NoObserver`].
pub use observer::NoObserver as Silent;
pub use observer::{NoObserver, Observer, Step, Stop, TrainReport};
pub use optimizer::{Adam, Decay, OptimizerConfig};
pub use options::{Checkpoint, LikelihoodOptions, SampleOptions, TrainOptions};
pub use rows::{Fitted, Labeled, Part, Rows, split};
pub(crate) use run::{Training, run};
pub use standardize::Standardizer;
pub use tail::Tail;
pub use tiles::{RowStreams, Samples, TILE};
pub use token::Token;
pub(crate) use token::check_tokens;
pub use transport::TraceEstimator;

#[deprecated(note = "use `OptimizerConfig`")]
pub use optimizer::OptimizerConfig as OptimiserConfig;
#[deprecated(note = "use `Standardizer`")]
pub use standardize::Standardizer as Standardiser;

#[cfg(test)]
mod tests;

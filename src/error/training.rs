/// Why an iteration ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The loss or its gradient stopped being finite. The model keeps its last good parameters.
    #[error("training diverged at step {step}: {what}")]
    Diverged {
        /// The step, from 0.
        step: usize,
        /// The quantity that was not finite, and its value.
        what: String,
    },
    /// Another process that trains the same model cannot be reached, or is at another place.
    #[error("exchange with another process: {why}")]
    Exchange {
        /// What happened.
        why: String,
    },
    /// Processes that were to train one model together would not train the same one.
    #[error("process {rank} trains with another {what}: expected the same in all processes")]
    Differs {
        /// What differs.
        what: &'static str,
        /// The process, from 0.
        rank: usize,
    },
    /// An iteration (an ODE solver, a root search) used up its budget.
    #[error("{what} did not converge within {budget} evaluations (row {row})")]
    NotConverged {
        /// Which iteration.
        what: &'static str,
        /// The evaluations it was allowed.
        budget: usize,
        /// The row it worked on, from 0.
        row: usize,
    },
}

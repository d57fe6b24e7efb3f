/// Why an iteration ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The loss or its gradient stopped being finite. The model keeps its last good parameters.
    #[error("training diverged at step {step}: {what}")]
    Diverged {
        /// The step, from 0.
        step: usize,
        /// Which quantity, and its value.
        what: String,
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

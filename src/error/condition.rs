/// What is wrong with a condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionError {
    /// The model needs a condition, and none was given.
    #[error("no condition was given: expected {expected}")]
    Missing {
        /// What the model is conditioned on.
        expected: String,
    },
    /// The model takes no condition.
    #[error("a condition was given to a model that takes none")]
    Unexpected,
    /// A condition of the wrong kind.
    #[error("the condition has {got}: expected {expected}")]
    Kind {
        /// What was given: classes, vectors or tokens.
        got: &'static str,
        /// What the model is conditioned on.
        expected: String,
    },
    /// A class that the model does not know.
    #[error("condition, row {row}: class {class}: expected one from 0 to {}", classes - 1)]
    UnknownClass {
        /// Row of the condition, from 0.
        row: usize,
        /// The class.
        class: u32,
        /// Number of classes.
        classes: u32,
    },
    /// Numbers of a vector that cannot be used for training.
    #[error("the condition: {what}")]
    Values {
        /// What is wrong with them.
        what: String,
    },
    /// A value in a label column that is not one of the model's classes.
    #[error(
        "{}column {column}: {value} is not a class the model knows: {}",
        row.map_or(String::new(), |row| format!("row {}, ", row + 1)), first_of(known)
    )]
    UnknownLabel {
        /// Row of the data, from 0, if there are several.
        row: Option<usize>,
        /// The column's name.
        column: String,
        /// The value found there.
        value: String,
        /// The values of the classes that the model knows.
        known: Vec<String>,
    },
    /// A token that the model does not know.
    #[error("condition, row {row}: token {token}: expected one from 0 to {}", vocabulary - 1)]
    UnknownToken {
        /// Row of the condition, from 0.
        row: usize,
        /// The token.
        token: u32,
        /// Number of tokens.
        vocabulary: usize,
    },
    /// A prompt that leaves no column to a sequence.
    #[error("the prompt has {got} tokens: expected at most {most}")]
    LongPrompt {
        /// Tokens of the prompt.
        got: usize,
        /// The most that leave a column.
        most: usize,
    },
    /// A vector or a sequence of the wrong length.
    #[error("the condition has {got} columns: expected {expected}")]
    Width {
        /// Columns of the condition.
        got: usize,
        /// Columns needed.
        expected: usize,
    },
    /// Neither one condition for all rows nor one per row.
    #[error("the condition has {got} rows: expected 1, or one for each of {expected} rows")]
    Rows {
        /// Rows of the condition.
        got: usize,
        /// Rows drawn, scored or trained on.
        expected: usize,
    },
}

/// The first twenty values, separated by commas.
fn first_of(values: &[String]) -> String {
    match values.get(..20) {
        Some(first) if values.len() > 20 => format!("{} and {} more", first.join(", "), values.len() - 20),
        _ => values.join(", "),
    }
}

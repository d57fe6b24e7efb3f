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
    /// A condition of another kind.
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
    /// Numbers of a vector that a training cannot take.
    #[error("the condition: {what}")]
    Values {
        /// What is wrong with them.
        what: String,
    },
    /// A value of a label's column that stands for no class of the model.
    #[error(
        "{}column {column}: {value} is not a class the model knows: {}",
        row.map_or(String::new(), |row| format!("row {}, ", row + 1)), first_of(known)
    )]
    UnknownLabel {
        /// Row of the data, from 0, if there are several.
        row: Option<usize>,
        /// The column's name.
        column: String,
        /// What stands there.
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
    /// A vector or a sequence of another length.
    #[error("the condition has {got} columns: expected {expected}")]
    Width {
        /// Columns of the condition.
        got: usize,
        /// Columns needed.
        expected: usize,
    },
    /// Neither one condition for all rows nor one for each.
    #[error("the condition has {got} rows: expected 1, or one for each of {expected} rows")]
    Rows {
        /// Rows of the condition.
        got: usize,
        /// Rows drawn, scored or trained on.
        expected: usize,
    },
}

/// The first twenty of the values, with commas between them.
fn first_of(values: &[String]) -> String {
    match values.get(..20) {
        Some(first) if values.len() > 20 => format!("{} and {} more", first.join(", "), values.len() - 20),
        _ => values.join(", "),
    }
}

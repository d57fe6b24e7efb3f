/// What is wrong with a field of a config that was set by name: `recipe::Setting`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// There is no such field.
    #[error("no setting {field:?}: {}", expected(part, names))]
    NoField {
        /// The field, by a path of names.
        field: String,
        /// The name in it that is not known.
        part: String,
        /// The names that there are; none where a number or a text has no fields.
        names: Vec<String>,
    },
    /// The field cannot have this value.
    #[error("{field} = {value}: {why}{}", before.as_ref().map_or(String::new(), |now| format!("; by default it is {now}")))]
    Value {
        /// The field, by a path of names.
        field: String,
        /// The value, as JSON.
        value: String,
        /// Why not.
        why: String,
        /// The value without the setting, as JSON.
        before: Option<String>,
    },
    /// The field is that of the rows, and not a choice.
    #[error("{field} = {value}: {expected}")]
    OfRows {
        /// The field.
        field: &'static str,
        /// The value, as JSON.
        value: String,
        /// What decides it.
        expected: String,
    },
    /// Settings that cannot be read.
    #[error("settings: {why}")]
    Unreadable {
        /// Why not.
        why: String,
    },
}

fn expected(part: &str, names: &[String]) -> String {
    match names {
        [] => format!("the part before {part:?} has no fields"),
        names => format!("expected one of {}", names.join(", ")),
    }
}

/// What is wrong with a text, or with tokens that are to become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// There is nothing to learn from or to score.
    #[error("the text is empty")]
    Empty,
    /// Bytes that are no text in UTF-8, for a tokenizer of characters.
    #[error(
        "byte {at} of the text is not UTF-8: characters need a text in UTF-8, bytes and byte pairs take any"
    )]
    NotUtf8 {
        /// The first wrong byte, from 0.
        at: usize,
    },
    /// A character that the tokenizer does not know.
    #[error(
        "line {line}, column {column}: the character {symbol:?} is not among the {known} that the tokenizer knows"
    )]
    UnknownSymbol {
        /// The character.
        symbol: char,
        /// Its line, from 1.
        line: usize,
        /// Its place in the line, in characters, from 1.
        column: usize,
        /// Number of characters that the tokenizer knows.
        known: usize,
    },
    /// A token that the tokenizer does not know.
    #[error("token {at} is {token}: expected one from 0 to {}", vocabulary - 1)]
    UnknownToken {
        /// Its place, from 0.
        at: usize,
        /// The token.
        token: u32,
        /// Number of tokens that the tokenizer knows.
        vocabulary: usize,
    },
}

use ndarray::ArrayView2;

use super::dataset::Row;
use crate::error::{DataError, Result};

/// A symbol of a text: its index in a vocabulary, from 0, or [`Token::END`].
///
/// A row of tokens that ends before its last column holds [`Token::END`] from there on. A row without one goes on
/// beyond its last column: it is the beginning of a longer sequence.
///
/// ```
/// use quadrivium::{Dataset, Token, ndarray::array};
/// let [a, b, end] = [Token(0), Token(1), Token::END];
/// let words = Dataset::new(array![[b, a, b, end], [a, end, end, end]])?;
/// assert_eq!((words.rows(), words.dim()), (2, 4));
/// let error = Dataset::new(array![[a, end, b, end]]).unwrap_err();
/// assert_eq!(error.to_string(), "data, row 0, column 2: token 1 after the end of the row");
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Token(pub u32);

impl Token {
    /// Ends a row and pads the rest of it. A model is also given it first, before the first symbol of a sequence. It
    /// is no symbol of a vocabulary.
    pub const END: Token = Token(u32::MAX);

    /// The column of this token among those of a vocabulary, the last of which is that of [`END`](Token::END).
    ///
    /// ```
    /// use quadrivium::Token;
    /// assert_eq!([Token(3).column(7), Token::END.column(7)], [3, 7]);
    /// ```
    pub fn column(self, vocabulary: usize) -> usize {
        if self == Token::END { vocabulary } else { self.0 as usize }
    }

    /// The tokens of a row that count: up to the first END, which is one of them.
    pub(crate) fn counted(row: &[Token]) -> &[Token] {
        let end = row.iter().position(|&token| token == Token::END);
        &row[..end.map_or(row.len(), |end| end + 1)]
    }
}

impl Row for Token {
    fn check(what: &'static str, x: ArrayView2<Token>) -> Result<()> {
        for (row, tokens) in x.rows().into_iter().enumerate() {
            let end = tokens.iter().position(|&token| token == Token::END).unwrap_or(tokens.len());
            let after = tokens.iter().skip(end).position(|&token| token != Token::END);
            if let Some(column) = after.map(|after| end + after) {
                return Err(DataError::AfterEnd { what, row, column, token: tokens[column].0 }.into());
            }
        }
        Ok(())
    }

    fn bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }
}

/// Checks rows of tokens for a model of `vocabulary` symbols and rows of at most `most` columns.
///
/// # Errors
/// [`DataError::Shape`] for no columns or too many, [`DataError::UnknownToken`] and [`DataError::AfterEnd`] with the
/// place of the first wrong token.
pub(crate) fn check_tokens(
    what: &'static str,
    x: ArrayView2<Token>,
    vocabulary: usize,
    most: usize,
) -> Result<()> {
    if !(1..=most).contains(&x.ncols()) {
        let expected = format!("(n, 1 to {most})");
        return Err(DataError::Shape { what, got: x.shape().to_vec(), expected }.into());
    }
    let unknown = |token: Token| token != Token::END && token.0 as usize >= vocabulary;
    if let Some(((row, column), token)) = x.indexed_iter().find(|(_, token)| unknown(**token)) {
        return Err(DataError::UnknownToken { what, row, column, token: token.0, vocabulary }.into());
    }
    Token::check(what, x)
}

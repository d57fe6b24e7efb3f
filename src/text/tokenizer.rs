use super::pairs::Pairs;
use crate::error::{Result, TextError, check};
use crate::model::Token;

/// Turns text into tokens and back.
///
/// | | tokens | takes |
/// | --- | --- | --- |
/// | [`characters`](Tokenizer::characters) | the characters of a text | that text's characters alone |
/// | [`bytes`](Tokenizer::bytes) | the 256 bytes | anything |
/// | [`byte_pairs`](Tokenizer::byte_pairs) | the 256 bytes and frequent strings of them | anything |
///
/// What was encoded is decoded to the same bytes.
///
/// ```
/// use quadrivium::text::Tokenizer;
///
/// let text = "low lower lowest, slow slower slowest";
/// let pairs = Tokenizer::byte_pairs(text, 20)?;
/// let tokens = pairs.encode(text)?;
/// assert!(tokens.len() < 16 && pairs.vocabulary() <= 276);
/// assert_eq!(pairs.decode(&tokens)?, text.as_bytes());
/// assert_eq!(pairs.decode(&pairs.encode([0xff, 0x00])?)?, [0xff, 0x00]);
///
/// let error = Tokenizer::characters(text)?.encode("low\nlöw").unwrap_err();
/// assert_eq!(error.to_string(), "line 1, column 4: the character '\\n' is not among the 9 that the tokenizer knows");
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "Description", into = "Description")
)]
pub struct Tokenizer {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// In ascending order.
    Characters(Vec<char>),
    Bytes,
    BytePairs(Pairs),
}

/// A tokenizer as a file holds it.
#[cfg(feature = "safetensors")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Description {
    Characters(String),
    Bytes,
    BytePairs(Vec<(u32, u32)>),
}

#[cfg(feature = "safetensors")]
impl From<Tokenizer> for Description {
    fn from(tokenizer: Tokenizer) -> Self {
        match tokenizer.kind {
            Kind::Characters(known) => Description::Characters(known.into_iter().collect()),
            Kind::Bytes => Description::Bytes,
            Kind::BytePairs(pairs) => Description::BytePairs(pairs.merges().to_vec()),
        }
    }
}

#[cfg(feature = "safetensors")]
impl TryFrom<Description> for Tokenizer {
    type Error = crate::error::Error;

    fn try_from(description: Description) -> Result<Self> {
        match description {
            Description::Characters(known) => Tokenizer::characters(&known),
            Description::Bytes => Ok(Tokenizer::bytes()),
            Description::BytePairs(merges) => Ok(Tokenizer { kind: Kind::BytePairs(Pairs::of(merges)?) }),
        }
    }
}

impl Tokenizer {
    /// The different characters of a text, numbered in the order of Unicode.
    ///
    /// # Errors
    /// [`TextError::Empty`]; [`Error::Config`](crate::Error::Config) for more than 65,536 different ones.
    pub fn characters(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(TextError::Empty.into());
        }
        let known = Vec::from_iter(text.chars().collect::<std::collections::BTreeSet<char>>());
        check(known.len() <= 65_536, "different characters", known.len(), "at most 65,536")?;
        Ok(Tokenizer { kind: Kind::Characters(known) })
    }

    /// Each byte is a token.
    pub fn bytes() -> Self {
        Tokenizer { kind: Kind::Bytes }
    }

    /// Byte-pair encoding (Gage 1994; Sennrich, Haddow & Birch 2016): the most frequent pair of neighbors becomes a
    /// token of its own, at most `merges` times, as long as a pair occurs twice. Pairs do not reach from one word into
    /// the next: a word is what stands between blanks, with the blanks before it, and is cut after 64 bytes.
    ///
    /// # Errors
    /// [`TextError::Empty`]; [`Error::Config`](crate::Error::Config) for more than 65,280 merges.
    pub fn byte_pairs(text: impl AsRef<[u8]>, merges: usize) -> Result<Self> {
        if text.as_ref().is_empty() {
            return Err(TextError::Empty.into());
        }
        Ok(Tokenizer { kind: Kind::BytePairs(Pairs::train(text.as_ref(), merges)?) })
    }

    /// Number of different tokens.
    pub fn vocabulary(&self) -> usize {
        match &self.kind {
            Kind::Characters(known) => known.len(),
            Kind::Bytes => 256,
            Kind::BytePairs(pairs) => pairs.vocabulary(),
        }
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// Of characters alone: [`TextError::NotUtf8`], and [`TextError::UnknownSymbol`] with the place of the first that
    /// is not known.
    pub fn encode(&self, text: impl AsRef<[u8]>) -> Result<Vec<Token>> {
        let bytes = text.as_ref();
        match &self.kind {
            Kind::Characters(known) => encode_characters(known, bytes),
            Kind::Bytes => Ok(bytes.iter().map(|&byte| Token(byte.into())).collect()),
            Kind::BytePairs(pairs) => Ok(pairs.encode(bytes)),
        }
    }

    /// The bytes of what `tokens` stand for, up to the first [`Token::END`].
    ///
    /// # Errors
    /// [`TextError::UnknownToken`] for a token that is not in the vocabulary.
    pub fn decode(&self, tokens: &[Token]) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for (at, &token) in tokens.iter().take_while(|&&token| token != Token::END).enumerate() {
            let vocabulary = self.vocabulary();
            if token.0 as usize >= vocabulary {
                return Err(TextError::UnknownToken { at, token: token.0, vocabulary }.into());
            }
            match &self.kind {
                Kind::Characters(known) => {
                    bytes.extend(known[token.0 as usize].encode_utf8(&mut [0; 4]).as_bytes());
                }
                Kind::Bytes => bytes.push(token.0 as u8),
                Kind::BytePairs(pairs) => bytes.extend(pairs.bytes(token)),
            }
        }
        Ok(bytes)
    }

    /// [`decode`](Tokenizer::decode) as text, for people: bytes that are not UTF-8 become `�`.
    ///
    /// # Errors
    /// As [`decode`](Tokenizer::decode).
    pub fn text(&self, tokens: &[Token]) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.decode(tokens)?).into_owned())
    }
}

fn encode_characters(known: &[char], bytes: &[u8]) -> Result<Vec<Token>> {
    let text = std::str::from_utf8(bytes).map_err(|error| TextError::NotUtf8 { at: error.valid_up_to() })?;
    let token = |(at, symbol): (usize, char)| match known.binary_search(&symbol) {
        Ok(token) => Ok(Token(token as u32)),
        Err(_) => {
            let before = &text[..at];
            let line = 1 + before.matches('\n').count();
            let column = 1 + before.chars().rev().take_while(|&c| c != '\n').count();
            Err(TextError::UnknownSymbol { symbol, line, column, known: known.len() }.into())
        }
    };
    text.char_indices().map(token).collect()
}

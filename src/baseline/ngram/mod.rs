//! The n-gram: p(x) = Π p(xᵢ | xᵢ₋ₙ … xᵢ₋₁), counted and smoothed in closed form (Witten & Bell 1991, method C).
//!
//! **Objective.** A context h that was followed N times, by T different tokens, gives a token that followed it c times
//! p(x|h) = (c + T p(x|h′))/(N + T), h′ being h without its first token. A context that was often followed by something
//! new thus leaves more to shorter ones. Below the empty context all tokens are equally probable. Nothing is tuned but
//! the length of the context.
//!
//! **Sampling.** Token by token, with a look-up for each token of the context.
//!
//! **Likelihood.** Exact.
//!
//! **What goes wrong.** *The curse of dimension*: the number of contexts grows exponentially with their length, so a
//! longer one helps only with more text; beyond four or five characters of context a text of 400 kB gets worse.
//! Nothing is shared between contexts that differ in one token, and nothing farther away is seen.

mod counts;
#[cfg(feature = "safetensors")]
mod persist;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;

use rand::RngCore;

use self::counts::Counts;
use crate::engine;
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;

/// Tokens of the longest context.
const LONGEST: usize = 16;

/// The shape of an [`NGram`].
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct NGramConfig {
    /// Number of symbols. 1 to 65,536. Default 256, for bytes.
    pub vocabulary: usize,
    /// Tokens on which the next one depends: n − 1. 0 to 16. Default 4.
    pub context: usize,
    /// Columns of a row. 1 to 16,777,216. It costs nothing. Default 1024.
    pub max_len: usize,
}

impl Default for NGramConfig {
    fn default() -> Self {
        NGramConfig { vocabulary: 256, context: 4, max_len: 1024 }
    }
}

impl NGramConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        let NGramConfig { vocabulary, context, max_len } = *self;
        check((1..=65_536).contains(&vocabulary), "NGramConfig::vocabulary", vocabulary, "1 to 65,536")?;
        check(context <= LONGEST, "NGramConfig::context", context, "0 to 16")?;
        check((1..=1 << 24).contains(&max_len), "NGramConfig::max_len", max_len, "1 to 16,777,216")
    }
}

/// Counts of what follows each context, smoothed: the yardstick for models of token sequences.
///
/// Each training adds the counts of its rows. The first context of a row is [`Token::END`].
///
/// ```
/// use quadrivium::ndarray::{Array2, array};
/// use quadrivium::*;
///
/// // a b a b a b …
/// let data = Dataset::new(Array2::from_shape_fn((10, 20), |(_, i)| Token(i as u32 % 2)))?;
/// let mut model = NGram::new(NGramConfig { vocabulary: 2, context: 1, max_len: 20 })?;
/// model.fit(&data, &mut seeded(0))?;
/// let score = model.log_likelihood(array![[Token(0), Token(1)], [Token(0), Token(0)]].view(), &Default::default())?;
/// let nats = score.nats().unwrap();
/// assert!(nats[0] > -0.1 && nats[1] < -4.0);
///
/// // What follows "b b a"?
/// let prompt = Condition::tokens(&[1, 1, 0].map(Token));
/// let greedy = model.with_truncation(Truncation::GREEDY)?;
/// assert_eq!(greedy.given(&prompt)?.draw(1, &mut seeded(0))?[[0, 0]], Token(1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct NGram {
    config: NGramConfig,
    counts: Arc<Counts>,
    truncation: Truncation,
}

impl NGram {
    /// A model that draws all tokens, and the end of the sequence, with the same probability until its first training.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn new(config: NGramConfig) -> Result<Self> {
        config.validate()?;
        Ok(NGram { config, counts: Arc::default(), truncation: Truncation::default() })
    }

    /// Its config.
    pub fn config(&self) -> &NGramConfig {
        &self.config
    }

    /// The same model, which draws only some of the tokens. It shares the counts until one of the two trains on.
    ///
    /// # Errors
    /// As [`Truncation::validate`].
    pub fn with_truncation(&self, truncation: Truncation) -> Result<Self> {
        truncation.validate()?;
        Ok(NGram { truncation, ..self.clone() })
    }

    /// The same counts for rows of another length.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a length out of range.
    pub fn with_max_len(&self, max_len: usize) -> Result<Self> {
        let config = NGramConfig { max_len, ..self.config.clone() };
        config.validate()?;
        Ok(NGram { config, ..self.clone() })
    }

    /// The end of a sequence on which the next token depends, written to `context`. END is before the first token.
    fn context<'a>(&self, tokens: &[Token], context: &'a mut [Token; LONGEST]) -> &'a [Token] {
        let len = self.config.context.min(tokens.len() + 1);
        let (context, known) = (&mut context[..len], len.min(tokens.len()));
        context.fill(Token::END);
        context[len - known..].copy_from_slice(&tokens[tokens.len() - known..]);
        context
    }

    /// The probability of every token where nothing has been seen.
    fn base(&self) -> f64 {
        1.0 / (self.config.vocabulary + 1) as f64
    }
}

impl NextToken for NGram {
    fn place(&self) -> Card {
        let name = format!("{}-gram", self.config.context + 1);
        Card::new(name, Objective::Counting, Sampling::Sequential { dim: self.config.max_len })
    }

    fn vocabulary(&self) -> usize {
        self.config.vocabulary
    }

    fn max_len(&self) -> usize {
        self.config.max_len
    }

    fn truncation(&self) -> Truncation {
        self.truncation
    }

    fn predict(&self, tokens: &[Token], p: &mut [f64]) {
        self.counts.fill(self.context(tokens, &mut [Token::END; LONGEST]), self.base(), p);
    }

    fn probability(&self, tokens: &[Token], token: Token, _: &mut [f64]) -> f64 {
        self.counts.p(self.context(tokens, &mut [Token::END; LONGEST]), token, self.base())
    }
}

impl SequenceParadigm for NGram {
    /// The counts.
    fn count_params(&self) -> usize {
        self.counts.len()
    }

    fn learn(
        &mut self,
        data: &Dataset<Token>,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let ((x, _), (held_out, _), _) = engine::split(data, options, rng)?;
        let mut counts = Counts::clone(&self.counts);
        for row in x.rows() {
            let row = Token::counted(row.as_slice().expect("row-major"));
            for column in 0..row.len() {
                let context = self.context(&row[..column], &mut [Token::END; LONGEST]).to_vec();
                counts.add(&context, row[column], 1.0);
            }
        }
        self.counts = Arc::new(counts);
        let loss = |x: &ndarray::Array2<Token>| -> Result<Option<f64>> {
            let score = self.log_likelihood(x.view(), &LikelihoodOptions::default())?;
            Ok(score.nats().and_then(|nats| nats.mean()).map(|mean| -mean))
        };
        let (training, validation) = (loss(&x)?.unwrap_or(f64::NAN), loss(&held_out)?);
        let step = Step { step: 0, steps: 1, loss: training, part_names: &[], parts: &[], validation };
        let stop = match observer.step(&step) {
            ControlFlow::Break(()) => Stop::Interrupted,
            ControlFlow::Continue(()) => Stop::Completed,
        };
        let validation = validation.map(|loss| (1, loss)).into_iter().collect();
        Ok(TrainReport { loss: vec![training], parts: Vec::new(), validation, stop })
    }
}

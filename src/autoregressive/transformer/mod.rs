//! A language model: the chain rule over the tokens of a text.
//!
//! A causal transformer reads the tokens of a row from left to right and gives the probabilities of the next one at
//! every place. The likelihood of a row is exact and takes one evaluation; a row is drawn token by token.
//!
//! # Formula
//!
//! ```text
//! model       p(x) = Πᵢ p(xᵢ | x<ᵢ), p(· | x<ᵢ) = softmax(logits of place i)
//! objective   −ln p(x) = −Σᵢ ln p(xᵢ | x<ᵢ): next-token cross-entropy, here per place of a row
//! ```
//!
//! A row has room for `len` tokens. One that ends earlier holds [`Token::END`] from there on; END is predicted like
//! any other token, so rows of all lengths together have probability 1. The network and its derivatives are in
//! [`CausalNetwork`].
//!
//! **Sampling**: x₁ ~ p(x₁), x₂ ~ p(x₂ | x₁), … A [`Decoder`] keeps the keys and values of the tokens so far, so one
//! more token costs one pass of one place: 2N + 4·blocks·width·p operations at place p, N the number of weights. That
//! is about constant up to p = N/(2·blocks·width) ≈ 6·width and grows linearly from there on. Without the cache, a
//! token costs a pass over all places before it.
//!
//! **Prompts**: [`given`](Generative::given) takes [`Condition::tokens`], the beginning of a row, and is p(rest |
//! prompt), which is also exact.
//!
//! # Example
//!
//! ```
//! use quadrivium::{*, ndarray::Array2};
//!
//! // "ababab…" and "bababa…".
//! let mut rng = seeded(0);
//! let x = Array2::from_shape_fn((2_000, 12), |(row, place)| Token((row + place) as u32 % 2));
//! let optimizer = OptimizerConfig { lr: 1e-2, ..TransformerConfig::default().optimizer };
//! let sizes = TransformerConfig { vocabulary: 2, len: 12, optimizer, ..Default::default() };
//! let config = TransformerConfig { width: 16, heads: 2, blocks: 1, ..sizes };
//! let mut model = Transformer::new(config, &mut rng)?;
//! let options = TrainOptions { steps: 200, batch: 32, ..Default::default() };
//! model.train(&Dataset::new(x)?, &options, &mut rng, &mut NoObserver)?;
//!
//! // The most probable continuation of a prompt.
//! let greedy = model.with_truncation(Truncation::GREEDY)?;
//! let prompt = Condition::tokens(&[Token(0), Token(1), Token(0), Token(1)]);
//! let drawn = greedy.given(&prompt)?.draw(1, &mut rng)?;
//! assert_eq!((drawn[(0, 0)], drawn[(0, 1)]), (Token(0), Token(1)));
//! # Ok::<(), Error>(())
//! ```
//!
//! # What can go wrong
//!
//! - **Errors add up.** Each token is drawn as if all tokens before it had been read, not drawn. *See*: the share of
//!   wrong tails grows with the length. *Change*: a lower [`temperature`](SampleOptions::temperature), or a
//!   [`Truncation`], at the cost of variety.
//! - **Few tokens are memorized.** *See*: a loss on held-out rows that rises. *Change*: use
//!   [`validation`](TrainOptions::validation) with [`patience`](TrainOptions::patience), or a smaller network.
//! - **Perplexity depends on the tokens.** Compare it at one vocabulary only; across vocabularies, compare bits per
//!   byte.
//! - **The context ends.** Nothing before the `len` tokens of a row counts. Longer texts are scored and drawn in
//!   windows that overlap.
//!
//! # Papers
//!
//! Vaswani et al. 2017, [Attention is all you need](https://arxiv.org/abs/1706.03762) · Radford et al. 2019, Language
//! models are unsupervised multitask learners · Su et al. 2021, [RoFormer](https://arxiv.org/abs/2104.09864) · Zhang &
//! Sennrich 2019, [RMSNorm](https://arxiv.org/abs/1910.07467) · Henry et al. 2020, [Query-key
//! normalization](https://arxiv.org/abs/2010.04245) · So et al. 2021, [Primer](https://arxiv.org/abs/2109.08668)

mod objective;
#[cfg(feature = "safetensors")]
mod persist;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ndarray::Array2;
use rand::RngCore;

use self::objective::{NextToken, Scratch, add_log_probs, rows_together, symbol};
use crate::engine::{self, Fitted, OptimizerConfig, Parameters, Rows, check_tokens};
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::nn::limits::check_params;
use crate::nn::{CausalNetwork, CausalWorkspace, Decoding};
use crate::numeric::rng::Streams;

/// The architecture of a [`Transformer`] and how it is trained.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct TransformerConfig {
    /// Symbols of a text: its tokens are 0 to vocabulary − 1. 1 to 65,535. Default 256, for bytes.
    pub vocabulary: usize,
    /// Tokens of a row, and the longest context. 1 to 65,536. Default 128.
    pub len: usize,
    /// Columns of the network. An even multiple of `heads`. Default 128.
    pub width: usize,
    /// Heads of the attention. 1 to 1024. Default 4.
    pub heads: usize,
    /// Blocks of attention and perceptron. 0 to 1024. Default 4.
    pub blocks: usize,
    /// How the parameters are updated. Default: a learning rate of 3e-3, β₂ = 0.95 and a weight decay of 0.1, which
    /// leaves the embedding and the gains of the norms alone; the rest as in [`OptimizerConfig`].
    pub optimizer: OptimizerConfig,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        TransformerConfig {
            vocabulary: 256,
            len: 128,
            width: 128,
            heads: 4,
            blocks: 4,
            optimizer: OptimizerConfig { lr: 3e-3, beta2: 0.95, weight_decay: 0.1, ..Default::default() },
        }
    }
}

impl TransformerConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        let &TransformerConfig { vocabulary, len, width, heads, blocks, .. } = self;
        let within = |field, v: usize, least, most, what| check((least..=most).contains(&v), field, v, what);
        within("TransformerConfig::vocabulary", vocabulary, 1, 65_535, "1 to 65,535")?;
        within("TransformerConfig::len", len, 1, 65_536, "1 to 65,536")?;
        within("TransformerConfig::heads", heads, 1, 1024, "1 to 1024")?;
        within("TransformerConfig::blocks", blocks, 0, 1024, "0 to 1024")?;
        let parts = (1..=65_536).contains(&width) && width.is_multiple_of(2 * heads);
        check(parts, "TransformerConfig::width", width, "an even multiple of heads, at most 65,536")?;
        // 65,536² columns times 12,288 are fewer than 2⁶⁴.
        let params = CausalNetwork::new(vocabulary + 1, width, heads, blocks).num_params();
        check_params("TransformerConfig", self, params)?;
        self.optimizer.validate()
    }

    fn network(&self) -> CausalNetwork {
        CausalNetwork::new(self.vocabulary + 1, self.width, self.heads, self.blocks)
    }
}

/// A causal transformer on rows of tokens: see the [module](self).
#[derive(Debug, Clone)]
pub struct Transformer {
    config: TransformerConfig,
    network: CausalNetwork,
    parameters: Arc<Parameters>,
    truncation: Truncation,
}

impl Transformer {
    /// Creates a model that starts near equal probabilities of all tokens.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn new(config: TransformerConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let network = config.network();
        let mut p = vec![0.0; network.num_params()];
        network.init(&mut p, &mut Streams::from_rng(rng).stream(0));
        Ok(Self::of(config, network, Parameters::new(p)))
    }

    fn of(config: TransformerConfig, network: CausalNetwork, parameters: Parameters) -> Self {
        let truncation = Truncation::default();
        Transformer { config, network, parameters: Arc::new(parameters), truncation }
    }

    /// The same model, which draws only these tokens. The views of a model share its parameters.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn with_truncation(&self, truncation: Truncation) -> Result<Self> {
        truncation.validate()?;
        Ok(Transformer { truncation, ..self.clone() })
    }

    /// Logits of the token behind each place of a sequence that begins with END: (tokens + 1, vocabulary + 1), the
    /// last column that of END. One evaluation gives all of them, which a [`Decoder`] gives one by one, with the same
    /// bits.
    ///
    /// # Errors
    /// [`DataError::UnknownToken`](crate::error::DataError::UnknownToken) for a token that is not in the vocabulary,
    /// [`DataError::Shape`](crate::error::DataError::Shape) for `len` of them or more.
    ///
    /// ```
    /// use quadrivium::{Token, Transformer, TransformerConfig};
    /// use quadrivium::model::{Decoder, Sequences};
    ///
    /// let config = TransformerConfig { vocabulary: 3, len: 8, width: 16, ..Default::default() };
    /// let model = Transformer::new(config, &mut quadrivium::seeded(0))?;
    /// let logits = model.logits(&[Token(2), Token(0)])?;
    /// let mut decoder = model.decoder(1);
    /// for (place, token) in [Token::END, Token(2), Token(0)].into_iter().enumerate() {
    ///     assert_eq!(decoder.push(&[token]), logits.row(place).to_slice().unwrap());
    /// }
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn logits(&self, tokens: &[Token]) -> Result<Array2<f32>> {
        let row = ndarray::ArrayView2::from_shape((1, tokens.len()), tokens).expect("one row");
        if !tokens.is_empty() {
            check_tokens("tokens", row, self.config.vocabulary, self.config.len - 1)?;
        }
        let inputs = [Token::END].iter().chain(tokens).map(|&token| symbol(&self.network, token));
        let inputs: Vec<u32> = inputs.collect();
        let mut workspace = CausalWorkspace::default();
        let logits = self.network.infer(&self.parameters.average, &inputs, inputs.len(), &mut workspace);
        let shape = (inputs.len(), self.network.symbols());
        Ok(Array2::from_shape_vec(shape, logits.to_vec()).expect("a row of symbols for each place"))
    }

    /// The config that the model was made with.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }
}

/// What a thread keeps when it scores.
#[derive(Debug, Default)]
pub struct Scoring(Scratch<f32>);

/// Sequences that a [`Transformer`] continues.
#[derive(Debug, Clone)]
pub struct TransformerDecoder<'a> {
    model: &'a Transformer,
    state: Decoding<f32>,
    symbols: Vec<u32>,
}

impl Decoder for TransformerDecoder<'_> {
    fn push(&mut self, tokens: &[Token]) -> &[f32] {
        let network = &self.model.network;
        self.symbols.clear();
        self.symbols.extend(tokens.iter().map(|&token| symbol(network, token)));
        network.push(&self.model.parameters.average, &self.symbols, &mut self.state)
    }

    fn len(&self) -> usize {
        self.state.len()
    }

    fn rewind(&mut self, len: usize) {
        self.state.rewind(len);
    }
}

impl Sequences for Transformer {
    type Decoder<'a> = TransformerDecoder<'a>;
    type Workspace = Scoring;

    fn place(&self) -> Card {
        Card::new("transformer", Objective::ChainRuleNll, Sampling::Sequential { dim: self.config.len })
    }

    fn vocabulary(&self) -> usize {
        self.config.vocabulary
    }

    fn max_len(&self) -> usize {
        self.config.len
    }

    fn truncation(&self) -> Truncation {
        self.truncation
    }

    fn decoder(&self, sequences: usize) -> TransformerDecoder<'_> {
        let state = Decoding::new(&self.network, sequences, self.config.len);
        TransformerDecoder { model: self, state, symbols: Vec::new() }
    }

    fn score_tile(&self, x: &[Token], from: usize, workspace: &mut Scoring, nats: &mut [f64]) {
        let rows = (x, x.len() / nats.len(), from);
        add_log_probs(&self.network, &self.parameters.average, rows, &mut workspace.0, nats);
    }

    fn tile(&self) -> usize {
        rows_together(self.config.len)
    }
}

impl SequenceParadigm for Transformer {
    fn count_params(&self) -> usize {
        self.network.num_params()
    }

    fn learn(
        &mut self,
        data: &Dataset<Token>,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let rows = Rows::plain(data, &Fitted::new(data.dim(), ConditionKind::None), options, rng)?;
        let loss = NextToken { network: &self.network, len: data.dim() };
        let parameters = Arc::make_mut(&mut self.parameters);
        engine::fit(loss, parameters, &rows, &self.config.optimizer, options, observer)
    }
}

use ndarray::{Array2, ArrayView2};
use rand::RngCore;
use rand_distr::{Distribution as _, Exp1};

use super::{card, entropy};
use crate::error::{DataError, Error, Result, check};
use crate::map::Card;
use crate::model::{NextToken, Token};
use crate::numeric::rng::Streams;

/// The most numbers of a transition table.
const LARGEST: usize = 1 << 22;

/// A stationary Markov chain: the next token depends on the `order` tokens before it. It never ends, so every row is a
/// part of a longer sequence.
///
/// ```
/// use quadrivium::{Distribution, worlds::MarkovChain};
///
/// let chain = MarkovChain::random(5, 2, 40, &mut quadrivium::seeded(0))?;
/// let x = chain.draw(2_000, &mut quadrivium::seeded(1))?;
/// let score = chain.log_likelihood(x.view(), &Default::default())?;
/// let nats = -score.nats().unwrap().mean().unwrap();
/// assert!((nats - chain.row_entropy()).abs() < 0.2, "{nats} {}", chain.row_entropy());
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MarkovChain {
    /// p(next | context): (vocabularyᵒʳᵈᵉʳ, vocabulary), a context being a number in base `vocabulary`, its oldest token
    /// first.
    table: Array2<f64>,
    /// Of 0 to `order` tokens, the probability that a row begins with them, in the order of the contexts.
    beginnings: Vec<Vec<f64>>,
    max_len: usize,
}

impl MarkovChain {
    /// The chain of a table of transitions: (vocabularyᵒʳᵈᵉʳ, vocabulary), row c the probabilities after the context
    /// c = Σ xᵢ vocabularyᵒʳᵈᵉʳ⁻ⁱ, x₁ the oldest token. Rows of `max_len` tokens.
    ///
    /// # Errors
    /// [`DataError::Shape`] unless the number of rows is a power of that of the columns;
    /// [`Error::Config`] for a table of more than 2²² numbers, a number that is not positive, a row that does not sum
    /// to 1, no columns, or a `max_len` of 0.
    pub fn new(table: ArrayView2<f64>, max_len: usize) -> Result<Self> {
        let (contexts, vocabulary) = table.dim();
        check(max_len >= 1, "max_len", max_len, "at least 1")?;
        check((1..=LARGEST).contains(&table.len()), "table", table.shape(), "1 to 4,194,304 numbers")?;
        let powers = std::iter::successors(Some(1usize), |&power| power.checked_mul(vocabulary));
        let order = match vocabulary {
            1 => (contexts == 1).then_some(0),
            _ => powers.take_while(|&power| power <= contexts).position(|power| power == contexts),
        };
        let Some(order) = order else {
            let expected = format!("a power of {vocabulary} rows");
            return Err(DataError::Shape { what: "table", got: table.shape().to_vec(), expected }.into());
        };
        for row in table.rows() {
            let holds = row.iter().all(|&p| p > 0.0) && (row.sum() - 1.0).abs() < 1e-9;
            check(holds, "table", row, "rows of positive numbers that sum to 1")?;
        }
        let table = Array2::from_shape_fn(table.dim(), |(c, x)| table[[c, x]] / table.row(c).sum());
        let mut beginnings = vec![stationary(&table)];
        for _ in 0..order {
            let longer = &beginnings[beginnings.len() - 1];
            beginnings.push(longer.chunks_exact(vocabulary).map(|p| p.iter().sum()).collect());
        }
        beginnings.reverse();
        Ok(MarkovChain { table, beginnings, max_len })
    }

    /// A chain whose rows of transitions are uniform on the simplex, from one draw of `rng`.
    ///
    /// # Errors
    /// [`Error::Config`] for no symbols, a table of more than 2²² numbers, or a `max_len` of 0.
    pub fn random(vocabulary: usize, order: usize, max_len: usize, rng: &mut dyn RngCore) -> Result<Self> {
        let contexts = u32::try_from(order).ok().and_then(|order| vocabulary.checked_pow(order));
        let numbers = contexts.and_then(|contexts| contexts.checked_mul(vocabulary));
        let sane = numbers.is_some_and(|numbers| (1..=LARGEST).contains(&numbers));
        let wrong = || Error::config("vocabulary, order", (vocabulary, order), "1 to 4,194,304 transitions");
        let contexts = contexts.filter(|_| sane).ok_or_else(wrong)?;
        let mut rng = Streams::from_rng(rng).stream(0);
        // Exponential numbers over their sum are uniform on the simplex.
        let mut table = Array2::from_shape_simple_fn((contexts, vocabulary), || {
            let number: f64 = Exp1.sample(&mut rng);
            number.max(f64::MIN_POSITIVE)
        });
        table.rows_mut().into_iter().for_each(|mut row| row /= row.sum());
        MarkovChain::new(table.view(), max_len)
    }

    /// Tokens on which the next one depends.
    pub fn order(&self) -> usize {
        self.beginnings.len() - 1
    }

    /// The entropy of a token given all before it, in nats: Σ_c π(c) H(p(·|c)), π the stationary distribution.
    pub fn entropy_rate(&self) -> f64 {
        let contexts = self.beginnings[self.order()].iter().zip(self.table.rows());
        contexts.map(|(share, row)| share * entropy(row.iter().copied())).sum()
    }

    /// The entropy of a row, in nats: that of its first `order` tokens, and the rate for each other.
    pub fn row_entropy(&self) -> f64 {
        let first = self.order().min(self.max_len);
        entropy(self.beginnings[first].iter().copied()) + (self.max_len - first) as f64 * self.entropy_rate()
    }
}

/// π = πP over the contexts. All transitions are positive, so the iteration converges geometrically.
fn stationary(table: &Array2<f64>) -> Vec<f64> {
    let (contexts, vocabulary) = table.dim();
    let mut share = vec![1.0 / contexts as f64; contexts];
    for _ in 0..100_000 {
        let mut next = vec![0.0; contexts];
        for ((c, x), p) in table.indexed_iter() {
            // The oldest token leaves.
            next[(c * vocabulary + x) % contexts] += share[c] * p;
        }
        let change: f64 = next.iter().zip(&share).map(|(a, b)| (a - b).abs()).sum();
        share = next;
        if change < 1e-14 {
            break;
        }
    }
    let total: f64 = share.iter().sum();
    share.iter_mut().for_each(|share| *share /= total);
    share
}

impl NextToken for MarkovChain {
    fn place(&self) -> Card {
        card("Markov chain", self.max_len)
    }

    fn vocabulary(&self) -> usize {
        self.table.ncols()
    }

    fn max_len(&self) -> usize {
        self.max_len
    }

    fn predict(&self, tokens: &[Token], p: &mut [f64]) {
        let (vocabulary, order) = (self.table.ncols(), self.order());
        let known = &tokens[tokens.len() - tokens.len().min(order)..];
        p.fill(0.0);
        if known.contains(&Token::END) {
            return;
        }
        let context = known.iter().fold(0, |context, token| context * vocabulary + token.0 as usize);
        if known.len() == order {
            p.iter_mut().zip(self.table.row(context)).for_each(|(p, &next)| *p = next);
        } else {
            let longer = &self.beginnings[known.len() + 1][context * vocabulary..][..vocabulary];
            let all = self.beginnings[known.len()][context];
            p.iter_mut().zip(longer).for_each(|(p, next)| *p = next / all);
        }
    }
}

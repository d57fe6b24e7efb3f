use std::fmt;

use ndarray::{Array1, Array2, Axis};
use rand::Rng as _;

use super::standardize::Standardizer;
use super::token::Token;
use crate::error::{ConditionError, Result, check};
use crate::numeric::rng::Rng;
#[cfg(feature = "onnx")]
use crate::onnx::{Element, Graph, Value};

/// The c of p(x|c). A condition of one row applies to all rows that are drawn or scored; otherwise row i of the
/// condition belongs to row i.
///
/// ```
/// use quadrivium::{Condition, ndarray::array};
/// let rows = Condition::Vector(array![[0.1, 0.2], [0.3, 0.4]]);
/// assert_eq!((Condition::class(3).rows(), rows.rows()), (1, 2));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Condition {
    /// A class per row, counted from 0: (n).
    Class(Array1<u32>),
    /// Numbers, in the units of the data: (n, dim).
    Vector(Array2<f32>),
    /// A sequence of tokens per row: (n, len).
    Tokens(Array2<Token>),
}

impl Condition {
    /// One class for all rows.
    pub fn class(class: u32) -> Self {
        Condition::Class(Array1::from_elem(1, class))
    }

    /// The same numbers for all rows.
    pub fn vector(numbers: &[f32]) -> Self {
        Condition::Vector(Array2::from_shape_fn((1, numbers.len()), |(_, i)| numbers[i]))
    }

    /// The same sequence of tokens for all rows: a prompt.
    pub fn tokens(tokens: &[Token]) -> Self {
        Condition::Tokens(Array2::from_shape_fn((1, tokens.len()), |(_, i)| tokens[i]))
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Condition::Class(classes) => classes.len(),
            Condition::Vector(numbers) => numbers.nrows(),
            Condition::Tokens(tokens) => tokens.nrows(),
        }
    }

    /// The rows with these indices, in the given order.
    ///
    /// # Panics
    /// If an index is out of range.
    pub fn select(&self, rows: &[usize]) -> Self {
        match self {
            Condition::Class(classes) => Condition::Class(classes.select(Axis(0), rows)),
            Condition::Vector(numbers) => Condition::Vector(numbers.select(Axis(0), rows)),
            Condition::Tokens(tokens) => Condition::Tokens(tokens.select(Axis(0), rows)),
        }
    }

    /// That it has one row, or n.
    pub(crate) fn check_count(&self, n: usize) -> Result<()> {
        check_count(self.rows(), n)
    }

    /// That it has one row, or one for each of the first n.
    pub(crate) fn check_reach(&self, n: usize) -> Result<()> {
        check_reach(self.rows(), n)
    }

    /// What it holds: classes, vectors or tokens.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Condition::Class(_) => "classes",
            Condition::Vector(_) => "vectors",
            Condition::Tokens(_) => "tokens",
        }
    }
}

/// That `got` conditions are one for all n rows, or one for each.
pub(crate) fn check_count(got: usize, n: usize) -> Result<()> {
    match got == 1 || got == n {
        true => Ok(()),
        false => Err(ConditionError::Rows { got, expected: n }.into()),
    }
}

/// That `got` conditions are one for all rows, or reach the first n.
pub(crate) fn check_reach(got: usize, n: usize) -> Result<()> {
    if n <= got { Ok(()) } else { check_count(got, n) }
}

/// What a model is conditioned on: part of its config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub enum ConditionKind {
    /// Nothing: the model learns p(x).
    #[default]
    None,
    /// One of a number of classes.
    Class {
        /// The number of classes. 1 to 65,536.
        classes: u32,
    },
    /// A vector of numbers.
    Vector {
        /// The vector's length. 1 to 65,536.
        dim: usize,
    },
    /// A sequence of tokens of fixed length.
    Tokens {
        /// The number of different tokens. 1 to 65,536.
        vocabulary: usize,
        /// Tokens in a sequence. 1 to 65,536, with vocabulary · len at most 2²⁰.
        len: usize,
    },
}

/// The widest encoded condition that networks take.
const WIDEST: usize = 1 << 20;

impl ConditionKind {
    /// Whether there is no condition.
    pub fn is_none(&self) -> bool {
        *self == ConditionKind::None
    }

    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming `field` if a number is out of range.
    pub fn validate(self, field: &'static str) -> Result<()> {
        let sane = |n: usize| (1..=65_536).contains(&n);
        let holds = match self {
            ConditionKind::None => true,
            ConditionKind::Class { classes } => sane(classes as usize),
            ConditionKind::Vector { dim } => sane(dim),
            ConditionKind::Tokens { vocabulary, len } => {
                sane(vocabulary) && sane(len) && vocabulary * len <= WIDEST
            }
        };
        check(holds, field, self, "numbers from 1 to 65,536, and vocabulary · len at most 2²⁰")
    }

    /// Columns of the condition as it is encoded for networks: a class and each token of a sequence are one-hot; a
    /// vector becomes its standardized numbers followed by a 1. All zeros mean no condition.
    pub fn width(self) -> usize {
        match self {
            ConditionKind::None => 0,
            ConditionKind::Class { classes } => classes as usize,
            ConditionKind::Vector { dim } => dim + 1,
            ConditionKind::Tokens { vocabulary, len } => vocabulary * len,
        }
    }

    /// Checks that each row of `condition` is of this kind.
    ///
    /// # Errors
    /// [`Error::Condition`](crate::Error::Condition) with what is wrong.
    pub fn check(self, condition: Option<&Condition>) -> Result<()> {
        match (self, condition) {
            (ConditionKind::None, None) => {}
            (ConditionKind::None, Some(_)) => return Err(ConditionError::Unexpected.into()),
            (_, None) => return Err(ConditionError::Missing { expected: self.to_string() }.into()),
            (ConditionKind::Class { classes }, Some(Condition::Class(found))) => {
                if let Some((row, &class)) = found.indexed_iter().find(|(_, c)| **c >= classes) {
                    return Err(ConditionError::UnknownClass { row, class, classes }.into());
                }
            }
            (ConditionKind::Vector { dim }, Some(Condition::Vector(found))) => {
                if found.ncols() != dim {
                    return Err(ConditionError::Width { got: found.ncols(), expected: dim }.into());
                }
                super::dataset::check_finite("condition", found.view())?;
            }
            (ConditionKind::Tokens { vocabulary, len }, Some(Condition::Tokens(found))) => {
                if found.ncols() != len {
                    return Err(ConditionError::Width { got: found.ncols(), expected: len }.into());
                }
                if let Some(((row, _), token)) =
                    found.indexed_iter().find(|(_, t)| t.0 as usize >= vocabulary)
                {
                    return Err(ConditionError::UnknownToken { row, token: token.0, vocabulary }.into());
                }
            }
            (_, Some(other)) => {
                return Err(ConditionError::Kind { got: other.name(), expected: self.to_string() }.into());
            }
        }
        Ok(())
    }
}

impl fmt::Display for ConditionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConditionKind::None => f.write_str("no condition"),
            ConditionKind::Class { classes } => write!(f, "a class from 0 to {}", classes - 1),
            ConditionKind::Vector { dim } => write!(f, "{dim} numbers"),
            ConditionKind::Tokens { vocabulary, len } => {
                write!(f, "{len} tokens from 0 to {}", vocabulary - 1)
            }
        }
    }
}

/// Encodes conditions for the networks: their kind, the units of their numbers, and how often each occurred in
/// training. The first training fixes these, later ones keep them.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Conditions {
    kind: ConditionKind,
    /// The units of a vector's columns.
    units: Option<Standardizer>,
    /// The share of each class among the training rows.
    shares: Vec<f64>,
    /// For vectors and sequences, the conditions of some of the training rows.
    examples: Option<Condition>,
}

/// Conditions of training rows that are kept for draws without a condition.
const EXAMPLES: usize = 1024;

impl Conditions {
    /// Before training: all classes are equally likely, and a vector's numbers keep their units.
    pub fn new(kind: ConditionKind) -> Self {
        let (mut units, mut shares, mut examples) = (None, Vec::new(), None);
        match kind {
            ConditionKind::None => {}
            ConditionKind::Class { classes } => shares = vec![1.0 / f64::from(classes); classes as usize],
            ConditionKind::Vector { dim } => {
                units = Some(Standardizer::identity(dim));
                examples = Some(Condition::Vector(Array2::zeros((1, dim))));
            }
            ConditionKind::Tokens { len, .. } => {
                examples = Some(Condition::Tokens(Array2::from_elem((1, len), Token(0))));
            }
        }
        Conditions { kind, units, shares, examples }
    }

    /// Whether there are none.
    #[cfg(feature = "safetensors")]
    pub(crate) fn are_none(&self) -> bool {
        self.kind == ConditionKind::None
    }

    /// Checks what was read from a file: the kind, and the shares and examples that the kind needs.
    #[cfg(feature = "safetensors")]
    pub(crate) fn validate(&self, kind: ConditionKind) -> Result<()> {
        check(self.kind == kind, "conditions", self.kind, "the kind of the config")?;
        let sane = self.shares.iter().all(|&share| (0.0..=1.0).contains(&share));
        let expected = Conditions::new(kind);
        let fits = sane && self.shares.len() == expected.shares.len();
        check(fits, "conditions' shares", &self.shares, "from 0 to 1, for each class")?;
        let units = self.units.is_some() == expected.units.is_some();
        let examples = self.examples.is_some() == expected.examples.is_some();
        check(units && examples, "conditions", self.kind, "units and examples as the kind has them")?;
        if let (Some(units), ConditionKind::Vector { dim }) = (&self.units, kind) {
            units.validate(dim)?;
        }
        match &self.examples {
            Some(examples) => {
                check(examples.rows() > 0, "conditions' examples", 0, "at least 1")?;
                kind.check(Some(examples))
            }
            None => Ok(()),
        }
    }

    /// The kind of condition.
    pub fn kind(&self) -> ConditionKind {
        self.kind
    }

    /// Columns of a condition as networks take it: [`ConditionKind::width`].
    pub fn width(&self) -> usize {
        self.kind.width()
    }

    /// The share of each class among the rows of the first training; empty for other kinds.
    pub fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// At the first training, sets the units and shares from the training rows' conditions.
    ///
    /// # Errors
    /// As [`ConditionKind::check`], and [`ConditionError::Values`] for columns of a vector that cannot be
    /// standardized.
    pub(crate) fn fitted(&self, training: Option<&Condition>) -> Result<Self> {
        self.kind.check(training)?;
        let mut fitted = self.clone();
        match training {
            None => {}
            Some(Condition::Class(classes)) => {
                fitted.shares.fill(0.0);
                let share = 1.0 / classes.len() as f64;
                classes.iter().for_each(|&class| fitted.shares[class as usize] += share);
            }
            Some(condition) => {
                if let (Some(units), Condition::Vector(numbers)) = (&mut fitted.units, condition) {
                    let fitted = units.fitted(numbers.view());
                    *units = fitted.map_err(|error| ConditionError::Values { what: error.to_string() })?;
                }
                let step = condition.rows().div_ceil(EXAMPLES);
                let some: Vec<usize> = (0..condition.rows()).step_by(step.max(1)).collect();
                fitted.examples = Some(condition.select(&some));
            }
        }
        Ok(fitted)
    }

    /// The condition encoded for networks: (rows, [`width`](Conditions::width)).
    ///
    /// # Errors
    /// As [`ConditionKind::check`].
    pub fn encode(&self, condition: Option<&Condition>) -> Result<Array2<f32>> {
        self.kind.check(condition)?;
        let Some(condition) = condition else { return Ok(Array2::zeros((0, 0))) };
        let mut c = Array2::zeros((condition.rows(), self.width()));
        for (row, mut c) in c.rows_mut().into_iter().enumerate() {
            self.encode_row(condition, row, c.as_slice_mut().expect("standard layout"));
        }
        Ok(c)
    }

    /// The encoded conditions of n training rows: (n, width).
    pub(super) fn of_rows(&self, condition: Option<&Condition>, n: usize) -> Result<Array2<f32>> {
        if self.kind.is_none() { Ok(Array2::zeros((n, 0))) } else { self.encode(condition) }
    }

    /// As [`encode`](Conditions::encode), for n rows: the condition has one row for all of them, or one per row.
    ///
    /// # Errors
    /// As [`ConditionKind::check`], and [`ConditionError::Rows`].
    pub(crate) fn encode_for(&self, condition: Option<&Condition>, n: usize) -> Result<Array2<f32>> {
        let c = self.encode(condition)?;
        Given::of(&c).check_count(n)?;
        Ok(c)
    }

    /// Encodes one row into c: (width), which holds zeros.
    fn encode_row(&self, condition: &Condition, row: usize, c: &mut [f32]) {
        match condition {
            Condition::Class(classes) => c[classes[row] as usize] = 1.0,
            Condition::Vector(numbers) => {
                let (one, columns) = c.split_last_mut().expect("a vector has a 1 behind it");
                columns.iter_mut().zip(numbers.row(row)).for_each(|(c, &v)| *c = v);
                if let Some(units) = &self.units {
                    units.standardize(columns);
                }
                // Clamped, so that sums of absurdly large numbers stay finite.
                columns.iter_mut().for_each(|c| *c = c.clamp(-1e6, 1e6));
                *one = 1.0;
            }
            Condition::Tokens(tokens) => {
                let vocabulary = c.len() / tokens.ncols();
                for (token, place) in tokens.row(row).iter().zip(c.chunks_exact_mut(vocabulary)) {
                    place[token.0 as usize] = 1.0;
                }
            }
        }
    }

    /// The condition as networks take it, (n, width), in a graph, with an input for what it is made of; `None` if there
    /// is no condition. Where the model `knows_none`, a class that does not exist, or a vector of NaN, is no condition;
    /// otherwise it gives NaN.
    #[cfg(feature = "onnx")]
    pub(crate) fn trace(&self, knows_none: bool, graph: &mut Graph) -> Option<Value> {
        let one_hot = |index: Value, classes: usize, graph: &mut Graph| {
            let depth = graph.integers(&[], &[classes as i64]);
            let ends = graph.constant(&[2], &[0.0f32, 1.0]);
            graph.apply("OneHot", &[index, depth, ends])
        };
        let c = match self.kind {
            ConditionKind::None => return None,
            ConditionKind::Class { classes } => {
                let class = graph.input("class", Element::I64, &[]);
                one_hot(class, classes as usize, graph)
            }
            ConditionKind::Tokens { vocabulary, len } => {
                let tokens = graph.input("tokens", Element::I64, &[len]);
                let c = one_hot(tokens, vocabulary, graph);
                graph.flat(c, len * vocabulary)
            }
            ConditionKind::Vector { dim } => {
                let numbers = graph.input("condition", Element::F32, &[dim]);
                let standard = match &self.units {
                    Some(units) => units.trace_standardize(numbers, graph),
                    None => numbers,
                };
                let near = graph.clip(standard, -1e6f32, 1e6);
                if !knows_none {
                    let one = graph.constant(&[1, 1], &[1.0f32]);
                    return Some(graph.concat(&[near, one]));
                }
                let absent = graph.apply("IsNaN", &[numbers]);
                let zero = graph.scalar(0.0f32);
                let present = graph.apply("Where", &[absent, zero, near]);
                let first = graph.columns(numbers, 0..1);
                let absent = graph.apply("IsNaN", &[first]);
                let one = graph.scalar(1.0f32);
                let one = graph.apply("Where", &[absent, zero, one]);
                return Some(graph.concat(&[present, one]));
            }
        };
        if knows_none {
            return Some(c);
        }
        // 1 for a class that exists: 0/0 otherwise.
        let sum = graph.reduced("ReduceMax", c);
        Some(graph.div(c, sum))
    }

    /// Appends a random condition to `c`, drawn with its frequency in training.
    pub(crate) fn draw(&self, rng: &mut Rng, c: &mut Vec<f32>) {
        let start = c.len();
        c.resize(start + self.width(), 0.0);
        let c = &mut c[start..];
        if let Some(examples) = &self.examples {
            self.encode_row(examples, rng.random_range(0..examples.rows()), c);
        } else if !self.shares.is_empty() {
            let mut left: f64 = rng.random();
            // Rounding may leave a small remainder after the last class.
            let last = self.shares.iter().rposition(|&share| share > 0.0).unwrap_or(0);
            let class = self.shares[..last].iter().position(|share| {
                left -= share;
                left < 0.0
            });
            c[class.unwrap_or(last)] = 1.0;
        }
    }
}

/// The encoded conditions of some rows: one for all rows, one per row, or none.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    c: &'a [f32],
    width: usize,
}

impl<'a> Given<'a> {
    /// No condition.
    pub const NONE: Given<'static> = Given { c: &[], width: 0 };

    /// The rows of c, as [`Conditions::encode`] makes them: one for all rows, or one per row.
    pub fn of(c: &'a Array2<f32>) -> Self {
        Given { c: c.as_slice().expect("made row-major"), width: c.ncols() }
    }

    /// Checks that there is one condition for all n rows, or one per row.
    pub(crate) fn check_count(self, n: usize) -> Result<()> {
        self.c.len().checked_div(self.width).map_or(Ok(()), |got| check_count(got, n))
    }

    /// Checks that there is one condition for all rows, or one for each of the first n.
    pub(crate) fn check_reach(self, n: usize) -> Result<()> {
        self.c.len().checked_div(self.width).map_or(Ok(()), |got| check_reach(got, n))
    }

    /// The conditions of `n` rows from `first` on: (n, width), or (1, width) if all rows share one.
    pub fn rows(self, first: usize, n: usize) -> &'a [f32] {
        if self.c.len() <= self.width {
            self.c
        } else {
            &self.c[first * self.width..(first + n) * self.width]
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::error::DataError;
    use crate::error::Error;
    use crate::numeric::rng::seeded;

    #[test]
    fn encodings_are_ones_numbers_and_nothing() {
        let classes = Conditions::new(ConditionKind::Class { classes: 3 });
        assert_eq!(classes.encode(Some(&Condition::class(1))).unwrap(), array![[0.0, 1.0, 0.0]]);
        let vectors = Conditions::new(ConditionKind::Vector { dim: 1 });
        let vectors = vectors.fitted(Some(&Condition::Vector(array![[1.0], [3.0]]))).unwrap();
        assert_eq!(vectors.encode(Some(&Condition::vector(&[5.0]))).unwrap(), array![[3.0, 1.0]]);
        let tokens = Conditions::new(ConditionKind::Tokens { vocabulary: 2, len: 2 });
        let sequence = Condition::Tokens(array![[Token(1), Token(0)]]);
        assert_eq!(tokens.encode(Some(&sequence)).unwrap(), array![[0.0, 1.0, 1.0, 0.0]]);
        assert_eq!(Conditions::default().encode(None).unwrap().dim(), (0, 0));
    }

    #[test]
    fn classes_are_drawn_by_their_shares() {
        let conditions = Conditions::new(ConditionKind::Class { classes: 4 });
        let conditions = conditions.fitted(Some(&Condition::Class(array![0, 2, 2, 2]))).unwrap();
        assert_eq!(conditions.shares(), [0.25, 0.0, 0.75, 0.0]);
        let (mut rng, mut c) = (seeded(1), Vec::new());
        (0..4000).for_each(|_| conditions.draw(&mut rng, &mut c));
        let count = |class| c.chunks_exact(4).map(|c| c[class]).sum::<f32>();
        // sd 27.
        assert!((count(0) - 1000.0).abs() < 140.0 && count(0) + count(2) == 4000.0);
    }

    #[test]
    fn each_bad_condition_has_its_error() {
        let told = |kind: ConditionKind, condition: Option<&Condition>| match kind.check(condition) {
            Err(Error::Condition(error)) => error,
            other => panic!("{other:?}"),
        };
        let (class, vector) = (ConditionKind::Class { classes: 3 }, ConditionKind::Vector { dim: 2 });
        let one = Condition::class(1);
        assert!(matches!(told(class, None), ConditionError::Missing { .. }));
        assert!(matches!(told(ConditionKind::None, Some(&one)), ConditionError::Unexpected));
        assert!(matches!(told(vector, Some(&one)), ConditionError::Kind { got: "classes", .. }));
        let unknown = told(class, Some(&Condition::Class(array![0, 7])));
        assert!(matches!(unknown, ConditionError::UnknownClass { row: 1, class: 7, classes: 3 }));
        let narrow = told(vector, Some(&Condition::vector(&[1.0])));
        assert!(matches!(narrow, ConditionError::Width { got: 1, expected: 2 }));
        let nan = vector.check(Some(&Condition::vector(&[1.0, f32::NAN])));
        assert!(matches!(nan, Err(Error::Data(DataError::NonFinite { what: "condition", column: 1, .. }))));
        let tokens = ConditionKind::Tokens { vocabulary: 5, len: 2 };
        let unknown = told(tokens, Some(&Condition::Tokens(array![[Token(1), Token(5)]])));
        assert!(matches!(unknown, ConditionError::UnknownToken { row: 0, token: 5, vocabulary: 5 }));
    }
}

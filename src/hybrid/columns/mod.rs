//! Columns in units of their own: numbers with ends, heavy tails, steps, and values that repeat.

mod bend;
mod fit;
mod map;
#[cfg(feature = "safetensors")]
mod persist;
mod spline;
#[cfg(test)]
mod tests;

use std::fmt;

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::{Rng as _, RngCore};

use self::map::ColumnMap;
use super::codec::{Codec, Explanation, check_decoded};
use crate::engine::{self, Fitted, Given, RowStreams, tiles};
use crate::error::{DataError, Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::numeric::Real;
use crate::numeric::normal::ln_density;
use crate::numeric::rng::Streams;
use crate::tables::{Cells, Step, Units};

/// Draws of z by which atoms are calibrated: they tell a share to 0.3 %.
const CALIBRATED: usize = 1 << 15;

/// How the numbers of a column are brought near to N(0, 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum ColumnScale {
    /// By the column's numbers: with ends, logarithmic or affine, whichever makes a normal density likelier; with tails
    /// heavier than exponential, or beside values with a probability of their own, gaussianized; otherwise affine. Ends that are not given are 0, if no number is negative,
    /// and 1 as well, if none is greater.
    #[default]
    Auto,
    /// By mean and standard deviation. Near an end of its own the scale becomes logarithmic.
    Affine,
    /// By median and quantiles, which a few far rows do not move.
    Robust,
    /// The logarithm of the distance to the column's one end; 0, if none is given.
    Logarithmic,
    /// By ranks: a smooth increasing function that makes the column's own distribution N(0, 1), logarithmic at its ends.
    Gaussianized,
}

/// Which values of a column have a probability of their own; that a value is [missing](crate::tables::MISSING) always has.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Atoms {
    /// By the training rows: all values of a column that has at most 64 different ones, ten rows each on average, but only
    /// the frequent ones if it goes in steps and its least or greatest value stands in one row alone; of other columns,
    /// values with 5 % of the rows that are ten times as frequent as the others.
    #[default]
    Found,
    /// None.
    Without,
    /// These, beside other numbers.
    At(Vec<f32>),
    /// These, and the column has no others.
    Among(Vec<f32>),
}

/// What is known of a column.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Column {
    /// How its numbers are brought near to N(0, 1). Default [`ColumnScale::Auto`].
    pub scale: ColumnScale,
    /// No value is less. Default `None`.
    pub low: Option<f64>,
    /// No value is greater. Default `None`.
    pub high: Option<f64>,
    /// The grid of its numbers: a number is spread evenly over one width around it, and what is drawn is the nearest of
    /// the grid. Default `None`.
    pub step: Option<Step>,
    /// Values with a probability of their own. Default [`Atoms::Found`].
    pub atoms: Atoms,
}

impl Column {
    /// What is said of a column in the units of its table, in those of the numbers that stand for its cells. Labels have no
    /// numbers but their places.
    ///
    /// ```
    /// use quadrivium::{hybrid::{Atoms, Column}, tables::{Cells, Units}};
    ///
    /// // Years, stored as their distance from 2000.
    /// let units = Units { center: 2000.0, scale: 1.0 };
    /// let year = Column { low: Some(1990.0), ..Column::default() };
    /// assert_eq!(year.stored(units, &Cells::Numbers).low, Some(-10.0));
    /// let country = Cells::Labels(vec!["DE".into(), "FR".into()]);
    /// let atoms = Atoms::Among(vec![0.0, 1.0]);
    /// assert_eq!(Column::default().stored(units, &country), Column { atoms, ..Column::default() });
    /// ```
    pub fn stored(mut self, units: Units, cells: &Cells) -> Self {
        if let Cells::Labels(labels) = cells {
            let atoms = Atoms::Among((0..labels.len()).map(|label| label as f32).collect());
            return Column { atoms, ..Column::default() };
        }
        let Units { center, scale } = units;
        let at = |value: f64| (value - center) / scale;
        (self.low, self.high) = (self.low.map(at), self.high.map(at));
        self.step = self.step.map(|Step { width, offset }| {
            let (width, offset) = (width / scale, at(offset));
            Step { width, offset: offset - width * (offset / width).round() }
        });
        // Of a value with a probability the units of the table say nothing: `Table::log_scale` is for densities.
        if scale != 1.0 && self.atoms == Atoms::Found {
            self.atoms = Atoms::Without;
        }
        self
    }
}

/// What a [`Columns`] is made of.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct ColumnsConfig {
    /// Columns of a row. At least 1. Default 2.
    pub dim: usize,
    /// One for each, or none: [`Column::default`] for all. Default none.
    pub columns: Vec<Column>,
}

impl Default for ColumnsConfig {
    fn default() -> Self {
        ColumnsConfig { dim: 2, columns: Vec::new() }
    }
}

impl ColumnsConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check(self.dim >= 1, "ColumnsConfig::dim", self.dim, "at least 1")?;
        let (field, given) = ("ColumnsConfig::columns", self.columns.len());
        check(given == 0 || given == self.dim, field, given, "none, or one for each column")?;
        for Column { low, high, step, .. } in &self.columns {
            for (field, end) in [("Column::low", low), ("Column::high", high)] {
                check(end.is_none_or(f64::is_finite), field, end, "finite")?;
            }
            let apart = low.zip(*high).is_none_or(|(low, high)| low < high);
            check(apart, "Column::high", (low, high), "more than Column::low, the first")?;
            let positive =
                step.is_none_or(|step| step.width > 0.0 && step.width.is_finite() && step.offset.is_finite());
            check(positive, "Column::step", step, "a width of more than 0")?;
        }
        Ok(())
    }
}

/// Columns brought near to N(0, 1), each by an increasing map of its own: the codec that gives the columns of a table
/// the units that models like.
///
/// With g the map of a column's numbers, [`ColumnScale`] and its ends, and πₐ the probabilities of its atoms,
///
/// ```text
/// ln p(x) = Σ ln φ(g(x)) + ln dg/dx       numbers, in the units of the data
///           Σ ln πₐ                       atoms: probabilities
///           Σ ∫ p(x + w v) dv             numbers on a grid of width w, spread over v ~ U(−½, ½): a lower bound
/// ```
///
/// Alone it says that columns are independent: the yardstick of what a model finds between them. With a model of the
/// latents ([`Latent`](super::Latent)) it composes the change of variables into every likelihood, and what is drawn has
/// the ends, steps and values of the column: no negative count, no half child, zeros where zeros were. An atom is an
/// interval of z, as wide as it is probable (the distributional transform of Rüschendorf 2009), so that any density of z
/// gives each a probability, and each z is some value; ln p is then a lower bound, by a draw of z within the interval.
///
/// The maps are fitted once, to the rows that its training does not hold out, and frozen. What a model learns of z is not
/// quite what it should have learned; so after its training the intervals are made as wide as it takes for the model to
/// draw each atom as often as the training rows have it.
///
/// ```
/// use quadrivium::hybrid::{Column, Columns, ColumnsConfig, Latent, LatentConfig};
/// use quadrivium::{ndarray::{Array2, Axis}, prelude::*, seeded};
/// # use quadrivium::rand::Rng as _;
///
/// // Incomes, four fifths of which are zero, and shares.
/// let mut rng = seeded(0);
/// let x = Array2::from_shape_fn((2_000, 2), |(row, column)| match column {
///     0 if row % 5 > 0 => 0.0,
///     0 => (rng.random::<f32>() * 6.0).exp(),
///     _ => rng.random::<f32>().powi(2),
/// });
/// let columns = Columns::new(ColumnsConfig::default())?;
/// let mixture = GaussianMixture::new(GaussianMixtureConfig::default())?;
/// let mut model = Latent::new(columns, mixture, LatentConfig::default())?;
/// model.fit(&Dataset::new(x)?, &mut rng)?;
///
/// let drawn = model.draw(2_000, &mut rng)?;
/// assert!(drawn.column(0).iter().all(|&income| income >= 0.0));
/// let zeros = drawn.column(0).iter().filter(|&&income| income == 0.0).count();
/// assert!((1_500..1_700).contains(&zeros), "{zeros}");
/// assert!(drawn.column(1).iter().all(|share| (0.0..1.0).contains(share)));
/// println!("{}", model.codec());
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Columns {
    config: ColumnsConfig,
    /// The shell's units, which stay the identity.
    fitted: Fitted,
    maps: Vec<ColumnMap>,
    is_fitted: bool,
}

impl Columns {
    /// The identity, until its first training.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn new(config: ColumnsConfig) -> Result<Self> {
        config.validate()?;
        let maps = vec![ColumnMap::identity(); config.dim];
        Ok(Columns { fitted: Fitted::new(config.dim, ConditionKind::None), config, maps, is_fitted: false })
    }

    /// What it was made with.
    pub fn config(&self) -> &ColumnsConfig {
        &self.config
    }

    /// What it takes a column for, in words.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a column that is not there.
    pub fn describe(&self, column: usize) -> Result<String> {
        let map = self.maps.get(column);
        check(map.is_some(), "column", column, "one of the columns, counted from 0")?;
        Ok(map.map_or_else(String::new, ColumnMap::to_string))
    }

    /// Whether all numbers that a column can have are whole.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a column that is not there.
    pub fn is_whole(&self, column: usize) -> Result<bool> {
        let map = self.maps.get(column);
        check(map.is_some(), "column", column, "one of the columns, counted from 0")?;
        Ok(map.is_some_and(ColumnMap::is_whole))
    }

    /// Whether z follows from x with a density: as far as is known before the training, and by the maps after it.
    fn is_exact(&self) -> bool {
        let numbers = |column: &Column| column.atoms == Atoms::Without && column.step.is_none();
        let columns = &self.config.columns;
        match self.is_fitted {
            true => self.maps.iter().all(ColumnMap::is_exact),
            false => !columns.is_empty() && columns.iter().all(numbers),
        }
    }

    /// [z | ln N(z; 0, I) − ln q(z|x)] of each row of x: (n, dim + 1).
    fn explain_rows(&self, x: ArrayView2<f32>, seed: u64) -> Array2<f64> {
        let (streams, dim) = (Streams::new(seed), self.config.dim);
        let x = x.as_standard_layout();
        let x = x.as_slice().expect("standard layout");
        let mut out = Array2::zeros((x.len() / dim, dim + 1));
        let rows = out.as_slice_mut().expect("standard layout");
        let done = tiles::for_each_tile(rows, dim + 1, |(): &mut (), first, out| {
            for (out, row) in out.chunks_exact_mut(dim + 1).zip(x[first * dim..].chunks_exact(dim)) {
                let mut rng = streams.of_row(row).stream(0);
                let (nats, z) = out.split_last_mut().expect("nats");
                for ((out, map), &x) in z.iter_mut().zip(&self.maps).zip(row) {
                    let v = if map.is_exact() { 0.5 } else { rng.random() };
                    let (z, worth) = map.encode(x, v);
                    *out = z.into();
                    // Of z as it is given on.
                    *nats += ln_density(z.into()) + worth;
                }
            }
            Ok(())
        });
        debug_assert!(done.is_ok(), "no tile fails");
        out
    }

    fn decode(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.config.dim) {
            row.iter_mut().zip(&self.maps).for_each(|(x, map)| *x = map.decode(*x));
        }
    }
}

/// A line for each column.
impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (column, map) in self.maps.iter().enumerate() {
            let end = if column + 1 < self.maps.len() { "\n" } else { "" };
            write!(f, "column {column}: {map}{end}")?;
        }
        Ok(())
    }
}

impl Paradigm for Columns {
    type Workspace = ();

    fn place(&self) -> Card {
        let mut card = Card::new("columns", Objective::ChangeOfVariables, Sampling::OnePass);
        if !self.is_exact() {
            card.likelihood = LikelihoodKind::LowerBound;
        }
        card
    }

    /// Probabilities of atoms, and the numbers of the maps.
    fn count_params(&self) -> usize {
        self.maps.iter().map(ColumnMap::num_params).sum()
    }

    fn fitted(&self) -> &Fitted {
        &self.fitted
    }

    /// In closed form, in one step, whose loss is the mean −ln p of the training rows in the units of the data; a later
    /// training changes nothing. Held-out rows are scored at the end; `steps`, `batch`, `shards` and `checkpoint` have no
    /// effect.
    fn learn(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        check_rows("data", data.x(), self.config.dim)?;
        ConditionKind::None.check(data.condition())?;
        let ((x, _), (held_out, _), streams) = engine::split(data, options, rng)?;
        let rows = x.nrows();
        if rows < 2 {
            let what = "data for maps of columns";
            return Err(DataError::TooFewRows { what, got: rows, least: 2 }.into());
        }
        if !self.is_fitted {
            let unsaid = Column::default();
            let fit = |(column, values): (usize, ndarray::ArrayView1<f32>)| {
                let said = self.config.columns.get(column).unwrap_or(&unsaid);
                // One value without a probability of its own.
                let value = values[0];
                let plain = match &said.atoms {
                    Atoms::Without => true,
                    Atoms::At(atoms) => !atoms.contains(&value),
                    Atoms::Found | Atoms::Among(_) => false,
                };
                if plain && values.iter().all(|other| *other == value) {
                    return Err(DataError::ConstantColumn { column, value: value.into(), rows }.into());
                }
                said.fit(&values.to_vec(), &mut streams.stream(column as u64))
            };
            self.maps = x.axis_iter(Axis(1)).enumerate().map(fit).collect::<Result<_>>()?;
            self.is_fitted = true;
        }
        // A prior is about to learn what it says.
        self.maps.iter_mut().for_each(ColumnMap::uncalibrate);
        let loss = |x: &Array2<f32>| -self.nats(x.view(), 0).mean().unwrap_or(0.0);
        let (loss, validation) = (loss(&x), (held_out.nrows() > 0).then(|| loss(&held_out)));
        Ok(TrainReport::in_one_step(loss, validation, observer))
    }

    fn draw_tile(
        &self,
        temperature: f64,
        _: &[f32],
        streams: RowStreams,
        (): &mut (),
        x: &mut [f32],
    ) -> usize {
        for (r, x) in x.chunks_exact_mut(self.config.dim).enumerate() {
            let mut rng = streams.row(r);
            x.fill_with(|| temperature as f32 * f32::normal(&mut rng));
        }
        self.decode(x);
        1
    }

    fn score(&self, _: Given<'_>, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood> {
        let nats = self.nats(x, options.seed);
        Ok(if self.is_exact() {
            LogLikelihood::Exact(nats)
        } else {
            LogLikelihood::LowerBound { nats, draws: 1 }
        })
    }
}

impl Columns {
    fn nats(&self, x: ArrayView2<f32>, seed: u64) -> Array1<f64> {
        Explanation::of(&self.explain_rows(x, seed)).nats
    }
}

impl Codec for Columns {
    fn is_closed_form(&self) -> bool {
        true
    }

    fn latent_dim(&self) -> usize {
        self.config.dim
    }

    fn explain(&self, x: ArrayView2<f32>, seed: u64) -> Result<Explanation> {
        check_rows("x", x, self.config.dim)?;
        Ok(Explanation::of(&self.explain_rows(x, seed)))
    }

    fn decode_at(
        &self,
        z: ArrayView2<f32>,
        _: RowStreams,
        _: &SampleOptions,
        rows: &mut [f32],
    ) -> Result<usize> {
        check_decoded(self, z, rows)?;
        rows.iter_mut().zip(z).for_each(|(x, &z)| *x = z);
        tiles::for_each_tile(rows, self.config.dim, |(): &mut (), _, rows| {
            self.decode(rows);
            Ok(())
        })?;
        Ok(1)
    }

    /// Of the intervals of atoms.
    fn calibrate(&mut self, draw: &mut dyn FnMut(usize) -> Result<Array2<f32>>) -> Result<()> {
        if !self.maps.iter().any(ColumnMap::has_atoms) {
            return Ok(());
        }
        let drawn = draw(CALIBRATED)?;
        for (map, z) in self.maps.iter_mut().zip(drawn.columns()) {
            let mut z = z.to_vec();
            z.sort_by(f32::total_cmp);
            map.calibrate(&z);
        }
        Ok(())
    }
}

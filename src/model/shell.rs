//! The shell around every model: units, tiles and their streams, conditions, and the checks of the arguments, written
//! once. Each [`Paradigm`] adds only what is its own.

use std::fmt::Debug;
use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayView2};
use rand::RngCore;

use super::{Distribution, Generative, LogLikelihood};
use crate::engine::tiles::{self, DrawTile};
use crate::engine::{
    Condition, ConditionKind, Dataset, Fitted, Given, LikelihoodOptions, Observer, RowStreams, SampleOptions,
    Samples, TrainOptions, TrainReport, check_rows,
};
use crate::error::{ConditionError, Result};
use crate::map::Card;

/// What a paradigm implements for a model of numeric rows. Its type is then a [`Generative`].
///
/// Rows z are in standard units. A condition c is encoded as networks take it: (n, width), or (1, width) where all
/// rows have the same condition, and empty without one ([`Conditions`](crate::engine::Conditions)).
pub trait Paradigm: Clone + Debug + Send + Sync + 'static {
    /// Buffers that a thread keeps from tile to tile.
    type Workspace: Default;

    /// The model's place on the map: [`Distribution::card`].
    fn place(&self) -> Card;

    /// Number of trainable parameters, over all networks: [`Generative::num_params`].
    fn count_params(&self) -> usize;

    /// What the first training fixed, or the identity before it.
    fn fitted(&self) -> &Fitted;

    /// [`Generative::train`].
    ///
    /// # Errors
    /// The same as there.
    fn learn(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport>;

    /// Fills z: (at most a tile, dim), row r from stream r. Returns how often the networks ran on each row.
    fn draw_tile(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        workspace: &mut Self::Workspace,
        z: &mut [f32],
    ) -> usize;

    /// ln p(x|c) of rows x: (n, dim), in the units of the data. The caller has checked that they are finite and have
    /// dim columns.
    ///
    /// # Errors
    /// If an iteration does not converge.
    fn score(&self, c: Given<'_>, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood>;

    /// Whether the model was also trained without conditions, so that no condition means p(x). Otherwise a draw
    /// without a condition draws one, with its frequency in training.
    fn knows_no_condition(&self) -> bool {
        false
    }
}

/// Rows to score, in both units.
pub(crate) struct Scored<'a> {
    /// In the units of the data; these values key the row's random numbers.
    pub x: &'a [f32],
    /// In standard units.
    pub z: &'a [f32],
}

/// One number per row of x, (n, dim): `tile(c, workspace, rows, nats)` adds ln p(z|c) to nats, which hold ln |dz/dx|.
pub(crate) fn log_prob<W: Default>(
    fitted: &Fitted,
    given: Given<'_>,
    x: ArrayView2<f32>,
    tile: impl Fn(&[f32], &mut W, Scored<'_>, &mut [f64]) -> Result<()> + Sync,
) -> Result<Array1<f64>> {
    tiles::score(x, |first, (z, workspace): &mut (Vec<f32>, W), x, nats| {
        z.clear();
        z.extend_from_slice(x);
        fitted.standardizer.standardize(z);
        fitted.standardizer.add_log_det(x, nats);
        tile(given.rows(first, nats.len()), workspace, Scored { x, z }, nats)
    })
}

/// Draws of a model, under a given condition or under conditions drawn with their training frequencies.
pub(crate) struct Draws<'a, P> {
    pub(crate) model: &'a P,
    pub(crate) c: Option<Given<'a>>,
}

impl<P: Paradigm> Draws<'_, P> {
    /// The conditions of the n rows of a tile; `drawn` is a buffer.
    pub(crate) fn conditions<'b>(
        &'b self,
        streams: RowStreams,
        n: usize,
        drawn: &'b mut Vec<f32>,
    ) -> &'b [f32] {
        if let Some(given) = self.c {
            return given.rows(streams.first(), n);
        }
        let conditions = &self.model.fitted().conditions;
        drawn.clear();
        if conditions.width() > 0 {
            // A stream of its own: the rows' streams are the same as under a given condition.
            let choices = streams.family(u64::MAX);
            (0..n).for_each(|r| conditions.draw(&mut choices.row(r), drawn));
        }
        drawn
    }
}

impl<P: Paradigm> DrawTile for Draws<'_, P> {
    type Scratch = (Vec<f32>, P::Workspace);

    fn columns(&self) -> usize {
        self.model.fitted().standardizer.dim()
    }

    fn draw_tile(
        &self,
        temperature: f64,
        streams: RowStreams,
        (drawn, workspace): &mut Self::Scratch,
        rows: &mut [f32],
    ) -> usize {
        let standardizer = &self.model.fitted().standardizer;
        let c = self.conditions(streams, rows.len() / standardizer.dim(), drawn);
        let nfe = self.model.draw_tile(temperature, c, streams, workspace, rows);
        standardizer.restore(rows);
        nfe
    }
}

/// The draws' conditions are zeros if the model was also trained without conditions.
pub(crate) fn no_condition<P: Paradigm>(model: &P) -> Option<Array2<f32>> {
    let width = model.fitted().conditions.width();
    (width > 0 && model.knows_no_condition()).then(|| Array2::zeros((1, width)))
}

impl<P: Paradigm> Distribution for P {
    fn card(&self) -> Card {
        self.place()
    }

    fn dim(&self) -> usize {
        self.fitted().standardizer.dim()
    }

    fn sample(&self, n: usize, options: &SampleOptions, rng: &mut dyn RngCore) -> Result<Samples> {
        let none = no_condition(self);
        tiles::sample(&Draws { model: self, c: none.as_ref().map(Given::of) }, n, options, rng)
    }

    fn sample_each(
        &self,
        n: u64,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
        sink: &mut dyn FnMut(ArrayView2<f32>) -> ControlFlow<()>,
    ) -> Result<()> {
        let none = no_condition(self);
        tiles::sample_each(&Draws { model: self, c: none.as_ref().map(Given::of) }, n, options, rng, sink)
    }

    fn draw_at(&self, at: RowStreams, options: &SampleOptions, rows: &mut [f32]) -> Result<usize> {
        let none = no_condition(self);
        tiles::draw_at(&Draws { model: self, c: none.as_ref().map(Given::of) }, at, options, rows)
    }

    fn log_likelihood(&self, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood> {
        check_rows("x", x, self.dim())?;
        if let Some(none) = no_condition(self) {
            return self.score(Given::of(&none), x, options);
        }
        let conditions = &self.fitted().conditions;
        match conditions.kind() {
            ConditionKind::None => self.score(Given::NONE, x, options),
            // p(x) = Σ p(c) p(x|c).
            ConditionKind::Class { .. } => {
                let shares = conditions.shares().iter().enumerate().filter(|(_, share)| **share > 0.0);
                let parts: Result<Vec<_>> = shares
                    .map(|(class, share)| {
                        let c = conditions.encode(Some(&Condition::class(class as u32)))?;
                        Ok((share.ln(), self.score(Given::of(&c), x, options)?))
                    })
                    .collect();
                Ok(LogLikelihood::mixture(parts?))
            }
            kind => Err(ConditionError::Missing { expected: kind.to_string() }.into()),
        }
    }
}

impl<P: Paradigm> Generative for P {
    fn num_params(&self) -> usize {
        self.count_params()
    }

    fn condition(&self) -> ConditionKind {
        self.fitted().conditions.kind()
    }

    fn train(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        self.learn(data, options, rng, observer)
    }

    fn given(&self, condition: &Condition) -> Result<Box<dyn Distribution + '_>> {
        Ok(Box::new(Conditioned { c: self.fitted().conditions.encode(Some(condition))?, model: self }))
    }
}

/// A model under a condition: p(x|c).
struct Conditioned<'a, P> {
    model: &'a P,
    /// (1, width), or one condition per row.
    c: Array2<f32>,
}

impl<P: Paradigm> Distribution for Conditioned<'_, P> {
    fn card(&self) -> Card {
        self.model.place()
    }

    fn dim(&self) -> usize {
        self.model.dim()
    }

    fn sample(&self, n: usize, options: &SampleOptions, rng: &mut dyn RngCore) -> Result<Samples> {
        Given::of(&self.c).check_count(n)?;
        tiles::sample(&Draws { model: self.model, c: Some(Given::of(&self.c)) }, n, options, rng)
    }

    fn sample_each(
        &self,
        n: u64,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
        sink: &mut dyn FnMut(ArrayView2<f32>) -> ControlFlow<()>,
    ) -> Result<()> {
        Given::of(&self.c).check_count(usize::try_from(n).unwrap_or(usize::MAX))?;
        tiles::sample_each(&Draws { model: self.model, c: Some(Given::of(&self.c)) }, n, options, rng, sink)
    }

    fn draw_at(&self, at: RowStreams, options: &SampleOptions, rows: &mut [f32]) -> Result<usize> {
        Given::of(&self.c).check_reach(at.first().saturating_add(rows.len() / self.dim()))?;
        tiles::draw_at(&Draws { model: self.model, c: Some(Given::of(&self.c)) }, at, options, rows)
    }

    fn log_likelihood(&self, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood> {
        check_rows("x", x, self.dim())?;
        Given::of(&self.c).check_count(x.nrows())?;
        self.model.score(Given::of(&self.c), x, options)
    }
}

use ndarray::{Array2, Array3, ArrayView2};
use rand::RngCore;

use super::network::Span;
use super::{FlowMap, MapObjective};
use crate::diffusion::guidance;
use crate::diffusion::predictor::Predictor;
use crate::diffusion::sampling::{paths, unconditional};
use crate::engine::tiles::{self, RowStreams};
use crate::error::Result;
use crate::model::{SampleOptions, check_rows};
use crate::numeric::rng::Rng;

/// What a thread keeps from tile to tile.
#[derive(Debug, Default)]
pub struct Workspace {
    rngs: Vec<Rng>,
    c: Vec<f32>,   // (n, k)
    row: Vec<f64>, // (d)
    predictor: guidance::Workspace,
}

impl FlowMap {
    /// Carries rows x0: (n, dim) of the source to rows of the data, one by one: what
    /// [`sample`](crate::Distribution::sample) does to rows that it draws. Both are in the units of the data. A model
    /// without a velocity, of [`MapObjective::Consistency`], takes them in one jump, whatever its steps.
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::error::DataError::Shape) for a wrong number of columns,
    /// [`DataError::NonFinite`](crate::error::DataError::NonFinite) for a NaN or an infinity,
    /// [`Error::Condition`](crate::Error::Condition) of a model that was trained with conditions alone.
    pub fn transport(&self, x0: ArrayView2<f32>) -> Result<Array2<f32>> {
        let c = unconditional(self)?;
        let (dim, standardizer) = (self.config.dim, &self.learned.fitted.standardizer);
        check_rows("x0", x0, dim)?;
        let mut x = standardizer.apply(x0.to_owned());
        let rows = x.as_slice_mut().expect("standard layout");
        let steps = if self.has_velocity() { self.config.steps } else { 1 };
        tiles::for_each_tile(rows, dim, |workspace: &mut Workspace, _, x| {
            self.jump(1.0, &c, steps, workspace, x, |_| {});
            standardizer.restore(x);
            Ok(())
        })?;
        Ok(x)
    }

    /// The paths to the rows that [`sample`](crate::Distribution::sample) gives from the same state of `rng`, shape
    /// (n, steps + 1, dim) in the units of the data: the source's rows, then the rows after each jump; of
    /// [`MapObjective::Consistency`], before the noise is put back. The last states are those rows, bit for bit.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for options out of range, or for more than fits into memory.
    pub fn sample_path(
        &self,
        n: usize,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
    ) -> Result<Array3<f32>> {
        let states = self.config.steps + 1;
        paths(self, states, (n, options, rng), |temperature, c, streams, workspace, x, seen| {
            self.walk(temperature, c, streams, workspace, x, seen);
        })
    }

    /// Fills x: (n, d) with rows in standard units: T·x₀ for source rows x₀, then the jumps, shown at each state; the
    /// evaluations spent on each.
    pub(super) fn walk(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        workspace: &mut Workspace,
        x: &mut [f32],
        mut seen: impl FnMut(&[f32]),
    ) -> usize {
        streams.fill(x.len() / self.config.dim, &mut workspace.rngs);
        let Workspace { rngs, row, .. } = workspace;
        self.draw_source(temperature, rngs, row, |r, i, x0| x[r * self.config.dim + i] = x0);
        seen(x);
        self.jump(temperature, c, self.config.steps, workspace, x, seen)
    }

    /// Coordinates i of the source rows r, scaled.
    fn draw_source(
        &self,
        temperature: f64,
        rngs: &mut [Rng],
        row: &mut Vec<f64>,
        mut coordinate: impl FnMut(usize, usize, f32),
    ) {
        row.resize(self.config.dim, 0.0);
        for (r, rng) in rngs.iter_mut().enumerate() {
            self.config.source.draw(&self.learned.fitted.standardizer, rng, row);
            row.iter().enumerate().for_each(|(i, x0)| coordinate(r, i, (temperature * x0) as f32));
        }
    }

    /// Takes source rows x to rows of the data, at most a tile, shown after each jump.
    ///
    /// X ← X + (t − s) û(X, s, t) over equal parts of time. Without a velocity every jump goes to the data, and between
    /// two of them rows go back onto the line to another source row (Song et al. 2023, algorithm 1).
    fn jump(
        &self,
        temperature: f64,
        c: &[f32],
        steps: usize,
        Workspace { rngs, c: with_scale, row, predictor }: &mut Workspace,
        x: &mut [f32],
        mut seen: impl FnMut(&[f32]),
    ) -> usize {
        let guided = self.guided(self.with_scale_column(c, with_scale));
        let time = |step: usize| step as f64 / steps as f64;
        let mut spent = 0;
        for step in 0..steps {
            let (from, next) = (time(step), time(step + 1));
            let span = Span { from, to: if self.has_velocity() { next } else { 1.0 } };
            if !self.has_velocity() && step > 0 {
                let share = from as f32;
                self.draw_source(temperature, rngs, row, |r, i, x0| {
                    let x = &mut x[r * self.config.dim + i];
                    *x = x0 + share * (*x - x0);
                });
            }
            let velocity = guided.predict(x, span, predictor, &mut spent);
            let length = span.length() as f32;
            x.iter_mut().zip(velocity).for_each(|(x, v)| *x += length * v);
            seen(x);
        }
        spent
    }

    /// Conditions as the network takes them: where scales are learned, with 1 − 1/w behind each, and 0 behind zeros,
    /// which are no condition.
    pub(super) fn with_scale_column<'a>(&self, c: &'a [f32], extended: &'a mut Vec<f32>) -> &'a [f32] {
        let Some(guidance) = self.config.guidance else { return c };
        extended.clear();
        for c in c.chunks_exact(self.config.condition.width()) {
            extended.extend_from_slice(c);
            let none = c.iter().all(|c| *c == 0.0);
            extended.push(if none { 0.0 } else { (1.0 - guidance.scale.recip()) as f32 });
        }
        extended
    }

    /// Whether the diagonal is trained.
    pub(super) fn has_velocity(&self) -> bool {
        !matches!(self.config.objective, MapObjective::Consistency { .. })
    }
}

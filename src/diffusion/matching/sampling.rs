use ndarray::{Array2, Array3, ArrayView2};
use rand::RngCore;

use super::{FlowMatching, SPAN};
use crate::diffusion::path::Line;
use crate::diffusion::sampler::follow;
use crate::diffusion::sampling::{paths, unconditional};
use crate::engine::tiles::{self, RowStreams};
use crate::error::{Result, check};
use crate::model::{Condition, Paradigm, SampleOptions, check_rows};
use crate::numeric::ode::Method;

/// Equal steps of the ODE from t = 0 to t = 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct FlowSteps {
    /// The kind of step. Default [`Method::Rk4`].
    pub method: Method,
    /// How many. 1 to 1,000,000. Default 25.
    pub steps: usize,
}

impl Default for FlowSteps {
    fn default() -> Self {
        FlowSteps { method: Method::Rk4, steps: 25 }
    }
}

impl FlowSteps {
    pub(super) fn validate(self) -> Result<()> {
        check((1..=1_000_000).contains(&self.steps), "FlowSteps::steps", self.steps, "1 to 1,000,000")
    }
}

type Scratch = <FlowMatching as Paradigm>::Workspace;

impl FlowMatching {
    /// Carries rows x0: (n, dim) of the source to rows of the data, one by one and without randomness: what
    /// [`sample`](crate::Distribution::sample) does to rows that it draws. Both are in the units of the data.
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::error::DataError::Shape) for a wrong number of columns,
    /// [`DataError::NonFinite`](crate::error::DataError::NonFinite) for a NaN or an infinity,
    /// [`Error::Condition`](crate::Error::Condition) of a model that was trained with conditions alone.
    pub fn transport(&self, x0: ArrayView2<f32>) -> Result<Array2<f32>> {
        let c = unconditional(self)?;
        self.transport_rows(x0, |_, _| &c)
    }

    /// [`transport`](FlowMatching::transport) under a condition.
    ///
    /// # Errors
    /// As [`transport`](FlowMatching::transport), and [`Error::Condition`](crate::Error::Condition) for a condition of
    /// another kind or count.
    pub fn transport_given(&self, x0: ArrayView2<f32>, condition: &Condition) -> Result<Array2<f32>> {
        let c = self.learned.fitted.conditions.encode_for(Some(condition), x0.nrows())?;
        self.transport_rows(x0, |first, n| crate::engine::Given::of(&c).rows(first, n))
    }

    fn transport_rows<'a>(
        &self,
        x0: ArrayView2<f32>,
        c: impl Fn(usize, usize) -> &'a [f32] + Sync,
    ) -> Result<Array2<f32>> {
        let (dim, standardizer) = (self.config.dim, &self.learned.fitted.standardizer);
        check_rows("x0", x0, dim)?;
        let mut x = standardizer.apply(x0.to_owned());
        let rows = x.as_slice_mut().expect("standard layout");
        tiles::for_each_tile(rows, dim, |scratch: &mut Scratch, first, x| {
            scratch.state.clear();
            scratch.state.extend(x.iter().map(|&z| f64::from(z)));
            self.carry(c(first, x.len() / dim), scratch, x, |_| {});
            standardizer.restore(x);
            Ok(())
        })?;
        Ok(x)
    }

    /// The paths to the rows that [`sample`](crate::Distribution::sample) gives from the same state of `rng`, shape
    /// (n, steps + 1, dim) in the units of the data: the source's rows, then the rows after each step. The last
    /// states are those rows, bit for bit.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for options out of range, or for more than fits into memory.
    ///
    /// ```
    /// use quadrivium::{*, seeded};
    ///
    /// let model = FlowMatching::new(FlowMatchingConfig::default(), &mut seeded(0))?;
    /// let path = model.sample_path(5, &SampleOptions::default(), &mut seeded(1))?;
    /// assert_eq!(path.dim(), (5, 26, 2));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn sample_path(
        &self,
        n: usize,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
    ) -> Result<Array3<f32>> {
        let states = self.config.sampler.steps + 1;
        paths(self, states, (n, options, rng), |temperature, c, streams, scratch, x, seen| {
            self.walk(temperature, c, streams, scratch, x, seen);
        })
    }

    /// Fills x: (n, d) with rows in standard units: T·x₀ for source rows x₀, then the ODE, shown at each state; the
    /// evaluations spent on each.
    pub(super) fn walk(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        scratch: &mut Scratch,
        x: &mut [f32],
        mut seen: impl FnMut(&[f32]),
    ) -> usize {
        scratch.state.resize(x.len(), 0.0);
        for (r, z) in scratch.state.chunks_exact_mut(self.config.dim).enumerate() {
            self.config.source.draw(&self.learned.fitted.standardizer, &mut streams.row(r), z);
            z.iter_mut().for_each(|z| *z *= temperature);
        }
        x.iter_mut().zip(&scratch.state).for_each(|(x, &z)| *x = z as f32);
        seen(x);
        self.carry(c, scratch, x, seen)
    }

    /// Takes the scratch's source rows to rows x of the data, at most a tile, shown after each step.
    fn carry(&self, c: &[f32], scratch: &mut Scratch, x: &mut [f32], seen: impl FnMut(&[f32])) -> usize {
        let FlowSteps { method, steps } = self.config.sampler;
        follow::<Line, _, _>(&self.guided(c), (method, steps), SPAN, x, scratch, seen)
    }
}

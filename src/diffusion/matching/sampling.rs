use ndarray::{Array2, Array3, ArrayView2};
use rand::RngCore;

use super::{FlowMatching, VelocityNet};
use crate::diffusion::path::Line;
use crate::diffusion::predictor::PathNet;
use crate::diffusion::sampler::{self, follow};
use crate::diffusion::sampling::Walk;
use crate::engine::tiles::{self, RowStreams};
use crate::error::{Result, check};
use crate::model::{SampleOptions, check_rows};
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

    /// Network evaluations.
    pub(super) fn nfe(self) -> usize {
        self.steps * self.method.evaluations()
    }
}

type Scratch = sampler::Scratch<f32, <VelocityNet as PathNet>::Workspace<f32>>;

impl FlowMatching {
    /// Carries rows x0: (n, dim) of the source to rows of the data, one by one, without any chance: what
    /// [`sample`](crate::Generative::sample) does to rows that it draws. Both are in the units of the data.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for a wrong number of columns,
    /// [`Error::NonFinite`](crate::Error::NonFinite) for a NaN or an infinity.
    pub fn transport(&self, x0: ArrayView2<f32>) -> Result<Array2<f32>> {
        check_rows("x0", x0, self.config.dim)?;
        let standardiser = &self.fitted.standardiser;
        let mut x = standardiser.apply(x0.to_owned());
        let rows = x.as_slice_mut().expect("standard layout");
        tiles::for_each_tile(rows, self.config.dim, |scratch: &mut Scratch, _, x| {
            scratch.state.clear();
            scratch.state.extend(x.iter().map(|&z| f64::from(z)));
            Flowing(self).carry(scratch, x, |_| {});
            standardiser.restore(x);
            Ok(())
        })?;
        Ok(x)
    }

    /// The paths to the rows that [`sample`](crate::Generative::sample) gives from the same state of `rng`, shape
    /// (n, steps + 1, dim) in the units of the data: the source's rows, then the rows after each step. The last
    /// states are those rows, bit for bit.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for options out of range, or for more than fits into memory.
    ///
    /// ```
    /// use quadrivium::{prelude::*, seeded};
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
        self.drawing().paths(n, options, rng)
    }
}

/// From source rows to rows of the data, by the flow's ODE.
pub(super) struct Flowing<'a>(pub(super) &'a FlowMatching);

impl Flowing<'_> {
    /// Takes the scratch's source rows to rows x of the data, at most a tile, shown after each step.
    fn carry(&self, scratch: &mut Scratch, x: &mut [f32], seen: impl FnMut(&[f32])) -> usize {
        let FlowSteps { method, steps } = self.0.config.sampler;
        follow::<Line, _, _>(&self.0.network(), (method, steps), (0.0, 1.0), x, scratch, seen)
    }
}

impl Walk for Flowing<'_> {
    type Scratch = Scratch;

    fn dim(&self) -> usize {
        self.0.config.dim
    }

    fn states(&self) -> usize {
        self.0.config.sampler.steps + 1
    }

    /// T·x₀ for source rows x₀, then the ODE.
    fn walk(
        &self,
        temperature: f64,
        streams: RowStreams,
        scratch: &mut Scratch,
        x: &mut [f32],
        mut seen: impl FnMut(&[f32]),
    ) -> usize {
        let FlowMatching { config, fitted, .. } = self.0;
        scratch.state.resize(x.len(), 0.0);
        for (r, z) in scratch.state.chunks_exact_mut(config.dim).enumerate() {
            config.source.draw(&fitted.standardiser, &mut streams.row(r), z);
            z.iter_mut().for_each(|z| *z *= temperature);
        }
        x.iter_mut().zip(&scratch.state).for_each(|(x, &z)| *x = z as f32);
        seen(x);
        self.carry(scratch, x, seen)
    }
}

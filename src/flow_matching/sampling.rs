use ndarray::{Array2, Array3, ArrayView2};
use rand::RngCore;

use super::likelihood::{Field, Scratch as FieldScratch};
use super::{Fitted, FlowMatching};
use crate::engine::tiles::{self, DrawTile, RowStreams};
use crate::engine::transport;
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

/// What a thread keeps from tile to tile.
#[derive(Default)]
pub(crate) struct Scratch {
    z: Vec<f64>, // (n, d)
    transport: transport::Scratch<FieldScratch>,
}

impl FlowMatching {
    /// Carries rows x0: (n, dim) of the source to rows of the data, one by one, without any chance: what
    /// [`sample`](crate::Generative::sample) does to rows that it draws. Both are in the units of the data.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for a wrong number of columns,
    /// [`Error::NonFinite`](crate::Error::NonFinite) for a NaN or an infinity.
    pub fn transport(&self, x0: ArrayView2<f32>) -> Result<Array2<f32>> {
        check_rows("x0", x0, self.config.dim)?;
        let mut x = self.fitted.standardiser.apply(x0.to_owned());
        let rows = x.as_slice_mut().expect("standard layout");
        tiles::for_each_tile(rows, self.config.dim, |scratch: &mut Scratch, _, x| {
            scratch.z.clear();
            scratch.z.extend(x.iter().map(|&z| f64::from(z)));
            self.carry(scratch, x, |_| {});
            Ok(())
        })?;
        Ok(x)
    }

    /// The ways to the rows that [`sample`](crate::Generative::sample) gives from the same state of `rng`, shape
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
        let (states, dim) = (self.config.sampler.steps + 1, self.config.dim);
        tiles::sample_paths(
            n,
            (states, dim),
            options,
            rng,
            |temperature, streams, scratch: &mut (Vec<f32>, Scratch), ways| {
                let (x, scratch) = scratch;
                x.resize(ways.len() / states, 0.0);
                self.start(temperature, streams, x.len(), scratch);
                tiles::note_state(ways, 0, dim, &scratch.z, |z| z as f32);
                let mut state = 0;
                self.carry(scratch, x, |z| {
                    state += 1;
                    tiles::note_state(ways, state, dim, z, |z| z as f32);
                });
                self.fitted.standardiser.restore(ways);
            },
        )
    }

    /// T·x₀ for source rows x₀, `len` numbers in all, in standard units.
    fn start(&self, temperature: f64, streams: RowStreams, len: usize, Scratch { z, .. }: &mut Scratch) {
        z.resize(len, 0.0);
        for (r, z) in z.chunks_exact_mut(self.config.dim).enumerate() {
            self.config.source.draw(&self.fitted.standardiser, &mut streams.row(r), z);
            z.iter_mut().for_each(|z| *z *= temperature);
        }
    }

    /// The scratch's source rows z, in standard units, to rows x of the data, at most a tile, shown after each
    /// step in standard units; the evaluations spent on each.
    fn carry(
        &self,
        Scratch { z, transport }: &mut Scratch,
        x: &mut [f32],
        seen: impl FnMut(&[f64]),
    ) -> usize {
        let Fitted { parameters, standardiser } = &*self.fitted;
        let field = Field { net: &self.net, p: &parameters.average };
        let FlowSteps { method, steps } = self.config.sampler;
        let nfe = transport::flow_watched(&field, (method, steps), (0.0, 1.0), z, transport, seen);
        x.iter_mut().zip(z).for_each(|(x, z)| *x = *z as f32);
        standardiser.restore(x);
        nfe
    }
}

impl DrawTile for FlowMatching {
    type Scratch = Scratch;

    fn columns(&self) -> usize {
        self.config.dim
    }

    fn draw_tile(
        &self,
        temperature: f64,
        streams: RowStreams,
        scratch: &mut Scratch,
        x: &mut [f32],
    ) -> usize {
        self.start(temperature, streams, x.len(), scratch);
        self.carry(scratch, x, |_| {})
    }
}

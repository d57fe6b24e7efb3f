use ndarray::{Array2, ArrayView2};

use super::likelihood::{Field, Scratch as FieldScratch};
use super::{Fitted, FlowMatching};
use crate::error::{Result, check};
use crate::generative::check_rows;
use crate::numeric::ode::Method;
use crate::numeric::tiles::{self, DrawTile, RowStreams};
use crate::numeric::transport;

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
            self.carry(scratch, x);
            Ok(())
        })?;
        Ok(x)
    }

    /// The scratch's source rows z, in standard units, to rows x of the data; the evaluations spent on each.
    fn carry(&self, Scratch { z, transport }: &mut Scratch, x: &mut [f32]) -> usize {
        let Fitted { parameters, standardiser } = &*self.fitted;
        let field = Field { net: &self.net, p: &parameters.average };
        let FlowSteps { method, steps } = self.config.sampler;
        let nfe = transport::flow(&field, (method, steps), (0.0, 1.0), z, transport);
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

    /// T·x₀ for source rows x₀, then the steps.
    fn draw_tile(
        &self,
        temperature: f64,
        streams: RowStreams,
        scratch: &mut Scratch,
        x: &mut [f32],
    ) -> usize {
        scratch.z.resize(x.len(), 0.0);
        for (r, z) in scratch.z.chunks_exact_mut(self.config.dim).enumerate() {
            self.config.source.draw(&self.fitted.standardiser, &mut streams.row(r), z);
            z.iter_mut().for_each(|z| *z *= temperature);
        }
        self.carry(scratch, x)
    }
}

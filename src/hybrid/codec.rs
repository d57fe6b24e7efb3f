use std::f64::consts::TAU;
use std::fmt::Debug;

use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::engine::{RowStreams, check_rows};
use crate::error::{DataError, Result};
use crate::flow::Flow;
use crate::latent::Vae;
use crate::model::*;
use crate::numeric::Real;

/// A model whose rows are explained by a latent z ~ N(0, I), so that a better density of z can take the place of
/// N(0, I): [`Latent`](super::Latent).
///
/// A [`Vae`] has z ~ q(z|x) and a decoder with noise. In a [`Pca`](super::Pca), a [`Flow`], and the numbers of
/// [`Columns`](super::Columns) z follows from x, so that their likelihood, and with it a composition's, is exact: the card
/// says which.
pub trait Codec: Generative + Clone + Debug + 'static {
    /// Columns of z.
    fn latent_dim(&self) -> usize;

    /// One draw z ~ q(z|x) of each row of x, (n, dim), whose noise depends on `seed` and the row's numbers alone.
    ///
    /// # Errors
    /// [`DataError::Shape`] for a wrong number of columns, [`DataError::NonFinite`] for a NaN or an infinity.
    fn explain(&self, x: ArrayView2<f32>, seed: u64) -> Result<Explanation>;

    /// Fills `rows`, (n, dim) in the units of the data, with draws of p(x|z) for z: (n, latent_dim), row r with the
    /// noise of stream r of `at`; the evaluations spent on each.
    ///
    /// # Errors
    /// [`DataError::Shape`] for a wrong number of columns or rows, [`DataError::NonFinite`] for a NaN or an infinity
    /// in z.
    fn decode_at(
        &self,
        z: ArrayView2<f32>,
        at: RowStreams,
        options: &SampleOptions,
        rows: &mut [f32],
    ) -> Result<usize>;

    /// Whether its training is in closed form, in one step that writes no checkpoint. By default it is not.
    fn is_closed_form(&self) -> bool {
        false
    }

    /// Called when a prior has learned the latents: `draw(n)` gives n rows of its z, to which a codec may fit what the
    /// training rows do not tell. The default does nothing.
    ///
    /// # Errors
    /// Those of `draw`.
    fn calibrate(&mut self, draw: &mut dyn FnMut(usize) -> Result<Array2<f32>>) -> Result<()> {
        let _ = draw;
        Ok(())
    }
}

/// The latents of some rows, and what they are worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// z ~ q(z|x): (n, latent_dim).
    pub z: Array2<f32>,
    /// ln p(x|z) + ln N(z; 0, I) − ln q(z|x), in the units of the data: (n). Its mean over z is at most the codec's own
    /// ln p(x), and where z follows from x it is that.
    pub nats: Array1<f64>,
}

impl Explanation {
    /// Of rows [z | nats]. Rows whose z is beyond f32 are as improbable as rows can be.
    pub(super) fn of(both: &Array2<f64>) -> Self {
        let (z, nats) = both.view().split_at(Axis(1), both.ncols() - 1);
        let (mut z, mut nats) = (z.mapv(|z| z as f32), nats.column(0).to_owned());
        for (mut z, nats) in z.rows_mut().into_iter().zip(&mut nats) {
            if nats.is_nan() || z.iter().any(|z| !z.is_finite()) {
                z.fill(0.0);
                *nats = f64::NEG_INFINITY;
            }
        }
        Explanation { z, nats }
    }
}

/// ln N(z; 0, I) of each row.
pub(super) fn log_normal<F: Real>(z: ArrayView2<F>) -> Array1<f64> {
    let constant = 0.5 * z.ncols() as f64 * TAU.ln();
    z.rows().into_iter().map(|z| -constant - 0.5 * z.iter().map(|z| z.f64().powi(2)).sum::<f64>()).collect()
}

/// That z, (n, latent_dim), and `rows` are of as many rows.
pub(super) fn check_decoded<C: Codec>(codec: &C, z: ArrayView2<f32>, rows: &[f32]) -> Result<()> {
    check_rows("z", z, codec.latent_dim())?;
    let (got, expected) = (rows.len(), z.nrows() * codec.dim());
    match got == expected {
        true => Ok(()),
        false => {
            Err(DataError::Shape { what: "rows", got: vec![got], expected: format!("({expected})") }.into())
        }
    }
}

impl Codec for Vae {
    fn latent_dim(&self) -> usize {
        self.config().latent_dim
    }

    fn explain(&self, x: ArrayView2<f32>, seed: u64) -> Result<Explanation> {
        check_rows("x", x, self.dim())?;
        Ok(Explanation::of(&self.explain_rows(x, seed)))
    }

    fn decode_at(
        &self,
        z: ArrayView2<f32>,
        at: RowStreams,
        options: &SampleOptions,
        rows: &mut [f32],
    ) -> Result<usize> {
        check_decoded(self, z, rows)?;
        let z = z.as_standard_layout();
        self.decode_rows_at(z.as_slice().expect("standard layout"), at, options.temperature, rows);
        Ok(1)
    }
}

/// z = f(x), and x = f⁻¹(z) without noise.
impl Codec for Flow {
    fn latent_dim(&self) -> usize {
        self.dim()
    }

    fn explain(&self, x: ArrayView2<f32>, _: u64) -> Result<Explanation> {
        let (z, log_det) = self.to_base(x)?;
        let nats = log_det + log_normal(z.view());
        Ok(Explanation { z, nats })
    }

    fn decode_at(
        &self,
        z: ArrayView2<f32>,
        _: RowStreams,
        _: &SampleOptions,
        rows: &mut [f32],
    ) -> Result<usize> {
        check_decoded(self, z, rows)?;
        let x = self.from_base(z)?;
        rows.copy_from_slice(x.as_slice().expect("standard layout"));
        Ok(self.card().nfe)
    }
}

use ndarray::{Array2, ArrayView2};

use super::Vae;
use super::likelihood::Draws;
use super::network::Gaussians;
use crate::engine::{RowStreams, tiles};
use crate::model::Scored;
use crate::numeric::Real;

#[derive(Debug, Default)]
pub struct Drawing {
    // (n, latent)
    z: Vec<f32>,
    likelihood: Gaussians<f32>,
}

impl Vae {
    /// z ~ N(0, T²I), x = m(z, c) + T·s(z, c)·ε.
    pub(super) fn draw_rows(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        Drawing { z, likelihood }: &mut Drawing,
        x: &mut [f32],
    ) {
        let temperature = temperature as f32;
        let (dim, latent_dim) = (self.config.dim, self.config.latent_dim);
        z.resize(x.len() / dim * latent_dim, 0.0);
        // x holds T·ε until the decoder has run.
        for (r, (z, x)) in z.chunks_exact_mut(latent_dim).zip(x.chunks_exact_mut(dim)).enumerate() {
            let mut rng = streams.row(r);
            z.iter_mut().chain(x).for_each(|v| *v = temperature * f32::normal(&mut rng));
        }
        self.decode_noise(c, z, likelihood, x);
    }

    /// x ← m(z, c) + s(z, c)·x, where x holds T·ε.
    fn decode_noise(&self, c: &[f32], z: &[f32], likelihood: &mut Gaussians<f32>, x: &mut [f32]) {
        self.networks.decoder.infer(&self.parameters.average, z, c, likelihood);
        for ((x, &m), &s) in x.iter_mut().zip(&likelihood.mean).zip(&likelihood.sd) {
            *x = m + s * *x;
        }
    }

    /// Fills x: (n, dim), in the units of the data, with draws of p(x|z) of an unconditional model, row r with the
    /// noise of stream r of `at`. Coordinates of z: (n, latent_dim) beyond ±1e6 count as that.
    pub(crate) fn decode_rows_at(&self, z: &[f32], at: RowStreams, temperature: f64, x: &mut [f32]) {
        let (dim, latent_dim) = (self.config.dim, self.config.latent_dim);
        let decoded =
            tiles::for_each_tile(x, dim, |Drawing { z: near, likelihood }: &mut Drawing, first, x| {
                for (r, x) in x.chunks_exact_mut(dim).enumerate() {
                    let mut rng = at.skip(first).row(r);
                    x.fill_with(|| temperature as f32 * f32::normal(&mut rng));
                }
                let z = &z[first * latent_dim..][..x.len() / dim * latent_dim];
                near.clear();
                near.extend(z.iter().map(|z| z.clamp(-1e6, 1e6)));
                self.decode_noise(&[], near, likelihood, x);
                self.fitted.standardizer.restore(x);
                Ok(())
            });
        debug_assert!(decoded.is_ok(), "no tile fails");
    }

    /// One draw of z ~ q(z|x) of each row x, (n, dim), of an unconditional model, and ln w = ln p(x|z) + ln p(z) −
    /// ln q(z|x): (n, latent_dim + 1).
    pub(crate) fn explain_rows(&self, x: ArrayView2<f32>, seed: u64) -> Array2<f64> {
        let (dim, width) = (self.config.dim, self.config.latent_dim + 1);
        let x = x.as_standard_layout();
        let x = x.as_slice().expect("standard layout");
        let mut out = vec![0.0; x.len() / dim * width];
        type Buffers = (Vec<f32>, Vec<f64>, Draws);
        let explained =
            tiles::for_each_tile(&mut out, width, |(z, nats, draws): &mut Buffers, first, out| {
                let x = &x[first * dim..][..out.len() / width * dim];
                z.clear();
                z.extend_from_slice(x);
                self.fitted.standardizer.standardize(z);
                nats.clear();
                nats.resize(out.len() / width, 0.0);
                self.fitted.standardizer.add_log_det(x, nats);
                self.weigh_tile((seed, 1), &[], draws, Scored { x, z }, nats, |r, z, weight| {
                    let (last, coordinates) = out[r * width..][..width].split_last_mut().expect("a weight");
                    coordinates.iter_mut().zip(z).for_each(|(to, &from)| *to = from.into());
                    *last = weight;
                });
                Ok(())
            });
        debug_assert!(explained.is_ok(), "no tile fails");
        Array2::from_shape_vec((out.len() / width, width), out).expect("n rows")
    }
}

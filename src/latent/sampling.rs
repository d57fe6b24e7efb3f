use super::Vae;
use super::network::Gaussians;
use crate::engine::tiles::{DrawTile, RowStreams};
use crate::numeric::Real;

#[derive(Debug, Default)]
pub(crate) struct Scratch {
    // (n, latent)
    z: Vec<f32>,
    likelihood: Gaussians<f32>,
}

impl DrawTile for Vae {
    type Scratch = Scratch;

    fn columns(&self) -> usize {
        self.config.dim
    }

    /// z ~ N(0, T²I), x = m(z) + T·s(z)·ε.
    fn draw_tile(
        &self,
        temperature: f64,
        streams: RowStreams,
        scratch: &mut Scratch,
        x: &mut [f32],
    ) -> usize {
        let temperature = temperature as f32;
        let (dim, latent_dim) = (self.config.dim, self.config.latent_dim);
        let Scratch { z, likelihood } = scratch;
        z.resize(x.len() / dim * latent_dim, 0.0);
        // x holds T·ε until the decoder has run.
        for (r, (z, x)) in z.chunks_exact_mut(latent_dim).zip(x.chunks_exact_mut(dim)).enumerate() {
            let mut rng = streams.row(r);
            z.iter_mut().chain(x).for_each(|v| *v = temperature * f32::normal(&mut rng));
        }
        self.networks.decoder.infer(&self.parameters.average, z, likelihood);
        for ((x, &m), &s) in x.iter_mut().zip(&likelihood.mean).zip(&likelihood.sd) {
            *x = m + s * *x;
        }
        self.standardiser.restore(x);
        1
    }
}

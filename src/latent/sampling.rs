use super::Vae;
use super::network::Gaussians;
use crate::engine::RowStreams;
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
        self.networks.decoder.infer(&self.parameters.average, z, c, likelihood);
        for ((x, &m), &s) in x.iter_mut().zip(&likelihood.mean).zip(&likelihood.sd) {
            *x = m + s * *x;
        }
    }
}

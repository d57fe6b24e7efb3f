use rand::Rng as _;

use super::GaussianMixture;
use crate::engine::tiles::{DrawTile, RowStreams};
use crate::numeric::Real;

impl DrawTile for GaussianMixture {
    /// z: (d)
    type Scratch = Vec<f64>;

    fn columns(&self) -> usize {
        self.config.dim
    }

    /// k ~ w, z ~ N(0, I), x = μₖ + T·Lₖ z.
    fn draw_tile(&self, temperature: f64, streams: RowStreams, z: &mut Vec<f64>, x: &mut [f32]) -> usize {
        let (gaussians, d) = (&self.gaussians, self.config.dim);
        for (r, x) in x.chunks_exact_mut(d).enumerate() {
            let mut rng = streams.row(r);
            let u: f64 = rng.random();
            let mut running = 0.0;
            let component = gaussians.weights.iter().position(|w| {
                running += w;
                u < running
            });
            // Rounding may leave the whole sum a little below 1.
            let k = component.unwrap_or(gaussians.len() - 1);
            z.clear();
            z.extend((0..d).map(|_| f64::normal(&mut rng)));
            for (i, x) in x.iter_mut().enumerate() {
                let noise: f64 = gaussians.l[k][i * d..].iter().zip(&z[..=i]).map(|(l, z)| l * z).sum();
                let value = gaussians.means[[k, i]] + temperature * noise;
                *x = value.clamp(f32::MIN.into(), f32::MAX.into()) as f32;
            }
        }
        1
    }
}

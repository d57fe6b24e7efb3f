use rand::Rng as _;

use super::KernelDensity;
use crate::engine::tiles::{DrawTile, RowStreams};
use crate::numeric::Real;

impl DrawTile for KernelDensity {
    /// z: (d)
    type Scratch = Vec<f64>;

    fn columns(&self) -> usize {
        self.config.dim
    }

    /// j uniform, z ~ N(0, I), x = xⱼ + T·h·λⱼ·L z.
    fn draw_tile(&self, temperature: f64, streams: RowStreams, z: &mut Vec<f64>, x: &mut [f32]) -> usize {
        let d = self.config.dim;
        let (l, rows) = (&self.kernels.sphere.l, self.rows());
        for (r, x) in x.chunks_exact_mut(d).enumerate() {
            let mut rng = streams.row(r);
            let kernel = rng.random_range(0..rows.nrows());
            let (center, scale) = (rows.row(kernel), temperature * self.bandwidth * self.width(kernel));
            z.clear();
            z.extend((0..d).map(|_| f64::normal(&mut rng)));
            for (i, (x, &center)) in x.iter_mut().zip(center).enumerate() {
                let noise: f64 = l[i * d..].iter().zip(&z[..=i]).map(|(l, z)| l * z).sum();
                let value = f64::from(center) + scale * noise;
                *x = value.clamp(f32::MIN.into(), f32::MAX.into()) as f32;
            }
        }
        1
    }
}

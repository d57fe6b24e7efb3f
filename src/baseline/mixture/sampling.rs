use super::GaussianMixture;
use crate::engine::tiles::{DrawTile, RowStreams};

impl DrawTile for GaussianMixture {
    /// z: (d)
    type Scratch = Vec<f64>;

    fn columns(&self) -> usize {
        self.config.dim
    }

    fn draw_tile(&self, temperature: f64, streams: RowStreams, z: &mut Vec<f64>, x: &mut [f32]) -> usize {
        for (r, x) in x.chunks_exact_mut(self.config.dim).enumerate() {
            self.marginal.draw(temperature, &mut streams.row(r), z, x);
        }
        1
    }
}

use super::Flow;
use super::chain::Pass;
use crate::engine::tiles::{DrawTile, RowStreams};
use crate::numeric::Real;

impl DrawTile for Flow {
    type Scratch = Pass<f32>;

    fn columns(&self) -> usize {
        self.config.dim
    }

    /// u ~ N(0, T²I), x = f⁻¹(u).
    fn draw_tile(&self, temperature: f64, streams: RowStreams, pass: &mut Pass<f32>, x: &mut [f32]) -> usize {
        let n = x.len() / self.config.dim;
        pass.z.resize(x.len(), 0.0);
        for r in 0..n {
            let mut rng = streams.row(r);
            pass.z[r..].iter_mut().step_by(n).for_each(|u| *u = temperature as f32 * f32::normal(&mut rng));
        }
        let passes = self.chain.inverse(&self.parameters.average, pass, x);
        self.standardiser.restore(x);
        passes
    }
}

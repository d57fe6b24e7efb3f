use super::Autoregressive;
use super::network::Drawn;
use crate::engine::tiles::{DrawTile, RowStreams};
use crate::numeric::rng::Rng;

#[derive(Debug, Default)]
pub(crate) struct Scratch {
    drawn: Drawn,
    rngs: Vec<Rng>,
}

impl DrawTile for Autoregressive {
    type Scratch = Scratch;

    fn columns(&self) -> usize {
        self.config.dim
    }

    /// For i = 1 … d: y_i = MADE_i(w_<i), w_i ~ p(· | y_i). Then x from w.
    fn draw_tile(
        &self,
        temperature: f64,
        streams: RowStreams,
        scratch: &mut Scratch,
        x: &mut [f32],
    ) -> usize {
        let dim = self.conditionals.len();
        let Scratch { drawn, rngs } = scratch;
        streams.fill(x.len() / dim, rngs);
        let mut nfe = 0;
        for (i, conditional) in self.conditionals.iter().enumerate() {
            let y = self.made.step(&self.parameters.average, x, i, drawn);
            nfe += 1;
            let rows = y.chunks_exact_mut(conditional.outputs()).zip(x.chunks_exact_mut(dim));
            for ((y, x), rng) in rows.zip(rngs.iter_mut()) {
                x[i] = conditional.draw(y, temperature, rng);
            }
        }
        self.standardiser.restore(x);
        nfe
    }
}

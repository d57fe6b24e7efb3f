use super::Autoregressive;
use super::network::Pass;
use crate::numeric::simd::vectorize;

#[derive(Debug, Default)]
pub(super) struct Scratch {
    pass: Pass<f32>,
    // The rows of a tile run along the vectors. One y_i: (outputs, n)
    y: Vec<f64>,
    // w_i and ln p(w_i | y_i): (n)
    column: Vec<f64>,
    part: Vec<f64>,
    // (outputs + 2, n)
    work: Vec<f64>,
}

impl Autoregressive {
    /// Adds Σᵢ ln p(w_i | w_<i, c) of each row w to `nats`: the network in f32, the densities in f64.
    pub(super) fn score_tile(&self, scratch: &mut Scratch, w: &[f32], c: &[f32], nats: &mut [f64]) {
        let (n, dim) = (nats.len(), self.conditionals.len());
        let Scratch { pass, y, column, part, work } = scratch;
        self.made.infer(&self.parameters.average, w, c, pass);
        let outputs = self.conditionals[0].outputs();
        part.resize(n, 0.0);
        work.resize((outputs + 2) * n, 0.0);
        for (i, block) in pass.y.chunks_exact(n * outputs).enumerate() {
            y.clear();
            y.extend((0..outputs * n).map(|at| f64::from(block[at % n * outputs + at / n])));
            column.clear();
            column.extend(w.chunks_exact(dim).map(|w| f64::from(w[i])));
            vectorize(
                #[inline(always)]
                || self.conditionals[i].log_density(y, column, work, part),
            );
            nats.iter_mut().zip(&*part).for_each(|(nats, part)| *nats += part);
        }
    }
}

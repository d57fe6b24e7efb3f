use super::Autoregressive;
use super::network::Pass;
use crate::numeric::simd::vectorise;

#[derive(Debug, Default)]
pub(super) struct Scratch {
    pass: Pass<f32>,
    z: Vec<f32>,
    // The rows of a tile run along the vectors. One y_i: (outputs, n)
    y: Vec<f64>,
    // z_i and ln p(z_i | y_i): (n)
    column: Vec<f64>,
    part: Vec<f64>,
    // (outputs + 2, n)
    work: Vec<f64>,
}

impl Autoregressive {
    /// ln p(x) = Σᵢ ln p(z_i | z_<i) + ln |dz/dx| of each row: the network in f32, the densities in f64.
    pub(super) fn score_tile(&self, scratch: &mut Scratch, x: &[f32], nats: &mut [f64]) {
        let (n, dim) = (nats.len(), self.conditionals.len());
        let Scratch { pass, z, y, column, part, work } = scratch;
        z.clear();
        z.extend_from_slice(x);
        self.standardiser.standardise(z);
        self.made.infer(&self.parameters.average, z, pass);
        nats.fill(0.0);
        self.standardiser.add_log_det(x, nats);
        let outputs = self.conditionals[0].outputs();
        part.resize(n, 0.0);
        work.resize((outputs + 2) * n, 0.0);
        for (i, block) in pass.y.chunks_exact(n * outputs).enumerate() {
            y.clear();
            y.extend((0..outputs * n).map(|at| f64::from(block[at % n * outputs + at / n])));
            column.clear();
            column.extend(z.chunks_exact(dim).map(|z| f64::from(z[i])));
            vectorise(
                #[inline(always)]
                || self.conditionals[i].log_density(y, column, work, part),
            );
            nats.iter_mut().zip(&*part).for_each(|(nats, part)| *nats += part);
        }
    }
}

use super::Flow;
use super::chain::Pass;
use super::objective::log_density;

impl Flow {
    /// ln p(x) = ln N(u; 0, I) + ln |det ∂u/∂z| + ln |dz/dx|, u = f(z), of each row.
    pub(super) fn score_tile(&self, (z, pass): &mut (Vec<f32>, Pass<f32>), x: &[f32], nats: &mut [f64]) {
        z.clear();
        z.extend_from_slice(x);
        self.standardiser.standardise(z);
        self.chain.infer(&self.parameters.average, z, pass);
        log_density(self.chain.dim(), pass, |r, density| {
            // Only ∞ − ∞ is not a number: u is beyond f32.
            nats[r] = if density.is_nan() { f64::NEG_INFINITY } else { density };
        });
        self.standardiser.add_log_det(x, nats);
    }
}

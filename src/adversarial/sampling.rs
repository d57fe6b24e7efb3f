use super::Gan;
use super::network::Pass;
use crate::engine::RowStreams;
use crate::numeric::Real;

/// Buffers of a tile.
#[derive(Default)]
pub struct Buffers {
    // Drawing: z, (rows, latent). Judging: rows in standardized units, (rows, dim).
    input: Vec<f32>,
    // (rows)
    scores: Vec<f32>,
    pass: Pass<f32>,
}

impl Gan {
    /// x = G(T·z, c), z ~ N(0, I); x: (rows, dim).
    pub(super) fn draw_rows(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        Buffers { input: z, pass, .. }: &mut Buffers,
        x: &mut [f32],
    ) {
        let (rows, latent) = (x.len() / self.config.dim, self.config.latent_dim);
        z.resize(rows * latent, 0.0);
        for (r, z) in z.chunks_exact_mut(latent).enumerate() {
            let mut rng = streams.row(r);
            z.iter_mut().for_each(|z| *z = temperature as f32 * f32::normal(&mut rng));
        }
        self.generator.infer(&self.generator_parameters.average, z, c, x, pass);
    }

    /// D(x, c) of the rows x: (rows, dim), in the units of the data.
    pub(super) fn judge(&self, buffers: &mut Buffers, x: &[f32], c: &[f32], out: &mut [f64]) {
        let Buffers { input, scores, pass } = buffers;
        input.clear();
        input.extend_from_slice(x);
        self.fitted.standardizer.standardize(input);
        // Clamped, so that sums over absurdly large rows stay finite.
        input.iter_mut().for_each(|z| *z = z.clamp(-1e9, 1e9));
        scores.resize(out.len(), 0.0);
        self.critic.infer(&self.critic_parameters.average, input, c, scores, pass);
        out.iter_mut().zip(scores.iter()).for_each(|(out, &score)| *out = score.into());
    }
}

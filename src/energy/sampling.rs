use super::EnergyModel;
use super::langevin::Walk;
use super::start::Start;
use crate::engine::RowStreams;
use crate::numeric::Real;
use crate::numeric::rng::Rng;

/// Buffers that a thread keeps from tile to tile.
#[derive(Debug, Default)]
pub struct Walking {
    rngs: Vec<Rng>,
    start: Start,
    pub(super) walk: Walk<f32>,
}

impl EnergyModel {
    /// Chooses a start and runs the chain under exp(−E/T), for rows z: (n, d) under conditions c.
    pub(super) fn draw_standard(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        Walking { rngs, start, walk }: &mut Walking,
        z: &mut [f32],
    ) -> usize {
        let (d, langevin) = (self.config.dim, self.config.langevin);
        streams.fill(z.len() / d, rngs);
        let candidates = langevin.candidates();
        if candidates > 0 {
            self.start(temperature, candidates, z, c, rngs, start);
        } else {
            let sd = temperature.sqrt() as f32;
            for (z, rng) in z.chunks_exact_mut(d).zip(&mut *rngs) {
                z.fill_with(|| sd * f32::normal(rng));
            }
        }
        let moves = langevin.moves(langevin.steps - candidates);
        candidates + moves.walk(&self.energy, self.weights(), temperature, z, c, rngs, walk)
    }
}

use super::BLOCK;
use super::gaussians::Gaussians;
use crate::baseline::lanes::Lanes;
use crate::numeric::simd::vectorise;

#[derive(Debug, Default)]
pub(super) struct Scratch {
    rows: Lanes,
    centred: Vec<f64>,
    /// rₖ(x): (k, rows filled up to full lanes)
    pub responsibility: Vec<f64>,
    /// ln p(x) of as many rows.
    pub nats: Vec<f64>,
}

impl Scratch {
    /// ln p(x) and the responsibilities of the rows of x, (n, d), n at most BLOCK; how many columns the
    /// latter have.
    pub fn score(&mut self, gaussians: &Gaussians, x: &[f32]) -> usize {
        self.rows.refill(gaussians.dim(), x, 0.0);
        let rows = std::mem::take(&mut self.rows);
        let width = self.score_tiles(gaussians, rows.tiles());
        self.rows = rows;
        width
    }

    fn score_tiles(&mut self, gaussians: &Gaussians, tiles: &[f64]) -> usize {
        let width = tiles.len() / gaussians.dim();
        self.responsibility.resize(gaussians.len() * width, 0.0);
        self.nats.resize(width, 0.0);
        vectorise(
            #[inline(always)]
            || {
                gaussians.log_joint(tiles, &mut self.centred, &mut self.responsibility);
                gaussians.normalise(&mut self.responsibility, &mut self.nats);
            },
        );
        width
    }
}

/// −(1/n) Σ ln p(x), summed in the order of the rows.
pub(super) fn mean_nll(gaussians: &Gaussians, rows: &Lanes) -> f64 {
    let mut scratch = Scratch::default();
    let mut sum = 0.0;
    for (b, tiles) in rows.tiles().chunks(BLOCK * gaussians.dim()).enumerate() {
        scratch.score_tiles(gaussians, tiles);
        sum -= scratch.nats[..BLOCK.min(rows.rows() - b * BLOCK)].iter().sum::<f64>();
    }
    sum / rows.rows() as f64
}

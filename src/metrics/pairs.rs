//! Sums over all pairs of rows of two samples, in vector registers, on which energy distance, MMD and the k-NN
//! metrics are built.
//!
//! The closures given to `vectorize` are marked `inline(always)`: large ones are otherwise compiled once,
//! outside of the dispatch, for the narrow vectors of the generic target.

use ndarray::ArrayView2;

use super::map;
use crate::numeric::simd::vectorize;

/// Rows of a tile: one 512-bit register of f32.
const LANES: usize = 16;
/// Tiles of a block: 512 rows. Within a block and lane, at most this many terms are added in f32; all other sums are
/// in f64.
const TILES: usize = 32;
/// Rows of a block.
const ROWS: usize = TILES * LANES;

/// A sample laid out for the pair loops, scaled by a power of two.
pub(super) struct Points {
    pub rows: usize,
    dim: usize,
    x: Vec<f32>,     // (rows, dim)
    tiles: Vec<f32>, // (⌈rows / LANES⌉, dim, LANES), the last tile padded with zeros
}

impl Points {
    /// Both samples, and the power of two that they were divided by, so that all values lie in (−2, 2) and no
    /// square overflows. The division is exact except for values 10³⁸ times smaller than the largest.
    pub fn pair(x: ArrayView2<f32>, y: ArrayView2<f32>) -> (Points, Points, f64) {
        let max = x.iter().chain(y).fold(0.0f32, |max, v| max.max(v.abs()));
        let scale = if max > 0.0 { 2f64.powi(f64::from(max).log2().floor() as i32) } else { 1.0 };
        (Points::new(x, scale), Points::new(y, scale), scale)
    }

    fn new(x: ArrayView2<f32>, scale: f64) -> Points {
        let (rows, dim) = x.dim();
        let x: Vec<f32> = x.iter().map(|&v| (f64::from(v) / scale) as f32).collect();
        let mut tiles = vec![0.0; rows.div_ceil(LANES) * dim * LANES];
        for (i, row) in x.chunks_exact(dim).enumerate() {
            for (c, &v) in row.iter().enumerate() {
                tiles[((i / LANES) * dim + c) * LANES + i % LANES] = v;
            }
        }
        Points { rows, dim, x, tiles }
    }

    fn blocks(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// The rows of a block, (≤ ROWS, dim).
    fn block(&self, b: usize) -> &[f32] {
        let size = ROWS * self.dim;
        &self.x[b * size..self.x.len().min((b + 1) * size)]
    }

    /// The tiles of a block, and which lanes of its last tile are rows.
    fn block_tiles(&self, b: usize) -> (&[f32], [f32; LANES]) {
        let size = ROWS * self.dim;
        let tiles = &self.tiles[b * size..self.tiles.len().min((b + 1) * size)];
        let first_row = b * ROWS + (tiles.len() / (self.dim * LANES) - 1) * LANES;
        (tiles, std::array::from_fn(|l| if first_row + l < self.rows { 1.0 } else { 0.0 }))
    }
}

/// Σᵢⱼ f(‖xᵢ − yⱼ‖²) over all pairs.
pub(super) fn cross_sum(x: &Points, y: &Points, f: impl Fn(f32) -> f32 + Copy + Send + Sync) -> f64 {
    let parts = map(x.blocks(), |b| (0..y.blocks()).map(|c| block_sum((x, b), (y, c), f)).sum::<f64>());
    parts.iter().sum()
}

/// Σᵢ≠ⱼ f(‖xᵢ − xⱼ‖²) over ordered pairs of rows; of two blocks, only one order is computed.
pub(super) fn self_sum(x: &Points, f: impl Fn(f32) -> f32 + Copy + Send + Sync) -> f64 {
    let parts = map(x.blocks(), |b| {
        let above: f64 = (b + 1..x.blocks()).map(|c| block_sum((x, b), (x, c), f)).sum();
        block_sum((x, b), (x, b), f) + 2.0 * above
    });
    // The diagonal blocks hold the n pairs of a row with itself.
    parts.iter().sum::<f64>() - x.rows as f64 * f64::from(f(0.0))
}

/// Σ f(‖xᵢ − yⱼ‖²) over the rows of block b of x and block c of y.
fn block_sum((x, b): (&Points, usize), (y, c): (&Points, usize), f: impl Fn(f32) -> f32) -> f64 {
    vectorize(
        #[inline(always)]
        || {
            let tile_size = y.dim * LANES;
            let (tiles, live) = y.block_tiles(c);
            let (full, last) = tiles.split_at(tiles.len() - tile_size);
            let mut total = [0f64; LANES];
            for xi in x.block(b).chunks_exact(x.dim) {
                let mut sum = [0f32; LANES];
                for tile in full.chunks_exact(tile_size) {
                    let d2 = squared_distances(xi, tile);
                    for l in 0..LANES {
                        sum[l] += f(d2[l]);
                    }
                }
                let d2 = squared_distances(xi, last);
                for l in 0..LANES {
                    sum[l] += live[l] * f(d2[l]);
                    total[l] += f64::from(sum[l]);
                }
            }
            total.iter().sum()
        },
    )
}

/// ‖xi − y‖² for the LANES rows y of a tile, (dim, LANES).
#[inline(always)]
fn squared_distances(xi: &[f32], tile: &[f32]) -> [f32; LANES] {
    let mut d2 = [0f32; LANES];
    for (&v, column) in xi.iter().zip(tile.as_chunks::<LANES>().0) {
        for l in 0..LANES {
            let difference = v - column[l];
            d2[l] += difference * difference;
        }
    }
    d2
}

/// Calls `visit(i, d2, state)` with d2[j] = ‖xᵢ − yⱼ‖² for every row i of x, in vector code, and returns the
/// states, one per block of rows.
pub(super) fn for_each_row<S: Send>(
    x: &Points,
    y: &Points,
    state: impl Fn() -> S + Send + Sync,
    visit: impl Fn(usize, &mut [f32], &mut S) + Send + Sync,
) -> Vec<S> {
    map(x.blocks(), |b| {
        let mut state = state();
        let mut d2 = vec![0f32; y.rows.div_ceil(LANES) * LANES];
        vectorize(
            #[inline(always)]
            || {
                for (k, xi) in x.block(b).chunks_exact(x.dim).enumerate() {
                    let tiles = y.tiles.chunks_exact(y.dim * LANES);
                    for (out, tile) in d2.as_chunks_mut::<LANES>().0.iter_mut().zip(tiles) {
                        *out = squared_distances(xi, tile);
                    }
                    visit(b * ROWS + k, &mut d2[..y.rows], &mut state);
                }
            },
        );
        state
    })
}

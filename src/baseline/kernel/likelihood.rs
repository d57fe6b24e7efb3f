use crate::baseline::lanes::{LANES, Lanes, total};
use crate::numeric::Real;
use crate::numeric::simd::vectorize;

/// Kernels that are summed for all rows of a tile before the next ones are loaded: tiles of LANES, within L1.
const BLOCK: usize = 64;

/// A sum below this may have lost terms to underflow.
const LOST: f64 = 1e-280;

/// ln Σⱼ exp(−s ‖y − yⱼ‖²) of each row y, over all j but, where `own` names one, its own.
///
/// kernels: `Lanes` filled up with ∞, which adds exp(−∞) = 0. y: (n, d), own: (n) or empty, sums: (n).
/// The terms are summed as they are, and a second time in proportion to the largest where all are tiny: so a
/// far row costs twice, and every other one no search for the largest.
pub(super) fn log_sums(
    kernels: &Lanes,
    y: &[f64],
    own: &[usize],
    s: f64,
    scratch: &mut Vec<f64>,
    sums: &mut [f64],
) {
    let d = y.len() / sums.len();
    scratch.clear();
    scratch.resize(sums.len() * LANES, 0.0);
    let lanes = scratch.as_chunks_mut::<LANES>().0;
    // A number beyond all rows where there is none.
    let own = |r: usize| own.get(r).copied().unwrap_or(usize::MAX);
    vectorize(
        #[inline(always)]
        || {
            for (b, tiles) in kernels.tiles().chunks(BLOCK * d * LANES).enumerate() {
                for (r, (y, sum)) in y.chunks_exact(d).zip(&mut *lanes).enumerate() {
                    let own = own(r).wrapping_sub(b * BLOCK * LANES);
                    for_each_square(
                        tiles,
                        y,
                        own,
                        #[inline(always)]
                        |square| {
                            for l in 0..LANES {
                                sum[l] += (-s * square[l]).fast_exp();
                            }
                        },
                    );
                }
            }
            for (r, (y, out)) in y.chunks_exact(d).zip(&mut *sums).enumerate() {
                let sum = total(&lanes[r]);
                *out = if sum > LOST { sum.ln() } else { log_sum_far(kernels, y, own(r), s) };
            }
        },
    );
}

/// ln Σⱼ exp(−s ‖y − yⱼ‖²) with the largest term taken out.
#[inline(always)]
fn log_sum_far(kernels: &Lanes, y: &[f64], own: usize, s: f64) -> f64 {
    let mut nearest = [f64::INFINITY; LANES];
    for_each_square(
        kernels.tiles(),
        y,
        own,
        #[inline(always)]
        |square| {
            for l in 0..LANES {
                nearest[l] = if square[l] < nearest[l] { square[l] } else { nearest[l] };
            }
        },
    );
    let nearest = nearest.iter().copied().fold(f64::INFINITY, f64::min);
    if nearest == f64::INFINITY {
        return f64::NEG_INFINITY;
    }
    let mut sum = [0.0; LANES];
    for_each_square(
        kernels.tiles(),
        y,
        own,
        #[inline(always)]
        |square| {
            for l in 0..LANES {
                sum[l] += (s * (nearest - square[l])).fast_exp();
            }
        },
    );
    total(&sum).ln() - s * nearest
}

/// Calls `f` with ‖y − yⱼ‖² of each tile's kernels, ∞ for the one numbered `own`.
#[inline(always)]
fn for_each_square(tiles: &[f64], y: &[f64], own: usize, mut f: impl FnMut(&[f64; LANES])) {
    for (t, tile) in tiles.chunks_exact(y.len() * LANES).enumerate() {
        let mut square = [0.0; LANES];
        for (y, kernel) in y.iter().zip(tile.as_chunks::<LANES>().0) {
            for l in 0..LANES {
                let distance = y - kernel[l];
                square[l] = distance.mul_add(distance, square[l]);
            }
        }
        if own / LANES == t {
            square[own % LANES] = f64::INFINITY;
        }
        f(&square);
    }
}

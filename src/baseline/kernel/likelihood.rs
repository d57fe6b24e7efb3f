use crate::baseline::lanes::{LANES, Lanes, total};
use crate::numeric::Real;
use crate::numeric::simd::vectorize;

/// Where kernels stand in units in which they are round, and how wide each is.
#[derive(Debug, Clone)]
pub(super) struct Centers {
    /// L⁻¹ (xⱼ − shift), filled up with ∞: (n, d)
    pub lanes: Lanes,
    /// λⱼ⁻² and d ln λⱼ: (n, 2); without rows where all kernels are alike.
    own: Lanes,
}

impl Centers {
    /// y: (n, dim), widths: λ, (n), or empty.
    pub fn new(dim: usize, y: &[f64], widths: &[f64]) -> Self {
        let own: Vec<f64> =
            widths.iter().flat_map(|width| [width.powi(-2), dim as f64 * width.ln()]).collect();
        Centers { lanes: Lanes::new(dim, y, f64::INFINITY), own: Lanes::new(2, &own, 1.0) }
    }

    pub fn rows(&self) -> usize {
        self.lanes.rows()
    }

    /// Kernels that are all alike, in some of their columns.
    pub fn columns(&self, columns: std::ops::Range<usize>) -> Self {
        Centers { lanes: self.lanes.columns(columns), own: Lanes::default() }
    }
}

/// Kernels that are summed for all rows of a tile before the next ones are loaded: tiles of LANES, within L1.
const BLOCK: usize = 64;

/// A sum below this may have lost terms to underflow.
const LOST: f64 = 1e-280;

/// ln Σⱼ λⱼ⁻ᵈ exp(−s ‖y − yⱼ‖²/λⱼ²) of each row y, over all j but, where `own` names one, its own.
///
/// The place that fills up the kernels, ∞, adds exp(−∞) = 0. y: (n, d), own: (n) or empty, sums: (n).
/// The terms are summed as they are, and a second time in proportion to the largest where all are tiny: so a
/// far row costs twice, and every other one no search for the largest.
pub(super) fn log_sums(
    kernels: &Centers,
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
            for (b, tiles) in kernels.lanes.tiles().chunks(BLOCK * d * LANES).enumerate() {
                let widths = Widths::of(&kernels.own, b * BLOCK, s);
                for (r, (y, sum)) in y.chunks_exact(d).zip(&mut *lanes).enumerate() {
                    let own = own(r).wrapping_sub(b * BLOCK * LANES);
                    for_each_square(
                        tiles,
                        widths,
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

/// [`log_sums`] of one row, with the largest term taken out.
#[inline(always)]
fn log_sum_far(kernels: &Centers, y: &[f64], own: usize, s: f64) -> f64 {
    let (tiles, widths) = (kernels.lanes.tiles(), Widths::of(&kernels.own, 0, s));
    let mut nearest = [f64::INFINITY; LANES];
    for_each_square(
        tiles,
        widths,
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
        tiles,
        widths,
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

/// The square of the distance from y to the nearest rows but `own`, the `count`-th of them.
pub(super) fn nearest_square(
    rows: &Lanes,
    y: &[f64],
    own: usize,
    count: usize,
    squares: &mut Vec<f64>,
) -> f64 {
    squares.clear();
    vectorize(
        #[inline(always)]
        || {
            let widths = Widths { own: &[], far: 0.0 };
            for_each_square(
                rows.tiles(),
                widths,
                y,
                own,
                #[inline(always)]
                |square| squares.extend_from_slice(square),
            );
        },
    );
    let others = rows.rows() - usize::from(own < rows.rows());
    *squares.select_nth_unstable_by(count.min(others).max(1) - 1, f64::total_cmp).1
}

/// What some tiles of kernels have as their own.
#[derive(Clone, Copy)]
struct Widths<'a> {
    /// λ⁻² and d ln λ: (tiles, 2, LANES), or empty.
    own: &'a [f64],
    /// 1/s
    far: f64,
}

impl<'a> Widths<'a> {
    /// Those behind the first tiles.
    fn of(own: &'a Lanes, tiles: usize, s: f64) -> Self {
        Widths { own: own.tiles().get(tiles * 2 * LANES..).unwrap_or(&[]), far: 1.0 / s }
    }
}

/// Calls `f` with ‖y − yⱼ‖² of each tile's kernels, ∞ for the one numbered `own`. Of a kernel with a width of its own
/// it is ‖y − yⱼ‖²/λⱼ² + (d/s) ln λⱼ, so that exp(−s ·) is its term.
#[inline(always)]
fn for_each_square(tiles: &[f64], widths: Widths, y: &[f64], own: usize, mut f: impl FnMut(&[f64; LANES])) {
    let of_tile = |t: usize| widths.own.get(t * 2 * LANES..)?.as_chunks::<LANES>().0.first_chunk::<2>();
    for (t, tile) in tiles.chunks_exact(y.len() * LANES).enumerate() {
        let mut square = [0.0; LANES];
        for (y, kernel) in y.iter().zip(tile.as_chunks::<LANES>().0) {
            for l in 0..LANES {
                let distance = y - kernel[l];
                square[l] = distance.mul_add(distance, square[l]);
            }
        }
        if let Some([precision, constant]) = of_tile(t) {
            for l in 0..LANES {
                square[l] = square[l].mul_add(precision[l], widths.far * constant[l]);
            }
        }
        if own / LANES == t {
            square[own % LANES] = f64::INFINITY;
        }
        f(&square);
    }
}

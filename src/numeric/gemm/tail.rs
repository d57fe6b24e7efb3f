//! The columns behind the last whole vector. Up to four of them (the two outputs of a network on the plane)
//! would leave most of a vector idle, so the vector runs along another axis there: along k for contiguous
//! rows of A, along m for contiguous columns. More columns are padded to a vector.

use pulp::Simd;

use super::{Gemm, Init, Vector};

/// Inner products longer than this are cut, so that the part of B that is reordered fits the stack.
const DEPTH: usize = 128;

#[inline(always)]
pub(super) fn tail<S: Simd, F: Vector<S>>(simd: S, g: &mut Gemm<F>, j: usize) {
    let width = g.n - j;
    for i in 0..g.m {
        let c = &mut g.c[i * g.n + j..(i + 1) * g.n];
        match g.init {
            Init::Zero => c.fill(F::zero()),
            Init::Bias(bias) => c.copy_from_slice(&bias[j..g.n]),
            Init::Accumulate => {}
        }
    }
    for start in (0..g.k).step_by(DEPTH) {
        let depth = DEPTH.min(g.k - start);
        match width {
            1 => narrow::<S, F, 1>(simd, g, j, start, depth),
            2 => narrow::<S, F, 2>(simd, g, j, start, depth),
            3 => narrow::<S, F, 3>(simd, g, j, start, depth),
            4 => narrow::<S, F, 4>(simd, g, j, start, depth),
            _ => padded(simd, g, j, start, depth),
        }
    }
    if g.slope != F::one() {
        for row in g.c.chunks_exact_mut(g.n).take(g.m) {
            for c in &mut row[j..] {
                *c = if *c > F::zero() { *c } else { g.slope * *c };
            }
        }
    }
}

/// Adds A·B over k = start … start + depth for the columns from `j` on, fewer than a vector.
#[inline(always)]
fn padded<S: Simd, F: Vector<S>>(simd: S, g: &mut Gemm<F>, j: usize, start: usize, depth: usize) {
    let mut b = [F::splat(simd, F::zero()); DEPTH];
    for (kk, b) in b[..depth].iter_mut().enumerate() {
        let at = (start + kk) * g.ldb;
        *b = F::load_part(simd, &g.b[at + j..at + g.n]);
    }
    let mut i = 0;
    while i + 8 <= g.m {
        padded_rows::<S, F, 8>(simd, g, i, j, start, &b[..depth]);
        i += 8;
    }
    while i < g.m {
        padded_rows::<S, F, 1>(simd, g, i, j, start, &b[..depth]);
        i += 1;
    }
}

#[inline(always)]
fn padded_rows<S: Simd, F: Vector<S>, const MR: usize>(
    simd: S,
    g: &mut Gemm<F>,
    i: usize,
    j: usize,
    start: usize,
    b: &[F::V],
) {
    let n = g.n;
    let mut acc: [F::V; MR] =
        std::array::from_fn(|r| F::load_part(simd, &g.c[(i + r) * n + j..(i + r + 1) * n]));
    for (kk, &b) in b.iter().enumerate() {
        for (r, acc) in acc.iter_mut().enumerate() {
            let a = F::splat(simd, g.a.data[(i + r) * g.a.row + (start + kk) * g.a.col]);
            *acc = F::fma(simd, a, b, *acc);
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        F::store_part(simd, &mut g.c[(i + r) * n + j..(i + r + 1) * n], *acc);
    }
}

/// The same for W columns.
#[inline(always)]
fn narrow<S: Simd, F: Vector<S>, const W: usize>(
    simd: S,
    g: &mut Gemm<F>,
    j: usize,
    start: usize,
    depth: usize,
) {
    if g.a.col == 1 {
        along_k::<S, F, W>(simd, g, j, start, depth);
    } else {
        along_m::<S, F, W>(simd, g, j, start, depth);
    }
}

/// Inner products of vectors, for contiguous rows of A.
#[inline(always)]
fn along_k<S: Simd, F: Vector<S>, const W: usize>(
    simd: S,
    g: &mut Gemm<F>,
    j: usize,
    start: usize,
    depth: usize,
) {
    // b: (W, DEPTH), the columns of B, zero behind their ends.
    let mut b = [[F::zero(); DEPTH]; W];
    let from = &g.b[start * g.ldb..];
    for (v, b) in b.iter_mut().enumerate() {
        let b = &mut b[..depth];
        // A stride known in advance becomes shuffles; one row alone would wait for the loads one by one.
        if g.ldb == W {
            for (b, row) in b.iter_mut().zip(from.as_chunks::<W>().0) {
                *b = row[v];
            }
        } else {
            for (b, row) in b.iter_mut().zip(from.chunks(g.ldb)) {
                *b = row[j + v];
            }
        }
    }
    let b: [&[F::V]; W] = std::array::from_fn(|v| F::load(&b[v]));
    for i in 0..g.m {
        let row = &g.a.data[i * g.a.row + start..][..depth];
        let whole = F::load(row);
        let mut acc = [F::splat(simd, F::zero()); W];
        for (kk, &a) in whole.iter().enumerate() {
            for (acc, b) in acc.iter_mut().zip(b) {
                *acc = F::fma(simd, a, b[kk], *acc);
            }
        }
        if whole.len() * F::LANES < depth {
            let a = F::load_part(simd, &row[whole.len() * F::LANES..]);
            for (acc, b) in acc.iter_mut().zip(b) {
                *acc = F::fma(simd, a, b[whole.len()], *acc);
            }
        }
        for (c, acc) in g.c[i * g.n + j..].iter_mut().zip(acc) {
            *c += F::total(simd, acc);
        }
    }
}

/// Cᵀ = Bᵀ·Aᵀ, vectors of C's rows at a time, for contiguous columns of A. Four vectors are four chains of
/// multiply-adds for each column, which hide their latency.
#[inline(always)]
fn along_m<S: Simd, F: Vector<S>, const W: usize>(
    simd: S,
    g: &mut Gemm<F>,
    j: usize,
    start: usize,
    depth: usize,
) {
    let mut i = 0;
    while i + 4 * F::LANES <= g.m {
        rows_along_m::<S, F, W, 4>(simd, g, (i, 4 * F::LANES), j, start, depth);
        i += 4 * F::LANES;
    }
    while i < g.m {
        let rows = F::LANES.min(g.m - i);
        rows_along_m::<S, F, W, 1>(simd, g, (i, rows), j, start, depth);
        i += rows;
    }
}

/// The rows from `i` on that NV vectors hold; one vector may be part empty.
#[inline(always)]
fn rows_along_m<S: Simd, F: Vector<S>, const W: usize, const NV: usize>(
    simd: S,
    g: &mut Gemm<F>,
    (i, rows): (usize, usize),
    j: usize,
    start: usize,
    depth: usize,
) {
    let mut acc = [[F::splat(simd, F::zero()); NV]; W];
    for kk in start..start + depth {
        let a = &g.a.data[i + kk * g.a.col..][..rows];
        let b = &g.b[kk * g.ldb + j..][..W];
        let a: [F::V; NV] = match rows == NV * F::LANES {
            true => std::array::from_fn(|v| F::load(a)[v]),
            false => [F::load_part(simd, a); NV],
        };
        for (acc, &b) in acc.iter_mut().zip(b) {
            let b = F::splat(simd, b);
            for (acc, a) in acc.iter_mut().zip(a) {
                *acc = F::fma(simd, a, b, *acc);
            }
        }
    }
    for (w, acc) in acc.into_iter().enumerate() {
        for (v, acc) in acc.into_iter().enumerate() {
            let mut column = [F::zero(); MOST_LANES];
            F::store_part(simd, &mut column[..F::LANES], acc);
            let first = i + v * F::LANES;
            for (r, &c) in column[..F::LANES.min(i + rows - first)].iter().enumerate() {
                g.c[(first + r) * g.n + j + w] += c;
            }
        }
    }
}

/// Numbers in the longest vector that is dispatched to: 512 bits of f32.
const MOST_LANES: usize = 16;

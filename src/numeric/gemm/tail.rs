//! The columns behind the last whole vector. Up to four of them (the two outputs of a network on the plane)
//! would leave most of a vector idle, so the vector runs along another axis there: along k for contiguous
//! rows of A, along m for contiguous columns. More columns are padded to a vector.

use pulp::Simd;

use super::{Epilogue, Gemm, Init, Vector, load};

/// Inner products longer than this are cut, so that the part of B that is reordered fits the stack.
const DEPTH: usize = 128;

/// Rows of C whose sums are computed side by side.
const ROWS: usize = 4;

#[inline(always)]
pub(super) fn tail<S: Simd, F: Vector<S>>(simd: S, g: &mut Gemm<F>, j: usize) {
    match g.n - j {
        1 => narrow::<S, F, 1>(simd, g, j),
        2 => narrow::<S, F, 2>(simd, g, j),
        3 => narrow::<S, F, 3>(simd, g, j),
        4 => narrow::<S, F, 4>(simd, g, j),
        _ => padded(simd, g, j),
    }
    let at = |i: usize| i * g.n + j..(i + 1) * g.n;
    match &mut g.epilogue {
        Epilogue::None => {}
        &mut Epilogue::Leaky { slope } => {
            for i in 0..g.m {
                g.c[at(i)].iter_mut().for_each(|c| *c = if *c > F::zero() { *c } else { slope * *c });
            }
        }
        Epilogue::LeakyWithSlopes { slope, d } => {
            for i in 0..g.m {
                for (c, d) in g.c[at(i)].iter_mut().zip(&mut d[at(i)]) {
                    *d = if *c > F::zero() { F::one() } else { *slope };
                    *c *= *d;
                }
            }
        }
        Epilogue::Times(d) => {
            for i in 0..g.m {
                g.c[at(i)].iter_mut().zip(&d[at(i)]).for_each(|(c, &d)| *c *= d);
            }
        }
    }
}

/// Pieces of 0 … k: (start, depth).
fn pieces(k: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..k).step_by(DEPTH).map(move |start| (start, DEPTH.min(k - start)))
}

/// More than four columns, fewer than a vector.
#[inline(always)]
fn padded<S: Simd, F: Vector<S>>(simd: S, g: &mut Gemm<F>, j: usize) {
    for i in 0..g.m {
        let c = &mut g.c[i * g.n + j..(i + 1) * g.n];
        match g.init {
            Init::Zero => c.fill(F::zero()),
            Init::Bias(bias) => c.copy_from_slice(&bias[j..g.n]),
            Init::Accumulate => {}
        }
    }
    for (start, depth) in pieces(g.k) {
        padded_piece(simd, g, j, start, depth);
    }
}

/// Adds A·B over k = start … start + depth for the columns from `j` on, fewer than a vector.
#[inline(always)]
fn padded_piece<S: Simd, F: Vector<S>>(simd: S, g: &mut Gemm<F>, j: usize, start: usize, depth: usize) {
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

/// W columns.
#[inline(always)]
fn narrow<S: Simd, F: Vector<S>, const W: usize>(simd: S, g: &mut Gemm<F>, j: usize) {
    for i in 0..g.m {
        let c = columns::<F, W>(g.c, i * g.n + j);
        match g.init {
            Init::Zero => *c = [F::zero(); W],
            Init::Bias(bias) => *c = *bias[j..].first_chunk().expect("W numbers"),
            Init::Accumulate => {}
        }
    }
    for (start, depth) in pieces(g.k) {
        if g.a.by_rows {
            along_k::<S, F, W>(simd, g, j, start, depth);
        } else {
            along_m::<S, F, W>(simd, g, j, start, depth);
        }
    }
}

/// W numbers of c: a width known to the compiler, which else calls memcpy for two numbers.
#[inline(always)]
fn columns<F, const W: usize>(c: &mut [F], at: usize) -> &mut [F; W] {
    c[at..].first_chunk_mut().expect("W numbers")
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
    let mut i = 0;
    while i + ROWS <= g.m {
        rows_along_k::<S, F, W, ROWS>(simd, g, i, j, (start, depth), b);
        i += ROWS;
    }
    while i < g.m {
        rows_along_k::<S, F, W, 1>(simd, g, i, j, (start, depth), b);
        i += 1;
    }
}

/// Rows i…i+R: W·R sums, whose chains run beside each other.
#[inline(always)]
fn rows_along_k<S: Simd, F: Vector<S>, const W: usize, const R: usize>(
    simd: S,
    g: &mut Gemm<F>,
    i: usize,
    j: usize,
    (start, depth): (usize, usize),
    b: [&[F::V]; W],
) {
    let mut rows = [g.a.data; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &g.a.data[(i + r) * g.a.row + start..][..depth];
    }
    let mut acc = [[F::splat(simd, F::zero()); W]; R];
    let whole = depth / F::LANES;
    for kk in 0..whole {
        for (acc, row) in acc.iter_mut().zip(rows) {
            let [a] = load::<S, F, 1>(&row[kk * F::LANES..]);
            for w in 0..W {
                acc[w] = F::fma(simd, a, b[w][kk], acc[w]);
            }
        }
    }
    if whole * F::LANES < depth {
        for (acc, row) in acc.iter_mut().zip(rows) {
            let a = F::load_part(simd, &row[whole * F::LANES..]);
            for w in 0..W {
                acc[w] = F::fma(simd, a, b[w][whole], acc[w]);
            }
        }
    }
    for (r, acc) in acc.into_iter().enumerate() {
        let c = columns::<F, W>(g.c, (i + r) * g.n + j);
        for w in 0..W {
            c[w] += F::total(simd, acc[w]);
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
            true => load::<S, F, NV>(a),
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

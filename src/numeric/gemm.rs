//! Matrix products at the sizes of small networks: one kernel, no packing, no allocation.
//!
//! C = init + A·B with B and C row-major and A addressed by two strides, so that x·W (rows of A contiguous) and
//! xᵀ·dy (columns contiguous) are the same code. A network's weights, stored (in, out), are already the order in
//! which the kernel reads them, and a tile of rows keeps A and C in L1: that is why packing, which pays for
//! large matrices, does not pay here.
//!
//! An element of C is the same chain of fused multiply-adds whichever rows are beside it, so a batch gives the same bits
//! as its rows one by one.

use pulp::{Simd, WithSimd};

use super::real::Real;
use super::simd::arch;

/// Where C starts.
#[derive(Debug, Clone, Copy)]
pub enum Init<'a, F> {
    /// C = A·B.
    Zero,
    /// C = 1·biasᵀ + A·B; `bias`: (n).
    Bias(&'a [F]),
    /// C += A·B.
    Accumulate,
}

/// A matrix (rows, cols) by strides: element (i, j) is `data[i * row + j * col]`.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a, F> {
    data: &'a [F],
    row: usize,
    col: usize,
}

impl<'a, F> Strided<'a, F> {
    /// `data` row-major with `cols` columns.
    pub fn rows(data: &'a [F], cols: usize) -> Self {
        Strided { data, row: cols, col: 1 }
    }

    /// The transpose of `data`, row-major with `cols` columns.
    pub fn transposed(data: &'a [F], cols: usize) -> Self {
        Strided { data, row: 1, col: cols }
    }
}

/// C (m, n) = init + A (m, k) · B (k, n); B's rows stand `ldb` apart, C is contiguous.
///
/// # Panics
/// If a slice is shorter than its shape says.
pub fn gemm<F: Real>(
    (m, n, k): (usize, usize, usize),
    a: Strided<F>,
    b: &[F],
    ldb: usize,
    init: Init<F>,
    c: &mut [F],
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(c.len() >= m * n, "C holds {} of {m} x {n}", c.len());
    assert!(k == 0 || b.len() >= (k - 1) * ldb + n, "B holds {} of {k} x {n}", b.len());
    assert!(k == 0 || a.data.len() > (m - 1) * a.row + (k - 1) * a.col, "A is short of {m} x {k}");
    if let Init::Bias(bias) = init {
        assert!(bias.len() >= n, "bias holds {} of {n}", bias.len());
    }
    F::run_gemm(Gemm { m, n, k, a, b, ldb, init, c });
}

/// t (cols, rows) = the transpose of a (rows, cols), both row-major.
pub fn transpose<F: Copy>((rows, cols): (usize, usize), a: &[F], t: &mut [F]) {
    // Blocks of 16 rows: one cache line of t is finished before the next is opened.
    const BLOCK: usize = 16;
    for first in (0..rows).step_by(BLOCK) {
        let block = BLOCK.min(rows - first);
        let a = &a[first * cols..];
        for c in 0..cols {
            let t = &mut t[c * rows + first..][..block];
            t.iter_mut().enumerate().for_each(|(r, t)| *t = a[r * cols + c]);
        }
    }
}

/// One product, ready for dispatch.
pub struct Gemm<'a, F> {
    m: usize,
    n: usize,
    k: usize,
    a: Strided<'a, F>,
    b: &'a [F],
    ldb: usize,
    init: Init<'a, F>,
    c: &'a mut [F],
}

/// The vectors of an element type under an instruction set.
trait Vector<S: Simd>: Real {
    type V: Copy;
    const LANES: usize;
    fn splat(simd: S, x: Self) -> Self::V;
    fn load(x: &[Self]) -> &[Self::V];
    fn load_part(simd: S, x: &[Self]) -> Self::V;
    fn store(x: &mut [Self]) -> &mut [Self::V];
    fn store_part(simd: S, x: &mut [Self], v: Self::V);
    fn fma(simd: S, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn total(simd: S, v: Self::V) -> Self;
}

macro_rules! vector {
    ($type:ty, $v:ident, $lanes:ident, $splat:ident, $load:ident, $load_part:ident, $store:ident, $store_part:ident, $mul_add:ident, $sum:ident) => {
        impl<S: Simd> Vector<S> for $type {
            type V = S::$v;
            const LANES: usize = S::$lanes;
            #[inline(always)]
            fn splat(simd: S, x: Self) -> S::$v {
                simd.$splat(x)
            }
            #[inline(always)]
            fn load(x: &[Self]) -> &[S::$v] {
                S::$load(x).0
            }
            #[inline(always)]
            fn load_part(simd: S, x: &[Self]) -> S::$v {
                simd.$load_part(x)
            }
            #[inline(always)]
            fn store(x: &mut [Self]) -> &mut [S::$v] {
                S::$store(x).0
            }
            #[inline(always)]
            fn store_part(simd: S, x: &mut [Self], v: S::$v) {
                simd.$store_part(x, v)
            }
            #[inline(always)]
            fn fma(simd: S, a: S::$v, b: S::$v, c: S::$v) -> S::$v {
                simd.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn total(simd: S, v: S::$v) -> Self {
                simd.$sum(v)
            }
        }

        impl WithSimd for Gemm<'_, $type> {
            type Output = ();
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                product(simd, self)
            }
        }
    };
}

vector!(
    f32,
    f32s,
    F32_LANES,
    splat_f32s,
    as_simd_f32s,
    partial_load_f32s,
    as_mut_simd_f32s,
    partial_store_f32s,
    mul_add_f32s,
    reduce_sum_f32s
);
vector!(
    f64,
    f64s,
    F64_LANES,
    splat_f64s,
    as_simd_f64s,
    partial_load_f64s,
    as_mut_simd_f64s,
    partial_store_f64s,
    mul_add_f64s,
    reduce_sum_f64s
);

/// Dispatches to this processor's vectors.
pub(super) fn dispatch<F>(gemm: Gemm<F>)
where
    for<'a> Gemm<'a, F>: WithSimd<Output = ()>,
{
    arch().dispatch(gemm)
}

// Blocks of MR rows by NV vectors of columns keep MR·NV accumulators in registers: 24 of 32 with AVX-512, 12 of 16 else.
// Columns are the outer loop, so that a panel of B serves all row blocks from L1. A single row takes wide blocks
// instead: it reads each weight once, and eight independent sums hide the multiply-add's latency.
#[inline(always)]
fn product<S: Simd, F: Vector<S>>(simd: S, mut g: Gemm<F>) {
    let vectors = g.n / F::LANES;
    let mut j = 0;
    let mut left = vectors;
    let wide = S::REGISTER_COUNT >= 32;
    if g.m < 4 {
        while left >= 8 {
            panel::<S, F, 1, 8>(simd, &mut g, j);
            (j, left) = (j + 8 * F::LANES, left - 8);
        }
    }
    while left >= 4 && wide {
        panel::<S, F, 6, 4>(simd, &mut g, j);
        (j, left) = (j + 4 * F::LANES, left - 4);
    }
    while left >= 2 {
        if wide {
            panel::<S, F, 8, 2>(simd, &mut g, j);
        } else {
            panel::<S, F, 6, 2>(simd, &mut g, j);
        }
        (j, left) = (j + 2 * F::LANES, left - 2);
    }
    if left == 1 {
        panel::<S, F, 8, 1>(simd, &mut g, j);
        j += F::LANES;
    }
    if j < g.n {
        tail(simd, &mut g, j);
    }
}

/// All rows of the NV vectors of columns from `j` on.
#[inline(always)]
fn panel<S: Simd, F: Vector<S>, const MR: usize, const NV: usize>(simd: S, g: &mut Gemm<F>, j: usize) {
    let mut i = 0;
    while i + MR <= g.m {
        block::<S, F, MR, NV>(simd, g, i, j);
        i += MR;
    }
    if MR > 4 && i + 4 <= g.m {
        block::<S, F, 4, NV>(simd, g, i, j);
        i += 4;
    }
    if MR > 2 && i + 2 <= g.m {
        block::<S, F, 2, NV>(simd, g, i, j);
        i += 2;
    }
    while i < g.m {
        block::<S, F, 1, NV>(simd, g, i, j);
        i += 1;
    }
}

/// Rows i…i+MR, columns j…j+NV·LANES.
#[inline(always)]
fn block<S: Simd, F: Vector<S>, const MR: usize, const NV: usize>(
    simd: S,
    g: &mut Gemm<F>,
    i: usize,
    j: usize,
) {
    let width = NV * F::LANES;
    let mut acc = [[F::splat(simd, F::zero()); NV]; MR];
    match g.init {
        Init::Zero => {}
        Init::Bias(bias) => {
            let bias = F::load(&bias[j..j + width]);
            acc = [std::array::from_fn(|v| bias[v]); MR];
        }
        Init::Accumulate => {
            for (r, acc) in acc.iter_mut().enumerate() {
                let c = F::load(&g.c[(i + r) * g.n + j..][..width]);
                *acc = std::array::from_fn(|v| c[v]);
            }
        }
    }
    for kk in 0..g.k {
        let b = F::load(&g.b[kk * g.ldb + j..][..width]);
        let b: [F::V; NV] = std::array::from_fn(|v| b[v]);
        for (r, acc) in acc.iter_mut().enumerate() {
            let a = F::splat(simd, g.a.data[(i + r) * g.a.row + kk * g.a.col]);
            for v in 0..NV {
                acc[v] = F::fma(simd, a, b[v], acc[v]);
            }
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        F::store(&mut g.c[(i + r) * g.n + j..][..width]).copy_from_slice(acc);
    }
}

// The columns behind the last whole vector. Up to four of them (the two outputs of a network on the plane) would leave
// most of a vector idle, so the vector runs along another axis there: along k for contiguous rows of A, along m for
// contiguous columns. More columns are padded to a vector.

/// Inner products longer than this are cut, so that the part of B that is reordered fits the stack.
const DEPTH: usize = 256;

#[inline(always)]
fn tail<S: Simd, F: Vector<S>>(simd: S, g: &mut Gemm<F>, j: usize) {
    let width = g.n - j;
    for i in 0..g.m {
        let c = &mut g.c[i * g.n + j..(i + 1) * g.n];
        match g.init {
            Init::Zero => c.fill(F::zero()),
            Init::Bias(bias) => c.copy_from_slice(&bias[j..]),
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
    for (kk, row) in g.b[start * g.ldb..].chunks(g.ldb).take(depth).enumerate() {
        for (b, &v) in b.iter_mut().zip(&row[j..]) {
            b[kk] = v;
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

/// Cᵀ = Bᵀ·Aᵀ, a vector of C's rows at a time, for contiguous columns of A.
#[inline(always)]
fn along_m<S: Simd, F: Vector<S>, const W: usize>(
    simd: S,
    g: &mut Gemm<F>,
    j: usize,
    start: usize,
    depth: usize,
) {
    for i in (0..g.m).step_by(F::LANES) {
        let rows = F::LANES.min(g.m - i);
        let mut acc = [F::splat(simd, F::zero()); W];
        for kk in start..start + depth {
            let a = &g.a.data[i * g.a.row + kk * g.a.col..][..rows];
            let a = if rows == F::LANES { F::load(a)[0] } else { F::load_part(simd, a) };
            for (acc, &b) in acc.iter_mut().zip(&g.b[kk * g.ldb + j..]) {
                *acc = F::fma(simd, a, F::splat(simd, b), *acc);
            }
        }
        for (v, acc) in acc.into_iter().enumerate() {
            let mut column = [F::zero(); MOST_LANES];
            F::store_part(simd, &mut column[..F::LANES], acc);
            for (r, &c) in column[..rows].iter().enumerate() {
                g.c[(i + r) * g.n + j + v] += c;
            }
        }
    }
}

/// Numbers in the longest vector that is dispatched to: 512 bits of f32.
const MOST_LANES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::rng::seeded;

    fn random<F: Real>(n: usize, rng: &mut crate::numeric::rng::Rng) -> Vec<F> {
        (0..n).map(|_| F::normal(rng)).collect()
    }

    /// The definition, one element at a time.
    fn naive<F: Real>(
        m: usize,
        n: usize,
        k: usize,
        a: Strided<F>,
        b: &[F],
        ldb: usize,
        init: Init<F>,
        c: &mut [F],
    ) {
        for i in 0..m {
            for j in 0..n {
                let mut sum = match init {
                    Init::Zero => F::zero(),
                    Init::Bias(bias) => bias[j],
                    Init::Accumulate => c[i * n + j],
                };
                for kk in 0..k {
                    sum = a.data[i * a.row + kk * a.col].mul_add(b[kk * ldb + j], sum);
                }
                c[i * n + j] = sum;
            }
        }
    }

    fn check<F: Real>() {
        let mut rng = seeded(1);
        for m in [1, 2, 3, 5, 6, 7, 8, 13, 64] {
            for n in [1, 2, 3, 7, 8, 16, 17, 31, 32, 48, 64, 100, 128, 131] {
                for k in [0, 1, 5, 34] {
                    let ldb = n + 3;
                    let (a, b) = (random::<F>(m * k, &mut rng), random::<F>(k * ldb, &mut rng));
                    let (bias, dirty) = (random::<F>(n, &mut rng), random::<F>(m * n, &mut rng));
                    for a in [Strided::rows(&a, k), Strided::transposed(&a, m)] {
                        for init in [Init::Zero, Init::Bias(&bias), Init::Accumulate] {
                            let (mut fast, mut slow) = (dirty.clone(), dirty.clone());
                            gemm((m, n, k), a, &b, ldb, init, &mut fast);
                            naive(m, n, k, a, &b, ldb, init, &mut slow);
                            for (at, (fast, slow)) in fast.iter().zip(&slow).enumerate() {
                                let error = (*fast - *slow).abs().f64();
                                let bound = 4.0 * F::epsilon().f64() * (k as f64 + 4.0);
                                assert!(error <= bound, "{m} x {n} x {k}, {init:?}, {at}: {fast} {slow}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn equals_the_definition() {
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn a_row_does_not_depend_on_the_rows_beside_it() {
        let mut rng = seeded(2);
        let (m, k) = (29, 300);
        for n in [1, 2, 4, 5, 16, 34, 128, 130] {
            let (a, b) = (random::<f32>(m * k, &mut rng), random::<f32>(k * n, &mut rng));
            let mut all = vec![0.0; m * n];
            gemm((m, n, k), Strided::rows(&a, k), &b, n, Init::Zero, &mut all);
            for (i, all) in all.chunks(n).enumerate() {
                let mut one = vec![0.0; n];
                gemm((1, n, k), Strided::rows(&a[i * k..], k), &b, n, Init::Zero, &mut one);
                assert_eq!(all, one, "row {i} of {n} columns");
            }
        }
    }
}

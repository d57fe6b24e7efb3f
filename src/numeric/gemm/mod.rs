//! Matrix products at the sizes of small networks: one kernel, no packing, no allocation.
//!
//! C = init + A·B with B and C row-major and A addressed by two strides, so that x·W (rows of A contiguous)
//! and xᵀ·dy (columns contiguous) are the same code. A network's weights, stored (in, out), are already the
//! order in which the kernel reads them, and a tile of rows keeps A and C in L1: that is why packing, which
//! pays for large matrices, does not pay here.
//!
//! An element of C is the same chain of fused multiply-adds whichever rows are beside it, so a batch gives
//! the same bits as its rows one by one.

mod tail;

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

/// What happens to the numbers of C before they leave their registers.
#[derive(Debug)]
pub enum Epilogue<'a, F> {
    /// Nothing.
    None,
    /// A (leaky) ReLU: max(c, slope·c). What is not finite stays so, though an infinity may become a NaN.
    Leaky {
        /// The slope below 0, at most 1.
        slope: F,
    },
    /// The same, and its derivative in `d`: (m, n).
    LeakyWithSlopes {
        /// The slope below 0.
        slope: F,
        /// Filled with 1 where c > 0, else with the slope.
        d: &'a mut [F],
    },
    /// C ⊙ d, `d`: (m, n): the chain rule of an activation whose derivative is d.
    Times(&'a [F]),
}

/// A matrix (rows, cols) by strides, one of which is 1: element (i, j) is `data[i * row + j * col]`.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a, F> {
    data: &'a [F],
    row: usize,
    col: usize,
    // Not told by the strides, both of which are 1 where a matrix of contiguous columns has one row.
    by_rows: bool,
}

impl<'a, F> Strided<'a, F> {
    /// `data` row-major with `cols` columns.
    pub fn rows(data: &'a [F], cols: usize) -> Self {
        Strided { data, row: cols, col: 1, by_rows: true }
    }

    /// The transpose of `data`, row-major with `cols` columns.
    pub fn transposed(data: &'a [F], cols: usize) -> Self {
        Strided { data, row: 1, col: cols, by_rows: false }
    }

    /// As many times `row` as there are rows in the product.
    pub fn repeated(row: &'a [F]) -> Self {
        Strided { data: row, row: 0, col: 1, by_rows: true }
    }
}

/// C (m, n) = init + A (m, k) · B (k, n); B's rows stand `ldb` apart, C is contiguous.
///
/// # Panics
/// If a slice is shorter than its shape says.
pub fn gemm<F: Real>(
    shape: (usize, usize, usize),
    a: Strided<F>,
    b: &[F],
    ldb: usize,
    init: Init<F>,
    c: &mut [F],
) {
    gemm_with(shape, a, b, ldb, init, Epilogue::None, c);
}

/// [`gemm`], and the epilogue.
///
/// # Panics
/// As [`gemm`].
pub fn gemm_with<F: Real>(
    (m, n, k): (usize, usize, usize),
    a: Strided<F>,
    b: &[F],
    ldb: usize,
    init: Init<F>,
    epilogue: Epilogue<F>,
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
    let slopes = match &epilogue {
        Epilogue::LeakyWithSlopes { d, .. } => d.len(),
        Epilogue::Times(d) => d.len(),
        Epilogue::None | Epilogue::Leaky { .. } => m * n,
    };
    assert!(slopes >= m * n, "d holds {slopes} of {m} x {n}");
    F::run_gemm(Gemm { m, n, k, a, b, ldb, init, epilogue, c });
}

/// XᵀX of the rows x, (n, d): (d, d).
pub fn gram<F: Real>(x: &[F], d: usize) -> Vec<F> {
    let mut c = vec![F::zero(); d * d];
    gemm((d, d, x.len() / d), Strided::transposed(x, d), x, d, Init::Zero, &mut c);
    c
}

/// t (cols, rows) = the transpose of a (rows, cols), both row-major.
pub fn transpose<F: Copy>((rows, cols): (usize, usize), a: &[F], t: &mut [F]) {
    // Blocks of 16 rows: one cache line of t is finished before the next is opened. Their number is known
    // to the compiler, which then needs no loop and no check for each element.
    const BLOCK: usize = 16;
    let whole = rows / BLOCK * BLOCK;
    for first in (0..whole).step_by(BLOCK) {
        let block: [&[F]; BLOCK] = std::array::from_fn(|r| &a[(first + r) * cols..][..cols]);
        for c in 0..cols {
            let t = &mut t[c * rows + first..][..BLOCK];
            for (t, a) in t.iter_mut().zip(block) {
                *t = a[c];
            }
        }
    }
    for r in whole..rows {
        for (c, &a) in a[r * cols..][..cols].iter().enumerate() {
            t[c * rows + r] = a;
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
    epilogue: Epilogue<'a, F>,
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
    fn times(simd: S, a: Self::V, b: Self::V) -> Self::V;
    /// max(v, slope·v).
    fn leaky(simd: S, v: Self::V, slope: Self::V) -> Self::V;
    /// `above` where v > 0, else `below`.
    fn by_sign(simd: S, v: Self::V, above: Self::V, below: Self::V) -> Self::V;
    fn total(simd: S, v: Self::V) -> Self;
}

macro_rules! vector {
    ($type:ty, $v:ident, $lanes:ident, $splat:ident, $load:ident, $load_part:ident, $store:ident, $store_part:ident, $mul_add:ident, $mul:ident, $max:ident, $greater:ident, $select:ident, $sum:ident) => {
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
            fn times(simd: S, a: S::$v, b: S::$v) -> S::$v {
                simd.$mul(a, b)
            }
            #[inline(always)]
            fn leaky(simd: S, v: S::$v, slope: S::$v) -> S::$v {
                simd.$max(v, simd.$mul(slope, v))
            }
            #[inline(always)]
            fn by_sign(simd: S, v: S::$v, above: S::$v, below: S::$v) -> S::$v {
                simd.$select(simd.$greater(v, simd.$splat(0.0)), above, below)
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
    mul_f32s,
    max_f32s,
    greater_than_f32s,
    select_f32s,
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
    mul_f64s,
    max_f64s,
    greater_than_f64s,
    select_f64s,
    reduce_sum_f64s
);

/// Dispatches to this processor's vectors.
pub(super) fn dispatch<F>(gemm: Gemm<F>)
where
    for<'a> Gemm<'a, F>: WithSimd<Output = ()>,
{
    arch().dispatch(gemm)
}

// Blocks of MR rows by NV vectors of columns keep MR·NV accumulators in registers: 24 of 32 with AVX-512, 12
// of 16 else. Columns are the outer loop, so that a panel of B serves all row blocks from L1. A single row
// takes wide blocks instead: it reads each weight once, and eight independent sums hide the multiply-add's
// latency.
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
        tail::tail(simd, &mut g, j);
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

/// The first NV vectors of x.
#[inline(always)]
fn load<S: Simd, F: Vector<S>, const NV: usize>(x: &[F]) -> [F::V; NV] {
    *F::load(&x[..NV * F::LANES]).first_chunk().expect("NV vectors")
}

/// acc += a·b.
#[inline(always)]
fn add_multiple<S: Simd, F: Vector<S>, const NV: usize>(simd: S, acc: &mut [F::V; NV], a: F, b: &[F::V; NV]) {
    let a = F::splat(simd, a);
    for v in 0..NV {
        acc[v] = F::fma(simd, a, b[v], acc[v]);
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
            acc = [load::<S, F, NV>(&bias[j..]); MR];
        }
        Init::Accumulate => {
            for (r, acc) in acc.iter_mut().enumerate() {
                *acc = load::<S, F, NV>(&g.c[(i + r) * g.n + j..]);
            }
        }
    }
    // The same sums for contiguous rows and for contiguous columns of A, so that bounds are checked outside or
    // once for all rows.
    if g.a.col == 1 {
        let mut rows = [g.a.data; MR];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = &g.a.data[(i + r) * g.a.row..][..g.k];
        }
        for kk in 0..g.k {
            let b = load::<S, F, NV>(&g.b[kk * g.ldb + j..]);
            for (acc, row) in acc.iter_mut().zip(rows) {
                add_multiple::<S, F, NV>(simd, acc, row[kk], &b);
            }
        }
    } else {
        for kk in 0..g.k {
            let b = load::<S, F, NV>(&g.b[kk * g.ldb + j..]);
            let column = &g.a.data[kk * g.a.col + i..][..MR];
            for (acc, &a) in acc.iter_mut().zip(column) {
                add_multiple::<S, F, NV>(simd, acc, a, &b);
            }
        }
    }
    // Each case stores for itself: sums that meet again behind the cases would do so on the stack. Plain loops: a
    // closure would not be compiled for these vectors.
    let at = |r: usize| (i + r) * g.n + j..(i + r) * g.n + j + width;
    match &mut g.epilogue {
        Epilogue::None => {
            for (r, acc) in acc.iter().enumerate() {
                F::store(&mut g.c[at(r)]).copy_from_slice(acc);
            }
        }
        Epilogue::Leaky { slope } => {
            let slope = F::splat(simd, *slope);
            for (r, acc) in acc.iter().enumerate() {
                let c = F::store(&mut g.c[at(r)]);
                for v in 0..NV {
                    c[v] = F::leaky(simd, acc[v], slope);
                }
            }
        }
        Epilogue::LeakyWithSlopes { slope, d } => {
            let (one, slope) = (F::splat(simd, F::one()), F::splat(simd, *slope));
            for (r, acc) in acc.iter().enumerate() {
                let (c, d) = (F::store(&mut g.c[at(r)]), F::store(&mut d[at(r)]));
                for v in 0..NV {
                    let slope = F::by_sign(simd, acc[v], one, slope);
                    (c[v], d[v]) = (F::times(simd, slope, acc[v]), slope);
                }
            }
        }
        Epilogue::Times(d) => {
            for (r, acc) in acc.iter().enumerate() {
                let (c, d) = (F::store(&mut g.c[at(r)]), F::load(&d[at(r)]));
                for v in 0..NV {
                    c[v] = F::times(simd, d[v], acc[v]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

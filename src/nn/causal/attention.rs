use super::norm::normalize_parts;
use super::rotary::Rotary;
use crate::nn::tape::grow;
use crate::numeric::Real;
use crate::numeric::gemm::{Init, Strided, gemm, transpose};
use crate::numeric::lanes::dot;
use crate::numeric::simd::vectorize;
use crate::numeric::softmax::softmax_row;

/// Rows of scores that are computed together: with a few hundred keys they stay in L1.
const QUERIES: usize = 32;

/// Keys are padded to a multiple of the widest vector, so that a score is the same sum in a sequence of any length.
pub(super) const KEYS: usize = 16;

/// The number of keys for which there is room behind `keys` keys.
pub(super) fn padded(keys: usize) -> usize {
    keys.next_multiple_of(KEYS)
}

/// Attention of several heads (Vaswani et al. 2017, eq. 1) with rotary positions and normalized queries and keys.
///
/// For one head of size m, with u = x/rms(x) of a row x of queries or keys (Henry et al. 2020), a learned gain g, and
/// the turn R of its place:
///
/// q̂ = R(u_q⊙g_q)/√m, k̂ = R(u_k⊙g_k), S = q̂·k̂ᵀ, P = softmax(S), o = P·v,
///
/// where row i of S ends at key i if the attention is causal.
///
/// Backward, with G = do: dv = Pᵀ·G, dP = G·vᵀ, dS = P⊙(dP − Σⱼ P⊙dP), since ∂Pⱼ/∂Sₗ = Pⱼ(δⱼₗ − Pₗ); dq̂ = dS·k̂, dk̂ =
/// dSᵀ·q̂; and back through the turn, the gain and the norm.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attention {
    pub(super) heads: usize,
    /// Columns of a head, an even number.
    pub(super) size: usize,
    pub(super) causal: bool,
}

/// Rows of scores: the first, how many, the keys that they see, and where their shares start.
struct Block {
    start: usize,
    rows: usize,
    keys: usize,
    at: usize,
}

/// The buffers of one head.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch<F> {
    /// q̂: (places, size)
    q: Vec<F>,
    /// k̂: (keys, size), and zeros behind the last place.
    k: Vec<F>,
    /// k̂ᵀ or vᵀ: (size, keys)
    across: Vec<F>,
    /// Of a block: (rows, size)
    out: Vec<F>,
    /// Of a block: (rows, keys)
    ds: Vec<F>,
    dq: Vec<F>,
    dk: Vec<F>,
    dv: Vec<F>,
}

impl Attention {
    pub(super) fn width(&self) -> usize {
        self.heads * self.size
    }

    /// 1/√size, by which scores are scaled.
    pub(super) fn scale<F: Real>(&self) -> F {
        F::of((self.size as f64).sqrt().recip())
    }

    fn blocks(&self, places: usize) -> impl Iterator<Item = Block> {
        let causal = self.causal;
        let mut at = 0;
        (0..places).step_by(QUERIES).map(move |start| {
            let rows = QUERIES.min(places - start);
            let keys = padded(if causal { start + rows } else { places });
            at += rows * keys;
            Block { start, rows, keys, at: at - rows * keys }
        })
    }

    /// The shares that one head keeps of a sequence of `places` places.
    fn kept(&self, places: usize) -> usize {
        self.blocks(places).last().map_or(0, |block| block.at + block.rows * block.keys)
    }

    /// The shares that all heads keep.
    pub(super) fn shares(&self, places: usize) -> usize {
        self.heads * self.kept(places)
    }

    /// q̂ and k̂ of head h, from u.
    fn turn<F: Real>(&self, rotary: &Rotary<F>, gains: &[F], qkv: &[F], h: usize, scratch: &mut Scratch<F>) {
        let (size, width) = (self.size, self.width());
        let places = qkv.len() / (3 * width);
        let scale = self.scale();
        let q = grow(&mut scratch.q, places * size);
        let k = grow(&mut scratch.k, padded(places) * size);
        k[places * size..].fill(F::zero());
        let (gq, gk) = (&gains[h * size..][..size], &gains[width + h * size..][..size]);
        vectorize(
            #[inline(always)]
            move || {
                let rows = qkv.chunks_exact(3 * width).zip(q.chunks_exact_mut(size));
                for (place, ((row, q), k)) in rows.zip(k.chunks_exact_mut(size)).enumerate() {
                    rotary.turn(place, scale, &row[h * size..][..size], gq, q);
                    rotary.turn(place, F::one(), &row[width + h * size..][..size], gk, k);
                }
            },
        );
    }

    /// o of one sequence. qkv: (places, 3 width), whose queries and keys become u; s: (places, 2 heads), their 1/rms;
    /// gains: g_q and g_k, (2 width).
    pub(super) fn forward<F: Real>(
        &self,
        rotary: &Rotary<F>,
        gains: &[F],
        qkv: &mut [F],
        s: &mut [F],
        shares: &mut [F],
        o: &mut [F],
        scratch: &mut Scratch<F>,
    ) {
        let (size, width) = (self.size, self.width());
        let places = o.len() / width;
        let keys = padded(places);
        normalize_parts(size, (2 * width, 3 * width), qkv, s);
        for h in 0..self.heads {
            let shares = &mut shares[h * self.kept(places)..];
            self.turn(rotary, gains, qkv, h, scratch);
            let across = grow(&mut scratch.across, size * keys);
            transpose((keys, size), &scratch.k[..keys * size], across);
            for block in self.blocks(places) {
                let Block { start, rows, keys: seen, at } = block;
                let shares = &mut shares[at..][..rows * seen];
                let q = Strided::rows(&scratch.q[start * size..][..rows * size], size);
                gemm((rows, seen, size), q, across, keys, Init::Zero, shares);
                self.mask_and_share(places, start, seen, shares);
                let (out, v) = (grow(&mut scratch.out, rows * size), &qkv[2 * width + h * size..]);
                gemm(
                    (rows, size, seen.min(places)),
                    Strided::rows(shares, seen),
                    v,
                    3 * width,
                    Init::Zero,
                    out,
                );
                for (o, out) in o[start * width..].chunks_exact_mut(width).zip(out.chunks_exact(size)) {
                    o[h * size..][..size].copy_from_slice(out);
                }
            }
        }
    }

    /// Scores, one row of `seen` per query from place `start` on, become shares.
    fn mask_and_share<F: Real>(&self, places: usize, start: usize, seen: usize, scores: &mut [F]) {
        let causal = self.causal;
        vectorize(
            #[inline(always)]
            move || {
                for (r, row) in scores.chunks_exact_mut(seen).enumerate() {
                    softmax_row(if causal { start + r + 1 } else { places }, row);
                }
            },
        );
    }

    /// dqkv: (places, 3 width), and dgains += …, after `forward` on the same sequence.
    pub(super) fn backward<F: Real>(
        &self,
        rotary: &Rotary<F>,
        gains: &[F],
        (qkv, s, shares): (&[F], &[F], &[F]),
        (o, do_): (&[F], &[F]),
        dgains: &mut [F],
        dqkv: &mut [F],
        scratch: &mut Scratch<F>,
    ) {
        let (size, width) = (self.size, self.width());
        let places = o.len() / width;
        let keys = padded(places);
        for h in 0..self.heads {
            let shares = &shares[h * self.kept(places)..];
            self.turn(rotary, gains, qkv, h, scratch);
            let Scratch { q, k, across, ds, dq, dk, dv, .. } = scratch;
            // vᵀ by way of dk, which is free.
            let (across, v) = (grow(across, size * keys), grow(dk, keys * size));
            v[places * size..].fill(F::zero());
            for (v, row) in v.chunks_exact_mut(size).zip(qkv.chunks_exact(3 * width)) {
                v.copy_from_slice(&row[2 * width + h * size..][..size]);
            }
            transpose((keys, size), v, across);
            let (dq, dk) = (grow(dq, places * size), grow(dk, keys * size));
            let dv = grow(dv, keys * size);
            dk.fill(F::zero());
            dv.fill(F::zero());
            for Block { start, rows, keys: seen, at } in self.blocks(places) {
                let shares = &shares[at..][..rows * seen];
                let g = &do_[start * width + h * size..];
                let ds = grow(ds, rows * seen);
                gemm((rows, seen, size), Strided::rows(g, width), across, keys, Init::Zero, ds);
                center(seen, shares, ds);
                let (at_q, to_q) =
                    (&q[start * size..][..rows * size], &mut dq[start * size..][..rows * size]);
                gemm((rows, size, seen), Strided::rows(ds, seen), k, size, Init::Zero, to_q);
                let across = Strided::transposed(ds, seen);
                gemm((seen, size, rows), across, at_q, size, Init::Accumulate, &mut dk[..seen * size]);
                let across = Strided::transposed(shares, seen);
                gemm((seen, size, rows), across, g, width, Init::Accumulate, &mut dv[..seen * size]);
            }
            for (to, dv) in dqkv.chunks_exact_mut(3 * width).zip(dv.chunks_exact(size)) {
                to[2 * width + h * size..][..size].copy_from_slice(dv);
            }
            for (part, d, factor, place) in [(0, dq, self.scale(), 0), (1, dk, F::one(), 1)] {
                let column = part * width + h * size;
                let norms = (s, 2 * self.heads, place * self.heads + h);
                let (g, dg) = (&gains[column..][..size], &mut dgains[column..][..size]);
                turn_back(rotary, factor, (qkv, 3 * width, column), norms, g, d, dg, dqkv);
            }
        }
    }
}

/// dS = P⊙(dP − Σⱼ P⊙dP), row by row, in place of dP.
fn center<F: Real>(seen: usize, shares: &[F], ds: &mut [F]) {
    vectorize(
        #[inline(always)]
        move || {
            for (p, ds) in shares.chunks_exact(seen).zip(ds.chunks_exact_mut(seen)) {
                let along = dot(p, ds);
                ds.iter_mut().zip(p).for_each(|(ds, &p)| *ds = p * (*ds - along));
            }
        },
    );
}

/// From the gradient d of factor·R(u⊙g), (places, size), to that of x, u = x·s = x/rms(x), and of g: with e =
/// factor·Rᵀd and du = g⊙e, dg += u⊙e and dx = s(du − u·mean(u⊙du)). u and dx are columns from `column` on of rows of
/// `row` columns; s is column `norm` of rows of `norms`.
fn turn_back<F: Real>(
    rotary: &Rotary<F>,
    factor: F,
    (u, row, column): (&[F], usize, usize),
    (s, norms, norm): (&[F], usize, usize),
    g: &[F],
    d: &mut [F],
    dg: &mut [F],
    dx: &mut [F],
) {
    let size = g.len();
    let share = F::of((size as f64).recip());
    vectorize(
        #[inline(always)]
        move || {
            let rows = u.chunks_exact(row).zip(s.chunks_exact(norms)).zip(d.chunks_exact_mut(size));
            for (place, (((u, s), d), dx)) in rows.zip(dx.chunks_exact_mut(row)).enumerate() {
                let (u, dx, s) = (&u[column..][..size], &mut dx[column..][..size], s[norm]);
                rotary.turn_back(place, factor, d);
                for (((dg, d), &u), &g) in dg.iter_mut().zip(&mut *d).zip(u).zip(g) {
                    *dg += u * *d;
                    *d *= g;
                }
                let along = share * dot(u, d);
                for ((dx, &u), &d) in dx.iter_mut().zip(u).zip(&*d) {
                    *dx = s * (d - u * along);
                }
            }
        },
    );
}

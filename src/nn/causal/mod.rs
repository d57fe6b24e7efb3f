//! A causal transformer: from a sequence of symbols to scores of the next one, at every place.

mod attention;
mod decoding;
mod norm;
mod rotary;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::attention::{Attention, Scratch};
pub use self::decoding::Decoding;
use self::norm::{add_slope, normalize, scale};
use self::rotary::Rotary;
use super::tape::grow;
use super::{Layout, Weights};
use crate::numeric::Real;
use crate::numeric::gemm::{Epilogue, Init, Strided, gemm, gemm_with, transpose};
use crate::numeric::rng::Rng;
use crate::numeric::simd::vectorize;

/// The width of a block's hidden layer, as a multiple of the width of the network.
const EXPANSION: usize = 4;

/// The standard deviation at which embeddings start.
const START: f64 = 0.02;

/// A decoder-only transformer (Vaswani et al. 2017; Radford et al. 2019) in its modern form: logits of the next
/// symbol at each place of a sequence, which depend on the symbols up to that place only.
///
/// With N(h) = h/√(mean h² + ε)⊙g of a row (RMSNorm, Zhang & Sennrich 2019), h the row E of its symbol, and for each block
///
/// ```text
/// h ← h + A(N₁(h)·Wqkv)·Wo         A: attention with rotary positions and normalized queries and keys
/// h ← h + f(N₂(h)·W₁)·W₂           f(a) = ½ max(a, 0)²
/// logits = N(h)·Eᵀ                 the head shares its weights with the embedding (Press & Wolf 2017)
/// ```
///
/// There are no biases. Wo and W₂ start at 0, so every block starts as the identity. f is the squared ReLU (So et al.
/// 2021); the factor makes its derivative the ReLU itself. The derivatives of the attention and of the norms stand
/// beside them.
///
/// The parameters are E (stored as (width, symbols), as the head reads it), the blocks' g₁, Wqkv, g_q, g_k, Wo, g₂,
/// W₁, W₂, and the last g.
///
/// ```
/// use quadrivium::nn::{CausalNetwork, CausalWorkspace};
/// let net = CausalNetwork::new(27, 16, 2, 1);
/// let mut p = vec![0.0f32; net.num_params()];
/// net.init(&mut p, &mut quadrivium::seeded(0));
/// let mut workspace = CausalWorkspace::default();
/// let logits = net.infer(&p, &[26, 3, 5], 3, &mut workspace).to_vec();
/// // The future does not change the past.
/// let other = net.infer(&p, &[26, 3, 9], 3, &mut workspace);
/// assert_eq!(logits[..2 * 27], other[..2 * 27]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CausalNetwork {
    symbols: usize,
    blocks: usize,
    attention: Attention,
}

/// The ranges of a block's parameters.
struct BlockParts {
    norm: Range<usize>,
    qkv: Range<usize>,
    /// g_q and g_k.
    gains: Range<usize>,
    out: Range<usize>,
    norm_mlp: Range<usize>,
    up: Range<usize>,
    down: Range<usize>,
}

/// What `forward` keeps of a block.
#[derive(Debug, Clone, Default)]
struct Kept<F> {
    /// N₁ without its gain, and 1/rms.
    u: Vec<F>,
    s: Vec<F>,
    /// Normalized queries and keys, and values: (tokens, 3 width).
    qkv: Vec<F>,
    /// 1/rms of queries and keys: (tokens, 2 heads).
    norms: Vec<F>,
    shares: Vec<F>,
    /// The attention's output.
    o: Vec<F>,
    /// N₂ without its gain, and 1/rms.
    u_mlp: Vec<F>,
    s_mlp: Vec<F>,
    /// max(a, 0): (tokens, 4 width).
    r: Vec<F>,
}

/// The buffers of a [`CausalNetwork`], sized on first use and kept.
#[derive(Debug, Clone, Default)]
pub struct CausalWorkspace<F> {
    rotary: Rotary<F>,
    scratch: Scratch<F>,
    blocks: Vec<Kept<F>>,
    h: Vec<F>,
    y: Vec<F>,
    wide: Vec<F>,
    /// The last norm without its gain, and 1/rms.
    u: Vec<F>,
    s: Vec<F>,
    logits: Vec<F>,
    dh: Vec<F>,
    dy: Vec<F>,
    dwide: Vec<F>,
}

impl CausalNetwork {
    /// A network for sequences of `symbols` symbols, of `blocks` blocks with `heads` heads.
    ///
    /// # Panics
    /// Unless `heads` divides `width` into parts of an even size.
    pub fn new(symbols: usize, width: usize, heads: usize, blocks: usize) -> Self {
        assert!(heads > 0 && width.is_multiple_of(2 * heads), "{width} columns for {heads} heads");
        CausalNetwork { symbols, blocks, attention: Attention { heads, size: width / heads, causal: true } }
    }

    /// The number of symbols: the columns of the logits.
    pub fn symbols(&self) -> usize {
        self.symbols
    }

    fn width(&self) -> usize {
        self.attention.width()
    }

    /// Length of p.
    pub fn num_params(&self) -> usize {
        self.last_norm().end
    }

    /// E.
    fn embedding(&self) -> Range<usize> {
        0..self.symbols * self.width()
    }

    fn block(&self, block: usize) -> BlockParts {
        let d = self.width();
        let wide = EXPANSION * d * d;
        let mut start = self.embedding().end + block * (4 * d * d + 2 * wide + 4 * d);
        let mut next = |len: usize| {
            start += len;
            start - len..start
        };
        BlockParts {
            norm: next(d),
            qkv: next(3 * d * d),
            gains: next(2 * d),
            out: next(d * d),
            norm_mlp: next(d),
            up: next(wide),
            down: next(wide),
        }
    }

    /// g.
    fn last_norm(&self) -> Range<usize> {
        let start = self.block(self.blocks).norm.start;
        start..start + self.width()
    }

    /// Appends the tensors of p.
    pub fn describe(&self, layout: &mut Layout) {
        let d = self.width();
        layout.push("embedding".into(), &[d, self.symbols]);
        for block in 0..self.blocks {
            let parts: [(&str, &[usize]); 8] = [
                ("norm", &[d]),
                ("qkv", &[d, 3 * d]),
                ("query_gain", &[d]),
                ("key_gain", &[d]),
                ("out", &[d, d]),
                ("mlp_norm", &[d]),
                ("up", &[d, EXPANSION * d]),
                ("down", &[EXPANSION * d, d]),
            ];
            parts.into_iter().for_each(|(name, shape)| layout.push(format!("block.{block}.{name}"), shape));
        }
        layout.push("norm".into(), &[d]);
    }

    /// The parameters to which weight decay does not belong: the embedding and the gains of the norms.
    pub fn undecayed(&self) -> Vec<Range<usize>> {
        let mut ranges = vec![self.embedding()];
        for block in (0..self.blocks).map(|block| self.block(block)) {
            ranges.extend([block.norm, block.gains, block.norm_mlp]);
        }
        ranges.push(self.last_norm());
        ranges
    }

    /// Draws starting parameters.
    pub fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        let mut normal = |p: &mut [F], sd: f64| p.iter_mut().for_each(|p| *p = F::of(sd) * F::normal(rng));
        normal(&mut p[self.embedding()], START);
        let sd = (self.width() as f64).sqrt().recip();
        for block in (0..self.blocks).map(|block| self.block(block)) {
            normal(&mut p[block.qkv], sd);
            normal(&mut p[block.up], sd);
            p[block.out].fill(F::zero());
            p[block.down].fill(F::zero());
            [block.norm, block.gains, block.norm_mlp].into_iter().for_each(|gains| p[gains].fill(F::one()));
        }
        p[self.last_norm()].fill(F::one());
    }

    /// t = p with each matrix transposed.
    pub fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        let d = self.width();
        let mut matrix = |shape, part: Range<usize>| transpose(shape, &p[part.clone()], &mut t[part]);
        matrix((d, self.symbols), self.embedding());
        for block in (0..self.blocks).map(|block| self.block(block)) {
            matrix((d, 3 * d), block.qkv);
            matrix((d, d), block.out);
            matrix((d, EXPANSION * d), block.up);
            matrix((EXPANSION * d, d), block.down);
        }
    }

    /// Logits of the next symbol at each place, (tokens, symbols), of sequences of `len` symbols one after the other.
    /// Nothing is kept for `backward`.
    pub fn infer<'a, F: Real>(
        &self,
        p: &[F],
        inputs: &[u32],
        len: usize,
        workspace: &'a mut CausalWorkspace<F>,
    ) -> &'a mut [F] {
        self.run(p, inputs, len, workspace, false)
    }

    /// The same, keeping what `backward` needs. The caller turns the logits into their gradient, in place.
    pub fn forward<'a, F: Real>(
        &self,
        p: &[F],
        inputs: &[u32],
        len: usize,
        workspace: &'a mut CausalWorkspace<F>,
    ) -> &'a mut [F] {
        self.run(p, inputs, len, workspace, true)
    }

    fn run<'a, F: Real>(
        &self,
        p: &[F],
        inputs: &[u32],
        len: usize,
        workspace: &'a mut CausalWorkspace<F>,
        keep: bool,
    ) -> &'a mut [F] {
        let (n, d, heads, wide) =
            (inputs.len(), self.width(), self.attention.heads, EXPANSION * self.width());
        let CausalWorkspace { rotary, scratch, blocks, h, y, wide: hidden, u, s, logits, .. } = workspace;
        rotary.reach(len, self.attention.size);
        let (h, y, hidden) = (grow(h, n * d), grow(y, n * d), grow(hidden, n * wide));
        self.embed(p, inputs, h);
        blocks.resize_with(blocks.len().max(if keep { self.blocks } else { 1 }), Kept::default);
        let shares = self.attention.shares(len);
        for b in 0..self.blocks {
            let (parts, kept) = (self.block(b), &mut blocks[if keep { b } else { 0 }]);
            let (u, o) = (grow(&mut kept.u, n * d), grow(&mut kept.o, n * d));
            let (qkv, norms) = (grow(&mut kept.qkv, 3 * n * d), grow(&mut kept.norms, 2 * n * heads));
            normalize(d, h, u, grow(&mut kept.s, n));
            scale(u, &p[parts.norm], y);
            gemm((n, 3 * d, d), Strided::rows(y, d), &p[parts.qkv], 3 * d, Init::Zero, qkv);
            let sequences = qkv.chunks_exact_mut(3 * len * d).zip(norms.chunks_exact_mut(2 * len * heads));
            let all = grow(&mut kept.shares, n / len * shares).chunks_exact_mut(shares);
            for (((qkv, norms), shares), o) in sequences.zip(all).zip(o.chunks_exact_mut(len * d)) {
                self.attention.forward(rotary, &p[parts.gains.clone()], qkv, norms, shares, o, scratch);
            }
            gemm((n, d, d), Strided::rows(o, d), &p[parts.out], d, Init::Accumulate, h);
            let u = grow(&mut kept.u_mlp, n * d);
            normalize(d, h, u, grow(&mut kept.s_mlp, n));
            scale(u, &p[parts.norm_mlp], y);
            let r = grow(&mut kept.r, n * wide);
            let relu = Epilogue::Leaky { slope: F::zero() };
            gemm_with((n, wide, d), Strided::rows(y, d), &p[parts.up], wide, Init::Zero, relu, r);
            half_square(r, hidden);
            gemm((n, d, wide), Strided::rows(hidden, wide), &p[parts.down], d, Init::Accumulate, h);
        }
        let u = grow(u, n * d);
        normalize(d, h, u, grow(s, n));
        scale(u, &p[self.last_norm()], y);
        let logits = grow(logits, n * self.symbols);
        let head = &p[self.embedding()];
        gemm((n, self.symbols, d), Strided::rows(y, d), head, self.symbols, Init::Zero, logits);
        logits
    }

    /// h = E[input], row by row.
    fn embed<F: Real>(&self, p: &[F], inputs: &[u32], h: &mut [F]) {
        let columns = &p[self.embedding()];
        for (&input, h) in inputs.iter().zip(h.chunks_exact_mut(self.width())) {
            let column = columns[input as usize..].iter().step_by(self.symbols);
            h.iter_mut().zip(column).for_each(|(h, &e)| *h = e);
        }
    }

    /// dp += ∂⟨dlogits, logits⟩/∂p, after `forward` on the same inputs, whose logits have become dlogits.
    pub fn backward<F: Real>(
        &self,
        w: Weights<F>,
        inputs: &[u32],
        len: usize,
        dp: &mut [F],
        workspace: &mut CausalWorkspace<F>,
    ) {
        let (n, d, heads, wide) =
            (inputs.len(), self.width(), self.attention.heads, EXPANSION * self.width());
        let CausalWorkspace { rotary, scratch, blocks, y, wide: hidden, u, s, logits, dh, dy, dwide, .. } =
            workspace;
        let (y, hidden, dwide) = (grow(y, n * d), grow(hidden, n * wide), grow(dwide, n * wide));
        let (dh, dy) = (grow(dh, n * d), grow(dy, n * d));
        let (symbols, dlogits) = (self.symbols, &logits[..n * self.symbols]);
        let (head, gain) = (self.embedding(), self.last_norm());
        gemm((n, d, symbols), Strided::rows(dlogits, symbols), &w.t[head.clone()], d, Init::Zero, dy);
        let u = &u[..n * d];
        scale(u, &w.p[gain.clone()], y);
        let across = Strided::transposed(y, d);
        gemm((d, symbols, n), across, dlogits, symbols, Init::Accumulate, &mut dp[head.clone()]);
        dh.fill(F::zero());
        add_slope((u, &s[..n]), &w.p[gain.clone()], dy, &mut dp[gain], dh);
        let shares = self.attention.shares(len);
        for b in (0..self.blocks).rev() {
            let (parts, kept) = (self.block(b), &blocks[b]);
            let (u, r) = (&kept.u_mlp[..n * d], &kept.r[..n * wide]);
            // f′ = max(a, 0).
            let slopes = Epilogue::Times(r);
            let down = &w.t[parts.down.clone()];
            gemm_with((n, wide, d), Strided::rows(dh, d), down, wide, Init::Zero, slopes, dwide);
            half_square(r, hidden);
            let across = Strided::transposed(hidden, wide);
            gemm((wide, d, n), across, dh, d, Init::Accumulate, &mut dp[parts.down]);
            scale(u, &w.p[parts.norm_mlp.clone()], y);
            let across = Strided::transposed(y, d);
            gemm((d, wide, n), across, dwide, wide, Init::Accumulate, &mut dp[parts.up.clone()]);
            gemm((n, d, wide), Strided::rows(dwide, wide), &w.t[parts.up], d, Init::Zero, dy);
            let gain = parts.norm_mlp;
            add_slope((u, &kept.s_mlp[..n]), &w.p[gain.clone()], dy, &mut dp[gain], dh);

            let (u, o) = (&kept.u[..n * d], &kept.o[..n * d]);
            gemm((n, d, d), Strided::rows(dh, d), &w.t[parts.out.clone()], d, Init::Zero, dy);
            let across = Strided::transposed(o, d);
            gemm((d, d, n), across, dh, d, Init::Accumulate, &mut dp[parts.out]);
            let dqkv = &mut dwide[..3 * n * d];
            let (gains, dgains) = (&w.p[parts.gains.clone()], &mut dp[parts.gains]);
            for (sequence, dqkv) in dqkv.chunks_exact_mut(3 * len * d).enumerate() {
                let part = |width: usize| sequence * width..(sequence + 1) * width;
                let kept_of = (
                    &kept.qkv[part(3 * len * d)],
                    &kept.norms[part(2 * len * heads)],
                    &kept.shares[part(shares)],
                );
                let of = (&o[part(len * d)], &dy[part(len * d)]);
                self.attention.backward(rotary, gains, kept_of, of, dgains, dqkv, scratch);
            }
            scale(u, &w.p[parts.norm.clone()], y);
            let across = Strided::transposed(y, d);
            gemm((d, 3 * d, n), across, dqkv, 3 * d, Init::Accumulate, &mut dp[parts.qkv.clone()]);
            gemm((n, d, 3 * d), Strided::rows(dqkv, 3 * d), &w.t[parts.qkv], d, Init::Zero, dy);
            add_slope((u, &kept.s[..n]), &w.p[parts.norm.clone()], dy, &mut dp[parts.norm], dh);
        }
        let columns = &mut dp[head];
        for (&input, dh) in inputs.iter().zip(dh.chunks_exact(d)) {
            let column = columns[input as usize..].iter_mut().step_by(symbols);
            column.zip(dh).for_each(|(e, &dh)| *e += dh);
        }
    }
}

/// y = ½ r².
fn half_square<F: Real>(r: &[F], y: &mut [F]) {
    let half = F::of(0.5);
    vectorize(
        #[inline(always)]
        move || y.iter_mut().zip(r).for_each(|(y, &r)| *y = half * r * r),
    );
}

use super::attention::{KEYS, padded};
use super::norm::{normalize, normalize_parts, scale};
use super::{CausalNetwork, EXPANSION, Rotary, half_square};
use crate::numeric::Real;
use crate::numeric::gemm::{Epilogue, Init, Strided, gemm, gemm_with};
use crate::numeric::simd::vectorize;
use crate::numeric::softmax::softmax_row;

/// Several sequences that grow in step, with the keys and values of all their symbols: a next symbol costs one pass
/// of one place, and gives the same bits as [`CausalNetwork::infer`] on the whole sequence.
#[derive(Debug, Clone)]
pub struct Decoding<F> {
    sequences: usize,
    len: usize,
    /// Places for which there is room, padded as scores are.
    room: usize,
    rotary: Rotary<F>,
    /// For each block k̂ᵀ, (sequences, heads, size, room), and v, (sequences, room, width).
    keys: Vec<Vec<F>>,
    values: Vec<Vec<F>>,
    h: Vec<F>,
    u: Vec<F>,
    s: Vec<F>,
    y: Vec<F>,
    qkv: Vec<F>,
    norms: Vec<F>,
    q: Vec<F>,
    k: Vec<F>,
    /// Of one sequence: (heads, room)
    scores: Vec<F>,
    wide: Vec<F>,
    hidden: Vec<F>,
    logits: Vec<F>,
}

impl<F: Real> Decoding<F> {
    /// Empty sequences for `network`, with room for `places` symbols each.
    pub fn new(network: &CausalNetwork, sequences: usize, places: usize) -> Self {
        let (d, size, n) = (network.width(), network.attention.size, sequences);
        let (room, wide) = (padded(places), EXPANSION * d);
        let mut rotary = Rotary::default();
        rotary.reach(places, size);
        let zeros = |len: usize| vec![F::zero(); len];
        let cache = || (0..network.blocks).map(|_| zeros(n * d * room)).collect();
        Decoding {
            sequences,
            len: 0,
            room,
            rotary,
            keys: cache(),
            values: cache(),
            h: zeros(n * d),
            u: zeros(n * d),
            s: zeros(n),
            y: zeros(n * d),
            qkv: zeros(3 * n * d),
            norms: zeros(2 * n * network.attention.heads),
            q: zeros(size),
            k: zeros(size),
            scores: zeros(network.attention.heads * room),
            wide: zeros(n * wide),
            hidden: zeros(n * wide),
            logits: zeros(n * network.symbols),
        }
    }

    /// Symbols in each sequence.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all symbols behind the first `len`.
    pub fn rewind(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl CausalNetwork {
    /// Appends one symbol to each sequence; logits of the next ones, (sequences, symbols).
    ///
    /// # Panics
    /// If there is no room for another symbol, or unless there is one symbol per sequence.
    pub fn push<'a, F: Real>(&self, p: &[F], inputs: &[u32], state: &'a mut Decoding<F>) -> &'a [F] {
        let (n, d, wide) = (state.sequences, self.width(), EXPANSION * self.width());
        assert!(inputs.len() == n && state.len < state.room, "no room for another symbol");
        let symbols = self.symbols;
        self.embed(p, inputs, &mut state.h);
        for b in 0..self.blocks {
            let parts = self.block(b);
            normalize(d, &state.h, &mut state.u, &mut state.s);
            scale(&state.u, &p[parts.norm], &mut state.y);
            let (y, qkv) = (Strided::rows(&state.y, d), &mut state.qkv);
            gemm((n, 3 * d, d), y, &p[parts.qkv], 3 * d, Init::Zero, qkv);
            self.attend(&p[parts.gains], b, state);
            gemm((n, d, d), Strided::rows(&state.y, d), &p[parts.out], d, Init::Accumulate, &mut state.h);
            normalize(d, &state.h, &mut state.u, &mut state.s);
            scale(&state.u, &p[parts.norm_mlp], &mut state.y);
            let (y, relu) = (Strided::rows(&state.y, d), Epilogue::Leaky { slope: F::zero() });
            gemm_with((n, wide, d), y, &p[parts.up], wide, Init::Zero, relu, &mut state.wide);
            half_square(&state.wide, &mut state.hidden);
            let hidden = Strided::rows(&state.hidden, wide);
            gemm((n, d, wide), hidden, &p[parts.down], d, Init::Accumulate, &mut state.h);
        }
        normalize(d, &state.h, &mut state.u, &mut state.s);
        scale(&state.u, &p[self.last_norm()], &mut state.y);
        let (y, head) = (Strided::rows(&state.y, d), &p[self.embedding()]);
        gemm((n, symbols, d), y, head, symbols, Init::Zero, &mut state.logits);
        state.len += 1;
        &state.logits
    }

    /// The attention of block b at the newest place: from `qkv` to `y`.
    fn attend<F: Real>(&self, gains: &[F], b: usize, state: &mut Decoding<F>) {
        let Decoding { len: place, room, rotary, keys, values, y, qkv, norms, q, k, scores, .. } = state;
        let (place, room, d, size) = (*place, *room, self.width(), self.attention.size);
        let seen = padded(place + 1);
        let (keys, values, scale) = (&mut keys[b], &mut values[b], self.attention.scale());
        normalize_parts(size, (2 * d, 3 * d), qkv, norms);
        for (sequence, (qkv, y)) in qkv.chunks_exact(3 * d).zip(y.chunks_exact_mut(d)).enumerate() {
            let keys = &mut keys[sequence * d * room..][..d * room];
            let values = &mut values[sequence * d * room..][..d * room];
            values[place * d..][..d].copy_from_slice(&qkv[2 * d..]);
            for h in 0..self.attention.heads {
                let columns = h * size..(h + 1) * size;
                let keys = &mut keys[h * size * room..][..size * room];
                rotary.turn(place, scale, &qkv[columns.clone()], &gains[columns.clone()], q);
                let of_keys = d + columns.start..d + columns.end;
                rotary.turn(place, F::one(), &qkv[of_keys.clone()], &gains[of_keys], k);
                keys[place..].iter_mut().step_by(room).zip(&*k).for_each(|(to, &k)| *to = k);
                let scores = &mut scores[h * room..][..seen];
                gemm((1, seen, size), Strided::rows(q, size), keys, room, Init::Zero, scores);
                vectorize(
                    #[inline(always)]
                    || softmax_row(place + 1, scores),
                );
            }
            let values = &values[..(place + 1) * d];
            // Columns that do not fill vectors are summed in another order by the product, which is then taken.
            if size.is_multiple_of(KEYS) {
                weigh((size, room), scores, values, y);
                continue;
            }
            for (h, y) in y.chunks_exact_mut(size).enumerate() {
                let shares = Strided::rows(&scores[h * room..][..place + 1], place + 1);
                gemm((1, size, place + 1), shares, &values[h * size..], d, Init::Zero, y);
            }
        }
    }
}

/// Columns of values that are summed together: a few vectors, so that no sum waits for another, which stay in registers
/// from place to place.
const TOGETHER: usize = 4 * KEYS;

/// y = P·v of all heads side by side: (heads · size), a multiple of [`KEYS`] each. A row of `shares`, (heads, room),
/// belongs to each head, and rows v: (places, heads · size). The sums are those of one product per head.
fn weigh<F: Real>((size, room): (usize, usize), shares: &[F], v: &[F], y: &mut [F]) {
    let width = y.len();
    vectorize(
        #[inline(always)]
        move || {
            for (block, y) in y.chunks_mut(TOGETHER).enumerate() {
                let first = block * TOGETHER;
                // The last block may be narrower.
                let head = |part: usize| (first + part * KEYS).min(width - 1) / size * room;
                let heads: [usize; TOGETHER / KEYS] = std::array::from_fn(head);
                let mut sums = [F::zero(); TOGETHER];
                for (place, v) in v.chunks_exact(width).enumerate() {
                    let v = &v[first..][..y.len()];
                    for ((sums, v), &head) in
                        sums.chunks_exact_mut(KEYS).zip(v.chunks_exact(KEYS)).zip(&heads)
                    {
                        let share = shares[head + place];
                        sums.iter_mut().zip(v).for_each(|(sum, &v)| *sum = share.mul_add(v, *sum));
                    }
                }
                y.copy_from_slice(&sums[..y.len()]);
            }
        },
    );
}

use rand::seq::SliceRandom;

use super::Mixing;
use crate::numeric::Real;
use crate::numeric::rng::Rng;
#[cfg(feature = "onnx")]
use crate::onnx::{Attribute, Graph, Value};

/// y = W x between two layers: an order of the coordinates, alone or after a learned triangular pair. The rows run
/// along the vectors: x, y: (d, n).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mixer {
    /// y_i is entry order[i] of the vector that is reordered: W = P, or W = P·L·(U + diag eˢ).
    order: Vec<usize>,
    /// Whether there is a triangular pair; p is then one (d, d) matrix: L below its diagonal, s on it, U
    /// above. (Kingma & Dhariwal 2018, eq. 10.)
    learned: bool,
}

impl Mixer {
    /// Creates the mixer between layers of `dim` coordinates, of which the next layer passes the first `passing`
    /// unchanged.
    pub fn new(mixing: Mixing, dim: usize, passing: usize, rng: &mut Rng) -> Self {
        let mut order: Vec<usize> = (0..dim).rev().collect();
        if mixing == Mixing::Permutation {
            // An order that keeps the same coordinates passing is rejected: in two dimensions half of all orders
            // would.
            while {
                order.shuffle(rng);
                passing > 0 && order[..passing].iter().all(|&from| from < passing)
            } {}
        }
        Mixer { order, learned: mixing == Mixing::Linear }
    }

    /// W = L·(U + diag eˢ): a learned pair alone.
    pub fn triangular(dim: usize) -> Self {
        Mixer { order: (0..dim).collect(), learned: true }
    }

    /// p of the [`triangular`](Mixer::triangular) mixer whose W is `lower`, (d, d): L consists of the columns of
    /// `lower`, each divided by its diagonal entry, whose logarithm is s.
    pub fn set_lower(lower: &[f64], p: &mut [f32]) {
        let d = lower.len().isqrt();
        for (i, (p, lower)) in p.chunks_exact_mut(d).zip(lower.chunks_exact(d)).enumerate() {
            p[i] = lower[i].ln() as f32;
        }
        for (i, j) in (0..d).flat_map(|i| (0..i).map(move |j| (i, j))) {
            p[i * d + j] = (lower[i * d + j] / lower[j * (d + 1)]) as f32;
        }
    }

    /// The order of the coordinates: entry i of the result is entry order[i] of the input.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Takes an order from a file, if it is a valid one.
    #[cfg(feature = "safetensors")]
    pub fn set_order(&mut self, order: Vec<usize>) -> crate::error::Result<()> {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        let sane = sorted.into_iter().eq(0..self.order.len());
        crate::error::check(sane, "orders", &order, "each column once")?;
        self.order = order;
        Ok(())
    }

    /// Length of p. At p = 0 the mixer only reorders.
    pub fn num_params(&self) -> usize {
        if self.learned { self.order.len() * self.order.len() } else { 0 }
    }

    /// y = W x and ln |det W| = Σ s.
    pub fn forward<F: Real>(&self, p: &[F], x: &[F], y: &mut [F], work: &mut Vec<F>) -> F {
        let d = self.order.len();
        let n = x.len() / d;
        if !self.learned {
            self.reorder(x, y, n);
            return F::zero();
        }
        work.clear();
        work.extend_from_slice(x);
        upper(p, work, d);
        lower(p, work, d);
        self.reorder(work, y, n);
        (0..d).map(|i| p[i * (d + 1)]).sum()
    }

    /// x = W⁻¹ y, by substitution.
    pub fn inverse<F: Real>(&self, p: &[F], y: &[F], x: &mut [F]) {
        let d = self.order.len();
        let n = x.len() / d;
        for (y, &from) in y.chunks_exact(n).zip(&self.order) {
            x[from * n..][..n].copy_from_slice(y);
        }
        if !self.learned {
            return;
        }
        for i in 0..d {
            let (done, rest) = x.split_at_mut(i * n);
            for (j, done) in done.chunks_exact(n).enumerate() {
                add(-p[i * d + j], done, &mut rest[..n]);
            }
        }
        for i in (0..d).rev() {
            let (rest, done) = x.split_at_mut((i + 1) * n);
            let x = &mut rest[i * n..];
            for (j, done) in done.chunks_exact(n).enumerate() {
                add(-p[i * d + i + 1 + j], done, x);
            }
            let shrink = (-p[i * (d + 1)]).exp();
            x.iter_mut().for_each(|x| *x *= shrink);
        }
    }

    /// x = W⁻¹ y of rows y: (n, d) in a graph. A learned W is inverted in f64.
    #[cfg(feature = "onnx")]
    pub fn trace_inverse<F: Real>(&self, p: &[F], y: Value, graph: &mut Graph) -> Value {
        let d = self.order.len();
        if !self.learned {
            let mut places = vec![0; d];
            self.order.iter().zip(0..).for_each(|(&from, place)| places[from] = place);
            let places = graph.integers(&[d], &places);
            return graph.node("Gather", &[y, places], &[("axis", Attribute::Int(1))]);
        }
        let p: Vec<f64> = p.iter().map(|p| p.f64()).collect();
        let unit: Vec<f64> = (0..d * d).map(|at| f64::from(u8::from(at / d == at % d))).collect();
        let mut inverse = vec![0.0; d * d];
        self.inverse(&p, &unit, &mut inverse);
        // Rows are multiplied from the right.
        let transposed: Vec<F> = (0..d * d).map(|at| F::of(inverse[at % d * d + at / d])).collect();
        let inverse = graph.constant(&[d, d], &transposed);
        graph.matmul(y, inverse)
    }

    /// With φ = ⟨dy, y⟩ + Σ_r dlog_det·ln |det W|: dp += ∂φ/∂p, and dy becomes dx = Wᵀdy.
    ///
    /// With v = (U + diag eˢ) x: dv = Lᵀ Pᵀ dy, dL_ij = ⟨(Pᵀdy)_i, v_j⟩, dU_ij = ⟨dv_i, x_j⟩, ds_i = eˢ ⟨dv_i,
    /// x_i⟩ + n·dlog_det, dx = (U + diag eˢ)ᵀ dv.
    pub fn backward<F: Real>(
        &self,
        p: &[F],
        x: &[F],
        dy: &mut [F],
        dlog_det: F,
        dp: &mut [F],
        work: &mut Vec<F>,
    ) {
        let d = self.order.len();
        let n = x.len() / d;
        // [dv | v], each (d, n)
        work.clear();
        work.resize(d * n, F::zero());
        for (dy, &from) in dy.chunks_exact(n).zip(&self.order) {
            work[from * n..][..n].copy_from_slice(dy);
        }
        if !self.learned {
            dy.copy_from_slice(work);
            return;
        }
        work.extend_from_slice(x);
        let (dv, v) = work.split_at_mut(d * n);
        upper(p, v, d);
        for j in 0..d {
            // Entry j of Lᵀ uses the entries after it, which are still unchanged.
            let (head, rest) = dv.split_at_mut((j + 1) * n);
            for (i, dw) in (j + 1..d).zip(rest.chunks_exact(n)) {
                dp[i * d + j] += dot(dw, &v[j * n..][..n]);
                add(p[i * d + j], dw, &mut head[j * n..]);
            }
        }
        dy.fill(F::zero());
        for (i, dv) in dv.chunks_exact(n).enumerate() {
            let scale = p[i * (d + 1)].exp();
            dp[i * (d + 1)] += scale * dot(dv, &x[i * n..][..n]) + F::of(n as f64) * dlog_det;
            add(scale, dv, &mut dy[i * n..][..n]);
            for j in i + 1..d {
                dp[i * d + j] += dot(dv, &x[j * n..][..n]);
                add(p[i * d + j], dv, &mut dy[j * n..][..n]);
            }
        }
    }

    fn reorder<F: Real>(&self, x: &[F], y: &mut [F], n: usize) {
        for (y, &from) in y.chunks_exact_mut(n).zip(&self.order) {
            y.copy_from_slice(&x[from * n..][..n]);
        }
    }
}

/// x ← (U + diag eˢ) x. Entry i uses the entries after it, so the first entry is computed first.
fn upper<F: Real>(p: &[F], x: &mut [F], d: usize) {
    let n = x.len() / d;
    for i in 0..d {
        let (head, rest) = x.split_at_mut((i + 1) * n);
        let (scale, x) = (p[i * (d + 1)].exp(), &mut head[i * n..]);
        x.iter_mut().for_each(|x| *x *= scale);
        for (j, rest) in (i + 1..d).zip(rest.chunks_exact(n)) {
            add(p[i * d + j], rest, x);
        }
    }
}

/// x ← L x, from the last entry up.
fn lower<F: Real>(p: &[F], x: &mut [F], d: usize) {
    let n = x.len() / d;
    for i in (0..d).rev() {
        let (head, x) = x.split_at_mut(i * n);
        for (j, head) in head.chunks_exact(n).enumerate() {
            add(p[i * d + j], head, &mut x[..n]);
        }
    }
}

/// y ← y + a x.
fn add<F: Real>(a: F, x: &[F], y: &mut [F]) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y += a * x);
}

fn dot<F: Real>(a: &[F], b: &[F]) -> F {
    a.iter().zip(b).map(|(&a, &b)| a * b).sum()
}

use std::ops::Range;

use super::{Layout, Network, Primal, Weights};
#[cfg(feature = "onnx")]
use crate::error::Result;
use crate::numeric::Real;
use crate::numeric::gemm::{self, Epilogue, Init, Strided, gemm, gemm_with};
use crate::numeric::rng::Rng;
use crate::numeric::simd::vectorize;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// y = x·W + b with W: (in, out), b: (out); p = [W, b].
///
/// With G = dy: dW = xᵀG, db = 1ᵀG, dx = G·Wᵀ. The tangent is ẏ = ẋ·W, so ⟨dẏ, ẏ⟩ adds ẋᵀ·dẏ to dW and gives
/// dẋ = dẏ·Wᵀ; W does not depend on x, so there is no second-order part in dx.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
    gain: f64,
}

impl Linear {
    /// A layer of this shape whose weights start as N(0, gain²/in) and whose bias starts as 0. Between ReLUs, a gain
    /// of √2 keeps the variance (He et al. 2015); without activations, a gain of 1 does. For other activations,
    /// [`Activation::gain`](super::Activation::gain) is customary. With a gain of 0 the layer starts at zero.
    pub fn new(inputs: usize, outputs: usize, gain: f64) -> Self {
        Linear { inputs, outputs, gain }
    }

    fn weights(&self) -> Range<usize> {
        0..self.inputs * self.outputs
    }

    fn bias(&self) -> Range<usize> {
        self.inputs * self.outputs..self.num_params()
    }

    /// dW += xᵀG.
    fn add_dw<F: Real>(&self, x: &[F], g: &[F], dp: &mut [F]) {
        let (n, i, o) = (x.len() / self.inputs, self.inputs, self.outputs);
        gemm((i, o, n), Strided::transposed(x, i), g, o, Init::Accumulate, &mut dp[self.weights()]);
    }

    /// y = x·W + b, followed by an epilogue.
    pub(super) fn infer_with<F: Real>(&self, p: &[F], x: &[F], epilogue: Epilogue<F>, y: &mut [F]) {
        let (n, i, o) = (y.len() / self.outputs, self.inputs, self.outputs);
        let (w, init) = (&p[self.weights()], Init::Bias(&p[self.bias()]));
        gemm_with((n, o, i), Strided::rows(x, i), w, o, init, epilogue, y);
    }

    /// [`Network::backward`], with an epilogue for dx.
    pub(super) fn backward_with<F: Real>(
        &self,
        w: Weights<F>,
        x: &[F],
        dy: &[F],
        dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        epilogue: Epilogue<F>,
    ) {
        if let Some(dp) = dp {
            self.add_dw(x, dy, dp);
            add_sum_of_rows(dy, &mut dp[self.bias()]);
        }
        if let Some(dx) = dx {
            self.to_inputs(w, dy, epilogue, dx);
        }
    }

    /// G·Wᵀ, followed by an epilogue.
    fn to_inputs<F: Real>(&self, w: Weights<F>, g: &[F], epilogue: Epilogue<F>, out: &mut [F]) {
        let (n, i, o) = (g.len() / self.outputs, self.inputs, self.outputs);
        gemm_with((n, i, o), Strided::rows(g, o), &w.t[self.weights()], i, Init::Zero, epilogue, out);
    }
}

/// sum += 1ᵀG.
pub(super) fn add_sum_of_rows<F: Real>(g: &[F], sum: &mut [F]) {
    // The sums of these columns stay in registers from row to row; several narrow rows are treated as one wide row.
    const BLOCK: usize = 64;
    let columns = sum.len();
    let width = if BLOCK.is_multiple_of(columns) { BLOCK } else { columns };
    vectorize(
        #[inline(always)]
        move || {
            let rows = g.chunks_exact(width);
            for row in rows.remainder().chunks_exact(columns) {
                sum.iter_mut().zip(row).for_each(|(sum, &g)| *sum += g);
            }
            let whole = width / BLOCK * BLOCK;
            for first in (0..whole).step_by(BLOCK) {
                let mut block = [F::zero(); BLOCK];
                for row in rows.clone() {
                    block.iter_mut().zip(&row[first..first + BLOCK]).for_each(|(sum, &g)| *sum += g);
                }
                for part in block.chunks(columns) {
                    sum[first..].iter_mut().zip(part).for_each(|(sum, &part)| *sum += part);
                }
            }
            for row in rows {
                sum.iter_mut().zip(row).skip(whole).for_each(|(sum, &g)| *sum += g);
            }
        },
    );
}

impl Network for Linear {
    fn in_dim(&self) -> usize {
        self.inputs
    }
    fn out_dim(&self) -> usize {
        self.outputs
    }
    fn describe(&self, prefix: &str, layout: &mut Layout) {
        layout.push(format!("{prefix}weight"), &[self.inputs, self.outputs]);
        layout.push(format!("{prefix}bias"), &[self.outputs]);
    }
    fn num_params(&self) -> usize {
        (self.inputs + 1) * self.outputs
    }
    fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        let sd = F::of(self.gain / (self.inputs.max(1) as f64).sqrt());
        p[self.weights()].iter_mut().for_each(|w| *w = sd * F::normal(rng));
        p[self.bias()].fill(F::zero());
    }
    fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        gemm::transpose((self.inputs, self.outputs), &p[self.weights()], &mut t[self.weights()]);
        t[self.bias()].copy_from_slice(&p[self.bias()]);
    }
    fn cache_width(&self) -> usize {
        0
    }
    fn tangent_width(&self) -> usize {
        0
    }
    fn scratch_width(&self) -> usize {
        0
    }
    fn infer<F: Real>(&self, p: &[F], x: &[F], y: &mut [F], _: &mut [F]) {
        self.infer_with(p, x, Epilogue::None, y);
    }
    #[cfg(feature = "onnx")]
    fn trace<F: Real>(&self, p: &[F], x: Value, graph: &mut Graph) -> Result<Value> {
        let weights = graph.constant(&[self.inputs, self.outputs], &p[self.weights()]);
        let bias = graph.constant(&[self.outputs], &p[self.bias()]);
        let product = graph.matmul(x, weights);
        Ok(graph.add(product, bias))
    }
    fn forward<F: Real>(&self, p: &[F], x: &[F], y: &mut [F], cache: &mut [F]) {
        self.infer(p, x, y, cache);
    }
    fn backward<F: Real>(
        &self,
        w: Weights<F>,
        x: &[F],
        _: &[F],
        dy: &[F],
        dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        _: &mut [F],
    ) {
        self.backward_with(w, x, dy, dp, dx, Epilogue::None);
    }
    fn jvp<F: Real>(&self, p: &[F], _: &[F], _: &[F], xdot: &[F], ydot: &mut [F], _: &mut [F]) {
        let (n, i, o) = (ydot.len() / self.outputs, self.inputs, self.outputs);
        gemm((n, o, i), Strided::rows(xdot, i), &p[self.weights()], o, Init::Zero, ydot);
    }
    fn jvp_backward<F: Real>(
        &self,
        w: Weights<F>,
        at: Primal<F>,
        dy: Option<&[F]>,
        dydot: &[F],
        dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        dxdot: Option<&mut [F]>,
        _: &mut [F],
    ) {
        if let Some(dp) = dp {
            if let Some(dy) = dy {
                self.add_dw(at.x, dy, dp);
                add_sum_of_rows(dy, &mut dp[self.bias()]);
            }
            self.add_dw(at.xdot, dydot, dp);
        }
        match (dx, dy) {
            (Some(dx), Some(dy)) => self.to_inputs(w, dy, Epilogue::None, dx),
            (Some(dx), None) => dx.fill(F::zero()),
            (None, _) => {}
        }
        if let Some(dxdot) = dxdot {
            self.to_inputs(w, dydot, Epilogue::None, dxdot);
        }
    }
}

/// A [`Linear`] some of whose weights are always zero, as MADE needs (Germain et al. 2015, eq. 8).
///
/// The masked entries of p must be zero: `init` sets them to zero and their gradient is zero, so an optimizer leaves
/// them unchanged, and the products need not read the mask.
#[derive(Debug, Clone, PartialEq)]
pub struct Masked {
    linear: Linear,
    // Where W is always zero: a mask that is fully open costs nothing.
    closed: Vec<usize>,
}

impl Masked {
    /// A layer in which input i reaches output o if `connects(i, o)`.
    pub fn new(inputs: usize, outputs: usize, gain: f64, connects: impl Fn(usize, usize) -> bool) -> Self {
        let closed = (0..inputs * outputs).filter(|at| !connects(at / outputs, at % outputs)).collect();
        Masked { linear: Linear::new(inputs, outputs, gain), closed }
    }

    /// The product, which need not read the mask.
    pub(super) fn product(&self) -> &Linear {
        &self.linear
    }

    /// See [`Linear::backward_with`].
    pub(super) fn backward_with<F: Real>(
        &self,
        w: Weights<F>,
        x: &[F],
        dy: &[F],
        mut dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        epilogue: Epilogue<F>,
    ) {
        self.linear.backward_with(w, x, dy, dp.as_deref_mut(), dx, epilogue);
        if let Some(dp) = dp {
            self.clear(dp);
        }
    }

    fn clear<F: Real>(&self, p: &mut [F]) {
        self.closed.iter().for_each(|&at| p[at] = F::zero());
    }
}

impl Network for Masked {
    fn in_dim(&self) -> usize {
        self.linear.inputs
    }
    fn out_dim(&self) -> usize {
        self.linear.outputs
    }
    fn describe(&self, prefix: &str, layout: &mut Layout) {
        self.linear.describe(prefix, layout);
    }
    fn num_params(&self) -> usize {
        self.linear.num_params()
    }
    fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        self.linear.init(p, rng);
        // Each output keeps the variance of the inputs it can see.
        let Linear { inputs, outputs, .. } = self.linear;
        let mut open = vec![inputs; outputs];
        self.closed.iter().for_each(|at| open[at % outputs] -= 1);
        for (o, open) in open.into_iter().enumerate() {
            let scale = F::of((inputs as f64 / open.max(1) as f64).sqrt());
            (0..inputs).for_each(|i| p[i * outputs + o] *= scale);
        }
        self.clear(p);
    }
    fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        self.linear.transpose(p, t);
    }
    fn cache_width(&self) -> usize {
        0
    }
    fn tangent_width(&self) -> usize {
        0
    }
    fn scratch_width(&self) -> usize {
        0
    }
    fn infer<F: Real>(&self, p: &[F], x: &[F], y: &mut [F], scratch: &mut [F]) {
        self.linear.infer(p, x, y, scratch);
    }
    #[cfg(feature = "onnx")]
    fn trace<F: Real>(&self, p: &[F], x: Value, graph: &mut Graph) -> Result<Value> {
        self.linear.trace(p, x, graph)
    }
    fn forward<F: Real>(&self, p: &[F], x: &[F], y: &mut [F], cache: &mut [F]) {
        self.linear.infer(p, x, y, cache);
    }
    fn backward<F: Real>(
        &self,
        w: Weights<F>,
        x: &[F],
        _: &[F],
        dy: &[F],
        dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        _: &mut [F],
    ) {
        self.backward_with(w, x, dy, dp, dx, Epilogue::None);
    }
    fn jvp<F: Real>(&self, p: &[F], x: &[F], cache: &[F], xdot: &[F], ydot: &mut [F], tangents: &mut [F]) {
        self.linear.jvp(p, x, cache, xdot, ydot, tangents);
    }
    fn jvp_backward<F: Real>(
        &self,
        w: Weights<F>,
        at: Primal<F>,
        dy: Option<&[F]>,
        dydot: &[F],
        mut dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        dxdot: Option<&mut [F]>,
        scratch: &mut [F],
    ) {
        self.linear.jvp_backward(w, at, dy, dydot, dp.as_deref_mut(), dx, dxdot, scratch);
        if let Some(dp) = dp {
            self.clear(dp);
        }
    }
}

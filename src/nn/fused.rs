//! Neighboring layers of a [`Sequential`] that share a pass over memory.

use super::sequential::{Ascent, Descent};
use super::{Layer, Layout, Linear, Network, Primal, Sequential, Weights};
#[cfg(feature = "onnx")]
use crate::error::Result;
use crate::numeric::Real;
use crate::numeric::gemm::Epilogue;
use crate::numeric::rng::Rng;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// A [`Sequential`] in fewer passes over memory: the same function with the same parameters and buffers, and the same
/// bits.
///
/// Two neighbors become one where the sums of a matrix product can pass through the other layer before they leave
/// their registers:
///
/// - forward, a (leaky) ReLU after a product: y = f(x·W + b), and f′ with it;
/// - backward, any activation before a product: dx = f′(x) ⊙ (dy·Wᵀ).
///
/// Without derivatives, any other activation works in place. The tangent and its reverse are those of the
/// [`Sequential`].
///
/// ```
/// use quadrivium::nn::{Activation, Network, mlp};
/// let net = mlp(&[2, 64, 64, 3], Activation::Silu);
/// assert_eq!(net.clone().fused().num_params(), net.num_params());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Fused {
    net: Sequential,
}

impl Fused {
    pub(super) fn new(net: Sequential) -> Self {
        Fused { net }
    }

    /// The layers, from first to last.
    pub fn layers(&self) -> &[Layer] {
        self.net.layers()
    }

    /// The table of p.
    pub fn layout(&self) -> Layout {
        self.net.layout()
    }
}

/// The product of a layer, and the slope of a (leaky) ReLU after it.
fn bent<'a, F: Real>(layer: &'a Layer, behind: &Layer) -> Option<(&'a Linear, F)> {
    let product = match layer {
        Layer::Linear(linear) => linear,
        Layer::Masked(masked) => masked.product(),
        _ => return None,
    };
    let Layer::Activation(f) = behind else { return None };
    Some((product, f.slope_below()?))
}

/// Whether a layer is a product above an activation.
fn bends_back(layer: &Layer, below: &Layer) -> bool {
    matches!((layer, below), (Layer::Linear(_) | Layer::Masked(_), Layer::Activation(_)))
}

impl Network for Fused {
    fn in_dim(&self) -> usize {
        self.net.in_dim()
    }
    fn out_dim(&self) -> usize {
        self.net.out_dim()
    }
    fn describe(&self, prefix: &str, layout: &mut Layout) {
        self.net.describe(prefix, layout);
    }
    fn num_params(&self) -> usize {
        self.net.num_params()
    }
    fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        self.net.init(p, rng);
    }
    fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        self.net.transpose(p, t);
    }
    fn cache_width(&self) -> usize {
        self.net.cache_width()
    }
    fn tangent_width(&self) -> usize {
        self.net.tangent_width()
    }
    fn adjoint_width(&self) -> usize {
        self.net.adjoint_width()
    }
    fn scratch_width(&self) -> usize {
        self.net.scratch_width()
    }

    #[cfg(feature = "onnx")]
    fn trace<F: Real>(&self, p: &[F], x: Value, graph: &mut Graph) -> Result<Value> {
        self.net.trace(p, x, graph)
    }

    fn infer<F: Real>(&self, p: &[F], x: &[F], y: &mut [F], scratch: &mut [F]) {
        let net = &self.net;
        let rows = x.len() / self.in_dim();
        let (here, rest) = scratch.split_at_mut(rows * net.widest);
        let (next, inner) = rest.split_at_mut(rows * net.widest);
        // `here` holds the last computed h; an activation works in it, any other layer writes to `next`.
        let (mut here, mut next) = (here, next);
        let mut parts = net.parts().peekable();
        while let Some((i, layer, range)) = parts.next() {
            let bent = parts.peek().and_then(|(_, behind, _)| bent(layer, behind));
            if bent.is_some() {
                parts.next();
            }
            let (taken, given) = (rows * layer.in_dim(), rows * layer.out_dim());
            let last = parts.peek().is_none();
            if let (Layer::Activation(f), false, false) = (layer, i == 0, last) {
                f.apply(&mut here[..taken]);
                continue;
            }
            let input = if i == 0 { x } else { &here[..taken] };
            let output = if last { &mut *y } else { &mut next[..given] };
            match bent {
                Some((product, slope)) => {
                    product.infer_with(&p[range], input, Epilogue::Leaky { slope }, output)
                }
                None => layer.infer(&p[range], input, output, inner),
            }
            std::mem::swap(&mut here, &mut next);
        }
    }

    fn forward<F: Real>(&self, p: &[F], x: &[F], y: &mut [F], cache: &mut [F]) {
        let mut cache = Ascent { buffer: cache, rows: x.len() / self.in_dim() };
        let (mut input, mut y) = (x, y);
        let mut parts = self.net.parts().peekable();
        while let Some((_, layer, range)) = parts.next() {
            let own = cache.take(layer.cache_width());
            let bent = parts.peek().and_then(|(_, behind, _)| bent(layer, behind));
            let slopes = bent.and_then(|_| {
                // The h between the two layers is never read, because f″ = 0.
                cache.take(layer.out_dim());
                parts.next().map(|(_, f, _)| cache.take(f.cache_width()))
            });
            let output = match parts.peek() {
                Some(_) => cache.take(layer.out_dim()),
                None => std::mem::take(&mut y),
            };
            match bent.zip(slopes) {
                Some(((product, slope), d)) => {
                    product.infer_with(&p[range], input, Epilogue::LeakyWithSlopes { slope, d }, output)
                }
                None => layer.forward(&p[range], input, output, own),
            }
            input = output;
        }
    }

    fn backward<F: Real>(
        &self,
        w: Weights<F>,
        x: &[F],
        cache: &[F],
        dy: &[F],
        mut dp: Option<&mut [F]>,
        mut dx: Option<&mut [F]>,
        scratch: &mut [F],
    ) {
        let net = &self.net;
        let rows = x.len() / self.in_dim();
        let (here, rest) = scratch.split_at_mut(rows * net.widest);
        let (next, inner) = rest.split_at_mut(rows * net.widest);
        let (mut here, mut next) = (here, next);
        let mut cache = Descent { buffer: &cache[..rows * self.cache_width()], rows };
        let mut parts = net.parts().rev().peekable();
        while let Some((i, layer, range)) = parts.next() {
            let own = cache.take(layer.cache_width());
            let input = if i == 0 { x } else { cache.take(layer.in_dim()) };
            let dy = if i == net.last() { dy } else { &here[..rows * layer.out_dim()] };
            // An activation below a product is not a step of its own: its f′ is the product's epilogue.
            let below = parts.next_if(|(_, below, _)| bends_back(layer, below));
            let slopes = below.as_ref().map(|(_, f, _)| cache.take(f.cache_width()));
            let first = below.map_or(i, |(below, ..)| below);
            if first > 0 && first < i {
                cache.take(layer.in_dim());
            }
            let dx = if first == 0 { dx.take() } else { Some(&mut next[..rows * layer.in_dim()]) };
            let (w, dp) = (w.slice(range.clone()), dp.as_deref_mut().map(|dp| &mut dp[range]));
            match (layer, slopes) {
                (Layer::Linear(f), Some(d)) => f.backward_with(w, input, dy, dp, dx, Epilogue::Times(d)),
                (Layer::Masked(f), Some(d)) => f.backward_with(w, input, dy, dp, dx, Epilogue::Times(d)),
                _ => layer.backward(w, input, own, dy, dp, dx, inner),
            }
            std::mem::swap(&mut here, &mut next);
        }
    }

    fn backward_keeping<F: Real>(
        &self,
        w: Weights<F>,
        x: &[F],
        cache: &[F],
        dy: &[F],
        dx: &mut [F],
        adjoints: &mut [F],
        scratch: &mut [F],
    ) {
        self.net.backward_keeping(w, x, cache, dy, dx, adjoints, scratch);
    }

    fn jvp<F: Real>(&self, p: &[F], x: &[F], cache: &[F], xdot: &[F], ydot: &mut [F], tangents: &mut [F]) {
        self.net.jvp(p, x, cache, xdot, ydot, tangents);
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
        scratch: &mut [F],
    ) {
        self.net.jvp_backward(w, at, dy, dydot, dp, dx, dxdot, scratch);
    }
}

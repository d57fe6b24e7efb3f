use std::ops::Range;

use super::activation::Elementwise;
use super::{Activation, Fourier, Fused, Layout, Linear, Masked, Network, Primal, Residual, Weights};
#[cfg(feature = "onnx")]
use crate::error::Result;
use crate::numeric::Real;
use crate::numeric::rng::Rng;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// A layer of a [`Sequential`].
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// x·W + b.
    Linear(Linear),
    /// x·W + b, where parts of W are always zero.
    Masked(Masked),
    /// An elementwise nonlinearity.
    Activation(Elementwise),
    /// Fixed sines and cosines of the inputs.
    Fourier(Fourier),
    /// x + g(x) (He et al. 2016).
    Residual(Sequential),
    /// Residual blocks, modulated by further columns.
    Modulated(Box<Residual>),
}

impl Layer {
    /// Whether f″ = 0 wherever it exists, so that ẏ has no gradient in x.
    fn is_straight(&self) -> bool {
        match self {
            Layer::Linear(_) | Layer::Masked(_) => true,
            Layer::Activation(activation) => activation.slope_below::<f64>().is_some(),
            Layer::Fourier(_) | Layer::Modulated(_) => false,
            Layer::Residual(inner) => inner.layers.iter().all(Layer::is_straight),
        }
    }
}

/// Forwards a call to the layer inside the enum.
macro_rules! each {
    ($self:expr, $layer:ident => $call:expr) => {
        match $self {
            Layer::Linear($layer) => $call,
            Layer::Masked($layer) => $call,
            Layer::Activation($layer) => $call,
            Layer::Fourier($layer) => $call,
            Layer::Residual($layer) => $call,
            Layer::Modulated($layer) => $call,
        }
    };
}

/// x ← x + g: the skip connection of a residual layer, forward and backward.
fn add<F: Real>(x: &mut [F], g: &[F]) {
    x.iter_mut().zip(g).for_each(|(x, &g)| *x += g);
}

impl Network for Layer {
    fn in_dim(&self) -> usize {
        each!(self, l => l.in_dim())
    }
    fn out_dim(&self) -> usize {
        each!(self, l => l.out_dim())
    }
    fn describe(&self, prefix: &str, layout: &mut Layout) {
        each!(self, l => l.describe(prefix, layout))
    }
    fn num_params(&self) -> usize {
        each!(self, l => l.num_params())
    }
    fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        each!(self, l => l.init(p, rng))
    }
    fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        each!(self, l => l.transpose(p, t))
    }
    fn cache_width(&self) -> usize {
        each!(self, l => l.cache_width())
    }
    fn tangent_width(&self) -> usize {
        each!(self, l => l.tangent_width())
    }
    fn scratch_width(&self) -> usize {
        each!(self, l => l.scratch_width())
    }
    fn infer<F: Real>(&self, p: &[F], x: &[F], y: &mut [F], scratch: &mut [F]) {
        each!(self, l => l.infer(p, x, y, scratch));
        if let Layer::Residual(_) = self {
            add(y, x);
        }
    }
    #[cfg(feature = "onnx")]
    fn trace<F: Real>(&self, p: &[F], x: Value, graph: &mut Graph) -> Result<Value> {
        let y = each!(self, l => l.trace(p, x, graph))?;
        Ok(if let Layer::Residual(_) = self { graph.add(y, x) } else { y })
    }
    fn forward<F: Real>(&self, p: &[F], x: &[F], y: &mut [F], cache: &mut [F]) {
        each!(self, l => l.forward(p, x, y, cache));
        if let Layer::Residual(_) = self {
            add(y, x);
        }
    }
    fn backward<F: Real>(
        &self,
        w: Weights<F>,
        x: &[F],
        cache: &[F],
        dy: &[F],
        dp: Option<&mut [F]>,
        mut dx: Option<&mut [F]>,
        scratch: &mut [F],
    ) {
        each!(self, l => l.backward(w, x, cache, dy, dp, dx.as_deref_mut(), scratch));
        if let (Layer::Residual(_), Some(dx)) = (self, dx) {
            add(dx, dy);
        }
    }
    fn jvp<F: Real>(&self, p: &[F], x: &[F], cache: &[F], xdot: &[F], ydot: &mut [F], tangents: &mut [F]) {
        each!(self, l => l.jvp(p, x, cache, xdot, ydot, tangents));
        if let Layer::Residual(_) = self {
            add(ydot, xdot);
        }
    }
    fn jvp_backward<F: Real>(
        &self,
        w: Weights<F>,
        at: Primal<F>,
        dy: Option<&[F]>,
        dydot: &[F],
        dp: Option<&mut [F]>,
        mut dx: Option<&mut [F]>,
        mut dxdot: Option<&mut [F]>,
        scratch: &mut [F],
    ) {
        each!(self, l => l.jvp_backward(w, at, dy, dydot, dp, dx.as_deref_mut(), dxdot.as_deref_mut(), scratch));
        if let Layer::Residual(_) = self {
            dx.into_iter().zip(dy).for_each(|(dx, dy)| add(dx, dy));
            dxdot.into_iter().for_each(|dxdot| add(dxdot, dydot));
        }
    }
}

/// Layers one after the other: h₀ = x, h_{i+1} = f_i(h_i), y = h_L. By the chain rule, the backward functions call
/// those of the layers in reverse order, with dh_i in place of dx, and the tangent runs forward with the value.
///
/// This is the plain definition. [`fused`](Sequential::fused) computes the same function in fewer passes over memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequential {
    layers: Vec<Layer>,
    // The start of each layer's parameters in p.
    ranges: Vec<Range<usize>>,
    // The widest h_i between two layers.
    pub(super) widest: usize,
}

/// A multilayer perceptron with the widths `sizes`, with `activation` between the layers and none after the last.
///
/// ```
/// use quadrivium::nn::{Activation, Network, mlp};
/// let net = mlp(&[2, 64, 64, 3], Activation::Silu);
/// assert_eq!((net.in_dim(), net.out_dim(), net.num_params()), (2, 3, 3 * 64 + 65 * 64 + 65 * 3));
/// ```
///
/// # Panics
/// If there are fewer than two sizes.
pub fn mlp(sizes: &[usize], activation: Activation) -> Sequential {
    let last = sizes.len() - 2;
    let mut layers = Vec::new();
    for (i, pair) in sizes.windows(2).enumerate() {
        let gain = if i == last { 1.0 } else { activation.gain() };
        layers.push(Layer::Linear(Linear::new(pair[0], pair[1], gain)));
        if i < last {
            layers.push(activation.layer(pair[1]));
        }
    }
    Sequential::new(layers)
}

impl Sequential {
    /// The composition of `layers`, from first to last.
    ///
    /// # Panics
    /// If there is no layer, or the widths of two neighbors do not match.
    pub fn new(layers: Vec<Layer>) -> Self {
        assert!(!layers.is_empty(), "a network has at least one layer");
        let mut ranges = Vec::with_capacity(layers.len());
        let mut start = 0;
        for (i, layer) in layers.iter().enumerate() {
            if i > 0 {
                let (out, into) = (layers[i - 1].out_dim(), layer.in_dim());
                assert_eq!(out, into, "layer {} gives {out} columns, but layer {i} takes {into}", i - 1);
            }
            ranges.push(start..start + layer.num_params());
            start += layer.num_params();
        }
        let widest = layers[1..].iter().map(|l| l.in_dim()).max().unwrap_or(0);
        Sequential { layers, ranges, widest }
    }

    /// The same function, with the same parameters and buffers, in fewer passes over memory.
    pub fn fused(self) -> Fused {
        Fused::new(self)
    }

    /// The layers, from first to last.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The table of p.
    pub fn layout(&self) -> Layout {
        let mut layout = Layout::default();
        self.describe("", &mut layout);
        layout
    }

    /// The layers with the start of their parameters in p.
    pub(super) fn parts(&self) -> impl DoubleEndedIterator<Item = (usize, &Layer, Range<usize>)> {
        self.layers.iter().zip(&self.ranges).enumerate().map(|(i, (layer, range))| (i, layer, range.clone()))
    }

    pub(super) fn last(&self) -> usize {
        self.layers.len() - 1
    }
}

/// Hands out the parts of a buffer in order: the h between the layers and each layer's own part, laid out as own₀ h₁
/// own₁ h₂ own₂ …
pub(super) struct Ascent<'a, F> {
    pub(super) buffer: &'a mut [F],
    pub(super) rows: usize,
}

impl<'a, F> Ascent<'a, F> {
    pub(super) fn take(&mut self, width: usize) -> &'a mut [F] {
        let (part, rest) = std::mem::take(&mut self.buffer).split_at_mut(self.rows * width);
        self.buffer = rest;
        part
    }
}

/// The reverse: hands out the parts from the buffer's end.
pub(super) struct Descent<'a, F> {
    pub(super) buffer: &'a [F],
    pub(super) rows: usize,
}

impl<'a, F> Descent<'a, F> {
    pub(super) fn take(&mut self, width: usize) -> &'a [F] {
        let (rest, part) = self.buffer.split_at(self.buffer.len() - self.rows * width);
        self.buffer = rest;
        part
    }
}

impl Network for Sequential {
    fn in_dim(&self) -> usize {
        self.layers[0].in_dim()
    }
    fn out_dim(&self) -> usize {
        self.layers[self.last()].out_dim()
    }
    fn describe(&self, prefix: &str, layout: &mut Layout) {
        for (i, layer, _) in self.parts() {
            layer.describe(&format!("{prefix}{i}."), layout);
        }
    }
    fn num_params(&self) -> usize {
        self.ranges[self.last()].end
    }
    fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        self.parts().for_each(|(_, layer, range)| layer.init(&mut p[range], rng));
    }
    fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        self.parts().for_each(|(_, layer, range)| layer.transpose(&p[range.clone()], &mut t[range]));
    }
    fn cache_width(&self) -> usize {
        self.layers.iter().map(|l| l.cache_width() + l.out_dim()).sum::<usize>() - self.out_dim()
    }
    fn tangent_width(&self) -> usize {
        self.layers.iter().map(|l| l.tangent_width() + l.out_dim()).sum::<usize>() - self.out_dim()
    }
    fn adjoint_width(&self) -> usize {
        self.layers.iter().map(|l| l.out_dim()).sum::<usize>() - self.out_dim()
    }
    // dh and dḣ, each as output and as input of a layer, and what an inner layer needs.
    fn scratch_width(&self) -> usize {
        4 * self.widest + self.layers.iter().map(|l| l.scratch_width()).max().unwrap_or(0)
    }

    fn infer<F: Real>(&self, p: &[F], x: &[F], y: &mut [F], scratch: &mut [F]) {
        let rows = x.len() / self.in_dim();
        let (here, rest) = scratch.split_at_mut(rows * self.widest);
        let (next, inner) = rest.split_at_mut(rows * self.widest);
        let (mut here, mut next) = (here, next);
        for (i, layer, range) in self.parts() {
            let input = if i == 0 { x } else { &here[..rows * layer.in_dim()] };
            let output = if i == self.last() { &mut *y } else { &mut next[..rows * layer.out_dim()] };
            layer.infer(&p[range], input, output, inner);
            std::mem::swap(&mut here, &mut next);
        }
    }

    #[cfg(feature = "onnx")]
    fn trace<F: Real>(&self, p: &[F], x: Value, graph: &mut Graph) -> Result<Value> {
        self.parts().try_fold(x, |h, (_, layer, range)| layer.trace(&p[range], h, graph))
    }
    fn forward<F: Real>(&self, p: &[F], x: &[F], y: &mut [F], cache: &mut [F]) {
        let mut cache = Ascent { buffer: cache, rows: x.len() / self.in_dim() };
        let (mut input, mut y) = (x, y);
        for (i, layer, range) in self.parts() {
            let own = cache.take(layer.cache_width());
            let output = if i == self.last() { std::mem::take(&mut y) } else { cache.take(layer.out_dim()) };
            layer.forward(&p[range], input, output, own);
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
        let rows = x.len() / self.in_dim();
        let (here, rest) = scratch.split_at_mut(rows * self.widest);
        let (next, inner) = rest.split_at_mut(rows * self.widest);
        let (mut here, mut next) = (here, next);
        let mut cache = Descent { buffer: &cache[..rows * self.cache_width()], rows };
        for (i, layer, range) in self.parts().rev() {
            let own = cache.take(layer.cache_width());
            let input = if i == 0 { x } else { cache.take(layer.in_dim()) };
            let dh = if i == self.last() { dy } else { &here[..rows * layer.out_dim()] };
            let ds = if i == 0 { dx.take() } else { Some(&mut next[..rows * layer.in_dim()]) };
            let dp = dp.as_deref_mut().map(|dp| &mut dp[range.clone()]);
            layer.backward(w.slice(range), input, own, dh, dp, ds, inner);
            std::mem::swap(&mut here, &mut next);
        }
    }

    // The dh between the layers are kept, from last to first.
    fn backward_keeping<F: Real>(
        &self,
        w: Weights<F>,
        x: &[F],
        cache: &[F],
        dy: &[F],
        dx: &mut [F],
        mut adjoints: &mut [F],
        scratch: &mut [F],
    ) {
        let rows = x.len() / self.in_dim();
        let mut cache = Descent { buffer: &cache[..rows * self.cache_width()], rows };
        let mut dh = dy;
        for (i, layer, range) in self.parts().rev() {
            let own = cache.take(layer.cache_width());
            let input = if i == 0 { x } else { cache.take(layer.in_dim()) };
            if i == 0 {
                return layer.backward(w.slice(range), input, own, dh, None, Some(dx), scratch);
            }
            let (ds, rest) = adjoints.split_at_mut(rows * layer.in_dim());
            layer.backward(w.slice(range), input, own, dh, None, Some(&mut *ds), scratch);
            (dh, adjoints) = (ds, rest);
        }
    }

    fn jvp<F: Real>(&self, p: &[F], x: &[F], cache: &[F], xdot: &[F], ydot: &mut [F], tangents: &mut [F]) {
        let rows = x.len() / self.in_dim();
        let mut tangents = Ascent { buffer: tangents, rows };
        let (mut cache, mut x, mut hdot, mut ydot) = (cache, x, xdot, ydot);
        for (i, layer, range) in self.parts() {
            let own = tangents.take(layer.tangent_width());
            let (kept, rest) = cache.split_at(rows * layer.cache_width());
            let next = match i == self.last() {
                true => std::mem::take(&mut ydot),
                false => tangents.take(layer.out_dim()),
            };
            layer.jvp(&p[range], x, kept, hdot, next, own);
            // After the last layer there is no h, and `rest` is not read again.
            (x, cache) = rest.split_at(rest.len().min(rows * layer.out_dim()));
            hdot = next;
        }
    }

    fn jvp_backward<F: Real>(
        &self,
        w: Weights<F>,
        at: Primal<F>,
        dy: Option<&[F]>,
        dydot: &[F],
        mut dp: Option<&mut [F]>,
        mut dx: Option<&mut [F]>,
        mut dxdot: Option<&mut [F]>,
        scratch: &mut [F],
    ) {
        let rows = at.x.len() / self.in_dim();
        let (here, rest) = scratch.split_at_mut(2 * rows * self.widest);
        let (next, inner) = rest.split_at_mut(2 * rows * self.widest);
        let (mut here, mut next) = (here, next);
        let mut cache = Descent { buffer: &at.cache[..rows * self.cache_width()], rows };
        // Going backward from a dy of zero, dh is zero, and is not computed, until the first layer with f″ ≠ 0.
        let mut zero = dy.is_none();
        let mut tangents = Descent { buffer: &at.tangents[..rows * self.tangent_width()], rows };
        let mut adjoints = at.adjoints;
        let mut known: Option<&[F]> = None;
        for (i, layer, range) in self.parts().rev() {
            let (kept, kept_tangents) =
                (cache.take(layer.cache_width()), tangents.take(layer.tangent_width()));
            let (x, xdot) = match i {
                0 => (at.x, at.xdot),
                _ => (cache.take(layer.in_dim()), tangents.take(layer.in_dim())),
            };
            let at = Primal { x, xdot, cache: kept, tangents: kept_tangents, adjoints: None };
            let (out, into) = (rows * layer.out_dim(), rows * layer.in_dim());
            let (dh, dhdot) = here.split_at(rows * self.widest);
            let (dy, dydot) = match i == self.last() {
                true => (dy, dydot),
                false => ((!zero).then_some(&dh[..out]), known.unwrap_or(&dhdot[..out])),
            };
            zero = zero && layer.is_straight();
            let (ds, dsdot) = next.split_at_mut(rows * self.widest);
            known = adjoints.filter(|_| i > 0).map(|kept| kept.split_at(into).0);
            adjoints = adjoints.filter(|_| i > 0).map(|kept| kept.split_at(into).1);
            let (dx, dxdot) = match i {
                0 => (dx.take(), dxdot.take()),
                _ => ((!zero).then_some(&mut ds[..into]), known.is_none().then_some(&mut dsdot[..into])),
            };
            let dp = dp.as_deref_mut().map(|dp| &mut dp[range.clone()]);
            layer.jvp_backward(w.slice(range), at, dy, dydot, dp, dx, dxdot, inner);
            std::mem::swap(&mut here, &mut next);
        }
    }
}

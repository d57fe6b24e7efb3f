use std::ops::Range;

use super::AutoregressiveConfig;
use crate::nn::{
    Activation, Fourier, Fused, Layer, Linear, Masked, Network, Perceptron, REACH, Sequential, Tape, Weights,
    clamp,
};
use crate::numeric::Real;
use crate::numeric::gemm::{Init, Strided, gemm};
use crate::numeric::rng::Rng;

/// Radians per standard deviation of the lowest Fourier feature: one period spans the bulk of a standardized
/// column.
const BASE_FREQUENCY: f64 = 1.0;

/// One masked network for all conditionals (MADE, Germain et al. 2015): output block i is a function of x_<i
/// and of the condition c alone.
///
/// Each unit has a degree m, 1 … d−1, and sees x₁ … x_m: features of x_m have degree m, and a hidden unit of
/// degree m is connected to units of degree ≤ m of the layer below. Head i, which gives the numbers y_i of
/// p(x_i | x_<i, c), reads the last hidden layer's units of degree < i and has a bias of its own. Without a
/// condition head 1 is its bias. A condition has degree 0, so all units see it, and some hidden units have degree 0,
/// so that head 1 sees it too.
///
/// Units stand in the order of their degrees, so what sees x_<i is the first columns of a layer. Therefore a
/// head is a product with those columns only, without a mask, and a sampler computes each unit once, when the
/// coordinate that completes its view has been drawn. Parameters: [hidden layers | W₁ b₁ | … | W_d b_d].
#[derive(Debug, Clone)]
pub(super) struct Made {
    dim: usize,
    /// Numbers per conditional.
    outputs: usize,
    /// Columns of the condition.
    given: usize,
    /// Columns of the condition and the features, then of each hidden layer; empty layers if there is neither a
    /// condition nor a second coordinate: then nothing is seen.
    widths: Vec<usize>,
    /// Of one coordinate.
    fourier: Fourier,
    activation: Activation,
    /// The hidden layers, unless nothing is seen.
    trunk: Option<Fused>,
    /// Where the parameters of each head start, and where the last one ends.
    heads: Vec<usize>,
}

/// The buffers of one pass.
#[derive(Debug, Default)]
pub(super) struct Pass<F> {
    // x_<d, clamped: (n, d−1)
    inputs: Vec<F>,
    // Of a model with conditions, their features before they stand behind the condition.
    waves: Vec<F>,
    // The condition and the features: (n, widths[0])
    features: Vec<F>,
    tape: Tape<F>,
    /// y: (d, n, outputs), one block per head; before `backward`, dy.
    pub y: Vec<F>,
    // dh: (n, width) of the last hidden layer
    dh: Vec<F>,
    // What one head adds to dh.
    part: Vec<F>,
}

/// The units computed so far for rows that are being drawn.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    // Per layer (n, width), filled up to the degree of the last coordinate drawn.
    layers: Vec<Vec<f32>>,
    // The new units of a layer.
    block: Vec<f32>,
    // y_i: (n, outputs)
    y: Vec<f32>,
}

impl Made {
    pub fn new(config: &AutoregressiveConfig, outputs: usize) -> Self {
        let dim = config.dim;
        let Perceptron { hidden, activation, octaves } = config.perceptron();
        let (given, fourier) = (config.condition.width(), Fourier::octaves(1, BASE_FREQUENCY, octaves));
        let sees = dim > 1 || given > 0;
        let widths = if sees {
            [&[given + (dim - 1) * fourier.out_dim()], hidden].concat()
        } else {
            vec![0; hidden.len() + 1]
        };
        let mut made =
            Made { dim, outputs, given, widths, fourier, activation, trunk: None, heads: Vec::new() };
        if sees {
            let mut layers = Vec::with_capacity(2 * hidden.len());
            for (below, pair) in made.widths.windows(2).enumerate() {
                let connects = |from, to| made.degree(below, from) <= made.degree(below + 1, to);
                layers.push(Layer::Masked(Masked::new(pair[0], pair[1], activation.gain(), connects)));
                layers.push(activation.layer(pair[1]));
            }
            made.trunk = Some(Sequential::new(layers).fused());
        }
        let mut end = made.trunk_params();
        made.heads.push(end);
        for i in 0..dim {
            end += made.head_layer(i).num_params();
            made.heads.push(end);
        }
        made
    }

    fn trunk_params(&self) -> usize {
        self.trunk.as_ref().map_or(0, Network::num_params)
    }

    pub fn num_params(&self) -> usize {
        self.heads[self.dim]
    }

    /// The table of p.
    #[cfg(feature = "safetensors")]
    pub fn layout(&self) -> crate::nn::Layout {
        let mut layout = Default::default();
        if let Some(trunk) = &self.trunk {
            trunk.describe("hidden.", &mut layout);
        }
        (0..self.dim).for_each(|i| self.head_layer(i).describe(&format!("heads.{i}."), &mut layout));
        layout
    }

    /// The degree of a unit: how many coordinates it sees.
    fn degree(&self, layer: usize, unit: usize) -> usize {
        if layer == 0 {
            return if unit < self.given { 0 } else { 1 + (unit - self.given) / self.fourier.out_dim() };
        }
        self.least_degree() + unit * self.degrees() / self.widths[layer]
    }

    /// How many of the units of a layer, the first, see nothing but x_<i, i from 0.
    fn visible(&self, layer: usize, i: usize) -> usize {
        if layer == 0 {
            return self.given + i * self.fourier.out_dim();
        }
        // Unit u has degree least + ⌊u·degrees/width⌋.
        ((i + 1 - self.least_degree()) * self.widths[layer]).div_ceil(self.degrees())
    }

    /// The degree of hidden units that see least.
    fn least_degree(&self) -> usize {
        usize::from(self.given == 0)
    }

    /// Degrees of hidden units: from the least to d − 1 (1 stands for none, beside widths of 0).
    fn degrees(&self) -> usize {
        (self.dim - self.least_degree()).max(1)
    }

    /// Units of the last hidden layer, and how many of them head i reads.
    fn top(&self, i: usize) -> (usize, usize) {
        let top = self.widths.len() - 1;
        (self.widths[top], self.visible(top, i))
    }

    /// Head i as a layer.
    fn head_layer(&self, i: usize) -> Linear {
        Linear::new(self.top(i).1, self.outputs, 0.0)
    }

    fn head(&self, i: usize) -> Range<usize> {
        self.heads[i]..self.heads[i + 1]
    }

    /// Weights (visible, outputs) and bias (outputs) of head i in p.
    fn head_of<'p, F>(&self, i: usize, p: &'p [F]) -> (&'p [F], &'p [F]) {
        let head = &p[self.head(i)];
        head.split_at(head.len() - self.outputs)
    }

    /// Random hidden layers, heads of 0.
    pub fn init(&self, p: &mut [f32], rng: &mut Rng) {
        if let Some(trunk) = &self.trunk {
            trunk.init(&mut p[..self.trunk_params()], rng);
        }
        (0..self.dim).for_each(|i| self.head_layer(i).init(&mut p[self.head(i)], rng));
    }

    /// The bias of head i in p: y_i of every row, while the head's weights are 0.
    pub fn bias<'p>(&self, i: usize, p: &'p mut [f32]) -> &'p mut [f32] {
        let end = self.heads[i + 1];
        &mut p[end - self.outputs..end]
    }

    pub fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        if let Some(trunk) = &self.trunk {
            let trunk_params = ..self.trunk_params();
            trunk.transpose(&p[trunk_params], &mut t[trunk_params]);
        }
        for i in 0..self.dim {
            self.head_layer(i).transpose(&p[self.head(i)], &mut t[self.head(i)]);
        }
    }

    /// y(x, c; p) into `pass.y`, keeping what `backward` needs. x: (n, d), c: (n, given) or (1, given)
    pub fn forward<F: Real>(&self, p: &[F], x: &[F], c: &[F], pass: &mut Pass<F>) {
        self.see(x, c, pass);
        if let Some(trunk) = &self.trunk {
            pass.tape.forward(trunk, &p[..self.trunk_params()], &pass.features);
        }
        self.apply_heads(p, x.len() / self.dim, pass);
    }

    /// y(x, c; p) into `pass.y`, nothing kept. x: (n, d), c: (n, given) or (1, given)
    pub fn infer<F: Real>(&self, p: &[F], x: &[F], c: &[F], pass: &mut Pass<F>) {
        self.see(x, c, pass);
        if let Some(trunk) = &self.trunk {
            pass.tape.infer(trunk, &p[..self.trunk_params()], &pass.features);
        }
        self.apply_heads(p, x.len() / self.dim, pass);
    }

    /// c and the features of x_<d, coordinate by coordinate: (n, given + (d−1)·features of one).
    fn see<F: Real>(&self, x: &[F], c: &[F], pass: &mut Pass<F>) {
        let Pass { inputs, waves, features, .. } = pass;
        let (n, width) = (x.len() / self.dim, self.widths[0]);
        inputs.clear();
        for x in x.chunks_exact(self.dim) {
            inputs.extend(x[..self.dim - 1].iter().map(|&x| within_reach(x)));
        }
        features.resize(n * width, F::zero());
        if self.given == 0 {
            self.fourier.infer(&[], inputs, features, &mut []);
            return;
        }
        waves.resize(n * (width - self.given), F::zero());
        self.fourier.infer(&[], inputs, waves, &mut []);
        self.put_condition(c, features);
        if self.dim > 1 {
            put_columns(waves, width - self.given, features, width, self.given);
        }
    }

    /// c, (n, given) or (1, given), into the first columns of the features: (n, widths[0]).
    fn put_condition<F: Real>(&self, c: &[F], features: &mut [F]) {
        let conditions = c.chunks_exact(self.given).cycle();
        for (row, c) in features.chunks_exact_mut(self.widths[0]).zip(conditions) {
            row.iter_mut().zip(c).for_each(|(seen, &c)| *seen = within_reach(c));
        }
    }

    /// The heads on the last hidden layer: y_i = h[first columns]·W_i + b_i.
    fn apply_heads<F: Real>(&self, p: &[F], n: usize, pass: &mut Pass<F>) {
        pass.y.resize(self.dim * n * self.outputs, F::zero());
        for (i, y) in pass.y.chunks_exact_mut(n * self.outputs).enumerate() {
            let (weights, bias) = self.head_of(i, p);
            let (width, visible) = self.top(i);
            let h = Strided::rows(pass.tape.y(), width);
            gemm((n, self.outputs, visible), h, weights, self.outputs, Init::Bias(bias), y);
        }
    }

    /// dp += ∂⟨dy, y⟩/∂p after `forward`, dy in `pass.y`.
    ///
    /// With h the columns that head i reads: dW_i = hᵀdy_i, db_i = 1ᵀdy_i, and dh = Σ_i dy_i·W_iᵀ goes down
    /// the hidden layers.
    pub fn backward<F: Real>(&self, w: Weights<F>, n: usize, dp: &mut [F], pass: &mut Pass<F>) {
        let (width, _) = self.top(0);
        pass.dh.clear();
        pass.dh.resize(n * width, F::zero());
        for (i, dy) in pass.y.chunks_exact(n * self.outputs).enumerate() {
            let (_, visible) = self.top(i);
            let (dw, db) = dp[self.head(i)].split_at_mut(visible * self.outputs);
            for dy in dy.chunks_exact(self.outputs) {
                db.iter_mut().zip(dy).for_each(|(db, &dy)| *db += dy);
            }
            if visible == 0 {
                continue;
            }
            let h = Strided::transposed(pass.tape.y(), width);
            gemm((visible, self.outputs, n), h, dy, self.outputs, Init::Accumulate, dw);
            let (weights, _) = self.head_of(i, w.t);
            let (shape, dy) = ((n, visible, self.outputs), Strided::rows(dy, self.outputs));
            if visible == width {
                gemm(shape, dy, weights, visible, Init::Accumulate, &mut pass.dh);
            } else {
                pass.part.resize(n * visible, F::zero());
                gemm(shape, dy, weights, visible, Init::Zero, &mut pass.part);
                for (dh, part) in pass.dh.chunks_exact_mut(width).zip(pass.part.chunks_exact(visible)) {
                    dh.iter_mut().zip(part).for_each(|(dh, &part)| *dh += part);
                }
            }
        }
        if let Some(trunk) = &self.trunk {
            let range = 0..self.trunk_params();
            pass.tape.backward(trunk, w.slice(range.clone()), &pass.dh, Some(&mut dp[range]), None);
        }
    }

    /// y_i: (n, outputs) for rows of which x_<i has been drawn, i from 0, after the calls with all smaller i.
    ///
    /// The coordinate drawn last completes the view of the units of degree i: a block of columns per layer. At i = 0
    /// it is the condition, (n, given) or (1, given), that is seen.
    pub fn step<'s>(&self, p: &[f32], x: &[f32], c: &[f32], i: usize, drawn: &'s mut Drawn) -> &'s mut [f32] {
        let n = x.len() / self.dim;
        let Drawn { layers, block, y } = drawn;
        layers.resize(self.widths.len(), Vec::new());
        layers.iter_mut().zip(&self.widths).for_each(|(h, width)| h.resize(n * width, 0.0));
        if i > 0 {
            block.clear();
            block.extend(x.chunks_exact(self.dim).map(|x| within_reach(x[i - 1])));
            let each = self.fourier.out_dim();
            y.resize(n * each, 0.0);
            self.fourier.infer(&[], block, y, &mut []);
            put_columns(y, each, &mut layers[0], self.widths[0], self.given + (i - 1) * each);
        } else if self.given > 0 {
            self.put_condition(c, &mut layers[0]);
        }
        if i > 0 || self.given > 0 {
            let mut start = 0;
            for (l, pair) in self.widths.windows(2).enumerate() {
                let (into, out) = (pair[0], pair[1]);
                let (weights, rest) = p[start..].split_at(into * out);
                let known = if i > 0 { self.visible(l + 1, i - 1) } else { 0 };
                let new = known..self.visible(l + 1, i);
                block.resize(n * new.len(), 0.0);
                if !new.is_empty() {
                    gemm(
                        (n, new.len(), self.visible(l, i)),
                        Strided::rows(&layers[l], into),
                        &weights[new.start..],
                        out,
                        Init::Bias(&rest[new.clone()]),
                        block,
                    );
                    self.activation.apply(block);
                    put_columns(block, new.len(), &mut layers[l + 1], out, new.start);
                }
                start += (into + 1) * out;
            }
        }
        let (weights, bias) = self.head_of(i, p);
        let (width, visible) = self.top(i);
        let h = Strided::rows(&layers[self.widths.len() - 1], width);
        y.resize(n * self.outputs, 0.0);
        gemm((n, self.outputs, visible), h, weights, self.outputs, Init::Bias(bias), y);
        y
    }
}

/// Beyond the reach a coordinate, or a number of the condition, looks to the network as if it stood there: the
/// conditionals stay normalized for any finite row, and no activation overflows.
fn within_reach<F: Real>(x: F) -> F {
    clamp(x, REACH)
}

/// The columns of `block`, (n, width), into those of `h`, (n, h_width), from `start` on.
fn put_columns<F: Real>(block: &[F], width: usize, h: &mut [F], h_width: usize, start: usize) {
    for (h, block) in h.chunks_exact_mut(h_width).zip(block.chunks_exact(width)) {
        h[start..start + width].copy_from_slice(block);
    }
}

use std::ops::Range;

#[cfg(feature = "onnx")]
use super::TracedInputs;
use super::blurred::Blurred;
#[cfg(feature = "onnx")]
use super::embedded;
use super::embedded::Embedded;
use super::linear::add_sum_of_rows;
use super::{
    Activation, Direction, Fourier, Fused, Inputs, Layer, Layout, Linear, Network, Primal, SecondOrder,
    Sequential, VectorField, Weights, Workspace, grow, most_octaves,
};
use crate::error::Result;
use crate::numeric::Real;
use crate::numeric::gemm::{Init, Strided, gemm, transpose};
use crate::numeric::rng::Rng;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// Standard deviations from the mean beyond which x is clamped: outside, v keeps its value at the edge.
const REACH: f64 = 20.0;

/// The most octaves of a [`Timed`] network.
pub(crate) const OCTAVES: usize = most_octaves(REACH);

/// A network v(x, t, c) whose first layer adds the contributions of rows, moment and condition, and whose other
/// layers are any [`Sequential`].
///
/// With x̃ = clamp(x, ±REACH): h = b + T(time)·Wt + c·Wc + F(x̃, blur)·Wx, v = rest(h). T is a sinusoidal
/// embedding, F the blurred Fourier features; for a one-hot c, c·Wc is a learned embedding of the class. v starts
/// at 0. A network of two times embeds them side by side, T = (T(s), T(t)).
///
/// Each input has its own product, and the products are added. So if all rows share a moment, b + T·Wt is computed
/// once, and if they also share the condition, so is c·Wc. p = [Wt (ft, h), b (h), Wx (fx, h), rest, Wc (k, h)]:
/// without a condition the last part is empty; everything else is the same with or without a condition.
#[derive(Debug, Clone)]
pub(crate) struct Timed {
    features: Blurred,
    embedding: Fourier,
    /// Moments of a row.
    times: usize,
    time: Linear,
    rest: Fused,
    condition: usize,
}

/// The ranges of the parameters in p.
struct Parts {
    /// Wt and b.
    time: Range<usize>,
    /// Wx.
    inputs: Range<usize>,
    rest: Range<usize>,
    /// Wc.
    condition: Range<usize>,
}

/// The buffers of one batch of rows, sized on first use and kept. The other functions may follow `forward`.
#[derive(Debug, Default)]
struct Buffers<F> {
    moments: Embedded<F>,
    f: Vec<F>,     // F(x̃, blur): (fx, n)
    share: Vec<F>, // b + T·Wt, and + c·Wc, where all rows share them: (1, h)
    h: Vec<F>,     // (n, h)
    cache: Vec<F>, // of `rest`
    // Of the derivatives.
    dh: Vec<F>,       // (n, h)
    sum: Vec<F>,      // of dh or dḣ over the rows: (h)
    df: Vec<F>,       // (n, fx)
    dhdot: Vec<F>,    // (n, h)
    fdot: Vec<F>,     // (fx, n)
    hdot: Vec<F>,     // (n, h)
    tangents: Vec<F>, // of `rest`
    scratch: Vec<F>,
}

/// x̃.
pub(crate) fn clamp<F: Real>(x: F) -> F {
    super::clamp(x, REACH)
}

impl Timed {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the number of time features is odd or zero.
    pub(crate) fn new(
        dim: usize,
        hidden: &[usize],
        activation: Activation,
        octaves: usize,
        time_features: usize,
    ) -> Result<Self> {
        let embedding = Fourier::time(time_features)?;
        let mut layers = vec![activation.layer(hidden[0])];
        for pair in hidden.windows(2) {
            layers.push(Layer::Linear(Linear::new(pair[0], pair[1], activation.gain())));
            layers.push(activation.layer(pair[1]));
        }
        layers.push(Layer::Linear(Linear::new(hidden[hidden.len() - 1], dim, 0.0)));
        Ok(Timed {
            features: Blurred { dim, octaves },
            time: Linear::new(embedding.out_dim(), hidden[0], 1.0),
            embedding,
            times: 1,
            rest: Sequential::new(layers).fused(),
            condition: 0,
        })
    }

    /// The same of two times.
    pub(crate) fn of_two_times(self) -> Self {
        let time = Linear::new(2 * self.embedding.out_dim(), self.width(), 1.0);
        Timed { times: 2, time, ..self }
    }

    /// The same with a condition of k columns.
    pub(crate) fn conditional(self, k: usize) -> Self {
        Timed { condition: k, ..self }
    }

    pub(crate) fn dim(&self) -> usize {
        self.features.dim
    }

    pub(crate) fn num_params(&self) -> usize {
        self.parts().condition.end
    }

    /// The table of p.
    pub(crate) fn layout(&self) -> Layout {
        let mut layout = Layout::default();
        self.time.describe("time.", &mut layout);
        layout.push("features.weight".into(), &[self.features.count(), self.width()]);
        self.rest.describe("rest.", &mut layout);
        if self.condition > 0 {
            layout.push("condition.weight".into(), &[self.condition, self.width()]);
        }
        layout
    }

    /// Rows of moments: as many as rows, or one that all share.
    fn moments<F>(&self, at: Inputs<F>) -> usize {
        at.moments.len() / self.times
    }

    /// Columns of h.
    fn width(&self) -> usize {
        self.rest.in_dim()
    }

    fn parts(&self) -> Parts {
        let inputs = self.time.num_params();
        let rest = inputs + self.features.count() * self.width();
        let condition = rest + self.rest.num_params();
        Parts {
            time: 0..inputs,
            inputs: inputs..rest,
            rest: rest..condition,
            condition: condition..condition + self.condition * self.width(),
        }
    }

    /// The first layer: h.
    fn first_layer<F: Real>(&self, p: &[F], at: Inputs<F>, buffers: &mut Buffers<F>) {
        let Parts { time, inputs, condition: wc, .. } = self.parts();
        let (n, m, k, width) = (at.x.len() / self.dim(), self.moments(at), self.condition, self.width());
        let Buffers { moments, f, share, h, .. } = buffers;
        moments.embed(&self.embedding, self.times, at.moments);
        let t = &moments.t[..m * self.time.in_dim()];
        let h = grow(h, n * width);
        let one_condition = at.condition.len() < n * k;
        let c = if one_condition { Strided::repeated(at.condition) } else { Strided::rows(at.condition, k) };
        let add_condition = |rows: usize, init: Init<F>, to: &mut [F]| {
            if k > 0 {
                gemm((rows, width, k), c, &p[wc.clone()], width, init, to);
            }
        };
        // Whether or not rows share them, each element is the same chain of sums: b, T·Wt, c·Wc, F·Wx.
        let init = if m == n {
            self.time.infer(&p[time], t, h, &mut []);
            add_condition(n, Init::Accumulate, h);
            Init::Accumulate
        } else {
            let share = grow(share, width);
            self.time.infer(&p[time], t, share, &mut []);
            if one_condition || k == 0 {
                add_condition(1, Init::Accumulate, share);
                Init::Bias(share)
            } else {
                add_condition(n, Init::Bias(share), h);
                Init::Accumulate
            }
        };
        let f = grow(f, self.features.count() * n);
        self.features.evaluate(at.x, &moments.blur, f);
        let f = Strided::transposed(f, n);
        gemm((n, width, self.features.count()), f, &p[inputs], width, init, h);
    }

    /// dp += ∂⟨dh, h⟩/∂p: dWt = Tᵀ·dh, db = 1ᵀ·dh, dWc = cᵀ·dh, dWx = Fᵀ·dh.
    ///
    /// The gradient of a moment or condition that all rows share is the sum of their dh.
    fn add_first_layer<F: Real>(
        &self,
        w: Weights<F>,
        at: Inputs<F>,
        f: &[F],
        t: &[F],
        dh: &[F],
        sum: &mut Vec<F>,
        dp: &mut [F],
    ) {
        let Parts { time, inputs, condition, .. } = self.parts();
        let (m, k, width) = (self.moments(at), self.condition, self.width());
        let n = dh.len() / width;
        let m_c = at.condition.len().checked_div(k).unwrap_or(n);
        let sum = sum_where(m < n || m_c < n, dh, width, sum);
        let t = &t[..m * self.time.in_dim()];
        let dh_m = if m == n { dh } else { sum };
        self.time.backward(w.slice(time.clone()), t, &[], dh_m, Some(&mut dp[time]), None, &mut []);
        if k > 0 {
            let dh_c = if m_c == n { dh } else { sum };
            let c = Strided::transposed(at.condition, k);
            gemm((k, width, m_c), c, dh_c, width, Init::Accumulate, &mut dp[condition]);
        }
        self.add_inputs(f, dh, &mut dp[inputs]);
    }

    /// dWx += Fᵀ·dh.
    fn add_inputs<F: Real>(&self, f: &[F], dh: &[F], dwx: &mut [F]) {
        let (count, width) = (self.features.count(), self.width());
        let n = dh.len() / width;
        let f = Strided::rows(&f[..count * n], n);
        gemm((count, width, n), f, dh, width, Init::Accumulate, dwx);
    }
}

/// The sum of the rows, if it is needed: (width).
fn sum_where<'a, F: Real>(needed: bool, rows: &[F], width: usize, sum: &'a mut Vec<F>) -> &'a [F] {
    if !needed {
        return &[];
    }
    let sum = grow(sum, width);
    sum.fill(F::zero());
    add_sum_of_rows(rows, sum);
    sum
}

impl<F: Real> VectorField<F> for Timed {
    fn dim(&self) -> usize {
        self.dim()
    }

    fn condition(&self) -> usize {
        self.condition
    }

    fn times(&self) -> usize {
        self.times
    }

    fn num_params(&self) -> usize {
        self.num_params()
    }

    fn layout(&self) -> Layout {
        self.layout()
    }

    fn init(&self, p: &mut [F], rng: &mut Rng) {
        let parts = self.parts();
        self.time.init(&mut p[parts.time], rng);
        let normal = |weights: &mut [F], inputs: usize, rng: &mut Rng| {
            let sd = F::of((inputs as f64).sqrt().recip());
            weights.iter_mut().for_each(|w| *w = sd * F::normal(rng));
        };
        normal(&mut p[parts.inputs], self.features.count(), rng);
        self.rest.init(&mut p[parts.rest], rng);
        normal(&mut p[parts.condition], self.condition, rng);
    }

    fn transpose(&self, p: &[F], t: &mut [F]) {
        let Parts { inputs, rest, .. } = self.parts();
        transpose((self.features.count(), self.width()), &p[inputs.clone()], &mut t[inputs]);
        self.rest.transpose(&p[rest.clone()], &mut t[rest]);
    }

    fn infer(&self, p: &[F], at: Inputs<F>, v: &mut [F], workspace: &mut Workspace) {
        let buffers = workspace.of::<Buffers<F>>();
        self.first_layer(p, at, buffers);
        let n = v.len() / self.dim();
        let h = &buffers.h[..n * self.width()];
        let scratch = grow(&mut buffers.scratch, n * self.rest.scratch_width());
        self.rest.infer(&p[self.parts().rest], h, v, scratch);
    }

    #[cfg(feature = "onnx")]
    fn trace(&self, p: &[F], at: TracedInputs<'_>, graph: &mut Graph) -> Result<Value> {
        let Parts { time, inputs, rest, condition } = self.parts();
        let t = embedded::trace::<F>(&self.embedding, at.times, graph)?;
        let mut h = self.time.trace(&p[time], t, graph)?;
        if let Some(c) = at.condition {
            let weights = graph.constant(&[self.condition, self.width()], &p[condition]);
            let share = graph.matmul(c, weights);
            h = graph.add(h, share);
        }
        let f = self.features.trace::<F>(at.x, at.blur, graph);
        let weights = graph.constant(&[self.features.count(), self.width()], &p[inputs]);
        let share = graph.matmul(f, weights);
        h = graph.add(h, share);
        self.rest.trace(&p[rest], h, graph)
    }

    fn forward(&self, p: &[F], at: Inputs<F>, v: &mut [F], workspace: &mut Workspace) {
        let buffers = workspace.of::<Buffers<F>>();
        self.first_layer(p, at, buffers);
        let n = v.len() / self.dim();
        let h = &buffers.h[..n * self.width()];
        let cache = grow(&mut buffers.cache, n * self.rest.cache_width());
        self.rest.forward(&p[self.parts().rest], h, v, cache);
    }

    /// `rest` gives dh, which gives dp of the first layer and dF = dh·Wxᵀ.
    fn backward(
        &self,
        w: Weights<F>,
        at: Inputs<F>,
        dv: &[F],
        mut dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        workspace: &mut Workspace,
    ) {
        let Buffers { moments, f, h, cache, dh, sum, df, scratch, .. } = workspace.of::<Buffers<F>>();
        let Parts { inputs, rest, .. } = self.parts();
        let (n, width, count) = (dv.len() / self.dim(), self.width(), self.features.count());
        let dh = grow(dh, n * width);
        let scratch = grow(scratch, n * self.rest.scratch_width());
        let (h, cache) = (&h[..n * width], &cache[..n * self.rest.cache_width()]);
        let part = dp.as_deref_mut().map(|dp| &mut dp[rest.clone()]);
        self.rest.backward(w.slice(rest), h, cache, dv, part, Some(dh), scratch);
        if let Some(dp) = dp {
            self.add_first_layer(w, at, f, &moments.t, dh, sum, dp);
        }
        if let Some(dx) = dx {
            let df = grow(df, n * count);
            gemm((n, count, width), Strided::rows(dh, width), &w.t[inputs], count, Init::Zero, df);
            self.features.backward(at.x, &f[..count * n], df, dx);
        }
    }

    /// ḣ = Ṫ·Wt + Ḟ·Wx.
    fn jvp(&self, p: &[F], at: Inputs<F>, dot: Direction<F>, vdot: &mut [F], workspace: &mut Workspace) {
        let Buffers { moments, f, share, h, cache, fdot, hdot, tangents, .. } = workspace.of::<Buffers<F>>();
        let Parts { time, inputs, rest, .. } = self.parts();
        let (n, m, width) = (vdot.len() / self.dim(), self.moments(at), self.width());
        let count = self.features.count();
        let (f, fdot, hdot) = (&f[..count * n], grow(fdot, count * n), grow(hdot, n * width));
        self.features.jvp(at.x, f, dot.x, fdot);
        let init = if dot.moments.is_empty() {
            Init::Zero
        } else {
            moments.embed_rates(&self.embedding, self.times, dot.moments);
            self.features.add_blur_tangent(&moments.blur, &moments.blurdot, f, fdot);
            let t = &moments.tdot[..m * self.time.in_dim()];
            if m == n {
                self.time.jvp(&p[time], &[], &[], t, hdot, &mut []);
                Init::Accumulate
            } else {
                let share = grow(share, width);
                self.time.jvp(&p[time], &[], &[], t, share, &mut []);
                Init::Bias(share)
            }
        };
        gemm((n, width, count), Strided::transposed(fdot, n), &p[inputs], width, init, hdot);
        let tangents = grow(tangents, n * self.rest.tangent_width());
        let (h, cache) = (&h[..n * width], &cache[..n * self.rest.cache_width()]);
        self.rest.jvp(&p[rest], h, cache, hdot, vdot, tangents);
    }

    fn second_order(&self) -> Option<&dyn SecondOrder<F>> {
        Some(self)
    }
}

impl<F: Real> SecondOrder<F> for Timed {
    /// As `backward`: `rest` gives dh and dḣ, and since ḣ = Ṫ·Wt + Ḟ·Wx, dWt = Tᵀ·dh + Ṫᵀ·dḣ and dWx = Fᵀ·dh +
    /// Ḟᵀ·dḣ.
    fn jvp_backward(
        &self,
        w: Weights<F>,
        at: Inputs<F>,
        dot: Direction<F>,
        dv: &[F],
        dvdot: &[F],
        dp: &mut [F],
        workspace: &mut Workspace,
    ) {
        let Buffers { moments, f, h, cache, dh, sum, dhdot, fdot, hdot, tangents, scratch, .. } =
            workspace.of::<Buffers<F>>();
        let Parts { time, inputs, rest, .. } = self.parts();
        let (n, m, width) = (dv.len() / self.dim(), self.moments(at), self.width());
        let (dh, dhdot) = (grow(dh, n * width), grow(dhdot, n * width));
        let scratch = grow(scratch, n * self.rest.scratch_width());
        let point = Primal {
            x: &h[..n * width],
            xdot: &hdot[..n * width],
            cache: &cache[..n * self.rest.cache_width()],
            tangents: &tangents[..n * self.rest.tangent_width()],
            adjoints: None,
        };
        let (part, dh_too, dhdot_too) = (&mut dp[rest.clone()], Some(&mut *dh), Some(&mut *dhdot));
        self.rest.jvp_backward(w.slice(rest), point, Some(dv), dvdot, Some(part), dh_too, dhdot_too, scratch);
        self.add_first_layer(w, at, f, &moments.t, dh, sum, dp);
        self.add_inputs(fdot, dhdot, &mut dp[inputs]);
        if !dot.moments.is_empty() {
            let embedded = self.time.in_dim();
            let dhdot = if m == n { &*dhdot } else { sum_where(true, dhdot, width, sum) };
            let tdot = Strided::transposed(&moments.tdot[..m * embedded], embedded);
            gemm((embedded, width, m), tdot, dhdot, width, Init::Accumulate, &mut dp[time]);
        }
    }
}

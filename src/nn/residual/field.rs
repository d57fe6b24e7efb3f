use std::ops::Range;

use super::blocks::Blocks;
use super::modulation::{Modulation, ModulationGradient};
use super::modulator;
use crate::error::Result;
use crate::nn::blurred::Blurred;
use crate::nn::embedded::Embedded;
use crate::nn::linear::add_sum_of_rows;
use crate::nn::{
    Activation, Direction, Fourier, Fused, Inputs, Layout, Linear, Network, Primal, SecondOrder, VectorField,
    Weights, Workspace, grow,
};
#[cfg(feature = "onnx")]
use crate::nn::{TracedInputs, embedded};
use crate::numeric::Real;
use crate::numeric::gemm::{Init, Strided, gemm};
use crate::numeric::rng::Rng;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// A residual network v(x, t, c) whose blocks are modulated by moment and condition (adaLN-zero, Peebles & Xie 2023,
/// §3.2).
///
/// h = F(x̃, blur)·Wx + b goes through the [`Blocks`], whose modulation is a perceptron of e = (T(time), c). F and T
/// are those of [`Timed`](crate::nn::timed::Timed). v starts at 0. Where all rows share moment and condition, their
/// modulation is computed once. p = [Wx, b, modulator, blocks].
#[derive(Debug, Clone)]
pub(crate) struct ResidualField {
    features: Blurred,
    embedding: Fourier,
    /// Moments of a row.
    times: usize,
    condition: usize,
    input: Linear,
    modulator: Fused,
    blocks: Blocks,
}

/// The ranges of the parameters in p.
struct Parts {
    input: Range<usize>,
    modulator: Range<usize>,
    blocks: Range<usize>,
}

/// The buffers of one batch of rows, sized on first use and kept. The other functions may follow `forward`.
#[derive(Debug, Default)]
struct Buffers<F> {
    moments: Embedded<F>,
    f: Vec<F>,          // F(x̃, blur): (fx, n)
    e: Vec<F>,          // (T, c): (m, ft + k), m = 1 where all rows share both, else n
    modulation: Vec<F>, // (m, columns)
    embedded: Vec<F>,   // the cache of the modulator
    h: Vec<F>,          // (n, width)
    cache: Vec<F>,      // of the blocks
    // Of the derivatives.
    dmodulation: Vec<F>,      // (m, columns)
    dh: Vec<F>,               // (n, width)
    df: Vec<F>,               // (n, fx)
    fdot: Vec<F>,             // (fx, n)
    edot: Vec<F>,             // (m, ft + k)
    rate: Vec<F>,             // of the modulation: (m, columns)
    embedded_tangent: Vec<F>, // of the modulator
    hdot: Vec<F>,             // (n, width)
    tangents: Vec<F>,         // of the blocks
    drate: Vec<F>,            // (m, columns)
    dhdot: Vec<F>,            // (n, width)
    scratch: Vec<F>,
}

impl ResidualField {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the number of time features is odd or zero.
    pub(crate) fn new(
        dim: usize,
        condition: usize,
        (width, blocks): (usize, usize),
        activation: Activation,
        octaves: usize,
        (times, time_features): (usize, usize),
    ) -> Result<Self> {
        let embedding = Fourier::time(time_features)?;
        let features = Blurred { dim, octaves };
        let blocks = Blocks::new(width, blocks, activation, dim, 0.0);
        Ok(ResidualField {
            input: Linear::new(features.count(), width, 1.0),
            modulator: modulator(times * embedding.out_dim() + condition, width, activation, &blocks),
            features,
            embedding,
            times,
            condition,
            blocks,
        })
    }

    fn parts(&self) -> Parts {
        let input = self.input.num_params();
        let modulator = input + self.modulator.num_params();
        Parts {
            input: 0..input,
            modulator: input..modulator,
            blocks: modulator..modulator + self.blocks.num_params(),
        }
    }

    fn width(&self) -> usize {
        self.input.out_dim()
    }

    /// Rows of e.
    fn embedded_rows<F>(&self, at: Inputs<F>) -> usize {
        let shared = at.moments.len() == self.times && at.condition.len() == self.condition;
        if shared { 1 } else { at.x.len() / self.features.dim }
    }

    /// Columns of T.
    fn time_features(&self) -> usize {
        self.times * self.embedding.out_dim()
    }

    /// (T, c) of m rows, or of tangents (Ṫ, 0).
    fn join<F: Real>(&self, t: &[F], c: &[F], m: usize, e: &mut Vec<F>) {
        let (ft, k) = (self.time_features(), self.condition);
        e.clear();
        for r in 0..m {
            let row = |v: &[F], width: usize| if v.len() == width { 0 } else { r * width };
            e.extend_from_slice(&t[row(t, ft)..][..ft]);
            match c.is_empty() {
                true => e.resize((r + 1) * (ft + k), F::zero()),
                false => e.extend_from_slice(&c[row(c, k)..][..k]),
            }
        }
    }

    /// Fills h, e and f.
    fn first_layer<F: Real>(&self, p: &[F], at: Inputs<F>, buffers: &mut Buffers<F>) {
        let Parts { input, .. } = self.parts();
        let (n, width, count) = (at.x.len() / self.features.dim, self.width(), self.features.count());
        let Buffers { moments, f, e, h, .. } = buffers;
        moments.embed(&self.embedding, self.times, at.moments);
        let t = &moments.t[..at.moments.len() / self.times * self.time_features()];
        self.join(t, at.condition, self.embedded_rows(at), e);
        let f = grow(f, count * n);
        self.features.evaluate(at.x, &moments.blur, f);
        let (wx, b) = p[input].split_at(count * width);
        gemm((n, width, count), Strided::transposed(f, n), wx, width, Init::Bias(b), grow(h, n * width));
    }

    /// dWx += Fᵀ·dh.
    fn add_inputs<F: Real>(&self, f: &[F], dh: &[F], dp: &mut [F]) {
        let (count, width) = (self.features.count(), self.width());
        let n = dh.len() / width;
        let f = Strided::rows(&f[..count * n], n);
        gemm((count, width, n), f, dh, width, Init::Accumulate, &mut dp[..count * width]);
    }
}

impl<F: Real> VectorField<F> for ResidualField {
    fn dim(&self) -> usize {
        self.features.dim
    }

    fn condition(&self) -> usize {
        self.condition
    }

    fn times(&self) -> usize {
        self.times
    }

    fn num_params(&self) -> usize {
        self.parts().blocks.end
    }

    fn layout(&self) -> Layout {
        let mut layout = Layout::default();
        self.input.describe("features.", &mut layout);
        self.modulator.describe("modulation.", &mut layout);
        self.blocks.describe("", &mut layout);
        layout
    }

    fn init(&self, p: &mut [F], rng: &mut Rng) {
        let Parts { input, modulator, blocks } = self.parts();
        self.input.init(&mut p[input], rng);
        self.modulator.init(&mut p[modulator], rng);
        self.blocks.init(&mut p[blocks], rng);
    }

    fn transpose(&self, p: &[F], t: &mut [F]) {
        let Parts { input, modulator, blocks } = self.parts();
        self.input.transpose(&p[input.clone()], &mut t[input]);
        self.modulator.transpose(&p[modulator.clone()], &mut t[modulator]);
        self.blocks.transpose(&p[blocks.clone()], &mut t[blocks]);
    }

    #[cfg(feature = "onnx")]
    fn trace(&self, p: &[F], at: TracedInputs<'_>, graph: &mut Graph) -> Result<Value> {
        let Parts { input, modulator, blocks } = self.parts();
        let t = embedded::trace::<F>(&self.embedding, at.times, graph)?;
        let e = graph.concat(&[t].into_iter().chain(at.condition).collect::<Vec<_>>());
        let modulation = self.modulator.trace(&p[modulator], e, graph)?;
        let f = self.features.trace::<F>(at.x, at.blur, graph);
        let h = self.input.trace(&p[input], f, graph)?;
        self.blocks.trace(&p[blocks], modulation, h, graph)
    }

    fn infer(&self, p: &[F], at: Inputs<F>, v: &mut [F], workspace: &mut Workspace) {
        let buffers = workspace.of::<Buffers<F>>();
        self.first_layer(p, at, buffers);
        let Parts { modulator, blocks, .. } = self.parts();
        let (n, m, columns) = (v.len() / self.features.dim, self.embedded_rows(at), self.blocks.modulation());
        let Buffers { e, modulation, h, scratch, .. } = buffers;
        let widest = (n * self.blocks.scratch_width()).max(m * self.modulator.scratch_width());
        let (rows, scratch) = (grow(modulation, m * columns), grow(scratch, widest));
        self.modulator.infer(&p[modulator], e, rows, scratch);
        let modulation = Modulation { rows, columns };
        self.blocks.infer(&p[blocks], modulation, &mut h[..n * self.width()], v, scratch);
    }

    fn forward(&self, p: &[F], at: Inputs<F>, v: &mut [F], workspace: &mut Workspace) {
        let buffers = workspace.of::<Buffers<F>>();
        self.first_layer(p, at, buffers);
        let Parts { modulator, blocks, .. } = self.parts();
        let (n, m, columns) = (v.len() / self.features.dim, self.embedded_rows(at), self.blocks.modulation());
        let Buffers { e, modulation, embedded, h, cache, .. } = buffers;
        let rows = grow(modulation, m * columns);
        self.modulator.forward(&p[modulator], e, rows, grow(embedded, m * self.modulator.cache_width()));
        let modulation = Modulation { rows, columns };
        let cache = grow(cache, n * self.blocks.cache_width());
        self.blocks.forward(&p[blocks], modulation, &mut h[..n * self.width()], v, cache);
    }

    /// The blocks give dh and the gradient of the modulation, which is propagated through the modulator.
    fn backward(
        &self,
        w: Weights<F>,
        at: Inputs<F>,
        dv: &[F],
        mut dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        workspace: &mut Workspace,
    ) {
        let Buffers { f, e, modulation, embedded, cache, dmodulation, dh, df, scratch, .. } =
            workspace.of::<Buffers<F>>();
        let Parts { input, modulator, blocks } = self.parts();
        let (n, m) = (dv.len() / self.features.dim, self.embedded_rows(at));
        let (width, count, columns) = (self.width(), self.features.count(), self.blocks.modulation());
        let widest = (n * self.blocks.scratch_width()).max(m * self.modulator.scratch_width());
        let (dh, scratch) = (grow(dh, n * width), grow(scratch, widest));
        let modulation = Modulation { rows: &modulation[..m * columns], columns };
        let dm = grow(dmodulation, m * columns);
        dm.fill(F::zero());
        let gradient = ModulationGradient { rows: dm, columns };
        let cache = &cache[..n * self.blocks.cache_width()];
        let part = dp.as_deref_mut().map(|dp| &mut dp[blocks.clone()]);
        self.blocks.backward(w.slice(blocks), modulation, cache, dv, part, gradient, dh, scratch);
        if let Some(dp) = dp {
            let embedded = &embedded[..m * self.modulator.cache_width()];
            let part = Some(&mut dp[modulator.clone()]);
            self.modulator.backward(w.slice(modulator), e, embedded, dm, part, None, scratch);
            let part = &mut dp[input.clone()];
            self.add_inputs(f, dh, part);
            add_sum_of_rows(dh, &mut part[count * width..]);
        }
        if let Some(dx) = dx {
            let df = grow(df, n * count);
            gemm((n, count, width), Strided::rows(dh, width), &w.t[input], count, Init::Zero, df);
            self.features.backward(at.x, &f[..count * n], df, dx);
        }
    }

    /// ḣ = Ḟ·Wx, and the modulation moves with Ṫ.
    fn jvp(&self, p: &[F], at: Inputs<F>, dot: Direction<F>, vdot: &mut [F], workspace: &mut Workspace) {
        let Buffers {
            moments,
            f,
            e,
            modulation,
            embedded,
            cache,
            fdot,
            edot,
            rate,
            embedded_tangent,
            hdot,
            tangents,
            ..
        } = workspace.of::<Buffers<F>>();
        let Parts { input, modulator, blocks } = self.parts();
        let (n, m) = (vdot.len() / self.features.dim, self.embedded_rows(at));
        let (width, count, columns) = (self.width(), self.features.count(), self.blocks.modulation());
        let (f, fdot, hdot) = (&f[..count * n], grow(fdot, count * n), grow(hdot, n * width));
        self.features.jvp(at.x, f, dot.x, fdot);
        let rate = if dot.moments.is_empty() {
            None
        } else {
            moments.embed_rates(&self.embedding, self.times, dot.moments);
            self.features.add_blur_tangent(&moments.blur, &moments.blurdot, f, fdot);
            let tdot = &moments.tdot[..dot.moments.len() / self.times * self.time_features()];
            self.join(tdot, &[], m, edot);
            let rows = grow(rate, m * columns);
            let embedded = &embedded[..m * self.modulator.cache_width()];
            let tangents = grow(embedded_tangent, m * self.modulator.tangent_width());
            self.modulator.jvp(&p[modulator], e, embedded, edot, rows, tangents);
            Some(Modulation { rows: &*rows, columns })
        };
        gemm((n, width, count), Strided::transposed(fdot, n), &p[input], width, Init::Zero, hdot);
        let modulation = Modulation { rows: &modulation[..m * columns], columns };
        let cache = &cache[..n * self.blocks.cache_width()];
        let tangents = grow(tangents, n * self.blocks.tangent_width());
        self.blocks.jvp(&p[blocks], modulation, rate, cache, hdot, vdot, tangents);
    }

    fn second_order(&self) -> Option<&dyn SecondOrder<F>> {
        Some(self)
    }
}

impl<F: Real> SecondOrder<F> for ResidualField {
    /// As `backward`, with gradients also for the tangents of the features and, if the moments move, of the
    /// modulation.
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
        let Buffers {
            f,
            e,
            modulation,
            embedded,
            cache,
            dmodulation,
            dh,
            fdot,
            edot,
            rate,
            embedded_tangent,
            tangents,
            drate,
            dhdot,
            scratch,
            ..
        } = workspace.of::<Buffers<F>>();
        let Parts { input, modulator, blocks } = self.parts();
        let (n, m) = (dv.len() / self.features.dim, self.embedded_rows(at));
        let (width, columns) = (self.width(), self.blocks.modulation());
        let widest = (n * self.blocks.scratch_width()).max(m * self.modulator.scratch_width());
        let (dh, dhdot, scratch) = (grow(dh, n * width), grow(dhdot, n * width), grow(scratch, widest));
        let (dm, drate) = (grow(dmodulation, m * columns), grow(drate, m * columns));
        dm.fill(F::zero());
        drate.fill(F::zero());
        let moves = !dot.moments.is_empty();
        let rate = moves.then(|| {
            let rate = Modulation { rows: &rate[..m * columns], columns };
            (rate, ModulationGradient { rows: &mut *drate, columns })
        });
        self.blocks.jvp_backward(
            w.slice(blocks.clone()),
            Modulation { rows: &modulation[..m * columns], columns },
            (&cache[..n * self.blocks.cache_width()], &tangents[..n * self.blocks.tangent_width()]),
            (Some(dv), dvdot),
            Some(&mut dp[blocks]),
            ModulationGradient { rows: &mut *dm, columns },
            rate,
            (&mut *dh, &mut *dhdot),
            scratch,
        );
        let embedded = &embedded[..m * self.modulator.cache_width()];
        let (w, part) = (w.slice(modulator.clone()), Some(&mut dp[modulator]));
        if moves {
            let tangents = &embedded_tangent[..m * self.modulator.tangent_width()];
            let at = Primal { x: e, xdot: edot, cache: embedded, tangents, adjoints: None };
            self.modulator.jvp_backward(w, at, Some(dm), drate, part, None, None, scratch);
        } else {
            self.modulator.backward(w, e, embedded, dm, part, None, scratch);
        }
        let part = &mut dp[input];
        self.add_inputs(f, dh, part);
        self.add_inputs(fdot, dhdot, part);
        add_sum_of_rows(dh, &mut part[self.features.count() * width..]);
    }
}

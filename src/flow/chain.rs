use std::ops::Range;

use ndarray::{ArrayView2, Axis};

use super::conditioner::Conditioner;
use super::mixing::Mixer;
use super::{FlowConfig, Transform};
use crate::engine::Parameters;
use crate::engine::whitening::{MOST_COLUMNS, Whitening};
#[cfg(feature = "onnx")]
use crate::error::Result;
use crate::nn::{Network, REACH, Weights, clamp, grow};
use crate::numeric::Real;
use crate::numeric::gemm::transpose;
use crate::numeric::rng::Rng;
use crate::numeric::simd::vectorize;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// f: the layers one after the other, with a [`Mixer`] between each two, and the whitening of the base. It maps x to
/// u ~ N(0, I); ln |det ∂u/∂x| is the sum over the parts. All conditioners see the condition c: (n, given), or
/// (1, given) for all rows.
///
/// Internally, each coordinate is a row of z: (d, n), so that the transforms run along the vectors.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    dim: usize,
    transform: Transform,
    // All layers have the same shape.
    conditioner: Conditioner,
    layers: Vec<Layer>,
    /// After the last layer, the whitening of the base, if the base has covariances.
    base: Option<Mixer>,
    base_at: Range<usize>,
}

/// One conditioned transform and what follows it.
#[derive(Debug, Clone)]
struct Layer {
    /// The conditioner's parameters in p.
    net: Range<usize>,
    /// After all layers except the last.
    mixer: Option<Mixer>,
    mix: Range<usize>,
}

/// The buffers of one pass.
#[derive(Debug, Default)]
pub struct Pass<F> {
    /// u: (d, n); before `backward`, du.
    pub(super) z: Vec<F>,
    /// ln |det ∂u/∂x|: (n)
    pub(super) log_det: Vec<F>,
    // One per layer in training, otherwise one for all layers.
    kept: Vec<Kept<F>>,
    // After the last layer: (d, n)
    last: Vec<F>,
    // θ or dθ, row by row: (n, outputs)
    y: Vec<F>,
    // (n, sees + given)
    dseen: Vec<F>,
    work: Vec<F>,
    mix: Vec<F>,
    scratch: Vec<F>,
}

/// A layer's part of a pass.
#[derive(Debug, Default)]
struct Kept<F> {
    // Before and after the transform: (d, n)
    x: Vec<F>,
    moved: Vec<F>,
    // The conditioner's input, row by row: (n, sees + given)
    seen: Vec<F>,
    cache: Vec<F>,
    // One block per coordinate that moves: (outputs, n)
    theta: Vec<F>,
}

impl Chain {
    pub fn new(config: &FlowConfig, rng: &mut Rng) -> Self {
        let conditioner = Conditioner::new(config);
        let (dim, mut end) = (config.dim, 0);
        let mut take = |n: usize| {
            end += n;
            end - n..end
        };
        let layers = (0..config.layers).map(|l| {
            let net = take(conditioner.net.num_params());
            let mixer =
                (l + 1 < config.layers).then(|| Mixer::new(config.mixing, dim, conditioner.moves.start, rng));
            let mix = take(mixer.as_ref().map_or(0, Mixer::num_params));
            Layer { net, mixer, mix }
        });
        let layers = layers.collect();
        let base = has_base(config).then(|| Mixer::triangular(dim));
        let base_at = take(base.as_ref().map_or(0, Mixer::num_params));
        Chain { dim, transform: config.transform, conditioner, layers, base, base_at }
    }

    /// Columns of x.
    pub fn dim(&self) -> usize {
        self.dim
    }

    pub fn num_params(&self) -> usize {
        self.base_at.end
    }

    /// The table of p.
    #[cfg(feature = "safetensors")]
    pub fn layout(&self) -> crate::nn::Layout {
        let mut layout = crate::nn::Layout::default();
        for (l, layer) in self.layers.iter().enumerate() {
            self.conditioner.net.describe(&format!("layers.{l}."), &mut layout);
            if !layer.mix.is_empty() {
                layout.push(format!("layers.{l}.mixing"), &[self.dim, self.dim]);
            }
        }
        if self.base.is_some() {
            layout.push("base".into(), &[self.dim, self.dim]);
        }
        layout
    }

    /// The mixers between the layers.
    pub fn mixers(&self) -> impl Iterator<Item = &Mixer> {
        self.layers.iter().filter_map(|layer| layer.mixer.as_ref())
    }

    /// The mixers between the layers, mutable.
    #[cfg(feature = "safetensors")]
    pub fn mixers_mut(&mut self) -> impl Iterator<Item = &mut Mixer> {
        self.layers.iter_mut().filter_map(|layer| layer.mixer.as_mut())
    }

    /// Network evaluations per row of `inverse`, where one evaluation of all layers counts as one.
    pub fn inverse_passes(&self) -> usize {
        self.conditioner.inverse_passes
    }

    /// Random hidden layers. θ = 0 everywhere, so the chain only reorders the coordinates at the start.
    pub fn init(&self, p: &mut [f32], rng: &mut Rng) {
        p.fill(0.0);
        self.layers.iter().for_each(|layer| self.conditioner.net.init(&mut p[layer.net.clone()], rng));
    }

    /// Sets the correlations of the base, if it can have any, to those of the training rows z, (n, d): a chain whose
    /// layers do not move anything yet is then one Gaussian with the rows' covariances. The base sees the columns in
    /// the order that results from the mixers.
    pub fn fit_base(&self, z: ArrayView2<f32>, parameters: &mut Parameters) {
        let order = self.mixers().fold((0..self.dim).collect::<Vec<_>>(), |before, mixer| {
            mixer.order().iter().map(|&from| before[from]).collect()
        });
        if self.base.is_some()
            && let Some(whitening) = Whitening::fit(z.select(Axis(1), &order).view())
        {
            for p in [&mut parameters.p, &mut parameters.average] {
                Mixer::set_lower(whitening.inverse(), &mut p[self.base_at.clone()]);
            }
        }
    }

    pub fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        for layer in &self.layers {
            self.conditioner.net.transpose(&p[layer.net.clone()], &mut t[layer.net.clone()]);
        }
    }

    /// Number of the conditioner's outputs per row.
    fn outputs(&self) -> usize {
        self.conditioner.net.out_dim()
    }

    /// u = f(x; c, p) into `pass.z` and ln |det ∂u/∂x| into `pass.log_det`, keeping what `backward` needs.
    /// x: (n, d)
    pub fn forward<F: Real>(&self, p: &[F], x: &[F], c: &[F], pass: &mut Pass<F>) {
        self.run(p, x, c, pass, true);
    }

    /// The same, without keeping anything.
    pub fn infer<F: Real>(&self, p: &[F], x: &[F], c: &[F], pass: &mut Pass<F>) {
        self.run(p, x, c, pass, false);
    }

    fn run<F: Real>(&self, p: &[F], x: &[F], c: &[F], pass: &mut Pass<F>, keep: bool) {
        let (d, net, n) = (self.dim, &self.conditioner.net, x.len() / self.dim);
        let Pass { z, log_det, kept, last, y, work, mix, scratch, .. } = pass;
        kept.resize_with(self.layers.len(), Kept::default);
        z.resize(x.len(), F::zero());
        transpose((n, d), x, z);
        log_det.clear();
        log_det.resize(n, F::zero());
        y.resize(n * self.outputs(), F::zero());
        let work = grow(work, n * self.transform.work());
        for (l, layer) in self.layers.iter().enumerate() {
            let kept = &mut kept[if keep { l } else { 0 }];
            let p_net = &p[layer.net.clone()];
            assign(&mut kept.x, z);
            self.look(z, c, n, &mut kept.seen);
            if keep {
                net.forward(p_net, &kept.seen, y, grow(&mut kept.cache, n * net.cache_width()));
            } else {
                net.infer(p_net, &kept.seen, y, grow(scratch, n * net.scratch_width()));
            }
            kept.theta.resize(y.len(), F::zero());
            transpose((n, self.outputs()), y, &mut kept.theta);
            vectorize(
                #[inline(always)]
                || {
                    for (i, theta) in self.blocks(&mut kept.theta, n) {
                        let (x, z) = (&kept.x[i * n..][..n], &mut z[i * n..][..n]);
                        self.transform.forward(theta, x, z, log_det, work);
                    }
                },
            );
            if let Some(mixer) = &layer.mixer {
                assign(&mut kept.moved, z);
                let scale = mixer.forward(&p[layer.mix.clone()], &kept.moved, z, mix);
                log_det.iter_mut().for_each(|log_det| *log_det += scale);
            }
        }
        if let Some(base) = &self.base {
            assign(last, z);
            let scale = base.forward(&p[self.base_at.clone()], last, z, mix);
            log_det.iter_mut().for_each(|log_det| *log_det += scale);
        }
    }

    /// With φ = ⟨du, u⟩ + dlog_det·Σ_r ln |det ∂u/∂x|_r: dp += ∂φ/∂p after `forward`, du in `pass.z`.
    ///
    /// Runs from the last layer to the first. A coordinate that passes unchanged keeps its gradient; one that the
    /// conditioner sees also gets the gradient through the conditioner. No gradient of the condition is computed.
    pub fn backward<F: Real>(&self, w: Weights<F>, dlog_det: F, dp: &mut [F], pass: &mut Pass<F>) {
        let (net, n) = (&self.conditioner.net, pass.z.len() / self.dim);
        let Pass { z: dz, kept, last, y: dy, dseen, work, mix, scratch, .. } = pass;
        let work = grow(work, n * self.transform.work());
        if let Some(base) = &self.base {
            let (p, dp) = (&w.p[self.base_at.clone()], &mut dp[self.base_at.clone()]);
            base.backward(p, last, dz, dlog_det, dp, mix);
        }
        for (l, (layer, kept)) in self.layers.iter().zip(kept).enumerate().rev() {
            if let Some(mixer) = &layer.mixer {
                let (p, dp) = (&w.p[layer.mix.clone()], &mut dp[layer.mix.clone()]);
                mixer.backward(p, &kept.moved, dz, dlog_det, dp, mix);
            }
            vectorize(
                #[inline(always)]
                || {
                    for (i, theta) in self.blocks(&mut kept.theta, n) {
                        let (x, dz) = (&kept.x[i * n..][..n], &mut dz[i * n..][..n]);
                        self.transform.backward(theta, x, dz, dlog_det, work);
                    }
                },
            );
            transpose((self.outputs(), n), &kept.theta, dy);
            // The gradient of the data is not needed.
            let mut dseen = (l > 0).then(|| grow(dseen, kept.seen.len()));
            let scratch = grow(scratch, n * net.scratch_width());
            let (w, dp) = (w.slice(layer.net.clone()), &mut dp[layer.net.clone()]);
            let cache = &kept.cache[..n * net.cache_width()];
            net.backward(w, &kept.seen, cache, dy, Some(dp), dseen.as_deref_mut(), scratch);
            let Some(dseen) = dseen else { continue };
            for (i, (dz, x)) in
                dz.chunks_exact_mut(n).zip(kept.x.chunks_exact(n)).enumerate().take(self.sees())
            {
                for ((dz, &x), &dseen) in dz.iter_mut().zip(x).zip(dseen[i..].iter().step_by(net.in_dim())) {
                    *dz += if within_reach(x) == x { dseen } else { F::zero() };
                }
            }
        }
    }

    /// x = f⁻¹(u; c, p): u: (d, n) in `pass.z` becomes x, row by row in `x`: (n, d). Returns how often each
    /// conditioner ran.
    ///
    /// If all coordinates move, they are computed one by one: x_i = T⁻¹(y_i; θ_i(x_<i, c)).
    pub fn inverse<F: Real>(&self, p: &[F], c: &[F], pass: &mut Pass<F>, x: &mut [F]) -> usize {
        let (net, n) = (&self.conditioner.net, pass.z.len() / self.dim);
        let Pass { z, kept, y, work, scratch, .. } = pass;
        kept.resize_with(self.layers.len(), Kept::default);
        let kept = &mut kept[0];
        y.resize(n * self.outputs(), F::zero());
        kept.theta.resize(y.len(), F::zero());
        let (work, scratch) = (grow(work, n * self.transform.work()), grow(scratch, n * net.scratch_width()));
        let mut passes = 0;
        if let Some(base) = &self.base {
            assign(&mut kept.moved, z);
            base.inverse(&p[self.base_at.clone()], &kept.moved, z);
        }
        for layer in self.layers.iter().rev() {
            if let Some(mixer) = &layer.mixer {
                assign(&mut kept.moved, z);
                mixer.inverse(&p[layer.mix.clone()], &kept.moved, z);
            }
            let each = self.conditioner.moves.len() / self.inverse_passes();
            passes = 0;
            for first in self.conditioner.moves.clone().step_by(each) {
                self.look(z, c, n, &mut kept.seen);
                net.infer(&p[layer.net.clone()], &kept.seen, y, scratch);
                passes += 1;
                transpose((n, self.outputs()), y, &mut kept.theta);
                vectorize(
                    #[inline(always)]
                    || {
                        let found = first..first + each;
                        for (i, theta) in self.blocks(&mut kept.theta, n).filter(|(i, _)| found.contains(i)) {
                            self.transform.inverse(theta, &mut z[i * n..][..n], work);
                        }
                    },
                );
            }
        }
        transpose((self.dim, n), z, x);
        passes
    }

    /// x = f⁻¹(u; c, p) of rows u: (n, d) in a graph.
    #[cfg(feature = "onnx")]
    pub fn trace_inverse<F: Real>(
        &self,
        p: &[F],
        u: Value,
        c: Option<Value>,
        graph: &mut Graph,
    ) -> Result<Value> {
        let (moves, params, reach) = (self.conditioner.moves.clone(), self.transform.params(), F::of(REACH));
        let c = c.map(|c| graph.clip(c, -reach, reach));
        let mut z = u;
        if let Some(base) = &self.base {
            z = base.trace_inverse(&p[self.base_at.clone()], z, graph);
        }
        for layer in self.layers.iter().rev() {
            if let Some(mixer) = &layer.mixer {
                z = mixer.trace_inverse(&p[layer.mix.clone()], z, graph);
            }
            let each = moves.len() / self.inverse_passes();
            for first in moves.clone().step_by(each) {
                let seen = (self.sees() > 0).then(|| {
                    let seen = graph.columns(z, 0..self.sees());
                    graph.clip(seen, -reach, reach)
                });
                let seen = graph.concat(&seen.into_iter().chain(c).collect::<Vec<_>>());
                let theta = self.conditioner.net.trace(&p[layer.net.clone()], seen, graph)?;
                let block = (first - moves.start) * params;
                let theta = graph.columns(theta, block..block + each * params);
                let shape = graph.integers(&[3], &[0, each as i64, params as i64]);
                let theta = graph.apply("Reshape", &[theta, shape]);
                let y = graph.columns(z, first..first + each);
                let x = self.transform.trace_inverse::<F>(theta, y, graph);
                let before = (first > 0).then(|| graph.columns(z, 0..first));
                let behind = (first + each < self.dim).then(|| graph.columns(z, first + each..self.dim));
                z = graph.concat(&before.into_iter().chain([x]).chain(behind).collect::<Vec<_>>());
            }
        }
        Ok(z)
    }

    fn sees(&self) -> usize {
        self.conditioner.sees
    }

    /// The coordinates that move, each with its block of θ: (params, n).
    #[inline(always)]
    fn blocks<'t, F>(&self, theta: &'t mut [F], n: usize) -> impl Iterator<Item = (usize, &'t mut [F])> {
        self.conditioner.moves.clone().zip(theta.chunks_exact_mut(self.transform.params() * n))
    }

    /// x_1 … x_sees and c, row by row.
    fn look<F: Real>(&self, z: &[F], c: &[F], n: usize, seen: &mut Vec<F>) {
        let (sees, given, width) = (self.sees(), self.conditioner.given, self.conditioner.net.in_dim());
        seen.resize(n * width, F::zero());
        for (i, z) in z.chunks_exact(n).enumerate().take(sees) {
            seen[i..].iter_mut().step_by(width).zip(z).for_each(|(seen, &z)| *seen = within_reach(z));
        }
        if given > 0 {
            let rows = seen.chunks_exact_mut(width).zip(c.chunks_exact(given).cycle());
            for (seen, c) in rows {
                seen[sees..].iter_mut().zip(c).for_each(|(seen, &c)| *seen = within_reach(c));
            }
        }
    }
}

/// Whether the base of such a chain has covariances.
pub(super) fn has_base(config: &FlowConfig) -> bool {
    config.correlated_base && (2..=MOST_COLUMNS).contains(&config.dim)
}

/// Makes `v` a copy of `x`.
fn assign<F: Real>(v: &mut Vec<F>, x: &[F]) {
    v.clear();
    v.extend_from_slice(x);
}

/// A coordinate, or a number of the condition, is clamped to the limit before a conditioner sees it: θ is bounded, so
/// that a row far outside is moved by at most a multiple of its distance.
fn within_reach<F: Real>(x: F) -> F {
    clamp(x, REACH)
}

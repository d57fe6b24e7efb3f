#[cfg(feature = "onnx")]
use super::modulation;
use super::modulation::{
    Modulation, ModulationGradient, add_normalize_curvature, add_normalize_slope, normalize,
};
#[cfg(feature = "onnx")]
use crate::error::Result;
use crate::nn::{Activation, Fused, Layer, Layout, Linear, Network, Primal, Sequential, Weights};
use crate::numeric::Real;
use crate::numeric::rng::Rng;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// The width of a block's hidden layer, as a multiple of the width of the rows.
pub(super) const EXPANSION: usize = 2;

/// Residual blocks whose normalization is modulated from outside (adaLN-zero, Peebles & Xie 2023, §3.2), followed by
/// a last product.
///
/// With N(h) = (h − mean)/√(var + ε) of a row, block i with its shift β, scale γ and gate α does
///
/// z = N(h)⊙(1 + γ) + β, h ← h + α⊙f(z),
///
/// where f is a perceptron with one hidden layer; then y = (N(h)⊙(1 + γ) + β)·W + b. A row of the modulation holds
/// (β, γ, α) of each block and (β, γ) of the last product; where it is zero, every block is the identity.
///
/// Backward, with r = f(z) and dh the gradient at a block's output: dr = α⊙dh, dα = dh⊙r; f gives dz; dγ = dz⊙N,
/// dβ = dz, dN = dz⊙(1 + γ); and the gradient through N is added to dh. The tangent follows from the product rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Blocks {
    width: usize,
    count: usize,
    /// f.
    body: Fused,
    out: Linear,
}

/// Where the modulation of a block starts: β, γ and α, one after the other.
fn shift(block: usize, width: usize) -> usize {
    3 * block * width
}

/// Consecutive parts of a buffer, of these widths for each of n rows.
pub(super) fn cut<F, const N: usize>(buffer: &[F], n: usize, widths: [usize; N]) -> [&[F]; N] {
    let mut rest = buffer;
    widths.map(|width| {
        let (part, behind) = rest.split_at(n * width);
        rest = behind;
        part
    })
}

/// The same, to write to.
pub(super) fn cut_mut<F, const N: usize>(buffer: &mut [F], n: usize, widths: [usize; N]) -> [&mut [F]; N] {
    let mut rest = buffer;
    widths.map(|width| {
        let (part, behind) = std::mem::take(&mut rest).split_at_mut(n * width);
        rest = behind;
        part
    })
}

impl Blocks {
    pub(super) fn new(width: usize, count: usize, activation: Activation, outputs: usize, gain: f64) -> Self {
        let wide = EXPANSION * width;
        let body = Sequential::new(vec![
            Layer::Linear(Linear::new(width, wide, activation.gain())),
            activation.layer(wide),
            Layer::Linear(Linear::new(wide, width, 1.0)),
        ])
        .fused();
        Blocks { width, count, body, out: Linear::new(width, outputs, gain) }
    }

    /// Columns of the modulation.
    pub(super) fn modulation(&self) -> usize {
        (3 * self.count + 2) * self.width
    }

    pub(super) fn out_dim(&self) -> usize {
        self.out.out_dim()
    }

    pub(super) fn num_params(&self) -> usize {
        self.count * self.body.num_params() + self.out.num_params()
    }

    pub(super) fn describe(&self, prefix: &str, layout: &mut Layout) {
        (0..self.count).for_each(|b| self.body.describe(&format!("{prefix}block.{b}."), layout));
        self.out.describe(&format!("{prefix}out."), layout);
    }

    /// The parameters of block b, or of the last product for the index after the last block.
    fn part(&self, b: usize) -> std::ops::Range<usize> {
        let start = b * self.body.num_params();
        start..start + if b < self.count { self.body.num_params() } else { self.out.num_params() }
    }

    pub(super) fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        (0..self.count).for_each(|b| self.body.init(&mut p[self.part(b)], rng));
        self.out.init(&mut p[self.part(self.count)], rng);
    }

    pub(super) fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        (0..self.count).for_each(|b| self.body.transpose(&p[self.part(b)], &mut t[self.part(b)]));
        let out = self.part(self.count);
        self.out.transpose(&p[out.clone()], &mut t[out]);
    }

    /// For a block: N, 1/√(var + ε), z, r, and the cache of f. For the last product: the first three.
    fn kept(&self) -> [usize; 5] {
        [self.width, 1, self.width, self.width, self.body.cache_width()]
    }

    pub(super) fn cache_width(&self) -> usize {
        self.count * self.kept().iter().sum::<usize>() + 2 * self.width + 1
    }

    fn cache_start(&self, b: usize) -> usize {
        b * self.kept().iter().sum::<usize>()
    }

    /// For a block: ḣ, Ṅ, ż, ṙ, and the tangents of f. For the last product: the first three.
    fn kept_tangents(&self) -> [usize; 5] {
        [self.width, self.width, self.width, self.width, self.body.tangent_width()]
    }

    pub(super) fn tangent_width(&self) -> usize {
        self.count * self.kept_tangents().iter().sum::<usize>() + 3 * self.width
    }

    fn tangent_start(&self, b: usize) -> usize {
        b * self.kept_tangents().iter().sum::<usize>()
    }

    pub(super) fn scratch_width(&self) -> usize {
        4 * self.width + 1 + self.body.scratch_width()
    }

    /// y of rows h: (n, width), which are overwritten. Nothing is kept.
    pub(super) fn infer<F: Real>(
        &self,
        p: &[F],
        modulation: Modulation<F>,
        h: &mut [F],
        y: &mut [F],
        scratch: &mut [F],
    ) {
        let (n, w) = (h.len() / self.width, self.width);
        let [u, s, z, r, inner] = cut_mut(scratch, n, [w, 1, w, w, self.body.scratch_width()]);
        for b in 0..self.count {
            let at = shift(b, w);
            normalize(w, h, u, s);
            modulation.modulate(w, at, u, z);
            self.body.infer(&p[self.part(b)], z, r, inner);
            modulation.add_times(w, at + 2 * w, r, h);
        }
        normalize(w, h, u, s);
        modulation.modulate(w, shift(self.count, w), u, z);
        self.out.infer(&p[self.part(self.count)], z, y, inner);
    }

    /// y of rows h: (n, width) in a graph, modulated by (n, columns) or (1, columns).
    #[cfg(feature = "onnx")]
    pub(super) fn trace<F: Real>(
        &self,
        p: &[F],
        modulation: Value,
        mut h: Value,
        graph: &mut Graph,
    ) -> Result<Value> {
        let w = self.width;
        for b in 0..self.count {
            let at = shift(b, w);
            let z = modulation::trace::<F>(w, at, h, modulation, graph);
            let r = self.body.trace(&p[self.part(b)], z, graph)?;
            let gate = graph.columns(modulation, at + 2 * w..at + 3 * w);
            let r = graph.mul(gate, r);
            h = graph.add(h, r);
        }
        let z = modulation::trace::<F>(w, shift(self.count, w), h, modulation, graph);
        self.out.trace(&p[self.part(self.count)], z, graph)
    }

    /// y of rows h: (n, width), which are overwritten.
    pub(super) fn forward<F: Real>(
        &self,
        p: &[F],
        modulation: Modulation<F>,
        h: &mut [F],
        y: &mut [F],
        cache: &mut [F],
    ) {
        let (n, w) = (h.len() / self.width, self.width);
        for b in 0..self.count {
            let at = shift(b, w);
            let [u, s, z, r, inner] = cut_mut(&mut cache[n * self.cache_start(b)..], n, self.kept());
            normalize(w, h, u, s);
            modulation.modulate(w, at, u, z);
            self.body.forward(&p[self.part(b)], z, r, inner);
            modulation.add_times(w, at + 2 * w, r, h);
        }
        let [u, s, z] = cut_mut(&mut cache[n * self.cache_start(self.count)..], n, [w, 1, w]);
        normalize(w, h, u, s);
        modulation.modulate(w, shift(self.count, w), u, z);
        self.out.forward(&p[self.part(self.count)], z, y, &mut []);
    }

    /// dp += ∂⟨dy, y⟩/∂p, the same of the modulation, and dh: (n, width).
    pub(super) fn backward<F: Real>(
        &self,
        w: Weights<F>,
        modulation: Modulation<F>,
        cache: &[F],
        dy: &[F],
        mut dp: Option<&mut [F]>,
        mut dmodulation: ModulationGradient<F>,
        dh: &mut [F],
        scratch: &mut [F],
    ) {
        let (n, width) = (dh.len() / self.width, self.width);
        let [dz, dr, inner] = cut_mut(scratch, n, [width, width, self.body.scratch_width()]);
        dh.fill(F::zero());
        for b in (0..=self.count).rev() {
            let start = shift(b, width);
            let (part, cache) = (self.part(b), &cache[n * self.cache_start(b)..]);
            let dp = dp.as_deref_mut().map(|dp| &mut dp[part.clone()]);
            let [u, s, z] = cut(cache, n, [width, 1, width]);
            if b == self.count {
                self.out.backward(w.slice(part), z, &[], dy, dp, Some(&mut *dz), inner);
            } else {
                let [_, _, _, r, kept] = cut(cache, n, self.kept());
                modulation.times(width, start + 2 * width, dh, dr);
                dmodulation.add_product(width, start + 2 * width, dh, r);
                self.body.backward(w.slice(part), z, kept, dr, dp, Some(&mut *dz), inner);
            }
            dmodulation.add_modulate(width, start, u, dz);
            modulation.scale(width, start + width, dz);
            add_normalize_slope(width, (u, s), dz, dh);
        }
    }

    /// ẏ of ḣ: (n, width), which is overwritten, and of the tangent of the modulation, if it has one.
    pub(super) fn jvp<F: Real>(
        &self,
        p: &[F],
        modulation: Modulation<F>,
        rate: Option<Modulation<F>>,
        cache: &[F],
        hdot: &mut [F],
        ydot: &mut [F],
        tangents: &mut [F],
    ) {
        let (n, w) = (hdot.len() / self.width, self.width);
        for b in 0..=self.count {
            let start = shift(b, w);
            let (part, cache) = (self.part(b), &cache[n * self.cache_start(b)..]);
            let tangents = &mut tangents[n * self.tangent_start(b)..];
            let [before, udot, zdot] = cut_mut(tangents, n, [w, w, w]);
            let [u, s, z] = cut(cache, n, [w, 1, w]);
            before.copy_from_slice(hdot);
            udot.fill(F::zero());
            add_normalize_slope(w, (u, s), hdot, udot);
            zdot.copy_from_slice(udot);
            modulation.add_times(w, start + w, udot, zdot);
            if let Some(rate) = rate {
                rate.add_times(w, start + w, u, zdot);
                rate.add(w, start, zdot);
            }
            if b == self.count {
                return self.out.jvp(&p[part], &[], &[], zdot, ydot, &mut []);
            }
            let [_, _, _, r, kept] = cut(cache, n, self.kept());
            let [_, _, zdot, rdot, inner] = cut_mut(tangents, n, self.kept_tangents());
            self.body.jvp(&p[part], z, kept, zdot, rdot, inner);
            modulation.add_times(w, start + 2 * w, rdot, hdot);
            if let Some(rate) = rate {
                rate.add_times(w, start + 2 * w, r, hdot);
            }
        }
    }

    /// With φ = ⟨dy, y⟩ + ⟨dẏ, ẏ⟩: dp += ∂φ/∂p, the same of the modulation and of its tangent, if it has one, and dh
    /// and dḣ: (n, width).
    ///
    /// For a block, with dh and dḣ at its output: dr = α⊙dh + α̇⊙dḣ, dṙ = α⊙dḣ, dα = r⊙dh + ṙ⊙dḣ, dα̇ = r⊙dḣ; f gives
    /// dz and dż; dN = (1 + γ)⊙dz + γ̇⊙dż, dṄ = (1 + γ)⊙dż, dγ = N⊙dz + Ṅ⊙dż, dγ̇ = N⊙dż, dβ = dz, dβ̇ = dż.
    pub(super) fn jvp_backward<F: Real>(
        &self,
        w: Weights<F>,
        modulation: Modulation<F>,
        (cache, tangents): (&[F], &[F]),
        (dy, dydot): (Option<&[F]>, &[F]),
        mut dp: Option<&mut [F]>,
        mut dmodulation: ModulationGradient<F>,
        mut rate: Option<(Modulation<F>, ModulationGradient<F>)>,
        (dh, dhdot): (&mut [F], &mut [F]),
        scratch: &mut [F],
    ) {
        let (n, width) = (dh.len() / self.width, self.width);
        let [dz, dzdot, dr, drdot, inner] =
            cut_mut(scratch, n, [width, width, width, width, self.body.scratch_width()]);
        dh.fill(F::zero());
        dhdot.fill(F::zero());
        for b in (0..=self.count).rev() {
            let start = shift(b, width);
            let (part, cache) = (self.part(b), &cache[n * self.cache_start(b)..]);
            let tangents = &tangents[n * self.tangent_start(b)..];
            let dp = dp.as_deref_mut().map(|dp| &mut dp[part.clone()]);
            let [u, s, z] = cut(cache, n, [width, 1, width]);
            let [hdot, udot, zdot] = cut(tangents, n, [width, width, width]);
            let (to, to_rate) = (Some(&mut *dz), Some(&mut *dzdot));
            let w = w.slice(part);
            if b == self.count {
                let at = Primal { x: z, xdot: zdot, cache: &[], tangents: &[], adjoints: None };
                self.out.jvp_backward(w, at, dy, dydot, dp, to, to_rate, inner);
            } else {
                let [_, _, _, r, cache] = cut(cache, n, self.kept());
                let [_, _, _, rdot, tangents] = cut(tangents, n, self.kept_tangents());
                let gate = start + 2 * width;
                modulation.times(width, gate, dh, dr);
                modulation.times(width, gate, dhdot, drdot);
                dmodulation.add_product(width, gate, dh, r);
                dmodulation.add_product(width, gate, dhdot, rdot);
                if let Some((rate, drate)) = &mut rate {
                    rate.add_times(width, gate, dhdot, dr);
                    drate.add_product(width, gate, dhdot, r);
                }
                let at = Primal { x: z, xdot: zdot, cache, tangents, adjoints: None };
                self.body.jvp_backward(w, at, Some(dr), drdot, dp, to, to_rate, inner);
            }
            dmodulation.add_modulate(width, start, u, dz);
            dmodulation.add_product(width, start + width, udot, dzdot);
            modulation.scale(width, start + width, dz);
            if let Some((rate, drate)) = &mut rate {
                rate.add_times(width, start + width, dzdot, dz);
                drate.add_modulate(width, start, u, dzdot);
            }
            modulation.scale(width, start + width, dzdot);
            add_normalize_curvature(width, (u, s), (hdot, udot), dzdot, (dz, dh));
            add_normalize_slope(width, (u, s), dz, dh);
            add_normalize_slope(width, (u, s), dzdot, dhdot);
        }
    }
}

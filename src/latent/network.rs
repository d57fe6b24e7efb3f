use std::ops::Range;

use super::{DecoderVariance, VaeConfig};
#[cfg(feature = "onnx")]
use crate::error::Result;
use crate::nn::{
    Fused, Layer, Linear, Masked, Network, NetworkSpec, REACH, Tape, Weights, clamp, grow, join, take_rows,
};
use crate::numeric::Real;
use crate::numeric::rng::Rng;
use crate::numeric::simd::vectorize;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// Encoder and decoder, with their parameters one after the other: p = [encoder | decoder].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Networks {
    /// x: (n, dim), c → q(z|x, c) = N(μ, σ²).
    pub encoder: GaussianNetwork,
    /// z: (n, latent), c → p(x|z, c) = N(m, s²).
    pub decoder: GaussianNetwork,
}

impl Networks {
    pub fn new(config: &VaeConfig) -> Self {
        let (dim, latent_dim) = (config.dim, config.latent_dim);
        let encoder =
            GaussianNetwork::new(config, &config.encoder, (dim, latent_dim), DecoderVariance::PerRow, 0);
        let start = encoder.range.end;
        let variance = config.decoder_variance;
        let decoder = GaussianNetwork::new(config, &config.decoder, (latent_dim, dim), variance, start);
        Networks { encoder, decoder }
    }

    /// The number of parameters of both, saturating at the largest usize.
    pub fn count_params(config: &VaeConfig) -> usize {
        let VaeConfig { dim, latent_dim, encoder, decoder, .. } = config;
        let width = config.condition.width();
        let encoder = encoder.params_ending_in(*dim, width, 2 * latent_dim);
        encoder.saturating_add(decoder.params_ending_in(*latent_dim, width, 2 * dim))
    }

    pub fn num_params(&self) -> usize {
        self.decoder.range.end
    }

    /// The table of p.
    #[cfg(feature = "safetensors")]
    pub fn layout(&self) -> crate::nn::Layout {
        let mut layout = Default::default();
        self.encoder.net.describe("encoder.", &mut layout);
        self.decoder.net.describe("decoder.", &mut layout);
        layout
    }

    pub fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        for GaussianNetwork { net, range, .. } in [&self.encoder, &self.decoder] {
            net.init(&mut p[range.clone()], rng);
        }
    }

    pub fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        for GaussianNetwork { net, range, .. } in [&self.encoder, &self.decoder] {
            net.transpose(&p[range.clone()], &mut t[range.clone()]);
        }
    }

    /// The rows of x, clamped for the encoder: beyond the limit, q(z|x) keeps its value at the limit.
    pub fn within_reach<F: Real>(x: &[F], near: &mut Vec<F>) {
        near.clear();
        near.extend(x.iter().map(|&x| clamp(x, REACH)));
    }
}

/// A network of rows and their conditions that ends in a diagonal Gaussian: its output is [mean | a], and sd = floor
/// + softplus(a), which is positive, smooth, and grows no faster than a.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GaussianNetwork {
    net: Fused,
    /// Columns of a row, and of a condition.
    inputs: usize,
    width: usize,
    /// The range of its parameters in p.
    pub range: Range<usize>,
    floor: f64,
}

/// The Gaussians of some rows, and the buffers used to compute them.
#[derive(Debug, Default)]
pub(super) struct Gaussians<F> {
    /// (n, d)
    pub mean: Vec<F>,
    /// (n, d)
    pub sd: Vec<F>,
    // ∂sd/∂a: (n, d)
    slope: Vec<F>,
    // (n, 2d)
    dy: Vec<F>,
    // [x | c] and its gradient: (n, inputs + width)
    joined: Vec<F>,
    djoined: Vec<F>,
    tape: Tape<F>,
}

impl GaussianNetwork {
    /// A network for rows of `inputs` columns with conditions, whose parameters begin at `start`.
    fn new(
        config: &VaeConfig,
        spec: &NetworkSpec,
        (inputs, outputs): (usize, usize),
        variance: DecoderVariance,
        start: usize,
    ) -> Self {
        let width = config.condition.width();
        let net = spec.ending_in(inputs, width, |columns| match variance {
            DecoderVariance::PerRow => Layer::Linear(Linear::new(columns, 2 * outputs, 1.0)),
            // a does not depend on the input: its bias is one standard deviation per column, shared by all rows.
            DecoderVariance::Shared => {
                Layer::Masked(Masked::new(columns, 2 * outputs, 1.0, |_, output| output < outputs))
            }
        });
        GaussianNetwork { range: start..start + net.num_params(), net, inputs, width, floor: config.min_sd }
    }

    /// Columns of mean and sd.
    pub fn dim(&self) -> usize {
        self.net.out_dim() / 2
    }

    /// The Gaussians of rows x: (n, inputs) with conditions c: (n, width) or (1, width), kept for `backward`.
    pub fn forward<F: Real>(&self, p: &[F], x: &[F], c: &[F], out: &mut Gaussians<F>) {
        let joined = join(x, self.inputs, c, self.width, &mut out.joined);
        out.tape.forward(&self.net, &p[self.range.clone()], joined);
        out.read(self.dim(), F::of(self.floor));
    }

    /// The same Gaussians, without keeping anything.
    pub fn infer<F: Real>(&self, p: &[F], x: &[F], c: &[F], out: &mut Gaussians<F>) {
        let joined = join(x, self.inputs, c, self.width, &mut out.joined);
        out.tape.infer(&self.net, &p[self.range.clone()], joined);
        out.read(self.dim(), F::of(self.floor));
    }

    /// Only the means: (n, d).
    pub fn infer_mean<F: Real>(&self, p: &[F], x: &[F], c: &[F], out: &mut Gaussians<F>, mean: &mut [F]) {
        let d = self.dim();
        let joined = join(x, self.inputs, c, self.width, &mut out.joined);
        let y = out.tape.infer(&self.net, &p[self.range.clone()], joined);
        for (mean, y) in mean.chunks_exact_mut(d).zip(y.chunks_exact(2 * d)) {
            mean.copy_from_slice(&y[..d]);
        }
    }

    /// Mean and sd of rows x: (n, inputs) with conditions, each (n, d), in a graph.
    #[cfg(feature = "onnx")]
    pub fn trace<F: Real>(
        &self,
        p: &[F],
        x: Value,
        c: Option<Value>,
        graph: &mut Graph,
    ) -> Result<(Value, Value)> {
        let joined = graph.concat(&[x].into_iter().chain(c).collect::<Vec<_>>());
        let y = self.net.trace(&p[self.range.clone()], joined, graph)?;
        let d = self.dim();
        let a = graph.columns(y, d..2 * d);
        let sd = graph.apply("Softplus", &[a]);
        Ok((graph.columns(y, 0..d), graph.shifted(sd, F::of(self.floor))))
    }

    /// dp += and dx = the gradient of ⟨dmean, mean⟩ + ⟨dsd, sd⟩ at the last `forward`; da = dsd·∂sd/∂a.
    pub fn backward<F: Real>(
        &self,
        w: Weights<F>,
        dmean: &[F],
        dsd: &[F],
        at: &mut Gaussians<F>,
        dp: &mut [F],
        dx: Option<&mut [F]>,
    ) {
        let d = self.dim();
        at.dy.clear();
        for ((dmean, dsd), slope) in
            dmean.chunks_exact(d).zip(dsd.chunks_exact(d)).zip(at.slope.chunks_exact(d))
        {
            at.dy.extend_from_slice(dmean);
            at.dy.extend(dsd.iter().zip(slope).map(|(&dsd, &slope)| dsd * slope));
        }
        let (range, Gaussians { tape, dy, djoined, .. }) = (self.range.clone(), at);
        let (w, dp) = (w.slice(range.clone()), Some(&mut dp[range]));
        match dx {
            Some(dx) if self.width > 0 => {
                let djoined = grow(djoined, dx.len() / self.inputs * (self.inputs + self.width));
                tape.backward(&self.net, w, dy, dp, Some(&mut *djoined));
                take_rows(djoined, self.inputs, self.width, dx);
            }
            dx => tape.backward(&self.net, w, dy, dp, dx),
        }
    }
}

impl<F: Real> Gaussians<F> {
    /// mean, sd and ∂sd/∂a = σ(a) from the network's output.
    fn read(&mut self, d: usize, floor: F) {
        let Gaussians { mean, sd, slope, tape, .. } = self;
        mean.clear();
        sd.clear();
        for y in tape.y().chunks_exact(2 * d) {
            mean.extend_from_slice(&y[..d]);
            sd.extend_from_slice(&y[d..]);
        }
        slope.resize(sd.len(), F::zero());
        vectorize(
            #[inline(always)]
            move || {
                for (sd, slope) in sd.iter_mut().zip(slope) {
                    let a = *sd;
                    (*sd, *slope) = (floor + a.fast_softplus(), a.fast_sigmoid());
                }
            },
        );
    }
}

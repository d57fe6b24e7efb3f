use std::ops::Range;

use super::{
    Activation, Fourier, Layer, Linear, Network, Primal, Sequential, Weights, fade::Fade, grow, limits,
    most_octaves,
};
use crate::error::Result;
use crate::numeric::Real;
use crate::numeric::gemm::{Init, Strided, gemm};
use crate::numeric::rng::Rng;
use crate::numeric::simd::vectorise;

/// Standard deviations from the mean beyond which the network does not look: there v stays what it is at the
/// edge, or is 0 where it fades out before.
const REACH: f64 = 20.0;

/// The most octaves of a [`Timed`] network.
pub(crate) const OCTAVES: usize = most_octaves(REACH);

/// Where on its way between noise and data a row is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moment {
    /// What tells the network the time.
    pub(crate) time: f64,
    /// Standard deviation of the noise in x, which fades out the features that it hides.
    pub(crate) blur: f64,
}

/// A network v(x, τ) of rows x: (n, d) and the moment of each: what a diffusion and a continuous flow learn.
///
/// With x̃ = clamp(x, ±REACH): h = b + T(time)·Wt + F(x̃, blur)·Wx, v = rest(h). T is a sinusoidal embedding,
/// F the blurred Fourier features. v starts at 0. With [`fading`](Timed::fading), v comes to rest before the
/// reach ends: a field of noise that is N(0, I) there leaves rows where they are, and so their density is the
/// normal one.
///
/// The two products are added, not concatenated, so where all rows share a moment, b + T·Wt is computed once.
/// p = [Wt (ft, h), b (h), Wx (fx, h), rest].
#[derive(Debug, Clone)]
pub(crate) struct Timed {
    features: Blurred,
    embedding: Fourier,
    time: Linear,
    rest: Sequential,
    fades: bool,
}

/// The buffers of one batch of rows, sized on first use and kept: `forward` may be followed by the others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pass<F> {
    time: Vec<F>,  // of each moment: (n) or (1)
    blur: Vec<F>,  // (n) or (1)
    f: Vec<F>,     // F(x̃, blur): (fx, n)
    t: Vec<F>,     // T(time): (n, ft) or (1, ft)
    share: Vec<F>, // b + T·Wt where all rows share a moment: (1, h)
    h: Vec<F>,     // (n, h)
    cache: Vec<F>, // of `rest`
    v: Vec<F>,     // (n, d)
    fade: Fade<F>,
    // Of the derivatives.
    dh: Vec<F>,       // (n, h)
    dhdot: Vec<F>,    // (n, h)
    fdot: Vec<F>,     // (fx, n)
    hdot: Vec<F>,     // (n, h)
    vdot: Vec<F>,     // (n, d)
    tangents: Vec<F>, // of `rest`
    scratch: Vec<F>,
}

impl<F: Real> Pass<F> {
    /// Whether v is 0 at a row and about it, after `infer` or `forward`.
    pub(crate) fn rests(&self, row: usize) -> bool {
        self.fade.rests(row)
    }
}

/// x̃.
pub(crate) fn clamp<F: Real>(x: F) -> F {
    x.max(F::of(-REACH)).min(F::of(REACH))
}

/// How many parameters a [`Timed`] has; a count beyond usize is the largest.
pub(crate) fn count_params(dim: usize, hidden: &[usize], octaves: usize, time_features: usize) -> usize {
    // Both kinds of features go into the first layer.
    limits::count_params(Blurred { dim, octaves }.count() + time_features, hidden, dim)
}

impl Timed {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for an odd or no number of time features.
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
            rest: Sequential::new(layers),
            fades: false,
        })
    }

    /// The same with a [`Fade`].
    pub(crate) fn fading(self) -> Self {
        Timed { fades: true, ..self }
    }

    pub(crate) fn dim(&self) -> usize {
        self.features.dim
    }

    pub(crate) fn num_params(&self) -> usize {
        self.parts()[2].end
    }

    /// The table of p.
    #[cfg(feature = "safetensors")]
    pub(crate) fn layout(&self) -> super::Layout {
        let mut layout = Default::default();
        self.time.describe("time.", &mut layout);
        layout.push("features.weight".into(), &[self.features.count(), self.rest.in_dim()]);
        self.rest.describe("rest.", &mut layout);
        layout
    }

    /// Refuses a config whose network the file cannot hold.
    #[cfg(feature = "safetensors")]
    pub(crate) fn fits(
        stored: &crate::model::file::Stored,
        dim: usize,
        hidden: &[usize],
        octaves: usize,
        time_features: usize,
    ) -> Result<()> {
        let chain = [&[time_features], hidden, &[dim]].concat();
        let features = crate::model::file::features(dim, octaves);
        stored.fits(2 * (hidden.len() + 1) + 1, &[&chain, &[features, hidden[0]]])
    }

    /// Where Wt and b, Wx, and the rest stand in p.
    fn parts(&self) -> [Range<usize>; 3] {
        let inputs = self.time.num_params();
        let rest = inputs + self.features.count() * self.rest.in_dim();
        [0..inputs, inputs..rest, rest..rest + self.rest.num_params()]
    }

    pub(crate) fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        let [time, inputs, rest] = self.parts();
        self.time.init(&mut p[time], rng);
        let sd = F::of((self.features.count() as f64).sqrt().recip());
        p[inputs].iter_mut().for_each(|w| *w = sd * F::normal(rng));
        self.rest.init(&mut p[rest], rng);
    }

    /// Fills the part of t that `backward` reads: nothing flows back through the first layer.
    pub(crate) fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        let [_, _, rest] = self.parts();
        self.rest.transpose(&p[rest.clone()], &mut t[rest]);
    }

    /// The first layer: h of rows x: (n, d), at `moments`, one for each row or a single one for all.
    fn first_layer<F: Real>(
        &self,
        p: &[F],
        x: &[F],
        moments: impl ExactSizeIterator<Item = Moment>,
        pass: &mut Pass<F>,
    ) {
        let [time, inputs, _] = self.parts();
        let (n, m, width) = (x.len() / self.dim(), moments.len(), self.rest.in_dim());
        pass.time.clear();
        pass.blur.clear();
        for moment in moments {
            pass.time.push(F::of(moment.time));
            pass.blur.push(F::of(moment.blur));
        }
        let t = grow(&mut pass.t, m * self.embedding.out_dim());
        self.embedding.infer(&[], &pass.time, t, &mut []);
        let h = grow(&mut pass.h, n * width);
        let init = if m == n {
            self.time.infer(&p[time], t, h, &mut []);
            Init::Accumulate
        } else {
            let share = grow(&mut pass.share, width);
            self.time.infer(&p[time], t, share, &mut []);
            Init::Bias(share)
        };
        let f = grow(&mut pass.f, self.features.count() * n);
        self.features.evaluate(x, &pass.blur, f);
        let f = Strided::transposed(f, n);
        gemm((n, width, self.features.count()), f, &p[inputs], width, init, h);
    }

    /// v of rows x: (n, d), all at one moment, nothing kept.
    pub(crate) fn infer<'a, F: Real>(
        &self,
        p: &[F],
        x: &[F],
        moment: Moment,
        pass: &'a mut Pass<F>,
    ) -> &'a mut [F] {
        self.first_layer(p, x, std::iter::once(moment), pass);
        let [_, _, rest] = self.parts();
        let n = x.len() / self.dim();
        let h = &pass.h[..n * self.rest.in_dim()];
        let scratch = grow(&mut pass.scratch, n * self.rest.scratch_width());
        let v = grow(&mut pass.v, x.len());
        self.rest.infer(&p[rest], h, v, scratch);
        self.fade(x, v, &mut pass.fade);
        v
    }

    /// v of rows x: (n, d), at `moments`, one for each row or a single one for all.
    pub(crate) fn forward<'a, F: Real>(
        &self,
        p: &[F],
        x: &[F],
        moments: impl ExactSizeIterator<Item = Moment>,
        pass: &'a mut Pass<F>,
    ) -> &'a mut [F] {
        self.first_layer(p, x, moments, pass);
        let [_, _, rest] = self.parts();
        let n = x.len() / self.dim();
        let h = &pass.h[..n * self.rest.in_dim()];
        let cache = grow(&mut pass.cache, n * self.rest.cache_width());
        let v = grow(&mut pass.v, x.len());
        self.rest.forward(&p[rest], h, v, cache);
        self.fade(x, v, &mut pass.fade);
        v
    }

    fn fade<F: Real>(&self, x: &[F], v: &mut [F], fade: &mut Fade<F>) {
        if self.fades {
            fade.apply(self.dim(), x, v);
        } else {
            fade.clear();
        }
    }

    /// dp += ∂⟨dv, v⟩/∂p after `forward` with a moment for each row.
    ///
    /// `rest` gives dh; then dWt = Tᵀ·dh, db = 1ᵀ·dh, dWx = Fᵀ·dh.
    pub(crate) fn backward<F: Real>(&self, w: Weights<F>, dv: &[F], dp: &mut [F], pass: &mut Pass<F>) {
        let [_, inputs, rest] = self.parts();
        let (n, width) = (dv.len() / self.dim(), self.rest.in_dim());
        let dv = pass.fade.backward(self.dim(), dv);
        let dh = grow(&mut pass.dh, n * width);
        let scratch = grow(&mut pass.scratch, n * self.rest.scratch_width());
        let (h, cache) = (&pass.h[..n * width], &pass.cache[..n * self.rest.cache_width()]);
        self.rest.backward(w.slice(rest.clone()), h, cache, dv, Some(&mut dp[rest]), Some(dh), scratch);
        self.add_time(w, &pass.t, dh, dp);
        self.add_inputs(&pass.f, dh, &mut dp[inputs]);
    }

    /// dp += ∂(⟨dv, v⟩ + ⟨dv̇, v̇⟩)/∂p after `forward` with a moment for each row, and `jvp`.
    ///
    /// As `backward`: `rest` gives dh and dḣ, and since ḣ = Ḟ·Wx, dWx = Fᵀ·dh + Ḟᵀ·dḣ. The moments have no
    /// tangent.
    pub(crate) fn jvp_backward<F: Real>(
        &self,
        w: Weights<F>,
        dv: &[F],
        dvdot: &[F],
        dp: &mut [F],
        pass: &mut Pass<F>,
    ) {
        let [_, inputs, rest] = self.parts();
        let (n, width) = (dv.len() / self.dim(), self.rest.in_dim());
        let (dv, dvdot) = pass.fade.jvp_backward(self.dim(), dv, dvdot);
        let (dh, dhdot) = (grow(&mut pass.dh, n * width), grow(&mut pass.dhdot, n * width));
        let scratch = grow(&mut pass.scratch, n * self.rest.scratch_width());
        let at = Primal {
            x: &pass.h[..n * width],
            xdot: &pass.hdot[..n * width],
            cache: &pass.cache[..n * self.rest.cache_width()],
            tangents: &pass.tangents[..n * self.rest.tangent_width()],
            adjoints: None,
        };
        let (part, dh_too, dhdot_too) = (&mut dp[rest.clone()], Some(&mut *dh), Some(&mut *dhdot));
        self.rest.jvp_backward(w.slice(rest), at, Some(dv), dvdot, Some(part), dh_too, dhdot_too, scratch);
        self.add_time(w, &pass.t, dh, dp);
        self.add_inputs(&pass.f, dh, &mut dp[inputs.clone()]);
        self.add_inputs(&pass.fdot, dhdot, &mut dp[inputs]);
    }

    /// dWt += Tᵀ·dh, db += 1ᵀ·dh.
    fn add_time<F: Real>(&self, w: Weights<F>, t: &[F], dh: &[F], dp: &mut [F]) {
        let [time, _, _] = self.parts();
        let t = &t[..dh.len() / self.rest.in_dim() * self.embedding.out_dim()];
        self.time.backward(w.slice(time.clone()), t, &[], dh, Some(&mut dp[time]), None, &mut []);
    }

    /// dWx += Fᵀ·dh.
    fn add_inputs<F: Real>(&self, f: &[F], dh: &[F], dwx: &mut [F]) {
        let (count, width) = (self.features.count(), self.rest.in_dim());
        let n = dh.len() / width;
        let f = Strided::rows(&f[..count * n], n);
        gemm((count, width, n), f, dh, width, Init::Accumulate, dwx);
    }

    /// v̇ = (∂v/∂x) ẋ after `forward` on the same x.
    pub(crate) fn jvp<'a, F: Real>(
        &self,
        p: &[F],
        x: &[F],
        xdot: &[F],
        pass: &'a mut Pass<F>,
    ) -> &'a mut [F] {
        let [_, inputs, rest] = self.parts();
        let (n, d, width) = (x.len() / self.dim(), self.dim(), self.rest.in_dim());
        let count = self.features.count();
        let fdot = grow(&mut pass.fdot, count * n);
        self.features.jvp(x, &pass.f[..count * n], xdot, fdot);
        let hdot = grow(&mut pass.hdot, n * width);
        gemm((n, width, count), Strided::transposed(fdot, n), &p[inputs], width, Init::Zero, hdot);
        let vdot = grow(&mut pass.vdot, n * d);
        let tangents = grow(&mut pass.tangents, n * self.rest.tangent_width());
        let (h, cache) = (&pass.h[..n * width], &pass.cache[..n * self.rest.cache_width()]);
        self.rest.jvp(&p[rest], h, cache, hdot, vdot, tangents);
        pass.fade.jvp(d, x, xdot, vdot);
        vdot
    }
}

/// Fourier features as the noise lets them be seen: x̃ⱼ, and aₖ sin ωₖx̃ⱼ and aₖ cos ωₖx̃ⱼ with ωₖ = 2ᵏ and
/// aₖ = exp(−(ωₖσ)²/4).
///
/// A network on raw coordinates learns fine detail last, and Fourier features bring it out (Tancik et al.
/// 2020). But a density blurred by noise σ has no detail finer than σ, and there high frequencies only
/// roughen ε̂ and ruin its divergence. aₖ is the mean of the feature over noise of standard deviation σ/√2
/// (Barron et al. 2021): it fades out what the noise hides.
///
/// Stored (features, n), so that each loop runs along the rows. The sine is the cosine's slope and the other
/// way round, so the tangent needs nothing but the features: d(a sin ωx)/dx = ω (a cos ωx), d(a cos ωx)/dx =
/// −ω (a sin ωx).
#[derive(Debug, Clone)]
struct Blurred {
    dim: usize,
    octaves: usize,
}

impl Blurred {
    fn count(&self) -> usize {
        self.dim * (1 + 2 * self.octaves)
    }

    /// (ωₖ, sine and cosine of octave k) of a feature buffer without its raw block, each (d, n).
    fn bands<'a, F: Real>(
        &self,
        f: &'a mut [F],
    ) -> impl Iterator<Item = (F, (&'a mut [F], &'a mut [F]))> + use<'a, F> {
        let block = f.len() / (2 * self.octaves).max(1);
        let omega = |k: usize| F::of(2f64.powi(k as i32));
        f.chunks_exact_mut((2 * block).max(1))
            .enumerate()
            .map(move |(k, band)| (omega(k), band.split_at_mut(block)))
    }

    /// f: (count, n) of x: (n, d).
    fn evaluate<F: Real>(&self, x: &[F], blur: &[F], f: &mut [F]) {
        let (n, d) = (x.len() / self.dim, self.dim);
        let (raw, waves) = f.split_at_mut(d * n);
        for (j, raw) in raw.chunks_exact_mut(n).enumerate() {
            raw.iter_mut().zip(x[j..].iter().step_by(d)).for_each(|(to, &x)| *to = clamp(x));
        }
        for (omega, (sines, cosines)) in self.bands(waves) {
            let columns = sines.chunks_exact_mut(n).zip(cosines.chunks_exact_mut(n));
            for (x, (sines, cosines)) in raw.chunks_exact(n).zip(columns) {
                wave(omega, x, blur, sines, cosines);
            }
        }
    }

    /// ḟ: (count, n) of ẋ: (n, d), at the features f of x.
    fn jvp<F: Real>(&self, x: &[F], f: &[F], xdot: &[F], fdot: &mut [F]) {
        let (n, d) = (x.len() / self.dim, self.dim);
        let (raw, waves) = fdot.split_at_mut(d * n);
        for (j, raw) in raw.chunks_exact_mut(n).enumerate() {
            let columns = x[j..].iter().step_by(d).zip(xdot[j..].iter().step_by(d));
            for (to, (&x, &xdot)) in raw.iter_mut().zip(columns) {
                *to = if clamp(x) == x { xdot } else { F::zero() };
            }
        }
        for ((omega, (dsines, dcosines)), waves) in
            self.bands(waves).zip(f[d * n..].chunks_exact((2 * d * n).max(1)))
        {
            let (sines, cosines) = waves.split_at(d * n);
            for i in 0..d * n {
                dsines[i] = omega * cosines[i] * raw[i];
                dcosines[i] = -omega * sines[i] * raw[i];
            }
        }
    }
}

/// aₖ sin ωx̃ and aₖ cos ωx̃ of one coordinate x̃: (n), at a blur each or one for all.
fn wave<F: Real>(omega: F, x: &[F], blur: &[F], sines: &mut [F], cosines: &mut [F]) {
    let quarter = F::of(-0.25);
    vectorise(
        // It owns what it captures: behind a reference that might alias the output, and the loops would stay
        // scalar.
        #[inline(always)]
        move || {
            for ((&x, s), c) in x.iter().zip(&mut *sines).zip(&mut *cosines) {
                (*s, *c) = (omega * x).fast_sin_cos();
            }
            let fade = move |blur: F| (quarter * (omega * blur) * (omega * blur)).fast_exp();
            if let [blur] = *blur {
                let a = fade(blur);
                for (s, c) in sines.iter_mut().zip(cosines) {
                    (*s, *c) = (a * *s, a * *c);
                }
            } else {
                for ((s, c), &blur) in sines.iter_mut().zip(cosines).zip(blur) {
                    let a = fade(blur);
                    (*s, *c) = (a * *s, a * *c);
                }
            }
        },
    );
}

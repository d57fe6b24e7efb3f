use super::timed::clamp;
use crate::numeric::Real;
use crate::numeric::simd::vectorize;
#[cfg(feature = "onnx")]
use crate::onnx::{Attribute, Graph, Value};

/// Fourier features damped by the noise in x: x̃ⱼ, and aₖ sin ωₖx̃ⱼ and aₖ cos ωₖx̃ⱼ with ωₖ = 2ᵏ and
/// aₖ = exp(−(ωₖσ)²/4).
///
/// A network on raw coordinates learns fine detail last; Fourier features help it to learn such detail (Tancik et
/// al. 2020). But a density blurred by noise σ has no detail finer than σ, and there high frequencies only make ε̂
/// rougher and its divergence inaccurate. aₖ is the mean of the feature over noise of standard deviation σ/√2
/// (Barron et al. 2021): it fades out the detail that the noise hides.
///
/// Stored as (features, n), so that each loop runs along the rows. The derivative of the sine is the cosine and vice
/// versa, so the tangent needs only the features: d(a sin ωx)/dx = ω (a cos ωx), d(a cos ωx)/dx = −ω (a sin ωx).
#[derive(Debug, Clone)]
pub(super) struct Blurred {
    pub(super) dim: usize,
    pub(super) octaves: usize,
}

impl Blurred {
    /// Number of feature columns.
    pub(super) fn count(&self) -> usize {
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
    pub(super) fn evaluate<F: Real>(&self, x: &[F], blur: &[F], f: &mut [F]) {
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

    /// The features of x: (n, d) in a graph, row by row: (n, count).
    #[cfg(feature = "onnx")]
    pub(super) fn trace<F: Real>(&self, x: Value, blur: Value, graph: &mut Graph) -> Value {
        let near = graph.clip(x, clamp(F::neg_infinity()), clamp(F::infinity()));
        if self.octaves == 0 {
            return near;
        }
        let omega: Vec<F> = (0..self.octaves).map(|k| F::of(2f64.powi(k as i32))).collect();
        let (angles, hidden) = (graph.octaves(near, &omega), graph.octaves(blur, &omega));
        let hidden = graph.mul(hidden, hidden);
        let exponent = graph.scaled(F::of(-0.25), hidden);
        let fade = graph.apply("Exp", &[exponent]);
        // Behind each octave's sines are its cosines.
        let waves = ["Sin", "Cos"].map(|wave| {
            let wave = graph.apply(wave, &[angles]);
            graph.mul(fade, wave)
        });
        let waves = graph.node("Concat", &waves, &[("axis", Attribute::Int(2))]);
        let waves = graph.flat(waves, 2 * self.octaves * self.dim);
        graph.concat(&[near, waves])
    }

    /// ḟ: (count, n) of ẋ: (n, d), at the features f of x.
    pub(super) fn jvp<F: Real>(&self, x: &[F], f: &[F], xdot: &[F], fdot: &mut [F]) {
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

    /// ḟ += (∂f/∂σ) σ̇ at the features f, for a blur σ and its rate for each row, or one for all.
    ///
    /// d ln aₖ/dσ = −ωₖ²σ/2, so each wave f has ḟ = −½ωₖ²σσ̇ f.
    pub(super) fn add_blur_tangent<F: Real>(&self, blur: &[F], blurdot: &[F], f: &[F], fdot: &mut [F]) {
        let n = f.len() / self.count();
        let raw = self.dim * n;
        let each = |v: &[F], r: usize| v[if v.len() == 1 { 0 } else { r }];
        for ((omega, (dsines, dcosines)), waves) in
            self.bands(&mut fdot[raw..]).zip(f[raw..].chunks_exact((2 * raw).max(1)))
        {
            for (i, (fdot, &f)) in dsines.iter_mut().chain(dcosines).zip(waves).enumerate() {
                let (blur, blurdot) = (each(blur, i % n), each(blurdot, i % n));
                *fdot -= F::of(0.5) * omega * omega * blur * blurdot * f;
            }
        }
    }

    /// dx: (n, d) of df: (n, count), row by row, at the features f of x: the transpose of `jvp`.
    pub(super) fn backward<F: Real>(&self, x: &[F], f: &[F], df: &[F], dx: &mut [F]) {
        let (n, d) = (x.len() / self.dim, self.dim);
        for (i, dx) in dx.iter_mut().enumerate() {
            let (r, j) = (i / d, i % d);
            let df = &df[r * self.count()..][..self.count()];
            let waves = |k: usize| {
                let (sine, cosine) = (d + 2 * k * d + j, 2 * d + 2 * k * d + j);
                let omega = F::of(2f64.powi(k as i32));
                omega * (f[cosine * n + r] * df[sine] - f[sine * n + r] * df[cosine])
            };
            let inside = clamp(x[i]) == x[i];
            *dx = if inside { df[j] + (0..self.octaves).map(waves).sum() } else { F::zero() };
        }
    }
}

/// aₖ sin ωx̃ and aₖ cos ωx̃ of one coordinate x̃: (n), at a blur each or one for all.
fn wave<F: Real>(omega: F, x: &[F], blur: &[F], sines: &mut [F], cosines: &mut [F]) {
    let quarter = F::of(-0.25);
    vectorize(
        // The closure owns what it captures: a reference might alias the output, and the loops would not be
        // vectorized.
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

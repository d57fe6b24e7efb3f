use super::limits::check_time_features;
use super::{Layout, Network, Primal, Weights};
use crate::error::Result;
use crate::numeric::Real;
use crate::numeric::rng::Rng;
use crate::numeric::simd::vectorize;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// Sines and cosines of each coordinate at fixed frequencies: y = (x,) sin ω₁x … sin ω_K x, cos ω₁x … cos ω_K
/// x, each block as wide as x.
///
/// A network on raw coordinates learns fine detail last; with frequencies near 1/detail it learns such detail first
/// (Tancik et al. 2020). With ω_k = 10000^(−k/K) on a single number, the features are the sinusoidal time embedding
/// (Vaswani et al. 2017, §3.5).
///
/// Each output depends on one input, so every derivative is elementwise: for y = sin ωx, y′ = ω cos ωx and y″
/// = −ω²y. Beyond a limit, where the data end, the waves keep the value they have at the limit, and y′ = y″ = 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Fourier {
    dim: usize,
    /// Columns after those, which are passed through unchanged.
    passed: usize,
    raw: bool,
    frequencies: Vec<f64>,
    reach: f64,
}

/// Where the waves of [`Fourier::octaves`] end, in units of x: standardized data rarely go that far.
pub(crate) const REACH: f64 = 10.0;

/// x if it is within ±`reach`, otherwise the nearest end of that range.
pub(crate) fn clamp<F: Real>(x: F, reach: f64) -> F {
    x.max(F::of(-reach)).min(F::of(reach))
}

/// The octaves 1, 2, 4, … rad per unit that the sine of an f32 can follow up to ±`reach`: 2^(octaves − 1) ·
/// reach ≤ 1e5.
pub(crate) const fn most_octaves(reach: f64) -> usize {
    let (mut octaves, mut angle) = (0, reach);
    while angle <= 1e5 {
        (octaves, angle) = (octaves + 1, 2.0 * angle);
    }
    octaves
}

impl Fourier {
    /// x itself and `octaves` frequencies base, 2·base, 4·base, … rad per unit of x. The waves end at x = ±10. They
    /// are accurate in f32 if the highest frequency is at most 10⁴ rad per unit: 14 octaves from 1.
    pub fn octaves(dim: usize, base: f64, octaves: usize) -> Self {
        let frequencies = (0..octaves).map(|k| base * 2f64.powi(k as i32)).collect();
        Fourier { dim, passed: 0, raw: true, frequencies, reach: REACH }
    }

    /// The embedding of one number t in `width` columns: frequencies 10000^(−k/K), K = width/2, k = 0 … K−1.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) unless `width` is even, 2 to 65,536.
    pub fn time(width: usize) -> Result<Self> {
        check_time_features("time_features", width)?;
        let half = width / 2;
        let frequencies = (0..half).map(|k| 1e4f64.powf(-(k as f64) / half as f64)).collect();
        Ok(Fourier { dim: 1, passed: 0, raw: false, frequencies, reach: f64::INFINITY })
    }

    /// The same features for rows with `columns` more columns at their end: a condition, which is passed through
    /// unchanged.
    pub fn passing(self, columns: usize) -> Self {
        Fourier { passed: columns, ..self }
    }

    /// The index of the input on which an output depends.
    fn source(&self, output: usize) -> usize {
        let waves = self.blocks() * self.dim;
        if output < waves { output % self.dim } else { self.dim + output - waves }
    }

    /// Blocks of outputs, each as wide as x, the raw one first if there is one.
    fn blocks(&self) -> usize {
        usize::from(self.raw) + 2 * self.frequencies.len()
    }

    /// y, and y′ and y″ if requested, row by row.
    #[inline(always)]
    fn evaluate<F: Real>(&self, x: &[F], y: &mut [F], mut derivatives: Option<&mut [F]>) {
        let (d, passed, out, k) = (self.dim, self.passed, self.out_dim(), self.frequencies.len());
        let (raw, waves) = (if self.raw { d } else { 0 }, out - passed);
        let reach = F::of(self.reach);
        vectorize(
            #[inline(always)]
            || {
                for (r, (x, y)) in x.chunks_exact(d + passed).zip(y.chunks_exact_mut(out)).enumerate() {
                    let (x, behind) = x.split_at(d);
                    let mut slopes = derivatives
                        .as_deref_mut()
                        .map(|c| c[2 * r * out..2 * (r + 1) * out].split_at_mut(out));
                    if self.raw {
                        y[..d].copy_from_slice(x);
                        if let Some((d1, d2)) = &mut slopes {
                            d1[..d].fill(F::one());
                            d2[..d].fill(F::zero());
                        }
                    }
                    if passed > 0 {
                        y[waves..].copy_from_slice(behind);
                        if let Some((d1, d2)) = &mut slopes {
                            d1[waves..].fill(F::one());
                            d2[waves..].fill(F::zero());
                        }
                    }
                    for (j, &x) in x.iter().enumerate() {
                        let near = x.max(-reach).min(reach);
                        let inside = if near == x { F::one() } else { F::zero() };
                        for (i, &omega) in self.frequencies.iter().enumerate() {
                            let omega = F::of(omega);
                            let (sin, cos) = (omega * near).fast_sin_cos();
                            let (s, c) = (raw + i * d + j, raw + (k + i) * d + j);
                            (y[s], y[c]) = (sin, cos);
                            if let Some((d1, d2)) = &mut slopes {
                                let slope = omega * inside;
                                (d1[s], d1[c]) = (slope * cos, -slope * sin);
                                (d2[s], d2[c]) = (-omega * slope * sin, -omega * slope * cos);
                            }
                        }
                    }
                }
            },
        );
    }

    /// dx = Σ over the outputs of a coordinate of `term(output)`.
    fn gather<F: Real>(&self, dx: &mut [F], term: impl Fn(usize, usize) -> F) {
        let waves = self.blocks() * self.dim;
        for (r, dx) in dx.chunks_exact_mut(self.dim + self.passed).enumerate() {
            let (dx, behind) = dx.split_at_mut(self.dim);
            for (j, dx) in dx.iter_mut().enumerate() {
                *dx = (0..self.blocks()).map(|b| term(r, b * self.dim + j)).sum();
            }
            behind.iter_mut().enumerate().for_each(|(j, dx)| *dx = term(r, waves + j));
        }
    }
}

impl Network for Fourier {
    fn in_dim(&self) -> usize {
        self.dim + self.passed
    }
    fn out_dim(&self) -> usize {
        self.blocks() * self.dim + self.passed
    }
    fn describe(&self, _: &str, _: &mut Layout) {}
    fn num_params(&self) -> usize {
        0
    }
    fn init<F: Real>(&self, _: &mut [F], _: &mut Rng) {}
    fn transpose<F: Real>(&self, _: &[F], _: &mut [F]) {}
    // y′ and y″, row by row.
    fn cache_width(&self) -> usize {
        2 * self.out_dim()
    }
    fn tangent_width(&self) -> usize {
        0
    }
    fn scratch_width(&self) -> usize {
        0
    }
    fn infer<F: Real>(&self, _: &[F], x: &[F], y: &mut [F], _: &mut [F]) {
        self.evaluate(x, y, None);
    }
    #[cfg(feature = "onnx")]
    fn trace<F: Real>(&self, _: &[F], rows: Value, graph: &mut Graph) -> Result<Value> {
        let x = if self.passed > 0 { graph.columns(rows, 0..self.dim) } else { rows };
        let mut parts = if self.raw { vec![x] } else { vec![] };
        if !self.frequencies.is_empty() {
            let near = match self.reach.is_finite() {
                true => graph.clip(x, F::of(-self.reach), F::of(self.reach)),
                false => x,
            };
            let frequencies: Vec<F> = self.frequencies.iter().map(|&omega| F::of(omega)).collect();
            let angles = graph.octaves(near, &frequencies);
            let angles = graph.flat(angles, frequencies.len() * self.dim);
            parts.extend(["Sin", "Cos"].map(|wave| graph.apply(wave, &[angles])));
        }
        if self.passed > 0 {
            parts.push(graph.columns(rows, self.dim..self.dim + self.passed));
        }
        Ok(graph.concat(&parts))
    }
    fn forward<F: Real>(&self, _: &[F], x: &[F], y: &mut [F], cache: &mut [F]) {
        self.evaluate(x, y, Some(cache));
    }
    fn backward<F: Real>(
        &self,
        _: Weights<F>,
        _: &[F],
        cache: &[F],
        dy: &[F],
        _: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        _: &mut [F],
    ) {
        let out = self.out_dim();
        if let Some(dx) = dx {
            self.gather(dx, |r, o| cache[2 * r * out + o] * dy[r * out + o]);
        }
    }
    fn jvp<F: Real>(&self, _: &[F], _: &[F], cache: &[F], xdot: &[F], ydot: &mut [F], _: &mut [F]) {
        let (d, out) = (self.in_dim(), self.out_dim());
        for (r, ydot) in ydot.chunks_exact_mut(out).enumerate() {
            for (o, ydot) in ydot.iter_mut().enumerate() {
                *ydot = cache[2 * r * out + o] * xdot[r * d + self.source(o)];
            }
        }
    }
    fn jvp_backward<F: Real>(
        &self,
        _: Weights<F>,
        at: Primal<F>,
        dy: Option<&[F]>,
        dydot: &[F],
        _: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        dxdot: Option<&mut [F]>,
        _: &mut [F],
    ) {
        let (d, out) = (self.in_dim(), self.out_dim());
        let slope = |r: usize, o: usize| at.cache[2 * r * out + o];
        let second = |r: usize, o: usize| at.cache[(2 * r + 1) * out + o];
        if let Some(dx) = dx {
            let bend = |r, o| second(r, o) * at.xdot[r * d + self.source(o)] * dydot[r * out + o];
            match dy {
                Some(dy) => self.gather(dx, |r, o| slope(r, o) * dy[r * out + o] + bend(r, o)),
                None => self.gather(dx, bend),
            }
        }
        if let Some(dxdot) = dxdot {
            self.gather(dxdot, |r, o| slope(r, o) * dydot[r * out + o]);
        }
    }
}

use crate::numeric::Real;
use crate::numeric::softmax::softmax;

/// The least share of the box that a bin takes, in x and in y, and the least slope at a knot (Durkan et al.
/// 2019, appendix B.1): the map stays invertible in floating point.
pub(super) const LEAST_SHARE: f64 = 1e-3;
const LEAST_SLOPE: f64 = 1e-3;

/// A monotone rational-quadratic spline on [−B, B], and T(x) = x outside (Durkan et al. 2019, eqs. 4 to 8).
///
/// θ = [w | h | d], (K, K, K − 1): the softmax of w gives the widths of the K bins, that of h their heights,
/// and the slopes at the knots inside are least + softplus(d + c), c such that d = 0 is a slope of 1. The
/// slopes at ±B are 1, those of the tails. So θ = 0 is the identity.
///
/// In the bin [x_k, x_k + w] of height h from y_k, slopes a and b at its ends, with s = h/w, ξ = (x − x_k)/w,
/// q = ξ(1 − ξ):
///
/// N = sξ² + aq, D = s + (a + b − 2s)q, M = bξ² + 2sq + a(1 − ξ)², y = y_k + hN/D, T′ = s²M/D².
pub(super) struct Spline {
    pub bins: usize,
    pub bound: f64,
}

/// The bin of each row, each (n). `size` and `start` are along the axis that was searched (x for T, y for
/// T⁻¹), `other_size` and `other_start` along the other; `a`, `b` as in θ.
struct Bins<'w, F> {
    index: &'w mut [F],
    start: &'w mut [F],
    size: &'w mut [F],
    other_start: &'w mut [F],
    other_size: &'w mut [F],
    a: &'w mut [F],
    b: &'w mut [F],
    // The upper knots of the bins seen so far; `backward` uses the room.
    knot: &'w mut [F],
    other_knot: &'w mut [F],
}

/// y and ln T′ beside what they are made of: see [`Spline`].
struct Point<F> {
    w: F,
    h: F,
    a: F,
    b: F,
    s: F,
    xi: F,
    q: F,
    n: F,
    m: F,
    d: F,
}

impl<F: Real> Point<F> {
    /// `xi` as a function of the slope s.
    #[inline(always)]
    fn new(w: F, h: F, a: F, b: F, xi: F) -> Self {
        let (one, s) = (F::one(), h / w);
        let (q, rest) = (xi * (one - xi), one - xi);
        let n = s * xi * xi + a * q;
        let m = b * xi * xi + (s + s) * q + a * rest * rest;
        let d = s + (a + b - (s + s)) * q;
        Point { w, h, a, b, s, xi, q, n, m, d }
    }
}

impl Spline {
    /// Buffers of `locate` and of the softmax.
    pub const WORK: usize = 10;

    /// [size of the box, least size of a bin, what the softmax shares out].
    #[inline(always)]
    fn sizes<F: Real>(&self) -> [F; 3] {
        let all = 2.0 * self.bound;
        [F::of(all), F::of(all * LEAST_SHARE), F::of(all * (1.0 - LEAST_SHARE * self.bins as f64))]
    }

    /// The slope at a knot.
    #[inline(always)]
    fn slope<F: Real>(d: F) -> F {
        F::of(LEAST_SLOPE) + (d + F::of(Self::OFFSET)).fast_softplus()
    }

    /// ln(e^(1 − least) − 1): `slope(0)` is 1.
    const OFFSET: f64 = 0.539_742_417_236_952_2;

    /// θ's three parts.
    #[inline(always)]
    fn parts<'t, F>(&self, theta: &'t mut [F], n: usize) -> (&'t mut [F], &'t mut [F], &'t mut [F]) {
        let (w, rest) = theta.split_at_mut(self.bins * n);
        let (h, d) = rest.split_at_mut(self.bins * n);
        (w, h, d)
    }

    /// The bin that each v, (n), is in: the last whose lower knot is at most v, the first if there is none.
    /// `along`: the shares of the bins on v's axis, `other`: those on the other, d: as in θ.
    #[inline(always)]
    fn locate<'w, F: Real>(
        &self,
        v: &[F],
        along: &[F],
        other: &[F],
        d: &[F],
        work: &'w mut [F],
    ) -> Bins<'w, F> {
        let n = v.len();
        let mut rows = work.chunks_exact_mut(n);
        let mut row = || &mut rows.next().expect("WORK rows")[..n];
        let bins = Bins {
            index: row(),
            start: row(),
            size: row(),
            other_start: row(),
            other_size: row(),
            a: row(),
            b: row(),
            knot: row(),
            other_knot: row(),
        };
        let flat = row();
        bins.knot.fill(F::of(-self.bound));
        bins.other_knot.fill(F::of(-self.bound));
        // The slope at ±B.
        flat.fill(F::zero());
        let [_, least, shared] = self.sizes::<F>();
        for j in 0..self.bins {
            let (along, other) = (&along[j * n..][..n], &other[j * n..][..n]);
            let a = if j == 0 { &*flat } else { &d[(j - 1) * n..][..n] };
            let b = if j + 1 == self.bins { &*flat } else { &d[j * n..][..n] };
            let at = F::of(j as f64);
            for r in 0..n {
                let (size, other_size) = (least + shared * along[r], least + shared * other[r]);
                let here = j == 0 || v[r] >= bins.knot[r];
                bins.index[r] = if here { at } else { bins.index[r] };
                bins.start[r] = if here { bins.knot[r] } else { bins.start[r] };
                bins.size[r] = if here { size } else { bins.size[r] };
                bins.other_start[r] = if here { bins.other_knot[r] } else { bins.other_start[r] };
                bins.other_size[r] = if here { other_size } else { bins.other_size[r] };
                bins.a[r] = if here { a[r] } else { bins.a[r] };
                bins.b[r] = if here { b[r] } else { bins.b[r] };
                bins.knot[r] += size;
                bins.other_knot[r] += other_size;
            }
        }
        bins
    }

    /// v in the box, and whether it was.
    #[inline(always)]
    fn within<F: Real>(&self, v: F) -> (F, bool) {
        let bound = F::of(self.bound);
        let near = v.max(-bound).min(bound);
        (near, near == v)
    }

    /// Leaves the shares in the place of w and h.
    #[inline(always)]
    pub fn forward<F: Real>(self, theta: &mut [F], x: &[F], y: &mut [F], log_det: &mut [F], work: &mut [F]) {
        let n = x.len();
        let (w, h, d) = self.parts(theta, n);
        self.share(w, work, n);
        self.share(h, work, n);
        let bins = self.locate(x, w, h, d, work);
        let (y, log_det) = (&mut y[..n], &mut log_det[..n]);
        for r in 0..n {
            let (near, inside) = self.within(x[r]);
            let (a, b) = (Self::slope(bins.a[r]), Self::slope(bins.b[r]));
            let (w, h) = (bins.size[r], bins.other_size[r]);
            let p = Point::new(w, h, a, b, (near - bins.start[r]) / w);
            let slope = p.s / p.d;
            y[r] = if inside { bins.other_start[r] + h * p.n / p.d } else { x[r] };
            log_det[r] += if inside { (slope * slope * p.m).fast_ln() } else { F::zero() };
        }
    }

    /// The root in [0, 1] of y = y_k + hN/D, a quadratic in ξ (eqs. 6 to 8): with δ = y − y_k and e = a + b −
    /// 2s, (h(s − a) + δe) ξ² + (ha − δe) ξ − sδ = 0, in the form that does not cancel.
    #[inline(always)]
    pub fn inverse<F: Real>(self, theta: &mut [F], x: &mut [F], work: &mut [F]) {
        let n = x.len();
        let (w, h, d) = self.parts(theta, n);
        self.share(w, work, n);
        self.share(h, work, n);
        let bins = self.locate(x, h, w, d, work);
        for (r, x) in x.iter_mut().enumerate() {
            let (near, inside) = self.within(*x);
            let (a, b) = (Self::slope(bins.a[r]), Self::slope(bins.b[r]));
            let (w, h) = (bins.other_size[r], bins.size[r]);
            let (s, delta) = (h / w, near - bins.start[r]);
            let bend = delta * (a + b - (s + s));
            let (square, linear, constant) = (h * (s - a) + bend, h * a - bend, -s * delta);
            // Rounding may take a discriminant of 0 below it.
            let root = (linear * linear - F::of(4.0) * square * constant).max(F::zero()).sqrt();
            let xi = (constant + constant) / (-linear - root);
            *x = if inside { bins.other_start[r] + w * xi } else { *x };
        }
    }

    /// With g = dy and G = dlog_det, from y and ln T′ = 2 ln s + ln M − 2 ln D:
    ///
    /// dN = gh/D, dM = G/M, dD = −(g hN/D + 2G)/D,
    /// ds = dN ξ² + dD (1 − 2q) + 2 dM q + 2G/s, da = (dN + dD) q + dM (1 − ξ)², db = dD q + dM ξ²,
    /// dξ = dN (2sξ + a(1 − 2ξ)) + dD (a + b − 2s)(1 − 2ξ) + 2 dM (bξ + s(1 − 2ξ) − a(1 − ξ)),
    ///
    /// and through s = h/w and ξ = (x − x_k)/w: dx = dξ/w, dx_k = −dx, dw = −(s ds + ξ dξ)/w, dy_k = g, dh = g
    /// N/D + ds/w. The knot x_k is the sum of the widths before it, so width j has the gradient g_j = dx_k
    /// for j < k, dw for j = k, 0 else; through the softmax's shares P, dw_j = P_j (c g_j − Σᵢ c Pᵢ gᵢ), c the
    /// part of the box that is shared out. Heights alike.
    #[inline(always)]
    pub fn backward<F: Real>(self, theta: &mut [F], x: &[F], dy: &mut [F], dlog_det: F, work: &mut [F]) {
        let n = x.len();
        let (w, h, d) = self.parts(theta, n);
        let bins = self.locate(x, w, h, d, work);
        let (zero, one, two) = (F::zero(), F::one(), F::of(2.0));
        let [all, least, shared] = self.sizes::<F>();
        let half = F::of(0.5) * all;
        let dy = &mut dy[..n];
        // The buffers take the gradients of what they held, those of starts and sizes times c, and the knots
        // Σᵢ c Pᵢ gᵢ.
        for r in 0..n {
            let (near, inside) = self.within(x[r]);
            let (slope_a, slope_b) = (Self::slope(bins.a[r]), Self::slope(bins.b[r]));
            let (w, h) = (bins.size[r], bins.other_size[r]);
            let p = Point::new(w, h, slope_a, slope_b, (near - bins.start[r]) / w);
            let (g, big_g) = if inside { (dy[r], dlog_det) } else { (zero, zero) };
            let (xi, rest, skew) = (p.xi, one - p.xi, one - two * p.xi);
            let (dn, dm) = (g * p.h / p.d, big_g / p.m);
            let dd = -(dn * p.n + two * big_g) / p.d;
            let ds = dn * xi * xi + dd * (one - two * p.q) + two * (dm * p.q + big_g / p.s);
            let da = (dn + dd) * p.q + dm * rest * rest;
            let db = dd * p.q + dm * xi * xi;
            let dxi = dn * (two * p.s * xi + p.a * skew)
                + dd * (p.a + p.b - two * p.s) * skew
                + two * dm * (p.b * xi + p.s * skew - p.a * rest);
            let dx = dxi / p.w;
            let dw = -(p.s * ds + xi * dxi) / p.w;
            let dh = g * p.n / p.d + ds / p.w;
            let offset = F::of(Self::OFFSET);
            let (raw_a, raw_b) = (bins.a[r] + offset, bins.b[r] + offset);
            (bins.a[r], bins.b[r]) = (da * raw_a.fast_sigmoid(), db * raw_b.fast_sigmoid());
            // c Σ P over the bins before k, and c P_k.
            let taken = least * bins.index[r] - half;
            let (before, here) = (bins.start[r] - taken, w - least);
            let (other_before, other_here) = (bins.other_start[r] - taken, h - least);
            let (mean, other_mean) = (dw * here - dx * before, dh * other_here + g * other_before);
            (bins.start[r], bins.size[r]) = (-shared * dx, shared * dw);
            (bins.other_start[r], bins.other_size[r]) = (shared * g, shared * dh);
            dy[r] = if inside { dx } else { dy[r] };
            (bins.knot[r], bins.other_knot[r]) = (mean, other_mean);
        }
        for j in 0..self.bins {
            let at = F::of(j as f64);
            let (w, h) = (&mut w[j * n..][..n], &mut h[j * n..][..n]);
            for r in 0..n {
                let k = bins.index[r];
                let pick = |start: F, size: F| {
                    if at < k {
                        start
                    } else if at == k {
                        size
                    } else {
                        zero
                    }
                };
                w[r] *= pick(bins.start[r], bins.size[r]) - bins.knot[r];
                h[r] *= pick(bins.other_start[r], bins.other_size[r]) - bins.other_knot[r];
            }
        }
        // Slope j is that at the upper end of bin j and the lower end of bin j + 1.
        for (j, d) in d.chunks_exact_mut(n).enumerate() {
            let (upper, lower) = (F::of(j as f64), F::of(j as f64 + 1.0));
            for (r, d) in d.iter_mut().enumerate() {
                let k = bins.index[r];
                *d = if k == upper {
                    bins.b[r]
                } else if k == lower {
                    bins.a[r]
                } else {
                    zero
                };
            }
        }
    }

    /// Each column of v, (K, n), becomes its softmax.
    #[inline(always)]
    fn share<F: Real>(&self, v: &mut [F], work: &mut [F], n: usize) {
        let (log_sum, sum) = work.split_at_mut(n);
        softmax(v, log_sum, &mut sum[..n]);
    }
}

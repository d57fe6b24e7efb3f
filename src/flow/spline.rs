use crate::numeric::Real;
use crate::numeric::softmax::softmax;
#[cfg(feature = "onnx")]
use crate::onnx::{Attribute, Graph, Value};

/// The least share of the box that a bin takes, in x and in y, and the least slope at a knot (Durkan et al. 2019,
/// appendix B.1), so that the map stays invertible in floating point.
pub(super) const LEAST_SHARE: f64 = 1e-3;
const LEAST_SLOPE: f64 = 1e-3;

/// A monotone rational-quadratic spline on [−B, B] (Durkan et al. 2019, eqs. 4 to 8), continued by straight lines
/// outside.
///
/// θ = [w | h | d]: the softmax of w, (K), gives the widths of the K bins, the softmax of h, (K), their heights. The
/// slopes at the knots are least + softplus(d + c), with c chosen so that d = 0 gives a slope of 1. So θ = 0 is the
/// identity.
///
/// In the bin [x_k, x_k + w] of height h from y_k, slopes a and b at its ends, with s = h/w, ξ = (x − x_k)/w,
/// q = ξ(1 − ξ):
///
/// N = sξ² + aq, D = s + (a + b − 2s)q, M = bξ² + 2sq + a(1 − ξ)², y = y_k + hN/D, T′ = s²M/D².
///
/// Outside, with x̄ = ±B the nearer end: T(x) = T(x̄) + T′(x̄)(x − x̄).
pub(super) struct Spline {
    pub bins: usize,
    pub bound: f64,
    pub tails: Tails,
}

/// The slopes at ±B, with which the lines outside continue.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Tails {
    /// 1, as in the paper: d, (K − 1), holds the slopes of the inner knots, and T(x) = x outside.
    Identity,
    /// Given by θ: d, (K + 1), holds the slopes of all knots.
    Linear,
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
}

/// y and ln T′, with the quantities from which they are computed: see [`Spline`].
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
    /// Rows of `work`: [`Bins`], and then the three of `locate` or the eight gradients of `backward`.
    pub const WORK: usize = 7 + 8;

    /// Numbers in θ.
    pub fn params(&self) -> usize {
        match self.tails {
            Tails::Identity => 3 * self.bins - 1,
            Tails::Linear => 3 * self.bins + 1,
        }
    }

    /// [size of the box, least size of a bin, size that the softmax distributes].
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

    /// The index, 0 … K, of the knot whose slope is the first in d.
    #[inline(always)]
    fn first_slope(&self) -> usize {
        match self.tails {
            Tails::Identity => 1,
            Tails::Linear => 0,
        }
    }

    /// The bin that each v, (n), is in: the last whose lower knot is at most v, the first if there is none.
    /// `along`: the shares of the bins on v's axis, `other`: those on the other axis, d: as in θ. Also returns the
    /// rest of `work`.
    #[inline(always)]
    fn locate<'w, F: Real>(
        &self,
        v: &[F],
        along: &[F],
        other: &[F],
        d: &[F],
        work: &'w mut [F],
    ) -> (Bins<'w, F>, &'w mut [F]) {
        let n = v.len();
        let ([index, start, size, other_start, other_size, a, b], rest) = rows(work, n);
        // The upper knots of the bins seen so far.
        let ([knot, other_knot, one], _) = rows(&mut *rest, n);
        knot.fill(F::of(-self.bound));
        other_knot.fill(F::of(-self.bound));
        // The slope at an end that is not in d.
        one.fill(F::zero());
        let slope = |knot: usize| match knot.checked_sub(self.first_slope()) {
            Some(at) if at * n < d.len() => &d[at * n..][..n],
            _ => &*one,
        };
        let [_, least, shared] = self.sizes::<F>();
        for j in 0..self.bins {
            let (along, other) = (&along[j * n..][..n], &other[j * n..][..n]);
            let (lower, upper) = (slope(j), slope(j + 1));
            let at = F::of(j as f64);
            for r in 0..n {
                let (along, other) = (least + shared * along[r], least + shared * other[r]);
                let here = j == 0 || v[r] >= knot[r];
                index[r] = if here { at } else { index[r] };
                start[r] = if here { knot[r] } else { start[r] };
                size[r] = if here { along } else { size[r] };
                other_start[r] = if here { other_knot[r] } else { other_start[r] };
                other_size[r] = if here { other } else { other_size[r] };
                a[r] = if here { lower[r] } else { a[r] };
                b[r] = if here { upper[r] } else { b[r] };
                knot[r] += along;
                other_knot[r] += other;
            }
        }
        (Bins { index, start, size, other_start, other_size, a, b }, rest)
    }

    /// The nearest point of the box, and whether v is in it.
    #[inline(always)]
    fn within<F: Real>(&self, v: F) -> (F, bool) {
        let bound = F::of(self.bound);
        let near = v.max(-bound).min(bound);
        (near, near == v)
    }

    /// Replaces w and h by the shares.
    #[inline(always)]
    pub fn forward<F: Real>(self, theta: &mut [F], x: &[F], y: &mut [F], log_det: &mut [F], work: &mut [F]) {
        let n = x.len();
        let (w, h, d) = self.parts(theta, n);
        self.share(w, work, n);
        self.share(h, work, n);
        let (bins, _) = self.locate(x, w, h, d, work);
        let straight = self.tails == Tails::Identity;
        let (y, log_det) = (&mut y[..n], &mut log_det[..n]);
        for r in 0..n {
            let (near, inside) = self.within(x[r]);
            let (a, b) = (Self::slope(bins.a[r]), Self::slope(bins.b[r]));
            let (w, h) = (bins.size[r], bins.other_size[r]);
            let p = Point::new(w, h, a, b, (near - bins.start[r]) / w);
            let root = p.s / p.d;
            let slope = root * root * p.m;
            let bent = bins.other_start[r] + h * p.n / p.d + slope * (x[r] - near);
            let identity = straight && !inside;
            y[r] = if identity { x[r] } else { bent };
            log_det[r] += if identity { F::zero() } else { slope.fast_ln() };
        }
    }

    /// In the box, ξ is the root in [0, 1] of y = y_k + hN/D, a quadratic equation in ξ (eqs. 6 to 8): with δ = y −
    /// y_k and e = a + b − 2s, (h(s − a) + δe) ξ² + (ha − δe) ξ − sδ = 0, solved in the form without cancellation.
    #[inline(always)]
    pub fn inverse<F: Real>(self, theta: &mut [F], x: &mut [F], work: &mut [F]) {
        let n = x.len();
        let (w, h, d) = self.parts(theta, n);
        self.share(w, work, n);
        self.share(h, work, n);
        let (bins, _) = self.locate(x, h, w, d, work);
        let straight = self.tails == Tails::Identity;
        for (r, x) in x.iter_mut().enumerate() {
            let (near, inside) = self.within(*x);
            let (a, b) = (Self::slope(bins.a[r]), Self::slope(bins.b[r]));
            let (w, h) = (bins.other_size[r], bins.size[r]);
            let (s, delta) = (h / w, near - bins.start[r]);
            let bend = delta * (a + b - (s + s));
            let (square, linear, constant) = (h * (s - a) + bend, h * a - bend, -s * delta);
            // Rounding may make a discriminant of 0 negative.
            let root = (linear * linear - F::of(4.0) * square * constant).max(F::zero()).sqrt();
            let xi = (constant + constant) / (-linear - root);
            // Below the box the slope is that of its lower end.
            let slope = if *x < near { a } else { b };
            let bent = bins.other_start[r] + w * xi + (*x - near) / slope;
            *x = if straight && !inside { *x } else { bent };
        }
    }

    /// [`inverse`](Spline::inverse) of y: (n, m) in a graph, with θ: (n, m, params). Of each bin there is a flag, 1 for the
    /// one that y is in, and what belongs to a bin is the sum over all with the flags as weights.
    #[cfg(feature = "onnx")]
    pub fn trace_inverse<F: Real>(self, theta: Value, y: Value, graph: &mut Graph) -> Value {
        let bins = self.bins;
        let (axis, [_, least, shared]) = (("axis", Attribute::Int(2)), self.sizes::<F>());
        let last = graph.integers(&[1], &[2]);
        let [(w, left), (h, below)] = [0, bins].map(|start| {
            let share = graph.slice(theta, 2, start..start + bins);
            let share = graph.node("Softmax", &[share], std::slice::from_ref(&axis));
            let size = graph.scaled(shared, share);
            let size = graph.shifted(size, least);
            let before = graph.node("CumSum", &[size, last], &[("exclusive", Attribute::Int(1))]);
            (size, graph.shifted(before, F::of(-self.bound)))
        });
        let slopes = graph.slice(theta, 2, 2 * bins..self.params());
        let slopes = match self.tails {
            Tails::Linear => slopes,
            // The slopes at the ends are those of 0.
            Tails::Identity => {
                let pads = graph.integers(&[6], &[0, 0, 1, 0, 0, 1]);
                graph.apply("Pad", &[slopes, pads])
            }
        };
        let slopes = graph.shifted(slopes, F::of(Self::OFFSET));
        let slopes = graph.apply("Softplus", &[slopes]);
        let slopes = graph.shifted(slopes, F::of(LEAST_SLOPE));
        let [lower, upper] = [0, 1].map(|knot| graph.slice(slopes, 2, knot..knot + bins));

        let near = graph.clip(y, F::of(-self.bound), F::of(self.bound));
        let column = graph.apply("Unsqueeze", &[near, last]);
        let reached = graph.apply("GreaterOrEqual", &[column, below]);
        // The cast takes the type of the numbers.
        let reached = graph.apply("CastLike", &[reached, below]);
        let next = graph.slice(reached, 2, 1..bins);
        let pads = graph.integers(&[6], &[0, 0, 0, 0, 0, 1]);
        let next = graph.apply("Pad", &[next, pads]);
        let flags = graph.sub(reached, next);
        let [w, left, h, below, a, b] = [w, left, h, below, lower, upper].map(|of_bins| {
            let weighted = graph.mul(flags, of_bins);
            graph.node("ReduceSum", &[weighted, last], &[("keepdims", Attribute::Int(0))])
        });

        let (s, delta) = (graph.div(h, w), graph.sub(near, below));
        let double = graph.add(s, s);
        let ends = graph.add(a, b);
        let ends = graph.sub(ends, double);
        let bend = graph.mul(delta, ends);
        let steeper = graph.sub(s, a);
        let steeper = graph.mul(h, steeper);
        let square = graph.add(steeper, bend);
        let rise = graph.mul(h, a);
        let linear = graph.sub(rise, bend);
        let constant = graph.mul(s, delta);
        let constant = graph.scaled(F::of(-1.0), constant);
        let product = graph.mul(square, constant);
        let product = graph.scaled(F::of(-4.0), product);
        let discriminant = graph.mul(linear, linear);
        let discriminant = graph.add(discriminant, product);
        let discriminant = graph.apply("Relu", &[discriminant]);
        let root = graph.apply("Sqrt", &[discriminant]);
        let sum = graph.add(linear, root);
        let xi = graph.scaled(F::of(-2.0), constant);
        let xi = graph.div(xi, sum);
        let bent = graph.mul(w, xi);
        let bent = graph.add(left, bent);
        let (beyond, zero) = (graph.sub(y, near), graph.scalar(F::zero()));
        if self.tails == Tails::Identity {
            let inside = graph.apply("Equal", &[beyond, zero]);
            return graph.apply("Where", &[inside, bent, y]);
        }
        let is_below = graph.apply("Less", &[beyond, zero]);
        let slope = graph.apply("Where", &[is_below, a, b]);
        let beyond = graph.div(beyond, slope);
        graph.add(bent, beyond)
    }

    /// With g = dy and G = dlog_det, from y and ln T′ = 2 ln s + ln M − 2 ln D:
    ///
    /// dN = gh/D, dM = G/M, dD = −(g hN/D + 2G)/D,
    /// ds = dN ξ² + dD (1 − 2q) + 2 dM q + 2G/s, da = (dN + dD) q + dM (1 − ξ)², db = dD q + dM ξ²,
    /// dξ = dN (2sξ + a(1 − 2ξ)) + dD (a + b − 2s)(1 − 2ξ) + 2 dM (bξ + s(1 − 2ξ) − a(1 − ξ)),
    ///
    /// and through s = h/w and ξ = (x − x_k)/w: dx = dξ/w, dx_k = −dx, dw = −(s ds + ξ dξ)/w, dy_k = g, dh = g
    /// N/D + ds/w.
    ///
    /// In a tail, y = T(x̄) + T′(x̄)(x − x̄): x̄ does not move, so dξ = 0 and dx = g T′(x̄); and ∂y = (x − x̄) ∂T′ =
    /// (x − x̄) T′ ∂ ln T′, so G there is dlog_det + g T′(x̄)(x − x̄). Where the tail is the identity, g and G
    /// reach nothing in θ.
    ///
    /// The knot x_k is the sum of the widths before it, so width j has the gradient g_j = dx_k for j < k, dw
    /// for j = k, otherwise 0; through the softmax's shares P, dw_j = c P_j (g_j − Σᵢ Pᵢ gᵢ), with c the part of the
    /// box that is distributed. The heights are treated in the same way.
    #[inline(always)]
    pub fn backward<F: Real>(self, theta: &mut [F], x: &[F], dy: &mut [F], dlog_det: F, work: &mut [F]) {
        let n = x.len();
        let (w, h, d) = self.parts(theta, n);
        let (bins, rest) = self.locate(x, w, h, d, work);
        let ([dx_k, dy_k, dw, dh, mean_w, mean_h, da, db], _) = rows(rest, n);
        let (zero, one, two) = (F::zero(), F::one(), F::of(2.0));
        let [all, least, shared] = self.sizes::<F>();
        let half = F::of(0.5) * all;
        let straight = self.tails == Tails::Identity;
        let dy = &mut dy[..n];
        for r in 0..n {
            let (near, inside) = self.within(x[r]);
            let (raw_a, raw_b) = (bins.a[r], bins.b[r]);
            let (w, h) = (bins.size[r], bins.other_size[r]);
            let p = Point::new(w, h, Self::slope(raw_a), Self::slope(raw_b), (near - bins.start[r]) / w);
            let root = p.s / p.d;
            let outer = if straight { one } else { root * root * p.m };
            let bent = inside || !straight;
            let (g, big_g) =
                if bent { (dy[r], dlog_det + dy[r] * outer * (x[r] - near)) } else { (zero, zero) };
            let (xi, rest, skew) = (p.xi, one - p.xi, one - two * p.xi);
            let (dn, dm) = (g * p.h / p.d, big_g / p.m);
            let dd = -(dn * p.n + two * big_g) / p.d;
            let ds = dn * xi * xi + dd * (one - two * p.q) + two * (dm * p.q + big_g / p.s);
            let slope_a = (dn + dd) * p.q + dm * rest * rest;
            let slope_b = dd * p.q + dm * xi * xi;
            let dxi = dn * (two * p.s * xi + p.a * skew)
                + dd * (p.a + p.b - two * p.s) * skew
                + two * dm * (p.b * xi + p.s * skew - p.a * rest);
            let dxi = if inside { dxi } else { zero };
            dy[r] = if inside { dxi / p.w } else { dy[r] * outer };
            (dx_k[r], dy_k[r]) = (-dxi / p.w, g);
            (dw[r], dh[r]) = (-(p.s * ds + xi * dxi) / p.w, g * p.n / p.d + ds / p.w);
            let offset = F::of(Self::OFFSET);
            (da[r], db[r]) =
                (slope_a * (raw_a + offset).fast_sigmoid(), slope_b * (raw_b + offset).fast_sigmoid());
            // c Σ P over the bins before k, and c P_k.
            let taken = least * bins.index[r] - half;
            let (before, here) = (bins.start[r] - taken, w - least);
            let (other_before, other_here) = (bins.other_start[r] - taken, h - least);
            mean_w[r] = dw[r] * here + dx_k[r] * before;
            mean_h[r] = dh[r] * other_here + dy_k[r] * other_before;
        }
        for j in 0..self.bins {
            let at = F::of(j as f64);
            let (w, h) = (&mut w[j * n..][..n], &mut h[j * n..][..n]);
            for r in 0..n {
                let k = bins.index[r];
                let pick = |before: F, here: F| {
                    if at < k {
                        before
                    } else if at == k {
                        here
                    } else {
                        zero
                    }
                };
                w[r] *= shared * pick(dx_k[r], dw[r]) - mean_w[r];
                h[r] *= shared * pick(dy_k[r], dh[r]) - mean_h[r];
            }
        }
        // The slope at knot j is that at the lower end of bin j and the upper end of bin j − 1.
        for (at, d) in d.chunks_exact_mut(n).enumerate() {
            let knot = at + self.first_slope();
            let (lower, upper) = (F::of(knot as f64), F::of(knot as f64 - 1.0));
            for (r, d) in d.iter_mut().enumerate() {
                let k = bins.index[r];
                *d = if k == upper {
                    db[r]
                } else if k == lower {
                    da[r]
                } else {
                    zero
                };
            }
        }
    }
    /// Replaces each column of v, (K, n), by its softmax.
    #[inline(always)]
    fn share<F: Real>(&self, v: &mut [F], work: &mut [F], n: usize) {
        let (log_sum, sum) = work.split_at_mut(n);
        softmax(v, log_sum, &mut sum[..n]);
    }
}

/// The first N rows of `work`, each (n), and the rest.
#[inline(always)]
fn rows<F, const N: usize>(work: &mut [F], n: usize) -> ([&mut [F]; N], &mut [F]) {
    let mut rest = work;
    let rows = std::array::from_fn(|_| {
        let (row, after) = std::mem::take(&mut rest).split_at_mut(n);
        rest = after;
        row
    });
    (rows, rest)
}

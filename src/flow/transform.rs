use super::Transform;
use super::spline::{Spline, Tails};
use crate::numeric::Real;
#[cfg(feature = "onnx")]
use crate::onnx::{Attribute, Graph, Value};

/// The largest |ln T′| of an affine transform: a layer stretches or shrinks by at most e³ ≈ 20. Without a bound, e^s
/// of a row far outside overflows, and one bad training step sends all rows to infinity. A tanh is used because it
/// has no kink where the bound begins. A few layers together can still reach any scale.
const MOST_LOG_SCALE: f64 = 3.0;

/// Forwards a call to the transform inside the enum.
macro_rules! each {
    ($self:expr, $family:ident => $call:expr) => {
        match $self {
            Transform::Affine => {
                let $family = Affine;
                $call
            }
            Transform::Spline { bins, bound } => {
                let $family = Spline { bins, bound, tails: Tails::Identity };
                $call
            }
            Transform::AffineSpline { bins, bound } => {
                let $family = AffineSpline(Spline { bins, bound, tails: Tails::Linear });
                $call
            }
        }
    };
}

/// y = T(x; θ), increasing in x, for the rows of one coordinate. The rows run along the vectors: x, y: (n),
/// θ: (params, n).
impl Transform {
    /// Numbers in θ.
    pub(super) fn params(self) -> usize {
        each!(self, family => family.params())
    }

    /// Rows of `work`, each (n).
    pub(super) fn work(self) -> usize {
        match self {
            Transform::Affine => 0,
            Transform::Spline { .. } => Spline::WORK,
            Transform::AffineSpline { .. } => 1 + Spline::WORK,
        }
    }

    /// y = T(x; θ), log_det += ln T′(x; θ). Leaves in θ what `backward` needs.
    #[inline(always)]
    pub(super) fn forward<F: Real>(
        self,
        theta: &mut [F],
        x: &[F],
        y: &mut [F],
        log_det: &mut [F],
        work: &mut [F],
    ) {
        each!(self, family => family.forward(theta, x, y, log_det, work));
    }

    /// x ← T⁻¹(x; θ). θ is overwritten.
    #[inline(always)]
    pub(super) fn inverse<F: Real>(self, theta: &mut [F], x: &mut [F], work: &mut [F]) {
        each!(self, family => family.inverse(theta, x, work));
    }

    /// T⁻¹(y; θ) of y: (n, m) in a graph, with θ: (n, m, params).
    #[cfg(feature = "onnx")]
    pub(super) fn trace_inverse<F: Real>(self, theta: Value, y: Value, graph: &mut Graph) -> Value {
        each!(self, family => family.trace_inverse::<F>(theta, y, graph))
    }

    /// With φ = Σ_r dy_r y_r + dlog_det·ln T′(x_r): dy ← ∂φ/∂x and θ ← ∂φ/∂θ, after `forward` at the same x.
    #[inline(always)]
    pub(super) fn backward<F: Real>(
        self,
        theta: &mut [F],
        x: &[F],
        dy: &mut [F],
        dlog_det: F,
        work: &mut [F],
    ) {
        each!(self, family => family.backward(theta, x, dy, dlog_det, work));
    }
}

/// T(x) = (x − t)·eˢ, θ = [a, t], s = S tanh(a/S), S = [`MOST_LOG_SCALE`]; ln T′ = s. (Dinh et al. 2017, eq.
/// 7, and Papamakarios et al. 2017, eq. 4: drawn as x = y·e⁻ˢ + t.)
struct Affine;

impl Affine {
    fn params(self) -> usize {
        2
    }

    #[inline(always)]
    fn log_scale<F: Real>(a: F) -> F {
        F::of(MOST_LOG_SCALE) * (F::of(1.0 / MOST_LOG_SCALE) * a).fast_tanh()
    }

    /// Replaces a by s.
    #[inline(always)]
    fn forward<F: Real>(self, theta: &mut [F], x: &[F], y: &mut [F], log_det: &mut [F], _: &mut [F]) {
        let n = x.len();
        let (a, t) = theta.split_at_mut(n);
        let (a, t, y, log_det) = (&mut a[..n], &t[..n], &mut y[..n], &mut log_det[..n]);
        for r in 0..n {
            let s = Self::log_scale(a[r]);
            y[r] = (x[r] - t[r]) * s.fast_exp();
            log_det[r] += s;
            a[r] = s;
        }
    }

    #[inline(always)]
    fn inverse<F: Real>(self, theta: &mut [F], x: &mut [F], _: &mut [F]) {
        let n = x.len();
        let (a, t) = (&theta[..n], &theta[n..2 * n]);
        for r in 0..n {
            x[r] = x[r] * (-Self::log_scale(a[r])).fast_exp() + t[r];
        }
    }

    #[cfg(feature = "onnx")]
    fn trace_inverse<F: Real>(self, theta: Value, y: Value, graph: &mut Graph) -> Value {
        let [a, t] = [0, 1].map(|at| {
            let at = graph.integers(&[], &[at]);
            graph.node("Gather", &[theta, at], &[("axis", Attribute::Int(2))])
        });
        let share = graph.scaled(F::of(1.0 / MOST_LOG_SCALE), a);
        let share = graph.apply("Tanh", &[share]);
        let log_scale = graph.scaled(F::of(-MOST_LOG_SCALE), share);
        let scale = graph.apply("Exp", &[log_scale]);
        let scaled = graph.mul(y, scale);
        graph.add(scaled, t)
    }

    /// dx = dy·eˢ, dt = −dx, ds = dy·y + dlog_det, and da = ds·(1 − (s/S)²).
    #[inline(always)]
    fn backward<F: Real>(self, theta: &mut [F], x: &[F], dy: &mut [F], dlog_det: F, _: &mut [F]) {
        let n = x.len();
        let (s, t) = theta.split_at_mut(n);
        let (s, t, dy) = (&mut s[..n], &mut t[..n], &mut dy[..n]);
        for r in 0..n {
            let dx = dy[r] * s[r].fast_exp();
            let ds = dx * (x[r] - t[r]) + dlog_det;
            let share = F::of(1.0 / MOST_LOG_SCALE) * s[r];
            s[r] = ds * (F::one() - share * share);
            t[r] = -dx;
            dy[r] = dx;
        }
    }
}

/// T = spline ∘ affine: θ = [θ of the affine map | θ of the spline]. The affine map moves the box to where the
/// coordinate lies, given the coordinates seen, so that the bins are used there and the tails begin where rows end.
struct AffineSpline(Spline);

impl AffineSpline {
    fn params(&self) -> usize {
        Affine.params() + self.0.params()
    }

    #[inline(always)]
    fn forward<F: Real>(self, theta: &mut [F], x: &[F], y: &mut [F], log_det: &mut [F], work: &mut [F]) {
        let (affine, spline) = theta.split_at_mut(Affine.params() * x.len());
        let (v, work) = work.split_at_mut(x.len());
        Affine.forward(affine, x, v, log_det, work);
        self.0.forward(spline, v, y, log_det, work);
    }

    #[inline(always)]
    fn inverse<F: Real>(self, theta: &mut [F], x: &mut [F], work: &mut [F]) {
        let (affine, spline) = theta.split_at_mut(Affine.params() * x.len());
        self.0.inverse(spline, x, work);
        Affine.inverse(affine, x, work);
    }

    #[cfg(feature = "onnx")]
    fn trace_inverse<F: Real>(self, theta: Value, y: Value, graph: &mut Graph) -> Value {
        let affine = graph.slice(theta, 2, 0..Affine.params());
        let spline = graph.slice(theta, 2, Affine.params()..self.params());
        let v = self.0.trace_inverse::<F>(spline, y, graph);
        Affine.trace_inverse::<F>(affine, v, graph)
    }

    #[inline(always)]
    fn backward<F: Real>(self, theta: &mut [F], x: &[F], dy: &mut [F], dlog_det: F, work: &mut [F]) {
        let n = x.len();
        let (affine, spline) = theta.split_at_mut(Affine.params() * n);
        let (v, work) = work.split_at_mut(n);
        let (s, t) = affine.split_at(n);
        for (r, v) in v.iter_mut().enumerate() {
            *v = (x[r] - t[r]) * s[r].fast_exp();
        }
        self.0.backward(spline, v, dy, dlog_det, work);
        Affine.backward(affine, x, dy, dlog_det, work);
    }
}

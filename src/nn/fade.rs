use crate::numeric::Real;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// A [`Fade`] changes nothing up to the first number of standard deviations from the mean, and leaves nothing beyond
/// the second.
const FADE: (f64, f64) = (12.0, 18.0);

/// A factor w that makes a field vanish far from all data: w·v.
///
/// w(x) = Πᵢ s(|xᵢ|) of a row, s(a) = τ³ (10 − 15 τ + 6 τ²) with τ = (18 − a)/6, which falls from 1 at 12 to 0
/// at 18 with two continuous derivatives, so that a solver meets no edge. There are no data from which a network
/// could learn its values there, and without the fade arbitrary values would decide the density.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fade<F> {
    w: Vec<F>,    // (n), or empty: all are 1
    wdot: Vec<F>, // (n)
    v: Vec<F>,    // before: (n, d)
    dv: Vec<F>,
    dvdot: Vec<F>,
}

/// τ, in 0 to 1.
fn left<F: Real>(x: F) -> F {
    let (near, far) = FADE;
    ((F::of(far) - x.abs()) * F::of((far - near).recip())).max(F::zero()).min(F::one())
}

/// s.
fn share<F: Real>(x: F) -> F {
    let tau = left(x);
    tau * tau * tau * (F::of(10.0) + tau * (F::of(-15.0) + F::of(6.0) * tau))
}

/// d ln s/dx = ∓ (1/6)·30 (1 − τ)²/(τ (10 − 15 τ + 6 τ²)), where s is not 0.
fn log_slope<F: Real>(x: F) -> F {
    let tau = left(x);
    let (near, far) = FADE;
    let rest = F::one() - tau;
    let s = tau * (F::of(10.0) + tau * (F::of(-15.0) + F::of(6.0) * tau));
    -(F::of(30.0 / (far - near)) * rest * rest / s).copysign(x)
}

impl<F: Real> Fade<F> {
    /// v ← w·v at the rows x: (n, d).
    pub(crate) fn apply(&mut self, d: usize, x: &[F], v: &mut [F]) {
        self.w.clear();
        // Reserved before they are needed, so that no later step of a run allocates.
        self.w.reserve(x.len() / d);
        self.v.clear();
        self.v.reserve(x.len());
        let near = F::of(FADE.0);
        if x.iter().all(|x| x.abs() <= near) {
            return;
        }
        self.w.extend(x.chunks_exact(d).map(|x| x.iter().fold(F::one(), |w, &x| w * share(x))));
        self.v.extend_from_slice(v);
        scale(d, &self.w, v);
    }

    /// v̇ ← w·v̇ + ẇ·v after [`apply`](Fade::apply) at the same x, ẇ = w Σᵢ ẋᵢ d ln s/dxᵢ.
    pub(crate) fn jvp(&mut self, d: usize, x: &[F], xdot: &[F], vdot: &mut [F]) {
        if self.w.is_empty() {
            return;
        }
        self.wdot.clear();
        for ((x, xdot), &w) in x.chunks_exact(d).zip(xdot.chunks_exact(d)).zip(&self.w) {
            let sum = x.iter().zip(xdot).fold(F::zero(), |sum, (&x, &xdot)| sum + xdot * log_slope(x));
            // Where w is 0, its slope is 0, too.
            self.wdot.push(if w > F::zero() { w * sum } else { F::zero() });
        }
        scale(d, &self.w, vdot);
        add(d, &self.wdot, &self.v, vdot);
    }

    /// Turns the gradient at w·v into the gradient at v: w·dv.
    pub(crate) fn backward<'a>(&'a mut self, d: usize, dv: &'a [F]) -> &'a [F] {
        if self.w.is_empty() {
            return dv;
        }
        self.dv.clear();
        self.dv.extend_from_slice(dv);
        scale(d, &self.w, &mut self.dv);
        &self.dv
    }

    /// Turns the gradients at w·v and at its tangent into those at v and v̇: w·dv + ẇ·dv̇ and w·dv̇.
    pub(crate) fn jvp_backward<'a>(
        &'a mut self,
        d: usize,
        dv: &'a [F],
        dvdot: &'a [F],
    ) -> (&'a [F], &'a [F]) {
        if self.w.is_empty() {
            return (dv, dvdot);
        }
        self.backward(d, dv);
        add(d, &self.wdot, dvdot, &mut self.dv);
        self.dvdot.clear();
        self.dvdot.extend_from_slice(dvdot);
        scale(d, &self.w, &mut self.dvdot);
        (&self.dv, &self.dvdot)
    }

    /// Whether a row is where the field is zero.
    pub(crate) fn rests(&self, row: usize) -> bool {
        self.w.get(row).is_some_and(|w| *w == F::zero())
    }
}

/// w·v at the rows x: (n, d) in a graph.
#[cfg(feature = "onnx")]
pub(crate) fn trace<F: Real>(x: Value, v: Value, graph: &mut Graph) -> Value {
    let (near, far) = FADE;
    let distance = graph.apply("Abs", &[x]);
    let tau = graph.scaled(F::of(-(far - near).recip()), distance);
    let tau = graph.shifted(tau, F::of(far / (far - near)));
    let tau = graph.clip(tau, F::zero(), F::one());
    let share = graph.scaled(F::of(6.0), tau);
    let share = graph.shifted(share, F::of(-15.0));
    let share = graph.mul(tau, share);
    let share = graph.shifted(share, F::of(10.0));
    let share = (0..3).fold(share, |share, _| graph.mul(tau, share));
    let w = graph.reduced("ReduceProd", share);
    graph.mul(w, v)
}

/// v ← w·v, row by row.
fn scale<F: Real>(d: usize, w: &[F], v: &mut [F]) {
    v.chunks_exact_mut(d).zip(w).for_each(|(v, &w)| v.iter_mut().for_each(|v| *v = w * *v));
}

/// to += w·v, row by row.
fn add<F: Real>(d: usize, w: &[F], v: &[F], to: &mut [F]) {
    for ((to, v), &w) in to.chunks_exact_mut(d).zip(v.chunks_exact(d)).zip(w) {
        to.iter_mut().zip(v).for_each(|(to, &v)| *to += w * v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// v = (x₀x₁/10, x₀ + 2x₁) of each row.
    fn field(x: &[f64]) -> Vec<f64> {
        x.chunks_exact(2).flat_map(|x| [0.1 * x[0] * x[1], x[0] + 2.0 * x[1]]).collect()
    }

    fn tangent(x: &[f64], xdot: &[f64]) -> Vec<f64> {
        let rows = x.chunks_exact(2).zip(xdot.chunks_exact(2));
        rows.flat_map(|(x, d)| [0.1 * (x[0] * d[1] + d[0] * x[1]), d[0] + 2.0 * d[1]]).collect()
    }

    #[test]
    fn the_slopes_are_those_of_the_faded_field() {
        let x = [0.3, -1.0, 13.0, 0.5, -14.5, 16.0, 17.9, 0.0, 18.5, 1.0, 12.0, -12.0, -17.0, -12.5];
        let wave = |rate: f64| -> Vec<f64> { (0..x.len()).map(|i| (rate * i as f64 + 0.4).sin()).collect() };
        let xdot = wave(1.9);
        // Buffers dirty from a larger batch must not matter.
        let mut fade = Fade::default();
        fade.apply(2, &[15.0; 40], &mut [1.0; 40]);
        let mut v = field(&x);
        fade.apply(2, &x, &mut v);
        let mut vdot = tangent(&x, &xdot);
        fade.jvp(2, &x, &xdot, &mut vdot);
        assert_eq!((&v[..2], &v[8..10]), (&field(&x)[..2], &[0.0, 0.0][..]));
        assert!(fade.rests(4) && !fade.rests(3) && !fade.rests(0));

        let moved = |h: f64| {
            let x: Vec<f64> = x.iter().zip(&xdot).map(|(x, xdot)| x + h * xdot).collect();
            let mut v = field(&x);
            Fade::default().apply(2, &x, &mut v);
            v
        };
        let h = 1e-6;
        for ((above, below), vdot) in moved(h).iter().zip(moved(-h)).zip(&vdot) {
            let slope = (above - below) / (2.0 * h);
            assert!((slope - vdot).abs() < 1e-6 * (1.0 + slope.abs()), "{vdot}, expected {slope}");
        }

        // ⟨dv, w·v⟩ + ⟨dv̇, its tangent⟩ is linear in v and v̇.
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (dv, dvdot) = (wave(0.7), wave(1.3));
        let there = dot(&dv, &v) + dot(&dvdot, &vdot);
        let (back, backdot) = fade.jvp_backward(2, &dv, &dvdot);
        let back = dot(back, &field(&x)) + dot(backdot, &tangent(&x, &xdot));
        assert!((there - back).abs() < 1e-9 * there.abs(), "{there}, {back}");
    }
}

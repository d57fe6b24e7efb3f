use crate::numeric::Real;

/// Standard deviations from the mean up to which a [`Fade`] changes nothing, and from which on nothing is left.
const FADE: (f64, f64) = (12.0, 18.0);

/// A factor w that brings a field to rest far from all data: w·v.
///
/// w(x) = Πᵢ s(|xᵢ|) of a row, s(a) = τ³ (10 − 15 τ + 6 τ²) with τ = (18 − a)/6, which falls from 1 at 12 to 0
/// at 18 with two continuous derivatives, so that a solver sees no edge. No data teach a network what to say
/// there, and what it says by chance would decide the density.
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
    /// All factors are 1.
    pub(crate) fn clear(&mut self) {
        self.w.clear();
    }

    /// v ← w·v at the rows x: (n, d).
    pub(crate) fn apply(&mut self, d: usize, x: &[F], v: &mut [F]) {
        self.w.clear();
        let near = F::of(FADE.0);
        if x.iter().all(|x| x.abs() <= near) {
            return;
        }
        self.w.extend(x.chunks_exact(d).map(|x| x.iter().fold(F::one(), |w, &x| w * share(x))));
        self.v.clear();
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
            // Where w is 0 its slope is, too.
            self.wdot.push(if w > F::zero() { w * sum } else { F::zero() });
        }
        scale(d, &self.w, vdot);
        add(d, &self.wdot, &self.v, vdot);
    }

    /// From the gradient at w·v to that at v: w·dv.
    pub(crate) fn backward<'a>(&'a mut self, d: usize, dv: &'a [F]) -> &'a [F] {
        if self.w.is_empty() {
            return dv;
        }
        self.dv.clear();
        self.dv.extend_from_slice(dv);
        scale(d, &self.w, &mut self.dv);
        &self.dv
    }

    /// From the gradients at w·v and at its tangent to those at v and v̇: w·dv + ẇ·dv̇ and w·dv̇.
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

    /// Whether a row is where nothing moves.
    pub(crate) fn rests(&self, row: usize) -> bool {
        self.w.get(row).is_some_and(|w| *w == F::zero())
    }
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

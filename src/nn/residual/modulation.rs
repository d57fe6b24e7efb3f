use crate::numeric::Real;
use crate::numeric::lanes::{dot, sum};
use crate::numeric::simd::vectorize;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// Added to the variance of a row before its root is taken.
const EPSILON: f64 = 1e-6;

/// The rows of a modulation, one per row or a single one for all rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Modulation<'a, F> {
    pub(super) rows: &'a [F],
    pub(super) columns: usize,
}

/// The gradient of a [`Modulation`], to which contributions are added.
#[derive(Debug)]
pub(super) struct ModulationGradient<'a, F> {
    pub(super) rows: &'a mut [F],
    pub(super) columns: usize,
}

// The loops below run row by row along the columns and compile to vector code: see `vectorize`.

impl<F: Real> Modulation<'_, F> {
    /// `width` columns of row r, from `start` on.
    #[inline(always)]
    fn part(&self, r: usize, start: usize, width: usize) -> &[F] {
        let row = if self.rows.len() == self.columns { 0 } else { r * self.columns };
        &self.rows[row + start..][..width]
    }

    /// `to` += m⊙x, m the columns from `start` on.
    #[inline(always)]
    pub(super) fn add_times(self, width: usize, start: usize, x: &[F], to: &mut [F]) {
        vectorize(
            #[inline(always)]
            move || {
                for (r, (x, to)) in x.chunks_exact(width).zip(to.chunks_exact_mut(width)).enumerate() {
                    for ((to, &x), &m) in to.iter_mut().zip(x).zip(self.part(r, start, width)) {
                        *to += m * x;
                    }
                }
            },
        );
    }

    /// `to` = m⊙x.
    pub(super) fn times(self, width: usize, start: usize, x: &[F], to: &mut [F]) {
        to.fill(F::zero());
        self.add_times(width, start, x, to);
    }

    /// `to` += m.
    pub(super) fn add(self, width: usize, start: usize, to: &mut [F]) {
        for (r, to) in to.chunks_exact_mut(width).enumerate() {
            to.iter_mut().zip(self.part(r, start, width)).for_each(|(to, &m)| *to += m);
        }
    }

    /// x ← x⊙(1 + m).
    pub(super) fn scale(self, width: usize, start: usize, x: &mut [F]) {
        for (r, x) in x.chunks_exact_mut(width).enumerate() {
            x.iter_mut().zip(self.part(r, start, width)).for_each(|(x, &m)| *x += m * *x);
        }
    }

    /// z = u⊙(1 + γ) + β, with β and γ one after the other from `start` on.
    pub(super) fn modulate(self, width: usize, start: usize, u: &[F], z: &mut [F]) {
        z.copy_from_slice(u);
        self.add_times(width, start + width, u, z);
        self.add(width, start, z);
    }
}

impl<F: Real> ModulationGradient<'_, F> {
    /// dm += a⊙b, in the columns from `start` on.
    pub(super) fn add_product(&mut self, width: usize, start: usize, a: &[F], b: &[F]) {
        let (columns, shared) = (self.columns, self.rows.len() == self.columns);
        for (r, (a, b)) in a.chunks_exact(width).zip(b.chunks_exact(width)).enumerate() {
            let row = if shared { 0 } else { r * columns };
            let dm = &mut self.rows[row + start..][..width];
            dm.iter_mut().zip(a).zip(b).for_each(|((dm, &a), &b)| *dm += a * b);
        }
    }

    /// The reverse of [`modulate`](Modulation::modulate): dβ += dz, dγ += u⊙dz.
    pub(super) fn add_modulate(&mut self, width: usize, start: usize, u: &[F], dz: &[F]) {
        let (columns, shared) = (self.columns, self.rows.len() == self.columns);
        for (r, dz) in dz.chunks_exact(width).enumerate() {
            let row = if shared { 0 } else { r * columns };
            let dm = &mut self.rows[row + start..][..width];
            dm.iter_mut().zip(dz).for_each(|(dm, &dz)| *dm += dz);
        }
        self.add_product(width, start + width, u, dz);
    }
}

/// u = (h − mean)·s with s = 1/√(var + ε), row by row.
pub(super) fn normalize<F: Real>(width: usize, h: &[F], u: &mut [F], s: &mut [F]) {
    let share = F::of((width as f64).recip());
    vectorize(
        #[inline(always)]
        move || {
            for ((h, u), s) in h.chunks_exact(width).zip(u.chunks_exact_mut(width)).zip(s) {
                let mean = share * sum(h);
                u.iter_mut().zip(h).for_each(|(u, &h)| *u = h - mean);
                *s = (share * dot(u, u) + F::of(EPSILON)).sqrt().recip();
                u.iter_mut().for_each(|u| *u *= *s);
            }
        },
    );
}

/// z = N(h)⊙(1 + γ) + β in a graph, with β and γ one after the other in the modulation from `start` on.
#[cfg(feature = "onnx")]
pub(super) fn trace<F: Real>(
    width: usize,
    start: usize,
    h: Value,
    modulation: Value,
    graph: &mut Graph,
) -> Value {
    let mean = graph.reduced("ReduceMean", h);
    let centered = graph.sub(h, mean);
    let square = graph.mul(centered, centered);
    let variance = graph.reduced("ReduceMean", square);
    let variance = graph.shifted(variance, F::of(EPSILON));
    let sd = graph.apply("Sqrt", &[variance]);
    let u = graph.div(centered, sd);
    let [beta, gamma] = [start, start + width].map(|start| graph.columns(modulation, start..start + width));
    let scaled = graph.mul(gamma, u);
    let scaled = graph.add(u, scaled);
    graph.add(scaled, beta)
}

/// `to` += J·x, J = ∂u/∂h of [`normalize`], which is symmetric: s(x − mean(x) − u·mean(u⊙x)).
pub(super) fn add_normalize_slope<F: Real>(width: usize, (u, s): (&[F], &[F]), x: &[F], to: &mut [F]) {
    let share = F::of((width as f64).recip());
    vectorize(
        #[inline(always)]
        move || {
            let rows = u.chunks_exact(width).zip(s).zip(x.chunks_exact(width));
            for (((u, &s), x), to) in rows.zip(to.chunks_exact_mut(width)) {
                let (mean, along) = (share * sum(x), share * dot(u, x));
                for ((to, &u), &x) in to.iter_mut().zip(u).zip(x) {
                    *to += s * (x - mean - u * along);
                }
            }
        },
    );
}

/// The contribution of a gradient du̇ of the tangent u̇ = s(ḣ − mean(ḣ) − u·q), q = mean(u⊙ḣ), to the gradient of h:
/// the part through u is added to du, the part through s is added to dh.
///
/// ∂⟨du̇, u̇⟩/∂u = −s(q·du̇ + mean(u⊙du̇)·ḣ); ∂⟨du̇, u̇⟩/∂s = ⟨du̇, u̇⟩/s, and ∂s/∂h = −s²u/width.
pub(super) fn add_normalize_curvature<F: Real>(
    width: usize,
    (u, s): (&[F], &[F]),
    (hdot, udot): (&[F], &[F]),
    dudot: &[F],
    (du, dh): (&mut [F], &mut [F]),
) {
    let share = F::of((width as f64).recip());
    vectorize(
        #[inline(always)]
        move || {
            for (r, &s) in s.iter().enumerate() {
                let row = r * width..(r + 1) * width;
                let (u, hdot, udot) = (&u[row.clone()], &hdot[row.clone()], &udot[row.clone()]);
                let dudot = &dudot[row.clone()];
                let (q, along) = (share * dot(u, hdot), share * dot(u, dudot));
                for ((du, &dudot), &hdot) in du[row.clone()].iter_mut().zip(dudot).zip(hdot) {
                    *du -= s * (q * dudot + along * hdot);
                }
                let pull = s * share * dot(dudot, udot);
                dh[row].iter_mut().zip(u).for_each(|(dh, &u)| *dh -= pull * u);
            }
        },
    );
}

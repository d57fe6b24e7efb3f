use crate::numeric::Real;
use crate::numeric::lanes::dot;
use crate::numeric::simd::vectorize;

/// Added to the mean square of a row before its root is taken.
const EPSILON: f64 = 1e-6;

/// u = x·s with s = 1/√(mean x² + ε), row by row: RMSNorm without its gain (Zhang & Sennrich 2019, eq. 4).
pub(super) fn normalize<F: Real>(width: usize, x: &[F], u: &mut [F], s: &mut [F]) {
    let share = F::of((width as f64).recip());
    vectorize(
        #[inline(always)]
        move || {
            for ((x, u), s) in x.chunks_exact(width).zip(u.chunks_exact_mut(width)).zip(s) {
                *s = root(share, x);
                u.iter_mut().zip(x).for_each(|(u, &x)| *u = x * *s);
            }
        },
    );
}

/// The same in place, of the first `columns` columns of rows of `row` columns, `width` columns at a time.
pub(super) fn normalize_parts<F: Real>(
    width: usize,
    (columns, row): (usize, usize),
    x: &mut [F],
    s: &mut [F],
) {
    let share = F::of((width as f64).recip());
    vectorize(
        #[inline(always)]
        move || {
            for (x, s) in x.chunks_exact_mut(row).zip(s.chunks_exact_mut(columns / width)) {
                for (x, s) in x[..columns].chunks_exact_mut(width).zip(s) {
                    *s = root(share, x);
                    x.iter_mut().for_each(|x| *x *= *s);
                }
            }
        },
    );
}

#[inline(always)]
fn root<F: Real>(share: F, x: &[F]) -> F {
    (share * dot(x, x) + F::of(EPSILON)).sqrt().recip()
}

/// y = u⊙g, row by row.
pub(super) fn scale<F: Real>(u: &[F], g: &[F], y: &mut [F]) {
    let width = g.len();
    vectorize(
        #[inline(always)]
        move || {
            for (u, y) in u.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
                y.iter_mut().zip(u).zip(g).for_each(|((y, &u), &g)| *y = u * g);
            }
        },
    );
}

/// The reverse of y = u⊙g, u = [`normalize`]`(x)`: dg += u⊙dy, and dx += s(du − u·mean(u⊙du)) with du = g⊙dy.
///
/// Since ∂s/∂x = −s³x/width, ⟨du, ∂u⟩ = s⟨du, ∂x⟩ − s²⟨du, x⟩⟨u, ∂x⟩/width, where s·x = u. dy is overwritten by du.
pub(super) fn add_slope<F: Real>((u, s): (&[F], &[F]), g: &[F], dy: &mut [F], dg: &mut [F], dx: &mut [F]) {
    let width = g.len();
    let share = F::of((width as f64).recip());
    vectorize(
        #[inline(always)]
        move || {
            for (u, dy) in u.chunks_exact(width).zip(dy.chunks_exact(width)) {
                dg.iter_mut().zip(u).zip(dy).for_each(|((dg, &u), &dy)| *dg += u * dy);
            }
            let rows = u.chunks_exact(width).zip(s).zip(dy.chunks_exact_mut(width));
            for (((u, &s), du), dx) in rows.zip(dx.chunks_exact_mut(width)) {
                du.iter_mut().zip(g).for_each(|(du, &g)| *du *= g);
                let along = share * dot(u, du);
                for ((dx, &u), &du) in dx.iter_mut().zip(u).zip(&*du) {
                    *dx += s * (du - u * along);
                }
            }
        },
    );
}

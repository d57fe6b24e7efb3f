//! Sums over a row, which a compiler may not reorder by itself: call them inside of `simd::vectorize`.

use super::Real;

/// Σᵢ f(aᵢ, bᵢ), in as many partial sums as the widest vector has lanes.
#[inline(always)]
fn total<F: Real>(a: &[F], b: &[F], f: impl Fn(F, F) -> F) -> F {
    const LANES: usize = 16;
    let mut lanes = [F::zero(); LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(a, b);
        }
    }
    let rest = a_rest.iter().zip(b_rest).fold(F::zero(), |sum, (&a, &b)| sum + f(a, b));
    lanes.iter().fold(rest, |sum, &lane| sum + lane)
}

/// ⟨a, b⟩.
#[inline(always)]
pub(crate) fn dot<F: Real>(a: &[F], b: &[F]) -> F {
    total(a, b, |a, b| a * b)
}

/// Σᵢ aᵢ.
#[inline(always)]
pub(crate) fn sum<F: Real>(a: &[F]) -> F {
    total(a, a, |a, _| a)
}

use crate::numeric::Real;

/// The longest wavelength of a rotation, in tokens, is 2π times this.
const BASE: f64 = 10_000.0;

/// The sines and cosines by which queries and keys turn (rotary positions, Su et al. 2021, eq. 15): the pair (xⱼ,
/// xⱼ₊ₕ), h half the columns of a head, at place t turns by the angle t·BASE^(−j/h). A product of a query and a key
/// then depends on the distance of their places only.
///
/// A rotation R preserves products, so the reverse of y = R·x is dx = Rᵀ·dy: the turn back.
#[derive(Debug, Clone, Default)]
pub(super) struct Rotary<F> {
    half: usize,
    /// (places, half)
    cos: Vec<F>,
    sin: Vec<F>,
}

impl<F: Real> Rotary<F> {
    /// Makes the table long enough for `places` places of heads of `size` columns.
    pub(super) fn reach(&mut self, places: usize, size: usize) {
        if self.half != size / 2 {
            *self = Rotary { half: size / 2, ..Rotary::default() };
        }
        for place in self.cos.len() / self.half..places {
            for j in 0..self.half {
                let angle = place as f64 * BASE.powf(-(j as f64) / self.half as f64);
                self.cos.push(F::of(angle.cos()));
                self.sin.push(F::of(angle.sin()));
            }
        }
    }

    /// y = factor · R(u⊙g) of one head at a place.
    #[inline(always)]
    pub(super) fn turn(&self, place: usize, factor: F, u: &[F], g: &[F], y: &mut [F]) {
        let half = self.half;
        let (cos, sin) = (&self.cos[place * half..][..half], &self.sin[place * half..][..half]);
        let ((u0, u1), (g0, g1), (y0, y1)) = (u.split_at(half), g.split_at(half), y.split_at_mut(half));
        for j in 0..half {
            let (a, b) = (factor * u0[j] * g0[j], factor * u1[j] * g1[j]);
            y0[j] = a * cos[j] - b * sin[j];
            y1[j] = a * sin[j] + b * cos[j];
        }
    }

    /// x = factor · Rᵀ·y of one head at a place, in place.
    #[inline(always)]
    pub(super) fn turn_back(&self, place: usize, factor: F, y: &mut [F]) {
        let half = self.half;
        let (cos, sin) = (&self.cos[place * half..][..half], &self.sin[place * half..][..half]);
        let (y0, y1) = y.split_at_mut(half);
        for j in 0..half {
            let (a, b) = (factor * y0[j], factor * y1[j]);
            y0[j] = a * cos[j] + b * sin[j];
            y1[j] = b * cos[j] - a * sin[j];
        }
    }
}

use crate::numeric::Real;

/// Joins rows x: (n, d) with their conditions c: (n, k), or (1, k) for all rows, to (n, d + k), as a network with
/// [`Fourier::passing`](super::Fourier::passing) takes them. Without conditions, the result is x.
pub(crate) fn join<'a, F: Real>(x: &'a [F], d: usize, c: &[F], k: usize, joined: &'a mut Vec<F>) -> &'a [F] {
    if k == 0 {
        return x;
    }
    joined.clear();
    let conditions = c.chunks_exact(k).cycle();
    for (x, c) in x.chunks_exact(d).zip(conditions) {
        joined.extend_from_slice(x);
        joined.extend_from_slice(c);
    }
    joined
}

/// The columns of x, (n, d), in a gradient of joined rows, (n, d + k). The gradient of the condition is not used.
pub(crate) fn take_rows<F: Real>(joined: &[F], d: usize, k: usize, x: &mut [F]) {
    for (x, joined) in x.chunks_exact_mut(d).zip(joined.chunks_exact(d + k)) {
        x.copy_from_slice(&joined[..d]);
    }
}

//! The softmax along rows of numbers.

use super::Real;

/// Each column of x, (k, n), becomes its softmax, and `log_sum`, (n), its ln Σ eˣ. Of a column of −∞ the sum
/// is −∞ and the shares are 0. `sum`: (n), to work in.
#[inline(always)]
pub(crate) fn softmax<F: Real>(x: &mut [F], log_sum: &mut [F], sum: &mut [F]) {
    let n = log_sum.len();
    // From the least finite number on, so that a column of −∞ keeps a finite top to subtract.
    let (zero, one, least) = (F::zero(), F::one(), F::min_value());
    log_sum.fill(least);
    for x in x.chunks_exact(n) {
        log_sum.iter_mut().zip(x).for_each(|(top, &x)| *top = if x > *top { x } else { *top });
    }
    sum.fill(zero);
    for x in x.chunks_exact_mut(n) {
        for ((x, &top), sum) in x.iter_mut().zip(&*log_sum).zip(sum.iter_mut()) {
            *x = (*x - top).fast_exp();
            *sum += *x;
        }
    }
    for (log_sum, sum) in log_sum.iter_mut().zip(sum.iter_mut()) {
        *log_sum += sum.fast_ln();
        *sum = if *sum > zero { one / *sum } else { zero };
    }
    for x in x.chunks_exact_mut(n) {
        x.iter_mut().zip(&*sum).for_each(|(x, &share)| *x *= share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_survives_extremes() {
        // x: (2, 3), three columns.
        let inf = f64::INFINITY;
        let (mut x, mut log_sum, mut sum) =
            ([800.0, -inf, 0.0, 801.0, -inf, -900.0], [f64::NAN; 3], [0.0; 3]);
        softmax(&mut x, &mut log_sum, &mut sum);
        let share = 1.0 / (1.0 + 1f64.exp());
        assert!((x[0] - share).abs() < 1e-15 && (log_sum[0] - 801.0 + (1.0 - share).ln()).abs() < 1e-12);
        assert_eq!((x[1], x[4], log_sum[1]), (0.0, 0.0, -inf));
        assert_eq!((x[2], x[5], log_sum[2]), (1.0, 0.0, 0.0));
    }
}

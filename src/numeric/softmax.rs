//! The softmax along rows of numbers.

use super::Real;

/// Each column of x, (k, n), becomes its softmax, and `log_sum`, (n), its ln Σ eˣ. Of a column of −∞ the sum
/// is −∞ and the shares are 0. The sum is within 3e-7 and 1e-15 of the true one, relative to max(1, |its top|), for up
/// to a hundred rows. `sum`: (n), to work in.
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

/// Partial results along a row: as many as the widest vector has lanes.
const LANES: usize = 16;

/// The lanes combined in pairs, halves at a time, which takes a few vector operations.
#[inline(always)]
fn in_pairs<F: Real>(lanes: [F; LANES], f: impl Fn(F, F) -> F) -> F {
    let (mut eight, mut four) = ([F::zero(); 8], [F::zero(); 4]);
    for i in 0..8 {
        eight[i] = f(lanes[i], lanes[i + 8]);
    }
    for i in 0..4 {
        four[i] = f(eight[i], eight[i + 4]);
    }
    f(f(four[0], four[2]), f(four[1], four[3]))
}

/// The first n numbers of the row x become their softmax, and the others 0; returns ln Σ eˣ.
///
/// Number i counts in sum i mod LANES, so the length of the row changes no bit.
#[inline(always)]
pub(crate) fn softmax_row<F: Real>(n: usize, x: &mut [F]) -> F {
    let (inside, outside) = x.split_at_mut(n.next_multiple_of(LANES).min(x.len()));
    outside.fill(F::zero());
    let (whole, rest) = inside.as_chunks_mut::<LANES>();
    let mut last = [F::zero(); LANES];
    last.iter_mut().zip(&*rest).for_each(|(last, &x)| *last = x);
    // The last chunk that holds any of them, with lanes that do not count.
    let (whole, last_of_whole) = whole.split_at_mut(n / LANES);
    let (partial, count) = (last_of_whole.first_mut().unwrap_or(&mut last), n % LANES);
    let mut tops = [F::min_value(); LANES];
    for x in &*whole {
        tops.iter_mut().zip(x).for_each(|(top, &x)| *top = if x > *top { x } else { *top });
    }
    for (i, (top, &x)) in tops.iter_mut().zip(&*partial).enumerate() {
        *top = if i < count && x > *top { x } else { *top };
    }
    let top = in_pairs(tops, |a, b| if b > a { b } else { a });
    let mut sums = [F::zero(); LANES];
    for x in &mut *whole {
        for (x, sum) in x.iter_mut().zip(&mut sums) {
            *x = (*x - top).fast_exp();
            *sum += *x;
        }
    }
    for (i, (x, sum)) in partial.iter_mut().zip(&mut sums).enumerate() {
        // e⁰ until it is left out: an exponential that underflows would take long.
        let share = if i < count { *x - top } else { F::zero() }.fast_exp();
        *x = if i < count { share } else { F::zero() };
        *sum += *x;
    }
    let sum = in_pairs(sums, |a, b| a + b);
    let share = sum.recip();
    for x in whole {
        x.iter_mut().for_each(|x| *x *= share);
    }
    partial.iter_mut().for_each(|x| *x *= share);
    if !rest.is_empty() {
        rest.iter_mut().zip(&last).for_each(|(x, &last)| *x = last);
    }
    top + sum.fast_ln()
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

    #[test]
    fn softmax_of_a_row_is_that_of_its_column() {
        let mut rng = crate::numeric::rng::seeded(2);
        for n in [1, 3, 16, 66, 200] {
            let x: Vec<f64> = (0..n).map(|_| 5.0 * f64::normal(&mut rng)).collect();
            let (mut column, mut log_sum, mut sum) = (x.clone(), [0.0], [0.0]);
            softmax(&mut column, &mut log_sum, &mut sum);
            let mut row = x.clone();
            assert!((softmax_row(n, &mut row) - log_sum[0]).abs() < 1e-14);
            assert!(row.iter().zip(&column).all(|(a, b)| (a - b).abs() < 1e-15));
            // In longer rows, whole vectors or not, with anything behind.
            for more in [1, 7, 64usize.saturating_sub(n)] {
                let mut longer = [x.clone(), vec![1e9; more]].concat();
                softmax_row(n, &mut longer);
                assert_eq!(longer[..n], row);
                assert!(longer[n..].iter().all(|&share| share == 0.0));
            }
        }
    }

    fn assert_bound<F: Real>(bound: f64) {
        let mut rng = crate::numeric::rng::seeded(1);
        for (k, spread) in [(1, 1.0), (2, 1e-3), (7, 10.0), (100, 1.0), (100, 300.0)] {
            let n = 37;
            let x: Vec<F> = (0..k * n).map(|_| F::of(spread) * F::normal(&mut rng)).collect();
            let (mut shares, mut log_sum, mut sum) = (x.clone(), vec![F::nan(); n], vec![F::nan(); n]);
            softmax(&mut shares, &mut log_sum, &mut sum);
            for (c, log_sum) in log_sum.iter().enumerate() {
                let column: Vec<f64> = x[c..].iter().step_by(n).map(|x| x.f64()).collect();
                let top = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let truth = top + column.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
                let error = (log_sum.f64() - truth).abs();
                assert!(error <= bound * top.abs().max(1.0), "{k} rows: {log_sum}, not {truth}");
                let total: f64 = shares[c..].iter().step_by(n).map(|share| share.f64()).sum();
                assert!((total - 1.0).abs() < 10.0 * bound, "{k} rows: shares of {total}");
            }
        }
    }

    #[test]
    fn log_sums_keep_their_bounds() {
        assert_bound::<f32>(3e-7);
        assert_bound::<f64>(1e-15);
    }
}

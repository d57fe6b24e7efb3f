//! The kernel against the definition, one element at a time.

use super::*;
use crate::numeric::rng::seeded;

fn random<F: Real>(n: usize, rng: &mut crate::numeric::rng::Rng) -> Vec<F> {
    (0..n).map(|_| F::normal(rng)).collect()
}

/// The definition, one element at a time.
fn naive<F: Real>(
    m: usize,
    n: usize,
    k: usize,
    a: Strided<F>,
    b: &[F],
    ldb: usize,
    init: Init<F>,
    c: &mut [F],
) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = match init {
                Init::Zero => F::zero(),
                Init::Bias(bias) => bias[j],
                Init::Accumulate => c[i * n + j],
            };
            for kk in 0..k {
                sum = a.data[i * a.row + kk * a.col].mul_add(b[kk * ldb + j], sum);
            }
            c[i * n + j] = sum;
        }
    }
}

fn check<F: Real>() {
    let mut rng = seeded(1);
    for m in [1, 2, 3, 5, 6, 7, 8, 13, 64] {
        for n in [1, 2, 3, 7, 8, 16, 17, 31, 32, 48, 64, 100, 128, 131] {
            for k in [0, 1, 5, 34, 128, 300, 513] {
                // Depths of whole networks, and past the cut of the narrow columns: at some shapes, as they
                // take long.
                if k > 100 && !([1, 7, 13].contains(&m) && [1, 2, 3, 7, 16, 128, 131].contains(&n)) {
                    continue;
                }
                let ldb = n + 3 * (m % 2);
                let (a, b) = (random::<F>(m * k, &mut rng), random::<F>(k * ldb, &mut rng));
                let (bias, dirty) = (random::<F>(n, &mut rng), random::<F>(m * n, &mut rng));
                for a in [Strided::rows(&a, k), Strided::transposed(&a, m)] {
                    for init in [Init::Zero, Init::Bias(&bias), Init::Accumulate] {
                        let (mut fast, mut slow) = (dirty.clone(), dirty.clone());
                        gemm((m, n, k), a, &b, ldb, init, &mut fast);
                        naive(m, n, k, a, &b, ldb, init, &mut slow);
                        let with = |epilogue: Epilogue<F>| {
                            let mut c = dirty.clone();
                            gemm_with((m, n, k), a, &b, ldb, init, epilogue, &mut c);
                            c
                        };
                        for slope in [-0.5, 0.0, 0.2].map(F::of) {
                            let what = format!("{m} x {n} x {k}, {init:?}, slope {slope}");
                            let slopes = fast.iter().map(|&c| if c > F::zero() { F::one() } else { slope });
                            let slopes: Vec<F> = slopes.collect();
                            let bent: Vec<F> = fast.iter().zip(&slopes).map(|(&c, &d)| d * c).collect();
                            assert_eq!(with(Epilogue::Leaky { slope }), bent, "{what}");
                            let mut d = dirty.clone();
                            assert_eq!(with(Epilogue::LeakyWithSlopes { slope, d: &mut d }), bent, "{what}");
                            assert_eq!(d, slopes, "{what}");
                        }
                        let scaled: Vec<F> = fast.iter().zip(&dirty).map(|(&c, &d)| d * c).collect();
                        assert_eq!(with(Epilogue::Times(&dirty)), scaled, "{m} x {n} x {k}, {init:?}");
                        for (at, (fast, slow)) in fast.iter().zip(&slow).enumerate() {
                            let error = (*fast - *slow).abs().f64();
                            let bound = 4.0 * F::epsilon().f64() * (k as f64 + 4.0);
                            assert!(error <= bound, "{m} x {n} x {k}, {init:?}, {at}: {fast} {slow}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn equals_the_definition() {
    check::<f32>();
    check::<f64>();
}

#[test]
fn a_row_does_not_depend_on_the_rows_beside_it() {
    let mut rng = seeded(2);
    let (m, k) = (29, 300);
    for n in [1, 2, 4, 5, 16, 34, 128, 130] {
        let (a, b) = (random::<f32>(m * k, &mut rng), random::<f32>(k * n, &mut rng));
        let mut all = vec![0.0; m * n];
        gemm((m, n, k), Strided::rows(&a, k), &b, n, Init::Zero, &mut all);
        for (i, all) in all.chunks(n).enumerate() {
            let mut one = vec![0.0; n];
            gemm((1, n, k), Strided::rows(&a[i * k..], k), &b, n, Init::Zero, &mut one);
            assert_eq!(all, one, "row {i} of {n} columns");
        }
        gemm((m, n, k), Strided::transposed(&a, m), &b, n, Init::Zero, &mut all);
        for (i, all) in all.chunks(n).enumerate() {
            let row: Vec<f32> = a[i..].iter().step_by(m).copied().collect();
            let mut one = vec![0.0; n];
            gemm((1, n, k), Strided::transposed(&row, 1), &b, n, Init::Zero, &mut one);
            assert_eq!(all, one, "row {i} of {n} columns, stored by columns");
        }
    }
}

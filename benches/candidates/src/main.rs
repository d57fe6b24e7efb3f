//! f32 products (m, k)·(k, n) at the shapes of small networks: ndarray's own, `gemm`, `faer`, and ours.

use std::hint::black_box;
use std::time::Instant;

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use gemm::{Parallelism, gemm};
use ndarray::{ArrayView2, ArrayViewMut2, linalg::general_mat_mul};
use quadrivium::numeric::gemm::{Init, Strided, gemm as ours};

/// 10⁹ multiply-adds, counted as two, a second: the best of many short runs.
fn gflops((m, n, k): (usize, usize, usize), mut once: impl FnMut()) -> f64 {
    let flops = (2 * m * n * k) as f64;
    let times = (2e6 / flops).ceil() as usize;
    let run = |_| {
        let started = Instant::now();
        (0..times).for_each(|_| once());
        flops * times as f64 / started.elapsed().as_secs_f64() / 1e9
    };
    (0..300).map(run).fold(0.0, f64::max)
}

fn main() {
    println!("{:>16} {:>8} {:>8} {:>8} {:>8}", "m, n, k", "ndarray", "gemm", "faer", "ours");
    let shapes = [
        (1, 128, 128),
        (16, 128, 128),
        (64, 128, 128),
        (256, 128, 128),
        (64, 128, 2),
        (64, 128, 34),
        (64, 2, 128),
        (64, 64, 64),
    ];
    for (m, n, k) in shapes {
        let a: Vec<f32> = (0..m * k).map(|i| (i % 17) as f32 - 8.0).collect();
        let b: Vec<f32> = (0..k * n).map(|i| (i % 13) as f32 - 6.0).collect();
        let mut c = vec![0.0f32; m * n];
        let shape = (m, n, k);
        let by_ndarray = {
            let a = ArrayView2::from_shape((m, k), &a).expect("m × k");
            let b = ArrayView2::from_shape((k, n), &b).expect("k × n");
            let mut c = ArrayViewMut2::from_shape((m, n), &mut c).expect("m × n");
            gflops(shape, || general_mat_mul(1.0, black_box(&a), &b, 0.0, &mut c))
        };
        let by_gemm = gflops(shape, || {
            let (a, b, c) = (black_box(a.as_ptr()), b.as_ptr(), c.as_mut_ptr());
            let (n_, k_) = (n as isize, k as isize);
            // SAFETY: the pointers are of m × k, k × n and m × n numbers, row-major.
            unsafe {
                gemm(m, n, k, c, 1, n_, false, a, 1, k_, b, 1, n_, 0.0, 1.0, false, false, false, Parallelism::None)
            }
        });
        let by_faer = gflops(shape, || {
            let a = MatRef::from_row_major_slice(black_box(&a), m, k);
            let b = MatRef::from_row_major_slice(&b, k, n);
            let c = MatMut::from_row_major_slice_mut(&mut c, m, n);
            matmul(c, Accum::Replace, a, b, 1.0, Par::Seq)
        });
        let by_us = gflops(shape, || ours(shape, Strided::rows(black_box(&a), k), &b, n, Init::Zero, &mut c));
        let shape = format!("{m}, {n}, {k}");
        println!("{shape:>16} {by_ndarray:8.1} {by_gemm:8.1} {by_faer:8.1} {by_us:8.1}");
    }
}

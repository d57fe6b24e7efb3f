//! Kernels beside what they replace: `cargo bench --bench kernels`.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use pulp::Arch;
use quadrivium::ndarray::{Array2, linalg::general_mat_mul};
use quadrivium::numeric::Real;
use quadrivium::numeric::gemm::{Init, Strided, gemm};
use quadrivium::numeric::rng::{Streams, seeded};

const N: usize = 4096;

/// The `fast_*` functions over a slice, dispatched as the library does it, and std's over the same slice.
fn elementwise(c: &mut Criterion) {
    let mut group = c.benchmark_group("elementwise");
    group.throughput(Throughput::Elements(N as u64));
    of_type::<f32>(&mut group, "f32");
    of_type::<f64>(&mut group, "f64");
    group.finish();
}

fn of_type<F: Real>(group: &mut BenchmarkGroup<WallTime>, kind: &str) {
    // x: (N) from −8 to 8, and its absolute values for ln
    let x: Vec<F> = (0..N).map(|i| F::of((i as f64 + 0.5) * 16.0 / N as f64 - 8.0)).collect();
    let positive: Vec<F> = x.iter().map(|v| v.abs()).collect();
    pair(group, kind, "exp", &x, |v| v.fast_exp(), |v| v.exp());
    pair(group, kind, "ln", &positive, |v| v.fast_ln(), |v| v.ln());
    pair(group, kind, "tanh", &x, |v| v.fast_tanh(), |v| v.tanh());
    // Both results enter the sum, so neither is optimized away.
    pair(group, kind, "sin_cos", &x, |v| sum(v.fast_sin_cos()), |v| sum(v.sin_cos()));
    pair(group, kind, "sigmoid", &x, |v| v.fast_sigmoid(), |v| F::one() / (F::one() + (-v).exp()));
    pair(group, kind, "softplus", &x, |v| v.fast_softplus(), |v| v.max(F::zero()) + (-v.abs()).exp().ln_1p());
}

#[inline(always)]
fn sum<F: Real>((sin, cos): (F, F)) -> F {
    sin + cos
}

fn pair<F: Real>(
    group: &mut BenchmarkGroup<WallTime>,
    kind: &str,
    name: &str,
    x: &[F],
    fast: impl Fn(F) -> F,
    std: impl Fn(F) -> F,
) {
    let arch = Arch::new();
    let mut y = vec![F::zero(); x.len()];
    group.bench_function(format!("{name}/{kind}/fast"), |b| {
        b.iter(|| {
            let (x, y) = (black_box(x), y.as_mut_slice());
            arch.dispatch(|| y.iter_mut().zip(x).for_each(|(y, &x)| *y = fast(x)));
            black_box(y);
        })
    });
    group.bench_function(format!("{name}/{kind}/std"), |b| {
        b.iter(|| {
            black_box(&mut y).iter_mut().zip(black_box(x)).for_each(|(y, &x)| *y = std(x));
        })
    });
}

/// Rows through one hidden layer, (m, 128)·(128, 128): the library's product, and ndarray's own (the crate
/// `matrixmultiply`). This is what decided for a kernel of our own on `pulp`.
fn product(c: &mut Criterion) {
    const WIDTH: usize = 128;
    let mut group = c.benchmark_group("gemm");
    for m in [1, 16, 64, 256] {
        let a = Array2::from_shape_fn((m, WIDTH), |(i, j)| ((i + 3 * j) % 17) as f32 - 8.0);
        let b = Array2::from_shape_fn((WIDTH, WIDTH), |(i, j)| ((5 * i + j) % 13) as f32 - 6.0);
        let mut y = Array2::zeros((m, WIDTH));
        group.throughput(Throughput::Elements((2 * m * WIDTH * WIDTH) as u64));
        group.bench_function(format!("{m}/ndarray"), |bench| {
            bench.iter(|| general_mat_mul(1.0, black_box(&a), &b, 0.0, &mut y))
        });
        let (a, b) = (a.as_slice().expect("row-major"), b.as_slice().expect("row-major"));
        let y = y.as_slice_mut().expect("row-major");
        group.bench_function(format!("{m}/ours"), |bench| {
            bench
                .iter(|| gemm((m, WIDTH, WIDTH), Strided::rows(black_box(a), WIDTH), b, WIDTH, Init::Zero, y))
        });
    }
    group.finish();
}

/// Standard normal numbers: one stream, and two numbers from each row's own stream, as samplers draw them.
fn normals(c: &mut Criterion) {
    let mut group = c.benchmark_group("normals");
    group.throughput(Throughput::Elements(N as u64));
    let mut x = vec![0.0f32; N];
    let mut rng = seeded(0);
    group.bench_function("one stream", |b| {
        b.iter(|| black_box(&mut x).iter_mut().for_each(|x| *x = f32::normal(&mut rng)))
    });
    group.bench_function("a stream per row of two", |b| {
        b.iter(|| {
            for (row, x) in black_box(&mut x).chunks_exact_mut(2).enumerate() {
                let mut rng = Streams::new(0).stream(row as u64);
                x.iter_mut().for_each(|x| *x = f32::normal(&mut rng));
            }
        })
    });
    group.finish();
}

criterion_group!(benches, elementwise, product, normals);
criterion_main!(benches);

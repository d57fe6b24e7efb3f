//! Kernels beside what they replace: `cargo bench --bench kernels`.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use pulp::Arch;
use quadrivium::numeric::Real;

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
    // Both results enter the sum, so neither is optimised away.
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

criterion_group!(benches, elementwise);
criterion_main!(benches);

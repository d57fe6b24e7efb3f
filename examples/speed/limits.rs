//! What this machine can do, on one thread: multiply-adds a second, bytes a second from the L2 cache, and the
//! cost of an activation.

use std::hint::black_box;
use std::time::Instant;

use pulp::{Arch, Simd, WithSimd};
use quadrivium::nn::Activation;

/// The limits that a [`Cost`](crate::workloads::Cost) is divided by.
pub struct Limits {
    /// f32 fused multiply-adds, counted as two, in 10⁹ a second.
    pub gflops: f64,
    /// 10⁹ bytes a second, read from L2.
    pub gbytes: f64,
    /// Nanoseconds per value.
    pub silu: f64,
    pub relu: f64,
}

impl Limits {
    pub fn measure() -> Self {
        // The best of many short runs: what the machine can do, not what it did.
        let best = |once: &mut dyn FnMut() -> f64| (0..200).map(|_| once()).fold(0.0, f64::max);
        let arch = Arch::new();
        let mut gflops = || {
            let started = Instant::now();
            let flops = arch.dispatch(MultiplyAdds);
            flops / started.elapsed().as_secs_f64() / 1e9
        };
        // 256 KiB: behind L1, inside L2.
        let floats = vec![1.0f32; 1 << 16];
        let mut gbytes = || {
            let started = Instant::now();
            const SWEEPS: usize = 20;
            for _ in 0..SWEEPS {
                black_box(arch.dispatch(Sum(black_box(&floats))));
            }
            (SWEEPS * 4 * floats.len()) as f64 / started.elapsed().as_secs_f64() / 1e9
        };
        Limits {
            gflops: best(&mut gflops),
            gbytes: best(&mut gbytes),
            silu: activation(Activation::Silu),
            relu: activation(Activation::Relu),
        }
    }

    /// The least milliseconds that `cost` can take on one thread.
    pub fn floor_ms(&self, cost: crate::workloads::Cost) -> f64 {
        let products = (cost.flops / self.gflops).max(cost.bytes / self.gbytes);
        1e-6 * (products + cost.silu * self.silu + cost.relu * self.relu)
    }
}

/// ns per value of the library's own kernel, in L1, less the copy that refills the values.
fn activation(activation: Activation) -> f64 {
    const N: usize = 4096;
    let x: Vec<f32> = (0..N).map(|i| (i as f32 + 0.5) * 16.0 / N as f32 - 8.0).collect();
    let mut y = x.clone();
    let mut least = |apply: bool| {
        let once = |_| {
            let started = Instant::now();
            for _ in 0..20 {
                y.copy_from_slice(black_box(&x));
                if apply {
                    activation.apply(black_box(&mut y));
                }
            }
            started.elapsed().as_secs_f64() * 1e9 / (20 * N) as f64
        };
        (0..200).map(once).fold(f64::INFINITY, f64::min)
    };
    least(true) - least(false)
}

/// Chains of multiply-adds in registers, enough of them to hide the latency. Returns their FLOPs.
struct MultiplyAdds;

impl WithSimd for MultiplyAdds {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        const CHAINS: usize = 12;
        const ROUNDS: usize = 20_000;
        let (a, b) = (simd.splat_f32s(black_box(0.999)), simd.splat_f32s(black_box(0.001)));
        let mut acc = [simd.splat_f32s(1.0); CHAINS];
        for _ in 0..ROUNDS {
            for acc in &mut acc {
                *acc = simd.mul_add_f32s(a, *acc, b);
            }
        }
        black_box(acc);
        (2 * ROUNDS * CHAINS * S::F32_LANES) as f64
    }
}

/// The sum of a slice: one load an addition.
struct Sum<'a>(&'a [f32]);

impl WithSimd for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        const CHAINS: usize = 8;
        let (x, _) = S::as_simd_f32s(self.0);
        let mut acc = [simd.splat_f32s(0.0); CHAINS];
        for x in x.chunks_exact(CHAINS) {
            for (acc, &x) in acc.iter_mut().zip(x) {
                *acc = simd.add_f32s(*acc, x);
            }
        }
        acc.into_iter().map(|acc| simd.reduce_sum_f32s(acc)).sum()
    }
}

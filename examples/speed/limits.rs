//! The limits of this machine on one thread: multiply-adds per second, bytes per second from the L2 cache, and the
//! cost of an activation.

use std::hint::black_box;
use std::time::Instant;

use pulp::{Arch, Simd, WithSimd};
use quadrivium::nn::Activation;

/// The limits by which a [`Cost`](crate::workloads::Cost) is divided.
pub struct Limits {
    /// f32 fused multiply-adds, counted as two operations, in 10⁹ per second.
    pub gflops: f64,
    /// 10⁹ bytes per second, read from L2.
    pub gbytes: f64,
    /// Nanoseconds per value.
    pub silu: f64,
    pub relu: f64,
    /// Nanoseconds per value to copy inside L1.
    copy: f64,
}

impl Limits {
    /// The best of many short runs over some seconds, that is, what the machine is capable of.
    pub fn measure() -> Self {
        let arch = Arch::new();
        // 256 KiB: larger than L1, smaller than L2.
        let floats = vec![1.0f32; 1 << 16];
        let gbytes = || {
            let started = Instant::now();
            const SWEEPS: usize = 20;
            for _ in 0..SWEEPS {
                black_box(arch.dispatch(Sum(black_box(&floats))));
            }
            (SWEEPS * 4 * floats.len()) as f64 / started.elapsed().as_secs_f64() / 1e9
        };
        let (mut silu, mut relu) = (Apply::new(Some(Activation::Silu)), Apply::new(Some(Activation::Relu)));
        let mut copy = Apply::new(None);
        let mut best = Limits { gflops: 0.0, gbytes: 0.0, silu: f64::MAX, relu: f64::MAX, copy: f64::MAX };
        for _ in 0..5000 {
            best.gflops = best.gflops.max(gflops());
            best.gbytes = best.gbytes.max(gbytes());
            best.silu = best.silu.min(silu.ns());
            best.relu = best.relu.min(relu.ns());
            best.copy = best.copy.min(copy.ns());
        }
        Limits { silu: best.silu - best.copy, relu: best.relu - best.copy, ..best }
    }

    /// Whether this thread's core is slower than it can be, because another program or a neighboring virtual machine
    /// shares it. L1 suffers most from sharing: copies then take twice as long.
    pub fn disturbed(&self) -> bool {
        let median = |once: &mut dyn FnMut() -> f64| {
            let mut runs: Vec<f64> = (0..25).map(|_| once()).collect();
            runs.sort_by(f64::total_cmp);
            runs[runs.len() / 2]
        };
        let mut copy = Apply::new(None);
        median(&mut gflops) < 0.97 * self.gflops || median(&mut || copy.ns()) > 1.1 * self.copy
    }

    /// The shortest time in milliseconds that `cost` can take on one thread.
    pub fn floor_ms(&self, cost: crate::workloads::Cost) -> f64 {
        let products = (cost.flops / self.gflops).max(cost.bytes / self.gbytes);
        1e-6 * (products + cost.silu * self.silu + cost.relu * self.relu)
    }
}

fn gflops() -> f64 {
    let started = Instant::now();
    let flops = Arch::new().dispatch(MultiplyAdds);
    flops / started.elapsed().as_secs_f64() / 1e9
}

/// The library's own kernel for an activation in L1, after a copy that refills the values; or only that copy.
struct Apply {
    activation: Option<Activation>,
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Apply {
    fn new(activation: Option<Activation>) -> Self {
        const N: usize = 3072;
        let x: Vec<f32> = (0..N).map(|i| (i as f32 + 0.5) * 16.0 / N as f32 - 8.0).collect();
        Apply { activation, y: x.clone(), x }
    }

    /// Nanoseconds per value.
    fn ns(&mut self) -> f64 {
        const TIMES: usize = 20;
        let started = Instant::now();
        for _ in 0..TIMES {
            self.y.copy_from_slice(black_box(&self.x));
            if let Some(activation) = self.activation {
                activation.apply(black_box(&mut self.y));
            }
        }
        black_box(&self.y);
        started.elapsed().as_secs_f64() * 1e9 / (TIMES * self.x.len()) as f64
    }
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

/// The sum of a slice: one load per addition.
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

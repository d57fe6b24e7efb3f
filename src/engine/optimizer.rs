use std::ops::Range;

use super::Progress;
use super::checkpoint::Carry;
use crate::error::{Result, check};
use crate::numeric::simd::vectorize;

/// How a model's parameters are updated: AdamW, warm-up, decay of the learning rate, clipping, averaging.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct OptimizerConfig {
    /// Learning rate after warm-up. More than 0. Default 1e-3.
    pub lr: f64,
    /// Decay of the gradient's mean, 0 to less than 1. Default 0.9 (Kingma & Ba 2015).
    pub beta1: f64,
    /// Decay of the squared gradient's mean, 0 to less than 1. Default 0.999 (Kingma & Ba 2015).
    pub beta2: f64,
    /// Added to √v̂. More than 0. Default 1e-8 (Kingma & Ba 2015).
    pub eps: f64,
    /// Decoupled weight decay, per step times the learning rate (Loshchilov & Hutter 2019). 0 or more.
    /// Default 0.
    pub weight_decay: f64,
    /// Largest norm (L2) of the gradient; a longer gradient is scaled down to it. `None` or more than 0. Default
    /// `Some(1.0)`.
    pub clip_norm: Option<f64>,
    /// Steps over which the learning rate rises linearly from 0; at most half of the training. Default 100.
    pub warmup: usize,
    /// How the learning rate changes after warm-up. Default [`Decay::Cosine`].
    pub decay: Decay,
    /// The largest share of the moving average of the parameters that a step keeps. The average is what draws, scores
    /// and is validated; its horizon is at most 1/(1 − ema) steps. 0 (no averaging) to less than 1. Default 0.999.
    pub ema: f64,
    /// How far the average reaches back, as a share of the steps done: step t of a training keeps min(ema, t/(t +
    /// 1/ema_share)) of it, which weights step i in proportion to i^(1/ema_share − 1) (Karras et al. 2024,
    /// [section 3.1](https://arxiv.org/abs/2312.02696)). With the defaults, this share governs the first 8991 steps,
    /// and `ema` the later ones. More than 0. Default 1/9.
    pub ema_share: f64,
}

/// How the learning rate changes after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Decay {
    /// It stays constant.
    Constant,
    /// It falls along half a cosine, from its full value to almost 0 at the last step (Loshchilov & Hutter 2017).
    Cosine,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        OptimizerConfig {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            clip_norm: Some(1.0),
            warmup: 100,
            decay: Decay::Cosine,
            ema: 0.999,
            ema_share: 1.0 / 9.0,
        }
    }
}

impl OptimizerConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        let positive = |v: f64| v > 0.0 && v.is_finite();
        let share = |v: f64| (0.0..1.0).contains(&v);
        check(positive(self.lr), "OptimizerConfig::lr", self.lr, "more than 0, finite")?;
        check(share(self.beta1), "OptimizerConfig::beta1", self.beta1, "0 or more, less than 1")?;
        check(share(self.beta2), "OptimizerConfig::beta2", self.beta2, "0 or more, less than 1")?;
        check(positive(self.eps), "OptimizerConfig::eps", self.eps, "more than 0, finite")?;
        check(
            self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
            "OptimizerConfig::weight_decay",
            self.weight_decay,
            "0 or more, finite",
        )?;
        check(
            self.clip_norm.is_none_or(positive),
            "OptimizerConfig::clip_norm",
            self.clip_norm,
            "None, or more than 0, finite",
        )?;
        check(share(self.ema), "OptimizerConfig::ema", self.ema, "0 or more, less than 1")?;
        let look_back = positive(self.ema_share);
        check(look_back, "OptimizerConfig::ema_share", self.ema_share, "more than 0, finite")
    }

    /// The learning rate at a step.
    pub fn lr_at(&self, progress: Progress) -> f64 {
        let (step, steps) = (progress.step as f64, progress.steps as f64);
        let warmup = (self.warmup as f64).min(steps / 2.0);
        if step < warmup {
            return self.lr * (step + 1.0) / (warmup + 1.0);
        }
        match self.decay {
            Decay::Constant => self.lr,
            Decay::Cosine => {
                let share = (step - warmup) / (steps - warmup).max(1.0);
                self.lr * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
            }
        }
    }
}

/// Clipping, Adam with decoupled weight decay, and the moving average of the parameters, in one pass:
/// g ← g·min(1, clip_norm/‖g‖), m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², p ← p − lr·(m̂/(√v̂ + ε) + λp),
/// p̄ ← k·p̄ + (1−k)·p, k = min(ema, t/(t + 1/ema_share)).
#[derive(Debug, Clone)]
pub struct Adam {
    m: Vec<f32>,
    v: Vec<f32>,
    step: i32,
    /// The parameters without weight decay, in order.
    undecayed: Vec<Range<usize>>,
}

impl Adam {
    /// Creates an optimizer for `num_params` numbers, with moments of zero.
    pub fn new(num_params: usize) -> Self {
        Adam { m: vec![0.0; num_params], v: vec![0.0; num_params], step: 0, undecayed: Vec::new() }
    }

    /// The same without weight decay of these parameters: ranges in order.
    pub fn without_decay(self, undecayed: Vec<Range<usize>>) -> Self {
        Adam { undecayed, ..self }
    }

    pub(crate) fn carry(&mut self, carry: &mut Carry) -> Result<()> {
        let mut step = self.step as usize;
        carry.count_up_to(i32::MAX as usize, &mut step)?;
        self.step = step as i32;
        carry.parameters(&mut self.m)?;
        carry.parameters(&mut self.v)
    }

    /// One step along −g, which takes p to `next` and the average from `average` to `next_average`. Returns ‖g‖
    /// before clipping, or ∞ if its square overflows f32. If the returned norm is not finite, nothing has changed.
    pub fn step(
        &mut self,
        config: &OptimizerConfig,
        lr: f64,
        g: &[f32],
        (p, average): (&[f32], &[f32]),
        (next, next_average): (&mut [f32], &mut [f32]),
    ) -> f64 {
        let norm = norm(g);
        // A gradient whose square overflows f32 would freeze its parameter forever: v = ∞.
        if !((norm * norm) as f32).is_finite() {
            return if norm.is_nan() { norm } else { f64::INFINITY };
        }
        // When i32 runs out, the moments have long forgotten their start.
        self.step = self.step.saturating_add(1);
        let clip = config.clip_norm.map_or(1.0, |most| (most / norm).min(1.0)) as f32;
        let (b1, b2) = (config.beta1 as f32, config.beta2 as f32);
        let (c1, c2) = (1.0 - config.beta1.powi(self.step), 1.0 - config.beta2.powi(self.step));
        // m̂/(√v̂ + ε) = (m/c₁)/(√v/√c₂ + ε).
        let (rate, root, eps) = ((lr / c1) as f32, (1.0 / c2.sqrt()) as f32, config.eps as f32);
        let shrink = 1.0 - (lr * config.weight_decay) as f32;
        // The horizon is a share of the steps done: a horizon of 1/(1−ema) from the first step on would keep the
        // random start for that many steps, longer than most trainings take.
        let t = f64::from(self.step);
        let keep = config.ema.min(t / (t + 1.0 / config.ema_share)) as f32;
        let (m, v) = (&mut self.m, &mut self.v);
        let mut part = |range: Range<usize>, shrink: f32| {
            let moments = m[range.clone()].iter_mut().zip(&mut v[range.clone()]);
            let before = g[range.clone()].iter().zip(&p[range.clone()]).zip(&average[range.clone()]);
            let after = next[range.clone()].iter_mut().zip(&mut next_average[range]);
            vectorize(
                #[inline(always)]
                || {
                    for ((((&g, &p), &average), (m, v)), (next, next_average)) in
                        before.zip(moments).zip(after)
                    {
                        let g = clip * g;
                        *m = b1.mul_add(*m - g, g);
                        *v = b2.mul_add(*v - g * g, g * g);
                        *next = shrink * p - rate * *m / (root * v.sqrt() + eps);
                        *next_average = keep.mul_add(average - *next, *next);
                    }
                },
            );
        };
        let mut done = 0;
        for range in &self.undecayed {
            part(done..range.start, shrink);
            part(range.clone(), 1.0);
            done = range.end;
        }
        part(done..g.len(), shrink);
        norm
    }
}

/// ‖g‖, squared and summed in f64, in partial sums over fixed positions.
fn norm(g: &[f32]) -> f64 {
    const LANES: usize = 16;
    vectorize(
        #[inline(always)]
        || {
            let mut sums = [0.0f64; LANES];
            let chunks = g.chunks_exact(LANES);
            let rest: f64 = chunks.remainder().iter().map(|&g| f64::from(g) * f64::from(g)).sum();
            for chunk in chunks {
                for (sum, &g) in sums.iter_mut().zip(chunk) {
                    *sum += f64::from(g) * f64::from(g);
                }
            }
            (sums.iter().sum::<f64>() + rest).sqrt()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kingma & Ba 2015, algorithm 1, in f64, one number at a time.
    #[test]
    fn follows_the_definition() {
        let config = OptimizerConfig {
            lr: 0.1,
            weight_decay: 0.01,
            clip_norm: Some(2.0),
            ema: 0.5,
            ema_share: 0.25,
            ..Default::default()
        };
        let (mut p, mut average) = (vec![1.0f32; 37], vec![1.0f32; 37]);
        let (mut q, mut q_average, mut m, mut v) =
            (vec![1.0f64; 37], vec![1.0f64; 37], vec![0.0; 37], vec![0.0; 37]);
        let mut adam = Adam::new(37);
        for step in 1..=20 {
            let g: Vec<f32> = (0..37).map(|i| ((i * step) as f32).sin()).collect();
            let (mut next, mut next_average) = (p.clone(), p.clone());
            adam.step(&config, config.lr, &g, (&p, &average), (&mut next, &mut next_average));
            (p, average) = (next, next_average);
            let norm = g.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
            let t = step as f64;
            for i in 0..37 {
                let g = f64::from(g[i]) * (2.0 / norm).min(1.0);
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (mh, vh) = (m[i] / (1.0 - 0.9f64.powf(t)), v[i] / (1.0 - 0.999f64.powf(t)));
                q[i] -= 0.1 * (mh / (vh.sqrt() + 1e-8) + 0.01 * q[i]);
                let keep = 0.5f64.min(t / (t + 4.0));
                q_average[i] = keep * q_average[i] + (1.0 - keep) * q[i];
            }
        }
        for i in 0..37 {
            assert!((f64::from(p[i]) - q[i]).abs() < 1e-4, "{} {}", p[i], q[i]);
            assert!((f64::from(average[i]) - q_average[i]).abs() < 1e-4);
        }
    }

    #[test]
    fn weight_decay_leaves_out_what_it_is_told_to() {
        let config = OptimizerConfig { weight_decay: 0.5, ..Default::default() };
        let mut adam = Adam::new(70).without_decay(vec![0..3, 40..41]);
        let (p, mut next, mut average) = ([1.0; 70], [0.0; 70], [0.0; 70]);
        adam.step(&config, 0.1, &[0.0; 70], (&p, &p), (&mut next, &mut average));
        for (i, next) in next.into_iter().enumerate() {
            assert_eq!(next, if i < 3 || i == 40 { 1.0 } else { 0.95 }, "{i}");
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_moves_nothing() {
        let mut adam = Adam::new(2);
        let (mut next, mut average) = ([5.0; 2], [5.0; 2]);
        let norm = adam.step(
            &OptimizerConfig::default(),
            0.1,
            &[f32::NAN, 1.0],
            (&[1.0; 2], &[1.0; 2]),
            (&mut next, &mut average),
        );
        assert!(norm.is_nan() && next == [5.0; 2] && average == [5.0; 2] && adam.step == 0);
    }

    /// Under a constant gradient, Adam moves by lr per step, p_t = t. An average with weights ∝ i^(c − 1), c =
    /// 1/ema_share, is then t·c/(c + 1): it lags by the same share of any training. With the cap ema it lags by
    /// ema/(1 − ema) steps.
    #[test]
    fn the_average_looks_back_over_a_share_of_the_steps() {
        let lag = |ema, ema_share, steps| {
            let config = OptimizerConfig { lr: 1.0, ema, ema_share, ..Default::default() };
            let (mut adam, mut p, mut average) = (Adam::new(1), [0.0f32], [0.0f32]);
            for _ in 0..steps {
                let (mut next, mut next_average) = ([0.0], [0.0]);
                adam.step(&config, config.lr, &[-1.0], (&p, &average), (&mut next, &mut next_average));
                (p, average) = (next, next_average);
            }
            assert!((p[0] / steps as f32 - 1.0).abs() < 1e-3);
            f64::from(p[0] - average[0])
        };
        for steps in [200, 2_000] {
            for ema_share in [1.0 / 9.0, 1.0 / 4.0, 1.0 / 49.0] {
                let expected = steps as f64 / (1.0 / ema_share + 1.0);
                let got = lag(0.999, ema_share, steps);
                assert!(
                    (got / expected - 1.0).abs() < 0.02,
                    "{steps} {ema_share}: {got}, expected {expected}"
                );
            }
            assert_eq!(lag(0.0, 1.0 / 9.0, steps), 0.0);
            assert!((lag(0.9, 1.0 / 9.0, steps) - 9.0).abs() < 0.1);
        }
    }

    #[test]
    fn the_learning_rate_rises_and_falls() {
        let config = OptimizerConfig { lr: 1.0, warmup: 10, ..Default::default() };
        let at = |step| config.lr_at(Progress { step, steps: 110 });
        assert!(at(0) > 0.0 && at(0) < at(5) && at(5) < at(9));
        assert_eq!(at(10), 1.0);
        assert!((at(60) - 0.5).abs() < 1e-12 && at(109) < 1e-3 && at(109) > 0.0);
        let constant = OptimizerConfig { decay: Decay::Constant, ..config };
        assert_eq!(constant.lr_at(Progress { step: 109, steps: 110 }), 1.0);
    }
}

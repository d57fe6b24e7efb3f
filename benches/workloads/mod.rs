//! The workloads by name, each through the public API, and what it must cost at least. The benches and
//! `examples/speed` share them; `benches/peers/jax_peer.py` defines the same for JAX.
//!
//! Each of those takes a part of this file.
//!
//! The noise predictor is 2 + 32 time features → 128 → 128 → 128 → 2 with SiLU.

#![allow(dead_code)]

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use quadrivium::diffusion::{Method, Solver, TrainingNoise};
use quadrivium::model::{Decoder, Sequences};
use quadrivium::ndarray::Array2;
use quadrivium::nn::Activation;
use quadrivium::prelude::*;
use quadrivium::{DecoderVariance, seeded};
use quadrivium::{Generative, NetworkSpec, Sampler, Step, Token, Transform, Transformer, TransformerConfig};

/// Runs a workload so many times; the time that took, without what prepares it.
pub type Run = Box<dyn FnMut(usize) -> Duration + Send>;

/// A thing to time.
pub struct Workload {
    pub name: &'static str,
    pub what: &'static str,
    /// The least work it can be done with.
    pub cost: Cost,
    /// Builds the model.
    pub prepare: fn() -> Run,
}

/// What no implementation can avoid: multiply-adds, activations, and for one row at a time the reading of
/// the weights.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub flops: f64,
    /// SiLU values and slopes, and other exponentials.
    pub silu: f64,
    /// ReLU values and slopes.
    pub relu: f64,
    /// Bytes of weights read.
    pub bytes: f64,
}

/// FLOPs of a multilayer perceptron on one row: two per weight.
const fn mlp(sizes: &[usize]) -> f64 {
    let (mut sum, mut i) = (0, 1);
    while i < sizes.len() {
        sum += 2 * sizes[i - 1] * sizes[i];
        i += 1;
    }
    sum as f64
}

const EPS: f64 = mlp(&[34, 128, 128, 128, 2]);
const DECODER: f64 = mlp(&[2, 128, 128, 2]);
const CRITIC: f64 = mlp(&[2, 128, 128, 128, 1]);
/// The eight couplings of a RealNVP on the plane.
const COUPLINGS: f64 = 8.0 * mlp(&[1, 64, 64, 2]);
/// The causal transformer: its blocks, columns, heads, symbols with END, and places.
const BLOCKS: f64 = 4.0;
const WIDTH: f64 = 64.0;
const HEADS: f64 = 4.0;
const SYMBOLS: f64 = 66.0;
const PLACES: f64 = 128.0;
/// Its weights.
const WEIGHTS: f64 = 12.0 * BLOCKS * WIDTH * WIDTH + WIDTH * SYMBOLS;
const GENERATED: f64 = 256.0;
const FREE: Cost = Cost { flops: 0.0, silu: 0.0, relu: 0.0, bytes: 0.0 };

/// A training step is three products per weight, less the gradient in x.
const fn eps_step(rows: f64) -> Cost {
    Cost { flops: rows * (3.0 * EPS - 2.0 * 34.0 * 128.0), silu: rows * 2.0 * 384.0, ..FREE }
}

const fn eps_calls(rows_and_steps: f64) -> Cost {
    Cost { flops: rows_and_steps * EPS, silu: rows_and_steps * 384.0, ..FREE }
}

pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "W1",
        what: "noise predictor: a training step of 256 rows, Adam, EMA",
        cost: eps_step(256.0),
        prepare: || eps_training(256),
    },
    Workload {
        name: "W1b",
        what: "the same, 2048 rows",
        cost: eps_step(2048.0),
        prepare: || eps_training(2048),
    },
    Workload {
        name: "W2",
        what: "DDPM, 1000 steps, 10,000 rows",
        cost: eps_calls(1e7),
        prepare: || drawing(Sampler::Ddpm, 10_000),
    },
    Workload {
        name: "W3",
        what: "DDIM, 50 steps, 10,000 rows",
        cost: eps_calls(5e5),
        prepare: || drawing(DDIM, 10_000),
    },
    Workload {
        name: "W3-1",
        what: "DDIM, 50 steps, one row",
        cost: Cost { bytes: 50.0 * 2.0 * EPS, ..eps_calls(50.0) },
        prepare: || drawing(DDIM, 1),
    },
    Workload {
        name: "W4",
        what: "decoder 2 → 128 → 128 → 2, LeakyReLU, 10,000 rows",
        cost: Cost { flops: 1e4 * DECODER, relu: 1e4 * 256.0, ..FREE },
        prepare: || decoding(10_000),
    },
    Workload {
        name: "W4-1",
        what: "the same, one row",
        cost: Cost { flops: DECODER, relu: 256.0, bytes: 2.0 * DECODER, ..FREE },
        prepare: || decoding(1),
    },
    Workload {
        name: "W5",
        what: "ODE log-likelihood of 1,000 rows, exact divergence, 100 RK4 steps",
        // 400 evaluations, with two tangents through all but the first layer.
        cost: Cost { flops: 4e5 * (EPS + 2.0 * mlp(&[128, 128, 128, 1])), silu: 4e5 * 2.0 * 384.0, ..FREE },
        prepare: scoring,
    },
    Workload {
        name: "W6",
        what: "WGAN-GP: a critic's step 2 → 128 × 3 → 1, 256 rows, Adam",
        // Real and fake rows forward and back; the penalty forward, back, and both again for the gradient.
        cost: Cost {
            flops: 256.0 * (2.0 * (3.0 * CRITIC - 2.0 * 2.0 * 128.0) + 4.0 * CRITIC),
            relu: 256.0 * 6.0 * 384.0,
            ..FREE
        },
        prepare: critic_training,
    },
    Workload {
        name: "W7",
        what: "causal transformer, 4 blocks, 4 heads, width 64: a training step of 16 rows of 128 tokens, AdamW, EMA",
        // A place sees half of the row in the mean: a product with the keys, and one with the values.
        cost: Cost {
            flops: 16.0 * PLACES * 3.0 * (2.0 * WEIGHTS + 4.0 * BLOCKS * WIDTH * PLACES / 2.0),
            silu: 16.0 * PLACES * (BLOCKS * HEADS * PLACES / 2.0 + SYMBOLS),
            relu: 16.0 * PLACES * BLOCKS * 4.0 * WIDTH,
            ..FREE
        },
        prepare: transformer_training,
    },
    Workload {
        name: "W7g",
        what: "the same: 256 tokens one by one, with the cache",
        cost: Cost {
            flops: GENERATED * (2.0 * WEIGHTS + 4.0 * BLOCKS * WIDTH * GENERATED / 2.0),
            silu: GENERATED * BLOCKS * HEADS * GENERATED / 2.0,
            bytes: GENERATED * 4.0 * (WEIGHTS + 2.0 * BLOCKS * WIDTH * GENERATED / 2.0),
            ..FREE
        },
        prepare: transformer_drawing,
    },
    Workload {
        name: "W8",
        what: "RealNVP, 8 couplings of 1 → 64 → 64 → 2: a training step of 512 rows, Adam, EMA",
        cost: Cost {
            flops: 512.0 * (3.0 * COUPLINGS - 8.0 * 2.0 * 64.0),
            relu: 512.0 * 8.0 * 2.0 * 128.0,
            ..FREE
        },
        prepare: coupling_training,
    },
    Workload {
        name: "W8-score",
        what: "the same: log-density of 10,000 rows",
        cost: COUPLING_CALLS,
        prepare: coupling_scoring,
    },
    Workload {
        name: "W8-sample",
        what: "the same: 10,000 rows",
        cost: COUPLING_CALLS,
        prepare: coupling_drawing,
    },
];

const COUPLING_CALLS: Cost = Cost { flops: 1e4 * COUPLINGS, relu: 1e4 * 8.0 * 128.0, ..FREE };

/// Criterion's view of the workloads `names`.
pub fn bench(c: &mut criterion::Criterion, names: &[&str]) {
    for workload in WORKLOADS.iter().filter(|w| names.contains(&w.name)) {
        let mut group = c.benchmark_group(workload.name);
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(3));
        let mut run = (workload.prepare)();
        group.bench_function(workload.what, |b| b.iter_custom(|times| run(times as usize)));
        group.finish();
    }
}

const DDIM: Sampler = Sampler::Ddim { steps: 50, eta: 0.0 };

/// Standard normal rows on the plane.
pub fn rows(n: usize) -> Array2<f32> {
    use quadrivium::numeric::Real;
    let mut rng = seeded(1);
    Array2::from_shape_fn((n, 2), |_| f32::normal(&mut rng))
}

/// The time of `steps` training steps: from the end of the first, which allocates, to the end of the last.
fn timed_training<T>(
    model: &mut dyn Generative<T>,
    data: &Dataset<T>,
    steps: usize,
    batch: usize,
) -> Duration {
    let (mut first, mut last) = (None, Instant::now());
    let mut observer = |_: &Step<'_>| {
        last = Instant::now();
        first.get_or_insert(last);
        ControlFlow::Continue(())
    };
    let options = TrainOptions { steps: steps + 1, batch, ..TrainOptions::default() };
    model.train(data, &options, &mut seeded(2), &mut observer).expect("a training that goes well");
    last - first.expect("at least one step")
}

fn noise_predictor(sampler: Sampler) -> Diffusion {
    let config = DiffusionConfig {
        network: NetworkSpec::mlp([128; 3], Activation::Silu, 0),
        training_noise: TrainingNoise::Timesteps,
        solver: Solver::Fixed { method: Method::Rk4, steps: 100 },
        sampler,
        ..DiffusionConfig::default()
    };
    Diffusion::new(config, &mut seeded(0)).expect("a valid config")
}

fn eps_training(batch: usize) -> Run {
    let data = Dataset::new(rows(10_000)).expect("finite rows");
    Box::new(move |steps| timed_training(&mut noise_predictor(DDIM), &data, steps, batch))
}

fn repeat(mut once: impl FnMut() + Send + 'static) -> Run {
    Box::new(move |times| {
        let started = Instant::now();
        (0..times).for_each(|_| once());
        started.elapsed()
    })
}

fn drawing(sampler: Sampler, n: usize) -> Run {
    let (model, mut rng) = (noise_predictor(sampler), seeded(3));
    repeat(move || {
        let drawn = model.sample(n, &SampleOptions::default(), &mut rng).expect("valid options");
        std::hint::black_box(drawn);
    })
}

fn decoding(n: usize) -> Run {
    let config = VaeConfig {
        encoder: NetworkSpec::mlp([128; 2], Activation::LeakyRelu { slope: 0.2 }, 0),
        decoder: NetworkSpec::mlp([128; 2], Activation::LeakyRelu { slope: 0.2 }, 0),
        decoder_variance: DecoderVariance::Shared,
        ..VaeConfig::default()
    };
    let (model, z) = (Vae::new(config, &mut seeded(0)).expect("a valid config"), rows(n));
    repeat(move || {
        std::hint::black_box(model.decode(z.view()).expect("finite rows"));
    })
}

fn scoring() -> Run {
    let (model, x) = (noise_predictor(DDIM), rows(1000));
    repeat(move || {
        let nats = model.log_likelihood(x.view(), &LikelihoodOptions::default()).expect("finite rows");
        std::hint::black_box(nats);
    })
}

/// Fifty steps of the critic to one of a tiny generator, which adds a hundredth.
fn critic_training() -> Run {
    const CRITIC_STEPS: usize = 50;
    let data = Dataset::new(rows(10_000)).expect("finite rows");
    let config = GanConfig {
        generator: NetworkSpec::mlp([], Activation::Silu, 0),
        critic: NetworkSpec::mlp([128; 3], Activation::LeakyRelu { slope: 0.2 }, 0),
        critic_steps: CRITIC_STEPS,
        ..GanConfig::default()
    };
    Box::new(move |steps| {
        let mut model = Gan::new(config.clone(), &mut seeded(0)).expect("a valid config");
        let rounds = steps.div_ceil(CRITIC_STEPS);
        timed_training(&mut model, &data, rounds, 256).mul_f64(steps as f64 / (rounds * CRITIC_STEPS) as f64)
    })
}

fn transformer(len: usize) -> Transformer {
    let (vocabulary, width, heads, blocks) =
        (SYMBOLS as usize - 1, WIDTH as usize, HEADS as usize, BLOCKS as usize);
    let config = TransformerConfig { vocabulary, len, width, heads, blocks, ..TransformerConfig::default() };
    Transformer::new(config, &mut seeded(0)).expect("a valid config")
}

/// Symbols without a pattern.
fn symbol(at: usize) -> Token {
    Token((at * at % 251 % 65) as u32)
}

fn transformer_training() -> Run {
    let (rows, places) = (1_000, PLACES as usize);
    let tokens = Array2::from_shape_fn((rows, places), |(row, place)| symbol(row * places + place));
    let data = Dataset::new(tokens).expect("tokens");
    Box::new(move |steps| timed_training(&mut transformer(places), &data, steps, 16))
}

fn transformer_drawing() -> Run {
    let model = transformer(GENERATED as usize);
    repeat(move || {
        let mut decoder = model.decoder(1);
        for at in 0..GENERATED as usize {
            std::hint::black_box(decoder.push(&[symbol(at)]));
        }
    })
}

fn couplings() -> Flow {
    let config = FlowConfig {
        transform: Transform::Affine,
        layers: 8,
        network: NetworkSpec::mlp([64; 2], Activation::Relu, 0),
        ..FlowConfig::default()
    };
    Flow::new(config, &mut seeded(0)).expect("a valid config")
}

fn coupling_training() -> Run {
    let data = Dataset::new(rows(10_000)).expect("finite rows");
    Box::new(move |steps| timed_training(&mut couplings(), &data, steps, 512))
}

fn coupling_scoring() -> Run {
    let (model, x) = (couplings(), rows(10_000));
    repeat(move || {
        let nats = model.log_likelihood(x.view(), &LikelihoodOptions::default()).expect("finite rows");
        std::hint::black_box(nats);
    })
}

fn coupling_drawing() -> Run {
    let (model, mut rng) = (couplings(), seeded(3));
    repeat(move || {
        let drawn = model.sample(10_000, &SampleOptions::default(), &mut rng).expect("valid options");
        std::hint::black_box(drawn);
    })
}

//! What a row costs: alone and in bulk for each paradigm, the autoregressive cost against dimension, the
//! diffusion's against steps; W2, W3, W4, W7g and W8-sample of `workloads`. Latency depends on shapes alone, so the models are
//! untrained.
//!
//! `cargo bench --bench sampling` · `-- one_row` for a part · `-- --quick` for a glance.

mod workloads;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quadrivium::prelude::*;
use quadrivium::seeded;
use quadrivium::{Architecture, ComponentCount, Sampler, Samples};

const BULK: usize = 10_000;

fn draw(model: &dyn Generative, n: usize) -> Samples {
    model.sample(n, &SampleOptions::default(), &mut seeded(0)).expect("valid options")
}

/// One row and ten thousand.
fn paradigm(c: &mut Criterion, name: &str, model: &dyn Generative) {
    let mut group = c.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for (what, n) in [("one_row", 1), ("10000_rows", BULK)] {
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(what, |b| b.iter(|| black_box(draw(model, n))));
    }
    group.finish();
}

fn autoregressive(c: &mut Criterion) {
    let model = |dim| {
        Autoregressive::new(AutoregressiveConfig { dim, ..Default::default() }, &mut seeded(0))
            .expect("valid config")
    };
    paradigm(c, "autoregressive", &model(2));
    // Linear in the dimension: a network evaluation per coordinate.
    let mut group = c.benchmark_group("autoregressive/dim");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for dim in [2, 4, 8, 16, 32] {
        let model = model(dim);
        group.throughput(Throughput::Elements(1000));
        group.bench_with_input(BenchmarkId::from_parameter(dim), &dim, |b, _| {
            b.iter(|| black_box(draw(&model, 1000)))
        });
    }
    group.finish();
}

fn flow(c: &mut Criterion) {
    let model = |architecture| {
        Flow::new(FlowConfig { architecture, ..Default::default() }, &mut seeded(0)).expect("valid config")
    };
    paradigm(c, "flow/coupling", &model(Architecture::Coupling));
    paradigm(c, "flow/masked", &model(Architecture::MaskedAutoregressive));
}

fn latent(c: &mut Criterion) {
    paradigm(c, "latent", &Vae::new(VaeConfig::default(), &mut seeded(0)).expect("valid config"));
}

fn adversarial(c: &mut Criterion) {
    paradigm(c, "adversarial", &Gan::new(GanConfig::default(), &mut seeded(0)).expect("valid config"));
}

fn diffusion(c: &mut Criterion) {
    let model = Diffusion::new(DiffusionConfig::default(), &mut seeded(0)).expect("valid config");
    paradigm(c, "diffusion/ddpm-1000", &model.with_sampler(Sampler::Ddpm).expect("valid sampler"));
    let ddim = |steps| model.with_sampler(Sampler::Ddim { steps, eta: 0.0 }).expect("valid sampler");
    paradigm(c, "diffusion/ddim-50", &ddim(50));
    let view = |sampler| model.with_sampler(sampler).expect("valid sampler");
    paradigm(c, "diffusion/heun-18", &view(Sampler::Heun { steps: 18 }));
    paradigm(c, "diffusion/dpm-solver-20", &view(Sampler::DpmSolver { steps: 20 }));
    // Linear in the steps.
    let mut group = c.benchmark_group("diffusion/steps");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for steps in [10, 20, 50, 100, 1000] {
        let model = ddim(steps);
        group.throughput(Throughput::Elements(1000));
        group.bench_with_input(BenchmarkId::from_parameter(steps), &steps, |b, _| {
            b.iter(|| black_box(draw(&model, 1000)))
        });
    }
    group.finish();
}

/// The other relatives, in their default sizes.
fn relatives(c: &mut Criterion) {
    let rng = &mut seeded(0);
    let mixture = GaussianMixtureConfig { components: ComponentCount::Fixed(25), ..Default::default() };
    let models: [(&str, Box<dyn Generative>); 5] = [
        (
            "flow_matching",
            Box::new(FlowMatching::new(FlowMatchingConfig::default(), rng).expect("valid config")),
        ),
        ("energy", Box::new(EnergyModel::new(EnergyConfig::default(), rng).expect("valid config"))),
        ("score", Box::new(ScoreModel::new(ScoreConfig::default(), rng).expect("valid config"))),
        ("baseline/mixture", Box::new(GaussianMixture::new(mixture).expect("valid config"))),
        (
            "baseline/kernel",
            Box::new(KernelDensity::new(KernelDensityConfig::default()).expect("valid config")),
        ),
    ];
    for (name, model) in &models {
        paradigm(c, name, model.as_ref());
    }
}

fn by_name(c: &mut Criterion) {
    workloads::bench(c, &["W2", "W3", "W3-1", "W4", "W4-1", "W7g", "W8-sample"]);
}

criterion_group!(sampling, autoregressive, flow, latent, adversarial, diffusion, relatives, by_name);
criterion_main!(sampling);

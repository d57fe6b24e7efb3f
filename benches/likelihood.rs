//! What a row's score costs: each likelihood on ten thousand rows, the diffusion's on fewer, W5 and W8-score of
//! `workloads`.
//!
//! `cargo bench --bench likelihood` · `-- autoregressive` for a part · `-- --quick` for a glance.

mod workloads;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quadrivium::Head;
use quadrivium::prelude::*;
use quadrivium::seeded;

fn score(c: &mut Criterion, name: &str, model: &dyn Generative, rows: usize) {
    let x = workloads::rows(rows);
    let mut group = c.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(rows as u64));
    group.bench_function(format!("{rows}_rows"), |b| {
        b.iter(|| {
            black_box(model.log_likelihood(x.view(), &LikelihoodOptions::default()).expect("finite rows"))
        })
    });
    group.finish();
}

fn paradigms(c: &mut Criterion) {
    let rng = &mut seeded(0);
    let mixture = Autoregressive::new(AutoregressiveConfig::default(), rng).expect("valid config");
    score(c, "autoregressive/mixture", &mixture, 10_000);
    let bins = AutoregressiveConfig { head: Head::Bins { bins: 64 }, ..Default::default() };
    score(c, "autoregressive/bins", &Autoregressive::new(bins, rng).expect("valid config"), 10_000);
    score(c, "flow/spline_coupling", &Flow::new(FlowConfig::default(), rng).expect("valid config"), 10_000);
    // Draws of z per row, and as many passes of the decoder.
    for draws in [1, 500] {
        let config = VaeConfig { draws, ..Default::default() };
        score(c, &format!("latent/{draws}_draws"), &Vae::new(config, rng).expect("valid config"), 1_000);
    }
    let diffusion = Diffusion::new(DiffusionConfig::default(), rng).expect("valid config");
    score(c, "diffusion/adaptive", &diffusion, 1_000);
}

fn by_name(c: &mut Criterion) {
    workloads::bench(c, &["W5", "W8-score"]);
}

criterion_group!(likelihood, paradigms, by_name);
criterion_main!(likelihood);

//! The baselines at the size of the peers' script: 10,000 rows of a 25-mode grid in two columns.
//!
//! `cargo bench --bench baseline` · `RAYON_NUM_THREADS=1 …` against a peer on one thread.
//!
//! The peer's lines, scikit-learn on the same distribution:
//! `GaussianMixture(25, tol=0, max_iter=n, init_params="random_from_data").fit(x)`, a fiftieth of the
//! difference between n = 51 and n = 1; `.score_samples(x)`; `KernelDensity(bandwidth=0.1).fit(x).score_samples(x)`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quadrivium::ndarray::Array2;
use quadrivium::prelude::*;
use quadrivium::seeded;
use quadrivium::worlds::Toy;
use quadrivium::{ComponentCount, LogLikelihood};

const ROWS: usize = 10_000;

fn config() -> GaussianMixtureConfig {
    GaussianMixtureConfig { components: ComponentCount::Fixed(25), restarts: 1, ..Default::default() }
}

fn rows() -> Array2<f32> {
    Toy::grid(5, 2.0, 0.1).expect("a valid grid").sample(ROWS, &mut seeded(0))
}

fn train(model: &mut dyn Generative, data: &Dataset) {
    model.train(data, &TrainOptions::default(), &mut seeded(0), &mut NoObserver).expect("good rows");
}

fn score(model: &dyn Generative, x: &Array2<f32>) -> LogLikelihood {
    model.log_likelihood(x.view(), &LikelihoodOptions::default()).expect("good rows")
}

fn baseline(c: &mut Criterion) {
    let x = rows();
    let data = Dataset::new(x.clone()).expect("finite rows");
    let mut group = c.benchmark_group("mixture25");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(ROWS as u64));
    let mut model = GaussianMixture::new(config()).expect("a valid config");
    train(&mut model, &data);
    group.bench_function("score", |b| b.iter(|| black_box(score(&model, &x))));
    // From given parameters a training is an E-step and `iterations` M- and E-steps. Means that are off keep it busy.
    let (weights, means, covariances) =
        (model.weights().to_vec(), &model.means() + 0.5, &model.covariances() * 9.0);
    for iterations in [1, 11] {
        let config = GaussianMixtureConfig { tol: 0.0, max_iter: iterations, ..config() };
        let start = GaussianMixture::from_parameters(config, &weights, means.view(), covariances.view())
            .expect("valid parameters");
        group.bench_function(format!("em_{iterations}"), |b| {
            b.iter_batched_ref(
                || start.clone(),
                |model| train(model, &data),
                criterion::BatchSize::SmallInput,
            )
        });
    }
    group.bench_function("fit", |b| {
        b.iter(|| {
            let mut model = GaussianMixture::new(config()).expect("a valid config");
            train(&mut model, &data);
            model
        })
    });
    group.finish();

    let mut group = c.benchmark_group("kernel_density");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(ROWS as u64));
    let model =
        KernelDensity::from_parameters(&data, (Array2::eye(2) * 0.01).view()).expect("valid parameters");
    group.bench_function("score", |b| b.iter(|| black_box(score(&model, &x))));
    group.finish();
}

criterion_group!(benches, baseline);
criterion_main!(benches);

//! What the energies learn, held against what is known; the chains.

mod averaged;
mod chains;
mod conditions;
mod derivatives;
mod options;

use crate::nn::NetworkSpec;
use ndarray::{Array1, Array2, array, s};

use super::likelihood::RESOLVED;
use super::*;
use crate::Error;
use crate::engine::OptimizerConfig;
use crate::nn::Activation;
use crate::numeric::rng::seeded;
use crate::testing::moons;
use crate::worlds::Toy;

const CHAINS: EnergyTraining =
    EnergyTraining::PersistentChains { chains: 256, steps: 8, restart: 0.0, magnitude: 0.0 };

fn small(training: EnergyTraining) -> EnergyConfig {
    let langevin = Langevin { steps: 30, ..Default::default() };
    EnergyConfig {
        network: NetworkSpec::mlp([12, 10], Activation::Silu, 1),
        training,
        langevin,
        ..Default::default()
    }
}

fn options(steps: usize) -> TrainOptions {
    TrainOptions { steps, ..Default::default() }
}

fn trained(config: EnergyConfig, data: &Dataset, options: &TrainOptions) -> EnergyModel {
    let mut model = EnergyModel::new(config, &mut seeded(1)).unwrap();
    model.train(data, options, &mut seeded(2), &mut Silent).unwrap();
    model
}

fn drawn(model: &dyn Generative, n: usize) -> Array2<f32> {
    model.sample(n, &SampleOptions::default(), &mut seeded(3)).unwrap().x
}

fn estimate(model: &EnergyModel, x: &Array2<f32>) -> (Array1<f64>, Array1<f64>) {
    match model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap() {
        LogLikelihood::Estimate { nats, std_error } => (nats, std_error),
        other => panic!("{other:?}"),
    }
}

/// Two Gaussians in one column, of standard deviation `sd`, that overlap.
fn two_modes(sd: f64) -> Toy {
    let variance = sd * sd;
    Toy::mixture(&[0.3, 0.7], array![[-1.0], [1.0]].view(), array![[[variance]], [[variance]]].view())
        .unwrap()
}

/// The mean of ln p − ln q over the rows, an estimate of KL(p ‖ q), and its standard error.
fn gap(truth: &Toy, model: &EnergyModel, n: usize) -> (f64, f64) {
    let x = truth.sample(n, &mut seeded(9));
    let gaps = truth.log_density(x.view()).unwrap() - estimate(model, &x).0;
    (gaps.mean().unwrap(), gaps.std(0.0) / (n as f64).sqrt())
}

#[test]
fn chains_learn_a_known_density() {
    let toy = two_modes(0.4);
    let data = Dataset::new(toy.sample(20_000, &mut seeded(0))).unwrap();
    let config = EnergyConfig {
        dim: 1,
        network: NetworkSpec::mlp([32, 32], Activation::Silu, 2),
        normalization: Normalization::Quadrature { intervals: 512 },
        ..small(CHAINS)
    };
    let model = trained(config, &data, &options(600));
    let (kl, error) = gap(&toy, &model, 20_000);
    assert!(kl < 0.01 && kl > -5.0 * error, "KL = {kl} ± {error}");
    // And what the chains of the sampler draw is that density: 2,000 rows, E‖x − x′‖ about 1.
    let x = drawn(&model, 2_000);
    let distance =
        crate::metrics::energy_distance(x.view(), toy.sample(20_000, &mut seeded(5)).view()).unwrap();
    assert!(distance < 5e-3, "energy distance {distance}");
}

#[test]
fn denoising_learns_the_blurred_density_not_the_sharp_one() {
    let (sd, sigma) = (0.3, 0.3);
    let toy = two_modes(sd);
    let data = Dataset::new(toy.sample(20_000, &mut seeded(0))).unwrap();
    let config = EnergyConfig {
        dim: 1,
        network: NetworkSpec::mlp([32, 32], Activation::Silu, 2),
        normalization: Normalization::Quadrature { intervals: 512 },
        ..small(EnergyTraining::DenoisingScoreMatching { sigma })
    };
    let model = trained(config, &data, &options(1500));
    let scale = model.fitted.standardizer.scale()[0];
    let blurred = two_modes((sd * sd + (sigma * scale).powi(2)).sqrt());
    let (kl, error) = gap(&blurred, &model, 20_000);
    assert!(kl < 0.01 && kl > -5.0 * error, "KL from the blurred density = {kl} ± {error}");
    let (kl, _) = gap(&toy, &model, 20_000);
    assert!(kl > 0.05, "KL from the sharp density = {kl}");
}

/// The untrained energy is N(0, w²I) in closed form. The moments of 40,000 numbers, each within five standard
/// errors: one false alarm in a million.
#[test]
fn chains_have_the_moments_of_a_known_energy() {
    let moments = |model: &EnergyModel, temperature: f64| {
        let x = model.sample(20_000, &SampleOptions { temperature }, &mut seeded(3)).unwrap().x;
        (x.mean().unwrap().into(), x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / x.len() as f64)
    };
    let is = |(mean, square): (f64, f64), variance: f64| {
        let (off_mean, off) = (mean / variance.sqrt(), square / variance - 1.0);
        let n = 40_000f64;
        assert!(off_mean.abs() < 5.0 / n.sqrt(), "mean {mean} of a variance {variance}");
        assert!(off.abs() < 5.0 * (2.0 / n).sqrt(), "variance {square}, expected {variance}");
    };
    let (w, h) = (2.0f64, 1.0f64);
    let chain = |acceptance| {
        let langevin = Langevin { steps: 120, candidates: 0.0, first: h, last: h, acceptance };
        EnergyModel::new(EnergyConfig { width: w, langevin, ..small(CHAINS) }, &mut seeded(0)).unwrap()
    };
    let adjusted = chain(Acceptance::Metropolis);
    is(moments(&adjusted, 1.0), w * w);
    is(moments(&adjusted, 0.5), 0.5 * w * w);
    // z′ = (1 − a) z + h ξ, a = h²/2w², has the variance h²/(1 − (1 − a)²).
    let a = h * h / (2.0 * w * w);
    let biased = h * h / (1.0 - (1.0 - a).powi(2));
    is(moments(&chain(Acceptance::Always), 1.0), biased);
    assert!(biased / (w * w) - 1.0 > 9.0 * (2.0 / 40_000f64).sqrt(), "the test would not see the bias");
    // Steps that fall are no matter to an adjusted chain.
    let falling =
        Langevin { steps: 200, candidates: 0.0, first: 3.0, last: 0.3, acceptance: Acceptance::Metropolis };
    is(moments(&adjusted.with_sampler(falling).unwrap(), 1.0), w * w);
}

#[test]
fn the_estimate_integrates_to_one_and_knows_its_error() {
    let data = Dataset::new(Toy::moons(0.1).unwrap().sample(2_000, &mut seeded(0))).unwrap();
    let normalization = Normalization::Quadrature { intervals: 256 };
    let model = trained(
        EnergyConfig {
            normalization,
            network: NetworkSpec::mlp([12, 10], Activation::Silu, 3),
            ..small(CHAINS)
        },
        &data,
        &options(150),
    );
    // An even lattice in the units of the data, unlike the rule's.
    let (n, low, high) = (400, [-9.0, -6.0], [10.0, 6.5]);
    let at = |k: usize, c: usize| low[c] + (k as f64 + 0.5) / n as f64 * (high[c] - low[c]);
    let x = Array2::from_shape_fn((n * n, 2), |(i, c)| at(if c == 0 { i / n } else { i % n }, c) as f32);
    let cell = (high[0] - low[0]) * (high[1] - low[1]) / (n * n) as f64;
    let total = cell * estimate(&model, &x).0.mapv(f64::exp).sum();
    assert!((total - 1.0).abs() < 1e-4, "{total}");

    let fine = model.log_partition(1024, &[]).unwrap();
    for intervals in [8, 16, 32, 64, 128] {
        let coarse = model.log_partition(intervals, &[]).unwrap();
        let off = (coarse.nats - fine.nats).abs();
        assert!(off <= coarse.error + 1e-6, "{intervals}: off by {off}, claimed {}", coarse.error);
    }
    assert!(fine.error < 1e-6, "{}", fine.error);
    let claimed = estimate(&model, &x).1;
    assert!(claimed.iter().all(|&e| e > 0.0));
}

#[test]
fn nothing_is_cut_off_however_wide_the_confinement() {
    for dim in [1, 2] {
        for width in [0.3, 2.0, 10.0] {
            let mut model =
                EnergyModel::new(EnergyConfig { dim, width, ..small(CHAINS) }, &mut seeded(0)).unwrap();
            // Untrained, E = ‖z‖²/2w²; then a constant beside it.
            let exact = dim as f64 * (width * std::f64::consts::TAU.sqrt()).ln();
            assert!(
                (model.log_partition(512, &[]).unwrap().nats - exact).abs() < 1e-6,
                "{dim} columns, w = {width}"
            );
            *model.parameters.average.last_mut().unwrap() = 3.0;
            let shifted = model.log_partition(512, &[]).unwrap().nats;
            assert!((shifted - (exact - 3.0)).abs() < 1e-6, "{shifted}");
        }
    }
}

#[test]
fn the_score_of_an_unknown_constant_is_minus_the_energy() {
    let data = Dataset::new(Toy::moons(0.1).unwrap().sample(500, &mut seeded(0))).unwrap();
    let x = data.x().to_owned();
    let raw = trained(small(CHAINS), &data, &options(5));
    let LogLikelihood::Unnormalized(raw) =
        raw.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap()
    else {
        panic!("no constant was asked for")
    };
    let normalization = Normalization::Quadrature { intervals: 128 };
    let (nats, _) =
        estimate(&trained(EnergyConfig { normalization, ..small(CHAINS) }, &data, &options(5)), &x);
    let constant = raw[0] - nats[0];
    assert!(raw.iter().zip(&nats).all(|(raw, nats)| (raw - nats - constant).abs() < 1e-9));
}

#[test]
fn any_number_of_columns() {
    for dim in [1, 5] {
        let data =
            Dataset::new(Array2::from_shape_fn((200, dim), |(r, c)| ((r * (c + 3)) as f32).sin())).unwrap();
        for training in [CHAINS, EnergyTraining::DenoisingScoreMatching { sigma: 0.2 }] {
            let rng = &mut seeded(0);
            let mut model = EnergyModel::new(EnergyConfig { dim, ..small(training) }, rng).unwrap();
            model.train(&data, &options(3), rng, &mut Silent).unwrap();
            let x = drawn(&model, 60);
            assert!(x.dim() == (60, dim) && x.iter().all(|x| x.is_finite()));
            let score = model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
            assert_eq!(score.kind(), model.card().likelihood);
        }
    }
}

#[cfg(feature = "rayon")]
#[test]
fn threads_do_not_move_a_bit() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            // Chains left over from the division among three shards, restarts, validation.
            let training =
                EnergyTraining::PersistentChains { chains: 100, steps: 4, restart: 0.1, magnitude: 0.1 };
            let normalization = Normalization::Quadrature { intervals: 32 };
            let mut model =
                EnergyModel::new(EnergyConfig { normalization, ..small(training) }, &mut seeded(1)).unwrap();
            let options = TrainOptions { shards: 3, validation: 0.2, ..options(6) };
            let report = model.train(&moons(500, 0), &options, &mut seeded(2), &mut Silent).unwrap();
            (report, drawn(&model, 130), estimate(&model, &moons(500, 0).x().to_owned()))
        })
    };
    let one = run(1);
    assert!(one == run(2) && one == run(5));
}

#[test]
fn chains_go_on_from_step_to_step() {
    // Each training makes one move of length 0.01 a step: only chains that persist get anywhere.
    let far = |persist: bool| {
        let training = EnergyTraining::PersistentChains {
            chains: 64,
            steps: 1,
            restart: if persist { 0.0 } else { 1.0 },
            magnitude: 0.0,
        };
        let langevin =
            Langevin { steps: 1, candidates: 0.0, first: 0.2, last: 0.2, acceptance: Acceptance::Always };
        let mut config = EnergyConfig { width: 0.3, langevin, ..small(training) };
        config.optimizer.lr = 1e-30;
        let mut model = EnergyModel::new(config, &mut seeded(1)).unwrap();
        let options = TrainOptions { batch: 64, ..options(80) };
        let report = model.train(&moons(500, 0), &options, &mut seeded(2), &mut Silent).unwrap();
        report.parts[1].1[40..].iter().sum::<f64>() / 40.0
    };
    // Started at N(0, I), E = ‖z‖²/2w² has the mean 1/w² = 11; in the end 1, were it not for the steps' bias.
    let (persistent, anew) = (far(true), far(false));
    assert!(persistent < 2.0 && anew > 5.0, "{persistent}, restarted each time {anew}");
}

#[test]
fn samples_are_a_prefix_and_any_temperature_gives_numbers() {
    let energy = trained(small(CHAINS), &moons(500, 0), &options(4));
    let unadjusted = Langevin { acceptance: Acceptance::Always, ..energy.config().langevin };
    let unadjusted = energy.with_sampler(unadjusted).unwrap();
    for model in [&energy, &unadjusted] {
        let all = drawn(model, 100);
        assert_eq!(drawn(model, 49), all.slice(s![..49, ..]));
        for temperature in [f64::MIN_POSITIVE, 1e6] {
            let x = model.sample(50, &SampleOptions { temperature }, &mut seeded(3)).unwrap().x;
            assert!(x.iter().all(|x| x.is_finite()), "{temperature}: {x}");
        }
    }
    assert_ne!(drawn(&energy, 10), drawn(&unadjusted, 10));
}

#[test]
fn far_rows_score_low_and_finite() {
    let normalization = Normalization::Quadrature { intervals: 64 };
    let model = trained(EnergyConfig { normalization, ..small(CHAINS) }, &moons(500, 0), &options(4));
    let (nats, error) = estimate(&model, &array![[1e3, 0.0], [f32::MAX, f32::MIN], [0.0, -1e30]]);
    assert!(nats.iter().all(|v| v.is_finite() && *v < -1e3), "{nats}");
    assert!(error.iter().all(|v| v.is_finite()));
}

/// E = ‖z‖²/2 + a Σ cos(2ᵏ zᵢ): wells as narrow as 1/(2ᵏ √a). Each factor of Z is √2π I₀(a), but for what a
/// wave of 2ᵏ finds in a Gaussian: nothing.
#[test]
fn wells_between_the_nodes_are_found_or_told() {
    // I₀(a) = Σ (a/2)²ᵏ/k!².
    let ln_bessel = |a: f64| {
        let terms = (1..80).scan(1.0, |term, k| {
            *term *= (0.5 * a / f64::from(k)).powi(2);
            Some(*term)
        });
        terms.sum::<f64>().ln_1p()
    };
    for (dim, octaves, a, intervals) in [(1, 9, 40.0, 128), (2, 5, 12.0, 16)] {
        let config =
            EnergyConfig { dim, network: NetworkSpec::mlp([], Activation::Silu, octaves), ..small(CHAINS) };
        let mut model = EnergyModel::new(config, &mut seeded(0)).unwrap();
        // The weights of the last cosines, before the bias.
        let average = &mut model.parameters.average;
        let end = average.len() - 1;
        average[end - dim..end].fill(a as f32);
        let exact = dim as f64 * (0.5 * std::f64::consts::TAU.ln() + ln_bessel(a));
        let grid = model.log_partition_on_grid(intervals, &[]).unwrap();
        assert!((grid.nats - exact).abs() > 0.1, "{dim}: the grid should miss something: {grid:?}, {exact}");
        assert!(grid.error > RESOLVED, "{dim}: {grid:?}, exact {exact}");
        let found = model.log_partition(intervals, &[]).unwrap();
        assert!((found.nats - exact).abs() < 2e-4 && found.error < 2e-4, "{dim}: {found:?}, exact {exact}");
    }
}

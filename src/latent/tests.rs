use ndarray::{Array2, array, s};

use super::*;
use crate::engine::{Batch, Loss as _, Progress};
use crate::error::Error;
use crate::nn::Activation::LeakyRelu;
use crate::nn::Weights;
use crate::numeric::Real;
use crate::numeric::rng::seeded;
use crate::testing::{check_gradient, moons, normals, residual};
use crate::worlds::Toy;

fn small(decoder_variance: DecoderVariance) -> VaeConfig {
    VaeConfig {
        encoder: NetworkSpec::mlp([7, 5], Activation::Tanh, 2),
        decoder: NetworkSpec::mlp([7, 5], Activation::Tanh, 1),
        decoder_variance,
        ..Default::default()
    }
}

fn trained(config: VaeConfig, data: &Dataset, steps: usize) -> (Vae, TrainReport) {
    let mut model = Vae::new(config, &mut seeded(0)).unwrap();
    let options = TrainOptions { steps, ..Default::default() };
    let report = model.train(data, &options, &mut seeded(1), &mut Silent).unwrap();
    (model, report)
}

fn nats(model: &Vae, x: &Array2<f32>) -> Vec<f64> {
    let score = model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
    score.nats().unwrap().to_vec()
}

fn mean(v: &[f64]) -> f64 {
    v.iter().sum::<f64>() / v.len() as f64
}

/// The same parameters, scored with `draws` draws.
fn with_draws(model: &Vae, draws: usize) -> Vae {
    Vae { config: VaeConfig { draws, ..model.config.clone() }, ..model.clone() }
}

#[test]
fn vae_gradient_is_that_of_its_loss() {
    for (variance, dim, latent_dim) in
        [(DecoderVariance::Shared, 2, 2), (DecoderVariance::PerRow, 3, 1), (DecoderVariance::PerRow, 1, 2)]
    {
        for condition in [ConditionKind::None, ConditionKind::Vector { dim: 2 }] {
            let networks = Networks::new(&VaeConfig { dim, latent_dim, condition, ..small(variance) });
            let elbo = Elbo { networks: &networks, beta: 0.8, warmup: 0.5 };
            let (rng, rows, n) = (&mut seeded(3), 4, networks.num_params());
            let p: Vec<f64> = normals::<f64>(n, rng).iter().map(|v| 0.4 * v).collect();
            let (mut x, c) = (normals(rows * dim, rng), normals(rows * condition.width(), rng));
            // Beyond the encoder's reach.
            x[0] = 11.0;
            // The weights of a shared a stay closed: of each of the last five units, those behind the dim of m.
            let last = n - 2 * dim * 6..n - 2 * dim;
            let closed = |i: usize| {
                variance == DecoderVariance::Shared
                    && last.contains(&i)
                    && (i - last.start) % (2 * dim) >= dim
            };
            let what = format!("{variance:?}, {condition:?}");
            let checked = check_gradient(&what, &elbo, &p, rows, Batch { x: &x, c: &c }, closed);
            // 30 of 50 steps of warm-up.
            let want = checked.parts[0] + 0.8 * 0.6 * checked.parts[1];
            assert!((checked.loss - want).abs() < 1e-9 * want.abs());
        }
    }
}

/// Both parts of the loss against the definitions, at parameters for which they are known: all weights zero,
/// so that μ, σ, m and s are the last biases.
#[test]
fn the_parts_are_the_gaussian_terms() {
    let config = VaeConfig { dim: 1, latent_dim: 1, min_sd: 0.25, ..small(DecoderVariance::PerRow) };
    let networks = Networks::new(&config);
    let mut p = vec![0.0; networks.num_params()];
    let (encoder, end) = (networks.encoder.range.end, p.len());
    // softplus(ln(eˢ − 1)) = s
    let raw = |sd: f64| (sd - 0.25).exp_m1().ln();
    p[encoder - 2..encoder].copy_from_slice(&[0.5, raw(0.8)]);
    p[end - 2..].copy_from_slice(&[-1.0, raw(2.0)]);
    let elbo = Elbo { networks: &networks, beta: 1.0, warmup: 0.0 };
    let (mut noise, mut parts) = (Default::default(), [0.0; 2]);
    elbo.draw(1, &[], Progress { step: 0, steps: 1 }, &mut seeded(0), &mut noise);
    let w = Weights { p: &p, t: &[] };
    elbo.loss_grad(w, Batch::of(&[3.0]), &noise, 0.0, None, &mut parts, &mut Default::default());
    let nll = 0.5 * 4.0 + 2f64.ln() + 0.5 * std::f64::consts::TAU.ln();
    let kl = 0.5 * (0.25 + 0.64 - 1.0) - 0.8f64.ln();
    assert!((parts[0] - nll).abs() < 1e-12 && (parts[1] - kl).abs() < 1e-12, "{parts:?}, {nll} {kl}");
}

/// A linear decoder with a shared s is a Gaussian, p(x) = N(b, W·Wᵀ + diag s²), and its posterior one that a
/// linear encoder can be, once W's columns are orthogonal over s: the bound can be tight, and training must
/// find that.
#[test]
fn a_linear_model_finds_a_correlated_gaussian_and_its_bound_is_tight() {
    let covariance = array![[[4.0, 1.8], [1.8, 1.0]]];
    let toy = Toy::mixture(&[1.0], array![[1.0, -3.0]].view(), covariance.view()).unwrap();
    let (data, test) =
        (Dataset::new(toy.sample(20_000, &mut seeded(4))).unwrap(), toy.sample(4_000, &mut seeded(5)));
    let truth = -toy.log_density(test.view()).unwrap().mean().unwrap();
    let config = VaeConfig {
        encoder: NetworkSpec::mlp([], Activation::Tanh, 0),
        decoder: NetworkSpec::mlp([], Activation::Tanh, 0),
        draws: 1,
        ..Default::default()
    };
    let (model, _) = trained(config, &data, 3_000);
    let (elbo, iwae) = (-mean(&nats(&model, &test)), -mean(&nats(&with_draws(&model, 50), &test)));
    // One draw's noise: the mean over 4,000 rows is within 0.05 of the ELBO.
    assert!(elbo - truth < 0.06 && elbo > truth - 0.03, "ELBO {elbo}, truth {truth}");
    assert!((iwae - truth).abs() < 0.02, "IWAE {iwae}, truth {truth}");
}

#[test]
fn more_draws_tighten_the_bound_and_none_passes_the_truth() {
    let (toy, data) = (Toy::moons(0.1).unwrap(), moons(5_000, 6));
    let test = moons(1_000, 7).x().to_owned();
    let (model, report) = trained(VaeConfig::default(), &data, 1_500);
    let bounds: Vec<f64> =
        [1, 5, 50, 500].map(|draws| mean(&nats(&with_draws(&model, draws), &test))).to_vec();
    let truth = toy.log_density(test.view()).unwrap().mean().unwrap();
    assert!(bounds.is_sorted(), "{bounds:?}");
    assert!(bounds[3] < truth && bounds[3] > truth - 0.4, "{bounds:?}, truth {truth}");
    // One draw of z is the loss that training ended with, in the units of the data.
    let last = mean(&report.loss[1_400..]) - model.fitted.standardizer.log_det(&[0f32; 2]);
    assert!((bounds[0] + last).abs() < 0.15, "{bounds:?}, training's {last}");
}

/// Else patience would compare losses of different β, and keep the first parameters of a warm-up.
#[test]
fn validation_measures_the_loss_that_training_ends_with() {
    let optimizer = OptimizerConfig { lr: 1e-30, ..Default::default() };
    let config = VaeConfig { beta_warmup: 1.0, optimizer, ..small(DecoderVariance::Shared) };
    let options = TrainOptions { steps: 40, validation: 0.5, validate_every: 10, ..Default::default() };
    let data = moons(200, 8);
    let mut model = Vae::new(config, &mut seeded(0)).unwrap();
    let report = model.train(&data, &options, &mut seeded(1), &mut Silent).unwrap();
    // Nothing has moved but β.
    let first = report.validation[0].1;
    assert!(
        report.validation.iter().all(|&(_, loss)| (loss - first).abs() < 1e-6),
        "{:?}",
        report.validation
    );
    assert!(report.loss[0] < report.loss[39] - 0.1);
}

/// The bound against the sum as it is written, through `encode`'s and `decode`'s own answers.
#[test]
fn the_bound_is_the_mean_weight() {
    // Whitened, s would be no number for each column.
    let config = VaeConfig { whiten: false, ..small(DecoderVariance::Shared) };
    let (model, _) = trained(config, &moons(500, 8), 30);
    let (k, seed) = (7, 3);
    let x = moons(60, 9).x().to_owned();
    let q = model.encode(x.view()).unwrap();
    let score = with_draws(&model, k).log_likelihood(x.view(), &LikelihoodOptions { seed }).unwrap();
    let LogLikelihood::LowerBound { nats, draws } = score else { panic!("{score:?}") };
    assert_eq!(draws, k);
    let normal = |e: f64, sd: f64| (-0.5 * e * e).exp() / (sd * std::f64::consts::TAU.sqrt());
    // s in the units of the data: a draw with ε known, less the mean.
    let mut likelihood = Gaussians::default();
    model.networks.decoder.infer(&model.parameters.average, &[0.0, 0.0], &[], &mut likelihood);
    let s: Vec<f64> = likelihood
        .sd
        .iter()
        .zip(model.fitted.standardizer.scale())
        .map(|(&s, &scale)| f64::from(s) * scale)
        .collect();
    for r in [0, 31, 59] {
        let mut noise = Streams::new(seed).of_row(x.row(r).as_slice().unwrap()).stream(0);
        let mut total = 0.0;
        for _ in 0..k {
            let epsilon: [f64; 2] = std::array::from_fn(|_| f32::normal(&mut noise).into());
            let z: [f64; 2] =
                std::array::from_fn(|i| f64::from(q.mean[[r, i]]) + f64::from(q.sd[[r, i]]) * epsilon[i]);
            let m = model.decode(array![[z[0] as f32, z[1] as f32]].view()).unwrap();
            let w: f64 = (0..2)
                .map(|i| {
                    normal(f64::from(x[[r, i]] - m[[0, i]]) / s[i], s[i]) * normal(z[i], 1.0)
                        / normal(epsilon[i], f64::from(q.sd[[r, i]]))
                })
                .product();
            total += w / k as f64;
        }
        assert!((nats[r] - total.ln()).abs() < 1e-3, "row {r}: {}, as written {}", nats[r], total.ln());
    }
}

#[test]
fn a_row_scores_the_same_alone_and_another_seed_draws_anew() {
    let (model, _) = trained(small(DecoderVariance::PerRow), &moons(500, 8), 30);
    let (model, x) = (with_draws(&model, 7), moons(100, 9).x().to_owned());
    let all = nats(&model, &x);
    for r in [0, 47, 48, 99] {
        assert_eq!(nats(&model, &x.slice(s![r..r + 1, ..]).to_owned())[0], all[r], "row {r}");
    }
    let other = model.log_likelihood(x.view(), &LikelihoodOptions { seed: 1 }).unwrap();
    assert!(other.nats().unwrap().iter().zip(&all).all(|(a, b)| a != b));
}

#[test]
fn far_rows_score_low_and_encode_finitely() {
    let (model, _) = trained(VaeConfig { draws: 20, ..Default::default() }, &moons(500, 8), 50);
    let x = array![[30.0, -30.0], [1e6, 0.0], [f32::MAX, f32::MIN]];
    let nats = nats(&model, &x);
    assert!(nats.iter().all(|&nats| nats < -50.0), "{nats:?}");
    assert!(nats[1].is_finite(), "far is not impossible: {nats:?}");
    let q = model.encode(x.view()).unwrap();
    assert!(q.mean.iter().chain(&q.sd).all(|v| v.is_finite()));
}

/// A heavy KL leaves z no word about x: KL → 0, and reconstructions are all the same row.
#[test]
fn a_huge_beta_collapses_the_posterior() {
    let data = moons(2_000, 8);
    let outcome = |beta| {
        let (model, report) = trained(VaeConfig { beta, ..Default::default() }, &data, 400);
        let kl = mean(&report.parts[1].1[300..]);
        let back = model.reconstruct(data.x()).unwrap();
        (kl, back.std_axis(Axis(0), 0.0).sum() / data.x().std_axis(Axis(0), 0.0).sum())
    };
    let (kl, spread) = outcome(50.0);
    assert!(kl < 0.01 && spread < 0.05, "β = 50: KL {kl}, spread {spread}");
    let (kl, spread) = outcome(1.0);
    assert!(kl > 0.5 && spread > 0.5, "β = 1: KL {kl}, spread {spread}");
}

#[test]
fn the_latent_space_is_there_to_be_used() {
    let data = moons(5_000, 6);
    let (model, _) = trained(VaeConfig::default(), &data, 1_000);
    let x = moons(500, 7).x().to_owned();
    let Posterior { mean, sd } = model.encode(x.view()).unwrap();
    assert!(sd.iter().all(|&sd| sd > 0.0));
    let back = model.reconstruct(x.view()).unwrap();
    assert_eq!(back, model.decode(mean.view()).unwrap());
    let error = (&back - &x).mapv(|e| e * e).sum() / 1_000.0;
    assert!(error < 0.03, "mean squared error {error}, of a variance of 0.5");
    // One row alone, and none.
    assert_eq!(model.reconstruct(x.slice(s![..1, ..])).unwrap(), back.slice(s![..1, ..]));
    assert_eq!(model.encode(x.slice(s![..0, ..])).unwrap().mean.dim(), (0, 2));
    assert_eq!(model.decode(Array2::zeros((0, 2)).view()).unwrap().dim(), (0, 2));

    let wide = Array2::zeros((4, 3));
    assert!(matches!(model.encode(wide.view()), Err(Error::Shape { what: "x", .. })));
    assert!(matches!(model.decode(wide.view()), Err(Error::Shape { what: "z", .. })));
    let bad = array![[0.0, f32::NAN]];
    assert!(matches!(model.encode(bad.view()), Err(Error::NonFinite { column: 1, .. })));
    assert!(matches!(model.decode(bad.view()), Err(Error::NonFinite { column: 1, .. })));
}

/// The samples are of the density that is scored: x = m + s·ε has the variance of m and that of s. Without
/// the last noise the collapsed model below would draw one point.
#[test]
fn samples_carry_the_decoders_noise_and_temperature_scales_it() {
    let data = moons(2_000, 8);
    let (model, _) = trained(VaeConfig { beta: 50.0, ..Default::default() }, &data, 400);
    let spread = |temperature| {
        let x = model.sample(20_000, &SampleOptions { temperature }, &mut seeded(2)).unwrap().x;
        x.std_axis(Axis(0), 0.0)
    };
    let truth = data.x().std_axis(Axis(0), 0.0);
    // Standard errors of a normal's sd: 0.5 % at 20,000 rows; the fit's own share is larger.
    for (got, want) in spread(1.0).iter().zip(&truth) {
        assert!((got / want - 1.0).abs() < 0.05, "sd {got} of {want}");
    }
    for (got, want) in spread(0.5).iter().zip(&truth) {
        assert!((got / want - 0.5).abs() < 0.05, "at temperature ½ sd {got} of {want}");
    }
}

#[test]
fn a_predicted_variance_follows_the_noise_and_a_shared_one_cannot() {
    // x₂'s noise is wide for x₁ > 0 and narrow below.
    let rng = &mut seeded(11);
    let x = Array2::from_shape_fn((4_000, 2), |(r, c)| {
        let wide = r % 2 == 0;
        let noise = f32::normal(rng);
        match (c, wide) {
            (0, _) => {
                if wide {
                    2.0 + 0.1 * noise
                } else {
                    -2.0 + 0.1 * noise
                }
            }
            (_, true) => noise,
            (_, false) => 0.1 * noise,
        }
    });
    let (data, test) = Dataset::new(x).unwrap().split(3_000).unwrap();
    let bound = |decoder_variance| {
        let config = VaeConfig { decoder_variance, latent_dim: 1, draws: 50, ..Default::default() };
        mean(&nats(&trained(config, &data, 800).0, &test.x().to_owned()))
    };
    let (shared, per_row) = (bound(DecoderVariance::Shared), bound(DecoderVariance::PerRow));
    assert!(per_row > shared + 0.2, "per row {per_row}, shared {shared}");
}

#[test]
fn every_option_matters() {
    let (data, x) = (moons(500, 8), moons(20, 9).x().to_owned());
    let score = |config: VaeConfig| nats(&trained(config, &data, 20).0, &x);
    let base = VaeConfig { draws: 5, ..small(DecoderVariance::Shared) };
    let scored = score(base.clone());
    assert_eq!(score(base.clone()), scored);
    let optimizer = OptimizerConfig { lr: 1e-3, ..base.optimizer.clone() };
    for other in [
        VaeConfig { latent_dim: 1, ..base.clone() },
        VaeConfig { encoder: NetworkSpec::mlp([7], Activation::Tanh, 2), ..base.clone() },
        VaeConfig { decoder: NetworkSpec::mlp([7], Activation::Tanh, 1), ..base.clone() },
        VaeConfig { encoder: NetworkSpec::mlp([7, 5], Activation::Silu, 2), ..base.clone() },
        VaeConfig { decoder: NetworkSpec::mlp([7, 5], Activation::Silu, 1), ..base.clone() },
        VaeConfig { encoder: base.encoder.clone().with_octaves(0), ..base.clone() },
        VaeConfig { decoder: base.decoder.clone().with_octaves(0), ..base.clone() },
        VaeConfig { encoder: residual(), ..base.clone() },
        VaeConfig { decoder: residual(), ..base.clone() },
        VaeConfig { decoder_variance: DecoderVariance::PerRow, ..base.clone() },
        VaeConfig { min_sd: 0.1, ..base.clone() },
        VaeConfig { beta: 0.5, ..base.clone() },
        VaeConfig { beta_warmup: 0.0, ..base.clone() },
        VaeConfig { draws: 6, ..base.clone() },
        VaeConfig { optimizer, ..base.clone() },
    ] {
        assert_ne!(score(other.clone()), scored, "{other:?}");
    }
}

#[test]
fn the_farthest_causes_decode_to_numbers() {
    for activation in [Activation::Tanh, Activation::Silu, Activation::Gelu, Activation::Relu] {
        let config = VaeConfig { decoder: NetworkSpec::mlp([64; 3], activation, 4), ..Default::default() };
        let model = Vae::new(config, &mut seeded(0)).unwrap();
        let x =
            model.decode(array![[f32::MAX, f32::MAX], [f32::MAX, f32::MIN], [f32::MIN, 0.0]].view()).unwrap();
        assert!(x.iter().all(|x| x.is_finite()), "{activation:?}: {x}");
    }
}

#[test]
fn a_config_out_of_range_is_an_error_that_names_the_field() {
    let base = VaeConfig::default;
    for (expected, config) in [
        ("VaeConfig::dim", VaeConfig { dim: 0, ..base() }),
        ("VaeConfig::latent_dim", VaeConfig { latent_dim: 0, ..base() }),
        (
            "VaeConfig::encoder",
            VaeConfig {
                encoder: NetworkSpec::mlp([8, 0], Activation::Tanh, 4),
                decoder: NetworkSpec::mlp([8, 0], Activation::Tanh, 4),
                ..base()
            },
        ),
        (
            "VaeConfig::encoder",
            VaeConfig { encoder: NetworkSpec::mlp([64; 3], Activation::Tanh, 15), ..base() },
        ),
        (
            "VaeConfig::decoder",
            VaeConfig { decoder: NetworkSpec::mlp([64; 3], Activation::Tanh, 15), ..base() },
        ),
        (
            "Activation::LeakyRelu::slope",
            VaeConfig {
                encoder: NetworkSpec::mlp([64; 3], LeakyRelu { slope: f64::NAN }, 4),
                decoder: NetworkSpec::mlp([64; 3], LeakyRelu { slope: f64::NAN }, 4),
                ..base()
            },
        ),
        ("VaeConfig::min_sd", VaeConfig { min_sd: 0.0, ..base() }),
        ("VaeConfig::min_sd", VaeConfig { min_sd: f64::NAN, ..base() }),
        ("VaeConfig::beta", VaeConfig { beta: -1.0, ..base() }),
        ("VaeConfig::beta_warmup", VaeConfig { beta_warmup: 1.1, ..base() }),
        ("VaeConfig::draws", VaeConfig { draws: 0, ..base() }),
    ] {
        match Vae::new(config, &mut seeded(0)) {
            Err(Error::Config { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[cfg(feature = "rayon")]
#[test]
fn the_number_of_threads_does_not_move_a_bit() {
    let data = moons(500, 8);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut model =
                Vae::new(VaeConfig { draws: 7, ..small(DecoderVariance::PerRow) }, &mut seeded(0)).unwrap();
            let options = TrainOptions { steps: 10, shards: 4, ..Default::default() };
            model.train(&data, &options, &mut seeded(1), &mut Silent).unwrap();
            let x = model.sample(200, &SampleOptions::default(), &mut seeded(2)).unwrap().x;
            let prefix = model.sample(50, &SampleOptions::default(), &mut seeded(2)).unwrap().x;
            assert_eq!(prefix, x.slice(s![..50, ..]));
            (nats(&model, &x), model.encode(x.view()).unwrap(), model.reconstruct(x.view()).unwrap(), x)
        })
    };
    let one = run(1);
    for threads in [2, 5] {
        assert_eq!(one, run(threads), "{threads} threads");
    }
}

//! One test over every implementor of `Generative`: what the trait promises holds for all of them.

use std::ops::ControlFlow;

use quadrivium::data::Toy;
use quadrivium::diffusion::Method;
use quadrivium::energy::{Acceptance, Langevin, Normalisation};
use quadrivium::flow_matching::FlowSteps;
use quadrivium::map::Objective;
use quadrivium::ndarray::{Array2, array, s};
use quadrivium::prelude::*;
use quadrivium::{Error, seeded};

// With files, every model can be one.
#[cfg(not(feature = "safetensors"))]
use quadrivium::Generative as Model;
#[cfg(feature = "safetensors")]
use quadrivium::persist::{self, Persist as Model};

/// Every model in a small size, with every objective, head and sampler; two columns.
fn models() -> Vec<Box<dyn Model>> {
    let mut rng = seeded(3);
    let rng = &mut rng;
    let gan = |loss| GanConfig {
        loss,
        generator_hidden: vec![16, 16],
        critic_hidden: vec![16, 16],
        ..GanConfig::default()
    };
    let diffusion =
        |schedule| DiffusionConfig { hidden: vec![32, 32], timesteps: 40, schedule, ..Default::default() };
    let exploding = Diffusion::new(diffusion(Schedule::Continuous(Sde::EXPLODING)), rng).unwrap();
    let diffusion = Diffusion::new(diffusion(Schedule::Cosine), rng).unwrap();
    // Runs that do not converge while a test watches.
    let mixture = |components| GaussianMixtureConfig {
        components,
        restarts: 2,
        tol: 0.0,
        max_iter: 10,
        ..Default::default()
    };
    let kernel_density =
        |bandwidth| KernelDensity::new(KernelDensityConfig { bandwidth, ..Default::default() }).unwrap();
    let matching = |source, coupling, (method, steps)| FlowMatchingConfig {
        source,
        coupling,
        hidden: vec![32, 32],
        sampler: FlowSteps { method, steps },
        ..Default::default()
    };
    let (independent, matched) = (Coupling::Independent, Coupling::OptimalTransport { rows: 32 });
    let circles = Source::Toy(Toy::concentric(&[1.0], 0.1).unwrap());
    let rows = Source::Rows(moons(40).into());
    let autoregressive = |head| AutoregressiveConfig { head, hidden: vec![32, 32], ..Default::default() };
    let energy = |training, acceptance, steps| EnergyConfig {
        training,
        hidden: vec![16, 16],
        langevin: Langevin { steps, acceptance, ..Default::default() },
        ..Default::default()
    };
    let chains = EnergyTraining::PersistentChains { chains: 128, steps: 5, restart: 0.05, magnitude: 1e-4 };
    let denoising = EnergyTraining::DenoisingScoreMatching { sigma: 0.2 };
    let normalisation = Normalisation::Quadrature { intervals: 200 };
    let normalised = EnergyConfig { normalisation, ..energy(denoising, Acceptance::Metropolis, 30) };
    let score = |training| ScoreConfig {
        training,
        hidden: vec![32, 32],
        levels: 8,
        steps_per_level: 3,
        ..Default::default()
    };
    let flow = |architecture, transform| FlowConfig {
        architecture,
        transform,
        hidden: vec![16, 16],
        ..Default::default()
    };
    let spline = Transform::Spline { bins: 8, bound: 4.0 };
    vec![
        Box::new(Autoregressive::new(autoregressive(Head::Mixture { components: 5 }), rng).unwrap()),
        Box::new(Autoregressive::new(autoregressive(Head::Bins { bins: 20 }), rng).unwrap()),
        Box::new(Flow::new(flow(Architecture::Coupling, Transform::Affine), rng).unwrap()),
        Box::new(Flow::new(flow(Architecture::Coupling, spline), rng).unwrap()),
        Box::new(Flow::new(flow(Architecture::MaskedAutoregressive, Transform::Affine), rng).unwrap()),
        Box::new(Flow::new(flow(Architecture::MaskedAutoregressive, spline), rng).unwrap()),
        Box::new(Vae::new(VaeConfig { hidden: vec![16, 16], draws: 20, ..Default::default() }, rng).unwrap()),
        Box::new(Gan::new(gan(AdversarialLoss::Minimax), rng).unwrap()),
        Box::new(Gan::new(gan(AdversarialLoss::NonSaturatingR1 { gamma: 0.1 }), rng).unwrap()),
        Box::new(Gan::new(gan(AdversarialLoss::WassersteinGp { lambda: 1.0 }), rng).unwrap()),
        Box::new(diffusion.with_sampler(Sampler::Ddpm).unwrap()),
        Box::new(diffusion.with_sampler(Sampler::Ddim { steps: 7, eta: 0.0 }).unwrap()),
        Box::new(diffusion.with_sampler(Sampler::Ddim { steps: 7, eta: 1.0 }).unwrap()),
        Box::new(diffusion.with_sampler(Sampler::Heun { steps: 6 }).unwrap()),
        Box::new(diffusion.with_sampler(Sampler::DpmSolver { steps: 6 }).unwrap()),
        Box::new(exploding.with_sampler(Sampler::EulerMaruyama { steps: 8 }).unwrap()),
        Box::new(exploding.with_sampler(Sampler::PredictorCorrector { steps: 6, snr: 0.16 }).unwrap()),
        Box::new(exploding.with_sampler(Sampler::Ode { method: Method::Heun, steps: 7 }).unwrap()),
        Box::new(EnergyModel::new(energy(chains, Acceptance::Metropolis, 30), rng).unwrap()),
        Box::new(EnergyModel::new(energy(chains, Acceptance::Always, 25), rng).unwrap()),
        Box::new(EnergyModel::new(energy(denoising, Acceptance::Metropolis, 30), rng).unwrap()),
        Box::new(EnergyModel::new(normalised, rng).unwrap()),
        Box::new(ScoreModel::new(score(ScoreTraining::Denoising), rng).unwrap()),
        Box::new(ScoreModel::new(score(ScoreTraining::Sliced), rng).unwrap()),
        Box::new(GaussianMixture::new(mixture(ComponentCount::Fixed(5))).unwrap()),
        Box::new(GaussianMixture::new(mixture(ComponentCount::Bic { max: 3 })).unwrap()),
        Box::new(kernel_density(Bandwidth::Scott)),
        Box::new(kernel_density(Bandwidth::CrossValidated { rows: 50 })),
        Box::new(
            FlowMatching::new(matching(Source::Gaussian, independent, (Method::Euler, 7)), rng).unwrap(),
        ),
        Box::new(FlowMatching::new(matching(Source::Gaussian, matched, (Method::Rk4, 5)), rng).unwrap()),
        Box::new(FlowMatching::new(matching(circles, matched, (Method::Heun, 5)), rng).unwrap()),
        Box::new(FlowMatching::new(matching(rows, independent, (Method::Rk4, 5)), rng).unwrap()),
    ]
}

fn moons(n: usize) -> Dataset {
    Dataset::new(Toy::moons(0.1).unwrap().sample(n, &mut seeded(1))).unwrap()
}

fn short(steps: usize) -> TrainOptions {
    TrainOptions { steps, batch: 64, ..TrainOptions::default() }
}

fn train(model: &mut dyn Generative, steps: usize) -> TrainReport {
    model.train(&moons(500), &short(steps), &mut seeded(2), &mut Silent).unwrap()
}

fn sample(model: &dyn Generative, n: usize, seed: u64) -> Samples {
    model.sample(n, &SampleOptions::default(), &mut seeded(seed)).unwrap()
}

fn nats(model: &dyn Generative, x: &Array2<f32>) -> Option<Vec<f64>> {
    let score = model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
    score.nats().map(|nats| nats.to_vec())
}

fn name(model: &dyn Generative) -> String {
    model.card().name.to_string()
}

#[test]
fn shapes_and_costs_are_as_the_card_says() {
    for mut model in models() {
        // Usable untrained, and trained.
        for steps in [0, 3] {
            if steps > 0 {
                train(model.as_mut(), steps);
            }
            let (name, card) = (name(model.as_ref()), model.card());
            assert!(model.num_params() > 0, "{name}");
            for n in [0, 1, 5, 100] {
                let drawn = sample(model.as_ref(), n, 0);
                assert_eq!(drawn.x.dim(), (n, model.dim()), "{name}");
                assert!(drawn.x.iter().all(|v| v.is_finite()), "{name}");
                if n > 0 {
                    assert_eq!(drawn.nfe, card.nfe, "{name}: counted against predicted");
                }
            }
            for n in [0, 1, 3] {
                let x = moons(3).x().slice(s![..n, ..]).to_owned();
                let score = model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
                assert_eq!(score.kind(), card.likelihood, "{name}");
                if let Some(nats) = score.nats() {
                    assert_eq!(nats.len(), n, "{name}");
                }
            }
        }
    }
}

#[test]
fn the_first_rows_do_not_depend_on_how_many_follow() {
    for mut model in models() {
        train(model.as_mut(), 3);
        let name = name(model.as_ref());
        let all = sample(model.as_ref(), 130, 5).x;
        for k in [1, 47, 48, 49, 129] {
            assert_eq!(sample(model.as_ref(), k, 5).x, all.slice(s![..k, ..]), "{name}, {k} rows");
        }
        let mut blocks: Vec<Array2<f32>> = Vec::new();
        let mut sink = |rows: quadrivium::ndarray::ArrayView2<f32>| {
            blocks.push(rows.to_owned());
            ControlFlow::Continue(())
        };
        model.sample_each(130, &SampleOptions::default(), &mut seeded(5), &mut sink).unwrap();
        let views: Vec<_> = blocks.iter().map(|b| b.view()).collect();
        assert_eq!(
            quadrivium::ndarray::concatenate(quadrivium::ndarray::Axis(0), &views).unwrap(),
            all,
            "{name}"
        );
        assert_ne!(
            sample(model.as_ref(), 5, 6).x,
            all.slice(s![..5, ..]),
            "{name}: another seed, other rows"
        );
    }
}

#[test]
fn blocks_of_a_long_draw_are_its_rows() {
    // More rows than a block holds, of the models that draw them quickly.
    for model in models().into_iter().filter(|m| m.card().nfe <= 2) {
        let n = 20_000;
        let mut drawn = Vec::new();
        let mut sink = |rows: quadrivium::ndarray::ArrayView2<f32>| {
            drawn.extend(rows.iter().copied());
            ControlFlow::Continue(())
        };
        model.sample_each(n, &SampleOptions::default(), &mut seeded(5), &mut sink).unwrap();
        assert!(
            drawn == sample(model.as_ref(), n as usize, 5).x.into_raw_vec_and_offset().0,
            "{}",
            name(model.as_ref())
        );
    }
}

#[test]
fn sample_each_stops_when_told_to() {
    for model in models() {
        let mut calls = 0;
        let mut sink = |_: quadrivium::ndarray::ArrayView2<f32>| {
            calls += 1;
            ControlFlow::Break(())
        };
        // More rows than one would wait for.
        model.sample_each(1 << 40, &SampleOptions::default(), &mut seeded(0), &mut sink).unwrap();
        assert_eq!(calls, 1);
    }
}

#[cfg(feature = "rayon")]
#[test]
fn the_number_of_threads_does_not_move_a_bit() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut results = Vec::new();
            for mut model in models() {
                let options = TrainOptions { shards: 4, ..short(5) };
                let report = model.train(&moons(500), &options, &mut seeded(2), &mut Silent).unwrap();
                let x = sample(model.as_ref(), 150, 7).x;
                let score = nats(model.as_ref(), &moons(150).x().to_owned());
                results.push((name(model.as_ref()), report, x, score));
            }
            results
        })
    };
    let one = run(1);
    for threads in [2, 5] {
        for (one, other) in one.iter().zip(run(threads)) {
            assert_eq!(one, &other, "{threads} threads");
        }
    }
}

#[test]
fn a_batch_scores_as_its_rows() {
    for mut model in models() {
        train(model.as_mut(), 20);
        let x = moons(60).x().to_owned();
        let Some(all) = nats(model.as_ref(), &x) else { continue };
        for r in [0, 17, 59] {
            let one = nats(model.as_ref(), &x.slice(s![r..r + 1, ..]).to_owned()).unwrap()[0];
            let tolerance = 1e-5 * (1.0 + one.abs());
            assert!(
                (one - all[r]).abs() <= tolerance,
                "{}: row {r} alone {one}, in a batch {}",
                name(model.as_ref()),
                all[r]
            );
        }
        // A view that is not contiguous is the same rows.
        let mut columns = Array2::zeros((2, 60));
        columns.assign(&x.t());
        let score = model.log_likelihood(columns.t(), &LikelihoodOptions::default()).unwrap();
        assert_eq!(score.nats().unwrap().to_vec(), all, "{}", name(model.as_ref()));
    }
}

#[test]
fn far_points_score_low_and_never_nan() {
    let x = array![[30.0, -30.0], [1e4, 0.0], [-1e8, 1e8], [f32::MAX, f32::MIN], [0.0, 1e30]];
    for mut model in models() {
        train(model.as_mut(), 20);
        let Some(nats) = nats(model.as_ref(), &x) else { continue };
        for (row, nats) in nats.iter().enumerate() {
            assert!(*nats < -15.0, "{}: far point {row} scores {nats}", name(model.as_ref()));
        }
    }
}

#[test]
fn bad_input_is_a_typed_error() {
    for mut model in models() {
        let name = name(model.as_ref());
        let rng = &mut seeded(0);
        // Options.
        let bad = [
            ("TrainOptions::steps", TrainOptions { steps: 0, ..short(1) }),
            ("TrainOptions::batch", TrainOptions { batch: 0, ..short(1) }),
            ("TrainOptions::shards", TrainOptions { shards: 0, ..short(1) }),
            ("TrainOptions::shards", TrainOptions { shards: 65, ..short(1) }),
            ("TrainOptions::validation", TrainOptions { validation: 1.0, ..short(1) }),
            ("TrainOptions::validation", TrainOptions { validation: f64::NAN, ..short(1) }),
            ("TrainOptions::validate_every", TrainOptions { validate_every: 0, ..short(1) }),
            ("TrainOptions::patience", TrainOptions { patience: Some(0), validation: 0.1, ..short(1) }),
            ("TrainOptions::patience", TrainOptions { patience: Some(3), ..short(1) }),
        ];
        for (expected, options) in bad {
            match model.train(&moons(50), &options, rng, &mut Silent) {
                Err(Error::Config { field, .. }) => assert_eq!(field, expected, "{name}"),
                other => panic!("{name}, {expected}: {other:?}"),
            }
        }
        for temperature in [0.0, -1.0, 1e39, f64::NAN, f64::INFINITY] {
            let options = SampleOptions { temperature };
            let drawn = model.sample(1, &options, rng);
            assert!(
                matches!(drawn, Err(Error::Config { field: "SampleOptions::temperature", .. })),
                "{name}: {drawn:?}"
            );
            let each = model.sample_each(1, &options, rng, &mut |_| ControlFlow::Continue(()));
            assert!(matches!(each, Err(Error::Config { .. })), "{name}: {each:?}");
        }
        let many = model.sample(usize::MAX, &SampleOptions::default(), rng);
        assert!(matches!(many, Err(Error::Config { field: "n", .. })), "{name}");
        // Data.
        let wide = Dataset::new(Array2::from_shape_fn((9, 3), |(r, c)| (r * c) as f32)).unwrap();
        let trained = model.train(&wide, &short(1), rng, &mut Silent);
        assert!(matches!(trained, Err(Error::Shape { .. })), "{name}: {trained:?}");
        let constant =
            Dataset::new(Array2::from_shape_fn((9, 2), |(r, c)| if c == 1 { 4.0 } else { r as f32 }))
                .unwrap();
        match model.train(&constant, &short(1), rng, &mut Silent) {
            Err(Error::ConstantColumn { column: 1, rows: 9, value }) => assert_eq!(value, 4.0),
            other => panic!("{name}: {other:?}"),
        }
        let one = model.train(&moons(1), &TrainOptions { batch: 2, ..short(1) }, rng, &mut Silent);
        assert!(matches!(one, Err(Error::TooFewRows { got: 1, .. })), "{name}: {one:?}");
        // Scores, also of models that have none to give.
        let options = LikelihoodOptions::default();
        let shape = model.log_likelihood(array![[1.0, 2.0, 3.0]].view(), &options);
        assert!(matches!(shape, Err(Error::Shape { .. })), "{name}: {shape:?}");
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            match model.log_likelihood(array![[0.0, 0.0], [1.0, bad]].view(), &options) {
                Err(Error::NonFinite { row: 1, column: 1, .. }) => {}
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    assert!(matches!(Dataset::new(Array2::zeros((0, 2))), Err(Error::TooFewRows { .. })));
    assert!(matches!(Dataset::new(Array2::zeros((2, 0))), Err(Error::Shape { .. })));
    assert!(matches!(Dataset::new(array![[f32::INFINITY]]), Err(Error::NonFinite { row: 0, column: 0, .. })));
}

#[test]
fn a_refused_training_changes_nothing() {
    let far = Dataset::new(moons(40).x().mapv(|v| 1e3 * v + 1e4)).unwrap();
    for mut model in models() {
        let now = |model: &dyn Generative| (sample(model, 5, 0).x, nats(model, &moons(5).x().to_owned()));
        let before = now(model.as_ref());
        let none_left = TrainOptions { validation: 0.9999, ..short(1) };
        let refused = model.train(&far, &none_left, &mut seeded(0), &mut Silent);
        assert!(
            matches!(refused, Err(Error::Config { field: "TrainOptions::validation", .. })),
            "{refused:?}"
        );
        assert_eq!(now(model.as_ref()), before, "{}", name(model.as_ref()));
        // Not even the units of the refused rows stay.
        let mut fresh = models().into_iter().find(|m| m.card() == model.card()).unwrap();
        assert_eq!(train(model.as_mut(), 3), train(fresh.as_mut(), 3));
    }
}

#[test]
fn the_observer_sees_every_step_and_can_break_off() {
    for mut model in models() {
        let mut seen = Vec::new();
        let mut observer = |step: &Step<'_>| {
            assert_eq!(step.part_names.len(), step.parts.len());
            assert!(step.loss.is_finite());
            seen.push(step.step);
            if step.step == 6 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let report = model.train(&moons(100), &short(20), &mut seeded(0), &mut observer).unwrap();
        // A rule for the width of kernels has one step only.
        let (steps, stop) = match model.card().name.as_ref() {
            "KDE (Scott)" => (1, Stop::Completed),
            _ => (7, Stop::Interrupted),
        };
        assert_eq!(seen, (0..steps).collect::<Vec<_>>());
        assert_eq!((report.loss.len(), report.stop), (steps, stop));
        assert!(report.parts.iter().all(|(_, values)| values.len() == steps));
        assert_eq!(train(model.as_mut(), 4).stop, Stop::Completed);
    }
}

#[test]
fn a_training_goes_on_from_the_present_parameters() {
    // But for kernels, which stand on the rows of the last one.
    for mut model in models().into_iter().filter(|m| m.card().objective != Objective::KernelSmoothing) {
        train(model.as_mut(), 2);
        let now = |model: &dyn Generative| (sample(model, 5, 0).x, nats(model, &moons(5).x().to_owned()));
        let before = now(model.as_ref());
        train(model.as_mut(), 1);
        assert_ne!(now(model.as_ref()), before, "{}", name(model.as_ref()));
    }
}

#[test]
fn a_lower_temperature_stays_nearer_to_the_middle() {
    for mut model in models() {
        train(model.as_mut(), 60);
        let spread = |temperature: f64| {
            let options = SampleOptions { temperature };
            let x = model.sample(2_000, &options, &mut seeded(0)).unwrap().x;
            x.std_axis(quadrivium::ndarray::Axis(0), 0.0).sum()
        };
        let (cold, warm) = (spread(0.2), spread(1.0));
        assert!(cold < warm, "{}: {cold} at 0.2, {warm} at 1", name(model.as_ref()));
    }
}

/// ∫ p(x) dx over the plane, on points that follow no lattice: a density with steps has edges that a lattice
/// may miss alike.
#[test]
fn exact_densities_integrate_to_one() {
    let n = 1_000_000;
    // Roberts' sequence: multiples of 1/ρ and 1/ρ² modulo 1, ρ³ = ρ + 1, spread evenly over the square.
    let rho = 1.324_717_957_244_746_f64;
    let (low, high) = ([-4.0, -3.0], [5.0, 3.5]);
    let points = Array2::from_shape_fn((n, 2), |(i, c)| {
        let share = (0.5 + (i + 1) as f64 * rho.powi(-(c as i32 + 1))).fract();
        (low[c] + share * (high[c] - low[c])) as f32
    });
    let area = (high[0] - low[0]) * (high[1] - low[1]);
    for mut model in models() {
        if model.card().likelihood != LikelihoodKind::Exact {
            continue;
        }
        train(model.as_mut(), 300);
        let total =
            area * nats(model.as_ref(), &points).unwrap().iter().map(|v| v.exp()).sum::<f64>() / n as f64;
        assert!((total - 1.0).abs() < 1e-3, "{}: {total}", name(model.as_ref()));
    }
}

/// Every likelihood that claims nats is at most the truth on average. On the same rows, so that the rows' own
/// chance cancels: the mean of log p_truth − log p_model estimates a KL divergence, which is not negative.
#[test]
fn no_likelihood_beats_the_truth() {
    let toy = Toy::moons(0.1).unwrap();
    let data = Dataset::new(toy.sample(5_000, &mut seeded(11))).unwrap();
    let test = toy.sample(1_000, &mut seeded(12));
    let truth = toy.log_density(test.view()).unwrap();
    for mut model in models() {
        model.train(&data, &short(300), &mut seeded(2), &mut Silent).unwrap();
        let Some(nats) = nats(model.as_ref(), &test) else { continue };
        let gaps: Vec<f64> = truth.iter().zip(&nats).map(|(truth, model)| truth - model).collect();
        let n = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / n;
        let error = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n / n).sqrt();
        // After so short a training each is measurably worse than the truth.
        assert!(mean > 3.0 * error, "{}: KL(truth ‖ model) = {mean} ± {error}", name(model.as_ref()));
    }
}

#[test]
fn the_elbo_is_below_the_iwae_bound_is_below_the_truth() {
    let toy = Toy::moons(0.1).unwrap();
    let data = Dataset::new(toy.sample(5_000, &mut seeded(11))).unwrap();
    let test = toy.sample(1_000, &mut seeded(12));
    let truth = toy.log_density(test.view()).unwrap().mean().unwrap();
    let bound = |draws: usize| {
        let mut vae = Vae::new(VaeConfig { draws, ..Default::default() }, &mut seeded(0)).unwrap();
        vae.train(&data, &short(300), &mut seeded(1), &mut Silent).unwrap();
        let score = vae.log_likelihood(test.view(), &LikelihoodOptions::default()).unwrap();
        score.nats().unwrap().mean().unwrap()
    };
    let (elbo, iwae_5, iwae_100) = (bound(1), bound(5), bound(100));
    assert!(elbo < iwae_5 && iwae_5 < iwae_100 && iwae_100 < truth, "{elbo} {iwae_5} {iwae_100} {truth}");
}

#[test]
fn a_wild_learning_rate_is_an_error_that_leaves_a_usable_model() {
    // One step is enough, although no further step sees what it has done.
    for steps in [1, 50] {
        wild(steps);
    }
}

fn wild(steps: usize) {
    let wild = OptimiserConfig { lr: 1e38, clip_norm: None, warmup: 0, ..OptimiserConfig::default() };
    let rng = &mut seeded(0);
    let mut models: Vec<Box<dyn Generative>> = vec![
        Box::new(
            Autoregressive::new(AutoregressiveConfig { optimiser: wild.clone(), ..Default::default() }, rng)
                .unwrap(),
        ),
        Box::new(Flow::new(FlowConfig { optimiser: wild.clone(), ..Default::default() }, rng).unwrap()),
        Box::new(Vae::new(VaeConfig { optimiser: wild.clone(), ..Default::default() }, rng).unwrap()),
        Box::new(
            Gan::new(GanConfig { optimiser: wild.clone(), critic_lr: 1e38, ..Default::default() }, rng)
                .unwrap(),
        ),
        Box::new(
            EnergyModel::new(EnergyConfig { optimiser: wild.clone(), ..Default::default() }, rng).unwrap(),
        ),
        Box::new(
            ScoreModel::new(ScoreConfig { optimiser: wild.clone(), ..Default::default() }, rng).unwrap(),
        ),
        Box::new(
            Diffusion::new(DiffusionConfig { optimiser: wild.clone(), ..Default::default() }, rng).unwrap(),
        ),
        Box::new(
            FlowMatching::new(FlowMatchingConfig { optimiser: wild, ..Default::default() }, rng).unwrap(),
        ),
    ];
    for model in &mut models {
        match model.train(&moons(200), &short(steps), rng, &mut Silent) {
            Err(Error::Diverged { .. }) => {}
            other => panic!("{}: {other:?}", model.card().name),
        }
        assert!(sample(model.as_ref(), 20, 0).x.iter().all(|v| v.is_finite()), "{}", model.card().name);
    }
}

#[cfg(feature = "safetensors")]
#[test]
fn a_loaded_model_is_the_saved_one_to_the_bit() {
    let bits = |model: &dyn Generative| {
        let drawn = sample(model, 60, 5).x.mapv(f32::to_bits);
        let nats = nats(model, &moons(20).x().to_owned()).unwrap_or_default();
        (drawn, nats.into_iter().map(f64::to_bits).collect::<Vec<_>>())
    };
    let mut refused = Vec::new();
    for mut model in models() {
        // Untrained, trained, and each trained on.
        for steps in [0, 3] {
            if steps > 0 {
                train(model.as_mut(), steps);
            }
            let name = name(model.as_ref());
            let bytes = match model.to_bytes() {
                Ok(bytes) => bytes,
                Err(Error::Format { what }) => {
                    assert!(what.contains("only a Gaussian source can be saved"), "{name}: {what}");
                    refused.push((name, steps));
                    continue;
                }
                Err(error) => panic!("{name}: {error}"),
            };
            let mut loaded = persist::from_bytes(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(loaded.card(), model.card());
            assert_eq!(loaded.num_params(), model.num_params(), "{name}");
            assert_eq!(bits(loaded.as_ref()), bits(model.as_ref()), "{name}");
            assert!(loaded.to_bytes().unwrap() == bytes, "{name}: the same file again");
            let (ours, theirs) = (train(model.as_mut(), 2), train(loaded.as_mut(), 2));
            assert_eq!(ours.loss, theirs.loss, "{name}");
            assert_eq!(bits(loaded.as_ref()), bits(model.as_ref()), "{name}, trained on");
        }
    }
    // The flows that start elsewhere, untrained and trained, and no other.
    let elsewhere = ["OT-FM, Heun-5", "FM, Rk4-5"].map(|name| [0, 3].map(|steps| (name.to_string(), steps)));
    assert_eq!(refused, elsewhere.concat());
}

#[test]
fn every_temperature_that_is_accepted_gives_numbers() {
    for mut model in models() {
        train(model.as_mut(), 3);
        for temperature in [f64::MIN_POSITIVE, 1e6] {
            let x = model.sample(50, &SampleOptions { temperature }, &mut seeded(1)).unwrap().x;
            assert!(x.iter().all(|x| x.is_finite()), "{}, {temperature}", name(model.as_ref()));
        }
    }
    assert!(SampleOptions { temperature: 1.1e6 }.validate().is_err());
}

/// The ends of what the configs accept, where numbers are largest and smallest.
fn extremes() -> Vec<Box<dyn Generative>> {
    let mut rng = seeded(0);
    let rng = &mut rng;
    let small = vec![16, 16];
    let mut models: Vec<Box<dyn Generative>> = Vec::new();
    let schedules = [
        Schedule::Cosine,
        Schedule::Continuous(Sde::VariancePreserving { beta_min: 1e-3, beta_max: 200.0 }),
        Schedule::Continuous(Sde::VarianceExploding { sigma_min: 1e-6, sigma_max: 1e6 }),
    ];
    let samplers = [
        Sampler::Ddpm,
        Sampler::Ddim { steps: 5, eta: 0.0 },
        Sampler::Heun { steps: 5 },
        Sampler::DpmSolver { steps: 5 },
        Sampler::EulerMaruyama { steps: 5 },
        Sampler::Ode { method: Method::Rk4, steps: 5 },
    ];
    for schedule in schedules {
        let (hidden, timesteps, sigma_min) = (small.clone(), 40, 1e-6);
        let config = DiffusionConfig { schedule, hidden, timesteps, sigma_min, ..Default::default() };
        let model = Diffusion::new(config, rng).unwrap();
        for sampler in samplers {
            models.push(Box::new(model.with_sampler(sampler).unwrap()));
        }
    }
    for (sigma_min, sigma_max) in [(1e-6, 1e6), (1e6, 1e6), (1e-6, 1e-6)] {
        let config =
            ScoreConfig { hidden: small.clone(), sigma_min, sigma_max, levels: 4, ..Default::default() };
        models.push(Box::new(ScoreModel::new(config, rng).unwrap()));
    }
    for acceptance in [Acceptance::Always, Acceptance::Metropolis] {
        for (first, width) in [(100.0, 10.0), (1e-30, 0.01)] {
            let langevin = Langevin { steps: 20, first, last: first, acceptance };
            let config = EnergyConfig { hidden: small.clone(), langevin, width, ..Default::default() };
            models.push(Box::new(EnergyModel::new(config, rng).unwrap()));
        }
    }
    for bandwidth in [1e-100, 1e100].map(Bandwidth::Fixed) {
        models.push(Box::new(KernelDensity::new(KernelDensityConfig { dim: 2, bandwidth }).unwrap()));
    }
    for bound in [1e-3, 1e3] {
        let config = FlowConfig { transform: Transform::Spline { bins: 2, bound }, ..Default::default() };
        models.push(Box::new(Flow::new(config, rng).unwrap()));
    }
    models
}

#[test]
fn every_config_that_is_accepted_gives_numbers() {
    for mut model in extremes() {
        let name = name(model.as_ref());
        for steps in [0, 2] {
            if steps > 0 {
                // A training may find its loss infinite, and says so.
                let _ = model.train(&moons(200), &short(steps), &mut seeded(2), &mut Silent);
            }
            let drawn = sample(model.as_ref(), 20, 1).x;
            assert!(drawn.iter().all(|x| x.is_finite()), "{name} drew {drawn}");
            match model.log_likelihood(moons(3).x(), &LikelihoodOptions::default()) {
                Ok(score) => {
                    let nats = score.nats().into_iter().flatten();
                    assert!(nats.clone().all(|nats| !nats.is_nan()), "{name}: {score:?}");
                }
                Err(error) => assert!(matches!(error, Error::NotConverged { .. }), "{name}: {error}"),
            }
        }
    }
}

#[test]
fn a_source_beyond_numbers_is_an_error() {
    let far = Dataset::new(Array2::from_elem((20, 2), 3e38)).unwrap();
    for coupling in [Coupling::Independent, Coupling::OptimalTransport { rows: 16 }] {
        let config =
            FlowMatchingConfig { source: Source::Rows(far.clone().into()), coupling, ..Default::default() };
        let mut model = FlowMatching::new(config, &mut seeded(0)).unwrap();
        let data = Dataset::new(moons(100).x().mapv(|x| 1e-6 * x)).unwrap();
        let error = model.train(&data, &short(3), &mut seeded(1), &mut Silent).unwrap_err();
        assert!(matches!(error, Error::Diverged { .. }), "{error}");
    }
}

#[test]
fn an_interrupted_training_goes_on_to_the_same_bits() {
    let path = std::env::temp_dir().join(format!("quadrivium-contract-{}", std::process::id()));
    let options = TrainOptions { shards: 3, validation: 0.2, validate_every: 3, ..short(11) };
    let resumable =
        TrainOptions { checkpoint: Some(Checkpoint { path: path.clone(), every: 4 }), ..options.clone() };
    let data = moons(200);
    for ((mut whole, mut first), mut second) in models().into_iter().zip(models()).zip(models()) {
        let name = name(&*whole);
        let report = whole.train(&data, &options, &mut seeded(2), &mut Silent).unwrap();
        let mut six = |step: &Step<'_>| {
            if step.step == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        first.train(&data, &resumable, &mut seeded(2), &mut six).unwrap();
        assert_eq!(second.train(&data, &resumable, &mut seeded(2), &mut Silent).unwrap(), report, "{name}");
        assert_eq!(sample(&*second, 20, 4), sample(&*whole, 20, 4), "{name}");
        // The baselines write none.
        std::fs::remove_file(&path).ok();
    }
}

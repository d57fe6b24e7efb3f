//! Input, options and configs at and beyond the edge: a typed error or numbers, never a panic.

use super::*;

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
            ("TrainOptions::batch", TrainOptions { batch: 1 << 40, ..short(1) }),
            ("TrainOptions::shards", TrainOptions { shards: 0, ..short(1) }),
            ("TrainOptions::shards", TrainOptions { shards: 1025, batch: 2000, ..short(1) }),
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
    assert!(matches!(Dataset::<f32>::new(Array2::zeros((0, 2))), Err(Error::TooFewRows { .. })));
    assert!(matches!(Dataset::<f32>::new(Array2::zeros((2, 0))), Err(Error::Shape { .. })));
    assert!(matches!(Dataset::new(array![[f32::INFINITY]]), Err(Error::NonFinite { row: 0, column: 0, .. })));
}

#[test]
fn a_refused_training_changes_nothing() {
    let far = Dataset::new(moons(40).x().mapv(|v| 1e3 * v + 1e4)).unwrap();
    for (mut model, mut fresh) in models().into_iter().zip(models()) {
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
        assert_eq!(train(model.as_mut(), 3), train(fresh.as_mut(), 3));
    }
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

/// The field that a refusal names.
fn refused<T>(made: Result<T>) -> &'static str {
    match made {
        Err(Error::Config { field, .. }) => field,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

#[test]
fn a_config_beyond_any_memory_is_refused_before_it_takes_any() {
    const HUGE: usize = 1_000_000_000_000;
    let rng = &mut seeded(0);
    macro_rules! refuses {
        ($model:ident, $config:ident { $($field:ident: $value:expr),+ }, $expected:expr) => {{
            let config = $config { $($field: $value,)+ ..Default::default() };
            assert_eq!(refused($model::new(config, rng)), $expected);
        }};
    }
    // Each column count and each layer, alone and where a product of what is accepted is too much.
    macro_rules! each_size {
        ($model:ident, $config:ident) => {{
            for dim in [0, 65_537, HUGE, usize::MAX] {
                refuses!($model, $config { dim: dim }, concat!(stringify!($config), "::dim"));
            }
            for units in [0, 65_537, HUGE, usize::MAX] {
                let field = concat!(stringify!($config), "::hidden");
                refuses!($model, $config { hidden: vec![64, units] }, field);
            }
            refuses!($model, $config { hidden: vec![65_536; 2] }, concat!(stringify!($config), "::hidden"));
            let field = concat!(stringify!($config), "::hidden");
            refuses!($model, $config { dim: 65_536, hidden: vec![65_536] }, field);
        }};
    }
    each_size!(Autoregressive, AutoregressiveConfig);
    each_size!(Flow, FlowConfig);
    each_size!(Vae, VaeConfig);
    each_size!(EnergyModel, EnergyConfig);
    each_size!(ScoreModel, ScoreConfig);
    each_size!(Diffusion, DiffusionConfig);
    each_size!(FlowMatching, FlowMatchingConfig);
    let wide = Head::Bins { bins: 65_536 };
    refuses!(
        Autoregressive,
        AutoregressiveConfig { hidden: vec![8192], head: wide },
        "AutoregressiveConfig::hidden"
    );
    refuses!(Flow, FlowConfig { layers: 1024, hidden: vec![512; 2] }, "FlowConfig::hidden");
    refuses!(Flow, FlowConfig { dim: 20_000, mixing: Mixing::Linear, hidden: vec![1] }, "FlowConfig::hidden");
    for units in [0, HUGE, usize::MAX] {
        refuses!(Gan, GanConfig { dim: units }, "GanConfig::dim");
        refuses!(Gan, GanConfig { latent_dim: units }, "GanConfig::latent_dim");
        refuses!(Gan, GanConfig { generator_hidden: vec![units] }, "GanConfig::generator_hidden");
        refuses!(Gan, GanConfig { critic_hidden: vec![64, units] }, "GanConfig::critic_hidden");
        refuses!(Vae, VaeConfig { latent_dim: units }, "VaeConfig::latent_dim");
        refuses!(Vae, VaeConfig { draws: units }, "VaeConfig::draws");
        let divergence = Some(TraceEstimator::Hutchinson { probes: units });
        refuses!(Diffusion, DiffusionConfig { divergence: divergence }, "DiffusionConfig::divergence");
        refuses!(
            FlowMatching,
            FlowMatchingConfig { divergence: divergence },
            "FlowMatchingConfig::divergence"
        );
    }
    refuses!(Gan, GanConfig { generator_hidden: vec![65_536; 2] }, "GanConfig::generator_hidden");
    refuses!(Gan, GanConfig { critic_hidden: vec![65_536; 2] }, "GanConfig::critic_hidden");
    refuses!(Vae, VaeConfig { dim: 65_536, latent_dim: 65_536, hidden: vec![] }, "VaeConfig::hidden");
    refuses!(ScoreModel, ScoreConfig { time_features: HUGE }, "ScoreConfig::time_features");
    refuses!(Diffusion, DiffusionConfig { time_features: HUGE }, "DiffusionConfig::time_features");
    refuses!(FlowMatching, FlowMatchingConfig { time_features: HUGE }, "FlowMatchingConfig::time_features");
    for (dim, chains) in [(2, 0), (2, HUGE), (2, usize::MAX), (1000, 1 << 20)] {
        let training = EnergyTraining::PersistentChains { chains, steps: 20, restart: 0.0, magnitude: 0.0 };
        let field = "EnergyTraining::PersistentChains::chains";
        refuses!(EnergyModel, EnergyConfig { dim: dim, training: training }, field);
    }
}

#[test]
fn a_baseline_of_many_columns_starts_at_once_or_is_refused() {
    let kernels = |dim| KernelDensity::new(KernelDensityConfig { dim, ..Default::default() });
    let mixture = |dim, components, restarts| {
        GaussianMixture::new(GaussianMixtureConfig { dim, components, restarts, ..Default::default() })
    };
    let two = ComponentCount::Fixed(2);
    for dim in [0, 4097, 16_384, usize::MAX] {
        assert_eq!(refused(kernels(dim)), "KernelDensityConfig::dim");
        assert_eq!(refused(mixture(dim, two, 1)), "GaussianMixtureConfig::dim");
    }
    for most in [0, 65_537, usize::MAX] {
        for components in [ComponentCount::Fixed(most), ComponentCount::Bic { max: most }] {
            assert_eq!(refused(mixture(2, components, 1)), "GaussianMixtureConfig::components");
        }
    }
    assert_eq!(refused(mixture(4096, ComponentCount::Fixed(17), 1)), "GaussianMixtureConfig::components");
    assert_eq!(refused(mixture(2, two, usize::MAX)), "GaussianMixtureConfig::restarts");
    // N(0, I) of 2048 columns: to factor it would take seconds for each model.
    let models: [Box<dyn Generative>; 2] =
        [Box::new(kernels(2048).unwrap()), Box::new(mixture(2048, two, 1).unwrap())];
    let few = Dataset::new(Array2::from_shape_fn((9, 2048), |(r, c)| (r * r + c) as f32)).unwrap();
    for mut model in models {
        let nats = model.log_likelihood(Array2::ones((1, 2048)).view(), &LikelihoodOptions::default());
        let expected = -1024.0 * (1.0 + std::f64::consts::TAU.ln());
        assert!((nats.unwrap().nats().unwrap()[0] - expected).abs() < 1e-9, "{}", name(model.as_ref()));
        if model.card().name.starts_with("KDE") {
            // Fewer rows than columns: kernels along the axes.
            model.train(&few, &short(1), &mut seeded(0), &mut Silent).unwrap();
        }
    }
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
            let langevin = Langevin { steps: 20, first, last: first, acceptance, ..Default::default() };
            let config = EnergyConfig { hidden: small.clone(), langevin, width, ..Default::default() };
            models.push(Box::new(EnergyModel::new(config, rng).unwrap()));
        }
    }
    for bandwidth in [1e-100, 1e100].map(Bandwidth::Fixed) {
        models.push(Box::new(
            KernelDensity::new(KernelDensityConfig { bandwidth, ..Default::default() }).unwrap(),
        ));
    }
    for bound in [1e-3, 1e3] {
        for transform in [Transform::Spline { bins: 2, bound }, Transform::AffineSpline { bins: 2, bound }] {
            let config = FlowConfig { transform, ..Default::default() };
            models.push(Box::new(Flow::new(config, rng).unwrap()));
        }
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
    for coupling in [Pairing::Independent, Pairing::OptimalTransport { rows: 16 }] {
        let config =
            FlowMatchingConfig { source: Source::Rows(far.clone().into()), coupling, ..Default::default() };
        let mut model = FlowMatching::new(config, &mut seeded(0)).unwrap();
        let data = Dataset::new(moons(100).x().mapv(|x| 1e-6 * x)).unwrap();
        let error = model.train(&data, &short(3), &mut seeded(1), &mut Silent).unwrap_err();
        assert!(matches!(error, Error::Diverged { .. }), "{error}");
    }
}

#[test]
fn an_endless_training_can_be_broken_off() {
    for mut model in models() {
        let options = TrainOptions { steps: usize::MAX, validation: 0.1, validate_every: 2, ..short(1) };
        let mut third = |step: &Step<'_>| {
            if step.step == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let report = model.train(&moons(200), &options, &mut seeded(0), &mut third).unwrap();
        assert!(report.loss.len() <= 3 && report.loss.iter().all(|loss| loss.is_finite()));
    }
}

//! What is refused, each by a typed error, and never by a panic.

use quadrivium::TraceEstimator;
use quadrivium::error::{ConditionError, DataError};
use quadrivium::{Activation, ComponentCount, ConditionKind, EnergyTraining, Head, Mixing, NetworkSpec};

use super::*;

pub fn bad_options_are_refused_by_name(subject: &Subject) {
    let (mut model, rng) = (subject.fresh(), &mut seeded(0));
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
        match model.train(&moons(50), &options, rng, &mut NoObserver) {
            Err(Error::Config { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    for temperature in [0.0, -1.0, 1e39, f64::NAN, f64::INFINITY] {
        let options = SampleOptions { temperature };
        let drawn = model.sample(1, &options, rng);
        assert!(matches!(drawn, Err(Error::Config { field: "SampleOptions::temperature", .. })), "{drawn:?}");
        let each = model.sample_each(1, &options, rng, &mut |_| ControlFlow::Continue(()));
        assert!(matches!(each, Err(Error::Config { .. })), "{each:?}");
    }
    let many = model.sample(usize::MAX, &SampleOptions::default(), rng);
    assert!(matches!(many, Err(Error::Config { field: "n", .. })));
}

pub fn bad_rows_are_refused(subject: &Subject) {
    let (mut model, rng) = (subject.fresh(), &mut seeded(0));
    let wide = Dataset::new(Array2::from_shape_fn((9, 3), |(r, c)| (r * c) as f32)).unwrap();
    let trained = model.train(&wide, &short(1), rng, &mut NoObserver);
    assert!(matches!(trained, Err(Error::Data(DataError::Shape { .. }))), "{trained:?}");
    let constant = Array2::from_shape_fn((9, 2), |(r, c)| if c == 1 { 4.0 } else { r as f32 });
    match model.train(&Dataset::new(constant).unwrap(), &short(1), rng, &mut NoObserver) {
        Err(Error::Data(DataError::ConstantColumn { column: 1, rows: 9, value })) => assert_eq!(value, 4.0),
        other => panic!("{other:?}"),
    }
    let one = model.train(&moons(1), &TrainOptions { batch: 2, ..short(1) }, rng, &mut NoObserver);
    assert!(matches!(one, Err(Error::Data(DataError::TooFewRows { got: 1, .. }))), "{one:?}");
    // Scores, also of models that have none to give.
    let options = LikelihoodOptions::default();
    let shape = model.log_likelihood(array![[1.0, 2.0, 3.0]].view(), &options);
    assert!(matches!(shape, Err(Error::Data(DataError::Shape { .. }))), "{shape:?}");
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        match model.log_likelihood(array![[0.0, 0.0], [1.0, bad]].view(), &options) {
            Err(Error::Data(DataError::NonFinite { row: 1, column: 1, .. })) => {}
            other => panic!("{other:?}"),
        }
    }
}

pub fn condition_that_the_model_does_not_take_is_refused(subject: &Subject) {
    let mut model = subject.fresh();
    assert_eq!(model.condition(), ConditionKind::None);
    let rows = moons(50);
    let classes = Condition::Class(quadrivium::ndarray::Array1::zeros(50));
    let given = model.given(&classes).err();
    assert!(matches!(given, Some(Error::Condition(ConditionError::Unexpected))), "{given:?}");
    let data = rows.with_condition(classes).unwrap();
    let trained = model.train(&data, &short(1), &mut seeded(0), &mut NoObserver);
    assert!(matches!(trained, Err(Error::Condition(ConditionError::Unexpected))), "{trained:?}");
}

#[test]
fn dataset_without_rows_or_columns_or_with_an_infinity_is_refused() {
    assert!(matches!(
        Dataset::<f32>::new(Array2::zeros((0, 2))),
        Err(Error::Data(DataError::TooFewRows { .. }))
    ));
    assert!(matches!(Dataset::<f32>::new(Array2::zeros((2, 0))), Err(Error::Data(DataError::Shape { .. }))));
    assert!(matches!(
        Dataset::new(array![[f32::INFINITY]]),
        Err(Error::Data(DataError::NonFinite { row: 0, column: 0, .. }))
    ));
}

/// The field that a refusal names.
fn refused<T>(made: Result<T>) -> &'static str {
    match made {
        Err(Error::Config { field, .. }) => field,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

/// Sizes that no memory holds, refused before any is taken.
mod huge_config_is_refused_at_once {
    use super::*;

    const HUGE: usize = 1_000_000_000_000;

    fn silu<const N: usize>(hidden: [usize; N]) -> NetworkSpec {
        NetworkSpec::mlp(hidden, Activation::Silu, 4)
    }

    macro_rules! refuses {
        ($model:ident, $config:ident { $($field:ident: $value:expr),+ }, $refused:tt) => {{
            let config = $config { $($field: $value,)+ ..Default::default() };
            let expected = concat!(stringify!($config), "::", stringify!($refused));
            assert_eq!(refused($model::new(config, &mut seeded(0))), expected);
        }};
    }

    // Each column count and each layer, alone and where a product of what is accepted is too much.
    macro_rules! refuses_each_size {
        ($model:ident, $config:ident, $network:ident) => {{
            for dim in [0, 65_537, HUGE, usize::MAX] {
                refuses!($model, $config { dim: dim }, dim);
            }
            for units in [0, 65_537, HUGE, usize::MAX] {
                refuses!($model, $config { $network: silu([64, units]) }, $network);
            }
            refuses!($model, $config { $network: silu([65_536; 2]) }, $network);
            refuses!($model, $config { dim: 65_536, $network: silu([65_536]) }, $network);
        }};
    }

    #[test]
    fn autoregressive() {
        refuses_each_size!(Autoregressive, AutoregressiveConfig, network);
        let head = Head::Bins { bins: 65_536 };
        refuses!(Autoregressive, AutoregressiveConfig { network: silu([8192]), head: head }, network);
    }

    #[test]
    fn flow() {
        refuses_each_size!(Flow, FlowConfig, network);
        refuses!(Flow, FlowConfig { layers: 1024, network: silu([512; 2]) }, network);
        refuses!(Flow, FlowConfig { dim: 20_000, mixing: Mixing::Linear, network: silu([1]) }, network);
    }

    #[test]
    fn vae() {
        refuses_each_size!(Vae, VaeConfig, decoder);
        for units in [0, HUGE, usize::MAX] {
            refuses!(Vae, VaeConfig { latent_dim: units }, latent_dim);
            refuses!(Vae, VaeConfig { draws: units }, draws);
        }
        refuses!(
            Vae,
            VaeConfig { dim: 65_536, latent_dim: 65_536, encoder: silu([]), decoder: silu([]) },
            decoder
        );
    }

    #[test]
    fn gan() {
        for units in [0, HUGE, usize::MAX] {
            refuses!(Gan, GanConfig { dim: units }, dim);
            refuses!(Gan, GanConfig { latent_dim: units }, latent_dim);
            refuses!(Gan, GanConfig { generator: silu([units]) }, generator);
            refuses!(Gan, GanConfig { critic: silu([64, units]) }, critic);
        }
        refuses!(Gan, GanConfig { generator: silu([65_536; 2]) }, generator);
        refuses!(Gan, GanConfig { critic: silu([65_536; 2]) }, critic);
    }

    #[test]
    fn energy() {
        refuses_each_size!(EnergyModel, EnergyConfig, network);
        for (dim, chains) in [(2, 0), (2, HUGE), (2, usize::MAX), (1000, 1 << 20)] {
            let training =
                EnergyTraining::PersistentChains { chains, steps: 20, restart: 0.0, magnitude: 0.0 };
            let made = EnergyModel::new(EnergyConfig { dim, training, ..Default::default() }, &mut seeded(0));
            assert_eq!(refused(made), "EnergyTraining::PersistentChains::chains");
        }
    }

    #[test]
    fn score() {
        refuses_each_size!(ScoreModel, ScoreConfig, network);
        refuses!(ScoreModel, ScoreConfig { time_features: HUGE }, time_features);
    }

    #[test]
    fn diffusion() {
        refuses_each_size!(Diffusion, DiffusionConfig, network);
        refuses!(Diffusion, DiffusionConfig { time_features: HUGE }, time_features);
        for probes in [0, HUGE, usize::MAX] {
            let divergence = Some(TraceEstimator::Hutchinson { probes });
            refuses!(Diffusion, DiffusionConfig { divergence: divergence }, divergence);
        }
    }

    #[test]
    fn flow_map() {
        refuses_each_size!(FlowMap, FlowMapConfig, network);
        refuses!(FlowMap, FlowMapConfig { time_features: HUGE }, time_features);
        for steps in [0, HUGE, usize::MAX] {
            refuses!(FlowMap, FlowMapConfig { steps: steps }, steps);
        }
        for diagonal in [0.0, 1.0, f64::NAN] {
            refuses!(FlowMap, FlowMapConfig { diagonal: diagonal }, diagonal);
        }
    }

    #[test]
    fn flow_matching() {
        refuses_each_size!(FlowMatching, FlowMatchingConfig, network);
        refuses!(FlowMatching, FlowMatchingConfig { time_features: HUGE }, time_features);
        for probes in [0, HUGE, usize::MAX] {
            let divergence = Some(TraceEstimator::Hutchinson { probes });
            refuses!(FlowMatching, FlowMatchingConfig { divergence: divergence }, divergence);
        }
    }
}

#[test]
fn baseline_of_many_columns_starts_at_once_or_is_refused() {
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
        assert!((nats.unwrap().nats().unwrap()[0] - expected).abs() < 1e-9);
        if model.card().name.starts_with("KDE") {
            // Fewer rows than columns: kernels along the axes.
            model.train(&few, &short(1), &mut seeded(0), &mut NoObserver).unwrap();
        }
    }
}

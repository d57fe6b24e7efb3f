use super::*;
use crate::error::{DataError, TrainingError};

#[test]
fn every_option_matters() {
    let data = toy_rows(&Toy::pinwheel(), 600, 0);
    let base = GaussianMixtureConfig { max_iter: 40, ..fixed(6) };
    let (_, report) = fitted(base.clone(), &data, 0);
    let iterations = |config| fitted(config, &data, 0).1.loss.len();
    assert_eq!(iterations(GaussianMixtureConfig { max_iter: 4, ..base.clone() }), 4);
    assert!(iterations(GaussianMixtureConfig { tol: 1e-2, ..base.clone() }) < report.loss.len());
    let widest = |reg_covar| {
        let (model, _) = fitted(GaussianMixtureConfig { reg_covar, ..base.clone() }, &data, 0);
        model.covariances().iter().copied().fold(0.0, f64::max)
    };
    assert!(widest(0.3) > widest(1e-6) + 0.1);
    let shrunk = GaussianMixtureConfig { shrinkage: 100.0, ..base.clone() };
    assert!(fitted(shrunk, &data, 0).1.loss.last() > report.loss.last());
    assert_ne!(fitted(base.clone(), &data, 1).1.loss, report.loss, "another seed, another start");
}

#[test]
fn degenerate_rows_are_errors_or_bounded() {
    let train = |config, x: Array2<f32>| {
        let mut model = GaussianMixture::new(config).unwrap();
        let done =
            model.train(&Dataset::new(x).unwrap(), &TrainOptions::default(), &mut seeded(0), &mut NoObserver);
        (model, done)
    };
    let few = Array2::from_shape_fn((4, 2), |(r, c)| ((r * r + c) as f32).sin());
    assert!(matches!(
        train(fixed(5), few.clone()).1,
        Err(Error::Data(DataError::TooFewRows { got: 4, least: 5, .. }))
    ));
    assert!(train(fixed(4), few).1.is_ok(), "as many components as rows");
    let constant = Array2::from_shape_fn((20, 2), |(r, c)| if c == 1 { 3.0 } else { r as f32 });
    assert!(matches!(
        train(fixed(2), constant).1,
        Err(Error::Data(DataError::ConstantColumn { column: 1, .. }))
    ));

    // Three places only, each repeated: the ridge bounds the density.
    let repeated = Array2::from_shape_fn((60, 2), |(r, c)| [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]][r % 3][c]);
    let (model, done) = train(GaussianMixtureConfig { shrinkage: 0.0, ..fixed(5) }, repeated.clone());
    done.unwrap();
    let nats = model.score(repeated.view()).unwrap();
    assert!(nats.iter().all(|v| v.is_finite() && *v > 5.0), "{nats}");
    assert!(model.score(array![[0.5, 0.5]].view()).unwrap()[0] < -1e4);
    assert!(model.means().iter().chain(model.covariances()).all(|v| v.is_finite()));
    // Without it the collapse is an error, and the model as it was.
    let (model, done) = train(GaussianMixtureConfig { reg_covar: 0.0, shrinkage: 0.0, ..fixed(3) }, repeated);
    match done {
        Err(Error::Training(TrainingError::Diverged { step: 0, what })) => {
            assert!(what.contains("component"), "{what}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(model.score(array![[0.0, 0.0]].view()).unwrap()[0], -std::f64::consts::TAU.ln());

    // Columns that depend on each other have a thin density where the ridge is.
    let line = Array2::from_shape_fn((50, 2), |(r, c)| (r as f32) * (c as f32 + 1.0));
    assert!(train(fixed(3), line).1.is_ok());
}

#[test]
fn given_parameters_are_checked() {
    let (means, good) =
        (array![[0.0, 0.0], [1.0, 1.0]], array![[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.5], [0.5, 1.0]]]);
    let make = |weights: &[f64], means: &Array2<f64>, covariances: &ndarray::Array3<f64>| {
        GaussianMixture::from_parameters(fixed(2), weights, means.view(), covariances.view())
    };
    assert!(make(&[0.5, 0.5], &means, &good).is_ok());
    for weights in [[0.5, 0.6], [1.5, -0.5], [f64::NAN, 0.5]] {
        assert!(
            matches!(make(&weights, &means, &good), Err(Error::Config { field: "weights", .. })),
            "{weights:?}"
        );
    }
    assert!(matches!(
        make(&[1.0], &means, &good),
        Err(Error::Data(DataError::Shape { what: "weights", .. }))
    ));
    assert!(matches!(
        make(&[0.5, 0.5], &array![[0.0, 1.0]], &good),
        Err(Error::Data(DataError::Shape { what: "means", .. }))
    ));
    let flat = Array2::<f64>::eye(2).insert_axis(Axis(0));
    assert!(matches!(
        make(&[0.5, 0.5], &means, &flat),
        Err(Error::Data(DataError::Shape { what: "covariances", .. }))
    ));
    let infinite = array![[0.0, f64::INFINITY], [1.0, 1.0]];
    assert!(matches!(
        make(&[0.5, 0.5], &infinite, &good),
        Err(Error::Data(DataError::NonFinite { what: "means", row: 0, .. }))
    ));
    for bad in [[[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.5], [0.4, 1.0]], [[1.0, f64::NAN], [f64::NAN, 1.0]]] {
        let mut covariances = good.clone();
        covariances.index_axis_mut(Axis(0), 1).assign(&ndarray::arr2(&bad));
        match make(&[0.5, 0.5], &means, &covariances) {
            Err(Error::Config { field: "covariances", value, .. }) => assert_eq!(value, format!("{bad:?}")),
            other => panic!("{other:?}"),
        }
    }
    let default = GaussianMixtureConfig::default;
    for (field, config) in [
        ("dim", GaussianMixtureConfig { dim: 0, ..default() }),
        ("components", fixed(0)),
        ("components", GaussianMixtureConfig { components: ComponentCount::Bic { max: 0 }, ..default() }),
        ("restarts", GaussianMixtureConfig { restarts: 0, ..default() }),
        ("tol", GaussianMixtureConfig { tol: -1.0, ..default() }),
        ("tol", GaussianMixtureConfig { tol: f64::NAN, ..default() }),
        ("shrinkage", GaussianMixtureConfig { shrinkage: -0.1, ..default() }),
        ("max_iter", GaussianMixtureConfig { max_iter: 0, ..default() }),
        ("reg_covar", GaussianMixtureConfig { reg_covar: f64::INFINITY, ..default() }),
    ] {
        match GaussianMixture::new(config) {
            Err(Error::Config { field: found, .. }) => {
                assert_eq!(found, format!("GaussianMixtureConfig::{field}"))
            }
            other => panic!("{field}: {other:?}"),
        }
    }
}

use super::*;

fn cross_validated(dim: usize) -> GaussianMixtureConfig {
    let components = ComponentCount::CrossValidated { max: 12 };
    GaussianMixtureConfig { dim, components, ..Default::default() }
}

/// Two clouds of 13 columns, each slanted in its own way: Σ = 0.2 I + s sᵀ with s of random signs.
fn clouds(n: usize, seed: u64) -> Array2<f32> {
    let rng = &mut seeded(seed);
    let sign = |r: usize, c: usize| if (r * 7 + c * c * (r + 3)) % 5 < 2 { 1.0 } else { -1.0 };
    let mut x = Array2::zeros((n, 13));
    for (r, mut row) in x.rows_mut().into_iter().enumerate() {
        let z = f32::normal(rng);
        for (c, x) in row.iter_mut().enumerate() {
            let own = 0.2f32.sqrt() * f32::normal(rng);
            *x = 1.5 * sign(r % 2 + 4, c) * (r % 2) as f32 + z * sign(r % 2, c) + own;
        }
    }
    x
}

#[test]
fn cross_validation_comes_near_the_truth() {
    for (toy, components) in [(Toy::ring(5, 1.0, 0.1).unwrap(), 5), (Toy::ring(1, 0.0, 1.0).unwrap(), 1)] {
        for seed in 0..2 {
            let (model, _) = fitted(cross_validated(2), &toy_rows(&toy, 1_000, seed), seed);
            let test = toy.sample(5_000, &mut seeded(50));
            let gap = toy.log_density(test.view()).unwrap().mean().unwrap() - mean_nats(&model, test.view());
            assert!((-0.005..0.03).contains(&gap), "{} {seed}: {gap}", toy.name());
            assert!(model.weights().len() >= components);
            assert_eq!(model.degenerate(), []);
        }
    }
}

/// After an M-step Σ wₖ μₖ is the mean of the rows that were learned from: all of them.
#[test]
fn cross_validation_learns_from_all_rows() {
    for n in [103, 2_600] {
        let data = toy_rows(&Toy::pinwheel(), n, 1);
        let (model, report) = fitted(cross_validated(2), &data, 0);
        let mean = data.x().mapv(f64::from).mean_axis(Axis(0)).unwrap();
        let found = model.weights().dot(&model.means());
        assert!((&found - &mean).iter().all(|v| v.abs() < 1e-9), "{n}: {found} {mean}");
        let nll = -mean_nats(&model, data.x());
        assert!((report.loss.last().unwrap() - nll).abs() < 1e-9 && report.validation.is_empty());
        assert_eq!(report.stop, Stop::Completed);
    }
}

#[test]
fn cross_validation_finds_the_strength_of_the_prior() {
    for seed in 0..2 {
        let (data, test) = (Dataset::new(clouds(90, seed)).unwrap(), clouds(2_000, 100 + seed));
        let (model, _) = fitted(cross_validated(13), &data, 0);
        let nll = -mean_nats(&model, test.view());
        let bic = GaussianMixtureConfig { dim: 13, ..Default::default() };
        let bic = -mean_nats(&fitted(bic, &data, 0).0, test.view());
        assert!(model.parts[0].shrinkage > model.config.shrinkage, "{seed}: {}", model.parts[0].shrinkage);
        assert!(nll < bic, "{seed}: {nll} {bic}");
        // A second training keeps it: it is at its optimum.
        let mut again = model.clone();
        again.train(&data, &TrainOptions::default(), &mut seeded(1), &mut NoObserver).unwrap();
        assert!((-mean_nats(&again, test.view()) - nll).abs() < 0.02);
        #[cfg(feature = "safetensors")]
        {
            use crate::model::file::Persist;
            let again = GaussianMixture::from_bytes(&model.to_bytes().unwrap()).unwrap();
            assert_eq!(again.parts[0].shrinkage, model.parts[0].shrinkage);
        }
    }
    // Many rows of few columns need none.
    let (model, _) = fitted(cross_validated(2), &toy_rows(&Toy::grid25(), 1_000, 0), 0);
    assert!(model.parts[0].shrinkage < 0.5, "{}", model.parts[0].shrinkage);
}

#[test]
fn cross_validation_takes_any_rows() {
    for (n, dim) in [(1, 2), (2, 2), (9, 2), (10, 2), (11, 8), (30, 40)] {
        let rng = &mut seeded(n as u64);
        let x = Array2::from_shape_simple_fn((n, dim), || <f32 as Real>::normal(rng));
        let mut model = GaussianMixture::new(cross_validated(dim)).unwrap();
        let trained = model.train(
            &Dataset::new(x.clone()).unwrap(),
            &TrainOptions::default(),
            &mut seeded(0),
            &mut NoObserver,
        );
        // One row has no spread.
        assert_eq!(trained.is_ok(), n > 1, "{n} × {dim}");
        assert!(n == 1 || mean_nats(&model, x.view()).is_finite());
    }
}

#[test]
fn a_stopped_cross_validation_has_a_model() {
    let data = toy_rows(&Toy::pinwheel(), 300, 1);
    for stop_at in [0, 7, 60] {
        let mut model = GaussianMixture::new(cross_validated(2)).unwrap();
        let mut observer = |step: &Step<'_>| {
            if step.step >= stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let report = model.train(&data, &TrainOptions::default(), &mut seeded(0), &mut observer).unwrap();
        assert_eq!(report.stop, Stop::Interrupted, "{stop_at}");
        assert!(mean_nats(&model, data.x()) > -5.0);
    }
}

/// Held-out rows decide where there are any.
#[test]
fn rows_held_out_stand_in_for_folds() {
    let data = toy_rows(&Toy::pinwheel(), 400, 2);
    let options = TrainOptions { validation: 0.2, ..Default::default() };
    let train = |components| {
        let mut model =
            GaussianMixture::new(GaussianMixtureConfig { components, ..Default::default() }).unwrap();
        let report = model.train(&data, &options, &mut seeded(0), &mut NoObserver).unwrap();
        (mean_nats(&model, data.x()), report)
    };
    let (folds, bic) =
        (train(ComponentCount::CrossValidated { max: 12 }), train(ComponentCount::Bic { max: 12 }));
    assert_eq!(folds, bic);
    assert!(!folds.1.validation.is_empty());
}

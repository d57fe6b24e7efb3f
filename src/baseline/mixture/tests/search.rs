use super::*;

#[test]
fn the_criterion_counts_the_modes() {
    let toy = Toy::ring(5, 1.0, 0.1).unwrap();
    let data = toy_rows(&toy, 2_000, 3);
    let config = GaussianMixtureConfig {
        components: ComponentCount::Bic { max: 8 },
        restarts: 2,
        covariance: Covariance::Full,
        ..Default::default()
    };
    let (model, report) = fitted(config, &data, 0);
    assert_eq!((model.weights().len(), model.num_params()), (5, 4 + 10 + 15));
    let bic = model.bic(data.x()).unwrap();
    let nll = *report.loss.last().unwrap() * 2_000.0;
    assert!((bic - (2.0 * nll + 29.0 * 2_000f64.ln())).abs() < 1e-6);
    let (more, _) = fitted(fixed(8), &data, 0);
    assert!(more.bic(data.x()).unwrap() > bic + 10.0);
}

/// Rows of a mixture of k Gaussians far apart, each with the covariance that `covariance` says.
fn clusters(k: usize, n: usize, seed: u64, covariance: impl Fn(usize) -> [[f64; 2]; 2]) -> Dataset {
    let means = Array2::from_shape_fn((k, 2), |(k, c)| if c == 0 { 6.0 * k as f64 } else { (k * k) as f64 });
    let covariances: Vec<f64> = (0..k).flat_map(|k| covariance(k).concat()).collect();
    let covariances = ndarray::Array3::from_shape_vec((k, 2, 2), covariances).unwrap();
    let toy = Toy::mixture(&vec![1.0 / k as f64; k], means.view(), covariances.view()).unwrap();
    toy_rows(&toy, n, seed)
}

#[test]
fn the_family_and_the_number_are_those_of_the_rows() {
    type OfComponent = fn(usize) -> [[f64; 2]; 2];
    let cases: [(Covariance, OfComponent); 4] = [
        (Covariance::Full, |k| if k == 1 { [[1.0, 0.8], [0.8, 1.0]] } else { [[0.3, -0.2], [-0.2, 0.5]] }),
        (Covariance::Tied, |_| [[1.0, 0.7], [0.7, 1.0]]),
        (Covariance::Diagonal, |k| if k == 1 { [[1.0, 0.0], [0.0, 0.1]] } else { [[0.1, 0.0], [0.0, 1.0]] }),
        // As wide in units of the columns: 49.2 and 4.2 of variance.
        (Covariance::Spherical, |k| {
            let s = [0.1, 0.02, 0.005][k];
            [[24.0 * s, 0.0], [0.0, 2.9 * s]]
        }),
    ];
    for (family, covariance) in cases {
        let data = clusters(3, 1_500, 5, covariance);
        let (model, _) = fitted(GaussianMixtureConfig::default(), &data, 0);
        assert_eq!((model.covariance(), model.weights().len()), (family, 3));
        // The structure, and how many numbers it takes beside 2 weights and 6 means.
        let c = model.covariances();
        let tied = c.index_axis(Axis(0), 0) == c.index_axis(Axis(0), 2);
        let diagonal = c.slice(s![.., 0, 1]).iter().all(|v| *v == 0.0);
        let ratio = |k: usize| c[[k, 0, 0]] / c[[k, 1, 1]];
        let spherical = (ratio(0) / ratio(1) - 1.0).abs() < 1e-9;
        let (found, numbers) = match (tied, diagonal, spherical) {
            (false, false, false) => (Covariance::Full, 9),
            (true, false, true) => (Covariance::Tied, 3),
            (false, true, false) => (Covariance::Diagonal, 6),
            (false, true, true) => (Covariance::Spherical, 3),
            other => panic!("{other:?}"),
        };
        assert_eq!((found, model.num_params()), (family, 8 + numbers));
        // A second training goes on in the same family.
        let mut again = model.clone();
        again.train(&data, &TrainOptions::default(), &mut seeded(1), &mut NoObserver).unwrap();
        assert_eq!(again.covariance(), family);
        assert!((again.bic(data.x()).unwrap() - model.bic(data.x()).unwrap()).abs() < 1.0);
    }
}

#[test]
fn a_split_keeps_mean_and_covariance() {
    let (model, _) = fitted(fixed(3), &toy_rows(&Toy::pinwheel(), 1_000, 0), 0);
    let moments = |g: &Gaussians| {
        let mean = g.weights.dot(&g.means);
        let mut second = Array2::<f64>::zeros((2, 2));
        for ((w, m), c) in g.weights.iter().zip(g.means.rows()).zip(g.covariances.axis_iter(Axis(0))) {
            let m = m.insert_axis(Axis(1));
            second = second + (&c + &m.dot(&m.t())) * *w;
        }
        (mean, second)
    };
    for k in 0..3 {
        let halves = model.marginal.split(k, &[1.0, 1.0]).unwrap();
        assert_eq!(halves.len(), 4);
        let (before, after) = (moments(&model.marginal), moments(&halves));
        assert!((before.0 - after.0).iter().all(|v| v.abs() < 1e-12));
        assert!((before.1 - after.1).iter().all(|v| v.abs() < 1e-12));
    }
}

#[test]
fn few_rows_get_few_components() {
    for (n, dim) in [(2, 2), (5, 2), (10, 2), (5, 8), (12, 8)] {
        let rng = &mut seeded(n as u64);
        let x = Array2::from_shape_simple_fn((n, dim), || Real::normal(rng));
        let data = Dataset::new(x).unwrap();
        let config = GaussianMixtureConfig { dim, ..Default::default() };
        let (model, _) = fitted(config, &data, 0);
        assert!(model.weights().len() <= n.div_ceil(2), "{n} rows: {}", model.weights().len());
        // Rows that were not there are no surprise.
        let test = Array2::from_shape_simple_fn((200, dim), || Real::normal(rng));
        let nll = -mean_nats(&model, test.view()) / dim as f64;
        assert!(n < 5 || nll < 3.5, "{n} × {dim}: {nll} a column, 1.42 by the truth");
    }
}

/// Rounded columns and few rows: a component on the rows that share some digits would score without bound.
#[test]
fn no_component_sits_on_a_few_rows() {
    let rows = |n, seed| {
        let rng = &mut seeded(seed);
        let x = Array2::from_shape_simple_fn((n, 13), || <f32 as Real>::normal(rng));
        x.mapv(|v| (4.0 * v).round() / 4.0)
    };
    let (data, test) = (Dataset::new(rows(120, 0)).unwrap(), rows(1_000, 1));
    let nll = |covariance, components, validation| -> (f64, usize) {
        let config = GaussianMixtureConfig { dim: 13, covariance, components, ..Default::default() };
        let mut model = GaussianMixture::new(config).unwrap();
        let options = TrainOptions { validation, ..Default::default() };
        model.train(&data, &options, &mut seeded(2), &mut NoObserver).unwrap();
        (-mean_nats(&model, test.view()), model.degenerate().len())
    };
    let (one, _) = nll(Covariance::Full, ComponentCount::Fixed(1), 0.0);
    let (bic, folds) = (ComponentCount::Bic { max: 15 }, ComponentCount::CrossValidated { max: 15 });
    for (components, validation) in [(bic, 0.0), (bic, 0.2), (folds, 0.0)] {
        let (best, degenerate) = nll(Covariance::Best, components, validation);
        assert!(best < one + 0.1 && degenerate == 0, "{best}, one Gaussian {one}, {degenerate} degenerate");
    }
}

/// One Gaussian in 16 columns: the search ends soon after it has seen that nothing is to be gained.
#[test]
fn a_search_ends_when_it_cannot_gain() {
    let rng = &mut seeded(3);
    let mut last = 0.0f32;
    let x = Array2::from_shape_simple_fn((3_000, 16), || {
        last = 0.8 * last + 0.6 * <f32 as Real>::normal(rng);
        last
    });
    let mut iterations = 0;
    let mut model = GaussianMixture::new(GaussianMixtureConfig { dim: 16, ..Default::default() }).unwrap();
    let mut observer = |_: &Step<'_>| {
        iterations += 1;
        ControlFlow::Continue(())
    };
    let data = Dataset::new(x).unwrap();
    model.train(&data, &TrainOptions::default(), &mut seeded(0), &mut observer).unwrap();
    assert_eq!(model.weights().len(), 1);
    // All numbers of components in all families, to the end, would be tens of thousands. Ten each are those of starts
    // that do not go on.
    assert!(iterations < 800, "{iterations}");
}

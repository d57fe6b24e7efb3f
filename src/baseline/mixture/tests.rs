use std::ops::ControlFlow;

use ndarray::{Array2, array, s};

use super::*;
use crate::seeded;
use crate::worlds::Toy;

fn toy_rows(toy: &Toy, n: usize, seed: u64) -> Dataset {
    Dataset::new(toy.sample(n, &mut seeded(seed))).unwrap()
}

fn fitted(config: GaussianMixtureConfig, data: &Dataset, seed: u64) -> (GaussianMixture, TrainReport) {
    let mut model = GaussianMixture::new(config).unwrap();
    let report = model.train(data, &TrainOptions::default(), &mut seeded(seed), &mut Silent).unwrap();
    (model, report)
}

fn mean_nats(model: &GaussianMixture, x: ArrayView2<f32>) -> f64 {
    model.score(x).unwrap().mean().unwrap()
}

fn fixed(k: usize) -> GaussianMixtureConfig {
    let components = ComponentCount::Fixed(k);
    GaussianMixtureConfig { components, covariance: Covariance::Full, ..Default::default() }
}

/// ln p(x) term by term, as it is defined, with the inverse by Cramer's rule: two columns.
fn naive_log_density(model: &GaussianMixture, x: &[f64; 2]) -> f64 {
    let terms = (0..model.weights().len()).map(|k| {
        let c = model.covariances().index_axis(Axis(0), k).to_owned();
        let det = c[[0, 0]] * c[[1, 1]] - c[[0, 1]] * c[[1, 0]];
        let (u, v) = (x[0] - model.means()[[k, 0]], x[1] - model.means()[[k, 1]]);
        let square = (c[[1, 1]] * u * u - 2.0 * c[[0, 1]] * u * v + c[[0, 0]] * v * v) / det;
        model.weights()[k] * (-0.5 * square).exp() / (std::f64::consts::TAU * det.sqrt())
    });
    terms.sum::<f64>().ln()
}

#[test]
fn the_density_is_its_formula() {
    let data = toy_rows(&Toy::moons(0.1).unwrap(), 1_000, 0);
    let (model, _) = fitted(fixed(6), &data, 0);
    // More rows than a block, and no multiple of the lanes.
    let x = data.x().slice(s![..BLOCK + 21, ..]).to_owned();
    for (row, got) in x.rows().into_iter().zip(model.score(x.view()).unwrap()) {
        let want = naive_log_density(&model, &[row[0].into(), row[1].into()]);
        assert!((got - want).abs() < 1e-11 * (1.0 + want.abs()), "{got} {want}");
    }
}

/// One iteration as the formulas say it, without lanes, blocks or shifted sums.
#[test]
fn an_iteration_is_its_formula() {
    let data = toy_rows(&Toy::pinwheel(), 1_500, 0);
    let config = GaussianMixtureConfig { max_iter: 3, reg_covar: 0.0, shrinkage: 0.0, ..fixed(4) };
    let (before, _) = fitted(config.clone(), &data, 0);
    let mut after = before.clone();
    after.config.max_iter = 1;
    let report = after.train(&data, &TrainOptions::default(), &mut seeded(0), &mut Silent).unwrap();

    let r = before.responsibilities(data.x()).unwrap();
    let x = data.x().mapv(f64::from);
    for k in 0..4 {
        let r = r.column(k);
        let count = r.sum();
        assert!((after.weights()[k] - count / 1_500.0).abs() < 1e-13);
        let mean = x.t().dot(&r) / count;
        let centred = &x - &mean;
        let covariance = (&centred * &r.insert_axis(Axis(1))).t().dot(&centred) / count;
        assert!((&after.means().row(k) - &mean).iter().all(|v| v.abs() < 1e-12));
        let found = after.covariances().index_axis(Axis(0), k).to_owned();
        assert!((found - covariance).iter().all(|v| v.abs() < 1e-12));
    }
    assert!((report.loss[0] + mean_nats(&after, data.x())).abs() < 1e-12);
}

#[test]
fn responsibilities_are_a_posterior() {
    let data = toy_rows(&Toy::grid25(), 1_000, 0);
    let (model, _) = fitted(fixed(7), &data, 0);
    let far = array![[1e30, -1e30], [f32::MAX, f32::MAX], [0.0, 0.0]];
    for x in [data.x().to_owned(), far] {
        let r = model.responsibilities(x.view()).unwrap();
        assert_eq!(r.dim(), (x.nrows(), 7));
        assert!(r.iter().all(|r| (0.0..=1.0 + 1e-15).contains(r)));
        assert!(r.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-12), "{r}");
    }
    assert_eq!(model.responsibilities(Array2::zeros((0, 2)).view()).unwrap().dim(), (0, 7));
    // Of two unlike components, each owns its place.
    let covariances = array![[[0.5]], [[0.5]]];
    let config = GaussianMixtureConfig { dim: 1, ..fixed(2) };
    let two = GaussianMixture::from_parameters(
        config,
        &[0.25, 0.75],
        array![[-1.0], [1.0]].view(),
        covariances.view(),
    );
    let r = two.unwrap().responsibilities(array![[0.0], [-3.0]].view()).unwrap();
    assert!((r[[0, 0]] - 0.25).abs() < 1e-15 && r[[1, 0]] > 0.999);
}

/// Without the ridge, EM never lowers the likelihood; with it, by no more than the ridge can.
#[test]
fn no_iteration_lowers_the_likelihood() {
    for (toy, k) in [(Toy::pinwheel(), 9), (Toy::checkerboard(), 12), (Toy::grid25(), 20)] {
        let data = toy_rows(&toy, 2_000, 1);
        for (reg_covar, slack) in [(0.0, 1e-12), (1e-6, 1e-6)] {
            let config = GaussianMixtureConfig { reg_covar, shrinkage: 0.0, restarts: 1, ..fixed(k) };
            let (_, report) = fitted(config, &data, 1);
            assert!(report.loss.len() > 2, "{} iterations", report.loss.len());
            assert!(
                report.loss.windows(2).all(|w| w[1] <= w[0] + slack),
                "{}: {:?}",
                toy.name(),
                report.loss
            );
        }
    }
}

#[test]
fn a_known_mixture_is_recovered() {
    let toy = Toy::grid25();
    let test = toy_rows(&toy, 5_000, 77);
    let truth = toy.log_density(test.x()).unwrap().mean().unwrap();
    for seed in 0..3 {
        let (model, _) = fitted(fixed(25), &toy_rows(&toy, 10_000, seed), seed);
        let gap = truth - mean_nats(&model, test.x());
        // 149 parameters from 10,000 rows cost 149/20,000 = 0.0075 nats on average.
        assert!((0.0..0.015).contains(&gap), "seed {seed}: {gap}");
        for centre in toy.modes().unwrap().centres.rows() {
            let near = |mean: ArrayView1<f64>| (&mean - &centre).iter().all(|v| v.abs() < 0.015);
            assert_eq!(model.means().rows().into_iter().filter(|m| near(*m)).count(), 1, "{centre}");
        }
    }
}

#[test]
fn restarts_find_different_optima_and_the_best_is_kept() {
    let data = toy_rows(&Toy::pinwheel(), 1_500, 0);
    // The loss at the end of each run, from what the observer sees.
    let mut seen = Vec::new();
    let mut model = GaussianMixture::new(GaussianMixtureConfig { restarts: 6, ..fixed(8) }).unwrap();
    let mut observer = |step: &Step<'_>| {
        assert_eq!(step.steps, 6 * 300);
        seen.push((step.step, step.loss));
        ControlFlow::Continue(())
    };
    let report = model.train(&data, &TrainOptions::default(), &mut seeded(0), &mut observer).unwrap();
    assert!(seen.iter().enumerate().all(|(i, step)| step.0 == i));
    // A new run starts above the end of the one before.
    let loss: Vec<f64> = seen.iter().map(|step| step.1).collect();
    let ends: Vec<f64> =
        loss.windows(2).filter(|w| w[1] > w[0] + 1e-4).map(|w| w[0]).chain(loss.last().copied()).collect();
    assert_eq!(ends.len(), 6, "{ends:?}");
    let (least, most) =
        ends.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
    assert!(most > least + 0.01, "one optimum only: {ends:?}");
    assert_eq!(*report.loss.last().unwrap(), least);
    assert!((mean_nats(&model, data.x()) + least).abs() < 1e-12);
    // The first run is the whole of a training without restarts.
    let (_, alone) = fitted(GaussianMixtureConfig { restarts: 1, ..fixed(8) }, &data, 0);
    assert_eq!(alone.loss, loss[..alone.loss.len()]);
}

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
        again.train(&data, &TrainOptions::default(), &mut seeded(1), &mut Silent).unwrap();
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
        let halves = model.gaussians.split(k, &[1.0, 1.0]).unwrap();
        assert_eq!(halves.len(), 4);
        let (before, after) = (moments(&model.gaussians), moments(&halves));
        assert!((before.0 - after.0).iter().all(|v| v.abs() < 1e-12));
        assert!((before.1 - after.1).iter().all(|v| v.abs() < 1e-12));
    }
}

#[test]
fn few_rows_get_few_components() {
    for (n, dim) in [(2, 2), (5, 2), (10, 2), (5, 8), (12, 8)] {
        let rng = &mut seeded(n as u64);
        let x = Array2::from_shape_simple_fn((n, dim), || crate::numeric::Real::normal(rng));
        let data = Dataset::new(x).unwrap();
        let config = GaussianMixtureConfig { dim, ..Default::default() };
        let (model, _) = fitted(config, &data, 0);
        assert!(model.weights().len() <= n.div_ceil(2), "{n} rows: {}", model.weights().len());
        // Rows that were not there are no surprise.
        let test = Array2::from_shape_simple_fn((200, dim), || crate::numeric::Real::normal(rng));
        let nll = -mean_nats(&model, test.view()) / dim as f64;
        assert!(n < 5 || nll < 3.5, "{n} × {dim}: {nll} a column, 1.42 by the truth");
    }
}

/// Rounded columns and few rows: a component on the rows that share some digits would score without bound.
#[test]
fn no_component_sits_on_a_few_rows() {
    let rows = |n, seed| {
        let rng = &mut seeded(seed);
        let x = Array2::from_shape_simple_fn((n, 13), || <f32 as crate::numeric::Real>::normal(rng));
        x.mapv(|v| (4.0 * v).round() / 4.0)
    };
    let (data, test) = (Dataset::new(rows(120, 0)).unwrap(), rows(1_000, 1));
    let nll = |covariance, components, validation| {
        let config = GaussianMixtureConfig { dim: 13, covariance, components, ..Default::default() };
        let mut model = GaussianMixture::new(config).unwrap();
        let options = TrainOptions { validation, ..Default::default() };
        model.train(&data, &options, &mut seeded(2), &mut Silent).unwrap();
        -mean_nats(&model, test.view())
    };
    let one = nll(Covariance::Full, ComponentCount::Fixed(1), 0.0);
    for validation in [0.0, 0.2] {
        let best = nll(Covariance::Best, ComponentCount::Bic { max: 15 }, validation);
        assert!(best < one + 0.1, "{best}, one Gaussian {one}");
    }
}

/// One Gaussian in 16 columns: the search ends soon after it has seen that nothing is to be gained.
#[test]
fn a_search_ends_when_it_cannot_gain() {
    let rng = &mut seeded(3);
    let mut last = 0.0f32;
    let x = Array2::from_shape_simple_fn((3_000, 16), || {
        last = 0.8 * last + 0.6 * <f32 as crate::numeric::Real>::normal(rng);
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
    // All numbers of components in all families, to the end, would be tens of thousands.
    assert!(iterations < 700, "{iterations}");
}

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
fn held_out_rows_are_scored_and_patience_keeps_the_best() {
    // Many components on few rows: they learn them by heart.
    let data = toy_rows(&Toy::moons(0.1).unwrap(), 150, 0);
    let config = GaussianMixtureConfig { tol: 0.0, max_iter: 100, restarts: 1, ..fixed(20) };
    let run = |patience| {
        let mut model = GaussianMixture::new(config.clone()).unwrap();
        let options =
            TrainOptions { validation: 0.3, validate_every: 2, patience, ..TrainOptions::default() };
        let report = model.train(&data, &options, &mut seeded(0), &mut Silent).unwrap();
        (model, report)
    };
    let (_, all) = run(None);
    assert_eq!((all.stop, all.loss.len(), all.validation.len()), (Stop::Completed, 100, 50));
    assert_eq!(all.validation[1].0, 4);
    let (model, report) = run(Some(3));
    assert_eq!(report.stop, Stop::Patience);
    let n = report.validation.len();
    assert_eq!(report.validation, all.validation[..n]);
    let best = report.validation.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    assert_eq!(*best, report.validation[n - 4]);
    // The parameters are those of the best: their loss on the training rows is that of its iteration.
    let (training, held_out, _) =
        engine::split(&data, &TrainOptions { validation: 0.3, ..Default::default() }, &mut seeded(0))
            .unwrap();
    assert!((mean_nats(&model, held_out.0.view()) + best.1).abs() < 1e-12);
    assert!((mean_nats(&model, training.0.view()) + report.loss[best.0 - 1]).abs() < 1e-12);
}

#[test]
fn a_training_goes_on_from_given_parameters() {
    let data = toy_rows(&Toy::moons(0.1).unwrap(), 1_000, 0);
    let config = GaussianMixtureConfig { max_iter: 10, tol: 0.0, restarts: 1, ..fixed(5) };
    let (mut model, first) = fitted(config.clone(), &data, 0);
    let mut copy = GaussianMixture::from_parameters(
        config,
        &model.weights().to_vec(),
        model.means(),
        model.covariances(),
    )
    .unwrap();
    let go_on = |model: &mut GaussianMixture| {
        model.train(&data, &TrainOptions::default(), &mut seeded(9), &mut Silent).unwrap().loss
    };
    let second = go_on(&mut model);
    assert!(second[0] < first.loss[9]);
    // The weights are divided by their sum, which is 1 but for rounding.
    assert!(second.iter().zip(go_on(&mut copy)).all(|(a, b)| (a - b).abs() < 1e-12));
}

#[test]
fn degenerate_rows_are_errors_or_bounded() {
    let train = |config, x: Array2<f32>| {
        let mut model = GaussianMixture::new(config).unwrap();
        let done =
            model.train(&Dataset::new(x).unwrap(), &TrainOptions::default(), &mut seeded(0), &mut Silent);
        (model, done)
    };
    let few = Array2::from_shape_fn((4, 2), |(r, c)| ((r * r + c) as f32).sin());
    assert!(matches!(train(fixed(5), few.clone()).1, Err(Error::TooFewRows { got: 4, least: 5, .. })));
    assert!(train(fixed(4), few).1.is_ok(), "as many components as rows");
    let constant = Array2::from_shape_fn((20, 2), |(r, c)| if c == 1 { 3.0 } else { r as f32 });
    assert!(matches!(train(fixed(2), constant).1, Err(Error::ConstantColumn { column: 1, .. })));

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
        Err(Error::Diverged { step: 0, what }) => assert!(what.contains("component"), "{what}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(model.score(array![[0.0, 0.0]].view()).unwrap()[0], -std::f64::consts::TAU.ln());

    // Columns that depend on each other have a thin density where the ridge is.
    let line = Array2::from_shape_fn((50, 2), |(r, c)| (r as f32) * (c as f32 + 1.0));
    assert!(train(fixed(3), line).1.is_ok());
}

/// Narrow components far from the origin, in columns of unlike units, lose no digits.
#[test]
fn shifts_and_units_do_not_matter() {
    let x = Toy::grid25().sample(4_000, &mut seeded(0));
    // Powers of two and a shift that keep every digit of f32.
    let x = x.mapv(|v| (v * 1024.0).round() / 1024.0);
    let moved = Array2::from_shape_fn(x.dim(), |(r, c)| {
        if c == 0 { x[[r, 0]] * 1e6f32.log2().exp2().round() } else { x[[r, 1]] + 512.0 }
    });
    let factor = f64::from(1e6f32.log2().exp2().round());
    let (here, _) =
        fitted(GaussianMixtureConfig { restarts: 1, ..fixed(25) }, &Dataset::new(x.clone()).unwrap(), 0);
    let (there, _) =
        fitted(GaussianMixtureConfig { restarts: 1, ..fixed(25) }, &Dataset::new(moved.clone()).unwrap(), 0);
    let (a, b) = (mean_nats(&here, x.view()), mean_nats(&there, moved.view()) + factor.ln());
    assert!((a - b).abs() < 1e-6, "{a} {b}");
}

#[test]
fn other_dimensions() {
    // One column: half the rows at −2, half at 2.
    let x = Array2::from_shape_fn((2_000, 1), |(r, _)| if r % 2 == 0 { -2.0 } else { 2.0 })
        + Toy::ring(1, 0.0, 0.5).unwrap().sample(2_000, &mut seeded(0)).slice(s![.., ..1]);
    let config = GaussianMixtureConfig { dim: 1, ..fixed(2) };
    let (model, _) = fitted(config, &Dataset::new(x).unwrap(), 0);
    assert!(model.means().iter().all(|m| (m.abs() - 2.0).abs() < 0.06), "{}", model.means());
    assert!(model.covariances().iter().all(|c| (c - 0.25).abs() < 0.03), "{}", model.covariances());
    // Five, from a mixture with full covariances; 41 parameters.
    let mean = |k: usize| Array2::from_shape_fn((1, 5), |(_, c)| (k * (c + 1)) as f64);
    let covariance = Array2::from_shape_fn((5, 5), |(i, j)| if i == j { 1.0 } else { 0.6 });
    let covariances = ndarray::stack![Axis(0), covariance, covariance];
    let means = ndarray::concatenate![Axis(0), mean(0), mean(1)];
    let toy = Toy::mixture(&[0.3, 0.7], means.view(), covariances.view()).unwrap();
    let (model, _) = fitted(GaussianMixtureConfig { dim: 5, ..fixed(2) }, &toy_rows(&toy, 8_000, 0), 0);
    let test = toy_rows(&toy, 4_000, 1);
    let gap = toy.log_density(test.x()).unwrap().mean().unwrap() - mean_nats(&model, test.x());
    assert_eq!(model.num_params(), 41);
    assert!((0.0..0.01).contains(&gap), "{gap}");
}

#[test]
fn samples_follow_the_density_and_the_temperature() {
    let covariances = array![[[0.5, 0.3], [0.3, 0.4]], [[0.1, 0.0], [0.0, 0.2]]];
    let means = array![[0.0, 0.0], [3.0, -1.0]];
    let model =
        GaussianMixture::from_parameters(fixed(2), &[0.25, 0.75], means.view(), covariances.view()).unwrap();
    for temperature in [1.0, 0.5] {
        let n = 40_000;
        let x = model.sample(n, &SampleOptions { temperature }, &mut seeded(0)).unwrap().x.mapv(f64::from);
        // The components are five standard deviations apart in the first column.
        let first: Vec<_> =
            x.rows().into_iter().filter(|row| row[0] < 1.7).map(|row| row.to_owned()).collect();
        let share = first.len() as f64 / n as f64;
        assert!((share - 0.25).abs() < 0.02, "{share}");
        let m = first.len() as f64;
        let moment = |i: usize, j: usize| first.iter().map(|row| row[i] * row[j]).sum::<f64>() / m;
        // Truncation takes a little of the first.
        for (i, j) in [(0, 0), (0, 1), (1, 1)] {
            let want = temperature * temperature * covariances[[0, i, j]];
            assert!((moment(i, j) - want).abs() < 0.05 * temperature, "{i}{j}: {} {want}", moment(i, j));
        }
    }
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
    assert!(matches!(make(&[1.0], &means, &good), Err(Error::Shape { what: "weights", .. })));
    assert!(matches!(make(&[0.5, 0.5], &array![[0.0, 1.0]], &good), Err(Error::Shape { what: "means", .. })));
    let flat = Array2::<f64>::eye(2).insert_axis(Axis(0));
    assert!(matches!(make(&[0.5, 0.5], &means, &flat), Err(Error::Shape { what: "covariances", .. })));
    let infinite = array![[0.0, f64::INFINITY], [1.0, 1.0]];
    assert!(matches!(
        make(&[0.5, 0.5], &infinite, &good),
        Err(Error::NonFinite { what: "means", row: 0, .. })
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

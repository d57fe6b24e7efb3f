use super::*;

/// One iteration as the formulas say it, without lanes, blocks or shifted sums.
#[test]
fn an_iteration_is_its_formula() {
    let data = toy_rows(&Toy::pinwheel(), 1_500, 0);
    let config = GaussianMixtureConfig { max_iter: 3, reg_covar: 0.0, shrinkage: 0.0, ..fixed(4) };
    let (before, _) = fitted(config.clone(), &data, 0);
    let mut after = before.clone();
    after.config.max_iter = 1;
    let report = after.train(&data, &TrainOptions::default(), &mut seeded(0), &mut NoObserver).unwrap();

    let r = before.responsibilities(data.x()).unwrap();
    let x = data.x().mapv(f64::from);
    for k in 0..4 {
        let r = r.column(k);
        let count = r.sum();
        assert!((after.weights()[k] - count / 1_500.0).abs() < 1e-13);
        let mean = x.t().dot(&r) / count;
        let centered = &x - &mean;
        let covariance = (&centered * &r.insert_axis(Axis(1))).t().dot(&centered) / count;
        assert!((&after.means().row(k) - &mean).iter().all(|v| v.abs() < 1e-12));
        let found = after.covariances().index_axis(Axis(0), k).to_owned();
        assert!((found - covariance).iter().all(|v| v.abs() < 1e-12));
    }
    assert!((report.loss[0] + mean_nats(&after, data.x())).abs() < 1e-12);
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
        for center in toy.modes().unwrap().centers.rows() {
            let near = |mean: ArrayView1<f64>| (&mean - &center).iter().all(|v| v.abs() < 0.015);
            assert_eq!(model.means().rows().into_iter().filter(|m| near(*m)).count(), 1, "{center}");
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
fn held_out_rows_are_scored_and_patience_keeps_the_best() {
    // Many components on few rows: they learn them by heart.
    let data = toy_rows(&Toy::moons(0.1).unwrap(), 150, 0);
    let config = GaussianMixtureConfig { tol: 0.0, max_iter: 100, restarts: 1, ..fixed(20) };
    let run = |patience| {
        let mut model = GaussianMixture::new(config.clone()).unwrap();
        let options =
            TrainOptions { validation: 0.3, validate_every: 2, patience, ..TrainOptions::default() };
        let report = model.train(&data, &options, &mut seeded(0), &mut NoObserver).unwrap();
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
        model.train(&data, &TrainOptions::default(), &mut seeded(9), &mut NoObserver).unwrap().loss
    };
    let second = go_on(&mut model);
    assert!(second[0] < first.loss[9]);
    // The weights are divided by their sum, which is 1 but for rounding.
    assert!(second.iter().zip(go_on(&mut copy)).all(|(a, b)| (a - b).abs() < 1e-12));
}

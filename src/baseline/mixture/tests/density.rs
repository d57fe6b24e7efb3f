use super::*;

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

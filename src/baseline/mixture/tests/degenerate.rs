use super::*;

/// Two clouds of 100 rows, and one row far away.
fn clouds_and_a_row() -> Dataset {
    let rng = &mut seeded(0);
    let x = Array2::from_shape_fn((201, 2), |(r, _)| {
        let center = if r == 200 { 30.0 } else { 5.0 * (r % 2) as f32 };
        center + <f32 as Real>::normal(rng)
    });
    Dataset::new(x).unwrap()
}

#[test]
fn degenerate_components_are_those_on_few_rows() {
    let data = clouds_and_a_row();
    let (model, _) = fitted(fixed(3), &data, 0);
    let found = model.degenerate();
    assert_eq!(found.len(), 1, "{found:?}");
    let rows = found[0].rows.unwrap();
    assert!((rows - 1.0).abs() < 0.1 && (found[0].weight - rows / 201.0).abs() < 1e-12, "{found:?}");
    assert!(!found[0].collapsed, "shrinkage keeps it broad: {found:?}");
    assert!(found[0].to_string().ends_with("rests on 1.0 rows"), "{}", found[0]);
    // A search finds none.
    assert_eq!(fitted(fixed(1), &data, 0).0.degenerate(), []);
    let searched = GaussianMixtureConfig { covariance: Covariance::Full, ..Default::default() };
    assert_eq!(fitted(searched, &data, 0).0.degenerate(), []);
}

#[test]
fn degenerate_components_are_those_at_the_floor() {
    let rng = &mut seeded(1);
    // Half of the rows on a line.
    let x = Array2::from_shape_fn((400, 2), |(r, c)| {
        if r % 2 == 0 { 8.0 + r as f32 * (c + 1) as f32 / 400.0 } else { <f32 as Real>::normal(rng) }
    });
    let config = GaussianMixtureConfig { shrinkage: 0.0, ..fixed(2) };
    let (model, _) = fitted(config, &Dataset::new(x).unwrap(), 0);
    let found = model.degenerate();
    assert_eq!(found.len(), 1, "{found:?}");
    // The ridge leaves a thousandth across the line, along v = (1.83, −1)/2.08 in standard units: over |v₀| that of the
    // first column.
    assert!(found[0].collapsed && (found[0].smallest_sd / 1.14e-3 - 1.0).abs() < 0.03, "{found:?}");
    assert!((found[0].rows.unwrap() - 200.0).abs() < 1.0, "{found:?}");
    assert_eq!(found[0].column, 0);
    assert!(found[0].to_string().contains("has collapsed"), "{}", found[0]);
}

#[test]
fn degenerate_components_of_given_parameters_are_those_at_the_floor() {
    let covariances = array![[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1e-9]]];
    let means = array![[0.0, 0.0], [1.0, 1.0]];
    let model =
        GaussianMixture::from_parameters(fixed(2), &[0.999999, 0.000001], means.view(), covariances.view());
    let found = model.unwrap().degenerate();
    assert_eq!((found.len(), found[0].component, found[0].column, found[0].rows), (1, 1, 1, None));
}

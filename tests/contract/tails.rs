//! Columns with heavy tails and rows far from all others: units, densities and draws hold.

use super::*;
use quadrivium::LikelihoodKind;
use quadrivium::numeric::Real;

/// A column of Student's t with two degrees of freedom, and a normal one with one row at 10⁵.
fn heavy(n: usize) -> Dataset {
    let mut rng = seeded(4);
    let mut normal = || f64::normal(&mut rng);
    let x = Array2::from_shape_fn((n, 2), |(row, column)| match column {
        0 => (normal() / (0.5 * (normal().powi(2) + normal().powi(2))).sqrt()) as f32,
        _ if row == n / 3 => 1e5,
        _ => normal() as f32,
    });
    Dataset::new(x).unwrap()
}

pub fn heavy_columns_train_draw_and_score(subject: &Subject) {
    let mut model = subject.fresh();
    model.train(&heavy(3000), &short(30), &mut seeded(2), &mut NoObserver).unwrap();
    assert!(sample(model.as_ref(), 200, 0).x.iter().all(|v| v.is_finite()));
    let bulk = array![[0.0, 0.0], [1.0, -1.0], [-2.0, 0.5]];
    let Some(near) = nats(model.as_ref(), &bulk) else { return };
    assert!(near.iter().all(|&nats| nats > -60.0), "{near:?}");
    let far = array![[1e5, 0.0], [-3e7, 2e6], [0.0, 1e20], [f32::MAX, f32::MIN]];
    let far = nats(model.as_ref(), &far).unwrap();
    assert!(far.iter().all(|&nats| nats < -15.0), "{far:?}");
}

some_keep! {
    tails::one_far_row_costs_the_others_little:
    autoregressive_mixture, flow_coupling_spline, vae, diffusion_ddpm, flow_matching_matched,
}

/// In units of the mean and the standard deviation, the far row's, every other row would cost 16 nats.
pub fn one_far_row_costs_the_others_little(subject: &Subject) {
    let rng = &mut seeded(5);
    let mut x = Array2::from_shape_simple_fn((1000, 2), || f32::normal(rng));
    x.row_mut(17).fill(1e6);
    let test = Array2::from_shape_simple_fn((200, 2), || f32::normal(rng));
    let truth = test.iter().map(|x| 0.5 * f64::from(x * x) + 0.919).sum::<f64>() / 200.0;
    let mut model = subject.fresh();
    model.train(&Dataset::new(x).unwrap(), &short(300), &mut seeded(2), &mut NoObserver).unwrap();
    let nats = nats(model.as_ref(), &test).unwrap();
    let gap = -nats.iter().sum::<f64>() / 200.0 - truth;
    assert!(gap < 0.5, "{gap} nats");
}

some_keep! {
    tails::density_on_a_heavy_column_integrates_to_one:
    autoregressive_mixture, flow_masked_affine, vae, diffusion_ddpm, energy_normalized, flow_matching_matched,
}

/// ∫ p dx over the line, with x = sinh s.
pub fn density_on_a_heavy_column_integrates_to_one(subject: &Subject) {
    let data = Dataset::new(heavy(3000).x().slice(s![.., ..1]).to_owned()).unwrap();
    let mut model = subject.made(&Setting { dim: 1, ..Setting::default() });
    model.train(&data, &short(60), &mut seeded(2), &mut NoObserver).unwrap();
    let h = 0.05;
    let s = |k: usize| h * (k as f64 - 500.0);
    let x = Array2::from_shape_fn((1001, 1), |(k, _)| s(k).sinh() as f32);
    let nats = nats(model.as_ref(), &x).unwrap();
    let mass: f64 = nats.iter().enumerate().map(|(k, nats)| h * s(k).cosh() * nats.exp()).sum();
    // A bound from below has less than all of it.
    let least = if subject.likelihood == LikelihoodKind::LowerBound { 0.8 } else { 0.998 };
    assert!(mass > least && mass < 1.002, "{mass}");
}

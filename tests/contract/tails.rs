//! Columns with heavy tails and rows far from all others: units, densities and draws hold.

use super::*;
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

#[test]
fn heavy_columns_train_draw_and_score() {
    let data = heavy(3000);
    let bulk = array![[0.0, 0.0], [1.0, -1.0], [-2.0, 0.5]];
    let far = array![[1e5, 0.0], [-3e7, 2e6], [0.0, 1e20], [f32::MAX, f32::MIN]];
    for mut model in models() {
        let name = name(model.as_ref());
        // Baselines work in the units of the data.
        if name.contains("KDE") || name.contains("mixture") {
            continue;
        }
        model.train(&data, &short(30), &mut seeded(2), &mut Silent).unwrap();
        assert!(sample(model.as_ref(), 200, 0).x.iter().all(|v| v.is_finite()), "{name}");
        let Some(nats) = nats(model.as_ref(), &bulk) else { continue };
        assert!(nats.iter().all(|&nats| nats > -60.0), "{name}: {nats:?}");
        let nats = super::nats(model.as_ref(), &far).unwrap();
        assert!(nats.iter().all(|&nats| nats < -15.0), "{name}: {nats:?}");
    }
}

/// In units of the mean and the standard deviation, the far row's, every other row would cost 16 nats.
#[test]
fn one_far_row_costs_the_others_little() {
    let (rng, hidden) = (&mut seeded(5), vec![32, 32]);
    let transform = Transform::Spline { bins: 8, bound: 4.0 };
    let mut models: Vec<Box<dyn Generative>> = vec![
        Box::new(
            Autoregressive::new(AutoregressiveConfig { hidden: hidden.clone(), ..Default::default() }, rng)
                .unwrap(),
        ),
        Box::new(
            Flow::new(FlowConfig { transform, hidden: hidden.clone(), ..Default::default() }, rng).unwrap(),
        ),
        Box::new(
            Vae::new(VaeConfig { hidden: hidden.clone(), draws: 20, ..Default::default() }, rng).unwrap(),
        ),
        Box::new(
            Diffusion::new(DiffusionConfig { hidden: hidden.clone(), ..Default::default() }, rng).unwrap(),
        ),
        Box::new(FlowMatching::new(FlowMatchingConfig { hidden, ..Default::default() }, rng).unwrap()),
    ];
    let mut x = Array2::from_shape_simple_fn((1000, 2), || f32::normal(rng));
    x.row_mut(17).fill(1e6);
    let data = Dataset::new(x).unwrap();
    let test = Array2::from_shape_simple_fn((200, 2), || f32::normal(rng));
    let truth = test.iter().map(|x| 0.5 * f64::from(x * x) + 0.919).sum::<f64>() / 200.0;
    for model in &mut models {
        model.train(&data, &short(300), &mut seeded(2), &mut Silent).unwrap();
        let nats = nats(model.as_ref(), &test).unwrap();
        let gap = -nats.iter().sum::<f64>() / 200.0 - truth;
        assert!(gap < 0.5, "{}: {gap} nats", name(model.as_ref()));
    }
}

/// ∫ p dx over the line, with x = sinh s.
fn mass(model: &dyn Generative) -> f64 {
    let h = 0.05;
    let s = |k: usize| h * (k as f64 - 500.0);
    let x = Array2::from_shape_fn((1001, 1), |(k, _)| s(k).sinh() as f32);
    let nats = nats(model, &x).unwrap();
    nats.iter().enumerate().map(|(k, nats)| h * s(k).cosh() * nats.exp()).sum()
}

#[test]
fn densities_on_a_heavy_column_integrate_to_one() {
    let rng = &mut seeded(5);
    let hidden = vec![16, 16];
    let normalisation = Normalisation::Quadrature { intervals: 200 };
    let architecture = Architecture::MaskedAutoregressive;
    let (source, coupling) = (Source::Gaussian, Pairing::OptimalTransport { rows: 32 });
    let head = Head::Mixture { components: 5 };
    let mut models: Vec<Box<dyn Generative>> = vec![
        Box::new(
            Autoregressive::new(AutoregressiveConfig { dim: 1, head, ..Default::default() }, rng).unwrap(),
        ),
        Box::new(
            Flow::new(FlowConfig { dim: 1, architecture, hidden: hidden.clone(), ..Default::default() }, rng)
                .unwrap(),
        ),
        Box::new(
            Diffusion::new(DiffusionConfig { dim: 1, hidden: hidden.clone(), ..Default::default() }, rng)
                .unwrap(),
        ),
        Box::new(
            FlowMatching::new(
                FlowMatchingConfig { dim: 1, hidden: hidden.clone(), source, coupling, ..Default::default() },
                rng,
            )
            .unwrap(),
        ),
        Box::new(
            EnergyModel::new(
                EnergyConfig {
                    dim: 1,
                    hidden: hidden.clone(),
                    normalisation,
                    training: EnergyTraining::DenoisingScoreMatching { sigma: 0.2 },
                    ..Default::default()
                },
                rng,
            )
            .unwrap(),
        ),
        Box::new(
            Vae::new(VaeConfig { dim: 1, latent_dim: 1, hidden, draws: 200, ..Default::default() }, rng)
                .unwrap(),
        ),
    ];
    let data = Dataset::new(heavy(3000).x().slice(s![.., ..1]).to_owned()).unwrap();
    for model in &mut models {
        model.train(&data, &short(60), &mut seeded(2), &mut Silent).unwrap();
        let (name, mass) = (name(model.as_ref()), mass(model.as_ref()));
        // A bound from below has less than all of it.
        let least = if model.card().likelihood == LikelihoodKind::LowerBound { 0.8 } else { 0.998 };
        assert!(mass > least && mass < 1.002, "{name}: {mass}");
    }
}

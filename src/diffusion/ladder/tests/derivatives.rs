//! The gradient of sliced score matching, in f64, against central differences of its own loss with the noise held
//! fixed, and against JAX (`tests/golden/energy.py`).

use crate::nn::NetworkSpec;
use std::collections::HashMap;

use crate::diffusion::network::NoiseNet;
use crate::diffusion::objective::{Drawn, Levels, NoiseMse, Sliced, SlicedScore};
use crate::diffusion::{DiffusionConfig, NoiseLevel};
use crate::engine::{Batch, ConditionKind};
use crate::nn::Activation;
use crate::numeric::rng::seeded;
use crate::testing::{Golden, check_gradient, normals, sines};

const SMOOTH: [Activation; 4] = [Activation::Silu, Activation::Tanh, Activation::Gelu, Activation::Softplus];

#[test]
fn score_sliced_gradient_is_that_of_its_loss() {
    for (dim, activation) in [1, 3].into_iter().flat_map(|dim| SMOOTH.map(|activation| (dim, activation))) {
        for condition in [ConditionKind::None, ConditionKind::Vector { dim: 2 }] {
            let net = small_score(dim, activation, condition);
            let levels = [0.1, 0.8, 3.0].map(|sigma: f64| NoiseLevel::at_log_snr(-2.0 * sigma.ln()));
            let loss = SlicedScore(NoiseMse { net: &net, ends: Levels::Timesteps(&levels), dropout: 0.3 });
            let (rng, rows, params) = (&mut seeded(1), 5, net.num_params());
            let p: Vec<f64> = normals::<f64>(params, rng).iter().map(|p| 0.5 * p).collect();
            let (mut x, c) = (normals(rows * dim, rng), normals(rows * condition.width(), rng));
            // A row out of reach.
            x[0] = 30.0;
            let what = format!("{activation:?}, {dim} columns, {condition:?}");
            let dp = check_gradient(&what, &loss, &p, rows, Batch { x: &x, c: &c }, |_| false).dp;
            assert!(dp.iter().filter(|dp| dp.abs() > 1e-6).count() > params / 2, "{what}: {dp:?}");
        }
    }
}

fn small_score(dim: usize, activation: Activation, condition: ConditionKind) -> NoiseNet<f64> {
    let (hidden, octaves, time_features) = (vec![6, 5], 2, 4);
    let config = DiffusionConfig {
        dim,
        network: NetworkSpec::mlp(hidden, activation, octaves),
        time_features,
        condition,
        ..Default::default()
    };
    NoiseNet::new(&config).unwrap()
}

#[test]
fn agrees_with_an_independent_automatic_differentiation() {
    let golden: HashMap<String, Golden> =
        serde_json::from_str(include_str!("../../../../tests/golden/energy.json")).unwrap();
    let (rows, dim) = (4, 3);
    let (x, eps) = (sines(rows * dim, 1.1, 1.0), sines(rows * dim, 2.3, 1.2));

    let net = small_score(dim, Activation::Silu, ConditionKind::None);
    let objective = SlicedScore(NoiseMse { net: &net, ends: Levels::Timesteps(&[]), dropout: 0.0 });
    let levels = [0.1, 0.5, 1.0, 2.0].map(|sigma: f64| NoiseLevel::at_log_snr(-2.0 * sigma.ln()));
    let noise = Sliced {
        noisy: Drawn { levels: levels.to_vec(), ends: eps, ..Default::default() },
        v: sines(rows * dim, 0.4, 1.0).iter().map(|v| v.signum()).collect(),
    };
    golden["sliced"].compare("sliced", &objective, &x, &noise);
}

//! Each objective's gradient, in f64, against central differences of its own loss with the noise held fixed,
//! and against JAX (`tests/golden/energy.py`).

use crate::nn::NetworkSpec;
use std::collections::HashMap;

use crate::energy::network::Pass;
use crate::energy::objective::Contrast;
use crate::energy::*;
use crate::engine::{Batch, Loss as _};
use crate::nn::Activation;
use crate::numeric::rng::seeded;
use crate::testing::{self, Golden, PROGRESS, assert_close, check_gradient, differences, sines};

const SMOOTH: [Activation; 4] = [Activation::Silu, Activation::Tanh, Activation::Gelu, Activation::Softplus];

fn energy(dim: usize, activation: Activation) -> Energy {
    under(ConditionKind::None, dim, activation)
}

fn under(condition: ConditionKind, dim: usize, activation: Activation) -> Energy {
    let hidden = vec![7, 5];
    let config = EnergyConfig {
        dim,
        network: NetworkSpec::mlp(hidden, activation, 2),
        width: 2.0,
        condition,
        ..Default::default()
    };
    Energy::new(&config)
}

/// None, and one of three columns.
const CONDITIONS: [ConditionKind; 2] = [ConditionKind::None, ConditionKind::Vector { dim: 2 }];

fn normals(n: usize, seed: u64) -> Vec<f64> {
    testing::normals(n, &mut seeded(seed))
}

/// The gradient of a loss, at parameters none of which is zero, of rows of `dim` columns and conditions of `width`.
fn check<O: engine::Loss<f64, Row = f64>>(
    what: &str,
    objective: &O,
    params: usize,
    (dim, width): (usize, usize),
) {
    let (p, mut x) = (normals(params, 1).iter().map(|p| 0.5 * p).collect::<Vec<_>>(), normals(5 * dim, 2));
    // A row out of reach.
    x[0] = 30.0;
    let c = normals(5 * width, 7);
    let dp = check_gradient(what, objective, &p, 5, Batch { x: &x, c: &c }, |_| false).dp;
    assert!(dp.iter().filter(|dp| dp.abs() > 1e-6).count() > params / 2, "{what}: {dp:?}");
}

#[test]
fn energy_denoising_has_the_gradient_of_its_loss() {
    for activation in SMOOTH {
        for dim in [1, 3] {
            for condition in CONDITIONS {
                let energy = under(condition, dim, activation);
                let objective = DenoisingScore { energy: &energy, sigma: 0.4 };
                let what = format!("{activation:?}, {dim} columns, {condition:?}");
                check(&what, &objective, energy.num_params(), (dim, condition.width()));
            }
        }
    }
}

fn contrast(energy: &Energy, magnitude: f64) -> Contrast<'_, f64> {
    let p: Vec<f64> = normals(energy.num_params(), 3).iter().map(|p| 0.3 * p).collect();
    let mut t = p.clone();
    energy.transpose(&p, &mut t);
    let langevin = Langevin { steps: 4, first: 0.5, last: 0.1, ..Default::default() };
    Contrast { energy, langevin, chains: 8, restart: 0.1, magnitude, now: (p, t) }
}

#[test]
fn energy_contrast_has_the_gradient_of_its_loss_while_the_chains_stand() {
    for magnitude in [0.0, 0.3] {
        for dim in [1, 3] {
            for condition in CONDITIONS {
                let energy = under(condition, dim, Activation::Silu);
                let objective = contrast(&energy, magnitude);
                let what = format!("magnitude {magnitude}, {dim} columns, {condition:?}");
                check(&what, &objective, energy.num_params(), (dim, condition.width()));
            }
        }
    }
}

#[test]
fn the_contrast_is_the_difference_of_energies_and_its_regularizer() {
    let energy = energy(2, Activation::Tanh);
    let (objective, x) = (contrast(&energy, 0.3), normals(10, 2));
    let p: Vec<f64> = normals(energy.num_params(), 1);
    let (mut chains, mut parts) = (Default::default(), [0.0; 2]);
    objective.draw(5, &[], PROGRESS, &mut seeded(5), &mut chains);
    let w = Weights { p: &p, t: &[] };
    let loss = objective.loss_grad(w, Batch::of(&x), &chains, 0.0, None, &mut parts, &mut Default::default());
    let f = |rows: &[f64]| energy.infer(&p, rows, &[], &mut Pass::default()).to_vec();
    let total = |rows: &[f64]| {
        f(rows).iter().zip(rows.chunks(2)).map(|(f, z)| f + (z[0] * z[0] + z[1] * z[1]) / 8.0).sum::<f64>()
    };
    let squares: f64 = f(&x).iter().chain(&f(&chains.x)).map(|f| f * f).sum();
    assert_close("parts", 1e-12, &parts, &[total(&x), total(&chains.x)]);
    assert_close("loss", 1e-12, &[loss], &[total(&x) - total(&chains.x) + 0.3 * squares]);
}

#[test]
fn the_slope_is_that_of_the_energy() {
    for condition in CONDITIONS {
        let energy = under(condition, 3, Activation::Silu);
        let (p, mut z) = (normals(energy.num_params(), 1), normals(6, 2));
        z[1] = -14.0;
        let c = normals(2 * condition.width(), 7);
        let (mut t, mut pass) = (p.clone(), Pass::default());
        energy.transpose(&p, &mut t);
        let w = Weights { p: &p, t: &t };
        // Dirty buffers.
        energy.evaluate(w, &normals(15, 4), &normals(5 * condition.width(), 4), &mut pass);
        energy.evaluate(w, &z, &c, &mut pass);
        let at = |z: &[f64]| {
            let mut pass = Pass::default();
            energy.evaluate(w, z, &c, &mut pass);
            pass.e.iter().sum()
        };
        assert_close("∇E", 1e-6, &pass.g, &differences(&z, at));
    }
}

#[test]
fn agrees_with_an_independent_automatic_differentiation() {
    let golden: HashMap<String, Golden> =
        serde_json::from_str(include_str!("../../../tests/golden/energy.json")).unwrap();
    let (rows, dim) = (4, 3);
    let (x, eps) = (sines(rows * dim, 1.1, 1.0), sines(rows * dim, 2.3, 1.2));

    let config = EnergyConfig {
        dim,
        network: NetworkSpec::mlp([6, 5], Activation::Silu, 2),
        width: 1.5,
        ..Default::default()
    };
    let energy = Energy::new(&config);
    let objective = DenoisingScore { energy: &energy, sigma: 0.3 };
    golden["denoising"].compare("denoising", &objective, &x, &eps);
}

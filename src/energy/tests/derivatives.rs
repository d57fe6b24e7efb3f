//! Each objective's gradient, in f64, against central differences of its own loss with the noise held fixed,
//! and against JAX (`tests/golden/energy.py`).

use std::collections::HashMap;

use crate::energy::network::Pass;
use crate::energy::objective::Contrast;
use crate::energy::*;
use crate::engine::{Batch, Loss as _, Progress};
use crate::nn::Activation;
use crate::numeric::Real;
use crate::numeric::rng::seeded;

const PROGRESS: Progress = Progress { step: 0, steps: 1 };
const SMOOTH: [Activation; 4] = [Activation::Silu, Activation::Tanh, Activation::Gelu, Activation::Softplus];

fn normals(n: usize, seed: u64) -> Vec<f64> {
    let mut rng = seeded(seed);
    (0..n).map(|_| f64::normal(&mut rng)).collect()
}

/// Central differences of `f` along each coordinate of `v`.
fn differences(v: &[f64], mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let (mut v, h) = (v.to_vec(), 1e-5);
    (0..v.len())
        .map(|i| {
            let at = v[i];
            v[i] = at + h;
            let above = f(&v);
            v[i] = at - h;
            let below = f(&v);
            v[i] = at;
            (above - below) / (2.0 * h)
        })
        .collect()
}

fn assert_close(what: &str, tolerance: f64, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance * (1.0 + want.abs()), "{what}[{i}]: {got}, expected {want}");
    }
}

fn energy(dim: usize, activation: Activation) -> Energy {
    under(ConditionKind::None, dim, activation)
}

fn under(condition: ConditionKind, dim: usize, activation: Activation) -> Energy {
    let hidden = vec![7, 5];
    let config =
        EnergyConfig { dim, hidden, activation, octaves: 2, width: 2.0, condition, ..Default::default() };
    Energy::new(&config)
}

/// None, and one of three columns.
const CONDITIONS: [ConditionKind; 2] = [ConditionKind::None, ConditionKind::Vector { dim: 2 }];

/// The loss and weight · gradient of an objective on 5 rows x under conditions c, with the noise of seed 5. Buffers
/// are dirty from more rows.
fn loss_grad<O: engine::Loss<f64, Row = f64>>(
    objective: &O,
    p: &[f64],
    x: &[f64],
    c: &[f64],
    weight: f64,
) -> (f64, Vec<f64>) {
    let mut noise = O::Drawn::default();
    let (mut scratch, mut parts) = (O::Workspace::default(), vec![0.0; objective.part_names().len()]);
    let (mut t, mut dp) = (vec![f64::NAN; p.len()], vec![0.0; p.len()]);
    objective.transpose(p, &mut t);
    let w = Weights { p, t: &t };
    let twice = [[x, x].concat(), [c, c].concat()];
    let batch = Batch { x: &twice[0], c: &twice[1] };
    objective.draw(10, batch.c, PROGRESS, &mut seeded(4), &mut noise);
    objective.loss_grad(w, batch, &noise, weight, Some(&mut dp), &mut parts, &mut scratch);
    objective.draw(5, c, PROGRESS, &mut seeded(5), &mut noise);
    dp.fill(0.0);
    let batch = Batch { x, c };
    let loss = objective.loss_grad(w, batch, &noise, weight, Some(&mut dp), &mut parts, &mut scratch);
    // The same loss where no gradient is wanted and no transposed parameters are at hand.
    let w = Weights { p, t: &[] };
    let again = objective.loss_grad(w, batch, &noise, 0.0, None, &mut parts, &mut scratch);
    assert!((again - loss).abs() < 1e-12 * (1.0 + loss.abs()), "{loss}, without a gradient {again}");
    (loss, dp)
}

/// dp against differences of the loss, at parameters none of which is zero, of rows of `dim` columns and conditions of
/// `width`.
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
    let (_, dp) = loss_grad(objective, &p, &x, &c, 0.7);
    let want = differences(&p, |p| 0.7 * loss_grad(objective, p, &x, &c, 1.0).0);
    assert_close(what, 1e-6, &dp, &want);
    assert!(dp.iter().filter(|dp| dp.abs() > 1e-6).count() > params / 2, "{what}: {dp:?}");
}

#[test]
fn denoising_has_the_gradient_of_its_loss() {
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
fn the_contrast_has_the_gradient_of_its_loss_while_the_chains_stand() {
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
fn the_contrast_is_the_difference_of_energies_and_its_regulariser() {
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

/// As in the script: numbers that both sides can make.
fn wave(n: usize, phase: f64, scale: f64) -> Vec<f64> {
    (1..=n).map(|i| scale * (1.7 * i as f64 + phase).sin()).collect()
}

#[derive(serde::Deserialize)]
struct Golden {
    loss: f64,
    dp: Vec<f64>,
}

#[test]
fn agrees_with_an_independent_automatic_differentiation() {
    let golden: HashMap<String, Golden> =
        serde_json::from_str(include_str!("../../../tests/golden/energy.json")).unwrap();
    let (rows, dim) = (4, 3);
    let (x, eps) = (wave(rows * dim, 1.1, 1.0), wave(rows * dim, 2.3, 1.2));

    let config = EnergyConfig { dim, hidden: vec![6, 5], octaves: 2, width: 1.5, ..Default::default() };
    let energy = Energy::new(&config);
    let objective = DenoisingScore { energy: &energy, sigma: 0.3 };
    compare("denoising", &objective, energy.num_params(), &x, &eps, &golden["denoising"]);
}

fn compare<O: engine::Loss<f64, Row = f64>>(
    what: &str,
    objective: &O,
    params: usize,
    x: &[f64],
    noise: &O::Drawn,
    golden: &Golden,
) {
    let p = wave(params, 0.3, 0.6);
    let (mut t, mut dp) = (p.clone(), vec![0.0; params]);
    objective.transpose(&p, &mut t);
    let w = Weights { p: &p, t: &t };
    let loss = objective.loss_grad(
        w,
        Batch::of(x),
        noise,
        1.0,
        Some(&mut dp),
        &mut [],
        &mut O::Workspace::default(),
    );
    assert_close(&format!("{what}, loss"), 1e-10, &[loss], &[golden.loss]);
    assert_close(&format!("{what}, dp"), 1e-10, &dp, &golden.dp);
}

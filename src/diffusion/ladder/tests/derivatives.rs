//! The gradient of sliced score matching, in f64, against central differences of its own loss with the noise held
//! fixed, and against JAX (`tests/golden/energy.py`).

use std::collections::HashMap;

use crate::diffusion::network::NoiseNet;
use crate::diffusion::objective::{Drawn, Levels, NoiseMse, Sliced, SlicedScore};
use crate::diffusion::{DiffusionConfig, NoiseLevel};
use crate::engine::{Batch, Loss, Progress};
use crate::nn::{Activation, Weights};
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

/// The loss and weight · gradient of an objective on 5 rows x, with the noise of seed 5. Buffers are dirty
/// from more rows.
fn loss_grad<O: Loss<f64, Row = f64>>(objective: &O, p: &[f64], x: &[f64], weight: f64) -> (f64, Vec<f64>) {
    let mut noise = O::Drawn::default();
    let (mut scratch, mut parts) = (O::Workspace::default(), vec![0.0; objective.part_names().len()]);
    let (mut t, mut dp) = (vec![f64::NAN; p.len()], vec![0.0; p.len()]);
    objective.transpose(p, &mut t);
    let w = Weights { p, t: &t };
    objective.draw(10, &[], PROGRESS, &mut seeded(4), &mut noise);
    objective.loss_grad(
        w,
        Batch::of(&[x, x].concat()),
        &noise,
        weight,
        Some(&mut dp),
        &mut parts,
        &mut scratch,
    );
    objective.draw(5, &[], PROGRESS, &mut seeded(5), &mut noise);
    dp.fill(0.0);
    let loss = objective.loss_grad(w, Batch::of(x), &noise, weight, Some(&mut dp), &mut parts, &mut scratch);
    // The same loss where no gradient is wanted and no transposed parameters are at hand.
    let w = Weights { p, t: &[] };
    let again = objective.loss_grad(w, Batch::of(x), &noise, 0.0, None, &mut parts, &mut scratch);
    assert!((again - loss).abs() < 1e-12 * (1.0 + loss.abs()), "{loss}, without a gradient {again}");
    (loss, dp)
}

/// dp against differences of the loss, at parameters none of which is zero.
fn check<O: Loss<f64, Row = f64>>(what: &str, objective: &O, params: usize, dim: usize) {
    let (p, mut x) = (normals(params, 1).iter().map(|p| 0.5 * p).collect::<Vec<_>>(), normals(5 * dim, 2));
    // A row out of reach.
    x[0] = 30.0;
    let (_, dp) = loss_grad(objective, &p, &x, 0.7);
    let want = differences(&p, |p| 0.7 * loss_grad(objective, p, &x, 1.0).0);
    assert_close(what, 1e-6, &dp, &want);
    assert!(dp.iter().filter(|dp| dp.abs() > 1e-6).count() > params / 2, "{what}: {dp:?}");
}

#[test]
fn sliced_has_the_gradient_of_its_loss() {
    for activation in SMOOTH {
        for dim in [1, 3] {
            let net = small_score(dim, activation);
            let levels = [0.1, 0.8, 3.0].map(|sigma: f64| NoiseLevel::at_log_snr(-2.0 * sigma.ln()));
            let objective =
                SlicedScore(NoiseMse { net: &net, ends: Levels::Timesteps(&levels), dropout: 0.0 });
            check(&format!("{activation:?}, {dim} columns"), &objective, net.num_params(), dim);
        }
    }
}

fn small_score(dim: usize, activation: Activation) -> NoiseNet<f64> {
    let (hidden, octaves, time_features) = (vec![6, 5], 2, 4);
    NoiseNet::new(&DiffusionConfig { dim, hidden, activation, octaves, time_features, ..Default::default() })
        .unwrap()
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
        serde_json::from_str(include_str!("../../../../tests/golden/energy.json")).unwrap();
    let (rows, dim) = (4, 3);
    let (x, eps) = (wave(rows * dim, 1.1, 1.0), wave(rows * dim, 2.3, 1.2));

    let net = small_score(dim, Activation::Silu);
    let objective = SlicedScore(NoiseMse { net: &net, ends: Levels::Timesteps(&[]), dropout: 0.0 });
    let levels = [0.1, 0.5, 1.0, 2.0].map(|sigma: f64| NoiseLevel::at_log_snr(-2.0 * sigma.ln()));
    let noise = Sliced {
        noisy: Drawn { levels: levels.to_vec(), ends: eps, ..Default::default() },
        v: wave(rows * dim, 0.4, 1.0).iter().map(|v| v.signum()).collect(),
    };
    compare("sliced", &objective, net.num_params(), &x, &noise, &golden["sliced"]);
}

fn compare<O: Loss<f64, Row = f64>>(
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

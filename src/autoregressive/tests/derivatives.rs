//! The network: its gradient by central differences, what its outputs see, and its steps.

use super::super::network::{Drawn, Pass};
use super::super::objective::Scratch;
use super::*;
use crate::engine::{Batch, Loss as _};
use crate::nn::Weights;

/// Without a condition, and with one of three columns.
const KINDS: [ConditionKind; 2] = [ConditionKind::None, ConditionKind::Vector { dim: 2 }];

/// Of `rows` rows, and a condition for each.
fn batch<F: Real>(rows: usize, dim: usize, condition: ConditionKind, seed: u64) -> (Vec<F>, Vec<F>) {
    let rng = &mut seeded(seed);
    (normals(rows * dim, rng), normals(rows * condition.width(), rng))
}

/// The loss and its gradient at p.
fn loss_grad(model: &Autoregressive, p: &[f64], (x, c): (&[f64], &[f64]), weight: f64) -> (f64, Vec<f64>) {
    let objective = ChainRuleNll { made: &model.made, conditionals: &model.conditionals };
    let (mut t, mut dp, mut scratch) = (vec![f64::NAN; p.len()], vec![0.0; p.len()], Scratch::default());
    objective.transpose(p, &mut t);
    // Buffers dirty from other rows must not matter.
    objective.loss_grad(
        Weights { p, t: &[] },
        Batch { x: &[x, x].concat(), c: &[c, c].concat() },
        &(),
        0.0,
        None,
        &mut [],
        &mut scratch,
    );
    let w = Weights { p, t: &t };
    let loss = objective.loss_grad(w, Batch { x, c }, &(), weight, Some(&mut dp), &mut [], &mut scratch);
    (loss, dp)
}

/// A small model whose parameters are all random, but for the masked ones; those are where a gradient is
/// exactly 0.
pub(super) fn shaken(
    dim: usize,
    head: Head,
    condition: ConditionKind,
) -> (Autoregressive, Vec<f64>, Vec<bool>) {
    let hidden = vec![13, 9];
    let config = AutoregressiveConfig { dim, hidden, octaves: 2, head, condition, ..Default::default() };
    let mut model = Autoregressive::new(config, &mut seeded(0)).unwrap();
    let rng = &mut seeded(1);
    let start = &model.parameters.p;
    let mut p: Vec<f64> = start.iter().map(|&p| f64::from(p) + 0.3 * f64::normal(rng)).collect();
    let (x, c) = batch(4, dim, condition, 7);
    let (_, dp) = loss_grad(&model, &p, (&x, &c), 1.0);
    let open: Vec<bool> = dp.iter().map(|&dp| dp != 0.0).collect();
    p.iter_mut().zip(&open).filter(|(_, open)| !**open).for_each(|(p, _)| *p = 0.0);
    model.parameters = Parameters::new(p.iter().map(|&p| p as f32).collect());
    (model, p, open)
}

#[test]
fn the_gradient_is_that_of_the_loss() {
    let heads = [(1, MIXTURE), (2, MIXTURE), (4, MIXTURE), (1, BINS), (2, BINS), (4, BINS)];
    for ((dim, head), condition) in heads.into_iter().flat_map(|head| KINDS.map(|kind| (head, kind))) {
        let (model, mut p, open) = shaken(dim, head, condition);
        let (mut x, c) = batch::<f64>(5, dim, condition, 3);
        // Both tails of the bins, and rows beyond the reach of the network's eye.
        (x[0], x[dim]) = (-7.0, 30.0);
        let (weight, h) = (0.7, 1e-5);
        let (_, dp) = loss_grad(&model, &p, (&x, &c), weight);
        for at in (0..p.len()).filter(|&at| open[at]) {
            let here = p[at];
            p[at] = here + h;
            let (above, _) = loss_grad(&model, &p, (&x, &c), weight);
            p[at] = here - h;
            let (below, _) = loss_grad(&model, &p, (&x, &c), weight);
            p[at] = here;
            let slope = weight * (above - below) / (2.0 * h);
            let close = (dp[at] - slope).abs() < 1e-6 * (1.0 + slope.abs());
            assert!(
                close,
                "{head:?}, {condition:?}, {dim} columns, dp[{at}] = {}, by differences {slope}",
                dp[at]
            );
        }
    }
}

#[test]
fn output_i_sees_the_condition_all_coordinates_before_i_and_no_other() {
    for (dim, condition) in [1, 2, 3, 6].into_iter().flat_map(|dim| KINDS.map(|kind| (dim, kind))) {
        let (model, p, _) = shaken(dim, MIXTURE, condition);
        let (x, c) = batch::<f64>(1, dim, condition, 4);
        let outputs = |x: &[f64], c: &[f64]| {
            let mut pass = Pass::default();
            model.made.infer(&p, x, c, &mut pass);
            pass.y
        };
        let (y, width) = (outputs(&x, &c), model.conditionals[0].outputs());
        for j in 0..dim {
            let mut moved = x.clone();
            moved[j] += 0.1;
            let moved = outputs(&moved, &c);
            for i in 0..dim {
                let same = y[i * width..(i + 1) * width] == moved[i * width..(i + 1) * width];
                assert_eq!(same, j >= i, "output {i} of {dim}, coordinate {j} moved");
            }
        }
        for j in 0..c.len() {
            let mut moved = c.clone();
            moved[j] += 0.1;
            let moved = outputs(&x, &moved);
            for (i, (y, moved)) in y.chunks(width).zip(moved.chunks(width)).enumerate() {
                assert!(y != moved, "output {i} of {dim} does not see column {j} of the condition");
            }
        }
    }
}

#[test]
fn a_sampler_step_equals_the_whole_network() {
    for (dim, condition) in [1, 2, 3, 8].into_iter().flat_map(|dim| KINDS.map(|kind| (dim, kind))) {
        let (model, _, _) = shaken(dim, MIXTURE, condition);
        let (made, p) = (&model.made, &model.parameters.average);
        let (mut pass, mut drawn) = (Pass::default(), Drawn::default());
        // The second tile finds the buffers of a larger one.
        for rows in [5, 3] {
            let (x, c) = batch::<f32>(rows, dim, condition, 5);
            made.infer(p, &x, &c, &mut pass);
            let n = rows * model.conditionals[0].outputs();
            // A step must not look at what has not been drawn.
            let mut known = vec![f32::NAN; x.len()];
            for i in 0..dim {
                for (got, want) in made.step(p, &known, &c, i, &mut drawn).iter().zip(&pass.y[i * n..]) {
                    assert!((got - want).abs() < 1e-5 * (1.0 + want.abs()), "output {i} of {dim}");
                }
                known.chunks_exact_mut(dim).zip(x.chunks_exact(dim)).for_each(|(to, from)| to[i] = from[i]);
            }
        }
    }
}

//! The network: its gradient by central differences, what its outputs see, and its steps.

use super::super::network::{Drawn, Pass};
use super::*;
use crate::engine::Batch;
use crate::testing::{check_gradient, loss_grad};

/// Without a condition, and with one of three columns.
const KINDS: [ConditionKind; 2] = [ConditionKind::None, ConditionKind::Vector { dim: 2 }];

/// Of `rows` rows, and a condition for each.
fn batch<F: Real>(rows: usize, dim: usize, condition: ConditionKind, seed: u64) -> (Vec<F>, Vec<F>) {
    let rng = &mut seeded(seed);
    (normals(rows * dim, rng), normals(rows * condition.width(), rng))
}

/// A small model whose parameters are all random, but for the masked ones; those are where a gradient is
/// exactly 0.
pub(super) fn shaken(
    dim: usize,
    head: Head,
    condition: ConditionKind,
) -> (Autoregressive, Vec<f64>, Vec<bool>) {
    let hidden = vec![13, 9];
    let config = AutoregressiveConfig {
        dim,
        network: NetworkSpec::mlp(hidden, Activation::Silu, 2),
        head,
        condition,
        ..Default::default()
    };
    let mut model = Autoregressive::new(config, &mut seeded(0)).unwrap();
    let rng = &mut seeded(1);
    let start = &model.parameters.p;
    let mut p: Vec<f64> = start.iter().map(|&p| f64::from(p) + 0.3 * f64::normal(rng)).collect();
    let (x, c) = batch(4, dim, condition, 7);
    let loss = ChainRuleNll { made: &model.made, conditionals: &model.conditionals };
    let (_, dp) = loss_grad(&loss, &p, Batch { x: &x, c: &c }, &());
    let open: Vec<bool> = dp.iter().map(|&dp| dp != 0.0).collect();
    p.iter_mut().zip(&open).filter(|(_, open)| !**open).for_each(|(p, _)| *p = 0.0);
    model.parameters = Parameters::new(p.iter().map(|&p| p as f32).collect());
    (model, p, open)
}

#[test]
fn autoregressive_gradient_is_that_of_its_loss() {
    let heads = [(1, MIXTURE), (2, MIXTURE), (4, MIXTURE), (1, BINS), (2, BINS), (4, BINS)];
    for ((dim, head), condition) in heads.into_iter().flat_map(|head| KINDS.map(|kind| (head, kind))) {
        let (model, p, open) = shaken(dim, head, condition);
        let (mut x, c) = batch::<f64>(5, dim, condition, 3);
        // Both tails of the bins, and rows beyond the reach of the network's eye.
        (x[0], x[dim]) = (-7.0, 30.0);
        let loss = ChainRuleNll { made: &model.made, conditionals: &model.conditionals };
        let what = format!("{head:?}, {condition:?}, {dim} columns");
        check_gradient(&what, &loss, &p, 5, Batch { x: &x, c: &c }, |i| !open[i]);
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

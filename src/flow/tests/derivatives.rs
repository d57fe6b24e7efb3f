//! The maps and their derivatives, in f64 by central differences and against JAX; inverses in both formats.

use std::collections::HashMap;

use super::super::chain::{Chain, Pass};
use super::super::mixing::Mixer;
use super::super::objective::{ChangeOfVariables, log_density};
use super::*;
use crate::engine::Batch;
use crate::numeric::Real;
use crate::testing::{check_gradient, loss_grad, sines};

/// A small chain whose parameters are all random, but for the masked ones; those are where a gradient is
/// exactly 0.
fn shaken(config: &FlowConfig) -> (Chain, Vec<f64>, Vec<bool>) {
    let rng = &mut seeded(1);
    let chain = Chain::new(config, rng);
    let mut start = vec![0.0; chain.num_params()];
    chain.init(&mut start, rng);
    let mut p: Vec<f64> = start.iter().map(|&p| f64::from(p) + 0.1 * f64::normal(rng)).collect();
    // Far rows, too: the slopes of a spline's tails have a gradient there alone.
    let x = [normals(40 * config.dim, rng), edges(config.dim)].concat();
    let c = normals(x.len() / config.dim * config.condition.width(), rng);
    let mut open = Vec::new();
    // What a parameter of 0 opens or closes is seen by another look.
    for _ in 0..3 {
        let (_, dp) = loss_grad(&ChangeOfVariables { chain: &chain }, &p, Batch { x: &x, c: &c }, &());
        open = dp.iter().map(|&dp| dp != 0.0).collect();
        p.iter_mut().zip(&open).filter(|(_, open)| !**open).for_each(|(p, _)| *p = 0.0);
    }
    (chain, p, open)
}

/// u: (d, n) and ln |det|: (n)
fn forward<F: Real>(chain: &Chain, p: &[F], x: &[F], c: &[F]) -> (Vec<F>, Vec<F>) {
    let mut pass = Pass::default();
    // A larger batch first.
    chain.infer(p, &[x, x].concat(), &[c, c].concat(), &mut pass);
    chain.infer(p, x, c, &mut pass);
    (pass.z, pass.log_det)
}

fn inverse<F: Real>(chain: &Chain, p: &[F], u: &[F], c: &[F]) -> Vec<F> {
    let (mut pass, mut x) = (Pass::default(), vec![F::nan(); u.len()]);
    pass.z = u.to_vec();
    chain.inverse(p, c, &mut pass, &mut x);
    x
}

/// The rows below, but beside the edges of the box, where T′ has a kink.
fn edges(dim: usize) -> Vec<f64> {
    rows(dim).into_iter().map(|x: f64| 0.97 * x).collect()
}

/// Rows inside the box, at its edge, beyond it, and beyond the conditioners' reach.
fn rows<F: Real>(dim: usize) -> Vec<F> {
    let mut x: Vec<F> = normals(12 * dim, &mut seeded(3));
    for (r, at) in [2.0, -2.0, 4.0, -12.0, 0.0].into_iter().enumerate() {
        x[r * dim + r % dim] = F::of(at);
    }
    x
}

/// Of as many rows, as wide as the config's.
fn conditions<F: Real>(config: &FlowConfig) -> Vec<F> {
    normals(12 * config.condition.width(), &mut seeded(9))
}

#[test]
fn flow_gradient_is_that_of_its_loss() {
    for dim in [1, 2, 4] {
        for config in variants(dim).into_iter().chain(given(dim)) {
            let (chain, p, open) = shaken(&config);
            let x = edges(dim);
            let (loss, c) = (ChangeOfVariables { chain: &chain }, conditions::<f64>(&config));
            // Under random conditions the loss of far rows bends too strongly for differences.
            let x = if c.is_empty() { x } else { normals(x.len(), &mut seeded(6)) };
            check_gradient(&format!("{config:?}"), &loss, &p, 12, Batch { x: &x, c: &c }, |i| !open[i]);
        }
    }
}

#[test]
fn log_det_is_that_of_the_jacobian() {
    for dim in [1, 2, 3, 5] {
        for config in variants(dim).into_iter().chain(given(dim)) {
            let (chain, p, _) = shaken(&config);
            let (h, c) = (1e-6, &conditions(&config)[..config.condition.width()]);
            for x in rows::<f64>(dim).chunks_exact(dim).map(|x| x.iter().map(|x| 0.97 * x)) {
                let x: Vec<f64> = x.collect();
                let mut jacobian: Vec<Vec<f64>> = (0..dim)
                    .map(|j| {
                        let moved = |by: f64| {
                            let mut x = x.clone();
                            x[j] += by;
                            forward(&chain, &p, &x, c).0
                        };
                        moved(h).iter().zip(moved(-h)).map(|(a, b)| (a - b) / (2.0 * h)).collect()
                    })
                    .collect();
                let (got, want) = (forward(&chain, &p, &x, c).1[0], log_abs_det(&mut jacobian));
                // The differences know the determinant to 1e-9, however small it is.
                let off = (got.exp() - want.exp()).abs();
                assert!(
                    off < 1e-9 + 1e-6 * (1.0 + want.abs()) * want.exp(),
                    "{config:?}: {got}, numerically {want}"
                );
            }
        }
    }
}

/// By elimination with row pivots.
fn log_abs_det(a: &mut [Vec<f64>]) -> f64 {
    let mut sum = 0.0;
    for k in 0..a.len() {
        let pivot = (k..a.len()).max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs())).unwrap();
        a.swap(k, pivot);
        sum += a[k][k].abs().ln();
        for i in k + 1..a.len() {
            let (above, below) = a.split_at_mut(i);
            let factor = below[0][k] / above[k][k];
            below[0].iter_mut().zip(&above[k]).for_each(|(b, a)| *b -= factor * a);
        }
    }
    sum
}

#[test]
fn the_inverse_undoes_the_map() {
    // Far out random conditioners make maps too steep for f32 to undo.
    fn check<F: Real>(tolerance: f64, reach: f64) {
        for dim in [1, 2, 3, 5] {
            for config in variants(dim).into_iter().chain(given(dim)) {
                let (chain, p, _) = shaken(&config);
                // Two maps in each layer, each as steep as the one of the others.
                let gentle = if reach.is_finite() && config.transform == AFFINE_SPLINE { 0.3 } else { 1.0 };
                let p: Vec<F> = p.into_iter().map(|p| F::of(gentle * p)).collect();
                let mut x = rows::<F>(dim);
                x.iter_mut().for_each(|x| *x = x.max(F::of(-reach)).min(F::of(reach)));
                let c = conditions(&config);
                let back = inverse(&chain, &p, &forward(&chain, &p, &x, &c).0, &c);
                for (x, back) in x.iter().zip(back) {
                    let off = (*x - back).abs().f64();
                    assert!(off < tolerance * (1.0 + x.abs().f64()), "{config:?}: {x} came back as {back}");
                }
            }
        }
    }
    check::<f32>(1e-5, 2.2);
    check::<f64>(1e-10, f64::INFINITY);
}

/// One coordinate by itself: y, ln T′ and back.
fn on_the_line<F: Real>(transform: Transform, theta: &[F], x: F) -> (F, F, F) {
    let (mut y, mut log_det) = ([F::nan()], [F::zero()]);
    let mut work = vec![F::nan(); transform.work()];
    transform.forward(&mut theta.to_vec(), &[x], &mut y, &mut log_det, &mut work);
    let mut back = y;
    transform.inverse(&mut theta.to_vec(), &mut back, &mut work);
    (y[0], log_det[0], back[0])
}

#[test]
fn a_spline_is_inverted_at_its_knots_and_is_the_identity_in_its_tails() {
    fn check<F: Real>(tolerance: f64) {
        let (bins, bound) = (7, 3.0);
        let transform = Transform::Spline { bins, bound };
        let theta: Vec<F> = normals(transform.params(), &mut seeded(4));
        let total: F = theta[..bins].iter().map(|w| w.exp()).sum();
        let share = |w: F| F::of(1e-3) + F::of(1.0 - 1e-3 * bins as f64) * w.exp() / total;
        let mut knot = F::of(-bound);
        let mut inside = vec![knot];
        for &w in &theta[..bins] {
            knot += F::of(2.0 * bound) * share(w);
            inside.push(knot);
        }
        assert!((knot.f64() - bound).abs() < 1e-5);
        let between = inside.windows(2).map(|k| (k[0] + k[1]) * F::of(0.5)).collect::<Vec<_>>();
        let mut last = F::of(-bound - 1.0);
        for x in inside.iter().zip(&between).flat_map(|(a, b)| [*a, *b]) {
            let (y, _, back) = on_the_line(transform, &theta, x);
            assert!((back - x).abs().f64() < tolerance, "{x} came back as {back}");
            assert!(y > last, "T({x}) = {y} is not above {last}");
            last = y;
        }
        // A knot belongs to both of its bins: no jump, and none in the slope.
        for &knot in &inside {
            let h = F::epsilon() * F::of(8.0);
            let ((below, slope_below, _), (above, slope_above, _)) =
                (on_the_line(transform, &theta, knot - h), on_the_line(transform, &theta, knot + h));
            assert!((below - above).abs().f64() < tolerance, "at {knot}: {below} and {above}");
            assert!((slope_below - slope_above).abs().f64() < 100.0 * tolerance, "at {knot}");
        }
        for x in [3.0001, -3.0001, 50.0, -1e8, 1e30] {
            let x = F::of(x);
            assert_eq!(on_the_line(transform, &theta, x), (x, F::zero(), x));
        }
    }
    check::<f32>(1e-5);
    check::<f64>(1e-10);
}

#[test]
fn an_affine_spline_goes_on_outside_its_box_as_straight_lines() {
    fn check<F: Real>(tolerance: f64) {
        let (bins, bound) = (7, 3.0);
        let transform = Transform::AffineSpline { bins, bound };
        let mut theta: Vec<F> = normals(transform.params(), &mut seeded(4));
        // v = (x − ½)·e^(3 tanh(−⅓·…)): the ends of the box in x.
        (theta[0], theta[1]) = (F::of(-0.4), F::of(0.5));
        let scale = (3.0 * (-0.4f64 / 3.0).tanh()).exp();
        for (end, out) in [(0.5 + bound / scale, 1.0), (0.5 - bound / scale, -1.0)] {
            let at = |distance: f64| on_the_line(transform, &theta, F::of(end + out * distance));
            let (edge, inner, _) = at(-8.0 * F::epsilon().f64());
            // The spline carries its box to itself.
            assert!((edge.f64() - out * bound).abs() < 1e-4, "T({end}) = {edge}");
            for distance in [1e-3, 1.0, 40.0, 1e4] {
                let (y, log_slope, back) = at(distance);
                let line = out * bound + out * distance * log_slope.f64().exp();
                assert!(
                    (y.f64() - line).abs() < tolerance * (1.0 + line.abs()),
                    "{y}, the line is at {line}"
                );
                assert!(
                    (log_slope - inner).abs().f64() < 100.0 * tolerance,
                    "ln T′ {inner} at the end, {log_slope} outside"
                );
                let x = end + out * distance;
                assert!((back.f64() - x).abs() < tolerance * (1.0 + x.abs()), "{x} came back as {back}");
            }
        }
    }
    check::<f32>(1e-5);
    check::<f64>(1e-10);
}

#[test]
fn a_theta_of_zero_is_the_identity() {
    let large = [
        Transform::Spline { bins: 200, bound: 1000.0 },
        Transform::AffineSpline { bins: 200, bound: 1000.0 },
    ];
    for transform in TRANSFORMS.into_iter().chain(large) {
        let theta = vec![0.0; transform.params()];
        for x in [-7.0, -1.3, 0.0, 0.4, 1.99, 300.0] {
            let (y, log_det, back) = on_the_line::<f64>(transform, &theta, x);
            assert!((y - x).abs() < 1e-10 && log_det.abs() < 1e-10 && (back - x).abs() < 1e-10, "{y} at {x}");
        }
    }
}

#[test]
fn no_theta_makes_an_affine_layer_overflow_and_no_spline_flat() {
    for size in [1e3, 1e30] {
        let (y, log_det, back) = on_the_line::<f32>(Transform::Affine, &[size, 0.5], 2.0);
        assert!(
            (log_det - 3.0).abs() < 1e-6 && (y - 1.5 * 3f32.exp()).abs() < 1e-4 && (back - 2.0).abs() < 1e-5
        );
        for transform in [SPLINE, AFFINE_SPLINE] {
            let mut theta = vec![0.0; transform.params()];
            (theta[0], theta[5], theta[8]) = (size, -size, size);
            for x in [-1.9, 0.0, 1.9] {
                let (y, log_det, back) = on_the_line::<f32>(transform, &theta, x);
                assert!(y.is_finite() && log_det.is_finite() && back.is_finite(), "{y} {log_det} {back}");
            }
        }
    }
}

#[test]
fn a_mixer_is_its_matrix() {
    for mixing in [Mixing::Reverse, Mixing::Permutation, Mixing::Linear] {
        let dim = 4;
        let mixer = Mixer::new(mixing, dim, 2, &mut seeded(5));
        let p: Vec<f64> = normals(mixer.num_params(), &mut seeded(6));
        // Columns of W: the images of the unit vectors, (d, n) with n = d.
        let unit: Vec<f64> = (0..dim * dim).map(|at| if at % (dim + 1) == 0 { 1.0 } else { 0.0 }).collect();
        let mut w = vec![0.0; dim * dim];
        let log_det = mixer.forward(&p, &unit, &mut w, &mut Vec::new());
        let mut rows: Vec<Vec<f64>> = w.chunks(dim).map(<[f64]>::to_vec).collect();
        assert!((log_det - log_abs_det(&mut rows)).abs() < 1e-12, "{mixing:?}");
        let mut back = vec![0.0; dim * dim];
        mixer.inverse(&p, &w, &mut back);
        assert!(back.iter().zip(&unit).all(|(a, b)| (a - b).abs() < 1e-11), "{mixing:?}: {back:?}");
        let ones = w.iter().filter(|w| **w == 1.0).count();
        let zeros = w.iter().filter(|w| **w == 0.0).count();
        assert_eq!(mixing == Mixing::Linear, (ones, zeros) != (dim, dim * (dim - 1)));
    }
}

#[test]
fn a_base_is_whitened_by_its_lower_matrix() {
    let dim = 3;
    let mixer = Mixer::triangular(dim);
    let lower = [2.0, 0.0, 0.0, -0.5, 0.25, 0.0, 1.5, 3.0, 1.0];
    let mut p = vec![0.0; dim * dim];
    Mixer::set_lower(&lower, &mut p);
    let unit: Vec<f32> = (0..dim * dim).map(|at| if at % (dim + 1) == 0 { 1.0 } else { 0.0 }).collect();
    let mut w = vec![0.0; dim * dim];
    let log_det = mixer.forward(&p, &unit, &mut w, &mut Vec::new());
    assert!((log_det - 0.5f32.ln()).abs() < 1e-6, "{log_det}");
    assert!(w.iter().zip(lower).all(|(w, lower)| (f64::from(*w) - lower).abs() < 1e-6), "{w:?}");
}

#[test]
fn a_permutation_never_leaves_the_same_half_passing() {
    for dim in 2..6 {
        let passing = dim / 2;
        for seed in 0..50 {
            let mixer = Mixer::new(Mixing::Permutation, dim, passing, &mut seeded(seed));
            let x: Vec<f64> = (0..dim).map(|i| i as f64).collect();
            let mut y = vec![0.0; dim];
            mixer.forward(&[], &x, &mut y, &mut Vec::new());
            assert!(y[..passing].iter().any(|&from| from >= passing as f64), "{y:?}");
            y.sort_by(f64::total_cmp);
            assert_eq!(y, x);
        }
    }
}

#[test]
fn a_masked_layer_is_triangular() {
    for dim in [2, 3, 5] {
        for transform in TRANSFORMS {
            let (architecture, correlated_base) = (Architecture::MaskedAutoregressive, false);
            let config = FlowConfig { architecture, transform, layers: 1, correlated_base, ..small(dim) };
            let (chain, p, _) = shaken(&config);
            let x: Vec<f64> = normals(dim, &mut seeded(7));
            let (u, _) = forward(&chain, &p, &x, &[]);
            for j in 0..dim {
                let mut moved = x.clone();
                moved[j] += 0.1;
                let (moved, _) = forward(&chain, &p, &moved, &[]);
                for i in 0..dim {
                    assert_eq!(moved[i] == u[i], j > i, "u[{i}] of {dim}, x[{j}] moved");
                }
            }
        }
    }
}

/// `tests/golden/flow.py` has the whole model once more, in JAX.
#[test]
fn agrees_with_an_independent_automatic_differentiation() {
    let golden: HashMap<String, HashMap<String, Vec<f64>>> =
        serde_json::from_str(include_str!("../../../tests/golden/flow.json")).unwrap();
    let dim = 3;
    let architectures =
        [("coupling", Architecture::Coupling), ("masked", Architecture::MaskedAutoregressive)];
    let transforms = [
        ("affine", Transform::Affine),
        ("spline", Transform::Spline { bins: 4, bound: 2.0 }),
        ("affine spline", Transform::AffineSpline { bins: 4, bound: 2.0 }),
    ];
    for (first, architecture) in architectures {
        for (second, transform) in transforms {
            let name = format!("{first} {second}");
            let config = FlowConfig {
                dim,
                architecture,
                transform,
                layers: 2,
                mixing: Mixing::Linear,
                network: NetworkSpec::mlp([4], Activation::Tanh, 1),
                correlated_base: second == "affine spline",
                ..FlowConfig::default()
            };
            let (chain, _, open) = shaken(&config);
            let mut p = sines(chain.num_params(), 0.3, 0.8);
            p.iter_mut().zip(&open).filter(|(_, open)| !**open).for_each(|(p, _)| *p = 0.0);
            let x = sines(4 * dim, 1.1, 2.5);
            let mut pass = Pass::default();
            chain.infer(&p, &x, &[], &mut pass);
            let mut nats = vec![0.0; 4];
            log_density(dim, &pass, |r, density| nats[r] = density);
            let (_, dp) = loss_grad(&ChangeOfVariables { chain: &chain }, &p, Batch::of(&x), &());
            for (key, got) in [("nats", nats), ("dp", dp)] {
                let want = &golden[&name][key];
                assert_eq!(got.len(), want.len(), "{name} {key}");
                for (i, (got, want)) in got.iter().zip(want).enumerate() {
                    let close = (got - want).abs() < 1e-9 * (1.0 + want.abs());
                    assert!(close, "{name} {key}[{i}]: {got}, by JAX {want}");
                }
            }
        }
    }
}

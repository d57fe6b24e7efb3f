//! The networks' four functions against JAX's automatic differentiation (`tests/golden/nn.py`).

use std::collections::HashMap;

use quadrivium::nn::{Activation, Fourier, Layer, Linear, Masked, Network, Sequential, Tape, Weights, mlp};

const ROWS: usize = 3;

/// As in the script: numbers that both sides can make.
fn wave(n: usize, phase: f64, scale: f64) -> Vec<f64> {
    (1..=n).map(|i| scale * (1.7 * i as f64 + phase).sin()).collect()
}

fn assert_close(what: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() < 1e-11 * (1.0 + want.abs()), "{what}[{i}]: {got}, by JAX {want}");
    }
}

fn check(name: &str, net: &Sequential, mut p: Vec<f64>, golden: &HashMap<String, Vec<f64>>) {
    // Masked entries of the script's slice are multiplied by zero there and are zero here.
    let mut open = vec![1.0; p.len()];
    net.init(&mut open, &mut quadrivium::seeded(0));
    let first = &net.layers()[0];
    if let Layer::Masked(_) = first {
        let weights = first.in_dim() * first.out_dim();
        p[..weights].iter_mut().zip(&open).filter(|(_, open)| **open == 0.0).for_each(|(p, _)| *p = 0.0);
    }
    let mut t = p.clone();
    net.transpose(&p, &mut t);
    let w = Weights { p: &p, t: &t };
    let (inputs, outputs) = (ROWS * net.in_dim(), ROWS * net.out_dim());
    let (x, xdot) = (wave(inputs, 1.1, 1.0), wave(inputs, 2.3, 1.0));
    let (dy, dydot) = (wave(outputs, 0.7, 1.0), wave(outputs, 1.9, 1.0));
    let expect = |key: &str, got: &[f64]| assert_close(&format!("{name} {key}"), got, &golden[key]);

    let mut tape = Tape::default();
    expect("y", tape.forward(net, &p, &x));
    expect("ydot", tape.jvp(net, &p, &xdot));
    let (mut dp, mut dx) = (vec![0.0; p.len()], vec![0.0; inputs]);
    tape.backward(net, w, &dy, Some(&mut dp), Some(&mut dx));
    expect("dp", &dp);
    expect("dx", &dx);
    let (mut dp, mut dx, mut dxdot) = (vec![0.0; p.len()], vec![0.0; inputs], vec![0.0; inputs]);
    tape.jvp_backward(net, w, Some(&dy), &dydot, Some(&mut dp), Some(&mut dx), Some(&mut dxdot));
    expect("dp2", &dp);
    expect("dx2", &dx);
    expect("dxdot2", &dxdot);

    if net.out_dim() == 1 {
        // λ Σ (‖g‖ − 1)² with g = ∇ₓD: hold u = ∂P/∂g, then ∂P/∂p = ∂⟨u, ∇ₓD⟩/∂p.
        let mut g = vec![0.0; inputs];
        tape.backward(net, w, &[1.0; ROWS], None, Some(&mut g));
        let (mut penalty, mut u) = (0.0, g.clone());
        for row in u.chunks_mut(net.in_dim()) {
            let norm = row.iter().map(|g| g * g).sum::<f64>().sqrt();
            penalty += 10.0 * (norm - 1.0).powi(2);
            row.iter_mut().for_each(|g| *g *= 20.0 * (norm - 1.0) / norm);
        }
        expect("penalty", &[penalty]);
        let mut dp = vec![0.0; p.len()];
        tape.jvp(net, &p, &u);
        tape.jvp_backward(net, w, None, &[1.0; ROWS], Some(&mut dp), None, None);
        expect("penalty_dp", &dp);
    }
}

#[test]
fn agrees_with_an_independent_automatic_differentiation() {
    let golden: HashMap<String, HashMap<String, Vec<f64>>> =
        serde_json::from_str(include_str!("golden/nn.json")).unwrap();
    let activations = [
        ("tanh", Activation::Tanh),
        ("silu", Activation::Silu),
        ("gelu", Activation::Gelu),
        ("softplus", Activation::Softplus),
        ("relu", Activation::Relu),
        ("leaky_relu", Activation::LeakyRelu { slope: 0.2 }),
    ];
    let mut nets: Vec<(String, Sequential)> =
        activations.map(|(name, activation)| (format!("mlp_{name}"), mlp(&[3, 6, 5, 2], activation))).into();
    nets.push((
        "fourier_residual".into(),
        Sequential::new(vec![
            Layer::Fourier(Fourier::octaves(2, 1.5, 2)),
            Layer::Linear(Linear::new(10, 4, 1.0)),
            Activation::Silu.layer(4),
            Layer::Residual(mlp(&[4, 7, 4], Activation::Gelu)),
            Layer::Linear(Linear::new(4, 1, 1.0)),
        ]),
    ));
    nets.push((
        "masked".into(),
        Sequential::new(vec![
            Layer::Masked(Masked::new(3, 4, 1.0, |i, o| !(i + o).is_multiple_of(3))),
            Activation::Tanh.layer(4),
            Layer::Linear(Linear::new(4, 2, 1.0)),
        ]),
    ));
    assert_eq!(nets.len(), golden.len());
    for (name, net) in &nets {
        check(name, net, wave(net.num_params(), 0.3, 0.6), &golden[name.as_str()]);
    }
}

//! Every layer and composition, in f64, against central differences of its own forward functions.

mod field;

use super::*;
use crate::numeric::rng::seeded;
use crate::testing::{assert_close, differences, normals};

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// (y, ẏ) at (p, x, ẋ).
fn values(net: &impl Network, p: &[f64], x: &[f64], xdot: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut tape = Tape::default();
    tape.forward(net, p, x);
    tape.jvp(net, p, xdot);
    (tape.y().to_vec(), tape.ydot().to_vec())
}

/// The four functions of `net` against differences; parameters that start at exactly zero and are `frozen`
/// stay.
fn check(net: impl Network, frozen: impl Fn(usize) -> bool) {
    let (mut rng, rows) = (seeded(7), 3);
    let mut p = vec![0.0; net.num_params()];
    net.init(&mut p, &mut rng);
    // Biases too: they start at zero.
    p.iter_mut()
        .enumerate()
        .filter(|(i, _)| !frozen(*i))
        .for_each(|(_, p)| *p += 0.1 * f64::normal(&mut rng));
    let mut t = vec![f64::NAN; p.len()];
    net.transpose(&p, &mut t);
    let w = Weights { p: &p, t: &t };
    let (x, xdot) = (normals(rows * net.in_dim(), &mut rng), normals(rows * net.in_dim(), &mut rng));
    let (dy, dydot) = (normals(rows * net.out_dim(), &mut rng), normals(rows * net.out_dim(), &mut rng));

    // Buffers dirty from a larger batch must not matter.
    let mut tape = Tape::default();
    tape.forward(&net, &p, &normals(2 * x.len(), &mut rng));
    tape.jvp(&net, &p, &normals(2 * x.len(), &mut rng));
    let y = tape.forward(&net, &p, &x).to_vec();
    let ydot = tape.jvp(&net, &p, &xdot).to_vec();
    let inferred = Tape::default().infer(&net, &p, &x).to_vec();
    assert_close("infer", 1e-13, &inferred, &y);

    let moved = |h: f64| {
        let x: Vec<f64> = x.iter().zip(&xdot).map(|(x, xdot)| x + h * xdot).collect();
        values(&net, &p, &x, &xdot).0
    };
    let slope: Vec<f64> = moved(1e-5).iter().zip(moved(-1e-5)).map(|(a, b)| (a - b) / 2e-5).collect();
    assert_close("jvp", 1e-7, &ydot, &slope);

    // Gradients add to what dp holds.
    let (mut dp, mut dx) = (vec![1.0; p.len()], vec![f64::NAN; x.len()]);
    tape.backward(&net, w, &dy, Some(&mut dp), Some(&mut dx));
    let free =
        |p: &[f64]| p.iter().enumerate().map(|(i, &d)| if frozen(i) { 0.0 } else { d }).collect::<Vec<_>>();
    let first = |p: &[f64], x: &[f64]| dot(&dy, &values(&net, p, x, &xdot).0);
    let want: Vec<f64> = differences(&p, |p| first(p, &x)).iter().map(|d| d + 1.0).collect();
    assert_close("backward dp", 1e-7, &free(&dp), &free(&want));
    assert_close("backward dx", 1e-7, &dx, &differences(&x, |x| first(&p, x)));
    let (forward, adjoint) = (dot(&dy, &ydot), dot(&dx, &xdot));
    assert!(
        (forward - adjoint).abs() < 1e-11 * (1.0 + forward.abs()),
        "⟨u, Jv⟩ {forward}, ⟨Jᵀu, v⟩ {adjoint}"
    );

    let phi = |p: &[f64], x: &[f64], xdot: &[f64]| {
        let (y, ydot) = values(&net, p, x, xdot);
        dot(&dy, &y) + dot(&dydot, &ydot)
    };
    let (mut dp, mut dx, mut dxdot) = (vec![1.0; p.len()], vec![f64::NAN; x.len()], vec![f64::NAN; x.len()]);
    tape.jvp_backward(&net, w, Some(&dy), &dydot, Some(&mut dp), Some(&mut dx), Some(&mut dxdot));
    let want: Vec<f64> = differences(&p, |p| phi(p, &x, &xdot)).iter().map(|d| d + 1.0).collect();
    assert_close("jvp_backward dp", 1e-6, &free(&dp), &free(&want));
    assert_close("jvp_backward dx", 1e-6, &dx, &differences(&x, |x| phi(&p, x, &xdot)));
    assert_close("jvp_backward dẋ", 1e-6, &dxdot, &differences(&xdot, |v| phi(&p, &x, v)));

    // What a backward pass has kept is not computed again, and is the same.
    let (mut kept_dp, mut kept_dx, mut plain_dx) =
        (vec![1.0; p.len()], vec![f64::NAN; x.len()], vec![f64::NAN; x.len()]);
    tape.backward(&net, w, &dydot, None, Some(&mut plain_dx));
    tape.backward_keeping(&net, w, &dydot, &mut kept_dx);
    assert_eq!(kept_dx, plain_dx);
    tape.jvp_backward_kept(&net, w, Some(&dy), &dydot, &mut kept_dp);
    assert_eq!(kept_dp, dp);

    // No dy is a dy of zero.
    let mut gradients = |dy: Option<&[f64]>| {
        let (mut dp, mut dx, mut dxdot) =
            (vec![1.0; p.len()], vec![f64::NAN; x.len()], vec![f64::NAN; x.len()]);
        tape.jvp_backward(&net, w, dy, &dydot, Some(&mut dp), Some(&mut dx), Some(&mut dxdot));
        [dp, dx, dxdot]
    };
    assert_eq!(gradients(None), gradients(Some(&vec![0.0; dy.len()])));
}

const ACTIVATIONS: [Activation; 6] = [
    Activation::Tanh,
    Activation::Silu,
    Activation::Gelu,
    Activation::Softplus,
    Activation::Relu,
    Activation::LeakyRelu { slope: 0.2 },
];

#[test]
fn linear() {
    check(Linear::new(3, 5, 1.0), |_| false);
    check(Linear::new(40, 1, 1.0), |_| false);
}

#[test]
fn masked() {
    let connects = |i: usize, o: usize| !(i + o).is_multiple_of(3);
    check(Masked::new(4, 6, 1.0, connects), |at| at < 24 && !connects(at / 6, at % 6));
    let net = Masked::new(4, 6, 1.0, connects);
    let mut p = vec![f64::NAN; net.num_params()];
    net.init(&mut p, &mut seeded(0));
    assert!((0..24).all(|at| (p[at] == 0.0) != connects(at / 6, at % 6)));
}

#[test]
fn activations() {
    for activation in ACTIVATIONS {
        check(activation.layer(4), |_| false);
    }
}

#[test]
fn fourier() {
    check(Fourier::octaves(2, 1.5, 3), |_| false);
    check(Fourier::octaves(2, 1.5, 3).passing(3), |_| false);
    check(Fourier::time(8).unwrap(), |_| false);
    assert!(Fourier::time(7).is_err() && Fourier::time(0).is_err());
}

#[test]
fn waves_are_right_up_to_the_reach_and_stand_still_beyond() {
    assert_eq!((most_octaves(REACH), most_octaves(20.0)), (14, 13));
    let features = Fourier::octaves(1, 1.0, most_octaves(REACH));
    let at = |x: f32| Tape::default().infer(&features, &[], &[x]).to_vec();
    for (k, y) in at(-10.0)[1..=14].iter().enumerate() {
        let want = (-10.0 * 2f64.powi(k as i32)).sin();
        assert!((y.f64() - want).abs() < 1e-7, "octave {k}: {y}, expected {want}");
    }
    assert_eq!(at(-1e30)[1..], at(-10.0)[1..]);
    assert_eq!(at(-1e30)[0], -1e30);
    // Along x only the raw coordinate moves there, and along its tangent nothing bends.
    let mut tape = Tape::default();
    tape.forward(&features, &[], &[11.0]);
    assert_eq!(tape.jvp(&features, &[], &[1.0]).iter().copied().sum::<f64>(), 1.0);
    let (mut dx, ones) = ([f64::NAN], [1.0; 29]);
    tape.jvp_backward(&features, Weights { p: &[], t: &[] }, None, &ones, None, Some(&mut dx), None);
    assert_eq!(dx, [0.0]);
}

#[test]
fn compositions() {
    for activation in ACTIVATIONS {
        check(mlp(&[3, 7, 5, 2], activation), |_| false);
        check(mlp(&[3, 7, 5, 2], activation).fused(), |_| false);
    }
    let block = |activation: Activation| {
        Layer::Residual(Sequential::new(vec![
            Layer::Linear(Linear::new(6, 9, 1.0)),
            activation.layer(9),
            Layer::Linear(Linear::new(9, 6, 1.0)),
        ]))
    };
    check(
        Sequential::new(vec![
            Layer::Fourier(Fourier::octaves(2, 1.0, 2)),
            Layer::Linear(Linear::new(10, 6, 1.0)),
            block(Activation::Silu),
            Activation::Tanh.layer(6),
            block(Activation::Gelu),
            Layer::Linear(Linear::new(6, 1, 1.0)),
        ]),
        |_| false,
    );
}

#[test]
fn residual_derivatives_match_differences() {
    for (inputs, condition, width, blocks) in [(2, 0, 5, 2), (2, 3, 5, 2), (1, 1, 18, 1)] {
        check(Residual::new(inputs, condition, width, blocks, Activation::Silu, 3, 1.0), |_| false);
    }
    // Inside a composition, behind Fourier features that leave the condition alone.
    check(
        Sequential::new(vec![
            Layer::Fourier(Fourier::octaves(2, 1.0, 1).passing(1)),
            Layer::Modulated(Box::new(Residual::new(6, 1, 4, 1, Activation::Tanh, 2, 1.0))),
        ]),
        |_| false,
    );
}

#[test]
fn residual_starts_as_one_product_of_the_normalized_rows() {
    let (shallow, deep) = (
        Residual::new(2, 1, 8, 1, Activation::Silu, 3, 1.0),
        Residual::new(2, 1, 8, 5, Activation::Silu, 3, 1.0),
    );
    let value = |net: &Residual, c: f64| {
        let mut p = vec![f64::NAN; net.num_params()];
        net.init(&mut p, &mut seeded(0));
        // The same first and last product.
        p[..24].fill(0.5);
        let out = p.len() - 27;
        p[out..].iter_mut().enumerate().for_each(|(i, p)| *p = i as f64);
        Tape::default().forward(net, &p, &[0.3, -2.0, c]).to_vec()
    };
    assert_eq!(value(&shallow, 0.0), value(&deep, 0.0));
    assert_eq!(value(&deep, 0.0), value(&deep, 1.0));
}

/// At both ends, on both sides, behind a mask, with a slope that changes the sign, and at widths around the vectors.
#[test]
fn fused_layers_are_the_chain_to_the_bit() {
    let mut rng = seeded(11);
    let leaky = |slope| Activation::LeakyRelu { slope };
    let chain = Sequential::new(vec![
        leaky(-0.3).layer(5),
        Layer::Linear(Linear::new(5, 70, 1.0)),
        Activation::Relu.layer(70),
        Layer::Masked(Masked::new(70, 2, 1.0, |i, o| i % 2 == o)),
        leaky(0.2).layer(2),
        Layer::Linear(Linear::new(2, 64, 1.0)),
        Activation::Silu.layer(64),
        Layer::Linear(Linear::new(64, 33, 1.0)),
        leaky(-0.5).layer(33),
    ]);
    let mut p = vec![0.0; chain.num_params()];
    chain.init(&mut p, &mut rng);
    let mut t = p.clone();
    chain.transpose(&p, &mut t);
    for rows in [1, 6, 37] {
        let (x, dy) = (normals(rows * 5, &mut rng), normals(rows * 33, &mut rng));
        fn run(net: &impl Network, w: Weights<f64>, x: &[f64], dy: &[f64]) -> [Vec<f64>; 4] {
            let mut tape = Tape::default();
            let inferred = tape.infer(net, w.p, x).to_vec();
            let y = tape.forward(net, w.p, x).to_vec();
            let (mut dp, mut dx) = (vec![0.5; w.p.len()], vec![f64::NAN; x.len()]);
            tape.backward(net, w, dy, Some(&mut dp), Some(&mut dx));
            [inferred, y, dp, dx]
        }
        let w = Weights { p: &p, t: &t };
        assert_eq!(run(&chain.clone().fused(), w, &x, &dy), run(&chain, w, &x, &dy), "{rows} rows");
    }
}

#[test]
fn biases_take_the_sum_of_all_rows() {
    for (rows, outputs) in [(1, 2), (37, 2), (64, 2), (5, 3), (9, 32), (3, 64), (4, 65), (2, 130)] {
        // Whole numbers, so that no order of the sum rounds.
        let dy: Vec<f64> = (0..rows * outputs).map(|i| ((i * 7919) % 101) as f64).collect();
        let layer = Linear::new(1, outputs, 1.0);
        let p = vec![0.0; layer.num_params()];
        let (mut dp, w) = (vec![1.0; p.len()], Weights { p: &p, t: &p });
        layer.backward(w, &vec![0.0; rows], &[], &dy, Some(&mut dp), None, &mut []);
        for (o, &db) in dp[outputs..].iter().enumerate() {
            let sum: f64 = dy[o..].iter().step_by(outputs).sum();
            assert_eq!(db, 1.0 + sum, "output {o} of {outputs}, {rows} rows");
        }
    }
}

#[test]
fn one_layer_is_a_network_too() {
    check(Sequential::new(vec![Layer::Linear(Linear::new(2, 3, 1.0))]), |_| false);
}

#[test]
fn the_layout_names_every_parameter_once() {
    let net = Sequential::new(vec![
        Layer::Linear(Linear::new(2, 4, 1.0)),
        Layer::Residual(mlp(&[4, 8, 4], Activation::Tanh)),
    ]);
    let layout = net.layout();
    let names: Vec<_> = layout.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["0.weight", "0.bias", "1.0.weight", "1.0.bias", "1.2.weight", "1.2.bias"]);
    assert_eq!(layout.num_params(), net.num_params());
    assert_eq!(layout.get("1.2.weight").unwrap().shape, [8, 4]);
}

//! Networks of rows, moment and condition, in f64, against central differences of their own forward functions.

use super::{assert_close, differences, dot, normals};
use crate::nn::timed::Timed;
use crate::nn::*;
use crate::numeric::rng::seeded;

/// Rows, moments (as many rows of them as asked for) and conditions of a batch, and the direction in which they move.
struct Batch {
    x: Vec<f64>,
    moments: Vec<Moment>,
    condition: Vec<f64>,
    xdot: Vec<f64>,
    rates: Vec<Moment>,
}

impl Batch {
    fn new(
        net: &dyn VectorField<f64>,
        rows: usize,
        moments: usize,
        conditions: usize,
        rng: &mut Rng,
    ) -> Self {
        let mut moment =
            |blur: fn(f64) -> f64| Moment { time: f64::normal(rng), blur: blur(f64::normal(rng)) };
        let moments = moments * net.times();
        let at = (0..moments).map(|_| moment(f64::abs)).collect();
        let rates = (0..moments).map(|_| moment(|rate| rate)).collect();
        Batch {
            x: normals(rows * net.dim(), rng),
            moments: at,
            condition: normals(conditions * net.condition(), rng),
            xdot: normals(rows * net.dim(), rng),
            rates,
        }
    }

    fn at(&self) -> Inputs<'_, f64> {
        Inputs { x: &self.x, moments: &self.moments, condition: &self.condition }
    }

    fn direction(&self) -> Direction<'_, f64> {
        Direction { x: &self.xdot, moments: &self.rates }
    }

    /// The moments, moved along their rates.
    fn moved(&self, h: f64) -> Vec<Moment> {
        let moved = |(at, rate): (&Moment, &Moment)| Moment {
            time: at.time + h * rate.time,
            blur: at.blur + h * rate.blur,
        };
        self.moments.iter().zip(&self.rates).map(moved).collect()
    }
}

/// (v, v̇) in buffers of their own.
fn values(
    net: &dyn VectorField<f64>,
    p: &[f64],
    at: Inputs<f64>,
    dot: Direction<f64>,
) -> (Vec<f64>, Vec<f64>) {
    let (mut v, mut vdot, mut workspace) =
        (vec![f64::NAN; at.x.len()], vec![f64::NAN; at.x.len()], Workspace::default());
    net.forward(p, at, &mut v, &mut workspace);
    net.jvp(p, at, dot, &mut vdot, &mut workspace);
    (v, vdot)
}

/// Checks all functions of `net` against differences, with shared and with separate moments and conditions.
fn check(net: &dyn VectorField<f64>) {
    let (mut rng, rows) = (seeded(7), 3);
    let mut p = vec![f64::NAN; net.num_params()];
    net.init(&mut p, &mut rng);
    // Also biases and other parameters that start at zero.
    p.iter_mut().for_each(|p| *p += 0.1 * f64::normal(&mut rng));
    let mut t = vec![f64::NAN; p.len()];
    net.transpose(&p, &mut t);
    let w = Weights { p: &p, t: &t };
    for (moments, conditions) in [(rows, rows), (1, rows), (rows, 1), (1, 1)] {
        let mut batch = Batch::new(net, rows, moments, conditions, &mut rng);
        // Beyond the reach of the features.
        batch.x[0] = -21.0;
        let (at, direction) = (batch.at(), batch.direction());
        let (dv, dvdot) = (normals(at.x.len(), &mut rng), normals(at.x.len(), &mut rng));

        // Buffers dirty from a larger batch must not matter.
        let mut workspace = Workspace::default();
        let large = Batch::new(net, 2 * rows, 2 * rows, 2 * rows, &mut rng);
        let mut wide = vec![0.0; large.x.len()];
        net.forward(&p, large.at(), &mut wide, &mut workspace);
        net.jvp(&p, large.at(), large.direction(), &mut wide, &mut workspace);
        let (mut v, mut vdot) = (vec![f64::NAN; at.x.len()], vec![f64::NAN; at.x.len()]);
        net.infer(&p, at, &mut vdot, &mut workspace);
        net.forward(&p, at, &mut v, &mut workspace);
        assert_close("infer", 1e-13, &vdot, &v);
        net.jvp(&p, at, direction, &mut vdot, &mut workspace);

        let moved = |h: f64| {
            let x: Vec<f64> = at.x.iter().zip(&batch.xdot).map(|(x, xdot)| x + h * xdot).collect();
            values(net, &p, Inputs { x: &x, moments: &batch.moved(h), ..at }, direction).0
        };
        let slope: Vec<f64> = moved(1e-5).iter().zip(moved(-1e-5)).map(|(a, b)| (a - b) / 2e-5).collect();
        assert_close("jvp", 1e-7, &vdot, &slope);

        // Gradients add to what dp holds.
        let (mut dp, mut dx) = (vec![1.0; p.len()], vec![f64::NAN; at.x.len()]);
        net.backward(w, at, &dv, Some(&mut dp), Some(&mut dx), &mut workspace);
        let first = |p: &[f64], at: Inputs<f64>| dot(&dv, &values(net, p, at, direction).0);
        let want: Vec<f64> = differences(&p, |p| first(p, at)).iter().map(|d| d + 1.0).collect();
        assert_close("backward dp", 1e-7, &dp, &want);
        let want = differences(at.x, |x| first(&p, Inputs { x, ..at }));
        assert_close("backward dx", 1e-7, &dx, &want);
        // Each alone gives the same.
        let (mut alone, mut dx_alone) = (vec![1.0; p.len()], vec![f64::NAN; at.x.len()]);
        net.backward(w, at, &dv, Some(&mut alone), None, &mut workspace);
        net.backward(w, at, &dv, None, Some(&mut dx_alone), &mut workspace);
        assert_eq!((alone, dx_alone), (dp, dx));

        let second = net.second_order().expect("a network with second derivatives");
        for moments in [&batch.rates[..], &[]] {
            let direction = Direction { moments, ..direction };
            net.jvp(&p, at, direction, &mut vdot, &mut workspace);
            let mut dp = vec![1.0; p.len()];
            second.jvp_backward(w, at, direction, &dv, &dvdot, &mut dp, &mut workspace);
            let phi = |p: &[f64]| {
                let (v, vdot) = values(net, p, at, direction);
                dot(&dv, &v) + dot(&dvdot, &vdot)
            };
            let want: Vec<f64> = differences(&p, phi).iter().map(|d| d + 1.0).collect();
            assert_close("jvp_backward dp", 1e-6, &dp, &want);
        }
    }
    shared_is_repeated(net, &p);
}

/// Shared moments and conditions give the same bits as separate ones, and a batch gives the same bits as its rows.
fn shared_is_repeated(net: &dyn VectorField<f64>, p: &[f64]) {
    let (rows, mut rng) = (5, seeded(3));
    let batch = Batch::new(net, rows, 1, 1, &mut rng);
    let zero = vec![0.0; batch.x.len()];
    let (moments, condition) = (batch.moments.repeat(rows), batch.condition.repeat(rows));
    let rates = batch.rates.repeat(rows);
    let value = |moments: &[Moment], condition: &[f64]| {
        let rates = if moments.len() == net.times() { &batch.rates } else { &rates };
        let at = Inputs { x: &batch.x, moments, condition };
        values(net, p, at, Direction { x: &zero, moments: rates })
    };
    let shared = value(&batch.moments, &batch.condition);
    assert_eq!(shared, value(&moments, &condition));
    assert_eq!(shared, value(&batch.moments, &condition));
    assert_eq!(shared, value(&moments, &batch.condition));
    let d = net.dim();
    for r in 0..rows {
        let at = Inputs { x: &batch.x[r * d..][..d], ..batch.at() };
        let row = values(net, p, at, Direction { x: &zero[..d], moments: &batch.rates });
        assert_eq!((&row.0[..], &row.1[..]), (&shared.0[r * d..][..d], &shared.1[r * d..][..d]), "row {r}");
    }
}

fn timed(activation: Activation) -> Timed {
    Timed::new(2, &[5, 4], activation, 2, 4).unwrap()
}

#[test]
fn timed_derivatives_match_differences() {
    for activation in [Activation::Silu, Activation::Tanh] {
        check(&timed(activation));
        check(&timed(activation).conditional(3));
    }
    check(&Timed::new(3, &[4], Activation::Gelu, 0, 2).unwrap().conditional(1));
}

#[test]
fn residual_field_derivatives_match_differences() {
    for (condition, blocks, octaves) in [(0, 2, 1), (2, 1, 0), (1, 2, 2)] {
        let spec = NetworkSpec::Residual { width: 4, blocks, activation: Activation::Silu, octaves };
        check(&*spec.vector_field(2, condition, 4).unwrap());
    }
}

#[test]
fn two_time_derivatives_match_differences() {
    let activation = Activation::Silu;
    for condition in [0, 2] {
        for spec in [
            NetworkSpec::Mlp { hidden: vec![5, 4], activation, octaves: 2 },
            NetworkSpec::Residual { width: 4, blocks: 1, activation, octaves: 1 },
        ] {
            check(&*spec.two_time_field(2, condition, 4).unwrap());
        }
    }
}

/// A condition adds parameters behind the others: with a condition of zeros the network is the same, to the bit.
#[test]
fn timed_without_a_condition_is_the_first_part_of_one_with() {
    let (plain, conditional) = (timed(Activation::Silu), timed(Activation::Silu).conditional(3));
    let init = |net: &dyn VectorField<f64>| {
        let mut p = vec![f64::NAN; net.num_params()];
        net.init(&mut p, &mut seeded(1));
        p.iter_mut().for_each(|p| *p += 0.25);
        p
    };
    let (p, more) = (init(&plain), init(&conditional));
    assert_eq!(more.len(), p.len() + 3 * 5);
    assert_eq!(p, more[..p.len()]);
    let (less, layout) = (plain.layout(), conditional.layout());
    assert_eq!(less.tensors(), &layout.tensors()[..less.tensors().len()]);
    assert_eq!(
        (layout.num_params(), layout.get("condition.weight").unwrap().shape[..].len()),
        (more.len(), 2)
    );

    let batch = Batch::new(&plain, 4, 4, 4, &mut seeded(2));
    let without = values(&plain, &p, batch.at(), batch.direction());
    let null = Inputs { condition: &[0.0; 3], ..batch.at() };
    assert_eq!(without, values(&conditional, &more, null, batch.direction()));
    let other = Inputs { condition: &[0.0, 1.0, 0.0], ..batch.at() };
    assert_ne!(without, values(&conditional, &more, other, batch.direction()));
}

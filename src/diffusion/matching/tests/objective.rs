//! The objective against differences, and its minimum against the velocity that is known.

use crate::nn::{Activation, NetworkSpec};
use approx::assert_relative_eq;
use ndarray::array;

use super::{MATCHED, small};
use crate::diffusion::matching::network::Velocity as Speed;
use crate::diffusion::matching::{FlowMatching, FlowMatchingConfig, Pairing, Solver};
use crate::diffusion::matching::{Lines, VelocityNet};
use crate::diffusion::network::At;
use crate::diffusion::objective::{Drawn, Regression};
use crate::engine::Standardizer;
use crate::engine::transport::{self, Tangents, Velocity, standard_normal};
use crate::engine::{Batch, ConditionKind, Loss, Progress};
use crate::model::{Dataset, Generative, NoObserver, TraceEstimator, TrainOptions};
use crate::nn::Weights;
use crate::numeric::Real;
use crate::numeric::rng::{Streams, seeded};
use crate::testing::{check_gradient, normals};
use crate::worlds::Toy;

const START: Progress = Progress { step: 0, steps: 1 };

/// Parameters none of which is zero, so that every path carries something.
fn random_params(net: &VelocityNet<f64>) -> Vec<f64> {
    let mut rng = seeded(5);
    let mut p = vec![0.0; net.num_params()];
    net.init(&mut p, &mut rng);
    p.iter_mut().for_each(|p| *p += 0.2 * f64::normal(&mut rng));
    p
}

fn objective<'a>(
    net: &'a VelocityNet<f64>,
    config: &'a FlowMatchingConfig,
    units: &'a Standardizer,
) -> Regression<'a, f64, Speed, Lines<'a>> {
    Regression { net, ends: Lines { source: &config.source, units, pairing: config.pairing }, dropout: 0.0 }
}

#[test]
fn flow_matching_gradient_is_that_of_its_loss() {
    for (dim, pairing) in [1, 2, 5].into_iter().flat_map(|d| [(d, Pairing::Independent), (d, MATCHED)]) {
        for condition in [ConditionKind::None, ConditionKind::Vector { dim: 2 }] {
            let config = FlowMatchingConfig { dim, pairing, condition, ..small() };
            let (net, units) = (VelocityNet::new(&config).unwrap(), Standardizer::identity(dim));
            let loss = Regression { dropout: 0.3, ..objective(&net, &config, &units) };
            let (p, rng, rows) = (random_params(&net), &mut seeded(1), 5);
            let (mut x, c) = (normals(rows * dim, rng), normals(rows * condition.width(), rng));
            // A row out of reach, and one that is where the field fades out for part of its way.
            (x[0], x[2 * dim]) = (90.0, 24.0);
            let what = format!("{dim} columns, {pairing:?}, {condition:?}");
            check_gradient(&what, &loss, &p, rows, Batch { x: &x, c: &c }, |_| false);
        }
    }
}

/// At v̂ = 0 the loss is the mean square of the lines' lengths.
#[test]
fn matched_lines_are_shortest() {
    let loss = |pairing, rows: usize| {
        let config = FlowMatchingConfig { pairing, ..small() };
        let (net, units) = (VelocityNet::new(&config).unwrap(), Standardizer::identity(2));
        let objective = objective(&net, &config, &units);
        let p = vec![0.0; net.num_params()];
        let (mut noise, mut scratch) = (Drawn::default(), Default::default());
        Loss::<f64>::draw(&objective, rows, &[], START, &mut seeded(3), &mut noise);
        // The data are the source rows themselves in another order, shifted: no line need be longer than the
        // shift.
        let x: Vec<f64> = noise.ends.chunks_exact(2).rev().flatten().map(|&x0| x0 + 0.5).collect();
        let w = Weights { p: &p, t: &[] };
        let loss: f64 = objective.loss_grad(w, Batch::of(&x), &noise, 0.0, None, &mut [], &mut scratch);
        (loss / rows as f64, Loss::<f64>::tile(&objective))
    };
    let (matched, tile) = loss(Pairing::OptimalTransport { rows: 100 }, 100);
    assert_relative_eq!(matched, 0.25, max_relative = 1e-6);
    assert_eq!(tile, 100, "what is matched is seen together");
    // Independent standard normals, one shifted by (½, ½): 2 + ¼ a coordinate.
    assert!(loss(Pairing::Independent, 100).0 > 1.5);
}

#[test]
fn the_times_of_a_batch_leave_no_gap() {
    let (config, units) = (small(), Standardizer::identity(2));
    let net = VelocityNet::new(&config).unwrap();
    let objective = objective(&net, &config, &units);
    let (mut noise, mut rng, mut sum) = (Drawn::default(), seeded(3), 0.0);
    for _ in 0..200 {
        Loss::<f64>::draw(&objective, 64, &[], START, &mut rng, &mut noise);
        let mut t = noise.levels.clone();
        t.sort_by(f64::total_cmp);
        assert!(t[0] >= 0.0 && t[63] < 1.0);
        assert!(t.windows(2).all(|w| (w[1] - w[0] - 1.0 / 64.0).abs() < 1e-12));
        sum += t.iter().sum::<f64>() / 64.0;
    }
    // The mean of a batch is ½ with standard deviation 1/(64 √12).
    assert!((sum / 200.0 - 0.5).abs() < 4.0 / 64.0 / (12.0 * 200f64).sqrt());
}

/// A Gaussian source and Gaussian data, both coordinates of variance 1, correlation ρ: in each principal
/// direction, of variance λ = 1 ± ρ, x_t has variance s = t²λ + (1 − t)², and E[x₁ − x₀ | x_t] =
/// (tλ − (1 − t))/s · x_t.
struct Correlated(f64);

impl Correlated {
    fn slopes(&self, t: f64) -> [f64; 2] {
        [1.0 + self.0, 1.0 - self.0].map(|l| (t * l - (1.0 - t)) / (t * t * l + (1.0 - t).powi(2)))
    }

    fn velocity(&self, t: f64, x: &[f64]) -> [f64; 2] {
        let [a, b] = self.slopes(t);
        let (sum, difference) = (a * (x[0] + x[1]) / 2.0, b * (x[0] - x[1]) / 2.0);
        [sum + difference, sum - difference]
    }

    fn toy(&self) -> Toy {
        let covariance = array![[[1.0, self.0], [self.0, 1.0]]];
        Toy::mixture(&[1.0], array![[0.0, 0.0]].view(), covariance.view()).unwrap()
    }
}

impl Velocity for Correlated {
    type Scratch = ();

    fn dim(&self) -> usize {
        2
    }

    fn velocity(&self, _: &[usize], t: &[f64], x: &[f64], v: &mut [f64], _: &mut ()) {
        for ((t, x), v) in t.iter().zip(x.chunks_exact(2)).zip(v.chunks_exact_mut(2)) {
            v.copy_from_slice(&Correlated::velocity(self, *t, x));
        }
    }

    fn divergence(&self, t: &[f64], _: &[f64], _: Tangents<'_>, divergence: &mut [f64], _: &mut ()) {
        for (t, divergence) in t.iter().zip(divergence) {
            *divergence = self.slopes(*t).iter().sum();
        }
    }
}

#[test]
fn the_mean_velocity_of_the_lines_carries_source_to_data() {
    let truth = Correlated(0.8);
    let x = truth.toy().sample(100, &mut seeded(0));
    let solver = Solver::DormandPrince { rtol: 1e-8, atol: 1e-8 };
    let divergence = (TraceEstimator::Exact, Streams::new(0));
    let (nats, _) = transport::score(
        |_, _| Correlated(0.8),
        solver,
        (1.0, 0.0),
        divergence,
        x.view(),
        (|_| {}, |_, _| {}),
        standard_normal,
    )
    .unwrap();
    for (nats, want) in nats.iter().zip(truth.toy().log_density(x.view()).unwrap()) {
        assert_relative_eq!(*nats, want, max_relative = 1e-6);
    }
}

#[test]
fn training_finds_the_mean_velocity_of_the_lines() {
    let truth = Correlated(0.8);
    let data = Dataset::new(truth.toy().sample(8_000, &mut seeded(1))).unwrap();
    let config = FlowMatchingConfig {
        network: NetworkSpec::mlp([32, 32], Activation::Silu, 0),
        whiten: false,
        ..Default::default()
    };
    let mut model = FlowMatching::new(config, &mut seeded(2)).unwrap();
    let options = TrainOptions { steps: 1500, ..Default::default() };
    model.train(&data, &options, &mut seeded(3), &mut NoObserver).unwrap();
    let (p, mut pass, mut rng) = (&model.learned.parameters.average, Default::default(), seeded(4));
    let (mut error, mut size) = (0.0, 0.0);
    let data = truth.toy().sample(2_000, &mut seeded(5));
    for (k, x1) in data.rows().into_iter().enumerate() {
        let t = (k as f64 + 0.5) / 2_000.0;
        let x: Vec<f32> =
            x1.iter().map(|x1| (1.0 - t as f32) * f32::normal(&mut rng) + t as f32 * x1).collect();
        let want = truth.velocity(t, &[x[0].into(), x[1].into()]);
        for (got, want) in model.net.infer(p, At { x: &x, c: &[], levels: &[t] }, &mut pass).iter().zip(want)
        {
            error += (f64::from(*got) - want).powi(2);
            size += want.powi(2);
        }
    }
    assert!(error < 0.005 * size, "{}", error / size);
}

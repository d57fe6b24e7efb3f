//! Conditions, guidance and networks of one's own, in the whole family.

use crate::nn::{Activation, NetworkSpec};
use std::sync::Arc;

use ndarray::{Array1, Array2, array};

use super::small;
use crate::diffusion::matching::VelocityNet;
use crate::diffusion::network::{At, NoiseNet};
use crate::diffusion::objective::{Drawn, Levels, NoiseMse};
use crate::diffusion::path::{Line, Path};
use crate::diffusion::*;
use crate::engine::{Batch, Loss, Progress};
use crate::error::Error;
use crate::nn::{Direction, Inputs, VectorField, Weights, Workspace};
use crate::numeric::Real;
use crate::numeric::rng::seeded;
use crate::testing::{check_gradient, normals};

const CLASSES: ConditionKind = ConditionKind::Class { classes: 3 };
/// Mean and standard deviation of each class.
const PARTS: [(f32, f32); 3] = [(-2.0, 0.3), (0.0, 0.5), (2.5, 0.8)];

/// Rows of class k are N(mean, sd²), as many of each.
fn by_class(n: usize) -> Dataset {
    let mut rng = seeded(0);
    let class = |row: usize| row % 3;
    let x = Array2::from_shape_fn((n, 1), |(row, _)| {
        let (mean, sd) = PARTS[class(row)];
        mean + sd * f32::normal(&mut rng)
    });
    let classes = Array1::from_shape_fn(n, |row| class(row) as u32);
    Dataset::new(x).unwrap().with_condition(Condition::Class(classes)).unwrap()
}

/// Rows are N(c, 0.4²) for c uniform on −2 to 2.
fn by_number(n: usize) -> Dataset {
    let mut rng = seeded(1);
    let c = Array2::from_shape_fn((n, 1), |(row, _)| 4.0 * (row as f32 + 0.5) / n as f32 - 2.0);
    let x = c.mapv(|c| c + 0.4 * f32::normal(&mut rng));
    Dataset::new(x).unwrap().with_condition(Condition::Vector(c)).unwrap()
}

fn diffusion(condition: ConditionKind) -> Diffusion {
    let sampler = Sampler::DpmSolver { steps: 25 };
    let config = DiffusionConfig {
        dim: 1,
        network: NetworkSpec::mlp([32, 32], Activation::Silu, 1),
        condition,
        sampler,
        ..Default::default()
    };
    Diffusion::new(config, &mut seeded(2)).unwrap()
}

fn matching(condition: ConditionKind) -> FlowMatching {
    let config = FlowMatchingConfig {
        dim: 1,
        network: NetworkSpec::mlp([32, 32], Activation::Silu, 1),
        condition,
        ..Default::default()
    };
    FlowMatching::new(config, &mut seeded(2)).unwrap()
}

fn trained<M: Generative>(mut model: M, data: &Dataset, steps: usize) -> M {
    let options = TrainOptions { steps, batch: 128, ..Default::default() };
    model.train(data, &options, &mut seeded(3), &mut NoObserver).unwrap();
    model
}

fn nats(model: &dyn Distribution, x: &Array2<f32>) -> Array1<f64> {
    model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap().nats().unwrap().clone()
}

/// p(x|c) = N(mean, sd²): it integrates to 1, its log-density is near the truth's, and draws have the moments of the
/// density.
fn is_normal(name: &str, model: &dyn Distribution, mean: f32, sd: f32) {
    let cell = 0.04;
    let lattice = Array2::from_shape_fn((300, 1), |(k, _)| cell * (k as f32 - 149.5));
    let nats = nats(model, &lattice);
    let mass = nats.iter().map(|nats| nats.exp()).sum::<f64>() * f64::from(cell);
    assert!((mass - 1.0).abs() < 0.01, "{name}: mass {mass}");
    // KL from the truth, on the lattice.
    let gap: f64 = lattice
        .iter()
        .zip(&nats)
        .map(|(&x, nats)| {
            let z = f64::from((x - mean) / sd);
            let truth = -0.5 * (z * z + std::f64::consts::TAU.ln()) - f64::from(sd).ln();
            truth.exp() * f64::from(cell) * (truth - nats)
        })
        .sum();
    assert!((-0.01..0.05).contains(&gap), "{name}: gap {gap}");
    let moment = |g: &dyn Fn(f64) -> f64| -> f64 {
        let terms = lattice.iter().zip(&nats).map(|(&x, nats)| g(x.into()) * nats.exp() * f64::from(cell));
        terms.sum()
    };
    let center = moment(&|x| x);
    let width = moment(&|x| (x - center).powi(2)).sqrt();
    let x = model.draw(2_000, &mut seeded(5)).unwrap().mapv(f64::from);
    // Four standard errors of the mean and of the standard deviation, and what the steps lose.
    assert!((x.mean().unwrap() - center).abs() < 0.1 * width, "{name}: mean {:?}, not {center}", x.mean());
    assert!((x.std(0.0) / width - 1.0).abs() < 0.09, "{name}: sd {}, not {width}", x.std(0.0));
}

#[test]
fn conditional_densities_are_the_ones_of_their_classes() {
    let data = by_class(6_000);
    let models: [Box<dyn Generative>; 2] = [
        Box::new(trained(diffusion(CLASSES), &data, 1_200)),
        Box::new(trained(matching(CLASSES), &data, 1_200)),
    ];
    for model in &models {
        let name = model.card().name;
        for (class, (mean, sd)) in PARTS.into_iter().enumerate() {
            let given = model.given(&Condition::class(class as u32)).unwrap();
            is_normal(&format!("{name}, class {class}"), given.as_ref(), mean, sd);
        }
        // Without a condition it is the density of all rows: it has their mean and their standard deviation.
        let lattice = Array2::from_shape_fn((400, 1), |(k, _)| 0.04 * (k as f32 - 199.5));
        let p = nats(model.as_ref(), &lattice).mapv(|nats| 0.04 * nats.exp());
        let moment = |k: i32| p.iter().zip(&lattice).map(|(p, &x)| p * f64::from(x).powi(k)).sum::<f64>();
        assert!((moment(0) - 1.0).abs() < 0.01, "{name}, no condition: mass {}", moment(0));
        let x = data.x().mapv(f64::from);
        let (mean, sd) = (moment(1), (moment(2) - moment(1).powi(2)).sqrt());
        assert!((mean - x.mean().unwrap()).abs() < 0.3, "{name}, no condition: mean {mean}");
        assert!((sd / x.std(0.0) - 1.0).abs() < 0.2, "{name}, no condition: sd {sd}");
    }
}

#[test]
fn conditional_densities_follow_a_number() {
    let data = by_number(6_000);
    let kind = ConditionKind::Vector { dim: 1 };
    let models: [Box<dyn Generative>; 2] =
        [Box::new(trained(diffusion(kind), &data, 1_000)), Box::new(trained(matching(kind), &data, 1_000))];
    for model in &models {
        for c in [-1.5, 0.2, 1.7] {
            let given = model.given(&Condition::vector(&[c])).unwrap();
            is_normal(&format!("{}, c = {c}", model.card().name), given.as_ref(), c, 0.4);
        }
    }
}

#[test]
fn rows_with_their_own_conditions_are_as_alone() {
    let data = by_class(300);
    let x = array![[0.3], [-1.0], [2.0], [0.3]];
    let classes = [2, 0, 1, 0];
    let each = Condition::Class(Array1::from(classes.to_vec()));
    let models: [Box<dyn Generative>; 3] = [
        Box::new(trained(diffusion(CLASSES), &data, 30)),
        Box::new(trained(matching(CLASSES), &data, 30)),
        Box::new(trained(
            ScoreModel::new(
                ScoreConfig {
                    dim: 1,
                    network: NetworkSpec::mlp([8], Activation::Silu, 4),
                    levels: 3,
                    condition: CLASSES,
                    ..Default::default()
                },
                &mut seeded(2),
            )
            .unwrap(),
            &data,
            30,
        )),
    ];
    for model in &models {
        let given = model.given(&each).unwrap();
        let drawn = given.draw(4, &mut seeded(7)).unwrap();
        for (row, class) in classes.into_iter().enumerate() {
            let alone = model.given(&Condition::class(class)).unwrap();
            assert_eq!(alone.draw(4, &mut seeded(7)).unwrap().row(row), drawn.row(row));
        }
        if model.card().likelihood == LikelihoodKind::Unavailable {
            continue;
        }
        let all = nats(given.as_ref(), &x);
        for (row, class) in classes.into_iter().enumerate() {
            let alone = nats(
                model.given(&Condition::class(class)).unwrap().as_ref(),
                &x.slice(ndarray::s![row..row + 1, ..]).to_owned(),
            );
            assert_eq!(alone[0], all[row], "{}", model.card().name);
        }
        assert_ne!(all[0], all[3], "the class matters");
        let wrong = given.log_likelihood(x.slice(ndarray::s![..3, ..]), &LikelihoodOptions::default());
        assert!(matches!(wrong, Err(Error::Condition(_))), "{wrong:?}");
    }
}

const START: Progress = Progress { step: 0, steps: 1 };

#[test]
fn diffusion_gradient_under_classes_is_that_of_its_loss() {
    let config = DiffusionConfig { condition: CLASSES, ..small() };
    let net = NoiseNet::<f64>::new(&config).unwrap();
    let loss = NoiseMse { net: &net, ends: Levels::LogSnr(-5.0, 6.0), dropout: 0.3 };
    let (p, rows) = (super::random_params(&net), 6);
    let x: Vec<f64> = normals(2 * rows, &mut seeded(1));
    let c: Vec<f64> = (0..rows).flat_map(|r| [0, 1, 2].map(|k| f64::from(u8::from(k == r % 3)))).collect();
    let dp = check_gradient("dp", &loss, &p, rows, Batch { x: &x, c: &c }, |_| false).dp;
    // The last parameters are those of the condition.
    assert!(dp[p.len() - 3 * 8..].iter().any(|dp| *dp != 0.0));
}

#[test]
fn training_drops_its_share_of_the_conditions() {
    let config = DiffusionConfig { condition: CLASSES, ..small() };
    let net = NoiseNet::<f64>::new(&config).unwrap();
    let c = [0.0, 1.0, 0.0].repeat(5_000);
    for dropout in [0.0, 0.1, 0.4] {
        let loss = NoiseMse { net: &net, ends: Levels::LogSnr(-5.0, 6.0), dropout };
        let mut drawn = Drawn::default();
        loss.draw(5_000, &c, START, &mut seeded(1), &mut drawn);
        let kept = drawn.c.chunks_exact(3).filter(|row| *row == [0.0, 1.0, 0.0]).count();
        let dropped = drawn.c.chunks_exact(3).filter(|row| *row == [0.0; 3]).count();
        assert_eq!(kept + dropped, 5_000);
        let sd = (dropout * (1.0 - dropout) / 5_000.0f64).sqrt();
        let share = dropped as f64 / 5_000.0;
        assert!((share - dropout).abs() <= 4.0 * sd, "{share} of {dropout}");
    }
}

#[test]
fn a_guided_step_mixes_two_predictions() {
    let model = trained(diffusion(CLASSES), &by_class(300), 50);
    let level = NoiseLevel::at_sigma(0.5);
    let x = [0.3, -0.7, 1.1];
    // A class for each row, and one for all.
    for c in [&[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0][..], &[0.0, 0.0, 1.0]] {
        let ask = |c: &[f32]| -> Vec<f32> {
            let at = At { x: &x, c, levels: &[level] };
            model.net.infer(&model.learned.parameters.average, at, &mut Default::default()).to_vec()
        };
        let (asked, without) = (ask(c), ask(&[0.0; 3]));
        let guided = model.with_guidance(Guidance { scale: 2.5, ..Default::default() }).unwrap();
        let (mut workspace, mut spent) = (Default::default(), 0);
        let guide = guided.guided(c);
        let mixed = predictor::Predictor::predict(&guide, &x, level, &mut workspace, &mut spent);
        assert_eq!(spent, 2);
        for ((mixed, asked), without) in mixed.iter().zip(asked).zip(without) {
            let want = without + 2.5 * (asked - without);
            assert!((mixed - want).abs() < 1e-5 * (1.0 + want.abs()), "{mixed}, expected {want}");
        }
    }
}

#[test]
fn guided_evaluations_are_predicted_by_the_card() {
    let data = by_class(300);
    let model = trained(diffusion(CLASSES), &data, 20);
    let counted = |model: &dyn Generative| {
        let given = model.given(&Condition::class(1)).unwrap();
        let nfe = given.sample(3, &SampleOptions::default(), &mut seeded(1)).unwrap().nfe;
        assert_eq!((nfe, nfe), (model.card().nfe, given.card().nfe), "{}", model.card().name);
        nfe
    };
    let interval = |from, to| Guidance { scale: 2.0, interval: (from, to), ..Default::default() };
    for (sampler, plain) in [
        (Sampler::Ddim { steps: 20, eta: 0.5 }, 20),
        (Sampler::Heun { steps: 10 }, 19),
        (Sampler::Ode { method: Method::Rk4, steps: 5 }, 20),
    ] {
        let model = model.with_sampler(sampler).unwrap();
        assert_eq!(counted(&model), plain);
        assert_eq!(counted(&model.with_guidance(Guidance::default()).unwrap()), 2 * plain);
        let part = counted(&model.with_guidance(interval(0.1, 2.0)).unwrap());
        assert!(part > plain && part < 2 * plain, "{part}");
        let none = Guidance { scale: 1.0, ..Default::default() };
        assert_eq!(counted(&model.with_guidance(none).unwrap()), plain);
    }
    // Between σ/α of 0.1 and 2 lie the levels of a list that are between.
    let listed = model.with_sampler(Sampler::DpmSolver { steps: 4 }).unwrap();
    let listed = listed.with_grid(Grid::Levels(vec![40.0, 2.0, 0.1, 0.05])).unwrap();
    assert_eq!(counted(&listed.with_guidance(interval(0.1, 2.0)).unwrap()), 4 + 2);
    // Times of a flow matching: of Euler's t = 0, ¼, ½, ¾, two.
    let flow = trained(matching(CLASSES), &data, 20);
    let flow = flow.with_sampler(FlowSteps { method: Method::Euler, steps: 4 }).unwrap();
    let guided =
        flow.with_guidance(Guidance { scale: 2.0, interval: (0.5, 0.9), ..Default::default() }).unwrap();
    assert_eq!((counted(&flow), counted(&guided)), (4, 6));
    assert_eq!(Line::mark(0.5), 0.5);
}

#[test]
fn guidance_has_no_likelihood_and_says_against_what_it_cannot_be() {
    let data = by_class(300);
    let model = trained(diffusion(CLASSES), &data, 20);
    let guided = model.with_guidance(Guidance::default()).unwrap();
    let given = guided.given(&Condition::class(0)).unwrap();
    assert_eq!((guided.card().likelihood, given.card().likelihood), {
        let none = LikelihoodKind::Unavailable;
        (none, none)
    });
    let score = given.log_likelihood(data.x(), &LikelihoodOptions::default()).unwrap();
    assert_eq!(score, LogLikelihood::Unavailable);
    // Against itself nothing changes, whatever the scale.
    let itself = Guidance { scale: 7.0, against: Against::Weaker(model.clone()), ..Default::default() };
    let draw =
        |model: &Diffusion| model.given(&Condition::class(2)).unwrap().draw(20, &mut seeded(4)).unwrap();
    let apart = draw(&model.with_guidance(itself).unwrap()) - draw(&model);
    assert!(apart.iter().all(|d| d.abs() < 1e-3), "{apart}");
    // Against an earlier state something does.
    let mut later = model.clone();
    later
        .train(&data, &TrainOptions { steps: 20, ..Default::default() }, &mut seeded(3), &mut NoObserver)
        .unwrap();
    let weaker = Guidance { against: Against::Weaker(model.clone()), ..Default::default() };
    assert_ne!(draw(&later.with_guidance(weaker).unwrap()), draw(&later));

    let refused = |model: &Diffusion, guidance, name: &str| match model.with_guidance(guidance) {
        Err(Error::Config { field, .. }) => assert_eq!(field, name),
        Err(other) => panic!("{name}: {other}"),
        Ok(_) => panic!("{name} is not refused"),
    };
    refused(&model, Guidance { scale: f64::NAN, ..Default::default() }, "Guidance::scale");
    refused(&model, Guidance { interval: (2.0, 1.0), ..Default::default() }, "Guidance::interval");
    let plain = diffusion(ConditionKind::None);
    refused(&plain, Guidance::default(), "Guidance::against");
    let always = DiffusionConfig { condition_dropout: 0.0, ..model.config().clone() };
    refused(&Diffusion::new(always, &mut seeded(0)).unwrap(), Guidance::default(), "Guidance::against");
    // Of other units.
    let other = Guidance { against: Against::Weaker(diffusion(CLASSES)), ..Default::default() };
    refused(&model, other, "Guidance::against");
}

#[test]
fn matched_rows_have_no_condition() {
    let config = FlowMatchingConfig {
        pairing: Pairing::OptimalTransport { rows: 64 },
        condition: CLASSES,
        ..Default::default()
    };
    let refused = config.validate();
    assert!(
        matches!(refused, Err(Error::Config { field: "FlowMatchingConfig::pairing", .. })),
        "{refused:?}"
    );
}

/// The built-in network, handed in from outside, is the built-in model to the bit; but no file can hold it.
#[test]
fn a_network_of_ones_own_trains_draws_and_scores() {
    let data = by_class(300);
    let DiffusionConfig { dim, network, time_features, .. } = diffusion(CLASSES).config().clone();
    let network = network.vector_field::<f32>(dim, 3, time_features).unwrap();
    let x = array![[0.2], [-1.0]];
    let answers = |model: &dyn Generative| {
        let given = model.given(&Condition::class(1)).unwrap();
        (given.draw(5, &mut seeded(1)).unwrap(), nats(given.as_ref(), &x))
    };
    let config = diffusion(CLASSES).config().clone();
    let own = Diffusion::with_network(config.clone(), network.clone(), &mut seeded(2)).unwrap();
    let own = trained(own, &data, 20);
    assert_eq!(answers(&own), answers(&trained(diffusion(CLASSES), &data, 20)));
    let flow = matching(CLASSES).config().clone();
    let own_flow =
        trained(FlowMatching::with_network(flow, network.clone(), &mut seeded(2)).unwrap(), &data, 20);
    assert_eq!(answers(&own_flow), answers(&trained(matching(CLASSES), &data, 20)));
    #[cfg(feature = "safetensors")]
    {
        use crate::persist::Persist;
        assert!(matches!(own.to_bytes(), Err(Error::File(crate::error::FileError::Format { .. }))));
        assert!(matches!(own_flow.to_bytes(), Err(Error::File(crate::error::FileError::Format { .. }))));
        let guided = trained(diffusion(CLASSES), &data, 2).with_guidance(Guidance::default()).unwrap();
        assert!(matches!(guided.to_bytes(), Err(Error::File(crate::error::FileError::Format { .. }))));
    }
    let other = DiffusionConfig { dim: 2, ..config.clone() };
    let refused = Diffusion::with_network(other, network.clone(), &mut seeded(2));
    assert!(matches!(refused, Err(Error::Config { field: "VectorField::dim", .. })), "{refused:?}");
    let other = DiffusionConfig { condition: ConditionKind::None, ..config };
    let refused = Diffusion::with_network(other, network, &mut seeded(2));
    assert!(matches!(refused, Err(Error::Config { field: "VectorField::condition", .. })), "{refused:?}");
}

/// With a source that is not Gaussian, v̂ beyond 20 standard deviations stays what it is at 20.
#[test]
fn a_velocity_ends_at_20_standard_deviations() {
    let toy = crate::worlds::Toy::moons(0.1).unwrap();
    let config = FlowMatchingConfig {
        source: Source::Toy(toy),
        network: NetworkSpec::mlp([8], Activation::Silu, 1),
        ..Default::default()
    };
    let net: VelocityNet<f64> = VelocityNet::new(&config).unwrap();
    let mut p = vec![0.0; net.num_params()];
    net.init(&mut p, &mut seeded(0));
    p.iter_mut().enumerate().for_each(|(i, p)| *p += 0.1 * (i as f64).sin());
    let at =
        |x: [f64; 2]| net.infer(&p, At { x: &x, c: &[], levels: &[0.4] }, &mut Default::default()).to_vec();
    assert_eq!(at([20.0, -20.0]), at([25.0, -300.0]));
    assert_ne!(at([20.0, -20.0]), at([19.0, -20.0]));
}

/// p(x|c) = N(0, 1) and p(x) = N(0, 2) in one column, whose predictions are known: E[v | x] of a diffusion (with α² +
/// σ² = 1), or of straight lines.
#[derive(Debug)]
struct Known {
    lines: bool,
}

impl VectorField for Known {
    fn dim(&self) -> usize {
        1
    }

    fn condition(&self) -> usize {
        1
    }

    fn num_params(&self) -> usize {
        0
    }

    fn init(&self, _: &mut [f32], _: &mut crate::numeric::rng::Rng) {}

    fn forward(&self, _: &[f32], at: Inputs<f32>, v: &mut [f32], _: &mut Workspace) {
        for (r, (v, x)) in v.iter_mut().zip(at.x).enumerate() {
            let variance = 2.0 - at.condition(r, 1)[0];
            let noise = at.moment(r).blur as f32;
            *v = if self.lines {
                let t = 1.0 - noise;
                (t * variance - noise) / (t * t * variance + noise * noise) * x
            } else {
                // ε̂ = σ x/(α² variance + σ²) = σ x + α v.
                let alpha = (1.0 - noise * noise).sqrt();
                noise * alpha * (1.0 - variance) / (alpha * alpha * variance + noise * noise) * x
            };
        }
    }

    fn backward(
        &self,
        _: Weights<f32>,
        _: Inputs<f32>,
        _: &[f32],
        _: Option<&mut [f32]>,
        _: Option<&mut [f32]>,
        _: &mut Workspace,
    ) {
        unreachable!("it does not learn")
    }

    fn jvp(&self, _: &[f32], _: Inputs<f32>, _: Direction<f32>, _: &mut [f32], _: &mut Workspace) {
        unreachable!("it is not scored")
    }
}

/// In the limit of many steps the guided probability flow has the variance 2^(1 − w), and guided ancestral sampling
/// (2 − 2^(2 − 2w))/(2w − 1): neither is the 2/(w + 1) of the tilted density p(x|c)ʷ p(x)¹⁻ʷ.
#[test]
fn guided_variances_are_those_of_their_formulas() {
    let condition = ConditionKind::Class { classes: 1 };
    let config = DiffusionConfig { dim: 1, condition, timesteps: 500, ..Default::default() };
    let model = Diffusion::with_network(config, Arc::new(Known { lines: false }), &mut seeded(0)).unwrap();
    let config = FlowMatchingConfig { dim: 1, condition, ..Default::default() };
    let flow = FlowMatching::with_network(config, Arc::new(Known { lines: true }), &mut seeded(0)).unwrap();
    let fine = model.with_sampler(Sampler::Ode { method: Method::Rk4, steps: 100 }).unwrap();
    let variance = |model: &dyn Generative, n| {
        let given = model.given(&Condition::class(0)).unwrap();
        let x = given.draw(n, &mut seeded(1)).unwrap();
        x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n as f64
    };
    // Along an ODE a row is a multiple of its noise: of a model that is not guided, the noise itself.
    let noise = variance(&fine, 50);
    let noise_of_flow = variance(&flow, 50);
    for w in [2.0, 3.0, 5.0f64] {
        let guidance = Guidance { scale: w, ..Default::default() };
        let want = 2f64.powf(1.0 - w);
        let got = variance(&fine.with_guidance(guidance).unwrap(), 50) / noise;
        assert!((got / want - 1.0).abs() < 0.005, "w = {w}, ODE: {got}, expected {want}");
        let guidance = Guidance { scale: w, ..Default::default() };
        let got = variance(&flow.with_guidance(guidance).unwrap(), 50) / noise_of_flow;
        assert!((got / want - 1.0).abs() < 0.005, "w = {w}, flow matching: {got}, expected {want}");
        let want = (2.0 - 2f64.powf(2.0 - 2.0 * w)) / (2.0 * w - 1.0);
        let guidance = Guidance { scale: w, ..Default::default() };
        let got = variance(&model.with_guidance(guidance).unwrap(), 20_000);
        // Four standard errors are 4 %.
        assert!((got / want - 1.0).abs() < 0.045, "w = {w}, DDPM: {got}, expected {want}");
    }
}

/// On a ring of classes that overlap: the more guidance, the surer the class of a draw, and the less diverse the draws.
#[test]
fn guidance_trades_diversity_for_adherence() {
    let angle = |class: usize| std::f32::consts::TAU * class as f32 / 8.0;
    let nearest = |x: f32, y: f32| {
        let cosine = |class: &usize| angle(*class).cos() * x + angle(*class).sin() * y;
        (0..8).max_by(|a, b| cosine(a).total_cmp(&cosine(b))).unwrap()
    };
    // Rows of a class, about its center, with the noise of the ring.
    let mut rng = seeded(0);
    let classes = Array1::from_shape_fn(6_000, |row| row as u32 % 8);
    let x = Array2::from_shape_fn((6_000, 2), |(row, c)| {
        let angle = angle(row % 8);
        [angle.cos(), angle.sin()][c] + 0.4 * f32::normal(&mut rng)
    });
    let data = Dataset::new(x).unwrap().with_condition(Condition::Class(classes)).unwrap();
    let config = DiffusionConfig {
        network: NetworkSpec::mlp([48, 48], Activation::Silu, 1),
        condition: ConditionKind::Class { classes: 8 },
        sampler: Sampler::DpmSolver { steps: 12 },
        ..Default::default()
    };
    let model = trained(Diffusion::new(config, &mut seeded(2)).unwrap(), &data, 800);
    let (mut adherence, mut spread) = (Vec::new(), Vec::new());
    for w in [1.0, 1.25, 1.5] {
        let guided = model.with_guidance(Guidance { scale: w, ..Default::default() }).unwrap();
        let (mut right, mut sd) = (0, 0.0);
        for class in 0..8 {
            let x = guided.given(&Condition::class(class as u32)).unwrap().draw(400, &mut seeded(6)).unwrap();
            right += x.rows().into_iter().filter(|x| nearest(x[0], x[1]) == class).count();
            sd += x.var_axis(ndarray::Axis(0), 0.0).sum().sqrt() / 8.0;
        }
        adherence.push(right as f64 / 3_200.0);
        spread.push(sd);
    }
    assert!(adherence.windows(2).all(|w| w[1] > w[0] + 0.03), "{adherence:?}");
    assert!(spread.windows(2).all(|w| w[1] < 0.95 * w[0]), "{spread:?}");
}

//! Energies under conditions: what they learn, draw and score.

use crate::nn::NetworkSpec;
use std::ops::ControlFlow;

use super::*;
use crate::energy::objective::Contrast;
use crate::engine::{Checkpoint, Loss as _, Progress};
use crate::error::ConditionError;
use crate::numeric::Real;

const CLASSES: ConditionKind = ConditionKind::Class { classes: 3 };
const NUMBER: ConditionKind = ConditionKind::Vector { dim: 1 };

/// x = m(c) + s(c) ε in one column: where each condition's rows lie, and how wide.
fn of_class(class: u32) -> (f64, f64) {
    [(-1.5, 0.3), (0.0, 0.6), (2.0, 0.2)][class as usize]
}

fn of_number(c: f32) -> (f64, f64) {
    (2.0 * f64::from(c), 0.4)
}

/// Rows of both kinds: classes with shares of 1/6, 2/6 and 3/6, numbers spread over ±1.
fn rows(kind: ConditionKind, n: usize, seed: u64) -> Dataset {
    blurred(kind, n, seed, 0.0)
}

/// The same under noise of that standard deviation.
fn blurred(kind: ConditionKind, n: usize, seed: u64, blur: f64) -> Dataset {
    let mut rng = seeded(seed);
    let mut draw = |(m, s): (f64, f64)| (m + s.hypot(blur) * f64::normal(&mut rng)) as f32;
    let (x, condition): (Vec<f32>, _) = match kind {
        CLASSES => {
            let class = |row: usize| [0, 1, 1, 2, 2, 2][row % 6];
            let x = (0..n).map(|row| draw(of_class(class(row)))).collect();
            (x, Condition::Class(Array1::from_shape_fn(n, class)))
        }
        _ => {
            let c = Array2::from_shape_fn((n, 1), |(row, _)| (2.0 * (row as f32 * 0.618).fract()) - 1.0);
            (c.iter().map(|&c| draw(of_number(c))).collect(), Condition::Vector(c))
        }
    };
    Dataset::new(Array2::from_shape_vec((n, 1), x).unwrap()).unwrap().with_condition(condition).unwrap()
}

fn config(condition: ConditionKind, training: EnergyTraining) -> EnergyConfig {
    EnergyConfig {
        dim: 1,
        network: NetworkSpec::mlp([32, 32], Activation::Silu, 2),
        condition,
        langevin: Langevin { steps: 100, ..Default::default() },
        normalization: Normalization::Quadrature { intervals: 512 },
        ..small(training)
    }
}

fn three(kind: ConditionKind) -> [Condition; 3] {
    match kind {
        CLASSES => [0, 1, 2].map(Condition::class),
        _ => [-1.0, 0.25, 1.0].map(|c| Condition::vector(&[c])),
    }
}

fn nats(model: &EnergyModel, condition: &Condition, x: &Array2<f32>) -> Array1<f64> {
    let given = model.given(condition).unwrap();
    given.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap().nats().unwrap().clone()
}

#[test]
fn conditional_density_integrates_to_one_under_each_condition() {
    for kind in [CLASSES, NUMBER] {
        let model = trained(config(kind, CHAINS), &rows(kind, 600, 0), &options(60));
        let step = 0.005;
        let x = Array2::from_shape_fn((8_000, 1), |(row, _)| (row as f32 - 3_999.5) * step);
        let totals = three(kind).map(|c| f64::from(step) * nats(&model, &c, &x).mapv(f64::exp).sum());
        assert!(totals.iter().all(|total| (total - 1.0).abs() < 1e-4), "{kind:?}: {totals:?}");
    }
}

/// The mean of ln p(x|c) − ln q(x|c) over 600 rows under noise, and its standard error.
fn gap(model: &EnergyModel, kind: ConditionKind, blur: f64) -> (f64, f64) {
    let data = blurred(kind, 600, 1, blur);
    let (x, condition) = (data.x().to_owned(), data.condition().unwrap());
    let gaps = Array1::from_shape_fn(x.nrows(), |row| {
        let (m, s) = match condition {
            Condition::Class(classes) => of_class(classes[row]),
            Condition::Vector(numbers) => of_number(numbers[[row, 0]]),
            Condition::Tokens(_) => unreachable!("not among these rows"),
        };
        let s = s.hypot(blur);
        -0.5 * ((f64::from(x[[row, 0]]) - m) / s).powi(2) - (s * std::f64::consts::TAU.sqrt()).ln()
    });
    let gaps = gaps - nats(model, condition, &x);
    (gaps.mean().unwrap(), gaps.std(0.0) / (x.nrows() as f64).sqrt())
}

#[test]
fn chains_learn_the_density_under_each_condition() {
    for kind in [CLASSES, NUMBER] {
        let model = trained(config(kind, CHAINS), &rows(kind, 6_000, 0), &options(600));
        let (kl, error) = gap(&model, kind, 0.0);
        assert!(kl < 0.03 && kl > -5.0 * error, "{kind:?}: KL = {kl} ± {error}");
        // What is drawn is that: the means of 500 rows, whose standard errors are at most 0.03.
        for condition in three(kind) {
            let (m, s) = match &condition {
                Condition::Class(classes) => of_class(classes[0]),
                Condition::Vector(numbers) => of_number(numbers[[0, 0]]),
                Condition::Tokens(_) => unreachable!("not among these"),
            };
            let given = model.given(&condition).unwrap();
            let x = given.sample(500, &SampleOptions::default(), &mut seeded(3)).unwrap().x;
            let (mean, sd) = (f64::from(x.mean().unwrap()), f64::from(x.std(0.0)));
            assert!((mean - m).abs() < 0.15 && (sd / s - 1.0).abs() < 0.25, "{condition:?}: {mean}, {sd}");
        }
    }
}

/// The blur is wide, so that under each condition some rows come by wherever the others' are: where none do, nothing is
/// learned of the energy.
#[test]
fn denoising_learns_the_blurred_density_under_each_condition() {
    let sigma = 1.0;
    for kind in [CLASSES, NUMBER] {
        let training = EnergyTraining::DenoisingScoreMatching { sigma };
        let model = trained(config(kind, training), &rows(kind, 6_000, 0), &options(800));
        let (kl, error) = gap(&model, kind, sigma * model.fitted.standardizer.scale()[0]);
        assert!(kl < 0.05 && kl > -5.0 * error, "{kind:?}: KL = {kl} ± {error}");
    }
}

#[test]
fn one_condition_draws_and_scores_as_the_same_for_each_row() {
    let model = trained(config(CLASSES, CHAINS), &rows(CLASSES, 300, 0), &options(10));
    let (one, each) = (Condition::class(2), Condition::Class(Array1::from_elem(100, 2)));
    let drawn = |condition: &Condition| {
        model.given(condition).unwrap().sample(100, &SampleOptions::default(), &mut seeded(3)).unwrap().x
    };
    assert_eq!(drawn(&one), drawn(&each));
    assert_ne!(drawn(&one), drawn(&three(CLASSES)[0]));
    let x = drawn(&one);
    assert_eq!(nats(&model, &one, &x), nats(&model, &each, &x));
    // Each row has the constant of its own condition.
    let mixed = nats(&model, &Condition::Class(Array1::from_shape_fn(100, |row| (row % 3) as u32)), &x);
    let alone = three(CLASSES).map(|condition| nats(&model, &condition, &x));
    assert!((0..100).all(|row| mixed[row] == alone[row % 3][row]));
    // Without a condition: Σ p(c) p(x|c), with the classes' shares of the training rows.
    let (all, _) = estimate(&model, &x);
    for row in 0..100 {
        let sum: f64 = (0..3).map(|class| (class + 1) as f64 / 6.0 * alone[class][row].exp()).sum();
        assert!((all[row] - sum.ln()).abs() < 1e-9);
    }
}

#[test]
fn chains_are_checked_under_one_condition() {
    let model = trained(config(NUMBER, CHAINS), &rows(NUMBER, 300, 0), &options(100));
    for c in three(NUMBER) {
        let check = model.check_chains_given(1_000, &c, &mut seeded(4)).unwrap();
        let encoded = model.fitted.conditions.encode(Some(&c)).unwrap();
        let ln_z = model.log_partition(512, encoded.as_slice().unwrap()).unwrap().nats;
        let (excess, error) = check.excess();
        assert!(check.effective > 1_000.0 && excess.abs() < 5.0 * error, "{c:?}: {check:?}");
        let (found, error) = check.log_partition;
        assert!((found - ln_z).abs() < 5.0 * error, "{c:?}: {check:?}, by quadrature {ln_z}");
    }
    let missing = model.check_chains(10, &mut seeded(4));
    assert!(matches!(missing, Err(Error::Condition(ConditionError::Missing { .. }))), "{missing:?}");
    let two = model.check_chains_given(10, &Condition::Vector(array![[0.0], [1.0]]), &mut seeded(4));
    assert!(matches!(two, Err(Error::Condition(ConditionError::Rows { got: 2, expected: 1 }))), "{two:?}");
}

/// Chains that hardly move, by their places and conditions.
fn chains_after(kind: ConditionKind, batches: &[&[f64]]) -> Vec<Vec<f64>> {
    let energy = Energy::new(&config(kind, CHAINS));
    let langevin = Langevin { steps: 2, candidates: 0.0, first: 1e-9, last: 1e-9, ..Default::default() };
    let contrast = Contrast::<f64>::new(&energy, langevin, 8, 0.0, 0.0);
    let (mut chains, mut rng) = (Default::default(), seeded(1));
    for c in batches {
        let progress = Progress { step: 0, steps: 1 };
        contrast.draw(c.len() / kind.width(), c, progress, &mut rng, &mut chains);
    }
    let (all, _) = contrast.memory(&mut chains).unwrap();
    all.chunks(1 + kind.width()).map(<[f64]>::to_vec).collect()
}

#[test]
fn a_chain_keeps_its_class_as_long_as_another_has_what_is_asked() {
    let classes = ConditionKind::Class { classes: 2 };
    let (a, b) = ([1.0, 0.0], [0.0, 1.0]);
    let (even, mostly_a, only_a) = ([a, b, a, b].concat(), [a, a, b, a].concat(), [a; 5].concat());
    let started = chains_after(classes, &[&even, &even]);
    assert_eq!(started.len(), 8);
    let of_a = |chains: &[Vec<f64>]| chains.iter().filter(|chain| chain[1..] == a).count();
    assert_eq!(of_a(&started), 4);
    let moved = chains_after(classes, &[&even, &even, &mostly_a, &mostly_a, &mostly_a]);
    for (before, after) in started.iter().zip(&moved) {
        assert!(before[1..] == after[1..] && (before[0] - after[0]).abs() < 1e-6, "{before:?}, {after:?}");
    }
    // Five rows of a class that four chains have.
    assert_eq!(of_a(&chains_after(classes, &[&even, &even, &only_a])), 5);
}

#[test]
fn the_nearest_chain_takes_over_the_condition_of_a_row() {
    let (first, second) =
        ([-1.0, 1.0, -0.5, 1.0, 0.5, 1.0, 1.0, 1.0], [0.1, 1.0, 0.2, 1.0, 0.3, 1.0, 0.4, 1.0]);
    let started = chains_after(NUMBER, &[&first, &second]);
    let moved = chains_after(NUMBER, &[&first, &second, &[0.9, 1.0]]);
    for (before, after) in started.iter().zip(&moved) {
        let c = if before[1] == 1.0 { 0.9 } else { before[1] };
        assert!(after[1..] == [c, 1.0] && (before[0] - after[0]).abs() < 1e-6, "{before:?}, {after:?}");
    }
}

#[test]
fn an_interrupted_training_goes_on_with_the_conditions_of_its_chains() {
    let path = std::env::temp_dir().join(format!("quadrivium-conditional-chains-{}", std::process::id()));
    let train = |checkpoint: Option<Checkpoint>, stop: usize| {
        let mut model = EnergyModel::new(config(CLASSES, CHAINS), &mut seeded(1)).unwrap();
        let options = TrainOptions { checkpoint, ..options(8) };
        let mut observer = |step: &Step<'_>| {
            if step.step == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        model.train(&rows(CLASSES, 300, 0), &options, &mut seeded(2), &mut observer).unwrap();
        model.parameters
    };
    let whole = train(None, 100);
    let checkpoint = Checkpoint { path: path.clone(), every: 100 };
    train(Some(checkpoint.clone()), 3);
    let resumed = train(Some(checkpoint), 100);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(resumed, whole);
}

#[cfg(feature = "safetensors")]
#[test]
fn conditional_file_draws_and_scores_the_same() {
    use crate::model::file::Persist;
    let model = trained(config(NUMBER, CHAINS), &rows(NUMBER, 300, 0), &options(5));
    let back = EnergyModel::from_bytes(&model.to_bytes().unwrap()).unwrap();
    let (x, condition) = (rows(NUMBER, 10, 1).x().to_owned(), Condition::vector(&[0.3]));
    assert_eq!(nats(&back, &condition, &x), nats(&model, &condition, &x));
    assert_eq!(drawn(&back, 20), drawn(&model, 20));
    // What has no condition says nothing of one.
    let bytes = trained(small(CHAINS), &moons(500, 0), &options(1)).to_bytes().unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("condition"));
}

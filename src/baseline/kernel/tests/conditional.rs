use crate::error::DataError;
use ndarray::ArrayView1;

use super::*;

fn nats(distribution: &dyn Distribution, x: ArrayView2<f32>) -> Array1<f64> {
    distribution.log_likelihood(x, &LikelihoodOptions::default()).unwrap().nats().unwrap().clone()
}

fn trained(condition: ConditionKind, bandwidth: Bandwidth, data: &Dataset) -> KernelDensity {
    let config = KernelDensityConfig { dim: data.dim(), bandwidth, condition };
    let mut model = KernelDensity::new(config).unwrap();
    model.train(data, &TrainOptions::default(), &mut seeded(0), &mut NoObserver).unwrap();
    model
}

/// Rows of class k about 4 k in both columns, the classes in turn.
fn clouds(n: usize, classes: u32, seed: u64) -> Dataset {
    let rng = &mut seeded(seed);
    let class = |r: usize| r as u32 % classes;
    let x = Array2::from_shape_fn((n, 2), |(r, _)| 4.0 * class(r) as f32 + f32::normal(rng));
    let classes = Array1::from_shape_fn(n, class);
    Dataset::new(x).unwrap().with_condition(Condition::Class(classes)).unwrap()
}

/// x given c, a column each: x = 2c + N(0, 0.3²), c of two clouds.
fn line(n: usize, seed: u64) -> Dataset {
    let rng = &mut seeded(seed);
    let c = Array2::from_shape_fn((n, 1), |(r, _)| 3.0 * (r % 2) as f32 + f32::normal(rng));
    let x = c.mapv(|c| 2.0 * c + 0.3 * f32::normal(rng));
    Dataset::new(x).unwrap().with_condition(Condition::Vector(c)).unwrap()
}

const ONE_NUMBER: ConditionKind = ConditionKind::Vector { dim: 1 };
const CV: Bandwidth = Bandwidth::CrossValidated { rows: 400 };

#[test]
fn kernel_density_given_a_class_stands_on_its_rows() {
    let (data, test) = (clouds(900, 3, 0), clouds(600, 3, 1));
    let kind = ConditionKind::Class { classes: 4 };
    let model = trained(kind, CV, &data);
    // H is that of the pooled covariance within classes, far from that of all rows.
    let variance = model.covariance()[[0, 0]] / model.bandwidth().powi(2);
    assert!((variance - 1.0).abs() < 0.15, "{variance}");
    let condition = test.condition().unwrap();
    let own = nats(&*model.given(condition).unwrap(), test.x());
    let square =
        |(r, x): (usize, ArrayView1<f32>)| x.mapv(|x| f64::from(x - 4.0 * (r % 3) as f32).powi(2)).sum();
    let truth = -TAU.ln() - test.x().rows().into_iter().enumerate().map(square).sum::<f64>() / 1_200.0;
    let gap = truth - own.mean().unwrap();
    assert!((0.0..0.15).contains(&gap), "{gap}");
    let mut sum = Array1::<f64>::zeros(600);
    for class in 0..3 {
        // As a kernel density on those rows.
        let rows: Vec<usize> = (0..900).filter(|r| *r as u32 % 3 == class).collect();
        let rows = Dataset::new(data.x().select(Axis(0), &rows)).unwrap();
        let alone = KernelDensity::from_parameters(&rows, model.covariance().view()).unwrap();
        let given = model.given(&Condition::class(class)).unwrap();
        let (found, want) = (nats(&*given, test.x()), nats(&alone, test.x()));
        assert!((&found - &want).iter().all(|v| v.abs() < 1e-6), "class {class}");
        assert!((0..600).filter(|r| *r as u32 % 3 == class).all(|r| found[r] == own[r]), "all as one by one");
        sum = sum + found.mapv(f64::exp) / 3.0;
        let drawn = given.draw(2_000, &mut seeded(2)).unwrap();
        let mean = f64::from(drawn.mean().unwrap());
        assert!((mean - 4.0 * f64::from(class)).abs() < 0.15, "class {class}: {mean}");
    }
    let all = nats(&model, test.x());
    assert!((sum.mapv(f64::ln) - &all).iter().all(|v| v.abs() < 1e-6));
    // A class without rows has the kernels of all.
    let unknown = model.given(&Condition::class(3)).unwrap();
    assert!((nats(&*unknown, test.x()) - &all).iter().all(|v| v.abs() < 1e-9));
    assert!(unknown.draw(100, &mut seeded(0)).unwrap().iter().any(|v| *v > 5.0));
}

/// The sums of kernels as they are defined: of (c, x) over those of c.
#[test]
fn kernel_density_given_a_vector_is_its_formula() {
    let data = line(300, 0);
    let Some(Condition::Vector(c)) = data.condition() else { unreachable!() };
    for bandwidth in [Bandwidth::Fixed(0.2), CV] {
        let model = trained(ONE_NUMBER, bandwidth, &data);
        let h2 = model.bandwidth().powi(2);
        let joint = model.sphere.covariance(0) * h2;
        let det = joint[[0, 0]] * joint[[1, 1]] - joint[[0, 1]].powi(2);
        let normal = |square: f64, det: f64| (-0.5 * square).exp() / det.sqrt();
        for (at, x) in [(0.5f32, 0.8f32), (3.0, 6.1), (-1.0, -2.5)] {
            let (mut above, mut below) = (0.0, 0.0);
            for (c_j, x_j) in c.column(0).iter().zip(data.x().column(0)) {
                let (u, v) = (f64::from(at - c_j), f64::from(x - x_j));
                let square =
                    (joint[[1, 1]] * u * u - 2.0 * joint[[0, 1]] * u * v + joint[[0, 0]] * v * v) / det;
                above += normal(square, det) / TAU.sqrt();
                below += normal(u * u / joint[[0, 0]], joint[[0, 0]]);
            }
            let given = model.given(&Condition::vector(&[at])).unwrap();
            let found = nats(&*given, array![[x]].view())[0];
            let want = (above / below).ln();
            assert!((found - want).abs() < 1e-5 * (1.0 + want.abs()), "{found} {want}");
        }
    }
}

#[test]
fn kernel_density_given_a_vector_integrates_to_one_and_draws_what_it_scores() {
    let model = trained(ONE_NUMBER, CV, &line(1_000, 0));
    for c in [-1.0, 1.4, 3.5, 1e9, -1e30] {
        let given = model.given(&Condition::vector(&[c])).unwrap();
        let drawn = given.draw(10_000, &mut seeded(0)).unwrap().mapv(f64::from);
        let (least, most) = drawn.iter().fold((f64::MAX, f64::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        let (from, n) = (least - 1.0, 4_000);
        let step = (most - least + 2.0) / n as f64;
        if c.abs() > 10.0 {
            // There, rows in f32 lie as far apart as kernels are wide.
            assert!(drawn.iter().all(|v| v.is_finite()));
            continue;
        }
        let x = Array2::from_shape_fn((n, 1), |(i, _)| (from + step * (i as f64 + 0.5)) as f32);
        let p = nats(&*given, x.view()).mapv(f64::exp) * step;
        assert!((p.sum() - 1.0).abs() < 1e-3, "given {c}: {}", p.sum());
        let x = x.column(0).mapv(f64::from);
        let mean = (&p * &x).sum();
        let sd = (&p * &x.mapv(|x| (x - mean).powi(2))).sum().sqrt();
        assert!((mean - drawn.mean().unwrap()).abs() < 0.02, "given {c}: {mean} {drawn}");
        assert!((drawn.std(0.0) / sd - 1.0).abs() < 0.05, "given {c}: {sd} {}", drawn.std(0.0));
    }
}

#[test]
fn kernel_density_given_a_vector_learns_a_line() {
    let test = line(1_000, 9);
    for seed in 0..2 {
        let model = trained(ONE_NUMBER, CV, &line(2_000, seed));
        let nll = -nats(&*model.given(test.condition().unwrap()).unwrap(), test.x()).mean().unwrap();
        let gap = nll - (0.5 * (TAU.ln() + 1.0) + 0.3f64.ln());
        assert!((-0.03..0.1).contains(&gap), "seed {seed}: {gap}");
    }
}

#[test]
fn kernel_density_given_each_row_its_own_is_one_by_one() {
    let data = line(500, 0);
    let model = trained(ONE_NUMBER, Bandwidth::Scott, &data);
    let Some(Condition::Vector(c)) = data.condition() else { unreachable!() };
    let each = model.given(data.condition().unwrap()).unwrap();
    let (scores, drawn) = (nats(&*each, data.x()), each.draw(500, &mut seeded(1)).unwrap());
    for r in [0, 63, 64, 499] {
        let alone = model.given(&Condition::vector(&[c[[r, 0]]])).unwrap();
        assert_eq!(nats(&*alone, data.x())[r], scores[r]);
        let all = alone.draw(500, &mut seeded(1)).unwrap();
        assert_eq!(all[[r, 0]], drawn[[r, 0]]);
        assert_eq!(alone.draw(r + 1, &mut seeded(1)).unwrap(), all.slice(s![..=r, ..]));
    }
}

#[test]
fn kernel_density_conditions_that_do_not_fit_are_errors() {
    let data = line(100, 0);
    let model = trained(ONE_NUMBER, Bandwidth::Scott, &data);
    let error = |condition: Condition| model.given(&condition).err().unwrap().to_string();
    assert_eq!(error(Condition::class(0)), "the condition has classes: expected 1 numbers");
    assert_eq!(error(Condition::vector(&[0.0, 1.0])), "the condition has 2 columns: expected 1");
    let two = model.given(&Condition::Vector(Array2::zeros((2, 1)))).unwrap();
    let expected = "the condition has 2 rows: expected 1, or one for each of 3 rows";
    assert_eq!(two.draw(3, &mut seeded(0)).unwrap_err().to_string(), expected);
    let bare = Dataset::new(data.x().to_owned()).unwrap();
    let train = |condition, data: &Dataset| {
        let mut model =
            KernelDensity::new(KernelDensityConfig { dim: 1, condition, ..Default::default() }).unwrap();
        model.train(data, &TrainOptions::default(), &mut seeded(0), &mut NoObserver)
    };
    assert!(matches!(train(ONE_NUMBER, &bare), Err(Error::Condition(_))));
    assert!(matches!(train(ConditionKind::None, &data), Err(Error::Condition(_))));
    assert!(KernelDensity::from_parameters(&data, array![[1.0]].view()).is_err());
    // Classes of one row each say nothing of a bandwidth.
    let alone = Dataset::new(array![[0.0], [1.0]]).unwrap().with_condition(Condition::Class(array![0, 1]));
    let kind = ConditionKind::Class { classes: 2 };
    assert!(matches!(train(kind, &alone.unwrap()), Err(Error::Data(DataError::TooFewRows { .. }))));
}

#[test]
fn kernel_density_is_validated_under_the_conditions() {
    let data = line(400, 0);
    let mut model = KernelDensity::new(KernelDensityConfig {
        dim: 1,
        condition: ONE_NUMBER,
        bandwidth: Bandwidth::Scott,
    })
    .unwrap();
    let options = TrainOptions { validation: 0.25, ..TrainOptions::default() };
    let report = model.train(&data, &options, &mut seeded(0), &mut NoObserver).unwrap();
    let (_, (x, condition), _) = engine::split(&data, &options, &mut seeded(0)).unwrap();
    let own = nats(&*model.given(&condition.unwrap()).unwrap(), x.view());
    assert_eq!(report.validation, [(1, -own.sum() / 100.0)]);
    assert_eq!(model.rows().dim(), (300, 1));
}

use crate::error::DataError;
use std::f64::consts::TAU;

use super::*;

fn nats(distribution: &dyn Distribution, x: ArrayView2<f32>) -> Array1<f64> {
    distribution.log_likelihood(x, &LikelihoodOptions::default()).unwrap().nats().unwrap().clone()
}

fn mean_given(model: &GaussianMixture, data: &Dataset) -> f64 {
    nats(&*model.given(data.condition().unwrap()).unwrap(), data.x()).mean().unwrap()
}

/// Rows of the ring of 8, with their modes as classes.
fn ring(n: usize, seed: u64) -> (Toy, Dataset) {
    let toy = Toy::ring(8, 2.0, 0.2).unwrap();
    let x = toy.sample(n, &mut seeded(seed));
    let mode = |row: ArrayView1<f32>| {
        let angle = f64::from(row[1]).atan2(f64::from(row[0]));
        (angle / (TAU / 8.0)).round().rem_euclid(8.0) as u32
    };
    let classes = Array1::from_iter(x.rows().into_iter().map(mode));
    (toy, Dataset::new(x).unwrap().with_condition(Condition::Class(classes)).unwrap())
}

fn classes(classes: u32) -> GaussianMixtureConfig {
    let condition = ConditionKind::Class { classes };
    GaussianMixtureConfig { condition, components: ComponentCount::Bic { max: 4 }, ..Default::default() }
}

/// x given c, a column each: x = c² + N(0, (0.2 + 0.1 |c|)²), c ~ N(0, 1).
fn curve(n: usize, seed: u64) -> (Dataset, Array2<f32>) {
    let rng = &mut seeded(seed);
    let c = Array2::from_shape_simple_fn((n, 1), || <f32 as Real>::normal(rng));
    let x = c.mapv(|c| c * c + (0.2 + 0.1 * c.abs()) * <f32 as Real>::normal(rng));
    (Dataset::new(x).unwrap().with_condition(Condition::Vector(c.clone())).unwrap(), c)
}

fn numbers(dim: usize, numbers: usize) -> GaussianMixtureConfig {
    GaussianMixtureConfig { dim, condition: ConditionKind::Vector { dim: numbers }, ..Default::default() }
}

#[test]
fn mixture_given_a_class_is_that_of_its_rows() {
    let (_, data) = ring(4_000, 0);
    let (model, report) = fitted(classes(8), &data, 0);
    assert_eq!((model.condition(), model.weights().len()), (ConditionKind::Class { classes: 8 }, 8));
    assert!((report.loss.last().unwrap() + mean_given(&model, &data)).abs() < 1e-9);
    let (toy, test) = ring(4_000, 1);
    let condition = test.condition().unwrap();
    let Condition::Class(found) = condition else { unreachable!() };
    // p(x|c) = 8 p(x) where modes do not overlap.
    let truth = toy.log_density(test.x()).unwrap().mean().unwrap();
    let own = nats(&*model.given(condition).unwrap(), test.x());
    let gap = truth + 8f64.ln() - own.mean().unwrap();
    assert!((0.0..0.02).contains(&gap), "{gap}");
    let all = nats(&model, test.x());
    assert!((0.0..0.02).contains(&(truth - all.mean().unwrap())), "{truth} {}", all.mean().unwrap());
    let Some(Condition::Class(trained)) = data.condition() else { unreachable!() };
    let mut sum = Array1::<f64>::zeros(4_000);
    for class in 0..8 {
        let given = model.given(&Condition::class(class)).unwrap();
        let of_class = nats(&*given, test.x());
        assert!(
            (0..4_000).filter(|&r| found[r] == class).all(|r| of_class[r] == own[r]),
            "all as one by one"
        );
        let share = trained.iter().filter(|&&c| c == class).count() as f64 / 4_000.0;
        sum = sum + of_class.mapv(|nats| share * nats.exp());
        let drawn = given.draw(500, &mut seeded(2)).unwrap();
        let center = f64::from(class) * TAU / 8.0;
        let near = |row: &ArrayView1<f32>| {
            let (u, v) = (f64::from(row[0]) - 2.0 * center.cos(), f64::from(row[1]) - 2.0 * center.sin());
            u.hypot(v) < 0.8
        };
        assert!(drawn.rows().into_iter().filter(near).count() >= 499, "class {class}");
    }
    // Without a condition it is their mixture by the shares.
    assert!((sum.mapv(f64::ln) - all).iter().all(|v| v.abs() < 1e-9));
}

#[test]
fn mixture_given_a_class_without_rows_is_one_gaussian_of_all() {
    let (_, data) = ring(1_000, 0);
    let (model, _) = fitted(classes(9), &data, 0);
    let drawn = model.given(&Condition::class(8)).unwrap().draw(20_000, &mut seeded(0)).unwrap();
    let variance = |x: ArrayView2<f32>| x.column(0).mapv(|v| f64::from(v * v)).mean().unwrap();
    assert!((variance(drawn.view()) / variance(data.x()) - 1.0).abs() < 0.1);
    // Training goes on with each class as it is.
    let mut again = model.clone();
    again.train(&data, &TrainOptions::default(), &mut seeded(1), &mut NoObserver).unwrap();
    assert!((mean_given(&again, &data) - mean_given(&model, &data)).abs() < 1e-3);
}

/// The joint density over that of the condition, as Bayes has it.
#[test]
fn mixture_given_a_vector_is_the_joint_over_the_marginal() {
    let covariances = array![
        [[1.0, 0.5, -0.2], [0.5, 2.0, 0.3], [-0.2, 0.3, 0.5]],
        [[0.5, -0.3, 0.1], [-0.3, 0.7, 0.0], [0.1, 0.0, 1.5]]
    ];
    let means = array![[0.0, 1.0, -1.0], [2.0, -1.0, 0.5]];
    let of = |config, columns: std::ops::Range<usize>| {
        let columns = columns.start..columns.end;
        let covariances = covariances.slice(s![.., columns.clone(), columns.clone()]).to_owned();
        let config = GaussianMixtureConfig { components: ComponentCount::Fixed(2), ..config };
        let means = means.slice(s![.., columns]);
        GaussianMixture::from_parameters(config, &[0.3, 0.7], means, covariances.view()).unwrap()
    };
    let plain = |dim| GaussianMixtureConfig { dim, ..fixed(2) };
    let joint = of(plain(3), 0..3);
    let rng = &mut seeded(4);
    let rows = Array2::from_shape_simple_fn((200, 3), || 2.0 * <f32 as Real>::normal(rng));
    for m in [1, 2] {
        let model = of(numbers(3 - m, m), 0..3);
        let (c, x) = (rows.slice(s![.., ..m]), rows.slice(s![.., m..]));
        let found = nats(&*model.given(&Condition::Vector(c.to_owned())).unwrap(), x);
        let want = nats(&joint, rows.view()) - nats(&of(plain(m), 0..m), c);
        assert!((&found - &want).iter().all(|v| v.abs() < 1e-10), "{m}");
        // One condition for all rows gives the bits of each.
        for r in [0, 7] {
            let one = Condition::vector(&c.row(r).to_vec());
            assert_eq!(nats(&*model.given(&one).unwrap(), x)[r], found[r]);
        }
        // Without a condition, the marginal of x.
        assert!((nats(&model, x) - nats(&of(plain(3 - m), m..3), x)).iter().all(|v| v.abs() < 1e-12));
    }
}

#[test]
fn mixture_given_a_vector_integrates_to_one_and_draws_what_it_scores() {
    let (data, _) = curve(4_000, 0);
    let (model, _) = fitted(numbers(1, 1), &data, 0);
    for c in [-1.5, 0.0, 0.7] {
        let given = model.given(&Condition::vector(&[c])).unwrap();
        let drawn = given.draw(20_000, &mut seeded(0)).unwrap();
        let (least, most) = drawn.iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        let (from, n) = (least - 4.0, 20_000);
        let step = (most - least + 8.0) / n as f32;
        let x = Array2::from_shape_fn((n, 1), |(i, _)| from + step * (i as f32 + 0.5));
        let p = nats(&*given, x.view()).mapv(f64::exp) * f64::from(step);
        assert!((p.sum() - 1.0).abs() < 1e-4, "given {c}: {}", p.sum());
        let mean = (&p * &x.column(0).mapv(f64::from)).sum();
        let found = drawn.mapv(f64::from).mean().unwrap();
        assert!((mean - found).abs() < 0.03, "given {c}: {mean} {found}");
    }
    for c in [1e3, -1e30] {
        let given = model.given(&Condition::vector(&[c])).unwrap();
        assert!(given.draw(100, &mut seeded(0)).unwrap().iter().all(|v| v.is_finite()), "far away");
    }
}

#[test]
fn mixture_given_a_vector_learns_a_curve() {
    for seed in 0..2 {
        let (data, _) = curve(6_000, seed);
        let (test, c) = curve(4_000, 100 + seed);
        let (model, _) = fitted(numbers(1, 1), &data, seed);
        let sd = c.mapv(|c| 0.2 + 0.1 * f64::from(c.abs()));
        let entropy = sd.mapv(|sd| 0.5 * (TAU.ln() + 1.0) + sd.ln()).mean().unwrap();
        let gap = -mean_given(&model, &test) - entropy;
        // The test's own chance is √(1/8000) = 0.011.
        assert!((-0.03..0.08).contains(&gap), "seed {seed}: {gap}");
    }
}

#[test]
fn mixture_draws_under_conditions_are_prefixes() {
    let (data, c) = curve(1_000, 0);
    let (model, _) = fitted(GaussianMixtureConfig { max_iter: 5, ..numbers(1, 1) }, &data, 0);
    let given = model.given(&Condition::vector(&[0.3])).unwrap();
    let all = given.draw(300, &mut seeded(3)).unwrap();
    assert_eq!(given.draw(70, &mut seeded(3)).unwrap(), all.slice(s![..70, ..]));
    // Of a condition for each row, row i has row i.
    let each = model.given(&Condition::Vector(c.slice(s![..300, ..]).to_owned())).unwrap();
    let drawn = each.draw(300, &mut seeded(3)).unwrap();
    for r in [0, 130, 299] {
        let alone = model.given(&Condition::vector(&[c[[r, 0]]])).unwrap();
        assert_eq!(alone.draw(300, &mut seeded(3)).unwrap()[[r, 0]], drawn[[r, 0]]);
    }
}

#[test]
fn mixture_conditions_that_do_not_fit_are_errors() {
    let (data, _) = curve(200, 0);
    let (model, _) = fitted(GaussianMixtureConfig { max_iter: 5, ..numbers(1, 1) }, &data, 0);
    let error = |condition: Condition| model.given(&condition).err().unwrap().to_string();
    assert_eq!(error(Condition::class(0)), "the condition has classes: expected 1 numbers");
    assert_eq!(error(Condition::vector(&[0.0, 1.0])), "the condition has 2 columns: expected 1");
    assert!(matches!(
        model.given(&Condition::vector(&[f32::NAN])).err().unwrap(),
        Error::Data(DataError::NonFinite { what: "condition", .. })
    ));
    let two = model.given(&Condition::Vector(Array2::zeros((2, 1)))).unwrap();
    let expected = "the condition has 2 rows: expected 1, or one for each of 3 rows";
    assert_eq!(two.draw(3, &mut seeded(0)).unwrap_err().to_string(), expected);
    let scored = two.log_likelihood(Array2::zeros((3, 1)).view(), &LikelihoodOptions::default());
    assert_eq!(scored.unwrap_err().to_string(), expected);
    // A training needs one, and takes none that was not asked for.
    let train = |config, data: &Dataset| {
        GaussianMixture::new(config).unwrap().train(
            data,
            &TrainOptions::default(),
            &mut seeded(0),
            &mut NoObserver,
        )
    };
    let bare = Dataset::new(data.x().to_owned()).unwrap();
    assert!(matches!(train(numbers(1, 1), &bare), Err(Error::Condition(_))));
    let none = GaussianMixtureConfig { dim: 1, ..Default::default() };
    assert!(matches!(train(none, &data), Err(Error::Condition(_))));
    let unknown = train(classes(4), &ring(100, 0).1).unwrap_err().to_string();
    assert!(unknown.contains("expected one from 0 to 3"), "{unknown}");
    let condition = ConditionKind::Tokens { vocabulary: 3, len: 2 };
    assert!(matches!(
        GaussianMixture::new(GaussianMixtureConfig { condition, ..Default::default() }),
        Err(Error::Config { field: "GaussianMixtureConfig::condition", .. })
    ));
}

#[test]
fn mixture_is_validated_on_rows_of_each_class() {
    let (_, data) = ring(800, 0);
    let mut model = GaussianMixture::new(classes(8)).unwrap();
    let options = TrainOptions { validation: 0.2, ..Default::default() };
    let report = model.train(&data, &options, &mut seeded(0), &mut NoObserver).unwrap();
    let (_, (held_out, condition), _) = engine::split(&data, &options, &mut seeded(0)).unwrap();
    let own = nats(&*model.given(&condition.unwrap()).unwrap(), held_out.view()).mean().unwrap();
    // The classes' shares of the training rows weigh them.
    assert_eq!(report.validation.len(), 1);
    assert!((own + report.validation[0].1).abs() < 0.1, "{own} {:?}", report.validation);
}

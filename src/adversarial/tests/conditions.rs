//! Rows under conditions: what the players are given, draw and judge.

use crate::nn::NetworkSpec;
use ndarray::Array1;

use super::*;

const CLASSES: ConditionKind = ConditionKind::Class { classes: 3 };

/// Rows of class k are about (k, −k).
fn labeled(n: usize) -> Dataset {
    let class = |row: usize| (row % 3) as u32;
    let mut rng = seeded(0);
    let x = Array2::from_shape_fn((n, 2), |(row, column)| {
        class(row) as f32 * if column == 0 { 1.0 } else { -1.0 } + 0.3 * f32::normal(&mut rng)
    });
    Dataset::new(x).unwrap().with_condition(Condition::Class(Array1::from_shape_fn(n, class))).unwrap()
}

fn conditional(conditioning: Conditioning) -> Gan {
    let config = GanConfig { condition: CLASSES, conditioning, ..small(GAMES[2]) };
    let mut gan = Gan::new(config, &mut seeded(1)).unwrap();
    gan.train(&labeled(300), &options(), &mut seeded(2), &mut NoObserver).unwrap();
    gan
}

#[test]
fn one_condition_draws_and_judges_as_the_same_for_each_row() {
    for conditioning in [Conditioning::Concatenation, Conditioning::Projection] {
        let gan = conditional(conditioning);
        let (one, each) = (Condition::class(2), Condition::Class(Array1::from_elem(100, 2)));
        let drawn = |condition: &Condition| {
            gan.given(condition).unwrap().sample(100, &SampleOptions::default(), &mut seeded(3)).unwrap().x
        };
        assert_eq!(drawn(&one), drawn(&each));
        assert_ne!(drawn(&one), drawn(&Condition::class(1)));
        let x = drawn(&one);
        let judged = |condition: &Condition| gan.critic_given(x.view(), condition).unwrap();
        assert_eq!(judged(&one), judged(&each));
        assert_ne!(judged(&one), judged(&Condition::class(1)));
        let missing = gan.critic(x.view());
        assert!(matches!(missing, Err(Error::Condition(ConditionError::Missing { .. }))), "{missing:?}");
        let score = gan.given(&one).unwrap().log_likelihood(x.view(), &LikelihoodOptions::default());
        assert_eq!(score.unwrap(), LogLikelihood::Unavailable);
    }
}

/// Whatever the row, this critic gives the classes 1, 10 and 100: in the Wasserstein game it pays nothing only if it
/// sees as many generated as real rows of each.
#[test]
fn generated_rows_have_the_conditions_of_the_real_ones() {
    let mut config = GanConfig {
        critic: NetworkSpec::mlp([], Activation::LeakyRelu { slope: 0.2 }, 0),
        condition: CLASSES,
        ..small(AdversarialLoss::WassersteinGp { lambda: 0.0 })
    };
    (config.optimizer.lr, config.critic_lr) = (1e-30, 1e-30);
    let mut gan = Gan::new(config, &mut seeded(1)).unwrap();
    gan.critic_parameters = Parameters::new(vec![0.0, 0.0, 1.0, 10.0, 100.0, 0.0]);
    let report = gan.train(&labeled(300), &options(), &mut seeded(2), &mut NoObserver).unwrap();
    assert!(report.parts[0].1.iter().all(|loss| loss.abs() < 1e-4), "{:?}", report.parts[0]);
    // The generator's rows have all of the classes, too: E D(x, c) = 37.
    assert!(report.parts[2].1.iter().all(|loss| (loss + 37.0).abs() < 20.0), "{:?}", report.parts[2]);
}

#[test]
fn absurd_conditions_draw_numbers() {
    for conditioning in [Conditioning::Concatenation, Conditioning::Projection] {
        let config =
            GanConfig { condition: ConditionKind::Vector { dim: 2 }, conditioning, ..small(GAMES[2]) };
        let gan = Gan::new(config, &mut seeded(1)).unwrap();
        let far = Condition::vector(&[f32::MAX, f32::MIN]);
        let x = gan.given(&far).unwrap().sample(50, &SampleOptions::default(), &mut seeded(3)).unwrap().x;
        let d = gan.critic_given(x.view(), &far).unwrap();
        assert!(x.iter().all(|x| x.is_finite()) && d.iter().all(|d| d.is_finite()), "{x} {d}");
    }
}

/// Seven of eight rows of the asked mode at the very least, though both networks are small and trained for seconds.
#[test]
fn conditional_draws_lie_in_the_asked_mode() {
    let toy = Toy::ring(8, 1.0, 0.08).unwrap();
    let centers = toy.modes().unwrap().centers;
    let nearest = |x: &Array2<f32>| -> Array1<u32> {
        let square = |x: ndarray::ArrayView1<f32>, k: usize| {
            (0..2).map(|i| (f64::from(x[i]) - centers[[k, i]]).powi(2)).sum::<f64>()
        };
        let nearest = |x| (0..8).min_by(|&a, &b| square(x, a).total_cmp(&square(x, b))).unwrap();
        x.rows().into_iter().map(|x| nearest(x) as u32).collect()
    };
    let x = toy.sample(5_000, &mut seeded(0));
    let classes = Condition::Class(nearest(&x));
    let data = Dataset::new(x).unwrap().with_condition(classes).unwrap();
    let asked = Array1::from_shape_fn(800, |row| (row % 8) as u32);
    for conditioning in [Conditioning::Concatenation, Conditioning::Projection] {
        let config = GanConfig {
            generator: NetworkSpec::mlp([32; 2], Activation::Silu, 3),
            critic: NetworkSpec::mlp([32; 2], Activation::LeakyRelu { slope: 0.2 }, 3),
            condition: ConditionKind::Class { classes: 8 },
            conditioning,
            ..Default::default()
        };
        let mut gan = Gan::new(config, &mut seeded(1)).unwrap();
        let options = TrainOptions { steps: 400, ..Default::default() };
        gan.train(&data, &options, &mut seeded(2), &mut NoObserver).unwrap();
        let model = gan.given(&Condition::Class(asked.clone())).unwrap();
        let x = model.sample(800, &SampleOptions::default(), &mut seeded(3)).unwrap().x;
        let found = nearest(&x);
        let share = found.iter().zip(&asked).filter(|(a, b)| a == b).count() as f64 / 800.0;
        assert!(share > 0.875, "{conditioning:?}: {share}");
    }
}

#[cfg(feature = "safetensors")]
#[test]
fn conditional_file_draws_and_judges_the_same() {
    use crate::model::file::Persist;
    for conditioning in [Conditioning::Concatenation, Conditioning::Projection] {
        let gan = conditional(conditioning);
        let back = Gan::from_bytes(&gan.to_bytes().unwrap()).unwrap();
        assert_eq!(drawn(&back, 20), drawn(&gan, 20));
        let (x, condition) = (labeled(9), Condition::class(1));
        let judged = |gan: &Gan| gan.critic_given(x.x(), &condition).unwrap();
        assert_eq!(judged(&back), judged(&gan));
    }
    // What has no condition says nothing of one.
    let (gan, _) = trained(small(GAMES[0]));
    let bytes = gan.to_bytes().unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("condition"));
}

#[test]
fn generate_gives_the_rows_that_are_drawn_from_the_same_noise() {
    let (at, n) = (RowStreams::new(Streams::new(7), 0), 70);
    let mut plain = Gan::new(small(GAMES[2]), &mut seeded(1)).unwrap();
    plain.train(&moons(300, 3), &options(), &mut seeded(2), &mut NoObserver).unwrap();
    let asked = Condition::Class(Array1::from_shape_fn(n, |row| (row % 3) as u32));
    let conditional = conditional(Conditioning::Projection);
    let noise: Vec<f32> = (0..n).flat_map(|row| crate::testing::normals(2, &mut at.row(row))).collect();
    let z = Array2::from_shape_vec((n, 2), noise).unwrap();
    for (model, generated) in [
        (&plain as &dyn Distribution, plain.generate(z.view()).unwrap()),
        (&*conditional.given(&asked).unwrap(), conditional.generate_given(z.view(), &asked).unwrap()),
    ] {
        let mut drawn = vec![0.0; 2 * n];
        model.draw_at(at, &SampleOptions::default(), &mut drawn).unwrap();
        assert_eq!(generated.as_slice().unwrap(), drawn);
    }
    let missing = conditional.generate(z.view());
    assert!(matches!(missing, Err(Error::Condition(ConditionError::Missing { .. }))), "{missing:?}");
    assert!(plain.generate(Array2::zeros((1, 3)).view()).is_err());
}

//! Generative and discriminative classifiers.

use quadrivium::baseline::{ComponentCount, Covariance};
use quadrivium::ndarray::{Array1, Array2, Axis};
use quadrivium::numeric::{Real, rng::Rng};
use quadrivium::prelude::*;

use crate::claim::{Bound, Estimate, Finding};
use crate::lab::{Lab, Outcome};
use crate::statistics::mean;

const COLUMNS: usize = 10;

/// Data sets over which an error is averaged.
const SETS: u64 = 8;

/// Of the perceptron, and of a step along the gradient.
const HIDDEN: usize = 32;
const RATE: f32 = 0.1;

/// Rows and their classes.
type Labeled = (Array2<f32>, Array1<u32>);

/// Two classes N(± ½ (1, …, 1), Σ). The first half of the columns shares so much noise: with none, columns are independent
/// in each class, and with some a model that takes them for independent is wrong, as models are.
fn labeled(n: usize, shared: f32, rng: &mut Rng) -> Labeled {
    let classes = Array1::from_shape_fn(n, |row| (row % 2) as u32);
    let mut x = Array2::zeros((n, COLUMNS));
    for (mut row, &class) in x.rows_mut().into_iter().zip(&classes) {
        let common = shared * f32::normal(rng);
        for (column, x) in row.iter_mut().enumerate() {
            let common = if column < COLUMNS / 2 { common } else { 0.0 };
            *x = class as f32 - 0.5 + common + f32::normal(rng);
        }
    }
    (x, classes)
}

/// The share of rows that p(x|c) p(c) with one Gaussian for each class gives the wrong class.
fn generative(train: &Dataset, test: &Labeled, covariance: Covariance, rng: &mut Rng) -> Outcome<f64> {
    let mut model = GaussianMixture::new(GaussianMixtureConfig {
        dim: COLUMNS,
        components: ComponentCount::Fixed(1),
        covariance,
        condition: quadrivium::ConditionKind::Class { classes: 2 },
        ..Default::default()
    })?;
    model.fit(train, rng)?;
    let nats = |class| -> Outcome<Array1<f64>> {
        let given = model.given(&Condition::class(class))?;
        let score = given.log_likelihood(test.0.view(), &Default::default())?;
        Ok(score.nats().cloned().ok_or("a mixture has a density")?)
    };
    let odds = nats(1)? - nats(0)?;
    let wrong = odds.iter().zip(&test.1).filter(|(odds, class)| (**odds > 0.0) != (**class == 1)).count();
    Ok(wrong as f64 / test.1.len() as f64)
}

/// The same of a perceptron of p(c|x), by 300 steps along the gradient with momentum.
fn discriminative(train: &Labeled, test: &Labeled, rng: &mut Rng) -> f64 {
    let n = train.0.nrows() as f32;
    let mut random = |rows: usize, columns: usize| {
        Array2::from_shape_fn((rows, columns), |_| f32::normal(rng) / (rows as f32).sqrt())
    };
    // The numbers of the first layer, its biases, and those of the last.
    let mut p = (random(COLUMNS, HIDDEN), Array1::<f32>::zeros(HIDDEN), random(HIDDEN, 1), 0.0f32);
    let mut speed = (&p.0 * 0.0, &p.1 * 0.0, &p.2 * 0.0, 0.0f32);
    for _ in 0..300 {
        let h = (train.0.dot(&p.0) + &p.1).mapv(f32::tanh);
        let mut errors = h.dot(&p.2) + p.3;
        for (error, &class) in errors.iter_mut().zip(&train.1) {
            *error = (class as f32 - (1.0 + (-*error).exp()).recip()) / n;
        }
        let before = errors.dot(&p.2.t()) * h.mapv(|h| 1.0 - h * h);
        speed.0 = speed.0 * 0.9 + train.0.t().dot(&before) * RATE;
        speed.1 = speed.1 * 0.9 + before.sum_axis(Axis(0)) * RATE;
        speed.2 = speed.2 * 0.9 + h.t().dot(&errors) * RATE;
        speed.3 = speed.3 * 0.9 + errors.sum() * RATE;
        p = (p.0 + &speed.0, p.1 + &speed.1, p.2 + &speed.2, p.3 + speed.3);
    }
    let logits = (test.0.dot(&p.0) + &p.1).mapv(f32::tanh).dot(&p.2) + p.3;
    let wrong = logits.iter().zip(&test.1).filter(|(logit, class)| (**logit > 0.0) != (**class == 1)).count();
    wrong as f64 / test.1.len() as f64
}

pub fn few_labels(lab: &Lab) -> Outcome<Finding> {
    // By how much more the perceptron errs than p(x|c) p(c), and how often that errs, mean over data sets.
    let errors = |n: usize, shared: f32, covariance: Covariance| -> Outcome<(Estimate, Estimate)> {
        let each = lab.each(|seed| {
            let streams = lab.streams(seed).family(63);
            let test = labeled(1_000, shared, &mut streams.stream(0));
            let mut sums = (0.0, 0.0);
            for set in 0..SETS {
                let rng = &mut streams.family(n as u64).stream(set);
                let train = labeled(n, shared, rng);
                let data =
                    Dataset::new(train.0.clone())?.with_condition(Condition::Class(train.1.clone()))?;
                sums.0 += generative(&data, &test, covariance, rng)? / SETS as f64;
                sums.1 += discriminative(&train, &test, rng) / SETS as f64;
            }
            Ok(sums)
        })?;
        let more: Vec<f64> =
            each.iter().map(|(generative, discriminative)| discriminative - generative).collect();
        Ok((mean(&more), mean(&each.iter().map(|errors| errors.0).collect::<Vec<_>>())))
    };
    let (few, of_few) = errors(20, 0.0, Covariance::Spherical)?;
    let (loose, of_loose) = errors(20, 0.0, Covariance::Diagonal)?;
    let (many, of_many) = errors(2_000, 1.0, Covariance::Spherical)?;
    Ok(Finding::new()
        .claim("20 labels, one variance for each class: error of p(c|x) less that of p(x|c) p(c)", few, Bound::AtLeast(0.0))
        .beside("error of p(x|c) p(c)", of_few)
        .limit("a variance for each column and class", loose, Bound::AtLeast(0.0))
        .beside("error of p(x|c) p(c)", of_loose)
        .limit("2000 labels, one variance where columns have common noise", many, Bound::AtLeast(0.0))
        .beside("error of p(x|c) p(c)", of_many)
        .because(
            "Assumptions take the place of labels, and it depends on them. One that is true and leaves little to be found helps; \
             one that leaves a variance for each column and class to ten rows does not; and with many labels a model of p(c|x) \
             is better than one whose assumption is wrong (Ng & Jordan 2001).",
        ))
}

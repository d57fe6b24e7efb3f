//! Generative and discriminative classifiers.

use quadrivium::baseline::{ComponentCount, Covariance};
use quadrivium::ndarray::{Array1, Array2, Axis};
use quadrivium::numeric::{Real, rng::Rng};
use quadrivium::prelude::*;

use crate::claim::{Bound, Finding};
use crate::lab::{Lab, Outcome};

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

/// The share of rows that p(x|c) p(c) with one Gaussian of independent columns for each class gives the wrong class.
fn generative(train: &Dataset, test: &Labeled, rng: &mut Rng) -> Outcome<f64> {
    let mut model = GaussianMixture::new(GaussianMixtureConfig {
        dim: COLUMNS,
        components: ComponentCount::Fixed(1),
        covariance: Covariance::Diagonal,
        condition: quadrivium::ConditionKind::Class { classes: 2 },
        ..Default::default()
    })?;
    model.fit(train, rng)?;
    let nats = |class| -> Outcome<Array1<f64>> {
        let score =
            model.given(&Condition::class(class))?.log_likelihood(test.0.view(), &Default::default())?;
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
    // The errors of p(x|c) p(c) and of the perceptron, mean over data sets.
    let errors = |n: usize, shared: f32| {
        lab.each(|seed| {
            let streams = lab.streams(seed).family(63);
            let test = labeled(1_000, shared, &mut streams.stream(0));
            let mut sums = (0.0, 0.0);
            for set in 0..SETS {
                let rng = &mut streams.family(n as u64).stream(set);
                let train = labeled(n, shared, rng);
                let data =
                    Dataset::new(train.0.clone())?.with_condition(Condition::Class(train.1.clone()))?;
                sums.0 += generative(&data, &test, rng)? / SETS as f64;
                sums.1 += discriminative(&train, &test, rng) / SETS as f64;
            }
            Ok(sums)
        })
    };
    let mut finding = Finding::new();
    for (shared, columns) in [(0.0, "independent columns"), (1.0, "columns with common noise")] {
        for n in [20, 2_000] {
            let errors = errors(n, shared)?;
            let mean = |figure: fn(&(f64, f64)) -> f64| {
                crate::statistics::mean(&errors.iter().map(figure).collect::<Vec<_>>())
            };
            let gain = mean(|errors| errors.1 - errors.0);
            let name = format!("{n} labels, {columns}: error of p(c|x) less that of p(x|c) p(c)");
            finding = match (shared == 0.0, n) {
                (true, 20) => finding.claim(name, gain, Bound::AtLeast(0.0)),
                (false, _) => finding.limit(name, gain, Bound::AtLeast(0.0)),
                _ => finding.beside(name, gain),
            };
            finding = finding.beside("error of p(x|c) p(c)", mean(|errors| errors.0));
        }
    }
    Ok(finding.because(
        "Assumptions take the place of labels, and it depends on them: a Gaussian of independent columns for each class \
         helps where that is true. Where it is not, a model of p(c|x), which does not assume it, is as good or better, and \
         with many labels it is better (Ng & Jordan 2001).",
    ))
}

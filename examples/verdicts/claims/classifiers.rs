//! Generative and discriminative classifiers.

use quadrivium::baseline::{ComponentCount, Covariance};
use quadrivium::ndarray::{Array1, Array2};
use quadrivium::numeric::{Real, rng::Rng};
use quadrivium::prelude::*;

use crate::claim::{Bound, Finding};
use crate::lab::{Lab, Outcome};

const COLUMNS: usize = 10;

/// Data sets over which an error is averaged.
const SETS: u64 = 20;

/// Two classes N(± ½ (1, …, 1), Σ): noise that the first half of the columns shares makes Σ what a model of independent
/// columns does not know, so that it is wrong, as models are. The best classifier is linear.
fn labeled(n: usize, rng: &mut Rng) -> (Array2<f32>, Array1<u32>) {
    let classes = Array1::from_shape_fn(n, |row| (row % 2) as u32);
    let mut x = Array2::zeros((n, COLUMNS));
    for (mut row, &class) in x.rows_mut().into_iter().zip(&classes) {
        let shared = f32::normal(rng);
        for (column, x) in row.iter_mut().enumerate() {
            let common = if column < COLUMNS / 2 { shared } else { 0.0 };
            *x = class as f32 - 0.5 + common + f32::normal(rng);
        }
    }
    (x, classes)
}

/// The share of rows that p(x|c) p(c) with one Gaussian of independent columns for each class gives the wrong class.
fn generative(train: &Dataset, test: &(Array2<f32>, Array1<u32>), rng: &mut Rng) -> Outcome<f64> {
    let mut model = GaussianMixture::new(GaussianMixtureConfig {
        dim: COLUMNS,
        components: ComponentCount::Fixed(1),
        covariance: Covariance::Diagonal,
        condition: quadrivium::ConditionKind::Class { classes: 2 },
        ..Default::default()
    })?;
    model.fit(train, rng)?;
    let nats = |class| -> Outcome<Array1<f64>> {
        let score = model.given(&Condition::class(class))?.log_likelihood(test.0.view(), &Default::default())?;
        Ok(score.nats().cloned().ok_or("a mixture has a density")?)
    };
    let odds = nats(1)? - nats(0)?;
    let wrong = odds.iter().zip(&test.1).filter(|(odds, class)| (**odds > 0.0) != (**class == 1)).count();
    Ok(wrong as f64 / test.1.len() as f64)
}

/// The same of logistic regression, with the weak prior of one more row, by steps along the gradient.
fn discriminative(train: &(Array2<f32>, Array1<u32>), test: &(Array2<f32>, Array1<u32>)) -> f64 {
    let (n, mut weights, mut bias) = (train.0.nrows() as f32, Array1::<f32>::zeros(COLUMNS), 0.0f32);
    for _ in 0..500 {
        let logits = train.0.dot(&weights) + bias;
        let errors = Array1::from_shape_fn(logits.len(), |row| {
            train.1[row] as f32 - (1.0 + (-logits[row]).exp()).recip()
        });
        weights = &weights + &((train.0.t().dot(&errors) - &weights) * (0.5 / n));
        bias += 0.5 * errors.sum() / n;
    }
    let logits = test.0.dot(&weights) + bias;
    let wrong = logits.iter().zip(&test.1).filter(|(logit, class)| (**logit > 0.0) != (**class == 1)).count();
    wrong as f64 / test.1.len() as f64
}

pub fn few_labels(lab: &Lab) -> Outcome<Finding> {
    // Of each number of labels: the two errors, mean over data sets.
    let errors = |n: usize| {
        lab.each(|seed| {
            let streams = lab.streams(seed).family(63);
            let test = labeled(2_000, &mut streams.stream(0));
            let mut sums = (0.0, 0.0);
            for set in 0..SETS {
                let rng = &mut streams.family(n as u64).stream(set);
                let train = labeled(n, rng);
                let data = Dataset::new(train.0.clone())?.with_condition(Condition::Class(train.1.clone()))?;
                sums.0 += generative(&data, &test, rng)? / SETS as f64;
                sums.1 += discriminative(&train, &test) / SETS as f64;
            }
            Ok(sums)
        })
    };
    let mut finding = Finding::new();
    for n in [20, 100, 500, 5_000] {
        let errors = errors(n)?;
        let mean = |figure: fn(&(f64, f64)) -> f64| {
            crate::statistics::mean(&errors.iter().map(figure).collect::<Vec<_>>())
        };
        let (name, gain) = (format!("{n} labels: error of p(c|x) less that of p(x|c) p(c)"), mean(|e| e.1 - e.0));
        finding = match n {
            20 => finding.claim(name, gain, Bound::AtLeast(0.0)),
            5_000 => finding.limit(name, gain, Bound::AtLeast(0.0)),
            _ => finding.beside(name, gain),
        };
        finding = finding.beside(format!("error of p(x|c) p(c) from {n}"), mean(|e| e.0));
    }
    Ok(finding.because(
        "From few labels the generative model is better, because its assumptions take the place of rows. They are not \
         quite true here, as seldom anywhere, and with thousands of labels the model of p(c|x), which does not make \
         them, is better (Ng & Jordan 2001).",
    ))
}

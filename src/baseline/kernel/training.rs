use std::ops::ControlFlow;

use ndarray::{Array2, Axis, s};
use rand::RngCore;

use super::objective::{CrossValidation, REFINEMENTS, TRIALS, scott, silverman};
use super::widths::{self, Best, EXPONENTS};
use super::{Bandwidth, Conditioned, KernelDensity, Sphere};
use crate::baseline::{by_class, covariance, joined, numbers};
use crate::engine::{self, Standardizer};
use crate::error::{DataError, Error, Result};
use crate::model::{
    Condition, ConditionKind, Dataset, Distribution, LikelihoodOptions, Observer, Step, Stop, TrainOptions,
    TrainReport,
};

const BANDWIDTH: [&str; 1] = ["bandwidth"];

/// Widths in c over those in x that are tried beside 1.
const STRETCHES: [f64; 3] = [0.25, 0.5, 2.0];

/// Added to the variances within classes, as a share of the column's over all rows.
const RIDGE: f64 = 1e-6;

impl KernelDensity {
    pub(super) fn learn(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let config = &self.config;
        config.condition.check(data.condition())?;
        let ((x, c), (held_out, held_c), streams) = engine::split(data, options, rng)?;
        let mut units = vec![Standardizer::identity(config.dim).fitted(x.view())?];
        if let Some(Condition::Vector(numbers)) = &c {
            units.insert(0, Standardizer::identity(numbers.ncols()).fitted(numbers.view())?);
        }
        let mean: Vec<f64> = units.iter().flat_map(|units| units.shift()).copied().collect();
        let groups = by_class(config.condition, c.as_ref(), x.nrows());
        let x = joined(x.view(), c.as_ref()).select(Axis(0), &groups.concat());
        let (n, width) = x.dim();
        let counts: Vec<usize> = groups.iter().map(Vec::len).collect();
        let (full, within) = spread(&x, &counts, &mean);
        let sphere = |shape: Shape| shape.sphere(mean.clone(), &full, within).map(|sphere| (shape, sphere));
        let (shapes, scored): (Vec<_>, _) = match config.bandwidth {
            Bandwidth::CrossValidated { rows } | Bandwidth::Adaptive { rows } => {
                (Shape::ALL.into_iter().filter_map(sphere).collect(), rows.min(n))
            }
            _ if within <= width => {
                return Err(Error::Data(DataError::TooFewRows {
                    what: "data for a kernel density",
                    got: n,
                    least: n + width + 1 - within,
                }));
            }
            _ => (Vec::from_iter(sphere(Shape::Covariance)), options.batch.min(n)),
        };
        let singular =
            || Error::Data(DataError::SingularCovariance { sd: full.diag().mapv(f64::sqrt).to_vec() });
        if shapes.is_empty() {
            return Err(singular());
        }
        let mut scored = rand::seq::index::sample(&mut streams.stream(0), n, scored).into_vec();
        scored.sort_unstable();

        let numbers = numbers(config.condition);
        let rule = !matches!(config.bandwidth, Bandwidth::CrossValidated { .. } | Bandwidth::Adaptive { .. });
        let stretches = if numbers > 0 && !rule { STRETCHES.len() } else { 0 };
        // Under a vector all kernels are alike, and a single row has no neighbors.
        let adaptive = matches!(config.bandwidth, Bandwidth::Adaptive { .. }) && numbers == 0 && n > 1;
        let folds = if adaptive {
            widths::folds(&x, &counts, scored.len(), &mut streams.stream(1))
        } else {
            Vec::new()
        };
        let steps = match (rule, adaptive) {
            (true, _) => 1,
            (_, true) => shapes.len() * (TRIALS + (EXPONENTS.len() - 1) * REFINEMENTS),
            (_, false) => (shapes.len() + stretches) * TRIALS,
        };
        let mut report = TrainReport {
            loss: Vec::new(),
            parts: vec![(BANDWIDTH[0], Vec::new())],
            validation: Vec::new(),
            stop: Stop::Completed,
        };
        let mut observe = |h: f64, loss: f64| {
            let step = report.loss.len();
            report.loss.push(loss);
            report.parts[0].1.push(h);
            let seen = Step { step, steps, loss, part_names: &BANDWIDTH, parts: &[h], validation: None };
            let go_on = observer.step(&seen);
            if go_on.is_break() {
                report.stop = Stop::Interrupted;
            }
            go_on
        };
        let classes =
            if matches!(config.condition, ConditionKind::Class { .. }) { counts } else { Vec::new() };
        let of_a_class = n / classes.iter().filter(|&&rows| rows > 0).count().max(1);
        let on = |sphere: Sphere, exponent: f64| {
            KernelDensity::on(config.clone(), x.clone(), classes.clone(), sphere, exponent)
                .ok_or_else(singular)
        };
        let mut best: Option<(f64, KernelDensity)> = None;
        let mut fit = |shape: Shape, sphere: Sphere, best: &mut Option<(f64, KernelDensity)>| {
            let found = if adaptive {
                widths::minimize(config, shape, &folds, of_a_class, &mut observe)?
            } else {
                None
            };
            let (nll, fitted, go_on) = match found {
                Some(Best { nll, bandwidth, exponent, go_on }) => {
                    (nll, KernelDensity { bandwidth, ..on(sphere, exponent)? }, go_on)
                }
                // The rows of a fold may span too few dimensions for a covariance, where all rows do not.
                None if adaptive && shape == Shape::Covariance => {
                    return Ok::<_, Error>(ControlFlow::Continue(()));
                }
                None => {
                    let mut fitted = on(sphere, 0.0)?;
                    let leave_one_out = CrossValidation::leave_one_out(&fitted, &scored, of_a_class)?;
                    let mut given = |h: f64| {
                        let nll = leave_one_out.nll(h);
                        (nll, h, observe(h, nll))
                    };
                    let (nll, h, go_on) = match config.bandwidth {
                        Bandwidth::Scott => given(scott(of_a_class, width)),
                        Bandwidth::Silverman => given(silverman(of_a_class, width)),
                        Bandwidth::Fixed(h) => given(h),
                        Bandwidth::CrossValidated { .. } | Bandwidth::Adaptive { .. } => {
                            leave_one_out.minimize(None, &mut observe)
                        }
                    };
                    fitted.bandwidth = h;
                    (nll, fitted, go_on)
                }
            };
            if best.as_ref().is_none_or(|(least, _)| nll < *least) {
                *best = Some((nll, fitted));
            }
            Ok(go_on)
        };
        let mut go_on = ControlFlow::Continue(());
        for (shape, sphere) in shapes {
            if go_on.is_continue() {
                go_on = fit(shape, sphere, &mut best)?;
            }
        }
        let sphere = best.as_ref().expect("at least one shape").1.sphere.clone();
        for stretch in STRETCHES.into_iter().take(stretches) {
            if go_on.is_continue() {
                go_on = fit(Shape::Axes, sphere.stretched(numbers, stretch), &mut best)?;
            }
        }
        let (_, fitted) = best.expect("at least one shape");
        if held_out.nrows() > 0 {
            let nats = match &held_c {
                None => fitted.score(held_out.view())?,
                Some(c) => {
                    let scored = Conditioned::new(&fitted, c)?
                        .log_likelihood(held_out.view(), &LikelihoodOptions::default())?;
                    scored.nats().expect("exact").clone()
                }
            };
            report.validation.push((report.loss.len(), -nats.sum() / nats.len() as f64));
        }
        *self = fitted;
        Ok(report)
    }
}

/// What Σ is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The covariance of the rows.
    Covariance,
    /// Its diagonal.
    Axes,
}

impl Shape {
    const ALL: [Shape; 2] = [Shape::Covariance, Shape::Axes];

    /// The change of units in which Σ is I; `None` without an inverse: few rows span few dimensions. covariance: (d,
    /// d), which rests on `rows` rows.
    pub fn sphere(self, mean: Vec<f64>, covariance: &Array2<f64>, rows: usize) -> Option<Sphere> {
        match self {
            Shape::Covariance if rows > mean.len() => Sphere::new(mean, covariance.view()),
            Shape::Covariance => None,
            Shape::Axes => {
                let sd: Vec<f64> = covariance.diag().iter().map(|variance| variance.sqrt()).collect();
                let sane = sd.iter().all(|&sd| sd > 0.0 && sd.is_finite());
                sane.then(|| Sphere::axes(mean, &sd))
            }
        }
    }
}

/// The unbiased covariance of the rows, within their classes if there are several, and the rows' number that it rests
/// on. x: (n, d), one class after the other, counts: rows of each class.
pub(super) fn spread(x: &Array2<f32>, counts: &[usize], mean: &[f64]) -> (Array2<f64>, usize) {
    let n = x.nrows();
    if counts.len() == 1 {
        return (covariance(x.view(), mean, n as f64 - 1.0), n);
    }
    let classes = counts.iter().filter(|&&rows| rows > 0).count();
    let within = n - classes;
    let mut sum = Array2::<f64>::zeros((mean.len(), mean.len()));
    let mut first = 0;
    for &rows in counts.iter().filter(|&&rows| rows > 0) {
        let of_class = x.slice(s![first..first + rows, ..]);
        let mean = of_class.mapv(f64::from).mean_axis(Axis(0)).expect("a class with rows");
        sum = sum + covariance(of_class, mean.as_slice().expect("one row"), 1.0);
        first += rows;
    }
    let mut pooled = sum / within.max(1) as f64;
    // A column may be constant within every class.
    let all = covariance(x.view(), mean, n as f64);
    pooled.diag_mut().scaled_add(RIDGE, &all.diag());
    (pooled, within + 1)
}

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, Axis};
use rand::RngCore;

use super::folds::{self, CrossValidation, Table};
use super::gaussians::Gaussians;
use super::objective::{Limits, Prior, Run};
use super::search::Search;
use super::{ComponentCount, Covariance, GaussianMixture, GaussianMixtureConfig, Part};
use crate::baseline::{by_class, covariance, joined};
use crate::engine::{self, Standardizer};
use crate::error::{DataError, Error, Result, TrainingError};
use crate::model::{Condition, Dataset, Observer, Step, Stop, TrainOptions, TrainReport};
use crate::numeric::rng::Streams;

/// The iterations of all runs, as the observer sees them.
pub(super) struct Course<'a> {
    observer: &'a mut dyn Observer,
    /// So far, and the most there can be.
    pub done: usize,
    steps: usize,
    /// Whether the observer has asked for an end.
    pub stopped: bool,
}

impl Course<'_> {
    /// Shows an iteration. Once the observer has asked for an end, every run ends.
    pub fn show(&mut self, loss: f64, validation: Option<f64>) -> ControlFlow<()> {
        let Course { done, steps, .. } = *self;
        let seen = Step { step: done, steps, loss, part_names: &[], parts: &[], validation };
        self.done += 1;
        self.stopped |= self.observer.step(&seen).is_break();
        if self.stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Rows to learn from, and to be measured on.
struct Rows {
    training: Array2<f32>,
    held_out: Array2<f32>,
}

impl GaussianMixture {
    pub(super) fn learn(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let config = &self.config;
        config.condition.check(data.condition())?;
        let ((x, c), (held_x, held_c), streams) = engine::split(data, options, rng)?;
        // k-means, prior and ridge measure by the columns' scale; second moments are taken about their means.
        let mut units = vec![Standardizer::identity(config.dim).fitted(x.view())?];
        if let Some(Condition::Vector(numbers)) = &c {
            units.insert(0, Standardizer::identity(numbers.ncols()).fitted(numbers.view())?);
        }
        let center: Vec<f64> = units.iter().flat_map(|units| units.shift()).copied().collect();
        let scale: Vec<f64> = units.iter().flat_map(|units| units.scale()).copied().collect();
        let (n, all, held_out) =
            (x.nrows(), joined(x.view(), c.as_ref()), joined(held_x.view(), held_c.as_ref()));
        let spread = covariance(all.view(), &center, n as f64);
        let prior = Prior {
            center: &center,
            scale: &scale,
            covariance: &spread,
            shrinkage: config.shrinkage,
            reg_covar: config.reg_covar,
        };
        let numbers = by_class(config.condition, c.as_ref(), n);
        let held_numbers = by_class(config.condition, held_c.as_ref(), held_out.nrows());
        let mut course = Course { observer, done: 0, steps: self.most_steps(numbers.len()), stopped: false };
        let (mut parts, mut runs) = (Vec::new(), Vec::new());
        for (class, (training, held)) in numbers.iter().zip(&held_numbers).enumerate() {
            let share = training.len() as f64 / n as f64;
            if training.is_empty() {
                // Of a class that is not known, what is known of all.
                let (family, shrinkage) = (Covariance::Full, config.shrinkage);
                parts.push(Part { share, family, shrinkage, gaussians: prior.one_component().into() });
                continue;
            }
            let rows =
                Rows { training: all.select(Axis(0), training), held_out: held_out.select(Axis(0), held) };
            let streams = if config.condition.is_none() { streams } else { streams.family(class as u64) };
            let run = self.learn_part(class, &rows, &prior, options, streams, &mut course)?;
            let Run { family, shrinkage, ref gaussians, .. } = run;
            parts.push(Part { share, family, shrinkage, gaussians: gaussians.clone().into() });
            runs.push((share, run));
        }
        let report = report(&runs);
        *self = GaussianMixture::of(config.clone(), parts, true, Some(n)).map_err(|k| {
            Error::Training(TrainingError::Diverged {
                step: report.loss.len(),
                what: format!("the covariance of component {k} is not positive definite; raise reg_covar"),
            })
        })?;
        Ok(report)
    }

    /// One run from the present parameters, or the search that a first training is.
    fn learn_part(
        &self,
        class: usize,
        Rows { training, held_out }: &Rows,
        prior: &Prior,
        options: &TrainOptions,
        streams: Streams,
        course: &mut Course,
    ) -> Result<Run> {
        let config = &self.config;
        let least = match config.components {
            ComponentCount::Fixed(k) if !self.started => k,
            _ => 1,
        };
        if training.nrows() < least {
            return Err(Error::Data(DataError::TooFewRows {
                what: "data for a mixture",
                got: training.nrows(),
                least,
            }));
        }
        let all = Table::new(training.view(), held_out.view(), prior.center);
        if !self.started {
            if let ComponentCount::CrossValidated { max } = config.components
                && held_out.is_empty()
            {
                // Starts have the streams from 0 on, and held-out rows the last.
                let folds = Table::folds(training.view(), prior.center, &mut streams.stream(u64::MAX - 1));
                let (prior, all, folds) = (*prior, &all, &folds[..]);
                let search = CrossValidation { config, options, prior, all, folds, max, streams };
                if let Some(run) = search.run(course)? {
                    return Ok(run);
                }
            }
            let [em, trial] = all.em(config, options, *prior);
            return Search { em: &em, trial: &trial, streams, course, starts: 0, best: None }.search();
        }
        let Part { family, shrinkage, gaussians, .. } = &self.parts[class];
        let [em, _] = all.em(config, options, Prior { shrinkage: *shrinkage, ..*prior });
        let from = (Gaussians::clone(gaussians), em.expect(gaussians, *family));
        let done = course.done;
        em.run(*family, from, Limits::of(config), done, |loss, validation| course.show(loss, validation))
    }

    /// The most iterations of a training with so many parts.
    fn most_steps(&self, parts: usize) -> usize {
        let GaussianMixtureConfig { components, covariance, restarts, max_iter, .. } = self.config;
        let families = covariance.candidates(self.config.width()).len();
        let runs = match components {
            _ if self.started => 1,
            ComponentCount::Fixed(_) => families * restarts,
            // Each family once from one component on, and all but the first from the best so far; and the last run.
            ComponentCount::Bic { max } => (2 * families - 1) * max * restarts + 1,
            ComponentCount::CrossValidated { max } => folds::most_runs(families * max * restarts),
        };
        runs.saturating_mul(max_iter).saturating_mul(parts)
    }
}

/// The runs side by side, by their shares of the rows: one that has ended stays where it is.
fn report(runs: &[(f64, Run)]) -> TrainReport {
    let longest = runs.iter().map(|(_, run)| run.loss.len()).max().unwrap_or(0);
    let at = |i: usize| runs.iter().map(|(share, run)| share * run.loss[i.min(run.loss.len() - 1)]).sum();
    let validation = match runs {
        [(_, run)] => run.validation.clone(),
        _ => {
            let last = runs.iter().filter_map(|(share, run)| Some((share, run.validation.last()?.1)));
            let (share, sum) =
                last.fold((0.0, 0.0), |(shares, sum), (share, nll)| (shares + share, sum + share * nll));
            if share > 0.0 { vec![(longest, sum / share)] } else { Vec::new() }
        }
    };
    let stopped = |stop| runs.iter().any(|(_, run)| run.stop == stop);
    let stop = [Stop::Interrupted, Stop::Patience].into_iter().find(|stop| stopped(*stop));
    let loss = match runs {
        [(_, run)] => run.loss.clone(),
        _ => Array1::from_shape_fn(longest, at).to_vec(),
    };
    TrainReport { loss, parts: Vec::new(), validation, stop: stop.unwrap_or(Stop::Completed) }
}

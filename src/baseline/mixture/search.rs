//! The number of components and their family, by a criterion.
//!
//! Each family starts from one component and grows: the next run starts from the last, with the component split
//! whose halves gain most, and others start from k-means++. A family ends when its last few numbers have not
//! gained, and, once another family has been fitted, when its present gain up to the most components would not
//! bring it to the other's criterion. Every family also starts where the best so far ended.
//!
//! Of several starts the one that is ahead after a few iterations goes on alone (Biernacki, Celeux & Govaert 2003),
//! to a coarse tolerance; splits are compared on some of the rows; the best run of all goes on to the config's own
//! tolerance.

use super::config::num_params;
use super::folds::FOLDS;
use super::gaussians::Gaussians;
use super::moments::Sums;
use super::objective::{Em, Limits, PLATEAU, Run};
use super::start::start;
use super::training::Course;
use super::{ComponentCount, Covariance};
use crate::error::{Error, Result, TrainingError};
use crate::model::Stop;
use crate::numeric::rng::Streams;

/// Numbers of components without a gain after which a family ends.
pub(super) const PATIENCE: usize = 3;

/// Iterations that a split component gets before the splits are compared.
const TRIAL: usize = 2;

/// Rows on which splits are compared, about.
pub(super) const TRIAL_ROWS: usize = 4096;

pub(super) struct Search<'a, 'c> {
    pub em: &'a Em<'a>,
    /// The same for some of the rows.
    pub trial: &'a Em<'a>,
    pub streams: Streams,
    pub course: &'a mut Course<'c>,
    /// Runs from k-means++ so far.
    pub starts: u64,
    /// The run of the least criterion, and the criterion.
    pub best: Option<(f64, Run)>,
}

impl Search<'_, '_> {
    /// The best run over the families and numbers of components that the config asks for.
    pub fn search(mut self) -> Result<Run> {
        let config = self.em.config;
        let exact = Limits::of(config);
        let coarse = exact.coarse();
        for &family in config.covariance.candidates(self.em.rows.dim()) {
            match config.components {
                ComponentCount::Fixed(k) => {
                    for _ in 0..config.restarts {
                        let from = self.spread(k, family);
                        self.run(family, from, exact)?;
                    }
                }
                ComponentCount::Bic { max } | ComponentCount::CrossValidated { max } => {
                    let rows = self.em.rows.rows();
                    // With too few rows to leave any out, nothing tells two components from one.
                    let folded = matches!(config.components, ComponentCount::CrossValidated { .. });
                    let max = if folded && rows < 2 * FOLDS { 1 } else { max.min(rows) };
                    let shared = self.best.as_ref().map(|(_, best)| best.gaussians.clone());
                    if let Some(start) = shared.filter(|start| start.len() > 1) {
                        let sums = self.em.expect(&start, family);
                        if let Some(run) = self.run(family, (start, sums), coarse)? {
                            self.grow(run, max, coarse)?;
                        }
                    }
                    let from = self.spread(1, family);
                    if let Some(run) = self.run(family, from, coarse)? {
                        self.grow(run, max, coarse)?;
                    }
                }
            }
        }
        let (_, best) = self.best.clone().expect("a fit of one component");
        if !matches!(config.components, ComponentCount::Fixed(_)) {
            self.go_on(best, exact)?;
        }
        Ok(self.end())
    }

    /// The best run, at the end of a search.
    pub(super) fn end(self) -> Run {
        let (_, mut best) = self.best.expect("a fit of one component");
        if self.course.stopped {
            best.stop = Stop::Interrupted;
        }
        best
    }

    /// From `last` to ever more components, until there is nothing to gain.
    fn grow(&mut self, mut last: Run, max: usize, coarse: Limits) -> Result<()> {
        let family = last.family;
        let mut criteria = vec![self.criterion(&last)];
        let (mut least, mut waited) = (criteria[0], 0);
        while last.gaussians.len() < max && waited < PATIENCE && !self.course.stopped {
            let k = last.gaussians.len() + 1;
            // What a run must reach to be the best of all.
            let target = self.best.as_ref().map_or(f64::INFINITY, |(best, _)| best - self.penalty(family, k));
            let Some(run) = self.one_more(&last, Limits { target, ..coarse })? else { break };
            let criterion = self.criterion(&run);
            waited = if criterion < least { 0 } else { waited + 1 };
            least = least.min(criterion);
            criteria.push(criterion);
            // What the last few numbers gained, on and on, must reach the best of the other families.
            if let Some(&before) = criteria.iter().rev().nth(PATIENCE)
                && let Some((best, run)) = &self.best
            {
                let gain = (before - criterion).max(0.0) / PATIENCE as f64;
                if run.family != family && criterion - gain * (max - k) as f64 > *best {
                    break;
                }
            }
            last = run;
        }
        Ok(())
    }

    /// A run with one component more, the best of several starts; `None` if all leave a component with too few rows.
    pub(super) fn one_more(&mut self, last: &Run, limits: Limits) -> Result<Option<Run>> {
        let few = Limits { max_iter: PLATEAU.min(limits.max_iter), ..limits };
        let mut starts = Vec::new();
        for start in 0..self.em.config.restarts {
            let k = last.gaussians.len() + 1;
            let from = if start == 0 { self.split(last) } else { Some(self.spread(k, last.family)) };
            let Some(from) = from else { continue };
            starts.extend(self.run(last.family, from, few)?);
        }
        starts.sort_by(|a, b| a.nll.total_cmp(&b.nll));
        for run in starts {
            let next = self.go_on(run, limits)?;
            if next.is_some() {
                return Ok(next);
            }
        }
        Ok(None)
    }

    /// One run of EM, which is kept if it is the best. `None` if a component is left with fewer rows than its
    /// family takes: it says nothing of the distribution.
    pub(super) fn run(
        &mut self,
        family: Covariance,
        from: (Gaussians, Sums),
        limits: Limits,
    ) -> Result<Option<Run>> {
        let run = self.iterate(family, from, limits)?;
        Ok(run.and_then(|run| self.keep(run)))
    }

    /// The run, continued.
    pub(super) fn go_on(&mut self, run: Run, limits: Limits) -> Result<Option<Run>> {
        let left = limits.max_iter.saturating_sub(run.loss.len());
        if left == 0 || run.stop != Stop::Completed {
            return Ok(Some(run));
        }
        let sums = self.em.expect(&run.gaussians, run.family);
        let from = (run.gaussians.clone(), sums);
        let more = self.iterate(run.family, from, Limits { max_iter: left, ..limits })?;
        Ok(more.and_then(|more| self.keep(more.after(run))))
    }

    /// `None` if it diverges, or the search is interrupted.
    fn iterate(
        &mut self,
        family: Covariance,
        from: (Gaussians, Sums),
        limits: Limits,
    ) -> Result<Option<Run>> {
        // Even a search that was stopped before it began has one run.
        if self.course.stopped && self.best.is_some() {
            return Ok(None);
        }
        let Search { em, course, .. } = self;
        let done = course.done;
        let ran = em.run(family, from, limits, done, |loss, validation| course.show(loss, validation));
        match ran {
            Err(Error::Training(TrainingError::Diverged { .. })) if self.best.is_some() => Ok(None),
            ran => ran.map(Some),
        }
    }

    /// Keeps the run if it is the best; the run, unless a component is left with too few rows.
    pub(super) fn keep(&mut self, run: Run) -> Option<Run> {
        let fixed = matches!(self.em.config.components, ComponentCount::Fixed(_));
        let starved = !fixed && self.is_starved(&run);
        if starved && self.best.is_some() {
            return None;
        }
        // Few rows of many columns: what cannot be told from one Gaussian by this family another family may.
        let criterion = if starved { f64::MAX } else { self.criterion(&run) };
        if self.best.as_ref().is_none_or(|(best, _)| criterion < *best) {
            self.best = Some((criterion, run.clone()));
        }
        Some(run)
    }

    /// Whether a component has fewer rows than twice those that span its covariance.
    pub(super) fn is_starved(&self, run: &Run) -> bool {
        let (rows, d, k) = (self.em.rows.rows(), run.gaussians.dim(), run.gaussians.len());
        let least = match run.family {
            Covariance::Best | Covariance::Full => 2 * (d + 1),
            Covariance::Tied => 1,
            Covariance::Diagonal | Covariance::Spherical => {
                if k == 1 {
                    1
                } else {
                    4
                }
            }
        };
        run.gaussians.weights.iter().any(|w| w * (rows as f64) < least as f64)
            || (run.family == Covariance::Tied && rows < 2 * (d + k))
    }

    /// Per row: the NLL of the rows held out, if there are any, else half of BIC.
    fn criterion(&self, run: &Run) -> f64 {
        match run.held_out {
            Some(nll) => nll,
            None => run.nll + self.penalty(run.family, run.gaussians.len()),
        }
    }

    fn penalty(&self, family: Covariance, k: usize) -> f64 {
        if self.em.held_out.rows() > 0 {
            // Other rows decide: no training loss is hopeless.
            return f64::NEG_INFINITY;
        }
        let rows = self.em.rows.rows() as f64;
        0.5 * num_params(family, k, self.em.rows.dim()) as f64 * rows.ln() / rows
    }

    /// A start from k-means++.
    pub(super) fn spread(&mut self, k: usize, family: Covariance) -> (Gaussians, Sums) {
        self.starts += 1;
        let rng = &mut self.streams.stream(self.starts - 1);
        start(k, family, self.em.rows, &self.em.prior, rng)
    }

    /// A start with one component more: that of the splits, each a few iterations on, which has the least loss.
    fn split(&self, run: &Run) -> Option<(Gaussians, Sums)> {
        let Em { prior, .. } = self.trial;
        let mut best: Option<(f64, Gaussians)> = None;
        for k in 0..run.gaussians.len() {
            let moved = |gaussians: &Gaussians| {
                self.trial.maximize(gaussians, &self.trial.expect(gaussians, run.family), run.family)
            };
            let halves = run.gaussians.split(k, prior.scale);
            let Ok(gaussians) = (0..TRIAL).fold(halves, |last, _| moved(&last?)) else { continue };
            let nll = self.trial.expect(&gaussians, run.family).nll;
            if best.as_ref().is_none_or(|(least, _)| nll < *least) {
                best = Some((nll, gaussians));
            }
        }
        best.map(|(_, gaussians)| {
            let sums = self.em.expect(&gaussians, run.family);
            (gaussians, sums)
        })
    }
}

//! The number of components and their family by cross-validation (Smyth 2000).
//!
//! Rows are dealt into [`FOLDS`] parts. Each fold learns from the rows of all parts but one and is measured on that
//! one. A family grows in all folds together, one component at a time, and the NLL of all rows left out, added up
//! over the folds, says when it ends. A stronger prior on the covariances goes on from the best that a weaker one has
//! found. The winner then goes on with all rows, from where each of the folds has brought it.
//!
//! Where rows or columns are many, only some of the folds are measured.

use ndarray::{Array2, ArrayView2, Axis, s};

use super::blocks::Blocks;
use super::gaussians::Gaussians;
use super::objective::{Em, Limits, Prior, Run};
use super::search::{PATIENCE, Search, TRIAL_ROWS};
use super::training::Course;
use super::{Covariance, GaussianMixtureConfig};
use crate::baseline::covariance;
use crate::error::Result;
use crate::model::TrainOptions;
use crate::numeric::rng::{Rng, Streams};

/// Parts of the rows.
pub(super) const FOLDS: usize = 10;

/// Rows that are measured on, at least, where there are as many.
const MEASURED: usize = 1000;

/// Columns up to which all folds may be measured: their covariances stand in memory together.
const COLUMNS: usize = 300;

/// The most numbers in all covariances of a fold.
const ENTRIES: usize = 1 << 21;

/// How many folds a training on so many rows has: none where a part would have a single row.
fn count(rows: usize, dim: usize) -> usize {
    let most = (COLUMNS / dim).clamp(1, FOLDS);
    if rows < 2 * FOLDS { 0 } else { (FOLDS * MEASURED).div_ceil(rows).min(most) }
}

/// The most runs, if one fold has so many for each strength of the prior.
pub(super) fn most_runs(of_a_fold: usize) -> usize {
    FOLDS * (STRENGTHS.len() * of_a_fold + 1) + 1
}

/// Rows to learn from and rows to be measured on, with what EM takes of them once.
pub(super) struct Table {
    rows: Blocks,
    second: Array2<f64>,
    // The same of some of the rows.
    some: Blocks,
    some_second: Array2<f64>,
    held_out: Blocks,
}

impl Table {
    /// center: (d)
    pub fn new(training: ArrayView2<f32>, held_out: ArrayView2<f32>, center: &[f64]) -> Self {
        let blocks = |x: ArrayView2<f32>| {
            Blocks::new(center.len(), x.as_standard_layout().as_slice().expect("standard layout"))
        };
        let second = |x: ArrayView2<f32>| covariance(x, center, x.nrows() as f64);
        let stride = training.nrows().div_ceil(TRIAL_ROWS);
        let some = training.slice(s![..;stride, ..]);
        Table {
            rows: blocks(training),
            second: second(training),
            some: blocks(some),
            some_second: second(some),
            held_out: blocks(held_out),
        }
    }

    /// Those of each fold. x: (n, d)
    pub fn folds(x: ArrayView2<f32>, center: &[f64], rng: &mut Rng) -> Vec<Self> {
        let n = x.nrows();
        let order = rand::seq::index::sample(rng, n, n).into_vec();
        let part = |fold: usize| {
            let left_out = fold * n / FOLDS..(fold + 1) * n / FOLDS;
            let others = [&order[..left_out.start], &order[left_out.end..]].concat();
            Table::new(x.select(Axis(0), &others).view(), x.select(Axis(0), &order[left_out]).view(), center)
        };
        (0..count(n, x.ncols())).map(part).collect()
    }

    /// EM on all rows, and on some.
    pub fn em<'a>(
        &'a self,
        config: &'a GaussianMixtureConfig,
        options: &'a TrainOptions,
        prior: Prior<'a>,
    ) -> [Em<'a>; 2] {
        let tables = [(&self.rows, &self.second), (&self.some, &self.some_second)];
        tables.map(|(rows, second)| Em { config, options, rows, second, held_out: &self.held_out, prior })
    }
}

/// Strengths of the prior that are tried, over the config's: few rows of many columns want a strong one.
const STRENGTHS: [f64; 4] = [1.0, 10.0, 100.0, 300.0];

/// Strengths in a row without a gain after which no stronger one is tried.
const WEAK: usize = 2;

/// What a prior adds to a component's covariance, as a share of that of all rows, at least: with less it says nothing.
const FELT: f64 = 1e-3;

/// What is best so far.
struct Best {
    /// NLL of the rows left out.
    nll: f64,
    family: Covariance,
    shrinkage: f64,
    /// In each of the folds.
    gaussians: Vec<Gaussians>,
}

/// All rows and the folds, whose best is looked for.
pub(super) struct CrossValidation<'a> {
    pub config: &'a GaussianMixtureConfig,
    pub options: &'a TrainOptions,
    pub prior: Prior<'a>,
    pub all: &'a Table,
    pub folds: &'a [Table],
    /// The most components.
    pub max: usize,
    pub streams: Streams,
}

impl CrossValidation<'_> {
    /// The run on all rows of the family, the number of components and the strength of the prior that are the best over
    /// the folds; `None` if no family has the rows that it takes.
    pub fn run(&self, course: &mut Course) -> Result<Option<Run>> {
        let families = self.config.covariance.candidates(self.config.width());
        let mut fitted = vec![None; families.len()];
        let (mut best, mut starts, mut weak) = (None, 0, 0);
        for strength in STRENGTHS {
            let before = best.as_ref().map(|best: &Best| best.nll);
            let shrinkage = strength * self.config.shrinkage;
            for (&family, fitted) in families.iter().zip(&mut fitted) {
                let felt = |known: &Vec<Gaussians>| {
                    shrinkage * known[0].len() as f64 >= FELT * self.all.rows.rows() as f64
                };
                if strength > 1.0 && !fitted.as_ref().is_none_or(felt) {
                    continue;
                }
                self.grow(family, shrinkage, fitted, (&mut starts, course), &mut best)?;
            }
            weak = if best.as_ref().map(|best| best.nll) < before { 0 } else { weak + 1 };
            if strength > 1.0 && weak == WEAK || self.config.shrinkage == 0.0 {
                break;
            }
        }
        best.map_or(Ok(None), |best| self.go_on(best, course))
    }

    fn prior(&self, shrinkage: f64) -> Prior<'_> {
        Prior { shrinkage, ..self.prior }
    }

    /// The best of the folds' mixtures, gone on with all rows; `None` if it has a component with too few rows.
    fn go_on(&self, best: Best, course: &mut Course) -> Result<Option<Run>> {
        let [em, trial] = self.all.em(self.config, self.options, self.prior(best.shrinkage));
        let exact = Limits::of(self.config);
        let mut search =
            Search { em: &em, trial: &trial, streams: self.streams, course, starts: 0, best: None };
        let mut likeliest: Option<Run> = None;
        for start in best.gaussians {
            let sums = em.expect(&start, best.family);
            search.best = None;
            if let Some(run) = search.run(best.family, (start, sums), exact.coarse())?
                && !search.is_starved(&run)
                && likeliest.as_ref().is_none_or(|best| run.nll < best.nll)
            {
                likeliest = Some(run);
            }
        }
        search.best = None;
        likeliest.map_or(Ok(None), |run| {
            // It stays where it is if the training was interrupted.
            search.keep(run.clone());
            search.go_on(run, exact)?;
            Ok(Some(search.end()))
        })
    }

    /// One family in all folds, until there is nothing to gain: from one component on, or from its best under a weaker
    /// prior, which is `fitted`.
    fn grow(
        &self,
        family: Covariance,
        shrinkage: f64,
        fitted: &mut Option<Vec<Gaussians>>,
        (starts, course): (&mut u64, &mut Course),
        best: &mut Option<Best>,
    ) -> Result<()> {
        let coarse = Limits::of(self.config).coarse();
        let ems: Vec<_> =
            self.folds.iter().map(|fold| fold.em(self.config, self.options, self.prior(shrinkage))).collect();
        let left_out: f64 = ems.iter().map(|[em, _]| em.held_out.rows() as f64).sum();
        let mut runs: Vec<Run> = Vec::new();
        let mut criteria: Vec<f64> = Vec::new();
        let (mut least, mut waited) = (f64::INFINITY, 0);
        let rows = ems.iter().map(|[em, _]| em.rows.rows()).min().unwrap_or(0);
        let width = self.config.width();
        let most = self.max.min(rows).min((ENTRIES / (width * width)).max(1));
        let known = fitted.take();
        let first = known.as_ref().map_or(1, |known| known[0].len());
        for k in first..=most {
            let (mut next, mut criterion) = (Vec::new(), 0.0);
            for (fold, [em, trial]) in ems.iter().enumerate() {
                let mut search =
                    Search { em, trial, streams: self.streams, course, starts: *starts, best: None };
                let run = match (runs.get(fold), &known) {
                    (Some(last), _) => search.one_more(last, coarse)?,
                    (None, Some(known)) => {
                        let from = known[fold].clone();
                        let sums = em.expect(&from, family);
                        search.run(family, (from, sums), coarse)?
                    }
                    (None, None) => {
                        let from = search.spread(k, family);
                        search.run(family, from, coarse)?
                    }
                };
                *starts = search.starts;
                let Some(run) = run.filter(|run| !search.is_starved(run)) else { return Ok(()) };
                let share = em.held_out.rows() as f64 / left_out;
                criterion += share * run.held_out.unwrap_or(f64::INFINITY);
                next.push(run);
            }
            runs = next;
            let gaussians: Vec<_> = runs.iter().map(|run| run.gaussians.clone()).collect();
            if best.as_ref().is_none_or(|best| criterion < best.nll) {
                *best = Some(Best { nll: criterion, family, shrinkage, gaussians: gaussians.clone() });
            }
            criteria.push(criterion);
            if criterion < least {
                (waited, *fitted) = (0, Some(gaussians));
            } else {
                waited += 1;
            }
            least = least.min(criterion);
            if waited == PATIENCE || course.stopped {
                break;
            }
            // What the last few numbers gained, on and on, must reach the best of the other families.
            if let Some(&before) = criteria.iter().rev().nth(PATIENCE)
                && let Some(best) = best.as_ref().filter(|best| best.family != family)
            {
                let gain = (before - criterion).max(0.0) / PATIENCE as f64;
                if criterion - gain * (most - k) as f64 > best.nll {
                    break;
                }
            }
        }
        Ok(())
    }
}

//! Expectation–maximisation.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, Array3};

use super::gaussians::Gaussians;
use super::likelihood::mean_nll;
use super::{BLOCK, GaussianMixtureConfig};
use crate::baseline::lanes::{LANES, Lanes, total};
use crate::error::{Error, Result};
use crate::generative::{Stop, TrainOptions};
use crate::numeric::simd::vectorise;
use crate::numeric::tiles::for_each_block;

/// Parts of the rows that are summed by themselves, then in order: what makes the sums the same bits for any
/// number of threads, and the most threads that a step can use.
const PARTS: usize = 16;

/// Σ over the rows of what the M-step needs, about the means of the E-step: no digits are lost where a
/// component is narrow and far from the origin.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    /// −Σ ln p(x)
    pub nll: f64,
    // Σ rₖ: (k)
    count: Vec<f64>,
    // Σ rₖ (x − μₖ): (k, d)
    first: Vec<f64>,
    // Σ rₖ (x − μₖ)(x − μₖ)ᵀ, the lower triangle row by row: (k, d (d + 1)/2)
    second: Vec<f64>,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.nll += other.nll;
        let add =
            |to: &mut Vec<f64>, from: &[f64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        add(&mut self.count, &other.count);
        add(&mut self.first, &other.first);
        add(&mut self.second, &other.second);
    }
}

/// Which component a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assign {
    /// To each by its posterior probability: EM.
    Soft,
    /// To the likeliest alone: k-means, if all covariances are one.
    Hard,
}

#[derive(Default)]
struct Scratch {
    // (k, BLOCK)
    responsibility: Vec<f64>,
    // (BLOCK)
    nats: Vec<f64>,
    // (d, LANES)
    centred: Vec<f64>,
    // Lanes of one component's sums: (1 + d + d (d + 1)/2, LANES)
    sums: Vec<f64>,
}

/// The E-step: rₖ = wₖ N(x; μₖ, Σₖ) / p(x) of each row, and the sums.
pub(super) fn expect(gaussians: &Gaussians, rows: &Lanes, assign: Assign) -> Sums {
    let d = gaussians.dim();
    let blocks = rows.rows().div_ceil(BLOCK);
    let part = blocks.div_ceil(PARTS) * BLOCK;
    let mut parts = vec![Sums::default(); rows.rows().div_ceil(part)];
    let done = for_each_block(&mut parts, 1, 1, |scratch: &mut Scratch, p, sums| {
        let tiles = &rows.tiles()[p * part * d..rows.tiles().len().min((p + 1) * part * d)];
        let live = part.min(rows.rows() - p * part);
        for (b, tiles) in tiles.chunks(BLOCK * d).enumerate() {
            add_block(gaussians, tiles, BLOCK.min(live - b * BLOCK), assign, scratch, &mut sums[0]);
        }
        Ok(())
    });
    debug_assert!(done.is_ok());
    parts.into_iter().reduce(|mut sum, part| (sum.add(&part), sum).1).unwrap_or_default()
}

/// tiles: (t, d, LANES), of which `live` rows are rows.
fn add_block(
    gaussians: &Gaussians,
    tiles: &[f64],
    live: usize,
    assign: Assign,
    scratch: &mut Scratch,
    to: &mut Sums,
) {
    let (k, d) = (gaussians.len(), gaussians.dim());
    let rows = tiles.len() / d;
    let triangle = d * (d + 1) / 2;
    to.count.resize(k, 0.0);
    to.first.resize(k * d, 0.0);
    to.second.resize(k * triangle, 0.0);
    let Scratch { responsibility, nats, centred, sums } = scratch;
    responsibility.resize(k * rows, 0.0);
    nats.resize(rows, 0.0);
    sums.resize((1 + d + triangle) * LANES, 0.0);
    vectorise(
        #[inline(always)]
        || {
            let r = &mut responsibility[..k * rows];
            gaussians.log_joint(tiles, centred, r);
            match assign {
                Assign::Soft => gaussians.normalise(r, &mut nats[..rows]),
                Assign::Hard => harden(r, &mut nats[..rows]),
            }
            to.nll -= nats[..live].iter().sum::<f64>();
            // What fills up the last tile belongs to none.
            r.chunks_exact_mut(rows).for_each(|r| r[live..].fill(0.0));

            let centred = centred.as_chunks_mut::<LANES>().0;
            for (k, r) in r.chunks_exact(rows).enumerate() {
                sums.fill(0.0);
                let (count, rest) = sums.as_chunks_mut::<LANES>().0.split_first_mut().expect("a count");
                let (first, second) = rest.split_at_mut(d);
                let mean = gaussians.means.row(k);
                let mean = mean.as_slice().expect("standard layout");
                for (x, r) in tiles.chunks_exact(d * LANES).zip(r.as_chunks::<LANES>().0) {
                    for l in 0..LANES {
                        count[l] += r[l];
                    }
                    let mut second = second.iter_mut();
                    for (i, x) in x.as_chunks::<LANES>().0.iter().enumerate() {
                        let mut weighted = [0.0; LANES];
                        for l in 0..LANES {
                            centred[i][l] = x[l] - mean[i];
                            weighted[l] = r[l] * centred[i][l];
                            first[i][l] += weighted[l];
                        }
                        for (centred, second) in centred[..=i].iter().zip(&mut second) {
                            for l in 0..LANES {
                                second[l] = weighted[l].mul_add(centred[l], second[l]);
                            }
                        }
                    }
                }
                to.count[k] += total(count);
                let first = to.first[k * d..].iter_mut().zip(&*first);
                let second = to.second[k * triangle..].iter_mut().zip(&*second);
                first.chain(second).for_each(|(to, lanes)| *to += total(lanes));
            }
        },
    );
}

/// 1 for the largest of each row, the first of equals, 0 for the rest. joint: (k, n), nats: (n), the largest.
#[inline(always)]
fn harden(joint: &mut [f64], nats: &mut [f64]) {
    let n = nats.len();
    let mut best = [0.0; BLOCK];
    nats.fill(f64::NEG_INFINITY);
    for (k, a) in joint.chunks_exact(n).enumerate() {
        for r in 0..n {
            let more = a[r] > nats[r];
            nats[r] = if more { a[r] } else { nats[r] };
            best[r] = if more { k as f64 } else { best[r] };
        }
    }
    for (k, a) in joint.chunks_exact_mut(n).enumerate() {
        for r in 0..n {
            a[r] = if best[r] == k as f64 { 1.0 } else { 0.0 };
        }
    }
}

/// The M-step: the weights, means and covariances that maximise E[ln p(x, component)] under the
/// responsibilities, with `ridge` added to the variances. ridge: (d)
///
/// With nₖ = Σ rₖ and δ = Σ rₖ (x − μₖ) / nₖ: wₖ ← nₖ/n, μₖ ← μₖ + δ, Σₖ ← Σ rₖ (x − μₖ)(x − μₖ)ᵀ / nₖ − δ δᵀ
/// (Bishop 2006, eqs. 9.24–9.26, about the old mean). A component without rows keeps its place.
///
/// The error is the first component whose covariance is not positive definite.
pub(super) fn maximise(gaussians: &Gaussians, sums: &Sums, ridge: &[f64]) -> Result<Gaussians, usize> {
    let (k, d) = gaussians.means.dim();
    let rows: f64 = sums.count.iter().sum();
    let weights = Array1::from_shape_fn(k, |k| sums.count[k] / rows);
    let mut covariances: Array3<f64> = gaussians.covariances.clone();
    let triangles = sums.second.chunks_exact(d * (d + 1) / 2);
    for (k, (first, second)) in sums.first.chunks_exact(d).zip(triangles).enumerate() {
        let count = sums.count[k];
        if count < f64::MIN_POSITIVE {
            continue;
        }
        let mut second = second.iter();
        for i in 0..d {
            for (j, second) in (0..=i).zip(&mut second) {
                let moment = second / count - first[i] / count * (first[j] / count);
                covariances[[k, i, j]] = moment + if i == j { ridge[i] } else { 0.0 };
                covariances[[k, j, i]] = covariances[[k, i, j]];
            }
        }
    }
    Gaussians::new(weights, moved_means(gaussians, sums), covariances)
}

/// μₖ + δₖ: (k, d)
pub(super) fn moved_means(gaussians: &Gaussians, sums: &Sums) -> Array2<f64> {
    let d = gaussians.dim();
    let mut means = gaussians.means.clone();
    for ((k, i), mean) in means.indexed_iter_mut() {
        if sums.count[k] >= f64::MIN_POSITIVE {
            *mean += sums.first[k * d + i] / sums.count[k];
        }
    }
    means
}

/// One run of EM.
pub(super) struct Run {
    pub gaussians: Gaussians,
    /// Mean NLL of the training rows under them.
    pub nll: f64,
    /// The same after each iteration.
    pub loss: Vec<f64>,
    /// (iterations done, mean NLL of the held-out rows)
    pub validation: Vec<(usize, f64)>,
    pub stop: Stop,
}

/// What all runs of a training share.
pub(super) struct Em<'a> {
    pub config: &'a GaussianMixtureConfig,
    pub options: &'a TrainOptions,
    pub rows: &'a Lanes,
    pub held_out: &'a Lanes,
    /// Added to the variances: (d)
    pub ridge: &'a [f64],
}

impl Em<'_> {
    /// Iterates from `sums`, an E-step about `gaussians`, until the loss falls by less than `tol` or `max_iter`
    /// is reached. `observe(loss, validation)` sees each iteration, the first of which is step `done`.
    pub fn run(
        &self,
        mut gaussians: Gaussians,
        mut sums: Sums,
        done: usize,
        mut observe: impl FnMut(f64, Option<f64>) -> ControlFlow<()>,
    ) -> Result<Run> {
        let (config, options, rows) = (self.config, self.options, self.rows.rows() as f64);
        let (mut loss, mut validation) = (Vec::new(), Vec::<(usize, f64)>::new());
        let mut stop = None;
        // Held-out NLL, number of the validation, training NLL, parameters.
        let mut best: Option<(f64, usize, f64, Gaussians)> = None;
        while stop.is_none() {
            let diverged = |what| Error::Diverged { step: done + loss.len(), what };
            gaussians = maximise(&gaussians, &sums, self.ridge).map_err(|k| {
                diverged(format!("the covariance of component {k} is not positive definite; raise reg_covar"))
            })?;
            sums = expect(&gaussians, self.rows, Assign::Soft);
            let nll = sums.nll / rows;
            if !nll.is_finite() {
                return Err(diverged(format!("loss = {nll}")));
            }
            let converged = loss.last().is_some_and(|last| last - nll < config.tol);
            loss.push(nll);
            if converged || loss.len() == config.max_iter {
                stop = Some(Stop::Completed);
            }
            let due = loss.len().is_multiple_of(options.validate_every) || stop.is_some();
            if due && self.held_out.rows() > 0 {
                let held_out = mean_nll(&gaussians, self.held_out);
                validation.push((loss.len(), held_out));
                if let Some(patience) = options.patience {
                    if best.as_ref().is_none_or(|(least, ..)| held_out < *least) {
                        best = Some((held_out, validation.len(), nll, gaussians.clone()));
                    }
                    if best.as_ref().is_some_and(|(_, at, ..)| validation.len() - at >= patience) {
                        stop = Some(Stop::Patience);
                    }
                }
            }
            if observe(nll, validation.last().map(|&(_, nll)| nll)).is_break() {
                stop = Some(Stop::Interrupted);
            }
        }
        let (nll, gaussians) = best.map_or((sums.nll / rows, gaussians), |(.., nll, best)| (nll, best));
        Ok(Run { gaussians, nll, loss, validation, stop: stop.expect("the loop ends with a reason") })
    }
}

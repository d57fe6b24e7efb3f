use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ndarray::{Array1, Array2};

use super::EnergyModel;
use super::network::Pass;
use crate::engine::tiles;
use crate::error::Result;
use crate::nn::REACH;
use crate::numeric::log_sum;
use crate::numeric::quadrature::{Cell, gauss_legendre, ln_integral};

/// ln Z(c) = ln ∫ exp(−E(z, c)) dz by quadrature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LogPartition {
    pub(super) nats: f64,
    /// How far off it may be.
    pub(super) error: f64,
}

/// ln Z of the conditions that were asked for, by the bits of c.
#[derive(Debug, Default)]
pub(super) struct Partitions(Mutex<HashMap<Vec<u32>, LogPartition>>);

/// About as many bytes of conditions are remembered.
const REMEMBERED: usize = 1 << 24;

impl Partitions {
    /// That of c, which `find` finds where it is not known. Several threads may do so at once.
    pub(super) fn of(&self, c: &[f32], find: impl FnOnce() -> Result<LogPartition>) -> Result<LogPartition> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key: Vec<u32> = c.iter().map(|c| c.to_bits()).collect();
        if let Some(found) = known().get(&key) {
            return Ok(*found);
        }
        let found = find()?;
        let mut known = known();
        if known.len() * (size_of_val(&key[..]) + 64) > REMEMBERED {
            known.clear();
        }
        known.insert(key, found);
        Ok(found)
    }
}

impl Clone for Partitions {
    fn clone(&self) -> Self {
        Partitions(Mutex::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

/// The error of the even grid, in nats, above which cells are halved instead: up to which error, and up to how
/// many evaluations.
pub(super) const RESOLVED: f64 = 1e-3;
const TOLERANCE: f64 = 1e-4;
const BUDGET: usize = 1 << 23;

/// Where the nodes lie densest: their distance grows like √(1 + (z/CORE)²).
const CORE: f64 = 2.0;

/// An integration rule on an axis: nodes, their weights, and the weights of the two rules of twice the step, on
/// the even and on the odd nodes. It is their mean.
struct Rule {
    nodes: Vec<f64>,
    fine: Vec<f64>,
    coarse: [Vec<f64>; 2],
}

impl Rule {
    /// The trapezoidal rule in u, z = CORE·sinh u, on an even number of intervals from −REACH to REACH, which
    /// is dense where data are.
    ///
    /// Beyond the reach E grows along the axis by the confinement alone, so the tail behind an end is the
    /// end's own value times ∫ exp(−(z² − REACH²)/2w²) dz from there to ∞. It is added to the end's weight:
    /// nothing is cut off.
    fn new(intervals: usize, width: f64) -> Self {
        let (ends, tail) = ((REACH / CORE).asinh(), tail(width));
        let h = 2.0 * ends / intervals as f64;
        let mut rule = Rule { nodes: Vec::new(), fine: Vec::new(), coarse: [Vec::new(), Vec::new()] };
        for k in 0..=intervals {
            let u = h * (k as f64 - 0.5 * intervals as f64);
            let (slope, end) = (CORE * u.cosh(), k == 0 || k == intervals);
            let weight = |h: f64| h * slope * if end { 0.5 } else { 1.0 } + if end { tail } else { 0.0 };
            rule.nodes.push(CORE * u.sinh());
            let (fine, even) = (weight(h), if k % 2 == 0 { weight(2.0 * h) } else { 0.0 });
            rule.fine.push(fine);
            rule.coarse[0].push(even);
            rule.coarse[1].push(2.0 * fine - even);
        }
        rule
    }
}

/// ∫ exp(−(z² − R²)/2w²) dz from R = REACH to ∞. With z = R + a·t the integrand is exp(−(aRt + a²t²/2)/w²);
/// at a = w²/(R + w) it has decayed by t = 20.
fn tail(width: f64) -> f64 {
    let a = width * width / (REACH + width);
    let (nodes, weights) = gauss_legendre(64);
    let f = |t: f64| (-(a * REACH * t + 0.5 * a * a * t * t) / (width * width)).exp();
    a * nodes.iter().zip(weights).map(|(x, w)| 10.0 * w * f(10.0 * (x + 1.0))).sum::<f64>()
}

impl EnergyModel {
    /// −E(z, c) of the rows z: (n, d), in standard units, under conditions c. f is in f32, the confinement in f64, so that no finite
    /// row is beyond it.
    pub(super) fn score_tile(&self, z: &[f32], c: &[f32], pass: &mut Pass<f32>, nats: &mut [f64]) {
        let d = self.config.dim;
        let f = self.energy.infer(&self.parameters.average, z, c, pass);
        for ((nats, &f), z) in nats.iter_mut().zip(f).zip(z.chunks_exact(d)) {
            let square: f64 = z.iter().map(|&z| f64::from(z).powi(2)).sum();
            *nats = -f64::from(f) - 0.5 * square / self.config.width.powi(2);
        }
    }

    /// ln Z(c) over one or two axes, of one condition: on an even grid, where that resolves the density, and else on cells that are
    /// halved where the mass is.
    pub(super) fn log_partition(&self, intervals: usize, c: &[f32]) -> Result<LogPartition> {
        let even = self.log_partition_on_grid(intervals, c)?;
        if even.error <= RESOLVED { Ok(even) } else { self.log_partition_on_cells(intervals, c) }
    }

    /// By the trapezoidal rule. Its error is the most that one of the rules of twice the step differs from it.
    pub(super) fn log_partition_on_grid(&self, intervals: usize, c: &[f32]) -> Result<LogPartition> {
        let rule = Rule::new(intervals, self.config.width);
        let (count, d) = (rule.nodes.len(), self.config.dim);
        // A line of nodes along the last axis for each node of the first, if there are two.
        let lines = if d == 1 { 1 } else { count };
        let (mut fine, mut coarse) = (Vec::with_capacity(lines), [Vec::new(), Vec::new()]);
        for line in 0..lines {
            let z = Array2::from_shape_fn((count, d), |(k, axis)| {
                rule.nodes[if axis + 1 == d { k } else { line }] as f32
            });
            let nats = self.score_standard(z, c)?;
            let along = |weights: &[f64]| log_sum(weights.iter().copied().zip(nats.iter().copied()));
            fine.push(along(&rule.fine));
            coarse.iter_mut().zip(&rule.coarse).for_each(|(coarse, weights)| coarse.push(along(weights)));
        }
        let across =
            |weights: &[f64], lines: &[f64]| log_sum(weights.iter().copied().zip(lines.iter().copied()));
        let (nats, halves): (f64, Vec<f64>) = match d {
            1 => (fine[0], coarse.iter().map(|lines| lines[0]).collect()),
            _ => (
                across(&rule.fine, &fine),
                coarse.iter().flat_map(|lines| rule.coarse.iter().map(|rule| across(rule, lines))).collect(),
            ),
        };
        let error = halves.iter().map(|half| (half - nats).abs()).fold(0.0, f64::max);
        Ok(LogPartition { nats, error })
    }

    /// By [`ln_integral`] in the coordinates u of [`Rule`], from about `intervals` nodes an axis on. An end of
    /// an axis, a point among the cells, stands for the tail behind it.
    fn log_partition_on_cells(&self, intervals: usize, c: &[f32]) -> Result<LogPartition> {
        let (ends, ln_tail) = ((REACH / CORE).asinh(), tail(self.config.width).ln());
        let pieces = (intervals / 8).clamp(8, 64);
        let at = |k: usize| ends * (2.0 * k as f64 / pieces as f64 - 1.0);
        let axis: Vec<(f64, f64)> =
            (0..pieces).map(|k| (at(k), at(k + 1))).chain([(-ends, -ends), (ends, ends)]).collect();
        let cells: Vec<Cell> = match self.config.dim {
            1 => axis.iter().map(|&x| vec![x]).collect(),
            _ => axis.iter().flat_map(|&x| axis.iter().map(move |&y| vec![x, y])).collect(),
        };
        let (nats, error) = ln_integral(cells, TOLERANCE, BUDGET, |points| {
            let z: Vec<f32> = points.iter().map(|u| (CORE * u.sinh()) as f32).collect();
            let rows = (points.len() / self.config.dim, self.config.dim);
            let mut nats = self.score_standard(Array2::from_shape_vec(rows, z).expect("whole points"), c)?;
            // The nodes of a cell lie inside it: at an end is only the point that stands for the tail.
            let ln_slope = |u: f64| if u.abs() < ends { (CORE * u.cosh()).ln() } else { ln_tail };
            for (nats, u) in nats.iter_mut().zip(points.chunks_exact(self.config.dim)) {
                *nats += u.iter().map(|&u| ln_slope(u)).sum::<f64>();
            }
            Ok(nats.to_vec())
        })?;
        Ok(LogPartition { nats, error })
    }

    /// −E(z, c) of the rows z: (n, d), all under one condition.
    fn score_standard(&self, z: Array2<f32>, c: &[f32]) -> Result<Array1<f64>> {
        tiles::score(z.view(), |_, pass: &mut Pass<f32>, z, nats| {
            self.score_tile(z, c, pass, nats);
            Ok(())
        })
    }
}

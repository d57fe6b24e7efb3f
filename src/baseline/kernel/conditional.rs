//! p(x|c): the kernels of a class, or those of (c, x) under c.

use std::ops::ControlFlow;

use ndarray::ArrayView2;
use rand::{Rng as _, RngCore};

use super::KernelDensity;
use super::likelihood::log_sums;
use crate::baseline::{numbers, row_of};
use crate::engine::tiles::{self, DrawTile, RowStreams};
use crate::error::Result;
use crate::map::Card;
use crate::model::*;
use crate::numeric::Real;

/// Standard deviations of a kernel from the mean of all rows beyond which a number of a condition counts as there: its
/// square leaves digits for what the columns add.
const REACH: f64 = 1e5;

/// Kernels under a condition: one row for all rows that are drawn or scored, or one for each.
pub(super) struct Conditioned<'a> {
    model: &'a KernelDensity,
    condition: Condition,
    /// Of vectors, L_cc⁻¹ (c − shift): (rows, numbers)
    y: Vec<f64>,
    /// Of one vector for all rows, the running sum of the kernels' weights: (n)
    weights: Vec<f64>,
}

impl<'a> Conditioned<'a> {
    pub fn new(model: &'a KernelDensity, condition: &Condition) -> Result<Self> {
        model.config.condition.check(Some(condition))?;
        let (mut y, mut weights) = (Vec::new(), Vec::new());
        if let Condition::Vector(c) = condition {
            for row in c.rows() {
                let start = y.len();
                model.sphere.extend_first(row.iter().copied(), &mut y);
                y[start..].iter_mut().for_each(|y| *y = y.clamp(-REACH, REACH));
            }
            if c.nrows() == 1 {
                model.weights(&y, &mut weights);
            }
        }
        Ok(Conditioned { model, condition: condition.clone(), y, weights })
    }

    /// Of the numbers in a row of the condition: L_cc⁻¹ (c − shift).
    fn y(&self, row: usize) -> &[f64] {
        let numbers = numbers(self.model.config.condition);
        &self.y[row * numbers..][..numbers]
    }

    /// ln p(x|c) of rows x: (n, dim), the first of which is row `first` of all.
    fn score(&self, first: usize, x: &[f32], buffers: &mut Buffers, nats: &mut [f64]) {
        let KernelDensity { sphere, bandwidth: h, given, config, .. } = self.model;
        let (s, dim) = (0.5 / (h * h), config.dim);
        let Buffers { y, c, sums, scratch } = buffers;
        let constant = dim as f64 * h.ln() + sphere.constant(sphere.shift.len() - dim);
        if let Condition::Class(classes) = &self.condition {
            sphere.apply(x, y);
            for (r, (y, nats)) in y.chunks_exact(dim).zip(nats).enumerate() {
                let kernels = &given[classes[row_of(&self.condition, first + r)] as usize];
                log_sums(kernels, y, &[], s, scratch, std::slice::from_mut(nats));
                *nats -= constant + (kernels.rows() as f64).ln();
            }
            return;
        }
        y.clear();
        c.clear();
        for (r, x) in x.chunks_exact(dim).enumerate() {
            let own = self.y(row_of(&self.condition, first + r));
            c.extend_from_slice(own);
            sphere.extend_rest(own, x, y);
        }
        sums.resize(nats.len(), 0.0);
        log_sums(&given[0], c, &[], s, scratch, sums);
        log_sums(&given[1], y, &[], s, scratch, nats);
        nats.iter_mut().zip(sums).for_each(|(nats, sum)| *nats -= *sum + constant);
    }
}

impl KernelDensity {
    /// The running sum of exp(−½ ‖y − yⱼ‖²/h²) over the kernels in c, in proportion to the largest.
    fn weights(&self, y: &[f64], running: &mut Vec<f64>) {
        let s = 0.5 / (self.bandwidth * self.bandwidth);
        let kernels = &self.given[0];
        let square =
            |j| y.iter().zip(kernels.lanes.row(j)).map(|(y, kernel)| (y - kernel).powi(2)).sum::<f64>();
        running.clear();
        running.extend((0..kernels.rows()).map(square));
        let nearest = running.iter().copied().fold(f64::INFINITY, f64::min);
        let mut sum = 0.0;
        for weight in running {
            sum += (s * (nearest - *weight)).exp();
            *weight = sum;
        }
    }
}

/// What a thread keeps from tile to tile.
#[derive(Default)]
pub(super) struct Buffers {
    // L⁻¹ ((c, x) − shift): (n, numbers + dim), and its part of c: (n, numbers)
    y: Vec<f64>,
    c: Vec<f64>,
    // Of the kernels in c: (n)
    sums: Vec<f64>,
    scratch: Vec<f64>,
}

impl DrawTile for Conditioned<'_> {
    /// The running weights under a row's own condition, and z: (numbers + dim)
    type Scratch = (Vec<f64>, Vec<f64>);

    fn columns(&self) -> usize {
        self.model.config.dim
    }

    /// j as the kernels in c weigh, z ~ N(0, I), x = xⱼ + L_xc (y_c − yⱼ_c) + T·h·L_xx z.
    fn draw_tile(
        &self,
        temperature: f64,
        streams: RowStreams,
        (own, z): &mut (Vec<f64>, Vec<f64>),
        x: &mut [f32],
    ) -> usize {
        let model = self.model;
        let scale = temperature * model.bandwidth;
        for (r, x) in x.chunks_exact_mut(self.columns()).enumerate() {
            let mut rng = streams.row(r);
            let row = row_of(&self.condition, streams.first() + r);
            z.clear();
            let kernel = match &self.condition {
                Condition::Class(classes) => {
                    let class = classes[row] as usize;
                    let first: usize = model.classes[..class].iter().sum();
                    match model.classes[class] {
                        0 => rng.random_range(0..model.x.nrows()),
                        rows => first + rng.random_range(0..rows),
                    }
                }
                _ => {
                    let running = if self.weights.is_empty() {
                        model.weights(self.y(row), own);
                        &*own
                    } else {
                        &self.weights
                    };
                    let target = rng.random::<f64>() * running.last().expect("at least one kernel");
                    let j = running.partition_point(|sum| *sum <= target).min(running.len() - 1);
                    z.extend(
                        self.y(row).iter().zip(model.given[0].lanes.row(j)).map(|(y, kernel)| y - kernel),
                    );
                    j
                }
            };
            let scale = scale * model.width(kernel);
            z.extend((0..x.len()).map(|_| scale * f64::normal(&mut rng)));
            let (numbers, width) = (z.len() - x.len(), z.len());
            for (i, x) in x.iter_mut().enumerate() {
                let line = &model.sphere.l[(numbers + i) * width..];
                let moved: f64 = line.iter().zip(&z[..=numbers + i]).map(|(l, z)| l * z).sum();
                let value = f64::from(model.x[[kernel, numbers + i]]) + moved;
                *x = value.clamp(f32::MIN.into(), f32::MAX.into()) as f32;
            }
        }
        1
    }
}

impl Distribution for Conditioned<'_> {
    fn card(&self) -> Card {
        self.model.card()
    }

    fn dim(&self) -> usize {
        self.model.dim()
    }

    fn sample(&self, n: usize, options: &SampleOptions, rng: &mut dyn RngCore) -> Result<Samples> {
        self.condition.check_count(n)?;
        tiles::sample(self, n, options, rng)
    }

    fn sample_each(
        &self,
        n: u64,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
        sink: &mut dyn FnMut(ArrayView2<f32>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.condition.check_count(usize::try_from(n).unwrap_or(usize::MAX))?;
        tiles::sample_each(self, n, options, rng, sink)
    }

    fn draw_at(&self, at: RowStreams, options: &SampleOptions, rows: &mut [f32]) -> Result<usize> {
        self.condition.check_reach(at.first().saturating_add(rows.len() / self.dim()))?;
        tiles::draw_at(self, at, options, rows)
    }

    fn log_likelihood(&self, x: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        check_rows("x", x, self.dim())?;
        self.condition.check_count(x.nrows())?;
        let nats = tiles::score(x, |first, buffers: &mut Buffers, x, nats| {
            self.score(first, x, buffers, nats);
            Ok(())
        })?;
        Ok(LogLikelihood::Exact(nats))
    }
}

//! p(x|c): the mixture of a class, or that of a joint one over (c, x) under c.

use std::ops::ControlFlow;

use ndarray::{Array1, ArrayView2, Axis, s};
use rand::RngCore;

use super::gaussians::Gaussians;
use super::likelihood::Scratch;
use super::{GaussianMixture, numbers};
use crate::baseline::row_of;
use crate::engine::tiles::{self, DrawTile, RowStreams};
use crate::error::Result;
use crate::map::Card;
use crate::model::*;
use crate::numeric::gemm::{gram, transpose};

/// A mixture under a condition: one row for all rows that are drawn or scored, or one for each.
pub(super) struct Conditioned<'a> {
    model: &'a GaussianMixture,
    condition: Condition,
    /// Under vectors.
    regression: Option<Regression>,
}

impl<'a> Conditioned<'a> {
    pub fn new(model: &'a GaussianMixture, condition: &Condition) -> Result<Self> {
        model.config.condition.check(Some(condition))?;
        let numbers = numbers(model.config.condition);
        let regression = (numbers > 0).then(|| Regression::new(&model.parts[0].gaussians, numbers));
        Ok(Conditioned { model, condition: condition.clone(), regression })
    }

    /// The mixture under a row of the condition, which `moved` holds if it is made for it.
    fn at<'b>(&'b self, row: usize, moved: &'b mut Moved) -> &'b Gaussians {
        match (&self.condition, &self.regression) {
            (Condition::Vector(c), Some(regression)) => {
                regression.at(c.row(row).as_standard_layout().as_slice().expect("one row"), moved)
            }
            (Condition::Class(classes), _) => &self.model.parts[classes[row] as usize].gaussians,
            _ => unreachable!("the condition is of the model's kind"),
        }
    }
}

/// The regression of x on c in each component of a mixture over (c, x).
///
/// With L of the joint covariance in blocks, L_xx L_xxᵀ is the Schur complement, and L_xc L_cc⁻¹ (c − μ_c) the mean of
/// x less μ_x: Σ_xc = L_xc L_ccᵀ and Σ_cc = L_cc L_ccᵀ.
struct Regression {
    /// Of c alone.
    marginal: Gaussians,
    /// x at the mean of c, components of weight 1.
    conditional: Gaussians,
    /// L_xc L_cc⁻¹: (k, dim·numbers)
    slopes: Vec<Vec<f64>>,
}

/// What a thread needs for the mixture under its rows' conditions.
#[derive(Default)]
pub(super) struct Moved {
    scratch: Scratch,
    gaussians: Option<Gaussians>,
}

impl Regression {
    fn new(joint: &Gaussians, numbers: usize) -> Self {
        let (k, width) = (joint.len(), joint.dim());
        let d = width - numbers;
        // Rows and columns from `numbers` on, of a triangle.
        let block = |triangle: &Vec<f64>| -> Vec<f64> {
            triangle.chunks_exact(width).skip(numbers).flat_map(|line| &line[numbers..]).copied().collect()
        };
        let l: Vec<_> = joint.l.iter().map(block).collect();
        let whiten: Vec<_> = joint.whiten.iter().map(block).collect();
        let mut covariances = ndarray::Array3::zeros((k, d, d));
        for (l, mut covariance) in l.iter().zip(covariances.axis_iter_mut(Axis(0))) {
            let mut upper = vec![0.0; d * d];
            transpose((d, d), l, &mut upper);
            covariance.assign(&ArrayView2::from_shape((d, d), &gram(&upper, d)).expect("d × d"));
        }
        let slopes = joint.l.iter().zip(&joint.whiten).map(|(l, whiten)| {
            let slope = |i: usize, j: usize| {
                (j..numbers).map(|m| l[(numbers + i) * width + m] * whiten[m * width + j]).sum::<f64>()
            };
            (0..d * numbers).map(|at| slope(at / numbers, at % numbers)).collect()
        });
        Regression {
            slopes: slopes.collect(),
            // A pivot of c alone is that of the joint factor.
            marginal: Gaussians::factored(
                joint.weights.clone(),
                joint.means.slice(s![.., ..numbers]).to_owned(),
                joint.covariances.slice(s![.., ..numbers, ..numbers]).to_owned(),
                joint.l.iter().map(|l| corner(l, width, numbers)).collect(),
                joint.whiten.iter().map(|whiten| corner(whiten, width, numbers)).collect(),
            ),
            conditional: Gaussians::factored(
                Array1::ones(k),
                joint.means.slice(s![.., numbers..]).to_owned(),
                covariances,
                l,
                whiten,
            ),
        }
    }

    /// wₖ(c), μₖ(c) and the covariances, which do not depend on c: (numbers).
    fn at<'b>(&self, c: &[f32], Moved { scratch, gaussians }: &'b mut Moved) -> &'b Gaussians {
        let moved = gaussians.get_or_insert_with(|| self.conditional.clone());
        let width = scratch.score(&self.marginal, c);
        for k in 0..moved.len() {
            let weight = scratch.responsibility[k * width];
            moved.weights[k] = weight;
            moved.peak[k] = self.conditional.peak[k] + weight.ln();
            let from = self.marginal.means.row(k);
            for (i, slopes) in self.slopes[k].chunks_exact(c.len()).enumerate() {
                let steps = slopes.iter().zip(c.iter().zip(from));
                let moved_by: f64 = steps.map(|(slope, (&c, mean))| slope * (f64::from(c) - mean)).sum();
                moved.means[[k, i]] = self.conditional.means[[k, i]] + moved_by;
            }
        }
        moved
    }
}

/// The first `numbers` rows and columns of a matrix of `width`.
fn corner(matrix: &[f64], width: usize, numbers: usize) -> Vec<f64> {
    matrix.chunks_exact(width).take(numbers).flat_map(|line| &line[..numbers]).copied().collect()
}

impl DrawTile for Conditioned<'_> {
    type Scratch = (Moved, Vec<f64>);

    fn columns(&self) -> usize {
        self.model.config.dim
    }

    fn draw_tile(
        &self,
        temperature: f64,
        streams: RowStreams,
        (moved, z): &mut (Moved, Vec<f64>),
        x: &mut [f32],
    ) -> usize {
        for (r, x) in x.chunks_exact_mut(self.columns()).enumerate() {
            let row = row_of(&self.condition, streams.first() + r);
            self.at(row, moved).draw(temperature, &mut streams.row(r), z, x);
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
        if self.condition.rows() == 1 {
            return Ok(LogLikelihood::Exact(self.at(0, &mut Moved::default()).score(x)?));
        }
        let dim = self.dim();
        let nats = tiles::score(x, |first, (moved, scratch): &mut (Moved, Scratch), x, nats| {
            for (r, (x, nats)) in x.chunks_exact(dim).zip(nats).enumerate() {
                scratch.score(self.at(first + r, moved), x);
                *nats = scratch.nats[0];
            }
            Ok(())
        })?;
        Ok(LogLikelihood::Exact(nats))
    }
}

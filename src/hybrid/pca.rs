use std::f64::consts::TAU;

use ndarray::{Array2, ArrayView2};
use rand::RngCore;

use super::codec::{Codec, Explanation, check_decoded, log_normal};
use crate::engine::{Fitted, Given, RowStreams, Rows, tiles};
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::check_rows;
use crate::model::*;
use crate::numeric::Real;
use crate::numeric::eigen::eigen;
use crate::numeric::gemm::gram;
use crate::numeric::rng::Rng;

/// The most columns: their eigenvectors take some dim³ operations.
const MOST_COLUMNS: usize = 512;

/// The least variance of a direction, in those of the columns: rows may leave it without any.
const LEAST: f64 = 1e-6;

/// What a [`Pca`] is made of.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct PcaConfig {
    /// Columns of a row. 1 to 512. Default 2.
    pub dim: usize,
    /// Columns of z: directions that are told apart. 1 to `dim`. Default 2.
    pub latent_dim: usize,
}

impl Default for PcaConfig {
    fn default() -> Self {
        PcaConfig { dim: 2, latent_dim: 2 }
    }
}

impl PcaConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check((1..=MOST_COLUMNS).contains(&self.dim), "PcaConfig::dim", self.dim, "1 to 512")?;
        let within = (1..=self.dim).contains(&self.latent_dim);
        check(within, "PcaConfig::latent_dim", self.latent_dim, "1 to the columns of a row")
    }
}

/// Principal components with a density: the linear codec.
///
/// With the k directions uᵢ of largest variance λᵢ, in standard units y of the columns, and the mean σ² of the
/// variances that are left,
///
/// zᵢ = uᵢ·y/√λᵢ,  y = Σ √λᵢ zᵢ uᵢ + σ P ε,
///
/// where P takes the directions away from the noise ε ~ N(0, I). So z follows from x, and with z ~ N(0, I)
///
/// ln p(y) = ln N(z; 0, I) − ½ Σ ln λᵢ + ln N(P y; 0, σ² I),
///
/// the Gaussian of maximum likelihood among those with k directions and noise (Tipping & Bishop 1999, eqs. 7 and 8),
/// exactly. It is fitted in closed form, and any density of z in place of N(0, I) makes another exact one. Variances
/// are at least 10⁻⁶.
///
/// ```
/// use quadrivium::{hybrid::{Codec, Pca, PcaConfig}, prelude::*, ndarray::Array2, seeded};
///
/// // A line, and a little noise around it.
/// let line = |row: usize, column| (row as f32).sin() * [1.0, 2.0][column] + 0.01 * (row as f32 * 7.0).cos();
/// let data = Dataset::new(Array2::from_shape_fn((500, 2), |(row, column)| line(row, column)))?;
/// let mut pca = Pca::new(PcaConfig { dim: 2, latent_dim: 1 })?;
/// pca.fit(&data, &mut seeded(0))?;
/// let z = pca.explain(data.x(), 0)?.z;
/// assert_eq!(z.dim(), (500, 1));
/// assert!((z.std(0.0) - 1.0).abs() < 1e-3);
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pca {
    pub(super) config: PcaConfig,
    pub(super) fitted: Fitted,
    pub(super) axes: Axes,
}

/// What it found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axes {
    /// uᵢ, unit vectors: (k, d)
    pub directions: Vec<f64>,
    /// λᵢ: (k)
    pub variances: Vec<f64>,
    /// σ², of the directions that are left.
    pub rest: f64,
}

#[derive(Debug, Default)]
pub struct Workspace {
    y: Vec<f64>, // (d)
    z: Vec<f32>, // (k)
}

impl Axes {
    /// Those of rows z: (n, d), about 0.
    fn fit(z: &Array2<f32>, k: usize) -> Self {
        let d = z.ncols();
        let z: Vec<f64> = z.iter().map(|&z| z.into()).collect();
        let rows = (z.len() / d) as f64;
        let covariance: Vec<f64> = gram(&z, d).into_iter().map(|sum| sum / rows).collect();
        let (vectors, values) = eigen(covariance, d);
        let mut order: Vec<usize> = (0..d).collect();
        order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
        let (first, left) = order.split_at(k);
        let rest = left.iter().map(|&i| values[i]).sum::<f64>() / left.len().max(1) as f64;
        Axes {
            directions: first.iter().flat_map(|&i| &vectors[i * d..][..d]).copied().collect(),
            variances: first.iter().map(|&i| values[i].max(LEAST)).collect(),
            rest: rest.max(LEAST),
        }
    }

    /// z of y: (d), of which what the directions do not say is left, and ln |det| + ln N(what is left; 0, σ²).
    fn encode(&self, y: &mut [f64], z: &mut [f64]) -> f64 {
        let left = (y.len() - z.len()) as f64;
        let mut nats = -0.5 * left * (TAU * self.rest).ln();
        for ((u, variance), z) in self.directions.chunks_exact(y.len()).zip(&self.variances).zip(z) {
            let along: f64 = u.iter().zip(&*y).map(|(u, y)| u * y).sum();
            y.iter_mut().zip(u).for_each(|(y, u)| *y -= along * u);
            *z = along / variance.sqrt();
            nats -= 0.5 * variance.ln();
        }
        nats - if left > 0.0 { 0.5 * y.iter().map(|y| y * y).sum::<f64>() / self.rest } else { 0.0 }
    }

    /// y = Σ √λᵢ zᵢ uᵢ + P y, where y: (d) holds σ ε.
    fn decode(&self, z: &[f32], y: &mut [f64]) {
        for ((u, variance), &z) in self.directions.chunks_exact(y.len()).zip(&self.variances).zip(z) {
            let along: f64 = u.iter().zip(&*y).map(|(u, y)| u * y).sum();
            let step = f64::from(z) * variance.sqrt() - along;
            y.iter_mut().zip(u).for_each(|(y, u)| *y += step * u);
        }
    }
}

impl Pca {
    /// An untrained one, whose directions are the first columns and whose rows are N(0, I).
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn new(config: PcaConfig) -> Result<Self> {
        config.validate()?;
        let PcaConfig { dim, latent_dim } = config;
        let mut directions = vec![0.0; latent_dim * dim];
        directions.iter_mut().step_by(dim + 1).for_each(|u| *u = 1.0);
        let axes = Axes { directions, variances: vec![1.0; latent_dim], rest: 1.0 };
        Ok(Pca { fitted: Fitted::new(dim, ConditionKind::None), config, axes })
    }

    /// What it was made with.
    pub fn config(&self) -> &PcaConfig {
        &self.config
    }

    /// x: (dim), in standard units, of z: (latent_dim) and noise.
    fn decode_row(&self, z: &[f32], temperature: f64, rng: &mut Rng, y: &mut Vec<f64>, x: &mut [f32]) {
        let sd = temperature * self.axes.rest.sqrt();
        y.clear();
        y.extend(x.iter().map(|_| sd * f64::normal(rng)));
        self.axes.decode(z, y);
        x.iter_mut().zip(&*y).for_each(|(x, &y)| *x = y as f32);
    }

    /// [z | ln p(x|z) + ln N(z; 0, I)] of each row of x: (n, latent_dim + 1).
    fn explain_rows(&self, x: ArrayView2<f32>) -> Result<Array2<f64>> {
        let PcaConfig { dim, latent_dim } = self.config;
        let (n, width) = (x.nrows(), latent_dim + 1);
        let units = &self.fitted.standardizer;
        let standard = units.apply(x.to_owned());
        let x = x.as_standard_layout();
        let x = x.as_slice().expect("standard layout");
        let mut out = Array2::zeros((n, width));
        for (r, (mut out, y)) in out.rows_mut().into_iter().zip(standard.rows()).enumerate() {
            let (nats, z) = out.as_slice_mut().expect("standard layout").split_last_mut().expect("nats");
            let mut y: Vec<f64> = y.iter().map(|&y| y.into()).collect();
            *nats = self.axes.encode(&mut y, z) + units.log_det(&x[r * dim..][..dim]);
            // As it will be given on.
            z.iter_mut().for_each(|z| *z = f64::from(*z as f32));
            *nats += log_normal(ArrayView2::from_shape((1, latent_dim), &*z).expect("one row"))[0];
        }
        Ok(out)
    }
}

impl Paradigm for Pca {
    type Workspace = Workspace;

    fn place(&self) -> Card {
        Card::new("PCA", Objective::PrincipalComponents, Sampling::OnePass)
    }

    /// The directions, their variances, and that of the noise.
    fn count_params(&self) -> usize {
        self.axes.directions.len() + self.axes.variances.len() + 1
    }

    fn fitted(&self) -> &Fitted {
        &self.fitted
    }

    /// In closed form, in one step, whose loss is the mean −ln p of the training rows in standard units; a later
    /// training takes the place of an earlier one, in its units. Held-out rows are scored at the end; `steps`, `batch`,
    /// `shards` and `checkpoint` have no effect.
    fn learn(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let rows = Rows::prepare(data, &self.fitted, options, rng)?;
        self.axes = Axes::fit(&rows.training.x, self.config.latent_dim);
        let loss = |x: &Array2<f32>| {
            let mut z = vec![0.0; self.config.latent_dim];
            let row = |row: ndarray::ArrayView1<f32>| {
                let mut y: Vec<f64> = row.iter().map(|&y| y.into()).collect();
                let nats = self.axes.encode(&mut y, &mut z);
                0.5 * z.iter().map(|z| z * z + TAU.ln()).sum::<f64>() - nats
            };
            x.rows().into_iter().map(row).sum::<f64>() / x.nrows() as f64
        };
        let (loss, validation) = (
            loss(&rows.training.x),
            match rows.validation.rows() {
                0 => None,
                _ => Some(loss(&rows.validation.x)),
            },
        );
        self.fitted = rows.fitted;
        Ok(TrainReport::in_one_step(loss, validation, observer))
    }

    fn draw_tile(
        &self,
        temperature: f64,
        _: &[f32],
        streams: RowStreams,
        Workspace { y, z }: &mut Workspace,
        x: &mut [f32],
    ) -> usize {
        z.resize(self.config.latent_dim, 0.0);
        for (r, x) in x.chunks_exact_mut(self.config.dim).enumerate() {
            let mut rng = streams.row(r);
            z.fill_with(|| temperature as f32 * f32::normal(&mut rng));
            self.decode_row(z, temperature, &mut rng, y, x);
        }
        1
    }

    fn score(&self, _: Given<'_>, x: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        Ok(LogLikelihood::Exact(Explanation::of(&self.explain_rows(x)?).nats))
    }
}

impl Codec for Pca {
    fn is_closed_form(&self) -> bool {
        true
    }

    fn latent_dim(&self) -> usize {
        self.config.latent_dim
    }

    fn explain(&self, x: ArrayView2<f32>, _: u64) -> Result<Explanation> {
        check_rows("x", x, self.config.dim)?;
        Ok(Explanation::of(&self.explain_rows(x)?))
    }

    fn decode_at(
        &self,
        z: ArrayView2<f32>,
        at: RowStreams,
        options: &SampleOptions,
        rows: &mut [f32],
    ) -> Result<usize> {
        check_decoded(self, z, rows)?;
        let PcaConfig { dim, latent_dim } = self.config;
        let z = z.as_standard_layout();
        let z = z.as_slice().expect("standard layout");
        tiles::for_each_tile(rows, dim, |y: &mut Vec<f64>, first, rows| {
            let z = z[first * latent_dim..].chunks_exact(latent_dim);
            for (r, (x, z)) in rows.chunks_exact_mut(dim).zip(z).enumerate() {
                self.decode_row(z, options.temperature, &mut at.row(first + r), y, x);
            }
            self.fitted.standardizer.restore(rows);
            Ok(())
        })?;
        Ok(1)
    }
}

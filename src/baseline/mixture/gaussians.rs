use std::f64::consts::TAU;

use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, concatenate, s};
use rand::Rng as _;

use super::BLOCK;
use super::likelihood::Scratch;
use crate::baseline::lanes::LANES;
use crate::engine::tiles;
use crate::error::Error;
use crate::numeric::Real;
use crate::numeric::cholesky::{cholesky, diagonal, invert_lower, ln_det};
use crate::numeric::gemm::{Init, Strided, gemm};
use crate::numeric::rng::Rng;
use crate::numeric::simd::vectorize;

/// Half of a squared distance that still leaves room for a sum; e to its negative is 0.
const FAR: f64 = 1e300;

/// Lines of L⁻¹ that are multiplied together: as many as a product keeps in registers.
const LINES: usize = 6;

/// Rows on the way to a density under one component.
#[derive(Debug, Default)]
pub(super) struct Whitened {
    // x − μ: (d, width)
    centered: Vec<f64>,
    // Some lines of L⁻¹ (x − μ): (LINES, width)
    y: Vec<f64>,
}

/// wₖ, μₖ, Σₖ, and what is made of them once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gaussians {
    /// (k), sum 1
    pub weights: Array1<f64>,
    /// (k, d)
    pub means: Array2<f64>,
    /// (k, d, d)
    pub covariances: Array3<f64>,
    /// Σ = L Lᵀ. l: (k, d·d)
    pub l: Vec<Vec<f64>>,
    /// L⁻¹: (k, d·d)
    pub whiten: Vec<Vec<f64>>,
    /// ln wₖ − ½ d ln 2π − ln |Lₖ|: (k)
    pub peak: Vec<f64>,
    // Whether all covariances are diagonal: a row then takes d products in place of ½ d².
    diagonal: bool,
}

impl Gaussians {
    /// The first component whose covariance is not symmetric and positive definite is the error.
    pub fn new(weights: Array1<f64>, means: Array2<f64>, covariances: Array3<f64>) -> Result<Self, usize> {
        let d = means.ncols();
        if is_diagonal(&covariances) {
            // What the factorization of a diagonal gives, without its d³ operations.
            let sd = |c: ArrayView2<f64>| c.diag().iter().map(|v| v.sqrt()).collect::<Vec<_>>();
            let sd: Vec<_> = covariances.axis_iter(Axis(0)).map(sd).collect();
            if let Some(k) = sd.iter().position(|sd| !sd.iter().all(|sd| *sd > 0.0 && sd.is_finite())) {
                return Err(k);
            }
            let inverse = |sd: &Vec<f64>| diagonal(&sd.iter().map(|sd| 1.0 / sd).collect::<Vec<_>>());
            let (l, whiten) = (sd.iter().map(|sd| diagonal(sd)).collect(), sd.iter().map(inverse).collect());
            return Ok(Gaussians::factored(weights, means, covariances, l, whiten));
        }
        let factor = |(k, c)| cholesky(c).ok_or(k);
        let l: Vec<_> = covariances.axis_iter(Axis(0)).enumerate().map(factor).collect::<Result<_, _>>()?;
        let whiten = l.iter().map(|l| invert_lower(l, d)).collect();
        Ok(Gaussians::factored(weights, means, covariances, l, whiten))
    }

    /// With L and L⁻¹ of each component.
    pub fn factored(
        weights: Array1<f64>,
        means: Array2<f64>,
        covariances: Array3<f64>,
        l: Vec<Vec<f64>>,
        whiten: Vec<Vec<f64>>,
    ) -> Self {
        let d = means.ncols();
        let peak = |(w, l): (&f64, &Vec<f64>)| w.ln() - 0.5 * d as f64 * TAU.ln() - ln_det(l, d);
        let peak = weights.iter().zip(&l).map(peak).collect();
        let diagonal = is_diagonal(&covariances);
        Gaussians { weights, means, covariances, l, whiten, peak, diagonal }
    }

    /// Equally many rows to each mean, spread by `sd` along the axes.
    pub fn equal(means: Array2<f64>, sd: &[f64]) -> Self {
        let (k, d) = means.dim();
        let covariances =
            Array3::from_shape_fn((k, d, d), |(_, i, j)| if i == j { sd[i] * sd[i] } else { 0.0 });
        let weights = Array1::from_elem(k, 1.0 / k as f64);
        Gaussians::new(weights, means, covariances).expect("positive on the diagonal")
    }

    /// With component k in two halves of the same mean and covariance together: along u = Σ e_c/√Σ_cc, c the
    /// column of the largest variance in units of `scale`, at μ ± u/2 with covariances Σ − uuᵀ/4, which is at
    /// least ¾ Σ.
    ///
    /// # Errors
    /// A component whose covariance rounding leaves without a factor.
    pub fn split(&self, k: usize, scale: &[f64]) -> Result<Gaussians, usize> {
        let d = self.dim();
        let covariance = self.covariances.index_axis(Axis(0), k);
        let share = |c: usize| covariance[[c, c]] / (scale[c] * scale[c]);
        let widest = (0..d).max_by(|&a, &b| share(a).total_cmp(&share(b))).expect("at least one column");
        let u = &covariance.column(widest) / covariance[[widest, widest]].sqrt();
        let halved = Array2::from_shape_fn((d, d), |(i, j)| covariance[[i, j]] - 0.25 * u[i] * u[j]);
        let (mut weights, mut means, mut covariances) =
            (self.weights.to_vec(), self.means.clone(), self.covariances.clone());
        weights[k] *= 0.5;
        weights.push(weights[k]);
        let second = &self.means.row(k) - &(0.5 * &u);
        means.row_mut(k).scaled_add(0.5, &u);
        covariances.index_axis_mut(Axis(0), k).assign(&halved);
        means.push_row(second.view()).expect("as many columns");
        covariances.push(Axis(0), halved.view()).expect("as many columns");
        Gaussians::new(Array1::from_vec(weights), means, covariances)
    }

    /// The last `dim` columns of several mixtures, each with its share.
    ///
    /// # Errors
    /// A component whose covariance rounding leaves without a factor.
    pub fn marginal(parts: &[(f64, &Gaussians)], dim: usize) -> Result<Gaussians, usize> {
        let first = parts[0].1.dim() - dim;
        let weights = parts.iter().flat_map(|(share, g)| g.weights.iter().map(move |w| share * w));
        let means: Vec<_> = parts.iter().map(|(_, g)| g.means.slice(s![.., first..])).collect();
        let covariances: Vec<_> =
            parts.iter().map(|(_, g)| g.covariances.slice(s![.., first.., first..])).collect();
        let joined = "as many columns";
        Gaussians::new(
            weights.collect(),
            concatenate(Axis(0), &means).expect(joined),
            concatenate(Axis(0), &covariances).expect(joined),
        )
    }

    /// ln p(x) of each row: (n).
    pub fn score(&self, x: ArrayView2<f32>) -> Result<Array1<f64>, Error> {
        tiles::score_blocks(BLOCK, x, |_, scratch: &mut Scratch, x, nats| {
            scratch.score(self, x);
            nats.copy_from_slice(&scratch.nats[..nats.len()]);
            Ok(())
        })
    }

    /// k ~ w, z ~ N(0, I), x = μₖ + T·Lₖ z. x: (d)
    pub fn draw(&self, temperature: f64, rng: &mut Rng, z: &mut Vec<f64>, x: &mut [f32]) {
        let d = self.dim();
        let u: f64 = rng.random();
        let mut running = 0.0;
        let component = self.weights.iter().position(|w| {
            running += w;
            u < running
        });
        // Rounding may leave the whole sum a little below 1.
        let k = component.unwrap_or(self.len() - 1);
        z.clear();
        z.extend((0..d).map(|_| f64::normal(rng)));
        for (i, x) in x.iter_mut().enumerate() {
            let noise: f64 = self.l[k][i * d..].iter().zip(&z[..=i]).map(|(l, z)| l * z).sum();
            let value = self.means[[k, i]] + temperature * noise;
            *x = value.clamp(f32::MIN.into(), f32::MAX.into()) as f32;
        }
    }

    pub fn dim(&self) -> usize {
        self.means.ncols()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// ln wₖ N(x; μₖ, Σₖ) = peak − ½ ‖L⁻¹ (x − μ)‖². columns: (d, width), width a multiple of LANES, out: (k, width)
    pub fn log_joint(&self, columns: &[f64], whitened: &mut Whitened, out: &mut [f64]) {
        let d = self.dim();
        let width = columns.len() / d;
        for (k, square) in out.chunks_exact_mut(width).enumerate() {
            let (mean, whiten, peak) = (self.means.row(k), &self.whiten[k], self.peak[k]);
            let mean = mean.as_slice().expect("standard layout");
            square.fill(0.0);
            if self.diagonal {
                let scale = whiten.iter().step_by(d + 1);
                vectorize(
                    #[inline(always)]
                    || {
                        for ((x, mean), scale) in columns.chunks_exact(width).zip(mean).zip(scale) {
                            for (x, square) in x.iter().zip(&mut *square) {
                                let y = scale * (x - mean);
                                *square = y.mul_add(y, *square);
                            }
                        }
                    },
                );
            } else {
                self.add_squares(mean, whiten, columns, whitened, square);
            }
            vectorize(
                #[inline(always)]
                || {
                    // An overflow, ∞ or ∞ − ∞, is far too: `min` drops a NaN.
                    square.iter_mut().for_each(|square| *square = peak - (0.5 * *square).min(FAR));
                },
            );
        }
    }

    /// Adds ‖L⁻¹ (x − μ)‖² of each row to `square`, (width): a few lines of the triangle L⁻¹ at a time, each up to
    /// its diagonal.
    fn add_squares(
        &self,
        mean: &[f64],
        whiten: &[f64],
        columns: &[f64],
        Whitened { centered, y }: &mut Whitened,
        square: &mut [f64],
    ) {
        let (d, width) = (mean.len(), square.len());
        centered.resize(d * width, 0.0);
        y.resize(LINES * width, 0.0);
        vectorize(
            #[inline(always)]
            || {
                let columns = columns.chunks_exact(width).zip(centered.chunks_exact_mut(width));
                for ((x, centered), mean) in columns.zip(mean) {
                    x.iter().zip(centered).for_each(|(x, centered)| *centered = x - mean);
                }
            },
        );
        for first in (0..d).step_by(LINES) {
            let lines = LINES.min(d - first);
            let y = &mut y[..lines * width];
            let whiten = Strided::rows(&whiten[first * d..], d);
            gemm((lines, width, first + lines), whiten, centered, width, Init::Zero, y);
            vectorize(
                #[inline(always)]
                || {
                    for y in y.chunks_exact(width) {
                        y.iter().zip(&mut *square).for_each(|(y, square)| *square = y.mul_add(*y, *square));
                    }
                },
            );
        }
    }

    /// From ln wₖ N(x; μₖ, Σₖ) to responsibilities, in place, and ln p(x). joint: (k, n), nats: (n), n a
    /// multiple of LANES.
    ///
    /// rₖ = exp(aₖ − m) / Σⱼ exp(aⱼ − m) and ln p = m + ln Σⱼ exp(aⱼ − m), with m = maxⱼ aⱼ.
    #[inline(always)]
    pub fn normalize(&self, joint: &mut [f64], nats: &mut [f64]) {
        let n = nats.len();
        let joint = joint.as_chunks_mut::<LANES>().0;
        let tiles = n / LANES;
        for (t, nats) in nats.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            // A component of weight 0 has a = −∞.
            let mut most = [f64::MIN; LANES];
            for a in joint[t..].iter().step_by(tiles) {
                for l in 0..LANES {
                    most[l] = if a[l] > most[l] { a[l] } else { most[l] };
                }
            }
            let mut sum = [0.0; LANES];
            for a in joint[t..].iter_mut().step_by(tiles) {
                for l in 0..LANES {
                    a[l] = (a[l] - most[l]).fast_exp();
                    sum[l] += a[l];
                }
            }
            let mut inverse = [0.0; LANES];
            for l in 0..LANES {
                nats[l] = most[l] + sum[l].fast_ln();
                inverse[l] = 1.0 / sum[l];
            }
            for a in joint[t..].iter_mut().step_by(tiles) {
                for l in 0..LANES {
                    a[l] *= inverse[l];
                }
            }
        }
    }
}

fn is_diagonal(covariances: &Array3<f64>) -> bool {
    covariances.indexed_iter().all(|((_, i, j), &v)| i == j || v == 0.0)
}

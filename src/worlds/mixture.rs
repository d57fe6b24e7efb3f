//! Gaussian mixtures with full covariances, in any dimension.

use std::f64::consts::{PI, TAU};

use ndarray::{Array2, ArrayView2, ArrayView3, Axis};
use rand::Rng as _;
use rand_distr::{Distribution, StandardNormal};

use crate::error::{DataError, Error, Result, check};
use crate::numeric::cholesky::{cholesky, ln_det};
use crate::numeric::quadrature::{halve_until, trapezoid, trapezoid_points};
use crate::numeric::rng::Rng;

/// Component evaluations that an entropy may cost: about a second.
const ENTROPY_BUDGET: f64 = 1e8;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mixture {
    /// weights: (k), summing to 1
    weights: Vec<f64>,
    /// means: (k, d)
    means: Array2<f64>,
    /// Lower Cholesky factors of the covariances, row-major. l: (k, d·d)
    l: Vec<Vec<f64>>,
    /// ln weight − ½ d ln 2π − ln |L|. peak: (k)
    peak: Vec<f64>,
    /// The σ of all components, if each has weight 1/k and covariance σ² I.
    pub(super) common_sigma: Option<f64>,
}

impl Mixture {
    pub(super) fn new(weights: &[f64], means: ArrayView2<f64>, covariances: ArrayView3<f64>) -> Result<Self> {
        let (k, d) = means.dim();
        if k == 0 || d == 0 {
            return Err(Error::Data(DataError::Shape {
                what: "means",
                got: vec![k, d],
                expected: "at least one row and one column".into(),
            }));
        }
        if weights.len() != k {
            return Err(Error::Data(DataError::Shape {
                what: "weights",
                got: vec![weights.len()],
                expected: format!("one for each of {k} means"),
            }));
        }
        if covariances.dim() != (k, d, d) {
            return Err(Error::Data(DataError::Shape {
                what: "covariances",
                got: covariances.shape().to_vec(),
                expected: format!("({k}, {d}, {d})"),
            }));
        }
        let total: f64 = weights.iter().sum();
        let positive = weights.iter().all(|&w| w > 0.0) && total.is_finite();
        check(positive, "weights", weights, "each more than 0, finite")?;
        if let Some(((row, column), &value)) = means.indexed_iter().find(|(_, m)| !m.is_finite()) {
            return Err(Error::Data(DataError::NonFinite { what: "means", row, column, value }));
        }
        let l = covariances
            .axis_iter(Axis(0))
            .map(|c| {
                let rows = || c.rows().into_iter().map(|row| row.to_vec()).collect::<Vec<_>>();
                cholesky(c)
                    .ok_or_else(|| Error::config("covariances", rows(), "symmetric and positive definite"))
            })
            .collect::<Result<Vec<_>>>()?;
        let weights: Vec<f64> = weights.iter().map(|w| w / total).collect();
        let peak = (0..k).map(|i| weights[i].ln() - 0.5 * d as f64 * TAU.ln() - ln_det(&l[i], d)).collect();

        let sigma = l[0][0];
        let isotropic = |l: &Vec<f64>| (0..d * d).all(|i| l[i] == if i % (d + 1) == 0 { sigma } else { 0.0 });
        let equal = weights.iter().all(|&w| w == weights[0]);
        let common_sigma = (equal && l.iter().all(isotropic)).then_some(sigma);
        Ok(Mixture { weights, means: means.to_owned(), l, peak, common_sigma })
    }

    /// Equal weights and covariance σ² I at each of `centers`, shape (k, 2).
    pub(super) fn isotropic(centers: Array2<f64>, sigma: f64) -> Self {
        let (k, d) = centers.dim();
        let mut l = vec![0.0; d * d];
        l.iter_mut().step_by(d + 1).for_each(|v| *v = sigma);
        let peak = -(k as f64).ln() - 0.5 * d as f64 * TAU.ln() - d as f64 * sigma.ln();
        Mixture {
            weights: vec![1.0 / k as f64; k],
            means: centers,
            l: vec![l; k],
            peak: vec![peak; k],
            common_sigma: Some(sigma),
        }
    }

    pub(super) fn dim(&self) -> usize {
        self.means.ncols()
    }

    pub(super) fn centers(&self) -> &Array2<f64> {
        &self.means
    }

    pub(super) fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// L Lᵀ of a component, row-major.
    pub(super) fn covariance(&self, component: usize) -> Vec<f64> {
        let (d, l) = (self.dim(), &self.l[component]);
        let at = |i: usize, j: usize| (0..=i.min(j)).map(|m| l[i * d + m] * l[j * d + m]).sum();
        (0..d * d).map(|ij| at(ij / d, ij % d)).collect()
    }

    /// x = μ + L z, with the component by inversion of the weights' running sum.
    pub(super) fn draw(&self, rng: &mut Rng, x: &mut [f64]) {
        let u: f64 = rng.random();
        let mut running = 0.0;
        let component = self.weights.iter().position(|w| {
            running += w;
            u < running
        });
        // Rounding may leave the whole sum a little below 1.
        let component = component.unwrap_or(self.weights.len() - 1);
        let z: Vec<f64> = (0..self.dim()).map(|_| StandardNormal.sample(rng)).collect();
        self.place(component, &z, x);
    }

    fn place(&self, component: usize, z: &[f64], x: &mut [f64]) {
        let d = self.dim();
        let l = &self.l[component];
        for i in 0..d {
            let noise: f64 = (0..=i).map(|j| l[i * d + j] * z[j]).sum();
            x[i] = self.means[[component, i]] + noise;
        }
    }

    /// ln Σ wₖ N(x; μₖ, Lₖ Lₖᵀ).
    pub(super) fn log_density(&self, x: &[f64]) -> f64 {
        let d = self.dim();
        let mut z = vec![0.0; d];
        let mut sum = LogSum::default();
        for (component, l) in self.l.iter().enumerate() {
            // L z = x − μ by forward substitution.
            for i in 0..d {
                let known: f64 = (0..i).map(|j| l[i * d + j] * z[j]).sum();
                z[i] = (x[i] - self.means[[component, i]] - known) / l[i * d + i];
            }
            sum.add(self.peak[component] - 0.5 * z.iter().map(|z| z * z).sum::<f64>());
        }
        sum.ln()
    }

    /// −E ln p. Components too far apart to overlap give Σ wₖ (Hₖ − ln wₖ); else, in up to three dimensions,
    /// each component's expectation of ln p by the trapezoidal rule in its whitened coordinates.
    pub(super) fn entropy(&self) -> Option<f64> {
        let (k, d) = self.means.dim();
        if self.separated() {
            let gauss = 0.5 * d as f64 * (1.0 + (2.0 * PI).ln());
            let part = |i: usize| self.weights[i] * (gauss + ln_det(&self.l[i], d) - self.weights[i].ln());
            return Some((0..k).map(part).sum());
        }
        let (lower, upper) = (vec![-REACH; d], vec![REACH; d]);
        let mut x = vec![0.0; d];
        halve_until(1e-10, 0.5, |h| {
            if trapezoid_points(&lower, &upper, h) * (k * k) as f64 > ENTROPY_BUDGET {
                return None;
            }
            let mut entropy = 0.0;
            for component in 0..k {
                entropy -= self.weights[component]
                    * trapezoid(&lower, &upper, h, |z| {
                        let square: f64 = z.iter().map(|z| z * z).sum();
                        let phi = (-0.5 * (square + d as f64 * TAU.ln())).exp();
                        self.place(component, z, &mut x);
                        phi * self.log_density(&x)
                    });
            }
            Some(entropy)
        })
    }

    /// Whether balls around the means that hold all but e^(−37) of their components are disjoint:
    /// P(‖z‖ > √d + t) ≤ exp(−t²/2). Then the component is known from x, to double precision.
    fn separated(&self) -> bool {
        let d = self.dim();
        // The Frobenius norm of L bounds its largest singular value; for L = σ I the norm is σ √d, so use σ
        // there.
        let spread = |l: &Vec<f64>| match self.common_sigma {
            Some(sigma) => sigma,
            None => l.iter().map(|v| v * v).sum::<f64>().sqrt(),
        };
        let radius: Vec<f64> = self.l.iter().map(|l| spread(l) * ((d as f64).sqrt() + 8.6)).collect();
        let k = radius.len();
        (0..k).all(|i| {
            (0..i).all(|j| {
                let gap = &self.means.row(i) - &self.means.row(j);
                gap.dot(&gap).sqrt() > radius[i] + radius[j]
            })
        })
    }
}

/// Standard deviations beyond which a Gaussian is nothing in double precision: e^(−½ 9²) < 3e-18.
pub(super) const REACH: f64 = 9.0;

/// ln Σ exp(aᵢ), one term at a time, without overflow.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogSum {
    max: f64,
    sum: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        LogSum { max: f64::NEG_INFINITY, sum: 0.0 }
    }
}

impl LogSum {
    pub(super) fn add(&mut self, a: f64) {
        if a <= self.max {
            // −∞ − −∞ is NaN, so nothing is added to nothing.
            if a > f64::NEG_INFINITY {
                self.sum += (a - self.max).exp();
            }
        } else {
            self.sum = self.sum * (self.max - a).exp() + 1.0;
            self.max = a;
        }
    }

    pub(super) fn ln(self) -> f64 {
        self.max + self.sum.ln()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use super::*;

    #[test]
    fn log_sum_keeps_extremes_and_starts_from_nothing() {
        assert_eq!(LogSum::default().ln(), f64::NEG_INFINITY);
        let mut sum = LogSum::default();
        for a in [f64::NEG_INFINITY, -1000.0, -1000.0 + 3f64.ln()] {
            sum.add(a);
        }
        assert!((sum.ln() - (-1000.0 + 4f64.ln())).abs() < 1e-12);
    }

    /// The quadrature and the separated formula meet where both hold.
    #[test]
    fn the_two_entropies_agree() {
        let covariances =
            Array3::from_shape_vec((2, 2, 2), vec![0.09, 0.03, 0.03, 0.04, 0.02, -0.01, -0.01, 0.06])
                .unwrap();
        let at = |gap: f64| {
            Mixture::new(&[0.3, 0.7], array![[0.0, 0.0], [gap, 0.0]].view(), covariances.view()).unwrap()
        };
        let apart = at(20.0);
        assert!(apart.separated());
        let gauss = (TAU * std::f64::consts::E).ln();
        let ln_det = |det: f64| 0.5 * det.ln();
        let exact =
            0.3 * (gauss + ln_det(0.0027) - 0.3f64.ln()) + 0.7 * (gauss + ln_det(0.0011) - 0.7f64.ln());
        assert!((apart.entropy().unwrap() - exact).abs() < 1e-12);
        // At this gap the balls touch, yet the overlap is still below 1e-10.
        let near = at(5.5);
        assert!(!near.separated());
        assert!((near.entropy().unwrap() - exact).abs() < 1e-9, "{:?} {exact}", near.entropy());
    }
}

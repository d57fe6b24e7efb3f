use std::f64::consts::TAU;

use super::mixture::Mixture;
use crate::engine::Standardizer;
use crate::numeric::eigen::eigen;

/// A Gaussian mixture under noise, in closed form: what a diffusion model with a perfect network would compute.
///
/// Rows x₀ of the mixture Σ wₖ N(μₖ, Cₖ), in standard units (each column of mean 0 and variance 1), become x =
/// α x₀ + σ ε with ε ~ N(0, I), whose density is
///
/// p(x; α, σ) = Σ wₖ N(x; α μₖ, α² Cₖ + σ² I).
///
/// With gₖ = −(α² Cₖ + σ² I)⁻¹ (x − α μₖ) and the shares rₖ ∝ wₖ N(…): the score ∇ ln p = Σ rₖ gₖ, and its
/// divergence Δ ln p = Σ rₖ (‖gₖ‖² − tr (α² Cₖ + σ² I)⁻¹) − ‖∇ ln p‖².
///
/// Any α ≥ 0 and σ ≥ 0 that are not both 0 are allowed: α² + σ² = 1 is the variance-preserving process, α = 1 the
/// variance-exploding one. Made by [`Toy::diffused`](super::Toy::diffused).
#[derive(Debug, Clone, PartialEq)]
pub struct DiffusedMixture {
    dim: usize,
    /// ln w: (k)
    ln_weights: Vec<f64>,
    /// μ: (k, d)
    means: Vec<f64>,
    /// Unit eigenvectors of the covariances, each a row: (k, d, d)
    axes: Vec<f64>,
    /// Eigenvalues: (k, d)
    variances: Vec<f64>,
    standardizer: Standardizer,
}

impl DiffusedMixture {
    pub(super) fn new(mixture: &Mixture) -> Self {
        let (k, d) = mixture.centers().dim();
        let weights = mixture.weights();
        // The moments of the whole: m = Σ w μ, s² = Σ w (diag C + μ²) − m².
        let moment = |f: &dyn Fn(usize) -> f64| (0..k).map(|i| weights[i] * f(i)).sum::<f64>();
        let covariances: Vec<Vec<f64>> = (0..k).map(|i| mixture.covariance(i)).collect();
        let mu = |i: usize, j: usize| mixture.centers()[[i, j]];
        let shift: Vec<f64> = (0..d).map(|j| moment(&|i| mu(i, j))).collect();
        let scale: Vec<f64> = (0..d)
            .map(|j| moment(&|i| covariances[i][j * d + j] + (mu(i, j) - shift[j]).powi(2)).sqrt())
            .collect();
        let (mut axes, mut variances) = (Vec::new(), Vec::new());
        for mut c in covariances {
            c.iter_mut().enumerate().for_each(|(at, c)| *c /= scale[at / d] * scale[at % d]);
            let (vectors, values) = eigen(c, d);
            axes.extend(vectors);
            variances.extend(values);
        }
        DiffusedMixture {
            dim: d,
            ln_weights: weights.iter().map(|w| w.ln()).collect(),
            means: (0..k * d).map(|at| (mu(at / d, at % d) - shift[at % d]) / scale[at % d]).collect(),
            axes,
            variances,
            standardizer: Standardizer::of(shift, scale),
        }
    }

    /// Columns of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Converts between the units of the toy and standard units, in which everything else here is expressed.
    pub fn standardizer(&self) -> &Standardizer {
        &self.standardizer
    }

    /// ln p(x; α, σ), x: (d).
    ///
    /// # Panics
    /// If x does not have [`dim`](DiffusedMixture::dim) values.
    ///
    /// ```
    /// use quadrivium::{worlds::Toy, ndarray::array};
    ///
    /// let toy = Toy::grid25();
    /// let mixture = toy.diffused().expect("the grid is a mixture");
    /// // Without noise it is the toy's density in standard units.
    /// let mut z = [2.1, -3.9];
    /// let truth = toy.log_density(array![z].view())?[0];
    /// mixture.standardizer().standardize(&mut z);
    /// let nats = mixture.log_density(1.0, 0.0, &z.map(f64::from)) + mixture.standardizer().log_det(&z);
    /// assert!((nats - truth).abs() < 1e-3);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn log_density(&self, alpha: f64, sigma: f64, x: &[f64]) -> f64 {
        self.evaluate(alpha, sigma, x, &mut vec![0.0; self.dim]).0
    }

    /// Fills ∇ ln p: (n, d) and, if requested, Δ ln p: (n) of rows x: (n, d).
    ///
    /// # Panics
    /// If the lengths of the buffers do not match.
    pub fn score(
        &self,
        alpha: f64,
        sigma: f64,
        x: &[f64],
        score: &mut [f64],
        mut laplacian: Option<&mut [f64]>,
    ) {
        assert_eq!(x.len(), score.len(), "a score for each row");
        for (r, (x, score)) in x.chunks_exact(self.dim).zip(score.chunks_exact_mut(self.dim)).enumerate() {
            let (_, delta) = self.evaluate(alpha, sigma, x, score);
            if let Some(laplacian) = &mut laplacian {
                laplacian[r] = delta;
            }
        }
    }

    /// Returns (ln p, Δ ln p), and fills ∇ ln p. The sums over components are relative to the largest term so far,
    /// and are rescaled when it changes.
    fn evaluate(&self, alpha: f64, sigma: f64, x: &[f64], score: &mut [f64]) -> (f64, f64) {
        let d = self.dim;
        assert_eq!(x.len(), d, "a row of {d} columns");
        let (mut most, mut total, mut trace) = (f64::NEG_INFINITY, 0.0, 0.0);
        score.fill(0.0);
        let components = self.means.chunks_exact(d).zip(self.axes.chunks_exact(d * d));
        for (k, (mu, axes)) in components.enumerate() {
            // Along the axes y of the component: v = α² λ + σ², g = −y/v.
            let along = |i: usize| {
                let v = alpha * alpha * self.variances[k * d + i] + sigma * sigma;
                let axis = &axes[i * d..(i + 1) * d];
                let y: f64 = (0..d).map(|j| axis[j] * (x[j] - alpha * mu[j])).sum();
                (axis, y, v)
            };
            let (mut square, mut ln_volume, mut slope, mut precision) = (0.0, 0.0, 0.0, 0.0);
            for i in 0..d {
                let (_, y, v) = along(i);
                square += y * y / v;
                ln_volume += (TAU * v).ln();
                slope += (y / v) * (y / v);
                precision += v.recip();
            }
            let ln = self.ln_weights[k] - 0.5 * (square + ln_volume);
            if ln > most {
                let fade = (most - ln).exp();
                (total, trace) = (fade * total, fade * trace);
                score.iter_mut().for_each(|s| *s *= fade);
                most = ln;
            }
            // A component that adds nothing in double precision.
            if ln < most - 745.0 {
                continue;
            }
            let share = (ln - most).exp();
            total += share;
            trace += share * (slope - precision);
            for i in 0..d {
                let (axis, y, v) = along(i);
                score.iter_mut().zip(axis).for_each(|(s, axis)| *s -= share * (y / v) * axis);
            }
        }
        score.iter_mut().for_each(|s| *s /= total);
        (most + total.ln(), trace / total - score.iter().map(|s| s * s).sum::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, array};

    use super::*;
    use crate::numeric::rng::seeded;
    use crate::worlds::Toy;

    fn tilted() -> Toy {
        let covariances = vec![0.5, 0.3, 0.3, 0.4, 0.02, -0.01, -0.01, 0.06, 1.0, 0.0, 0.0, 0.3];
        Toy::mixture(
            &[0.5, 0.3, 0.2],
            array![[1.0, -2.0], [4.0, 0.5], [-3.0, 5.0]].view(),
            Array3::from_shape_vec((3, 2, 2), covariances).unwrap().view(),
        )
        .unwrap()
    }

    #[test]
    fn without_noise_it_is_the_toy_in_standard_units() {
        let toy = tilted();
        let mixture = toy.diffused().unwrap();
        let x = toy.sample(50, &mut seeded(0));
        let truth = toy.log_density(x.view()).unwrap();
        let z = mixture.standardizer().apply(x);
        for (z, truth) in z.rows().into_iter().zip(truth) {
            let nats = mixture.log_density(1.0, 0.0, &z.mapv(f64::from).to_vec());
            // z was rounded to f32.
            assert!(
                (nats + mixture.standardizer().log_det(&z.to_vec()) - truth).abs() < 1e-4,
                "{nats}, {truth}"
            );
        }
        // Standard units: mean 0 and variance 1, exactly; for drawn rows up to sampling error.
        let n = 20_000;
        let z = mixture.standardizer().apply(toy.sample(n, &mut seeded(1))).mapv(f64::from);
        for column in z.columns() {
            assert!(column.mean().unwrap().abs() < 5.0 / (n as f64).sqrt());
            assert!((column.mapv(|v| v * v).mean().unwrap() - 1.0).abs() < 5.0 * (3.0 / n as f64).sqrt());
        }
    }

    #[test]
    fn noise_is_a_convolution() {
        // A mixture under noise is another mixture: C/s² becomes α² C/s² + σ².
        let mixture = tilted().diffused().unwrap();
        let (alpha, sigma, s) = (0.8, 0.6, mixture.standardizer().scale());
        let mut covariances = Array3::zeros((3, 2, 2));
        let plain = [[0.5, 0.3, 0.3, 0.4], [0.02, -0.01, -0.01, 0.06], [1.0, 0.0, 0.0, 0.3]];
        for ((k, i, j), c) in covariances.indexed_iter_mut() {
            *c = alpha * alpha * plain[k][2 * i + j] / (s[i] * s[j])
                + if i == j { sigma * sigma } else { 0.0 };
        }
        let means =
            Array2::from_shape_vec((3, 2), mixture.means.iter().map(|m| alpha * m).collect()).unwrap();
        let noisy = Toy::mixture(&[0.5, 0.3, 0.2], means.view(), covariances.view()).unwrap();
        for x in [[0.0f32, 0.5], [-1.5, 2.0], [3.0, 0.25], [40.0, -60.0]] {
            let truth = noisy.log_density(array![x].view()).unwrap()[0];
            let nats = mixture.log_density(alpha, sigma, &x.map(f64::from));
            assert!((nats - truth).abs() < 1e-12 * truth.abs().max(1.0), "{nats}, {truth}");
        }
    }

    #[test]
    fn the_score_is_the_gradient_and_its_divergence_the_laplacian() {
        let mixture = tilted().diffused().unwrap();
        let h = 1e-4;
        for (alpha, sigma) in [(1.0, 0.0), (1.0, 3.0), (0.6, 0.8), (0.0, 1.0)] {
            for x in [[0.1, 0.2], [1.0, -0.7], [-1.3, 2.5]] {
                let (mut score, mut laplacian) = ([0.0; 2], [0.0]);
                mixture.score(alpha, sigma, &x, &mut score, Some(&mut laplacian));
                let at = |i: usize, h: f64| {
                    let mut x = x;
                    x[i] += h;
                    mixture.log_density(alpha, sigma, &x)
                };
                let mut curvature = 0.0;
                for i in 0..2 {
                    let slope = (at(i, h) - at(i, -h)) / (2.0 * h);
                    assert!((score[i] - slope).abs() < 1e-5 * (1.0 + slope.abs()), "{score:?}, {slope}");
                    curvature += (at(i, h) - 2.0 * at(i, 0.0) + at(i, -h)) / (h * h);
                }
                assert!((laplacian[0] - curvature).abs() < 1e-4 * (1.0 + curvature.abs()), "{laplacian:?}");
            }
        }
    }

    #[test]
    fn far_points_and_curves_are_dealt_with() {
        let mixture = Toy::grid25().diffused().unwrap();
        let (mut score, far) = ([0.0; 2], [1e8, -1e8]);
        mixture.score(1.0, 0.0, &far, &mut score, None);
        assert!(score.iter().all(|s| s.is_finite()) && score[0] < 0.0 && score[1] > 0.0, "{score:?}");
        assert!(mixture.log_density(1.0, 0.0, &far).is_finite());
        assert!(Toy::pinwheel().diffused().is_none());
    }
    #[test]
    fn many_dimensions_do_not_underflow() {
        let d = 200;
        let (means, mut covariance) = (Array2::zeros((1, d)), Array3::zeros((1, d, d)));
        (0..d).for_each(|i| covariance[[0, i, i]] = 4.0);
        let mixture = Toy::mixture(&[1.0], means.view(), covariance.view()).unwrap().diffused().unwrap();
        // Standardized: N(0, I), at α = 0.1 and σ = 0.1 of variance 0.02.
        let (x, mut score) = (vec![0.1; d], vec![0.0; d]);
        let nats = mixture.log_density(0.1, 0.1, &x);
        let truth = -0.5 * d as f64 * ((TAU * 0.02).ln() + 0.01 / 0.02);
        assert!((nats - truth).abs() < 1e-9 * truth.abs(), "{nats}, {truth}");
        mixture.score(0.1, 0.1, &x, &mut score, None);
        assert!(score.iter().all(|s| (s + 5.0).abs() < 1e-9), "{score:?}");
    }
}

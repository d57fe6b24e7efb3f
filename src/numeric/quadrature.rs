//! Numerical integration: Gauss–Legendre for pieces with ends, the trapezoidal rule for smooth peaks on a
//! plane.

use std::f64::consts::PI;

/// Nodes and weights of the `n`-point Gauss–Legendre rule on [−1, 1], nodes ascending:
/// Σ wᵢ f(xᵢ) = ∫₋₁¹ f for every polynomial of degree 2n − 1.
///
/// The nodes are the roots of the Legendre polynomial Pₙ, by Newton from Tricomi's cos(π(i − ¼)/(n + ½));
/// the weights are 2 / ((1 − x²) Pₙ′(x)²) (Abramowitz & Stegun 1964, 25.4.29).
///
/// ```
/// let (x, w) = quadrivium::numeric::quadrature::gauss_legendre(8);
/// let integral: f64 = x.iter().zip(&w).map(|(x, w)| w * x.exp()).sum();
/// assert!((integral - (1f64.exp() - (-1f64).exp())).abs() < 1e-14);
/// ```
pub fn gauss_legendre(n: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut nodes, mut weights) = (vec![0.0; n], vec![0.0; n]);
    for i in 0..n.div_ceil(2) {
        let mut x = (PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
        // The start is within O(n⁻³) of the root, so five quadratic steps are more than enough.
        for _ in 0..5 {
            let (p, dp) = legendre(n, x);
            x -= p / dp;
        }
        let (_, dp) = legendre(n, x);
        let w = 2.0 / ((1.0 - x * x) * dp * dp);
        (nodes[i], weights[i]) = (-x, w);
        (nodes[n - 1 - i], weights[n - 1 - i]) = (x, w);
    }
    (nodes, weights)
}

/// Pₙ(x) and Pₙ′(x), by k Pₖ = (2k − 1) x Pₖ₋₁ − (k − 1) Pₖ₋₂.
fn legendre(n: usize, x: f64) -> (f64, f64) {
    let (mut previous, mut p) = (0.0, 1.0);
    for k in 1..=n {
        let k = k as f64;
        (previous, p) = (p, ((2.0 * k - 1.0) * x * p - (k - 1.0) * previous) / k);
    }
    (p, n as f64 * (x * p - previous) / (x * x - 1.0))
}

/// ∫ f over a box by the trapezoidal rule with spacing at most `h` in each direction, for an `f` that has
/// decayed to nothing at the box's faces.
///
/// For such an f, analytic inside, the error falls like exp(−c/h) (Trefethen & Weideman 2014): a Gaussian of
/// standard deviation σ is exact to double precision from h = 0.7 σ on.
///
/// ```
/// use quadrivium::numeric::quadrature::trapezoid;
/// let gauss = |x: &[f64]| (-0.5 * (x[0] * x[0] + x[1] * x[1])).exp() / std::f64::consts::TAU;
/// assert!((trapezoid(&[-9.0, -9.0], &[9.0, 9.0], 0.7, gauss) - 1.0).abs() < 1e-14);
/// ```
pub fn trapezoid(lower: &[f64], upper: &[f64], h: f64, mut f: impl FnMut(&[f64]) -> f64) -> f64 {
    let counts = lattice(lower, upper, h);
    let mut index = vec![0; counts.len()];
    let mut x = lower.to_vec();
    let mut sum = 0.0;
    loop {
        sum += f(&x);
        // The next lattice point, last coordinate fastest.
        let Some(i) = (0..index.len()).rev().find(|&i| index[i] < counts[i]) else { break };
        index[i] += 1;
        index[i + 1..].fill(0);
        for j in i..x.len() {
            x[j] = lower[j] + (upper[j] - lower[j]) * index[j] as f64 / counts[j] as f64;
        }
    }
    let cell: f64 = (0..x.len()).map(|i| (upper[i] - lower[i]) / counts[i] as f64).product();
    sum * cell
}

/// How often [`trapezoid`] calls its function.
pub fn trapezoid_points(lower: &[f64], upper: &[f64], h: f64) -> f64 {
    lattice(lower, upper, h).iter().map(|&count| count as f64 + 1.0).product()
}

fn lattice(lower: &[f64], upper: &[f64], h: f64) -> Vec<usize> {
    lower.iter().zip(upper).map(|(a, b)| ((b - a) / h).ceil().max(1.0) as usize).collect()
}

/// Halves the spacing from `h` until two estimates agree to `tolerance` (absolute), and returns the finer;
/// `None` where `estimate` gives up first.
pub fn halve_until(tolerance: f64, mut h: f64, mut estimate: impl FnMut(f64) -> Option<f64>) -> Option<f64> {
    let mut coarse = estimate(h)?;
    loop {
        h *= 0.5;
        let fine = estimate(h)?;
        if (fine - coarse).abs() <= tolerance {
            return Some(fine);
        }
        coarse = fine;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauss_legendre_is_exact_to_degree_2n_minus_1_and_no_further() {
        for n in [1, 2, 3, 5, 16, 64] {
            let (x, w) = gauss_legendre(n);
            assert!(x.is_sorted() && x[0] > -1.0 && w.iter().all(|&w| w > 0.0), "n = {n}");
            let moment = |k: i32| -> f64 { x.iter().zip(&w).map(|(x, w)| w * x.powi(k)).sum() };
            for k in 0..2 * n as i32 {
                let exact = if k % 2 == 0 { 2.0 / (k + 1) as f64 } else { 0.0 };
                assert!((moment(k) - exact).abs() < 1e-14, "n = {n}, degree {k}: {}", moment(k));
            }
            if n <= 5 {
                let k = 2 * n as i32;
                assert!((moment(k) - 2.0 / (k + 1) as f64).abs() > 1e-4, "n = {n}, degree {k}");
            }
        }
    }

    #[test]
    fn trapezoid_converges_geometrically_on_a_decayed_peak() {
        // ∫ x² y² N(x) N(y / s) = s²
        let s = 0.5;
        let f = |x: &[f64]| {
            let z = x[1] / s;
            (x[0] * x[1]).powi(2) * (-0.5 * (x[0] * x[0] + z * z)).exp() / (2.0 * PI * s)
        };
        let error = |h| (trapezoid(&[-9.0, -5.0], &[9.0, 5.0], h, f) - s * s).abs();
        assert!(
            error(1.0) > 1e-3 && error(0.5) < 1e-6 && error(0.25) < 1e-14,
            "{} {}",
            error(1.0),
            error(0.5)
        );
        assert_eq!(trapezoid_points(&[-9.0, -5.0], &[9.0, 5.0], 0.5), 37.0 * 21.0);
    }

    #[test]
    fn halving_stops_at_the_tolerance_or_gives_up() {
        let estimate = |h: f64| (h > 0.01).then_some(1.0 + h * h);
        // 1/8² − 1/16² is just above 1/100, 1/16² − 1/32² below.
        assert_eq!(halve_until(1e-2, 1.0, estimate), Some(1.0 + 0.03125f64.powi(2)));
        assert_eq!(halve_until(1e-9, 1.0, estimate), None);
    }
}

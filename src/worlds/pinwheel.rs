//! FFJORD's pinwheel: Gaussian arms, bent by a rotation that grows with the radius.
//!
//! x = 2 R(−a) (r, s), a = ¼ eʳ + 2πk/5. For each k, every (r, s) gives one x, but an x may have several preimages:
//! p(x) = Σ φ(r) φ(s) / (5 · 4 |det|), over all of them. With ρ = |x|/2 and α the angle of x, a preimage is a
//! ψ with (r, s) = ρ (cos ψ, sin ψ) and g(ψ) = ψ − ¼ e^(ρ cos ψ) = α + 2πj/5 for some integer j; and
//! det = ∂(u)/∂(r, s) = 1 + ¼ eʳ s = g′(ψ).

use std::f64::consts::{PI, TAU};

use rand::Rng as _;
use rand_distr::{Distribution, StandardNormal};

use super::mixture::{LogSum, REACH};
use crate::numeric::quadrature::trapezoid;
use crate::numeric::rng::Rng;

const RADIAL: f64 = 0.3;
const TANGENTIAL: f64 = 0.1;
const RATE: f64 = 0.25;
const ARMS: usize = 5;
/// Beyond this ρ there is less than e^(−72) of the mass, and a row has hundreds of preimages; the density counts as
/// 0.
const OUTER: f64 = 1.0 + 12.0 * RADIAL;

pub(super) fn draw(rng: &mut Rng, x: &mut [f64]) {
    let arm = rng.random_range(0..ARMS);
    let (z, v): (f64, f64) = (StandardNormal.sample(rng), StandardNormal.sample(rng));
    place(arm, 1.0 + RADIAL * z, TANGENTIAL * v, x);
}

fn place(arm: usize, r: f64, s: f64, x: &mut [f64]) {
    let (sin, cos) = (RATE * r.exp() + TAU * arm as f64 / ARMS as f64).sin_cos();
    x[0] = 2.0 * (r * cos + s * sin);
    x[1] = 2.0 * (s * cos - r * sin);
}

pub(super) fn log_density(x: &[f64]) -> f64 {
    let rho = 0.5 * x[0].hypot(x[1]);
    if rho > OUTER {
        return f64::NEG_INFINITY;
    }
    let alpha = x[1].atan2(x[0]);
    let step = TAU / ARMS as f64;
    let ends = pieces(rho);
    let mut sum = LogSum::default();
    for pair in ends.windows(2) {
        let (g0, g1) = (g(rho, pair[0]), g(rho, pair[1]));
        // Half open, so that a root at a joint counts once.
        let first = ((g0.min(g1) - alpha) / step).ceil() as i64;
        let last = ((g0.max(g1) - alpha) / step).ceil() as i64;
        for j in first..last {
            let psi = root(rho, alpha + step * j as f64, pair[0], pair[1]);
            let (s, r) = (rho * psi.sin(), rho * psi.cos());
            sum.add(ln_features(r, s) - slope(rho, psi).abs().ln());
        }
    }
    // u = x / 2 has a quarter of x's area, and each arm a fifth of the mass.
    sum.ln() - (4.0 * ARMS as f64).ln()
}

/// ln φ(r) φ(s)
fn ln_features(r: f64, s: f64) -> f64 {
    let (z, v) = ((r - 1.0) / RADIAL, s / TANGENTIAL);
    -0.5 * (z * z + v * v) - (TAU * RADIAL * TANGENTIAL).ln()
}

fn g(rho: f64, psi: f64) -> f64 {
    psi - RATE * (rho * psi.cos()).exp()
}

/// g′(ψ)
fn slope(rho: f64, psi: f64) -> f64 {
    1.0 + RATE * rho * psi.sin() * (rho * psi.cos()).exp()
}

/// Ends of the stretches of [−π, π] on which g is monotone.
///
/// sin ψ e^(ρ cos ψ) is negative on (−π, 0) only, with one minimum there, at cos ψ = (√(1 + 4ρ²) − 1) / 2ρ.
/// So g′ has two zeros, one on each side of it, or none.
fn pieces(rho: f64) -> Vec<f64> {
    // The same quotient without its 0/0 at ρ = 0.
    let cos = 2.0 * rho / (1.0 + (1.0 + 4.0 * rho * rho).sqrt());
    let steepest = -cos.acos();
    if slope(rho, steepest) >= 0.0 {
        return vec![-PI, PI];
    }
    let zero = |a: f64, b: f64| bisect(a, b, |psi| slope(rho, psi));
    vec![-PI, zero(-PI, steepest), zero(steepest, 0.0), PI]
}

/// The ψ in [a, b] with g(ψ) = target, g monotone there.
fn root(rho: f64, target: f64, a: f64, b: f64) -> f64 {
    bisect(a, b, |psi| g(rho, psi) - target)
}

/// The zero of a monotone f on [a, b], to the last bit or so.
fn bisect(mut a: f64, mut b: f64, f: impl Fn(f64) -> f64) -> f64 {
    let rising = f(b) > f(a);
    for _ in 0..60 {
        let middle = 0.5 * (a + b);
        if (f(middle) < 0.0) == rising {
            a = middle;
        } else {
            b = middle;
        }
    }
    0.5 * (a + b)
}

/// −E ln p in the features (r, s) of one arm, because the five arms are rotations of each other. At this spacing it
/// is within 1e-9 of the limit.
pub(super) fn entropy() -> f64 {
    let mut x = [0.0; 2];
    -trapezoid(&[-REACH, -REACH], &[REACH, REACH], 0.125, |z| {
        let (r, s) = (1.0 + RADIAL * z[0], TANGENTIAL * z[1]);
        place(0, r, s, &mut x);
        let weight = (-0.5 * (z[0] * z[0] + z[1] * z[1])).exp() / TAU;
        if weight < 1e-17 { 0.0 } else { weight * log_density(&x) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the arm does not fold, p is φ(r) φ(s) over the area that the features' unit square becomes.
    #[test]
    fn an_arms_density_is_its_features_over_the_jacobian() {
        let at = |r, s| {
            let mut x = [0.0; 2];
            place(2, r, s, &mut x);
            x
        };
        for (r, s) in [(1.0, 0.0), (1.4, 0.12), (1.3, -0.15), (0.9, 0.05)] {
            let e = 1e-5;
            let along = |i: usize| {
                let (a, b) = if i == 0 { (at(r + e, s), at(r - e, s)) } else { (at(r, s + e), at(r, s - e)) };
                [(a[0] - b[0]) / (2.0 * e), (a[1] - b[1]) / (2.0 * e)]
            };
            let (u, v) = (along(0), along(1));
            let det = (u[0] * v[1] - u[1] * v[0]).abs();
            let exact = ln_features(r, s) - det.ln() - 5f64.ln();
            let found = log_density(&at(r, s));
            assert!((found - exact).abs() < 1e-8, "{r}, {s}: {found}, {exact}");
        }
    }

    #[test]
    fn a_fold_has_three_preimages_and_they_are_found() {
        let rho = 2.5;
        let ends = pieces(rho);
        assert_eq!(ends.len(), 4);
        assert!(ends[1..3].iter().all(|&psi| slope(rho, psi).abs() < 1e-9));
        // Up, down between the critical points, up again, and 2π higher in all.
        let rise: f64 = ends.windows(2).map(|w| g(rho, w[1]) - g(rho, w[0])).sum();
        assert!((rise - TAU).abs() < 1e-12);
        assert!(g(rho, ends[1]) > g(rho, ends[2]));
        let psi = root(rho, 0.5 * (g(rho, ends[1]) + g(rho, ends[2])), ends[1], ends[2]);
        assert!(
            (g(rho, psi) - 0.5 * (g(rho, ends[1]) + g(rho, ends[2]))).abs() < 1e-12 && slope(rho, psi) < 0.0
        );
        assert_eq!(pieces(1.0), [-PI, PI]);
    }
}

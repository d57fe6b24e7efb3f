//! Numerical integration: Gauss–Legendre for pieces with ends, the trapezoidal rule for smooth peaks on a
//! plane, cells that are halved where the mass is for narrow ones.

use std::f64::consts::PI;

use super::{log_sum, log_sum_exp};
use crate::error::Result;

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

/// A box whose integral is wanted: the ends of each axis. An axis whose ends meet is a point, which counts 1.
pub(crate) type Cell = Vec<(f64, f64)>;

/// Nodes of an axis of a cell.
const NODES: usize = 8;

/// Cells whose nodes go to the function together.
const TOGETHER: usize = 64;

struct Leaf {
    cell: Cell,
    /// ln ∫ over it.
    nats: f64,
    /// ln of how far that integral may be off.
    error: f64,
}

/// ln ∫ exp(f) over all cells together, and how far it may be off, in nats: by Gauss–Legendre with 8 nodes an
/// axis, on cells that are halved along each axis until their errors sum to no more than `tolerance`, or more
/// than `budget` values of f have been computed. `f` is given points, (n, axes), and returns its values there.
///
/// Half a cell is taken to be off by its share of what the halving changed; a cell that was never halved, by
/// all it has. The errors are summed without signs, so that nothing cancels. A peak that no node feels stays
/// unknown; one whose flank a node feels is climbed, since most of what is known then lies on that flank.
///
/// # Errors
/// Those of `f`.
pub(crate) fn ln_integral(
    cells: Vec<Cell>,
    tolerance: f64,
    budget: usize,
    mut f: impl FnMut(&[f64]) -> Result<Vec<f64>>,
) -> Result<(f64, f64)> {
    let (rule, mut spent) = (gauss_legendre(NODES), 0);
    let mut leaves: Vec<Leaf> = measure(&cells, &rule, &mut spent, &mut f)?
        .into_iter()
        .zip(cells)
        .map(|(nats, cell)| {
            let exact = cell.iter().all(|(low, high)| low == high);
            Leaf { cell, nats, error: if exact { f64::NEG_INFINITY } else { nats } }
        })
        .collect();
    let mut before = f64::NEG_INFINITY;
    loop {
        let total = log_sum(leaves.iter().map(|leaf| (1.0, leaf.nats)));
        let error: f64 = leaves.iter().map(|leaf| (leaf.error - total).exp()).sum();
        if error <= tolerance || spent > budget {
            // Where the budget ends on a flank, the last climb says more than a share of what is known; and cells
            // too small to be halved are trusted no further than together they are borne.
            return Ok((total, if error <= tolerance { tolerance } else { error.max(total - before) }));
        }
        before = total;
        let bearable = total + (0.5 * tolerance / leaves.len() as f64).ln();
        let (split, mut kept): (Vec<Leaf>, Vec<Leaf>) =
            leaves.into_iter().partition(|leaf| leaf.error > bearable);
        let halves: Vec<Vec<Cell>> = split.iter().map(|leaf| halved(&leaf.cell)).collect();
        let mut nats = measure(&halves.concat(), &rule, &mut spent, &mut f)?.into_iter();
        for (parent, halves) in split.iter().zip(halves) {
            let own: Vec<f64> = nats.by_ref().take(halves.len()).collect();
            let sum = log_sum_exp(&own);
            let change = sum.max(parent.nats) + (-(-(sum - parent.nats).abs()).exp()).ln_1p();
            let error = change - (halves.len() as f64).ln();
            kept.extend(halves.into_iter().zip(own).map(|(cell, nats)| Leaf { cell, nats, error }));
        }
        leaves = kept;
    }
}

/// ln ∫ exp(f) over each cell; `spent` grows by the values computed.
fn measure(
    cells: &[Cell],
    rule: &(Vec<f64>, Vec<f64>),
    spent: &mut usize,
    f: &mut impl FnMut(&[f64]) -> Result<Vec<f64>>,
) -> Result<Vec<f64>> {
    let mut integrals = Vec::with_capacity(cells.len());
    for cells in cells.chunks(TOGETHER) {
        let mut points = Vec::new();
        let weights: Vec<_> = cells.iter().map(|cell| tensor(cell, rule, &mut points)).collect();
        let values = f(&points)?;
        *spent += values.len();
        let mut rest = &values[..];
        for weights in weights {
            let (own, others) = rest.split_at(weights.len());
            integrals.push(log_sum(weights.iter().copied().zip(own.iter().copied())));
            rest = others;
        }
    }
    Ok(integrals)
}

/// The halves of a cell along every axis that is no point.
fn halved(cell: &Cell) -> Vec<Cell> {
    cell.iter().fold(vec![Vec::new()], |cells, &(low, high)| {
        let middle = 0.5 * (low + high);
        let halves = if low == high { vec![(low, high)] } else { vec![(low, middle), (middle, high)] };
        cells.iter().flat_map(|cell| halves.iter().map(|&half| [&cell[..], &[half]].concat())).collect()
    })
}

/// Appends the nodes of the product rule on a cell to `points`; their weights.
fn tensor(cell: &Cell, (nodes, weights): &(Vec<f64>, Vec<f64>), points: &mut Vec<f64>) -> Vec<f64> {
    let product = cell.iter().fold(vec![(Vec::new(), 1.0)], |product, &(low, high)| {
        let (middle, half) = (0.5 * (low + high), 0.5 * (high - low));
        let axis: Vec<(f64, f64)> = match half {
            0.0 => vec![(low, 1.0)],
            _ => nodes.iter().zip(weights).map(|(x, w)| (middle + half * x, half * w)).collect(),
        };
        let extend = |(point, weight): &(Vec<f64>, f64), &(x, w): &(f64, f64)| {
            ([&point[..], &[x]].concat(), weight * w)
        };
        product.iter().flat_map(|part| axis.iter().map(move |node| extend(part, node))).collect()
    });
    product
        .into_iter()
        .map(|(point, weight)| {
            points.extend(point);
            weight
        })
        .collect()
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

    /// ln exp(f) of a normal peak at (1/3, 1/7), normalized, 1e-3 wide: the first cells are 1000 times as wide.
    fn peak(points: &[f64]) -> Result<Vec<f64>> {
        let square = |x: f64| (1e3 * x).powi(2);
        let at = |x: &[f64]| -0.5 * (square(x[0] - 1.0 / 3.0) + square(x[1] - 1.0 / 7.0));
        Ok(points.chunks_exact(2).map(|x| at(x) + (1e6 / (2.0 * PI)).ln()).collect())
    }

    #[test]
    fn halving_climbs_to_a_narrow_peak_and_knows_when_it_is_there() {
        let cells = || vec![vec![(-1.0, 0.0), (-1.0, 1.0)], vec![(0.0, 1.0), (-1.0, 1.0)]];
        let (nats, error) = ln_integral(cells(), 1e-6, 1 << 20, peak).unwrap();
        assert!(nats.abs() <= error && error == 1e-6, "{nats} ± {error}");
        // The first nodes miss it by many nats. A budget that ends on the way says so.
        for budget in [0, 200, 400] {
            let (nats, error) = ln_integral(cells(), 1e-6, budget, peak).unwrap();
            assert!(nats < -100.0 && error > 10.0, "{nats} ± {error} after {budget}");
        }
    }

    #[test]
    fn points_count_once_and_are_not_halved() {
        // exp(x) along the segment from (0, 3) to (1, 3), and at (2, 3).
        let cells = vec![vec![(0.0, 1.0), (3.0, 3.0)], vec![(2.0, 2.0), (3.0, 3.0)]];
        let mut values = 0;
        let (nats, error) = ln_integral(cells, 1e-12, 1000, |points| {
            values += points.len() / 2;
            Ok(points.chunks_exact(2).map(|x| x[0]).collect())
        })
        .unwrap();
        assert!((nats - (1f64.exp() - 1.0 + 2f64.exp()).ln()).abs() < 1e-14);
        assert!(error == 1e-12 && values == 1 + NODES + 2 * NODES, "{error}, {values}");
    }
}

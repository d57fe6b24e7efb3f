//! The assignment problem: the exact permutation σ with the lowest Σᵢ c(i, σ(i)).

use super::Real;
use super::simd::vectorize;

/// Bids per row in a round before what is left of it is left.
const BIDS: usize = 8;

/// The rounds overbid by a quarter of the costs' spread, then by a quarter of that, …
const QUARTER: f64 = 0.25;

/// Rows that tell the costs' spread.
const PROBES: usize = 8;

/// Solves assignment problems; keeps its buffers from one to the next.
///
/// Prices v of the columns and profits u of the rows stay such that every reduced cost c(i, j) − uᵢ − vⱼ is
/// at least 0, and 0 where row i has column j: then no other permutation costs less (linear programming
/// duality). First rows bid for columns: each takes the column of least c(i, j) − vⱼ, lowers vⱼ by its margin
/// over the second best, and drives out who had it. In rounds they overbid by ε, each with a smaller ε, which
/// brings the prices near their values without wars over small margins; only the last round, at ε = 0, hands
/// out columns (Bertsekas 1988). Each row then left gets one by the shortest path of reduced costs that
/// alternates between columns and their rows (Jonker & Volgenant 1987). O(n³) at worst.
#[derive(Debug, Default)]
pub struct Assignment {
    column: Vec<usize>, // of each row: (n)
    owner: Vec<usize>,  // of each column: (n)
    price: Vec<f64>,    // v: (n)
    costs: Vec<f64>,    // c(i, ·) of one row: (n)
    free: Vec<usize>,   // rows without a column
    bidders: std::collections::VecDeque<usize>,
    // Of a search.
    distance: Vec<f64>, // (n); ∞ for a column that the tree holds
    offer: Vec<f64>,    // v, but −∞ for a column that the tree holds: (n)
    parent: Vec<usize>, // the row before a column: (n)
    tree: Vec<(usize, f64)>,
    points: Vec<f64>, // y by coordinate: (d, n)
}

const NONE: usize = usize::MAX;

impl Assignment {
    /// The column of each row, where `costs(i, c)` fills c: (n) with the costs of row i.
    ///
    /// # Panics
    /// If a cost is not finite.
    ///
    /// ```
    /// use quadrivium::numeric::assignment::Assignment;
    /// let c = [[4.0, 1.0, 3.0], [2.0, 0.0, 5.0], [3.0, 2.0, 2.0]];
    /// let best = Assignment::default().solve(3, |i, row| row.copy_from_slice(&c[i])).to_vec();
    /// assert_eq!(best, [1, 0, 2]);
    /// ```
    pub fn solve(&mut self, n: usize, mut costs: impl FnMut(usize, &mut [f64])) -> &[usize] {
        for places in [&mut self.column, &mut self.owner, &mut self.parent] {
            places.clear();
            places.resize(n, NONE);
        }
        for numbers in [&mut self.price, &mut self.costs, &mut self.distance, &mut self.offer] {
            numbers.clear();
            numbers.resize(n, 0.0);
        }
        self.free.clear();
        self.bidders.clear();
        self.tree.clear();
        self.free.reserve(n);
        self.bidders.reserve(n);
        self.tree.reserve(n);
        let spread = self.spread(n, &mut costs);
        assert!(spread.is_finite(), "costs are finite, and their differences too");
        let mut epsilon = QUARTER * spread;
        while epsilon > spread / n as f64 {
            self.bid(n, epsilon, &mut costs);
            epsilon *= QUARTER;
        }
        self.bid(n, 0.0, &mut costs);
        for k in 0..self.free.len() {
            self.augment(self.free[k], &mut costs);
        }
        &self.column
    }

    /// The column of each row for c(i, j) = ‖xᵢ − yⱼ‖², x and y: (n, d).
    ///
    /// # Panics
    /// As [`solve`](Assignment::solve).
    pub fn solve_squares<F: Real>(&mut self, d: usize, x: &[F], y: &[F]) -> &[usize] {
        let n = x.len() / d;
        // By coordinate, so that the loop runs along the columns.
        let mut points = std::mem::take(&mut self.points);
        points.clear();
        points.extend((0..d).flat_map(|k| y.iter().skip(k).step_by(d).map(|y| y.f64())));
        self.solve(n, |i, costs| {
            let x = &x[i * d..(i + 1) * d];
            costs.fill(0.0);
            for (x, y) in x.iter().zip(points.chunks_exact(n)) {
                add_squares(x.f64(), y, costs);
            }
        });
        self.points = points;
        &self.column
    }

    /// How far a row's costs are above its least one, on average.
    fn spread(&mut self, n: usize, costs: &mut impl FnMut(usize, &mut [f64])) -> f64 {
        let rows = PROBES.min(n);
        let mut sum = 0.0;
        for k in 0..rows {
            costs(k * n / rows, &mut self.costs);
            sum += self.costs.iter().sum::<f64>() / n as f64 - least(&self.costs);
        }
        sum / rows.max(1) as f64
    }

    /// A round, in which rows overbid by ε; `free` holds those left without a column.
    fn bid(&mut self, n: usize, epsilon: f64, costs: &mut impl FnMut(usize, &mut [f64])) {
        self.column.fill(NONE);
        self.owner.fill(NONE);
        self.free.clear();
        self.bidders.clear();
        self.bidders.extend(0..n);
        let mut left = BIDS * n;
        while let Some(i) = self.bidders.pop_front() {
            if left == 0 {
                self.free.push(i);
                continue;
            }
            left -= 1;
            costs(i, &mut self.costs);
            let (best, second) = two_least(&mut self.costs, &self.price);
            let j = best.0;
            let driven_out = self.owner[j];
            // A bid that does not raise the price could be returned for ever.
            let margin = second - best.1 + epsilon;
            if driven_out != NONE && margin <= 0.0 {
                self.free.push(i);
                continue;
            }
            if second.is_finite() {
                self.price[j] -= margin;
            }
            (self.owner[j], self.column[i]) = (i, j);
            if driven_out != NONE {
                self.column[driven_out] = NONE;
                self.bidders.push_back(driven_out);
            }
        }
    }

    /// Gives row `start` a column, by Dijkstra's search over the columns.
    fn augment(&mut self, start: usize, costs: &mut impl FnMut(usize, &mut [f64])) {
        self.offer.copy_from_slice(&self.price);
        self.distance.fill(f64::INFINITY);
        self.tree.clear();
        let mut i = start;
        let (end, length) = loop {
            costs(i, &mut self.costs);
            // How far row i is, less its profit: none at the start, c(i, j) − vⱼ at the tree's last column j.
            let base = self.tree.last().map_or(0.0, |&(j, at)| at - (self.costs[j] - self.price[j]));
            let least = relax(&self.costs, &self.offer, base, i, &mut self.distance, &mut self.parent);
            let j = self.distance.iter().position(|d| *d == least).expect("a column is left");
            if self.owner[j] == NONE {
                break (j, least);
            }
            // The tree takes the column: no path to it is shorter.
            self.tree.push((j, least));
            (self.distance[j], self.offer[j]) = (f64::INFINITY, f64::NEG_INFINITY);
            i = self.owner[j];
        };
        // Lowered by what they are nearer than the path's end, the tree's columns keep every reduced cost at
        // least 0, and those along the path at 0.
        for &(j, at) in &self.tree {
            self.price[j] -= length - at;
        }
        let mut j = end;
        loop {
            let i = self.parent[j];
            self.owner[j] = i;
            std::mem::swap(&mut self.column[i], &mut j);
            if i == start {
                return;
            }
        }
    }
}

/// Minima that run side by side, so that the loops below are vector code.
const LANES: usize = 8;

#[inline(always)]
fn lesser(a: f64, b: f64) -> f64 {
    if b < a { b } else { a }
}

#[inline(always)]
fn least(v: &[f64]) -> f64 {
    let mut lanes = [f64::INFINITY; LANES];
    let chunks = v.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = lesser(*lane, v);
        }
    }
    rest.iter().chain(&lanes).fold(f64::INFINITY, |a, &b| lesser(a, b))
}

/// The least of c − v with its place, and the second least. c is used up.
fn two_least(c: &mut [f64], v: &[f64]) -> ((usize, f64), f64) {
    let first = vectorize(
        #[inline(always)]
        || {
            c.iter_mut().zip(v).for_each(|(c, v)| *c -= v);
            least(c)
        },
    );
    let j = c.iter().position(|c| *c == first).expect("costs are finite");
    c[j] = f64::INFINITY;
    let second = vectorize(
        #[inline(always)]
        || least(c),
    );
    ((j, first), second)
}

/// Shortens the distances by way of row i, whose edges are base + c − v long; the least distance.
fn relax(c: &[f64], v: &[f64], base: f64, i: usize, distance: &mut [f64], parent: &mut [usize]) -> f64 {
    vectorize(
        #[inline(always)]
        || {
            for (((c, v), distance), parent) in c.iter().zip(v).zip(&mut *distance).zip(parent) {
                let by_i = base + (c - v);
                let shorter = by_i < *distance;
                *distance = if shorter { by_i } else { *distance };
                *parent = if shorter { i } else { *parent };
            }
            least(distance)
        },
    )
}

/// c += (x − y)².
fn add_squares(x: f64, y: &[f64], c: &mut [f64]) {
    vectorize(
        #[inline(always)]
        || {
            for (c, y) in c.iter_mut().zip(y) {
                *c += (x - y) * (x - y);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::rng::seeded;

    fn total(c: &[f64], n: usize, columns: &[usize]) -> f64 {
        let mut taken = vec![false; n];
        columns.iter().for_each(|&j| assert!(!std::mem::replace(&mut taken[j], true), "{columns:?}"));
        columns.iter().enumerate().map(|(i, &j)| c[i * n + j]).sum()
    }

    fn solve(solver: &mut Assignment, c: &[f64], n: usize) -> f64 {
        let columns = solver.solve(n, |i, row| row.copy_from_slice(&c[i * n..(i + 1) * n])).to_vec();
        total(c, n, &columns)
    }

    /// The least total over all permutations of the columns that are left to row i and the rows after it.
    fn brute_force(c: &[f64], n: usize, i: usize, columns: &mut Vec<usize>) -> f64 {
        (0..columns.len())
            .map(|k| {
                let j = columns.swap_remove(k);
                let rest = if i + 1 < n { brute_force(c, n, i + 1, columns) } else { 0.0 };
                columns.push(j);
                let last = columns.len() - 1;
                columns.swap(k, last);
                c[i * n + j] + rest
            })
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn no_permutation_costs_less() {
        let (mut rng, mut solver) = (seeded(1), Assignment::default());
        for n in 1..=7 {
            for round in 0..60 {
                // Costs of every kind: spread, negative, few values and many ties, all alike.
                let c: Vec<f64> = (0..n * n)
                    .map(|_| {
                        let z = f64::normal(&mut rng);
                        [z, 1e6 * z.exp(), z.round(), 3.0][round % 4]
                    })
                    .collect();
                let (got, want) = (solve(&mut solver, &c, n), brute_force(&c, n, 0, &mut (0..n).collect()));
                assert!((got - want).abs() <= 1e-9 * want.abs().max(1.0), "{n}: {got}, least {want}");
            }
        }
        assert_eq!(solver.solve(0, |_, _| ()), [0usize; 0]);
    }

    /// Optimality needs no second solver: prices with all reduced costs at least 0 prove it.
    #[test]
    fn the_prices_prove_the_optimum() {
        let (n, d) = (300, 2);
        let mut rng = seeded(2);
        let mut points =
            |scale: f64| -> Vec<f64> { (0..n * d).map(|_| scale * f64::normal(&mut rng)).collect() };
        let (x, y) = (points(1.0), points(3.0));
        let mut solver = Assignment::default();
        let columns = solver.solve_squares(d, &x, &y).to_vec();
        let c: Vec<f64> =
            (0..n * n).map(|k| (0..d).map(|a| (x[k / n * d + a] - y[k % n * d + a]).powi(2)).sum()).collect();
        let profit = |i: usize| (0..n).map(|j| c[i * n + j] - solver.price[j]).fold(f64::INFINITY, f64::min);
        let dual = (0..n).map(profit).sum::<f64>() + solver.price.iter().sum::<f64>();
        let primal = total(&c, n, &columns);
        assert!((primal - dual).abs() < 1e-9 * primal, "{primal}, bound {dual}");
    }

    /// Costs that scipy's `linear_sum_assignment` found for the same matrices, `tests/golden/assignment.py`.
    #[test]
    fn agrees_with_scipy() {
        let mut solver = Assignment::default();
        for (n, least) in SCIPY {
            // cᵢⱼ = i·j·7919 + 13 i² + 101 j² modulo 1009: integers with ties.
            let c: Vec<f64> = (0..n * n)
                .map(|k| ((k / n) * (k % n) * 7919 + 13 * (k / n).pow(2) + 101 * (k % n).pow(2)) % 1009)
                .map(|c| c as f64)
                .collect();
            assert_eq!(solve(&mut solver, &c, n), least, "{n}");
        }
    }

    const SCIPY: [(usize, f64); 4] = [(5, 666.0), (20, 1235.0), (100, 1436.0), (400, 966.0)];
}

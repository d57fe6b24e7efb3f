//! Columns with heavy tails, and the map that brings their outliers closer to the other rows.

use std::cmp::Ordering;

#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// The half-width of the part that the map leaves unchanged, in units of the column.
const KNEE: f64 = 3.0;

/// How quickly the map becomes logarithmic beyond the knee, in the same units.
const BEND: f64 = 0.5;

/// The least number of rows, not counting those equal to the median, from which tails can be judged.
const FEWEST: usize = 20;

/// The ends of the bulk are the order statistics that leave out this share of the rows on either side.
const BEYOND: f64 = 0.01;

/// How surprising the farthest row must be: if the tails were exponential, about e⁻⁸ of all samples, one in 3000,
/// would have a row that far out.
const SURPRISE: f64 = 8.0;

/// A map for one heavy-tailed column: the identity near the median, logarithmic far from it.
///
/// With u = (x − center)/unit, k = 3 and b = ½,
///
/// ```text
/// y = u                                    |u| ≤ k
/// y = ± (k + b·asinh((|u| − k)/b))         beyond
/// ```
///
/// which is increasing and twice differentiable everywhere. A power-law tail P(|X| > x) ∝ x^−ν becomes the
/// exponential one e^(−ν|y|/b).
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Tail {
    /// The column's median.
    pub center: f64,
    /// Half the distance between the column's quantiles at 16 % and 84 %, but at least a tenth of the distance from
    /// the median to the farther of the quantiles at 1 % and 99 %. For normal data this is the standard deviation.
    pub unit: f64,
}

impl Tail {
    /// The map for a column of finite values; `None` for a column whose tails are not heavier than
    /// exponential.
    ///
    /// Let w be the distance from the median to the farther of the two ends of the bulk, the values with k =
    /// 1 % of the n rows (at least two) beyond them. In a sample with exponential tails the farthest of the n
    /// rows is expected at (1 + ln k/ln(n/2k))·w (Rényi's representation of order statistics), and beyond
    /// (1 + (ln k + 8)/ln(n/2k))·w in one of 3000 samples. A row beyond that makes the
    /// column heavy-tailed. Modes with more than 1 % of the rows belong to the bulk. Rows equal to the median, of
    /// which a column may have many, are not counted.
    pub(crate) fn of(column: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = column.collect();
        let middle = values.len() / 2;
        let center = *values.select_nth_unstable_by(middle, f64::total_cmp).1;
        values.retain(|v| *v != center);
        let n = values.len();
        if n < FEWEST {
            return None;
        }
        let mut ranked = |rank: usize| *values.select_nth_unstable_by(rank, f64::total_cmp).1;
        let beyond = ((BEYOND * n as f64) as usize).max(2);
        let distance = |low: f64, high: f64| (high - center).max(center - low);
        let width = distance(ranked(beyond), ranked(n - 1 - beyond));
        let farthest = distance(ranked(0), ranked(n - 1));
        let k = beyond as f64;
        let limit = 1.0 + (k.ln() + SURPRISE) / (n as f64 / (2.0 * k)).ln();
        if farthest.partial_cmp(&(limit * width)) != Some(Ordering::Greater) {
            return None;
        }
        let share = |share: f64| (share * (n - 1) as f64).round() as usize;
        let half = 0.5 * (ranked(share(0.8413)) - ranked(share(0.1587)));
        Some(Tail { center, unit: half.max(0.1 * width) })
    }

    /// y at x.
    pub(super) fn apply(&self, x: f64) -> f64 {
        let u = (x - self.center) / self.unit;
        match u.abs() - KNEE {
            beyond if beyond > 0.0 => (KNEE + BEND * (beyond / BEND).asinh()).copysign(u),
            _ => u,
        }
    }

    /// x at y; infinite where x overflows f64.
    pub(super) fn invert(&self, y: f64) -> f64 {
        let u = match y.abs() - KNEE {
            beyond if beyond > 0.0 => (KNEE + BEND * (beyond / BEND).sinh()).copysign(y),
            _ => y,
        };
        self.center + self.unit * u
    }

    /// dy/dx: 1/unit, times 1/√(1 + t²) beyond the knee, t = (|u| − k)/b.
    pub(super) fn slope(&self, x: f64) -> f64 {
        1.0 / (self.unit * 1f64.hypot(self.beyond(x)))
    }

    /// ln dy/dx.
    pub(super) fn ln_slope(&self, x: f64) -> f64 {
        -1f64.hypot(self.beyond(x)).ln() - self.unit.ln()
    }

    /// d/dx ln dy/dx = −± t/(1 + t²)/(b·unit).
    pub(super) fn bend(&self, x: f64) -> f64 {
        let t = self.beyond(x);
        let root = 1f64.hypot(t);
        -(t / root / root / (BEND * self.unit)).copysign(x - self.center)
    }

    /// t, 0 up to the knee.
    fn beyond(&self, x: f64) -> f64 {
        ((((x - self.center) / self.unit).abs() - KNEE) / BEND).max(0.0)
    }
}

/// x of the columns y: (n, d) in a graph, in f64, of which some have a tail: y itself where a column has none.
///
/// u = y ± (b·sinh(t/b) − t) with t = max(|y| − k, 0), where k is infinite for a column without a tail.
#[cfg(feature = "onnx")]
pub(super) fn trace_inverse(tails: &[Option<Tail>], y: Value, graph: &mut Graph) -> Value {
    let mut columns = |number: fn(Option<&Tail>) -> f64| {
        let numbers: Vec<f64> = tails.iter().map(|tail| number(tail.as_ref())).collect();
        graph.constant(&[tails.len()], &numbers)
    };
    let knee = columns(|tail| if tail.is_some() { KNEE } else { f64::MAX });
    let unit = columns(|tail| tail.map_or(1.0, |tail| tail.unit));
    let center = columns(|tail| tail.map_or(0.0, |tail| tail.center));
    let size = graph.apply("Abs", &[y]);
    let beyond = graph.sub(size, knee);
    let zero = graph.scalar(0.0f64);
    let beyond = graph.apply("Max", &[beyond, zero]);
    // The operator Sinh is not everywhere defined in f64.
    let [grown, shrunk] = [1.0, -1.0].map(|sign| {
        let exponent = graph.scaled(sign / BEND, beyond);
        graph.apply("Exp", &[exponent])
    });
    let sinh = graph.sub(grown, shrunk);
    let sinh = graph.scaled(0.5 * BEND, sinh);
    let more = graph.sub(sinh, beyond);
    let sign = graph.apply("Sign", &[y]);
    let more = graph.mul(sign, more);
    let u = graph.add(y, more);
    let u = graph.mul(u, unit);
    graph.add(u, center)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::Real;
    use crate::numeric::rng::{Rng, seeded};
    use rand::Rng as _;

    type Draw = fn(&mut Rng) -> f64;

    /// Columns whose tails are not heavier than exponential, with the number of rows from which this is recognized.
    const LIGHT: [(&str, usize, Draw); 10] = [
        ("normal", 10, |rng| f64::normal(rng)),
        ("uniform", 10, |rng| rng.random()),
        ("Laplace", 10, |rng| exponential(rng) * if rng.random() { 1.0 } else { -1.0 }),
        ("exponential", 10, |rng| exponential(rng)),
        ("counts", 10, |rng| (3.0 * exponential(rng)).floor()),
        ("two narrow modes", 10, |rng| f64::from(rng.random_bool(0.5)) + 1e-3 * f64::normal(rng)),
        ("80 % zeros", 10, |rng| if rng.random_bool(0.8) { 0.0 } else { exponential(rng) }),
        ("98 % zeros", 10, |rng| if rng.random_bool(0.98) { 0.0 } else { 5.0 + f64::normal(rng) }),
        ("a narrow mode beside a wide one", 200, |rng| {
            if rng.random_bool(0.9) { 1e-2 * f64::normal(rng) } else { 5.0 + f64::normal(rng) }
        }),
        ("a far mode of 3 %", 1000, |rng| 100.0 * f64::from(rng.random_bool(0.03)) + f64::normal(rng)),
    ];

    fn exponential(rng: &mut Rng) -> f64 {
        -(1.0 - rng.random::<f64>()).ln()
    }

    /// Student's t of two degrees of freedom.
    fn student(rng: &mut Rng) -> f64 {
        let u = 2.0 * rng.random::<f64>() - 1.0;
        u * (2.0 / (1.0 - u * u)).sqrt()
    }

    fn tail(n: usize, seed: u64, mut draw: impl FnMut(&mut Rng) -> f64) -> Option<Tail> {
        let mut rng = seeded(seed);
        Tail::of((0..n).map(|_| draw(&mut rng)))
    }

    #[test]
    fn light_tails_modes_and_zeros_are_left_alone() {
        for (name, least, draw) in LIGHT {
            for n in [10, 30, 100, 1000, 10_000, 100_000].into_iter().filter(|&n| n >= least) {
                for seed in 0..(10_000 / n as u64).clamp(1, 20) {
                    assert_eq!(tail(n, seed, draw), None, "{name}, {n} rows, seed {seed}");
                }
            }
        }
    }

    #[test]
    fn power_laws_and_outliers_are_found() {
        for seed in 0..5 {
            let found = tail(10_000, seed, student).expect("Student t of two degrees of freedom");
            assert!(found.center.abs() < 0.1 && (found.unit - 1.32).abs() < 0.1, "{found:?}");
            assert!(tail(2_000, seed, |rng| f64::normal(rng) / f64::normal(rng)).is_some(), "Cauchy");
            for (n, far) in [(30, 100.0), (100, 30.0), (1000, 15.0), (50_000, -1e5)] {
                let mut row = 0;
                let found = tail(n, seed, |rng| {
                    row += 1;
                    if row == n / 2 { 7.0 + far } else { 7.0 + f64::normal(rng) }
                });
                let Tail { center, unit } = found.unwrap_or_else(|| panic!("{n} rows and one at {far}"));
                assert!((center - 7.0).abs() < 0.6 && (0.5..1.6).contains(&unit), "{center}, {unit}");
            }
        }
    }

    #[test]
    fn the_map_is_invertible_smooth_and_the_identity_within() {
        let tail = Tail { center: 5.0, unit: 2.0 };
        assert_eq!([tail.apply(5.0), tail.apply(10.5), tail.apply(-1.0)], [0.0, 2.75, -3.0]);
        assert!((tail.apply(11.0 + 1e6) - (3.0 + 0.5 * 1e6f64.asinh())).abs() < 1e-12);
        for u in [0.1, 2.9, 2.999_999, 3.0, 3.000_001, 3.2, 5.0, 40.0, 1e3, 1e9, 1e30] {
            for x in [5.0 - 2.0 * u, 5.0 + 2.0 * u] {
                let back = tail.invert(tail.apply(x));
                assert!((back - x).abs() <= 1e-12 * x.abs(), "{back} at {x}");
                let h = 1e-4 * u;
                let slope = (tail.apply(x + h) - tail.apply(x - h)) / (2.0 * h);
                assert!((tail.slope(x) / slope - 1.0).abs() < 1e-6, "{slope} at {x}");
                assert!((tail.slope(x).ln() - tail.ln_slope(x)).abs() < 1e-12);
                let bend = (tail.ln_slope(x + h) - tail.ln_slope(x - h)) / (2.0 * h);
                // At the knee its own slope jumps.
                let near = 1e-5 + if (u - 3.0).abs() < 0.01 { 2e-3 } else { 1e-6 * bend.abs() };
                assert!((tail.bend(x) - bend).abs() < near, "{} and {bend} at {x}", tail.bend(x));
            }
        }
    }
}

//! Columns with heavy tails, and the map that brings their outliers near the rest.

use std::cmp::Ordering;

/// The half-width of the part that the map leaves as it is, in units of the column.
const KNEE: f64 = 3.0;

/// How soon the map becomes logarithmic beyond the knee, in the same units.
const BEND: f64 = 0.5;

/// Rows other than the median's value that a judgement on tails needs.
const FEWEST: usize = 20;

/// The order statistics on either side that count as the bulk's ends leave out this share of the rows.
const BEYOND: f64 = 0.01;

/// How surprising the farthest row must be: were the tails exponential, about e⁻⁸, one in 3000, of all
/// samples would have one as far out.
const SURPRISE: f64 = 8.0;

/// A map of one heavy-tailed column, the identity near the median and logarithmic far from it.
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
    /// Half the distance between the column's quantiles at 16 % and 84 %, but not less than a tenth of the
    /// way from the median to the farther of those at 1 % and 99 %. For normal data it is the standard
    /// deviation.
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
    /// column heavy-tailed. Modes with more than 1 % of the rows belong to the bulk, and rows at the median's
    /// own value, of which a column may have many, are not counted.
    pub(super) fn of(column: impl Iterator<Item = f64>) -> Option<Self> {
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

    /// x at y; infinite where it is beyond f64.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::Real;
    use crate::numeric::rng::{Rng, seeded};
    use rand::Rng as _;

    /// Samples whose tails are not heavier than exponential.
    const LIGHT: [(&str, fn(&mut Rng) -> f64); 9] = [
        ("normal", |rng| f64::normal(rng)),
        ("uniform", |rng| rng.random()),
        ("Laplace", |rng| exponential(rng).copysign(rng.random::<f64>() - 0.5)),
        ("exponential", |rng| exponential(rng)),
        ("two narrow modes", |rng| f64::from(rng.random_bool(0.5)) + 1e-3 * f64::normal(rng)),
        ("a far mode of 3 %", |rng| 100.0 * f64::from(rng.random_bool(0.03)) + f64::normal(rng)),
        ("a wide part of 5 %", |rng| if rng.random_bool(0.05) { 10.0 } else { 1.0 } * f64::normal(rng)),
        ("80 % zeros", |rng| if rng.random_bool(0.8) { 0.0 } else { exponential(rng) }),
        ("98 % zeros", |rng| if rng.random_bool(0.98) { 0.0 } else { 5.0 + f64::normal(rng) }),
    ];

    fn exponential(rng: &mut Rng) -> f64 {
        -(1.0 - rng.random::<f64>()).ln()
    }

    /// X with P(|X| > x) = 1 − x/√(2 + x²).
    fn student(rng: &mut Rng) -> f64 {
        let u = 2.0 * rng.random::<f64>() - 1.0;
        u * (2.0 / (1.0 - u * u)).sqrt()
    }

    fn column(n: usize, seed: u64, draw: impl Fn(&mut Rng) -> f64) -> Vec<f64> {
        let mut rng = seeded(seed);
        (0..n).map(|_| draw(&mut rng)).collect()
    }

    #[test]
    #[ignore]
    fn sweep() {
        for (name, draw) in LIGHT {
            for n in [10, 20, 30, 50, 100, 200, 500, 1000, 10_000, 100_000] {
                let seeds = (2_000_000 / n).min(5000) as u64;
                let hits = (0..seeds).filter(|&s| Tail::of(column(n, s, draw).into_iter()).is_some()).count();
                if hits > 0 {
                    println!("{name} n={n}: {hits} of {seeds}");
                }
            }
        }
        for n in [50, 100, 200, 500, 1000, 2000, 10_000, 100_000] {
            let hits = |draw: fn(&mut Rng) -> f64| {
                (0..200).filter(|&s| Tail::of(column(n, s, draw).into_iter()).is_some()).count()
            };
            println!(
                "n={n}: t2 {} cauchy {} lognormal .5: {} 1: {} 2: {}",
                hits(student),
                hits(|rng| f64::normal(rng) / f64::normal(rng)),
                hits(|rng| (0.5 * f64::normal(rng)).exp()),
                hits(|rng| f64::normal(rng).exp()),
                hits(|rng| (2.0 * f64::normal(rng)).exp())
            );
        }
    }
}

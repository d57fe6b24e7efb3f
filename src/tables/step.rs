//! The grid to which the values of a column were rounded.

use std::fmt;

use super::units::WHOLE_ANYWAY;

/// A grid of values offset + k · width, with k whole, to which a column was rounded or in which it was counted.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Step {
    /// The distance between neighboring values, in the units of the data.
    pub width: f64,
    /// The offset of the grid: more than −width/2, at most width/2.
    pub offset: f64,
}

/// The number of decimals that are tried.
const MOST_DECIMALS: i32 = 9;

/// Other parts of a unit that people round to: thirds; months and inches; sixteenths; hours; minutes and seconds.
const PARTS: [f64; 5] = [3.0, 12.0, 16.0, 24.0, 60.0];

/// A grid is recognized if its step is at least this many times the rounding error of the values.
const RESOLVED: f64 = 8.0;

/// The number of values from which a wider step is not a coincidence: the probability that ten numbers all fall on
/// twice the step is 2⁻⁹, and it is less for larger multiples.
const ENOUGH: usize = 10;

impl Step {
    /// The nearest value of the grid.
    pub fn nearest(&self, value: f64) -> f64 {
        let steps = ((value - self.offset) / self.width).round();
        // A tenth is not an f64, but ten is: dividing by whole numbers gives the decimals that people would write.
        let parts = (1.0 / self.width).round();
        let exact = parts >= 1.0 && (parts * self.width - 1.0).abs() < 1e-9;
        let grid = if exact { steps / parts } else { steps * self.width };
        // + 0: what rounds to −0 is 0.
        grid + self.offset + 0.0
    }

    /// The widest step of these different, ascending values, each known to ± its `error`; none below eight times the
    /// errors, or below 10⁻⁹. `rows` is the number of rows that hold them.
    pub(super) fn of(values: &[f64], errors: &[f64], rows: usize) -> Option<Step> {
        let middle = |numbers: &[f64]| {
            let mut sorted = numbers.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted.get(sorted.len() / 2).copied().unwrap_or(f64::INFINITY)
        };
        let typical = middle(errors);
        // Whether all values are within `slack` of whole multiples of 1/parts.
        let counts = |parts: f64, slack: f64| -> Option<Vec<i64>> {
            let near = |(&value, &error): (&f64, &f64)| {
                let count = (value * parts).round();
                let off = (value * parts - count).abs();
                let known = (error + slack) * parts * 1.01 + 4.0 * f64::EPSILON * count.abs();
                (off <= known && count.abs() < WHOLE_ANYWAY).then_some(count as i64)
            };
            values.iter().zip(errors).map(near).collect()
        };
        let seen = |parts: &f64| parts * typical * RESOLVED <= 1.0;
        let decimal = (0..=MOST_DECIMALS).map(|decimals| 10f64.powi(decimals));
        let decimal = decimal.take_while(seen).find_map(|parts| Some((parts, counts(parts, 0.0)?)));
        // Minutes written as hours with three decimals are rounded or truncated in the last decimal.
        let slack = decimal.as_ref().map_or(0.0, |(parts, _)| 1.0 / parts);
        let part = PARTS.into_iter().filter(|parts| parts * slack * RESOLVED <= 1.0 && seen(parts));
        let part = part.filter(|_| slack < 1.0 && values.len() >= ENOUGH);
        let part = part.into_iter().find_map(|parts| Some((parts, counts(parts, slack)?)));
        let (parts, counts) = part.or(decimal)?;
        let first = *counts.first()?;
        let common = counts.iter().fold(0, |common, count| gcd(common, count - first));
        let known = values.len() >= ENOUGH || rows >= 2 * ENOUGH && rows >= 2 * values.len();
        let multiple = if known { common.max(1) } else { 1 };
        let rest = first.rem_euclid(multiple);
        let offset = if 2 * rest > multiple { rest - multiple } else { rest };
        Some(Step { width: multiple as f64 / parts, offset: offset as f64 / parts })
    }
}

/// The width, as people would write it: 0.1, 1/60.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = (1.0 / self.width).round();
        let exact = parts > 1.0 && (parts * self.width - 1.0).abs() < 1e-9;
        match exact && (1e9 / parts).fract() > 0.0 {
            true => write!(f, "1/{parts}"),
            // Without the last digits of a width that f64 cannot represent.
            false => write!(f, "{}", (self.width * 1e12).round() / 1e12),
        }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.abs(), b.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The step of values known as well as f32 knows them.
    fn of(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
        let mut values: Vec<f64> = values.into_iter().map(|value| f64::from(value as f32)).collect();
        let rows = values.len();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let errors: Vec<f64> = values.iter().map(|value| value.abs() / 16_777_216.0).collect();
        Step::of(&values, &errors, rows).map(|step| (step.width, step.offset))
    }

    #[test]
    fn steps_of_any_width_are_found() {
        let random = |i: i32| f64::from(i * i * 7919 % 1013) - 300.0;
        for width in [1.0, 0.5, 0.1, 0.25, 0.01, 2.0, 5.0, 1000.0, 1.0 / 3.0, 1.0 / 12.0, 1.0 / 60.0] {
            let found = of((0..200).map(|i| random(i) * width)).unwrap();
            assert!((found.0 / width - 1.0).abs() < 1e-12 && found.1 == 0.0, "{width}: {found:?}");
        }
        assert_eq!(of((0..200).map(|i| 0.5 + random(i))), Some((1.0, 0.5)));
        assert_eq!(of((0..200).map(|i| 1.0 + 20.0 * random(i))), Some((20.0, 1.0)));
        assert_eq!(of((0..200).map(|i| 19.0 + 20.0 * random(i))), Some((20.0, -1.0)));
        // Two values in many rows; two rows alone say nothing.
        assert_eq!(of((0..200).map(|i| f64::from(i % 2) * 5.0)), Some((5.0, 0.0)));
        assert_eq!(of([79.0, 54.0]), Some((1.0, 0.0)));
        // Minutes, written as hours with three decimals, rounded and cut off.
        let hours = |i: i32| f64::from(i * 37 % 400) / 60.0;
        assert_eq!(of((0..200).map(|i| (hours(i) * 1000.0).round() / 1000.0)), Some((1.0 / 60.0, 0.0)));
        assert_eq!(of((0..200).map(|i| (hours(i) * 1000.0).floor() / 1000.0)), Some((1.0 / 60.0, 0.0)));
    }

    #[test]
    fn widths_are_said_as_people_write_them() {
        for (width, says) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (0.25, "0.25"),
            (1.0 / 60.0, "1/60"),
            (1.0 / 3.0, "1/3"),
            (1e-4, "0.0001"),
            (20.0, "20"),
        ] {
            assert_eq!(Step { width, offset: 0.0 }.to_string(), says);
        }
    }

    #[test]
    fn numbers_without_a_step_have_none() {
        assert_eq!(of((0..200).map(|i| f64::from(i).sin())), None);
        assert_eq!(of((0..200).map(|i| 1e30 * f64::from(i * i % 17))), None);
        // Cents on millions are below f32.
        assert_eq!(of((0..200).map(|i| 3e6 + 0.01 * f64::from(i * i % 917))), None);
    }

    #[test]
    fn the_nearest_has_the_decimals_of_the_step() {
        let tenth = Step { width: 0.1, offset: 0.0 };
        for (value, nearest) in [(0.31, "0.3"), (0.69, "0.7"), (-0.04, "0"), (-1.26, "-1.3")] {
            assert_eq!(tenth.nearest(value).to_string(), nearest);
        }
        assert_eq!(Step { width: 20.0, offset: 1.0 }.nearest(52.0), 61.0);
        assert_eq!(Step { width: 1.0, offset: 0.5 }.nearest(3.1), 3.5);
    }
}

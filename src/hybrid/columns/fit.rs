//! Which map a column gets: from what is said of it and from the training rows.

use rand::Rng as _;

use super::bend::{Bend, End};
use super::map::{Atom, ColumnMap, Smooth};
use super::spline::Spline;
use super::{Atoms, Column, ColumnScale};
use crate::engine::Tail;
use crate::error::{Result, check};
use crate::numeric::rng::Rng;
use crate::tables::{MISSING, Step};

/// A column of at most so many values is one of values alone, if it has [`OFTEN`] rows for each.
const MOST_VALUES: usize = 64;
const OFTEN: usize = 10;

/// A value of this share of the rows, more than [`OFTEN`] times as frequent as the others are, has a probability of its
/// own.
const SHARE: f64 = 0.05;

/// The numbers of a column in ascending order: each value, and its count.
fn counted(values: &[f32]) -> Vec<(f32, usize)> {
    let mut sorted: Vec<f32> = values.iter().map(|value| value + 0.0).collect();
    sorted.sort_by(f32::total_cmp);
    let mut counts: Vec<(f32, usize)> = Vec::new();
    for value in sorted {
        match counts.last_mut() {
            Some((last, count)) if *last == value => *count += 1,
            _ => counts.push((value, 1)),
        }
    }
    counts
}

impl Column {
    /// The map for a column of these training rows.
    pub(super) fn fit(&self, values: &[f32], rng: &mut Rng) -> Result<ColumnMap> {
        let mut counts = counted(values);
        // That a value is missing is one in itself, whatever the others are.
        let missing = counts.first().copied().filter(|(value, _)| *value == MISSING);
        counts.drain(..usize::from(missing.is_some()));
        let (mut atoms, alone) =
            self.atoms(&counts, values.len() - missing.map_or(0, |missing| missing.1))?;
        let listed = |atoms: &[f32]| -> Vec<(f32, usize)> {
            counts.iter().filter(|(value, _)| !atoms.contains(value)).copied().collect()
        };
        let mut others = listed(&atoms);
        check(
            !alone || others.is_empty(),
            "Column::atoms",
            others.first(),
            "all values of the training rows",
        )?;
        let ends = self.ends(&others)?;
        if self.step.is_none() {
            // An open end is a value that the smooth part cannot have.
            atoms.extend(
                [ends.0, ends.1]
                    .into_iter()
                    .flatten()
                    .map(|end| end as f32)
                    .filter(|&end| others.iter().any(|(value, _)| *value == end)),
            );
            others = listed(&atoms);
        }
        if others.len() < 2 {
            atoms.extend(others.drain(..).map(|(value, _)| value));
        }
        counts.extend(missing);
        atoms.extend(missing.map(|(value, _)| value));
        atoms.sort_by(f32::total_cmp);
        atoms.dedup();
        let smooth = if others.is_empty() {
            None
        } else {
            let width = self.step.map_or(0.0, |step| step.width);
            let ends = (ends.0.map(|low| low - 0.5 * width), ends.1.map(|high| high + 0.5 * width));
            let mut numbers: Vec<f64> = others
                .iter()
                .flat_map(|&(value, count)| std::iter::repeat_n(f64::from(value), count))
                .map(|value| value + width * (rng.random::<f64>() - 0.5))
                .collect();
            numbers.sort_by(f64::total_cmp);
            Some(self.smooth(&numbers, ends, !atoms.is_empty()))
        };
        // Half a row more for each, so that what these rows do not have stays possible.
        let kinds = atoms.len() + usize::from(smooth.is_some());
        let total = values.len() as f64 + 0.5 * kinds as f64;
        let count = |value: f32| counts.iter().find(|(other, _)| *other == value).map_or(0, |found| found.1);
        let atom = |&value: &f32| {
            let share = (count(value) as f64 + 0.5) / total;
            Atom { value, share, width: share }
        };
        Ok(ColumnMap::new(atoms.iter().map(atom).collect(), smooth, self.step))
    }

    /// Values with a probability of their own, and whether the column has no others.
    fn atoms(&self, counts: &[(f32, usize)], rows: usize) -> Result<(Vec<f32>, bool)> {
        let finite = |values: &[f32]| {
            check(values.iter().all(|value| value.is_finite()), "Column::atoms", values, "finite numbers")
        };
        match &self.atoms {
            Atoms::Without => Ok((Vec::new(), false)),
            Atoms::At(values) => {
                finite(values).map(|()| (values.iter().map(|value| value + 0.0).collect(), false))
            }
            Atoms::Among(values) => {
                finite(values).map(|()| (values.iter().map(|value| value + 0.0).collect(), true))
            }
            Atoms::Found => {
                if counts.len() <= MOST_VALUES && rows >= OFTEN * counts.len() {
                    return Ok(self.few(counts));
                }
                let mean = rows as f64 / counts.len() as f64;
                let often =
                    |count: usize| count as f64 >= SHARE * rows as f64 && count as f64 > OFTEN as f64 * mean;
                Ok((
                    counts.iter().filter(|(_, count)| often(*count)).map(|(value, _)| *value).collect(),
                    false,
                ))
            }
        }
    }

    /// Few different values: all there are, unless the column goes in steps and its least or greatest value stands in one
    /// row alone. Then others are to be expected beyond, and the rare ones are numbers.
    fn few(&self, counts: &[(f32, usize)]) -> (Vec<f32>, bool) {
        let alone = |end: Option<&(f32, usize)>| end.is_some_and(|(_, count)| *count == 1);
        let starts_at_zero = counts.first().is_some_and(|(value, _)| *value == 0.0);
        let open = self.low.is_none() && !starts_at_zero && alone(counts.first())
            || self.high.is_none() && alone(counts.last());
        if self.step.is_none() || !open || counts.len() <= 2 {
            return (self.grid(counts), true);
        }
        let mut by_count = counts.to_vec();
        by_count.sort_by_key(|(_, count)| *count);
        let often = by_count[2..].iter().filter(|(_, count)| *count >= OFTEN);
        (often.map(|(value, _)| *value).collect(), false)
    }

    /// The values, and those of the column's step between them where these are not too many.
    fn grid(&self, counts: &[(f32, usize)]) -> Vec<f32> {
        let values: Vec<f32> = counts.iter().map(|(value, _)| *value).collect();
        let (Some(Step { width, .. }), [first, .., last]) = (self.step, &values[..]) else { return values };
        let between = (f64::from(*last) - f64::from(*first)) / width;
        if between.round() >= MOST_VALUES as f64 {
            return values;
        }
        let step = self.step.expect("matched above");
        let grid =
            (0..=between.round() as usize).map(|k| step.nearest(f64::from(*first) + k as f64 * width) as f32);
        let mut all: Vec<f32> = values.iter().copied().chain(grid).collect();
        all.sort_by(f32::total_cmp);
        all.dedup();
        all
    }

    /// The ends of the support: as said, or, where nothing is said, 0 below numbers none of which is negative, and 1
    /// above if none is greater.
    fn ends(&self, others: &[(f32, usize)]) -> Result<(Option<f64>, Option<f64>)> {
        let (Some(least), Some(most)) = (others.first(), others.last()) else {
            return Ok((self.low, self.high));
        };
        let (least, most) = (f64::from(least.0), f64::from(most.0));
        let (low, high) = (self.low, self.high);
        let (below, above) =
            ("at most the least value, the second", "at least the greatest value, the second");
        check(low.is_none_or(|low| least >= low), "Column::low", (low, least), below)?;
        check(high.is_none_or(|high| most <= high), "Column::high", (high, most), above)?;
        let found = self.scale == ColumnScale::Auto && low.is_none() && high.is_none() && least >= 0.0;
        Ok(match (found, self.scale) {
            (true, _) => (Some(0.0), (most <= 1.0).then_some(1.0)),
            (_, ColumnScale::Logarithmic) if low.is_none() && high.is_none() => {
                check(
                    least >= 0.0,
                    "Column::low",
                    low,
                    "a lower end, for the logarithm of negative numbers",
                )?;
                (Some(0.0), None)
            }
            _ => (low, high),
        })
    }

    /// The map of ascending numbers with at least two values, `beside` atoms or alone.
    fn smooth(&self, x: &[f64], ends: (Option<f64>, Option<f64>), beside: bool) -> Smooth {
        let scale = self.scale;
        let half = |x: &[f64]| 0.5 * (quantile(x, 0.8413) - quantile(x, 0.1587));
        let end = match ends {
            (Some(low), None) => Some(End::Low(low)),
            (None, Some(high)) => Some(End::High(high)),
            _ => None,
        };
        let unit = |spread: f64| if spread > 0.0 { spread } else { moments(x).1 };
        let mut bend = match (ends, end) {
            ((Some(low), Some(high)), _) => Bend::Logit { low, high },
            (_, Some(end)) => {
                let (softplus, log) = (Bend::Softplus { end, unit: unit(half(x)) }, Bend::Log { end });
                match scale {
                    ColumnScale::Logarithmic => log,
                    ColumnScale::Affine | ColumnScale::Robust => softplus,
                    _ if nats(log, x) > nats(softplus, x) => log,
                    _ => softplus,
                }
            }
            _ if scale == ColumnScale::Gaussianized => {
                Bend::Asinh { center: quantile(x, 0.5), unit: unit(half(x)) }
            }
            _ => Bend::Straight,
        };
        let mut y: Vec<f64> = x.iter().map(|&x| bend.apply(x)).collect();
        // Beside atoms z is to be normal as a whole, so that their intervals are as probable to any model as they are wide.
        let mut spline = scale == ColumnScale::Gaussianized || scale == ColumnScale::Auto && beside;
        if scale == ColumnScale::Auto
            && let Some(Tail { center, unit }) = Tail::of(y.iter().copied())
        {
            spline = true;
            if bend == Bend::Straight {
                bend = Bend::Asinh { center, unit };
                y = x.iter().map(|&x| bend.apply(x)).collect();
            }
        }
        let (mean, sd) = moments(&y);
        let (shift, width) = match scale {
            ColumnScale::Robust if half(&y) > 0.0 => (quantile(&y, 0.5), half(&y)),
            _ => (mean, sd),
        };
        Smooth { bend, shift, scale: width, spline: if spline { Spline::fit(&y) } else { None } }
    }
}

/// The mean log-likelihood of numbers whose bent values are normal, but for a constant.
fn nats(bend: Bend, x: &[f64]) -> f64 {
    let y: Vec<f64> = x.iter().map(|&x| bend.apply(x)).collect();
    x.iter().map(|&x| bend.ln_slope(x)).sum::<f64>() / x.len() as f64 - moments(&y).1.ln()
}

/// Of ascending numbers.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[(share * (sorted.len() - 1) as f64).round() as usize]
}

/// Mean and (population) standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
}

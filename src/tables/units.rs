//! How the values of a column are stored in f32, which has 24 bits of precision.

/// The value that an f32 x of a column represents: value = center + scale · x.
///
/// For nearly every column the value is x itself. If f32 would lose digits that matter to a density (seconds since
/// 1970, a place on the globe to the meter, numbers beyond ±3.4e38 or below 1e-38), values are stored relative to one
/// of them, which is an f64, and in units of a power of two.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Units {
    /// In the units of the data.
    pub center: f64,
    /// A power of two.
    pub scale: f64,
}

impl Default for Units {
    fn default() -> Self {
        Units { center: 0.0, scale: 1.0 }
    }
}

/// From 2⁵³ on f64 has whole numbers only: being one says nothing.
pub(super) const WHOLE_ANYWAY: f64 = 9_007_199_254_740_992.0;

/// Rounding errors up to 2⁻¹⁶ of a column's spread, the distance between its quartiles, do not matter.
const FELT: f64 = 1.0 / 65_536.0;

/// The rounding of f32, as a share of the value.
const ROUNDING: f64 = 1.0 / 16_777_216.0;

/// Noise is added to a value only if its grid is at least 2⁻¹⁰ of the spread.
const GRID: f64 = 1.0 / 1024.0;

/// The number of rows from which center and spread are computed.
const LOOKED_AT: usize = 4096;

/// How storing the values themselves would change a column.
#[derive(Clone, Copy, Default)]
struct Seen {
    least: f64,
    most: f64,
    /// The largest difference that f32 makes.
    moved: f64,
    /// Whether it changes a whole number.
    whole: bool,
}

impl Units {
    /// Whether x is the value itself.
    pub fn is_identity(&self) -> bool {
        *self == Units::default()
    }

    /// The value that x represents.
    pub fn restore(&self, x: f32) -> f64 {
        self.center + self.scale * f64::from(x)
    }

    /// The value that x represents. If it is x itself, it is written with the digits of an f32: 0.1, not
    /// 0.10000000149011612.
    pub fn written(&self, x: f32) -> f64 {
        match self.is_identity() {
            true => x.to_string().parse().unwrap_or(x.into()),
            false => self.restore(x),
        }
    }

    /// A value in these units; infinite if it overflows f32.
    pub fn of(&self, value: f64) -> f32 {
        ((value - self.center) / self.scale) as f32
    }

    /// Whether `value` is a whole number and `x` represents a different one.
    pub(super) fn round(&self, value: f64, x: f32) -> bool {
        value.fract() == 0.0 && value.abs() < WHOLE_ANYWAY && self.restore(x) != value
    }

    /// The units of each column of the row-major `values`, which are finite, or NaN where one is missing.
    pub(super) fn fitting<T: Copy + Into<f64>>(values: &[T], dim: usize) -> Vec<Units> {
        let mut seen: Vec<Seen> = values.iter().take(dim).map(|&v| Seen::first(v.into())).collect();
        for row in values.chunks_exact(dim) {
            seen.iter_mut().zip(row).for_each(|(seen, &value)| seen.add(value.into()));
        }
        let rows = values.len() / dim;
        let stride = rows.div_ceil(LOOKED_AT).max(1);
        let mut sample = Vec::new();
        let mut of = |(column, seen): (usize, &Seen)| {
            sample.clear();
            let some = (0..rows).step_by(stride).map(|row| values[row * dim + column].into());
            // What is missing has no value.
            sample.extend(some.filter(|value| !value.is_nan()));
            sample.sort_by(f64::total_cmp);
            if sample.is_empty() { Units::default() } else { seen.units(&sample) }
        };
        seen.iter().enumerate().map(&mut of).collect()
    }
}

impl Seen {
    fn first(value: f64) -> Self {
        Seen { least: value, most: value, ..Seen::default() }
    }

    fn add(&mut self, value: f64) {
        let x = Units::default().of(value);
        self.least = self.least.min(value);
        self.most = self.most.max(value);
        self.moved = self.moved.max((f64::from(x) - value).abs());
        self.whole |= Units::default().round(value, x);
    }

    /// The units of a column, some values of which are `sorted`.
    fn units(&self, sorted: &[f64]) -> Units {
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        let spread = match at(0.75) - at(0.25) {
            0.0 => self.most - self.least,
            quartiles => quartiles,
        };
        let largest = self.least.abs().max(self.most.abs());
        let reached = (largest as f32).is_finite();
        // A constant has no spread to compare with.
        let allowed = if spread > 0.0 { FELT * spread } else { ROUNDING * largest };
        let felt = self.whole || self.moved > allowed;
        let narrow = spread > 0.0 && ROUNDING * largest > GRID * spread;
        let middle = at(0.5);
        let away = |center: f64| (self.most - center).abs().max((self.least - center).abs());
        // A center that saves less than a bit is not worth it.
        let centers = (felt || narrow || !reached) && away(middle) <= largest / 2.0;
        let center = if centers { middle } else { 0.0 };
        let away = away(center);
        let tiny = felt && spread < 100f64.exp2().recip();
        let scale = match (away as f32).is_infinite() || tiny {
            true => exponent(spread).max(exponent(away) - 120.0).exp2(),
            false => 1.0,
        };
        Units { center, scale }
    }
}

/// The power of two below a value.
fn exponent(value: f64) -> f64 {
    value.abs().max(f64::MIN_POSITIVE).log2().floor()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Units {
        Units::fitting(values, 1)[0]
    }

    #[test]
    fn ordinary_columns_stay_as_they_are() {
        for values in [
            &[5.1, 4.9, 6.3, 5.8, 7.1][..],
            &[170.2, 181.0, 165.4, 190.1],
            &[2018.0, 2019.0, 2020.0, 2021.0, 2022.0],
            &[0.0, 1.0, 1.0, 0.0],
            &[1e30, -3e30, 2e30],
            &[1e-30, 3e-30, -2e-30],
            &[7.1, 7.1, 7.1],
            &[1.0, 2.0, 3.0, 1e9],
            &[3.0],
            &[-1e-40, 2e-41, 1.5, -3e38, 7e37],
        ] {
            assert_eq!(of(values), Units::default(), "{values:?}");
        }
    }

    #[test]
    fn what_f32_would_lose_is_kept() {
        let times: Vec<f64> = (0..500).map(|i| 1_700_000_000.0 + 0.125 * f64::from(i * i % 4801)).collect();
        let places: Vec<f64> = (0..500).map(|i| 47.3769 + 2e-4 * f64::from(i).sin()).collect();
        let tiny: Vec<f64> = (0..500).map(|i| 1e-43 + 1e-44 * f64::from(i).sin()).collect();
        let huge: Vec<f64> = (0..500).map(|i| 1e200 * f64::from(i).sin()).collect();
        let ids: Vec<f64> = (0..500).map(|i| 20_000_001.0 + 20.0 * f64::from(i)).collect();
        let narrow: Vec<f64> = (0..500).map(|i| 1e7 + f64::from(i % 3)).collect();
        let far: Vec<f64> = (0..500).map(|i| if i == 7 { 1e60 } else { f64::from(i).cos() }).collect();
        for values in [times, places, tiny, huge, ids, narrow, far] {
            let units = of(&values);
            assert!(!units.is_identity() && units.scale.log2().fract() == 0.0, "{units:?}");
            for &value in &values {
                let back = units.restore(units.of(value));
                let spread = values[3].abs().min((values[3] - values[4]).abs());
                let felt = 1e-5 * spread.max((value - units.center).abs());
                assert!((back - value).abs() <= felt, "{value:e}: {back:e}, {units:?}");
            }
        }
        // Over the whole range of f64 there is no center.
        let widest = of(&[f64::MAX, -f64::MAX, 1.0]);
        assert!(widest.center == 0.0 && widest.of(f64::MAX).is_finite());
    }

    #[test]
    fn a_constant_beyond_f32_is_finite() {
        assert!(of(&[1e300, 1e300]).of(1e300).is_finite());
    }
}

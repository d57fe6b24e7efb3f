//! Axes: the map from numbers to pixels, and its ticks.

use super::Draft;
use super::svg::{Anchor, Path, Svg, text_width};
use crate::error::{DataError, Error, Result};

/// The scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Logarithmic,
}

/// One axis with its range.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    pub(super) label: String,
    scale: Scale,
    /// Both ends; for a logarithmic axis, their logarithms.
    low: f64,
    high: f64,
}

impl Axis {
    /// From `low` to `high`, both finite and `low < high`.
    pub(super) fn linear(label: &str, (low, high): (f64, f64)) -> Self {
        Axis { label: label.into(), scale: Scale::Linear, low, high }
    }

    /// Holds all `values` with some room at both ends.
    ///
    /// # Errors
    /// [`DataError::TooFewRows`] for no values, [`DataError::NonFinite`], and [`Error::Config`] for a value that has no
    /// logarithm.
    pub(super) fn around(
        label: &str,
        what: &'static str,
        scale: Scale,
        values: impl IntoIterator<Item = f64>,
    ) -> Result<Self> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (row, value) in values.into_iter().enumerate() {
            if !value.is_finite() {
                return Err(Error::Data(DataError::NonFinite { what, row, column: 0, value }));
            }
            if scale == Scale::Logarithmic && value <= 0.0 {
                return Err(Error::config(what, value, "more than 0, for a logarithmic axis"));
            }
            let value = if scale == Scale::Logarithmic { value.ln() } else { value };
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            return Err(Error::Data(DataError::TooFewRows { what, got: 0, least: 1 }));
        }
        // Halves: the span of two numbers near the ends of f64 would overflow.
        let half = 0.5 * high - 0.5 * low;
        let least = match scale {
            Scale::Linear => (1e-6 * low.abs().max(high.abs())).max(1e-12),
            Scale::Logarithmic => 0.5,
        };
        let room = if half > least { 0.12 * half } else { least };
        Ok(Axis { label: label.into(), scale, low: low - room, high: high + room })
    }

    /// Where a value lies: 0 at the low end, 1 at the high one, and beyond them outside.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.ln(),
        };
        ((value - self.low) / (self.high - self.low)).clamp(-1e3, 1e3)
    }

    pub(super) fn holds(&self, value: f64) -> bool {
        (0.0..=1.0).contains(&self.place(value))
    }

    /// (value, label); the label is empty for a tick between two others.
    pub(super) fn ticks(&self, about: f64) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => {
                let step = nice_step((self.high - self.low) / about);
                let digits = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
                let first = (self.low / step).ceil();
                (0..=(2.0 * about) as usize + 2)
                    .map(|k| (first + k as f64) * step)
                    .take_while(|v| *v <= self.high)
                    // −0.0 + 0.0 = 0.0.
                    .map(|v| (v, linear_label(v + 0.0, digits)))
                    .collect()
            }
            Scale::Logarithmic => self.logarithmic_ticks(about),
        }
    }

    fn logarithmic_ticks(&self, about: f64) -> Vec<(f64, String)> {
        let ln10 = std::f64::consts::LN_10;
        let (first, last) = ((self.low / ln10).floor() as i32, (self.high / ln10).ceil() as i32);
        let decades = (self.high - self.low) / ln10;
        // Which of 1 … 9 are labeled, and every how many decades.
        let (labeled, every): (&[u8], i32) = match decades {
            ..1.2 => (&[1, 2, 3, 5], 1),
            ..2.2 => (&[1, 3], 1),
            _ => (&[1], (decades / about).ceil() as i32),
        };
        let mut ticks = Vec::new();
        for exponent in first..=last {
            for digit in 1..=9u8 {
                let value = f64::from(digit) * 10f64.powi(exponent);
                if !(self.low..=self.high).contains(&value.ln()) || (decades > 6.0 && digit > 1) {
                    continue;
                }
                let shown = labeled.contains(&digit) && exponent.rem_euclid(every) == 0;
                ticks.push((value, if shown { power_label(digit, exponent) } else { String::new() }));
            }
        }
        ticks
    }
}

/// 1, 2 or 5 times a power of ten, near `raw`.
fn nice_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.max(1e-300).log10().floor());
    power
        * match raw / power {
            ..1.5 => 1.0,
            ..3.5 => 2.0,
            ..7.5 => 5.0,
            _ => 10.0,
        }
}

fn linear_label(v: f64, digits: usize) -> String {
    match v.abs() {
        1e6.. => format!("{v:.0e}").replace('-', "−"),
        _ => format!("{v:.digits$}").replace('-', "−"),
    }
}

fn power_label(digit: u8, exponent: i32) -> String {
    match exponent {
        -4..=-1 => {
            format!("{:.*}", exponent.unsigned_abs() as usize, f64::from(digit) * 10f64.powi(exponent))
        }
        0..=4 => format!("{}", u64::from(digit) * 10u64.pow(exponent as u32)),
        _ => {
            let raised: String = (exponent.to_string().chars())
                .map(|c| match c {
                    '-' => '⁻',
                    c => ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][c as usize - '0' as usize],
                })
                .collect();
            if digit == 1 { format!("10{raised}") } else { format!("{digit}·10{raised}") }
        }
    }
}

/// Where a plot lies in its picture, with its axes.
pub(super) struct Frame {
    pub(super) corner: (f64, f64),
    pub(super) size: (f64, f64),
    pub(super) x: Axis,
    pub(super) y: Axis,
}

/// Left of a plot: ticks' labels and the axis' name.
pub(super) const LEFT: f64 = 64.0;
/// Below a plot.
pub(super) const BELOW: f64 = 46.0;
/// Right of a plot, where nothing stands there.
pub(super) const RIGHT: f64 = 24.0;

impl Frame {
    /// A plot of the given height below what the picture holds already.
    pub(super) fn below(draft: &Draft, height: f64, right: f64, x: Axis, y: Axis) -> Self {
        let corner = (LEFT, draft.height + 6.0);
        Frame { corner, size: (draft.width - LEFT - right, height), x, y }
    }

    pub(super) fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.corner.0 + self.size.0 * self.x.place(x), self.corner.1 + self.size.1 * (1.0 - self.y.place(y)))
    }

    /// Grid, ticks, labels and names.
    pub(super) fn draw(&self, svg: &mut Svg) {
        self.draw_with(svg, true);
    }

    /// The same without the grid, which a plot full of color has no room for.
    pub(super) fn draw_over(&self, svg: &mut Svg) {
        self.draw_with(svg, false);
    }

    fn draw_with(&self, svg: &mut Svg, with_grid: bool) {
        let ((left, top), (width, height)) = (self.corner, self.size);
        let (mut grid, mut axis) = (Path::default(), Path::default());
        let mut free_from = f64::NEG_INFINITY;
        for (value, label) in self.x.ticks((width / 75.0).max(2.0)) {
            let x = left + width * self.x.place(value);
            let long = if label.is_empty() { 3.0 } else { 5.0 };
            axis.polyline([(x, top + height), (x, top + height + long)]);
            let half = 0.5 * text_width(&label, 12.0);
            if !label.is_empty() {
                grid.polyline([(x, top), (x, top + height)]);
                if x - half > free_from {
                    svg.text("q-soft", (x, top + height + 18.0), Anchor::Middle, &label);
                    free_from = x + half + 4.0;
                }
            }
        }
        for (value, label) in self.y.ticks((height / 55.0).max(2.0)) {
            let y = top + height * (1.0 - self.y.place(value));
            let long = if label.is_empty() { 3.0 } else { 5.0 };
            axis.polyline([(left - long, y), (left, y)]);
            if !label.is_empty() {
                grid.polyline([(left, y), (left + width, y)]);
                svg.text("q-soft", (left - 8.0, y + 4.0), Anchor::End, &label);
            }
        }
        let mut edge = Path::default();
        edge.polyline([(left, top), (left, top + height), (left + width, top + height)]);
        if with_grid {
            svg.path("q-grid", &grid);
        }
        svg.path("q-axis", &axis);
        svg.path("q-axis", &edge);
        svg.text("q-text", (left + 0.5 * width, top + height + 38.0), Anchor::Middle, &self.x.label);
        svg.text_upwards("q-text", (16.0, top + 0.5 * height), &self.y.label);
    }

    pub(super) fn clipped(&self, svg: &mut Svg, draw: impl FnOnce(&mut Svg)) {
        svg.clipped(self.corner, self.size, draw);
    }
}

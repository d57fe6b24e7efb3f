use std::fmt;

use super::bend::Bend;
use super::spline::Spline;
use crate::numeric::log_sum_exp;
use crate::numeric::normal::{ln_density, ln_upper, upper_quantile};
use crate::tables::{MISSING, Step};

/// Numbers whose g is farther from 0 are beyond the reach of any model of z.
const REACH: f64 = 1e6;

/// A step is felt from this share of the unit on in which numbers are near to N(0, 1).
const FELT: f64 = 1.0 / 1024.0;

/// The least width of an interval, beyond which no model is followed.
const LEAST_WIDTH: f64 = 1e-12;

/// Rounds of [`ColumnMap::calibrate`], of which a few are enough unless a model hardly reaches an interval.
const MOST_ROUNDS: usize = 300;

/// A value that a column takes with a probability of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "stored::Atom")
)]
pub(super) struct Atom {
    pub value: f32,
    /// Its probability, by the training rows.
    pub share: f64,
    /// The probability of its interval under N(0, 1): `share`, until a model of z is known.
    pub width: f64,
}

/// What brings the numbers of a column, atoms apart, near to N(0, 1).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(super) struct Smooth {
    pub bend: Bend,
    /// Of the bent numbers, where there is no spline.
    pub shift: f64,
    pub scale: f64,
    pub spline: Option<Spline>,
}

impl Smooth {
    /// g(x); ±∞ or NaN at the ends of the support and beyond.
    pub fn apply(&self, x: f64) -> f64 {
        let y = self.bend.apply(x);
        match &self.spline {
            Some(spline) if y.is_finite() => spline.apply(y),
            _ => (y - self.shift) / self.scale,
        }
    }

    pub fn invert(&self, g: f64) -> f64 {
        self.bend.invert(match &self.spline {
            Some(spline) => spline.invert(g),
            None => self.shift + self.scale * g,
        })
    }

    /// ln dg/dx.
    pub fn ln_slope(&self, x: f64) -> f64 {
        let after = match &self.spline {
            Some(spline) => spline.ln_slope(self.bend.apply(x)),
            None => -self.scale.ln(),
        };
        after + self.bend.ln_slope(x)
    }
}

/// The map of a column: an increasing function from its values to z, of which a value with a probability of its own gets
/// an interval.
///
/// With the atoms a of probability πₐ and the rest 1 − Σ πₐ spread as Φ(g(x)), a value has
///
/// ```text
/// P(X < x) = (1 − Σ πₐ) Φ(g(x)) + Σ_{a < x} πₐ,   Φ(z) = P(X < x) + v P(X = x),   v ~ U(0, 1)
/// ```
///
/// the distributional transform (Rüschendorf 2009): z is N(0, 1) where these are the probabilities of the column. An atom
/// is worth ln πₐ, for whatever its v; any other number ln (1 − Σ πₐ) + ln φ(g) + ln dg/dx. A model of z whose own z is
/// not N(0, 1) has other πₐ, the widths that give each interval the probability of its value
/// ([`calibrate`](ColumnMap::calibrate)).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(into = "stored::Parts", try_from = "stored::Parts")
)]
pub(super) struct ColumnMap {
    /// Ascending.
    atoms: Vec<Atom>,
    /// The intervals of z of the atoms.
    spans: Vec<(f64, f64)>,
    /// What is not an atom, and its probability.
    smooth: Option<Smooth>,
    rest: f64,
    step: Option<Step>,
    /// The width over which a number is spread: that of the step, unless the density is constant over it.
    width: f64,
}

/// The z with ln P(Z ≤ z) = `below` and ln P(Z > z) = `above`, from the smaller of the two.
fn quantile(below: f64, above: f64) -> f64 {
    if below < above { -upper_quantile(below.min(0.0)) } else { upper_quantile(above.min(0.0)) }
}

/// The number below which this share of ascending numbers lies.
fn quantile_of(z: &[f32], share: f64) -> f64 {
    let place = (share * z.len() as f64 - 0.5).clamp(0.0, z.len() as f64 - 1.0);
    let (low, high) = (f64::from(z[place as usize]), f64::from(z[place.ceil() as usize]));
    low + place.fract() * (high - low)
}

/// ln (eᵃ − b) for eᵃ > b ≥ 0, else −∞.
fn ln_less(a: f64, b: f64) -> f64 {
    if b == 0.0 { a } else { (a.exp() - b).max(0.0).ln() }
}

impl ColumnMap {
    /// Of atoms in ascending order, whose widths leave `rest` to the smooth part.
    pub fn new(atoms: Vec<Atom>, smooth: Option<Smooth>, step: Option<Step>) -> Self {
        let rest =
            if smooth.is_some() { 1.0 - atoms.iter().map(|atom| atom.width).sum::<f64>() } else { 0.0 };
        let unit = smooth.as_ref().map_or(0.0, |smooth| (-smooth.ln_slope(smooth.invert(0.0))).exp());
        let width = step.map_or(0.0, |step| step.width);
        let width = if width < FELT * unit { 0.0 } else { width };
        let mut map = ColumnMap { spans: Vec::new(), atoms, smooth, rest, step, width };
        map.spans = (0..map.atoms.len()).map(|at| map.span(at)).collect();
        map
    }

    /// Whether any value has a probability of its own.
    pub fn has_atoms(&self) -> bool {
        !self.atoms.is_empty()
    }

    /// Chooses the widths so that the z of a model, in ascending order, fall into the interval of each atom as often as
    /// the training rows have its value, to a standard error.
    ///
    /// From quantile to quantile of z, which is right unless there are numbers on both sides of an atom: then a width that
    /// is too small grows and one that is too large shrinks, by a factor that comes closer to 1 whenever it was too much
    /// (Riedmiller & Braun 1993, Rprop), and all again sum to 1.
    pub fn calibrate(&mut self, z: &[f32]) {
        let n = z.len() as f64;
        // The smooth part is the last of the kinds.
        let shares: Vec<f64> = self.atoms.iter().map(|atom| atom.share).collect();
        let targets = [&shares[..], &[1.0 - shares.iter().sum::<f64>()]].concat();
        let smooth = usize::from(self.smooth.is_some());
        // P(Z < end) where widths are shares is the probability of all that is to lie below.
        self.set_widths(&targets);
        let below = |z: f64| ln_upper(-z).exp();
        let quantiles = self.spans.iter().map(|&(low, high)| {
            let [low, high] =
                [low, high].map(|end| if end.is_finite() { quantile_of(z, below(end)) } else { end });
            below(high) - below(low)
        });
        let mut widths: Vec<f64> = quantiles.collect();
        widths.push(1.0 - widths.iter().sum::<f64>());
        let mut steps = vec![(0.0, 0.5); targets.len()];
        for _ in 0..MOST_ROUNDS {
            if widths[..shares.len() + smooth].iter().any(|&width| width < LEAST_WIDTH) {
                break;
            }
            self.set_widths(&widths);
            let before = |end: f64| z.partition_point(|&z| f64::from(z) < end) as f64;
            let mut found: Vec<f64> =
                self.spans.iter().map(|&(low, high)| before(high) - before(low)).collect();
            found.push(n - found.iter().sum::<f64>());
            let mut settled = true;
            for (((width, &share), &found), (last, step)) in
                widths.iter_mut().zip(&targets).zip(&found).zip(&mut steps)
            {
                let rows = n * share - found;
                if rows.abs() <= (n * share * (1.0 - share)).max(0.25).sqrt() {
                    continue;
                }
                settled = false;
                *step = f64::min(*step * if rows * *last < 0.0 { 0.5 } else { 1.2 }, 1.0);
                *last = rows;
                *width *= f64::exp(*step * rows.signum());
            }
            if settled {
                break;
            }
        }
    }

    /// As before it was calibrated: what a model is to learn must not depend on one that has learned it.
    pub fn uncalibrate(&mut self) {
        let shares: Vec<f64> = self.atoms.iter().map(|atom| atom.share).collect();
        let rest = 1.0 - shares.iter().sum::<f64>();
        if self.atoms.iter().any(|atom| atom.width != atom.share) {
            self.set_widths(&[&shares[..], &[rest]].concat());
        }
    }

    /// Relative to each other; that of the smooth part is the last.
    fn set_widths(&mut self, widths: &[f64]) {
        let total: f64 = widths.iter().sum();
        let atoms = self.atoms.iter().zip(widths);
        let atoms = atoms.map(|(&atom, width)| Atom { width: width / total, ..atom }).collect();
        *self = ColumnMap::new(atoms, self.smooth.take(), self.step);
    }

    /// Whether all its values are whole numbers; one that is missing is none.
    pub fn is_whole(&self) -> bool {
        let numbers = self.atoms.iter().filter(|atom| atom.value != MISSING);
        let on_grid = |step: Step| step.width.fract() == 0.0 && step.offset.fract() == 0.0;
        numbers.into_iter().all(|atom| atom.value.fract() == 0.0)
            && (self.smooth.is_none() || self.step.is_some_and(on_grid))
    }

    /// Without atoms and any change.
    pub fn identity() -> Self {
        let straight = Smooth { bend: Bend::Straight, shift: 0.0, scale: 1.0, spline: None };
        ColumnMap::new(Vec::new(), Some(straight), None)
    }

    /// Whether z follows from x, with a density.
    pub fn is_exact(&self) -> bool {
        self.atoms.is_empty() && self.width == 0.0
    }

    /// Shares, of which the last follows from the others; two numbers of a scale, or those of a spline, and one of a bend
    /// with a unit.
    pub fn num_params(&self) -> usize {
        let smooth = self.smooth.as_ref().map_or(0, |smooth| {
            smooth.bend.num_params() + smooth.spline.as_ref().map_or(2, Spline::num_params)
        });
        smooth + self.atoms.len() - usize::from(self.smooth.is_none())
    }

    fn widths(&self, atoms: std::ops::Range<usize>) -> f64 {
        self.atoms[atoms].iter().map(|atom| atom.width).sum()
    }

    /// ln P(X < x) and ln P(X > x) of the smooth part at g.
    fn tails(&self, g: f64) -> (f64, f64) {
        (self.rest.ln() + ln_upper(-g), self.rest.ln() + ln_upper(g))
    }

    fn span(&self, at: usize) -> (f64, f64) {
        let x = f64::from(self.atoms[at].value);
        // An atom outside of the support of the smooth part has all of it on one side.
        let g = match &self.smooth {
            Some(smooth) => match smooth.apply(x) {
                g if g.is_nan() => self.side(smooth, x),
                g => g,
            },
            None => f64::NEG_INFINITY,
        };
        let (below, above) =
            if self.smooth.is_some() { self.tails(g) } else { (f64::NEG_INFINITY, f64::NEG_INFINITY) };
        let end = |atoms: usize| {
            let (left, right) = (self.widths(0..atoms), self.widths(atoms..self.atoms.len()));
            quantile(log_sum_exp(&[below, left.ln()]), log_sum_exp(&[above, right.ln()]))
        };
        (end(at), end(at + 1))
    }

    /// ∓∞ for an x on the left or the right of the support.
    fn side(&self, smooth: &Smooth, x: f64) -> f64 {
        if x < smooth.invert(0.0) { f64::NEG_INFINITY } else { f64::INFINITY }
    }

    /// z of x, and −ln q(z|x); the noise v of an atom or a step is uniform on [0, 1). A value that the column cannot have is
    /// worth −∞, and so is one beyond [`REACH`].
    pub fn encode(&self, x: f32, v: f64) -> (f32, f64) {
        if let Ok(at) = self.atoms.binary_search_by(|atom| atom.value.total_cmp(&(x + 0.0))) {
            let z = self.in_span(at, v);
            return (z, self.atoms[at].width.ln() - ln_density(z.into()));
        }
        let Some(smooth) = &self.smooth else { return (0.0, f64::NEG_INFINITY) };
        let x = f64::from(x) + self.width * (v - 0.5);
        let g = smooth.apply(x);
        let slope = smooth.ln_slope(x);
        if !(slope.is_finite() && g.abs() <= REACH) {
            return (0.0, f64::NEG_INFINITY);
        }
        if self.atoms.is_empty() {
            return (g as f32, slope);
        }
        let left = self.atoms.partition_point(|atom| f64::from(atom.value) < x);
        let (below, above) = self.tails(g);
        let below = log_sum_exp(&[below, self.widths(0..left).ln()]);
        let above = log_sum_exp(&[above, self.widths(left..self.atoms.len()).ln()]);
        // dz/dx = (1 − Σ πₐ) φ(g) g′/φ(z)
        let z = quantile(below, above);
        (z as f32, self.rest.ln() + ln_density(g) - ln_density(z) + slope)
    }

    /// The place at the share v of an atom's interval.
    fn in_span(&self, at: usize, v: f64) -> f32 {
        let (low, high) = self.spans[at];
        // P(Z ≤ z) and P(Z > z) of the ends, mixed.
        let ln_mix = |a: f64, b: f64| log_sum_exp(&[(1.0 - v).ln() + a, v.ln() + b]);
        let z =
            quantile(ln_mix(ln_upper(-low), ln_upper(-high)), ln_mix(ln_upper(low), ln_upper(high))) as f32;
        // In f32 a place close to an end may be beyond it.
        if (low..high).contains(&z.into()) { z } else { middle(low, high) }
    }

    /// The value that z stands for.
    pub fn decode(&self, z: f32) -> f32 {
        let z = f64::from(z);
        let left = self.spans.partition_point(|span| span.1 <= z);
        if let Some(&(low, _)) = self.spans.get(left)
            && (z >= low || self.smooth.is_none())
        {
            return self.atoms[left].value;
        }
        let Some(smooth) = &self.smooth else { return self.atoms.last().map_or(0.0, |atom| atom.value) };
        let g = if self.atoms.is_empty() {
            z
        } else {
            let rest = self.rest.ln();
            let below = ln_less(ln_upper(-z), self.widths(0..left)) - rest;
            let above = ln_less(ln_upper(z), self.widths(left..self.atoms.len())) - rest;
            quantile(below, above)
        };
        let x = smooth.bend.inside(smooth.invert(g));
        match self.step {
            Some(step) => step.nearest(x) as f32,
            None => smooth.bend.inside_f32(x),
        }
    }
}

/// What the column is taken for.
impl fmt::Display for ColumnMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let atoms = |f: &mut fmt::Formatter<'_>| {
            let word = |atom: &Atom| match atom.value {
                MISSING => "missing".into(),
                value => value.to_string(),
            };
            let shown: Vec<String> = self.atoms.iter().take(6).map(word).collect();
            let more = if self.atoms.len() > 6 { ", …" } else { "" };
            write!(f, "{}{more}", shown.join(", "))
        };
        let Some(smooth) = &self.smooth else {
            let (count, s) = (self.atoms.len(), if self.atoms.len() == 1 { "" } else { "s" });
            write!(f, "{count} value{s}, each with its probability: ")?;
            return atoms(f);
        };
        write!(f, "numbers{}", smooth.bend.words(self.step.map_or(0.0, |step| 0.5 * step.width)))?;
        if smooth.spline.is_some() {
            f.write_str(", gaussianized")?;
        }
        if let Some(step) = self.step {
            write!(f, ", in steps of {step}")?;
        }
        if self.atoms.is_empty() {
            return Ok(());
        }
        f.write_str(", and with a probability of their own ")?;
        atoms(f)
    }
}

/// Somewhere between two ends, of which at most one is infinite.
fn middle(low: f64, high: f64) -> f32 {
    match (low.is_finite(), high.is_finite()) {
        (true, true) => (0.5 * (low + high)) as f32,
        (true, false) => (low + 0.5) as f32,
        (false, true) => (high - 0.5) as f32,
        (false, false) => 0.0,
    }
}

#[cfg(feature = "safetensors")]
mod stored {
    use super::*;

    /// Before intervals were calibrated, their widths were not stored.
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Atom {
        value: f32,
        share: f64,
        width: Option<f64>,
    }

    impl From<Atom> for super::Atom {
        fn from(Atom { value, share, width }: Atom) -> Self {
            super::Atom { value, share, width: width.unwrap_or(share) }
        }
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Parts {
        atoms: Vec<super::Atom>,
        smooth: Option<Smooth>,
        step: Option<Step>,
    }

    impl From<ColumnMap> for Parts {
        fn from(ColumnMap { atoms, smooth, step, .. }: ColumnMap) -> Self {
            Parts { atoms, smooth, step }
        }
    }

    impl TryFrom<Parts> for ColumnMap {
        type Error = String;

        fn try_from(Parts { atoms, smooth, step }: Parts) -> std::result::Result<Self, String> {
            let rising = atoms.windows(2).all(|pair| pair[0].value < pair[1].value);
            let share = |share: f64| share > 0.0 && share <= 1.0 + 1e-9;
            let whole = |of: fn(&super::Atom) -> f64| {
                let total: f64 = atoms.iter().map(of).sum();
                if smooth.is_some() { total < 1.0 } else { (total - 1.0).abs() < 1e-6 }
            };
            let whole = whole(|atom| atom.share) && whole(|atom| atom.width);
            let finite =
                |atom: &super::Atom| atom.value.is_finite() && share(atom.share) && share(atom.width);
            if !(rising && atoms.iter().all(finite) && whole) {
                return Err(format!("atoms {atoms:?}, not ascending or not probabilities"));
            }
            let sane = |smooth: &Smooth| {
                let Smooth { bend, shift, scale, spline } = smooth;
                let numbers = shift.is_finite() && scale.is_finite() && *scale > 0.0;
                numbers && bend.is_sane() && spline.as_ref().is_none_or(Spline::is_sane)
            };
            if !smooth.as_ref().is_none_or(sane) {
                return Err("a map of numbers that does not increase".into());
            }
            if step
                .is_some_and(|step| !(step.width > 0.0 && step.width.is_finite() && step.offset.is_finite()))
            {
                return Err(format!("a step {step:?}"));
            }
            Ok(ColumnMap::new(atoms, smooth, step))
        }
    }
}

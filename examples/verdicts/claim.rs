//! What a claim is, what was found, and how the one decides about the other.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::lab::{Lab, Outcome};

/// A statement of the field, with what measures it.
pub struct Claim {
    pub number: u32,
    pub says: &'static str,
    pub how: How,
}

pub enum How {
    /// A measurement; `quick` ones also run, and are held to their verdict, with `--quick`.
    Measured { quick: bool, by: fn(&Lab) -> Outcome<Finding> },
    /// Cannot be measured yet, and why.
    Waits(&'static str),
}

/// A claim that this function measures.
pub const fn measured(number: u32, says: &'static str, by: fn(&Lab) -> Outcome<Finding>) -> Claim {
    Claim { number, says, how: How::Measured { quick: false, by } }
}

/// A claim that this function measures in seconds.
pub const fn quick(number: u32, says: &'static str, by: fn(&Lab) -> Outcome<Finding>) -> Claim {
    Claim { number, says, how: How::Measured { quick: true, by } }
}

/// A claim that waits for something.
pub const fn waits(number: u32, says: &'static str, reason: &'static str) -> Claim {
    Claim { number, says, how: How::Waits(reason) }
}

/// A figure: a mean over seeds with its 95 % interval, or one exact number with none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub mean: f64,
    pub half_width: f64,
}

impl Estimate {
    pub fn exact(value: f64) -> Self {
        Estimate { mean: value, half_width: 0.0 }
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Estimate { mean, half_width } = *self;
        let short = |value: f64| match value.abs() {
            // A count.
            size if half_width == 0.0 && size < 1e5 && size.fract() == 0.0 => format!("{value}"),
            size if size == 0.0 || (1e-3..1e5).contains(&size) => {
                let decimals = (2 - size.max(1e-3).log10().floor() as i32).clamp(0, 5) as usize;
                format!("{value:.decimals$}")
            }
            _ => format!("{value:.1e}"),
        };
        match half_width {
            0.0 => f.write_str(&short(mean)),
            _ => write!(f, "{} ± {}", short(mean), short(half_width)),
        }
    }
}

/// Where a figure must lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Within(f64, f64),
}

impl Bound {
    /// The least and the greatest value within.
    pub fn ends(self) -> (f64, f64) {
        match self {
            Bound::AtLeast(least) => (least, f64::INFINITY),
            Bound::AtMost(most) => (f64::NEG_INFINITY, most),
            Bound::Within(least, most) => (least, most),
        }
    }

    /// The whole interval lies inside.
    fn holds(self, Estimate { mean, half_width }: Estimate) -> bool {
        let (least, most) = self.ends();
        mean - half_width >= least && mean + half_width <= most
    }

    /// The whole interval lies outside, or there is no figure.
    fn fails(self, Estimate { mean, half_width }: Estimate) -> bool {
        let (least, most) = self.ends();
        !(mean + half_width >= least && mean - half_width <= most)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::AtLeast(least) => write!(f, "≥ {}", Estimate::exact(*least)),
            Bound::AtMost(most) => write!(f, "≤ {}", Estimate::exact(*most)),
            Bound::Within(least, most) => {
                write!(f, "{} to {}", Estimate::exact(*least), Estimate::exact(*most))
            }
        }
    }
}

/// What a figure is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The claim as it is worded.
    Claim,
    /// What the claim would also have to satisfy if it held without limits.
    Limit,
}

/// A figure, and what it is held to; a figure that is held to nothing gives the scale of the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub name: String,
    pub value: Estimate,
    pub test: Option<(Role, Bound)>,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value)?;
        match self.test {
            Some((Role::Claim, bound)) => write!(f, " (claim: {bound})"),
            Some((Role::Limit, bound)) => write!(f, " (without limits: {bound})"),
            None => Ok(()),
        }
    }
}

/// What was measured about a claim.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub figures: Vec<Figure>,
    /// Why the claim has limits, or does not hold: told where the verdict is not [`Verdict::Holds`].
    pub reason: Option<String>,
}

impl Finding {
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, name: impl Into<String>, value: Estimate, test: Option<(Role, Bound)>) -> Self {
        self.figures.push(Figure { name: name.into(), value, test });
        self
    }

    /// A figure that decides about the claim as it is worded.
    pub fn claim(self, name: impl Into<String>, value: Estimate, bound: Bound) -> Self {
        self.with(name, value, Some((Role::Claim, bound)))
    }

    /// A figure that decides whether the claim has limits.
    pub fn limit(self, name: impl Into<String>, value: Estimate, bound: Bound) -> Self {
        self.with(name, value, Some((Role::Limit, bound)))
    }

    /// A figure that others are read by, as a floor.
    pub fn beside(self, name: impl Into<String>, value: Estimate) -> Self {
        self.with(name, value, None)
    }

    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Refuted where a figure of the claim lies outside of its bound with its whole interval; limited where any figure
    /// does not lie inside with its whole interval; else it holds.
    pub fn verdict(&self) -> Verdict {
        let tests = || self.figures.iter().filter_map(|figure| Some((figure.value, figure.test?)));
        if tests().any(|(value, (role, bound))| role == Role::Claim && bound.fails(value)) {
            Verdict::Refuted
        } else if tests().all(|(value, (_, bound))| bound.holds(value)) {
            Verdict::Holds
        } else {
            Verdict::Limited
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    Holds,
    Limited,
    Refuted,
}

impl Verdict {
    /// From good to bad.
    pub const ALL: [Verdict; 3] = [Verdict::Holds, Verdict::Limited, Verdict::Refuted];

    pub fn mark(self) -> &'static str {
        match self {
            Verdict::Holds => "✓",
            Verdict::Limited => "◐",
            Verdict::Refuted => "✗",
        }
    }

    #[cfg(feature = "plot")]
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Limited => "has limits",
            Verdict::Refuted => "is refuted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(claim: (f64, f64), limit: (f64, f64)) -> Verdict {
        let estimate = |(mean, half_width)| Estimate { mean, half_width };
        Finding::new()
            .claim("a", estimate(claim), Bound::AtMost(1.0))
            .limit("b", estimate(limit), Bound::Within(0.0, 1.0))
            .beside("c", Estimate::exact(9.0))
            .verdict()
    }

    #[test]
    fn verdict_is_decided_by_intervals_and_bounds() {
        assert_eq!(verdict((0.5, 0.1), (0.5, 0.1)), Verdict::Holds);
        assert_eq!(verdict((0.5, 0.1), (2.0, 0.1)), Verdict::Limited);
        assert_eq!(
            verdict((0.95, 0.1), (0.5, 0.1)),
            Verdict::Limited,
            "an interval across the bound decides nothing"
        );
        assert_eq!(verdict((1.2, 0.1), (0.5, 0.1)), Verdict::Refuted);
        assert_eq!(verdict((f64::NAN, 0.0), (0.5, 0.1)), Verdict::Refuted, "a figure that is no number");
    }

    #[test]
    fn figures_are_printed_with_three_digits() {
        let shown = |mean, half_width| Estimate { mean, half_width }.to_string();
        assert_eq!(shown(0.012345, 0.0012), "0.0123 ± 0.00120");
        assert_eq!(shown(123.4, 0.0), "123");
        assert_eq!(shown(1.5e-7, 0.0), "1.5e-7");
        assert_eq!(Bound::Within(0.98, 1.0).to_string(), "0.980 to 1");
        assert_eq!((shown(0.0, 0.0), shown(16.0, 0.0)), ("0".into(), "16".into()));
    }
}

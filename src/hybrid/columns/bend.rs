use std::f64::consts::LN_2;

/// An increasing map of a column's support onto the real line: the first step of a column's map, before its scale.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(super) enum Bend {
    /// y = x.
    Straight,
    /// y = ± ln u, u the distance to `end`: lognormal tails.
    Log { end: End },
    /// y = ± ln(e^(u/unit) − 1), which is u/unit far from `end`: as straight as x there, and never beyond.
    Softplus { end: End, unit: f64 },
    /// y = ln((x − low)/(high − x)).
    Logit { low: f64, high: f64 },
    /// y = asinh((x − center)/unit): logarithmic on both sides, so that power laws become exponential.
    Asinh { center: f64, unit: f64 },
}

/// The one end of a half line, and on which side of it the values are: u = x − at, or u = at − x.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(super) enum End {
    Low(f64),
    High(f64),
}

impl End {
    /// u of x, and the sign with which y grows with x.
    fn distance(self, x: f64) -> (f64, f64) {
        match self {
            End::Low(at) => (x - at, 1.0),
            End::High(at) => (at - x, -1.0),
        }
    }

    fn at(self, u: f64) -> f64 {
        match self {
            End::Low(at) => at + u,
            End::High(at) => at - u,
        }
    }

    fn sign(self) -> f64 {
        self.distance(0.0).1
    }
}

/// ln(eᵘ − 1) for u > 0, without overflow.
fn ln_exp_m1(u: f64) -> f64 {
    if u > LN_2 { u + (-(-u).exp()).ln_1p() } else { u.exp_m1().ln() }
}

/// ln(1 + eʸ), without overflow.
fn softplus(y: f64) -> f64 {
    y.max(0.0) + (-y.abs()).exp().ln_1p()
}

impl Bend {
    /// y at x; ±∞ at an end of the support, and NaN beyond.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Bend::Straight => x,
            Bend::Log { end } => {
                let (u, sign) = end.distance(x);
                sign * u.ln()
            }
            Bend::Softplus { end, unit } => {
                let (u, sign) = end.distance(x);
                sign * ln_exp_m1(u / unit)
            }
            Bend::Logit { low, high } => (x - low).ln() - (high - x).ln(),
            Bend::Asinh { center, unit } => ((x - center) / unit).asinh(),
        }
    }

    /// x at y.
    pub fn invert(self, y: f64) -> f64 {
        match self {
            Bend::Straight => y,
            Bend::Log { end } => end.at((end.sign() * y).exp()),
            Bend::Softplus { end, unit } => end.at(unit * softplus(end.sign() * y)),
            // From the nearer end, which keeps the digits there.
            Bend::Logit { low, high } if y < 0.0 => low + (high - low) * y.exp() / (1.0 + y.exp()),
            Bend::Logit { low, high } => high - (high - low) * (-y).exp() / (1.0 + (-y).exp()),
            Bend::Asinh { center, unit } => center + unit * y.sinh(),
        }
    }

    /// ln dy/dx.
    pub fn ln_slope(self, x: f64) -> f64 {
        match self {
            Bend::Straight => 0.0,
            Bend::Log { end } => -end.distance(x).0.ln(),
            // d/du ln(e^(u/s) − 1) = 1/(s (1 − e^(−u/s)))
            Bend::Softplus { end, unit } => -unit.ln() - (-(-end.distance(x).0 / unit).exp_m1()).ln(),
            // 1/(x − low) + 1/(high − x)
            Bend::Logit { low, high } => (high - low).ln() - (x - low).ln() - (high - x).ln(),
            Bend::Asinh { center, unit } => -unit.ln() - 1f64.hypot((x - center) / unit).ln(),
        }
    }

    /// Numbers that are fitted; ends are known.
    pub fn num_params(self) -> usize {
        match self {
            Bend::Straight | Bend::Log { .. } | Bend::Logit { .. } => 0,
            Bend::Softplus { .. } => 1,
            Bend::Asinh { .. } => 2,
        }
    }

    /// Behind "numbers": where they are, and what is done to them. An end is `half` a step away from the last number.
    pub fn words(self, half: f64) -> String {
        let scale = if matches!(self, Bend::Log { .. }) { ", logarithmic" } else { "" };
        // Without the last digits of a sum.
        let shown = |end: f64| (end * 1e9).round() / 1e9;
        match self {
            Bend::Straight => String::new(),
            Bend::Asinh { .. } => " with heavy tails".into(),
            Bend::Logit { low, high } => format!(" between {} and {}", shown(low + half), shown(high - half)),
            Bend::Log { end } | Bend::Softplus { end, .. } => match end {
                End::Low(low) => format!(" above {}{scale}", shown(low + half)),
                End::High(high) => format!(" below {}{scale}", shown(high - half)),
            },
        }
    }

    /// The ends of the support.
    fn ends(self) -> (f64, f64) {
        match self {
            Bend::Straight | Bend::Asinh { .. } => (f64::NEG_INFINITY, f64::INFINITY),
            Bend::Log { end } | Bend::Softplus { end, .. } => match end {
                End::Low(low) => (low, f64::INFINITY),
                End::High(high) => (f64::NEG_INFINITY, high),
            },
            Bend::Logit { low, high } => (low, high),
        }
    }

    /// x, or the nearest number within the support, which its ends are not.
    pub fn inside(self, x: f64) -> f64 {
        let (low, high) = self.ends();
        x.clamp(low.next_up(), high.next_down())
    }

    /// [`inside`](Bend::inside) in f32.
    pub fn inside_f32(self, x: f64) -> f32 {
        let (low, high) = self.ends();
        let x = x.clamp(f32::MIN.into(), f32::MAX.into()) as f32;
        if f64::from(x) <= low {
            x.next_up()
        } else if f64::from(x) >= high {
            x.next_down()
        } else {
            x
        }
    }

    /// Whether its numbers describe a map.
    #[cfg(feature = "safetensors")]
    pub fn is_sane(self) -> bool {
        let unit = |unit: f64| unit.is_finite() && unit > 0.0;
        match self {
            Bend::Straight => true,
            Bend::Log { end } => end.at(0.0).is_finite(),
            Bend::Softplus { end, unit: u } => end.at(0.0).is_finite() && unit(u),
            Bend::Logit { low, high } => low.is_finite() && high.is_finite() && low < high,
            Bend::Asinh { center, unit: u } => center.is_finite() && unit(u),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Each bend, with places on its support.
    pub const BENDS: [(Bend, [f64; 6]); 7] = [
        (Bend::Straight, [-1e6, -2.0, 0.0, 0.3, 7.0, 1e9]),
        (Bend::Log { end: End::Low(3.0) }, [3.0 + 1e-9, 3.1, 4.0, 9.0, 1e3, 1e9]),
        (Bend::Log { end: End::High(3.0) }, [-1e9, -1e3, 0.0, 2.0, 2.9, 3.0 - 1e-9]),
        (Bend::Softplus { end: End::Low(3.0), unit: 2.0 }, [3.0 + 1e-9, 3.1, 4.0, 9.0, 1e3, 1e9]),
        (Bend::Softplus { end: End::High(3.0), unit: 2.0 }, [-1e9, -1e3, 0.0, 2.0, 2.9, 3.0 - 1e-9]),
        (Bend::Logit { low: -1.0, high: 3.0 }, [-1.0 + 1e-9, -0.9, 0.0, 1.0, 2.9, 3.0 - 1e-9]),
        (Bend::Asinh { center: 5.0, unit: 2.0 }, [-1e12, -3.0, 5.0, 5.1, 40.0, 1e12]),
    ];

    #[test]
    fn bends_come_back_and_have_their_slope() {
        for (bend, places) in BENDS {
            for x in places {
                let y = bend.apply(x);
                let back = bend.invert(y);
                // What x itself has lost near an end cannot come back.
                assert!((back - x).abs() <= 2e-14 * (1.0 + x.abs()), "{bend:?}: {back} for {x}");
                // So far that y moves by a ten-thousandth.
                let h = 1e-4 * (-bend.ln_slope(x)).exp();
                let slope = (bend.apply(x + h) - bend.apply(x - h)) / (2.0 * h);
                let resolved = 4.0 * f64::EPSILON * (1.0 + x.abs()) / h;
                assert!((slope.ln() - bend.ln_slope(x)).abs() < 1e-6 + resolved, "{bend:?}: {slope} at {x}");
            }
            assert!(
                places.windows(2).all(|pair| bend.apply(pair[0]) < bend.apply(pair[1])),
                "{bend:?} falls"
            );
        }
    }
}

use crate::numeric::normal::upper_quantile;

/// The most rows between two knots is this share of all, but at least [`FEWEST`].
const KNOTS: usize = 48;

/// The fewest rows between two knots: their number is known to a seventh, which costs a density a hundredth of a nat.
const FEWEST: usize = 50;

/// Rows beyond the outermost knots.
const BEYOND: usize = 5;

/// An increasing piecewise rational-quadratic function with given slopes at its knots (Gregory & Delbourgo 1982),
/// straight beyond the outermost: from a column's numbers to normal scores.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(super) struct Spline {
    y: Vec<f64>,
    z: Vec<f64>,
    /// dz/dy at the knots.
    slope: Vec<f64>,
}

/// A place between two knots: ξ in [0, 1] from the left one, and what the formula needs of both.
struct Within {
    left: usize,
    width: f64,
    height: f64,
    secant: f64,
    slopes: (f64, f64),
}

impl Spline {
    /// Through the normal scores of some of the ascending numbers y: rank r of n has Φ⁻¹((r + ½)/n). Towards both ends
    /// knots follow each other at half the number of rows, down to [`BEYOND`]. `None` of too few different numbers.
    pub fn fit(y: &[f64]) -> Option<Self> {
        let n = y.len();
        let between = (n / KNOTS).max(FEWEST);
        if n < 4 * between {
            return None;
        }
        let mut ranks: Vec<usize> = (between / 2..n - between / 2).step_by(between).collect();
        let mut rest = between / 2;
        while rest > BEYOND {
            rest = (rest / 2).max(BEYOND);
            ranks.extend([rest, n - 1 - rest]);
        }
        ranks.sort_unstable();
        ranks.dedup();
        let (mut at, mut scores): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
        let least = 1e-9 * (y[n - 1] - y[0]);
        for rank in ranks {
            if at.last().is_none_or(|&last| y[rank] > last + least) {
                at.push(y[rank]);
                // P(Z > z) of the rank, and P(Z ≤ z), from the smaller of the two.
                let (below, above) =
                    ((rank as f64 + 0.5) / n as f64, (n as f64 - rank as f64 - 0.5) / n as f64);
                scores.push(if below < above {
                    -upper_quantile(below.ln())
                } else {
                    upper_quantile(above.ln())
                });
            }
        }
        let extreme = upper_quantile((0.5 / n as f64).ln());
        (at.len() >= 4).then(|| Spline::through(at, scores, [(y[0], -extreme), (y[n - 1], extreme)]))
    }

    /// Slopes are the harmonic means of the neighboring secants, weighted as Fritsch & Butland (1984) do. At the ends it is
    /// the secant, or that to the farthest row on this side, whichever is less: tails may become heavier, but not lighter.
    fn through(y: Vec<f64>, z: Vec<f64>, farthest: [(f64, f64); 2]) -> Self {
        let secant = |k: usize| (z[k + 1] - z[k]) / (y[k + 1] - y[k]);
        let beyond = |end: usize, (far, score): (f64, f64)| match far - y[end] {
            0.0 => f64::INFINITY,
            distance => (score - z[end]) / distance,
        };
        let last = y.len() - 1;
        let slope = (0..=last).map(|k| match k {
            0 => secant(0).min(beyond(0, farthest[0])),
            k if k == last => secant(last - 1).min(beyond(last, farthest[1])),
            k => {
                let (before, after) = (y[k] - y[k - 1], y[k + 1] - y[k]);
                let (a, b) = (2.0 * after + before, after + 2.0 * before);
                (a + b) / (a / secant(k - 1) + b / secant(k))
            }
        });
        Spline { slope: slope.collect(), y, z }
    }

    /// Two numbers of each knot; slopes follow from them.
    pub fn num_params(&self) -> usize {
        2 * self.y.len()
    }

    fn within(&self, left: usize) -> Within {
        let (width, height) = (self.y[left + 1] - self.y[left], self.z[left + 1] - self.z[left]);
        Within {
            left,
            width,
            height,
            secant: height / width,
            slopes: (self.slope[left], self.slope[left + 1]),
        }
    }

    /// The knot on whose line a place beyond the outermost lies, or the interval that holds it.
    fn locate(knots: &[f64], at: f64) -> Result<usize, usize> {
        match knots.partition_point(|&knot| knot <= at) {
            0 => Err(0),
            k if k == knots.len() => Err(k - 1),
            k => Ok(k - 1),
        }
    }

    /// z at y.
    pub fn apply(&self, y: f64) -> f64 {
        match Self::locate(&self.y, y) {
            Err(end) => self.z[end] + self.slope[end] * (y - self.y[end]),
            Ok(left) => {
                let Within { width, height, secant: s, slopes: (d, e), .. } = self.within(left);
                let t = (y - self.y[left]) / width;
                let both = t * (1.0 - t);
                self.z[left] + height * (s * t * t + d * both) / (s + (e + d - 2.0 * s) * both)
            }
        }
    }

    /// y at z: the root in [0, 1] of a quadratic equation in ξ.
    pub fn invert(&self, z: f64) -> f64 {
        match Self::locate(&self.z, z) {
            Err(end) => self.y[end] + (z - self.z[end]) / self.slope[end],
            Ok(left) => {
                let Within { width, height, secant: s, slopes: (d, e), .. } = self.within(left);
                let (up, bent) = (z - self.z[left], e + d - 2.0 * s);
                let (a, b, c) = (height * (s - d) + up * bent, height * d - up * bent, -s * up);
                let root = (b * b - 4.0 * a * c).max(0.0).sqrt();
                self.y[left] + width * (2.0 * c / (-b - root)).clamp(0.0, 1.0)
            }
        }
    }

    /// ln dz/dy at y.
    pub fn ln_slope(&self, y: f64) -> f64 {
        match Self::locate(&self.y, y) {
            Err(end) => self.slope[end].ln(),
            Ok(left) => {
                let Within { width, secant: s, slopes: (d, e), left, .. } = self.within(left);
                let t = (y - self.y[left]) / width;
                let (both, bent) = (t * (1.0 - t), e + d - 2.0 * s);
                let above = e * t * t + 2.0 * s * both + d * (1.0 - t) * (1.0 - t);
                2.0 * s.ln() + above.ln() - 2.0 * (s + bent * both).ln()
            }
        }
    }

    /// Whether its numbers describe an increasing function.
    #[cfg(feature = "safetensors")]
    pub fn is_sane(&self) -> bool {
        let rising = |knots: &[f64]| {
            knots.iter().all(|knot| knot.is_finite()) && knots.windows(2).all(|pair| pair[0] < pair[1])
        };
        let slopes = self.slope.iter().all(|slope| slope.is_finite() && *slope > 0.0);
        let counts = self.y.len() >= 2 && self.z.len() == self.y.len() && self.slope.len() == self.y.len();
        counts && slopes && rising(&self.y) && rising(&self.z)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::Real;
    use crate::numeric::rng::seeded;

    fn of(n: usize, draw: impl Fn(f64) -> f64) -> (Vec<f64>, Spline) {
        let mut rng = seeded(1);
        let mut y: Vec<f64> = (0..n).map(|_| draw(f64::normal(&mut rng))).collect();
        y.sort_by(f64::total_cmp);
        let spline = Spline::fit(&y).unwrap();
        (y, spline)
    }

    #[test]
    fn splines_come_back_and_have_their_slope() {
        let (y, spline) = of(5_000, |z| z + (2.0 * z).sin() / 3.0);
        let beyond = [y[0] - 3.0, y[4_999] + 3.0];
        for y in y.iter().step_by(7).copied().chain(beyond).chain(spline.y.clone()) {
            let z = spline.apply(y);
            let back = spline.invert(z);
            assert!((back - y).abs() < 1e-12, "{back} for {y}");
            let h = 1e-8;
            let slope = (spline.apply(y + h) - spline.apply(y - h)) / (2.0 * h);
            // At a knot the second derivative jumps.
            let known = if spline.y.contains(&y) { 1e-3 } else { 1e-6 };
            assert!((slope.ln() - spline.ln_slope(y)).abs() < known, "{slope} at {y}");
        }
    }

    #[test]
    fn numbers_become_normal() {
        for n in [300, 2_000, 20_000] {
            let (y, spline) = of(n, |z| z.powi(3) + z);
            let z: Vec<f64> = y.iter().map(|&y| spline.apply(y)).collect();
            let moment = |k: i32| z.iter().map(|z| z.powi(k)).sum::<f64>() / n as f64;
            assert!(
                moment(1).abs() < 0.02 && (moment(2) - 1.0).abs() < 0.05,
                "{n}: {} {}",
                moment(1),
                moment(2)
            );
            assert!((moment(4) - 3.0).abs() < 0.5, "{n}: {}", moment(4));
        }
    }

    #[test]
    fn few_or_equal_numbers_have_no_spline() {
        assert_eq!(Spline::fit(&[1.0, 2.0, 3.0]), None);
        assert_eq!(Spline::fit(&vec![1.0; 1_000]), None);
    }
}

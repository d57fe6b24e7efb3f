//! Curves blurred by noise: arcs, circles, spirals. p(x) = ∫ ρ(t) K(x − c(t)) dt, by quadrature along the curve.

use std::f64::consts::{PI, TAU};

use rand::Rng as _;
use rand_distr::{Distribution, StandardNormal};

use super::mixture::{LogSum, REACH};
use crate::numeric::quadrature::{gauss_legendre, halve_until, trapezoid, trapezoid_points};
use crate::numeric::rng::Rng;

/// Nodes of a panel. With panels of length σ the rule is exact to 1e-8 up to 25 σ away from the curve, where the density
/// along a panel falls like exp(−25 u).
const NODES: usize = 16;

/// Lattice points that an entropy may cost: a few seconds.
const ENTROPY_BUDGET: f64 = 4e6;

/// A curve with a distribution of its parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Path {
    /// centre + radius (cos θ, sin θ), θ uniform on [from, to].
    Arc { centre: [f64; 2], radius: f64, from: f64, to: f64 },
    /// t (cos t, sin t) / 5, t uniform on [3π/2, 9π/2].
    SwissRoll,
    /// ± n (−cos n, sin n) / 3, n = 3π √u with u uniform; then a uniform number from [0, ±1/6] on each coordinate.
    Spiral { sign: f64 },
}

impl Path {
    fn range(self) -> (f64, f64) {
        match self {
            Path::Arc { from, to, .. } => (from, to),
            Path::SwissRoll => (1.5 * PI, 4.5 * PI),
            Path::Spiral { .. } => (0.0, 3.0 * PI),
        }
    }

    fn at(self, t: f64) -> [f64; 2] {
        let (sin, cos) = t.sin_cos();
        match self {
            Path::Arc { centre, radius, .. } => [centre[0] + radius * cos, centre[1] + radius * sin],
            Path::SwissRoll => [t * cos / 5.0, t * sin / 5.0],
            Path::Spiral { sign } => [-sign * t * cos / 3.0, sign * t * sin / 3.0],
        }
    }

    /// |dc/dt|
    fn speed(self, t: f64) -> f64 {
        match self {
            Path::Arc { radius, .. } => radius,
            Path::SwissRoll => (1.0 + t * t).sqrt() / 5.0,
            Path::Spiral { .. } => (1.0 + t * t).sqrt() / 3.0,
        }
    }

    /// ρ(t)
    fn density(self, t: f64) -> f64 {
        let (from, to) = self.range();
        match self {
            Path::Arc { .. } | Path::SwissRoll => 1.0 / (to - from),
            Path::Spiral { .. } => 2.0 * t / (to * to),
        }
    }

    /// The t below which a share u of the mass lies.
    fn quantile(self, u: f64) -> f64 {
        let (from, to) = self.range();
        match self {
            Path::Arc { .. } | Path::SwissRoll => from + (to - from) * u,
            Path::Spiral { .. } => to * u.sqrt(),
        }
    }

    /// The far end of the uniform number added to each coordinate.
    fn jitter(self) -> f64 {
        match self {
            Path::Arc { .. } | Path::SwissRoll => 0.0,
            Path::Spiral { sign } => sign / 6.0,
        }
    }
}

/// Paths of equal weight, blurred by isotropic Gaussian noise.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curves {
    paths: Vec<Path>,
    sigma: f64,
    panels: Vec<Panel>,
}

/// A stretch of a path, short against σ, with the nodes of its quadrature.
#[derive(Debug, Clone, PartialEq)]
struct Panel {
    jitter: f64,
    /// All points of the stretch, jitter included, are within `reach` of `middle`.
    middle: [f64; 2],
    reach: f64,
    /// Node and ln of its weight.
    nodes: Vec<([f64; 2], f64)>,
}

impl Curves {
    pub(super) fn new(paths: Vec<Path>, sigma: f64) -> Self {
        let rule = gauss_legendre(NODES);
        let panels = paths.iter().flat_map(|&path| panels(path, paths.len(), sigma, &rule)).collect();
        Curves { paths, sigma, panels }
    }

    pub(super) fn draw(&self, rng: &mut Rng, x: &mut [f64]) {
        let path = self.paths[rng.random_range(0..self.paths.len())];
        let c = path.at(path.quantile(rng.random()));
        let jitter = path.jitter();
        for i in 0..2 {
            let z: f64 = StandardNormal.sample(rng);
            x[i] = c[i] + self.sigma * z;
            if jitter != 0.0 {
                x[i] += jitter * rng.random::<f64>();
            }
        }
    }

    /// ln p(x), over the panels that hold all but e^(−40) of it.
    pub(super) fn log_density(&self, x: &[f64]) -> f64 {
        let middle = |panel: &Panel| (x[0] - panel.middle[0]).hypot(x[1] - panel.middle[1]);
        // The largest distance that the nearest panel's points can have.
        let nearest = self.panels.iter().map(|p| middle(p) + p.reach).fold(f64::INFINITY, f64::min);
        let cut = nearest * nearest + 80.0 * self.sigma * self.sigma;
        let mut sum = LogSum::default();
        for panel in &self.panels {
            let distance = (middle(panel) - panel.reach).max(0.0);
            if distance * distance > cut {
                continue;
            }
            for (c, ln_weight) in &panel.nodes {
                sum.add(ln_weight + self.ln_kernel([x[0] - c[0], x[1] - c[1]], panel.jitter));
            }
        }
        sum.ln()
    }

    /// ln K(u): a Gaussian, or on each coordinate a Gaussian after a uniform number from [0, jitter].
    fn ln_kernel(&self, u: [f64; 2], jitter: f64) -> f64 {
        let z = u.map(|u| u / self.sigma);
        let unit = if jitter == 0.0 {
            -0.5 * (z[0] * z[0] + z[1] * z[1]) - TAU.ln()
        } else {
            let w = jitter / self.sigma;
            // Φ(z) − Φ(z − w), the probability that z minus a standard normal lies in [0, w], over |w|.
            let side =
                |z: f64| if w > 0.0 { ln_normal_interval(z - w, w) } else { ln_normal_interval(z, -w) };
            side(z[0]) + side(z[1]) - 2.0 * w.abs().ln()
        };
        unit - 2.0 * self.sigma.ln()
    }

    /// −∫ p ln p over the plane by the trapezoidal rule; `None` where σ is too small for the size of the figure.
    pub(super) fn entropy(&self) -> Option<f64> {
        let margin = REACH * self.sigma;
        let (mut lower, mut upper) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for panel in &self.panels {
            for i in 0..2 {
                lower[i] = lower[i].min(panel.middle[i] - panel.reach - margin);
                upper[i] = upper[i].max(panel.middle[i] + panel.reach + margin);
            }
        }
        halve_until(1e-9, 0.5 * self.sigma, |h| {
            (trapezoid_points(&lower, &upper, h) <= ENTROPY_BUDGET).then(|| {
                -trapezoid(&lower, &upper, h, |x| {
                    let ln_p = self.log_density(x);
                    if ln_p < -700.0 { 0.0 } else { ln_p.exp() * ln_p }
                })
            })
        })
    }
}

/// Cuts a path so that no panel is longer than σ nor turns by more than half a radian.
fn panels(path: Path, paths: usize, sigma: f64, (nodes, weights): &(Vec<f64>, Vec<f64>)) -> Vec<Panel> {
    let (from, to) = path.range();
    let jitter = path.jitter();
    let mut panels = Vec::new();
    let mut a = from;
    while a < to {
        // Speed grows along a spiral, so take it at the far end of the longest panel allowed.
        let b = (a + (sigma / path.speed(a + 0.5)).min(0.5)).min(to);
        let half = 0.5 * (b - a);
        let point = path.at(a + half);
        let middle = point.map(|v| v + 0.5 * jitter);
        let nodes: Vec<_> = nodes
            .iter()
            .zip(weights)
            .map(|(node, weight)| {
                let t = a + half + half * node;
                (path.at(t), (half * weight * path.density(t) / paths as f64).ln())
            })
            .collect();
        // Arc length bounds distance; the jitter adds half a diagonal.
        let reach = half * path.speed(b) + 0.5 * jitter.abs() * 2f64.sqrt();
        panels.push(Panel { jitter, middle, reach, nodes });
        a = b;
    }
    panels
}

/// ln(Φ(a + w) − Φ(a)) for w > 0.
fn ln_normal_interval(a: f64, w: f64) -> f64 {
    // By symmetry the end nearer to 0, or the one less far beyond it, is a.
    let a = if a + 0.5 * w < 0.0 { -a - w } else { a };
    // φ(a) ∫₀ʷ exp(−a u − u²/2) du
    let integral = if a > 15.0 {
        // Mills' ratio (Abramowitz & Stegun 1964, 7.1.23); what lies beyond w is e^(−15 w) of it.
        let q = 1.0 / (a * a);
        (1.0 - q * (1.0 - 3.0 * q * (1.0 - 5.0 * q * (1.0 - 7.0 * q)))) / a
    } else {
        let u = |node: f64| 0.5 * w * (1.0 + node);
        let term = |(node, weight): (&f64, &f64)| weight * (-(a + 0.5 * u(*node)) * u(*node)).exp();
        let (nodes, weights) = &*INTERVAL_RULE;
        0.5 * w * nodes.iter().zip(weights).map(term).sum::<f64>()
    };
    integral.ln() - 0.5 * (a * a + TAU.ln())
}

/// The rule for an interval of 1.7 standard deviations, the two spirals' jitter.
static INTERVAL_RULE: std::sync::LazyLock<(Vec<f64>, Vec<f64>)> =
    std::sync::LazyLock::new(|| gauss_legendre(NODES));

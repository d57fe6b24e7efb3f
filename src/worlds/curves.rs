//! Curves blurred by noise: arcs, circles, spirals. p(x) = ∫ ρ(t) K(x − c(t)) dt, by quadrature along the
//! curve.

use std::f64::consts::{PI, TAU};

use ndarray::{Array1, Array2, ArrayView1, Axis};
use rand::Rng as _;
use rand_distr::{Distribution, StandardNormal};

use super::mixture::{LogSum, REACH};
use crate::numeric::quadrature::{gauss_legendre, halve_until};
use crate::numeric::rng::Rng;

/// Nodes of a panel. Seen from a point at distance d, the density along a panel changes at most like exp(−u d/σ²);
/// with panels of length 2σ, twenty nodes are accurate to 1e-8 up to d = 18 σ.
const NODES: usize = 20;

/// The most products that an entropy may cost for one spacing: a few seconds.
const ENTROPY_BUDGET: f64 = 1e10;

/// A curve with a distribution of its parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Path {
    /// center + radius (cos θ, sin θ), θ uniform on [from, to].
    Arc { center: [f64; 2], radius: f64, from: f64, to: f64 },
    /// t (cos t, sin t) / 5, t uniform on [3π/2, 9π/2].
    SwissRoll,
    /// ± n (−cos n, sin n) / 3, n = 3π √u with u uniform; then a uniform number from [0, ±1/6] is added to each
    /// coordinate.
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
            Path::Arc { center, radius, .. } => [center[0] + radius * cos, center[1] + radius * sin],
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

/// A stretch of a path, no longer than 2σ, with the nodes of its quadrature.
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
        let middle = |panel: &Panel| {
            let (u, v) = (x[0] - panel.middle[0], x[1] - panel.middle[1]);
            (u * u + v * v).sqrt()
        };
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
                let side = |i: usize| self.ln_side(x[i] - c[i], panel.jitter);
                sum.add(ln_weight + side(0) + side(1));
            }
        }
        sum.ln()
    }

    /// ln K(u) of one coordinate: a Gaussian, after a uniform number from [0, jitter] if there is one.
    fn ln_side(&self, u: f64, jitter: f64) -> f64 {
        let z = u / self.sigma;
        let unit = if jitter == 0.0 {
            -0.5 * (z * z + TAU.ln())
        } else {
            // (Φ(z) − Φ(z − w)) / w: z less a standard normal lies in [0, w], or for w < 0 in [w, 0].
            let w = jitter / self.sigma;
            ln_normal_interval(if w > 0.0 { z - w } else { z }, w.abs()) - w.abs().ln()
        };
        unit - self.sigma.ln()
    }

    /// −∫ p ln p over the plane by the trapezoidal rule; `None` if σ is too small for the size of the figure.
    ///
    /// K is a product over the coordinates, so p on a lattice is a product of matrices:
    /// p(xᵢ, yⱼ) = Σₖ wₖ K(xᵢ − cₖ₀) K(yⱼ − cₖ₁), k over all nodes.
    pub(super) fn entropy(&self) -> Option<f64> {
        let margin = REACH * self.sigma;
        let (mut lower, mut upper) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for panel in &self.panels {
            for i in 0..2 {
                lower[i] = lower[i].min(panel.middle[i] - panel.reach - margin);
                upper[i] = upper[i].max(panel.middle[i] + panel.reach + margin);
            }
        }
        let nodes: usize = self.panels.iter().map(|panel| panel.nodes.len()).sum();
        halve_until(1e-9, 0.5 * self.sigma, |h| {
            let counts = [0, 1].map(|i| ((upper[i] - lower[i]) / h).ceil());
            if counts[0] * counts[1] * nodes as f64 > ENTROPY_BUDGET {
                return None;
            }
            let along =
                |i: usize| Array1::from_iter((0..counts[i] as usize).map(|k| lower[i] + h * k as f64));
            let ky = self.side_kernels(along(1).view(), 1); // ky: (ny, nodes)
            let mut sum = 0.0;
            for xs in along(0).axis_chunks_iter(Axis(0), 64) {
                let mut kx = self.side_kernels(xs, 0); // kx: (≤ 64, nodes)
                for mut row in kx.rows_mut() {
                    let weights = self.panels.iter().flat_map(|panel| panel.nodes.iter().map(|node| node.1));
                    row.iter_mut().zip(weights).for_each(|(k, ln_weight)| *k *= ln_weight.exp());
                }
                let p = kx.dot(&ky.t());
                sum -= p.iter().filter(|&&p| p > 0.0).map(|p| p * p.ln()).sum::<f64>();
            }
            Some(sum * h * h)
        })
    }

    /// K(xᵢ − cₖ) of one coordinate, shape (x, nodes).
    fn side_kernels(&self, x: ArrayView1<f64>, coordinate: usize) -> Array2<f64> {
        let nodes =
            self.panels.iter().flat_map(|panel| panel.nodes.iter().map(|node| (node.0, panel.jitter)));
        let centers: Vec<_> = nodes.map(|(c, jitter)| (c[coordinate], jitter)).collect();
        Array2::from_shape_fn((x.len(), centers.len()), |(i, k)| {
            let (c, jitter) = centers[k];
            self.ln_side(x[i] - c, jitter).exp()
        })
    }
}

/// Cuts a path so that no panel is longer than 2σ or turns by more than half a radian.
fn panels(path: Path, paths: usize, sigma: f64, (nodes, weights): &(Vec<f64>, Vec<f64>)) -> Vec<Panel> {
    let (from, to) = path.range();
    let jitter = path.jitter();
    let mut panels = Vec::new();
    let mut a = from;
    while a < to {
        // Speed grows along a spiral, so it is taken where the longest panel allowed would end.
        let b = (a + (2.0 * sigma / path.speed(a + 0.5)).min(0.5)).min(to);
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
    // By symmetry, a is the end nearer to 0.
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

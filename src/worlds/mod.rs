//! Toy distributions whose truth is known: each draws rows, and computes its density and its entropy.

mod curves;
mod diffused;
mod mixture;
mod pinwheel;
mod sequences;
#[cfg(test)]
mod tests;

use std::f64::consts::{PI, SQRT_2, TAU};
use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayView2, ArrayView3};
use rand::{Rng as _, RngCore};

pub use self::diffused::DiffusedMixture;
pub use self::sequences::{Grammar, Lexicon, MarkovChain, Rule};

use self::curves::{Curves, Path};
use self::mixture::Mixture;
use crate::error::{Result, check};
use crate::map::{Card, LikelihoodKind, Objective, Sampling};
use crate::model::{Distribution, LikelihoodOptions, LogLikelihood, SampleOptions, Samples, check_rows};
use crate::numeric::rng::{Rng, Streams};

/// A distribution with a known density.
///
/// If FFJORD (Grathwohl et al. 2019) defines a figure of the same name, the constructor without arguments gives that
/// distribution. Here, rows are independent draws, including their class and angle; FFJORD's code draws equally many
/// rows of each class and, on arcs and circles, equispaced angles.
///
/// ```
/// use quadrivium::worlds::Toy;
///
/// let toy = Toy::grid25();
/// let x = toy.sample(4_000, &mut quadrivium::seeded(0));
/// let nll = -toy.log_density(x.view())?.mean().unwrap();
/// assert!((toy.entropy().unwrap() - 0.0653).abs() < 1e-4);
/// assert!((nll - 0.0653).abs() < 0.1);
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Toy {
    name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Mixture(Mixture),
    Curves(Curves),
    Pinwheel,
    Checkerboard,
}

/// The modes of an equal-weight mixture of identical isotropic Gaussians, for which mode coverage is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Modes {
    /// The centers, shape (modes, dim).
    pub centers: Array2<f64>,
    /// Standard deviation of each mode, on every axis.
    pub sigma: f64,
}

/// Gaussian mixtures.
impl Toy {
    /// Any Gaussian mixture: Σₖ wₖ N(μₖ, Cₖ).
    ///
    /// `weights`: k positive numbers, taken relative to their sum. `means`: (k, d). `covariances`: (k, d, d),
    /// variances on the diagonal, not standard deviations.
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::error::DataError::Shape) if the shapes do not fit;
    /// [`Error::Config`](crate::Error::Config) for a weight that is not positive and for a covariance that is
    /// not symmetric and positive definite; [`DataError::NonFinite`](crate::error::DataError::NonFinite) for a mean.
    ///
    /// ```
    /// use quadrivium::{worlds::Toy, ndarray::array};
    ///
    /// let normal = Toy::mixture(&[1.0], array![[3.0]].view(), array![[[4.0]]].view())?;
    /// let peak = normal.log_density(array![[3.0]].view())?[0];
    /// assert!((peak + (2.0 * std::f64::consts::TAU.sqrt()).ln()).abs() < 1e-12);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn mixture(weights: &[f64], means: ArrayView2<f64>, covariances: ArrayView3<f64>) -> Result<Self> {
        Ok(Toy { name: "mixture", kind: Kind::Mixture(Mixture::new(weights, means, covariances)?) })
    }

    /// `modes` Gaussians N(·, σ² I), equispaced on a circle about the origin, the first at (radius, 0).
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for no modes, a radius below 0, or a σ that is not positive.
    pub fn ring(modes: usize, radius: f64, sigma: f64) -> Result<Self> {
        check(modes >= 1, "modes", modes, "at least 1")?;
        check(radius >= 0.0 && radius.is_finite(), "radius", radius, "0 or more, finite")?;
        check_sigma(sigma, 0.0)?;
        Ok(Toy::ring_of(modes, radius, sigma))
    }

    fn ring_of(modes: usize, radius: f64, sigma: f64) -> Self {
        let centers = Array2::from_shape_fn((modes, 2), |(k, i)| {
            let (sin, cos) = (TAU * k as f64 / modes as f64).sin_cos();
            radius * if i == 0 { cos } else { sin }
        });
        Toy { name: "ring", kind: Kind::Mixture(Mixture::isotropic(centers, sigma)) }
    }

    /// Eight modes on radius 1, σ = 0.01: the ring of the mode-coverage protocol (Lin et al. 2018, PacGAN).
    pub fn ring8() -> Self {
        Toy::ring_of(8, 1.0, 0.01)
    }

    /// FFJORD's 8 Gaussians: radius 4/√2, σ = 0.5/√2 (FFJORD divides by 1.414, here √2).
    pub fn ffjord8() -> Self {
        Toy { name: "8gaussians", ..Toy::ring_of(8, 4.0 / SQRT_2, 0.5 / SQRT_2) }
    }

    /// `side`² Gaussians N(·, σ² I) on a square lattice about the origin.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a side of 0, and for a spacing or a σ that is not
    /// positive.
    pub fn grid(side: usize, spacing: f64, sigma: f64) -> Result<Self> {
        check(side >= 1, "side", side, "at least 1")?;
        check(spacing > 0.0 && spacing.is_finite(), "spacing", spacing, "more than 0, finite")?;
        check_sigma(sigma, 0.0)?;
        Ok(Toy::grid_of(side, spacing, sigma))
    }

    fn grid_of(side: usize, spacing: f64, sigma: f64) -> Self {
        let along = |k: usize| spacing * (k as f64 - 0.5 * (side - 1) as f64);
        let centers =
            Array2::from_shape_fn((side * side, 2), |(k, i)| along(if i == 0 { k / side } else { k % side }));
        Toy { name: "grid", kind: Kind::Mixture(Mixture::isotropic(centers, sigma)) }
    }

    /// 25 modes at {−4, −2, 0, 2, 4}², σ = 0.05: the grid of the mode-coverage protocol (Lin et al. 2018,
    /// PacGAN).
    pub fn grid25() -> Self {
        Toy::grid_of(5, 2.0, 0.05)
    }
}

/// Curves blurred by isotropic Gaussian noise.
impl Toy {
    /// Two half circles of radius 1 with noise σ: (cos a, sin a) and (1 − cos a, ½ − sin a), a uniform on [0,
    /// π], equal weights. (FFJORD's moons are these at σ = 0.1, times 2, shifted by (−1, −0.2).)
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a σ below 1e-4 or not finite.
    pub fn moons(sigma: f64) -> Result<Self> {
        check_sigma(sigma, 1e-4)?;
        let upper = Path::Arc { center: [0.0, 0.0], radius: 1.0, from: 0.0, to: PI };
        let lower = Path::Arc { center: [1.0, 0.5], radius: 1.0, from: PI, to: TAU };
        Ok(Toy { name: "moons", kind: Kind::Curves(Curves::new(vec![upper, lower], sigma)) })
    }

    /// Circles about the origin with noise σ, each with the same share of the rows.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for no radius, a radius that is not positive, or a σ below
    /// 1e-4 of the largest.
    pub fn concentric(radii: &[f64], sigma: f64) -> Result<Self> {
        let positive = !radii.is_empty() && radii.iter().all(|&r| r > 0.0 && r.is_finite());
        check(positive, "radii", radii, "at least one, each more than 0, finite")?;
        check_sigma(sigma, 1e-4 * radii.iter().copied().fold(0.0, f64::max))?;
        Ok(Toy::circles_of("concentric", radii, sigma))
    }

    fn circles_of(name: &'static str, radii: &[f64], sigma: f64) -> Self {
        let path = |&radius| Path::Arc { center: [0.0, 0.0], radius, from: 0.0, to: TAU };
        Toy { name, kind: Kind::Curves(Curves::new(radii.iter().map(path).collect(), sigma)) }
    }

    /// FFJORD's circles: radii 1.5 and 3, σ = 0.24.
    pub fn circles() -> Self {
        Toy::circles_of("circles", &[1.5, 3.0], 0.24)
    }

    /// FFJORD's rings: radii 0.75, 1.5, 2.25 and 3, σ = 0.08.
    pub fn rings() -> Self {
        Toy::circles_of("rings", &[0.75, 1.5, 2.25, 3.0], 0.08)
    }

    /// FFJORD's swiss roll: t (cos t, sin t) / 5, t uniform on [3π/2, 9π/2], σ = 0.2.
    pub fn swiss_roll() -> Self {
        Toy { name: "swissroll", kind: Kind::Curves(Curves::new(vec![Path::SwissRoll], 0.2)) }
    }

    /// FFJORD's two spirals: ± [n (−cos n, sin n) / 3 + v], n = 3π √u, with u uniform on [0, 1] and v on [0,
    /// 1/6]²; σ = 0.1.
    pub fn two_spirals() -> Self {
        let paths = vec![Path::Spiral { sign: 1.0 }, Path::Spiral { sign: -1.0 }];
        Toy { name: "2spirals", kind: Kind::Curves(Curves::new(paths, 0.1)) }
    }
}

/// Figures with folds or edges.
impl Toy {
    /// FFJORD's pinwheel of five arms: 2 R(−a) (r, s), r ~ N(1, 0.3²), s ~ N(0, 0.1²), a = ¼ eʳ + 2πk/5, k
    /// uniform on 0…4, R(a) the rotation by a (Johnson et al. 2016).
    pub fn pinwheel() -> Self {
        Toy { name: "pinwheel", kind: Kind::Pinwheel }
    }

    /// FFJORD's checkerboard: uniform on the 8 squares of side 2 in [−4, 4]² whose lower left corner (x, y)
    /// has x/2 + y/2 even.
    pub fn checkerboard() -> Self {
        Toy { name: "checkerboard", kind: Kind::Checkerboard }
    }
}

/// Methods of every toy.
impl Toy {
    /// The name, as it appears in tables.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Columns of a row.
    pub fn dim(&self) -> usize {
        match &self.kind {
            Kind::Mixture(mixture) => mixture.dim(),
            _ => 2,
        }
    }

    /// Draws `n` independent rows, shape (n, dim). The first k rows are those of `sample(k)` from the same state of
    /// `rng`.
    pub fn sample(&self, n: usize, rng: &mut dyn RngCore) -> Array2<f32> {
        let mut rng = Streams::from_rng(rng).stream(0);
        self.draw_rows(n, &mut rng)
    }

    fn draw_rows(&self, n: usize, rng: &mut Rng) -> Array2<f32> {
        let mut samples = Array2::zeros((n, self.dim()));
        let mut x = vec![0.0; self.dim()];
        for mut row in samples.rows_mut() {
            self.draw(rng, &mut x);
            row.iter_mut().zip(&x).for_each(|(to, &from)| *to = from as f32);
        }
        samples
    }

    /// Draws one row x: (dim).
    pub(crate) fn draw(&self, rng: &mut Rng, x: &mut [f64]) {
        match &self.kind {
            Kind::Mixture(mixture) => mixture.draw(rng, x),
            Kind::Curves(curves) => curves.draw(rng, x),
            Kind::Pinwheel => pinwheel::draw(rng, x),
            Kind::Checkerboard => draw_checkerboard(rng, x),
        }
    }

    /// ln p(x) of each row, in nats; −∞ off the support. x: (n, dim)
    ///
    /// Mixtures and the checkerboard have closed forms. Curves are integrated numerically, with an accuracy of 1e-8
    /// up to 18 σ away from the curve; farther out, where p < e⁻¹⁶⁰, ln p is accurate to three digits. The pinwheel
    /// is a change of variables, summed over the preimages; beyond 12 standard deviations of its radius it is −∞.
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::error::DataError::Shape) for a wrong number of columns,
    /// [`DataError::NonFinite`](crate::error::DataError::NonFinite) for a NaN or an infinity.
    pub fn log_density(&self, x: ArrayView2<f32>) -> Result<Array1<f64>> {
        check_rows("x", x, self.dim())?;
        let mut point = vec![0.0; self.dim()];
        Ok(x.rows()
            .into_iter()
            .map(|row| {
                point.iter_mut().zip(row).for_each(|(to, &from)| *to = from.into());
                self.log_density_at(&point)
            })
            .collect())
    }

    /// ln p(x) of one row.
    pub(crate) fn log_density_at(&self, x: &[f64]) -> f64 {
        match &self.kind {
            Kind::Mixture(mixture) => mixture.log_density(x),
            Kind::Curves(curves) => curves.log_density(x),
            Kind::Pinwheel => pinwheel::log_density(x),
            Kind::Checkerboard => log_density_checkerboard(x),
        }
    }

    /// The differential entropy −E ln p(x), in nats. The expected log-likelihood of a normalized model cannot exceed
    /// its negative.
    ///
    /// It is computed at each call, in up to a few seconds, and is accurate to 1e-8. `None` if quadrature would take
    /// longer: for an overlapping mixture with more than three dimensions or very many components, and for a curve
    /// whose noise is very narrow compared with its size.
    pub fn entropy(&self) -> Option<f64> {
        match &self.kind {
            Kind::Mixture(mixture) => mixture.entropy(),
            Kind::Curves(curves) => curves.entropy(),
            Kind::Pinwheel => Some(pinwheel::entropy()),
            Kind::Checkerboard => Some(32f64.ln()),
        }
    }

    /// A Gaussian mixture under the noise of a diffusion, in closed form; `None` for a toy that is not a mixture.
    pub fn diffused(&self) -> Option<DiffusedMixture> {
        match &self.kind {
            Kind::Mixture(mixture) => Some(DiffusedMixture::new(mixture)),
            _ => None,
        }
    }

    /// The modes of a mixture of equally weighted Gaussians with a common covariance σ² I (a ring, a grid).
    pub fn modes(&self) -> Option<Modes> {
        match &self.kind {
            Kind::Mixture(mixture) => {
                mixture.common_sigma.map(|sigma| Modes { centers: mixture.centers().clone(), sigma })
            }
            _ => None,
        }
    }
}

fn check_sigma(sigma: f64, least: f64) -> Result<()> {
    check(
        sigma > 0.0 && sigma >= least && sigma.is_finite(),
        "sigma",
        sigma,
        "more than 0 (for a curve, at least 1e-4 of its radius), finite",
    )
}

fn draw_checkerboard(rng: &mut Rng, x: &mut [f64]) {
    let column: i32 = rng.random_range(-2..2);
    let row = 2 * rng.random_range(-1..1) + column.rem_euclid(2);
    for (x, square) in x.iter_mut().zip([column, row]) {
        let low = 2.0 * square as f32;
        // f32 may round up to the far edge, which belongs to the next square.
        let value = (low + 2.0 * rng.random::<f32>()).min((low + 2.0).next_down());
        *x = value.into();
    }
}

fn log_density_checkerboard(x: &[f64]) -> f64 {
    let square = |v: f64| (0.5 * v).floor();
    let inside = x.iter().all(|v| (-4.0..4.0).contains(v));
    let dark = (square(x[0]) + square(x[1])) % 2.0 == 0.0;
    if inside && dark { -32f64.ln() } else { f64::NEG_INFINITY }
}

/// A known truth can be used like a model: its rows take no network evaluations, and its likelihood is exact.
///
/// ```
/// use quadrivium::{LikelihoodKind, *, worlds::Toy};
/// let (moons, mut rng) = (Toy::moons(0.1)?, quadrivium::seeded(0));
/// let known: &dyn Distribution = &moons;
/// let x = known.draw(1_000, &mut rng)?;
/// let score = known.log_likelihood(x.view(), &LikelihoodOptions::default())?;
/// assert_eq!((score.kind(), known.card().nfe), (LikelihoodKind::Exact, 0));
/// assert!((-score.nats().unwrap().mean().unwrap() - moons.entropy().unwrap()).abs() < 0.1);
/// # Ok::<(), Error>(())
/// ```
impl Distribution for Toy {
    fn card(&self) -> Card {
        let card = Card::new(self.name, Objective::OffTheMap, Sampling::OnePass);
        Card { nfe: 0, likelihood: LikelihoodKind::Exact, ..card }
    }

    fn dim(&self) -> usize {
        Toy::dim(self)
    }

    /// The rows of [`Toy::sample`]. The only temperature of a known truth is 1.
    fn sample(&self, n: usize, options: &SampleOptions, rng: &mut dyn RngCore) -> Result<Samples> {
        check_temperature(options)?;
        Ok(Samples { x: Toy::sample(self, n, rng), nfe: 0 })
    }

    fn sample_each(
        &self,
        n: u64,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
        sink: &mut dyn FnMut(ArrayView2<f32>) -> ControlFlow<()>,
    ) -> Result<()> {
        const BLOCK: u64 = 8192;
        check_temperature(options)?;
        let mut rng = Streams::from_rng(rng).stream(0);
        for start in (0..n).step_by(BLOCK as usize) {
            let rows = BLOCK.min(n - start) as usize;
            if sink(self.draw_rows(rows, &mut rng).view()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn log_likelihood(&self, x: ArrayView2<f32>, _: &LikelihoodOptions) -> Result<LogLikelihood> {
        self.log_density(x).map(LogLikelihood::Exact)
    }
}

fn check_temperature(options: &SampleOptions) -> Result<()> {
    let temperature = options.temperature;
    check(
        temperature == 1.0,
        "SampleOptions::temperature",
        temperature,
        "1: a known truth has no other temperature",
    )
}

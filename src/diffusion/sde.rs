use super::schedule::{NoiseLevel, Schedule};
use crate::engine::transport::{Tangents, Velocity};
use crate::error::{Result, check};
use crate::worlds::DiffusedMixture;

/// Noising in continuous time, as a stochastic differential equation.
///
/// dx = f(x, t) dt + g(t) dw, t from 0 (data) to 1 (noise), f(x, t) = drift(t)·x,
///
/// blurs rows so that x(t) = α(t) x₀ + σ(t) ε (Song et al. 2021b). Run backward it is, with the score ∇ ln p_t,
/// another SDE (their eq. 6); and an ordinary one has the same densities (eq. 13), the probability flow:
///
/// dx = (f − g² ∇ ln p_t) dt + g dw̄, dx/dt = f − ½ g² ∇ ln p_t.
///
/// All samplers discretize one of the two. DDPM is the first, in steps β_i = β(i/T)/T of the variance-preserving
/// process ([`Schedule::Linear`] has the β of [`Sde::PRESERVING`]), and DDIM without noise the second.
///
/// **The two processes are one up to units.** A row x̃ = x₀ + σ̃ ε of the exploding process, divided by
/// √(1 + σ̃²), is a row α x₀ + σ ε of the preserving one with σ/α = σ̃: they agree wherever their signal-to-noise
/// ratios do. The network is told that ratio and sees rows of the preserving kind, so it serves both, and every
/// step below is written for such rows. What differs is how the noise is spread over t, and with it the grid of
/// the samplers in timesteps, and what one Euler–Maruyama step does.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Sde {
    /// dx = −½ β(t) x dt + √β(t) dw, β(t) = β_min + t (β_max − β_min) (Song et al. 2021b, eq. 11 and 33): data
    /// of variance 1 keep it.
    VariancePreserving {
        /// β(0). More than 0, at most `beta_max`.
        beta_min: f64,
        /// β(1). At most 200.
        beta_max: f64,
    },
    /// dx = √(dσ²/dt) dw, σ(t) = σ_min (σ_max/σ_min)^t (Song et al. 2021b, eq. 9 and 30): noise is added, and
    /// the data stay as they are.
    VarianceExploding {
        /// σ(0), in standard deviations of the data. 1e-6 or more.
        sigma_min: f64,
        /// σ(1): many times the spread of the data. 1 to 1e6, more than `sigma_min`.
        sigma_max: f64,
    },
}

impl Sde {
    /// What Ho et al. 2020 discretize: β from 0.1 to 20.
    pub const PRESERVING: Sde = Sde::VariancePreserving { beta_min: 0.1, beta_max: 20.0 };

    /// σ from 0.01 to 50 (Song et al. 2021b, appendix C, for images of values 0 to 1).
    pub const EXPLODING: Sde = Sde::VarianceExploding { sigma_min: 0.01, sigma_max: 50.0 };

    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Sde::VariancePreserving { beta_min, beta_max } => {
                let field = "Sde::VariancePreserving::beta_min";
                check(
                    beta_min > 0.0 && beta_min <= beta_max,
                    field,
                    beta_min,
                    "more than 0, at most beta_max",
                )?;
                let field = "Sde::VariancePreserving::beta_max";
                // α(1) = exp(−(β_min + β_max)/4) is a divisor.
                check(beta_max <= 200.0, field, beta_max, "at most 200")
            }
            Sde::VarianceExploding { sigma_min, sigma_max } => {
                let field = "Sde::VarianceExploding::sigma_min";
                check(
                    sigma_min >= 1e-6 && sigma_min < sigma_max,
                    field,
                    sigma_min,
                    "1e-6 or more, below sigma_max",
                )?;
                let field = "Sde::VarianceExploding::sigma_max";
                check((1.0..=1e6).contains(&sigma_max), field, sigma_max, "1 to 1e6")
            }
        }
    }

    /// f(x, t) = drift(t)·x: −½ β(t), or 0.
    pub fn drift(&self, t: f64) -> f64 {
        match *self {
            Sde::VariancePreserving { .. } => -0.5 * self.diffusion(t).powi(2),
            Sde::VarianceExploding { .. } => 0.0,
        }
    }

    /// g(t): √β(t), or √(dσ²/dt) = σ √(2 ln(σ_max/σ_min)).
    pub fn diffusion(&self, t: f64) -> f64 {
        match *self {
            Sde::VariancePreserving { beta_min, beta_max } => (beta_min + t * (beta_max - beta_min)).sqrt(),
            Sde::VarianceExploding { sigma_min, sigma_max } => {
                self.marginal(t).1 * (2.0 * (sigma_max / sigma_min).ln()).sqrt()
            }
        }
    }

    /// (α, σ) of x(t) = α x₀ + σ ε (Song et al. 2021b, eq. 29).
    ///
    /// ```
    /// use quadrivium::diffusion::Sde;
    /// let (alpha, sigma) = Sde::PRESERVING.marginal(1.0);
    /// assert!(alpha < 0.01 && (alpha * alpha + sigma * sigma - 1.0).abs() < 1e-12);
    /// assert_eq!(Sde::EXPLODING.marginal(0.0), (1.0, 0.01));
    /// ```
    pub fn marginal(&self, t: f64) -> (f64, f64) {
        match *self {
            Sde::VariancePreserving { .. } => {
                let ln_alpha_bar = self.ln_alpha_bar(t);
                ((0.5 * ln_alpha_bar).exp(), (-ln_alpha_bar.exp_m1()).sqrt())
            }
            Sde::VarianceExploding { sigma_min, sigma_max } => {
                (1.0, sigma_min * (sigma_max / sigma_min).powf(t))
            }
        }
    }

    /// The σ of the N(0, σ² I) that x(1) nearly is, data of variance 1 included.
    pub fn prior_sigma(&self) -> f64 {
        let (alpha, sigma) = self.marginal(1.0);
        alpha.hypot(sigma)
    }

    /// ln ᾱ of the rows x/√(α² + σ²): −∫₀ᵗ β, or −ln(1 + σ²).
    pub(super) fn ln_alpha_bar(&self, t: f64) -> f64 {
        match *self {
            Sde::VariancePreserving { beta_min, beta_max } => {
                -t * (beta_min + 0.5 * t * (beta_max - beta_min))
            }
            Sde::VarianceExploding { .. } => -self.marginal(t).1.powi(2).ln_1p(),
        }
    }
}

/// The step of Euler and Maruyama back from noise `from` to `to`, as (keep, eps, noise) of x ← keep·x + eps·ε̂ +
/// noise·ξ for rows of the preserving kind, with ∇ ln p = −ε̂/σ.
///
/// Preserving, with b = ∫ β dt over the step: x ← x + ½ b x + b ∇ ln p + √b ξ. Exploding, with b = σ̃² − σ̃′² =
/// ∫ g² dt: x̃ ← x̃ + b ∇ ln p̃ + √b ξ, which x̃ = x/α turns into x ← α′ (x/α − (b/σ̃) ε̂ + √b ξ).
pub(super) fn reverse_step(schedule: Schedule, from: NoiseLevel, to: NoiseLevel) -> (f64, f64, f64) {
    match schedule {
        Schedule::Continuous(Sde::VarianceExploding { .. }) => {
            let (sigma, next) = (from.sigma / from.alpha, to.sigma / to.alpha);
            let b = (sigma - next) * (sigma + next);
            (to.alpha / from.alpha, -to.alpha * b / sigma, to.alpha * b.sqrt())
        }
        Schedule::Linear | Schedule::Cosine | Schedule::Continuous(Sde::VariancePreserving { .. }) => {
            let b = 2.0 * (to.alpha / from.alpha).ln();
            (1.0 + 0.5 * b, -b / from.sigma, b.sqrt())
        }
    }
}

/// The probability flow of a mixture whose score is known, dx/dt = f − ½ g² ∇ ln p_t, in the process's own
/// units and time. Unlike a network's, it may start without noise, at the data themselves.
///
/// ```
/// use quadrivium::worlds::Toy;
/// use quadrivium::diffusion::{ProbabilityFlow, Sde, Solver};
/// use quadrivium::model::TraceEstimator;
/// use quadrivium::engine::transport;
/// use quadrivium::numeric::rng::Streams;
///
/// let mixture = Toy::grid25().diffused().expect("a mixture");
/// let flow = ProbabilityFlow { sde: Sde::PRESERVING, mixture: &mixture };
/// let solver = Solver::DormandPrince { rtol: 1e-6, atol: 1e-6 };
/// let (z, mut nats) = ([0.72, -0.7], [0.0]);
/// transport::log_density(
///     &flow,
///     solver,
///     (0.0, 1.0),
///     (TraceEstimator::Exact, Streams::new(0)),
///     &z,
///     |end| flow.log_density(1.0, end),
///     &mut nats,
///     &mut Default::default(),
/// )?;
/// let truth = mixture.log_density(1.0, 0.0, &z.map(f64::from));
/// assert!((nats[0] - truth).abs() < 1e-4);
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ProbabilityFlow<'a> {
    /// The noising process.
    pub sde: Sde,
    /// The data.
    pub mixture: &'a DiffusedMixture,
}

impl ProbabilityFlow<'_> {
    /// ln p_t(x), x: (d).
    pub fn log_density(&self, t: f64, x: &[f64]) -> f64 {
        let (alpha, sigma) = self.sde.marginal(t);
        self.mixture.log_density(alpha, sigma, x)
    }
}

impl Velocity for ProbabilityFlow<'_> {
    /// The divergence, which comes with the velocity: (m)
    type Scratch = Vec<f64>;

    fn dim(&self) -> usize {
        self.mixture.dim()
    }

    fn velocity(&self, _: &[usize], t: &[f64], x: &[f64], v: &mut [f64], divergence: &mut Vec<f64>) {
        let d = self.mixture.dim();
        divergence.clear();
        for ((&t, x), v) in t.iter().zip(x.chunks_exact(d)).zip(v.chunks_exact_mut(d)) {
            let (alpha, sigma) = self.sde.marginal(t);
            let (drift, half) = (self.sde.drift(t), 0.5 * self.sde.diffusion(t).powi(2));
            let mut laplacian = [0.0];
            self.mixture.score(alpha, sigma, x, v, Some(&mut laplacian));
            v.iter_mut().zip(x).for_each(|(v, x)| *v = drift * x - half * *v);
            divergence.push(drift * d as f64 - half * laplacian[0]);
        }
    }

    fn divergence(&self, _: &[f64], _: &[f64], _: Tangents<'_>, divergence: &mut [f64], kept: &mut Vec<f64>) {
        divergence.copy_from_slice(kept);
    }
}

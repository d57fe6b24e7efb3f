//! The map of the field as data: which objective and sampling procedure belong to which paradigm, and what the
//! literature predicts for them, so that a test or a table can compare the predictions with measurements.
//!
//! ```
//! use quadrivium::map::{self, Objective, Paradigm, Sampling};
//! let place = map::place(Objective::NoisePrediction, Sampling::Denoising { steps: 50 }).unwrap();
//! assert_eq!(place.paradigm, Paradigm::Diffusion);
//! assert_eq!(place.latency.to_string(), "∝ steps");
//! // A GAN does not draw coordinate by coordinate.
//! assert!(map::place(Objective::Minimax, Sampling::Sequential { dim: 2 }).is_none());
//! ```
//!
//! # Picture
//!
//! The paradigms, their relatives and some combinations, with what [was measured](crate::results) of each:
//!
#![cfg_attr(doc, doc = include_str!("../../docs/pictures/map.svg"))]
//!
//! # Reading
//!
//! [`read()`] finds the place of a description in words; the page of the module [`mod@read`] teaches how.
//! [`questions`] asks about the map, and names the measurement behind each answer.
//!
//! ```
//! let reading = quadrivium::map::read("Portraits by a generator that is trained against a critic, WGAN-GP.");
//! assert_eq!(reading.components[0].paradigm.to_string(), "adversarial");
//! ```

mod composed;
mod questions;
pub mod read;
mod words;

use std::borrow::Cow;

pub use questions::{Question, questions};
pub use read::{Reading, read};

/// Which [`LogLikelihood`](crate::LogLikelihood) a model returns, as its [`Card`] predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LikelihoodKind {
    /// [`LogLikelihood::Exact`](crate::LogLikelihood::Exact).
    Exact,
    /// [`LogLikelihood::LowerBound`](crate::LogLikelihood::LowerBound).
    LowerBound,
    /// [`LogLikelihood::OdeEstimate`](crate::LogLikelihood::OdeEstimate).
    OdeEstimate,
    /// [`LogLikelihood::Estimate`](crate::LogLikelihood::Estimate).
    Estimate,
    /// [`LogLikelihood::Unnormalized`](crate::LogLikelihood::Unnormalized).
    Unnormalized,
    /// [`LogLikelihood::Unavailable`](crate::LogLikelihood::Unavailable).
    Unavailable,
}

impl LikelihoodKind {
    /// The claim about the negative log-likelihood (NLL): a lower bound on log p is an upper bound on the NLL; the
    /// other claims are unchanged.
    ///
    /// ```
    /// use quadrivium::LikelihoodKind;
    /// assert_eq!(LikelihoodKind::LowerBound.to_string(), "lower bound");
    /// assert_eq!(LikelihoodKind::LowerBound.of_nll(), "upper bound");
    /// assert_eq!(LikelihoodKind::Exact.of_nll(), "exact");
    /// ```
    pub fn of_nll(self) -> &'static str {
        match self {
            LikelihoodKind::Exact => "exact",
            LikelihoodKind::LowerBound => "upper bound",
            LikelihoodKind::OdeEstimate => "ODE estimate",
            LikelihoodKind::Estimate => "estimate",
            LikelihoodKind::Unnormalized => "unnormalized",
            LikelihoodKind::Unavailable => "none",
        }
    }
}

impl std::fmt::Display for LikelihoodKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            LikelihoodKind::LowerBound => "lower bound",
            other => other.of_nll(),
        })
    }
}

/// The ways to learn a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Paradigm {
    /// The chain rule, one conditional per coordinate.
    Autoregressive,
    /// A latent variable, an encoder and a decoder.
    Latent,
    /// A generator against a critic.
    Adversarial,
    /// Noise, removed step by step.
    Diffusion,
    /// An invertible map of a simple density.
    Flow,
    /// An energy, p(x) ∝ exp(−E(x)), or its slope, the score.
    Energy,
    /// A density in closed form, without a network, as a baseline for networks.
    Baseline,
    /// Several of these: [`Card::parts`] names them.
    Hybrid,
    /// None of these: a known truth, or an experiment that is not on the map yet.
    OffTheMap,
}

/// What training minimizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Objective {
    /// −Σᵢ log p(xᵢ | x₁…xᵢ₋₁).
    ChainRuleNll,
    /// −log p_z(f(x)) − log |det ∂f/∂x|.
    ChangeOfVariables,
    /// −E_q[log p(x|z)] + KL(q(z|x) ‖ p(z)).
    Elbo,
    /// min_G max_D E[log D(x)] + E[log(1 − D(G(z)))], one value for both players.
    Minimax,
    /// The generator maximizes log D(G(z)); the discriminator has the penalty (γ/2) E‖∇D(x)‖² on real rows.
    NonSaturatingR1,
    /// −E log σ(D(x) − D(G(z))) for the discriminator, and with the opposite sign inside σ for the generator; the
    /// discriminator has the penalty (γ/2) E‖∇D‖² on real and on generated rows.
    Relativistic,
    /// E[D(G(z))] − E[D(x)] + λ E(‖∇D(x̂)‖ − 1)².
    WassersteinGp,
    /// E‖ε − ε̂(x_t, t)‖².
    NoisePrediction,
    /// E‖v̂(x_t, t) − (x₁ − x₀)‖².
    FlowMatching,
    /// E‖v̂(x_t, t) − (x₁ − x₀)‖², and jumps that agree with v̂.
    FlowMap,
    /// The distance of where two places of a path lead.
    Consistency,
    /// E‖s(x̃) − ∇ log q(x̃|x)‖².
    ScoreMatching,
    /// E[vᵀ(∂s/∂x)v + ½‖s‖²], v a random direction: score matching that does not use the noise that was added.
    SlicedScoreMatching,
    /// E[E(x)] − E[E(x⁻)], x⁻ from a Markov chain.
    ContrastiveDivergence,
    /// −ln Σₖ wₖ N(x; μₖ, Σₖ), by expectation–maximization.
    ExpectationMaximization,
    /// −ln of the mean of kernels centered on the training rows; their width is found by a rule or by
    /// cross-validation.
    KernelSmoothing,
    /// −ln of the smoothed relative frequency of each token after those before it, in closed form.
    Counting,
    /// −ln N(x; μ, Σ) with a Σ of a few directions and noise, in closed form.
    PrincipalComponents,
    /// The objective of each part, one after the other.
    Staged,
    /// Nothing, or an objective that is not on the map.
    OffTheMap,
}

/// How a row is drawn, with the numbers that determine its cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sampling {
    /// One coordinate after the other.
    Sequential {
        /// Number of coordinates.
        dim: usize,
    },
    /// One evaluation of a network, or of a formula, on one draw of noise.
    OnePass,
    /// From noise to data in steps.
    Denoising {
        /// Network evaluations.
        steps: usize,
    },
    /// Along an ODE from a source to the data.
    Flowing {
        /// Network evaluations.
        steps: usize,
    },
    /// A Markov chain on the energy.
    Langevin {
        /// Network evaluations.
        steps: usize,
    },
    /// Langevin steps along the score of the data, blurred by less and less noise.
    AnnealedLangevin {
        /// Network evaluations.
        steps: usize,
    },
    /// One part after the other, each in its own way.
    Staged {
        /// Evaluations of all parts.
        evaluations: usize,
    },
}

impl Objective {
    /// The unit of the losses in a [`TrainReport`](crate::TrainReport) for this objective. Networks work on
    /// standardized columns, so their nats, errors and velocities are for columns in standard deviations; the
    /// baselines work in the units of the data.
    ///
    /// ```
    /// use quadrivium::map::Objective;
    /// assert_eq!(Objective::ChainRuleNll.loss_unit(), "nats per row, columns standardized");
    /// assert_eq!(Objective::ExpectationMaximization.loss_unit(), "nats per row, in the units of the data");
    /// ```
    pub fn loss_unit(self) -> &'static str {
        match self {
            Objective::ChainRuleNll
            | Objective::ChangeOfVariables
            | Objective::Elbo
            | Objective::PrincipalComponents => "nats per row, columns standardized",
            Objective::ExpectationMaximization | Objective::KernelSmoothing => {
                "nats per row, in the units of the data"
            }
            Objective::Counting => "nats per row",
            Objective::Minimax | Objective::NonSaturatingR1 | Objective::Relativistic => {
                "critic's loss in nats per row"
            }
            Objective::WassersteinGp => "critic's loss in standard deviations",
            Objective::NoisePrediction | Objective::ScoreMatching => "squared error of noise per column",
            Objective::SlicedScoreMatching => "squared error of noise, less a constant",
            Objective::FlowMatching | Objective::FlowMap => "squared error of velocity per column",
            Objective::Consistency => "distance per unit of time",
            Objective::ContrastiveDivergence => "difference of mean energies in nats",
            Objective::Staged => "each part's own, in stages",
            Objective::OffTheMap => "unknown to the map",
        }
    }

    /// Whether the loss on held-out rows shows which parameters are best, which
    /// [`patience`](crate::TrainOptions::patience) needs. The loss of a game and a contrast with chains do not show
    /// it.
    ///
    /// ```
    /// use quadrivium::map::Objective;
    /// assert!(Objective::Elbo.ranks_parameters() && !Objective::WassersteinGp.ranks_parameters());
    /// ```
    pub fn ranks_parameters(self) -> bool {
        use Objective::*;
        !matches!(self, Minimax | NonSaturatingR1 | Relativistic | WassersteinGp | ContrastiveDivergence)
    }
}

impl Sampling {
    /// Number of network evaluations per row.
    pub fn nfe(self) -> usize {
        match self {
            Sampling::OnePass => 1,
            Sampling::Sequential { dim: steps }
            | Sampling::Denoising { steps }
            | Sampling::Flowing { steps }
            | Sampling::Langevin { steps }
            | Sampling::AnnealedLangevin { steps }
            | Sampling::Staged { evaluations: steps } => steps,
        }
    }
}

/// What the objective measures between data and model, if any auxiliary network (a critic) is at its optimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Divergence {
    /// KL(data ‖ model): large if the data have rows that the model finds improbable, so the model covers all modes.
    ForwardKl,
    /// An upper bound on KL(data ‖ model).
    ForwardKlBound,
    /// The Jensen–Shannon divergence: it is constant, and its gradient vanishes, where data and model do not
    /// overlap.
    JensenShannon,
    /// KL(model ‖ data) − 2·Jensen–Shannon: missing a mode costs little, inventing one costs much. The generator's
    /// gradient, with the optimal discriminator held fixed, is the gradient of this divergence, but the generator's
    /// loss is not its value (Arjovsky & Bottou 2017, theorem 2.5).
    ReverseKlLessJs,
    /// 2 ln 2 − 2 min_D E softplus(D(x̃) − D(x)), x from the data and x̃ from the model: 0 only if the two
    /// distributions agree (Jolicoeur-Martineau 2020).
    Relativistic,
    /// The Wasserstein-1 distance, if the penalty keeps the critic's slope at 1. It grows with the distance over
    /// which mass has to be moved.
    Wasserstein1,
    /// The Fisher divergence over the noise levels. Weighted by g² it bounds the forward KL (Song, Durkan et
    /// al. 2021).
    Fisher,
    /// The Fisher divergence from the data blurred by one noise level, so the model learns the blurred density.
    FisherAtOneLevel,
    /// The squared error of a velocity field along the paths. For a Lipschitz field it bounds W₂² (Albergo &
    /// Vanden-Eijnden 2023, proposition 3).
    Wasserstein2Bound,
    /// Not known.
    OffTheMap,
}

#[deprecated(note = "use `Divergence`")]
pub use Divergence as Discrepancy;

/// How the time to draw one row grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LatencyLaw {
    /// A constant: one pass.
    Constant,
    /// Linear in the number of coordinates.
    LinearInDim,
    /// Linear in the number of steps.
    LinearInSteps,
    /// Of parts one after the other: linear in the number of coordinates, and in the number of steps.
    LinearInDimAndSteps,
}

/// How a model can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureMode {
    /// Cost per row grows with dimension.
    SlowInDim,
    /// Errors in early coordinates are never corrected.
    ErrorAccumulation,
    /// Mass between the modes: the samples of a continuous decoder are blurred.
    Blur,
    /// The encoder is ignored: KL → 0.
    PosteriorCollapse,
    /// Whole modes are missing.
    ModeCollapse,
    /// The generator's gradient vanishes when the discriminator is certain.
    VanishingGradient,
    /// The players circle instead of converging.
    Oscillation,
    /// Many network evaluations per row.
    SlowInSteps,
    /// Few steps lose fidelity.
    DiscretizationError,
    /// The map is invertible and continuous, so thin bridges of density connect the modes.
    Bridges,
    /// The chain does not cross between modes.
    SlowMixing,
    /// Training ends in a local optimum; another start finds a better one.
    LocalOptimum,
    /// The number of rows needed grows exponentially with the dimension.
    CurseOfDimension,
}

/// The place of an objective and a sampling procedure on the map, and what the literature predicts for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which way of learning this is.
    pub paradigm: Paradigm,
    /// What the objective measures.
    pub divergence: Divergence,
    /// Which kind of value `log_likelihood` returns.
    pub likelihood: LikelihoodKind,
    /// How the latency grows.
    pub latency: LatencyLaw,
    /// The most likely failures, the likeliest first.
    pub failures: &'static [FailureMode],
}

/// The place of an objective and a sampling procedure on the map; `None` for a pair that no method uses.
///
/// Sources: Goodfellow, *Deep Learning*, ch. 20, and Bond-Taylor et al. 2022 (the comparison); Goodfellow et
/// al. 2014 (Jensen–Shannon); Arjovsky et al. 2017 (Wasserstein-1); Kingma & Welling 2014 (the bound);
/// Vincent 2011 (Fisher); Song et al. 2021b (the ODE).
pub fn place(objective: Objective, sampling: Sampling) -> Option<Place> {
    use FailureMode::*;
    use Objective as O;
    use Sampling as S;
    let (paradigm, divergence, likelihood, failures): (_, _, _, &[FailureMode]) = match (objective, sampling)
    {
        (O::ChainRuleNll, S::Sequential { .. }) => (
            Paradigm::Autoregressive,
            Divergence::ForwardKl,
            LikelihoodKind::Exact,
            &[SlowInDim, ErrorAccumulation],
        ),
        (O::ChangeOfVariables, S::OnePass | S::Sequential { .. }) => {
            (Paradigm::Flow, Divergence::ForwardKl, LikelihoodKind::Exact, &[Bridges])
        }
        (O::Elbo, S::OnePass) => (
            Paradigm::Latent,
            Divergence::ForwardKlBound,
            LikelihoodKind::LowerBound,
            &[Blur, PosteriorCollapse],
        ),
        (O::Minimax, S::OnePass) => (
            Paradigm::Adversarial,
            Divergence::JensenShannon,
            LikelihoodKind::Unavailable,
            &[VanishingGradient, ModeCollapse, Oscillation],
        ),
        (O::NonSaturatingR1, S::OnePass) => (
            Paradigm::Adversarial,
            Divergence::ReverseKlLessJs,
            LikelihoodKind::Unavailable,
            &[ModeCollapse, Oscillation],
        ),
        (O::Relativistic, S::OnePass) => {
            (Paradigm::Adversarial, Divergence::Relativistic, LikelihoodKind::Unavailable, &[Oscillation])
        }
        (O::WassersteinGp, S::OnePass) => (
            Paradigm::Adversarial,
            Divergence::Wasserstein1,
            LikelihoodKind::Unavailable,
            &[Blur, Oscillation],
        ),
        (O::NoisePrediction | O::ScoreMatching, S::Denoising { steps }) => (
            Paradigm::Diffusion,
            Divergence::Fisher,
            LikelihoodKind::OdeEstimate,
            if steps < 30 {
                &[DiscretizationError, SlowInSteps]
            } else {
                &[SlowInSteps, DiscretizationError]
            },
        ),
        (O::FlowMap, S::Flowing { .. }) => (
            Paradigm::Flow,
            Divergence::Wasserstein2Bound,
            LikelihoodKind::OdeEstimate,
            &[DiscretizationError, Bridges],
        ),
        // Of the probability-flow ODE of a diffusion.
        (O::Consistency, S::Flowing { .. }) => (
            Paradigm::Diffusion,
            Divergence::OffTheMap,
            LikelihoodKind::Unavailable,
            &[DiscretizationError, Bridges],
        ),
        (O::FlowMatching, S::Flowing { steps }) => (
            Paradigm::Flow,
            Divergence::Wasserstein2Bound,
            LikelihoodKind::OdeEstimate,
            if steps < 30 {
                &[DiscretizationError, SlowInSteps, Bridges]
            } else {
                &[SlowInSteps, DiscretizationError, Bridges]
            },
        ),
        (O::ScoreMatching, S::Langevin { .. }) => (
            Paradigm::Energy,
            Divergence::FisherAtOneLevel,
            LikelihoodKind::Unnormalized,
            &[SlowMixing, SlowInSteps],
        ),
        (O::ScoreMatching | O::SlicedScoreMatching, S::AnnealedLangevin { .. }) => (
            Paradigm::Energy,
            Divergence::Fisher,
            LikelihoodKind::Unavailable,
            &[SlowInSteps, DiscretizationError],
        ),
        (O::ContrastiveDivergence, S::Langevin { .. }) => (
            Paradigm::Energy,
            Divergence::ForwardKl,
            LikelihoodKind::Unnormalized,
            &[SlowMixing, Oscillation],
        ),
        (O::ExpectationMaximization, S::OnePass) => {
            (Paradigm::Baseline, Divergence::ForwardKl, LikelihoodKind::Exact, &[LocalOptimum, Blur])
        }
        (O::KernelSmoothing, S::OnePass) => {
            (Paradigm::Baseline, Divergence::ForwardKl, LikelihoodKind::Exact, &[Blur, CurseOfDimension])
        }
        (O::Counting, S::Sequential { .. }) => (
            Paradigm::Baseline,
            Divergence::ForwardKl,
            LikelihoodKind::Exact,
            &[CurseOfDimension, ErrorAccumulation],
        ),
        (O::PrincipalComponents, S::OnePass) => {
            (Paradigm::Latent, Divergence::ForwardKl, LikelihoodKind::Exact, &[Blur])
        }
        _ => return None,
    };
    Some(Place { paradigm, divergence, likelihood, latency: latency(sampling), failures })
}

pub(crate) fn latency(sampling: Sampling) -> LatencyLaw {
    match sampling {
        Sampling::OnePass => LatencyLaw::Constant,
        Sampling::Sequential { .. } => LatencyLaw::LinearInDim,
        Sampling::Denoising { .. }
        | Sampling::Flowing { .. }
        | Sampling::Langevin { .. }
        | Sampling::AnnealedLangevin { .. }
        // A composition adds up those of its parts.
        | Sampling::Staged { .. } => LatencyLaw::LinearInSteps,
    }
}

/// A model's objective and sampling procedure, and what the literature predicts for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// A short name, as shown in tables.
    pub name: Cow<'static, str>,
    /// Which way of learning it is.
    pub paradigm: Paradigm,
    /// What its training minimizes.
    pub objective: Objective,
    /// What the objective measures between data and model.
    pub divergence: Divergence,
    /// How it draws a row.
    pub sampling: Sampling,
    /// Number of network (function) evaluations per row.
    pub nfe: usize,
    /// How its latency grows.
    pub latency: LatencyLaw,
    /// What `log_likelihood` returns.
    pub likelihood: LikelihoodKind,
    /// The most likely failures, the likeliest first.
    pub failures: Cow<'static, [FailureMode]>,
    /// Of a composition, the cards of its parts; else empty.
    pub parts: Vec<Card>,
}

impl Card {
    /// The card of a model with this objective and sampling procedure, with the predictions of the literature if the
    /// pair is on the map.
    ///
    /// ```
    /// use quadrivium::map::{Card, Objective, Paradigm, Sampling};
    /// let card = Card::new("DDIM-50", Objective::NoisePrediction, Sampling::Denoising { steps: 50 });
    /// assert_eq!((card.paradigm, card.nfe), (Paradigm::Diffusion, 50));
    /// let card = Card::new("an experiment", Objective::Elbo, Sampling::Langevin { steps: 3 });
    /// assert_eq!(card.paradigm, Paradigm::OffTheMap);
    /// ```
    pub fn new(name: impl Into<Cow<'static, str>>, objective: Objective, sampling: Sampling) -> Self {
        let unknown = Place {
            paradigm: Paradigm::OffTheMap,
            divergence: Divergence::OffTheMap,
            likelihood: LikelihoodKind::Unavailable,
            latency: latency(sampling),
            failures: &[],
        };
        let place = place(objective, sampling).unwrap_or(unknown);
        Card {
            name: name.into(),
            paradigm: place.paradigm,
            objective,
            divergence: place.divergence,
            sampling,
            nfe: sampling.nfe(),
            latency: place.latency,
            likelihood: place.likelihood,
            failures: place.failures.into(),
            parts: Vec::new(),
        }
    }
}

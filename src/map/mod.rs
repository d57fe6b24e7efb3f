//! The map of the field as data: which objective and which sampling procedure make which paradigm, and what
//! the field predicts of it. The predictions stand here so that a test or a table can hold them against
//! measurements.
//!
//! ```
//! use quadrivium::map::{self, Objective, Paradigm, Sampling};
//! let place = map::place(Objective::NoisePrediction, Sampling::Denoising { steps: 50 }).unwrap();
//! assert_eq!(place.paradigm, Paradigm::Diffusion);
//! assert_eq!(place.latency.to_string(), "∝ steps");
//! // No one samples a GAN coordinate by coordinate.
//! assert!(map::place(Objective::Minimax, Sampling::Sequential { dim: 2 }).is_none());
//! ```

use std::borrow::Cow;
use std::fmt;

pub use crate::generative::LikelihoodKind;

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
    /// A density in closed form, without a network: the classical yardstick.
    Baseline,
}

/// What training minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Objective {
    /// −Σᵢ log p(xᵢ | x₁…xᵢ₋₁).
    ChainRuleNll,
    /// −log p_z(f(x)) − log |det ∂f/∂x|.
    ChangeOfVariables,
    /// −E_q[log p(x|z)] + KL(q(z|x) ‖ p(z)).
    Elbo,
    /// min_G max_D E[log D(x)] + E[log(1 − D(G(z)))], both players on the one value.
    Minimax,
    /// The generator maximises log D(G(z)); the discriminator pays (γ/2) E‖∇D(x)‖² on real rows.
    NonSaturatingR1,
    /// E[D(G(z))] − E[D(x)] + λ E(‖∇D(x̂)‖ − 1)².
    WassersteinGp,
    /// E‖ε − ε̂(x_t, t)‖².
    NoisePrediction,
    /// E‖v̂(x_t, t) − (x₁ − x₀)‖².
    FlowMatching,
    /// E‖s(x̃) − ∇ log q(x̃|x)‖².
    ScoreMatching,
    /// E[vᵀ(∂s/∂x)v + ½‖s‖²], v a random direction: score matching without the noise that was added.
    SlicedScoreMatching,
    /// E[E(x)] − E[E(x⁻)], x⁻ from a Markov chain.
    ContrastiveDivergence,
    /// −ln Σₖ wₖ N(x; μₖ, Σₖ), by expectation–maximisation.
    ExpectationMaximisation,
    /// −ln of the mean of kernels on the training rows, of which a rule or cross-validation finds the width.
    KernelSmoothing,
}

/// How a row is drawn, with the numbers that its cost depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sampling {
    /// One coordinate after the other.
    Sequential {
        /// Coordinates.
        dim: usize,
    },
    /// One pass of a network, or of a formula, over one draw of noise.
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
    /// Langevin moves on the score of data blurred less and less.
    AnnealedLangevin {
        /// Network evaluations.
        steps: usize,
    },
}

impl Sampling {
    /// Network evaluations per row.
    pub fn nfe(self) -> usize {
        match self {
            Sampling::OnePass => 1,
            Sampling::Sequential { dim: steps }
            | Sampling::Denoising { steps }
            | Sampling::Flowing { steps }
            | Sampling::Langevin { steps }
            | Sampling::AnnealedLangevin { steps } => steps,
        }
    }
}

/// What the objective measures between data and model, at its optimum over any helper network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Discrepancy {
    /// KL(data ‖ model): pays for every row that the model thinks impossible, so it covers all modes.
    ForwardKl,
    /// An upper bound on KL(data ‖ model).
    ForwardKlBound,
    /// Jensen–Shannon: saturates where data and model do not overlap.
    JensenShannon,
    /// KL(model ‖ data) − 2·Jensen–Shannon: cheap to miss a mode, dear to invent one. It has the gradient
    /// that the generator gets from the best discriminator while that stands, not the value (Arjovsky &
    /// Bottou 2017, theorem 2.5).
    ReverseKlLessJs,
    /// Wasserstein-1, where the penalty holds the critic to slope 1: grows with the distance that mass has to
    /// travel.
    Wasserstein1,
    /// Fisher divergence over the noise levels; weighted by g², a bound on the forward KL (Song, Durkan et
    /// al. 2021).
    Fisher,
    /// Fisher divergence from the data blurred by one noise level: what is learned is the blurred density.
    FisherAtOneLevel,
    /// The squared error of a velocity field, along the way: with a Lipschitz field a bound on W₂² (Albergo &
    /// Vanden-Eijnden 2023, proposition 3).
    Wasserstein2Bound,
}

/// How the time to draw one row grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LatencyLaw {
    /// A constant: one pass.
    Constant,
    /// Linear in the number of coordinates.
    LinearInDim,
    /// Linear in the number of steps.
    LinearInSteps,
}

/// What goes wrong when it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureMode {
    /// Cost per row grows with dimension.
    SlowInDim,
    /// Errors of early coordinates are never revised.
    ErrorAccumulation,
    /// Mass between the modes: samples of a continuous decoder blur.
    Blur,
    /// The encoder is ignored: KL → 0.
    PosteriorCollapse,
    /// Whole modes are missing.
    ModeCollapse,
    /// The generator's gradient vanishes against a sure discriminator.
    VanishingGradient,
    /// The players circle instead of converging.
    Oscillation,
    /// Many network evaluations per row.
    SlowInSteps,
    /// Few steps lose fidelity.
    DiscretisationError,
    /// The map must be invertible, so modes stay joined by thin bridges.
    Bridges,
    /// The chain does not cross between modes.
    SlowMixing,
    /// Training stops at an optimum that another start would better.
    LocalOptimum,
    /// The rows needed grow exponentially with dimension.
    CurseOfDimension,
}

/// Where an objective and a sampling procedure stand, and what the field predicts there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which way of learning this is.
    pub paradigm: Paradigm,
    /// What the objective measures.
    pub discrepancy: Discrepancy,
    /// What `log_likelihood` can say.
    pub likelihood: LikelihoodKind,
    /// How latency grows.
    pub latency: LatencyLaw,
    /// The likeliest failures, the first first.
    pub failures: &'static [FailureMode],
}

/// Where this pair stands; `None` for a pair that no method uses.
///
/// Sources: Goodfellow, *Deep Learning*, ch. 20, and Bond-Taylor et al. 2022 (the comparison); Goodfellow et
/// al. 2014 (Jensen–Shannon); Arjovsky et al. 2017 (Wasserstein-1); Kingma & Welling 2014 (the bound);
/// Vincent 2011 (Fisher); Song et al. 2021b (the ODE).
pub fn place(objective: Objective, sampling: Sampling) -> Option<Place> {
    use FailureMode::*;
    use Objective as O;
    use Sampling as S;
    let (paradigm, discrepancy, likelihood, failures): (_, _, _, &[FailureMode]) = match (objective, sampling)
    {
        (O::ChainRuleNll, S::Sequential { .. }) => (
            Paradigm::Autoregressive,
            Discrepancy::ForwardKl,
            LikelihoodKind::Exact,
            &[SlowInDim, ErrorAccumulation],
        ),
        (O::ChangeOfVariables, S::OnePass | S::Sequential { .. }) => {
            (Paradigm::Flow, Discrepancy::ForwardKl, LikelihoodKind::Exact, &[Bridges])
        }
        (O::Elbo, S::OnePass) => (
            Paradigm::Latent,
            Discrepancy::ForwardKlBound,
            LikelihoodKind::LowerBound,
            &[Blur, PosteriorCollapse],
        ),
        (O::Minimax, S::OnePass) => (
            Paradigm::Adversarial,
            Discrepancy::JensenShannon,
            LikelihoodKind::Unavailable,
            &[VanishingGradient, ModeCollapse, Oscillation],
        ),
        (O::NonSaturatingR1, S::OnePass) => (
            Paradigm::Adversarial,
            Discrepancy::ReverseKlLessJs,
            LikelihoodKind::Unavailable,
            &[ModeCollapse, Oscillation],
        ),
        (O::WassersteinGp, S::OnePass) => (
            Paradigm::Adversarial,
            Discrepancy::Wasserstein1,
            LikelihoodKind::Unavailable,
            &[Blur, Oscillation],
        ),
        (O::NoisePrediction | O::ScoreMatching, S::Denoising { steps }) => (
            Paradigm::Diffusion,
            Discrepancy::Fisher,
            LikelihoodKind::OdeEstimate,
            if steps < 30 {
                &[DiscretisationError, SlowInSteps]
            } else {
                &[SlowInSteps, DiscretisationError]
            },
        ),
        (O::FlowMatching, S::Flowing { steps }) => (
            Paradigm::Flow,
            Discrepancy::Wasserstein2Bound,
            LikelihoodKind::OdeEstimate,
            if steps < 30 {
                &[DiscretisationError, SlowInSteps, Bridges]
            } else {
                &[SlowInSteps, DiscretisationError, Bridges]
            },
        ),
        (O::ScoreMatching, S::Langevin { .. }) => (
            Paradigm::Energy,
            Discrepancy::FisherAtOneLevel,
            LikelihoodKind::Unnormalised,
            &[SlowMixing, SlowInSteps],
        ),
        (O::ScoreMatching | O::SlicedScoreMatching, S::AnnealedLangevin { .. }) => (
            Paradigm::Energy,
            Discrepancy::Fisher,
            LikelihoodKind::Unavailable,
            &[SlowInSteps, DiscretisationError],
        ),
        (O::ContrastiveDivergence, S::Langevin { .. }) => (
            Paradigm::Energy,
            Discrepancy::ForwardKl,
            LikelihoodKind::Unnormalised,
            &[SlowMixing, Oscillation],
        ),
        (O::ExpectationMaximisation, S::OnePass) => {
            (Paradigm::Baseline, Discrepancy::ForwardKl, LikelihoodKind::Exact, &[LocalOptimum, Blur])
        }
        (O::KernelSmoothing, S::OnePass) => {
            (Paradigm::Baseline, Discrepancy::ForwardKl, LikelihoodKind::Exact, &[Blur, CurseOfDimension])
        }
        _ => return None,
    };
    let latency = match sampling {
        S::OnePass => LatencyLaw::Constant,
        S::Sequential { .. } => LatencyLaw::LinearInDim,
        S::Denoising { .. } | S::Flowing { .. } | S::Langevin { .. } | S::AnnealedLangevin { .. } => {
            LatencyLaw::LinearInSteps
        }
    };
    Some(Place { paradigm, discrepancy, likelihood, latency, failures })
}

/// Where a model stands: its parts, and what the field predicts of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// A short name, as a table's row shows it.
    pub name: Cow<'static, str>,
    /// Which way of learning it is.
    pub paradigm: Paradigm,
    /// What its training minimises.
    pub objective: Objective,
    /// What that measures between data and model.
    pub discrepancy: Discrepancy,
    /// How it draws a row.
    pub sampling: Sampling,
    /// Network evaluations per row.
    pub nfe: usize,
    /// How its latency grows.
    pub latency: LatencyLaw,
    /// What `log_likelihood` returns.
    pub likelihood: LikelihoodKind,
    /// The likeliest failures, the first first.
    pub failures: &'static [FailureMode],
}

impl Card {
    /// The card of a model that stands at `place(objective, sampling)`.
    ///
    /// # Panics
    /// If no method uses that pair: a mistake of the model's author, not of its user.
    pub(crate) fn new(name: impl Into<Cow<'static, str>>, objective: Objective, sampling: Sampling) -> Self {
        let place = place(objective, sampling).expect("a model stands on the map");
        Card {
            name: name.into(),
            paradigm: place.paradigm,
            objective,
            discrepancy: place.discrepancy,
            sampling,
            nfe: sampling.nfe(),
            latency: place.latency,
            likelihood: place.likelihood,
            failures: place.failures,
        }
    }
}

/// `Display` by a table of words; `pad` so that a width in a format string works.
macro_rules! words {
    ($type:ty { $($pattern:pat => $word:expr),+ $(,)? }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $($pattern => $word),+ })
            }
        }
    };
}

words!(Paradigm {
    Paradigm::Autoregressive => "autoregressive",
    Paradigm::Latent => "latent-variable",
    Paradigm::Adversarial => "adversarial",
    Paradigm::Diffusion => "diffusion",
    Paradigm::Flow => "flow",
    Paradigm::Energy => "energy-based",
    Paradigm::Baseline => "baseline",
});

words!(Objective {
    Objective::ChainRuleNll => "chain-rule NLL",
    Objective::ChangeOfVariables => "change of variables",
    Objective::Elbo => "ELBO",
    Objective::Minimax => "minimax",
    Objective::NonSaturatingR1 => "non-saturating + R1",
    Objective::WassersteinGp => "Wasserstein + GP",
    Objective::NoisePrediction => "noise MSE",
    Objective::FlowMatching => "flow matching",
    Objective::ScoreMatching => "score matching",
    Objective::SlicedScoreMatching => "sliced score matching",
    Objective::ContrastiveDivergence => "contrastive divergence",
    Objective::ExpectationMaximisation => "EM",
    Objective::KernelSmoothing => "kernel smoothing",
});

words!(Discrepancy {
    Discrepancy::ForwardKl => "KL(data‖model)",
    Discrepancy::ForwardKlBound => "bound on KL(data‖model)",
    Discrepancy::JensenShannon => "Jensen–Shannon",
    Discrepancy::ReverseKlLessJs => "KL(model‖data) − 2·JS",
    Discrepancy::Wasserstein1 => "Wasserstein-1",
    Discrepancy::Fisher => "Fisher, over noise levels",
    Discrepancy::FisherAtOneLevel => "Fisher, one noise level",
    Discrepancy::Wasserstein2Bound => "bound on Wasserstein-2²",
});

words!(LatencyLaw {
    LatencyLaw::Constant => "constant",
    LatencyLaw::LinearInDim => "∝ dim",
    LatencyLaw::LinearInSteps => "∝ steps",
});

words!(FailureMode {
    FailureMode::SlowInDim => "slow in dim",
    FailureMode::ErrorAccumulation => "error accumulates",
    FailureMode::Blur => "blur",
    FailureMode::PosteriorCollapse => "posterior collapse",
    FailureMode::ModeCollapse => "mode collapse",
    FailureMode::VanishingGradient => "vanishing gradient",
    FailureMode::Oscillation => "oscillation",
    FailureMode::SlowInSteps => "slow",
    FailureMode::DiscretisationError => "few steps lose detail",
    FailureMode::Bridges => "bridges",
    FailureMode::SlowMixing => "slow mixing",
    FailureMode::LocalOptimum => "local optimum",
    FailureMode::CurseOfDimension => "curse of dimension",
});

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sampling::Sequential { .. } => f.pad("one coordinate at a time"),
            Sampling::OnePass => f.pad("one pass"),
            Sampling::Denoising { steps } => f.pad(&format!("{steps} denoising steps")),
            Sampling::Flowing { steps } => f.pad(&format!("{steps} ODE evaluations")),
            Sampling::Langevin { steps } => f.pad(&format!("{steps} Langevin steps")),
            Sampling::AnnealedLangevin { steps } => f.pad(&format!("{steps} annealed steps")),
        }
    }
}

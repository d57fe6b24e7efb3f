//! The map's entries as they stand in tables.

use std::fmt;

use super::{Divergence, FailureMode, LatencyLaw, Objective, Paradigm, Sampling};

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
    Paradigm::Hybrid => "hybrid",
    Paradigm::OffTheMap => "off the map",
});

words!(Objective {
    Objective::ChainRuleNll => "chain-rule NLL",
    Objective::ChangeOfVariables => "change of variables",
    Objective::Elbo => "ELBO",
    Objective::Minimax => "minimax",
    Objective::NonSaturatingR1 => "non-saturating + R1",
    Objective::Relativistic => "relativistic + R1 + R2",
    Objective::WassersteinGp => "Wasserstein + GP",
    Objective::NoisePrediction => "noise MSE",
    Objective::FlowMatching => "flow matching",
    Objective::FlowMap => "flow map",
    Objective::Consistency => "consistency",
    Objective::ScoreMatching => "score matching",
    Objective::SlicedScoreMatching => "sliced score matching",
    Objective::ContrastiveDivergence => "contrastive divergence",
    Objective::ExpectationMaximization => "EM",
    Objective::KernelSmoothing => "kernel smoothing",
    Objective::Counting => "counts",
    Objective::PrincipalComponents => "principal components",
    Objective::Staged => "in stages",
    Objective::OffTheMap => "none on the map",
});

words!(Divergence {
    Divergence::ForwardKl => "KL(data‖model)",
    Divergence::ForwardKlBound => "bound on KL(data‖model)",
    Divergence::JensenShannon => "Jensen–Shannon",
    Divergence::ReverseKlLessJs => "KL(model‖data) − 2·JS",
    Divergence::Relativistic => "relativistic divergence",
    Divergence::Wasserstein1 => "Wasserstein-1",
    Divergence::Fisher => "Fisher, over noise levels",
    Divergence::FisherAtOneLevel => "Fisher, one noise level",
    Divergence::Wasserstein2Bound => "bound on Wasserstein-2²",
    Divergence::OffTheMap => "unknown",
});

words!(LatencyLaw {
    LatencyLaw::Constant => "constant",
    LatencyLaw::LinearInDim => "∝ dim",
    LatencyLaw::LinearInSteps => "∝ steps",
    LatencyLaw::LinearInDimAndSteps => "∝ dim + steps",
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
    FailureMode::DiscretizationError => "few steps lose detail",
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
            Sampling::Staged { evaluations } => f.pad(&format!("{evaluations} evaluations in stages")),
        }
    }
}

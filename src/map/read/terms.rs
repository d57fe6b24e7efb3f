//! The words of a reading: objectives, procedures, stages, claims, reasons, passes.

use std::fmt;

use crate::map::{Objective, Paradigm};

/// An enum whose variants have a word each, by which the table of rules names them.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$of])* $variant),+ }

        impl $name {
            /// All of them.
            pub const ALL: [$name; [$($name::$variant),+].len()] = [$($name::$variant),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $($name::$variant => $word),+ })
            }
        }
    };
}

words! {
    /// What a text says that training minimizes. Finer than [`Objective`] where texts are, coarser where they are
    /// vague.
    Aim {
        /// −Σ log p(xᵢ | x₁…xᵢ₋₁).
        NextToken = "next-token cross-entropy",
        /// The negative ELBO.
        ReconstructionKl = "reconstruction + KL",
        /// A reconstruction from a vector of a codebook.
        ReconstructionCodebook = "reconstruction + codebook",
        /// A game of a generator and a critic; which one is not stated.
        AdversarialGame = "adversarial game",
        /// One value for both players.
        Minimax = "minimax",
        /// The generator maximizes log D(G(z)).
        NonSaturating = "non-saturating",
        /// The same, with a penalty on the discriminator's gradient at real rows.
        NonSaturatingR1 = "non-saturating + R1",
        /// max(0, 1 ∓ D).
        Hinge = "hinge",
        /// (D − 1)² and D².
        LeastSquares = "least squares",
        /// The critic's difference of means, its slope kept small somehow.
        Wasserstein = "Wasserstein",
        /// The same, by a penalty on its gradient.
        WassersteinGp = "Wasserstein + gradient penalty",
        /// Real and generated rows in pairs.
        Relativistic = "relativistic",
        /// The squared error of the noise, of the clean data or of a mixture of both; denoising score matching.
        NoiseMse = "noise MSE",
        /// Two places of a trajectory lead to the same end.
        Consistency = "consistency",
        /// The cross-entropy of masked symbols at random levels of masking.
        MaskedCrossEntropy = "masked cross-entropy",
        /// −log p(x) by the change of variables.
        ExactLikelihood = "exact log-likelihood",
        /// The squared error of a velocity.
        VelocityMse = "velocity MSE",
        /// KL(student ‖ teacher), both with a density.
        DensityDistillation = "probability density distillation",
        /// Energies of data against those of a chain.
        ContrastiveDivergence = "contrastive divergence",
    }
}

impl Aim {
    /// The objective on the map that is nearest.
    pub fn objective(self) -> Objective {
        match self {
            Aim::NextToken => Objective::ChainRuleNll,
            Aim::ReconstructionKl | Aim::ReconstructionCodebook => Objective::Elbo,
            Aim::AdversarialGame | Aim::Minimax | Aim::Hinge | Aim::LeastSquares => Objective::Minimax,
            Aim::NonSaturating | Aim::NonSaturatingR1 => Objective::NonSaturatingR1,
            Aim::Wasserstein | Aim::WassersteinGp => Objective::WassersteinGp,
            Aim::Relativistic => Objective::Relativistic,
            Aim::NoiseMse | Aim::MaskedCrossEntropy => Objective::NoisePrediction,
            Aim::Consistency => Objective::Consistency,
            Aim::ExactLikelihood | Aim::DensityDistillation => Objective::ChangeOfVariables,
            Aim::VelocityMse => Objective::FlowMatching,
            Aim::ContrastiveDivergence => Objective::ContrastiveDivergence,
        }
    }

    /// Whether [`objective`](Aim::objective) is the very one, with its divergence.
    pub(super) fn is_on_the_map(self) -> bool {
        use Aim::*;
        !matches!(
            self,
            AdversarialGame
                | Hinge
                | LeastSquares
                | NonSaturating
                | Wasserstein
                | MaskedCrossEntropy
                | DensityDistillation
        )
    }

    /// What a component of this paradigm minimizes if nothing is said.
    pub(super) fn implied(paradigm: Paradigm) -> Aim {
        match paradigm {
            Paradigm::Autoregressive => Aim::NextToken,
            Paradigm::Latent => Aim::ReconstructionKl,
            Paradigm::Adversarial => Aim::AdversarialGame,
            Paradigm::Flow => Aim::ExactLikelihood,
            Paradigm::Energy => Aim::ContrastiveDivergence,
            _ => Aim::NoiseMse,
        }
    }

    /// Whether it says no more than that there is a game.
    pub(super) fn is_vague(self) -> bool {
        self == Aim::AdversarialGame
    }
}

words! {
    /// How a component is sampled.
    Procedure {
        /// Element after element.
        Sequential = "sequential",
        /// One evaluation.
        OnePass = "one pass",
        /// Many evaluations, all elements at once.
        MultiStep = "multi-step",
        /// A Markov chain on an energy.
        Chain = "chain",
    }
}

words! {
    /// Which part of training a component is.
    Stage {
        /// Trained as such.
        Training = "training",
        /// Changes a network that has been trained otherwise.
        FineTuning = "fine-tuning",
        /// Learned from a trained model.
        Distilled = "distilled",
        /// A term in the training of another component.
        Auxiliary = "auxiliary loss",
    }
}

words! {
    /// A claim against the grain of a paradigm.
    Claim {
        /// A diffusion in one pass.
        OneStep = "one step",
        /// An autoregressive model that draws several elements at once.
        Parallel = "parallel",
        /// A likelihood that the paradigm does not have.
        ExactLikelihood = "exact likelihood",
    }
}

words! {
    /// Why a text has no place among the paradigms.
    Outside {
        /// A label for an input.
        Classifier = "classifier",
        /// Similar things near each other: retrieval, embeddings.
        Contrastive = "contrastive",
        /// What is masked, from both sides.
        MaskedPrediction = "masked prediction",
        /// One value for an input.
        Regression = "regression",
        /// Actions for a reward.
        Policy = "policy",
        /// A sampler that is trained on a score of its forecasts.
        ScoringRule = "scoring rule",
        /// Features, without labels.
        Representation = "representation learning",
        /// Equations, solved.
        Simulation = "simulation",
        /// Nothing that is known.
        CannotTell = "cannot tell",
    }
}

impl Outside {
    /// The reason, as a sentence.
    pub fn reason(self) -> &'static str {
        match self {
            Outside::Classifier => "classifier: it predicts labels of an input, and draws nothing",
            Outside::Contrastive => {
                "contrastive: it moves similar inputs near each other, for retrieval, and draws nothing"
            }
            Outside::MaskedPrediction => {
                "masked prediction: it fills in what is hidden, from all sides, which is no factor of a chain rule"
            }
            Outside::Regression => "regression: it predicts one value for an input, no distribution",
            Outside::Policy => "policy: it is trained by rewards, not on the distribution of data",
            Outside::ScoringRule => {
                "scoring rule: it draws samples, but is trained on a score of them, by none of the map's objectives"
            }
            Outside::Representation => "representation learning: it computes features, and draws nothing",
            Outside::Simulation => "simulation: it solves equations, and learns no distribution",
            Outside::CannotTell => {
                "cannot tell: the text names no objective and no sampling procedure of the map"
            }
        }
    }
}

/// Network evaluations per sample, part by part.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Passes {
    /// One of each component that is evaluated to draw a sample.
    pub terms: Vec<Term>,
}

/// The evaluations of one component: a number that the text gives or not, times a factor.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// From–to.
    pub number: Option<(usize, usize)>,
    /// What is counted: "step", "token".
    pub unit: &'static str,
    /// Evaluations for each.
    pub factor: usize,
    /// Where a factor of 2 comes from.
    pub because: &'static str,
}

impl Passes {
    /// From–to, if the text gives all numbers.
    ///
    /// ```
    /// use quadrivium::map::read::read;
    /// assert_eq!(read("A GAN.").passes.total(), Some((1, 1)));
    /// assert_eq!(read("A diffusion model.").passes.total(), None);
    /// ```
    pub fn total(&self) -> Option<(usize, usize)> {
        let sum = |sum: (usize, usize), term: &Term| {
            let (low, high) = term.number?;
            Some((sum.0 + low * term.factor, sum.1 + high * term.factor))
        };
        self.terms.iter().try_fold((0, 0), sum).filter(|_| !self.terms.is_empty())
    }
}

impl fmt::Display for Passes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms: Vec<String> = self.terms.iter().map(Term::to_string).collect();
        f.write_str(&terms.join(" + "))?;
        let counted = self.terms.len() > 1 || self.terms.iter().any(|term| term.factor > 1);
        match self.total() {
            Some(total) if counted => write!(f, " = {}", range(total)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = if self.unit.ends_with('s') { "es" } else { "s" };
        match self.number {
            Some((1, 1)) => write!(f, "1 {}", self.unit)?,
            Some(number) => write!(f, "{} {}{many}", range(number), self.unit)?,
            None => write!(f, "{}{many}", self.unit)?,
        }
        match self.factor {
            1 if self.unit == "token" => f.write_str(" × 1"),
            1 => Ok(()),
            factor => write!(f, " × {factor} ({})", self.because),
        }
    }
}

fn range((low, high): (usize, usize)) -> String {
    if low == high { low.to_string() } else { format!("{low}–{high}") }
}

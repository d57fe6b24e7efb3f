//! Reading a description of a model: which paradigms it combines, what each minimizes, how each is sampled, what
//! that predicts, and what the text does not say.
//!
//! # The procedure, in ten minutes
//!
//! A release note or an abstract is read in four steps:
//!
//! 1. **Find the objective.** What does training minimize? It decides the paradigm, whatever the name: a "diffusion
//!    transformer" that regresses a velocity is a flow, and a "policy" that predicts noise is a diffusion.
//! 2. **Find the sampling procedure.** Element after element, one pass, or many steps? Where the objective is not
//!    stated, the procedure often gives it away: nobody has a DDIM sampler without a noise predictor.
//! 3. **Predict the trade-offs**: the likelihood, how latency grows, how it fails. They follow from the first two,
//!    by [`place`](super::place).
//! 4. **Place it**, or name the combination, with the parts in their stages.
//!
//! Beware of what is not said of the system: "unlike diffusion models", "without a discriminator", "earlier
//! versions used a VAE", "detects images that were made by a GAN". And of what has no place on the map: a
//! classifier, a retriever, a policy for rewards, a network that fills in masked words.
//!
//! [`read`] does this by [`Rules`], a table that can be read and extended. Each conclusion names its evidence, and
//! what the text does not say is listed as not stated.
//!
//! ```
//! use quadrivium::map::{Paradigm, read};
//! let text = "Text to image: a VAE at an eighth of the resolution, then 50 DDIM steps with classifier-free guidance.";
//! let reading = read(text);
//! let paradigms: Vec<Paradigm> = reading.components.iter().map(|part| part.paradigm).collect();
//! assert_eq!(paradigms, [Paradigm::Latent, Paradigm::Diffusion]);
//! assert_eq!(reading.passes.to_string(), "50 steps × 2 (guidance) + 1 decoder pass = 101");
//! let evidence = &reading.components[0].evidence[0];
//! assert_eq!(&text[evidence.span.clone()], "VAE");
//! ```
//!
//! # Worked readings
//!
//! **A.** A causal transformer learns to predict the next token. *Objective:* next-token cross-entropy, so
//! autoregressive. *Sampling:* sequential, a pass for each token. *Predicted:* latency grows with the length, a
//! token costs about the same at each place if keys and values are cached, the likelihood is exact.
//!
//! ```
//! use quadrivium::{LikelihoodKind, map::{LatencyLaw, read::{Aim, Procedure, read}}};
//! let a = read("A causal transformer with 70B parameters, trained to predict the next token, served with a KV cache.");
//! let part = &a.components[0];
//! assert_eq!((part.aim, part.procedure), (Aim::NextToken, Procedure::Sequential));
//! assert_eq!(a.likelihood, Some(LikelihoodKind::Exact));
//! assert_eq!((part.place.latency, a.passes.to_string()), (LatencyLaw::LinearInDim, "tokens × 1".into()));
//! ```
//!
//! **B.** A learned encoder and decoder, and DDIM with guidance in the latents: two components, trained one after
//! the other. *Predicted:* 50 × 2 passes and one of the decoder; a lower bound at best, since a sum of parts has
//! the weakest likelihood of its parts; no detail that the decoder cannot draw.
//!
//! **C.** A generator against a critic with the Wasserstein loss and a gradient penalty. *Objective:* a game, so
//! adversarial. *Predicted:* one pass, sharp, no likelihood.
//!
//! ```
//! use quadrivium::{LikelihoodKind, map::read::{Aim, read}};
//! let c = read("Faces of 1024² from 512 numbers: Wasserstein loss with gradient penalty, one pass of the generator.");
//! assert_eq!((c.components[0].aim, c.likelihood), (Aim::WassersteinGp, Some(LikelihoodKind::Unavailable)));
//! assert_eq!(c.passes.total(), Some((1, 1)));
//! ```
//!
//! **D.** "A transformer denoises spatio-temporal latents in 25–50 DDIM steps." The sampler gives the objective
//! away: noise prediction. An encoder is not mentioned, so that no latent-variable component is claimed.
//! *Predicted:* latency grows with steps and with the size of the clip.
//!
//! ```
//! use quadrivium::map::read::read;
//! let d = read("Text to video: a transformer denoises spatio-temporal latents in 25–50 DDIM steps.");
//! assert_eq!((d.components.len(), d.passes.total()), (1, Some((25, 50))));
//! assert!(d.tradeoffs.iter().any(|said| said.contains("clip")));
//! ```
//!
//! **E.** A language model whose output conditions a diffusion model: two components, and their latencies add up.
//!
//! ```
//! use quadrivium::map::{Paradigm, read::read};
//! let e = read("The output of a large language model conditions a diffusion image generator.");
//! let paradigms: Vec<_> = e.components.iter().map(|part| part.paradigm).collect();
//! assert_eq!(paradigms, [Paradigm::Autoregressive, Paradigm::Diffusion]);
//! assert!(e.not_stated.iter().any(|what| what.contains("number of steps")));
//! ```
//!
//! # Exercises
//!
//! Read before you look at the answer.
//!
//! 1. "Unlike GANs, our vocoder has no discriminator: affine couplings are trained by the exact likelihood."
//! 2. "A one-step diffusion model."
//! 3. "The network predicts the masked words of a sentence from both sides."
//! 4. "An ensemble forecast, trained on the continuous ranked probability score."
//! 5. "A VAE whose latents are drawn by a transformer that predicts the next code."
//!
//! ```
//! use quadrivium::map::{Paradigm, read::{Claim, Outside, read}};
//! // 1. A flow. What it is compared with and what it has not is no evidence.
//! let flow = read("Unlike GANs, our vocoder has no discriminator: affine couplings are trained by the exact likelihood.");
//! assert_eq!(flow.components.len(), 1);
//! assert_eq!(flow.components[0].paradigm, Paradigm::Flow);
//! assert_eq!(flow.set_aside.len(), 2);
//! // 2. A diffusion in one pass is unusual: it is probably distilled.
//! assert_eq!(read("A one-step diffusion model.").unusual[0].claim, Claim::OneStep);
//! // 3. No factor of the chain rule, no noise: outside.
//! let masked = read("The network predicts the masked words of a sentence from both sides.");
//! assert_eq!((masked.components.len(), masked.outside), (0, Some(Outside::MaskedPrediction)));
//! // 4. It draws samples, but by none of the objectives of the map.
//! let scored = read("An ensemble forecast, trained on the continuous ranked probability score.");
//! assert_eq!(scored.outside, Some(Outside::ScoringRule));
//! // 5. Latent-variable and autoregressive; the bound of the VAE is the weaker likelihood.
//! let both = read("A VAE whose latents are drawn by a transformer that predicts the next code.");
//! assert_eq!(both.likelihood, Some(quadrivium::LikelihoodKind::LowerBound));
//! ```
//!
//! # How well it reads
//!
//! [`results`](crate::results) has its figures on texts that its rules were not written for, and each of its
//! mistakes. It reads words, not arguments: irony, pronouns across sentences and figures in pictures are beyond it,
//! and it knows no language but English.

mod card;
mod conclude;
mod context;
mod evidence;
mod place;
mod rules;
mod table;
mod terms;
#[cfg(test)]
mod tests;
mod text;

use std::ops::Range;
use std::sync::Arc;

use super::{FailureMode, LikelihoodKind, Paradigm, Place};

pub use rules::{Reach, Rule, RuleError, Rules, Sign, Tone};
pub use terms::{Aim, Claim, Outside, Passes, Procedure, Stage, Term};

/// The paradigms that a text can be read as, in the order in which components are listed.
const PARADIGMS: [Paradigm; 6] = [
    Paradigm::Autoregressive,
    Paradigm::Flow,
    Paradigm::Latent,
    Paradigm::Energy,
    Paradigm::Diffusion,
    Paradigm::Adversarial,
];

/// Reads a description by [`Rules::standard`]: the model's paradigms, with evidence. Time is linear in the length
/// of the text; no text makes it panic.
///
/// ```
/// use quadrivium::map::read::{Outside, read};
/// assert_eq!(read("A random forest.").outside, Some(Outside::Classifier));
/// assert_eq!(read("Good morning.").outside, Some(Outside::CannotTell));
/// ```
pub fn read(text: &str) -> Reading {
    Rules::standard().read(text)
}

impl Rules {
    /// Reads a description by these rules; see [`read`].
    pub fn read(&self, text: &str) -> Reading {
        place::reading(self, text).0
    }
}

/// What a description says of a model, and what follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The parts of the model, in the order autoregressive, flow, latent-variable, energy-based, diffusion,
    /// adversarial.
    pub components: Vec<Component>,
    /// What samples are conditioned on: "text", "class", "image", "sound", "attributes".
    pub conditioning: Vec<&'static str>,
    /// The likelihood that the combination has at best; `None` if there is no component.
    pub likelihood: Option<LikelihoodKind>,
    /// Network evaluations per sample.
    pub passes: Passes,
    /// What the components predict, as sentences.
    pub tradeoffs: Vec<&'static str>,
    /// How the components fail, the likeliest first.
    pub failures: Vec<FailureMode>,
    /// Claims against the grain of a paradigm.
    pub unusual: Vec<Unusual>,
    /// What the text does not say.
    pub not_stated: Vec<String>,
    /// Why the text has no place on the map, or a part of it has none.
    pub outside: Option<Outside>,
    /// What was read for [`outside`](Reading::outside).
    pub outside_evidence: Vec<Evidence>,
    /// What would be evidence if it were said of the system: of other systems, earlier versions, or denied.
    pub set_aside: Vec<Evidence>,
}

/// A part of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Where it is on the map.
    pub paradigm: Paradigm,
    /// What its training minimizes; what its paradigm implies if that is not stated.
    pub aim: Aim,
    /// Whether the text says what is minimized.
    pub aim_stated: bool,
    /// How it is sampled; what its objective implies if that is not stated.
    pub procedure: Procedure,
    /// Whether the text says how it is sampled.
    pub procedure_stated: bool,
    /// Which part of training it is.
    pub stage: Stage,
    /// Whether it is guided, so that a step evaluates the network twice.
    pub guided: bool,
    /// What the map predicts.
    pub place: Place,
    /// The sum of the weights of the rules that were met.
    pub weight: f64,
    /// Where the text says so, in the order of the text.
    pub evidence: Vec<Evidence>,
}

/// A place in the text that meets a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Bytes of the text, from the first word of the pattern to its last.
    pub span: Range<usize>,
    /// The rule.
    pub rule: Arc<Rule>,
    /// How the text speaks of it.
    pub tone: Tone,
}

/// A claim against the grain of a paradigm.
#[derive(Debug, Clone, PartialEq)]
pub struct Unusual {
    /// What is claimed.
    pub claim: Claim,
    /// What it probably is.
    pub probably: &'static str,
    /// Where.
    pub evidence: Option<Evidence>,
}

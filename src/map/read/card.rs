//! What follows from the components, in sentences, and the reading as a card for a terminal.

use std::fmt::Write;

use super::terms::{Aim, Passes, Procedure, Stage};
use super::{Component, Evidence, Reading};
use crate::map::{LatencyLaw, Paradigm};

/// What the components predict, from the literature's comparison of the paradigms.
pub fn tradeoffs(components: &[Component], clips: bool) -> Vec<&'static str> {
    let mut said = Vec::new();
    let has = |paradigm| components.iter().any(|part: &Component| part.paradigm == paradigm);
    for part in components {
        match (part.paradigm, part.stage, part.aim) {
            (Paradigm::Autoregressive, ..) => said.extend([
                "latency grows with the length; if keys and values are cached, a token costs about the same at each place",
                "exact likelihood: perplexities are comparable between models of the same vocabulary",
            ]),
            (Paradigm::Latent, ..) if components.len() > 1 => {
                said.push("the codec's compression limits the resolution of what is drawn");
            }
            (Paradigm::Latent, ..) => said.push("one pass, whatever the content; a bound on the likelihood; samples tend to blur"),
            (Paradigm::Adversarial, Stage::FineTuning, _) => {
                said.push("the game sharpens samples of few steps, and loses some coverage and the likelihood");
            }
            (Paradigm::Adversarial, Stage::Auxiliary, _) => said.push("the game sharpens what the decoder draws"),
            (Paradigm::Adversarial, ..) => said.extend([
                "one pass and sharp samples, without a likelihood; modes can be missing",
                "directions of the latent space control attributes",
            ]),
            (Paradigm::Diffusion, Stage::Distilled, _) => {
                said.push("few steps: some quality and the likelihood are lost against the teacher");
            }
            (Paradigm::Diffusion, _, Aim::MaskedCrossEntropy) => {
                said.push("latency grows with the steps, not with the length; a bound on the likelihood");
            }
            (Paradigm::Diffusion, ..) if part.procedure == Procedure::OnePass => (),
            (Paradigm::Diffusion, ..) => said.push("latency grows with the number of steps; good coverage; one stable objective"),
            (Paradigm::Flow, _, Aim::VelocityMse) => said.push("latency grows with the number of steps of the ODE"),
            (Paradigm::Flow, ..) => said.push("exact likelihood and one pass; invertible layers need many parameters and leave bridges"),
            (Paradigm::Energy, ..) => said.push("any network can be an energy; chains mix slowly, and the normalization is unknown"),
            _ => (),
        }
        if part.guided {
            said.push(
                "guidance: samples adhere to the condition more and differ less, at twice the evaluations",
            );
        }
    }
    if clips && components.iter().any(|part| part.procedure == Procedure::MultiStep) {
        said.push("a step costs as much as the whole clip is large");
    }
    let growing = components.iter().filter(|part| part.place.latency != LatencyLaw::Constant).count();
    if growing > 1 || has(Paradigm::Autoregressive) && components.len() > 1 {
        said.push("the parts run one after the other, so their latencies add up");
    }
    said
}

/// What a reader would want to know and the text does not say.
pub fn not_stated(
    components: &[Component],
    conditions: &[&str],
    passes: &Passes,
    likelihood: bool,
) -> Vec<String> {
    let mut missing = Vec::new();
    for part in components {
        if !part.aim_stated {
            missing.push(format!(
                "objective of the {} component (its paradigm implies {})",
                part.paradigm, part.aim
            ));
        } else if part.aim.is_vague() {
            missing.push(format!("which game the {} component plays", part.paradigm));
        }
        if !part.procedure_stated && part.stage != Stage::FineTuning && part.stage != Stage::Auxiliary {
            missing.push(format!(
                "sampling procedure of the {} component (its objective implies {})",
                part.paradigm, part.procedure
            ));
        }
    }
    let unknown = passes.terms.iter().filter(|term| term.number.is_none());
    missing.extend(unknown.map(|term| format!("number of {}s", term.unit)));
    if !components.is_empty() {
        if conditions.is_empty() {
            missing.push("what samples are conditioned on".into());
        }
        if !likelihood {
            missing.push("likelihood (the map's prediction is given)".into());
        }
    }
    missing
}

/// The most places of evidence that the card quotes for one thing.
const QUOTED: usize = 4;

impl Reading {
    /// The reading as a card for a terminal, with quotes from `text`, which must be the text that was read.
    ///
    /// ```
    /// let text = "Unlike GANs, we predict the noise.";
    /// let card = quadrivium::map::read::read(text).card(text);
    /// assert!(card.contains("“predict the noise”") && card.contains("set aside"));
    /// ```
    pub fn card(&self, text: &str) -> String {
        let mut card = Card { text, lines: String::new() };
        for part in &self.components {
            let stage =
                if part.stage == Stage::Training { String::new() } else { format!(" ({})", part.stage) };
            card.line("component", format_args!("{}{stage}", part.paradigm));
            let implied = |stated| if stated { "" } else { ", implied" };
            card.line("", format_args!("objective: {}{}", part.aim, implied(part.aim_stated)));
            card.line("", format_args!("sampling: {}{}", part.procedure, implied(part.procedure_stated)));
            card.quotes(&part.evidence);
        }
        if let Some(outside) = self.outside {
            card.line("outside", format_args!("{}", outside.reason()));
            card.quotes(&self.outside_evidence);
        }
        if !self.conditioning.is_empty() {
            card.line("condition", format_args!("{}", self.conditioning.join(", ")));
        }
        if let Some(likelihood) = self.likelihood {
            card.line("likelihood", format_args!("{likelihood}"));
        }
        if !self.passes.terms.is_empty() {
            card.line("passes", format_args!("{}", self.passes));
        }
        card.list("predicted", &self.tradeoffs);
        let failures: Vec<String> = self.failures.iter().map(ToString::to_string).collect();
        if !failures.is_empty() {
            card.line("can fail by", format_args!("{}", failures.join(", ")));
        }
        for unusual in &self.unusual {
            card.line("unusual", format_args!("{}: probably {}", unusual.claim, unusual.probably));
            card.quotes(unusual.evidence.as_slice());
        }
        card.list("not stated", &self.not_stated);
        for evidence in self.set_aside.iter().take(QUOTED) {
            let quote = card.quote(evidence);
            card.line("set aside", format_args!("{quote} is {}", evidence.tone));
        }
        card.lines
    }
}

struct Card<'a> {
    text: &'a str,
    lines: String,
}

impl Card<'_> {
    fn line(&mut self, what: &str, said: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.lines, "{what:<12}{said}");
    }

    fn list(&mut self, what: &str, said: &[impl AsRef<str>]) {
        for (at, said) in said.iter().enumerate() {
            self.line(if at == 0 { what } else { "" }, format_args!("{}", said.as_ref()));
        }
    }

    fn quotes(&mut self, evidence: &[Evidence]) {
        let mut quotes: Vec<String> = Vec::new();
        for evidence in evidence {
            let quote = self.quote(evidence);
            if !quotes.contains(&quote) && quotes.len() < QUOTED {
                quotes.push(quote);
            }
        }
        if !quotes.is_empty() {
            self.line("", format_args!("evidence: {}", quotes.join(", ")));
        }
    }

    /// The words of the text on one line.
    fn quote(&self, evidence: &Evidence) -> String {
        let words = self.text.get(evidence.span.clone()).unwrap_or_default().split_whitespace();
        format!("“{}”", words.collect::<Vec<_>>().join(" "))
    }
}

#[cfg(feature = "safetensors")]
impl Reading {
    /// The reading as JSON, with the bytes of the text that are evidence: what `quadrivium read --json` prints.
    ///
    /// ```
    /// let reading = quadrivium::map::read::read("A GAN.").to_json();
    /// assert_eq!(reading["components"][0]["paradigm"], "adversarial");
    /// assert_eq!(reading["components"][0]["evidence"][0]["start"], 2);
    /// ```
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::json;
        let evidence = |evidence: &Evidence| json!({ "start": evidence.span.start, "end": evidence.span.end, "rule": evidence.rule.pattern });
        let component = |part: &Component| {
            json!({
                "paradigm": part.paradigm.to_string(),
                "objective": part.aim.to_string(),
                "sampling": part.procedure.to_string(),
                "stage": part.stage.to_string(),
                "evidence": part.evidence.iter().map(evidence).collect::<Vec<_>>(),
            })
        };
        let unusual =
            self.unusual.iter().map(|unusual| format!("{}: probably {}", unusual.claim, unusual.probably));
        json!({
            "components": self.components.iter().map(component).collect::<Vec<_>>(),
            "likelihood": self.likelihood.map(|kind| kind.to_string()),
            "passes": (!self.passes.terms.is_empty()).then(|| self.passes.to_string()),
            "unusual": unusual.collect::<Vec<_>>(),
            "not_stated": self.not_stated,
            "outside": self.outside.map(|outside| outside.reason()),
        })
    }
}

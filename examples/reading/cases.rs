//! Texts with labels, and how a reading compares with them.

use std::collections::BTreeMap;
use std::path::Path;

use quadrivium::map::read::{Reading, Stage};

/// A text of `tests/reading`, with what a reader has to find.
pub struct Case {
    pub name: String,
    labels: BTreeMap<String, String>,
    pub text: String,
}

/// What is compared; the first decides whether a text is placed.
pub const FIELDS: [&str; 7] =
    ["components", "objectives", "sampling", "stages", "likelihood", "passes", "outside"];

/// One field of a text: what is right, and what was read. A field is not judged where the label leaves it open.
pub struct Judged {
    pub field: &'static str,
    pub right: String,
    pub read: String,
}

impl Judged {
    pub fn holds(&self) -> bool {
        self.right == self.read
    }
}

/// The texts of `tests/reading/NAME.txt`.
pub fn load(name: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reading").join(name).with_extension("txt");
    let file = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let parts = file.split("== ").map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (head, text) = part.split_once("\n\n").unwrap_or_else(|| panic!("{part}: no text"));
            let mut lines = head.lines();
            let name = lines.next().unwrap_or_default().to_string();
            let labels = lines.map(|line| {
                let (key, value) = line.split_once(": ").unwrap_or_else(|| panic!("{name}: {line}"));
                (key.to_string(), value.to_string())
            });
            Case { labels: labels.collect(), text: text.to_string(), name }
        })
        .collect()
}

impl Case {
    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("-", String::as_str)
    }

    /// The parts of a label, in the order of the label `components`.
    fn listed(&self, name: &str) -> Vec<String> {
        self.label(name).split(", ").map(str::to_string).collect()
    }

    /// Whether the text has no component.
    pub fn is_outside(&self) -> bool {
        self.label("components") == "none"
    }

    pub fn judge(&self, reading: &Reading) -> Vec<Judged> {
        // By paradigm, so that the order of components does not matter.
        let with_stage: Vec<String> =
            self.listed("components").into_iter().filter(|part| part != "none").collect();
        let paradigms: Vec<String> =
            with_stage.iter().map(|part| part.split(" (").next().unwrap_or_default().to_string()).collect();
        let stages = with_stage.iter().map(|part| match part.split_once(" (") {
            Some((_, stage)) => stage.trim_end_matches(')').to_string(),
            None => Stage::Training.to_string(),
        });
        let labeled = |values: Vec<String>| joined(paradigms.iter().cloned().zip(values));
        let read = |value: &dyn Fn(&quadrivium::map::read::Component) -> String| {
            joined(reading.components.iter().map(|part| (part.paradigm.to_string(), value(part))))
        };
        let mut judged = Vec::new();
        let mut judge = |field, right: String, read: String| judged.push(Judged { field, right, read });
        let placed = |of: &[String]| {
            let mut of = of.to_vec();
            of.sort();
            if of.is_empty() { "none".to_string() } else { of.join(" + ") }
        };
        let found: Vec<String> = reading.components.iter().map(|part| part.paradigm.to_string()).collect();
        judge("components", placed(&paradigms), placed(&found));
        if !paradigms.is_empty() && self.labels.contains_key("objectives") {
            judge("objectives", labeled(self.listed("objectives")), read(&|part| part.aim.to_string()));
            judge("sampling", labeled(self.listed("sampling")), read(&|part| part.procedure.to_string()));
            judge("stages", labeled(stages.collect()), read(&|part| part.stage.to_string()));
        }
        if self.labels.contains_key("likelihood") {
            let likelihood = reading.likelihood.map_or("-".to_string(), |kind| kind.to_string());
            judge("likelihood", self.label("likelihood").to_string(), likelihood);
        }
        if self.label("passes") != "-" {
            let total = reading.passes.total().map_or("-".to_string(), |(low, high)| {
                if low == high { low.to_string() } else { format!("{low}–{high}") }
            });
            judge("passes", self.label("passes").to_string(), total);
        }
        if self.labels.contains_key("outside") {
            let why = reading.outside.map_or("-".to_string(), |why| why.to_string());
            judge("outside", self.label("outside").to_string(), why);
        }
        if self.labels.contains_key("unusual") {
            let claims: Vec<String> =
                reading.unusual.iter().map(|unusual| unusual.claim.to_string()).collect();
            judge("unusual", self.label("unusual").to_string(), claims.join(", "));
        }
        judged
    }
}

fn joined(pairs: impl Iterator<Item = (String, String)>) -> String {
    let mut pairs: Vec<String> = pairs.map(|(paradigm, value)| format!("{paradigm}: {value}")).collect();
    pairs.sort();
    pairs.join("; ")
}

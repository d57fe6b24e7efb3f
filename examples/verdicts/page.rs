//! The page of verdicts.

use std::fmt::Write as _;
use std::path::Path;

use crate::claim::{How, Verdict};
use crate::claims::{GROUPS, Group};
use crate::lab::Outcome;
use crate::record::Records;

const FILE: &str = "docs/VERDICTS.md";

/// Writes `docs/VERDICTS.md` below `root`.
pub fn write(root: &Path, records: &Records) -> Outcome<()> {
    let mut page = String::from(
        "<!-- Written by `cargo run --release --example verdicts`. -->\n\n# Verdicts\n\nWhat is said of the four paradigms, and what this \
         library measures. Each verdict is decided by figures and bounds: a claim holds (✓) where the whole 95 % interval of \
         each figure lies within its bound, is refuted (✗) where one that states the claim lies outside with its whole \
         interval, and has limits (◐) otherwise. Figures without an interval are exact, or counted; the others are means over \
         five seeds.\n\n",
    );
    page += &summary(records);
    for group in GROUPS {
        page += &section(group, records)?;
    }
    Ok(std::fs::write(root.join(FILE), page)?)
}

fn summary(records: &Records) -> String {
    let claims = || GROUPS.iter().flat_map(|group| group.claims);
    let count = |verdict| claims().filter(|claim| records.verdict(claim.number) == Some(verdict)).count();
    let waiting = claims().filter(|claim| records.get(claim.number).is_none()).count();
    format!(
        "Of {} claims, {} hold, {} have limits, {} are refuted, and {waiting} wait.\n\n",
        claims().count(),
        count(Verdict::Holds),
        count(Verdict::Limited),
        count(Verdict::Refuted)
    )
}

fn section(group: &Group, records: &Records) -> Outcome<String> {
    let mut out = format!("## {}\n\n", group.name);
    out += "| | | claim | figures |\n|---:|---|---|---|\n";
    let (mut reasons, mut waiting) = (String::new(), String::new());
    for claim in group.claims {
        match (records.get(claim.number), &claim.how) {
            (Some(record), _) => {
                let finding = &record.finding;
                let verdict = finding.verdict();
                let figures: Vec<String> = finding.figures.iter().map(|figure| figure.to_string()).collect();
                writeln!(
                    out,
                    "| {} | {} | {} | {} |",
                    claim.number,
                    verdict.mark(),
                    claim.says,
                    figures.join(" · ")
                )?;
                if let (Some(reason), false) = (&finding.reason, verdict == Verdict::Holds) {
                    writeln!(reasons, "- **{}** {} {reason}", claim.number, verdict.mark())?;
                }
            }
            (None, How::Waits(reason)) => {
                writeln!(waiting, "- **{}** {} *Waits:* {reason}", claim.number, claim.says)?
            }
            (None, How::Measured { .. }) => {
                writeln!(waiting, "- **{}** {} *Not measured yet.*", claim.number, claim.says)?;
            }
        }
    }
    for list in [reasons, waiting] {
        if !list.is_empty() {
            write!(out, "\n{list}")?;
        }
    }
    Ok(out + "\n")
}

//! The page of verdicts.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::claim::{Claim, How, Verdict};
use crate::claims::{GROUPS, Group};
use crate::lab::Outcome;
use crate::record::{Record, Records};

const FILE: &str = "docs/VERDICTS.md";

/// How a verdict comes about.
pub const HOW: &str = "What is said of the four paradigms, in the words of this library, and what it measures. Figures and \
    bounds decide: a claim **holds** (✓) where the whole 95 % interval of each figure lies within its bound, **is refuted** (✗) \
    where one that states the claim lies outside with its whole interval, and **has limits** (◐) otherwise. A bound behind \
    *without limits* is not part of the claim: it says what would also be true if the claim held everywhere. Figures with an \
    interval are means over five seeds; the others are exact, counted, or the worst case of all seeds.";

/// Writes `docs/VERDICTS.md` below `root`.
pub fn write(root: &Path, records: &Records) -> Outcome<()> {
    let mut page = format!(
        "<!-- Written by `cargo run --release --example verdicts`. -->\n\n# Verdicts\n\n{HOW}\n\n\
         `cargo run --release --example verdicts` measures all of them, `-- --only 12` one. Everything is small: rows of two \
         columns, images of 8 × 8 pixels, short texts, networks that train in seconds. What holds here need not hold at any \
         size, but what is refuted here is not true at every size.\n\n"
    );
    page += &overview(records);
    for group in GROUPS {
        page += &section(group, records)?;
    }
    Ok(std::fs::write(root.join(FILE), page.trim_end().to_string() + "\n")?)
}

/// How many claims have which verdict.
fn count(claims: &[Claim], records: &Records, verdict: Option<Verdict>) -> usize {
    claims.iter().filter(|claim| records.verdict(claim.number) == verdict).count()
}

/// All verdicts in a sentence.
pub fn summary(records: &Records) -> String {
    let sum = |verdict| GROUPS.iter().map(|group| count(group.claims, records, verdict)).sum::<usize>();
    let [holds, limited, refuted] = Verdict::ALL.map(|verdict| sum(Some(verdict)));
    let waiting = sum(None);
    let all = holds + limited + refuted + waiting;
    format!(
        "Of {all} claims, {holds} hold, {limited} have limits, {refuted} are refuted, and {waiting} wait."
    )
}

fn overview(records: &Records) -> String {
    let mut out = format!("{}\n\n| | ✓ | ◐ | ✗ | waiting |\n|---|---:|---:|---:|---:|\n", summary(records));
    for Group { name, claims } in GROUPS {
        let [holds, limited, refuted] = Verdict::ALL.map(|verdict| count(claims, records, Some(verdict)));
        let waiting = count(claims, records, None);
        out += &format!("| {name} | {holds} | {limited} | {refuted} | {waiting} |\n");
    }
    out + "\n"
}

/// Why a claim has its verdict, or none; `None` where it holds.
pub fn note(claim: &Claim, record: Option<&Record>) -> Option<String> {
    match (record, &claim.how) {
        (Some(Record { finding, .. }), _) if finding.verdict() == Verdict::Holds => None,
        (Some(Record { finding, .. }), _) => finding.reason.clone(),
        (None, How::Waits(reason)) => Some(format!("{} It waits: {reason}.", claim.says)),
        (None, How::Measured { .. }) => Some(format!("{} It has not been measured yet.", claim.says)),
    }
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn section(group: &Group, records: &Records) -> Outcome<String> {
    let mut out = format!("## {}\n\n", group.name);
    let measured = || group.claims.iter().filter_map(|claim| Some((claim, records.get(claim.number)?)));
    if measured().next().is_some() {
        out += "| | | claim | figures |\n|---:|---|---|---|\n";
    }
    for (claim, Record { finding, .. }) in measured() {
        let figures: Vec<String> = finding.figures.iter().map(|figure| cell(&figure.to_string())).collect();
        let (number, mark, says) = (claim.number, finding.verdict().mark(), cell(claim.says));
        writeln!(out, "| {number} | {mark} | {says} | {} |", figures.join("<br>"))?;
    }
    let notes =
        group.claims.iter().filter_map(|claim| Some((claim, note(claim, records.get(claim.number))?)));
    let notes = notes.map(|(claim, note)| {
        let mark =
            records.verdict(claim.number).map_or(String::new(), |verdict| format!(" {}", verdict.mark()));
        format!("- **{}**{mark} {note}\n", claim.number)
    });
    let notes: String = notes.collect();
    if !notes.is_empty() {
        write!(out, "\n{notes}")?;
    }
    let on: BTreeSet<&str> = measured().map(|(_, record)| record.measured.as_str()).collect();
    if !on.is_empty() {
        let on: Vec<&str> = on.into_iter().collect();
        write!(out, "\nMeasured by {}.\n", on.join("; "))?;
    }
    Ok(out + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::{Bound, Estimate, Finding, quick, waits};
    use crate::lab::Lab;

    fn unmeasured(_: &Lab) -> Outcome<Finding> {
        Err("not in a test".into())
    }

    const CLAIMS: &[Claim] = &[
        quick(1, "One is p(x|c).", unmeasured),
        quick(2, "Two is small.", unmeasured),
        waits(3, "Three flies.", "there are no wings"),
        quick(4, "Four is even.", unmeasured),
    ];

    fn records() -> Records {
        let finding = |bound| Finding::new().claim("a|b", Estimate::exact(2.0), bound).because("It is 2.");
        let mut records = Records::default();
        records.insert(1, Record::new(finding(Bound::AtLeast(1.0))));
        records.insert(2, Record::new(finding(Bound::AtMost(1.0))));
        records
    }

    #[test]
    fn section_has_a_row_for_each_finding_and_a_reason_for_each_other_verdict() {
        let section = section(&Group { name: "Numbers", claims: CLAIMS }, &records()).unwrap();
        let lines: Vec<&str> = section.lines().collect();
        assert!(lines.contains(&r"| 1 | ✓ | One is p(x\|c). | a\|b: 2 (claim: ≥ 1) |"), "{section}");
        assert!(lines.contains(&r"| 2 | ✗ | Two is small. | a\|b: 2 (claim: ≤ 1) |"), "{section}");
        assert!(lines.contains(&"- **2** ✗ It is 2.") && !section.contains("- **1**"), "{section}");
        assert!(lines.contains(&"- **3** Three flies. It waits: there are no wings."), "{section}");
        assert!(lines.contains(&"- **4** Four is even. It has not been measured yet."), "{section}");
        assert!(section.contains("\nMeasured by version "), "{section}");
    }

    #[test]
    fn claims_are_numbered_once_and_end_as_sentences() {
        let claims: Vec<&Claim> = GROUPS.iter().flat_map(|group| group.claims).collect();
        let numbers: BTreeSet<u32> = claims.iter().map(|claim| claim.number).collect();
        assert_eq!(numbers.len(), claims.len());
        for claim in claims {
            assert!(claim.says.ends_with('.') && !claim.says.contains('\n'), "{}", claim.says);
            // A reason ends up in a sentence of the page, which ends it.
            assert!(!matches!(claim.how, How::Waits(reason) if reason.ends_with('.')), "{}", claim.number);
        }
    }
}

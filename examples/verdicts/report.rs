//! The verdicts as a self-contained HTML page, with a picture of each group.

use std::path::Path;

use quadrivium::report::page::{Page, figure, slug, table, text};
use quadrivium::report::{Margin, margins};

use crate::claim::{Claim, Role, Verdict};
use crate::claims::{GROUPS, Group};
use crate::lab::Outcome;
use crate::page;
use crate::record::{Record, Records};

/// Writes index.html and pictures/ into `dir`.
pub fn write(dir: &Path, records: &Records) -> Outcome<()> {
    let mut body = String::new();
    for group in GROUPS {
        body += &section(dir, group, records)?;
    }
    let how = format!("{} {}", page::HOW.replace(['`', '*'], ""), page::summary(records));
    let parts = GROUPS.iter().map(|group| group.name).collect();
    let heading = "What is said of generative models, measured";
    Page { title: "verdicts", heading, how: &how, parts, body }.write(dir)?;
    Ok(())
}

fn section(dir: &Path, group: &Group, records: &Records) -> Outcome<String> {
    let measured = group.claims.iter().filter_map(|claim| Some((claim, records.get(claim.number)?)));
    let measured: Vec<(&Claim, &Record)> = measured.collect();
    let id = slug(group.name);
    let mut out = format!("<section id=\"{id}\">\n<h2>{}</h2>\n", text(group.name));
    if !measured.is_empty() {
        out += &picture(dir, group, &measured)?;
        let rows = measured.iter().map(|(claim, record)| {
            let figures: Vec<String> =
                record.finding.figures.iter().map(|figure| figure.to_string()).collect();
            let verdict = record.finding.verdict();
            let mark = format!("{} {}", verdict.mark(), verdict.word());
            vec![claim.number.to_string(), mark, claim.says.to_string(), figures.join(" · ")]
        });
        let header = ["number", "verdict", "claim", "figures"];
        out += &table(&format!("Claims: {}", group.name), "verdicts", &header, &rows.collect::<Vec<_>>());
    }
    out += "<ul>\n";
    for claim in group.claims {
        if let Some(note) = page::note(claim, records.get(claim.number)) {
            out += &format!("<li>{}: {}</li>\n", claim.number, text(&note));
        }
    }
    Ok(out + "</ul>\n</section>\n")
}

/// Each figure that decides, against its bound.
fn picture(dir: &Path, group: &Group, measured: &[(&Claim, &Record)]) -> Outcome<String> {
    let mut lines = Vec::new();
    for (claim, record) in measured {
        let verdict = record.finding.verdict();
        for figure in &record.finding.figures {
            let Some((role, bound)) = figure.test else { continue };
            let name = match role {
                Role::Claim => claim.number.to_string(),
                Role::Limit => format!("{}, limit", claim.number),
            };
            lines.push((name, figure.value, bound.ends(), verdict as usize));
        }
    }
    // A figure that is no number has no place.
    lines.retain(|(_, value, ..)| value.mean.is_finite() && value.half_width.is_finite());
    let figures: Vec<Margin<'_>> = lines
        .iter()
        .map(|(name, value, bound, group)| Margin {
            name,
            value: (value.mean, value.half_width),
            bound: *bound,
            group: *group,
        })
        .collect();
    let picture = margins(group.name, &Verdict::ALL.map(Verdict::word), &figures)?;
    Ok(figure(dir, &format!("{}-figures", slug(group.name)), &picture)?)
}

use super::svg::{Anchor, Path, wrapped};
use super::{Draft, MARGIN, Picture, style};
use crate::error::{DataError, Error, Result};
use crate::map::Card;

/// A row of the picture [`map`].
#[derive(Debug, Clone, PartialEq)]
pub struct Landmark {
    /// What the map says of a model or a composition.
    pub card: Card,
    /// What was measured of it, in a few words.
    pub measured: String,
}

/// Headings of the columns and their widths.
const COLUMNS: [(&str, f64); 7] = [
    ("model", 170.0),
    ("objective", 140.0),
    ("sampling", 150.0),
    ("likelihood", 90.0),
    ("cost of a row", 110.0),
    ("how it can fail", 180.0),
    ("measured", 190.0),
];

/// Height of a line of text.
const LINE: f64 = 15.0;

/// The map as one page: for each card its objective, how it is sampled, which likelihood it has, what a row costs and how it
/// can fail, with what was measured beside it. `regions` are parts of the map with their headings.
///
/// ```
/// use quadrivium::report::{Landmark, map};
/// use quadrivium::{Gan, GanConfig, prelude::*};
///
/// let gan = Gan::new(GanConfig::default(), &mut quadrivium::seeded(0))?;
/// let landmark = Landmark { card: gan.card(), measured: "25 of 25 modes".into() };
/// let picture = map("A map", &[("Adversarial", vec![landmark])])?;
/// assert!(picture.description().contains("WGAN-GP: Wasserstein + GP, one pass, likelihood none"));
/// # Ok::<(), quadrivium::Error>(())
/// ```
///
/// # Errors
/// [`DataError::TooFewRows`] for no landmark.
pub fn map(title: &str, regions: &[(&str, Vec<Landmark>)]) -> Result<Picture> {
    if regions.iter().all(|(_, landmarks)| landmarks.is_empty()) {
        return Err(Error::Data(DataError::TooFewRows { what: "landmarks", got: 0, least: 1 }));
    }
    let left = |column: usize| MARGIN + COLUMNS[..column].iter().map(|(_, width)| width).sum::<f64>();
    let right = left(COLUMNS.len());
    let mut draft = Draft::new(title, right + MARGIN);
    draft.height += 24.0;
    for (column, (heading, _)) in COLUMNS.iter().enumerate() {
        draft.svg.text("q-soft", (left(column), draft.height - 4.0), Anchor::Start, heading);
    }
    let mut described = Vec::new();
    for (region, landmarks) in regions {
        draft.height += 26.0;
        draft.svg.text("q-text", (MARGIN, draft.height - 6.0), Anchor::Start, region);
        for Landmark { card, measured } in landmarks {
            rule(&mut draft, right);
            let evaluations = if card.nfe == 1 { "evaluation" } else { "evaluations" };
            let failures: Vec<String> = card.failures.iter().map(|failure| failure.to_string()).collect();
            let cells = [
                card.name.to_string(),
                card.objective.to_string(),
                card.sampling.to_string(),
                card.likelihood.to_string(),
                format!("{} {evaluations}, {}", card.nfe, card.latency),
                failures.join(", "),
                measured.clone(),
            ];
            described.push(format!("{}: {}, {}, likelihood {}", cells[0], cells[1], cells[2], cells[3]));
            let top = draft.height;
            let mut lines = 1;
            for (column, cell) in cells.iter().enumerate() {
                // The name stands behind its mark.
                let indent = if column == 0 { 18.0 } else { 0.0 };
                // A browser's font may be a sixth wider.
                let cell = wrapped(cell, 12.0, 0.85 * (COLUMNS[column].1 - 10.0 - indent));
                lines = lines.max(cell.len());
                for (line, text) in cell.iter().enumerate() {
                    let at = (left(column) + indent, top + LINE * (line as f64 + 1.0));
                    draft.svg.text("q-label", at, Anchor::Start, text);
                }
            }
            let series = style::series_of(card.paradigm);
            let mark = style::mark(series, (MARGIN + 7.0, top + LINE - 4.0));
            draft.svg.path(&format!("q-mark {}", style::color(series)), &mark);
            draft.height = top + LINE * lines as f64 + 8.0;
        }
    }
    draft.description = format!("{}.", described.join("; "));
    Ok(draft.finish())
}

/// A thin line across.
fn rule(draft: &mut Draft, right: f64) {
    let mut line = Path::default();
    line.polyline([(MARGIN, draft.height), (right, draft.height)]);
    draft.svg.path("q-grid", &line);
}

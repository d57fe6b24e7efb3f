use super::svg::{Anchor, Path, wrapped};
use super::{Draft, MARGIN, Picture, style};
use crate::error::{DataError, Error, Result};
use crate::map::Card;

/// A row of the picture [`map`].
#[derive(Debug, Clone, PartialEq)]
pub struct Landmark {
    /// What the map says of a model or a composition.
    pub card: Card,
    /// What was measured of it, a few words to a line.
    pub measured: Vec<String>,
}

/// Headings of the columns and their widths.
const COLUMNS: [(&str, f64); 7] = [
    ("model", 170.0),
    ("objective", 140.0),
    ("sampling", 160.0),
    ("likelihood", 95.0),
    ("cost of a row", 125.0),
    ("how it can fail", 190.0),
    ("measured", 140.0),
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
/// let landmark = Landmark { card: gan.card(), measured: vec!["25 of 25 modes".into()] };
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
            // The embedded font has no sign for it.
            let law = card.latency.to_string().replace('∝', "grows with");
            let cells = [
                vec![card.name.to_string()],
                vec![card.objective.to_string()],
                vec![card.sampling.to_string()],
                vec![card.likelihood.to_string()],
                vec![format!("{} {evaluations},", card.nfe), law],
                vec![failures.join(", ")],
                measured.clone(),
            ];
            let [name, objective, sampling, likelihood, ..] = &cells;
            described.push(format!(
                "{}: {}, {}, likelihood {}",
                name[0], objective[0], sampling[0], likelihood[0]
            ));
            let top = draft.height;
            let mut lines = 1;
            for (column, cell) in cells.iter().enumerate() {
                // The name stands behind its mark.
                let indent = if column == 0 { 18.0 } else { 0.0 };
                // A browser's font may be a sixth wider.
                let most = 0.85 * (COLUMNS[column].1 - 10.0 - indent);
                let cell: Vec<String> = cell.iter().flat_map(|text| wrapped(text, 12.0, most)).collect();
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

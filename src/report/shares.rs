use super::svg::{Anchor, Path, text_width};
use super::{Draft, Entry, MARGIN, Picture};
use crate::error::{DataError, Error, Result, check};

/// A part of a column: a range of numbers or a label.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// What stands below it, where there is room.
    pub label: String,
    /// The shares of the rows of both samples in it, 0 to 1.
    pub of: [f64; 2],
}

/// A panel of [`shares`]: a column of both samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// The column's name.
    pub name: String,
    /// Its parts, from left to right; at least one.
    pub parts: Vec<Share>,
}

/// Panels in a line, the height of their bars, and the space between panels.
const ACROSS: usize = 3;
const HIGH: f64 = 84.0;
const GAP: f64 = 16.0;
const CAPTION: f64 = 22.0;
const LABELS: f64 = 24.0;

/// How the rows of two samples are spread over the parts of each column, a panel for each column: bars of the first, and
/// marks at their heights of the second. Every panel has a scale of its own, whose top is its highest share.
///
/// ```
/// use quadrivium::report::{Panel, Share, shares};
///
/// let part = |label: &str, of| Share { label: label.into(), of };
/// let parts = vec![part("no", [0.8, 0.7]), part("yes", [0.2, 0.3])];
/// let picture = shares("Answers", ["asked", "drawn"], &[Panel { name: "answer".into(), parts }])?;
/// assert!(picture.description().contains("answer"));
/// # Ok::<(), quadrivium::Error>(())
/// ```
///
/// # Errors
/// [`DataError::TooFewRows`] for no panel and for one without parts, and [`Error::Config`] for a share that is not 0 to 1.
pub fn shares(title: &str, samples: [&str; 2], panels: &[Panel]) -> Result<Picture> {
    let least = panels.iter().map(|panel| panel.parts.len()).min().unwrap_or(0);
    if least == 0 {
        return Err(Error::Data(DataError::TooFewRows { what: "Panel::parts", got: 0, least: 1 }));
    }
    for share in panels.iter().flat_map(|panel| &panel.parts) {
        check(share.of.iter().all(|of| (0.0..=1.0).contains(of)), "Share::of", share.of, "0 to 1")?;
    }
    let mut draft = Draft::new(title, 480.0);
    let bar = |svg: &mut super::svg::Svg, (x, y): (f64, f64)| {
        let mut path = Path::default();
        path.ring([(x - 6.0, y - 5.0), (x + 6.0, y - 5.0), (x + 6.0, y + 5.0), (x - 6.0, y + 5.0)]);
        svg.path("q-land", &path);
    };
    let mark = |svg: &mut super::svg::Svg, (x, y): (f64, f64)| {
        let mut path = Path::default();
        path.polyline([(x - 7.0, y), (x + 7.0, y)]);
        svg.path("q-line q1", &path);
    };
    let entries: [Entry<'_>; 2] = [(samples[0], &bar), (samples[1], &mark)];
    draft.legend(&entries);
    let across = panels.len().min(ACROSS);
    let side = (draft.width - 2.0 * MARGIN - GAP * (across - 1) as f64) / across as f64;
    let (top, line) = (draft.height + 6.0, CAPTION + HIGH + LABELS);
    for (k, panel) in panels.iter().enumerate() {
        let left = MARGIN + (side + GAP) * (k % across) as f64;
        let bottom = top + line * (k / across) as f64 + CAPTION + HIGH;
        draw(&mut draft, panel, (left, bottom), side);
    }
    draft.height = top + line * panels.len().div_ceil(across) as f64;
    draft.description = format!(
        "The shares of {} (bars) and of {} (marks) in the parts of each column: {}.",
        samples[0],
        samples[1],
        panels.iter().map(farthest).collect::<Vec<_>>().join("; ")
    );
    Ok(draft.finish())
}

/// The part of a column in which the samples differ most, in words.
fn farthest(panel: &Panel) -> String {
    let apart = |share: &&Share| (share.of[0] - share.of[1]).abs();
    let most = panel.parts.iter().max_by(|a, b| apart(a).total_cmp(&apart(b)));
    most.map_or_else(String::new, |share| {
        let [a, b] = share.of.map(|of| 100.0 * of);
        format!("{}, where they differ most {a:.1} and {b:.1} % ({})", panel.name, share.label)
    })
}

/// A column above its base line, which starts at `corner`.
fn draw(draft: &mut Draft, panel: &Panel, (left, bottom): (f64, f64), side: f64) {
    let parts = &panel.parts;
    let most = parts.iter().flat_map(|share| share.of).fold(0.0, f64::max).max(1e-9);
    let width = side / parts.len() as f64;
    let y = |share: f64| bottom - HIGH * share / most;
    let (mut bars, mut marks, mut base) = (Path::default(), Path::default(), Path::default());
    for (k, share) in parts.iter().enumerate() {
        let (from, to) = (left + width * k as f64, left + width * (k + 1) as f64);
        let inside = (0.12 * width).min(3.0);
        let (from, to) = (from + inside, to - inside);
        if share.of[0] > 0.0 {
            bars.ring([(from, bottom), (from, y(share.of[0])), (to, y(share.of[0])), (to, bottom)]);
        }
        marks.polyline([(from, y(share.of[1])), (to, y(share.of[1]))]);
    }
    base.polyline([(left, bottom), (left + side, bottom)]);
    draft.svg.path("q-land", &bars);
    draft.svg.path("q-line q1", &marks);
    draft.svg.path("q-axis", &base);
    let caption = cut(&panel.name, 13.0, side);
    draft.svg.text("q-text", (left + 0.5 * side, bottom - HIGH - 8.0), Anchor::Middle, &caption);
    // Every label where there is room for it, otherwise the first and the last.
    let wide = |share: &Share| 1.17 * text_width(&share.label, 12.0) + 4.0 > width;
    if parts.iter().any(wide) {
        let half = 0.5 * side - 4.0;
        let [first, last] = [0, parts.len() - 1].map(|k| cut(&parts[k].label, 12.0, half));
        draft.svg.text("q-soft", (left, bottom + 15.0), Anchor::Start, &first);
        if parts.len() > 1 {
            draft.svg.text("q-soft", (left + side, bottom + 15.0), Anchor::End, &last);
        }
    } else {
        for (k, share) in parts.iter().enumerate() {
            let middle = left + width * (k as f64 + 0.5);
            draft.svg.text("q-soft", (middle, bottom + 15.0), Anchor::Middle, &share.label);
        }
    }
}

/// A text that fits into `most` pixels in a browser's font, too.
fn cut(text: &str, size: f64, most: f64) -> String {
    if 1.17 * text_width(text, size) <= most {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        if 1.17 * text_width(&format!("{out}{c}…"), size) > most {
            break;
        }
        out.push(c);
    }
    out + "…"
}

use super::svg::{Anchor, Path, text_width};
use super::tradeoff::mark_key;
use super::{Draft, Entry, MARGIN, Picture, style};
use crate::error::{DataError, Error, Result, check};

/// A line in the chart of [`margins`].
#[derive(Debug, Clone, PartialEq)]
pub struct Margin<'a> {
    /// What stands before the line.
    pub name: &'a str,
    /// The figure, and half the width of its interval, 0 or more.
    pub value: (f64, f64),
    /// The least and the greatest value within the bound, of which one may be infinite.
    pub bound: (f64, f64),
    /// The index of its group.
    pub group: usize,
}

impl Margin<'_> {
    /// How far a value lies within the bound: 0 at its end, below 0 outside. The unit is half the width of the bound, or
    /// the size of its only end; if that is 0, the size of the figure.
    fn of(&self, value: f64) -> f64 {
        let ((least, most), (figure, half_width)) = (self.bound, self.value);
        let positive = |unit: f64| if unit > 0.0 { unit } else { 1.0 };
        let end = |end: f64| positive(if end != 0.0 { end.abs() } else { figure.abs() + half_width });
        match (least.is_finite(), most.is_finite()) {
            (true, true) => (value - least).min(most - value) / positive(0.5 * (most - least)),
            (true, false) => (value - least) / end(least),
            _ => (most - value) / end(most),
        }
    }

    fn validate(&self, groups: usize) -> Result<()> {
        let (value, half_width) = self.value;
        if !value.is_finite() || !half_width.is_finite() {
            let value = if value.is_finite() { half_width } else { value };
            return Err(Error::Data(DataError::NonFinite {
                what: "Margin::value",
                row: 0,
                column: 0,
                value,
            }));
        }
        check(half_width >= 0.0, "Margin::value", self.value, "a half width of 0 or more")?;
        let (least, most) = self.bound;
        let bounded = least <= most && (least.is_finite() || most.is_finite());
        check(bounded, "Margin::bound", self.bound, "two ends in order, at least one of them finite")?;
        check(self.group < groups, "Margin::group", self.group, "the index of a group")
    }
}

/// Colors of the groups.
const COLORS: [usize; 3] = [0, 4, 1];

/// Margins beyond are drawn at the edge.
const EDGE: f64 = 1.25;

/// Height of a line.
const LINE: f64 = 17.0;

/// How far figures lie within their bounds, a line with a mark and its interval for each; the bounds are one vertical line,
/// and what lies to the right of it is within. The unit is half the width of a bound, or, of a bound with one end, the
/// size of this end, and, if that is 0, of the figure. What is farther than 1.25 units away is drawn at the edge.
///
/// `groups`: one to three names, such as those of verdicts from good to bad, each with a color of its own.
///
/// ```
/// use quadrivium::report::{Margin, margins};
///
/// let within = Margin { name: "a slope", value: (1.0, 0.05), bound: (0.9, 1.1), group: 0 };
/// let outside = Margin { name: "a gap", value: (0.8, 0.1), bound: (f64::NEG_INFINITY, 0.5), group: 1 };
/// let picture = margins("Two figures", &["holds", "does not"], &[within, outside])?;
/// assert!(picture.description().ends_with("Within their bounds: a slope. Not: a gap."));
/// # Ok::<(), quadrivium::Error>(())
/// ```
///
/// # Errors
/// [`DataError::TooFewRows`] for no figure, [`DataError::NonFinite`] for a figure that is not finite, and
/// [`Error::Config`] for a half width below 0, a bound without a finite end or with its ends in the wrong order, for none or
/// more than three groups, and for a group that is not one of them.
pub fn margins(title: &str, groups: &[&str], figures: &[Margin<'_>]) -> Result<Picture> {
    check((1..=COLORS.len()).contains(&groups.len()), "groups", groups.len(), "1 to 3")?;
    if figures.is_empty() {
        return Err(Error::Data(DataError::TooFewRows { what: "figures", got: 0, least: 1 }));
    }
    figures.iter().try_for_each(|figure| figure.validate(groups.len()))?;
    // A browser's font may be a sixth wider.
    let names = figures.iter().map(|figure| 1.17 * text_width(figure.name, 12.0)).fold(0.0, f64::max);
    let left = (MARGIN + names + 10.0).ceil();
    let width = 260.0;
    let mut draft = Draft::new(title, left + width + MARGIN);
    let keys: Vec<_> = COLORS.into_iter().map(mark_key).collect();
    let mut entries: Vec<Entry<'_>> = Vec::new();
    entries.extend(groups.iter().zip(&keys).map(|(name, key)| (*name, key as _)));
    draft.legend(&entries);

    let top = draft.height + 24.0;
    let bottom = top + LINE * figures.len() as f64;
    let x = |margin: f64| left + width * 0.5 * (1.0 + margin.clamp(-EDGE, EDGE) / (EDGE + 0.1));
    let (mut edge, mut grid) = (Path::default(), Path::default());
    edge.polyline([(x(0.0), top), (x(0.0), bottom)]);
    for margin in [-1.0, 1.0] {
        grid.polyline([(x(margin), top), (x(margin), bottom)]);
    }
    draft.svg.path("q-grid", &grid);
    draft.svg.path("q-dash", &edge);
    draft.svg.text("q-soft", (x(0.0) - 8.0, top - 6.0), Anchor::End, "outside");
    draft.svg.text("q-soft", (x(0.0) + 8.0, top - 6.0), Anchor::Start, "within");
    let (mut within, mut not) = (Vec::new(), Vec::new());
    for (line, figure) in figures.iter().enumerate() {
        let y = top + LINE * (line as f64 + 0.5);
        let (value, half_width) = figure.value;
        let ends = [value - half_width, value + half_width].map(|end| figure.of(end));
        let color = COLORS[figure.group];
        let mut whisker = Path::default();
        // From one end by the mark to the other: in a bound with two ends, both may be nearer to an end than the mark.
        whisker.polyline([(x(ends[0]), y), (x(figure.of(value)), y), (x(ends[1]), y)]);
        draft.svg.text("q-label", (left - 8.0, y + 4.0), Anchor::End, figure.name);
        draft.svg.path(&format!("q-line {}", style::color(color)), &whisker);
        mark_key(color)(&mut draft.svg, (x(figure.of(value)), y));
        (if ends.iter().all(|&end| end >= 0.0) { &mut within } else { &mut not }).push(figure.name);
    }
    let listed = |names: &[&str]| if names.is_empty() { "none".to_string() } else { names.join(", ") };
    draft.description = format!(
        "Figures and how far they lie within their bounds, with their intervals. Within their bounds: {}. Not: {}.",
        listed(&within),
        listed(&not)
    );
    draft.height = bottom + 10.0;
    Ok(draft.finish())
}

use super::axis::{Axis, BELOW, Frame, RIGHT, Scale};
use super::labels::{self, Box4};
use super::svg::{Anchor, Path, Svg};
use super::{Draft, Entry, Picture, style};
use crate::error::{DataError, Error, Result};
use crate::map::Paradigm;
use crate::metrics::Floor;

/// A model in the chart of [`tradeoffs`].
#[derive(Debug, Clone, PartialEq)]
pub struct Tradeoff<'a> {
    /// Its label.
    pub name: &'a str,
    /// Chooses the color and the mark.
    pub paradigm: Paradigm,
    /// Time per row in µs; more than 0.
    pub micros: f64,
    /// Distance of its rows from the truth; more than 0, lower is better down to the floor.
    pub quality: f64,
}

/// Quality against latency, a mark for each model, both axes logarithmic. `measure` names the quality, and
/// `floor` is what a perfect sampler would score. Models at the floor are not ranked among each other.
///
/// # Errors
/// [`DataError::TooFewRows`] for no points, [`DataError::NonFinite`] and [`Error::Config`] for a number that is not
/// finite or not more than 0.
pub fn tradeoffs(
    title: &str,
    measure: &str,
    points: &[Tradeoff<'_>],
    floor: Option<Floor>,
) -> Result<Picture> {
    let crowded = points.len() > 9;
    let mut draft = Draft::new(title, if crowded { 720.0 } else { 480.0 });
    let times = points.iter().map(|point| point.micros);
    let x = Axis::around("µs per row, drawn in bulk", "Tradeoff::micros", Scale::Logarithmic, times)?;
    let qualities = points.iter().map(|point| point.quality).chain(levels(floor));
    let y = Axis::around(
        &format!("{measure} (lower is better)"),
        "Tradeoff::quality",
        Scale::Logarithmic,
        qualities,
    )?;

    let mut paradigms: Vec<Paradigm> = Vec::new();
    for point in points {
        if !paradigms.contains(&point.paradigm) {
            paradigms.push(point.paradigm);
        }
    }
    let names: Vec<String> = paradigms.iter().map(|paradigm| paradigm.to_string()).collect();
    let keys: Vec<_> = paradigms.iter().map(|&paradigm| mark_key(style::series_of(paradigm))).collect();
    let mut entries: Vec<Entry<'_>> = Vec::new();
    entries.extend(names.iter().zip(&keys).map(|(name, key)| (name.as_str(), key as _)));
    if floor.is_some() {
        entries.push((AT_THE_FLOOR, &floor_key));
    }
    draft.legend(&entries);

    let frame = Frame::below(&draft, if crowded { 460.0 } else { 330.0 }, RIGHT, x, y);
    frame.draw(&mut draft.svg);
    if let Some(floor) = &floor {
        draw_floor(&mut draft.svg, &frame, floor);
    }
    let ((left, top), (width, height)) = (frame.corner, frame.size);
    let bounds = Box4 { left: left + 3.0, top: top + 2.0, right: left + width, bottom: top + height - 2.0 };
    let at = |point: &Tradeoff<'_>| frame.at((point.micros, point.quality));
    let marks: Vec<_> = points.iter().map(|point| (at(point), point.name)).collect();
    let line = floor.map(|floor| frame.at((1.0, floor.mean)).1).map(|y| Box4 {
        top: y - 1.0,
        bottom: y + 1.0,
        ..bounds
    });
    let boxes = labels::place(&marks, bounds, line);
    // Lines from labels that found no place beside their mark, then marks, then labels.
    let mut leads = Path::default();
    for ((at, _), label) in marks.iter().zip(&boxes) {
        let near = (at.0.clamp(label.left, label.right), at.1.clamp(label.top, label.bottom));
        if (at.0 - near.0).hypot(at.1 - near.1) > 16.0 {
            leads.polyline([*at, near]);
        }
    }
    draft.svg.path("q-lead", &leads);
    for (point, (at, _)) in points.iter().zip(&marks) {
        let series = style::series_of(point.paradigm);
        draft.svg.path(&format!("q-mark {}", style::color(series)), &style::mark(series, *at));
    }
    for ((at, name), label) in marks.iter().zip(&boxes) {
        // Held where it is nearest to its mark, so that a browser's wider font grows away from it.
        let (x, anchor) = match (label.left > at.0, label.right < at.0) {
            (true, _) => (label.left, Anchor::Start),
            (_, true) => (label.right, Anchor::End),
            _ => (0.5 * (label.left + label.right), Anchor::Middle),
        };
        draft.svg.text("q-label", (x, label.bottom - 3.5), anchor, name);
    }
    let best = points.iter().min_by(|a, b| a.quality.total_cmp(&b.quality));
    let fastest = points.iter().min_by(|a, b| a.micros.total_cmp(&b.micros));
    let (Some(best), Some(fastest)) = (best, fastest) else {
        return Err(Error::Data(DataError::TooFewRows { what: "points", got: 0, least: 1 }));
    };
    let at_the_floor: Vec<&str> = points
        .iter()
        .filter(|point| floor.is_some_and(|floor| floor.holds(point.quality)))
        .map(|point| point.name)
        .collect();
    let nearest = match at_the_floor.is_empty() {
        true => format!("Nearest to the truth: {}, {:.5}.", best.name, best.quality),
        false => format!("At the floor, as a perfect sampler would be: {}.", at_the_floor.join(", ")),
    };
    draft.description = format!(
        "{} models by {measure} and µs per row. Fastest: {}, {:.3} µs. {nearest}",
        points.len(),
        fastest.name,
        fastest.micros,
    );
    draft.height = top + height + BELOW;
    Ok(draft.finish())
}

pub(super) fn mark_key(series: usize) -> impl Fn(&mut Svg, (f64, f64)) {
    move |svg, at| svg.path(&format!("q-mark {}", style::color(series)), &style::mark(series, at))
}

/// The legend of a floor.
pub(super) const AT_THE_FLOOR: &str = "the floor: mean and reach of a perfect sampler";

/// The values of a floor that a chart has to hold.
pub(super) fn levels(floor: Option<Floor>) -> impl Iterator<Item = f64> + Clone {
    floor.into_iter().flat_map(|floor| [floor.mean, floor.reach()])
}

pub(super) fn floor_key(svg: &mut Svg, (x, y): (f64, f64)) {
    draw_reach(svg, (x - 8.0, x + 8.0), (y - 5.0, y + 2.0));
}

/// A dashed line at the mean, and a band from there to the reach: what lies below the band's top is at the floor.
pub(super) fn draw_floor(svg: &mut Svg, frame: &Frame, floor: &Floor) {
    let y = |value: f64| frame.at((1.0, value)).1;
    let sides = (frame.corner.0, frame.corner.0 + frame.size.0);
    draw_reach(svg, sides, (y(floor.reach()), y(floor.mean)));
}

fn draw_reach(svg: &mut Svg, (left, right): (f64, f64), (reach, mean): (f64, f64)) {
    let (mut band, mut line) = (Path::default(), Path::default());
    band.ring([(left, reach), (right, reach), (right, mean), (left, mean)]);
    svg.path("q-band q6", &band);
    line.polyline([(left, mean), (right, mean)]);
    svg.path("q-dash", &line);
}

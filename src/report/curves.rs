use super::axis::{Axis, BELOW, Frame, RIGHT, Scale};
use super::svg::{Path, Svg};
use super::tradeoff::{AT_THE_FLOOR, draw_floor, floor_key, levels, mark_key};
use super::{Draft, Entry, Picture, style};
use crate::error::{DataError, Error, Result};
use crate::map::Objective;
use crate::metrics::Floor;
use crate::model::{Stop, TrainReport};

/// A line in the chart of [`steps_vs_quality`] or [`growth`].
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Its name.
    pub name: String,
    /// Pairs (x, y), all more than 0: network evaluations and the distance from the truth.
    pub points: Vec<(f64, f64)>,
}

/// Quality against network evaluations per row, a line with marks for each curve, both axes logarithmic.
/// `measure` names the quality, and `floor` is the value for a perfect sampler.
///
/// # Errors
/// [`DataError::TooFewRows`] for no points, [`DataError::NonFinite`] and [`Error::Config`] for a number that is not
/// finite or not more than 0.
pub fn steps_vs_quality(
    title: &str,
    measure: &str,
    curves: &[Curve],
    floor: Option<Floor>,
) -> Result<Picture> {
    let axes = ("network evaluations per row", &*format!("{measure} (lower is better)"));
    let names: Vec<&str> = curves.iter().map(|curve| curve.name.as_str()).collect();
    let description = format!("Lines of {measure} against {}: {}.", axes.0, names.join(", "));
    lines(title, axes, description, curves, floor)
}

/// How something grows: a line with marks for each curve, both axes logarithmic, so that a power is a straight line.
/// `axes` names what is along x and along y.
///
/// ```
/// use quadrivium::report::{Curve, growth};
/// let square = Curve { name: "a square".into(), points: vec![(1.0, 1.0), (2.0, 4.0), (4.0, 16.0)] };
/// let picture = growth("Areas", ("side, m", "area, m²"), &[square])?;
/// assert!(picture.description().contains("area, m²"));
/// # Ok::<(), quadrivium::Error>(())
/// ```
///
/// # Errors
/// As [`steps_vs_quality`].
pub fn growth(title: &str, axes: (&str, &str), curves: &[Curve]) -> Result<Picture> {
    let names: Vec<&str> = curves.iter().map(|curve| curve.name.as_str()).collect();
    let description = format!("Lines of {} against {}: {}.", axes.1, axes.0, names.join(", "));
    lines(title, axes, description, curves, None)
}

fn lines(
    title: &str,
    axes: (&str, &str),
    description: String,
    curves: &[Curve],
    floor: Option<Floor>,
) -> Result<Picture> {
    let mut draft = Draft::new(title, 480.0);
    let points = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    let x = Axis::around(axes.0, "Curve::points", Scale::Logarithmic, points().map(|point| point.0))?;
    let values = points().map(|point| point.1).chain(levels(floor));
    let y = Axis::around(axes.1, "Curve::points", Scale::Logarithmic, values)?;

    let keys: Vec<_> = (0..curves.len()).map(line_key).collect();
    let mut entries: Vec<Entry<'_>> = Vec::new();
    entries.extend(curves.iter().zip(&keys).map(|(curve, key)| (curve.name.as_str(), key as _)));
    if floor.is_some() {
        entries.push((AT_THE_FLOOR, &floor_key));
    }
    draft.legend(&entries);
    let frame = Frame::below(&draft, 300.0, RIGHT, x, y);
    frame.draw(&mut draft.svg);
    if let Some(floor) = floor {
        draw_floor(&mut draft.svg, &frame, &floor);
    }
    for (series, curve) in curves.iter().enumerate() {
        let mut points = curve.points.clone();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut line = Path::default();
        line.polyline(points.iter().map(|&point| frame.at(point)));
        draft.svg.path(&format!("q-line {}", style::color(series)), &line);
        for &point in &points {
            mark_key(series)(&mut draft.svg, frame.at(point));
        }
    }
    draft.description = description;
    draft.height = frame.corner.1 + frame.size.1 + BELOW;
    Ok(draft.finish())
}

fn line_key(series: usize) -> impl Fn(&mut Svg, (f64, f64)) {
    move |svg, (x, y)| {
        let mut path = Path::default();
        path.polyline([(x - 8.0, y), (x + 8.0, y)]);
        svg.path(&format!("q-line {}", style::color(series)), &path);
        mark_key(series)(svg, (x, y));
    }
}

/// The series of the loss on held-out rows.
const HELD_OUT: usize = style::SERIES - 1;
const HELD_OUT_ROWS: &str = "held-out rows";

/// The most points of a training curve.
const BINS: usize = 160;

/// Why the loss of a VAE rises at first and lies below the loss on held-out rows.
const KL_WARM_UP: &str = "loss = reconstruction + weight · KL. During the warm-up the weight rises from 0, so the \
                          loss may rise; only afterwards is it comparable with the loss on held-out rows, which is \
                          always measured with the full weight.";

/// The loss, its parts and the validation loss of a training run for an `objective`, which names their unit. Each
/// line is a mean over neighboring steps, and the band around the loss spans their minimum and maximum. The loss on
/// held-out rows is shown as measured.
///
/// The axis covers 98 % of the values of the lines, so that extreme values at the start do not flatten the rest. Text
/// above the frame says which values lie outside of it, and until which step; for a VAE it also explains the warm-up.
///
/// # Errors
/// [`DataError::TooFewRows`] for a report without steps, [`DataError::NonFinite`] for a value that is not finite.
pub fn training_curves(title: &str, objective: Objective, report: &TrainReport) -> Result<Picture> {
    let steps = report.loss.len();
    let mut series: Vec<(&str, Vec<Bin>)> = vec![("loss", bins("TrainReport::loss", &report.loss)?)];
    // If the loss has only one part, the loss itself says everything.
    if report.parts.len() > 1 {
        for (name, values) in &report.parts {
            series.push((name, bins("TrainReport::parts", values)?));
        }
    }
    let means = series.iter().flat_map(|(_, bins)| bins.iter().map(|bin| bin.mean));
    let validation = report.validation.iter().map(|&(_, loss)| loss);
    let label = format!("loss: {}", objective.loss_unit());
    let y = Axis::around(&label, "TrainReport::validation", Scale::Linear, robust(means.chain(validation)))?;

    let mut draft = Draft::new(title, 480.0);
    let keys: Vec<_> = (0..series.len()).map(line_key).collect();
    let mut entries: Vec<Entry<'_>> = Vec::new();
    entries.extend(series.iter().zip(&keys).map(|((name, _), key)| (*name, key as _)));
    let held_out = line_key(HELD_OUT);
    if !report.validation.is_empty() {
        entries.push((HELD_OUT_ROWS, &held_out));
    }
    draft.legend(&entries);
    let beyond = beyond(&y, &series, &report.validation);
    if objective == Objective::Elbo {
        draft.note(KL_WARM_UP);
    }
    if let Some(beyond) = &beyond {
        draft.note(beyond);
    }
    let x = Axis::linear("step", (0.0, steps as f64));
    let frame = Frame::below(&draft, 260.0, RIGHT, x, y);
    frame.draw(&mut draft.svg);
    frame.clipped(&mut draft.svg, |svg| {
        let mut band = Path::default();
        let (low, high) =
            (|bin: &Bin| frame.at((bin.step, bin.low)), |bin: &Bin| frame.at((bin.step, bin.high)));
        band.ring(series[0].1.iter().map(low).chain(series[0].1.iter().rev().map(high)));
        svg.path("q-band q0", &band);
        for (k, (_, bins)) in series.iter().enumerate() {
            let mut line = Path::default();
            line.polyline(bins.iter().map(|bin| frame.at((bin.step, bin.mean))));
            svg.path(&format!("q-line {}", style::color(k)), &line);
            // A few marks, for readers who cannot tell the colors apart.
            for bin in bins.iter().skip(bins.len() / 12).step_by(bins.len().div_ceil(6)) {
                mark_key(k)(svg, frame.at((bin.step, bin.mean)));
            }
        }
        let checks = || report.validation.iter().map(|&(step, loss)| frame.at((step as f64, loss)));
        let mut line = Path::default();
        line.polyline(checks());
        svg.path(&format!("q-line {}", style::color(HELD_OUT)), &line);
        for at in checks().step_by(report.validation.len().div_ceil(9).max(1)) {
            mark_key(HELD_OUT)(svg, at);
        }
    });
    let last = series[0].1.last().map_or(f64::NAN, |bin| bin.mean);
    draft.description = format!(
        "Loss over {steps} steps of training, {last:.3} at the end{}{} ({}).{}{}",
        match report.validation.last() {
            Some((_, loss)) => format!("; on held-out rows {loss:.3}"),
            None => String::new(),
        },
        match report.stop {
            Stop::Completed => "",
            Stop::Interrupted => "; it was interrupted",
            Stop::Patience => "; it stopped when the loss on held-out rows no longer fell",
        },
        objective.loss_unit(),
        if objective == Objective::Elbo { format!(" {KL_WARM_UP}") } else { String::new() },
        beyond.map_or(String::new(), |beyond| format!(" {beyond}")),
    );
    draft.height = frame.corner.1 + frame.size.1 + BELOW;
    Ok(draft.finish())
}

/// Which values lie outside of the frame, in a sentence.
fn beyond(y: &Axis, series: &[(&str, Vec<Bin>)], validation: &[(usize, f64)]) -> Option<String> {
    let mut lines: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for (k, (name, bins)) in series.iter().enumerate() {
        // The band already shows the loss.
        let shown = |bin: &Bin| if k == 0 { vec![bin.low, bin.high] } else { vec![bin.mean] };
        let points = bins.iter().flat_map(|bin| shown(bin).into_iter().map(|value| (bin.end, value)));
        lines.push((name, points.collect()));
    }
    lines.push((HELD_OUT_ROWS, validation.iter().map(|&(step, loss)| (step as f64, loss)).collect()));
    let told: Vec<String> = (lines.into_iter())
        .filter_map(|(name, points)| {
            let outside = || points.iter().filter(|point| !y.holds(point.1));
            let far = |value: f64| (y.place(value) - 0.5).abs();
            let farthest = outside().max_by(|a, b| far(a.1).total_cmp(&far(b.1)))?.1;
            let until = outside().map(|point| point.0).fold(0.0, f64::max);
            Some(format!("{name} to {} (until step {until})", three_digits(farthest)))
        })
        .collect();
    (!told.is_empty()).then(|| format!("Beyond the frame: {}.", told.join(", ")))
}

/// To three significant digits.
fn three_digits(v: f64) -> String {
    match v.abs() {
        1e6.. => format!("{v:.2e}"),
        size => {
            let digits = (2.0 - size.max(1e-9).log10().floor()).clamp(0.0, 11.0) as usize;
            format!("{v:.digits$}")
        }
    }
    .replace('-', "−")
}

/// Neighboring steps.
struct Bin {
    /// Their middle, and the last of them.
    step: f64,
    end: f64,
    mean: f64,
    low: f64,
    high: f64,
}

fn bins(what: &'static str, values: &[f64]) -> Result<Vec<Bin>> {
    if values.is_empty() {
        return Err(Error::Data(DataError::TooFewRows { what, got: 0, least: 1 }));
    }
    if let Some(row) = values.iter().position(|v| !v.is_finite()) {
        return Err(Error::Data(DataError::NonFinite { what, row, column: 0, value: values[row] }));
    }
    let width = values.len().div_ceil(BINS);
    let bin = |(k, values): (usize, &[f64])| Bin {
        step: (k * width) as f64 + 0.5 * values.len() as f64,
        end: (k * width + values.len()) as f64,
        // Each divided first: a sum of losses near the end of f64 would overflow.
        mean: values.iter().map(|v| v / values.len() as f64).sum(),
        low: values.iter().copied().fold(f64::INFINITY, f64::min),
        high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    };
    Ok(values.chunks(width).enumerate().map(bin).collect())
}

/// The values without the outermost hundredth on each side; values that are not finite are kept.
fn robust(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let out = values.len() / 100;
    if values.iter().all(|v| v.is_finite()) { values[out..values.len() - out].to_vec() } else { values }
}

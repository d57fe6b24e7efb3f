use ndarray::{ArrayView2, ArrayView3, Axis as Along, s};

use super::axis::{Axis, BELOW, Frame, LEFT};
use super::density::{DensityMap, PLAIN, Window, check_plane, plane_frame};
use super::svg::{Anchor, Path, Svg};
use super::{Draft, Entry, MARGIN, Picture};
use crate::engine::check_finite;
use crate::error::{DataError, Error, Result, check};

const CONTOURS: &str = "regions that hold 50, 90 and 99 % of the truth";

/// Rows x: (n, 2) as dots, over the contours that hold 50, 90 and 99 % of a density.
///
/// # Errors
/// [`DataError::Shape`] for another number of columns, [`DataError::TooFewRows`] for no rows,
/// [`DataError::NonFinite`] for a NaN or an infinity.
pub fn scatter(title: &str, x: ArrayView2<f32>, truth: Option<&DensityMap>) -> Result<Picture> {
    check_plane("x", x)?;
    let around = Window::around(x)?;
    let window = truth.map_or(around, DensityMap::window);
    let mut draft = Draft::new(title, 480.0);
    let (dots, outside) = (|frame: &Frame| dots(frame, window, x), rows_outside(window, x));
    let label = rows_label(x.nrows(), outside);
    legend_over(&mut draft, &label, truth.is_some());
    let frame = plane_frame(&draft, window, PLAIN);
    frame.draw(&mut draft.svg);
    let dots = dots(&frame);
    draw_over(truth, &frame, &mut draft.svg, |svg| svg.path("q-dots q0", &dots));
    let (rows, over) = (x.nrows(), over(truth.is_some()));
    draft.description = match outside {
        0 => format!("Scatter of {rows} rows{over}."),
        _ => format!("Scatter of {rows} rows{over}; {outside} of them outside the frame."),
    };
    draft.height = frame.corner.1 + frame.size.1 + BELOW;
    Ok(draft.finish())
}

/// What `draw` draws, over the contours, within the frame.
fn draw_over(truth: Option<&DensityMap>, frame: &Frame, svg: &mut Svg, draw: impl FnOnce(&mut Svg)) {
    frame.clipped(svg, |svg| {
        if let Some(truth) = truth {
            truth.draw_contours(frame, svg);
        }
        draw(svg);
    });
}

fn over(contours: bool) -> String {
    if contours { format!(" over the {CONTOURS}") } else { String::new() }
}

fn rows_label(rows: usize, outside: usize) -> String {
    match outside {
        0 => format!("{rows} rows"),
        _ => format!("{rows} rows, {outside} of them outside the frame"),
    }
}

fn rows_outside(window: Window, x: ArrayView2<f32>) -> usize {
    x.rows().into_iter().filter(|row| !window.holds(row[0].into(), row[1].into())).count()
}

fn dots(frame: &Frame, window: Window, x: ArrayView2<f32>) -> Path {
    let mut path = Path::default();
    for row in x.rows() {
        let (x, y) = (f64::from(row[0]), f64::from(row[1]));
        if window.holds(x, y) {
            path.dot(frame.at((x, y)));
        }
    }
    path
}

fn dot_key(class: &'static str) -> impl Fn(&mut Svg, (f64, f64)) {
    move |svg, (x, y)| {
        let mut path = Path::default();
        [(-4.0, 2.0), (0.0, -2.0), (4.0, 1.0)].iter().for_each(|(dx, dy)| path.dot((x + dx, y + dy)));
        svg.path(class, &path);
    }
}

fn region_key(svg: &mut Svg, (x, y): (f64, f64)) {
    for r in [6.5, 3.0] {
        let mut path = Path::default();
        path.ring([(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]);
        svg.path("q-land", &path);
    }
}

fn legend_over(draft: &mut Draft, label: &str, contours: bool) {
    let dots = dot_key("q-dots q0");
    let mut entries: Vec<Entry<'_>> = vec![(label, &dots)];
    if contours {
        entries.push((CONTOURS, &region_key));
    }
    draft.legend(&entries);
}

/// The paths of rows from noise to data, states: (n, states, 2). The first state is noise, the last a drawn row,
/// as returned by [`Diffusion::sample_path`](crate::Diffusion::sample_path) and
/// [`FlowMatching::sample_path`](crate::FlowMatching::sample_path).
///
/// # Errors
/// [`DataError::Shape`] for another number of columns or fewer than 2 states, [`DataError::TooFewRows`] for no rows,
/// [`DataError::NonFinite`] for a NaN or an infinity (its row counts the states of all rows).
pub fn trajectories(title: &str, states: ArrayView3<f32>, truth: Option<&DensityMap>) -> Result<Picture> {
    let (n, steps, dim) = states.dim();
    if dim != 2 || steps < 2 {
        let expected = "(n, 2 or more, 2)".into();
        return Err(Error::Data(DataError::Shape { what: "states", got: states.shape().to_vec(), expected }));
    }
    let flat = states.as_standard_layout();
    let flat = flat.view().into_shape_with_order((n * steps, 2)).expect("standard layout");
    check_finite("states", flat)?;
    let mut window = Window::around(flat)?;
    if let Some(truth) = truth {
        let inner = truth.window();
        window.x = (window.x.0.min(inner.x.0), window.x.1.max(inner.x.1));
        window.y = (window.y.0.min(inner.y.0), window.y.1.max(inner.y.1));
    }
    let mut draft = Draft::new(title, 480.0);
    let path = |svg: &mut Svg, (x, y): (f64, f64)| {
        let mut path = Path::default();
        path.polyline([(x - 7.0, y + 3.0), (x - 2.0, y - 3.0), (x + 2.0, y + 2.0), (x + 7.0, y - 3.0)]);
        svg.path("q-thin q6", &path);
    };
    let start = |svg: &mut Svg, at| svg.path("q-open q1", &circles([at], 3.0));
    let end = |svg: &mut Svg, at| svg.path("q-mark q0", &circles([at], 3.2));
    let paths = format!("{n} paths of {} steps", steps - 1);
    let mut entries: Vec<Entry<'_>> = vec![("noise", &start), (&paths, &path), ("rows drawn", &end)];
    if truth.is_some() {
        entries.push((CONTOURS, &region_key));
    }
    draft.legend(&entries);
    let frame = plane_frame(&draft, window, PLAIN);
    frame.draw(&mut draft.svg);
    let at =
        |row: usize, step: usize| frame.at((states[[row, step, 0]].into(), states[[row, step, 1]].into()));
    draw_over(truth, &frame, &mut draft.svg, |svg| {
        let mut paths = Path::default();
        (0..n).for_each(|row| paths.polyline((0..steps).map(|step| at(row, step))));
        svg.path("q-thin q6", &paths);
        svg.path("q-open q1", &circles((0..n).map(|row| at(row, 0)), 2.4));
        svg.path("q-mark q0", &circles((0..n).map(|row| at(row, steps - 1)), 2.8));
    });
    draft.description =
        format!("The paths of {n} rows from noise to data in {} steps{}.", steps - 1, over(truth.is_some()));
    draft.height = frame.corner.1 + frame.size.1 + BELOW;
    Ok(draft.finish())
}

fn circles(centers: impl IntoIterator<Item = (f64, f64)>, r: f64) -> Path {
    let mut path = Path::default();
    for (x, y) in centers {
        path.ring((0..10).map(|k| {
            let (sin, cos) = (f64::from(k) * std::f64::consts::TAU / 10.0).sin_cos();
            (x + r * cos, y + r * sin)
        }));
    }
    path
}

/// Rows at several times, a panel for each, in reading order: what a generator makes of the same noise as it
/// trains, or the states of a sampler.
///
/// # Errors
/// [`Error::Config`] for no panel or more than 24, and as [`scatter`] for the rows of each.
pub fn snapshots(
    title: &str,
    panels: &[(String, ArrayView2<f32>)],
    truth: Option<&DensityMap>,
) -> Result<Picture> {
    check((1..=24).contains(&panels.len()), "panels", panels.len(), "1 to 24")?;
    for (_, x) in panels {
        check_plane("a panel's rows", *x)?;
    }
    let views: Vec<_> = panels.iter().map(|(_, x)| x.slice(s![.., ..])).collect();
    let all = ndarray::concatenate(Along(0), &views).expect("two columns each");
    let around = Window::around(all.view())?;
    let window = truth.map_or(around, DensityMap::window);
    let mut draft = Draft::new(title, 480.0);
    let outside: usize = views.iter().map(|x| rows_outside(window, *x)).sum();
    let first = views[0].nrows();
    let label = match views.iter().all(|x| x.nrows() == first) {
        true => format!("{first} rows in each panel"),
        false => format!("{} rows", all.nrows()),
    };
    let label = match outside {
        0 => label,
        _ => format!("{label}, {outside} in all outside the frames"),
    };
    legend_over(&mut draft, &label, truth.is_some());

    let columns = panels.len().min(3);
    let gap = 10.0;
    let side = (draft.width - 2.0 * MARGIN - gap * (columns - 1) as f64) / columns as f64;
    let top = draft.height + 8.0;
    // As the plane's own shape, whatever the picture's width.
    let high = side * plane_frame(&draft, window, PLAIN).size.1 / (draft.width - LEFT - PLAIN);
    for (k, ((caption, _), x)) in panels.iter().zip(&views).enumerate() {
        let corner =
            (MARGIN + (side + gap) * (k % columns) as f64, top + 20.0 + (high + 30.0) * (k / columns) as f64);
        let axes = (Axis::linear("", window.x), Axis::linear("", window.y));
        let frame = Frame { corner, size: (side, high), x: axes.0, y: axes.1 };
        draft.svg.text("q-text", (corner.0 + 0.5 * side, corner.1 - 6.0), Anchor::Middle, caption);
        let dots = dots(&frame, window, *x);
        draw_over(truth, &frame, &mut draft.svg, |svg| svg.path("q-dots q0", &dots));
        let mut edge = Path::default();
        let (right, bottom) = (corner.0 + side, corner.1 + high);
        edge.ring([corner, (right, corner.1), (right, bottom), (corner.0, bottom)]);
        draft.svg.path("q-axis", &edge);
    }
    let captions: Vec<&str> = panels.iter().map(|(caption, _)| caption.as_str()).collect();
    draft.description =
        format!("{} panels of rows{}: {}.", panels.len(), over(truth.is_some()), captions.join(", "));
    draft.height = top + 20.0 + (high + 30.0) * panels.len().div_ceil(columns) as f64 - 10.0;
    Ok(draft.finish())
}

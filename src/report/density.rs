use contour::ContourBuilder;
use ndarray::{Array2, ArrayView2};

use super::axis::{Axis, BELOW, Frame, LEFT, RIGHT};
use super::style;
use super::svg::{Anchor, Path, Svg};
use super::{Draft, Picture};
use crate::error::{DataError, Error, Result, check};
use crate::model::{Generative, LikelihoodKind, LikelihoodOptions, check_rows};
use crate::worlds::Toy;

/// A part of the plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Left and right end: finite, and further apart than the rounding of f32.
    pub x: (f64, f64),
    /// Lower and upper end, likewise.
    pub y: (f64, f64),
}

impl Window {
    /// The window around rows x: (n, 2), with a margin of 8 %. The outermost thousandth of the rows on each side
    /// is left out.
    ///
    /// # Errors
    /// [`DataError::Shape`] for another number of columns, [`DataError::TooFewRows`] for no rows,
    /// [`DataError::NonFinite`] for a NaN or an infinity.
    pub fn around(x: ArrayView2<f32>) -> Result<Self> {
        check_plane("x", x)?;
        if x.nrows() == 0 {
            return Err(Error::Data(DataError::TooFewRows { what: "x", got: 0, least: 1 }));
        }
        let side = |column: usize| {
            let mut values: Vec<f64> = x.column(column).iter().map(|&v| v.into()).collect();
            values.sort_by(f64::total_cmp);
            let out = values.len() / 1000;
            let (low, high) = (values[out], values[values.len() - 1 - out]);
            let margin = (0.08 * (high - low)).max(1e-3 * low.abs().max(high.abs())).max(1e-6);
            (low - margin, high + margin)
        };
        Ok(Window { x: side(0), y: side(1) })
    }

    fn validate(&self) -> Result<()> {
        for (field, side) in [("Window::x", self.x), ("Window::y", self.y)] {
            let (low, high) = (side.0 as f32, side.1 as f32);
            let least = 1e-5 * low.abs().max(high.abs());
            check(
                low.is_finite() && high.is_finite() && high - low > least,
                field,
                side,
                "finite ends, the second beyond the first by more than f32 rounds",
            )?;
        }
        Ok(())
    }

    pub(super) fn holds(&self, x: f64, y: f64) -> bool {
        (self.x.0..=self.x.1).contains(&x) && (self.y.0..=self.y.1).contains(&y)
    }

    /// Height over width as drawn: the plane's own where that is not far from a square, as units of columns
    /// that have little to do with each other would make it.
    fn aspect(&self) -> f64 {
        let aspect = (self.y.1 - self.y.0) / (self.x.1 - self.x.0);
        if (0.45..=1.6).contains(&aspect) { aspect } else { 0.9 }
    }
}

/// x: (n, 2), finite.
pub(super) fn check_plane(what: &'static str, x: ArrayView2<f32>) -> Result<()> {
    check_rows(what, x, 2)
}

/// ln p on a lattice over a part of the plane.
#[derive(Debug, Clone, PartialEq)]
pub struct DensityMap {
    window: Window,
    /// At the centers of the cells, the lowest row first: (cells, cells).
    nats: Array2<f64>,
    source: String,
    unnormalized: bool,
}

/// Nats below the peak that are told apart; an isotropic normal density falls by them in 4.9 σ.
const DEPTH: f64 = 12.0;

/// Steps of color.
const BANDS: usize = 24;

impl DensityMap {
    /// The truth, at `cells` × `cells` places.
    ///
    /// # Errors
    /// [`DataError::Shape`] for a toy that does not live in the plane, [`Error::Config`] for a window without
    /// extent, cells that are not 2 to 2048, and a density that is 0 everywhere in the window.
    pub fn of_toy(toy: &Toy, window: Window, cells: usize) -> Result<Self> {
        check_dim("the toy's rows", toy.dim())?;
        let rows = lattice(window, cells)?;
        let nats = toy.log_density(rows.view())?.into_raw_vec_and_offset().0;
        DensityMap::new(window, cells, nats, "the truth".into(), false)
    }

    /// The log-density of a model, whatever the kind of its likelihood; an unnormalized one is shown up to its
    /// constant.
    ///
    /// # Errors
    /// As [`of_toy`](DensityMap::of_toy), [`Error::NoLikelihood`] for a model without one, and what
    /// [`log_likelihood`](crate::Distribution::log_likelihood) reports.
    pub fn of_model(
        model: &dyn Generative,
        window: Window,
        cells: usize,
        options: &LikelihoodOptions,
    ) -> Result<Self> {
        use crate::model::LogLikelihood::*;
        check_dim("the model's rows", model.dim())?;
        let card = model.card();
        // Not only to spare the work: a model without likelihood may still be asked.
        if card.likelihood == LikelihoodKind::Unavailable {
            return Err(Error::NoLikelihood { model: card.name.into() });
        }
        let rows = lattice(window, cells)?;
        let scores = model.log_likelihood(rows.view(), options)?;
        let (kind, unnormalized) = (scores.kind(), scores.kind() == LikelihoodKind::Unnormalized);
        let nats = match scores {
            Exact(nats)
            | LowerBound { nats, .. }
            | OdeEstimate { nats, .. }
            | Estimate { nats, .. }
            | Unnormalized(nats) => nats,
            Unavailable => return Err(Error::NoLikelihood { model: card.name.into() }),
        };
        let source = format!("{} ({kind})", card.name);
        DensityMap::new(window, cells, nats.into_raw_vec_and_offset().0, source, unnormalized)
    }

    fn new(
        window: Window,
        cells: usize,
        mut nats: Vec<f64>,
        source: String,
        unnormalized: bool,
    ) -> Result<Self> {
        if let Some(cell) = nats.iter().position(|v| v.is_nan() || *v == f64::INFINITY) {
            let (row, column) = (cell / cells, cell % cells);
            return Err(Error::Data(DataError::NonFinite {
                what: "the log-density",
                row,
                column,
                value: nats[cell],
            }));
        }
        let peak = nats.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        check(peak.is_finite(), "Window", window, "a part of the plane where the density is not 0")?;
        // Lines are found between neighbors by their values: −∞ has none.
        nats.iter_mut().for_each(|v| *v = v.max(peak - 4.0 * DEPTH));
        let nats = Array2::from_shape_vec((cells, cells), nats).expect("a value per cell");
        Ok(DensityMap { window, nats, source, unnormalized })
    }

    /// The part of the plane that it covers.
    pub fn window(&self) -> Window {
        self.window
    }

    fn peak(&self) -> f64 {
        self.nats.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The levels above which the shares of the density's mass lie that the window holds.
    pub(super) fn levels_holding(&self, shares: &[f64]) -> Vec<f64> {
        let peak = self.peak();
        let mut nats: Vec<f64> = self.nats.iter().copied().collect();
        nats.sort_by(|a, b| b.total_cmp(a));
        let total: f64 = nats.iter().map(|v| (v - peak).exp()).sum();
        let level = |share: f64| {
            let mut held = 0.0;
            let inside = nats.iter().position(|v| {
                held += (v - peak).exp();
                held >= share * total
            });
            // A little lower: a plateau's level lies along no line.
            nats[inside.unwrap_or(nats.len() - 1)] - 1e-3
        };
        let mut levels: Vec<f64> = shares.iter().map(|&share| level(share)).collect();
        levels.dedup_by(|a, b| (*a - *b).abs() < 0.01);
        levels
    }

    /// The borders of the regions where ln p is at least each of the `levels`, as rings in a frame.
    pub(super) fn rings(&self, frame: &Frame, levels: &[f64]) -> Vec<Path> {
        let cells = self.nats.ncols();
        let Window { x, y } = self.window;
        let step = |side: (f64, f64)| (side.1 - side.0) / cells as f64;
        let traced = ContourBuilder::new(cells, cells, true)
            .x_origin(x.0)
            .y_origin(y.0)
            .x_step(step(x))
            .y_step(step(y))
            .lines(self.nats.as_slice().expect("row-major"), levels)
            .expect("as many values as cells");
        let path = |line: &contour::Line| {
            let mut path = Path::default();
            for ring in line.geometry() {
                // Rings end where they begin, which closing them says too.
                let points = &ring.0[..ring.0.len().saturating_sub(1)];
                path.ring(points.iter().map(|at| frame.at((at.x, at.y))));
            }
            path
        };
        traced.iter().map(path).collect()
    }

    /// The regions that hold 50, 90 and 99 % of the density.
    pub(super) fn draw_contours(&self, frame: &Frame, svg: &mut Svg) {
        let rings = self.rings(frame, &self.levels_holding(&[0.5, 0.9, 0.99]));
        rings.iter().for_each(|ring| svg.path("q-land", ring));
    }
}

fn check_dim(what: &'static str, dim: usize) -> Result<()> {
    if dim == 2 {
        Ok(())
    } else {
        Err(Error::Data(DataError::Shape { what, got: vec![dim], expected: "2 columns".into() }))
    }
}

/// The centers of the cells, row by row from the lowest: (cells², 2).
fn lattice(window: Window, cells: usize) -> Result<Array2<f32>> {
    window.validate()?;
    check((2..=2048).contains(&cells), "cells", cells, "2 to 2048")?;
    let along = |side: (f64, f64), k: usize| side.0 + (side.1 - side.0) * (k as f64 + 0.5) / cells as f64;
    Ok(Array2::from_shape_fn((cells * cells, 2), |(k, column)| match column {
        0 => along(window.x, k % cells) as f32,
        _ => along(window.y, k / cells) as f32,
    }))
}

/// A frame for a part of the plane.
pub(super) fn plane_frame(draft: &Draft, window: Window, right: f64) -> Frame {
    let width = draft.width - LEFT - right;
    let axes = (Axis::linear("x₁", window.x), Axis::linear("x₂", window.y));
    Frame::below(draft, (width * window.aspect()).round(), right, axes.0, axes.1)
}

/// ln p as color, with a bar that gives the scale in nats.
///
/// The colors span the 12 nats below the peak; everything lower has the lowest color.
///
/// # Errors
/// None at present: every [`DensityMap`] can be drawn.
pub fn heat_map(title: &str, density: &DensityMap) -> Result<Picture> {
    let mut draft = Draft::new(title, 480.0);
    let peak = density.peak();
    let unit = if density.unnormalized { "ln p + a constant, nats" } else { "ln p, nats" };
    draft.description = format!(
        "Heat map of the log-density of {} over the plane; its peak in this window is {peak:.2} nats{}.",
        density.source,
        if density.unnormalized { ", up to a constant" } else { "" }
    );
    let frame = plane_frame(&draft, density.window, 84.0);
    let levels: Vec<f64> = (1..BANDS).map(|band| peak - DEPTH + DEPTH * band as f64 / BANDS as f64).collect();
    let color = |band: usize| style::viridis(band as f64 / (BANDS - 1) as f64);
    draft.svg.slab(&color(0), frame.corner, frame.size);
    let rings = density.rings(&frame, &levels);
    frame.clipped(&mut draft.svg, |svg| {
        rings.iter().enumerate().for_each(|(k, ring)| svg.region(&color(k + 1), ring));
    });
    frame.draw_over(&mut draft.svg);

    // The bar, a slab of color for each band.
    let (left, top) = (frame.corner.0 + frame.size.0 + 16.0, frame.corner.1);
    let height = frame.size.1;
    for band in (0..BANDS).rev() {
        let from = top + height * (BANDS - 1 - band) as f64 / BANDS as f64;
        // Each slab reaches below the next, so that no light shows between.
        draft.svg.slab(&color(band), (left, from), (14.0, top + height - from));
    }
    let scale = Axis::linear(unit, (peak - DEPTH, peak));
    let mut ticks = Path::default();
    for (value, label) in scale.ticks((height / 55.0).max(2.0)) {
        let y = top + height * (1.0 - scale.place(value));
        ticks.polyline([(left + 14.0, y), (left + 18.0, y)]);
        draft.svg.text("q-soft", (left + 21.0, y + 4.0), Anchor::Start, &label);
    }
    draft.svg.path("q-axis", &ticks);
    draft.svg.text_upwards("q-text", (draft.width - 8.0, top + 0.5 * height), unit);
    draft.height = top + height + BELOW;
    Ok(draft.finish())
}

/// Right of a plane without a bar.
pub(super) const PLAIN: f64 = RIGHT;

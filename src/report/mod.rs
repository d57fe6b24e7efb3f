//! Pictures of data, models and measurements, with the feature `plot`: as SVG and, of the same picture, as PNG.
//!
//! | picture | shows |
//! | --- | --- |
//! | [`scatter`] | rows over the contours of a density |
//! | [`heat_map`] | ln p of a model or of the truth over the plane |
//! | [`trajectories`] | the ways of rows from noise to data |
//! | [`snapshots`] | the same noise as rows at several times: a generator in training |
//! | [`training_curves`] | what a [`TrainReport`](crate::TrainReport) holds |
//! | [`tradeoffs`] | quality against latency, a labelled mark for each model |
//! | [`steps_vs_quality`] | quality against network evaluations, a line for each sampler |
//!
//! ```
//! use quadrivium::report::{DensityMap, Window, heat_map, scatter};
//! use quadrivium::{GaussianMixture, GaussianMixtureConfig, data::Toy, prelude::*};
//!
//! let (mut rng, moons) = (quadrivium::seeded(0), Toy::moons(0.1)?);
//! let x = moons.sample(500, &mut rng);
//! let truth = DensityMap::of_toy(&moons, Window::around(x.view())?, 64)?;
//! let picture = scatter("500 rows of two moons", x.view(), Some(&truth))?;
//! assert!(picture.svg().starts_with("<svg"));
//!
//! let model = GaussianMixture::new(GaussianMixtureConfig::default())?;
//! let density = DensityMap::of_model(&model, truth.window(), 32, &LikelihoodOptions::default())?;
//! let png = heat_map("A mixture that has seen nothing", &density)?.png(480)?;
//! assert_eq!(&png[1..4], b"PNG");
//! # Ok::<(), Error>(())
//! ```
//!
//! A picture is readable without seeing it (a `title` and a `desc` of what it holds, text as text), follows the
//! light or dark theme of the page that holds it, and tells series apart by colour and by mark, in colours that
//! every kind of colour vision can. The same input gives the same bytes, on any machine: a PNG's text is drawn
//! in a font that the crate carries (Inter, SIL Open Font License 1.1, cut down to 30 KB; a character that it
//! lacks shows as a box).
//!
//! A plotting crate was tried first. `plotters` 0.3 lets labels run over each other and off the edge, writes
//! colours that no theme can change, and neither title nor description; what is left of its work (ticks and
//! marks at their places) is little. So the marks are written here, and what is hard is left to kept crates:
//! drawing SVG to pixels (`resvg`), tracing contours (`contour`), colour scales (`colorous`).

mod axis;
mod curves;
mod density;
mod labels;
mod plane;
mod png;
mod style;
mod svg;
#[cfg(test)]
mod tests;
mod tradeoff;

use std::path::Path;

pub use self::curves::{Curve, steps_vs_quality, training_curves};
pub use self::density::{DensityMap, Window, heat_map};
pub use self::plane::{scatter, snapshots, trajectories};
pub use self::tradeoff::{Tradeoff, tradeoffs};

use self::svg::{Anchor, Svg};
use crate::error::{Error, Result};

/// A finished picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    svg: String,
    title: String,
    description: String,
    width: f64,
    height: f64,
}

impl Picture {
    /// The picture as an `<svg>` element: a file of its own, or part of an HTML page.
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// What it shows, in a few words.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What there is to see, for those who do not see it.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Width and height in pixels, as drawn at its natural size.
    pub fn size(&self) -> (f64, f64) {
        (self.width, self.height)
    }

    /// The picture in its light theme as a PNG file, `width` pixels wide; the height follows.
    ///
    /// # Errors
    /// [`Error::Config`] for a width that is not 1 to 8192.
    pub fn png(&self, width: u32) -> Result<Vec<u8>> {
        png::render(self, width)
    }

    /// Writes the picture to a file: SVG, or PNG of twice the natural size, by the ending of `path`.
    ///
    /// # Errors
    /// [`Error::Config`] for another ending, [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = match path.extension().and_then(|ending| ending.to_str()) {
            Some("svg") => self.svg.clone().into_bytes(),
            Some("png") => self.png((2.0 * self.width) as u32)?,
            _ => return Err(Error::config("path", path, "a name that ends in .svg or .png")),
        };
        std::fs::write(path, bytes).map_err(|source| Error::Io { path: path.display().to_string(), source })
    }
}

/// A picture in the making: its title stands, the rest follows below.
struct Draft {
    svg: Svg,
    title: String,
    description: String,
    width: f64,
    /// Of what is drawn so far.
    height: f64,
}

/// A line of a legend: its label, and what draws its key around a point.
type Entry<'a> = (&'a str, &'a dyn Fn(&mut Svg, (f64, f64)));

/// Side margin.
const MARGIN: f64 = 14.0;

impl Draft {
    fn new(title: &str, width: f64) -> Self {
        let mut svg = Svg::new();
        let mut height = 8.0;
        for line in svg::wrapped(title, 16.0, width - 2.0 * MARGIN) {
            height += 20.0;
            svg.text("q-title", (MARGIN, height - 2.0), Anchor::Start, &line);
        }
        Draft { svg, title: title.into(), description: String::new(), width, height }
    }

    /// Keys with their labels, in as many lines as they need.
    fn legend(&mut self, entries: &[Entry<'_>]) {
        let (mut x, mut fresh) = (MARGIN, true);
        for (label, key) in entries {
            let width = 24.0 + svg::text_width(label, 12.0);
            if fresh || x + width > self.width - MARGIN {
                (x, fresh) = (MARGIN, false);
                self.height += 18.0;
            }
            key(&mut self.svg, (x + 8.0, self.height - 6.0));
            self.svg.text("q-soft", (x + 20.0, self.height - 2.0), Anchor::Start, label);
            x += width + 14.0;
        }
    }

    /// A sentence below what is drawn, in as many lines as it needs.
    fn note(&mut self, text: &str) {
        // A browser's own font may be a sixth wider.
        for line in svg::wrapped(text, 12.0, 0.85 * (self.width - 2.0 * MARGIN)) {
            self.height += 18.0;
            self.svg.text("q-soft", (MARGIN, self.height - 2.0), Anchor::Start, &line);
        }
    }

    /// The picture, as high as what is drawn.
    fn finish(self) -> Picture {
        let Draft { svg, title, description, width, height } = self;
        let (w, h) = (svg::num(width), svg::num(height.ceil()));
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" \
             style=\"max-width:100%;height:auto\" font-family=\"Inter, system-ui, sans-serif\">\n<title>{}</title>\n<desc>{}</desc>\n<style>{}</style>\n\
             <rect class=\"q-bg\" width=\"{w}\" height=\"{h}\"/>\n{}</svg>\n",
            svg::escaped(&title),
            svg::escaped(&description),
            style::CSS,
            svg.body
        );
        Picture { svg: text, title, description, width, height: height.ceil() }
    }
}

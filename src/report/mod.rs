//! Pictures of data, models and measurements, with the feature `plot`: as SVG, and as PNG of the same picture.
//!
//! | picture | shows |
//! | --- | --- |
//! | [`scatter`] | rows over the contours of a density |
//! | [`heat_map`] | ln p of a model or of the truth over the plane |
//! | [`trajectories`] | the paths of rows from noise to data |
//! | [`snapshots`] | rows at several times, such as those of a generator in training |
//! | [`training_curves`] | the losses in a [`TrainReport`](crate::TrainReport) |
//! | [`tradeoffs`] | quality against latency, a labeled mark for each model |
//! | [`steps_vs_quality`] | quality against network evaluations, a line for each sampler |
//! | [`growth`] | how something grows with a size, a line for each way to do it |
//! | [`images`] | rows as gray images, a line of them for each model |
//! | [`margins`] | how far figures lie within their bounds |
//! | [`shares`] | the columns of two samples side by side |
//! | [`map`](map()) | the map of the paradigms, with what was measured beside it |
//!
//! ```
//! use quadrivium::report::{DensityMap, Window, heat_map, scatter};
//! use quadrivium::{GaussianMixture, GaussianMixtureConfig, worlds::Toy, *};
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
//! [`page`] puts pictures and tables into one HTML page.
//!
//! Pictures are accessible: each has a `title` and a `desc` for screen readers, text remains text, and series differ
//! in color and in mark, in colors that all kinds of color vision can tell apart. A picture follows the light or dark
//! theme of the page around it. The same input gives the same bytes on any machine: the text of a PNG is drawn in a
//! font that the crate includes (Inter, SIL Open Font License 1.1, reduced to 30 KB; a character that it lacks is
//! shown as a box).
//!
//! The plotting crate `plotters` 0.3 was tried first. Its labels overlap and run off the edge, its colors ignore the
//! page's theme, and it writes neither a title nor a description. What remains (placing ticks and marks) is little
//! work, so this module does it itself and leaves the hard parts to other crates: rasterizing SVG (`resvg`), tracing
//! contours (`contour`), color scales (`colorous`).

mod axis;
mod curves;
mod density;
mod images;
mod labels;
mod map;
mod margins;
pub mod page;
mod plane;
mod png;
mod shares;
mod style;
mod svg;
#[cfg(test)]
mod tests;
mod tradeoff;

use std::path::Path;

pub use self::curves::{Curve, growth, steps_vs_quality, training_curves};
pub use self::density::{DensityMap, Window, heat_map};
pub use self::images::images;
pub use self::map::{Landmark, map};
pub use self::margins::{Margin, margins};
pub use self::plane::{scatter, snapshots, trajectories};
pub use self::shares::{Panel, Share, shares};
pub use self::tradeoff::{Tradeoff, tradeoffs};

use self::svg::{Anchor, Svg};
use crate::error::{Error, FileError, Result};

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
    /// The picture as an `<svg>` element, for a file or for an HTML page.
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// The title, a few words.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// A description for readers who cannot see the picture.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Width and height in pixels at the natural size.
    pub fn size(&self) -> (f64, f64) {
        (self.width, self.height)
    }

    /// The picture in its light theme as a PNG file, `width` pixels wide and proportionally high.
    ///
    /// # Errors
    /// [`Error::Config`] for a width that is not 1 to 8192.
    pub fn png(&self, width: u32) -> Result<Vec<u8>> {
        png::render(self, width)
    }

    /// Writes the picture to a file. The extension of `path` chooses SVG, or PNG at twice the natural size.
    ///
    /// # Errors
    /// [`Error::Config`] for another extension, [`FileError::Io`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = match path.extension().and_then(|ending| ending.to_str()) {
            Some("svg") => self.svg.clone().into_bytes(),
            Some("png") => self.png((2.0 * self.width) as u32)?,
            _ => return Err(Error::config("path", path, "a name that ends in .svg or .png")),
        };
        std::fs::write(path, bytes)
            .map_err(|source| Error::File(FileError::Io { path: path.display().to_string(), source }))
    }
}

/// A picture under construction: it has its title, and the rest is added below.
struct Draft {
    svg: Svg,
    title: String,
    description: String,
    width: f64,
    /// Height of what has been drawn so far.
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

    /// A sentence below the content, in as many lines as it needs.
    fn note(&mut self, text: &str) {
        // A browser's font may be a sixth wider.
        for line in svg::wrapped(text, 12.0, 0.85 * (self.width - 2.0 * MARGIN)) {
            self.height += 18.0;
            self.svg.text("q-soft", (MARGIN, self.height - 2.0), Anchor::Start, &line);
        }
    }

    /// The finished picture, as high as its content.
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

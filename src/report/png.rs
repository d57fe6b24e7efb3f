//! From SVG to pixels.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use super::Picture;
use crate::error::{Result, check};

/// Only the crate's own font: the fonts installed on a machine must not change a picture.
static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(include_bytes!("font/inter-subset.otf").to_vec());
    Arc::new(fonts)
});

pub(super) fn render(picture: &Picture, width: u32) -> Result<Vec<u8>> {
    check((1..=8192).contains(&width), "width", width, "1 to 8192 pixels")?;
    let scale = f64::from(width) / picture.width;
    let height = (picture.height * scale).round().clamp(1.0, 32768.0) as u32;
    let options = Options { font_family: "Inter".into(), fontdb: FONTS.clone(), ..Options::default() };
    let tree = Tree::from_str(&picture.svg, &options).expect("what the crate wrote is SVG");
    let mut pixels = Pixmap::new(width, height).expect("a size of at least one pixel");
    // A white background, in case rounding leaves an edge of the picture uncovered.
    pixels.fill(resvg::tiny_skia::Color::WHITE);
    let scale = scale as f32;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    Ok(pixels.encode_png().expect("pixels in memory encode"))
}

use ndarray::ArrayView2;

use super::svg::{self, Anchor, Path};
use super::{Draft, MARGIN, Picture};
use crate::engine::check_rows;
use crate::error::{Result, check};

/// Steps of gray from no ink to all of it.
const GRAYS: usize = 16;

/// Pixels of the picture for one of an image, and between images.
const SCALE: f64 = 4.0;
const GAP: f64 = 5.0;

/// Rows as gray images: a line of them for each entry of `lines`, whose name stands before it, and a caption above each
/// column. A row holds the `side.0` · `side.1` pixels of an image of that height and width from its upper left corner
/// on, line by line; `ink.0` is drawn white and `ink.1` black, and values outside as the nearer of the two.
///
/// ```
/// use quadrivium::{ndarray::array, report::images};
/// let drawn = array![[0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0]];
/// let picture = images("Two diagonals", &["up", "down"], &[("a model", drawn.view())], (2, 2), (0.0, 1.0))?;
/// assert!(picture.description().contains("a model"));
/// # Ok::<(), quadrivium::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) for no lines or captions, for an image without pixels, more than 64 on a
/// side, and for an `ink` that is not two finite numbers in ascending order; of each line
/// [`DataError::Shape`](crate::error::DataError::Shape) for another number of columns, and for other than one row per
/// caption; [`DataError::NonFinite`](crate::error::DataError::NonFinite).
pub fn images(
    title: &str,
    captions: &[&str],
    lines: &[(&str, ArrayView2<f32>)],
    side: (usize, usize),
    ink: (f64, f64),
) -> Result<Picture> {
    let (high, wide) = side;
    let drawable = (1..=64).contains(&high) && (1..=64).contains(&wide);
    check(drawable, "side", side, "1 to 64 pixels each")?;
    check(!captions.is_empty() && !lines.is_empty(), "lines", lines.len(), "at least one line and caption")?;
    let ascending = ink.0 < ink.1 && ink.0.is_finite() && ink.1.is_finite();
    check(ascending, "ink", ink, "finite, the second more than the first")?;
    for (_, x) in lines {
        check_rows("a line's rows", *x, high * wide)?;
        check(x.nrows() == captions.len(), "a line's rows", x.nrows(), "one for each caption")?;
    }
    let (step_x, step_y) = (SCALE * wide as f64 + GAP, SCALE * high as f64 + GAP);
    let names = lines.iter().map(|(name, _)| svg::text_width(name, 13.0)).fold(0.0, f64::max);
    // A browser's font may be a sixth wider.
    let left = (MARGIN + 1.17 * names + 10.0).ceil();
    let mut draft = Draft::new(title, left + step_x * captions.len() as f64 - GAP + MARGIN);
    let top = (draft.height + 26.0).ceil();
    for (k, caption) in captions.iter().enumerate() {
        let middle = left + step_x * k as f64 + 0.5 * (step_x - GAP);
        draft.svg.text("q-text", (middle, top - 6.0), Anchor::Middle, caption);
    }
    let corner = |line: usize, column: usize| (left + step_x * column as f64, top + step_y * line as f64);
    let mut grays: Vec<Path> = (0..=GRAYS).map(|_| Path::default()).collect();
    for (line, (name, x)) in lines.iter().enumerate() {
        let (_, y) = corner(line, 0);
        draft.svg.text("q-text", (left - 8.0, y + 0.5 * (step_y - GAP) + 4.5), Anchor::End, name);
        for (column, row) in x.rows().into_iter().enumerate() {
            let (x, y) = corner(line, column);
            draft.svg.slab("#fff", (x, y), (step_x - GAP, step_y - GAP));
            let gray = |at: usize| {
                let share = (f64::from(row[at]) - ink.0) / (ink.1 - ink.0);
                (share.clamp(0.0, 1.0) * GRAYS as f64).round() as usize
            };
            for i in 0..high {
                // Neighbors of one gray in one stroke.
                let mut j = 0;
                while j < wide {
                    let this = gray(i * wide + j);
                    let run = (j..wide).take_while(|&j| gray(i * wide + j) == this).count();
                    let at = (x + SCALE * j as f64, y + SCALE * (i as f64 + 0.5));
                    grays[this].level(at, SCALE * run as f64);
                    j += run;
                }
            }
        }
    }
    for (gray, path) in grays.iter().enumerate().skip(1) {
        let light = 255 - gray * 255 / GRAYS;
        draft.svg.strokes(&format!("#{light:02x}{light:02x}{light:02x}"), SCALE, path);
    }
    let named: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
    draft.description = format!(
        "Images of {wide} by {high} pixels in columns {}, a line for each of: {}.",
        captions.join(", "),
        named.join("; ")
    );
    draft.height = top + step_y * lines.len() as f64 - GAP + MARGIN;
    Ok(draft.finish())
}

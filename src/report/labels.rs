//! Labels next to marks, without overlaps.

use super::svg::text_width;

/// A box: left, top, right, bottom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Box4 {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Box4 {
    pub(super) fn overlap(&self, other: &Box4) -> f64 {
        let wide = self.right.min(other.right) - self.left.max(other.left);
        let high = self.bottom.min(other.bottom) - self.top.max(other.top);
        wide.max(0.0) * high.max(0.0)
    }

    fn within(&self, other: &Box4) -> bool {
        self.left >= other.left
            && self.right <= other.right
            && self.top >= other.top
            && self.bottom <= other.bottom
    }
}

pub(super) const SIZE: f64 = 12.0;

/// Half the side of the square that a mark covers.
const MARK: f64 = 7.0;

/// A box for each mark's label, within `bounds`: the nearest position that is free of marks and other labels, or, if
/// there is none, the one that covers the least. Crowded marks choose first. A label also avoids `line`.
pub(super) fn place(marks: &[((f64, f64), &str)], bounds: Box4, line: Option<Box4>) -> Vec<Box4> {
    let around =
        |(x, y): (f64, f64)| Box4 { left: x - MARK, top: y - MARK, right: x + MARK, bottom: y + MARK };
    let mut taken: Vec<Box4> = marks.iter().map(|(at, _)| around(*at)).chain(line).collect();
    let crowd = |k: usize| {
        let (x, y) = marks[k].0;
        marks.iter().filter(|((a, b), _)| (a - x).abs() < 90.0 && (b - y).abs() < 30.0).count()
    };
    let mut order: Vec<usize> = (0..marks.len()).collect();
    order.sort_by_key(|&k| std::cmp::Reverse(crowd(k)));

    let mut placed = vec![bounds; marks.len()];
    for k in order {
        let (at, label) = marks[k];
        let size = (1.06 * text_width(label, SIZE) + 2.0, SIZE + 2.0);
        let covered = |b: &Box4| taken.iter().map(|t| b.overlap(t)).sum::<f64>();
        let candidates = || candidates(at, size).filter(|b| b.within(&bounds));
        let chosen = candidates()
            .find(|b| covered(b) == 0.0)
            .or_else(|| candidates().min_by(|a, b| covered(a).total_cmp(&covered(b))))
            // A label wider than the plot.
            .unwrap_or_else(|| beside(at, size, 1.0, 0.0, 0.0));
        taken.push(chosen);
        placed[k] = chosen;
    }
    placed
}

/// Positions around a mark, the nearest first; right before left, above before below.
fn candidates(at: (f64, f64), size: (f64, f64)) -> impl Iterator<Item = Box4> {
    let sides = [
        (1.0, 0.0),
        (-1.0, 0.0),
        (0.0, -1.0),
        (0.0, 1.0),
        (1.0, -1.0),
        (1.0, 1.0),
        (-1.0, -1.0),
        (-1.0, 1.0),
        (0.5, -1.0),
        (0.5, 1.0),
        (-0.5, -1.0),
        (-0.5, 1.0),
        (1.0, -0.5),
        (1.0, 0.5),
        (-1.0, -0.5),
        (-1.0, 0.5),
    ];
    let rings = (0..24).map(|ring| 8.0 * f64::from(ring));
    rings.flat_map(move |far| sides.into_iter().map(move |(right, down)| beside(at, size, right, down, far)))
}

/// The box to a side of the mark, `far` beyond where it would touch.
fn beside((x, y): (f64, f64), (w, h): (f64, f64), right: f64, down: f64, far: f64) -> Box4 {
    let center = (x + right * (MARK + 2.0 + far + 0.5 * w), y + down * (MARK + 1.0 + far + 0.5 * h));
    Box4 {
        left: center.0 - 0.5 * w,
        top: center.1 - 0.5 * h,
        right: center.0 + 0.5 * w,
        bottom: center.1 + 0.5 * h,
    }
}

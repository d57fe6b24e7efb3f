//! The small part of SVG that the pictures need, written as text.

use std::fmt::Write as _;

/// Coordinates are kept in tenths of a pixel: finer steps are not visible, and whole numbers are exact and short.
fn tenths(v: f64) -> i32 {
    (v.clamp(-1e6, 1e6) * 10.0).round() as i32
}

/// Tenths as a decimal, after a separator if one is needed.
fn push_tenths(out: &mut String, v: i32) {
    if v >= 0 && out.ends_with(|last: char| last.is_ascii_digit()) {
        out.push(' ');
    }
    let sign = if v < 0 { "-" } else { "" };
    let (whole, rest) = (v.unsigned_abs() / 10, v.unsigned_abs() % 10);
    let done = match rest {
        0 => write!(out, "{sign}{whole}"),
        _ => write!(out, "{sign}{whole}.{rest}"),
    };
    done.expect("a string takes everything");
}

/// A number for an attribute.
pub(super) fn num(v: f64) -> String {
    let mut out = String::new();
    push_tenths(&mut out, tenths(v));
    out
}

/// The data of a `<path>`, in relative coordinates, which are shorter.
#[derive(Default)]
pub(super) struct Path {
    pub(super) d: String,
    at: (i32, i32),
}

impl Path {
    fn step(&mut self, command: char, (x, y): (f64, f64)) {
        let to = (tenths(x), tenths(y));
        self.d.push(command);
        push_tenths(&mut self.d, to.0 - self.at.0);
        push_tenths(&mut self.d, to.1 - self.at.1);
        self.at = to;
    }

    pub(super) fn move_to(&mut self, at: (f64, f64)) {
        self.step('m', at);
    }

    pub(super) fn line_to(&mut self, at: (f64, f64)) {
        self.step('l', at);
    }

    /// A line through the points, without those that a straight line passes closely enough.
    pub(super) fn polyline(&mut self, points: impl IntoIterator<Item = (f64, f64)>) {
        let mut points = points.into_iter();
        let Some(first) = points.next() else { return };
        self.move_to(first);
        let (mut drawn, mut passed) = (first, Vec::new());
        for at in points {
            if passed.len() >= 64 || passed.iter().any(|&by| distance(by, drawn, at) > SEEN) {
                drawn = passed[passed.len() - 1];
                self.line_to(drawn);
                passed.clear();
            }
            passed.push(at);
        }
        if let Some(&last) = passed.last() {
            self.line_to(last);
        }
    }

    /// A closed ring.
    pub(super) fn ring(&mut self, points: impl IntoIterator<Item = (f64, f64)>) {
        let mut points = points.into_iter().peekable();
        let Some(&(x, y)) = points.peek() else { return };
        self.polyline(points);
        self.d.push('z');
        // Which returns to the start of the ring.
        self.at = (tenths(x), tenths(y));
    }

    /// A line of zero length, which round caps turn into a dot.
    pub(super) fn dot(&mut self, at: (f64, f64)) {
        self.move_to(at);
        self.d.push_str("h0");
    }

    /// A line from there to the right.
    pub(super) fn level(&mut self, at: (f64, f64), length: f64) {
        self.move_to(at);
        let end = tenths(at.0 + length);
        self.d.push('h');
        push_tenths(&mut self.d, end - self.at.0);
        self.at.0 = end;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.d.is_empty()
    }
}

/// The distance in pixels at which a line may pass a point that is left out.
const SEEN: f64 = 0.2;

/// From p to the nearest point between a and b.
fn distance(p: (f64, f64), a: (f64, f64), b: (f64, f64)) -> f64 {
    let (along, to) = ((b.0 - a.0, b.1 - a.1), (p.0 - a.0, p.1 - a.1));
    let square = along.0 * along.0 + along.1 * along.1;
    let share = if square > 0.0 { (along.0 * to.0 + along.1 * to.1) / square } else { 0.0 };
    let share = share.clamp(0.0, 1.0);
    (to.0 - share * along.0).hypot(to.1 - share * along.1)
}

/// The anchor of a text.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture under construction.
pub(super) struct Svg {
    pub(super) body: String,
}

impl Svg {
    pub(super) fn new() -> Self {
        Svg { body: String::new() }
    }

    fn push(&mut self, args: std::fmt::Arguments<'_>) {
        self.body.write_fmt(args).expect("a string takes everything");
        self.body.push('\n');
    }

    /// A rectangle of a color that is the same in light and dark.
    pub(super) fn slab(&mut self, fill: &str, (x, y): (f64, f64), (w, h): (f64, f64)) {
        let [x, y, w, h] = [x, y, w, h].map(num);
        self.push(format_args!(r#"<rect fill="{fill}" x="{x}" y="{y}" width="{w}" height="{h}"/>"#));
    }

    pub(super) fn path(&mut self, class: &str, path: &Path) {
        if !path.is_empty() {
            self.push(format_args!(r#"<path class="{class}" d="{}"/>"#, path.d));
        }
    }

    /// A region of a color that is the same in light and dark.
    pub(super) fn region(&mut self, fill: &str, path: &Path) {
        if !path.is_empty() {
            self.push(format_args!(r#"<path fill="{fill}" fill-rule="evenodd" d="{}"/>"#, path.d));
        }
    }

    /// Lines of a color that is the same in light and dark, whose ends are not blurred.
    pub(super) fn strokes(&mut self, stroke: &str, width: f64, path: &Path) {
        if !path.is_empty() {
            let (width, d) = (num(width), &path.d);
            self.push(format_args!(
                r#"<path fill="none" stroke="{stroke}" stroke-width="{width}" shape-rendering="crispEdges" d="{d}"/>"#
            ));
        }
    }

    pub(super) fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let (x, y, text) = (num(x), num(y), escaped(text));
        self.push(format_args!(r#"<text class="{class}" x="{x}" y="{y}"{anchor}>{text}</text>"#));
    }

    /// Text that reads upward, centered on the point.
    pub(super) fn text_upwards(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let (x, y, text) = (num(x), num(y), escaped(text));
        self.push(format_args!(
            r#"<text class="{class}" text-anchor="middle" transform="translate({x} {y}) rotate(-90)">{text}</text>"#
        ));
    }

    /// Clips what `draw` draws at the rectangle's edges.
    pub(super) fn clipped(&mut self, (x, y): (f64, f64), (w, h): (f64, f64), draw: impl FnOnce(&mut Svg)) {
        // A nested picture in the coordinates of the outer one needs no id, which could occur twice on a page.
        let [x, y, w, h] = [x, y, w, h].map(num);
        self.push(format_args!(
            r#"<svg x="{x}" y="{y}" width="{w}" height="{h}" viewBox="{x} {y} {w} {h}">"#
        ));
        draw(self);
        self.push(format_args!("</svg>"));
    }
}

/// Text escaped for XML; characters that XML cannot represent are left out.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c) => {}
            c => out.push(c),
        }
    }
    out
}

/// Widths of ' ' to '~' in the embedded font, in hundredths of its size.
#[rustfmt::skip]
const ADVANCES: [u8; 95] = [
    28, 28, 40, 63, 64, 81, 64, 22, 36, 36, 50, 66, 28, 46, 28, 36, 62, 46, 61, 64, 64, 61, 62, 57, 62, 62, 28, 28, 66, 66, 66, 51,
    94, 68, 65, 73, 72, 60, 59, 74, 74, 26, 54, 65, 56, 89, 75, 76, 63, 76, 64, 64, 64, 74, 68, 95, 64, 66, 62, 36, 36, 36, 47, 45,
    50, 56, 62, 56, 62, 58, 36, 61, 59, 24, 24, 54, 24, 87, 59, 60, 61, 61, 37, 52, 36, 58, 56, 81, 54, 56, 54, 36, 33, 36, 66,
];

/// The width of a text in the embedded font; a browser's font may be a sixth wider.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    let hundredths = |c: char| match c {
        ' '..='~' => ADVANCES[c as usize - ' ' as usize],
        '·' => 28,
        '⁰'..='₎' => 44,
        _ => 66,
    };
    text.chars().map(|c| f64::from(hundredths(c))).sum::<f64>() * size / 100.0
}

/// A text split into lines that are at most `most` wide, unless a single word is wider.
pub(super) fn wrapped(text: &str, size: f64, most: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(line, size) + text_width(word, size) + 0.3 * size <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

//! Colors and marks. Series differ in both. The colors are those of Okabe and Ito (2008), which all kinds of color
//! vision can tell apart, and each has its own mark. On white, their orange and sky blue do not have enough contrast
//! (WCAG 2.2, 1.4.11: 3:1), so they are replaced by a brown and an azure; on black, their blue is replaced by a
//! lighter one. Densities are in viridis, whose lightness rises evenly.

use super::svg::Path;
use crate::map::Paradigm;

/// Class names start with q-, so that a page may contain the pictures inline. A dark theme changes only the ink.
pub(super) const CSS: &str = "\
.q-bg{fill:#fff}\
.q-text{fill:#1c2128;font-size:13px}\
.q-title{fill:#1c2128;font-size:16px}\
.q-soft{fill:#57606a;font-size:12px}\
.q-label{fill:#1c2128;font-size:12px}\
.q-axis{stroke:#57606a;stroke-width:1;fill:none}\
.q-grid{stroke:#d8dee4;stroke-width:1;fill:none}\
.q-lead{stroke:#57606a;stroke-width:.8;fill:none}\
.q-dash{stroke:#1c2128;stroke-width:1.2;fill:none;stroke-dasharray:5 4}\
.q-land{fill:#57606a;fill-opacity:.15;stroke:#57606a;stroke-width:.7;stroke-linejoin:round}\
.q-dots{fill:none;stroke:currentColor;stroke-width:2.6;stroke-linecap:round;stroke-opacity:.72}\
.q-line{fill:none;stroke:currentColor;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}\
.q-thin{fill:none;stroke:currentColor;stroke-width:.9;stroke-opacity:.75;stroke-linejoin:round}\
.q-band{fill:currentColor;fill-opacity:.2;stroke:none}\
.q-mark{fill:currentColor;stroke:#fff;stroke-width:.8}\
.q-open{fill:none;stroke:currentColor;stroke-width:1.2}\
.q0{color:#0072b2}.q1{color:#d55e00}.q2{color:#009e73}.q3{color:#cc79a7}\
.q4{color:#7a4d00}.q5{color:#0097fc}.q6{color:#57606a}\
@media(prefers-color-scheme:dark){\
.q-bg{fill:#14181d}\
.q-text,.q-title,.q-label{fill:#e6edf3}\
.q-soft{fill:#9da7b3}\
.q-axis,.q-lead{stroke:#9da7b3}\
.q-grid{stroke:#2b323b}\
.q-dash{stroke:#e6edf3}\
.q-land{fill:#9da7b3;stroke:#9da7b3}\
.q-dots{stroke-opacity:.8}\
.q-mark{stroke:#14181d}\
.q0{color:#3d9be0}.q4{color:#e69f00}.q5{color:#56b4e9}.q6{color:#aab4bf}\
}";

/// The number of series with different colors; further series start again with the first color.
pub(super) const SERIES: usize = 7;

/// The class of a series' color.
pub(super) fn color(series: usize) -> String {
    format!("q{}", series % SERIES)
}

/// Each paradigm has one color and one mark in all pictures.
pub(super) fn series_of(paradigm: Paradigm) -> usize {
    match paradigm {
        Paradigm::Autoregressive => 0,
        Paradigm::Latent => 1,
        Paradigm::Adversarial => 2,
        Paradigm::Diffusion => 3,
        Paradigm::Flow => 4,
        Paradigm::Energy => 5,
        Paradigm::Baseline | Paradigm::Hybrid | Paradigm::OffTheMap => 6,
    }
}

/// The mark of a series. All marks have about the same area.
pub(super) fn mark(series: usize, (x, y): (f64, f64)) -> Path {
    let mut path = Path::default();
    let polygon = |path: &mut Path, corners: &[(f64, f64)]| {
        path.ring(corners.iter().map(|&(dx, dy)| (x + dx, y + dy)));
    };
    let regular = |corners: usize, r: f64, turn: f64| -> Vec<(f64, f64)> {
        let angle = |k: usize| (k as f64 / corners as f64 + turn) * std::f64::consts::TAU;
        (0..corners).map(|k| (r * angle(k).sin(), -r * angle(k).cos())).collect()
    };
    match series % SERIES {
        0 => polygon(&mut path, &regular(16, 4.8, 0.0)),
        1 => polygon(&mut path, &regular(4, 6.0, 0.125)),
        2 => polygon(&mut path, &regular(3, 6.4, 0.0)),
        3 => polygon(&mut path, &regular(4, 6.2, 0.0)),
        4 => polygon(&mut path, &regular(3, 6.4, 0.5)),
        5 => {
            let star: Vec<_> = (regular(5, 6.6, 0.0).into_iter().zip(regular(5, 3.0, 0.1)))
                .flat_map(|(out, inside)| [out, inside])
                .collect();
            polygon(&mut path, &star);
        }
        _ => {
            let (a, b) = (5.4, 1.8);
            let plus = [
                (-b, -a),
                (b, -a),
                (b, -b),
                (a, -b),
                (a, b),
                (b, b),
                (b, a),
                (-b, a),
                (-b, b),
                (-a, b),
                (-a, -b),
                (-b, -b),
            ];
            polygon(&mut path, &plus);
        }
    }
    path
}

/// The color of a density, from 0 for the lowest to 1 for the highest.
pub(super) fn viridis(v: f64) -> String {
    format!("#{:x}", colorous::VIRIDIS.eval_continuous(v.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Color = [f64; 3];

    /// The value of a class's property in the light theme, or in the dark theme, which overrides some values.
    fn value(class: &str, property: &str, dark: bool) -> &'static str {
        let (light, changed) = CSS.split_once("@media(prefers-color-scheme:dark){").unwrap();
        let within = |css: &'static str| {
            css.split('}').filter_map(|rule| rule.split_once('{')).find_map(|(classes, body)| {
                let mut names = classes.split(',').map(|name| name.trim_start_matches('.'));
                let mut pairs = body.split(';').filter_map(|pair| pair.split_once(':'));
                names.any(|name| name == class).then(|| pairs.find(|pair| pair.0 == property))?
            })
        };
        let found = if dark { within(changed).or_else(|| within(light)) } else { within(light) };
        found.unwrap_or_else(|| panic!("no {property} of {class}")).1
    }

    /// Red, green and blue as sRGB stores them, 0 to 1.
    fn rgb(hex: &str) -> Color {
        let digits: String = match hex.len() {
            4 => hex[1..].chars().flat_map(|c| [c, c]).collect(),
            _ => hex[1..].into(),
        };
        [0, 2, 4].map(|k| f64::from(u8::from_str_radix(&digits[k..k + 2], 16).unwrap()) / 255.0)
    }

    /// The same as amounts of light.
    fn linear(color: Color) -> Color {
        color.map(|v| if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) })
    }

    fn times(matrix: [Color; 3], v: Color) -> Color {
        matrix.map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum())
    }

    /// The contrast of two colors, as defined in WCAG 2.2.
    fn contrast(a: Color, b: Color) -> f64 {
        let light =
            |color| linear(color).iter().zip([0.2126, 0.7152, 0.0722]).map(|(v, w)| v * w).sum::<f64>();
        let (a, b) = (light(a) + 0.05, light(b) + 0.05);
        a.max(b) / a.min(b)
    }

    fn series(dark: bool) -> Vec<Color> {
        (0..SERIES).map(|k| rgb(value(&color(k), "color", dark))).collect()
    }

    #[test]
    fn marks_and_text_stand_out_from_the_ground() {
        assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9);
        for dark in [false, true] {
            let ground = rgb(value("q-bg", "fill", dark));
            for (k, color) in series(dark).into_iter().enumerate() {
                assert!(contrast(color, ground) >= 3.0, "q{k}, dark {dark}: {:.2}", contrast(color, ground));
            }
            for line in ["q-axis", "q-lead", "q-dash"] {
                assert!(contrast(rgb(value(line, "stroke", dark)), ground) >= 3.0, "{line}, dark {dark}");
            }
            // Translucent marks, in the color that results on the background.
            for (class, k) in [("q-dots", 0), ("q-thin", 6)] {
                let opacity: f64 = value(class, "stroke-opacity", dark).parse().unwrap();
                let seen =
                    std::array::from_fn(|c| opacity * series(dark)[k][c] + (1.0 - opacity) * ground[c]);
                assert!(contrast(seen, ground) >= 3.0, "{class}, dark {dark}: {:.2}", contrast(seen, ground));
            }
            for text in ["q-text", "q-title", "q-soft", "q-label"] {
                assert!(contrast(rgb(value(text, "fill", dark)), ground) >= 4.5, "{text}, dark {dark}");
            }
        }
    }

    /// In Oklab (Ottosson 2020), where distances approximate visible differences: 0.02 can be seen side by side.
    fn oklab(light: Color) -> Color {
        let cones = times(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ],
            light,
        );
        times(
            [
                [0.2104542553, 0.7936177850, -0.0040720468],
                [1.9779984951, -2.4285922050, 0.4505937099],
                [0.0259040371, 0.7827717662, -0.8086757660],
            ],
            cones.map(|v| v.max(0.0).cbrt()),
        )
    }

    #[test]
    fn every_kind_of_color_vision_tells_the_series_apart() {
        // Models of color vision (Machado et al. 2009, severity 1).
        let visions = [
            ("three cones", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
            (
                "protanopia",
                [
                    [0.152286, 1.052583, -0.204868],
                    [0.114503, 0.786281, 0.099216],
                    [-0.003882, -0.048116, 1.051998],
                ],
            ),
            (
                "deuteranopia",
                [
                    [0.367322, 0.860646, -0.227968],
                    [0.280085, 0.672501, 0.047413],
                    [-0.011820, 0.042940, 0.968881],
                ],
            ),
            (
                "tritanopia",
                [
                    [1.255528, -0.076749, -0.178779],
                    [-0.078411, 0.930809, 0.147602],
                    [0.004733, 0.691367, 0.303900],
                ],
            ),
        ];
        for dark in [false, true] {
            for (name, vision) in visions {
                let seen: Vec<Color> = (series(dark).into_iter())
                    .map(|color| oklab(times(vision, linear(color)).map(|v| v.clamp(0.0, 1.0))))
                    .collect();
                for (a, one) in seen.iter().enumerate() {
                    for (b, other) in seen.iter().enumerate().skip(a + 1) {
                        let apart = one.iter().zip(other).map(|(u, v)| (u - v).powi(2)).sum::<f64>().sqrt();
                        assert!(apart > 0.05, "q{a} and q{b}, {name}, dark {dark}: {apart:.3}");
                    }
                }
            }
        }
    }
}

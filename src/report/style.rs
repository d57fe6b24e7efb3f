//! Colours and marks. Series are told apart by both: the colours are Okabe and Ito's (2008), which every kind of
//! colour vision tells apart, and each has a mark of its own. Densities are in viridis, whose lightness rises
//! evenly.

use super::svg::Path;
use crate::map::Paradigm;

/// Class names start with q-, so that a page may hold the pictures inline. A dark theme changes the ink alone.
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
.q-dots{fill:none;stroke:currentColor;stroke-width:2.6;stroke-linecap:round;stroke-opacity:.55}\
.q-line{fill:none;stroke:currentColor;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}\
.q-thin{fill:none;stroke:currentColor;stroke-width:.9;stroke-opacity:.75;stroke-linejoin:round}\
.q-band{fill:currentColor;fill-opacity:.2;stroke:none}\
.q-mark{fill:currentColor;stroke:#fff;stroke-width:.8}\
.q-open{fill:none;stroke:currentColor;stroke-width:1.2}\
.q0{color:#0072b2}.q1{color:#d55e00}.q2{color:#009e73}.q3{color:#cc79a7}\
.q4{color:#e69f00}.q5{color:#56b4e9}.q6{color:#57606a}\
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
.q0{color:#3d9be0}.q6{color:#9da7b3}\
}";

/// Series beyond these begin again with the first colour.
pub(super) const SERIES: usize = 7;

/// The class of a series' colour.
pub(super) fn colour(series: usize) -> String {
    format!("q{}", series % SERIES)
}

/// Each paradigm has one colour and one mark in all pictures.
pub(super) fn series_of(paradigm: Paradigm) -> usize {
    match paradigm {
        Paradigm::Autoregressive => 0,
        Paradigm::Latent => 1,
        Paradigm::Adversarial => 2,
        Paradigm::Diffusion => 3,
        Paradigm::Flow => 4,
        Paradigm::Energy => 5,
        Paradigm::Baseline => 6,
    }
}

/// The mark of a series, of about the same area each.
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

/// The colour of a density: 0 the lowest, 1 the highest.
pub(super) fn viridis(v: f64) -> String {
    format!("#{:x}", colorous::VIRIDIS.eval_continuous(v.clamp(0.0, 1.0)))
}

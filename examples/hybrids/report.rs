//! What was measured, as tables, as JSON and as a picture.

use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use quadrivium::LikelihoodKind;
use quadrivium::metrics::{Floor, ModeReport};
use quadrivium::ndarray::Array2;
use serde_json::{Value, json};

use crate::cells::{Cell, Part, cell};
use crate::world::{Outcome, World};

/// One composition on one data set.
pub struct Row {
    pub composition: String,
    pub data: String,
    pub nfe_predicted: usize,
    pub nfe_counted: usize,
    /// What the card says of the likelihood, and what it was.
    pub predicted: LikelihoodKind,
    pub likelihood: LikelihoodKind,
    pub nll: Option<f64>,
    pub gap: Option<f64>,
    pub energy_distance: f64,
    pub floor: Floor,
    pub asked_share: Option<f64>,
    pub modes: Option<ModeReport>,
    pub us_single: f64,
    pub us_bulk: f64,
    pub train_s: f64,
    pub cell: Option<(Option<Part>, Part)>,
    /// What the prior adds to the codec's own, and half the interval in which 19 of 20 means are.
    pub gain: Option<(f64, f64)>,
    /// A digit of each class.
    pub pictured: Option<Array2<f32>>,
}

fn aligned(header: &[&str], lines: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    (1..header.len()).for_each(|column| {
        let column = table.column_mut(column).expect("as many as the header has");
        column.set_cell_alignment(CellAlignment::Right);
    });
    table.add_rows(lines);
    table
}

/// The measured figures of one data set.
pub fn table(world: &World, rows: &[Row]) -> String {
    let held = |holds: bool, text: String| if holds { text } else { format!("{text} ✗") };
    let optional = |value: Option<String>| value.unwrap_or("–".into());
    let line = |row: &Row| {
        let evaluations = held(row.nfe_predicted == row.nfe_counted, row.nfe_counted.to_string());
        let at_floor = if row.floor.holds(row.energy_distance) { " *" } else { "" };
        let judged = match (&row.modes, row.asked_share) {
            (Some(modes), _) => {
                format!("{}/{}, {:.0} %", modes.modes_fair, modes.total, 100.0 * modes.high_quality)
            }
            (None, share) => optional(share.map(|share| format!("{:.1} %", 100.0 * share))),
        };
        vec![
            row.composition.clone(),
            evaluations,
            format!("{:.0}", row.us_single),
            format!("{:.1}", row.us_bulk),
            held(row.predicted == row.likelihood, row.likelihood.of_nll().into()),
            optional(row.gap.or(row.nll).map(|nats| format!("{nats:+.3}"))),
            optional(row.gain.map(|(mean, half)| format!("{mean:+.3} ± {half:.3}"))),
            format!("{:.4}{at_floor}", row.energy_distance),
            judged,
            format!("{:.1}", row.train_s),
        ]
    };
    let nats = if world.truth.is_some() { "gap, nats" } else { "NLL, nats" };
    let judged = if world.toy.is_some() { "fair modes, in 3σ" } else { "asked" };
    let header = [
        "composition",
        "evals",
        "µs, one",
        "µs, bulk",
        "likelihood",
        nats,
        "prior adds",
        "distance",
        judged,
        "s",
    ];
    let lines = rows.iter().map(line).collect();
    format!(
        "## {}\n\nEnergy distance of a perfect sampler {:.4} ± {:.4}; * at this floor. ✗: not as the card predicts.\n\n{}",
        world.name,
        world.floor.mean,
        world.floor.sd,
        aligned(&header, lines)
    )
}

/// Which composition there is, with its energy distance in floors, by data set, or why there is none.
pub fn cells(rows: &[Row]) -> String {
    let mut header = vec!["drawn by ↓, from a latent of →"];
    header.extend(Part::ALL.map(Part::name));
    let mut reasons: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for outer in std::iter::once(None).chain(Part::ALL.map(Some)) {
        let mut line = vec![outer.map_or("alone".into(), |part: Part| part.name().to_string())];
        for prior in Part::ALL {
            line.push(match cell(outer, prior) {
                Cell::Run => {
                    let found = rows.iter().filter(|row| row.cell == Some((outer, prior)));
                    let ratios = found.map(|row| format!("{:.1}", row.energy_distance / row.floor.mean));
                    ratios.collect::<Vec<_>>().join(" · ")
                }
                Cell::None(reason) => {
                    let known = reasons.iter().position(|other| *other == reason);
                    let number = known.unwrap_or_else(|| {
                        reasons.push(reason);
                        reasons.len() - 1
                    });
                    format!("({})", number + 1)
                }
            });
        }
        lines.push(line);
    }
    let reasons = reasons.iter().enumerate().map(|(i, reason)| format!("({}) {reason}", i + 1));
    format!(
        "## Compositions\n\nEnergy distance in floors, of each data set.\n\n{}\n\n{}",
        aligned(&header, lines),
        reasons.collect::<Vec<_>>().join("\n")
    )
}

pub fn json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        json!({
            "composition": row.composition, "data": row.data,
            "nfe_predicted": row.nfe_predicted, "nfe_counted": row.nfe_counted,
            "likelihood": row.likelihood.to_string(), "nll": row.nll, "gap": row.gap,
            "energy_distance": row.energy_distance, "energy_floor": row.floor.mean,
            "asked_share": row.asked_share, "train_s": row.train_s,
        })
    };
    json!({ "rows": rows.iter().map(row).collect::<Vec<_>>() })
}

/// `hybrids.md`, and `digits.png`: a row for each composition, a digit of each class.
pub fn write(dir: &Path, rows: &[Row], tables: &[String]) -> Outcome<()> {
    std::fs::create_dir_all(dir)?;
    let pictured: Vec<(&str, &Array2<f32>)> =
        rows.iter().filter_map(|row| Some((row.composition.as_str(), row.pictured.as_ref()?))).collect();
    let mut page = format!("# Compositions\n\n{}\n\n{}\n", tables.join("\n\n"), cells(rows));
    if !pictured.is_empty() {
        std::fs::write(dir.join("digits.png"), picture(&pictured)?)?;
        page += "\n![A digit of each class, by each composition](digits.png)\n\nFrom the top:\n\n";
        pictured.iter().for_each(|(name, _)| page += &format!("- {name}\n"));
    }
    Ok(std::fs::write(dir.join("hybrids.md"), page)?)
}

/// A gray PNG, each pixel of a digit 4 × 4 large, a frame of 4 around each.
fn picture(digits: &[(&str, &Array2<f32>)]) -> Outcome<Vec<u8>> {
    const SIDE: usize = 36;
    let (width, height) = (10 * SIDE + 4, digits.len() * SIDE + 4);
    let mut gray = vec![255u8; width * height];
    for (line, (_, digits)) in digits.iter().enumerate() {
        for (column, digit) in digits.rows().into_iter().enumerate() {
            for (at, ink) in (0..32 * 32).map(|at| (at, digit[at / 128 * 8 + at % 32 / 4])) {
                let (x, y) = (column * SIDE + 4 + at % 32, line * SIDE + 4 + at / 32);
                gray[y * width + x] = 255 - (ink.clamp(0.0, 16.0) / 16.0 * 255.0) as u8;
            }
        }
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header()?.write_image_data(&gray)?;
    Ok(file)
}

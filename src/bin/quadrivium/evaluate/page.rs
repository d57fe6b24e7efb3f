//! The figures as a page, with a picture of how the rows of both tables are spread over each column.

use std::path::Path;

use quadrivium::ndarray::{Array2, ArrayView1};
use quadrivium::report::page::{Page, figure, table};
use quadrivium::report::{Panel, Share, shares};
use quadrivium::tables::{Cells, MISSING};

use super::{Args, COLUMNS, Figure, ROWS};
use crate::failure::Outcome;
use crate::features::share;

/// What was compared.
pub struct Found<'a> {
    pub data: &'a Args,
    pub names: &'a [String],
    pub cells: &'a [Cells],
    pub x: &'a Array2<f32>,
    pub y: &'a Array2<f32>,
}

/// Writes index.html and pictures/ into `dir`.
pub fn write(dir: &Path, found: &Found<'_>, columns: &[Figure], all: &[Figure]) -> Outcome<()> {
    let (real, synthetic) = (found.data.real.name(), found.data.synthetic.display().to_string());
    let columns_of = |column: usize| (found.x.column(column), found.y.column(column));
    let named = found.names.iter().zip(found.cells).enumerate();
    let panels: Vec<Panel> = named
        .map(|(column, (name, cells))| Panel { name: name.clone(), parts: parts(cells, columns_of(column)) })
        .collect();
    let lines = |figures: &[Figure]| -> Vec<Vec<String>> {
        figures.iter().map(|figure| figure.cells().to_vec()).collect()
    };
    let picture = shares("Every column of both tables", ["real", "synthetic"], &panels)?;
    let body = format!(
        "<section id=\"columns\">\n<h2>Columns</h2>\n{}{}</section>\n<section id=\"rows\">\n<h2>Rows</h2>\n{}</section>\n",
        figure(dir, "every-column", &picture)?,
        table("Column by column", "measured", &COLUMNS, &lines(columns)),
        table("Whole rows", "measured", &ROWS, &lines(all)),
    );
    let how = format!(
        "{} rows of {synthetic} beside {} of {real}. Each figure stands beside the same figure of two halves of the real \
         rows: what even real rows do not reach cannot be asked of synthetic ones.",
        found.y.nrows(),
        found.x.nrows(),
    );
    let parts = vec!["Columns", "Rows"];
    Ok(Page {
        title: "synthetic beside real rows",
        heading: "Synthetic beside real rows",
        how: &how,
        parts,
        body,
    }
    .write(dir)?)
}

/// Ranges of numbers.
const RANGES: usize = 12;

/// The shares of both samples: of labels, of the few different values of a column, or of ranges between the real numbers'
/// 1st and 99th percentile, beyond which all else is in the first and the last.
fn parts(cells: &Cells, (x, y): (ArrayView1<f32>, ArrayView1<f32>)) -> Vec<Share> {
    let of_values = |values: &[f32], label: &dyn Fn(f32) -> String| -> Vec<Share> {
        values
            .iter()
            .map(|&value| Share { label: label(value), of: [share(x, value), share(y, value)] })
            .collect()
    };
    let gap = |text: &str| if text.is_empty() { "missing".to_owned() } else { text.to_owned() };
    if let Cells::Labels(labels) = cells {
        let all: Vec<f32> = (0..labels.len()).map(|label| label as f32).collect();
        return of_values(&all, &|value| gap(&labels[value as usize]));
    }
    let mut numbers: Vec<f32> = x.iter().copied().filter(|value| *value != MISSING).collect();
    numbers.sort_by(f32::total_cmp);
    let mut different = numbers.clone();
    different.dedup();
    let missing = |parts: &mut Vec<Share>| {
        let of = [share(x, MISSING), share(y, MISSING)];
        if of != [0.0; 2] {
            parts.push(Share { label: "missing".into(), of });
        }
    };
    let at = |percent: usize| numbers[(numbers.len() - 1) * percent / 100];
    let mut parts = match different.len() {
        0 => Vec::new(),
        1..=RANGES => of_values(&different, &|value| value.to_string()),
        _ => {
            let (low, high) = (f64::from(at(1)), f64::from(at(99)));
            let width = (high - low) / RANGES as f64;
            let counted = |column: ArrayView1<f32>| {
                let mut counts = [0.0; RANGES];
                for value in column.iter().filter(|value| **value != MISSING) {
                    let range = ((f64::from(*value) - low) / width).clamp(0.0, (RANGES - 1) as f64);
                    counts[range as usize] += 1.0 / column.len() as f64;
                }
                counts
            };
            let label = |range: usize| {
                let digits = (2.0 - (high - low).log10()).clamp(0.0, 6.0) as usize;
                let edge = low + width * (range as f64 + f64::from(u8::from(range + 1 == RANGES)));
                format!("{edge:.digits$}")
            };
            let both = counted(x).into_iter().zip(counted(y)).enumerate();
            both.map(|(range, (a, b))| Share { label: label(range), of: [a.min(1.0), b.min(1.0)] }).collect()
        }
    };
    missing(&mut parts);
    parts
}

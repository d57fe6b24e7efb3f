//! Columns of numbers, gaps and labels as features, between whose rows there are distances.

use quadrivium::metrics::wasserstein_1d;
use quadrivium::ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use quadrivium::tables::{Cells, MISSING};

use crate::failure::Outcome;

/// What distances within a column are relative to.
pub enum Scale {
    /// Numbers, by the mean and standard deviation of real ones, with gaps or without.
    Number { mean: f64, sd: f64, gaps: bool },
    /// Labels: as many as these.
    Labels(usize),
}

/// The scales of the columns of real rows.
pub fn scales(x: ArrayView2<f32>, cells: &[Cells]) -> Vec<Scale> {
    x.columns().into_iter().zip(cells).map(|(column, cells)| Scale::of(column, cells)).collect()
}

impl Scale {
    fn of(column: ArrayView1<f32>, cells: &Cells) -> Self {
        if let Cells::Labels(labels) = cells {
            return Scale::Labels(labels.len());
        }
        let values: Vec<f64> = column.iter().filter(|x| **x != MISSING).map(|&x| x.into()).collect();
        let n = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / n;
        let sd = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
        Scale::Number { mean, sd: if sd > 0.0 { sd } else { 1.0 }, gaps: *cells == Cells::Optional }
    }

    /// Features of a value.
    fn width(&self) -> usize {
        match self {
            Scale::Number { gaps, .. } => 1 + usize::from(*gaps),
            Scale::Labels(labels) => *labels,
        }
    }

    /// The distance of a column of two samples: Wasserstein-1 in standard deviations, or the total variation between the
    /// shares of labels; a share of gaps that differs counts for itself.
    pub fn distance(&self, x: ArrayView1<f32>, y: ArrayView1<f32>) -> Outcome<f64> {
        match *self {
            Scale::Labels(labels) => {
                let apart = (0..labels).map(|label| (share(x, label as f32) - share(y, label as f32)).abs());
                Ok(0.5 * apart.sum::<f64>())
            }
            Scale::Number { mean, sd, .. } => {
                let standard = |column: ArrayView1<f32>| -> Array1<f32> {
                    let numbers = column.into_iter().filter(|x| **x != MISSING);
                    numbers.map(|&x| ((f64::from(x) - mean) / sd) as f32).collect()
                };
                let gaps = (share(x, MISSING) - share(y, MISSING)).abs();
                let (x, y) = (standard(x), standard(y));
                match x.is_empty() || y.is_empty() {
                    true => Ok(gaps),
                    false => Ok(gaps + wasserstein_1d(x.view(), y.view(), 1.0)?),
                }
            }
        }
    }
}

/// The share of a column that has this value.
pub fn share(column: ArrayView1<f32>, value: f32) -> f64 {
    column.iter().filter(|x| **x == value).count() as f64 / column.len() as f64
}

/// Rows for distances: numbers in standard units and whether they are missing, and labels one by one, so that two
/// different ones are 1 apart.
pub fn encoded(x: ArrayView2<f32>, scales: &[Scale]) -> Array2<f32> {
    let mut out = Array2::zeros((x.nrows(), scales.iter().map(Scale::width).sum()));
    for (mut out, row) in out.rows_mut().into_iter().zip(x.rows()) {
        let mut at = 0;
        for (scale, &x) in scales.iter().zip(row) {
            match *scale {
                Scale::Number { .. } if x == MISSING => out[at + 1] = 1.0,
                Scale::Number { mean, sd, .. } => out[at] = ((f64::from(x) - mean) / sd) as f32,
                Scale::Labels(_) => out[at + x as usize] = 0.5f32.sqrt(),
            }
            at += scale.width();
        }
    }
    out
}

//! The handwritten digits, and a classifier of those that no model has seen.

use std::io::Read;

use quadrivium::HeldOut;
use quadrivium::ndarray::{Array2, ArrayView1, Axis};
use quadrivium::numeric::rng::Rng;
use quadrivium::prelude::*;
use quadrivium::tables::{self, Table};

/// Neighbors that a digit's class is found by.
const NEIGHBORS: usize = 5;

/// 1,797 digits of 8 × 8 pixels under the condition which digit, of which a quarter is held out.
pub struct Digits {
    pub train: Dataset,
    pub test: Dataset,
}

impl Digits {
    /// Pixels are whole numbers from 0 to 16, spread over their width.
    pub fn read(rng: &mut Rng) -> std::result::Result<Self, Box<dyn std::error::Error>> {
        let packed =
            std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/digits.csv.gz"))?;
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut text)?;
        let table = Table::from_reader(text.as_bytes())?;
        let (pixels, labels) = table.x.view().split_at(Axis(1), 64);
        let pixels = tables::dequantize(pixels, &[1.0; 64], rng)?;
        let labels = labels.column(0).mapv(|label| label as u32);
        let data = Dataset::new(pixels)?.with_condition(Condition::Class(labels))?;
        let (train, test) = data.hold_out(HeldOut::Share(0.25), rng)?;
        Ok(Digits { train, test })
    }

    /// The digit that the nearest held-out digits are.
    pub fn classify(&self, x: ArrayView1<f32>) -> u32 {
        let Some(Condition::Class(labels)) = self.test.condition() else { unreachable!("labeled") };
        let distance = |row: ArrayView1<f32>| row.iter().zip(x).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        let rows = self.test.x();
        let mut near: Vec<(f32, u32)> =
            rows.rows().into_iter().zip(labels).map(|(row, &label)| (distance(row), label)).collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        // The nearest decides between classes of as many.
        let votes = |class: u32| -> f64 {
            let of_class = near[..NEIGHBORS].iter().enumerate().filter(|(_, n)| n.1 == class);
            of_class.map(|(i, _)| 1.0 - 0.01 * i as f64).sum()
        };
        (0..10).max_by(|&a, &b| votes(a).total_cmp(&votes(b))).expect("ten digits")
    }

    /// The share of rows that the classifier gives the class that was asked for; `None` unless it is a class.
    pub fn asked_share(&self, x: &Array2<f32>, asked: &Condition) -> Option<f64> {
        let Condition::Class(asked) = asked else { return None };
        let rows = x.rows().into_iter().zip(asked);
        let right = rows.filter(|(x, asked)| self.classify(*x) == **asked).count();
        Some(right as f64 / x.nrows() as f64)
    }
}

//! Reading tables of rows, preparing them for a model, and writing rows.
//!
//! [`Table`] and [`TableReader`] read your own rows, from text, NPY or (with the feature `arrow`) Parquet, whole or in blocks; [`Table::diagnose`]
//! reports what in them harms a density. [`dequantize`], [`shuffle_rows`] and
//! [`Dataset::hold_out`](crate::Dataset::hold_out) prepare rows for a [`Dataset`](crate::Dataset), and [`CsvWriter`]
//! and [`NpyWriter`] write rows.
//!
//! ```
//! use quadrivium::{Dataset, HeldOut, tables};
//!
//! let mut rng = quadrivium::seeded(0);
//! let table = tables::Table::from_reader("waiting\n79\n54\n74\n62\n85\n".as_bytes())?;
//! assert_eq!(table.kinds(), [tables::ColumnKind::Whole]);
//! let data = Dataset::new(table.dequantize(&mut rng)?.x)?;
//! let (train, test) = data.hold_out(HeldOut::Share(0.2), &mut rng)?;
//! assert_eq!((train.rows(), test.rows()), (4, 1));
//! # Ok::<(), quadrivium::Error>(())
//! ```

mod cells;
mod csv;
mod diagnose;
mod npy;
#[cfg(feature = "cli")]
mod npz;
#[cfg(feature = "arrow")]
mod parquet;
mod reader;
mod schema;
mod selection;
mod step;
mod table;
mod units;

use ndarray::{Array2, ArrayView2};
use rand::{Rng as _, RngCore};

pub use crate::error::Content;
pub use cells::{Cells, MISSING, Survey};
pub use csv::{CsvWriter, Decimal, Guess, Header, TextOptions};
pub use diagnose::Finding;
pub use npy::{NpyNumber, NpyWriter};
#[cfg(feature = "arrow")]
pub use parquet::{ParquetNumber, ParquetWriter};
pub use reader::{TableReader, open_table, read_table};
pub use schema::{Field, LeftOut, Schema};
pub use step::Step;
pub use table::{ColumnKind, Table};
pub use units::Units;

use crate::error::{DataError, Error, Result, check};
use crate::model::check_rows;
use crate::numeric::rng::Streams;

/// The most columns of a table in a file, because their names and positions are kept in memory.
const MOST_COLUMNS: usize = 1 << 14;

/// Puts the rows of x, shape (n, d), in random order (Fisher–Yates), so that
/// [`Dataset::split`](crate::Dataset::split) is fair.
pub fn shuffle_rows(x: &mut Array2<f32>, rng: &mut dyn RngCore) {
    let mut rng = Streams::from_rng(rng).stream(0);
    for i in (1..x.nrows()).rev() {
        let j = rng.random_range(0..=i);
        for column in 0..x.ncols() {
            x.swap([i, column], [j, column]);
        }
    }
}

/// Spreads rounded values over the width they were rounded to: x + (u − ½) · width, u uniform on [0, 1).
///
/// x: (n, d); `widths`: one per column, in the column's units; 0 leaves a column as it is. A column of whole minutes
/// has no density: a flexible model could put a spike of any height on each value. Spread with width 1, it has a
/// density, and on average ln p of the spread value + ln width is at most the log-probability of the rounded value
/// (Theis et al. 2016, §3.1).
///
/// # Errors
/// [`DataError::Shape`] unless there is one width per column, [`Error::Config`] for a width that is negative or
/// not finite, [`DataError::NonFinite`] for a NaN or an infinity in x.
pub fn dequantize(x: ArrayView2<f32>, widths: &[f64], rng: &mut dyn RngCore) -> Result<Array2<f32>> {
    if widths.len() != x.ncols() {
        return Err(Error::Data(DataError::Shape {
            what: "widths",
            got: vec![widths.len()],
            expected: format!("one for each of {} columns", x.ncols()),
        }));
    }
    check_rows("data to dequantize", x, widths.len())?;
    let valid = widths.iter().all(|w| *w >= 0.0 && w.is_finite());
    check(valid, "widths", widths, "each 0 or more, finite")?;
    let mut rng = Streams::from_rng(rng).stream(0);
    let mut spread = x.to_owned();
    for mut row in spread.rows_mut() {
        for (v, width) in row.iter_mut().zip(widths) {
            *v = (f64::from(*v) + (rng.random::<f64>() - 0.5) * width) as f32;
        }
    }
    Ok(spread)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::numeric::rng::seeded;

    #[test]
    fn shuffling_keeps_rows_whole_and_reaches_every_order() {
        let mut counts = std::collections::HashMap::new();
        let mut rng = seeded(5);
        for _ in 0..6000 {
            let mut x = array![[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]];
            shuffle_rows(&mut x, &mut rng);
            assert!(x.rows().into_iter().all(|row| row[1] == 10.0 * row[0]));
            *counts.entry(x.column(0).iter().map(|&v| v as u8).collect::<Vec<_>>()).or_insert(0) += 1;
        }
        // Each of 6 orders 1000 times, sd 29; beyond 5 sd once in a million.
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|&count: &i32| (count - 1000).abs() < 145), "{counts:?}");
    }

    #[test]
    fn dequantizing_spreads_each_column_over_its_width() {
        let x = Array2::from_shape_fn((4000, 3), |(i, j)| if j == 1 { 7.0 } else { (i % 5) as f32 });
        let spread = dequantize(x.view(), &[1.0, 0.2, 0.0], &mut seeded(2)).unwrap();
        let noise = (&spread - &x).mapv(f64::from);
        assert!(noise.column(0).iter().all(|v| v.abs() <= 0.5 + 1e-6));
        assert!(noise.column(1).iter().all(|v| v.abs() <= 0.1 + 1e-6));
        assert_eq!(spread.column(2), x.column(2));
        // Uniform noise has sd width/√12; the sd of 4000 draws is known to 0.7 %, the mean to width/√12/63.
        for (column, width) in [(0, 1.0), (1, 0.2)] {
            let sd = width / 12f64.sqrt();
            assert!((noise.column(column).std(1.0) / sd - 1.0).abs() < 0.03);
            assert!(noise.column(column).mean().unwrap().abs() < 4.0 * sd / 4000f64.sqrt());
        }
        let mut values = spread.column(1).to_vec();
        values.sort_by(f32::total_cmp);
        values.dedup();
        assert!(values.len() > 3900);
    }

    #[test]
    fn bad_widths_are_told() {
        let x = array![[1.0, 2.0]];
        let mut rng = seeded(0);
        assert!(matches!(dequantize(x.view(), &[1.0], &mut rng), Err(Error::Data(DataError::Shape { .. }))));
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(dequantize(x.view(), &[0.0, bad], &mut rng), Err(Error::Config { .. })));
        }
        let nan = array![[1.0, f32::NAN]];
        assert!(matches!(
            dequantize(nan.view(), &[0.0, 0.0], &mut rng),
            Err(Error::Data(DataError::NonFinite { .. }))
        ));
    }
}

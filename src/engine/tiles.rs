//! Rows are processed in tiles: a tile runs through the whole network, and through all steps of an iterative
//! sampler, before the next one starts, so that its activations stay in L1/L2. Tiles share only the parameters and
//! run on all available threads. Each row has its own random stream, so neither the tile size nor the number of
//! threads changes a bit, and the first k rows do not depend on how many follow.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array2, Array3, ArrayView2};
use rand::RngCore;

use super::{Row, SampleOptions};
use crate::error::{DataError, Error, Result};
pub use crate::numeric::TILE;
use crate::numeric::rng::{Rng, Streams};

/// Rows that [`sample_each`] hands out together.
const BLOCK: u64 = 8192;

/// Calls `work(scratch, first, tile)` for each tile of `out`, (n, width), where `first` is the tile's first row.
/// Returns the first error in the order of the rows, if there is one. A thread keeps its scratch from tile to tile.
pub(crate) fn for_each_tile<T: Send, S: Default>(
    out: &mut [T],
    width: usize,
    work: impl Fn(&mut S, usize, &mut [T]) -> Result<()> + Sync,
) -> Result<()> {
    for_each_block(out, TILE, width, work)
}

/// [`for_each_tile`] with blocks of `rows` rows.
pub(crate) fn for_each_block<T: Send, S: Default>(
    out: &mut [T],
    rows: usize,
    width: usize,
    work: impl Fn(&mut S, usize, &mut [T]) -> Result<()> + Sync,
) -> Result<()> {
    let size = rows * width;
    // One tile needs no second thread, and waking one costs more than a small tile.
    #[cfg(feature = "rayon")]
    if out.len() > size {
        use rayon::prelude::*;
        return out
            .par_chunks_mut(size)
            .enumerate()
            .map_init(S::default, |scratch, (t, tile)| work(scratch, t * rows, tile))
            .find_first(|done| done.is_err())
            .unwrap_or(Ok(()));
    }
    let mut scratch = S::default();
    out.chunks_mut(size).enumerate().try_for_each(|(t, tile)| work(&mut scratch, t * rows, tile))
}

/// Where the random numbers of some rows are: row r of them has the stream of its number among all rows.
///
/// So a row is the same bits whichever rows are drawn with it, and a model that is a part of another draws its share
/// of a row from an address of its own ([`family`](RowStreams::family)).
#[derive(Debug, Clone, Copy)]
pub struct RowStreams {
    streams: Streams,
    first: u64,
}

impl RowStreams {
    /// The streams of rows whose first has the index `first` among all rows.
    pub fn new(streams: Streams, first: u64) -> Self {
        RowStreams { streams, first }
    }

    /// The streams of the rows after the first `rows`.
    pub fn skip(self, rows: usize) -> Self {
        RowStreams { first: self.first.wrapping_add(rows as u64), ..self }
    }

    /// The index of the first row among all rows.
    pub fn first(self) -> usize {
        self.first as usize
    }

    /// A second set of streams for the same rows.
    pub fn family(self, index: u64) -> Self {
        RowStreams { streams: self.streams.family(index), ..self }
    }

    /// The stream of row `r` of these.
    pub fn row(self, r: usize) -> Rng {
        self.streams.stream(self.first.wrapping_add(r as u64))
    }

    /// Refills `rngs` with the streams of `n` rows.
    pub(crate) fn fill(self, n: usize, rngs: &mut Vec<Rng>) {
        rngs.clear();
        rngs.extend((0..n).map(|r| self.row(r)));
    }
}

/// A model that draws rows of elements `T` tile by tile.
pub(crate) trait DrawTile<T = f32>: Sync {
    /// Buffers that a thread keeps from tile to tile.
    type Scratch: Default;

    /// Columns of a row.
    fn columns(&self) -> usize;

    /// The most rows of a tile: [`TILE`], unless the model says otherwise.
    fn tile(&self) -> usize {
        TILE
    }

    /// Fills rows: (at most a tile, columns), in the units of the data. Returns how often the network ran on each row.
    fn draw_tile(
        &self,
        temperature: f64,
        streams: RowStreams,
        scratch: &mut Self::Scratch,
        rows: &mut [T],
    ) -> usize;
}

/// Rows drawn from a model, and their cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples<T = f32> {
    /// The rows, shape (n, dim), in the units of the data.
    pub x: Array2<T>,
    /// Number of network (function) evaluations spent on each row, counted while drawing.
    pub nfe: usize,
}

/// n rows drawn from `model`, with the network evaluations that its tiles counted.
pub(crate) fn sample<T: Row + Default>(
    model: &impl DrawTile<T>,
    n: usize,
    options: &SampleOptions,
    rng: &mut dyn RngCore,
) -> Result<Samples<T>> {
    sample_by(model.columns(), n, options, rng, &|at, x| draw_at(model, at, options, x))
}

/// Fills rows with those of the streams from `at` on; the evaluations spent on each.
pub(crate) type DrawRows<'a, T = f32> = &'a dyn Fn(RowStreams, &mut [T]) -> Result<usize>;

/// n rows of `dim` columns, and the evaluations that `draw` counted.
pub(crate) fn sample_by<T: Row + Default>(
    dim: usize,
    n: usize,
    options: &SampleOptions,
    rng: &mut dyn RngCore,
    draw: DrawRows<T>,
) -> Result<Samples<T>> {
    options.validate()?;
    let at = RowStreams::new(Streams::from_rng(rng), 0);
    let mut x = zeroed(n, dim)?;
    let nfe = draw(at, &mut x)?;
    Ok(Samples { x: Array2::from_shape_vec((n, dim), x).expect("n rows of dim columns"), nfe })
}

/// n rows of `width` zeros.
pub(crate) fn zeroed<T: Clone + Default>(n: usize, width: usize) -> Result<Vec<T>> {
    let mut x = Vec::new();
    let len = n.checked_mul(width).filter(|&len| x.try_reserve_exact(len).is_ok());
    x.resize(len.ok_or_else(|| Error::config("n", n, "rows that fit into memory"))?, T::default());
    Ok(x)
}

/// The paths to the rows of [`sample`], (n, states, columns): `walk` fills the paths of a tile, (rows, states,
/// columns), in the units of the data.
pub(crate) fn sample_paths<S: Default>(
    n: usize,
    (states, columns): (usize, usize),
    options: &SampleOptions,
    rng: &mut dyn RngCore,
    walk: impl Fn(f64, RowStreams, &mut S, &mut [f32]) + Sync,
) -> Result<Array3<f32>> {
    options.validate()?;
    let streams = Streams::from_rng(rng);
    // `states` are at most a few million.
    let mut ways = zeroed(n, states * columns)?;
    let walked = for_each_tile(&mut ways, states * columns, |scratch: &mut S, first, ways| {
        walk(options.temperature, RowStreams { streams, first: first as u64 }, scratch, ways);
        Ok(())
    });
    debug_assert!(walked.is_ok(), "no tile fails");
    Ok(Array3::from_shape_vec((n, states, columns), ways).expect("n paths"))
}

/// Records where the rows x: (n, columns) are on their paths: (n, states, columns).
pub(crate) fn note_state(ways: &mut [f32], state: usize, columns: usize, x: &[f32]) {
    let n = x.len() / columns;
    let states = ways.len() / x.len().max(1);
    for row in 0..n {
        let to = &mut ways[(row * states + state) * columns..][..columns];
        to.copy_from_slice(&x[row * columns..][..columns]);
    }
}

/// The rows of [`sample`], handed to `sink` in blocks, in constant memory.
pub(crate) fn sample_each<T: Row + Default>(
    model: &impl DrawTile<T>,
    n: u64,
    options: &SampleOptions,
    rng: &mut dyn RngCore,
    sink: Sink<T>,
) -> Result<()> {
    sample_each_by(model.columns(), n, options, rng, &|at, x| draw_at(model, at, options, x), sink)
}

/// Takes blocks of rows, until it has enough.
pub(crate) type Sink<'a, T = f32> = &'a mut dyn FnMut(ArrayView2<T>) -> ControlFlow<()>;

/// The rows of [`sample_by`], handed to `sink` in blocks, in constant memory.
pub(crate) fn sample_each_by<T: Row + Default>(
    dim: usize,
    n: u64,
    options: &SampleOptions,
    rng: &mut dyn RngCore,
    draw: DrawRows<T>,
    sink: Sink<T>,
) -> Result<()> {
    options.validate()?;
    let streams = Streams::from_rng(rng);
    let mut x = vec![T::default(); n.min(BLOCK) as usize * dim];
    let mut start = 0;
    while start < n {
        let rows = BLOCK.min(n - start);
        let x = &mut x[..rows as usize * dim];
        draw(RowStreams::new(streams, start), x)?;
        let block = ArrayView2::from_shape((rows as usize, dim), x).expect("rows of dim columns");
        if sink(block).is_break() {
            break;
        }
        start += rows;
    }
    Ok(())
}

/// Fills x, which holds whole rows, with the rows of the streams from `at` on. Returns the largest number of network
/// evaluations that a row took.
pub(crate) fn draw_at<T: Row, M: DrawTile<T>>(
    model: &M,
    at: RowStreams,
    options: &SampleOptions,
    x: &mut [T],
) -> Result<usize> {
    options.validate()?;
    check_whole(x, model.columns())?;
    let nfe = AtomicUsize::new(0);
    for_each_block(x, model.tile(), model.columns(), |scratch: &mut M::Scratch, first, rows| {
        let streams = at.skip(first);
        nfe.fetch_max(model.draw_tile(options.temperature, streams, scratch, rows), Ordering::Relaxed);
        Ok(())
    })?;
    Ok(nfe.into_inner())
}

/// That x holds whole rows of `dim` columns; how many.
pub(crate) fn check_whole<T>(x: &[T], dim: usize) -> Result<usize> {
    match x.len() % dim {
        0 => Ok(x.len() / dim),
        _ => Err(DataError::Shape {
            what: "rows",
            got: vec![x.len()],
            expected: format!("whole rows of {dim}"),
        }
        .into()),
    }
}

/// One number per row of x, (n, dim), computed by `tile(first, scratch, rows, nats)`.
pub(crate) fn score<T: Row, S: Default>(
    x: ArrayView2<T>,
    tile: impl Fn(usize, &mut S, &[T], &mut [f64]) -> Result<()> + Sync,
) -> Result<Array1<f64>> {
    score_blocks(TILE, x, tile)
}

/// [`score`] in blocks of `rows` rows, for a method that forms its own tiles.
pub(crate) fn score_blocks<T: Row, S: Default>(
    rows: usize,
    x: ArrayView2<T>,
    block: impl Fn(usize, &mut S, &[T], &mut [f64]) -> Result<()> + Sync,
) -> Result<Array1<f64>> {
    let (n, dim) = x.dim();
    let x = x.as_standard_layout();
    let x = x.as_slice().expect("standard layout");
    let mut nats = vec![0.0; n];
    for_each_block(&mut nats, rows, 1, |scratch, first, nats| {
        block(first, scratch, &x[first * dim..(first + nats.len()) * dim], nats)
    })?;
    Ok(Array1::from_vec(nats))
}

#[cfg(test)]
mod tests {
    use rand::RngCore;

    use super::*;
    use crate::error::TrainingError;
    use crate::numeric::rng::seeded;

    /// Two columns from the row's own stream.
    struct Pairs;

    impl DrawTile for Pairs {
        type Scratch = ();

        fn columns(&self) -> usize {
            2
        }

        fn draw_tile(&self, _: f64, streams: RowStreams, _: &mut (), rows: &mut [f32]) -> usize {
            for (r, row) in rows.chunks_exact_mut(2).enumerate() {
                let mut rng = streams.row(r);
                row.fill_with(|| (rng.next_u32() >> 8) as f32);
            }
            3
        }
    }

    fn pairs(n: usize) -> Result<Samples> {
        sample(&Pairs, n, &SampleOptions::default(), &mut seeded(1))
    }

    #[test]
    fn rows_are_the_same_in_any_number_and_in_blocks() {
        let n = 2 * BLOCK as usize + 77;
        let all = pairs(n).unwrap().x;
        for k in [0, 1, TILE - 1, TILE, TILE + 1, 1000] {
            assert_eq!(pairs(k).unwrap().x, all.slice(ndarray::s![..k, ..]));
        }
        let mut seen = Vec::new();
        let mut sink = |x: ArrayView2<f32>| {
            seen.extend(x.iter().copied());
            ControlFlow::Continue(())
        };
        sample_each(&Pairs, n as u64, &SampleOptions::default(), &mut seeded(1), &mut sink).unwrap();
        assert_eq!(seen, all.into_raw_vec_and_offset().0);
    }

    #[test]
    fn evaluations_are_those_that_the_tiles_counted() {
        assert_eq!([0, 1, 3 * TILE].map(|n| pairs(n).unwrap().nfe), [0, 3, 3]);
    }

    #[test]
    fn more_rows_than_memory_holds_are_an_error() {
        for n in [usize::MAX, usize::MAX / 2, usize::MAX / 16] {
            assert!(matches!(pairs(n), Err(Error::Config { field: "n", .. })), "{n}");
        }
    }

    #[test]
    fn the_first_error_in_the_order_of_the_rows_is_reported() {
        let mut out = vec![0u8; 40 * TILE];
        let done = for_each_tile(&mut out, 1, |_: &mut (), first, _| match first {
            0 => Ok(()),
            row => Err(Error::Training(TrainingError::NotConverged { what: "a test", budget: 1, row })),
        });
        assert!(
            matches!(done, Err(Error::Training(TrainingError::NotConverged { row: TILE, .. }))),
            "{done:?}"
        );
    }

    #[test]
    fn scores_follow_the_rows_of_any_view() {
        let x = Array2::from_shape_fn((2, 300), |(c, r)| (10 * r + c) as f32);
        let sums = score(x.t(), |first, _: &mut (), rows, nats| {
            for (r, (row, nats)) in rows.chunks_exact(2).zip(nats).enumerate() {
                assert_eq!(row[0], 10.0 * (first + r) as f32);
                *nats = (row[0] + row[1]).into();
            }
            Ok(())
        });
        assert_eq!(sums.unwrap()[299], 2.0 * 2990.0 + 1.0);
    }
}

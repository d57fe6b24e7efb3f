use super::BLOCK;
use crate::baseline::lanes::LANES;
use crate::numeric::gemm::transpose;

/// Rows in f64, in blocks of [`BLOCK`] that stand column by column, so that a line of arithmetic runs along many rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Blocks {
    rows: usize,
    dim: usize,
    // (blocks, dim, width): the last block is as wide as its rows, rounded up to LANES and filled up with 0.
    x: Vec<f64>,
    // Rows of a block in f64: (width, dim)
    converted: Vec<f64>,
}

impl Blocks {
    /// The rows of x, (n, dim).
    pub fn new(dim: usize, x: &[f32]) -> Self {
        let mut blocks = Blocks::default();
        blocks.refill(dim, x);
        blocks
    }

    /// The rows of x, (n, dim), instead of the present ones.
    pub fn refill(&mut self, dim: usize, x: &[f32]) {
        (self.rows, self.dim) = (x.len() / dim, dim);
        self.x.clear();
        self.x.resize(self.rows.next_multiple_of(LANES) * dim, 0.0);
        for (block, rows) in self.x.chunks_mut(BLOCK * dim).zip(x.chunks(BLOCK * dim)) {
            self.converted.clear();
            self.converted.extend(rows.iter().map(|&v| f64::from(v)));
            self.converted.resize(block.len(), 0.0);
            transpose((block.len() / dim, dim), &self.converted, block);
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The number of its first row, how many rows it has, and its columns, (dim, width).
    pub fn get(&self, block: usize) -> (usize, usize, &[f64]) {
        let first = block * BLOCK;
        let columns = &self.x[first * self.dim..self.x.len().min((first + BLOCK) * self.dim)];
        (first, BLOCK.min(self.rows - first), columns)
    }

    pub fn count(&self) -> usize {
        self.rows.div_ceil(BLOCK)
    }

    /// Row i: (dim)
    pub fn row(&self, i: usize) -> impl Iterator<Item = f64> {
        let (first, _, columns) = self.get(i / BLOCK);
        columns[i - first..].iter().step_by(columns.len() / self.dim).copied()
    }
}

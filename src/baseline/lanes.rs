/// Rows that stand side by side: two 512-bit registers of f64.
pub(super) const LANES: usize = 16;

/// Rows in f64, LANES of them side by side, so that one instruction works on many.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Lanes {
    rows: usize,
    // (⌈rows / LANES⌉, dim, LANES), the last tile filled up
    x: Vec<f64>,
}

impl Lanes {
    /// The rows of x, (n, dim).
    pub fn new<T: Copy + Into<f64>>(dim: usize, x: &[T], filler: f64) -> Self {
        let mut lanes = Lanes::default();
        lanes.refill(dim, x, filler);
        lanes
    }

    /// The rows of x, (n, dim), instead of the present ones; `filler` stands in every column behind the last.
    pub fn refill<T: Copy + Into<f64>>(&mut self, dim: usize, x: &[T], filler: f64) {
        self.rows = x.len() / dim;
        self.x.clear();
        self.x.resize(self.rows.div_ceil(LANES) * dim * LANES, filler);
        for (i, row) in x.chunks_exact(dim).enumerate() {
            for (c, &v) in row.iter().enumerate() {
                self.x[((i / LANES) * dim + c) * LANES + i % LANES] = v.into();
            }
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Some of the columns.
    pub fn columns(&self, columns: std::ops::Range<usize>) -> Self {
        let dim = self.x.len() / (self.rows.div_ceil(LANES) * LANES);
        let tile = |tile: &[f64]| tile[columns.start * LANES..columns.end * LANES].to_vec();
        Lanes { rows: self.rows, x: self.x.chunks_exact(dim * LANES).flat_map(tile).collect() }
    }

    /// Row i: (dim)
    pub fn row(&self, i: usize) -> impl Iterator<Item = f64> {
        let dim = self.x.len() / (self.rows.div_ceil(LANES) * LANES);
        self.x[i / LANES * dim * LANES + i % LANES..].iter().step_by(LANES).take(dim).copied()
    }

    /// (tiles, dim, LANES)
    pub fn tiles(&self) -> &[f64] {
        &self.x
    }
}

/// The sum of all lanes, in a fixed order.
#[inline(always)]
pub(super) fn total(v: &[f64; LANES]) -> f64 {
    let mut half: [f64; LANES / 2] = std::array::from_fn(|l| v[l] + v[l + LANES / 2]);
    let mut width = LANES / 2;
    while width > 1 {
        width /= 2;
        for l in 0..width {
            half[l] += half[l + width];
        }
    }
    half[0]
}

use rand::Rng as _;
use rand_distr::{Distribution, Exp1};

use super::conditional::draw_index;
use super::mixture::{LEAST_SD, MOST_LOOKED_AT, MOST_POWER};
use crate::numeric::Real;
use crate::numeric::rng::Rng;
use crate::numeric::softmax::softmax;

/// Scale of the tails over equal bins, in standardized units: that of a normal beyond 4 standard deviations.
pub(super) const TAIL: f64 = 0.25;

/// Share of the rows beyond either end of the bins, and the least number of such rows: a few rows far away then do
/// not influence where the bins are.
const TAIL_SHARE: f64 = 1e-3;
const TAIL_ROWS: f64 = 8.0;

/// The number of nats per row by which bins that follow the rows must be better than equal ones. Their edges are
/// where the rows happen to be, and data with sharp edges, such as a square of a checkerboard, seldom end there.
const WORTH: f64 = 0.02;

/// Half the range before the first training.
const UNFITTED: f64 = 4.0;

/// A piecewise density: B bins and a tail on both sides. With P = softmax y over the B + 2:
/// p(z | y) = P_b / width_b inside bin b, P₀ t(low − z) below the lowest edge, P_{B+1} t(z − high) above the
/// highest. Both tails t integrate to 1, and so does p.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bins {
    bins: usize,
    pub grid: Grid,
}

/// The kind and position of the bins.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Grid {
    /// Equal bins from `low` to `high`, exponential tails t(e) = e^(−e/τ)/τ with τ = [`TAIL`].
    Equal { low: f64, high: f64 },
    /// Edges that follow the rows of the first training, so that bins are narrow where rows are dense.
    Adapted(Adapted),
}

impl Grid {
    /// Where the first bin begins and the last one ends.
    #[cfg(any(test, feature = "safetensors"))]
    pub fn ends(&self) -> (f64, f64) {
        match self {
            Grid::Equal { low, high } => (*low, *high),
            Grid::Adapted(Adapted { edges, .. }) => (edges[0], edges[edges.len() - 1]),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(super) struct Adapted {
    /// Ascending: (B + 1). A bin holds its lower edge.
    pub edges: Vec<f64>,
    /// Scales τ of the lower and the upper tail, t(e) = (1 + e/2τ)^−3/τ: half of the mass is within 0.83 τ. It
    /// falls like that of a Student t₂, slowly enough for a few rows far away. If the true tail is that of a normal
    /// beyond 2 standard deviations, it costs 0.07 nats for a row in that tail.
    pub tails: [f64; 2],
}

impl Adapted {
    /// Whether it is a grid with this number of bins.
    #[cfg(feature = "safetensors")]
    pub fn is_sane(&self, bins: usize) -> bool {
        let ascending = self.edges.windows(2).all(|pair| pair[0] < pair[1]);
        let numbers = self.edges.iter().chain(&self.tails);
        let positive = self.tails.iter().all(|&tail| tail > 0.0);
        self.edges.len() == bins + 1 && ascending && positive && numbers.copied().all(f64::is_finite)
    }

    /// The bins of an ascending column. Their outer edges leave [`TAIL_SHARE`] of the rows to each tail, but at least
    /// [`TAIL_ROWS`] rows, and at most the equal share of a bin.
    ///
    /// −ln p(z) is the sum of the cross-entropy of the token, which the network learns, and ln width of the bin,
    /// which it cannot change. The bins are cut one after the other, each time where the cut reduces the mean of the
    /// latter most: for a bin with n rows and width W, by n ln W − n₁ ln w₁ − n₂ ln w₂. If rows are spread evenly,
    /// these cuts make equal shares; a gap between modes gets its own bin. No bin is narrower than [`LEAST_SD`], so
    /// the density is bounded where values repeat.
    fn fit(column: &[f32], bins: usize) -> Self {
        let last = column.len() - 1;
        let at = |share: f64| f64::from(column[(share * last as f64) as usize]);
        let share = TAIL_SHARE.max(TAIL_ROWS / column.len() as f64).min(1.0 / (bins + 2) as f64);
        let (low, high) = (at(share), at(1.0 - share));
        let some = column.len().min(MOST_LOOKED_AT.max(64 * bins));
        let sample: Vec<f64> = (0..some).map(|i| column[i * column.len() / some].into()).collect();
        let inside = sample.partition_point(|&z| z < low)..sample.partition_point(|&z| z < high);
        let rows = &sample[inside];
        let mut pieces = vec![Piece::new(rows, low, high.max(low + LEAST_SD))];
        while pieces.len() < bins {
            let gain = |piece: &Piece| piece.cut.map_or(f64::NEG_INFINITY, |(gain, _)| gain);
            let best = (0..pieces.len()).max_by(|&a, &b| gain(&pieces[a]).total_cmp(&gain(&pieces[b])));
            let Piece { rows, low, high, cut } = pieces.swap_remove(best.expect("at least one piece"));
            // If all bins are as narrow as allowed, the range grows.
            let (middle, high) = match cut {
                Some((_, at)) => (at, high),
                None => (high, pieces.iter().fold(high, |most, piece| most.max(piece.high)) + LEAST_SD),
            };
            let (below, above) = rows.split_at(rows.partition_point(|&z| z < middle));
            let start = if cut.is_some() { middle } else { high - LEAST_SD };
            pieces.extend([Piece::new(below, low, middle), Piece::new(above, start, high)]);
        }
        let mut edges: Vec<f64> = pieces.iter().map(|piece| piece.low).collect();
        edges.push(pieces.iter().fold(low, |most, piece| most.max(piece.high)));
        edges.sort_unstable_by(f64::total_cmp);
        let (low, high) = (edges[0], edges[bins]);
        let start = column.partition_point(|&z| f64::from(z) < low);
        let end = column.partition_point(|&z| f64::from(z) < high);
        // The median of (1 + e/2τ)^−3/τ is 2 (√2 − 1) τ. A tail without rows is as wide as a bin.
        let scale = |median: Option<f64>| {
            let fallback = (high - low) / bins as f64;
            median.map_or(fallback, |median| median / (2.0 * (std::f64::consts::SQRT_2 - 1.0))).max(LEAST_SD)
        };
        let below = (start > 0).then(|| low - f64::from(column[start / 2]));
        let above = (end < column.len()).then(|| f64::from(column[(end + column.len()) / 2]) - high);
        Adapted { edges, tails: [scale(below), scale(above)] }
    }
}

/// How much the difference of two edges may fall short of their intended width because of rounding.
const ROUNDING: f64 = 1e-6;

/// A part of the range, with its rows, and its best cut: the gain and the place.
struct Piece<'a> {
    rows: &'a [f64],
    low: f64,
    high: f64,
    cut: Option<(f64, f64)>,
}

impl<'a> Piece<'a> {
    fn new(rows: &'a [f64], low: f64, high: f64) -> Self {
        let log_width = |rows: usize, width: f64| rows as f64 * width.ln();
        let gain = |below: usize, at: f64| {
            let above = rows.len() - below;
            log_width(rows.len(), high - low) - log_width(below, at - low) - log_width(above, high - at)
        };
        let wide = |width: f64| width > (1.0 - ROUNDING) * LEAST_SD;
        let mut cut: Option<(f64, f64)> = None;
        for (i, &z) in rows.iter().enumerate() {
            // Just below a row, which then begins a bin, and just above it.
            let next = rows.get(i + 1).copied().unwrap_or(high);
            for (below, at) in [(i, z), (i + 1, next.min(z + LEAST_SD))] {
                // Rows that repeat stay together.
                let apart = below == 0 || below == rows.len() || rows[below - 1] < at;
                if apart && wide(at - low) && wide(high - at) {
                    let gain = gain(below, at);
                    if cut.is_none_or(|(most, _)| gain > most) {
                        cut = Some((gain, at));
                    }
                }
            }
        }
        if cut.is_none() && high - low >= 2.0 * LEAST_SD {
            cut = Some((0.0, 0.5 * (low + high)));
        }
        Piece { rows, low, high, cut }
    }
}

impl Bins {
    pub fn new(bins: usize) -> Self {
        Bins { bins, grid: Grid::Equal { low: -UNFITTED, high: UNFITTED } }
    }

    /// The bins of the ascending column, and the log-frequencies of its tokens, with one added to each count.
    ///
    /// Equal bins over the range are used unless bins that follow the rows describe the column better by at least
    /// [`WORTH`].
    pub fn fit(&mut self, column: &[f32], y: &mut [f32]) {
        let (low, high) = (column[0].into(), column[column.len() - 1].into());
        self.grid = Grid::Equal { low, high };
        let equal = self.count(column, y);
        let adapted = Grid::Adapted(Adapted::fit(column, self.bins));
        let kept = std::mem::replace(&mut self.grid, adapted);
        if self.count(column, y) < equal + WORTH {
            self.grid = kept;
            self.count(column, y);
        }
    }

    /// The log-frequencies of the tokens, and the mean of ln p(z) under them.
    fn count(&self, column: &[f32], y: &mut [f32]) -> f64 {
        y.fill(1.0);
        let mut within = 0.0;
        for &z in column {
            let (token, nats) = self.token(z.into());
            y[token] += 1.0;
            within += nats;
        }
        let all = (column.len() + y.len()) as f64;
        let tokens =
            y.iter().map(|&count| f64::from(count - 1.0) * (f64::from(count) / all).ln()).sum::<f64>();
        y.iter_mut().for_each(|y| *y = y.ln());
        (within + tokens) / column.len() as f64
    }

    pub fn outputs(&self) -> usize {
        self.bins + 2
    }

    /// Equal shares.
    pub fn start(&self, y: &mut [f32]) {
        y.fill(0.0);
    }

    /// The token of z, which is 0 below the lowest edge, and ln p(z | that token).
    #[inline(always)]
    fn token(&self, z: f64) -> (usize, f64) {
        match &self.grid {
            Grid::Equal { low, .. } if z < *low => (0, -TAIL.ln() - (low - z) / TAIL),
            Grid::Equal { high, .. } if z > *high => (self.bins + 1, -TAIL.ln() - (z - high) / TAIL),
            Grid::Equal { low, high } => {
                let width = (high - low) / self.bins as f64;
                let bin = ((z - low) / width) as usize;
                // The last bin holds its upper end.
                (1 + bin.min(self.bins - 1), -width.ln())
            }
            Grid::Adapted(Adapted { edges, tails }) => {
                let tail = |excess: f64, scale: f64| -scale.ln() - 3.0 * (0.5 * excess / scale).ln_1p();
                match edges.partition_point(|&edge| edge <= z) {
                    0 => (0, tail(edges[0] - z, tails[0])),
                    above if above > self.bins => (above, tail(z - edges[self.bins], tails[1])),
                    bin => (bin, -(edges[bin] - edges[bin - 1]).ln()),
                }
            }
        }
    }

    /// The width of a token; the width of a tail is its scale.
    fn width(&self, token: usize) -> f64 {
        let tail = token == 0 || token > self.bins;
        match &self.grid {
            Grid::Equal { .. } if tail => TAIL,
            Grid::Equal { low, high } => (high - low) / self.bins as f64,
            Grid::Adapted(Adapted { tails, .. }) if tail => tails[token.min(1)],
            Grid::Adapted(Adapted { edges, .. }) => edges[token] - edges[token - 1],
        }
    }

    /// ln p = y_b − lse(y) + ln p(z | b), b the token of z. Leaves P.
    #[inline(always)]
    pub fn log_density<F: Real>(&self, y: &[F], z: &[F], work: &mut [F], nats: &mut [F]) {
        let n = z.len();
        let (shares, sum) = work.split_at_mut(y.len());
        shares.copy_from_slice(y);
        softmax(shares, nats, &mut sum[..n]);
        for (r, (nats, z)) in nats.iter_mut().zip(z).enumerate() {
            let (token, within) = self.token(z.f64());
            *nats = y[token * n + r] - *nats + F::of(within);
        }
    }

    /// The cross-entropy's gradient: dy = P − 1 at the token, P elsewhere.
    #[inline(always)]
    pub fn gradient<F: Real>(&self, y: &mut [F], z: &[F], weight: F, work: &[F]) {
        y.iter_mut().zip(work).for_each(|(dy, &share)| *dy = weight * share);
        let n = z.len();
        for (r, z) in z.iter().enumerate() {
            y[self.token(z.f64()).0 * n + r] -= weight;
        }
    }

    /// Draws a token, then a point within it.
    ///
    /// At a temperature T the density within a bin is taken to the power a = 1/T² and normalized again, so that
    /// token b has a mass ∝ width_b (P_b/width_b)^a; the reach of a tail is scaled by T.
    pub fn draw(&self, y: &mut [f32], temperature: f64, rng: &mut Rng) -> f32 {
        if temperature != 1.0 {
            let power = temperature.powi(-2).min(MOST_POWER);
            let tempered =
                |(token, y): (usize, &f32)| power * f64::from(*y) + (1.0 - power) * self.width(token).ln();
            let logits: Vec<f64> = y.iter().enumerate().map(tempered).collect();
            let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            y.iter_mut().zip(logits).for_each(|(y, logit)| *y = (logit - top) as f32);
        }
        let token = draw_index(y, rng);
        let z = match &self.grid {
            Grid::Equal { low, high } => {
                let tail = |rng: &mut Rng| temperature * TAIL * Distribution::<f64>::sample(&Exp1, rng);
                match token {
                    0 => low - tail(rng),
                    above if above > self.bins => high + tail(rng),
                    bin => low + (high - low) / self.bins as f64 * ((bin - 1) as f64 + rng.random::<f64>()),
                }
            }
            Grid::Adapted(Adapted { edges, tails }) => {
                let u: f64 = rng.random();
                // The share of a tail beyond the excess e is (1 + e/2τ)^−2: its inverse.
                let excess = |scale: f64| 2.0 * temperature * scale * ((1.0 - u).powf(-0.5) - 1.0);
                match token {
                    0 => edges[0] - excess(tails[0]),
                    above if above > self.bins => edges[self.bins] + excess(tails[1]),
                    bin => edges[bin - 1] + (edges[bin] - edges[bin - 1]) * u,
                }
            }
        };
        z as f32
    }
}

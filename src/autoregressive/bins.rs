use rand::Rng as _;
use rand_distr::{Distribution, Exp1};

use super::conditional::draw_index;
use crate::numeric::Real;
use crate::numeric::rng::Rng;
use crate::numeric::softmax::softmax;

/// Mean distance by which the tail bins reach beyond the range, in standardised units: a normal's beyond 4
/// standard deviations.
const TAIL: f64 = 0.25;

/// Half the range before the first training.
const UNFITTED: f64 = 4.0;

/// A piecewise density: B equal bins on [low, high] and an exponential tail on both sides. With P = softmax y
/// over the B + 2: p(z | y) = P_b/width inside bin b, P₀ e^(−(low−z)/τ)/τ below, P_{B+1} e^(−(z−high)/τ)/τ
/// above, which integrates to 1.
///
/// The range is that of the first training data.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bins {
    bins: usize,
    pub low: f64,
    pub high: f64,
}

impl Bins {
    pub fn new(bins: usize) -> Self {
        Bins { bins, low: -UNFITTED, high: UNFITTED }
    }

    /// The range of the ascending column, and the log-frequencies of its tokens, each counted once more.
    pub fn fit(&mut self, column: &[f32], y: &mut [f32]) {
        (self.low, self.high) = (column[0].into(), column[column.len() - 1].into());
        y.fill(1.0);
        column.iter().for_each(|&z| y[self.token(z.into()).0] += 1.0);
        y.iter_mut().for_each(|y| *y = y.ln());
    }

    pub fn outputs(&self) -> usize {
        self.bins + 2
    }

    /// Equal shares.
    pub fn start(&self, y: &mut [f32]) {
        y.fill(0.0);
    }

    fn width(&self) -> f64 {
        (self.high - self.low) / self.bins as f64
    }

    /// The token of z and ln p(z | that token).
    #[inline(always)]
    fn token(&self, z: f64) -> (usize, f64) {
        if z < self.low {
            return (0, -TAIL.ln() - (self.low - z) / TAIL);
        }
        if z > self.high {
            return (self.bins + 1, -TAIL.ln() - (z - self.high) / TAIL);
        }
        let bin = ((z - self.low) / self.width()) as usize;
        // The last bin holds its upper end.
        (1 + bin.min(self.bins - 1), -self.width().ln())
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

    /// A token with probability ∝ P^(1/T), then a point of its bin.
    pub fn draw(&self, y: &mut [f32], temperature: f64, rng: &mut Rng) -> f32 {
        let token = draw_index(y, temperature, rng);
        let tail = |rng: &mut Rng| -> f64 { TAIL * Distribution::<f64>::sample(&Exp1, rng) };
        let z = match token {
            0 => self.low - tail(rng),
            t if t == self.bins + 1 => self.high + tail(rng),
            t => self.low + self.width() * ((t - 1) as f64 + rng.random::<f64>()),
        };
        z as f32
    }
}

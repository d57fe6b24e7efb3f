use super::Head;
use super::bins::Bins;
use super::mixture::Mixture;
use crate::numeric::Real;
use crate::numeric::rng::Rng;
use crate::numeric::simd::vectorize;

/// The family of p(z_i | z_<i) on the line, which gives the numbers y of a head their meaning. z is in standardized
/// units.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Conditional {
    Mixture(Mixture),
    Bins(Bins),
}

/// Forwards a call to the family inside the enum.
macro_rules! each {
    ($self:expr, $family:ident => $call:expr) => {
        match $self {
            Conditional::Mixture($family) => $call,
            Conditional::Bins($family) => $call,
        }
    };
}

impl Conditional {
    pub fn new(head: Head) -> Self {
        match head {
            Head::Mixture { components } => Conditional::Mixture(Mixture { components }),
            Head::Bins { bins } => Conditional::Bins(Bins::new(bins)),
        }
    }

    /// Length of y.
    pub fn outputs(&self) -> usize {
        each!(self, family => family.outputs())
    }

    /// A y that describes standardized data, used before any data have been seen.
    pub fn start(&self, y: &mut [f32]) {
        each!(self, family => family.start(y));
    }

    /// A y that roughly describes `column`, which is ascending. Also fits to it what stays fixed in training.
    pub fn fit(&mut self, column: &[f32], y: &mut [f32]) {
        each!(self, family => family.fit(column, y));
    }

    /// Writes ln p(z_r | y_r) of n rows to `nats`, and leaves in `work` what `gradient` needs.
    ///
    /// The rows run along the vectors: y: (outputs, n), work: (outputs + 2, n).
    #[inline(always)]
    pub fn log_density<F: Real>(&self, y: &[F], z: &[F], work: &mut [F], nats: &mut [F]) {
        each!(self, family => family.log_density(y, z, work, nats));
    }

    /// y ← weight · ∂(−Σ_r ln p(z_r | y_r))/∂y, after `log_density`.
    #[inline(always)]
    pub fn gradient<F: Real>(&self, y: &mut [F], z: &[F], weight: F, work: &[F]) {
        each!(self, family => family.gradient(y, z, weight, work));
    }

    /// z ~ p(· | y)^(1/T²), normalized, at a temperature T; y is overwritten.
    pub fn draw(&self, y: &mut [f32], temperature: f64, rng: &mut Rng) -> f32 {
        each!(self, family => family.draw(y, temperature, rng))
    }
}

/// Draws k with probability ∝ exp(logits[k]); the logits are overwritten.
pub(super) fn draw_index(logits: &mut [f32], rng: &mut impl rand::Rng) -> usize {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights = &mut *logits;
    vectorize(
        #[inline(always)]
        move || weights.iter_mut().for_each(|l| *l = (*l - top).fast_exp()),
    );
    let total: f64 = logits.iter().map(|&weight| f64::from(weight)).sum();
    let mut left = rng.random::<f64>() * total;
    for (k, &weight) in logits.iter().enumerate() {
        left -= f64::from(weight);
        if left < 0.0 {
            return k;
        }
    }
    // The sum was rounded: take the last k that can be drawn.
    logits.iter().rposition(|&weight| weight > 0.0).unwrap_or(0)
}

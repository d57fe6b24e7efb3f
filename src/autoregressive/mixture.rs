use super::conditional::draw_index;
use crate::numeric::rng::Rng;
use crate::numeric::softmax::softmax;
use crate::numeric::{Real, log_sum, log_sum_exp};

/// The least standard deviation of a component, in standardized units. Measured data have finite resolution
/// and f32 holds 7 digits, so without a floor the likelihood grows without limit on a repeated value.
pub(super) const LEAST_SD: f64 = 1e-3;

/// The most rows of a column by which the number of its parts, or its bins, are chosen.
pub(super) const MOST_LOOKED_AT: usize = 4096;

/// Share of a Gaussian's variance that is between the components which stand for it at the start.
const SPLIT: f64 = 0.25;

/// Candidates of a draw at a temperature other than 1.
const PROPOSALS: usize = 64;

/// The power of a density at the least temperatures: the highest point is all that is left.
pub(super) const MOST_POWER: f64 = 1e12;

/// The components start evenly over this many standard deviations to both sides of the mean.
const SPREAD: f64 = 2.0;

/// p(z | y) = Σₖ πₖ N(z; μₖ, σₖ²) with y = [l | μ | s], each (K): π = softmax l, σ = floor + softplus s.
///
/// (Bishop 1994; as conditionals of a density: Uria et al. 2013.) The softplus keeps σ positive, grows no
/// faster than s and has no jump in its slope, unlike a clamp.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mixture {
    pub components: usize,
}

impl Mixture {
    pub fn outputs(&self) -> usize {
        3 * self.components
    }

    /// Equal shares, means at the middles of K equal parts of ±SPREAD, σ as wide as such a part: no value is
    /// far from all.
    pub fn start(&self, y: &mut [f32]) {
        let k = self.components;
        let part = 2.0 * SPREAD / k as f64;
        let (l, rest) = y.split_at_mut(k);
        let (mean, s) = rest.split_at_mut(k);
        l.fill(0.0);
        for (k, mean) in mean.iter_mut().enumerate() {
            *mean = (part * (k as f64 + 0.5) - SPREAD) as f32;
        }
        s.fill(softplus_inverse(part.min(1.0) - LEAST_SD) as f32);
    }

    /// The y that describes the ascending column, as Gaussians on equal parts of it: as many parts, of K, K/2,
    /// K/4 … 1, as the Bayesian information criterion allows. So a column that looks like one Gaussian starts as
    /// one, and few rows are not learned by heart before the first step.
    pub fn fit(&self, column: &[f32], y: &mut [f32]) {
        let some = column.len().min(MOST_LOOKED_AT);
        let sample: Vec<f64> = (0..some).map(|i| column[i * column.len() / some].into()).collect();
        let rows = column.len() as f64;
        let mut least = f64::INFINITY;
        let mut parts = self.components;
        while parts > 0 {
            let mixture = equal_parts(column, parts);
            let log_density = |z: f64| {
                log_sum(mixture.iter().map(|(mean, sd)| (1.0, -sd.ln() - 0.5 * ((z - mean) / sd).powi(2))))
            };
            let nats =
                sample.iter().map(|&z| log_density(z)).sum::<f64>() / some as f64 - (parts as f64).ln();
            let criterion = -nats + 0.5 * (2 * parts) as f64 * rows.ln() / rows;
            if criterion < least {
                least = criterion;
                self.describe(&mixture, y);
            }
            parts /= 2;
        }
    }

    /// Equal shares of K among Gaussians (mean, sd). Those that stand for one Gaussian differ, or they would
    /// have the same gradient for ever: their means are spread evenly with a quarter of its variance, and their own
    /// variance is the rest.
    fn describe(&self, gaussians: &[(f64, f64)], y: &mut [f32]) {
        let k = self.components;
        let parts = gaussians.len();
        let first = |part: usize| (k * part).div_ceil(parts);
        for (part, (mean, sd)) in gaussians.iter().enumerate() {
            let among = first(part)..first(part + 1);
            let count = among.len() as f64;
            let own = sd * (1.0 - SPLIT * (1.0 - 1.0 / (count * count))).sqrt();
            for (i, component) in among.enumerate() {
                let place = (2.0 * i as f64 + 1.0) / count - 1.0;
                y[component] = -count.ln() as f32;
                y[k + component] = (mean + sd * (3.0 * SPLIT).sqrt() * place) as f32;
                y[2 * k + component] = softplus_inverse((own - LEAST_SD).max(LEAST_SD)) as f32;
            }
        }
    }

    /// ln p = lse(a) − lse(l) − ½ ln 2π with aₖ = lₖ − ln σₖ − ½uₖ², uₖ = (z − μₖ)/σₖ, both by log-sum-exp.
    /// Leaves [π | γ | σ]: γ = softmax a is the responsibility of each component for z.
    #[inline(always)]
    pub fn log_density<F: Real>(&self, y: &[F], z: &[F], work: &mut [F], nats: &mut [F]) {
        let (n, all) = (z.len(), self.components * z.len());
        let (l, mean, s) = (&y[..all], &y[all..2 * all], &y[2 * all..]);
        let (shares, rest) = work.split_at_mut(all);
        let (gamma, rest) = rest.split_at_mut(all);
        let (sd, rest) = rest.split_at_mut(all);
        let (log_sum, sum) = rest.split_at_mut(n);
        let (floor, half) = (F::of(LEAST_SD), F::of(0.5));
        for at in (0..all).step_by(n) {
            let (l, mean, s) = (&l[at..at + n], &mean[at..at + n], &s[at..at + n]);
            let (gamma, sd) = (&mut gamma[at..at + n], &mut sd[at..at + n]);
            for r in 0..n {
                sd[r] = floor + s[r].fast_softplus();
                let u = (z[r] - mean[r]) / sd[r];
                gamma[r] = l[r] - sd[r].fast_ln() - half * u * u;
            }
        }
        shares.copy_from_slice(l);
        softmax(gamma, nats, sum);
        softmax(shares, log_sum, sum);
        let constant = F::of(0.5 * std::f64::consts::TAU.ln());
        nats.iter_mut().zip(&*log_sum).for_each(|(nats, &log_sum)| *nats -= log_sum + constant);
    }

    /// From ∂lse(a)/∂aₖ = γₖ, ∂lse(l)/∂lₖ = πₖ, ∂aₖ/∂μₖ = uₖ/σₖ, ∂aₖ/∂σₖ = (uₖ² − 1)/σₖ and dσ/ds = sigmoid
    /// s, for −ln p: dlₖ = πₖ − γₖ, dμₖ = −γₖ uₖ/σₖ, dsₖ = γₖ (1 − uₖ²)/σₖ · sigmoid sₖ.
    #[inline(always)]
    pub fn gradient<F: Real>(&self, y: &mut [F], z: &[F], weight: F, work: &[F]) {
        let (n, all) = (z.len(), self.components * z.len());
        let (l, rest) = y.split_at_mut(all);
        let (mean, s) = rest.split_at_mut(all);
        let (shares, gamma, sd) = (&work[..all], &work[all..2 * all], &work[2 * all..3 * all]);
        for at in (0..all).step_by(n) {
            let (l, mean, s) = (&mut l[at..at + n], &mut mean[at..at + n], &mut s[at..at + n]);
            let (shares, gamma, sd) = (&shares[at..at + n], &gamma[at..at + n], &sd[at..at + n]);
            for r in 0..n {
                let u = (z[r] - mean[r]) / sd[r];
                let pull = weight * gamma[r] / sd[r];
                l[r] = weight * (shares[r] - gamma[r]);
                mean[r] = -pull * u;
                s[r] = pull * (F::one() - u * u) * s[r].fast_sigmoid();
            }
        }
    }

    /// A component with probability π, then N(μ, σ²). At a temperature T other than 1, a draw from
    /// p(z)^a/∫p^a with a = 1/T², by importance resampling.
    ///
    /// Each component to the power a is a Gaussian of spread Tσ and mass ∝ π^a σ^(1−a). Where the components are
    /// far from each other their mixture q is p^a itself; where they overlap, a draw is one of [`PROPOSALS`] from
    /// q, with weights p^a/q (Rubin 1987). So T scales the spread of one Gaussian by T, however many components
    /// the network has made it of.
    pub fn draw(&self, y: &mut [f32], temperature: f64, rng: &mut Rng) -> f32 {
        let (l, rest) = y.split_at_mut(self.components);
        let (mean, s) = rest.split_at_mut(self.components);
        s.iter_mut().for_each(|s| *s = LEAST_SD as f32 + s.fast_softplus());
        let sd = s;
        if temperature == 1.0 {
            let k = draw_index(l, rng);
            return sd[k].mul_add(f32::normal(rng), mean[k]);
        }
        let power = temperature.powi(-2).min(MOST_POWER);
        let component = |k: usize| (f64::from(l[k]), f64::from(mean[k]), f64::from(sd[k]));
        // ln π N(z; μ, σ²) and ln π^a σ^(1−a) N(z; μ, T²σ²), up to constants.
        let log_joint = |k: usize, z: f64| {
            let (l, mean, sd) = component(k);
            l - sd.ln() - 0.5 * ((z - mean) / sd).powi(2)
        };
        let log_mass = |k: usize| power * f64::from(l[k]) + (1.0 - power) * f64::from(sd[k]).ln();
        let mut masses: Vec<f64> = (0..self.components).map(log_mass).collect();
        let total = log_sum_exp(&masses);
        masses.iter_mut().for_each(|mass| *mass -= total);
        let mut logits = vec![0.0; self.components];
        let mut proposals = [0.0; PROPOSALS];
        let mut weights = [0.0; PROPOSALS];
        for (z, weight) in proposals.iter_mut().zip(&mut weights) {
            logits.iter_mut().zip(&masses).for_each(|(logit, mass)| *logit = *mass as f32);
            let (_, mean, sd) = component(draw_index(&mut logits, rng));
            *z = mean + temperature * sd * f64::normal(rng);
            let log_p = log_sum((0..self.components).map(|k| (1.0, log_joint(k, *z))));
            // ln q: π^a σ^(1−a) N(z; μ, T²σ²) = (π N(z; μ, σ²))^a, up to a constant.
            let log_q = log_sum((0..self.components).map(|k| (1.0, power * log_joint(k, *z))));
            *weight = (power * log_p - log_q) as f32;
        }
        proposals[draw_index(&mut weights, rng)] as f32
    }
}

/// Mean and spread of equal parts of the ascending column; where there are several, twice the spread, so that
/// neighbors overlap.
fn equal_parts(column: &[f32], parts: usize) -> Vec<(f64, f64)> {
    let n = column.len();
    let overlap = if parts > 1 { 2.0 } else { 1.0 };
    let describe = |part: usize| {
        let rows = &column[n * part / parts..(n * (part + 1) / parts).max(n * part / parts + 1)];
        let mean = rows.iter().map(|&z| f64::from(z)).sum::<f64>() / rows.len() as f64;
        let variance = rows.iter().map(|&z| (f64::from(z) - mean).powi(2)).sum::<f64>() / rows.len() as f64;
        (mean, (overlap * variance.sqrt()).max(2.0 * LEAST_SD))
    };
    (0..parts).map(describe).collect()
}

/// s = ln(eᵛ − 1) = v + ln(1 − e⁻ᵛ), which does not overflow.
fn softplus_inverse(v: f64) -> f64 {
    v + (-(-v).exp_m1()).ln()
}

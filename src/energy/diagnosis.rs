use rand::RngCore;

use super::EnergyModel;
use super::sampling::Walking;
use super::start::Base;
use crate::engine::Condition;
use crate::engine::tiles::{self, RowStreams};
use crate::error::{Result, check};
use crate::numeric::rng::Streams;

/// Whether a model's chains draw from the density that it scores: see [`EnergyModel::check_chains`].
///
/// A mean is a pair: the mean, and its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChainCheck {
    /// The share of the moves that were accepted; 1 for [`Acceptance::Always`](super::Acceptance::Always).
    pub accepted: f64,
    /// The mean energy of the rows drawn, in nats. Energies are those of `log_likelihood` with their sign
    /// turned, without ln Z, in standard units.
    pub drawn: (f64, f64),
    /// The mean energy under the density itself, by importance sampling.
    pub expected: (f64, f64),
    /// ln ∫ exp(−E(z)) dz in standard units, by the same importance sampling, in any number of columns.
    pub log_partition: (f64, f64),
    /// The effective number of importance samples, (Σw)²/Σw² of 131,072 weights w. Below a hundred or so a
    /// few weights outweigh all others: `expected` and `log_partition` then say nothing, nor do their errors.
    pub effective: f64,
}

impl ChainCheck {
    /// By how much the chains' mean energy is above that of the density, and the standard error of that: 0
    /// within a few errors where the chains draw what the model scores.
    pub fn excess(&self) -> (f64, f64) {
        (self.drawn.0 - self.expected.0, self.drawn.1.hypot(self.expected.1))
    }
}

/// Importance samples, a multiple of a tile.
const SAMPLES: usize = 1 << 17;

impl EnergyModel {
    /// Draws `n` rows and compares their energies with what the density demands.
    ///
    /// The mean of E under p = exp(−E)/Z comes from independent draws zᵢ of a broad density q, with the weights
    /// wᵢ = exp(−E(zᵢ))/q(zᵢ): the mean is ≈ Σ wᵢE(zᵢ)/Σ wᵢ and Z ≈ mean wᵢ (Owen 2013, Monte Carlo theory, methods
    /// and examples, chapter 9). No chain is needed for it, so it notices chains that have not arrived, as long as
    /// enough of the draws hit the mass: [`ChainCheck::effective`] says whether.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for fewer than two rows, or more than fit into memory, and
    /// [`Error::Condition`](crate::Error::Condition) for a model with conditions:
    /// [`check_chains_given`](EnergyModel::check_chains_given) takes one.
    ///
    /// ```
    /// use quadrivium::{worlds::Toy, *};
    /// let (mut rng, toy) = (seeded(0), Toy::moons(0.1)?);
    /// let data = Dataset::new(toy.sample(2_000, &mut rng))?;
    /// let config = EnergyConfig { network: NetworkSpec::mlp([32, 32], Activation::Silu, 5), ..Default::default()  };
    /// let mut model = EnergyModel::new(config, &mut rng)?;
    /// model.train(&data, &TrainOptions { steps: 30, ..Default::default() }, &mut rng, &mut Silent)?;
    /// let check = model.check_chains(500, &mut rng)?;
    /// let (excess, error) = check.excess();
    /// assert!(check.effective > 1000.0 && excess.abs() < 5.0 * error, "{check:?}");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn check_chains(&self, n: usize, rng: &mut dyn RngCore) -> Result<ChainCheck> {
        self.check_chains_under(n, None, rng)
    }

    /// The same of the chains and the density under one condition.
    ///
    /// # Errors
    /// As [`check_chains`](EnergyModel::check_chains), and [`Error::Condition`](crate::Error::Condition) unless the
    /// condition is one row of the model's kind.
    pub fn check_chains_given(
        &self,
        n: usize,
        condition: &Condition,
        rng: &mut dyn RngCore,
    ) -> Result<ChainCheck> {
        self.check_chains_under(n, Some(condition), rng)
    }

    fn check_chains_under(
        &self,
        n: usize,
        condition: Option<&Condition>,
        rng: &mut dyn RngCore,
    ) -> Result<ChainCheck> {
        check((2..=1 << 24).contains(&n), "n", n, "2 to 16,777,216")?;
        let c = self.fitted.conditions.encode_for(condition, 1)?;
        let c = c.as_slice().expect("made row-major");
        let (d, langevin) = (self.config.dim, self.config.langevin);
        let (chains, base_draws) = (Streams::from_rng(rng), Streams::from_rng(rng));
        let moves = langevin.steps - langevin.candidates() + 1 - langevin.acceptance.least_steps();

        // Of each row drawn: its energy, and the share of accepted moves in its tile.
        let mut drawn = vec![(0.0, 0.0); n];
        tiles::for_each_tile(&mut drawn, 1, |(scratch, z, nats): &mut Rows, first, drawn| {
            z.resize(drawn.len() * d, 0.0);
            nats.resize(drawn.len(), 0.0);
            self.draw_standard(1.0, c, RowStreams::new(chains, first as u64), scratch, z);
            let accepted = scratch.walk.accepted as f64 / (drawn.len() * moves) as f64;
            self.score_tile(z, c, &mut scratch.walk.pass, nats);
            drawn.iter_mut().zip(&*nats).for_each(|(drawn, nats)| *drawn = (-nats, accepted));
            Ok(())
        })?;

        // Of each importance sample: ln w and its energy.
        let base = Base::new(d, 1.0);
        let mut samples = vec![(0.0, 0.0); SAMPLES];
        tiles::for_each_tile(&mut samples, 1, |(scratch, z, nats): &mut Rows, first, samples| {
            z.resize(samples.len() * d, 0.0);
            nats.resize(samples.len(), 0.0);
            for (r, z) in z.chunks_exact_mut(d).enumerate() {
                base.draw(&mut base_draws.stream((first + r) as u64), z);
            }
            self.score_tile(z, c, &mut scratch.walk.pass, nats);
            for ((sample, nats), z) in samples.iter_mut().zip(&*nats).zip(z.chunks_exact(d)) {
                *sample = (nats - base.ln_density(z), -nats);
            }
            Ok(())
        })?;
        let (expected, log_partition, effective) = weighed(&samples);
        Ok(ChainCheck {
            accepted: drawn.iter().map(|&(_, accepted)| accepted).sum::<f64>() / n as f64,
            drawn: mean(drawn.iter().map(|&(energy, _)| energy)),
            expected,
            log_partition,
            effective,
        })
    }
}

/// The buffers of a tile: its chains, rows in standard units, −E of each.
type Rows = (Walking, Vec<f32>, Vec<f64>);

/// The mean, and its standard error.
fn mean(values: impl ExactSizeIterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.clone().sum::<f64>() / n;
    (mean, (values.map(|v| (v - mean).powi(2)).sum::<f64>() / (n * (n - 1.0))).sqrt())
}

/// What importance samples (ln w, E) say of the density: E_p[E] and ln Z, each with its standard error, and
/// how many samples they are worth. The error of Σ wᵢEᵢ/Σ wᵢ is, to first order, √(Σ wᵢ²(Eᵢ − Ē)²)/Σ wᵢ, and
/// of ln(mean w) the relative one of the mean.
fn weighed(samples: &[(f64, f64)]) -> ((f64, f64), (f64, f64), f64) {
    let most = samples.iter().map(|&(weight, _)| weight).fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = samples.iter().map(|&(weight, _)| (weight - most).exp()).collect();
    let weighted = || weights.iter().zip(samples).map(|(w, &(_, energy))| (w, energy));
    let (sum, squares) = (weights.iter().sum::<f64>(), weights.iter().map(|w| w * w).sum::<f64>());
    let expected = weighted().map(|(w, energy)| w * energy).sum::<f64>() / sum;
    let spread = weighted().map(|(w, energy)| (w * (energy - expected)).powi(2)).sum::<f64>().sqrt() / sum;
    let (weight, error) = mean(weights.iter().copied());
    ((expected, spread), (most + weight.ln(), error / weight), sum * sum / squares)
}

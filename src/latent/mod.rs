//! The latent-variable paradigm: a density as a mixture over a hidden cause, learned by a variational autoencoder.
//!
//! A decoder turns a hidden cause z ~ N(0, I) into a row; an encoder infers the cause of a row. The two are trained
//! together on a lower bound of the log-likelihood, which itself has no closed form. Drawing a row takes one pass.
//!
//! # Formula
//!
//! ```text
//! model       p(x) = ∫ p(x|z) p(z) dz,   p(x|z) = N(x; m(z), diag s²)
//! encoder     q(z|x) = N(z; μ(x), diag σ²(x))
//! bound       ln p(x) ≥ ELBO = E_q[ln p(x|z)] − KL(q(z|x) ‖ p(z)),
//!             short by KL(q(z|x) ‖ p(z|x))
//! objective   reconstruction, −E_q[ln p(x|z)],  + β · KL(q(z|x) ‖ p(z))
//! likelihood  ln (1/K) Σₖ p(x|zₖ) p(zₖ) / q(zₖ|x),   zₖ ~ q(z|x),   a bound
//! ```
//!
//! m is the decoder and s is learned with it; μ and σ are the encoder's. Training draws z = μ + σ·ε, ε ~
//! N(0, I), so that the gradient passes through z (Kingma & Welling 2014, eq. 3 and 10); the KL has a
//! closed form. K draws make a tighter bound than one (IWAE, Burda et al. 2016).
//!
//! **Sampling**: z ~ N(0, I), x = m(z) + s·ε. The noise s·ε is part of the model: m(z) without it would be a draw
//! from a different density than the one whose likelihood is reported.
//!
//! # Picture
//!
#![cfg_attr(doc, doc = include_str!("../../docs/pictures/latent_density.svg"))]
//!
//! # Example
//!
//! Posterior collapse, provoked by a large β, and how to see it.
//!
//! ```
//! use quadrivium::{worlds::Toy, *, seeded};
//!
//! let mut rng = seeded(0);
//! let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut rng))?;
//! let mut kl_with = |beta| -> Result<f64> {
//!     let network = NetworkSpec::mlp([32, 32], Activation::Tanh, 4);
//!     let config = VaeConfig { beta, encoder: network.clone(), decoder: network, ..Default::default() };
//!     let mut vae = Vae::new(config, &mut rng)?;
//!     let options = TrainOptions { steps: 300, ..Default::default() };
//!     let report = vae.train(&data, &options, &mut rng, &mut NoObserver)?;
//!     // The last value of each part of the loss.
//!     let part = |name| report.parts.iter().find(|part| part.0 == name).unwrap().1[299];
//!     let loss = part("reconstruction") + beta * part("kl");
//!     assert!((report.loss[299] - loss).abs() < 1e-3);
//!     Ok(part("kl"))
//! };
//! assert!(kl_with(1.0)? > 0.3, "nats that z tells about a row");
//! assert!(kl_with(50.0)? < 0.01, "z tells nothing: q(z|x) = p(z)");
//! # Ok::<(), Error>(())
//! ```
//!
//! # What can go wrong
//!
//! - **Posterior collapse.** The KL term takes effect before the decoder has any use for z, and the encoder stops
//!   sending information. *See*: the part `kl` of [`TrainReport`] goes to 0 and [`Vae::encode`] gives sd 1 for every
//!   row, as in the example above. *Change*: use a smaller [`beta`](VaeConfig::beta), a longer
//!   [`beta_warmup`](VaeConfig::beta_warmup) (Bowman et al. 2016), or more steps.
//! - **A bound is not the value.** On average, the negative bound is never below the true negative log-likelihood,
//!   and it may be well above. So a VAE that looks worse than an exact model need not be worse. *See*: raise
//!   [`draws`](VaeConfig::draws) and check whether the bound still rises.
//! - **Blur.** m is continuous, so some z decode to points between two modes: on a grid of 25 modes,
//!   far more rows lie outside 3σ of a mode than in the data ([measured](crate::results)). *Change*: use Fourier
//!   features of z, tanh, a high learning rate, and one s for all rows ([`DecoderVariance::Shared`]), which cannot
//!   grow where modes meet.
//! - **Holes.** Where p(z) has mass but no q(z|x) does, z decodes to rows that were never trained. *See*: draws that
//!   have a low likelihood under an exact model of the same data.
//!
//! # Papers
//!
//! Kingma & Welling 2014, [Auto-encoding variational Bayes](https://arxiv.org/abs/1312.6114) · Burda et al.
//! 2016, [Importance weighted autoencoders](https://arxiv.org/abs/1509.00519) · Bowman et al. 2016,
//! [Generating sentences from a continuous space](https://arxiv.org/abs/1511.06349) · Higgins et al. 2017,
//! [β-VAE: learning basic visual concepts with a constrained variational
//! framework](https://openreview.net/forum?id=Sy2fzU9gl) · Rybkin et al. 2021, [Simple and effective VAE
//! training with calibrated decoders](https://arxiv.org/abs/2006.13202)

mod likelihood;
mod network;
mod objective;
#[cfg(feature = "onnx")]
mod onnx;
#[cfg(feature = "safetensors")]
mod persist;
mod sampling;
#[cfg(test)]
mod tests;

use ndarray::{Array2, ArrayView2, Axis};
use rand::RngCore;

use self::network::{Gaussians, Networks};
use self::objective::Elbo;
use self::sampling::Drawing;
use crate::engine::{self, Fitted, Given, OptimizerConfig, Parameters, RowStreams, Rows, tiles};
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::nn::limits::{check_params, check_width};
use crate::nn::{Activation, NetworkSpec};
use crate::numeric::rng::Streams;

/// The architecture of a [`Vae`] and how it is trained.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct VaeConfig {
    /// Columns of a row. 1 to 65,536. Default 2.
    pub dim: usize,
    /// Columns of z. 1 to 65,536. Default 2.
    pub latent_dim: usize,
    /// The encoder's network: see [`NetworkSpec`]. Default: three layers of 64 with tanh, and 4 octaves of x.
    pub encoder: NetworkSpec,
    /// The decoder's network. More octaves of z make its steps between modes steeper; too many make holes. Among the
    /// activations, tanh gives the steepest steps. If both networks have neither hidden layers nor octaves, both
    /// means are affine, and with [`DecoderVariance::Shared`] the model is factor analysis. The two networks have at
    /// most 2²⁸ parameters together. Default: the same as the encoder.
    pub decoder: NetworkSpec,
    /// What s depends on. Default [`DecoderVariance::Shared`].
    pub decoder_variance: DecoderVariance,
    /// The smallest standard deviation: s = min_sd + softplus(a), in standard deviations of the column, and likewise
    /// for σ. It bounds the likelihood where values repeat. More than 0. Default 0.001.
    pub min_sd: f64,
    /// Weight of the KL term after the warm-up. 1 gives the ELBO; with any other value the loss is not a bound on
    /// ln p(x). With a weight above 1, z carries less information about x (β-VAE, Higgins et al. 2017); below 1,
    /// more. `log_likelihood` returns a bound for any β. 0 or more. Default 1.
    pub beta: f64,
    /// Share of the training steps over which β rises linearly from 0 (Bowman et al. 2016). 0 to 1. Default
    /// 0.2.
    pub beta_warmup: f64,
    /// Draws K of z per row in `log_likelihood`. 1 gives a one-draw ELBO, more give the tighter IWAE bound, which
    /// costs K passes of the decoder. 1 to 16,777,216. Default 500.
    pub draws: usize,
    /// Whether the first training removes the correlations of the columns
    /// ([`Standardizer::whitened`](crate::engine::Standardizer::whitened)): the model then only has to learn what a
    /// single Gaussian misses. Default true.
    pub whiten: bool,
    /// What rows are conditioned on. The encoder and the decoder get the condition along with their inputs. Default
    /// [`ConditionKind::None`].
    #[cfg_attr(feature = "safetensors", serde(skip_serializing_if = "ConditionKind::is_none"))]
    pub condition: ConditionKind,
    /// How the parameters are updated. Default: a learning rate of 8e-3, and the rest as in [`OptimizerConfig`].
    #[cfg_attr(feature = "safetensors", serde(alias = "optimiser"))]
    pub optimizer: OptimizerConfig,
}

/// What the decoder's standard deviation depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum DecoderVariance {
    /// One s per column, shared by all rows (Rybkin et al. 2021). It gives sharper modes.
    Shared,
    /// s(z), predicted together with m(z). It fits noise that differs from place to place, but makes wide bridges
    /// between modes.
    PerRow,
}

impl Default for VaeConfig {
    fn default() -> Self {
        VaeConfig {
            dim: 2,
            latent_dim: 2,
            encoder: NetworkSpec::mlp([64, 64, 64], Activation::Tanh, 4),
            decoder: NetworkSpec::mlp([64, 64, 64], Activation::Tanh, 4),
            decoder_variance: DecoderVariance::Shared,
            min_sd: 1e-3,
            beta: 1.0,
            beta_warmup: 0.2,
            draws: 500,
            whiten: true,
            condition: ConditionKind::None,
            optimizer: OptimizerConfig { lr: 8e-3, ..OptimizerConfig::default() },
        }
    }
}

impl VaeConfig {
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check_width("VaeConfig::dim", self.dim)?;
        check_width("VaeConfig::latent_dim", self.latent_dim)?;
        self.condition.validate("VaeConfig::condition")?;
        self.encoder.check("VaeConfig::encoder")?;
        self.decoder.check("VaeConfig::decoder")?;
        let networks = (&self.encoder, &self.decoder);
        check_params("VaeConfig::decoder", networks, Networks::count_params(self))?;
        let positive = self.min_sd > 0.0 && self.min_sd.is_finite();
        check(positive, "VaeConfig::min_sd", self.min_sd, "more than 0, finite")?;
        let beta = self.beta >= 0.0 && self.beta.is_finite();
        check(beta, "VaeConfig::beta", self.beta, "0 or more, finite")?;
        let share = (0.0..=1.0).contains(&self.beta_warmup);
        check(share, "VaeConfig::beta_warmup", self.beta_warmup, "0 to 1")?;
        let draws = (1..=1 << 24).contains(&self.draws);
        check(draws, "VaeConfig::draws", self.draws, "1 to 16,777,216")?;
        self.optimizer.validate()
    }
}

/// A variational autoencoder.
///
/// ```
/// use quadrivium::{Vae, VaeConfig, worlds::Toy, *};
///
/// let (mut rng, toy) = (seeded(0), Toy::moons(0.1)?);
/// let data = Dataset::new(toy.sample(5_000, &mut rng))?;
/// let mut model = Vae::new(VaeConfig { draws: 100, ..Default::default() }, &mut rng)?;
/// let options = TrainOptions { steps: 700, ..Default::default() };
/// let report = model.train(&data, &options, &mut rng, &mut NoObserver)?;
/// assert_eq!(report.parts.iter().map(|part| part.0).collect::<Vec<_>>(), ["reconstruction", "kl"]);
///
/// let samples = model.sample(1_000, &SampleOptions::default(), &mut rng)?;
/// assert_eq!(samples.nfe, 1);
/// let score = model.log_likelihood(toy.sample(500, &mut rng).view(), &LikelihoodOptions::default())?;
/// let nll = -score.nats().unwrap().mean().unwrap();
/// assert!(nll < 1.7, "the entropy is 1.008, this model's NLL at most {nll}");
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Vae {
    config: VaeConfig,
    networks: Networks,
    parameters: Parameters,
    fitted: Fitted,
}

/// The encoder's distribution of the cause of each row: q(z|x) = N(mean, diag sd²).
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    /// μ(x), shape (n, latent_dim).
    pub mean: Array2<f32>,
    /// σ(x), shape (n, latent_dim).
    pub sd: Array2<f32>,
}

impl Vae {
    /// Creates a model with random networks.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn new(config: VaeConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let networks = Networks::new(&config);
        let mut p = vec![0.0; networks.num_params()];
        networks.init(&mut p, &mut Streams::from_rng(rng).stream(0));
        Ok(Vae {
            networks,
            parameters: Parameters::new(p),
            fitted: Fitted::new(config.dim, config.condition),
            config,
        })
    }

    /// The config that the model was made with.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// q(z|x) of each row of x, (n, dim).
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::error::DataError::Shape) for a wrong number of columns,
    /// [`DataError::NonFinite`](crate::error::DataError::NonFinite) for a NaN or an infinity.
    ///
    /// ```
    /// use quadrivium::{Vae, VaeConfig, ndarray::array, seeded};
    ///
    /// let model = Vae::new(VaeConfig { dim: 3, latent_dim: 1, ..Default::default() }, &mut seeded(0))?;
    /// let posterior = model.encode(array![[0.0, 1.0, 2.0], [0.5, 0.5, 0.5]].view())?;
    /// assert_eq!((posterior.mean.dim(), posterior.sd.dim()), ((2, 1), (2, 1)));
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn encode(&self, x: ArrayView2<f32>) -> Result<Posterior> {
        self.encode_rows(x, None)
    }

    /// q(z|x, c) of each row of x, (n, dim), under a condition.
    ///
    /// # Errors
    /// As [`encode`](Vae::encode), and [`Error::Condition`] for a condition of the wrong kind or number of rows.
    pub fn encode_given(&self, x: ArrayView2<f32>, condition: &Condition) -> Result<Posterior> {
        self.encode_rows(x, Some(condition))
    }

    fn encode_rows(&self, x: ArrayView2<f32>, condition: Option<&Condition>) -> Result<Posterior> {
        check_rows("x", x, self.config.dim)?;
        let c = self.fitted.conditions.encode_for(condition, x.nrows())?;
        let latent_dim = self.config.latent_dim;
        // [μ | σ]: (n, 2·latent)
        let encode =
            |(near, q): &mut (Vec<f32>, Gaussians<f32>), x: &mut [f32], c: &[f32], out: &mut [f32]| {
                self.fitted.standardizer.standardize(x);
                Networks::within_reach(x, near);
                self.networks.encoder.infer(&self.parameters.average, near, c, q);
                let gaussians = q.mean.chunks_exact(latent_dim).zip(q.sd.chunks_exact(latent_dim));
                for (out, (mean, sd)) in out.chunks_exact_mut(2 * latent_dim).zip(gaussians) {
                    out[..latent_dim].copy_from_slice(mean);
                    out[latent_dim..].copy_from_slice(sd);
                }
            };
        let both = each_tile(x, &c, 2 * latent_dim, encode);
        let (mean, sd) = both.view().split_at(Axis(1), latent_dim);
        Ok(Posterior { mean: mean.to_owned(), sd: sd.to_owned() })
    }

    /// m(z), the mean of p(x|z), of each row of z, (n, latent_dim): shape (n, dim), in the units of the data. Of
    /// a column with a [`Tail`](crate::engine::Tail) it is the median.
    /// Coordinates of z beyond ±1e6 are clamped to ±1e6.
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::error::DataError::Shape) for a wrong number of columns,
    /// [`DataError::NonFinite`](crate::error::DataError::NonFinite) for a NaN or an infinity.
    ///
    /// ```
    /// use quadrivium::{Vae, VaeConfig, ndarray::array, seeded};
    ///
    /// let model = Vae::new(VaeConfig::default(), &mut seeded(0))?;
    /// // A walk through the latent space.
    /// let walk = model.decode(array![[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]].view())?;
    /// assert_eq!(walk.dim(), (3, 2));
    /// let error = model.decode(array![[0.0, 0.0, 0.0]].view()).unwrap_err();
    /// assert_eq!(error.to_string(), "z has shape [1, 3]: expected (n, 2)");
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn decode(&self, z: ArrayView2<f32>) -> Result<Array2<f32>> {
        self.decode_rows(z, None)
    }

    /// m(z, c) of each row of z, (n, latent_dim), under a condition: shape (n, dim), in the units of the data.
    ///
    /// # Errors
    /// As [`decode`](Vae::decode), and [`Error::Condition`] for a condition of the wrong kind or number of rows.
    pub fn decode_given(&self, z: ArrayView2<f32>, condition: &Condition) -> Result<Array2<f32>> {
        self.decode_rows(z, Some(condition))
    }

    fn decode_rows(&self, z: ArrayView2<f32>, condition: Option<&Condition>) -> Result<Array2<f32>> {
        check_rows("z", z, self.config.latent_dim)?;
        let c = self.fitted.conditions.encode_for(condition, z.nrows())?;
        let decode = |buffers: &mut Gaussians<f32>, z: &mut [f32], c: &[f32], out: &mut [f32]| {
            // Clamped, so that sums over absurdly large rows stay finite.
            z.iter_mut().for_each(|z| *z = z.clamp(-1e6, 1e6));
            self.networks.decoder.infer_mean(&self.parameters.average, z, c, buffers, out);
            self.fitted.standardizer.restore(out);
        };
        Ok(each_tile(z, &c, self.config.dim, decode))
    }

    /// m(μ(x)): the reconstruction of each row of x, (n, dim), from the mean of its cause.
    ///
    /// # Errors
    /// As [`encode`](Vae::encode).
    pub fn reconstruct(&self, x: ArrayView2<f32>) -> Result<Array2<f32>> {
        self.decode(self.encode(x)?.mean.view())
    }
}

/// Calls `work(scratch, a copy of the rows, their conditions, out)` on each tile of x. Returns all `out`: (n, width).
fn each_tile<S: Default>(
    x: ArrayView2<f32>,
    c: &Array2<f32>,
    width: usize,
    work: impl Fn(&mut S, &mut [f32], &[f32], &mut [f32]) + Sync,
) -> Array2<f32> {
    let (n, dim) = x.dim();
    let x = x.as_standard_layout();
    let x = x.as_slice().expect("standard layout");
    let mut out = vec![0.0; n * width];
    let done = tiles::for_each_tile(&mut out, width, |(rows, scratch): &mut (Vec<f32>, S), first, out| {
        rows.clear();
        rows.extend_from_slice(&x[first * dim..][..out.len() / width * dim]);
        work(scratch, rows, Given::of(c).rows(first, out.len() / width), out);
        Ok(())
    });
    debug_assert!(done.is_ok());
    Array2::from_shape_vec((n, width), out).expect("n rows of width columns")
}

impl Paradigm for Vae {
    type Workspace = Drawing;

    fn place(&self) -> Card {
        Card::new("VAE", Objective::Elbo, Sampling::OnePass)
    }

    fn count_params(&self) -> usize {
        self.networks.num_params()
    }

    fn fitted(&self) -> &Fitted {
        &self.fitted
    }

    fn learn(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let rows = Rows::whitened(data, &self.fitted, self.config.whiten, options, rng)?;
        self.fitted = rows.fitted.clone();
        let VaeConfig { beta, beta_warmup, ref optimizer, .. } = self.config;
        let elbo = Elbo { networks: &self.networks, beta, warmup: beta_warmup };
        engine::fit(elbo, &mut self.parameters, &rows, optimizer, options, observer)
    }

    fn draw_tile(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        drawing: &mut Drawing,
        x: &mut [f32],
    ) -> usize {
        self.draw_rows(temperature, c, streams, drawing, x);
        1
    }

    /// The IWAE bound with `draws` draws of z per row, or the one-draw ELBO if `draws` is 1. Networks run in f32,
    /// weights are summed in f64.
    fn score(&self, c: Given<'_>, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood> {
        let nats = log_prob(&self.fitted, c, x, |c, scratch, rows, nats| {
            self.bound_tile(options.seed, c, scratch, rows, nats);
            Ok(())
        })?;
        Ok(LogLikelihood::LowerBound { nats, draws: self.config.draws })
    }
}

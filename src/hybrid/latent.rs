use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand::RngCore;

use super::codec::{Codec, Explanation, log_normal};
use super::stages::Stages;
use crate::engine::{self, Labeled, RowStreams, check_rows, tiles};
use crate::error::{Result, check};
use crate::flow::Flow;
use crate::map::Card;
use crate::model::*;
use crate::numeric::log_mean_exp;
use crate::numeric::rng::Streams;

/// How a [`Latent`] learns and scores.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct LatentConfig {
    /// Draws K of z per row in `log_likelihood`: 1 gives the bound by one draw, more the tighter IWAE bound, at one
    /// likelihood of the prior each. Where z follows from x, one is all there is. 1 to 65,536. Default 10.
    pub draws: usize,
    /// Draws of z from each training row for the prior to learn from: with more than one, few rows are learned by heart
    /// later. 1 to 1024. Default 1.
    pub encodings: usize,
}

impl Default for LatentConfig {
    fn default() -> Self {
        LatentConfig { draws: 10, encodings: 1 }
    }
}

impl LatentConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check((1..=65_536).contains(&self.draws), "LatentConfig::draws", self.draws, "1 to 65,536")?;
        let encodings = (1..=1024).contains(&self.encodings);
        check(encodings, "LatentConfig::encodings", self.encodings, "1 to 1024")
    }
}

/// Any model as the density of a codec's latents: p(x) = ∫ p(x|z) p(z) dz.
///
/// It trains in two stages, the codec on the rows, then the prior on their latents, each with the options of the
/// training ([`train_prior`](Latent::train_prior) is the second alone). Rows are drawn from the prior and decoded; no
/// row is encoded for that. A condition goes to the prior alone: the codec describes all rows.
///
/// ```
/// use quadrivium::{Activation, NetworkSpec, Sampler, hybrid::{Latent, LatentConfig}, prelude::*, worlds::Toy};
///
/// let mut rng = quadrivium::seeded(0);
/// let network = NetworkSpec::mlp([32, 32], Activation::Silu, 2);
/// let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut rng))?;
/// let vae = Vae::new(VaeConfig::default(), &mut rng)?;
/// let sampler = Sampler::Ddim { steps: 50, eta: 0.0 };
/// let prior = Diffusion::new(DiffusionConfig { sampler, network, ..Default::default() }, &mut rng)?;
/// let mut model = Latent::new(vae, prior, LatentConfig::default())?;
/// model.train(&data, &TrainOptions { steps: 50, ..Default::default() }, &mut rng, &mut NoObserver)?;
///
/// // Fifty evaluations of the prior, and one of the decoder.
/// let samples = model.sample(3, &SampleOptions::default(), &mut rng)?;
/// assert_eq!((samples.x.dim(), samples.nfe, model.card().nfe), ((3, 2), 51, 51));
/// let score = model.log_likelihood(data.x().slice(quadrivium::ndarray::s![..5, ..]), &Default::default())?;
/// assert!(matches!(score, LogLikelihood::LowerBound { draws: 10, .. }));
/// // Any model may be the prior, also one that is known only when the program runs.
/// let other: Box<dyn Generative> = Box::new(GaussianMixture::new(Default::default())?);
/// let mut model = model.with_prior(other)?;
/// model.train_prior(&data, &TrainOptions::default(), &mut rng, &mut NoObserver)?;
/// assert_eq!(model.card().nfe, 2);
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Latent<C, P> {
    pub(super) codec: Arc<C>,
    pub(super) prior: P,
    pub(super) config: LatentConfig,
}

/// Any model in the base space of a flow f, in the place of N(0, I): exactly
///
/// ln p(x) = ln p(f(x)) + ln |det ∂f/∂x|.
///
/// ```
/// use quadrivium::{LikelihoodKind, hybrid::{Latent, LatentConfig, Warp}, prelude::*};
///
/// let mut rng = quadrivium::seeded(0);
/// let flow = Flow::new(FlowConfig::default(), &mut rng)?;
/// let warp: Warp<GaussianMixture> =
///     Latent::new(flow, GaussianMixture::new(Default::default())?, LatentConfig::default())?;
/// assert_eq!((warp.card().nfe, warp.card().likelihood), (2, LikelihoodKind::Exact));
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub type Warp<P> = Latent<Flow, P>;

/// Families of a row's streams: the prior's share, and the decoder's.
const PRIOR: u64 = 0;
const DECODER: u64 = 1;

impl<C: Codec, P: Generative> Latent<C, P> {
    /// Of two models, trained or not.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a field out of range, for a prior that has not as many columns as
    /// the codec has latents, and for a codec with a condition.
    pub fn new(codec: C, prior: P, config: LatentConfig) -> Result<Self> {
        Self::of(Arc::new(codec), prior, config)
    }

    fn of(codec: Arc<C>, prior: P, config: LatentConfig) -> Result<Self> {
        config.validate()?;
        let fits = prior.dim() == codec.latent_dim();
        check(fits, "Latent::prior", prior.dim(), "as many columns as the codec has latents")?;
        let alone = codec.condition().is_none();
        check(alone, "Latent::codec", codec.condition(), "a codec without a condition, which the prior has")?;
        Ok(Latent { codec, prior, config })
    }

    /// What it was made with.
    pub fn config(&self) -> &LatentConfig {
        &self.config
    }

    /// What says of a row which latent it has, and of a latent which row.
    pub fn codec(&self) -> &C {
        &self.codec
    }

    /// The density of the latents.
    pub fn prior(&self) -> &P {
        &self.prior
    }

    /// The same codec with another prior: another model, or another view of the same, as with a sampler or guidance.
    /// Both share the codec's parameters until one of them trains on.
    ///
    /// # Errors
    /// As [`new`](Latent::new).
    pub fn with_prior<Q: Generative>(&self, prior: Q) -> Result<Latent<C, Q>> {
        Latent::of(self.codec.clone(), prior, self.config.clone())
    }

    /// The same model with other options.
    ///
    /// # Errors
    /// As [`new`](Latent::new).
    pub fn with_config(self, config: LatentConfig) -> Result<Self> {
        Self::of(self.codec, self.prior, config)
    }

    /// The second stage alone: the prior learns the latents that the codec, as it is, gives the rows.
    ///
    /// # Errors
    /// As [`train`](Generative::train).
    pub fn train_prior(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let (learned, held_out, streams) = engine::split(data, options, rng)?;
        let mut stages = Stages::new(1, options, streams, observer);
        self.learn_latents(&joined(learned, held_out)?, &mut stages)?;
        Ok(stages.report())
    }

    /// The latents of rows, one draw z ~ q(z|x) for each of [`LatentConfig::encodings`], each with its row's condition:
    /// what a prior learns; with those of the rows to validate on. Their noise depends on `seed`, the row's numbers, and how
    /// often the same row was there before: a prior is to learn q(z|x), and not one z for a thousand equal rows.
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::error::DataError::Shape) unless the rows are as wide as the codec's.
    pub fn latents(&self, data: &Dataset, seed: u64) -> Result<Dataset> {
        let mut z = Array2::zeros((0, self.codec.latent_dim()));
        for k in 0..self.config.encodings {
            let explained =
                self.explained(data.x(), |turn| seed_of(seed, k + turn * self.config.encodings))?;
            z.append(Axis(0), explained.view()).expect("rows of as many columns");
        }
        let mut latents = Dataset::new(z)?;
        if let Some(condition) = data.condition() {
            let rows: Vec<usize> = (0..latents.rows()).map(|row| row % data.rows()).collect();
            latents = latents.with_condition(condition.select(&rows))?;
        }
        match data.validation() {
            Some(rows) => latents.with_validation(self.latents(rows, seed)?),
            None => Ok(latents),
        }
    }

    /// One draw z ~ q(z|x) for each row, by the seed of its turn among equal rows.
    fn explained(&self, x: ArrayView2<f32>, seed: impl Fn(usize) -> u64) -> Result<Array2<f32>> {
        let turns = turns(x);
        let most = turns.iter().copied().max().unwrap_or(0);
        if most == 0 {
            return Ok(self.codec.explain(x, seed(0))?.z);
        }
        let mut z = Array2::zeros((x.nrows(), self.codec.latent_dim()));
        for turn in 0..=most {
            let rows: Vec<usize> = (0..turns.len()).filter(|&row| turns[row] == turn).collect();
            let explained = self.codec.explain(x.select(Axis(0), &rows).view(), seed(turn))?;
            rows.iter().zip(explained.z.rows()).for_each(|(&row, of_row)| z.row_mut(row).assign(&of_row));
        }
        Ok(z)
    }

    fn learn_latents(&mut self, data: &Dataset, stages: &mut Stages) -> Result<()> {
        let streams = stages.streams();
        let seed = streams.stream(0).next_u64();
        stages.train(|options, rng, observer| {
            let latents = self.latents(data, seed)?;
            let report = self.prior.train(&latents, options, rng, observer)?;
            let mut rng = streams.stream(1);
            Arc::make_mut(&mut self.codec).calibrate(&mut |n| self.prior.draw(n, &mut rng))?;
            Ok(report)
        })
    }

    /// What the prior adds to the bound of a codec with z ~ N(0, I): the mean of ln p(z) − ln N(z; 0, I) over draws
    /// z ~ q(z|x), in nats for each row of x, (n, dim); `None` of a prior without a density.
    ///
    /// # Errors
    /// As [`log_likelihood`](Distribution::log_likelihood).
    pub fn prior_gain(&self, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<Option<Array1<f64>>> {
        check_rows("x", x, self.codec.dim())?;
        let mut gain = Array1::zeros(x.nrows());
        for k in 0..self.draws() {
            let z = self.codec.explain(x, seed_of(options.seed, k))?.z;
            let score = self.prior.log_likelihood(z.view(), options)?;
            let Some(nats) = score.nats() else { return Ok(None) };
            gain += &(nats - log_normal(z.view()));
        }
        Ok(Some(gain / self.draws() as f64))
    }

    /// Draws of z per row that a likelihood takes.
    fn draws(&self) -> usize {
        if self.codec.card().likelihood == LikelihoodKind::Exact { 1 } else { self.config.draws }
    }

    fn card_over(&self, prior: Card) -> Card {
        let codec = self.codec.card();
        Card::composed(format!("{} + {}", codec.name, prior.name), vec![prior, codec])
    }

    fn draw_over(
        &self,
        prior: &dyn Distribution,
        at: RowStreams,
        options: &SampleOptions,
        rows: &mut [f32],
    ) -> Result<usize> {
        let n = tiles::check_whole(rows, self.codec.dim())?;
        let mut z = Array2::zeros((n, self.codec.latent_dim()));
        let nfe = prior.draw_at(at.family(PRIOR), options, z.as_slice_mut().expect("standard layout"))?;
        Ok(nfe + self.codec.decode_at(z.view(), at.family(DECODER), options, rows)?)
    }

    /// ln (1/K) Σₖ p(x|zₖ) p(zₖ) / q(zₖ|x), zₖ ~ q(z|x).
    fn score_over(
        &self,
        prior: &dyn Distribution,
        x: ArrayView2<f32>,
        options: &LikelihoodOptions,
    ) -> Result<LogLikelihood> {
        check_rows("x", x, self.codec.dim())?;
        let draws = self.draws();
        let mut weights = Array2::zeros((x.nrows(), draws));
        let mut last = LogLikelihood::Unavailable;
        for (k, mut weights) in weights.columns_mut().into_iter().enumerate() {
            let Explanation { z, nats } = self.codec.explain(x, seed_of(options.seed, k))?;
            let score = prior.log_likelihood(z.view(), options)?;
            let Some(of_prior) = score.values() else { return Ok(LogLikelihood::Unavailable) };
            weights.assign(&(nats + of_prior - log_normal(z.view())));
            last = score;
        }
        let nats = weights.rows().into_iter().map(|row| log_mean_exp(&row.to_vec())).collect();
        let exact = self.codec.card().likelihood == LikelihoodKind::Exact;
        Ok(match last {
            LogLikelihood::Unnormalized(_) => LogLikelihood::Unnormalized(nats),
            score if exact => score.with_values(nats),
            _ => LogLikelihood::LowerBound { nats, draws },
        })
    }
}

/// Rows to learn from, and those to validate on, if there are any.
fn joined((x, c): Labeled, (held_x, held_c): Labeled) -> Result<Dataset> {
    let labeled = |x: Array2<f32>, c: Option<Condition>| match c {
        Some(condition) => Dataset::new(x)?.with_condition(condition),
        None => Dataset::new(x),
    };
    match held_x.nrows() {
        0 => labeled(x, c),
        _ => labeled(x, c)?.with_validation(labeled(held_x, held_c)?),
    }
}

/// The seed of the k-th draw.
/// For each row, how many equal ones are before it; from [`TURNS`] on, counted anew.
fn turns(x: ArrayView2<f32>) -> Vec<usize> {
    let mut seen: HashMap<Vec<u32>, usize> = HashMap::new();
    let turn = |row: ArrayView1<f32>| {
        let count = seen.entry(row.iter().map(|x| x.to_bits()).collect()).or_default();
        *count += 1;
        (*count - 1) % TURNS
    };
    x.rows().into_iter().map(turn).collect()
}

/// So many draws of z for equal rows tell q(z|x) well enough.
const TURNS: usize = 512;

fn seed_of(seed: u64, k: usize) -> u64 {
    Streams::new(seed).stream(k as u64).next_u64()
}

/// A temperature scales the prior's noise and the decoder's.
///
/// The likelihood is a bound by the draws of [`LatentConfig::draws`], exact where z follows from x; without a condition
/// it is what the prior makes of that.
impl<C: Codec, P: Generative> Distribution for Latent<C, P> {
    fn card(&self) -> Card {
        self.card_over(self.prior.card())
    }

    fn dim(&self) -> usize {
        self.codec.dim()
    }

    fn sample(&self, n: usize, options: &SampleOptions, rng: &mut dyn RngCore) -> Result<Samples> {
        tiles::sample_by(self.dim(), n, options, rng, &|at, rows| self.draw_at(at, options, rows))
    }

    fn sample_each(
        &self,
        n: u64,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
        sink: &mut dyn FnMut(ArrayView2<f32>) -> ControlFlow<()>,
    ) -> Result<()> {
        tiles::sample_each_by(self.dim(), n, options, rng, &|at, rows| self.draw_at(at, options, rows), sink)
    }

    fn draw_at(&self, at: RowStreams, options: &SampleOptions, rows: &mut [f32]) -> Result<usize> {
        self.draw_over(&self.prior, at, options, rows)
    }

    fn log_likelihood(&self, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood> {
        self.score_over(&self.prior, x, options)
    }
}

impl<C: Codec, P: Generative> Generative for Latent<C, P> {
    fn num_params(&self) -> usize {
        self.codec.num_params() + self.prior.num_params()
    }

    fn condition(&self) -> ConditionKind {
        self.prior.condition()
    }

    /// The codec on the rows, then the prior on their latents; both hold out the same rows. The report has the steps of both, one after the other,
    /// and the parts of each loss for its own steps alone; with a checkpoint, the second stage has its own, whose path
    /// ends in `.2`.
    fn train(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        self.condition().check(data.condition())?;
        let ((x, c), (held_x, held_c), streams) = engine::split(data, options, rng)?;
        let mut stages = Stages::new(2, options, streams, observer);
        let rows = joined((x.clone(), None), (held_x.clone(), None))?;
        let codec = Arc::make_mut(&mut self.codec);
        match codec.is_closed_form() {
            true => stages
                .train_in_closed_form(|options, rng, observer| codec.train(&rows, options, rng, observer))?,
            false => stages.train(|options, rng, observer| codec.train(&rows, options, rng, observer))?,
        }
        self.learn_latents(&joined((x, c), (held_x, held_c))?, &mut stages)?;
        Ok(stages.report())
    }

    fn given(&self, condition: &Condition) -> Result<Box<dyn Distribution + '_>> {
        let prior = self.prior.given(condition)?;
        Ok(Box::new(Conditioned { latent: self, prior, condition: condition.clone() }))
    }
}

/// A composition under a condition, which its prior has.
struct Conditioned<'a, C, P> {
    latent: &'a Latent<C, P>,
    prior: Box<dyn Distribution + 'a>,
    condition: Condition,
}

impl<C: Codec, P: Generative> Distribution for Conditioned<'_, C, P> {
    fn card(&self) -> Card {
        self.latent.card_over(self.prior.card())
    }

    fn dim(&self) -> usize {
        self.latent.dim()
    }

    fn sample(&self, n: usize, options: &SampleOptions, rng: &mut dyn RngCore) -> Result<Samples> {
        self.condition.check_count(n)?;
        tiles::sample_by(self.dim(), n, options, rng, &|at, rows| self.draw_at(at, options, rows))
    }

    fn sample_each(
        &self,
        n: u64,
        options: &SampleOptions,
        rng: &mut dyn RngCore,
        sink: &mut dyn FnMut(ArrayView2<f32>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.condition.check_count(usize::try_from(n).unwrap_or(usize::MAX))?;
        tiles::sample_each_by(self.dim(), n, options, rng, &|at, rows| self.draw_at(at, options, rows), sink)
    }

    fn draw_at(&self, at: RowStreams, options: &SampleOptions, rows: &mut [f32]) -> Result<usize> {
        self.latent.draw_over(self.prior.as_ref(), at, options, rows)
    }

    fn log_likelihood(&self, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood> {
        self.condition.check_count(x.nrows())?;
        self.latent.score_over(self.prior.as_ref(), x, options)
    }
}

//! Flow maps: learn the whole jump along a flow, and draw in one step or a few.
//!
//! A flow matching learns the velocity at each place and time, and drawing follows it in many small steps. A flow map
//! learns where those steps lead: its network sees two times, and outputs the mean velocity between them. It learns
//! this from data, beside the velocity itself, or from a trained diffusion or flow matching.
//!
//! # Formula
//!
//! ```text
//! lines       x_s = (1 − s) x₀ + s x₁,   0 ≤ s ≤ 1
//! map         X_{s→t}(x) = x + (t − s) û(x, s, t),   s ≤ t;   on the diagonal û(x, t, t) = v̂(x, t)
//! velocity    E ‖û(x_s, s, s) − (x₁ − x₀)‖²
//! Lagrangian  E ‖∂_t X_{s→t}(x_s) − sg û(X_{s→t}(x_s), t, t)‖²,   ∂_t X = û + (t − s) ∂û/∂t
//! sampling    x ← X_{s→t}(x) over the steps 0 = t₀ < … < t_K = 1
//! likelihood  that of a flow matching, along v̂(x, t) = û(x, t, t)
//! ```
//!
//! x₀ is a row of the source, x₁ a row of the data, û the network, and what stands in sg(·) has no gradient. The flow
//! from x at time s is X_{s→t}(x): its derivative in t is the velocity where it is, which is the Lagrangian condition
//! (Boffi et al. 2025). A share of each minibatch learns the velocity, the others the condition; times are uniform,
//! those of the condition over all s ≤ t. [`MapObjective`] has three other conditions:
//!
//! ```text
//! Eulerian     û(x_s, s, t) = v + (t − s) dû/ds,   along (dx, ds, dt) = (v̂, 1, 0)
//! progressive  û(x_s, s, t) = ½ û(x_s, s, r) + ½ û(X_{s→r}(x_s), r, t),   r = ½ (s + t)
//! consistency  X_{s→1}(x_s) = X_{r→1}(x_r),   s < r on the same line
//! ```
//!
//! The Eulerian one, by which mean flows learn, follows from d/ds [x_s + (t − s) û] = 0 along the flow. Geng et al.
//! divide the loss of each row by its size. Where a row has few columns, that size is mostly the row's own noise x₁ −
//! x₀, and the weights would bias the mean: here all rows count the same.
//!
//! # The gradient of the Lagrangian loss
//!
//! With the target y held fixed, a row's loss is ‖r‖²/d, r = û + (t − s) û̇ − y, where û̇ = ∂û/∂t is the tangent of the
//! network along the direction (ẋ, ṡ, ṫ) = (0, 0, 1). So
//!
//! ```text
//! ∂/∂p ‖r‖²/d = ∂/∂p (⟨g, û⟩ + ⟨(t − s) g, û̇⟩),   g = 2r/d fixed
//! ```
//!
//! and that is what [`jvp_backward`](crate::nn::SecondOrder::jvp_backward) gives for the gradients g at û and (t − s)
//! g at û̇. Through a layer y = f(x), ẏ = f′(x) ẋ it goes back as dẋ = f′(x) dẏ and dx = f′(x) dy + f″(x) ẋ dẏ, so
//! the network has to be smooth: of a ReLU, f″ is nowhere seen. The network is told t as τ(t), and the chain rule
//! puts dτ/dt into the tangent; x does not move, so there is no Jacobian in x, whatever the columns. The Eulerian
//! loss needs the tangent, also in x, but as a target alone: no second derivative. The other two need neither.
//!
//! # Example
//!
//! One step of a flow matching leads everything to the mean; one jump of a map does not.
//!
//! ```
//! use quadrivium::diffusion::matching::{FlowSteps, Method};
//! use quadrivium::metrics::energy_distance;
//! use quadrivium::{worlds::Toy, *};
//!
//! let mut rng = seeded(0);
//! let moons = Toy::moons(0.1)?;
//! let data = Dataset::new(moons.sample(4_000, &mut rng))?;
//! let options = TrainOptions { steps: 500, ..Default::default() };
//! let network = NetworkSpec::mlp([64, 64], Activation::Silu, 2);
//! let config = FlowMapConfig { network: network.clone(), ..Default::default() };
//! let mut map = FlowMap::new(config, &mut rng)?;
//! map.train(&data, &options, &mut rng, &mut NoObserver)?;
//! let mut flow = FlowMatching::new(FlowMatchingConfig { network, ..Default::default() }, &mut rng)?;
//! flow.train(&data, &options, &mut rng, &mut NoObserver)?;
//!
//! let truth = moons.sample(1_000, &mut rng);
//! let (jump, step) = (map.with_steps(1)?, flow.with_sampler(FlowSteps { method: Method::Euler, steps: 1 })?);
//! assert_eq!((jump.card().nfe, step.card().nfe), (1, 1));
//! let far = |model: &dyn Distribution| -> Result<f64> {
//!     energy_distance(model.draw(1_000, &mut seeded(1))?.view(), truth.view())
//! };
//! assert!(10.0 * far(&jump)? < far(&step)?);
//! // The same parameters have the likelihood of the flow.
//! assert_eq!(jump.log_likelihood(truth.view(), &Default::default())?.kind(), LikelihoodKind::OdeEstimate);
//! # Ok::<(), Error>(())
//! ```
//!
//! **Distillation**: [`FlowMap::distill`] takes the velocity from a [`Teacher`] instead of the lines, so the map leads
//! where the teacher's ODE does. The probability flow of a diffusion is the flow along the line up to a change of scale
//! and time: z = x_t/√(t² + (1 − t)²) has the noise-to-signal ratio (1 − t)/t, and the velocity is x̂₁ − ε̂.
//!
//! **Conditions** work as in a diffusion. Guidance comes in two kinds: [`FlowMapConfig::guidance`] makes its scale an
//! input of the network, at one evaluation a step ([`FlowMap::with_scale`]), and [`FlowMap::with_guidance`] mixes two
//! evaluations of the mean velocity, which is right for short steps alone.
//!
//! # What can go wrong
//!
//! - **One step is blurred where the flow parts.** Between modes the map is steep, and a network smooths it. *See*: the
//!   distance to the data at 1, 2, 4, 8 steps, `examples/few_steps.rs`. *Change*: [`FlowMap::with_steps`], a longer
//!   training, or [`Pairing::OptimalTransport`], which makes the flow straighter.
//! - **A kinked network** has no second derivative for [`MapObjective::Lagrangian`] to learn by.
//! - **The Eulerian loss is noisy**: its target has the noise of the line and the rate of a network in time.
//! - **The likelihood is not that of few steps**: it is the density of the flow along the diagonal, which the map follows
//!   up to its error. *See*: the distance of [`FlowMap::transport`] in 1 step and in 64.
//! - **[`MapObjective::Consistency`] has no velocity,** so no likelihood, and more steps put noise back in: rows of the same
//!   seed change with the steps.
//! - **Bridges and far rows** are as of a [flow matching](super::matching).
//!
//! # Papers
//!
//! Boffi et al. 2024, [Flow map matching](https://arxiv.org/abs/2406.07507) · Boffi et al. 2025, [How to build a
//! consistency model: learning flow maps via self-distillation](https://arxiv.org/abs/2505.18825) · Geng et al.
//! 2025a, [Mean flows for one-step generative modeling](https://arxiv.org/abs/2505.13447) · Geng et al. 2025b,
//! [Improved mean flows](https://arxiv.org/abs/2512.02012) · Frans et al. 2025, [One step diffusion via shortcut
//! models](https://arxiv.org/abs/2410.12557) · Salimans & Ho 2022, [Progressive
//! distillation](https://arxiv.org/abs/2202.00512) · Song et al. 2023, [Consistency
//! models](https://arxiv.org/abs/2303.01469) · Song & Dhariwal 2024, [Improved techniques for training consistency
//! models](https://arxiv.org/abs/2310.14189) · Geng et al. 2025, [Consistency models made
//! easy](https://arxiv.org/abs/2406.14548) · Meng et al. 2023, [On distillation of guided diffusion
//! models](https://arxiv.org/abs/2210.03142)

mod config;
mod network;
mod objective;
#[cfg(feature = "onnx")]
mod onnx;
#[cfg(feature = "safetensors")]
mod persist;
mod sampling;
mod teacher;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ndarray::{Array2, ArrayView2};
use rand::RngCore;

pub use self::config::{FlowMapConfig, LearnedGuidance, MapObjective};
pub use self::teacher::Teacher;

use self::network::{MapNet, MeanVelocity, Span};
use self::objective::MapLoss;
use self::sampling::Workspace;
use super::guidance::{self, Guidance, Guided};
use super::likelihood::{Integration, log_likelihood};
use super::matching::{Lines, Source};
use super::predictor::Trained;
use super::{FlowMatching, Learned, Pairing};
use crate::engine::{Fitted, Given, RowStreams, Rows, fit};
use crate::error::{Error, Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::nn::VectorField;

/// A flow map: one network that jumps from any time of a flow to any later one, so that rows are drawn in as few
/// steps as wanted.
///
/// ```
/// use quadrivium::{worlds::Toy, prelude::*};
///
/// let mut rng = quadrivium::seeded(0);
/// let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut rng))?;
/// let options = TrainOptions { steps: 20, ..Default::default() };
/// let mut teacher = Diffusion::new(DiffusionConfig::default(), &mut rng)?;
/// teacher.train(&data, &options, &mut rng, &mut NoObserver)?;
/// // Its probability flow, in two jumps.
/// let mut map = FlowMap::distill(&teacher, FlowMapConfig::default(), &mut rng)?;
/// map.train(&data, &options, &mut rng, &mut NoObserver)?;
/// assert_eq!(map.with_steps(2)?.sample(3, &SampleOptions::default(), &mut rng)?.nfe, 2);
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FlowMap {
    config: FlowMapConfig,
    net: MapNet,
    guidance: Option<Arc<Guidance<FlowMap>>>,
    /// Where velocities come from in training.
    teacher: Option<Teacher>,
    learned: Arc<Learned>,
}

impl FlowMap {
    /// An untrained model, whose rows are those of its source.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn new(config: FlowMapConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let net = MapNet::new(&config)?;
        Self::of(config, net, rng)
    }

    /// The same with a network of your own, of two [`times`](VectorField::times): it outputs the mean velocity of
    /// rows x_s between the two. The config's `network` and `time_features` mean nothing here. The model cannot be
    /// saved to a file.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field out of range, or if the network has other
    /// columns, times or conditions than the config, and for [`MapObjective::Lagrangian`] if it has no
    /// [`second_order`](VectorField::second_order) function.
    pub fn with_network(
        config: FlowMapConfig,
        network: Arc<dyn VectorField>,
        rng: &mut dyn RngCore,
    ) -> Result<Self> {
        config.validate()?;
        let (fades, how) = (MapNet::<f32>::fades(&config), MapNet::<f32>::how(&config));
        let net = MapNet::foreign(network, (config.dim, 2, config.condition_width()), fades, how)?;
        check(
            config.objective != MapObjective::Lagrangian || net.has_second_order(),
            "FlowMapConfig::objective",
            config.objective,
            "another for a network without a second-order function",
        )?;
        Self::of(config, net, rng)
    }

    fn of(config: FlowMapConfig, net: MapNet, rng: &mut dyn RngCore) -> Result<Self> {
        config.check_untaught()?;
        let learned = Learned::new(&net, config.condition, rng);
        Ok(FlowMap { config, net, guidance: None, teacher: None, learned })
    }

    /// An untrained model that learns the flow of a teacher, in its units: [`train`](Generative::train) it on the
    /// rows that the teacher was trained on, or on rows of the teacher. The config's columns, condition, source and
    /// pairing are replaced by the teacher's.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field out of range, and for a teacher that is not
    /// trained, that is guided, or that has no prediction without a condition where scales are to be learned.
    pub fn distill(
        teacher: impl Into<Teacher>,
        config: FlowMapConfig,
        rng: &mut dyn RngCore,
    ) -> Result<Self> {
        let teacher = teacher.into();
        teacher.validate()?;
        let (source, pairing) = match &teacher {
            Teacher::Diffusion(_) => (Source::Gaussian, Pairing::Independent),
            Teacher::FlowMatching(FlowMatching { config, .. }) => (config.source.clone(), config.pairing),
        };
        let (dim, condition) = (teacher.fitted().standardizer.dim(), teacher.condition());
        let config = FlowMapConfig { dim, condition, source, pairing, ..config };
        config.validate()?;
        let needs = "None for a teacher without a condition_dropout";
        let knows = config.guidance.is_none() || teacher.dropout() > 0.0;
        check(knows, "FlowMapConfig::guidance", config.guidance, needs)?;
        let net = MapNet::new(&config)?;
        let mut learned = Learned::new(&net, condition, rng);
        Arc::make_mut(&mut learned).fitted = teacher.fitted().clone();
        Ok(FlowMap { config, net, guidance: None, teacher: Some(teacher), learned })
    }

    /// What it was made with, and the steps and the scale that it has now.
    pub fn config(&self) -> &FlowMapConfig {
        &self.config
    }

    /// The same model, drawn in another number of jumps. It shares the parameters until one of the two trains on.
    ///
    /// # Errors
    /// [`Error::Config`] for no steps.
    pub fn with_steps(&self, steps: usize) -> Result<Self> {
        FlowMapConfig::check_steps(steps)?;
        Ok(FlowMap { config: FlowMapConfig { steps, ..self.config.clone() }, ..self.clone() })
    }

    /// The same model at another scale of the guidance that it has learned, at one evaluation a step. It shares the
    /// parameters until one of the two trains on.
    ///
    /// # Errors
    /// [`Error::Config`] for a model that learns no guidance, and a scale that it does not learn.
    pub fn with_scale(&self, scale: f64) -> Result<Self> {
        let needs = "a model whose config has FlowMapConfig::guidance";
        let Some(learned) = self.config.guidance else {
            return Err(Error::config("LearnedGuidance::scale", scale, needs));
        };
        learned.check_scale(scale)?;
        let guidance = Some(LearnedGuidance { scale, ..learned });
        Ok(FlowMap { config: FlowMapConfig { guidance, ..self.config.clone() }, ..self.clone() })
    }

    /// The same model with [`Guidance`] in two evaluations a step, of mean velocities; its interval is in the time at
    /// which a jump starts. It has no likelihood. It shares the parameters until one of the two trains on.
    ///
    /// # Errors
    /// [`Error::Config`] for a field out of range, and for guidance against what the model does
    /// not know.
    pub fn with_guidance(&self, guidance: Guidance<FlowMap>) -> Result<Self> {
        let alone = self.knows_no_condition() && !self.config.condition.is_none();
        guidance.validate(alone, |weaker| {
            weaker.learned.fitted == self.learned.fitted && weaker.net.width() == self.net.width()
        })?;
        Ok(FlowMap { guidance: Some(Arc::new(guidance)), ..self.clone() })
    }

    /// The averaged parameters, under conditions as the network takes them.
    fn network<'a>(&'a self, c: &'a [f32]) -> Trained<'a, f32, MeanVelocity> {
        Trained { net: &self.net, p: &self.learned.parameters.average, c }
    }

    /// The network that draws.
    fn guided<'a>(&'a self, c: &'a [f32]) -> Guided<'a, MeanVelocity> {
        let guide = self.guidance.as_ref().map(|guidance| guidance.guide(|weaker| weaker.network(c)));
        Guided { network: self.network(c), guide }
    }
}

/// A temperature T scales the source rows of a draw, in standard units T·x₀; of a Gaussian source that is N(0, T²I).
///
/// ln p(x) is by the ODE of the velocity û(x, t, t), the density of rows drawn in many steps: as precise as the
/// solver, whatever the steps. [`LogLikelihood::Unavailable`] for [`MapObjective::Consistency`], which learns no
/// velocity, for a source of rows, and with guidance in two evaluations.
impl Paradigm for FlowMap {
    type Workspace = Workspace;

    fn place(&self) -> Card {
        let FlowMapConfig { source, steps, objective, guidance, .. } = &self.config;
        let (method, objective) = match objective {
            MapObjective::Lagrangian => ("Lagrangian map", Objective::FlowMap),
            MapObjective::Eulerian => ("mean flow", Objective::FlowMap),
            MapObjective::Progressive => ("shortcut", Objective::FlowMap),
            MapObjective::Consistency { .. } => ("consistency", Objective::Consistency),
        };
        let guided = self.guided(&[]);
        let cost = |step: usize| guided.cost(Span::at(step as f64 / *steps as f64));
        let scale = guidance.map_or(1.0, |guidance| guidance.scale);
        let scale = if scale == 1.0 { String::new() } else { format!(", w = {scale}") };
        let name = format!("{method}-{steps}{scale}");
        let card = Card::new(name, objective, Sampling::Flowing { steps: (0..*steps).map(cost).sum() });
        let likelihood = if source.has_density() { card.likelihood } else { LikelihoodKind::Unavailable };
        guidance::on_card(Card { likelihood, ..card }, self.guidance.as_deref())
    }

    fn count_params(&self) -> usize {
        self.net.num_params()
    }

    fn fitted(&self) -> &Fitted {
        &self.learned.fitted
    }

    fn learn(
        &mut self,
        data: &Dataset,
        options: &TrainOptions,
        rng: &mut dyn RngCore,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let config = &self.config;
        if self.teacher.is_none() {
            // A distilled model that was loaded from a file has no teacher any more.
            config.check_untaught()?;
        }
        let rows = Rows::whitened(data, &self.learned.fitted, config.whiten, options, rng)?;
        let Learned { parameters, fitted } = Arc::make_mut(&mut self.learned);
        *fitted = rows.fitted.clone();
        let loss = MapLoss {
            net: &self.net,
            ends: Lines { source: &config.source, units: &fitted.standardizer, pairing: config.pairing },
            objective: config.objective,
            diagonal: config.diagonal,
            dropout: config.condition_dropout,
            scales: config.guidance.map(|guidance| guidance.scales),
            teacher: self.teacher.as_ref(),
        };
        fit(loss, parameters, &rows, &config.optimizer, options, observer)
    }

    fn draw_tile(
        &self,
        temperature: f64,
        c: &[f32],
        streams: RowStreams,
        workspace: &mut Workspace,
        x: &mut [f32],
    ) -> usize {
        self.walk(temperature, c, streams, workspace, x, |_| {})
    }

    fn score(&self, c: Given<'_>, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood> {
        let FlowMapConfig { source, solver, divergence, condition, .. } = &self.config;
        if self.guidance.is_some() || !source.has_density() || !self.has_velocity() {
            return Ok(LogLikelihood::Unavailable);
        }
        let integration = Integration { span: (1.0, 0.0), solver: *solver, divergence: *divergence };
        let Learned { parameters, fitted } = &*self.learned;
        let (network, units) = ((&self.net, &parameters.average[..]), &fitted.standardizer);
        let end = |z: &[f64]| source.log_density(units, z).expect("a source with a density");
        if self.config.guidance.is_none() {
            return log_likelihood(network, integration, units, c, x, options, end);
        }
        let mut extended = Vec::new();
        self.with_scale_column(c.rows(0, x.nrows()), &mut extended);
        let width = condition.width() + 1;
        let c =
            Array2::from_shape_vec((extended.len() / width, width), extended).expect("rows of that width");
        log_likelihood(network, integration, units, Given::of(&c), x, options, end)
    }

    fn knows_no_condition(&self) -> bool {
        self.config.condition_dropout > 0.0
    }
}

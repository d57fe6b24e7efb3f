//! Flow maps: learn the whole jump along a flow, and draw in one step or a few.

mod config;
mod network;
mod objective;
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
pub use self::sampling::Workspace;
pub use self::teacher::Teacher;

use self::network::{MapNet, MeanVelocity, Span};
use self::objective::MapLoss;
use super::guidance::{self, Guidance, Guided};
use super::likelihood::{Integration, log_likelihood};
use super::matching::{Lines, Source};
use super::predictor::Trained;
use super::{FlowMatching, Learned, Pairing};
use crate::engine::{Fitted, Given, RowStreams, Rows, fit};
use crate::error::{Result, check};
use crate::map::{Card, Objective, Sampling};
use crate::model::*;
use crate::nn::VectorField;

/// A flow map: one network that jumps from any time of a flow to any later one, so that rows are drawn in as few steps as
/// wanted.
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
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn new(config: FlowMapConfig, rng: &mut dyn RngCore) -> Result<Self> {
        config.validate()?;
        let net = MapNet::new(&config)?;
        Self::of(config, net, rng)
    }

    /// The same with a network of your own, of two [`times`](VectorField::times): it outputs the mean velocity of rows
    /// x_s between the two. The config's `network` and `time_features` mean nothing here. The model cannot be saved to a
    /// file.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range, or if the network has other columns,
    /// times or conditions than the config, and for [`MapObjective::Lagrangian`] if it has no
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
        let consistency = matches!(config.objective, MapObjective::Consistency { .. });
        check(
            config.guidance.is_none() || !consistency,
            "FlowMapConfig::guidance",
            config.guidance,
            "None for Consistency without a teacher",
        )?;
        let learned = Learned::new(&net, config.condition, rng);
        Ok(FlowMap { config, net, guidance: None, teacher: None, learned })
    }

    /// An untrained model that learns the flow of a teacher, in its units: [`train`](Generative::train) it on the rows
    /// that the teacher was trained on, or on rows of the teacher. The config's columns, condition, source and pairing are
    /// replaced by the teacher's.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range, and for a teacher that is not trained,
    /// that is guided, or that has no prediction without a condition where scales are to be learned.
    pub fn distill(
        teacher: impl Into<Teacher>,
        config: FlowMapConfig,
        rng: &mut dyn RngCore,
    ) -> Result<Self> {
        let teacher = teacher.into();
        teacher.validate()?;
        let (source, pairing) = match &teacher {
            Teacher::Diffusion(_) => (Source::Gaussian, Pairing::Independent),
            Teacher::FlowMatching(FlowMatching { config, .. }) => (config.source.clone(), config.coupling),
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
    /// [`Error::Config`](crate::Error::Config) for no steps.
    pub fn with_steps(&self, steps: usize) -> Result<Self> {
        FlowMapConfig::check_steps(steps)?;
        Ok(FlowMap { config: FlowMapConfig { steps, ..self.config.clone() }, ..self.clone() })
    }

    /// The same model at another scale of the guidance that it has learned, at one evaluation a step. It shares the
    /// parameters until one of the two trains on.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a model that learns no guidance, and a scale that it does not learn.
    pub fn with_scale(&self, scale: f64) -> Result<Self> {
        let needs = "a model whose config has FlowMapConfig::guidance";
        let learned = self.config.guidance;
        check(learned.is_some(), "LearnedGuidance::scale", scale, needs)?;
        let guidance = learned.map(|guidance| LearnedGuidance { scale, ..guidance });
        learned.map_or(Ok(()), |guidance| guidance.check_scale(scale))?;
        Ok(FlowMap { config: FlowMapConfig { guidance, ..self.config.clone() }, ..self.clone() })
    }

    /// The same model with [`Guidance`] in two evaluations a step, of mean velocities; its interval is in the time at which
    /// a jump starts. It has no likelihood. It shares the parameters until one of the two trains on.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a field out of range, and for guidance against what the model does not
    /// know.
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
/// ln p(x) is by the ODE of the velocity û(x, t, t), the density of rows drawn in many steps: as precise as the solver,
/// whatever the steps. [`LogLikelihood::Unavailable`] for [`MapObjective::Consistency`], which learns no velocity, for a
/// source of rows, and with guidance in two evaluations.
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

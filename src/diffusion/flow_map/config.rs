use crate::diffusion::config::check_dropout;
use crate::diffusion::matching::{Pairing, Source};
use crate::engine::OptimizerConfig;
use crate::error::{Result, check};
use crate::model::{ConditionKind, TraceEstimator};
use crate::nn::limits::{check_time_features, check_width};
use crate::nn::{Activation, NetworkSpec};
use crate::numeric::ode::Solver;

/// What a [`FlowMap`](super::FlowMap) is made of. Lengths are in standard deviations of the data's columns, on which
/// the network works.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct FlowMapConfig {
    /// Columns of a row. 1 to 65,536. Default 2.
    pub dim: usize,
    /// The network û(x, s, t). Default a perceptron of three layers of 128 units, [`Activation::Silu`], with 4 octaves.
    /// With [`MapObjective::Lagrangian`] its activation has to be smooth to learn well: the loss contains ∂û/∂t.
    pub network: NetworkSpec,
    /// Sines and cosines that embed each of the two times. Even, 2 to 65,536. Default 32.
    pub time_features: usize,
    /// Where rows start. Default [`Source::Gaussian`], the only one that a file of a model can hold.
    #[cfg_attr(feature = "safetensors", serde(skip))]
    pub source: Source,
    /// Which source row goes with which row of the data. Default [`Pairing::Independent`].
    pub pairing: Pairing,
    /// What is learned off the diagonal. Default [`MapObjective::Lagrangian`].
    pub objective: MapObjective,
    /// The share of training rows on the diagonal, from which the velocity is learned. Consistency has none. 0 to 1,
    /// both excluded. Default 0.5: on a checkerboard one to eight steps draw better than with the 0.75 of Boffi et
    /// al. 2025.
    pub diagonal: f64,
    /// Jumps of equal length in time from the source to the data, and so evaluations of a row. 1 to 1,000,000.
    /// Default 4.
    pub steps: usize,
    /// Guidance that is learned: the network then has the scale as an input, and draws cost one evaluation a step.
    /// Needs a condition and a `condition_dropout` above 0. Default `None`.
    pub guidance: Option<LearnedGuidance>,
    /// How the likelihood's ODE is solved. Default Dormand–Prince with rtol = atol = 1e-5.
    pub solver: Solver,
    /// How its divergence is computed. Default `None`: exact up to 16 columns, with 4 of Hutchinson's probes above.
    pub divergence: Option<TraceEstimator>,
    /// Whether the first training takes away the correlations of the columns
    /// ([`Standardizer::whitened`](crate::engine::Standardizer::whitened)). Default true.
    pub whiten: bool,
    /// What rows are conditioned on. Default [`ConditionKind::None`].
    #[cfg_attr(feature = "safetensors", serde(skip_serializing_if = "ConditionKind::is_none"))]
    pub condition: ConditionKind,
    /// The share of training rows whose condition is dropped. Without a condition it means nothing. 0 up to, not
    /// including, 1. Default 0.1.
    pub condition_dropout: f64,
    /// How the parameters move. Default: a learning rate of 5e-3, the rest as [`OptimizerConfig`].
    pub optimizer: OptimizerConfig,
}

/// What a flow map learns off the diagonal: how the jumps agree with the velocity. X_{s→t}(x) = x + (t − s) û(x, s, t);
/// what stands in sg(·) has no gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum MapObjective {
    /// ‖∂_t X_{s→t}(x_s) − sg û(X_{s→t}(x_s), t, t)‖²: where a jump arrives moves with the velocity there (Boffi et al.
    /// 2025, Lagrangian self-distillation). It needs the gradient of a tangent in time, and no tangent in x.
    Lagrangian,
    /// ‖û(x_s, s, t) − sg((t − s) dû/ds) − (x₁ − x₀)‖², dû/ds along (û(x_s, s, s), 1, 0): where a jump arrives does not
    /// depend on where on the path it starts (mean flow: Geng et al. 2025a, with the direction of 2025b).
    Eulerian,
    /// ‖û(x_s, s, t) − sg ½(û(x_s, s, r) + û(X_{s→r}(x_s), r, t))‖², r = ½(s + t): a jump is two of half its length
    /// (Frans et al. 2025; Salimans & Ho 2022).
    Progressive,
    /// The distance of X_{s→1}(x_s) and sg X_{r→1}(x_r), r > s on the same line, by a pseudo-Huber loss over r − s
    /// (Song et al. 2023; easy consistency tuning: Geng et al. 2025). From a teacher, x_r is where a step of Heun's
    /// method along its velocity leads. Jumps always go to the data, so several of them put noise back in between,
    /// and there is no velocity: such a model has no likelihood.
    Consistency {
        /// How often, in equal parts of a training, r comes nearer to s: by about a half each time. From one stage,
        /// in which the target is the data, to 20.
        stages: usize,
    },
}

/// Guidance whose scale w is an input of the network (Meng et al. 2023; Geng et al. 2025b): what is learned is the
/// flow of û(x, ∅) + w (v(x, c) − û(x, ∅)).
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct LearnedGuidance {
    /// The scales of a training, log-uniform between the two, 1 to 1000. Default 1 to 8.
    pub scales: (f64, f64),
    /// w of draws and scores, one of them. Default 1: no guidance.
    pub scale: f64,
}

impl Default for LearnedGuidance {
    fn default() -> Self {
        LearnedGuidance { scales: (1.0, 8.0), scale: 1.0 }
    }
}

impl LearnedGuidance {
    fn validate(self) -> Result<()> {
        let (least, most) = self.scales;
        let ordered = 1.0 <= least && least <= most && most <= 1000.0;
        check(ordered, "LearnedGuidance::scales", self.scales, "1 to 1000, the second at least the first")?;
        self.check_scale(self.scale)
    }

    pub(super) fn check_scale(self, scale: f64) -> Result<()> {
        let learned = self.scales.0 <= scale && scale <= self.scales.1;
        check(learned, "LearnedGuidance::scale", scale, "one of the scales that are learned")
    }
}

impl Default for FlowMapConfig {
    fn default() -> Self {
        FlowMapConfig {
            dim: 2,
            network: NetworkSpec::mlp([128; 3], Activation::Silu, 4),
            time_features: 32,
            source: Source::Gaussian,
            pairing: Pairing::Independent,
            objective: MapObjective::Lagrangian,
            diagonal: 0.5,
            steps: 4,
            guidance: None,
            solver: Solver::DormandPrince { rtol: 1e-5, atol: 1e-5 },
            divergence: None,
            whiten: true,
            condition: ConditionKind::None,
            condition_dropout: 0.1,
            optimizer: OptimizerConfig { lr: 5e-3, ..OptimizerConfig::default() },
        }
    }
}

impl FlowMapConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        check_width("FlowMapConfig::dim", self.dim)?;
        check_time_features("FlowMapConfig::time_features", self.time_features)?;
        self.condition.validate("FlowMapConfig::condition")?;
        check_dropout("FlowMapConfig::condition_dropout", self.condition_dropout)?;
        let columns = (self.dim, self.condition_width(), 2 * self.time_features);
        self.network.check_vector_field("FlowMapConfig::network", columns)?;
        check(
            self.source.dim().is_none_or(|dim| dim == self.dim),
            "FlowMapConfig::source",
            format!("{:?} columns", self.source.dim()),
            "as many columns as FlowMapConfig::dim",
        )?;
        self.pairing.validate("FlowMapConfig::pairing", self.condition)?;
        if let MapObjective::Consistency { stages } = self.objective {
            check((1..=20).contains(&stages), "MapObjective::Consistency::stages", stages, "1 to 20")?;
        }
        let share = self.diagonal > 0.0 && self.diagonal < 1.0;
        check(share, "FlowMapConfig::diagonal", self.diagonal, "more than 0, less than 1")?;
        Self::check_steps(self.steps)?;
        if let Some(guidance) = self.guidance {
            let alone = !self.condition.is_none() && self.condition_dropout > 0.0;
            let needs = "None, or a condition and a condition_dropout above 0";
            check(alone, "FlowMapConfig::guidance", guidance, needs)?;
            guidance.validate()?;
        }
        TraceEstimator::validate(self.divergence, "FlowMapConfig::divergence")?;
        self.solver.validate()?;
        self.optimizer.validate()
    }

    /// Refuses what cannot be learned without a teacher: the lines between rows say nothing of guidance to consistency.
    pub(super) fn check_untaught(&self) -> Result<()> {
        let consistency = matches!(self.objective, MapObjective::Consistency { .. });
        check(
            self.guidance.is_none() || !consistency,
            "FlowMapConfig::guidance",
            self.guidance,
            "None for Consistency without a teacher",
        )
    }

    pub(super) fn check_steps(steps: usize) -> Result<()> {
        check((1..=1_000_000).contains(&steps), "FlowMapConfig::steps", steps, "1 to 1,000,000")
    }

    /// Columns of the network's condition: the last is 1 − 1/w where scales w are learned.
    pub(super) fn condition_width(&self) -> usize {
        self.condition.width() + usize::from(self.guidance.is_some())
    }
}
